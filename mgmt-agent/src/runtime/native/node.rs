//! One node: its process is started, signalled and waited for, in the order in which that is asked for.

use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{ffi::OsStrExt, process::CommandExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::Arc,
};

use broker_codec::data::ZeekString;
use mgmt_daemon::{files, lock::Lock};
use rustix::process::{Pid, Signal, kill_process_group};
use supervise::{
    sessions::{holders, is_locked},
    unix::{self, Handle},
};
use tokio::sync::mpsc;

use super::{
    Common,
    outputs::{self, Lengths},
    strays::Stray,
};
use crate::{
    launcher,
    runtime::needs::lacking,
    supervisors::own::{End, Launch, News, Order},
};

/// Looks after one node.
pub(super) struct NodeTask {
    pub(super) name: ZeekString,
    /// In boxes: the channel has room for 32 from the beginning.
    pub(super) orders: mpsc::UnboundedReceiver<Box<Order>>,
    pub(super) common: Arc<Common>,
    /// Processes of it that have to end before it is started.
    pub(super) strays: Vec<Stray>,
}

/// Its process.
pub(super) struct Running {
    pub(super) process: Handle,
    pub(super) directory: PathBuf,
    /// Where its outputs begin.
    pub(super) from: Lengths,
}

/// Why there is no process.
enum NotStarted {
    Lacks(String),
    Failed(String),
}

impl NodeTask {
    /// Does as it is told until the agent's handle is gone.
    pub(super) async fn keep(mut self, mut running: Option<Running>) {
        // Where it works, if that is known.
        let mut directory = running.as_ref().map(|running| running.directory.clone());
        loop {
            if let Some(running) = running.take() {
                if self.look_after(running).await.is_none() {
                    return;
                }
                continue;
            }
            let Some(order) = self.orders.recv().await else {
                return;
            };
            match *order {
                Order::Start { launch } => {
                    directory = Some(directory_of(&launch));
                    running = self.start(launch).await;
                }
                Order::Rewrite { launch } => self.rewrite(launch).await,
                Order::Forget { .. } => {
                    if let Some(directory) = directory.take() {
                        self.forget(directory).await;
                    }
                }
                // It has ended by itself meanwhile.
                Order::Look | Order::Terminate { .. } | Order::Kill { .. } => {}
            }
        }
    }

    fn tell(&self, news: News) {
        // The receiver may be gone while the agent ends.
        let _ = self.common.news.send(news);
    }

    async fn start(&mut self, launch: Box<Launch>) -> Option<Running> {
        let node = self.name.clone();
        let directory = directory_of(&launch);
        for stray in std::mem::take(&mut self.strays) {
            if let Some(leader) = stray.end().await {
                self.end_session(leader, directory.join(launcher::LOCK), false)
                    .await;
            }
        }
        self.end_left(&directory).await;
        let program = self.common.launcher.clone();
        let started = self
            .common
            .works
            .work(move || start(&launch, directory, &program))
            .await;
        match started.unwrap_or_else(|error| Err(NotStarted::Failed(error.to_string()))) {
            Ok(running) => {
                self.common.outputs.watch(&running.directory, running.from);
                let pid = running.process.id().into();
                self.tell(News::Started { node, pid });
                Some(running)
            }
            Err(NotStarted::Lacks(what)) => {
                self.tell(News::Lacks { node, what });
                None
            }
            Err(NotStarted::Failed(reason)) => {
                self.tell(News::NotStarted { node, reason });
                None
            }
        }
    }

    /// Ends what the node has left running that was here before this agent, if it has.
    async fn end_left(&self, directory: &Path) {
        let lock = directory.join(launcher::LOCK);
        let directory = directory.to_owned();
        let looked = self.common.works.work(move || {
            let record =
                is_locked(&directory.join(launcher::LOCK)).then(|| launcher::recorded(&directory))?;
            record.filter(|record| !record.runs()).map(|record| record.pid())
        });
        if let Ok(Some(pid)) = looked.await {
            self.end_session(pid, lock, false).await;
        }
    }

    async fn end_session(&self, pid: i32, lock: PathBuf, kills: bool) {
        let what = format!("node {}", self.name);
        self.common.sessions.end(pid, lock, what, kills).await;
    }

    /// Waits for the end of the process, and tells it. `None` if the agent's handle is gone.
    async fn look_after(&mut self, mut running: Running) -> Option<()> {
        let pid = running.process.id();
        let mut is_killed = false;
        let end = loop {
            let order = tokio::select! {
                biased;
                end = running.process.ended() => break end,
                order = self.orders.recv() => order?,
            };
            match *order {
                Order::Terminate { .. } => {
                    running.process.signal(Signal::TERM);
                    // One that was stopped cannot do as it is told before it is continued.
                    running.process.signal(Signal::CONT);
                }
                Order::Kill { .. } => {
                    is_killed = true;
                    running.process.signal(Signal::KILL);
                    // It has no process group before it is one's leader.
                    let _ = Pid::from_raw(pid).map(|group| kill_process_group(group, Signal::KILL));
                }
                Order::Rewrite { launch } => self.rewrite(launch).await,
                Order::Start { .. } => {
                    let node = self.name.clone();
                    let reason = format!("it runs already, PID {pid}");
                    self.tell(News::NotStarted { node, reason });
                }
                Order::Look | Order::Forget { .. } => {}
            }
        };
        self.end_session(pid, running.directory.join(launcher::LOCK), is_killed)
            .await;
        let outputs = self.common.outputs.quote(&running.directory).await;
        self.tell(News::Ended {
            node: self.name.clone(),
            pid: pid.into(),
            end: how(&end),
            outputs,
        });
        Some(())
    }

    /// A failure is only warned of: the node runs, and the next agent will find it changed, and start it again.
    async fn rewrite(&self, launch: Box<Launch>) {
        let rewrite = move || {
            let directory = directory_of(&launch);
            launcher::write_layout(&directory, &launch).and_then(|()| launcher::write(&directory, &launch))
        };
        self.files(rewrite, "write down what node {} is to be started with")
            .await;
    }

    async fn forget(&self, directory: PathBuf) {
        self.files(
            move || launcher::forget(&directory),
            "remove what is written down about node {}",
        )
        .await;
    }

    async fn files(&self, work: impl FnOnce() -> io::Result<()> + Send + 'static, what: &str) {
        let done = self.common.works.work(work).await;
        if let Err(error) = done.and_then(|done| done) {
            let what = what.replace("{}", &self.name.to_string());
            tracing::warn!(%error, "cannot {what}");
        }
    }
}

fn directory_of(launch: &Launch) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&launch.spec.directory))
}

/// Starts the launcher, which becomes the node.
fn start(launch: &Launch, directory: PathBuf, program: &Path) -> Result<Running, NotStarted> {
    if let Some(what) = lacking(&launch.needs, &directory) {
        return Err(NotStarted::Lacks(what));
    }
    let lacks = |what: &str, error: io::Error| {
        NotStarted::Lacks(format!("its directory {} {what}: {error}", directory.display()))
    };
    files::create_secret_dir(&directory).map_err(|error| lacks("cannot be made", error))?;
    if is_locked(&directory.join(launcher::LOCK)) {
        let (holder, place) = (holder(&directory), directory.display());
        let other = launcher::read_of_any_user(&directory).map(|known| known.agent);
        return Err(NotStarted::Failed(match other {
            Ok(other) if other != launch.agent => format!(
                "{holder} has the lock of {place}, as a node of agent {other}: give one of the two agents another --state-dir, or one of the \
                 nodes another name"
            ),
            _ => format!(
                "{holder} has the lock of {place}, of an earlier process of the node; end that one by hand"
            ),
        }));
    }
    launcher::write(&directory, launch).map_err(|error| lacks("cannot be written to", error))?;
    let ([stdout, stderr], from) =
        outputs::open(&directory).map_err(|error| lacks("cannot be written to", error))?;
    let mut command = Command::new(program);
    let child = command
        .arg0("mgmt-agent")
        .arg(launcher::SUBCOMMAND)
        .arg(&directory)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn();
    let process = child.and_then(Handle::child);
    let process =
        process.map_err(|error| NotStarted::Failed(format!("no process can be started: {error}")))?;
    Ok(Running {
        process,
        directory,
        from,
    })
}

/// Who has the lock of a node's directory, in words.
pub(super) fn holder(directory: &Path) -> String {
    let path = directory.join(launcher::LOCK);
    let Some(pid) = holders(&path).first().copied() else {
        // It may be another user's.
        return Lock::holder(&path).unwrap_or_else(|| "another process".into());
    };
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = words
        .split(|byte| *byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    let line = ZeekString::from(words.join(" ").trim_end());
    format!("process {pid} ({line})")
}

fn how(end: &unix::End) -> End {
    let unix::End::Status(status) = end else {
        return End::Unknown;
    };
    exit(*status)
}

fn exit(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code),
        (None, Some(number)) => End::Signal {
            number,
            dumped_core: status.core_dumped(),
        },
        (None, None) => End::Unknown,
    }
}
