use std::{
    net::SocketAddr,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use broker_codec::{
    data::ZeekString,
    websocket::{CloseCode, Rejection, ServerSession},
};
use bytes::Bytes;
use futures_util::{FutureExt as _, SinkExt as _, Stream, StreamExt as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    task::{coop::consume_budget, yield_now},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message,
        protocol::{self, Role},
    },
};
use tokio_util::io::InspectReader;

use super::{
    config::WebSocketConfig,
    counted::{CloseCause, Counted},
    ending::{Ending, truncated},
    event::{ClientId, ClientInfo, WebSocketEvent},
    http::{self, Upgrade},
    hub::INLINE_JSON_MAX,
    liveness::Liveness,
    outbound::{FRAGMENT_LEN, Outbound},
    shared::{Outcome, Session, Shared},
};
use crate::{
    credit::{Credits, Hold},
    queue::{BATCH_MAX, Overflow},
    tls::PeerCertificate,
};

/// How much is read from a connection at a time.
const READ_BUFFER_LEN: usize = 16 * 1024;

/// Room for the longest fragment, and for answers to pings while it cannot be sent.
const WRITE_BUFFER_MAX: usize = 4 * FRAGMENT_LEN;

/// How many refused messages of one connection are logged each; the rest is summed up at its end.
const REJECTIONS_LOGGED_MAX: u64 = 10;

/// How much of an explanation is logged, in bytes; it may quote what the client sent.
const CONTEXT_LOGGED_MAX: usize = 500;

/// How much of an explanation is sent, in bytes; each takes at most six in JSON.
const CONTEXT_SENT_MAX: usize = 512;

/// A connection after its upgrade.
pub(super) struct Connection<T> {
    client: ClientId,
    peer: SocketAddr,
    certificate: Option<PeerCertificate>,
    shared: Arc<Shared<T>>,
    outbound: Arc<Outbound>,
    liveness: Arc<Liveness>,
    /// What the client may have under way.
    credits: Arc<Credits>,
    /// Whether the owner knows of this connection.
    announced: AtomicBool,
    /// How many messages were refused.
    rejected: AtomicU64,
}

impl<T: Send + 'static> Connection<T> {
    pub(super) fn new(
        peer: SocketAddr,
        certificate: Option<PeerCertificate>,
        credits: Arc<Credits>,
        shared: Arc<Shared<T>>,
    ) -> Self {
        let config = &shared.config;
        Self {
            client: ClientId(shared.next_client.fetch_add(1, Ordering::Relaxed)),
            peer,
            certificate,
            outbound: Arc::new(Outbound::new(
                config.outbound_messages_max,
                config.outbound_bytes_max,
            )),
            liveness: Arc::new(Liveness::new()),
            credits,
            announced: AtomicBool::new(false),
            rejected: AtomicU64::new(0),
            shared,
        }
    }

    pub(super) async fn run<S>(self, stream: S, upgrade: Upgrade)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let config = &self.shared.config;
        let client = self.client;
        let endpoint = format!("{}-websocket-{client}", config.node_id);
        let application_name = upgrade.application_name;
        let opened = ServerSession::open(
            &endpoint,
            &config.version,
            &upgrade.target,
            application_name.as_deref(),
        );
        let liveness = Arc::clone(&self.liveness);
        let stream = InspectReader::new(stream, move |bytes| liveness.received(bytes.len()));
        let mut socket = WebSocketStream::from_partially_read(
            stream,
            upgrade.rest,
            Role::Server,
            Some(frame_limits(config)),
        )
        .await;

        let ending = match opened {
            Ok(protocol) => {
                let info = ClientInfo {
                    client,
                    peer: self.peer,
                    application_name: application_name.map(ZeekString::from),
                    certificate: self.certificate.clone(),
                };
                let application = info.application_name.as_ref().map(tracing::field::display);
                tracing::debug!(client = client.number(), peer = %self.peer, application, "client connected");
                // A panic, be it in a function that admits messages, must end this connection only.
                let conversation = AssertUnwindSafe(self.converse(&mut socket, protocol, info));
                conversation.catch_unwind().await.unwrap_or_else(|_panic| {
                    self.shared.counters.increment(Counted::Panics);
                    Ending::ours(CloseCause::Internal, CloseCode::INTERNAL, "internal error")
                })
            }
            Err(rejection) => self.refuse(&mut socket, &rejection).await,
        };
        self.shared.hub.remove(client);
        self.outbound.queue.close();
        let count = self.rejected.load(Ordering::Relaxed);
        if count > REJECTIONS_LOGGED_MAX {
            tracing::warn!(client = client.number(), peer = %self.peer, count, "messages refused in total");
        }
        let parted = self.part(socket, &ending).await;
        if self.announced.load(Ordering::Relaxed) {
            let Ending { code, reason, .. } = ending;
            self.tell(WebSocketEvent::Disconnected { client, code, reason })
                .await;
        }
        if let Some(mut socket) = parted {
            http::linger(socket.get_mut(), self.shared.config.close_timeout).await;
        }
    }

    /// Reads and writes, each while the other waits, until something ends the connection.
    async fn converse<S>(
        &self,
        socket: &mut WebSocketStream<S>,
        protocol: ServerSession,
        info: ClientInfo,
    ) -> Ending
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let config = &self.shared.config;
        let (mut sink, mut stream) = socket.split();
        let heartbeat = async {
            match config.ping_interval {
                Some(interval) => self.liveness.watch(interval, &self.outbound).await,
                None => std::future::pending().await,
            }
        };
        let shutdown = async {
            self.shared.shutdown.cancelled().await;
            self.outbound.queue.drain();
            tokio::time::sleep(config.close_timeout).await;
        };
        let revoked = config.tls.revoked();
        let terminating = || Ending::ours(CloseCause::Terminating, CloseCode::GOING_AWAY, "Terminating");
        tokio::select! {
            // Zeek's server pings before anything else. Each branch ends the connection, so none starves another.
            biased;
            which = revoked.comes_to_have(self.certificate.as_ref()) => Ending::ours(
                CloseCause::Revoked,
                CloseCode::POLICY,
                format!("revoked (deny list): certificate {which}"),
            ),
            () = heartbeat => Ending::ours(CloseCause::PingTimeout, CloseCode::INTERNAL, "Ping timeout"),
            Overflow { messages, bytes } = self.outbound.queue.overflowed() => Ending::ours(
                CloseCause::Overflow,
                CloseCode::POLICY,
                format!("reading too slowly: {messages} messages of {bytes} bytes were waiting"),
            ),
            () = shutdown => terminating(),
            written = self.outbound.write(&mut sink, &self.shared.counters) => match written {
                Ok(()) => terminating(),
                Err(error) => Ending::of(&error, config.message_max),
            },
            ending = self.read(&mut stream, protocol, info) => ending,
        }
    }

    async fn read<R>(&self, stream: &mut R, protocol: ServerSession, info: ClientInfo) -> Ending
    where
        R: Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
    {
        let mut session = Session {
            client: self.client,
            protocol,
            admit: (self.shared.accept)(&info),
        };
        self.tell(WebSocketEvent::Connected(info.clone())).await;
        self.announced.store(true, Ordering::Relaxed);
        while let Some(message) = stream.next().await {
            // Many small frames may come out of one read; other tasks want their turn.
            consume_budget().await;
            self.liveness.message();
            let payload = match message {
                Ok(Message::Text(text)) => text.into(),
                Ok(Message::Binary(bytes)) => bytes,
                // Tungstenite answers it.
                Ok(Message::Ping(_)) => {
                    self.shared.counters.increment(Counted::PingsIn);
                    continue;
                }
                Ok(Message::Pong(_)) => {
                    self.liveness.pong();
                    continue;
                }
                Ok(Message::Close(frame)) => return Ending::by_client(frame),
                // Never read.
                Ok(Message::Frame(_)) => continue,
                Err(error) => return Ending::of(&error, self.shared.config.message_max),
            };
            self.shared.counters.increment(Counted::MessagesIn);
            self.shared.counters.add(Counted::BytesIn, payload.len());
            let credit = self.liveness.paused(self.credits.acquire(payload.len())).await;
            let outcome;
            (session, outcome) = self.liveness.paused(self.process(session, payload)).await;
            match outcome {
                Ok(Outcome::Subscribed { topics, ack }) => {
                    self.outbound.push(ack.into(), Hold::default());
                    let Shared { hub, config, .. } = &*self.shared;
                    let outbound = Arc::clone(&self.outbound);
                    hub.subscribe(info.clone(), topics, outbound, &config.may_hear);
                    // The answer is written first: after a close frame, which may come next, nothing is.
                    yield_now().await;
                }
                Ok(Outcome::Published { message, copies }) => {
                    if let Some((text, recipients)) = copies {
                        let hold = credit.hold(text.len());
                        for recipient in recipients {
                            recipient.push(text.clone(), hold.clone());
                        }
                    }
                    self.tell(WebSocketEvent::Message {
                        client: self.client,
                        message,
                        credit,
                    })
                    .await;
                }
                Err(rejection) => {
                    self.reject(&rejection);
                    yield_now().await;
                }
            }
        }
        Ending::of(
            &tungstenite::Error::ConnectionClosed,
            self.shared.config.message_max,
        )
    }

    /// Parses and admits a message, on another thread if it is long.
    async fn process(
        &self,
        mut session: Session<T>,
        payload: Bytes,
    ) -> (Session<T>, Result<Outcome<T>, Rejection>) {
        if payload.len() <= INLINE_JSON_MAX {
            let outcome = self.shared.process(&mut session, &payload);
            return (session, outcome);
        }
        let shared = Arc::clone(&self.shared);
        let job = tokio::task::spawn_blocking(move || {
            let outcome = shared.process(&mut session, &payload);
            (session, outcome)
        });
        match job.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is shutting down, and this task with it.
                Err(_cancelled) => std::future::pending().await,
            },
        }
    }

    /// Hands an event to the owner, who may be busy. After the owner's end the event is dropped.
    async fn tell(&self, event: WebSocketEvent<T>) {
        let _ = self.liveness.paused(self.shared.events.send(event)).await;
    }

    /// Answers, counts and logs a refused message.
    fn reject(&self, rejection: &Rejection) {
        self.shared.errors.increment(rejection.code);
        if self.rejected.fetch_add(1, Ordering::Relaxed) < REJECTIONS_LOGGED_MAX {
            let context = truncated(&rejection.context, CONTEXT_LOGGED_MAX);
            tracing::warn!(client = self.client.number(), peer = %self.peer, code = %rejection.code, context, "message refused");
        }
        let answer = Rejection {
            context: truncated(&rejection.context, CONTEXT_SENT_MAX).to_owned(),
            ..rejection.clone()
        };
        self.outbound.push(answer.to_json().into(), Hold::default());
    }

    /// Sends the error message that explains why a session is not opened.
    async fn refuse<S>(&self, socket: &mut WebSocketStream<S>, rejection: &Rejection) -> Ending
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        self.reject(rejection);
        self.outbound.queue.drain();
        let written = timeout(
            self.shared.config.close_timeout,
            self.outbound.write(socket, &self.shared.counters),
        );
        match written.await {
            Ok(Err(error)) => Ending::of(&error, self.shared.config.message_max),
            _ => Ending::ours(CloseCause::Refused, CloseCode::POLICY, rejection.context.clone()),
        }
    }

    /// Sends the CLOSE frame; yields the socket if it is to be read until the client closes too.
    async fn part<S>(&self, mut socket: WebSocketStream<S>, ending: &Ending) -> Option<WebSocketStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let Ending {
            cause,
            code,
            reason,
            goodbye,
        } = ending;
        self.shared.closes.increment(*cause);
        let client = self.client.number();
        match cause {
            CloseCause::Client | CloseCause::Terminating => {
                tracing::debug!(client, peer = %self.peer, cause = <&str>::from(cause), code = code.0, %reason, "client disconnected");
            }
            // zeek-client always ends so.
            CloseCause::Vanished => {
                tracing::debug!(client, peer = %self.peer, %reason, "client vanished");
            }
            _ => {
                tracing::warn!(client, peer = %self.peer, cause = <&str>::from(cause), code = code.0, %reason, "client disconnected");
            }
        }
        let farewell = async {
            // Makes room, and sends the answer to the CLOSE frame of the client.
            socket.flush().await?;
            if *goodbye {
                socket.send(Message::Close(Some(ending.frame()))).await?;
            }
            socket.get_mut().shutdown().await?;
            Ok::<_, tungstenite::Error>(())
        };
        match timeout(self.shared.config.close_timeout, farewell).await {
            Ok(Ok(())) => Some(socket),
            _ => None,
        }
    }
}

fn frame_limits(config: &WebSocketConfig) -> protocol::WebSocketConfig {
    // DIFFERENCE(unmasked-frames): Zeek accepts frames without a mask (W-26). RFC 6455, 5.1: "the server MUST close".
    // DIFFERENCE(message-limit): Zeek's server takes frames and messages of any length (W-25).
    protocol::WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_LEN)
        // What is sent together is written at once, when it is flushed.
        .write_buffer_size(BATCH_MAX)
        .max_write_buffer_size(WRITE_BUFFER_MAX)
        .max_message_size(Some(config.message_max))
        .max_frame_size(Some(config.message_max))
        .accept_unmasked_frames(false)
}

#[cfg(test)]
mod tests;
