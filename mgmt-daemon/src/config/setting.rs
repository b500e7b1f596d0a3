//! What a setting is, and which ones a daemon has.

use std::{fmt, path::PathBuf};

use clap::{Arg, Command};

use super::value::ValueError;

/// What a text of an option or an environment variable sets: the keys of other settings, or its own, with their values.
type Sets = fn(&str) -> Result<Vec<(&'static str, String)>, ValueError>;

/// A row of the table of settings: how one is called, where it can be given, and what it does. Its type is that of the variable that it
/// is [taken](super::Resolver::take) into.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// What the code calls it, and the operator where Zeek has no name for it.
    pub key: &'static str,
    /// Zeek's name, and those of earlier releases.
    pub zeek: &'static [&'static str],
    pub variable: Option<&'static str>,
    /// The option, if there is one: it is called as the key, with dashes.
    pub option: Option<Takes>,
    /// What an option or a variable sets, if they are not written as the setting itself.
    pub sets: Option<Sets>,
    /// The default as it would be given. In backticks where it is not fixed, which is for people.
    pub default: &'static str,
    pub text: &'static str,
    pub secret: bool,
}

/// What an option takes; names stand for values in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it is given or not.
    Nothing,
    One(&'static str),
    /// A value after `=`, or none, which is an empty one.
    Optional(&'static str),
    /// A value each time that it is given, which may look like an option.
    Many(&'static str),
}

impl Setting {
    /// A setting that cannot be given yet.
    pub const fn new(key: &'static str, default: &'static str, text: &'static str) -> Self {
        Self {
            key,
            zeek: &[],
            variable: None,
            option: None,
            sets: None,
            default,
            text,
            secret: false,
        }
    }

    /// Zeek has it, by this name, and by those of earlier releases.
    #[must_use]
    pub const fn zeek(mut self, names: &'static [&'static str]) -> Self {
        self.zeek = names;
        self
    }

    #[must_use]
    pub const fn variable(mut self, name: &'static str) -> Self {
        self.variable = Some(name);
        self
    }

    #[must_use]
    pub const fn option(mut self, takes: Takes) -> Self {
        self.option = Some(takes);
        self
    }

    /// Its option or variable is written in another way, or gives several settings at once.
    #[must_use]
    pub const fn sets(mut self, sets: Sets) -> Self {
        self.sets = Some(sets);
        self
    }

    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub fn flag(&self) -> Option<String> {
        self.option.map(|_| flag(self.key))
    }

    /// Zeek's name, else the key.
    pub fn name(&self) -> &'static str {
        self.zeek.first().copied().unwrap_or(self.key)
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The option of the setting with this key.
pub(super) fn flag(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// What the daemon is: `controller`.
    pub daemon: &'static str,
    /// The module of its settings in Zeek.
    pub module: &'static str,
    /// Its own settings, and those of every daemon.
    pub tables: [&'static [Setting]; 2],
    /// Options of earlier releases, and what to do instead.
    pub gone: &'static [(&'static str, &'static str)],
    /// Subcommands that only this daemon has.
    pub own_commands: &'static [OwnCommand],
}

/// The name of a subcommand, and what makes it of the arguments by which settings are given.
pub type OwnCommand = (&'static str, fn(&[Arg]) -> Command);

/// What a name of Zeek's means to a daemon.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known {
    /// A setting that has an effect.
    Setting(&'static Setting),
    /// Another process's setting, or anything else of Zeek.
    Foreign,
    /// A name in the framework's modules that Zeek does not have.
    Unknown,
}

impl Schema {
    /// Where the configuration file is by default.
    pub(super) fn config_file(&self) -> PathBuf {
        PathBuf::from(format!("/etc/zeek-mgmt/{}.toml", self.daemon))
    }

    /// The environment variable that says where it is.
    pub(super) fn config_variable(&self) -> String {
        format!("MGMT_{}_CONFIG", self.daemon.to_uppercase())
    }

    /// The settings, in the order in which they are shown.
    pub fn settings(&self) -> impl Iterator<Item = &'static Setting> {
        self.tables.into_iter().flatten()
    }

    /// The setting that the code calls so.
    ///
    /// # Panics
    ///
    /// If there is none: that is a mistake in the code.
    pub fn setting(&self, key: &str) -> &'static Setting {
        let setting = self.settings().find(|setting| setting.key == key);
        setting.unwrap_or_else(|| panic!("{key} is in the table of settings"))
    }

    pub(super) fn look_up(&self, name: &str) -> Known {
        const MODULES: [&str; 4] = [
            "Management::Agent::",
            "Management::Controller::",
            "Management::Node::",
            "Management::Supervisor::",
        ];
        if let Some(setting) = self.settings().find(|setting| setting.zeek.contains(&name)) {
            return Known::Setting(setting);
        }
        let known = match name.strip_prefix(self.module) {
            // Standard error goes where the starter wants it.
            Some(own) => ["stdout_file", "stderr_file"].contains(&own),
            None => {
                !name.starts_with("Management::")
                    || name == "Management::role"
                    || MODULES.iter().any(|module| name.starts_with(module))
            }
        };
        if known { Known::Foreign } else { Known::Unknown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        static OWN: [Setting; 1] =
            [Setting::new("name", "", "").zeek(&["Management::Agent::name", "Management::Agent::old"])];
        let schema = Schema {
            daemon: "agent",
            module: "Management::Agent::",
            tables: [&OWN, &[]],
            gone: &[],
            own_commands: &[],
        };
        for (name, expected) in [
            ("Management::Agent::name", "its own"),
            ("Management::Agent::old", "its own"),
            ("Management::Agent::nmae", "unknown"),
            ("Management::Agent::stdout_file", "foreign"),
            ("Management::role", "foreign"),
            ("Management::rule", "unknown"),
            ("Management::Controller::nmae", "foreign"),
            ("mmdb_dir", "foreign"),
        ] {
            let found = match schema.look_up(name) {
                Known::Setting(setting) => {
                    assert_eq!(setting.key, "name");
                    "its own"
                }
                Known::Foreign => "foreign",
                Known::Unknown => "unknown",
            };
            assert_eq!(found, expected, "{name}");
        }
    }
}
