//! Processes that the agent keeps: a program is started, watched, started again when it ends, ended when the core finds that it does
//! not answer, and ended with us. Before it is started again, nothing of the one before is left ([`supervise::stale`]). What is
//! particular about a program is its [`Program`].

mod program;

use std::{io, pin::pin, time::Duration};

use broker_endpoint::at;
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

pub(super) use self::program::{Left, Program, Written};
use super::stderr;

/// How long processes have to end that a program has started, when it has ended in good order itself.
const STRAY_TIMEOUT: Duration = Duration::from_secs(2);

/// A handle to the task that looks after the process.
#[derive(Debug)]
pub(super) struct Kept<P: Program> {
    changes: mpsc::UnboundedReceiver<Change<P::Announced>>,
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

/// What becomes of the process.
#[derive(Debug)]
pub(super) enum Change<A> {
    /// It was started, or taken over, and has announced itself.
    Started(A),
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

impl<P: Program> Kept<P> {
    /// Starts looking after a program, and returns at once.
    pub(super) fn keep(program: P) -> Self {
        // At most two a second, and fetched before messages of peers.
        let (tell, changes) = mpsc::unbounded_channel();
        let (orders, to_do) = mpsc::unbounded_channel();
        // One that has lived for 30 seconds, and answered, is not one that cannot start.
        let policy = Policy {
            delay: Duration::from_secs(1),
            starts_per_delay: 1,
            delay_max: Duration::from_secs(60),
            since_start: false,
            steady: Duration::from_secs(30),
            forgives: None,
            fails: None,
            terms: 1,
            round: P::STOP_TIMEOUT,
            kills: true,
        };
        let task = KeptTask {
            program,
            tell,
            orders: to_do,
            machine: Process::new(policy),
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
    pub(super) async fn changed(&mut self) -> Option<Change<P::Announced>> {
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

    /// Ends the process and what it has started. Takes as long as these need, at most twice [`Program::STOP_TIMEOUT`].
    pub(super) async fn stop(self) {
        let _ = self.orders.send(Order::Stop);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that looks after the {} panicked", P::WHAT);
        }
    }
}

struct KeptTask<P: Program> {
    /// As it was started last.
    program: P,
    tell: mpsc::UnboundedSender<Change<P::Announced>>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// When it is started again, and how it is stopped.
    machine: Process,
    epoch: Instant,
}

struct Running<P: Program> {
    process: Handle,
    written: P::Written,
}

/// The end of a process that was not to end for good.
struct End {
    reason: String,
    /// How long it lived and did what it was there for.
    lived: Duration,
    /// How long what it has left may take to end.
    timeout: Duration,
}

impl<P: Program> KeptTask<P> {
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
                    reason: format!("{} cannot be started: {error}", self.program.program().display()),
                    lived: Duration::ZERO,
                    timeout: STRAY_TIMEOUT,
                },
            };
            let (seconds, reason) = (self.machine.delay_after(end.lived).as_secs(), end.reason);
            let what = P::WHAT;
            tracing::error!("the {what} does not run: {reason}; it is started again in {seconds} s");
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
    async fn look_after(&mut self, running: Running<P>) -> Option<End> {
        let Running {
            mut process,
            mut written,
        } = running;
        let started = Instant::now();
        self.tell_machine(Event::Spawned);
        let program = self.program.clone();
        let mut announced = pin!(program.announced(process.id()));
        let mut is_announced = false;
        let mut looks = interval(stderr::INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is at once.
        looks.tick().await;
        // Until it has come up, all that it writes may say why it does not.
        let mut is_up = false;
        let order = loop {
            tokio::select! {
                biased;
                known = &mut announced, if !is_announced => {
                    is_announced = true;
                    let _ = self.tell.send(Change::Started(known));
                }
                end = process.ended() => {
                    return Some(End {
                        reason: why_ended(&end, written).await,
                        lived: started.elapsed(),
                        timeout: P::STOP_TIMEOUT,
                    });
                }
                order = self.orders.recv() => match order {
                    Some(Order::Connected) => is_up = true,
                    order => break order,
                },
                _ = looks.tick(), if is_up => written = written.looked().await,
            }
        };
        if let Some(Order::End { silence }) = order {
            let lived = started.elapsed().saturating_sub(silence);
            return Some(self.end_silent(process, written, (silence, lived), is_up).await);
        }
        tracing::info!(pid = process.id(), "ending the {}", P::WHOLE);
        let stopped = self.stop(&mut process, Then::Stay).await;
        // What it has written at its end is logged.
        written.said().await;
        self.clear_away(timeout_with_orphans::<P>(stopped.by_itself))
            .await;
        let program = self.program.clone();
        // A record without a process of that id and age says nothing.
        let _ = blocking(move || program.forget()).await;
        None
    }

    /// Ends a process that has been silent for so long, and lived for so long before.
    async fn end_silent(
        &mut self,
        mut process: Handle,
        written: P::Written,
        (silence, lived): (Duration, Duration),
        is_up: bool,
    ) -> End {
        tracing::warn!(
            pid = process.id(),
            "the {} has not answered for {} s: it is ended with its nodes, and started again",
            P::WHAT,
            silence.as_secs()
        );
        let Stopped { end, by_itself } = self.stop(&mut process, Then::Wait).await;
        let said = if is_up { None } else { written.said().await };
        let said = said.map(|said| format!(": {said}")).unwrap_or_default();
        End {
            reason: format!("its process did not answer and was ended ({end}){said}"),
            lived,
            timeout: timeout_with_orphans::<P>(by_itself),
        }
    }

    async fn stop(&mut self, process: &mut Handle, then: Then) -> Stopped {
        process.stop(&mut self.machine, self.epoch, then, P::WHAT).await
    }

    /// Takes the process over that an agent before this one has left, or ends it if this one would start another one.
    async fn take_over(&mut self) -> Option<Running<P>> {
        let to_find = self.program.clone();
        let left = blocking(move || to_find.left_behind()).await.ok().flatten();
        let Some(left) = left else {
            self.clear_away(P::STOP_TIMEOUT).await;
            return None;
        };
        // What is left is known by how it was started.
        let to_start = std::mem::replace(&mut self.program, left.program);
        let timeout = match (left.process, left.written) {
            (Some(process), Some(written)) => {
                tracing::info!(
                    pid = process.id(),
                    "taking over the {} that an earlier agent has left",
                    P::WHAT
                );
                return Some(Running { process, written });
            }
            (Some(mut process), None) => {
                tracing::info!(
                    pid = process.id(),
                    "ending the {} that an earlier agent has left, as it was started in another way",
                    P::WHAT
                );
                self.tell_machine(Event::Spawned);
                let stopped = self.stop(&mut process, Then::Stay).await;
                self.tell_machine(Event::Ended {
                    lived: Duration::ZERO,
                });
                timeout_with_orphans::<P>(stopped.by_itself)
            }
            (None, _) => P::STOP_TIMEOUT,
        };
        self.clear_away(timeout).await;
        self.program = to_start;
        None
    }

    async fn start(&mut self) -> io::Result<Running<P>> {
        let mut program = self.program.clone();
        let (process, written, program) = blocking(move || {
            let (process, written) = program.start()?;
            io::Result::Ok((process, written, program))
        })
        .await??;
        tracing::info!(
            pid = process.id(),
            program = %program.program().display(),
            arguments = program.arguments().join(" "),
            "started the {}",
            P::WHAT
        );
        self.program = program;
        Ok(Running { process, written })
    }

    /// Sees to it that no process of an earlier one is left.
    async fn clear_away(&self, timeout: Duration) {
        let program = self.program.clone();
        match blocking(move || program.tag()).await.and_then(|tag| tag) {
            Ok(tag) => stale::end_all(tag, P::WHAT, timeout).await,
            // Without its directory it cannot be started either.
            Err(error) => tracing::debug!(%error, "there is no tag of an earlier {}", P::WHAT),
        }
    }
}

/// What one has left that was killed may take as long to end as itself. No process looks after what is left by one that has ended
/// what it had started.
const fn timeout_with_orphans<P: Program>(ended_by_itself: bool) -> Duration {
    if ended_by_itself {
        STRAY_TIMEOUT
    } else {
        P::STOP_TIMEOUT
    }
}

/// Waits for the order to stop. Others are about a process that has ended.
async fn stopped(orders: &mut mpsc::UnboundedReceiver<Order>) {
    while let Some(Order::End { .. } | Order::Connected) = orders.recv().await {}
}

/// Why it has ended. What it wrote says so unless it was killed.
async fn why_ended(end: &ProcessEnd, written: impl Written) -> String {
    let ended = format!("its process has ended ({end})");
    let said = written.said().await;
    if end.is_from_outside() {
        return ended;
    }
    match said {
        Some(said) => format!("{ended}: {said}"),
        None => format!("{ended}, cause unknown"),
    }
}

/// Off the loop: file systems may block for long.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)
}
