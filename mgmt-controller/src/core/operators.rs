//! What operators ask on the control socket. Agents of ours are asked by the extension; of others is known what Zeek's API tells.

use std::collections::BTreeMap;

use broker_codec::{
    EndpointId,
    data::{ZeekString, from_data},
};
use mgmt_api::{
    AgentRequest, ClientRequest, Level, LinkMessage, MESSAGE_BYTES_MAX, Node, Principal, ResultRecord,
    link::{from_json, to_json},
    log::some_of,
    operator::{
        ClusterChanged, ClusterRequest, ClusterSelection, Failure, NodeName, NodeNames, NotDone, NotDoneKind,
        OUTPUTS, START, STATUS, STOP, Selection, written,
    },
};
use serde::Serialize;

use super::{
    action::Action,
    asking::{Asking, Told, What},
    cluster::Cluster,
    fanout::{Answer, Fanout},
    membership::say,
    pending::{Key, Pending},
    turn::Turn,
};

impl Cluster {
    /// Carries an operator's request out.
    pub(super) fn operate(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        request: ClusterRequest,
    ) {
        let outcome = match request {
            ClusterRequest::Status => Ok(self.ask_for_status(turn, id)),
            ClusterRequest::Outputs(NodeName { node }) => self.ask_for_outputs(turn, id, &node),
            ClusterRequest::Stop(which) => self.ask_to_change(turn, id, STOP, &which, principal),
            ClusterRequest::Start(which) => self.ask_to_change(turn, id, START, &which, principal),
            ClusterRequest::Restart(NodeNames { nodes }) => {
                let reqid = turn.ids.next_id();
                self.operators.insert(reqid.clone(), id);
                let nodes = nodes.into_iter().map(ZeekString::from).collect();
                self.request(turn, principal, ClientRequest::Restart { reqid, nodes }, false);
                return;
            }
        };
        match outcome {
            Ok(asking) => self.await_told(turn, asking),
            Err(refusal) => answer(turn, id, Err(refusal)),
        }
    }

    fn await_told(&mut self, turn: &mut Turn<'_>, asking: Asking) {
        if asking.fanout.silent().next().is_none() {
            self.told_all(turn, asking);
            return;
        }
        let key = Key::Operator(turn.ids.next_id());
        self.await_answer(turn, key, Pending::Asking(asking));
    }

    fn ask_for_status(&mut self, turn: &mut Turn<'_>, id: u64) -> Asking {
        let mut fanout = Fanout::default();
        let agents = self
            .members
            .peers
            .agents()
            .map(|(name, agent)| (name.clone(), agent.peer));
        for (name, peer) in agents.collect::<Vec<_>>() {
            let reqid = turn.ids.next_id();
            fanout.ask(reqid.clone(), name.clone());
            if self.members.peers.features_of(peer).is_operated {
                ask(turn, peer, reqid, STATUS, &());
            } else {
                self.members.send(turn, &name, AgentRequest::GetNodes { reqid });
            }
        }
        Asking {
            id,
            what: What::Status,
            fanout,
        }
    }

    fn ask_for_outputs(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        node: &ZeekString,
    ) -> Result<Asking, NotDone> {
        let mut deployed = self
            .configurations
            .deployed
            .iter()
            .flat_map(|config| &config.nodes);
        let found = deployed.find(|deployed| deployed.name == *node);
        let instance = found.ok_or_else(|| no_node(node))?.instance.clone();
        let peer = self.who_is_operated(turn, &instance)?;
        let mut fanout = Fanout::default();
        let reqid = turn.ids.next_id();
        fanout.ask(reqid.clone(), instance);
        ask(turn, peer, reqid, OUTPUTS, &NodeName { node: node.clone() });
        Ok(Asking {
            id,
            what: What::Outputs,
            fanout,
        })
    }

    /// Has agents stop or start the nodes that are meant.
    fn ask_to_change(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        kind: &str,
        which: &ClusterSelection,
        principal: &Principal,
    ) -> Result<Asking, NotDone> {
        let meant = self.meant(which)?;
        let nodes: Vec<&ZeekString> = meant.values().flatten().collect();
        if !nodes.is_empty() {
            let nodes = some_of(nodes);
            turn.report(
                Level::Info,
                format!("{principal} wants these nodes to {kind}: {nodes}"),
            );
        }
        let (mut fanout, mut failures) = (Fanout::default(), Vec::new());
        for (instance, nodes) in meant {
            match self.who_is_operated(turn, &instance) {
                Ok(peer) => {
                    let reqid = turn.ids.next_id();
                    fanout.ask(reqid.clone(), instance);
                    ask(turn, peer, reqid, kind, &Selection { nodes, role: None });
                }
                Err(NotDone { reason, .. }) => failures.push(failure(&instance, &reason)),
            }
        }
        Ok(Asking {
            id,
            what: What::Change(failures),
            fanout,
        })
    }

    /// The nodes of the deployed configuration that are meant, by instance.
    fn meant(&self, which: &ClusterSelection) -> Result<BTreeMap<ZeekString, Vec<ZeekString>>, NotDone> {
        let Some(deployed) = &self.configurations.deployed else {
            return Err(NotDone::new(NotDoneKind::Conflict, "nothing is deployed"));
        };
        let has_node = |name: &&String| deployed.nodes.iter().any(|node| node.name == name.as_str());
        if let Some(unknown) = which.nodes.iter().find(|name| !has_node(name)) {
            return Err(no_node(&unknown.as_str().into()));
        }
        let has_instance =
            |name: &&String| deployed.instances.iter().any(|known| known.name == name.as_str());
        if let Some(unknown) = which.instances.iter().find(|name| !has_instance(name)) {
            let unknown = unknown.escape_debug();
            let reason = format!("the deployed configuration has no instance {unknown}");
            return Err(NotDone::new(NotDoneKind::Unknown, reason));
        }
        let is_in = |names: &[String], name: &ZeekString| {
            names.is_empty() || names.iter().any(|meant| *name == meant.as_str())
        };
        let is_meant = |node: &&Node| {
            is_in(&which.nodes, &node.name)
                && is_in(&which.instances, &node.instance)
                && which.role.is_none_or(|role| role == node.role)
        };
        let mut meant: BTreeMap<ZeekString, Vec<ZeekString>> = BTreeMap::new();
        for node in deployed.nodes.iter().filter(is_meant) {
            meant
                .entry(node.instance.clone())
                .or_default()
                .push(node.name.clone());
        }
        Ok(meant)
    }

    /// The agent of an instance that can be asked by the extension for what operators want, or why there is none.
    fn who_is_operated(&self, turn: &Turn<'_>, instance: &ZeekString) -> Result<EndpointId, NotDone> {
        let Some(agent) = self.members.peers.agent(instance) else {
            let absence = self.members.absence(turn, instance);
            return Err(NotDone::new(NotDoneKind::Unavailable, absence));
        };
        if self.members.peers.features_of(agent.peer).is_operated {
            return Ok(agent.peer);
        }
        let reason = format!(
            "the agent of instance {instance} is Zeek's, or older than this controller: it cannot do that"
        );
        Err(NotDone::new(NotDoneKind::Conflict, reason))
    }

    /// An agent has answered by the extension. Returns whether it was asked.
    pub(super) fn told(
        &mut self,
        turn: &mut Turn<'_>,
        name: &ZeekString,
        reqid: &ZeekString,
        ok: bool,
        json: &ZeekString,
    ) -> bool {
        let Some((key, what)) = self.asking(reqid, name) else {
            return false;
        };
        let told = if ok {
            match what {
                What::Status => from_json(json).map(Told::Status),
                What::Outputs => from_json(json).map(Told::Outputs),
                What::Change(_) => from_json(json).map(Told::Changed),
            }
            .map_err(|error| unreadable(&error))
        } else {
            Err(from_json(json).unwrap_or_else(|error| unreadable(&error)))
        };
        self.take_told(turn, &key, reqid, name, told);
        true
    }

    /// An agent of Zeek's has told of its nodes. Returns whether it was asked for an operator.
    pub(super) fn nodes_told(
        &mut self,
        turn: &mut Turn<'_>,
        name: &ZeekString,
        reqid: &ZeekString,
        results: &[ResultRecord],
    ) -> bool {
        let (Some((key, _)), [result]) = (self.asking(reqid, name), results) else {
            return false;
        };
        let told = match (&result.data, &result.error) {
            (Some(data), _) if result.success => from_data(data)
                .map(Told::Nodes)
                .map_err(|error| unreadable(&error)),
            (_, Some(error)) => Err(NotDone::new(
                NotDoneKind::Unavailable,
                error.excerpt(MESSAGE_BYTES_MAX).to_string(),
            )),
            (_, None) => Err(NotDone::new(
                NotDoneKind::Unavailable,
                "the agent gives no reason",
            )),
        };
        self.take_told(turn, &key, reqid, name, told);
        true
    }

    /// The agent of an instance is gone.
    pub(super) fn tells_no_more(&mut self, turn: &mut Turn<'_>, name: &ZeekString, reason: &str) {
        let asked = |cluster: &Self| {
            cluster.requests.iter().find_map(|(key, pending)| match pending {
                Pending::Asking(asking) => Some((key.clone(), asking.fanout.asked_under(name)?)),
                _ => None,
            })
        };
        while let Some((key, reqid)) = asked(self) {
            let lost = NotDone::new(
                NotDoneKind::Unavailable,
                format!("connection to the agent lost: {reason}"),
            );
            self.take_told(turn, &key, &reqid, name, Err(lost));
        }
    }

    /// Agents have not answered in time.
    pub(super) fn told_late(&mut self, turn: &mut Turn<'_>, mut asking: Asking) {
        let late: Vec<ZeekString> = asking.fanout.silent().cloned().collect();
        for name in late {
            if let Some(reqid) = asking.fanout.asked_under(&name) {
                let silent = NotDone::new(NotDoneKind::Unavailable, "its agent has not answered in time");
                asking
                    .fanout
                    .answer(&reqid, &name, vec![(name.clone(), Err(silent))]);
            }
        }
        self.told_all(turn, asking);
    }

    /// The operator's request for which an instance was asked under this id.
    fn asking(&self, reqid: &ZeekString, name: &ZeekString) -> Option<(Key, What)> {
        self.requests.iter().find_map(|(key, pending)| match pending {
            Pending::Asking(asking) if asking.fanout.awaits(reqid, name) => {
                Some((key.clone(), asking.what.clone()))
            }
            _ => None,
        })
    }

    fn take_told(
        &mut self,
        turn: &mut Turn<'_>,
        key: &Key,
        reqid: &ZeekString,
        name: &ZeekString,
        told: Result<Told, NotDone>,
    ) {
        let Some(Pending::Asking(asking)) = self.requests.get_mut(key) else {
            return;
        };
        if asking.fanout.answer(reqid, name, vec![(name.clone(), told)]) != Answer::Last {
            return;
        }
        if let Some(Pending::Asking(asking)) = self.requests.remove(key) {
            self.told_all(turn, asking);
        }
    }

    /// All agents that were asked have answered, or are not waited for any more.
    fn told_all(&self, turn: &mut Turn<'_>, Asking { id, what, fanout }: Asking) {
        let told = fanout.into_results();
        let outcome = match what {
            What::Status => written(&self.status(turn, told)),
            What::Outputs => match told.into_iter().next() {
                Some((_, Ok(Told::Outputs(outputs)))) => written(&outputs),
                Some((_, Err(refusal))) => Err(refusal),
                _ => Err(NotDone::new(
                    NotDoneKind::Unavailable,
                    "its agent has not answered",
                )),
            },
            What::Change(mut failures) => {
                let mut nodes = Vec::new();
                for (name, told) in told {
                    match told {
                        Ok(Told::Changed(changed)) => {
                            nodes.extend(changed.nodes.iter().map(ToString::to_string))
                        }
                        Ok(_) => {}
                        Err(NotDone { reason, .. }) => failures.push(failure(&name, &reason)),
                    }
                }
                nodes.sort();
                written(&ClusterChanged { nodes, failures })
            }
        };
        answer(turn, id, outcome);
    }
}

/// Answers an operator's request that a client's stands for.
pub(super) fn answer_operator(turn: &mut Turn<'_>, id: u64, results: &[ResultRecord]) {
    let mut changed = ClusterChanged::default();
    let text = |name: &Option<ZeekString>| name.as_ref().map(ToString::to_string);
    for result in results {
        if !result.success {
            let error = result.error.as_ref();
            changed.failures.push(Failure {
                instance: text(&result.instance),
                node: text(&result.node),
                reason: error
                    .map(|error| error.excerpt(MESSAGE_BYTES_MAX).to_string())
                    .unwrap_or_default(),
            });
        }
        changed
            .nodes
            .extend(text(&result.node).filter(|_| result.success));
    }
    answer(turn, id, written(&changed));
}

fn ask(turn: &mut Turn<'_>, peer: EndpointId, reqid: ZeekString, kind: &str, what: &impl Serialize) {
    // Names that were read from JSON can be written as JSON.
    if let Ok(json) = to_json(what) {
        let kind = kind.into();
        say(turn, peer, LinkMessage::Request { reqid, kind, json });
    }
}

fn answer(turn: &mut Turn<'_>, id: u64, outcome: Result<ZeekString, NotDone>) {
    turn.push(Action::Answer { id, outcome });
}

fn failure(instance: &ZeekString, reason: &ZeekString) -> Failure {
    Failure {
        instance: Some(instance.to_string()),
        node: None,
        reason: reason.excerpt(MESSAGE_BYTES_MAX).to_string(),
    }
}

fn no_node(name: &ZeekString) -> NotDone {
    let name = name.excerpt(MESSAGE_BYTES_MAX);
    let reason = format!("the deployed configuration has no node {name}");
    NotDone::new(NotDoneKind::Unknown, reason)
}

fn unreadable(error: &impl std::fmt::Display) -> NotDone {
    NotDone::new(
        NotDoneKind::Unavailable,
        format!("the agent's answer cannot be read: {error}"),
    )
}
