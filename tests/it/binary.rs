//! The binary itself: settings, start, import from a pipe, and an orderly end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::process::binary;
use crate::harness::{private_redis, with_database};

/// The binary with a clean environment, in a folder of its own, so that no `.env` of a checkout is read.
pub(crate) fn overlay(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let folder = crate::harness::folder();
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(folder).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // Nothing listens there: a server that was given a Redis starts none.
    command.env("REDIS_URL", "redis://127.0.0.1:1").envs(settings.iter().copied());
    command
}

pub(crate) fn ended(mut command: Command) -> (Output, String) {
    let output = command.stdin(Stdio::null()).output().expect("runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, told)
}

#[test]
fn faulty_settings_stop_the_start_and_all_are_told_by_name() {
    let settings = [
        ("PG_URL", "postgres://u:hunter2@localhost/x"),
        ("PG_POOL_MAX", "lots"),
        ("CACHE_TTLS_JSON", "{\"assets\": \"soon\"}"),
        ("BODY_SIZE_LIMIT", "-1"),
        ("INGEST_API_KEYS", "hunter3"),
    ];
    let (output, told) = ended(overlay(&["serve"], &settings));
    assert_eq!(output.status.code(), Some(2), "{told}");
    for name in ["PG_POOL_MAX", "1 to 1000", "CACHE_TTLS_JSON", "BODY_SIZE_LIMIT", "INGEST_API_KEYS"] {
        assert!(told.contains(name), "{name} is not told: {told}");
    }
    assert!(!told.contains("hunter"), "{told}");
}

#[test]
fn a_database_that_does_not_answer_is_told_without_its_password() {
    let (output, told) = ended(overlay(&["migrate", "status"], &[("PG_URL", "postgres://u:hunter2@127.0.0.1:1/x")]));
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("PostgreSQL at 127.0.0.1:1 cannot be reached"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

/// A server that runs, and the rest of its log.
struct Serving {
    child: Child,
    url: String,
    log: BufReader<std::process::ChildStderr>,
    /// What the log has told so far.
    told: String,
}

impl Serving {
    fn start(pg_url: &str) -> Self {
        Self::start_with(pg_url, &[])
    }

    fn start_with(pg_url: &str, more: &[(&str, &str)]) -> Self {
        let mut command = overlay(&["serve", "--seed-if-empty"], &[("PG_URL", pg_url), ("OVERLAY_PORT", "0")]);
        let mut child = command.envs(more.iter().copied()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let (mut told, mut url) = (String::new(), None);
        while url.is_none() {
            let mut line = String::new();
            if log.read_line(&mut line).expect("log") == 0 {
                panic!("ended before it listened ({:?}): {told}", child.wait());
            }
            let rest = line.split_once("listening on ").map(|(_, rest)| rest);
            url = rest.and_then(|rest| rest.split_whitespace().next()).map(str::to_owned);
            told += &line;
        }
        Self { child, url: url.expect("just found"), log, told }
    }

    /// Its log up to a line with `words`.
    fn told(&mut self, words: &str) -> &str {
        while !self.told.contains(words) {
            assert!(
                self.log.read_line(&mut self.told).expect("log") > 0,
                "it ended without a word of {words}: {}",
                self.told
            );
        }
        &self.told
    }

    /// Ends it as an orchestrator would; answers the rest of its log.
    fn terminate(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("is there");
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).expect("log");
        let status = self.child.wait().expect("ends");
        assert!(status.success(), "{status}: {rest}");
        rest
    }
}

impl Drop for Serving {
    /// A test that fails leaves no server behind.
    fn drop(&mut self) {
        let _ended = self.child.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_migrates_seeds_serves_without_redis_and_ends_in_order() {
    with_database(async |database| {
        let serving = Serving::start(&database.url);
        let health = reqwest::get(format!("{}/health", serving.url)).await.expect("answer");
        assert_eq!(health.status(), StatusCode::OK);
        let health: serde_json::Value = health.json().await.expect("JSON");
        assert_eq!((&health["status"], &health["cache"]), (&json!("degraded"), &json!("redis:error")));
        let listing: serde_json::Value =
            reqwest::get(format!("{}/listings", serving.url)).await.expect("answer").json().await.expect("JSON");
        assert_eq!(listing["items"].as_array().map(Vec::len), Some(50), "the market was loaded");
        let rest = serving.terminate();
        assert!(rest.contains("stopping"), "{rest}");
        assert!(!rest.contains("panicked"), "{rest}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_refuses_our_password_is_told_without_it() {
    let Some((redis, _folder)) = private_redis().await else { return };
    let client = redis::Client::open(redis.url()).expect("a URL");
    let mut session = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let user = ["SETUSER", "overlay", "on", ">another", "~*", "+@all"];
    let () = redis::cmd("ACL").arg(&user).query_async(&mut session).await.expect("a user");
    with_database(async |database| {
        let url = format!("{}?user=overlay&pass=hunter2", redis.url());
        let mut serving = Serving::start_with(&database.url, &[("REDIS_URL", &url), ("LOG_FILTER", "trace")]);
        let told = serving.told("Redis cannot be reached").to_owned();
        assert!(told.contains("authentication failed"), "the cause is told: {told}");
        let mut seen = told;
        for path in ["/health", "/health/db", "/metrics"] {
            seen += &reqwest::get(format!("{}{path}", serving.url)).await.expect("answer").text().await.expect("text");
        }
        assert!(seen.contains("degraded") && seen.contains("redis:error"), "{seen}");
        seen += &serving.terminate();
        assert!(!seen.contains("hunter2"), "{seen}");
    })
    .await;
    redis.stop().await.expect("stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_imports_from_a_pipe_and_names_the_rejects() {
    with_database(async |database| {
        let mut command = overlay(&["import", "jsonl", "-", "--rejects", "refused.jsonl"], &[("PG_URL", &database.url)]);
        let folder = command.get_current_dir().expect("set").to_owned();
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let manifest = json!({
            "type": "datasetVersionManifest", "datasetId": "pipe/one", "description": "",
            "content": {"contentHash": "e".repeat(64)},
            "provenance": {"createdAt": "2026-01-01T00:00:00Z", "producer": {"identityKey": format!("03{}", "d".repeat(64))}},
        });
        write!(child.stdin.take().expect("piped"), "{manifest}\nnonsense\n").expect("written");
        let output = child.wait_with_output().expect("ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert!(told.contains("1 added") && told.contains("1 refused") && told.contains("refused.jsonl"), "{told}");
        let refused = std::fs::read_to_string(folder.join("refused.jsonl")).expect("is there");
        assert!(refused.contains("\"line\":2"), "{refused}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resetting_asks_first_and_status_tells() {
    with_database(async |database| {
        let pg = [("PG_URL", database.url.as_str())];
        let (output, told) = ended(overlay(&["migrate", "reset"], &pg));
        assert!(!output.status.success() && told.contains("--yes"), "{told}");
        let (output, _) = ended(overlay(&["migrate", "down", "100", "--yes"], &pg));
        assert!(output.status.success());
        let (output, _) = ended(overlay(&["migrate", "status"], &pg));
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(listed.contains("missing  m0001") && !listed.contains("applied"), "{listed}");
        let (output, _) = ended(overlay(&["migrate", "up"], &pg));
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(listed.contains("applied  m0001") && !listed.contains("missing"), "{listed}");
    })
    .await;
}

/// The input must not be the file that refused lines are written to: it would grow for ever, and be lost.
#[tokio::test(flavor = "multi_thread")]
async fn rejects_cannot_go_into_the_input() {
    with_database(async |database| {
        let command =
            overlay(&["import", "jsonl", "in.jsonl", "--rejects", "./in.jsonl"], &[("PG_URL", &database.url)]);
        let file = command.get_current_dir().expect("set").join("in.jsonl");
        std::fs::write(&file, "nonsense\n").expect("written");
        let (output, told) = ended(command);
        assert!(!output.status.success() && told.contains("--rejects names the input"), "{told}");
        assert_eq!(std::fs::read_to_string(&file).expect("is there"), "nonsense\n");
    })
    .await;
}

/// Whoever stops the private stores' owner from outside leaves none of them behind, nor the command that used them.
#[test]
fn private_stores_end_with_their_owner() {
    let mut command = overlay(&["devstack", "--root", "stores", "--throw-away", "--"], &[]);
    let folder = command.get_current_dir().expect("set").to_owned();
    command.args(["sh", "-c", "echo $$; exec sleep 600"]);
    let mut owner = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("starts");
    let mut told = String::new();
    BufReader::new(owner.stdout.take().expect("piped")).read_line(&mut told).expect("it runs");
    let postmaster = std::fs::read_to_string(folder.join("stores/postgres/data/postmaster.pid")).expect("it runs");
    let pids = [told.trim().to_owned(), postmaster.lines().next().expect("a pid").to_owned()];
    let is_there = |pid: &String| std::path::Path::new("/proc").join(pid).exists();
    assert!(pids.iter().all(is_there), "{pids:?}");
    let asked = Command::new("kill").args(["-TERM", &owner.id().to_string()]).status().expect("kill");
    assert!(asked.success());
    let status = owner.wait().expect("it ends");
    assert!(!status.success(), "the command did not end well");
    assert!(!pids.iter().any(is_there), "{pids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let Some((redis, _folder)) = private_redis().await else { return };
    with_database(async |database| {
        let examined = |redis: &str, more: &[(&str, &str)]| {
            let mut command = overlay(&["doctor"], &[("PG_URL", &database.url), ("REDIS_URL", redis)]);
            command.envs(more.iter().copied());
            let (output, told) = ended(command);
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &told)
        };
        let (code, told) = examined(redis.url(), &[]);
        assert!(code == Some(0) && !told.contains("BAD"), "{told}");
        for good in ["Redis answers", "it is a primary", "the schema is whole", "0 of them not always"] {
            assert!(told.contains(good), "no {good}: {told}");
        }
        let change = async |sql: &str| {
            let session = crate::harness::session(&database.url).await;
            sea_orm::ConnectionTrait::execute_unprepared(&session, sql).await.expect(sql);
        };
        change("alter table assets enable trigger feed_insert").await;
        change("drop trigger feed_truncate on policies").await;
        change("alter table receipts drop constraint receipts_pkey cascade").await;
        change(
            "create or replace function feed_producers() returns trigger language plpgsql as 'begin return null; end'",
        )
        .await;
        change("update pg_index set indisvalid = false where indexrelid = 'assets_pkey'::regclass").await;
        let (code, told) = examined(
            "redis://127.0.0.1:1",
            &[("PG_READ_URLS", database.url.as_str()), ("POLICY_DEFAULT_ID", "pol_nope")],
        );
        assert_eq!(code, Some(1), "{told}");
        for part in
            ["constraint receipts_pkey of receipts p", "index receipts_pkey of receipts", "function feed_producers "]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        for (bad, advice) in [
            ("1 of them not always", "enable always trigger"),
            ("does not hear of every change of policies", "change_log"),
            ("these indexes are not valid: assets_pkey", "reindex"),
            ("POLICY_DEFAULT_ID is pol_nope", "no policy has this id"),
            ("Redis does not answer", "REDIS_URL"),
            ("replica 1 is not a standby", "PG_READ_URLS"),
        ] {
            let lines: Vec<&str> = told.lines().collect();
            let at = lines.iter().position(|line| line.starts_with("BAD") && line.contains(bad));
            let at = at.unwrap_or_else(|| panic!("no {bad}: {told}"));
            assert!(lines[at + 1].contains(advice), "{told}");
        }
        assert!(told.contains("7 things are bad"), "{told}");
        let (output, _) = ended(overlay(&["migrate", "down", "1", "--yes"], &[("PG_URL", &database.url)]));
        assert!(output.status.success());
        let (code, told) = examined(redis.url(), &[]);
        assert!(
            code == Some(1) && told.contains("the schema lacks m00") && told.contains("overlay migrate up"),
            "{told}"
        );
    })
    .await;
}
