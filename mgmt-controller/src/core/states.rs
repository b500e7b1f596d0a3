//! The states of the nodes of an agent that has come.

use broker_codec::data::ZeekString;
use mgmt_api::{OperatorRequest, link::from_json, operator::AgentStatus};

use super::{
    asking::{Answered, Asking, Told, Wanted},
    cluster::Cluster,
    fanout::Fanout,
    operators::ask,
    turn::Turn,
};

impl Cluster {
    /// An agent of ours has come, which tells of changes only: the states of its nodes are asked for once.
    pub(super) fn ask_for_states(&mut self, turn: &mut Turn<'_>, instance: ZeekString) {
        let agent = self.members.peers.agent(&instance).map(|agent| agent.peer);
        let Some(peer) = agent.filter(|peer| self.members.peers.features_of(*peer).is_operated) else {
            return;
        };
        let mut fanout = Fanout::default();
        let reqid = turn.ids.next_id();
        fanout.ask(reqid.clone(), instance);
        ask(turn, peer, reqid, &OperatorRequest::Status);
        let (id, wanted) = (None, Wanted::States);
        self.await_told(turn, Asking { id, wanted, fanout });
    }

    /// It has answered, or will not.
    pub(super) fn take_states(&mut self, told: Vec<(ZeekString, Told)>) {
        let Some(deployed) = &self.configurations.deployed else {
            return;
        };
        for (instance, told) in told {
            if let Ok(Answered::Json { json, .. }) = told
                && let Ok(status) = from_json::<AgentStatus>(&json)
            {
                for node in status.nodes {
                    self.heard
                        .told(deployed, &instance, &node.node.into(), node.state);
                }
            }
        }
    }
}
