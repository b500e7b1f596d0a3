//! A configuration on trial: it runs, and the agent goes back to the one before when it is started again, unless it is deployed for good.
//!
//! A controller of this project announces a trial by the extension, right before it deploys the configuration. When it deploys the same one again
//! without that, it is confirmed.

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    Configuration, Level,
    link::{LinkError, Trial, from_json},
};

use super::{action::Turn, agent::Agent, deploy::report, link::reply};

/// What is on trial.
#[derive(Debug, Default)]
pub(super) struct Trials {
    /// The id of the configuration that is deployed next, if that is a trial.
    announced: Option<ZeekString>,
    /// While the running configuration is on trial: what was deployed for good before, if anything was.
    before: Option<Option<Configuration>>,
}

impl Trials {
    /// Whether a configuration that a controller deploys now is a trial.
    pub(super) fn begins_with(&mut self, config: &Configuration) -> bool {
        self.announced.take().is_some_and(|id| id == config.id)
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.before.is_some()
    }

    /// What was deployed for good, where this runs.
    pub(super) fn confirmed<'a>(&'a self, runs: Option<&'a Configuration>) -> Option<&'a Configuration> {
        self.before.as_ref().map_or(runs, Option::as_ref)
    }

    /// Another configuration takes the place of the one that runs, on trial or for good.
    pub(super) fn replaced(&mut self, runs: Option<&Configuration>, by_trial: bool) {
        self.before = by_trial.then(|| self.confirmed(runs).cloned());
    }

    /// Nothing is on trial any more.
    pub(super) fn end(&mut self) -> bool {
        self.before.take().is_some()
    }
}

impl Agent {
    /// A controller is about to deploy a configuration on trial.
    pub(super) fn trial_announced(
        &mut self,
        turn: &mut Turn,
        peer: EndpointId,
        reqid: ZeekString,
        json: &ZeekString,
    ) -> Result<(), LinkError> {
        let Trial { configuration } = from_json(json)?;
        self.trials.announced = Some(configuration);
        reply(turn, peer, reqid, true, &());
        Ok(())
    }

    /// The configuration that runs is deployed for good.
    pub(super) fn confirm(&mut self, turn: &mut Turn) {
        if self.trials.end()
            && let Some(config) = &self.config
        {
            let line = format!("configuration {}: it is no trial any more", config.id);
            report(turn, Level::Info, line);
            self.remember(turn);
        }
    }
}
