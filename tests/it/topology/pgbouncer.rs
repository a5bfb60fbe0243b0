//! PgBouncer in transaction mode, of any version: each transaction may get another connection, and names of statements, session
//! parameters, LISTEN and session locks are lost in between.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use overlay::db::{self, Db};
use overlay::error::Kind;
use reqwest::StatusCode;
use serde_json::{Value, json};
use url::Url;

use crate::binary::{ended, overlay};
use crate::harness::keys::Keys;
use crate::harness::node::free_port;
use crate::harness::program::{Folder, Program, installed};
use crate::harness::{Database, Setup, TestApp, patient, with_database};

/// Connections that the pooler makes to the server at most, for all its clients.
const FEW: usize = 3;

struct Pooler {
    url: String,
    program: Program,
    _folder: Folder,
}

/// A pooler before the server of `database`; `None` (told loudly) on a machine that has none and may do without.
async fn pooler(database: &Database, more: &str) -> Option<Pooler> {
    let Some(binary) = installed("pgbouncer") else {
        assert!(std::env::var_os("OVERLAY_TEST_REQUIRE_PGBOUNCER").is_none(), "pgbouncer is not installed");
        eprintln!("NOT TESTED: this machine has no pgbouncer");
        return None;
    };
    let server = Url::parse(&database.url).expect("a URL");
    let socket = server.query_pairs().find(|(name, _)| name == "host").map(|(_, value)| value.into_owned());
    let host = socket.clone().unwrap_or_else(|| server.host_str().expect("a host").to_owned());
    let folder = Folder::like(socket.as_deref().map_or(&std::env::temp_dir(), Path::new));
    let (port, server_port) = (free_port(), server.port().unwrap_or(5432));
    let password = server.password().map(|password| format!(" password={password}")).unwrap_or_default();
    let file = folder.write(
        "pgbouncer.ini",
        &format!(
            "[databases]\n* = host={host} port={server_port} user={}{password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {FEW}\nmax_client_conn = 500\n{more}\n",
            server.username()
        ),
    );
    let program = folder.run(&binary, &[&file], port).await;
    let url = format!("postgres://overlay@127.0.0.1:{port}{}?sslmode=disable", server.path());
    Some(Pooler { url, program, _folder: folder })
}

const REGISTER: &str =
    "mutation R($name: String!) { registerProducer(input: {name: $name}) { producer { producerId } } }";

/// Registers the key's producer under `name`, and reads that name back as `strong`.
async fn renamed(app: &TestApp, keys: &Keys, name: &str) -> Value {
    let done = keys.graphql(app, REGISTER, json!({"name": name})).await;
    let id = done["data"]["registerProducer"]["producer"]["producerId"].as_str();
    let id = id.unwrap_or_else(|| panic!("{done}"));
    let read = app.post("query P($id: ID!) { producer(producerId: $id) { name } }", json!({"id": id}));
    let answer = read.header("overlay-consistency", "strong").send().await.expect("answer");
    assert_eq!(answer.status(), StatusCode::OK);
    let mut body: Value = answer.json().await.expect("JSON");
    body["data"]["producer"]["name"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_share_few_connections_in_transaction_mode() {
    with_database(async |database| {
        let Some(pooler) = pooler(database, "").await else { return };
        // No memory: each read goes to the database.
        let setup = Setup::seeded().with("PG_POOLER_URL", &pooler.url).with("CACHE_MEMORY_MB", "0");
        let app = TestApp::start(&setup, database).await;
        let versions = app.rows("select version_id from assets order by 1").await;
        let listed = app.json("/listings?limit=200").await;
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(versions.len()));
        let clients = (1..=24).map(|client| {
            let (app, versions) = (&app, &versions);
            async move {
                let keys = Keys::of(client);
                for round in 0..15 {
                    let name = format!("{client} in round {round}");
                    assert_eq!(renamed(app, &keys, &name).await, name);
                    let id = &versions[(usize::from(client) + round) % versions.len()];
                    assert_eq!(app.json(&format!("/listings/{id}")).await["versionId"], id.as_str());
                    app.json("/listings?limit=5&q=data").await;
                    app.query(
                        "{ assets(first: 5) { nodes { name unitPrice producer { name } parents { name } } } }",
                        Value::Null,
                    )
                    .await;
                }
            }
        });
        join_all(clients).await;
        let connections = app
            .rows("select application_name from pg_stat_activity where datname = current_database() order by 1")
            .await;
        let through = connections.iter().filter(|name| *name == "overlay-serve").count();
        assert!((1..=FEW).contains(&through), "{connections:?}");
        // What needs a session of its own does not go that way.
        assert!(connections.iter().any(|name| name == "overlay-feed"), "{connections:?}");
        let health = app.json("/health/db").await;
        assert_eq!(app.json("/health").await["status"], "ok", "{health}");
        app.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_end_in_time_and_the_limit_is_nobody_elses() {
    with_database(async |database| {
        let Some(pooler) = pooler(database, "").await else { return };
        let through = |ms| db::Config {
            pooler: Some(pooler.url.clone()),
            statement_timeout: Duration::from_millis(ms),
            ..patient(&database.url)
        };
        let quick = Db::connect(&through(100)).await.expect("connects");
        let slow = Db::connect(&through(60_000)).await.expect("connects");
        for _ in 0..2 * FEW {
            let asked = quick.is_there("test.sleep", "select 1 from pg_sleep(20)", vec![]).await;
            assert_eq!(asked.map_err(|e| e.kind()), Err(Kind::Timeout));
            assert!(slow.is_there("test.sleep", "select 1 from pg_sleep(0.2)", vec![]).await.expect("waits"));
        }
        quick.close().await;
        slow.close().await;
    })
    .await;
}

/// Its clients are cut off; reads are made again on new connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_is_started_again_fails_no_read() {
    with_database(async |database| {
        let Some(pooler) = pooler(database, "").await else { return };
        let setup = Setup::seeded().with("PG_POOLER_URL", &pooler.url).with("CACHE_MEMORY_MB", "0");
        let app = TestApp::start(&setup, database).await;
        join_all((0..10).map(|_| app.json("/listings?limit=5"))).await;
        let Pooler { program, _folder: folder, url } = pooler;
        program.end(rustix::process::Signal::TERM).await;
        let (file, port) =
            (folder.path.join("pgbouncer.ini"), Url::parse(&url).expect("a URL").port().expect("a port"));
        let binary = installed("pgbouncer").expect("it was there");
        let _program = folder.run(&binary, &[file.to_str().expect("text")], port).await;
        join_all((0..10).map(|_| app.json("/listings?limit=5"))).await;
        app.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leads_elsewhere_or_is_in_the_wrong_setting_is_told() {
    with_database(async |database| {
        let Some(pooler) = pooler(database, "").await else { return };
        let Some(lax) = self::pooler(database, "ignore_startup_parameters = options, extra_float_digits").await else {
            return;
        };
        let examined = |settings: &[(&str, &str)]| {
            let (output, told) = ended(overlay(&["doctor"], settings));
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &told)
        };
        let direct = ("PG_URL", database.url.as_str());
        let (_, told) = examined(&[direct, ("PG_POOLER_URL", &pooler.url)]);
        assert!(told.contains("good  the pooler leads to the same server"), "{told}");
        assert!(told.contains("good  PG_URL leads to PostgreSQL itself"), "{told}");

        let name = Url::parse(&database.url).expect("a URL").path().to_owned();
        let elsewhere = pooler.url.replace(&name, "/postgres");
        let (code, told) = examined(&[direct, ("PG_POOLER_URL", &elsewhere)]);
        assert!(code == Some(1) && told.contains("BAD   the pooler leads to another server"), "{told}");
        let (output, told) = ended(overlay(&["serve"], &[direct, ("PG_POOLER_URL", &elsewhere)]));
        assert!(!output.status.success() && told.contains("PG_POOLER_URL leads to another server"), "{told}");

        let (code, told) = examined(&[("PG_URL", &pooler.url)]);
        assert!(code == Some(1) && told.contains("name the pooler in PG_POOLER_URL"), "{told}");
        let (code, told) = examined(&[("PG_URL", &lax.url)]);
        assert!(code == Some(1) && told.contains("name the pooler in PG_POOLER_URL"), "{told}");
    })
    .await;
}
