//! The settings that only the agent reads, by Zeek's names.

pub(super) use mgmt_daemon::config::names::{CONNECT_RETRY, REQUEST_TIMEOUT};
use mgmt_daemon::config::{Known, Schema};

pub(super) const NAME: &str = "Management::Agent::name";
pub(super) const DIRECTORY: &str = "Management::Agent::directory";
pub(super) const TOPIC_PREFIX: &str = "Management::Agent::topic_prefix";
pub(super) const LISTEN_ADDRESS: &str = "Management::Agent::listen_address";
pub(super) const LISTEN_PORT: &str = "Management::Agent::listen_port";
pub(super) const DEFAULT_PORT: &str = "Management::Agent::default_port";
pub(super) const CONTROLLER: &str = "Management::Agent::controller";
pub(super) const ARCHIVE_LOGS: &str = "Management::Agent::archive_logs";
pub(super) const ARCHIVE_INTERVAL: &str = "Management::Agent::archive_interval";
pub(super) const ARCHIVE_CMD: &str = "Management::Agent::archive_cmd";
pub(super) const ARCHIVE_DIR: &str = "Management::Agent::archive_dir";
pub(super) const NODE_TOPIC: &str = "Management::Node::node_topic";
pub(super) const SHIM_TOPIC: &str = "Management::Supervisor::topic_prefix";
pub(super) const SUPERVISOR_TOPIC: &str = "SupervisorControl::topic_prefix";
/// This one has no name in Zeek.
pub(super) const CONTROLLER_API: &str = "controller api";
/// The default of the port in [`CONTROLLER`], as a text.
pub(super) const CONTROLLER_LISTEN_PORT: &str = "Management::Controller::listen_port";
/// The default of the port in [`CONTROLLER`], as a port.
pub(super) const CONTROLLER_DEFAULT_PORT: &str = "Management::Controller::default_port";
/// The Supervisor's address, as the agent sees it.
pub(super) const SUPERVISOR_ADDRESS: &str = "Broker::default_listen_address";
/// The Supervisor's port.
pub(super) const SUPERVISOR_PORT: &str = "Broker::default_port";

/// Every setting of the agent's own that has an effect.
const ALL: [&str; 18] = [
    NAME,
    DIRECTORY,
    TOPIC_PREFIX,
    LISTEN_ADDRESS,
    LISTEN_PORT,
    DEFAULT_PORT,
    CONTROLLER,
    ARCHIVE_LOGS,
    ARCHIVE_INTERVAL,
    ARCHIVE_CMD,
    ARCHIVE_DIR,
    NODE_TOPIC,
    SHIM_TOPIC,
    SUPERVISOR_TOPIC,
    CONTROLLER_LISTEN_PORT,
    CONTROLLER_DEFAULT_PORT,
    SUPERVISOR_ADDRESS,
    SUPERVISOR_PORT,
];

/// Zeek's environment variables that are a setting's default (`agent/config.zeek`, `controller/config.zeek`,
/// `base/frameworks/broker/main.zeek`), and ours.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("ZEEK_AGENT_NAME", NAME),
    ("ZEEK_AGENT_ADDR", LISTEN_ADDRESS),
    ("ZEEK_AGENT_PORT", LISTEN_PORT),
    ("ZEEK_CONTROLLER_PORT", CONTROLLER_LISTEN_PORT),
    ("ZEEK_DEFAULT_LISTEN_ADDRESS", SUPERVISOR_ADDRESS),
    ("MGMT_AGENT_CONTROLLER_API", CONTROLLER_API),
];

/// Settings that only matter to other processes, or on other systems.
const WITHOUT_EFFECT: [&str; 3] = [
    "Management::Agent::stdout_file",
    "Management::Agent::stderr_file",
    "Management::role",
];

/// The framework's modules in other processes.
const OTHER_MODULES: [&str; 3] = [
    "Management::Controller::",
    "Management::Node::",
    "Management::Supervisor::",
];

/// The agent's settings.
pub(super) static SCHEMA: Schema = Schema {
    daemon: "agent",
    lookup,
    environment: &ENVIRONMENT,
};

/// Looks a name up.
fn lookup(name: &str) -> Known {
    if let Some(known) = ALL.iter().find(|known| **known == name) {
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
        assert_eq!(lookup("Management::Agent::name"), Known::Read(NAME));
        assert_eq!(lookup("Management::Controller::name"), Known::Foreign);
        assert_eq!(
            lookup("Management::Controller::default_port"),
            Known::Read(CONTROLLER_DEFAULT_PORT)
        );
        assert_eq!(lookup("Management::Agent::stdout_file"), Known::Foreign);
        assert_eq!(lookup("Management::Agent::nmae"), Known::Unknown);
    }
}
