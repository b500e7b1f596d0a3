use std::path::{Path, PathBuf};

use broker_endpoint::read_file;
use clap::ArgMatches;

use super::{
    effective::Origin,
    environment::Environment,
    error::ConfigError,
    options::{ASSIGNMENTS, CONFIG, REDEFS},
    redefs::{self, NotPlain, Statement},
    resolver::{Given, Resolver},
    setting::{Known, Schema, Setting, Takes},
    value::Notation,
};
use crate::files;

/// How many loaded scripts are looked into.
const LOADED_MAX: usize = 64;

/// The file that `@load` means by a path.
fn script_at(path: &Path) -> Option<PathBuf> {
    [
        files::with_suffix(path, ".zeek"),
        path.join("__load__.zeek"),
        path.to_path_buf(),
    ]
    .into_iter()
    .find(|candidate: &PathBuf| candidate.is_file())
}

/// Gathering, from the weakest source to the strongest.
impl<'a> Resolver<'a> {
    /// Gathers everything that a daemon is given.
    pub fn gather(schema: &'static Schema, environment: &'a Environment, options: &ArgMatches) -> Self {
        let mut resolver = Self::new(schema, environment);
        let variable = environment.get(&schema.config_variable()).map(PathBuf::from);
        let config = options.get_one::<PathBuf>(CONFIG).cloned().or(variable);
        let usual = environment.config_file.clone().filter(|path| path.exists());
        if let Some(path) = config.or(usual) {
            resolver.gather_config(&path);
        }
        for setting in schema.settings() {
            if let Some(variable) = setting.variable
                && let Some(text) = environment.get(variable)
            {
                resolver.give(setting, vec![text.to_owned()], Origin::Environment(variable));
            }
        }
        for path in options.get_many::<PathBuf>(REDEFS).into_iter().flatten() {
            resolver.gather_file(path);
        }
        for assignment in options.get_many::<String>(ASSIGNMENTS).into_iter().flatten() {
            resolver.assign(assignment);
        }
        for setting in schema.settings() {
            let texts: Vec<String> = match setting.option {
                None => continue,
                Some(Takes::Nothing) if !options.get_flag(setting.key) => continue,
                Some(Takes::Nothing) => vec![String::from("T")],
                Some(_) => match options.get_many(setting.key) {
                    None => continue,
                    Some(texts) => texts.cloned().collect(),
                },
            };
            resolver.give(setting, texts, Origin::Option(setting.key));
        }
        resolver
    }

    /// Gives a setting what an option or a variable says.
    pub(super) fn give(&mut self, setting: &'static Setting, texts: Vec<String>, origin: Origin) {
        let sets = match (setting.sets, texts.last()) {
            (Some(sets), Some(text)) => sets(text),
            _ => return self.set(setting, texts, Notation::Bare, origin),
        };
        match sets {
            Ok(values) => {
                for (key, text) in values {
                    let setting = self.schema.setting(key);
                    self.set(setting, vec![text], Notation::Bare, origin.clone());
                }
            }
            Err(problem) => self.refuse_from(origin, setting, problem.to_string()),
        }
    }

    /// Gives a setting that was not given another default, as its option has it.
    pub fn fill(&mut self, key: &str, text: impl Into<String>, origin: Origin) {
        if !self.given.contains_key(key) {
            self.give(self.schema.setting(key), vec![text.into()], origin);
        }
    }

    pub(super) fn set(
        &mut self,
        setting: &'static Setting,
        texts: Vec<String>,
        notation: Notation,
        origin: Origin,
    ) {
        let given = Given {
            texts,
            notation,
            origin,
        };
        self.given.insert(setting.key, given);
    }

    /// Gathers what a script redefines.
    fn gather_file(&mut self, path: &Path) {
        match read_file(&self.absolute(path)) {
            Ok(script) => {
                let script = String::from_utf8_lossy(&script);
                self.gather_script(path, &script);
                self.look_into_loaded(path, &script, &mut vec![path.to_path_buf()]);
            }
            Err(source) => self.problems.push(ConfigError::Redefs {
                path: path.to_path_buf(),
                source,
            }),
        }
    }

    /// DIFFERENCE(plain-redefs): Zeek evaluates its scripts; we read plain values only, and refuse to start where a setting that we
    /// obey is redefined in any other way.
    fn gather_script(&mut self, path: &Path, script: &str) {
        let daemon = self.schema.daemon;
        let statements = redefs::statements(script);
        let mut lines = script.lines().map(str::trim_start);
        // A file that is empty yet, or all commented out, is meant.
        if statements.is_empty() && lines.any(|line| !line.is_empty() && !line.starts_with('#')) {
            self.suspect(format!("{}: there is no redef in it", path.display()));
        }
        for Statement { line, name, value } in statements {
            let path = path.to_path_buf();
            let origin = Origin::Script { path, line };
            match (self.schema.look_up(&name), value) {
                (_, Err(reason @ NotPlain::Hidden)) => {
                    self.suspect(format!(
                        "{origin}: the redefinition of {name} is not read: {reason}"
                    ));
                }
                (Known::Setting(setting), Ok(value)) => {
                    self.set(setting, vec![value], Notation::Script, origin);
                }
                (Known::Setting(setting), Err(reason)) => {
                    let reason = format!(
                        "cannot read the redefinition: {reason}; give the value on the command line instead"
                    );
                    self.refuse_from(origin, setting, reason);
                }
                (Known::Foreign | Known::Unknown, Err(reason)) => {
                    self.warn(format!("{origin}: redefinition of {name} ignored: {reason}"));
                }
                (Known::Foreign, Ok(_)) => {
                    self.warn(format!("{origin}: {name} is no setting of the {daemon}, ignored"));
                }
                (Known::Unknown, Ok(_)) => {
                    self.warn(format!(
                        "{origin}: Zeek's {daemon} has no setting {name}, ignored"
                    ));
                }
            }
        }
    }

    /// Warns of settings in the scripts that a script loads from beside it, which are not followed. Those of Zeek's own path are others'.
    fn look_into_loaded(&mut self, path: &Path, script: &str, seen: &mut Vec<PathBuf>) {
        for (line, loaded) in redefs::loads_from_beside(script) {
            let Some(file) = script_at(&path.with_file_name("").join(loaded.trim_start_matches("./"))) else {
                continue;
            };
            let Ok(text) = read_file(&file) else { continue };
            if seen.contains(&file) || seen.len() >= LOADED_MAX {
                continue;
            }
            seen.push(file.clone());
            let text = String::from_utf8_lossy(&text);
            for statement in redefs::statements(&text) {
                let name = statement.name;
                if matches!(self.schema.look_up(&name), Known::Setting(_)) {
                    self.suspect(format!(
                        "{}:{line}: @load {loaded} is not followed, so {name} in {}:{} is not read; give that file by --redefs, too",
                        path.display(),
                        file.display(),
                        statement.line
                    ));
                }
            }
            self.look_into_loaded(&file, &text, seen);
        }
    }

    /// Gathers `MODULE::NAME=VALUE`.
    pub fn assign(&mut self, argument: &str) {
        let plain = |name: &str| {
            let part_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            !name.is_empty() && name.chars().all(part_of_name)
        };
        let Some((name, value)) = argument.split_once('=').filter(|(name, _)| plain(name)) else {
            self.problems
                .push(ConfigError::NotAnAssignment(argument.to_owned()));
            return;
        };
        let daemon = self.schema.daemon;
        match self.schema.look_up(name) {
            Known::Setting(setting) => {
                self.set(
                    setting,
                    vec![value.to_owned()],
                    Notation::Bare,
                    Origin::Assignment,
                );
            }
            Known::Foreign => self.warn(format!("{name} is no setting of the {daemon}, ignored")),
            Known::Unknown => self.problems.push(ConfigError::UnknownName {
                daemon,
                name: name.to_owned(),
            }),
        }
    }
}
