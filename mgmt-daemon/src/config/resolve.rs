use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use broker_codec::data::{Port, Protocol};
use broker_endpoint::{
    PeerAddress,
    tls::{TlsConfig, ZeekTlsOptions},
};
use mgmt_api::Level;

use super::{
    ConfigError, Directories, Effective, Environment, HostArgs, Installation, Listener, LogConfig, LogFormat,
    Notation, Origin, PROCESS_NAME_MAX, Resolver, RotationConfig, Sourced, TimeOfDay, Value, ValueError,
    join_plain, names, value::is_host,
};
use crate::process::with_causes;

/// Longest name of a daemon, in bytes: its rotated logs, `management-NAME__OPENED__CLOSED__log_suffix=N__.log`, have 75 besides, and Linux
/// has names of files of 255.
const NAME_MAX: usize = 180;

/// Stands for a secret where values are shown.
pub(super) const HIDDEN: &str = "(not shown)";

/// Resolving. What is resolved first is shown first.
impl<'a> Resolver<'a> {
    /// The value that was given last, if any; not shown yet.
    pub fn given<T: Value>(&mut self, name: &'static str) -> Option<Sourced<T>> {
        match self.layers.get(name) {
            Ok(sourced) => sourced,
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    /// The value that was given last, else the default; shown either way.
    pub fn take<T: Value>(&mut self, name: &'static str, default: T) -> Sourced<T> {
        let sourced = self.given(name).unwrap_or(Sourced {
            value: default,
            origin: Origin::Default,
        });
        self.show(name, sourced.value.show(), sourced.origin.clone());
        sourced
    }

    /// The text that was given last, where an empty text counts as nothing given.
    pub fn take_text(&mut self, name: &'static str) -> Option<Sourced<String>> {
        self.given::<String>(name)
            .filter(|sourced| !sourced.value.is_empty())
    }

    /// Shows a setting.
    pub fn show(&mut self, name: &'static str, value: String, origin: Origin) {
        self.effective.push(Effective {
            name,
            value,
            origin,
            note: None,
        });
    }

    /// Adds a note to the setting of this name that was shown last.
    pub fn annotate(&mut self, name: &str, note: &str) {
        if let Some(shown) = self.effective.iter_mut().rfind(|shown| shown.name == name) {
            shown.note = Some(note.to_owned());
        }
    }

    /// The daemon's name, by default what it is and the name of the host (`Management::Controller::get_name`).
    pub fn name(&mut self, setting: &'static str) -> String {
        let sourced = self.take_text(setting).unwrap_or_else(|| Sourced {
            value: format!(
                "{}-{}",
                self.schema.daemon,
                hostname::get().unwrap_or_default().to_string_lossy()
            ),
            origin: Origin::Default,
        });
        self.show(setting, sourced.value.show(), sourced.origin.clone());
        let (value, len) = (&*sourced.value, sourced.value.len());
        let reason = if value.contains(['/', '\0', '\n', '\t']) || matches!(value, "." | "..") {
            format!("{value:?} cannot be the name of a directory; choose another name")
        } else if len > NAME_MAX {
            format!(
                "it has {len} bytes, and files that are named after it can have {NAME_MAX} of it; choose another name"
            )
        } else {
            return sourced.value;
        };
        self.problems.push(ConfigError::Unusable {
            origin: sourced.origin,
            name: setting,
            reason,
        });
        sourced.value
    }

    /// Where the daemon of this name keeps its files (`boot.zeek`, `Management::get_spool_dir`), with the setting that may
    /// name another working directory.
    ///
    /// DIFFERENCE(relative-directories): a relative directory is relative to where we are started; Zeek takes the spool directory relative
    /// to the daemon's working directory, which is below the state directory.
    pub fn directories(&mut self, args: &HostArgs, setting: &'static str, name: &str) -> Directories {
        let state = self.directory(args, names::STATE_DIR, |zeek| &zeek.state_dir);
        let spool = self.directory(args, names::SPOOL_DIR, |zeek| &zeek.spool_dir);
        let directory = self.take(setting, String::new()).value;
        let nodes = state.join("nodes");
        let working = join_plain(&nodes, if directory.is_empty() { name } else { &directory });
        Directories {
            state,
            spool,
            working,
        }
    }

    /// A directory that is given, else that of the Zeek installation.
    pub fn directory(
        &mut self,
        args: &HostArgs,
        setting: &'static str,
        of: fn(&Installation) -> &Path,
    ) -> PathBuf {
        let (directory, origin) = if let Some(given) = self.take_text(setting) {
            (self.absolute(given.value), given.origin)
        } else {
            let installation = self.installation(args);
            let origin = Origin::Installation(installation.prefix.clone());
            (of(installation).to_path_buf(), origin)
        };
        self.show(setting, directory.display().to_string().show(), origin);
        directory
    }

    /// The Zeek installation beside us; looked for once.
    pub fn installation(&mut self, args: &HostArgs) -> &Installation {
        let prefix = args.zeek_prefix.as_ref().map(|prefix| self.absolute(prefix));
        let environment = self.environment;
        let (warnings, suspicious) = (&mut self.warnings, &mut self.suspicious);
        self.installation.get_or_insert_with(|| {
            let found = Installation::find(prefix.as_deref(), environment);
            if prefix.is_some() && !found.is_there() {
                warnings.push(format!(
                    "option --zeek-prefix: there is no Zeek in {}, neither bin/zeek nor share/zeek",
                    found.prefix.display()
                ));
                *suspicious = true;
            }
            found
        })
    }

    /// A path from where the process was started.
    pub fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        join_plain(&self.environment.current_dir, path)
    }

    /// What the process was started with.
    pub const fn environment(&self) -> &'a Environment {
        self.environment
    }

    /// Where to listen for Broker peers: an address or a name (see [`Listener`]) and a port, each a text, with the setting
    /// that is the port's default (`network_info`).
    pub fn listener(
        &mut self,
        settings: (&'static str, &'static str),
        default_name: &'static str,
        default: Port,
    ) -> Listener {
        const EXPECTED: &str = "an address, an interface or a host, as in 0.0.0.0, ::1 or eth0";
        let host = |text: &str| is_host(text).then(|| text.to_owned());
        match self.place(settings, default_name, default, host, EXPECTED) {
            Some((host, port)) => Listener::At(PeerAddress::new(host, port)),
            None => Listener::Off,
        }
    }

    /// Likewise where it must be an address, as Zeek has it for WebSocket clients (`Cluster::WebSocketServerOptions`).
    pub fn address_listener(
        &mut self,
        settings: (&'static str, &'static str),
        default_name: &'static str,
        default: Port,
    ) -> Option<SocketAddr> {
        const EXPECTED: &str = "an IP address, as in 0.0.0.0 or ::1";
        let address = |text: &str| text.parse::<IpAddr>().ok();
        self.place(settings, default_name, default, address, EXPECTED)
            .map(SocketAddr::from)
    }

    /// A host, read by a function that knows what is expected, and a port; none if nothing is to listen, or there is a
    /// problem.
    fn place<T>(
        &mut self,
        (address_name, port_name): (&'static str, &'static str),
        default_name: &'static str,
        default: Port,
        read: impl FnOnce(&str) -> Option<T>,
        expected: &'static str,
    ) -> Option<(T, u16)> {
        let address = self
            .take_text(address_name)
            .or_else(|| self.take_text(names::DEFAULT_ADDRESS))
            .unwrap_or_else(|| Sourced {
                value: String::from("0.0.0.0"),
                origin: Origin::Default,
            });
        self.show(address_name, address.value.show(), address.origin.clone());
        let host = read(&address.value);
        if host.is_none() {
            self.problems.push(ConfigError::Value {
                origin: address.origin,
                name: address_name,
                problem: ValueError {
                    text: address.value,
                    expected,
                },
            });
        }
        let port = self.port(port_name, default_name, default);
        // Zeek has it as a text, for its environment variable.
        self.show(port_name, port.value.show().show(), port.origin.clone());
        match port.value.protocol {
            Protocol::Tcp => host.map(|host| (host, port.value.number)),
            Protocol::Unknown if port.value.number == 0 => None,
            _ => {
                self.problems.push(ConfigError::Unusable {
                    origin: port.origin,
                    name: port_name,
                    reason: format!(
                        "cannot listen on {}; use a port as in {default}, or 0/unknown for no listener",
                        port.value.show()
                    ),
                });
                None
            }
        }
    }

    /// The port as text, for which Zeek has environment variables, else the default as a port.
    pub fn port(
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
            return self.given(default_name).unwrap_or(otherwise);
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
    pub fn broker_tls(&mut self) -> TlsConfig {
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

    /// How the management log is written.
    pub fn management_log(&mut self, spool_dir: &Path) -> LogConfig {
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
            rotation: (!interval.is_zero()).then_some(RotationConfig {
                interval,
                base,
                dir,
                keep: None,
            }),
        }
    }

    /// The name for process listings, if there is to be one.
    pub fn process_name(&mut self, args: &HostArgs) -> Option<String> {
        let name = args.process_name.clone()?;
        let origin = Origin::Flag("--process-name");
        self.show("process name", name.show(), origin.clone());
        if name.is_empty() || name.contains('\0') {
            self.problems.push(ConfigError::Unusable {
                origin,
                name: "process name",
                reason: format!("{name:?} cannot be a name; use one such as zeek.agent"),
            });
        } else if name.len() > PROCESS_NAME_MAX {
            let kept = String::from_utf8_lossy(name.as_bytes().get(..PROCESS_NAME_MAX).unwrap_or_default())
                .into_owned();
            self.annotate(
                "process name",
                &format!("Linux keeps {PROCESS_NAME_MAX} bytes: {kept}"),
            );
        }
        Some(name)
    }

    /// What is logged on standard error.
    pub fn log_filter(&mut self, args: &HostArgs) -> String {
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

    /// How it is logged.
    pub fn log_format(&mut self, args: &HostArgs) -> LogFormat {
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
    pub fn file(&mut self, name: &'static str, option: &'static str, path: Option<&Path>) -> Option<PathBuf> {
        let path = self.absolute(path?);
        let shown = path.display().to_string().show();
        self.show(name, shown, Origin::Flag(option));
        Some(path)
    }
}
