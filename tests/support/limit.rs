//! Overall limits for waiting: a test that waits in vain fails, and says for what it waited.

use std::{
    fmt,
    os::fd::AsFd,
    process::{Child, ExitStatus, Output},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::retry_on_intr,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::time::timeout;

/// How long a test waits for one thing: many times what it takes, as machines are busy.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// The end of waiting for one thing, however many messages come meanwhile.
#[derive(Debug)]
pub(crate) struct Limit {
    what: String,
    time: Duration,
    end: Instant,
}

impl Limit {
    /// Begins to wait for what the words say.
    pub(crate) fn new(what: impl fmt::Display) -> Self {
        Self::lasting(TIMEOUT, what)
    }

    /// As [`Self::new`], with another limit.
    pub(crate) fn lasting(time: Duration, what: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            time,
            end: Instant::now() + time,
        }
    }

    /// Says better what is waited for; the end stays.
    pub(crate) fn say(&mut self, what: impl fmt::Display) {
        self.what = what.to_string();
    }

    /// How long it may still take; more than nothing.
    pub(crate) fn left(&self) -> Duration {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            self.fail();
        }
        left
    }

    /// Fails the test.
    pub(crate) fn fail(&self) -> ! {
        panic!("waited {} s in vain for {}", self.time.as_secs(), self.what)
    }

    /// Looks until there is what another process does not tell of.
    pub(crate) fn poll<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(found) = look() {
                return found;
            }
            thread::sleep(self.left().min(Duration::from_millis(100)));
        }
    }

    /// Waits no longer than this.
    pub(crate) async fn of<T>(&self, awaited: impl Future<Output = T>) -> T {
        let Ok(value) = timeout(self.left(), awaited).await else {
            self.fail()
        };
        value
    }
}

/// Waits for the end of a process.
pub(crate) fn end_of(child: &mut Child, what: &str) -> ExitStatus {
    let limit = Limit::new(format_args!("the end of {what}"));
    // One that has been waited for has no descriptor.
    if let Ok(Some(status)) = child.try_wait() {
        return status;
    }
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("the system has pidfds");
    readable(&process, &limit);
    child.wait().expect("it can be waited for")
}

/// Waits until there is something to read, or the end.
pub(crate) fn readable(descriptor: &impl AsFd, limit: &Limit) {
    let mut descriptors = [PollFd::new(descriptor, PollFlags::IN)];
    let left = Timespec::try_from(limit.left()).expect("minutes are representable");
    let ready = retry_on_intr(|| poll(&mut descriptors, Some(&left)));
    if ready.expect("a descriptor can be waited for") == 0 {
        limit.fail();
    }
}

/// What a process writes until its end. It is killed if that does not come.
pub(crate) fn output_of(child: Child, what: &str) -> Output {
    let limit = Limit::new(format_args!("the end of {what}"));
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("the system has pidfds");
    let (tell, output) = channel();
    thread::spawn(move || tell.send(child.wait_with_output()));
    if let Ok(output) = output.recv_timeout(limit.left()) {
        output.expect("it can be waited for")
    } else {
        // It may have ended in this moment.
        let _ = pidfd_send_signal(&process, Signal::KILL);
        limit.fail()
    }
}
