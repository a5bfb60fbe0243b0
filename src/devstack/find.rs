//! Where installations keep their binaries.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::Error;

/// Folders whose sub-folders are versions of PostgreSQL: Debian, the PostgreSQL project's RPMs,
/// Homebrew on the two kinds of Mac and on Linux, and the Mac application.
const POSTGRES_HOMES: [(&str, &str); 6] = [
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql@"),
    ("/Applications/Postgres.app/Contents/Versions", ""),
];

/// Where, below the root, `scripts/bootstrap` unpacks PostgreSQL when it cannot install it.
pub(super) const UNPACKED: &str = "bin-postgres";

/// What is installed.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Folders with both `initdb` and `postgres`, the preferred first.
    pub(super) postgres: Vec<PathBuf>,
    /// `redis-server`, or Valkey, its fork under the old licence that some systems ship instead.
    pub(super) redis: Option<PathBuf>,
}

impl Found {
    /// Looks for both, last in what is unpacked below `root`.
    pub(super) fn search(root: &Path) -> Found {
        let path: Vec<PathBuf> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
        let mut postgres: Vec<PathBuf> = Vec::new();
        let candidates = path.iter().cloned().chain(pg_config()).chain(versions()).chain(unpacked(root));
        for dir in candidates.filter(|d| d.join("initdb").is_file()) {
            // Through links, since an installation finds the rest of itself beside its binaries.
            let dir = fs::canonicalize(dir.join("postgres")).ok().and_then(|p| Some(p.parent()?.to_owned()));
            postgres.extend(dir.filter(|d| d.join("initdb").is_file() && !postgres.contains(d)));
        }
        let redis = path
            .iter()
            // Only there: we can do without Redis, and a PATH without it is how somebody says so.
            .flat_map(|d| [d.join("redis-server"), d.join("valkey-server")])
            .find(|p| p.is_file());
        Found { postgres, redis }
    }

    /// The PostgreSQL to use for `data`: any for new data, and for old data one of the version that
    /// made it, for no other can read it.
    pub(super) fn postgres_for(&self, data: &Path) -> Result<&Path, Error> {
        let Some(first) = self.postgres.first() else {
            return Err(Error::NoPostgres);
        };
        let Ok(made_by) = fs::read_to_string(data.join("PG_VERSION")) else {
            return Ok(first);
        };
        let made_by = made_by.trim().to_owned();
        let versions: Vec<String> = self.postgres.iter().map(|d| major(d)).collect();
        match versions.iter().position(|v| *v == made_by) {
            Some(i) => Ok(&self.postgres[i]),
            None => Err(Error::Incompatible { data: data.into(), made_by, found: versions.join(", ") }),
        }
    }
}

fn pg_config() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().into())
}

/// Installed versions, the newest first.
fn versions() -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = POSTGRES_HOMES
        .iter()
        .flat_map(|(home, prefix)| entries(Path::new(home)).into_iter().map(move |dir| (dir, *prefix)))
        .filter_map(|(dir, prefix)| {
            let version = dir.file_name()?.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((version, dir.join("bin")))
        })
        .collect();
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// Every `bin` a few levels below what is unpacked: packages differ in how deep it is.
fn unpacked(root: &Path) -> Vec<PathBuf> {
    let mut level = vec![root.join(UNPACKED)];
    let mut found = Vec::new();
    for _ in 0..8 {
        level = level.iter().flat_map(|d| entries(d)).filter(|d| d.is_dir() && !d.is_symlink()).collect();
        found.extend(level.iter().filter(|d| d.ends_with("bin")).cloned());
    }
    found
}

/// What is in `dir`, sorted; nothing when it cannot be read.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    found.sort();
    found
}

/// `postgres (PostgreSQL) 15.18 (Debian …)` is `15`.
fn major(bin: &Path) -> String {
    let output = Command::new(bin.join("postgres")).arg("--version").output();
    let output = output.map(|o| o.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    let version = text.split_whitespace().nth(2).unwrap_or_default();
    version.chars().take_while(char::is_ascii_digit).collect()
}
