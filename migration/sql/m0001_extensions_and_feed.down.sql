drop function public.is_instant(timestamptz);
drop table public.cache_epoch;
drop table public.change_log;
-- pg_trgm stays: it may have been here before us, and others may use it.
