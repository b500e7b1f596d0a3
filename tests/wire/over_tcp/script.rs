use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use broker_codec::EndpointId;
use broker_endpoint::{EndpointConfig, tls::TlsConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::limit::Limit;

/// An endpoint that takes no time for too long: on a machine that is busy, what a script says may take many seconds, and what
/// the endpoint says about that is not what the script expects.
pub(super) fn config(id: EndpointId) -> EndpointConfig {
    const EVER: Duration = Duration::from_secs(3600);
    let mut config = EndpointConfig::default();
    config.id = Some(id);
    config.tls = TlsConfig::Off;
    config.liveness = None;
    config.handshake_timeout = EVER;
    config
}

/// The other end of a connection with an endpoint.
#[derive(Debug)]
pub(super) struct Script(TcpStream);

impl Script {
    pub(super) fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("set");
        Self(stream)
    }

    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.expect("connected"))
    }

    pub(super) async fn accept(listener: &TcpListener) -> Self {
        let accepted = Limit::new("a connection").of(listener.accept()).await;
        Self::new(accepted.expect("accepted").0)
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) {
        // An endpoint that has closed is noticed by who expects something.
        match self.0.write_all(bytes).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => panic!("{error}"),
            _ => {}
        }
    }

    pub(super) async fn say_frame(&mut self, content: &[u8]) {
        let len = u32::try_from(content.len()).unwrap();
        self.say(&[&len.to_be_bytes(), content].concat()).await;
    }

    /// The content of the next frame.
    pub(super) async fn frame(&mut self) -> io::Result<Vec<u8>> {
        let read = async {
            let mut content = vec![0; usize::try_from(self.0.read_u32().await?).unwrap()];
            self.0.read_exact(&mut content).await?;
            Ok(content)
        };
        Limit::new("a frame").of(read).await
    }

    /// What the endpoint says until it closes.
    pub(super) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = Limit::new("the end of a connection")
            .of(self.0.read_to_end(&mut rest))
            .await;
        read.expect("an orderly end");
        rest
    }

    /// What the endpoint has said and the test has not read.
    pub(super) fn unread(&self) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        let len = self.0.try_read(&mut bytes).unwrap_or_default();
        bytes.truncate(len);
        bytes
    }

    /// Waits until the endpoint has read everything that was said. It runs on this thread and waits for nothing between reading
    /// and deciding: bytes on another connection afterwards come afterwards.
    pub(super) async fn settle(&self) {
        let (Ok(own), Ok(peer)) = (self.0.local_addr(), self.0.peer_addr()) else {
            return;
        };
        let wait = async {
            // What is not acknowledged has not arrived, what is in the other queue has not been read.
            loop {
                // The endpoint's turn; enough of them that sockets are looked at.
                for _ in 0..256 {
                    tokio::task::yield_now().await;
                }
                if queues(own, peer).0 == 0 && queues(peer, own).1 == 0 {
                    break;
                }
            }
        };
        Limit::new("the endpoint to read all bytes").of(wait).await;
    }
}

/// How many bytes wait in a socket of this machine: sent and not acknowledged, received and not read.
fn queues(local: SocketAddr, remote: SocketAddr) -> (u64, u64) {
    let table = match local {
        SocketAddr::V4(_) => "/proc/net/tcp",
        SocketAddr::V6(_) => "/proc/net/tcp6",
    };
    let table = fs::read_to_string(table).expect("the kernel's table of sockets");
    let key = [shown(local), shown(remote)];
    let entry = table.lines().find_map(|line| {
        let mut columns = line.split_whitespace().skip(1);
        (columns.next()? == key[0] && columns.next()? == key[1]).then(|| columns.nth(1))?
    });
    // A socket that is closed has no entry.
    let (sent, received) = entry
        .and_then(|queues| queues.split_once(':'))
        .unwrap_or(("0", "0"));
    let number = |text| u64::from_str_radix(text, 16).expect("a hexadecimal number");
    (number(sent), number(received))
}

/// An address as the kernel prints it: words of four bytes as numbers of this machine.
fn shown(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets
        .chunks(4)
        .map(|word| format!("{:08X}", u32::from_ne_bytes(word.try_into().unwrap())));
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}
