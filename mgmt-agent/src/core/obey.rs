//! What the agent does about [controllers](super::controllers): obeys one, and tells the others.

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    Level, LinkMessage,
    link::controller_in,
    operator::{Adopted, NotDone, NotDoneKind},
};

use super::{
    action::{Action, Turn},
    agent::Agent,
    controllers::refusal,
    deploy::report,
};
use crate::Counted;

impl Agent {
    /// A controller of this project has connected, and announces itself.
    pub(super) fn controller_announced(
        &mut self,
        turn: &mut Turn,
        peer: EndpointId,
        features: &[ZeekString],
    ) {
        let id = controller_in(features);
        let says_who = id.is_some();
        self.controllers.announced(turn.now, peer, id);
        if !says_who {
            let message = LinkMessage::announce(self.features());
            turn.push(Action::Link { peer, message });
        }
        self.settle_controllers(turn);
    }

    pub(super) fn controller_lost(&mut self, turn: &mut Turn, peer: EndpointId) {
        self.controllers.lost(turn.now, peer);
        self.settle_controllers(turn);
    }

    /// Obeys the one that is to be obeyed now, and tells all what has changed for them.
    pub(super) fn settle_controllers(&mut self, turn: &mut Turn) {
        if let Some(peer) = self.controllers.next(turn.now)
            && let Some(id) = self.controllers.obey(peer)
        {
            report(turn, Level::Info, format!("this agent obeys {id} from now on"));
            self.write_down(turn);
        }
        let mut is_obeyed_now = false;
        for (peer, was_refused, other) in self.controllers.untold() {
            let message = LinkMessage::announce_agent(self.features(), other.as_ref());
            turn.push(Action::Link { peer, message });
            is_obeyed_now |= other.is_none() && was_refused;
            let id = self.controllers.known.get(&peer).map(|known| known.id.clone());
            if let (Some(id), Some(obeyed)) = (id, other) {
                self.counters.increment(Counted::ControllersRefused);
                self.raise(turn, refusal(&id, &obeyed), "");
            }
        }
        if is_obeyed_now {
            self.say_hello(turn);
        }
    }

    /// Why a controller is not obeyed in what it asks, if it is not: that is counted.
    ///
    /// DIFFERENCE(one-controller): Zeek's agent does what any controller asks.
    pub(super) fn refusal(&mut self, turn: &mut Turn, peer: EndpointId) -> Option<String> {
        let controllers = &mut self.controllers;
        let remembered = controllers.remembered.as_ref()?;
        let reason = match controllers.known.get(&peer) {
            Some(_) if controllers.obeyed == Some(peer) => return None,
            Some(known) => refusal(&known.id, remembered),
            None if controllers.obeyed.is_some() => format!(
                "this agent obeys {remembered}, which is connected: a controller that does not say who it is, such as Zeek's, is obeyed when that \
                 one is stopped"
            ),
            None => {
                let message = format!(
                    "a controller that does not say who it is, such as Zeek's, is obeyed (peer {peer}), as {remembered}, which this agent \
                     remembers, is not connected"
                );
                if controllers.strangers.insert(peer) {
                    report(turn, Level::Warning, message);
                }
                return None;
            }
        };
        self.counters.increment(Counted::RequestsRefused);
        Some(reason)
    }

    /// The controller that is refused is obeyed from now on; if there is none, and none that is obeyed, the next one that connects.
    ///
    /// # Errors
    ///
    /// If several are refused, or none, and one is obeyed.
    pub(super) fn adopt(&mut self, turn: &mut Turn, who: &str) -> Result<Adopted, NotDone> {
        let refused: Vec<EndpointId> = self.controllers.refused().map(|(peer, _)| peer).collect();
        let before = self.controllers.remembered.clone();
        match refused[..] {
            [] if self.controllers.obeyed.is_none() => self.controllers.remembered = None,
            [] => {
                let obeyed = before.as_ref().map(ToString::to_string).unwrap_or_default();
                let reason = format!(
                    "this agent obeys {obeyed}, which is connected, and refuses no other: if another is to be obeyed, stop that one first"
                );
                return Err(NotDone::new(NotDoneKind::Conflict, reason));
            }
            [peer] => _ = self.controllers.obey(peer),
            _ => {
                let ids: Vec<String> = self.controllers.refused().map(|(_, id)| id.to_string()).collect();
                let reason = format!(
                    "there are several that are refused: {}; stop all but the one that is wanted",
                    ids.join("; ")
                );
                return Err(NotDone::new(NotDoneKind::Conflict, reason));
            }
        }
        let controller = self.controllers.remembered.clone();
        let is_moved = refused.len() == 1;
        if controller != before || is_moved {
            let whom = controller
                .as_ref()
                .map_or_else(|| "the next controller".to_owned(), ToString::to_string);
            report(
                turn,
                Level::Info,
                format!("this agent obeys {whom} from now on, as {who} wants"),
            );
            self.write_down(turn);
            self.settle_controllers(turn);
        }
        Ok(Adopted { controller })
    }
}
