//! Whom the servers run as, and which folders that user can reach.
//!
//! Without root that is simply us. As root it is `postgres`, or else `nobody`: PostgreSQL refuses
//! root. The standard library's `Command::uid` also drops root's supplementary groups.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use tokio::process::Command;

use super::error::{At, Error};

/// The user that owns the servers and their files.
#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) name: String,
    uid: u32,
    gid: u32,
    /// Whether a child has to become this user; false when we are it already.
    other: bool,
}

impl User {
    pub(super) fn for_servers() -> Result<User, Error> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if !uid.is_root() {
            return Ok(User { name: uid.to_string(), uid: uid.as_raw(), gid: gid.as_raw(), other: false });
        }
        let path = Path::new("/etc/passwd");
        let passwd = fs::read_to_string(path).at("read", path)?;
        User::named(&passwd, "postgres").or_else(|| User::named(&passwd, "nobody")).ok_or(Error::NoUser)
    }

    /// A line of /etc/passwd is `name:password:uid:gid:…`.
    fn named(passwd: &str, name: &str) -> Option<User> {
        let line = passwd.lines().find(|l| l.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(str::parse);
        match (ids.next()?, ids.next()?) {
            (Ok(uid), Ok(gid)) if uid != 0 => Some(User { name: name.into(), uid, gid, other: true }),
            _ => None,
        }
    }

    /// Makes `command` run as this user.
    pub(super) fn run<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        if self.other { command.uid(self.uid).gid(self.gid) } else { command }
    }

    /// Whether this user may pass through `dir` and everything above it. Goes by mode bits alone,
    /// which is all that a fresh 0700 home folder needs.
    pub(super) fn reaches(&self, dir: &Path) -> bool {
        !self.other
            || dir.ancestors().all(|d| {
                fs::metadata(d).is_ok_and(|m| {
                    let shift = if m.uid() == self.uid {
                        6
                    } else if m.gid() == self.gid {
                        3
                    } else {
                        0
                    };
                    m.mode() >> shift & 1 == 1
                })
            })
    }

    /// Makes sure that `dir` is a folder of this user's with mode 0700. A folder of anybody else's,
    /// or a link to one, is refused: under /var/tmp it may have been put there to catch our data.
    pub(super) fn own(&self, dir: &Path) -> Result<(), Error> {
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e).at("make", dir),
            _ => {}
        }
        let found = fs::symlink_metadata(dir).at("inspect", dir)?;
        // Ours rather than the user's: we died between making the folder and giving it away.
        let ours = rustix::process::geteuid().as_raw();
        if !found.is_dir() || ![self.uid, ours].contains(&found.uid()) {
            return Err(Error::NotOurs { path: dir.into(), user: self.name.clone() });
        }
        if found.uid() != self.uid {
            lchown(dir, Some(self.uid), Some(self.gid)).at("change the owner of", dir)?;
        }
        if found.mode() & 0o077 != 0 {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).at("close to others", dir)?;
        }
        Ok(())
    }
}
