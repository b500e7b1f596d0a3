use std::sync::{Arc, atomic::AtomicU64};

use broker_codec::{
    Recipients,
    data::ZeekString,
    json::DataMessage,
    websocket::{Accepted, Rejection, ServerSession},
};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    config::WebSocketConfig,
    counters::Counters,
    event::{ClientInfo, WebSocketEvent},
    hub::Hub,
    origin::Hosts,
    outbound::Outbound,
};
use crate::{listen::pending::Pending, tls::Acceptance};

pub(super) type Admit<T> = dyn Fn(&ClientInfo, DataMessage) -> Result<T, Rejection> + Send + Sync;

/// What the connections of a server share.
pub(super) struct Shared<T> {
    pub(super) config: WebSocketConfig,
    pub(super) acceptance: Acceptance,
    pub(super) hosts: Hosts,
    /// Connections that have not become a WebSocket yet.
    pub(super) upgrading: Pending,
    pub(super) hub: Arc<Hub>,
    pub(super) counters: Arc<Counters>,
    pub(super) admit: Box<Admit<T>>,
    pub(super) events: mpsc::Sender<WebSocketEvent<T>>,
    pub(super) shutdown: CancellationToken,
    pub(super) next_client: AtomicU64,
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
    pub(super) fn process(
        &self,
        session: &mut ServerSession,
        info: &ClientInfo,
        payload: &[u8],
    ) -> Result<Outcome<T>, Rejection> {
        match session.handle(payload)? {
            Accepted::Subscribed { topics, ack } => Ok(Outcome::Subscribed { topics, ack }),
            Accepted::Publication(publication) => {
                // As with Zeek, the other clients see what is published, but not who did it.
                let others = Recipients::Except([info.client.number()].into());
                let recipients = self.hub.recipients(&publication.topic, &others);
                let copies = if recipients.is_empty() {
                    None
                } else {
                    // What was read as JSON can be written as JSON.
                    let shown = (self.config.shown)(publication.clone()).encode();
                    shown.ok().map(|text| (Bytes::from(text), recipients))
                };
                let message = (self.admit)(info, publication)?;
                Ok(Outcome::Published { message, copies })
            }
        }
    }
}
