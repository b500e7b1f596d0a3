//! The extension ([`mgmt_api::link`]): what controllers of this project ask for.

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    LinkMessage, OperatorRequest, Principal,
    link::{LAUNCH, PLAN, PREPARE, TRIAL, other_version, to_json},
    operator::{HISTORY, NotDone, NotDoneKind, OUTPUTS, START, STATUS, STOP},
};
use serde::Serialize;

use super::{
    access,
    action::{Action, Turn},
    agent::Agent,
    pending::Asker,
    settings::Supervise,
};

impl Agent {
    /// What controllers can ask for.
    pub(super) const fn features(&self) -> &'static [&'static str] {
        match self.settings.supervise {
            Supervise::Zeek => &[PREPARE, STATUS, OUTPUTS, HISTORY],
            Supervise::Systemd | Supervise::Native => &[
                PREPARE, LAUNCH, PLAN, STATUS, OUTPUTS, HISTORY, STOP, START, TRIAL,
            ],
        }
    }

    /// Takes a controller's message in.
    pub(super) fn link(
        &mut self,
        turn: &mut Turn,
        peer: EndpointId,
        message: LinkMessage,
        principal: Option<&Principal>,
    ) {
        if let LinkMessage::Request { reqid, .. } = &message
            && let Err(refusal) = access::check_controller(principal)
        {
            turn.warning(format!("refusing request {reqid}: {}", refusal.reason));
            return reply(turn, peer, reqid.clone(), false, &refusal);
        }
        match message {
            LinkMessage::Announce { version, features } => {
                if let Some(other) = other_version(version) {
                    turn.info(format!("controller {peer} {other}"));
                }
                // One that may not give orders is none to obey.
                let may = access::check_controller(principal).is_ok();
                self.controller_announced(turn, peer, if may { &features } else { &[] });
            }
            LinkMessage::Request { reqid, kind, json } if kind == *PREPARE => {
                let refusal = if let Some(reason) = self.refusal(turn, peer) {
                    Some(NotDone::new(NotDoneKind::Conflict, reason))
                } else {
                    let begun = self.prepare(turn, peer, &reqid, &json);
                    begun
                        .err()
                        .map(|reason| NotDone::new(NotDoneKind::Unavailable, reason))
                };
                if let Some(refusal) = refusal {
                    refuse(turn, peer, reqid, &refusal);
                }
            }
            LinkMessage::Request { reqid, kind, json } if kind == *TRIAL && self.keeps_nodes() => {
                let refusal = match self.refusal(turn, peer) {
                    Some(reason) => Some(NotDone::new(NotDoneKind::Conflict, reason)),
                    None => self
                        .trial_announced(turn, peer, reqid.clone(), &json)
                        .err()
                        .map(|error| NotDone::new(NotDoneKind::Malformed, error.to_string())),
                };
                if let Some(refusal) = refusal {
                    refuse(turn, peer, reqid, &refusal);
                }
            }
            LinkMessage::Request { reqid, kind, json } => {
                let refusal = match OperatorRequest::read(&kind, &json) {
                    Some(Ok(request)) => {
                        let changes = matches!(request, OperatorRequest::Stop(_) | OperatorRequest::Start(_));
                        if let Some(reason) = changes.then(|| self.refusal(turn, peer)).flatten() {
                            let refusal = NotDone::new(NotDoneKind::Conflict, reason);
                            return refuse(turn, peer, reqid, &refusal);
                        }
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
