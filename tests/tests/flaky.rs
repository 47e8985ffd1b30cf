//! Phones work offline and sync over a network that cuts, stalls, delays and damages: everything arrives, once.
//!
//! The seed is printed; `ROUNDSMAN_FLAKY_SEED` takes another one, and `ROUNDSMAN_FLAKY_ROUNDS` makes the run longer and the
//! delays those of a bad mobile network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on fails")]

use roundsman_core::model::visit::Outcome;
use roundsman_core::{Client, Config, HttpsTransport};
use roundsman_tests::proxy::{Proxy, Weather};
use roundsman_tests::rig::{Rig, passcode, phone_config};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same run for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Tries with one sort of weather each, and then the next one: none is left out.
fn weather(turn: u64, chance: &mut Chance, long: bool) -> Weather {
    match turn % 7 {
        0 => Weather::Cut(chance.below(12_000)),
        1 => Weather::Damaged(chance.below(2_500)),
        2 => Weather::Refused,
        3 => Weather::Stalled(chance.below(8_000)),
        4 => Weather::Cut(1_500 + chance.below(3_000)),
        5 => Weather::Late(Duration::from_millis(if long { 2_000 } else { 50 })),
        _ => Weather::Slow(50_000),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_doubled_over_a_bad_network() {
    let seed = variable("ROUNDSMAN_FLAKY_SEED").unwrap_or(20_261_126);
    let long = variable("ROUNDSMAN_FLAKY_ROUNDS");
    let rounds = long.unwrap_or(2);
    println!("seed {seed}, {rounds} rounds");
    let mut chance = Chance(seed);
    let address = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let proxy = Proxy::start(address).await;
    let rig = Rig::start_at(address, Some(proxy.url())).await;
    rig.import_stores(400);
    // A short silence is taken for the end, so that a stalled connection does not take the test's time.
    let silence = Duration::from_secs(if long.is_some() { 10 } else { 3 });
    let mut phones = Vec::new();
    for name in ["ana", "bo"] {
        let config = phone_config(&rig.disk.path().join(name), name);
        let transport = Arc::new(HttpsTransport::with_timeouts(silence, silence));
        let phone = Client::open(Config { transport, ..config }).unwrap();
        phone.enrol(&rig.ticket(rig.rep(name)), &passcode()).await.unwrap();
        phones.push((name, phone));
    }
    let (mut expected, mut tries, mut failed) = (BTreeSet::new(), 0, 0);
    for round in 0..rounds {
        for (name, phone) in &phones {
            for n in 0..6 {
                // The first sync may not have brought any customer yet.
                if let Some(customer) = phone.customers().unwrap().list(None, 1).unwrap().first() {
                    let notes = format!("{name} {round} {n}");
                    let visits = phone.visits().unwrap();
                    let visit = visits.start(customer.id, None).unwrap();
                    visits.write(visit.id, Some(notes.clone()), None).unwrap();
                    visits.check_out(visit.id, Outcome::NoOrder, None).unwrap();
                    expected.insert(notes);
                }
            }
            let first = chance.below(7);
            let mut done = false;
            // Late and slow networks are good enough, so each seven tries end with everything sent.
            for turn in first..first + 14 {
                tries += 1;
                let weather = weather(turn, &mut chance, long.is_some());
                proxy.set(weather);
                match phone.sync(&()).await {
                    Ok(_) => done = true,
                    Err(error) => {
                        failed += 1;
                        println!("{name} {round}: {weather:?}: {error}");
                    }
                }
                if done && turn >= first + 6 {
                    break;
                }
            }
            assert!(done, "{name}: no sync in 14 tries");
            assert_eq!(phone.outbox().unwrap().count().unwrap(), 0, "{name}");
        }
    }
    proxy.set(Weather::Clear);
    for (name, phone) in &phones {
        phone.sync(&()).await.unwrap();
        assert_eq!(phone.customers().unwrap().count().unwrap(), 400, "{name}");
        phone.check_store().unwrap();
    }
    let notes: Vec<_> = rig.admin.recent_visits(999).unwrap().into_iter().filter_map(|it| it.notes).collect();
    assert_eq!(notes.len(), expected.len(), "once each");
    assert_eq!(notes.into_iter().collect::<BTreeSet<_>>(), expected);
    assert!(failed > 0, "the network was never bad");
    assert!(rig.admin.alerts(9).unwrap().is_empty(), "nobody was taken for a copy");
    println!("{tries} tries, {failed} failed, {} connections", proxy.connections());
}
