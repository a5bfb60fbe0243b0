-- Nonces of signed requests that were accepted: each key may use each of its nonces once. In PostgreSQL, because a guarantee may not
-- end with Redis. No cached value depends on it, so it is not in the feed.
create table public.request_nonces (
    identity_key text        not null check (identity_key ~ '^0[23][0-9a-f]{64}$'),
    nonce        text        not null check (octet_length(nonce) between 1 and 200),
    used_at      timestamptz not null default now(),
    primary key (identity_key, nonce)
);
create index request_nonces_by_age on public.request_nonces (used_at);
