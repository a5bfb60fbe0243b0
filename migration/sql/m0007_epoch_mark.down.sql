drop table public.epoch_mark;
