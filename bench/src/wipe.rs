//! How long a wipe takes until nothing can be read any more, whatever the vault holds.

use crate::report::{Report, Table, ms, short};
use anyhow::{Context, Result, ensure};
use roundsman_core::platform::{Disk, KeyAlias, KeyError, OsEntropy, PlatformKeys, RealDisk, SoftwareKeys};
use roundsman_core::{Client, Config, HttpsTransport};
use roundsman_tests::meddler::Meddler;
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Bytes beside the database: what photos would take.
const SIZES: [(&str, usize); 3] = [("1 MB", 1_000_000), ("100 MB", 100_000_000), ("1 GB", 1_000_000_000)];

/// How often a small file is replaced, to know the disk.
const REPLACED: usize = 51;

/// Keys in files that note when the first of them is destroyed, which is the last of the shredding's steps.
struct TimedKeys {
    keys: SoftwareKeys,
    gone: Mutex<Option<Instant>>,
}

impl PlatformKeys for TimedKeys {
    fn create(&self, alias: KeyAlias) -> Result<(), KeyError> {
        self.keys.create(alias)
    }

    fn exists(&self, alias: KeyAlias) -> Result<bool, KeyError> {
        self.keys.exists(alias)
    }

    fn hmac(&self, alias: KeyAlias, data: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        self.keys.hmac(alias, data)
    }

    fn public_key(&self, alias: KeyAlias) -> Result<[u8; 65], KeyError> {
        self.keys.public_key(alias)
    }

    fn sign(&self, alias: KeyAlias, message: &[u8]) -> Result<[u8; 64], KeyError> {
        self.keys.sign(alias, message)
    }

    fn delete(&self, alias: KeyAlias) -> Result<(), KeyError> {
        let deleted = self.keys.delete(alias);
        if alias == KeyAlias::Wrap {
            let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
            gone.get_or_insert_with(Instant::now);
        }
        deleted
    }

    fn hardware(&self) -> bool {
        self.keys.hardware()
    }
}

pub(crate) async fn run(runs: usize, quick: bool) -> Result<Report> {
    ensure!(runs > 0, "at least one run");
    let mut report = Report::new(
        "Wipe",
        format!("From the wipe's arrival to destroyed keys (keys in files), {runs} wipes of each size."),
    );
    let mut table = Table::new(["vault", "median", "longest", "files gone", "beside the smallest"]);
    let (mut baseline, mut worst) = (None, 0.0_f64);
    for (name, size) in SIZES.into_iter().take(if quick { 1 } else { SIZES.len() }) {
        let mut times = Vec::new();
        for _ in 0..runs {
            times.push(wipe(size).await?);
        }
        times.sort();
        let (keys, files): (Vec<_>, Vec<_>) = times.into_iter().unzip();
        let (median, longest) = (keys[runs / 2], keys[runs - 1]);
        let base = *baseline.get_or_insert(median);
        let ratio = median.as_secs_f64() / base.as_secs_f64();
        worst = worst.max(ratio);
        table.row([name.to_owned(), ms(median), ms(longest), ms(files[runs / 2]), short(ratio)]);
    }
    report.table(table);
    report.at_most(
        "wipe: keys destroyed, of the largest vault beside the smallest",
        worst,
        1.5,
        "times as long",
    );
    report.note(format!(
        "One small file, replaced and synced on the same disk: {} (median of {REPLACED}). An open vault with its keys in \
        files takes 13 syncs until the keys are gone: a slow disk shows in every line alike.",
        ms(replace()?)
    ));
    Ok(report)
}

/// How long the disk takes to replace one small file and bring it to the medium: what a wipe is made of.
fn replace() -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let mut times = Vec::new();
    for _ in 0..REPLACED {
        let begun = Instant::now();
        RealDisk.replace(folder.path(), "control", &[0x5a; 1_000])?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Wipes one phone; how long until the keys are destroyed, and until the files are gone.
async fn wipe(size: usize) -> Result<(Duration, Duration)> {
    let rig = Rig::start().await;
    rig.import_stores(50);
    let folder = rig.disk.path().join("phone");
    let keys = Arc::new(TimedKeys {
        keys: SoftwareKeys::new(folder.join("keys"), Arc::new(OsEntropy)),
        gone: Mutex::default(),
    });
    let meddler = Meddler::new(Arc::new(HttpsTransport::new()));
    let config = Config {
        keys: Arc::clone(&keys) as Arc<dyn PlatformKeys>,
        transport: Arc::clone(&meddler) as Arc<dyn roundsman_core::platform::Transport>,
        ..phone_config(&folder, "phone")
    };
    let client = Client::open(config)?;
    client.enrol(&rig.ticket(rig.rep("ana")), &passcode()).await?;
    client.sync(&()).await?;
    fill(&folder.join("vault"), size)?;

    let arrived = Arc::new(Mutex::new(None));
    let note = Arc::clone(&arrived);
    meddler.meddle(move |answer| {
        if !answer.commands.is_empty() {
            note.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
    });
    rig.wipe(rig.device("phone").id, "lost");
    client.check_in().await?;
    let ended = Instant::now();
    let begun = arrived.lock().unwrap_or_else(PoisonError::into_inner).context("the wipe did not arrive")?;
    let gone = keys.gone.lock().unwrap_or_else(PoisonError::into_inner).context("no key was destroyed")?;
    Ok((gone - begun, ended - begun))
}

/// Puts a file of this size beside the database, as photos lie there.
fn fill(vault: &Path, size: usize) -> Result<()> {
    let folder = vault.join("att/00");
    fs::create_dir_all(&folder)?;
    let mut file = fs::File::create(folder.join("photo"))?;
    let block = vec![0x5a; 1_000_000];
    for _ in 0..size / block.len() {
        file.write_all(&block)?;
    }
    Ok(file.sync_all()?)
}
