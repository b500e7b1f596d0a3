//! Deployments: who is in, who is asked, and what comes of it.

use broker_codec::{Data, data::ZeekString};
use mgmt_api::{AgentRequest, Configuration, Now, RequestKind, ResultRecord};

use super::{
    configurations::Slot,
    controller::{AfterWrite, Controller},
    fanout::Fanout,
    requests::{Key, Logged, Pending, listed},
    turn::Turn,
};

const KIND: RequestKind = RequestKind::Deploy;

/// How long a deployment may take in all, in fifths of the request time-out: with Zeek's defaults 18 seconds, of the 20
/// that zeek-client waits.
const FIFTHS_MAX: u32 = 9;

/// A deployment that is under way.
#[derive(Debug)]
pub(super) struct Deployment {
    /// The request that it carries out. It may time out, and be answered, before the deployment ends.
    pub(super) key: Key,
    config: Configuration,
    started: Now,
    phase: Phase,
    /// Whether agents have become ready too late to be asked: then everything is deployed once more.
    again: bool,
}

#[derive(Debug)]
enum Phase {
    /// Waits until all its instances are ready.
    Waiting,
    /// They are. Its configuration is being stored as the deployed one.
    Storing,
    /// Waits for the agents, which have got the configuration.
    Deploying(Fanout),
}

impl Controller {
    /// A client's request to deploy what was staged last.
    pub(super) fn deploy_ready(&mut self, turn: &mut Turn, reqid: ZeekString) {
        let Some(ready) = &self.configurations.ready else {
            let error = "no configuration available to deploy";
            self.refuse(turn, KIND, reqid, error, Logged::Pending);
            return;
        };
        if let Some(earlier) = &self.deployment {
            let error = [
                b"earlier deployment ",
                earlier.key.reqid().as_bytes(),
                b" still pending",
            ]
            .concat();
            self.refuse(turn, KIND, reqid, error, Logged::Pending);
            return;
        }
        let config = ready.clone();
        self.deploy(turn, Key::Client(KIND, reqid), config);
        if self.is_waiting() {
            self.check_instances_ready(turn);
        }
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
        self.deploy(turn, Key::Internal(reqid), config);
    }

    /// Starts a deployment; there is no other.
    ///
    /// DIFFERENCE(deployed-instances): instances are dropped and added by the configuration that is deployed. Zeek
    /// goes by the one staged last, also when it deploys another.
    fn deploy(&mut self, turn: &mut Turn, key: Key, config: Configuration) {
        let nothing_to_do = config.instances.is_empty();
        self.await_answer(turn, key.clone(), Pending::Deployment);
        self.replace_instances(turn, &config);
        self.deployment = Some(Deployment {
            key,
            config,
            started: turn.now,
            phase: Phase::Waiting,
            again: false,
        });
        if nothing_to_do {
            self.store_as_deployed(turn);
        }
    }

    /// If all wanted instances are ready, which may be none, goes on from there.
    pub(super) fn check_instances_ready(&mut self, turn: &mut Turn) {
        if self.instances.all_ready() {
            self.agents_ready(turn);
        }
    }

    /// All wanted instances are ready (`notify_agents_ready`, an event in Zeek). If nothing is being deployed, some of
    /// them may have restarted since the last deployment: repeats it.
    ///
    /// A deployment without instances also gets here and is repeated, without effect.
    fn agents_ready(&mut self, turn: &mut Turn) {
        turn.info(format!(
            "rx Management::Controller::API:notify_agents_ready {}",
            listed(&self.instances.ready)
        ));
        if self.deployment.is_none()
            && let Some(config) = self.configurations.deployed.clone()
        {
            let reqid = self.ids.next_id();
            turn.info(format!("no deployment in progress, triggering via {reqid}"));
            self.deploy(turn, Key::Internal(reqid), config);
        }
        if self.is_waiting() {
            // The deployment may want others than were ready.
            if self.instances.all_ready() {
                self.hand_out(turn);
            }
        } else if let Some(deployment) = &mut self.deployment {
            deployment.again = true;
        }
    }

    fn is_waiting(&self) -> bool {
        self.deployment
            .as_ref()
            .is_some_and(|deployment| matches!(deployment.phase, Phase::Waiting))
    }

    /// All instances are ready to get the configuration.
    ///
    /// DIFFERENCE(late-hosts): hosts that were not known when the configuration was staged are filled in now. Zeek
    /// leaves them open.
    fn hand_out(&mut self, turn: &mut Turn) {
        let Some(mut deployment) = self.deployment.take() else {
            return;
        };
        let instances = std::mem::take(&mut deployment.config.instances);
        deployment.config.instances = self.with_observed_hosts(instances);
        self.postpone(turn, &deployment);
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
            self.write(turn, vec![(Slot::Deployed, config)], AfterWrite::HandOut);
        }
    }

    /// The deployment's configuration is the deployed one now, or cannot be stored.
    pub(super) fn stored_as_deployed(&mut self, turn: &mut Turn, outcome: Result<(), String>) {
        let Some(mut deployment) = self.deployment.take() else {
            return;
        };
        if let Err(error) = outcome {
            let waited_for = self.requests.remove(&deployment.key).is_some();
            if let (true, Key::Client(kind, reqid)) = (waited_for, deployment.key) {
                let error = format!("cannot store the deployed configuration: {error}");
                self.refuse(turn, kind, reqid, error, Logged::Pending);
            }
            // Its instances are wanted, and not those of the deployed one any more.
            if self.configurations.deployed.is_some() {
                self.check_instances_ready(turn);
            }
            return;
        }
        if deployment.config.instances.is_empty() {
            self.deployment = Some(deployment);
            self.finish_deployment(turn, Vec::new());
            return;
        }
        if !self.requests.contains(&deployment.key) {
            let reqid = self.ids.next_id();
            turn.info(format!(
                "deployment {} goes on as {reqid}",
                deployment.key.reqid()
            ));
            deployment.key = Key::Internal(reqid);
            deployment.started = turn.now;
            self.await_answer(turn, deployment.key.clone(), Pending::Deployment);
        }
        // An agent may have been lost meanwhile.
        deployment.phase = Phase::Waiting;
        self.deployment = Some(deployment);
        if self.instances.all_ready() {
            self.ask_to_deploy(turn);
        }
    }

    /// DIFFERENCE(deployment-clock): the agents have the whole time-out from now on, but no more than nine fifths of
    /// it after the request, so that the client, which waits for twice as long, gets an answer. Zeek's clock starts
    /// with the request.
    fn postpone(&mut self, turn: &Turn, deployment: &Deployment) {
        let timeout = self.settings.request_timeout;
        let in_all = timeout.saturating_mul(FIFTHS_MAX) / 5;
        let deadline = (turn.now + timeout).min(deployment.started + in_all);
        self.requests.postpone(&deployment.key, deadline);
    }

    /// Gives the configuration to all instances, which are ready.
    fn ask_to_deploy(&mut self, turn: &mut Turn) {
        let Some(mut deployment) = self.deployment.take() else {
            return;
        };
        self.postpone(turn, &deployment);
        let config = &deployment.config;
        let instances = self.instances.ready.iter().cloned().collect();
        let fanout = self.ask(turn, instances, Vec::new(), |reqid| AgentRequest::Deploy {
            reqid,
            config: config.clone(),
            force: false,
        });
        deployment.phase = Phase::Deploying(fanout);
        deployment.again = false;
        self.deployment = Some(deployment);
    }

    /// Whom the deployment waits for, if it does.
    pub(super) fn deploying(&mut self) -> Option<&mut Fanout> {
        match &mut self.deployment.as_mut()?.phase {
            Phase::Deploying(fanout) => Some(fanout),
            Phase::Waiting | Phase::Storing => None,
        }
    }

    /// All agents have answered.
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

    /// The agents' results so far.
    pub(super) fn deployment_results(&self) -> Vec<ResultRecord> {
        match self.deployment.as_ref().map(|deployment| &deployment.phase) {
            Some(Phase::Deploying(fanout)) => fanout.results().to_vec(),
            Some(Phase::Waiting | Phase::Storing) | None => Vec::new(),
        }
    }

    /// The request of the deployment has timed out, and was answered. If it is being stored it goes on: it may be durable
    /// already.
    pub(super) fn give_up_deployment(&mut self, turn: &mut Turn) {
        match self.deployment.as_ref().map(|deployment| &deployment.phase) {
            Some(Phase::Waiting) => self.deployment = None,
            Some(Phase::Deploying(_)) => self.finish_deployment(turn, Vec::new()),
            Some(Phase::Storing) | None => {}
        }
    }
}
