//! What requests wait for, and their answers.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::data::ZeekString;
use mgmt_api::{AgentMessage, AgentRequest, ResultRecord, log::listed};

use super::action::{Action, Turn};

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

/// A node that is not restarted.
///
/// DIFFERENCE(failed-restarts): without the instance, as the controller passes it on. If it names one, zeek-client prints `false`, no
/// reason, and ends with 0.
pub(super) fn restart_failure(
    reqid: &ZeekString,
    node: ZeekString,
    error: impl Into<ZeekString>,
) -> ResultRecord {
    ResultRecord {
        node: Some(node),
        ..ResultRecord::failure(reqid.clone(), error)
    }
}
