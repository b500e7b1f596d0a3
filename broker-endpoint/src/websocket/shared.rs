use std::sync::{Arc, atomic::AtomicU64};

use broker_codec::{
    Recipients,
    data::ZeekString,
    json::DataMessage,
    websocket::{Accepted, Rejection, RejectionCode, ServerSession},
};
use bytes::Bytes;
use counters::Counters;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    config::WebSocketConfig,
    counted::{CloseCause, Counted},
    event::{ClientId, ClientInfo, WebSocketEvent},
    hub::{Hub, To},
    outbound::Outbound,
};
use crate::{Hosts, listen::pending::Pending, tls::Acceptance};

/// Parses and authorises what one client publishes.
pub(super) type Admit<T> = Box<dyn FnMut(DataMessage) -> Result<T, Rejection> + Send>;

/// Makes that function for a client.
pub(super) type Accept<T> = Box<dyn Fn(&ClientInfo) -> Admit<T> + Send + Sync>;

/// What is kept of one client's connection for each of its messages.
pub(super) struct Session<T> {
    pub(super) client: ClientId,
    pub(super) protocol: ServerSession,
    pub(super) admit: Admit<T>,
}

/// What the connections of a server share.
pub(super) struct Shared<T> {
    pub(super) config: WebSocketConfig,
    pub(super) acceptance: Acceptance,
    /// Connections that have not become a WebSocket yet.
    pub(super) upgrading: Pending,
    pub(super) hub: Arc<Hub>,
    pub(super) counters: Counters<Counted>,
    pub(super) closes: Counters<CloseCause>,
    pub(super) errors: Counters<RejectionCode>,
    pub(super) accept: Accept<T>,
    pub(super) events: mpsc::Sender<WebSocketEvent<T>>,
    pub(super) shutdown: CancellationToken,
    pub(super) next_client: AtomicU64,
}

impl<T> Shared<T> {
    /// The names that browsers may know the server by. The certificate may have been renewed.
    pub(super) fn hosts(&self) -> Hosts {
        let of_certificate = self.acceptance.names();
        Hosts::new(self.config.hosts.iter().cloned().chain(of_certificate))
    }
}

/// What a message of a client comes to.
pub(super) enum Outcome<T> {
    Subscribed {
        topics: Vec<ZeekString>,
        ack: String,
    },
    Published {
        message: T,
        copies: Option<(Bytes, Vec<Arc<Outbound>>)>,
    },
}

impl<T> Shared<T> {
    pub(super) fn process(&self, session: &mut Session<T>, payload: &[u8]) -> Result<Outcome<T>, Rejection> {
        match session.protocol.handle(payload)? {
            Accepted::Subscribed { topics, ack } => Ok(Outcome::Subscribed { topics, ack }),
            Accepted::Publication(publication) => {
                // As with Zeek, the other clients see what is published, but not who did it.
                let others = To::Listeners(Recipients::Except([session.client.number()].into()));
                let recipients = self.hub.recipients(&publication.topic, &others);
                let copies = if recipients.is_empty() {
                    None
                } else {
                    // What was read as JSON can be written as JSON.
                    let shown = (self.config.shown)(publication.clone()).encode();
                    shown.ok().map(|text| (Bytes::from(text), recipients))
                };
                let message = (session.admit)(publication)?;
                Ok(Outcome::Published { message, copies })
            }
        }
    }
}
