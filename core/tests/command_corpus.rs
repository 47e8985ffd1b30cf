//! Commands that must have no effect, made from good ones by everything that can be wrong with them, against the
//! device itself.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "test code")]

mod vault_kit;

use ed25519_dalek::SigningKey;
use roundsman_core::device::DeviceEvent;
use roundsman_core::protocol::api::CheckinAnswer;
use roundsman_core::protocol::command::{Command, Kind, Refusal};
use roundsman_core::protocol::envelope::{Domain, Envelope, EnvelopeError, MAX_ENVELOPE};
use roundsman_core::protocol::escrow::{UNLOCK_INFO, share_aad};
use roundsman_core::protocol::hpke_seal::{self, Sealed};
use roundsman_core::protocol::receipt::Progress;
use roundsman_core::protocol::wipe_order::{WipeOrder, WipeOrderError};
use roundsman_core::vault::VaultState;
use std::collections::BTreeMap;
use vault_kit::{App, Office, Phone};

const SERVER: u8 = 1;
const APPROVER: u8 = 2;
const STRANGER: u8 = 77;
/// The command before the forged ones has this number.
const LAST: u64 = 2;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn signed_by(signer: u8, domain: Domain, payload: Vec<u8>) -> Envelope {
    Envelope::sign(domain, payload, &[&key(signer)])
}

/// A command with the server's signature.
fn sealed(command: &Command) -> Vec<u8> {
    raw(command.to_bytes())
}

fn raw(payload: Vec<u8>) -> Vec<u8> {
    signed_by(SERVER, Domain::Command, payload).to_bytes()
}

const UNSIGNED: Refusal = Refusal::Envelope(EnvelopeError::NotEnoughSignatures { valid: 0, needed: 1 });
const MALFORMED: Refusal = Refusal::Envelope(EnvelopeError::Malformed);
const UNAPPROVED: Refusal =
    Refusal::Order(WipeOrderError::NotApproved(EnvelopeError::NotEnoughSignatures { valid: 0, needed: 1 }));

/// Vectors and what each must be refused with, by class.
#[derive(Default)]
struct Corpus {
    vectors: Vec<(&'static str, Vec<u8>, Refusal)>,
}

impl Corpus {
    fn add(&mut self, class: &'static str, refusal: Refusal, envelope: Vec<u8>) {
        self.vectors.push((class, envelope, refusal));
    }

    /// The command, changed, with a good signature.
    fn changed(
        &mut self,
        class: &'static str,
        refusal: Refusal,
        command: &Command,
        change: impl FnOnce(&mut Command),
    ) {
        let mut command = command.clone();
        change(&mut command);
        self.add(class, refusal, sealed(&command));
    }

    /// The command's envelope, changed after it was signed.
    fn tampered(
        &mut self,
        class: &'static str,
        refusal: Refusal,
        command: &Command,
        change: impl FnOnce(&mut Envelope),
    ) {
        let mut envelope = signed_by(SERVER, Domain::Command, command.to_bytes());
        change(&mut envelope);
        self.add(class, refusal, envelope.to_bytes());
    }

    /// Addressee, number, chain, version and root.
    fn contents(&mut self, lock: &Command) {
        for n in 0..10u8 {
            let bit = 1 << (n % 8);
            let at = usize::from(n);
            self.changed("other organisation", Refusal::OtherOrganisation, lock, |c| c.org[at] ^= bit);
            self.changed("other device", Refusal::OtherDevice, lock, |c| c.device[at] ^= bit);
            self.changed("other key of the device", Refusal::OtherDevice, lock, |c| {
                c.thumbprint[3 * at] ^= bit;
            });
            self.changed("broken chain", Refusal::BrokenChain, lock, |c| c.prev[3 * at] ^= bit);
            let ahead = LAST + 2 + u64::from(n);
            self.changed("number left out", Refusal::BrokenChain, lock, |c| c.seq = ahead);
            let far = LAST + 10_001 + (u64::from(n) << (5 * n));
            let jump = Refusal::Jump { seq: far, last: LAST };
            self.changed("number far ahead", jump, lock, |c| c.seq = far);
            let named = 2 + (u32::from(n) << (2 * n));
            let newer = Refusal::OtherRoot { named, known: 1 };
            self.changed("root that is not known", newer, lock, |c| c.root_version = named);
        }
        for seq in 0..=LAST {
            for reason in ["again", "and again"] {
                self.changed("number that was used", Refusal::Replayed { seq }, lock, |c| {
                    (c.seq, c.reason) = (seq, reason.to_owned());
                });
            }
        }
        self.changed("end of the numbers", Refusal::Jump { seq: u64::MAX, last: LAST }, lock, |c| {
            c.seq = u64::MAX;
        });
        self.changed("chain from the start", Refusal::BrokenChain, lock, |c| c.prev = [0; 32]);
        for v in [0, 2, 3, 24, 127, 255] {
            self.changed("unknown version", Refusal::UnknownVersion, lock, |c| c.v = v);
        }
        // The one after a good one that has not come, and the one after that.
        let mut command = lock.clone();
        for _ in 0..4 {
            command = Command { seq: command.seq + 1, prev: command.hash(), ..command };
            self.add("reordered", Refusal::BrokenChain, sealed(&command));
        }
    }

    /// Who signed, what, and for what.
    fn signatures(&mut self, lock: &Command) {
        for n in 0..10u8 {
            let envelope = signed_by(STRANGER + n, Domain::Command, lock.to_bytes());
            self.add("stranger's signature", UNSIGNED, envelope.to_bytes());
            // The stranger claims to be the server.
            self.tampered("stranger under the server's name", UNSIGNED, lock, |e| {
                e.signatures[0].signature = envelope.signatures[0].signature;
            });
        }
        let by = |signer| signed_by(signer, Domain::Command, lock.to_bytes()).to_bytes();
        self.add("approver's signature", UNSIGNED, by(APPROVER));
        self.tampered("no signature", UNSIGNED, lock, |e| e.signatures.clear());
        let domains =
            [Domain::Root, Domain::Escrow, Domain::WipeOrder, Domain::Lease, Domain::Policy, Domain::Audit];
        for domain in domains {
            let envelope = signed_by(SERVER, domain, lock.to_bytes());
            self.add("signature for another sort of document", UNSIGNED, envelope.to_bytes());
        }
        for n in 0..20 {
            self.tampered("flipped bit of the signature", UNSIGNED, lock, |e| {
                e.signatures[0].signature[3 * n] ^= 1 << (n % 8);
            });
        }
        for n in 0..10 {
            self.tampered("flipped bit of the key's name", UNSIGNED, lock, |e| {
                e.signatures[0].key.0[3 * n] ^= 1 << (n % 8);
            });
        }
        let length = lock.to_bytes().len();
        for n in 0..20 {
            self.tampered("flipped bit of the payload", UNSIGNED, lock, |e| {
                e.payload[n * length / 20] ^= 1 << (n % 8);
            });
        }
        for n in 0..6 {
            let other = Command { reason: format!("other {n}"), ..lock.clone() };
            self.tampered("spliced", UNSIGNED, lock, |e| e.payload = other.to_bytes());
        }
        self.tampered("malleable signature", UNSIGNED, lock, |e| add_order(&mut e.signatures[0].signature));
        for fill in [0, 1, 255] {
            self.tampered("signature of one byte", UNSIGNED, lock, |e| {
                e.signatures[0].signature = [fill; 64];
            });
        }
    }

    /// Bytes that are no command.
    fn forms(&mut self, lock: &Command) {
        let good = sealed(lock);
        for n in 0..20 {
            self.add("cut off", MALFORMED, good[..n * good.len() / 20].to_vec());
        }
        for n in 1..=5 {
            self.add("bytes left over", MALFORMED, [&good[..], &vec![n; usize::from(n)]].concat());
            self.add("signed with bytes left over", MALFORMED, raw([&lock.to_bytes()[..], &[n]].concat()));
        }
        for n in 1..=3 {
            let large = vec![0x82; MAX_ENVELOPE + n];
            self.add("too large", Refusal::Envelope(EnvelopeError::TooLarge), large);
        }
        for n in 0..10u8 {
            let garbage: Vec<u8> = (0..=n * 11).map(|byte| byte.wrapping_mul(151).wrapping_add(n)).collect();
            self.add("garbage", MALFORMED, garbage.clone());
            self.add("signed garbage", MALFORMED, raw(garbage));
        }
        // One value has one encoding: a length in two bytes that fits in one is refused.
        self.add("envelope in another encoding", MALFORMED, [&[0x98, 0x02], &good[1..]].concat());
        let payload = lock.to_bytes();
        assert_eq!(payload[0], 0x8c);
        self.add("payload in another encoding", MALFORMED, raw([&[0x98, 0x0c], &payload[1..]].concat()));
        self.add("payload of open length", MALFORMED, raw([&[0x9f], &payload[1..], &[0xff]].concat()));
        self.add("payload with one field more", MALFORMED, raw([&[0x8d], &payload[1..], &[0]].concat()));
        self.add("payload as a map", MALFORMED, raw([&[0xac], &payload[1..]].concat()));
        let kind = payload.windows(32).position(|bytes| bytes == lock.prev).unwrap() + 32;
        assert_eq!(payload[kind..kind + 3], [0x82, 0, 0x80]);
        for unknown in 3..20 {
            let mut payload = payload.clone();
            payload[kind + 1] = unknown;
            self.add("unknown kind", MALFORMED, raw(payload));
        }
    }

    /// Wipes that people did not approve, or not for this device.
    fn wipes(&mut self, lock: &Command, order: &WipeOrder) {
        let wipe = |order: Vec<u8>| sealed(&Command { kind: Kind::Wipe { order }, ..lock.clone() });
        let approved =
            |order: &WipeOrder| signed_by(APPROVER, Domain::WipeOrder, order.to_bytes()).to_bytes();
        for n in 0..10u8 {
            let stranger = if n == 0 { SERVER } else { STRANGER + n };
            let order = signed_by(stranger, Domain::WipeOrder, order.to_bytes()).to_bytes();
            self.add("wipe approved by the server or a stranger", UNAPPROVED, wipe(order));
        }
        for domain in [Domain::Command, Domain::Root, Domain::Lease, Domain::Policy, Domain::Escrow] {
            let order = signed_by(APPROVER, domain, order.to_bytes()).to_bytes();
            self.add("approval for another sort of document", UNAPPROVED, wipe(order));
        }
        let twice = Envelope::sign(Domain::WipeOrder, order.to_bytes(), &[&key(SERVER), &key(SERVER)]);
        self.add("one signer twice", UNAPPROVED, wipe(twice.to_bytes()));
        let length = order.to_bytes().len();
        for n in 0..10 {
            let mut envelope = signed_by(APPROVER, Domain::WipeOrder, order.to_bytes());
            envelope.payload[n * length / 10] ^= 1 << (n % 8);
            self.add("flipped bit of the order", UNAPPROVED, wipe(envelope.to_bytes()));
        }
        let unread = Refusal::Order(WipeOrderError::NotApproved(EnvelopeError::Malformed));
        let good = approved(order);
        for n in 0..5 {
            self.add("order cut off", unread, wipe(good[..n * good.len() / 5].to_vec()));
        }
        for n in 0..5 {
            let bit = 1 << n;
            for other in [
                WipeOrder { org: order.org.map(|byte| byte ^ bit), ..order.clone() },
                WipeOrder { device: order.device.map(|byte| byte ^ bit), ..order.clone() },
                WipeOrder { thumbprint: order.thumbprint.map(|byte| byte ^ bit), ..order.clone() },
            ] {
                let refusal = Refusal::Order(WipeOrderError::OtherDevice);
                self.add("order for another device", refusal, wipe(approved(&other)));
            }
            let old = WipeOrder { not_after_ms: order.issued_ms - 1 - i64::from(n), ..order.clone() };
            self.add("order that has expired", Refusal::Order(WipeOrderError::Expired), wipe(approved(&old)));
            let new = WipeOrder { v: 2 + n, ..order.clone() };
            let refusal = Refusal::Order(WipeOrderError::UnknownVersion);
            self.add("order of an unknown version", refusal, wipe(approved(&new)));
            let by_approver = signed_by(APPROVER, Domain::Command, {
                Command { kind: Kind::Wipe { order: good.clone() }, id: [n; 16], ..lock.clone() }.to_bytes()
            });
            self.add("wipe that the approver gives alone", UNSIGNED, by_approver.to_bytes());
        }
    }

    /// Hands every vector to the device. Says how many there were, by class.
    fn run(self, phone: &Phone, app: &App) -> BTreeMap<&'static str, u32> {
        let unchanged = || {
            let mut files = phone.bytes();
            files.retain(|(name, _)| !name.starts_with("control."));
            (app.vault.state(), app.vault.profile(), app.closed.get(), files)
        };
        let (before, mut classes) = (unchanged(), BTreeMap::new());
        for (n, (class, envelope, refusal)) in self.vectors.into_iter().enumerate() {
            let commands = CheckinAnswer { commands: vec![envelope], ..CheckinAnswer::at(DATE) };
            assert_eq!(app.take(&commands).unwrap(), [DeviceEvent::Refused(refusal)], "{class}, vector {n}");
            assert_eq!(app.take(&commands).unwrap(), [], "{class}, vector {n}: a repeat says nothing new");
            assert!(unchanged() == before, "{class}, vector {n}: something has changed");
            let report = app.device.report(None).unwrap();
            assert_eq!((report.last_command, report.receipts.len()), (LAST, 1), "{class}, vector {n}");
            let stored = CheckinAnswer { receipts_stored: 1, ..CheckinAnswer::at(DATE) };
            app.take(&stored).unwrap();
            *classes.entry(class).or_default() += 1;
        }
        classes
    }
}

const DATE: chrono::DateTime<chrono::Utc> = chrono::DateTime::UNIX_EPOCH;

/// Adds the order of the group to the second half of an Ed25519 signature: the same signature to a careless check.
fn add_order(signature: &mut [u8; 64]) {
    // RFC 8032, section 5.1: 2^252 + 27742317777372353535851937790883648493, in little-endian order.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        (*byte, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
}

/// A phone that has taken a lock and an unlock.
fn veteran(office: &mut Office) -> Phone {
    let phone = Phone::enrolled(office);
    let app = phone.start().unwrap();
    office.order(Kind::Lock);
    app.talk(office).unwrap();
    office.grants_unlock = true;
    app.talk(office).unwrap();
    office.grants_unlock = false;
    assert_eq!((app.vault.state(), app.device.report(None).unwrap().last_command), (VaultState::Ready, LAST));
    phone
}

fn order(office: &Office) -> WipeOrder {
    let Kind::Wipe { order } = office.wipe() else { panic!("a wipe has an order") };
    WipeOrder::from_payload(&Envelope::from_bytes(&order).unwrap().payload).unwrap()
}

#[test]
fn every_forged_replayed_or_malformed_command_is_refused_for_its_own_reason() {
    let mut office = Office::new();
    let phone = veteran(&mut office);
    let app = phone.start().unwrap();
    let mut corpus = Corpus::default();
    let lock = office.command(Kind::Lock);
    assert_eq!(lock.seq, LAST + 1);
    corpus.contents(&lock);
    corpus.signatures(&lock);
    corpus.forms(&lock);
    corpus.wipes(&lock, &order(&office));
    for n in 0..5 {
        let kind = Kind::Unlock { nonce: [n; 16], share: Sealed { enc: [n; 32], ciphertext: vec![n; 48] } };
        corpus.add("unlock that nobody asked for", Refusal::NoChallenge, sealed(&office.command(kind)));
    }
    let documents = [
        office.sign_lease(&office.lease()),
        office.sign_policy(&Office::rules(1)),
        office.escrow_receipt(uuid::Uuid::from_u128(1)),
    ];
    for document in documents {
        corpus.add("another document of the server", UNSIGNED, document);
    }
    corpus.add("another document of the approver", UNSIGNED, office.profile().root);
    let mut classes = corpus.run(&phone, &app);
    drop(app);

    // What is wrong with an unlock shows on a device that has asked for one.
    let mut locked = Office::new();
    let phone = Phone::enrolled(&mut locked);
    let app = phone.start().unwrap();
    locked.order(Kind::Lock);
    app.talk(&mut locked).unwrap();
    locked.order(Kind::Lock);
    app.talk(&mut locked).unwrap();
    let report = app.device.report(None).unwrap();
    let challenge = report.unlock.expect("a locked device asks");
    let Some(Kind::Unlock { nonce, share }) = locked.unlock(&challenge) else { panic!("a share is here") };
    let mut corpus = Corpus::default();
    let good = locked.command(Kind::Unlock { nonce, share: share.clone() });
    for n in 0..5u8 {
        let at = usize::from(n);
        let old = locked.now_ms - 1 - i64::from(n) * 1000;
        corpus.changed("unlock that has expired", Refusal::Expired, &good, |c| c.not_after_ms = old);
        let mut other = nonce;
        other[3 * at] ^= 1;
        let kind = Kind::Unlock { nonce: other, share: share.clone() };
        corpus.changed("unlock for another challenge", Refusal::NoChallenge, &good, |c| c.kind = kind);
        let mut spoilt = share.clone();
        spoilt.ciphertext[9 * at] ^= 1;
        let kind = Kind::Unlock { nonce, share: spoilt };
        corpus.changed("unlock with a spoilt share", Refusal::NoChallenge, &good, |c| c.kind = kind);
        let aad = share_aad(locked.profile().device, uuid::Uuid::from_u128(u128::from(n)));
        let foreign = hpke_seal::seal([n; 32], &challenge.public_key, UNLOCK_INFO, &aad, &[n; 32]).unwrap();
        let kind = Kind::Unlock { nonce, share: foreign };
        corpus.changed("unlock with another share", Refusal::NoChallenge, &good, |c| c.kind = kind);
    }
    classes.extend(corpus.run(&phone, &app));
    locked.grants_unlock = true;
    assert_eq!(app.talk(&mut locked).unwrap(), [DeviceEvent::Unlocked], "and the good one is still taken");

    let vectors: u32 = classes.values().sum();
    println!("{vectors} vectors in {} classes, all refused", classes.len());
    assert!(vectors >= 300 && classes.len() >= 30, "{vectors} vectors in {} classes", classes.len());
}

#[test]
fn a_command_that_was_carried_out_is_answered_again_and_not_carried_out_again() {
    let mut office = Office::new();
    let phone = Phone::enrolled(&mut office);
    let app = phone.start().unwrap();
    let lock = office.order(Kind::Lock);
    app.talk(&mut office).unwrap();
    office.grants_unlock = true;
    app.talk(&mut office).unwrap();
    let closed = app.closed.get();
    let replay = CheckinAnswer { commands: vec![lock], ..CheckinAnswer::at(DATE) };
    assert_eq!(app.take(&replay).unwrap(), []);
    assert_eq!((app.vault.state(), app.closed.get()), (VaultState::Ready, closed));
    let before = office.receipts.len();
    app.talk(&mut office).unwrap();
    assert_eq!(office.receipts.len(), before, "the same receipt once more");
    assert!(office.receipts.iter().all(|receipt| !matches!(receipt.progress, Progress::Refused { .. })));
}
