//! What the audit log says of requests that come to the core.

use std::collections::BTreeSet;

use broker_codec::data::ZeekString;
use mgmt_api::{
    ClientRequest, ClientResponse, RequestKind,
    operator::{ClusterRequest, Selection},
};
use mgmt_daemon::audit::{Audit, Outcome, Pending, What};
use serde::Deserialize;

use crate::{
    core::{Audience, Controller, DEFAULT, Input, Slot},
    http::Request,
};

type Key = (RequestKind, ZeekString);

/// The requests that are under way.
pub(super) struct Audited {
    clients: Pending<Key>,
    /// Those of operators that stage and deploy.
    changing: BTreeSet<u64>,
}

/// What an operator hears of a configuration that is staged, or of a deployment.
#[derive(Deserialize)]
struct Told {
    id: String,
    /// Of a deployment.
    configuration: Option<String>,
}

impl Audited {
    pub(super) const fn new(audit: Audit) -> Self {
        Self {
            clients: Pending::new(audit),
            changing: BTreeSet::new(),
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
        let name = name.rsplit("::").next().unwrap_or(name);
        let what = What {
            request: name.trim_end_matches("_request").to_owned(),
            cluster: Some(DEFAULT.to_owned()),
            targets,
            id: Some(text(reqid)),
            before: configuration(controller, DEFAULT, slot_of(changes)),
            after: None,
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
    pub(super) fn describe(&mut self, controller: &Controller, id: u64, request: &Request, what: &mut What) {
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
            self.changing.insert(id);
        }
    }

    /// What an operator is told, as JSON. A deployment has begun then, of the configuration that is named.
    pub(super) fn complete(&mut self, id: u64, told: Option<&ZeekString>, what: &mut What) {
        let told = told.filter(|_| self.changing.remove(&id));
        if let Some(Ok(told)) = told.map(|told| serde_json::from_slice::<Told>(told)) {
            let is_deployment = told.configuration.is_some();
            what.after = told.configuration.or_else(|| Some(told.id.clone()));
            what.id = is_deployment.then_some(told.id);
        }
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
        | ClusterRequest::Restart(selection) => selected(selection),
        ClusterRequest::Outputs(node) => vec![node.node.clone()],
        ClusterRequest::Variable { id, node } => std::iter::once(id).chain(node).cloned().collect(),
        ClusterRequest::Deployment(id) => vec![id.clone()],
        _ => Vec::new(),
    }
}

fn selected(selection: &Selection) -> Vec<String> {
    let Selection {
        nodes,
        instances,
        role,
        all,
    } = selection;
    let all = all.then(|| "all".to_owned());
    let role = role.iter().map(ToString::to_string);
    nodes
        .iter()
        .chain(instances)
        .cloned()
        .chain(role)
        .chain(all)
        .collect()
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

fn text(text: &ZeekString) -> String {
    text.to_str_lossy().into_owned()
}
