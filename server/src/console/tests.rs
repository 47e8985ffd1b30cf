//! The console as a browser meets it: over HTTP, on a whole organisation.

#![allow(clippy::unwrap_used)]

mod alerts;
mod approvals;
mod conflicts;
mod enrolments;
mod forms;
mod freeze;
mod photos;
mod rescue;

use crate::testkit::{EMAIL, Org, PASSWORD, Phone, TestResult};
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Method, StatusCode};
use roundsman_protocol::api::DeviceState;
use roundsman_protocol::receipt::Progress;
use std::collections::BTreeMap;
use std::fmt::Write;
use totp_rs::{Algorithm, Builder};
use uuid::Uuid;

/// A browser: keeps cookies, does not follow redirects, so that tests see them.
struct Browser {
    http: Client,
    base: String,
    cookies: BTreeMap<String, String>,
}

struct Page {
    status: StatusCode,
    headers: reqwest::header::HeaderMap,
    text: String,
}

impl Page {
    fn goes_to(&self) -> &str {
        self.headers.get(LOCATION).and_then(|place| place.to_str().ok()).unwrap_or_default()
    }

    /// The token in the page's forms.
    fn csrf(&self) -> &str {
        let start = self.text.split("name=\"csrf\" value=\"").nth(1).unwrap_or_default();
        start.split('"').next().unwrap_or_default()
    }
}

impl Browser {
    /// A browser before a console that serves this organisation.
    #[allow(clippy::disallowed_methods, reason = "a browser over plain loopback, not a phone")]
    async fn new(org: &Org) -> TestResult<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let base = format!("http://{}", listener.local_addr()?);
        let routes = super::router(org.admin.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        Ok(Self { http, base, cookies: BTreeMap::new() })
    }

    /// The same, signed in.
    async fn signed_in(org: &Org) -> TestResult<Self> {
        let mut browser = Self::new(org).await?;
        let csrf = browser.get("/console/sign-in").await?.csrf().to_owned();
        let code = code(org)?;
        let form = [("csrf", csrf.as_str()), ("email", EMAIL), ("password", PASSWORD), ("code", &code)];
        let page = browser.send("/console/sign-in", &form).await?;
        assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, "/console"));
        Ok(browser)
    }

    async fn get(&mut self, path: &str) -> TestResult<Page> {
        self.ask(Method::GET, path, None).await
    }

    /// Sends a form as it is.
    async fn send(&mut self, path: &str, form: &[(&str, &str)]) -> TestResult<Page> {
        let mut body = String::new();
        for (name, value) in form {
            let value: String = value.bytes().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "%{byte:02x}");
                text
            });
            write!(body, "{name}={value}&")?;
        }
        let body = (body.trim_end_matches('&').to_owned(), "application/x-www-form-urlencoded".to_owned());
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Opens a page and sends its form with these fields.
    async fn fill(&mut self, page: &str, path: &str, form: &[(&str, &str)]) -> TestResult<Page> {
        let csrf = self.get(page).await?.csrf().to_owned();
        let form: Vec<_> = [("csrf", csrf.as_str())].into_iter().chain(form.iter().copied()).collect();
        self.send(path, &form).await
    }

    async fn upload(&mut self, csrf: Option<&str>, file: &str) -> TestResult<Page> {
        let mut body = String::new();
        if let Some(csrf) = csrf {
            write!(body, "--edge\r\ncontent-disposition: form-data; name=\"csrf\"\r\n\r\n{csrf}\r\n")?;
        }
        write!(
            body,
            "--edge\r\ncontent-disposition: form-data; name=\"file\"; filename=\"stores.csv\"\r\n\
             content-type: text/csv\r\n\r\n{file}\r\n--edge--\r\n"
        )?;
        self.ask(Method::POST, "/console/import", Some((body, "multipart/form-data; boundary=edge".into())))
            .await
    }

    async fn ask(&mut self, method: Method, path: &str, body: Option<(String, String)>) -> TestResult<Page> {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        request = request.header(COOKIE, cookies.join("; "));
        if let Some((body, media)) = body {
            request = request.header("content-type", media).body(body);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let cookie = cookie.to_str()?;
            assert!(cookie.starts_with("__Host-") && cookie.contains("HttpOnly"), "{cookie}");
            assert!(cookie.contains("Secure") && cookie.contains("SameSite=Strict"), "{cookie}");
            assert!(cookie.contains("Path=/") && !cookie.contains("Domain"), "{cookie}");
            let (name, value) =
                cookie.split(';').next().and_then(|pair| pair.split_once('=')).ok_or("cookie")?;
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(Page { status, headers, text: answer.text().await? })
    }
}

/// What the administrator's authenticator app shows.
fn code(org: &Org) -> TestResult<String> {
    let app =
        Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_skew(1).with_step_duration(30);
    let app = app.with_secret(totp_rs::Secret::try_from_base32(&org.totp_secret)?).with_account_name(EMAIL);
    Ok(app.build()?.generate(u64::try_from(org.now().timestamp())?).to_string())
}

/// An organisation with one rep, one customer and one phone.
fn org_with_phone(customer: &str) -> TestResult<(Org, Phone)> {
    let org = Org::new()?;
    org.customer("C1", customer, "NJ")?;
    let rep = org.rep("ana", &["NJ"])?;
    let phone = org.phone(rep)?;
    Ok((org, phone))
}

#[tokio::test]
async fn without_a_session_every_page_leads_to_sign_in() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let mut browser = Browser::new(&org).await?;
    let device = format!("/console/devices/{}", phone.id);
    let wipe = format!("{device}/wipe");
    for path in [
        "/console",
        "/console/devices",
        &device,
        &wipe,
        &format!("{device}/receipts/1/0"),
        &format!("{device}/audit"),
        "/console/rescue",
        "/console/approvals",
        "/console/alerts",
        "/console/rules",
        "/console/enrol",
        "/console/users",
        "/console/users/new",
        "/console/customers",
        "/console/import",
        "/console/visits",
        "/console/conflicts",
        "/console/removed",
    ] {
        let page = browser.get(path).await?;
        assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, "/console/sign-in"), "{path}");
        assert!(page.text.is_empty(), "{path} says something");
    }
    let page =
        browser.send(&wipe, &[("reason", "x"), ("name", "Test phone"), ("password", PASSWORD)]).await?;
    assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, "/console/sign-in"));
    assert!(org.admin.device(phone.id)?.unwrap().commands.is_empty());
    Ok(())
}

#[tokio::test]
async fn every_answer_carries_the_strict_headers() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let mut browser = Browser::signed_in(&org).await?;
    let device = format!("/console/devices/{}", phone.id);
    for path in [
        "/",
        "/console",
        "/console/devices",
        &device,
        &format!("{device}/lock"),
        &format!("{device}/wipe"),
        &format!("{device}/audit"),
        "/console/rescue",
        "/console/approvals",
        "/console/alerts",
        "/console/rules",
        "/console/enrol",
        "/console/users",
        "/console/users/new",
        "/console/customers",
        "/console/import",
        "/console/visits",
        "/console/conflicts",
        "/console/no-such-page",
        "/console/static/no-such-file",
        "/console/sign-out",
    ] {
        let page = browser.get(path).await?;
        let header = |name: &str| page.headers.get(name).and_then(|it| it.to_str().ok()).unwrap_or_default();
        assert!(
            header("content-security-policy").starts_with("default-src 'none'; style-src 'self'"),
            "{path}"
        );
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(header("cache-control"), "no-store", "{path}");
        assert!(header("strict-transport-security").starts_with("max-age="), "{path}");
        assert!(!page.text.contains(" style=") && !page.text.contains("<script>"), "{path} has inline code");
        assert!(!page.text.contains(" onclick="), "{path} has inline code");
    }
    let css = browser.get("/console/static/console.css?v=1").await?;
    assert_eq!(css.headers.get("cache-control").unwrap(), "public, max-age=31536000, immutable");
    Ok(())
}

#[tokio::test]
async fn a_form_without_the_sessions_token_changes_nothing() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let mut browser = Browser::signed_in(&org).await?;
    let lock = format!("/console/devices/{}/lock", phone.id);
    for token in [None, Some(""), Some("forged")] {
        let mut form = vec![("reason", "lost")];
        form.extend(token.map(|token| ("csrf", token)));
        assert_eq!(browser.send(&lock, &form).await?.status, StatusCode::FORBIDDEN);
        assert_eq!(browser.upload(token, "code,name\nA,B\n").await?.status, StatusCode::FORBIDDEN);
        assert_eq!(browser.send("/console/sign-out", &form).await?.status, StatusCode::FORBIDDEN);
        assert_eq!(browser.send("/console/users/new", &form).await?.status, StatusCode::FORBIDDEN);
    }
    assert!(org.admin.device(phone.id)?.unwrap().commands.is_empty());
    assert_eq!(browser.get("/console").await?.status, StatusCode::OK, "still signed in");
    Ok(())
}

#[tokio::test]
async fn signing_in_takes_password_and_code_and_the_forms_own_token() -> TestResult {
    let org = Org::new()?;
    let mut browser = Browser::new(&org).await?;
    let code = code(&org)?;
    let forged = [("csrf", "x"), ("email", EMAIL), ("password", PASSWORD), ("code", code.as_str())];
    assert_eq!(browser.send("/console/sign-in", &forged).await?.status, StatusCode::FORBIDDEN);
    let form = [("email", EMAIL), ("password", "wrong"), ("code", code.as_str())];
    let page = browser.fill("/console/sign-in", "/console/sign-in", &form).await?;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.text.contains("Email, password or code is wrong") && !page.text.contains("wrong\""));
    let form = [("email", EMAIL), ("password", PASSWORD), ("code", code.as_str())];
    let page = browser.fill("/console/sign-in", "/console/sign-in", &form).await?;
    assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, "/console"));
    let page = browser.fill("/console", "/console/sign-out", &[]).await?;
    assert_eq!(page.goes_to(), "/console/sign-in");
    assert_eq!(browser.get("/console").await?.status, StatusCode::SEE_OTHER);
    Ok(())
}

#[tokio::test]
async fn a_wipe_is_proposed_by_the_devices_name_and_ordered_by_an_approver() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    let mut browser = Browser::signed_in(&org).await?;
    let wipe = format!("/console/devices/{}/wipe", phone.id);
    let device = wipe.trim_end_matches("/wipe");
    let form = |name| [("reason", "stolen"), ("name", name)];
    let page = browser.fill(&wipe, &wipe, &form("Other phone")).await?;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("not this device&#39;s name") && page.text.contains("value=\"stolen\""));
    assert!(org.admin.wipe_proposals()?.is_empty(), "nothing was changed");
    let page = browser.fill(&wipe, &wipe, &form("Test phone")).await?;
    assert_eq!((page.status, page.goes_to()), (StatusCode::SEE_OTHER, device));
    let page = browser.get(device).await?;
    assert!(page.text.contains("Wipe proposed.") && page.text.contains("0 of 1 approvals"));
    assert!(page.text.contains("one person is enough"), "said wherever a wipe is shown");
    assert!(!browser.get(device).await?.text.contains("Wipe proposed."), "it is said once");
    let page = browser.fill(&wipe, &wipe, &form("Test phone")).await?;
    assert_eq!(page.status, StatusCode::CONFLICT, "no second wipe");
    assert!(org.admin.device(phone.id)?.unwrap().commands.is_empty(), "nothing is ordered yet");

    let [proposal] = org.admin.wipe_proposals()?.try_into().map_err(|_| "one proposal")?;
    org.approve(&proposal, &org.first.approver)?;
    let page = browser.get(device).await?;
    assert!(page.text.contains("Wipe pending") && page.text.contains("by Boss with key"));
    assert_eq!(browser.get(&wipe).await?.status, StatusCode::SEE_OTHER);
    Ok(())
}

#[tokio::test]
async fn the_proof_of_a_wipe_is_shown_and_can_be_taken_away() -> TestResult {
    let (org, phone) = org_with_phone("Corner")?;
    org.wipe(&phone, "stolen")?;
    let receipts = wipe_out(&org, &phone)?;
    let mut browser = Browser::signed_in(&org).await?;
    let device = format!("/console/devices/{}", phone.id);
    let page = browser.get(&device).await?;
    assert_eq!(page.text.matches("Signature verified").count(), 2);
    assert!(page.text.contains(">Wiped</span>") && page.text.contains("Complete"));
    let at = |text: &str| page.text.find(&format!("<strong>{text}</strong>")).ok_or(text.to_owned());
    let way = ["Proposed", "Approved", "Ordered", "Delivered to the device", "Keys destroyed"];
    let way = way.into_iter().chain(["Unsent work handed over", "Files removed", "Complete"]);
    let places = way.map(at).collect::<Result<Vec<_>, _>>()?;
    assert!(places.is_sorted(), "a wipe's way is shown in its order");
    assert!(!page.text.contains("data-refresh"), "nothing is on its way any more");
    let file = browser.http.get(format!("{}{device}/receipts/1/0", browser.base));
    let session = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
    let file = file.header(COOKIE, session.join("; ")).send().await?;
    assert!(file.headers().get("content-disposition").unwrap().to_str()?.contains("attachment"));
    assert_eq!(file.bytes().await?.as_ref(), receipts.first().unwrap());
    assert_eq!(browser.get(&format!("{device}/receipts/1/9")).await?.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get(&format!("{device}/receipts/9/0")).await?.status, StatusCode::NOT_FOUND);
    Ok(())
}

/// The device carries its wipe out and sends both receipts.
fn wipe_out(org: &Org, phone: &Phone) -> TestResult<Vec<Vec<u8>>> {
    assert_eq!(phone.check_in(&phone.report())?.commands.len(), 1, "delivered");
    let (id, hash) = {
        let forms = org.app.storage.read()?.command_forms(phone.id)?;
        forms.last().map(|form| (form.command, form.hash)).ok_or("command")?
    };
    let keys = vec!["release share".to_owned(), "platform key".to_owned()];
    let shredded = Progress::Shredded {
        keys,
        platform_confirmed: true,
        unsent: Some(3),
        trigger: roundsman_protocol::receipt::Trigger::Command,
    };
    let receipts =
        [shredded, Progress::Complete { files: 12, rescue: roundsman_protocol::receipt::Rescue::default() }]
            .map(|progress| phone.sign(&phone.receipt(id, hash, progress)))
            .into_iter()
            .collect::<TestResult<Vec<_>>>()?;
    let mut report = phone.report();
    report.state = DeviceState::Wiped;
    report.receipts.clone_from(&receipts);
    phone.check_in(&report)?;
    Ok(receipts)
}

#[tokio::test]
async fn a_file_is_mapped_imported_and_its_broken_rows_are_listed() -> TestResult {
    let org = Org::new()?;
    let mut browser = Browser::signed_in(&org).await?;
    let csrf = browser.get("/console/import").await?.csrf().to_owned();
    let file = "code,name,region,lat\nA,Corner,NJ,40.1\nB,,NJ,40.2\nC,Mill,NJ,140.2\nD,Far,PA,40.3\n";
    let page = browser.upload(Some(&csrf), file).await?;
    assert_eq!(page.status, StatusCode::SEE_OTHER);
    let job = page.goes_to().to_owned();
    let page = browser.get(&job).await?;
    for guess in ["code", "name", "region", "lat"] {
        assert!(
            page.text.contains(&format!("<option value=\"{guess}\" selected>{guess}</option>")),
            "{guess}"
        );
    }
    assert!(page.text.contains("<td>Corner</td>") && page.text.contains("4 rows"));
    let form = [
        ("field.code", "code"),
        ("field.name", "name"),
        ("field.lat", "lat"),
        ("territory_from", "column"),
        ("territory_column", "region"),
        ("filter_column", "region"),
        ("filter_value", "NJ"),
    ];
    let page = browser.fill(&job, &job, &form).await?;
    assert_eq!(page.goes_to(), job);
    let mut page = browser.get(&job).await?;
    while page.text.contains("<progress") {
        tokio::task::yield_now().await;
        page = browser.get(&job).await?;
    }
    assert!(page.text.contains("3 rows read from stores.csv"), "{}", page.text);
    assert!(page.text.contains("<th scope=\"row\" class=\"number\">3</th>"), "line 3 is refused");
    assert!(page.text.contains("<th scope=\"row\" class=\"number\">4</th>"), "line 4 is refused");
    assert_eq!(org.admin.customer_count()?, 1);
    let mut stranger = Browser::new(&org).await?;
    assert_eq!(stranger.get(&job).await?.status, StatusCode::SEE_OTHER);
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_no_table_is_refused_in_words() -> TestResult {
    let org = Org::new()?;
    let mut browser = Browser::signed_in(&org).await?;
    let csrf = browser.get("/console/import").await?.csrf().to_owned();
    let page = browser.upload(Some(&csrf), "code,code\nA,B\n").await?;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("The first line must name the columns"));
    let large = "x".repeat(super::import::MAX_UPLOAD + 1);
    assert_eq!(browser.upload(Some(&csrf), &large).await?.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(browser.get(&format!("/console/import/{}", Uuid::nil())).await?.status, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn a_customers_name_is_never_markup() -> TestResult {
    let (org, _) = org_with_phone("<script>alert(1)</script>\"'&")?;
    let mut browser = Browser::signed_in(&org).await?;
    let page = browser.get("/console/customers").await?;
    assert!(!page.text.contains("<script>alert") && page.text.contains("&#60;script&#62;alert(1)"));
    let page = browser.fill("/console/customers", "/console/customers", &[("query", "\"><script>x")]).await?;
    assert!(!page.text.contains("\"><script>x") && page.text.contains("&#60;script&#62;x"));
    Ok(())
}

#[tokio::test]
async fn a_ticket_is_shown_as_a_code_to_the_session_that_asked() -> TestResult {
    let org = Org::new()?;
    let rep = org.rep("ana", &["NJ"])?;
    let mut browser = Browser::signed_in(&org).await?;
    let page = browser.fill("/console/enrol", "/console/enrol", &[("user", &rep.to_string())]).await?;
    let ticket = page.goes_to().to_owned();
    let page = browser.get(&ticket).await?;
    assert!(page.text.contains("<svg class=\"qr\"") && page.text.contains("RM1:"));
    assert!(page.text.contains("Valid for") && page.text.contains("For ana."));
    Ok(())
}

#[tokio::test]
async fn a_user_is_added_and_moved_to_other_territories() -> TestResult {
    let org = Org::new()?;
    let mut browser = Browser::signed_in(&org).await?;
    let new = "/console/users/new";
    let form = [("name", "Ben"), ("email", "not an address"), ("role", "rep"), ("territories", "NJ, NY")];
    let page = browser.fill(new, new, &form).await?;
    assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.text.contains("This is not an email address.") && page.text.contains("value=\"Ben\""));
    let form = [("name", "Ben"), ("email", "ben@example.com"), ("role", "rep"), ("territories", "NJ, NY")];
    let user = browser.fill(new, new, &form).await?.goes_to().to_owned();
    assert!(browser.get(&user).await?.text.contains("User added."));
    let page = browser.fill(&user, &user, &[("territories", "PA")]).await?;
    assert_eq!(page.goes_to(), user);
    let users = org.admin.users()?;
    assert_eq!(users.iter().find(|user| user.name == "Ben").unwrap().territories, ["PA"]);
    Ok(())
}
