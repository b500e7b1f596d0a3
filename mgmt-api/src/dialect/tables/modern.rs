//! Zeek 5.0 and later. The events have been the same ever since; Zeek 7.0 gave nodes and their states one field more, and that
//! is the model.

use super::{
    ACTION, AGENTS_READY, BOOL, ENUM, Field, GET_ID_VALUE, HELLO, INSTANCE, INSTANCES, NEWS, NODE, NODE_EXIT,
    NODE_WITHOUT_METRICS, REQID, Row, STATUS, STATUS_WITHOUT_METRICS, Shape, TEST_TIMEOUT, TEXT, TEXT_SET,
    configuration, internal, may, must, record, reqid_and, result, same,
};

pub(super) const V5_0: &[&[Row]] = &[SAME, OLD_RECORDS];
pub(super) const V7_0: &[&[Row]] = &[SAME, RECORDS];

const RESULT: Shape = result!(Shape::Any);
const RESULT_WITH_INSTANCES: Shape = result!(INSTANCES);

/// The events with nodes or their states in them.
macro_rules! events_with_records {
    ($configuration:ident, $node:ident, $result_with_configuration:ident, $result_with_states:ident) => {
        &[
            same(
                "Management::Controller::API::stage_configuration_request",
                &reqid_and("config", $configuration),
            ),
            same(
                "Management::Controller::API::get_configuration_response",
                &reqid_and("result", $result_with_configuration),
            ),
            same(
                "Management::Controller::API::get_nodes_response",
                &reqid_and("results", Shape::Vector(&$result_with_states)),
            ),
            same(
                "Management::Agent::API::deploy_request",
                &[
                    must("reqid", 0, TEXT),
                    must("config", 1, $configuration),
                    must("force", 2, BOOL),
                ],
            ),
            same(
                "Management::Agent::API::get_nodes_response",
                &reqid_and("result", $result_with_states),
            ),
            same(
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

const OLD_CONFIGURATION: Shape = configuration!(NODE_WITHOUT_METRICS);
const RESULT_WITH_OLD_CONFIGURATION: Shape = result!(OLD_CONFIGURATION);
const RESULT_WITH_OLD_STATES: Shape = result!(Shape::Vector(&STATUS_WITHOUT_METRICS));

const OLD_RECORDS: &[Row] = events_with_records!(
    OLD_CONFIGURATION,
    NODE_WITHOUT_METRICS,
    RESULT_WITH_OLD_CONFIGURATION,
    RESULT_WITH_OLD_STATES
);

const CONFIGURATION: Shape = configuration!(NODE);
const RESULT_WITH_CONFIGURATION: Shape = result!(CONFIGURATION);
const RESULT_WITH_STATES: Shape = result!(Shape::Vector(&STATUS));

const RECORDS: &[Row] =
    events_with_records!(CONFIGURATION, NODE, RESULT_WITH_CONFIGURATION, RESULT_WITH_STATES);

const RESULTS: Shape = Shape::Vector(&RESULT);
const RESPONSE_WITH_RESULT: &[Field] = &reqid_and("result", RESULT);
const RESPONSE_WITH_RESULTS: &[Field] = &reqid_and("results", RESULTS);
const RESTART: &[Field] = &[must("reqid", 0, TEXT), may("nodes", 1, TEXT_SET)];

const SAME: &[Row] = &[
    same("Management::Controller::API::get_instances_request", REQID),
    same(
        "Management::Controller::API::get_instances_response",
        &reqid_and("result", RESULT_WITH_INSTANCES),
    ),
    same(
        "Management::Controller::API::stage_configuration_response",
        RESPONSE_WITH_RESULTS,
    ),
    same(
        "Management::Controller::API::get_configuration_request",
        &[must("reqid", 0, TEXT), must("deployed", 1, BOOL)],
    ),
    same("Management::Controller::API::deploy_request", REQID),
    same(
        "Management::Controller::API::deploy_response",
        RESPONSE_WITH_RESULTS,
    ),
    same("Management::Controller::API::get_nodes_request", REQID),
    same("Management::Controller::API::get_id_value_request", GET_ID_VALUE),
    same(
        "Management::Controller::API::get_id_value_response",
        RESPONSE_WITH_RESULTS,
    ),
    same("Management::Controller::API::restart_request", RESTART),
    same(
        "Management::Controller::API::restart_response",
        RESPONSE_WITH_RESULTS,
    ),
    same("Management::Controller::API::test_timeout_request", TEST_TIMEOUT),
    same(
        "Management::Controller::API::test_timeout_response",
        RESPONSE_WITH_RESULT,
    ),
    internal("Management::Controller::API::notify_agents_ready", AGENTS_READY),
    same("Management::Agent::API::deploy_response", RESPONSE_WITH_RESULTS),
    same("Management::Agent::API::get_nodes_request", REQID),
    same("Management::Agent::API::node_dispatch_request", ACTION),
    same(
        "Management::Agent::API::node_dispatch_response",
        RESPONSE_WITH_RESULTS,
    ),
    same("Management::Agent::API::agent_welcome_request", REQID),
    same(
        "Management::Agent::API::agent_welcome_response",
        RESPONSE_WITH_RESULT,
    ),
    same("Management::Agent::API::agent_standby_request", REQID),
    same(
        "Management::Agent::API::agent_standby_response",
        RESPONSE_WITH_RESULT,
    ),
    same("Management::Agent::API::restart_request", RESTART),
    same("Management::Agent::API::restart_response", RESPONSE_WITH_RESULTS),
    same("Management::Agent::API::notify_agent_hello", HELLO),
    same("Management::Agent::API::notify_error", NEWS),
    same("Management::Agent::API::notify_log", NEWS),
    same("Management::Node::API::node_dispatch_request", ACTION),
    same(
        "Management::Node::API::node_dispatch_response",
        RESPONSE_WITH_RESULT,
    ),
    same(
        "Management::Node::API::notify_node_hello",
        &[must("node", 0, TEXT)],
    ),
    same("Management::Supervisor::API::notify_node_exit", NODE_EXIT),
];
