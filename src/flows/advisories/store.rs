//! The SQL that issues and withdraws advisories.

use chrono::{DateTime, Utc};
use overlay_entity::ids::VersionId;
use sea_orm::{FromQueryResult, Value};

use super::Issue;
use crate::db::Tx;
use crate::domain::caller::Caller;
use crate::error::{Error, Result};

const ISSUE: &str = "\
    insert into public.advisories (advisory_id, type, reason, payload, created_at, expires_at) \
    values ($1, $2, $3, $4, $5, $6) on conflict (advisory_id) do nothing";

/// When the same advisory was issued, if it is the same in all it says.
const SAME: &str = "\
    select created_at, type = $2 and reason = $3 and payload is not distinct from $4 and expires_at is not distinct from $5 \
        and array(select version_id from public.advisory_targets where advisory_id = $1 and version_id is not null order by 1) \
            = array(select distinct id from unnest($6::text[]) as v(id) order by 1) \
        and array(select producer_id from public.advisory_targets where advisory_id = $1 and producer_id is not null order by 1) \
            = array(select distinct id from unnest($7::text[]) as p(id) order by 1) as same \
    from public.advisories where advisory_id = $1";

#[derive(FromQueryResult)]
struct Earlier {
    created_at: DateTime<Utc>,
    same: bool,
}

const TARGETS: &str = "\
    insert into public.advisory_targets (advisory_id, version_id, producer_id) \
    select $1, id, null from unnest($2::text[]) as v(id) union all select $1, null, id from unnest($3::text[]) as p(id) \
    on conflict do nothing";

/// The producers that are meant, by identifier or key.
const PRODUCERS: &str = "\
    select named.id as named, p.producer_id from unnest($1::text[]) as named(id) \
    left join public.producers p on p.producer_id = named.id or p.identity_key = named.id";

#[derive(FromQueryResult)]
struct Meant {
    named: String,
    producer_id: Option<String>,
}

/// Their identifiers. An advisory about nobody would recall nothing, and nobody would notice.
async fn meant(tx: &Tx, producers: Vec<String>) -> Result<Vec<String>> {
    let found: Vec<Meant> = tx.all("advisories.producers", PRODUCERS, vec![producers.into()]).await?;
    let id = |meant: Meant| {
        let unknown = || Error::invalid(format!("no producer `{}` is registered", meant.named)).hint("producerIds");
        meant.producer_id.ok_or_else(unknown)
    };
    found.into_iter().map(id).collect()
}

/// Its targets go with it.
const WITHDRAW: &str = "delete from public.advisories where advisory_id = $1";

/// When it was issued, now or by an earlier try, and whether it was now.
pub(super) async fn issue(tx: &Tx, id: &str, issue: Issue, now: DateTime<Utc>) -> Result<(DateTime<Utc>, bool)> {
    let Issue { severity, reason, payload, expires_at, versions, producers } = issue;
    let producers = meant(tx, producers).await?;
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    let mut said: Vec<Value> =
        vec![id.into(), severity.as_str().into(), reason.into(), payload.into(), expires_at.into()];
    let new = [&said[..4], &[now.into(), expires_at.into()]].concat();
    if tx.execute("advisories.issue", ISSUE, new).await? > 0 {
        tx.execute("advisories.targets", TARGETS, vec![id.into(), versions.into(), producers.into()]).await?;
        return Ok((now, true));
    }
    said.extend([versions.into(), producers.into()]);
    let earlier: Vec<Earlier> = tx.all("advisories.same", SAME, said).await?;
    match earlier.first() {
        Some(Earlier { created_at, same: true }) => Ok((*created_at, false)),
        Some(_) => Err(Caller::reused()),
        None => Err(Error::internal("what is in the way is there")),
    }
}

/// The versions that it is about.
pub(super) async fn versions(tx: &Tx, id: &str) -> Result<Vec<VersionId>> {
    #[derive(FromQueryResult)]
    struct Target {
        version_id: String,
    }
    const SQL: &str = "select version_id from public.advisory_targets where advisory_id = $1 and version_id is not null \
        order by 1 limit 1000";
    let found: Vec<Target> = tx.all("advisories.versions", SQL, vec![id.into()]).await?;
    found.iter().map(|target| target.version_id.parse().map_err(Error::internal)).collect()
}

/// Whether there was one.
pub(super) async fn withdraw(tx: &Tx, id: &str) -> Result<bool> {
    Ok(tx.execute("advisories.withdraw", WITHDRAW, vec![id.into()]).await? > 0)
}
