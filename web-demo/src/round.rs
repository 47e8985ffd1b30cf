//! A plausible round: a dozen stores near one another, in the order a driver would take them.

use crate::stores::Place;
use roundsman_core::model::geo::distance_m;
use std::collections::BTreeSet;

/// How many starting points are compared.
const CANDIDATES: usize = 100;

/// The places of a round of at most `stops` stops, none of them `taken`: from the start with the tightest
/// neighbourhood, always on to the nearest that is left.
pub(crate) fn round(places: &[Place], taken: &BTreeSet<usize>, stops: usize) -> Vec<usize> {
    let free: Vec<usize> = (0..places.len()).filter(|index| !taken.contains(index)).collect();
    let step = (free.len() / CANDIDATES).max(1);
    let start = free
        .iter()
        .copied()
        .step_by(step)
        .map(|start| (reach(places, &free, start, stops), start))
        .min_by(|a, b| a.0.total_cmp(&b.0));
    let Some((reach, start)) = start else { return Vec::new() };
    let mut near: Vec<usize> =
        free.into_iter().filter(|index| distance(places, start, *index) <= reach).collect();
    let mut round = Vec::with_capacity(stops);
    let mut at = start;
    while round.len() < stops && !near.is_empty() {
        let next = (0..near.len())
            .min_by(|a, b| distance(places, at, near[*a]).total_cmp(&distance(places, at, near[*b])));
        let Some(next) = next else { break };
        at = near.swap_remove(next);
        round.push(at);
    }
    round
}

/// Metres from `start` within which `stops` free places lie.
fn reach(places: &[Place], free: &[usize], start: usize, stops: usize) -> f64 {
    let mut distances: Vec<f64> = free.iter().map(|index| distance(places, start, *index)).collect();
    let nth = stops.clamp(1, distances.len()) - 1;
    *distances.select_nth_unstable_by(nth, f64::total_cmp).1
}

fn distance(places: &[Place], a: usize, b: usize) -> f64 {
    distance_m(places[a].at, places[b].at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::Stores;

    #[test]
    fn two_rounds_share_no_stop_and_stay_in_one_neighbourhood() -> anyhow::Result<()> {
        let places = Stores::sample()?.places;
        let first = round(&places, &BTreeSet::new(), 11);
        let taken: BTreeSet<usize> = first.iter().copied().collect();
        let second = round(&places, &taken, 11);
        assert_eq!((taken.len(), second.len()), (11, 11));
        assert!(second.iter().all(|stop| !taken.contains(stop)));
        assert!(first.windows(2).all(|leg| distance(&places, leg[0], leg[1]) < 3_000.0));
        Ok(())
    }

    #[test]
    fn a_round_takes_what_there_is() {
        let place = |lat| Place { code: String::new(), name: String::new(), at: (lat, 0.0) };
        let places = [place(0.0), place(2.0), place(1.0)];
        assert_eq!(round(&places, &BTreeSet::new(), 11), [2, 0, 1]);
        assert!(round(&[], &BTreeSet::new(), 11).is_empty());
    }
}
