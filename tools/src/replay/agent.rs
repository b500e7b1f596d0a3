//! Our agent: its core with the Supervisor's machine.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use broker_codec::{EndpointId, Recipients, data::Port};
use mgmt_agent::{
    core::{self, To},
    machine::{Action, BrokerAgent, Input, Settings},
};
use mgmt_api::{Level, Now, SequentialIds, topics};
use mgmt_daemon::machine::Machine;

use super::{
    in_process::{Around, Daemon, Heard, Hearing, InProcess},
    recording::{AgentTraits, Process},
};
use crate::tcp::Speaker;

/// An agent with the settings that the recorded one of this instance had.
pub(super) fn in_process(
    process: &Arc<Process>,
    instance: &str,
    traits: AgentTraits,
    hearing: Hearing,
) -> InProcess<BrokerAgent> {
    let mut settings = Settings {
        controller_api: process.dialect,
        ..Settings::default()
    };
    settings.zeek.configured = traits.layout;
    settings.name = instance.into();
    settings.connecting = traits.connecting;
    settings.node_env = traits.node_env;
    if let Some(listen) = traits.listen {
        settings.listen_port = Port::tcp(listen.port());
    }
    if let Some(directory) = traits.state_dir {
        settings.state_dir = directory.into();
    }
    let agent = BrokerAgent::new(settings, Box::new(SequentialIds::default()));
    let started = Input::Agent(core::Input::Started {
        broker_id: process.id.to_string().into(),
        pid: traits.pid,
        clock: Duration::ZERO,
    });
    InProcess::new(Arc::clone(process), hearing, agent, |agent, around| {
        step(agent, around, started);
    })
}

impl Daemon for BrokerAgent {
    fn deadline(&self) -> Option<Now> {
        Machine::deadline(self)
    }

    fn hear(&mut self, around: &mut Around, heard: Heard<'_>) {
        let input = match heard {
            Heard::Tick => Input::Agent(core::Input::Tick),
            Heard::Stopping { without_nodes } => Input::Agent(core::Input::Stopping { without_nodes }),
            Heard::Added { link, peer } => Input::PeerAdded {
                peer,
                address: link.map_or_else(
                    || "nowhere".into(),
                    |link| link.addresses.of(link.own.other()).to_string(),
                ),
                is_supervisor: link.is_some_and(|link| link.own == Speaker::Client && link.is_supervisor),
                is_ours: link.is_some_and(|link| {
                    let mut filter = link.peer_filter.iter();
                    filter.any(|topic| topic.as_bytes() == topics::LINK.as_bytes())
                }),
                principal: None,
            },
            Heard::Lost { peer } => Input::PeerLost {
                peer,
                reason: "connection closed by the peer".into(),
            },
            Heard::Message { peer, topic, data } => Input::Message { peer, topic, data },
            // An agent has none.
            Heard::ClientAdded { .. } | Heard::ClientSays { .. } | Heard::ClientLost { .. } => return,
        };
        step(self, around, input);
    }

    fn connects_to(&self, _address: SocketAddr) -> bool {
        true
    }
}

fn step(agent: &mut BrokerAgent, around: &mut Around, input: Input) {
    let input = around.journaled(input);
    for action in agent.step(around.now, input) {
        match around.journaled(action) {
            Action::Log {
                level: Level::Debug, ..
            }
            | Action::Report { .. }
            | Action::MakeDirectory { .. }
            | Action::RunArchiver { .. }
            // The machine has made events of these.
            | Action::Tell(_)
            | Action::TellOne { .. }
            | Action::Ask(_)
            | Action::AskLinked(_)
            | Action::Link { .. }
            | Action::Prepare { .. }
            // No operator asks.
            | Action::Answer { .. }
            | Action::Vitals { .. }
            | Action::Supervise(_)
            | Action::Nodes(_)
            | Action::Remember(_)
            // No recorded agent had started its Supervisor.
            | Action::EndSupervisor { .. }
            | Action::AskVersion
            // What the recorded agent heard and had no handler for.
            | Action::Refuse { .. } => {}
            Action::Log { message, .. } => around.sent.log.push(message),
            Action::Publish { to, topic, event } => {
                let (receiver, among) = match to {
                    To::One(peer) => (peer, Recipients::all()),
                    To::Subscribers { except } => (EndpointId::NIL, Recipients::Except(except)),
                };
                around.publish(&topic, &event.native().into_data(), receiver, &among);
            }
            Action::Unsendable { event, reason } => around.complain(format!("cannot send {event}: {reason}")),
        }
    }
}
