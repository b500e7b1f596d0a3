//! Settings by Zeek's names, from every place where they can be given.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::{
    ConfigError,
    value::{Notation, Value},
};

/// Where a value came from, from the weakest to the strongest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Zeek's default, or ours where Zeek has no such setting.
    Default,
    /// The Zeek installation found at this prefix.
    Installation(PathBuf),
    /// An environment variable.
    Environment(&'static str),
    /// A line of a file given by `--redefs`.
    Script {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// `MODULE::NAME=VALUE` on the command line.
    Assignment,
    /// An option on the command line.
    Flag(&'static str),
}

impl Origin {
    /// Whether the value stands on the command line itself.
    pub fn is_command_line(&self) -> bool {
        matches!(self, Self::Assignment | Self::Flag(_))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Installation(prefix) => write!(f, "Zeek installation at {}", prefix.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Script { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Assignment => f.write_str("command-line assignment"),
            Self::Flag(flag) => write!(f, "option {flag}"),
        }
    }
}

/// A value with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub origin: Origin,
}

/// What was given for each setting; what is given later wins.
#[derive(Debug, Default)]
pub(super) struct Layers {
    given: BTreeMap<&'static str, Given>,
}

#[derive(Debug)]
struct Given {
    text: String,
    notation: Notation,
    origin: Origin,
}

impl Layers {
    /// Gives a setting a value, over what was given before.
    pub(super) fn set(
        &mut self,
        name: &'static str,
        text: impl Into<String>,
        notation: Notation,
        origin: Origin,
    ) {
        let text = text.into();
        let given = Given {
            text,
            notation,
            origin,
        };
        self.given.insert(name, given);
    }

    /// The value that was given last, if any.
    pub(super) fn get<T: Value>(&self, name: &'static str) -> Result<Option<Sourced<T>>, ConfigError> {
        let Some(given) = self.given.get(name) else {
            return Ok(None);
        };
        match T::parse(&given.text, given.notation) {
            Ok(value) => Ok(Some(Sourced {
                value,
                origin: given.origin.clone(),
            })),
            Err(problem) => Err(ConfigError::Value {
                origin: given.origin.clone(),
                name,
                problem,
            }),
        }
    }
}
