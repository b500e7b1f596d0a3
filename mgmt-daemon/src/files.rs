//! The files and directories that a daemon makes, none of which is for everyone: configurations hold secrets, such as `env` of nodes.
//!
//! Modes are at most these, under any umask; a tighter umask stays tighter. The processes that an agent starts keep the umask that
//! it was given: who may read the logs of nodes is as before.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::{
            fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, fchmod},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen as listen_on,
        socket_with,
    },
};

/// Of a directory: its group may look.
pub const DIRECTORY_MODE: u32 = 0o750;

/// Of a file: its group may read.
pub const FILE_MODE: u32 = 0o640;

/// Of a file with a secret: only its owner may read.
pub const SECRET_MODE: u32 = 0o600;

/// How many connections to a socket wait in the system until they are accepted.
const WAITING_MAX: i32 = 64;

/// What only the owner, and a group that may read, should have.
const LOOSE: u32 = 0o027;

/// Makes a directory and those above it, unless they are there.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIRECTORY_MODE)
        .create(path)
}

/// Makes a directory that only its owner may use, and those above it, unless they are there.
pub fn create_secret_dir(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        create_dir_all(above)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a directory in one that is there.
pub fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIRECTORY_MODE).create(path)
}

/// How to open a file that is made if it is not there.
pub fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).mode(FILE_MODE);
    options
}

/// Makes a file, or empties one that is there.
pub fn create(path: &Path) -> io::Result<File> {
    options().write(true).truncate(true).open(path)
}

/// The path with this behind its name.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether these are of one file or directory, by whichever path.
pub fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Whether a file can have this path: nothing has it, or a regular file. Root could rename or remove a device.
pub fn regular_or_missing(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Err(io::Error::other("it is a directory")),
        Ok(found) if !found.is_file() => Err(io::Error::other("it is no regular file")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Opens a file that another process may have put there: nothing is waited for, as a FIFO would have it, and no link is followed.
///
/// Fails if it is no regular file.
pub fn open_foreign(path: &Path) -> io::Result<File> {
    open_regular(path, OFlags::NOFOLLOW)
}

/// Opens a file that an operator names, to read it. Nothing is waited for.
///
/// # Errors
///
/// Also if it is no regular file.
pub fn open_named(path: &Path) -> io::Result<File> {
    open_regular(path, OFlags::empty())
}

fn open_regular(path: &Path, flags: OFlags) -> io::Result<File> {
    let mut options = File::options();
    let flags = (flags | OFlags::NONBLOCK).bits().cast_signed();
    let file = options.read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no file"))
    }
}

pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    create(path)?.write_all(content)
}

/// Listens on a Unix socket that only its owner may connect to, in place of one that is there.
///
/// # Errors
///
/// Also if something else than a socket has the path, or another process listens there.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => {
            if is_listened_at(path)? {
                return Err(io::Error::other("another process listens there"));
            }
            fs::remove_file(path)?;
        }
        Ok(_) => return Err(io::Error::other("it is no socket")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let socket = unix_socket()?;
    // What the socket has, its file gets: there is no moment in which others may connect.
    fchmod(&socket, Mode::from_raw_mode(SECRET_MODE))?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen_on(&socket, WAITING_MAX)?;
    Ok(socket.into())
}

/// Whether a process listens at this path. It need not accept: one that is stopped has the path as well.
fn is_listened_at(path: &Path) -> io::Result<bool> {
    match connect(&unix_socket()?, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::CONNREFUSED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn unix_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Writes a file of this mode whole or not at all: others see the one before until then, also after a loss of power.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write_beside(path, content, mode, |temporary| fs::rename(temporary, path))
}

/// Writes a file of this mode, whole or not at all, where there is none.
pub fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write_beside(path, content, mode, |temporary| {
        fs::hard_link(temporary, path)?;
        fs::remove_file(temporary)
    })
}

fn write_beside(
    path: &Path,
    content: &[u8],
    mode: u32,
    put_in_place: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = with_suffix(path, &format!(".{}", std::process::id()));
    // A process of the same id may have left one, of another mode.
    let _ = fs::remove_file(&temporary);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let written = options
        .open(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
    let done = written.and_then(|()| put_in_place(&temporary));
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}

/// Has the names in a file's directory outlast a loss of power.
pub fn sync_names(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|above| !above.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// What is wrong with the mode of something that holds secrets, with the command that mends it. Something that is not there is in order.
pub fn too_open(path: &Path) -> Option<String> {
    let problem = "others than its owner and group can use it, or its group can change it";
    looser(path, LOOSE, problem)
}

/// The same of a file that only its owner may read.
pub fn secret_too_open(path: &Path) -> Option<String> {
    looser(path, 0o077, "others than its owner can use it")
}

fn looser(path: &Path, loose: u32, problem: &str) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let mode = metadata.permissions().mode() & 0o7777;
    let path = path.display();
    (mode & loose != 0).then(|| {
        format!(
            "{path} has mode {mode:04o}: {problem}. To mend it: chmod {:o} {path}",
            mode & !loose
        )
    })
}

/// Warns of what is open to others: made by an earlier release, by Zeek, or by hand.
pub fn warn_of_open<'a>(paths: impl IntoIterator<Item = &'a Path>) {
    for problem in paths.into_iter().filter_map(too_open) {
        tracing::warn!("{problem}");
    }
}
