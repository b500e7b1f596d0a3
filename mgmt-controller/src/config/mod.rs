//! The controller's configuration: read once, typed, and with the origin of each value.
//!
//! Sources, from the weakest: defaults, Zeek's environment variables, the files of `--redefs` in order, assignments on
//! the command line, options on the command line. A configuration file of our own will take its place between defaults
//! and environment.
//!
//! The rules are those of Zeek 9.0's `policy/frameworks/management/{config,persistence}.zeek` and
//! `controller/config.zeek`.

mod dump;
mod error;
mod gather;
mod installation;
mod layers;
mod names;
mod redefs;
mod resolve;
mod value;

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use broker_endpoint::tls::TlsConfig;

use self::layers::Layers;
pub use self::{
    error::{ConfigError, ConfigErrors},
    layers::Origin,
    value::{Listener, TimeOfDay, ValueError},
};
use crate::{
    cli::SettingArgs,
    core::{Level, Settings},
};

/// Longest name that Linux keeps for a thread or process (`TASK_COMM_LEN` without the terminator), in bytes.
pub const PROCESS_NAME_MAX: usize = 15;

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
    /// Where zeek-client connects.
    pub websocket: Listener,
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
    /// Each effective setting in a fixed order.
    pub effective: Vec<Effective>,
}

/// How `management-<name>.log` is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least level that is written.
    pub level: Level,
    /// Longest message in bytes; what is longer is cut.
    pub field_bytes_max: usize,
    /// How the file is rotated; none for never.
    pub rotation: Option<RotationConfig>,
}

/// How a log is rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationConfig {
    /// The distance of rotations.
    pub interval: Duration,
    /// When the first rotation of a day is due, in local time.
    pub base: TimeOfDay,
    /// Where rotated files go, absolute.
    pub dir: PathBuf,
}

/// How standard error is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line of text per event.
    #[default]
    Text,
    /// One JSON object per event.
    Json,
}

/// One effective setting.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Effective {
    /// Zeek's name, or ours in lower case where Zeek has none.
    pub name: &'static str,
    /// As it would stand in a Zeek script.
    pub value: String,
    /// Where it came from.
    #[serde(serialize_with = "serialize_display")]
    pub origin: Origin,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The environment variables and the directory that a process starts with.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    current_dir: PathBuf,
}

impl Config {
    /// Reads the configuration, or reports everything that is wrong with it.
    pub fn read(args: &SettingArgs, environment: &Environment) -> Result<Self, ConfigErrors> {
        let mut resolver = Resolver {
            layers: Layers::default(),
            environment,
            problems: Vec::new(),
            warnings: Vec::new(),
            effective: Vec::new(),
        };
        resolver.gather(args);
        let config = resolver.resolve(args);
        if resolver.problems.is_empty() {
            Ok(Self {
                warnings: resolver.warnings,
                effective: resolver.effective,
                ..config
            })
        } else {
            Err(ConfigErrors(resolver.problems))
        }
    }
}

/// Gathers what was given and turns it into a configuration, collecting problems on the way.
struct Resolver<'a> {
    layers: Layers,
    environment: &'a Environment,
    problems: Vec<ConfigError>,
    warnings: Vec<String>,
    effective: Vec<Effective>,
}

impl Environment {
    /// This process's.
    pub fn of_process() -> Result<Self, ConfigErrors> {
        let mut variables = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            let read = names::ENVIRONMENT.iter().any(|(variable, _)| *variable == name)
                || [names::TESTING, "RUST_LOG", "PATH"].contains(&name);
            match value.into_string() {
                _ if !read => {}
                Ok(value) => {
                    variables.insert(name.to_owned(), value);
                }
                Err(_) => problems.push(ConfigError::NotUtf8(name.to_owned())),
            }
        }
        if problems.is_empty() {
            Ok(Self {
                variables,
                current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
            })
        } else {
            Err(ConfigErrors(problems))
        }
    }

    /// A variable; none if it is empty, as Zeek's `getenv` cannot tell the two apart.
    fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    /// Given variables, and `/` for the current directory.
    fn from(variables: [(&str, &str); N]) -> Self {
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            variables: variables.into(),
            current_dir: PathBuf::from("/"),
        }
    }
}

fn serialize_display<S: serde::Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[cfg(test)]
mod tests;
