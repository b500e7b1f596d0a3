use super::*;
use crate::records::Instance;

/// Two instances, the second with four workers that share an interface.
fn deployed() -> Configuration {
    let mut nodes = vec![Node::new("manager", "a", ClusterRole::Manager)];
    for number in 1..=4 {
        let mut worker = Node::new(format!("w{number}").as_str(), "b", ClusterRole::Worker);
        worker.interface = Some("af_packet::eth1".into());
        nodes.push(worker);
    }
    Configuration::new("c1", [Instance::new("a"), Instance::new("b")], nodes)
}

fn changed(name: &str, change: impl Fn(&mut Node)) -> Configuration {
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

fn told(fates: &[(&str, Fate)]) -> Heard {
    let fate = |(node, fate): &(&str, Fate)| NodeFate {
        node: (*node).into(),
        fate: *fate,
        reason: (*fate == Fate::Restarted).then(|| "changed: environment".into()),
        start_millis: None,
    };
    Heard {
        problems: Vec::new(),
        nodes: Nodes::Told(fates.iter().map(fate).collect()),
    }
}

fn all_kept() -> BTreeMap<ZeekString, Heard> {
    let workers = ["w1", "w2", "w3", "w4"].map(|name| (name, Fate::Kept));
    [
        ("a".into(), told(&[("manager", Fate::Kept)])),
        ("b".into(), told(&workers)),
    ]
    .into()
}

fn heard_of_b(heard: Heard) -> BTreeMap<ZeekString, Heard> {
    let mut all = all_kept();
    all.insert("b".into(), heard);
    all
}

/// What is done to which nodes, those that run on left out.
fn steps(plan: &Plan) -> Vec<String> {
    let touched = plan.nodes.iter().filter(|node| node.step != Step::Keep);
    let steps = touched.map(|node| {
        let reason = node.reason.as_ref().map(|reason| format!(" ({reason})"));
        format!("{} {}{}", node.node, node.step, reason.unwrap_or_default())
    });
    steps.collect()
}

#[test]
fn the_same_configuration_changes_nothing_unless_a_node_does_not_run() {
    let plan = make(Some(&deployed()), &deployed(), &all_kept());
    assert!(!plan.has_changes && plan.whole_cluster.is_empty(), "{plan:?}");
    assert_eq!((steps(&plan), plan.nodes.len()), (vec![], 5));
    let heard = heard_of_b(told(&[
        ("w1", Fate::Started),
        ("w2", Fate::Stopped),
        ("w3", Fate::Kept),
        ("w4", Fate::Kept),
    ]));
    let plan = make(Some(&deployed()), &deployed(), &heard);
    assert!(plan.has_changes);
    assert_eq!(steps(&plan), ["w1 starts", "w2 stays stopped"]);
}

#[test]
fn one_node_is_changed_field_by_field_and_its_groups_flows_are_dealt_anew() {
    let new = changed("w2", |node| _ = node.env.insert("A".into(), "1".into()));
    let heard = heard_of_b(told(&[
        ("w1", Fate::Kept),
        ("w2", Fate::Restarted),
        ("w3", Fate::Kept),
        ("w4", Fate::Kept),
    ]));
    let plan = make(Some(&deployed()), &new, &heard);
    assert!(plan.has_changes && plan.whole_cluster.is_empty(), "{plan:?}");
    assert_eq!(steps(&plan), ["w2 restarts (changed: environment)"]);
    let field = Field {
        name: "env A".into(),
        old: None,
        new: Some("1".into()),
    };
    let node = plan.nodes.iter().find(|node| node.node == "w2").expect("it");
    assert_eq!((&node.fields[..], node.is_guess), (&[field][..], false));
    let groups: Vec<String> = plan.groups.iter().map(ToString::to_string).collect();
    assert_eq!(
        groups,
        [
            "1 of 4 workers of af_packet::eth1 on b restart: about half of its flows or more go to other workers until they are back"
        ]
    );
}

#[test]
fn a_group_is_told_of_by_how_many_come_and_go() {
    let group = |before, after, restart| {
        let group = GroupPlan {
            instance: "b".into(),
            interface: "af_packet::eth1".into(),
            before,
            after,
            restart,
        };
        group.to_string()
    };
    for (told, expected) in [
        (
            group(1, 1, 1),
            "the only worker of af_packet::eth1 on b restarts: nothing is captured there until it is back",
        ),
        (
            group(4, 4, 4),
            "all 4 workers of af_packet::eth1 on b restart: nothing is captured there until the first of them is back",
        ),
        (
            group(4, 6, 1),
            "af_packet::eth1 on b has 6 workers, and had 4, of which 1 restart: about half of its flows or more go to other workers",
        ),
    ] {
        assert_eq!(told, expected);
    }
    // A worker less, of a group of its own, and on an interface that is not shared.
    let without = |name: &str| {
        let mut config = deployed();
        config.nodes = config
            .nodes
            .into_iter()
            .filter(|node| node.name != name)
            .collect();
        config
    };
    let kept = heard_of_b(told(&[
        ("w1", Fate::Kept),
        ("w2", Fate::Kept),
        ("w3", Fate::Kept),
        ("w4", Fate::Ended),
    ]));
    let shorter = make(Some(&deployed()), &without("w4"), &kept);
    assert_eq!((shorter.groups[0].before, shorter.groups[0].after), (4, 3));
    let before = changed("w4", |node| node.interface = Some("eth1".into()));
    let mut after = before.clone();
    after.nodes = after.nodes.into_iter().filter(|node| node.name != "w4").collect();
    assert!(make(Some(&before), &after, &kept).groups.is_empty());
}

#[test]
fn nodes_move_come_go_and_run_besides() {
    let mut new = changed("w1", |node| node.instance = "a".into());
    let others = new.nodes.into_iter().filter(|node| node.name != "w4");
    new.nodes = others
        .chain([Node::new("w5", "b", ClusterRole::Worker)])
        .collect();
    let heard = [
        (
            "a".into(),
            told(&[("manager", Fate::Told), ("w1", Fate::Started)]),
        ),
        (
            "b".into(),
            told(&[
                ("stray", Fate::Ended),
                ("w1", Fate::Ended),
                ("w2", Fate::Told),
                ("w3", Fate::Told),
                ("w4", Fate::Ended),
                ("w5", Fate::Started),
            ]),
        ),
    ]
    .into();
    let plan = make(Some(&deployed()), &new, &heard);
    assert_eq!(steps(&plan), ["stray stops", "w1 moves", "w4 stops", "w5 is new"]);
    let moved = plan.nodes.iter().find(|node| node.node == "w1").expect("it");
    assert_eq!((moved.from.as_deref(), moved.instance.as_str()), (Some("b"), "a"));
    assert!(plan.nodes[0].is_told, "the manager: {plan:?}");
    assert_eq!(
        plan.whole_cluster,
        [
            "node w5 is added",
            "node w4 is removed",
            "the instance of node w1 is a, and was b"
        ]
    );
}

#[test]
fn an_agent_that_starts_all_anew_does_so_if_anything_changes_anywhere() {
    let reason = "its agent is Zeek's";
    let zeek = || Heard {
        problems: Vec::new(),
        nodes: Nodes::AllRestart(reason.to_owned()),
    };
    let plan = make(Some(&deployed()), &deployed(), &heard_of_b(zeek()));
    assert!(!plan.has_changes && steps(&plan).is_empty(), "{plan:?}");
    assert_eq!(plan.instances[1].note.as_deref(), Some(reason));
    let new = changed("manager", |node| node.scripts = Some(vec!["s".into()]));
    let plan = make(Some(&deployed()), &new, &heard_of_b(zeek()));
    let expected = ["w1", "w2", "w3", "w4"].map(|name| format!("{name} restarts ({reason})"));
    assert_eq!(steps(&plan), expected);
}

#[test]
fn of_an_instance_that_is_away_the_configurations_say_what_can_be_said() {
    let away = Heard {
        problems: Vec::new(),
        nodes: Nodes::Unknown("instance b is not connected".to_owned()),
    };
    let new = changed("w3", |node| node.cpu_affinity = Some(3));
    let plan = make(Some(&deployed()), &new, &heard_of_b(away));
    assert_eq!(steps(&plan), ["w3 restarts (its configuration changes)"]);
    let guesses = plan.nodes.iter().filter(|node| node.is_guess).count();
    assert_eq!(guesses, 4);
    assert_eq!(
        plan.instances[1].unknown.as_deref(),
        Some("instance b is not connected")
    );
}

#[test]
fn the_first_deployment_creates_all_and_concerns_the_whole_cluster() {
    let workers = ["w1", "w2", "w3", "w4"].map(|name| (name, Fate::Started));
    let mut heard = heard_of_b(told(&workers));
    heard.insert("a".into(), told(&[("manager", Fate::Started)]));
    let plan = make(None, &deployed(), &heard);
    assert!(plan.has_changes);
    assert_eq!(plan.whole_cluster, ["nothing is deployed"]);
    assert_eq!(steps(&plan).len(), 5);
    assert!(steps(&plan).iter().all(|step| step.ends_with(" is new")));
    assert!(
        plan.groups.is_empty(),
        "no flow is dealt anew that was not dealt before"
    );
}
