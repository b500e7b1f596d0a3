//! What should run, and what becomes of a node that runs when that is another configuration.

use std::collections::BTreeSet;

use broker_codec::data::ZeekString;
use mgmt_api::{ClusterRole, Configuration, ControllerId, Now};
use serde::{Deserialize, Serialize};

use super::{
    settings::Supervise,
    supervision::{ClusterNode, NodeSpec, is_on_one_host},
};

/// What should run: it is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// Who keeps the nodes.
    #[serde(default)]
    pub supervise: Supervise,
    /// The configuration that was deployed last.
    pub config: Option<Configuration>,
    /// The nodes of it that an operator has stopped.
    #[serde(default)]
    pub stopped: BTreeSet<ZeekString>,
    /// Those of the latter that have done their work: what they read has an end, and they have read it.
    #[serde(default)]
    pub done: BTreeSet<ZeekString>,
    /// The controller that is obeyed, if it has said who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<ControllerId>,
}

/// What the agent has not done yet about what it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Restoring {
    /// It has not been looked at which of the nodes run.
    Due,
    /// Nodes that do not run are started at this time, unless a controller says what to do.
    At(Now),
    /// Those that do not run are started when a controller deploys.
    ByController,
}

/// What becomes of a node that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It runs on: nothing that concerns it has changed.
    Kept,
    /// It runs on, and is told of the workers that have come. Of those that are gone it need not know.
    Told,
    /// It is started anew, for this reason.
    Restarted(String),
}

/// What becomes of a node that runs like this and is to run like that.
///
/// DIFFERENCE(unchanged-nodes): Zeek's agent ends all nodes at each deployment, and starts those of the configuration.
///
/// Workers may come and go while others run: every node can be told of those that come. Everything else about the layout is read by Zeek once, when it
/// starts; a node that went on with the old one would not find the others, or send events to other places than they do.
pub(crate) fn fate(running: &NodeSpec, wanted: &NodeSpec) -> Fate {
    let own = own_changes(running, wanted);
    if !own.is_empty() {
        return Fate::Restarted(format!("changed: {}", own.join(", ")));
    }
    if is_on_one_host(&running.cluster) != is_on_one_host(&wanted.cluster) {
        return Fate::Restarted("the addresses of a cluster on one host are others than on several".into());
    }
    let mut told = false;
    let names = running.cluster.keys().chain(wanted.cluster.keys());
    for name in names {
        let (before, after) = (running.cluster.get(name), wanted.cluster.get(name));
        if before == after {
            continue;
        }
        if !before.into_iter().chain(after).all(is_worker) || moves(before, after) {
            return Fate::Restarted(format!("the cluster's {name} is another one"));
        }
        told = true;
    }
    if told { Fate::Told } else { Fate::Kept }
}

/// What of a node itself has changed, in words.
fn own_changes(running: &NodeSpec, wanted: &NodeSpec) -> Vec<&'static str> {
    let place = |spec: &NodeSpec| {
        let place = spec.cluster.get(&spec.name)?;
        Some((place.role, place.host, place.p, place.metrics_port))
    };
    let all = [
        ("interface", running.interface != wanted.interface),
        ("directory", running.directory != wanted.directory),
        ("scripts", running.scripts != wanted.scripts),
        ("environment", running.env != wanted.env),
        ("CPU", running.cpu_affinity != wanted.cpu_affinity),
        ("options", running.options != wanted.options),
        (
            "cluster backend",
            running.cluster_backend != wanted.cluster_backend,
        ),
        ("role, address or port", place(running) != place(wanted)),
    ];
    let differing = all.into_iter().filter(|(_, differs)| *differs);
    differing.map(|(what, _)| what).collect()
}

fn is_worker(place: &ClusterNode) -> bool {
    place.role == ClusterRole::Worker
}

/// Whether a worker is at another place than before, as opposed to one that has come, has gone, or has another interface or metrics port:
/// these concern no node but itself. Controllers give workers other metrics ports when one of lower name has come or gone.
fn moves(before: Option<&ClusterNode>, after: Option<&ClusterNode>) -> bool {
    let place = |node: &ClusterNode| (node.host, node.p);
    before
        .zip(after)
        .is_some_and(|(before, after)| place(before) != place(after))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use broker_codec::data::{Address, Port};

    use super::*;

    fn spec(name: &str, nodes: &[&str]) -> NodeSpec {
        let place = |name: &&str| {
            let role = match &name[..1] {
                "m" => ClusterRole::Manager,
                "l" => ClusterRole::Logger,
                _ => ClusterRole::Worker,
            };
            let p = (role != ClusterRole::Worker).then(|| Port::tcp(2200));
            let place = ClusterNode {
                role,
                host: Address::UNSPECIFIED_V4,
                p,
                interface: None,
                metrics_port: None,
            };
            ((*name).into(), place)
        };
        NodeSpec {
            name: name.into(),
            directory: "/d".into(),
            cluster: Arc::new(nodes.iter().map(place).collect()),
            ..NodeSpec::default()
        }
    }

    #[test]
    fn only_what_has_changed_is_touched() {
        let running = spec("w1", &["m", "l", "w1", "w2"]);
        assert_eq!(fate(&running, &running), Fate::Kept);
        for nodes in [&["m", "l", "w1"][..], &["m", "l", "w1", "w2", "w3"]] {
            assert_eq!(fate(&running, &spec("w1", nodes)), Fate::Told);
        }
        let mut other = spec("w1", &["m", "l", "w1", "w2"]);
        other.env.insert("A".into(), "B".into());
        other.interface = Some("lo".into());
        assert_eq!(
            fate(&running, &other),
            Fate::Restarted("changed: interface, environment".into())
        );
        let mut interface = running.clone();
        Arc::make_mut(&mut interface.cluster)
            .get_mut(&ZeekString::from("w2"))
            .unwrap()
            .interface = Some("lo".into());
        assert_eq!(fate(&running, &interface), Fate::Told);
        let mut metrics = running.clone();
        Arc::make_mut(&mut metrics.cluster)
            .get_mut(&ZeekString::from("w2"))
            .unwrap()
            .metrics_port = Some(Port::tcp(9003));
        assert_eq!(fate(&running, &metrics), Fate::Told);
        let renamed = |spec: &NodeSpec| NodeSpec {
            name: "w2".into(),
            ..spec.clone()
        };
        assert_eq!(
            fate(&renamed(&running), &renamed(&metrics)),
            Fate::Restarted("changed: role, address or port".into())
        );
    }

    #[test]
    fn another_layout_restarts_all() {
        let running = spec("w1", &["m", "l", "w1"]);
        let more = spec("w1", &["m", "l", "l2", "w1"]);
        assert_eq!(
            fate(&running, &more),
            Fate::Restarted("the cluster's l2 is another one".into())
        );
        let mut moved = running.clone();
        Arc::make_mut(&mut moved.cluster)
            .get_mut(&ZeekString::from("m"))
            .unwrap()
            .p = Some(Port::tcp(2300));
        assert_eq!(
            fate(&running, &moved),
            Fate::Restarted("the cluster's m is another one".into())
        );
        let mut spread = spec("w1", &["m", "l", "w1", "w2"]);
        Arc::make_mut(&mut spread.cluster)
            .get_mut(&ZeekString::from("w2"))
            .unwrap()
            .host = Address::from_bytes([1; 16]);
        let reason = "the addresses of a cluster on one host are others than on several";
        assert_eq!(fate(&running, &spread), Fate::Restarted(reason.into()));
        let mut backend = running.clone();
        backend.cluster_backend = Some("broker".into());
        let reason = "changed: cluster backend";
        assert_eq!(fate(&running, &backend), Fate::Restarted(reason.into()));
        let mut listening = spec("m", &["m", "w1"]);
        Arc::make_mut(&mut listening.cluster)
            .get_mut(&ZeekString::from("w1"))
            .unwrap()
            .p = Some(Port::tcp(2300));
        assert!(matches!(
            fate(&spec("m", &["m", "w1"]), &listening),
            Fate::Restarted(_)
        ));
    }
}
