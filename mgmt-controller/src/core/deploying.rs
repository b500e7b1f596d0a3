//! What a cluster does for its deployment.

use std::sync::Arc;

use broker_codec::{Data, data::ZeekString};
use mgmt_api::{AgentRequest, Configuration, Principal, RequestKind, ResultRecord, log::listed};

use super::{
    action::Level,
    cluster::Cluster,
    configurations::{Changes, RolloutChange, Slot},
    deployment::{Deployment, Expired, Fate, Next, Stored},
    fanout::Fanout,
    pending::{AfterWrite, Key, Logged, Pending},
    turn::{About, Turn},
};

const KIND: RequestKind = RequestKind::Deploy;

impl Cluster {
    /// A client's request to deploy what was staged last.
    ///
    /// DIFFERENCE(accepted-first): nothing is stood down, and nothing that would stick is sent, before every instance of the configuration is
    /// there. Zeek stands down first, and leaves it at that when the deployment fails.
    pub(super) fn deploy_ready(&mut self, turn: &mut Turn<'_>, principal: &Principal, reqid: ZeekString) {
        let Some(config) = self.configurations.ready.clone() else {
            let error = "no configuration available to deploy";
            self.refuse(turn, KIND, reqid, error, Logged::Pending);
            return;
        };
        if let Some(error) = self.rolls_out() {
            self.refuse(turn, KIND, reqid, error, Logged::Pending);
            return;
        }
        if let Some(earlier) = &self.deployment {
            let error = earlier.still_pending(turn, &self.members, &self.settings);
            self.refuse(turn, KIND, reqid, error, Logged::Pending);
            return;
        }
        self.deployments.begin(turn, &config, reqid.clone(), principal);
        let key = Key::Client(KIND, reqid);
        let gathered_by = Deployment::gathered_by(turn.now, &self.settings);
        self.await_until(gathered_by, key.clone(), Pending::Deployment);
        self.members.gather(turn, &config);
        self.deployment = Some(Deployment::new(key, config, turn.now, true));
        self.progress(turn);
    }

    /// At start: brings the agents back to the deployed configuration.
    pub(super) fn deploy_persisted(&mut self, turn: &mut Turn<'_>) {
        let Some(config) = self.configurations.deployed.clone() else {
            return;
        };
        let reqid = turn.ids.next_id();
        turn.info(format!(
            "deploying persisted configuration {}, request {reqid}",
            config.id
        ));
        self.members.adopt(turn, &config);
        self.members.reach_dismissed(turn);
        let nothing_to_do = config.instances.is_empty();
        self.deploy_again(turn, reqid, config);
        if nothing_to_do {
            self.hand_out(turn);
        }
    }

    /// Starts a deployment of the controller's own; there is no other.
    ///
    /// DIFFERENCE(deployed-instances): the cluster's instances are those of the deployed configuration. Zeek goes by the one staged last, also
    /// when it deploys another.
    pub(super) fn deploy_again(&mut self, turn: &Turn<'_>, reqid: ZeekString, config: Arc<Configuration>) {
        let key = Key::Internal(reqid);
        self.await_answer(turn, key.clone(), Pending::Deployment);
        self.deployment = Some(Deployment::new(key, config, turn.now, false));
    }

    /// Instances may have become ready, or gone: goes on with the deployment that waits for that. Returns whether it does.
    pub(super) fn progress(&mut self, turn: &mut Turn<'_>) -> bool {
        let deployment = self.deployment.as_ref();
        let next = deployment.and_then(|deployment| deployment.next(turn.now, &self.members, &self.settings));
        match next {
            Some(Next::HandOut) => self.all_gathered(turn),
            Some(Next::Ask) => self.ask_to_deploy(turn),
            Some(Next::Fail) => self.refused(turn),
            None => {}
        }
        next.is_some()
    }

    /// The instances of a client's deployment are there, or are not waited for any more.
    fn all_gathered(&mut self, turn: &mut Turn<'_>) {
        if self.prepare(turn) {
            return;
        }
        let missing = self.members.missing();
        if let Some(deployment) = &self.deployment {
            for name in &missing {
                let absence = self.members.absence(turn, name);
                turn.warning(format!(
                    "deploying configuration {} on the instances that are there: {absence}, its nodes follow when it returns",
                    deployment.config.id
                ));
            }
        }
        let gathered = &self.members.instances.gathered;
        if !gathered.is_empty() {
            turn.info(format!(
                "rx Management::Controller::API:notify_agents_ready {}",
                listed(gathered.keys().filter(|name| !missing.contains(name)))
            ));
        }
        if self.prepares_rollout() {
            self.begin_rollout(turn);
        } else {
            self.hand_out(turn);
        }
    }

    /// The instances are there to get the configuration. It becomes the deployed one, if it is not already, before any agent gets it.
    ///
    /// DIFFERENCE(deployment-clock): from here on there is more time, up to nine fifths of the request time-out after the request, so that
    /// agents can answer, and the client, which waits for twice as long, gets an answer. Zeek's clock starts with the request and gives
    /// as much as the time-out.
    ///
    /// DIFFERENCE(deployed-anyway): what is given to agents counts as deployed from then on, whether they answer in time,
    /// and whether this process lives to hear them. In Zeek it does when all have answered; until then the
    /// configuration before that is the deployed one, and is forced back on the agents when one of them returns, or
    /// when the controller is started again.
    pub(super) fn hand_out(&mut self, turn: &mut Turn<'_>) {
        let Some(deployment) = &mut self.deployment else {
            return;
        };
        deployment.hand_out(&self.members);
        self.requests
            .postpone(&deployment.key, deployment.ends(&self.settings));
        if let Some(deployed) = &self.configurations.deployed
            && *deployed == deployment.config
        {
            deployment.config = Arc::clone(deployed);
            self.stored_as_deployed(turn, Ok(()));
            return;
        }
        let dismissed = if deployment.is_new() {
            self.members.instances.dismissed_then()
        } else {
            self.members.instances.dismissed.clone()
        };
        let config = Arc::clone(&deployment.config);
        let changes = Changes {
            recorded: self.recorded(turn, &config),
            entries: vec![(Slot::Deployed, config)],
            dismissed: Some(dismissed.into_values().collect()),
            rollout: self.finishes_rollout().then_some(RolloutChange::Ended),
            ..Changes::default()
        };
        self.write(turn, changes, AfterWrite::HandOut);
    }

    /// The deployment's configuration is the deployed one now, or cannot be stored.
    pub(super) fn stored_as_deployed(&mut self, turn: &mut Turn<'_>, outcome: Result<(), String>) {
        let Some(deployment) = &mut self.deployment else {
            return;
        };
        match deployment.stored(outcome, self.configurations.deployed.as_ref()) {
            Stored::GoesOn { is_accepted } => {
                deployment.revision = self.configurations.deployed_revision().map(|of| of.number);
                let without_instances = deployment.config.instances.is_empty();
                if !without_instances && !self.requests.contains(&deployment.key) {
                    self.as_own(turn);
                }
                if is_accepted {
                    self.rollout_done(turn);
                    let left = self.members.accept(turn);
                    self.all_lost(turn, left);
                }
                if without_instances {
                    self.finish_deployment(turn, Vec::new());
                    return;
                }
                if let Some(deployment) = &mut self.deployment {
                    deployment.accepted();
                }
                self.progress(turn);
            }
            Stored::Refused(error) => {
                let key = deployment.key.clone();
                let error = format!(
                    "not deployed: cannot store the configuration: {error}; the deployed one is unchanged"
                );
                let results = vec![ResultRecord::failure(key.reqid().clone(), error)];
                self.deployment_ended(turn, &results);
                if let (Some(_), Key::Client(kind, reqid)) = (self.requests.remove(&key), key) {
                    self.respond(turn, kind, reqid, results, Logged::Pending);
                }
                self.not_accepted(turn);
            }
        }
    }

    /// The client has its answer, and the deployment goes on.
    fn as_own(&mut self, turn: &mut Turn<'_>) {
        let Some(deployment) = &mut self.deployment else {
            return;
        };
        let reqid = turn.ids.next_id();
        turn.info(format!(
            "deployment {} goes on as {reqid}",
            deployment.key.reqid()
        ));
        let key = Key::Internal(reqid);
        deployment.goes_on_as(key.clone(), turn.now);
        let deadline = deployment.ends(&self.settings);
        self.await_until(deadline, key, Pending::Deployment);
    }

    /// Gives the configuration to all instances that are ready; if that is only repeated, without those whose agents run it.
    ///
    /// DIFFERENCE(returning-agents): when an agent returns, Zeek gives all of them the configuration again, and so do we with agents of
    /// Zeek's. One of ours looks after its nodes itself.
    fn ask_to_deploy(&mut self, turn: &mut Turn<'_>) {
        let Some(deployment) = &mut self.deployment else {
            return;
        };
        let config = &deployment.config;
        let absent = self.members.not_deployed(turn, deployment.key.reqid(), config);
        let is_repeated = matches!(deployment.key, Key::Internal(_));
        // What is rolled out is not deployed yet.
        let rollout = self.rollout.as_ref();
        let of = |name: &ZeekString| rollout.and_then(|rollout| rollout.given(name)).unwrap_or(config);
        let peers = &self.members.peers;
        let asked = self.members.instances.wanted_ready();
        let asked = asked.filter(|name| !is_repeated || !peers.runs(name, of(name)));
        let instances: Vec<ZeekString> = asked.cloned().collect();
        for name in self.members.instances.caught_up() {
            let message = format!(
                "instance {name} is there now and gets configuration {}",
                config.id
            );
            turn.report(Level::Info, About::Instance(&name), message);
        }
        let config = Arc::clone(config);
        for name in &instances {
            self.announce_trial(turn, name);
        }
        let rollout = self.rollout.as_ref();
        let of = |name: &ZeekString| rollout.and_then(|rollout| rollout.given(name)).unwrap_or(&config);
        let fanout = self
            .members
            .ask(turn, instances, absent, |reqid, name| AgentRequest::Deploy {
                reqid,
                config: Arc::clone(of(name)),
                force: false,
            });
        let Some(deployment) = &mut self.deployment else {
            return;
        };
        if deployment.asked(fanout) {
            self.deployed(turn);
        }
    }

    /// All agents have answered.
    pub(super) fn deployed(&mut self, turn: &mut Turn<'_>) {
        let fanout = self.deployment.as_mut().and_then(Deployment::fanout);
        let results = fanout.map(std::mem::take).map(Fanout::into_results);
        self.finish_deployment(turn, results.unwrap_or_default());
    }

    fn finish_deployment(&mut self, turn: &mut Turn<'_>, mut results: Vec<ResultRecord>) {
        self.deployment_ended(turn, &results);
        turn.claims_have_changed = true;
        let Some(deployment) = self.deployment.take() else {
            return;
        };
        let without_instances = deployment.config.instances.is_empty();
        let waited_for = self.requests.remove(&deployment.key).is_some();
        let of_client = matches!(deployment.key, Key::Client(..));
        if let (true, Key::Client(kind, reqid)) = (waited_for, deployment.key) {
            results.push(ResultRecord {
                data: Some(Data::String(deployment.config.id.clone())),
                ..ResultRecord::success(reqid.clone())
            });
            self.respond(turn, kind, reqid, results, Logged::Pending);
        }
        let shown_as_ready = without_instances && of_client;
        if shown_as_ready || deployment.again {
            self.check_instances_ready(turn);
        }
        self.roll(turn);
    }

    /// A client's deployment fails before it is accepted.
    pub(super) fn fail_deployment(&mut self, turn: &mut Turn<'_>, results: Vec<ResultRecord>) {
        let Some(key) = self.deployment.as_ref().map(|deployment| deployment.key.clone()) else {
            return;
        };
        self.requests.remove(&key);
        self.deployment_ended(turn, &results);
        if let Key::Client(kind, reqid) = key {
            self.respond(turn, kind, reqid, results, Logged::Pending);
        }
        self.not_accepted(turn);
    }

    /// Nothing came of a client's deployment: all is as it was.
    pub(super) fn not_accepted(&mut self, turn: &mut Turn<'_>) {
        let ended = self.deployment.take();
        turn.claims_have_changed = true;
        let left = self.members.disband(turn);
        self.all_lost(turn, left);
        self.ended(turn, ended);
    }

    /// Deploys once more, if agents have become ready too late for the deployment that has ended.
    fn ended(&mut self, turn: &mut Turn<'_>, deployment: Option<Deployment>) {
        if deployment.is_some_and(|deployment| deployment.again) {
            self.check_instances_ready(turn);
        }
        self.roll(turn);
    }

    /// The time of the deployment's request is up.
    pub(super) fn deployment_expired(&mut self, turn: &mut Turn<'_>, key: Key) {
        let deployment = self
            .deployment
            .as_mut()
            .filter(|deployment| deployment.key == key);
        let Some(deployment) = deployment else {
            return;
        };
        if deployment.preparing().is_some() {
            self.prepared(turn);
            return;
        }
        let (results, fate) = match deployment.expired(turn, &self.members, &self.settings) {
            Expired::Fails(results, fate) => (results, fate),
            Expired::GoesOn(deadline, next) => {
                self.await_until(deadline, key, Pending::Deployment);
                if next.is_some() {
                    self.all_gathered(turn);
                }
                return;
            }
        };
        let reqid = key.reqid().clone();
        turn.info(format!("request {reqid} timed out"));
        if matches!(fate, Fate::NotAccepted | Fate::Ended) {
            self.deployment_ended(turn, &results);
        }
        match key {
            Key::Client(kind, _) => self.respond(turn, kind, reqid, results, Logged::Pending),
            Key::Internal(_) => self.members.warn_of_absent(turn),
        }
        match fate {
            Fate::NotAccepted => self.not_accepted(turn),
            Fate::Ended => {
                let ended = self.deployment.take();
                self.ended(turn, ended);
            }
            Fate::Ask => {
                self.as_own(turn);
                self.ask_to_deploy(turn);
            }
            Fate::GoesOn => {}
        }
    }
}
