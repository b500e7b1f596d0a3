//! The controller's configuration. Where settings come from, and those of every daemon, are in [`mgmt_daemon::config`]; the rules
//! here are those of Zeek 9.0's `policy/frameworks/management/controller/config.zeek`.

mod own_ca;
mod settings;
mod websocket_tls;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use broker_codec::data::Port;
use broker_endpoint::{tls::TlsConfig, websocket::WebSocketTls};
use clap::ArgMatches;
pub use mgmt_daemon::config::Listener;
use mgmt_daemon::{
    config::{Choice, ConfigErrors, DaemonConfig, Resolver, Schema, join_plain},
    program::Configuration,
};

pub use self::settings::SCHEMA;
use self::websocket_tls::WebSocketTlsOptions;
use crate::{
    authority::OwnCa,
    backup,
    core::{AbsentInstances, DEPLOYMENT_FIFTHS, Settings},
    wire::Assumed,
};

/// Everything that the controller needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// What every daemon needs to know.
    pub daemon: DaemonConfig,
    /// Where the store's file is, absolute; the working directory unless redefined.
    pub store_dir: PathBuf,
    /// The CA of the controller's own, if it has one.
    pub own_ca: Option<OwnCa>,
    /// Where agents and native clients connect.
    pub broker: Listener,
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
}

impl Configuration for Config {
    const SCHEMA: &'static Schema = &SCHEMA;

    fn resolve(mut resolver: Resolver<'_>) -> Result<Self, ConfigErrors> {
        let state_dir = resolver.state_dir();
        let home = resolver.home(state_dir);
        let ca_dir = own_ca::fill(&mut resolver, &home);
        let mut daemon = resolver.daemon(home);
        let keep: Duration = resolver.take("keep_logs");
        if let Some(rotation) = &mut daemon.management_log.rotation {
            rotation.keep = (!keep.is_zero()).then_some(keep);
        }
        let store_directory: String = resolver.take("store_directory");
        let broker = resolver.listener(["listen_address", "listen_port", "default_port"]);
        let websocket = ["websocket_address", "websocket_port", "websocket_default_port"];
        let websocket = resolver.address_listener(websocket);
        refuse_same_port(&mut resolver, &broker, websocket);
        if broker == Listener::Off && websocket.is_none() {
            let reason = "neither agents nor clients can connect, as --listen and --websocket-listen are off";
            resolver.warn(reason.to_owned());
        }
        let settings = settings(&mut resolver, &broker);
        warn_of_time_limits(&mut resolver, &settings);
        let own_ca = own_ca::read(&mut resolver, ca_dir, &daemon, &broker, websocket);
        Ok(Self {
            own_ca,
            store_dir: join_plain(&daemon.working_dir, store_directory),
            broker,
            assumed: Assumed {
                agents: resolver.take("agent_api"),
                clients: resolver.take("client_api"),
                ..Assumed::default()
            },
            websocket,
            websocket_tls: websocket_tls(&mut resolver).with_revoked(&daemon.revoked),
            websocket_hosts: resolver.host_names("websocket_host"),
            settings,
            daemon: DaemonConfig {
                resolved: resolver.finish()?,
                ..daemon
            },
        })
    }

    fn daemon(&self) -> &DaemonConfig {
        &self.daemon
    }

    fn own_command(&self, given: &ArgMatches) -> ExitCode {
        backup::command::run(self, given)
    }
}

impl Config {
    /// How connections are protected: natives', clients' and operators'.
    pub fn all_tls(&self) -> impl Iterator<Item = &TlsConfig> {
        let websocket = match &self.websocket_tls {
            WebSocketTls::Off => None,
            WebSocketTls::Offered(tls) | WebSocketTls::Required(tls) => Some(tls),
        };
        [&self.daemon.broker_tls, &self.daemon.http.tls]
            .into_iter()
            .chain(websocket)
    }

    pub fn keys(&self) -> impl Iterator<Item = &Path> {
        let identities = self.all_tls().filter_map(TlsConfig::identity);
        identities.map(|identity| &*identity.key)
    }
}

fn websocket_tls(resolver: &mut Resolver<'_>) -> WebSocketTls {
    let options: WebSocketTlsOptions = resolver.take("websocket_tls");
    match options.resolve(|path| resolver.absolute(path)) {
        Ok(tls) => {
            resolver.annotate(
                "websocket_tls",
                format!("TLS for WebSocket clients: {}", tls.name()),
            );
            tls
        }
        Err(reason) => {
            resolver.refuse("websocket_tls", reason);
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
        let port = websocket.port();
        resolver.refuse(
            "websocket_port",
            format!(
                "port {port} is also the Broker port of Management::Controller::listen_port; choose another"
            ),
        );
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
    resolver.warn(format!(
        "Management::Request::timeout_interval = {} s makes a deployment end after {} s: {consequence}",
        settings.request_timeout.as_secs_f64(),
        deployment.as_secs_f64()
    ));
}

fn settings(resolver: &mut Resolver<'_>, broker: &Listener) -> Settings {
    let topic: String = resolver.take("topic");
    Settings {
        topic: topic.into(),
        agent_topic_prefix: Settings::default().agent_topic_prefix,
        request_timeout: resolver.take("request_timeout"),
        absent_instances: resolver.take("absent_instances"),
        broker_port: match broker {
            Listener::At(address) if address.port != 0 => Some(Port::tcp(address.port)),
            Listener::Off | Listener::At(_) => None,
        },
        auto_assign_broker_ports: resolver.take("auto_assign_broker_ports"),
        auto_assign_broker_start_port: resolver.take("auto_assign_broker_start_port"),
        auto_assign_metrics_ports: resolver.take("auto_assign_metrics_ports"),
        auto_assign_metrics_start_port: resolver.take("auto_assign_metrics_start_port"),
    }
}

impl Choice for AbsentInstances {
    const EXPECTED: &'static str = "fail or skip";
    const NAMES: &'static [(&'static str, Self)] = &[("fail", Self::Fail), ("skip", Self::Skip)];
}

#[cfg(test)]
mod tests;
