//! The ancestry's SQL.

use overlay_entity::ids::VersionId;
use sea_orm::FromQueryResult;

use super::{Ancestor, MAX_BYTES, MAX_EDGES, MAX_NODES, Published, altered, too_large};
use crate::db::Db;
use crate::domain::Document;
use crate::error::{Error, Result};

#[derive(FromQueryResult)]
struct NodeRow {
    position: i64,
    id: String,
    depth: i32,
    parents: Vec<String>,
    producer_id: Option<String>,
    manifest_hash: Option<String>,
    manifest: Option<serde_json::Value>,
    is_heavy: bool,
}

/// Each target is walked by itself. A version is walked once for each depth it is found at, and no deeper than the limit, so
/// cycles end. A walk stops at `$3` steps: PostgreSQL makes no more of a recursive query than is taken from it. No more than
/// `$4` versions of all targets together are taken, and nothing more of them when they have more than `$6` parents in all.
const WALK: &str = "\
    with node as materialized ( \
        select target.position, walked.id, walked.depth \
        from unnest($1::text[]) with ordinality as target(id, position) \
        cross join lateral ( \
            with recursive walk(id, depth) as ( \
                select target.id, 0 \
                union \
                select p.parent_version_id, w.depth + 1 \
                from walk w join public.asset_parents p on p.child_version_id = w.id where w.depth < $2), \
            step as materialized (select id, depth from walk limit $3) \
            select id, min(depth) as depth from step group by id limit $4) as walked \
        limit $4), \
    found as (select node.position, node.id, node.depth, a.producer_id, a.manifest_hash, a.manifest, \
            coalesce(sum(octet_length(a.manifest::text)) over () > $5, false) \
                or sum((select count(*) from public.asset_parents p where p.child_version_id = node.id)) over () > $6 as is_heavy \
        from node left join public.assets a on a.version_id = node.id) \
    select position, id, depth, producer_id, manifest_hash, case when not is_heavy then manifest end as manifest, \
        is_heavy, array(select p.parent_version_id from public.asset_parents p \
            where p.child_version_id = found.id and not is_heavy order by p.parent_version_id) as parents \
    from found order by position, depth, id";

pub(super) async fn walk(db: &Db, targets: &[VersionId], depth: u32) -> Result<Vec<Vec<Ancestor>>> {
    let depth_limit = i32::try_from(depth).map_err(Error::internal)?;
    // Enough for every version at every depth it may be found at.
    let most = MAX_NODES as i64 + 1;
    let steps = most * (i64::from(depth) + 1);
    let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
    let mut walked: Vec<Vec<Ancestor>> = std::iter::repeat_with(Vec::new).take(targets.len()).collect();
    let values =
        vec![targets.into(), depth_limit.into(), steps.into(), most.into(), MAX_BYTES.into(), MAX_EDGES.into()];
    let rows: Vec<NodeRow> = db.all("assets.walk", WALK, values).await?;
    if rows.len() > MAX_NODES || rows.first().is_some_and(|row| row.is_heavy) {
        return Err(too_large());
    }
    for row in rows {
        // Ordinality counts from one.
        let target = usize::try_from(row.position - 1).ok().and_then(|at| walked.get_mut(at));
        target.ok_or_else(|| Error::internal("a version of no target"))?.push(node(row)?);
    }
    Ok(walked)
}

fn node(row: NodeRow) -> Result<Ancestor> {
    let id = |text: &String| text.parse::<VersionId>().map_err(Error::internal);
    let (version_id, parents) = (id(&row.id)?, row.parents.iter().map(id).collect::<Result<Vec<_>>>()?);
    let published = match (row.producer_id, row.manifest_hash, row.manifest) {
        (Some(producer_id), Some(manifest_hash), Some(manifest)) => {
            let altered = altered(version_id, &manifest, &parents);
            Some(Published { producer_id, manifest_hash, manifest: Document::new(&manifest)?, altered })
        }
        _ => None,
    };
    Ok(Ancestor { version_id, depth: u32::try_from(row.depth).map_err(Error::internal)?, parents, published })
}
