//! Requests on their way: kept, answered, given up.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use broker_codec::data::ZeekString;
use mgmt_api::{AgentMessage, AgentRequest, ResultRecord, log::listed};

use super::{
    action::{Action, Turn},
    agent::Agent,
    restart::restart_failure,
};

/// The requests that take time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Deploy,
    GetNodes,
    NodeDispatch,
    Restart,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Deploy, Self::GetNodes, Self::NodeDispatch, Self::Restart];

    pub(super) const fn of(request: &AgentRequest) -> Option<Self> {
        match request {
            AgentRequest::Deploy { .. } => Some(Self::Deploy),
            AgentRequest::GetNodes { .. } => Some(Self::GetNodes),
            AgentRequest::NodeDispatch { .. } => Some(Self::NodeDispatch),
            AgentRequest::Restart { .. } => Some(Self::Restart),
            AgentRequest::AgentWelcome { .. } | AgentRequest::AgentStandby { .. } => None,
        }
    }

    /// The answer. That of [`Kind::GetNodes`] has one result.
    pub(super) fn response(self, reqid: ZeekString, mut results: Vec<ResultRecord>) -> AgentMessage {
        match self {
            Self::Deploy => AgentMessage::Deploy { reqid, results },
            Self::GetNodes => AgentMessage::GetNodes {
                result: results
                    .pop()
                    .unwrap_or_else(|| ResultRecord::success(reqid.clone())),
                reqid,
            },
            Self::NodeDispatch => AgentMessage::NodeDispatch { reqid, results },
            Self::Restart => AgentMessage::Restart { reqid, results },
        }
    }
}

/// What a request is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(pub(super) Kind, pub(super) ZeekString);

/// What a request waits for.
#[derive(Debug)]
pub(super) enum Pending {
    Deployment,
    Status,
    Dispatch {
        /// The id by which nodes know the request.
        id: ZeekString,
        /// The nodes that have not answered.
        awaited: BTreeSet<ZeekString>,
        results: Vec<ResultRecord>,
    },
    /// The Supervisor, to restart nodes.
    Restart {
        /// By the command's id, the nodes that it has not taken on.
        awaited: BTreeMap<ZeekString, ZeekString>,
        results: Vec<ResultRecord>,
    },
}

/// How the log shows an answer. Zeek has a way for each request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Logged {
    Results,
    /// By id and results of a request that is called pending.
    Pending,
    /// By the id and why there are no other results.
    Id(&'static str),
}

impl Agent {
    /// Answers the requests whose time is up.
    ///
    /// DIFFERENCE(request-timeout): that is after exactly the time that is set, and later for deployments. Zeek's agent takes 4 to 7
    /// seconds of 5.
    pub(super) fn expire(&mut self, turn: &mut Turn) {
        while let Some((Key(kind, reqid), pending)) = self.requests.pop_expired(turn.now) {
            turn.push(Action::about_request(
                &reqid,
                format!("request {reqid} timed out"),
            ));
            match pending {
                Pending::Deployment => self.deployment_timed_out(turn, reqid),
                Pending::Status => self.respond_without_status(turn, reqid, TIMED_OUT),
                // DIFFERENCE(dispatch-timeout): Zeek's agent does not answer.
                Pending::Dispatch {
                    id,
                    awaited,
                    mut results,
                } => {
                    self.dispatches.remove(&id);
                    results.extend(awaited.into_iter().map(|node| ResultRecord {
                        node: Some(node),
                        ..self.failure(reqid.clone(), TIMED_OUT)
                    }));
                    respond(turn, kind, reqid, results, Logged::Pending);
                }
                Pending::Restart { awaited, mut results } => {
                    let late = awaited.into_values();
                    results.extend(late.map(|node| restart_failure(&reqid, node, TIMED_OUT)));
                    respond(turn, kind, reqid, results, Logged::Pending);
                }
            }
        }
    }

    /// Keeps a request until it is answered or its time is up.
    pub(super) fn await_answer(
        &mut self,
        turn: &Turn,
        kind: Kind,
        reqid: ZeekString,
        timeout: Duration,
        pending: Pending,
    ) {
        let deadline = turn.now + timeout;
        let inserted = self.requests.insert(Key(kind, reqid), deadline, pending);
        debug_assert!(inserted.is_ok(), "a live request is never asked for again");
    }

    /// Ends a request that is about to be answered. Returns whether it was waiting for that.
    pub(super) fn end(&mut self, kind: Kind, reqid: &ZeekString) -> bool {
        self.requests.remove(&Key(kind, reqid.clone())).is_some()
    }
}

/// Answers a request. The caller sees to it that it happens once.
pub(super) fn respond(
    turn: &mut Turn,
    kind: Kind,
    reqid: ZeekString,
    results: Vec<ResultRecord>,
    logged: Logged,
) {
    let results_text = listed(&results);
    let text = match logged {
        Logged::Results => results_text,
        Logged::Pending => format!("[request {reqid} pending, results: {results_text}]"),
        Logged::Id(why) => format!("{reqid}, {why}"),
    };
    let about = reqid.clone();
    let message = kind.response(reqid, results);
    turn.push(Action::about_request(
        &about,
        format!("tx {} {text}", message.event_name()),
    ));
    turn.push(Action::Tell(message));
}

/// The error of a request whose time is up.
pub(super) const TIMED_OUT: &str = "request timed out";
