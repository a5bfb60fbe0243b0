create or replace function public.receipt_goes_its_way() returns trigger
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
alter table public.revenue_events disable trigger append_only;
delete from public.revenue_events where type in ('broadcast', 'refused');
alter table public.revenue_events enable always trigger append_only;
alter table public.revenue_events drop constraint revenue_events_type_check;
alter table public.revenue_events add constraint revenue_events_type_check
    check (type in ('quoted', 'submitted', 'confirmed', 'reverted', 'refund'));
drop index public.receipts_broadcast;
alter table public.receipts
    drop column broadcast, drop column broadcast_by, drop column broadcast_note, drop column broadcast_tries,
    drop column broadcast_next_at;
