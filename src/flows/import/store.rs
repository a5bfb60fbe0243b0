//! The import's SQL: arrays of columns, one statement a table and batch.

use std::collections::HashSet;

use sea_orm::{FromQueryResult, Value};

use super::{Catalogue, Checked};
use crate::db::{Db, Tx};
use crate::domain::producers;
use crate::error::{Error, Result};
use crate::flows::lineage::own;

const PROGRESS: &str = "select lines_done, rows_in, rejected, finished from public.import_progress where source = $1";

const NOTE: &str = "insert into public.import_progress (source, lines_done, rows_in, rejected, finished) \
    values ($1, $2, $3, $4, $5) on conflict (source) do update set lines_done = excluded.lines_done, \
    rows_in = import_progress.rows_in + excluded.rows_in, rejected = import_progress.rejected + excluded.rejected, \
    finished = excluded.finished, updated_at = now()";

/// A producer is registered when its key is first met; what it says of itself later is its own to change. One that is
/// registered under another identifier keeps it.
const PRODUCERS: &str = "insert into public.producers (producer_id, identity_key, display_name, website) \
    select id, key, name, nullif(website, '') from unnest($1::text[], $2::text[], $3::text[], $4::text[]) \
        as t(id, key, name, website) on conflict do nothing";

/// A version whose producer cannot be found (its key was changed by hand) violates the table and is refused, not left out.
const ASSETS: &str = "with new as (select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], \
        $6::text[], $7::text[], $8::bigint[], $9::text[], $10::text[], $11::text[]) as t(version_id, dataset_id, \
        identity_key, name, description, content_hash, mime_type, size_bytes, policy_meta, manifest, created_at)) \
    insert into public.assets (version_id, dataset_id, producer_id, name, description, content_hash, mime_type, size_bytes, \
        policy_meta, manifest, manifest_hash, created_at) \
    select n.version_id, n.dataset_id, p.producer_id, n.name, n.description, n.content_hash, nullif(n.mime_type, ''), \
        nullif(n.size_bytes, -1), n.policy_meta::jsonb, n.manifest::jsonb, n.version_id, n.created_at::timestamptz \
    from new n left join public.producers p on p.identity_key = n.identity_key \
    on conflict (version_id) do nothing";

const PARENTS: &str = "insert into public.asset_parents (child_version_id, parent_version_id) \
    select * from unnest($1::text[], $2::text[]) on conflict do nothing";

/// Checked lines as columns. Arrays of optional values have no form in the driver: an absent text is an empty one, an
/// absent size is -1; the statements turn them back.
#[derive(Default)]
pub(super) struct Rows {
    /// identifier, key, name, web site
    producers: [Vec<String>; 4],
    /// version, dataset, key, name, description, content hash, media type
    texts: [Vec<String>; 7],
    sizes: Vec<i64>,
    /// policy, manifest, time of creation
    documents: [Vec<String>; 3],
    children: Vec<String>,
    parents: Vec<String>,
}

impl Rows {
    pub(super) fn of<'c>(checked: impl IntoIterator<Item = &'c Checked>) -> Self {
        let mut rows = Self::default();
        let (mut keys, mut versions) = (HashSet::new(), HashSet::new());
        for Checked { published: p, manifest, .. } in checked {
            // A statement cannot insert one row twice, and a file may hold a line twice.
            if !versions.insert(p.version_id) {
                continue;
            }
            let key = &p.producer.identity_key;
            if keys.insert(key) {
                let website = p.producer.website.clone().unwrap_or_default();
                push(&mut rows.producers, [producers::id_of_key(key), key.clone(), p.producer.name.clone(), website]);
            }
            let (id, media) = (p.version_id.to_string(), p.mime_type.clone().unwrap_or_default());
            let texts = [&id, &p.dataset_id, key, &p.name, &p.description, &p.content_hash, &media];
            push(&mut rows.texts, texts.map(String::clone));
            rows.sizes.push(p.size_bytes.unwrap_or(-1));
            push(&mut rows.documents, [p.policy_meta.to_string(), manifest.to_string(), p.created_at.to_rfc3339()]);
            for parent in &p.parents {
                rows.children.push(id.clone());
                rows.parents.push(parent.to_string());
            }
        }
        rows
    }
}

fn push<const N: usize>(columns: &mut [Vec<String>; N], row: [String; N]) {
    columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
}

/// How far the import has come once a batch is applied.
pub(super) struct Note {
    source: Option<String>,
    lines: u64,
    /// Refused since the note before.
    rejected: u64,
    /// Whether the input has ended.
    finished: bool,
}

/// Whether a note is an import's last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    NotYet,
    Reached,
}

impl Note {
    /// `lines` were read so far, of which `rejected` were refused since the note before.
    pub(super) fn of(source: Option<&str>, lines: u64, rejected: u64, end: End) -> Self {
        Self { source: source.map(str::to_owned), lines, rejected, finished: end == End::Reached }
    }

    /// No note at all.
    pub(super) fn none() -> Self {
        Self::of(None, 0, 0, End::NotYet)
    }
}

/// How far an import came before.
#[derive(Default)]
pub(super) struct Before {
    /// Lines, or rows, dealt with.
    pub(super) lines: u64,
    pub(super) added: u64,
    pub(super) rejected: u64,
    pub(super) finished: bool,
}

pub(super) async fn progress(db: &Db, source: &str) -> Result<Before> {
    #[derive(FromQueryResult)]
    struct Done {
        lines_done: i64,
        rows_in: i64,
        rejected: i64,
        finished: bool,
    }
    let row: Option<Done> = db.one("import.progress", PROGRESS, vec![source.into()]).await?;
    let before = |Done { lines_done, rows_in, rejected, finished }: Done| Before {
        lines: lines_done.unsigned_abs(),
        added: rows_in.unsigned_abs(),
        rejected: rejected.unsigned_abs(),
        finished,
    };
    Ok(row.map_or_else(Before::default, before))
}

pub(super) async fn forget(db: &Db, source: &str) -> Result<()> {
    let source = source.to_owned();
    const SQL: &str = "delete from public.import_progress where source = $1";
    db.transact("import.forget", |tx| {
        Box::pin(async move { tx.execute("import.forget", SQL, vec![source.into()]).await })
    })
    .await?;
    Ok(())
}

/// Inserts what is not there yet; answers how many versions are new.
pub(super) async fn insert(tx: &Tx, rows: Rows) -> Result<u64> {
    let producers = rows.producers.into_iter().map(Value::from).collect();
    tx.execute("import.producers", PRODUCERS, producers).await?;
    let mut assets: Vec<Value> = rows.texts.into_iter().map(Value::from).collect();
    assets.push(rows.sizes.into());
    assets.extend(rows.documents.into_iter().map(Value::from));
    let added = tx.execute("import.assets", ASSETS, assets).await?;
    tx.execute("import.parents", PARENTS, vec![rows.children.into(), rows.parents.into()]).await?;
    Ok(added)
}

/// Notes how far an import has come, with `added` rows more.
pub(super) async fn note(tx: &Tx, note: Note, added: u64) -> Result<()> {
    let Some(source) = note.source else { return Ok(()) };
    let count = |n: u64| i64::try_from(n).map_err(Error::internal);
    let (lines, rejected) = (count(note.lines)?, count(note.rejected)?);
    let values = vec![source.into(), lines.into(), count(added)?.into(), rejected.into(), note.finished.into()];
    tx.execute("import.note", NOTE, values).await?;
    Ok(())
}

/// Applies a batch and its note in one transaction, and tells lineage of it; answers how many versions are new.
pub(super) async fn apply(into: Catalogue<'_>, batch: &[Checked], note: Note) -> Result<u64> {
    let rows = Rows::of(batch);
    let events = batch.iter().flat_map(|checked| own::published(into.namespace, &checked.published)).collect();
    let (added, _) = into
        .db
        .transact("import.batch", |tx| {
            Box::pin(async move {
                let added = if rows.sizes.is_empty() { 0 } else { insert(tx, rows).await? };
                own::tell(tx, events).await?;
                self::note(tx, note, added).await?;
                Ok(added)
            })
        })
        .await?;
    Ok(added)
}

/// Brings the planner's statistics and the full-text index's pending list up to date.
pub(super) async fn analyze(db: &Db) -> Result<()> {
    db.maintain("import.analyze", "vacuum (analyze) public.assets").await?;
    db.maintain("import.analyze", "vacuum (analyze) public.asset_parents").await?;
    db.maintain("import.analyze", "analyze public.producers").await?;
    db.maintain("import.analyze", "analyze public.lineage_datasets").await?;
    db.maintain("import.analyze", "analyze public.lineage_edges").await
}
