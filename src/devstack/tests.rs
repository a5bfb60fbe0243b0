//! These run the real servers; they need `scripts/bootstrap` to have been run.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, which is the point")]

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};

use super::find::Found;
use super::*;

/// A folder that any user can reach and that goes with the test.
struct Temp(PathBuf);

impl Temp {
    fn new() -> Temp {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("devstack-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Temp(dir)
    }

    fn options(&self, below: &str) -> Options {
        Options { durable: false, redis: false, ..Options::new(self.0.join(below)) }
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The first column of the answer to `sql`, over the wire: `psql` may not be installed.
async fn query(url: &str, sql: &str) -> Vec<String> {
    let mut stream = UnixStream::connect(sockets(url).join(".s.PGSQL.5432")).await.unwrap();
    let hello = b"\0\x03\0\0user\0overlay\0database\0overlay\0\0";
    stream.write_all(&(hello.len() as u32 + 4).to_be_bytes()).await.unwrap();
    stream.write_all(hello).await.unwrap();
    messages(&mut stream).await;
    stream.write_all(b"Q").await.unwrap();
    stream.write_all(&(sql.len() as u32 + 5).to_be_bytes()).await.unwrap();
    stream.write_all(format!("{sql}\0").as_bytes()).await.unwrap();
    let rows = messages(&mut stream).await.into_iter().filter(|(kind, _)| *kind == b'D');
    // A row is a count of columns (2 bytes), then each value with its length (4 bytes) before it.
    rows.map(|(_, body)| String::from_utf8(body[6..].to_vec()).unwrap()).collect()
}

/// Everything up to "ready for query".
async fn messages(stream: &mut UnixStream) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let kind = stream.read_u8().await.unwrap();
        let mut body = vec![0; stream.read_u32().await.unwrap() as usize - 4];
        stream.read_exact(&mut body).await.unwrap();
        assert_ne!(kind, b'E', "{}", String::from_utf8_lossy(&body));
        if kind == b'Z' {
            return all;
        }
        all.push((kind, body));
    }
}

/// The folder in the URL's `host`.
fn sockets(url: &str) -> PathBuf {
    let host = url.split_once("host=").unwrap().1.split_once('&').unwrap().0;
    let mut parts = host.split('%');
    let mut path = parts.next().unwrap().to_owned().into_bytes();
    for part in parts {
        path.push(u8::from_str_radix(&part[..2], 16).unwrap());
        path.extend(part[2..].bytes());
    }
    String::from_utf8(path).unwrap().into()
}

#[tokio::test]
async fn keeps_its_data_between_starts() {
    let temp = Temp::new();
    let o = Options { durable: true, ..temp.options("a, b") };
    let stack = DevStack::start(&o).await.unwrap();
    query(stack.pg_url().unwrap(), "CREATE TABLE t AS SELECT 'kept' AS c").await;
    assert_eq!(query(stack.pg_url().unwrap(), "SHOW listen_addresses").await, [""]);
    assert_eq!(query(stack.pg_url().unwrap(), "SHOW server_encoding").await, ["UTF8"]);
    let mode = fs::metadata(sockets(stack.pg_url().unwrap())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "trust authentication rests on this");
    stack.stop().await.unwrap();

    let stack = DevStack::start(&o).await.unwrap();
    assert_eq!(query(stack.pg_url().unwrap(), "SELECT c FROM t").await, ["kept"]);
    stack.stop().await.unwrap();
    assert!(!temp.0.join("a, b/postgres/data/postmaster.pid").exists());
}

#[tokio::test]
async fn two_checkouts_run_side_by_side() {
    let temp = Temp::new();
    let (a, b) = (temp.options("a"), temp.options("b"));
    let (a, b) = tokio::join!(DevStack::start(&a), DevStack::start(&b));
    let (a, b) = (a.unwrap(), b.unwrap());
    query(a.pg_url().unwrap(), "CREATE TABLE only_in_a ()").await;
    let there = query(b.pg_url().unwrap(), "SELECT to_regclass('only_in_a') IS NULL").await;
    assert_eq!(there, ["t"]);
    a.stop().await.unwrap();
    b.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_owner_is_told_who_the_first_is() {
    let temp = Temp::new();
    let o = temp.options("a");
    let first = DevStack::start(&o).await.unwrap();
    let refused = DevStack::start(&o).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
    query(first.pg_url().unwrap(), "SELECT 1").await;
    first.stop().await.unwrap();
}

#[tokio::test]
async fn dropping_it_stops_the_servers_too() {
    let temp = Temp::new();
    let o = temp.options("a");
    let socket = sockets(DevStack::start(&o).await.unwrap().pg_url().unwrap()).join(".s.PGSQL.5432");
    let gone = async {
        while socket.exists() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(20), gone).await.expect("the server stopped");
}

/// Not a test of its own: the owner that the next test kills.
#[tokio::test]
#[ignore = "run by the_servers_of_a_killed_owner_are_stopped"]
async fn owner() {
    let Some(root) = env::var_os("DEVSTACK_TEST_ROOT") else {
        return;
    };
    let stack = DevStack::start(&Options { durable: false, ..Options::new(root) }).await.unwrap();
    println!("URL {}", stack.pg_url().unwrap());
    sleep(Duration::from_secs(600)).await;
}

#[tokio::test]
async fn the_servers_of_a_killed_owner_are_stopped() {
    let temp = Temp::new();
    let o = Options { redis: true, ..temp.options("a") };
    let mut owner = tokio::process::Command::new(env::current_exe().unwrap());
    let (_, module) = module_path!().split_once("::").unwrap();
    owner.args(["--exact", &format!("{module}::owner"), "--ignored", "--nocapture"]);
    let mut owner = owner.env("DEVSTACK_TEST_ROOT", &o.root).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    while !said.contains("URL ") {
        let mut some = [0; 512];
        let n = owner.stdout.as_mut().unwrap().read(&mut some).await.unwrap();
        assert_ne!(n, 0, "the owner ended: {said}");
        said.push_str(&String::from_utf8_lossy(&some[..n]));
    }
    owner.kill().await.unwrap();
    let pid =
        |file: &str| -> u32 { fs::read_to_string(o.root.join(file)).unwrap().lines().next().unwrap().parse().unwrap() };
    let mut orphans = vec![(pid("postgres/data/postmaster.pid"), o.root.join("postgres/data"))];
    if Found::search(&o.root).redis.is_some() {
        orphans.push((pid("redis/redis.pid"), o.root.join("redis/redis.sock")));
    }
    assert!(orphans.iter().all(|(pid, mark)| daemon::runs(*pid, mark)), "they outlived their owner");

    let stack = DevStack::start(&o).await.unwrap();
    assert!(!orphans.iter().any(|(pid, mark)| daemon::runs(*pid, mark)));
    assert_eq!(query(stack.pg_url().unwrap(), "SELECT 1").await, ["1"]);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_is_no_obstacle() {
    let temp = Temp::new();
    let o = temp.options("a");
    DevStack::start(&o).await.unwrap().stop().await.unwrap();
    let data = o.root.join("postgres/data");
    let mut stranger = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
    let text = format!("{}\n{}\n0\n5432\n\n\n0 0\nready   \n", stranger.id().unwrap(), data.display());
    fs::write(data.join("postmaster.pid"), text).unwrap();
    let stack = DevStack::start(&o).await.unwrap();
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger was left alone");
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_half_made_is_made_again() {
    let temp = Temp::new();
    let o = temp.options("a");
    let home = home::Home::settle(&{
        fs::create_dir_all(&o.root).unwrap();
        fs::canonicalize(&o.root).unwrap()
    });
    fs::create_dir_all(home.unwrap().dir("postgres").unwrap().join("data.new/base")).unwrap();
    let stack = DevStack::start(&o).await.unwrap();
    assert_eq!(query(stack.pg_url().unwrap(), "SELECT 1").await, ["1"]);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_fine() {
    let temp = Temp::new();
    let o = temp.options(&["a-rather-long-folder-name"; 6].join("/"));
    let stack = DevStack::start(&o).await.unwrap();
    let sockets = sockets(stack.pg_url().unwrap());
    assert!(sockets.starts_with("/var/tmp"));
    assert_eq!(query(stack.pg_url().unwrap(), "SELECT 1").await, ["1"]);
    stack.stop().await.unwrap();
    fs::remove_dir_all(sockets.parent().unwrap()).unwrap();
    assert!(o.root.join("postgres/data").exists());
}

#[tokio::test]
async fn a_closed_home_folder_is_fine() {
    let temp = Temp::new();
    let o = temp.options("closed/checkout");
    fs::create_dir(temp.0.join("closed")).unwrap();
    fs::set_permissions(temp.0.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let stack = DevStack::start(&o).await.unwrap();
    let dir = sockets(stack.pg_url().unwrap());
    assert_eq!(query(stack.pg_url().unwrap(), "SELECT 1").await, ["1"]);
    stack.stop().await.unwrap();
    if rustix::process::geteuid().is_root() {
        assert!(dir.starts_with("/var/tmp"));
        fs::remove_dir_all(dir.parent().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_folder_of_somebody_elses_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let temp = Temp::new();
    let o = temp.options("a");
    fs::create_dir_all(o.root.join("postgres")).unwrap();
    std::os::unix::fs::chown(o.root.join("postgres"), Some(12345), None).unwrap();
    assert!(matches!(DevStack::start(&o).await, Err(Error::NotOurs { .. })));
}

#[tokio::test]
async fn without_redis_there_is_no_redis_url() {
    let temp = Temp::new();
    let o = Options { redis: true, postgres: false, ..temp.options("a") };
    let stack = DevStack::start_with(&o, &Found::default()).await.unwrap();
    assert_eq!(stack.redis_url(), None);
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn without_postgres_the_error_says_what_to_do() {
    let temp = Temp::new();
    let refused = DevStack::start_with(&temp.options("a"), &Found::default()).await.unwrap_err();
    assert!(refused.to_string().contains("scripts/bootstrap"), "{refused}");
}

#[tokio::test]
async fn data_of_another_version_is_not_touched() {
    let temp = Temp::new();
    let o = temp.options("a");
    DevStack::start(&o).await.unwrap().stop().await.unwrap();
    fs::write(o.root.join("postgres/data/PG_VERSION"), "7\n").unwrap();
    let refused = DevStack::start(&o).await.unwrap_err().to_string();
    assert!(refused.contains("was made by PostgreSQL 7"), "{refused}");
}

#[tokio::test]
async fn redis_can_be_killed_and_started_again() {
    let temp = Temp::new();
    if Found::search(&temp.0).redis.is_none() {
        return;
    }
    let first = RedisServer::start(&temp.0).await.unwrap();
    let url = first.url().to_owned();
    assert_eq!(url, format!("redis+unix://{}/redis/redis.sock", temp.0.display()));
    first.kill().await.unwrap();
    let second = RedisServer::start(&temp.0).await.unwrap();
    assert_eq!(second.url(), url);
    second.stop().await.unwrap();
    assert!(!Path::new(url.trim_start_matches("redis+unix://")).exists());
}
