//! `root`: which keys the organisation trusts.

use crate::Data;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use roundsman_protocol::b64;
use roundsman_protocol::envelope::Domain;
use roundsman_protocol::keys::KeyId;
use roundsman_protocol::root::PublicKey;
use roundsman_protocol::ticket::SpkiPin;
use roundsman_server::Admin;
use roundsman_server::admin::{RootChange, RootView};
use roundsman_server::keyfile::{KeyFile, KeyKind};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(crate) enum RootCommand {
    /// Shows the present root.
    #[command(after_help = "Example:\n  roundsman-server root show --data ./data")]
    Show(Data),
    /// Adds a person who approves wipes.
    #[command(after_help = "Example:\n  \
        roundsman-server root add-approver --data ./data --root-key root.key --name Ana --public=3q2-7w…")]
    AddApprover {
        #[command(flatten)]
        signed: Signed,
        /// Whose key it is.
        #[arg(long)]
        name: String,
        /// The public key, as `approver new` prints it.
        #[arg(long, value_name = "KEY", value_parser = public_key)]
        public: PublicKey,
    },
    /// Removes a person who approves wipes.
    #[command(after_help = "Example:\n  \
        roundsman-server root remove-approver --data ./data --root-key root.key --key 5f0c…")]
    RemoveApprover {
        #[command(flatten)]
        signed: Signed,
        /// The key's id, as `root show` lists it.
        #[arg(long, value_name = "ID")]
        key: String,
    },
    /// Sets how many approvers a wipe takes.
    #[command(after_help = "Example:\n  \
        roundsman-server root set-threshold --data ./data --root-key root.key --approvers 2")]
    SetThreshold {
        #[command(flatten)]
        signed: Signed,
        /// How many.
        #[arg(long, value_name = "NUMBER")]
        approvers: u8,
    },
    /// Signs the present root anew as the next one, which holds for another year.
    #[command(after_help = "Example:\n  roundsman-server root renew --data ./data --root-key root.key")]
    Renew {
        #[command(flatten)]
        signed: Signed,
    },
    /// Sets the keys that the server's certificate may have. A pin leaves only after those that stay have been
    /// published for 30 days.
    #[command(after_help = "Examples:\n  \
        roundsman-server root set-pins --data ./data --root-key root.key --pin sha256/3q2-7w… --pin sha256/Jx0p…\n  \
        roundsman-server root set-pins --data ./data --root-key root.key --emergency --pin … --pin …\n\n\
        `pin` shows the pins of the certificate in use and of the spare.")]
    SetPins {
        #[command(flatten)]
        signed: Signed,
        /// A pin; repeat it, two at least.
        #[arg(long = "pin", value_name = "PIN", required = true, value_parser = pin)]
        pins: Vec<SpkiPin>,
        /// Drops pins at once, as their keys are lost or stolen. Devices that don't know the others yet need a bundle.
        #[arg(long)]
        emergency: bool,
    },
    /// Prints the signed roots after a version, for devices that no longer reach the server since every pin they know
    /// is dead. They take it as a QR code or as text, and no network is needed for it. Nothing in it is secret.
    #[command(after_help = "Examples:\n  roundsman-server root bundle --data ./data\n  \
        roundsman-server root bundle --data ./data --after 3 --out roots.txt")]
    Bundle {
        #[command(flatten)]
        data: Data,
        /// The version of the root that the devices know; 1 is good for all.
        #[arg(long, value_name = "VERSION", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        after: u32,
        /// Writes the text to a new file besides.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Has the server sign with a new key, and devices no longer trust the old one.
    #[command(after_help = "Example:\n  \
        roundsman-server root rotate-command-key --data ./data --root-key root.key")]
    RotateCommandKey {
        #[command(flatten)]
        signed: Signed,
    },
}

#[derive(Args)]
pub(crate) struct Signed {
    #[command(flatten)]
    data: Data,
    /// A file with a root key; repeat it where the root takes several.
    #[arg(long = "root-key", value_name = "FILE", required = true)]
    root_keys: Vec<PathBuf>,
}

pub(crate) fn run(command: RootCommand) -> Result<()> {
    let (signed, change) = match command {
        RootCommand::Show(data) => {
            show(&data.admin()?.root()?);
            return Ok(());
        }
        RootCommand::AddApprover { signed, name, public } => {
            let mut approvers = approvers(&signed)?;
            approvers.retain(|(_, key)| *key != public);
            approvers.push((name, public));
            (signed, RootChange { approvers: Some(approvers), ..RootChange::default() })
        }
        RootCommand::RemoveApprover { signed, key } => {
            let mut approvers = approvers(&signed)?;
            let before = approvers.len();
            approvers.retain(|(_, public)| KeyId::of(&public.0).to_string() != key);
            if approvers.len() == before {
                bail!("no approver has this key; `root show` lists them");
            }
            (signed, RootChange { approvers: Some(approvers), ..RootChange::default() })
        }
        RootCommand::SetThreshold { signed, approvers } => {
            (signed, RootChange { approver_threshold: Some(approvers), ..RootChange::default() })
        }
        RootCommand::Renew { signed } => (signed, RootChange::default()),
        RootCommand::SetPins { signed, pins, emergency } => {
            let in_use = signed.data.admin()?.pins().first().copied();
            if !in_use.is_some_and(|in_use| pins.contains(&in_use)) {
                println!(
                    "The key of the present certificate is not among them: devices then reach this server only if its \
                     issuer's is, or after its certificate was changed."
                );
            }
            (signed, RootChange { pins: Some(pins), pins_emergency: emergency, ..RootChange::default() })
        }
        RootCommand::Bundle { data, after, out } => return bundle(&data, after, out.as_deref()),
        RootCommand::RotateCommandKey { signed } => {
            (signed, RootChange { rotate_command_key: true, ..RootChange::default() })
        }
    };
    publish(&signed, change)
}

fn approvers(signed: &Signed) -> Result<Vec<(String, PublicKey)>> {
    let root = signed.data.admin()?.root()?;
    Ok(root.approvers.into_iter().map(|approver| (approver.label, approver.public)).collect())
}

/// Drafts the next root, signs it here, and makes it the present one.
fn publish(signed: &Signed, change: RootChange) -> Result<()> {
    let admin = signed.data.admin()?;
    let keys = signed.root_keys.iter().map(|path| {
        let key = KeyFile::read(path).with_context(|| format!("{} can't be used", path.display()))?;
        key.expect(KeyKind::Root)?;
        Ok(key)
    });
    let keys: Vec<KeyFile> = keys.collect::<Result<_>>()?;
    let draft = admin.propose_root(Admin::OPERATOR, change)?;
    let signatures = keys
        .iter()
        .map(|key| Ok((key.id(), key.sign(Domain::Root, &draft.payload)?)))
        .collect::<Result<Vec<_>>>()?;
    show(&admin.publish_root(draft.payload, &signatures)?);
    println!("Devices get it with their next report.");
    Ok(())
}

fn bundle(data: &Data, after: u32, out: Option<&Path>) -> Result<()> {
    let text = data
        .admin()?
        .root_bundle(after)
        .with_context(|| format!("there is no root after {after}"))?
        .to_text();
    if let Some(path) = out {
        let mut file = File::create_new(path).with_context(|| format!("{} can't be made", path.display()))?;
        writeln!(file, "{text}")?;
        file.sync_all()?;
    }
    // The least redundancy leaves the most room.
    match QrCode::with_error_correction_level(&text, EcLevel::L) {
        Ok(code) => println!("{}\n{text}\n", code.render::<Dense1x2>().build()),
        Err(_) => println!(
            "{text}\n\nThis is too long for one QR code. Send the text, or take a later --after: only the roots that the \
             devices don't know are needed."
        ),
    }
    Ok(())
}

fn show(root: &RootView) {
    println!("Root {}, to be replaced before {}", root.version, root.expires_at.format("%Y-%m-%d"));
    println!("A wipe takes {} of these approvers:", root.approver_threshold);
    for approver in &root.approvers {
        println!("  {}  {}", approver.id, approver.label);
    }
    println!("The next root takes {} of these keys:", root.root_threshold);
    for key in &root.root_keys {
        println!("  {}", KeyId::of(&key.0));
    }
    if root.pins.is_empty() {
        println!("Devices go by the pins of their enrolment codes.");
    } else {
        println!("The server's certificate may have these keys:");
    }
    for pin in &root.pins {
        println!("  {pin}");
    }
    println!("The server signs with:");
    for key in &root.command_keys {
        println!("  {}", KeyId::of(&key.0));
    }
}

fn pin(text: &str) -> Result<SpkiPin, String> {
    SpkiPin::from_text(text)
        .ok_or_else(|| "a pin is sha256/ and 43 letters and digits in base64url".to_owned())
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    let key = b64::decode(text).and_then(|bytes| bytes.try_into().ok());
    key.map(PublicKey).ok_or_else(|| "a public key is 43 letters and digits in base64url".to_owned())
}
