//! Runs a target on random bytes for a few seconds, with nothing but the standard library.

use std::{
    collections::hash_map::RandomState,
    fmt::Debug,
    hash::BuildHasher,
    time::{Duration, Instant},
};

use arbitrary::{Arbitrary, Unstructured};

/// The time that a target runs.
const BRIEFLY: Duration = Duration::from_secs(10);
/// The greatest size of an input's source, in bytes.
const MOST: u64 = 1024;
/// The variable with the number from which a failed run drew its input, to draw the same one again.
const SEED: &str = "FUZZ_SEED";

/// Checks as many inputs as there is time for, or the one that `FUZZ_SEED` names.
pub fn run<T: for<'a> Arbitrary<'a> + Debug>(check: fn(&T)) {
    if let Some(seed) = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()) {
        return once(seed, check);
    }
    let mut seeds = Random(RandomState::new().hash_one(0));
    let started = Instant::now();
    let mut inputs = 0_u64;
    while started.elapsed() < BRIEFLY {
        once(seeds.next(), check);
        inputs += 1;
    }
    println!("{inputs} inputs in {:?}", started.elapsed());
}

fn once<T: for<'a> Arbitrary<'a> + Debug>(seed: u64, check: fn(&T)) {
    let bytes = Random(seed).bytes();
    let Ok(input) = T::arbitrary_take_rest(Unstructured::new(&bytes)) else { return };
    let shown = Shown { seed, input: &input };
    check(&input);
    drop(shown);
}

/// Shows the input of a check that fails.
struct Shown<'a, T: Debug> {
    seed: u64,
    input: &'a T,
}

impl<T: Debug> Drop for Shown<'_, T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input, again by {SEED}={}:\n{:#?}", self.seed, self.input);
        }
    }
}

/// SplitMix64: a few lines, and random enough.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns long and short inputs, half of them ASCII only: random bytes are rarely text.
    fn bytes(&mut self) -> Vec<u8> {
        let length = self.next() % (1 << (self.next() % MOST.ilog2() as u64 + 1));
        let mask = if self.next().is_multiple_of(2) { u8::MAX } else { 0x7f };
        (0..length).map(|_| (self.next() & 0xff) as u8 & mask).collect()
    }
}
