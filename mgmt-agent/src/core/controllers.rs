//! Which controller is obeyed, of those that say who they are.
//!
//! The agent remembers the one that it obeys. As long as that is connected, no other is obeyed. When it is not, the same may come back at
//! once, and one that was restored from its backup takes its place when it has been away for [`AWAY_MIN`]; any other is refused until an
//! operator adopts it. A controller that does not say who it is, as Zeek's, is obeyed unless the remembered one is connected: the way back
//! to Zeek's controller stays open.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use broker_codec::EndpointId;
use mgmt_api::{ControllerId, Now, controller_id::AWAY_MIN};

#[derive(Debug, Default)]
pub(super) struct Controllers {
    /// On disk.
    pub(super) remembered: Option<ControllerId>,
    /// Since when that is not connected, if it is not.
    away_since: Now,
    /// Those that are connected.
    pub(super) known: BTreeMap<EndpointId, Known>,
    /// The one of them that is obeyed: the remembered one.
    pub(super) obeyed: Option<EndpointId>,
    /// Connected ones that have not said who they are, and were obeyed although another is remembered.
    pub(super) strangers: BTreeSet<EndpointId>,
}

#[derive(Debug)]
pub(super) struct Known {
    pub(super) id: ControllerId,
    told: Told,
}

/// What a controller was told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// That no other is obeyed.
    NoOther,
    /// That this one is obeyed.
    Other(ControllerId),
}

impl Controllers {
    /// A controller says who it is, or that it does not.
    pub(super) fn announced(&mut self, now: Now, peer: EndpointId, id: Option<ControllerId>) {
        if self.known.get(&peer).map(|known| &known.id) != id.as_ref() {
            self.lost(now, peer);
        }
        if let Some(id) = id {
            let told = Told::Nothing;
            self.known.insert(peer, Known { id, told });
        }
    }

    pub(super) fn lost(&mut self, now: Now, peer: EndpointId) {
        self.known.remove(&peer);
        self.strangers.remove(&peer);
        if self.obeyed == Some(peer) {
            (self.obeyed, self.away_since) = (None, now);
        }
    }

    /// The connected one that is to be obeyed next: the remembered one, else the one that was restored last.
    pub(super) fn next(&self, now: Now) -> Option<EndpointId> {
        if self.obeyed.is_some() {
            return None;
        }
        let is_away = self.away_since + AWAY_MIN <= now;
        let may = |known: &Known| match &self.remembered {
            None => true,
            Some(remembered) => known.id == *remembered || (is_away && known.id.succeeds(remembered)),
        };
        let mut able: Vec<_> = self.known.iter().filter(|(_, known)| may(known)).collect();
        able.sort_by_key(|(_, known)| (Some(&known.id) == self.remembered.as_ref(), known.id.generation));
        able.last().map(|(peer, _)| **peer)
    }

    /// When one takes the place of the remembered one.
    pub(super) fn deadline(&self) -> Option<Now> {
        let remembered = self.remembered.as_ref().filter(|_| self.obeyed.is_none())?;
        let mut known = self.known.values();
        known
            .any(|known| known.id.succeeds(remembered))
            .then(|| self.away_since + AWAY_MIN)
    }

    /// This one is obeyed from now on. Returns it if it is another than before.
    pub(super) fn obey(&mut self, peer: EndpointId) -> Option<ControllerId> {
        let id = self.known.get(&peer)?.id.clone();
        self.obeyed = Some(peer);
        let is_another = self.remembered.as_ref() != Some(&id);
        self.remembered = Some(id.clone());
        is_another.then_some(id)
    }

    /// Those that are to be told something, whether they were refused before, and which other one is obeyed, if one is.
    pub(super) fn untold(&mut self) -> Vec<(EndpointId, bool, Option<ControllerId>)> {
        let mut untold = Vec::new();
        for (peer, known) in &mut self.known {
            let other = self.remembered.clone().filter(|_| self.obeyed != Some(*peer));
            let told = other.clone().map_or(Told::NoOther, Told::Other);
            if known.told != told {
                let before = mem::replace(&mut known.told, told);
                untold.push((*peer, matches!(before, Told::Other(_)), other));
            }
        }
        untold
    }

    pub(super) fn refused(&self) -> impl Iterator<Item = (EndpointId, &ControllerId)> {
        let others = self.known.iter().filter(|(peer, _)| self.obeyed != Some(**peer));
        others.map(|(peer, known)| (*peer, &known.id))
    }

    /// The controllers that are connected and refused, each in words.
    pub(super) fn refusals(&self) -> impl Iterator<Item = String> {
        let remembered = self.remembered.iter();
        remembered.flat_map(|obeyed| self.refused().map(move |(_, id)| refusal(id, obeyed)))
    }
}

/// That a controller is refused, and why.
pub(super) fn refusal(id: &ControllerId, obeyed: &ControllerId) -> String {
    format!("this agent refuses {id}: {}", id.refused_for(obeyed))
}
