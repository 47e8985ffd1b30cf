//! `wipe`, `approve`, `approver` and `alerts`.

use crate::Data;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use roundsman_model::DeviceId;
use roundsman_protocol::b64;
use roundsman_server::Admin;
use roundsman_server::admin::{AdminError, WipeProposal, WipeStanding};
use roundsman_server::keyfile::{KeyFile, KeyKind};
use std::io::Write;
use std::path::PathBuf;
use uuid::Uuid;

/// How many alerts are listed.
const ALERTS: usize = 50;

#[derive(Args)]
pub(crate) struct Propose {
    #[command(flatten)]
    data: Data,
    /// The device's id, as `devices` lists it.
    #[arg(long, value_name = "ID")]
    device: Uuid,
    /// Why; kept in the records and shown to approvers.
    #[arg(long)]
    reason: String,
    /// Destroys unsent work too, in place of handing it over.
    #[arg(long)]
    discard_unsent: bool,
}

#[derive(Args)]
pub(crate) struct Approve {
    #[command(flatten)]
    data: Data,
    /// The approver's key file.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Only this proposed wipe.
    #[arg(long, value_name = "ID")]
    wipe: Option<Uuid>,
    /// Approves without asking.
    #[arg(long)]
    yes: bool,
}

#[derive(Subcommand)]
pub(crate) enum ApproverCommand {
    /// Makes a key file for a person who is to approve wipes, best on that person's own machine. A new root must name
    /// the key before it counts: hand the printed line to the holder of the root key.
    #[command(after_help = "Example:\n  roundsman-server approver new --name Ana --out approver-ana.key")]
    New {
        /// Whose key it is.
        #[arg(long)]
        name: String,
        /// The file to write; one that is there is never written over.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct Alerts {
    #[command(flatten)]
    data: Data,
    /// Notes that this alert was seen.
    #[arg(long, value_name = "ID")]
    seen: Option<Uuid>,
}

pub(crate) fn propose(args: &Propose) -> Result<()> {
    let admin = args.data.admin()?;
    let device = DeviceId(args.device);
    let proposal = match admin.propose_wipe(Admin::OPERATOR, device, &args.reason, args.discard_unsent) {
        Err(AdminError::NotFound) => bail!("no device has this id; `devices` lists them"),
        outcome => outcome?,
    };
    show(&proposal);
    println!("Approve it with `approve` within 24 hours.");
    Ok(())
}

pub(crate) fn approve(args: &Approve) -> Result<()> {
    let admin = args.data.admin()?;
    let key = KeyFile::read(&args.key).with_context(|| format!("{} can't be used", args.key.display()))?;
    key.expect(KeyKind::Approver)?;
    let mut waiting = admin.wipe_proposals()?;
    waiting.retain(|proposal| args.wipe.is_none_or(|id| proposal.id == id));
    if waiting.is_empty() {
        println!("No such wipe waits for approval.");
        return Ok(());
    }
    for proposal in waiting {
        show(&proposal);
        if proposal.approvals.iter().any(|approval| approval.key == key.id()) {
            println!("  You have approved it.\n");
            continue;
        }
        if !args.yes && !agreed(&format!("  {}, wipe this device for good?", key.name()))? {
            println!("  Left as it is.\n");
            continue;
        }
        let signature = proposal.sign(&key)?;
        let now = admin.approve_wipe(proposal.id, key.id(), &signature)?;
        println!("  {}\n", standing(&now));
    }
    Ok(())
}

pub(crate) fn approver(command: &ApproverCommand) -> Result<()> {
    let ApproverCommand::New { name, out } = command;
    let key = KeyFile::generate(KeyKind::Approver, name)?;
    key.write(out).with_context(|| format!("{} can't be written", out.display()))?;
    println!("Wrote {}. Keep it to yourself. For the holder of the root key:\n", out.display());
    println!(
        "roundsman-server root add-approver --data DIR --root-key FILE --name \"{}\" --public={}",
        key.name(),
        b64::encode(key.public().0)
    );
    Ok(())
}

pub(crate) fn alerts(args: &Alerts) -> Result<()> {
    let admin = args.data.admin()?;
    if let Some(seen) = args.seen {
        match admin.acknowledge(Admin::OPERATOR, seen) {
            Err(AdminError::NotFound) => bail!("no alert has this id; `alerts` lists them"),
            outcome => outcome?,
        }
        println!("Noted.");
        return Ok(());
    }
    let alerts = admin.alerts(ALERTS)?;
    if alerts.is_empty() {
        println!("No alerts.");
    }
    for alert in alerts {
        let at = alert.at.format("%Y-%m-%d %H:%M");
        let device = alert.device_name.map(|name| format!("{name}: ")).unwrap_or_default();
        let detail = if alert.detail.is_empty() { String::new() } else { format!(" ({})", alert.detail) };
        let seen = alert.seen.map_or_else(|| "NEW".to_owned(), |(by, _)| format!("seen by {by}"));
        println!("{}  {at}  {seen}  {device}{}{detail}", alert.id, alert.kind.words());
    }
    Ok(())
}

/// Shows a proposed wipe as its approver must know it before signing.
fn show(proposal: &WipeProposal) {
    println!("Wipe {}", proposal.id);
    println!("  Device:   {} ({}), {}", proposal.device_name, proposal.device, proposal.user_name);
    println!("  Reason:   {}", proposal.reason);
    println!("  Proposed: {}, {}", proposal.proposed_by, proposal.proposed_at.format("%Y-%m-%d %H:%M UTC"));
    if proposal.discard_unsent {
        println!("  Unsent work is destroyed too.");
    }
    for approval in &proposal.approvals {
        println!("  Approved: {} ({}), {}", approval.by, approval.key, approval.at.format("%H:%M UTC"));
    }
    if proposal.is_one_persons() {
        println!("  One person is enough for a wipe in this organisation.");
    }
    println!("  {}", standing(proposal));
}

fn standing(proposal: &WipeProposal) -> String {
    match proposal.standing {
        WipeStanding::Waiting { until } => format!(
            "{} of {} approvals; waits until {}.",
            proposal.approvals.len(),
            proposal.needed,
            until.format("%Y-%m-%d %H:%M UTC")
        ),
        WipeStanding::Held { until } => format!(
            "Held, because many wipes were ordered at once: until {}, or one approver more than usual signs.",
            until.format("%H:%M UTC")
        ),
        WipeStanding::Approved => "Approved; it is ordered with the device's next report.".to_owned(),
        WipeStanding::Ordered { .. } => {
            "Ordered. The device carries it out when it is next online.".to_owned()
        }
        WipeStanding::Withdrawn => "Withdrawn.".to_owned(),
        WipeStanding::Expired => "Expired.".to_owned(),
    }
}

fn agreed(question: &str) -> Result<bool> {
    print!("{question} Type yes: ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    if std::io::stdin().read_line(&mut answer)? == 0 {
        bail!("nobody answered; use --yes to approve without a question");
    }
    Ok(answer.trim() == "yes")
}
