use std::{collections::BTreeMap, path::PathBuf};

use super::{
    error::{ConfigError, ConfigErrors},
    setting::Schema,
};

/// What is read of the environment besides settings: where programs are, and what they are to be given.
const READ_ANYWAY: [&str; 3] = ["LANG", "PATH", "TZ"];

/// The environment variables, the directory and the configuration file that a process starts with.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    pub(super) current_dir: PathBuf,
    /// The configuration file, if it is there, where no other is named.
    pub(super) config_file: Option<PathBuf>,
}

impl Environment {
    /// This process's, as far as a daemon reads it.
    pub fn of_process(schema: &Schema) -> Result<Self, ConfigErrors> {
        let mut variables = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            let of_setting = schema.settings().any(|setting| setting.variable == Some(name));
            let is_read = of_setting || READ_ANYWAY.contains(&name) || name == schema.config_variable();
            if !is_read {
                continue;
            }
            match value.into_string() {
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
            config_file: Some(schema.config_file()),
        })
    }

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
            config_file: None,
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
