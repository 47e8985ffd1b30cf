//! A phone of the simulation: a real client, and what is around it.

use super::journal::Recorder;
use super::template::copy;
use chrono::TimeDelta;
use roundsman_core::platform::{Clock, Entropy, SoftwareKeys, Transport};
use roundsman_core::simulation::{self, PhoneChange, PhoneRow};
use roundsman_core::vault::{KdfCost, Passcode};
use roundsman_core::{Client, Config, Error};
use roundsman_model::customer::Customer;
use roundsman_model::{DeviceId, UserId};
use roundsman_testkit::{FakeTransport, FaultyDisk, ManualClock, SeededEntropy, SkewedClock};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The passcode that every phone begins with.
pub(super) const PASSCODE: &str = "copper Kayak 27";

/// The other one, for those that change it.
pub(super) const OTHER: &str = "amber Heron 53";

pub(super) struct Phone {
    pub(super) slot: usize,
    pub(super) rep: UserId,
    /// The number of its device in the journal.
    pub(super) number: u32,
    pub(super) device: DeviceId,
    pub(super) client: Client,
    pub(super) network: Arc<FakeTransport>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) disk: Arc<FaultyDisk>,
    pub(super) entropy: Arc<SeededEntropy>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) passcode: &'static str,
    /// A wipe was ordered.
    pub(super) to_be_wiped: bool,
    /// A customer as it was on the screen a while ago.
    pub(super) seen: Option<Customer>,
    world: PathBuf,
    folder: PathBuf,
    folders: u32,
}

/// The configuration of a phone in `folder`.
pub(super) fn config(
    folder: &Path,
    slot: usize,
    transport: Arc<dyn Transport>,
    disk: Arc<FaultyDisk>,
    entropy: Arc<dyn Entropy>,
    clock: &Arc<ManualClock>,
) -> Config {
    // Half a minute before or after the others.
    let ahead = TimeDelta::seconds(15 * (slot as i64 % 5 - 2));
    let keys = SoftwareKeys::new(folder.join("keys"), Arc::clone(&entropy));
    let clock: Arc<dyn Clock> = Arc::new(SkewedClock { right: Arc::clone(clock), ahead });
    Config {
        device_name: format!("phone {slot}"),
        clock,
        entropy,
        disk,
        transport,
        cost: Some(KdfCost::SIMULATION),
        ..Config::new(folder.join("vault"), Arc::new(keys))
    }
}

/// What is around a phone.
pub(super) struct Around {
    pub(super) network: Arc<FakeTransport>,
    pub(super) recorder: Arc<Recorder>,
    pub(super) disk: Arc<FaultyDisk>,
    pub(super) entropy: Arc<SeededEntropy>,
    pub(super) clock: Arc<ManualClock>,
}

impl Phone {
    /// The phone in the folder of its slot, closed.
    pub(super) fn start(
        slot: usize,
        rep: UserId,
        world: &Path,
        folder: PathBuf,
        around: Around,
    ) -> Result<Self, Error> {
        let Around { network, recorder, disk, entropy, clock } = around;
        let transport: Arc<dyn Transport> = Arc::<FakeTransport>::clone(&network);
        let given: Arc<dyn Entropy> = Arc::<SeededEntropy>::clone(&entropy);
        let client = Client::open(config(&folder, slot, transport, Arc::clone(&disk), given, &clock))?;
        let device = client.profile().map_or(DeviceId(uuid::Uuid::nil()), |profile| profile.device);
        let number = recorder.device.load(Ordering::SeqCst);
        Ok(Self {
            slot,
            rep,
            number,
            device,
            client,
            network,
            recorder,
            disk,
            entropy,
            clock,
            passcode: PASSCODE,
            to_be_wiped: false,
            seen: None,
            world: world.to_owned(),
            folder,
            folders: 0,
        })
    }

    /// The app is killed and started again: from the files as they are, with nothing that was in memory.
    pub(super) fn kill(&mut self) -> Result<(), Error> {
        let left = self.next_folder();
        copy(&self.folder, &left);
        let old = std::mem::replace(&mut self.folder, left);
        self.disk.heal();
        self.open()?;
        // The killed one was dropped by that, and may have tidied its own copy.
        let _ = fs::remove_dir_all(old);
        Ok(())
    }

    /// The app is closed and started again.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.client.lock();
        self.kill()
    }

    /// An empty phone takes its place, to be enrolled as another device.
    pub(super) fn replace(&mut self, number: u32) -> Result<(), Error> {
        let old = std::mem::replace(&mut self.folder, PathBuf::new());
        self.folder = self.next_folder();
        (self.number, self.passcode, self.to_be_wiped, self.seen) = (number, PASSCODE, false, None);
        self.recorder.device.store(number, Ordering::SeqCst);
        self.open()?;
        let _ = fs::remove_dir_all(old);
        Ok(())
    }

    fn next_folder(&mut self) -> PathBuf {
        self.folders += 1;
        self.world.join(format!("phone{}-{}", self.slot, self.folders))
    }

    fn open(&mut self) -> Result<(), Error> {
        let transport: Arc<dyn Transport> = Arc::<FakeTransport>::clone(&self.network);
        let given: Arc<dyn Entropy> = Arc::<SeededEntropy>::clone(&self.entropy);
        let config = config(&self.folder, self.slot, transport, Arc::clone(&self.disk), given, &self.clock);
        self.client = Client::open(config)?;
        Ok(())
    }

    pub(super) fn passcode(&self) -> Passcode {
        Passcode::new(self.passcode).expect("a passcode")
    }

    /// Opens the vault.
    pub(super) fn unlock(&self) -> Result<(), Error> {
        self.client.unlock(&self.passcode())
    }

    /// What is in the outbox; nothing if the vault is closed.
    pub(super) fn changes(&self) -> Vec<PhoneChange> {
        simulation::changes(&self.client).unwrap_or_default()
    }

    /// Every row that it holds; none if the vault is closed.
    pub(super) fn rows(&self) -> Vec<PhoneRow> {
        simulation::rows(&self.client).unwrap_or_default()
    }

    /// Where its files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}
