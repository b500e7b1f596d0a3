//! The settings that only the controller reads, by Zeek's names.

pub(super) use mgmt_daemon::config::names::CONNECT_RETRY;
pub(super) use mgmt_daemon::config::names::REQUEST_TIMEOUT;
use mgmt_daemon::config::{Known, Schema};

pub(super) const NAME: &str = "Management::Controller::name";
pub(super) const DIRECTORY: &str = "Management::Controller::directory";
pub(super) const TOPIC: &str = "Management::Controller::topic";
pub(super) const LISTEN_ADDRESS: &str = "Management::Controller::listen_address";
pub(super) const LISTEN_PORT: &str = "Management::Controller::listen_port";
pub(super) const DEFAULT_PORT: &str = "Management::Controller::default_port";
pub(super) const LISTEN_ADDRESS_WEBSOCKET: &str = "Management::Controller::listen_address_websocket";
pub(super) const LISTEN_PORT_WEBSOCKET: &str = "Management::Controller::listen_port_websocket";
pub(super) const DEFAULT_PORT_WEBSOCKET: &str = "Management::Controller::default_port_websocket";
pub(super) const TLS_OPTIONS_WEBSOCKET: &str = "Management::Controller::tls_options_websocket";
pub(super) const ASSIGN_BROKER_PORTS: &str = "Management::Controller::auto_assign_broker_ports";
pub(super) const BROKER_START_PORT: &str = "Management::Controller::auto_assign_broker_start_port";
pub(super) const ASSIGN_METRICS_PORTS: &str = "Management::Controller::auto_assign_metrics_ports";
pub(super) const METRICS_START_PORT: &str = "Management::Controller::auto_assign_metrics_start_port";
/// These have no name in Zeek.
pub(super) const ABSENT_INSTANCES: &str = "absent instances";
pub(super) const AGENT_API: &str = "agent api";
pub(super) const CLIENT_API: &str = "client api";
pub(super) const WEBSOCKET_HOSTS: &str = "websocket hosts";
pub(super) const STORE_DIRECTORY: &str = "Broker::table_store_db_directory";

/// Every setting of the controller's own that has an effect.
const ALL: [&str; 15] = [
    NAME,
    DIRECTORY,
    TOPIC,
    LISTEN_ADDRESS,
    LISTEN_PORT,
    DEFAULT_PORT,
    LISTEN_ADDRESS_WEBSOCKET,
    LISTEN_PORT_WEBSOCKET,
    DEFAULT_PORT_WEBSOCKET,
    TLS_OPTIONS_WEBSOCKET,
    ASSIGN_BROKER_PORTS,
    BROKER_START_PORT,
    ASSIGN_METRICS_PORTS,
    METRICS_START_PORT,
    STORE_DIRECTORY,
];

/// Names of earlier releases.
const RENAMED: [(&str, &str); 2] = [
    ("Management::Controller::auto_assign_ports", ASSIGN_BROKER_PORTS),
    (
        "Management::Controller::auto_assign_start_port",
        BROKER_START_PORT,
    ),
];

/// Zeek's environment variables that are a setting's default (`controller/config.zeek`), and ours.
const ENVIRONMENT: [(&str, &str); 9] = [
    ("ZEEK_CONTROLLER_NAME", NAME),
    ("ZEEK_CONTROLLER_ADDR", LISTEN_ADDRESS),
    ("ZEEK_CONTROLLER_PORT", LISTEN_PORT),
    ("ZEEK_CONTROLLER_WEBSOCKET_ADDR", LISTEN_ADDRESS_WEBSOCKET),
    ("ZEEK_CONTROLLER_WEBSOCKET_PORT", LISTEN_PORT_WEBSOCKET),
    ("MGMT_CONTROLLER_ABSENT_INSTANCES", ABSENT_INSTANCES),
    ("MGMT_CONTROLLER_AGENT_API", AGENT_API),
    ("MGMT_CONTROLLER_CLIENT_API", CLIENT_API),
    ("MGMT_CONTROLLER_WEBSOCKET_HOST", WEBSOCKET_HOSTS),
];

/// Settings that only matter to other processes, or on other systems.
const WITHOUT_EFFECT: [&str; 3] = [
    "Management::Controller::stdout_file",
    "Management::Controller::stderr_file",
    "Management::role",
];

/// The framework's modules in other processes.
const OTHER_MODULES: [&str; 3] = [
    "Management::Agent::",
    "Management::Node::",
    "Management::Supervisor::",
];

/// The controller's settings.
pub(super) static SCHEMA: Schema = Schema {
    daemon: "controller",
    lookup,
    environment: &ENVIRONMENT,
};

/// Looks a name up.
fn lookup(name: &str) -> Known {
    if let Some(known) = ALL.iter().find(|known| **known == name) {
        return Known::Read(known);
    }
    if let Some((_, known)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return Known::Read(known);
    }
    let foreign = !name.starts_with("Management::")
        || WITHOUT_EFFECT.contains(&name)
        || OTHER_MODULES.iter().any(|module| name.starts_with(module));
    if foreign { Known::Foreign } else { Known::Unknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(lookup("Management::Controller::name"), Known::Read(NAME));
        assert_eq!(
            lookup("Management::Controller::auto_assign_ports"),
            Known::Read(ASSIGN_BROKER_PORTS)
        );
        assert_eq!(lookup("Management::Agent::name"), Known::Foreign);
        assert_eq!(lookup("mmdb_dir"), Known::Foreign);
        assert_eq!(lookup("Management::Controller::nmae"), Known::Unknown);
    }
}
