//! The agent's transcripts.
//!
//! ```text
//! assume seed                  what silent controllers are taken to speak
//! > start                      agent `a` starts
//! > peer s is the Supervisor   a peering
//! > peer c
//! > lost c
//! > c TOPIC EVENT              what a peer says; lines that begin with `>  ` continue it
//! < TOPIC EVENT                what is published,
//! < c TOPIC EVENT              or sent to one peer
//! < refused ...
//! ```

use std::{fmt::Write as _, time::Duration};

use mgmt_agent::{
    core,
    machine::{Action, BrokerAgent, Input, Settings},
};
use mgmt_api::{Level, Now, SequentialIds, SupervisorLayout};
use mgmt_daemon::machine::Machine as _;
use testkit::transcript::{Machine, check_all, letter, peer_id, time_passes};

use super::notation;
use crate::support::workspace_root;

#[test]
fn transcripts() {
    let folder = workspace_root().join("tests/transcripts/dialects/agent");
    check_all::<Run>(folder, 4);
}

fn settings() -> Settings {
    let mut settings = Settings {
        name: "a".into(),
        state_dir: "/state".into(),
        ..Settings::default()
    };
    settings.zeek.configured = Some(SupervisorLayout::V7_0);
    settings
}

struct Run {
    agent: BrokerAgent,
    now: Now,
}

impl Default for Run {
    fn default() -> Self {
        Self::new(settings())
    }
}

impl Machine for Run {
    fn prepare(&mut self, line: &str) {
        let dialect = line.strip_prefix("assume ").expect("assume a dialect");
        *self = Self::new(Settings {
            controller_api: dialect.parse().expect("a dialect"),
            ..settings()
        });
    }

    fn input(&mut self, line: &str, out: &mut String) {
        let input = self.parse(line);
        for action in self.agent.step(self.now, input) {
            match action {
                Action::Publish { to, topic, event } => {
                    let to = to
                        .one()
                        .map(|peer| format!("{} ", letter(peer)))
                        .unwrap_or_default();
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
}

impl Run {
    fn new(settings: Settings) -> Self {
        Self {
            agent: BrokerAgent::new(settings, Box::new(SequentialIds::default())),
            now: Now::START,
        }
    }

    fn parse(&mut self, line: &str) -> Input {
        if let Some(time) = time_passes(line) {
            self.now = self.now + time;
            return Input::Agent(core::Input::Tick);
        }
        if line == "start" {
            return Input::Agent(core::Input::Started {
                broker_id: peer_id("a").to_string().into(),
                pid: 99,
                clock: Duration::ZERO,
            });
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
                    principal: None,
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
