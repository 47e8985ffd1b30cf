//! What a device meets on the wire, over real TLS.
#![allow(clippy::unwrap_used, clippy::panic)]

mod kit;

use kit::{Phone, TestResult, enrolment, frames, pack, problem, rig};
use roundsman_model::{DeviceSeq, Rev, RuleError, Stamp};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::api::{Checkin, CheckinAnswer, DeviceState, EnrolAnswer, RootAnswer};
use roundsman_protocol::hpke_seal::key_pair;
use roundsman_protocol::rescue::{MAX_SEGMENT, RescueAnswer, Sealer, SegmentHead, SignedSegment};
use roundsman_protocol::root::Root;
use roundsman_protocol::session::{self, Certificate};
use roundsman_protocol::sync::{Change, Frame, Head, MAX_MUTATIONS, Mutation, Outcome};
use roundsman_server::admin::Mapping;
use roundsman_server::{Admin, Config, Server, StartError};
use std::collections::BTreeMap;
use uuid::Uuid;

fn report() -> Checkin {
    Checkin { unsent: Some(1), ..Checkin::of(DeviceState::Active, "0.1.0", 0) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_enrols_syncs_and_checks_in_over_tls() -> TestResult {
    let rig = rig().await?;
    let file = "code,name,territory\n1,Corner Shop,A\n2,Far Away,B\n";
    let mapping = Mapping::guess(&["code", "name", "territory"].map(str::to_owned));
    rig.admin.import_customers(Admin::OPERATOR, file.as_bytes(), &mapping, &mut |_| {})?;
    let ticket = rig.ticket("ana", "A")?;
    assert_eq!(ticket.pins.first(), Some(&rig.server.pin()));

    let root: RootAnswer =
        serde_json::from_slice(&rig.http.get(rig.url("/v1/root")).send().await?.bytes().await?)?;
    Root::open_first(&root.root, &ticket.root_sha256)?;
    let phone = Phone::new()?;
    let enrolled = rig.proved(&phone, "/v1/enrol", None, enrolment(ticket.token)?).await?;
    let enrolled: EnrolAnswer = serde_json::from_slice(&enrolled.bytes().await?)?;

    let change = Mutation {
        seq: DeviceSeq(1),
        id: Uuid::now_v7(),
        entity: "customer".into(),
        record: Uuid::now_v7(),
        change: Change::Put,
        was: roundsman_model::Fields::new(),
        settles: vec![],
        base: Rev(0),
        stamp: Stamp(1),
        fields: [("code", "3"), ("name", "New Shop"), ("territory", "A")]
            .map(|(name, text)| (name.to_owned(), text.into()))
            .into(),
    };
    let head = Head { cursors: BTreeMap::new(), device: report(), differences: vec![], own: None };
    let body = pack(&[serde_json::to_vec(&head)?, serde_json::to_vec(&change)?])?;
    let access = Some(enrolled.tokens.access.as_str());
    let proof = phone.proof(&rig.url("/v1/sync"), access, Some(&rig.nonce().await?))?;
    let answer = rig
        .http
        .post(rig.url("/v1/sync"))
        .header("dpop", proof)
        .header("authorization", format!("DPoP {}", enrolled.tokens.access))
        .header("content-encoding", "gzip")
        .body(body)
        .send()
        .await?;
    assert_eq!(answer.status(), 200);
    let frames = frames(answer).await?;
    assert!(matches!(frames.first(), Some(Frame::Device(_))));
    assert!(frames.iter().any(
        |frame| matches!(frame, Frame::Result(result) if matches!(result.outcome, Outcome::Applied { .. }))
    ));
    let names: Vec<String> = frames
        .iter()
        .filter_map(|frame| if let Frame::Page(page) = frame { Some(&page.rows) } else { None })
        .flatten()
        .filter_map(|row| Some(row.fields.as_ref()?.get("name")?.as_text()?.to_owned()))
        .collect();
    assert_eq!(names, ["Corner Shop", "New Shop"]);
    assert!(matches!(frames.last(), Some(Frame::End { .. })));

    rig.admin.lock(Admin::OPERATOR, enrolled.device, "left in a taxi")?;
    let answer = rig.proved(&phone, "/v1/device/checkin", None, serde_json::to_vec(&report())?).await?;
    let answer: CheckinAnswer = serde_json::from_slice(&answer.bytes().await?)?;
    assert_eq!(answer.commands.len(), 1);
    let devices = rig.admin.devices()?;
    assert_eq!((devices.len(), devices[0].unsent, devices[0].name.as_str()), (1, 1, "Test phone"));
    rig.server.stop().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_holds_once_for_its_own_address_and_with_a_current_nonce() -> TestResult {
    let rig = rig().await?;
    let phone = Phone::new()?;
    let path = "/v1/device/checkin";
    let body = || serde_json::to_vec(&report());
    let refused = async |proof: String| -> TestResult<ErrorCode> {
        let answer = rig.post(path, &proof, None, body()?).await?;
        assert_eq!(answer.status(), 401);
        Ok(problem(answer).await?.code)
    };
    let nonce = rig.nonce().await?;
    let url = rig.url(path);
    assert_eq!(refused(phone.proof(&url, None, None)?).await?, ErrorCode::UseDpopNonce);
    assert_eq!(refused(phone.proof(&url, None, Some("invented"))?).await?, ErrorCode::UseDpopNonce);
    // The address that was configured counts, not the one that was dialled.
    let dialled = url.replace("localhost", "127.0.0.1");
    for wrong in [dialled, rig.url("/v1/token"), format!("{url}?x=1")] {
        assert_eq!(refused(phone.proof(&wrong, None, Some(&nonce))?).await?, ErrorCode::ProofInvalid);
    }
    assert_eq!(refused("no proof".into()).await?, ErrorCode::ProofInvalid);
    // A good proof of a key nobody knows; the second time it is a replay.
    let good = phone.proof(&url, None, Some(&nonce))?;
    assert_eq!(refused(good.clone()).await?, ErrorCode::DeviceUnknown);
    assert_eq!(refused(good).await?, ErrorCode::ProofInvalid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_key_proves_what_has_an_access_token_and_nothing_else() -> TestResult {
    let rig = rig().await?;
    let (phone, session, thief) = (Phone::new()?, Phone::new()?, Phone::new()?);
    let ticket = rig.ticket("ana", "A")?;
    let enrolled = rig.proved(&phone, "/v1/enrol", None, enrolment(ticket.token)?).await?;
    let enrolled: EnrolAnswer = serde_json::from_slice(&enrolled.bytes().await?)?;
    let access = enrolled.tokens.access.as_str();
    let nonce = rig.nonce().await?;
    let certify = |by: &Phone, nonce: &str| -> TestResult<String> {
        let certificate = Certificate { jkt: session.key.thumbprint(), nonce: nonce.into() };
        Ok(session::certify(&by.key, &certificate, |message| by.es256(message))?)
    };
    let head = Head { cursors: BTreeMap::new(), device: report(), differences: vec![], own: None };
    let head = serde_json::to_vec(&head)?;
    let send = async |path: &str, by: &Phone, certificate: String| -> TestResult<Option<ErrorCode>> {
        let token = (path == "/v1/sync").then_some(access);
        let proof = by.proof(&rig.url(path), token, Some(&nonce))?;
        let body = if token.is_some() { head.clone() } else { serde_json::to_vec(&report())? };
        let mut request = rig.http.post(rig.url(path)).header("dpop", proof).body(body);
        request = request.header(session::HEADER, certificate);
        if let Some(token) = token {
            request = request.header("authorization", format!("DPoP {token}"));
        }
        let answer = request.send().await?;
        Ok(if answer.status() == 200 { None } else { Some(problem(answer).await?.code) })
    };
    let good = certify(&phone, &nonce)?;
    assert_eq!(send("/v1/sync", &session, good.clone()).await?, None);
    assert_eq!(send("/v1/sync", &session, good.clone()).await?, None, "again, from memory");
    // Not the key it is for; signed by another device, whose token this is not; under a nonce of nobody's.
    assert_eq!(send("/v1/sync", &thief, good.clone()).await?, Some(ErrorCode::ProofInvalid));
    assert_eq!(send("/v1/sync", &session, certify(&thief, &nonce)?).await?, Some(ErrorCode::TokenInvalid));
    assert_eq!(
        send("/v1/sync", &session, certify(&phone, "made up")?).await?,
        Some(ErrorCode::SessionExpired)
    );
    assert_eq!(send("/v1/sync", &session, "none".into()).await?, Some(ErrorCode::ProofInvalid));
    // A check-in has no access token: it is the device's own word.
    assert_eq!(send("/v1/device/checkin", &session, good).await?, Some(ErrorCode::DeviceUnknown));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_ticket_says_why() -> TestResult {
    let rig = rig().await?;
    let ticket = rig.ticket("ana", "A")?;
    let enrol = async |token| -> TestResult<(u16, Option<ErrorCode>)> {
        let answer = rig.proved(&Phone::new()?, "/v1/enrol", None, enrolment(token)?).await?;
        let status = answer.status().as_u16();
        Ok((status, if status == 200 { None } else { Some(problem(answer).await?.code) }))
    };
    assert_eq!(enrol([0; 16]).await?, (404, Some(ErrorCode::TicketUnknown)));
    assert_eq!(enrol(ticket.token).await?, (200, None));
    assert_eq!(enrol(ticket.token).await?, (410, Some(ErrorCode::TicketUsed)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_too_large_or_unreadable_are_refused() -> TestResult {
    let rig = rig().await?;
    let phone = Phone::new()?;
    let answer = rig.proved(&phone, "/v1/enrol", None, vec![b' '; 1024 * 1024 + 1]).await?;
    assert_eq!(problem(answer).await?.code, ErrorCode::TooLarge);
    let answer = rig.proved(&phone, "/v1/enrol", None, b"{}".to_vec()).await?;
    assert_eq!(problem(answer).await?.code, ErrorCode::Malformed);
    let ticket = rig.ticket("ana", "A")?;
    let enrolled = rig.proved(&phone, "/v1/enrol", None, enrolment(ticket.token)?).await?;
    let enrolled: EnrolAnswer = serde_json::from_slice(&enrolled.bytes().await?)?;
    let token = Some(enrolled.tokens.access.as_str());
    let head = serde_json::to_vec(&Head {
        cursors: BTreeMap::new(),
        device: report(),
        differences: vec![],
        own: None,
    })?;
    let change = serde_json::to_vec(&Mutation {
        seq: DeviceSeq(1),
        id: Uuid::nil(),
        entity: "customer".into(),
        record: Uuid::nil(),
        change: Change::Put,
        was: roundsman_model::Fields::new(),
        settles: vec![],
        base: Rev(0),
        stamp: Stamp(1),
        fields: BTreeMap::new(),
    })?;
    let mut many = vec![head.clone()];
    many.resize(MAX_MUTATIONS + 2, change);
    let bomb = vec![head, vec![b' '; 40 * 1024 * 1024]];
    for lines in [many, bomb] {
        let proof = phone.proof(&rig.url("/v1/sync"), token, Some(&rig.nonce().await?))?;
        let request =
            rig.http.post(rig.url("/v1/sync")).header("dpop", proof).header("content-encoding", "gzip");
        let bearer = format!("DPoP {}", enrolled.tokens.access);
        let answer = request.header("authorization", bearer).body(pack(&lines)?).send().await?;
        assert_eq!(problem(answer).await?.code, ErrorCode::TooLarge);
    }
    let answer = rig.proved(&phone, "/v1/sync", token, b"not json".to_vec()).await?;
    assert_eq!(problem(answer).await?.code, ErrorCode::Malformed);
    // A stranger's body is not even unpacked.
    let answer = rig.proved(&phone, "/v1/sync", Some("invented"), b"not json".to_vec()).await?;
    assert_eq!(problem(answer).await?.code, ErrorCode::TokenInvalid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_with_a_value_of_a_form_that_is_not_known_is_refused_alone_and_the_others_are_taken()
-> TestResult {
    let rig = rig().await?;
    let phone = Phone::new()?;
    let ticket = rig.ticket("ana", "A")?;
    let enrolled = rig.proved(&phone, "/v1/enrol", None, enrolment(ticket.token)?).await?;
    let enrolled: EnrolAnswer = serde_json::from_slice(&enrolled.bytes().await?)?;
    let head = Head { cursors: BTreeMap::new(), device: report(), differences: vec![], own: None };
    let mut lines = vec![serde_json::to_string(&head)?];
    let (wrong, none) = (
        |field: &str| Some(RuleError::WrongKind { field: field.to_owned() }),
        Some(RuleError::UnknownField { field: "drone".to_owned() }),
    );
    let newer = [
        (r#""name":"Corner Shop""#, None),
        (r#""name":{"en":"Shop","nl":["Winkel",{"a":1.5}]}"#, wrong("name")),
        (r#""name":"Mill","tags":[["a"],7]"#, wrong("tags")),
        (r#""name":"Mill","drone":{"wings":4}"#, none),
        (r#""name":"Mill","was":{}},"was":{"tags":{"a":1}"#, wrong("tags")),
        (r#""name":"Mill","brand":null"#, None),
    ];
    for (seq, (fields, _)) in (1..).zip(&newer) {
        let (id, record) = (Uuid::now_v7(), Uuid::now_v7());
        let fields = fields.replace(r#","was":{}"#, "");
        lines.push(format!(
            r#"{{"seq":{seq},"id":"{id}","entity":"customer","record":"{record}","change":"put","base":0,"stamp":1,
            "fields":{{"code":"{seq}","territory":"A",{fields}}}}}"#
        ).replace('\n', " "));
    }
    let access = Some(enrolled.tokens.access.as_str());
    for _ in 0..2 {
        let answer = rig.proved(&phone, "/v1/sync", access, lines.join("\n").into_bytes()).await?;
        assert_eq!(answer.status(), 200);
        let results: Vec<Option<RuleError>> = (frames(answer).await?.into_iter())
            .filter_map(|frame| if let Frame::Result(result) = frame { Some(result.outcome) } else { None })
            .map(|outcome| if let Outcome::Rejected { reason } = outcome { Some(reason) } else { None })
            .collect();
        assert_eq!(results, newer.clone().map(|(_, reason)| reason), "and a repeat is told the same");
    }
    assert_eq!(rig.admin.customer_count()?, 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_keeps_keys_and_data_and_needs_the_databases_key() -> TestResult {
    let rig = rig().await?;
    let pin = rig.server.pin();
    assert!(rig.server.first_admin().is_some_and(|first| first.totp_url.starts_with("otpauth://")));
    let ticket = rig.ticket("ana", "A")?;
    let config = |dir: &std::path::Path| Config {
        data_dir: dir.to_owned(),
        database: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        public_url: None,
        org_name: "Another name".into(),
        anchors: None,
        attachments: roundsman_server::AttachmentConfig::default(),
        first_admin: None,
    };
    rig.server.stop().await;
    drop(rig.admin);
    let again = Server::start(config(rig.dir.path())).await?;
    assert_eq!((again.pin(), again.first_admin().is_none()), (pin, true));
    assert_eq!((again.admin().org_name(), again.admin().users()?.len()), ("Test", 2));
    assert_eq!(Admin::open(rig.dir.path())?.pins(), ticket.pins);
    again.stop().await;
    for file in ["server.key", "tls.key", "tls-spare.key"] {
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(rig.dir.path().join(file))?.permissions(),
        );
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let database = std::fs::read(rig.dir.path().join("roundsman.db"))?;
    assert!(!database.starts_with(b"SQLite format 3"));
    std::fs::remove_file(rig.dir.path().join("server.key"))?;
    let refused = Server::start(config(rig.dir.path())).await;
    assert!(matches!(refused.err(), Some(StartError::KeyMissing)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_answer_and_a_silent_connection_keeps_nobody_waiting() -> TestResult {
    let rig = rig().await?;
    let address = rig.server.url().replace("https://", "");
    // Connections that never shake hands.
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(tokio::net::TcpStream::connect(&address).await?);
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(rig.http.get(rig.url(path)).send().await?.status(), 200);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unsent_work_is_handed_over_with_the_devices_key_alone() -> TestResult {
    let rig = rig().await?;
    let phone = Phone::new()?;
    let path = "/v1/device/rescue";
    let answer = rig.proved(&phone, path, None, b"no segment".to_vec()).await?;
    assert_eq!(problem(answer).await?.code, ErrorCode::DeviceUnknown);
    let ticket = rig.ticket("ana", "A")?;
    let enrolled = rig.proved(&phone, "/v1/enrol", None, enrolment(ticket.token)?).await?;
    let enrolled: EnrolAnswer = serde_json::from_slice(&enrolled.bytes().await?)?;
    rig.admin.lock(Admin::OPERATOR, enrolled.device, "left in a taxi")?;

    let head = SegmentHead { org: enrolled.org, device: enrolled.device, segment: Uuid::now_v7() };
    let (mut sealer, mut bytes) = Sealer::begin([9; 32], &key_pair(&[1; 32]).1, &head)?;
    bytes.extend(sealer.seal(Uuid::now_v7(), 1, &vec![b' '; 2 * 1024 * 1024])?);
    let signed = SignedSegment::sign(bytes, |message| phone.es256(message))?.to_bytes();
    for _ in 0..2 {
        let answer = rig.proved(&phone, path, None, signed.clone()).await?;
        assert_eq!(answer.status(), 200);
        let answer: RescueAnswer = serde_json::from_slice(&answer.bytes().await?)?;
        assert_eq!(answer.stored, head.segment);
    }
    let waiting = rig.admin.rescue_waiting()?;
    assert_eq!(waiting.iter().map(|it| (it.device, it.segments)).collect::<Vec<_>>(), [(head.device, 1)]);
    let stranger = Phone::new()?;
    let forged = SignedSegment::sign(b"not a segment".to_vec(), |message| stranger.es256(message))?;
    let answer = rig.proved(&phone, path, None, forged.to_bytes()).await?;
    assert_eq!((answer.status().as_u16(), problem(answer).await?.code), (400, ErrorCode::Malformed));
    let answer = rig.proved(&phone, path, None, vec![0; MAX_SEGMENT + 257]).await?;
    assert_eq!(problem(answer).await?.code, ErrorCode::TooLarge);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_with_neither_a_devices_key_nor_a_session() -> TestResult {
    let rig = rig().await?;
    rig.ticket("ana", "A")?;
    let doors = ["enrol", "enrol/begin", "enrol/finish", "token", "device/checkin", "device/rescue", "sync"];
    for path in doors.map(|door| format!("/v1/{door}")) {
        for key in [None, Some("Bearer a-key-of-some-program"), Some("Basic YWRtaW46YWRtaW4=")] {
            let request = rig.http.post(rig.url(&path)).body("{}");
            let request = key.into_iter().fold(request, |request, key| request.header("authorization", key));
            let answer = request.send().await?;
            // What can't be read is refused before its proof is asked for.
            let code = problem(answer).await?.code;
            let refused = [ErrorCode::ProofInvalid, ErrorCode::TokenInvalid, ErrorCode::Malformed];
            assert!(refused.contains(&code), "{path}: {code}");
        }
    }
    // Programs of others have no door: none of those that they are used to find is there.
    for path in
        ["/api", "/api/v1/customers", "/v1/customers", "/v1/export", "/graphql", "/webhooks", "/oauth/token"]
    {
        for method in [reqwest::Method::GET, reqwest::Method::POST] {
            let answer = rig.http.request(method, rig.url(path)).send().await?;
            assert!([404, 405].contains(&answer.status().as_u16()), "{path}: {}", answer.status());
        }
    }
    for page in [
        "",
        "/devices",
        "/customers",
        "/visits",
        "/users",
        "/approvals",
        "/rescue",
        "/enrol",
        "/enrolments",
        "/alerts",
        "/rules",
        "/import",
    ] {
        let answer = rig.http.get(rig.url(&format!("/console{page}"))).send().await?;
        assert_eq!(answer.url().path(), "/console/sign-in", "{page}");
        assert!(!answer.text().await?.contains("ana@"), "{page}");
    }
    Ok(())
}
