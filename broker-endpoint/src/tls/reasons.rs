//! What the library says when something fails.

use std::io;

use openssl::{
    error::ErrorStack,
    ssl::{self, ErrorCode},
};

use super::error::{TlsConfigError, TlsError};

impl TlsError {
    /// Explains an error of a [`Transport`](super::Transport) after its TLS handshake; other errors are given back.
    ///
    /// With TLS 1.3 a client hears that its certificate was refused only when it first reads.
    pub fn from_transport(error: io::Error) -> Result<Self, io::Error> {
        error
            .downcast::<ssl::Error>()
            .map(|error| Self::explain(error, false).after_tls())
    }

    /// The same where the other side has sent TLS before: then it does speak TLS.
    pub(super) fn after_tls(self) -> Self {
        match self {
            Self::PlaintextPeer { .. } => Self::Garbled,
            other => other,
        }
    }

    /// Explains an error. As long as we connect, a peer that gives up may lack a cipher suite; otherwise it refuses our certificate.
    pub(super) fn explain(error: ssl::Error, connecting: bool) -> Self {
        let reason = error
            .ssl_error()
            .and_then(|stack| {
                stack
                    .errors()
                    .iter()
                    .find(|error| error.library_code() == LIBRARY_SSL)
            })
            .map(|error| {
                (
                    error.reason_code(),
                    error.reason().unwrap_or("unknown").to_owned(),
                )
            });
        let Some((code, reason)) = reason else {
            return match (error.code(), error.into_io_error()) {
                (_, Ok(error)) if is_end(error.kind()) => Self::Closed,
                (_, Ok(error)) => Self::Io(error),
                (ErrorCode::SYSCALL | ErrorCode::ZERO_RETURN, Err(_)) => Self::Closed,
                (_, Err(error)) => Self::Library(error.ssl_error().map_or_else(String::new, reasons)),
            };
        };
        match code {
            reason_code::UNEXPECTED_EOF => Self::Closed,
            reason_code::WRONG_VERSION_NUMBER
            | reason_code::HTTP_REQUEST
            | reason_code::PACKET_LENGTH_TOO_LONG
            | reason_code::BAD_RECORD_TYPE => Self::PlaintextPeer { first: None },
            reason_code::ALERT_HANDSHAKE_FAILURE if !connecting => Self::OursRefused { reason },
            reason_code::NO_SHARED_CIPHER
            | reason_code::NO_SHARED_GROUPS
            | reason_code::NO_SUITABLE_KEY_SHARE
            | reason_code::NO_SUITABLE_SIGNATURE_ALGORITHM
            | reason_code::ALERT_HANDSHAKE_FAILURE
            | reason_code::ALERT_INSUFFICIENT_SECURITY => Self::NoCommonCipher,
            reason_code::UNSUPPORTED_PROTOCOL
            | reason_code::VERSION_TOO_LOW
            | reason_code::ALERT_PROTOCOL_VERSION => Self::NoCommonVersion,
            reason_code::PEER_DID_NOT_RETURN_A_CERTIFICATE => Self::NoPeerCertificate,
            // The caller knows whose, and why.
            reason_code::CERTIFICATE_VERIFY_FAILED => Self::Untrusted {
                subject: "unknown subject".into(),
                reason,
            },
            reason_code::ALERT_NO_CERTIFICATE | reason_code::ALERT_CERTIFICATE_REQUIRED => Self::OursMissing,
            reason_code::ALERT_BAD_CERTIFICATE..=reason_code::ALERT_CERTIFICATE_UNKNOWN
            | reason_code::ALERT_UNKNOWN_CA
            | reason_code::ALERT_ACCESS_DENIED
            | reason_code::ALERT_DECRYPT_ERROR => Self::OursRefused { reason },
            ALERTS_RECEIVED.. => Self::Alert(reason),
            _ => Self::Library(reason),
        }
    }
}

fn is_end(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

pub(super) fn library(what: &'static str) -> impl FnOnce(ErrorStack) -> TlsConfigError {
    move |error| TlsConfigError::Library {
        what,
        reason: reasons(&error),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
pub(super) fn session(error: ErrorStack) -> TlsError {
    TlsError::Library(reasons(&error))
}

/// The reasons on a stack of errors without codes, files and lines.
pub(super) fn reasons(stack: &ErrorStack) -> String {
    let reasons: Vec<&str> = stack
        .errors()
        .iter()
        .filter_map(openssl::error::Error::reason)
        .collect();
    if reasons.is_empty() {
        "unknown error".to_owned()
    } else {
        reasons.join(": ")
    }
}

/// Reason codes from here on are alerts that were received, by their numbers.
const ALERTS_RECEIVED: i32 = 1000;

/// `ERR_LIB_SSL`
const LIBRARY_SSL: i32 = 20;

/// `SSL_R_*` of `openssl/sslerr.h`, which are stable where the texts are not; alerts received are 1000 and the number of
/// the alert.
mod reason_code {
    pub(super) const NO_SUITABLE_KEY_SHARE: i32 = 101;
    pub(super) const NO_SUITABLE_SIGNATURE_ALGORITHM: i32 = 118;
    pub(super) const CERTIFICATE_VERIFY_FAILED: i32 = 134;
    pub(super) const HTTP_REQUEST: i32 = 156;
    pub(super) const NO_SHARED_CIPHER: i32 = 193;
    pub(super) const PACKET_LENGTH_TOO_LONG: i32 = 198;
    pub(super) const PEER_DID_NOT_RETURN_A_CERTIFICATE: i32 = 199;
    pub(super) const UNSUPPORTED_PROTOCOL: i32 = 258;
    pub(super) const WRONG_VERSION_NUMBER: i32 = 267;
    pub(super) const UNEXPECTED_EOF: i32 = 294;
    pub(super) const VERSION_TOO_LOW: i32 = 396;
    pub(super) const NO_SHARED_GROUPS: i32 = 410;
    pub(super) const BAD_RECORD_TYPE: i32 = 443;
    pub(super) const ALERT_HANDSHAKE_FAILURE: i32 = 1040;
    pub(super) const ALERT_NO_CERTIFICATE: i32 = 1041;
    pub(super) const ALERT_BAD_CERTIFICATE: i32 = 1042;
    pub(super) const ALERT_CERTIFICATE_UNKNOWN: i32 = 1046;
    pub(super) const ALERT_UNKNOWN_CA: i32 = 1048;
    pub(super) const ALERT_ACCESS_DENIED: i32 = 1049;
    pub(super) const ALERT_DECRYPT_ERROR: i32 = 1051;
    pub(super) const ALERT_PROTOCOL_VERSION: i32 = 1070;
    pub(super) const ALERT_INSUFFICIENT_SECURITY: i32 = 1071;
    pub(super) const ALERT_CERTIFICATE_REQUIRED: i32 = 1116;
}
