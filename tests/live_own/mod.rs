//! With an installed Zeek whose Management framework is hidden: our controller, agents that keep the nodes themselves, real nodes, and the
//! real zeek-client. Each host has a network of its own, so that no port is another's. Where there is no Zeek, or no such network, these tests
//! cannot run, and say so.

mod curve;
mod trace;
mod world;

use std::{collections::BTreeMap, fs, path::Path};

use mgmt_api::{ClusterRole, Node, OptionRecord};
use rustix::process::Signal;

use self::world::{Pids, World, number, option};
use crate::{
    live::{pending, with_zeek},
    live_controller::TIMEOUT,
    support::{
        changed,
        limit::Limit,
        network::{LINK, Network},
        not_tested, signal,
    },
};

const CONNECTIONS: u16 = 2000;

fn with_networks(test: impl FnOnce(&Path)) {
    with_zeek(|zeek| match Network::missing() {
        Some(why) => pending(why),
        None => test(zeek),
    });
}

fn one_host(zeek: &Path) -> World {
    World::start(zeek, vec![("host-1", "127.0.0.1", Network::new())])
}

fn two_hosts(zeek: &Path) -> World {
    let networks = [Network::new(), Network::new()];
    let addresses = ["192.0.2.11", "192.0.2.12"];
    networks[0].join(&networks[1], addresses);
    let [first, second] = networks;
    World::start(
        zeek,
        vec![("host-1", addresses[0], first), ("host-2", addresses[1], second)],
    )
}

/// Manager, logger and proxy on the first host.
fn centre(world: &World, options: &[OptionRecord]) -> Vec<Node> {
    let roles = [
        ("logger", ClusterRole::Logger),
        ("manager", ClusterRole::Manager),
        ("proxy", ClusterRole::Proxy),
    ];
    let mut nodes = roles.map(|(name, role)| world.node(name, role, 0));
    nodes[1].options = (!options.is_empty()).then(|| options.iter().cloned().collect());
    nodes.into()
}

fn worker(world: &World, name: &str, host: usize) -> Node {
    let interface = if world.hosts.len() > 1 { LINK } else { "lo" };
    Node {
        interface: Some(interface.into()),
        ..world.node(name, ClusterRole::Worker, host)
    }
}

/// A worker that reads the trace.
fn reader(world: &World, name: &str, host: usize) -> Node {
    let path = world.script.with_file_name("known.pcap");
    trace::write(&path, CONNECTIONS);
    let file = option("mgmt.pcap_file", &path.display().to_string());
    Node {
        options: Some([file].into_iter().collect()),
        ..world.node(name, ClusterRole::Worker, host)
    }
}

/// Waits until the whole trace is logged: each connection once.
fn trace_is_logged(world: &World) {
    let limit = Limit::lasting(TIMEOUT, "the connections of the trace");
    limit.poll(|| (world.of_trace() >= usize::from(CONNECTIONS)).then_some(()));
    assert_eq!(world.of_trace(), usize::from(CONNECTIONS));
}

/// Of each process that was not killed, all that it counted was logged, once its first line was: with Broker what is said before
/// a connection is there is lost.
fn nothing_was_lost(world: &World, killed: &[u64]) {
    let counted = world.counted();
    assert!(!counted.is_empty());
    for ((node, process), numbers) in counted {
        let first = numbers[0];
        let last = numbers[numbers.len() - 1];
        let all: Vec<u64> = (first..=last).collect();
        assert!(
            killed.contains(&process) || numbers == all,
            "{node} {process}: {first} to {last}, {}",
            numbers.len()
        );
    }
}

/// A worker is added while all run on, and takes part; so does one whose settings have changed, and alone is another process.
fn change_workers(world: &mut World, nodes: &mut Vec<Node>, host: usize, keys: impl Fn(&mut Node)) {
    let before = world.running(nodes.len());
    let changing = nodes
        .iter_mut()
        .find(|node| node.name == "worker-1")
        .expect("it is there");
    changing.env.insert("MADE_UP".into(), "1".into());
    world.deploy(nodes);
    let after = world.running(nodes.len());
    assert_eq!(changed(&before, &after), ["worker-1"]);
    let mut another = worker(world, "worker-9", host);
    keys(&mut another);
    nodes.push(another);
    world.deploy(nodes);
    let added = world.running(nodes.len());
    assert_eq!(changed(&after, &added), ["worker-9"]);
    let workers = nodes
        .iter()
        .filter(|node| node.role == ClusterRole::Worker)
        .count();
    world.sums(workers);
}

/// Nodes are started again in order, and all that they log arrives; then nothing is left, and all logs are archived.
fn restart_and_empty(world: &mut World, nodes: &[Node], killed: &[u64]) {
    let before = world.running(nodes.len());
    let archived = world.archived();
    let (exit, answer) = world.client(&["restart"]);
    assert_eq!(exit, 0, "{answer}");
    let limit = Limit::lasting(TIMEOUT, "other processes");
    let after = limit.poll(|| {
        let after = world.pids("RUNNING");
        let are_all = after.len() == nodes.len();
        (are_all && changed(&before, &after).len() == nodes.len()).then_some(after)
    });
    let logged =
        |world: &World| -> Vec<u64> { world.counted().into_keys().map(|(_, process)| process).collect() };
    let workers: Vec<u64> = after
        .iter()
        .filter(|(name, _)| name.starts_with("worker"))
        .map(|(_, pid)| number(*pid))
        .collect();
    limit.poll(|| {
        let logged = logged(world);
        workers.iter().all(|worker| logged.contains(worker)).then_some(())
    });
    limit.poll(|| (world.archived() > archived).then_some(()));
    world.deploy(&[]);
    world.nothing_runs();
    assert_eq!(world.pids("RUNNING"), Pids::new());
    nothing_was_lost(world, killed);
}

#[test]
fn a_cluster_on_one_host_lives_through_all_that_an_operator_and_a_host_do_to_it() {
    with_networks(|zeek| {
        let mut world = one_host(zeek);
        let mut nodes = centre(&world, &[]);
        nodes.extend([worker(&world, "worker-1", 0), worker(&world, "worker-2", 0)]);
        world.deploy(&nodes);
        world.all_answer(&["logger", "manager", "proxy", "worker-1", "worker-2"]);
        world.sums(2);
        change_workers(&mut world, &mut nodes, 0, |_| ());
        let killed = a_killed_worker_is_back(&mut world, &nodes, 0);
        what_zeek_cannot_read_is_refused(&mut world, &nodes);
        a_trace_is_read_once(&mut world, &nodes);
        restart_and_empty(&mut world, &nodes, &[killed]);
        world.stop();
    });
}

fn a_killed_worker_is_back(world: &mut World, nodes: &[Node], host: usize) -> u64 {
    let before = world.running(nodes.len());
    let killed = before["worker-9"];
    signal(killed, Signal::KILL);
    world.hosts[host].says("node worker-9 is up again");
    let after = world.running(nodes.len());
    assert_eq!(changed(&before, &after), ["worker-9"]);
    number(killed)
}

fn what_zeek_cannot_read_is_refused(world: &mut World, nodes: &[Node]) {
    let before = world.running(nodes.len());
    let bad = world.script.with_file_name("bad.zeek");
    fs::write(&bad, "event zeek_init()\n\t{\n\tprint 1\n\t}\n").expect("it can be written");
    let mut nodes = nodes.to_vec();
    nodes[0].scripts = Some(vec![bad.display().to_string().into()]);
    let (exit, answer) = world.try_deploy(&nodes);
    let expected = format!("zeek -a: error in {}, line 4: syntax error", bad.display());
    assert_eq!(exit, 1);
    assert!(
        answer["errors"][0]
            .as_str()
            .is_some_and(|error| error.contains(&expected)),
        "{answer}"
    );
    assert_eq!(world.running(nodes.len()), before);
}

/// Also if the same is deployed again, and if there is another agent. That finds all others as they were.
fn a_trace_is_read_once(world: &mut World, nodes: &[Node]) {
    let before = world.running(nodes.len());
    let mut nodes = nodes.to_vec();
    nodes.push(reader(world, "worker-trace", 0));
    world.deploy(&nodes);
    world.hosts[0].says("node worker-trace has read its trace file and is done");
    trace_is_logged(world);
    world.deploy(&nodes);
    world.hosts[0].kill_agent();
    world.start_agent(0);
    world.hosts[0].says(&format!("all {} nodes run", nodes.len() - 1));
    assert_eq!(world.running(nodes.len() - 1), before);
    world.deploy(&nodes);
    nodes.pop();
    world.deploy(&nodes);
    assert_eq!(world.running(nodes.len()), before);
    trace_is_logged(world);
}

/// What is the same whatever nodes talk by.
fn between_hosts(world: &mut World, options: &[OptionRecord], keys: impl Fn(&mut Node)) {
    let mut nodes = centre(world, options);
    nodes.extend([worker(world, "worker-1", 1), reader(world, "worker-trace", 1)]);
    nodes.iter_mut().for_each(&keys);
    world.deploy(&nodes);
    world.hosts[1].says("node worker-trace has read its trace file and is done");
    trace_is_logged(world);
    nodes.pop();
    world.deploy(&nodes);
    world.all_answer(&["logger", "manager", "proxy", "worker-1"]);
    change_workers(world, &mut nodes, 1, &keys);
    let killed = a_killed_worker_is_back(world, &nodes, 1);
    world.sums(2);
    let encrypted = options.iter().any(|option| option.value == "zeromq");
    if encrypted {
        assert_eq!(world.mechanisms(), ["CURVE", "CURVE"], "of manager and logger");
    }
    restart_and_empty(world, &nodes, &[killed]);
}

#[test]
fn a_cluster_on_two_hosts_talks_by_broker() {
    with_networks(|zeek| {
        let mut world = two_hosts(zeek);
        between_hosts(&mut world, &[], |_| ());
        world.stop();
    });
}

#[test]
fn a_cluster_on_two_hosts_talks_by_encrypted_zeromq() {
    with_networks(|zeek| {
        if !curve::has(zeek) {
            return not_tested("encrypted ZeroMQ, as this Zeek has none: 8.2 is needed");
        }
        let mut world = two_hosts(zeek);
        let zeromq = [option("mgmt.cluster_backend", "zeromq")];
        let mut nodes = centre(&world, &zeromq);
        nodes.push(worker(&world, "worker-1", 1));
        let (exit, answer) = world.try_deploy(&nodes);
        assert_eq!(exit, 1, "without keys: {answer}");
        let keys = curve::keys();
        between_hosts(&mut world, &zeromq, |node| {
            let is_server = matches!(node.role, ClusterRole::Manager | ClusterRole::Logger);
            for (name, key) in &keys {
                if is_server || !name.ends_with("SERVER_SECRETKEY") {
                    node.env.insert(name.as_str().into(), key.as_str().into());
                }
            }
        });
        world.stop();
    });
}

#[test]
fn a_cluster_on_one_host_talks_by_what_its_manager_says() {
    with_networks(|zeek| {
        let mut world = one_host(zeek);
        for backend in ["broker", "zeromq"] {
            let mut nodes = centre(&world, &[option("mgmt.cluster_backend", backend)]);
            nodes.push(worker(&world, "worker-1", 0));
            world.deploy(&nodes);
            world.all_answer(&["logger", "manager", "proxy", "worker-1"]);
            world.sums(1);
        }
        world.deploy(&[]);
        world.nothing_runs();
        nothing_was_lost(&world, &[]);
        world.stop();
    });
}

#[test]
fn a_logger_that_cannot_write_a_log_is_told_and_left_alone() {
    with_networks(|zeek| {
        let mut world = one_host(zeek);
        // The log cannot be made where a directory is.
        let script = world.script.with_file_name("in_the_way.zeek");
        let text = "event zeek_init() &priority=-30 { mkdir(\"counted.log\"); }\n";
        fs::write(&script, text).expect("it can be written");
        let mut nodes = centre(&world, &[]);
        nodes[0].scripts = Some(
            [&script, &world.script]
                .map(|script| script.display().to_string().into())
                .into(),
        );
        nodes.push(worker(&world, "worker-1", 0));
        world.deploy(&nodes);
        world.hosts[0].says("node logger runs on and does not write all of its logs any more: counted/Log::WRITER_ASCII: cannot open counted.log");
        assert_eq!(world.pids("UNKNOWN").into_keys().collect::<Vec<_>>(), ["logger"]);
        assert_eq!(world.pids("RUNNING").len(), 3);
        world.deploy(&[]);
        world.nothing_runs();
        world.stop();
    });
}

#[test]
fn a_node_that_is_stopped_and_one_in_an_endless_loop_are_told_and_left_alone() {
    with_networks(|zeek| {
        let mut world = one_host(zeek);
        let script = world.script.with_file_name("loop.zeek");
        // Before the first packet no time passes: what is scheduled then comes at once.
        let text = "module Endless;\n\
            event Endless::spin() { while ( T ) ; }\n\
            event Endless::wait() { schedule 5sec { Endless::spin() }; }\n\
            event zeek_init() { schedule 1sec { Endless::wait() }; }\n";
        fs::write(&script, text).expect("it can be written");
        let mut nodes = vec![world.node("manager", ClusterRole::Manager, 0)];
        nodes.extend([worker(&world, "worker-1", 0), worker(&world, "worker-2", 0)]);
        nodes[2].scripts = Some(vec![script.display().to_string().into()]);
        world.deploy(&nodes);
        let before = world.running(3);
        signal(before["worker-1"], Signal::STOP);
        let wedged = ["worker-1", "worker-2"].map(|node| {
            let pid = number(before[node]);
            format!("node {node} is wedged: no heartbeat for 15 s, its process, PID {pid}")
        });
        world.hosts[0].says_all(&wedged.each_ref().map(String::as_str));
        let wedged = world.pids("UNKNOWN");
        let expected: BTreeMap<_, _> = before
            .clone()
            .into_iter()
            .filter(|(name, _)| name != "manager")
            .collect();
        assert_eq!(wedged, expected, "the same processes");
        signal(before["worker-1"], Signal::CONT);
        world.hosts[0].says("node worker-1 is no more wedged");
        assert_eq!(world.pids("RUNNING").get("worker-1"), before.get("worker-1"));
        // It would take a minute by itself.
        signal(before["worker-2"], Signal::KILL);
        world.deploy(&[]);
        world.nothing_runs();
        world.stop();
    });
}
