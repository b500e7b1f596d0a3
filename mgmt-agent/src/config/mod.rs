//! The agent's configuration. Where settings come from, and those of every daemon, are in [`mgmt_daemon::config`]; the rules
//! here are those of Zeek 9.0's `policy/frameworks/management/agent/config.zeek`.

mod names;
mod network_info;
mod peers;
mod zeek;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use broker_codec::data::Port;
use broker_endpoint::{PeerAddress, tls::TlsConfig};
use mgmt_api::Dialect;
pub use mgmt_daemon::config::{
    ConfigError, ConfigErrors, Effective, Environment, Listener, LogConfig, LogFormat, Origin,
};
use mgmt_daemon::{
    config::{self, Checks, Resolver, Sourced, Value},
    lock::Lock,
    management_log::ManagementLog,
};

pub(crate) use self::zeek::version_now;
pub use self::{
    network_info::{NetworkInfo, PeerOption},
    zeek::InstalledZeek,
};
use self::{
    peers::{SUPERVISOR_PATIENCE, controller, patience, refuse_itself, supervisor},
    zeek::Layout,
};
use crate::{
    cli::SettingArgs,
    core::{self, Archival, broker::Settings},
    runtime::supervisor_runs_in,
    simulate,
};

/// How to start a Supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZeekCommand {
    /// The program, absolute.
    pub program: PathBuf,
    /// What it needs to be told in order to be Zeek, before all else.
    pub leading_arguments: Vec<String>,
    /// What the operator wants it to be told.
    pub further_arguments: Vec<String>,
    /// Whether it has the framework's part of a Supervisor; otherwise it gets ours.
    pub has_shim: bool,
}

/// The address in `Management::Agent::controller` that says that the controller connects to the agent.
const NO_CONTROLLER: &str = "0.0.0.0";

/// The settings that have no name in Zeek.
const ZEEK_ARGUMENT: &str = "zeek argument";
const INSTALLED_ZEEK: &str = "installed zeek";
const ZEEK_VERSION: &str = "zeek version";
const NODE_SCRIPT: &str = "node script";
const DEPLOYMENT_TIMEOUT: &str = "deployment timeout";
const ZEEK_DEPLOYMENT_TIMEOUT: &str = "deployment timeout under Zeek's controller";

/// What the lock is called that keeps a second agent from the working directory.
pub(crate) const LOCK: &str = "mgmt-agent";

/// Everything that the agent needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The agent's name; part of paths and log lines.
    pub name: String,
    /// `<state>/nodes/<name>`: where the management log is, absolute.
    pub working_dir: PathBuf,
    /// `Management::spool_dir`, absolute.
    pub spool_dir: PathBuf,
    /// Where nodes connect, and controllers.
    pub listen: Listener,
    /// The controller that the agent connects to, unless it is the other way round.
    pub controller: Option<PeerAddress>,
    /// Where the Supervisor listens. Port 0 lets the system choose, if it is ours.
    pub supervisor: PeerAddress,
    /// Where Zeek is installed, or would be.
    pub zeek_prefix: PathBuf,
    /// The Zeek that is installed, as of now.
    pub installed_zeek: InstalledZeek,
    /// How to start the Supervisor, if that is for us to do.
    pub start_supervisor: Option<ZeekCommand>,
    /// How connections are protected, all of them.
    pub broker_tls: TlsConfig,
    /// How long to wait between attempts to connect; zero for one attempt only.
    pub connect_retry: Duration,
    /// What the agent's core wants to know.
    pub settings: Settings,
    /// Whether nodes get a script of ours, which is at this path then, as the installed Zeek has none.
    pub own_node_script: Option<PathBuf>,
    /// The management log.
    pub management_log: LogConfig,
    /// The name that process listings show, instead of the program's.
    pub process_name: Option<String>,
    /// Directives for what is logged on standard error, as in `RUST_LOG`.
    pub log_filter: String,
    /// How standard error is written.
    pub log_format: LogFormat,
    /// Where to announce the bound addresses.
    pub ready_file: Option<PathBuf>,
    /// Where to record what happens.
    pub journal: Option<PathBuf>,
    /// What an operator should know about the configuration although it is valid.
    pub warnings: Vec<String>,
    /// Whether one of them is of the kind that `check-config` fails for.
    pub suspicious: bool,
    /// Each effective setting in a fixed order.
    pub effective: Vec<Effective>,
}

impl Config {
    /// The environment of this process, as far as it is read.
    pub fn environment() -> Result<Environment, ConfigErrors> {
        Environment::of_process(&names::SCHEMA)
    }

    /// Reads the configuration, or reports everything that is wrong with it.
    pub fn read(args: &SettingArgs, environment: &Environment) -> Result<Self, ConfigErrors> {
        let mut resolver = Resolver::gather(&names::SCHEMA, environment, &args.host);
        resolver.flag(names::NAME, args.name.as_deref(), "--name");
        resolver.listener_flag(LISTEN, args.listen.as_ref(), "--listen");
        resolver.flag(ZEEK_VERSION, args.zeek_version.as_deref(), "--zeek-version");
        resolver.flag(NODE_SCRIPT, args.node_script.as_deref(), "--node-script");
        let patience = args.supervisor_patience.as_deref();
        resolver.flag(SUPERVISOR_PATIENCE, patience, "--supervisor-patience");
        let api = args.controller_api.as_deref();
        resolver.flag(names::CONTROLLER_API, api, "--controller-api");
        let timeout = args.deployment_timeout.as_deref();
        resolver.flag(DEPLOYMENT_TIMEOUT, timeout, "--deployment-timeout");
        let timeout = args.zeek_deployment_timeout.as_deref();
        resolver.flag(ZEEK_DEPLOYMENT_TIMEOUT, timeout, "--zeek-deployment-timeout");
        let controller = args.controller.as_ref().map(controller_value);
        resolver.flag(names::CONTROLLER, controller.as_deref(), "--controller");
        let config = resolve(&mut resolver, args);
        ConfigErrors::check(resolver.problems)?;
        Ok(Self {
            warnings: resolver.warnings,
            suspicious: resolver.suspicious,
            effective: resolver.effective,
            ..config
        })
    }

    /// Tries what the settings name: directories, ports, certificates, Zeek, the archiver, scripts.
    pub fn check(&self, environment: &Environment) -> Checks<'_> {
        let mut checks = Checks::new(&self.effective);
        checks.directory(&[names::DIRECTORY, config::names::STATE_DIR], &self.working_dir);
        checks.log(&self.management_log);
        checks.file("ready file", self.ready_file.as_deref());
        checks.file("journal", self.journal.as_deref());
        let lock = self.working_dir.join(LOCK);
        let directory = &[names::DIRECTORY, config::names::STATE_DIR];
        checks.kept_file(directory, &Lock::path(&lock));
        checks.kept_file(directory, &ManagementLog::path(&self.working_dir, &self.name));
        checks.listener(&[LISTEN.1, LISTEN.0], &self.listen, &lock);
        // One that an earlier agent has left is taken over, or ended.
        if self.start_supervisor.is_some() && !supervisor_runs_in(&self.working_dir) {
            let supervisor = Listener::At(self.supervisor.clone());
            checks.listener(
                &[names::SUPERVISOR_PORT, names::SUPERVISOR_ADDRESS],
                &supervisor,
                &lock,
            );
        }
        checks.broker_tls(&self.broker_tls);
        // A simulation has no Zeek to look at.
        let simulated = |zeek: &ZeekCommand| !zeek.leading_arguments.is_empty();
        if !self.start_supervisor.as_ref().is_some_and(simulated) {
            self.check_zeek(&mut checks);
            self.check_archiver(&mut checks, environment);
        }
        checks
    }

    fn check_zeek(&self, checks: &mut Checks<'_>) {
        let outcome = match (&self.installed_zeek.program, &self.installed_zeek.version) {
            (_, Some(version)) => Ok(version.clone()),
            // The Supervisor that is found need not be of an installation that is seen from here.
            (None, None) if self.settings.supervisor.configured.is_some() => Ok("--zeek-version".to_owned()),
            (None, None) => Err(format!(
                "there is no zeek in {}/bin, nor on PATH; name the installation by --zeek-prefix, or what the Supervisor is by --zeek-version",
                self.zeek_prefix.display()
            )),
            (Some(program), None) => Err(format!(
                "{} --version does not say which Zeek it is",
                program.display()
            )),
        };
        checks.note(&[INSTALLED_ZEEK], outcome);
        let scripts = self.zeek_prefix.join("share/zeek");
        if !scripts.is_dir() {
            return;
        }
        let arguments = self
            .start_supervisor
            .iter()
            .flat_map(|zeek| &zeek.further_arguments);
        // Options, and settings.
        let named = arguments.filter(|argument| !argument.starts_with('-') && !argument.contains('='));
        let node_script = self.settings.agent.node_script.to_string();
        let own = self.own_node_script.is_some();
        for script in named.chain(Some(&node_script).filter(|_| !own)) {
            let outcome = if zeek::finds_script(&scripts, &self.working_dir.join("supervisor"), script) {
                Ok(format!("script {script}"))
            } else {
                Err(format!(
                    "there is no script {script} in {} or its policy and site",
                    scripts.display()
                ))
            };
            let setting = if *script == node_script {
                NODE_SCRIPT
            } else {
                ZEEK_ARGUMENT
            };
            checks.note(&[setting], outcome);
        }
    }

    fn check_archiver(&self, checks: &mut Checks<'_>, environment: &Environment) {
        let Some(archival) = &self.settings.agent.archival else {
            return;
        };
        // A line for a shell; what begins otherwise is for the shell to find out.
        let program = archival.command.split_whitespace().next().unwrap_or_default();
        if !program.contains(['"', '\'', '$', '=', '(']) {
            checks.program(names::ARCHIVE_CMD, program, |name| environment.program(name));
        }
    }

    /// What `dump-config` prints, as text.
    pub fn dump_text(&self) -> String {
        config::dump_text(&self.effective)
    }

    /// What `dump-config` prints, as JSON.
    pub fn dump_json(&self) -> String {
        config::dump_json(&self.effective)
    }
}

const LISTEN: (&str, &str) = (names::LISTEN_ADDRESS, names::LISTEN_PORT);

fn controller_value(controller: &PeerOption) -> String {
    let (address, port) = match controller {
        PeerOption::Off => (NO_CONTROLLER.to_owned(), 0),
        PeerOption::At(PeerAddress { host, port }) => (host.clone(), *port),
    };
    let bound_port = Port::tcp(port);
    NetworkInfo { address, bound_port }.show()
}

/// Resolves, in the order in which settings are shown.
fn resolve(resolver: &mut Resolver<'_>, args: &SettingArgs) -> Config {
    let host = &args.host;
    let name = resolver.name(names::NAME);
    let directories = resolver.directories(host, names::DIRECTORY, &name);
    let listen = resolver.listener(LISTEN, names::DEFAULT_PORT, Port::tcp(2151));
    if listen == Listener::Off {
        resolver
            .warnings
            .push(format!("{} is off: nodes cannot connect", names::LISTEN_PORT));
    }
    let controller = controller(resolver);
    let supervisor = supervisor(resolver, args);
    let zeek = installed_zeek(resolver, args);
    for (name, peer) in [
        (names::CONTROLLER, controller.as_ref()),
        (names::SUPERVISOR_PORT, Some(&supervisor)),
    ] {
        refuse_itself(resolver, name, peer, &listen);
    }
    let start_supervisor = start_supervisor(resolver, args, &zeek, &supervisor);
    let broker_tls = resolver.broker_tls();
    let connect_retry = resolver.take(names::CONNECT_RETRY, Duration::from_secs(1)).value;
    let management_log = resolver.management_log(&directories.spool);
    let timeouts = timeouts(resolver);
    let archival = archival(resolver, args, &management_log, &directories.spool);
    let configured = resolver.given::<Layout>(ZEEK_VERSION).map(|given| {
        resolver.show("supervisor layout", given.value.show(), given.origin);
        given.value.0
    });
    let patience = patience(resolver);
    let own_script = directories.working.join("scripts/node.zeek");
    let (node_script, own_node_script) = node_script(resolver, args, own_script);
    let is_found = !args.starts_supervisor() && zeek.program.is_some();
    if is_found && own_node_script.is_none() && archival.is_some() {
        compare_spool(resolver, args, &directories.spool);
    }
    let mut topic = |name, default: &str| resolver.take(name, default.to_owned()).value.into();
    let settings = Settings {
        agent: core::Settings {
            topic_prefix: topic(names::TOPIC_PREFIX, mgmt_api::topics::AGENT_PREFIX),
            node_topic: topic(names::NODE_TOPIC, mgmt_api::topics::NODE),
            name: name.as_str().into(),
            connecting: controller.is_some(),
            listen_port: match &listen {
                Listener::At(address) => Port::tcp(address.port),
                Listener::Off => Port::tcp(0),
            },
            request_timeout: timeouts.request,
            deployment_timeout: timeouts.deployment,
            zeek_deployment_timeout: timeouts.zeek_deployment,
            state_dir: directories.state.to_string_lossy().as_ref().into(),
            node_script: node_script.into(),
            // These depend on where the agent is found to listen.
            node_env: BTreeMap::new(),
            supervisor_env: None,
            archival,
        },
        supervisor: core::zeek::Settings {
            topic: topic(names::SUPERVISOR_TOPIC, mgmt_api::topics::SUPERVISOR),
            answer_timeout: timeouts.request.mul_f64(ANSWER_SHARE),
            patience,
            installed: zeek.layout(),
            configured,
        },
        shim_topic: topic(names::SHIM_TOPIC, mgmt_api::topics::SUPERVISOR_SHIM),
        controller_api: resolver.take(names::CONTROLLER_API, Dialect::V7_0).value,
        address: Settings::default().address,
    };
    Config {
        name,
        working_dir: directories.working,
        spool_dir: directories.spool,
        listen,
        controller,
        supervisor,
        zeek_prefix: resolver.installation(host).prefix.clone(),
        installed_zeek: zeek,
        start_supervisor,
        broker_tls,
        connect_retry,
        settings,
        own_node_script,
        management_log,
        process_name: resolver.process_name(host),
        log_filter: resolver.log_filter(host),
        log_format: resolver.log_format(host),
        ready_file: resolver.file("ready file", "--ready-file", host.ready_file.as_deref()),
        journal: resolver.file("journal", "--journal", host.journal.as_deref()),
        warnings: Vec::new(),
        suspicious: false,
        effective: Vec::new(),
    }
}

/// The part of a request's time that the Supervisor has for its answer: 4 of Zeek's 5 seconds.
const ANSWER_SHARE: f64 = 0.8;

/// How long a controller of this project waits for its agents after a deployment, and Zeek's after any request.
const CONTROLLER_TIMEOUT: Duration = Duration::from_secs(18);
const ZEEK_CONTROLLER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long requests may take.
struct Timeouts {
    request: Duration,
    deployment: Duration,
    zeek_deployment: Duration,
}

/// Deployments may take longer than other requests, unless Zeek's setting says how long a request may take. A controller should not give
/// up before the agent has answered.
fn timeouts(resolver: &mut Resolver<'_>) -> Timeouts {
    let default = core::Settings::default();
    let given = resolver
        .given::<Duration>(names::REQUEST_TIMEOUT)
        .map(|given| given.value);
    let request = resolver
        .take(names::REQUEST_TIMEOUT, default.request_timeout)
        .value;
    let mut deployment = |name, default| resolver.take(name, given.unwrap_or(default)).value;
    let timeouts = Timeouts {
        request,
        deployment: deployment(DEPLOYMENT_TIMEOUT, default.deployment_timeout),
        zeek_deployment: deployment(ZEEK_DEPLOYMENT_TIMEOUT, default.zeek_deployment_timeout),
    };
    for (name, timeout, controller, limit) in [
        (
            names::REQUEST_TIMEOUT,
            timeouts.request,
            "Zeek's controller",
            ZEEK_CONTROLLER_TIMEOUT,
        ),
        (
            DEPLOYMENT_TIMEOUT,
            timeouts.deployment,
            "our controller",
            CONTROLLER_TIMEOUT,
        ),
        (
            ZEEK_DEPLOYMENT_TIMEOUT,
            timeouts.zeek_deployment,
            "Zeek's controller",
            ZEEK_CONTROLLER_TIMEOUT,
        ),
    ] {
        if timeout >= limit {
            resolver.warnings.push(format!(
                "{name} is {}s: {controller} gives up after {}s, and its client never hears why a node does not start; see \
                 docs/limits.md",
                timeout.as_secs_f64(),
                limit.as_secs()
            ));
        }
    }
    timeouts
}

/// `agent/main.zeek`, `archive_logs`
fn archival(
    resolver: &mut Resolver<'_>,
    args: &SettingArgs,
    management_log: &LogConfig,
    spool: &Path,
) -> Option<Archival> {
    let archive = resolver.take(names::ARCHIVE_LOGS, true).value;
    let interval = resolver.take(names::ARCHIVE_INTERVAL, Duration::ZERO).value;
    let command = resolver.take_text(names::ARCHIVE_CMD);
    let command = command.unwrap_or_else(|| {
        let prefix = &resolver.installation(&args.host).prefix;
        Sourced {
            value: prefix.join("bin/zeek-archiver").display().to_string(),
            origin: Origin::Installation(prefix.clone()),
        }
    });
    resolver.show(names::ARCHIVE_CMD, command.value.show(), command.origin);
    let target = resolver.directory(&args.host, names::ARCHIVE_DIR, |zeek| &zeek.log_dir);
    let rotation = management_log.rotation.as_ref();
    let interval = if interval.is_zero() {
        rotation.map_or(Duration::ZERO, |rotation| rotation.interval)
    } else {
        interval
    };
    let queue = rotation.map_or_else(|| spool.join("log-queue"), |rotation| rotation.dir.clone());
    archive.then(|| Archival {
        interval,
        directory: queue.display().to_string(),
        command: format!("{} -1 {} {}", command.value, queue.display(), target.display()),
    })
}

/// Loggers of a Supervisor that was not started by us have their rotated logs where its environment says, else where Zeek is
/// installed (`management/persistence.zeek`).
fn compare_spool(resolver: &mut Resolver<'_>, args: &SettingArgs, spool: &Path) {
    const VARIABLE: &str = "ZEEK_MANAGEMENT_SPOOL_DIR";
    let of_zeek = resolver.installation(&args.host).spool_dir.clone();
    let shown = resolver
        .effective
        .iter()
        .find(|shown| shown.name == config::names::SPOOL_DIR);
    let is_variable = shown.is_some_and(|shown| matches!(shown.origin, Origin::Environment(_)));
    if of_zeek != spool && !is_variable {
        let (spool, of_zeek) = (spool.display(), of_zeek.display());
        resolver.warnings.push(format!(
            "the spool directory is {spool}: the Supervisor needs {VARIABLE}={spool} in its environment, else its nodes leave rotated logs in \
             {of_zeek}, where the agent does not archive them"
        ));
    }
}

fn installed_zeek(resolver: &mut Resolver<'_>, args: &SettingArgs) -> InstalledZeek {
    if args.simulate {
        let version = simulate::version();
        resolver.show(INSTALLED_ZEEK, version.show(), Origin::Flag("--simulate"));
        return InstalledZeek {
            program: None,
            version: Some(version),
        };
    }
    let environment = resolver.environment();
    let installation = resolver.installation(&args.host);
    let origin = Origin::Installation(installation.prefix.clone());
    let zeek = InstalledZeek::find(installation, environment);
    let version = zeek.version.clone().unwrap_or_default();
    resolver.show(INSTALLED_ZEEK, version.show(), origin);
    if zeek.version.is_some() && zeek.layout().is_none() {
        resolver.warnings.push(format!(
            "the records of {version:?} are not known; --zeek-version names a Zeek that has the same"
        ));
    }
    zeek
}

/// How the Supervisor is started, if it is for us to do.
fn start_supervisor(
    resolver: &mut Resolver<'_>,
    args: &SettingArgs,
    zeek: &InstalledZeek,
    supervisor: &PeerAddress,
) -> Option<ZeekCommand> {
    let origin = if args.simulate {
        resolver.warnings.push(simulate::WARNING.into());
        Origin::Flag("--simulate")
    } else if args.start_supervisor {
        Origin::Flag("--start-supervisor")
    } else {
        Origin::Default
    };
    resolver.show(
        "start supervisor",
        args.starts_supervisor().show(),
        origin.clone(),
    );
    if !args.starts_supervisor() {
        return None;
    }
    let mut refuse = |name, reason: &str| {
        resolver.problems.push(ConfigError::Unusable {
            origin: origin.clone(),
            name,
            reason: reason.to_owned(),
        });
    };
    // Who can connect to a Supervisor can run anything.
    if !is_loopback(&supervisor.host) {
        refuse(
            names::SUPERVISOR_ADDRESS,
            "a Supervisor that we start listens on a loopback address only, as in --supervisor 127.0.0.1:9999",
        );
    }
    if args.simulate {
        return simulate::zeek()
            .inspect_err(|error| refuse("simulate", &format!("this program cannot be found: {error}")))
            .ok();
    }
    let Some(program) = zeek.program.clone() else {
        refuse(
            "zeek",
            "there is no zeek in bin of the installation, nor on PATH; name the installation by --zeek-prefix",
        );
        return None;
    };
    for script in args
        .zeek_argument
        .iter()
        .filter(|argument| !argument.contains('='))
    {
        resolver.show(ZEEK_ARGUMENT, script.show(), Origin::Flag("--zeek-argument"));
    }
    resolver.show("zeek", program.display().to_string().show(), origin.clone());
    let has_shim = !zeek::lacks_script(&resolver.installation(&args.host).prefix, zeek::SHIM);
    Some(ZeekCommand {
        program,
        leading_arguments: Vec::new(),
        further_arguments: args.zeek_argument.clone(),
        has_shim,
    })
}

pub(crate) fn is_loopback(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The script for nodes: what is given, else Zeek's own, else, if the installed Zeek has none, ours, at this path.
fn node_script(resolver: &mut Resolver<'_>, args: &SettingArgs, own: PathBuf) -> (String, Option<PathBuf>) {
    let given = resolver.take_text(NODE_SCRIPT);
    let prefix = &resolver.installation(&args.host).prefix;
    let (script, origin, own) = if let Some(given) = given {
        (given.value, given.origin, None)
    } else {
        let origin = Origin::Installation(prefix.clone());
        if !args.simulate && zeek::lacks_script(prefix, zeek::NODE_SCRIPT) {
            (own.display().to_string(), origin, Some(own))
        } else {
            (zeek::NODE_SCRIPT.to_owned(), origin, None)
        }
    };
    resolver.show(NODE_SCRIPT, script.show(), origin);
    (script, own)
}

#[cfg(test)]
mod tests;
