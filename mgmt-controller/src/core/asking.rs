//! What operators wait for.

use std::collections::BTreeMap;

use broker_codec::data::ZeekString;
use mgmt_api::{
    Configuration, NodeStatus, Now, Principal,
    operator::{ConfigurationFile, Failure, NotDone, plan::Nodes},
};

use super::fanout::Fanout;

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
    /// How nodes are that a roll-out changes.
    Step,
    /// What a deployment would do.
    Plan(Box<Planning>),
    /// That these nodes of instances stop or start; and what is known not to work.
    Change(BTreeMap<ZeekString, Vec<String>>, Vec<Failure>),
}

/// A plan that waits for what agents say.
#[derive(Debug)]
pub(super) struct Planning {
    /// As it was given: what is staged, if it is deployed.
    pub(super) given: ConfigurationFile,
    /// With what the controller fills in.
    pub(super) config: Configuration,
    /// What is known of instances without asking their agents, and of those that do not tell what would become of nodes.
    pub(super) heard: BTreeMap<ZeekString, Nodes>,
    /// Who wants a plan deployed, if it is still this one.
    pub(super) deploys: Option<Deploys>,
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

/// Who wants a plan deployed.
#[derive(Debug)]
pub(super) struct Deploys {
    pub(super) principal: Principal,
    /// The plan's id.
    pub(super) plan: String,
    /// What is said of it.
    pub(super) note: Option<String>,
}
