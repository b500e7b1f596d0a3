//! HTTP over TCP: where, by which certificate, and who may what.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use broker_endpoint::tls::{Identity, TlsConfig, Trust};
use mgmt_api::access::{Granted, Role};

use super::{
    resolver::Resolver,
    value::{Notation, Value, ValueError},
};

/// How HTTP is served over TCP, and who may what there.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where to listen, if anywhere.
    pub listen: Option<SocketAddr>,
    /// How connections are protected; off on loopback addresses only.
    pub tls: TlsConfig,
    /// The names by which the daemon may be asked, besides those that are known anyhow.
    pub hosts: Vec<String>,
    /// What clients may by their certificates.
    pub roles: Vec<CertificateRole>,
    /// The file of tokens, absolute.
    pub tokens: PathBuf,
}

/// A pattern of names in certificates, and what those may whom it fits: `PATTERN ROLE [CLUSTER]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRole {
    pattern: String,
    pub granted: Granted,
}

impl CertificateRole {
    /// Whether the pattern fits a name. `*` stands for any text, also none.
    pub fn fits(&self, name: &str) -> bool {
        let mut parts = self.pattern.split('*');
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

impl FromStr for CertificateRole {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let read = match words[..] {
            [pattern, role] => Some((pattern, role, None)),
            [pattern, role, cluster] => Some((pattern, role, Some(cluster.to_owned()))),
            _ => None,
        };
        let read = read.and_then(|(pattern, role, cluster)| Some((pattern, role.parse().ok()?, cluster)));
        let (pattern, role, cluster): (_, Role, _) = read.ok_or_else(|| ValueError {
            text: text.to_owned(),
            expected: "PATTERN ROLE or PATTERN ROLE CLUSTER, as in \"*.noc.example.org read\" or \"alice deploy lab\"; the roles are read, deploy and admin",
        })?;
        Ok(Self {
            pattern: pattern.to_owned(),
            granted: Granted { role, cluster },
        })
    }
}

/// Where to serve HTTP, if anywhere.
struct Place(Option<SocketAddr>);

impl Value for Place {
    const EXPECTED: &'static str = "off, or an IP address with a port, as in 127.0.0.1:2148 or [::1]:2148";

    fn read(text: &str, notation: Notation) -> Option<Self> {
        match &*String::read(text, notation)? {
            "off" => Some(Self(None)),
            address => address.parse().ok().map(|address| Self(Some(address))),
        }
    }

    fn show(&self) -> String {
        self.0
            .map_or_else(|| "off".to_owned(), |address| address.to_string())
            .show()
    }
}

impl Resolver<'_> {
    /// HTTP over TCP, of a daemon that works in this directory.
    pub(super) fn http(&mut self, working_dir: &Path) -> HttpConfig {
        let Place(listen) = self.take("http_listen");
        let tokens = self.file("tokens");
        let tls = self.http_tls();
        if let Some(address) = listen
            && matches!(tls, TlsConfig::Off)
            && !address.ip().is_loopback()
        {
            let reason = format!(
                "{address} can be reached from other hosts, and without TLS tokens and configurations could be read on the way: give http_certificate \
                 and http_key, or a loopback address, as in 127.0.0.1:{}",
                address.port()
            );
            self.refuse("http_listen", reason);
        }
        HttpConfig {
            listen,
            hosts: self.host_names("http_host"),
            roles: self.certificate_roles(&tls),
            tokens: tokens.unwrap_or_else(|| working_dir.join("tokens.json")),
            tls,
        }
    }

    fn http_tls(&mut self) -> TlsConfig {
        let [certificate, key, ca_file] =
            ["http_certificate", "http_key", "http_client_ca"].map(|key| self.file(key));
        let (certificate, key) = match (certificate, key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) => {
                if ca_file.is_some() {
                    let reason = "it needs http_certificate and http_key: without TLS no client can show a certificate";
                    self.refuse("http_client_ca", reason);
                }
                return TlsConfig::Off;
            }
            (Some(_), None) => {
                self.refuse("http_certificate", "it needs http_key");
                return TlsConfig::Off;
            }
            (None, Some(_)) => {
                self.refuse("http_key", "it needs http_certificate");
                return TlsConfig::Off;
            }
        };
        let identity = Identity {
            certificate,
            key,
            passphrase: None,
        };
        match ca_file {
            None => TlsConfig::ServerCertificate(identity),
            ca_file => TlsConfig::ClientsMayShow {
                identity,
                trust: Trust {
                    ca_file,
                    ..Trust::default()
                },
            },
        }
    }

    fn certificate_roles(&mut self, tls: &TlsConfig) -> Vec<CertificateRole> {
        let given = self.given_list("http_roles").iter();
        let given: Vec<String> = given.filter(|text| !text.trim().is_empty()).cloned().collect();
        self.show("http_roles", &given.join(", "));
        let mut roles = Vec::new();
        for text in &given {
            match text.parse::<CertificateRole>() {
                Ok(role) if role.granted.cluster.is_some() && self.schema.daemon == "agent" => {
                    let reason = format!("{text:?} names a cluster, and an agent has none");
                    self.refuse("http_roles", reason);
                }
                Ok(role) => roles.push(role),
                Err(problem) => self.wrong("http_roles", problem),
            }
        }
        if !roles.is_empty() && !matches!(tls, TlsConfig::ClientsMayShow { .. }) {
            self.suspect(
                "http_roles has no effect without http_client_ca, the CA of clients' certificates".to_owned(),
            );
        }
        roles
    }

    /// Names of hosts: comma-separated, or several times.
    pub fn host_names(&mut self, key: &str) -> Vec<String> {
        let given = self.given_list(key).join(",");
        let hosts = given.split(',').map(str::trim);
        let hosts: Vec<String> = hosts.filter(|host| !host.is_empty()).map(Into::into).collect();
        self.show(key, &hosts.join(","));
        // As in certificates, a wildcard may stand for the first label.
        let is_name = |host: &String| {
            host.strip_prefix("*.")
                .unwrap_or(host)
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        if let Some(wrong) = hosts.iter().find(|host| !is_name(host)) {
            let reason = format!(
                "{wrong:?} is not the name of a host, as in zeek.example.org or *.example.org; addresses are known anyhow"
            );
            self.refuse(key, reason);
        }
        hosts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let role: CertificateRole = format!("{pattern} read").parse().unwrap();
            assert_eq!(role.fits(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_no_role_of_certificates_is_refused() {
        let role: CertificateRole = "alice  deploy lab".parse().unwrap();
        assert_eq!(role.granted.to_string(), "deploy in cluster lab");
        for wrong in ["", "alice", "alice cook", "alice Read", "alice read lab more"] {
            assert!(wrong.parse::<CertificateRole>().is_err(), "{wrong}");
        }
    }
}
