//! Processes by descriptors (`pidfd_open(2)`): a child of ours, or one of an earlier program, which a file tells of.

use std::{
    fmt, fs, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::ExitStatus,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};
use tokio::{
    process::Child,
    sync::oneshot,
    time::{Instant, sleep_until},
};

use crate::process::{Effect, Event, Process, Then};

/// A process that cannot be mistaken for another one, also when it is gone.
#[derive(Debug)]
pub struct Handle {
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
pub struct Stopped {
    pub end: End,
    /// Whether it did as it was told: then it has ended what it had started.
    pub by_itself: bool,
}

#[derive(Debug)]
pub enum End {
    /// The system has told.
    Status(ExitStatus),
    /// It was no child of ours, or the system does not tell, for this reason.
    Unknown(String),
}

impl End {
    /// Whether it was ended by a signal that a process does not cause by its own faults.
    pub fn is_from_outside(&self) -> bool {
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

/// What is written down about a process, so that it can be found again, and how it was started.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record<T> {
    pid: i32,
    /// When it was started, in clock ticks since the machine was.
    started: u64,
    pub launch: T,
}

impl Handle {
    /// A child that was just started. One that cannot be looked after is killed.
    pub fn child(mut child: Child) -> io::Result<Self> {
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
            wait_for_end(&to_watch, None);
            // The receiver may be gone.
            let _ = tell.send(());
        })?;
        Ok(Self {
            id,
            descriptor,
            watched: Watched::ByThread(ended),
        })
    }

    pub const fn id(&self) -> i32 {
        self.id
    }

    /// Waits for its end, and says how it came. May be cancelled.
    pub async fn ended(&mut self) -> End {
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

    /// Stops it by the schedule of its machine, whose epoch is given. The caller tells the machine that it has ended.
    /// `what` names it in the log.
    pub async fn stop(&mut self, machine: &mut Process, epoch: Instant, then: Then, what: &str) -> Stopped {
        let mut by_itself = true;
        let mut effect = machine.step(epoch.elapsed(), Event::Stop(then));
        let end = loop {
            match effect {
                Some(Effect::Terminate) => {
                    self.signal(Signal::TERM);
                    // One that was stopped cannot do as it is told before it is continued.
                    self.signal(Signal::CONT);
                }
                Some(Effect::Kill) => {
                    if by_itself {
                        tracing::warn!(pid = self.id, "the {what} does not end, it is killed");
                    }
                    by_itself = false;
                    self.signal(Signal::KILL);
                }
                Some(Effect::Spawn) | None => {}
            }
            let Some(deadline) = machine.deadline() else {
                break self.ended().await;
            };
            tokio::select! {
                end = self.ended() => break end,
                () = sleep_until(epoch + deadline) => effect = machine.step(epoch.elapsed(), Event::Tick),
            }
        };
        Stopped { end, by_itself }
    }

    /// Sends a signal. One that has ended needs none.
    pub fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(&self.descriptor, signal)
            && error != Errno::SRCH
        {
            tracing::warn!(pid = self.id, %error, "cannot send a signal to the process");
        }
    }
}

/// A descriptor of a process, which never becomes another one's.
pub fn open(id: i32) -> io::Result<OwnedFd> {
    let pid = Pid::from_raw(id).ok_or_else(|| io::Error::other("the process has no id"))?;
    Ok(pidfd_open(pid, PidfdFlags::empty())?)
}

/// Waits for the end of a process, for so long at most.
pub(crate) fn wait_for_end(process: &OwnedFd, timeout: Option<Duration>) {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    while poll(&mut [PollFd::new(process, PollFlags::IN)], timeout.as_ref()) == Err(Errno::INTR) {}
}

impl<T> Record<T> {
    /// Of a process that runs.
    pub fn new(process: &Handle, launch: T) -> io::Result<Self> {
        let started =
            start_time(process.id).ok_or_else(|| io::Error::other("/proc does not tell when it started"))?;
        Ok(Self {
            pid: process.id,
            started,
            launch,
        })
    }

    /// The process, if it still runs and is the one that was written down.
    pub fn process(&self) -> Option<Handle> {
        let process = Handle::other(self.pid).ok()?;
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
