//! A cluster node that no Supervisor of Zeek's started: what mgmt-agent sees of it, and of its end, if it keeps nodes itself.
//!
//! It is in its working directory already, and has its place in the cluster from `CLUSTER_NODE` and `cluster-layout.zeek`. With the agent it
//! talks as `mgmt-agent/scripts/node-link.zeek` does. What is wrong with scripts, ports, interface or trace file it says in Zeek's words.

mod layout;
mod link;
mod listeners;
mod status;

use std::{env, ffi::OsString, fs, path::Path, process::ExitCode, time::Duration};

use broker_codec::data::ZeekString;
use mgmt_api::NodeConfig;
use tokio::time::timeout;

use crate::{
    Failure, NODE_VARIABLE, NodeBehaviour, Release, SUPERVISOR_VARIABLE, SupervisorBehaviour,
    behaviour::of_environment,
    command_line::{CommandLine, NODE, variable},
    complain, node,
};
use link::Link;
use status::Status;

/// What no Zeek can read. A script that holds it as a line is as wrong to a stand-in as to Zeek.
const SYNTAX_ERROR: &str = "} error";

/// Is a node, until SIGTERM or what its behaviour says; or looks whether it could be.
pub(crate) fn run(program: &[OsString], command_line: &CommandLine) -> Result<ExitCode, Failure> {
    let status = Status::new(command_line.status_file.as_deref());
    let behaviour: NodeBehaviour = of_environment(NODE_VARIABLE)?;
    let supervisor: SupervisorBehaviour = of_environment(SUPERVISOR_VARIABLE)?;
    let release = Release::of_version(&supervisor.zeek_version)?;
    command_line.scripts.iter().try_for_each(|script| check(script))?;
    let name = variable(NODE);
    let cluster = match &name {
        Some(_) => layout::find()?,
        None => layout::Layout::new(),
    };
    if command_line.checks {
        return Ok(ExitCode::SUCCESS);
    }

    let name: ZeekString = name.unwrap_or_default().into();
    let Some(own) = cluster.get(&name) else {
        complain(&format!(
            "error in <params>, line 1: '{name}' is not a valid node in the Cluster::nodes configuration"
        ));
        return Err(Failure::InitErrors);
    };
    let runtime = node::runtime(&behaviour, command_line.simulation)?;
    if let Some(trace) = command_line
        .trace
        .as_ref()
        .filter(|trace| !Path::new(trace).exists())
    {
        return Err(Failure::Trace(trace.clone()));
    }
    let interface = command_line.interface.as_deref().map(ZeekString::from);
    if let Some(code) = node::begin(program, &behaviour, interface.as_ref())? {
        return Ok(code);
    }
    let listeners = if behaviour.listens {
        listeners::listen(own, command_line)?
    } else {
        Vec::new()
    };
    let config = NodeConfig {
        name,
        interface,
        pcap_file: command_line.trace.as_deref().map(ZeekString::from),
        directory: env::current_dir()?.to_str().map(ZeekString::from),
        cluster,
        ..NodeConfig::default()
    };
    let crashes_after = behaviour.crashes_after.map(Duration::from_millis);
    let outcome = runtime.block_on(async {
        let link = Link::start(config, behaviour, release, &supervisor.zeek_version, command_line)?;
        match crashes_after {
            None => link.serve(&status).await,
            Some(time) => match timeout(time, link.serve(&status)).await {
                Ok(outcome) => outcome,
                Err(_) => Ok(ExitCode::FAILURE),
            },
        }
    });
    drop(listeners);
    outcome
}

/// Whether a script is one, if it is a file by its whole path. What is found on ZEEKPATH is part of Zeek.
fn check(script: &str) -> Result<(), Failure> {
    if !script.starts_with('/') {
        return Ok(());
    }
    let forms = [
        script.to_owned(),
        format!("{script}.zeek"),
        format!("{script}/__load__.zeek"),
    ];
    let file = forms.into_iter().find(|form| Path::new(form).is_file());
    let file = file.ok_or_else(|| Failure::NoScript(script.to_owned()))?;
    let text = fs::read_to_string(&file).map_err(Failure::system("a script"))?;
    match text.lines().position(|line| line.trim() == SYNTAX_ERROR) {
        Some(line) => Err(Failure::Syntax { file, line: line + 1 }),
        None => Ok(()),
    }
}
