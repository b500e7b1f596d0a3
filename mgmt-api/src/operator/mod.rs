//! What operators ask of an agent, on its control socket or through a controller by the [extension](crate::link), and what they hear: JSON,
//! in which states and roles are plain words (`RUNNING`, `worker`).
//!
//! A reader ignores fields that it does not know, and takes one that is missing as not known: so each version works with the others.

mod agent;
mod cluster;
mod plain;

pub use agent::{
    About, AgentStatus, Changed, Heartbeat, NodeName, NodeReport, NotDone, NotDoneKind, OUTPUTS,
    OperatorRequest, Outputs, Program, START, STATUS, STOP, Selection, written,
};
pub use cluster::{
    ClusterChanged, ClusterRequest, ClusterSelection, ClusterStatus, Failure, InstanceReport, NodeNames,
};
