//! The prices' SQL.

use std::collections::HashMap;

use overlay_entity::ids::VersionId;
use sea_orm::FromQueryResult;

use super::tiers::{Tier, Tiers};
use super::{Price, Priced, RuleSource};
use crate::db::Db;
use crate::error::{Error, Result};

/// For each pair the best rule: the version's before the producer's, within a scope the highest tier that one unit reaches.
const OF_ONE_UNIT: &str = "\
    select wanted.version_id, wanted.producer_id, best.satoshis, best.version_id is not null as of_version \
    from unnest($1::text[], $2::text[]) as wanted(version_id, producer_id) \
    cross join lateral (select r.satoshis, r.version_id from public.price_rules r \
        where (r.version_id = wanted.version_id or r.producer_id = wanted.producer_id) and r.tier_from <= 1 \
        order by (r.version_id is null), r.tier_from desc limit 1) as best";

#[derive(FromQueryResult)]
struct PriceRow {
    version_id: String,
    producer_id: String,
    satoshis: i64,
    of_version: bool,
}

pub(super) async fn of_one_unit(db: &Db, versions: &[Priced]) -> Result<HashMap<Priced, Price>> {
    let (ids, producers): (Vec<String>, Vec<String>) =
        versions.iter().map(|(version, producer)| (version.to_string(), producer.clone())).unzip();
    let rows: Vec<PriceRow> = db.all("prices.of_one_unit", OF_ONE_UNIT, vec![ids.into(), producers.into()]).await?;
    let price = |row: PriceRow| {
        let source = if row.of_version { RuleSource::Version } else { RuleSource::Producer };
        let version: VersionId = row.version_id.parse().map_err(Error::internal)?;
        Ok(((version, row.producer_id), Price { satoshis: row.satoshis, source }))
    };
    rows.into_iter().map(price).collect()
}

/// All rules that may apply to each pair.
const TIERS: &str = "\
    select wanted.version_id, wanted.producer_id, r.tier_from, r.satoshis, r.version_id is not null as of_version \
    from unnest($1::text[], $2::text[]) as wanted(version_id, producer_id) \
    join public.price_rules r on r.version_id = wanted.version_id or r.producer_id = wanted.producer_id";

#[derive(FromQueryResult)]
struct TierRow {
    version_id: String,
    producer_id: String,
    tier_from: i32,
    satoshis: i64,
    of_version: bool,
}

/// The tiers of every pair, also of those that have none.
pub(super) async fn tiers(db: &Db, versions: &[Priced]) -> Result<HashMap<Priced, Tiers>> {
    let (ids, producers): (Vec<String>, Vec<String>) =
        versions.iter().map(|(version, producer)| (version.to_string(), producer.clone())).unzip();
    let rows: Vec<TierRow> = db.all("prices.tiers", TIERS, vec![ids.into(), producers.into()]).await?;
    let mut found: HashMap<Priced, Tiers> = versions.iter().map(|priced| (priced.clone(), Tiers::default())).collect();
    for row in rows {
        let version: VersionId = row.version_id.parse().map_err(Error::internal)?;
        let tiers = found.entry((version, row.producer_id)).or_default();
        let scope = if row.of_version { &mut tiers.version } else { &mut tiers.producer };
        scope.push(Tier { from: row.tier_from, satoshis: row.satoshis });
    }
    Ok(found)
}
