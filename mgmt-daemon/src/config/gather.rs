use std::path::{Path, PathBuf};

use broker_endpoint::read_file;

use super::{
    ConfigError, Environment, HostArgs, Listener, Notation, Origin, Resolver, Schema,
    layers::Layers,
    names::{self, Known},
    redefs::{self, NotPlain, StatementKind},
};

/// How many loaded scripts are looked into.
const LOADED_MAX: usize = 64;

/// The file that `@load` means by a path.
fn script_at(path: &Path) -> Option<PathBuf> {
    let mut with_extension = path.as_os_str().to_owned();
    with_extension.push(".zeek");
    [
        with_extension.into(),
        path.join("__load__.zeek"),
        path.to_path_buf(),
    ]
    .into_iter()
    .find(|candidate: &PathBuf| candidate.is_file())
}

/// Gathering, from the weakest source to the strongest.
impl<'a> Resolver<'a> {
    /// Gathers what every daemon can be given. Options of its own come on top, by [`Self::flag`].
    pub fn gather(schema: &'static Schema, environment: &'a Environment, args: &HostArgs) -> Self {
        let mut resolver = Self {
            schema,
            layers: Layers::default(),
            environment,
            installation: None,
            problems: Vec::new(),
            warnings: Vec::new(),
            suspicious: false,
            effective: Vec::new(),
        };
        resolver.gather_environment();
        for path in &args.redefs {
            match read_file(path) {
                Ok(script) => {
                    let script = String::from_utf8_lossy(&script);
                    resolver.gather_script(path, &script);
                    resolver.look_into_loaded(path, &script, &mut vec![path.clone()]);
                }
                Err(source) => resolver.problems.push(ConfigError::Redefs {
                    path: path.clone(),
                    source,
                }),
            }
        }
        for assignment in &args.assignments {
            resolver.gather_assignment(assignment);
        }
        resolver.flag(names::STATE_DIR, args.state_dir.as_deref(), "--state-dir");
        resolver.flag(names::SPOOL_DIR, args.spool_dir.as_deref(), "--spool-dir");
        resolver
    }

    /// Gives a setting the value of an option, if that was given.
    pub fn flag(&mut self, name: &'static str, value: Option<&str>, flag: &'static str) {
        if let Some(value) = value {
            self.layers.set(name, value, Notation::Bare, Origin::Flag(flag));
        }
    }

    /// Gives an address and a port the value of an option, if that was given.
    pub fn listener_flag(
        &mut self,
        (address_name, port_name): (&'static str, &'static str),
        listener: Option<&Listener>,
        flag: &'static str,
    ) {
        let port = match listener {
            None => return,
            Some(Listener::Off) => String::from("0/unknown"),
            Some(Listener::At(at)) => {
                self.flag(address_name, Some(&at.host), flag);
                format!("{}/tcp", at.port)
            }
        };
        self.flag(port_name, Some(&port), flag);
    }

    fn gather_environment(&mut self) {
        for (variable, name) in self.schema.variables() {
            if let Some(value) = self.environment.get(variable) {
                self.layers
                    .set(name, value, Notation::Bare, Origin::Environment(variable));
            }
        }
        if self.environment.get(names::TESTING).is_some() {
            for (name, value) in [
                (names::SPOOL_DIR, "."),
                (names::STATE_DIR, "."),
                (names::ROTATION_INTERVAL, "0secs"),
            ] {
                self.layers
                    .set(name, value, Notation::Bare, Origin::Environment(names::TESTING));
            }
        }
    }

    fn gather_script(&mut self, path: &Path, script: &str) {
        let daemon = self.schema.daemon;
        for statement in redefs::statements(script) {
            let origin = Origin::Script {
                path: path.to_path_buf(),
                line: statement.line,
            };
            match statement.kind {
                StatementKind::Assign { name, value } => match self.schema.look_up(&name) {
                    Known::Read(name) => self.layers.set(name, value, Notation::Script, origin),
                    Known::Unsupported { name, reason } => self.unsupported(origin, name, reason),
                    Known::Foreign => self
                        .warnings
                        .push(format!("{origin}: {name} is no setting of the {daemon}, ignored")),
                    Known::Unknown => self.warnings.push(format!(
                        "{origin}: Zeek's {daemon} has no setting {name}, ignored"
                    )),
                },
                StatementKind::NotPlain { name, reason } => self.not_plain(origin, &name, reason),
                StatementKind::Hidden { name } => {
                    self.suspect(format!(
                        "{origin}: the redefinition of {name} is not read: it stands inside another statement"
                    ));
                }
            }
        }
    }

    /// Warns of something that was meant and has no effect.
    fn suspect(&mut self, warning: String) {
        self.warnings.push(warning);
        self.suspicious = true;
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
                let name = statement.kind.name();
                if matches!(
                    self.schema.look_up(name),
                    Known::Read(_) | Known::Unsupported { .. }
                ) {
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

    /// DIFFERENCE(plain-redefs): Zeek evaluates its scripts; we read plain values only, and refuse to start where a setting that we
    /// obey is redefined in any other way.
    fn not_plain(&mut self, origin: Origin, name: &str, reason: NotPlain) {
        match self.schema.look_up(name) {
            Known::Read(name) => self.problems.push(ConfigError::NotPlain {
                origin,
                name,
                reason: reason.to_string(),
            }),
            Known::Unsupported { name, reason } => self.unsupported(origin, name, reason),
            Known::Foreign | Known::Unknown => {
                self.warnings
                    .push(format!("{origin}: redefinition of {name} ignored: {reason}"));
            }
        }
    }

    fn unsupported(&mut self, origin: Origin, name: &'static str, reason: &str) {
        self.problems.push(ConfigError::Unusable {
            origin,
            name,
            reason: reason.to_owned(),
        });
    }

    fn gather_assignment(&mut self, argument: &str) {
        let Some((name, value)) = argument.split_once('=') else {
            self.problems
                .push(ConfigError::NotAnAssignment(argument.to_owned()));
            return;
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        if name.is_empty() || !name.chars().all(plain) {
            self.problems
                .push(ConfigError::NotAnAssignment(argument.to_owned()));
            return;
        }
        let daemon = self.schema.daemon;
        match self.schema.look_up(name) {
            Known::Read(name) => self.layers.set(name, value, Notation::Bare, Origin::Assignment),
            Known::Unsupported { name, reason } => self.unsupported(Origin::Assignment, name, reason),
            Known::Foreign => self
                .warnings
                .push(format!("{name} is no setting of the {daemon}, ignored")),
            Known::Unknown => self.problems.push(ConfigError::UnknownName {
                daemon,
                name: name.to_owned(),
            }),
        }
    }
}
