//! A PostgreSQL server on a data folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::process::Command;

use super::Options;
use super::daemon::{self, Daemon};
use super::error::{At, Error, last_lines};
use super::find::Found;
use super::home::Home;

/// The socket's file name. The number is part of PostgreSQL's naming and nothing listens on it.
const SOCKET: &str = ".s.PGSQL.5432";

/// SIGINT is a fast shutdown: open transactions are rolled back, everything is written out.
const FAST_SHUTDOWN: Signal = Signal::INT;

/// For a workstation's solid-state disk and one server's pools. On the command line rather than in
/// `postgresql.conf`, so that a change here reaches data folders that exist.
const SETTINGS: [&str; 7] = [
    "listen_addresses=",
    "port=5432",
    "unix_socket_permissions=0700",
    "shared_buffers=256MB",
    "max_connections=200",
    "random_page_cost=1.1",
    "jit=off",
];

/// For data that may be lost with the machine.
const NOT_DURABLE: [&str; 3] = ["fsync=off", "synchronous_commit=off", "full_page_writes=off"];

#[derive(Debug)]
pub(super) struct Postgres {
    daemon: Daemon,
    url: String,
}

impl Postgres {
    pub(super) async fn start(home: &Home, found: &Found, o: &Options) -> Result<Postgres, Error> {
        let dir = home.dir("postgres")?;
        let data = dir.join("data");
        let bin = home.within_reach(found.postgres_for(&data)?).await?;
        clear_the_way(&data).await?;
        if !data.exists() {
            match &o.standby_of {
                Some(primary) => copy(home, &bin, &dir, &data, primary).await?,
                None => create(home, &bin, &dir, &data).await?,
            }
        }
        let sockets = home.sockets(&dir, SOCKET)?;
        let mut command = Command::new(bin.join("postgres"));
        command.arg("-D").arg(&data).current_dir(&dir).env("LC_ALL", "C");
        // A list of folders, so one with a comma must be quoted.
        let quoted = sockets.to_string_lossy().replace('"', "\"\"");
        command.arg("-c").arg(format!("unix_socket_directories=\"{quoted}\""));
        for setting in SETTINGS.iter().chain(NOT_DURABLE.iter().filter(|_| !o.durable)) {
            command.args(["-c", setting]);
        }
        let mut daemon = Daemon::spawn(home, "postgres", &mut command, FAST_SHUTDOWN)?;
        let (pid, socket) = (daemon.pid(), sockets.join(SOCKET));
        daemon.until(async || status(&data, pid) && UnixStream::connect(&socket).await.is_ok()).await?;
        let host = percent_encode(&sockets, "");
        Ok(Postgres { daemon, url: format!("postgres://overlay@localhost/overlay?host={host}&port=5432") })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn stop(self) -> Result<(), Error> {
        self.daemon.stop().await
    }
}

/// Stops a server that still runs on `data`. We hold the checkout's lock, so its owner is dead.
async fn clear_the_way(data: &Path) -> Result<(), Error> {
    let pid_file = data.join("postmaster.pid");
    let Some(pid) = first_line(&pid_file).and_then(|l| l.trim().parse().ok()) else {
        return Ok(());
    };
    daemon::stop_orphan(pid, data, FAST_SHUTDOWN).await;
    // PostgreSQL itself sorts out a file whose process is gone. It refuses to start when the number
    // is taken by a stranger, so then the file goes.
    if pid_file.exists() && daemon::exists(pid) && !daemon::runs(pid, data) {
        fs::remove_file(&pid_file).at("remove", &pid_file)?;
    }
    Ok(())
}

/// Whether the server `pid` says that it accepts connections: since version 10 the eighth line of
/// its pid file does (PostgreSQL's `src/include/utils/pidfile.h`).
fn status(data: &Path, pid: Option<u32>) -> bool {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines().map(str::trim);
    lines.next().and_then(|l| l.parse().ok()) == pid && lines.nth(6) == Some("ready")
}

/// Makes the cluster and the empty database `overlay`, beside their place, then moves them into it.
async fn create(home: &Home, bin: &Path, dir: &Path, data: &Path) -> Result<(), Error> {
    tracing::info!("making a PostgreSQL database in {}", data.display());
    let half = dir.join("data.new");
    let mut made = Ok(());
    // Not every system knows C.UTF-8; with plain C only non-ASCII case folding is lost.
    for locale in ["C.UTF-8", "C"] {
        if half.exists() {
            fs::remove_dir_all(&half).at("remove", &half)?;
        }
        let mut initdb = Command::new(bin.join("initdb"));
        initdb.args(["-U", "overlay", "-A", "trust", "-E", "UTF8", "--locale", locale, "-D"]).arg(&half);
        made = run(home, "initdb", initdb.current_dir(dir), "").await;
        if made.is_ok() {
            break;
        }
    }
    made?;
    let mut single = Command::new(bin.join("postgres"));
    single.args(["--single", "-D"]).arg(&half).arg("postgres").env("LC_ALL", "C");
    run(home, "postgres --single", single.current_dir(dir), "CREATE DATABASE overlay;\n").await?;
    fs::rename(&half, data).at("rename", &half)
}

/// Makes the cluster as a copy of a running one, which it follows from then on.
async fn copy(home: &Home, bin: &Path, dir: &Path, data: &Path, primary: &str) -> Result<(), Error> {
    let half = dir.join("data.new");
    if half.exists() {
        fs::remove_dir_all(&half).at("remove", &half)?;
    }
    let mut backup = Command::new(bin.join("pg_basebackup"));
    backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--dbname", primary, "-D"]).arg(&half);
    run(home, "pg_basebackup", backup.current_dir(dir), "").await?;
    fs::rename(&half, data).at("rename", &half)
}

/// Runs a program to its end. Single-user PostgreSQL reports a failed statement in words only.
async fn run(home: &Home, program: &'static str, command: &mut Command, input: &str) -> Result<(), Error> {
    let binary = PathBuf::from(command.as_std().get_program());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = home.user.run(command).spawn().at("start", &binary)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.at("write to", &binary)?;
    }
    let output = child.wait_with_output().await.at("run", &binary)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && !said.contains("ERROR:") {
        return Ok(());
    }
    Err(Error::Failed { program, problem: format!("failed: {}", output.status), output: last_lines(&said) })
}

fn first_line(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.lines().next()?.to_owned())
}

/// `path` as part of a URL; bytes in `also` stay as they are besides those that always may (RFC 3986).
pub(super) fn percent_encode(path: &Path, also: &str) -> String {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .map(|&b| {
            let c = char::from(b);
            if c.is_ascii_alphanumeric() || "-._~".contains(c) || also.contains(c) {
                c.to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}
