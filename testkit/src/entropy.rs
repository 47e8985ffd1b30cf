//! Randomness that is the same for the same seed.

use rand::rngs::ChaCha12Rng;
use rand::{Rng, SeedableRng};
use roundsman_core::platform::{Entropy, EntropyError};
use std::sync::{Mutex, PoisonError};

/// Gives a client the same bytes in every run. Never in an app: whoever knows the seed knows the keys.
pub struct SeededEntropy {
    generator: Mutex<ChaCha12Rng>,
}

impl SeededEntropy {
    /// The bytes of this seed.
    pub fn new(seed: u64) -> Self {
        Self { generator: Mutex::new(ChaCha12Rng::seed_from_u64(seed)) }
    }

    /// Fills `out`.
    pub fn bytes(&self, out: &mut [u8]) {
        self.generator.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(out);
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), EntropyError> {
        self.bytes(out);
        Ok(())
    }
}

/// Draws lots.
pub struct Chance {
    generator: ChaCha12Rng,
}

impl Chance {
    /// The lots of this seed.
    pub fn new(seed: u64) -> Self {
        Self { generator: ChaCha12Rng::seed_from_u64(seed) }
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < u64::from(percent)
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        // The remainder favours small numbers by less than one in 2^40 for what is drawn here.
        self.generator.next_u64() % end.max(1)
    }

    /// One of them; `None` if there are none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let at = self.below(of.len() as u64);
        of.get(usize::try_from(at).unwrap_or_default())
    }
}
