//! What an administrator sees.

use super::WipeProposal;
use chrono::{DateTime, NaiveDate, Utc};
use roundsman_model::visit::{Outcome, State, Verdict};
use roundsman_model::{DeviceId, Role, UserId};
use roundsman_protocol::posture::Posture;
use roundsman_protocol::receipt::Rescue;
use uuid::Uuid;

/// A person with an account.
#[derive(Clone, Debug, PartialEq)]
pub struct UserView {
    /// The id.
    pub id: UserId,
    /// The email to sign in with.
    pub email: String,
    /// The name to show.
    pub name: String,
    /// What the person is.
    pub role: Role,
    /// The codes of the territories whose customers this user's devices hold.
    pub territories: Vec<String>,
}

/// A console session that was just begun.
pub struct Session {
    /// The secret for the cookie.
    pub token: String,
    /// Who signed in.
    pub user: UserView,
    /// What every form of the session must carry.
    pub csrf: String,
}

/// A console session that goes on.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who is signed in.
    pub user: UserView,
    /// What every form of the session must carry.
    pub csrf: String,
}

/// An enrolment ticket as it was issued. It can't be shown again.
pub struct IssuedTicket {
    /// The text for the QR code.
    pub text: String,
    /// Until when it holds.
    pub expires_at: DateTime<Utc>,
}

/// How a device stands, from what was ordered and what it has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceStatus {
    /// In use.
    Active,
    /// A lock was issued and not yet carried out.
    LockPending,
    /// Locked, though its release share is still on it: it was not in escrow.
    SoftLocked,
    /// Locked: its release share is only here.
    Locked,
    /// An administrator lets it open again; the device has not yet done so.
    UnlockGranted,
    /// A wipe was issued and not yet carried out.
    WipePending,
    /// Every key on it is destroyed; files may remain.
    Shredded,
    /// Nothing is left on it.
    Wiped,
}

impl DeviceStatus {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::LockPending => "Lock pending",
            Self::SoftLocked => "Locked by itself",
            Self::Locked => "Locked",
            Self::UnlockGranted => "Unlock granted",
            Self::WipePending => "Wipe pending",
            Self::Shredded => "Keys destroyed",
            Self::Wiped => "Wiped",
        }
    }

    /// Whether a lock would change anything.
    pub fn can_be_locked(self) -> bool {
        matches!(self, Self::Active | Self::UnlockGranted)
    }

    /// Whether it is locked, or about to be.
    pub fn can_be_unlocked(self) -> bool {
        matches!(self, Self::LockPending | Self::SoftLocked | Self::Locked)
    }
}

/// A device in a list.
#[derive(Clone, Debug)]
pub struct DeviceView {
    /// The id.
    pub id: DeviceId,
    /// What its owner calls it.
    pub name: String,
    /// `android`, `ios`, `linux`.
    pub platform: String,
    /// Whose it is.
    pub user: UserId,
    /// The owner's name.
    pub user_name: String,
    /// How it stands.
    pub state: DeviceStatus,
    /// When it last asked for anything.
    pub last_seen: Option<DateTime<Utc>>,
    /// How many changes it had not sent when it last reported.
    pub unsent: u64,
    /// The version of its core.
    pub core: String,
    /// Whether its keys are in secure hardware, as it said at enrolment.
    pub hardware_keys: bool,
    /// When it was enrolled.
    pub enrolled_at: DateTime<Utc>,
    /// What the policy says of the phone's state, if it was ever told.
    pub posture: Option<PostureView>,
}

/// A phone's state, as the host app told it, judged by the present policy.
#[derive(Clone, Debug)]
pub struct PostureView {
    /// What follows.
    pub verdict: roundsman_protocol::posture::Verdict,
    /// What is not as it should be, in words.
    pub concerns: Vec<&'static str>,
    /// What was told.
    pub told: Posture,
}

/// A device with its history.
#[derive(Clone, Debug)]
pub struct DeviceDetail {
    /// The device.
    pub view: DeviceView,
    /// The commands it was given, the first one first.
    pub commands: Vec<CommandView>,
    /// Receipts for what it did by itself.
    pub local_receipts: Vec<ReceiptView>,
    /// The wipe that waits for approvals or is held, if there is one.
    pub proposed: Option<WipeProposal>,
}

/// A command and what became of it.
#[derive(Clone, Debug)]
pub struct CommandView {
    /// Its number on the device.
    pub seq: u64,
    /// `lock`, `unlock` or `wipe`.
    pub kind: String,
    /// Why it was given.
    pub reason: String,
    /// The name of the administrator who gave it.
    pub issued_by: String,
    /// When it was given.
    pub issued_at: DateTime<Utc>,
    /// When it was first handed to the device.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Whether a later command took its place before the device accepted it.
    pub superseded: bool,
    /// For a wipe: who proposed and who approved it.
    pub order: Option<WipeProposal>,
    /// The device's word on it.
    pub receipts: Vec<ReceiptView>,
}

/// A receipt as it was stored.
#[derive(Clone, Debug)]
pub struct ReceiptView {
    /// How far the device had come: `soft_locked`, `locked`, `unlocked`, `shredded`, `complete`, `refused`.
    pub progress: String,
    /// When, by the device's clock.
    pub at: DateTime<Utc>,
    /// When it came in.
    pub received_at: DateTime<Utc>,
    /// Whether the device's key signed it and it fits the command it names and its order.
    pub verified: bool,
    /// For the last receipt of a wipe: what became of the unsent work.
    pub rescue: Option<Rescue>,
    /// What it says, as pairs of a label and a value for people.
    pub details: Vec<(String, String)>,
    /// The signed bytes in base64, to check them elsewhere.
    pub raw_base64: String,
}

/// A customer in a list.
#[derive(Clone, Debug)]
pub struct CustomerView {
    /// The id.
    pub id: Uuid,
    /// The organisation's code for it.
    pub code: String,
    /// What the sign over the door says.
    pub name: String,
    /// The chain it belongs to.
    pub brand: Option<String>,
    /// Its kind of trade.
    pub channel: Option<String>,
    /// Street and number.
    pub address: Option<String>,
    /// Town.
    pub city: Option<String>,
    /// State or province.
    pub region: Option<String>,
    /// Postal code.
    pub postcode: Option<String>,
    /// Country code.
    pub country: Option<String>,
    /// Telephone.
    pub phone: Option<String>,
    /// Degrees north.
    pub lat: Option<f64>,
    /// Degrees east.
    pub lon: Option<f64>,
    /// The territory it lies in.
    pub territory: String,
    /// What every visitor should know.
    pub notes: Option<String>,
    /// What the reps sort it by.
    pub tags: Vec<String>,
    /// Samples that were left with it, all told.
    pub samples: Option<i64>,
}

/// A visit in a list.
#[derive(Clone, Debug)]
pub struct VisitView {
    /// The id.
    pub id: Uuid,
    /// The customer.
    pub customer: Uuid,
    /// The customer's name.
    pub customer_name: String,
    /// The rep.
    pub rep: UserId,
    /// The rep's name.
    pub rep_name: String,
    /// How far it has come.
    pub state: State,
    /// The day of the round.
    pub day: NaiveDate,
    /// Its place in the round.
    pub stop: Option<i64>,
    /// Check-in.
    pub started_at: Option<DateTime<Utc>>,
    /// Check-out.
    pub ended_at: Option<DateTime<Utc>>,
    /// How it went.
    pub outcome: Option<Outcome>,
    /// Whether the rep was at the store.
    pub verdict: Option<Verdict>,
    /// Metres to the store at check-in.
    pub distance_m: Option<f64>,
    /// Why it was left, missed or cancelled.
    pub reason: Option<String>,
    /// What the rep wrote.
    pub notes: Option<String>,
    /// What is to be done next.
    pub next_step: Option<String>,
    /// How many photos, signatures and files it has.
    pub attachments: usize,
}

/// What an administrator did.
#[derive(Clone, Debug)]
pub struct ActView {
    /// When.
    pub at: DateTime<Utc>,
    /// The administrator's name.
    pub actor: String,
    /// What was done: `lock`, `add_user`.
    pub action: String,
    /// To what: an id.
    pub object: String,
}
