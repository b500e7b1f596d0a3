//! The agent's commands and reports as requests and responses of Zeek's Supervisor.

use std::sync::Arc;

use broker_codec::data::ZeekString;
use mgmt_api::{
    ClusterEndpoint, NodeConfig, SupervisedNode, SupervisorRequest, SupervisorResponse, schema::NO_PORT,
};

use crate::core::{ClusterNode, Command, NodeSpec, Report, Supervised};

/// What marks the processes of controllers and agents in a Supervisor (`*/boot.zeek`).
const MANAGEMENT_NODE: &[u8] = b"ZEEK_MANAGEMENT_NODE";

/// The same up to 5.0.0-rc1.
const OLD_MANAGEMENT_NODE: &[u8] = b"ZEEK_CLUSTER_MGMT_NODE";

pub(super) fn request(command: Command) -> SupervisorRequest {
    match command {
        Command::Status { id } => SupervisorRequest::Status {
            reqid: id,
            node: ZeekString::default(),
        },
        // The agent never asks for the latter: this Supervisor does not tell how its nodes were started.
        Command::Create { id, node } | Command::Relayout { id, node } => SupervisorRequest::Create {
            reqid: id,
            node: Box::new(config(*node)),
        },
        Command::Restart { id, node } => SupervisorRequest::Restart { reqid: id, node },
        Command::Destroy { id, node } => SupervisorRequest::Destroy { reqid: id, node },
    }
}

fn config(node: NodeSpec) -> NodeConfig {
    let endpoint = |place: ClusterNode| ClusterEndpoint {
        role: place.role,
        host: place.host,
        p: place.p.unwrap_or(NO_PORT),
        interface: place.interface,
        pcap_file: None,
        metrics_port: place.metrics_port,
    };
    NodeConfig {
        name: node.name,
        interface: node.interface,
        directory: Some(node.directory),
        addl_user_scripts: node.scripts,
        env: node.env,
        cpu_affinity: node.cpu_affinity,
        cluster: Arc::unwrap_or_clone(node.cluster)
            .into_iter()
            .map(|(name, place)| (name, endpoint(place)))
            .collect(),
        ..NodeConfig::default()
    }
}

/// What a response reports; and if it answers a command, that one's id, and what the log shows of it.
pub(super) fn report(response: SupervisorResponse) -> (Option<(ZeekString, String)>, Report) {
    let answer = |name: &str, id: &ZeekString, shown: &str| {
        let line = format!("rx SupervisorControl::{name}_response {id}{shown}");
        Some((id.clone(), line))
    };
    match response {
        SupervisorResponse::Status { reqid: id, result } => {
            let status = result.nodes.into_iter();
            let status = status.map(|(name, node)| (name.clone(), supervised(&name, node)));
            (
                answer("status", &id, ""),
                Report::Status {
                    id,
                    status: status.collect(),
                },
            )
        }
        SupervisorResponse::Create { reqid: id, result } => {
            let answer = answer("create", &id, &format!(" {result}"));
            let outcome = if result.is_empty() { Ok(()) } else { Err(result) };
            (answer, Report::Created { id, outcome })
        }
        SupervisorResponse::Restart {
            reqid: id,
            result: existed,
        } => (
            answer("restart", &id, letter(existed)),
            Report::Restarted { id, existed },
        ),
        SupervisorResponse::Destroy {
            reqid: id,
            result: existed,
        } => (
            answer("destroy", &id, letter(existed)),
            Report::Destroyed { id, existed },
        ),
        // Zero says that no process could be started.
        SupervisorResponse::NodeStatus { node, pid } => match i64::try_from(pid) {
            Ok(pid) if pid > 0 => (
                None,
                Report::NodeStarted {
                    node,
                    pid,
                    is_to_end: false,
                },
            ),
            _ => (None, Report::NotStarted { node }),
        },
    }
}

fn supervised(name: &ZeekString, SupervisedNode { mut node, pid }: SupervisedNode) -> Supervised {
    let place = |endpoint: ClusterEndpoint| ClusterNode {
        role: endpoint.role,
        host: endpoint.host,
        p: Some(endpoint.p).filter(|port| *port != NO_PORT),
        interface: endpoint.interface,
        metrics_port: endpoint.metrics_port,
    };
    let management = node.env.remove(MANAGEMENT_NODE);
    Supervised {
        pid,
        age: None,
        management: management.or_else(|| node.env.remove(OLD_MANAGEMENT_NODE)),
        node: node.cluster.remove(name).map(place),
        // What a node of Zeek's was started with is not compared: recorded agents replace all.
        spec: None,
    }
}

/// As Zeek prints a `bool`, after a blank.
const fn letter(value: bool) -> &'static str {
    if value { " T" } else { " F" }
}
