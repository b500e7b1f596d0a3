use std::{fmt, io, path::PathBuf};

use broker_endpoint::with_causes;

use super::effective::Origin;

/// The configuration is not usable; every problem that was found.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("{origin}: {name}: {reason}")]
    Setting {
        origin: Origin,
        name: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    #[error("argument {0:?} is not of the form MODULE::NAME=VALUE; see --help")]
    NotAnAssignment(String),
    /// An assignment on the command line, to a name that Zeek does not have.
    #[error(
        "command-line assignment: Zeek's {daemon} has no setting {name}; dump-config lists those that have an effect"
    )]
    UnknownName { daemon: &'static str, name: String },
    #[error("cannot read the configuration file {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("{origin}: {reason}")]
    Toml { origin: Origin, reason: String },
    #[error("{origin}: the {daemon} has no setting {key}; example-config shows them all")]
    UnknownKey {
        origin: Origin,
        daemon: &'static str,
        key: String,
    },
    #[error("cannot read the redefinitions in {path}")]
    Redefs { path: PathBuf, source: io::Error },
    #[error("environment variable {0}: not valid UTF-8")]
    NotUtf8(String),
}

impl ConfigErrors {
    /// What was found; nothing if there is nothing.
    pub fn check(problems: Vec<ConfigError>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self(problems))
        }
    }

    /// Whether the command line itself is wrong, rather than what it refers to.
    pub fn is_usage(&self) -> bool {
        self.0.iter().any(|error| match error {
            ConfigError::Setting { origin, .. } => origin.is_command_line(),
            ConfigError::NotAnAssignment(_) | ConfigError::UnknownName { .. } => true,
            ConfigError::File { .. }
            | ConfigError::Toml { .. }
            | ConfigError::UnknownKey { .. }
            | ConfigError::Redefs { .. }
            | ConfigError::NotUtf8(_) => false,
        })
    }

    /// The problems, in the order in which they were found; at least one.
    pub fn iter(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|error| with_causes(error))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}
