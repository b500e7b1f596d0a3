//! The extension ([`mgmt_api::link`]): what controllers of this project ask for.

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    LinkMessage,
    link::{LAUNCH, NotDone, PREPARE, START, STOP, from_json, other_version, to_json},
};
use serde::Serialize;

use super::{
    action::{Action, Turn},
    agent::Agent,
    settings::Supervise,
};

impl Agent {
    /// Takes a controller's message in.
    pub(super) fn link(&mut self, turn: &mut Turn, peer: EndpointId, message: LinkMessage) {
        match message {
            LinkMessage::Announce { version, .. } => {
                if let Some(other) = other_version(version) {
                    turn.info(format!("controller {peer} {other}"));
                }
                let features: &[&str] = match self.settings.supervise {
                    Supervise::Zeek => &[PREPARE],
                    Supervise::Systemd | Supervise::Native => &[PREPARE, LAUNCH, STOP, START],
                };
                let message = LinkMessage::announce(features);
                turn.push(Action::Link { peer, message });
            }
            LinkMessage::Request { reqid, kind, json } if kind == *PREPARE => {
                if let Err(reason) = self.prepare(turn, peer, &reqid, &json) {
                    refuse(turn, peer, reqid, reason);
                }
            }
            LinkMessage::Request { reqid, kind, json } if kind == *STOP || kind == *START => {
                let outcome = from_json(&json)
                    .map_err(|error| error.to_string())
                    .and_then(|which| {
                        if kind == *STOP {
                            self.stop_nodes(turn, &which)
                        } else {
                            self.start_nodes(turn, &which)
                        }
                    });
                match outcome {
                    Ok(changed) => reply(turn, peer, reqid, true, &changed),
                    Err(reason) => refuse(turn, peer, reqid, reason),
                }
            }
            LinkMessage::Request { reqid, kind, .. } => {
                let kind = kind.excerpt(64);
                refuse(turn, peer, reqid, format!("this agent knows no request {kind}"));
            }
            LinkMessage::Reply { .. } => turn.debug(format!("ignoring an answer of {peer}")),
        }
    }
}

fn refuse(turn: &mut Turn, peer: EndpointId, reqid: ZeekString, reason: String) {
    turn.debug(format!("refusing a request of controller {peer}: {reason}"));
    let reason = reason.into();
    reply(turn, peer, reqid, false, &NotDone { reason });
}

/// Answers a request.
pub(super) fn reply(turn: &mut Turn, peer: EndpointId, reqid: ZeekString, ok: bool, answer: &impl Serialize) {
    let message = match to_json(answer) {
        Ok(json) => Action::Link {
            peer,
            message: LinkMessage::Reply { reqid, ok, json },
        },
        Err(error) => Action::Unsendable {
            event: "MgmtLink::reply".into(),
            reason: error.to_string(),
        },
    };
    turn.push(message);
}
