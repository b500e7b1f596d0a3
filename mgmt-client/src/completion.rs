//! What a shell completes. Names of nodes, instances and clusters, and numbers of revisions, the daemon is asked for, in a short time; if it does not tell, none are completed.

use std::{env, time::Duration};

use clap::{Arg, Command, CommandFactory, Parser};
use clap_complete::{
    CompleteEnv, Shell,
    engine::{ArgValueCandidates, CompletionCandidate},
    env::Shells,
};
use mgmt_api::operator::{AgentStatus, Clusters, ConfigurationFile, Program};
use tokio::time::timeout;

use crate::{
    Exit,
    client::ClientError,
    commands::{Daemon, print},
    options::Options,
};

/// The variable by which a shell asks.
const VARIABLE: &str = "MGMTCTL_COMPLETE";

/// How long the daemon is asked.
const PATIENCE: Duration = Duration::from_millis(500);

/// Completes a command line and ends, if that is what a shell wants.
pub(crate) fn complete_if_asked() {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// Prints what has a shell ask.
pub(crate) fn show(shell: Shell) -> Result<Exit, ClientError> {
    let name = shell.to_string();
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer = shells.completer(&name);
    let completer = completer.ok_or(ClientError::Usage(
        "the shells are bash, elvish, fish, powershell and zsh",
    ))?;
    let written = completer.write_registration(VARIABLE, "mgmtctl", "mgmtctl", "mgmtctl", &mut script);
    written.map_err(|error| ClientError::Broken(error.to_string()))?;
    print(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}

/// The command line, with what names complete to.
fn command() -> Command {
    let named = |which| move |arg: Arg| arg.add(ArgValueCandidates::new(move || candidates(which)));
    let mut command = Options::command().mut_arg("cluster", named(Names::Clusters));
    for (of, arg) in [("logs", "node"), ("diag", "node"), ("print", "nodes")] {
        command = command.mut_subcommand(of, |of| of.mut_arg(arg, named(Names::Nodes)));
    }
    for (of, args) in [
        ("show", &["revision"][..]),
        ("diff", &["old", "new"]),
        ("rollback", &["revision"]),
    ] {
        let revisions = |of: Command, arg: &&str| of.mut_arg(*arg, named(Names::Revisions));
        command = command.mut_subcommand(of, |of| args.iter().fold(of, revisions));
    }
    for of in ["stop", "start", "restart"] {
        command = command.mut_subcommand(of, |of| {
            of.mut_arg("nodes", named(Names::Nodes))
                .mut_arg("instances", named(Names::Instances))
        });
    }
    command.mut_subcommand("clusters", |of| {
        of.mut_subcommand("delete", |of| of.mut_arg("name", named(Names::Clusters)))
    })
}

/// Which names are completed.
#[derive(Clone, Copy)]
enum Names {
    Nodes,
    Instances,
    Clusters,
    Revisions,
}

fn candidates(which: Names) -> Vec<CompletionCandidate> {
    // What is typed so far comes after `--`.
    let typed = env::args_os().skip_while(|word| word != "--").skip(1);
    let Ok(options) = Options::try_parse_from(typed) else {
        return Vec::new();
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    let told = runtime.block_on(async { timeout(PATIENCE, names(&options, which)).await });
    let names = told.map_or_else(|_| Vec::new(), Result::unwrap_or_default);
    let plain = names.into_iter().filter(|name| is_plain(name));
    plain.map(CompletionCandidate::new).collect()
}

/// Whether a name means nothing else to a shell, which puts it into the command line as it is: who deploys chooses names.
fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.:@+".contains(c);
    !name.is_empty() && !name.starts_with('-') && name.chars().all(is_plain)
}

async fn names(options: &Options, which: Names) -> Result<Vec<String>, ClientError> {
    let daemon = Daemon::of(options).await?;
    let clusters = async || {
        let all: Clusters = daemon.client.get("/v1/clusters").await?;
        Ok::<_, ClientError>(all.clusters.into_iter().map(|summary| summary.cluster).collect())
    };
    let deployed = async || {
        let path = daemon.path("configurations/deployed");
        daemon.client.get::<ConfigurationFile>(&path).await
    };
    match (which, daemon.program) {
        (Names::Clusters, Program::Controller) => clusters().await,
        (Names::Nodes, Program::Controller) => {
            let nodes = deployed().await?.nodes.into_iter();
            Ok(nodes.map(|node| node.name.to_string()).collect())
        }
        (Names::Instances, Program::Controller) => {
            let instances = deployed().await?.instances.into_iter();
            Ok(instances.map(|instance| instance.name.to_string()).collect())
        }
        (Names::Nodes, Program::Agent) => {
            let status: AgentStatus = daemon.client.get("/v1/status").await?;
            Ok(status.nodes.into_iter().map(|node| node.node).collect())
        }
        (Names::Revisions, Program::Controller) => {
            let revisions = daemon.revisions().await?.revisions.into_iter();
            Ok(revisions.map(|summary| summary.revision.to_string()).collect())
        }
        (Names::Instances | Names::Clusters | Names::Revisions, Program::Agent) => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_completed_is_there() {
        command().debug_assert();
    }

    #[test]
    fn names_that_a_shell_would_act_on_are_not_completed() {
        for (name, expected) in [
            ("worker-1", true),
            ("lab.example:a_b@c+d", true),
            ("$(touch${IFS}x)", false),
            ("`id`", false),
            ("*", false),
            ("a b", false),
            ("a;b", false),
            ("~", false),
            ("-f", false),
            ("ü", false),
            ("", false),
        ] {
            assert_eq!(is_plain(name), expected, "{name}");
        }
    }
}
