drop index public.lineage_dead_letters_latest;
drop table public.lineage_io;
