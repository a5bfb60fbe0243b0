//! Every step has a way back, and forward again.

use overlay::db;
use overlay_migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use crate::harness::with_database;

/// All that a schema is made of, one text an object.
const OBJECTS: &str = "\
    select 'column ' || concat_ws(' ', table_name, ordinal_position, column_name, data_type, is_nullable, column_default, \
        is_identity, generation_expression, collation_name) as object \
        from information_schema.columns where table_schema = 'public' \
    union all select 'index ' || indexdef from pg_indexes where schemaname = 'public' \
    union all select 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) \
        from pg_constraint where connamespace = 'public'::regnamespace \
    union all select 'trigger ' || tgenabled::text || ' ' || pg_get_triggerdef(t.oid) \
        from pg_trigger t join pg_class c on c.oid = tgrelid \
        where not tgisinternal and c.relnamespace = 'public'::regnamespace \
    union all select 'function ' || pg_get_functiondef(p.oid) from pg_proc p \
        where pronamespace = 'public'::regnamespace and not exists \
            (select from pg_depend d where d.objid = p.oid and d.deptype = 'e') \
    union all select 'table ' || relname || ' ' || relpersistence::text || ' ' || coalesce(reloptions::text, '') \
        from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' \
    order by object";

async fn objects(connection: &DatabaseConnection) -> Vec<String> {
    let rows = connection.query_all_raw(Statement::from_string(DbBackend::Postgres, OBJECTS)).await.expect("objects");
    rows.iter().map(|row| row.try_get_by_index::<String>(0).expect("a text")).collect()
}

/// Steps not applied, and steps applied.
async fn status(connection: &DatabaseConnection) -> (usize, usize) {
    let pending = Migrator::get_pending_migrations(connection).await.expect("pending");
    let applied = Migrator::get_applied_migrations(connection).await.expect("applied");
    (pending.len(), applied.len())
}

async fn connect(url: &str) -> DatabaseConnection {
    db::connect(&db::Config::new(url), "migrations", 0, 1).await.expect("connect")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_steps_go_down_to_nothing_and_up_to_the_same_schema() {
    with_database(async |database| {
        let connection = connect(&database.url).await;
        let steps = Migrator::migrations().len();
        assert_eq!(status(&connection).await, (0, steps));
        let before = objects(&connection).await;
        assert!(before.len() > 300, "only {} objects are compared", before.len());

        Migrator::down(&connection, None).await.expect("down");
        assert_eq!(status(&connection).await, (steps, 0));
        let left: Vec<String> =
            objects(&connection).await.into_iter().filter(|object| !object.contains("seaql_migrations")).collect();
        assert_eq!(left, Vec::<String>::new(), "what the way back leaves behind");

        Migrator::up(&connection, None).await.expect("up again");
        assert_eq!(status(&connection).await, (0, steps));
        assert_eq!(objects(&connection).await, before);
        connection.get_postgres_connection_pool().close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_can_be_undone_alone() {
    with_database(async |database| {
        let connection = connect(&database.url).await;
        let mut history = vec![objects(&connection).await];
        let steps = Migrator::migrations().len();
        for undone in 1..=steps {
            Migrator::down(&connection, Some(1)).await.expect("down");
            assert_eq!(status(&connection).await, (undone, steps - undone));
            history.push(objects(&connection).await);
        }
        for redone in 1..=steps {
            history.pop();
            Migrator::up(&connection, Some(1)).await.expect("up");
            assert_eq!(status(&connection).await, (steps - redone, redone));
            assert_eq!(Some(&objects(&connection).await), history.last(), "after step {redone}");
        }
        connection.get_postgres_connection_pool().close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_changes_nothing() {
    with_database(async |database| {
        let connection = connect(&database.url).await;
        let before = objects(&connection).await;
        Migrator::up(&connection, None).await.expect("up");
        assert_eq!(objects(&connection).await, before);
        connection.get_postgres_connection_pool().close().await;
    })
    .await;
}
