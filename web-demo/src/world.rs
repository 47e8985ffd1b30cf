//! The system under demonstration: server, customers, reps and phones.

mod home;
mod people;

use crate::phone::Phone;
use crate::round::round;
use crate::stores::Stores;
use anyhow::{Context, Result, ensure};
use chrono::{Local, NaiveDate};
use home::{Home, Notebook};
use people::Keys;
pub use people::OfferedKey;
use roundsman_core::State;
use roundsman_core::model::{Role, UserId};
use roundsman_core::vault::Passcode;
use roundsman_server::admin::{Admin, ImportReport, Mapping, NewUser, TerritoryFrom};
use roundsman_server::{Config, NewAdmin, Secret, Server};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use uuid::Uuid;

/// How many stops a round has.
const STOPS: usize = 11;

/// Who administers, and is the first to approve wipes.
const ADMINISTRATOR: &str = "Ada Bell";

const ORGANISATION: &str = "Meridian Provisions";

/// The reps: name, email, what they call their phone, and its first passcode.
const REPS: [(&str, &str, &str, &str); 2] = [
    ("Mara Lindholm", "mara@meridian.example", "Mara’s phone", "739146"),
    ("Jonas Weber", "jonas@meridian.example", "Jonas’ phone", "528371"),
];

/// What a demo is made from.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A CSV file of stores; the built-in sample if there is none.
    pub stores: Option<PathBuf>,
    /// Only the stores of this region of the file.
    pub region: Option<String>,
    /// Where to keep the demo for the next start; a temporary folder, removed at the end, if there is none.
    pub keep: Option<PathBuf>,
}

/// A rep and the phone that is theirs.
#[derive(Clone, Debug)]
pub struct Rep {
    /// The user's id.
    pub id: UserId,
    /// The name.
    pub name: String,
    /// The passcode the phone is enrolled with.
    pub passcode: String,
}

/// How to sign in to the console.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The address of the console.
    pub url: String,
    /// The email.
    pub email: String,
    /// The password.
    pub password: String,
    totp: totp_rs::Totp,
}

impl SignIn {
    /// The six digits that an authenticator app shows now, and for how many seconds they hold.
    pub fn code(&self) -> (String, u64) {
        (self.totp.generate_current().to_string(), self.totp.ttl())
    }
}

/// What was made ready before the first phone was enrolled.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What the import did; nothing if the demo was kept from an earlier start.
    pub import: Option<ImportReport>,
    /// How many visits are planned for today.
    pub planned: usize,
}

/// Server, customers, reps and phones.
pub struct World {
    server: Mutex<Option<Server>>,
    admin: Admin,
    actor: UserId,
    sign_in: SignIn,
    reps: Vec<Rep>,
    phones: Vec<Arc<Phone>>,
    stores: Stores,
    customers: u64,
    keys: Arc<Keys>,
    /// Removes a temporary folder when the world ends.
    _home: Home,
}

impl World {
    /// Starts the server, imports the stores, adds the reps, plans today's rounds and opens the phones, which are
    /// still new at the first start. `progress` hears what is being done.
    ///
    /// # Errors
    /// The folder, the file of stores or the server's port can't be used.
    pub async fn start(options: Options, progress: &dyn Fn(&str)) -> Result<(Self, Prepared)> {
        let stores = match &options.stores {
            Some(file) => Stores::read(file, options.region.as_deref())?,
            None => Stores::sample()?,
        };
        let home = Home::at(options.keep)?;
        let mut notebook = home.notebook()?;
        progress("starting the server");
        let server = Server::start(Config {
            data_dir: home.dir().join("server"),
            database: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, notebook.port)),
            public_url: None,
            org_name: ORGANISATION.to_owned(),
            anchors: None,
            attachments: roundsman_server::AttachmentConfig::default(),
            first_admin: Some(NewAdmin {
                email: notebook.email.clone(),
                name: ADMINISTRATOR.to_owned(),
                password: Secret::new(notebook.password.clone()),
            }),
        })
        .await
        .context("can't start the server")?;
        if let Some(first) = server.first_admin() {
            notebook.totp_url = first.totp_url.clone();
        }
        notebook.port = port(server.url())?;
        home.keep(&notebook)?;

        let (admin, email, territory) = (server.admin(), notebook.email.clone(), stores.territory.clone());
        let folder = home.dir().join("server");
        let (actor, reps, keys) = blocking(move || {
            let (actor, reps) = people(&admin, &email, &territory)?;
            Ok((actor, reps, Keys::of(&folder, &admin)?))
        })
        .await?;
        let phones = REPS
            .iter()
            .zip(1..)
            .map(|((_, _, device, _), number)| {
                Phone::open(number, &home.dir().join(format!("phone-{number}")), device)
            })
            .collect::<Result<_>>()?;
        let mut world = Self {
            admin: server.admin(),
            actor,
            sign_in: sign_in(server.url(), &notebook)?,
            server: Mutex::new(Some(server)),
            reps,
            phones,
            stores,
            customers: 0,
            keys: Arc::new(keys),
            _home: home,
        };
        let import = world.import(progress).await?;
        progress("planning today's rounds");
        let planned = world.plan(Local::now().date_naive()).await?;
        Ok((world, Prepared { import, planned }))
    }

    /// Enrols every phone that is still new, fetches its data and closes it again: as a rep finds it in the
    /// morning.
    ///
    /// # Errors
    /// A phone can't be enrolled, or can't sync.
    pub async fn hand_out_phones(&self, progress: &dyn Fn(&str)) -> Result<()> {
        for (phone, rep) in self.phones.iter().zip(&self.reps) {
            if phone.client().state() == State::New {
                progress(&format!("enrolling the phone of {}", rep.name));
                self.enrol(phone, rep).await?;
                phone.sync().await.context("can't fetch the customers")?;
                phone.lock();
            }
        }
        Ok(())
    }

    /// Enrols a phone for its rep with a ticket of the console's.
    ///
    /// # Errors
    /// No ticket is issued, or the phone does not take it.
    pub async fn enrol(&self, phone: &Arc<Phone>, rep: &Rep) -> Result<()> {
        let user = rep.id;
        let ticket = self.act(move |admin, actor| admin.issue_ticket(actor, user)).await??;
        phone.enrol(&ticket.text, &Passcode::new(&rep.passcode)?).await.context("can't enrol")?;
        Ok(())
    }

    /// Does something as the administrator, on a thread where it may block.
    ///
    /// # Errors
    /// The work panicked.
    pub async fn act<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Admin, UserId) -> T + Send + 'static,
    ) -> Result<T> {
        let (admin, actor) = (self.admin.clone(), self.actor);
        Ok(tokio::task::spawn_blocking(move || work(&admin, actor)).await?)
    }

    /// Approves the wipes that wait as one of the two approvers, 0 or 1.
    ///
    /// # Errors
    /// There is no such approver, or the server does not take an approval: this one has approved before.
    pub async fn approve_wipes(&self, approver: usize) -> Result<()> {
        let keys = Arc::clone(&self.keys);
        self.act(move |admin, _| -> Result<()> {
            let key = keys.approvers.get(approver).context("there are two approvers")?;
            for wipe in admin.wipe_proposals()? {
                admin.approve_wipe(wipe.id, key.id(), &wipe.sign(key)?)?;
            }
            Ok(())
        })
        .await?
    }

    /// Opens the unsent work that waits with the rescue key. Returns how many changes were found that the server had
    /// not.
    ///
    /// # Errors
    /// The server does not take the key.
    pub async fn open_rescue(&self) -> Result<u64> {
        let keys = Arc::clone(&self.keys);
        self.act(move |admin, actor| -> Result<u64> {
            Ok(admin.open_rescue(actor, &*keys.rescue.opening_key()?)?.total().filed)
        })
        .await?
    }

    /// The key files that the demo hands to its visitor. In earnest each person has one, and the server none.
    pub fn offered_keys(&self) -> &'static [OfferedKey] {
        &Keys::OFFERED
    }

    /// The text of one of them.
    pub fn offered_key(&self, file: &str) -> Option<String> {
        self.keys.text(file)
    }

    /// How to sign in to the console.
    pub fn sign_in(&self) -> &SignIn {
        &self.sign_in
    }

    /// The reps, in the order of their phones.
    pub fn reps(&self) -> &[Rep] {
        &self.reps
    }

    /// The phones.
    pub fn phones(&self) -> &[Arc<Phone>] {
        &self.phones
    }

    /// The phone with this number, from 1.
    pub fn phone(&self, number: usize) -> Option<&Arc<Phone>> {
        self.phones.get(number.checked_sub(1)?)
    }

    /// The stores that were imported.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// How many customers the server holds.
    pub fn customers(&self) -> u64 {
        self.customers
    }

    /// Stops the server.
    pub async fn stop(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.stop().await;
        }
    }

    async fn import(&mut self, progress: &dyn Fn(&str)) -> Result<Option<ImportReport>> {
        self.customers = self.act(|admin, _| admin.customer_count()).await??;
        if self.customers > 0 {
            return Ok(None);
        }
        progress(&format!("importing {} stores", self.stores.places.len()));
        let (csv, region) = (self.stores.csv.clone(), self.stores.region.clone());
        let territory = self.stores.territory.clone();
        let report = self
            .act(move |admin, actor| -> Result<ImportReport> {
                let headers: Vec<String> = csv::Reader::from_reader(without_mark(&csv))
                    .headers()?
                    .iter()
                    .map(str::to_owned)
                    .collect();
                let mapping = Mapping {
                    territory: TerritoryFrom::Fixed(territory),
                    filter: region.map(|region| ("region".to_owned(), region)),
                    ..Mapping::guess(&headers)
                };
                Ok(admin.import_customers(actor, csv.as_slice(), &mapping, &mut |_| {})?)
            })
            .await??;
        self.customers = self.act(|admin, _| admin.customer_count()).await??;
        ensure!(
            self.customers > 0,
            "no store could be imported; the first reason: {:?}",
            report.rejected.first()
        );
        Ok(Some(report))
    }

    /// Plans a round for each rep who has none on this day.
    async fn plan(&self, day: NaiveDate) -> Result<usize> {
        let there = self.act(move |admin, _| admin.visits_on(day)).await??.len();
        if there > 0 {
            return Ok(there);
        }
        let places = &self.stores.places;
        let (mut taken, mut planned) = (BTreeSet::new(), 0);
        for rep in &self.reps {
            let stops = round(places, &taken, STOPS);
            taken.extend(&stops);
            let codes: Vec<String> = stops.iter().map(|stop| places[*stop].code.clone()).collect();
            let rep = rep.id;
            planned += self
                .act(move |admin, actor| -> Result<usize> {
                    let customers =
                        codes.iter().map(|code| by_code(admin, code)).collect::<Result<Vec<_>>>()?;
                    let known: Vec<Uuid> = customers.into_iter().flatten().collect();
                    Ok(admin.plan_round(actor, rep, day, &known)?.len())
                })
                .await??;
        }
        Ok(planned)
    }
}

/// The administrator's id, and the reps, who are added at the first start.
fn people(admin: &Admin, email: &str, territory: &str) -> Result<(UserId, Vec<Rep>)> {
    let users = admin.users()?;
    let known = |email: &str| users.iter().find(|user| user.email == email).map(|user| user.id);
    let actor = known(email).context("the folder belongs to another server")?;
    let mut reps = Vec::new();
    for (name, email, _, passcode) in REPS {
        let id = match known(email) {
            Some(id) => id,
            None => admin.add_user(
                actor,
                NewUser {
                    email: email.to_owned(),
                    name: name.to_owned(),
                    role: Role::Rep,
                    territories: vec![territory.to_owned()],
                    password: None,
                },
            )?,
        };
        reps.push(Rep { id, name: name.to_owned(), passcode: passcode.to_owned() });
    }
    Ok((actor, reps))
}

/// The customer with exactly this code. A row may have been refused by the import: then there is none.
fn by_code(admin: &Admin, code: &str) -> Result<Option<Uuid>> {
    let found = admin.customers(code, None, 50)?;
    Ok(found.into_iter().find(|customer| customer.code == code).map(|customer| customer.id))
}

fn sign_in(url: &str, notebook: &Notebook) -> Result<SignIn> {
    Ok(SignIn {
        url: format!("{url}/console"),
        email: notebook.email.clone(),
        password: notebook.password.clone(),
        totp: totp_rs::Totp::from_url(&notebook.totp_url).context("the folder belongs to another server")?,
    })
}

fn port(url: &str) -> Result<u16> {
    let port = url.rsplit(':').next().unwrap_or_default();
    port.parse().with_context(|| format!("the server's address {url} has no port"))
}

fn without_mark(csv: &[u8]) -> &[u8] {
    csv.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(csv)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}
