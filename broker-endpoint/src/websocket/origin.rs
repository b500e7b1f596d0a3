//! Which web pages may speak to the server: none but its own.

use tokio_tungstenite::tungstenite::handshake::server::Request;

use super::http::HandshakeError;
use crate::hosts::{Hosts, is_page_of, name_of};

/// How much of an Origin or a Host a message has, in characters.
const SHOWN_MAX: usize = 255;

/// A browser says from where the page is that connects, and an operator's browser opens any page. So the page must be of the host
/// and port that the request is for; and because a page can have its own name stand for our address (DNS rebinding), that must be an address or
/// a name of ours. zeek-client sends an origin that is equal to its host; other programs send none.
///
/// DIFFERENCE(web-pages): Zeek's server accepts connections of any web page.
pub(super) fn check(hosts: &Hosts, request: &Request) -> Result<(), HandshakeError> {
    let headers = request.headers();
    let Some(origin) = headers.get("Origin") else {
        return Ok(());
    };
    let host = headers.get("Host").and_then(|value| value.to_str().ok());
    let host = host.unwrap_or_default();
    let same = origin.to_str().is_ok_and(|origin| is_page_of(origin, host));
    if !same || headers.get_all("Host").iter().count() != 1 || headers.get_all("Origin").iter().count() != 1 {
        return Err(HandshakeError::Origin {
            origin: shown(&String::from_utf8_lossy(origin.as_bytes())),
            host: shown(host),
        });
    }
    if hosts.has(host) {
        Ok(())
    } else {
        Err(HandshakeError::Host {
            name: shown(name_of(host)),
        })
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

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::http;

    use super::*;

    #[test]
    fn only_pages_of_a_host_that_is_ours_may_connect() {
        let hosts = Hosts::new(["sensor-hub", "zeek.example.org", "*.lab.example.org"].map(Into::into));
        let verdict = |host: Option<&str>, origin: Option<&str>| {
            let mut request = http::Request::builder();
            for (name, value) in [("Host", host), ("Origin", origin)] {
                if let Some(value) = value {
                    request = request.header(name, value);
                }
            }
            match check(&hosts, &request.body(()).expect("a request")) {
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
