//! One request to another server.

use axum::{
    body::{Body, Bytes, to_bytes},
    http::{Request, Response},
};
use broker_endpoint::with_causes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// Sends a request on a connection, and reads the whole answer, which may have a body of so many bytes. There is no time limit.
///
/// # Errors
///
/// If the connection ends, or it is no answer, or a longer one.
pub async fn exchange<S>(
    stream: S,
    request: Request<Body>,
    body_bytes_max: usize,
) -> Result<Response<Bytes>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = begun.map_err(|error| with_causes(&error))?;
    let exchange = async move {
        let answer = sender.send_request(request).await;
        let (head, body) = answer.map_err(|error| with_causes(&error))?.into_parts();
        let body = to_bytes(Body::new(body), body_bytes_max).await;
        let body = body.map_err(|error| with_causes(&error))?;
        Ok(Response::from_parts(head, body))
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // What it has said is there.
        _ = connection => exchange.await,
    }
}
