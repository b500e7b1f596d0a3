use broker_codec::{
    Data,
    data::{Table, to_data},
};
use mgmt_api::{NodeConfig, NodeOutputs, SupervisedNode, SupervisorStatus};
use proptest::{collection::vec, prelude::*};
use std::collections::{BTreeSet, VecDeque};
use testkit::transcript::{json, variant};

use super::*;

fn at(seconds: f64) -> Now {
    Now::from_start(Duration::from_secs_f64(seconds))
}

fn connected(settings: Settings) -> ZeekSupervisor {
    let mut supervisor = ZeekSupervisor::new(settings);
    let actions = supervisor.step(Now::START, Input::Connected);
    assert_eq!(actions, [Action::Report(Report::Ready)]);
    supervisor
}

fn status(id: &str) -> Input {
    Input::Command(Command::Status { id: id.into() })
}

fn create(id: &str) -> Input {
    let node = NodeConfig {
        name: "worker".into(),
        ..NodeConfig::default()
    };
    Input::Command(Command::Create {
        id: id.into(),
        node: Box::new(node),
    })
}

fn response(response: &SupervisorResponse) -> Input {
    Input::Event(Event::of(response).unwrap())
}

/// A Supervisor of Zeek 6.0 that has an agent of Zeek's.
fn status_of_zeek_6(id: &str) -> Input {
    let strings = |texts: &[&str]| texts.iter().map(|text| Data::String((*text).into())).collect();
    let table = |entries: Vec<(Data, Data)>| Data::Table(Table::try_from(entries).unwrap());
    let config = vec![
        Data::String("agent".into()),
        Data::None,
        Data::None,
        Data::String("/d".into()),
        Data::None,
        Data::None,
        Data::Boolean(true),
        Data::Vector(strings(&["main.zeek"])),
        Data::Vector(Vec::new()),
        Data::Vector(Vec::new()),
        table(Vec::new()),
        Data::None,
        table(Vec::new()),
    ];
    let node = Data::Vector(vec![Data::Vector(config), Data::Integer(7)]);
    let nodes = table(vec![(Data::String("agent".into()), node)]);
    Input::Event(Event {
        name: "SupervisorControl::status_response".into(),
        args: vec![Data::String(id.into()), Data::Vector(vec![nodes])],
        metadata: None,
    })
}

fn reports(actions: Vec<Action>) -> Vec<Report> {
    actions
        .into_iter()
        .filter_map(|action| match action {
            Action::Report(report) => Some(report),
            _ => None,
        })
        .collect()
}

fn messages(actions: &[Action]) -> Vec<&str> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Log { message, .. } => Some(message.as_str()),
            _ => None,
        })
        .collect()
}

/// How many elements the node of the published `create_request` has.
fn published_elements(actions: &[Action]) -> Option<usize> {
    actions.iter().find_map(|action| match action {
        Action::Publish { topic, event } => {
            assert_eq!(*topic, "zeek/supervisor");
            match &event.args[1] {
                Data::Vector(config) => Some(config.len()),
                _ => None,
            }
        }
        _ => None,
    })
}

fn failure(id: &str, reason: &str) -> Report {
    Report::Failed {
        id: id.into(),
        reason: reason.into(),
    }
}

#[test]
fn commands_become_requests_and_responses_reports() {
    let mut supervisor = connected(Settings {
        configured: Some(SupervisorLayout::V7_0),
        ..Settings::default()
    });
    let restart = json(r#"{"Restart": {"id": "3", "node": "worker"}}"#);
    let destroy = json(r#"{"Destroy": {"id": "4", "node": "worker"}}"#);
    for (command, message) in [
        (status("1"), "status_request 1 <all>"),
        (create("2"), "create_request 2 worker"),
        (Input::Command(restart), "restart_request 3 worker"),
        (Input::Command(destroy), "destroy_request 4 worker"),
    ] {
        let actions = supervisor.step(at(1.0), command);
        assert_eq!(messages(&actions), [format!("tx SupervisorControl::{message}")]);
        assert_eq!(actions.len(), 2);
    }
    assert_eq!(supervisor.deadline(), Some(at(5.0)));

    let node = SupervisedNode {
        node: NodeConfig::default(),
        pid: Some(7),
    };
    let nodes = [("worker".into(), node)].into();
    let listed = serde_json::to_string(&SupervisorStatus { nodes }).unwrap();
    for (id, name, result, shown, report, outcome) in [
        (
            "1",
            "status",
            &*listed,
            "",
            "Status",
            format!("\"status\": {listed}"),
        ),
        (
            "2",
            "create",
            r#""no""#,
            " no",
            "Created",
            r#""outcome": {"Err": "no"}"#.into(),
        ),
        (
            "3",
            "restart",
            "true",
            " T",
            "Restarted",
            r#""existed": true"#.into(),
        ),
        (
            "4",
            "destroy",
            "false",
            " F",
            "Destroyed",
            r#""existed": false"#.into(),
        ),
    ] {
        let name = format!("SupervisorControl::{name}_response");
        let event: SupervisorResponse =
            variant(&name, &format!(r#"{{"reqid": "{id}", "result": {result}}}"#));
        let report: Report = variant(report, &format!(r#"{{"id": "{id}", {outcome}}}"#));
        // A second time it is not an answer to anything.
        for expected in [vec![report], vec![]] {
            let actions = supervisor.step(at(2.0), response(&event));
            assert_eq!(messages(&actions), [format!("rx {name} {id}{shown}")]);
            assert_eq!(reports(actions), expected);
        }
    }
    assert_eq!(supervisor.deadline(), None);
}

#[test]
fn news_are_reported_as_they_come() {
    let mut supervisor = connected(Settings::default());
    let started = response(&json(
        r#"{"SupervisorControl::node_status": {"node": "worker", "pid": 7}}"#,
    ));
    let told = json(r#"{"NodeStarted": {"node": "worker", "pid": 7}}"#);
    assert_eq!(supervisor.step(at(1.0), started), [Action::Report(told)]);
    let (node, outputs) = (ZeekString::from("worker"), NodeOutputs::default());
    let exited = Event::of(&SupervisorMessage::NodeExit {
        node: node.clone(),
        outputs: outputs.clone(),
    });
    let actions = supervisor.step(at(1.0), Input::Event(exited.unwrap()));
    let message = "rx Management::Supervisor::API::notify_node_exit worker";
    assert_eq!(messages(&actions), [message]);
    assert_eq!(reports(actions), [Report::NodeExited { node, outputs }]);
}

#[test]
fn what_the_supervisors_zeek_lacks_is_refused_in_words() {
    let mut supervisor = connected(Settings {
        configured: Some(SupervisorLayout::V5_0),
        ..Settings::default()
    });
    let node = NodeConfig {
        name: "worker".into(),
        pcap_file: Some("trace".into()),
        ..NodeConfig::default()
    };
    let command = Input::Command(Command::Create {
        id: "1".into(),
        node: Box::new(node),
    });
    assert_eq!(
        supervisor.step(at(1.0), command),
        [Action::Report(failure(
            "1",
            "the Supervisor is of Zeek 5.0, which has no pcap_file"
        ))]
    );
}

#[test]
fn another_zeek_that_is_installed_counts_from_then_on() {
    let mut supervisor = connected(Settings {
        installed: Some(SupervisorLayout::V7_0),
        ..Settings::default()
    });
    let installed = Input::Installed(Some(SupervisorLayout::V5_0));
    assert_eq!(supervisor.step(at(1.0), installed), []);
    assert_eq!(
        published_elements(&supervisor.step(at(1.0), create("1"))),
        Some(10)
    );
}

#[test]
fn a_supervisor_that_never_answers_is_told_from_one_that_stops_answering() {
    let mut supervisor = connected(Settings::default());
    let _ = supervisor.step(at(1.0), status("1"));
    assert_eq!(supervisor.step(at(4.9), Input::Tick), []);
    let deaf = "the Supervisor has not answered SupervisorControl::status_request within 4 s, although it is connected: \
                from Zeek 8.1 on it answers only if it loads policy/frameworks/cluster/backend/broker";
    let silence = |reason: &str| Report::Silent {
        reason: reason.into(),
    };
    assert_eq!(
        reports(supervisor.step(at(5.0), Input::Tick)),
        [silence(deaf), failure("1", deaf)]
    );

    // A late answer is none, but shows that there can be answers.
    let late = SupervisorResponse::Status {
        reqid: "1".into(),
        result: SupervisorStatus::default(),
    };
    assert_eq!(
        reports(supervisor.step(at(6.0), response(&late))),
        [Report::Heard]
    );
    let _ = supervisor.step(at(6.0), status("2"));
    let silent = "the Supervisor has not answered SupervisorControl::status_request within 4 s";
    assert_eq!(
        reports(supervisor.step(at(10.0), Input::Tick)),
        [silence(silent), failure("2", silent)]
    );
    assert_eq!(supervisor.deadline(), None);
}

#[test]
fn nothing_is_asked_of_a_supervisor_that_is_not_connected() {
    let mut supervisor = ZeekSupervisor::new(Settings::default());
    let not_connected = "not connected to the Supervisor";
    assert_eq!(
        supervisor.step(Now::START, status("1")),
        [Action::Report(failure("1", not_connected))]
    );
    let gone = Input::Disconnected {
        reason: "connection refused".into(),
    };
    assert_eq!(supervisor.step(Now::START, gone), []);
}

#[test]
fn the_end_of_the_connection_ends_all_commands() {
    let mut supervisor = connected(Settings::default());
    let _ = supervisor.step(at(1.0), status("1"));
    let lost = |reason: &str| Report::Lost {
        reason: reason.into(),
    };
    let gone = Input::Disconnected {
        reason: "connection reset".into(),
    };
    assert_eq!(
        reports(supervisor.step(at(2.0), gone)),
        [lost("connection reset")]
    );
    assert_eq!(supervisor.deadline(), None);
    assert_eq!(
        reports(supervisor.step(at(9.0), Input::Connected)),
        [Report::Ready]
    );
    // A second connection without the end of the first: the Supervisor was restarted in between.
    assert_eq!(
        reports(supervisor.step(at(9.0), Input::Connected)),
        [lost("connected anew"), Report::Ready]
    );
}

#[test]
fn the_layout_is_what_the_supervisor_shows_then_what_is_installed_then_what_is_configured() {
    let settings = |installed, configured| Settings {
        installed,
        configured,
        ..Settings::default()
    };
    let mut supervisor = connected(settings(None, None));
    let unknown = reports(supervisor.step(at(1.0), create("1")));
    assert!(
        matches!(&unknown[..], [Report::Failed { reason, .. }] if reason.starts_with("cannot tell which Zeek")),
        "{unknown:?}"
    );
    assert_eq!(supervisor.deadline(), None);

    let old = Some(SupervisorLayout::V5_0);
    let new = Some(SupervisorLayout::V7_0);
    let mut supervisor = connected(settings(None, old));
    assert_eq!(
        published_elements(&supervisor.step(at(1.0), create("1"))),
        Some(10)
    );
    let mut supervisor = connected(settings(new, old));
    assert_eq!(
        published_elements(&supervisor.step(at(1.0), create("1"))),
        Some(12)
    );

    let _ = supervisor.step(at(1.0), status("2"));
    let shown = reports(supervisor.step(at(1.0), status_of_zeek_6("2")));
    let [Report::Status { status, .. }] = &shown[..] else {
        panic!("{shown:?}")
    };
    let agent = &status.nodes[&ZeekString::from("agent")];
    assert_eq!(agent.node.addl_base_scripts, ["main.zeek"]);
    assert_eq!(
        published_elements(&supervisor.step(at(1.0), create("3"))),
        Some(13)
    );

    // After the next connection it may be another Zeek.
    let _ = supervisor.step(at(2.0), Input::Connected);
    assert_eq!(
        published_elements(&supervisor.step(at(2.0), create("4"))),
        Some(12)
    );
}

#[test]
fn answers_that_cannot_be_read_fail_their_command_and_others_are_only_logged() {
    let mut supervisor = connected(Settings::default());
    let event = |name: &str, args: Vec<Data>| {
        Input::Event(Event {
            name: name.into(),
            args,
            metadata: None,
        })
    };
    let id = || Data::String("1".into());
    let _ = supervisor.step(at(1.0), status("1"));
    let broken = event("SupervisorControl::status_response", vec![id(), Data::Count(1)]);
    let failed = reports(supervisor.step(at(1.0), broken));
    let [Report::Failed { reason, .. }] = &failed[..] else {
        panic!("{failed:?}")
    };
    assert!(
        reason.starts_with("cannot read SupervisorControl::status_response of the Supervisor: "),
        "{reason}"
    );

    let broken = event("SupervisorControl::create_response", vec![id()]);
    let actions = supervisor.step(at(1.0), broken);
    assert!(
        matches!(
            &actions[..],
            [Action::Log {
                level: Level::Warning,
                ..
            }]
        ),
        "{actions:?}"
    );
    let nothing = event("SupervisorControl::node_status", Vec::new());
    let actions = supervisor.step(at(1.0), nothing);
    assert_eq!(messages(&actions).len(), 1);

    // The requests of other agents, and events of no API.
    let request = SupervisorRequest::Status {
        reqid: "other".into(),
        node: ZeekString::default(),
    };
    let request = Event::of(&request).unwrap();
    assert_eq!(supervisor.step(at(1.0), Input::Event(request)), []);
    let hello = event("Cluster::hello", vec![to_data(&1u64).unwrap()]);
    assert_eq!(supervisor.step(at(1.0), hello), []);
}

#[test]
fn a_supervisor_of_ours_that_is_silent_is_asked_and_then_ended() {
    let mut supervisor = ZeekSupervisor::new(Settings {
        patience: Some(Duration::from_secs(8)),
        ..Settings::default()
    });
    assert_eq!(supervisor.step(at(1.0), Input::ProcessStarted), []);
    assert_eq!(
        supervisor.step(at(2.0), Input::Connected),
        [Action::Report(Report::Ready)]
    );
    let question = |number: u32| {
        let request = SupervisorRequest::Status {
            reqid: format!("mgmt-agent-question-{number}").into(),
            node: "mgmt-agent-question".into(),
        };
        // Not in the log: it is no news.
        [Action::Publish {
            topic: "zeek/supervisor".into(),
            event: Event::of(&request).unwrap(),
        }]
    };
    assert_eq!(supervisor.deadline(), Some(at(3.0)));
    assert_eq!(supervisor.step(at(3.0), Input::Tick), question(1));
    let answer = SupervisorResponse::Status {
        reqid: "mgmt-agent-question-1".into(),
        result: SupervisorStatus::default(),
    };
    assert_eq!(supervisor.step(at(4.0), response(&answer)), []);
    assert_eq!(supervisor.deadline(), Some(at(6.0)));
    for (time, number) in [(6.0, 2), (8.0, 3), (10.0, 4)] {
        assert_eq!(supervisor.step(at(time), Input::Tick), question(number));
    }
    let reason = "it has not answered for 8 s; it is ended and started again";
    let given_up = [
        Action::Report(Report::GivenUp {
            reason: reason.into(),
        }),
        Action::EndProcess {
            silence: Duration::from_secs(8),
        },
    ];
    let _ = supervisor.step(at(11.0), status("1"));
    assert_eq!(supervisor.step(at(12.0), Input::Tick), given_up);
    assert_eq!(supervisor.deadline(), None, "the command has ended with it");

    // It is about to end, also if it answers now.
    assert_eq!(supervisor.step(at(13.0), Input::Connected), []);
    assert_eq!(
        reports(supervisor.step(at(13.0), status("2"))),
        [failure("2", "not connected to the Supervisor")]
    );
    let reason = String::from("killed");
    assert_eq!(
        supervisor.step(
            at(14.0),
            Input::ProcessEnded {
                reason: reason.clone()
            }
        ),
        [Action::Report(Report::Lost { reason })]
    );
    assert_eq!(supervisor.step(at(15.0), Input::ProcessStarted), []);
    assert_eq!(
        supervisor.step(at(15.0), Input::Connected),
        [Action::Report(Report::Ready)]
    );
}

#[test]
fn a_supervisor_of_ours_that_cannot_be_connected_to_or_is_deaf_is_ended() {
    let settings = Settings {
        patience: Some(Duration::from_secs(8)),
        ..Settings::default()
    };
    let end = |supervisor: &mut ZeekSupervisor, time| {
        let actions = supervisor.step(at(time), Input::Tick);
        match &actions[..] {
            [
                Action::Report(Report::GivenUp { reason }),
                Action::EndProcess { .. },
            ] => reason.clone(),
            other => panic!("{other:?}"),
        }
    };
    let mut supervisor = ZeekSupervisor::new(settings.clone());
    let _ = supervisor.step(at(0.0), Input::ProcessStarted);
    assert_eq!(
        end(&mut supervisor, 8.0),
        "its process runs, but has not been connected for 8 s; it is ended and started again"
    );
    let mut supervisor = ZeekSupervisor::new(settings);
    let _ = supervisor.step(at(0.0), Input::ProcessStarted);
    let _ = supervisor.step(at(0.0), Input::Connected);
    for time in [2.0, 4.0, 6.0] {
        assert_eq!(supervisor.step(at(time), Input::Tick).len(), 1);
    }
    assert_eq!(
        end(&mut supervisor, 8.0),
        "it has not answered for 8 s, although it is connected: from Zeek 8.1 on it answers only if it loads \
         policy/frameworks/cluster/backend/broker; it is ended and started again"
    );
}

#[test]
fn a_supervisor_that_is_not_ours_is_never_ended() {
    let mut supervisor = connected(Settings::default());
    assert_eq!(supervisor.deadline(), None);
    assert_eq!(supervisor.step(at(1000.0), Input::Tick), []);
}

/// The Supervisor's answer to a request.
fn answer_to(request: &Event, good: bool) -> Input {
    let Data::String(reqid) = request.args[0].clone() else {
        panic!("{request:?} has no id")
    };
    let result = SupervisorStatus::default();
    response(&match request.name.to_string().as_str() {
        "SupervisorControl::status_request" => SupervisorResponse::Status { reqid, result },
        _ => SupervisorResponse::Create {
            reqid,
            result: if good { "" } else { "no" }.into(),
        },
    })
}

proptest! {
    /// Under a process that answers some requests, in any order and more than once, and is restarted at times, also by us.
    #[test]
    fn every_command_ends_once(ops in vec((0..8u8, 0..8usize), 0..80)) {
        let mut supervisor = ZeekSupervisor::new(Settings {
            installed: Some(SupervisorLayout::V7_0),
            patience: Some(Duration::from_secs(6)),
            ..Settings::default()
        });
        let (mut now, mut open, mut asked) = (Now::START, BTreeSet::new(), Vec::new());
        for (number, (kind, which)) in ops.into_iter().chain([(0, 15)]).enumerate() {
            let id = number.to_string();
            let mut inputs = VecDeque::from([match kind {
                0 | 1 => {
                    now = now + Duration::from_secs(which as u64);
                    Input::Tick
                }
                2 => Input::ProcessStarted,
                3 => Input::Connected,
                4 => Input::Disconnected { reason: "gone".into() },
                5 => status(&id),
                6 => create(&id),
                _ => match asked.iter().rev().nth(which) {
                    Some(request) => answer_to(request, which % 2 == 0),
                    None => continue,
                },
            }]);
            while let Some(input) = inputs.pop_front() {
                if let Input::Command(command) = &input {
                    open.insert(command.id().clone());
                }
                for action in supervisor.step(now, input) {
                    match action {
                        Action::Publish { event, .. } => asked.push(event),
                        Action::EndProcess { .. } => {
                            inputs.push_back(Input::ProcessEnded { reason: "killed".into() });
                            inputs.push_back(Input::ProcessStarted);
                        }
                        Action::Report(Report::Lost { .. } | Report::GivenUp { .. }) => open.clear(),
                        Action::Report(
                            Report::Status { id, .. } | Report::Created { id, .. } | Report::Failed { id, .. },
                        ) => assert!(open.remove(&id), "{id} has ended"),
                        Action::Log { .. } | Action::Report(_) => {}
                    }
                }
            }
        }
        prop_assert_eq!(open, BTreeSet::new());
    }
}
