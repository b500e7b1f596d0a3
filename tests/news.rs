//! News of agents (`notify_change`, `notify_error`, `notify_log`): logged, counted, and passed on to those who subscribe to it. The real
//! zeek-client, which does not, hears what it hears from Zeek.

use std::{
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
    agent::StandIn,
    controller::Controller,
    limit::{Limit, end_of},
    session::Session,
    websocket::{Client, request},
    zeek_client::ZeekClient,
};

const AGENT: &str = "agent-1";

/// zeek-client's, as far as they speak WebSocket.
const RELEASES: [&str; 4] = ["1.2.0", "1.3.1", "1.4.0", "1.5.0"];

/// What `zeek-client monitor` prints of an event that it knows (`cmd_monitor`).
fn shown(event: &str) -> String {
    format!("received \"Management::Controller::API::{event}")
}

/// A `zeek-client -vvvv monitor` that runs.
struct Monitor {
    child: Child,
    stdout: Receiver<String>,
    /// With what comes over the WebSocket.
    stderr: Receiver<String>,
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

impl Monitor {
    fn start(release: &str, address: SocketAddr) -> Self {
        let arguments = ["-vvvv", "monitor"];
        let mut child = ZeekClient::release(release).start(address, &arguments, false);
        Self {
            stdout: lines(child.stdout.take().expect("it is piped")),
            stderr: lines(child.stderr.take().expect("it is piped")),
            child,
        }
    }

    /// Asks until the monitor, which may still be connecting, shows the answer.
    fn listens(&self, session: &mut Session) {
        let limit = Limit::new("zeek-client monitor to show something");
        loop {
            session.instances();
            match self
                .stdout
                .recv_timeout(limit.left().min(Duration::from_millis(100)))
            {
                Ok(line) => {
                    assert!(line.starts_with(&shown("get_instances_re")), "{line}");
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("zeek-client monitor has ended"),
            }
        }
    }

    /// As an operator ends it. Returns what it has written to standard error.
    fn interrupt(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        end_of(&mut self.child, "zeek-client monitor");
        self.stderr.iter().collect::<Vec<_>>().join("\n")
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
fn news_of_agents_are_logged_counted_and_passed_on_to_those_alone_who_subscribe_to_them() {
    let mut controller = Controller::start(&["Broker::disable_ssl=T"]);
    let (agent, mut session) = StandIn::known_to(&mut controller, AGENT, &TlsConfig::Off);
    let mut observer = Client::observing(controller.websocket());
    let monitors = RELEASES.map(|release| Monitor::start(release, controller.websocket()));
    for monitor in &monitors {
        monitor.listens(&mut session);
    }
    // As a script does that takes the next message for the answer.
    let mut script = Client::subscribed(controller.websocket());
    let change = AgentMessage::Change {
        instance: AGENT.into(),
        n: Node {
            state: State::Crashed,
            ..Node::new("worker", AGENT, ClusterRole::Worker)
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
        agent.say(said);
        let text = observer.text_about(&format!("Management::Agent::API::notify_{event}"));
        assert!(text.contains(topics::NEWS) && text.contains(value), "{text}");
    }

    let staged = r#"{"@data-type":"boolean","data":false}"#;
    script.send_text(&request("get_configuration_request", "r", &[staged]));
    let answer = script.text();
    assert!(answer.contains("get_configuration_response"), "{answer}");
    for monitor in monitors {
        let answer = shown("get_configuration_response");
        let limit = Limit::new("zeek-client monitor to show the answer");
        loop {
            let line = monitor.stdout.recv_timeout(limit.left()).expect("it is shown");
            if line.starts_with(&answer) {
                break;
            }
            // What others ask, they are answered.
            let expected = ["get_instances_re", "get_configuration_request"];
            assert!(
                expected.iter().any(|event| line.starts_with(&shown(event))),
                "{line}"
            );
        }
        let stderr = monitor.interrupt();
        assert!(!stderr.contains("notify_"), "{stderr}");
    }
    let remains = controller.stop();
    let management_log = remains.management_log();
    for line in [
        "ERROR\tCONTROLLER\trx Management::Agent::API::notify_error agent-1 worker: error 1",
        "INFO\tCONTROLLER\trx Management::Agent::API::notify_change agent-1 worker RUNNING CRASHED",
        "INFO\tCONTROLLER\trx Management::Agent::API::notify_log agent-1 all is well",
    ] {
        assert!(management_log.contains(line), "{line}: {management_log}");
    }
    for counted in ["\"agent_changes\":1", "\"agent_logs\":1"] {
        assert!(remains.stderr.contains(counted), "{counted}: {}", remains.stderr);
    }
}
