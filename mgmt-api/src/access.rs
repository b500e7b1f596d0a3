//! Roles, and where they count.

use std::fmt;

use broker_codec::data::{Excerpt, ZeekString};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString};
use utoipa::ToSchema;

/// What one may do. Each role may what the one before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Display, EnumString, ToSchema,
)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Granted {
    pub role: Role,
    /// The cluster; none for all of them, and for the daemon itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// Names, in which `*` stands for any text, also none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Pattern(String);

/// All that one may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// All roles that it has.
    pub roles: Vec<Granted>,
    /// The instances whose agent it may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agent_of: Vec<Pattern>,
}

impl Pattern {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it is of this name, as a whole.
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let Some(last) = parts.next_back() else {
            return rest.is_empty();
        };
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else {
                return false;
            };
            rest = after;
        }
        rest.ends_with(last)
    }
}

impl Grant {
    /// A role in these clusters, or in all.
    pub fn of(role: Role, clusters: Option<&[String]>) -> Self {
        let roles = match clusters {
            None => vec![Granted { role, cluster: None }],
            Some(clusters) => {
                let granted = clusters.iter().map(|cluster| Granted {
                    role,
                    cluster: Some(cluster.clone()),
                });
                granted.collect()
            }
        };
        Self {
            roles,
            agent_of: Vec::new(),
        }
    }

    /// Whether it has this role, or one that may more, in a cluster; without one, in all of them.
    pub fn has(&self, role: Role, cluster: Option<&str>) -> bool {
        self.roles.iter().any(|granted| {
            let counts = granted.cluster.is_none() || granted.cluster.as_deref() == cluster;
            counts && granted.role >= role
        })
    }

    /// Whether it may be the agent of this instance.
    pub fn is_agent_of(&self, instance: &ZeekString) -> bool {
        let name = instance.as_str();
        name.is_some_and(|name| self.agent_of.iter().any(|pattern| pattern.fits(name)))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Excerpt::new(self.0.as_bytes()).fmt(f)
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

/// For people: `read in all clusters, deploy in cluster lab, agent of instance sensor1`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = self.roles.iter().map(ToString::to_string);
        let agents = self
            .agent_of
            .iter()
            .map(|instance| format!("agent of instance {instance}"));
        let all: Vec<String> = roles.chain(agents).collect();
        if all.is_empty() {
            return f.write_str("no role");
        }
        f.write_str(&all.join(", "))
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
        both.roles.extend(in_lab.roles);
        assert_eq!(both.to_string(), "deploy in all clusters, deploy in cluster lab");
    }

    #[test]
    fn an_agent_has_no_role_and_may_be_the_instances_that_it_is_named_for() {
        let grant = Grant {
            roles: Vec::new(),
            agent_of: vec![Pattern::new("sensor1"), Pattern::new("lab-*")],
        };
        assert!(!grant.has(Role::Read, None) && !grant.has(Role::Read, Some("default")));
        let may = |name: &str| grant.is_agent_of(&name.into());
        assert!(may("sensor1") && may("lab-") && may("lab-2"));
        assert!(!may("sensor") && !may("sensor10") && !may("") && !may("xlab-1"));
        assert!(!grant.is_agent_of(&b"lab-\xff"[..].into()), "no text, no name");
        assert_eq!(
            grant.to_string(),
            "agent of instance sensor1, agent of instance lab-*"
        );
    }

    #[test]
    fn a_pattern_fits_names_as_a_whole() {
        for (pattern, name, expected) in [
            ("alice", "alice", true),
            ("alice", "alice.example", false),
            ("alice", "malice", false),
            ("*", "", true),
            ("*", "anything", true),
            ("*.noc.example", "a.noc.example", true),
            ("*.noc.example", "noc.example", false),
            ("*.noc.example", "a.noc.example.evil", false),
            ("ops-*", "ops-", true),
            ("ops-*", "xops-1", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            // The parts of a pattern do not overlap.
            ("ab*ba", "aba", false),
            ("a**b", "ab", true),
        ] {
            assert_eq!(Pattern::new(pattern).fits(name), expected, "{pattern} {name}");
        }
    }
}
