//! Settings of a daemon: read once, typed, and with the origin of each value.
//!
//! Sources, from the weakest: defaults, Zeek's environment variables, the files of `--redefs` in order, assignments on
//! the command line, options on the command line. A configuration file of our own will take its place between defaults
//! and environment.
//!
//! The rules are those of Zeek 9.0's `policy/frameworks/management/{config,persistence}.zeek`. A daemon describes its
//! own settings by a [`Schema`], gathers with a [`Resolver`] what was given, and resolves each setting in the order in
//! which `dump-config` is to show them.

mod args;
mod check;
mod dump;
mod error;
mod gather;
mod installation;
mod layers;
pub mod names;
mod redefs;
mod resolve;
mod value;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use mgmt_api::Level;

use self::layers::Layers;
pub use self::{
    args::HostArgs,
    check::Checks,
    dump::{dump_json, dump_text},
    error::{ConfigError, ConfigErrors},
    installation::Installation,
    layers::{Origin, Sourced},
    names::{Known, Schema},
    value::{Listener, Notation, TimeOfDay, Value, ValueError},
};

/// Longest name that Linux keeps for a thread or process (`TASK_COMM_LEN` without the terminator), in bytes.
pub const PROCESS_NAME_MAX: usize = 15;

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
    /// How long the daemon's own rotated files stay there; none for ever, as where an archiver fetches them.
    pub keep: Option<Duration>,
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

/// Where a daemon keeps its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// `Management::state_dir`, absolute.
    pub state: PathBuf,
    /// `Management::spool_dir`, absolute.
    pub spool: PathBuf,
    /// The daemon's own, below the state directory.
    pub working: PathBuf,
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

/// Gathers what was given and turns it into a configuration, collecting problems on the way.
#[derive(Debug)]
pub struct Resolver<'a> {
    schema: &'static Schema,
    layers: Layers,
    environment: &'a Environment,
    /// The Zeek installation, if it was looked for.
    installation: Option<Installation>,
    /// What is wrong.
    pub problems: Vec<ConfigError>,
    /// What an operator should know although it is not wrong.
    pub warnings: Vec<String>,
    /// Whether a warning is of the kind that `check-config` fails for: something was meant, and has no effect.
    pub suspicious: bool,
    /// What has been resolved.
    pub effective: Vec<Effective>,
}

impl Environment {
    /// This process's, as far as a daemon reads it.
    pub fn of_process(schema: &Schema) -> Result<Self, ConfigErrors> {
        let mut variables = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            let read = schema.variables().any(|(variable, _)| variable == name)
                || [names::TESTING, "RUST_LOG", "PATH"].contains(&name);
            match value.into_string() {
                _ if !read => {}
                Ok(value) => {
                    variables.insert(name.to_owned(), value);
                }
                Err(_) => problems.push(ConfigError::NotUtf8(name.to_owned())),
            }
        }
        ConfigErrors::check(problems)?;
        Ok(Self {
            variables,
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        })
    }

    /// Given ones.
    pub fn new<'a>(
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
        current_dir: impl Into<PathBuf>,
    ) -> Self {
        let variables = variables.into_iter();
        Self {
            variables: variables
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            current_dir: current_dir.into(),
        }
    }

    /// A variable; none if it is empty, as Zeek's `getenv` cannot tell the two apart.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The program of this name that `PATH` has first.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(self.get("PATH")?)
            .map(|directory| directory.join(name))
            .find(|candidate| candidate.is_file())
    }
}

fn serialize_display<S: serde::Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Joins without leaving `.` in the result.
pub fn join_plain(base: &Path, path: impl AsRef<Path>) -> PathBuf {
    base.join(path).components().collect()
}
