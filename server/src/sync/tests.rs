//! What sync promises.

use crate::admin::DeviceStatus;
use crate::refusal::Refusal;
use crate::testkit::{Org, Phone, TestResult};
use roundsman_model::visit::State;
use roundsman_model::{Bucket, DeviceSeq, FieldType, Fields, RuleError, Seq, Value};
use roundsman_protocol::integrity::declarations;
use roundsman_protocol::sync::{Frame, Mutation, Outcome, Own, Page, Row};
use roundsman_protocol::{ErrorCode, Problem};
use std::error::Error;
use std::fmt::Write;
use uuid::Uuid;

pub(super) fn outcomes(frames: &[Frame]) -> Vec<Outcome> {
    frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::Result(result) => Some(result.outcome.clone()),
            _ => None,
        })
        .collect()
}

fn pages(frames: &[Frame]) -> Vec<&Page> {
    frames
        .iter()
        .filter_map(|frame| match frame {
            Frame::Page(page) => Some(page),
            _ => None,
        })
        .collect()
}

pub(super) fn rows(frames: &[Frame]) -> Vec<&Row> {
    pages(frames).into_iter().flat_map(|page| &page.rows).collect()
}

fn problem(error: Box<dyn Error>) -> Option<Problem> {
    match error.downcast::<Refusal>().map(|refusal| *refusal) {
        Ok(Refusal::Problem(problem)) => Some(problem),
        _ => None,
    }
}

fn refused(result: TestResult<Vec<Frame>>) -> Option<(ErrorCode, Option<DeviceSeq>)> {
    result.err().and_then(problem).map(|problem| (problem.code, problem.expected))
}

pub(super) fn rejected(outcome: &Outcome) -> Option<&RuleError> {
    match outcome {
        Outcome::Rejected { reason } => Some(reason),
        Outcome::Applied { .. } => None,
    }
}

/// A planned visit by the phone's own rep.
pub(super) fn visit(phone: &mut Phone, rep: Uuid, customer: Uuid, extra: &[(&str, Value)]) -> Mutation {
    let mut fields = vec![
        ("customer", Value::Id(customer)),
        ("rep", Value::Id(rep)),
        ("territory", "somewhere".into()),
        ("state", State::Planned.to_value()),
        ("day", "2027-01-15".into()),
    ];
    fields.extend_from_slice(extra);
    phone.put("visit", Uuid::now_v7(), 0, &fields)
}

pub(super) fn value(row: &Row, name: &str) -> Option<Value> {
    row.fields.as_ref().and_then(|fields: &Fields| fields.get(name).cloned())
}

#[test]
fn a_change_is_applied_exactly_once_however_often_it_is_sent() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let mut phone = org.phone(org.rep("ana", &["A"])?)?;
    let change = phone.put("customer", store, 1, &[("notes", "mind the dog".into())]);
    let first = outcomes(&phone.sync(std::slice::from_ref(&change))?);
    assert!(matches!(first.as_slice(), [Outcome::Applied { rev, .. }] if rev.0 == 2), "{first:?}");
    assert_eq!(outcomes(&phone.sync(std::slice::from_ref(&change))?), first);
    let next = phone.put("customer", store, 2, &[("phone", "555-0100".into())]);
    let both = outcomes(&phone.sync(&[change, next])?);
    assert_eq!(both.first(), first.first());
    assert!(matches!(both.get(1), Some(Outcome::Applied { rev, .. }) if rev.0 == 3));
    Ok(())
}

#[test]
fn a_gap_is_named_and_nothing_after_it_is_applied() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let mut phone = org.phone(org.rep("ana", &["A"])?)?;
    let first = phone.put("customer", store, 1, &[("notes", "one".into())]);
    let _lost = phone.put("customer", store, 1, &[("notes", "two".into())]);
    let third = phone.put("customer", store, 1, &[("notes", "three".into())]);
    let result = phone.sync(&[first.clone(), third]);
    assert_eq!(refused(result), Some((ErrorCode::SeqGap, Some(DeviceSeq(2)))));
    assert_eq!(org.stored(&phone)?.applied, DeviceSeq(0));
    assert_eq!(org.admin.customer(store)?.and_then(|customer| customer.notes), None);
    // Another change under a number that was used: the phone was set back.
    phone.sync(std::slice::from_ref(&first))?;
    let other = Mutation { id: Uuid::now_v7(), ..first };
    assert_eq!(refused(phone.sync(&[other])), Some((ErrorCode::SeqGap, Some(DeviceSeq(2)))));
    Ok(())
}

#[test]
fn a_collision_is_settled_and_the_losing_value_is_kept() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let (ana, bo) = (org.rep("ana", &["A"])?, org.rep("bo", &["A"])?);
    let (mut first, mut second) = (org.phone(ana)?, org.phone(bo)?);
    let early = first.put("customer", store, 1, &[("name", "Early".into())]);
    org.wait(chrono::TimeDelta::seconds(1));
    let late = second.put("customer", store, 1, &[("name", "Late".into()), ("city", "Town".into())]);
    second.sync(&[late])?;
    let answer = outcomes(&first.sync(&[early])?);
    let [Outcome::Applied { conflicts, .. }] = answer.as_slice() else { return Err("not applied".into()) };
    assert_eq!(conflicts.len(), 1);
    assert!(conflicts[0].lost_is_mine);
    let shown = org.admin.conflicts(10)?;
    assert_eq!(shown.len(), 1);
    assert_eq!((shown[0].kept.clone(), shown[0].lost.clone()), ("Late".into(), "Early".into()));
    assert_eq!(shown[0].customer_name, "Late");
    let now = org.admin.customer(store)?.ok_or("customer")?;
    assert_eq!((now.name.as_str(), now.city.as_deref()), ("Late", Some("Town")));
    Ok(())
}

#[test]
fn a_rejected_change_steps_aside_and_the_others_go_on() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let rep = org.rep("ana", &["A"])?;
    let mut phone = org.phone(rep)?;
    let changes = [
        phone.put("spaceship", Uuid::now_v7(), 0, &[]),
        phone.put("customer", store, 1, &[("lat", Value::Real(200.0))]),
        visit(&mut phone, rep.0, store, &[("state", "checked_out".into())]),
        phone.delete("customer", store),
        phone.put("customer", Uuid::now_v7(), 5, &[("name", "ghost".into())]),
        visit(&mut phone, rep.0, store, &[]),
    ];
    let results = outcomes(&phone.sync(&changes)?);
    let reasons: Vec<Option<&RuleError>> = results.iter().map(rejected).collect();
    assert_eq!(
        reasons,
        [
            Some(&RuleError::UnknownEntity),
            Some(&RuleError::OutOfRange { field: "lat".into() }),
            Some(&RuleError::Required { field: "started_at".into() }),
            Some(&RuleError::NotAllowed),
            Some(&RuleError::NoSuchRecord),
            None,
        ]
    );
    assert_eq!(org.stored(&phone)?.unsent, 5, "what was taken is no longer unsent, what was refused is");
    // The outcome of a refusal is kept like any other.
    assert_eq!(outcomes(&phone.sync(&changes)?), results);
    Ok(())
}

#[test]
fn a_rep_never_gets_or_changes_what_lies_in_another_territory() -> TestResult {
    let org = Org::new()?;
    let (mine, other) = (org.customer("1", "Mine", "A")?, org.customer("2", "Other", "B")?);
    let (ana, bo) = (org.rep("ana", &["A"])?, org.rep("bo", &["B"])?);
    let mut phone = org.phone(ana)?;
    let frames = phone.sync(&[])?;
    assert_eq!(rows(&frames).iter().map(|row| row.id).collect::<Vec<_>>(), [mine]);
    assert!(frames.contains(&Frame::Buckets(vec![Bucket::territory("A"), Bucket::user(ana)])));
    // Not even by asking for its bucket.
    phone.cursors.insert(Bucket::territory("B"), Seq(0));
    assert!(rows(&phone.sync(&[])?).is_empty());
    let changes = [
        phone.put("customer", other, 1, &[("name", "Stolen".into())]),
        phone.put("customer", mine, 1, &[("territory", "B".into())]),
        visit(&mut phone, ana.0, other, &[]),
        visit(&mut phone, bo.0, mine, &[]),
    ];
    let results = outcomes(&phone.sync(&changes)?);
    let reasons: Vec<Option<&RuleError>> = results.iter().map(rejected).collect();
    let (gone, no) = (RuleError::NoSuchRecord, RuleError::NotAllowed);
    assert_eq!(reasons, [Some(&gone), Some(&no), Some(&gone), Some(&no)]);
    Ok(())
}

#[test]
fn a_visits_territory_is_its_customers_whatever_the_phone_says() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let rep = org.rep("ana", &["A"])?;
    let mut phone = org.phone(rep)?;
    let planned = visit(&mut phone, rep.0, store, &[]);
    let frames = phone.sync(std::slice::from_ref(&planned))?;
    let row = rows(&frames).into_iter().find(|row| row.id == planned.record).ok_or("visit")?;
    assert_eq!(value(row, "territory"), Some("A".into()));
    Ok(())
}

#[test]
fn a_row_that_moves_leaves_one_bucket_and_enters_the_other() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let mut here = org.phone(org.rep("ana", &["A"])?)?;
    let mut there = org.phone(org.rep("bo", &["B"])?)?;
    here.sync(&[])?;
    there.sync(&[])?;
    org.customer("1", "Corner Shop", "B")?;
    let gone = here.sync(&[])?;
    assert!(
        matches!(rows(&gone).as_slice(), [row] if row.id == store && row.fields.is_none() && row.rev.0 == 2)
    );
    let came = there.sync(&[])?;
    assert!(matches!(rows(&came).as_slice(), [row] if row.id == store && row.fields.is_some()));
    assert!(rows(&here.sync(&[])?).is_empty(), "a removal is sent once");
    Ok(())
}

#[test]
fn pages_resume_at_any_cursor_and_show_each_row_once() -> TestResult {
    let org = Org::new()?;
    let mut file = String::from("code,name,territory\n");
    for n in 0..1_234 {
        writeln!(file, "{n},Store {n},A")?;
    }
    let mapping = crate::admin::Mapping::guess(&["code".into(), "name".into(), "territory".into()]);
    org.admin.import_customers(org.boss, file.as_bytes(), &mapping, &mut |_| {})?;
    let mut phone = org.phone(org.rep("ana", &["A"])?)?;
    let frames = phone.sync(&[])?;
    let all = pages(&frames);
    assert_eq!(all.iter().map(|page| page.rows.len()).collect::<Vec<_>>(), [500, 500, 234]);
    assert!(all.iter().all(|page| page.head == Seq(1_234)));
    assert!(matches!(frames.last(), Some(Frame::End { .. })));
    // As if the answer had been cut after the first page.
    phone.cursors.insert(Bucket::territory("A"), all[0].cursor);
    let rest = phone.sync(&[])?;
    assert_eq!(rows(&rest).len(), 734);
    let mut ids: Vec<Uuid> = all[0].rows.iter().chain(rows(&rest)).map(|row| row.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 1_234);
    phone.cursors.insert(Bucket::territory("A"), Seq(1_235));
    assert_eq!(refused(phone.sync(&[])), Some((ErrorCode::CursorAhead, None)));
    Ok(())
}

#[test]
fn work_done_before_a_lock_or_wipe_arrives_is_taken_and_no_rows_are_given() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    for (name, wipe) in [("ana", false), ("bo", true)] {
        let mut phone = org.phone(org.rep(name, &["A"])?)?;
        if wipe {
            org.wipe(&phone, "lost")?;
        } else {
            org.admin.lock(org.boss, phone.id, "lost")?;
        }
        let change = phone.put("customer", store, 1, &[("notes", format!("by {name}").into())]);
        let frames = phone.sync(&[change])?;
        let [Frame::Device(report), Frame::Result(_), Frame::End { .. }] = frames.as_slice() else {
            return Err(format!("{frames:?}").into());
        };
        assert_eq!(report.commands.len(), 1);
        let notes = org.admin.customer(store)?.and_then(|customer| customer.notes).unwrap_or_default();
        assert!(notes.contains(&format!("by {name}")), "{notes}");
    }
    Ok(())
}

#[test]
fn a_locked_device_hears_its_commands_and_nothing_else() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let mut phone = org.phone(org.rep("ana", &["A"])?)?;
    phone.state = roundsman_protocol::api::DeviceState::Locked;
    let change = phone.put("customer", store, 1, &[("notes", "late".into())]);
    let frames = phone.sync(&[change])?;
    assert!(matches!(frames.as_slice(), [Frame::Device(_), Frame::End { .. }]), "{frames:?}");
    assert_eq!(org.stored(&phone)?.status, DeviceStatus::Locked);
    assert_eq!(org.stored(&phone)?.applied, DeviceSeq(0), "the change is still the phone's to send");
    Ok(())
}

fn own(frames: &[Frame]) -> Option<&Own> {
    frames.iter().find_map(|frame| if let Frame::Own(own) = frame { Some(own) } else { None })
}

/// The answer was lost, and the log of the territory that the phone believes in never had an entry of the record.
#[test]
fn a_repeat_is_told_where_a_record_is_that_the_device_would_put_elsewhere() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let rep = org.rep("ana", &["A"])?;
    let mut phone = org.phone(rep)?;
    phone.own = Some(declarations().to_owned());
    phone.sync(&[])?;
    let here = visit(&mut phone, rep.0, store, &[("territory", "A".into())]);
    phone.sync(std::slice::from_ref(&here))?;
    org.admin.set_territories(org.boss, rep, vec!["A".into(), "B".into()])?;
    org.customer("1", "Corner Shop", "B")?;
    let moved = visit(&mut phone, rep.0, store, &[("territory", "A".into())]);
    phone.sync(std::slice::from_ref(&moved))?;
    org.admin.set_territories(org.boss, rep, vec!["A".into()])?;
    let new = visit(&mut phone, rep.0, org.customer("2", "Deli", "A")?, &[("territory", "A".into())]);
    phone.sync(&[])?;
    let frames = phone.sync(&[here.clone(), moved.clone(), new])?;
    let told = own(&frames).ok_or("nothing was told")?;
    assert_eq!(told.fields, [(moved.seq, Fields::from([("territory".to_owned(), Value::from("B"))]))].into());
    assert_eq!(told.cursors.len(), 1);
    assert_eq!(told.repeats, [here.seq, moved.seq].into());
    Ok(())
}

#[test]
fn a_device_that_makes_rows_of_its_own_changes_is_told_what_it_can_not_know_and_sent_no_page() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let rep = org.rep("ana", &["A"])?;
    let (mut phone, mut other) = (org.phone(rep)?, org.phone(rep)?);
    let a = Bucket::territory("A");
    phone.own = Some(declarations().to_owned());
    let planned = visit(&mut phone, rep.0, store, &[]);
    let first = phone.sync(std::slice::from_ref(&planned))?;
    assert!(own(&first).is_some_and(|own| own.cursors.is_empty()), "it had not read the customer");
    assert_eq!(rows(&first).len(), 2);

    let planned = visit(&mut phone, rep.0, store, &[]);
    let noted = phone.put("customer", store, 1, &[("notes", "mind the dog".into())]);
    let frames = phone.sync(&[planned.clone(), noted.clone()])?;
    assert!(rows(&frames).is_empty(), "{frames:?}");
    let told = own(&frames).ok_or("nothing was told")?;
    let head = org.app.storage.read()?.bucket_head(&a)?;
    assert_eq!(told.cursors.get(&a), Some(&head));
    let territory = Fields::from([("territory".to_owned(), Value::from("A"))]);
    assert_eq!(told.fields.get(&planned.seq), Some(&territory), "the server's to set");
    assert_eq!(told.fields.get(&noted.seq), None, "it is as it was sent");

    // The same once more, as after an answer that was lost: where the visit is, which it does not say, and nothing new.
    let told = phone.sync(&[planned.clone(), noted.clone()])?;
    let told = own(&told).ok_or("nothing was told")?;
    assert!(told.cursors.is_empty() && told.repeats.is_empty());
    assert_eq!(told.fields, [(planned.seq, territory)].into());
    assert_eq!(own(&phone.sync(std::slice::from_ref(&noted))?), None);
    phone.cursors.insert(a.clone(), Seq(0));
    let again = phone.sync(&[noted])?;
    assert!(own(&again).is_none() && rows(&again).len() == 3, "rows come by pages as ever");

    // Somebody else's change is among them.
    other.sync(&[])?;
    let theirs = other.put("customer", store, 2, &[("phone", "555-0100".into())]);
    other.sync(&[theirs])?;
    let mine = phone.put("customer", store, 2, &[("city", "Brick".into())]);
    let frames = phone.sync(&[mine])?;
    assert!(own(&frames).is_none(), "{frames:?}");
    assert_eq!(rows(&frames).len(), 1);

    // A collision follows from a change, and has to come down.
    other.sync(&[])?;
    let theirs = other.put("customer", store, 4, &[("name", "Corner Deli".into())]);
    other.sync(&[theirs])?;
    phone.sync(&[])?;
    let mine = phone.put("customer", store, 4, &[("name", "Corner Store".into())]);
    let frames = phone.sync(&[mine])?;
    assert!(own(&frames).is_none_or(|own| own.cursors.is_empty()), "{frames:?}");
    assert!(rows(&frames).iter().any(|row| row.entity == "collision"), "{frames:?}");
    Ok(())
}

#[test]
fn a_device_of_other_declarations_is_sent_its_own_rows() -> TestResult {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let mut phone = org.phone(org.rep("ana", &["A"])?)?;
    phone.sync(&[])?;
    for (declarations, note) in [(None, "mind the dog"), (Some("00".to_owned()), "mind the cat")] {
        phone.own = declarations;
        let noted = phone.put("customer", store, 1, &[("notes", note.into())]);
        let frames = phone.sync(&[noted])?;
        assert!(own(&frames).is_none() && pages(&frames).len() == 1, "{frames:?}");
    }
    Ok(())
}
