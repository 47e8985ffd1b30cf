//! Devices, their tickets, tokens, commands, receipts, escrowed shares and applied mutations.

use super::Result;
use crate::admin::DeviceStatus;
use roundsman_model::{DeviceId, DeviceSeq, UserId};
use roundsman_protocol::escrow::EscrowedShare;
use roundsman_protocol::keys::{DeviceKey, Thumbprint};
use roundsman_protocol::sync::Outcome;
use uuid::Uuid;

/// A device as stored.
#[derive(Clone, Debug)]
pub struct StoredDevice {
    /// The id.
    pub id: DeviceId,
    /// Whose it is.
    pub user: UserId,
    /// Its public key.
    pub key: DeviceKey,
    /// The installation's own id.
    pub install: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// The platform.
    pub platform: String,
    /// Whether its keys are in secure hardware, as it says.
    pub hardware_keys: bool,
    /// The version of its core.
    pub core: String,
    /// When it was enrolled: milliseconds since 1970.
    pub enrolled_ms: i64,
    /// When it was last heard: milliseconds since 1970.
    pub seen_ms: Option<i64>,
    /// How many changes it has not sent.
    pub unsent: u64,
    /// How it stands.
    pub status: DeviceStatus,
    /// The number of the last command it accepted.
    pub last_command: u64,
    /// The number of the last mutation that was applied.
    pub applied: DeviceSeq,
}

/// A ticket as stored; its secret only as a hash.
#[derive(Clone, Debug)]
pub struct StoredTicket {
    /// SHA-256 of the secret.
    pub token: [u8; 32],
    /// The digest of all that the ticket says; none for tickets of earlier versions.
    pub digest: Option<[u8; 32]>,
    /// Whose it is.
    pub user: UserId,
    /// Until when it holds: milliseconds since 1970.
    pub expires_ms: i64,
    /// When it was used: milliseconds since 1970.
    pub used_ms: Option<i64>,
}

/// A refresh token as stored; the token only as a hash.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    /// Whose it is.
    pub device: DeviceId,
    /// Until when it may be used: milliseconds since 1970.
    pub expires_ms: i64,
    /// Until when its successors may be used: milliseconds since 1970.
    pub family_expires_ms: i64,
    /// When it was used: milliseconds since 1970.
    pub spent_ms: Option<i64>,
    /// The request that used it.
    pub request: Option<Uuid>,
    /// SHA-256 of the token that followed it.
    pub successor: Option<[u8; 32]>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandState {
    /// To be carried out.
    Outstanding,
    /// The device accepted it.
    Accepted,
    /// A later one took its place before the device accepted it.
    Superseded,
}

/// A command as stored.
#[derive(Clone, Debug)]
pub struct StoredCommand {
    /// Its id.
    pub id: Uuid,
    /// The device.
    pub device: DeviceId,
    /// `lock`, `unlock` or `wipe`.
    pub kind: String,
    /// Why.
    pub reason: String,
    /// Who gave it.
    pub issued_by: UserId,
    /// When: milliseconds since 1970.
    pub issued_ms: i64,
    /// Until when it holds, for those that expire: milliseconds since 1970.
    pub not_after_ms: i64,
    /// The challenge it answers, for an unlock.
    pub nonce: Option<[u8; 16]>,
    /// What became of it.
    pub state: CommandState,
}

/// A command as signed, to follow one certain command. One command has several forms while it is not known which
/// of the earlier ones the device has accepted; all have the same id.
#[derive(Clone, Debug)]
pub struct StoredForm {
    /// The command.
    pub command: Uuid,
    /// Its number in this form.
    pub seq: u64,
    /// The hash of the command it follows.
    pub prev: [u8; 32],
    /// Its own hash.
    pub hash: [u8; 32],
    /// The signed bytes.
    pub envelope: Vec<u8>,
    /// When it was first handed out: milliseconds since 1970.
    pub delivered_ms: Option<i64>,
}

/// A receipt as stored.
#[derive(Clone, Debug)]
pub struct StoredReceipt {
    /// The device that brought it.
    pub device: DeviceId,
    /// The command it is for.
    pub command: Option<Uuid>,
    /// How far the device says it has come.
    pub progress: String,
    /// When, by the device's clock: milliseconds since 1970.
    pub at_ms: i64,
    /// When it came in: milliseconds since 1970.
    pub received_ms: i64,
    /// Whether it is signed by the device and fits.
    pub verified: bool,
    /// The bytes as they came.
    pub raw: Vec<u8>,
}

/// A release share in escrow.
#[derive(Clone, Debug)]
pub struct StoredShare {
    /// The device.
    pub device: DeviceId,
    /// The share, sealed to the release key.
    pub share: EscrowedShare,
    /// When it was stored: milliseconds since 1970.
    pub stored_ms: i64,
}

/// A mutation that was applied or refused, with its outcome.
#[derive(Clone, Debug)]
pub struct StoredMutation {
    /// Its number.
    pub seq: DeviceSeq,
    /// Its own id.
    pub id: Uuid,
    /// What became of it.
    pub outcome: Outcome,
}

/// Reading devices.
pub trait FleetRead {
    /// The ticket with this hash.
    fn ticket(&self, token: &[u8; 32]) -> Result<Option<StoredTicket>>;
    /// The device with this id.
    fn device(&self, id: DeviceId) -> Result<Option<StoredDevice>>;
    /// The device with this key.
    fn device_by_key(&self, thumbprint: Thumbprint) -> Result<Option<StoredDevice>>;
    /// Every device, the latest heard first.
    fn devices(&self) -> Result<Vec<StoredDevice>>;
    /// The device an access token was given to, and until when it holds in milliseconds since 1970.
    fn access_token(&self, hash: &[u8; 32]) -> Result<Option<(DeviceId, i64)>>;
    /// The refresh token with this hash.
    fn refresh_token(&self, hash: &[u8; 32]) -> Result<Option<RefreshToken>>;
    /// A device's commands, the first one first.
    fn commands(&self, device: DeviceId) -> Result<Vec<StoredCommand>>;
    /// The forms of a device's commands, by number and age.
    fn command_forms(&self, device: DeviceId) -> Result<Vec<StoredForm>>;
    /// A device's receipts, the first one first.
    fn receipts(&self, device: DeviceId) -> Result<Vec<StoredReceipt>>;
    /// A device's escrowed share.
    fn share(&self, device: DeviceId) -> Result<Option<StoredShare>>;
    /// A mutation's stored outcome.
    fn mutation(&self, device: DeviceId, seq: DeviceSeq) -> Result<Option<StoredMutation>>;
}

/// Writing devices.
pub trait FleetWrite {
    /// Adds a ticket.
    fn add_ticket(&mut self, ticket: &StoredTicket) -> Result<()>;
    /// Notes that a ticket was used.
    fn spend_ticket(&mut self, token: &[u8; 32], at_ms: i64) -> Result<()>;
    /// Adds or replaces a device.
    fn put_device(&mut self, device: &StoredDevice) -> Result<()>;
    /// Adds an access token, and forgets those that expired before `now_ms`.
    fn add_access_token(
        &mut self,
        hash: &[u8; 32],
        device: DeviceId,
        expires_ms: i64,
        now_ms: i64,
    ) -> Result<()>;
    /// Adds or replaces a refresh token, and forgets those whose family expired before `now_ms`.
    fn put_refresh_token(&mut self, token: &RefreshToken, now_ms: i64) -> Result<()>;
    /// Removes every token of a device.
    fn revoke_tokens(&mut self, device: DeviceId) -> Result<()>;
    /// Adds or replaces a command.
    fn put_command(&mut self, command: &StoredCommand) -> Result<()>;
    /// Has a device report, though no command waits for it.
    fn call(&mut self, device: DeviceId);
    /// Adds a form of a command.
    fn add_command_form(&mut self, form: &StoredForm) -> Result<()>;
    /// Notes when a form was first handed out.
    fn mark_delivered(&mut self, command: Uuid, hash: &[u8; 32], at_ms: i64) -> Result<()>;
    /// Appends a receipt. False if the device brought the very same one before.
    fn add_receipt(&mut self, receipt: &StoredReceipt) -> Result<bool>;
    /// Keeps a device's share in the place of its former one.
    fn put_share(&mut self, share: &StoredShare) -> Result<()>;
    /// Deletes a device's share.
    fn remove_share(&mut self, device: DeviceId) -> Result<()>;
    /// Keeps the outcomes of mutations.
    fn add_mutations(&mut self, device: DeviceId, mutations: &[StoredMutation]) -> Result<()>;
    /// Forgets the outcomes of mutations of numbers up to this one.
    fn forget_mutations(&mut self, device: DeviceId, up_to: DeviceSeq) -> Result<()>;
}
