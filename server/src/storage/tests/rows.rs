//! The same work on each storage, and then every question that can be asked: the answers must be the same, to the letter.

use super::{Place, customer, id, put};
use crate::admin::{AlertKind, DeviceStatus};
use crate::storage::{
    AdminAct, Columns, CommandState, EnrolmentState, LogEntry, PhotoState, ProposalState, RefreshToken,
    RescueFilter, RescueState, Storage, StoredAlert, StoredApproval, StoredCommand, StoredConflict,
    StoredDevice, StoredEnrolment, StoredEntry, StoredFault, StoredForm, StoredHead, StoredMutation,
    StoredPhoto, StoredProposal, StoredReceipt, StoredRecord, StoredRemoval, StoredRescue, StoredSegment,
    StoredSession, StoredShare, StoredTicket, StoredUser, StoredWatch,
};
use crate::testkit::TestResult;
use chrono::NaiveDate;
use p256::ecdsa::SigningKey;
use roundsman_model::merge::{Conflict, Merge};
use roundsman_model::{Bucket, DeviceId, DeviceSeq, Fields, Rev, Role, Seq, UserId, Value};
use roundsman_protocol::audit::{AuditError, Head};
use roundsman_protocol::enrolment::Digits;
use roundsman_protocol::escrow::EscrowedShare;
use roundsman_protocol::hpke_seal::Sealed;
use roundsman_protocol::keys::{DeviceKey, KeyId};
use roundsman_protocol::policy::Policy;
use roundsman_protocol::root::PublicKey;
use roundsman_protocol::sync::Outcome;
use std::fmt::Debug;
use zeroize::Zeroizing;

fn key(n: u8) -> TestResult<DeviceKey> {
    let signing = SigningKey::from_slice(&[n; 32])?;
    Ok(DeviceKey::from_sec1(signing.verifying_key().to_sec1_point(false).as_ref())?)
}

fn device(n: u8, seen_ms: Option<i64>) -> TestResult<StoredDevice> {
    Ok(StoredDevice {
        id: DeviceId(id(n.into())),
        user: UserId(id(1)),
        key: key(n)?,
        install: id(50),
        name: format!("Phone {n}"),
        platform: "linux".into(),
        hardware_keys: n == 1,
        core: "0.1.0".into(),
        enrolled_ms: 1_000 + i64::from(n),
        seen_ms,
        unsent: 3,
        status: DeviceStatus::Active,
        last_command: 0,
        applied: DeviceSeq(0),
    })
}

fn visit(n: u128, day: &str, rep: u128, stop: Option<i64>, started: Option<i64>) -> StoredRecord {
    let mut fields = Fields::from([
        ("day".to_owned(), day.into()),
        ("rep".to_owned(), Value::from(id(rep).to_string().as_str())),
    ]);
    fields.insert("stop".to_owned(), stop.map_or(Value::Null, Value::Int));
    if let Some(started) = started {
        fields.insert("started_at".to_owned(), Value::Int(started));
    }
    StoredRecord { entity: "visit".into(), fields, ..customer(n, "", "") }
}

fn rescued_photo(n: u128, device: u8, state: PhotoState, opened_ms: Option<i64>) -> StoredPhoto {
    StoredPhoto {
        device: DeviceId(id(u128::from(device))),
        file: id(n),
        attachment: id(n + 100),
        sealed_key: vec![n as u8; 3],
        object: id(n + 200),
        key: Zeroizing::new(vec![n as u8; 32]),
        size: 20_000 + n as u64,
        received: 9,
        state,
        opened_key: Zeroizing::new(if opened_ms.is_some() { vec![4; 40] } else { vec![] }),
        moved_ms: n as i64,
        opened_ms,
    }
}

/// All of a photo, secrets too: they are of a test.
fn all_of(photo: &StoredPhoto) -> impl Debug + use<> {
    let StoredPhoto { device, file, attachment, object, size, received, state, moved_ms, opened_ms, .. } =
        *photo;
    let bytes = [&photo.sealed_key, &*photo.key, &*photo.opened_key].map(Clone::clone);
    (device, file, attachment, object, (size, received, state, moved_ms, opened_ms), bytes)
}

fn rescue(n: u128, device: u8, commit: u64, state: RescueState, void: bool) -> StoredRescue {
    StoredRescue {
        change: id(n),
        device: DeviceId(id(device.into())),
        user: UserId(id(1)),
        commit,
        seq: DeviceSeq(n as u64),
        entity: "visit".into(),
        record: id(9),
        made_ms: 5,
        void,
        state,
        reason: (n == 61).then(|| "why".to_owned()),
        mutation: None,
        outcome: Some(Outcome::Applied { rev: Rev(1), conflicts: vec![] }),
        filed_ms: 6,
        settled_ms: (state == RescueState::Dismissed).then_some(7),
    }
}

fn command(n: u128, state: CommandState) -> StoredCommand {
    StoredCommand {
        id: id(n),
        device: DeviceId(id(1)),
        kind: "lock".into(),
        reason: "lost".into(),
        issued_by: UserId(id(1)),
        issued_ms: 10,
        not_after_ms: 20,
        nonce: (n == 70).then_some([4; 16]),
        state,
    }
}

/// Writes through every method of every part.
fn work(storage: &dyn Storage) -> TestResult {
    let (one, two) = (DeviceId(id(1)), DeviceId(id(2)));
    let boss = UserId(id(1));
    let mut tx = storage.write()?;

    // People.
    for (n, name, email) in [(1, "Zoë", "z@x"), (2, "ada", "a@x"), (3, "Ada", "b@x")] {
        let user = StoredUser {
            id: UserId(id(n)),
            email: email.into(),
            name: name.into(),
            role: if n == 1 { Role::Admin } else { Role::Rep },
            password: (n == 1).then(|| "$argon2".to_owned()),
            totp: (n != 3).then(|| Zeroizing::new(vec![9; 20])),
            totp_step: n as u64,
            territories: vec!["NY".into(), "NJ".into(), "NY".into()],
        };
        tx.add_user(&user, 1)?;
    }
    tx.set_territories(UserId(id(3)), &["b".into(), "B".into()])?;
    tx.set_totp(UserId(id(2)), &[8; 20])?;
    assert!(tx.spend_totp_step(boss, 5)?);
    assert!(!tx.spend_totp_step(boss, 5)? && !tx.spend_totp_step(boss, 4)?);
    tx.set_setting("one", b"1")?;
    tx.set_setting("one", &[])?;
    tx.set_setting("two", &[0, 255])?;
    for n in 1..=2 {
        let csrf = "c".to_owned();
        tx.add_session(&StoredSession { token: [n; 32], user: boss, csrf, created_ms: 1, seen_ms: 1 })?;
    }
    tx.touch_session(&[1; 32], 7)?;
    tx.remove_session(&[2; 32])?;
    for at_ms in [10, 20, 30] {
        tx.add_failure("a@x", at_ms, 15)?;
    }
    tx.add_failure("b@x", 40, 15)?;
    tx.clear_failures("b@x")?;
    for n in 0..3 {
        tx.add_admin_act(&AdminAct {
            at_ms: n,
            actor: boss,
            action: format!("act {n}"),
            object: "o".into(),
        })?;
    }

    // Devices.
    let digest = Some([6; 32]);
    tx.add_ticket(&StoredTicket { token: [1; 32], digest, user: boss, expires_ms: 9, used_ms: None })?;
    tx.add_ticket(&StoredTicket { token: [2; 32], digest: None, user: boss, expires_ms: 9, used_ms: None })?;
    tx.spend_ticket(&[1; 32], 8)?;
    for stored in [device(1, None)?, device(2, Some(2_000))?, device(3, Some(900))?] {
        tx.put_device(&stored)?;
    }
    let changed = StoredDevice {
        status: DeviceStatus::LockPending,
        unsent: 0,
        last_command: 4,
        applied: DeviceSeq(12),
        name: "Renamed".into(),
        ..device(1, Some(3_000))?
    };
    tx.put_device(&changed)?;
    tx.add_access_token(&[1; 32], one, 100, 0)?;
    tx.add_access_token(&[2; 32], two, 100, 0)?;
    let token = RefreshToken {
        hash: [3; 32],
        device: one,
        expires_ms: 10,
        family_expires_ms: 20,
        spent_ms: None,
        request: None,
        successor: None,
    };
    tx.put_refresh_token(&token, 0)?;
    let spent =
        RefreshToken { spent_ms: Some(5), request: Some(id(5)), successor: Some([4; 32]), ..token.clone() };
    tx.put_refresh_token(&spent, 0)?;
    tx.put_refresh_token(&RefreshToken { hash: [5; 32], device: two, ..token.clone() }, 0)?;
    tx.put_refresh_token(&RefreshToken { hash: [6; 32], family_expires_ms: 90, ..token }, 19)?;
    tx.revoke_tokens(two)?;
    tx.put_command(&command(70, CommandState::Outstanding))?;
    tx.put_command(&command(71, CommandState::Outstanding))?;
    tx.put_command(&command(70, CommandState::Superseded))?;
    for (n, seq) in [(71, 2), (70, 1), (71, 1)] {
        let hash = [n as u8 + seq as u8; 32];
        tx.add_command_form(&StoredForm {
            command: id(n),
            seq,
            prev: [0; 32],
            hash,
            envelope: vec![1, 2, 0],
            delivered_ms: None,
        })?;
        tx.mark_delivered(id(n), &hash, 5)?;
        tx.mark_delivered(id(n), &hash, 6)?;
    }
    let receipt = StoredReceipt {
        device: one,
        command: Some(id(70)),
        progress: "done".into(),
        at_ms: 1,
        received_ms: 2,
        verified: true,
        raw: vec![1],
    };
    assert!(tx.add_receipt(&receipt)?);
    assert!(!tx.add_receipt(&receipt)?);
    assert!(tx.add_receipt(&StoredReceipt { command: None, verified: false, raw: vec![2], ..receipt })?);
    for (device, share, stored_ms) in [(one, 1, 1), (one, 2, 2), (two, 3, 3)] {
        let sealed = Sealed { enc: [1; 32], ciphertext: vec![1, 2, 3] };
        let share = EscrowedShare { share: id(share), sealed, recovery: None };
        tx.put_share(&StoredShare { device, share, stored_ms })?;
    }
    tx.remove_share(two)?;
    let mutations: Vec<_> = (1..=4)
        .map(|n| {
            let outcome = Outcome::Applied { rev: Rev(n), conflicts: vec![] };
            StoredMutation { seq: DeviceSeq(n), id: id(n.into()), outcome }
        })
        .collect();
    tx.add_mutations(one, &mutations)?;

    // Enrolments.
    for (n, begun_ms) in [(80, 10), (81, 30), (82, 20)] {
        let enrolment = StoredEnrolment {
            id: id(n),
            user: boss,
            key: key(8)?,
            install: id(1),
            name: "n".into(),
            platform: "p".into(),
            hardware_keys: true,
            core: "c".into(),
            ticket: [1; 32],
            commitment: [2; 32],
            nonce: [3; 32],
            begun_ms,
            digits: None,
            state: EnrolmentState::Begun,
            device: None,
        };
        tx.add_enrolment(&enrolment, 15)?;
        let digits = Digits::from_number(123);
        let done = StoredEnrolment { digits, state: EnrolmentState::Done, device: Some(one), ..enrolment };
        if n == 81 {
            tx.set_enrolment(&done)?;
        }
    }

    // Roots, wipes, policies.
    for version in 1..=3 {
        tx.add_root(version, &[version as u8], i64::from(version))?;
        tx.add_policy(&Policy { version, ..Policy::default() }, boss, 1)?;
    }
    tx.put_approver(&PublicKey([1; 32]), "Ana")?;
    tx.put_approver(&PublicKey([1; 32]), "Ana Örn")?;
    let proposal = StoredProposal {
        id: id(90),
        device: one,
        payload: vec![1],
        proposed_by: boss,
        proposed_ms: 1,
        state: ProposalState::Waiting,
        command: None,
        issued_ms: None,
        threshold: None,
    };
    tx.put_proposal(&proposal)?;
    tx.put_proposal(&StoredProposal { id: id(91), ..proposal.clone() })?;
    let (state, command) = (ProposalState::Issued, Some(id(70)));
    tx.put_proposal(&StoredProposal { state, command, issued_ms: Some(9), threshold: Some(2), ..proposal })?;
    let approval =
        StoredApproval { key: KeyId::of(&[1; 32]), label: "Ana".into(), signature: [7; 64], at_ms: 3 };
    assert!(tx.add_approval(id(91), &approval)?);
    assert!(!tx.add_approval(id(91), &approval)?);

    // What is watched, and alerts.
    let watch = StoredWatch { commit: Some(4), boot: Some(id(3)), ..StoredWatch::default() };
    tx.put_watch(one, &StoredWatch::default())?;
    tx.put_watch(one, &watch)?;
    for n in 100..104 {
        let device = (n % 2 == 0).then_some(one);
        let (kind, detail) = (AlertKind::Copied, "d".to_owned());
        tx.put_alert(&StoredAlert {
            id: id(n),
            device,
            kind,
            at_ms: 1,
            detail,
            seen_by: None,
            seen_ms: None,
        })?;
    }
    let detail = "written over".to_owned();
    let (seen_by, seen_ms, kind) = (Some(boss), Some(4), AlertKind::Copied);
    for n in [101, 103] {
        let detail = detail.clone();
        tx.put_alert(&StoredAlert { id: id(n), device: None, kind, at_ms: 1, detail, seen_by, seen_ms })?;
    }

    // What was rescued.
    let segment = StoredSegment {
        device: one,
        segment: id(1),
        sha256: [1; 32],
        length: 5,
        changes: 2,
        bytes: vec![0; 5],
        received_ms: 1,
        opened_ms: None,
    };
    tx.put_segment(&segment)?;
    tx.put_segment(&StoredSegment {
        segment: id(2),
        bytes: vec![0; 3_000],
        received_ms: 8,
        ..segment.clone()
    })?;
    tx.put_segment(&StoredSegment { device: two, received_ms: 5, ..segment.clone() })?;
    tx.put_segment(&StoredSegment { device: two, segment: id(3), opened_ms: Some(3), ..segment.clone() })?;
    tx.put_segment(&StoredSegment { changes: 9, received_ms: 4, ..segment })?;
    for change in [
        rescue(60, 2, 1, RescueState::NeedsReview, false),
        rescue(61, 1, 2, RescueState::NeedsReview, false),
        rescue(62, 1, 1, RescueState::NeedsReview, true),
        rescue(63, 1, 1, RescueState::Dismissed, false),
        rescue(64, 1, 3, RescueState::Taken, false),
        rescue(64, 1, 4, RescueState::Taken, false),
    ] {
        tx.put_rescued(&change)?;
    }
    tx.rescued_arrived(one, id(61), 70)?;
    tx.rescued_arrived(one, id(64), 70)?;
    tx.rescued_arrived(two, id(63), 70)?;
    tx.forget_rescued(50)?;
    for photo in [
        rescued_photo(70, 1, PhotoState::Coming, None),
        rescued_photo(71, 1, PhotoState::Sealed, None),
        rescued_photo(72, 2, PhotoState::Sealed, None),
        rescued_photo(73, 2, PhotoState::Coming, Some(7)),
        rescued_photo(74, 2, PhotoState::Filed, Some(40)),
        rescued_photo(75, 2, PhotoState::Known, Some(90)),
        rescued_photo(76, 2, PhotoState::Damaged, Some(90)),
        // In the place of the one before.
        StoredPhoto { size: 5, received: 5, ..rescued_photo(73, 2, PhotoState::Opened, Some(8)) },
        // Its record is among the changes that wait.
        StoredPhoto { attachment: id(60), ..rescued_photo(77, 2, PhotoState::Opened, Some(8)) },
        StoredPhoto { key: Zeroizing::default(), ..rescued_photo(78, 2, PhotoState::Filed, None) },
    ] {
        tx.put_photo(&photo)?;
    }
    tx.drop_photo(two, id(76))?;
    tx.drop_photo(one, id(72))?;

    // The audit log.
    for n in 1..=3 {
        tx.add_audit_entry(&StoredEntry {
            n,
            device: one,
            entry: Columns {
                seq: n,
                at_ms: 1,
                actor: [1; 16],
                action: "open".into(),
                object: (n == 2).then(|| ("visit".to_owned(), [2; 16])),
            },
            bytes: vec![n as u8],
            head: [n as u8; 32],
            chain: [n as u8 + 10; 32],
            received_ms: 2,
        })?;
    }
    for seq in [2, 3] {
        let head = Head { seq, hash: [3; 32] };
        let signature = vec![1; 64];
        tx.put_audit_head(one, &StoredHead { head, stored_ms: 4, signed: head, signature })?;
    }
    for (kind, seq, at_ms) in
        [(AuditError::Gap, 4, 1), (AuditError::Edited, u64::MAX, 2), (AuditError::Gap, 2, 1)]
    {
        assert!(tx.add_audit_fault(one, &StoredFault { kind, seq: seq.min(i64::MAX as u64), at_ms })?);
    }
    assert!(!tx.add_audit_fault(one, &StoredFault { kind: AuditError::Gap, seq: 4, at_ms: 9 })?);

    // Records.
    for n in [1, 2] {
        let conflict = Conflict {
            field: "note".into(),
            kept: "a".into(),
            lost: Value::Null,
            rule: Merge::Latest,
            lost_is_mine: n == 1,
        };
        let entity = "visit".to_owned();
        tx.add_conflict(&StoredConflict { entity, record: id(n), device: one, at_ms: 1, conflict })?;
    }
    let day = "2026-11-26";
    for record in [
        visit(30, day, 2, Some(10), Some(1_800_000_000_002)),
        visit(31, day, 2, Some(9), Some(1_800_000_000_003)),
        visit(32, day, 1, Some(11), None),
        visit(33, day, 1, None, Some(1_800_000_000_001)),
        visit(34, "2026-11-27", 1, Some(1), Some(1_800_000_000_003)),
    ] {
        tx.put_record(&record, "")?;
        tx.append_log(&Bucket::user(UserId(id(2))), "visit", record.id, LogEntry::Put)?;
    }

    // What was removed, and collisions that stand.
    for (n, at_ms, by) in [(50, 1, None), (51, 5, Some(UserId(id(1)))), (52, 5, None), (53, 9, None)] {
        let record = StoredRecord { removed: true, rev: Rev(2), ..customer(n, "old", "Old") };
        tx.keep_removal(&StoredRemoval { record, at_ms, by, along: n == 52 })?;
    }
    let again = StoredRecord { removed: true, rev: Rev(4), ..customer(51, "old", "Older") };
    tx.keep_removal(&StoredRemoval { record: again, at_ms: 6, by: None, along: true })?;
    tx.forget_removal("customer", id(53))?;
    assert_eq!(tx.forget_removals_before(5)?, 1);
    for (n, of, removed) in [(35, 30, false), (36, 30, true), (37, 31, false), (38, 30, false)] {
        let fields = Fields::from([("record".to_owned(), id(of).to_string().as_str().into())]);
        let entity = "collision".to_owned();
        tx.put_record(&StoredRecord { entity, id: id(n), removed, fields, ..customer(n, "", "") }, "")?;
    }
    tx.commit()?;
    put(storage, &[customer(40, "K1", "Örn"), customer(41, "K2", "adele")])
}

/// The answers to every question.
fn answers(storage: &dyn Storage) -> TestResult<Vec<String>> {
    let mut told = Vec::new();
    let mut tell = |what: &str, answer: &dyn Debug| told.push(format!("{what}: {answer:?}"));
    let user = |user: &StoredUser| {
        let secret = user.totp.as_ref().map(|secret| secret.to_vec());
        let role = matches!(user.role, Role::Admin);
        let texts = (user.email.clone(), user.name.clone(), user.password.clone());
        format!("{:?} {texts:?} {role} {secret:?} {} {:?}", user.id, user.totp_step, user.territories)
    };
    let tx = storage.read()?;
    let (one, two) = (DeviceId(id(1)), DeviceId(id(2)));

    for n in 50..=53 {
        tell("removal", &tx.removal("customer", id(n))?);
    }
    tell("removals", &(tx.removals("customer", 9)?, tx.removals("customer", 1)?, tx.removals("visit", 9)?));
    tell("newest", &(tx.newest("visit", 2)?, tx.newest("customer", 9)?));
    tell("collisions", &(tx.collisions_of(id(30))?, tx.collisions_of(id(32))?));

    tell("users", &tx.users()?.iter().map(user).collect::<Vec<_>>());
    tell("user", &tx.user(UserId(id(2)))?.as_ref().map(user));
    tell("no user", &tx.user(UserId(id(4)))?.is_none());
    tell("by email", &tx.user_by_email("b@x")?.as_ref().map(user));
    tell("by no email", &tx.user_by_email("B@x")?.is_none());
    for name in ["one", "two", "three"] {
        tell("setting", &tx.setting(name)?.map(|value| value.to_vec()));
    }
    for n in 1..=2 {
        let session = tx.session(&[n; 32])?;
        tell("session", &session.map(|s| (s.token, s.user, s.csrf, s.created_ms, s.seen_ms)));
    }
    tell(
        "failures",
        &(tx.failures_since("a@x", 20)?, tx.failures_since("a@x", 0)?, tx.failures_since("b@x", 0)?),
    );
    tell("acts", &tx.admin_acts(2)?);

    tell("tickets", &(tx.ticket(&[1; 32])?, tx.ticket(&[2; 32])?, tx.ticket(&[3; 32])?));
    tell("devices", &tx.devices()?);
    tell("device", &(tx.device(one)?, tx.device(DeviceId(id(9)))?));
    tell("by key", &(tx.device_by_key(key(2)?.thumbprint())?, tx.device_by_key(key(9)?.thumbprint())?));
    tell("access", &(tx.access_token(&[1; 32])?, tx.access_token(&[2; 32])?));
    for n in 3..=6 {
        tell("refresh", &tx.refresh_token(&[n; 32])?);
    }
    tell("commands", &(tx.commands(one)?, tx.commands(two)?));
    tell("forms", &(tx.command_forms(one)?, tx.command_forms(two)?));
    tell("receipts", &tx.receipts(one)?);
    tell("shares", &(tx.share(one)?, tx.share(two)?));
    for n in 1..=5 {
        tell("mutation", &tx.mutation(one, DeviceSeq(n))?);
    }
    tell("mutations", &(tx.mutations(one)?, tx.mutations(two)?));

    for n in 80..=82 {
        tell("enrolment", &tx.enrolment(id(n))?);
    }
    tell("enrolments", &tx.enrolments_since(15)?);

    tell("root", &(tx.root_version()?, tx.root_times()?, tx.roots_after(1, 1)?, tx.roots_after(3, 9)?));
    tell("approver", &(tx.approver_label(KeyId::of(&[1; 32]))?, tx.approver_label(KeyId::of(&[2; 32]))?));
    tell("proposals", &(tx.proposal(id(90))?, tx.proposals_of(one)?, tx.waiting_proposals()?));
    tell("approvals", &(tx.approvals(id(91))?, tx.approvals(id(90))?));
    tell("wipes", &(tx.wipes_since(8)?, tx.wipes_since(9)?));
    tell("policy", &tx.policy()?);

    tell("watch", &(tx.watch(one)?, tx.watch(two)?));
    tell("alerts", &(tx.alerts(3)?, tx.alert(id(101))?, tx.alert(id(1))?));
    for device in [Some(one), Some(two), None] {
        tell("unseen", &(tx.unseen(AlertKind::Copied, device)?, tx.unseen(AlertKind::TokenReuse, device)?));
    }

    tell("segments", &(tx.segment(one, id(1))?, tx.segment(two, id(3))?, tx.segment(two, id(2))?));
    tell("sealed", &(tx.sealed_segments()?, tx.waiting_segments()?));
    tell("bytes", &(tx.segment_bytes(one)?, tx.segment_bytes(two)?, tx.segment_bytes(DeviceId(id(3)))?));
    tell("rescued change", &(tx.rescued_change(id(61))?, tx.rescued_change(id(9))?));
    for device in [None, Some(one)] {
        for state in [None, Some(RescueState::NeedsReview)] {
            for void in [false, true] {
                tell("rescued", &tx.rescued(&RescueFilter { device, state, void, limit: 10 })?);
            }
        }
        tell("waiting", &tx.rescued_waiting(device)?);
    }

    for device in [None, Some(one), Some(two)] {
        for state in [None, Some(PhotoState::Sealed), Some(PhotoState::Opened), Some(PhotoState::Damaged)] {
            let photos = tx.photos(device, state)?;
            tell("photos", &photos.iter().map(all_of).collect::<Vec<_>>());
        }
    }
    let photo = |device: DeviceId, n: u128| tx.photo(device, id(n)).map(|it| it.as_ref().map(all_of));
    tell("photo", &(photo(two, 78)?, photo(two, 73)?, photo(two, 70)?));
    tell("photo bytes", &(tx.photo_bytes(one)?, tx.photo_bytes(two)?, tx.waiting_photos()?));
    for before_ms in [8, 41, 71] {
        tell("old photos", &tx.old_photos(before_ms)?.iter().map(|it| it.file).collect::<Vec<_>>());
    }

    tell("head", &(tx.audit_head(one)?, tx.audit_head(two)?));
    tell("entry", &(tx.audit_bytes(one, 2)?, tx.audit_bytes(one, 4)?));
    tell("entries", &(tx.audit_entries(one, u64::MAX, 2)?, tx.audit_entries(one, 3, 9)?));
    tell("after", &(tx.audit_after(1, 9)?, tx.audit_after(0, 1)?));
    tell("end", &tx.audit_end()?);
    tell("faults", &tx.audit_faults(one)?);

    tell("record", &(tx.record("visit", id(30))?, tx.record("customer", id(30))?));
    tell("log", &tx.log_after(&Bucket::user(UserId(id(2))), Seq(2), 2, 1_000_000)?);
    tell("customers", &(tx.customers(None, None, 9)?, tx.customers(None, Some(id(41)), 9)?));
    tell("by code", &(tx.customer_by_code("K2")?, tx.customer_by_code("k2")?));
    tell("counts", &(tx.record_count("visit")?, tx.record_count("customer")?, tx.record_count("x")?));
    let day = NaiveDate::from_ymd_opt(2026, 11, 26).ok_or("day")?;
    tell("visits", &(tx.recent_visits(3)?, tx.visits_on(day)?));
    tell("conflicts", &(tx.conflicts(1)?, tx.conflicts(9)?));
    Ok(told)
}

#[test]
fn every_question_has_the_same_answer_on_every_storage() -> TestResult {
    let mut all = Vec::new();
    for place in Place::both()? {
        let storage = place.open()?;
        work(storage.as_ref())?;
        all.push(answers(storage.as_ref())?);
    }
    let (file, postgres) = (&all[0], &all[1]);
    for (expected, found) in file.iter().zip(postgres) {
        assert_eq!(expected, found);
    }
    assert_eq!(file.len(), postgres.len());
    Ok(())
}

#[test]
fn the_logs_that_only_grow_refuse_to_change() -> TestResult {
    for place in Place::both()? {
        let storage = place.open()?;
        work(storage.as_ref())?;
        let before = answers(storage.as_ref())?;
        for table in ["admin_log", "receipt", "root", "wipe_approval", "audit"] {
            assert!(place.tamper(&format!("DELETE FROM {table}")).is_err(), "{table}");
        }
        for change in [
            "UPDATE admin_log SET at_ms = 0",
            "UPDATE receipt SET at_ms = 0",
            "UPDATE root SET version = 9",
            "UPDATE wipe_approval SET at_ms = 0",
            "UPDATE audit SET at_ms = 0",
        ] {
            assert!(place.tamper(change).is_err(), "{change}");
        }
        assert_eq!(answers(storage.as_ref())?, before);
    }
    Ok(())
}

#[test]
fn secrets_are_sealed_before_they_reach_postgresql() -> TestResult {
    let [_, place] = Place::both()?;
    let storage = place.open()?;
    work(storage.as_ref())?;
    let mut tx = storage.write()?;
    tx.set_setting("secret", b"in the clear")?;
    tx.commit()?;
    let fails_if = |condition: &str| {
        place.tamper(&format!("DO $$ BEGIN IF {condition} THEN RAISE EXCEPTION 'found'; END IF; END $$"))
    };
    assert!(
        fails_if("EXISTS (SELECT 1 FROM ticket WHERE position('\\x01010101'::bytea IN token) > 0)").is_err()
    );
    fails_if("EXISTS (SELECT 1 FROM setting WHERE position('in the clear'::bytea IN value) > 0)")?;
    fails_if("EXISTS (SELECT 1 FROM \"user\" WHERE position('\\x08080808'::bytea IN totp) > 0)")?;
    fails_if("EXISTS (SELECT 1 FROM \"user\" WHERE position('\\x09090909'::bytea IN totp) > 0)")?;
    // A secret that is put in the place of another is no secret.
    place.tamper(
        "UPDATE setting SET value = (SELECT value FROM setting WHERE name = 'secret') WHERE name = 'two'",
    )?;
    assert!(storage.read()?.setting("two").is_err());
    Ok(())
}

/// A column that was added to the one and forgotten in the other would be noticed by the phones first.
#[test]
fn both_databases_have_the_same_tables() -> TestResult {
    let [file, postgres] = Place::both()?;
    for place in [&file, &postgres] {
        place.open()?;
    }
    let Place::File(dir) = &file else { return Err("a file".into()) };
    let key = crate::storage::sqlite::DatabaseKey(Zeroizing::new([7; 32]));
    let conn = crate::storage::sqlite::connect(&dir.path().join("roundsman.db"), &key)?;
    let mut statement = conn.prepare(
        "SELECT t.name || '.' || c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name NOT LIKE 'record_search%' ORDER BY 1",
    )?;
    let columns: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    assert!(columns.len() > 100, "{columns:?}");
    let listed = columns.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let here = "SELECT table_name || '.' || column_name FROM information_schema.columns
                WHERE table_schema = current_schema() AND table_name NOT IN ('roundsman', 'proof', 'record_search')";
    postgres.tamper(&format!(
        "DO $$ DECLARE odd text; BEGIN
         SELECT string_agg(name, ', ') INTO odd FROM (
             (SELECT unnest(ARRAY[{listed}]) AS name EXCEPT {here}) UNION ALL
             ({here} EXCEPT SELECT unnest(ARRAY[{listed}]))
         ) AS difference;
         IF odd IS NOT NULL THEN RAISE EXCEPTION 'not in both: %', odd; END IF; END $$"
    ))?;
    Ok(())
}
