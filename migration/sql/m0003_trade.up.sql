create table public.policies (
    policy_id  text        primary key check (octet_length(policy_id) between 1 and 200),
    name       text        not null check (char_length(name) between 1 and 500),
    enabled    boolean     not null default true,
    doc        jsonb       not null default '{}' check (jsonb_typeof(doc) = 'object'),
    created_at timestamptz not null default now() check (public.is_instant(created_at)),
    updated_at timestamptz not null default now() check (public.is_instant(updated_at))
);
create index policies_by_name on public.policies (name, policy_id);

-- No foreign keys: the audit outlives the policy it speaks of, and an unknown version is evaluated too.
-- policy_id is null when the policy came with the request.
create table public.policy_runs (
    run_id       text        primary key check (octet_length(run_id) between 1 and 200),
    policy_id    text        check (octet_length(policy_id) between 1 and 200),
    version_id   text        not null check (version_id ~ '^[0-9a-f]{64}$'),
    decision     text        not null check (decision in ('allow', 'warn', 'block')),
    reasons      jsonb       not null default '[]' check (jsonb_typeof(reasons) = 'array'),
    warnings     jsonb       not null default '[]' check (jsonb_typeof(warnings) = 'array'),
    evidence     jsonb       not null default '{}' check (jsonb_typeof(evidence) in ('object', 'array')),
    evaluated_at timestamptz not null default now() check (public.is_instant(evaluated_at))
);
create index policy_runs_by_version on public.policy_runs (version_id, evaluated_at desc, run_id);
create index policy_runs_by_policy on public.policy_runs (policy_id, evaluated_at desc, run_id);

create table public.price_rules (
    rule_id     text        primary key check (octet_length(rule_id) between 1 and 200),
    version_id  text        references public.assets on delete cascade,
    producer_id text        references public.producers on delete cascade,
    tier_from   integer     not null default 1 check (tier_from >= 1),
    satoshis    bigint      not null check (satoshis > 0),
    created_at  timestamptz not null default now() check (public.is_instant(created_at)),
    updated_at  timestamptz not null default now() check (public.is_instant(updated_at)),
    constraint price_rules_scope_check check (num_nonnulls(version_id, producer_id) = 1)
);
create unique index price_rules_version_tier
    on public.price_rules (version_id, tier_from) where version_id is not null;
create unique index price_rules_producer_tier
    on public.price_rules (producer_id, tier_from) where producer_id is not null;

create table public.receipts (
    receipt_id          text        primary key check (octet_length(receipt_id) between 1 and 200),
    version_id          text        not null references public.assets,
    status              text        not null default 'pending'
                                    check (status in ('pending', 'paid', 'confirmed', 'consumed', 'expired')),
    quantity            integer     not null default 1 check (quantity >= 1),
    unit_price_sat      bigint      not null check (unit_price_sat > 0),
    amount_sat          bigint      not null check (amount_sat > 0),
    fee_sat             bigint      not null default 0 check (fee_sat >= 0),
    outputs             jsonb       not null default '[]' check (jsonb_typeof(outputs) = 'array'),
    quote_template_hash text        check (quote_template_hash ~ '^[0-9a-f]{64}$'),
    quote_expires_at    timestamptz check (public.is_instant(quote_expires_at)),
    payment_txid        text        unique check (payment_txid ~ '^[0-9a-f]{64}$'),
    paid_at             timestamptz check (public.is_instant(paid_at)),
    expires_at          timestamptz not null check (public.is_instant(expires_at)),
    created_at          timestamptz not null default now() check (public.is_instant(created_at)),
    updated_at          timestamptz not null default now() check (public.is_instant(updated_at)),
    constraint receipts_payment_check check (status in ('pending', 'expired') or payment_txid is not null)
);
create index receipts_by_version on public.receipts (version_id, created_at desc, receipt_id);
-- What the clock expires, and what reconciliation looks at.
create index receipts_pending on public.receipts (status, expires_at) where status = 'pending';
create index receipts_paid on public.receipts (status, updated_at) where status = 'paid';

create table public.revenue_events (
    event_id   bigserial   primary key,
    receipt_id text        not null references public.receipts,
    version_id text        not null check (version_id ~ '^[0-9a-f]{64}$'),
    type       text        not null check (type in ('quoted', 'submitted', 'confirmed', 'reverted', 'refund')),
    amount_sat bigint      not null check (amount_sat >= 0),
    details    jsonb       not null default '{}' check (jsonb_typeof(details) = 'object'),
    created_at timestamptz not null default now() check (public.is_instant(created_at))
);
create index revenue_events_by_receipt on public.revenue_events (receipt_id, event_id);

create table public.advisories (
    advisory_id text        primary key check (octet_length(advisory_id) between 1 and 200),
    type        text        not null check (type in ('BLOCK', 'WARN')),
    reason      text        not null check (char_length(reason) between 1 and 5000),
    payload     jsonb,
    created_at  timestamptz not null default now() check (public.is_instant(created_at)),
    expires_at  timestamptz check (public.is_instant(expires_at)),
    constraint advisories_term_check check (expires_at > created_at)
);
create index advisories_by_expiry on public.advisories (expires_at);

-- Targets are not foreign keys: a version can be recalled before we have heard of it.
create table public.advisory_targets (
    target_id   bigserial primary key,
    advisory_id text      not null references public.advisories on delete cascade,
    version_id  text      check (version_id ~ '^[0-9a-f]{64}$'),
    producer_id text      check (octet_length(producer_id) between 1 and 200),
    constraint advisory_targets_scope_check check (num_nonnulls(version_id, producer_id) = 1)
);
create unique index advisory_targets_by_version
    on public.advisory_targets (version_id, advisory_id) where version_id is not null;
create unique index advisory_targets_by_producer
    on public.advisory_targets (producer_id, advisory_id) where producer_id is not null;
create index advisory_targets_by_advisory on public.advisory_targets (advisory_id);

-- Append only. For each row and not for each statement, so that a statement that changes nothing is no offence;
-- not on TRUNCATE, which only an owner can do and nobody does by mistake.
create or replace function public.refuse_change() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception '% of %.%: the table is append only', tg_op, tg_table_schema, tg_table_name
        using errcode = 'restrict_violation';
end
$$;
create trigger append_only before update or delete on public.policy_runs
    for each row execute function public.refuse_change();
create trigger append_only before update or delete on public.revenue_events
    for each row execute function public.refuse_change();
alter table public.policy_runs enable always trigger append_only;
alter table public.revenue_events enable always trigger append_only;
