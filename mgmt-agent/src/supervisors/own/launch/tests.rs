use std::{fmt::Write, sync::Arc};

use broker_codec::data::{Address, Port};
use expect_test::expect_file;
use mgmt_api::ClusterRole::{self, Logger, Manager, Proxy, Worker};

use super::*;
use crate::core::ClusterNode;

fn settings(version: &str) -> LaunchSettings {
    LaunchSettings {
        program: "/opt/zeek/bin/zeek".into(),
        version: Some(format!("zeek version {version}")),
        script_path: "/opt/zeek/share/zeek:/opt/zeek/share/zeek/site".into(),
        path: "/opt/zeek/bin:/usr/bin".into(),
        inherited: [("TZ".into(), "UTC".into())].into(),
        link_script: "/agent/scripts/node-link.zeek".into(),
        limits_memory: true,
        log_queue: "/spool/log-queue".into(),
        ..LaunchSettings::default()
    }
}

type Cluster = BTreeMap<ZeekString, ClusterNode>;

fn cluster(nodes: &[(&str, ClusterRole, &str, Option<u16>)]) -> Cluster {
    let entry = |(at, (name, role, host, port)): (usize, &(&str, ClusterRole, &str, Option<u16>))| {
        let node = ClusterNode {
            role: *role,
            host: Address::from(host.parse::<IpAddr>().unwrap()),
            p: port.map(Port::tcp),
            interface: (*role == Worker).then(|| "eth0".into()),
            metrics_port: u16::try_from(9000 + at).ok().map(Port::tcp),
        };
        ((*name).into(), node)
    };
    nodes.iter().enumerate().map(entry).collect()
}

/// A manager, a logger and a proxy on the first host, a worker on the second.
fn four(first: &str, second: &str) -> Cluster {
    cluster(&[
        ("manager", Manager, first, Some(2200)),
        ("logger-1", Logger, first, Some(2201)),
        ("proxy-1", Proxy, first, Some(2202)),
        ("worker-1", Worker, second, None),
    ])
}

fn node(name: &str, cluster: &Cluster) -> NodeSpec {
    NodeSpec {
        name: name.into(),
        interface: cluster.get(name.as_bytes()).and_then(|own| own.interface.clone()),
        directory: format!("/state/nodes/{name}").into(),
        cluster: Arc::new(cluster.clone()),
        ..NodeSpec::default()
    }
}

fn start(spec: &NodeSpec, version: &str) -> Result<Launch, String> {
    launch(spec, &settings(version), &"token".into())
}

fn line(arguments: &[ZeekString]) -> String {
    let words = arguments.iter().map(ZeekString::to_str_lossy);
    words.collect::<Vec<_>>().join(" ")
}

/// Everything that the nodes of a cluster are started with; the layout, which must be the same for all, once.
fn show(version: &str, cluster: &Cluster, change: impl Fn(&mut NodeSpec)) -> String {
    let mut text = String::new();
    let mut layouts = Vec::new();
    for name in cluster.keys() {
        let mut spec = node(&name.to_str_lossy(), cluster);
        change(&mut spec);
        let launch = start(&spec, version).unwrap();
        assert_eq!((&launch.spec, launch.node()), (&spec, name));
        writeln!(text, "{name}: {} {}", launch.program, line(&launch.arguments)).unwrap();
        for (name, value) in &launch.environment {
            writeln!(text, "  {name}={value}").unwrap();
        }
        let Needs { interface, listeners } = launch.needs;
        writeln!(text, "  needs {interface:?} {listeners:?}").unwrap();
        layouts.push(launch.layout);
    }
    layouts.dedup();
    assert_eq!(layouts.len(), 1, "all nodes have the same layout");
    text + &layouts[0]
}

fn zeromq(spec: &mut NodeSpec) {
    spec.cluster_backend = Some("zeromq".into());
}

#[test]
fn each_zeek_gets_what_it_knows() {
    let local = four("10.0.0.1", "10.0.0.1");
    expect_file!["golden/6.0.txt"].assert_eq(&show("6.0.9", &local, |_| {}));
    expect_file!["golden/7.0.txt"].assert_eq(&show("7.0.9", &local, |_| {}));
    expect_file!["golden/8.0.txt"].assert_eq(&show("8.0.10", &local, |_| {}));
    expect_file!["golden/8.0-zeromq.txt"].assert_eq(&show("8.0.10", &local, zeromq));
    expect_file!["golden/9.0.txt"].assert_eq(&show("9.0.0-rc1", &local, |_| {}));
    let broker = |spec: &mut NodeSpec| spec.cluster_backend = Some("broker".into());
    expect_file!["golden/9.0-broker.txt"].assert_eq(&show("9.0.0-rc1", &local, broker));
}

#[test]
fn on_several_hosts_nodes_listen_where_the_others_reach_them() {
    let hosts = four("10.0.0.1", "10.0.0.2");
    expect_file!["golden/9.0-hosts.txt"].assert_eq(&show("9.0.0", &hosts, |_| {}));
    let hosts = four("fd00::1", "fd00::2");
    expect_file!["golden/9.0-hosts-ipv6.txt"].assert_eq(&show("9.0.0", &hosts, |_| {}));
    let with_keys = |spec: &mut NodeSpec| {
        zeromq(spec);
        for key in [
            "SERVER_PUBLICKEY",
            "SERVER_SECRETKEY",
            "CLIENT_PUBLICKEY",
            "CLIENT_SECRETKEY",
        ] {
            let name = format!("ZEEK_CLUSTER_BACKEND_ZEROMQ_CURVE_{key}");
            spec.env.insert(name.into(), "key".into());
        }
    };
    expect_file!["golden/9.0-hosts-ipv6-zeromq.txt"].assert_eq(&show("9.0.0", &hosts, with_keys));
}

#[test]
fn the_backend_is_that_of_the_manager_or_of_the_release() {
    let local = four("10.0.0.1", "10.0.0.1");
    let hosts = four("10.0.0.1", "10.0.0.2");
    let without_port = cluster(&[("manager", Manager, "10.0.0.1", None)]);
    let alone = cluster(&[("worker", Worker, "10.0.0.1", None)]);
    let backend = |version: &str, cluster: &Cluster, wanted: Option<&str>| {
        let mut spec = node(&cluster.keys().last().unwrap().to_str_lossy(), cluster);
        spec.cluster_backend = wanted.map(ZeekString::from);
        let arguments = line(&start(&spec, version)?.arguments);
        let script = arguments
            .split(' ')
            .find_map(|word| word.strip_prefix("policy/frameworks/cluster/backend/"));
        Ok(script.unwrap_or("none").to_owned())
    };
    let cases = [
        ("6.0.0", &local, None, Ok("none")),
        ("8.0.10", &local, None, Ok("none")),
        ("8.1.0", &local, None, Ok("zeromq")),
        ("8.1.0", &hosts, None, Ok("broker")),
        ("9.0.0", &without_port, None, Ok("broker")),
        ("9.0.0", &alone, None, Ok("broker")),
        ("9.0.0", &local, Some("broker"), Ok("broker")),
        ("7.1.0", &local, Some("zeromq"), Ok("zeromq/connect")),
        ("7.1.0", &local, Some("broker"), Ok("none")),
        (
            "7.0.5",
            &local,
            Some("zeromq"),
            Err("Zeek 7.0 has no ZeroMQ: Zeek 7.1 or later is needed, or mgmt.cluster_backend=broker"),
        ),
        (
            "8.1.0",
            &hosts,
            Some("zeromq"),
            Err(
                "the cluster is on several hosts, and ZeroMQ of Zeek 8.1 is not encrypted: Zeek 8.2 or later is needed, or \
                 mgmt.cluster_backend=broker",
            ),
        ),
        (
            "8.2.0",
            &hosts,
            Some("zeromq"),
            Err(
                "the cluster is on several hosts, and ZeroMQ without keys is not encrypted: set \
                 ZEEK_CLUSTER_BACKEND_ZEROMQ_CURVE_SERVER_PUBLICKEY, ZEEK_CLUSTER_BACKEND_ZEROMQ_CURVE_CLIENT_PUBLICKEY, \
                 ZEEK_CLUSTER_BACKEND_ZEROMQ_CURVE_CLIENT_SECRETKEY in its environment, or mgmt.cluster_backend=broker",
            ),
        ),
        (
            "9.0.0",
            &without_port,
            Some("zeromq"),
            Err("manager has no port: with ZeroMQ manager and loggers need one"),
        ),
        (
            "9.0.0",
            &alone,
            Some("zeromq"),
            Err("ZeroMQ needs a manager, and the cluster has none"),
        ),
        (
            "9.0.0",
            &local,
            Some("nats"),
            Err("the manager's option mgmt.cluster_backend is nats: broker or zeromq is needed"),
        ),
    ];
    for (version, cluster, wanted, expected) in cases {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(
            backend(version, cluster, wanted),
            expected,
            "{version} {wanted:?}"
        );
    }
}

#[test]
fn zeromq_forwards_at_ports_that_no_node_has() {
    let ports = |nodes: &[(&str, ClusterRole, &str, Option<u16>)], metrics: &[u16]| {
        let mut nodes = cluster(nodes);
        for (node, port) in nodes.values_mut().zip(metrics) {
            node.metrics_port = Some(Port::tcp(*port));
        }
        let mut spec = node("m", &nodes);
        zeromq(&mut spec);
        let listeners = start(&spec, "9.0.0")?.needs.listeners;
        Ok(listeners.iter().map(SocketAddr::port).collect::<Vec<_>>())
    };
    let host = "10.0.0.1";
    // With a logger the manager's own port is free.
    let with_logger = [("l", Logger, host, Some(2201)), ("m", Manager, host, Some(2200))];
    assert_eq!(ports(&with_logger, &[1, 2]), Ok(vec![2200, 2202, 2]));
    assert_eq!(ports(&with_logger, &[2202, 2203]), Ok(vec![2200, 2204, 2203]));
    // Without, it takes the logs there.
    let alone = [("m", Manager, host, Some(2200)), ("w", Worker, host, None)];
    assert_eq!(ports(&alone, &[2201, 2203]), Ok(vec![2202, 2203, 2200, 2201]));
    let mut spec = node("w", &cluster(&alone));
    zeromq(&mut spec);
    Arc::make_mut(&mut spec.cluster)
        .get_mut(b"w".as_slice())
        .unwrap()
        .metrics_port = Some(Port::tcp(2202));
    let reason = "its metrics port is one at which the manager forwards for ZeroMQ: choose another";
    assert_eq!(start(&spec, "9.0.0").unwrap_err(), reason);
    let last = [("l", Logger, host, Some(1)), ("m", Manager, host, Some(u16::MAX))];
    let reason =
        "ZeroMQ needs two more ports from 65535 on, the manager's, and none is left: choose a lower one";
    assert_eq!(ports(&last, &[3, 4]), Err(reason.to_owned()));
}

#[test]
fn the_seed_of_hashes_outlives_a_change_of_workers_but_not_of_the_manager() {
    let seed = |cluster: &Cluster| {
        let layout = start(&node("manager", cluster), "9.0.0").unwrap().layout;
        let layout = layout.to_string();
        layout
            .lines()
            .find(|line| line.contains("global_hash_seed"))
            .unwrap()
            .to_owned()
    };
    let before = four("10.0.0.1", "10.0.0.1");
    assert_eq!(
        seed(&before),
        "redef global_hash_seed = \"manager 127.0.0.1 2200\";"
    );
    let mut more = before.clone();
    let worker = before[b"worker-1".as_slice()].clone();
    more.insert(
        "worker-2".into(),
        ClusterNode {
            metrics_port: None,
            ..worker
        },
    );
    assert_eq!(seed(&more), seed(&before));
    let mut moved = before.clone();
    moved.get_mut(b"manager".as_slice()).unwrap().p = Some(Port::tcp(2300));
    assert_ne!(seed(&moved), seed(&before));
}

#[test]
fn a_node_gets_its_own_scripts_environment_options_and_limits() {
    let cluster = four("10.0.0.1", "10.0.0.1");
    let mut spec = node("worker-1", &cluster);
    spec.interface = Some("af_packet::eth0".into());
    spec.scripts = vec![
        "/etc/own.zeek".into(),
        "tuning/json-logs".into(),
        "Zeek::AF_Packet".into(),
    ];
    spec.env = [("TZ", "Europe/Berlin"), ("ZEEKPATH", "/own"), ("MY", "a=b")]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
    let options = [
        ("Notice::mail_dest", "a \"b\"@example.org"),
        ("snaplen", "9000"),
        ("mgmt.cpus", "8,2-4,3"),
        ("mgmt.nice", "-5"),
        ("mgmt.memory_max", "8G"),
        ("mgmt.open_files", "65536"),
        ("mgmt.numa", "bind:0-1"),
        ("mgmt.before_start", "ethtool -K eth0 gro off"),
    ];
    spec.options = options.map(|(name, value)| (name.into(), value.into())).into();
    let launch = start(&spec, "9.0.0").unwrap();
    let arguments = line(&launch.arguments);
    let begins = "-U .status -i af_packet::eth0 policy/frameworks/cluster/backend/zeromq local /etc/own.zeek tuning/json-logs \
                  Zeek::AF_Packet /agent/scripts/node-link.zeek Cluster::Backend::ZeroMQ::";
    assert!(arguments.starts_with(begins), "{arguments}");
    let ends = " Notice::mail_dest=a \"b\"@example.org snaplen=9000";
    assert!(arguments.ends_with(ends), "{arguments}");
    let variable = |name: &str| launch.environment[name.as_bytes()].to_string();
    assert_eq!(variable("TZ"), "Europe/Berlin");
    assert_eq!(variable("ZEEKPATH"), "/state/nodes/worker-1:/own");
    assert_eq!(variable("MY"), "a=b");
    assert_eq!(launch.limits.cpus, [2, 3, 4, 8]);
    assert_eq!(launch.limits.nice, Some(-5));
    assert_eq!(launch.limits.memory_max, Some(8 << 30));
    assert_eq!(launch.limits.open_files, Some(65_536));
    assert_eq!(launch.limits.numa.as_deref(), Some("bind:0-1"));
    assert_eq!(launch.before_start, Some("ethtool -K eth0 gro off".into()));
    assert_eq!(launch.needs.interface, Some("eth0".into()));

    spec.options = BTreeMap::new();
    spec.cpu_affinity = Some(3);
    assert_eq!(start(&spec, "9.0.0").unwrap().limits.cpus, [3]);
}

#[test]
fn a_list_of_cpus_has_no_more_parts_than_there_may_be_cpus() {
    let limits = |count| {
        let mut spec = node("worker-1", &four("10.0.0.1", "10.0.0.1"));
        option(&mut spec, "mgmt.cpus", &vec!["0-1023"; count].join(","));
        start(&spec, "9.0.0").map(|launch| launch.limits.cpus.len())
    };
    assert_eq!(limits(1024), Ok(1024));
    let refused = limits(1025).unwrap_err();
    assert!(
        refused.ends_with(": numbers of CPUs from 0 to 1023 are needed, as in 2-5,8"),
        "{refused}"
    );
}

#[test]
fn a_node_that_reads_a_trace_ends_with_it() {
    let cluster = four("10.0.0.1", "10.0.0.1");
    let mut spec = node("worker-1", &cluster);
    spec.interface = None;
    spec.options
        .insert("mgmt.pcap_file".into(), "/traces/a b.pcap".into());
    let launch = start(&spec, "8.0.0").unwrap();
    assert!(line(&launch.arguments).starts_with("-U .status -r /traces/a b.pcap local "));
    assert_eq!(launch.environment[b"MGMT_NODE_TRACE_END".as_slice()], "1");
    assert_eq!(launch.needs.interface, None);
}

#[test]
fn a_node_listens_where_its_environment_says() {
    let cluster = four("10.0.0.1", "10.0.0.2");
    let mut spec = node("manager", &cluster);
    let mut listeners = |address: &str| {
        spec.env.insert(LISTEN_ADDRESS.into(), address.into());
        let listeners = start(&spec, "9.0.0").unwrap().needs.listeners;
        listeners.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
    };
    assert_eq!(listeners("10.0.0.9"), ["10.0.0.9:2200", "10.0.0.9:9000"]);
    assert!(listeners("sensor.example.org").is_empty());
    assert_eq!(listeners("fd00::9"), ["[fd00::9]:2200", "[fd00::9]:9000"]);
    let arguments = line(&start(&spec, "9.0.0").unwrap().arguments);
    assert!(
        arguments.ends_with(" Telemetry::metrics_address=[fd00::9]"),
        "{arguments}"
    );
}

/// What is done to a worker, and why it is not started then.
type Refusal = (fn(&mut NodeSpec), &'static str);

fn option(spec: &mut NodeSpec, name: &str, value: &str) {
    spec.options.insert(name.into(), value.into());
}

fn variable(spec: &mut NodeSpec, name: &str, value: &str) {
    spec.env.insert(name.into(), value.into());
}

const REFUSALS: &[Refusal] = &[
    (
        |spec| spec.name = "../worker".into(),
        "its name can only have letters, digits, and after the first one dots, underscores and hyphens, 128 in all",
    ),
    (|spec| spec.name = "other".into(), "it is no node of its cluster"),
    (
        |spec| spec.directory = "/state:1/nodes/w".into(),
        "Zeek would find no script in its directory, /state:1/nodes/w: a full path without colons is needed",
    ),
    (
        |spec| spec.interface = Some("a\nb".into()),
        "no interface can be called 'a\\nb'",
    ),
    (
        |spec| spec.scripts.push("-C".into()),
        "no script can be called '-C'",
    ),
    (
        |spec| spec.scripts.push("a=b".into()),
        "no script can be called 'a=b'",
    ),
    (|spec| spec.scripts.push("".into()), "no script can be called ''"),
    (
        |spec| variable(spec, "ZEEK_STEM", "1"),
        "its environment has ZEEK_STEM, which says what a node is: leave it out",
    ),
    (
        |spec| variable(spec, "CLUSTER_NODE", "w"),
        "its environment has CLUSTER_NODE, which says what a node is: leave it out",
    ),
    (
        |spec| variable(spec, "ZEEKCTL_CHECK_CONFIG", "1"),
        "its environment has ZEEKCTL_CHECK_CONFIG, which says what a node is: leave it out",
    ),
    (
        |spec| variable(spec, "MGMT_NODE_TOKEN", "1"),
        "its environment has MGMT_NODE_TOKEN, which says what a node is: leave it out",
    ),
    (
        |spec| variable(spec, "A=B", ""),
        "no environment variable can be called 'A=B'",
    ),
    (
        |spec| variable(spec, "", ""),
        "no environment variable can be called ''",
    ),
    (
        |spec| variable(spec, "A", "1\n2"),
        "its environment variable A has more than one line, or a NUL",
    ),
    (
        |spec| option(spec, "a b", "1"),
        "no option can be called 'a b': a name is needed, as in Log::default_rotation_interval",
    ),
    (
        |spec| option(spec, "Log::1st", "1"),
        "no option can be called 'Log::1st': a name is needed, as in Log::default_rotation_interval",
    ),
    (
        |spec| option(spec, "snaplen", "1\n2"),
        "its option snaplen is 1\\n2: one line without NUL is needed",
    ),
    (
        |spec| option(spec, "mgmt.cpu", "1"),
        "its option mgmt.cpu is 1: there is no such option; those with mgmt. are the agent's",
    ),
    (
        |spec| option(spec, "mgmt.cpus", "3-2"),
        "its option mgmt.cpus is 3-2: numbers of CPUs from 0 to 1023 are needed, as in 2-5,8",
    ),
    (
        |spec| option(spec, "mgmt.cpus", "0-4000000000"),
        "its option mgmt.cpus is 0-4000000000: numbers of CPUs from 0 to 1023 are needed, as in 2-5,8",
    ),
    (
        |spec| {
            spec.cpu_affinity = Some(1);
            option(spec, "mgmt.cpus", "2");
        },
        "its option mgmt.cpus is 2: cpu_affinity says another thing, and one of them is enough",
    ),
    (
        |spec| spec.cpu_affinity = Some(-1),
        "its cpu_affinity is -1: numbers of CPUs from 0 to 1023 are needed, as in 2-5,8",
    ),
    (
        |spec| option(spec, "mgmt.nice", "20"),
        "its option mgmt.nice is 20: a number from -20 to 19 is needed",
    ),
    (
        |spec| option(spec, "mgmt.memory_max", "8GB"),
        "its option mgmt.memory_max is 8GB: a number of bytes is needed, as in 1500M or 8G",
    ),
    (
        |spec| option(spec, "mgmt.memory_max", "99999999999G"),
        "its option mgmt.memory_max is 99999999999G: a number of bytes is needed, as in 1500M or 8G",
    ),
    (
        |spec| option(spec, "mgmt.open_files", "0"),
        "its option mgmt.open_files is 0: a number above 0 is needed",
    ),
    (
        |spec| option(spec, "mgmt.numa", "bind:x"),
        "its option mgmt.numa is bind:x: a policy is needed, as in preferred:0, bind:0-1, interleave:all or local",
    ),
    (
        |spec| option(spec, "mgmt.before_start", "a\nb"),
        "its option mgmt.before_start is a\\nb: one line without NUL is needed",
    ),
    (
        |spec| option(spec, "mgmt.pcap_file", ""),
        "its option mgmt.pcap_file is : it cannot be empty",
    ),
    (
        |spec| option(spec, "mgmt.pcap_file", "/a.pcap"),
        "it has an interface and mgmt.pcap_file, and Zeek reads only from one of them",
    ),
    (
        |spec| option(spec, "mgmt.cluster_backend", "broker"),
        "its option mgmt.cluster_backend is broker: only the manager has this option, for the whole cluster",
    ),
];

#[test]
fn what_cannot_be_started_is_refused_with_the_reason() {
    let cluster = four("10.0.0.1", "10.0.0.1");
    for (change, reason) in REFUSALS {
        let mut spec = node("worker-1", &cluster);
        change(&mut spec);
        assert_eq!(start(&spec, "9.0.0").unwrap_err(), *reason);
    }
    let nowhere = four("10.0.0.1", "0.0.0.0");
    let reason = "the cluster is on several hosts, and the address of worker-1 is 0.0.0.0, where the others cannot reach it: give its \
                  instance an address";
    assert_eq!(start(&node("manager", &nowhere), "9.0.0").unwrap_err(), reason);
    start(&node("manager", &four("0.0.0.0", "0.0.0.0")), "9.0.0").unwrap();
}

#[test]
fn a_zeek_that_is_too_old_or_unknown_is_refused() {
    let cluster = four("10.0.0.1", "10.0.0.1");
    let spec = node("worker-1", &cluster);
    let refused = |version: Option<&str>| {
        let settings = LaunchSettings {
            version: version.map(str::to_owned),
            ..settings("")
        };
        launch(&spec, &settings, &"token".into()).unwrap_err()
    };
    assert_eq!(
        refused(Some("zeek version 5.2.2")),
        "Zeek 5.2 is too old: 6.0 or later is needed"
    );
    assert_eq!(refused(Some("nonsense")), "\"nonsense\" names no version of Zeek");
    assert_eq!(
        refused(None),
        "it is not known which Zeek is installed: `zeek --version` has not said so"
    );
}
