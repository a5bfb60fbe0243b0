-- Lengths are in bytes here, because namespace and name together are keys (an index entry holds 2,704 bytes) and real
-- job names run long.
--
-- Events arrive in any order, more than once, and each carries only some facets. facet_versions makes their merge
-- converge: for each facet kept it holds the event it came from, as text that sorts like history
-- ('<event time, UTC, microseconds> <event hash>'), and the greater one wins.

-- job_name, run_id and event_type are null where an event has none: a DatasetEvent has neither job nor run, and is
-- filed under its dataset's namespace.
create table public.lineage_event_audit (
    event_hash   text        primary key check (event_hash ~ '^[0-9a-f]{64}$'),
    event_time   timestamptz not null check (public.is_instant(event_time)),
    namespace    text        not null check (octet_length(namespace) between 1 and 512),
    job_name     text        check (octet_length(job_name) between 1 and 2048),
    run_id       text        check (octet_length(run_id) between 1 and 200),
    event_type   text        check (event_type in ('START', 'RUNNING', 'COMPLETE', 'ABORT', 'FAIL', 'OTHER')),
    payload_json jsonb       not null check (jsonb_typeof(payload_json) = 'object'),
    created_at   timestamptz not null default now() check (public.is_instant(created_at))
);
create index lineage_event_audit_by_time on public.lineage_event_audit (event_time desc, event_hash);
create index lineage_event_audit_by_job on public.lineage_event_audit (namespace, job_name, event_time desc);
create index lineage_event_audit_by_run on public.lineage_event_audit (run_id, event_time);

create table public.lineage_jobs (
    namespace       text        not null check (octet_length(namespace) between 1 and 512),
    name            text        not null check (octet_length(name) between 1 and 2048),
    facets          jsonb       not null default '{}' check (jsonb_typeof(facets) = 'object'),
    facet_versions  jsonb       not null default '{}' check (jsonb_typeof(facet_versions) = 'object'),
    latest_event_at timestamptz not null check (public.is_instant(latest_event_at)),
    created_at      timestamptz not null default now() check (public.is_instant(created_at)),
    updated_at      timestamptz not null default now() check (public.is_instant(updated_at)),
    primary key (namespace, name)
);
create index lineage_jobs_name_trgm on public.lineage_jobs using gin (name public.gin_trgm_ops);

create table public.lineage_datasets (
    namespace       text        not null check (octet_length(namespace) between 1 and 512),
    name            text        not null check (octet_length(name) between 1 and 2048),
    facets          jsonb       not null default '{}' check (jsonb_typeof(facets) = 'object'),
    facet_versions  jsonb       not null default '{}' check (jsonb_typeof(facet_versions) = 'object'),
    latest_event_at timestamptz not null check (public.is_instant(latest_event_at)),
    created_at      timestamptz not null default now() check (public.is_instant(created_at)),
    updated_at      timestamptz not null default now() check (public.is_instant(updated_at)),
    primary key (namespace, name)
);
create index lineage_datasets_name_trgm on public.lineage_datasets using gin (name public.gin_trgm_ops);

-- run_id is text: the specification wants a UUID, real clients send others. A START often names only inputs and the
-- COMPLETE only outputs, so the run gathers both; its edges are the product of the two sets.
create table public.lineage_runs (
    run_id          text        primary key check (octet_length(run_id) between 1 and 200),
    job_namespace   text        not null check (octet_length(job_namespace) between 1 and 512),
    job_name        text        not null check (octet_length(job_name) between 1 and 2048),
    state           text        not null
                                check (state in ('START', 'RUNNING', 'COMPLETE', 'ABORT', 'FAIL', 'OTHER')),
    started_at      timestamptz check (public.is_instant(started_at)),
    ended_at        timestamptz check (public.is_instant(ended_at)),
    inputs          jsonb       not null default '[]' check (jsonb_typeof(inputs) = 'array'),
    outputs         jsonb       not null default '[]' check (jsonb_typeof(outputs) = 'array'),
    facets          jsonb       not null default '{}' check (jsonb_typeof(facets) = 'object'),
    facet_versions  jsonb       not null default '{}' check (jsonb_typeof(facet_versions) = 'object'),
    latest_event_at timestamptz not null check (public.is_instant(latest_event_at)),
    created_at      timestamptz not null default now() check (public.is_instant(created_at)),
    updated_at      timestamptz not null default now() check (public.is_instant(updated_at))
);
create index lineage_runs_by_job on public.lineage_runs (job_namespace, job_name, latest_event_at desc);

-- The names of one edge can be too long for an index entry together, so their hash is the key. quote_literal keeps
-- the parts apart whatever they contain. run_id is null for an edge that a JobEvent states for no run in particular.
create table public.lineage_edges (
    edge_key       bytea       primary key generated always as (sha256((
        quote_literal(from_namespace) || ',' || quote_literal(from_name) || ','
        || quote_literal(to_namespace) || ',' || quote_literal(to_name) || ','
        || quote_literal(job_namespace) || ',' || quote_literal(job_name) || ','
        || coalesce(quote_literal(run_id), 'null')
    )::bytea)) stored,
    from_namespace text        not null check (octet_length(from_namespace) between 1 and 512),
    from_name      text        not null check (octet_length(from_name) between 1 and 2048),
    to_namespace   text        not null check (octet_length(to_namespace) between 1 and 512),
    to_name        text        not null check (octet_length(to_name) between 1 and 2048),
    job_namespace  text        not null check (octet_length(job_namespace) between 1 and 512),
    job_name       text        not null check (octet_length(job_name) between 1 and 2048),
    run_id         text        check (octet_length(run_id) between 1 and 200),
    created_at     timestamptz not null default now() check (public.is_instant(created_at))
);
create index lineage_edges_down on public.lineage_edges (from_namespace, from_name);
create index lineage_edges_up on public.lineage_edges (to_namespace, to_name);
create index lineage_edges_by_job on public.lineage_edges (job_namespace, job_name);
create index lineage_edges_by_run on public.lineage_edges (run_id);

-- payload is text: what jsonb refuses (broken JSON, \u0000 in a string) must be kept too. next_try_at is null when
-- trying again cannot help.
create table public.lineage_dead_letters (
    id          bigserial   primary key,
    payload     text        not null,
    errors      jsonb       not null check (jsonb_typeof(errors) = 'array'),
    attempts    integer     not null default 0 check (attempts >= 0),
    next_try_at timestamptz check (public.is_instant(next_try_at)),
    created_at  timestamptz not null default now() check (public.is_instant(created_at))
);
create index lineage_dead_letters_due
    on public.lineage_dead_letters (next_try_at) where next_try_at is not null;
