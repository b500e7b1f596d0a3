use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::{
    AgentRequest, ClientRequest, ClientResponse, Configuration, IdSource, Now, RequestKind, RequestTable,
    ResultRecord, topics,
};

use super::{
    action::{Action, Outgoing},
    configurations::{Configurations, Slot},
    deploy::Deployment,
    fanout::Fanout,
    input::{Input, Listener, WriteId},
    instances::Instances,
    settings::Settings,
    turn::Turn,
};

/// How many requests may be under way at a time. More are refused.
///
/// DIFFERENCE(request-limits): Zeek has none of these limits.
pub const REQUESTS_MAX: usize = 4096;

/// How many writes may be under way at a time. Configurations to stage beyond that are refused.
pub const WRITES_MAX: usize = 16;

/// How long a request id may be, in bytes. Requests with longer ones are refused. Those of zeek-client have 36.
pub const REQID_BYTES_MAX: usize = 1024;

/// The controller.
pub struct Controller {
    pub(super) settings: Settings,
    pub(super) ids: Box<dyn IdSource>,
    /// What is durable.
    pub(super) configurations: Configurations,
    pub(super) instances: Instances,
    pub(super) requests: RequestTable<Key, Pending>,
    /// The one that is under way. Others are refused meanwhile.
    pub(super) deployment: Option<Deployment>,
    pub(super) writes: BTreeMap<WriteId, Write>,
    last_write: u64,
    now: Now,
}

/// What a request is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A client's: by the kind and the client's id.
    Client(RequestKind, ZeekString),
    /// A deployment of the controller's own.
    Internal(ZeekString),
}

impl Key {
    pub(super) const fn reqid(&self) -> &ZeekString {
        match self {
            Self::Client(_, reqid) | Self::Internal(reqid) => reqid,
        }
    }
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Pending {
    /// A write.
    Write,
    /// The [`Deployment`].
    Deployment,
    /// Agents.
    Agents(Fanout),
    /// Its time-out.
    Timeout,
}

/// A write that is under way.
#[derive(Debug)]
pub(super) struct Write {
    entries: Vec<(Slot, Configuration)>,
    then: AfterWrite,
}

/// What to do when a write has ended.
#[derive(Clone, Debug)]
pub(super) enum AfterWrite {
    /// Answer the `stage_configuration_request` of this id.
    AnswerStaging {
        reqid: ZeekString,
        /// The configuration's.
        id: ZeekString,
    },
    /// Finish the deployment.
    FinishDeployment,
}

/// How the log shows an answer. Zeek has a way for each request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Logged {
    /// By the request's id.
    Id,
    /// By the result.
    Result,
    /// By id and results of a request that is called pending.
    Pending,
    /// By id and results of a request that is called finished.
    Finished,
}

impl Controller {
    /// A controller with the configurations that were restored from its store.
    pub fn new(settings: Settings, restored: Configurations, ids: Box<dyn IdSource>) -> Self {
        Self {
            settings,
            ids,
            configurations: restored,
            instances: Instances::default(),
            requests: RequestTable::new(),
            deployment: None,
            writes: BTreeMap::new(),
            last_write: 0,
            now: Now::START,
        }
    }

    /// Takes one input in and returns everything that has to happen because of it, in this order.
    ///
    /// Requests whose time is up at `now` time out first, whatever the input is. A `now` before that of an earlier call
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
            } => self.started(&mut turn, &broker_id, broker.as_ref(), websocket.as_ref()),
            Input::Request { client, request } => self.request(&mut turn, &client, request),
            Input::Persisted { write, outcome } => self.persisted(&mut turn, write, outcome),
            Input::Tick => {}
        }
        turn.into_actions()
    }

    /// When [`Input::Tick`] is due. Later than the `now` of the last call.
    pub fn deadline(&self) -> Option<Now> {
        self.requests.deadline()
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

    fn request(&mut self, turn: &mut Turn, client: &str, request: ClientRequest) {
        let kind = request.kind();
        let event = kind.request_event();
        if request.reqid().len() > REQID_BYTES_MAX {
            turn.warning(format!(
                "refusing {event} of {client}: its request ID has {} bytes",
                request.reqid().len()
            ));
            let reqid = request.reqid().clone();
            let error = format!("request ID is longer than {REQID_BYTES_MAX} bytes");
            let results = vec![ResultRecord::failure(reqid.clone(), error)];
            self.publish(turn, ClientResponse::new(kind, reqid, results));
            return;
        }
        log_received(turn, &request);

        let reqid = request.reqid().clone();
        // DIFFERENCE(repeated-request): Zeek replaces the live request, which is then never answered. An answer to the repetition
        // would be taken for the answer to the first.
        if self.requests.contains(&Key::Client(kind, reqid.clone())) {
            turn.warning(format!(
                "ignoring repeated {event} {reqid} of {client}: the first is still pending"
            ));
            return;
        }
        if self.requests.len() >= REQUESTS_MAX {
            turn.warning(format!(
                "refusing {event} {reqid} of {client}: {REQUESTS_MAX} requests pending"
            ));
            self.refuse(turn, kind, reqid, "too many requests pending", Logged::Pending);
            return;
        }
        match request {
            ClientRequest::GetInstances { reqid } => self.get_instances(turn, reqid),
            ClientRequest::StageConfiguration { reqid, config } => {
                self.stage_configuration(turn, reqid, config);
            }
            ClientRequest::GetConfiguration { reqid, deployed } => {
                self.get_configuration(turn, reqid, deployed);
            }
            ClientRequest::Deploy { reqid } => self.deploy_ready(turn, reqid),
            ClientRequest::GetNodes { reqid } => self.get_nodes(turn, reqid),
            ClientRequest::GetIdValue { reqid, id, nodes } => self.get_id_value(turn, reqid, id, &nodes),
            ClientRequest::Restart { reqid, nodes } => self.restart(turn, reqid, &nodes),
            ClientRequest::TestTimeout { reqid, with_state } => {
                if with_state {
                    self.await_answer(turn, Key::Client(kind, reqid), Pending::Timeout);
                }
            }
        }
    }

    fn persisted(&mut self, turn: &mut Turn, id: WriteId, outcome: Result<(), String>) {
        let Some(Write { entries, then }) = self.writes.remove(&id) else {
            turn.warning(format!("write {id} ended that was not under way"));
            return;
        };
        match &outcome {
            Ok(()) => {
                for (slot, config) in entries {
                    self.configurations.set(slot, config);
                }
            }
            Err(error) => {
                let slots: Vec<_> = entries.iter().map(|(slot, _)| slot.to_string()).collect();
                let reqid = match (&then, &self.deployment) {
                    (AfterWrite::AnswerStaging { reqid, .. }, _) => reqid.to_string(),
                    (AfterWrite::FinishDeployment, Some(deployment)) => deployment.key.reqid().to_string(),
                    (AfterWrite::FinishDeployment, None) => String::new(),
                };
                turn.error(format!(
                    "cannot store {}, request {reqid}: {error}",
                    slots.join(", ")
                ));
            }
        }
        match then {
            AfterWrite::AnswerStaging { reqid, id } => self.answer_staging(turn, reqid, id, outcome),
            AfterWrite::FinishDeployment => self.finish_deployment(turn, outcome),
        }
    }

    fn expire(&mut self, turn: &mut Turn) {
        while let Some((key, pending)) = self.requests.pop_expired(turn.now) {
            let reqid = key.reqid().clone();
            turn.info(format!("request {reqid} timed out"));
            let logged = match pending {
                Pending::Write => Logged::Finished,
                Pending::Timeout => Logged::Id,
                Pending::Deployment | Pending::Agents(_) => Logged::Pending,
            };
            let mut results = match pending {
                Pending::Agents(fanout) => fanout.into_results(),
                Pending::Deployment => self.give_up_deployment(),
                Pending::Write | Pending::Timeout => Vec::new(),
            };
            results.push(ResultRecord::failure(reqid.clone(), "request timed out"));
            if let Key::Client(kind, _) = key {
                self.respond(turn, kind, reqid, results, logged);
            }
        }
    }

    /// Keeps a request until it is answered or its time is up.
    pub(super) fn await_answer(&mut self, turn: &Turn, key: Key, pending: Pending) {
        let deadline = turn.now + self.settings.request_timeout;
        let inserted = self.requests.insert(key, deadline, pending);
        debug_assert!(inserted.is_ok(), "a live request is never asked for again");
    }

    /// Asks instances, each under an id of its own, and keeps the request until they have answered. Without instances
    /// the request is answered at once, and fails.
    ///
    /// DIFFERENCE(nobody-to-ask): Zeek lets the request time out if there is nobody to ask.
    pub(super) fn ask_agents(
        &mut self,
        turn: &mut Turn,
        key: Key,
        instances: Vec<ZeekString>,
        mut results: Vec<ResultRecord>,
        request: impl Fn(ZeekString) -> AgentRequest,
    ) {
        if instances.is_empty() {
            let reqid = key.reqid().clone();
            results.push(ResultRecord::failure(reqid.clone(), "no instances ready"));
            if let Key::Client(kind, _) = key {
                self.respond(turn, kind, reqid, results, Logged::Pending);
            }
            return;
        }
        let mut fanout = Fanout::new(results);
        for instance in instances {
            let reqid = self.ids.next_id();
            fanout.ask(reqid.clone(), instance.clone());
            self.send(turn, &instance, request(reqid));
        }
        self.await_answer(turn, key, Pending::Agents(fanout));
    }

    /// Logs and sends a request to an agent.
    pub(super) fn send(&mut self, turn: &mut Turn, instance: &ZeekString, request: AgentRequest) {
        let event = request.event_name();
        turn.info(match &request {
            AgentRequest::AgentStandby { .. } => format!("tx {event} to {instance}"),
            AgentRequest::NodeDispatch { reqid, action, .. } => {
                format!("tx {event} {reqid} {} to {instance}", bracketed(action))
            }
            _ => format!("tx {event} {} to {instance}", request.reqid()),
        });
        let topic = topics::agent(&self.settings.agent_topic_prefix, instance);
        turn.publish(topic, Outgoing::Agent(request));
    }

    /// Answers a request with one failure.
    pub(super) fn refuse(
        &mut self,
        turn: &mut Turn,
        kind: RequestKind,
        reqid: ZeekString,
        error: impl Into<ZeekString>,
        logged: Logged,
    ) {
        let results = vec![ResultRecord::failure(reqid.clone(), error)];
        self.respond(turn, kind, reqid, results, logged);
    }

    /// Answers a request. The caller sees to it that it happens once.
    pub(super) fn respond(
        &mut self,
        turn: &mut Turn,
        kind: RequestKind,
        reqid: ZeekString,
        results: Vec<ResultRecord>,
        logged: Logged,
    ) {
        let event = kind.response_event();
        let response = ClientResponse::new(kind, reqid, results);
        let reqid = response.reqid();
        let results = listed(response.results());
        turn.info(match logged {
            Logged::Id => format!("tx {event} {reqid}"),
            Logged::Result => format!("tx {event} {results}"),
            Logged::Pending => format!("tx {event} [request {reqid} pending, results: {results}]"),
            Logged::Finished => format!("tx {event} [request {reqid} finished, results: {results}]"),
        });
        self.publish(turn, response);
    }

    fn publish(&self, turn: &mut Turn, response: ClientResponse) {
        turn.publish(self.settings.topic.clone(), Outgoing::Client(response));
    }

    /// Starts a write.
    pub(super) fn write(&mut self, turn: &mut Turn, entries: Vec<(Slot, Configuration)>, then: AfterWrite) {
        self.last_write += 1;
        let id = WriteId(self.last_write);
        turn.persist(id, entries.clone());
        self.writes.insert(id, Write { entries, then });
    }
}

fn log_received(turn: &mut Turn, request: &ClientRequest) {
    let event = request.kind().request_event();
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

/// As Zeek prints a vector of strings.
fn bracketed<'a>(items: impl IntoIterator<Item = &'a ZeekString>) -> String {
    format!("[{}]", listed(items))
}

pub(super) fn listed(items: impl IntoIterator<Item = impl ToString>) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
