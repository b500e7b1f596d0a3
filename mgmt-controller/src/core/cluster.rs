//! A cluster: its instances, its configurations, its requests.

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::{
    ClientRequest, Now, Principal, RequestKind, RequestTable, log::bracketed,
    operator::Rollout as RolloutTold,
};

use super::{
    absence::nodes_on,
    access,
    action::{Action, Level},
    cluster_name::ClusterName,
    configurations::{Changes, Configurations, Slot},
    deployment::Deployment,
    deployments::Deployments,
    heard::Heard,
    input::{Input, Listener, RecallId, WriteId},
    membership::Membership,
    owners::Claims,
    peers::{CheckedIn, LostName, Peering},
    pending::{AfterWrite, Key, Logged, Pending, Recall, Write},
    plans::Plans,
    rollout::Rollout,
    settings::Settings,
    turn::{About, Follow, Turn},
};

/// How many requests may be under way at a time. More are refused.
///
/// DIFFERENCE(request-limits): Zeek has none of these limits.
pub const REQUESTS_MAX: usize = 4096;

/// How many writes may be under way at a time. Configurations to stage beyond that are refused.
pub const WRITES_MAX: usize = 16;

pub(super) struct Cluster {
    pub(super) settings: Settings,
    pub(super) configurations: Configurations,
    pub(super) members: Membership,
    pub(super) requests: RequestTable<Key, Pending>,
    /// The one that is under way. Others are refused meanwhile.
    pub(super) deployment: Option<Deployment>,
    pub(super) deployments: Deployments,
    pub(super) plans: Plans,
    pub(super) writes: BTreeMap<WriteId, Write>,
    /// The configurations of revisions that are fetched from the store.
    pub(super) recalls: BTreeMap<RecallId, Recall>,
    /// The requests of clients that stand for those of operators: by their ids, what operators get their answers under, if they have none yet.
    pub(super) operators: BTreeMap<ZeekString, Option<u64>>,
    /// When the deployed configuration was stored as that, if that was by this controller.
    pub(super) deployed_at: Option<Now>,
    pub(super) heard: Heard,
    /// The one that is under way,
    pub(super) rollout: Option<Rollout>,
    /// and the last one that was.
    pub(super) last_rollout: Option<Box<RolloutTold>>,
}

impl Cluster {
    /// A cluster with the configurations that were restored from its store.
    pub(super) fn new(name: ClusterName, settings: Settings, restored: Configurations) -> Self {
        let stored = restored.rollout.as_deref().cloned();
        let rollout = stored.zip(restored.deployed.as_deref());
        let rollout = rollout.map(|(stored, deployed)| Rollout::new(stored, deployed));
        Self {
            rollout,
            last_rollout: None,
            members: Membership::new(name, &settings, &restored.dismissed),
            settings,
            configurations: restored,
            requests: RequestTable::new(),
            deployment: None,
            deployments: Deployments::default(),
            plans: Plans::default(),
            writes: BTreeMap::new(),
            recalls: BTreeMap::new(),
            operators: BTreeMap::new(),
            deployed_at: None,
            heard: Heard::default(),
        }
    }

    pub(super) const fn name(&self) -> &ClusterName {
        &self.members.cluster
    }

    pub(super) fn step(&mut self, turn: &mut Turn<'_>, input: Input) {
        match input {
            Input::Started {
                broker_id,
                broker,
                websocket,
                ..
            } => self.started(turn, &broker_id, broker.as_ref(), websocket.as_ref()),
            Input::Request { principal, request } => self.request(turn, &principal, request, false),
            Input::SetConfiguration {
                principal,
                reqid,
                config,
            } => {
                let request = ClientRequest::StageConfiguration { reqid, config };
                self.request(turn, &principal, request, true);
            }
            Input::PeerAdded {
                peer,
                address,
                port,
                dialled,
                is_ours,
                grant,
            } => {
                let peering = Peering {
                    address,
                    port,
                    dialled,
                    is_ours,
                };
                let lost = self.members.added(turn, peer, peering, grant);
                self.all_lost(turn, lost);
            }
            Input::PeerLost { peer, reason } => {
                let lost = self.members.lost(turn, peer, &reason);
                self.all_lost(turn, lost);
            }
            Input::Agent {
                peer,
                topic,
                message,
                dialect,
            } => {
                self.members.heard(turn, peer, &topic, &message, dialect);
                self.agent_message(turn, peer, &topic, message);
            }
            Input::Link { peer, message } => self.link_message(turn, peer, message),
            // What does not happen to one cluster alone.
            Input::Operator { .. }
            | Input::Clusters { .. }
            | Input::Persisted { .. }
            | Input::Recalled { .. }
            | Input::Vitals { .. }
            | Input::Host(_)
            | Input::Tick
            | Input::Stopping => {}
        }
        debug_assert!(self.members.is_consistent(), "{:?}", self.members);
    }

    pub(super) fn follow(&mut self, turn: &mut Turn<'_>, follow: Follow) {
        match follow {
            Follow::Deploy { principal, reqid, .. } => {
                let request = ClientRequest::Deploy { reqid: reqid.clone() };
                self.request(turn, &principal, request, false);
                self.answer_begun(turn, &reqid);
            }
            Follow::Agent { peer, topic, message } => self.agent_message(turn, peer, &topic, message),
        }
    }

    /// What it has, by what is stored and what is under way.
    pub(super) fn claims(&self) -> Claims {
        let stored = Slot::ALL
            .into_iter()
            .filter_map(|slot| self.configurations.get(slot));
        let writes = self.writes.values();
        let writes = writes.flat_map(|write| &write.changes.entries);
        let deployment = self.deployment.iter().map(|deployment| &*deployment.config);
        let configs = stored
            .chain(writes.map(|(_, config)| &**config))
            .chain(deployment);
        let named = configs.flat_map(|config| &config.instances);
        Claims {
            named: named.map(|instance| instance.name.clone()).collect(),
            dropped: self.members.instances.dismissed.keys().cloned().collect(),
        }
    }

    /// Whether nothing of it is stored or under way.
    pub(super) fn is_void(&self) -> bool {
        let mut slots = Slot::ALL.into_iter();
        slots.all(|slot| self.configurations.get(slot).is_none())
            && self.configurations.revisions.is_empty()
            && self.writes.is_empty()
            && self.recalls.is_empty()
            && self.deployment.is_none()
            && self.requests.deadline().is_none()
    }

    /// An instance goes to another cluster: its agent's answers do, too.
    pub(super) fn wait_no_more(&mut self, turn: &mut Turn<'_>, name: &ZeekString, to: &ClusterName) {
        self.members.forget_welcome(name);
        if self.members.peers.agent(name).is_some() {
            self.fail_awaited(turn, name, &format!("it belongs to cluster {to} now"));
        }
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Now> {
        let deadlines = [self.requests.deadline(), self.members.deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn started(
        &mut self,
        turn: &mut Turn<'_>,
        broker_id: &str,
        broker: Option<&Listener>,
        websocket: Option<&Listener>,
    ) {
        let broker = broker.map_or("no Broker port".into(), |at| format!("Broker port {at}"));
        let websocket = websocket.map_or("no Websocket port".into(), |at| format!("websocket port {at}"));
        if self.name().is_default() {
            turn.info(format!(
                "controller is live, Broker ID {broker_id}, {broker}, {websocket}"
            ));
        }
        self.take_up_rollout(turn);
        self.deploy_persisted(turn);
    }

    /// Carries a client's request out; one to stage a configuration may have it deployed afterwards.
    ///
    /// DIFFERENCE(older-clients): so what older clients have set is checked, ports are assigned, and the client is always answered, also if
    /// there are no instances: then without results. Controllers up to 54aaf3a623 check nothing, and never answer that. `get_instances` and
    /// `get_nodes` show the instances that are connected, which older controllers do not if they are not deployed to.
    pub(super) fn request(
        &mut self,
        turn: &mut Turn<'_>,
        principal: &Principal,
        request: ClientRequest,
        deploys: bool,
    ) {
        let kind = request.kind();
        let event = request.event_name();
        log_received(turn, &request);

        let reqid = request.reqid().clone();
        if let Err(refusal) = access::check_client(principal, self.name(), &request) {
            return self.forbid(turn, principal, &request, refusal.reason);
        }
        let key = Key::Client(kind, reqid.clone());
        // One that is staged to be deployed is under way until it is deployed.
        let deployment = Key::Client(RequestKind::Deploy, reqid.clone());
        let keys = if deploys {
            &[&key, &deployment][..]
        } else {
            &[&key]
        };
        let admitted = keys
            .iter()
            .try_for_each(|key| self.requests.admit(key, REQUESTS_MAX));
        if let Err(reason) = admitted {
            turn.warning(reason.line(&format!("{event} {reqid} of {principal}")));
            if let Some(error) = reason.answer() {
                self.refuse(turn, kind, reqid, error, Logged::Pending);
            }
            return;
        }
        match request {
            ClientRequest::GetInstances { reqid } => self.get_instances(turn, reqid),
            ClientRequest::StageConfiguration { reqid, config } => {
                let deploys_for = deploys.then(|| principal.clone());
                self.stage_configuration(turn, reqid, config, deploys_for);
            }
            ClientRequest::GetConfiguration { reqid, deployed } => {
                self.get_configuration(turn, reqid, deployed);
            }
            ClientRequest::Deploy { reqid } => self.deploy_ready(turn, principal, reqid),
            ClientRequest::GetNodes { reqid } => self.get_nodes(turn, reqid),
            ClientRequest::GetIdValue { reqid, id, nodes } => self.get_id_value(turn, reqid, id, &nodes),
            ClientRequest::Restart { reqid, nodes } => self.restart(turn, reqid, &nodes),
            ClientRequest::TestTimeout { with_state, .. } => {
                if with_state {
                    self.await_answer(turn, key, Pending::Timeout);
                }
            }
        }
    }

    /// Agents are gone, and others that waited for their names may have taken their places.
    pub(super) fn all_lost(&mut self, turn: &mut Turn<'_>, lost: impl IntoIterator<Item = LostName>) {
        for lost in lost {
            self.agent_lost(turn, lost);
        }
    }

    fn agent_lost(&mut self, turn: &mut Turn<'_>, lost: LostName) {
        let LostName {
            name,
            agent,
            successor,
            reason,
            moves,
        } = lost;
        turn.info(format!("dropped state for instance {name}"));
        self.heard.lost(&name);
        if self.members.instances.wanted.contains_key(&name) && !moves {
            let deployed = self.configurations.deployed.iter();
            let nodes = match deployed.flat_map(|config| nodes_on(config, &name)).count() {
                0 => String::new(),
                1 => ", with 1 node that may run on".into(),
                nodes => format!(", with {nodes} nodes that may run on"),
            };
            let (peer, address) = (agent.peer, agent.observed.host);
            let message = match agent.farewell {
                Some(farewell) => format!("instance {name} is gone: {farewell} (peer {peer})"),
                None => format!(
                    "instance {name} is lost{nodes}: its agent at {address} is gone: {reason} (peer {peer})"
                ),
            };
            turn.report(Level::Warning, About::Instance(&name), message);
        }
        self.fail_awaited(turn, &name, &format!("connection to the agent lost: {reason}"));
        if successor.is_some() {
            self.members.checked_in(turn, &name, CheckedIn::InPlaceOfAnother);
        }
        self.progress(turn);
    }

    pub(super) fn persisted(&mut self, turn: &mut Turn<'_>, write: WriteId, outcome: Result<(), String>) {
        let Some(Write { changes, then }) = self.writes.remove(&write) else {
            turn.warning(format!("write {write} ended that was not under way"));
            return;
        };
        turn.claims_have_changed = true;
        match &outcome {
            Ok(()) => {
                if let Some((_, config)) = changes.entries.iter().find(|(slot, _)| *slot == Slot::Deployed) {
                    self.deployed_at = Some(turn.now);
                    self.heard.retain(config);
                }
                self.configurations.apply(changes);
            }
            Err(error) => {
                let (id, reqid) = self.of_write(&changes, &then);
                turn.error(match id {
                    Some(id) => format!(
                        "cannot store the configuration: {error}; nothing was changed (configuration {id}, request {reqid})"
                    ),
                    None => format!("cannot change what is stored: {error}"),
                });
            }
        }
        match then {
            AfterWrite::AnswerStaging { reqid, id } => self.answer_staging(turn, write, reqid, id, outcome),
            AfterWrite::HandOut => self.stored_as_deployed(turn, outcome),
            AfterWrite::AnswerRemoval { id } => self.removed(turn, id, outcome),
            AfterWrite::Roll => self.rollout_stored(turn, outcome),
            AfterWrite::Nothing => {}
        }
    }

    /// The ids of the configuration that is stored and of the request that it is stored for.
    fn of_write<'a>(&self, changes: &'a Changes, then: &AfterWrite) -> (Option<&'a ZeekString>, ZeekString) {
        let reqid = match (then, &self.deployment) {
            (AfterWrite::AnswerStaging { reqid, .. }, _) => reqid.clone(),
            (AfterWrite::HandOut, Some(deployment)) => deployment.key.reqid().clone(),
            _ => ZeekString::default(),
        };
        (changes.entries.first().map(|(_, config)| &config.id), reqid)
    }

    /// Starts a write. With a deployed configuration go the instances that it has made superfluous: one that is away must
    /// be told when it returns, also by the next controller on this store.
    ///
    /// DIFFERENCE(stored-first): clients hear of success only when it has been stored, and of a failure to store. Zeek
    /// answers at once and stores in the background.
    pub(super) fn write(&mut self, turn: &mut Turn<'_>, mut changes: Changes, then: AfterWrite) -> WriteId {
        turn.claims_have_changed = true;
        let write = turn.common.writes.begin(self.name());
        changes.cluster = self.name().besides_default();
        changes
            .dismissed
            .take_if(|names| *names == self.configurations.dismissed);
        turn.push(Action::Persist {
            write,
            changes: changes.clone(),
        });
        self.writes.insert(write, Write { changes, then });
        write
    }
}

fn log_received(turn: &mut Turn<'_>, request: &ClientRequest) {
    let event = request.event_name();
    let reqid = request.reqid();
    turn.info(match request {
        ClientRequest::GetIdValue { id, .. } => format!("rx {event} {reqid} {id}"),
        ClientRequest::Restart { nodes, .. } => format!("rx {event} {reqid} {}", bracketed(nodes)),
        ClientRequest::TestTimeout { with_state, .. } => {
            format!("rx {event} {reqid} {}", if *with_state { "T" } else { "F" })
        }
        _ => format!("rx {event} {reqid}"),
    });
}
