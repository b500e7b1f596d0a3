use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use broker_codec::data::{Port, Protocol};
use broker_endpoint::tls::{TlsConfig, ZeekTlsOptions};

use super::{
    Config, ConfigError, Effective, Listener, LogConfig, LogFormat, Origin, PROCESS_NAME_MAX, Resolver,
    RotationConfig, TimeOfDay, ValueError,
    installation::Installation,
    layers::Sourced,
    names,
    value::{Notation, Value},
};
use crate::{
    cli::SettingArgs,
    core::{Level, Settings},
    process::with_causes,
};

/// Stands for a secret where values are shown.
const HIDDEN: &str = "(not shown)";

/// Resolving, in the order in which settings are shown.
impl Resolver<'_> {
    pub(super) fn resolve(&mut self, args: &SettingArgs) -> Config {
        let name = self.name();
        let (working_dir, spool_dir) = self.directories(args, &name);
        let store_directory = self.take(names::STORE_DIRECTORY, String::from(".")).value;
        let broker = self.listener(
            names::LISTEN_ADDRESS,
            names::LISTEN_PORT,
            names::DEFAULT_PORT,
            Port::tcp(2150),
        );
        let websocket = self.listener(
            names::LISTEN_ADDRESS_WEBSOCKET,
            names::LISTEN_PORT_WEBSOCKET,
            names::DEFAULT_PORT_WEBSOCKET,
            Port::tcp(2149),
        );
        self.refuse_same_port(broker, websocket);
        let settings = self.settings(broker);
        let broker_tls = self.broker_tls();
        let connect_retry = self.take(names::CONNECT_RETRY, Duration::from_secs(1)).value;
        let management_log = self.management_log(&spool_dir);
        Config {
            name,
            store_dir: join_plain(&working_dir, &store_directory),
            working_dir,
            broker,
            broker_tls,
            connect_retry,
            websocket,
            settings,
            management_log,
            process_name: self.process_name(args),
            log_filter: self.log_filter(args),
            log_format: self.log_format(args),
            ready_file: self.file("ready file", "--ready-file", args.ready_file.as_deref()),
            journal: self.file("journal", "--journal", args.journal.as_deref()),
            warnings: Vec::new(),
            effective: Vec::new(),
        }
    }

    /// The value that was given last, else the default; shown either way.
    fn take<T: Value>(&mut self, name: &'static str, default: T) -> Sourced<T> {
        let sourced = match self.layers.get(name) {
            Ok(Some(sourced)) => sourced,
            Ok(None) => Sourced {
                value: default,
                origin: Origin::Default,
            },
            Err(problem) => {
                self.problems.push(problem);
                Sourced {
                    value: default,
                    origin: Origin::Default,
                }
            }
        };
        self.show(name, sourced.value.show(), sourced.origin.clone());
        sourced
    }

    /// The text that was given last, where an empty text counts as nothing given.
    fn take_text(&mut self, name: &'static str) -> Option<Sourced<String>> {
        match self.layers.get::<String>(name) {
            Ok(sourced) => sourced.filter(|sourced| !sourced.value.is_empty()),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    fn show(&mut self, name: &'static str, value: String, origin: Origin) {
        self.effective.push(Effective {
            name,
            value,
            origin,
            note: None,
        });
    }

    fn annotate(&mut self, name: &str, note: &str) {
        if let Some(shown) = self.effective.iter_mut().rfind(|shown| shown.name == name) {
            shown.note = Some(note.to_owned());
        }
    }

    /// `Management::Controller::get_name`
    fn name(&mut self) -> String {
        let sourced = self.take_text(names::NAME).unwrap_or_else(|| Sourced {
            value: format!(
                "controller-{}",
                hostname::get().unwrap_or_default().to_string_lossy()
            ),
            origin: Origin::Default,
        });
        self.show(names::NAME, sourced.value.show(), sourced.origin.clone());
        if sourced.value.contains(['/', '\0', '\n', '\t']) || matches!(&*sourced.value, "." | "..") {
            self.problems.push(ConfigError::Unusable {
                origin: sourced.origin,
                name: names::NAME,
                reason: format!(
                    "{:?} cannot be the name of a directory; choose another name",
                    sourced.value
                ),
            });
        }
        sourced.value
    }

    /// The working directory and the spool directory (`boot.zeek`, `Management::get_spool_dir`).
    ///
    /// DIFFERENCE(relative-directories): a relative directory is relative to where we are started; Zeek takes the spool directory relative
    /// to the controller's working directory, which is below the state directory.
    fn directories(&mut self, args: &SettingArgs, name: &str) -> (PathBuf, PathBuf) {
        let state = self.take_text(names::STATE_DIR);
        let spool = self.take_text(names::SPOOL_DIR);
        let installation = if state.is_some() && spool.is_some() {
            None
        } else {
            let prefix = args.zeek_prefix.as_ref().map(|prefix| self.absolute(prefix));
            Some(Installation::find(prefix.as_deref(), self.environment))
        };
        let choose =
            |given: Option<Sourced<String>>, of: fn(&Installation) -> &Path| match (given, &installation) {
                (Some(given), _) => (self.absolute(&given.value), given.origin),
                (None, Some(installation)) => (
                    of(installation).to_path_buf(),
                    Origin::Installation(installation.prefix.clone()),
                ),
                (None, None) => unreachable!("the installation is looked up if a directory is not given"),
            };
        let (state, state_origin) = choose(state, |installation| &installation.state_dir);
        let (spool, spool_origin) = choose(spool, |installation| &installation.spool_dir);
        self.show(names::STATE_DIR, state.display().to_string().show(), state_origin);
        self.show(names::SPOOL_DIR, spool.display().to_string().show(), spool_origin);
        let directory = self.take(names::DIRECTORY, String::new()).value;
        let nodes = state.join("nodes");
        let working_dir = join_plain(&nodes, if directory.is_empty() { name } else { &directory });
        (working_dir, spool)
    }

    pub(super) fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        join_plain(&self.environment.current_dir, path)
    }

    /// `Management::Controller::network_info` and `network_info_websocket`
    fn listener(
        &mut self,
        address_name: &'static str,
        port_name: &'static str,
        default_name: &'static str,
        default: Port,
    ) -> Listener {
        let address = self
            .take_text(address_name)
            .or_else(|| self.take_text(names::DEFAULT_ADDRESS))
            .unwrap_or_else(|| Sourced {
                value: String::from("0.0.0.0"),
                origin: Origin::Default,
            });
        self.show(address_name, address.value.show(), address.origin.clone());
        let ip = address.value.parse::<IpAddr>().unwrap_or_else(|_| {
            self.problems.push(ConfigError::Value {
                origin: address.origin,
                name: address_name,
                problem: ValueError {
                    text: address.value,
                    expected: "an IP address, as in 0.0.0.0 or ::1",
                },
            });
            IpAddr::from([0, 0, 0, 0])
        });
        let port = self.listen_port(port_name, default_name, default);
        self.show(port_name, port.value.show(), port.origin.clone());
        match port.value.protocol {
            Protocol::Tcp => Listener::At(SocketAddr::new(ip, port.value.number)),
            Protocol::Unknown if port.value.number == 0 => Listener::Off,
            _ => {
                self.problems.push(ConfigError::Unusable {
                    origin: port.origin,
                    name: port_name,
                    reason: format!(
                        "cannot listen on {}; use a port as in {default}, or 0/unknown for no listener",
                        port.value.show()
                    ),
                });
                Listener::Off
            }
        }
    }

    /// The port as text, for which Zeek has environment variables, else the default as a port.
    fn listen_port(
        &mut self,
        port_name: &'static str,
        default_name: &'static str,
        default: Port,
    ) -> Sourced<Port> {
        let otherwise = Sourced {
            value: default,
            origin: Origin::Default,
        };
        let Some(text) = self.take_text(port_name) else {
            return match self.layers.get(default_name) {
                Ok(sourced) => sourced.unwrap_or(otherwise),
                Err(problem) => {
                    self.problems.push(problem);
                    otherwise
                }
            };
        };
        match Port::parse(&text.value, Notation::Bare) {
            Ok(value) => Sourced {
                value,
                origin: text.origin,
            },
            // DIFFERENCE(malformed-port): Zeek's to_port() complains and yields 0/unknown, which silently means no listener.
            Err(problem) => {
                self.problems.push(ConfigError::Value {
                    origin: text.origin,
                    name: port_name,
                    problem,
                });
                otherwise
            }
        }
    }

    /// TLS of native connections, by the settings of Zeek's `Broker` module.
    fn broker_tls(&mut self) -> TlsConfig {
        let options = ZeekTlsOptions {
            disable_ssl: self.take(names::DISABLE_SSL, false).value,
            ssl_certificate: self.tls_file(names::SSL_CERTIFICATE),
            ssl_keyfile: self.tls_file(names::SSL_KEYFILE),
            ssl_passphrase: self.passphrase(),
            ssl_cafile: self.tls_file(names::SSL_CAFILE),
            ssl_capath: self.tls_file(names::SSL_CAPATH),
        };
        match options.config() {
            Ok(config) => {
                self.annotate(
                    names::DISABLE_SSL,
                    &format!("TLS of native connections: {}", config.name()),
                );
                config
            }
            Err(error) => {
                let given = self
                    .effective
                    .iter()
                    .rfind(|shown| shown.name.starts_with("Broker::ssl_") && shown.origin != Origin::Default);
                self.problems.push(ConfigError::Unusable {
                    origin: given.map_or(Origin::Default, |shown| shown.origin.clone()),
                    name: given.map_or(names::SSL_CERTIFICATE, |shown| shown.name),
                    reason: with_causes(&error),
                });
                TlsConfig::default()
            }
        }
    }

    /// DIFFERENCE(relative-directories): as with directories, what is relative is relative to where we are started.
    fn tls_file(&mut self, name: &'static str) -> String {
        let (path, origin) = match self.take_text(name) {
            Some(given) => (
                self.absolute(given.value).to_string_lossy().into_owned(),
                given.origin,
            ),
            None => (String::new(), Origin::Default),
        };
        self.show(name, path.show(), origin);
        path
    }

    /// Never shown, nor quoted when it is malformed.
    fn passphrase(&mut self) -> String {
        let (passphrase, origin) = match self.layers.get::<String>(names::SSL_PASSPHRASE) {
            Ok(Some(given)) => (given.value, given.origin),
            Ok(None) => (String::new(), Origin::Default),
            Err(mut problem) => {
                if let ConfigError::Value { problem, .. } = &mut problem {
                    HIDDEN.clone_into(&mut problem.text);
                }
                self.problems.push(problem);
                (String::new(), Origin::Default)
            }
        };
        let shown = if passphrase.is_empty() {
            passphrase.show()
        } else {
            HIDDEN.to_owned()
        };
        self.show(names::SSL_PASSPHRASE, shown, origin);
        passphrase
    }

    fn refuse_same_port(&mut self, broker: Listener, websocket: Listener) {
        let (Listener::At(broker), Listener::At(websocket)) = (broker, websocket) else {
            return;
        };
        let overlap =
            broker.ip() == websocket.ip() || broker.ip().is_unspecified() || websocket.ip().is_unspecified();
        if broker.port() == websocket.port() && broker.port() != 0 && overlap {
            let origin = self
                .effective
                .iter()
                .rfind(|shown| shown.name == names::LISTEN_PORT_WEBSOCKET)
                .map_or(Origin::Default, |shown| shown.origin.clone());
            self.problems.push(ConfigError::Unusable {
                origin,
                name: names::LISTEN_PORT_WEBSOCKET,
                reason: format!(
                    "port {} is also the Broker port of {}; choose another",
                    websocket.port(),
                    names::LISTEN_PORT
                ),
            });
        }
    }

    fn settings(&mut self, broker: Listener) -> Settings {
        let default = Settings::default();
        Settings {
            topic: self.take(names::TOPIC, default.topic.to_string()).value.into(),
            agent_topic_prefix: default.agent_topic_prefix,
            request_timeout: self.take(names::REQUEST_TIMEOUT, default.request_timeout).value,
            broker_port: match broker {
                Listener::At(address) if address.port() != 0 => Some(Port::tcp(address.port())),
                Listener::Off | Listener::At(_) => None,
            },
            auto_assign_broker_ports: self
                .take(names::ASSIGN_BROKER_PORTS, default.auto_assign_broker_ports)
                .value,
            auto_assign_broker_start_port: self
                .take(names::BROKER_START_PORT, default.auto_assign_broker_start_port)
                .value,
            auto_assign_metrics_ports: self
                .take(names::ASSIGN_METRICS_PORTS, default.auto_assign_metrics_ports)
                .value,
            auto_assign_metrics_start_port: self
                .take(names::METRICS_START_PORT, default.auto_assign_metrics_start_port)
                .value,
        }
    }

    fn management_log(&mut self, spool_dir: &Path) -> LogConfig {
        let level = self.take(names::LOG_LEVEL, Level::Info).value;
        let field_bytes_max = self.take(names::FIELD_BYTES_MAX, 4096_u64).value;
        let interval = self
            .take(names::ROTATION_INTERVAL, Duration::from_secs(3_600))
            .value;
        let base = self.take(names::ROTATION_BASE_TIME, TimeOfDay::default()).value;
        let (dir, origin) = match self.take_text(names::ROTATION_DIR) {
            Some(given) => (self.absolute(given.value), given.origin),
            None => (spool_dir.join("log-queue"), Origin::Default),
        };
        self.show(names::ROTATION_DIR, dir.display().to_string().show(), origin);
        LogConfig {
            level,
            field_bytes_max: usize::try_from(field_bytes_max).unwrap_or(usize::MAX),
            rotation: (!interval.is_zero()).then_some(RotationConfig { interval, base, dir }),
        }
    }

    fn process_name(&mut self, args: &SettingArgs) -> Option<String> {
        let name = args.process_name.clone()?;
        let origin = Origin::Flag("--process-name");
        self.show("process name", name.show(), origin.clone());
        if name.is_empty() || name.len() > PROCESS_NAME_MAX || name.contains('\0') {
            self.problems.push(ConfigError::Unusable {
                origin,
                name: "process name",
                reason: format!(
                    "{name:?} does not have 1 to {PROCESS_NAME_MAX} bytes, which is what Linux keeps"
                ),
            });
        }
        Some(name)
    }

    fn log_filter(&mut self, args: &SettingArgs) -> String {
        let (filter, origin) = match (&args.log_level, self.environment.get("RUST_LOG")) {
            (Some(filter), _) => (filter.clone(), Origin::Flag("--log-level")),
            (None, Some(filter)) => (filter.to_owned(), Origin::Environment("RUST_LOG")),
            (None, None) => (String::from("info"), Origin::Default),
        };
        self.show("log level", filter.show(), origin.clone());
        if let Err(error) = filter.parse::<tracing_subscriber::EnvFilter>() {
            self.problems.push(ConfigError::Unusable {
                origin,
                name: "log level",
                reason: format!("{error}; use trace, debug, info, warn or error"),
            });
        }
        filter
    }

    fn log_format(&mut self, args: &SettingArgs) -> LogFormat {
        let origin = args
            .log_format
            .map_or(Origin::Default, |_| Origin::Flag("--log-format"));
        let format = args.log_format.unwrap_or_default();
        let text = match format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        self.show("log format", text.to_owned(), origin);
        format
    }

    /// A file that an option names, if it does.
    fn file(&mut self, name: &'static str, option: &'static str, path: Option<&Path>) -> Option<PathBuf> {
        let path = self.absolute(path?);
        let shown = path.display().to_string().show();
        self.show(name, shown, Origin::Flag(option));
        Some(path)
    }
}

/// Joins without leaving `.` in the result.
pub(super) fn join_plain(base: &Path, path: impl AsRef<Path>) -> PathBuf {
    base.join(path).components().collect()
}
