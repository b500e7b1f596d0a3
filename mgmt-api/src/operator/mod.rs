//! What operators ask of an agent, on its control socket or through a controller by the [extension](crate::link), and of a controller; and
//! what they hear: JSON, in which states and roles are plain words (`RUNNING`, `worker`).
//!
//! A reader of an answer ignores fields that it does not know, and takes one that is missing as not known: so each version works with the
//! others. A request with a field that is not known is refused: it may restrict what is meant.

mod agent;
mod cluster;
mod configuration;
mod deployment;
pub mod diff;
pub mod enrolment;
mod event;
mod history;
mod plain;
pub mod plan;
mod request;
mod revision;
mod rollout;
mod token;
mod verdict;
mod vitals;

pub use agent::{Adopted, AgentStatus, Heartbeat, HttpAddress, NodeReport, OperatorRequest, Outputs};
pub use cluster::{
    ClusterRequest, ClusterStatus, ClusterSummary, Clusters, InstanceReport, NodeValue, Values,
};
pub use configuration::{ConfigurationFile, Expected, InstanceEntry, NodeEntry, Staged, Station, entity_tag};
pub use deployment::{
    Deployment, DeploymentState, DeploymentSummary, Deployments, InstanceProgress, NewDeployment,
    NodeProgress, Progress,
};
pub use event::{Event, EventKind, RESET};
pub use history::{Moment, NodeHistory};
pub use request::{
    About, Changed, Failure, HISTORY, NodeName, NotDone, NotDoneKind, OUTPUTS, Program, Reloaded, START,
    STATUS, STOP, Selection, text, written,
};
pub use revision::{NOTE_BYTES_MAX, Revision, RevisionSummary, Revisions, check_note};
pub use rollout::{
    OnFailure, OnLost, RolledNode, RolledState, Rollout, RolloutOptions, RolloutOrder, RolloutStage,
    RolloutState, WATCH_MAX,
};
pub use token::{MadeToken, NewToken, Token, Tokens, Whoami};
pub use verdict::{Verdict, counted, first_of, warnings_of_controller};
pub use vitals::{ClusterVitals, NodeVitals, Vitals};
