use std::{fmt, io, path::PathBuf};

use super::{effective::Origin, value::ValueError};
use crate::process::with_causes;

/// The configuration is not usable; every problem that was found.
#[derive(Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

/// One problem of the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value of the wrong type.
    #[error("{origin}: {name}: {problem}")]
    Value {
        /// Where it was given.
        origin: Origin,
        /// The setting.
        name: &'static str,
        /// What is wrong.
        problem: ValueError,
    },
    /// A value of the right type that cannot be used.
    #[error("{origin}: {name}: {reason}")]
    Unusable {
        /// Where it was given.
        origin: Origin,
        /// The setting.
        name: &'static str,
        /// Why, and what to do.
        reason: String,
    },
    /// A positional argument that is no assignment.
    #[error("argument {0:?} is not of the form MODULE::NAME=VALUE; see --help")]
    NotAnAssignment(String),
    /// A command-line assignment to a name that Zeek does not have.
    #[error(
        "command-line assignment: Zeek's {daemon} has no setting {name}; dump-config lists those that have an effect"
    )]
    UnknownName {
        /// What the daemon is.
        daemon: &'static str,
        /// The name.
        name: String,
    },
    /// A redefinition that matters but cannot be evaluated here.
    #[error(
        "{origin}: cannot read the redefinition of {name}: {reason}; give the value on the command line instead"
    )]
    NotPlain {
        /// Where it stands.
        origin: Origin,
        /// The setting.
        name: &'static str,
        /// Why not.
        reason: String,
    },
    /// A file of redefinitions is not readable.
    #[error("cannot read the redefinitions in {path}")]
    Redefs {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// An environment variable is not valid UTF-8.
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
            ConfigError::Value { origin, .. } | ConfigError::Unusable { origin, .. } => {
                origin.is_command_line()
            }
            ConfigError::NotAnAssignment(_) | ConfigError::UnknownName { .. } => true,
            ConfigError::NotPlain { .. } | ConfigError::Redefs { .. } | ConfigError::NotUtf8(_) => false,
        })
    }

    /// The problems, in the order in which they were found; at least one.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&with_causes(problem))?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
