//! Where the servers of one checkout keep their files.
//!
//! Under the checkout's root, whenever the servers' user can get there. Two things can prevent it: a
//! parent folder that is closed to that user (root's own home is), and a path too long for a socket.
//! Then a short private folder under /var/tmp, named after the root, takes what does not fit.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::error::{At, Error, last_lines};
use super::find::UNPACKED;
use super::user::User;

/// A unix socket's address holds this many bytes of path on Linux; macOS has four fewer.
const SOCKET_PATH: usize = 103;

#[derive(Debug)]
pub(super) struct Home {
    root: PathBuf,
    /// `root`, or the folder that stands in for it.
    base: PathBuf,
    pub(super) user: User,
}

impl Home {
    /// Decides where things go. `root` is an existing absolute path without links.
    pub(super) fn settle(root: &Path) -> Result<Home, Error> {
        let user = User::for_servers()?;
        let base = if user.reaches(root) {
            root.to_owned()
        } else {
            let base = stand_in(root);
            user.own(&base)?;
            tracing::warn!(
                "{} cannot be reached by user {}: the data is in {}",
                root.display(),
                user.name,
                base.display()
            );
            base
        };
        Ok(Home { root: root.to_owned(), base, user })
    }

    /// The private folder `name`, made when absent.
    pub(super) fn dir(&self, name: &str) -> Result<PathBuf, Error> {
        let dir = self.base.join(name);
        self.user.own(&dir)?;
        Ok(dir)
    }

    /// A private folder whose sockets, `file` being one, have an address that fits.
    pub(super) fn sockets(&self, dir: &Path, file: &str) -> Result<PathBuf, Error> {
        if dir.join(file).as_os_str().as_bytes().len() <= SOCKET_PATH {
            return Ok(dir.to_owned());
        }
        let short = stand_in(&self.root);
        self.user.own(&short)?;
        let short = short.join(dir.file_name().unwrap_or_default());
        self.user.own(&short)?;
        Ok(short)
    }

    /// `name`'s log, emptied. It is opened by us, so it can always be beside the lock.
    pub(super) fn log(&self, name: &str) -> Result<(File, PathBuf), Error> {
        let path = self.root.join(name).with_extension("log");
        Ok((File::create(&path).at("write", &path)?, path))
    }

    /// `bin`, or, when it was unpacked under the root, its copy that the servers' user can reach. All
    /// that was unpacked is copied: some packages keep their libraries beside the installation.
    pub(super) async fn within_reach(&self, bin: &Path) -> Result<PathBuf, Error> {
        let original = self.root.join(UNPACKED);
        let Ok(below) = bin.strip_prefix(&original) else { return Ok(bin.to_owned()) };
        if self.user.reaches(bin) {
            return Ok(bin.to_owned());
        }
        let copy = self.base.join(UNPACKED);
        if copy.join(below).exists() {
            return Ok(copy.join(below));
        }
        let half = copy.with_extension("new");
        for stale in [&half, &copy].into_iter().filter(|d| d.exists()) {
            fs::remove_dir_all(stale).at("remove", stale)?;
        }
        let cp = Command::new("cp").arg("-RL").arg(&original).arg(&half).output().await;
        let cp = cp.at("copy", &original)?;
        if !cp.status.success() {
            let output = last_lines(&String::from_utf8_lossy(&cp.stderr));
            return Err(Error::Failed { program: "cp", problem: "failed".into(), output });
        }
        fs::rename(&half, &copy).at("rename", &half)?;
        Ok(copy.join(below))
    }
}

/// The same name for the same root for ever: the data is found by it again.
fn stand_in(root: &Path) -> PathBuf {
    // FNV-1a. The standard library's hasher may change with the compiler.
    let hash = root
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    Path::new("/var/tmp").join(format!("overlay-{hash:016x}"))
}
