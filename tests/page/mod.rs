//! The status page, of a controller with a cluster of stand-ins: what it shows and to whom; and in a browser, that it refreshes itself and can be used.

mod browser;
mod discovered;
mod driven;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use rustix::process::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::ReservedPort;
use zeek_simulator::{NODE_VARIABLE, NodeBehaviour};

use crate::support::{
    cluster::{Instance, Plan, Protection, Zeek, agent_binary},
    cluster_file::always_dies,
    controller::Controller,
    home,
    http::assert_problem,
    limit::Limit,
    mgmtctl,
};

const SENSOR: &str = "sensor";

/// A controller with an HTTP port, and one sensor.
struct World {
    home: Arc<TempDir>,
    controller: Controller,
    /// Ends before the controller does.
    instance: Instance<'static>,
    /// Where the manager listens, and two more as it forwards for `ZeroMQ`.
    ports: [ReservedPort; 3],
}

impl World {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// With further arguments of the agent's.
    fn start_with(further: &[&str]) -> Self {
        const ANONYMOUS: &Protection = &Protection::Anonymous;
        let _built = (agent_binary(), mgmtctl::binary());
        let home = home();
        let settings = [
            "--http-listen",
            "127.0.0.1:0",
            "Management::connect_retry=50msec",
            "Management::Controller::auto_assign_metrics_ports=F",
        ];
        let controller = Controller::start_in(&home, &settings);
        let mut plan = Plan::new(SENSOR, Some(controller.broker()), ANONYMOUS);
        plan.zeek = Zeek::Kept;
        plan.further = further.iter().map(|&argument| argument.into()).collect();
        Self {
            home,
            controller,
            instance: Instance::start(plan),
            ports: ReservedPort::for_manager("127.0.0.1"),
        }
    }

    fn directory(&self) -> PathBuf {
        self.controller.working_dir("controller")
    }

    fn address(&self) -> SocketAddr {
        self.controller.daemon.listens("http")
    }

    #[track_caller]
    fn mgmtctl(&self, arguments: &[&str]) -> String {
        mgmtctl::ask(&self.directory(), arguments).printed().to_owned()
    }

    fn token(&self, name: &str, further: &[&str]) -> String {
        self.mgmtctl(&[&["token", "create", name], further].concat())
            .trim_end()
            .to_owned()
    }

    /// Writes a configuration of a manager and these workers, each with how it behaves, and says where.
    fn configuration(&self, workers: &[(&str, NodeBehaviour)]) -> String {
        let worker = |(name, behaviour): &(&str, NodeBehaviour)| {
            let env = json!({ NODE_VARIABLE: json!(behaviour).to_string() });
            json!({ "name": name, "instance": SENSOR, "role": "worker", "interface": "lo", "env": env })
        };
        self.write(workers.iter().map(worker).collect())
    }

    /// Writes a configuration of a manager and these nodes, and says where.
    fn write(&self, mut nodes: Vec<Value>) -> String {
        nodes.push(
            json!({ "name": "manager", "instance": SENSOR, "role": "manager", "port": self.ports[0].port() }),
        );
        let config = json!({ "instances": [{ "name": SENSOR }], "nodes": nodes });
        let file = self.home.path().join("cluster.json");
        fs::write(&file, config.to_string()).expect("it can be written");
        file.display().to_string()
    }

    /// Deploys a manager and two workers, which come up.
    fn deploy(&self) {
        let well = NodeBehaviour::default;
        let file = self.configuration(&[("worker-1", well()), ("worker-2", well())]);
        self.mgmtctl(&["deploy", &file, "--yes"]);
    }

    /// The process of a node that runs.
    fn pid(&self, node: &str) -> Pid {
        Limit::new(format_args!("{node} to run")).poll(|| {
            let status = mgmtctl::ask(&self.directory(), &["status", "--json"]);
            let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
            let mut nodes = status["instances"][0]["nodes"].as_array()?.iter();
            let found = nodes.find(|known| known["node"] == node)?;
            let pid = found["pid"].as_i64().filter(|_| found["state"] == "RUNNING")?;
            Pid::from_raw(i32::try_from(pid).ok()?)
        })
    }

    fn send(&self, line: &str, fields: &str) -> String {
        let to = self.address();
        let mut stream = TcpStream::connect(to).expect("it listens");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("a time");
        write!(
            stream,
            "{line} HTTP/1.1\r\nHost: {to}\r\n{fields}Connection: close\r\nContent-Length: 0\r\n\r\n"
        )
        .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    }

    /// The page, as who has this token sees it.
    #[track_caller]
    fn page(&self, path: &str, token: &str) -> String {
        let page = self.send(
            &format!("GET {path}"),
            &format!("Authorization: Bearer {token}\r\n"),
        );
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(
            page.contains("content-type: text/html; charset=utf-8\r\n"),
            "{page}"
        );
        page
    }

    fn stop(mut self) {
        self.instance.stop();
        self.controller.stop();
    }
}

/// What stands between these words for the first time.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text
        .split_once(begin)
        .unwrap_or_else(|| panic!("no {begin}: {text}"));
    rest.split_once(end)
        .unwrap_or_else(|| panic!("no {end}: {text}"))
        .0
}

#[track_caller]
fn assert_shows(page: &str, all: &[&str]) {
    for words in all {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[test]
fn the_page_shows_clusters_nodes_what_is_staged_and_what_failed() {
    let world = World::start();
    let token = world.token("t", &["--role", "read"]);
    assert_shows(
        &world.page("/", &token),
        &[
            "cluster default: nothing is deployed",
            "shown to token t at 127.0.0.1:",
            "instance sensor is connected",
        ],
    );
    world.deploy();
    let page = world.page("/", &token);
    let pid = world.pid("worker-1").as_raw_nonzero().to_string();
    assert_shows(
        &page,
        &[
            "<title>all well: Zeek clusters of controller</title>",
            "all as deployed: 1 of 1 instance connected, 3 nodes (3 RUNNING)",
            &format!("<td>worker</td><td>{pid}</td>"),
            &format!("<td>{}</td>", world.ports[0].port()),
            ">done</strong>",
            "user 0 on the control socket",
            "node worker-1 on instance sensor is RUNNING",
        ],
    );
    assert!(
        !page.contains("Staged, against") && !page.contains("data-running"),
        "{page}"
    );

    // A worker more that dies, first staged.
    let well = NodeBehaviour::default;
    let dies = always_dies("cannot go on: <b>&\u{1b}[31m");
    let file = world.configuration(&[("worker-1", well()), ("worker-2", well()), ("worker-3", dies)]);
    world.mgmtctl(&["config", "stage", &file]);
    assert_shows(
        &world.page("/", &token),
        &[
            "Staged, against what is deployed",
            "<li>node worker-3 is new: ",
            "<li>1 node differs</li>",
        ],
    );
    mgmtctl::ask(&world.directory(), &["deploy", "--yes"]).failed(1, "");
    let page = world.page("/", &token);
    assert_shows(
        &page,
        &[
            "<title>NOT well: ",
            "NOT as deployed (worker-3)",
            "<summary>worker-3 on sensor: <strong",
            r"cannot go on: &lt;b&gt;&amp;\x1b[31m",
            ">failed</strong>",
        ],
    );
    world.stop();
}

#[test]
fn a_browser_runs_nothing_but_the_page_and_loads_nothing_from_elsewhere() {
    let world = World::start();
    let token = world.token("t", &["--role", "read"]);
    let [page, again] = [(); 2].map(|()| world.page("/", &token));
    let nonce = between(&page, "script-src 'nonce-", "'");
    assert_eq!(nonce.len(), 32);
    assert_ne!(nonce, between(&again, "script-src 'nonce-", "'"));
    let policy = format!(
        "content-security-policy: default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'\r\n"
    );
    assert_shows(
        &page,
        &[
            &policy,
            "cache-control: no-store\r\n",
            "x-content-type-options: nosniff\r\n",
            "referrer-policy: no-referrer\r\n",
            &format!("<style nonce=\"{nonce}\">"),
            &format!("<script nonce=\"{nonce}\">"),
        ],
    );
    for elsewhere in ["src=", "http://", "https://", "@import", "url("] {
        assert!(!page.contains(elsewhere), "{elsewhere}: {page}");
    }
    world.stop();
}

#[test]
fn the_page_shows_what_its_reader_may_read() {
    let world = World::start();
    world.deploy();
    let config = r#"{"instances": [{"name": "far", "host": "127.0.0.1", "port": 1}], "nodes": []}"#;
    let file = world.home.path().join("lab.json");
    fs::write(&file, config).expect("it can be written");
    world.mgmtctl(&["--cluster", "lab", "config", "stage", &file.display().to_string()]);
    let [all, lab] = [&["--role", "read"][..], &["--role", "read", "--cluster", "lab"]];
    let (all, lab) = (world.token("all", all), world.token("lab", lab));
    let page = world.page("/", &all);
    assert_shows(
        &page,
        &[
            "<h2 id=\"clusters\">",
            "Cluster default",
            "Cluster lab",
            "instance far is new",
        ],
    );
    let page = world.page("/", &lab);
    assert_shows(&page, &["Cluster lab", "instance far is new"]);
    assert!(
        !page.contains("luster default") && !page.contains("worker-1"),
        "{page}"
    );
    let page = world.page("/?cluster=lab", &all);
    assert_shows(&page, &["Cluster lab", "<a href=\"/\">all clusters</a>"]);
    assert!(!page.contains("worker-1"), "{page}");

    let with = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let refused = world.send("GET /?cluster=default", &with(&lab));
    assert_problem(&refused, 403, "takes the role read in cluster default");
    assert_problem(
        &world.send("GET /?cluster=none", &with(&lab)),
        403,
        "takes the role read",
    );
    assert_problem(
        &world.send("GET /?cluster=none", &with(&all)),
        404,
        "there is no such cluster",
    );
    assert_problem(&world.send("GET /?other=1", &with(&all)), 400, "unknown field");
    assert_problem(
        &world.send("POST /", &with(&world.token("admin", &["--role", "admin"]))),
        405,
        "no such method",
    );
    world.stop();
}
