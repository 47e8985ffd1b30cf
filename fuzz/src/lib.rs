//! What each fuzz target does with its bytes. None may panic, hang or take memory without bound.
//!
//! Signed documents are tried twice: the bytes as an envelope, and the bytes as a payload that is signed as it should
//! be, so that what is behind the signatures is reached.
#![forbid(unsafe_code)]

use chrono::DateTime;
use ed25519_dalek::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use roundsman_core::fuzzing;
use roundsman_model::{DeviceId, UserId};
use roundsman_protocol::audit::{Checkpoint, Head};
use roundsman_protocol::command::{Command, Judge};
use roundsman_protocol::envelope::{Domain, Envelope};
use roundsman_protocol::keys::{DeviceKey, Thumbprint};
use roundsman_protocol::lease::Lease;
use roundsman_protocol::policy::Policy;
use roundsman_protocol::receipt::SignedReceipt;
use roundsman_protocol::rescue::{Segment, SignedSegment};
use roundsman_protocol::rescue_photo::{Part, PhotoError, SEALED_KEY, SealedKey, SignedPart};
use roundsman_protocol::root::{PublicKey, RoleKeys, Root};
use roundsman_protocol::root_bundle::RootBundle;
use roundsman_protocol::ticket::Ticket;
use roundsman_protocol::wipe_order::WipeOrder;
use roundsman_protocol::{hpke_seal, sha256};
use roundsman_server::admin::Mapping;
use roundsman_server::{Admin, NewAdmin, Secret, Server};
use std::sync::OnceLock;
use uuid::Uuid;

const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));
const NOW_MS: i64 = 1_790_000_000_000;

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn root_metadata() -> Root {
    let role = |n: u8| RoleKeys { threshold: 1, keys: vec![PublicKey(key(n).verifying_key().to_bytes())] };
    Root {
        v: 1,
        org: [9; 16],
        version: 1,
        expires_ms: i64::MAX,
        root: role(10),
        command: role(1),
        approver: role(2),
        release_key: [0; 32],
        recovery_key: [0; 32],
        rescue_key: [0; 32],
        pins: vec![],
        url: None,
    }
}

/// The bytes as they are, and as a payload that this key has signed.
fn envelopes(domain: Domain, bytes: &[u8], signer: u8) -> [Vec<u8>; 2] {
    [bytes.to_vec(), Envelope::sign(domain, bytes.to_vec(), &[&key(signer)]).to_bytes()]
}

fn device_key() -> (p256::ecdsa::SigningKey, DeviceKey) {
    let signing = p256::ecdsa::SigningKey::from_slice(&[5; 32]).expect("a number below the order");
    let point = signing.verifying_key().to_sec1_point(false);
    let public = DeviceKey::from_sec1(point.as_ref()).expect("a point");
    (signing, public)
}

/// A command.
pub fn command(bytes: &[u8]) {
    let root = root_metadata();
    let judge = Judge {
        root: &root,
        device: DEVICE,
        thumbprint: Thumbprint([3; 32]),
        last_seq: 0,
        last_hash: [0; 32],
        challenge: Some([4; 16]),
        now: DateTime::from_timestamp_millis(NOW_MS).unwrap_or_default(),
    };
    for envelope in envelopes(Domain::Command, bytes, 1) {
        if let Ok(command) = Command::open(&envelope, &judge) {
            let _ = (command.hash(), command.discards_unsent());
        }
    }
}

/// A wipe's order.
pub fn wipe_order(bytes: &[u8]) {
    let now = DateTime::from_timestamp_millis(NOW_MS).unwrap_or_default();
    for envelope in envelopes(Domain::WipeOrder, bytes, 2) {
        let _ = WipeOrder::open(&envelope, &root_metadata(), DEVICE, Thumbprint([3; 32]), now);
    }
}

/// Root metadata, the first, the next, and by hand.
pub fn root(bytes: &[u8]) {
    let now = DateTime::from_timestamp_millis(NOW_MS).unwrap_or_default();
    let text = String::from_utf8_lossy(bytes);
    for text in [text.as_ref(), &format!("RMR1:{text}")] {
        let _ = RootBundle::from_text(text).map(|bundle| bundle.follow(&root_metadata(), now));
    }
    for envelope in envelopes(Domain::Root, bytes, 10) {
        let _ = Root::open_first(&envelope, &sha256(&[&envelope]));
        let _ = root_metadata().follow(&[envelope], now);
    }
}

/// A lease.
pub fn lease(bytes: &[u8]) {
    for envelope in envelopes(Domain::Lease, bytes, 1) {
        let _ = Lease::open(&envelope, &root_metadata(), DEVICE);
    }
}

/// A policy.
pub fn policy(bytes: &[u8]) {
    for envelope in envelopes(Domain::Policy, bytes, 1) {
        let _ = Policy::open(&envelope, &root_metadata());
    }
}

/// Audit entries, and the server's checkpoint.
pub fn audit(bytes: &[u8]) {
    let _ = Head::default().extend(DEVICE, bytes);
    for envelope in envelopes(Domain::Audit, bytes, 1) {
        let _ = Checkpoint::open(&envelope, &root_metadata(), DEVICE);
    }
    fuzzing::audit_log(bytes);
}

/// A receipt.
pub fn receipt(bytes: &[u8]) {
    let _ = SignedReceipt::open(bytes, &device_key().1);
}

/// A segment of a sealed outbox, as it lies on a device.
pub fn segment(bytes: &[u8]) {
    if let Ok(segment) = Segment::read(bytes) {
        let _ = segment.last_commit();
        let _ = segment.open(&hpke_seal::key_pair(&[1; 32]).0);
    }
}

/// A segment as it comes to the server.
pub fn rescue(bytes: &[u8]) {
    let (signing, public) = device_key();
    let _ = SignedSegment::open(bytes, &public);
    let signed = SignedSegment::sign(bytes.to_vec(), |message| {
        let signature: p256::ecdsa::Signature = signing.sign_prehash(&sha256(&[message]))?;
        Ok::<_, p256::ecdsa::Error>(signature.to_bytes().into())
    });
    if let Ok(signed) = signed {
        let _ = SignedSegment::open(&signed.to_bytes(), &public);
    }
}

/// The sealed key of a photo that was not sent, as it lies on a device, and a part of the photo as it comes to the server.
pub fn rescue_photo(bytes: &[u8]) {
    if let Ok(sealed) = SealedKey::read(bytes) {
        let _ = sealed.open(&hpke_seal::key_pair(&[1; 32]).0);
    }
    let (signing, public) = device_key();
    let _ = SignedPart::open(bytes, &public);
    let Some((place, rest)) = bytes.split_first_chunk::<16>() else { return };
    let (size, offset) = place.split_at(8);
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    let (key, content) = rest.split_at(rest.len().min(SEALED_KEY));
    let (key, bytes) = (key.to_vec(), content.to_vec());
    let part = Part { key, size: number(size), offset: number(offset), bytes };
    let signed = SignedPart::sign(part.clone(), |message| {
        let signature: p256::ecdsa::Signature = signing.sign_prehash(&sha256(&[message]))?;
        Ok::<_, p256::ecdsa::Error>(signature.to_bytes().into())
    });
    if let Ok((_, opened)) = signed
        .map(|signed| SignedPart::open(&signed.to_bytes(), &public))
        .unwrap_or(Err(PhotoError::Malformed))
    {
        assert_eq!(opened, part, "a part is read as it was signed");
    }
}

/// The text of an enrolment code.
pub fn enrolment(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(ticket) = Ticket::from_text(&text) {
        assert_eq!(Ticket::from_text(&ticket.to_text()), Ok(ticket));
    }
    let _ = Ticket::from_text(&format!("RM1:{text}"));
}

/// A sealed attachment.
pub fn attachment(bytes: &[u8]) {
    fuzzing::attachment(bytes);
}

/// The control file's content.
pub fn control(bytes: &[u8]) {
    fuzzing::control(bytes);
}

/// The slot file's content, and the release share's.
pub fn slots(bytes: &[u8]) {
    fuzzing::slots(bytes);
}

/// The answer to a sync, unpacked and packed.
pub fn sync(bytes: &[u8]) {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| tokio::runtime::Runtime::new().expect("a runtime"));
    runtime.block_on(fuzzing::answer(bytes));
}

/// A file of customers.
pub fn csv(bytes: &[u8]) {
    static OFFICE: OnceLock<(Admin, UserId)> = OnceLock::new();
    let (admin, actor) = OFFICE.get_or_init(office);
    let header = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let headers: Vec<String> =
        header.split(|byte| *byte == b',').map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let _ = admin.import_customers(*actor, bytes, &Mapping::guess(&headers), &mut |_| {});
}

/// A server of its own, in a folder that is left to the system to clear.
fn office() -> (Admin, UserId) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder").keep();
    let config = roundsman_server::Config {
        data_dir: folder,
        database: None,
        listen: ([127, 0, 0, 1], 0).into(),
        public_url: None,
        org_name: "Fuzz".to_owned(),
        anchors: None,
        attachments: roundsman_server::AttachmentConfig::default(),
        first_admin: Some(NewAdmin {
            email: "ada@example.com".to_owned(),
            name: "Ada".to_owned(),
            password: Secret::from("correct horse battery staple"),
        }),
    };
    let server = runtime.block_on(Server::start(config)).expect("the server starts");
    let admin = server.admin();
    runtime.block_on(server.stop());
    (admin, Admin::OPERATOR)
}
