//! What `check-config` tries once the configuration has been read: whether the host has what the settings name.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use broker_endpoint::{
    Endpoint, EndpointConfig, EndpointError,
    tls::{TlsConfig, TlsConfigError, TlsPart},
    with_causes,
};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{
    daemon::{DaemonConfig, log_path},
    effective::{Effective, Origin},
    error::ConfigError,
    http::HttpConfig,
    listener::Listener,
    resolver::Resolved,
};
use crate::{deny_list::DenyList, files, lock::Lock, secrets::SecretsFile, tokens};

/// Longest name of a file or directory that Linux has, in bytes (`NAME_MAX`).
const FILE_NAME_MAX: usize = 255;

/// What has been tried so far, and what came of it.
#[derive(Debug)]
pub struct Checks<'a> {
    settings: &'a Resolved,
    /// What is wrong, with the origin of the setting that it is about.
    pub findings: Vec<ConfigError>,
    /// What works although it should be otherwise.
    pub warnings: Vec<String>,
    /// What was found in order, in words.
    pub tried: Vec<String>,
}

impl<'a> Checks<'a> {
    /// Nothing has been tried. The effective settings tell where each came from.
    pub const fn new(settings: &'a Resolved) -> Self {
        Self {
            settings,
            findings: Vec::new(),
            warnings: Vec::new(),
            tried: Vec::new(),
        }
    }

    /// Takes down what came of a try that settings ask for, the first that was given rather than left at its default.
    pub fn note(&mut self, keys: &[&'static str], outcome: Result<String, String>) {
        let reason = match outcome {
            Ok(tried) => return self.tried.push(tried),
            Err(reason) => reason,
        };
        let shown = keys.iter().filter_map(|key| self.settings.shown(key));
        let mut shown: Vec<&Effective> = shown.collect();
        shown.sort_by_key(|shown| shown.origin == Origin::Default);
        let first = shown.first();
        self.findings.push(ConfigError::Setting {
            origin: first.map_or(Origin::Default, |shown| shown.origin.clone()),
            name: first
                .map(|shown| shown.origin.name_of(shown.setting))
                .or(keys.first().copied())
                .unwrap_or_default(),
            reason,
        });
    }

    /// What every daemon needs.
    pub fn daemon(&mut self, config: &DaemonConfig) {
        let directory = &["directory", "state_dir"];
        self.directory(directory, &config.working_dir);
        if let Some(rotation) = &config.management_log.rotation {
            self.directory(&["log_rotation_dir", "spool_dir"], &rotation.dir);
        }
        self.file("ready_file", config.ready_file.as_deref());
        self.file("journal", config.journal.as_deref());
        if let Some(path) = &config.audit_log {
            // In the daemon's directory it is by default, which is made.
            if path.parent() != Some(&*config.working_dir) {
                self.file("audit_log", Some(path));
            }
            self.kept_file(&["audit_log"], path);
        }
        self.kept_file(directory, &log_path(&config.working_dir, &config.name));
        self.tls(
            "Broker",
            |part| match part {
                None | Some(TlsPart::Certificate) => "ssl_certificate",
                Some(TlsPart::Key) => "ssl_keyfile",
                Some(TlsPart::Passphrase) => "ssl_passphrase",
                Some(TlsPart::CaFile) => "ssl_cafile",
                Some(TlsPart::CaFolder) => "ssl_capath",
            },
            &config.broker_tls,
        );
        self.http(&config.http);
        if let Some(path) = &config.deny_list {
            let read = DenyList::read(Some(path)).map_err(|error| error.to_string());
            self.note(
                &["deny_list"],
                read.map(|list| format!("deny list {}: {} entries", path.display(), list.len())),
            );
        }
    }

    /// What HTTP over TCP needs, but for its port.
    fn http(&mut self, config: &HttpConfig) {
        if !matches!(config.tls, TlsConfig::Off) {
            let key = |part| match part {
                Some(TlsPart::Key | TlsPart::Passphrase) => "http_key",
                Some(TlsPart::CaFile | TlsPart::CaFolder) => "http_client_ca",
                None | Some(TlsPart::Certificate) => "http_certificate",
            };
            self.tls("HTTP", key, &config.tls);
        }
        if let Err(reason) = SecretsFile::<tokens::Entry>::new(config.tokens.clone()).read() {
            self.note(&["tokens"], Err(reason));
        }
        self.warnings.extend(files::too_open(&config.tokens));
    }

    /// The port of HTTP over TCP, which a running daemon that holds this lock may have already.
    pub fn http_listener(&mut self, config: &HttpConfig, lock: &Path) {
        if let Some(address) = config.listen {
            self.listener(&["http_listen"], &Listener::At(address.into()), lock);
        }
    }

    /// A directory that is made when it is needed.
    pub fn directory(&mut self, keys: &[&'static str], path: &Path) {
        self.note(
            keys,
            can_write_in(path).map(|()| format!("directory {}", path.display())),
        );
    }

    /// A file that is kept open or appended to, which may not be there yet.
    pub fn kept_file(&mut self, keys: &[&'static str], path: &Path) {
        let access = accessat(CWD, path, Access::READ_OK | Access::WRITE_OK, AtFlags::EACCESS);
        if let Err(error) = access.map_err(io::Error::from)
            && error.kind() != io::ErrorKind::NotFound
        {
            self.note(keys, Err(format!("cannot write {}: {error}", path.display())));
        }
    }

    /// A file that is written, if there is to be one.
    fn file(&mut self, key: &'static str, path: Option<&Path>) {
        let Some(path) = path else { return };
        let outcome = files::regular_or_missing(path).map_err(|error| error.to_string());
        let outcome = match path.parent() {
            // Its directory is not made.
            Some(directory) if !directory.is_dir() => {
                Err(format!("there is no directory {}", directory.display()))
            }
            Some(directory) => outcome.and_then(|()| can_write_in(directory)),
            None => outcome,
        };
        self.note(&[key], outcome.map(|()| format!("{key} {}", path.display())));
    }

    /// A port, which a running daemon that holds this lock may have already.
    pub fn listener(&mut self, keys: &[&'static str], listener: &Listener, lock: &Path) {
        let Listener::At(address) = listener else { return };
        let outcome = match (listen(&address.host, address.port), Lock::holder_of(lock)) {
            (Ok(()), _) => Ok(format!("port {address}")),
            (Err(EndpointError::Listen { source, .. }), Some(holder))
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                Ok(format!(
                    "port {address}, which the daemon that runs has ({holder})"
                ))
            }
            (Err(error), _) => Err(with_causes(&error)),
        };
        self.note(keys, outcome);
    }

    /// Certificates and keys: readable, belonging to each other, valid today.
    pub fn tls(&mut self, of: &str, key: impl FnOnce(Option<TlsPart>) -> &'static str, config: &TlsConfig) {
        match config.check() {
            Ok(()) => self.tried.push(format!("TLS of {of}: {}", config.name())),
            Err(error) => {
                let key = key(error.part());
                if self.is_made(key, &error) {
                    self.tried.push(format!(
                        "TLS of {of}: {}, with files that the first start makes",
                        config.name()
                    ));
                } else {
                    self.note(&[key], Err(with_causes(&error)));
                }
            }
        }
        let key = config.identity().map(|identity| &*identity.key);
        self.warnings.extend(key.and_then(files::too_open));
    }

    /// Whether a file is not there as the daemon makes it itself when it starts.
    fn is_made(&self, key: &str, error: &TlsConfigError) -> bool {
        let shown = self.settings.shown(key);
        let is_own = shown.is_some_and(|shown| matches!(shown.origin, Origin::Setting(_)));
        let TlsConfigError::Unreadable { source, .. } = error else {
            return false;
        };
        is_own && source.kind() == io::ErrorKind::NotFound
    }

    /// A program by its path, or by its name on `PATH`.
    pub fn program(
        &mut self,
        key: &'static str,
        program: &str,
        on_path: impl FnOnce(&str) -> Option<PathBuf>,
    ) {
        let path = if program.contains('/') {
            Some(PathBuf::from(program))
        } else {
            on_path(program)
        };
        let outcome = match path {
            None => Err(format!("there is no {program} on PATH")),
            Some(path) if !path.is_file() => Err(format!("there is no program {}", path.display())),
            Some(path) => accessat(CWD, &path, Access::EXEC_OK, AtFlags::EACCESS)
                .map(|()| format!("program {}", path.display()))
                .map_err(|error| format!("cannot run {}: {}", path.display(), io::Error::from(error))),
        };
        self.note(&[key], outcome);
    }
}

/// Whether this user can write in a directory, or make it.
fn can_write_in(path: &Path) -> Result<(), String> {
    let there = |at: &&Path| fs::symlink_metadata(at).is_ok();
    let Some(at) = path.ancestors().find(there) else {
        return Err(format!("cannot make {}", path.display()));
    };
    let what = if at == path {
        "cannot write in"
    } else {
        "cannot make"
    };
    if !at.is_dir() {
        return Err(format!(
            "{what} {}: {} is no directory",
            path.display(),
            at.display()
        ));
    }
    // Of what is missing, only its last part would be looked at, and nothing of it below something that is missing as well.
    if path.iter().any(|part| part.len() > FILE_NAME_MAX) {
        return Err(format!(
            "{what} {}: a name in it has more than {FILE_NAME_MAX} bytes",
            path.display()
        ));
    }
    // Only trying tells: root may write anywhere but where nothing can be written.
    let probe = at.join(format!(".check-config.{}", std::process::id()));
    let made = files::options().write(true).create_new(true).open(&probe);
    made.and_then(|_| fs::remove_file(&probe))
        .map_err(|error| format!("{what} {}: {}: {error}", path.display(), at.display()))
}

/// Listens as a daemon does, and stops.
fn listen(host: &str, port: u16) -> Result<(), EndpointError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(EndpointError::Runtime)?;
    runtime.block_on(async {
        let endpoint = Endpoint::start(EndpointConfig::default())?;
        endpoint.handle().listen(host, port).await?;
        Ok(())
    })
}

/// Warns of certificates of ours that are not valid today: peers refuse them, and say so in their own logs only.
pub fn warn_of_dates(config: &TlsConfig) {
    if let Err(error @ TlsConfigError::NotValidToday { .. }) = config.check_dates() {
        tracing::warn!(
            "{error}: peers are going to refuse it, or to be refused; renew it, and check the clock"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::PermissionsExt};

    use broker_endpoint::PeerAddress;

    use super::*;

    fn words(checks: &Checks<'_>) -> Vec<String> {
        checks.findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn ports_are_free_or_the_running_daemons() {
        let home = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let listener = Listener::At(PeerAddress::new("127.0.0.1", port));
        let store = home.path().join("store");
        let none = Resolved::default();
        let mut checks = Checks::new(&none);
        checks.listener(&["port"], &listener, &store);
        assert!(
            words(&checks)[0].contains("cannot listen on 127.0.0.1:"),
            "{checks:?}"
        );
        assert_eq!(
            fs::read_dir(home.path()).unwrap().count(),
            0,
            "looking makes no lock"
        );
        let _lock = Lock::acquire(&store).unwrap();
        checks.listener(&["port"], &listener, &store);
        assert_eq!(checks.findings.len(), 1);
        assert!(
            checks.tried[0].contains("which the daemon that runs has"),
            "{checks:?}"
        );
        drop(taken);
        checks.listener(&["port"], &listener, &store);
        assert_eq!(checks.tried[1], format!("port 127.0.0.1:{port}"));
    }

    #[test]
    fn programs_are_there_and_can_be_run() {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("archiver");
        fs::write(&program, "").unwrap();
        let text = program.to_str().unwrap();
        let none = Resolved::default();
        let mut checks = Checks::new(&none);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
        checks.program("command", text, |_| None);
        checks.program("command", "archiver", |_| None);
        checks.program("command", "/nonexistent/archiver", |_| None);
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        checks.program("command", text, |_| None);
        checks.program("command", "archiver", |_| Some(program.clone()));
        let words = words(&checks);
        assert!(words[0].contains("cannot run "), "{words:?}");
        assert!(words[1].ends_with("there is no archiver on PATH"), "{words:?}");
        assert!(
            words[2].ends_with("there is no program /nonexistent/archiver"),
            "{words:?}"
        );
        assert_eq!(checks.tried.len(), 2);
    }
}
