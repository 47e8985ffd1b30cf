//! `roundsman-web-demo`: see the crate's documentation, or `--help`.

use anyhow::Result;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use roundsman_web_demo::web::Pages;
use roundsman_web_demo::{Options, World, day};
use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Roundsman on one machine: a server, its console, and two phones in the browser.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    /// A CSV file of stores with the columns code, name, brand, channel, address, city, region, postcode,
    /// country, phone, lat, lon; the built-in sample if it is left out
    #[arg(long, value_name = "FILE")]
    stores: Option<PathBuf>,
    /// Take only the stores of this region of the file
    #[arg(long, value_name = "CODE", requires = "stores")]
    region: Option<String>,
    /// The port of the pages on 127.0.0.1; 0 takes any that is free
    #[arg(long, default_value_t = 7070)]
    port: u16,
    /// Keep the demo in this folder, to go on with it at the next start
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Play a whole day without a browser, check every promise, and end with an error if one was broken
    #[arg(long, conflicts_with = "keep")]
    headless: bool,
    /// How many visits the reps make in a day that is played
    #[arg(long, default_value_t = 20, requires = "headless", value_parser = clap::value_parser!(u32).range(2..=2_000))]
    visits: u32,
}

const EXAMPLES: &str = "\
Examples:
  roundsman-web-demo                                     the sample stores, at http://127.0.0.1:7070
  roundsman-web-demo --stores stores.csv --region NJ     your own stores, one region of them
  roundsman-web-demo --keep ~/roundsman-demo             go on where you left off
  roundsman-web-demo --headless --visits 50              play a day and check the promises";

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let options = Options { stores: arguments.stores, region: arguments.region, keep: arguments.keep };
    let bar =
        ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
    bar.enable_steady_tick(Duration::from_millis(120));
    let progress = |what: &str| bar.set_message(what.to_owned());
    let (world, prepared) = World::start(options, &progress).await?;
    if arguments.headless {
        bar.finish_and_clear();
        let kept = day::play(&world, &prepared, arguments.visits as usize, &mut stdout().lock()).await;
        world.stop().await;
        return Ok(if kept? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    world.hand_out_phones(&progress).await?;
    bar.finish_and_clear();
    let world = Arc::new(world);
    let pages = Pages::serve(Arc::clone(&world), arguments.port).await?;
    welcome(&world, &pages)?;
    tokio::signal::ctrl_c().await?;
    pages.stop().await;
    world.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn welcome(world: &World, pages: &Pages) -> Result<()> {
    let mut out = stdout().lock();
    let sign_in = world.sign_in();
    writeln!(out, "{} stores from {}\n", world.customers(), world.stores().source)?;
    writeln!(out, "  Phones    {}", pages.url())?;
    writeln!(out, "  Console   {}   {}   {}", sign_in.url, sign_in.email, sign_in.password)?;
    for (phone, rep) in world.phones().iter().zip(world.reps()) {
        writeln!(out, "  Phone {}   {}, passcode {}", phone.number(), rep.name, rep.passcode)?;
    }
    writeln!(out, "\nThe page shows the console's six-digit code. Ctrl-C ends the demo.")?;
    Ok(())
}
