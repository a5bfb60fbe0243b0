//! PostgreSQL over TLS: who it is is checked, and there is no way around that.

use std::path::Path;

use overlay::boot;
use overlay::db::{self, Db};
use overlay::devstack::{DevStack, Options};

use crate::cache::secure::Authority;
use crate::harness::node::{free_port, until};
use crate::harness::program::{Folder, Program};
use crate::harness::{Database, Setup, TestApp, patient, rows_of};

/// A server that shows the authority's certificate; its database `postgres` wants to see one too.
struct Server {
    port: u16,
    /// Its authority's certificate, its own, and that one's key.
    files: [String; 3],
    _program: Program,
    folder: Folder,
}

impl Server {
    async fn start(authority: &Authority, ssl: &str) -> Self {
        let root = std::env::temp_dir().join(format!("overlay-it-{}", uuid::Uuid::new_v4().simple()));
        let options = Options { redis: false, durable: false, ..Options::new(&root) };
        // It makes the data; what it runs listens on no port.
        let stack = DevStack::start(&options).await.unwrap_or_else(|e| panic!("{e}"));
        let url = stack.pg_url().expect("an address");
        let db = Db::connect(&patient(url)).await.expect("connects");
        boot::migrate(&db).await.expect("migrates");
        db.close().await;
        let places = rows_of(
            url,
            "select setting from pg_config where name = 'BINDIR' union all select current_setting('data_directory')",
        );
        let places = places.await;
        stack.stop().await.expect("stops");
        let folder = Folder::like(Path::new(&places[1]));
        let data = folder.path.join("data");
        std::fs::rename(&places[1], &data).expect("moved");
        std::fs::remove_dir_all(&root).expect("removed");
        let files = [("ca", &authority.ca), ("certificate", &authority.certificate), ("key", &authority.key)];
        let files = files.map(|(name, pem)| folder.write(&format!("{name}.pem"), pem));
        let wants = "hostssl postgres all all trust clientcert=verify-ca\nhost overlay all all trust\n";
        let rules = folder.write("rules", wants);
        let port = free_port();
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            format!("hba_file={rules}"),
            format!("ssl={ssl}"),
            format!("ssl_ca_file={}", files[0]),
            format!("ssl_cert_file={}", files[1]),
            format!("ssl_key_file={}", files[2]),
        ];
        let arguments = settings.iter().flat_map(|setting| ["-c", setting]);
        let arguments: Vec<&str> = ["-D", data.to_str().expect("text")].into_iter().chain(arguments).collect();
        let program = folder.run(&Path::new(&places[0]).join("postgres"), &arguments, port).await;
        Self { port, files, _program: program, folder }
    }

    fn url(&self, host: &str, rest: &str) -> String {
        format!("postgres://overlay@{host}:{}/{rest}", self.port)
    }
}

/// What comes of a connection with these settings.
async fn tried(url: &str, settings: &[(&'static str, &str)]) -> Result<(), String> {
    let setup = settings.iter().fold(Setup::empty(), |setup, (name, value)| setup.with(name, *value));
    let config = setup.config(url).database.expect("PG_URL is given");
    match db::connect(&config, "tls", 0, 1).await {
        Ok(pool) => {
            let asked = sea_orm::ConnectionTrait::execute_unprepared(&pool, "select 1").await;
            db::close(&pool).await;
            asked.map(drop).map_err(|e| e.to_string())
        }
        Err(error) => Err(format!("{error:?}")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_over_tls_to_the_server_that_the_authority_vouches_for() {
    let authority = Authority::new();
    let server = Server::start(&authority, "on").await;
    let [ca, ..] = &server.files;
    let plain = server.url("127.0.0.1", "overlay");
    let outside = format!("{plain}?sslmode=verify-full&sslrootcert={ca}");
    // Without a word on sslmode it is verify-full.
    let setup = Setup::seeded().with("PG_URL", &plain).with("PG_TLS_CA", ca).with("PG_READ_URLS", &plain);
    let app = TestApp::start(&setup, &Database::at(&outside)).await;
    assert!(!app.json("/listings?limit=5").await["items"].as_array().expect("items").is_empty());
    app.sql("update assets set name = 'told'").await;
    app.caught_up().await;
    assert_eq!(app.json("/listings?limit=1").await["items"][0]["name"], "told");
    let sessions = "select coalesce(nullif(application_name, ''), query) || ' ' || s.ssl from pg_stat_activity a \
                    join pg_stat_ssl s using (pid) where backend_type = 'client backend'";
    until("the listener listens", async || app.rows(sessions).await.iter().any(|s| s.starts_with("LISTEN"))).await;
    let sessions = app.rows(sessions).await;
    for name in ["overlay-serve", "overlay-feed", "LISTEN", "overlay-replica"] {
        assert!(sessions.iter().any(|session| session.starts_with(name)), "no {name}: {sessions:?}");
    }
    assert!(sessions.iter().all(|session| session.ends_with(" true")), "{sessions:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_it_should_not_be_is_told_and_not_talked_to() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::start(&authority, "on").await;
    let [ca, certificate, key] = &server.files;
    let wrong = server.folder.write("other.pem", &other.ca);
    let (url, closed) = (server.url("127.0.0.1", "overlay"), server.url("127.0.0.1", "postgres"));
    assert_eq!(tried(&url, &[("PG_TLS_CA", ca)]).await, Ok(()));
    let shown = [("PG_TLS_CA", ca.as_str()), ("PG_TLS_CERT", certificate), ("PG_TLS_KEY", key)];
    assert_eq!(tried(&closed, &shown).await, Ok(()));
    // The server would take whoever does not encrypt: nobody falls back to that.
    for (what, url, settings, told) in [
        ("no authority", format!("{url}?sslmode=verify-full"), vec![], "PG_TLS_CA"),
        ("another authority", url.clone(), vec![("PG_TLS_CA", wrong.as_str())], "PG_TLS_CA"),
        ("another name", server.url("localhost", "overlay"), vec![("PG_TLS_CA", ca.as_str())], "another name"),
        ("no certificate of ours", closed.clone(), vec![("PG_TLS_CA", ca.as_str())], "PG_TLS_CERT"),
    ] {
        let refused = tried(&url, &settings).await.expect_err(what);
        assert!(refused.contains(told), "{what}: {refused}");
    }
    // The authority alone is asked for, and not the name.
    let any_name = format!("{}?sslmode=verify-ca", server.url("localhost", "overlay"));
    assert_eq!(tried(&any_name, &[("PG_TLS_CA", ca)]).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_encrypt_is_refused() {
    let authority = Authority::new();
    let server = Server::start(&authority, "off").await;
    let url = server.url("127.0.0.1", "overlay");
    assert_eq!(tried(&url, &[]).await, Ok(()));
    let refused = tried(&url, &[("PG_TLS_CA", &server.files[0])]).await.expect_err("no TLS");
    assert!(refused.contains("ssl = on"), "{refused}");
}
