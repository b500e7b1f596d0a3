use std::collections::BTreeSet;

use broker_codec::{
    Data,
    data::{Set, ZeekString},
};
use mgmt_api::{NodeRequest, ResultRecord, State, log::bracketed};

use super::{
    action::{Action, Turn},
    agent::Agent,
    pending::{Key, Kind, Logged, Pending},
};

const KIND: Kind = Kind::NodeDispatch;

impl Agent {
    /// Passes an action on to cluster nodes.
    pub(super) fn node_dispatch(
        &mut self,
        turn: &mut Turn,
        reqid: ZeekString,
        action: Vec<ZeekString>,
        nodes: Set<ZeekString>,
    ) {
        let targets = match (self.targets(&nodes), &self.unavailable) {
            (Ok(targets), _) => targets,
            (Err(_), Some(reason)) => {
                let result = self.failure(reqid.clone(), reason.as_str());
                return Self::respond(turn, KIND, reqid, vec![result], Logged::Results);
            }
            (Err(why), None) => return Self::respond(turn, KIND, reqid, Vec::new(), Logged::Id(why)),
        };
        let (awaited, others): (BTreeSet<_>, BTreeSet<_>) =
            targets.into_iter().partition(|name| self.is_running(name));
        let results: Vec<ResultRecord> = others
            .into_iter()
            .map(|name| ResultRecord {
                node: Some(name.clone()),
                ..self.failure(reqid.clone(), self.why_not_asked(&name))
            })
            .collect();
        if awaited.is_empty() {
            Self::respond(turn, KIND, reqid, results, Logged::Id("no nodes running"));
            return;
        }
        let id = self.ids.next_id();
        self.dispatches.insert(id.clone(), reqid.clone());
        let pending = Pending::Dispatch {
            id: id.clone(),
            awaited,
            results,
        };
        let timeout = self.settings.request_timeout;
        self.await_answer(turn, KIND, reqid, timeout, pending);
        turn.info(format!(
            "tx Management::Node::API::node_dispatch_request {id} {}",
            bracketed(&action)
        ));
        let request = NodeRequest::NodeDispatch {
            reqid: id,
            action,
            nodes,
        };
        turn.push(Action::Ask(request));
    }

    pub(super) fn node_dispatched(&mut self, turn: &mut Turn, id: &ZeekString, result: ResultRecord) {
        let node = result.node.clone();
        turn.info(format!(
            "rx Management::Node::API::node_dispatch_response {id} from {}",
            node.as_ref().map_or("unknown node".into(), ToString::to_string)
        ));
        let Some(reqid) = self.dispatches.get(id).cloned() else {
            return;
        };
        let key = Key(KIND, reqid);
        let result = self.checked(id, result);
        let Some(Pending::Dispatch { awaited, results, .. }) = self.requests.get_mut(&key) else {
            return;
        };
        if !node.is_some_and(|node| awaited.remove(&node)) {
            turn.debug(format!("response {id} not expected, ignoring"));
            return;
        }
        results.push(result);
        if awaited.is_empty() {
            self.finish_dispatch(turn, id, key);
        }
    }

    /// A node will not answer what it was asked.
    pub(super) fn node_does_not_answer(&mut self, turn: &mut Turn, node: &ZeekString, why: &str) {
        for (id, reqid) in self.dispatches.clone() {
            let failed = ResultRecord {
                node: Some(node.clone()),
                ..self.failure(reqid.clone(), why)
            };
            let key = Key(KIND, reqid);
            if let Some(Pending::Dispatch { awaited, results, .. }) = self.requests.get_mut(&key)
                && awaited.remove(node)
            {
                results.push(failed);
                if awaited.is_empty() {
                    self.finish_dispatch(turn, &id, key);
                }
            }
        }
    }

    /// All nodes have answered, or will not.
    fn finish_dispatch(&mut self, turn: &mut Turn, id: &ZeekString, key: Key) {
        self.dispatches.remove(id);
        if let Some(Pending::Dispatch { results, .. }) = self.requests.remove(&key) {
            Self::respond(turn, KIND, key.1, results, Logged::Pending);
        }
    }

    /// A node's result with what the node does not know. The only action so far yields a string.
    fn checked(&self, id: &ZeekString, result: ResultRecord) -> ResultRecord {
        match &result.data {
            None | Some(Data::String(_)) => ResultRecord {
                instance: Some(self.settings.name.clone()),
                ..result
            },
            Some(other) => ResultRecord {
                node: result.node,
                ..self.failure(id.clone(), format!("expected string, found {}", other.kind()))
            },
        }
    }

    /// This instance's nodes among those that are named, or all of them; or why there are none.
    pub(super) fn targets(&self, nodes: &Set<ZeekString>) -> Result<BTreeSet<ZeekString>, &'static str> {
        let is_named = |name: &&ZeekString| nodes.is_empty() || nodes.contains(name);
        let named: BTreeSet<ZeekString> = self.nodes.keys().filter(is_named).cloned().collect();
        match (named.is_empty(), nodes.is_empty()) {
            (false, _) => Ok(named),
            (true, true) => Err("no nodes registered"),
            (true, false) => Err("no node overlap"),
        }
    }

    /// Why a node is not asked.
    fn why_not_asked(&self, name: &ZeekString) -> ZeekString {
        let own = self.nodes.get(name);
        let silent = own.filter(|own| own.node.state == State::Unknown);
        let trouble = silent.and_then(|own| own.trouble.as_ref());
        match self.unavailable.as_ref().or(trouble) {
            Some(reason) => format!("cluster node {name} not in running state: {reason}").into(),
            None => [b"cluster node ", name.as_bytes(), b" not in running state"]
                .concat()
                .into(),
        }
    }

    fn is_running(&self, name: &ZeekString) -> bool {
        let own = self.nodes.get(name);
        own.is_some_and(|own| own.node.state == State::Running)
    }
}
