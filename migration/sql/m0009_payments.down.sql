drop trigger receipt_goes_its_way on public.receipts;
drop function public.receipt_goes_its_way();
drop index public.receipts_confirmed;
alter table public.receipts drop column buyer_key, drop column payment_raw_tx, drop column payment_envelope, drop column payment_block_hash;
