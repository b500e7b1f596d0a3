use std::{collections::BTreeMap, time::Duration};

use broker_codec::data::{Port, ZeekString};
use mgmt_api::topics;
use serde::{Deserialize, Serialize};

/// What an operator can choose, with Zeek's defaults (`agent/config.zeek`, `node/config.zeek`, `config.zeek`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The agent's name: `Management::Agent::name`. Zeek's default, `agent-` and the host's name, is not known here.
    pub name: ZeekString,
    /// `Management::Agent::topic_prefix`
    pub topic_prefix: ZeekString,
    /// `Management::Node::node_topic`
    pub node_topic: ZeekString,
    /// Whether the agent connects to the controller, rather than the reverse: `Management::Agent::controller` is
    /// not `0.0.0.0`.
    pub connecting: bool,
    /// The agent's Broker port: `Management::Agent::listen_port`.
    pub listen_port: Port,
    /// How long a request may take, counted from its arrival: `Management::Request::timeout_interval`.
    pub request_timeout: Duration,
    /// How long a deployment may take under a controller of this project, which waits for 18 seconds.
    pub deployment_timeout: Duration,
    /// How long a deployment may take under Zeek's controller, which waits for 10 seconds.
    pub zeek_deployment_timeout: Duration,
    /// Nodes have their working directories in `nodes` below it: `Management::state_dir`.
    pub state_dir: ZeekString,
    /// The script that makes a Zeek process a managed node: Zeek's own, or another where the installation lacks that.
    pub node_script: ZeekString,
    /// Environment variables for all nodes, which say where the agent is where they would not find it.
    #[serde(default)]
    pub node_env: BTreeMap<ZeekString, ZeekString>,
    /// The environment variables, in words, that the Supervisor needs for its nodes to find the agent, where nodes cannot be given them.
    #[serde(default)]
    pub supervisor_env: Option<String>,
    /// How rotated logs are archived, unless they are not: `Management::Agent::archive_logs`.
    pub archival: Option<Archival>,
}

/// How rotated logs are archived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archival {
    /// How often: `Management::Agent::archive_interval`, or where that is zero `Log::default_rotation_interval`. Never
    /// if that is zero as well.
    pub interval: Duration,
    /// The directory of rotated logs, `Log::default_rotation_dir`.
    pub directory: String,
    /// The shell command with its arguments: `Management::Agent::archive_cmd`, `-1`, the directory of rotated logs,
    /// `Management::Agent::archive_dir`.
    pub command: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "agent".into(),
            topic_prefix: topics::AGENT_PREFIX.into(),
            node_topic: topics::NODE.into(),
            connecting: true,
            listen_port: Port::tcp(2151),
            request_timeout: Duration::from_secs(5),
            deployment_timeout: Duration::from_secs(15),
            zeek_deployment_timeout: Duration::from_secs(8),
            state_dir: "/usr/local/zeek/var/lib".into(),
            node_script: "policy/frameworks/management/node".into(),
            node_env: BTreeMap::new(),
            supervisor_env: None,
            archival: None,
        }
    }
}
