//! Journals of the controller: what [`mgmt_daemon::journal`] needs to know about it.

use broker_codec::data::ZeekString;
use mgmt_api::{Now, RequestKind};
use mgmt_daemon::{
    journal::{FORMAT_VERSION, Seed},
    machine::Machine,
};
use serde::{Deserialize, Serialize};

use crate::core::{Action, Configurations, Controller, Input, Settings};

#[cfg(test)]
mod tests;

/// How the core was when it started: the first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT_VERSION`]
    pub journal: u32,
    /// Which program wrote the journal.
    pub program: String,
    pub settings: Settings,
    /// The configurations that the store held.
    pub restored: Configurations,
    /// What the ids come from.
    pub seed: Seed,
}

impl Header {
    /// The header of a journal that this program writes.
    pub fn new(settings: Settings, restored: Configurations, seed: Seed) -> Self {
        Self {
            journal: FORMAT_VERSION,
            program: concat!("mgmt-controller ", env!("CARGO_PKG_VERSION")).into(),
            settings,
            restored,
            seed,
        }
    }
}

impl Machine for Controller {
    type Header = Header;
    type Input = Input;
    type Action = Action;
    type Request = (RequestKind, ZeekString);

    const TICK: Input = Input::Tick;

    fn start(header: Header) -> Self {
        let ids = Box::new(header.seed.ids());
        Self::new(header.settings, header.restored, ids)
    }

    fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        Self::step(self, now, input)
    }

    fn deadline(&self) -> Option<Now> {
        Self::deadline(self)
    }

    fn request(input: &Input) -> Option<Self::Request> {
        match input {
            Input::Request { request, .. } => Some((request.kind(), request.reqid().clone())),
            Input::SetConfiguration { reqid, .. } => Some((RequestKind::StageConfiguration, reqid.clone())),
            _ => None,
        }
    }

    fn owes_answer(&self, (kind, reqid): &Self::Request) -> bool {
        Self::owes_answer(self, *kind, reqid)
    }
}
