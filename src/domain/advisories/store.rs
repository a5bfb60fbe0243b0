//! The advisories' SQL.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;

use super::{Advisory, ByTarget, Severity, Target};
use crate::db::Db;
use crate::domain::Document;
use crate::error::{Error, Result};

#[derive(FromQueryResult)]
struct TargetRow {
    version_id: Option<String>,
    producer_id: Option<String>,
    advisory_id: String,
    severity: String,
    reason: String,
    payload: Option<serde_json::Value>,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
}

impl TargetRow {
    fn advisory(self) -> Result<Advisory> {
        Ok(Advisory {
            advisory_id: self.advisory_id,
            severity: if self.severity == "BLOCK" { Severity::Block } else { Severity::Warn },
            reason: self.reason,
            payload: self.payload.as_ref().map(Document::new).transpose()?,
            created_at: self.created_at,
            expires_at: self.expires_at,
        })
    }
}

/// What has not expired about versions and producers. A target has at most a thousand that are told.
const ABOUT: &str = "\
    select t.version_id, t.producer_id, a.advisory_id, a.type as severity, a.reason, a.payload, a.created_at, a.expires_at \
    from ( \
        select v.id as version_id, null as producer_id, t.advisory_id from unnest($1::text[]) as v(id) \
            cross join lateral (select advisory_id from public.advisory_targets where version_id = v.id limit 1000) as t \
        union all \
        select null, p.id, t.advisory_id from unnest($2::text[]) as p(id) \
            cross join lateral (select advisory_id from public.advisory_targets where producer_id = p.id limit 1000) as t \
    ) as t join public.advisories a on a.advisory_id = t.advisory_id \
    where a.expires_at is null or a.expires_at > now() \
    order by a.created_at, a.advisory_id";

const BY_ID: &str = "\
    select null as version_id, null as producer_id, advisory_id, type as severity, reason, payload, created_at, expires_at \
    from public.advisories where advisory_id = any($1::text[])";

pub(super) async fn by_id(db: &Db, ids: Vec<String>) -> Result<HashMap<String, Advisory>> {
    let rows: Vec<TargetRow> = db.all("advisories.by_id", BY_ID, vec![ids.into()]).await?;
    rows.into_iter().map(|row| Ok((row.advisory_id.clone(), row.advisory()?))).collect()
}

pub(super) async fn about(db: &Db, targets: &[Target]) -> Result<ByTarget> {
    let (mut versions, mut producers) = (Vec::new(), Vec::new());
    for target in targets {
        match target {
            Target::Version(id) => versions.push(id.to_string()),
            Target::Producer(id) => producers.push(id.clone()),
        }
    }
    let rows: Vec<TargetRow> = db.all("advisories.about", ABOUT, vec![versions.into(), producers.into()]).await?;
    let mut found = ByTarget::new();
    for row in rows {
        let target = match (&row.version_id, &row.producer_id) {
            (Some(id), _) => Target::Version(id.parse().map_err(Error::internal)?),
            (None, Some(id)) => Target::Producer(id.clone()),
            (None, None) => return Err(Error::internal("an advisory about nothing")),
        };
        found.entry(target).or_default().0.push(row.advisory()?);
    }
    Ok(found)
}
