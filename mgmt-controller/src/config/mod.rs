//! The controller's configuration: read once, typed, and with the origin of each value.
//!
//! Sources, from the weakest: defaults, Zeek's environment variables, the files of `--redefs` in order, assignments on
//! the command line, options on the command line. A configuration file of our own will take its place between defaults
//! and environment.
//!
//! The rules are those of Zeek 9.0's `policy/frameworks/management/{config,persistence}.zeek` and
//! `controller/config.zeek`.

mod names;
mod websocket_tls;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use broker_codec::data::Port;
use broker_endpoint::{tls::TlsConfig, websocket::WebSocketTls};
pub use mgmt_daemon::config::{
    ConfigError, ConfigErrors, Effective, Environment, Listener, LogConfig, LogFormat, Origin,
    RotationConfig, TimeOfDay,
};
use mgmt_daemon::{
    config::{self, Checks, Notation, Resolver, Value, join_plain},
    lock::Lock,
    management_log::ManagementLog,
    process::with_causes,
};

use self::websocket_tls::WebSocketTlsOptions;
use crate::{
    cli::SettingArgs,
    core::{AbsentInstances, DEPLOYMENT_FIFTHS, Settings},
    store::{self, Store},
    wire::Assumed,
};

/// Everything that the controller needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The controller's name; part of paths and log lines.
    pub name: String,
    /// `<state>/nodes/<name>`: where the store and the management log are, absolute.
    pub working_dir: PathBuf,
    /// Where the store's file is, absolute; the working directory unless redefined.
    pub store_dir: PathBuf,
    /// Where agents and native clients connect.
    pub broker: Listener,
    /// How native connections are protected, those that are accepted and those to agents.
    pub broker_tls: TlsConfig,
    /// How long to wait between attempts to connect to an agent; zero for one attempt only.
    pub connect_retry: Duration,
    /// What agents and clients are taken to speak that have not said anything that tells.
    pub assumed: Assumed,
    /// Where zeek-client connects, if it can.
    pub websocket: Option<SocketAddr>,
    /// How connections of zeek-client are protected.
    pub websocket_tls: WebSocketTls,
    /// The names by which web pages may know the WebSocket port, besides those that are known anyhow.
    pub websocket_hosts: Vec<String>,
    /// What the controller's core wants to know.
    pub settings: Settings,
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
        resolver.flag(KEEP_LOGS, args.keep_logs.as_deref(), "--keep-logs");
        resolver.listener_flag(WEBSOCKET, args.websocket_listen.as_ref(), "--websocket-listen");
        let hosts = (!args.websocket_host.is_empty()).then(|| args.websocket_host.join(","));
        resolver.flag(names::WEBSOCKET_HOSTS, hosts.as_deref(), "--websocket-host");
        resolver.listener_flag(BROKER, args.listen.as_ref(), "--listen");
        resolver.flag(
            names::ABSENT_INSTANCES,
            args.absent_instances.as_deref(),
            "--absent-instances",
        );
        resolver.flag(names::AGENT_API, args.agent_api.as_deref(), "--agent-api");
        resolver.flag(names::CLIENT_API, args.client_api.as_deref(), "--client-api");
        let config = resolve(&mut resolver, args);
        ConfigErrors::check(resolver.problems)?;
        Ok(Self {
            warnings: resolver.warnings,
            suspicious: resolver.suspicious,
            effective: resolver.effective,
            ..config
        })
    }

    /// How connections are protected, natives' and clients'.
    pub fn all_tls(&self) -> impl Iterator<Item = &TlsConfig> {
        let websocket = match &self.websocket_tls {
            WebSocketTls::Off => None,
            WebSocketTls::Offered(tls) | WebSocketTls::Required(tls) => Some(tls),
        };
        [&self.broker_tls].into_iter().chain(websocket)
    }

    /// The files of private keys.
    pub fn keys(&self) -> impl Iterator<Item = &Path> {
        let identities = self.all_tls().filter_map(TlsConfig::identity);
        identities.map(|identity| &*identity.key)
    }

    /// Tries what the settings name: directories, ports, certificates.
    pub fn check(&self) -> Checks<'_> {
        let mut checks = Checks::new(&self.effective);
        checks.directory(&[names::DIRECTORY, config::names::STATE_DIR], &self.working_dir);
        if self.store_dir != self.working_dir {
            checks.directory(&[names::STORE_DIRECTORY], &self.store_dir);
        }
        checks.log(&self.management_log);
        checks.file("ready file", self.ready_file.as_deref());
        checks.file("journal", self.journal.as_deref());
        let lock = self.store_dir.join(store::FILE_NAME);
        let directory = &[names::DIRECTORY, config::names::STATE_DIR];
        let of_store = &[names::STORE_DIRECTORY, directory[0], directory[1]];
        checks.kept_file(of_store, &Lock::path(&lock));
        checks.kept_file(directory, &ManagementLog::path(&self.working_dir, &self.name));
        if let Err(error) = Store::check(&self.store_dir) {
            checks.note(of_store, Err(with_causes(&error)));
        }
        checks.listener(&[BROKER.1, BROKER.0], &self.broker, &lock);
        let websocket = self
            .websocket
            .map_or(Listener::Off, |address| Listener::At(address.into()));
        checks.listener(&[WEBSOCKET.1, WEBSOCKET.0], &websocket, &lock);
        checks.broker_tls(&self.broker_tls);
        if let WebSocketTls::Offered(tls) | WebSocketTls::Required(tls) = &self.websocket_tls {
            checks.tls("WebSocket", |_| names::TLS_OPTIONS_WEBSOCKET, tls);
        }
        checks
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

const KEEP_LOGS: &str = "keep logs";
/// Long enough to look into what happened, and a day's logs are small.
const DEFAULT_KEEP: Duration = Duration::from_secs(30 * 86_400);
const WEBSOCKET: (&str, &str) = (names::LISTEN_ADDRESS_WEBSOCKET, names::LISTEN_PORT_WEBSOCKET);
const BROKER: (&str, &str) = (names::LISTEN_ADDRESS, names::LISTEN_PORT);

/// Resolves, in the order in which settings are shown.
fn resolve(resolver: &mut Resolver<'_>, args: &SettingArgs) -> Config {
    let host = &args.host;
    let name = resolver.name(names::NAME);
    let directories = resolver.directories(host, names::DIRECTORY, &name);
    let store_directory = resolver.take(names::STORE_DIRECTORY, String::from(".")).value;
    let broker = resolver.listener(BROKER, names::DEFAULT_PORT, Port::tcp(2150));
    let websocket = resolver.address_listener(WEBSOCKET, names::DEFAULT_PORT_WEBSOCKET, Port::tcp(2149));
    let websocket_tls = websocket_tls(resolver);
    let websocket_hosts = websocket_hosts(resolver);
    refuse_same_port(resolver, &broker, websocket);
    let settings = settings(resolver, &broker);
    warn_of_time_limits(resolver, &settings);
    let broker_tls = resolver.broker_tls();
    let connect_retry = resolver.take(names::CONNECT_RETRY, Duration::from_secs(1)).value;
    let today = Assumed::default();
    let assumed = Assumed {
        agents: resolver.take(names::AGENT_API, today.agents).value,
        clients: resolver.take(names::CLIENT_API, today.clients).value,
        ..today
    };
    let mut management_log = resolver.management_log(&directories.spool);
    let keep = resolver.take(KEEP_LOGS, DEFAULT_KEEP).value;
    if let Some(rotation) = &mut management_log.rotation {
        rotation.keep = (!keep.is_zero()).then_some(keep);
    }
    Config {
        name,
        store_dir: join_plain(&directories.working, &store_directory),
        working_dir: directories.working,
        broker,
        broker_tls,
        connect_retry,
        assumed,
        websocket,
        websocket_tls,
        websocket_hosts,
        settings,
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

fn websocket_hosts(resolver: &mut Resolver<'_>) -> Vec<String> {
    let given = resolver.take(names::WEBSOCKET_HOSTS, String::new());
    let hosts = given.value.split(',').map(str::trim);
    let hosts: Vec<&str> = hosts.filter(|host| !host.is_empty()).collect();
    // As in certificates, a wildcard may stand for the first label.
    let is_name = |host: &str| {
        host.strip_prefix("*.")
            .unwrap_or(host)
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if let Some(wrong) = hosts.iter().find(|host| !is_name(host)) {
        resolver.problems.push(ConfigError::Unusable {
            origin: given.origin,
            name: names::WEBSOCKET_HOSTS,
            reason: format!(
                "{wrong:?} is not the name of a host, as in zeek.example.org or *.example.org; addresses are known anyhow"
            ),
        });
    }
    hosts.into_iter().map(Into::into).collect()
}

fn websocket_tls(resolver: &mut Resolver<'_>) -> WebSocketTls {
    let options = resolver.take(names::TLS_OPTIONS_WEBSOCKET, WebSocketTlsOptions::default());
    match options.value.resolve(|path| resolver.absolute(path)) {
        Ok(tls) => {
            let note = match &tls {
                WebSocketTls::Off => "TLS for WebSocket clients: off".to_owned(),
                WebSocketTls::Offered(tls) => format!("TLS for WebSocket clients: {}, or none", tls.name()),
                WebSocketTls::Required(tls) => format!("TLS for WebSocket clients: {}", tls.name()),
            };
            resolver.annotate(names::TLS_OPTIONS_WEBSOCKET, &note);
            tls
        }
        Err(reason) => {
            resolver.problems.push(ConfigError::Unusable {
                origin: options.origin,
                name: names::TLS_OPTIONS_WEBSOCKET,
                reason,
            });
            WebSocketTls::Off
        }
    }
}

/// What a name stands for is not known here: then listening fails.
fn refuse_same_port(resolver: &mut Resolver<'_>, broker: &Listener, websocket: Option<SocketAddr>) {
    let (Listener::At(broker), Some(websocket)) = (broker, websocket) else {
        return;
    };
    let same = |ip: IpAddr| ip == websocket.ip() || ip.is_unspecified();
    let overlap = websocket.ip().is_unspecified() || broker.host.parse().is_ok_and(same);
    if broker.port == websocket.port() && broker.port != 0 && overlap {
        let origin = resolver
            .effective
            .iter()
            .rfind(|shown| shown.name == names::LISTEN_PORT_WEBSOCKET)
            .map_or(Origin::Default, |shown| shown.origin.clone());
        resolver.problems.push(ConfigError::Unusable {
            origin,
            name: names::LISTEN_PORT_WEBSOCKET,
            reason: format!(
                "port {} is also the Broker port of {}; choose another",
                websocket.port(),
                names::LISTEN_PORT
            ),
        });
    }
}

/// How long our agents may take to answer a deployment of ours.
const AGENTS_ANSWER: Duration = Duration::from_secs(15);

/// How long zeek-client waits for an answer.
const CLIENT_WAITS: Duration = Duration::from_secs(20);

/// The limits have an order in which each can say why it ends (docs/limits.md).
fn warn_of_time_limits(resolver: &mut Resolver<'_>, settings: &Settings) {
    let deployment = settings.request_timeout.saturating_mul(DEPLOYMENT_FIFTHS) / 5;
    let consequence = if deployment <= AGENTS_ANSWER {
        "agents, which may take 15 s to start nodes, are not waited for"
    } else if deployment >= CLIENT_WAITS {
        "zeek-client, which waits for 20 s, may not get an answer"
    } else {
        return;
    };
    resolver.warnings.push(format!(
        "{} = {} s makes a deployment end after {} s: {consequence}",
        names::REQUEST_TIMEOUT,
        settings.request_timeout.as_secs_f64(),
        deployment.as_secs_f64()
    ));
}

fn settings(resolver: &mut Resolver<'_>, broker: &Listener) -> Settings {
    let default = Settings::default();
    Settings {
        topic: resolver
            .take(names::TOPIC, default.topic.to_str_lossy().into_owned())
            .value
            .into(),
        agent_topic_prefix: default.agent_topic_prefix,
        request_timeout: resolver
            .take(names::REQUEST_TIMEOUT, default.request_timeout)
            .value,
        absent_instances: resolver
            .take(names::ABSENT_INSTANCES, default.absent_instances)
            .value,
        broker_port: match broker {
            Listener::At(address) if address.port != 0 => Some(Port::tcp(address.port)),
            Listener::Off | Listener::At(_) => None,
        },
        auto_assign_broker_ports: resolver
            .take(names::ASSIGN_BROKER_PORTS, default.auto_assign_broker_ports)
            .value,
        auto_assign_broker_start_port: resolver
            .take(names::BROKER_START_PORT, default.auto_assign_broker_start_port)
            .value,
        auto_assign_metrics_ports: resolver
            .take(names::ASSIGN_METRICS_PORTS, default.auto_assign_metrics_ports)
            .value,
        auto_assign_metrics_start_port: resolver
            .take(names::METRICS_START_PORT, default.auto_assign_metrics_start_port)
            .value,
    }
}

impl Value for AbsentInstances {
    const EXPECTED: &'static str = "fail or skip";

    fn read(text: &str, _: Notation) -> Option<Self> {
        match text {
            "fail" => Some(Self::Fail),
            "skip" => Some(Self::Skip),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Fail => "fail",
            Self::Skip => "skip",
        }
        .to_owned()
    }
}

#[cfg(test)]
mod tests;
