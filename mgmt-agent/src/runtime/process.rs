//! A process that is a child of ours, or was one of an agent before us.

use std::{
    fmt, fs, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    path::Path,
    process::ExitStatus,
    sync::Arc,
    thread,
    time::Duration,
};

use mgmt_daemon::files;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use tokio::{process::Child, sync::oneshot, time::timeout};

use super::supervisor::Launch;

/// How long a Supervisor may take to end its nodes and itself: Zeek's kills nodes after 26 seconds (`Supervisor.cc`,
/// `Stem::Shutdown`).
pub(super) const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A process that cannot be mistaken for another one, also when it is gone.
#[derive(Debug)]
pub(super) struct Process {
    id: i32,
    descriptor: Arc<OwnedFd>,
    watched: Watched,
}

/// How its end is noticed.
#[derive(Debug)]
enum Watched {
    /// A child of ours has to be waited for, and tells how it ended.
    Child(Child),
    /// For another one a thread waits.
    ByThread(oneshot::Receiver<()>),
}

/// How a process has ended that was to end.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) end: End,
    /// Whether it did as it was told: then it has ended its nodes.
    pub(super) by_itself: bool,
}

/// How a process has ended.
#[derive(Debug)]
pub(super) enum End {
    Status(ExitStatus),
    /// It was no child of ours, or the system does not tell, for this reason.
    Unknown(String),
}

impl End {
    /// Whether it was ended by a signal that a process does not cause by its own faults.
    pub(super) fn is_from_outside(&self) -> bool {
        const FROM_OUTSIDE: [Signal; 6] = [
            Signal::KILL,
            Signal::TERM,
            Signal::INT,
            Signal::HUP,
            Signal::QUIT,
            Signal::ALARM,
        ];
        let Self::Status(status) = self else { return false };
        status
            .signal()
            .is_some_and(|number| FROM_OUTSIDE.iter().any(|signal| signal.as_raw() == number))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Unknown(reason) => reason.fmt(f),
        }
    }
}

/// What is written down about a process, so that it can be found again.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pid: i32,
    /// When it was started, in clock ticks since the machine was.
    started: u64,
    pub(super) launch: Launch,
}

impl Process {
    /// A child that was just started. One that cannot be looked after is killed.
    pub(super) fn child(mut child: Child) -> io::Result<Self> {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or(0);
        match open(id) {
            Ok(descriptor) => Ok(Self {
                id,
                descriptor: Arc::new(descriptor),
                watched: Watched::Child(child),
            }),
            Err(error) => {
                child.start_kill()?;
                Err(error)
            }
        }
    }

    /// Another process's child.
    fn other(id: i32) -> io::Result<Self> {
        let descriptor = Arc::new(open(id)?);
        let (tell, ended) = oneshot::channel();
        let to_watch = Arc::clone(&descriptor);
        thread::Builder::new().name("process".into()).spawn(move || {
            wait_for_end(&to_watch);
            // The receiver may be gone.
            let _ = tell.send(());
        })?;
        Ok(Self {
            id,
            descriptor,
            watched: Watched::ByThread(ended),
        })
    }

    pub(super) const fn id(&self) -> i32 {
        self.id
    }

    /// Waits for its end, and says how it came. May be cancelled.
    pub(super) async fn ended(&mut self) -> End {
        match &mut self.watched {
            Watched::Child(child) => match child.wait().await {
                Ok(status) => End::Status(status),
                Err(error) => End::Unknown(format!("the system does not tell its status: {error}")),
            },
            Watched::ByThread(ended) => {
                // A thread that is gone has nothing to wait for either.
                let _ = ended.await;
                End::Unknown("only the process that started it gets its status".into())
            }
        }
    }

    /// Asks it to end, waits for that, and makes it end if it takes too long. Returns how it ended.
    pub(super) async fn stop(&mut self) -> Stopped {
        self.signal(Signal::TERM);
        // One that was stopped cannot do as it is told before it is continued.
        self.signal(Signal::CONT);
        if let Ok(end) = timeout(STOP_PATIENCE, self.ended()).await {
            return Stopped { end, by_itself: true };
        }
        tracing::warn!(pid = self.id, "the Supervisor does not end, it is killed");
        self.signal(Signal::KILL);
        Stopped {
            end: self.ended().await,
            by_itself: false,
        }
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(&self.descriptor, signal)
            && error != Errno::SRCH
        {
            tracing::warn!(pid = self.id, %error, "cannot send a signal to the Supervisor");
        }
    }
}

/// A descriptor of a process, which never becomes another one's.
pub(super) fn open(id: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(id).ok_or_else(|| io::Error::other("the process has no id"))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

fn wait_for_end(process: &OwnedFd) {
    loop {
        match poll(&mut [PollFd::new(process, PollFlags::IN)], None) {
            Err(Errno::INTR) => {}
            _ => return,
        }
    }
}

impl Record {
    pub(super) fn new(process: &Process, launch: &Launch) -> io::Result<Self> {
        let started =
            start_time(process.id).ok_or_else(|| io::Error::other("/proc does not tell when it started"))?;
        Ok(Self {
            pid: process.id,
            started,
            launch: launch.clone(),
        })
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("json.tmp");
        files::write(&temporary, &serde_json::to_vec(self)?)?;
        fs::rename(temporary, path)
    }

    /// A record that cannot be read tells of nothing.
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// The process, if it still runs and is the one that was written down.
    pub(super) fn process(&self) -> Option<Process> {
        let process = Process::other(self.pid).ok()?;
        // Asked for after the process is held, so that it is about that one.
        (start_time(self.pid)? == self.started).then_some(process)
    }
}

/// When a process was started (`proc_pid_stat(5)`, field 22), unless it has ended.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name, in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (state != "Z" && state != "X").then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_of_a_process_is_known_and_stays() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = start_time(pid).unwrap();
        assert!(started > 0);
        assert_eq!(start_time(pid), Some(started));
        assert_eq!(start_time(i32::MAX), None);
    }
}
