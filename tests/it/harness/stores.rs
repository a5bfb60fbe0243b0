//! Databases cloned from a migrated template, and servers of Redis.

use std::path::PathBuf;

use overlay::db::{self, Db};
use overlay::devstack::RedisServer;
use overlay_migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

/// The key of the advisory lock under which the template is made; arbitrary.
const TEMPLATE_LOCK: i64 = 8_788_001;

/// A database of one test.
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) url: String,
    admin: String,
}

impl Database {
    pub(crate) async fn create() -> Self {
        let admin = admin_url();
        let connection = connect(&admin).await;
        let template = template(&connection, &admin).await;
        let name = format!("overlay_it_{}", uuid::Uuid::new_v4().simple());
        execute(&connection, &format!("create database {name} template {template}")).await;
        db::close(&connection).await;
        Self { url: with_database_name(&admin, &name), name, admin }
    }

    /// A database that is there, on a server of the test's own.
    pub(crate) fn at(url: &str) -> Self {
        Self { name: String::new(), url: url.to_owned(), admin: url.to_owned() }
    }

    pub(crate) async fn remove(&self) {
        let connection = connect(&self.admin).await;
        execute(&connection, &format!("drop database {} with (force)", self.name)).await;
        db::close(&connection).await;
    }
}

fn admin_url() -> String {
    std::env::var("PG_URL").unwrap_or_else(|_| {
        panic!("these tests need PostgreSQL: run them with `make test`, or set PG_URL to a server where databases may be made")
    })
}

async fn connect(url: &str) -> DatabaseConnection {
    db::connect(&super::patient(url), "tests", 0, 1).await.expect("PG_URL answers")
}

async fn execute(connection: &DatabaseConnection, sql: &str) {
    connection.execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
}

/// The migrated template's name; the first test that needs it makes it. The steps' SQL is part of the name, so an edited
/// step makes another template.
async fn template(connection: &DatabaseConnection, admin: &str) -> String {
    let steps = format!("{:x}", xxhash_rust::xxh3::xxh3_128(Migrator::script().as_bytes()));
    let name = format!("overlay_template_{steps}");
    execute(connection, &format!("select pg_advisory_lock({TEMPLATE_LOCK})")).await;
    let exists = format!("select 1 as one from pg_database where datname = '{name}' and datistemplate");
    let exists = connection.query_one_raw(Statement::from_string(DbBackend::Postgres, exists)).await.expect("query");
    if exists.is_none() {
        execute(connection, &format!("drop database if exists {name}")).await;
        execute(connection, &format!("create database {name}")).await;
        let db =
            Db::connect(&db::Config { pool_max: 1, pool_min: 0, ..super::patient(&with_database_name(admin, &name)) })
                .await;
        let db = db.expect("template");
        Migrator::up(db.pool(), None).await.expect("migrations");
        db.close().await;
        // Marked only when it is whole: a test that died half way leaves one that the next replaces.
        execute(connection, &format!("alter database {name} is_template true")).await;
    }
    execute(connection, &format!("select pg_advisory_unlock({TEMPLATE_LOCK})")).await;
    name
}

/// `url` with another database: the path between the authority and the query.
fn with_database_name(url: &str, name: &str) -> String {
    let (base, query) = url.split_once('?').map_or((url, None), |(base, query)| (base, Some(query)));
    let authority = base.find("://").map_or(0, |at| at + 3);
    let path = base[authority..].find('/').map_or(base.len(), |at| authority + at);
    let query = query.map(|q| format!("?{q}")).unwrap_or_default();
    format!("{}/{name}{query}", &base[..path])
}

/// Whether a machine without Redis is fine: the tests that need it are then told on standard error and end.
pub(super) fn redis_is_optional() -> bool {
    std::env::var_os("OVERLAY_TEST_REQUIRE_REDIS").is_none()
}

/// A Redis of the test's own; `None` (told loudly) on a machine that has none and may do without.
pub(crate) async fn private_redis() -> Option<(RedisServer, PathBuf)> {
    let folder = super::folder();
    match RedisServer::start(&folder).await {
        Ok(server) => Some((server, folder)),
        Err(error) if redis_is_optional() => {
            eprintln!("NOT TESTED: this machine has no redis-server ({error})");
            None
        }
        Err(error) => panic!("redis-server: {error}"),
    }
}
