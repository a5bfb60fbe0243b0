//! A small demo market that looks real: who publishes, what descends from what, what it costs, what was recalled.
//!
//! Pure data, the same bytes on every machine: no clock, no randomness, no I/O. Everything that can be checked checks
//! out: version ids are the hashes of the manifests, the declarations are transactions in blocks of a header chain with
//! proof of work (regtest's difficulty), and their envelopes verify. The keys are those of the private keys 1 to 13, so
//! nothing here may ever hold value.
//!
//! Facts that policies ask for and the manifest format leaves free are in these places:
//!
//! | place | fields |
//! |---|---|
//! | `content` | `name`, `rowCount`, `nullValuePercentage` (0 to 100), `outlierScore`, `uniquenessRatio`, `biasScore`, `driftScore` (0 to 1), `ontologyTags`, `featureSetId`, `parentModelId`, `split{train, validation, test}` (fractions that add up to 1) |
//! | `policy` | `tags`, `anonymization{type: k-anon or dp, k or epsilon}` |
//! | `provenance` | `geoOrigin` (ISO 3166 alpha-2 codes, or `EU`, or `GLOBAL`) |

mod catalogue;
mod chain;
mod load;
mod manifests;
mod model;
mod producers;
mod receipts;
mod rules;
mod store;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

pub use load::{Report, if_empty, load};
pub use model::{
    Market, SeedAdvisory, SeedAdvisoryTarget, SeedDeclaration, SeedHeader, SeedPolicy, SeedPriceRule, SeedProducer,
    SeedReceipt,
};

/// Where a catalogue entry (`dataset@version`) ended up.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Index into `manifests` and `version_ids`.
    index: usize,
    /// Index into `producers`.
    producer: usize,
}

/// The whole market. A few milliseconds of hashing.
pub fn market() -> Market {
    let producers = producers::all();
    let mut specs = catalogue::all();
    // Every child is younger than its parents, so by age parents come first; the sort is stable.
    specs.sort_by_key(|spec| spec.day);

    let (mut manifests, mut version_ids) = (Vec::new(), Vec::new());
    let mut places = BTreeMap::new();
    for (index, spec) in specs.iter().enumerate() {
        let (manifest, id) = manifests::write(spec, &producers[spec.producer], |parent| {
            let place: &Place = &places[parent];
            String::clone(&version_ids[place.index])
        });
        manifests.push(manifest);
        version_ids.push(id);
        places.insert(spec.key, Place { index, producer: spec.producer });
    }

    let shop = Shop { producers: &producers, version_ids: &version_ids, places: &places };
    let price_rules = rules::price_rules(&shop);
    let (receipts, payments) = receipts::all(&shop, &price_rules);
    let (headers, declarations) = chain::build(&specs, &shop, payments);
    let (policies, advisories) = (rules::policies(&shop), rules::advisories(&shop));
    Market { producers, manifests, version_ids, declarations, headers, policies, price_rules, advisories, receipts }
}

/// What the later parts refer to.
struct Shop<'a> {
    producers: &'a [SeedProducer],
    version_ids: &'a [String],
    places: &'a BTreeMap<&'static str, Place>,
}

impl Shop<'_> {
    /// Version id of a catalogue entry. Panics on an unknown one, which the tests would meet first.
    fn version(&self, key: &str) -> String {
        self.version_ids[self.places[key].index].clone()
    }

    /// Who publishes a catalogue entry.
    fn producer_of(&self, key: &str) -> &SeedProducer {
        &self.producers[self.places[key].producer]
    }
}

/// Seconds of a day.
const DAY: i64 = 86_400;

/// A moment of the market's calendar, counted in seconds from 2026-01-01T00:00:00Z.
fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(1_767_225_600 + seconds)
}

#[cfg(test)]
mod tests;
