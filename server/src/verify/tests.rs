//! Whatever happened by way of the server, nothing is wrong; and what happened past it is found by name.

use super::{Finding, FindingKind, Report};
use crate::admin::{AlertKind, Mapping, TerritoryFrom};
use crate::storage::Storage;
use crate::storage::sqlite::Sqlite;
use crate::testkit::{Org, Phone, TestResult};
use chrono::TimeDelta;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use roundsman_model::visit::State;
use roundsman_model::{Bucket, FieldType, Value};
use roundsman_protocol::api::Checkin;
use roundsman_protocol::audit::{Action, AuditReport, Head, head_message};
use roundsman_protocol::integrity::Sums;
use roundsman_protocol::sync::{Change, Frame, Mutation, Outcome};
use std::collections::BTreeMap;
use uuid::Uuid;

fn check(org: &Org) -> TestResult<Report> {
    Ok(org.admin.verify(true, &mut |_, _| {})?)
}

fn kinds(report: &Report) -> Vec<FindingKind> {
    let mut kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    kinds.dedup();
    kinds
}

/// An organisation with two customers in one territory, one in another, and one that was removed.
fn field() -> TestResult<(Org, [Uuid; 4])> {
    let org = Org::new()?;
    let at = |code: &str, territory: &str| org.customer(code, "Corner Shop", territory);
    let ids = [at("1", "A")?, at("2", "A")?, at("3", "B")?, at("4", "A")?];
    org.admin.remove_customer(org.boss, ids[3])?;
    Ok((org, ids))
}

fn hex(id: Uuid) -> String {
    id.simple().to_string()
}

/// A condition on a column with an id, in SQL of either database.
fn is(org: &Org, column: &str, id: Uuid) -> String {
    if org.on_postgres() {
        format!("{column} = decode('{}', 'hex')", hex(id))
    } else {
        format!("{column} = x'{}'", hex(id))
    }
}

#[test]
fn a_clean_system_has_nothing_wrong_and_says_how_much_was_checked() -> TestResult {
    let (org, _) = field()?;
    let mut steps = Vec::new();
    let report = org.admin.verify(false, &mut |part, _| steps.push(part))?;
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.checked.buckets, report.checked.records, report.checked.log_lines), (2, 3, 4));
    steps.dedup();
    assert_eq!(steps.len(), 5, "every part tells how far it is: {steps:?}");
    Ok(())
}

/// Checks, has the findings told, and lists the alerts: what, its figures, and who has seen it.
fn noted(org: &Org, contents: bool) -> TestResult<Vec<(AlertKind, String, Option<String>)>> {
    org.admin.note_findings(&org.admin.verify(contents, &mut |_, _| {})?)?;
    let alerts = org.admin.alerts(50)?.into_iter();
    Ok(alerts.map(|alert| (alert.kind, alert.detail, alert.seen.map(|(by, _)| by))).collect())
}

#[test]
fn a_finding_is_one_alert_until_it_is_seen_or_a_check_does_not_find_it_any_more() -> TestResult {
    let (org, _) = field()?;
    assert!(noted(&org, true)?.is_empty());
    org.tamper("UPDATE bucket_sum SET rows = rows + 1")?;
    let kind = AlertKind::Found(FindingKind::BucketSum);
    let detail = "found by a check 2 times, first in territory/A";
    let open = (kind, detail.to_owned(), None);
    assert_eq!(noted(&org, false)?, std::slice::from_ref(&open));
    assert_eq!(noted(&org, false)?, std::slice::from_ref(&open), "told once");
    org.tamper("UPDATE bucket_sum SET rows = rows - 1")?;
    let closed = format!("{detail}; a later check did not find it any more");
    let closed = (kind, closed, Some("the server".to_owned()));
    assert_eq!(noted(&org, false)?, std::slice::from_ref(&closed));
    assert_eq!(noted(&org, false)?, std::slice::from_ref(&closed));
    assert_eq!(org.admin.acts(1)?[0].action, "close_alert");

    // What comes back, or stays once somebody has seen it, is told anew.
    org.tamper("UPDATE bucket_sum SET rows = rows + 1")?;
    assert_eq!(noted(&org, false)?, [open.clone(), closed.clone()]);
    let first = org.admin.alerts(1)?.remove(0);
    org.admin.acknowledge(org.boss, first.id)?;
    let seen = (kind, detail.to_owned(), Some("Boss".to_owned()));
    assert_eq!(noted(&org, false)?, [open, seen.clone(), closed.clone()]);
    org.tamper("UPDATE bucket_sum SET rows = rows - 1")?;
    assert_eq!(
        noted(&org, false)?,
        [closed.clone(), seen, closed],
        "what somebody has seen is left as it is"
    );
    Ok(())
}

#[test]
fn several_kinds_are_an_alert_each_and_none_tells_what_a_record_holds() -> TestResult {
    let (org, ids) = field()?;
    let other = r#"{"code":"1","name":"Other Shop","territory":"A"}"#;
    org.tamper(&format!("UPDATE record SET fields = '{other}' WHERE {}", is(&org, "id", ids[0])))?;
    let alerts = noted(&org, false)?;
    let mut kinds: Vec<_> = alerts.iter().map(|(kind, ..)| *kind).collect();
    kinds.reverse();
    let expected = [FindingKind::RecordChanged, FindingKind::BucketSum].map(AlertKind::Found);
    assert_eq!(kinds, expected);
    let place = format!("first in territory/A, customer {}", ids[0]);
    assert!(alerts.iter().any(|(_, detail, _)| *detail == format!("found by a check 1 time, {place}")));
    assert!(alerts.iter().all(|(_, detail, _)| !detail.contains("Shop") && !detail.contains("Other")));
    Ok(())
}

#[test]
fn a_check_that_did_not_look_does_not_close_an_alert() {
    let found = |kind, whole| {
        let mut report = Report { whole, ..Report::default() };
        report.add(Finding::detailed(kind, String::new()));
        report
    };
    let clean = |whole| Report { whole, ..Report::default() };
    assert!(
        clean(false).tells_of(FindingKind::BucketSum) && clean(false).tells_of(FindingKind::ContentMissing)
    );
    assert!(!clean(false).tells_of(FindingKind::ContentChanged), "no content was read through");
    assert!(clean(true).tells_of(FindingKind::ContentChanged));
    for hides in [FindingKind::Unreadable, FindingKind::Database] {
        assert!(!found(hides, true).tells_of(FindingKind::BucketSum), "it may lie behind what can't be read");
    }
}

#[test]
fn an_edit_past_the_server_is_found_by_its_kind_its_bucket_and_its_id() -> TestResult {
    use FindingKind::{
        BucketSum, LogEnd, NotGone, NotLogged, NotThere, RecordChanged, RecordInOtherBucket,
        RecordUnreadable, RemovalNotLogged, Search,
    };
    let (a, b) = (Bucket::territory("A"), Bucket::territory("B"));
    for (sql, expected, bucket, about) in [
        (
            "UPDATE record SET fields = '{\"code\":\"1\",\"name\":\"Other\",\"territory\":\"A\"}' WHERE {0}",
            vec![RecordChanged, BucketSum],
            &a,
            Some(0),
        ),
        ("UPDATE record SET marks = '7' WHERE {0}", vec![RecordUnreadable], &a, Some(0)),
        ("UPDATE record SET rev = 9 WHERE {2}", vec![RecordChanged, BucketSum], &b, Some(2)),
        (
            "UPDATE record SET bucket = 'territory/B' WHERE {0}",
            vec![RecordInOtherBucket, BucketSum, NotLogged, NotThere],
            &b,
            Some(0),
        ),
        ("DELETE FROM record WHERE {1}", vec![BucketSum, NotThere, Search], &a, None),
        ("UPDATE record SET removed = 0 WHERE {3}", vec![], &a, Some(3)),
        ("UPDATE bucket_sum SET rows = rows + 1 WHERE bucket = 'territory/B'", vec![BucketSum], &b, None),
        ("DELETE FROM bucket_sum WHERE bucket = 'territory/B'", vec![BucketSum], &b, None),
        ("DELETE FROM log WHERE {L0}", vec![NotLogged], &a, Some(0)),
        ("DELETE FROM log WHERE {L3}", vec![LogEnd, RemovalNotLogged], &a, None),
        ("UPDATE log SET removed_rev = 2 WHERE {L0}", vec![NotLogged, NotGone], &a, Some(0)),
        ("UPDATE log SET removed_rev = 77 WHERE {L3}", vec![RemovalNotLogged, NotGone], &a, Some(3)),
        ("UPDATE bucket SET last_seq = 99 WHERE name = 'territory/B'", vec![LogEnd], &b, None),
        ("DELETE FROM bucket WHERE name = 'territory/B'", vec![LogEnd], &b, None),
    ] {
        let (org, ids) = field()?;
        let mut damage = sql.to_owned();
        for (at, record) in ids.iter().enumerate() {
            damage = damage.replace(&format!("{{{at}}}"), &is(&org, "id", *record));
            damage = damage.replace(&format!("{{L{at}}}"), &is(&org, "record", *record));
        }
        let mut expected = expected;
        if org.on_postgres() && damage.starts_with("DELETE FROM record ") {
            // The search of this one refers to its records.
            let words = damage.replace("DELETE FROM record WHERE", "SELECT n FROM record WHERE");
            org.tamper(&format!("DELETE FROM record_search WHERE n IN ({words})"))?;
            expected.retain(|kind| *kind != Search);
        }
        org.tamper(&damage)?;
        let report = check(&org)?;
        for kind in &expected {
            assert!(report.has(*kind), "{sql}: {kind:?} is not among {:?}", report.findings);
        }
        let told = |finding: &Finding| {
            finding.bucket.as_ref() == Some(bucket)
                && about.is_none_or(|at: usize| finding.id == Some(ids[at]))
        };
        assert!(report.findings.iter().any(told), "{sql}: {:?}", report.findings);
        for finding in &report.findings {
            assert!(!finding.to_string().contains("Shop"), "no field of a record is told: {finding}");
        }
    }
    Ok(())
}

#[test]
fn a_search_that_is_not_in_step_and_a_damaged_index_are_found() -> TestResult {
    let (org, ids) = field()?;
    let of = |org: &Org, at: Uuid| format!("(SELECT n FROM record WHERE {})", is(org, "id", at));
    let gone = if org.on_postgres() { "n" } else { "rowid" };
    org.tamper(&format!("DELETE FROM record_search WHERE {gone} = {}", of(&org, ids[1])))?;
    let report = check(&org)?;
    assert_eq!(kinds(&report), [FindingKind::Search]);
    assert_eq!(report.findings[0].id, Some(ids[1]));
    Ok(())
}

#[test]
fn a_damaged_page_is_a_finding_wherever_it_is_and_the_rest_is_checked() -> TestResult {
    let (org, _) = field()?;
    if org.on_postgres() {
        return Ok(());
    }
    for n in 0..40 {
        org.customer(&format!("X{n}"), &"A long name of a store ".repeat(6), "A")?;
    }
    let (file, _) = org.file();
    let settled: i64 =
        org.raw_database()?.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    assert_eq!(settled, 0);
    let whole = std::fs::read(&file)?;
    let other = tempfile::tempdir()?;
    let copy = other.path().join("roundsman.db");
    let (mut opened, mut parts) = (0, std::collections::BTreeSet::new());
    for page in 1..whole.len() / 4096 {
        let mut damaged = whole.clone();
        damaged[page * 4096 + 100] ^= 1;
        std::fs::write(&copy, damaged)?;
        let Ok(storage) = Sqlite::open_as_is(&copy, org.file().1) else { continue };
        opened += 1;
        let mut report = Report::default();
        super::one_moment(storage.read()?.as_ref(), &mut report, &mut |_, _| {})?;
        assert!(!report.is_sound(), "page {page} of {} was taken for whole", whole.len() / 4096);
        parts.extend(report.findings.into_iter().filter_map(|finding| finding.detail));
    }
    assert!(opened > 10 && parts.len() > 2, "{opened} pages, {parts:?}");
    Ok(())
}

#[test]
fn an_audit_entry_that_was_changed_is_found_with_everything_else() -> TestResult {
    let org = Org::new()?;
    let rep = org.rep("ana", &["A"])?;
    let phone = org.phone(rep)?;
    let mut head = Head::default();
    let mut entries = Vec::new();
    for action in [Action::Opened, Action::RecordViewed, Action::Searched] {
        let (next, bytes) = head.append(org.now(), rep.0, phone.id, action, None);
        head = next;
        entries.push(bytes);
    }
    let signature = phone.es256(&head_message(phone.id, head))?.to_vec();
    let audit = Some(AuditReport { entries, head, signature });
    phone.check_in(&Checkin { audit, ..phone.report() })?;
    assert!(check(&org)?.is_sound());
    let drop_guard =
        if org.on_postgres() { "DROP TRIGGER audit_stands ON audit" } else { "DROP TRIGGER audit_stands" };
    org.tamper(drop_guard)?;
    org.tamper("UPDATE audit SET action = 'closed' WHERE seq = 2")?;
    let report = check(&org)?;
    assert_eq!(kinds(&report), [FindingKind::DeviceAudit]);
    assert_eq!(report.findings[0].id, Some(phone.id.0));
    Ok(())
}

/// What happens to customers by way of the server.
#[derive(Clone, Debug)]
enum Event {
    /// A file is imported: code, name, territory.
    Import(Vec<(u8, u8, u8)>),
    /// A phone writes a name, over the first version.
    Write(u8, u8),
    /// A phone makes a customer.
    Make(u8, u8),
    /// A phone makes a visit, writes it and perhaps removes it.
    Visit(u8, bool),
    Remove(u8),
    Restore(u8),
    Erase(u8),
    /// Removals become too old to be brought back.
    Forget,
    /// Time passes.
    Wait,
}

fn event() -> impl Strategy<Value = Event> {
    let (code, name, territory) = (0u8..6, 0u8..4, 0u8..3);
    prop_oneof![
        4 => prop::collection::vec((code.clone(), name.clone(), territory), 1..5).prop_map(Event::Import),
        4 => (code.clone(), name.clone()).prop_map(|(code, name)| Event::Write(code, name)),
        1 => (code.clone(), name).prop_map(|(code, name)| Event::Make(code, name)),
        2 => (code.clone(), any::<bool>()).prop_map(|(code, gone)| Event::Visit(code, gone)),
        3 => code.clone().prop_map(Event::Remove),
        2 => code.clone().prop_map(Event::Restore),
        1 => code.prop_map(Event::Erase),
        1 => Just(Event::Forget),
        1 => Just(Event::Wait),
    ]
}

const TERRITORIES: [&str; 3] = ["A", "B", "C"];

struct World {
    org: Org,
    phones: Vec<Phone>,
    rep: Uuid,
    removed: BTreeMap<u8, Uuid>,
}

impl World {
    fn new() -> TestResult<Self> {
        let org = Org::new()?;
        let rep = org.rep("ana", &TERRITORIES)?;
        let bo = org.rep("bo", &TERRITORIES)?;
        let phones = vec![org.phone(rep)?, org.phone(bo)?];
        Ok(Self { org, phones, rep: rep.0, removed: BTreeMap::new() })
    }

    fn known(&self, code: u8) -> TestResult<Option<Uuid>> {
        let found = self.org.app.storage.read()?.customer_by_code(&format!("C{code}"))?;
        Ok(found.map(|record| record.id))
    }

    /// Whether the server took it.
    fn send(&mut self, phone: usize, change: impl FnOnce(&mut Phone) -> Mutation) -> TestResult<bool> {
        let change = change(&mut self.phones[phone]);
        let frames = self.phones[phone].sync(&[change])?;
        let taken = |frame: &Frame| matches!(frame, Frame::Result(result) if matches!(result.outcome, Outcome::Applied { .. }));
        Ok(frames.iter().any(taken))
    }

    fn happen(&mut self, event: Event) -> TestResult {
        match event {
            Event::Import(rows) => {
                let mut csv = "code,name,territory\n".to_owned();
                for (code, name, territory) in rows {
                    csv.push_str(&format!("C{code},Name {name},{}\n", TERRITORIES[usize::from(territory)]));
                }
                let mut mapping = Mapping::guess(&["code".into(), "name".into(), "territory".into()]);
                mapping.territory = TerritoryFrom::Column("territory".into());
                self.org.admin.import_customers(self.org.boss, csv.as_bytes(), &mapping, &mut |_| {})?;
            }
            Event::Write(code, name) => {
                let Some(id) = self.known(code)? else { return Ok(()) };
                let (phone, name) = (usize::from(name % 2), format!("Written {name}"));
                // Over the first version, so that the two phones collide.
                let fields = [("name", Value::from(name.as_str()))];
                self.send(phone, |phone| phone.put("customer", id, 1, &fields))?;
            }
            Event::Make(code, name) => {
                let fields = [
                    ("code", Value::from(format!("C{code}").as_str())),
                    ("name", Value::from(format!("Made {name}").as_str())),
                    ("territory", "B".into()),
                ];
                self.send(1, |phone| phone.put("customer", Uuid::now_v7(), 0, &fields))?;
            }
            Event::Visit(code, gone) => {
                let Some(customer) = self.known(code)? else { return Ok(()) };
                let visit = Uuid::now_v7();
                let fields = [
                    ("customer", Value::Id(customer)),
                    ("rep", Value::Id(self.rep)),
                    ("state", State::Planned.to_value()),
                    ("territory", "somewhere".into()),
                    ("day", "2026-11-26".into()),
                ];
                assert!(self.send(0, |phone| phone.put("visit", visit, 0, &fields))?);
                if gone {
                    assert!(self.send(0, |phone| phone.delete("visit", visit))?);
                    let back = |phone: &mut Phone| Mutation {
                        change: Change::Restore,
                        ..phone.put("visit", visit, 2, &[])
                    };
                    assert!(self.send(0, back)?);
                }
            }
            Event::Remove(code) => {
                let Some(id) = self.known(code)? else { return Ok(()) };
                self.org.admin.remove_customer(self.org.boss, id)?;
                self.removed.insert(code, id);
            }
            Event::Restore(code) => {
                // Another may have its code by now, or it was erased.
                if let Some(id) = self.removed.get(&code) {
                    let _refused = self.org.admin.restore_customer(self.org.boss, *id);
                }
            }
            Event::Erase(code) => {
                if let Some(id) = self.removed.get(&code) {
                    let _refused = self.org.admin.erase_customer(self.org.boss, *id);
                }
            }
            Event::Forget => {
                let mut tx = self.org.app.storage.write()?;
                crate::admin::forget_old(tx.as_mut(), self.org.now() + TimeDelta::days(1))?;
                tx.commit()?;
            }
            Event::Wait => self.org.wait(TimeDelta::seconds(3)),
        }
        Ok(())
    }

    /// Sums of all buckets as they are kept.
    fn sums(&self) -> TestResult<BTreeMap<Bucket, Sums>> {
        Ok(self.org.app.storage.read()?.all_sums()?.into_iter().collect())
    }
}

#[test]
fn after_any_history_sums_that_were_kept_are_those_that_are_counted_and_nothing_is_wrong() -> TestResult {
    let config = Config { cases: 10, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&prop::collection::vec(event(), 1..25), |events| {
        let run = || -> TestResult {
            let mut world = World::new()?;
            for event in events {
                world.happen(event)?;
            }
            let report = check(&world.org)?;
            assert!(report.is_sound(), "{:?}", report.findings);
            let kept = world.sums()?;
            let mut tx = world.org.app.storage.write()?;
            tx.recount()?;
            tx.commit()?;
            assert_eq!(kept, world.sums()?);
            Ok(())
        };
        run().map_err(|error| TestCaseError::fail(error.to_string()))
    })?;
    Ok(())
}
