//! What is told of a roll-out.

use std::time::Duration;

use broker_codec::data::ZeekString;
use mgmt_api::{
    Level, WallClock,
    operator::{NotDone, NotDoneKind, Rollout as Told, RolloutState, text, written},
};

use super::Way;
use crate::core::{
    cluster::Cluster,
    turn::{About, Turn},
};

impl Cluster {
    pub(super) fn end_told(&mut self, turn: &mut Turn<'_>, state: RolloutState) {
        let mut told = self.rollout_as_told(turn);
        self.rollout = None;
        if let Some(told) = &mut told {
            told.state = state;
            told.waits_for.clear();
            told.ended = Some(turn.wall_clock(turn.now).to_rfc3339());
        }
        self.last_rollout = told.map(Box::new);
    }

    /// The roll-out that is under way, or the last one.
    pub(in crate::core) fn told_of_rollout(&self, turn: &Turn<'_>) -> Result<ZeekString, NotDone> {
        let told = self.rollout_as_told(turn);
        let told = told.or_else(|| self.last_rollout.as_deref().cloned());
        let none = || {
            let reason = "there was no roll-out since the controller was started";
            NotDone::new(NotDoneKind::Unknown, reason)
        };
        written(&told.ok_or_else(none)?)
    }

    fn rollout_as_told(&self, turn: &Turn<'_>) -> Option<Told> {
        let rollout = self.rollout.as_ref()?;
        let stored = &rollout.stored;
        Some(Told {
            id: text(&stored.id),
            state: stored.state,
            configuration: text(&stored.configuration.id),
            deployed: Some(text(&stored.deployed)),
            asked_by: stored.asked_by.clone(),
            begun: WallClock::from_unix(Duration::from_secs(stored.begun)).to_rfc3339(),
            ended: None,
            options: stored.options.clone(),
            reasons: stored.reasons.clone(),
            waits_for: self.rollout_waits_for(turn),
            stages: rollout.told_stages(),
        })
    }

    /// Why nothing else can be deployed now, if a roll-out is under way.
    pub(in crate::core) fn rolls_out(&self) -> Option<String> {
        let stored = &self.rollout.as_ref()?.stored;
        Some(format!(
            "the roll-out of configuration {} is {}, as {} wanted: wait for its end, or abort it",
            stored.configuration.id, stored.state, stored.asked_by
        ))
    }

    /// That it waits for an operator, if it does.
    pub(in crate::core) fn rollout_warning(&self) -> Option<String> {
        let stored = &self.rollout.as_ref()?.stored;
        let is_waiting = matches!(stored.state, RolloutState::Paused | RolloutState::Stopped);
        is_waiting.then(|| {
            let reasons = stored.reasons.iter().map(|reason| format!(": {reason}"));
            format!(
                "the roll-out of configuration {} is {}{}; resume or abort it (mgmtctl rollout)",
                stored.configuration.id,
                stored.state,
                reasons.collect::<String>()
            )
        })
    }

    /// Says something of it, to operators.
    pub(super) fn tell_rollout(&self, turn: &mut Turn<'_>, level: Level, message: &str) {
        if let Some(rollout) = &self.rollout {
            let (id, config) = (&rollout.stored.id, &rollout.stored.configuration.id);
            let message = format!("the roll-out of configuration {config} {message}");
            turn.report(level, About::Deployment(id), message);
        }
    }

    pub(super) const fn rollout_way(&self) -> Option<Way> {
        match &self.rollout {
            Some(rollout) => Some(rollout.way()),
            None => None,
        }
    }
}
