//! What operators wait for.

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::{
    NodeStatus, Now,
    operator::{Failure, NotDone},
};

use super::{fanout::Fanout, planning::Planning};

/// A request that agents are asked for by the extension.
#[derive(Debug)]
pub(super) struct Asking {
    /// What the operator gets the answer under who wants to know; none if that is the controller.
    pub(super) id: Option<u64>,
    pub(super) wanted: Wanted,
    pub(super) fanout: Fanout<(ZeekString, Told)>,
}

/// What the operator wants.
#[derive(Debug)]
pub(super) enum Wanted {
    /// What they told then is compared with what the clock said.
    Status {
        since: Now,
    },
    Outputs,
    /// What has become of a node.
    History {
        instance: ZeekString,
        node: ZeekString,
        /// Whether its agent remembers that.
        is_remembered: bool,
    },
    /// The states of nodes, for [`Heard`](super::heard::Heard).
    States,
    /// What a deployment would do.
    Plan(Box<Planning>),
    /// That these nodes of instances stop or start; and what is known not to work.
    Change(BTreeMap<ZeekString, Vec<String>>, Vec<Failure>),
}

/// What an instance's agent answers.
pub(super) type Told = Result<Answered, NotDone>;

#[derive(Debug)]
pub(super) enum Answered {
    /// JSON, by the extension.
    Json { json: ZeekString, at: Now },
    /// All that an agent of Zeek's can tell.
    Nodes(Vec<NodeStatus>),
}
