use broker_codec::data::Address;
use mgmt_api::{
    ClusterRole, Instance, Node, State,
    operator::{Heartbeat, NodeReport},
};

use super::*;

/// Twelve instances with eight workers each, and on the first one a manager, a logger and a proxy.
fn cluster(id: &str, env: &[(&str, &str)]) -> Configuration {
    let instance = |number: u8| Instance {
        host: Address::from_bytes([number; 16]),
        ..Instance::new(format!("sensor{number:02}"))
    };
    let mut nodes = vec![
        Node::new("manager", "sensor01", ClusterRole::Manager),
        Node::new("logger", "sensor01", ClusterRole::Logger),
        Node::new("proxy", "sensor01", ClusterRole::Proxy),
    ];
    for number in 1..=12 {
        for worker in 1..=8 {
            let name = format!("worker-{number:02}-{worker}");
            nodes.push(Node::new(name, format!("sensor{number:02}"), ClusterRole::Worker));
        }
    }
    for node in &mut nodes {
        let own = env
            .iter()
            .filter(|(name, _)| node.name.to_string().starts_with(name));
        node.env = own.map(|(_, value)| ("TRIED".into(), (*value).into())).collect();
    }
    Configuration::new(id, (1..=12).map(instance), nodes)
}

fn stored(new: Configuration, options: RolloutOptions) -> StoredRollout {
    StoredRollout {
        id: "r".into(),
        asked_by: "operator".into(),
        begun: 0,
        options,
        state: RolloutState::Running,
        reasons: Vec::new(),
        changed: BTreeSet::new(),
        proven: BTreeSet::new(),
        whole: BTreeSet::new(),
        deployed: "old".into(),
        configuration: Arc::new(new),
    }
}

fn all_ready(_: &ZeekString) -> bool {
    true
}

/// Carries a roll-out out in which all goes well. Returns what each step changes, as `instance: number of nodes`, and how many workers were ever
/// down at a time.
fn carried_out(rollout: &mut Rollout, deployed: &Configuration) -> (Vec<String>, usize) {
    let (mut steps, mut most) = (Vec::new(), 0);
    while !rollout.is_through() {
        let mut begun = Vec::new();
        while let Some((name, nodes)) = rollout.next_step(all_ready, &BTreeSet::new(), deployed) {
            steps.push(format!("{name}: {}", nodes.len()));
            rollout.steps.insert(name.clone(), Step::new(nodes, Phase::Due));
            rollout.begin(&name, deployed);
            begun.push(name);
        }
        assert!(!begun.is_empty(), "nothing can be done: {rollout:?}");
        let nodes = rollout.steps.values().flat_map(|step| &step.nodes);
        let workers = nodes.filter(|node| node.to_string().starts_with("worker"));
        most = most.max(workers.count());
        for name in begun {
            rollout.end_step(&name);
        }
    }
    (steps, most)
}

#[test]
fn one_changed_worker_is_one_step_with_one_node() {
    let deployed = cluster("old", &[]);
    let new = cluster("new", &[("worker-07-3", "1")]);
    let mut rollout = Rollout::new(stored(new, RolloutOptions::default()), &deployed);
    assert_eq!(carried_out(&mut rollout, &deployed).0, ["sensor07: 1"]);
    let given = rollout.given(&"sensor07".into()).unwrap();
    let changed: Vec<_> = given.nodes.iter().filter(|node| !node.env.is_empty()).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(given.id, "new");
    assert!(rollout.given(&"sensor08".into()).is_none());
}

#[test]
fn the_canary_comes_first_then_each_role() {
    let deployed = cluster("old", &[]);
    let new = cluster(
        "new",
        &[
            ("manager", "1"),
            ("logger", "1"),
            ("worker-0", "1"),
            ("worker-12", "1"),
        ],
    );
    let options = RolloutOptions {
        canary: vec!["sensor12".into()],
        ..RolloutOptions::default()
    };
    let mut rollout = Rollout::new(stored(new, options), &deployed);
    let names: Vec<_> = rollout.stages.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["canary", "loggers", "manager", "workers"]);
    let (steps, _) = carried_out(&mut rollout, &deployed);
    assert_eq!(steps[..3], ["sensor12: 8", "sensor01: 1", "sensor01: 1"]);
    assert_eq!(steps.len(), 3 + 9);
}

#[test]
fn no_more_nodes_of_a_role_are_down_than_may_be() {
    let deployed = cluster("old", &[]);
    for (most, parallel) in [(1, 1), (3, 2), (5, 12), (8, 1), (20, 4)] {
        let new = cluster("new", &[("worker", "1")]);
        let options = RolloutOptions {
            max_parallel: parallel,
            max_unavailable: BTreeMap::from([("worker".into(), most)]),
            ..RolloutOptions::default()
        };
        let mut rollout = Rollout::new(stored(new, options), &deployed);
        let (_, forth) = carried_out(&mut rollout, &deployed);
        rollout.turn_back(Some("it fails".into()));
        let (_, back) = carried_out(&mut rollout, &deployed);
        let most = usize::try_from(most).unwrap();
        assert!(forth <= most && back <= most, "{forth} and {back} of {most}");
        assert!(rollout.given(&"sensor01".into()).is_none(), "all is as it was");
    }
}

#[test]
fn nodes_that_are_down_count_unless_they_are_the_ones_to_change() {
    let deployed = cluster("old", &[]);
    let options = RolloutOptions {
        max_unavailable: BTreeMap::from([("worker".into(), 2)]),
        ..RolloutOptions::default()
    };
    let new = cluster("new", &[("worker", "1")]);
    let rollout = Rollout::new(stored(new, options), &deployed);
    let down = |names: &[&str]| {
        names
            .iter()
            .map(|name| ZeekString::from(*name))
            .collect::<BTreeSet<_>>()
    };
    let next = |down: &BTreeSet<_>| {
        rollout
            .next_step(all_ready, down, &deployed)
            .map(|(_, nodes)| nodes)
    };
    assert_eq!(next(&down(&["worker-09-1"])).unwrap().len(), 1);
    assert_eq!(
        next(&down(&["worker-09-1", "worker-09-2"])),
        None.or_else(|| {
            // Those that are down themselves can be changed.
            Some(down(&["worker-09-1", "worker-09-2"]))
        })
    );
    assert_eq!(next(&down(&["manager"])).unwrap().len(), 2);
}

#[test]
fn an_instance_that_takes_no_trial_is_changed_as_a_whole_or_not_at_all() {
    let deployed = cluster("old", &[]);
    let with = |most: u32| {
        let options = RolloutOptions {
            max_unavailable: BTreeMap::from([("worker".into(), most)]),
            ..RolloutOptions::default()
        };
        let mut stored = stored(cluster("new", &[("worker-01-1", "1")]), options);
        stored.whole.insert("sensor01".into());
        Rollout::new(stored, &deployed)
    };
    assert!(
        with(7).never().unwrap().contains("8 workers"),
        "{:?}",
        with(7).never()
    );
    let mut rollout = with(8);
    assert_eq!(rollout.never(), None);
    assert_eq!(carried_out(&mut rollout, &deployed).0, ["sensor01: 11"]);
}

#[test]
fn one_that_is_taken_up_gives_instances_what_they_had_and_asks_again_for_what_was_not_proven() {
    let deployed = cluster("old", &[]);
    let mut stored = stored(cluster("new", &[("worker", "1")]), RolloutOptions::default());
    stored.changed = ["worker-01-1", "worker-02-1"].map(ZeekString::from).into();
    stored.proven = BTreeSet::from(["worker-01-1".into()]);
    let mut rollout = Rollout::new(stored.clone(), &deployed);
    assert!(rollout.given(&"sensor01".into()).is_some() && rollout.given(&"sensor02".into()).is_some());
    let due: Vec<_> = rollout
        .steps
        .iter()
        .map(|(name, step)| (name.to_string(), step.nodes.len()))
        .collect();
    assert_eq!(due, [("sensor02".to_owned(), 1)]);
    assert_eq!(
        rollout.next_step(all_ready, &BTreeSet::new(), &deployed),
        None,
        "one at a time"
    );
    rollout.end_step(&"sensor02".into());
    carried_out(&mut rollout, &deployed);

    stored.state = RolloutState::RollingBack;
    let mut rollout = Rollout::new(stored, &deployed);
    assert!(rollout.steps.is_empty());
    assert_eq!(
        carried_out(&mut rollout, &deployed).0,
        ["sensor01: 1", "sensor02: 1"]
    );
}

#[test]
fn options_that_cannot_be_carried_out_are_refused() {
    let config = cluster("new", &[]);
    let good = RolloutOptions::default();
    assert_eq!(check(&good, &config), Ok(()));
    for (options, said) in [
        (
            RolloutOptions {
                canary: vec!["sensor13".into()],
                ..good.clone()
            },
            "no instance sensor13",
        ),
        (
            RolloutOptions {
                max_parallel: 0,
                ..good.clone()
            },
            "max_parallel is 0",
        ),
        (
            RolloutOptions {
                watch: 3601,
                ..good.clone()
            },
            "3600 s at most",
        ),
        (
            RolloutOptions {
                max_unavailable: BTreeMap::from([("cook".into(), 1)]),
                ..good.clone()
            },
            "cook is no role",
        ),
        (
            RolloutOptions {
                max_unavailable: BTreeMap::from([("worker".into(), 0)]),
                ..good
            },
            "no worker could be changed",
        ),
    ] {
        let refusal = check(&options, &config).unwrap_err();
        assert!(refusal.contains(said), "{refusal}");
    }
}

fn node(name: &str) -> NodeReport {
    NodeReport {
        node: name.into(),
        state: State::Running,
        uptime: Some(30),
        heartbeat: Some(Heartbeat {
            age: 2,
            received: 10_000,
            dropped: 100,
            peers: Vec::new(),
        }),
        ..NodeReport::default()
    }
}

#[test]
fn a_node_does_well_if_it_runs_on_is_heard_of_and_loses_no_more_than_before() {
    let nodes = BTreeSet::from([ZeekString::from("w")]);
    let before = samples(&nodes, &[node("w"), node("other")]);
    assert_eq!(before.len(), 1);
    let said = |node: NodeReport| complaint(&nodes, &before, &[node], 30);
    let heartbeat = |age, received, dropped| {
        Some(Heartbeat {
            age,
            received,
            dropped,
            peers: Vec::new(),
        })
    };
    assert_eq!(said(node("w")), None);
    assert_eq!(
        complaint(&nodes, &before, &[], 30).unwrap(),
        "its agent says nothing of node w"
    );
    let crashed = NodeReport {
        state: State::Crashed,
        reason: Some("signal 11".into()),
        ..node("w")
    };
    assert_eq!(said(crashed.clone()).unwrap(), "node w is CRASHED: signal 11");
    assert_eq!(
        said(NodeReport {
            stopped_by_operator: true,
            ..crashed
        }),
        None
    );
    assert_eq!(
        said(NodeReport {
            uptime: Some(3),
            ..node("w")
        })
        .unwrap(),
        "node w was started again 3 s ago, while it was watched for 30 s"
    );
    assert_eq!(
        said(NodeReport {
            heartbeat: heartbeat(31, 10_000, 0),
            ..node("w")
        })
        .unwrap(),
        "node w was last heard of 31 s ago"
    );
    assert_eq!(
        said(NodeReport {
            heartbeat: heartbeat(1, 8_000, 2_000),
            ..node("w")
        })
        .unwrap(),
        "node w loses 20.0 % of its packets, and lost 1.0 % before"
    );
    // Too few packets say nothing, and none before neither.
    assert_eq!(
        said(NodeReport {
            heartbeat: heartbeat(1, 10, 20),
            ..node("w")
        }),
        None
    );
    let worse = NodeReport {
        heartbeat: heartbeat(1, 8_000, 2_000),
        ..node("w")
    };
    assert_eq!(complaint(&nodes, &BTreeMap::new(), &[worse], 30), None);
}
