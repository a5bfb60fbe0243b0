drop table public.request_nonces;
