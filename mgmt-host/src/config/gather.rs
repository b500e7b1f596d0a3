use std::{fs, path::Path};

use super::{
    ConfigError, Environment, HostArgs, Listener, Notation, Origin, Resolver, Schema,
    layers::Layers,
    names::{self, Known},
    redefs::{self, NotPlain, StatementKind},
};

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
            effective: Vec::new(),
        };
        resolver.gather_environment();
        for path in &args.redefs {
            match fs::read(path) {
                Ok(script) => resolver.gather_script(path, &String::from_utf8_lossy(&script)),
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
            }
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
