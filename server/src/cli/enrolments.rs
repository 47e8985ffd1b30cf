//! `enrolments`: devices that wait for a person to compare digits.

use super::table;
use crate::Data;
use anyhow::Result;
use clap::{Args, Subcommand};
use roundsman_server::Admin;
use uuid::Uuid;

#[derive(Subcommand)]
pub(crate) enum EnrolmentsCommand {
    /// Lists the devices that wait, with the digits that each must show.
    #[command(after_help = "Example:\n  roundsman-server enrolments list --data ./data")]
    List(Data),
    /// Lets a device in: it shows the same digits.
    #[command(after_help = "Example:\n  \
        roundsman-server enrolments confirm --data ./data --enrolment 0198c1f2-…")]
    Confirm(Which),
    /// Refuses a device for good: it shows other digits, or nobody knows it.
    #[command(after_help = "Example:\n  \
        roundsman-server enrolments refuse --data ./data --enrolment 0198c1f2-…")]
    Refuse(Which),
}

#[derive(Args)]
pub(crate) struct Which {
    #[command(flatten)]
    data: Data,
    /// The enrolment's id, as `enrolments list` shows it.
    #[arg(long, value_name = "ID")]
    enrolment: Uuid,
}

pub(crate) fn run(command: EnrolmentsCommand) -> Result<()> {
    match command {
        EnrolmentsCommand::List(data) => list(&data),
        EnrolmentsCommand::Confirm(Which { data, enrolment }) => {
            data.admin()?.confirm_enrolment(Admin::OPERATOR, enrolment)?;
            println!("Confirmed. The device is let in when it next asks.");
            Ok(())
        }
        EnrolmentsCommand::Refuse(Which { data, enrolment }) => {
            data.admin()?.refuse_enrolment(Admin::OPERATOR, enrolment)?;
            println!("Refused for good. Find out who else has seen the code before you issue another.");
            Ok(())
        }
    }
}

fn list(data: &Data) -> Result<()> {
    let admin = data.admin()?;
    let waiting = admin.waiting_enrolments()?;
    if waiting.is_empty() {
        println!("No device waits.");
        if !admin.confirms_enrolments()? {
            println!("Digits are not asked for; `policy enrolments --confirm on` changes that.");
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = waiting
        .into_iter()
        .map(|it| {
            let digits = match it.digits {
                Some(_) if it.confirmed => "confirmed".to_owned(),
                Some(digits) => digits.to_string(),
                None => "not yet".to_owned(),
            };
            let until = format!("{} UTC", it.until.format("%H:%M"));
            vec![it.id.to_string(), digits, it.user_name, it.device_name, it.platform, until]
        })
        .collect();
    table(&["enrolment", "digits", "user", "device", "platform", "until"], 0, &rows);
    Ok(())
}
