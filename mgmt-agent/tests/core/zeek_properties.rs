//! What holds when the Supervisor is Zeek's.

use std::{collections::BTreeSet, time::Duration};

use broker_codec::{Data, data::ZeekString, zeek::Event};
use mgmt_agent::{
    core::{Action, Input, Report, Turn, ZeekSettings},
    supervisors::{
        self, Supervisor,
        zeek::{News, ZeekSupervisor},
    },
};
use mgmt_api::{SupervisedNode, SupervisorMessage, SupervisorResponse, SupervisorStatus};
use proptest::{collection::vec, prelude::*};

use crate::properties::{Op, World, names, op};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// The agent on a `zeek -j` process that answers some requests, in any order and more than once, and is restarted at times, also by
    /// us.
    #[test]
    fn every_request_is_answered_and_every_command_ends_once_over_a_zeek_supervisor(ops in vec(op(), 0..80)) {
        let mut world = ZeekWorld::new();
        for op in ops {
            match op {
                Op::End { command, how, nodes } => match world.asked.iter().rev().nth(command) {
                    Some(request) if how > 0 => world.hear(News::Event(answer(request, nodes))),
                    _ => {}
                },
                Op::Told(report) => world.hear(news(report)),
                Op::News(news) => world.hear(news),
                op => {
                    if let Op::Wait(time) = op {
                        world.wait(time);
                    }
                    let input = world.world.input(op);
                    world.step(input);
                }
            }
        }
        world.wait(Duration::from_secs(15));
        world.step(Input::Tick);
        prop_assert_eq!(world.world.observer.open, BTreeSet::new());
        prop_assert_eq!(world.open, BTreeSet::new());
    }
}

/// An agent with a Supervisor's machine, which sees to it that every command ends once.
struct ZeekWorld {
    world: World,
    supervisor: ZeekSupervisor,
    /// What the Supervisor was asked.
    asked: Vec<Event>,
    /// The commands that have not ended.
    open: BTreeSet<ZeekString>,
}

impl ZeekWorld {
    fn new() -> Self {
        let settings = ZeekSettings {
            version: Some("zeek version 7.0".into()),
            supervisor_timeout: Some(Duration::from_secs(6)),
            asks_version: true,
            ..ZeekSettings::default()
        };
        let mut world = Self {
            world: World::new(),
            supervisor: ZeekSupervisor::new(settings),
            asked: Vec::new(),
            open: BTreeSet::new(),
        };
        world.hear(News::ProcessStarted);
        world
    }

    fn wait(&mut self, time: Duration) {
        self.world.now = self.world.now + time;
        self.supervise(supervisors::Input::Tick);
    }

    fn hear(&mut self, news: News) {
        self.supervise(supervisors::Input::News(news));
    }

    fn step(&mut self, input: Input) {
        for command in self.world.step(input) {
            self.open.insert(command.id().clone());
            self.supervise(supervisors::Input::Command(command));
        }
    }

    fn supervise(&mut self, input: supervisors::Input<News>) {
        let mut turn = Turn::new(self.world.now);
        let reports = self.supervisor.step(&mut turn, input);
        for report in reports {
            match &report {
                Report::Lost { .. } | Report::Unresponsive { .. } => self.open.clear(),
                Report::Status { id, .. }
                | Report::Created { id, .. }
                | Report::Restarted { id, .. }
                | Report::Destroyed { id, .. }
                | Report::Failed { id, .. } => assert!(self.open.remove(id), "{report:?} ends nothing"),
                _ => {}
            }
            self.step(Input::Supervisor(report));
        }
        for action in turn.into_actions() {
            match action {
                Action::Publish { event, .. } => self.asked.push(event),
                Action::EndSupervisor { .. } => {
                    let reason = "killed".into();
                    self.hear(News::ProcessEnded { reason });
                    self.hear(News::ProcessStarted);
                }
                _ => {}
            }
        }
        let deadline = self.supervisor.deadline();
        assert!(deadline.is_none_or(|deadline| deadline > self.world.now));
    }
}

/// How Zeek's Supervisor tells something.
fn news(report: Report) -> News {
    let event = match report {
        Report::Ready => return News::Connected,
        Report::Lost { reason } => return News::Disconnected { reason },
        Report::NodeStarted { node, pid, .. } => Event::of(&SupervisorResponse::NodeStatus {
            node,
            pid: pid.unsigned_abs(),
        }),
        Report::NotStarted { node } => Event::of(&SupervisorResponse::NodeStatus { node, pid: u64::MAX }),
        Report::NodeExited { node, outputs } => Event::of(&SupervisorMessage::NodeExit { node, outputs }),
        other => panic!("{other:?}"),
    };
    News::Event(event.unwrap())
}

/// The Supervisor's answer to a request.
fn answer(request: &Event, nodes: u8) -> Event {
    let Data::String(reqid) = request.args[0].clone() else {
        panic!("{request:?} has no id")
    };
    let response = match request.name.as_str().unwrap() {
        "SupervisorControl::status_request" => SupervisorResponse::Status {
            reqid,
            result: status(nodes),
        },
        "SupervisorControl::create_request" => SupervisorResponse::Create {
            reqid,
            result: if nodes == 0 {
                "no".into()
            } else {
                ZeekString::default()
            },
        },
        "SupervisorControl::restart_request" => SupervisorResponse::Restart {
            reqid,
            result: nodes != 0,
        },
        _ => SupervisorResponse::Destroy {
            reqid,
            result: nodes != 0,
        },
    };
    Event::of(&response).unwrap()
}

fn status(nodes: u8) -> SupervisorStatus {
    let nodes = names(nodes).map(|name| {
        let mut node = SupervisedNode {
            node: mgmt_api::NodeConfig::default(),
            pid: Some(7),
        };
        node.node.name = name.clone();
        (name, node)
    });
    SupervisorStatus {
        nodes: nodes.collect(),
    }
}
