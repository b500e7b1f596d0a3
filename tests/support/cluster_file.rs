//! A cluster as a file for zeek-client, under construction.

use std::{collections::BTreeMap, fmt::Write};

use serde_json::json;
use zeek_simulator::{Exit, NodeBehaviour};

#[derive(Clone, Debug)]
pub(crate) struct ClusterFile {
    instances: Vec<&'static str>,
    /// The nodes' sections by name, in lines.
    nodes: BTreeMap<String, String>,
}

impl ClusterFile {
    /// Without nodes.
    pub(crate) fn new(instances: &[&'static str]) -> Self {
        Self {
            instances: instances.to_vec(),
            nodes: BTreeMap::new(),
        }
    }

    /// The same instances without nodes.
    pub(crate) fn without_nodes(&self) -> Self {
        Self::new(&self.instances)
    }

    /// With three nodes besides workers on the first instance, which listen at these ports, and this many workers on each.
    pub(crate) fn of(sensors: &[(&'static str, usize)], ports: [u16; 3]) -> Self {
        let instances: Vec<_> = sensors.iter().map(|(sensor, _)| *sensor).collect();
        let mut cluster = Self::new(&instances);
        for (role, port) in ["manager", "logger", "proxy"].into_iter().zip(ports) {
            cluster.add(role, instances[0], role, &format!("port = {port}"));
        }
        for (sensor, count) in sensors {
            for number in 1..=*count {
                cluster.add_worker(&format!("worker-{sensor}-{number}"), sensor);
            }
        }
        cluster
    }

    /// Adds a node, or has it in place of the one of that name.
    pub(crate) fn add(&mut self, name: &str, sensor: &str, role: &str, further: &str) {
        let section = format!("instance = {sensor}\nrole = {role}\n{further}\n");
        self.nodes.insert(name.to_owned(), section);
    }

    pub(crate) fn add_worker(&mut self, name: &str, sensor: &str) {
        self.add(name, sensor, "worker", "interface = lo");
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.nodes.remove(name).expect("it is one of its nodes");
    }

    /// Gives a node one more setting, as a line of its section.
    pub(crate) fn set(&mut self, name: &str, line: &str) {
        let section = self.nodes.get_mut(name).expect("it is one of its nodes");
        section.push_str(line);
        section.push('\n');
    }

    /// Has a node die whenever it is started, with these last words.
    pub(crate) fn always_dies(&mut self, name: &str, last_words: &str) {
        self.behave(name, &always_dies(last_words));
    }

    pub(crate) fn behave(&mut self, name: &str, behaviour: &NodeBehaviour) {
        self.set(name, &format!("env = 'STAND_IN_NODE={}'", json!(behaviour)));
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys()
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!("[instances]\n{}\n", self.instances.join("\n"));
        for (name, section) in &self.nodes {
            write!(text, "\n[{name}]\n{section}").expect("a string takes all");
        }
        text
    }
}

/// A node that dies whenever it is started, with these last words.
pub(crate) fn always_dies(last_words: &str) -> NodeBehaviour {
    let exit = Exit {
        status: 1,
        aborts: false,
    };
    NodeBehaviour {
        stderr: Some(last_words.into()),
        exit: Some(exit),
        ..NodeBehaviour::default()
    }
}
