-- How far each source of a bulk import has come, so that an interrupted one resumes where it stopped. Written in the
-- transaction of the rows it counts. Nothing cached depends on it, hence no feed.
create table public.import_progress (
    source     text        primary key check (char_length(source) between 1 and 200),
    lines_done bigint      not null check (lines_done >= 0),
    rows_in    bigint      not null default 0 check (rows_in >= 0),
    rejected   bigint      not null default 0 check (rejected >= 0),
    finished   boolean     not null default false,
    updated_at timestamptz not null default now() check (public.is_instant(updated_at))
);
