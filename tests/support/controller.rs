//! Our controller's binary, started as an operator starts it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{DIRECTORIES, daemon::Daemon, home, program};

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
    pub(crate) daemon: Daemon,
    home: Arc<TempDir>,
}

/// Completes a command that starts a controller with directories below this one, on free ports, and with a name unless it is given another.
fn prepare<A: AsRef<str>>(home: &TempDir, command: &mut Command, arguments: &[A]) {
    fs::create_dir_all(home.path().join("state")).expect("a directory can be made");
    command
        .args(["--websocket-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"])
        .args(DIRECTORIES)
        .arg("Management::Controller::name=controller")
        .args(arguments.iter().map(AsRef::as_ref))
        .current_dir(home.path())
        .env_clear();
}

impl Controller {
    /// Starts it on free ports with these further arguments, and waits until it listens.
    pub(crate) fn start<A: AsRef<str>>(arguments: &[A]) -> Self {
        Self::start_in(&home(), arguments)
    }

    /// Starts it in a directory where it may have run before.
    pub(crate) fn start_in<A: AsRef<str>>(home: &Arc<TempDir>, arguments: &[A]) -> Self {
        Self::start_by(home, Command::new(binary()), arguments)
    }

    /// Starts it by a program that its own command line is added to.
    pub(crate) fn start_by<A: AsRef<str>>(
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
        command
            .arg("--ready-file")
            .arg(&ready_file)
            .current_dir(home.path())
            .env_clear();
        Self {
            daemon: Daemon::with_ready_file("the controller", &mut command, &ready_file),
            home: Arc::clone(home),
        }
    }

    /// Starts it in a directory and ends it, as a crash would, so long after that.
    pub(crate) fn crash_at_start<A: AsRef<str>>(home: &Arc<TempDir>, arguments: &[A], after: Duration) {
        let mut command = Command::new(binary());
        prepare(home, &mut command, arguments);
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
        let status = self.daemon.ended();
        assert!(status.is_none(), "the controller ended by itself: {status:?}");
        self.daemon.listens("websocket")
    }

    /// Where agents and native clients connect.
    pub(crate) fn broker(&self) -> SocketAddr {
        self.daemon.broker()
    }

    /// The directory of the store and of the management log of a controller of this name.
    pub(crate) fn working_dir(&self, name: &str) -> PathBuf {
        self.home.path().join("state/nodes").join(name)
    }

    /// The number of its process, which is not our child if it was started by another program.
    pub(crate) fn pid(&self) -> i32 {
        let pid = self.daemon.ready["pid"]
            .as_i64()
            .expect("the ready file names it");
        i32::try_from(pid).expect("a process id")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let process = Pid::from_raw(self.pid()).expect("the ready file names a process");
        kill_process(process, signal).expect("the controller still runs");
    }

    /// Waits for its end, however it ends, and returns its log, too.
    pub(crate) fn wait(self) -> (ExitStatus, String) {
        self.daemon.wait()
    }

    /// Ends it as a crash would, without any chance to write something.
    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Stops it in good order; it must end with 0. Returns what it left behind.
    pub(crate) fn stop(self) -> Remains {
        self.signal(Signal::TERM);
        let (status, stderr) = self.daemon.wait();
        assert!(status.success(), "the controller ended with {status}:\n{stderr}");
        Remains {
            management_logs: rotated_logs(&self.home.path().join("spool/log-queue")),
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
