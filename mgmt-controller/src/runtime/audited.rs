//! What the audit log says of requests that come to the core.

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::{
    ClientRequest, ClientResponse, Level, Principal, RequestKind,
    operator::{ClusterRequest, DeploymentState, Event, text},
};
use mgmt_daemon::audit::{Audit, Outcome, Pending, What};
use serde::Deserialize;

use crate::{
    core::{Audience, Controller, DEFAULT, Input, Slot},
    request::Request,
};

type Key = (RequestKind, ZeekString);

/// The requests that are under way.
pub(super) struct Audited {
    clients: Pending<Key>,
    /// Those of operators that stage and deploy, with who asks.
    changing: BTreeMap<u64, Principal>,
    /// The deployments that operators have begun.
    deployments: Pending<String>,
}

/// What an operator hears of a configuration that is staged, or of a deployment.
#[derive(Deserialize)]
struct Told {
    id: String,
    /// Of a deployment.
    configuration: Option<String>,
    #[serde(default)]
    state: DeploymentState,
    #[serde(default)]
    errors: Vec<String>,
}

impl Audited {
    pub(super) fn new(audit: Audit) -> Self {
        Self {
            clients: Pending::new(audit.clone()),
            changing: BTreeMap::new(),
            deployments: Pending::new(audit),
        }
    }

    /// This is handed to the core next. Returns what is to be asked of it when it has dealt with that.
    pub(super) fn comes(&mut self, controller: &Controller, input: &Input) -> Option<Key> {
        let (principal, kind, reqid, name, targets) = match input {
            Input::Request { principal, request } => {
                let name = request.event_name();
                (principal, request.kind(), request.reqid(), name, targets(request))
            }
            Input::SetConfiguration { principal, reqid, .. } => {
                let kind = RequestKind::StageConfiguration;
                (principal, kind, reqid, "set_configuration_request", Vec::new())
            }
            _ => return None,
        };
        let deploys = matches!(input, Input::SetConfiguration { .. });
        let next = deploys.then(|| (RequestKind::Deploy, reqid.clone()));
        let changes = if deploys { RequestKind::Deploy } else { kind };
        let what = What {
            cluster: Some(DEFAULT.to_owned()),
            targets,
            before: configuration(controller, DEFAULT, slot_of(changes)),
            ..What::of_event(name, reqid)
        };
        let key = (kind, reqid.clone());
        self.clients.comes(key.clone(), next, principal.clone(), what);
        Some(key)
    }

    /// The core has dealt with it.
    pub(super) fn is_taken(&mut self, controller: &Controller, key: Option<Key>) {
        if let Some((kind, reqid)) = key {
            self.clients.is_taken(controller.owes_answer(kind, &reqid));
        }
    }

    /// Something is answered: for its asker alone if it is refused, of which need not be told each time.
    pub(super) fn is_answered(
        &mut self,
        controller: &Controller,
        response: &ClientResponse,
        to: Audience,
        is_told: bool,
    ) {
        let (kind, outcome) = (response.kind(), Outcome::of(response.results()));
        if to != Audience::Subscribers {
            if let Outcome::Failed(reason) = outcome {
                self.clients.is_refused(reason, is_told);
            }
            return;
        }
        let key = (kind, response.reqid().clone());
        self.clients.is_answered(&key, outcome, |what| {
            what.after = configuration(controller, DEFAULT, slot_of(kind));
        });
    }

    /// What an operator asks, under this id.
    pub(super) fn describe(
        &mut self,
        controller: &Controller,
        (id, principal): (u64, &Principal),
        request: &Request,
        what: &mut What,
    ) {
        request.kind().clone_into(&mut what.request);
        let Request::Of(cluster, request) = request else {
            return;
        };
        let slot = match request {
            ClusterRequest::Stage { .. } => Some(Slot::Staged),
            ClusterRequest::Deploy { .. } => Some(Slot::Deployed),
            _ => None,
        };
        what.cluster = Some(cluster.clone());
        what.targets = of_operator(request);
        what.before = configuration(controller, cluster, slot);
        if slot.is_some() {
            self.changing.insert(id, principal.clone());
        }
    }

    /// What an operator is told, as JSON. A deployment has begun then, of the configuration that is named.
    pub(super) fn complete(&mut self, id: u64, told: Option<&ZeekString>, what: &mut What) {
        let Some(who) = self.changing.remove(&id) else {
            return;
        };
        let told = told.and_then(|told| serde_json::from_slice::<Told>(told).ok());
        let Some(told) = told else { return };
        let Some(configuration) = told.configuration else {
            what.after = Some(told.id);
            return;
        };
        what.after = Some(configuration);
        what.id = Some(told.id.clone());
        let ended = What {
            request: "deployment_ended".to_owned(),
            ..what.clone()
        };
        self.deployments.comes(told.id.clone(), None, who, ended);
        match told.state {
            DeploymentState::Done => self.deployments.is_taken(false),
            DeploymentState::Failed => {
                let outcome = Outcome::Failed(told.errors.join("; "));
                self.deployments.is_answered(&told.id, outcome, |_| {});
            }
            _ => self.deployments.is_taken(true),
        }
    }

    /// Something has happened, as operators hear it: of a deployment that has begun, its end.
    pub(super) fn happens(&mut self, controller: &Controller, event: &Event) {
        let Some(deployment) = &event.deployment else {
            return;
        };
        let outcome = match event.level {
            Level::Debug | Level::Info => Outcome::Done,
            Level::Warning | Level::Error => Outcome::Failed(event.message.clone()),
        };
        self.deployments.is_answered(deployment, outcome, |what| {
            what.after = configuration(controller, &event.cluster, Some(Slot::Deployed));
        });
    }
}

/// What a request is about.
fn targets(request: &ClientRequest) -> Vec<String> {
    match request {
        ClientRequest::GetIdValue { id, nodes, .. } => {
            std::iter::once(id).chain(nodes.iter()).map(text).collect()
        }
        ClientRequest::Restart { nodes, .. } => nodes.iter().map(text).collect(),
        ClientRequest::StageConfiguration { config, .. } => config
            .instances
            .iter()
            .map(|instance| text(&instance.name))
            .collect(),
        _ => Vec::new(),
    }
}

fn of_operator(request: &ClusterRequest) -> Vec<String> {
    match request {
        ClusterRequest::Stop(selection)
        | ClusterRequest::Start(selection)
        | ClusterRequest::Restart(selection) => selection.words(),
        ClusterRequest::Outputs(node) | ClusterRequest::History(node) => vec![node.node.clone()],
        ClusterRequest::Variable { id, node } => std::iter::once(id).chain(node).cloned().collect(),
        ClusterRequest::Deployment(id) => vec![id.clone()],
        ClusterRequest::Deploy { new, .. } => new.plan.iter().cloned().collect(),
        _ => Vec::new(),
    }
}

const fn slot_of(kind: RequestKind) -> Option<Slot> {
    match kind {
        RequestKind::StageConfiguration => Some(Slot::Staged),
        RequestKind::Deploy => Some(Slot::Deployed),
        _ => None,
    }
}

fn configuration(controller: &Controller, cluster: &str, slot: Option<Slot>) -> Option<String> {
    controller.configuration_id(cluster, slot?).map(text)
}
