//! A WebSocket client of the controller that measures.

use std::{
    error::Error,
    net::SocketAddr,
    time::{Duration, Instant},
};

use broker_codec::{json::DataMessage, zeek::Event};
use futures_util::{SinkExt, StreamExt};
use mgmt_api::{
    controller::{ClientRequest, ClientResponse},
    topics,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::{Failure, failed};

/// How long an answer may take before the measurement is given up; above the controller's own 10 s.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer that is read.
const MESSAGE_SIZE_MAX: usize = 64 << 20;

/// A request as it goes over the wire.
pub(crate) fn encode(request: &ClientRequest) -> String {
    let event = Event::of(request).expect("a request of the API is an event");
    let message = DataMessage {
        topic: topics::CONTROLLER.into(),
        data: event.to_data(),
    };
    message.encode().expect("a request is not nested deeply")
}

/// An answer, how long it took, and how long the texts are.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: ClientResponse,
    pub(crate) elapsed: Duration,
    pub(crate) request_bytes: usize,
    pub(crate) response_bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Client {
    /// Connects and subscribes as zeek-client does.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Failure> {
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_SIZE_MAX))
            .max_frame_size(Some(MESSAGE_SIZE_MAX));
        let url = format!("ws://{address}/v1/messages/json");
        let (stream, _) = connect_async_with_config(url, Some(config), true)
            .await
            .map_err(failed(format!("connection to {address}")))?;
        let mut client = Self { address, stream };
        let topics = format!("[\"{}\"]", topics::CONTROLLER);
        let ack = client.exchange(topics, |_| true).await?;
        if ack.replace(' ', "").starts_with("{\"type\":\"ack\"") {
            Ok(client)
        } else {
            Err(failed(format!("subscription at {address}"))(ack))
        }
    }

    /// Sends a request and waits for its answer. The time runs from the first byte handed to the socket to the last byte of
    /// the answer's message; encoding and decoding in this client are not counted.
    pub(crate) async fn request(&mut self, request: &ClientRequest) -> Result<Answer, Failure> {
        let (reqid, text) = (request.reqid().to_string(), encode(request));
        let request_bytes = text.len();
        let started = Instant::now();
        // Clients on one topic see each other's traffic: the id tells the own answer from others' requests and answers.
        let answer = self
            .exchange(text, |text| {
                text.contains(&reqid) || text.starts_with("{\"type\":\"error\"")
            })
            .await?;
        let elapsed = started.elapsed();
        let response = response(&answer).map_err(|error| {
            let start: String = answer.chars().take(500).collect();
            failed(format!("answer of {}, {start}", self.address))(error)
        })?;
        Ok(Answer {
            response,
            elapsed,
            request_bytes,
            response_bytes: answer.len(),
        })
    }

    /// Does nothing for so long but to answer pings, and to hear what others ask and are answered.
    pub(crate) async fn pause(&mut self, lasting: Duration) -> Result<(), Failure> {
        let ended = async {
            while let Some(message) = self.stream.next().await {
                message?;
            }
            Err::<(), Box<dyn Error + Send + Sync>>("it closed the connection".into())
        };
        let outcome = timeout(lasting, ended).await.unwrap_or(Ok(()));
        outcome.map_err(failed(format!("pause at {}", self.address)))
    }

    /// Sends a text and waits for one that is wanted.
    async fn exchange(&mut self, text: String, wanted: impl Fn(&str) -> bool) -> Result<String, Failure> {
        let exchange = async {
            self.stream.send(Message::text(text)).await?;
            while let Some(message) = self.stream.next().await {
                match message? {
                    Message::Text(text) if wanted(&text) => return Ok(text.to_string()),
                    Message::Close(Some(frame)) => return Err(frame.to_string().into()),
                    _ => {}
                }
            }
            Err("it closed the connection".into())
        };
        let late = || Err(format!("it did not answer within {} s", ANSWER_TIMEOUT.as_secs()).into());
        let outcome: Result<_, Box<dyn Error + Send + Sync>> =
            timeout(ANSWER_TIMEOUT, exchange).await.unwrap_or_else(|_| late());
        outcome.map_err(failed(format!("request to {}", self.address)))
    }
}

fn response(text: &str) -> Result<ClientResponse, Box<dyn Error + Send + Sync>> {
    let message = DataMessage::decode(text.as_bytes())?;
    Ok(Event::from_data(message.data)?.parse()?)
}
