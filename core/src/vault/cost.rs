//! What it costs to guess a passcode.

use super::keys::stretch;
use super::{Passcode, Vault, VaultError};
use std::time::Duration;

/// What guessing one passcode costs: Argon2id (RFC 9106) with one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, minicbor::Encode, minicbor::Decode)]
pub struct KdfCost {
    /// Memory in KiB.
    #[n(0)]
    pub memory_kib: u32,
    /// Passes over the memory.
    #[n(1)]
    pub passes: u32,
}

/// What a calibration tries, from cheap to dear. Memory grows first, since it is what hurts who guesses with graphics
/// cards.
const STEPS: [KdfCost; 10] = [
    KdfCost::FLOOR,
    KdfCost { memory_kib: 32_768, passes: 3 },
    KdfCost { memory_kib: 65_536, passes: 3 },
    KdfCost { memory_kib: 131_072, passes: 3 },
    KdfCost { memory_kib: 262_144, passes: 3 },
    KdfCost { memory_kib: 262_144, passes: 5 },
    KdfCost { memory_kib: 262_144, passes: 7 },
    KdfCost { memory_kib: 262_144, passes: 10 },
    KdfCost { memory_kib: 262_144, passes: 13 },
    KdfCost::CEILING,
];

/// A cost that takes this long is enough.
const ENOUGH: Duration = Duration::from_millis(400);

/// Nobody is to wait longer for an unlock.
const TOO_LONG: Duration = Duration::from_millis(800);

impl KdfCost {
    /// The least that is secure, for weak phones and tests: 19 MiB and two passes (OWASP Password Storage Cheat Sheet).
    pub const FLOOR: Self = Self { memory_kib: 19_456, passes: 2 };

    /// The most that is honoured: 256 MiB and 16 passes.
    pub const CEILING: Self = Self { memory_kib: 262_144, passes: 16 };

    /// Next to nothing, so that thousands of simulated phones can be opened.
    #[cfg(feature = "simulation")]
    pub const SIMULATION: Self = Self { memory_kib: 8, passes: 1 };

    /// The nearest cost between the floor and the ceiling.
    pub(super) fn clamped(self) -> Self {
        #[cfg(feature = "simulation")]
        if self == Self::SIMULATION {
            return self;
        }
        Self {
            memory_kib: self.memory_kib.clamp(Self::FLOOR.memory_kib, Self::CEILING.memory_kib),
            passes: self.passes.clamp(Self::FLOOR.passes, Self::CEILING.passes),
        }
    }

    /// The greater of both in each part: a cost is never lowered.
    pub(super) fn at_least(self, other: Self) -> Self {
        Self { memory_kib: self.memory_kib.max(other.memory_kib), passes: self.passes.max(other.passes) }
    }

    /// The cost that takes 400 to 800 milliseconds here, as nearly as a few tries find it: the first that takes 400, or
    /// the last before one that takes more than 800. Never below the floor, however slow the device. `measure` tells how
    /// long a passcode of that cost takes; if it says no time at all, its clock stands still and the default is taken.
    ///
    /// # Errors
    /// What `measure` fails with.
    pub fn calibrate<E>(mut measure: impl FnMut(Self) -> Result<Duration, E>) -> Result<Self, E> {
        let mut best = Self::FLOOR;
        for step in STEPS {
            let took = measure(step)?;
            if took.is_zero() {
                return Ok(Self::default());
            }
            if took > TOO_LONG {
                break;
            }
            best = step;
            if took >= ENOUGH {
                break;
            }
        }
        Ok(best)
    }
}

/// 64 MiB and three passes.
impl Default for KdfCost {
    fn default() -> Self {
        Self { memory_kib: 65_536, passes: 3 }
    }
}

impl Vault {
    /// The cost of a passcode that is set now: the configured one, or what this device is measured to bear.
    pub(super) fn calibrated(&self) -> Result<KdfCost, VaultError> {
        match self.seams.cost {
            Some(cost) => Ok(cost.clamped()),
            None => KdfCost::calibrate(|cost| self.measure(cost)),
        }
    }

    fn measure(&self, cost: KdfCost) -> Result<Duration, VaultError> {
        let clock = &self.seams.clock;
        let (boot, wall) = (clock.boot(), clock.now());
        match stretch(&Passcode::sample(), &[0; 16], cost) {
            Ok(_) => {}
            // What there is no memory for is too dear.
            Err(VaultError::OutOfMemory) if cost != KdfCost::FLOOR => return Ok(Duration::MAX),
            Err(error) => return Err(error),
        }
        let took = match (boot, clock.boot()) {
            (Some(before), Some(after)) => after.elapsed.checked_sub(before.elapsed),
            // The wall clock may be set meanwhile; at worst the cost is the default or the floor.
            _ => (clock.now() - wall).to_std().ok(),
        };
        Ok(took.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slots;
    use super::super::testbench::{Bench, Outcome};
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    /// A device that needs so many microseconds for a MiB and pass.
    fn calibrated(speed: u64) -> (KdfCost, Duration) {
        let time = |cost: KdfCost| {
            Duration::from_micros(speed * u64::from(cost.memory_kib / 1024) * u64::from(cost.passes))
        };
        let cost = match KdfCost::calibrate(|cost| Ok::<_, Infallible>(time(cost))) {
            Ok(cost) => cost,
            Err(never) => match never {},
        };
        (cost, time(cost))
    }

    #[test]
    fn a_phone_of_the_middle_waits_about_half_a_second_and_a_slow_one_gets_the_floor() {
        assert_eq!(calibrated(2_500), (KdfCost::default(), Duration::from_millis(480)));
        assert_eq!(calibrated(50_000).0, KdfCost::FLOOR);
        assert_eq!(calibrated(1).0, KdfCost::CEILING);
        assert_eq!(calibrated(0).0, KdfCost::default(), "a clock that stands still tells nothing");
    }

    #[test]
    fn a_slot_that_costs_too_little_is_raised_when_it_opens_and_none_is_ever_lowered() -> Outcome {
        let (first, second) = (Passcode::new("red kayak 7")?, Passcode::new("blue heron 3")?);
        let bench = Bench::enrolled(&first)?;
        let cost_of = |vault: &Vault| Ok::<_, VaultError>(Slots::load(&vault.folder())?.terms()?.cost);
        let dearer = KdfCost { memory_kib: 24_576, ..KdfCost::FLOOR };
        for (configured, expected) in [
            (Some(KdfCost::FLOOR), KdfCost::FLOOR),
            (Some(dearer), dearer),
            (Some(KdfCost::FLOOR), dearer),
            (None, dearer),
            (Some(KdfCost { passes: 3, ..KdfCost::FLOOR }), KdfCost { passes: 3, ..dearer }),
        ] {
            let vault = bench.start(configured)?;
            let before = Slots::load(&vault.folder())?.terms()?.set_ms;
            vault.unlock(&first, &|| ())?;
            vault.opened()?;
            assert_eq!(cost_of(&vault)?, expected, "{configured:?}");
            assert_eq!(
                Slots::load(&vault.folder())?.terms()?.set_ms,
                before,
                "the passcode is as old as it was"
            );
        }
        let vault = bench.start(Some(KdfCost::FLOOR))?;
        vault.change_passcode(&first, &second, &|| (), || Ok::<_, VaultError>(()))?;
        assert_eq!(cost_of(&vault)?, KdfCost { passes: 3, ..dearer });
        vault.unlock(&second, &|| ())?;
        Ok(())
    }

    #[test]
    fn without_a_configured_cost_the_device_is_measured_when_a_passcode_is_set() -> Outcome {
        let (first, second) = (Passcode::new("red kayak 7")?, Passcode::new("blue heron 3")?);
        let bench = Bench::enrolled(&first)?;
        let vault = bench.start(None)?;
        vault.change_passcode(&first, &second, &|| (), || Ok::<_, VaultError>(()))?;
        let cost = Slots::load(&vault.folder())?.terms()?.cost;
        assert!(STEPS.contains(&cost), "{cost:?}");
        vault.unlock(&second, &|| ())?;
        Ok(())
    }

    proptest! {
        #[test]
        fn a_cost_is_never_below_the_floor(memory_kib: u32, passes: u32) {
            let cost = KdfCost { memory_kib, passes }.clamped();
            prop_assert!(cost.memory_kib >= KdfCost::FLOOR.memory_kib && cost.passes >= KdfCost::FLOOR.passes);
            prop_assert!(cost.memory_kib <= 262_144);
        }

        #[test]
        fn nobody_waits_longer_than_the_limit_unless_the_floor_takes_longer(speed in 1u64..100_000) {
            let (cost, took) = calibrated(speed);
            prop_assert!(took <= TOO_LONG || cost == KdfCost::FLOOR, "{took:?}");
            // Neighbouring steps differ by less than three times.
            prop_assert!(took >= TOO_LONG / 3 || cost == KdfCost::CEILING, "{took:?}");
        }
    }
}
