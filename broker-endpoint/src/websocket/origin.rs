//! Which web pages may speak to the server: none but its own.

use std::net::IpAddr;

use tokio_tungstenite::tungstenite::handshake::server::Request;

use super::http::HandshakeError;

/// How much of an Origin or a Host a message has, in characters.
const SHOWN_MAX: usize = 255;

/// The names that browsers may know the server by.
#[derive(Debug)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// The names that are configured or in the certificate, and the machine's own.
    pub(super) fn new(names: impl IntoIterator<Item = String>) -> Self {
        let own = rustix::system::uname();
        let own = own.nodename().to_string_lossy().into_owned();
        Self(names.into_iter().chain([own, "localhost".into()]).collect())
    }

    /// A browser says from where the page is that connects, and an operator's browser opens any page. So the page must be of the host
    /// and port that the request is for; and because a page can have its own name stand for our address (DNS rebinding), that must be an address or
    /// a name of ours. zeek-client sends an origin that is equal to its host; other programs send none.
    ///
    /// DIFFERENCE(web-pages): Zeek's server accepts connections of any web page.
    pub(super) fn check(&self, request: &Request) -> Result<(), HandshakeError> {
        let headers = request.headers();
        let Some(origin) = headers.get("Origin") else {
            return Ok(());
        };
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text("Host").unwrap_or_default();
        let page = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        let port = match page {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => "443",
            _ => "80",
        };
        let (name, number) = split(host, port);
        let same = page.is_some_and(|(_, page)| {
            let (page, page_number) = split(page, port);
            page.eq_ignore_ascii_case(name) && page_number == number
        });
        if !same
            || headers.get_all("Host").iter().count() != 1
            || headers.get_all("Origin").iter().count() != 1
        {
            return Err(HandshakeError::Origin {
                origin: shown(&String::from_utf8_lossy(origin.as_bytes())),
                host: shown(host),
            });
        }
        if self.has(name) {
            Ok(())
        } else {
            Err(HandshakeError::Host { name: shown(name) })
        }
    }

    fn has(&self, name: &str) -> bool {
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        bare.unwrap_or(name).parse::<IpAddr>().is_ok() || self.0.iter().any(|known| matches(known, name))
    }
}

/// The beginning of what a client has sent, for a message: a name of a host is not longer.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).collect();
    if shown.len() < text.len() {
        shown.push('\u{2026}');
    }
    shown
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

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::http;

    use super::*;

    #[test]
    fn only_pages_of_a_host_that_is_ours_may_connect() {
        let hosts = Hosts(
            ["localhost", "sensor-hub", "zeek.example.org", "*.lab.example.org"]
                .map(Into::into)
                .into(),
        );
        let verdict = |host: Option<&str>, origin: Option<&str>| {
            let mut request = http::Request::builder();
            for (name, value) in [("Host", host), ("Origin", origin)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            match hosts.check(&request.body(()).expect("a request")) {
                Ok(()) => "ok",
                Err(HandshakeError::Origin { .. }) => "origin",
                Err(HandshakeError::Host { .. }) => "host",
                Err(other) => panic!("{other}"),
            }
        };
        for (host, origin, expected) in [
            // Programs that are no browsers.
            (Some("anything.example"), None, "ok"),
            (None, None, "ok"),
            // zeek-client 1.2 to 1.5.
            (Some("127.0.0.1:2149"), Some("http://127.0.0.1:2149"), "ok"),
            (Some("localhost:2149"), Some("https://localhost:2149"), "ok"),
            (Some("[::1]:2149"), Some("http://[::1]:2149"), "ok"),
            (Some("Sensor-Hub:2149"), Some("http://sensor-hub:2149"), "ok"),
            (Some("zeek.example.org"), Some("http://zeek.example.org:80"), "ok"),
            (
                Some("zeek.example.org:443"),
                Some("https://zeek.example.org"),
                "ok",
            ),
            (
                Some("a.lab.example.org:1"),
                Some("http://a.lab.example.org:1"),
                "ok",
            ),
            // Pages from elsewhere.
            (Some("127.0.0.1:2149"), Some("http://evil.example"), "origin"),
            (Some("127.0.0.1:2149"), Some("http://127.0.0.1:8080"), "origin"),
            (Some("127.0.0.1:2149"), Some("null"), "origin"),
            (Some("127.0.0.1:2149"), Some(""), "origin"),
            (None, Some("http://evil.example"), "origin"),
            // Their names stand for our address.
            (
                Some("evil.example:2149"),
                Some("http://evil.example:2149"),
                "host",
            ),
            (
                Some("a.b.lab.example.org:1"),
                Some("http://a.b.lab.example.org:1"),
                "host",
            ),
            (
                Some("localhost.evil.example"),
                Some("http://localhost.evil.example"),
                "host",
            ),
        ] {
            assert_eq!(verdict(host, origin), expected, "{host:?} {origin:?}");
        }
    }
}
