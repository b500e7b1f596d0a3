//! The stand-in for a cluster node that has no Supervisor of Zeek's, as a real process, with an endpoint in the agent's place.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use broker_codec::{
    Data, Topic,
    data::{Set, ZeekString},
    zeek::Event,
};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, tls::TlsConfig};
use mgmt_api::{NodeLinkMessage, NodeLinkRequest, topics};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::timeout};

/// Nothing here takes nearly as long.
const LIMIT: Duration = Duration::from_secs(60);

/// The directory of node `worker-1`, whose layout has these ports.
struct Node {
    directory: TempDir,
}

impl Node {
    fn new(own: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let layout = format!(
            "redef Cluster::nodes = {{\n\
             \t[\"manager\"] = [$node_type=Cluster::MANAGER, $ip=127.0.0.1, $p=2200/tcp, $metrics_port=9000/tcp],\n\
             \t[\"worker-1\"] = [{own}],\n}};\n"
        );
        fs::write(directory.path().join("cluster-layout.zeek"), layout).unwrap();
        Self { directory }
    }

    fn worker() -> Self {
        Self::new("$node_type=Cluster::WORKER, $ip=127.0.0.1, $manager=\"manager\"")
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// As an agent starts it, but for what the test is about.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zeek"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("CLUSTER_NODE", "worker-1")
            .env("ZEEK_DEFAULT_LISTEN_ADDRESS", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn status(&self) -> String {
        fs::read_to_string(self.path().join(".status")).unwrap()
    }
}

/// What a process that ends by itself has written to standard error, and its exit code.
fn ended(mut command: Command) -> (String, i32) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (String::from_utf8(stderr).unwrap(), status.code().unwrap())
}

/// An agent's place, and what nodes say there.
struct Agent {
    runtime: Runtime,
    endpoint: Endpoint,
    at: SocketAddr,
}

impl Agent {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (endpoint, at) = runtime.block_on(async {
            let mut config = EndpointConfig::default();
            config.tls = TlsConfig::Off;
            // As an agent's: it covers the topics of the link.
            config.subscriptions = vec![Topic::from_static(topics::NODE)];
            let endpoint = Endpoint::start(config).unwrap();
            let listening = endpoint.handle().listen("127.0.0.1", 0).await.unwrap();
            (endpoint, listening[0])
        });
        Self {
            runtime,
            endpoint,
            at,
        }
    }

    /// Starts the node, with this agent and these arguments, and variables besides.
    fn start(&self, node: &Node, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        let mut command = node.command(&[&["-U", ".status", "Broker::disable_ssl=T"], arguments].concat());
        command
            .env("MGMT_NODE_AGENT", self.at.ip().to_string())
            .env("MGMT_NODE_PORT", format!("{}/tcp", self.at.port()))
            .env("MGMT_NODE_TOKEN", "secret")
            .envs(variables.iter().copied());
        command.spawn().unwrap()
    }

    /// The next that is said, but for heartbeats unless they are asked for.
    fn hears(&mut self, beats: bool) -> NodeLinkMessage {
        loop {
            let event = self
                .runtime
                .block_on(async { timeout(LIMIT, self.endpoint.recv()).await });
            let Some(EndpointEvent::Message(message)) = event.expect("it takes too long") else {
                continue;
            };
            assert_eq!(message.topic.as_ref(), b"zeek/management/node-link/agent");
            let said = Event::from_data(message.data).unwrap().parse().unwrap();
            if beats || !matches!(said, NodeLinkMessage::Heartbeat { .. }) {
                return said;
            }
        }
    }

    /// The answer to a request: its error, or its data if there are any.
    fn asks(&mut self, request: &NodeLinkRequest) -> String {
        self.says(request);
        match self.hears(false) {
            NodeLinkMessage::Reply { result, .. } => {
                assert_eq!(result.node, Some("worker-1".into()));
                let data = result.data.map(|data| match data {
                    Data::String(json) => json.to_str_lossy().into_owned(),
                    other => panic!("{other:?}"),
                });
                result
                    .error
                    .map(|error| error.to_string())
                    .or(data)
                    .unwrap_or_default()
            }
            other => panic!("{other:?}"),
        }
    }

    fn says(&self, request: &NodeLinkRequest) {
        let data = Event::of(request).unwrap().native().into_data();
        let topic = Topic::from_static("zeek/management/node-link/nodes");
        self.runtime
            .block_on(self.endpoint.handle().publish(topic, &data))
            .unwrap();
    }
}

fn get(id: &str, only: &[&str]) -> NodeLinkRequest {
    NodeLinkRequest::GetId {
        reqid: "r".into(),
        id: id.into(),
        only: only.iter().map(|name| ZeekString::from(*name)).collect(),
    }
}

fn terminate(child: &Child) {
    kill_process(Pid::from_child(child), Signal::TERM).unwrap();
}

#[test]
fn it_says_who_it_is_and_answers_until_it_is_told_to_end() {
    let node = Node::worker();
    let mut agent = Agent::new();
    let child = agent.start(&node, &["-i", "lo"], &[("MGMT_NODE_HEARTBEAT", "0.05")]);
    let hello = agent.hears(false);
    assert_eq!(
        hello,
        NodeLinkMessage::Hello {
            node: "worker-1".into(),
            pid: child.id().into(),
            version: "9.0.0".into(),
            role: "Cluster::WORKER".into(),
            protocol: 1,
            token: "secret".into(),
        }
    );
    assert_eq!(node.status(), "RUNNING [run_loop]\n");
    let beats: Vec<_> = (0..3)
        .map(|_| match agent.hears(true) {
            NodeLinkMessage::Heartbeat { beat, .. } => beat,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        beats.is_sorted_by(|one, next| one.number < next.number),
        "{beats:?}"
    );
    assert_eq!(beats[0].source, "live");

    let only = || Set::default();
    agent.says(&NodeLinkRequest::Probe { only: only() });
    assert_eq!(agent.hears(false), hello);
    assert_eq!(agent.asks(&get("Cluster::node", &[])), "\"worker-1\"");
    assert_eq!(agent.asks(&get("No::such", &["worker-1"])), "unknown id");
    assert_eq!(agent.asks(&get("connection", &[])), "no ID value");
    // To others only: it would answer before it answers what comes next.
    agent.says(&get("bits_per_uid", &["worker-2"]));
    let (reqid, name): (ZeekString, ZeekString) = ("r".into(), "worker-2".into());
    let adds = NodeLinkRequest::AddNode {
        reqid: reqid.clone(),
        name: name.clone(),
        ip: "127.0.0.1".parse().unwrap(),
        manager: "manager".into(),
        only: only(),
    };
    assert_eq!(agent.asks(&adds), "");
    assert_eq!(agent.asks(&adds), "node worker-2 is in the layout already");
    assert!(agent.asks(&get("Cluster::nodes", &[])).contains("worker-2"));
    let removes = NodeLinkRequest::RemoveNode {
        reqid,
        name,
        only: only(),
    };
    assert_eq!(agent.asks(&removes), "");
    assert_eq!(agent.asks(&removes), "no worker worker-2 is in the layout");

    terminate(&child);
    let node_name = "worker-1".into();
    assert_eq!(agent.hears(false), NodeLinkMessage::Bye { node: node_name });
    drop(agent);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(node.status(), "TERMINATED [atexit]\n");
}

#[test]
fn it_ends_with_its_trace_if_it_is_to() {
    let node = Node::worker();
    let mut agent = Agent::new();
    fs::write(node.path().join("t.pcap"), "").unwrap();
    let child = agent.start(&node, &["-r", "t.pcap"], &[("MGMT_NODE_TRACE_END", "1")]);
    assert!(matches!(agent.hears(false), NodeLinkMessage::Hello { .. }));
    let done = NodeLinkMessage::TraceDone {
        node: "worker-1".into(),
        path: "t.pcap".into(),
    };
    assert_eq!(agent.hears(false), done);
    let bye = NodeLinkMessage::Bye {
        node: "worker-1".into(),
    };
    assert_eq!(agent.hears(false), bye);
    drop(agent);
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn without_an_agent_it_runs_until_it_is_told_to_end() {
    let node = Node::worker();
    let mut child = node.command(&["-U", ".status"]).spawn().unwrap();
    while !fs::read_to_string(node.path().join(".status")).is_ok_and(|word| word.starts_with("RUNNING")) {
        assert_eq!(child.try_wait().unwrap(), None);
        std::thread::yield_now();
    }
    terminate(&child);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_check_finds_what_zeek_would_find_and_nothing_else() {
    let node = Node::worker();
    let place = |name: &str| node.path().join(name).display().to_string();
    fs::write(place("good.zeek"), "redef X = 1;\n").unwrap();
    fs::write(place("bad.zeek"), "# Comment\n} error\n").unwrap();
    let checked = |arguments: &[&str]| ended(node.command(&[&["-a"], arguments].concat()));
    let good = (String::new(), 0);
    assert_eq!(checked(&["local", &place("good"), "X::y=1"]), good);
    assert_eq!(
        checked(&[&place("none.zeek")]),
        (format!("fatal error: can't find {}\n", place("none.zeek")), 1)
    );
    let message = "line 2: syntax error, at or near \"}\"";
    assert_eq!(
        checked(&[&place("bad.zeek")]),
        (format!("error in {}, {message}\n", place("bad.zeek")), 1)
    );
    // As Zeek it minds names of nodes only when it is one, but must have a layout.
    let mut other = node.command(&["-a"]);
    other.env("CLUSTER_NODE", "worker-9");
    assert_eq!(ended(other), good);
    let mut lacking = node.command(&["-a"]);
    lacking.env("ZEEKPATH", "/nowhere");
    let (stderr, code) = ended(lacking);
    assert!(stderr.contains("can't find cluster-layout"), "{stderr}");
    assert_eq!(code, 1);
    assert!(!node.path().join(".status").exists());
}

#[test]
fn what_it_lacks_it_says_as_zeek_does() {
    let node = Node::worker();
    let mut other = node.command(&[]);
    other.env("CLUSTER_NODE", "worker-9");
    let (stderr, code) = ended(other);
    assert!(
        stderr.contains("'worker-9' is not a valid node in the Cluster::nodes configuration"),
        "{stderr}"
    );
    assert_eq!(code, 1);

    let (stderr, code) = ended(node.command(&["-U", ".status", "-r", "none.pcap"]));
    assert!(stderr.contains("problem with trace file none.pcap"), "{stderr}");
    assert_eq!((code, &*node.status()), (1, "TERMINATED [atexit]\n"));

    let mut told = node.command(&["-i", "no-such"]);
    told.env("STAND_IN_NODE", r#"{"checks_interface": true}"#);
    let (stderr, code) = ended(told);
    assert!(stderr.contains("interface no-such"), "{stderr}");
    assert_eq!(code, 1);

    let mut told = node.command(&[]);
    told.env(
        "STAND_IN_NODE",
        r#"{"exit": {"status": 3}, "stderr": "so be it"}"#,
    );
    assert_eq!(ended(told), ("so be it\n".to_owned(), 3));
}

#[test]
fn a_port_that_is_taken_ends_it() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let fails = |own: &str, arguments: &[&str]| {
        let node = Node::new(own);
        let mut command = node.command(arguments);
        command.env("STAND_IN_NODE", r#"{"listens": true}"#);
        let (stderr, code) = ended(command);
        assert_eq!(code, 1, "{stderr}");
        stderr
    };
    let stderr = fails(
        &format!("$node_type=Cluster::PROXY, $ip=127.0.0.1, $p={port}/tcp"),
        &[],
    );
    assert!(
        stderr.contains(&format!("Failed to listen on 127.0.0.1:{port}")),
        "{stderr}"
    );
    assert!(
        stderr.ends_with("fatal error: errors occurred while initializing\n"),
        "{stderr}"
    );
    let stderr = fails(
        &format!("$node_type=Cluster::WORKER, $ip=127.0.0.1, $metrics_port={port}/tcp"),
        &[],
    );
    assert!(stderr.contains("Failed to setup Prometheus endpoint"), "{stderr}");
    let stderr = fails(
        &format!("$node_type=Cluster::LOGGER, $ip=127.0.0.1, $p={port}/tcp"),
        &["policy/frameworks/cluster/backend/zeromq"],
    );
    let pull = format!("ZeroMQ: Failed to bind pull socket tcp://127.0.0.1:{port}: Address already in use");
    assert!(stderr.contains(&pull), "{stderr}");
    let stderr = fails(
        "$node_type=Cluster::MANAGER, $ip=127.0.0.1",
        &[
            "policy/frameworks/cluster/backend/zeromq",
            &format!("Cluster::Backend::ZeroMQ::listen_xpub_endpoint=\"tcp://127.0.0.1:{port}\""),
        ],
    );
    assert!(stderr.contains("Failed to bind xpub socket"), "{stderr}");
}
