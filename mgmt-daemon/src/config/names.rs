//! The settings that every daemon of the framework reads, by Zeek's names.

pub const DEFAULT_ADDRESS: &str = "Management::default_address";
pub const STATE_DIR: &str = "Management::state_dir";
pub const SPOOL_DIR: &str = "Management::spool_dir";
pub const LOG_LEVEL: &str = "Management::Log::level";
pub const REQUEST_TIMEOUT: &str = "Management::Request::timeout_interval";
pub const CONNECT_RETRY: &str = "Management::connect_retry";
pub const DISABLE_SSL: &str = "Broker::disable_ssl";
pub const SSL_CERTIFICATE: &str = "Broker::ssl_certificate";
pub const SSL_KEYFILE: &str = "Broker::ssl_keyfile";
pub const SSL_PASSPHRASE: &str = "Broker::ssl_passphrase";
pub const SSL_CAFILE: &str = "Broker::ssl_cafile";
pub const SSL_CAPATH: &str = "Broker::ssl_capath";
pub const ROTATION_INTERVAL: &str = "Log::default_rotation_interval";
pub const ROTATION_DIR: &str = "Log::default_rotation_dir";
pub const ROTATION_BASE_TIME: &str = "log_rotate_base_time";
pub const FIELD_BYTES_MAX: &str = "Log::default_max_field_string_bytes";

/// All of them.
pub const COMMON: [&str; 16] = [
    DEFAULT_ADDRESS,
    STATE_DIR,
    SPOOL_DIR,
    LOG_LEVEL,
    REQUEST_TIMEOUT,
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

/// Zeek's environment variables for these (`management/config.zeek`).
pub const COMMON_ENVIRONMENT: [(&str, &str); 2] = [
    ("ZEEK_MANAGEMENT_STATE_DIR", STATE_DIR),
    ("ZEEK_MANAGEMENT_SPOOL_DIR", SPOOL_DIR),
];

/// A non-empty value keeps all files below the current directory and turns rotation off (`persistence.zeek`).
pub const TESTING: &str = "ZEEK_MANAGEMENT_TESTING";

/// What a name means to a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// A setting that has an effect.
    Read(&'static str),
    /// A setting of Zeek's daemon that asks for something we cannot do.
    Unsupported {
        /// Its name.
        name: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// Not the daemon's business: another process's setting, or anything else of Zeek.
    Foreign,
    /// A name in the daemon's own modules that Zeek does not have.
    Unknown,
}

/// Which settings a daemon has.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// What the daemon is: `controller`.
    pub daemon: &'static str,
    /// Looks a name up. Names of [`COMMON`] do not get here.
    pub lookup: fn(&str) -> Known,
    /// Its own environment variables, and the settings that they are.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Schema {
    pub(super) fn look_up(&self, name: &str) -> Known {
        match COMMON.iter().find(|known| **known == name) {
            Some(known) => Known::Read(known),
            None => (self.lookup)(name),
        }
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.environment.iter().chain(&COMMON_ENVIRONMENT).copied()
    }
}
