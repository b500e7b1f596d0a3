//! The ports that a node listens on. No client is served there; what matters is that they are taken, and what is said if they are not free.

use std::net::{Ipv4Addr, TcpListener};

use broker_codec::data::Port;
use mgmt_api::{ClusterEndpoint, ClusterRole};

use crate::{
    Failure,
    command_line::{CommandLine, variable},
    complain,
};

const ZEROMQ: &str = "frameworks/cluster/backend/zeromq";

/// Listens wherever Zeek would, with the cluster's backend that is loaded. Fails as Zeek does, first by lines and then by how it ends.
pub(super) fn listen(own: &ClusterEndpoint, command_line: &CommandLine) -> Result<Vec<TcpListener>, Failure> {
    let address =
        variable("ZEEK_DEFAULT_LISTEN_ADDRESS").unwrap_or_else(|| Ipv4Addr::UNSPECIFIED.to_string());
    let mut listeners = Vec::new();
    if let Some(port) = own.metrics_port.filter(|port| port.number != 0) {
        listeners.push(bind(&address, port).map_err(|_| Failure::MetricsPort)?);
    }
    let is_zeromq = command_line.scripts.iter().any(|script| script.contains(ZEROMQ));
    if is_zeromq {
        listeners.extend(zeromq(own, command_line)?);
    } else if own.p.number != 0 {
        let listening = bind(&address, own.p).map_err(|_| {
            complain(&format!(
                "error in <params>, line 1: Failed to listen on {address}:{} (Broker::listen({address}, {}, 1.0 sec))",
                own.p.number,
                own.p.in_zeek()
            ));
            Failure::InitErrors
        })?;
        listeners.push(listening);
    }
    Ok(listeners)
}

fn bind(address: &str, port: Port) -> std::io::Result<TcpListener> {
    TcpListener::bind((address.trim_matches(['[', ']']), port.number))
}

/// With that backend managers have two ports for all nodes, and loggers one.
fn zeromq(own: &ClusterEndpoint, command_line: &CommandLine) -> Result<Vec<TcpListener>, Failure> {
    let endpoint = |name: &str, default: u16| {
        let text = command_line.text_or(
            &format!("Cluster::Backend::ZeroMQ::listen_{name}_endpoint"),
            &format!("tcp://127.0.0.1:{default}"),
        );
        let place = text.strip_prefix("tcp://").unwrap_or_default().to_owned();
        (text, place)
    };
    let sockets = match own.role {
        ClusterRole::Manager => vec![("xpub", endpoint("xpub", 5555)), ("xsub", endpoint("xsub", 5556))],
        ClusterRole::Logger => {
            let place = format!("{}:{}", own.host, own.p.number);
            vec![("pull", (format!("tcp://{place}"), place))]
        }
        _ => Vec::new(),
    };
    let mut listeners = Vec::new();
    for (socket, (text, place)) in sockets {
        let listening = TcpListener::bind(&place).map_err(|_| {
            let (errno, what) = if socket == "pull" {
                ("", "Failed initialize ZeroMQ backend")
            } else {
                (" (98)", "Failed to spawn ZeroMQ proxy thread")
            };
            complain(&format!(
                "error: ZeroMQ: Failed to bind {socket} socket {text}: Address already in use{errno}"
            ));
            Failure::ZeroMq(what)
        })?;
        listeners.push(listening);
    }
    Ok(listeners)
}
