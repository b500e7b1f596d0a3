//! The TCP connection of a sender.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
    time::timeout,
};

use crate::credit::Credits;

/// Reads and drops what the other side still sends, until it closes, for a limited time and so many bytes at most: so that the last
/// words reach it. Closing with unread bytes makes the system send a reset, which takes back what was not read yet.
pub(crate) async fn linger<S>(stream: &mut S, limit: Duration, bytes_max: usize)
where
    S: AsyncRead + Unpin,
{
    let bytes_max = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    let mut rest = stream.take(bytes_max);
    // It is over in any case.
    let _ = timeout(limit, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

/// A TCP connection that ends for us when the other side has closed it and has sent more than it has credit for: nothing waits for
/// the answers. What came within the credit is still read.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    credits: Arc<Credits>,
}

impl Socket {
    pub(crate) const fn new(stream: TcpStream, credits: Arc<Credits>) -> Self {
        Self { stream, credits }
    }

    /// Whether the other side has closed, although there may be something to read.
    fn has_left(&self) -> bool {
        let ready = self.stream.ready(Interest::READABLE).now_or_never();
        matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.credits.is_exhausted() && self.has_left() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
