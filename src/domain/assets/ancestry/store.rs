//! The ancestry's SQL.

use overlay_entity::ids::VersionId;
use sea_orm::FromQueryResult;

use super::{Ancestor, MAX_BYTES, MAX_NODES, Published, too_large};
use crate::db::Db;
use crate::domain::Document;
use crate::error::{Error, Result};

#[derive(FromQueryResult)]
struct NodeRow {
    id: String,
    depth: i32,
    parents: Vec<String>,
    producer_id: Option<String>,
    manifest_hash: Option<String>,
    manifest: Option<serde_json::Value>,
    is_heavy: bool,
}

/// A version is walked once for each depth it is found at, and no deeper than the limit, so cycles end. The walk stops at `$3`
/// steps: PostgreSQL makes no more of a recursive query than is taken from it.
const WALK: &str = "\
    with recursive walk(id, depth) as ( \
        select $1::text, 0 \
        union \
        select p.parent_version_id, w.depth + 1 \
        from walk w join public.asset_parents p on p.child_version_id = w.id where w.depth < $2), \
    step as materialized (select id, depth from walk limit $3), \
    node as materialized (select id, min(depth) as depth from step group by id limit $4), \
    found as (select node.id, node.depth, a.producer_id, a.manifest_hash, a.manifest, \
            sum(octet_length(a.manifest::text)) over () > $5 as is_heavy \
        from node left join public.assets a on a.version_id = node.id) \
    select id, depth, producer_id, manifest_hash, case when not is_heavy then manifest end as manifest, \
        coalesce(is_heavy, false) as is_heavy, \
        array(select p.parent_version_id from public.asset_parents p \
            where p.child_version_id = found.id order by p.parent_version_id) as parents \
    from found order by depth, id";

pub(super) async fn walk(db: &Db, target: VersionId, depth: u32) -> Result<Vec<Ancestor>> {
    let depth_limit = i32::try_from(depth).map_err(Error::internal)?;
    // Enough for every version at every depth it may be found at.
    let most = MAX_NODES as i64 + 1;
    let steps = most * (i64::from(depth) + 1);
    let values = vec![target.to_string().into(), depth_limit.into(), steps.into(), most.into(), MAX_BYTES.into()];
    let rows: Vec<NodeRow> = db.all("assets.walk", WALK, values).await?;
    if rows.len() > MAX_NODES || rows.first().is_some_and(|row| row.is_heavy) {
        return Err(too_large());
    }
    rows.into_iter().map(node).collect()
}

fn node(row: NodeRow) -> Result<Ancestor> {
    let id = |text: &String| text.parse::<VersionId>().map_err(Error::internal);
    let published = match (row.producer_id, row.manifest_hash, row.manifest) {
        (Some(producer_id), Some(manifest_hash), Some(manifest)) => {
            Some(Published { producer_id, manifest_hash, manifest: Document::new(&manifest)? })
        }
        _ => None,
    };
    Ok(Ancestor {
        version_id: id(&row.id)?,
        depth: u32::try_from(row.depth).map_err(Error::internal)?,
        parents: row.parents.iter().map(id).collect::<Result<_>>()?,
        published,
    })
}
