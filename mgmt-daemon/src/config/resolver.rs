use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    effective::{Effective, HIDDEN, Origin},
    environment::Environment,
    error::{ConfigError, ConfigErrors},
    installation::Installation,
    setting::{Schema, Setting},
    value::{Notation, Value, ValueError},
};

/// Turns what was given into a configuration, collecting problems on the way. Settings are called by their keys.
#[derive(Debug)]
pub struct Resolver<'a> {
    pub(super) schema: &'static Schema,
    pub(super) environment: &'a Environment,
    pub(super) given: BTreeMap<&'static str, Given>,
    /// The Zeek installation, if it was looked for.
    installation: Option<Installation>,
    pub(super) problems: Vec<ConfigError>,
    resolved: Resolved,
}

/// What was given for a setting; what is given later wins.
#[derive(Debug)]
pub(super) struct Given {
    /// The last one counts, unless the setting is a list.
    pub(super) texts: Vec<String>,
    pub(super) notation: Notation,
    pub(super) origin: Origin,
}

/// What there is to know about a configuration besides its values.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// What an operator should know although it is not wrong.
    pub warnings: Vec<String>,
    /// Whether a warning is of the kind that `check-config` fails for: something was meant, and has no effect.
    pub suspicious: bool,
    /// Each effective setting, in the order of the table.
    pub effective: Vec<Effective>,
}

impl Resolved {
    /// The effective setting with this key, if it is shown.
    pub fn shown(&self, key: &str) -> Option<&Effective> {
        self.effective.iter().rfind(|shown| shown.setting.key == key)
    }
}

impl<'a> Resolver<'a> {
    pub fn new(schema: &'static Schema, environment: &'a Environment) -> Self {
        Self {
            schema,
            environment,
            given: BTreeMap::new(),
            installation: None,
            problems: Vec::new(),
            resolved: Resolved::default(),
        }
    }

    /// What was found, or everything that is wrong.
    pub fn finish(mut self) -> Result<Resolved, ConfigErrors> {
        ConfigErrors::check(self.problems)?;
        let place = |key| self.schema.settings().position(|setting| setting.key == key);
        self.resolved
            .effective
            .sort_by_key(|shown| place(shown.setting.key));
        Ok(self.resolved)
    }

    /// The value that was given last, if any. It is not shown.
    pub fn given<T: Value>(&mut self, key: &str) -> Option<T> {
        let given = self.given.get(key)?;
        match T::parse(given.texts.last()?, given.notation) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.wrong(key, problem);
                None
            }
        }
    }

    /// The text that was given last. An empty text counts as nothing given.
    pub fn given_text(&mut self, key: &str) -> Option<String> {
        let text = self.given(key).filter(|text: &String| !text.is_empty());
        if text.is_none() {
            self.given.remove(key);
        }
        text
    }

    pub fn given_list(&self, key: &str) -> &[String] {
        self.given.get(key).map_or(&[], |given| &given.texts)
    }

    /// The value that was given last, else the default. It is not shown.
    pub fn read<T: Value>(&mut self, key: &str) -> T {
        self.given(key).unwrap_or_else(|| self.default(key))
    }

    /// The table's default.
    ///
    /// # Panics
    ///
    /// If it is for people only: that is a mistake in the code.
    pub fn default<T: Value>(&self, key: &str) -> T {
        let default = self.schema.setting(key).default;
        T::parse(default, Notation::Bare).unwrap_or_else(|problem| panic!("the default of {key}: {problem}"))
    }

    /// The value that was given last, else the default; shown either way.
    pub fn take<T: Value>(&mut self, key: &str) -> T {
        let value = self.read(key);
        self.show(key, &value);
        value
    }

    /// Where the value of a setting came from, as far as is known by now.
    pub fn origin(&self, key: &str) -> Origin {
        let shown = self.resolved.shown(key).map(|shown| &shown.origin);
        let given = self.given.get(key).map(|given| &given.origin);
        shown.or(given).cloned().unwrap_or(Origin::Default)
    }

    pub fn show(&mut self, key: &str, value: &impl Value) {
        self.show_from(key, value, self.origin(key));
    }

    /// Shows a setting whose value came from elsewhere.
    pub fn show_from(&mut self, key: &str, value: &impl Value, origin: Origin) {
        let setting = self.schema.setting(key);
        let value = match value.show() {
            value if setting.secret && value != String::new().show() => HIDDEN.to_owned(),
            value => value,
        };
        self.resolved.effective.push(Effective {
            setting,
            value,
            origin,
            note: None,
        });
    }

    pub fn annotate(&mut self, key: &str, note: String) {
        let effective = &mut self.resolved.effective;
        if let Some(shown) = effective.iter_mut().rfind(|shown| shown.setting.key == key) {
            shown.note = Some(note);
        }
    }

    /// A setting has a value of the wrong type.
    pub fn wrong(&mut self, key: &str, mut problem: ValueError) {
        if self.schema.setting(key).secret {
            HIDDEN.clone_into(&mut problem.text);
        }
        self.refuse(key, problem.to_string());
    }

    /// A setting has a value that cannot be used: why, and what to do.
    pub fn refuse(&mut self, key: &str, reason: impl Into<String>) {
        self.refuse_from(self.origin(key), self.schema.setting(key), reason);
    }

    pub(super) fn refuse_from(&mut self, origin: Origin, setting: &Setting, reason: impl Into<String>) {
        self.problems.push(ConfigError::Setting {
            name: origin.name_of(setting),
            origin,
            reason: reason.into(),
        });
    }

    pub fn warn(&mut self, warning: String) {
        self.resolved.warnings.push(warning);
    }

    /// Warns of something that was meant and has no effect.
    pub fn suspect(&mut self, warning: String) {
        self.warn(warning);
        self.resolved.suspicious = true;
    }

    /// A path from where the process was started.
    pub fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        join_plain(&self.environment.current_dir, path)
    }

    pub const fn environment(&self) -> &'a Environment {
        self.environment
    }

    /// The Zeek installation beside us; looked for once.
    pub fn installation(&mut self) -> Installation {
        if let Some(found) = &self.installation {
            return found.clone();
        }
        let prefix = self.given_text("zeek_prefix").map(|prefix| self.absolute(prefix));
        let found = Installation::find(prefix.as_deref(), self.environment);
        self.show("zeek_prefix", &found.prefix);
        if prefix.is_some() && !found.is_there() {
            self.suspect(format!(
                "{}: there is no Zeek in {}, neither bin/zeek nor share/zeek",
                self.origin("zeek_prefix"),
                found.prefix.display()
            ));
        }
        let defaults = ["state_dir", "spool_dir"].map(|key| self.given_text(key).is_none());
        if prefix.is_none() && !found.is_there() && defaults.contains(&true) {
            let place = found.prefix.display();
            self.warn(format!(
                "no Zeek was found, so files go below {place}: give --state-dir and --spool-dir, or --zeek-prefix"
            ));
        }
        self.installation.insert(found).clone()
    }
}

/// Joins without leaving `.` in the result.
pub fn join_plain(base: &Path, path: impl AsRef<Path>) -> PathBuf {
    base.join(path).components().collect()
}
