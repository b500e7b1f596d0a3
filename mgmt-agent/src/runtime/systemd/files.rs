//! What a node is started with, in its directory: `node.json`, of the user that the node runs as.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Command,
};

use broker_codec::data::ZeekString;
use mgmt_daemon::files;
use rustix::{
    fs::{AtFlags, Gid, Mode, OFlags, Uid, fchown, open, openat, renameat, unlinkat},
    process::geteuid,
};

use crate::{launcher, supervisors::own::Launch};

/// As it is called until it is whole.
const UNFINISHED: &str = ".node.json.new";

pub(super) fn path(bytes: &ZeekString) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// A user of this host, to whom files are given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner(Uid, Gid);

impl Owner {
    /// The user that has to own what the node reads and writes: none in particular, unless this agent is root and the node is not.
    pub(super) fn of(user: &str) -> io::Result<Option<Self>> {
        if user.is_empty() || !geteuid().is_root() {
            return Ok(None);
        }
        // Users need not be in a file: the system's library asks whom it is configured to ask.
        let output = Command::new("getent").args(["passwd", "--", user]).output()?;
        let line = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut fields = line.trim_end().split(':').skip(2).map(str::parse::<u32>);
        match (fields.next(), fields.next()) {
            (Some(Ok(user)), Some(Ok(group))) => Ok(Some(Self(Uid::from_raw(user), Gid::from_raw(group)))),
            _ => Err(io::Error::other(format!(
                "there is no user {user}, whose nodes are to be"
            ))),
        }
    }
}

/// Makes the directory unless it is there, and replaces the file in it. The directory may be another user's: no link of that user's is followed.
pub(super) fn write(launch: &Launch, owner: Option<Owner>) -> io::Result<()> {
    let directory = path(&launch.spec.directory);
    let above = directory.parent().filter(|above| !above.exists());
    let made = above
        .into_iter()
        .chain(Some(directory).filter(|directory| !directory.exists()));
    let made: Vec<&Path> = made.collect();
    files::create_secret_dir(directory)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if let Some(Owner(user, group)) = owner {
        for directory in made {
            fchown(open(directory, flags, Mode::empty())?, Some(user), Some(group))?;
        }
    }
    let place = open(directory, flags, Mode::empty())?;
    let text = serde_json::to_vec(launch)?;
    // An agent that crashed may have left one.
    let _ = unlinkat(&place, UNFINISHED, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&place, UNFINISHED, flags, Mode::from_raw_mode(files::SECRET_MODE))?;
    if let Some(Owner(user, group)) = owner {
        fchown(&file, Some(user), Some(group))?;
    }
    File::from(file).write_all(&text)?;
    Ok(renameat(&place, UNFINISHED, &place, launcher::NODE)?)
}

/// Of a node, by name.
pub(super) fn directory(nodes: &Path, node: &str) -> PathBuf {
    nodes.join(node)
}
