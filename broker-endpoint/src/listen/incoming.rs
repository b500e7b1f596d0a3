use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep_until},
};
use tracing::{error, info};

/// How long nothing is accepted after accepting failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connections to a listening socket.
#[derive(Debug)]
pub(crate) struct Incoming {
    listener: TcpListener,
    /// Whether the last attempt to accept failed; only the first of a row is logged.
    failing: bool,
    /// Nothing is accepted before.
    paused_until: Option<Instant>,
}

impl Incoming {
    pub(crate) const fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            failing: false,
            paused_until: None,
        }
    }

    /// The next connection. Tries again when accepting fails, after it has called `failed`. May be cancelled without losing a
    /// connection.
    pub(crate) async fn next(&mut self, failed: impl Fn()) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(time) = self.paused_until {
                sleep_until(time).await;
                self.paused_until = None;
            }
            match self.listener.accept().await {
                Ok(accepted) => {
                    if std::mem::take(&mut self.failing) {
                        info!(listen = self.address(), "connections are accepted again");
                    }
                    return accepted;
                }
                Err(error) => {
                    failed();
                    if is_about_one_connection(&error) {
                        continue;
                    }
                    if !std::mem::replace(&mut self.failing, true) {
                        error!(
                            listen = self.address(),
                            "cannot accept connections: {error}; trying again (if files are too many: raise the limit, LimitNOFILE= in systemd)"
                        );
                    }
                    self.pause(ACCEPT_PAUSE);
                }
            }
        }
    }

    /// Accepts nothing for so long.
    pub(crate) fn pause(&mut self, time: Duration) {
        self.paused_until = Some(Instant::now() + time);
    }

    fn address(&self) -> Option<String> {
        self.listener.local_addr().ok().map(|address| address.to_string())
    }
}

/// A connection that was reset before it was accepted says nothing about the next one.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
