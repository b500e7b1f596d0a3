//! The extension ([`mgmt_api::link`]): what controllers of this project ask for.

use broker_codec::EndpointId;
use mgmt_api::{
    LinkMessage,
    link::{NotDone, other_version, to_json},
};

use super::{
    action::{Action, Turn},
    agent::Agent,
};

impl Agent {
    /// Takes a controller's message in.
    pub(super) fn link(turn: &mut Turn, peer: EndpointId, message: LinkMessage) {
        match message {
            LinkMessage::Announce { version, .. } => {
                if let Some(other) = other_version(version) {
                    turn.info(format!("controller {peer} {other}"));
                }
                let message = LinkMessage::announce(&[]);
                turn.push(Action::Link { peer, message });
            }
            LinkMessage::Request { reqid, kind, .. } => {
                let reason = format!("this agent knows no request {kind:.64}").into();
                let json = to_json(&NotDone { reason }).unwrap_or_default();
                let message = LinkMessage::Reply {
                    reqid,
                    ok: false,
                    json,
                };
                turn.push(Action::Link { peer, message });
            }
            LinkMessage::Reply { .. } => turn.debug(format!("ignoring an answer of {peer}")),
        }
    }
}
