//! `lock` and `unlock`.

use crate::Data;
use anyhow::{Result, bail};
use clap::Args;
use roundsman_model::DeviceId;
use roundsman_server::Admin;
use roundsman_server::admin::AdminError;
use uuid::Uuid;

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// This device, by its id as `devices` lists it.
    #[arg(long, value_name = "ID")]
    device: Option<Uuid>,
    /// Every device that is in use; with `unlock` those that were locked so.
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
pub(crate) struct Lock {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    which: Which,
    /// Why; kept in the records.
    #[arg(long)]
    reason: String,
}

#[derive(Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    data: Data,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn lock(args: &Lock) -> Result<()> {
    let admin = args.data.admin()?;
    let Some(device) = args.which.device else {
        let locked = admin.lock_all(Admin::OPERATOR, &args.reason)?;
        println!("{locked} devices are told to lock; each does so the next time it is online.");
        println!("Let them open again with `unlock --all`.");
        return Ok(());
    };
    known(admin.lock(Admin::OPERATOR, DeviceId(device), &args.reason))?;
    println!("The device is told to lock; it does so the next time it is online.");
    Ok(())
}

pub(crate) fn unlock(args: &Unlock) -> Result<()> {
    let admin = args.data.admin()?;
    let Some(device) = args.which.device else {
        return match admin.unlock_all(Admin::OPERATOR) {
            Err(AdminError::NotLocked) => bail!("devices were not locked together; name one with --device"),
            outcome => {
                println!("{} devices may open again, each once it has asked the server.", outcome?);
                Ok(())
            }
        };
    };
    known(admin.unlock(Admin::OPERATOR, DeviceId(device)))?;
    println!("The device may open again once it has asked the server.");
    Ok(())
}

fn known(outcome: Result<(), AdminError>) -> Result<()> {
    match outcome {
        Err(AdminError::NotFound) => bail!("no device has this id; `devices` lists them"),
        outcome => Ok(outcome?),
    }
}
