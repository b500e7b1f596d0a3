//! TLS as Broker does it (`internal/connector.cc`, `ssl_context_from_cfg`), and telling it from plaintext.
//!
//! There is no negotiation: both sides of a Broker port must be configured alike, and what they say when they are not
//! is the reason that [`TlsError`] has so many variants. The modes are those of [`TlsConfig`].
//!
//! Neither side announces the end of a connection (`close_notify`); a TCP connection that ends is a normal end.

mod authority;
mod certificate;
mod config;
#[cfg(test)]
mod config_tests;
mod context;
mod error;
mod files;
#[cfg(test)]
mod interop_tests;
mod key;
mod peer;
mod pinned;
mod reasons;
#[cfg(test)]
mod refusal_tests;
mod revoked;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transport;
mod verify;

pub use authority::CertificateAuthority;
pub use certificate::Certificate;
pub use config::{Expiry, Identity, Passphrase, TlsConfig, Trust, ZeekTlsOptions};
pub use context::{RenewTls, TlsContext, peer_certificate};
pub use error::{AuthorityError, TlsConfigError, TlsError, TlsPart};
pub use key::{PrivateKey, PublicKey};
pub use peer::{Fingerprint, PeerCertificate};
pub use pinned::{PinnedError, connect_pinned};
pub use revoked::Revoked;
#[cfg(test)]
pub(crate) use transport::plain;
pub use transport::{Acceptance, Connection, Transport, is_tls};
