//! Effective settings, with their origins, and what `dump-config` prints of them.

use std::{
    fmt::{self, Write},
    path::PathBuf,
};

use super::setting::{Setting, flag};
use crate::log::{LogFormat, for_terminals};

/// Stands for a secret where values are shown.
pub(super) const HIDDEN: &str = "(not shown)";

/// Where a value came from, from the weakest to the strongest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Zeek's default, or ours where Zeek has no such setting.
    Default,
    /// The default while the setting with this key is on.
    Setting(&'static str),
    /// The default of an agent that is enrolled, as this file says.
    Enrolment(PathBuf),
    /// The Zeek installation found at this prefix.
    Installation(PathBuf),
    /// A line of the configuration file.
    File {
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    Environment(&'static str),
    /// A line of a file given by `--redefs`.
    Script {
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// `MODULE::NAME=VALUE` on the command line.
    Assignment,
    /// The option of the setting with this key.
    Option(&'static str),
}

impl Origin {
    /// Whether the value stands on the command line itself.
    pub fn is_command_line(&self) -> bool {
        matches!(self, Self::Assignment | Self::Option(_))
    }

    /// What a setting is called there.
    pub(super) fn name_of(&self, setting: &Setting) -> &'static str {
        match self {
            Self::File { .. } => setting.key,
            _ => setting.name(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Setting(key) => write!(f, "setting {key}"),
            Self::Enrolment(path) => write!(f, "enrolment, {}", path.display()),
            Self::Installation(prefix) => write!(f, "Zeek installation at {}", prefix.display()),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::File { path, line } | Self::Script { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Assignment => f.write_str("command-line assignment"),
            Self::Option(key) => write!(f, "option {}", flag(key)),
        }
    }
}

#[derive(Clone, Debug, serde::Serialize)]
pub struct Effective {
    #[serde(rename = "name", serialize_with = "serialize_display")]
    pub setting: &'static Setting,
    /// As it would stand in a Zeek script.
    pub value: String,
    #[serde(serialize_with = "serialize_display")]
    pub origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

fn serialize_display<S: serde::Serializer>(
    value: &impl fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Each setting, one a line: name, value, origin. It is a script that `--redefs` and Zeek read, where settings that Zeek does not have,
/// and values that are not shown, are comments.
pub fn dump_text(effective: &[Effective]) -> String {
    let mut text = String::new();
    let lines: Vec<String> = effective
        .iter()
        .map(|shown| {
            let readable = !shown.setting.zeek.is_empty() && shown.value != HIDDEN;
            let keyword = if readable { "redef " } else { "#     " };
            format!("{keyword}{} = {};", shown.setting, shown.value)
        })
        .collect();
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    for (shown, line) in effective.iter().zip(lines) {
        let note = shown.note.iter().map(|note| format!(" ({note})"));
        let note = note.collect::<String>();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line:width$}  # {}{note}", shown.origin);
    }
    for_terminals(&text, LogFormat::Text)
}

/// Each setting, as a JSON array of objects with `name`, `value`, `origin` and sometimes `note`.
pub fn dump_json(effective: &[Effective]) -> String {
    let mut text = serde_json::to_string_pretty(effective).unwrap_or_default();
    text.push('\n');
    for_terminals(&text, LogFormat::Json)
}
