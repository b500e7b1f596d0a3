//! The model: Zeek 7.0 and later (`types.zeek` and `api.zeek` below `scripts/policy/frameworks/management/`, and
//! `scripts/base/frameworks/supervisor/`).

use broker_codec::data::Kind;

use super::table::{Event, Field, SAME, Table, Type, event, may, must};

pub(crate) const TEXT: Type = Type::Plain(Kind::String);
pub(crate) const BOOL: Type = Type::Plain(Kind::Boolean);
pub(crate) const COUNT: Type = Type::Plain(Kind::Count);
pub(crate) const PORT: Type = Type::Plain(Kind::Port);
pub(crate) const ADDRESS: Type = Type::Plain(Kind::Address);
pub(crate) const TEXTS: Type = Type::Plain(Kind::Vector);
pub(crate) const TEXT_SET: Type = Type::Plain(Kind::Set);
pub(crate) const TEXT_TABLE: Type = Type::Plain(Kind::Table);
pub(crate) const INSTANCES: Type = Type::Vector(&Type::Record("Instance"));
pub(crate) const STATES: Type = Type::Bag(&Type::Record("NodeStatus"));
pub(crate) const CONFIGURATION: Type = Type::Record("Configuration");
pub(crate) const A_RESULT: Type = Type::Record("Result");
const ROLE: Field = must("role", Type::Enum("ClusterRole"));
const STATE: Field = must("state", Type::Enum("State"));
const INTERFACE: Field = may("interface", TEXT);
const METRICS_PORT: Field = may("metrics_port", PORT);
const ENV: Field = may("env", TEXT_TABLE);
const CPU_AFFINITY: Field = may("cpu_affinity", Type::Int);

/// Every record, in the order of the model.
const RECORDS: &[(&str, &[Field])] = &[
    ("Option", &[must("name", TEXT), must("value", TEXT)]),
    (
        "Instance",
        &[
            must("name", TEXT),
            must("host", ADDRESS),
            may("listen_port", PORT),
        ],
    ),
    (
        "Node",
        &[
            must("name", TEXT),
            must("instance", TEXT),
            ROLE,
            STATE,
            may("p", PORT),
            may("scripts", TEXTS),
            may("options", Type::Set(&Type::Record("Option"))),
            INTERFACE,
            CPU_AFFINITY,
            ENV,
            METRICS_PORT,
        ],
    ),
    (
        "Configuration",
        &[
            may("id", TEXT),
            may("instances", Type::Set(&Type::Record("Instance"))),
            may("nodes", Type::Set(&Type::Record("Node"))),
        ],
    ),
    (
        "NodeStatus",
        &[
            must("node", TEXT),
            STATE,
            may("mgmt_role", Type::Enum("Role")),
            may("cluster_role", Type::Enum("ClusterRole")),
            may("pid", Type::Int),
            may("p", PORT),
            METRICS_PORT,
        ],
    ),
    (
        "Result",
        &[
            must("reqid", TEXT),
            may("success", BOOL),
            may("instance", TEXT),
            may("data", Type::Any),
            may("error", TEXT),
            may("node", TEXT),
        ],
    ),
    ("NodeOutputs", &[must("stdout", TEXT), must("stderr", TEXT)]),
    (
        "NodeConfig",
        &[
            must("name", TEXT),
            INTERFACE,
            may("pcap_file", TEXT),
            may("directory", TEXT),
            may("stdout_file", TEXT),
            may("stderr_file", TEXT),
            may("bare_mode", BOOL),
            may("addl_base_scripts", TEXTS),
            may("addl_user_scripts", TEXTS),
            ENV,
            CPU_AFFINITY,
            may("cluster", Type::Table(&Type::Record("ClusterEndpoint"))),
        ],
    ),
    (
        "ClusterEndpoint",
        &[
            ROLE,
            must("host", ADDRESS),
            must("p", PORT),
            INTERFACE,
            may("pcap_file", TEXT),
            METRICS_PORT,
        ],
    ),
    (
        "SupervisedNode",
        &[must("node", Type::Record("NodeConfig")), may("pid", Type::Int)],
    ),
    (
        "SupervisorStatus",
        &[may("nodes", Type::Table(&Type::Record("SupervisedNode")))],
    ),
];

/// The fields of a record.
pub(super) fn record(name: &str) -> &'static [Field] {
    let record = RECORDS.iter().find(|(known, _)| *known == name);
    record.map_or(&[], |(_, fields)| fields)
}

pub(crate) const CONTROLLER: &str = "Management::Controller::API";
pub(crate) const AGENT: &str = "Management::Agent::API";
pub(crate) const NODE: &str = "Management::Node::API";
pub(crate) const SUPERVISOR_SHIM: &str = "Management::Supervisor::API";
const SUPERVISOR_CONTROL: &str = "SupervisorControl";

pub(crate) const REQID: Field = must("reqid", TEXT);
pub(crate) const CONFIG: Field = must("config", CONFIGURATION);
pub(crate) const RESULT: Field = must("result", A_RESULT);
pub(crate) const RESULTS: Field = must("results", Type::Bag(&A_RESULT));
pub(crate) const NODES: Field = may("nodes", TEXT_SET);
pub(crate) const INSTANCE: Field = must("instance", TEXT);
const A_NODE: Field = must("node", TEXT);

pub(crate) const ACTION: &[Field] = &[REQID, must("action", TEXTS), NODES];
pub(crate) const ID_VALUE: &[Field] = &[REQID, must("id", TEXT), NODES];
pub(crate) const TIMEOUT: &[Field] = &[REQID, must("with_state", BOOL)];
pub(crate) const AGENTS_READY: &[Field] = &[must("instances", TEXT_SET)];
pub(crate) const HELLO: &[Field] = &[
    INSTANCE,
    must("id", TEXT),
    must("connecting", BOOL),
    must("api_version", COUNT),
];
pub(crate) const CHANGE: &[Field] = &[
    INSTANCE,
    must("n", Type::Record("Node")),
    must("old", Type::Enum("State")),
    must("new", Type::Enum("State")),
];
pub(crate) const NEWS: &[Field] = &[INSTANCE, must("msg", TEXT), may("node", TEXT)];
pub(crate) const NODE_HELLO: &[Field] = &[A_NODE];
pub(crate) const NODE_EXIT: &[Field] = &[A_NODE, must("outputs", Type::Record("NodeOutputs"))];

pub(crate) static MODEL: Table = Table {
    events: &[
        event(
            CONTROLLER,
            "get_instances_request deploy_request get_nodes_request",
            &[REQID],
        ),
        event(CONTROLLER, "get_instances_response", &[REQID, RESULT]).with_data(INSTANCES),
        event(CONTROLLER, "stage_configuration_request", &[REQID, CONFIG]),
        // What is wrong with a configuration is said in an order.
        event(
            CONTROLLER,
            "stage_configuration_response",
            &[REQID, must("results", Type::Vector(&A_RESULT))],
        ),
        event(
            CONTROLLER,
            "get_configuration_request",
            &[REQID, must("deployed", BOOL)],
        ),
        event(CONTROLLER, "get_configuration_response", &[REQID, RESULT]).with_data(CONFIGURATION),
        event(
            CONTROLLER,
            "deploy_response get_id_value_response restart_response",
            &[REQID, RESULTS],
        ),
        event(CONTROLLER, "get_nodes_response", &[REQID, RESULTS]).with_data(STATES),
        event(CONTROLLER, "get_id_value_request", ID_VALUE),
        event(CONTROLLER, "restart_request", &[REQID, NODES]),
        event(CONTROLLER, "test_timeout_request", TIMEOUT),
        event(CONTROLLER, "test_timeout_response", &[REQID, RESULT]),
        event(CONTROLLER, "notify_agents_ready", AGENTS_READY).internal(),
        event(AGENT, "deploy_request", &[REQID, CONFIG, must("force", BOOL)]),
        event(
            AGENT,
            "deploy_response node_dispatch_response restart_response",
            &[REQID, RESULTS],
        ),
        event(
            AGENT,
            "get_nodes_request agent_welcome_request agent_standby_request",
            &[REQID],
        ),
        event(AGENT, "get_nodes_response", &[REQID, RESULT]).with_data(STATES),
        event(
            AGENT,
            "agent_welcome_response agent_standby_response",
            &[REQID, RESULT],
        ),
        event(AGENT, "node_dispatch_request", ACTION),
        event(AGENT, "restart_request", &[REQID, NODES]),
        event(AGENT, "notify_agent_hello", HELLO),
        event(AGENT, "notify_change", CHANGE),
        event(AGENT, "notify_error notify_log", NEWS),
        event(NODE, "node_dispatch_request", ACTION),
        event(NODE, "node_dispatch_response", &[REQID, RESULT]),
        event(NODE, "notify_node_hello", NODE_HELLO),
        event(SUPERVISOR_SHIM, "notify_node_exit", NODE_EXIT),
    ],
    ..SAME
};

const SUPERVISOR_EVENTS: &[Event] = &[
    event(
        SUPERVISOR_CONTROL,
        "create_request",
        &[REQID, must("node", Type::Record("NodeConfig"))],
    ),
    event(
        SUPERVISOR_CONTROL,
        "status_request restart_request destroy_request",
        &[REQID, A_NODE],
    ),
    event(
        SUPERVISOR_CONTROL,
        "status_response",
        &[REQID, must("result", Type::Record("SupervisorStatus"))],
    ),
    event(
        SUPERVISOR_CONTROL,
        "create_response restart_response destroy_response stop_response",
        &[REQID, must("result", Type::Any)],
    ),
    event(SUPERVISOR_CONTROL, "node_status", &[A_NODE, must("pid", COUNT)]),
];

/// The Supervisor's part of it.
pub(crate) static SUPERVISOR: Table = Table {
    events: SUPERVISOR_EVENTS,
    ..SAME
};
