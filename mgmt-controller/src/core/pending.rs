//! What is under way.

use broker_codec::data::ZeekString;
use mgmt_api::{Principal, RequestKind, operator::RevisionSummary};

use super::{asking::Asking, configurations::Changes, fanout::Fanout, input::WriteId};

/// What a request is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// A client's: by the kind and the client's id.
    Client(RequestKind, ZeekString),
    /// A deployment of the controller's own, or an operator's request: by an id of the controller's.
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
    /// A write, and this one: an earlier one may have been for another request with the same id.
    Staging {
        write: WriteId,
        /// The client that wants what is staged deployed, in one request.
        deploys_for: Option<Principal>,
    },
    Deployment,
    /// Agents.
    Agents(Fanout),
    /// Agents, for an operator.
    Asking(Asking),
    /// A step of a roll-out, on this instance.
    Step(ZeekString),
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

/// A write that is under way.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) changes: Changes,
    pub(super) then: AfterWrite,
}

/// The configuration of a revision is being fetched, for an operator.
#[derive(Debug)]
pub(super) struct Recall {
    /// What the operator gets the answer under.
    pub(super) id: u64,
    pub(super) revision: RevisionSummary,
}

/// What to do when a write has ended.
#[derive(Clone, Debug)]
pub(super) enum AfterWrite {
    /// Answer the `stage_configuration_request` of this id.
    AnswerStaging {
        reqid: ZeekString,
        id: ZeekString,
    },
    /// Hand the configuration of the deployment out.
    HandOut,
    /// Tell the operator of this id that the cluster is removed.
    AnswerRemoval {
        id: u64,
    },
    /// Go on with the roll-out.
    Roll,
    Nothing,
}
