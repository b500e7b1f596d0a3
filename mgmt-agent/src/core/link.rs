//! The extension ([`mgmt_api::link`]): what controllers of this project ask for.

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    LinkMessage, OperatorRequest,
    link::{LAUNCH, PREPARE, other_version, to_json},
    operator::{HISTORY, NotDone, NotDoneKind, OUTPUTS, START, STATUS, STOP},
};
use serde::Serialize;

use super::{
    action::{Action, Turn},
    agent::Agent,
    pending::Asker,
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
                    Supervise::Zeek => &[PREPARE, STATUS, OUTPUTS, HISTORY],
                    Supervise::Systemd | Supervise::Native => {
                        &[PREPARE, LAUNCH, STATUS, OUTPUTS, HISTORY, STOP, START]
                    }
                };
                let message = LinkMessage::announce(features);
                turn.push(Action::Link { peer, message });
            }
            LinkMessage::Request { reqid, kind, json } if kind == *PREPARE => {
                if let Err(reason) = self.prepare(turn, peer, &reqid, &json) {
                    refuse(turn, peer, reqid, &NotDone::new(NotDoneKind::Unavailable, reason));
                }
            }
            LinkMessage::Request { reqid, kind, json } => {
                let refusal = match OperatorRequest::read(&kind, &json) {
                    Some(Ok(request)) => {
                        let who = format!("controller {peer}");
                        return self.serve(turn, Asker::Controller { peer, reqid }, &who, &request);
                    }
                    Some(Err(error)) => error.to_string(),
                    None => format!("this agent knows no request {}", kind.excerpt(64)),
                };
                let refusal = NotDone::new(NotDoneKind::Malformed, refusal);
                refuse(turn, peer, reqid, &refusal);
            }
            LinkMessage::Reply { .. } => turn.debug(format!("ignoring an answer of {peer}")),
        }
    }
}

pub(super) fn refuse(turn: &mut Turn, peer: EndpointId, reqid: ZeekString, refusal: &NotDone) {
    turn.debug(format!(
        "refusing a request of controller {peer}: {}",
        refusal.reason
    ));
    reply(turn, peer, reqid, false, refusal);
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
