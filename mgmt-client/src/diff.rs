//! In what two configurations differ, in plain words.
//!
//! What the new one leaves open and the controller fills in is no difference: ports, the address from which an agent connects, and the backend.

use std::{collections::BTreeMap, fmt::Write};

use broker_codec::data::ZeekString;
use mgmt_api::{
    backend::CLUSTER_BACKEND,
    operator::{ConfigurationFile, InstanceEntry, NodeEntry},
};
use serde::Serialize;

use crate::status::counted;

/// In what an instance or a node differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    pub(crate) what: What,
    pub(crate) name: String,
    pub(crate) change: Change,
    pub(crate) fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    Instance,
    Node,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    Added,
    Removed,
    Changed,
}

/// A field, as it was and as it is; none where it is not set.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) old: Option<String>,
    pub(crate) new: Option<String>,
}

/// The fields of an instance or a node that are set, by their names.
type Fields = BTreeMap<String, String>;

/// By names of instances or nodes.
type Entries = BTreeMap<String, Fields>;

/// In what a configuration differs from an older one: its instances, then its nodes, each in the order of their names.
pub(crate) fn between(old: &ConfigurationFile, new: &ConfigurationFile) -> Vec<Difference> {
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
    entries.map(|entry| (shown(&entry.name), fields(entry))).collect()
}

fn nodes(config: &ConfigurationFile) -> Entries {
    let entries = config.nodes.iter();
    entries
        .map(|entry| (shown(&entry.name), node_fields(entry)))
        .collect()
}

fn node_fields(node: &NodeEntry) -> Fields {
    let scripts = node.scripts.iter().flatten().map(shown);
    let scripts: Vec<String> = scripts.collect();
    let plain = [
        ("instance", Some(shown(&node.instance))),
        ("role", Some(node.role.to_string())),
        ("interface", node.interface.as_ref().map(shown)),
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
        .map(|(name, value)| (format!("env {}", shown(name)), shown(value)));
    let options = node.options.iter().flat_map(|options| options.iter());
    let options = options.map(|option| (format!("option {}", shown(&option.name)), shown(&option.value)));
    plain.chain(env).chain(options).collect()
}

fn shown(text: &ZeekString) -> String {
    text.to_str_lossy().into_owned()
}

/// Where a difference is: `node worker-1: option a`.
pub(crate) fn place(
    Difference {
        what, name, fields, ..
    }: &Difference,
) -> String {
    let subject = subject(*what, name);
    match fields.first() {
        Some(Field { name, .. }) => format!("{subject}: {name}"),
        None => subject,
    }
}

fn subject(what: What, name: &str) -> String {
    match what {
        What::Instance => format!("instance {name}"),
        What::Node => format!("node {name}"),
    }
}

/// The differences in words, a line each, and their sum.
pub(crate) fn in_words(differences: &[Difference], new: &ConfigurationFile) -> String {
    let mut text = String::new();
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
                let _ = writeln!(text, "{subject} is removed");
            }
            Change::Added => {
                let fields = fields
                    .iter()
                    .filter_map(|Field { name, new, .. }| Some(format!("{name} {}", new.as_ref()?)));
                let fields: Vec<String> = fields.collect();
                let fields = if fields.is_empty() {
                    String::new()
                } else {
                    format!(": {}", fields.join(", "))
                };
                let _ = writeln!(text, "{subject} is new{fields}");
            }
            Change::Changed => {
                let on = new
                    .nodes
                    .iter()
                    .find(|node| is_node && node.name == name.as_str());
                let on = on.map_or_else(String::new, |node| format!(" on {}", shown(&node.instance)));
                for field in fields {
                    let _ = writeln!(text, "{subject}{on}: {}", changed(field));
                }
            }
        }
    }
    text += &sum(differences);
    text
}

fn changed(Field { name, old, new }: &Field) -> String {
    let is = new.as_ref().map_or("not set".to_owned(), Clone::clone);
    let was = old.as_ref().map_or("not set".to_owned(), Clone::clone);
    format!("{name} is {is}, was {was}")
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
    use mgmt_api::OptionRecord;

    use super::*;
    use crate::cluster_file::read;

    const OLD: &str = "[instances]\na\nb = 10.0.0.2:2151\n[m]\ninstance = a\nrole = manager\nport = 2200\n\
        [w1]\ninstance = a\nrole = worker\ninterface = eth1\nenv = A=1 B=2\n[w2]\ninstance = b\nrole = worker\n";
    const NEW: &str = "[instances]\na\nc\n[m]\ninstance = a\nrole = manager\n\
        [w1]\ninstance = a\nrole = worker\ninterface = eth2\nenv = A=1 C=3\n[w3]\ninstance = c\nrole = worker\ninterface = lo\n";

    fn file(text: &str) -> ConfigurationFile {
        read(text, "host").unwrap().config
    }

    #[test]
    fn differences_are_told_by_instance_node_and_field() {
        let new = file(NEW);
        let told = in_words(&between(&file(OLD), &new), &new);
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
    fn what_the_controller_fills_in_is_no_difference_and_what_is_set_is() {
        let new = file(OLD);
        let mut deployed = file(OLD);
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
