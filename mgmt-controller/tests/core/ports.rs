//! Ports that the controller assigns, whatever the client has given.

use std::collections::BTreeMap;

use broker_codec::data::{Address, Port, Protocol};
use mgmt_api::{ClientRequest, ClusterRole, Configuration, Instance, Node, Now, SequentialIds};
use mgmt_controller::core::{Action, Configurations, Controller, Input, Settings, Slot};
use proptest::prelude::*;

/// A port near the start of a range, or none.
fn port_near(start: u16) -> impl Strategy<Value = Option<Port>> {
    let protocol = prop_oneof![4 => Just(Protocol::Tcp), 1 => Just(Protocol::Udp)];
    prop::option::weighted(
        0.3,
        (start..start + 12, protocol).prop_map(|(number, protocol)| Port { number, protocol }),
    )
}

prop_compose! {
    fn instance(index: usize)(
        host in prop::sample::select(vec!["0.0.0.0", "10.0.0.1", "10.0.0.2"]),
        listen_port in prop_oneof![port_near(2200), port_near(9000)],
    ) -> Instance {
        Instance { name: format!("instance-{index}").into(), host: host.parse().unwrap(), listen_port }
    }
}

prop_compose! {
    fn node(index: usize)(
        instance in 0..3usize,
        role in prop::sample::select(vec![
            ClusterRole::None,
            ClusterRole::Logger,
            ClusterRole::Manager,
            ClusterRole::Proxy,
            ClusterRole::Worker,
        ]),
        p in prop_oneof![port_near(2200), port_near(9000)],
        metrics_port in prop_oneof![port_near(2200), port_near(9000)],
    ) -> Node {
        Node {
            p,
            metrics_port,
            ..Node::new(format!("node-{index}"), format!("instance-{instance}"), role)
        }
    }
}

prop_compose! {
    fn configuration()(
        instances in [instance(0), instance(1), instance(2)],
        nodes in (0..12usize).prop_flat_map(|count| (0..count).map(node).collect::<Vec<_>>()),
    ) -> Configuration {
        Configuration::new("c1", instances, nodes)
    }
}

/// What is ready after staging; `None` if the configuration is refused.
fn staged(config: &Configuration) -> Option<Configuration> {
    let request = ClientRequest::StageConfiguration {
        reqid: "r1".into(),
        config: config.clone(),
    };
    let ids = Box::new(SequentialIds::default());
    let mut controller = Controller::new(Settings::default(), Configurations::default(), ids);
    let principal = testkit::client(1);
    let actions = controller.step(Now::START, Input::Request { principal, request });
    actions.into_iter().find_map(|action| match action {
        Action::Persist { changes, .. } => match &changes.entries[..] {
            [(Slot::Staged, staged), (Slot::Ready, ready)] => {
                assert_eq!(**staged, *config);
                Some(Configuration::clone(ready))
            }
            other => panic!("{other:?}"),
        },
        _ => None,
    })
}

proptest! {
    #[test]
    fn assigned_ports_are_free_and_given_ones_are_kept(config in configuration()) {
        let Some(ready) = staged(&config) else { return Ok(()) };
        prop_assert_eq!(&ready.instances, &config.instances);
        prop_assert_eq!(ready.nodes.len(), config.nodes.len());

        let hosts: BTreeMap<_, _> = config.instances.iter().map(|instance| (&instance.name, instance.host)).collect();
        let mut used: BTreeMap<(Address, u16), u32> = BTreeMap::new();
        for instance in &config.instances {
            if let Some(port) = instance.listen_port {
                *used.entry((instance.host, port.number)).or_default() += 1;
            }
        }
        for node in &ready.nodes {
            for port in [node.p, node.metrics_port].into_iter().flatten() {
                *used.entry((hosts[&node.instance], port.number)).or_default() += 1;
            }
        }

        let given: BTreeMap<_, _> = config.nodes.iter().map(|node| (&node.name, node)).collect();
        for node in &ready.nodes {
            let given = given[&node.name];
            prop_assert_eq!(
                &Node { p: given.p, metrics_port: given.metrics_port, ..node.clone() },
                given
            );
            let listens = matches!(node.role, ClusterRole::Manager | ClusterRole::Logger | ClusterRole::Proxy);
            let measured = node.role != ClusterRole::None;
            for (given, assigned, needed, start) in [
                (given.p, node.p, listens, 2200),
                (given.metrics_port, node.metrics_port, measured, 9000),
            ] {
                match (given, assigned) {
                    (Some(given), assigned) => prop_assert_eq!(assigned, Some(given)),
                    (None, None) => prop_assert!(!needed),
                    (None, Some(port)) => {
                        prop_assert!(needed && port.protocol == Protocol::Tcp && port.number >= start);
                        prop_assert_eq!(used[&(hosts[&node.instance], port.number)], 1, "{}", port);
                    }
                }
            }
        }
    }
}
