//! The shortest useful program: join an organisation, visit a store offline, sync.
//!
//! `cargo run -p roundsman-core --example first_visit -- 'RM1:…'` with the text of an enrolment code, as
//! `roundsman-server ticket` or the console gives it. The vault is made in `./my-phone`.
#![allow(clippy::print_stdout, reason = "it is a program")]

use roundsman_core::model::visit::Outcome;
use roundsman_core::platform::{OsEntropy, SoftwareKeys};
use roundsman_core::vault::Passcode;
use roundsman_core::{Client, Config, State};
use std::error::Error;
use std::sync::Arc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let keys = SoftwareKeys::new("my-phone/keys", Arc::new(OsEntropy));
    let client = Client::open(Config::new("my-phone/vault", Arc::new(keys)))?;
    let passcode = Passcode::new("copper Kayak 27")?;
    match client.state() {
        State::New => {
            let ticket = std::env::args().nth(1).ok_or("give the text of an enrolment code")?;
            client.enrol(&ticket, &passcode).await?;
            client.sync(&()).await?;
        }
        _ => client.unlock(&passcode)?,
    }

    // From here to the sync no signal is needed.
    let store = client.customers()?.list(None, 1)?.pop().ok_or("no customers yet")?;
    let visits = client.visits()?;
    let visit = visits.start(store.id, None)?;
    visits.write(visit.id, Some("Shelf is full, new poster is up".into()), None)?;
    visits.check_out(visit.id, Outcome::NoOrder, None)?;
    println!("Visited {}; {} changes to send", store.name, client.outbox()?.count()?);

    let report = client.sync(&()).await?;
    println!("Sent {}, received {}", report.sent, report.received);
    Ok(())
}
