//! Which rule a quantity is sold by.

use serde::{Deserialize, Serialize};

use super::RuleSource;
use crate::cache::{Cached, Kind};

/// The rules that may apply to a version: its own, and its producer's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiers {
    /// The version's.
    pub version: Vec<Tier>,
    /// Its producer's.
    pub producer: Vec<Tier>,
}

/// What a unit costs from a quantity on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tier {
    /// The least quantity.
    pub from: i32,
    /// Satoshis a unit.
    pub satoshis: i64,
}

/// What a unit costs at a quantity, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitPrice {
    /// Satoshis a unit.
    pub satoshis: i64,
    /// The kind of rule.
    pub source: RuleSource,
    /// The rule's least quantity; 1 for the default.
    pub tier_from: i32,
}

impl Cached for Tiers {
    const KIND: Kind = Kind::Price;
    const MAY_BE_ABSENT: bool = false;
}

impl Tiers {
    /// The version's rules before the producer's, and those before the default; within a scope the highest tier that
    /// `quantity` reaches.
    pub fn unit_price(&self, quantity: i32, default_sats: i64) -> UnitPrice {
        let best = |tiers: &[Tier], source| {
            let reached = tiers.iter().filter(|tier| tier.from <= quantity).max();
            reached.map(|tier| UnitPrice { satoshis: tier.satoshis, source, tier_from: tier.from })
        };
        let default = UnitPrice { satoshis: default_sats, source: RuleSource::Default, tier_from: 1 };
        best(&self.version, RuleSource::Version)
            .or_else(|| best(&self.producer, RuleSource::Producer))
            .unwrap_or(default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_scope_and_the_highest_tier_decide() {
        let tier = |(from, satoshis)| Tier { from, satoshis };
        let tiers = |version: &[(i32, i64)], producer: &[(i32, i64)]| Tiers {
            version: version.iter().copied().map(tier).collect(),
            producer: producer.iter().copied().map(tier).collect(),
        };
        let cases = [
            (tiers(&[], &[]), 5, (99, RuleSource::Default, 1)),
            (tiers(&[(1, 10)], &[(1, 1)]), 5, (10, RuleSource::Version, 1)),
            (tiers(&[(1, 10), (5, 8), (6, 7)], &[]), 5, (8, RuleSource::Version, 5)),
            (tiers(&[(6, 7), (1, 10), (5, 8)], &[]), 1_000, (7, RuleSource::Version, 6)),
            // A version whose own tiers begin higher is sold by its producer's.
            (tiers(&[(10, 7)], &[(2, 9)]), 5, (9, RuleSource::Producer, 2)),
            (tiers(&[(10, 7)], &[(6, 9)]), 5, (99, RuleSource::Default, 1)),
            (tiers(&[], &[(1, 3)]), i32::MAX, (3, RuleSource::Producer, 1)),
        ];
        for (tiers, quantity, (satoshis, source, tier_from)) in cases {
            assert_eq!(
                tiers.unit_price(quantity, 99),
                UnitPrice { satoshis, source, tier_from },
                "{tiers:?} {quantity}"
            );
        }
    }
}
