//! News of agents (`notify_change`, `notify_error`, `notify_log`): logged, counted, and shown by the real `zeek-client monitor`.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::Child,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use broker_endpoint::tls::TlsConfig;
use mgmt_api::{AgentMessage, ClusterRole, Node, State, topics};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    agent::{StandIn, Way},
    controller::Controller,
    limit::{Limit, end_of},
    session::Session,
    websocket::Client,
    zeek_client::ZeekClient,
};

const AGENT: &str = "agent-1";

/// What `zeek-client monitor` prints for news: the event that it knows, without its values (zeek-client 1.5.0, `cmd_monitor`).
pub(crate) const SHOWN: &str = "received \"Management::Controller::API::get_nodes_response(\
                     reqid: <class 'zeekclient.brokertypes.String'>, results: <class 'zeekclient.brokertypes.Vector'>)\"";

/// A `zeek-client -vvvv monitor` that runs.
pub(crate) struct Monitor {
    child: Child,
    pub(crate) stdout: Receiver<String>,
    /// With what comes over the WebSocket.
    pub(crate) stderr: Receiver<String>,
}

fn lines(source: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(source).lines() {
            if tell.send(line.expect("zeek-client prints text")).is_err() {
                return;
            }
        }
    });
    lines
}

/// The next line that says something like this.
pub(crate) fn line_about(lines: &Receiver<String>, what: &str) -> String {
    let limit = Limit::new(format_args!("a line about {what}"));
    loop {
        let line = lines.recv_timeout(limit.left());
        let line = line.unwrap_or_else(|error| panic!("nothing about {what}: {error}"));
        if line.contains(what) {
            return line;
        }
    }
}

impl Monitor {
    pub(crate) fn start(release: &str, address: SocketAddr) -> Self {
        let arguments = ["-vvvv", "monitor"].map(str::to_owned);
        let mut child = ZeekClient::release(release).start(address, &arguments, false);
        Self {
            stdout: lines(child.stdout.take().expect("it is piped")),
            stderr: lines(child.stderr.take().expect("it is piped")),
            child,
        }
    }

    /// Has an agent say something until the monitor, which may still be connecting, shows a line.
    fn show(&self, say: impl Fn()) -> String {
        const ATTEMPTS: u32 = 600;
        for _ in 0..ATTEMPTS {
            say();
            match self.stdout.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => return line,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        panic!("zeek-client monitor shows nothing")
    }

    /// As an operator ends it.
    pub(crate) fn interrupt(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        end_of(&mut self.child, "zeek-client monitor");
    }
}

fn error(number: u32) -> AgentMessage {
    AgentMessage::Error {
        instance: AGENT.into(),
        msg: format!("error {number}").into(),
        node: "worker".into(),
    }
}

#[test]
fn news_of_agents_are_logged_counted_and_shown_by_zeek_client_monitor() {
    let mut controller = Controller::start(&["--name", "controller", "Broker::disable_ssl=T"]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("threads can be started");
    let way = Way::Connect(controller.broker());
    let agent = StandIn::start(&runtime, AGENT, &TlsConfig::Off, way);
    let mut session = Session::open(controller.websocket());
    while session.instances().is_empty() {}
    let mut observer = Client::observing(controller.websocket(), topics::AGENT_PREFIX);
    let monitor = Monitor::start("1.5.0", controller.websocket());

    let shown = monitor.show(|| agent.say(&runtime, &error(0)));
    assert_eq!(shown, SHOWN);
    let change = AgentMessage::Change {
        instance: AGENT.into(),
        n: Node {
            name: "worker".into(),
            instance: AGENT.into(),
            role: ClusterRole::Worker,
            state: State::Crashed,
            p: None,
            scripts: None,
            options: None,
            interface: None,
            cpu_affinity: None,
            env: BTreeMap::new(),
            metrics_port: None,
        },
        old: State::Running,
        new: State::Crashed,
    };
    let log = AgentMessage::Log {
        instance: AGENT.into(),
        msg: "all is well".into(),
        node: "".into(),
    };
    for (said, event, value) in [
        (&error(1), "error", "error 1"),
        (&change, "change", "Management::CRASHED"),
        (&log, "log", "all is well"),
    ] {
        agent.say(&runtime, said);
        let line = line_about(&monitor.stderr, value);
        assert!(
            line.contains(&format!("notify_{event}")) && line.contains(AGENT),
            "{line}"
        );
        // As it is, on the agent's topic.
        observer.text_about(&format!("Management::Agent::API::notify_{event}"));
    }

    // A client that waits for an answer is not confused.
    assert_eq!(session.instances(), [AGENT]);
    monitor.interrupt();
    let remains = controller.stop();
    let [(_, management_log)] = remains.management_logs.as_slice() else {
        panic!("{:?}", remains.management_logs)
    };
    for line in [
        "ERROR\tCONTROLLER\trx Management::Agent::API::notify_error agent-1 worker: error 1",
        "INFO\tCONTROLLER\trx Management::Agent::API::notify_change agent-1 worker RUNNING CRASHED",
        "INFO\tCONTROLLER\trx Management::Agent::API::notify_log agent-1 all is well",
    ] {
        assert!(management_log.contains(line), "{line}: {management_log}");
    }
    for counted in ["agent_changes: 1", "agent_logs: 1"] {
        assert!(remains.stderr.contains(counted), "{counted}: {}", remains.stderr);
    }
}
