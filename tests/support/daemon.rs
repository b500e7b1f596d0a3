//! Processes that say when they are ready.

use std::{
    fs,
    io::{self, BufRead},
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use serde_json::Value;

use super::{
    limit::{Limit, end_of, readable},
    told::Told,
};

/// A process that announces itself, killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    what: &'static str,
    child: Child,
    /// What it has announced.
    pub(crate) ready: Value,
    pub(crate) stderr: Told,
}

impl Daemon {
    /// Starts a process that announces itself by a ready file.
    pub(crate) fn with_ready_file(what: &'static str, command: &mut Command, ready_file: &Path) -> Self {
        // After a crash the file of the process before is still there.
        let _ = fs::remove_file(ready_file);
        let watch = Watch::new(ready_file.parent().expect("it is in a directory"));
        let mut daemon = Self::start(what, command.stdout(Stdio::null()));
        if let Err(problem) = watch.wait_for(ready_file, &daemon.child) {
            panic!("{what} {problem}");
        }
        let text = fs::read(ready_file).expect("the ready file can be read");
        daemon.ready = serde_json::from_slice(&text).expect("the ready file is JSON");
        daemon
    }

    /// Starts a process that announces itself by a line on its standard output.
    pub(crate) fn with_ready_line(what: &'static str, command: &mut Command) -> Self {
        let mut daemon = Self::start(what, command.stdout(Stdio::piped()));
        let stdout = daemon.child.stdout.take().expect("stdout is piped");
        readable(&stdout, &Limit::new(format_args!("the first line of {what}")));
        let mut line = String::new();
        let read = io::BufReader::new(stdout).read_line(&mut line);
        read.expect("a pipe can be read");
        daemon.ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{what} does not start"));
        daemon
    }

    pub(crate) fn start(what: &'static str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{what} cannot be started: {error}"));
        let stderr = child.stderr.take().expect("stderr is piped");
        Self {
            what,
            child,
            ready: Value::Null,
            stderr: Told::by(stderr),
        }
    }

    /// Where it accepts Broker connections.
    pub(crate) fn broker(&self) -> SocketAddr {
        self.listens("broker")
    }

    /// Where it accepts connections of this kind, as it has announced.
    pub(crate) fn listens(&self, kind: &str) -> SocketAddr {
        let address = self.ready[kind][0].as_str().expect("it listens");
        address.parse().expect("an address")
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it can be asked for")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it still runs");
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("it can be waited for");
    }

    /// Asks it to end, if it has not ended already, and waits for that.
    pub(crate) fn end(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        end_of(&mut self.child, self.what);
    }

    /// Stops it in good order; it must end with 0. Returns what it wrote to standard error.
    pub(crate) fn stop(self) -> String {
        self.signal(Signal::TERM);
        let what = self.what;
        let (status, stderr) = self.wait();
        assert!(status.success(), "{what} ended with {status}:\n{stderr}");
        stderr
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = end_of(&mut self.child, self.what);
        (status, self.stderr.all())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            show(self.what, &self.stderr.all());
        }
    }
}

/// What a process said belongs to the report of a failed test.
#[expect(clippy::print_stderr, reason = "shown with the failed test's output")]
fn show(what: &str, stderr: &str) {
    eprintln!("--- standard error of {what}:\n{stderr}---");
}

/// Waits for a file to appear in a directory: without asking again and again, and without missing it.
pub(crate) struct Watch(OwnedFd);

impl Watch {
    pub(crate) fn new(directory: &Path) -> Self {
        let watch = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC);
        let watch = watch.expect("the system has inotify");
        // Programs write the file under another name and rename it.
        inotify::add_watch(&watch, directory, inotify::WatchFlags::MOVED_TO)
            .expect("a directory can be watched");
        Self(watch)
    }

    /// Waits for the file, or for the process that should make it to end.
    pub(crate) fn wait_for(&self, file: &Path, child: &Child) -> Result<(), &'static str> {
        let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).expect("the system has pidfds");
        let limit = Limit::new(format_args!("{}", file.display()));
        while !file.exists() {
            let mut descriptors = [
                PollFd::new(&self.0, PollFlags::IN),
                PollFd::new(&process, PollFlags::IN),
            ];
            let timeout = Timespec::try_from(limit.left()).expect("a minute is representable");
            if poll(&mut descriptors, Some(&timeout)).expect("descriptors can be waited for") == 0 {
                return Err("did not become ready in time");
            }
            if !descriptors[1].revents().is_empty() {
                return Err("ended before it was ready");
            }
            let mut buffer = [MaybeUninit::uninit(); 1024];
            // What was announced does not matter: the file is there or not.
            let _ = inotify::Reader::new(&self.0, &mut buffer).next();
        }
        Ok(())
    }
}
