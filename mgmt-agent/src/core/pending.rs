//! What is under way.

use std::collections::{BTreeMap, BTreeSet};

use broker_codec::{EndpointId, data::ZeekString};
use mgmt_api::{
    AgentMessage, AgentRequest, Configuration, Now, ResultRecord,
    link::{Prepare, Problem},
    operator::NotDone,
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

/// A controller's request to look whether nodes could run.
#[derive(Debug)]
pub(super) struct ToPrepare {
    pub(super) peer: EndpointId,
    pub(super) reqid: ZeekString,
    /// When it came.
    pub(super) since: Now,
    pub(super) prepare: Prepare,
}

/// Such a request that is under way.
#[derive(Debug)]
pub(super) struct Preparing {
    pub(super) peer: EndpointId,
    pub(super) reqid: ZeekString,
    pub(super) since: Now,
    /// Whether the controller only plans.
    pub(super) is_plan: bool,
    /// What is wrong by the configuration alone; of a plan also what was found, while the Supervisor is asked which nodes run.
    pub(super) problems: Vec<Problem>,
    /// By what nodes would talk to each other, likewise.
    pub(super) backend: Option<ZeekString>,
    /// What is to be deployed, if the controller has said so.
    pub(super) configuration: Option<Configuration>,
}

/// Who has asked.
#[derive(Clone, Debug)]
pub(super) enum Asker {
    /// An operator, on the control socket.
    Operator(u64),
    /// A controller, for an operator.
    Controller { peer: EndpointId, reqid: ZeekString },
}

/// An answer that waits until what should run is written down: what was answered outlives the agent.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) write: u64,
    pub(super) to: Asker,
    pub(super) outcome: Result<ZeekString, NotDone>,
}
