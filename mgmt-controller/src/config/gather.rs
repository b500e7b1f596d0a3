use std::{fs, path::Path};

use super::{
    ConfigError, Listener, Origin, Resolver,
    names::{self, Known},
    redefs::{self, NotPlain, StatementKind},
    value::Notation,
};
use crate::cli::SettingArgs;

/// Gathering, from the weakest source to the strongest.
impl Resolver<'_> {
    pub(super) fn gather(&mut self, args: &SettingArgs) {
        for (variable, name) in names::ENVIRONMENT {
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
        for path in &args.redefs {
            match fs::read(path) {
                Ok(script) => self.gather_script(path, &String::from_utf8_lossy(&script)),
                Err(source) => self.problems.push(ConfigError::Redefs {
                    path: path.clone(),
                    source,
                }),
            }
        }
        for assignment in &args.assignments {
            self.gather_assignment(assignment);
        }
        self.gather_flags(args);
    }

    fn gather_script(&mut self, path: &Path, script: &str) {
        for statement in redefs::statements(script) {
            let origin = Origin::Script {
                path: path.to_path_buf(),
                line: statement.line,
            };
            match statement.kind {
                StatementKind::Assign { name, value } => match names::lookup(&name) {
                    Known::Read(name) => self.layers.set(name, value, Notation::Script, origin),
                    Known::Unsupported(reason) => self.unsupported(origin, reason),
                    Known::Foreign => self.warnings.push(format!(
                        "{origin}: {name} is no setting of the controller, ignored"
                    )),
                    Known::Unknown => self.warnings.push(format!(
                        "{origin}: Zeek's controller has no setting {name}, ignored"
                    )),
                },
                StatementKind::NotPlain { name, reason } => self.not_plain(origin, &name, reason),
            }
        }
    }

    /// DIFFERENCE(plain-redefs): Zeek evaluates its scripts; we read plain values only, and refuse to start where a setting that we
    /// obey is redefined in any other way.
    fn not_plain(&mut self, origin: Origin, name: &str, reason: NotPlain) {
        match names::lookup(name) {
            Known::Read(name) => self.problems.push(ConfigError::NotPlain {
                origin,
                name,
                reason: reason.to_string(),
            }),
            Known::Unsupported(reason) => self.unsupported(origin, reason),
            Known::Foreign | Known::Unknown => {
                self.warnings
                    .push(format!("{origin}: redefinition of {name} ignored: {reason}"));
            }
        }
    }

    fn unsupported(&mut self, origin: Origin, reason: &str) {
        self.problems.push(ConfigError::Unusable {
            origin,
            name: "Management::Controller::tls_options_websocket",
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
        match names::lookup(name) {
            Known::Read(name) => self.layers.set(name, value, Notation::Bare, Origin::Assignment),
            Known::Unsupported(reason) => self.unsupported(Origin::Assignment, reason),
            Known::Foreign => self
                .warnings
                .push(format!("{name} is no setting of the controller, ignored")),
            Known::Unknown => self.problems.push(ConfigError::UnknownName(name.to_owned())),
        }
    }

    fn gather_flags(&mut self, args: &SettingArgs) {
        let texts = [
            (names::NAME, &args.name, "--name"),
            (names::STATE_DIR, &args.state_dir, "--state-dir"),
            (names::SPOOL_DIR, &args.spool_dir, "--spool-dir"),
        ];
        for (name, value, flag) in texts {
            if let Some(value) = value {
                self.layers.set(name, value, Notation::Bare, Origin::Flag(flag));
            }
        }
        let listeners = [
            (
                args.websocket_listen,
                names::LISTEN_ADDRESS_WEBSOCKET,
                names::LISTEN_PORT_WEBSOCKET,
                "--websocket-listen",
            ),
            (args.listen, names::LISTEN_ADDRESS, names::LISTEN_PORT, "--listen"),
        ];
        for (listener, address_name, port_name, flag) in listeners {
            let port = match listener {
                None => continue,
                Some(Listener::Off) => String::from("0/unknown"),
                Some(Listener::At(at)) => {
                    self.layers.set(
                        address_name,
                        at.ip().to_string(),
                        Notation::Bare,
                        Origin::Flag(flag),
                    );
                    format!("{}/tcp", at.port())
                }
            };
            self.layers
                .set(port_name, port, Notation::Bare, Origin::Flag(flag));
        }
    }
}
