//! Many seeds, on several threads.

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

/// Plays so many seeds from the first one on, on so many threads; ends early after `enough` that found something.
pub fn play_all(
    seeds: std::ops::Range<u64>,
    settings: Settings,
    threads: usize,
    enough: usize,
    progress: &dyn Progress,
) -> Summary {
    let began = Instant::now();
    let (next, end) = (AtomicU64::new(seeds.start), seeds.end);
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let all = Mutex::new((Counts::default(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed >= end || stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let played = play(seed, settings);
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
    let (counts, mut failed) = all.into_inner().expect("nothing panicked");
    failed.sort_by_key(|played| played.seed);
    Summary { seeds: done.into_inner(), counts, failed, took: began.elapsed() }
}
