//! A connection to a server of which nothing is known yet but the fingerprint of its CA.

use std::time::Duration;

use openssl::{
    error::ErrorStack,
    stack::Stack,
    x509::{X509, X509Ref, X509StoreContext, store::X509StoreBuilder},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::either::Either;

use super::{
    context::TlsContext,
    error::TlsError,
    peer::{Fingerprint, PeerCertificate, describe, fingerprint},
    reasons::reasons,
    transport::{Connection, Transport},
};

/// A server is not the one that is meant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PinnedError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "the server's certificate ({subject}) is not of the CA that is meant: none in its chain has that fingerprint"
    )]
    OtherCa { subject: String },
    #[error("the server's certificate ({subject}) is not good: {reason}")]
    NotGood { subject: String, reason: String },
    #[error("the TLS library says: {0}")]
    Library(String),
}

impl From<ErrorStack> for PinnedError {
    fn from(error: ErrorStack) -> Self {
        Self::Library(reasons(&error))
    }
}

/// Prepares a connection that we opened to a server that shows its CA, too. Takes at most `timeout`. No name is looked for in its certificate, which
/// is returned.
///
/// # Errors
///
/// If it is not of this CA, or not valid today.
pub async fn connect_pinned<S>(
    stream: S,
    pin: &Fingerprint,
    timeout: Duration,
) -> Result<(Transport<S>, PeerCertificate), PinnedError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let context = TlsContext::trusting_all()?;
    let transport = Connection::Tls(context).connect(stream, timeout).await?;
    let Either::Right(stream) = &transport else {
        return Err(TlsError::PlaintextPeer { first: None }.into());
    };
    let ssl = stream.ssl();
    let Some(own) = ssl.peer_certificate() else {
        return Err(TlsError::NoPeerCertificate.into());
    };
    let chain = ssl.peer_cert_chain().into_iter().flatten();
    verify(&own, chain, pin)?;
    let names = describe(&own)?;
    Ok((transport, names))
}

fn verify<'a>(
    own: &X509Ref,
    chain: impl Iterator<Item = &'a X509Ref>,
    pin: &Fingerprint,
) -> Result<(), PinnedError> {
    let subject = describe(own)?.name().to_string();
    let (mut trusted, mut others) = (None, Stack::<X509>::new()?);
    for certificate in chain {
        if fingerprint(certificate).is_ok_and(|found| found == *pin) {
            trusted = Some(certificate.to_owned());
        } else {
            others.push(certificate.to_owned())?;
        }
    }
    let trusted = trusted.ok_or_else(|| PinnedError::OtherCa {
        subject: subject.clone(),
    })?;
    let mut store = X509StoreBuilder::new()?;
    store.add_cert(trusted)?;
    let mut context = X509StoreContext::new()?;
    let verified = context.init(&store.build(), own, &others, |context| {
        Ok((context.verify_cert()?, context.error()))
    });
    match verified? {
        (true, _) => Ok(()),
        (false, error) => Err(PinnedError::NotGood {
            subject,
            reason: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::{
        super::{
            CertificateAuthority, PrivateKey, TlsConfig,
            testing::{Authority, Validity},
            transport::Acceptance,
        },
        *,
    };

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// What comes of asking a server that shows these certificates of one CA, for one with the certificate in a file.
    async fn asked(
        shown: &[&std::path::Path],
        key: &std::path::Path,
        pin: &std::path::Path,
    ) -> Result<PeerCertificate, PinnedError> {
        let folder = tempfile::tempdir().unwrap();
        let chain = folder.path().join("chain.pem");
        let texts: Vec<Vec<u8>> = shown.iter().map(|path| std::fs::read(path).unwrap()).collect();
        std::fs::write(&chain, texts.concat()).unwrap();
        let config = TlsConfig::ServerCertificate(super::super::Identity {
            certificate: chain,
            key: key.to_owned(),
            passphrase: None,
        });
        let server = Acceptance::Tls(TlsContext::new(&config).unwrap().unwrap());
        let (ours, theirs) = duplex(16 * 1024);
        let pin = X509::from_pem(&std::fs::read(pin).unwrap()).unwrap();
        let pin = fingerprint(&pin).unwrap();
        let (_, asked) = tokio::join!(
            server.accept(theirs, TIMEOUT),
            connect_pinned(ours, &pin, TIMEOUT)
        );
        asked.map(|(_, names)| names)
    }

    #[tokio::test]
    async fn a_server_is_known_by_the_ca_that_it_shows() {
        let [ca, other] = ["CA", "CA"].map(Authority::new);
        let [of_ca, of_other] = [&ca, &other].map(|ca| ca.path("ca.pem"));
        let hub = ca.sign("controller:hub", &[], &Validity::Now);
        let good = asked(&[&hub.certificate, &of_ca], &hub.key, &of_ca).await;
        assert_eq!(good.unwrap().subject, "CN=controller:hub");
        let foreign = asked(&[&hub.certificate, &of_ca], &hub.key, &of_other).await;
        assert!(matches!(foreign, Err(PinnedError::OtherCa { .. })), "{foreign:?}");
        let alone = asked(&[&hub.certificate], &hub.key, &of_ca).await;
        assert!(matches!(alone, Err(PinnedError::OtherCa { .. })), "{alone:?}");
        // The certificate of a CA is for all to see, and both are called alike.
        let fake = other.sign("controller:hub", &[], &Validity::Now);
        let fake = asked(&[&fake.certificate, &of_ca], &fake.key, &of_ca).await;
        assert!(matches!(fake, Err(PinnedError::NotGood { .. })), "{fake:?}");
        let old = ca.sign("old", &[], &Validity::Expired);
        let old = asked(&[&old.certificate, &of_ca], &old.key, &of_ca).await;
        assert!(old.unwrap_err().to_string().contains("expired"));
        // One who has a certificate of the CA can issue others, which are good for nothing.
        let agent = ca.sign("sensor1", &[], &Validity::Now);
        let [pem, key] = [&agent.certificate, &agent.key].map(|path| std::fs::read(path).unwrap());
        let own = PrivateKey::generate().unwrap();
        let forged = CertificateAuthority::from_pem(&pem, &key).unwrap().issue(
            ("controller:hub", &[]),
            &own.public().unwrap(),
            0..i64::from(u32::MAX),
        );
        let [forged_path, key_path] = ["forged.crt", "forged.key"].map(|name| ca.path(name));
        std::fs::write(&forged_path, forged.unwrap()).unwrap();
        std::fs::write(&key_path, own.to_pem().unwrap()).unwrap();
        let shown = [&*forged_path, &agent.certificate, &of_ca];
        let forged = asked(&shown, &key_path, &of_ca).await;
        assert!(matches!(forged, Err(PinnedError::NotGood { .. })), "{forged:?}");
    }
}
