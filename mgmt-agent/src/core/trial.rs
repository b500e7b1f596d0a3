//! A configuration on trial: it runs, and the agent goes back to the one before when it is started again, unless it is deployed for good.
//!
//! A controller of this project announces a trial by the extension, right before it deploys the configuration. When it deploys the same one again
//! without that, it is confirmed.

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    Level,
    link::{LinkError, Trial, from_json},
};

use super::{action::Turn, agent::Agent, deploy::report, link::reply};

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
        self.trials.announce(configuration);
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
