//! WebSocket clients see the requests of others, and the answers to them (W-30). Which of them a client sees that comes or goes at the
//! same time depends on how the server's connections are interleaved.

use std::collections::BTreeMap;

use broker_codec::{data::ZeekString, zeek::Event};

use crate::replay::{
    capture::{Capture, Content},
    message::{event_of_text, reqid},
    recording::Process,
};

/// Where in the capture what happened to clients.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// By client, when its subscription was acknowledged.
    subscribed: BTreeMap<usize, usize>,
    /// By client, when its connection ended.
    left: BTreeMap<usize, usize>,
    /// By id, which client made a request, and when.
    requested: BTreeMap<ZeekString, (usize, usize)>,
    /// By id, when the client that made the request was sent something about it last.
    answered: BTreeMap<ZeekString, usize>,
}

impl Copies {
    pub(super) fn of(capture: &Capture, process: &Process) -> Self {
        let mut copies = Self::default();
        for (position, message) in capture.messages.iter().enumerate() {
            let link = message.connection;
            let Some(known) = process.links.get(&link).filter(|known| known.peer.is_none()) else {
                continue;
            };
            let Content::Text(text) = &message.content else {
                if matches!(message.content, Content::Closed) {
                    copies.left.entry(link).or_insert(position);
                }
                continue;
            };
            let event = event_of_text(text).map(|(_, event)| event);
            match (event.as_ref().and_then(reqid), message.from == known.own) {
                (Some(id), false) => {
                    copies.requested.entry(id.clone()).or_insert((link, position));
                }
                (Some(id), true) if copies.requested.get(id).is_some_and(|(by, _)| *by == link) => {
                    copies.answered.insert(id.clone(), position);
                }
                (None, true) => {
                    copies.subscribed.entry(link).or_insert(position);
                }
                _ => {}
            }
        }
        copies
    }

    /// Whether an event is a copy of which it is not known whether the client should see it.
    pub(super) fn may_see(&self, link: usize, event: &Event) -> bool {
        let Some((id, (by, requested))) = reqid(event).and_then(|id| self.requested.get_key_value(id)) else {
            return false;
        };
        let comes = self
            .subscribed
            .get(&link)
            .is_some_and(|position| position > requested);
        let over = self.answered.get(id).unwrap_or(requested);
        let goes = self.left.get(&link).is_some_and(|position| position < over);
        *by != link && (comes || goes)
    }
}
