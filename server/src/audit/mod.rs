//! The devices' audit chains: taking entries in, and checking all that is stored.
//!
//! Each device vouches for its chain with its key; the server countersigns what it has stored. The entries of all
//! devices, in the order in which they came in, are one more chain, so that neither an entry nor a whole device can
//! vanish from the database unnoticed.

pub(crate) mod anchor;
mod take;
#[cfg(test)]
mod tests;
mod verify;

pub use anchor::Anchored;
pub(crate) use take::take;
pub(crate) use verify::verify;
pub use verify::{ChainVerdict, Verdict};

use roundsman_model::DeviceId;
use roundsman_protocol::sha256;

/// The hash of the server's chain after an entry.
fn link(chain: &[u8; 32], device: DeviceId, bytes: &[u8]) -> [u8; 32] {
    sha256(&[b"fv1/aud-server\0", chain, device.0.as_bytes(), bytes])
}
