//! The agent's configuration. Where settings come from, and those of every daemon, are in [`mgmt_daemon::config`]; the rules
//! here are those of Zeek 9.0's `policy/frameworks/management/agent/config.zeek`.

mod controller;
mod keeping;
mod launch;
mod network_info;
mod peers;
mod policy;
mod settings;
mod supervisor;
mod zeek;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use broker_codec::data::Port;
use broker_endpoint::PeerAddress;
use clap::ArgMatches;
pub use mgmt_daemon::config::Listener;
use mgmt_daemon::{
    config::{ConfigErrors, DaemonConfig, Origin, Resolver, Schema},
    program::Configuration,
};

pub use self::{
    controller::ControllerCommand, settings::SCHEMA, supervisor::ZeekCommand, zeek::InstalledZeek,
};
pub(crate) use self::{
    controller::common_settings,
    launch::tls_options,
    peers::is_loopback,
    zeek::{finds_script, version_now},
};
use self::{keeping::Keeping, zeek::Layout};
use crate::{
    core::{Archival, Settings, Supervise, ZeekSettings},
    enrolment,
};

/// What the lock is called that keeps a second agent from the working directory.
pub(crate) const LOCK: &str = "mgmt-agent";

/// Everything that the agent needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every daemon needs to know.
    pub daemon: DaemonConfig,
    /// Where nodes connect, and controllers.
    pub listen: Listener,
    /// The controller that the agent connects to, unless it is the other way round, or the agent keeps it.
    pub controller: Option<PeerAddress>,
    /// How to start the controller, if that is for us to do.
    pub with_controller: Option<ControllerCommand>,
    /// Where the Supervisor listens, if there is one. Port 0 lets the system choose, if it is ours.
    pub supervisor: Option<PeerAddress>,
    /// Where Zeek is installed, or would be.
    pub zeek_prefix: PathBuf,
    /// The Zeek that is installed, as of now.
    pub installed_zeek: InstalledZeek,
    /// Whether nodes are stand-ins.
    pub is_simulation: bool,
    /// Whether nodes end with the agent, where no Supervisor of Zeek's keeps them.
    pub ends_nodes: bool,
    /// Where the logs are shown that nodes write, if they are the agent's to keep and to archive.
    pub live_logs: Option<PathBuf>,
    /// How to start the Supervisor, if that is for us to do.
    pub start_supervisor: Option<ZeekCommand>,
    /// What the agent's core wants to know.
    pub settings: Settings,
    /// Whether nodes get a script of ours, which is at this path then, as the installed Zeek has none.
    pub own_node_script: Option<PathBuf>,
}

impl Configuration for Config {
    const SCHEMA: &'static Schema = &SCHEMA;

    fn resolve(mut resolver: Resolver<'_>) -> Result<Self, ConfigErrors> {
        let state_dir = resolver.state_dir();
        enrolment::fill(&mut resolver, &state_dir);
        let home = resolver.home(state_dir);
        let daemon = resolver.daemon(home);
        let listen = resolver.listener(["listen_address", "listen_port", "default_port"]);
        if listen == Listener::Off {
            resolver.warn("Management::Agent::listen_port is off: nodes cannot connect".to_owned());
        }
        let keeping = Keeping::read(&mut resolver, &daemon.working_dir);
        let with_controller = ControllerCommand::read(&mut resolver);
        let controller = match &with_controller {
            None => peers::controller(&mut resolver),
            Some(_) => None,
        };
        let has_supervisor = keeping.supervise == Supervise::Zeek;
        let supervisor = has_supervisor.then(|| peers::supervisor(&mut resolver, keeping));
        peers::refuse_itself(&mut resolver, "controller", controller.as_ref(), &listen);
        peers::refuse_itself(&mut resolver, "supervisor_port", supervisor.as_ref(), &listen);
        let installed_zeek = supervisor::installed_zeek(&mut resolver, keeping);
        let start_supervisor =
            supervisor::command(&mut resolver, keeping, &installed_zeek, supervisor.as_ref());
        let own_script = daemon.working_dir.join("scripts/node.zeek");
        let (node_script, own_node_script) = supervisor::node_script(&mut resolver, keeping, own_script);
        let log_queue = log_queue(&daemon);
        let (archival, archive) = archival(&mut resolver, keeping, &daemon, &log_queue).unzip();
        let archive = archive.filter(|_| keeping.supervise != Supervise::Zeek);
        let live_logs = archive.map(|archive| archive.join("current"));
        let launch = launch::launch(&mut resolver, keeping, &installed_zeek, &daemon, &log_queue);
        let is_found = keeping.supervise == Supervise::Zeek
            && !keeping.starts_supervisor
            && installed_zeek.program.is_some();
        if is_found && own_node_script.is_none() && archival.is_some() {
            compare_spool(&mut resolver, &daemon.spool_dir);
        }
        let ends_nodes = keeping::ends_nodes(&mut resolver, keeping);
        let settings = Settings {
            name: daemon.name.as_str().into(),
            connecting: controller.is_some() || with_controller.is_some(),
            listen_port: match &listen {
                Listener::At(address) => Port::tcp(address.port),
                Listener::Off => Port::tcp(0),
            },
            state_dir: daemon.state_dir.to_string_lossy().as_ref().into(),
            node_script: node_script.into(),
            archival,
            controller_api: resolver.take("controller_api"),
            supervise: keeping.supervise,
            restarts_on_upgrade: keeping::restarts_on_upgrade(&mut resolver),
            start_without_controller: resolver.take("start_without_controller"),
            zeek: zeek_settings(&mut resolver, &installed_zeek),
            launch,
            ..agent(&mut resolver)
        };
        Ok(Self {
            zeek_prefix: resolver.installation().prefix,
            daemon: DaemonConfig {
                resolved: resolver.finish()?,
                ..daemon
            },
            listen,
            controller,
            with_controller,
            supervisor,
            installed_zeek,
            is_simulation: keeping.is_simulation,
            ends_nodes,
            live_logs,
            start_supervisor,
            settings,
            own_node_script,
        })
    }

    fn daemon(&self) -> &DaemonConfig {
        &self.daemon
    }

    fn own_command(&self, given: &ArgMatches) -> ExitCode {
        enrolment::command::run(self, given)
    }
}

/// The part of a request's time that the Supervisor has for its answer: 4 of Zeek's 5 seconds.
const ANSWER_SHARE: f64 = 0.8;

/// How long a controller of this project waits for its agents after a deployment, and Zeek's after any request.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(18);
const ZEEK_CONTROLLER_TIMEOUT: Duration = Duration::from_secs(10);

/// Deployments may take longer than other requests, unless Zeek's setting says how long a request may take. A controller should not give
/// up before the agent has answered.
fn agent(resolver: &mut Resolver<'_>) -> Settings {
    let given: Option<Duration> = resolver.given("request_timeout");
    let mut timeout = |key, controller, limit: Duration| {
        let timeout = match given {
            Some(request) if resolver.given::<Duration>(key).is_none() => request,
            _ => resolver.read(key),
        };
        resolver.show(key, &timeout);
        if timeout >= limit {
            resolver.warn(format!(
                "{key} is {}s: {controller} gives up after {}s, and its client never hears why a node does not start; see docs/limits.md",
                timeout.as_secs_f64(),
                limit.as_secs()
            ));
        }
        timeout
    };
    Settings {
        request_timeout: timeout("request_timeout", "Zeek's controller", ZEEK_CONTROLLER_TIMEOUT),
        deployment_timeout: timeout("deployment_timeout", "our controller", CONTROLLER_TIMEOUT),
        zeek_deployment_timeout: timeout(
            "zeek_deployment_timeout",
            "Zeek's controller",
            ZEEK_CONTROLLER_TIMEOUT,
        ),
        topic_prefix: resolver.take::<String>("agent_topic").into(),
        node_topic: resolver.take::<String>("node_topic").into(),
        ..Settings::default()
    }
}

fn zeek_settings(resolver: &mut Resolver<'_>, zeek: &InstalledZeek) -> ZeekSettings {
    let configured: Option<Layout> = resolver.given("zeek_version");
    if let Some(layout) = &configured {
        resolver.show("zeek_version", layout);
    }
    let answer: Duration = resolver.read("request_timeout");
    ZeekSettings {
        topic: resolver.take::<String>("supervisor_topic").into(),
        shim_topic: resolver.take::<String>("shim_topic").into(),
        answer_timeout: answer.mul_f64(ANSWER_SHARE),
        supervisor_timeout: peers::supervisor_timeout(resolver),
        version: zeek.version.clone(),
        asks_version: zeek.program.is_some(),
        configured: configured.map(|layout| layout.0),
    }
}

/// Where rotated logs go.
fn log_queue(daemon: &DaemonConfig) -> PathBuf {
    let rotation = daemon.management_log.rotation.as_ref();
    rotation.map_or_else(
        || daemon.spool_dir.join("log-queue"),
        |rotation| rotation.dir.clone(),
    )
}

/// How rotated logs are archived, and where (`agent/main.zeek`, `archive_logs`).
fn archival(
    resolver: &mut Resolver<'_>,
    keeping: Keeping,
    daemon: &DaemonConfig,
    queue: &Path,
) -> Option<(Archival, PathBuf)> {
    let given: Option<bool> = resolver.given("archive_logs");
    let has_archiver = !keeping.is_simulation || resolver.given_text("archive_cmd").is_some();
    let archive = given.unwrap_or(has_archiver);
    resolver.show("archive_logs", &archive);
    let interval: Duration = resolver.take("archive_interval");
    let (command, origin) = if let Some(command) = resolver.given_text("archive_cmd") {
        (command, resolver.origin("archive_cmd"))
    } else {
        let prefix = resolver.installation().prefix;
        let command = prefix.join("bin/zeek-archiver").display().to_string();
        (command, Origin::Installation(prefix))
    };
    resolver.show_from("archive_cmd", &command, origin);
    let target = resolver.directory("archive_dir", |zeek| &zeek.log_dir);
    let rotation = daemon.management_log.rotation.as_ref();
    let interval = if interval.is_zero() {
        rotation.map_or(Duration::ZERO, |rotation| rotation.interval)
    } else {
        interval
    };
    let archival = Archival {
        interval,
        directory: queue.display().to_string(),
        command: format!("{command} -1 {} {}", queue.display(), target.display()),
    };
    archive.then_some((archival, target))
}

/// Loggers of a Supervisor that was not started by us have their rotated logs where its environment says, else where Zeek is
/// installed (`management/persistence.zeek`).
fn compare_spool(resolver: &mut Resolver<'_>, spool: &Path) {
    const VARIABLE: &str = "ZEEK_MANAGEMENT_SPOOL_DIR";
    let of_zeek = resolver.installation().spool_dir;
    if of_zeek != spool && !matches!(resolver.origin("spool_dir"), Origin::Environment(_)) {
        let (spool, of_zeek) = (spool.display(), of_zeek.display());
        resolver.warn(format!(
            "the spool directory is {spool}: the Supervisor needs {VARIABLE}={spool} in its environment, else its nodes leave rotated logs in \
             {of_zeek}, where the agent does not archive them"
        ));
    }
}

#[cfg(test)]
mod tests;
