//! What operators ask. Agents of ours are asked by the extension; of others is known what Zeek's API tells.

use std::collections::BTreeMap;

use broker_codec::{
    EndpointId,
    data::{ZeekString, from_data},
};
use mgmt_api::{
    AgentRequest, LinkMessage, MESSAGE_BYTES_MAX, OperatorRequest, Principal, ResultRecord,
    link::from_json,
    operator::{Changed, ClusterRequest, Failure, NodeName, NotDone, NotDoneKind, Selection, text, written},
};

use super::{
    action::{Action, Outgoing},
    asking::{Answered, Asking, Told, Wanted},
    cluster::Cluster,
    fanout::{Answer, Fanout},
    membership::say,
    pending::{Key, Pending},
    turn::Turn,
    wishes::tell_wish,
};

impl Cluster {
    /// Carries an operator's request out, who may make it.
    pub(super) fn operate(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        request: ClusterRequest,
    ) {
        let outcome = match request {
            ClusterRequest::Status => Ok(self.ask_for_status(turn, id)),
            ClusterRequest::Outputs(node) => self.ask_for_outputs(turn, id, node),
            ClusterRequest::History(node) => self.ask_for_history(turn, id, node),
            ClusterRequest::Stop(which) => {
                self.ask_to_change(turn, id, principal, &which, ("stops", OperatorRequest::Stop))
            }
            ClusterRequest::Start(which) => {
                self.ask_to_change(turn, id, principal, &which, ("starts", OperatorRequest::Start))
            }
            ClusterRequest::Configuration(station) => return answer(turn, id, self.configuration(station)),
            ClusterRequest::Stage {
                configuration,
                expected,
            } => match self.is_as_expected(expected.as_ref()) {
                Ok(()) => return self.stage_of_operator(turn, id, principal, configuration),
                Err(refusal) => Err(refusal),
            },
            ClusterRequest::Plan(configuration) => self.ask_for_plan(turn, id, configuration, None),
            ClusterRequest::Deploy { new, .. } if new.plan.is_some() => {
                self.ask_to_deploy_plan(turn, id, principal, new)
            }
            ClusterRequest::Deploy { expected, new } => {
                return self.deploy_of_operator(turn, id, principal, expected.as_ref(), new);
            }
            ClusterRequest::RollOut { options, expected } => {
                return self.roll_out(turn, id, principal, options, expected.as_ref());
            }
            ClusterRequest::Rollout => return answer(turn, id, self.told_of_rollout(turn)),
            ClusterRequest::OrderRollout(order) => return self.order_rollout(turn, id, principal, order),
            ClusterRequest::Revisions => return answer(turn, id, self.told_of_revisions()),
            ClusterRequest::Revision(number) => return self.recall(turn, id, &number),
            ClusterRequest::Deployments => return answer(turn, id, self.told_of_deployments(turn)),
            ClusterRequest::Deployment(reqid) => {
                return answer(turn, id, self.told_of_deployment(turn, reqid.as_bytes()));
            }
            ClusterRequest::Variable { id: variable, node } => {
                return self.ask_for_variable(turn, id, principal, &variable, node);
            }
            ClusterRequest::Remove => match self.removable() {
                Ok(()) => return self.remove(turn, id, principal),
                Err(refusal) => Err(refusal),
            },
            ClusterRequest::Restart(which) => match self.meant(&which) {
                Ok(meant) => return self.restart_meant(turn, id, principal, meant),
                Err(refusal) => Err(refusal),
            },
        };
        match outcome {
            Ok(asking) => self.await_told(turn, asking),
            Err(refusal) => answer(turn, id, Err(refusal)),
        }
    }

    pub(super) fn await_told(&mut self, turn: &mut Turn<'_>, asking: Asking) {
        if asking.fanout.silent().next().is_none() {
            self.told_all(turn, asking);
            return;
        }
        let key = Key::Internal(turn.ids.next_id());
        self.await_answer(turn, key, Pending::Asking(asking));
    }

    fn ask_for_status(&mut self, turn: &mut Turn<'_>, id: u64) -> Asking {
        let mut fanout = Fanout::default();
        let agents = self.members.peers.agents();
        let agents: Vec<_> = agents.map(|(name, agent)| (name.clone(), agent.peer)).collect();
        for (name, peer) in agents {
            let reqid = turn.ids.next_id();
            fanout.ask(reqid.clone(), name.clone());
            if self.members.peers.features_of(peer).is_operated {
                ask(turn, peer, reqid, &OperatorRequest::Status);
            } else {
                self.members.send(turn, &name, AgentRequest::GetNodes { reqid });
            }
        }
        Asking {
            id: Some(id),
            wanted: Wanted::Status { since: turn.now },
            fanout,
        }
    }

    fn ask_for_outputs(&mut self, turn: &mut Turn<'_>, id: u64, node: NodeName) -> Result<Asking, NotDone> {
        let instance = self.instance_of(&node.node)?;
        let peer = self.operated_peer(turn, &instance)?;
        let mut fanout = Fanout::default();
        let reqid = turn.ids.next_id();
        fanout.ask(reqid.clone(), instance);
        ask(turn, peer, reqid, &OperatorRequest::Outputs(node));
        Ok(Asking {
            id: Some(id),
            wanted: Wanted::Outputs,
            fanout,
        })
    }

    /// Has agents stop or start the nodes that are meant.
    fn ask_to_change(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        which: &Selection,
        (verb, change): (&str, fn(Selection) -> OperatorRequest),
    ) -> Result<Asking, NotDone> {
        let (mut fanout, mut failures) = (Fanout::default(), Vec::new());
        let meant = self.meant(which)?;
        for (instance, nodes) in &meant {
            let request = change(Selection {
                nodes: nodes.clone(),
                ..Selection::default()
            });
            match self.operated_peer(turn, instance) {
                Ok(peer) => {
                    tell_wish(turn, principal, verb, instance, nodes);
                    let reqid = turn.ids.next_id();
                    fanout.ask(reqid.clone(), instance.clone());
                    ask(turn, peer, reqid, &request);
                }
                Err(NotDone { reason, .. }) => failures.extend(failed(instance, nodes, &reason)),
            }
        }
        Ok(Asking {
            id: Some(id),
            wanted: Wanted::Change(meant, failures),
            fanout,
        })
    }

    /// The nodes of the deployed configuration that are meant, by instance.
    pub(super) fn meant(&self, which: &Selection) -> Result<BTreeMap<ZeekString, Vec<String>>, NotDone> {
        which.check()?;
        let Some(deployed) = &self.configurations.deployed else {
            return Err(NotDone::new(NotDoneKind::Conflict, "nothing is deployed"));
        };
        let has_node = |name: &str| deployed.nodes.iter().any(|node| node.name == name);
        let has_instance = |name: &str| deployed.instances.iter().any(|known| known.name == name);
        if let Some(what) = which.unknown(has_node, has_instance) {
            return Err(unknown(&what));
        }
        let mut meant: BTreeMap<ZeekString, Vec<String>> = BTreeMap::new();
        for node in &deployed.nodes {
            if which.means(&node.name, &node.instance, node.role) {
                let of_instance = meant.entry(node.instance.clone()).or_default();
                of_instance.push(text(&node.name));
            }
        }
        if meant.is_empty() && !which.all {
            return Err(which.means_none());
        }
        Ok(meant)
    }

    /// The peer that can be asked for what operators want of an instance, or why there is none.
    fn operated_peer(&self, turn: &Turn<'_>, instance: &ZeekString) -> Result<EndpointId, NotDone> {
        let Some(agent) = self.members.peers.agent(instance) else {
            let absence = self.members.absence(turn, instance);
            return Err(NotDone::new(NotDoneKind::Unavailable, absence));
        };
        if self.members.peers.features_of(agent.peer).is_operated {
            return Ok(agent.peer);
        }
        if let Some(reason) = self.not_announced(instance) {
            return Err(NotDone::new(NotDoneKind::Unavailable, reason));
        }
        let reason = format!(
            "the agent of instance {instance} is Zeek's, or older than this controller: it cannot do that"
        );
        Err(NotDone::new(NotDoneKind::Conflict, reason))
    }

    /// That the agent of an instance has not said yet what it can be asked for, if it is about to.
    pub(super) fn not_announced(&self, instance: &ZeekString) -> Option<String> {
        let agent = self.members.peers.agent(instance)?;
        self.members.peers.is_to_announce(agent.peer).then(|| {
            format!(
                "the agent of instance {instance} has just connected, and has not said yet what it can do: try again"
            )
        })
    }

    /// An agent has answered by the extension. Returns whether it was asked for an operator.
    pub(super) fn told(
        &mut self,
        turn: &mut Turn<'_>,
        name: &ZeekString,
        reqid: &ZeekString,
        ok: bool,
        json: &ZeekString,
    ) -> bool {
        let told = if ok {
            let (json, at) = (json.clone(), turn.now);
            Ok(Answered::Json { json, at })
        } else {
            Err(from_json(json).unwrap_or_else(|error| unreadable(&error)))
        };
        self.take_told(turn, reqid, name, told)
    }

    /// An agent of Zeek's has told of its nodes. Returns whether it was asked for an operator.
    pub(super) fn nodes_told(
        &mut self,
        turn: &mut Turn<'_>,
        name: &ZeekString,
        reqid: &ZeekString,
        results: &[ResultRecord],
    ) -> bool {
        let [result] = results else { return false };
        let told = match (&result.data, &result.error) {
            (Some(data), _) if result.success => from_data(data.clone())
                .map(Answered::Nodes)
                .map_err(|error| unreadable(&error)),
            (_, Some(error)) => {
                let reason = error.excerpt(MESSAGE_BYTES_MAX).to_string();
                Err(NotDone::new(NotDoneKind::Unavailable, reason))
            }
            (_, None) => Err(NotDone::new(
                NotDoneKind::Unavailable,
                "its agent gives no reason",
            )),
        };
        self.take_told(turn, reqid, name, told)
    }

    /// The agent of an instance is gone, of which operators wait to hear.
    pub(super) fn told_lost(&mut self, turn: &mut Turn<'_>, name: &ZeekString, reason: &str) {
        let asked = |cluster: &Self| {
            cluster.requests.iter().find_map(|(_, pending)| match pending {
                Pending::Asking(asking) => asking.fanout.asked_under(name),
                _ => None,
            })
        };
        while let Some(reqid) = asked(self) {
            let lost = NotDone::new(NotDoneKind::Unavailable, reason);
            self.take_told(turn, &reqid, name, Err(lost));
        }
    }

    fn take_told(&mut self, turn: &mut Turn<'_>, reqid: &ZeekString, name: &ZeekString, told: Told) -> bool {
        let waits = |pending: &Pending| matches!(pending, Pending::Asking(asking) if asking.fanout.awaits(reqid, name));
        let waiting = self.requests.iter().find(|(_, pending)| waits(pending));
        let Some(key) = waiting.map(|(key, _)| key.clone()) else {
            return false;
        };
        if let Some(Pending::Asking(asking)) = self.requests.get_mut(&key)
            && asking.fanout.answer(reqid, name, vec![(name.clone(), told)]) == Answer::Last
            && let Some(Pending::Asking(asking)) = self.requests.remove(&key)
        {
            self.told_all(turn, asking);
        }
        true
    }

    /// All agents that were asked have answered, or are not waited for any more.
    pub(super) fn told_all(&mut self, turn: &mut Turn<'_>, Asking { id, wanted, fanout }: Asking) {
        let late: Vec<ZeekString> = fanout.silent().cloned().collect();
        let reason = match wanted {
            Wanted::Plan(_) => "its agent has not answered in time",
            _ => "its agent has not answered in time; it may still do what it was asked",
        };
        let silent = |name| (name, Err(NotDone::new(NotDoneKind::Unavailable, reason)));
        let mut told = fanout.into_results();
        told.extend(late.into_iter().map(silent));
        let outcome = match wanted {
            Wanted::Status { since } => written(&self.status(turn, since, told)),
            Wanted::Outputs => match told.pop() {
                Some((_, Ok(Answered::Json { json, .. }))) => Ok(json),
                Some((_, Err(refusal))) => Err(refusal),
                _ => Err(NotDone::new(
                    NotDoneKind::Unavailable,
                    "its agent has not answered",
                )),
            },
            Wanted::History {
                instance,
                node,
                is_remembered,
            } => {
                let told = told.pop().map(|(_, told)| told);
                self.history(turn, &instance, &node, told, is_remembered)
            }
            Wanted::States => return self.take_states(told),
            Wanted::Step => return self.step_told(turn, told),
            Wanted::Plan(planning) => match id {
                Some(id) => return self.planned(turn, id, *planning, told),
                None => return,
            },
            Wanted::Change(meant, failures) => written(&changed(&meant, told, failures)),
        };
        if let Some(id) = id {
            answer(turn, id, outcome);
        }
    }
}

/// What agents say that has changed, and what could not be done.
fn changed(
    meant: &BTreeMap<ZeekString, Vec<String>>,
    told: Vec<(ZeekString, Told)>,
    failures: Vec<Failure>,
) -> Changed {
    let nodes = Vec::new();
    let mut all = Changed { nodes, failures };
    for (name, told) in told {
        let changed = told.and_then(|told| match told {
            Answered::Json { json, .. } => from_json::<Changed>(&json).map_err(|error| unreadable(&error)),
            Answered::Nodes(_) => Ok(Changed::default()),
        });
        match changed {
            Ok(changed) => all.nodes.extend(changed.nodes),
            Err(NotDone { reason, .. }) => {
                let nodes = meant.get(&name).into_iter().flatten();
                all.failures.extend(failed(&name, nodes, &reason));
            }
        }
    }
    all.nodes.sort();
    all
}

/// Asks an agent by the extension.
pub(super) fn ask(turn: &mut Turn<'_>, peer: EndpointId, reqid: ZeekString, request: &OperatorRequest) {
    // Names that were read from JSON can be written as JSON.
    if let Ok((kind, json)) = request.write() {
        let kind = kind.into();
        say(
            turn,
            peer,
            Outgoing::Link(LinkMessage::Request { reqid, kind, json }),
        );
    }
}

pub(super) fn answer(turn: &mut Turn<'_>, id: u64, outcome: Result<ZeekString, NotDone>) {
    turn.push(Action::Answer { id, outcome });
}

/// Why nothing was done for nodes of an instance.
fn failed<'a>(
    instance: &ZeekString,
    nodes: impl IntoIterator<Item = &'a String>,
    reason: &ZeekString,
) -> Vec<Failure> {
    let reason = reason.excerpt(MESSAGE_BYTES_MAX).to_string();
    let failure = |node: &String| Failure {
        instance: Some(text(instance)),
        node: Some(node.clone()),
        reason: reason.clone(),
    };
    nodes.into_iter().map(failure).collect()
}

pub(super) fn unknown(what: &str) -> NotDone {
    let reason = format!("the deployed configuration has no {what}");
    NotDone::new(NotDoneKind::Unknown, reason)
}

fn unreadable(error: &impl std::fmt::Display) -> NotDone {
    let reason = format!("its agent's answer cannot be read: {error}");
    NotDone::new(NotDoneKind::Unavailable, reason)
}
