//! Our controller's binary, started as an operator starts it.

use std::{
    fs,
    mem::MaybeUninit,
    net::SocketAddr,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use serde::Deserialize;
use tempfile::TempDir;

use super::{
    limit::{Limit, end_of},
    program,
    told::Told,
};

/// The store's file, by the name that Zeek gives it.
pub(crate) const STORE: &str = "___sync_store_Management::Controller::Runtime::g_configs.sqlite";

/// The program, built once per run of the tests.
pub(crate) fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| program::build("mgmt-controller", "mgmt-controller"))
}

/// A running controller with directories of its own, killed when dropped.
#[derive(Debug)]
pub(crate) struct Controller {
    child: Child,
    home: Arc<TempDir>,
    ready: Ready,
    pub(crate) stderr: Told,
}

/// Completes a command that starts a controller with directories below this one, on free ports.
fn prepare<A: AsRef<str>>(home: &TempDir, command: &mut Command, arguments: &[A]) {
    fs::create_dir_all(home.path().join("state")).expect("a directory can be made");
    command
        .args(["--websocket-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
        .arg("--zeek-prefix")
        .arg(home.path())
        .arg("--state-dir")
        .arg(home.path().join("state"))
        .arg("--spool-dir")
        .arg(home.path().join("spool"))
        .args(arguments.iter().map(AsRef::as_ref));
}

/// What the controller writes to `--ready-file`.
#[derive(Debug, Deserialize)]
struct Ready {
    pid: i32,
    websocket: Vec<SocketAddr>,
    broker: Vec<SocketAddr>,
}

impl Controller {
    /// Starts it on free ports with these further arguments, and waits until it listens.
    pub(crate) fn start<A: AsRef<str>>(arguments: &[A]) -> Self {
        let home = TempDir::with_prefix("conformance-").expect("a directory can be made");
        Self::start_in(&Arc::new(home), Command::new(binary()), arguments)
    }

    /// Starts it in a directory where it may have run before, by a command that its arguments are added to: the program
    /// itself, or one that starts it.
    pub(crate) fn start_in<A: AsRef<str>>(
        home: &Arc<TempDir>,
        mut command: Command,
        arguments: &[A],
    ) -> Self {
        prepare(home, &mut command, arguments);
        Self::launch(home, command)
    }

    /// Runs a command that starts it as it is, but for the ready file, and waits until it listens.
    pub(crate) fn launch(home: &Arc<TempDir>, mut command: Command) -> Self {
        let ready_file = home.path().join("ready.json");
        // After a crash the file of the process before is still there.
        let _ = fs::remove_file(&ready_file);
        let watch = Watch::new(home.path());
        let mut child = command
            .arg("--ready-file")
            .arg(&ready_file)
            .current_dir(home.path())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the controller can be started");

        let stderr = child.stderr.take().expect("stderr is piped");
        let stderr = Told::by(stderr);
        if let Err(problem) = watch.wait_for(&ready_file, &child) {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the controller {problem}:\n{}", stderr.all());
        }
        let text = fs::read(&ready_file).expect("the ready file can be read");
        let ready = serde_json::from_slice(&text).expect("the ready file is as documented");
        Self {
            child,
            home: Arc::clone(home),
            ready,
            stderr,
        }
    }

    /// Starts it in a directory and ends it, as a crash would, so long after that.
    pub(crate) fn crash_at_start<A: AsRef<str>>(home: &Arc<TempDir>, arguments: &[A], after: Duration) {
        let mut command = Command::new(binary());
        prepare(home, &mut command, arguments);
        command.current_dir(home.path()).env_clear();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn();
        let mut child = child.expect("the controller can be started");
        thread::sleep(after);
        child.kill().expect("it is there until it is waited for");
        child.wait().expect("it can be waited for");
    }

    /// Where zeek-client connects. A controller that has ended fails the test at once: zeek-client would try for a minute.
    pub(crate) fn websocket(&mut self) -> SocketAddr {
        let status = self.child.try_wait().expect("the controller can be asked for");
        assert!(status.is_none(), "the controller ended by itself: {status:?}");
        self.ready.websocket[0]
    }

    /// Where agents and native clients connect.
    pub(crate) fn broker(&self) -> SocketAddr {
        self.ready.broker[0]
    }

    /// The directory of the store and of the management log of a controller of this name.
    pub(crate) fn working_dir(&self, name: &str) -> PathBuf {
        self.home.path().join("state/nodes").join(name)
    }

    /// The number of its process, which is not our child if it was started by another program.
    pub(crate) const fn pid(&self) -> i32 {
        self.ready.pid
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.pid()).expect("the ready file names a process");
        kill_process(process, signal).expect("the controller still runs");
    }

    /// Waits for its end, however it ends, and returns its log, too.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = end_of(&mut self.child, "the controller");
        (status, self.stderr.all())
    }

    /// Ends it as a crash would, without any chance to write something.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("the controller can be waited for");
    }

    /// Stops it in good order; it must end with 0. Returns what it left behind.
    pub(crate) fn stop(mut self) -> Remains {
        self.signal(Signal::TERM);
        let status = end_of(&mut self.child, "the controller");
        let stderr = self.stderr.all();
        assert!(status.success(), "the controller ended with {status}:\n{stderr}");
        let management_logs = rotated_logs(&self.home.path().join("spool/log-queue"));
        Remains {
            management_logs,
            stderr,
        }
    }
}

/// Keeps a full hour that passes from rotating the log, where a test looks for the file.
pub(crate) const UNROTATED: &str = "Log::default_rotation_interval=10000days";

/// Names and texts of the rotated logs in a queue, in the order of their time.
pub(crate) fn rotated_logs(queue: &Path) -> Vec<(String, String)> {
    let read = |path: PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let text = fs::read_to_string(&path).expect("a log is text");
        (name.expect("a plain name").to_owned(), text)
    };
    let mut logs: Vec<_> = fs::read_dir(queue)
        .expect("the log was rotated at the end")
        .map(|entry| read(entry.expect("a directory can be read").path()))
        .collect();
    logs.sort();
    logs
}

/// Rotated logs as the one that they would be if no full hour had passed while they were written.
pub(crate) fn in_one(logs: &[(String, String)]) -> String {
    let last = logs.len().saturating_sub(1);
    let lines = logs.iter().enumerate().flat_map(|(index, (_, text))| {
        text.split_inclusive('\n').filter(move |line| {
            let is_close = line.starts_with("#close");
            !line.starts_with('#') || (is_close && index == last) || (!is_close && index == 0)
        })
    });
    lines.collect()
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
            let patience = Timespec::try_from(limit.left()).expect("a minute is representable");
            if poll(&mut descriptors, Some(&patience)).expect("descriptors can be waited for") == 0 {
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

/// What a controller leaves behind.
#[derive(Debug)]
pub(crate) struct Remains {
    /// Names and texts of the rotated logs: several, if a full hour has passed meanwhile.
    pub(crate) management_logs: Vec<(String, String)>,
    pub(crate) stderr: String,
}

impl Remains {
    pub(crate) fn management_log(&self) -> String {
        in_one(&self.management_logs)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            show(&self.stderr.all());
        }
    }
}

/// What the controller said belongs to the report of a failed test.
#[expect(clippy::print_stderr, reason = "shown with the failed test's output")]
fn show(stderr: &str) {
    eprintln!("--- standard error of the controller:\n{stderr}---");
}
