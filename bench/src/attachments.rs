//! How fast attachments are sealed to the disk and opened from it, beside a copy of the same bytes to the same disk.

use crate::report::{Report, Table, short};
use anyhow::{Context, Result};
use roundsman_core::attachments::{
    AttachedTo, AttachmentKind, AttachmentLimits, AttachmentSeams, Attachments, NewAttachment,
};
use roundsman_core::customers::Customers;
use roundsman_core::model::{DeviceId, OrgId};
use roundsman_core::platform::{Disk, Entropy, OsEntropy, RealDisk, SystemClock};
use roundsman_core::protocol::hpke_seal;
use roundsman_core::rescue::{SealTo, SealedOutbox};
use roundsman_core::store::{Store, StoreKey};
use roundsman_core::vault::FileKeys;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;
use zeroize::Zeroizing;

const SIZES: [(&str, usize); 3] = [("100 KB", 100_000), ("3 MB", 3_000_000), ("60 MB", 60_000_000)];

/// Bytes that are written or read at once, as attachments are.
const BLOCK: usize = 64 * 1024;

/// What one file took.
struct Times {
    copy: Duration,
    seal: Duration,
    read: Duration,
    open: Duration,
}

pub(crate) fn run(runs: usize, quick: bool) -> Result<Report> {
    anyhow::ensure!(runs > 0, "at least one of each size");
    let mut report = Report::new(
        "Attachments",
        format!("To the disk and from it, {runs} of each size; the medians, in MB/s."),
    );
    let mut table = Table::new(["size", "copy", "seal", "ratio", "read", "open", "ratio"]);
    for (name, size) in SIZES.into_iter().take(if quick { 1 } else { SIZES.len() }) {
        let times = (0..runs).map(|_| once(size)).collect::<Result<Vec<_>>>()?;
        let speed = |of: fn(&Times) -> Duration| {
            let mut all: Vec<_> = times.iter().map(of).collect();
            all.sort();
            size as f64 / 1e6 / all[runs / 2].as_secs_f64()
        };
        let (copy, seal) = (speed(|times| times.copy), speed(|times| times.seal));
        let (read, open) = (speed(|times| times.read), speed(|times| times.open));
        let [copied, sealed, plain, opened] = [copy, seal, read, open].map(|speed| format!("{speed:.0}"));
        table.row([name.to_owned(), copied, sealed, short(seal / copy), plain, opened, short(open / read)]);
    }
    report.table(table);
    report.note(
        "Copy: the bytes in a file, synced, renamed, its folder synced. Read: the bytes of that file. Both files are in the \
        system's cache when they are read.",
    );
    Ok(report)
}

fn once(size: usize) -> Result<Times> {
    let folder = tempfile::tempdir()?;
    let (attachments, customer) = phone(folder.path())?;
    let mut content = vec![0; size];
    OsEntropy.fill(&mut content)?;
    let mut buffer = vec![0; BLOCK];

    let started = Instant::now();
    let (fresh, path) = (folder.path().join("plain.new"), folder.path().join("plain"));
    RealDisk
        .write_with(&fresh, &mut |out| content.chunks(BLOCK).try_for_each(|block| out.write_all(block)))?;
    RealDisk.rename(&fresh, &path)?;
    RealDisk.sync_dir(folder.path())?;
    let copy = started.elapsed();

    let started = Instant::now();
    let of = AttachedTo::Customer(customer);
    let photo = NewAttachment::new(of, AttachmentKind::Photo, "image/jpeg", size as u64);
    let photo = attachments.add(&photo, &mut content.as_slice())?;
    let seal = started.elapsed();

    let started = Instant::now();
    read_all(&mut std::fs::File::open(&path)?, &mut buffer, size)?;
    let read = started.elapsed();

    let started = Instant::now();
    read_all(&mut attachments.open(photo.id)?, &mut buffer, size)?;
    Ok(Times { copy, seal, read, open: started.elapsed() })
}

fn read_all(from: &mut dyn Read, buffer: &mut [u8], size: usize) -> Result<()> {
    let mut all = 0;
    loop {
        match from.read(buffer)? {
            0 => break,
            count => all += count,
        }
    }
    anyhow::ensure!(all == size, "{all} bytes of {size}");
    Ok(())
}

/// A store with one customer, and no vault around it.
fn phone(folder: &Path) -> Result<(Attachments, Uuid)> {
    let key = StoreKey { cipher: &format!("x'{}'", "42".repeat(48)), digest: &[1; 32] };
    let to = SealTo {
        org: OrgId(Uuid::from_u128(1)),
        device: DeviceId(Uuid::from_u128(2)),
        rescue_key: hpke_seal::key_pair(&[3; 32]).1,
    };
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(OsEntropy));
    let sealed = SealedOutbox::open(folder, to, Arc::new(RealDisk), entropy.clone())?;
    let store = Arc::new(Store::create(&folder.join("vault.db"), &key, sealed)?);
    let customers = Customers::new(store.clone(), clock.clone(), entropy.clone());
    let customer = customers.add(&customers.draft("C1", "Corner", "nj")?).context("a customer")?.id;
    let seams = AttachmentSeams {
        dir: folder.join("att"),
        disk: Arc::new(RealDisk),
        entropy,
        clock,
        user: roundsman_core::model::UserId(Uuid::nil()),
        limits: AttachmentLimits::default(),
        seal_to: to,
    };
    let keys = FileKeys::derive(&Zeroizing::new([4; 32]), Uuid::from_u128(5));
    Ok((Attachments::new(store, keys, seams), customer))
}
