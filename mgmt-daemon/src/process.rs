//! What concerns the process as a whole: its name, its limits, its working directory, its one thread; random bytes.

use std::{
    convert::Infallible, ffi::CString, io, os::unix::process::CommandExt, path::Path, process::Command,
    time::Duration,
};

use jiff::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    error::{HostError, system},
    files,
};

/// Makes process listings show a name, as Zeek's supervised processes do with `zeek.controller`.
///
/// ps and pgrep show the name of the main thread, netstat and ss what the process was started as. The latter can only
/// be chosen at that moment, so the program starts itself again, once.
pub fn take_name(name: &str) -> io::Result<()> {
    let mut arguments = std::env::args_os();
    if arguments.next().is_none_or(|started_as| started_as != name) {
        let error: Result<Infallible, _> =
            Err(Command::new("/proc/self/exe").arg0(name).args(arguments).exec());
        // Without /proc the other half still works.
        if let Err(error) = error
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
    }
    rustix::thread::set_name(&CString::new(name)?)?;
    Ok(())
}

/// Lets this process have as many file descriptors as it may. Programs are given few for the sake of old ones that use `select`,
/// and a flood of connections has soon taken these. Children inherit it.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of file descriptors");
    }
}

/// File descriptors that connections do not get: for the store, logs and journals, a child process, listeners, and one more connection.
const DESCRIPTORS_RESERVED: u64 = 32;

/// How many file descriptors connections may have.
pub fn descriptors_for_connections() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit.saturating_sub(DESCRIPTORS_RESERVED)).unwrap_or(usize::MAX)
}

/// Runs a daemon to its end, on one thread: all that is slow has threads of its own, and one thread for the rest costs
/// least, in memory and in latency.
pub fn block_on<T, E: From<HostError>>(daemon: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| system("start the asynchronous runtime", source))?;
    let outcome = runtime.block_on(daemon);
    // After a second signal, nothing that still blocks is waited for.
    runtime.shutdown_background();
    outcome
}

/// The time since the beginning of 1970.
pub fn unix_time() -> Duration {
    Timestamp::now().as_duration().unsigned_abs()
}

/// Creates and enters the working directory. Zeek's processes work in their own; so do core dumps.
pub fn enter(path: &Path) -> Result<(), HostError> {
    files::create_dir_all(path)
        .and_then(|()| std::env::set_current_dir(path))
        .map_err(|source| HostError::WorkingDir {
            path: path.to_path_buf(),
            source,
        })
}

/// Random bytes of the system.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], HostError> {
    let mut bytes = [0; N];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(system("draw random numbers", io::Error::other(error))),
    }
}
