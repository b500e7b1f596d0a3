use strum::{EnumIter, EnumMessage, IntoStaticStr};

/// What the agent measures besides what every daemon does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, EnumMessage, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Measured {
    /// Time since a node's latest heartbeat, under our own supervision.
    NodeHeartbeatAgeSeconds,
    /// Packets that the node's present process has received, by its latest heartbeat.
    NodePacketsReceivedTotal,
    /// Packets that the system has dropped for it, by its latest heartbeat.
    NodePacketsDroppedTotal,
}
