//! In what two configurations differ, in plain words.
//!
//! What the new one leaves open and the controller fills in is no difference: ports, the address from which an agent connects, and the backend.

use std::{collections::BTreeMap, fmt::Write};

use broker_codec::data::escape;
use serde::{Deserialize, Serialize};
use strum::Display;
use utoipa::ToSchema;

use super::{
    configuration::{ConfigurationFile, InstanceEntry, NodeEntry},
    request::text,
    verdict::counted,
};
use crate::backend::CLUSTER_BACKEND;

/// In what an instance or a node differs.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Difference {
    pub what: What,
    pub name: String,
    pub change: Change,
    pub fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, Display, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum What {
    Instance,
    Node,
}

#[derive(Clone, Copy, Debug, Display, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Change {
    Added,
    Removed,
    Changed,
}

/// A field, as it was and as it is; none where it is not set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Field {
    pub name: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

/// The fields of an instance or a node that are set, by their names.
type Fields = BTreeMap<String, String>;

/// By names of instances or nodes.
type Entries = BTreeMap<String, Fields>;

/// In what a configuration differs from an older one: its instances, then its nodes, each in the order of their names.
pub fn between(old: &ConfigurationFile, new: &ConfigurationFile) -> Vec<Difference> {
    let mut all = Vec::new();
    compare(What::Instance, &instances(old), &instances(new), &mut all);
    compare(What::Node, &nodes(old), &nodes(new), &mut all);
    all
}

fn compare(what: What, old: &Entries, new: &Entries, all: &mut Vec<Difference>) {
    let empty = Fields::new();
    let names = old
        .keys()
        .chain(new.keys().filter(|name| !old.contains_key(*name)));
    let mut names: Vec<&String> = names.collect();
    names.sort();
    for name in names {
        let change = match (old.get(name), new.get(name)) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        };
        let [old, new] = [old, new].map(|entries| entries.get(name).unwrap_or(&empty));
        let mut fields = fields_between(old, new);
        if change == Change::Changed {
            fields.retain(|field| field.new.is_some() || !is_filled_in(&field.name));
        }
        if change != Change::Changed || !fields.is_empty() {
            let name = name.clone();
            all.push(Difference {
                what,
                name,
                change,
                fields,
            });
        }
    }
}

fn fields_between(old: &Fields, new: &Fields) -> Vec<Field> {
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    let differing = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let field = |name: &String| Field {
        name: name.clone(),
        old: old.get(name).cloned(),
        new: new.get(name).cloned(),
    };
    differing.map(field).collect()
}

/// Whether the controller fills a field in that is left open.
fn is_filled_in(field: &str) -> bool {
    ["address", "port", "metrics_port"].contains(&field)
        || field.strip_prefix("option ") == Some(CLUSTER_BACKEND)
}

fn instances(config: &ConfigurationFile) -> Entries {
    let fields = |entry: &InstanceEntry| {
        let address = entry.host.map(|host| ("address".to_owned(), host.to_string()));
        let port = entry
            .port
            .map(|port| ("agent's port".to_owned(), port.to_string()));
        address.into_iter().chain(port).collect()
    };
    let entries = config.instances.iter();
    entries.map(|entry| (text(&entry.name), fields(entry))).collect()
}

fn nodes(config: &ConfigurationFile) -> Entries {
    let entries = config.nodes.iter();
    entries
        .map(|entry| (text(&entry.name), node_fields(entry)))
        .collect()
}

fn node_fields(node: &NodeEntry) -> Fields {
    let scripts = node.scripts.iter().flatten().map(text);
    let scripts: Vec<String> = scripts.collect();
    let plain = [
        ("instance", Some(text(&node.instance))),
        ("role", Some(node.role.to_string())),
        ("interface", node.interface.as_ref().map(text)),
        ("port", node.port.map(|port| port.to_string())),
        ("metrics_port", node.metrics_port.map(|port| port.to_string())),
        ("cpu_affinity", node.cpu_affinity.map(|cpu| cpu.to_string())),
        (
            "scripts",
            Some(scripts.join(" ")).filter(|scripts| !scripts.is_empty()),
        ),
    ];
    let plain = plain
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let env = node
        .env
        .iter()
        .map(|(name, value)| (format!("env {}", text(name)), text(value)));
    let options = node.options.iter().flat_map(|options| options.iter());
    let options = options.map(|option| (format!("option {}", text(&option.name)), text(&option.value)));
    plain.chain(env).chain(options).collect()
}

/// Where a difference is: `node worker-1: option a`.
pub fn place(
    Difference {
        what, name, fields, ..
    }: &Difference,
) -> String {
    let subject = subject(*what, name);
    match fields.first() {
        Some(Field { name, .. }) => format!("{subject}: {}", in_line(name)),
        None => subject,
    }
}

fn subject(what: What, name: &str) -> String {
    format!("{what} {}", in_line(name))
}

/// A name or a value, in which a line does not end.
pub fn in_line(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let _ = escape(text, &mut escaped);
    escaped
}

/// The differences in words, a line each, and their sum.
pub fn in_words(differences: &[Difference], new: &ConfigurationFile) -> String {
    let mut words = String::new();
    for Difference {
        what,
        name,
        change,
        fields,
    } in differences
    {
        let is_node = *what == What::Node;
        let subject = subject(*what, name);
        match change {
            Change::Removed => {
                let _ = writeln!(words, "{subject} is removed");
            }
            Change::Added => {
                let fields = fields.iter().filter_map(|Field { name, new, .. }| {
                    Some(in_line(&format!("{name} {}", new.as_ref()?)))
                });
                let fields: Vec<String> = fields.collect();
                let fields = if fields.is_empty() {
                    String::new()
                } else {
                    format!(": {}", fields.join(", "))
                };
                let _ = writeln!(words, "{subject} is new{fields}");
            }
            Change::Changed => {
                let on = new
                    .nodes
                    .iter()
                    .find(|node| is_node && node.name == name.as_str());
                let on = on.map_or_else(String::new, |node| {
                    format!(" on {}", in_line(&text(&node.instance)))
                });
                for field in fields {
                    let _ = writeln!(words, "{subject}{on}: {}", changed(field));
                }
            }
        }
    }
    words += &sum(differences);
    words
}

/// `port is 2200, was 2300`
pub fn changed(Field { name, old, new }: &Field) -> String {
    let is = new.as_ref().map_or("not set".to_owned(), Clone::clone);
    let was = old.as_ref().map_or("not set".to_owned(), Clone::clone);
    in_line(&format!("{name} is {is}, was {was}"))
}

fn sum(differences: &[Difference]) -> String {
    let count = |what| {
        differences
            .iter()
            .filter(|difference| difference.what == what)
            .count()
    };
    match (count(What::Instance), count(What::Node)) {
        (0, 0) => "nothing differs\n".to_owned(),
        (instances, nodes) => {
            let of = [(instances, "instance"), (nodes, "node")];
            let of = of.into_iter().filter(|(count, _)| *count > 0);
            let of: Vec<String> = of.map(|(count, what)| counted(count, what)).collect();
            let verb = if instances + nodes == 1 {
                "differs"
            } else {
                "differ"
            };
            format!("{} {verb}\n", of.join(" and "))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::records::OptionRecord;

    fn worker(name: &str, instance: &str) -> Value {
        json!({ "name": name, "instance": instance, "role": "worker" })
    }

    fn old() -> ConfigurationFile {
        let mut first = worker("w1", "a");
        (first["interface"], first["env"]) = ("eth1".into(), json!({ "A": "1", "B": "2" }));
        let manager = json!({ "name": "m", "instance": "a", "role": "manager", "port": 2200 });
        from_value(json!({
            "instances": [{ "name": "a" }, { "name": "b", "host": "10.0.0.2", "port": 2151 }],
            "nodes": [manager, first, worker("w2", "b")],
        }))
        .unwrap()
    }

    fn new() -> ConfigurationFile {
        let [mut first, mut third] = [worker("w1", "a"), worker("w3", "c")];
        (first["interface"], first["env"]) = ("eth2".into(), json!({ "A": "1", "C": "3" }));
        third["interface"] = "lo".into();
        let manager = json!({ "name": "m", "instance": "a", "role": "manager" });
        from_value(json!({
            "instances": [{ "name": "a" }, { "name": "c" }],
            "nodes": [manager, first, third],
        }))
        .unwrap()
    }

    #[test]
    fn differences_are_told_by_instance_node_and_field() {
        let new = new();
        let told = in_words(&between(&old(), &new), &new);
        assert_eq!(
            told.lines().collect::<Vec<_>>(),
            [
                "instance b is removed",
                "instance c is new",
                "node w1 on a: env B is not set, was 2",
                "node w1 on a: env C is 3, was not set",
                "node w1 on a: interface is eth2, was eth1",
                "node w2 is removed",
                "node w3 is new: instance c, interface lo, role worker",
                "2 instances and 3 nodes differ",
            ]
        );
    }

    #[test]
    fn names_and_values_make_no_lines_of_their_own() {
        let new: ConfigurationFile = from_value(json!({
            "nodes": [{ "name": "m\nnothing differs", "instance": "a\nb", "role": "worker", "env": { "A": "1\nnode x is removed" } }],
        }))
        .unwrap();
        let differences = between(&ConfigurationFile::default(), &new);
        let told = in_words(&differences, &new);
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(
            told.contains(r"m\nnothing differs is new: env A 1\nnode x"),
            "{told}"
        );
        let mut old = new.clone();
        old.nodes[0].interface = Some("e\nf".into());
        let told = in_words(&between(&old, &new), &new);
        assert_eq!(told.lines().count(), 2, "{told}");
    }

    #[test]
    fn what_the_controller_fills_in_is_no_difference_and_what_is_set_is() {
        let new = old();
        let mut deployed = old();
        deployed.instances[0].host = Some("10.0.0.1".parse().unwrap());
        deployed.nodes[1].port = "2201".parse().ok();
        deployed.nodes[1].metrics_port = "9000".parse().ok();
        let backend = OptionRecord {
            name: CLUSTER_BACKEND.into(),
            value: "zeromq".into(),
        };
        deployed.nodes[0].options = Some([backend].into_iter().collect());
        assert_eq!(in_words(&between(&deployed, &new), &new), "nothing differs\n");
        deployed.nodes[0].port = "2300".parse().ok();
        let told = in_words(&between(&deployed, &new), &new);
        assert_eq!(told, "node m on a: port is 2200, was 2300\n1 node differs\n");
    }
}
