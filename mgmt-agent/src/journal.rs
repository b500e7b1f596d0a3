//! Journals of the agent: what [`mgmt_daemon::journal`] needs to know about it. One journal covers the agent and its
//! Supervisor's machine, as they are driven together.

use broker_codec::data::ZeekString;
use mgmt_api::Now;
use mgmt_daemon::{
    journal::{FORMAT_VERSION, Seed},
    machine::Machine,
};
use serde::{Deserialize, Serialize};

use crate::{
    core,
    machine::{Action, BrokerAgent, Input, Settings},
    wire::reqid_in,
};

/// How the core was when it started: the first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT_VERSION`]
    pub journal: u32,
    /// Which program wrote the journal.
    pub program: String,
    pub settings: Settings,
    /// What the ids come from.
    pub seed: Seed,
}

impl Header {
    /// The header of a journal that this program writes.
    pub fn new(settings: Settings, seed: Seed) -> Self {
        Self {
            journal: FORMAT_VERSION,
            program: concat!("mgmt-agent ", env!("CARGO_PKG_VERSION")).into(),
            settings,
            seed,
        }
    }
}

impl Machine for BrokerAgent {
    type Header = Header;
    type Input = Input;
    type Action = Action;
    type Request = ZeekString;

    const TICK: Input = Input::Agent(core::Input::Tick);

    fn start(header: Header) -> Self {
        let ids = Box::new(header.seed.ids());
        Self::new(header.settings, ids)
    }

    fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        Self::step(self, now, input)
    }

    fn deadline(&self) -> Option<Now> {
        Self::deadline(self)
    }

    fn request(input: &Input) -> Option<ZeekString> {
        match input {
            Input::Message { data, .. } => reqid_in(data).cloned(),
            _ => None,
        }
    }

    fn owes_answer(&self, reqid: &ZeekString) -> bool {
        Self::owes_answer(self, reqid)
    }
}
