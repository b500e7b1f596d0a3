//! The peers that are connected and are refused as the agent that they say to be. They may be the agents that instances lack, so all clusters see them.

use std::collections::BTreeMap;

use broker_codec::{
    EndpointId,
    data::{Address, ZeekString},
};

use super::peers::Refusal;

/// Refused peers, each with its latest hello.
#[derive(Debug, Default)]
pub(super) struct Refused(BTreeMap<EndpointId, RefusedHello>);

#[derive(Debug)]
struct RefusedHello {
    name: ZeekString,
    address: Address,
    refusal: Refusal,
}

impl Refused {
    /// A peer is refused. Returns whether it was not before.
    pub(super) fn insert(
        &mut self,
        peer: EndpointId,
        name: &ZeekString,
        address: Address,
        refusal: &Refusal,
    ) -> bool {
        let hello = RefusedHello {
            name: name.clone(),
            address,
            refusal: refusal.clone(),
        };
        self.0.insert(peer, hello).is_none()
    }

    /// A peer is gone, or is believed now.
    pub(super) fn remove(&mut self, peer: EndpointId) {
        self.0.remove(&peer);
    }

    /// Why an agent was refused that may be the one which an instance lacks.
    pub(super) fn in_place_of(&self, name: &ZeekString) -> Option<String> {
        self.0.values().find_map(|hello| {
            let RefusedHello {
                name: other,
                address,
                refusal,
            } = hello;
            match refusal {
                _ if other == name => Some(format!("last refused: {refusal}, from {address}")),
                Refusal::NotItsAgent { grant } if grant.is_agent_of(name) => Some(format!(
                    "last refused: an agent that is called {other}: {refusal}, from {address}"
                )),
                _ => None,
            }
        })
    }

    /// Why others than its agent are refused that say to be that.
    pub(super) fn besides<'a>(
        &'a self,
        name: &'a ZeekString,
        agent: EndpointId,
    ) -> impl Iterator<Item = String> + 'a {
        let others = self.0.iter().filter(move |(peer, _)| **peer != agent);
        let others = others.filter(move |(_, hello)| hello.name == *name);
        others.map(move |(_, RefusedHello { address, refusal, .. })| {
            format!("instance {name}: another agent is refused: {refusal}, from {address}")
        })
    }
}
