//! A relay between two programs: it cuts their connections as a crashed machine does, and follows one that comes back on
//! another port.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

use super::runtime;

/// A relay; dropping it ends all connections.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    task: JoinHandle<()>,
}

impl Relay {
    /// Starts a relay that refuses connections until it is pointed somewhere.
    pub(crate) fn start() -> Self {
        let listener = runtime()
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (target, targets) = watch::channel(None);
        let task = runtime().spawn(accept(listener, targets));
        Self {
            address,
            target,
            task,
        }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects further clients to this address. All connections that there are are reset.
    pub(crate) fn point_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }

    /// Resets all connections, and those that come.
    pub(crate) fn cut(&self) {
        self.target.send_replace(None);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, mut targets: watch::Receiver<Option<SocketAddr>>) {
    loop {
        let (near, _) = listener.accept().await.expect("connections can be accepted");
        let target = *targets.borrow_and_update();
        tokio::spawn(relay(near, target, targets.clone()));
    }
}

async fn relay(
    mut near: TcpStream,
    target: Option<SocketAddr>,
    mut targets: watch::Receiver<Option<SocketAddr>>,
) {
    let far = match target {
        Some(target) => TcpStream::connect(target).await.ok(),
        None => None,
    };
    let Some(mut far) = far else {
        reset(near);
        return;
    };
    tokio::select! {
        // One side has ended the connection: the other one hears it in the same way.
        _ = copy_bidirectional(&mut near, &mut far) => {}
        _ = targets.changed() => {
            reset(near);
            reset(far);
        }
    }
}

fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("an option can be set");
    drop(stream);
}
