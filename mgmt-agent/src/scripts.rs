//! The Zeek scripts that we bring, for installations that lack Zeek's own: written into the working directory, with the
//! coordinates of this agent.

use std::{
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use broker_codec::data::Port;
use mgmt_host::config::{Listener, Value};

use crate::{config::Config, runtime::RunError};

const NODE: &str = include_str!("../scripts/node.zeek");

/// Writes the scripts that are needed; nodes will find the agent at this port.
pub(crate) fn write(config: &Config, port: Port) -> Result<(), RunError> {
    if let Some(path) = &config.own_node_script {
        write_file(path, &node(config, port))?;
    }
    Ok(())
}

/// The script for nodes. Nodes are on this host, whatever else the agent listens on.
fn node(config: &Config, port: Port) -> String {
    let address = match config.listen {
        Listener::At(at) if !at.ip().is_unspecified() => at.ip(),
        Listener::At(at) if at.is_ipv6() => IpAddr::from(Ipv6Addr::LOCALHOST),
        _ => IpAddr::from(Ipv4Addr::LOCALHOST),
    };
    let archival = config.settings.agent.archival.as_ref();
    let queue = archival.map_or_else(String::new, |archival| archival.directory.clone());
    fill_in(
        NODE,
        &[
            ("AGENT_ADDRESS", &address.to_string()),
            ("AGENT_PORT", &port.show()),
            ("NODE_TOPIC", &config.settings.agent.node_topic.to_string()),
            ("LOG_QUEUE", &queue),
        ],
    )
}

/// Puts values in the place of their names, which stand between at signs. Within quotes of a script, they are escaped.
fn fill_in(script: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(script.to_owned(), |script, (name, value)| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"");
        script.replace(&format!("@{name}@"), &value)
    })
}

/// Writes a file whole or not at all: a node may be reading it.
fn write_file(path: &Path, text: &str) -> Result<(), RunError> {
    let failed = |source| RunError::Script {
        path: path.to_path_buf(),
        source,
    };
    let temporary = path.with_extension("zeek.tmp");
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::File::create(&temporary)?.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(failed)
}
