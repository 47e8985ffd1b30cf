use super::*;
use crate::storage::LogEntry;
use crate::testkit::{Org, TestResult};
use roundsman_model::UserId;
use roundsman_protocol::poke::Poke;
use std::collections::HashSet;
use uuid::Uuid;

const WAIT: Duration = Duration::from_secs(10);

fn id(n: u128) -> DeviceId {
    DeviceId(Uuid::from_u128(n))
}

fn nj() -> HashSet<Bucket> {
    [Bucket::territory("NJ")].into()
}

/// A seat that hears of New Jersey.
fn seated(seats: &Arc<Seats>, n: u128) -> TestResult<Seat> {
    let seat = seats.sit(id(n), Some(UserId(Uuid::from_u128(n)))).ok_or("no seat")?;
    seat.hear(nj());
    Ok(seat)
}

async fn next(seat: &Seat) -> TestResult<Option<Poke>> {
    Ok(tokio::time::timeout(WAIT, seat.poke()).await?)
}

async fn is_quiet(seat: &Seat) -> bool {
    tokio::time::timeout(Duration::ZERO, seat.poke()).await.is_err()
}

#[tokio::test]
async fn a_change_pokes_those_who_may_see_it_and_not_its_author() -> TestResult {
    let seats = Arc::<Seats>::default();
    let (one, two) = (seated(&seats, 1)?, seated(&seats, 2)?);
    let stranger = seats.sit(id(3), None).ok_or("no seat")?;
    stranger.hear(nj());
    seats.changed(&Bucket::territory("NJ"), Some(id(1)));
    seats.changed(&Bucket::territory("PA"), None);
    assert_eq!(next(&two).await?, Some(Poke::Sync));
    assert!(is_quiet(&one).await && is_quiet(&two).await && is_quiet(&stranger).await);
    Ok(())
}

#[tokio::test]
async fn what_nobody_takes_is_one_poke_and_commands_come_first() -> TestResult {
    let seats = Arc::<Seats>::default();
    let seat = seated(&seats, 1)?;
    for _ in 0..1_000 {
        seats.changed(&Bucket::territory("NJ"), None);
    }
    seats.called(id(1));
    assert_eq!(next(&seat).await?, Some(Poke::CheckIn));
    assert_eq!(next(&seat).await?, Some(Poke::Sync));
    assert!(is_quiet(&seat).await);
    Ok(())
}

#[tokio::test]
async fn the_newest_seat_of_a_device_wins_and_a_seat_is_free_again() -> TestResult {
    let seats = Arc::<Seats>::default();
    let (old, new) = (seats.sit(id(1), None).ok_or("no seat")?, seats.sit(id(1), None).ok_or("no seat")?);
    assert_eq!(next(&old).await?, None);
    drop(old);
    seats.called(id(1));
    assert_eq!(next(&new).await?, Some(Poke::CheckIn), "the end of the old one is not the new one's");
    drop(new);
    assert!(seats.is_empty());
    seats.close();
    assert!(seats.sit(id(1), None).is_none(), "the server is stopping");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_reach_the_seats_of_their_buckets_and_devices() -> TestResult {
    let org = Org::new()?;
    let device = org.phone(org.rep("ana", &["NJ"])?)?.id;
    let user = org.app.storage.read()?.device(device)?.ok_or("device")?.user;
    let seats = Arc::<Seats>::default();
    let poking = tokio::spawn(go_on(Arc::clone(&org.app), Arc::clone(&seats), org.app.storage.subscribe()));
    let seat = seats.sit(device, Some(user)).ok_or("no seat")?;
    seat.hear(scope(&org.app, device)?);

    let change = |bucket: &str| -> TestResult {
        let mut tx = org.app.storage.write()?;
        tx.append_log(&Bucket::territory(bucket), "customer", Uuid::from_u128(1), LogEntry::Put)?;
        Ok(tx.commit()?)
    };
    change("NJ")?;
    assert_eq!(next(&seat).await?, Some(Poke::Sync));

    // Another territory is the user's from now on, and pokes from now on.
    org.admin.set_territories(org.boss, user, vec!["PA".to_owned()])?;
    assert_eq!(next(&seat).await?, Some(Poke::Sync));
    change("NJ")?;
    change("PA")?;
    assert_eq!(next(&seat).await?, Some(Poke::Sync));

    org.admin.lock(org.boss, device, "lost")?;
    assert_eq!(next(&seat).await?, Some(Poke::CheckIn));
    // A device that is locked hears of commands alone.
    change("PA")?;
    org.admin.unlock(org.boss, device)?;
    assert_eq!(next(&seat).await?, Some(Poke::CheckIn));
    poking.abort();
    Ok(())
}
