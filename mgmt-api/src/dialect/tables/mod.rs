//! The tables, one file for each generation of the API. What they say comes from the scripts of the releases that they name:
//! `types.zeek`, `api.zeek` and `main.zeek` of controller, agent and node.

mod cluster_controller;
mod modern;
mod seed;

use broker_codec::{Data, data::Kind};

use super::{
    Dialect,
    shape::{Context, Field, NO_PORT, Names, Record, Row, Shape, enum_value},
};

/// The events of a dialect.
pub(super) const fn rows(dialect: Dialect) -> &'static [&'static [Row]] {
    match dialect {
        Dialect::V4_1 => cluster_controller::V4_1,
        Dialect::V4_2 => cluster_controller::V4_2,
        Dialect::Seed => seed::SEED,
        Dialect::V5_0Rc1 => seed::V5_0_RC1,
        Dialect::V5_0 => modern::V5_0,
        Dialect::V7_0 => modern::V7_0,
    }
}

/// A field that must be there.
const fn must(name: &'static str, at: usize, shape: Shape) -> Field {
    Field {
        name,
        at,
        optional: false,
        shape,
    }
}

/// A field that is `&optional` or has a `&default`.
const fn may(name: &'static str, at: usize, shape: Shape) -> Field {
    Field {
        name,
        at,
        optional: true,
        shape,
    }
}

const fn row(name: &'static str, model: &'static str, args: &'static [Field]) -> Row {
    Row {
        name,
        model: Some(model),
        args,
        model_args: args.len(),
        read: None,
        write: None,
    }
}

/// An event that the model has under the same name.
const fn same(name: &'static str, args: &'static [Field]) -> Row {
    row(name, name, args)
}

/// An event that never leaves its process.
const fn internal(name: &'static str, args: &'static [Field]) -> Row {
    Row {
        name,
        model: None,
        args,
        model_args: args.len(),
        read: None,
        write: None,
    }
}

/// A record for which nothing has to be put right.
const fn record(fields: &'static [Field], model_fields: usize) -> Record {
    Record {
        fields,
        model_fields,
        written: None,
    }
}

/// The arguments of most events: the request's id, and one more.
const fn reqid_and(name: &'static str, shape: Shape) -> [Field; 2] {
    [must("reqid", 0, TEXT), must(name, 1, shape)]
}

const TEXT: Shape = Shape::Plain(Kind::String);
const BOOL: Shape = Shape::Plain(Kind::Boolean);
const COUNT: Shape = Shape::Plain(Kind::Count);
const PORT: Shape = Shape::Plain(Kind::Port);
const ADDRESS: Shape = Shape::Plain(Kind::Address);
const ENUM: Shape = Shape::Plain(Kind::EnumValue);
const TEXTS: Shape = Shape::Plain(Kind::Vector);
const TEXT_SET: Shape = Shape::Plain(Kind::Set);
const TEXT_TABLE: Shape = Shape::Plain(Kind::Table);

const REQID: &[Field] = &[must("reqid", 0, TEXT)];
const TEST_TIMEOUT: &[Field] = &[must("reqid", 0, TEXT), must("with_state", 1, BOOL)];
const AGENTS_READY: &[Field] = &[must("instances", 0, TEXT_SET)];
/// `notify_error` and `notify_log`.
const NEWS: &[Field] = &[
    must("instance", 0, TEXT),
    must("msg", 1, TEXT),
    may("node", 2, TEXT),
];
const ACTION: &[Field] = &[
    must("reqid", 0, TEXT),
    must("action", 1, TEXTS),
    may("nodes", 2, TEXT_SET),
];
const GET_ID_VALUE: &[Field] = &[
    must("reqid", 0, TEXT),
    must("id", 1, TEXT),
    may("nodes", 2, TEXT_SET),
];

/// `Option`, which is in sets only, and the same everywhere.
const OPTION: Shape = Shape::Record(&record(&[must("name", 0, TEXT), must("value", 1, TEXT)], 2));

/// `Instance`, the same everywhere.
const INSTANCE: Shape = Shape::Record(&record(
    &[
        must("name", 0, TEXT),
        must("host", 1, ADDRESS),
        may("listen_port", 2, PORT),
    ],
    3,
));

const INSTANCES: Shape = Shape::Vector(&INSTANCE);

/// `Node` from the seed's API on. The last field came with 7.0.
const NODE_FIELDS: &[Field] = &[
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
];

const NODE: Shape = Shape::Record(&record(NODE_FIELDS, 11));
const NODE_WITHOUT_METRICS: Shape = Shape::Record(&record(NODE_FIELDS.split_at(10).0, 11));

/// `NodeStatus` from 5.0.0-rc1 on. The last field came with 7.0.
const STATUS_FIELDS: &[Field] = &[
    must("node", 0, TEXT),
    must("state", 1, ENUM),
    may("mgmt_role", 2, ENUM),
    may("cluster_role", 3, ENUM),
    may("pid", 4, Shape::Int),
    may("p", 5, PORT),
    may("metrics_port", 6, PORT),
];

const STATUS: Shape = Shape::Record(&record(STATUS_FIELDS, 7));
const STATUS_WITHOUT_METRICS: Shape = Shape::Record(&record(STATUS_FIELDS.split_at(6).0, 7));

/// `Configuration`, which differs in its nodes.
macro_rules! configuration {
    ($node:ident) => {
        Shape::Record(&record(
            &[
                may("id", 0, TEXT),
                may("instances", 1, Shape::Set(&INSTANCE)),
                may("nodes", 2, Shape::Set(&$node)),
            ],
            3,
        ))
    };
}

/// `Result` as it was up to 5.0.0-rc1, with what `data` holds.
macro_rules! old_result {
    ($data:expr) => {
        Shape::Record(&record(
            &[
                must("reqid", 0, TEXT),
                may("instance", 2, Shape::TextOrEmpty),
                may("success", 1, BOOL),
                may("data", 3, $data),
                may("error", 4, Shape::TextOrEmpty),
                may("node", 5, TEXT),
            ],
            6,
        ))
    };
}

/// `Result` since 5.0.0.
macro_rules! result {
    ($data:expr) => {
        Shape::Record(&record(
            &[
                must("reqid", 0, TEXT),
                may("success", 1, BOOL),
                may("instance", 2, TEXT),
                may("data", 3, $data),
                may("error", 4, TEXT),
                may("node", 5, TEXT),
            ],
            6,
        ))
    };
}

/// The events that every API up to 5.0.0-rc1 has, under its modules' names and with its records.
macro_rules! old_events {
    ($controller:literal, $agent:literal, $configuration:ident, $node:ident, $state:ident, $result:ident) => {
        &[
            row(
                concat!($controller, "::get_instances_request"),
                "Management::Controller::API::get_instances_request",
                REQID,
            ),
            row(
                concat!($controller, "::set_configuration_request"),
                "Management::Controller::API::stage_configuration_request",
                &reqid_and("config", $configuration),
            ),
            row(
                concat!($controller, "::set_configuration_response"),
                "Management::Controller::API::deploy_response",
                &reqid_and("result", Shape::Vector(&$result)),
            ),
            Row {
                read: Some(do_not_force),
                model_args: 3,
                ..row(
                    concat!($agent, "::set_configuration_request"),
                    "Management::Agent::API::deploy_request",
                    &reqid_and("config", $configuration),
                )
            },
            row(
                concat!($agent, "::notify_change"),
                "Management::Agent::API::notify_change",
                &[
                    must("instance", 0, TEXT),
                    must("n", 1, $node),
                    must("old", 2, $state),
                    must("new", 3, $state),
                ],
            ),
            row(
                concat!($agent, "::notify_error"),
                "Management::Agent::API::notify_error",
                NEWS,
            ),
            row(
                concat!($agent, "::notify_log"),
                "Management::Agent::API::notify_log",
                NEWS,
            ),
        ]
    };
}

/// What came with 4.2 and stayed.
macro_rules! events_since_4_2 {
    ($controller:literal, $agent:literal, $result:ident, $instances:ident) => {
        &[
            row(
                concat!($controller, "::get_instances_response"),
                "Management::Controller::API::get_instances_response",
                &reqid_and("result", $instances),
            ),
            row(
                concat!($controller, "::test_timeout_request"),
                "Management::Controller::API::test_timeout_request",
                TEST_TIMEOUT,
            ),
            row(
                concat!($controller, "::test_timeout_response"),
                "Management::Controller::API::test_timeout_response",
                &reqid_and("result", $result),
            ),
            internal(concat!($controller, "::notify_agents_ready"), AGENTS_READY),
            row(
                concat!($agent, "::agent_welcome_request"),
                "Management::Agent::API::agent_welcome_request",
                REQID,
            ),
            row(
                concat!($agent, "::agent_welcome_response"),
                "Management::Agent::API::agent_welcome_response",
                &reqid_and("result", $result),
            ),
            row(
                concat!($agent, "::agent_standby_request"),
                "Management::Agent::API::agent_standby_request",
                REQID,
            ),
            row(
                concat!($agent, "::agent_standby_response"),
                "Management::Agent::API::agent_standby_response",
                &reqid_and("result", $result),
            ),
        ]
    };
}

/// An agent's answer to its controller's `set_configuration_request`: one result, for which the model has a list.
macro_rules! one_result_for_all_nodes {
    ($agent:literal, $result:ident) => {
        row(
            concat!($agent, "::set_configuration_response"),
            "Management::Agent::API::deploy_response",
            &reqid_and("result", Shape::Only(&$result)),
        )
    };
}

/// `notify_agent_hello` before 72acf24f52, which says where the agent is instead of who it is.
macro_rules! hello_with_address {
    ($agent:literal) => {
        Row {
            read: Some(fill_in_hello),
            write: Some(fill_in_host),
            model_args: 4,
            ..row(
                concat!($agent, "::notify_agent_hello"),
                "Management::Agent::API::notify_agent_hello",
                &[
                    must("instance", 0, TEXT),
                    must("host", 4, ADDRESS),
                    must("api_version", 3, COUNT),
                ],
            )
        }
    };
}

use {
    configuration, events_since_4_2, hello_with_address, old_events, old_result, one_result_for_all_nodes,
    result,
};

/// `NodeOutputs`, the same everywhere.
const NODE_OUTPUTS: Shape = Shape::Record(&record(&[must("stdout", 0, TEXT), must("stderr", 1, TEXT)], 2));

const NODE_EXIT: &[Field] = &[must("node", 0, TEXT), must("outputs", 1, NODE_OUTPUTS)];

const HELLO: &[Field] = &[
    must("instance", 0, TEXT),
    must("id", 1, TEXT),
    must("connecting", 2, BOOL),
    must("api_version", 3, COUNT),
];

/// Zeek's controllers never force a deployment; older ones cannot.
fn do_not_force(model: &mut [Data], _: &Context) {
    model[2] = Data::Boolean(false);
}

/// The agent is who sent it.
fn fill_in_hello(model: &mut [Data], context: &Context) {
    model[1] = Data::String(context.agent_id.clone());
    model[2] = Data::Boolean(context.connecting);
}

fn fill_in_host(model: &mut [Data], context: &Context) {
    model[4] = Data::Address(context.host);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_occurs_once_and_every_place_in_the_model_is_filled_once() {
        for dialect in Dialect::ALL {
            let rows: Vec<&Row> = rows(dialect).iter().copied().flatten().collect();
            for (index, row) in rows.iter().enumerate() {
                let others = &rows[index + 1..];
                assert!(others.iter().all(|other| other.name != row.name), "{}", row.name);
                let same_model = |other: &&&Row| row.model.is_some() && other.model == row.model;
                assert!(
                    others.iter().find(same_model).is_none(),
                    "{dialect}: {:?}",
                    row.model
                );
                check_fields(row.name, row.args);
                assert!(row.args.len() <= row.model_args, "{}", row.name);
            }
        }
    }

    fn check_fields(what: &str, fields: &[Field]) {
        let mut places: Vec<usize> = fields.iter().map(|field| field.at).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), fields.len(), "{what}");
        for field in fields {
            check_shape(&format!("{what}.{}", field.name), &field.shape);
        }
    }

    fn check_shape(what: &str, shape: &Shape) {
        match shape {
            Shape::Record(record) => check_fields(what, record.fields),
            Shape::Vector(shape) | Shape::Set(shape) | Shape::Only(shape) => check_shape(what, shape),
            _ => {}
        }
    }
}
