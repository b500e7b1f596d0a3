use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker_codec::{
    EndpointId,
    data::{Address, Port, ZeekString},
};
use mgmt_api::{
    AgentMessage, ClientRequest, Configuration, IdSource, Instance, Now, Principal, RequestKind,
    RequestTable, WallClock,
};

use super::{
    access,
    action::Action,
    configurations::{Configurations, Slot},
    counters::Counters,
    deployment::Deployment,
    input::{Input, Listener, WriteId},
    instances::Instances,
    membership::{Membership, Peering},
    peers::Targets,
    requests::{Key, Logged, Pending, bracketed},
    settings::Settings,
    turn::Turn,
};

/// How many requests may be under way at a time. More are refused.
///
/// DIFFERENCE(request-limits): Zeek has none of these limits.
pub const REQUESTS_MAX: usize = 4096;

/// How many writes may be under way at a time. Configurations to stage beyond that are refused.
pub const WRITES_MAX: usize = 16;

/// The controller.
pub struct Controller {
    pub(super) settings: Settings,
    pub(super) ids: Box<dyn IdSource>,
    pub(super) configurations: Configurations,
    /// Who is connected, and under which name.
    pub(super) membership: Membership,
    pub(super) targets: Targets,
    pub(super) instances: Instances,
    pub(super) requests: RequestTable<Key, Pending>,
    /// The one that is under way. Others are refused meanwhile.
    pub(super) deployment: Option<Deployment>,
    pub(super) writes: BTreeMap<WriteId, Write>,
    last_write: u64,
    pub(super) follows: VecDeque<Follow>,
    now: Now,
    /// The time of day at [`Now::START`].
    pub(super) epoch: WallClock,
    pub(super) counters: Counters,
}

/// A write that is under way.
#[derive(Debug)]
pub(super) struct Write {
    entries: Vec<(Slot, Configuration)>,
    dismissed: Option<BTreeSet<Instance>>,
    then: AfterWrite,
}

/// What happens because of an input, when all else that it brings about has happened.
#[derive(Debug)]
pub(super) enum Follow {
    /// A configuration was staged to be deployed.
    Deploy { principal: Principal, reqid: ZeekString },
    /// What an agent cannot say is said in its place.
    Agent {
        peer: EndpointId,
        topic: ZeekString,
        message: AgentMessage,
    },
}

/// What to do when a write has ended.
#[derive(Clone, Debug)]
pub(super) enum AfterWrite {
    /// Answer the `stage_configuration_request` of this id.
    AnswerStaging { reqid: ZeekString, id: ZeekString },
    /// Hand the configuration of the deployment out.
    HandOut,
}

impl Controller {
    /// A controller with the configurations that were restored from its store.
    pub fn new(settings: Settings, restored: Configurations, ids: Box<dyn IdSource>) -> Self {
        let mut instances = Instances::default();
        for instance in &restored.dismissed {
            instances.dismiss(instance);
        }
        Self {
            settings,
            ids,
            configurations: restored,
            membership: Membership::default(),
            targets: Targets::new(),
            instances,
            requests: RequestTable::new(),
            deployment: None,
            writes: BTreeMap::new(),
            last_write: 0,
            follows: VecDeque::new(),
            now: Now::START,
            epoch: WallClock::default(),
            counters: Counters::default(),
        }
    }

    /// Takes one input in and returns everything that has to happen because of it, in this order.
    ///
    /// Requests whose time is up at `now` time out first, before any input. A `now` before that of an earlier call
    /// counts as that one.
    #[must_use]
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        self.now = self.now.max(now);
        let mut turn = Turn::new(self.now);
        self.expire(&mut turn);
        match input {
            Input::Started {
                broker_id,
                broker,
                websocket,
                wall_clock,
            } => {
                self.epoch = wall_clock - self.now.since_start();
                self.started(&mut turn, &broker_id, broker.as_ref(), websocket.as_ref());
            }
            Input::Request { principal, request } => {
                self.request(&mut turn, &principal, request, false);
            }
            Input::SetConfiguration {
                principal,
                reqid,
                config,
            } => {
                let request = ClientRequest::StageConfiguration { reqid, config };
                self.request(&mut turn, &principal, request, true);
            }
            Input::Persisted { write, outcome } => self.persisted(&mut turn, write, outcome),
            Input::PeerAdded {
                peer,
                address,
                port,
                dialled,
            } => {
                let peering = Peering {
                    address,
                    port,
                    dialled,
                };
                self.peer_added(&mut turn, peer, peering);
            }
            Input::PeerLost { peer, reason } => self.peer_lost(&mut turn, peer, &reason),
            Input::Agent {
                peer,
                topic,
                message,
                dialect,
            } => {
                self.heard(&mut turn, peer, &topic, &message, dialect);
                self.agent_message(&mut turn, peer, &topic, message);
            }
            Input::Tick => {}
            Input::Stopping => self.stopping(&mut turn),
        }
        while let Some(follow) = self.follows.pop_front() {
            match follow {
                Follow::Deploy { principal, reqid } => {
                    self.request(&mut turn, &principal, ClientRequest::Deploy { reqid }, false);
                }
                Follow::Agent { peer, topic, message } => {
                    self.agent_message(&mut turn, peer, &topic, message);
                }
            }
        }
        debug_assert!(self.membership.is_consistent(), "{:?}", self.membership);
        debug_assert!(
            self.instances.are_consistent(&self.membership),
            "{:?}",
            self.instances
        );
        turn.into_actions()
    }

    /// When [`Input::Tick`] is due. Later than the `now` of the last call.
    pub fn deadline(&self) -> Option<Now> {
        self.requests.deadline()
    }

    /// Whether a client's request is still to be answered.
    pub fn owes_answer(&self, kind: RequestKind, reqid: &ZeekString) -> bool {
        self.requests.contains(&Key::Client(kind, reqid.clone()))
    }

    /// The instance that is to be reached at this place, by its name.
    pub fn instance_at(&self, host: Address, port: Port) -> Option<&ZeekString> {
        self.instances.name_at((host, port))
    }

    /// The instance that a peer speaks for, by its name, and whether it belongs to the deployed configuration: of the end of such a
    /// one there is an [`Action::Report`].
    pub fn instance_of(&self, peer: EndpointId) -> Option<(&ZeekString, bool)> {
        let name = self.membership.name_of(peer)?;
        Some((name, self.instances.wanted.contains_key(name)))
    }

    pub const fn deployed_configuration(&self) -> Option<&Configuration> {
        self.configurations.deployed.as_ref()
    }

    /// What it has seen of agents so far.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn started(
        &mut self,
        turn: &mut Turn,
        broker_id: &str,
        broker: Option<&Listener>,
        websocket: Option<&Listener>,
    ) {
        let broker = broker.map_or("no Broker port".into(), |at| format!("Broker port {at}"));
        let websocket = websocket.map_or("no Websocket port".into(), |at| format!("websocket port {at}"));
        turn.info(format!(
            "controller is live, Broker ID {broker_id}, {broker}, {websocket}"
        ));
        self.deploy_persisted(turn);
    }

    /// Carries a client's request out; one to stage a configuration may have it deployed afterwards.
    ///
    /// DIFFERENCE(older-clients): so what older clients have set is checked, ports are assigned, and the client is always answered, also if
    /// there are no instances: then without results. Controllers up to 54aaf3a623 check nothing, and never answer that. `get_instances` and
    /// `get_nodes` show the instances that are connected, which older controllers do not if they are not deployed to.
    fn request(&mut self, turn: &mut Turn, principal: &Principal, request: ClientRequest, deploys: bool) {
        let kind = request.kind();
        let event = request.event_name();
        log_received(turn, &request);

        let reqid = request.reqid().clone();
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
        if !access::permits(principal, &request) {
            turn.warning(format!("refusing {event} {reqid} of {principal}: not permitted"));
            self.refuse(turn, kind, reqid, "not permitted", Logged::Pending);
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
            ClientRequest::Deploy { reqid } => self.deploy_ready(turn, reqid),
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

    fn persisted(&mut self, turn: &mut Turn, write: WriteId, outcome: Result<(), String>) {
        let Some(Write {
            entries,
            dismissed,
            then,
        }) = self.writes.remove(&write)
        else {
            turn.warning(format!("write {write} ended that was not under way"));
            return;
        };
        match &outcome {
            Ok(()) => {
                for (slot, config) in entries {
                    self.configurations.set(slot, config);
                }
                if let Some(dismissed) = dismissed {
                    self.configurations.dismissed = dismissed;
                }
            }
            Err(error) => {
                let id = entries.first().map(|(_, config)| config.id.to_string());
                let id = id.unwrap_or_default();
                let reqid = match (&then, &self.deployment) {
                    (AfterWrite::AnswerStaging { reqid, .. }, _) => reqid.to_string(),
                    (AfterWrite::HandOut, Some(deployment)) => deployment.key.reqid().to_string(),
                    (AfterWrite::HandOut, None) => String::new(),
                };
                turn.error(format!(
                    "cannot store the configuration: {error}; nothing was changed (configuration {id}, request {reqid})"
                ));
            }
        }
        match then {
            AfterWrite::AnswerStaging { reqid, id } => self.answer_staging(turn, write, reqid, id, outcome),
            AfterWrite::HandOut => self.stored_as_deployed(turn, outcome),
        }
    }

    /// Starts a write. With a deployed configuration go the instances that it has made superfluous: one that is away must
    /// be told when it returns, also by the next controller on this store.
    ///
    /// DIFFERENCE(stored-first): clients hear of success only when it has been stored, and of a failure to store. Zeek
    /// answers at once and stores in the background.
    pub(super) fn write(
        &mut self,
        turn: &mut Turn,
        entries: Vec<(Slot, Configuration)>,
        dismissed: Option<BTreeSet<Instance>>,
        then: AfterWrite,
    ) -> WriteId {
        self.last_write += 1;
        let id = WriteId(self.last_write);
        let dismissed = dismissed.filter(|names| *names != self.configurations.dismissed);
        turn.push(Action::Persist {
            write: id,
            entries: entries.clone(),
            dismissed: dismissed.clone(),
        });
        let write = Write {
            entries,
            dismissed,
            then,
        };
        self.writes.insert(id, write);
        id
    }
}

fn log_received(turn: &mut Turn, request: &ClientRequest) {
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
