-- Names and kinds, and no expressions: versions of PostgreSQL write those in different ways.
select line from (
    select format('table %s%s', relname, case relpersistence when 'u' then ' unlogged' else '' end)
    from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
    union all
    select format('column %s.%s %s%s%s', relname, attname, format_type(atttypid, atttypmod),
        case when attnotnull then ' not null' else '' end,
        case when attgenerated <> '' then ' generated' when atthasdef then ' default' else '' end)
    from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
    union all
    -- That a column is never null is the column's, and a constraint only from version 18 on.
    select format('constraint %s of %s %s%s', conname, relname, contype, case when convalidated then '' else ' not valid' end)
    from pg_constraint join pg_class on pg_class.oid = conrelid
    where connamespace = 'public'::regnamespace and contype <> 'n'
    union all
    select format('index %s of %s %s%s', own.relname, of.relname, amname, case when indisunique then ' unique' else '' end)
    from pg_index join pg_class own on own.oid = indexrelid join pg_class of on of.oid = indrelid join pg_am on pg_am.oid = own.relam
    where of.relnamespace = 'public'::regnamespace
    union all
    select format('trigger %s of %s %s calls %s', tgname, relname, tgenabled, proname)
    from pg_trigger join pg_class on pg_class.oid = tgrelid join pg_proc on pg_proc.oid = tgfoid
    where relnamespace = 'public'::regnamespace and not tgisinternal
    union all
    select format('function %s %s', proname, md5(prosrc))
    from pg_proc where pronamespace = 'public'::regnamespace
        and not exists (select from pg_depend where objid = pg_proc.oid and deptype = 'e')
) as lines (line)
where line !~ 'seaql_migrations' order by line collate "C"
