use broker_codec::data::{Set, ZeekString};
use mgmt_api::{AgentRequest, RequestKind};

use super::{
    controller::Controller,
    query::split_by_existence,
    requests::{Key, Logged},
    turn::Turn,
};

const KIND: RequestKind = RequestKind::Restart;

impl Controller {
    /// Restarts nodes of the deployed cluster.
    pub(super) fn restart(&mut self, turn: &mut Turn, reqid: ZeekString, nodes: &Set<ZeekString>) {
        if self.membership.agents().len() == 0 {
            self.refuse(turn, KIND, reqid, "no instances connected", Logged::Pending);
            return;
        }
        let Some(deployed) = &self.configurations.deployed else {
            self.refuse(turn, KIND, reqid, "no active cluster deployment", Logged::Pending);
            return;
        };
        let (known, unknown) = split_by_existence(nodes, deployed, &reqid);
        if known.is_empty() && !unknown.is_empty() {
            self.respond(turn, KIND, reqid, unknown, Logged::Pending);
            return;
        }
        let instances = self.instances.ready.iter().cloned().collect();
        // Agents get the names as they came, the unknown ones too.
        self.ask_agents(turn, Key::Client(KIND, reqid), instances, unknown, |reqid| {
            AgentRequest::Restart {
                reqid,
                nodes: nodes.clone(),
            }
        });
    }
}
