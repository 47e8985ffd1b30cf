//! What approvers sign so that a device is wiped.
//!
//! The approvers sign the order, not the command that carries it: a command is bound to the ones before it, and by
//! the time that the second person approves, the device may have taken others. The order is bound to the device
//! and to its key, so it holds for no other device and not for this one once it is enrolled anew.

use crate::envelope::{Domain, Envelope, EnvelopeError, decode, encode};
use crate::keys::Thumbprint;
use crate::root::Root;
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;
use uuid::Uuid;

/// For so many days an order holds: a device that was off for long is still to be wiped.
pub const ORDER_DAYS: i64 = 400;

/// An order to wipe one device.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct WipeOrder {
    /// The format, [`crate::VERSION`].
    #[n(0)]
    pub v: u8,
    /// The organisation.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub org: [u8; 16],
    /// The device.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub device: [u8; 16],
    /// The thumbprint of the device's key.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub thumbprint: [u8; 32],
    /// The order's own id.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub id: [u8; 16],
    /// Why, as the administrator worded it.
    #[n(5)]
    pub reason: String,
    /// Whether the unsent work is destroyed too, in place of being handed over.
    #[n(6)]
    pub discard_unsent: bool,
    /// When it was proposed: milliseconds since 1970.
    #[n(7)]
    pub issued_ms: i64,
    /// Until when it holds: milliseconds since 1970.
    #[n(8)]
    pub not_after_ms: i64,
}

/// Why an order does not wipe a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WipeOrderError {
    /// It is not approved by enough people.
    #[error("the wipe is not approved: {0}")]
    NotApproved(#[from] EnvelopeError),
    /// It is of a version this device does not know.
    #[error("the wipe's order is of a version this device does not know")]
    UnknownVersion,
    /// It is for another device.
    #[error("the wipe's order is for another device")]
    OtherDevice,
    /// It has expired.
    #[error("the wipe's order has expired")]
    Expired,
}

impl WipeOrder {
    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads an order's payload, trusting nothing in it.
    ///
    /// # Errors
    /// It can't be read.
    pub fn from_payload(payload: &[u8]) -> Result<Self, EnvelopeError> {
        decode(payload)
    }

    /// The order's own id.
    pub fn id(&self) -> Uuid {
        Uuid::from_bytes(self.id)
    }

    /// Opens an order and checks that enough approvers of this root signed it, for this device and its key.
    ///
    /// # Errors
    /// Any of that is missing, or it has expired.
    pub fn open(
        envelope: &[u8],
        root: &Root,
        device: DeviceId,
        thumbprint: Thumbprint,
        now: DateTime<Utc>,
    ) -> Result<Self, WipeOrderError> {
        let envelope = Envelope::from_bytes(envelope)?;
        root.approver.verify(Domain::WipeOrder, &envelope)?;
        let order: Self = decode(&envelope.payload)?;
        if order.v != crate::VERSION {
            return Err(WipeOrderError::UnknownVersion);
        }
        if order.org != root.org || order.device != *device.0.as_bytes() || order.thumbprint != thumbprint.0 {
            return Err(WipeOrderError::OtherDevice);
        }
        if now.timestamp_millis() > order.not_after_ms {
            return Err(WipeOrderError::Expired);
        }
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::tests::{key, root};

    const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));

    fn order() -> WipeOrder {
        WipeOrder {
            v: 1,
            org: [9; 16],
            device: *DEVICE.0.as_bytes(),
            thumbprint: [3; 32],
            id: [5; 16],
            reason: "left in a taxi".into(),
            discard_unsent: false,
            issued_ms: 0,
            not_after_ms: 2_000,
        }
    }

    fn open(order: &WipeOrder, keys: &[u8]) -> Result<WipeOrder, WipeOrderError> {
        let keys: Vec<_> = keys.iter().map(|n| key(*n)).collect();
        let signed = Envelope::sign(Domain::WipeOrder, order.to_bytes(), &keys.iter().collect::<Vec<_>>());
        let now = DateTime::from_timestamp_millis(1_000).unwrap_or_default();
        WipeOrder::open(&signed.to_bytes(), &root(), DEVICE, Thumbprint([3; 32]), now)
    }

    #[test]
    fn two_different_approvers_approve() {
        assert_eq!(open(&order(), &[2, 3]), Ok(order()));
    }

    #[test]
    fn one_operator_twice_is_one() {
        let one = |valid| Err(EnvelopeError::NotEnoughSignatures { valid, needed: 2 }.into());
        assert_eq!(open(&order(), &[2]), one(1));
        assert_eq!(open(&order(), &[2, 2]), one(1));
        assert_eq!(open(&order(), &[2, 1]), one(1), "the server's key is no approver's");
        assert_eq!(open(&order(), &[10, 11]), one(0), "nor are the root's");
    }

    #[test]
    fn an_order_is_for_one_device_and_one_key() {
        for change in [
            (|order: &mut WipeOrder| order.device = [1; 16]) as fn(&mut WipeOrder),
            |order| order.thumbprint = [1; 32],
            |order| order.org = [1; 16],
        ] {
            let mut other = order();
            change(&mut other);
            assert_eq!(open(&other, &[2, 3]), Err(WipeOrderError::OtherDevice));
        }
        assert_eq!(open(&WipeOrder { v: 2, ..order() }, &[2, 3]), Err(WipeOrderError::UnknownVersion));
        assert_eq!(open(&WipeOrder { not_after_ms: 999, ..order() }, &[2, 3]), Err(WipeOrderError::Expired));
    }
}
