use std::collections::BTreeMap;

use broker_codec::data::{Set, ZeekString};
use mgmt_api::{ResultRecord, State};

use super::{
    action::Action,
    agent::{Agent, Purpose},
    requests::{Key, Kind, Logged, Pending},
    supervision::Command,
    turn::Turn,
};

const KIND: Kind = Kind::Restart;

impl Agent {
    /// Restarts cluster nodes, running or not.
    pub(super) fn restart(&mut self, turn: &mut Turn, reqid: ZeekString, nodes: &Set<ZeekString>) {
        let targets = match self.targets(nodes) {
            Ok(targets) => targets,
            Err(why) => return self.respond(turn, KIND, reqid, Vec::new(), Logged::Id(why)),
        };
        if let Some(reason) = self.unavailable.clone() {
            // Each names its node: a client has no use for one that does not.
            let results = targets
                .into_iter()
                .map(|name| ResultRecord {
                    node: Some(name),
                    ..self.failure(reqid.clone(), reason.as_str())
                })
                .collect();
            self.respond(turn, KIND, reqid, results, Logged::Pending);
            return;
        }
        let awaited: BTreeMap<ZeekString, ZeekString> = targets
            .into_iter()
            .map(|name| (self.ids.next_id(), name))
            .collect();
        for (id, name) in &awaited {
            let purpose = Purpose::Restart {
                reqid: reqid.clone(),
                node: name.clone(),
            };
            self.commands.insert(id.clone(), purpose);
            turn.push(Action::Supervise(Command::Restart {
                id: id.clone(),
                node: name.clone(),
            }));
            self.start_due(turn, name, id.clone());
        }
        let results = Vec::new();
        self.await_answer(turn, KIND, reqid, Pending::Restart { awaited, results });
    }

    /// The Supervisor has taken a restart on, or does not know the node.
    pub(super) fn restarted(
        &mut self,
        turn: &mut Turn,
        reqid: &ZeekString,
        id: &ZeekString,
        node: ZeekString,
        existed: bool,
    ) {
        let outcome = if existed {
            Ok(())
        } else {
            self.start_refused(turn, &node, id, State::Failed);
            self.raise(turn, format!("failed to restart node {node}"), node.clone());
            Err(format!("could not restart node {node}"))
        };
        self.restart_ended(turn, reqid, id, node, outcome);
    }

    /// Nobody knows whether the Supervisor will restart the node.
    pub(super) fn not_restarted(
        &mut self,
        turn: &mut Turn,
        reqid: &ZeekString,
        id: &ZeekString,
        node: ZeekString,
        reason: &str,
    ) {
        self.start_refused(turn, &node, id, State::Unknown);
        let message = format!("failed to restart node {node}: {reason}");
        self.raise(turn, message, node.clone());
        let error = format!("could not restart node {node}: {reason}");
        self.restart_ended(turn, reqid, id, node, Err(error));
    }

    fn restart_ended(
        &mut self,
        turn: &mut Turn,
        reqid: &ZeekString,
        id: &ZeekString,
        node: ZeekString,
        outcome: Result<(), String>,
    ) {
        let result = ResultRecord {
            node: Some(node),
            ..match outcome {
                Ok(()) => self.success(reqid.clone()),
                Err(error) => self.failure(reqid.clone(), error),
            }
        };
        let key = Key(KIND, reqid.clone());
        let Some(Pending::Restart { awaited, results }) = self.requests.get_mut(&key) else {
            return;
        };
        if awaited.remove(id).is_none() {
            return;
        }
        results.push(result);
        if awaited.is_empty()
            && let Some(Pending::Restart { results, .. }) = self.requests.remove(&key)
        {
            self.respond(turn, KIND, key.1, results, Logged::Pending);
        }
    }
}
