//! One task owns the core: what happens comes in, what is to be done goes out, in order.
//!
//! ```text
//!  signals ------+                                         +--> management log thread
//!  disk thread --+--> Input --> core::broker::BrokerAgent --> Action --+--> peers
//!  deadline -----+                                         +--> disk thread --> archivers
//!  peers --------+
//! ```
//!
//! What comes first in the picture is also looked at first, so that no flood of messages delays a time-out. Nothing that
//! can take long is waited for. Every queue has an end:
//!
//! | queue | when it is full |
//! |---|---|
//! | messages of peers, in number and in memory (`broker_endpoint::EndpointConfig`) | peers are not read from, each in turn |
//! | requests of one peer that are not answered, or whose answers are not sent ([`Credit`]) | this peer is not read from |
//! | messages to a peer, likewise | the oldest are dropped and counted; requests among them time out |
//! | jobs for the disk thread ([`JOBS_MAX`](disk::JOBS_MAX)) | the directory counts as failed; an archival is left out |
//! | archivers ([`ARCHIVERS_MAX`](archiver::ARCHIVERS_MAX)) | a run is left out and counted |
//! | lines for the management log, for standard error, entries of the journal | see `mgmt_daemon` |

mod archiver;
mod disk;
mod native;
mod orphans;
mod process;
mod program;
mod ready;
mod stderr;
mod supervisor;

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
};

use broker_codec::{
    EndpointId,
    data::{Port, ZeekString},
    zeek::Event,
};
use broker_endpoint::{Credit, EndpointError};
use jiff::Timestamp;
use mgmt_api::{Dialect, Level, Now};
use mgmt_daemon::{
    files,
    journal::{Journal, Seed},
    lock::{Lock, LockError},
    log::{Limiter, Sum, is_traffic, object},
    management_log::{LogCounters, ManagementLog},
    process::with_causes,
    runtime::{Asked, HostError, Signals, at, block_on, enter, instant, random_bytes, system, warn_of_dates},
};
use serde::Serialize;
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::Instant,
};
use tracing::field::display;

pub use self::ready::READY_VERSION;
pub(crate) use self::supervisor::runs_in as supervisor_runs_in;
use self::{
    archiver::Archivers,
    disk::{Disk, Done, Job},
    native::Native,
    program::ProgramWatch,
    ready::Ready,
    supervisor::{Change, Launch, Supervisor},
};
use crate::{
    config::{Config, LOCK, version_now},
    core::{
        Program,
        broker::{Action, BrokerAgent, Input, event_in, reqid_in, reqid_of},
    },
    journal::Header,
    scripts::{self, Coordinates, local_address, preferred},
};

/// The agent cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The host stands in the way.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Nodes and controllers cannot be served where the configuration says.
    #[error(
        "cannot serve nodes and controllers over Broker; --listen needs an address, an interface or a host name of this machine"
    )]
    BrokerListener(#[source] EndpointError),
    /// Nodes and controllers cannot be served.
    #[error(
        "cannot serve nodes and controllers over Broker: {}; end the other agent, or choose another --listen",
        with_causes(.0)
    )]
    Broker(EndpointError),
    /// TLS is not configured as it should be.
    #[error("cannot serve nodes and controllers over Broker with the Broker::ssl_ settings")]
    BrokerTls(#[source] EndpointError),
    /// Another agent works in our directory, or that cannot be told.
    #[error(
        "the directory {path} cannot be used; stop the other agent, or choose another --name or --state-dir"
    )]
    Lock {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: LockError,
    },
    /// A script of ours cannot be written.
    #[error("cannot write the script {path}")]
    Script {
        /// Where to.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Runs the agent until a signal ends it.
pub fn run(config: Config) -> Result<(), RunError> {
    block_on(async { Box::pin(Runtime::start(config).await?.run()).await })
}

/// The task's state.
struct Runtime {
    config: Config,
    agent: BrokerAgent,
    started: Instant,
    journal: Option<Journal<Input>>,
    native: Native,
    /// The Supervisor's process, if it is ours.
    supervisor: Option<Supervisor>,
    /// A Supervisor that has connected, while the installed Zeek is asked which one it is now.
    held_back: Option<HeldBack>,
    /// The program that Supervisors are started from, if it is known.
    program: Option<ProgramWatch>,
    disk: Disk,
    archivers: Archivers,
    /// None when it has ended.
    log: Option<ManagementLog>,
    limiter: Limiter,
    /// What an input causes is not logged: its sender causes too much.
    quiet: bool,
    signals: Signals,
    counters: Counters,
    /// The requests that are not answered yet, with the credit that their senders get back when they are.
    unanswered: BTreeMap<ZeekString, Credit>,
    /// No other process writes our log, or looks after our Supervisor.
    _lock: Lock,
}

/// A Supervisor that the core has not heard of yet.
struct HeldBack {
    added: Input,
    /// What the installed Zeek says that it is.
    version: JoinHandle<Option<String>>,
}

/// What the runtime has seen since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counters {
    messages: u64,
    published: u64,
    /// Messages of peers that are not obeyed.
    refused: u64,
    /// Events that could not be encoded or sent.
    unsendable: u64,
    /// Jobs that the disk thread had no room for.
    disk_overflows: u64,
    archivers: u64,
    /// Of those that have ended.
    archivers_failed: u64,
    archivers_left_out: u64,
}

impl Runtime {
    async fn start(config: Config) -> Result<Self, RunError> {
        let started = Instant::now();
        let signals = Signals::new()?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        if let Some(path) = &config.ready_file {
            mgmt_daemon::ready::remove(path)?;
        }
        enter(&config.working_dir)?;
        let key = config.broker_tls.identity().map(|identity| &*identity.key);
        files::warn_of_open([&*config.working_dir].into_iter().chain(key));
        let lock = Lock::acquire(&config.working_dir.join(LOCK)).map_err(|source| RunError::Lock {
            path: config.working_dir.clone(),
            source,
        })?;
        let endpoint_id = random_bytes().map(EndpointId::from_random)?;
        let native = Native::start(&config, endpoint_id).await.map_err(|error| {
            if error.is_about_tls() {
                RunError::BrokerTls(error)
            } else if error.is_about_the_host() {
                RunError::BrokerListener(error)
            } else {
                RunError::Broker(error)
            }
        })?;
        warn_of_dates(&config.broker_tls);
        let mut settings = config.settings.clone();
        // Also if the system chose it.
        if let Some(bound) = native.local_addrs().first() {
            settings.agent.listen_port = Port::tcp(bound.port());
        }
        if let Some(bound) = preferred(native.local_addrs()) {
            settings.address = bound.into();
        }
        let coordinates = Coordinates {
            address: local_address(native.local_addrs()),
            port: settings.agent.listen_port,
        };
        // A script of ours knows it.
        if config.start_supervisor.is_none() && config.own_node_script.is_none() {
            let listening = native.local_addrs();
            scripts::tell_nodes(&mut settings.agent, &config.supervisor, listening, coordinates);
        }
        scripts::write_node(&config, coordinates)?;
        let launch = match &config.start_supervisor {
            None => None,
            Some(zeek) => {
                let script = scripts::write_supervisor(&config, zeek)?;
                Some(Launch::new(&config, zeek, &script, coordinates))
            }
        };
        let disk = Disk::start().map_err(|source| system("start the thread for files", source))?;
        let log = ManagementLog::start(&config.working_dir, &config.name, "AGENT", &config.management_log)
            .map_err(|source| system("start the management log's thread", source))?;
        let seed = random_bytes().map(Seed::new)?;
        let ids = Box::new(seed.ids());
        let journal = match &config.journal {
            None => None,
            Some(path) => {
                let journal =
                    Journal::create(path, &Header::new(settings.clone(), seed)).map_err(|source| {
                        HostError::Journal {
                            path: path.clone(),
                            source,
                        }
                    })?;
                tracing::info!(path = %path.display(), "recording a journal");
                Some(journal)
            }
        };
        let program = config.installed_zeek.program.clone();
        let program = program.map(|path| ProgramWatch::new(path, config.start_supervisor.is_some()));
        let mut runtime = Self {
            agent: BrokerAgent::new(settings, ids),
            started,
            journal,
            native,
            supervisor: None,
            held_back: None,
            program,
            disk,
            archivers: Archivers::default(),
            log: Some(log),
            limiter: Limiter::default(),
            quiet: false,
            signals,
            counters: Counters::default(),
            unanswered: BTreeMap::new(),
            config,
            _lock: lock,
        };
        runtime.announce(endpoint_id).await?;
        runtime.supervisor = launch.map(|launch| Supervisor::keep(launch, runtime.config.supervisor.clone()));
        Ok(runtime)
    }

    /// Tells the core, the log and, by the ready file, other processes that peers can come, and goes to meet the others.
    async fn announce(&mut self, broker_id: EndpointId) -> Result<(), RunError> {
        let broker = self.native.local_addrs().to_vec();
        let Config {
            name,
            working_dir,
            controller,
            supervisor,
            installed_zeek,
            ..
        } = &self.config;
        let (controller, broker_tls) = (controller.as_ref().map(display), &self.config.broker_tls);
        // Of one that is started with a port of its own, that is told then.
        let supervisor = Some(supervisor).filter(|supervisor| supervisor.port != 0);
        tracing::info!(
            name,
            broker = broker.first().map(display),
            broker_tls = broker_tls.name(),
            broker_asks_for_certificates = broker_tls.asks_for_certificates(),
            %broker_id,
            controller,
            supervisor = supervisor.map(display),
            zeek = installed_zeek.version,
            dir = %working_dir.display(),
            "ready"
        );
        let pid = std::process::id();
        self.handle(Input::Started {
            broker_id,
            pid: pid.into(),
            clock: Timestamp::now()
                .duration_since(Timestamp::UNIX_EPOCH)
                .unsigned_abs(),
        })
        .await;
        if let Some(path) = &self.config.ready_file {
            let ready = Ready {
                version: READY_VERSION,
                pid,
                name: &self.config.name,
                broker: &broker,
                broker_id: broker_id.to_string(),
                dir: &self.config.working_dir,
            };
            mgmt_daemon::ready::write(path, &ready)?;
        }
        self.native.connect(&self.config).await;
        Ok(())
    }

    async fn run(mut self) -> Result<(), RunError> {
        loop {
            let deadline = self
                .agent
                .deadline()
                .and_then(|deadline| instant(self.started, deadline));
            let input = tokio::select! {
                biased;
                asked = self.signals.recv() => match asked {
                    Asked::End(name) => {
                        tracing::info!(signal = name, "ending");
                        return self.end().await;
                    }
                    Asked::Reopen => {
                        if let Some(log) = &self.log {
                            log.reopen();
                        }
                        continue;
                    }
                },
                done = self.disk.done() => {
                    let done = done.ok_or(HostError::Stopped("the thread for files"))?;
                    let Some(input) = self.done(done) else { continue };
                    input
                }
                Some(change) = changed(self.supervisor.as_mut()) => match change {
                    Change::Started { address } => {
                        self.native.supervisor_started(&self.config, address).await;
                        if let Some(program) = &mut self.program {
                            program.supervisor_started();
                        }
                        Input::SupervisorStarted
                    }
                    Change::Ended { reason } => {
                        self.native.supervisor_ended().await;
                        Input::SupervisorEnded { reason }
                    }
                },
                program = seen(self.program.as_mut()) => Input::Program(program),
                () = at(deadline) => Input::Tick,
                () = at(self.limiter.due().map(Instant::from_std)) => {
                    let sums = self.limiter.sum_up(Instant::now().into_std());
                    self.log_sums(sums);
                    continue;
                }
                version = version_of(self.held_back.as_mut()) => {
                    self.introduce(version).await;
                    continue;
                }
                // What comes after the Supervisor waits as well, for a few seconds at most.
                input = self.native.next(), if self.held_back.is_none() => {
                    let (input, credit) = input.ok_or(HostError::Stopped("the Broker endpoint"))?;
                    if let Some(input) = self.hold_back(input) {
                        self.handle_with(input, credit).await;
                    }
                    continue;
                }
            };
            self.handle(input).await;
        }
    }

    /// The graceful end: the Supervisor ends if it is ours, our log is closed and rotated, rotated logs are archived a last time,
    /// that one as well, and peers are told.
    async fn end(mut self) -> Result<(), RunError> {
        if let Some(supervisor) = self.supervisor.take() {
            tokio::select! {
                () = supervisor.stop() => {}
                _ = self.signals.end() => return Err(HostError::Impatient.into()),
            }
        }
        let sums = self.limiter.finish();
        self.log_sums(sums);
        let log = match self.log.take().map(|log| spawn_blocking(move || log.finish())) {
            Some(finished) => tokio::select! {
                finished = finished => finished.map_err(|_| HostError::Stopped("the management log"))?,
                _ = self.signals.end() => return Err(HostError::Impatient.into()),
            },
            None => LogCounters::default(),
        };
        self.handle(Input::Stopping).await;
        let Self {
            config,
            native,
            disk,
            mut archivers,
            mut signals,
            mut counters,
            journal,
            _lock,
            ..
        } = self;
        counters.refused = native.refused();
        let mut outcomes = disk.close();
        let last_jobs = async {
            while let Some(done) = outcomes.recv().await {
                if let Done::Archive { command, message } = done {
                    tracing::info!("{message}");
                    archivers.start(&command);
                }
            }
            archivers.finish().await;
        };
        tokio::select! {
            _ = async { tokio::join!(last_jobs, native.leave()) } => {}
            _ = signals.end() => return Err(HostError::Impatient.into()),
        }
        counters.archivers = archivers.started;
        counters.archivers_failed = archivers.failed;
        counters.archivers_left_out = archivers.left_out;
        let finished = spawn_blocking(move || journal.map(Journal::finish));
        let journal = tokio::select! {
            finished = finished => finished.map_err(|_| HostError::Stopped("the journal"))?,
            _ = signals.end() => return Err(HostError::Impatient.into()),
        };
        if let Some(path) = &config.ready_file {
            mgmt_daemon::ready::remove(path)?;
        }
        tracing::info!(
            json.counters = object(&counters),
            json.log = object(&log),
            json.journal = journal.map(|journal| object(&journal)),
            "ended"
        );
        Ok(())
    }

    /// A Supervisor that connects may be of another Zeek than the one before, and what it wants its records to look like shows
    /// late: the installed Zeek is asked first.
    fn hold_back(&mut self, input: Input) -> Option<Input> {
        let is_supervisor = matches!(
            &input,
            Input::PeerAdded {
                is_supervisor: true,
                ..
            }
        );
        if is_supervisor {
            if let Some(supervisor) = &self.supervisor {
                supervisor.connected();
            } else if let Some(program) = &mut self.program {
                program.supervisor_started();
            }
        }
        match &self.config.installed_zeek.program {
            Some(program) if is_supervisor => {
                self.held_back = Some(HeldBack {
                    added: input,
                    version: tokio::spawn(version_now(program.clone())),
                });
                None
            }
            _ => Some(input),
        }
    }

    /// Lets the core know of the Supervisor, and of the Zeek that it probably is.
    async fn introduce(&mut self, version: Option<String>) {
        let known = &mut self.config.installed_zeek;
        // One that does not say may be about to be replaced.
        if version.is_some() && version != known.version {
            let before = std::mem::replace(&mut known.version, version);
            let layout = known.layout();
            let release = |version: &Option<String>| {
                let version = version.as_deref().unwrap_or("unknown");
                version
                    .strip_prefix("zeek version ")
                    .unwrap_or(version)
                    .to_owned()
            };
            let (before, now) = (release(&before), release(&known.version));
            tracing::info!(
                "Zeek was {before} and is {now} now: the Supervisor that has connected is taken for a {now}; \
                 start it again if it was started before that"
            );
            if layout.is_none() {
                tracing::warn!(
                    "the records of Zeek {now} are not known: name a release with the same ones by --zeek-version"
                );
            }
            self.handle(Input::Installed { layout }).await;
        }
        if let Some(HeldBack { added, .. }) = self.held_back.take() {
            self.handle(added).await;
        }
    }

    /// What the disk thread has done; perhaps the core must know.
    fn done(&mut self, done: Done) -> Option<Input> {
        match done {
            Done::DirectoryFailed { path, reason } => Some(Input::DirectoryFailed { path, reason }),
            Done::Archive { command, message } => {
                self.log(Timestamp::now(), Level::Info, None, &message);
                self.archivers.start(&command);
                None
            }
        }
    }

    /// Hands an input to the core and carries out what it wants done.
    async fn handle(&mut self, input: Input) {
        self.handle_with(input, Credit::none()).await;
    }

    /// As [`Self::handle`]; the credit is that of the input's sender, who gets it back when a request is answered and those who listen
    /// have the answer.
    async fn handle_with(&mut self, input: Input, credit: Credit) {
        let asked = match &input {
            Input::Message { data, .. } => reqid_in(data).cloned(),
            _ => None,
        };
        if matches!(input, Input::Tick) {
            let agent = &self.agent;
            self.unanswered.retain(|reqid, _| agent.owes_answer(reqid));
        }
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            if matches!(input, Input::Message { .. }) {
                self.counters.messages += 1;
            }
            self.quiet = !self.may_be_logged(&input);
            let time = Timestamp::now();
            let now = Now::from_start(self.started.elapsed());
            if let Some(journal) = &mut self.journal {
                journal.record(now, &input);
            }
            for action in self.agent.step(now, input) {
                inputs.extend(self.carry_out(time, action, &credit).await);
            }
        }
        if let Some(reqid) = asked
            && self.agent.owes_answer(&reqid)
        {
            self.unanswered.entry(reqid).or_insert(credit);
        }
    }

    /// Does what the core wants done. Returns what comes of it at once.
    async fn carry_out(&mut self, time: Timestamp, action: Action, credit: &Credit) -> Option<Input> {
        match action {
            Action::Log {
                level,
                reqid,
                message,
            } => self.log(time, level, reqid.as_ref(), &message),
            Action::Publish { to, topic, event } => self.publish(to, &topic, event, credit).await,
            Action::MakeDirectory { path } => {
                if let Err(Job::MakeDirectory(path)) = self.disk.hand_over(Job::MakeDirectory(path)) {
                    self.counters.disk_overflows += 1;
                    let reason = "the file system does not answer".into();
                    return Some(Input::DirectoryFailed { path, reason });
                }
            }
            Action::RunArchiver {
                directory,
                command,
                message,
            } => {
                let job = Job::Archive {
                    directory: directory.clone(),
                    command,
                    message,
                };
                if self.disk.hand_over(job).is_err() {
                    self.counters.disk_overflows += 1;
                    tracing::warn!(
                        "the file system does not answer: rotated logs stay in {directory} until the next archival"
                    );
                }
            }
            Action::EndSupervisor { silence } => {
                if let Some(supervisor) = &self.supervisor {
                    supervisor.end(silence);
                }
            }
            Action::Refuse { peer, topic, reason } => self.native.refuse(peer, &topic, &reason),
            Action::Unsendable { event, reason } => {
                self.counters.unsendable += 1;
                tracing::error!(event, reason, "cannot encode an event, it is not sent");
            }
        }
        None
    }

    /// Whether what an input causes may be logged: what one sender says of one kind is limited.
    fn may_be_logged(&mut self, input: &Input) -> bool {
        let Input::Message { peer, data, .. } = input else {
            return true;
        };
        let sender = self.native.describe(*peer);
        // A sender chooses the name, but not how many kinds there are.
        let name = event_in(data).map(|(name, _)| name);
        let known = name.filter(|name| Dialect::ALL.iter().any(|dialect| dialect.has_event(name)));
        let kind = known.map_or_else(|| "another event".to_owned(), ToString::to_string);
        self.limiter
            .admit(Instant::now().into_std(), &sender, &kind, &kind)
    }

    fn log_sums(&mut self, sums: Vec<Sum>) {
        self.quiet = false;
        for sum in sums {
            self.log(Timestamp::now(), Level::Info, None, &sum.to_string());
        }
    }

    fn log(&self, time: Timestamp, level: Level, reqid: Option<&ZeekString>, message: &str) {
        if self.quiet {
            return;
        }
        let reqid = reqid.map(display);
        match level {
            // That it is ready has been said.
            _ if is_traffic(message) || message.starts_with("agent is live") => {
                tracing::debug!(reqid, "{message}");
            }
            Level::Debug => tracing::debug!(reqid, "{message}"),
            Level::Info => tracing::info!(reqid, "{message}"),
            Level::Warning => tracing::warn!(reqid, "{message}"),
            Level::Error => tracing::error!(reqid, "{message}"),
        }
        if let Some(log) = &self.log {
            log.write(time, level, message);
        }
    }

    async fn publish(&mut self, to: Option<EndpointId>, topic: &ZeekString, event: Event, credit: &Credit) {
        self.counters.published += 1;
        let reqid = reqid_of(&event).cloned();
        let name = event.name.clone();
        tracing::debug!(reqid = reqid.as_ref().map(display), event = %name, %topic, "publishing");
        let answered = reqid.as_ref().filter(|_| name.ends_with(b"_response"));
        let kept = answered.and_then(|reqid| self.unanswered.remove(reqid));
        let credit = kept.as_ref().unwrap_or(credit);
        if let Err(error) = self.native.publish(to, topic, event, credit).await {
            self.counters.unsendable += 1;
            tracing::error!(
                reqid = reqid.as_ref().map(display),
                event = %name,
                error = with_causes(&error),
                "cannot send an event"
            );
        }
    }
}

/// What the installed Zeek says that it is, while a Supervisor is held back for that; else for ever. May be cancelled.
async fn version_of(held_back: Option<&mut HeldBack>) -> Option<String> {
    match held_back {
        // A task that panicked has not found out.
        Some(held_back) => (&mut held_back.version).await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// What the program is like that Supervisors are started from, at each start and now and then; for ever if it is not known.
async fn seen(program: Option<&mut ProgramWatch>) -> Program {
    match program {
        Some(program) => program.seen().await,
        None => std::future::pending().await,
    }
}

/// What becomes of the Supervisor's process, if it is ours; for ever if it is not.
async fn changed(supervisor: Option<&mut Supervisor>) -> Option<Change> {
    match supervisor {
        Some(supervisor) => supervisor.changed().await,
        None => std::future::pending().await,
    }
}
