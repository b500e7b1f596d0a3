//! What every daemon is configured with.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use broker_endpoint::tls::{Revoked, TlsConfig, ZeekTlsOptions};
use broker_endpoint::with_causes;
use mgmt_api::Level;
use tracing_subscriber::filter::Targets;

use super::{
    effective::Origin,
    http::HttpConfig,
    installation::Installation,
    resolver::{Resolved, Resolver, join_plain},
    roles::RoleLine,
    socket::SocketConfig,
    value::TimeOfDay,
};
use crate::log::LogFormat;

/// Longest name that Linux keeps for a thread or process (`TASK_COMM_LEN` without the terminator), in bytes.
const PROCESS_NAME_MAX: usize = 15;

/// Longest name of a daemon, in bytes: its rotated logs, `management-NAME__OPENED__CLOSED__log_suffix=N__.log`, have 75 besides, and Linux
/// has names of files of 255.
const NAME_MAX: usize = 180;

/// What every daemon is configured with.
#[derive(Clone, Debug)]
pub struct DaemonConfig {
    /// Its name; part of paths and log lines.
    pub name: String,
    /// `Management::state_dir`, absolute.
    pub state_dir: PathBuf,
    /// `Management::spool_dir`, absolute.
    pub spool_dir: PathBuf,
    /// `<state>/nodes/<name>`: where its files are, absolute.
    pub working_dir: PathBuf,
    /// How Broker connections are protected, all of them.
    pub broker_tls: TlsConfig,
    /// How long to wait between attempts to connect; none for one attempt only.
    pub connect_retry: Option<Duration>,
    pub management_log: LogConfig,
    /// The name that process listings show, instead of the program's.
    pub process_name: Option<String>,
    /// Directives for what is logged on standard error, as in `RUST_LOG`.
    pub log_filter: Targets,
    pub log_format: LogFormat,
    /// Where to announce the bound addresses.
    pub ready_file: Option<PathBuf>,
    /// Where operators of this host ask.
    pub control_socket: SocketConfig,
    /// How others ask over TCP.
    pub http: HttpConfig,
    /// Who may what by its certificate; nothing if that is not asked for.
    pub roles: Vec<RoleLine>,
    /// The certificates that count no more, absolute, if there are any.
    pub deny_list: Option<PathBuf>,
    /// The same as all of its TLS asks; none before the daemon begins.
    pub revoked: Revoked,
    /// Where to write who has asked for what, absolute; none if nowhere.
    pub audit_log: Option<PathBuf>,
    /// Where to record what happens.
    pub journal: Option<PathBuf>,
    /// What an operator should know.
    pub resolved: Resolved,
}

/// How `management-<name>.log` is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// The least level that is written.
    pub level: Level,
    /// Longest message in bytes; what is longer is cut.
    pub field_bytes_max: usize,
    /// How the file is rotated; none for never.
    pub rotation: Option<RotationConfig>,
}

/// Where the management log is of a daemon that works in this directory and has this name.
pub fn log_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("management-{name}.log"))
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationConfig {
    /// The distance of rotations.
    pub interval: Duration,
    /// When the first rotation of a day is due, in local time.
    pub base: TimeOfDay,
    /// Where rotated files go, absolute.
    pub dir: PathBuf,
    /// How long the daemon's own rotated files stay there; none for ever, as where an archiver fetches them.
    pub keep: Option<Duration>,
}

/// What a daemon is called, and where its files are.
#[derive(Clone, Debug)]
pub struct Home {
    /// [`DaemonConfig::name`]
    pub name: String,
    /// [`DaemonConfig::state_dir`]
    pub state_dir: PathBuf,
    /// [`DaemonConfig::working_dir`]
    pub working_dir: PathBuf,
}

impl Resolver<'_> {
    /// The directory that says where all others are.
    ///
    /// DIFFERENCE(relative-directories): a relative directory is relative to where we are started; Zeek takes the spool directory relative
    /// to the daemon's working directory, which is below the state directory (`boot.zeek`, `Management::get_spool_dir`).
    pub fn state_dir(&mut self) -> PathBuf {
        self.directory("state_dir", |zeek| &zeek.state_dir)
    }

    /// What the daemon is called, and where its files are below this directory.
    pub fn home(&mut self, state_dir: PathBuf) -> Home {
        let name = self.name();
        let directory: String = self.take("directory");
        let directory = if directory.is_empty() { &name } else { &directory };
        Home {
            working_dir: join_plain(&state_dir.join("nodes"), directory),
            state_dir,
            name,
        }
    }

    /// Everything but [`DaemonConfig::resolved`].
    pub fn daemon(&mut self, home: Home) -> DaemonConfig {
        let Home {
            name,
            state_dir,
            working_dir,
        } = home;
        let spool_dir = self.directory("spool_dir", |zeek| &zeek.spool_dir);
        let retry: Duration = self.take("connect_retry");
        let revoked = Revoked::default();
        DaemonConfig {
            control_socket: self.control_socket(&working_dir),
            http: self.http(&working_dir, &revoked),
            roles: self.roles(),
            deny_list: self.file("deny_list"),
            audit_log: self.audit_log(&working_dir),
            working_dir,
            broker_tls: self.broker_tls().with_revoked(&revoked),
            revoked,
            connect_retry: Some(retry).filter(|retry| !retry.is_zero()),
            management_log: self.management_log(&spool_dir),
            process_name: self.process_name(),
            log_filter: self.log_filter(),
            log_format: self.take("log_format"),
            ready_file: self.file("ready_file"),
            journal: self.file("journal"),
            resolved: Resolved::default(),
            name,
            state_dir,
            spool_dir,
        }
    }

    /// By default what the daemon is and the name of the host (`Management::Controller::get_name`).
    fn name(&mut self) -> String {
        let name = self.given_text("name").unwrap_or_else(|| {
            let host = hostname::get().unwrap_or_default();
            format!("{}-{}", self.schema.daemon, host.to_string_lossy())
        });
        self.show("name", &name);
        if name.contains(['/', '\0', '\n', '\t']) || matches!(&*name, "." | "..") {
            let reason = format!("{name:?} cannot be the name of a directory; choose another name");
            self.refuse("name", reason);
        } else if name.len() > NAME_MAX {
            let reason = format!(
                "it has {} bytes, and files that are named after it can have {NAME_MAX} of it; choose another name",
                name.len()
            );
            self.refuse("name", reason);
        }
        name
    }

    /// A directory that is given, else that of the Zeek installation.
    pub fn directory(&mut self, key: &str, of: fn(&Installation) -> &Path) -> PathBuf {
        if let Some(given) = self.given_text(key) {
            let directory = self.absolute(given);
            self.show(key, &directory);
            return directory;
        }
        let installation = self.installation();
        let directory = of(&installation).to_path_buf();
        self.show_from(key, &directory, Origin::Installation(installation.prefix));
        directory
    }

    /// Gives TLS of Broker connections other defaults, certificate, key and CA, unless anything of it was given.
    pub fn fill_broker_tls(&mut self, files: [PathBuf; 3], origin: &Origin) {
        let keys = ["ssl_certificate", "ssl_keyfile", "ssl_cafile"];
        let others = ["ssl_capath", "ssl_passphrase"];
        let mut all = keys.into_iter().chain(others);
        if all.any(|key| self.given_text(key).is_some()) || self.given("disable_ssl") == Some(true) {
            return;
        }
        for (key, file) in keys.into_iter().zip(files) {
            self.fill(key, file.display().to_string(), origin.clone());
        }
    }

    /// TLS of Broker connections, by the settings of Zeek's `Broker` module.
    pub fn broker_tls(&mut self) -> TlsConfig {
        let options = ZeekTlsOptions {
            disable_ssl: self.take("disable_ssl"),
            ssl_certificate: self.tls_file("ssl_certificate"),
            ssl_keyfile: self.tls_file("ssl_keyfile"),
            ssl_passphrase: self.take("ssl_passphrase"),
            ssl_cafile: self.tls_file("ssl_cafile"),
            ssl_capath: self.tls_file("ssl_capath"),
        };
        match options.config() {
            Ok(config) => {
                let note = format!("TLS of native connections: {}", config.name());
                self.annotate("disable_ssl", note);
                config
            }
            Err(error) => {
                let files = ["ssl_capath", "ssl_cafile", "ssl_passphrase", "ssl_keyfile"];
                let given = files.into_iter().find(|key| self.origin(key) != Origin::Default);
                self.refuse(given.unwrap_or("ssl_certificate"), with_causes(&error));
                TlsConfig::default()
            }
        }
    }

    /// DIFFERENCE(relative-directories): as with directories, what is relative is relative to where we are started.
    fn tls_file(&mut self, key: &str) -> String {
        let path = self.given_text(key);
        let path = path.map(|path| self.absolute(path).to_string_lossy().into_owned());
        let path = path.unwrap_or_default();
        self.show(key, &path);
        path
    }

    /// How the management log is written.
    fn management_log(&mut self, spool_dir: &Path) -> LogConfig {
        let bytes: u64 = self.take("log_field_bytes_max");
        let interval: Duration = self.take("log_rotation_interval");
        let dir = self.given_text("log_rotation_dir");
        let dir = dir.map_or_else(|| spool_dir.join("log-queue"), |dir| self.absolute(dir));
        self.show("log_rotation_dir", &dir);
        let rotation = RotationConfig {
            interval,
            base: self.take("log_rotation_base_time"),
            dir,
            keep: None,
        };
        LogConfig {
            level: self.take("management_log_level"),
            field_bytes_max: usize::try_from(bytes).unwrap_or(usize::MAX),
            rotation: (!interval.is_zero()).then_some(rotation),
        }
    }

    /// The name for process listings, if there is to be one.
    fn process_name(&mut self) -> Option<String> {
        let name: String = self.given("process_name")?;
        self.show("process_name", &name);
        if name.is_empty() || name.contains('\0') {
            let reason = format!("{name:?} cannot be a name; use one such as zeek.agent");
            self.refuse("process_name", reason);
        } else if let Some(kept) = name.as_bytes().get(..PROCESS_NAME_MAX)
            && kept.len() < name.len()
        {
            let kept = String::from_utf8_lossy(kept);
            let note = format!("Linux keeps {PROCESS_NAME_MAX} bytes: {kept}");
            self.annotate("process_name", note);
        }
        Some(name)
    }

    /// What is logged on standard error.
    fn log_filter(&mut self) -> Targets {
        let filter: String = self.take("log_level");
        filter.parse().unwrap_or_else(|error| {
            let reason = format!("{error}; use trace, debug, info, warn or error");
            self.refuse("log_level", reason);
            Targets::default()
        })
    }

    fn audit_log(&mut self, working_dir: &Path) -> Option<PathBuf> {
        match self.given_text("audit_log") {
            Some(off) if off == "off" => {
                self.show("audit_log", &off);
                None
            }
            Some(path) => {
                let path = self.absolute(path);
                self.show("audit_log", &path);
                Some(path)
            }
            None => Some(working_dir.join("audit.log")),
        }
    }

    /// A file, if one is given.
    pub(super) fn file(&mut self, key: &str) -> Option<PathBuf> {
        let path: PathBuf = self.given(key)?;
        let path = self.absolute(path);
        self.show(key, &path);
        Some(path)
    }
}
