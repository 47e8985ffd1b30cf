//! For the tests of apps: the real server and real clients in one process, over a network that obeys the test.
//!
//! ```
//! use roundsman_core::vault::Passcode;
//! use roundsman_testkit::{Fate, TestServer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TestServer::start()?;
//! server.import("code,name,territory\nS1,Ocean Deli,NJ\n")?;
//! let ana = server.add_rep("ana", &["NJ"])?;
//!
//! let (phone, network) = server.phone("ana's phone")?;
//! let passcode = Passcode::new("copper Kayak 27")?;
//! phone.enrol(&server.ticket(ana)?, &passcode).await?;
//! phone.sync(&()).await?;
//!
//! // In the basement: the visit is made, and waits.
//! network.offline(true);
//! let store = phone.customers()?.search("ocean", 5)?.remove(0);
//! let visit = phone.visits()?.start(store.id, None)?;
//! assert!(phone.sync(&()).await.is_err());
//!
//! // Back in the street the server takes it, but the answer is lost. It is taken once all the same.
//! network.offline(false);
//! network.next(Fate::LoseAnswer);
//! assert!(phone.sync(&()).await.is_err());
//! phone.sync(&()).await?;
//! assert_eq!(server.visits()?.iter().filter(|row| row.id == visit.id).count(), 1);
//! # Ok(()) }
//! ```
//!
//! What is real: the client with its vault and its encrypted store, the server's routes, rules and storage, every
//! message and signature. What is not: sockets and TLS. A test of pins wants a listening server
//! ([`roundsman_server::Server`]). Apps in Kotlin and Swift reach this one by a socket: see `bindings/testkit`.
//!
//! Time stands still until the test moves it ([`TestServer::clock`]); server and phones share it. Whoever wants the same
//! run again gives seeds: [`SeededEntropy`], [`FakeTransport::weather`].
#![forbid(unsafe_code)]

mod clock;
mod disk;
mod entropy;
mod network;
mod server;

pub use clock::{ManualClock, SkewedClock};
pub use disk::{DiskFault, FaultyDisk};
pub use entropy::{Chance, SeededEntropy};
pub use network::{Answers, FakeTransport, Fate, Weather};
pub use server::{KitError, Place, TestServer};
