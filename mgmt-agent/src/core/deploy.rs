//! Deployments, standing by, and what is left when the Supervisor has been away.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::{ZeekString, to_data};
use mgmt_api::{Configuration, ResultRecord, State, SupervisorStatus};

use super::{
    action::Action,
    agent::{Agent, Purpose},
    node_config,
    nodes::OwnNode,
    requests::{Kind, Logged, Pending, TIMED_OUT},
    supervision::Command,
    turn::Turn,
};

/// What marks the processes of controllers and agents in a Supervisor (`*/boot.zeek`). They are left alone.
const MANAGEMENT_NODE: &[u8] = b"ZEEK_MANAGEMENT_NODE";

/// The same up to 5.0.0-rc1.
const OLD_MANAGEMENT_NODE: &[u8] = b"ZEEK_CLUSTER_MGMT_NODE";

/// What a process with this environment is to the Management framework; none if it is no part of it.
pub(super) fn management_role(env: &BTreeMap<ZeekString, ZeekString>) -> Option<&ZeekString> {
    env.get(MANAGEMENT_NODE).or_else(|| env.get(OLD_MANAGEMENT_NODE))
}

/// A configuration on its way to the Supervisor.
#[derive(Debug)]
pub(super) enum Deployment {
    /// Waits for the Supervisor's status, under this command.
    Waiting { command: ZeekString, goal: Goal },
    /// The nodes of this request have been handed to the Supervisor.
    Starting {
        reqid: ZeekString,
        /// The nodes that have not said hello.
        awaited: BTreeSet<ZeekString>,
        /// The nodes that will not.
        failed: BTreeSet<ZeekString>,
        /// Why not.
        problems: Vec<ResultRecord>,
    },
}

/// What a deployment is for.
#[derive(Debug)]
pub(super) enum Goal {
    /// To run this configuration, for the request of this id.
    Run {
        reqid: ZeekString,
        config: Configuration,
    },
    /// To end all nodes.
    StandBy,
}

impl Deployment {
    /// The configuration that waits to be handed on.
    const fn upcoming(&self) -> Option<&Configuration> {
        match self {
            Self::Waiting {
                goal: Goal::Run { config, .. },
                ..
            } => Some(config),
            _ => None,
        }
    }

    const fn reqid(&self) -> Option<&ZeekString> {
        match self {
            Self::Waiting {
                goal: Goal::Run { reqid, .. },
                ..
            }
            | Self::Starting { reqid, .. } => Some(reqid),
            Self::Waiting { .. } => None,
        }
    }
}

impl Agent {
    /// A request to run a configuration.
    ///
    /// DIFFERENCE(deployed-when-handed-on): a configuration counts as the running one when the Supervisor is told of its
    /// nodes. For Zeek's agent it is enough to have received it; if the Supervisor does not answer, a second attempt
    /// does nothing and succeeds.
    pub(super) fn deploy(&mut self, turn: &mut Turn, reqid: ZeekString, config: Configuration, force: bool) {
        let current = self.deployment.as_ref().and_then(Deployment::upcoming);
        let current = current.or(self.config.as_ref());
        if !force && current.is_some_and(|current| current.id == config.id) {
            turn.info(format!("already running config {}", config.id));
            let results = vec![self.success(reqid.clone())];
            self.respond(turn, Kind::Deploy, reqid, results, Logged::Results);
            return;
        }
        let refusal = match (node_config::cluster(&config), &self.unavailable) {
            (Err(error), _) => Some(error),
            (_, Some(reason)) => Some(reason.clone()),
            (Ok(_), None) => None,
        };
        if let Some(error) = refusal {
            let results = vec![self.failure(reqid.clone(), error)];
            self.respond(turn, Kind::Deploy, reqid, results, Logged::Results);
            return;
        }
        self.supersede(turn, &format!("superseded by deployment {reqid}"));
        self.await_answer(turn, Kind::Deploy, reqid.clone(), Pending::Deployment);
        self.begin(turn, Goal::Run { reqid, config });
    }

    /// The instance is not wanted any more: its nodes end.
    ///
    /// DIFFERENCE(one-answer): that is all. Zeek's agent publishes an answer to a deployment that nobody asked for, 4 to
    /// 7 seconds later; and a second, failed one for each deployment without nodes.
    pub(super) fn stand_by(&mut self, turn: &mut Turn) {
        self.supersede(turn, "superseded by standing down");
        self.config = None;
        self.stand_by_due = true;
        if self.unavailable.is_none() {
            self.begin(turn, Goal::StandBy);
        }
    }

    fn begin(&mut self, turn: &mut Turn, goal: Goal) {
        let command = self.ask_status(turn, Purpose::Deploy);
        self.deployment = Some(Deployment::Waiting { command, goal });
    }

    /// Ends a deployment because of another one.
    ///
    /// DIFFERENCE(superseded-deployment): it is answered at once. Zeek's agent lets it time out and reports the later
    /// one's nodes for it.
    fn supersede(&mut self, turn: &mut Turn, error: &str) {
        if let Some(Deployment::Waiting { command, .. }) = &self.deployment {
            self.commands.remove(command);
        }
        self.abandon_deployment(turn, error);
    }

    /// Answers a deployment that cannot be carried out.
    pub(super) fn abandon_deployment(&mut self, turn: &mut Turn, error: &str) {
        let Some(reqid) = self
            .deployment
            .take()
            .and_then(|deployment| deployment.reqid().cloned())
        else {
            return;
        };
        if self.end(Kind::Deploy, &reqid) {
            let results = vec![self.failure(reqid.clone(), error)];
            self.respond(turn, Kind::Deploy, reqid, results, Logged::Results);
        }
    }

    /// The Supervisor says which nodes it has: those go, the new ones come.
    pub(super) fn apply(&mut self, turn: &mut Turn, status: &SupervisorStatus) {
        let goal = match self.deployment.take() {
            Some(Deployment::Waiting { goal, .. }) => goal,
            other => {
                self.deployment = other;
                return;
            }
        };
        for (name, supervised) in &status.nodes {
            if management_role(&supervised.node.env).is_none() {
                let id = self.ids.next_id();
                self.commands.insert(id.clone(), Purpose::Destroy(name.clone()));
                turn.push(Action::Supervise(Command::Destroy {
                    id,
                    node: name.clone(),
                }));
            }
        }
        let ended = self.drop_nodes(turn);
        self.stand_by_due = false;
        let Goal::Run { reqid, config } = goal else {
            return;
        };
        for node in &config.nodes {
            if node.instance == self.settings.name {
                let mut node = node.clone();
                node.state = if ended.contains(&node.name) {
                    State::Stopped
                } else {
                    State::Unknown
                };
                self.nodes.insert(node.name.clone(), OwnNode::new(node));
            }
        }
        self.config = Some(config);
        let own: Vec<ZeekString> = self.nodes.keys().cloned().collect();
        // DIFFERENCE(idle-instance): with nodes on other instances only, Zeek's agent waits for nodes that never come
        //
        if own.is_empty() {
            self.end(Kind::Deploy, &reqid);
            let results = vec![self.success(reqid.clone())];
            self.respond(turn, Kind::Deploy, reqid, results, Logged::Results);
            return;
        }
        self.deployment = Some(Deployment::Starting {
            reqid,
            awaited: own.iter().cloned().collect(),
            failed: BTreeSet::new(),
            problems: Vec::new(),
        });
        for name in own {
            self.create(turn, &name);
        }
    }

    /// Has the Supervisor start a node of the running configuration.
    fn create(&mut self, turn: &mut Turn, name: &ZeekString) {
        let (Some(own), Some(config)) = (self.nodes.get(name), &self.config) else {
            return;
        };
        let prepared = node_config::directory(&self.settings.state_dir, name)
            .and_then(|directory| Ok((directory, node_config::cluster(config)?)));
        let (directory, cluster) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => {
                self.set_state(turn, name, State::Failed);
                self.will_not_start(turn, name, &reason);
                return;
            }
        };
        let script = &self.settings.node_script;
        let node = node_config::node_config(&own.node, directory.clone(), script, &cluster);
        turn.push(Action::MakeDirectory { path: directory });
        let id = self.ids.next_id();
        self.start_due(turn, name, id.clone());
        self.commands.insert(id.clone(), Purpose::Create(name.clone()));
        turn.push(Action::Supervise(Command::Create {
            id,
            node: Box::new(node),
        }));
    }

    /// The Supervisor does not start a node.
    pub(super) fn not_created(&mut self, turn: &mut Turn, name: &ZeekString, id: &ZeekString, reason: &str) {
        if self.start_refused(turn, name, id, State::Failed) {
            self.will_not_start(turn, name, reason);
        } else {
            self.raise(turn, create_error(name, reason), name.clone());
        }
    }

    /// A node of the running configuration cannot be started.
    ///
    /// DIFFERENCE(refused-node): the deployment does not wait for it, and its answer says why. With Zeek's agent it
    /// times out.
    fn will_not_start(&mut self, turn: &mut Turn, name: &ZeekString, reason: &str) {
        let error = create_error(name, reason);
        self.raise(turn, error.clone(), name.clone());
        let instance = self.settings.name.clone();
        if let Some(Deployment::Starting {
            reqid,
            awaited,
            failed,
            problems,
        }) = &mut self.deployment
            && awaited.remove(name)
        {
            failed.insert(name.clone());
            problems.push(ResultRecord {
                instance: Some(instance),
                ..ResultRecord::failure(reqid.clone(), error)
            });
        }
        self.finish_deployment(turn);
    }

    /// A node of the deployment has said hello.
    pub(super) fn node_came_up(&mut self, turn: &mut Turn, name: &ZeekString) {
        if let Some(Deployment::Starting { awaited, failed, .. }) = &mut self.deployment {
            awaited.remove(name);
            failed.remove(name);
        }
        self.finish_deployment(turn);
    }

    /// Answers the deployment if nothing is waited for.
    fn finish_deployment(&mut self, turn: &mut Turn) {
        if matches!(&self.deployment, Some(Deployment::Starting { awaited, .. }) if awaited.is_empty())
            && let Some(Deployment::Starting {
                reqid,
                failed,
                problems,
                ..
            }) = self.deployment.take()
        {
            self.end(Kind::Deploy, &reqid);
            self.respond_deployed(turn, reqid, problems, &failed);
        }
    }

    pub(super) fn deployment_timed_out(&mut self, turn: &mut Turn, reqid: ZeekString) {
        let mut problems = vec![self.failure(reqid.clone(), TIMED_OUT)];
        if let Some(reason) = &self.unavailable {
            problems.push(self.failure(reqid.clone(), reason.as_str()));
        }
        match self.deployment.take() {
            Some(Deployment::Starting {
                awaited,
                mut failed,
                problems: more,
                ..
            }) => {
                problems.extend(more);
                // DIFFERENCE(unfinished-nodes): all that Zeek's agent says is that the request timed out.
                let lacking = awaited
                    .iter()
                    .filter_map(|name| self.nodes.get(name)?.what_it_lacks());
                problems.extend(lacking.map(|error| self.failure(reqid.clone(), error)));
                failed.extend(awaited);
                self.respond_deployed(turn, reqid, problems, &failed);
            }
            Some(Deployment::Waiting { command, .. }) => {
                self.commands.remove(&command);
                self.respond(turn, Kind::Deploy, reqid, problems, Logged::Results);
            }
            None => self.respond(turn, Kind::Deploy, reqid, problems, Logged::Results),
        }
    }

    /// Answers a deployment: what went wrong, then each node, with the output of those that failed.
    fn respond_deployed(
        &self,
        turn: &mut Turn,
        reqid: ZeekString,
        problems: Vec<ResultRecord>,
        failed: &BTreeSet<ZeekString>,
    ) {
        let mut results = problems;
        for (name, own) in &self.nodes {
            let success = !failed.contains(name);
            let outputs = own.outputs.as_ref().filter(|_| !success);
            results.push(ResultRecord {
                success,
                data: outputs.and_then(|outputs| to_data(outputs).ok()),
                node: Some(name.clone()),
                ..self.success(reqid.clone())
            });
        }
        self.respond(turn, Kind::Deploy, reqid, results, Logged::Results);
    }

    /// Forgets the running configuration. Returns the names of its nodes here.
    fn drop_nodes(&mut self, turn: &mut Turn) -> BTreeSet<ZeekString> {
        let names: BTreeSet<ZeekString> = self.nodes.keys().cloned().collect();
        for name in &names {
            self.set_state(turn, name, State::Stopped);
        }
        self.nodes.clear();
        self.config = None;
        names
    }

    /// The Supervisor cannot be reached any more.
    pub(super) fn supervisor_lost(&mut self, turn: &mut Turn, reason: &str) {
        let reason = format!("lost the Supervisor: {reason}");
        if self.unavailable.replace(reason.clone()).is_some() {
            return;
        }
        self.raise(turn, reason.clone(), ZeekString::default());
        self.nodes_unknown(turn);
        for (id, purpose) in std::mem::take(&mut self.commands) {
            match purpose {
                Purpose::Deploy => self.abandon_deployment(turn, &reason),
                Purpose::GetNodes(reqid) => {
                    if self.end(Kind::GetNodes, &reqid) {
                        self.respond_without_status(turn, reqid, &reason);
                    }
                }
                Purpose::Restart { reqid, node } => self.not_restarted(turn, &reqid, &id, node, &reason),
                // Whether it was done shows when the Supervisor is back.
                Purpose::Create(_) | Purpose::Destroy(_) | Purpose::Recover => {}
            }
        }
    }

    /// The Supervisor runs but does not answer, and is started again. That is news even if it could not be reached before.
    pub(super) fn supervisor_given_up(&mut self, turn: &mut Turn, reason: &str) {
        let was_there = self.unavailable.is_none();
        self.supervisor_lost(turn, reason);
        if !was_there {
            self.raise(
                turn,
                format!("the Supervisor hangs: {reason}"),
                ZeekString::default(),
            );
        }
    }

    /// The Supervisor can be reached again: are the nodes still there, or are they to go?
    pub(super) fn recover(&mut self, turn: &mut Turn) {
        if self.stand_by_due {
            self.begin(turn, Goal::StandBy);
        } else if !self.nodes.is_empty() {
            self.ask_status(turn, Purpose::Recover);
        }
    }

    /// The Supervisor's nodes after it has been away.
    ///
    /// DIFFERENCE(supervisor-recovery): nodes that it has not got any more are started again. Zeek's agent ends and begins
    /// with its Supervisor, and waits for a controller to deploy.
    pub(super) fn recovered(&mut self, turn: &mut Turn, status: &SupervisorStatus) {
        if matches!(self.deployment, Some(Deployment::Waiting { .. })) {
            return;
        }
        let names: Vec<ZeekString> = self.nodes.keys().cloned().collect();
        for name in names {
            if let Some(found) = status.nodes.get(&name) {
                self.node_found(turn, &name, found.pid);
            } else {
                let message = format!("the Supervisor has lost node {name}, starting it again");
                turn.warning(message.clone());
                self.note(turn, message.into(), name.clone());
                self.create(turn, &name);
            }
        }
    }
}

fn create_error(name: &ZeekString, reason: &str) -> String {
    format!("failed to create node {name}: {reason}")
}
