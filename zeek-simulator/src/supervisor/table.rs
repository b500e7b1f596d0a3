use std::{collections::BTreeMap, fs};

use broker_codec::data::ZeekString;
use mgmt_api::{NodeConfig, SupervisedNode, SupervisorStatus};

use crate::{
    command_line::{CommandLine, variable},
    path,
};

/// The nodes that there should be, with their process ids as last heard of.
#[derive(Debug, Default)]
pub(super) struct Table {
    nodes: BTreeMap<ZeekString, SupervisedNode>,
}

impl Table {
    /// Adds a node and makes its directory; or says why not, in the words of `Supervisor::Create`.
    pub(super) fn add(&mut self, node: NodeConfig) -> Result<NodeConfig, String> {
        let name = node.name.clone();
        if name.is_empty() {
            return Err("node names must not be an empty string".into());
        }
        if name.contains(&b' ') {
            return Err(format!("node names must not contain spaces: '{name}'"));
        }
        if self.nodes.contains_key(&name) {
            return Err(format!("node with name '{name}' already exists"));
        }
        if node.interface.is_some() && node.pcap_file.is_some() {
            return Err(format!("node with name '{name}' has interface and pcap_file set"));
        }
        if let Some(directory) = &node.directory
            && fs::create_dir_all(path(directory)).is_err()
        {
            return Err(format!("failed to create working directory {directory}\n"));
        }
        let supervised = SupervisedNode {
            node: node.clone(),
            pid: None,
        };
        self.nodes.insert(name, supervised);
        Ok(node)
    }

    pub(super) fn remove(&mut self, node: &ZeekString) {
        self.nodes.remove(node);
    }

    /// A node's process is this one now.
    pub(super) fn started(&mut self, node: &ZeekString, pid: u32) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.pid = Some(pid.into());
        }
    }

    /// The names that a request is about: its own, if there is such a node; all, if it is empty.
    pub(super) fn names(&self, of: &ZeekString) -> Vec<ZeekString> {
        self.nodes
            .keys()
            .filter(|name| of.is_empty() || *name == of)
            .cloned()
            .collect()
    }

    pub(super) fn status(&self, of: &ZeekString) -> SupervisorStatus {
        let nodes = self.nodes.iter().filter(|(name, _)| of.is_empty() || *name == of);
        SupervisorStatus {
            nodes: nodes.map(|(name, node)| (name.clone(), node.clone())).collect(),
        }
    }
}

/// The node as which Zeek's Supervisor runs Zeek's agent (`policy/frameworks/management/agent/boot.zeek`). Its stand-in
/// just lives.
pub(super) fn agent(command_line: &CommandLine) -> NodeConfig {
    let name = command_line
        .text("Management::Agent::name")
        .map(str::to_owned)
        .or_else(|| variable("ZEEK_AGENT_NAME"))
        .unwrap_or_else(|| "agent".into());
    let state_dir = command_line
        .text("Management::state_dir")
        .map(str::to_owned)
        .or_else(|| variable("ZEEK_MANAGEMENT_STATE_DIR"))
        .unwrap_or_else(|| ".".into());
    let env = [("ZEEK_MANAGEMENT_NODE".into(), "AGENT".into())];
    NodeConfig {
        name: name.as_str().into(),
        directory: Some(format!("{state_dir}/nodes/{name}").as_str().into()),
        bare_mode: Some(true),
        addl_base_scripts: vec!["policy/frameworks/management/agent/main.zeek".into()],
        env: env.into_iter().collect(),
        ..NodeConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_created_is_refused_in_zeeks_words() {
        let mut table = Table::default();
        let mut refusal = |name: &str, change: fn(&mut NodeConfig)| {
            let mut node = NodeConfig {
                name: name.into(),
                ..NodeConfig::default()
            };
            change(&mut node);
            table.add(node).err().unwrap_or_default()
        };
        assert_eq!(refusal("worker", |_| ()), "");
        assert_eq!(
            refusal("worker", |_| ()),
            "node with name 'worker' already exists"
        );
        assert_eq!(refusal("", |_| ()), "node names must not be an empty string");
        assert_eq!(
            refusal("a b", |_| ()),
            "node names must not contain spaces: 'a b'"
        );
        let both = |node: &mut NodeConfig| {
            node.interface = Some("lo".into());
            node.pcap_file = Some("trace.pcap".into());
        };
        assert_eq!(
            refusal("both", both),
            "node with name 'both' has interface and pcap_file set"
        );
        assert_eq!(
            refusal("nowhere", |node| node.directory =
                Some("/proc/self/no/such".into())),
            "failed to create working directory /proc/self/no/such\n"
        );
        assert_eq!(table.names(&"".into()), ["worker"]);
        assert!(table.status(&"nobody".into()).nodes.is_empty());
    }
}
