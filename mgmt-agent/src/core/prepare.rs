//! Whether nodes could run on this host, before a controller of this project changes anything.

use std::time::Duration;

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    ClusterRole, Configuration, Level, Node, Now, State,
    link::{Prepare, Prepared, Problem, by_reasons, from_json, reasons},
    log::nodes_named,
    operator::{NotDone, NotDoneKind},
};

use super::{
    action::{Action, Turn},
    agent::{Agent, Purpose},
    deploy::report,
    link::{refuse, reply},
    node_spec::{self, Candidate},
    order::PCAP_FILE,
    pending::{Preparing, ToPrepare},
    settings::Supervise,
};

/// For longer no controller waits for what was found.
const AWAITED_MAX: Duration = Duration::from_secs(6);

impl Agent {
    /// Begins to look, or says why not.
    pub(super) fn prepare(
        &mut self,
        turn: &mut Turn,
        peer: EndpointId,
        reqid: &ZeekString,
        json: &ZeekString,
    ) -> Result<(), String> {
        let prepare: Prepare = from_json(json).map_err(|error| error.to_string())?;
        let is_plan = prepare.plan;
        let asked = ToPrepare {
            peer,
            reqid: reqid.clone(),
            since: turn.now,
            prepare,
        };
        match &self.preparing {
            None => self.look(turn, asked),
            // A deployment is not to go on without being checked because of a plan.
            Some(earlier) if earlier.is_plan && !is_plan && self.next_to_prepare.is_none() => {
                self.next_to_prepare = Some(asked);
                Ok(())
            }
            Some(_) => Err("this agent still looks for an earlier request".into()),
        }
    }

    fn look(&mut self, turn: &mut Turn, asked: ToPrepare) -> Result<(), String> {
        let ToPrepare {
            peer,
            reqid,
            since,
            prepare,
        } = asked;
        let Prepare {
            nodes,
            given_up,
            plan: is_plan,
            configuration,
        } = prepare;
        if is_plan {
            self.check_plan(configuration.as_ref())?;
        }
        let checked = |config| node_spec::checked_cluster(config, self.settings.supervise);
        let cluster = configuration.as_ref().map(checked).transpose()?;
        let backend = configuration.as_ref().and_then(Configuration::cluster_backend);
        // What nodes would be started with is checked with the host, environments included, if it is known.
        let is_launch_checked = self.settings.supervise != Supervise::Zeek && cluster.is_some();
        let mut problems = Vec::new();
        let mut candidates = Vec::new();
        for node in nodes {
            match self.candidate(&node, backend) {
                Ok(candidate) => {
                    problems.extend(of_environment(&node).filter(|_| !is_launch_checked));
                    candidates.push(candidate);
                }
                Err(reason) => problems.push(Problem::new(&node.name, reason)),
            }
        }
        self.preparing = Some(Preparing {
            peer,
            reqid,
            since,
            is_plan,
            problems,
            backend: None,
            configuration,
        });
        turn.push(Action::Prepare {
            nodes: candidates,
            cluster,
            given_up,
        });
        Ok(())
    }

    fn candidate(&self, node: &Node, backend: Option<&ZeekString>) -> Result<Candidate, String> {
        let directory = node_spec::directory(&self.settings.state_dir, &node.name)?;
        let mut candidate = node_spec::candidate(node, directory);
        candidate.spec.cluster_backend = backend.cloned();
        let own = self.nodes.get(&node.name);
        candidate.runs = own.is_some_and(|own| own.node.state == State::Running);
        Ok(candidate)
    }

    /// Warns of workers that Zeek lets run without anything to read.
    pub(super) fn warn_of_idle(&self, turn: &mut Turn, config: &ZeekString) {
        if let Some(idle) = self.idle() {
            report(turn, Level::Warning, format!("configuration {config}: {idle}"));
        }
    }

    /// The workers that have nothing to read, in words, if there are any.
    pub(super) fn idle(&self) -> Option<String> {
        let is_idle = |node: &Node| {
            let interface = node.interface.as_ref().filter(|name| !name.is_empty());
            let mut options = node.options.iter().flat_map(|options| options.iter());
            node.role == ClusterRole::Worker
                && interface.is_none()
                && options.all(|option| option.name != PCAP_FILE)
        };
        let idle: Vec<_> = self.nodes.iter().filter(|(_, own)| is_idle(&own.node)).collect();
        if self.settings.supervise == Supervise::Zeek || idle.is_empty() {
            return None;
        }
        let names = nodes_named(&idle.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        Some(format!(
            "nothing is read by {names}: there is neither an interface nor {PCAP_FILE}"
        ))
    }

    /// The host was looked at.
    pub(super) fn prepared(&mut self, turn: &mut Turn, found: Prepared) {
        let Some(mut preparing) = self.preparing.take() else {
            return;
        };
        preparing.problems.extend(found.problems);
        if preparing.is_plan {
            preparing.backend = found.backend;
            self.preparing = Some(preparing);
            self.ask_status(turn, Purpose::Plan);
            return;
        }
        let Preparing {
            peer,
            reqid,
            since,
            problems,
            configuration,
            ..
        } = preparing;
        self.prepared_at = Some(since);
        for (reasons, nodes) in by_reasons(&reasons(problems.clone())) {
            let what = configuration
                .as_ref()
                .map(|config| format!("configuration {}: ", config.id));
            let (what, nodes) = (what.unwrap_or_default(), nodes_named(&nodes));
            report(
                turn,
                Level::Warning,
                format!("{what}{nodes} cannot run here: {reasons}"),
            );
        }
        // So that nodes of all hosts know a new worker before its host starts it. If none does after all, that harms nothing.
        if let Some(configuration) = configuration.filter(|_| problems.is_empty()) {
            let names: Vec<ZeekString> = self.nodes.keys().cloned().collect();
            self.relayout(turn, &configuration, &names);
        }
        reply(turn, peer, reqid, true, &Prepared { problems, ..found });
    }

    /// Looks for the deployment that has waited for a plan, if there is one.
    pub(super) fn prepare_next(&mut self, turn: &mut Turn) {
        let Some(asked) = self.next_to_prepare.take() else {
            return;
        };
        let (peer, reqid) = (asked.peer, asked.reqid.clone());
        if let Err(reason) = self.look(turn, asked) {
            refuse(turn, peer, reqid, &NotDone::new(NotDoneKind::Unavailable, reason));
        }
    }

    /// What is left of a deployment's time: it counts from when the controller asked whether it could be, as the controller's does.
    pub(super) fn left_of(&mut self, now: Now, timeout: Duration) -> Duration {
        let used = self.prepared_at.take().map(|since| now - since);
        // What comes later has another reason.
        let used = used.filter(|used| *used <= AWAITED_MAX).unwrap_or_default();
        timeout.saturating_sub(used.min(timeout / 2))
    }
}

/// What no process can have in its environment.
fn of_environment(node: &Node) -> impl Iterator<Item = Problem> {
    node.env.iter().filter_map(|(name, value)| {
        let reason = if name.is_empty() || name.contains(&b'=') || name.contains(&0) {
            format!("no environment variable can be called '{name}'")
        } else if value.contains(&0) {
            format!("environment variable {name} has a NUL in it")
        } else {
            return None;
        };
        Some(Problem::new(&node.name, reason))
    })
}
