//! `policy`: the rules that devices keep, and how long they may stay away.

use crate::Data;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use roundsman_protocol::lease::Lease;
use roundsman_protocol::policy::Policy;
use roundsman_server::Admin;
use roundsman_server::admin::LeaseTerms;
use serde_json::Value;
use std::path::PathBuf;

/// What of a policy is not the operator's to choose.
const FIXED: [&str; 3] = ["v", "org", "version"];

#[derive(Subcommand)]
pub(crate) enum PolicyCommand {
    /// Shows the policy as JSON.
    #[command(after_help = "Example:\n  roundsman-server policy show --data ./data > policy.json")]
    Show(Data),
    /// Sets what a JSON file names; the rest stays.
    #[command(after_help = "Example:\n  \
        echo '{\"idle_lock_s\": 120, \"posture\": {\"rooted\": \"lock\"}}' > policy.json\n  \
        roundsman-server policy set --data ./data policy.json\n\n\
        passcode      rotating (changed every 90 days) or nist (changed when it may be known)\n\
        last_attempt  by_hardware, lock or wipe: what the tenth wrong passcode does\n\
        idle_lock_s   15 to 900 seconds without a touch, after which the app closes\n\
        biometrics    true or false\n\
        posture       rooted, debugger, emulator, no_screen_lock, old_patches: allow, warn or lock;\n              \
        oldest_patch: a date YYYY-MM-DD, or null")]
    Set {
        #[command(flatten)]
        data: Data,
        /// The JSON file.
        file: PathBuf,
    },
    /// Shows or sets whether somebody compares six digits on phone and console before a device is let in.
    #[command(after_help = "Examples:\n  roundsman-server policy enrolments --data ./data\n  \
        roundsman-server policy enrolments --data ./data --confirm on")]
    Enrolments {
        #[command(flatten)]
        data: Data,
        /// `on`: a device waits until its digits were confirmed. `off`: the code alone lets it in.
        #[arg(long, value_name = "on|off")]
        confirm: Option<Switch>,
    },
    /// Shows or sets how long devices may stay away from the server.
    #[command(after_help = "Examples:\n  roundsman-server policy lease --data ./data\n  \
        roundsman-server policy lease --data ./data --lock-days 3 --wipe-days 60\n  \
        roundsman-server policy lease --data ./data --never-wipe")]
    Lease(LeaseArgs),
    /// Keeps the release share off the phones' disks, or lets it lie there again. On a leash a phone does not open for
    /// longer than so many hours without the server, and not after its app was started until it was heard.
    #[command(after_help = "Examples:\n  roundsman-server policy leash --data ./data --hours 12\n  \
        roundsman-server policy leash --data ./data --off")]
    Leash(LeashArgs),
}

#[derive(Args)]
pub(crate) struct LeashArgs {
    #[command(flatten)]
    data: Data,
    /// How long a phone holds its share in memory.
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..=i64::from(Policy::MAX_LEASH_H)))]
    hours: Option<u32>,
    /// No leash.
    #[arg(long, conflicts_with = "hours")]
    off: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Yes.
    On,
    /// No.
    Off,
}

#[derive(Args)]
pub(crate) struct LeaseArgs {
    #[command(flatten)]
    data: Data,
    /// After so many hours the rep is warned.
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u32).range(1..=9_000))]
    warn_hours: Option<u32>,
    /// After so many days the app does not open until the server was reached.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=365))]
    lock_days: Option<u32>,
    /// After so many days the device wipes itself; 14 at least.
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(14..=365))]
    wipe_days: Option<u32>,
    /// Devices never wipe themselves for staying away.
    #[arg(long, conflicts_with = "wipe_days")]
    never_wipe: bool,
}

pub(crate) fn run(command: PolicyCommand) -> Result<()> {
    match command {
        PolicyCommand::Show(data) => {
            let policy = serde_json::to_value(data.admin()?.policy()?)?;
            println!("{}", serde_json::to_string_pretty(&without_fixed(policy))?);
            Ok(())
        }
        PolicyCommand::Set { data, file } => {
            let text = std::fs::read(&file).with_context(|| format!("{} can't be read", file.display()))?;
            let change: Value = serde_json::from_slice(&text).context("the file is not JSON")?;
            let admin = data.admin()?;
            let mut policy = serde_json::to_value(admin.policy()?)?;
            merge(&mut policy, without_fixed(change))?;
            let policy =
                serde_json::from_value(policy).context("a value is not one that the policy takes")?;
            let set = admin.set_policy(Admin::OPERATOR, policy)?;
            println!("Policy {} is in force. Devices get it with their next report.", set.version);
            Ok(())
        }
        PolicyCommand::Enrolments { data, confirm } => enrolments(&data, confirm),
        PolicyCommand::Lease(args) => lease(&args),
        PolicyCommand::Leash(args) => leash(&args),
    }
}

fn enrolments(data: &Data, confirm: Option<Switch>) -> Result<()> {
    let admin = data.admin()?;
    if let Some(confirm) = confirm {
        admin.set_confirms_enrolments(Admin::OPERATOR, confirm == Switch::On)?;
    }
    if admin.confirms_enrolments()? {
        println!(
            "A device is let in after somebody has compared its digits: `enrolments list`, or the console."
        );
    } else {
        println!("The code alone lets a device in; no digits are compared.");
    }
    Ok(())
}

fn leash(args: &LeashArgs) -> Result<()> {
    let admin = args.data.admin()?;
    let before = admin.policy()?;
    let leash_h = if args.off { None } else { args.hours.or(before.leash_h) };
    if leash_h != before.leash_h {
        admin.set_policy(Admin::OPERATOR, Policy { leash_h, ..before })?;
    }
    match leash_h {
        Some(hours) => println!("Phones open for {hours} hours after they last heard the server."),
        None => {
            println!("There is no leash: phones open without the server for as long as their lease lasts.");
        }
    }
    Ok(())
}

fn lease(args: &LeaseArgs) -> Result<()> {
    let admin = args.data.admin()?;
    let before = admin.lease_terms()?;
    let days = |days: u32| days * Lease::DAY_S;
    let terms = LeaseTerms {
        warn_after_s: args.warn_hours.map_or(before.warn_after_s, |hours| hours * 3_600),
        lock_after_s: args.lock_days.map_or(before.lock_after_s, days),
        wipe_after_s: if args.never_wipe { None } else { args.wipe_days.map(days).or(before.wipe_after_s) },
    };
    if terms != before {
        admin.set_lease_terms(Admin::OPERATOR, terms)?;
    }
    println!("Away from the server, the rep is warned after {} hours,", terms.warn_after_s / 3_600);
    println!("the app does not open after {} days,", terms.lock_after_s / Lease::DAY_S);
    match terms.wipe_after_s {
        Some(wipe) => println!("and the device wipes itself after {} days.", wipe / Lease::DAY_S),
        None => println!("and the device never wipes itself."),
    }
    Ok(())
}

fn without_fixed(mut policy: Value) -> Value {
    if let Some(fields) = policy.as_object_mut() {
        fields.retain(|name, _| !FIXED.contains(&name.as_str()));
    }
    policy
}

/// Lays a change over a policy; a name that the policy does not have is an error, not a wish that is ignored.
fn merge(policy: &mut Value, change: Value) -> Result<()> {
    let (Some(fields), Value::Object(change)) = (policy.as_object_mut(), change) else {
        bail!("a policy is a JSON object");
    };
    for (name, value) in change {
        let Some(known) = fields.get_mut(&name) else { bail!("a policy has no field {name}") };
        if known.is_object() {
            merge(known, value)?;
        } else {
            *known = value;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use roundsman_protocol::posture::Verdict;
    use serde_json::json;

    #[test]
    fn a_change_names_only_what_changes_and_nothing_unknown() -> Result<()> {
        let mut policy = serde_json::to_value(Policy::default())?;
        merge(&mut policy, without_fixed(json!({ "version": 99, "posture": { "rooted": "lock" } })))?;
        let changed: Policy = serde_json::from_value(policy.clone())?;
        assert_eq!((changed.version, changed.posture.rooted), (0, Verdict::Lock));
        assert_eq!(changed.posture.debugger, Policy::default().posture.debugger);
        assert!(merge(&mut policy, json!({ "idle_lock": 3 })).is_err());
        assert!(merge(&mut policy, json!({ "posture": 3 })).is_err());
        Ok(())
    }
}
