//! A primary and a streaming standby of a test's own.

use std::path::{Path, PathBuf};

use overlay::boot;
use overlay::db::Db;
use overlay::devstack::{DevStack, Options};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use crate::harness::{Database, Setup, TestApp, patient, session};

/// The two servers; their files go with them.
pub(super) struct Pair {
    folder: PathBuf,
    primary: DevStack,
    standby: Option<DevStack>,
    pub(super) database: Database,
    standby_url: String,
}

impl Pair {
    pub(super) async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("overlay-pair-{}", uuid::Uuid::new_v4().simple()));
        let primary = serve(&folder.join("primary"), None).await;
        let url = primary.pg_url().expect("an address").to_owned();
        let db = Db::connect(&patient(&url)).await.expect("connect");
        boot::migrate(&db).await.expect("migrations");
        db.close().await;
        let standby = serve(&folder.join("standby"), Some(&url)).await;
        let standby_url = standby.pg_url().expect("an address").to_owned();
        Self { folder, primary, standby: Some(standby), database: Database::at(&url), standby_url }
    }

    /// A server on the primary that reads the standby, which is fit to be read. `memory` is the cache's size, MB.
    pub(super) async fn app(&self, memory: u32, settings: &[(&'static str, &str)]) -> TestApp {
        let mut setup = Setup::seeded().with("PG_READ_URLS", &self.standby_url).with("FEED_POLL_MS", "1");
        setup = setup.with("CACHE_MEMORY_MB", memory.to_string());
        for (name, value) in settings {
            setup = setup.with(name, *value);
        }
        let app = TestApp::start(&setup, &self.database).await;
        until("the replica is fit", async || app.app.cache.replicas().fit() == 1).await;
        app
    }

    pub(super) fn standby_url(&self) -> &str {
        &self.standby_url
    }

    /// The first column of a query's rows on the standby, as text.
    pub(super) async fn on_standby(&self, sql: &str) -> Vec<String> {
        let session = session(&self.standby_url).await;
        let rows = session.query_all_raw(Statement::from_string(DbBackend::Postgres, sql)).await;
        let rows = rows.unwrap_or_else(|e| panic!("{sql}: {e}"));
        session.close().await.expect("close");
        rows.iter().map(|row| row.try_get_by_index::<String>(0).expect("a text")).collect()
    }

    /// Changes the standby's data, which must have become a server of its own.
    pub(super) async fn write_on_standby(&self, sql: &str) {
        let session = session(&self.standby_url).await;
        assert!(session.execute_unprepared(sql).await.expect("writes").rows_affected() > 0);
        session.close().await.expect("close");
    }

    pub(super) async fn pause(&self) {
        self.on_standby("select pg_wal_replay_pause()::text").await;
        let version = self.on_standby("select current_setting('server_version_num')").await;
        if version[0].parse::<u32>().expect("a number") >= 140_000 {
            let paused = "select pg_get_wal_replay_pause_state()";
            until("replay pauses", async || self.on_standby(paused).await == ["paused"]).await;
        }
    }

    pub(super) async fn resume(&self) {
        self.on_standby("select pg_wal_replay_resume()::text").await;
    }

    pub(super) async fn stop_standby(&mut self) {
        if let Some(standby) = self.standby.take() {
            standby.stop().await.expect("the standby stops");
        }
    }

    /// Starts the standby's data again, as a standby or as a server of its own.
    pub(super) async fn restart_standby(&mut self, as_standby: bool) {
        let data = self.on_standby("select current_setting('data_directory')").await.remove(0);
        self.stop_standby().await;
        let signal = Path::new(&data).join("standby.signal");
        if as_standby {
            std::fs::write(signal, "").expect("write");
        } else {
            std::fs::remove_file(signal).expect("remove");
        }
        self.standby = Some(serve(&self.folder.join("standby"), None).await);
    }

    /// Makes the standby anew from the primary.
    pub(super) async fn renew_standby(&mut self) {
        self.stop_standby().await;
        let root = self.folder.join("standby");
        std::fs::remove_dir_all(&root).expect("remove");
        self.standby = Some(serve(&root, Some(&self.database.url)).await);
    }

    pub(super) async fn stop(mut self) {
        self.stop_standby().await;
        self.primary.stop().await.expect("the primary stops");
        std::fs::remove_dir_all(&self.folder).expect("remove");
    }
}

async fn serve(root: &Path, standby_of: Option<&str>) -> DevStack {
    let options =
        Options { redis: false, durable: false, standby_of: standby_of.map(str::to_owned), ..Options::new(root) };
    DevStack::start(&options).await.unwrap_or_else(|e| panic!("{e}"))
}

/// Waits for a condition, a minute at most.
pub(super) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| panic!("not within a minute: {what}"));
}
