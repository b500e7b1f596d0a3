//! Who may what by its certificate: the setting `roles`.

use std::str::FromStr;

use broker_endpoint::tls::PeerCertificate;
use mgmt_api::{
    access::{Grant, Granted, Pattern, Role},
    plain_name::{PLAIN_NAME, is_plain_name},
};

use super::{resolver::Resolver, value::ValueError};

/// Stands in a line for who has shown no certificate. It fits no certificate, whatever the names in that.
pub const WITHOUT_CERTIFICATE: &str = "without-certificate";

/// The role of agents, which may be an instance's agent and nothing else.
const AGENT: &str = "agent";

/// Who, and what it may: `PATTERN ROLE [CLUSTER]`, or `PATTERN agent [INSTANCE]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleLine {
    who: Who,
    may: May,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    /// Who has shown a certificate with such a name.
    Named(Pattern),
    WithoutCertificate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum May {
    Have(Granted),
    /// Be the agent of such an instance; of the one that it is named for, if none is given.
    BeAgent(Option<Pattern>),
}

impl RoleLine {
    /// What all lines together give to who has shown this certificate, or none.
    pub fn grant(lines: &[Self], certificate: Option<&PeerCertificate>) -> Grant {
        let mut grant = Grant::default();
        for line in lines {
            let names: Vec<&str> = match (&line.who, certificate) {
                (Who::WithoutCertificate, None) => Vec::new(),
                (Who::Named(pattern), Some(certificate)) => {
                    let names = certificate.names.iter().filter_map(|name| name.as_str());
                    let fitting: Vec<&str> = names.filter(|name| pattern.fits(name)).collect();
                    if fitting.is_empty() {
                        continue;
                    }
                    fitting
                }
                _ => continue,
            };
            match &line.may {
                May::Have(granted) => grant.roles.push(granted.clone()),
                May::BeAgent(Some(instance)) => grant.agent_of.push(instance.clone()),
                // A name with a wildcard is no instance's.
                May::BeAgent(None) => {
                    let names = names.into_iter().filter(|name| !name.contains('*'));
                    grant.agent_of.extend(names.map(Pattern::new));
                }
            }
        }
        grant
    }

    /// Whether it lets some certificate be an agent's.
    pub fn is_for_agents(&self) -> bool {
        matches!((&self.who, &self.may), (Who::Named(_), May::BeAgent(_)))
    }

    /// Where it counts, if that cannot be the name of a cluster.
    fn nowhere(&self) -> Option<&str> {
        match &self.may {
            May::Have(Granted { cluster, .. }) => cluster.as_deref().filter(|name| !is_plain_name(name)),
            May::BeAgent(_) => None,
        }
    }

    /// Why an agent has no use for it, if it has none.
    fn wrong_at_agent(&self) -> Option<&'static str> {
        match &self.may {
            May::Have(Granted { cluster: Some(_), .. }) => Some("names a cluster, and an agent has none"),
            May::BeAgent(_) => Some("is for a controller: an agent has no agents"),
            May::Have(_) => None,
        }
    }
}

impl FromStr for RoleLine {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError {
            text: text.to_owned(),
            expected: "PATTERN ROLE, PATTERN ROLE CLUSTER or PATTERN agent INSTANCE, as in \"*.noc.example.org read\", \"alice deploy lab\" or \"* agent\"; the \
                       roles are read, deploy, admin and agent. without-certificate in place of PATTERN takes an INSTANCE with agent, which may be *",
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (who, role, place) = match words[..] {
            [who, role] => (who, role, None),
            [who, role, place] => (who, role, Some(place)),
            _ => return Err(wrong()),
        };
        let may = if role == AGENT {
            May::BeAgent(place.map(Pattern::new))
        } else {
            let role: Role = role.parse().map_err(|_| wrong())?;
            let cluster = place.map(str::to_owned);
            May::Have(Granted { role, cluster })
        };
        let who = match who {
            WITHOUT_CERTIFICATE if may == May::BeAgent(None) => return Err(wrong()),
            WITHOUT_CERTIFICATE => Who::WithoutCertificate,
            pattern => Who::Named(Pattern::new(pattern)),
        };
        Ok(Self { who, may })
    }
}

impl Resolver<'_> {
    /// Who may what by its certificate, on every port.
    pub(super) fn roles(&mut self) -> Vec<RoleLine> {
        let given = self.given_list("roles").iter();
        let given: Vec<String> = given.filter(|text| !text.trim().is_empty()).cloned().collect();
        self.show("roles", &given.join(", "));
        let mut lines = Vec::new();
        for text in &given {
            match text.parse::<RoleLine>() {
                Ok(line) => match line.wrong_at_agent() {
                    Some(reason) if self.schema.daemon == "agent" => {
                        self.refuse("roles", format!("{text:?} {reason}"));
                    }
                    _ => {
                        if let Some(cluster) = line.nowhere() {
                            self.suspect(format!(
                                "roles: {text:?} counts nowhere: {cluster:?} is not the name of a cluster, which {PLAIN_NAME}"
                            ));
                        }
                        lines.push(line);
                    }
                },
                Err(problem) => self.wrong("roles", problem),
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use broker_endpoint::tls::Fingerprint;

    use super::*;

    fn granted(lines: &[&str], names: Option<&[&str]>) -> String {
        let lines: Vec<RoleLine> = lines.iter().map(|line| line.parse().unwrap()).collect();
        let certificate = names.map(|names| PeerCertificate {
            subject: "CN=any".into(),
            fingerprint: Fingerprint([0; 32]),
            names: names.iter().map(|&name| name.into()).collect(),
        });
        RoleLine::grant(&lines, certificate.as_ref()).to_string()
    }

    #[test]
    fn a_certificate_has_what_all_lines_give_that_fit_one_of_its_names() {
        let lines = ["*.noc.example read", "alice  deploy lab", "bob admin"];
        let of = |names: &[&str]| granted(&lines, Some(names));
        assert_eq!(
            of(&["alice", "a.noc.example"]),
            "read in all clusters, deploy in cluster lab"
        );
        assert_eq!(of(&["bob"]), "admin in all clusters");
        assert_eq!(of(&["mallory", "noc.example"]), "no role");
        assert_eq!(of(&[]), "no role");
        assert_eq!(granted(&lines, None), "no role");
    }

    #[test]
    fn an_agent_is_named_by_its_certificate_or_by_the_line() {
        let agent = |lines: &[&str], names: &[&str]| granted(lines, Some(names));
        let [one, lab] = ["agent of instance sensor1", "agent of instance lab-*"];
        assert_eq!(agent(&["* agent"], &["sensor1"]), one);
        assert_eq!(agent(&["sensor* agent"], &["CA", "sensor1"]), one);
        assert_eq!(
            agent(&["sensor1.example agent sensor1"], &["sensor1.example"]),
            one
        );
        assert_eq!(agent(&["*.lab.example agent lab-*"], &["a.lab.example"]), lab);
        // A certificate for many hosts is not the agent of all.
        assert_eq!(agent(&["* agent"], &["*"]), "no role");
        assert_eq!(agent(&["sensor* agent"], &["hub"]), "no role");
    }

    #[test]
    fn one_without_a_certificate_has_what_is_given_to_it_and_no_certificate_has_that() {
        let lines = ["without-certificate read", "without-certificate agent *"];
        let expected = "read in all clusters, agent of instance *";
        assert_eq!(granted(&lines, None), expected);
        assert_eq!(granted(&lines, Some(&["without-certificate", "*"])), "no role");
        assert_eq!(granted(&["* read"], None), "no role");
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for wrong in [
            "",
            "alice",
            "alice cook",
            "alice Read",
            "alice read lab more",
            "without-certificate agent",
        ] {
            assert!(wrong.parse::<RoleLine>().is_err(), "{wrong}");
        }
    }
}
