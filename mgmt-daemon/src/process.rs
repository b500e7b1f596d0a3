//! What concerns the process as a whole: its name, its limits.

use std::{convert::Infallible, ffi::CString, io, os::unix::process::CommandExt, process::Command};

pub use broker_endpoint::with_causes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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
