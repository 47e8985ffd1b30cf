//! What is promised of unsent work that is handed over.

use super::MAX_KEPT;
use crate::admin::{AdminError, DeviceStatus, RescueFilter, RescueState, RescuedView, Taken};
use crate::refusal::Refusal;
use crate::storage::StoredSegment;
use crate::testkit::{Org, Phone, TestResult};
use chrono::TimeDelta;
use roundsman_model::visit::State;
use roundsman_model::{FieldType, RuleError, Value};
use roundsman_protocol::ErrorCode;
use roundsman_protocol::hpke_seal::key_pair;
use roundsman_protocol::rescue::{Sealer, SegmentHead, SignedSegment, void};
use roundsman_protocol::sync::{Frame, Mutation, Outcome};
use uuid::Uuid;
use zeroize::Zeroizing;

/// A sealed outbox as a phone fills it.
pub(crate) struct Outbox {
    sealer: Sealer,
    pub(crate) id: Uuid,
    pub(crate) bytes: Vec<u8>,
}

impl Outbox {
    pub(crate) fn new(org: &Org, phone: &Phone) -> TestResult<Self> {
        let head = SegmentHead { org: org.keys()?.org(), device: phone.id, segment: Uuid::now_v7() };
        let (sealer, bytes) = Sealer::begin([9; 32], &org.first.rescue.public().0, &head)?;
        Ok(Self { sealer, id: head.segment, bytes })
    }

    pub(crate) fn add(&mut self, commit: u64, mutation: &Mutation) -> TestResult {
        let sealed = self.sealer.seal(mutation.id, commit, &serde_json::to_vec(mutation)?)?;
        self.bytes.extend(sealed);
        Ok(())
    }

    pub(crate) fn signed(&self, phone: &Phone) -> TestResult<Vec<u8>> {
        Ok(SignedSegment::sign(self.bytes.clone(), |message| phone.es256(message))?.to_bytes())
    }
}

pub(crate) fn hand_over(org: &Org, phone: &Phone, raw: &[u8]) -> TestResult<Uuid> {
    let keys = org.keys()?;
    let mut tx = org.app.storage.write()?;
    let device = tx.device(phone.id)?.ok_or("device")?;
    let answer = super::take_in(tx.as_mut(), &keys, &device, raw, org.now())?;
    tx.commit()?;
    Ok(answer.stored)
}

fn key(org: &Org) -> TestResult<Zeroizing<[u8; 32]>> {
    Ok(org.first.rescue.opening_key()?)
}

fn code(result: TestResult<Uuid>) -> Option<ErrorCode> {
    match result.err()?.downcast::<Refusal>().map(|refusal| *refusal) {
        Ok(Refusal::Problem(problem)) => Some(problem.code),
        _ => None,
    }
}

fn listed(org: &Org, state: Option<RescueState>, void: bool) -> TestResult<Vec<RescuedView>> {
    Ok(org.admin.rescued(&RescueFilter { device: None, state, void, limit: 100 })?)
}

fn waiting(org: &Org) -> TestResult<Vec<RescuedView>> {
    listed(org, Some(RescueState::NeedsReview), false)
}

/// One customer in territory A, and one rep's phone.
fn field() -> TestResult<(Org, Uuid, Phone)> {
    let org = Org::new()?;
    let store = org.customer("1", "Corner Shop", "A")?;
    let phone = org.phone(org.rep("ana", &["A"])?)?;
    Ok((org, store, phone))
}

fn note(phone: &mut Phone, store: Uuid, text: &str) -> Mutation {
    phone.put("customer", store, 1, &[("notes", text.into())])
}

fn notes(org: &Org, store: Uuid) -> TestResult<Option<String>> {
    Ok(org.admin.customer(store)?.ok_or("customer")?.notes)
}

#[test]
fn a_segment_is_stored_once_and_grows() -> TestResult {
    let (org, store, mut phone) = field()?;
    let mut outbox = Outbox::new(&org, &phone)?;
    outbox.add(1, &note(&mut phone, store, "one"))?;
    let short = outbox.signed(&phone)?;
    for _ in 0..2 {
        assert_eq!(hand_over(&org, &phone, &short)?, outbox.id);
    }
    outbox.add(2, &note(&mut phone, store, "two"))?;
    let long = outbox.signed(&phone)?;
    for raw in [&long, &short, &long] {
        assert_eq!(hand_over(&org, &phone, raw)?, outbox.id);
    }
    let waiting = org.admin.rescue_waiting()?;
    assert_eq!(waiting.iter().map(|it| (it.segments, it.changes)).collect::<Vec<_>>(), [(1, 2)]);
    let kept = org.app.storage.read()?.segment(phone.id, outbox.id)?.ok_or("segment")?;
    assert_eq!(kept.bytes, long, "the longest version is kept, as it came");
    Ok(())
}

#[test]
fn a_record_that_was_cut_off_may_be_written_anew() -> TestResult {
    let (org, store, mut phone) = field()?;
    let mut outbox = Outbox::new(&org, &phone)?;
    outbox.add(1, &note(&mut phone, store, "one"))?;
    let whole = outbox.bytes.len();
    outbox.bytes.extend([0; 9]);
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    outbox.bytes.truncate(whole);
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    outbox.bytes.extend(void(2));
    outbox.add(3, &note(&mut phone, store, "three"))?;
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    assert_eq!(org.admin.open_rescue(org.boss, &*key(&org)?)?.total().filed, 2);
    Ok(())
}

#[test]
fn a_segment_that_differs_or_is_anothers_is_refused() -> TestResult {
    let (org, store, mut phone) = field()?;
    let mut outbox = Outbox::new(&org, &phone)?;
    outbox.add(1, &note(&mut phone, store, "one"))?;
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    let last = outbox.bytes.len() - 1;
    outbox.bytes[last] ^= 1;
    let refused = |raw: &[u8]| code(hand_over(&org, &phone, raw));
    assert_eq!(refused(&outbox.signed(&phone)?), Some(ErrorCode::Malformed), "other bytes, same id");
    outbox.bytes.extend(void(2));
    assert_eq!(refused(&outbox.signed(&phone)?), Some(ErrorCode::Malformed), "grown, but changed as well");

    let other = org.phone(org.rep("bo", &["A"])?)?;
    let theirs = Outbox::new(&org, &other)?;
    assert_eq!(refused(&theirs.signed(&other)?), Some(ErrorCode::Malformed), "another device's signature");
    assert_eq!(refused(&theirs.signed(&phone)?), Some(ErrorCode::Malformed), "another device's segment");
    let elsewhere = Outbox::new(&Org::new()?, &phone)?;
    assert_eq!(refused(&elsewhere.signed(&phone)?), Some(ErrorCode::Malformed), "another organisation's");
    assert_eq!(refused(b"no segment"), Some(ErrorCode::Malformed));
    Ok(())
}

#[test]
fn a_device_can_not_fill_the_server() -> TestResult {
    let (org, store, mut phone) = field()?;
    let mut outbox = Outbox::new(&org, &phone)?;
    outbox.add(1, &note(&mut phone, store, "one"))?;
    let raw = outbox.signed(&phone)?;
    let mut tx = org.app.storage.write()?;
    let large = StoredSegment {
        device: phone.id,
        segment: Uuid::now_v7(),
        sha256: [0; 32],
        length: 0,
        changes: 0,
        bytes: vec![0; MAX_KEPT as usize - raw.len()],
        received_ms: 0,
        opened_ms: None,
    };
    tx.put_segment(&large)?;
    tx.commit()?;
    assert_eq!(hand_over(&org, &phone, &raw)?, outbox.id, "the last one that fits");
    let more = Outbox::new(&org, &phone)?;
    assert_eq!(code(hand_over(&org, &phone, &more.signed(&phone)?)), Some(ErrorCode::RescueFull));
    let other = org.phone(org.rep("bo", &["A"])?)?;
    hand_over(&org, &other, &Outbox::new(&org, &other)?.signed(&other)?)?;
    Ok(())
}

#[test]
fn only_the_rescue_key_opens_and_only_an_administrator_may() -> TestResult {
    let (org, store, mut phone) = field()?;
    let mut outbox = Outbox::new(&org, &phone)?;
    outbox.add(1, &note(&mut phone, store, "one"))?;
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    let rep = org.stored(&phone)?.user;
    assert!(matches!(org.admin.open_rescue(rep, &*key(&org)?), Err(AdminError::NotAllowed)));
    let wrong = org.admin.open_rescue(org.boss, &key_pair(&[1; 32]).0);
    assert!(matches!(wrong, Err(AdminError::WrongRescueKey)));
    assert!(waiting(&org)?.is_empty());
    assert_eq!(org.admin.open_rescue(org.boss, &*key(&org)?)?.total().filed, 1);
    let change = waiting(&org)?[0].change;
    assert!(matches!(org.admin.take_rescued(rep, change), Err(AdminError::NotAllowed)));
    assert!(matches!(org.admin.dismiss_rescued(rep, change), Err(AdminError::NotAllowed)));
    assert!(matches!(org.admin.take_all_rescued(rep, phone.id), Err(AdminError::NotAllowed)));
    Ok(())
}

#[test]
fn what_the_server_has_already_is_not_shown_and_opening_twice_changes_nothing() -> TestResult {
    let (org, store, mut phone) = field()?;
    let sent = note(&mut phone, store, "sent");
    let refused = phone.put("customer", store, 1, &[("territory", "Z".into())]);
    let unsent = note(&mut phone, store, "unsent");
    phone.sync(&[sent.clone(), refused.clone()])?;
    let mut outbox = Outbox::new(&org, &phone)?;
    for (commit, mutation) in [(1, &sent), (2, &refused), (3, &unsent)] {
        outbox.add(commit, mutation)?;
    }
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    let counts = org.admin.open_rescue(org.boss, &*key(&org)?)?.total();
    assert_eq!((counts.changes, counts.filed, counts.already_applied), (3, 2, 1));
    let shown = waiting(&org)?;
    assert_eq!(shown.iter().map(|it| it.change).collect::<Vec<_>>(), [refused.id, unsent.id]);
    assert!(shown[0].reason.is_some(), "why it was refused when it was sent");
    let known = listed(&org, Some(RescueState::Known), false)?;
    assert!(known.iter().all(|it| it.change == sent.id && it.fields.is_empty()));

    assert_eq!(org.admin.open_rescue(org.boss, &*key(&org)?)?.total().segments, 0);
    // The same changes in a segment of another id, and the first segment once more, now longer.
    let mut again = Outbox::new(&org, &phone)?;
    again.add(3, &unsent)?;
    outbox.bytes.extend(void(99));
    hand_over(&org, &phone, &again.signed(&phone)?)?;
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    let counts = org.admin.open_rescue(org.boss, &*key(&org)?)?.total();
    assert_eq!((counts.segments, counts.filed, counts.already_applied), (2, 0, 4));
    assert_eq!(waiting(&org)?.len(), 2);
    Ok(())
}

#[test]
fn a_rescued_change_is_taken_as_its_author_at_its_own_time() -> TestResult {
    let (org, store, mut phone) = field()?;
    let rep = org.stored(&phone)?.user;
    let made = org.now();
    let visit = phone.put(
        "visit",
        Uuid::now_v7(),
        0,
        &[
            ("customer", Value::Id(store)),
            ("rep", Value::Id(rep.0)),
            ("state", State::Planned.to_value()),
            ("day", "2027-01-15".into()),
        ],
    );
    let early = phone.put("customer", store, 1, &[("phone", "+1 555 0100".into())]);
    let mut outbox = Outbox::new(&org, &phone)?;
    outbox.add(1, &visit)?;
    outbox.add(2, &early)?;
    org.admin.lock(org.boss, phone.id, "left in a taxi")?;
    org.wait(TimeDelta::hours(3));
    // Somebody else's later edit of the same field stays: the rescued one counts by when it was made.
    let mut other = org.phone(org.rep("bo", &["A"])?)?;
    let late = other.put("customer", store, 1, &[("phone", "+1 555 0199".into())]);
    other.sync(std::slice::from_ref(&late))?;
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    org.admin.open_rescue(org.boss, &*key(&org)?)?;
    let shown = waiting(&org)?;
    assert_eq!(shown.iter().map(|it| it.customer_name.as_str()).collect::<Vec<_>>(), ["Corner Shop"; 2]);
    assert!(shown.iter().all(|it| it.user == rep && it.made_at == made));

    assert_eq!(org.admin.take_rescued(org.boss, visit.id)?, Taken::Applied);
    let taken = org.admin.visits_on(chrono::NaiveDate::from_ymd_opt(2027, 1, 15).ok_or("day")?)?;
    assert_eq!(taken.iter().map(|it| (it.id, it.rep)).collect::<Vec<_>>(), [(visit.record, rep)]);
    assert_eq!(org.admin.take_rescued(org.boss, early.id)?, Taken::Applied);
    let customer = org.admin.customer(store)?.ok_or("customer")?;
    assert_eq!(customer.phone.as_deref(), Some("+1 555 0199"));
    assert_eq!(org.admin.conflicts(1)?.first().map(|it| it.lost.clone()), Some("+1 555 0100".into()));
    assert!(matches!(org.admin.take_rescued(org.boss, early.id), Err(AdminError::AlreadySettled)));
    let acts: Vec<String> = org.admin.acts(3)?.into_iter().map(|act| act.action).collect();
    assert_eq!(acts, ["take_rescued", "take_rescued", "open_rescue"]);
    Ok(())
}

#[test]
fn a_change_that_was_taken_is_not_applied_again_when_its_phone_comes_back() -> TestResult {
    let (org, store, mut phone) = field()?;
    let (one, two, three) = (
        note(&mut phone, store, "one"),
        phone.put("customer", store, 1, &[("phone", "+1 555 0100".into())]),
        phone.put("customer", store, 1, &[("brand", "Eleven".into())]),
    );
    let mut outbox = Outbox::new(&org, &phone)?;
    for (commit, mutation) in [(1, &one), (2, &two), (3, &three)] {
        outbox.add(commit, mutation)?;
    }
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    org.admin.open_rescue(org.boss, &*key(&org)?)?;
    org.admin.take_rescued(org.boss, one.id)?;
    org.admin.dismiss_rescued(org.boss, three.id)?;
    let rev = |org: &Org| -> TestResult<u64> {
        let record = org.app.storage.read()?.record("customer", store)?;
        Ok(record.ok_or("record")?.rev.0)
    };
    assert_eq!(rev(&org)?, 2);
    let frames = phone.sync(&[one.clone(), two.clone(), three.clone()])?;
    let applied = frames.iter().filter(
        |frame| matches!(frame, Frame::Result(result) if matches!(result.outcome, Outcome::Applied { .. })),
    );
    assert_eq!((applied.count(), rev(&org)?), (3, 4), "the first one was there");
    assert!(waiting(&org)?.is_empty(), "the second one has arrived by itself");
    assert_eq!(listed(&org, Some(RescueState::Known), true)?.len(), 2);
    assert!(matches!(org.admin.take_rescued(org.boss, two.id), Err(AdminError::AlreadySettled)));
    Ok(())
}

#[test]
fn what_was_not_saved_is_kept_but_not_offered() -> TestResult {
    let (org, store, mut phone) = field()?;
    let (kept, lost) = (note(&mut phone, store, "kept"), note(&mut phone, store, "lost"));
    let mut outbox = Outbox::new(&org, &phone)?;
    outbox.add(1, &kept)?;
    outbox.add(2, &lost)?;
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    org.admin.open_rescue(org.boss, &*key(&org)?)?;
    assert_eq!(waiting(&org)?.len(), 2);
    // The phone finds out later that the commit did not happen.
    outbox.bytes.extend(void(2));
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    let counts = org.admin.open_rescue(org.boss, &*key(&org)?)?.total();
    assert_eq!((counts.filed, counts.already_applied, counts.void), (0, 1, 1));
    assert_eq!(org.admin.rescued_count(Some(phone.id))?, 1);
    assert!(waiting(&org)?.iter().all(|it| it.change == kept.id));
    assert_eq!(listed(&org, Some(RescueState::NeedsReview), true)?.len(), 2);
    assert_eq!(org.admin.take_all_rescued(org.boss, phone.id)?.applied, 1);
    assert_eq!(notes(&org, store)?.as_deref(), Some("kept"));
    assert_eq!(org.admin.take_rescued(org.boss, lost.id)?, Taken::Applied, "somebody knows better");
    Ok(())
}

#[test]
fn all_of_a_device_is_taken_in_order_and_what_the_rules_refuse_waits_on() -> TestResult {
    let (org, store, mut phone) = field()?;
    let record = Uuid::now_v7();
    let new = phone.put(
        "customer",
        record,
        0,
        &[("code", "2".into()), ("name", "New Shop".into()), ("territory", "A".into())],
    );
    let more = phone.put("customer", record, 0, &[("notes", "ring twice".into())]);
    let far = phone.put("customer", store, 1, &[("territory", "Z".into())]);
    let mut outbox = Outbox::new(&org, &phone)?;
    // As the segments may come in any order, the commit's number counts.
    for (commit, mutation) in [(9, &far), (8, &more), (7, &new)] {
        outbox.add(commit, mutation)?;
    }
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    org.admin.open_rescue(org.boss, &*key(&org)?)?;
    let all = org.admin.take_all_rescued(org.boss, phone.id)?;
    assert_eq!((all.applied, all.refused), (2, vec![(far.id, RuleError::NotAllowed)]));
    assert_eq!(notes(&org, record)?.as_deref(), Some("ring twice"));
    let left = waiting(&org)?;
    assert_eq!(left.len(), 1);
    assert!(left[0].change == far.id && left[0].reason.is_some());
    org.admin.dismiss_rescued(org.boss, far.id)?;
    assert!(waiting(&org)?.is_empty());
    Ok(())
}

#[test]
fn damage_and_foreign_content_are_counted_and_never_filed() -> TestResult {
    let (org, store, mut phone) = field()?;
    let mut outbox = Outbox::new(&org, &phone)?;
    outbox.add(1, &note(&mut phone, store, "whole"))?;
    // Sealed under the id of another change, and with a number that can't be.
    let other = note(&mut phone, store, "other");
    outbox.bytes.extend(outbox.sealer.seal(Uuid::now_v7(), 2, &serde_json::to_vec(&other)?)?);
    outbox.add(u64::MAX, &note(&mut phone, store, "beyond"))?;
    outbox.bytes.extend(outbox.sealer.seal(Uuid::now_v7(), 3, b"no change")?);
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    let counts = org.admin.open_rescue(org.boss, &*key(&org)?)?.total();
    assert_eq!((counts.changes, counts.filed, counts.damaged), (4, 1, 3));
    assert_eq!(waiting(&org)?.len(), 1);
    Ok(())
}

#[test]
fn a_wiped_phone_still_hands_its_work_over() -> TestResult {
    let (org, store, mut phone) = field()?;
    let mut outbox = Outbox::new(&org, &phone)?;
    outbox.add(1, &note(&mut phone, store, "last words"))?;
    let mut tx = org.app.storage.write()?;
    let mut device = tx.device(phone.id)?.ok_or("device")?;
    device.status = DeviceStatus::Wiped;
    tx.put_device(&device)?;
    tx.revoke_tokens(phone.id)?;
    tx.commit()?;
    assert_eq!(hand_over(&org, &phone, &outbox.signed(&phone)?)?, outbox.id);
    org.admin.open_rescue(org.boss, &*key(&org)?)?;
    org.admin.take_all_rescued(org.boss, phone.id)?;
    assert_eq!(notes(&org, store)?.as_deref(), Some("last words"));
    Ok(())
}

#[test]
fn opened_work_is_deleted_after_thirty_days_and_stays_known() -> TestResult {
    let (org, store, mut phone) = field()?;
    let mut outbox = Outbox::new(&org, &phone)?;
    let (one, two) = (note(&mut phone, store, "one"), note(&mut phone, store, "two"));
    outbox.add(1, &one)?;
    outbox.add(2, &two)?;
    let raw = outbox.signed(&phone)?;
    hand_over(&org, &phone, &raw)?;
    org.admin.open_rescue(org.boss, &*key(&org)?)?;
    org.admin.take_rescued(org.boss, one.id)?;
    let forget = || -> TestResult {
        let mut tx = org.app.storage.write()?;
        super::forget_old(tx.as_mut(), org.now())?;
        Ok(tx.commit()?)
    };
    let kept = || -> TestResult<(usize, Vec<usize>)> {
        let bytes = org.app.storage.read()?.segment(phone.id, outbox.id)?.ok_or("segment")?.bytes;
        let changes = listed(&org, None, true)?;
        Ok((bytes.len(), changes.iter().map(|it| it.fields.len()).collect()))
    };
    org.wait(TimeDelta::days(29));
    forget()?;
    assert_eq!(kept()?, (raw.len(), vec![1, 1]));
    org.wait(TimeDelta::days(2));
    forget()?;
    assert_eq!(kept()?, (0, vec![0, 1]), "what still waits for a decision stays");
    hand_over(&org, &phone, &raw)?;
    assert_eq!(kept()?.0, 0, "a repeat is known by its hash");
    outbox.add(3, &note(&mut phone, store, "three"))?;
    hand_over(&org, &phone, &outbox.signed(&phone)?)?;
    assert_eq!(
        org.admin.open_rescue(org.boss, &*key(&org)?)?.total().filed,
        1,
        "and so is one that has grown"
    );
    Ok(())
}
