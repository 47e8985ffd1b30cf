//! The lease: how long a device may stay away from its server before it warns, refuses to open, and wipes itself.

use crate::envelope::{Domain, Envelope, EnvelopeError, decode, encode};
use crate::root::Root;
use chrono::{DateTime, Utc};
use roundsman_model::DeviceId;

/// A lease. Each answer to a check-in brings a new one.
#[derive(Clone, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct Lease {
    /// The format, [`crate::VERSION`].
    #[n(0)]
    pub v: u8,
    /// The organisation.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub org: [u8; 16],
    /// The device.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub device: [u8; 16],
    /// The server's time: milliseconds since 1970.
    #[n(3)]
    pub issued_ms: i64,
    /// After so many seconds the rep is warned.
    #[n(4)]
    pub warn_after_s: u32,
    /// After so many seconds the vault does not open until the server was reached.
    #[n(5)]
    pub lock_after_s: u32,
    /// After so many seconds the device wipes itself; never, if there are none.
    #[n(6)]
    pub wipe_after_s: Option<u32>,
    /// The number of the last command that was given. A device that has not got it is being kept from it.
    #[n(7)]
    pub head_seq: u64,
}

impl Lease {
    /// Seconds in a day.
    pub const DAY_S: u32 = 24 * 60 * 60;

    /// The bytes to sign.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(self)
    }

    /// The server's time when it was given.
    pub fn issued_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.issued_ms).unwrap_or_default()
    }

    /// Opens a lease and checks that it is the server's, for this device, and in order: a warning before a lock
    /// before a wipe.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] if it is for another device or out of order; otherwise as the envelope says.
    pub fn open(envelope: &[u8], root: &Root, device: DeviceId) -> Result<Self, EnvelopeError> {
        let envelope = Envelope::from_bytes(envelope)?;
        root.command.verify(Domain::Lease, &envelope)?;
        let lease: Self = decode(&envelope.payload)?;
        let ours = lease.v == crate::VERSION && lease.org == root.org && lease.device == *device.0.as_bytes();
        // A stolen server key must not wipe a fleet by a lease that ends at once.
        let ordered = lease.warn_after_s <= lease.lock_after_s
            && lease
                .wipe_after_s
                .is_none_or(|wipe| wipe >= lease.lock_after_s && wipe >= MIN_WIPE_DAYS * Self::DAY_S);
        if ours && ordered { Ok(lease) } else { Err(EnvelopeError::Malformed) }
    }
}

/// No lease wipes a device earlier than after so many days.
pub const MIN_WIPE_DAYS: u32 = 14;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::tests::{key, root};
    use uuid::Uuid;

    const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));

    fn lease() -> Lease {
        Lease {
            v: 1,
            org: [9; 16],
            device: *DEVICE.0.as_bytes(),
            issued_ms: 1_000,
            warn_after_s: 3 * Lease::DAY_S,
            lock_after_s: 7 * Lease::DAY_S,
            wipe_after_s: Some(30 * Lease::DAY_S),
            head_seq: 4,
        }
    }

    fn open(lease: &Lease, signer: u8) -> Result<Lease, EnvelopeError> {
        let signed = Envelope::sign(Domain::Lease, lease.to_bytes(), &[&key(signer)]);
        Lease::open(&signed.to_bytes(), &root(), DEVICE)
    }

    #[test]
    fn a_lease_is_the_servers_for_this_device() {
        assert_eq!(open(&lease(), 1), Ok(lease()));
        assert_eq!(
            open(&Lease { wipe_after_s: None, ..lease() }, 1).map(|lease| lease.wipe_after_s),
            Ok(None)
        );
        assert!(open(&lease(), 2).is_err());
        assert!(open(&Lease { device: [1; 16], ..lease() }, 1).is_err());
        assert!(open(&Lease { org: [1; 16], ..lease() }, 1).is_err());
    }

    #[test]
    fn a_lease_that_wipes_at_once_is_no_lease() {
        for wipe in [0, 8 * Lease::DAY_S, 13 * Lease::DAY_S] {
            assert!(open(&Lease { wipe_after_s: Some(wipe), ..lease() }, 1).is_err());
        }
        assert!(open(&Lease { lock_after_s: 0, ..lease() }, 1).is_err());
    }
}
