-- Ids are limited in bytes, names in characters: an index entry holds at most 2,704 bytes, and a value that fits its
-- column must fit its indexes too.

create table public.producers (
    producer_id       text        primary key check (octet_length(producer_id) between 1 and 200),
    identity_key      text        not null unique check (identity_key ~ '^0[23][0-9a-f]{64}$'),
    display_name      text        not null default '' check (char_length(display_name) <= 500),
    website           text        check (char_length(website) between 1 and 2000),
    payout_script_hex text        check (payout_script_hex ~ '^([0-9a-f]{2})+$'
                                         and octet_length(payout_script_hex) <= 20000),
    created_at        timestamptz not null default now() check (public.is_instant(created_at))
);
create index producers_by_name on public.producers (display_name, producer_id);
create index producers_by_age on public.producers (created_at, producer_id);

create table public.assets (
    version_id    text        primary key check (version_id ~ '^[0-9a-f]{64}$'),
    dataset_id    text        not null check (char_length(dataset_id) between 1 and 500),
    producer_id   text        not null references public.producers,
    name          text        not null check (char_length(name) <= 500),
    description   text        not null default '' check (char_length(description) <= 20000),
    content_hash  text        not null check (content_hash ~ '^[0-9a-f]{64}$'),
    mime_type     text        check (char_length(mime_type) between 1 and 200),
    size_bytes    bigint      check (size_bytes >= 0),
    policy_meta   jsonb       not null default '{}' check (jsonb_typeof(policy_meta) = 'object'),
    manifest_hash text        not null check (manifest_hash ~ '^[0-9a-f]{64}$'),
    manifest      jsonb       not null check (jsonb_typeof(manifest) = 'object'),
    created_at    timestamptz not null default now() check (public.is_instant(created_at)),
    updated_at    timestamptz not null default now() check (public.is_instant(updated_at)),
    -- Names stay as they are spelled, prose is stemmed, tags weigh least. Configurations are named, because an
    -- expression that depends on a session's default_text_search_config is not immutable.
    search        tsvector    generated always as (
        setweight(to_tsvector('pg_catalog.simple'::regconfig, name), 'A')
        || setweight(to_tsvector('pg_catalog.english'::regconfig, description), 'B')
        || setweight(jsonb_to_tsvector('pg_catalog.simple'::regconfig,
                                       coalesce(policy_meta -> 'tags', '[]'), '["string"]'), 'C')
    ) stored,
    -- Both are indexed below.
    constraint assets_classification_check check (char_length(policy_meta ->> 'classification') <= 200),
    constraint assets_license_check check (char_length(policy_meta ->> 'license') <= 500)
);
create index assets_by_update on public.assets (updated_at desc, version_id);
create index assets_by_age on public.assets (created_at desc, version_id);
create index assets_by_name on public.assets (name, version_id);
create index assets_by_dataset on public.assets (dataset_id, updated_at desc, version_id);
create index assets_by_producer on public.assets (producer_id, updated_at desc, version_id);
create index assets_by_producer_name on public.assets (producer_id, name, version_id);
create index assets_by_classification
    on public.assets ((policy_meta ->> 'classification'), updated_at desc, version_id);
create index assets_by_license on public.assets ((policy_meta ->> 'license'), updated_at desc, version_id);
create index assets_name_trgm on public.assets using gin (name public.gin_trgm_ops);
create index assets_description_trgm on public.assets using gin (description public.gin_trgm_ops);
create index assets_search on public.assets using gin (search);

-- No foreign key on the parent: a version may name one that is not published yet.
create table public.asset_parents (
    child_version_id  text not null references public.assets on delete cascade,
    parent_version_id text not null check (parent_version_id ~ '^[0-9a-f]{64}$'),
    primary key (child_version_id, parent_version_id)
);
create index asset_parents_by_parent on public.asset_parents (parent_version_id, child_version_id);

-- The block is not a foreign key: an envelope may name a block we have not heard of, or one that left the chain.
create table public.declarations (
    version_id   text        primary key references public.assets on delete cascade,
    txid         text        not null unique check (txid ~ '^[0-9a-f]{64}$'),
    vout         integer     not null default 0 check (vout >= 0),
    kind         text        not null default 'UNKNOWN' check (kind in ('DLM1', 'TRN1', 'UNKNOWN')),
    raw_tx       text        check (raw_tx ~ '^([0-9a-f]{2})+$'),
    envelope     jsonb       check (jsonb_typeof(envelope) = 'object'),
    block_hash   text        check (block_hash ~ '^[0-9a-f]{64}$'),
    block_height integer     check (block_height >= 0),
    created_at   timestamptz not null default now() check (public.is_instant(created_at)),
    updated_at   timestamptz not null default now() check (public.is_instant(updated_at))
);
create index declarations_by_block on public.declarations (block_hash);
create index declarations_by_height on public.declarations (block_height);

create table public.block_headers (
    hash          text        primary key check (hash ~ '^[0-9a-f]{64}$'),
    height        integer     not null check (height >= 0),
    prev_hash     text        not null check (prev_hash ~ '^[0-9a-f]{64}$'),
    merkle_root   text        not null check (merkle_root ~ '^[0-9a-f]{64}$'),
    raw           bytea       check (octet_length(raw) = 80),
    on_best_chain boolean     not null default false,
    received_at   timestamptz not null default now() check (public.is_instant(received_at))
);
-- Checked row by row: a reorg first takes the old branch off the chain, then puts the new one on.
create unique index block_headers_best_chain on public.block_headers (height) where on_best_chain;
create index block_headers_by_prev on public.block_headers (prev_hash);

-- A version can be verified in two blocks when a reorg moves its transaction: one fact for each.
create table public.bundle_audit (
    version_id   text        not null references public.assets on delete cascade,
    block_hash   text        not null check (block_hash ~ '^[0-9a-f]{64}$'),
    block_height integer     not null check (block_height >= 0),
    verified_at  timestamptz not null default now() check (public.is_instant(verified_at)),
    reorged      boolean     not null default false,
    primary key (version_id, block_hash)
);
create index bundle_audit_by_block on public.bundle_audit (block_hash);
