//! The first API under the name of Management: commit 54aaf3a623, after 4.2 and in no release, and 5.0.0-rc1, which is that with
//! much added and the records still as they were (`scripts/policy/frameworks/management/`).

use super::{
    ACTION, ADDRESS, AGENTS_READY, BOOL, COUNT, Context, Data, ENUM, GET_ID_VALUE, HELLO, INSTANCE,
    INSTANCES, NEWS, NO_PORT, NODE_WITHOUT_METRICS, Names, REQID, Record, Row, STATUS_WITHOUT_METRICS, Shape,
    TEST_TIMEOUT, TEXT, configuration, do_not_force, enum_value, events_since_4_2, fill_in_hello,
    fill_in_host, hello_with_address, internal, may, must, old_events, old_result, one_result_for_all_nodes,
    record, reqid_and, row, same,
};

pub(super) const SEED: &[&[Row]] = &[OLD, SINCE_4_2, SEED_GET_NODES, ONLY_SEED];
pub(super) const V5_0_RC1: &[&[Row]] = &[OLD, SINCE_4_2, RC1_GET_NODES, SINCE_RC1];

const ROLES: Names = Names {
    pairs: &[
        ("Management::NONE", "Management::NONE"),
        ("Management::AGENT", "Management::AGENT"),
        ("Management::CONTROLLER", "Management::CONTROLLER"),
    ],
    nearest: &[("Management::NONE", "Management::NODE")],
};

const SEED_STATUS: Shape = Shape::Record(&Record {
    fields: &[
        must("node", 0, TEXT),
        must("state", 1, ENUM),
        may("mgmt_role", 2, Shape::Enum(&ROLES)),
        may("cluster_role", 3, ENUM),
        may("pid", 4, Shape::Int),
        may("p", 5, Shape::PortNotZero),
    ],
    model_fields: 7,
    written: Some(as_seed_sees_it),
});

/// A node is running as soon as it has a process, and one of the cluster always has a port, if only `0/unknown`
/// (`agent/main.zeek`, `SupervisorControl::status_response`; seen in the recording `seed-api`).
fn as_seed_sees_it(fields: &mut [Data]) {
    let [_, state, _, cluster_role, pid, p] = fields else {
        return;
    };
    if *state == enum_value("Management::PENDING") && *pid != Data::None {
        *state = enum_value("Management::RUNNING");
    }
    let in_cluster = *cluster_role != Data::None && *cluster_role != enum_value("Supervisor::NONE");
    if in_cluster && *p == Data::None {
        *p = Data::Port(NO_PORT);
    }
}

const CONFIGURATION: Shape = configuration!(NODE_WITHOUT_METRICS);
const RESULT: Shape = old_result!(Shape::Any);
const RESULT_WITH_INSTANCES: Shape = old_result!(INSTANCES);
const RESULT_WITH_SEED_STATES: Shape = old_result!(Shape::Vector(&SEED_STATUS));
const RESULT_WITH_RC1_STATES: Shape = old_result!(Shape::Vector(&STATUS_WITHOUT_METRICS));
const RESULT_WITH_CONFIGURATION: Shape = old_result!(CONFIGURATION);

const OLD: &[Row] = old_events!(
    "Management::Controller::API",
    "Management::Agent::API",
    CONFIGURATION,
    NODE_WITHOUT_METRICS,
    ENUM,
    RESULT
);

const SINCE_4_2: &[Row] = events_since_4_2!(
    "Management::Controller::API",
    "Management::Agent::API",
    RESULT,
    RESULT_WITH_INSTANCES
);

macro_rules! get_nodes {
    ($result:ident) => {
        &[
            same("Management::Controller::API::get_nodes_request", REQID),
            same(
                "Management::Controller::API::get_nodes_response",
                &reqid_and("result", Shape::Vector(&$result)),
            ),
            same("Management::Agent::API::get_nodes_request", REQID),
            same(
                "Management::Agent::API::get_nodes_response",
                &reqid_and("result", $result),
            ),
        ]
    };
}

const SEED_GET_NODES: &[Row] = get_nodes!(RESULT_WITH_SEED_STATES);
const RC1_GET_NODES: &[Row] = get_nodes!(RESULT_WITH_RC1_STATES);

const ONLY_SEED: &[Row] = &[
    hello_with_address!("Management::Agent::API"),
    one_result_for_all_nodes!("Management::Agent::API", RESULT),
];

const RESULTS: Shape = Shape::Vector(&RESULT);

const SINCE_RC1: &[Row] = &[
    same("Management::Controller::API::get_id_value_request", GET_ID_VALUE),
    same(
        "Management::Controller::API::get_id_value_response",
        &reqid_and("result", RESULTS),
    ),
    // There is only one configuration yet.
    Row {
        read: Some(the_deployed_one),
        model_args: 2,
        ..same("Management::Controller::API::get_configuration_request", REQID)
    },
    same(
        "Management::Controller::API::get_configuration_response",
        &reqid_and("result", RESULT_WITH_CONFIGURATION),
    ),
    row(
        "Management::Agent::API::set_configuration_response",
        "Management::Agent::API::deploy_response",
        &reqid_and("result", RESULTS),
    ),
    same("Management::Agent::API::node_dispatch_request", ACTION),
    same(
        "Management::Agent::API::node_dispatch_response",
        &reqid_and("result", RESULTS),
    ),
    same("Management::Agent::API::notify_agent_hello", HELLO),
    same("Management::Node::API::node_dispatch_request", ACTION),
    same(
        "Management::Node::API::node_dispatch_response",
        &reqid_and("result", RESULT),
    ),
    same(
        "Management::Node::API::notify_node_hello",
        &[must("node", 0, TEXT)],
    ),
    same("Management::Supervisor::API::notify_node_exit", super::NODE_EXIT),
];

fn the_deployed_one(model: &mut [Data], _: &Context) {
    model[1] = Data::Boolean(true);
}
