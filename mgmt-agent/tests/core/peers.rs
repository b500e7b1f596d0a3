//! Transcripts of the agent with its peers and its Supervisor, as the daemon drives it. What goes in and comes out goes through the JSON
//! of a journal on its way.
//!
//! ```text
//! > peer s is the Supervisor             a peering
//! > peer c, or
//! > peer c is ours                     of a controller of this project
//! > peer c with {"roles": [...]}       of one that may this, where roles are set
//! > lost c REASON                        its end,
//! > silent n REASON                      or that of a peer that says nothing any more
//! > c TOPIC EVENT {...}                  what a peer says
//! > c TOPIC no event
//! > version zeek version 7.0.1           what the installed Zeek says that it is
//! > after 60s c TOPIC EVENT {...}        an input, before which time passes without a tick
//! > stopping                             the end
//! < INFO (r1) rx ...                     a log line with the request that it is about,
//! < publish c TOPIC EVENT {...}          an event, to one peer alone if it is named,
//! < refused ...
//! ```
//!
//! The rest is as in [`crate::transcript`] and [`crate::supervisor`].

use broker_codec::Data;
use mgmt_agent::{
    core,
    machine::{BrokerAgent, Input, Settings},
    supervisors::zeek::News,
};
use mgmt_api::{Now, Principal, SequentialIds, Transport, access::Grant};
use mgmt_daemon::machine::Machine as _;
use serde::{Serialize, de::DeserializeOwned};
use testkit::transcript::{Machine, json, peer_id, time_passes, words};

use crate::{
    supervisor::{event, print},
    transcript::settings,
};

pub(crate) struct Run {
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
        let changes = line.strip_prefix("zeek ").expect("settings for Zeek");
        let mut settings = settings();
        testkit::transcript::change(&mut settings.zeek, changes);
        *self = Self::new(settings);
    }

    fn input(&mut self, text: &str, out: &mut String) {
        let input = journaled(&self.parse(text));
        for action in self.agent.step(self.now, input) {
            print(&journaled(&action), out);
        }
    }
}

fn journaled<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> T {
    let read = json(&serde_json::to_string(value).unwrap());
    assert_eq!(read, *value);
    read
}

impl Run {
    fn new(settings: Settings) -> Self {
        Self {
            agent: BrokerAgent::new(settings, Box::new(SequentialIds::default())),
            now: Now::START,
        }
    }

    fn parse(&mut self, text: &str) -> Input {
        if let Some(time) = time_passes(text) {
            self.now = self.now + time;
            return Input::Agent(core::Input::Tick);
        }
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "peer" => {
                let (peer, grant) = match rest.split_once(" with ") {
                    Some((peer, grant)) => (peer, Some(json(grant))),
                    None => (rest, None),
                };
                let id = peer_id(&peer[..1]);
                let principal = grant.map(|grant: Grant| Principal {
                    transport: Transport::Broker { peer: id },
                    grant: Some(grant),
                    ..testkit::client(0)
                });
                Input::PeerAdded {
                    peer: id,
                    address: "127.0.0.1:1".into(),
                    is_supervisor: peer.ends_with("is the Supervisor"),
                    is_ours: peer.ends_with("is ours"),
                    principal: principal.map(Box::new),
                }
            }
            "lost" | "silent" => {
                let [peer, reason] = words(rest).map(str::to_owned);
                let peer = peer_id(&peer);
                if word == "lost" {
                    Input::PeerLost { peer, reason }
                } else {
                    Input::PeerSilent { peer, reason }
                }
            }
            "version" => Input::Supervisor(News::Version(Some(rest.into()))),
            "after" => {
                let [time, input] = words(rest);
                self.now = self.now + time_passes(&format!("+{time}")).unwrap();
                self.parse(input)
            }
            "unknown-version" => Input::Supervisor(News::Version(None)),
            "stopping" => Input::Agent(core::Input::Stopping { without_nodes: true }),
            peer => {
                let [topic, name, fields] = words(rest);
                Input::Message {
                    peer: peer_id(peer),
                    topic: topic.into(),
                    data: if name == "no" {
                        Data::Count(1)
                    } else {
                        event(name, fields).into_data()
                    },
                }
            }
        }
    }
}
