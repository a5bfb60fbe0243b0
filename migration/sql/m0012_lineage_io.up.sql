-- What each job reads and writes: also of one that only reads, or only writes, and so has no edge.
create table public.lineage_io (
    job_namespace     text        not null check (octet_length(job_namespace) between 1 and 512),
    job_name          text        not null check (octet_length(job_name) between 1 and 2048),
    dataset_namespace text        not null check (octet_length(dataset_namespace) between 1 and 512),
    dataset_name      text        not null check (octet_length(dataset_name) between 1 and 2048),
    is_output         boolean     not null,
    created_at        timestamptz not null default now() check (public.is_instant(created_at)),
    job_key           text        not null generated always as (public.lineage_key(job_namespace, job_name)) stored,
    dataset_key       text        not null generated always as (public.lineage_key(dataset_namespace, dataset_name)) stored,
    primary key (job_key, dataset_key, is_output)
);
create index lineage_io_by_dataset on public.lineage_io (dataset_key, job_key);

insert into public.lineage_io (job_namespace, job_name, dataset_namespace, dataset_name, is_output)
    select r.job_namespace, r.job_name, d ->> 'namespace', d ->> 'name', false
        from public.lineage_runs as r, jsonb_array_elements(r.inputs) as d
    union
    select r.job_namespace, r.job_name, d ->> 'namespace', d ->> 'name', true
        from public.lineage_runs as r, jsonb_array_elements(r.outputs) as d
    union
    select job_namespace, job_name, from_namespace, from_name, false from public.lineage_edges
    union
    select job_namespace, job_name, to_namespace, to_name, true from public.lineage_edges
on conflict do nothing;

-- What could not be understood is looked through, the last first.
create index lineage_dead_letters_latest on public.lineage_dead_letters (updated_at desc, payload_hash);
