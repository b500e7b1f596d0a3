//! The settings that the controller reads, by Zeek's names.

pub(super) const NAME: &str = "Management::Controller::name";
pub(super) const DIRECTORY: &str = "Management::Controller::directory";
pub(super) const TOPIC: &str = "Management::Controller::topic";
pub(super) const LISTEN_ADDRESS: &str = "Management::Controller::listen_address";
pub(super) const LISTEN_PORT: &str = "Management::Controller::listen_port";
pub(super) const DEFAULT_PORT: &str = "Management::Controller::default_port";
pub(super) const LISTEN_ADDRESS_WEBSOCKET: &str = "Management::Controller::listen_address_websocket";
pub(super) const LISTEN_PORT_WEBSOCKET: &str = "Management::Controller::listen_port_websocket";
pub(super) const DEFAULT_PORT_WEBSOCKET: &str = "Management::Controller::default_port_websocket";
pub(super) const ASSIGN_BROKER_PORTS: &str = "Management::Controller::auto_assign_broker_ports";
pub(super) const BROKER_START_PORT: &str = "Management::Controller::auto_assign_broker_start_port";
pub(super) const ASSIGN_METRICS_PORTS: &str = "Management::Controller::auto_assign_metrics_ports";
pub(super) const METRICS_START_PORT: &str = "Management::Controller::auto_assign_metrics_start_port";
pub(super) const DEFAULT_ADDRESS: &str = "Management::default_address";
pub(super) const STATE_DIR: &str = "Management::state_dir";
pub(super) const SPOOL_DIR: &str = "Management::spool_dir";
pub(super) const LOG_LEVEL: &str = "Management::Log::level";
pub(super) const REQUEST_TIMEOUT: &str = "Management::Request::timeout_interval";
pub(super) const STORE_DIRECTORY: &str = "Broker::table_store_db_directory";
pub(super) const CONNECT_RETRY: &str = "Management::connect_retry";
pub(super) const DISABLE_SSL: &str = "Broker::disable_ssl";
pub(super) const SSL_CERTIFICATE: &str = "Broker::ssl_certificate";
pub(super) const SSL_KEYFILE: &str = "Broker::ssl_keyfile";
pub(super) const SSL_PASSPHRASE: &str = "Broker::ssl_passphrase";
pub(super) const SSL_CAFILE: &str = "Broker::ssl_cafile";
pub(super) const SSL_CAPATH: &str = "Broker::ssl_capath";
pub(super) const ROTATION_INTERVAL: &str = "Log::default_rotation_interval";
pub(super) const ROTATION_DIR: &str = "Log::default_rotation_dir";
pub(super) const ROTATION_BASE_TIME: &str = "log_rotate_base_time";
pub(super) const FIELD_BYTES_MAX: &str = "Log::default_max_field_string_bytes";

/// Every setting that has an effect.
pub(super) const ALL: [&str; 30] = [
    NAME,
    DIRECTORY,
    TOPIC,
    LISTEN_ADDRESS,
    LISTEN_PORT,
    DEFAULT_PORT,
    LISTEN_ADDRESS_WEBSOCKET,
    LISTEN_PORT_WEBSOCKET,
    DEFAULT_PORT_WEBSOCKET,
    ASSIGN_BROKER_PORTS,
    BROKER_START_PORT,
    ASSIGN_METRICS_PORTS,
    METRICS_START_PORT,
    DEFAULT_ADDRESS,
    STATE_DIR,
    SPOOL_DIR,
    LOG_LEVEL,
    REQUEST_TIMEOUT,
    STORE_DIRECTORY,
    CONNECT_RETRY,
    DISABLE_SSL,
    SSL_CERTIFICATE,
    SSL_KEYFILE,
    SSL_PASSPHRASE,
    SSL_CAFILE,
    SSL_CAPATH,
    ROTATION_INTERVAL,
    ROTATION_DIR,
    ROTATION_BASE_TIME,
    FIELD_BYTES_MAX,
];

/// Names of earlier releases.
const RENAMED: [(&str, &str); 2] = [
    ("Management::Controller::auto_assign_ports", ASSIGN_BROKER_PORTS),
    (
        "Management::Controller::auto_assign_start_port",
        BROKER_START_PORT,
    ),
];

/// Zeek's environment variables that are a setting's default (`management/config.zeek`, `controller/config.zeek`).
pub(super) const ENVIRONMENT: [(&str, &str); 7] = [
    ("ZEEK_CONTROLLER_NAME", NAME),
    ("ZEEK_CONTROLLER_ADDR", LISTEN_ADDRESS),
    ("ZEEK_CONTROLLER_PORT", LISTEN_PORT),
    ("ZEEK_CONTROLLER_WEBSOCKET_ADDR", LISTEN_ADDRESS_WEBSOCKET),
    ("ZEEK_CONTROLLER_WEBSOCKET_PORT", LISTEN_PORT_WEBSOCKET),
    ("ZEEK_MANAGEMENT_STATE_DIR", STATE_DIR),
    ("ZEEK_MANAGEMENT_SPOOL_DIR", SPOOL_DIR),
];

/// A non-empty value keeps all files below the current directory and turns rotation off (`persistence.zeek`).
pub(super) const TESTING: &str = "ZEEK_MANAGEMENT_TESTING";

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

/// What a name means to the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// A setting that has an effect.
    Read(&'static str),
    /// A setting of Zeek's controller that asks for something we cannot do.
    Unsupported(&'static str),
    /// Not the controller's business: another process's setting, or anything else of Zeek.
    Foreign,
    /// A name in the controller's own modules that Zeek does not have.
    Unknown,
}

/// Looks a name up.
pub(super) fn lookup(name: &str) -> Known {
    if let Some(known) = ALL.iter().find(|known| **known == name) {
        return Known::Read(known);
    }
    if let Some((_, known)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return Known::Read(known);
    }
    if name == "Management::Controller::tls_options_websocket" {
        return Known::Unsupported("TLS for WebSocket clients is not supported yet");
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
        assert!(matches!(
            lookup("Management::Controller::tls_options_websocket"),
            Known::Unsupported(_)
        ));
    }
}
