//! Before anything is changed for a deployment: the agents that can are asked whether they could run it.

use std::{cell::LazyCell, collections::BTreeMap, sync::Arc};

use broker_codec::{
    EndpointId,
    data::{Port, ZeekString},
};
use mgmt_api::{
    Configuration, Instance, LinkMessage, MESSAGE_BYTES_MAX, Node, Now, ResultRecord,
    link::{self, PREPARE, Prepare, Prepared, Problem, from_json, to_json},
    log::nodes_named,
    operator::NotDone,
};

use super::{
    absence::{named, nodes_by_instance, nodes_on},
    action::{Outgoing, SharedRequest},
    cluster::Cluster,
    fanout::{Answer, Fanout},
    membership::{Membership, say},
    pending::{Key, Pending},
    turn::Turn,
};
use crate::Counted;

impl Cluster {
    /// Asks the agents of a client's deployment that can look whether they could run it. Returns whether some are waited for.
    ///
    /// DIFFERENCE(prepared-first): Zeek ends the nodes that run, and finds out then.
    pub(super) fn prepare(&mut self, turn: &mut Turn<'_>) -> bool {
        // It was prepared when its roll-out began.
        let is_finished = self.finishes_rollout();
        let deployment = self.deployment.as_mut();
        let Some(deployment) = deployment.filter(|deployment| !is_finished && deployment.is_to_be_prepared())
        else {
            return false;
        };
        let deployed = self.configurations.deployed.as_deref();
        deployment.look_ahead(&self.members, deployed);
        let mut fanout = Fanout::default();
        for (reqid, name) in self
            .members
            .ask_to_look(turn, &deployment.config, deployed, false)
        {
            fanout.ask(reqid, name);
        }
        if fanout.silent().next().is_none() {
            return false;
        }
        let deadline = deployment.prepares(fanout, turn.now, &self.settings);
        let key = deployment.key.clone();
        self.await_instead(key, deadline);
        true
    }

    /// An agent has looked.
    pub(super) fn looked(
        &mut self,
        turn: &mut Turn<'_>,
        name: &ZeekString,
        reqid: &ZeekString,
        ok: bool,
        json: &ZeekString,
    ) {
        let Some(deployment) = &mut self.deployment else {
            return ignored(turn, reqid, name);
        };
        let of_client = deployment.key.reqid().clone();
        let (results, backend, complaint) = match found(ok, json) {
            Ok(Prepared {
                problems, backend, ..
            }) => {
                let results = failures(&of_client, name, &deployment.config, problems);
                (results, backend, None)
            }
            Err(reason) => (Vec::new(), None, Some(reason)),
        };
        let answer = match deployment.preparing() {
            Some(fanout) => fanout.answer(reqid, name, results),
            None => Answer::Unasked,
        };
        if answer == Answer::Unasked {
            return ignored(turn, reqid, name);
        }
        deployment.backends.extend(backend);
        if let Some(reason) = complaint {
            let reason = ZeekString::from(reason);
            let reason = reason.excerpt(MESSAGE_BYTES_MAX);
            turn.warning(format!(
                "instance {name} has not looked whether its nodes can run: {reason}"
            ));
        }
        if answer == Answer::Last {
            self.prepared(turn);
        }
    }

    /// The agent of an instance is gone, and what it would have found is not known.
    pub(super) fn looks_no_more(&mut self, turn: &mut Turn<'_>, name: &ZeekString) {
        let deployment = self.deployment.as_mut();
        if let Some(fanout) = deployment.and_then(|deployment| deployment.preparing())
            && let Some(reqid) = fanout.asked_under(name)
            && fanout.answer(&reqid, name, Vec::new()) == Answer::Last
        {
            self.prepared(turn);
        }
    }

    /// All agents have looked, or are not waited for any more: one that is late says nothing of whether its nodes can run, so the deployment
    /// goes on without its answer, as it does where an agent cannot be asked.
    pub(super) fn prepared(&mut self, turn: &mut Turn<'_>) {
        let Some(deployment) = &mut self.deployment else {
            return;
        };
        let Some(fanout) = deployment.preparing().map(std::mem::take) else {
            return;
        };
        let deadline = deployment.prepared(turn.now, &self.settings);
        let key = deployment.key.clone();
        if fanout.silent().next().is_some() {
            let late = named(fanout.silent());
            turn.warning(format!(
                "deploying without knowing whether all nodes can run: no answer of {late} in time (request {})",
                key.reqid()
            ));
        }
        let results = fanout.into_results();
        if results.is_empty() {
            deployment.choose_backend(turn);
            self.await_instead(key, deadline);
            self.progress(turn);
            return;
        }
        self.fail_deployment(turn, results);
    }

    /// The deployment's request is kept until another time than before.
    fn await_instead(&mut self, key: Key, deadline: Now) {
        self.requests.remove(&key);
        self.await_until(deadline, key, Pending::Deployment);
    }
}

impl Membership {
    /// Asks the agents that can look whether they could run a configuration, and for a plan what they would do. Returns which instances were asked, with
    /// the ids of the requests.
    ///
    /// Agents that do not know plans have nodes that run learn of the workers of a whole configuration: for a plan they do not get it.
    pub(super) fn ask_to_look(
        &self,
        turn: &mut Turn<'_>,
        config: &Configuration,
        deployed: Option<&Configuration>,
        is_plan: bool,
    ) -> Vec<(ZeekString, ZeekString)> {
        let end = LazyCell::new(|| {
            Prepare::end(config)
                .map(Arc::new)
                .map_err(|error| error.to_string())
        });
        let nodes_on = nodes_by_instance(config);
        let mut asked = Vec::new();
        for instance in &config.instances {
            let Some(peer) = self.who_prepares(instance) else {
                continue;
            };
            let name = &instance.name;
            let nodes = nodes_on.get(name).into_iter().flatten();
            let features = self.peers.features_of(peer);
            let prepare = Prepare {
                nodes: nodes.map(|node| Node::clone(node)).collect(),
                given_up: ports_elsewhere(deployed, name),
                plan: is_plan && features.plans,
                configuration: None,
            };
            let gets_all = features.launches && (features.plans || !is_plan);
            let reqid = turn.ids.next_id();
            let request = if gets_all {
                let end = LazyCell::force(&end).clone();
                end.and_then(|end| shared(&reqid, prepare, end))
            } else {
                alone(&reqid, &prepare)
            };
            match request {
                Ok(request) => {
                    turn.debug(format!("tx {PREPARE} {reqid} to {name}"));
                    say(turn, peer, request);
                    asked.push((reqid, name.clone()));
                }
                Err(error) => turn.warning(format!("instance {name} is not asked to {PREPARE}: {error}")),
            }
        }
        asked
    }

    /// The peer that can look whether an instance could run its nodes. One that is to be reached elsewhere is not asked where it is now.
    fn who_prepares(&self, instance: &Instance) -> Option<EndpointId> {
        let agent = self.peers.agent(&instance.name)?;
        let can_look = self.peers.features_of(agent.peer).prepares && !self.is_elsewhere(instance);
        can_look.then_some(agent.peer)
    }
}

/// The request to an agent that needs to know the whole cluster: others get its end as well.
fn shared(reqid: &ZeekString, prepare: Prepare, end: Arc<ZeekString>) -> Result<Outgoing, String> {
    let json = prepare.beginning().map_err(|error| error.to_string())?;
    Ok(Outgoing::Shared(SharedRequest {
        reqid: reqid.clone(),
        kind: PREPARE.into(),
        json,
        rest: end,
    }))
}

/// The request to an agent that does not.
fn alone(reqid: &ZeekString, prepare: &Prepare) -> Result<Outgoing, String> {
    let (reqid, kind) = (reqid.clone(), PREPARE.into());
    let json = to_json(prepare).map_err(|error| error.to_string())?;
    Ok(Outgoing::Link(LinkMessage::Request { reqid, kind, json }))
}

/// What an agent has found, or why it has not.
fn found(ok: bool, json: &ZeekString) -> Result<Prepared, String> {
    if ok {
        return from_json(json).map_err(|error| error.to_string());
    }
    let not_done = from_json::<NotDone>(json);
    Err(not_done.map_or_else(|error| error.to_string(), |said| said.reason.to_string()))
}

/// The ports of deployed nodes that are not on this instance, but may be on the same host.
fn ports_elsewhere(deployed: Option<&Configuration>, name: &ZeekString) -> Vec<Port> {
    let nodes = deployed.into_iter().flat_map(|config| &config.nodes);
    let elsewhere = nodes.filter(|node| node.instance != *name);
    elsewhere
        .flat_map(|node| [node.p, node.metrics_port])
        .flatten()
        .collect()
}

/// For nodes of the instance that could not run for the same reasons a failure with these, which zeek-client prints; and for each of them one
/// that is about the node, whose error it does not print.
fn failures(
    reqid: &ZeekString,
    name: &ZeekString,
    config: &Configuration,
    problems: Vec<Problem>,
) -> Vec<ResultRecord> {
    if problems.is_empty() {
        return Vec::new();
    }
    let mut found = link::reasons(problems);
    // What it says of other nodes does not count.
    let own = nodes_on(config, name).filter_map(|node| found.remove_entry(&node.name));
    let found: BTreeMap<ZeekString, String> = own.collect();
    let failure = |nodes: &[&ZeekString], reasons: &str| {
        let error = format!(
            "not deployed: {} cannot run on instance {name}: {reasons}; the deployed configuration is unchanged",
            nodes_named(nodes)
        );
        ResultRecord {
            instance: Some(name.clone()),
            ..ResultRecord::failure(reqid.clone(), error)
        }
    };
    let groups = link::by_reasons(&found).into_iter();
    let for_all = groups.map(|(reasons, nodes)| failure(&nodes, reasons));
    let of_each = found.iter().map(|(node, reasons)| ResultRecord {
        node: Some(node.clone()),
        ..failure(&[node], reasons)
    });
    for_all.chain(of_each).collect()
}

fn ignored(turn: &mut Turn<'_>, reqid: &ZeekString, name: &ZeekString) {
    turn.debug(format!(
        "ignoring answer {reqid} of {name}: no request waits for it"
    ));
    turn.counters.increment(Counted::AnswersIgnored);
}
