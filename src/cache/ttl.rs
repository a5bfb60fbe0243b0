//! How long cached values live. A TTL bounds memory and is a second net; what makes a read right is the clock.

use std::collections::BTreeMap;
use std::time::Duration;

/// The kinds of cached values: each has a TTL of its own and is a label in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One asset version.
    Asset,
    /// One manifest.
    Manifest,
    /// A page of identifiers.
    Listing,
    /// One producer.
    Producer,
    /// One policy.
    Policy,
    /// A price.
    Price,
    /// One receipt.
    Receipt,
    /// A block header, or the tip of the best chain.
    Header,
    /// A version's declaration and what its proof proves.
    Proof,
    /// An ancestry with its manifests and proofs.
    Bundle,
    /// The recalls of one version or producer.
    Advisory,
    /// A page of what policies decided.
    PolicyRun,
    /// What lineage events tell: a graph, a node, a run.
    Lineage,
}

impl Kind {
    /// How many there are.
    pub(super) const ALL: usize = Self::Lineage as usize + 1;

    /// The label in metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Asset => "asset",
            Self::Manifest => "manifest",
            Self::Listing => "listing",
            Self::Producer => "producer",
            Self::Policy => "policy",
            Self::Price => "price",
            Self::Receipt => "receipt",
            Self::Header => "header",
            Self::Proof => "proof",
            Self::Bundle => "bundle",
            Self::Advisory => "advisory",
            Self::PolicyRun => "policy_run",
            Self::Lineage => "lineage",
        }
    }

    /// The name of its TTL in `CACHE_TTLS_JSON`.
    fn setting(self) -> &'static str {
        match self {
            Self::Asset | Self::Manifest => "assets",
            Self::Listing => "listings",
            Self::Producer => "producers",
            // A recall is a rule like those of a policy.
            Self::Policy | Self::Advisory | Self::PolicyRun => "policies",
            Self::Header => "headers",
            Self::Proof | Self::Bundle => "bundles",
            // A receipt moves like a price does: on its own clock of minutes.
            Self::Price | Self::Receipt => "prices",
            Self::Lineage => "lineage",
        }
    }
}

/// Times to live by name, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ttls {
    by_name: BTreeMap<&'static str, u64>,
    swr: bool,
}

impl Default for Ttls {
    fn default() -> Self {
        let by_name = BTreeMap::from([
            ("headers", 60_000),
            ("bundles", 60_000),
            ("assets", 300_000),
            ("listings", 180_000),
            ("lineage", 120_000),
            ("sessions", 1_800_000),
            ("policies", 600_000),
            ("prices", 120_000),
            ("producers", 86_400_000),
            ("negative", 30_000),
            ("staleWhileRevalidate", 60_000),
        ]);
        Self { by_name, swr: true }
    }
}

impl Ttls {
    /// The longest TTL accepted, ms: 30 days.
    pub const MAX_MS: u64 = 30 * 86_400_000;

    /// The names that `CACHE_TTLS_JSON` may use.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.by_name.keys().copied()
    }

    /// Sets one TTL; answers false when there is none of that name.
    pub fn set(&mut self, name: &str, ms: u64) -> bool {
        match self.by_name.iter_mut().find(|(known, _)| **known == name) {
            Some((_, value)) => {
                *value = ms;
                true
            }
            None => false,
        }
    }

    /// Switches serving-while-revalidating on or off.
    pub fn set_swr(&mut self, on: bool) {
        self.swr = on;
    }

    /// How long a session lasts unused.
    pub fn sessions(&self) -> Duration {
        Duration::from_millis(self.ms("sessions"))
    }

    fn ms(&self, name: &'static str) -> u64 {
        self.by_name.get(name).copied().unwrap_or(0)
    }

    /// The soft TTL of an entry, ms: shorter for a row that does not exist, and spread by up to a tenth either way by
    /// `seed`, so that entries written together do not end together.
    pub(super) fn soft_ms(&self, kind: Kind, negative: bool, seed: u64) -> u64 {
        let ms = if negative { self.ms("negative") } else { self.ms(kind.setting()) };
        let spread = ms / 5;
        if spread == 0 { ms } else { ms - spread / 2 + seed % spread }
    }

    /// How long after its soft TTL an entry may still be served while it is refreshed, ms.
    pub(super) fn grace_ms(&self) -> u64 {
        if self.swr { self.ms("staleWhileRevalidate") } else { 0 }
    }

    /// The soft TTL of a kind without its spread, for `Cache-Control`.
    pub fn soft(&self, kind: Kind) -> Duration {
        Duration::from_millis(self.ms(kind.setting()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_stays_within_a_tenth() {
        let ttls = Ttls::default();
        for seed in 0..100_000 {
            let ms = ttls.soft_ms(Kind::Asset, false, seed);
            assert!((270_000..=330_000).contains(&ms), "{ms}");
        }
        assert!(ttls.soft_ms(Kind::Asset, true, 7) <= 33_000);
    }

    #[test]
    fn zero_stays_zero() {
        let mut ttls = Ttls::default();
        assert!(ttls.set("assets", 0));
        assert!(!ttls.set("asset", 0));
        assert_eq!(ttls.soft_ms(Kind::Asset, false, 12345), 0);
    }
}
