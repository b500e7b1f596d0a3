//! Roles, and where they count.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};

/// What one may do. Each role may what the one before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Display, EnumString)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Look at everything.
    Read,
    /// Stage and deploy configurations; start, stop and restart nodes.
    Deploy,
    /// Delete clusters; in all clusters, also reload the daemon and give tokens away.
    Admin,
}

/// A role, and where it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    pub role: Role,
    /// The cluster; none for all of them, and for the daemon itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// All roles that one has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grant(pub Vec<Granted>);

impl Grant {
    /// A role in these clusters, or in all.
    pub fn of(role: Role, clusters: Option<&[String]>) -> Self {
        Self(match clusters {
            None => vec![Granted { role, cluster: None }],
            Some(clusters) => {
                let granted = clusters.iter().map(|cluster| Granted {
                    role,
                    cluster: Some(cluster.clone()),
                });
                granted.collect()
            }
        })
    }

    /// Whether it has this role, or one that may more, in a cluster; without one, in all of them.
    pub fn has(&self, role: Role, cluster: Option<&str>) -> bool {
        self.0.iter().any(|granted| {
            let counts = granted.cluster.is_none() || granted.cluster.as_deref() == cluster;
            counts && granted.role >= role
        })
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cluster {
            None => write!(f, "{} in all clusters", self.role),
            Some(cluster) => write!(f, "{} in cluster {cluster}", self.role),
        }
    }
}

/// For people: `read in all clusters, deploy in cluster lab`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no role");
        }
        for (place, granted) in self.0.iter().enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(f, "{separator}{granted}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_may_what_those_below_it_may_where_it_counts() {
        let everywhere = Grant::of(Role::Deploy, None);
        let in_lab = Grant::of(Role::Deploy, Some(&["lab".to_owned()]));
        for (grant, role, cluster, expected) in [
            (&everywhere, Role::Read, None, true),
            (&everywhere, Role::Deploy, Some("lab"), true),
            (&everywhere, Role::Admin, Some("lab"), false),
            (&in_lab, Role::Read, Some("lab"), true),
            (&in_lab, Role::Deploy, Some("lab"), true),
            (&in_lab, Role::Read, Some("la"), false),
            (&in_lab, Role::Read, Some("default"), false),
            (&in_lab, Role::Read, None, false),
            (&Grant::default(), Role::Read, Some("lab"), false),
            (&Grant::of(Role::Admin, Some(&[])), Role::Read, None, false),
        ] {
            assert_eq!(
                grant.has(role, cluster),
                expected,
                "{grant}: {role} in {cluster:?}"
            );
        }
        let mut both = everywhere.clone();
        both.0.extend(in_lab.0);
        assert_eq!(both.to_string(), "deploy in all clusters, deploy in cluster lab");
    }
}
