//! The SQL that keeps events, and what follows from them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;
use serde_json::{Map, Value, json};

use super::Letter;
use crate::db::{Db, Tx};
use crate::domain::lineage::batch::{Batch, Facts, MAX_PAIRS, RunFacts};
use crate::domain::lineage::event::{About, Event, Named};
use crate::error::{Error, Result};

// Rows are locked in the order of their keys, and tables in that of these statements, so that two servers do not wait for
// each other.

const AUDIT: &str = "\
    insert into public.lineage_event_audit (event_hash, event_time, namespace, job_name, run_id, event_type, payload_json) \
    select hash, time, namespace, job, run, type, payload from jsonb_to_recordset($1) as e \
        (hash text, time timestamptz, namespace text, job text, run text, type text, payload jsonb) order by hash \
    on conflict (event_hash) do nothing returning event_hash";

/// Facets and their versions. Most events say nothing new of them, and to join them takes longer than the rest of a row.
macro_rules! joined_facets {
    () => {
        "facets = case when t.facet_versions @> excluded.facet_versions then t.facets \
            else public.lineage_facets(t.facets, t.facet_versions, excluded.facets, excluded.facet_versions) end, \
        facet_versions = case when t.facet_versions @> excluded.facet_versions then t.facet_versions \
            else public.lineage_versions(t.facet_versions, excluded.facet_versions) end, "
    };
}

/// Joins what comes, in the parameter, with the rows of a table of things that have facets.
macro_rules! described {
    ($table:literal, $parameter:literal) => {
        concat!(
            "insert into public.",
            $table,
            " as t (namespace, name, facets, facet_versions, latest_event_at) \
            select namespace, name, facets, facet_versions, latest_event_at from jsonb_to_recordset(",
            $parameter,
            ") as n (namespace text, name text, facets jsonb, facet_versions jsonb, latest_event_at timestamptz) \
            order by namespace collate \"C\", name collate \"C\" \
            on conflict (namespace, name) do update set ",
            joined_facets!(),
            "latest_event_at = greatest(t.latest_event_at, excluded.latest_event_at), updated_at = now() \
            where t.latest_event_at < excluded.latest_event_at or case when t.facet_versions @> excluded.facet_versions then false \
                else t.facet_versions <> public.lineage_versions(t.facet_versions, excluded.facet_versions) end"
        )
    };
}

/// What is there already is joined with what comes; of a row that says all of it already nothing is written.
const TELL: &str = concat!(
    "with jobs as (",
    described!("lineage_jobs", "$1"),
    "), datasets as (",
    described!("lineage_datasets", "$2"),
    "), runs as ( \
        insert into public.lineage_runs as t (run_id, job_namespace, job_name, state, state_version, started_at, ended_at, \
            inputs, outputs, facets, facet_versions, latest_event_at) \
        select run_id, namespace, name, state, state_version, started_at, ended_at, inputs, outputs, facets, facet_versions, \
            latest_event_at from jsonb_to_recordset($3) as n (run_id text, namespace text, name text, state text, \
            state_version text, started_at timestamptz, ended_at timestamptz, inputs jsonb, outputs jsonb, facets jsonb, \
            facet_versions jsonb, latest_event_at timestamptz) \
        order by run_id collate \"C\", namespace collate \"C\", name collate \"C\" \
        on conflict (run_id, job_key) do update set \
            state = case when excluded.state_version collate \"C\" > t.state_version collate \"C\" \
                then excluded.state else t.state end, \
            state_version = greatest(t.state_version collate \"C\", excluded.state_version collate \"C\"), \
            started_at = least(t.started_at, excluded.started_at), ended_at = greatest(t.ended_at, excluded.ended_at), \
            inputs = case when t.inputs @> excluded.inputs then t.inputs \
                else public.lineage_union(t.inputs, excluded.inputs) end, \
            outputs = case when t.outputs @> excluded.outputs then t.outputs \
                else public.lineage_union(t.outputs, excluded.outputs) end, ",
    joined_facets!(),
    "latest_event_at = greatest(t.latest_event_at, excluded.latest_event_at), updated_at = now() \
        returning job_namespace, job_name, inputs, outputs \
    ), io as ( \
        insert into public.lineage_io (job_namespace, job_name, dataset_namespace, dataset_name, is_output) \
        select i -> 'job' ->> 'namespace', i -> 'job' ->> 'name', i -> 'dataset' ->> 'namespace', i -> 'dataset' ->> 'name', \
            (i ->> 'is_output')::boolean from jsonb_array_elements($5) as i \
        order by 1, 2, 3, 4, 5 \
        on conflict (job_key, dataset_key, is_output) do nothing \
    ) \
    insert into public.lineage_edges (from_namespace, from_name, to_namespace, to_name, job_namespace, job_name) \
    select i ->> 'namespace', i ->> 'name', o ->> 'namespace', o ->> 'name', job_namespace, job_name \
        from runs, jsonb_array_elements(inputs) as i, jsonb_array_elements(outputs) as o \
        where i <> o and jsonb_array_length(inputs)::bigint * jsonb_array_length(outputs) <= $6 \
    union \
    select e -> 'from' ->> 'namespace', e -> 'from' ->> 'name', e -> 'to' ->> 'namespace', e -> 'to' ->> 'name', \
        e -> 'job' ->> 'namespace', e -> 'job' ->> 'name' from jsonb_array_elements($4) as e \
    order by 1, 2, 3, 4, 5, 6 \
    on conflict (from_key, to_key, job_key) do nothing"
);

const BURY: &str = "\
    insert into public.lineage_dead_letters as t (payload, payload_hash, errors, attempts) \
    select payload, hash, errors, 1 from jsonb_to_recordset($1) as l (payload text, hash text, errors jsonb) order by hash \
    on conflict (payload_hash) do update set errors = excluded.errors, attempts = t.attempts + 1, updated_at = now()";

#[derive(FromQueryResult)]
struct Hash {
    event_hash: String,
}

/// Writes the events down; answers the hashes of those that were not there.
pub(super) async fn audit(tx: &Tx, events: impl Iterator<Item = &Event>) -> Result<BTreeSet<String>> {
    let row = |event: &Event| {
        let (namespace, job, run) = match &event.about {
            About::Dataset(dataset) => (&dataset.named.namespace, None, None),
            About::Job { job, run, .. } => (&job.named.namespace, Some(&job.named.name), run.as_ref()),
        };
        json!({"hash": event.hash, "time": event.time, "namespace": namespace, "job": job,
            "run": run.map(|run| &run.run_id), "type": run.map(|run| run.state.as_str()), "payload": event.payload})
    };
    let rows: Vec<Value> = events.map(row).collect();
    let new: Vec<Hash> = tx.all("lineage.audit", AUDIT, vec![Value::Array(rows).into()]).await?;
    Ok(new.into_iter().map(|row| row.event_hash).collect())
}

/// Joins what a batch says with what is there.
pub(super) async fn tell(tx: &Tx, batch: &Batch) -> Result<()> {
    let Batch { jobs, datasets, runs, edges, io } = batch;
    if jobs.is_empty() && datasets.is_empty() {
        return Ok(());
    }
    let values = vec![
        facts(jobs)?.into(),
        facts(datasets)?.into(),
        run_facts(runs)?.into(),
        listed(edges)?.into(),
        listed(io)?.into(),
        i64::try_from(MAX_PAIRS).map_err(Error::internal)?.into(),
    ];
    tx.execute("lineage.tell", TELL, values).await?;
    Ok(())
}

/// Puts away what could not be understood.
pub(super) async fn bury(tx: &Tx, letters: Vec<Letter>) -> Result<()> {
    let unique: BTreeMap<String, Letter> = letters.into_iter().map(|letter| (letter.hash.clone(), letter)).collect();
    let row = |letter: Letter| json!({"payload": letter.payload, "hash": letter.hash, "errors": letter.errors});
    let rows: Vec<Value> = unique.into_values().map(row).collect();
    tx.execute("lineage.bury", BURY, vec![Value::Array(rows).into()]).await?;
    Ok(())
}

fn object<T: serde::Serialize>(facts: &T, named: &Named) -> Result<Map<String, Value>> {
    let Value::Object(mut row) = serde_json::to_value(facts).map_err(Error::internal)? else {
        return Err(Error::internal("facts are an object"));
    };
    row.insert("namespace".into(), named.namespace.as_str().into());
    row.insert("name".into(), named.name.as_str().into());
    Ok(row)
}

fn facts(all: &BTreeMap<Named, Facts>) -> Result<Value> {
    all.iter().map(|(named, facts)| object(facts, named).map(Value::Object)).collect()
}

fn run_facts(all: &BTreeMap<(String, Named), RunFacts>) -> Result<Value> {
    let row = |((run_id, job), facts): (&(String, Named), &RunFacts)| {
        let mut row = object(facts, job)?;
        row.insert("run_id".into(), run_id.as_str().into());
        Ok(Value::Object(row))
    };
    all.iter().map(row).collect()
}

fn listed(all: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(all).map_err(Error::internal)
}

/// Throws a dead letter away.
pub(super) async fn unbury(tx: &Tx, payload_hash: &str) -> Result<()> {
    const SQL: &str = "delete from public.lineage_dead_letters where payload_hash = $1";
    tx.execute("lineage.unbury", SQL, vec![payload_hash.into()]).await?;
    Ok(())
}

/// Whether there is an event or a dead letter from before.
pub(super) async fn has_older(db: &Db, time: DateTime<Utc>) -> Result<bool> {
    const SQL: &str = "select from public.lineage_event_audit where created_at < $1 \
        union all select from public.lineage_dead_letters where updated_at < $1";
    db.is_there("lineage.has_older", SQL, vec![time.into()]).await
}

/// Takes some of them away; answers how many.
pub(super) async fn forget(tx: &Tx, time: DateTime<Utc>, most: i64) -> Result<u64> {
    let mut count = 0;
    for sql in [
        "delete from public.lineage_event_audit where ctid = any(array(select ctid from public.lineage_event_audit \
            where created_at < $1 limit $2 for update skip locked))",
        "delete from public.lineage_dead_letters where ctid = any(array(select ctid from public.lineage_dead_letters \
            where updated_at < $1 limit $2 for update skip locked))",
    ] {
        count += tx.execute("lineage.forget", sql, vec![time.into(), most.into()]).await?;
    }
    Ok(count)
}
