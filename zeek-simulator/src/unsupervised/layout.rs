//! `cluster-layout.zeek`, as far as a stand-in needs it: which nodes there are, and where they listen.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use broker_codec::data::{Port, Protocol, ZeekString};
use mgmt_api::{ClusterEndpoint, ClusterRole};

use crate::{Failure, command_line::variable};

const FILE: &str = "cluster-layout.zeek";

/// The port of a node that does not listen.
pub(super) const SILENT: Port = Port {
    number: 0,
    protocol: Protocol::Unknown,
};

/// The nodes of the cluster, by name.
pub(super) type Layout = BTreeMap<ZeekString, ClusterEndpoint>;

/// Reads the layout that Zeek would find: the first on ZEEKPATH, or without that in the working directory.
pub(super) fn find() -> Result<Layout, Failure> {
    let search = variable("ZEEKPATH").unwrap_or_else(|| ".".into());
    let file = env::split_paths(&search)
        .map(|directory| directory.join(FILE))
        .find(|file| file.is_file())
        .ok_or(Failure::NoLayout)?;
    let text = fs::read_to_string(&file).map_err(Failure::system(FILE))?;
    parse(&text).ok_or_else(|| Failure::Layout(PathBuf::from(&file)))
}

/// Understands one entry a line: `["NAME"] = [$FIELD=VALUE, ...],`.
fn parse(text: &str) -> Option<Layout> {
    let entries = text.lines().map(str::trim).filter(|line| line.starts_with("[\""));
    entries.map(entry).collect()
}

fn entry(line: &str) -> Option<(ZeekString, ClusterEndpoint)> {
    let (name, record) = line.strip_prefix("[\"")?.split_once("\"]")?;
    let record = record.trim_start().strip_prefix('=')?.trim_start();
    let record = record
        .strip_prefix('[')?
        .trim_end_matches(',')
        .strip_suffix(']')?;
    let fields: BTreeMap<&str, &str> = record
        .split(", $")
        .filter_map(|field| field.trim_start_matches('$').split_once('='))
        .collect();
    let role = match *fields.get("node_type")? {
        "Cluster::LOGGER" => ClusterRole::Logger,
        "Cluster::MANAGER" => ClusterRole::Manager,
        "Cluster::PROXY" => ClusterRole::Proxy,
        "Cluster::WORKER" => ClusterRole::Worker,
        _ => ClusterRole::None,
    };
    let port = |name: &str| {
        let number = fields.get(name)?.strip_suffix("/tcp")?.parse().ok()?;
        Some(Port::tcp(number))
    };
    let host = fields.get("ip")?.trim_matches(['[', ']']).parse().ok()?;
    let interface = fields.get("interface").map(|name| name.trim_matches('"').into());
    let endpoint = ClusterEndpoint {
        role,
        host,
        p: port("p").unwrap_or(SILENT),
        interface,
        pcap_file: None,
        metrics_port: port("metrics_port"),
    };
    Some((name.into(), endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_needs_of_a_layout_is_read() {
        let layout = parse(
            "# Comment\nredef Cluster::manager_is_logger = F;\nredef Cluster::nodes = {\n\
             \t[\"manager\"] = [$node_type=Cluster::MANAGER, $ip=127.0.0.1, $p=2200/tcp, $metrics_port=9000/tcp],\n\
             \t[\"w 1\"] = [$node_type=Cluster::WORKER, $ip=[::1], $manager=\"manager\", $interface=\"a\"],\n};\n",
        )
        .unwrap();
        let shown = |(name, node): (&ZeekString, &ClusterEndpoint)| {
            let ClusterEndpoint {
                role,
                host,
                p,
                interface,
                metrics_port,
                ..
            } = node;
            format!(
                "{name} {role:?} {host} {} {interface:?} {metrics_port:?}",
                p.in_zeek()
            )
        };
        assert_eq!(
            layout.iter().map(shown).collect::<Vec<_>>(),
            [
                "manager Manager 127.0.0.1 2200/tcp None Some(Port { number: 9000, protocol: Tcp })",
                "w 1 Worker ::1 0/unknown Some(\"a\") None"
            ]
        );
        assert_eq!(parse("redef Cluster::nodes = { };"), Some(Layout::new()));
        assert_eq!(parse("[\"a\"] = [$ip=127.0.0.1],"), None);
    }
}
