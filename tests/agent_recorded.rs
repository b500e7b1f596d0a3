//! Recorded sessions of zeek-client with Zeek's controller and agents, repeated with ours and a stand-in for the Supervisor:
//! exit code, standard output and standard error must be as recorded, with ids and process ids mapped one to one.

use mgmt_api::ClientRequest;
use serde_json::Value;
use zeek_simulator::NodeBehaviour;

use crate::support::{
    cluster::{
        Instance, Plan, Protection, Zeek, ask_until, installation, start_controller, wait_for_running,
    },
    controller::Controller,
    ids::IdMap,
    limit::Limit,
    scenario::{Command, Scenario, Step},
    session,
    zeek_client::ZeekClient,
};

const ZEEK_9_0: &str = "zeek-9.0.0-rc1";

const TIMEOUT: &str = "Management::Request::timeout_interval";

/// Zeek's default port for agents.
const AGENT_PORT: &str = "2151";

/// Where a recorded answer is deliberately different: scenario, number of the command, recorded text, ours, why.
const DIFFERENCES: &[(&str, usize, &str, &str, &str)] = &[(
    "failing-node",
    1,
    "PENDING",
    "CRASHED",
    "DIFFERENCE(node-states): a node that ended by itself is not one that starts",
)];

/// DIFFERENCE(absent-nodes): what cannot be asked because its instance is away is an error each. Which command of which scenario, and
/// what the errors are about.
const ABSENT: &[(&str, usize, &[&str])] = &[
    ("two-instances", 8, &["instance-2"]),
    ("two-instances", 9, &["worker-01", "worker-02"]),
];

#[test]
fn a_session_over_plaintext() {
    repeat("a2c", &Protection::Off);
}

#[test]
fn a_session_over_anonymous_tls() {
    repeat("a2c", &Protection::Anonymous);
}

#[test]
fn a_session_with_certificates() {
    repeat("a2c", &Protection::mutual());
}

#[test]
fn a_session_with_a_supervisor_that_the_agent_starts() {
    let prefix = installation();
    repeat_with(
        "a2c",
        &Protection::Anonymous,
        &Zeek::Started(prefix.path().into()),
    );
}

#[test]
fn an_agent_that_listens_over_plaintext() {
    repeat("c2a", &Protection::Off);
}

#[test]
fn an_agent_that_listens_over_anonymous_tls() {
    repeat("c2a", &Protection::Anonymous);
}

#[test]
fn an_agent_that_listens_with_certificates() {
    repeat("c2a", &Protection::mutual());
}

#[test]
fn two_instances_of_which_one_is_lost_and_returns() {
    repeat("two-instances", &Protection::Anonymous);
}

#[test]
fn a_node_that_cannot_start() {
    repeat("failing-node", &Protection::Anonymous);
}

/// A recorded session, as far as it has got.
struct Session<'a> {
    name: &'a str,
    controller: Controller,
    instances: Vec<Instance<'a>>,
    ids: IdMap,
    commands: usize,
    differences: Vec<String>,
    used: usize,
}

fn repeat(name: &str, protection: &Protection) {
    repeat_with(name, protection, &Zeek::StandIn);
}

pub(crate) fn repeat_with(name: &str, protection: &Protection, zeek: &Zeek) {
    let scenario = Scenario::load(ZEEK_9_0, name);
    // A real Zeek takes a second of a processor to start, and five of them on a busy machine what they get: less than zeek-client's own
    // 20 seconds.
    let (controllers, agents) = match zeek {
        Zeek::StandIn => (None, None),
        _ => (Some(format!("{TIMEOUT}=19sec")), Some(format!("{TIMEOUT}=18sec"))),
    };
    let further: Vec<_> = controllers.iter().map(String::as_str).collect();
    let controller = start_controller(protection, &further);
    let controller_at = (name != "c2a").then(|| controller.broker());
    let instances = scenario.agents().into_iter().map(|agent| {
        let mut plan = Plan::new(agent, controller_at, protection);
        plan.zeek = zeek.clone();
        // An installation's logs are not ours to add to.
        plan.further = vec!["Management::Agent::archive_logs=F".to_owned()];
        plan.further.extend(agents.clone());
        plan.nodes = NodeBehaviour {
            checks_interface: true,
            stderr: recorded_warning(&scenario),
            ..NodeBehaviour::default()
        };
        Instance::start(plan)
    });
    let mut session = Session {
        name,
        instances: instances.collect(),
        controller,
        ids: IdMap::default(),
        commands: 0,
        differences: Vec::new(),
        used: 0,
    };
    for step in &scenario.steps {
        match step {
            Step::Command(command) => session.command(command),
            Step::Note { note } => session.note(note),
        }
    }
    let expected = DIFFERENCES
        .iter()
        .filter(|(scenario, ..)| *scenario == name)
        .count();
    assert_eq!(session.used, expected, "differences that are not there any more");
    assert!(
        session.differences.is_empty(),
        "{name}:\n{}",
        session.differences.join("\n")
    );
    assert!(session.commands > 0);
}

/// The line that every node of Zeek 9.0 writes at its start, if one was recorded.
fn recorded_warning(scenario: &Scenario) -> Option<String> {
    scenario.commands.iter().find_map(|command| {
        let answer: Value = serde_json::from_str(&command.stdout).ok()?;
        let nodes = answer["results"]["nodes"].as_object()?;
        let lines = nodes
            .values()
            .filter_map(|node| node["stderr"].as_str()?.lines().next());
        lines.map(str::to_owned).next()
    })
}

/// The errors in what zeek-client printed, which say of each of these that its instance is not connected.
fn errors_about<'a>(sources: &[&str], printed: &'a str) -> &'a str {
    let answer: Value = serde_json::from_str(printed).unwrap();
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(
        errors.iter().map(|error| &error["source"]).collect::<Vec<_>>(),
        sources
    );
    for error in errors {
        let text = error["error"].as_str().unwrap();
        assert!(
            text.starts_with("instance instance-2 is not connected (since "),
            "{text}"
        );
    }
    let end = "\n  ]";
    let from = printed.find("\"errors\": [").unwrap();
    let to = printed[from..].find(end).unwrap() + end.len();
    &printed[from..from + to]
}

impl Session<'_> {
    fn command(&mut self, recorded: &Command) {
        let number = self.commands;
        self.commands += 1;
        let mut recorded = recorded.with_broker_port(self.controller.broker().port());
        if self.name == "c2a" {
            let port = self.instances[0].listens_at().port().to_string();
            recorded.stdin = recorded.stdin.map(|text| text.replace(AGENT_PORT, &port));
            recorded.stdout = recorded.stdout.replace(AGENT_PORT, &port);
        }
        for (scenario, at, from, to, _why) in DIFFERENCES {
            if (*scenario, *at) == (self.name, number) {
                assert!(recorded.stdout.contains(from), "{}", recorded.stdout);
                recorded.stdout = recorded.stdout.replace(from, to);
                self.used += 1;
            }
        }
        let name = recorded.argv[3..].join(" ");
        let outcome = ZeekClient::repeat(&recorded, self.controller.websocket());
        for (_, _, sources) in ABSENT
            .iter()
            .filter(|(scenario, at, _)| (*scenario, *at) == (self.name, number))
        {
            recorded.stdout = recorded
                .stdout
                .replace("\"errors\": []", errors_about(sources, &outcome.stdout));
            assert_eq!(recorded.exit, 0);
            recorded.exit = 1;
        }
        for (what, recorded, actual) in [
            ("standard output", &recorded.stdout, &outcome.stdout),
            ("standard error", &recorded.stderr, &outcome.stderr),
            ("exit code", &recorded.exit.to_string(), &outcome.exit.to_string()),
        ] {
            if let Err(difference) = self.ids.compare(recorded, actual) {
                self.differences
                    .push(format!("{number} {name}: {what}: {difference}"));
            }
        }
    }

    fn note(&mut self, note: &str) {
        let number = |before: &str, after: &str| -> Option<usize> {
            note.strip_prefix(before)?.strip_suffix(after)?.parse().ok()
        };
        if let Some(count) = number("polled get-instances until ", " connected") {
            for instance in &mut self.instances {
                if instance.agent.is_none() {
                    instance.start_agent();
                    instance.start_supervisor();
                }
            }
            self.wait_for_instances(count);
        } else if let Some(count) = number("polled get-nodes until ", " nodes RUNNING") {
            wait_for_running(&mut self.controller, count);
        } else if let Some(agent) = note
            .strip_prefix("stopped zeek-")
            .and_then(|rest| rest.strip_suffix(" with SIGTERM"))
        {
            let agent = agent.trim_end_matches("-again");
            if let Some(instance) = self
                .instances
                .iter_mut()
                .find(|instance| instance.name() == agent)
            {
                instance.stop();
            }
            if agent != "controller" {
                let left = self
                    .instances
                    .iter()
                    .filter(|instance| instance.agent.is_some())
                    .count();
                self.wait_for_instances_to_leave(left);
            }
        } else {
            panic!("what was this: {note}");
        }
    }

    fn wait_for_instances(&mut self, count: usize) {
        // Each has a name, a host, and no port.
        let there = |answer: &str| answer.matches("\"127.0.0.1\"").count() == count;
        let request = ClientRequest::GetInstances { reqid: "poll".into() };
        ask_until(&mut self.controller, &request, there);
    }

    /// Asks until the answer is good. The controller does not tell of agents that are gone.
    fn wait_for_instances_to_leave(&mut self, left: usize) {
        let mut session = session::Session::open(self.controller.websocket());
        let limit = Limit::new(format_args!("{left} instances to be left"));
        limit.poll(|| (session.instances().len() == left).then_some(()));
    }
}
