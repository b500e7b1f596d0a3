//! The agent's transcripts.
//!
//! ```text
//! assume seed                  what silent controllers are taken to speak
//! > start                      agent `a` starts
//! > peer s is the Supervisor   a peering
//! > peer c
//! > lost c
//! > c TOPIC EVENT              what a peer says; lines that begin with `>  ` continue it
//! > +5s                        time passes
//! < TOPIC EVENT                what is published,
//! < c TOPIC EVENT              or sent to one peer
//! < refused ...
//! ```

use std::{fmt::Write as _, time::Duration};

use broker_codec::EndpointId;
use mgmt_agent::core::broker::{Action, BrokerAgent, Input, Settings};
use mgmt_api::{Level, Now, SequentialIds, SupervisorLayout};

use super::{compare, happenings, notation};

fn check(name: &str) {
    compare(name, |text, out| {
        let mut run = Run::new(&settings());
        happenings(text, out, |line, out| {
            if let Some(dialect) = line.strip_prefix("assume ") {
                let controller_api = dialect.parse().expect("a dialect");
                run = Run::new(&Settings {
                    controller_api,
                    ..settings()
                });
            } else {
                run.happen(line.strip_prefix("> ").expect("something happens"), out);
            }
        });
    });
}

#[test]
fn a_controller_of_zeek_4_2() {
    check("agent_4_2");
}

#[test]
fn a_controller_of_zeek_4_1() {
    check("agent_4_1");
}

#[test]
fn a_controller_of_the_seed_commit() {
    check("agent_seed");
}

#[test]
fn what_is_said_of_a_controller_is_not_said_of_nodes() {
    check("agent_assumed");
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.agent.name = "a".into();
    settings.agent.state_dir = "/state".into();
    settings.supervisor.installed = Some(SupervisorLayout::V7_0);
    settings
}

struct Run {
    agent: BrokerAgent,
    now: Now,
}

impl Run {
    fn new(settings: &Settings) -> Self {
        Self {
            agent: BrokerAgent::new(settings.clone(), Box::new(SequentialIds::default())),
            now: Now::START,
        }
    }

    fn happen(&mut self, line: &str, out: &mut String) {
        let input = self.input(line);
        for action in self.agent.step(self.now, input) {
            match action {
                Action::Publish { to, topic, event } => {
                    let to = to.map(|peer| format!("{} ", name(peer))).unwrap_or_default();
                    writeln!(out, "< {to}{topic} {}", notation::show_event(&event))
                }
                Action::Log {
                    level: Level::Warning | Level::Error,
                    message,
                    ..
                } => writeln!(out, "< WARNING {message}"),
                Action::Refuse { reason, .. } => writeln!(out, "< refused {reason}"),
                Action::Unsendable { event, reason } => panic!("{event}: {reason}"),
                _ => Ok(()),
            }
            .expect("to memory");
        }
    }

    fn input(&mut self, line: &str) -> Input {
        if let Some(seconds) = line.strip_prefix('+') {
            let seconds = seconds.strip_suffix('s').expect("a duration in seconds");
            self.now = self.now + Duration::from_secs_f64(seconds.parse().expect("a number"));
            return Input::Tick;
        }
        if line == "start" {
            return Input::Started {
                broker_id: peer_id("a"),
                pid: 99,
                clock: Duration::ZERO,
            };
        }
        let (who, rest) = line.split_once(' ').expect("more than a word");
        match who {
            "peer" => {
                let (peer, how) = rest.split_once(' ').unwrap_or((rest, ""));
                Input::PeerAdded {
                    peer: peer_id(peer),
                    address: "10.0.0.1:2150".into(),
                    is_supervisor: how == "is the Supervisor",
                    is_ours: false,
                }
            }
            "lost" => Input::PeerLost {
                peer: peer_id(rest),
                reason: "gone".into(),
            },
            _ => {
                let (topic, event) = rest.split_once(' ').expect("a topic and an event");
                Input::Message {
                    peer: peer_id(who),
                    topic: topic.into(),
                    data: notation::event(event).into_data(),
                }
            }
        }
    }
}

/// The peer's letter, sixteen times.
fn peer_id(name: &str) -> EndpointId {
    assert_eq!(name.len(), 1, "{name} is not one letter");
    EndpointId::from_bytes([name.as_bytes()[0]; EndpointId::LEN])
}

fn name(peer: EndpointId) -> String {
    char::from(peer.as_bytes()[0]).to_string()
}
