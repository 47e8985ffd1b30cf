//! Many seeds, several at a time.

use super::{Counts, Played, Settings, play};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Is told of each seed that was played.
pub trait Progress: Sync {
    /// One more was played.
    fn played(&self, played: &Played, done: u64);
}

impl<F: Fn(&Played, u64) + Sync> Progress for F {
    fn played(&self, played: &Played, done: u64) {
        self(played, done);
    }
}

/// What came of many seeds.
pub struct Summary {
    /// How many were played.
    pub seeds: u64,
    /// What happened in all of them.
    pub counts: Counts,
    /// Those that found something, by seed.
    pub failed: Vec<Played>,
    /// How long it took.
    pub took: Duration,
}

/// Plays seeds, one after the other.
pub trait Player: Send {
    /// Plays this one.
    fn play(&mut self, seed: u64) -> Played;
}

impl<F: FnMut(u64) -> Played + Send> Player for F {
    fn play(&mut self, seed: u64) -> Played {
        self(seed)
    }
}

/// Plays these seeds on so many threads of this process; ends early after `enough` that found something.
pub fn play_all(
    seeds: std::ops::Range<u64>,
    settings: Settings,
    threads: usize,
    enough: usize,
    progress: &dyn Progress,
) -> Summary {
    let players = (0..threads.max(1)).map(|_| move |seed| play(seed, settings)).collect();
    play_by(players, seeds, enough, progress)
}

/// Has these seeds played by these players, of which each takes the next one when it is done; ends early after `enough`
/// that found something.
pub fn play_by<P: Player>(
    players: Vec<P>,
    seeds: std::ops::Range<u64>,
    enough: usize,
    progress: &dyn Progress,
) -> Summary {
    let began = Instant::now();
    let (next, end) = (&AtomicU64::new(seeds.start), seeds.end);
    let (done, stop) = (&AtomicU64::new(0), &AtomicBool::new(false));
    let all = &Mutex::new((Counts::default(), Vec::new()));
    std::thread::scope(|scope| {
        for mut player in players {
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= end || stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let played = player.play(seed);
                    let number = done.fetch_add(1, Ordering::SeqCst) + 1;
                    progress.played(&played, number);
                    let mut all = all.lock().expect("nothing panics while it is held");
                    all.0 += played.counts;
                    if played.finding.is_some() {
                        all.1.push(played);
                        stop.store(all.1.len() >= enough, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let mut all = all.lock().expect("nothing panicked");
    let (counts, mut failed) = (all.0, std::mem::take(&mut all.1));
    failed.sort_by_key(|played| played.seed);
    Summary { seeds: done.load(Ordering::SeqCst), counts, failed, took: began.elapsed() }
}
