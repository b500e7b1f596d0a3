//! The daemon around a core: one task owns the core; what happens comes in, what is to be done goes out, in order.
//!
//! ```text
//!  signals -------+                                  +--> management log thread
//!  deadline ------+--> Input --> Machine --> Action --+--> journal thread
//!  Outside::next -+                                  +--> Outside::carry_out
//! ```
//!
//! What comes first in the picture is also looked at first, so that no flood of messages delays a time-out.
//!
//! What goes to many peers because of one input goes to a few of them at a time: in between, others are served ([`Outside::takes_turns`]).
//!
//! A sender has credit ([`Credit`]): a request keeps some until it is answered and the answer is with its listeners, everything
//! else until the core has taken it. So no peer is read faster than it is answered, and no queue fills because of one sender.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use broker_codec::data::ZeekString;
use broker_endpoint::{Credit, at, tls::RenewTls};
use counters::{Counters, Registry};
use jiff::Timestamp;
use mgmt_api::{HostState, Level, Now, WallClock};
use tokio::{
    sync::oneshot,
    task::{spawn_blocking, yield_now},
    time::Instant,
};
use tracing::field::display;

use crate::{
    Counted,
    audit::Audit,
    certificates::Certificates,
    config::DaemonConfig,
    deny_list::DenyList,
    error::{HostError, system},
    grants::Grants,
    http::Shared,
    journal::{Header, Journal, Seed},
    log::{Limiter, Sum, is_traffic, object},
    machine::Machine,
    management_log::ManagementLog,
    metrics::{Durations, Metrics},
    notify::{self, Watchdog},
    process::{random_bytes, unix_time},
    ready,
    reload::{self, Reload, Reread},
    signals::{Asked, Signals},
    turns::Turns,
};

/// How much the time of day may differ from what the core takes it for: clocks that keep time are not set by more.
const CLOCK_STEP_MIN: Duration = Duration::from_millis(200);

/// What is around a core: where its inputs come from, and what its actions do.
pub trait Outside: Sized {
    type Machine: Machine;
    type Event;
    /// Why the daemon cannot go on.
    type Error: From<HostError>;

    /// Waits for what happens next. May be cancelled without losing anything.
    fn next(&mut self) -> impl Future<Output = Result<Self::Event, Self::Error>>;

    /// Hands the core what has happened ([`Daemon::handle`]).
    fn take(&mut self, daemon: &mut Daemon<Self::Machine>, event: Self::Event) -> impl Future<Output = ()>;

    /// What the log says of an input and its consequences.
    fn about(&mut self, input: &<Self::Machine as Machine>::Input) -> About;

    /// Whether an action is one of those, of which there may be many at a time, that take turns with what happens meanwhile. They are
    /// carried out in their order, after all else that the input brings about, and no input comes of them.
    fn takes_turns(&self, _action: &<Self::Machine as Machine>::Action) -> bool {
        false
    }

    /// Does what the core wants done. Returns what comes of it at once.
    fn carry_out(
        &mut self,
        daemon: &mut Daemon<Self::Machine>,
        action: <Self::Machine as Machine>::Action,
        cause: &Cause,
    ) -> impl Future<Output = Vec<<Self::Machine as Machine>::Input>>;

    /// What an operator should mend of the daemon itself, although all may run as deployed.
    fn warnings(&self) -> Vec<String>;

    /// What loads certificates again.
    fn renewals(&self) -> Vec<RenewTls>;

    /// These certificates are in use from now on, and roles may be others.
    fn reloaded(&mut self, certificates: Certificates);

    /// The graceful end. [`Daemon::close_log`] is part of it.
    fn end(self, daemon: &mut Daemon<Self::Machine>) -> impl Future<Output = Result<(), Self::Error>>;
}

/// What the log says of an input and its consequences.
#[derive(Debug, Default)]
pub struct About {
    /// The request that it belongs to.
    pub reqid: Option<ZeekString>,
    /// Who has sent it, and a name of ours for this kind of input: log lines of one sender and kind are limited.
    pub sender: Option<(String, Cow<'static, str>)>,
}

/// What an action follows from.
#[derive(Debug)]
pub struct Cause {
    /// When the input came.
    pub time: Timestamp,
    /// The same, to measure from.
    pub since: Instant,
    /// The request that it belongs to.
    pub reqid: Option<ZeekString>,
    /// Its sender's credit.
    pub credit: Credit,
}

/// A core, and everything around it that does not depend on what it decides.
#[derive(Debug)]
pub struct Daemon<M: Machine> {
    machine: M,
    started: Instant,
    journal: Option<Journal<M::Input>>,
    /// None when it has ended.
    log: Option<ManagementLog>,
    limiter: Limiter,
    /// What waits for its turn.
    waiting: Turns<(M::Action, Arc<Cause>)>,
    /// What an input causes is not logged: its sender causes too much.
    quiet: bool,
    signals: Signals,
    /// The requests that are not answered yet, with the credit that their senders get back when they are.
    unanswered: BTreeMap<M::Request, Unanswered>,
    ready_file: Option<PathBuf>,
    reload: Reload,
    watchdog: Watchdog,
    audit: Audit,
    counters: Counters<Counted>,
    /// Everything that is counted.
    pub registry: Registry,
    pub durations: Durations,
    /// What the names of its metrics begin with.
    prefix: String,
    /// When it was started, since 1970.
    born: Duration,
    /// How the host was, when the core was last told, with the time of day at the start.
    host: Option<HostState>,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub struct Unanswered {
    /// What its sender gets back when it is.
    pub credit: Credit,
    /// When it came.
    pub since: Instant,
}

/// A daemon that has no core yet: signals are taken over.
#[derive(Debug)]
pub struct Beginning {
    started: Instant,
    born: Duration,
    signals: Signals,
    ready_file: Option<PathBuf>,
    reload: Reload,
    pub(crate) grants: Grants,
    audit: Audit,
    pub counters: Counters<Counted>,
    pub(crate) registry: Registry,
    pub durations: Durations,
}

impl Beginning {
    /// Takes signals over, logs the configuration's warnings, and removes the ready file of a daemon that crashed.
    pub fn new(config: &DaemonConfig, reread: Reread) -> Result<Self, HostError> {
        let (started, born) = (Instant::now(), unix_time());
        let signals = Signals::new()?;
        for warning in &config.resolved.warnings {
            tracing::warn!("{warning}");
        }
        if let Some(path) = &config.ready_file {
            ready::remove(path)?;
        }
        let grants = Grants::start(config);
        let (counters, mut registry) = (Counters::default(), Registry::default());
        registry.add("", &counters);
        let denied = DenyList::read(config.deny_list.as_deref())?;
        let audit = Audit::start(config.audit_log.as_deref(), counters.clone());
        Ok(Self {
            started,
            born,
            signals,
            ready_file: config.ready_file.clone(),
            reload: Reload::new(config, reread, grants.clone(), denied, counters.clone()),
            grants,
            audit: audit.map_err(|source| system("start the audit log's thread", source))?,
            counters,
            registry,
            durations: Durations::default(),
        })
    }

    /// What operators' requests need of the daemon.
    pub fn shared(&self) -> Shared {
        Shared {
            reload: self.reload.asker(),
            grants: self.grants.clone(),
            durations: self.durations.clone(),
            counters: self.counters.clone(),
            audit: self.audit.clone(),
        }
    }

    /// Who may what.
    pub fn grants(&self) -> Grants {
        self.grants.clone()
    }

    /// Where it is written who has asked for what.
    pub fn audit(&self) -> Audit {
        self.audit.clone()
    }

    /// Starts the threads of log and journal, and the core with ids from a new seed. The role is what it is in the
    /// management log: `CONTROLLER` or `AGENT`.
    pub fn start<M: Machine>(
        self,
        config: &DaemonConfig,
        role: &'static str,
        start: M::Start,
    ) -> Result<Daemon<M>, HostError> {
        let (dir, counters) = (&config.working_dir, self.counters.clone());
        let log = ManagementLog::start(dir, &config.name, role, &config.management_log, counters)
            .map_err(|source| system("start the management log's thread", source))?;
        let program = format!("mgmt-{}", role.to_ascii_lowercase());
        let header = Header::new(&program, start, random_bytes().map(Seed::new)?);
        let create = |path: &PathBuf| {
            let journal = Journal::create(path, &header, &self.counters);
            let journal = journal.map_err(|source| HostError::Journal {
                path: path.clone(),
                source,
            })?;
            tracing::info!(path = %path.display(), "recording a journal");
            Ok::<_, HostError>(journal)
        };
        self.audit.open();
        Ok(Daemon {
            started: self.started,
            journal: config.journal.as_ref().map(create).transpose()?,
            machine: M::start(header.start, Box::new(header.seed.ids())),
            log: Some(log),
            limiter: Limiter::default(),
            waiting: Turns::new(),
            quiet: false,
            signals: self.signals,
            unanswered: BTreeMap::new(),
            ready_file: self.ready_file,
            reload: self.reload,
            watchdog: Watchdog::new(),
            audit: self.audit,
            counters: self.counters,
            registry: self.registry,
            durations: self.durations,
            prefix: format!("zeek_{}", program.replace('-', "_")),
            born: self.born,
            host: None,
        })
    }
}

/// Runs a daemon until a signal ends it.
pub async fn run<O: Outside>(mut daemon: Daemon<O::Machine>, mut outside: O) -> Result<(), O::Error> {
    notify::ready();
    loop {
        let deadline = daemon.machine.deadline();
        // None if the system's clock does not go so far.
        let deadline = deadline.and_then(|deadline| daemon.started.checked_add(deadline.since_start()));
        tokio::select! {
            biased;
            asked = daemon.signals.recv() => match asked {
                Asked::End(name) => {
                    tracing::info!(signal = name, "ending");
                    notify::stopping();
                    outside.end(&mut daemon).await?;
                    daemon.finish().await?;
                    tracing::info!("ended");
                    return Ok(());
                }
                Asked::Reload => daemon.reload(&outside, None),
            },
            happened = daemon.reload.next() => match happened {
                reload::Happened::Asked(waiting) => daemon.reload(&outside, Some(waiting)),
                reload::Happened::Read(read) => daemon.reloaded(&mut outside, *read),
            },
            () = at(deadline) => daemon.tick(&mut outside).await,
            () = at(daemon.limiter.due().map(Instant::from_std)) => {
                let sums = daemon.limiter.sum_up(Instant::now().into_std());
                daemon.log_sums(&sums);
            }
            () = at(daemon.watchdog.due()) => daemon.watchdog.alive(),
            event = outside.next() => outside.take(&mut daemon, event?).await,
            () = yield_now(), if !daemon.waiting.is_empty() => daemon.carry_out_some(&mut outside).await,
        }
    }
}

impl<M: Machine> Daemon<M> {
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// Whether what the present input causes is not logged, as its sender causes too much.
    pub const fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Hands inputs to the core, one after the other, and carries out what it wants done. What follows from the first comes after
    /// the last. The credit is that of their sender.
    pub async fn handle<O: Outside<Machine = M>>(
        &mut self,
        outside: &mut O,
        inputs: impl IntoIterator<Item = M::Input>,
        credit: &Credit,
    ) {
        let inputs = inputs.into_iter().map(|input| (input, credit.clone()));
        let mut inputs: VecDeque<_> = inputs.collect();
        let warnings = outside.warnings().into_iter().chain(self.failing()).collect();
        if let Some(news) = self.news_of_host(warnings) {
            inputs.push_front((M::host(news), Credit::none()));
        }
        while let Some((input, credit)) = inputs.pop_front() {
            let request = M::request(&input);
            let About { reqid, sender } = outside.about(&input);
            self.quiet = sender.is_some_and(|(sender, kind)| {
                !self
                    .limiter
                    .admit(Instant::now().into_std(), &sender, &kind, &kind)
            });
            let cause = Arc::new(Cause {
                time: Timestamp::now(),
                since: Instant::now(),
                reqid,
                credit,
            });
            let now = Now::from_start(self.started.elapsed());
            if let Some(journal) = &mut self.journal {
                journal.record(now, &input);
            }
            for action in self.machine.step(now, input) {
                if outside.takes_turns(&action) {
                    self.waiting.push((action, Arc::clone(&cause)));
                    continue;
                }
                let follow = outside.carry_out(self, action, &cause).await;
                inputs.extend(follow.into_iter().map(|input| (input, cause.credit.clone())));
            }
            if let Some(request) = request
                && self.machine.owes_answer(&request)
            {
                // That of a repeated one is given back: it has no answer of its own.
                self.unanswered.entry(request).or_insert_with(|| Unanswered {
                    credit: cause.credit.clone(),
                    since: cause.since,
                });
            }
        }
        self.carry_out_some(outside).await;
    }

    /// Carries out some of what waits for its turn.
    async fn carry_out_some<O: Outside<Machine = M>>(&mut self, outside: &mut O) {
        let mut taken = 0;
        while let Some((action, cause)) = self.waiting.next(taken) {
            outside.carry_out(self, action, &cause).await;
            taken += 1;
        }
    }

    /// Has actions not carried out that still wait for their turn, and are for a peer that is gone: it may come back before that, as another.
    pub fn forget_waiting(&mut self, is_gone: impl Fn(&M::Action) -> bool) {
        self.waiting.forget(|(action, _)| is_gone(action));
    }

    /// Carries out all that waits for its turn: nothing may be left at the end.
    pub async fn carry_out_all<O: Outside<Machine = M>>(&mut self, outside: &mut O) {
        while !self.waiting.is_empty() {
            self.carry_out_some(outside).await;
        }
    }

    /// How the host is, if that has changed since the core was last told. What it hears first is the start, which has the time of day.
    fn news_of_host(&mut self, warnings: Vec<String>) -> Option<HostState> {
        let elapsed = self.started.elapsed();
        let now = WallClock::from_unix(unix_time());
        let Some(host) = &mut self.host else {
            let (wall_clock, warnings) = (now - elapsed, Vec::new());
            self.host = Some(HostState { wall_clock, warnings });
            return None;
        };
        let was_set = (host.wall_clock + elapsed).abs_diff(now) >= CLOCK_STEP_MIN;
        if !was_set && host.warnings == warnings {
            return None;
        }
        if was_set {
            host.wall_clock = now - elapsed;
        }
        host.warnings.clone_from(&warnings);
        let wall_clock = host.wall_clock + elapsed;
        Some(HostState { wall_clock, warnings })
    }

    /// Part of the graceful end: goes on until the core says that it is done. A further signal cuts it short.
    pub async fn run_until<O: Outside<Machine = M>>(
        &mut self,
        outside: &mut O,
        is_done: impl Fn(&M) -> bool,
    ) -> Result<(), O::Error> {
        while !is_done(&self.machine) {
            let deadline = self.machine.deadline();
            let deadline = deadline.and_then(|deadline| self.started.checked_add(deadline.since_start()));
            tokio::select! {
                biased;
                _ = self.signals.end() => return Err(HostError::Interrupted.into()),
                () = at(deadline) => self.tick(outside).await,
                event = outside.next() => outside.take(self, event?).await,
                () = yield_now(), if !self.waiting.is_empty() => self.carry_out_some(outside).await,
            }
        }
        Ok(())
    }

    /// Also gives back the credit of requests that ended without an answer.
    async fn tick<O: Outside<Machine = M>>(&mut self, outside: &mut O) {
        self.handle(outside, [M::TICK], &Credit::none()).await;
        let machine = &self.machine;
        self.unanswered.retain(|request, _| machine.owes_answer(request));
    }

    /// What keeps every daemon from being ready.
    pub fn failing(&self) -> Option<String> {
        self.audit.failing()
    }

    /// A request is answered now, which has waited.
    pub fn answered(&mut self, request: &M::Request) -> Option<Unanswered> {
        self.unanswered.remove(request)
    }

    /// The metrics of every daemon. Others are added.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::new(&self.prefix);
        metrics.process(self.born);
        metrics.counters(&self.registry);
        metrics.durations(&self.durations);
        metrics
    }

    /// Writes what an action says to the management log, and as a line of the second level to standard error, unless what happens is
    /// [quiet](Self::is_quiet).
    pub fn log(
        &self,
        cause: &Cause,
        reqid: Option<&ZeekString>,
        (level, shown): (Level, Level),
        message: &str,
    ) {
        if self.quiet {
            return;
        }
        let shown = if is_traffic(message) { Level::Debug } else { shown };
        report(shown, reqid, message);
        self.write(cause.time, level, message);
    }

    /// Writes what no input has caused to both logs.
    pub fn log_now(&self, level: Level, message: &str) {
        report(level, None, message);
        self.write(Timestamp::now(), level, message);
    }

    fn write(&self, time: Timestamp, level: Level, message: &str) {
        if let Some(log) = &self.log {
            log.write(time, level, message);
        }
    }

    fn log_sums(&self, sums: &[Sum]) {
        for sum in sums {
            self.log_now(Level::Info, &sum.to_string());
        }
    }

    /// Part of the graceful end, which a further signal cuts short.
    pub async fn unless_interrupted<T>(&mut self, part: impl Future<Output = T>) -> Result<T, HostError> {
        tokio::select! {
            outcome = part => Ok(outcome),
            _ = self.signals.end() => Err(HostError::Interrupted),
        }
    }

    /// Has the management log opened again by its name.
    pub fn reopen_log(&self) {
        if let Some(log) = &self.log {
            log.reopen();
        }
    }

    fn reload<O: Outside<Machine = M>>(
        &mut self,
        outside: &O,
        waiting: Option<oneshot::Sender<reload::Outcome>>,
    ) {
        self.reopen_log();
        notify::reloading();
        self.reload.begin(outside.renewals(), waiting);
    }

    fn reloaded<O: Outside<Machine = M>>(&mut self, outside: &mut O, read: Result<reload::Loaded, String>) {
        let (outcome, is_due) = self
            .reload
            .finish(read, |certificates| outside.reloaded(certificates));
        notify::ready();
        match outcome {
            Ok(reloaded) => {
                self.counters.increment(Counted::Reloads);
                tracing::info!("{reloaded}");
            }
            Err(reason) => {
                self.counters.increment(Counted::ReloadsFailed);
                tracing::error!("nothing was reloaded, what was in use stays: {reason}");
            }
        }
        if is_due {
            self.reload.begin(outside.renewals(), None);
        }
    }

    /// Writes what is left to the management log, and rotates it.
    pub async fn close_log(&mut self) -> Result<(), HostError> {
        let sums = self.limiter.finish();
        self.log_sums(&sums);
        let Some(log) = self.log.take() else {
            return Ok(());
        };
        let finished = spawn_blocking(move || log.finish());
        let finished = self.unless_interrupted(finished).await?;
        finished.map_err(|_| HostError::Stopped("the management log"))
    }

    /// The last step: the journal is complete, the ready file gone.
    async fn finish(mut self) -> Result<(), HostError> {
        let journal = self.journal.take();
        let finished = spawn_blocking(move || journal.map(Journal::finish));
        let finished = self.unless_interrupted(finished).await?;
        finished.map_err(|_| HostError::Stopped("the journal"))?;
        let audit = std::mem::take(&mut self.audit);
        let finished = spawn_blocking(move || audit.finish());
        let finished = self.unless_interrupted(finished).await?;
        finished.map_err(|_| HostError::Stopped("the audit log"))?;
        if let Some(path) = &self.ready_file {
            ready::remove(path)?;
        }
        tracing::info!(json.counters = object(&self.registry), "counted");
        Ok(())
    }
}

/// A line on standard error, for operators.
pub fn report(level: Level, reqid: Option<&ZeekString>, message: &str) {
    let reqid = reqid.map(display);
    match level {
        Level::Debug => tracing::debug!(reqid, "{message}"),
        Level::Info => tracing::info!(reqid, "{message}"),
        Level::Warning => tracing::warn!(reqid, "{message}"),
        Level::Error => tracing::error!(reqid, "{message}"),
    }
}
