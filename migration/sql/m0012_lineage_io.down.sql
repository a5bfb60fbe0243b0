drop table public.lineage_io;
