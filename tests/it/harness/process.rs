//! A server process of its own.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal};

use super::Wire;

/// The program under test: the one that was built for the tests, or `OVERLAY_BIN`.
pub(crate) fn binary() -> OsString {
    std::env::var_os("OVERLAY_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_overlay").into())
}

/// A running server.
pub(crate) struct Process {
    child: Child,
    address: String,
    /// Reads the log to its end, so that the server never waits for us; answers it.
    log: Option<JoinHandle<String>>,
}

impl Process {
    /// Starts a server with these settings and the demo market.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let folder = super::folder();
        let mut command = Command::new(binary());
        command.args(["serve", "--seed-if-empty"]).current_dir(folder).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("OVERLAY_PORT", "0");
        command.env("LOG_FILTER", "warn,overlay=info").envs(settings.iter().copied());
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let address = address(&mut log).unwrap_or_else(|told| panic!("ended before it listened: {told}"));
        let log = std::thread::spawn(move || {
            let mut rest = String::new();
            log.read_to_string(&mut rest).map_or_else(|e| e.to_string(), |_| rest)
        });
        Self { child, address, log: Some(log) }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) async fn metrics(&self) -> String {
        let mut wire = Wire::new(&self.address);
        let answer = wire.ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("metrics");
        String::from_utf8(answer.body).expect("text")
    }

    /// A server on that database with `more` settings, which waits as long as a busy machine makes it wait.
    pub(crate) fn patient(pg_url: &str, more: &[(&str, &str)]) -> Self {
        let own = [
            ("PG_URL", pg_url),
            ("MAX_STALENESS_MS", "600000"),
            ("REQUEST_TIMEOUT_MS", "60000"),
            ("SQL_TIMEOUT_MS", "60000"),
            ("PG_POOL_WAIT_MS", "60000"),
        ];
        Self::start(&[&own, more].concat())
    }

    /// Bytes of memory that it holds.
    pub(crate) fn memory(&self) -> u64 {
        memory(self.child.id())
    }

    /// How many files and connections it has open.
    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).map_or(0, Iterator::count)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("is there");
    }

    /// Ends it as an orchestrator would.
    pub(crate) fn terminate(self) {
        self.signal(Signal::TERM);
        self.ended();
    }

    /// Waits for its end, which must be in order.
    pub(crate) fn ended(mut self) {
        let status = self.child.wait().expect("ends");
        let rest = self.log.take().expect("read").join().expect("reads");
        assert!(status.success() && !rest.contains("panicked"), "{status}: {rest}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails for one that has ended, which is as well.
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Bytes of memory that a process holds.
pub(crate) fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    1024 * line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or_default()
}

fn address(log: &mut BufReader<ChildStderr>) -> Result<String, String> {
    let mut told = String::new();
    loop {
        let mut line = String::new();
        if log.read_line(&mut line).expect("log") == 0 {
            return Err(told);
        }
        let rest = line.split_once("listening on http://").map(|(_, rest)| rest);
        if let Some(address) = rest.and_then(|rest| rest.split_whitespace().next()) {
            return Ok(address.to_owned());
        }
        told += &line;
    }
}
