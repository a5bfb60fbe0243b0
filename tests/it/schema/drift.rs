//! Entities, the migrated tables, and the list of tables in the change feed are one.

use std::collections::{BTreeMap, BTreeSet};

use overlay_entity as entity;
use overlay_migration::triggers::{UNCOVERED, covered};
use sea_orm::{ColumnTrait, ColumnType, EntityName, Iterable, PrimaryKeyToColumn};

use crate::harness::{Setup, TestApp, with};

/// Tables that no entity describes: the feed's own, which only the feed reads, and the migrator's.
const NO_ENTITY: [&str; 4] = ["cache_epoch", "change_log", "epoch_mark", "seaql_migrations"];

/// A column as `name type [not] null`.
type Columns = BTreeSet<String>;

/// A table's columns, and its primary key in order.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    columns: Columns,
    key: String,
}

/// How `information_schema` calls a type.
fn sql_type(kind: &ColumnType) -> &'static str {
    match kind {
        ColumnType::Text => "text",
        ColumnType::Integer => "integer",
        ColumnType::BigInteger => "bigint",
        ColumnType::Boolean => "boolean",
        ColumnType::JsonBinary => "jsonb",
        ColumnType::TimestampWithTimeZone => "timestamp with time zone",
        ColumnType::VarBinary(_) | ColumnType::Blob => "bytea",
        other => panic!("{other:?} has no name here yet"),
    }
}

macro_rules! entities {
    ($($module:ident),* $(,)?) => {
        BTreeMap::from([$({
            use entity::$module::{Column, Entity, PrimaryKey};
            let name = sea_orm::IdenStatic::as_str;
            let columns = Column::iter().map(|column| {
                let definition = column.def();
                let null = if definition.is_null() { "null" } else { "not null" };
                format!("{} {} {null}", name(&column), sql_type(definition.get_column_type()))
            });
            let key: Vec<String> = PrimaryKey::iter().map(|k| name(&k.into_column()).to_owned()).collect();
            assert_eq!(Entity.schema_name(), Some("public"), "{}", Entity.table_name());
            (Entity.table_name().to_owned(), Table { columns: columns.collect(), key: key.join(", ") })
        }),*])
    };
}

fn entities() -> BTreeMap<String, Table> {
    entities![
        advisories,
        advisory_targets,
        asset_parents,
        assets,
        block_headers,
        bundle_audit,
        declarations,
        import_progress,
        lineage_datasets,
        lineage_dead_letters,
        lineage_edges,
        lineage_event_audit,
        lineage_io,
        lineage_jobs,
        lineage_runs,
        policies,
        policy_runs,
        price_rules,
        producers,
        receipts,
        request_nonces,
        revenue_events,
    ]
}

/// The tables of schema `public` as PostgreSQL describes them, without the columns that are the database's alone.
async fn tables(app: &TestApp) -> BTreeMap<String, Table> {
    let only: Vec<String> =
        entity::DATABASE_ONLY_COLUMNS.iter().map(|(table, column)| format!("('{table}', '{column}')")).collect();
    let columns = format!(
        "select table_name || '|' || column_name || ' ' || data_type || case is_nullable when 'YES' then ' null' else ' not null' end \
         from information_schema.columns where table_schema = 'public' and (table_name, column_name) not in ({})",
        only.join(", ")
    );
    let keys = "select t.relname || '|' || string_agg(a.attname, ', ' order by k.place) \
         from pg_constraint c join pg_class t on t.oid = c.conrelid \
         cross join unnest(c.conkey) with ordinality as k(number, place) \
         join pg_attribute a on a.attrelid = t.oid and a.attnum = k.number \
         where c.contype = 'p' and c.connamespace = 'public'::regnamespace group by t.relname";
    let mut found: BTreeMap<String, Table> = BTreeMap::new();
    for row in app.rows(&columns).await {
        let (table, column) = row.split_once('|').expect("two parts");
        let table =
            found.entry(table.to_owned()).or_insert_with(|| Table { columns: Columns::new(), key: String::new() });
        table.columns.insert(column.to_owned());
    }
    for row in app.rows(keys).await {
        let (table, key) = row.split_once('|').expect("two parts");
        found.get_mut(table).expect("a table has columns").key = key.to_owned();
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn entities_and_tables_are_the_same() {
    with(Setup::empty(), async |app| {
        let (entities, tables) = (entities(), tables(app).await);
        let mut drifted = Vec::new();
        for (name, table) in &tables {
            match entities.get(name) {
                None if NO_ENTITY.contains(&name.as_str()) => {}
                None => drifted.push(format!("table {name} has no entity")),
                Some(entity) => {
                    drifted.extend(
                        table.columns.difference(&entity.columns).map(|c| format!("only in table {name}: {c}")),
                    );
                    drifted.extend(
                        entity.columns.difference(&table.columns).map(|c| format!("only in entity {name}: {c}")),
                    );
                    if table.key != entity.key {
                        drifted.push(format!(
                            "key of {name}: ({}) in the table, ({}) in the entity",
                            table.key, entity.key
                        ));
                    }
                }
            }
        }
        let absent = entities.keys().filter(|name| !tables.contains_key(*name));
        drifted.extend(absent.map(|name| format!("entity {name} has no table")));
        drifted.extend(NO_ENTITY.iter().filter(|n| !tables.contains_key(**n)).map(|n| format!("no table {n}")));
        assert!(drifted.is_empty(), "{}", drifted.join("\n"));
        for (table, column) in entity::DATABASE_ONLY_COLUMNS {
            let there = format!(
                "select 'there' from information_schema.columns \
                 where table_schema = 'public' and table_name = '{table}' and column_name = '{column}'"
            );
            assert_eq!(app.rows(&there).await, ["there"], "{table}.{column} is listed and gone");
        }
    })
    .await;
}

/// Fails with what is in one set alone.
fn same(found: &BTreeSet<String>, wanted: &BTreeSet<String>) {
    let (extra, missing): (Vec<_>, Vec<_>) = (found.difference(wanted).collect(), wanted.difference(found).collect());
    assert!(
        extra.is_empty() && missing.is_empty(),
        "there, but not listed: {extra:#?}\nlisted, but not there: {missing:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_in_the_feed_or_named_as_not_in_it() {
    with(Setup::empty(), async |app| {
        let there = "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')";
        let there: BTreeSet<String> = app.rows(there).await.into_iter().collect();
        let listed: BTreeSet<String> =
            covered().map(|c| c.table).chain(UNCOVERED.iter().copied()).map(str::to_owned).collect();
        same(&there, &listed);
        // `A` is "enabled always". The type: 4 insert, 8 delete, 16 update, 32 truncate; 1 and 2 would be for each row and before.
        let triggers = "select c.relname || ' ' || t.tgname || ' ' || t.tgtype || ' ' || t.tgenabled::text || ' ' || p.proname \
             from pg_trigger t join pg_class c on c.oid = t.tgrelid join pg_proc p on p.oid = t.tgfoid \
             where not t.tgisinternal and c.relnamespace = 'public'::regnamespace and t.tgname like 'feed%'";
        let found: BTreeSet<String> = app.rows(triggers).await.into_iter().collect();
        let wanted = covered().flat_map(|covered| {
            let table = covered.table;
            [("insert", 4), ("delete", 8), ("update", 16), ("truncate", 32)]
                .map(|(event, kind)| format!("{table} feed_{event} {kind} A feed_{table}"))
        });
        same(&found, &wanted.collect());
    })
    .await;
}
