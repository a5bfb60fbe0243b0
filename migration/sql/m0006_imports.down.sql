drop table public.import_progress;
