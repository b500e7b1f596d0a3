//! Whether the certificate of the other side is good.

use std::sync::Mutex;

use broker_codec::data::ZeekString;
use openssl::{
    ssl::{self, SslRef},
    x509::{X509Ref, X509StoreContextRef, X509VerifyResult},
};

use super::{error::TlsError, peer::describe, revoked::Revoked};
use crate::sync::lock;

/// The subject of the other side's certificate, if it was refused; when the fault lies with an issuer, that one's too.
pub(super) type Refused = Mutex<Option<ZeekString>>;

/// Is called for each certificate of a chain, from the CA's to the peer's own at depth 0, and for each fault.
pub(super) fn verify(
    trusted: bool,
    chain: &mut X509StoreContextRef,
    revoked: &Revoked,
    refused: &Refused,
) -> bool {
    let known = |certificate: Option<&X509Ref>| certificate.and_then(|known| describe(known).ok());
    let current = known(chain.current_cert());
    if trusted {
        // One that cannot be looked at does not pass.
        if chain.error_depth() > 0 || current.as_ref().is_some_and(|current| !revoked.has(current)) {
            return true;
        }
        chain.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
    }
    let own = known(chain.chain().and_then(|chain| chain.get(0)));
    *lock(refused) = match (own, current) {
        (Some(own), Some(issuer)) if chain.error_depth() > 0 => {
            Some(format!("{}, issued under {}", own.name(), issuer.subject).into())
        }
        (_, current) => current.map(|current| current.name()),
    };
    false
}

/// Turns a failed handshake into words.
pub(super) fn explain(error: ssl::Error, ssl: &SslRef, refused: &Refused) -> TlsError {
    let explained = TlsError::explain(error, !ssl.is_server());
    let TlsError::Untrusted { reason, .. } = explained else {
        return explained;
    };
    let refused = lock(refused).take();
    let subject = refused.unwrap_or_else(|| "unknown subject".into());
    let result = ssl.verify_result();
    match result.as_raw() {
        verify_code::CERT_HAS_EXPIRED => TlsError::Expired { subject },
        verify_code::CERT_NOT_YET_VALID => TlsError::NotYetValid { subject },
        verify_code::APPLICATION_VERIFICATION => TlsError::Revoked { subject },
        verify_code::OK => TlsError::Untrusted { subject, reason },
        _ => TlsError::Untrusted {
            subject,
            reason: result.error_string().to_owned(),
        },
    }
}

/// `X509_V_*` of `openssl/x509_vfy.h`
mod verify_code {
    pub(super) const OK: i32 = 0;
    pub(super) const CERT_NOT_YET_VALID: i32 = 9;
    pub(super) const CERT_HAS_EXPIRED: i32 = 10;
    pub(super) const APPLICATION_VERIFICATION: i32 = 50;
}
