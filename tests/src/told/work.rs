//! How a phone does what it is told.

use super::{Leaks, Order, Said, Stops};
use crate::rig::phone_config;
use anyhow::Context;
use chrono::Utc;
use roundsman_core::model::customer::Customer;
use roundsman_core::model::visit::Outcome;
use roundsman_core::model::{Entity, Fields, Value};
use roundsman_core::vault::Passcode;
use roundsman_core::{Client, Config, HttpsTransport};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Does what the lines of its input say, until they end.
///
/// # Errors
/// A line is no order, or the pipe broke. What the client refuses is said, and is no error.
pub async fn obey(folder: &Path, leaks: Option<Leaks>) -> anyhow::Result<()> {
    let stops = Stops::new(Arc::new(HttpsTransport::new()));
    let mut phone = Phone { folder: folder.to_owned(), stops, client: None, leaks };
    loop {
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        let order: Order = serde_json::from_str(&line)?;
        let said = match phone.obey(&order).await {
            Ok(count) => Said::Done { state: phone.state(), count },
            Err(error) => Said::Failed(format!("{error:#}")),
        };
        if let Some(leaks) = &mut phone.leaks {
            leaks.order(&order)?;
            phone.stops.tokens().iter().try_for_each(|token| leaks.text(token))?;
        }
        Stops::say(&said)?;
    }
}

struct Phone {
    folder: PathBuf,
    stops: Arc<Stops>,
    client: Option<Client>,
    leaks: Option<Leaks>,
}

impl Phone {
    fn state(&self) -> String {
        self.client.as_ref().map_or_else(|| "off".to_owned(), |client| format!("{:?}", client.state()))
    }

    fn config(&self, name: &str) -> Config {
        let (disk, transport) = (self.stops.clone(), self.stops.clone());
        Config { disk, transport, ..phone_config(&self.folder, name) }
    }

    async fn obey(&mut self, order: &Order) -> anyhow::Result<u64> {
        match order {
            Order::Open(name) => self.client = Some(Client::open(self.config(name))?),
            Order::StartOver(name) => self.client = Some(Client::start_over(self.config(name))?),
            Order::StopAtSteps(stop) => self.stops.at_steps(*stop),
            Order::StopAnswer(bytes) => self.stops.answer_after(*bytes),
            order => {
                let client = self.client.clone().context("the app is not started")?;
                return self.use_app(&client, order).await;
            }
        }
        Ok(0)
    }

    async fn use_app(&mut self, client: &Client, order: &Order) -> anyhow::Result<u64> {
        match order {
            Order::Enrol { ticket, passcode } => client.enrol(ticket, &Passcode::new(passcode)?).await?,
            Order::Unlock(passcode) => client.unlock(&Passcode::new(passcode)?)?,
            Order::Close => client.lock(),
            Order::ChangePasscode { old, new } => {
                client.change_passcode(&Passcode::new(old)?, &Passcode::new(new)?)?;
            }
            Order::Rotate(passcode) => client.rotate_vault_key(&Passcode::new(passcode)?)?,
            Order::Sync => drop(client.sync(&()).await?),
            Order::CheckIn => drop(client.check_in().await?),
            Order::Count => return Ok(client.customers()?.count()?),
            Order::Search(typed) => return self.search(client, typed),
            order => return Self::work(client, order).map(|()| 0),
        }
        Ok(0)
    }

    fn search(&mut self, client: &Client, typed: &str) -> anyhow::Result<u64> {
        let found = client.customers()?.search(typed, 50)?;
        for customer in &found {
            client.customers()?.get(customer.id)?.context("it was found")?;
            if let Some(leaks) = &mut self.leaks {
                leaks.record(&customer.to_fields())?;
            }
        }
        Ok(found.len() as u64)
    }

    fn work(client: &Client, order: &Order) -> anyhow::Result<()> {
        let (customers, visits) = (client.customers()?, client.visits()?);
        let the = |typed: &str| customers.search(typed, 1)?.pop().context("no such customer");
        match order {
            Order::Add(texts) => {
                let draft = customers.draft("code", "name", "NJ")?;
                customers.add(&with(&draft, texts)?)?;
            }
            Order::Edit(typed, texts) => {
                let seen = the(typed)?;
                customers.save(&seen, &with(&seen, texts)?)?;
            }
            Order::Visit { customer, notes, next_step, reason } => {
                let visit = visits.start(the(customer)?.id, None)?;
                visits.write(visit.id, Some(notes.clone()), Some(next_step.clone()))?;
                visits.check_out(visit.id, Outcome::Left, Some(reason.clone()))?;
            }
            Order::Forgo { customer, missed, cancelled } => {
                let (id, day) = (the(customer)?.id, Utc::now().date_naive());
                visits.miss(visits.plan(id, day, Some(1))?.id, missed)?;
                visits.cancel(visits.plan(id, day, Some(2))?.id, cancelled)?;
            }
            other => anyhow::bail!("no work: {other:?}"),
        }
        Ok(())
    }
}

/// The customer with these texts in its fields.
fn with(customer: &Customer, texts: &[(String, String)]) -> anyhow::Result<Customer> {
    let mut fields: Fields = customer.to_fields();
    fields.extend(texts.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))));
    Ok(Customer::from_fields(customer.id, &fields)?)
}
