//! What a process that led a session has left running when it ended: that is ended, too.
//!
//! One look through the processes of the host serves all sessions that are being ended.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::{Path, PathBuf},
    process,
    time::Duration,
};

use rustix::{
    fs::OFlags,
    process::{Signal, pidfd_send_signal},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
    time::{Instant, sleep},
};

use crate::unix::{Stat, open};

/// Between two looks.
const ROUND: Duration = Duration::from_millis(20);

/// What Linux writes behind the path of what was removed (`proc_pid_fd(5)`).
const REMOVED: &[u8] = b" (deleted)";

/// How long processes have to end that are asked to. Longer ones are killed.
const TERM_TIMEOUT: Duration = Duration::from_secs(2);

/// Then how long they may take to be gone: longer takes only what the system does not let end.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Ends what sessions have left. It does so in a task of its own.
#[derive(Clone, Debug)]
pub struct Sessions {
    requests: mpsc::UnboundedSender<Leaving>,
}

/// A session whose leader has ended.
#[derive(Debug)]
struct Leaving {
    /// The id that the process had which led the session. No other process gets it while the session has one.
    leader: i32,
    /// A file that all of its processes have inherited the lock of.
    lock: PathBuf,
    /// What the log calls the process.
    what: String,
    since: Instant,
    kills: bool,
    told: Option<Signal>,
    done: oneshot::Sender<()>,
}

/// A process that is still there.
#[derive(Debug)]
struct Left {
    id: i32,
    descriptor: OwnedFd,
}

impl Sessions {
    /// To be called within tokio's runtime.
    pub fn start() -> Self {
        let (requests, to_do) = mpsc::unbounded_channel();
        tokio::spawn(work(to_do));
        Self { requests }
    }

    /// Ends what is left of a session whose leader had this id and has ended, and whatever else has inherited this lock from it: asks first,
    /// unless it is to kill. Returns when nothing is left, or nothing can be done.
    pub async fn end(&self, leader: i32, lock: PathBuf, what: String, kills: bool) {
        let (done, ended) = oneshot::channel();
        let leaving = Leaving {
            leader,
            lock,
            what,
            since: Instant::now(),
            kills,
            told: None,
            done,
        };
        if self.requests.send(leaving).is_ok() {
            // A task that panicked ends nothing more.
            let _ = ended.await;
        }
    }
}

async fn work(mut requests: mpsc::UnboundedReceiver<Leaving>) {
    let mut leaving = Vec::new();
    loop {
        if leaving.is_empty() {
            let Some(first) = requests.recv().await else {
                return;
            };
            leaving.push(first);
        }
        while let Ok(next) = requests.try_recv() {
            leaving.push(next);
        }
        let Ok(left) = spawn_blocking(move || round(leaving)).await else {
            return;
        };
        leaving = left;
        if !leaving.is_empty() {
            sleep(ROUND).await;
        }
    }
}

/// Signals what is left, and returns the sessions of which something is.
fn round(mut leaving: Vec<Leaving>) -> Vec<Leaving> {
    let processes = match processes() {
        Ok(processes) => processes,
        Err(error) => {
            tracing::warn!(%error, "cannot see which processes are left of nodes that have ended");
            return Vec::new();
        }
    };
    let mut going_on = Vec::new();
    for mut session in leaving.drain(..) {
        let left = session.left(&processes);
        if left.is_empty() || session.is_hopeless(&left) {
            // Who asked may be gone.
            let _ = session.done.send(());
        } else {
            session.signal(&left);
            going_on.push(session);
        }
    }
    going_on
}

impl Leaving {
    fn left(&self, processes: &[Stat]) -> Vec<Left> {
        let leader = self.leader;
        // The id was given again, so nothing was left.
        if processes.iter().any(|process| process.id == leader) {
            return Vec::new();
        }
        let is_of_it = |process: &Stat| process.session == leader || process.group == leader;
        let of_it = processes.iter().filter(|process| is_of_it(process));
        let hold = |id| Some(open(id).ok()?).map(|descriptor| Left { id, descriptor });
        let mut left: Vec<Left> = of_it
            .filter_map(|process| hold(process.id))
            // Looked at again when it is held: that is the one that a signal reaches.
            .filter(|process| Stat::of(process.id).is_some_and(|known| is_of_it(&known)))
            .collect();
        if left.is_empty() && is_locked(&self.lock) {
            left.extend(holders(&self.lock).into_iter().filter_map(hold));
        }
        left
    }

    fn signal(&mut self, left: &[Left]) {
        let kill = self.kills || self.since.elapsed() >= TERM_TIMEOUT;
        let signal = if kill { Signal::KILL } else { Signal::TERM };
        // What is asked twice may take that for more haste.
        if self.told == Some(signal) && !kill {
            return;
        }
        if self.told != Some(signal) {
            let pids: Vec<i32> = left.iter().map(|process| process.id).collect();
            let signal = if kill { "SIGKILL" } else { "SIGTERM" };
            tracing::info!(
                json.pids = format!("{pids:?}"),
                signal,
                "ending processes that {} has left",
                self.what
            );
        }
        self.told = Some(signal);
        for process in left {
            // One that has ended needs none; one that refuses is told of in the end.
            let _ = pidfd_send_signal(&process.descriptor, signal);
            if !kill {
                let _ = pidfd_send_signal(&process.descriptor, Signal::CONT);
            }
        }
    }

    fn is_hopeless(&self, left: &[Left]) -> bool {
        let hopeless = self.since.elapsed() >= TERM_TIMEOUT + KILL_TIMEOUT;
        if hopeless {
            let pids: Vec<i32> = left.iter().map(|process| process.id).collect();
            tracing::error!(
                json.pids = format!("{pids:?}"),
                "processes that {} has left do not end and are in its way: end them by hand",
                self.what
            );
        }
        hopeless
    }
}

/// Whether a process has the lock (`flock(2)`) of a file. One that is not there is not locked.
pub fn is_locked(path: &Path) -> bool {
    // What takes its place is not waited for, as a FIFO would have it.
    let mut options = File::options();
    let options = options
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let Ok(file) = options.open(path) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// The processes that have a file open, other than this one, as far as this user may see.
pub fn holders(path: &Path) -> Vec<i32> {
    let others = ids().into_iter().flatten();
    others
        .filter(|id| u32::try_from(*id).is_ok_and(|id| id != process::id()))
        .filter(|id| has_open(*id, path) == Some(true))
        .collect()
}

/// Whether a process has a file open that is at this path, or was before it was removed. `None` if this user may not see that.
pub fn has_open(id: i32, path: &Path) -> Option<bool> {
    let directory = fs::canonicalize(path.parent()?).ok()?;
    let path = directory.join(path.file_name()?);
    let mut removed = path.clone().into_os_string();
    removed.push(OsStr::from_bytes(REMOVED));
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).ok()?.flatten();
    let mut targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    Some(targets.any(|target| target == path || target.as_os_str() == removed))
}

/// The path that the directory of a process had which was removed. `None` if it is there, or this user may not see that.
pub fn removed_directory(id: i32) -> Option<PathBuf> {
    let directory = fs::read_link(format!("/proc/{id}/cwd")).ok()?;
    let path = directory.as_os_str().as_bytes().strip_suffix(REMOVED)?;
    Some(OsStr::from_bytes(path).into())
}

/// Whether a process leads a session.
pub fn leads_session(id: i32) -> bool {
    Stat::of(id).is_some_and(|known| known.session == id)
}

/// The ids of all processes.
pub fn ids() -> io::Result<BTreeSet<i32>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let name = std::str::from_utf8(name.as_bytes()).ok();
        ids.extend(name.and_then(|name| name.parse::<i32>().ok()));
    }
    Ok(ids)
}

fn processes() -> io::Result<Vec<Stat>> {
    Ok(ids()?.into_iter().filter_map(Stat::of).collect())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    use super::*;

    /// Starts a process that leads a session, has children as the script says, and ends; returns its id and what it printed.
    fn leader(script: &str, lock: &Path) -> (i32, Vec<i32>) {
        let file = File::create(lock).unwrap();
        file.lock().unwrap();
        let mut child = Command::new("setsid")
            // What it starts in the background gets another standard input.
            .args(["/bin/sh", "-c", &format!("exec 9<&0; {script}")])
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ids = lines.take_while(|line| line.as_ref().is_ok_and(|line| line != "end"));
        let ids = ids.map(|line| line.unwrap().parse().unwrap()).collect();
        child.wait().unwrap();
        (child.id().cast_signed(), ids)
    }

    async fn ends(script: &str, kills: bool) -> Duration {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join("lock");
        let (id, left) = leader(script, &lock);
        assert!(
            left.iter().all(|id| Stat::of(*id).is_some()),
            "they run: {left:?}"
        );
        assert!(is_locked(&lock));
        let began = Instant::now();
        Sessions::start()
            .end(id, lock.clone(), "worker-1".into(), kills)
            .await;
        assert!(
            left.iter().all(|id| Stat::of(*id).is_none()),
            "they have ended: {left:?}"
        );
        assert!(!is_locked(&lock) && holders(&lock).is_empty());
        began.elapsed()
    }

    #[tokio::test]
    async fn what_a_leader_has_left_is_ended_wherever_it_is() {
        let took = ends("sleep 600 & echo $!; sleep 600 & echo $!; echo end", false).await;
        assert!(took < TERM_TIMEOUT, "{took:?}");
        // In a session of its own, with the lock.
        ends("setsid sh -c 'echo $$; echo end; exec sleep 600' &", true).await;
    }

    #[tokio::test]
    async fn what_does_not_end_when_it_is_asked_is_killed() {
        let stubborn = "sh -c 'trap \"\" TERM; echo $$; echo end; while :; do sleep 600; done' & exit";
        let took = ends(stubborn, false).await;
        assert!(took >= TERM_TIMEOUT, "{took:?}");
        let took = ends(stubborn, true).await;
        assert!(took < TERM_TIMEOUT, "{took:?}");
    }
}
