use broker_codec::{EndpointId, Topic};

/// The subscription that a peer must make which we connect to: one of these topics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Awaited {
    topics: Vec<Topic>,
    /// The peer that has not made it, and how often.
    vain: Option<(EndpointId, u32)>,
}

/// How often a peer is left because its subscription has not come. Then it has lost none: it never subscribes, and is taken as it is.
const VAIN_MAX: u32 = 3;

impl Awaited {
    pub(crate) fn new(topics: Vec<Topic>) -> Self {
        Self { topics, vain: None }
    }

    /// What is awaited of this peer.
    pub(super) fn of(&self, peer: EndpointId) -> &[Topic] {
        match self.vain {
            Some((vain, VAIN_MAX..)) if vain == peer => &[],
            _ => &self.topics,
        }
    }

    /// The peer was awaited in vain.
    pub(crate) fn note_vain(&mut self, peer: EndpointId) {
        let before = self.vain.filter(|(vain, _)| *vain == peer);
        self.vain = Some((peer, before.map_or(1, |(_, times)| times + 1)));
    }
}
