//! Programs beside the server under test: what an operator may put between it and its stores, or in their place.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

/// A folder of a test's own, which goes with it. Files in it are given to whoever owns another one: PostgreSQL and what goes with it
/// do not run as root.
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    owner: (u32, u32),
}

impl Folder {
    pub(crate) fn like(other: &Path) -> Self {
        let path = super::folder();
        let owner =
            std::fs::metadata(other).map_or_else(|e| panic!("{}: {e}", other.display()), |m| (m.uid(), m.gid()));
        chown(&path, Some(owner.0), Some(owner.1)).expect("given away");
        Self { path, owner }
    }

    /// Writes a file that its owner alone may read, as keys must be; answers its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path.join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("closed");
        chown(&path, Some(self.owner.0), Some(self.owner.1)).expect("given away");
        path.to_str().expect("text").to_owned()
    }

    /// Starts a program as the folder's owner, and waits until `port` accepts connections.
    pub(crate) async fn run(&self, binary: &Path, arguments: &[&str], port: u16) -> Program {
        let log = self.path.join(binary.file_name().expect("a name")).with_extension("log");
        let file = std::fs::File::create(&log).expect("a log");
        let mut command = Command::new(binary);
        command.args(arguments).current_dir(&self.path).env("LC_ALL", "C").stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a log")).stderr(file).kill_on_drop(true);
        if rustix::process::geteuid().is_root() {
            command.uid(self.owner.0).gid(self.owner.1);
        }
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", binary.display()));
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            let has_ended = child.try_wait().expect("is ours").is_some() || begun.elapsed() > Duration::from_secs(30);
            assert!(!has_ended, "{}: {}", binary.display(), std::fs::read_to_string(&log).unwrap_or_default());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Program { child }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What still writes there writes nowhere.
        let _gone = std::fs::remove_dir_all(&self.path);
    }
}

/// A running program; it ends when it is dropped, in a panic too.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Asks it to end, and waits.
    pub(crate) async fn end(mut self, signal: rustix::process::Signal) {
        let pid = self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())).expect("is there");
        rustix::process::kill_process(pid, signal).expect("is ours");
        tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await.expect("ends in time").expect("ends");
    }
}

/// The program of that name, also where only root has it in `PATH`.
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
