//! What operators ask that is carried out as a client's request: configurations and deployments, and restarts.

use std::collections::BTreeMap;

use broker_codec::{
    Data,
    data::{Excerpt, ZeekString},
};
use mgmt_api::{
    ClientRequest, Level, MESSAGE_BYTES_MAX, Principal, RequestKind, ResultRecord,
    operator::{
        Changed, ConfigurationFile, Expected, Failure, NewDeployment, NotDone, NotDoneKind, Staged, Station,
        check_note, entity_tag, text, written,
    },
};

use super::{
    cluster::Cluster,
    configurations::Slot,
    deployments::DEPLOYMENTS_MAX,
    operators::answer,
    turn::{About, Turn},
    variables::values,
    wishes::tell_wish,
};

impl Cluster {
    /// The staged or the deployed configuration, as a client is shown it.
    pub(super) fn configuration(&self, station: Station) -> Result<ZeekString, NotDone> {
        let slot = match station {
            Station::Staged => Slot::Staged,
            Station::Deployed => Slot::Deployed,
        };
        let config = self.configurations.get(slot);
        let config = config
            .ok_or_else(|| NotDone::new(NotDoneKind::Unknown, format!("no configuration is {station}")))?;
        written(&ConfigurationFile::from(config))
    }

    /// Whether what an operator takes to be deployed is.
    pub(super) fn is_as_expected(&self, expected: Option<&Expected>) -> Result<(), NotDone> {
        let deployed = self.configurations.deployed.as_ref().map(|config| &config.id);
        let is = deployed.map_or("nothing is deployed".into(), |id| {
            format!("configuration {id} is deployed")
        });
        let Some(expected) = expected else {
            let reason = format!(
                "{is}: say what the change rests on, by If-Match with that configuration's entity tag, or by If-None-Match: * if nothing is deployed"
            );
            return Err(NotDone::new(NotDoneKind::NothingExpected, reason));
        };
        let is_expected = match (expected, deployed) {
            (Expected::Nothing, None) => true,
            (Expected::Tag(tag), Some(id)) => *tag == entity_tag(id),
            _ => false,
        };
        if is_expected {
            return Ok(());
        }
        let reason = format!(
            "{is} now, which is not what this change was made for: look at what is deployed, and try again"
        );
        Err(NotDone::new(NotDoneKind::NotAsExpected, reason))
    }

    /// Stages a configuration as for a client, under a new id: what operators expect to be deployed is told by it.
    pub(super) fn stage_of_operator(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        configuration: ConfigurationFile,
    ) {
        let reqid = turn.ids.next_id();
        let config = configuration.into_configuration(turn.ids.next_id());
        turn.report(
            Level::Info,
            About::Cluster,
            format!("stages configuration {}, as {principal} wants", config.id),
        );
        self.operators.insert(reqid.clone(), Some(id));
        self.request(
            turn,
            principal,
            ClientRequest::StageConfiguration { reqid, config },
            false,
        );
    }

    /// Begins to deploy what is staged, as for a client. The operator is answered when it has begun.
    pub(super) fn deploy_of_operator(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        expected: Option<&Expected>,
        NewDeployment { note, .. }: NewDeployment,
    ) {
        let checked = note.as_deref().map_or(Ok(()), check_note);
        let ready = match checked.and_then(|()| self.deployable(turn, expected)) {
            Ok(ready) => ready,
            Err(refusal) => return answer(turn, id, Err(refusal)),
        };
        let message = format!("deploys configuration {ready}, as {principal} wants");
        turn.report(Level::Info, About::Cluster, message);
        let reqid = turn.ids.next_id();
        self.operators.insert(reqid.clone(), Some(id));
        self.deployments
            .note(&reqid, note.filter(|note| !note.is_empty()));
        let request = ClientRequest::Deploy { reqid: reqid.clone() };
        self.request(turn, principal, request, false);
        self.answer_begun(turn, &reqid);
    }

    /// Tells an operator that a deployment has begun, if that one is not answered yet. What comes of it the operator asks for.
    pub(super) fn answer_begun(&mut self, turn: &mut Turn<'_>, reqid: &ZeekString) {
        if let Some(id) = self.operators.get_mut(reqid).and_then(Option::take) {
            answer(turn, id, self.told_of_deployment(turn, reqid));
        }
    }

    /// The id of the configuration that can be deployed now.
    pub(super) fn deployable(
        &self,
        turn: &Turn<'_>,
        expected: Option<&Expected>,
    ) -> Result<ZeekString, NotDone> {
        self.is_as_expected(expected)?;
        self.none_under_way(turn)?;
        let ready = self.configurations.ready.as_ref();
        let nothing = || {
            NotDone::new(
                NotDoneKind::Conflict,
                "nothing is staged: stage a configuration first",
            )
        };
        Ok(ready.ok_or_else(nothing)?.id.clone())
    }

    /// Whether no deployment is under way.
    pub(super) fn none_under_way(&self, turn: &Turn<'_>) -> Result<(), NotDone> {
        if let Some(reason) = self.rolls_out() {
            return Err(NotDone::new(NotDoneKind::Conflict, reason));
        }
        let Some(earlier) = &self.deployment else {
            return Ok(());
        };
        let pending = earlier.still_pending(turn, &self.members, &self.settings);
        let whose = match self.deployments.asked_by() {
            Some(asked_by) => format!("{asked_by} has asked for another deployment"),
            None => "the controller brings instances back to the deployed configuration".to_owned(),
        };
        Err(NotDone::new(NotDoneKind::Conflict, format!("{whose}: {pending}")))
    }

    /// The deployment whose request had this id.
    pub(super) fn told_of_deployment(&self, turn: &Turn<'_>, reqid: &[u8]) -> Result<ZeekString, NotDone> {
        let told = self
            .deployments
            .get(turn, reqid, self.deployment.as_ref(), &self.members);
        let told = told.ok_or_else(|| {
            let reason = format!(
                "deployment {} is not known: the last {DEPLOYMENTS_MAX} are at most, since the controller was started",
                Excerpt::new(reqid)
            );
            NotDone::new(NotDoneKind::Unknown, reason)
        })?;
        written(&told)
    }

    pub(super) fn told_of_deployments(&self, turn: &Turn<'_>) -> Result<ZeekString, NotDone> {
        written(&self.deployments.all(turn, self.deployment.as_ref()))
    }

    /// Restarts nodes by instance, as for a client.
    pub(super) fn restart_meant(
        &mut self,
        turn: &mut Turn<'_>,
        id: u64,
        principal: &Principal,
        meant: BTreeMap<ZeekString, Vec<String>>,
    ) {
        // Without names a client's request means all nodes.
        if meant.is_empty() {
            return answer(turn, id, written(&Changed::default()));
        }
        for (instance, nodes) in &meant {
            tell_wish(turn, principal, "restarts", instance, nodes);
        }
        let reqid = turn.ids.next_id();
        self.operators.insert(reqid.clone(), Some(id));
        let nodes = meant.into_values().flatten().map(ZeekString::from).collect();
        self.request(turn, principal, ClientRequest::Restart { reqid, nodes }, false);
    }

    /// Answers an operator's request that a client's stands for.
    pub(super) fn answer_operator(
        &self,
        turn: &mut Turn<'_>,
        id: u64,
        kind: RequestKind,
        reqid: &ZeekString,
        results: &[ResultRecord],
    ) {
        let outcome = match kind {
            RequestKind::StageConfiguration => staged(results),
            RequestKind::GetIdValue => values(results),
            // It has ended at once, or it has not begun.
            RequestKind::Deploy => self.told_of_deployment(turn, reqid).or_else(|_| staged(results)),
            _ => restarted(results),
        };
        answer(turn, id, outcome);
    }

    /// The deployment has ended, with these results.
    pub(super) fn deployment_ended(&mut self, turn: &mut Turn<'_>, results: &[ResultRecord]) {
        if let Some(deployment) = &self.deployment {
            let is_new = deployment.is_new();
            self.deployments.end(turn, deployment, results);
            if is_new {
                self.rollout_not_accepted(turn, results);
            }
        }
    }
}

/// What an operator is told of nodes that were restarted.
fn restarted(results: &[ResultRecord]) -> Result<ZeekString, NotDone> {
    let mut changed = Changed::default();
    for result in results {
        if !result.success {
            let error = result.error.as_ref();
            let reason = error.map(|error| error.excerpt(MESSAGE_BYTES_MAX).to_string());
            changed.failures.push(Failure {
                instance: result.instance.as_ref().map(text),
                node: result.node.as_ref().map(text),
                reason: reason.unwrap_or_default(),
            });
        }
        changed
            .nodes
            .extend(result.node.as_ref().map(text).filter(|_| result.success));
    }
    written(&changed)
}

/// What an operator is told of a configuration that says something wrong.
pub(super) fn invalid(errors: &[ZeekString]) -> NotDone {
    NotDone {
        errors: errors.iter().map(text).collect(),
        ..NotDone::new(NotDoneKind::Invalid, "the configuration cannot be staged")
    }
}

/// What an operator is told of a configuration that is stored, or could not be.
pub(super) fn staged(results: &[ResultRecord]) -> Result<ZeekString, NotDone> {
    let result = results.first();
    if let Some(Data::String(id)) = result.and_then(|result| result.data.as_ref()) {
        return written(&Staged { id: text(id) });
    }
    let error = result.and_then(|result| result.error.as_ref());
    let reason = error.map(|error| error.excerpt(MESSAGE_BYTES_MAX).to_string());
    let reason = reason.unwrap_or_default();
    Err(NotDone::new(NotDoneKind::Unavailable, reason))
}
