//! By which names a server is known, and which web pages are its own.

use std::net::IpAddr;

/// The names that browsers may know a server by.
#[derive(Debug)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// The names that are configured or in the certificate, and the machine's own.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let own = rustix::system::uname();
        let own = own.nodename().to_string_lossy().into_owned();
        Self(names.into_iter().chain([own, "localhost".into()]).collect())
    }

    /// Whether the server may be called so, by what a `Host` field says, with a port or without. An address always may: only a name can be made to
    /// stand for another address.
    pub fn has(&self, host: &str) -> bool {
        let name = name_of(host);
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        bare.unwrap_or(name).parse::<IpAddr>().is_ok() || self.0.iter().any(|known| matches(known, name))
    }
}

/// Whether a page, by what an `Origin` field says, is of the host and port that a `Host` field names.
pub fn is_page_of(origin: &str, host: &str) -> bool {
    let Some((scheme, page)) = origin.split_once("://") else {
        return false;
    };
    let port = if scheme.eq_ignore_ascii_case("https") {
        "443"
    } else {
        "80"
    };
    let ((name, number), (page, page_number)) = (split(host, port), split(page, port));
    page.eq_ignore_ascii_case(name) && page_number == number
}

/// The host of a `Host` field, without its port.
pub(crate) fn name_of(host: &str) -> &str {
    split(host, "").0
}

/// A host and its port; IPv6 addresses stand in brackets.
fn split<'a>(authority: &'a str, port: &'a str) -> (&'a str, &'a str) {
    match authority.rsplit_once(':') {
        Some((host, number)) if !number.ends_with(']') => (host, number),
        _ => (authority, port),
    }
}

/// Certificates may have a wildcard for the first label.
fn matches(known: &str, name: &str) -> bool {
    match (known.strip_prefix("*."), name.split_once('.')) {
        (Some(known), Some((_, name))) => known.eq_ignore_ascii_case(name),
        _ => known.eq_ignore_ascii_case(name),
    }
}
