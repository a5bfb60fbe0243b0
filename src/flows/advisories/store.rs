//! The SQL that issues and withdraws advisories.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;

use super::Issue;
use crate::db::Tx;
use crate::error::{Error, Result};

const ISSUE: &str = "\
    insert into public.advisories (advisory_id, type, reason, payload, created_at, expires_at) \
    values ($1, $2, $3, $4, $5, $6)";

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

pub(super) async fn issue(tx: &Tx, id: &str, issue: Issue, now: DateTime<Utc>) -> Result<()> {
    let Issue { severity, reason, payload, expires_at, versions, producers } = issue;
    let values =
        vec![id.into(), severity.as_str().into(), reason.into(), payload.into(), now.into(), expires_at.into()];
    tx.execute("advisories.issue", ISSUE, values).await?;
    let producers = meant(tx, producers).await?;
    let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
    tx.execute("advisories.targets", TARGETS, vec![id.into(), versions.into(), producers.into()]).await?;
    Ok(())
}

/// Whether there was one.
pub(super) async fn withdraw(tx: &Tx, id: &str) -> Result<bool> {
    Ok(tx.execute("advisories.withdraw", WITHDRAW, vec![id.into()]).await? > 0)
}
