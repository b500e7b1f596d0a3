//! Deployments: gather the instances, accept the configuration, act on it, collect what comes of it.
//!
//! Before a client's deployment is accepted, nothing changes: instances are connected to and welcomed, which has no effect on them. It is
//! accepted when all are there; then it is stored, instances that it lacks are stood down, and the others get it. A frozen agent that was
//! welcomed earlier cannot be told from one that lives.

use std::time::Duration;

use broker_codec::{Data, data::ZeekString};
use mgmt_api::{AgentRequest, Configuration, Now, RequestKind, ResultRecord};

use super::{
    absence::named,
    action::{Action, Level},
    configurations::Slot,
    controller::{AfterWrite, Controller},
    fanout::Fanout,
    requests::{Key, Logged, Pending, listed},
    settings::AbsentInstances,
    turn::Turn,
};

const KIND: RequestKind = RequestKind::Deploy;

/// How long a deployment may take in all, in fifths of the request time-out: with Zeek's defaults 18 seconds, of the 20
/// that zeek-client waits. Our agents answer after 15.
pub const DEPLOYMENT_FIFTHS: u32 = 9;

/// How long absent instances are waited for if the deployment goes on without them, in fifths of the request time-out: with Zeek's
/// defaults 2 seconds, in which an agent connects that can.
const SKIP_FIFTHS: u32 = 1;

/// A deployment that is under way.
#[derive(Debug)]
pub(super) struct Deployment {
    /// The request that it carries out. It may time out, and be answered, before the deployment ends.
    pub(super) key: Key,
    config: Configuration,
    started: Now,
    phase: Phase,
    /// Whether it has to be accepted: it is a client's, and what the controller does by itself was accepted earlier.
    is_new: bool,
    /// Whether agents have become ready too late to be asked: then everything is deployed once more.
    again: bool,
}

#[derive(Debug)]
enum Phase {
    /// Waits until the instances of its configuration are there.
    Gathering,
    /// The controller's own: waits until the instances of the cluster are ready.
    Waiting,
    /// They are. Its configuration is being stored as the deployed one.
    Storing,
    /// It is stored, and its instances are those of the cluster. Waits until all that are connected are ready.
    Accepted,
    /// Waits for the agents, which have got the configuration.
    Deploying(Fanout),
}

impl Deployment {
    const fn new(key: Key, config: Configuration, started: Now, is_new: bool) -> Self {
        let phase = if is_new { Phase::Gathering } else { Phase::Waiting };
        Self {
            key,
            config,
            started,
            phase,
            is_new,
            again: false,
        }
    }
}

impl Controller {
    /// A client's request to deploy what was staged last.
    ///
    /// DIFFERENCE(accepted-first): nothing is stood down, and nothing that would stick is sent, before every instance of the configuration is
    /// there. Zeek stands down first, and leaves it at that when the deployment fails.
    pub(super) fn deploy_ready(&mut self, turn: &mut Turn, reqid: ZeekString) {
        let Some(ready) = &self.configurations.ready else {
            let error = "no configuration available to deploy";
            self.refuse(turn, KIND, reqid, error, Logged::Pending);
            return;
        };
        if let Some(error) = self.still_pending(turn.now) {
            self.refuse(turn, KIND, reqid, error, Logged::Pending);
            return;
        }
        let config = ready.clone();
        let key = Key::Client(KIND, reqid);
        let gathered_by = match self.settings.absent_instances {
            AbsentInstances::Fail => self.settings.request_timeout,
            AbsentInstances::Skip => self.fifths(SKIP_FIFTHS),
        };
        self.await_until(turn.now + gathered_by, key.clone(), Pending::Deployment);
        let deployment = Deployment::new(key, config.clone(), turn.now, true);
        self.deployment = Some(deployment);
        self.gather(turn, &config);
        self.progress(turn);
    }

    /// Why another deployment cannot begin.
    fn still_pending(&self, now: Now) -> Option<String> {
        let earlier = self.deployment.as_ref()?;
        let reason = match &earlier.phase {
            Phase::Gathering => format!("it waits for {}", named(&self.missing())),
            Phase::Waiting | Phase::Accepted => {
                format!("it waits for {}", named(self.instances.wanted_missing()))
            }
            Phase::Storing => "its configuration is being stored".into(),
            Phase::Deploying(fanout) => format!("it waits for the answer of {}", named(fanout.silent())),
        };
        let ends = earlier.started + self.fifths(DEPLOYMENT_FIFTHS);
        Some(format!(
            "earlier deployment {} still pending since {}: {reason}; it ends at {} at the latest",
            earlier.key.reqid(),
            self.told(now, earlier.started),
            self.told(now, ends)
        ))
    }

    fn fifths(&self, count: u32) -> Duration {
        self.settings.request_timeout.saturating_mul(count) / 5
    }

    /// At start: brings the agents back to the deployed configuration.
    pub(super) fn deploy_persisted(&mut self, turn: &mut Turn) {
        let Some(config) = self.configurations.deployed.clone() else {
            return;
        };
        let reqid = self.ids.next_id();
        turn.info(format!(
            "deploying persisted configuration {}, request {reqid}",
            config.id
        ));
        self.adopt(turn, &config);
        self.reach_dismissed(turn);
        let nothing_to_do = config.instances.is_empty();
        self.deploy_again(turn, reqid, config);
        if nothing_to_do {
            self.store_as_deployed(turn);
        }
    }

    /// Starts a deployment of the controller's own; there is no other.
    ///
    /// DIFFERENCE(deployed-instances): the cluster's instances are those of the deployed configuration. Zeek goes by the one staged last, also
    /// when it deploys another.
    fn deploy_again(&mut self, turn: &mut Turn, reqid: ZeekString, config: Configuration) {
        let key = Key::Internal(reqid);
        self.await_answer(turn, key.clone(), Pending::Deployment);
        self.deployment = Some(Deployment::new(key, config, turn.now, false));
    }

    /// Instances may have become ready, or gone: goes on with the deployment that waits for that. Returns whether it does.
    pub(super) fn progress(&mut self, turn: &mut Turn) -> bool {
        match self.deployment.as_ref().map(|deployment| &deployment.phase) {
            Some(Phase::Gathering) if self.missing().is_empty() || self.can_skip(turn.now) => {
                self.all_gathered(turn);
                true
            }
            Some(Phase::Accepted) if self.connected_are_ready() => {
                self.ask_to_deploy(turn);
                true
            }
            _ => false,
        }
    }

    /// An instance has become ready.
    pub(super) fn became_ready(&mut self, turn: &mut Turn, name: &ZeekString) {
        if !self.progress(turn) && self.instances.wanted.contains_key(name) {
            self.check_instances_ready(turn);
            if self.deployment.is_none() && !self.instances.all_ready() {
                self.warn_of_waiting(turn, name);
            }
        }
    }

    /// As in Zeek, an instance gets the deployed configuration when all are there.
    fn warn_of_waiting(&self, turn: &mut Turn, name: &ZeekString) {
        let missing = self.instances.wanted_missing();
        let missing: Vec<_> = missing.map(|name| self.absence(turn.now, name)).collect();
        let missing = missing.join(", ");
        turn.push(Action::Report {
            level: Level::Warning,
            message: format!(
                "instance {name} may have no nodes until all instances are connected: {missing}; deploy without what is missing, or start \
                 the controller with --absent-instances skip"
            ),
        });
    }

    fn all_gathered(&mut self, turn: &mut Turn) {
        self.warn_of_missing(turn);
        if !self.instances.gathered.is_empty() {
            let missing = self.missing();
            let gathered = self.instances.gathered.keys();
            turn.info(format!(
                "rx Management::Controller::API:notify_agents_ready {}",
                listed(gathered.filter(|name| !missing.contains(name)))
            ));
        }
        self.hand_out(turn);
    }

    /// If all wanted instances are ready, which may be none, goes on from there; with those that are, if the others are not waited for.
    pub(super) fn check_instances_ready(&mut self, turn: &mut Turn) {
        if self.settings.absent_instances == AbsentInstances::Skip || self.instances.all_ready() {
            self.agents_ready(turn);
        }
    }

    /// Whether no welcome of a wanted instance is outstanding.
    fn connected_are_ready(&self) -> bool {
        let mut missing = self.instances.wanted_missing();
        missing.all(|name| self.membership.agent(name).is_none())
    }

    /// All wanted instances are ready (`notify_agents_ready`, an event in Zeek). If nothing is being deployed, some of
    /// them may have restarted since the last deployment: repeats it.
    ///
    /// A deployment without instances also gets here and is repeated, without effect.
    fn agents_ready(&mut self, turn: &mut Turn) {
        match &mut self.deployment {
            Some(deployment) if !matches!(deployment.phase, Phase::Waiting) => {
                deployment.again = true;
                if matches!(deployment.phase, Phase::Gathering) {
                    return;
                }
            }
            _ => {}
        }
        turn.info(format!(
            "rx Management::Controller::API:notify_agents_ready {}",
            listed(self.instances.wanted_ready())
        ));
        if self.deployment.is_none()
            && let Some(config) = self.configurations.deployed.clone()
        {
            let reqid = self.ids.next_id();
            turn.info(format!("no deployment in progress, triggering via {reqid}"));
            self.deploy_again(turn, reqid, config);
        }
        if self
            .deployment
            .as_ref()
            .is_some_and(|deployment| matches!(deployment.phase, Phase::Waiting))
        {
            self.hand_out(turn);
        }
    }

    /// The instances are there to get the configuration.
    ///
    /// DIFFERENCE(late-hosts): hosts that were not known when the configuration was staged are filled in now. Zeek
    /// leaves them open.
    ///
    /// DIFFERENCE(deployment-clock): from here on there is more time, up to nine fifths of the request time-out after the request, so that
    /// agents can answer, and the client, which waits for twice as long, gets an answer. Zeek's clock starts with the request and gives
    /// as much as the time-out.
    fn hand_out(&mut self, turn: &mut Turn) {
        let Some(mut deployment) = self.deployment.take() else {
            return;
        };
        let instances = std::mem::take(&mut deployment.config.instances);
        deployment.config.instances = self.with_observed_hosts(instances);
        let deadline = deployment.started + self.fifths(DEPLOYMENT_FIFTHS);
        self.requests.postpone(&deployment.key, deadline);
        self.deployment = Some(deployment);
        self.store_as_deployed(turn);
    }

    /// Makes the deployment's configuration the deployed one, if it is not already, before any agent gets it.
    ///
    /// DIFFERENCE(deployed-anyway): what is given to agents counts as deployed from then on, whether they answer in time,
    /// and whether this process lives to hear them. In Zeek it does when all have answered; until then the
    /// configuration before that is the deployed one, and is forced back on the agents when one of them returns, or
    /// when the controller is started again.
    fn store_as_deployed(&mut self, turn: &mut Turn) {
        let Some(deployment) = &mut self.deployment else {
            return;
        };
        deployment.phase = Phase::Storing;
        if self.configurations.deployed.as_ref() == Some(&deployment.config) {
            self.stored_as_deployed(turn, Ok(()));
        } else {
            let config = deployment.config.clone();
            let dismissed = if deployment.is_new {
                self.instances.dismissed_then()
            } else {
                self.instances.dismissed.clone()
            };
            let entries = vec![(Slot::Deployed, config)];
            let dismissed = dismissed.into_values().collect();
            self.write(turn, entries, Some(dismissed), AfterWrite::HandOut);
        }
    }

    /// The deployment's configuration is the deployed one now, or cannot be stored.
    pub(super) fn stored_as_deployed(&mut self, turn: &mut Turn, outcome: Result<(), String>) {
        let Some(mut deployment) = self.deployment.take() else {
            return;
        };
        match (outcome, deployment.is_new) {
            (Ok(()), is_new) => {
                deployment.is_new = false;
                self.go_on(turn, deployment, is_new);
            }
            (Err(error), true) => {
                let waited_for = self.requests.remove(&deployment.key).is_some();
                if let (true, Key::Client(kind, reqid)) = (waited_for, &deployment.key) {
                    let error =
                        format!("not deployed: cannot store the configuration: {error}; nothing was changed");
                    self.refuse(turn, *kind, reqid.clone(), error, Logged::Pending);
                }
                self.not_accepted(turn, &deployment);
            }
            // Only hosts were filled in. What is stored is good enough.
            (Err(_), false) => {
                if let Some(deployed) = self.configurations.deployed.clone() {
                    deployment.config = deployed;
                    self.go_on(turn, deployment, false);
                }
            }
        }
    }

    fn go_on(&mut self, turn: &mut Turn, mut deployment: Deployment, is_new: bool) {
        if !deployment.config.instances.is_empty() && !self.requests.contains(&deployment.key) {
            self.as_own(turn, &mut deployment);
        }
        // While the instances change, nothing is to be done about it.
        deployment.phase = Phase::Storing;
        let without_instances = deployment.config.instances.is_empty();
        self.deployment = Some(deployment);
        if is_new {
            self.accept(turn);
        }
        if without_instances {
            self.finish_deployment(turn, Vec::new());
            return;
        }
        if let Some(deployment) = &mut self.deployment {
            deployment.phase = Phase::Accepted;
        }
        self.progress(turn);
    }

    /// The client has its answer, and the deployment goes on.
    fn as_own(&mut self, turn: &mut Turn, deployment: &mut Deployment) {
        let reqid = self.ids.next_id();
        turn.info(format!(
            "deployment {} goes on as {reqid}",
            deployment.key.reqid()
        ));
        deployment.key = Key::Internal(reqid);
        deployment.started = turn.now;
        let deadline = turn.now + self.fifths(DEPLOYMENT_FIFTHS);
        self.await_until(deadline, deployment.key.clone(), Pending::Deployment);
    }

    /// Gives the configuration to all instances that are ready.
    fn ask_to_deploy(&mut self, turn: &mut Turn) {
        let Some(mut deployment) = self.deployment.take() else {
            return;
        };
        let config = &deployment.config;
        let absent = self.not_deployed(turn.now, deployment.key.reqid(), config);
        let instances: Vec<ZeekString> = self.instances.wanted_ready().cloned().collect();
        for name in self.instances.caught_up() {
            turn.push(Action::Report {
                level: Level::Info,
                message: format!(
                    "instance {name} is there now and gets configuration {}",
                    config.id
                ),
            });
        }
        let fanout = self.ask(turn, instances, absent, |reqid| AgentRequest::Deploy {
            reqid,
            config: config.clone(),
            force: false,
        });
        let none_asked = fanout.silent().next().is_none();
        deployment.phase = Phase::Deploying(fanout);
        deployment.again = false;
        self.deployment = Some(deployment);
        if none_asked {
            self.deployed(turn);
        }
    }

    /// What is said of instances that are not there when the others get their configuration: a failure for each, which zeek-client prints, and
    /// one for each of its nodes.
    fn not_deployed(&self, now: Now, reqid: &ZeekString, config: &Configuration) -> Vec<ResultRecord> {
        let mut results = Vec::new();
        for name in self.instances.wanted_missing() {
            let absence = self.absence(now, name);
            let failure = |node: Option<&ZeekString>| ResultRecord {
                instance: Some(name.clone()),
                node: node.cloned(),
                ..ResultRecord::failure(
                    reqid.clone(),
                    format!("{absence}: its nodes were not deployed, they follow when it returns"),
                )
            };
            results.push(failure(None));
            let nodes = config.nodes.iter().filter(|node| node.instance == *name);
            results.extend(nodes.map(|node| failure(Some(&node.name))));
        }
        results
    }

    /// Whom the deployment waits for, if it does.
    pub(super) fn deploying(&mut self) -> Option<&mut Fanout> {
        match &mut self.deployment.as_mut()?.phase {
            Phase::Deploying(fanout) => Some(fanout),
            _ => None,
        }
    }

    pub(super) fn deployed(&mut self, turn: &mut Turn) {
        let results = self.deploying().map(std::mem::take);
        self.finish_deployment(turn, results.map(Fanout::into_results).unwrap_or_default());
    }

    fn finish_deployment(&mut self, turn: &mut Turn, mut results: Vec<ResultRecord>) {
        let Some(deployment) = self.deployment.take() else {
            return;
        };
        let without_instances = deployment.config.instances.is_empty();
        let waited_for = self.requests.remove(&deployment.key).is_some();
        let of_client = matches!(deployment.key, Key::Client(..));
        if let (true, Key::Client(kind, reqid)) = (waited_for, deployment.key) {
            results.push(ResultRecord {
                data: Some(Data::String(deployment.config.id)),
                ..ResultRecord::success(reqid.clone())
            });
            self.respond(turn, kind, reqid, results, Logged::Pending);
        }
        let shown_as_ready = without_instances && of_client;
        if shown_as_ready || deployment.again {
            self.check_instances_ready(turn);
        }
    }

    /// Nothing came of a client's deployment: all is as it was.
    fn not_accepted(&mut self, turn: &mut Turn, deployment: &Deployment) {
        self.disband(turn);
        if deployment.again {
            self.check_instances_ready(turn);
        }
    }

    /// The time of the deployment's request is up. If it is being stored it goes on: it may be durable already.
    pub(super) fn deployment_expired(&mut self, turn: &mut Turn, key: Key) {
        let Some(mut deployment) = self.deployment.take_if(|deployment| deployment.key == key) else {
            return;
        };
        let reqid = key.reqid().clone();
        if matches!(deployment.phase, Phase::Gathering)
            && self.settings.absent_instances == AbsentInstances::Skip
        {
            // Agents that are connected are given the whole time to answer their welcome, which those of 4.1 take long for.
            let gathered_by = deployment.started + self.settings.request_timeout;
            let waits = turn.now < gathered_by && !self.missing_are_absent();
            let goes_on = !waits && self.missing().len() < self.instances.gathered.len();
            if waits || goes_on {
                let deadline = if waits {
                    gathered_by
                } else {
                    deployment.started + self.fifths(DEPLOYMENT_FIFTHS)
                };
                self.await_until(deadline, key, Pending::Deployment);
                self.deployment = Some(deployment);
                if goes_on {
                    self.all_gathered(turn);
                }
                return;
            }
        }
        turn.info(format!("request {reqid} timed out"));
        let results = match &mut deployment.phase {
            Phase::Gathering => self.failures(turn.now, &reqid, &self.missing()),
            Phase::Waiting | Phase::Accepted => self.not_deployed(turn.now, &reqid, &deployment.config),
            Phase::Storing => vec![ResultRecord::failure(reqid.clone(), "request timed out")],
            Phase::Deploying(fanout) => std::mem::take(fanout).timed_out(&reqid),
        };
        if let Key::Client(kind, _) = key {
            self.respond(turn, kind, reqid, results, Logged::Pending);
        }
        match deployment.phase {
            Phase::Gathering => self.not_accepted(turn, &deployment),
            Phase::Waiting => {}
            Phase::Storing => self.deployment = Some(deployment),
            Phase::Accepted => {
                self.as_own(turn, &mut deployment);
                self.deployment = Some(deployment);
                self.ask_to_deploy(turn);
            }
            Phase::Deploying(_) => {
                if deployment.again {
                    self.check_instances_ready(turn);
                }
            }
        }
    }

    /// Whether none of the instances that are missing is connected.
    fn missing_are_absent(&self) -> bool {
        let missing = self.missing();
        missing.iter().all(|name| self.membership.agent(name).is_none())
    }

    /// Whether the time is up in which absent instances are waited for, and others are there.
    fn can_skip(&self, now: Now) -> bool {
        let waited = |deployment: &Deployment| now >= deployment.started + self.fifths(SKIP_FIFTHS);
        self.settings.absent_instances == AbsentInstances::Skip
            && self.deployment.as_ref().is_some_and(waited)
            && self.missing_are_absent()
            && self.missing().len() < self.instances.gathered.len()
    }

    /// Says which instances a deployment goes on without.
    fn warn_of_missing(&self, turn: &mut Turn) {
        let Some(deployment) = &self.deployment else {
            return;
        };
        for name in self.missing() {
            turn.warning(format!(
                "deploying configuration {} on the instances that are there: {}, its nodes follow when it returns",
                deployment.config.id,
                self.absence(turn.now, &name)
            ));
        }
    }

    fn failures(&self, now: Now, reqid: &ZeekString, missing: &[ZeekString]) -> Vec<ResultRecord> {
        let failure = |name: &ZeekString| {
            let absence = self.absence(now, name);
            let error = format!("not deployed: {absence}; nothing was changed");
            ResultRecord {
                instance: Some(name.clone()),
                ..ResultRecord::failure(reqid.clone(), error)
            }
        };
        missing.iter().map(failure).collect()
    }
}
