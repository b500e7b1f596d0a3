use std::{fmt, sync::Arc};

use broker_codec::data::ZeekString;
use tokio::sync::watch;

use super::peer::PeerCertificate;

type IsRevoked = dyn Fn(&PeerCertificate) -> bool + Send + Sync;

/// Says which certificates of peers are revoked, although a CA that is trusted has signed them. Clones are the same: what is
/// [set](Self::set) in one counts in all. By default none is revoked.
#[derive(Clone)]
pub struct Revoked(watch::Sender<Arc<IsRevoked>>);

impl Revoked {
    /// From now on these are revoked, and no others.
    pub fn set(&self, is_revoked: impl Fn(&PeerCertificate) -> bool + Send + Sync + 'static) {
        self.0.send_replace(Arc::new(is_revoked));
    }

    /// Whether this one is revoked.
    pub fn has(&self, certificate: &PeerCertificate) -> bool {
        let is_revoked = Arc::clone(&self.0.borrow());
        is_revoked(certificate)
    }

    /// Waits until the certificate of a connection is revoked, and returns its [name](PeerCertificate::name); for ever if it has none. May be
    /// cancelled.
    pub async fn comes_to_have(&self, certificate: Option<&PeerCertificate>) -> ZeekString {
        let Some(certificate) = certificate else {
            return std::future::pending().await;
        };
        let mut changes = self.0.subscribe();
        while !self.has(certificate) {
            // The sender is kept here.
            let _ = changes.changed().await;
        }
        certificate.name()
    }
}

impl Default for Revoked {
    fn default() -> Self {
        Self(watch::Sender::new(Arc::new(|_| false)))
    }
}

impl fmt::Debug for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revoked").finish_non_exhaustive()
    }
}
