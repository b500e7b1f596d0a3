//! The Supervisor's process, where it is us who starts it: `zeek -j` is started, watched, started again when it ends, ended
//! when the core finds that it does not answer, and ended with us. Before it is started again, nothing of the one before
//! is left ([`supervise::stale`]): nodes are no children of Zeek's Supervisor but of its stem, which looks every second whether the
//! Supervisor is there, and then takes up to 26 seconds to end them (`Supervisor.cc`, `Stem::Shutdown`). Two processes would write into
//! the directory of each node, and the new ones would find their ports taken.
//!
//! It outlives a crash of ours, and its nodes with it: the next agent finds it by a record in its directory and takes it
//! over, if it would start the same one.

use std::{fs, io, time::Duration};

use broker_endpoint::{PeerAddress, at};
use supervise::{
    process::{Event, Policy, Process, Then},
    stale,
    unix::{End as ProcessEnd, Handle, Stopped},
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    launch::{Launch, free_port},
    stderr::{self, Stderr},
};

/// How long a Supervisor may take to end its nodes and itself: Zeek's kills nodes after 26 seconds (`Supervisor.cc`,
/// `Stem::Shutdown`).
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A Supervisor that has lived for 30 seconds, and answered, is not one that cannot start.
const POLICY: Policy = Policy {
    delay: Duration::from_secs(1),
    starts_per_delay: 1,
    delay_max: Duration::from_secs(60),
    since_start: false,
    steady: Duration::from_secs(30),
    terms: 1,
    round: STOP_TIMEOUT,
    kills: true,
};

/// How long processes have to end that nodes have started, when their Supervisor has ended in good order.
const STRAY_TIMEOUT: Duration = Duration::from_secs(2);

/// A handle to the task that looks after the process.
#[derive(Debug)]
pub(super) struct SupervisorProcess {
    changes: mpsc::UnboundedReceiver<Change>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

/// What becomes of the process.
#[derive(Debug)]
pub(super) enum Change {
    /// It was started, or taken over, and is going to listen there.
    Started { address: PeerAddress },
    /// It has ended, or could not be started.
    Ended { reason: String },
}

/// What the task is to do.
#[derive(Debug)]
enum Order {
    /// The process has connected: it has come up.
    Connected,
    /// End the process, which has been silent for so long, and start it again.
    End { silence: Duration },
    /// End the process for good.
    Stop,
}

impl SupervisorProcess {
    /// Starts looking after a Supervisor, and returns at once.
    pub(super) fn keep(launch: Launch, address: PeerAddress) -> Self {
        // At most two a second, and fetched before messages of peers.
        let (tell, changes) = mpsc::unbounded_channel();
        let (orders, to_do) = mpsc::unbounded_channel();
        let task = SupervisorTask {
            launch,
            address,
            tell,
            orders: to_do,
            machine: Process::new(POLICY),
            epoch: Instant::now(),
        };
        let task = tokio::spawn(task.keep());
        Self {
            changes,
            orders,
            task,
        }
    }

    /// What becomes of the process. May be cancelled.
    pub(super) async fn changed(&mut self) -> Option<Change> {
        self.changes.recv().await
    }

    /// The process has connected. Returns at once.
    pub(super) fn connected(&self) {
        // As below.
        let _ = self.orders.send(Order::Connected);
    }

    /// Ends the process, which has been silent for so long, and starts it again. Returns at once.
    pub(super) fn end(&self, silence: Duration) {
        // If the task is gone already, so is the process.
        let _ = self.orders.send(Order::End { silence });
    }

    /// Ends the process and its nodes. Takes as long as these need, at most twice [`STOP_TIMEOUT`].
    pub(super) async fn stop(self) {
        let _ = self.orders.send(Order::Stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that looks after the Supervisor panicked");
        }
    }
}

struct SupervisorTask {
    /// How it is started, with the port of the last start.
    launch: Launch,
    /// Where it is to listen. With port 0 there is a free one for each start: what was free may be taken by the next.
    address: PeerAddress,
    tell: mpsc::UnboundedSender<Change>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// When it is started again, and how it is stopped.
    machine: Process,
    epoch: Instant,
}

struct Running {
    process: Handle,
    /// Where it is going to listen.
    address: PeerAddress,
    stderr: Stderr,
}

/// The end of a process that was not to end for good.
struct End {
    reason: String,
    /// How long it lived and did what it was there for.
    lived: Duration,
    /// How long what it has left may take to end.
    timeout: Duration,
}

impl SupervisorTask {
    async fn keep(mut self) {
        let mut found = self.take_over().await;
        loop {
            let running = match found.take() {
                Some(running) => Ok(running),
                None => self.start().await,
            };
            let end = match running {
                Ok(running) => match self.look_after(running).await {
                    Some(end) => end,
                    None => return,
                },
                Err(error) => End {
                    reason: format!("{} cannot be started: {error}", self.launch.program.display()),
                    lived: Duration::ZERO,
                    timeout: STRAY_TIMEOUT,
                },
            };
            let (seconds, reason) = (self.machine.delay_after(end.lived).as_secs(), end.reason);
            tracing::error!("the Supervisor does not run: {reason}; it is started again in {seconds} s");
            // It is not heard any more while the agent ends.
            let _ = self.tell.send(Change::Ended { reason });
            self.clear_away(end.timeout).await;
            // Nothing is left of it now: the delay begins.
            self.tell_machine(Event::Ended { lived: end.lived });
            tokio::select! {
                () = at(self.machine.deadline().map(|deadline| self.epoch + deadline)) => {}
                () = stopped(&mut self.orders) => return,
            }
            self.tell_machine(Event::Tick);
        }
    }

    /// Its effect is not looked at: this task does the same next.
    fn tell_machine(&mut self, event: Event) {
        let _ = self.machine.step(self.epoch.elapsed(), event);
    }

    /// Waits for the end of the process, or ends it. `None` if it is not to be started again.
    async fn look_after(&mut self, running: Running) -> Option<End> {
        let Running {
            mut process,
            address,
            mut stderr,
        } = running;
        let started = Instant::now();
        self.tell_machine(Event::Spawned);
        let _ = self.tell.send(Change::Started { address });
        let mut looks = interval(stderr::INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is at once.
        looks.tick().await;
        // Until it has come up, all that it writes may say why it does not.
        let mut is_up = false;
        let order = loop {
            tokio::select! {
                end = process.ended() => {
                    return Some(End {
                        reason: why_ended(&end, stderr).await,
                        lived: started.elapsed(),
                        timeout: STOP_TIMEOUT,
                    });
                }
                order = self.orders.recv() => match order {
                    Some(Order::Connected) => is_up = true,
                    order => break order,
                },
                _ = looks.tick(), if is_up => stderr = looked_at(stderr).await,
            }
        };
        if let Some(Order::End { silence }) = order {
            tracing::warn!(
                pid = process.id(),
                "the Supervisor has not answered for {} s: it is ended with its nodes, and started again",
                silence.as_secs()
            );
            let lived = started.elapsed().saturating_sub(silence);
            let Stopped { end, by_itself } = self.stop(&mut process, Then::Wait).await;
            let said = if is_up { None } else { said(stderr).await };
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            return Some(End {
                reason: format!("its process did not answer and was ended ({end}){said}"),
                lived,
                timeout: timeout_with_orphans(by_itself),
            });
        }
        tracing::info!(pid = process.id(), "ending the Supervisor and its nodes");
        let stopped = self.stop(&mut process, Then::Stay).await;
        self.clear_away(timeout_with_orphans(stopped.by_itself)).await;
        forget(&self.launch).await;
        None
    }

    async fn stop(&mut self, process: &mut Handle, then: Then) -> Stopped {
        process
            .stop(&mut self.machine, self.epoch, then, "Supervisor")
            .await
    }

    /// Takes the process over that an agent before this one has left, or ends it if this one would start another one.
    async fn take_over(&mut self) -> Option<Running> {
        let to_find = self.launch.clone();
        let left = blocking(move || to_find.left_behind()).await.ok().flatten();
        let Some((process, mut started)) = left else {
            self.clear_away(STOP_TIMEOUT).await;
            return None;
        };
        let same = self.launch.would_start(&started);
        // What is left is known by how it was started.
        started.directory.clone_from(&self.launch.directory);
        let to_start = std::mem::replace(&mut self.launch, started);
        let timeout = match process {
            Some(process) if same => {
                tracing::info!(
                    pid = process.id(),
                    "taking over the Supervisor that an earlier agent has left"
                );
                return Some(Running {
                    process,
                    address: self.address_at(self.launch.port),
                    stderr: Stderr::found(self.launch.stderr()),
                });
            }
            Some(mut process) => {
                tracing::info!(
                    pid = process.id(),
                    "ending the Supervisor that an earlier agent has left, as it was started in another way"
                );
                self.tell_machine(Event::Spawned);
                let stopped = self.stop(&mut process, Then::Stay).await;
                self.tell_machine(Event::Ended {
                    lived: Duration::ZERO,
                });
                timeout_with_orphans(stopped.by_itself)
            }
            None => STOP_TIMEOUT,
        };
        self.clear_away(timeout).await;
        self.launch = to_start;
        None
    }

    fn address_at(&self, port: u16) -> PeerAddress {
        PeerAddress {
            port,
            ..self.address.clone()
        }
    }

    async fn start(&mut self) -> io::Result<Running> {
        let (mut launch, address) = (self.launch.clone(), self.address.clone());
        let (process, launch) = blocking(move || {
            launch.port = free_port(&address)?;
            let process = launch.start()?;
            io::Result::Ok((process, launch))
        })
        .await??;
        tracing::info!(
            pid = process.id(),
            program = %launch.program.display(),
            arguments = launch.arguments().join(" "),
            "started the Supervisor"
        );
        self.launch = launch;
        Ok(Running {
            process,
            address: self.address_at(self.launch.port),
            stderr: Stderr::new(self.launch.stderr()),
        })
    }

    /// Sees to it that no process of an earlier Supervisor is left.
    async fn clear_away(&self, timeout: Duration) {
        let launch = self.launch.clone();
        match blocking(move || launch.tag()).await.and_then(|tag| tag) {
            Ok(tag) => stale::end_all(tag, "Supervisor", timeout).await,
            // Without its directory it cannot be started either.
            Err(error) => tracing::debug!(%error, "there is no tag of an earlier Supervisor"),
        }
    }
}

/// Nodes of a Supervisor that was killed are ended by its stem, in order. No process looks
/// after what is left by one that has ended its nodes.
const fn timeout_with_orphans(ended_by_itself: bool) -> Duration {
    if ended_by_itself {
        STRAY_TIMEOUT
    } else {
        STOP_TIMEOUT
    }
}

/// Waits for the order to stop. Others are about a process that has ended.
async fn stopped(orders: &mut mpsc::UnboundedReceiver<Order>) {
    while let Some(Order::End { .. } | Order::Connected) = orders.recv().await {}
}

/// Why it has ended. What it wrote says so unless it was killed.
async fn why_ended(end: &ProcessEnd, stderr: Stderr) -> String {
    let ended = format!("its process has ended ({end})");
    if end.is_from_outside() {
        return ended;
    }
    match said(stderr).await {
        Some(said) => format!("{ended}: {said}"),
        None => format!("{ended}, cause unknown"),
    }
}

async fn said(stderr: Stderr) -> Option<String> {
    blocking(move || stderr.reason()).await.ok().flatten()
}

async fn looked_at(stderr: Stderr) -> Stderr {
    let mut looked = stderr.clone();
    let look = move || {
        looked.look();
        looked
    };
    // Without a look, older lines count as recent.
    blocking(look).await.unwrap_or(stderr)
}

async fn forget(launch: &Launch) {
    let record = launch.record_path();
    // Without a process of that id and age it says nothing.
    let _ = blocking(move || fs::remove_file(record)).await;
}

/// Off the loop: file systems may block for long.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)
}
