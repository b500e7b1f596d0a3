//! What each release changed, by `types.zeek`, `api.zeek` and `main.zeek` of controller, agent and node.

use crate::{
    enums::{ClusterRole, State},
    records::NodeStatus,
    schema::{
        Field, NO_PORT, SAME, Table, Type, event, may,
        model::{
            A_RESULT, ACTION, ADDRESS, AGENT, AGENTS_READY, CHANGE, CONFIG, CONFIGURATION, CONTROLLER, COUNT,
            HELLO, ID_VALUE, INSTANCE, INSTANCES, MODEL, NEWS, NODE, NODE_EXIT, NODE_HELLO, PORT, REQID,
            RESULT, STATES, SUPERVISOR_SHIM, TIMEOUT,
        },
        must,
    },
};

const CLUSTER_CONTROLLER: &[(&str, &str)] = &[
    (CONTROLLER, "ClusterController::API"),
    (AGENT, "ClusterAgent::API"),
];

/// The controllers' results, and those of agents from 5.0.0-rc1 on: `result` until 5.0.
const OLD_RESULTS: Field = must("result", Type::Bag(&A_RESULT)).for_model("results");

/// Up to 72acf24f52 it says where the agent is instead of who it is.
const OLD_HELLO: &[Field] = &[INSTANCE, must("host", ADDRESS), must("api_version", COUNT)];

const NODE_OF_10: (&str, &str) = (
    "Node",
    "name instance role state p scripts options interface cpu_affinity env",
);
const STATUS_OF_6: (&str, &str) = ("NodeStatus", "node state mgmt_role cluster_role pid p");

/// `PENDING` came later.
const STATES_4_X: &[(&str, &[(&str, &str)])] = &[(
    "State",
    &[
        ("ClusterController::Types::Running", "Management::RUNNING"),
        ("ClusterController::Types::Stopped", "Management::STOPPED"),
        ("ClusterController::Types::Failed", "Management::FAILED"),
        ("ClusterController::Types::Crashed", "Management::CRASHED"),
        ("ClusterController::Types::Unknown", "Management::UNKNOWN"),
        ("ClusterController::Types::Unknown", "Management::PENDING"),
    ],
)];

/// Every node must have a port, also one that does not listen.
pub(super) static V4_1: Table = Table {
    modules: CLUSTER_CONTROLLER,
    enums: STATES_4_X,
    records: &[
        (
            "Node",
            "name instance p role state scripts options interface cpu_affinity env",
        ),
        ("Result", "reqid instance success data error node"),
    ],
    fields: &[
        ("Node", must("p", Type::PortOrZero)),
        ("Result", may("instance", Type::TextOrEmpty)),
        ("Result", may("error", Type::TextOrEmpty)),
    ],
    events: &[
        event(CONTROLLER, "get_instances_request", &[REQID]),
        event(
            CONTROLLER,
            "get_instances_response",
            &[
                REQID,
                must("instances", Type::Bare(&INSTANCES)).for_model("result"),
            ],
        ),
        event(CONTROLLER, "set_configuration_request", &[REQID, CONFIG])
            .for_model("stage_configuration_request"),
        event(CONTROLLER, "set_configuration_response", &[REQID, OLD_RESULTS]).for_model("deploy_response"),
        event(AGENT, "set_configuration_request", &[REQID, CONFIG]).for_model("deploy_request"),
        event(
            AGENT,
            "set_configuration_response",
            &[REQID, must("result", Type::Only(&A_RESULT)).for_model("results")],
        )
        .for_model("deploy_response"),
        event(AGENT, "notify_agent_hello", OLD_HELLO),
        event(AGENT, "notify_change", CHANGE),
        event(AGENT, "notify_error notify_log", NEWS),
    ],
    ..SAME
};

pub(super) static V4_2: Table = Table {
    before: Some(&V4_1),
    modules: CLUSTER_CONTROLLER,
    enums: STATES_4_X,
    events: &[
        event(CONTROLLER, "get_instances_response", &[REQID, RESULT]).with_data(INSTANCES),
        event(CONTROLLER, "test_timeout_request", TIMEOUT),
        event(CONTROLLER, "test_timeout_response", &[REQID, RESULT]),
        event(CONTROLLER, "notify_agents_ready", AGENTS_READY).internal(),
        event(AGENT, "agent_welcome_request agent_standby_request", &[REQID]),
        event(
            AGENT,
            "agent_welcome_response agent_standby_response",
            &[REQID, RESULT],
        ),
    ],
    ..SAME
};

/// The last API under the name of `ClusterController`.
pub(super) static PRE_SEED: Table = Table {
    before: Some(&V4_2),
    modules: CLUSTER_CONTROLLER,
    enums: &[
        (
            "State",
            &[
                ("ClusterController::Types::PENDING", "Management::PENDING"),
                ("ClusterController::Types::RUNNING", "Management::RUNNING"),
                ("ClusterController::Types::STOPPED", "Management::STOPPED"),
                ("ClusterController::Types::FAILED", "Management::FAILED"),
                ("ClusterController::Types::CRASHED", "Management::CRASHED"),
                ("ClusterController::Types::UNKNOWN", "Management::UNKNOWN"),
            ],
        ),
        (
            "Role",
            &[
                ("ClusterController::Types::NONE", "Management::NONE"),
                ("ClusterController::Types::AGENT", "Management::AGENT"),
                ("ClusterController::Types::CONTROLLER", "Management::CONTROLLER"),
                ("ClusterController::Types::NONE", "Management::NODE"),
            ],
        ),
    ],
    records: &[NODE_OF_10, STATUS_OF_6],
    fields: &[
        ("Node", may("p", PORT)),
        ("NodeStatus", may("p", Type::PortNotZero)),
    ],
    events: &[
        event(CONTROLLER, "get_nodes_request", &[REQID]),
        event(CONTROLLER, "get_nodes_response", &[REQID, OLD_RESULTS]).with_data(STATES),
        event(AGENT, "get_nodes_request", &[REQID]),
        event(AGENT, "get_nodes_response", &[REQID, RESULT]).with_data(STATES),
    ],
    status: Some(by_process),
};

/// The same under the name of Management.
pub(super) static SEED: Table = Table {
    before: Some(&PRE_SEED),
    enums: &[(
        "Role",
        &[
            ("Management::NONE", "Management::NONE"),
            ("Management::AGENT", "Management::AGENT"),
            ("Management::CONTROLLER", "Management::CONTROLLER"),
            ("Management::NONE", "Management::NODE"),
        ],
    )],
    status: Some(by_process),
    ..SAME
};

/// A node is running as soon as it has a process, and one of the cluster always has a port, if only `0/unknown`
/// (`agent/main.zeek`, `SupervisorControl::status_response`; seen in the recording `seed-api`).
const fn by_process(status: &mut NodeStatus) {
    if matches!(status.state, State::Pending) && status.pid.is_some() {
        status.state = State::Running;
    }
    if !matches!(status.cluster_role, ClusterRole::None) && status.p.is_none() {
        status.p = Some(NO_PORT);
    }
}

/// There is only one configuration yet.
pub(super) static V5_0_RC1: Table = Table {
    before: Some(&SEED),
    fields: &[("NodeStatus", may("p", PORT))],
    events: &[
        event(CONTROLLER, "get_id_value_request", ID_VALUE),
        event(CONTROLLER, "get_id_value_response", &[REQID, OLD_RESULTS]),
        event(CONTROLLER, "get_configuration_request", &[REQID]),
        event(CONTROLLER, "get_configuration_response", &[REQID, RESULT]).with_data(CONFIGURATION),
        event(AGENT, "set_configuration_response", &[REQID, OLD_RESULTS]).for_model("deploy_response"),
        event(AGENT, "node_dispatch_request", ACTION),
        event(AGENT, "node_dispatch_response", &[REQID, OLD_RESULTS]),
        event(AGENT, "notify_agent_hello", HELLO),
        event(NODE, "node_dispatch_request", ACTION),
        event(NODE, "node_dispatch_response", &[REQID, RESULT]),
        event(NODE, "notify_node_hello", NODE_HELLO),
        event(SUPERVISOR_SHIM, "notify_node_exit", NODE_EXIT),
    ],
    ..SAME
};

/// The events have been the same ever since. Zeek 7.0 gave nodes and their states one field more.
pub(super) static V5_0: Table = Table {
    before: Some(&MODEL),
    records: &[NODE_OF_10, STATUS_OF_6],
    ..SAME
};
