use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use super::{
    config::WebSocketTls,
    connection::Connection,
    counted::Counted,
    http::{self, HandshakeError},
    shared::Shared,
};
use crate::{
    credit::Credits,
    error::with_causes,
    tls::{self, TlsError},
};

/// Serves one connection from its first byte to its last.
pub(super) async fn serve<S, T>(stream: S, peer: SocketAddr, credits: Arc<Credits>, shared: Arc<Shared<T>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    T: Send + 'static,
{
    let config = &shared.config;
    let began = Instant::now();
    let place = shared.upgrading.enter();
    let accepted = tokio::select! {
        accepted = shared.acceptance.accept(stream, config.handshake_timeout) => accepted,
        () = place.evicted() => return shared.counters.increment(Counted::Evicted),
        () = shared.shutdown.cancelled() => return,
    };
    let mut stream = match accepted {
        Ok(stream) => stream,
        Err(error) => {
            shared.counters.increment(Counted::HandshakeFailures);
            shared.counters.increment(Counted::TlsFailures);
            tracing::warn!(%peer, error = for_clients(&error), "WebSocket handshake failed");
            return;
        }
    };
    let left = match config.tls {
        WebSocketTls::Off => config.handshake_timeout,
        _ => config.handshake_timeout.saturating_sub(began.elapsed()),
    };
    let upgrade = async {
        if matches!(config.tls, WebSocketTls::Required(_)) && !tls::is_tls(&stream) {
            return Err(HandshakeError::Plaintext);
        }
        http::upgrade(&mut stream, left, &shared.hosts()).await
    };
    let upgrade = tokio::select! {
        upgrade = upgrade => upgrade,
        () = place.evicted() => return shared.counters.increment(Counted::Evicted),
        () = shared.shutdown.cancelled() => return,
    };
    drop(place);
    match upgrade {
        Ok(upgrade) => {
            let certificate = tls::peer_certificate(&stream);
            let connection = Connection::new(peer, certificate, credits, shared);
            connection.run(stream, upgrade).await;
        }
        Err(error) => {
            shared.counters.increment(Counted::HandshakeFailures);
            if matches!(error, HandshakeError::Tls) {
                shared.counters.increment(Counted::TlsOnPlaintext);
            }
            if matches!(error, HandshakeError::Closed { received: 0 }) {
                // Port scans and health checks.
                tracing::debug!(%peer, %error, "WebSocket handshake failed");
            } else {
                tracing::warn!(%peer, %error, "WebSocket handshake failed");
            }
            http::refuse(&mut stream, &error, config.close_timeout).await;
        }
    }
}

/// What a failure of TLS means where the peer is a client: its settings are zeek-client's, not Broker's.
fn for_clients(error: &TlsError) -> String {
    match error {
        TlsError::NoPeerCertificate => {
            "the client shows no certificate; give it one, signed by our CA (zeek-client: \
            ssl.certificate and ssl.keyfile)"
                .into()
        }
        TlsError::NoCommonCipher => {
            "no cipher suite in common: one side probably uses certificates and the other does not \
            (here: Management::Controller::tls_options_websocket; zeek-client: ssl.certificate)"
                .into()
        }
        TlsError::OursRefused { reason } => format!(
            "the client refuses our certificate; the CA that it knows must have signed ours (zeek-client: ssl.cafile); its TLS library says: {reason}"
        ),
        error => with_causes(error),
    }
}
