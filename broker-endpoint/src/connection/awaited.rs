use broker_codec::{EndpointId, Topic};

/// The subscription that a peer must make which we connect to: one of these topics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Awaited {
    topics: Vec<Topic>,
    /// The peer that has not made it, and how often.
    missed: Option<(EndpointId, u32)>,
}

/// How often a peer is left because its subscription has not come. Then it has lost none: it never subscribes, and is taken as it is.
const ATTEMPTS_MAX: u32 = 3;

impl Awaited {
    pub(crate) fn new(topics: Vec<Topic>) -> Self {
        Self { topics, missed: None }
    }

    /// What is awaited of this peer.
    pub(super) fn of(&self, peer: EndpointId) -> &[Topic] {
        match self.missed {
            Some((missed, ATTEMPTS_MAX..)) if missed == peer => &[],
            _ => &self.topics,
        }
    }

    /// The peer has not made it.
    pub(crate) fn note_missed(&mut self, peer: EndpointId) {
        let before = self.missed.filter(|(missed, _)| *missed == peer);
        self.missed = Some((peer, before.map_or(1, |(_, times)| times + 1)));
    }
}
