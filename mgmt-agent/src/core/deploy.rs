//! Deployments, and standing by.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::ZeekString;
use mgmt_api::{Configuration, Level, Node, ResultRecord, State, log::some_of};

use super::{
    action::{Action, Turn},
    agent::{Agent, Purpose},
    deployment::{Deployment, Goal, is_same},
    fates::Fates,
    node_spec,
    nodes::OwnNode,
    pending::{Kind, Logged, Pending},
    settings::Supervise,
    supervision::Processes,
};

/// Why nothing is started while the agent ends.
pub(super) const ENDING: &str = "the agent is ending, and its nodes with it: start it again first";

impl Agent {
    /// A request to run a configuration.
    ///
    /// DIFFERENCE(deployed-when-handed-on): a configuration counts as the running one when the Supervisor is told of its
    /// nodes. For Zeek's agent it is enough to have received it; if the Supervisor does not answer, a second attempt
    /// does nothing and succeeds.
    ///
    /// DIFFERENCE(running-configuration): for the configuration that runs already, the answer has the nodes that do not run, and for a
    /// controller of this project the Supervisor is asked whether they do. Zeek's agent answers with a success, also when
    /// nodes or Supervisor are gone. Zeek's controller may ask twice at once: then the first answer tells. For Zeek's controller
    /// the Supervisor is not asked, but if it has answered nothing since it was last told something, that is the answer.
    pub(super) fn deploy(
        &mut self,
        turn: &mut Turn,
        reqid: ZeekString,
        config: Configuration,
        force: bool,
        of_ours: bool,
    ) {
        let cluster = node_spec::checked_cluster(&config, self.settings.supervise);
        let refusal = match (cluster, &self.unavailable) {
            _ if self.is_ending => Some(ENDING.to_owned()),
            (Err(error), _) => Some(error),
            (_, Some(reason)) => Some(reason.clone()),
            (Ok(_), None) => None,
        };
        if let Some(error) = refusal {
            report(
                turn,
                Level::Warning,
                format!("configuration {}: not deployed: {error}", config.id),
            );
            self.refuse_deployment(turn, reqid, error);
            return;
        }
        let upcoming = self.deployment.as_ref().and_then(Deployment::upcoming);
        let current = upcoming.or(self.config.as_ref());
        let is_current = !force && current.is_some_and(|current| is_same(current, &config));
        let runs = is_current && upcoming.is_none();
        if let (true, false, Some(reason)) = (runs, of_ours, &self.silence) {
            self.refuse_deployment(turn, reqid, reason.as_str());
            return;
        }
        if is_current && !of_ours && self.deployment.is_some() {
            self.already_running(turn, reqid, &config.id);
            return;
        }
        let on_trial = self.trials.begins_with(&config);
        if runs && !on_trial {
            self.confirm(turn);
        }
        self.supersede(turn, &format!("superseded by deployment {reqid}"));
        let timeout = if of_ours {
            self.left_of(turn.now, self.settings.deployment_timeout)
        } else {
            self.settings.zeek_deployment_timeout
        };
        self.await_answer(turn, Kind::Deploy, reqid.clone(), timeout, Pending::Deployment);
        match (runs, of_ours) {
            // Nodes that are not started yet are looked for, for a controller of Zeek's as well.
            (true, of_ours) if of_ours || self.restoring.is_some() => {
                self.begin(turn, Goal::Confirm { reqid });
            }
            (true, _) => self.confirm_running(turn, reqid),
            (false, _) => {
                let goal = Goal::Run {
                    reqid,
                    config,
                    on_trial,
                };
                self.begin(turn, goal);
            }
        }
    }

    fn refuse_deployment(&self, turn: &mut Turn, reqid: ZeekString, error: impl Into<ZeekString>) {
        let results = vec![self.failure(reqid.clone(), error)];
        Self::respond(turn, Kind::Deploy, reqid, results, Logged::Results);
    }

    /// The answer to a request to end all nodes.
    ///
    /// DIFFERENCE(standby-without-supervisor): a failure while no Supervisor can be reached that could end them. They end when there is
    /// one again. Zeek's agent answers with a success before it asks its Supervisor.
    pub(super) fn stand_by_result(&self, reqid: ZeekString) -> ResultRecord {
        let has_nodes = self.stand_by_due || !self.nodes.is_empty();
        match &self.unavailable {
            Some(reason) if has_nodes => {
                self.failure(reqid, format!("{reason}; nodes end when there is one again"))
            }
            _ => self.success(reqid),
        }
    }

    /// The instance is not wanted any more: its nodes end.
    ///
    /// DIFFERENCE(one-answer): that is all. Zeek's agent publishes an answer to a deployment that no controller asked for, 4 to
    /// 7 seconds later; and a second, failed one for each deployment without nodes.
    pub(super) fn stand_by(&mut self, turn: &mut Turn) {
        self.supersede(turn, "superseded by standing down");
        self.config = None;
        self.trials.end();
        self.stand_by_due = true;
        if self.unavailable.is_none() {
            self.begin(turn, Goal::StandBy);
        }
    }

    pub(super) fn begin(&mut self, turn: &mut Turn, goal: Goal) {
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
            self.refuse_deployment(turn, reqid, error);
        }
    }

    /// The Supervisor says which nodes it has: those go, the new ones come.
    pub(super) fn apply(&mut self, turn: &mut Turn, status: &Processes) {
        let waiting = self.deployment.take_if(|deployment| deployment.is_waiting());
        let Some(Deployment::Waiting { goal, .. }) = waiting else {
            return;
        };
        if let Goal::Confirm { reqid } = goal {
            self.compare(turn, status);
            self.confirm_running(turn, reqid);
            return;
        }
        if let Goal::Run { config, .. } = &goal {
            self.not_done(config);
        }
        let wanted = match &goal {
            Goal::Run { config, .. } => Some(config),
            _ => None,
        };
        let mut fates = self.fates(status, wanted, &self.stopped);
        for name in fates.ended() {
            self.destroy(turn, Purpose::Destroy(name.clone()), &name);
        }
        let by_trial = matches!(&goal, Goal::Run { on_trial: true, .. });
        self.trials.replaced(self.config.as_ref(), by_trial);
        let kept = self.take_kept(&fates);
        let dropped = self.drop_nodes(turn, wanted);
        self.stand_by_due = false;
        self.restoring = None;
        let Goal::Run { reqid, config, .. } = goal else {
            self.stands_by(turn, &fates);
            return;
        };
        self.add_nodes(&config, status, &kept, &dropped);
        for (name, supervised) in status.iter().filter(|(name, _)| fates.keeps(name)) {
            self.node_found(turn, name, supervised);
        }
        fates.configured(self.nodes.keys());
        self.stopped.retain(|name| self.nodes.contains_key(name));
        report(turn, Level::Info, self.intention(&config.id, &fates));
        self.warn_of_idle(turn, &config.id);
        self.set_configuration(config);
        self.remember(turn);
        self.start_deployed(turn, reqid, &fates);
    }

    /// No node is left that is to run.
    fn stands_by(&mut self, turn: &mut Turn, fates: &Fates) {
        self.stopped.clear();
        self.done.clear();
        self.remember(turn);
        let ending = fates.ended();
        if !ending.is_empty() {
            let line = format!("no longer in the cluster: ends {}", some_of(&ending));
            report(turn, Level::Info, line);
        }
    }

    /// Takes in this instance's nodes of a configuration: those that run on as they are, and among others those that were dropped with the
    /// configuration before.
    fn add_nodes(
        &mut self,
        config: &Configuration,
        status: &Processes,
        kept: &BTreeMap<ZeekString, OwnNode>,
        dropped: &BTreeSet<ZeekString>,
    ) {
        let is_own = |node: &&Node| node.instance == self.settings.name;
        let nodes: Vec<Node> = config.nodes.iter().filter(is_own).cloned().collect();
        for mut node in nodes {
            let name = node.name.clone();
            let own = if let Some(before) = kept.get(&name) {
                node.state = before.node.state;
                OwnNode {
                    node,
                    ..before.clone()
                }
            } else {
                let was_leaving = self.leaving.remove(&name).is_some();
                node.state = if dropped.contains(&name) || was_leaving || self.stopped.contains(&name) {
                    State::Stopped
                } else {
                    State::Unknown
                };
                OwnNode::new(node, status.contains_key(&name))
            };
            self.nodes.insert(name, own);
        }
    }

    /// Has the nodes of the deployed configuration start that do not run, and waits for all that are not up.
    fn start_deployed(&mut self, turn: &mut Turn, reqid: ZeekString, fates: &Fates) {
        let is_awaited = |(_, own): &(&ZeekString, &OwnNode)| !matches!(own.node.state, State::Running);
        let is_to_run = |(name, _): &(&ZeekString, &OwnNode)| !self.stopped.contains(*name);
        let awaited = self.nodes.iter().filter(is_to_run).filter(is_awaited);
        let awaited: BTreeSet<ZeekString> = awaited.map(|(name, _)| name.clone()).collect();
        // DIFFERENCE(idle-instance): with nodes on other instances only, Zeek's agent waits for nodes that never come
        //
        if self.nodes.is_empty() {
            self.end(Kind::Deploy, &reqid);
            let results = vec![self.success(reqid.clone())];
            Self::respond(turn, Kind::Deploy, reqid, results, Logged::Results);
            return;
        }
        let starting = awaited.iter().filter(|name| !fates.keeps(name));
        let starting: Vec<ZeekString> = starting.cloned().collect();
        self.deployment = Some(Deployment::Starting {
            reqid,
            awaited,
            failed: BTreeMap::new(),
        });
        if let Some(config) = self.config.clone().filter(|_| !fates.told().is_empty()) {
            self.relayout(turn, &config, fates.told());
        }
        for name in starting {
            self.create(turn, &name);
        }
        self.finish_deployment(turn);
    }

    /// Answers a deployment of the running configuration, once its nodes that are starting are up.
    fn confirm_running(&mut self, turn: &mut Turn, reqid: ZeekString) {
        let names: Vec<ZeekString> = self.nodes.keys().cloned().collect();
        for name in &names {
            self.tell_crash(turn, name);
        }
        let mut awaited = BTreeSet::new();
        let mut failed = BTreeMap::new();
        for (name, own) in self
            .nodes
            .iter()
            .filter(|(name, _)| !self.stopped.contains(*name))
        {
            match own.node.state {
                State::Running => {}
                State::Pending => drop(awaited.insert(name.clone())),
                _ => drop(failed.insert(name.clone(), own.why_not_running())),
            }
        }
        if awaited.is_empty() && failed.is_empty() {
            self.end(Kind::Deploy, &reqid);
            let id = self.config.as_ref().map(|config| config.id.clone());
            self.already_running(turn, reqid, &id.unwrap_or_default());
            return;
        }
        self.deployment = Some(Deployment::Starting {
            reqid,
            awaited,
            failed,
        });
        self.finish_deployment(turn);
    }

    fn already_running(&self, turn: &mut Turn, reqid: ZeekString, config: &ZeekString) {
        turn.info(format!("already running config {config}"));
        let results = vec![self.success(reqid.clone())];
        Self::respond(turn, Kind::Deploy, reqid, results, Logged::Results);
    }

    /// A node of the deployment has said hello.
    pub(super) fn node_came_up(&mut self, turn: &mut Turn, name: &ZeekString) {
        if let Some(deployment) = &mut self.deployment {
            deployment.node_came_up(name);
        }
        self.finish_deployment(turn);
    }

    /// Answers the deployment if nothing is waited for.
    pub(super) fn finish_deployment(&mut self, turn: &mut Turn) {
        let complete = self.deployment.take_if(|deployment| deployment.is_complete());
        if let Some(Deployment::Starting { reqid, failed, .. }) = complete {
            self.end(Kind::Deploy, &reqid);
            self.respond_deployed(turn, reqid, Vec::new(), &failed);
        }
    }

    /// Forgets the running configuration. Returns the names of its nodes here. Those that are not of the next one are STOPPED when their
    /// processes have ended, if that is told.
    fn drop_nodes(&mut self, turn: &mut Turn, next: Option<&Configuration>) -> BTreeSet<ZeekString> {
        let names: BTreeSet<ZeekString> = self.nodes.keys().cloned().collect();
        let is_told = self.settings.supervise != Supervise::Zeek;
        let next = next.into_iter().flat_map(|config| &config.nodes);
        let next = next.filter(|node| node.instance == self.settings.name);
        let next: BTreeSet<&ZeekString> = next.map(|node| &node.name).collect();
        for name in &names {
            self.tell_crash(turn, name);
        }
        for name in &names {
            let has_process = self.nodes.get(name).is_some_and(|own| own.pid.is_some());
            if is_told && has_process && !next.contains(name) {
                let own = self.nodes.remove(name);
                self.leaving.extend(own.map(|own| (name.clone(), own)));
            } else {
                self.set_state(turn, name, State::Stopped);
            }
        }
        self.starts.configuration_replaced();
        self.nodes.clear();
        self.config = None;
        names
    }
}

pub(super) fn report(turn: &mut Turn, level: Level, message: String) {
    turn.push(Action::Report { level, message });
}
