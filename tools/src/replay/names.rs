//! Zeek's names for what stands in an event, and the places where two events differ, by these names.
//!
//! On the wire a record is a list. Which list is which record follows from the event; where releases of Zeek have
//! different records under one name, from the list itself.

use broker_codec::{
    Data,
    data::{Kind, ZeekString},
};

/// How the values within a value are called.
#[derive(Clone, Copy)]
enum Shape {
    /// They have no names.
    Value,
    /// A vector or set.
    List(&'static Shape),
    /// A vector whose order in Zeek is that of a hash table.
    Bag(&'static Shape),
    /// A table; the values' shape.
    Table(&'static Shape),
    /// A record, or a record whose fields depend on its values.
    Record(fn(&[Data]) -> &'static [Field]),
}

/// A name and a shape.
type Field = (&'static str, &'static Shape);

const VALUE: Shape = Shape::Value;
const VALUES: Shape = Shape::List(&VALUE);

const INSTANCE: Shape = Shape::Record(|_| &[("name", &VALUE), ("host", &VALUE), ("listen_port", &VALUE)]);
const OPTION: Shape = Shape::Record(|_| &[("name", &VALUE), ("value", &VALUE)]);
const NODE: Shape = Shape::Record(node_fields);
const CONFIGURATION: Shape = Shape::Record(|_| {
    &[
        ("id", &VALUE),
        ("instances", &Shape::List(&INSTANCE)),
        ("nodes", &Shape::List(&NODE)),
    ]
});
const NODE_STATUS: Shape = Shape::Record(|_| {
    &[
        ("node", &VALUE),
        ("state", &VALUE),
        ("mgmt_role", &VALUE),
        ("cluster_role", &VALUE),
        ("pid", &VALUE),
        ("p", &VALUE),
        ("metrics_port", &VALUE),
    ]
});
const NODE_OUTPUTS: Shape = Shape::Record(|_| &[("stdout", &VALUE), ("stderr", &VALUE)]);
const CLUSTER_ENDPOINT: Shape = Shape::Record(|_| {
    &[
        ("role", &VALUE),
        ("host", &VALUE),
        ("p", &VALUE),
        ("interface", &VALUE),
        ("pcap_file", &VALUE),
        ("metrics_port", &VALUE),
    ]
});
const NODE_CONFIG: Shape = Shape::Record(node_config_fields);
const SUPERVISED_NODE: Shape = Shape::Record(|_| &[("node", &NODE_CONFIG), ("pid", &VALUE)]);
const SUPERVISOR_STATUS: Shape = Shape::Record(|_| &[("nodes", &Shape::Table(&SUPERVISED_NODE))]);

/// `Management::Result` with data of a shape, in the order of Zeek 5.0 and in the older one.
macro_rules! result {
    ($name:ident, $data:expr) => {
        const $name: Shape = Shape::Record(|fields| match fields.get(1) {
            Some(Data::String(_)) => &[
                ("reqid", &VALUE),
                ("instance", &VALUE),
                ("success", &VALUE),
                ("data", &$data),
                ("error", &VALUE),
                ("node", &VALUE),
            ],
            _ => &[
                ("reqid", &VALUE),
                ("success", &VALUE),
                ("instance", &VALUE),
                ("data", &$data),
                ("error", &VALUE),
                ("node", &VALUE),
            ],
        });
    };
}

result!(RESULT, VALUE);
result!(RESULT_INSTANCES, Shape::List(&INSTANCE));
result!(RESULT_CONFIGURATION, CONFIGURATION);
result!(RESULT_NODES, Shape::Bag(&NODE_STATUS));
result!(RESULT_OUTPUTS, NODE_OUTPUTS);
const RESULTS: Shape = Shape::Bag(&RESULT);
const RESULTS_NODES: Shape = Shape::Bag(&RESULT_NODES);
const RESULTS_OUTPUTS: Shape = Shape::Bag(&RESULT_OUTPUTS);
const ORDERED_RESULTS: Shape = Shape::List(&RESULT);

/// `Management::Node`, and the one of Zeek 4.1 and 4.2, whose port comes before its role.
fn node_fields(fields: &[Data]) -> &'static [Field] {
    match fields.get(2).map(Data::kind) {
        Some(Kind::Port) => &[
            ("name", &VALUE),
            ("instance", &VALUE),
            ("p", &VALUE),
            ("role", &VALUE),
            ("state", &VALUE),
            ("scripts", &VALUES),
            ("options", &Shape::List(&OPTION)),
            ("interface", &VALUE),
            ("cpu_affinity", &VALUE),
            ("env", &Shape::Table(&VALUE)),
        ],
        _ => &[
            ("name", &VALUE),
            ("instance", &VALUE),
            ("role", &VALUE),
            ("state", &VALUE),
            ("p", &VALUE),
            ("scripts", &VALUES),
            ("options", &Shape::List(&OPTION)),
            ("interface", &VALUE),
            ("cpu_affinity", &VALUE),
            ("env", &Shape::Table(&VALUE)),
            ("metrics_port", &VALUE),
        ],
    }
}

/// `Supervisor::NodeConfig` of Zeek 7.0, and that of 6.0, which are those that were recorded.
fn node_config_fields(fields: &[Data]) -> &'static [Field] {
    match fields.len() {
        12 => &[
            ("name", &VALUE),
            ("interface", &VALUE),
            ("pcap_file", &VALUE),
            ("directory", &VALUE),
            ("stdout_file", &VALUE),
            ("stderr_file", &VALUE),
            ("bare_mode", &VALUE),
            ("addl_base_scripts", &VALUES),
            ("addl_user_scripts", &VALUES),
            ("env", &Shape::Table(&VALUE)),
            ("cpu_affinity", &VALUE),
            ("cluster", &Shape::Table(&CLUSTER_ENDPOINT)),
        ],
        13 => &[
            ("name", &VALUE),
            ("interface", &VALUE),
            ("pcap_file", &VALUE),
            ("directory", &VALUE),
            ("stdout_file", &VALUE),
            ("stderr_file", &VALUE),
            ("bare_mode", &VALUE),
            ("addl_base_scripts", &VALUES),
            ("addl_user_scripts", &VALUES),
            ("scripts", &VALUES),
            ("env", &Shape::Table(&VALUE)),
            ("cpu_affinity", &VALUE),
            ("cluster", &Shape::Table(&CLUSTER_ENDPOINT)),
        ],
        _ => &[("name", &VALUE)],
    }
}

const REQID: Field = ("reqid", &VALUE);

/// The arguments of the events of an API by the verb, whatever the module is called in which release.
fn arguments(event: &ZeekString) -> &'static [Field] {
    let name = event.to_string();
    let mut parts = name.rsplit("::");
    let verb = parts.next().unwrap_or_default();
    let of_agent = name.contains("Agent::");
    match (of_agent, verb) {
        _ if name.starts_with("SupervisorControl::") => supervisor(verb),
        (_, "get_instances_response") => &[REQID, ("result", &RESULT_INSTANCES)],
        (false, "stage_configuration_request") | (_, "set_configuration_request") => {
            &[REQID, ("config", &CONFIGURATION)]
        }
        (false, "stage_configuration_response") => &[REQID, ("results", &ORDERED_RESULTS)],
        (false, "set_configuration_response" | "restart_response" | "get_id_value_response")
        | (true, "restart_response" | "node_dispatch_response") => &[REQID, ("results", &RESULTS)],
        (true, "set_configuration_response") => &[REQID, ("result", &RESULT)],
        (false, "get_configuration_request") => &[REQID, ("deployed", &VALUE)],
        (false, "get_configuration_response") => &[REQID, ("result", &RESULT_CONFIGURATION)],
        (true, "deploy_request") => &[REQID, ("config", &CONFIGURATION), ("force", &VALUE)],
        (_, "deploy_response") => &[REQID, ("results", &RESULTS_OUTPUTS)],
        (false, "get_nodes_response") => &[REQID, ("results", &RESULTS_NODES)],
        (true, "get_nodes_response") => &[REQID, ("result", &RESULT_NODES)],
        (false, "get_id_value_request") => &[REQID, ("id", &VALUE), ("nodes", &VALUES)],
        (_, "restart_request") => &[REQID, ("nodes", &VALUES)],
        (_, "node_dispatch_request") => &[REQID, ("action", &VALUES), ("nodes", &VALUES)],
        (_, "test_timeout_request") => &[REQID, ("with_state", &VALUE)],
        (true, "notify_agent_hello") => &[
            ("instance", &VALUE),
            ("id", &VALUE),
            ("connecting", &VALUE),
            ("api_version", &VALUE),
        ],
        (true, "notify_change") => &[
            ("instance", &VALUE),
            ("n", &NODE),
            ("old", &VALUE),
            ("new", &VALUE),
        ],
        (true, "notify_error" | "notify_log") => &[("instance", &VALUE), ("msg", &VALUE), ("node", &VALUE)],
        (_, "notify_node_hello") => &[("node", &VALUE)],
        (_, "notify_node_exit") => &[("node", &VALUE), ("outputs", &NODE_OUTPUTS)],
        (_, verb) if verb.ends_with("_response") => &[REQID, ("result", &RESULT)],
        (_, verb) if verb.ends_with("_request") => &[REQID],
        _ => &[],
    }
}

fn supervisor(verb: &str) -> &'static [Field] {
    match verb {
        "create_request" => &[REQID, ("node", &NODE_CONFIG)],
        "status_request" | "restart_request" | "destroy_request" | "stop_request" => {
            &[REQID, ("node", &VALUE)]
        }
        "status_response" => &[REQID, ("result", &SUPERVISOR_STATUS)],
        "node_status" => &[("node", &VALUE), ("pid", &VALUE)],
        _ => &[REQID, ("result", &VALUE)],
    }
}

/// A place where two values differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// The place, as `results[2].node`.
    pub(super) path: String,
    /// What should stand there; `None` if there should be nothing.
    pub(super) expected: Option<Data>,
    /// What stands there.
    pub(super) got: Option<Data>,
}

/// Where the arguments of an event differ. Of what has no order in Zeek the order does not count: nothing is returned if
/// only that differs.
pub(super) fn mismatches(event: &ZeekString, expected: &[Data], got: &[Data]) -> Vec<Mismatch> {
    let mut comparison = Comparison {
        path: String::new(),
        found: Vec::new(),
    };
    comparison.fields(arguments(event), expected, got);
    comparison.found
}

/// Where two stored configurations differ.
pub(super) fn stored_mismatches(expected: Option<&Data>, got: Option<&Data>) -> Vec<Mismatch> {
    let mut comparison = Comparison {
        path: String::new(),
        found: Vec::new(),
    };
    if expected.is_some() || got.is_some() {
        comparison.pair(&CONFIGURATION, expected, got);
    }
    comparison.found
}

/// A path without its indices, as waivers name it: `results[].node`.
pub(super) fn without_indices(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for char in path.chars() {
        match char {
            '[' => {
                inside = true;
                out.push('[');
            }
            ']' => {
                inside = false;
                out.push(']');
            }
            _ if inside => {}
            char => out.push(char),
        }
    }
    out
}

struct Comparison {
    path: String,
    found: Vec<Mismatch>,
}

impl Comparison {
    fn at(&mut self, part: &str, inside: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if !self.path.is_empty() && !part.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(part);
        inside(self);
        self.path.truncate(length);
    }

    fn differ(&mut self, expected: Option<&Data>, got: Option<&Data>) {
        self.found.push(Mismatch {
            path: self.path.clone(),
            expected: expected.cloned(),
            got: got.cloned(),
        });
    }

    fn pair(&mut self, shape: &Shape, expected: Option<&Data>, got: Option<&Data>) {
        match (expected, got) {
            (Some(expected), Some(got)) => self.value(shape, expected, got),
            (expected, got) => self.differ(expected, got),
        }
    }

    fn value(&mut self, shape: &Shape, expected: &Data, got: &Data) {
        if expected == got {
            return;
        }
        match (shape, expected, got) {
            (Shape::Record(fields), Data::Vector(expected), Data::Vector(got)) => {
                self.fields(fields(expected), expected, got);
            }
            (Shape::Bag(inner), Data::Vector(expected), Data::Vector(got)) => {
                self.bag(inner, expected, got);
            }
            (Shape::List(inner), Data::Vector(expected), Data::Vector(got)) => {
                self.list(inner, expected, got);
            }
            (Shape::Value, Data::Vector(expected), Data::Vector(got)) => self.list(&VALUE, expected, got),
            (Shape::List(inner), Data::Set(expected), Data::Set(got)) => {
                self.list(inner, expected.as_slice(), got.as_slice());
            }
            (Shape::Value, Data::Set(expected), Data::Set(got)) => {
                self.list(&VALUE, expected.as_slice(), got.as_slice());
            }
            (Shape::Table(_) | Shape::Value, Data::Table(expected_entries), Data::Table(got_entries)) => {
                let inner = match shape {
                    Shape::Table(inner) => inner,
                    _ => &VALUE,
                };
                for (key, value) in expected_entries {
                    self.at(&format!("[{key}]"), |inside| {
                        inside.pair(inner, Some(value), got_entries.get(key));
                    });
                }
                for (key, value) in got_entries {
                    if expected_entries.get(key).is_none() {
                        self.at(&format!("[{key}]"), |inside| {
                            inside.pair(inner, None, Some(value));
                        });
                    }
                }
            }
            _ => self.differ(Some(expected), Some(got)),
        }
    }

    fn fields(&mut self, fields: &[Field], expected: &[Data], got: &[Data]) {
        for index in 0..expected.len().max(got.len()) {
            let (expected, got) = (expected.get(index), got.get(index));
            match fields.get(index) {
                Some((name, shape)) => self.at(name, |inside| inside.pair(shape, expected, got)),
                None => self.at(&format!("[{index}]"), |inside| {
                    inside.pair(&VALUE, expected, got);
                }),
            }
        }
    }

    fn list(&mut self, inner: &Shape, expected: &[Data], got: &[Data]) {
        for index in 0..expected.len().max(got.len()) {
            self.at(&format!("[{index}]"), |inside| {
                inside.pair(inner, expected.get(index), got.get(index));
            });
        }
    }

    /// Pairs what is alike, then what differs least in order. The indices are those of what was expected.
    fn bag(&mut self, inner: &Shape, expected: &[Data], got: &[Data]) {
        let mut left: Vec<&Data> = got.iter().collect();
        let mut unpaired: Vec<(usize, &Data)> = Vec::new();
        for (index, element) in expected.iter().enumerate() {
            match left.iter().position(|other| *other == element) {
                Some(found) => {
                    left.remove(found);
                }
                None => unpaired.push((index, element)),
            }
        }
        for (index, element) in unpaired {
            let nearest = left
                .iter()
                .enumerate()
                .map(|(position, other)| (probe(inner, element, other), position))
                .min();
            let other = nearest.map(|(_, position)| left.remove(position));
            self.at(&format!("[{index}]"), |inside| {
                inside.pair(inner, Some(element), other);
            });
        }
        for (index, element) in left.into_iter().enumerate() {
            self.at(&format!("[{}]", expected.len() + index), |inside| {
                inside.pair(inner, None, Some(element));
            });
        }
    }
}

/// In how many places two values differ.
fn probe(shape: &Shape, expected: &Data, got: &Data) -> usize {
    let mut comparison = Comparison {
        path: String::new(),
        found: Vec::new(),
    };
    comparison.value(shape, expected, got);
    comparison.found.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Data {
        Data::String(text.into())
    }

    fn result(reqid: &str, node: &str, success: bool) -> Data {
        Data::Vector(vec![
            text(reqid),
            Data::Boolean(success),
            text("instance-1"),
            Data::None,
            Data::None,
            text(node),
        ])
    }

    fn paths(event: &str, expected: &[Data], got: &[Data]) -> Vec<String> {
        let found = mismatches(&event.into(), expected, got);
        found.into_iter().map(|mismatch| mismatch.path).collect()
    }

    #[test]
    fn the_order_of_results_does_not_count_but_what_they_say_does() {
        let event = "Management::Controller::API::restart_response";
        let [a, b] = [result("r", "a", true), result("r", "b", true)];
        let expected = [text("r"), Data::Vector(vec![a.clone(), b.clone()])];
        assert!(
            paths(
                event,
                &expected,
                &[text("r"), Data::Vector(vec![b.clone(), a.clone()])]
            )
            .is_empty()
        );
        let failed = result("r", "b", false);
        assert_eq!(
            paths(
                event,
                &expected,
                &[text("r"), Data::Vector(vec![failed, a.clone()])]
            ),
            ["results[1].success"]
        );
        assert_eq!(
            paths(event, &expected, &[text("r"), Data::Vector(vec![a])]),
            ["results[1]"]
        );
        // Staging says what is wrong in an order.
        let staged = "Management::Controller::API::stage_configuration_response";
        assert!(
            !paths(
                staged,
                &expected,
                &[text("r"), Data::Vector(vec![b.clone(), expected[1].clone()])]
            )
            .is_empty()
        );
    }

    #[test]
    fn a_result_is_named_in_its_own_order() {
        let event = "Management::Agent::API::agent_welcome_response";
        let old = |instance: &str| {
            let fields = vec![
                text("r"),
                text(instance),
                Data::Boolean(true),
                Data::None,
                text(""),
                Data::None,
            ];
            [text("r"), Data::Vector(fields)]
        };
        assert_eq!(paths(event, &old("a"), &old("b")), ["result.instance"]);
    }

    #[test]
    fn what_has_no_name_has_a_number() {
        assert_eq!(
            paths("Module::unheard_of", &[text("a"), Data::Count(1)], &[text("a")]),
            ["[1]"]
        );
        assert_eq!(without_indices("results[12].data[0].p"), "results[].data[].p");
    }
}
