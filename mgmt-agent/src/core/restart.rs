use std::collections::BTreeMap;

use broker_codec::data::{Set, ZeekString};
use mgmt_api::{Level, ResultRecord, State, log::some_of};

use super::{
    action::{Action, Turn},
    agent::{Agent, Purpose},
    deploy::{ENDING, report},
    pending::{Key, Kind, Logged, Pending},
    program::Program,
    requests::restart_failure,
    settings::Supervise,
    supervision::Command,
};

const KIND: Kind = Kind::Restart;

impl Agent {
    /// Restarts cluster nodes, running or not.
    pub(super) fn restart(&mut self, turn: &mut Turn, reqid: ZeekString, nodes: &Set<ZeekString>) {
        let ending = self.is_ending.then(|| ENDING.to_owned());
        let targets = match (self.targets(nodes), ending.as_ref().or(self.unavailable.as_ref())) {
            (Ok(targets), None) => targets,
            (Ok(targets), Some(reason)) => {
                let results = targets.into_iter();
                let results = results
                    .map(|name| restart_failure(&reqid, name, reason.as_str()))
                    .collect();
                return Self::respond(turn, KIND, reqid, results, Logged::Pending);
            }
            (Err(_), Some(reason)) => {
                let result = ResultRecord::failure(reqid.clone(), reason.as_str());
                return Self::respond(turn, KIND, reqid, vec![result], Logged::Results);
            }
            (Err(why), None) => return Self::respond(turn, KIND, reqid, Vec::new(), Logged::Id(why)),
        };
        // One that an operator has stopped stays so, unless it is started.
        let (stopped, targets): (Vec<_>, Vec<_>) =
            targets.into_iter().partition(|name| self.stopped.contains(name));
        let results: Vec<ResultRecord> = stopped
            .into_iter()
            .filter(|name| nodes.contains(name))
            .map(|name| {
                let error = format!("node {name} is not restarted: it is stopped, start it");
                restart_failure(&reqid, name, error)
            })
            .collect();
        if targets.is_empty() {
            return Self::respond(turn, KIND, reqid, results, Logged::Pending);
        }
        let message = format!("restarts {}, as the controller asks", some_of(&targets));
        report(turn, Level::Info, message);
        let awaited: BTreeMap<ZeekString, ZeekString> = targets
            .into_iter()
            .map(|name| (self.ids.next_id(), name))
            .collect();
        for (id, name) in &awaited {
            let purpose = Purpose::Restart {
                reqid: reqid.clone(),
                node: name.clone(),
            };
            let (id, node) = (id.clone(), name.clone());
            self.order(turn, purpose, Command::Restart { id: id.clone(), node });
            self.start_due(turn, name, id);
        }
        let pending = Pending::Restart { awaited, results };
        let timeout = self.settings.request_timeout;
        self.await_answer(turn, KIND, reqid, timeout, pending);
    }

    /// Looks whether the program is still the one that nodes were started from.
    pub(super) fn program_seen(&mut self, turn: &mut Turn, program: &Program) {
        if self.settings.supervise != Supervise::Zeek {
            if self.program.is_to_be_asked(program) {
                turn.push(Action::AskVersion);
            }
            return;
        }
        let Some(path) = self.program.seen(program) else {
            return;
        };
        let what = if program.is_ours {
            "restart the agent, which restarts its Supervisor and all nodes"
        } else {
            "restart the Supervisor, and with it all nodes"
        };
        let message = format!(
            "{path} has changed since the Supervisor was started: nodes that start from now on run the old program with the scripts that \
             are on disk now; {what}"
        );
        self.warn(turn, message, "");
    }

    /// The program from which nodes are started is another one, and this Zeek; or it does not say which.
    pub(super) fn installed(&mut self, turn: &mut Turn, version: Option<String>, problem: Option<String>) {
        let is_news = version.is_some() || self.program.did_not_answer();
        if let Some(version) = &version {
            self.upgrade = Some((turn.now, version.clone()));
        }
        let restarts = version.is_some() && problem.is_none() && self.settings.restarts_on_upgrade;
        let what = match (version, problem) {
            (None, _) => {
                " and does not say which Zeek it is (`zeek --version`): nodes run on, and it is asked again each minute".to_owned()
            }
            (Some(version), Some(problem)) => {
                format!(", it is {version} now: nodes that run go on with the program before, and none can be started: {problem}")
            }
            (Some(version), None) if restarts => {
                format!(", it is {version} now: restarts all nodes, as they are to run what is on disk")
            }
            (Some(version), None) => format!(
                ", it is {version} now: nodes that run go on with the program before, and nodes that start from now on run the new one; \
                 restart all nodes to have one Zeek in the cluster"
            ),
        };
        if is_news {
            let message = format!("{} has changed{what}", self.settings.launch.program);
            self.warn(turn, message, "");
        }
        if restarts {
            self.restart_all(turn);
        }
    }

    /// Restarts all nodes that are to run, without a request.
    pub(super) fn restart_all(&mut self, turn: &mut Turn) {
        let names = self.nodes.keys().filter(|name| !self.stopped.contains(*name));
        let names: Vec<ZeekString> = names.cloned().collect();
        for name in names {
            self.renew(turn, &name);
        }
    }

    /// Restarts a node, without a request.
    pub(super) fn renew(&mut self, turn: &mut Turn, name: &ZeekString) {
        let (id, node) = (self.ids.next_id(), name.clone());
        self.order(turn, Purpose::Renew, Command::Restart { id: id.clone(), node });
        self.start_due(turn, name, id);
    }

    /// The Supervisor has taken a restart on, or does not know the node.
    pub(super) fn restarted(
        &mut self,
        turn: &mut Turn,
        reqid: &ZeekString,
        id: &ZeekString,
        node: ZeekString,
        existed: bool,
    ) {
        let outcome = if existed {
            self.starts.answered(id);
            Ok(())
        } else {
            let message = format!("failed to restart node {node}");
            if self.starts.refused(id) {
                self.start_failed(turn, &node, State::Failed, &message);
            }
            self.raise(turn, message, node.clone());
            Err(format!("could not restart node {node}"))
        };
        self.restart_ended(turn, reqid, id, node, outcome);
    }

    /// Whether the Supervisor will restart the node is not known.
    pub(super) fn not_restarted(
        &mut self,
        turn: &mut Turn,
        reqid: &ZeekString,
        id: &ZeekString,
        node: ZeekString,
        reason: &str,
    ) {
        let message = format!("failed to restart node {node}: {reason}");
        // It may still be restarted.
        if self.starts.concerns(id) {
            self.start_failed(turn, &node, State::Unknown, &message);
        }
        self.raise(turn, message, node.clone());
        let error = format!("could not restart node {node}: {reason}");
        self.restart_ended(turn, reqid, id, node, Err(error));
    }

    fn restart_ended(
        &mut self,
        turn: &mut Turn,
        reqid: &ZeekString,
        id: &ZeekString,
        node: ZeekString,
        outcome: Result<(), String>,
    ) {
        let result = match outcome {
            Ok(()) => ResultRecord {
                node: Some(node),
                ..self.success(reqid.clone())
            },
            Err(error) => restart_failure(reqid, node, error),
        };
        let key = Key(KIND, reqid.clone());
        let Some(Pending::Restart { awaited, results }) = self.requests.get_mut(&key) else {
            return;
        };
        if awaited.remove(id).is_none() {
            return;
        }
        results.push(result);
        if awaited.is_empty()
            && let Some(Pending::Restart { results, .. }) = self.requests.remove(&key)
        {
            Self::respond(turn, KIND, key.1, results, Logged::Pending);
        }
    }
}
