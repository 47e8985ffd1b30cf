//! A world that was set up once: an organisation, its customers, and enrolled phones. Each seed begins with a copy.

use super::database::Database;
use super::phone::{PASSCODE, config};
use super::world::{Scopes, runtime};
use roundsman_core::Client;
use roundsman_core::vault::Passcode;
use roundsman_model::UserId;
use roundsman_server::FirstKeys;
use roundsman_testkit::{Answers, FakeTransport, FaultyDisk, ManualClock, SeededEntropy, TestServer};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The territories.
pub(super) const TERRITORIES: [&str; 3] = ["A", "B", "C"];

/// Customers in each territory at the beginning.
const CUSTOMERS: usize = 7;

/// The territories of each rep at the beginning.
const SCOPES: [&[&str]; 5] = [&["A"], &["A", "B"], &["B"], &["B", "C"], &["A", "B", "C"]];

/// This phone is the second one of the rep before.
const SECOND: usize = 2;

static KNOWN: Mutex<BTreeMap<(usize, Option<&'static str>), Arc<Template>>> = Mutex::new(BTreeMap::new());

/// What every seed begins with.
pub(super) struct Template {
    folder: TempDir,
    database: Option<Database>,
    pub(super) keys: Arc<FirstKeys>,
    pub(super) reps: Vec<UserId>,
    pub(super) millis: i64,
}

impl Template {
    /// The one for so many phones and this PostgreSQL; it is made once for a process.
    pub(super) fn of(phones: usize, postgres: Option<&'static str>) -> Arc<Self> {
        let mut known = KNOWN.lock().expect("no template panicked");
        Arc::clone(known.entry((phones, postgres)).or_insert_with(|| {
            // On a thread of its own: what is set for this one stays.
            let made = std::thread::spawn(move || Self::make(phones, postgres)).join();
            Arc::new(made.expect("the template is made"))
        }))
    }

    /// Forgets every one, and removes it once no seed is played any more.
    pub(super) fn clear() {
        KNOWN.lock().expect("no template panicked").clear();
    }

    fn make(phones: usize, postgres: Option<&'static str>) -> Self {
        let (folder, database) = (scratch(), postgres.map(Database::empty));
        let clock = Arc::new(ManualClock::default());
        let scopes = Scopes::new(0, None, false, &clock);
        runtime(&scopes).block_on(async {
            scopes.enter();
            let place = folder.path().join("server");
            let server = start_server(&place, database.as_ref(), Arc::clone(&clock), None);
            let mut csv = "code,name,territory,city\n".to_owned();
            for territory in TERRITORIES {
                for n in 0..CUSTOMERS {
                    csv.push_str(&format!("S{territory}{n},Store {territory} {n},{territory},Town\n"));
                }
            }
            server.import(&csv).expect("customers are imported");
            let mut reps = Vec::new();
            for slot in 0..phones {
                let rep = match reps.last() {
                    Some(rep) if slot == SECOND => *rep,
                    _ => server
                        .add_rep(&format!("rep{slot}"), SCOPES[slot % SCOPES.len()])
                        .expect("a rep is added"),
                };
                let answers: Arc<dyn Answers> = Arc::<TestServer>::clone(&server);
                let network = FakeTransport::new(answers, Arc::clone(&clock));
                let entropy = Arc::new(SeededEntropy::new(slot as u64));
                let place = phone_folder(folder.path(), slot);
                let config = config(&place, slot, network, Arc::new(FaultyDisk::default()), entropy, &clock);
                let phone = Client::open(config).expect("the phone opens");
                let passcode = Passcode::new(PASSCODE).expect("a passcode");
                let ticket = server.ticket(rep).expect("a ticket");
                phone.enrol(&ticket, &passcode).await.expect("the phone is enrolled");
                phone.sync(&()).await.expect("the first sync");
                phone.lock();
                reps.push(rep);
            }
            let keys = Arc::clone(server.keys());
            server.stop();
            Self { folder, database, keys, reps, millis: clock.millis() }
        })
    }

    /// Copies everything to this folder.
    pub(super) fn copy_to(&self, folder: &Path) {
        copy(self.folder.path(), folder);
    }

    /// A copy of its database, if it has one.
    pub(super) fn copy_database(&self) -> Option<Database> {
        self.database.as_ref().map(Database::copy)
    }
}

/// Starts the server in this folder, or with this database.
pub(super) fn start_server(
    place: &Path,
    database: Option<&Database>,
    clock: Arc<ManualClock>,
    keys: Option<Arc<FirstKeys>>,
) -> Arc<TestServer> {
    let started = match database {
        Some(database) => TestServer::start_on(place, database.address(), clock, keys),
        None => TestServer::start_in(place, clock, keys),
    };
    started.expect("the server starts")
}

/// Where the phone of this slot is.
pub(super) fn phone_folder(world: &Path, slot: usize) -> PathBuf {
    world.join(format!("phone{slot}"))
}

/// A folder in memory, if the machine has such: thousands of worlds are written and thrown away.
pub(super) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary folder")
}

/// Copies a folder as it is, while whatever writes to it stands still. SQLite's map of the log is left out: it is memory,
/// and no stop leaves it behind.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder is made");
    for entry in fs::read_dir(from).expect("the folder is read") {
        let entry = entry.expect("the folder is read");
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else if path.extension().is_none_or(|end| end != "db-shm") {
            fs::copy(path, target).expect("a file is copied");
        }
    }
}
