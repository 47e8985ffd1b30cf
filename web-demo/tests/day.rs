//! The day that the demo plays without a browser.

use anyhow::{Result, ensure};
use roundsman_web_demo::{Options, World, day};

#[tokio::test(flavor = "multi_thread")]
async fn a_day_keeps_every_promise() -> Result<()> {
    let (world, prepared) = World::start(Options::default(), &|_| {}).await?;
    let mut timeline = Vec::new();
    let kept = day::play(&world, &prepared, 14, &mut timeline).await?;
    world.stop().await;
    let timeline = String::from_utf8(timeline)?;
    ensure!(kept && timeline.contains("PROMISES: 40 kept, 0 broken"), "{timeline}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_demo_goes_on_at_the_next_start() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let options = Options { keep: Some(dir.path().join("demo")), ..Options::default() };
    let password = {
        let (world, first) = World::start(options.clone(), &|_| {}).await?;
        ensure!(first.import.is_some(), "nothing was imported at the first start");
        world.hand_out_phones(&|_| {}).await?;
        world.stop().await;
        world.sign_in().password.clone()
    };
    let (world, second) = World::start(options, &|_| {}).await?;
    ensure!(second.import.is_none() && second.planned == 22, "the second start began anew: {second:?}");
    ensure!(world.sign_in().password == password, "the password changed");
    for phone in world.phones() {
        ensure!(phone.client().state() == roundsman_core::State::Closed, "a phone has to enrol again");
        phone.check_in().await?;
    }
    world.stop().await;
    Ok(())
}
