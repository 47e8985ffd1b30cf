//! `roundsman-server escrow`: copies of the devices' release shares, for the day when the server has lost its own.

use crate::Data;
use anyhow::{Context, Result};
use clap::Subcommand;
use roundsman_server::Admin;
use roundsman_server::keyfile::{KeyFile, KeyKind};
use std::path::PathBuf;

#[derive(Subcommand)]
pub(crate) enum EscrowCommand {
    /// Prints every device's release share, sealed to the recovery key. Keep it with the backups: it is of no use
    /// without that key.
    #[command(after_help = "Example:\n  roundsman-server escrow export --data ./data > shares.escrow")]
    Export(Data),
    /// Brings exported shares back, so that locked devices can be unlocked.
    #[command(after_help = "Example:\n  \
        roundsman-server escrow restore --data ./data --key /media/usb/recovery.key shares.escrow")]
    Restore {
        #[command(flatten)]
        data: Data,
        /// The file of the private recovery key. Keep it offline again afterwards.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// What `escrow export` printed.
        shares: PathBuf,
    },
}

pub(crate) fn run(command: EscrowCommand) -> Result<()> {
    match command {
        EscrowCommand::Export(data) => {
            print!("{}", data.admin()?.export_shares(Admin::OPERATOR)?);
        }
        EscrowCommand::Restore { data, key, shares } => {
            let file = KeyFile::read(&key).with_context(|| format!("{} can't be used", key.display()))?;
            file.expect(KeyKind::Recovery)?;
            let text = std::fs::read_to_string(&shares)
                .with_context(|| format!("{} can't be read", shares.display()))?;
            let key = file.opening_key()?;
            let done = data.admin()?.restore_shares(Admin::OPERATOR, &text, &key)?;
            println!(
                "{} restored, {} present already, {} of wiped or unknown devices, {} sealed to another key",
                done.restored, done.present, done.gone, done.other_key
            );
        }
    }
    Ok(())
}
