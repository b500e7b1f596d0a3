//! A WebSocket client of the controller that measures.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use broker_codec::{data::DataError, json::DataMessage, zeek::Event};
use futures_util::{SinkExt, StreamExt};
use mgmt_api::{
    controller::{ClientRequest, ClientResponse},
    topics,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, protocol::WebSocketConfig},
};

/// How long an answer may take before the measurement is given up; above the controller's own 10 s.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read.
const MESSAGE_SIZE_MAX: usize = 64 << 20;

/// The controller did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The connection failed, or ended before the answer.
    #[error("connection to {address}: {source}")]
    Connection {
        address: SocketAddr,
        source: Box<tungstenite::Error>,
    },
    /// The connection was closed before the answer.
    #[error("{address} closed the connection: {reason}")]
    Closed { address: SocketAddr, reason: String },
    #[error("{address} did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent { address: SocketAddr },
    #[error("{address} answered with {text}")]
    Unexpected { address: SocketAddr, text: String },
    /// The answer is not a response of the controller's API.
    #[error("answer of {address}: {source}")]
    Undecodable { address: SocketAddr, source: DataError },
}

/// A request as it goes over the wire, encoded before the clock starts.
#[derive(Debug)]
pub(crate) struct Encoded {
    reqid: String,
    pub(crate) text: String,
}

impl Encoded {
    pub(crate) fn new(request: &ClientRequest) -> Self {
        let event = Event::of(request).expect("a request of the API is an event");
        let message = DataMessage {
            topic: topics::CONTROLLER.into(),
            data: event.to_data(),
        };
        Self {
            reqid: request.reqid().to_string(),
            text: message.encode().expect("a request is not nested deeply"),
        }
    }
}

/// An answer, how long it took, and how long its text is.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: ClientResponse,
    pub(crate) elapsed: Duration,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    stream: WebSocketStream<TcpStream>,
}

impl Client {
    /// Connects and subscribes as zeek-client does.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, ClientError> {
        let connection = |source: tungstenite::Error| ClientError::Connection {
            address,
            source: Box::new(source),
        };
        let socket = TcpStream::connect(address)
            .await
            .map_err(|error| connection(error.into()))?;
        socket
            .set_nodelay(true)
            .map_err(|error| connection(error.into()))?;
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_SIZE_MAX))
            .max_frame_size(Some(MESSAGE_SIZE_MAX));
        let url = format!("ws://{address}/v1/messages/json");
        let (stream, _) = tokio_tungstenite::client_async_with_config(url, socket, Some(config))
            .await
            .map_err(connection)?;
        let mut client = Self { address, stream };
        client.send(format!("[\"{}\"]", topics::CONTROLLER)).await?;
        let ack = client.receive(|_| true).await?;
        if !ack.starts_with("{\"type\":\"ack\"") && !ack.starts_with("{\"type\": \"ack\"") {
            return Err(ClientError::Unexpected { address, text: ack });
        }
        Ok(client)
    }

    /// Sends a request and waits for its answer. The time runs from the first byte handed to the socket to the last byte of
    /// the answer's message; encoding and decoding in this client are not counted.
    pub(crate) async fn request(&mut self, request: Encoded) -> Result<Answer, ClientError> {
        let Encoded { reqid, text } = request;
        let started = Instant::now();
        self.send(text).await?;
        // Clients on one topic see each other's traffic: the id tells the own answer from others' requests and answers.
        let text = self
            .receive(|text| text.contains(&reqid) || is_error(text))
            .await?;
        let elapsed = started.elapsed();
        let response = self.decode(&text)?;
        Ok(Answer {
            response,
            elapsed,
            bytes: text.len(),
        })
    }

    fn decode(&self, text: &str) -> Result<ClientResponse, ClientError> {
        let unexpected = || ClientError::Unexpected {
            address: self.address,
            text: text.chars().take(500).collect(),
        };
        let message = DataMessage::decode(text.as_bytes()).map_err(|_| unexpected())?;
        let event = Event::from_data(message.data).map_err(|_| unexpected())?;
        event.parse().map_err(|source| ClientError::Undecodable {
            address: self.address,
            source,
        })
    }

    async fn send(&mut self, text: String) -> Result<(), ClientError> {
        let address = self.address;
        match timeout(ANSWER_TIMEOUT, self.stream.send(Message::text(text))).await {
            Ok(sent) => sent.map_err(|source| ClientError::Connection {
                address,
                source: Box::new(source),
            }),
            Err(_) => Err(ClientError::Silent { address }),
        }
    }

    /// The next text message that is wanted.
    async fn receive(&mut self, wanted: impl Fn(&str) -> bool) -> Result<String, ClientError> {
        let address = self.address;
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) if wanted(&text) => return Ok(text.as_str().to_owned()),
                    Some(Ok(Message::Close(frame))) => {
                        let reason = frame.map_or_else(|| "no reason".to_owned(), |frame| frame.to_string());
                        return Err(ClientError::Closed { address, reason });
                    }
                    Some(Ok(_)) => {}
                    Some(Err(source)) => {
                        return Err(ClientError::Connection {
                            address,
                            source: Box::new(source),
                        });
                    }
                    None => {
                        return Err(ClientError::Closed {
                            address,
                            reason: "end of stream".to_owned(),
                        });
                    }
                }
            }
        };
        timeout(ANSWER_TIMEOUT, next)
            .await
            .unwrap_or(Err(ClientError::Silent { address }))
    }
}

fn is_error(text: &str) -> bool {
    text.starts_with("{\"type\":\"error\"")
}
