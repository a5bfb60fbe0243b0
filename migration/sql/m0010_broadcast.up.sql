-- How far a payment has come on its way to the network. Null: it is not sent from here.
alter table public.receipts
    add column broadcast         text check (broadcast in ('due', 'accepted')),
    add column broadcast_by      text check (octet_length(broadcast_by) <= 300),
    add column broadcast_note    text check (char_length(broadcast_note) <= 1000),
    add column broadcast_tries   integer not null default 0 check (broadcast_tries >= 0),
    add column broadcast_next_at timestamptz check (public.is_instant(broadcast_next_at)),
    add constraint receipts_broadcast_way_check check (
        broadcast is null or (payment_txid is not null and payment_raw_tx is not null and broadcast_next_at is not null)
    );
create index receipts_broadcast on public.receipts (broadcast_next_at) where status = 'paid' and broadcast is not null;

alter table public.revenue_events drop constraint revenue_events_type_check;
alter table public.revenue_events add constraint revenue_events_type_check
    check (type in ('quoted', 'submitted', 'broadcast', 'refused', 'confirmed', 'reverted', 'refund'));

-- A payment that the network refuses was none: its receipt waits for another.
create or replace function public.receipt_goes_its_way() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if (old.status, new.status) = ('paid', 'pending') and old.broadcast = 'due' and new.payment_txid is null then
        return new;
    end if;
    if (old.status, new.status) not in (
        ('pending', 'paid'), ('pending', 'expired'), ('paid', 'confirmed'), ('confirmed', 'consumed'), ('confirmed', 'paid')
    ) then
        raise exception 'a receipt does not go from % to %', old.status, new.status using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;
