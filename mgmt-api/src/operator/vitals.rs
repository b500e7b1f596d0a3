//! What a daemon's core knows of itself and its part of the world, without asking anything: for monitoring.

use serde::{Deserialize, Serialize};

/// How a daemon is, as its core sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vitals {
    /// What keeps the daemon from being ready: each says what happened, to which instance or node, and why.
    pub failing: Vec<String>,
}
