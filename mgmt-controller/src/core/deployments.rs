//! The deployments that clients and operators have asked for lately, for operators to follow them. What the controller does by itself is none of them.

use std::collections::VecDeque;

use broker_codec::data::ZeekString;
use mgmt_api::{
    Configuration, Level, Now, Principal, ResultRecord, Transport,
    operator::{Deployment as Told, DeploymentState, DeploymentSummary, Deployments as AllTold, text},
};

use super::{
    deployment::Deployment,
    membership::Membership,
    progress,
    revisions::Origin,
    turn::{About, Turn},
};

/// How many that have ended are remembered, in memory.
pub const DEPLOYMENTS_MAX: usize = 32;

/// Of how many nodes: a further deployment is forgotten when the later ones have as many.
const NODES_MAX: usize = 20_000;

#[derive(Debug, Default)]
pub(super) struct Deployments {
    /// The one that is under way, also when its client has its answer and it goes on.
    running: Option<Begun>,
    /// What an operator says of the one that is about to begin for this request.
    noted: Option<(ZeekString, String)>,
    /// The last one first.
    ended: VecDeque<Told>,
}

#[derive(Debug)]
struct Begun {
    reqid: ZeekString,
    asked_by: String,
    /// What an operator has said of it.
    note: Option<String>,
    /// Whether its asker hears of it otherwise than by an answer, which the log has.
    is_followed: bool,
    at: Now,
}

impl Begun {
    fn told(&self, turn: &Turn<'_>, state: DeploymentState, config: &Configuration) -> DeploymentSummary {
        DeploymentSummary {
            id: text(&self.reqid),
            state,
            configuration: text(&config.id),
            asked_by: self.asked_by.clone(),
            begun: turn.wall_clock(self.at).to_rfc3339(),
            ..DeploymentSummary::default()
        }
    }
}

impl Deployments {
    /// What an operator says of the deployment that is about to begin for this request.
    pub(super) fn note(&mut self, reqid: &ZeekString, note: Option<String>) {
        self.noted = note.map(|note| (reqid.clone(), note));
    }

    pub(super) fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Configuration,
        reqid: ZeekString,
        principal: &Principal,
    ) {
        self.begin_of(turn, config, reqid, principal.to_string());
        let of_client = matches!(
            principal.transport,
            Transport::WebSocket { .. } | Transport::Broker { .. }
        );
        if let Some(running) = &mut self.running {
            running.is_followed = !of_client;
        }
    }

    /// One that the controller begins for what was asked for earlier.
    pub(super) fn begin_of(
        &mut self,
        turn: &mut Turn<'_>,
        config: &Configuration,
        reqid: ZeekString,
        asked_by: String,
    ) {
        let message = format!(
            "the deployment of configuration {} begins, as {asked_by} wants",
            config.id
        );
        turn.tell(Level::Info, About::Deployment(&reqid), message);
        let note = self.noted.take().filter(|(of, _)| *of == reqid);
        self.running = Some(Begun {
            reqid,
            asked_by,
            note: note.map(|(_, note)| note),
            is_followed: true,
            at: turn.now,
        });
    }

    /// Who has asked for the one that is under way.
    pub(super) fn asked_by(&self) -> Option<&str> {
        self.running.as_ref().map(|begun| begun.asked_by.as_str())
    }

    /// Who deploys the configuration of the one that is under way, and what is said of it.
    pub(super) fn origin(&self, turn: &Turn<'_>) -> Origin {
        let begun = self.running.as_ref();
        Origin {
            at: Some(turn.unix_seconds(turn.now)),
            asked_by: begun.map(|begun| begun.asked_by.clone()),
            note: begun.and_then(|begun| begun.note.clone()),
        }
    }

    /// Who has deployed a configuration, if that is remembered.
    pub(super) fn asker_of(&self, configuration: &str) -> Option<&str> {
        let is_it = |told: &&Told| told.summary.configuration == configuration && told.summary.is_accepted;
        let told = self.ended.iter().find(is_it);
        told.map(|told| told.summary.asked_by.as_str())
    }

    /// The one that is under way has ended, with these results.
    pub(super) fn end(&mut self, turn: &mut Turn<'_>, deployment: &Deployment, results: &[ResultRecord]) {
        let Some(begun) = self.running.take() else {
            return;
        };
        let has_failed = results.iter().any(|result| !result.success);
        let state = if has_failed {
            DeploymentState::Failed
        } else {
            DeploymentState::Done
        };
        let told = Told {
            summary: DeploymentSummary {
                ended: Some(turn.wall_clock(turn.now).to_rfc3339()),
                is_accepted: !deployment.is_new(),
                revision: deployment.revision,
                errors: progress::errors(results),
                ..begun.told(turn, state, &deployment.config)
            },
            instances: progress::at_the_end(deployment, results),
        };
        let (level, outcome) = match &reasons(&told)[..] {
            _ if !has_failed => (Level::Info, "is done".to_owned()),
            [] => (Level::Warning, "has failed".to_owned()),
            [reason] => (Level::Warning, format!("has failed: {reason}")),
            [reason, others @ ..] => {
                let outcome = format!("has failed: {reason}; {} more", others.len());
                (Level::Warning, outcome)
            }
        };
        let message = format!(
            "the deployment of configuration {} {outcome} (after {:.1} s)",
            deployment.config.id,
            (turn.now - begun.at).as_secs_f64()
        );
        let about = About::Deployment(&begun.reqid);
        if begun.is_followed {
            turn.report(level, about, message);
        } else {
            turn.tell(level, about, message);
        }
        self.remember(told);
    }

    fn remember(&mut self, told: Told) {
        self.ended.push_front(told);
        let mut nodes = 0;
        let kept = self.ended.iter().take(DEPLOYMENTS_MAX).take_while(|told| {
            let is_kept = nodes < NODES_MAX;
            nodes += told
                .instances
                .iter()
                .map(|instance| instance.nodes.len())
                .sum::<usize>();
            is_kept
        });
        self.ended.truncate(kept.count());
    }

    /// The last one whose request had this id, if it is remembered.
    pub(super) fn get(
        &self,
        turn: &Turn<'_>,
        reqid: &[u8],
        deployment: Option<&Deployment>,
        members: &Membership,
    ) -> Option<Told> {
        let running = self.running(turn, deployment);
        if let Some((summary, deployment)) = running.filter(|(summary, _)| summary.id.as_bytes() == reqid) {
            return Some(Told {
                summary,
                instances: progress::under_way(deployment, members),
            });
        }
        let mut ended = self.ended.iter();
        ended.find(|told| told.summary.id.as_bytes() == reqid).cloned()
    }

    pub(super) fn all(&self, turn: &Turn<'_>, deployment: Option<&Deployment>) -> AllTold {
        let running = self.running(turn, deployment).map(|(summary, _)| summary);
        let ended = self.ended.iter().map(|told| told.summary.clone());
        AllTold {
            deployments: running.into_iter().chain(ended).collect(),
        }
    }

    fn running<'a>(
        &self,
        turn: &Turn<'_>,
        deployment: Option<&'a Deployment>,
    ) -> Option<(DeploymentSummary, &'a Deployment)> {
        let (begun, deployment) = self.running.as_ref().zip(deployment)?;
        let summary = DeploymentSummary {
            is_accepted: !deployment.is_new(),
            revision: deployment.revision,
            ..begun.told(turn, DeploymentState::Running, &deployment.config)
        };
        Some((summary, deployment))
    }
}

/// Why a deployment has failed.
fn reasons(told: &Told) -> Vec<String> {
    let mut reasons = told.summary.errors.clone();
    for instance in &told.instances {
        let own = instance.reason.as_ref();
        reasons.extend(own.map(|reason| format!("instance {}: {reason}", instance.instance)));
        // What the instance has failed at, its nodes have.
        let of_nodes = instance.nodes.iter().filter(|node| node.reason.as_ref() != own);
        reasons.extend(
            of_nodes.filter_map(|node| Some(format!("node {}: {}", node.node, node.reason.as_ref()?))),
        );
    }
    reasons
}

#[cfg(test)]
mod tests {
    use mgmt_api::operator::{InstanceProgress, NodeProgress};

    use super::*;

    #[test]
    fn as_many_are_remembered_as_have_so_many_nodes_and_the_last_one() {
        let of = |nodes: usize| {
            let instance = InstanceProgress {
                nodes: vec![NodeProgress::default(); nodes],
                ..InstanceProgress::default()
            };
            Told {
                instances: vec![instance],
                ..Told::default()
            }
        };
        for (nodes, remembered) in [(1, DEPLOYMENTS_MAX), (2_000, 10), (8_000, 3), (50_000, 1)] {
            let mut deployments = Deployments::default();
            for _ in 0..2 * DEPLOYMENTS_MAX {
                deployments.remember(of(nodes));
            }
            assert_eq!(deployments.ended.len(), remembered, "{nodes} nodes each");
        }
    }
}
