//! Zeek 4.1 and 4.2: the modules `ClusterController` and `ClusterAgent`
//! (`scripts/policy/frameworks/cluster/{controller,agent}/`).

use super::{
    ADDRESS, AGENTS_READY, BOOL, COUNT, Context, Data, ENUM, INSTANCE, INSTANCES, NEWS, Names, OPTION, REQID,
    Row, Shape, TEST_TIMEOUT, TEXT, TEXT_TABLE, TEXTS, configuration, do_not_force, events_since_4_2,
    fill_in_hello, fill_in_host, hello_with_address, internal, may, must, old_events, old_result,
    one_result_for_all_nodes, record, reqid_and, row,
};

pub(super) const V4_1: &[&[Row]] = &[OLD, HELLO, ONLY_4_1];
pub(super) const V4_2: &[&[Row]] = &[OLD, HELLO, SINCE_4_2];

/// `PENDING` came later.
const STATES: Names = Names {
    pairs: &[
        ("ClusterController::Types::Running", "Management::RUNNING"),
        ("ClusterController::Types::Stopped", "Management::STOPPED"),
        ("ClusterController::Types::Failed", "Management::FAILED"),
        ("ClusterController::Types::Crashed", "Management::CRASHED"),
        ("ClusterController::Types::Unknown", "Management::UNKNOWN"),
    ],
    nearest: &[("ClusterController::Types::Unknown", "Management::PENDING")],
};

const STATE: Shape = Shape::Enum(&STATES);

/// Every node must have a port, also one that does not listen.
const NODE: Shape = Shape::Record(&record(
    &[
        must("name", 0, TEXT),
        must("instance", 1, TEXT),
        must("p", 4, Shape::PortOrZero),
        must("role", 2, ENUM),
        must("state", 3, STATE),
        may("scripts", 5, TEXTS),
        may("options", 6, Shape::Set(&OPTION)),
        may("interface", 7, TEXT),
        may("cpu_affinity", 8, Shape::Int),
        may("env", 9, TEXT_TABLE),
    ],
    11,
));

const CONFIGURATION: Shape = configuration!(NODE);
const RESULT: Shape = old_result!(Shape::Any);
const RESULT_WITH_INSTANCES: Shape = old_result!(INSTANCES);

const OLD: &[Row] = old_events!(
    "ClusterController::API",
    "ClusterAgent::API",
    CONFIGURATION,
    NODE,
    STATE,
    RESULT
);

const HELLO: &[Row] = &[
    hello_with_address!("ClusterAgent::API"),
    one_result_for_all_nodes!("ClusterAgent::API", RESULT),
];

const SINCE_4_2: &[Row] = events_since_4_2!(
    "ClusterController::API",
    "ClusterAgent::API",
    RESULT,
    RESULT_WITH_INSTANCES
);

const ONLY_4_1: &[Row] = &[Row {
    read: Some(wrap_instances),
    write: Some(unwrap_instances),
    ..row(
        "ClusterController::API::get_instances_response",
        "Management::Controller::API::get_instances_response",
        &reqid_and("instances", INSTANCES),
    )
}];

/// The model's result, around what 4.1 sends bare.
fn wrap_instances(model: &mut [Data], _: &Context) {
    model[1] = Data::Vector(vec![
        model[0].clone(),
        Data::Boolean(true),
        Data::None,
        std::mem::take(&mut model[1]),
        Data::None,
        Data::None,
    ]);
}

/// 4.1 has no way to say that it failed.
fn unwrap_instances(model: &mut [Data], _: &Context) {
    let instances = match std::mem::take(&mut model[1]) {
        Data::Vector(mut result) => result.get_mut(3).map(std::mem::take),
        _ => None,
    };
    model[1] = match instances {
        None | Some(Data::None) => Data::Vector(Vec::new()),
        Some(instances) => instances,
    };
}
