//! With an installed Zeek: its controller and ours on one store, and its agent, with real cluster nodes, under our controller. Where
//! there is no Zeek this cannot run, and says so.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use broker_endpoint::tls::TlsConfig;
use mgmt_api::AgentRequest;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::ReservedPort;

use crate::{
    live::installed_zeek,
    support::{
        agent::{StandIn, Way},
        controller::Controller,
        daemon::Daemon,
        home,
        limit::Limit,
        program::Outcome,
        relay::Relay,
        zeek_client::ZeekClient,
    },
};

pub(crate) const AGENT: &str = "agent-1";

/// Real nodes listen on the ports for metrics that they are given, where those of another test may listen.
pub(crate) const NO_METRICS: &str = "Management::Controller::auto_assign_metrics_ports=F";

/// How long Zeek may take to do what it must do, on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(180);

/// A `zeek -j` with all that it starts; ended in good order when dropped.
pub(crate) struct Zeek {
    daemon: Daemon,
    _supervisor: ReservedPort,
}

impl Zeek {
    /// Starts it with its files below a directory. Its Supervisor listens at a free port, unless the script says where.
    pub(crate) fn start(prefix: &Path, home: &TempDir, script: &str) -> Self {
        let supervisor = ReservedPort::new("127.0.0.1");
        let settings = format!(
            "redef Broker::default_port = {}/tcp;\n{script}\n",
            supervisor.port()
        );
        let path = home.path().join("live.zeek");
        fs::write(&path, settings).expect("a file can be written");
        let mut command = Command::new(prefix.join("bin/zeek"));
        command.arg("-j").arg(path).current_dir(home.path());
        for (variable, directory) in [
            ("ZEEK_MANAGEMENT_STATE_DIR", "state"),
            ("ZEEK_MANAGEMENT_SPOOL_DIR", "spool"),
        ] {
            let directory = home.path().join(directory);
            fs::create_dir_all(&directory).expect("a directory can be made");
            command.env(variable, directory);
        }
        command.env("ZEEK_DEFAULT_LISTEN_ADDRESS", "127.0.0.1");
        Self {
            daemon: Daemon::start("zeek", command.stdout(Stdio::null())),
            _supervisor: supervisor,
        }
    }
}

impl Drop for Zeek {
    fn drop(&mut self) {
        self.daemon.end();
    }
}

pub(crate) fn run(address: SocketAddr, arguments: &[&str], stdin: Option<&str>) -> Outcome {
    let patient = [
        "--set",
        "client.peering_attempts=120",
        "--set",
        "client.request_timeout_secs=180",
    ];
    let arguments: Vec<_> = patient.iter().chain(arguments).collect();
    ZeekClient::release("1.5.0").run(address, &arguments, stdin)
}

/// Runs zeek-client, which must succeed, and returns what it printed.
#[track_caller]
pub(crate) fn client(address: SocketAddr, arguments: &[&str], stdin: Option<&str>) -> Value {
    run(address, arguments, stdin).json(0)
}

/// Asks until the answer is good.
pub(crate) fn client_until(address: SocketAddr, arguments: &[&str], good: impl Fn(&Value) -> bool) -> Value {
    let mut limit = Limit::lasting(TIMEOUT, "");
    loop {
        let answer = client(address, arguments, None);
        if good(&answer) {
            return answer;
        }
        limit.say(format_args!("a good answer to {arguments:?}: {answer}"));
        limit.left();
    }
}

pub(crate) fn wait_for_the_agent(address: SocketAddr) {
    client_until(address, &["get-instances"], |instances| {
        !instances[AGENT].is_null()
    });
}

/// What is staged and what is deployed.
fn configurations(address: SocketAddr) -> [Value; 2] {
    ["--staged", "--deployed"].map(|which| client(address, &["get-config", which, "--as-json"], None))
}

const ONE: &str = "
[manager]
instance = agent-1
role = manager
scripts = policy/tuning/json-logs
env = \"A=b c\" D=e

[worker]
instance = agent-1
role = worker
interface = lo
cpu_affinity = 0
";

const OTHER: &str = "
[manager]
instance = agent-1
role = manager
port = 5000
";

fn deployed(asked: AgentRequest) -> Option<String> {
    match asked {
        AgentRequest::Deploy { config, .. } => Some(config.id.to_string()),
        _ => None,
    }
}

#[test]
fn zeeks_controller_goes_on_where_ours_ended_and_ours_where_zeeks_did() {
    let Some(prefix) = installed_zeek() else { return };
    let relay = Relay::start();
    let home = home();
    let ours = || Controller::start_in::<&str>(&home, &[]);
    let mut controller = ours();
    relay.point_to(controller.broker());
    let way = Way::Connect(relay.address());
    let agent = StandIn::start(AGENT, &TlsConfig::Anonymous, way);
    let address = controller.websocket();
    wait_for_the_agent(address);
    let one = client(address, &["deploy-config", "-"], Some(ONE));
    let other = client(address, &["stage-config", "-"], Some(OTHER));
    assert_eq!(json!(agent.asked(deployed)), one["results"]["id"]);
    let left = configurations(address);
    controller.stop();

    let reserved = [(); _].map(|()| ReservedPort::new("127.0.0.1"));
    let [broker, websocket] = reserved.each_ref().map(ReservedPort::port);
    let script = format!(
        "@load policy/frameworks/management/controller
redef Management::Controller::name = \"controller\";
redef Management::Controller::default_port = {broker}/tcp;
redef Management::Controller::default_port_websocket = {websocket}/tcp;"
    );
    let zeek = Zeek::start(&prefix, &home, &script);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, websocket));
    assert_eq!(
        configurations(address),
        left,
        "Zeek's controller shows what ours stored"
    );
    relay.point_to(SocketAddr::from((Ipv4Addr::LOCALHOST, broker)));
    wait_for_the_agent(address);
    assert_eq!(
        json!(agent.asked(deployed)),
        one["results"]["id"],
        "the deployment of its start"
    );
    client_until(address, &["deploy"], |answer| answer["errors"] == json!([]));
    assert_eq!(
        json!(agent.asked(deployed)),
        other["results"]["id"],
        "what ours has staged can be deployed"
    );
    let third = client(address, &["stage-config", "-"], Some(ONE));
    let left = configurations(address);
    assert_eq!(left[0]["id"], third["results"]["id"]);
    assert_eq!(left[1]["id"], other["results"]["id"]);
    drop(zeek);

    let mut controller = ours();
    assert_eq!(configurations(controller.websocket()), left, "and the reverse");
    relay.point_to(controller.broker());
    assert_eq!(json!(agent.asked(deployed)), other["results"]["id"]);
    controller.stop();
}

#[test]
fn an_agent_of_zeek_that_connects_runs_real_nodes() {
    lead_an_agent_of_zeek(false);
}

#[test]
fn an_agent_of_zeek_that_is_connected_to_runs_real_nodes() {
    lead_an_agent_of_zeek(true);
}

fn lead_an_agent_of_zeek(listens: bool) {
    let Some(prefix) = installed_zeek() else { return };
    let timeout = "Management::Request::timeout_interval=90sec";
    let mut controller = Controller::start(&[timeout, NO_METRICS]);
    let address = controller.websocket();
    let reserved = [(); _].map(|()| ReservedPort::new("127.0.0.1"));
    let [port, manager] = reserved.each_ref().map(ReservedPort::port);
    let (host, at) = if listens {
        ("0.0.0.0", format!(" = 127.0.0.1:{port}"))
    } else {
        ("127.0.0.1", String::new())
    };
    let home = TempDir::with_prefix("live-").expect("a directory can be made");
    let zeek = Zeek::start(
        &prefix,
        &home,
        &agent_script(host, controller.broker().port(), port),
    );
    if !listens {
        wait_for_the_agent(address);
    }

    let configuration = format!(
        "[instances]
{AGENT}{at}
[manager]
instance = {AGENT}
role = manager
port = {manager}
[worker]
instance = {AGENT}
role = worker
"
    );
    let runs = json!({ "instance": AGENT, "success": true });
    let answer = client(address, &["deploy-config", "-"], Some(&configuration));
    assert_eq!(answer["errors"], json!([]));
    assert_eq!(
        answer["results"]["nodes"],
        json!({ "manager": runs, "worker": runs })
    );
    let nodes = client(address, &["get-nodes"], None);
    assert_eq!(running(&nodes), 2, "{nodes}");
    assert_eq!(nodes["results"][AGENT]["manager"]["port"], json!(manager));
    assert_eq!(
        client(address, &["get-id-value", "Cluster::node"], None)["results"],
        json!({ "manager": "manager", "worker": "worker" })
    );
    assert_eq!(
        client(address, &["restart", "worker"], None)["results"],
        json!({ "worker": true })
    );
    let before = &nodes["results"][AGENT];
    let nodes = client_until(address, &["get-nodes"], |nodes| {
        running(nodes) == 2 && nodes["results"][AGENT]["worker"]["pid"] != before["worker"]["pid"]
    });
    assert_eq!(
        nodes["results"][AGENT]["manager"]["pid"], before["manager"]["pid"],
        "this one was not restarted"
    );

    client(address, &["deploy-config", "-"], Some(""));
    client_until(address, &["get-nodes"], |nodes| {
        nodes["results"][AGENT]
            .as_object()
            .is_some_and(|all| all.len() == 1)
    });
    drop(zeek);
    controller.stop();
}

/// How many nodes of the agent run.
fn running(nodes: &Value) -> usize {
    let nodes = nodes["results"][AGENT].as_object().expect("its processes");
    let others = nodes.iter().filter(|(name, _)| *name != AGENT);
    others.filter(|(_, node)| node["state"] == "RUNNING").count()
}

/// The settings of an agent that listens at a port, and connects to a controller unless the host is none.
fn agent_script(host: &str, controller: u16, port: u16) -> String {
    format!(
        "@load policy/frameworks/management/agent
redef Management::Agent::name = \"{AGENT}\";
redef Management::Agent::default_port = {port}/tcp;
redef Management::Agent::controller = [$address=\"{host}\", $bound_port={controller}/tcp];
redef Management::Agent::archive_logs = F;
redef Management::Request::timeout_interval = 60 sec;"
    )
}

#[test]
fn a_deployment_that_needs_an_absent_agent_leaves_the_nodes_of_a_present_one_untouched() {
    let Some(prefix) = installed_zeek() else { return };
    let mut controller = Controller::start(&[NO_METRICS]);
    let address = controller.websocket();
    let reserved = [(); _].map(|()| ReservedPort::new("127.0.0.1"));
    let [port, manager] = reserved.each_ref().map(ReservedPort::port);
    let home = TempDir::with_prefix("live-").expect("a directory can be made");
    let script = agent_script("127.0.0.1", controller.broker().port(), port);
    let zeek = Zeek::start(&prefix, &home, &script);
    wait_for_the_agent(address);
    let node = |name: &str, instance: &str, more: &str| format!("[{name}]\ninstance = {instance}\n{more}\n");
    let manager = format!("role = manager\nport = {manager}");
    let present = node("manager", AGENT, &manager) + &node("worker", AGENT, "role = worker");
    let one = client(address, &["deploy-config", "-"], Some(&present));
    assert_eq!(one["errors"], json!([]));
    let before = client(address, &["get-nodes"], None)["results"].clone();
    for needs_the_absent in [
        // The present one would get other nodes, or be stood down.
        node("manager", AGENT, &manager) + &node("worker", "agent-2", "role = worker"),
        node("worker", "agent-2", "role = worker"),
    ] {
        let outcome = run(address, &["deploy-config", "-"], Some(&needs_the_absent));
        assert_eq!(outcome.exit, 1, "{}", outcome.stdout);
        let answer: Value = serde_json::from_str(&outcome.stdout).expect("zeek-client prints JSON");
        let error = answer["errors"][0].as_str().unwrap_or_default();
        assert!(error.contains("agent-2"), "{answer}");
        assert_eq!(client(address, &["get-nodes"], None)["results"], before);
        let deployed = client(address, &["get-config", "--deployed", "--as-json"], None);
        assert_eq!(deployed["id"], one["results"]["id"]);
    }
    drop(zeek);
    controller.stop();
}
