-- Trigram indexes carry `contains` filters and the tolerant half of the search.
create extension if not exists pg_trgm with schema public;

-- The one feed of all changes: a row per statement that changed something, written by the triggers of m0005.
--
-- UNLOGGED on purpose, as is cache_epoch. After a crash PostgreSQL reuses transaction ids that never reached its
-- log, so a surviving feed would speak of ids that now mean other transactions. Crash recovery, promotion and the
-- restore of a base backup empty exactly the unlogged tables: feed and epoch are lost together, whoever finds the
-- epoch missing puts a new one, and every value cached before is a miss. It also keeps the feed out of the WAL.
--
-- xid is the top-level transaction's, also inside a savepoint: it is what snapshots are compared with.
create unlogged table public.change_log (
    xid  xid8   not null default pg_current_xact_id(),
    tags text[] not null check (cardinality(tags) >= 1)
) with (
    -- Rows live for the retention time and die in bulk. Vacuum by their number and without pauses, so that the poll's
    -- index stays small; vacuuming after inserts alone would only freeze rows that are about to go.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_threshold = -1
);
create index change_log_xid on public.change_log (xid);

-- One row or none. Left empty here: an epoch begins when a server finds no token and puts one.
create unlogged table public.cache_epoch (
    "only"       boolean primary key default true check ("only"),
    token        uuid    not null default gen_random_uuid(),
    pruned_below xid8    not null default '0'
);

-- A time that every client can hold: not `infinity`, nor a year of five digits, which JSON's formats and the drivers cannot
-- write. One row with such a time would fail every page it is on.
create function public.is_instant(t timestamptz) returns boolean language sql immutable parallel safe as $$
    select t >= timestamptz '0001-01-01 00:00:00+00' and t < timestamptz '10000-01-01 00:00:00+00'
$$;
