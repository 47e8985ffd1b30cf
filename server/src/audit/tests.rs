//! What is promised of the audit log.

use crate::admin::{AdminError, AlertKind, Anchored, ChainVerdict, RootChange};
use crate::testkit::{Org, Phone, TestResult};
use chrono::TimeDelta;
use roundsman_protocol::audit::{
    Action, AuditError, AuditReport, Checkpoint, Entry, Head, Object, head_message,
};
use roundsman_protocol::envelope::{Domain, Envelope};
use uuid::Uuid;

/// A device's own chain.
#[derive(Clone, Default)]
struct Log {
    head: Head,
    entries: Vec<Vec<u8>>,
}

impl Log {
    fn of(org: &Org, phone: &Phone, actions: &[Action]) -> TestResult<Self> {
        let mut log = Self::default();
        for action in actions {
            log.add(org, phone, *action, None)?;
        }
        Ok(log)
    }

    fn add(&mut self, org: &Org, phone: &Phone, action: Action, object: Option<Object>) -> TestResult {
        let actor = org.stored(phone)?.user.0;
        let (head, bytes) = self.head.append(org.now(), actor, phone.id, action, object);
        self.head = head;
        self.entries.push(bytes);
        Ok(())
    }
}

const DAY: [Action; 4] = [Action::Opened, Action::RecordViewed, Action::RecordChanged, Action::Closed];

/// Reports entries and an end, signed by the device; what the server has countersigned.
fn report(org: &Org, phone: &Phone, entries: &[Vec<u8>], head: Head) -> TestResult<Option<Head>> {
    let signature = phone.es256(&head_message(phone.id, head))?.to_vec();
    send(org, phone, AuditReport { entries: entries.to_vec(), head, signature })
}

fn send(org: &Org, phone: &Phone, audit: AuditReport) -> TestResult<Option<Head>> {
    let mut checkin = phone.report();
    checkin.audit = Some(audit);
    let answer = phone.check_in(&checkin)?;
    let keys = org.keys()?;
    let open = |envelope: Vec<u8>| Checkpoint::open(&envelope, &keys.root, phone.id);
    Ok(answer.audit_checkpoint.map(open).transpose()?.map(|checkpoint| checkpoint.head))
}

fn faults(org: &Org, phone: &Phone) -> TestResult<Vec<(AuditError, u64)>> {
    let status = org.admin.audit_status(phone.id)?;
    Ok(status.faults.iter().map(|fault| (fault.kind, fault.seq)).collect())
}

fn stored(org: &Org, phone: &Phone) -> TestResult<u64> {
    Ok(org.admin.audit_status(phone.id)?.entries)
}

fn field() -> TestResult<(Org, Phone, Log)> {
    let org = Org::new()?;
    let phone = org.phone(org.rep("ana", &["A"])?)?;
    let log = Log::of(&org, &phone, &DAY)?;
    Ok((org, phone, log))
}

#[test]
fn entries_are_stored_once_and_countersigned() -> TestResult {
    let (org, phone, mut log) = field()?;
    assert_eq!(report(&org, &phone, &[], Head::default())?, None, "nothing to sign for");
    let half = log.entries[..2].to_vec();
    let after_two = log.entries[..2]
        .iter()
        .try_fold(Head::default(), |head, bytes| head.extend(phone.id, bytes).map(|(head, _)| head))?;
    assert_eq!(report(&org, &phone, &half, log.head)?, Some(after_two), "more are to come");
    assert_eq!(org.admin.audit_status(phone.id)?.signed, 0);
    // The answer was lost: all of it once more.
    assert_eq!(report(&org, &phone, &log.entries, log.head)?, Some(log.head));
    let store = org.customer("1", "Corner Shop", "A")?;
    let object = Object { entity: "customer".into(), id: *store.as_bytes() };
    log.add(&org, &phone, Action::RecordViewed, Some(object))?;
    assert_eq!(report(&org, &phone, &log.entries[4..], log.head)?, Some(log.head));
    let status = org.admin.audit_status(phone.id)?;
    assert_eq!((status.entries, status.signed, status.faults.len()), (5, 5, 0));
    let listed = org.admin.audit_entries(phone.id, None, 2)?;
    assert_eq!(listed.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [5, 4]);
    assert_eq!((listed[0].customer_name.as_str(), listed[0].actor.as_str()), ("Corner Shop", "ana"));
    assert_eq!(org.admin.audit_entries(phone.id, Some(4), 9)?.len(), 3);
    assert!(org.admin.verify_audit()?.is_sound());
    Ok(())
}

#[test]
fn audit_truncate() -> TestResult {
    let (org, phone, log) = field()?;
    report(&org, &phone, &log.entries, log.head)?;
    let cut = Log::of(&org, &phone, &DAY[..3])?;
    for _ in 0..2 {
        assert_eq!(report(&org, &phone, &[], cut.head)?, Some(log.head), "the server has more");
    }
    assert_eq!(faults(&org, &phone)?, [(AuditError::Truncated, 4)], "noted once");
    let alerts = org.admin.alerts(10)?;
    assert_eq!(alerts.iter().map(|it| it.kind).collect::<Vec<_>>(), [AlertKind::AuditLog]);
    assert_eq!(stored(&org, &phone)?, 4);
    assert!(org.admin.verify_audit()?.is_sound(), "what is stored still holds");
    Ok(())
}

#[test]
fn audit_fork() -> TestResult {
    let (org, phone, log) = field()?;
    report(&org, &phone, &log.entries, log.head)?;
    // The phone is set back to its second entry and goes on differently.
    let mut other = Log::of(&org, &phone, &DAY[..2])?;
    org.wait(TimeDelta::minutes(1));
    other.add(&org, &phone, Action::Searched, None)?;
    report(&org, &phone, &other.entries[2..], other.head)?;
    assert_eq!(faults(&org, &phone)?, [(AuditError::Fork, 3)]);
    assert_eq!(stored(&org, &phone)?, 4);
    // It catches up in numbers, and sends only what is new.
    other.add(&org, &phone, Action::Closed, None)?;
    report(&org, &phone, &[], other.head)?;
    assert_eq!(faults(&org, &phone)?.len(), 2, "the same number with another hash");
    other.add(&org, &phone, Action::Opened, None)?;
    report(&org, &phone, &other.entries[4..], other.head)?;
    assert!(faults(&org, &phone)?.contains(&(AuditError::Edited, 5)));
    assert_eq!(stored(&org, &phone)?, 4);
    Ok(())
}

#[test]
fn audit_replace() -> TestResult {
    let (org, phone, log) = field()?;
    report(&org, &phone, &log.entries, log.head)?;
    // A whole chain in the place of the other, sound in itself, and longer.
    org.wait(TimeDelta::minutes(1));
    let new = Log::of(&org, &phone, &[DAY, DAY].concat())?;
    assert_eq!(report(&org, &phone, &new.entries, new.head)?, Some(log.head));
    assert_eq!(faults(&org, &phone)?, [(AuditError::Fork, 1)]);
    assert_eq!(report(&org, &phone, &new.entries[4..], new.head)?, Some(log.head));
    assert!(faults(&org, &phone)?.contains(&(AuditError::Edited, 5)));
    assert_eq!(stored(&org, &phone)?, 4);
    Ok(())
}

#[test]
fn of_a_bad_report_only_the_good_beginning_is_stored() -> TestResult {
    let (org, phone, log) = field()?;
    let other = org.phone(org.rep("bo", &["A"])?)?;
    let mut gap = log.entries.clone();
    gap.remove(1);
    report(&org, &phone, &gap, log.head)?;
    assert_eq!((faults(&org, &phone)?, stored(&org, &phone)?), (vec![(AuditError::Gap, 2)], 1));
    let mut edited = Entry::from_bytes(&log.entries[1])?;
    edited.action = Action::Searched;
    edited.prev = [0; 32];
    report(&org, &phone, &[edited.to_bytes()], log.head)?;
    assert!(faults(&org, &phone)?.contains(&(AuditError::Edited, 2)));
    report(&org, &other, &log.entries, log.head)?;
    assert_eq!(faults(&org, &other)?, [(AuditError::OtherDevice, 1)]);
    // What follows is still taken.
    assert_eq!(report(&org, &phone, &log.entries[1..], log.head)?, Some(log.head));
    assert_eq!((stored(&org, &phone)?, stored(&org, &other)?), (4, 0));
    Ok(())
}

#[test]
fn an_end_that_the_device_did_not_sign_brings_nothing_in() -> TestResult {
    let (org, phone, log) = field()?;
    let signature = phone.es256(&head_message(phone.id, Head::default()))?.to_vec();
    let forged = AuditReport { entries: log.entries.clone(), head: log.head, signature };
    assert_eq!(send(&org, &phone, forged)?, None);
    assert_eq!((faults(&org, &phone)?, stored(&org, &phone)?), (vec![(AuditError::Malformed, 1)], 0));
    Ok(())
}

#[test]
fn a_checkpoint_is_for_its_device_and_no_other_document() -> TestResult {
    let (org, phone, log) = field()?;
    let signature = phone.es256(&head_message(phone.id, log.head))?.to_vec();
    let mut checkin = phone.report();
    checkin.audit = Some(AuditReport { entries: log.entries, head: log.head, signature });
    let envelope = phone.check_in(&checkin)?.audit_checkpoint.ok_or("checkpoint")?;
    let root = &org.keys()?.root;
    assert!(Checkpoint::open(&envelope, root, roundsman_model::DeviceId(Uuid::now_v7())).is_err());
    let envelope = Envelope::from_bytes(&envelope)?;
    assert!(root.command.verify(Domain::Lease, &envelope).is_err());
    Ok(())
}

/// Does something to the database that the server itself would never do.
fn tamper(org: &Org, sql: &str) -> TestResult {
    let conn = org.raw_database()?;
    conn.execute_batch("DROP TRIGGER audit_stays; DROP TRIGGER audit_stands;")?;
    assert!(conn.execute(sql, [])? > 0, "{sql}");
    Ok(())
}

fn fault_of(org: &Org, phone: &Phone) -> TestResult<ChainVerdict> {
    let verdict = org.admin.verify_audit()?;
    let found = verdict.devices.iter().find(|(device, _)| *device == phone.id);
    Ok(found.ok_or("device")?.1)
}

#[test]
fn an_edit_in_the_database_is_found() -> TestResult {
    for (sql, device, server) in [
        // A column that the console lists, and the bytes themselves.
        ("UPDATE audit SET action = 'closed' WHERE seq = 2", Some((AuditError::Edited, 2)), None),
        (
            "UPDATE audit SET bytes = (SELECT bytes FROM audit WHERE seq = 1) WHERE seq = 3",
            Some((AuditError::Fork, 3)),
            Some((AuditError::Edited, 3)),
        ),
        ("DELETE FROM audit WHERE seq = 2", Some((AuditError::Gap, 2)), Some((AuditError::Gap, 2))),
        (
            "DELETE FROM audit WHERE seq = 4",
            Some((AuditError::Truncated, 4)),
            Some((AuditError::Truncated, 4)),
        ),
        ("DELETE FROM audit", Some((AuditError::Truncated, 1)), Some((AuditError::Truncated, 1))),
        ("UPDATE audit_head SET signature = x'00'", Some((AuditError::Edited, 4)), None),
    ] {
        let (org, phone, log) = field()?;
        report(&org, &phone, &log.entries, log.head)?;
        assert!(org.admin.verify_audit()?.is_sound());
        tamper(&org, sql)?;
        assert_eq!(fault_of(&org, &phone)?.fault, device, "{sql}");
        assert_eq!(org.admin.verify_audit()?.server.fault, server, "{sql}");
        assert!(!org.admin.verify_audit()?.is_sound());
    }
    Ok(())
}

#[test]
fn a_chain_made_anew_by_the_server_lacks_the_devices_signature() -> TestResult {
    let (org, phone, log) = field()?;
    report(&org, &phone, &log.entries, log.head)?;
    // Whoever has the database and its key writes the whole log anew, every hash right.
    org.raw_database()?.execute_batch(
        "DROP TRIGGER audit_stays; DELETE FROM audit; DELETE FROM setting WHERE name = 'audit_end';
         UPDATE audit_head SET seq = 0, hash = zeroblob(32);",
    )?;
    let mut tx = org.app.storage.write()?;
    let device = tx.device(phone.id)?.ok_or("device")?;
    let mut head = Head::default();
    let forged = Log::of(&org, &phone, &[DAY[0], Action::Searched, DAY[2], DAY[3]])?;
    assert_eq!(super::take::append(tx.as_mut(), &device, &mut head, &forged.entries, org.now())?, None);
    let mut stored = tx.audit_head(phone.id)?;
    stored.head = head;
    tx.put_audit_head(phone.id, &stored)?;
    tx.commit()?;
    assert_eq!(fault_of(&org, &phone)?.fault, Some((AuditError::Edited, 4)));
    Ok(())
}

#[test]
fn the_database_itself_refuses_to_change_the_log() -> TestResult {
    let (org, phone, log) = field()?;
    report(&org, &phone, &log.entries, log.head)?;
    let conn = org.raw_database()?;
    for sql in ["DELETE FROM audit", "UPDATE audit SET at_ms = 0"] {
        assert!(conn.execute(sql, []).is_err(), "{sql}");
    }
    Ok(())
}

#[test]
fn an_anchor_kept_elsewhere_shows_another_or_an_older_log() -> TestResult {
    let (org, phone, log) = field()?;
    let empty = org.admin.audit_anchor()?;
    report(&org, &phone, &log.entries, log.head)?;
    let full = org.admin.audit_anchor()?;
    assert_eq!(org.admin.compare_anchor(&empty)?, Anchored::Holds { entries: 0 });
    assert_eq!(org.admin.compare_anchor(&full)?, Anchored::Holds { entries: 4 });

    // The key that signed it was replaced since.
    let change = RootChange { rotate_command_key: true, ..RootChange::default() };
    let draft = org.admin.propose_root(org.boss, change)?;
    let signature = org.first.root.sign(Domain::Root, &draft.payload)?;
    org.admin.publish_root(draft.payload, &[(org.first.root.id(), signature)])?;
    assert_eq!(org.admin.compare_anchor(&full)?, Anchored::Holds { entries: 4 });

    // Whoever has the database writes all of it anew, so that it is sound by itself.
    let mut tx = org.app.storage.write()?;
    tx.set_setting("audit_end", &[2u64.to_be_bytes().as_slice(), &[7; 32]].concat())?;
    tx.commit()?;
    assert_eq!(org.admin.compare_anchor(&full)?, Anchored::Shorter { entries: 4, stored: 2 });
    tamper(&org, "UPDATE audit SET chain = zeroblob(32) WHERE n = 4")?;
    let mut tx = org.app.storage.write()?;
    tx.set_setting("audit_end", &[4u64.to_be_bytes().as_slice(), &[0; 32]].concat())?;
    tx.commit()?;
    assert_eq!(org.admin.compare_anchor(&full)?, Anchored::Other { entries: 4 });
    let other = Org::new()?.admin.audit_anchor()?;
    assert_eq!(org.admin.compare_anchor(&other)?, Anchored::Unsigned);
    for text in ["", "roundsman audit anchor v1", "roundsman audit anchor v1\nsigned: !!"] {
        assert!(matches!(org.admin.compare_anchor(text), Err(AdminError::NotAnAnchor)), "{text}");
    }
    Ok(())
}
