//! The command line of `replay`.

use std::{
    fs::{self, File},
    io::{self, BufReader, Write},
    path::{Path, PathBuf},
};

use broker_endpoint::{PeerAddress, tls::TlsConfig};
use clap::{Parser, ValueEnum};
use mgmt_controller::{
    core::Configurations,
    store::{FILE_NAME, Store, StoreError},
};
use mgmt_daemon::{
    config::{COMMON, ConfigErrors, Environment, Resolver, Schema},
    log::{LogFormat, for_terminals},
};

use super::{
    Capture, Options, ReplayError, Report, Role, Scenario, in_process, live::Target, roles, with_running,
};

/// Put a controller or an agent in the place of one that was recorded, and compare what it sends with what was recorded.
///
/// Its peers are played from the capture (pcap format, without TLS). Events between Broker peers are compared as bytes,
/// topic and payload, connection by connection; so are handshakes and the texts that WebSocket clients get. Where only the
/// order of results differs, and Zeek's order is that of a hash table, values are compared. If `scenario.json` lies beside the
/// capture, the management log is compared with the one in there; if Zeek's configuration store lies there, what the controller
/// has stored.
///
/// What differs is shown with the number of the packet in the capture, the connection, the event, and the place in it by Zeek's
/// names. Deviations that docs/deviations.md tells of are counted and listed as explained.
///
/// Exit status: 0 if nothing else differs, 1 if something does, 2 on wrong usage or if a file cannot be read.
#[derive(Debug, Parser)]
#[command(name = "replay", version)]
pub struct Arguments {
    /// The capture, or the folder that holds it as capture.pcap
    capture: PathBuf,
    /// How a running peer protects its Broker connections, by the settings that it has itself: `Broker::disable_ssl=T`, or
    /// `Broker::ssl_certificate`, `ssl_keyfile`, `ssl_passphrase`, `ssl_cafile` and `ssl_capath`. Anonymous TLS, Zeek's default, if
    /// none is given
    #[arg(value_name = "BROKER::NAME=VALUE", requires = "peer")]
    tls: Vec<String>,
    /// Whose place to take; all roles of the capture one after the other if left out
    #[arg(long, value_enum)]
    role: Option<RoleName>,
    /// The instance whose agent's place to take, with --role agent; all agents one after the other if left out
    #[arg(long, value_name = "NAME", requires = "role")]
    instance: Option<String>,
    /// A running peer to replay with, instead of our own in this process: its Broker port. replay connects there for the peers that
    /// connected to the recorded one, and listens for those that it connected to
    #[arg(long, value_name = "HOST:PORT", requires = "role")]
    peer: Option<PeerAddress>,
    #[command(flatten)]
    target: Target,
    /// Excuse no deviation, also if it is known
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RoleName {
    Controller,
    Agent,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    #[error("cannot read {path}")]
    Read { path: PathBuf, source: io::Error },
    /// What is in the file is not what it should be.
    #[error("{path}")]
    File {
        path: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the configuration store beside the capture cannot be read")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("{0} is not about TLS; of Zeek's settings, only Broker::disable_ssl and Broker::ssl_* are read")]
    NotAboutTls(String),
    #[error(transparent)]
    Tls(#[from] ConfigErrors),
    #[error("{0}")]
    Usage(&'static str),
    #[error("cannot write the output")]
    Write(#[from] io::Error),
}

/// Whether the options go together.
fn check(arguments: &Arguments) -> Result<(), CliError> {
    let is_controller = arguments.role == Some(RoleName::Controller);
    let target = &arguments.target;
    let describes_agent =
        target.controller.is_some() || target.supervisor.is_some() || target.state_dir.is_some();
    let wrong = if is_controller && arguments.instance.is_some() {
        "--instance names an agent, so --role must be agent"
    } else if is_controller && describes_agent {
        "--controller, --supervisor and --state-dir describe a running agent, so --role must be agent"
    } else {
        return Ok(());
    };
    Err(CliError::Usage(wrong))
}

/// Does what the command line says. Returns whether nothing differs.
pub fn run(arguments: &Arguments, output: &mut impl Write) -> Result<bool, CliError> {
    check(arguments)?;
    let path = if arguments.capture.is_dir() {
        arguments.capture.join("capture.pcap")
    } else {
        arguments.capture.clone()
    };
    let file = File::open(&path).map_err(|source| CliError::Read {
        path: path.clone(),
        source,
    })?;
    let capture = Capture::read(BufReader::new(file)).map_err(|source| CliError::File {
        path: path.clone(),
        source: source.into(),
    })?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let beside = folder.join("scenario.json");
    let scenario = Scenario::read(&beside).map_err(|source| CliError::File {
        path: beside,
        source: source.into(),
    })?;
    let stored = stored(folder)?;
    let name = name_of(folder);
    let tls = tls_of(arguments)?;
    let mut passed = true;
    let roles = roles_of(arguments, &capture)?;
    if arguments.peer.is_some() && roles.len() > 1 {
        let which =
            "the capture has several agents, and the running peer is one of them: --instance must say which";
        return Err(CliError::Usage(which));
    }
    for role in roles {
        let options = Options {
            name: &name,
            role: &role,
            scenario: &scenario,
            stored: stored.as_ref(),
            strict: arguments.strict,
        };
        let report = match &arguments.peer {
            None => in_process(&capture, &options)?,
            Some(peer) => with_running(&capture, &options, peer, &tls, &arguments.target)?,
        };
        passed &= report.passed();
        output.write_all(shown(&report).as_bytes())?;
    }
    output.flush()?;
    Ok(passed)
}

fn shown(report: &Report) -> String {
    for_terminals(&report.to_string(), LogFormat::Text)
}

/// Zeek's settings, of which few are of use here.
static SCHEMA: Schema = Schema {
    daemon: "replay",
    module: "",
    tables: [&[], COMMON],
    gone: &[],
    own_commands: &[],
};

/// How the running peer protects its Broker connections: read as the daemons read the same words.
fn tls_of(arguments: &Arguments) -> Result<TlsConfig, CliError> {
    let environment = Environment::new([], std::env::current_dir()?);
    let mut resolver = Resolver::new(&SCHEMA, &environment);
    for assignment in &arguments.tls {
        let (name, _) = assignment.split_once('=').unwrap_or((assignment, ""));
        let about_tls = name.starts_with("Broker::") && COMMON.iter().any(|setting| setting.name() == name);
        if !about_tls {
            return Err(CliError::NotAboutTls(name.to_owned()));
        }
        resolver.assign(assignment);
    }
    let tls = resolver.broker_tls();
    resolver.finish()?;
    Ok(tls)
}

fn roles_of(arguments: &Arguments, capture: &Capture) -> Result<Vec<Role>, CliError> {
    if let Some(instance) = &arguments.instance {
        return Ok(vec![Role::Agent(instance.clone())]);
    }
    let present = roles(capture);
    let is_wanted = |role: &&Role| {
        arguments
            .role
            .is_none_or(|name| (name == RoleName::Controller) == (**role == Role::Controller))
    };
    let wanted: Vec<Role> = present.iter().filter(is_wanted).cloned().collect();
    match arguments.role {
        _ if !wanted.is_empty() => Ok(wanted),
        None => Err(CliError::Usage(
            "the capture has neither a controller nor an agent that can be read",
        )),
        Some(RoleName::Controller) => Err(ReplayError::no_such_role(&"controller", &present).into()),
        Some(RoleName::Agent) => Err(ReplayError::no_such_role(&"agent", &present).into()),
    }
}

/// `release/scenario`, for a capture in such folders.
fn name_of(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let parts: Vec<_> = folder
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect();
    parts[parts.len().saturating_sub(2)..].join("/")
}

/// What Zeek's controller has left in its store beside the capture, if it lies there. A copy is read: opening a store locks it.
fn stored(folder: &Path) -> Result<Option<Configurations>, CliError> {
    let path = folder.join(FILE_NAME);
    if !path.exists() {
        return Ok(None);
    }
    let copy = tempfile::tempdir()?;
    fs::copy(&path, copy.path().join(FILE_NAME)).map_err(|source| CliError::Read { path, source })?;
    let (_store, restored) = Store::open(copy.path())?;
    Ok(Some(restored.configurations))
}

#[cfg(test)]
mod tests {
    use broker_codec::data::is_hostile;

    use super::{super::Difference, *};

    #[test]
    fn what_peers_say_does_not_drive_the_terminal() {
        let got = "\u{1b}[2J\u{202e}\u{200b}\u{e0041}\u{7f}";
        let report = Report {
            differences: vec![Difference {
                got: Some(got.into()),
                ..Difference::default()
            }],
            ..Report::default()
        };
        let text = shown(&report);
        let lines: String = text.lines().collect();
        assert!(!lines.contains(is_hostile), "{text}");
    }
}
