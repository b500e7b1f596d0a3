//! The Zeek that the agent uses: which one it is, whether and how the agent starts its Supervisor, and what nodes load of it.

use std::{env, path::PathBuf};

use broker_endpoint::PeerAddress;
use mgmt_daemon::config::{Origin, Resolver};

use super::{
    keeping::Keeping,
    peers::is_loopback,
    zeek::{InstalledZeek, NODE_SCRIPT, SHIM, lacks_script},
};
use crate::{core::Supervise, simulate};

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

pub(super) fn installed_zeek(resolver: &mut Resolver<'_>, keeping: Keeping) -> InstalledZeek {
    let installation = resolver.installation();
    if keeping.is_simulation {
        return InstalledZeek {
            program: None,
            version: Some(simulate::version()),
        };
    }
    let zeek = InstalledZeek::find(&installation, resolver.environment());
    if let (Some(program), Some(version)) = (&zeek.program, &zeek.version) {
        resolver.annotate("zeek_prefix", format!("{}: {version}", program.display()));
        if keeping.supervise == Supervise::Zeek && zeek.layout().is_none() {
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
    keeping: Keeping,
    zeek: &InstalledZeek,
    supervisor: Option<&PeerAddress>,
) -> Option<ZeekCommand> {
    if !keeping.starts_supervisor {
        return None;
    }
    // A peer that can connect to a Supervisor can run anything.
    if supervisor.is_some_and(|supervisor| !is_loopback(&supervisor.host)) {
        resolver.refuse(
            "supervisor_address",
            "a Supervisor that we start listens on a loopback address only, as in --supervisor 127.0.0.1:9999",
        );
    }
    if keeping.is_simulation {
        let program = this_program(resolver)?;
        return Some(ZeekCommand {
            program,
            leading_arguments: stand_in_arguments(),
            further_arguments: Vec::new(),
            has_shim: true,
        });
    }
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

/// The program that stand-ins are started from: this one.
pub(super) fn this_program(resolver: &mut Resolver<'_>) -> Option<PathBuf> {
    env::current_exe()
        .inspect_err(|error| {
            resolver.refuse("simulate", format!("this program cannot be found: {error}"));
        })
        .ok()
}

/// What this program must be told before all else to be a stand-in for Zeek.
pub(super) fn stand_in_arguments() -> Vec<String> {
    vec![simulate::SUBCOMMAND.into(), "--simulation".into()]
}

/// The script for nodes: what is given, else Zeek's own, else, if the installed Zeek has none, ours, at this path.
pub(super) fn node_script(
    resolver: &mut Resolver<'_>,
    keeping: Keeping,
    own: PathBuf,
) -> (String, Option<PathBuf>) {
    if let Some(given) = resolver.given_text("node_script") {
        resolver.show("node_script", &given);
        return (given, None);
    }
    let prefix = resolver.installation().prefix;
    let own = Some(own).filter(|_| !keeping.is_simulation && lacks_script(&prefix, NODE_SCRIPT));
    let script = own
        .as_ref()
        .map_or(NODE_SCRIPT.to_owned(), |own| own.display().to_string());
    resolver.show_from("node_script", &script, Origin::Installation(prefix));
    (script, own)
}

#[cfg(test)]
mod tests;
