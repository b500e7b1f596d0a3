//! Processes by descriptors (`pidfd_open(2)`): a child of ours, or one of an earlier program, which a file tells of.

use std::{
    fmt, fs, io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::{Child, ExitStatus},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    param::clock_ticks_per_second,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{Instant, sleep_until},
};

use crate::process::{Effect, Event, Process, Then};

/// A process that cannot be mistaken for another one, also when it is gone. The end of it does not end the process.
#[derive(Debug)]
pub struct Handle {
    id: i32,
    /// Readable when the process has ended.
    descriptor: AsyncFd<OwnedFd>,
    /// A child of ours has to be waited for, and tells how it ended.
    child: Option<Child>,
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
    /// A child that was just started, not by tokio: that would wait for it, too. One that cannot be looked after is killed. To be called
    /// within tokio's runtime, as [`Record::process`].
    pub fn child(mut child: Child) -> io::Result<Self> {
        let id = i32::try_from(child.id()).unwrap_or(0);
        match Self::other(id) {
            Ok(handle) => Ok(Self {
                child: Some(child),
                ..handle
            }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Another process's child.
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe, for what may give its descriptor away; this one does not"
    )]
    fn other(id: i32) -> io::Result<Self> {
        Ok(Self {
            id,
            descriptor: AsyncFd::with_interest(open(id)?, Interest::READABLE)?,
            child: None,
        })
    }

    pub const fn id(&self) -> i32 {
        self.id
    }

    /// Waits for its end, and says how it came. May be cancelled.
    pub async fn ended(&mut self) -> End {
        if let Err(error) = self.descriptor.readable().await {
            return End::Unknown(format!("the system does not tell when it ends: {error}"));
        }
        match self.child.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => End::Status(status),
            Some(Ok(None)) => End::Unknown("the system does not tell its status".into()),
            Some(Err(error)) => End::Unknown(format!("the system does not tell its status: {error}")),
            None => End::Unknown("only the process that started it gets its status".into()),
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
        if let Err(error) = pidfd_send_signal(self.descriptor.get_ref(), signal)
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
pub fn wait_for_end(process: &OwnedFd, timeout: Option<Duration>) {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    while poll(&mut [PollFd::new(process, PollFlags::IN)], timeout.as_ref()) == Err(Errno::INTR) {}
}

impl<T> Record<T> {
    /// Of a process that runs.
    pub fn new(pid: i32, launch: T) -> io::Result<Self> {
        let started =
            start_time(pid).ok_or_else(|| io::Error::other("/proc does not tell when it started"))?;
        Ok(Self { pid, started, launch })
    }

    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// The process, if it still runs and is the one that was written down.
    pub fn process(&self) -> Option<Handle> {
        let process = Handle::other(self.pid).ok()?;
        // Asked for after the process is held, so that it is about that one.
        self.runs().then_some(process)
    }

    /// Whether the process still runs.
    pub fn runs(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// How long the process has run, if it runs.
    pub fn age(&self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        let now = Duration::try_from(now).unwrap_or_default();
        let (started, per_second) = (self.started, clock_ticks_per_second().max(1));
        let nanoseconds = started % per_second * 1_000_000_000 / per_second;
        now.saturating_sub(Duration::from_secs(started / per_second) + Duration::from_nanos(nanoseconds))
    }
}

/// What `/proc` says of a process that has not ended (`proc_pid_stat(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) id: i32,
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// When it was started, in clock ticks since the machine was.
    started: u64,
}

impl Stat {
    pub(crate) fn of(id: i32) -> Option<Self> {
        Self::parse(id, &fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    fn parse(id: i32, stat: &str) -> Option<Self> {
        // The second field is the name, in parentheses, and may hold anything.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?;
        let group = fields.nth(1)?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let started = fields.nth(15)?.parse().ok()?;
        (state != "Z" && state != "X").then_some(Self {
            id,
            group,
            session,
            started,
        })
    }
}

fn start_time(pid: i32) -> Option<u64> {
    Some(Stat::of(pid)?.started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_a_process_is_read_whatever_its_name_is() {
        let parse = |stat: &str| Stat::parse(7, stat);
        let rest = "0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 99";
        let expected = Stat {
            id: 7,
            group: 5,
            session: 4,
            started: 99,
        };
        assert_eq!(parse(&format!("7 (a) S (b)) S 1 5 4 {rest}")), Some(expected));
        assert_eq!(parse(&format!("7 (zeek) Z 1 5 4 {rest}")), None, "it has ended");
        assert_eq!(parse("7 (zeek"), None);
    }

    #[test]
    fn the_start_of_a_process_is_known_and_stays() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = start_time(pid).unwrap();
        assert!(started > 0);
        assert_eq!(start_time(pid), Some(started));
        assert_eq!(start_time(i32::MAX), None);
    }

    #[test]
    fn the_age_of_a_process_is_that_since_its_start() {
        let record = Record::new(std::process::id().cast_signed(), ()).unwrap();
        assert!(record.runs());
        assert!(record.age() < Duration::from_secs(600), "{:?}", record.age());
        let first = Record::new(1, ()).unwrap();
        assert!(first.age() > record.age(), "{:?}", first.age());
    }

    #[tokio::test]
    async fn the_end_of_a_child_is_told_with_its_status_and_that_of_another_process_without() {
        let started = std::process::Command::new("/bin/sh")
            .args(["-c", "read line; exit 7"])
            .stdin(std::process::Stdio::piped())
            .spawn();
        let mut child = started.unwrap();
        let input = child.stdin.take();
        let record = Record::new(child.id().cast_signed(), ()).unwrap();
        let mut other = record.process().unwrap();
        let mut child = Handle::child(child).unwrap();
        let early = tokio::time::timeout(Duration::from_millis(50), child.ended());
        assert!(early.await.is_err(), "it runs");
        drop(input);
        assert!(matches!(other.ended().await, End::Unknown(_)));
        assert!(!record.runs(), "one that is not waited for does not run either");
        let End::Status(status) = child.ended().await else {
            panic!("its status is known");
        };
        assert_eq!(status.code(), Some(7));
        assert!(record.process().is_none());
    }
}
