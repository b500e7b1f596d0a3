//! Requests on their way: kept, passed on, answered, given up.

use std::time::Duration;

use broker_codec::{EndpointId, data::ZeekString};
pub(super) use mgmt_api::log::{bracketed, listed};
use mgmt_api::{AgentRequest, ClientResponse, Now, Principal, RequestKind, ResultRecord, topics};

use super::{
    action::{Action, Audience, Outgoing},
    answers::named_error,
    controller::{Controller, Follow},
    fanout::Fanout,
    input::WriteId,
    restart::readable_restart,
    turn::Turn,
};

/// What a request is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A client's: by the kind and the client's id.
    Client(RequestKind, ZeekString),
    /// A deployment of the controller's own.
    Internal(ZeekString),
    Welcome(ZeekString),
}

impl Key {
    pub(super) const fn reqid(&self) -> &ZeekString {
        match self {
            Self::Client(_, reqid) | Self::Internal(reqid) | Self::Welcome(reqid) => reqid,
        }
    }
}

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Pending {
    /// A write, and this one: an earlier one may have been for another request with the same id.
    Staging {
        write: WriteId,
        /// Who wants what is staged deployed, in one request.
        deploys_for: Option<Principal>,
    },
    Deployment,
    /// Agents.
    Agents(Fanout),
    /// The agent of this instance, which is to say that it is ready.
    Welcome(ZeekString),
    Timeout,
}

/// How the log shows an answer. Zeek has a way for each request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Logged {
    Id,
    Result,
    /// By id and results of a request that is called pending.
    Pending,
    /// By id and results of a request that is called finished.
    Finished,
}

impl Controller {
    /// Answers the requests whose time is up.
    pub(super) fn expire(&mut self, turn: &mut Turn) {
        while let Some((key, pending)) = self.requests.pop_expired(turn.now) {
            if matches!(pending, Pending::Deployment) {
                self.deployment_expired(turn, key);
                continue;
            }
            let reqid = key.reqid().clone();
            turn.info(format!("request {reqid} timed out"));
            let (results, logged) = match pending {
                Pending::Welcome(name) => {
                    self.welcome_expired(turn, &name, reqid);
                    continue;
                }
                Pending::Agents(fanout) => (fanout.timed_out(&reqid), Logged::Pending),
                Pending::Staging { .. } => (vec![timed_out(&reqid)], Logged::Finished),
                Pending::Timeout | Pending::Deployment => (vec![timed_out(&reqid)], Logged::Id),
            };
            if let Key::Client(kind, _) = key {
                self.respond(turn, kind, reqid, results, logged);
            }
        }
    }

    /// Answers the requests that wait when the process is about to end.
    ///
    /// DIFFERENCE(ending): Zeek disconnects its clients without a word.
    pub(super) fn stopping(&mut self, turn: &mut Turn) {
        let ever = Now::from_start(Duration::MAX);
        while let Some((key, _)) = self.requests.pop_expired(ever) {
            if let Key::Client(kind, reqid) = key {
                let error = "the controller is ending, the outcome is unknown";
                let results = vec![ResultRecord::failure(reqid.clone(), error)];
                self.respond(turn, kind, reqid, results, Logged::Finished);
            }
        }
    }

    /// Keeps a request until it is answered or its time is up.
    pub(super) fn await_answer(&mut self, turn: &Turn, key: Key, pending: Pending) {
        self.await_until(turn.now + self.settings.request_timeout, key, pending);
    }

    /// Keeps a request until it is answered or this time has come.
    pub(super) fn await_until(&mut self, deadline: Now, key: Key, pending: Pending) {
        let inserted = self.requests.insert(key, deadline, pending);
        debug_assert!(inserted.is_ok(), "a live request is never asked for again");
    }

    /// Asks instances, each under an id of its own, and keeps the request until they have answered. Without instances
    /// the request is answered at once, and fails.
    ///
    /// DIFFERENCE(no-agent-to-ask): Zeek lets the request time out if no agent can be asked.
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
            if results.is_empty() {
                results.push(ResultRecord::failure(reqid.clone(), "no instances ready"));
            }
            if let Key::Client(kind, _) = key {
                self.respond(turn, kind, reqid, results, Logged::Pending);
            }
            return;
        }
        let fanout = self.ask(turn, instances, results, request);
        self.await_answer(turn, key, Pending::Agents(fanout));
    }

    /// Asks instances, each under an id of its own.
    pub(super) fn ask(
        &mut self,
        turn: &mut Turn,
        instances: Vec<ZeekString>,
        results: Vec<ResultRecord>,
        request: impl Fn(ZeekString) -> AgentRequest,
    ) -> Fanout {
        let mut fanout = Fanout::new(results);
        for instance in instances {
            let reqid = self.ids.next_id();
            fanout.ask(reqid.clone(), instance.clone());
            self.send(turn, &instance, request(reqid));
        }
        fanout
    }

    /// Logs and sends a request to the agent of a known instance.
    pub(super) fn send(&mut self, turn: &mut Turn, instance: &ZeekString, request: AgentRequest) {
        let peer = self.membership.agent(instance).map(|agent| agent.peer);
        self.send_to(turn, instance, peer, request);
    }

    /// Logs and sends a request to an agent. The log shows it as sent also if there is no agent, as Zeek's does.
    ///
    /// DIFFERENCE(agent-topic): only the addressee gets it. In Zeek every agent does whose name the addressee's name
    /// begins with, and every other peer that subscribed to the topic.
    pub(super) fn send_to(
        &mut self,
        turn: &mut Turn,
        instance: &ZeekString,
        peer: Option<EndpointId>,
        request: AgentRequest,
    ) {
        let event = request.event_name();
        turn.info(match &request {
            AgentRequest::AgentStandby { .. } => format!("tx {event} to {instance}"),
            AgentRequest::NodeDispatch { reqid, action, .. } => {
                format!("tx {event} {reqid} {} to {instance}", bracketed(action))
            }
            _ => format!("tx {event} {} to {instance}", request.reqid()),
        });
        if let Some(peer) = peer
            && let Some(api) = self.membership.api(peer)
        {
            let topic = topics::agent(&self.settings.agent_topic_prefix, instance);
            let (request, answer) = api.ask(instance, request);
            if let Some(request) = request {
                tell(turn, peer, topic.clone(), request);
            }
            self.follows
                .extend(answer.map(|message| Follow::Agent { peer, topic, message }));
        }
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
        let several = self.instances.wanted.len() > 1;
        let readable = |result| match kind {
            RequestKind::Restart => readable_restart(result),
            _ if several => named_error(result),
            _ => result,
        };
        let results = results.into_iter().map(readable).collect();
        let response = ClientResponse::new(kind, reqid, results);
        let (event, reqid) = (response.event_name(), response.reqid());
        let results = listed(response.results());
        turn.info(match logged {
            Logged::Id => format!("tx {event} {reqid}"),
            Logged::Result => format!("tx {event} {results}"),
            Logged::Pending => format!("tx {event} [request {reqid} pending, results: {results}]"),
            Logged::Finished => format!("tx {event} [request {reqid} finished, results: {results}]"),
        });
        self.publish(turn, response);
    }

    /// Publishes an answer that has been logged.
    pub(super) fn publish(&self, turn: &mut Turn, response: ClientResponse) {
        turn.push(Action::Publish {
            topic: self.settings.topic.clone(),
            event: Outgoing::Client(response),
            to: Audience::Subscribers,
        });
    }
}

/// Sends a request to an agent.
pub(super) fn tell(turn: &mut Turn, peer: EndpointId, topic: ZeekString, request: AgentRequest) {
    turn.push(Action::Publish {
        topic,
        event: Outgoing::Agent(request),
        to: Audience::Peer(peer),
    });
}

fn timed_out(reqid: &ZeekString) -> ResultRecord {
    ResultRecord::failure(reqid.clone(), "request timed out")
}
