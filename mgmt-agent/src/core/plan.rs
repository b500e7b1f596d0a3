//! What a deployment would do to each node here, for a controller that plans one. Nothing changes by it.

use mgmt_api::{
    Configuration,
    link::{Fate, NodeFate, Prepared},
    operator::{NotDone, NotDoneKind},
};

use super::{
    action::Turn,
    agent::Agent,
    deploy::ENDING,
    link::{refuse, reply},
    pending::Preparing,
    supervision::Processes,
};

/// Why a node is restarted of which it is not known how it was started.
const NOT_KNOWN: &str = "how it was started is not known";

impl Agent {
    /// Whether the agent can say what a deployment of this would do; as a deployment, it would be refused otherwise.
    pub(super) fn check_plan(&self, configuration: Option<&Configuration>) -> Result<(), String> {
        match &self.unavailable {
            _ if self.is_ending => Err(ENDING.to_owned()),
            Some(reason) => Err(reason.clone()),
            None if configuration.is_none() => Err("a plan needs the whole configuration".to_owned()),
            None => Ok(()),
        }
    }

    /// The Supervisor says which nodes it has.
    pub(super) fn planned(&mut self, turn: &mut Turn, status: &Processes) {
        let Some(preparing) = self.preparing.take() else {
            return;
        };
        let Preparing {
            peer,
            reqid,
            problems,
            backend,
            configuration,
            ..
        } = preparing;
        let mut configuration = configuration.unwrap_or_default();
        // As the controller writes it down, unless agents differ in it.
        if let Some(backend) = backend
            .as_ref()
            .filter(|_| configuration.cluster_backend().is_none())
        {
            configuration.set_cluster_backend(backend);
        }
        let prepared = Prepared {
            problems,
            backend,
            fates: Some(self.planned_fates(status, &configuration)),
        };
        reply(turn, peer, reqid, true, &prepared);
        self.prepare_next(turn);
    }

    /// The Supervisor does not say which nodes it has.
    pub(super) fn not_planned(&mut self, turn: &mut Turn, reason: &str) {
        if let Some(Preparing { peer, reqid, .. }) = self.preparing.take() {
            refuse(turn, peer, reqid, &NotDone::new(NotDoneKind::Unavailable, reason));
            self.prepare_next(turn);
        }
    }

    fn planned_fates(&self, status: &Processes, config: &Configuration) -> Vec<NodeFate> {
        let stopped = &self.stopped - &self.with_more_to_do(config);
        let own = config.nodes.iter();
        let own = own.filter(|node| node.instance == self.settings.name);
        let mut fates = self.fates(status, Some(config), &stopped);
        fates.configured(own.map(|node| &node.name));
        let mut all = fates.of_each(&stopped);
        // One that does not run, and is no node of the configuration.
        for name in self.nodes.keys() {
            all.entry(name).or_insert((Fate::Ended, None));
        }
        let told = all.into_iter().map(|(name, (fate, reason))| {
            let is_restarted = fate == Fate::Restarted;
            let reason = reason.map_or(NOT_KNOWN, String::as_str);
            let took = self.nodes.get(name).and_then(|own| own.took);
            NodeFate {
                node: name.clone(),
                fate,
                reason: is_restarted.then(|| reason.into()),
                start_millis: took.map(|took| took.as_millis().try_into().unwrap_or(u64::MAX)),
            }
        });
        told.collect()
    }
}
