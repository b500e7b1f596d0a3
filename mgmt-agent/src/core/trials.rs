//! Which configuration is on trial.

use broker_codec::data::ZeekString;
use mgmt_api::Configuration;

/// What is on trial.
#[derive(Debug, Default)]
pub(super) struct Trials {
    /// The id of the configuration that is deployed next, if that is a trial.
    announced: Option<ZeekString>,
    /// While the running configuration is on trial.
    before: Option<Before>,
}

/// What was deployed for good before, if anything was.
#[derive(Debug)]
struct Before(Option<Configuration>);

impl Trials {
    /// The configuration of this id is on trial when it is deployed next.
    pub(super) fn announce(&mut self, id: ZeekString) {
        self.announced = Some(id);
    }

    /// Whether a configuration that a controller deploys now is a trial.
    pub(super) fn begins_with(&mut self, config: &Configuration) -> bool {
        self.announced.take().is_some_and(|id| id == config.id)
    }

    pub(super) const fn is_under_way(&self) -> bool {
        self.before.is_some()
    }

    /// What was deployed for good, where this runs.
    pub(super) fn confirmed<'a>(&'a self, runs: Option<&'a Configuration>) -> Option<&'a Configuration> {
        self.before.as_ref().map_or(runs, |before| before.0.as_ref())
    }

    /// Another configuration takes the place of the one that runs, on trial or for good.
    pub(super) fn replaced(&mut self, runs: Option<&Configuration>, by_trial: bool) {
        self.before = by_trial.then(|| Before(self.confirmed(runs).cloned()));
    }

    /// Nothing is on trial any more.
    pub(super) fn end(&mut self) -> bool {
        self.before.take().is_some()
    }
}
