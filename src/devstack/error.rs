//! Why the private servers did not start or stop, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Each message is written for the person who typed `make run`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PostgreSQL server binaries anywhere we look.
    #[error("no PostgreSQL server found: run scripts/bootstrap, or set PG_URL to a database you have")]
    NoPostgres,
    /// No `redis-server` binary anywhere we look.
    #[error("no redis-server found: run scripts/bootstrap, or set REDIS_URL to a server you have")]
    NoRedis,
    /// Another live process holds this checkout's lock.
    #[error(
        "{} is in use by process {pid}: stop it first, or set PG_URL and REDIS_URL to share its servers",
        root.display()
    )]
    InUse {
        /// The folder both want.
        root: PathBuf,
        /// The holder, as it wrote itself into the lock file.
        pid: String,
        /// Where its PostgreSQL listens, once it does.
        pg_url: Option<String>,
        /// Where its Redis listens, if it has one.
        redis_url: Option<String>,
    },
    /// A folder that must be private belongs to another user, or is not a folder.
    #[error("{} is not a folder of user {user}: move it away", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// Whose it would have to be.
        user: String,
    },
    /// PostgreSQL refuses to run as root, and there is nobody else to run it as.
    #[error("PostgreSQL refuses to run as root, and /etc/passwd has neither postgres nor nobody")]
    NoUser,
    /// The data was made by a PostgreSQL whose files those installed cannot read.
    #[error(
        "{} was made by PostgreSQL {made_by}, which is not installed here (found: {found}): \
         install it, or delete that folder to start afresh",
        data.display()
    )]
    Incompatible {
        /// The data folder.
        data: PathBuf,
        /// The major version that made it.
        made_by: String,
        /// The major versions that are installed.
        found: String,
    },
    /// A program ended, or did not get ready in time.
    #[error("{program} {problem}\n{output}")]
    Failed {
        /// The program's name.
        program: &'static str,
        /// What it did.
        problem: String,
        /// The last lines it wrote.
        output: String,
    },
    /// The operating system said no.
    #[error("cannot {verb} {}: {source}", path.display())]
    Io {
        /// What we tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Adds to an [`io::Error`] the two things it never says: what was tried, and on which path.
pub(super) trait At<T> {
    fn at(self, verb: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, verb: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { verb, path: path.into(), source })
    }
}

/// The end of a program's output: enough to see why it failed, short enough for a terminal.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
