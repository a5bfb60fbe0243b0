drop table public.bundle_audit;
drop table public.block_headers;
drop table public.declarations;
drop table public.asset_parents;
drop table public.assets;
drop table public.producers;
