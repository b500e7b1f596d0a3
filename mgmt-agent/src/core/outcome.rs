//! What has become of a deployment, in answers and in the log.

use std::collections::BTreeMap;

use broker_codec::data::{ZeekString, to_data};
use mgmt_api::{Configuration, Level, ResultRecord, TIMED_OUT, log::some_of};

use super::{
    action::Turn,
    agent::Agent,
    deploy::report,
    deployment::Deployment,
    pending::{Kind, Logged},
};

impl Agent {
    pub(super) fn deployment_timed_out(&mut self, turn: &mut Turn, reqid: ZeekString) {
        let mut problems = vec![self.failure(reqid.clone(), TIMED_OUT)];
        if let Some(reason) = &self.unavailable {
            problems.push(self.failure(reqid.clone(), reason.as_str()));
        }
        match self.deployment.take() {
            Some(Deployment::Starting {
                awaited, mut failed, ..
            }) => {
                // DIFFERENCE(unfinished-nodes): all that Zeek's agent says is that the request timed out.
                for name in awaited {
                    let lacking = self.what_it_lacks(turn.now, &name);
                    if let Some(own) = self.nodes.get_mut(&name) {
                        own.is_slow = lacking.is_some();
                    }
                    failed.insert(name, lacking);
                }
                self.respond_deployed(turn, reqid, problems, &failed);
            }
            Some(Deployment::Waiting { command, .. }) => {
                self.commands.remove(&command);
                Self::respond(turn, Kind::Deploy, reqid, problems, Logged::Results);
            }
            None => Self::respond(turn, Kind::Deploy, reqid, problems, Logged::Results),
        }
    }

    /// Answers a deployment: what went wrong, then each node, with the output of those that failed. zeek-client shows errors of
    /// results without a node only.
    pub(super) fn respond_deployed(
        &mut self,
        turn: &mut Turn,
        reqid: ZeekString,
        problems: Vec<ResultRecord>,
        failed: &BTreeMap<ZeekString, Option<String>>,
    ) {
        self.log_outcome(turn, failed);
        let mut results = problems;
        let errors = failed.values().flatten();
        results.extend(errors.map(|error| self.failure(reqid.clone(), error.as_str())));
        for (name, own) in &self.nodes {
            let success = !failed.contains_key(name);
            let outputs = own.outputs.as_ref().filter(|_| !success);
            results.push(ResultRecord {
                success,
                data: outputs.and_then(|outputs| to_data(outputs).ok()),
                node: Some(name.clone()),
                ..self.success(reqid.clone())
            });
        }
        Self::respond(turn, Kind::Deploy, reqid, results, Logged::Results);
    }

    /// What has become of the running configuration.
    fn log_outcome(&mut self, turn: &mut Turn, failed: &BTreeMap<ZeekString, Option<String>>) {
        let Some(Configuration { id, .. }) = &self.config else {
            return;
        };
        let count = self.nodes.len() - self.stopped.len();
        let line = match (count, failed.len()) {
            (1, 0) => format!("configuration {id}: its node runs"),
            (_, 0) => format!("configuration {id}: all {count} nodes run"),
            (_, missing) => {
                let named = some_of(failed.keys());
                format!("configuration {id}: {missing} of {count} nodes not running: {named}")
            }
        };
        let level = if failed.is_empty() {
            Level::Info
        } else {
            Level::Warning
        };
        report(turn, level, line);
        for name in failed.keys() {
            if let Some(own) = self.nodes.get_mut(name) {
                own.is_missed = true;
            }
        }
    }
}
