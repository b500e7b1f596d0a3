//! Enrolment: how an agent gets a certificate of its controller's own CA.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use utoipa::ToSchema;

use crate::plain_name::is_plain_name;

/// How an enrolment token begins.
const PREFIX: &str = "enrol_";

/// The longest enrolment token, in bytes.
const TOKEN_BYTES_MAX: usize = 2048;

/// How the name begins for which a controller has a certificate of its own CA. No instance can be called so.
pub const CONTROLLER_PREFIX: &str = "controller:";

/// An enrolment that waits for its agent, without what is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Enrolment {
    pub instance: String,
    /// When it was made, as RFC 3339 has it.
    pub created: String,
    /// When its token ends, likewise.
    pub expires: String,
}

/// Those that wait for their agents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Enrolments {
    pub enrolments: Vec<Enrolment>,
}

/// An enrolment that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEnrolment {
    pub instance: String,
    /// In how many seconds its token is to end; a day if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Where agents reach the controller's HTTP port; where it can best tell itself if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// An enrolment that was made. The token is told this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MadeEnrolment {
    /// What `mgmt-agent enroll` takes.
    pub token: String,
    pub enrolment: Enrolment,
}

/// At which controller an instance is enrolled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// The instance.
    pub name: String,
    /// Where to ask: `https://hub.example.org:2148`.
    pub url: String,
    /// The controller's Broker port, unless it is the controller that connects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<u16>,
    /// The SHA-256 of the CA's certificate, by which the controller is known.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub ca: [u8; 32],
}

/// What an enrolment token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentToken {
    #[serde(flatten)]
    pub enrolled: Enrolled,
    /// What is shown once.
    pub secret: String,
}

/// A certificate is asked for: for the enrolment token whose secret is shown, or in place of one that ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateRequest {
    /// PKCS #10, in PEM format.
    pub request: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews: Option<Renews>,
}

/// Which certificate is to be renewed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Renews {
    /// In PEM format.
    pub certificate: String,
    /// Of the request's text, by the key of this certificate, in hexadecimal digits.
    pub signature: String,
}

/// A certificate that was issued, and that of its CA, in PEM format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedCertificate {
    pub certificate: String,
    pub ca: String,
}

/// Whether an instance of this name can be enrolled: it is a plain one, and no address.
pub fn can_be_enrolled(name: &str) -> bool {
    is_plain_name(name) && name.parse::<IpAddr>().is_err()
}

/// The host, without brackets, and the port of a URL such as `https://hub.example.org:2148`, if it is one.
pub fn host_and_port(url: &str) -> Option<(&str, u16)> {
    let authority = url.strip_prefix("https://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 443),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_in = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_host = match bare {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(is_in),
    };
    (is_host && port != 0).then_some((bare.unwrap_or(host), port))
}

/// A text is no enrolment token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no enrolment token, or not all of one: mgmtctl enroll INSTANCE makes one, which begins with {PREFIX}"
)]
pub struct NoToken;

/// As it is handed over, in one word.
impl fmt::Display for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| fmt::Error)?;
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(&json))
    }
}

impl FromStr for EnrolmentToken {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        let text = Some(text.trim()).filter(|text| text.len() <= TOKEN_BYTES_MAX);
        let encoded = text.and_then(|text| text.strip_prefix(PREFIX)).ok_or(NoToken)?;
        let json = BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| NoToken)?;
        serde_json::from_slice(&json).map_err(|_| NoToken)
    }
}

fn to_hex<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&HEXLOWER.encode(bytes))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = HEXLOWER.decode(text.as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| D::Error::custom("it is no SHA-256 in hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word_that_says_all() {
        let enrolled = Enrolled {
            name: "sensor1".to_owned(),
            url: "https://hub.example.org:2148".to_owned(),
            broker: Some(2150),
            ca: [0xAB; 32],
        };
        let token = EnrolmentToken {
            enrolled,
            secret: "s".repeat(43),
        };
        let word = token.to_string();
        assert!(
            word.starts_with("enrol_") && !word.contains(char::is_whitespace),
            "{word}"
        );
        assert_eq!(format!("{word}\n").parse(), Ok(token));
        for wrong in [
            "",
            "enrol_",
            "mgmt_00",
            "enrol_e30",
            &word[..word.len() - 1],
            &word[1..],
            &format!("enrol_{}", "A".repeat(TOKEN_BYTES_MAX)),
        ] {
            assert_eq!(wrong.parse::<EnrolmentToken>(), Err(NoToken), "{wrong}");
        }
    }

    #[test]
    fn a_url_has_a_host_and_a_port() {
        for (url, expected) in [
            ("https://hub.example.org:2148", Some(("hub.example.org", 2148))),
            ("https://10.0.0.1:2148/", Some(("10.0.0.1", 2148))),
            ("https://[2001:db8::1]:2148", Some(("2001:db8::1", 2148))),
            ("https://[::1]", Some(("::1", 443))),
            ("https://hub", Some(("hub", 443))),
            ("http://hub:2148", None),
            ("https://hub:2148/path", None),
            ("https://me@hub:2148", None),
            ("https://hub:0", None),
            ("https://hub:66000", None),
            ("https://::1", None),
            ("https://", None),
            ("hub:2148", None),
        ] {
            assert_eq!(host_and_port(url), expected, "{url}");
        }
    }

    #[test]
    fn no_instance_is_called_as_a_controller() {
        for (name, expected) in [
            ("sensor1", true),
            ("a.b-c_D", true),
            ("", false),
            ("controller:hub", false),
            ("*", false),
            ("a b", false),
            ("sensör", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(can_be_enrolled(name), expected, "{name}");
        }
    }
}
