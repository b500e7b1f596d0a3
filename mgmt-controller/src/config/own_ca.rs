//! The setting `own_ca`: what else it sets, and what the certificates of that CA are like.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use broker_endpoint::PeerAddress;
use mgmt_api::operator::enrolment::CONTROLLER_PREFIX;
use mgmt_daemon::config::{DaemonConfig, Home, Listener, Origin, Resolver, RoleLine};

use crate::authority::{self, CA_FILE, CERTIFICATE_FILE, KEY_FILE, OwnCa};

const OWN_CA: &str = "own_ca";

/// The longest common name of a certificate, in bytes.
const COMMON_NAME_MAX: usize = 64;

/// The longest lifetime of certificates: longer than the CA's.
const LIFETIME_MAX: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);

/// Sets what is not given otherwise, if there is to be such a CA. Returns where.
pub(super) fn fill(resolver: &mut Resolver<'_>, home: &Home) -> Option<PathBuf> {
    let is_on: bool = resolver.take(OWN_CA);
    if !is_on {
        return None;
    }
    let dir = authority::directory(&home.working_dir);
    let files = [CERTIFICATE_FILE, KEY_FILE, CA_FILE].map(|name| dir.join(name));
    let origin = Origin::Setting(OWN_CA);
    resolver.fill_broker_tls(files.clone(), &origin);
    let http = ["http_certificate", "http_key", "http_client_ca"];
    for (key, file) in http.into_iter().zip(files) {
        if resolver.given_text(key).is_some() {
            let reason = format!(
                "agents enrol over HTTP, and know the controller there by a certificate of its own CA: leave {key} out, or {OWN_CA}"
            );
            resolver.refuse(key, reason);
        }
        resolver.fill(key, file.display().to_string(), origin.clone());
    }
    resolver.fill("roles", "* agent", origin);
    Some(dir)
}

/// What its certificates are like.
pub(super) fn read(
    resolver: &mut Resolver<'_>,
    dir: Option<PathBuf>,
    daemon: &DaemonConfig,
    broker: &Listener,
    websocket: Option<SocketAddr>,
) -> Option<OwnCa> {
    let lifetime: Duration = resolver.take("certificate_lifetime");
    if !(Duration::from_secs(1)..=LIFETIME_MAX).contains(&lifetime) {
        resolver.refuse(
            "certificate_lifetime",
            "a certificate can be valid for a second to 20 years",
        );
    }
    let dir = dir?;
    if !daemon.roles.iter().any(RoleLine::is_for_agents) {
        let warning =
            "roles has no line that lets agents of own_ca be agents: they are refused; add \"* agent\"";
        resolver.suspect(warning.to_owned());
    }
    let Some(http) = daemon.http.listen else {
        let reason = "agents enrol over HTTP: give http_listen, as in 0.0.0.0:2148";
        resolver.refuse(OWN_CA, reason);
        return None;
    };
    let common_name = format!("{CONTROLLER_PREFIX}{}", daemon.name);
    if common_name.len() > COMMON_NAME_MAX {
        let reason = format!(
            "a certificate for a controller has {} bytes of its name, and {} has {}: choose a shorter name",
            COMMON_NAME_MAX - CONTROLLER_PREFIX.len(),
            daemon.name,
            daemon.name.len()
        );
        resolver.refuse(OWN_CA, reason);
    }
    let own = rustix::system::uname();
    let own = own.nodename().to_string_lossy().into_owned();
    let at_broker = match broker {
        Listener::At(PeerAddress { host, .. }) => host.parse().ok(),
        Listener::Off => None,
    };
    let listening = [Some(http.ip()), websocket.map(|address| address.ip()), at_broker];
    let hosts = &daemon.http.hosts;
    Some(OwnCa {
        dir,
        common_name,
        names: names(&own, hosts, listening.into_iter().flatten()),
        host: host(own, hosts, http.ip()),
        lifetime,
    })
}

/// By what the controller can be asked: these names, and the addresses at which it listens, but those that stand for all.
fn names(own: &str, hosts: &[String], listening: impl Iterator<Item = IpAddr>) -> Vec<String> {
    let listening = listening.filter(|address| !address.is_unspecified());
    let always = [own, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let all = always
        .into_iter()
        .chain(hosts.iter().cloned())
        .chain(listening.map(|address| address.to_string()));
    let mut names = Vec::new();
    for name in all {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// How agents know the controller's host: by a name that is configured, else the address of its HTTP port, else its own name.
fn host(own: String, hosts: &[String], http: IpAddr) -> String {
    if let Some(given) = hosts.iter().find(|host| !host.contains('*')) {
        return given.clone();
    }
    match http {
        address if address.is_unspecified() => own,
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
