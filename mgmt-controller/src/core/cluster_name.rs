use std::{borrow::Borrow, fmt, sync::Arc};

use mgmt_api::plain_name::{PLAIN_NAME, is_plain_name};
use serde::{Deserialize, Serialize};

/// The cluster that Zeek's API, its clients and its store see.
pub const DEFAULT: &str = "default";

/// The name of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(Arc<str>);

/// A text cannot be the name of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name of a cluster {PLAIN_NAME}")]
pub struct NotAName;

impl ClusterName {
    /// The cluster that Zeek's API, its clients and its store see.
    pub fn default_cluster() -> Self {
        Self(DEFAULT.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_default(&self) -> bool {
        &*self.0 == DEFAULT
    }

    /// A line about the cluster. `default`, which most controllers have alone, is not named.
    pub fn line(&self, message: &str) -> String {
        if self.is_default() {
            message.to_owned()
        } else {
            format!("cluster {self}: {message}")
        }
    }

    /// The name, unless it is that of `default`.
    pub fn besides_default(&self) -> Option<Self> {
        (!self.is_default()).then(|| self.clone())
    }
}

impl TryFrom<&str> for ClusterName {
    type Error = NotAName;

    fn try_from(text: &str) -> Result<Self, NotAName> {
        let is_name = is_plain_name(text);
        is_name.then(|| Self(text.into())).ok_or(NotAName)
    }
}

impl TryFrom<String> for ClusterName {
    type Error = NotAName;

    fn try_from(text: String) -> Result<Self, NotAName> {
        text.as_str().try_into()
    }
}

impl From<ClusterName> for String {
    fn from(name: ClusterName) -> Self {
        (*name.0).into()
    }
}

impl Borrow<str> for ClusterName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
