-- Whose a receipt is, what proves its payment, and which ways a receipt may go. The ways are kept here, so that no writer leaves them.
-- No buyer: whoever knows the receipt may pay it. Receipts from before have none.
alter table public.receipts
    add column buyer_key          text  check (buyer_key ~ '^0[23][0-9a-f]{64}$'),
    add column payment_raw_tx     text  check (payment_raw_tx ~ '^([0-9a-f]{2})+$'),
    add column payment_envelope   jsonb check (jsonb_typeof(payment_envelope) = 'object'),
    add column payment_block_hash text  check (payment_block_hash ~ '^[0-9a-f]{64}$');
create index receipts_confirmed on public.receipts (payment_block_hash) where status = 'confirmed';

create function public.receipt_goes_its_way() returns trigger
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if (old.status, new.status) not in (
        ('pending', 'paid'), ('pending', 'expired'), ('paid', 'confirmed'), ('confirmed', 'consumed'), ('confirmed', 'paid')
    ) then
        raise exception 'a receipt does not go from % to %', old.status, new.status using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;
create trigger receipt_goes_its_way before update on public.receipts
    for each row when (old.status is distinct from new.status) execute function public.receipt_goes_its_way();
alter table public.receipts enable always trigger receipt_goes_its_way;
