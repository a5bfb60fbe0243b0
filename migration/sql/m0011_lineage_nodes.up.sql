-- What an edge or a run is named by, short enough for every index however long its names are: the first 16 bytes, as hex,
-- of the SHA-256 over '<bytes of the namespace>:<namespace><name>'. Backslashes are doubled because the cast to bytea reads
-- them as escapes.
create function public.lineage_key(namespace text, name text) returns text
    language sql immutable strict parallel safe as $$
    select pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(pg_catalog.replace(
        pg_catalog.octet_length(namespace)::text || ':' || namespace || name, E'\\', E'\\\\')::bytea), 1, 16), 'hex')
$$;

-- The greater version of each facet, and the facets that belong to them: one that was deleted has a version and no facet.
create function public.lineage_versions(a jsonb, b jsonb) returns jsonb
    language sql immutable strict parallel safe as $$
    select coalesce(pg_catalog.jsonb_object_agg(v.key, v.value), '{}') from (
        select key, max(value collate "C") as value
        from (select * from pg_catalog.jsonb_each_text(a) union all select * from pg_catalog.jsonb_each_text(b)) as both_of
        group by key
    ) as v
$$;
create function public.lineage_facets(fa jsonb, va jsonb, fb jsonb, vb jsonb) returns jsonb
    language sql immutable strict parallel safe as $$
    select coalesce(pg_catalog.jsonb_object_agg(m.key, m.facet), '{}') from (
        select key, case when y.value is null or x.value collate "C" >= y.value collate "C" then fa -> key else fb -> key end as facet
        from pg_catalog.jsonb_each_text(va) as x full join pg_catalog.jsonb_each_text(vb) as y using (key)
    ) as m where m.facet is not null
$$;

-- Two lists of datasets as one, sorted, without repetition.
create function public.lineage_union(a jsonb, b jsonb) returns jsonb
    language sql immutable strict parallel safe as $$
    select coalesce(pg_catalog.jsonb_agg(d.item order by d.item ->> 'namespace' collate "C", d.item ->> 'name' collate "C"), '[]')
    from (select pg_catalog.jsonb_array_elements(a) as item union select pg_catalog.jsonb_array_elements(b)) as d
$$;

alter table public.lineage_jobs
    add column job_key text not null generated always as (public.lineage_key(namespace, name)) stored;
create unique index lineage_jobs_key on public.lineage_jobs (job_key);
alter table public.lineage_datasets
    add column dataset_key text not null generated always as (public.lineage_key(namespace, name)) stored;
create unique index lineage_datasets_key on public.lineage_datasets (dataset_key);

-- Clients reuse the id of a run for another job, so a run is one of its job. state_version says which event the state comes
-- from, as text that sorts by what counts: '<2 for an end, 1 for a beginning, 0 for OTHER> <event time> <state> <event hash>'.
alter table public.lineage_runs
    drop constraint lineage_runs_pkey,
    add column job_key text not null generated always as (public.lineage_key(job_namespace, job_name)) stored,
    add column state_version text not null default '' check (octet_length(state_version) <= 200),
    add constraint lineage_runs_pkey primary key (run_id, job_key);

-- An edge is one of its job however often that runs: what is said again changes nothing, and no reader hears of it. Which
-- runs there were is in lineage_runs, with all they read and wrote.
drop index public.lineage_edges_down, public.lineage_edges_up, public.lineage_edges_by_job, public.lineage_edges_by_run;
alter table public.lineage_edges
    drop constraint lineage_edges_pkey,
    drop column edge_key;
delete from public.lineage_edges as e using public.lineage_edges as other
    where other.ctid < e.ctid
    and (other.from_namespace, other.from_name, other.to_namespace, other.to_name, other.job_namespace, other.job_name)
        = (e.from_namespace, e.from_name, e.to_namespace, e.to_name, e.job_namespace, e.job_name);
alter table public.lineage_edges
    drop column run_id,
    add column from_key text not null generated always as (public.lineage_key(from_namespace, from_name)) stored,
    add column to_key   text not null generated always as (public.lineage_key(to_namespace, to_name)) stored,
    add column job_key  text not null generated always as (public.lineage_key(job_namespace, job_name)) stored,
    add constraint lineage_edges_pkey primary key (from_key, to_key, job_key);
create index lineage_edges_up on public.lineage_edges (to_key, from_key);
create index lineage_edges_by_job on public.lineage_edges (job_key);

-- Events come about in the order of their time, so a range of them is found without an index as large as the table: that is
-- what ends an audit's keeping.
create index lineage_event_audit_by_age on public.lineage_event_audit using brin (created_at);

-- What is refused again is the same letter.
alter table public.lineage_dead_letters
    add column payload_hash text check (payload_hash ~ '^[0-9a-f]{64}$'),
    add column updated_at timestamptz not null default now() check (public.is_instant(updated_at));
create unique index lineage_dead_letters_payload on public.lineage_dead_letters (payload_hash);
