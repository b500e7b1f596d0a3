//! HTTP over TCP: where, and by which certificate.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use broker_endpoint::tls::{Identity, Revoked, TlsConfig, Trust};

use super::{
    resolver::Resolver,
    value::{Notation, Value},
};

/// How HTTP is served over TCP.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where to listen, if anywhere.
    pub listen: Option<SocketAddr>,
    /// How connections are protected; off on loopback addresses only.
    pub tls: TlsConfig,
    /// The names by which the daemon may be asked, besides those that are known anyhow.
    pub hosts: Vec<String>,
    /// The file of tokens, absolute.
    pub tokens: PathBuf,
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
    pub(super) fn http(&mut self, working_dir: &Path, revoked: &Revoked) -> HttpConfig {
        let Place(listen) = self.take("http_listen");
        let tokens = self.file("tokens");
        let tls = self.http_tls().with_revoked(revoked);
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
