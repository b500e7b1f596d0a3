use std::{fmt, io, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use broker_codec::{
    Data, Elapsed, EndpointId, Filter, Topic,
    frame::FrameError,
    handshake::{Awaited, Close},
    peering::PeeringEnd,
};

use crate::{
    credit::Credit,
    tls::{PeerCertificate, TlsError},
};

/// What the owner of an [`Endpoint`](super::Endpoint) hears.
///
/// For one peering the order is: added, messages, lost or removed. What the first one announces, the last one ends.
#[derive(Debug)]
#[non_exhaustive]
pub enum EndpointEvent {
    /// A peering is established; messages can be exchanged.
    PeerAdded(PeerInfo),
    /// A peering has ended without our doing. If we had opened the connection, we open it again: at once, but not before the
    /// retry interval since the last attempt has passed.
    PeerLost { peer: PeerInfo, reason: EndReason },
    /// We have ended a peering. If we had opened the connection, it is opened again only if the peer was at fault.
    PeerRemoved { peer: PeerInfo, reason: EndReason },
    /// A connection that we were asked for could not be made.
    PeerUnavailable {
        address: PeerAddress,
        error: PeeringError,
        /// When the next attempt follows; `None` never.
        retry: Option<Duration>,
    },
    /// A peer published something that we subscribed to, or sent it to us.
    ///
    /// Zeek's batches are taken apart. Its log messages and identifier updates do not come here.
    Message(Message),
}

#[derive(Clone, Debug)]
pub struct Message {
    /// The peer; the message names the same sender.
    pub peer: EndpointId,
    pub topic: Topic,
    /// The content, for example a [`broker_codec::zeek::Event`].
    pub data: Data,
    /// What it has of its sender's credit. The peer is not read from when all of that is given to messages that are under way.
    pub credit: Credit,
}

/// A peer as we know it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    pub id: EndpointId,
    /// Its end of the connection. If it opened the connection, the port is of no use.
    pub address: SocketAddr,
    /// If we opened the connection: the address we were given.
    pub dialled: Option<PeerAddress>,
    /// Its certificate, in the mode in which peers have one.
    pub certificate: Option<PeerCertificate>,
    /// What it has subscribed to, as announced in the handshake. What it subscribes to later is not added.
    pub subscriptions: Arc<Filter>,
}

/// Where a peer listens: a host name or an address, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// A name, which may have several addresses, or an address.
    pub host: String,
    pub port: u16,
}

impl PeerAddress {
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::new(address.ip().to_string(), address.port())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected HOST:PORT or [IPV6]:PORT")]
pub struct ParsePeerAddressError;

impl FromStr for PeerAddress {
    type Err = ParsePeerAddressError;

    /// Reads `HOST:PORT`, where an IPv6 address must stand in brackets.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or(ParsePeerAddressError)?;
        let host = match host.strip_prefix('[') {
            Some(host) => host.strip_suffix(']').ok_or(ParsePeerAddressError)?,
            None if host.contains(':') => return Err(ParsePeerAddressError),
            None => host,
        };
        if host.is_empty() {
            return Err(ParsePeerAddressError);
        }
        let port = port.parse().map_err(|_| ParsePeerAddressError)?;
        Ok(Self::new(host, port))
    }
}

/// Why a peering has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// The peer has said that it leaves, and closed the connection.
    #[error("it left in good order")]
    Left,
    /// The peer closed the connection. Its process may have been killed; Zeek before 5.2 leaves like that, too.
    #[error("connection closed by the peer")]
    Closed,
    #[error("connection failed")]
    Failed(#[source] io::Error),
    /// TLS failed; with TLS 1.3 this is how one hears that the peer refuses our certificate.
    #[error(transparent)]
    Tls(TlsError),
    #[error(transparent)]
    Frame(FrameError),
    /// We left, or the peer was silent for too long.
    #[error(transparent)]
    Ended(PeeringEnd),
    /// The peer read nothing.
    #[error("peer took nothing for {} of what waited for it", Elapsed(*.silence))]
    Stuck { silence: Duration },
    #[error("peer sent more than {max} bad messages within {}", Elapsed(*.window))]
    TooManyRejections { max: u32, window: Duration },
    /// What its certificate stands for has changed ([`cut`](super::EndpointHandle::cut)).
    #[error("it is to connect anew, as its certificate counts for something else now")]
    Cut,
    /// A fault of ours; the log says more.
    #[error("internal error")]
    Internal,
}

impl EndReason {
    /// Whether we ended the peering, which makes it removed and not lost (`internal/peering.cc`, `on_peering_end`).
    pub const fn is_removal(&self) -> bool {
        match self {
            Self::Left
            | Self::Closed
            | Self::Failed(_)
            | Self::Tls(_)
            | Self::Stuck { .. }
            | Self::Ended(PeeringEnd::Silent { .. }) => false,
            Self::Frame(_) | Self::Ended(_) | Self::TooManyRejections { .. } | Self::Cut | Self::Internal => {
                true
            }
        }
    }

    /// Whether we left on request: then the connection is not opened again.
    pub(crate) const fn is_request(&self) -> bool {
        matches!(self, Self::Ended(PeeringEnd::Left | PeeringEnd::LeftUnconfirmed))
    }
}

/// Why a connection did not become a peering.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeeringError {
    #[error("cannot resolve the name")]
    Resolve(#[source] io::Error),
    #[error("cannot connect to {}", list(.attempts))]
    Connect {
        /// Each address that was tried, and why it failed.
        attempts: Vec<(SocketAddr, io::Error)>,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("connection failed during the handshake")]
    Io(#[source] io::Error),
    #[error("peer does not speak Broker's protocol: {0}")]
    Frame(FrameError),
    #[error("peer sent more than {max} bytes before the end of the handshake")]
    TooMuch { max: usize },
    #[error(
        "peer closed the connection while we waited for {awaited}{}",
        if *.mute { "; it said nothing at all, so it may expect TLS (Zeek: Broker::disable_ssl)" } else { "" }
    )]
    Closed {
        awaited: Awaited,
        /// Whether the peer had sent nothing on a connection without TLS.
        mute: bool,
    },
    #[error(transparent)]
    Handshake(#[from] Close),
    /// Too many connections had not completed their handshake, and this one was silent, took too long, or was one of too many of its address.
    #[error(
        "evicted: too many connections have not completed their handshake; a firewall can keep out those that are no peers"
    )]
    Evicted,
    /// The connection waited in vain for a place among the handshakes of its address, or among all.
    #[error(
        "timed out before its handshake began: {max} handshakes of its address, or as many as there may be in all, were in progress or had just \
         failed; correct the peers that fail"
    )]
    TooManyHandshakes {
        /// So many handshakes of one address may be in progress.
        max: usize,
    },
    /// The peering ended before the peer subscribed to what [`peer_awaiting`](super::EndpointHandle::peer_awaiting) names.
    #[error(transparent)]
    Useless(EndReason),
    #[error("peer speaks HTTP or another text protocol, and this is a Broker port")]
    TextPeer,
    #[error("too many peers are connected, in all or from this address")]
    TooManyPeers,
    #[error("endpoint is shutting down")]
    ShuttingDown,
}

impl PeeringError {
    /// Whether trying again cannot help.
    pub(crate) const fn is_permanent(&self) -> bool {
        matches!(self, Self::Handshake(Close::UnusableId(_)) | Self::ShuttingDown)
    }
}

fn list(attempts: &[(SocketAddr, io::Error)]) -> String {
    attempts
        .iter()
        .map(|(address, error)| format!("{address} ({error})"))
        .collect::<Vec<_>>()
        .join(", ")
}
