//! The devices: enrolled a few at a time, then each by its own clock.

use crate::tally::{Counted, Tally};
use anyhow::{Context, Result};
use chrono::NaiveDate;
use roundsman_core::platform::{OsEntropy, SoftwareKeys};
use roundsman_core::vault::{KdfCost, Passcode};
use roundsman_core::{Client, Config, Error};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

/// Customers that a device visits, at most.
const ROUND: usize = 50;

/// A device that is enrolled.
pub(crate) struct Device {
    client: Client,
    line: Arc<Counted>,
    customers: Vec<Uuid>,
}

/// Enrols a device with each code, as many at a time as there are processors: each hashes a passcode.
pub(crate) async fn enrol(codes: Vec<String>, folder: &Path) -> Result<Vec<Device>> {
    let lanes = std::thread::available_parallelism()?.get();
    let (mut running, mut devices) = (JoinSet::new(), Vec::new());
    for (n, code) in codes.into_iter().enumerate() {
        if running.len() == lanes {
            devices.push(running.join_next().await.context("nothing runs")???);
        }
        let folder = folder.join(n.to_string());
        running.spawn(async move { one(&code, &folder, n).await.with_context(|| format!("device {n}")) });
    }
    while let Some(device) = running.join_next().await {
        devices.push(device??);
    }
    Ok(devices)
}

async fn one(code: &str, folder: &Path, n: usize) -> Result<Device> {
    let keys = SoftwareKeys::new(folder.join("keys"), Arc::new(OsEntropy));
    let line = Arc::new(Counted::default());
    let client = Client::open(Config {
        device_name: format!("load {n}"),
        // What a phone does to its passcode is no load of the server's.
        cost: Some(KdfCost::FLOOR),
        transport: Arc::clone(&line) as Arc<dyn roundsman_core::platform::Transport>,
        ..Config::new(folder.join("vault"), Arc::new(keys))
    })?;
    client.enrol(code, &Passcode::new("copper Kayak 27")?).await?;
    client.sync(&()).await?;
    let customers = client.customers()?.list(None, ROUND)?.iter().map(|customer| customer.id).collect();
    Ok(Device { client, line, customers })
}

/// Lets each device write and sync at this rate, evenly spread, until the time is over.
pub(crate) async fn work(devices: Vec<Device>, rate: f64, writes: u32, span: Duration, tally: &Arc<Tally>) {
    let (begun, count) = (Instant::now(), devices.len());
    let mut running = JoinSet::new();
    for (n, device) in devices.into_iter().enumerate() {
        let tally = Arc::clone(tally);
        running.spawn(async move {
            // What was sent before does not count.
            device.line.take();
            for turn in 0_u32.. {
                let due = (f64::from(turn) + n as f64 / count as f64) / rate;
                let due = begun + Duration::try_from_secs_f64(due).unwrap_or(Duration::MAX / 4);
                if due >= begun + span {
                    break;
                }
                tokio::time::sleep_until(due).await;
                let synced = turn_of(&device, writes).await;
                tally.note(due.elapsed(), &synced, &device.line.take());
            }
        });
    }
    while running.join_next().await.is_some() {}
}

/// What a device does when it is its turn. Returns changes sent.
async fn turn_of(device: &Device, writes: u32) -> Result<u64, Error> {
    let (client, customers) = (device.client.clone(), device.customers.clone());
    let written = tokio::task::spawn_blocking(move || {
        let visits = client.visits()?;
        for customer in customers.iter().cycle().take(writes as usize) {
            visits.plan(*customer, NaiveDate::default(), None)?;
        }
        Ok(())
    });
    written.await.unwrap_or(Err(Error::Cancelled))?;
    Ok(device.client.sync(&()).await?.sent)
}
