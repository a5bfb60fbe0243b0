drop table public.lineage_dead_letters;
drop table public.lineage_edges;
drop table public.lineage_runs;
drop table public.lineage_datasets;
drop table public.lineage_jobs;
drop table public.lineage_event_audit;
