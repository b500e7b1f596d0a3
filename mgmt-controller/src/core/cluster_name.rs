use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// How long the name of a cluster may be, in bytes.
pub const CLUSTER_NAME_BYTES_MAX: usize = 64;

/// The cluster that Zeek's API, its clients and its store see.
pub const DEFAULT: &str = "default";

/// The name of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterName(Arc<str>);

/// A text cannot be the name of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a cluster has letters, digits, -, _ and ., begins with a letter or a digit, and has {CLUSTER_NAME_BYTES_MAX} bytes at most"
)]
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
        let is_meant = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if begins && text.len() <= CLUSTER_NAME_BYTES_MAX && text.chars().all(is_meant) {
            return Ok(Self(text.into()));
        }
        Err(NotAName)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path_and_not_long() {
        let longest = "n".repeat(CLUSTER_NAME_BYTES_MAX);
        for name in ["default", "sensor-12.example_net", "7", &longest] {
            assert!(ClusterName::try_from(name).is_ok(), "{name}");
        }
        let too_long = "n".repeat(CLUSTER_NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", ".a", "-a", "a/b", "a b", "é", "a\n", &too_long] {
            assert!(ClusterName::try_from(name).is_err(), "{name}");
        }
    }
}
