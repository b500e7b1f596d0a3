//! `Management::Controller::tls_options_websocket`, whose value is a record.

use std::path::PathBuf;

use broker_endpoint::{
    tls::{Identity, TlsConfig, Trust},
    websocket::WebSocketTls,
};
use mgmt_daemon::config::{Notation, Value, record};

/// `Cluster::WebSocketTLSOptions` (`base/frameworks/cluster/types.zeek`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WebSocketTlsOptions {
    cert_file: Option<String>,
    key_file: Option<String>,
    enable_peer_verification: bool,
    ca_file: String,
    ciphers: String,
}

impl WebSocketTlsOptions {
    /// What these options ask for; relative files become absolute.
    ///
    /// # Errors
    ///
    /// If they make no sense together, or ask for something that we do not do, in words for an operator.
    pub(super) fn resolve(&self, absolute: impl Fn(&str) -> PathBuf) -> Result<WebSocketTls, String> {
        let (certificate, key) = match (&self.cert_file, &self.key_file) {
            // DIFFERENCE(websocket-tls-offered): Zeek's port is plaintext, which zeek-client 1.2 to 1.4 have to be told.
            (None, None) => return Ok(WebSocketTls::Offered(TlsConfig::Anonymous)),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(_), None) => return Err("$cert_file needs $key_file".to_owned()),
            (None, Some(_)) => return Err("$key_file needs $cert_file".to_owned()),
        };
        if certificate.is_empty() && key.is_empty() {
            // In Zeek this asks for TLS without certificates, and `ciphers` must name the anonymous suite.
            return Ok(WebSocketTls::Required(TlsConfig::Anonymous));
        }
        if !self.ciphers.is_empty() {
            return Err(
                "$ciphers cannot be chosen: with certificates they are TLS 1.3's and, with TLS 1.2, HIGH:!aNULL:!MD5"
                    .to_owned(),
            );
        }
        let identity = Identity {
            certificate: absolute(certificate),
            key: absolute(key),
            passphrase: None,
        };
        if !self.enable_peer_verification {
            return Ok(WebSocketTls::Required(TlsConfig::ServerCertificate(identity)));
        }
        // DIFFERENCE(websocket-ca): Zeek then trusts what the system trusts, which is every public CA.
        if self.ca_file.is_empty() {
            return Err(
                "$enable_peer_verification needs $ca_file, the CA of the clients' certificates".to_owned(),
            );
        }
        let trust = Trust {
            ca_file: Some(absolute(&self.ca_file)),
            ..Trust::default()
        };
        Ok(WebSocketTls::Required(TlsConfig::Mutual { identity, trust }))
    }
}

impl Value for WebSocketTlsOptions {
    const EXPECTED: &'static str =
        "a record, as in Cluster::WebSocketTLSOptions($cert_file=\"cert.pem\", $key_file=\"key.pem\")";

    fn read(text: &str, _: Notation) -> Option<Self> {
        let mut options = Self::default();
        for (name, value) in record(text, "Cluster::WebSocketTLSOptions")? {
            let text = || String::read(value, Notation::Script);
            match name {
                "cert_file" => options.cert_file = Some(text()?),
                "key_file" => options.key_file = Some(text()?),
                "enable_peer_verification" => {
                    options.enable_peer_verification = bool::read(value, Notation::Script)?;
                }
                "ca_file" => options.ca_file = text()?,
                "ciphers" => options.ciphers = text()?,
                _ => return None,
            }
        }
        Some(options)
    }

    /// Without what is as it is by default.
    fn show(&self) -> String {
        let text = |text: &String| Some(text).filter(|text| !text.is_empty()).map(Value::show);
        let fields = [
            ("cert_file", self.cert_file.as_ref().map(Value::show)),
            ("key_file", self.key_file.as_ref().map(Value::show)),
            (
                "enable_peer_verification",
                self.enable_peer_verification.then(|| true.show()),
            ),
            ("ca_file", text(&self.ca_file)),
            ("ciphers", text(&self.ciphers)),
        ];
        let given = fields
            .into_iter()
            .filter_map(|(name, value)| Some(format!("${name}={}", value?)));
        format!(
            "Cluster::WebSocketTLSOptions({})",
            given.collect::<Vec<_>>().join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<WebSocketTlsOptions> {
        WebSocketTlsOptions::read(text, Notation::Script)
    }

    fn resolve(text: &str) -> Result<WebSocketTls, String> {
        let options = read(text).expect("it can be read");
        options.resolve(|path| PathBuf::from("/started/in").join(path))
    }

    #[test]
    fn the_record_is_written_as_in_a_script() {
        let all = WebSocketTlsOptions {
            cert_file: Some("a, b.pem".to_owned()),
            key_file: Some("\"quoted\"".to_owned()),
            enable_peer_verification: true,
            ca_file: "ca.pem".to_owned(),
            ciphers: "HIGH".to_owned(),
        };
        let text = r#"Cluster::WebSocketTLSOptions($cert_file="a, b.pem", $key_file="\"quoted\"", $enable_peer_verification=T, $ca_file="ca.pem", $ciphers="HIGH")"#;
        assert_eq!(read(text), Some(all.clone()));
        assert_eq!(all.show(), text);
        let other_form = "[\n  $cert_file = \"a, b.pem\",\n  $key_file = \"\\\"quoted\\\"\",\n  $enable_peer_verification = T, \
                          $ca_file=\"ca.pem\",$ciphers=\"HIGH\",\n]";
        assert_eq!(read(other_form), Some(all));
        assert_eq!(
            read("Cluster::WebSocketTLSOptions()"),
            Some(WebSocketTlsOptions::default())
        );
        for wrong in [
            "",
            "T",
            "[$cert_file=cert.pem]",
            "[cert_file=\"cert.pem\"]",
            "[$certificate=\"cert.pem\"]",
            "[$enable_peer_verification=1]",
            "[,]",
            "Cluster::WebSocketTLSOptions($cert_file=\"cert.pem\"",
            "OtherOptions()",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_certificate_demands_tls_and_verification_a_certificate_of_clients() {
        match resolve(r#"[$cert_file="cert.pem", $key_file="/key.pem"]"#) {
            Ok(WebSocketTls::Required(TlsConfig::ServerCertificate(identity))) => {
                assert_eq!(identity.certificate, PathBuf::from("/started/in/cert.pem"));
                assert_eq!(identity.key, PathBuf::from("/key.pem"));
            }
            other => panic!("{other:?}"),
        }
        match resolve(r#"[$cert_file="c", $key_file="k", $enable_peer_verification=T, $ca_file="ca"]"#) {
            Ok(WebSocketTls::Required(TlsConfig::Mutual { trust, .. })) => {
                assert_eq!(trust.ca_file, Some(PathBuf::from("/started/in/ca")));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_certificates_tls_is_anonymous() {
        assert!(matches!(
            resolve("[]"),
            Ok(WebSocketTls::Offered(TlsConfig::Anonymous))
        ));
        let text =
            r#"[$cert_file="", $key_file="", $ciphers="AECDH-AES256-SHA@SECLEVEL=0:AECDH-AES256-SHA:P-384"]"#;
        assert!(matches!(
            resolve(text),
            Ok(WebSocketTls::Required(TlsConfig::Anonymous))
        ));
    }

    #[test]
    fn what_makes_no_sense_is_explained() {
        for (text, words) in [
            (r#"[$cert_file="c"]"#, "$cert_file needs $key_file"),
            (r#"[$key_file="k"]"#, "$key_file needs $cert_file"),
            (
                r#"[$cert_file="c", $key_file="k", $enable_peer_verification=T]"#,
                "needs $ca_file",
            ),
            (
                r#"[$cert_file="c", $key_file="k", $ciphers="LOW"]"#,
                "$ciphers cannot be chosen",
            ),
        ] {
            let error = resolve(text).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }
}
