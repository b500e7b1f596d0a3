//! The Zeek that the agent uses: which one it is, whether and how the agent starts its Supervisor, and what nodes load of it.

use std::{env, path::PathBuf};

use broker_endpoint::PeerAddress;
use mgmt_daemon::config::{Origin, Resolver};

use super::{
    peers::is_loopback,
    zeek::{InstalledZeek, NODE_SCRIPT, SHIM, lacks_script},
};
use crate::simulate;

/// How to start a Supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZeekCommand {
    pub program: PathBuf,
    /// What it needs to be told in order to be Zeek, before all else.
    pub leading_arguments: Vec<String>,
    /// What the operator wants it to be told.
    pub further_arguments: Vec<String>,
    /// Whether it has the framework's part of a Supervisor; otherwise it gets ours.
    pub has_shim: bool,
}

/// What the agent starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starts {
    /// Nothing: the Supervisor is there.
    Nothing,
    /// The Supervisor of the installed Zeek.
    Zeek,
    /// A stand-in for it.
    Simulation,
}

impl Starts {
    pub(super) fn read(resolver: &mut Resolver<'_>) -> Self {
        let zeek: bool = resolver.take("start_supervisor");
        let simulation: bool = resolver.take("simulate");
        for key in ["supervisor_timeout", "zeek_argument"] {
            if !zeek && !resolver.given_list(key).is_empty() {
                resolver.refuse(key, "it is for --start-supervisor only");
            }
        }
        match (zeek, simulation) {
            (false, false) => Self::Nothing,
            (true, false) => Self::Zeek,
            (false, true) => Self::Simulation,
            (true, true) => {
                resolver.refuse(
                    "simulate",
                    "it cannot be used with --start-supervisor; choose one",
                );
                Self::Simulation
            }
        }
    }
}

pub(super) fn installed_zeek(resolver: &mut Resolver<'_>, starts: Starts) -> InstalledZeek {
    let installation = resolver.installation();
    if starts == Starts::Simulation {
        return InstalledZeek {
            program: None,
            version: Some(simulate::version()),
        };
    }
    let zeek = InstalledZeek::find(&installation, resolver.environment());
    if let (Some(program), Some(version)) = (&zeek.program, &zeek.version) {
        resolver.annotate("zeek_prefix", format!("{}: {version}", program.display()));
        if zeek.layout().is_none() {
            resolver.warn(format!(
                "the records of {version:?} are not known; --zeek-version names a Zeek that has the same"
            ));
        }
    }
    zeek
}

/// How the Supervisor is started, if it is for us to do.
pub(super) fn command(
    resolver: &mut Resolver<'_>,
    starts: Starts,
    zeek: &InstalledZeek,
    supervisor: &PeerAddress,
) -> Option<ZeekCommand> {
    // A peer that can connect to a Supervisor can run anything.
    if starts != Starts::Nothing && !is_loopback(&supervisor.host) {
        resolver.refuse(
            "supervisor_address",
            "a Supervisor that we start listens on a loopback address only, as in --supervisor 127.0.0.1:9999",
        );
    }
    match starts {
        Starts::Nothing => None,
        Starts::Simulation => {
            resolver.warn(simulate::WARNING.into());
            let program = env::current_exe()
                .inspect_err(|error| {
                    resolver.refuse("simulate", format!("this program cannot be found: {error}"));
                })
                .ok()?;
            Some(ZeekCommand {
                program,
                leading_arguments: vec![simulate::SUBCOMMAND.into(), "--simulation".into()],
                further_arguments: Vec::new(),
                has_shim: true,
            })
        }
        Starts::Zeek => {
            let Some(program) = zeek.program.clone() else {
                resolver.refuse(
                    "start_supervisor",
                    "there is no zeek in bin of the installation, nor on PATH; name the installation by --zeek-prefix",
                );
                return None;
            };
            let further_arguments = resolver.given_list("zeek_argument").to_vec();
            // A setting may hold a secret.
            let scripts = further_arguments
                .iter()
                .filter(|argument| !argument.contains('='));
            let scripts: Vec<&str> = scripts.map(String::as_str).collect();
            if !scripts.is_empty() {
                resolver.show("zeek_argument", &scripts.join(" "));
            }
            Some(ZeekCommand {
                program,
                leading_arguments: Vec::new(),
                further_arguments,
                has_shim: !lacks_script(&resolver.installation().prefix, SHIM),
            })
        }
    }
}

/// The script for nodes: what is given, else Zeek's own, else, if the installed Zeek has none, ours, at this path.
pub(super) fn node_script(
    resolver: &mut Resolver<'_>,
    starts: Starts,
    own: PathBuf,
) -> (String, Option<PathBuf>) {
    if let Some(given) = resolver.given_text("node_script") {
        resolver.show("node_script", &given);
        return (given, None);
    }
    let prefix = resolver.installation().prefix;
    let own = Some(own).filter(|_| starts != Starts::Simulation && lacks_script(&prefix, NODE_SCRIPT));
    let script = own
        .as_ref()
        .map_or(NODE_SCRIPT.to_owned(), |own| own.display().to_string());
    resolver.show_from("node_script", &script, Origin::Installation(prefix));
    (script, own)
}

#[cfg(test)]
mod tests;
