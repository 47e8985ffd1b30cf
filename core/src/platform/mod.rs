//! What the core takes from outside: keys of the platform, time, randomness, disk and network.
//!
//! Each is a narrow trait, so that a whole fleet of devices can run in one process under a seeded simulation.

mod clock;
mod disk;
mod entropy;
mod keys;
mod software_keys;
mod transport;

pub use clock::{BootTime, Clock, SystemClock};
pub use disk::{Disk, RealDisk};
pub use entropy::{Entropy, EntropyError, OsEntropy};
pub use keys::{KeyAlias, KeyError, PlatformKeys};
pub use software_keys::SoftwareKeys;
pub use transport::{Body, Request, Response, Transport, TransportError};
