//! Instances become ready: those that were away are brought back to what is deployed.

use std::time::Duration;

use broker_codec::data::ZeekString;
use mgmt_api::{Now, log::listed};

use super::{
    action::Level,
    cluster::Cluster,
    deployment::{Deployment, Next},
    settings::AbsentInstances,
    turn::{About, Turn},
};

/// How long an agent that has connected is taken to be busy with its welcome.
const WELCOME_TIME: Duration = Duration::from_secs(5);

impl Cluster {
    /// An instance has become ready.
    pub(super) fn became_ready(&mut self, turn: &mut Turn<'_>, name: &ZeekString) {
        let is_wanted = self.members.instances.wanted.contains_key(name);
        if let Some(gathering) = self
            .deployment
            .as_mut()
            .filter(|deployment| deployment.is_gathering())
        {
            // If nothing comes of it, it lacks what is deployed.
            gathering.again |= is_wanted;
        }
        if !self.progress(turn) && is_wanted {
            self.check_instances_ready(turn);
            if self.deployment.is_none() && !self.members.instances.all_ready() {
                self.warn_of_waiting(turn, name);
            }
        }
        self.ask_for_states(turn, name.clone());
        self.roll(turn);
    }

    /// As in Zeek, an instance gets the deployed configuration when all are there.
    fn warn_of_waiting(&self, turn: &mut Turn<'_>, name: &ZeekString) {
        let missing = self.members.instances.wanted_missing();
        let missing = missing.filter(|name| !self.has_just_connected(turn.now, name));
        let missing: Vec<_> = missing.map(|name| self.members.absence(turn, name)).collect();
        if missing.is_empty() {
            return;
        }
        let missing = missing.join(", ");
        turn.report(
            Level::Warning,
            About::Instance(name),
            format!(
                "instance {name} may have no nodes until all instances are connected: {missing}; deploy without what is missing, or start \
                 the controller with --absent-instances skip"
            ),
        );
    }

    /// Whether an instance is about to become ready: several return together, as after a switch was restarted.
    fn has_just_connected(&self, now: Now, name: &ZeekString) -> bool {
        let agent = self.members.peers.agent(name);
        agent.is_some_and(|agent| now < agent.since + WELCOME_TIME)
    }

    /// If all wanted instances are ready, which may be none, goes on from there; with those that are, if the others are not waited for.
    pub(super) fn check_instances_ready(&mut self, turn: &mut Turn<'_>) {
        if self.settings.absent_instances == AbsentInstances::Skip || self.members.instances.all_ready() {
            self.agents_ready(turn);
        }
    }

    /// All wanted instances are ready (`notify_agents_ready`, an event in Zeek). If nothing is being deployed, some of
    /// them may have restarted since the last deployment: repeats it.
    ///
    /// A deployment without instances also gets here and is repeated, without effect.
    fn agents_ready(&mut self, turn: &mut Turn<'_>) {
        let mut next = self.deployment.as_mut().and_then(Deployment::became_ready);
        if self.deployment.as_ref().is_some_and(Deployment::is_gathering) {
            return;
        }
        turn.info(format!(
            "rx Management::Controller::API:notify_agents_ready {}",
            listed(self.members.instances.wanted_ready())
        ));
        if self.deployment.is_none()
            && let Some(config) = self.configurations.deployed.clone()
        {
            let reqid = turn.ids.next_id();
            turn.info(format!("no deployment in progress, triggering via {reqid}"));
            self.deploy_again(turn, reqid, config);
            next = Some(Next::HandOut);
        }
        if next == Some(Next::HandOut) {
            self.hand_out(turn);
        }
    }
}
