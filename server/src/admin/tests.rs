//! What administration promises.

use super::{AdminError, Mapping, NewUser, SignInError, TerritoryFrom};
use crate::testkit::{EMAIL, Org, PASSWORD, TestResult};
use chrono::{NaiveDate, TimeDelta};
use roundsman_model::{Role, UserId};
use totp_rs::{Builder, Secret as TotpSecret};
use uuid::Uuid;

fn code(org: &Org) -> TestResult<String> {
    let secret = TotpSecret::try_from_base32(&org.totp_secret)?;
    let totp = Builder::new().with_secret(secret).with_account_name(EMAIL).build()?;
    Ok(totp.generate(org.now().timestamp() as u64).to_string())
}

#[test]
fn a_session_needs_the_password_and_a_code_that_was_not_used() -> TestResult {
    let org = Org::new()?;
    let right = code(&org)?;
    let wrong = org.admin.sign_in(EMAIL, &"not the password".into(), &right);
    assert!(matches!(wrong, Err(SignInError::WrongCredentials)));
    assert!(matches!(org.admin.sign_in(EMAIL, &PASSWORD.into(), "000000"), Err(SignInError::WrongCode)));
    let session = org.admin.sign_in("Admin@Example.com ", &PASSWORD.into(), &right)?;
    assert_eq!(org.admin.session(&session.token).map(|signed_in| signed_in.user.id), Some(org.boss));
    let again = org.admin.sign_in(EMAIL, &PASSWORD.into(), &right);
    assert!(matches!(again, Err(SignInError::WrongCode)), "a code is good once");
    org.admin.sign_out(&session.token)?;
    assert!(org.admin.session(&session.token).is_none());
    Ok(())
}

#[test]
fn a_session_ends_after_half_an_hour_unused_and_half_a_day_in_all() -> TestResult {
    let org = Org::new()?;
    let session = org.admin.sign_in(EMAIL, &PASSWORD.into(), &code(&org)?)?;
    for _ in 0..24 {
        org.wait(TimeDelta::minutes(29));
        assert!(org.admin.session(&session.token).is_some());
    }
    org.wait(TimeDelta::minutes(25));
    assert!(org.admin.session(&session.token).is_none(), "twelve hours are over");
    let session = org.admin.sign_in(EMAIL, &PASSWORD.into(), &code(&org)?)?;
    org.wait(TimeDelta::minutes(31));
    assert!(org.admin.session(&session.token).is_none());
    Ok(())
}

#[test]
fn five_failures_make_an_account_wait() -> TestResult {
    let org = Org::new()?;
    for email in [EMAIL, "nobody@example.com"] {
        for _ in 0..5 {
            let wrong = org.admin.sign_in(email, &"guess guess guess".into(), "000000");
            assert!(matches!(wrong, Err(SignInError::WrongCredentials)));
        }
        let waits = org.admin.sign_in(email, &PASSWORD.into(), &code(&org)?);
        assert!(matches!(waits, Err(SignInError::Throttled { seconds }) if (1..=900).contains(&seconds)));
    }
    org.wait(TimeDelta::minutes(16));
    assert!(org.admin.sign_in(EMAIL, &PASSWORD.into(), &code(&org)?).is_ok());
    Ok(())
}

#[test]
fn only_administrators_act_and_each_act_is_recorded() -> TestResult {
    let org = Org::new()?;
    let rep = org.rep("ana", &["A"])?;
    let phone = org.phone(rep)?;
    let no = |result: Result<(), AdminError>| matches!(result, Err(AdminError::NotAllowed));
    assert!(no(org.admin.lock(rep, phone.id, "x")));
    assert!(no(org.admin.propose_wipe(rep, phone.id, "x", false).map(|_| ())));
    assert!(no(org.admin.set_territories(rep, rep, vec!["B".into()])));
    assert!(no(org.admin.issue_ticket(UserId(Uuid::now_v7()), rep).map(|_| ())));
    org.admin.lock(org.boss, phone.id, "left in a taxi")?;
    let acts: Vec<String> = org.admin.acts(10)?.into_iter().map(|act| act.action).collect();
    assert_eq!(acts, ["lock", "issue_ticket", "add_user", "add_user"]);
    assert_eq!(org.app.storage.read()?.admin_acts(1)?[0].object, phone.id.to_string());
    Ok(())
}

#[test]
fn a_user_needs_an_email_of_its_own_and_an_administrator_a_password() -> TestResult {
    let org = Org::new()?;
    org.rep("ana", &[])?;
    let add = |email: &str, role, password: Option<&str>| {
        let password = password.map(Into::into);
        let user = NewUser { email: email.into(), name: "N".into(), role, territories: vec![], password };
        org.admin.add_user(org.boss, user)
    };
    assert!(matches!(add("ANA@example.com", Role::Rep, None), Err(AdminError::EmailTaken)));
    assert!(matches!(add("no email", Role::Rep, None), Err(AdminError::EmailInvalid)));
    assert!(matches!(add("b@example.com", Role::Admin, None), Err(AdminError::PasswordMissing)));
    assert!(matches!(add("b@example.com", Role::Admin, Some("short")), Err(AdminError::PasswordTooShort)));
    Ok(())
}

const FILE: &str = "\u{feff}Store ID,Name,State,Latitude,Phone\n\
    1,\"Café\nCorner\",NJ,40.5,+1 555 0100\n\
    2,Broken,NJ,far north,\n\
    3,,NJ,,\n\
    4,Elsewhere,NY,,\n\
    5,Short,NJ\n\
    6,沈阳店,NJ,,\n";

fn mapping() -> Mapping {
    Mapping::guess(&["\u{feff}Store ID", "Name", "State", "Latitude", "Phone"].map(str::to_owned))
}

#[test]
fn columns_are_guessed_from_their_names() {
    let mapping = mapping();
    let column = |field: &str| mapping.columns.get(field).map(String::as_str);
    assert_eq!(column("code"), Some("Store ID"));
    assert_eq!((column("lat"), column("region"), column("brand")), (Some("Latitude"), Some("State"), None));
    assert_eq!(mapping.territory, TerritoryFrom::Column("State".into()));
}

#[test]
fn an_import_keeps_the_good_rows_and_names_line_and_reason_of_the_broken() -> TestResult {
    let org = Org::new()?;
    let mut heard = 0;
    let report =
        org.admin.import_customers(org.boss, FILE.as_bytes(), &mapping(), &mut |read| heard = read)?;
    assert_eq!((report.read, report.created, heard), (6, 3, 6));
    let broken: Vec<(u64, Option<&str>)> =
        report.rejected.iter().map(|row| (row.row, row.column.as_deref())).collect();
    // The first row spans two lines.
    assert_eq!(broken, [(4, Some("Latitude")), (5, Some("Name")), (7, None)]);
    assert!(report.rejected.iter().all(|row| !row.reason.is_empty()));

    let changed = FILE.replace("40.5", "40.6");
    let report = org.admin.import_customers(org.boss, changed.as_bytes(), &mapping(), &mut |_| {})?;
    assert_eq!((report.created, report.updated, report.unchanged), (0, 1, 2));
    let only = Mapping { filter: Some(("State".into(), "NY".into())), ..mapping() };
    let report = org.admin.import_customers(org.boss, FILE.as_bytes(), &only, &mut |_| {})?;
    assert_eq!((report.read, report.unchanged), (1, 1));
    assert_eq!(org.admin.customer_count()?, 3);
    Ok(())
}

#[test]
fn customers_are_found_as_people_type_and_listed_by_pages() -> TestResult {
    let org = Org::new()?;
    org.admin.import_customers(org.boss, FILE.as_bytes(), &mapping(), &mut |_| {})?;
    let names = |query: &str| -> TestResult<Vec<String>> {
        Ok(org.admin.customers(query, None, 10)?.into_iter().map(|customer| customer.name).collect())
    };
    assert_eq!(names("cor caf")?, ["Café\nCorner"]);
    assert_eq!(names("0100")?, ["Café\nCorner"]);
    assert_eq!(names("沈")?, ["沈阳店"]);
    assert!(names("nowhere")?.is_empty() && names("\"* (")?.is_empty());
    let first = org.admin.customers("", None, 2)?;
    let rest = org.admin.customers("", first.last().map(|customer| customer.id), 2)?;
    assert_eq!((first.len(), rest.len()), (2, 1));
    assert!(first.iter().all(|customer| customer.id != rest[0].id));
    Ok(())
}

#[test]
fn a_round_reaches_the_reps_phone_in_its_order() -> TestResult {
    let org = Org::new()?;
    let (one, two) = (org.customer("1", "One", "A")?, org.customer("2", "Two", "A")?);
    let far = org.customer("3", "Far", "B")?;
    let rep = org.rep("ana", &["A"])?;
    let day = NaiveDate::from_ymd_opt(2027, 1, 15).ok_or("day")?;
    for wrong in [vec![one, one], vec![far], vec![]] {
        let refused = org.admin.plan_round(org.boss, rep, day, &wrong);
        assert!(matches!(refused, Err(AdminError::RoundInvalid)), "{refused:?}");
    }
    let ids = org.admin.plan_round(org.boss, rep, day, &[two, one])?;
    let planned = org.admin.visits_on(day)?;
    assert_eq!(
        planned.iter().map(|visit| (visit.id, visit.customer)).collect::<Vec<_>>(),
        [(ids[0], two), (ids[1], one)]
    );
    let mut phone = org.phone(rep)?;
    let frames = phone.sync(&[])?;
    let sent = format!("{frames:?}");
    assert!(ids.iter().all(|id| sent.contains(&id.to_string())));
    Ok(())
}
