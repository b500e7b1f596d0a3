//! What happens outside becomes the core's inputs, and its actions are carried out.

use std::sync::Arc;

use broker_codec::data::ZeekString;
use broker_endpoint::{Credit, PeerAddress, tls::RenewTls};
use mgmt_api::{Dialect, Level, OperatorRequest, link::Prepared};
use mgmt_daemon::{
    certificates::Certificates,
    daemon::{About, Cause, Outside, report},
    error::HostError,
    http::Asked,
    machine::Machine as _,
    renewing::Renewing,
};

use super::{
    Daemon, Runtime,
    controller::Announced,
    disk::{Done, Job},
    home,
    kept::Change,
    preflight::Host,
};
use crate::{
    Counted,
    config::version_now,
    core::{self, KeptController, Program},
    error::RunError,
    machine::{Action, BrokerAgent, Input},
    supervisors::{
        own::{News, Order},
        zeek,
    },
    wire::event_in,
};

pub(super) enum Event {
    Done(Done),
    Supervisor(Change<PeerAddress>),
    Controller(Change<Announced>),
    Nodes(News),
    Program(Program),
    /// What the installed Zeek says that it is.
    Version(Option<String>),
    /// Whether nodes could run.
    Prepared(Prepared),
    /// The agent's directory, or those of nodes, are gone.
    Home(home::Change),
    Operator(Asked<OperatorRequest>),
    /// The agent's certificate is renewed, or cannot be.
    Renewed,
    Peer(Input, Credit),
}

impl Outside for Runtime {
    type Machine = BrokerAgent;
    type Event = Event;
    type Error = RunError;

    fn renewals(&self) -> Vec<RenewTls> {
        let broker = self.broker.peers.handle.renewal();
        broker.into_iter().chain(self.operators.renewal()).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let ending = self.certificates.ending(self.renewing.as_ref());
        self.troubles().chain(ending).collect()
    }

    fn reloaded(&mut self, certificates: Certificates) {
        self.certificates = certificates;
        self.broker.peers.reassess();
    }

    async fn next(&mut self) -> Result<Event, RunError> {
        Ok(tokio::select! {
            biased;
            done = self.disk.done() => Event::Done(done.ok_or(HostError::Stopped("the thread for files"))?),
            Some(change) = async { self.supervisor.as_mut()?.changed().await } => Event::Supervisor(change),
            Some(change) = async { self.controller.as_mut()?.changed().await } => Event::Controller(change),
            Some(news) = async { self.nodes.as_mut()?.next().await } => Event::Nodes(news),
            Some(program) = async { Some(self.program.as_mut()?.seen().await) } => Event::Program(program),
            // A task that panicked has not found out.
            Some(version) = async { Some(self.version.as_mut()?.await.ok().flatten()) } => Event::Version(version),
            // Likewise.
            Some(found) = async { Some(self.preflight.as_mut()?.await.unwrap_or_default()) } => {
                Event::Prepared(found)
            }
            change = self.home.changed() => Event::Home(change),
            () = Renewing::changed(self.renewing.as_mut()) => Event::Renewed,
            asked = self.operators.next() => Event::Operator(asked),
            input = self.broker.next() => {
                let (input, credit) = input.ok_or(HostError::Stopped("the Broker endpoint"))?;
                Event::Peer(input, credit)
            }
        })
    }

    async fn take(&mut self, daemon: &mut Daemon, event: Event) {
        let (input, credit) = match event {
            Event::Done(done) => (self.done(daemon, done), Credit::none()),
            Event::Supervisor(change) => (Some(self.supervisor_changed(change)), Credit::none()),
            Event::Controller(change) => (Some(self.controller_changed(change)), Credit::none()),
            Event::Nodes(news) => {
                let logs = self.live_logs.as_mut().and_then(|logs| logs.told(&news));
                self.show_logs(logs);
                (Some(Input::Nodes(news)), Credit::none())
            }
            Event::Program(program) => (Some(Input::Agent(core::Input::Program(program))), Credit::none()),
            Event::Version(version) => (Some(self.version_told(version)), Credit::none()),
            Event::Prepared(found) => {
                self.preflight = None;
                (Some(Input::Agent(core::Input::Prepared(found))), Credit::none())
            }
            Event::Home(change) => (Some(self.home_changed(daemon, change)), Credit::none()),
            Event::Operator(asked) => (Some(Input::Agent(self.asked(asked))), Credit::none()),
            Event::Renewed => {
                self.certificates.renewed(self.renewing.as_ref());
                (None, Credit::none())
            }
            Event::Peer(input, credit) => {
                self.peer_did(&input);
                (Some(input), credit)
            }
        };
        let asked = input.as_ref().and_then(|input| self.is_asked(input));
        daemon.handle(self, input, &credit).await;
        if let Some(reqid) = asked {
            let is_under_way = daemon.machine().owes_answer(&reqid);
            self.audited.is_taken(is_under_way, !daemon.is_quiet());
        }
        if let Some(has_controller) = self.broker.controller_news() {
            let news = Input::Agent(core::Input::HasController(has_controller));
            daemon.handle(self, [news], &Credit::none()).await;
        }
    }

    fn about(&mut self, input: &Input) -> About {
        let Input::Message { peer, data, .. } = input else {
            return About::default();
        };
        // A sender chooses the name, but not how many kinds there are.
        let name = event_in(data).map(|(name, _)| name);
        let known = name.filter(|name| Dialect::ALL.iter().any(|dialect| dialect.has_event(name)));
        let kind = known.map_or_else(|| "another event".to_owned(), ToString::to_string);
        About {
            reqid: None,
            sender: Some((self.broker.peers.describe(*peer), kind.into())),
        }
    }

    async fn carry_out(&mut self, daemon: &mut Daemon, action: Action, cause: &Cause) -> Vec<Input> {
        match action {
            Action::Log {
                level,
                reqid,
                message,
            } => {
                // That it is ready has been said.
                let is_known = message.starts_with("agent is live");
                let shown = if is_known { Level::Debug } else { level };
                daemon.log(cause, reqid.as_ref(), (level, shown), &message);
            }
            Action::Report { level, message } => report(level, cause.reqid.as_ref(), &message),
            Action::Publish { to, topic, event } => self.publish(daemon, to, &topic, event, cause).await,
            Action::Nodes(order) => self.order(order),
            Action::Remember(desired) => {
                let directory = self.config.daemon.working_dir.clone();
                let desired = Box::new(desired);
                if self.disk.hand_over(Job::Remember { directory, desired }).is_err() {
                    self.counters.increment(Counted::DiskOverflows);
                    let outcome = Err("the file system does not answer".into());
                    return vec![Input::Agent(core::Input::Remembered(outcome))];
                }
            }
            Action::Answer { id, outcome } => self.operators.answer(id, outcome),
            Action::Vitals { id, vitals } => self.examined(daemon, id, &vitals),
            Action::MakeDirectory { path } => {
                if let Err(Job::MakeDirectory(path)) = self.disk.hand_over(Job::MakeDirectory(path)) {
                    self.counters.increment(Counted::DiskOverflows);
                    let reason = "the file system does not answer".into();
                    return vec![Input::Agent(core::Input::DirectoryFailed { path, reason })];
                }
            }
            Action::RunArchiver {
                directory,
                command,
                message,
            } => self.archive(&directory, command, message),
            Action::AskVersion => {
                let program = self.config.installed_zeek.program.clone();
                self.version = program.map(|program| tokio::spawn(version_now(program)));
            }
            Action::Prepare {
                nodes,
                cluster,
                given_up,
            } => {
                self.keep_scripts();
                let host = Host::new(&self.config);
                self.preflight = Some(tokio::spawn(host.look(nodes, cluster, given_up)));
            }
            Action::EndSupervisor { silence } => {
                if let Some(supervisor) = &self.supervisor {
                    supervisor.end(silence);
                }
            }
            Action::Refuse { peer, topic, reason } => self.broker.peers.refuse(peer, &topic, &reason),
            Action::Unsendable { event, reason } => {
                self.counters.increment(Counted::Unsendable);
                tracing::error!(event, reason, "cannot encode an event, it is not sent");
            }
            // The machine has made events of these.
            Action::Tell(_)
            | Action::TellOne { .. }
            | Action::Ask(_)
            | Action::AskLinked(_)
            | Action::Link { .. }
            | Action::Supervise(_) => {}
        }
        Vec::new()
    }

    /// The Supervisor ends if it is ours, our log is closed and rotated, rotated logs are archived a last time, that one as well, and
    /// peers are told. The controller is one of them: if it is ours it ends last.
    async fn end(mut self, daemon: &mut Daemon) -> Result<(), RunError> {
        // With it all nodes have ended.
        let without_nodes = self.supervisor.is_some() || (self.nodes.is_some() && self.config.ends_nodes);
        if self.nodes.is_some() && self.config.ends_nodes {
            daemon
                .handle(&mut self, [Input::Agent(core::Input::EndNodes)], &Credit::none())
                .await;
            daemon
                .run_until(&mut self, BrokerAgent::has_no_node_process)
                .await?;
        }
        if let Some(supervisor) = self.supervisor.take() {
            daemon.unless_interrupted(supervisor.stop()).await?;
        }
        daemon.close_log().await?;
        let stopping = Input::Agent(core::Input::Stopping { without_nodes });
        daemon.handle(&mut self, [stopping], &Credit::none()).await;
        let (broker, mut archivers, controller) = (self.broker, self.archivers, self.controller);
        let mut outcomes = self.disk.close();
        let last_jobs = async {
            while let Some(done) = outcomes.recv().await {
                if let Done::Archive { command, message } = done {
                    tracing::info!("{message}");
                    archivers.start(&command);
                }
            }
            archivers.finish().await;
        };
        daemon
            .unless_interrupted(async { tokio::join!(last_jobs, broker.peers.leave()) })
            .await?;
        if let Some(controller) = controller {
            daemon.unless_interrupted(controller.stop()).await?;
        }
        Ok(())
    }
}

impl Runtime {
    /// The id of the request of a controller that an input is, which the audit log has then.
    fn is_asked(&mut self, input: &Input) -> Option<ZeekString> {
        let (peers, settings) = (&self.broker.peers, &self.config.settings);
        let topics = settings.controller_topics();
        let is_for_us = |topic: &ZeekString| topics.contains(topic);
        self.audited.comes(input, is_for_us, |peer| peers.principal(peer))
    }

    fn peer_did(&mut self, input: &Input) {
        match input {
            Input::Message { .. } => self.counters.increment(Counted::Messages),
            Input::PeerAdded {
                is_supervisor: true, ..
            } => {
                if let Some(supervisor) = &self.supervisor {
                    supervisor.connected();
                } else if let Some(program) = &mut self.program {
                    program.supervisor_started();
                }
            }
            _ => {}
        }
    }

    /// The installed Zeek has said which one it is. What nodes are checked with before a deployment has to be what they are started with.
    fn version_told(&mut self, version: Option<String>) -> Input {
        self.version = None;
        if self.nodes.is_none() {
            return Input::Supervisor(zeek::News::Version(version));
        }
        if version.is_some() {
            self.config.settings.launch.version.clone_from(&version);
        }
        Input::Nodes(News::Version(version))
    }

    fn supervisor_changed(&mut self, change: Change<PeerAddress>) -> Input {
        match change {
            Change::Started(address) => {
                self.broker.supervisor_started(&self.config, address);
                if let Some(program) = &mut self.program {
                    program.supervisor_started();
                }
                Input::Supervisor(zeek::News::ProcessStarted)
            }
            Change::Ended { reason } => {
                self.broker.supervisor_ended();
                Input::Supervisor(zeek::News::ProcessEnded { reason })
            }
        }
    }

    fn controller_changed(&mut self, change: Change<Announced>) -> Input {
        let controller = match change {
            Change::Started(announced) => {
                self.broker.controller_started(&self.config, announced.address());
                Some(KeptController {
                    name: announced.name.into(),
                    pid: announced.pid,
                })
            }
            Change::Ended { .. } => {
                self.broker.controller_ended();
                None
            }
        };
        Input::Agent(core::Input::Controller(controller))
    }

    /// What the disk thread has done; perhaps the core must know.
    fn done(&mut self, daemon: &Daemon, done: Done) -> Option<Input> {
        match done {
            Done::DirectoryFailed { path, reason } => {
                Some(Input::Agent(core::Input::DirectoryFailed { path, reason }))
            }
            Done::Remembered(outcome) => Some(Input::Agent(core::Input::Remembered(outcome))),
            Done::Archive { command, message } => {
                daemon.log_now(Level::Info, &message);
                self.archivers.start(&command);
                None
            }
            Done::ScriptsWritten(outcome) => {
                let trouble = outcome.err();
                // A node that waits for space is tried again each second.
                if trouble.is_none() || trouble != self.scripts_trouble {
                    let what =
                        "scripts that nodes load were missing in the agent's directory, or had changed";
                    if let Some(reason) = &trouble {
                        tracing::warn!("{what}, and cannot be written: {reason}");
                    } else {
                        tracing::warn!("{what}: they are written again");
                    }
                }
                self.scripts_trouble = trouble;
                None
            }
            Done::LogsNotShown(reason) => {
                tracing::warn!("cannot show the logs that nodes write: {reason}");
                None
            }
        }
    }

    fn order(&mut self, order: Order) {
        let logs = self.live_logs.as_mut().and_then(|logs| logs.ordered(&order));
        self.show_logs(logs);
        if matches!(order, Order::Start { .. }) {
            self.keep_scripts();
        }
        // It is best known before the node is started again.
        if let (Order::Terminate { .. } | Order::Start { .. }, Some(program)) = (&order, &mut self.program) {
            program.look_now();
        }
        if let Some(nodes) = &self.nodes {
            nodes.order(order);
        }
    }

    /// Nodes that are about to be started load our scripts.
    fn keep_scripts(&self) {
        if self
            .disk
            .hand_over(Job::KeepScripts(Arc::clone(&self.scripts)))
            .is_err()
        {
            self.counters.increment(Counted::DiskOverflows);
        }
    }

    /// What is in the agent's directory is written again, as far as it is known.
    fn home_changed(&self, daemon: &Daemon, change: home::Change) -> Input {
        let outcome = match change {
            home::Change::Homeless(nodes) => return Input::Agent(core::Input::Homeless(nodes)),
            home::Change::Lost(outcome) => outcome,
        };
        if outcome.is_ok() {
            self.keep_scripts();
            daemon.reopen_log();
        }
        let directory = self.config.daemon.working_dir.display().to_string();
        Input::Agent(core::Input::DirectoryLost { directory, outcome })
    }

    fn show_logs(&self, job: Option<Job>) {
        if job.is_some_and(|job| self.disk.hand_over(job).is_err()) {
            self.counters.increment(Counted::DiskOverflows);
            tracing::warn!("the file system does not answer: the logs that nodes write are not shown");
        }
    }

    fn archive(&mut self, directory: &str, command: String, message: String) {
        let job = Job::Archive {
            directory: directory.to_owned(),
            command,
            message,
        };
        if self.disk.hand_over(job).is_err() {
            self.counters.increment(Counted::DiskOverflows);
            tracing::warn!(
                "the file system does not answer: rotated logs stay in {directory} until the next archival"
            );
        }
    }
}
