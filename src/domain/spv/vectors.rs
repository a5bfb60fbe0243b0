//! What several tests need: published test vectors, and randomness that repeats.

use std::str::FromStr;

const VECTORS: &str = include_str!("../../../tests/data/spv/vectors.txt");

/// A line of `tests/data/spv/vectors.txt`.
pub(super) struct Vector {
    pub(super) name: &'static str,
    /// Of a BUMP that is accepted.
    pub(super) height: Option<u32>,
    /// What it comes to: a root, the roots, or the name of an error.
    pub(super) verdict: &'static str,
    pub(super) hex: &'static str,
}

pub(super) fn bumps() -> impl Iterator<Item = Vector> {
    vectors("bump")
}

pub(super) fn beefs() -> impl Iterator<Item = Vector> {
    vectors("beef")
}

fn vectors(kind: &'static str) -> impl Iterator<Item = Vector> {
    VECTORS.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| {
        let mut fields = line.split(" | ");
        let mut next = || fields.next().unwrap();
        (next() == kind).then(|| Vector {
            name: next(),
            height: u32::from_str(next()).ok(),
            verdict: next(),
            hex: next(),
        })
    })
}

/// xorshift, seeded, so that a failure repeats.
pub(super) struct Xorshift(u64);

impl Xorshift {
    pub(super) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(super) fn below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}
