//! `roundsman-server rescue`: opens unsent work that devices handed over, and decides what to take.

use super::table;
use crate::Data;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use roundsman_model::DeviceId;
use roundsman_server::admin::{RescueFilter, RescueState, RescuedView, Taken, TakenAll};
use roundsman_server::{Admin, rescue_key_from_text};
use std::collections::BTreeSet;
use std::path::PathBuf;
use uuid::Uuid;
use zeroize::Zeroizing;

/// How many changes are listed.
const LISTED: usize = 1_000;

/// Opening, or one of the other commands.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Rescue {
    #[command(subcommand)]
    command: Option<RescueCommand>,
    #[command(flatten)]
    open: Option<Open>,
}

#[derive(Args)]
struct Open {
    // Not `Data`, flattened: clap does not see that an optional group is there by a group inside it.
    /// The server's data folder.
    #[arg(long = "data", value_name = "DIR")]
    dir: PathBuf,
    /// The PostgreSQL that instances share [env: ROUNDSMAN_DATABASE]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Certificates (PEM) of those who sign the database server's [env: ROUNDSMAN_DATABASE_CA]
    #[arg(long, value_name = "FILE")]
    database_ca: Option<PathBuf>,
    /// The file of the private rescue key. Keep it offline again afterwards.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

#[derive(Subcommand)]
enum RescueCommand {
    /// Lists the rescued changes that wait for a decision.
    #[command(after_help = "Examples:\n  roundsman-server rescue list --data ./data\n  \
        roundsman-server rescue list --data ./data --device 0198c1f2-… --void")]
    List {
        #[command(flatten)]
        data: Data,
        /// Of this device alone.
        #[arg(long)]
        device: Option<Uuid>,
        /// Also those that the phone says were not saved.
        #[arg(long)]
        void: bool,
    },
    /// Takes changes into the records, as the person who made them and at the time they were made.
    #[command(after_help = "Examples:\n  roundsman-server rescue take --data ./data --all\n  \
        roundsman-server rescue take --data ./data --all --device 0198c1f2-…\n  \
        roundsman-server rescue take --data ./data --change 0198c1f2-…")]
    Take {
        #[command(flatten)]
        data: Data,
        #[command(flatten)]
        which: Which,
        /// With --all: of this device alone.
        #[arg(long, requires = "all")]
        device: Option<Uuid>,
    },
    /// Decides not to take a change. Its content is deleted in 30 days.
    #[command(after_help = "Example:\n  roundsman-server rescue dismiss --data ./data --change 0198c1f2-…")]
    Dismiss {
        #[command(flatten)]
        data: Data,
        /// The change's id.
        #[arg(long)]
        change: Uuid,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Every change that waits, but for those that were not saved.
    #[arg(long)]
    all: bool,
    /// The change with this id.
    #[arg(long)]
    change: Option<Uuid>,
}

/// Does it.
pub(crate) fn run(rescue: Rescue) -> Result<()> {
    match (rescue.command, rescue.open) {
        (None, Some(args)) => open(args),
        (Some(RescueCommand::List { data, device, void }), _) => list(&data, device, void),
        (Some(RescueCommand::Take { data, which, device }), _) => match which.change {
            Some(change) => take(&data, change),
            None => take_all(&data, device),
        },
        (Some(RescueCommand::Dismiss { data, change }), _) => {
            data.admin()?.dismiss_rescued(Admin::OPERATOR, change)?;
            println!("Dismissed.");
            Ok(())
        }
        (None, None) => bail!("name the data folder and the rescue key: rescue --data DIR --key FILE"),
    }
}

fn open(args: Open) -> Result<()> {
    let text = std::fs::read_to_string(&args.key)
        .map(Zeroizing::new)
        .with_context(|| format!("{} can't be read", args.key.display()))?;
    let key = rescue_key_from_text(&text).with_context(|| format!("{} can't be used", args.key.display()))?;
    let report = Data { dir: args.dir, database: args.database, database_ca: args.database_ca }
        .admin()?
        .open_rescue(Admin::OPERATOR, &key)?;
    let rows: Vec<Vec<String>> = report
        .devices
        .iter()
        .map(|device| {
            let counts = device.counts;
            let numbers = [
                counts.changes,
                counts.filed,
                counts.already_applied,
                counts.void,
                counts.damaged,
                counts.photos,
            ];
            let texts = [device.device.to_string(), device.name.clone()];
            texts.into_iter().chain(numbers.map(|number| number.to_string())).collect()
        })
        .collect();
    if rows.is_empty() {
        println!("No unsent work waits to be opened.");
    } else {
        table(
            &["device", "name", "changes", "filed", "already known", "void", "damaged", "photos"],
            6,
            &rows,
        );
        println!("\nNothing is applied yet: see `rescue list`, then `rescue take`.");
        let total = report.total();
        if total.photos > 0 {
            println!(
                "{} photos are opened: the running server files {} within the hour, and {} once their records are taken.",
                total.photos,
                total.photos - total.photos_waiting,
                total.photos_waiting
            );
        }
    }
    if report.other_key > 0 {
        println!("{} segments are sealed to another rescue key and wait on.", report.other_key);
    }
    if report.photos_other_key > 0 {
        println!("{} photos are sealed to another rescue key and wait on.", report.photos_other_key);
    }
    if report.unreadable > 0 {
        println!("{} segments are damaged and can't be opened.", report.unreadable);
    }
    Ok(())
}

fn list(data: &Data, device: Option<Uuid>, void: bool) -> Result<()> {
    let changes = waiting(&data.admin()?, device, void, LISTED)?;
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|change| {
            let fields: Vec<&str> = change.fields.iter().map(|(name, _)| name.as_str()).collect();
            let note = if change.void { "not saved, the phone says" } else { "" };
            let note = change.reason.as_deref().unwrap_or(note);
            vec![
                change.change.to_string(),
                change.made_at.format("%Y-%m-%d %H:%M").to_string(),
                change.user_name.clone(),
                change.device_name.clone(),
                format!("{} {}", change.entity, change.customer_name).trim_end().to_owned(),
                if change.removes { "removed".to_owned() } else { fields.join(", ") },
                note.to_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        println!("No rescued change waits for a decision.");
        return Ok(());
    }
    table(&["change", "made (UTC)", "by", "device", "record", "what", "note"], 0, &rows);
    if rows.len() == LISTED {
        println!("Only the first {LISTED} are listed.");
    }
    Ok(())
}

fn waiting(admin: &Admin, device: Option<Uuid>, void: bool, limit: usize) -> Result<Vec<RescuedView>> {
    let state = Some(RescueState::NeedsReview);
    Ok(admin.rescued(&RescueFilter { device: device.map(DeviceId), state, void, limit })?)
}

fn take(data: &Data, change: Uuid) -> Result<()> {
    match data.admin()?.take_rescued(Admin::OPERATOR, change)? {
        Taken::Applied => println!("Taken."),
        Taken::Refused(reason) => bail!("refused, and still waiting: {reason}"),
    }
    Ok(())
}

fn take_all(data: &Data, device: Option<Uuid>) -> Result<()> {
    let admin = data.admin()?;
    let devices: BTreeSet<DeviceId> = match device {
        Some(device) => [DeviceId(device)].into(),
        None => admin.devices()?.into_iter().map(|device| device.id).collect(),
    };
    let (mut taken, mut refused) = (0, 0);
    for device in devices {
        let TakenAll { applied, refused: reasons } = admin.take_all_rescued(Admin::OPERATOR, device)?;
        taken += applied;
        refused += reasons.len();
        for (change, reason) in reasons {
            println!("{change}: {reason}");
        }
    }
    println!("{taken} taken, {refused} refused and still waiting.");
    Ok(())
}
