//! The controller as the daemon and a journal drive it: the core alone.

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::{ControllerId, HostState, IdSource, Now, RequestKind};
use mgmt_daemon::machine::Machine;
use serde::{Deserialize, Serialize};

use crate::core::{Action, ClusterName, Configurations, Controller, Input, Settings};

#[cfg(test)]
mod tests;

/// What the core starts with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    pub settings: Settings,
    /// The configurations of `default` that the store held,
    pub restored: Configurations,
    /// and those of the other clusters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<ClusterName, Configurations>,
    /// Who the controller is, to agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ControllerId>,
}

impl Machine for Controller {
    type Start = Start;
    type Input = Input;
    type Action = Action;
    type Request = (RequestKind, ZeekString);

    const TICK: Input = Input::Tick;

    fn host(state: HostState) -> Input {
        Input::Host(state)
    }

    fn start(start: Start, ids: Box<dyn IdSource>) -> Self {
        let controller = Self::new(start.settings, start.restored, ids);
        controller.with_clusters(start.clusters).with_id(start.id)
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
