drop table public.advisory_targets;
drop table public.advisories;
drop table public.revenue_events;
drop table public.receipts;
drop table public.price_rules;
drop table public.policy_runs;
drop table public.policies;
drop function public.refuse_change();
