//! What is around the core ([`mgmt_daemon::daemon`]): peers, processes that are kept, files.
//!
//! Nothing that can take long is waited for. Every queue has an end, or few who fill it:
//!
//! | queue | when it is full |
//! |---|---|
//! | messages of peers, in number and in memory (`broker_endpoint::EndpointConfig`) | peers are not read from, each in turn |
//! | requests of one peer that are not answered, or whose answers are not sent ([`Credit`]) | this peer is not read from |
//! | messages to a peer, likewise | the oldest are dropped and counted; requests among them time out |
//! | jobs for the disk thread ([`JOBS_MAX`](disk::JOBS_MAX)) | the directory counts as failed; an archival is left out |
//! | archivers ([`ARCHIVERS_MAX`](archiver::ARCHIVERS_MAX)) | a run is left out and counted |
//! | requests of operators (`mgmt_daemon::http`) | further ones wait |
//! | looks at the host ([`preflight`]), of which there is one at a time | the request is refused |
//! | orders for nodes and news of them ([`nodes`]) | native's have no end: a node has a few under way at a time; see [`systemd`] for the other |
//! | lines for the management log, for standard error, entries of the journal | see `mgmt_daemon` |

mod archiver;
mod audited;
mod controller;
mod cpus;
mod disk;
mod home;
mod kept;
mod launch;
mod listeners;
mod live_logs;
mod monitored;
pub mod native;
mod needs;
mod nodes;
mod outside;
mod peers;
mod preflight;
mod program;
mod publish;
mod rehearsal;
mod stderr;
pub mod systemd;

use std::sync::Arc;

use broker_codec::{EndpointId, data::Port};
use broker_endpoint::{Credit, tls::TlsConfig, with_causes};
use counters::Counters;
use mgmt_api::{
    OperatorRequest,
    link::Prepared,
    operator::{self, About},
};
use mgmt_daemon::{
    certificates::Certificates,
    config::{Value, warn_of_dates, warn_of_open_ports},
    daemon::{self, Beginning, Outside as _},
    error::system,
    files,
    http::Operators,
    process::{block_on, random_bytes, unix_time},
    ready,
    reload::Reread,
    renewing::Renewing,
};
use supervise::stale::Tag;
use tokio::task::JoinHandle;
use tracing::field::display;

use self::{
    archiver::Archivers,
    audited::Audited,
    controller::ControllerProgram,
    disk::Disk,
    home::Home,
    kept::{Kept, Program as _},
    launch::{Launch, SupervisorProgram},
    live_logs::LiveLogs,
    nodes::Nodes,
    peers::BrokerPeers,
    program::ProgramWatch,
};
pub(crate) use self::{launch::runs_in as supervisor_runs_in, preflight::cannot_rotate};
use crate::{
    Counted,
    config::Config,
    coordinates::{self, Coordinates, local_address, preferred},
    core::{self, Settings, Supervise},
    desired,
    enrolment::renewal,
    error::RunError,
    http::routes,
    machine::{BrokerAgent, Input, Start},
    scripts::{self, Scripts},
};

type Daemon = daemon::Daemon<BrokerAgent>;

/// Runs the agent until a signal ends it.
pub fn run(config: Config, reread: Reread) -> Result<(), RunError> {
    block_on(async {
        let (daemon, runtime) = Box::pin(start(config, reread)).await?;
        Box::pin(daemon::run(daemon, runtime)).await
    })
}

/// What is around the core.
struct Runtime {
    config: Config,
    broker: BrokerPeers,
    /// The Supervisor's process, if it is ours.
    supervisor: Option<Kept<SupervisorProgram>>,
    /// What operators ask.
    operators: Operators<OperatorRequest>,
    /// What starts and ends nodes, if no Supervisor of Zeek's does.
    nodes: Option<Nodes>,
    /// Shows the logs that they write.
    live_logs: Option<LiveLogs>,
    /// What nodes load.
    scripts: Arc<Scripts>,
    /// Whether the agent's directory is still there.
    home: Home,
    /// The controller's process, if it is ours.
    controller: Option<Kept<ControllerProgram>>,
    /// The installed Zeek is asked which one it is now.
    version: Option<JoinHandle<Option<String>>>,
    /// The host is looked at.
    preflight: Option<JoinHandle<Prepared>>,
    /// The program that Supervisors, or our own nodes, are started from, if it is known.
    program: Option<ProgramWatch>,
    /// Why the scripts could not be written, as was last told.
    scripts_trouble: Option<String>,
    certificates: Certificates,
    /// Renews the agent's certificate, if it is enrolled.
    renewing: Option<Renewing>,
    disk: Disk,
    archivers: Archivers,
    audited: Audited,
    counters: Counters<Counted>,
}

fn about(config: &Config) -> About {
    About {
        program: operator::Program::Agent,
        name: config.daemon.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Warns of ports that ask for nothing.
fn open_ports(config: &Config, broker: &BrokerPeers) {
    let asks = config.daemon.broker_tls.asks_for_certificates();
    let listening = broker.peers.local_addrs().iter();
    let listening = listening.map(|address| ("Broker", *address, asks));
    warn_of_open_ports(listening, &config.daemon.roles);
}

async fn start(config: Config, reread: Reread) -> Result<(Daemon, Runtime), RunError> {
    let mut beginning = Beginning::new(&config.daemon, reread)?;
    let (shared, counted) = (beginning.shared(), beginning.counters.clone());
    let home = Home::enter(&config)?;
    renewal::complete(&config);
    let (broker_tls, http_tls) = (&config.daemon.broker_tls, &config.daemon.http.tls);
    let identities = [broker_tls, http_tls].into_iter().filter_map(TlsConfig::identity);
    let keys = identities.map(|identity| &*identity.key);
    files::warn_of_open([&*config.daemon.working_dir].into_iter().chain(keys));
    let endpoint_id = random_bytes().map(EndpointId::from_random)?;
    let broker = BrokerPeers::start(&mut beginning, &config, endpoint_id).await?;
    open_ports(&config, &broker);
    [broker_tls, http_tls].into_iter().for_each(warn_of_dates);
    let certificates = Certificates::read([broker_tls, http_tls]);
    let (mut settings, coordinates) = bound_settings(&config, &broker);
    let scripts = Arc::new(Scripts::of(&config, coordinates));
    if let Err(error) = scripts.write() {
        // Nodes that run have to be kept also where nothing can be written, as on a full disk.
        if config.settings.supervise == Supervise::Zeek {
            return Err(error);
        }
        let error = with_causes(&error);
        tracing::warn!("{error}; nodes that run are kept, and it is tried again before a node is started");
    }
    let launch = config.start_supervisor.as_ref().map(|zeek| {
        let script = scripts::supervisor_path(&config);
        Launch::new(&config, zeek, &script, coordinates)
    });
    let controller = config.with_controller.as_ref();
    let controller = controller.map(|command| ControllerProgram::new(&config, command));
    refuse_second_keeper(&config)?;
    let desired = desired::read(&config.daemon.working_dir)?;
    let disk = Disk::start().map_err(|source| system("start the thread for files", source))?;
    let nodes = Nodes::start(&settings)?;
    let (socket, http) = (&config.daemon.control_socket, &config.daemon.http);
    let kind = |request: &OperatorRequest| request.into();
    let operators = Operators::serve(socket, http, about(&config), shared, routes(), kind).await?;
    settings.http = operators.http();
    settings.cpus = cpus::allowed();
    let name = config.settings.name.clone();
    let live_logs = config.live_logs.clone().map(|at| LiveLogs::new(at, name));
    let audited = Audited::new(beginning.audit());
    let mut daemon: Daemon = beginning.start(&config.daemon, "AGENT", Start { settings, desired })?;
    let counters = daemon.machine().counters();
    daemon.registry.add("", &counters);
    let program = config.installed_zeek.program.clone();
    let mut program = program.map(|path| ProgramWatch::new(path, config.start_supervisor.is_some()));
    if let (Some(program), Some(_)) = (&mut program, &nodes) {
        program.look_now();
    }
    let mut runtime = Runtime {
        broker,
        operators,
        supervisor: None,
        nodes,
        live_logs,
        scripts,
        home,
        scripts_trouble: None,
        controller: None,
        version: None,
        preflight: None,
        program,
        certificates,
        renewing: None,
        disk,
        archivers: Archivers::new(counters.clone()),
        audited,
        counters,
        config,
    };
    runtime.renewing = renewal::start(&runtime.config, runtime.renewals(), counted);
    runtime.announce(&mut daemon, endpoint_id).await?;
    let supervisor = launch.zip(runtime.config.supervisor.clone());
    runtime.supervisor =
        supervisor.map(|(launch, address)| Kept::keep(SupervisorProgram { launch, address }));
    runtime.controller = controller.map(Kept::keep);
    Ok((daemon, runtime))
}

/// A Supervisor of Zeek's knows nothing of nodes that the agent has kept itself, nor the agent of those of a Supervisor that another one
/// has started.
fn refuse_second_keeper(config: &Config) -> Result<(), RunError> {
    if config.settings.supervise != Supervise::Zeek {
        let directory = config.daemon.working_dir.join("supervisor");
        let left = Tag::new(SupervisorProgram::TAG, &directory, &[]).and_then(|tag| tag.processes());
        return match left {
            Ok(pids) if !pids.is_empty() => Err(RunError::SupervisorLeft { pids }),
            // No directory, no Supervisor.
            _ => Ok(()),
        };
    }
    let nodes = native::running(&config.daemon.state_dir.join("nodes"), &config.settings.name);
    if nodes.is_empty() {
        return Ok(());
    }
    let nodes: Vec<String> = nodes
        .into_iter()
        .map(|(node, pid)| format!("{node} (PID {pid})"))
        .collect();
    Err(RunError::Kept {
        nodes: nodes.join(", "),
    })
}

/// The core's settings, also where the system chose a port, and what nodes are told.
fn bound_settings(config: &Config, broker: &BrokerPeers) -> (Settings, Coordinates) {
    let listening = broker.peers.local_addrs();
    let mut settings = config.settings.clone();
    if let Some(bound) = listening.first() {
        settings.listen_port = Port::tcp(bound.port());
    }
    if let Some(bound) = preferred(listening) {
        settings.address = bound.into();
    }
    let coordinates = Coordinates {
        address: local_address(listening),
        port: settings.listen_port,
    };
    settings.launch.agent_address = coordinates.address;
    settings.launch.agent_port = coordinates.port.number;
    // A script of ours knows it.
    if let (Some(supervisor), None, None) = (
        &config.supervisor,
        &config.start_supervisor,
        &config.own_node_script,
    ) {
        coordinates::tell_nodes(&mut settings, supervisor, listening, coordinates);
    }
    (settings, coordinates)
}

impl Runtime {
    /// Tells the core, the log and, by the ready file, other processes that peers can come, and goes to meet the others.
    async fn announce(&mut self, daemon: &mut Daemon, broker_id: EndpointId) -> Result<(), RunError> {
        let broker = self.broker.peers.local_addrs().to_vec();
        let Config {
            daemon: configured,
            controller,
            supervisor,
            installed_zeek,
            ..
        } = &self.config;
        let (controller, broker_tls) = (controller.as_ref().map(display), &configured.broker_tls);
        // Of one that is started with a port of its own, that is told then.
        let supervisor = supervisor.as_ref().filter(|supervisor| supervisor.port != 0);
        tracing::info!(
            name = configured.name,
            broker = broker.first().map(display),
            broker_tls = broker_tls.name(),
            broker_asks_for_certificates = broker_tls.asks_for_certificates(),
            %broker_id,
            http = self.operators.address().map(display),
            http_tls = self.operators.address().map(|_| configured.http.tls.name()),
            controller,
            supervisor = supervisor.map(display),
            supervise = self.config.settings.supervise.show(),
            zeek = installed_zeek.version,
            dir = %configured.working_dir.display(),
            "ready"
        );
        let pid = std::process::id();
        let started = Input::Agent(core::Input::Started {
            broker_id: broker_id.to_string().into(),
            pid: pid.into(),
            clock: unix_time(),
        });
        daemon.handle(self, [started], &Credit::none()).await;
        let http = self.operators.address();
        ready::write(&self.config.daemon, broker_id, &broker, None, http)?;
        self.broker.connect(&self.config);
        Ok(())
    }
}
