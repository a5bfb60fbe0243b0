-- The epoch again, but in the log: cache_epoch is UNLOGGED, so a standby cannot read it. Whoever begins an epoch copies the token
-- here, and a replica that shows it has replayed that copy, so its history is the primary's at least up to there. The timeline is the
-- primary's at that moment: a server that says it is on a later one went another way.
create table public.epoch_mark (
    "only"   boolean primary key default true check ("only"),
    token    text    not null,
    timeline integer not null
);
