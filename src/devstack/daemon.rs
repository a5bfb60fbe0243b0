//! A server process: ours, or one that a dead owner left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::error::{At, Error, last_lines};
use super::home::Home;

/// How long a server may take to get ready. Recovery after a crash is what takes long.
const START: Duration = Duration::from_secs(60);
/// How long a server may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(20);
/// How long it may take to say whether it is ready.
const ANSWER: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// A child that is asked to stop when this is dropped.
#[derive(Debug)]
pub(super) struct Daemon {
    program: &'static str,
    child: Child,
    log: PathBuf,
    /// What asks it to stop in order.
    farewell: Signal,
}

impl Daemon {
    /// Starts `command` as the servers' user, its output to a log. It leads a process group of its
    /// own: Ctrl-C at the terminal reaches us, and we stop it after our last query.
    pub(super) fn spawn(
        home: &Home, program: &'static str, command: &mut Command, farewell: Signal,
    ) -> Result<Daemon, Error> {
        let (file, log) = home.log(program)?;
        let both = file.try_clone().at("write", &log)?;
        command.stdin(Stdio::null()).stdout(both).stderr(file).process_group(0);
        let binary = PathBuf::from(command.as_std().get_program());
        let child = home.user.run(command).spawn().at("start", &binary)?;
        Ok(Daemon { program, child, log, farewell })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until `ready` says so. Fails with the end of the log when the server ends, or takes too long.
    pub(super) async fn until(&mut self, ready: impl AsyncFn() -> bool) -> Result<(), Error> {
        let deadline = Instant::now() + START;
        // One that accepts and says nothing is asked again: it must not be waited for without end.
        while !timeout(ANSWER, ready()).await.unwrap_or(false) {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.failed(format!("ended at once: {status}")));
            }
            if Instant::now() > deadline {
                return Err(self.failed(format!("was not ready within {} s", START.as_secs())));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn failed(&self, problem: String) -> Error {
        let output = last_lines(&fs::read_to_string(&self.log).unwrap_or_default());
        Error::Failed { program: self.program, problem, output }
    }

    /// Asks the server to stop, waits, and kills it when it does not.
    pub(super) async fn stop(mut self) -> Result<(), Error> {
        self.signal(self.farewell);
        if timeout(STOP, self.child.wait()).await.is_err() {
            tracing::warn!("{} did not stop within {} s: killed", self.program, STOP.as_secs());
            return self.kill().await;
        }
        Ok(())
    }

    /// Ends the server without a word, as a crash would.
    pub(super) async fn kill(mut self) -> Result<(), Error> {
        self.child.kill().await.at("kill", Path::new(self.program))
    }

    fn signal(&self, signal: Signal) {
        // No id: it has been waited for, and the number may be somebody else's by now.
        if let Some(pid) = self.child.id().and_then(known) {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.signal(self.farewell);
    }
}

/// Stops the server that a dead owner left behind, if `pid` is one: its command line names `mark`, a
/// path that no other server has. Anything else that now has this number is left alone.
pub(super) async fn stop_orphan(pid: u32, mark: &Path, farewell: Signal) {
    let Some(id) = known(pid).filter(|_| runs(pid, mark)) else {
        return;
    };
    tracing::warn!("process {pid} was left behind with {}: stopping it", mark.display());
    for signal in [farewell, Signal::KILL] {
        let _ = kill_process(id, signal);
        let deadline = Instant::now() + STOP;
        while runs(pid, mark) && Instant::now() < deadline {
            sleep(POLL).await;
        }
        if !runs(pid, mark) {
            return;
        }
    }
}

/// Whether process `pid` has `mark` in its command line. A zombie has none, which is right: nobody
/// may ever reap an orphan inside a container, and it holds nothing any more.
pub(super) fn runs(pid: u32, mark: &Path) -> bool {
    let line = match fs::read(format!("/proc/{pid}/cmdline")) {
        Ok(line) => line,
        Err(_) if Path::new("/proc/self").exists() => return false,
        Err(_) => {
            let ps = std::process::Command::new("ps").args(["-ww", "-o", "args=", "-p", &pid.to_string()]).output();
            ps.map(|o| o.stdout).unwrap_or_default()
        }
    };
    let mark = mark.as_os_str().as_encoded_bytes();
    line.windows(mark.len()).any(|part| part == mark)
}

/// Whether any process, dead but unreaped ones included, has this number.
pub(super) fn exists(pid: u32) -> bool {
    known(pid).is_some_and(|id| test_kill_process(id) != Err(Errno::SRCH))
}

fn known(pid: u32) -> Option<Pid> {
    Pid::from_raw(pid.try_into().ok()?)
}
