use broker_codec::data::{Set, ZeekString};
use mgmt_api::{AgentRequest, RequestKind, ResultRecord};

use super::{
    answers::naming,
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
        let (known, mut unknown) = split_by_existence(nodes, deployed, &reqid);
        if known.is_empty() && !unknown.is_empty() {
            self.respond(turn, KIND, reqid, unknown, Logged::Pending);
            return;
        }
        unknown.extend(self.absent_nodes(turn.now, &reqid, &known));
        let instances = self.instances.wanted_ready().cloned().collect();
        // Agents get the names as they came, the unknown ones too.
        self.ask_agents(turn, Key::Client(KIND, reqid), instances, unknown, |reqid| {
            AgentRequest::Restart {
                reqid,
                nodes: nodes.clone(),
            }
        });
    }
}

/// What clients get of a result: the error of a failed one has no instance. Only then does zeek-client print it (`cmd_restart`, 1.2.0 to
/// 1.5.0); with an instance it prints `false` for the node and succeeds, or a Python object if there is no node.
///
/// DIFFERENCE(failed-restarts): Zeek passes on what agents answer.
pub(super) fn readable_restart(result: ResultRecord) -> ResultRecord {
    let Some(instance) = result.instance.as_ref().filter(|_| !result.success) else {
        return result;
    };
    let error = match result.error.as_ref() {
        Some(error) if result.node.is_some() => error.clone(),
        Some(error) => naming(instance, error),
        None => format!("instance {instance} gives no reason").into(),
    };
    ResultRecord {
        instance: None,
        error: Some(error),
        ..result
    }
}
