//! TLS to a daemon: its certificate is verified, and ours is shown if there is one.

use std::{path::Path, pin::Pin};

use openssl::{
    asn1::Asn1Time,
    error::ErrorStack,
    ssl::{self, SslConnector, SslFiletype, SslMethod, SslRef},
};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// How TLS is spoken.
pub(crate) type Connector = SslConnector;

/// Where distributions keep the CAs that a host trusts: an OpenSSL that a program brings along does not know.
const TRUSTED: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

const EXPIRED: &str = "the daemon refuses our certificate: it has expired";

/// `X509_V_*` of `openssl/x509_vfy.h`
mod verify_code {
    pub(super) const OK: i32 = 0;
    pub(super) const CERT_NOT_YET_VALID: i32 = 9;
    pub(super) const CERT_HAS_EXPIRED: i32 = 10;
    pub(super) const SELF_SIGNED: i32 = 18;
    pub(super) const NO_CHAIN: i32 = 21;
    pub(super) const HOSTNAME_MISMATCH: i32 = 62;
    pub(super) const IP_ADDRESS_MISMATCH: i32 = 64;
}

/// Which CA is trusted, the host's without one; and the files of our certificate and its key.
pub(crate) fn connector(ca: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<Connector, String> {
    let failed = |error: ErrorStack| format!("cannot set up TLS: {}", reasons(&error));
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(failed)?;
    let unusable = |what: &str, path: &Path, error: &ErrorStack| {
        format!("cannot use the {what} {}: {}", path.display(), reasons(error))
    };
    match ca {
        Some(ca) => {
            let used = builder.set_ca_file(ca);
            used.map_err(|error| unusable("CA", ca, &error))?;
        }
        None => {
            if let Some(trusted) = TRUSTED.iter().find(|path| Path::new(path).exists()) {
                builder.set_ca_file(trusted).map_err(failed)?;
            }
        }
    }
    if let Some((certificate, key)) = own {
        let used = builder.set_certificate_chain_file(certificate);
        used.map_err(|error| unusable("certificate", certificate, &error))?;
        let used = builder.set_private_key_file(key, SslFiletype::PEM);
        let used = used.and_then(|()| builder.check_private_key());
        used.map_err(|error| unusable("key", key, &error))?;
    }
    Ok(builder.build())
}

/// Speaks TLS with a daemon of this name, or address.
pub(crate) async fn connect(
    connector: &Connector,
    host: &str,
    stream: TcpStream,
) -> Result<Pin<Box<SslStream<TcpStream>>>, String> {
    let failed = |error: ErrorStack| format!("cannot set up TLS: {}", reasons(&error));
    let ssl = connector
        .configure()
        .and_then(|configured| configured.into_ssl(host))
        .map_err(failed)?;
    let mut stream = Box::pin(SslStream::new(ssl, stream).map_err(failed)?);
    match stream.as_mut().connect().await {
        Ok(()) => Ok(stream),
        Err(error) => Err(explain(&error, stream.ssl(), host)),
    }
}

fn explain(error: &ssl::Error, ssl: &SslRef, host: &str) -> String {
    let result = ssl.verify_result();
    match result.as_raw() {
        verify_code::OK => of_session(error, ssl.certificate().is_some()),
        verify_code::CERT_HAS_EXPIRED => {
            "the daemon's certificate, or its CA's, has expired: it has to be renewed; or this host's clock is wrong".to_owned()
        }
        verify_code::CERT_NOT_YET_VALID => {
            "the daemon's certificate is not valid yet: this host's clock may be wrong".to_owned()
        }
        verify_code::HOSTNAME_MISMATCH | verify_code::IP_ADDRESS_MISMATCH => {
            format!("the daemon's certificate is not for {host}: use a name or an address that it has, or give it one that has this")
        }
        verify_code::SELF_SIGNED..=verify_code::NO_CHAIN => {
            "the daemon's certificate is of no CA that is trusted here: name its CA by --ca".to_owned()
        }
        _ => format!("the daemon's certificate is refused: {}", result.error_string()),
    }
}

fn of_session(error: &ssl::Error, has_certificate: bool) -> String {
    let Some(stack) = error.ssl_error() else {
        return match error.io_error() {
            Some(error) => format!("the connection broke during the TLS handshake: {error}"),
            None => {
                "the other side ended the connection during the TLS handshake; does it speak TLS?".to_owned()
            }
        };
    };
    let reasons = reasons(stack);
    if let Some(refusal) = refusal(&reasons, has_certificate) {
        return refusal;
    }
    if ["wrong version number", "packet length too long", "http request"]
        .iter()
        .any(|words| reasons.contains(words))
    {
        return "no TLS is spoken there: if the daemon serves without, on a loopback address, use http://"
            .to_owned();
    }
    format!("TLS fails: {reasons}")
}

/// Why a connection broke before there was an answer, as far as that is about TLS. With TLS 1.3 a daemon looks at our certificate after our
/// handshake is done; the alert by which it refuses it is lost where our request comes too late to be read.
pub(crate) fn broken(connector: &Connector, text: &str) -> Option<String> {
    let certificate = connector.context().certificate();
    if let Some(refusal) = refusal(text, certificate.is_some()) {
        return Some(refusal);
    }
    let certificate = certificate?;
    let now = Asn1Time::days_from_now(0).ok()?;
    Some(if *certificate.not_after() < *now {
        EXPIRED.to_owned()
    } else {
        format!("{text}; perhaps the daemon refuses our certificate: then its log says so")
    })
}

/// What a daemon says by an alert: of our certificate, if it has been shown one.
fn refusal(text: &str, has_certificate: bool) -> Option<String> {
    let (_, alert) = text.split_once("alert ")?;
    Some(match alert {
        _ if !has_certificate && ["certificate", "handshake failure"].iter().any(|words| alert.contains(words)) => {
            format!(
                "the daemon ends TLS ({alert}): this may be its Broker port, so name that of its setting http_listen; or it asks for a certificate \
                 (--cert and --key); or there is no cipher suite in common"
            )
        }
        _ if alert.contains("certificate expired") => EXPIRED.to_owned(),
        _ if alert.contains("unknown ca") => {
            "the daemon refuses our certificate: its http_client_ca is not the CA that signed it".to_owned()
        }
        _ if alert.contains("certificate") => {
            format!("the daemon refuses our certificate: {alert}")
        }
        _ if alert.contains("handshake failure") => {
            "the daemon ends TLS: it refuses our certificate, as one that its deny list has, or there is no cipher suite in common"
                .to_owned()
        }
        _ => format!("the daemon ends TLS: {alert}"),
    })
}

fn reasons(error: &ErrorStack) -> String {
    let reasons = error.errors().iter().filter_map(openssl::error::Error::reason);
    let mut reasons: Vec<&str> = reasons.collect();
    reasons.dedup();
    if reasons.is_empty() {
        error.to_string()
    } else {
        reasons.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_about_our_certificate_only_if_there_is_one() {
        let told = |alert: &str, has| refusal(&format!("ssl/tls alert {alert}"), has).unwrap();
        for alert in ["handshake failure", "certificate required"] {
            let without = told(alert, false);
            assert!(
                without.contains("may be its Broker port") && !without.contains("our certificate"),
                "{without}"
            );
            assert!(told(alert, true).contains("our certificate"), "{alert}");
        }
        assert_eq!(
            told("internal error", false),
            "the daemon ends TLS: internal error"
        );
        assert!(refusal("wrong version number", false).is_none());
    }
}
