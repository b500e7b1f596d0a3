use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use broker_codec::data::{Address, Port, ZeekString};
use mgmt_api::{Dialect, SupervisorLayout, operator::HttpAddress, topics};
use serde::{Deserialize, Serialize};
use strum::Display;

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
    /// What controllers are taken to speak that have not said anything. Those from 5.0 on understand the model, and those
    /// of 4.x have a topic of their own and are spoken to there as well.
    pub controller_api: Dialect,
    /// The agent's own address. Controllers up to Zeek's commit 54aaf3a623 are told.
    pub address: Address,
    /// Who keeps the nodes.
    #[serde(default)]
    pub supervise: Supervise,
    pub zeek: ZeekSettings,
    /// Where operators ask by HTTP over TCP, if they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAddress>,
    /// The CPUs that the agent may use, as in `0-7,16`, if that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    /// Whether nodes of the configuration that was deployed last are started again without a controller.
    #[serde(default)]
    pub start_without_controller: bool,
    /// Whether all nodes are restarted when Zeek's program has changed.
    #[serde(default)]
    pub restarts_on_upgrade: bool,
    /// What nodes are started with, if no Supervisor of Zeek's starts them.
    #[serde(default)]
    pub launch: LaunchSettings,
}

/// Who keeps the nodes, shown as the word for the setting.
#[derive(Clone, Copy, Debug, Default, Display, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Supervise {
    /// A `zeek -j` process.
    #[default]
    Zeek,
    /// systemd, as units of a template of ours.
    Systemd,
    /// The agent, as its children.
    Native,
}

/// How nodes are started that need no Supervisor of Zeek's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSettings {
    /// The agent's name.
    pub agent_name: ZeekString,
    /// Whether the system holds nodes to a limit of memory.
    pub limits_memory: bool,
    /// Zeek, with its whole path.
    pub program: ZeekString,
    /// What the program needs to be told in order to be Zeek, before all else.
    pub leading_arguments: Vec<ZeekString>,
    /// What the installed Zeek says that it is: `zeek version 9.0.0`.
    pub version: Option<String>,
    /// The nodes' ZEEKPATH, where Zeek finds its scripts.
    pub script_path: ZeekString,
    /// The nodes' PATH.
    pub path: ZeekString,
    /// What else nodes have of the agent's environment.
    pub inherited: BTreeMap<ZeekString, ZeekString>,
    /// Scripts that all nodes load, before their own.
    pub site_scripts: Vec<ZeekString>,
    /// Our script, by which a node finds the agent, with its whole path.
    pub link_script: ZeekString,
    /// Options that all nodes get, as `name=value`: what they need to connect to this agent.
    pub options: Vec<ZeekString>,
    /// Where nodes find the agent.
    pub agent_address: IpAddr,
    pub agent_port: u16,
    /// Where loggers leave rotated logs.
    pub log_queue: ZeekString,
    #[serde(default)]
    pub policy: NodePolicy,
}

/// When nodes are started again and how they are stopped, as far as operators choose that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePolicy {
    /// How long one may take to end before it is killed.
    pub stop_timeout: Duration,
    /// The longest time after its end before one is started again that has not failed.
    pub restart_max: Duration,
    /// After how many early ends one has failed; 0: never.
    pub fails_after: u32,
    /// How long after its end one is started again that has failed.
    pub failed_retry: Duration,
    /// For how long one that was started keeps those of later stages waiting, and one that is to end those that are to start, at most.
    pub stage_timeout: Duration,
}

/// How a Supervisor of Zeek's is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZeekSettings {
    /// `SupervisorControl::topic_prefix`
    pub topic: ZeekString,
    /// Where the Management framework's part of the Supervisor tells about nodes:
    /// `Management::Supervisor::topic_prefix`.
    pub shim_topic: ZeekString,
    /// How long the Supervisor may take to answer. Shorter than the agent's requests may take, so that their answers
    /// can say why they failed.
    pub answer_timeout: Duration,
    /// How long a Supervisor whose process is ours may be silent. After each quarter of that time it is asked something,
    /// and at the end it is ended, to be started again. `None`: for ever.
    pub supervisor_timeout: Option<Duration>,
    /// What the installed Zeek says that it is (`zeek --version`): its layout counts while the Supervisor has not shown its own.
    pub version: Option<String>,
    /// Whether the installed Zeek can be asked again, when a Supervisor has connected.
    pub asks_version: bool,
    /// The layout that is configured: counts if the other two are not known.
    pub configured: Option<SupervisorLayout>,
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
            controller_api: Dialect::V7_0,
            address: LOCALHOST,
            supervise: Supervise::Zeek,
            http: None,
            cpus: None,
            start_without_controller: true,
            restarts_on_upgrade: false,
            launch: LaunchSettings::default(),
            zeek: ZeekSettings::default(),
        }
    }
}

impl Default for LaunchSettings {
    fn default() -> Self {
        Self {
            agent_name: "agent".into(),
            limits_memory: false,
            program: "/usr/local/zeek/bin/zeek".into(),
            leading_arguments: Vec::new(),
            version: None,
            script_path: ZeekString::default(),
            path: ZeekString::default(),
            inherited: BTreeMap::new(),
            site_scripts: vec!["local".into()],
            link_script: ZeekString::default(),
            options: Vec::new(),
            agent_address: Ipv4Addr::LOCALHOST.into(),
            agent_port: 2151,
            log_queue: "/usr/local/zeek/spool/log-queue".into(),
            policy: NodePolicy::default(),
        }
    }
}

/// A node that ends early five times in a row has failed: that takes about 8 seconds and what it lives, so that the answer to its deployment can
/// say so. The time to stop is that of zeekctl's `StopTimeout`.
impl Default for NodePolicy {
    fn default() -> Self {
        Self {
            stop_timeout: Duration::from_secs(60),
            restart_max: Duration::from_secs(60),
            fails_after: 5,
            failed_retry: Duration::from_secs(300),
            stage_timeout: Duration::from_secs(10),
        }
    }
}

impl Default for ZeekSettings {
    fn default() -> Self {
        Self {
            topic: topics::SUPERVISOR.into(),
            shim_topic: topics::SUPERVISOR_SHIM.into(),
            answer_timeout: Duration::from_secs(4),
            supervisor_timeout: Some(Duration::from_secs(60)),
            version: None,
            asks_version: false,
            configured: None,
        }
    }
}

/// What agents up to 54aaf3a623 took for their address, unless they were told another one (`agent/config.zeek`,
/// `default_address`).
const LOCALHOST: Address = Address::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);

impl Settings {
    /// The topic on which controllers and agent talk.
    pub fn agent_topic(&self) -> ZeekString {
        topics::agent(&self.topic_prefix, &self.name)
    }

    /// The topics of this agent of which a controller has subscribed to one: the second is for controllers of 4.x.
    pub fn controller_topics(&self) -> [ZeekString; 2] {
        let of_4 = topics::agent(topics::CLUSTER_AGENT_PREFIX.as_bytes(), &self.name);
        [self.agent_topic(), of_4]
    }

    /// What the endpoint subscribes to: as Zeek's agent does (`agent/main.zeek`), as that of 4.x does, and for the extension.
    ///
    /// DIFFERENCE(extension): Zeek has none.
    pub fn subscriptions(&self) -> [ZeekString; 6] {
        let [topic, of_4] = self.controller_topics();
        [
            topic,
            self.zeek.topic.clone(),
            self.node_topic.clone(),
            self.zeek.shim_topic.clone(),
            of_4,
            topics::LINK.into(),
        ]
    }
}
