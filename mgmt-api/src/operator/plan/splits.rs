//! What cannot be tried on one instance.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::{Address, ZeekString};

use crate::{
    log::{nodes_named, some_of},
    records::{Configuration, Node},
};

/// Why a change concerns the whole cluster and cannot be tried on one instance: nodes of the new configuration would not find those of the old one,
/// or the other way round. A line for each reason; none if instances can run the one and the other side by side.
///
/// The new configuration is compared as agents get it, with what the controller fills in. A backend that it leaves open is the old one. So is the
/// address of an instance that is not known.
pub fn splits(old: &Configuration, new: &Configuration) -> Vec<String> {
    let mut reasons = Vec::new();
    let [before, after] = [old, new].map(hosts);
    let [names_before, names_after] = [&before, &after].map(|hosts| hosts.keys().copied().collect());
    come_and_go(&names_before, &names_after, instances_named, &mut reasons);
    let common = names_before.intersection(&names_after);
    for (name, was, is) in common.filter_map(|name| Some((name, before.get(name)?, after.get(name)?))) {
        if was != is && ![was, is].contains(&&Address::UNSPECIFIED_V4) {
            reasons.push(format!("instance {name} is at {is}, and was at {was}"));
        }
    }
    let [place_before, place_after] = [(old, &before), (new, &after)].map(|(config, own)| {
        let host = |name| match own.get(name) {
            Some(&Address::UNSPECIFIED_V4) | None => before.get(name).or(own.get(name)),
            known => known,
        };
        let hosts: BTreeSet<_> = config.nodes.iter().map(|node| host(&node.instance)).collect();
        let place = if hosts.len() > 1 {
            "several hosts"
        } else {
            "one host"
        };
        (!hosts.is_empty()).then_some(place)
    });
    if let Some((was, is)) = place_before.zip(place_after).filter(|(was, is)| was != is) {
        reasons.push(format!("all nodes together are on {is}, and were on {was}"));
    }
    let backends = (old.cluster_backend(), new.cluster_backend());
    if let (was, Some(is)) = backends
        && was != Some(is)
    {
        let was = was.map_or("not set".to_owned(), ToString::to_string);
        reasons.push(format!("the cluster backend is {is}, and was {was}"));
    }
    nodes_split(old, new, &mut reasons);
    reasons
}

fn nodes_split(old: &Configuration, new: &Configuration, reasons: &mut Vec<String>) {
    let [before, after] = [old, new].map(nodes);
    let [names_before, names_after] = [&before, &after].map(|nodes| nodes.keys().copied().collect());
    come_and_go(&names_before, &names_after, nodes_named, reasons);
    for (name, was, is) in before
        .iter()
        .filter_map(|(name, was)| Some((name, was, after.get(name)?)))
    {
        let mut differs = |what: &str, was: String, is: String| {
            if was != is {
                reasons.push(format!("{what} of node {name} is {is}, and was {was}"));
            }
        };
        differs("the instance", was.instance.to_string(), is.instance.to_string());
        differs("the role", was.role.to_string(), is.role.to_string());
        differs("the port", port(was), port(is));
    }
}

fn port(node: &Node) -> String {
    node.p.map_or("not set".to_owned(), |port| port.to_string())
}

fn hosts(config: &Configuration) -> BTreeMap<&ZeekString, Address> {
    let instances = config.instances.iter();
    instances
        .map(|instance| (&instance.name, instance.host))
        .collect()
}

fn nodes(config: &Configuration) -> BTreeMap<&ZeekString, &Node> {
    config.nodes.iter().map(|node| (&node.name, node)).collect()
}

fn instances_named(names: &[&ZeekString]) -> String {
    let what = if names.len() == 1 { "instance" } else { "instances" };
    format!("{what} {}", some_of(names.iter().copied()))
}

/// Which of them are there in one configuration only.
fn come_and_go(
    before: &BTreeSet<&ZeekString>,
    after: &BTreeSet<&ZeekString>,
    named: impl Fn(&[&ZeekString]) -> String,
    reasons: &mut Vec<String>,
) {
    for (these, others, become_of) in [(after, before, "added"), (before, after, "removed")] {
        let which: Vec<&ZeekString> = these.difference(others).copied().collect();
        let verb = if which.len() == 1 { "is" } else { "are" };
        if !which.is_empty() {
            reasons.push(format!("{} {verb} {become_of}", named(&which)));
        }
    }
}

#[cfg(test)]
mod tests {
    use broker_codec::data::{Port, Set};

    use super::*;
    use crate::{CLUSTER_BACKEND, enums::ClusterRole, records::Instance, records::OptionRecord};

    fn deployed() -> Configuration {
        let instance = |name: &str, host: &str| Instance {
            host: host.parse().unwrap(),
            ..Instance::new(name)
        };
        let node = |name: &str, instance: &str, role, port: Option<u16>| Node {
            p: port.map(Port::tcp),
            ..Node::new(name, instance, role)
        };
        let mut config = Configuration::new(
            "1",
            [instance("a", "10.0.0.1"), instance("b", "10.0.0.2")],
            [
                node("logger", "a", ClusterRole::Logger, Some(2201)),
                node("manager", "a", ClusterRole::Manager, Some(2200)),
                node("w1", "a", ClusterRole::Worker, None),
                node("w2", "b", ClusterRole::Worker, None),
            ],
        );
        config.set_cluster_backend(&"broker".into());
        config
    }

    fn with_node(name: &str, change: impl Fn(&mut Node)) -> Configuration {
        let mut config = deployed();
        let change = |mut node: Node| {
            if node.name == name {
                change(&mut node);
            }
            node
        };
        config.nodes = config.nodes.into_iter().map(change).collect();
        config
    }

    fn with_nodes(change: impl Fn(&mut Vec<Node>)) -> Configuration {
        let mut config = deployed();
        let mut nodes: Vec<Node> = config.nodes.into_iter().collect();
        change(&mut nodes);
        config.nodes = nodes.into_iter().collect();
        config
    }

    fn with_instances(change: impl Fn(&mut Vec<Instance>)) -> Configuration {
        let mut config = deployed();
        let mut instances: Vec<Instance> = config.instances.into_iter().collect();
        change(&mut instances);
        config.instances = instances.into_iter().collect();
        config
    }

    fn options(pairs: &[(&str, &str)]) -> Set<OptionRecord> {
        let option = |(name, value): &(&str, &str)| OptionRecord {
            name: (*name).into(),
            value: (*value).into(),
        };
        pairs.iter().map(option).collect()
    }

    fn check(what: &str, new: &Configuration, expected: &[&str]) {
        assert_eq!(splits(&deployed(), new), expected, "{what}");
    }

    #[test]
    fn what_concerns_one_node_alone_can_be_tried_on_its_instance() {
        for name in ["manager", "logger", "w1"] {
            let config = with_node(name, |node| {
                node.scripts = Some(vec!["a".into()]);
                node.env.insert("A".into(), "1".into());
                node.cpu_affinity = Some(3);
                node.metrics_port = Some(Port::tcp(9000));
            });
            check(name, &config, &[]);
        }
        check("nothing", &deployed(), &[]);
        check(
            "an interface",
            &with_node("w2", |node| node.interface = Some("eth1".into())),
            &[],
        );
        let option = [(CLUSTER_BACKEND, "broker"), ("a", "b")];
        check(
            "an option",
            &with_node("manager", |node| node.options = Some(options(&option))),
            &[],
        );
    }

    #[test]
    fn what_other_nodes_must_know_too_concerns_the_whole_cluster() {
        let node = |name: &str| Node::new(name, "b", ClusterRole::Worker);
        check(
            "workers",
            &with_nodes(|nodes| {
                nodes.retain(|node| node.name != "w1");
                nodes.extend(["w3", "w4"].map(node));
            }),
            &["nodes w3, w4 are added", "node w1 is removed"],
        );
        check(
            "a worker moves",
            &with_node("w1", |node| node.instance = "b".into()),
            &["the instance of node w1 is b, and was a"],
        );
        check(
            "a logger",
            &with_node("logger", |node| {
                node.p = Some(Port::tcp(2300));
                node.role = ClusterRole::Proxy;
            }),
            &[
                "the role of node logger is proxy, and was logger",
                "the port of node logger is 2300/tcp, and was 2201/tcp",
            ],
        );
        check(
            "the backend",
            &with_node("manager", |node| {
                node.options = Some(options(&[(CLUSTER_BACKEND, "zeromq")]));
            }),
            &["the cluster backend is zeromq, and was broker"],
        );
        check(
            "instances",
            &with_instances(|instances| {
                instances.push(Instance::new("c"));
                instances[1].host = "10.0.0.9".parse().unwrap();
            }),
            &[
                "instance c is added",
                "instance b is at 10.0.0.9, and was at 10.0.0.2",
            ],
        );
        check(
            "one host",
            &with_instances(|instances| instances[1].host = instances[0].host),
            &[
                "instance b is at 10.0.0.1, and was at 10.0.0.2",
                "all nodes together are on one host, and were on several hosts",
            ],
        );
    }

    #[test]
    fn what_is_left_open_stays_as_it_is() {
        let open = with_instances(|instances| instances[1].host = Address::UNSPECIFIED_V4);
        check("a host", &open, &[]);
        let no_backend = with_node("manager", |node| node.options = None);
        check("a backend", &no_backend, &[]);
        let reasons = splits(&no_backend, &deployed());
        assert_eq!(reasons, ["the cluster backend is broker, and was not set"]);
        // An instance that was never seen is at no place that others know.
        assert_eq!(splits(&open, &deployed()), Vec::<String>::new());
    }
}
