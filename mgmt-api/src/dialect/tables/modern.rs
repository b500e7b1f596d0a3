//! Zeek 5.0 and later. The events have been the same ever since; Zeek 7.0 gave nodes and their states one field more, and that
//! is the model.

use super::{
    ACTION, AGENTS_READY, BOOL, ENUM, GET_ID_VALUE, HELLO, INSTANCE, INSTANCES, NEWS, NODE_EXIT, OPTION,
    PORT, REQID, Record, Row, Shape, TEST_TIMEOUT, TEXT, TEXT_SET, TEXT_TABLE, TEXTS, configuration,
    internal, may, must, result, row,
    seed::{self, STATUS_FIELDS},
};

use seed::NODE as OLD_NODE;

pub(super) const V5_0: &[&[Row]] = &[SAME, OLD_RECORDS];
pub(super) const V7_0: &[&[Row]] = &[SAME, RECORDS];

const NODE: Shape = Shape::Record(&Record {
    fields: &[
        must("name", 0, TEXT),
        must("instance", 1, TEXT),
        must("role", 2, ENUM),
        must("state", 3, ENUM),
        may("p", 4, PORT),
        may("scripts", 5, TEXTS),
        may("options", 6, Shape::Set(&OPTION)),
        may("interface", 7, TEXT),
        may("cpu_affinity", 8, Shape::Int),
        may("env", 9, TEXT_TABLE),
        may("metrics_port", 10, PORT),
    ],
    model_fields: 11,
    written: None,
});

const STATUS: Shape = Shape::Record(&Record {
    fields: &[
        must("node", 0, TEXT),
        must("state", 1, ENUM),
        may("mgmt_role", 2, ENUM),
        may("cluster_role", 3, ENUM),
        may("pid", 4, Shape::Int),
        may("p", 5, PORT),
        may("metrics_port", 6, PORT),
    ],
    model_fields: 7,
    written: None,
});

const OLD_STATUS: Shape = Shape::Record(&Record {
    fields: STATUS_FIELDS,
    model_fields: 7,
    written: None,
});

const RESULT: Shape = result!(Shape::Any);
const RESULT_WITH_INSTANCES: Shape = result!(INSTANCES);

/// The events with nodes or their states in them.
macro_rules! events_with_records {
    ($configuration:ident, $node:ident, $result_with_configuration:ident, $result_with_states:ident) => {
        &[
            row(
                "Management::Controller::API::stage_configuration_request",
                "Management::Controller::API::stage_configuration_request",
                &[must("reqid", 0, TEXT), must("config", 1, $configuration)],
            ),
            row(
                "Management::Controller::API::get_configuration_response",
                "Management::Controller::API::get_configuration_response",
                &[
                    must("reqid", 0, TEXT),
                    must("result", 1, $result_with_configuration),
                ],
            ),
            row(
                "Management::Controller::API::get_nodes_response",
                "Management::Controller::API::get_nodes_response",
                &[
                    must("reqid", 0, TEXT),
                    must("results", 1, Shape::Vector(&$result_with_states)),
                ],
            ),
            row(
                "Management::Agent::API::deploy_request",
                "Management::Agent::API::deploy_request",
                &[
                    must("reqid", 0, TEXT),
                    must("config", 1, $configuration),
                    must("force", 2, BOOL),
                ],
            ),
            row(
                "Management::Agent::API::get_nodes_response",
                "Management::Agent::API::get_nodes_response",
                &[must("reqid", 0, TEXT), must("result", 1, $result_with_states)],
            ),
            row(
                "Management::Agent::API::notify_change",
                "Management::Agent::API::notify_change",
                &[
                    must("instance", 0, TEXT),
                    must("n", 1, $node),
                    must("old", 2, ENUM),
                    must("new", 3, ENUM),
                ],
            ),
        ]
    };
}

const OLD_CONFIGURATION: Shape = configuration!(OLD_NODE);
const RESULT_WITH_OLD_CONFIGURATION: Shape = result!(OLD_CONFIGURATION);
const RESULT_WITH_OLD_STATES: Shape = result!(Shape::Vector(&OLD_STATUS));

const OLD_RECORDS: &[Row] = events_with_records!(
    OLD_CONFIGURATION,
    OLD_NODE,
    RESULT_WITH_OLD_CONFIGURATION,
    RESULT_WITH_OLD_STATES
);

const CONFIGURATION: Shape = configuration!(NODE);
const RESULT_WITH_CONFIGURATION: Shape = result!(CONFIGURATION);
const RESULT_WITH_STATES: Shape = result!(Shape::Vector(&STATUS));

const RECORDS: &[Row] =
    events_with_records!(CONFIGURATION, NODE, RESULT_WITH_CONFIGURATION, RESULT_WITH_STATES);

/// An event that the model has as well.
macro_rules! same {
    ($name:literal, $args:expr) => {
        row($name, $name, $args)
    };
}

const RESULTS: Shape = Shape::Vector(&RESULT);
const RESPONSE_WITH_RESULT: &[super::Field] = &[must("reqid", 0, TEXT), must("result", 1, RESULT)];
const RESPONSE_WITH_RESULTS: &[super::Field] = &[must("reqid", 0, TEXT), must("results", 1, RESULTS)];
const RESTART: &[super::Field] = &[must("reqid", 0, TEXT), may("nodes", 1, TEXT_SET)];

const SAME: &[Row] = &[
    same!("Management::Controller::API::get_instances_request", REQID),
    same!(
        "Management::Controller::API::get_instances_response",
        &[must("reqid", 0, TEXT), must("result", 1, RESULT_WITH_INSTANCES)]
    ),
    same!(
        "Management::Controller::API::stage_configuration_response",
        RESPONSE_WITH_RESULTS
    ),
    same!(
        "Management::Controller::API::get_configuration_request",
        &[must("reqid", 0, TEXT), must("deployed", 1, BOOL)]
    ),
    same!("Management::Controller::API::deploy_request", REQID),
    same!(
        "Management::Controller::API::deploy_response",
        RESPONSE_WITH_RESULTS
    ),
    same!("Management::Controller::API::get_nodes_request", REQID),
    same!("Management::Controller::API::get_id_value_request", GET_ID_VALUE),
    same!(
        "Management::Controller::API::get_id_value_response",
        RESPONSE_WITH_RESULTS
    ),
    same!("Management::Controller::API::restart_request", RESTART),
    same!(
        "Management::Controller::API::restart_response",
        RESPONSE_WITH_RESULTS
    ),
    same!("Management::Controller::API::test_timeout_request", TEST_TIMEOUT),
    same!(
        "Management::Controller::API::test_timeout_response",
        RESPONSE_WITH_RESULT
    ),
    internal("Management::Controller::API::notify_agents_ready", AGENTS_READY),
    same!("Management::Agent::API::deploy_response", RESPONSE_WITH_RESULTS),
    same!("Management::Agent::API::get_nodes_request", REQID),
    same!("Management::Agent::API::node_dispatch_request", ACTION),
    same!(
        "Management::Agent::API::node_dispatch_response",
        RESPONSE_WITH_RESULTS
    ),
    same!("Management::Agent::API::agent_welcome_request", REQID),
    same!(
        "Management::Agent::API::agent_welcome_response",
        RESPONSE_WITH_RESULT
    ),
    same!("Management::Agent::API::agent_standby_request", REQID),
    same!(
        "Management::Agent::API::agent_standby_response",
        RESPONSE_WITH_RESULT
    ),
    same!("Management::Agent::API::restart_request", RESTART),
    same!("Management::Agent::API::restart_response", RESPONSE_WITH_RESULTS),
    same!("Management::Agent::API::notify_agent_hello", HELLO),
    same!("Management::Agent::API::notify_error", NEWS),
    same!("Management::Agent::API::notify_log", NEWS),
    same!("Management::Node::API::node_dispatch_request", ACTION),
    same!(
        "Management::Node::API::node_dispatch_response",
        RESPONSE_WITH_RESULT
    ),
    same!(
        "Management::Node::API::notify_node_hello",
        &[must("node", 0, TEXT)]
    ),
    same!("Management::Supervisor::API::notify_node_exit", NODE_EXIT),
];
