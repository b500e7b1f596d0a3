//! The settings that only the agent has. Zeek's are from `agent/config.zeek`, and what it takes from the controller's and the
//! Supervisor's, of Zeek 9.0.

use mgmt_daemon::config::{
    COMMON, Listener, Schema, Setting,
    Takes::{Many, Nothing, One, Optional},
};

use super::network_info::{NetworkInfo, peer};
use crate::enrolment::options;

pub static SCHEMA: Schema = Schema {
    daemon: "agent",
    module: "Management::Agent::",
    tables: [OWN, COMMON],
    gone: &[(
        "peer-api",
        "it is called --controller-api now, and says nothing about nodes",
    )],
    own_commands: &[("enroll", options::command)],
};

static OWN: &[Setting] = &[
    Setting::new(
        "name",
        "`agent-<hostname>`",
        "The agent's name: the instance's in the cluster file",
    )
    .zeek(&["Management::Agent::name"])
    .variable("ZEEK_AGENT_NAME")
    .option(One("NAME")),
    Setting::new(
        "listen",
        "0.0.0.0:2151",
        "Where nodes connect, and the controller if the agent does not connect to it: address, interface or \
         host name, and port in one",
    )
    .option(One("ADDRESS:PORT"))
    .sets(|text| Listener::sets(text, "listen_address", "listen_port")),
    Setting::new(
        "listen_address",
        "`default_address`",
        "The address of the Broker port, or the name of an interface or a host",
    )
    .zeek(&["Management::Agent::listen_address"])
    .variable("ZEEK_AGENT_ADDR"),
    Setting::new("listen_port", "`default_port`", "The Broker port")
        .zeek(&["Management::Agent::listen_port"])
        .variable("ZEEK_AGENT_PORT"),
    Setting::new(
        "default_port",
        "2151/tcp",
        "The Broker port, if `listen_port` is not given",
    )
    .zeek(&["Management::Agent::default_port"]),
    Setting::new(
        "controller",
        "127.0.0.1:2150",
        "The controller to connect to, or `off` to be connected to; in Zeek's notation \
         `[$address=\"127.0.0.1\", $bound_port=2150/tcp]`, with the address 0.0.0.0 to be connected to",
    )
    .zeek(&["Management::Agent::controller"])
    .option(One("HOST:PORT"))
    .sets(|text| Ok(vec![("controller", NetworkInfo::of_option(text)?)])),
    Setting::new(
        "controller_port",
        "`controller_default_port`",
        "The port of the default `controller`",
    )
    .zeek(&["Management::Controller::listen_port"])
    .variable("ZEEK_CONTROLLER_PORT"),
    Setting::new(
        "controller_default_port",
        "2150/tcp",
        "The controller's port, if `controller_port` is not given",
    )
    .zeek(&["Management::Controller::default_port"]),
    Setting::new(
        "with_controller",
        "",
        "Start a controller on this host, keep it running, and end it when the agent is stopped. It gets the settings that both have, and the \
         redefinitions in FILE, if one is named",
    )
    .option(Optional("FILE")),
    Setting::new(
        "supervise",
        "auto",
        "Who keeps the nodes: `systemd`, as its units; `native`, the agent, as its children; `zeek`, a Supervisor of Zeek's (`zeek -j`). \
         `auto` is `zeek` with `--supervisor` or `--start-supervisor`, else what it was before; at first `systemd` where that runs the host and \
         has the unit of nodes, else `native`",
    )
    .option(One("KEEPER")),
    Setting::new(
        "on_agent_exit",
        "`keep`, `stop` with `simulate`",
        "What becomes of nodes when the agent ends in good order, where no Supervisor of Zeek's keeps them: `keep` leaves them running, \
         to be taken over by the next agent; `stop` ends them",
    )
    .option(One("FATE")),
    Setting::new(
        "on_zeek_upgrade",
        "warn",
        "What the agent does when Zeek's program on disk has changed, where no Supervisor of Zeek's keeps the nodes: `warn`, running nodes \
         keep theirs; `restart` all nodes",
    )
    .option(One("POLICY")),
    Setting::new(
        "start_without_controller",
        "T",
        "Whether nodes of the configuration that was deployed last are started when the agent starts and no controller has deployed within 30 s; \
         on a host that has the whole cluster at once. Where no Supervisor of Zeek's keeps them",
    )
    .option(One("T|F")),
    Setting::new(
        "node_stop_timeout",
        "60sec",
        "How long a node may take to end when it is told to, before it is killed: 1 s to 1 h. Where no Supervisor of Zeek's keeps the nodes, \
         as the next four",
    )
    .option(One("INTERVAL")),
    Setting::new(
        "node_restart_max",
        "60sec",
        "The longest time before a node is started again that has ended by itself: 1 s to 1 day. The first one is half a second",
    )
    .option(One("INTERVAL")),
    Setting::new(
        "node_fails_after",
        "5",
        "After how many early ends in a row a node counts as FAILED: 1000 at most, or 0 for never",
    )
    .option(One("NUMBER")),
    Setting::new(
        "node_failed_retry",
        "5min",
        "How long after its end a node that counts as FAILED is started again: 1 s to 1 day",
    )
    .option(One("INTERVAL")),
    Setting::new(
        "node_stage_timeout",
        "10sec",
        "How long nodes that start wait for those of earlier stages to come up, or for others to end: 1 h at most",
    )
    .option(One("INTERVAL")),
    Setting::new(
        "supervisor",
        "127.0.0.1:9999",
        "Where the Supervisor, a `zeek -j` process, listens: address and port in one. Port 0 is a free one \
         for each start, if the agent starts it",
    )
    .option(One("HOST:PORT"))
    .sets(|text| {
        let at = peer(text)?;
        Ok(vec![
            ("supervisor_address", at.host),
            ("supervisor_port", format!("{}/tcp", at.port)),
        ])
    }),
    Setting::new("supervisor_address", "127.0.0.1", "The Supervisor's address")
        .zeek(&["Broker::default_listen_address"])
        .variable("ZEEK_DEFAULT_LISTEN_ADDRESS"),
    Setting::new("supervisor_port", "9999/tcp", "The Supervisor's port").zeek(&["Broker::default_port"]),
    Setting::new(
        "start_supervisor",
        "F",
        "Start the Supervisor, keep it running, and end it when the agent is stopped",
    )
    .option(Nothing),
    // Its nodes go on meanwhile, and end with it: longer than it takes a busy machine to start Zeek.
    Setting::new(
        "supervisor_timeout",
        "60sec",
        "How long a Supervisor that the agent has started may answer nothing, before it is ended and started \
         again: 1 s at least, or `0sec` for ever",
    )
    .option(One("INTERVAL")),
    Setting::new(
        "zeek_argument",
        "",
        "A further argument for the Supervisor that the agent starts and all nodes, such as `local` or \
         `Module::name=value`; may be repeated",
    )
    .option(Many("ARGUMENT")),
    Setting::new(
        "simulate",
        "F",
        "Run no Zeek but stand-ins for its Supervisor and nodes, to see a cluster where there is no Zeek. \
         They analyse no traffic",
    )
    .option(Nothing),
    Setting::new(
        "zeek_version",
        "",
        "The version of the Supervisor's Zeek, as in 6.0.9; used only if neither it nor `zeek --version` tells",
    )
    .option(One("VERSION")),
    Setting::new(
        "node_script",
        "Zeek's own, or ours if the installed Zeek has none",
        "The script that makes a Zeek process a managed node",
    )
    .option(One("SCRIPT")),
    Setting::new(
        "site_scripts",
        "local",
        "The scripts that every node loads before its own, with blanks between them, where the agent starts nodes without a Supervisor of \
         Zeek's",
    )
    .option(One("SCRIPTS")),
    Setting::new("request_timeout", "5sec", "How long a request may take")
        .zeek(&["Management::Request::timeout_interval"]),
    Setting::new(
        "deployment_timeout",
        "15sec",
        "How long a deployment may take under a controller of this project, which waits for 18 seconds; by \
         default as long as other requests, if `Management::Request::timeout_interval` says how long",
    )
    .option(One("INTERVAL")),
    Setting::new(
        "zeek_deployment_timeout",
        "8sec",
        "How long a deployment may take under Zeek's controller, which waits for 10 seconds; by default as \
         long as other requests, if `Management::Request::timeout_interval` says how long",
    )
    .option(One("INTERVAL")),
    Setting::new(
        "archive_logs",
        "T",
        "Whether to archive rotated logs; `F` with `--simulate`, unless `archive_cmd` is set",
    )
    .zeek(&["Management::Agent::archive_logs"]),
    Setting::new(
        "archive_interval",
        "0sec",
        "How often to archive them; `0sec` for at each rotation",
    )
    .zeek(&["Management::Agent::archive_interval"]),
    Setting::new(
        "archive_cmd",
        "`<prefix>/bin/zeek-archiver`",
        "The program that archives them",
    )
    .zeek(&["Management::Agent::archive_cmd"]),
    Setting::new(
        "archive_dir",
        "`<prefix>/logs`",
        "The directory that they are archived into",
    )
    .zeek(&["Management::Agent::archive_dir"]),
    Setting::new(
        "controller_api",
        "7.0",
        "The API to assume of a controller until its messages show it. Needed for one of Zeek's commit 54aaf3a623 (`seed`)",
    )
    .variable("MGMT_AGENT_CONTROLLER_API")
    .option(One("ZEEK")),
    Setting::new(
        "directory",
        "",
        "The agent's directory below `<state>/nodes`; its name if empty",
    )
    .zeek(&["Management::Agent::directory"]),
    Setting::new(
        "agent_topic",
        "zeek/management/agent",
        "The topic of agents; each has its own below",
    )
    .zeek(&["Management::Agent::topic_prefix"]),
    Setting::new("node_topic", "zeek/management/node", "The topic of nodes")
        .zeek(&["Management::Node::node_topic"]),
    Setting::new(
        "shim_topic",
        "zeek/management/supervisor",
        "The topic of the framework's part of a Supervisor",
    )
    .zeek(&["Management::Supervisor::topic_prefix"]),
    Setting::new("supervisor_topic", "zeek/supervisor", "The topic of a Supervisor")
        .zeek(&["SupervisorControl::topic_prefix"]),
];
