//! A plain WebSocket client, for conversations that no well-behaved client has.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
};

use mgmt_api::topics::{AGENT_PREFIX, CONTROLLER, NEWS};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{CloseFrame, WebSocket},
};

use super::limit::{Limit, TIMEOUT};

/// A connection to the controller's WebSocket port.
#[derive(Debug)]
pub(crate) struct Client {
    websocket: WebSocket<TcpStream>,
}

impl Client {
    /// Connects and upgrades; does not subscribe.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::connect_to(address, "/v1/messages/json")
    }

    /// Connects and upgrades with another path.
    pub(crate) fn connect_to(address: SocketAddr, path: &str) -> Self {
        let socket = TcpStream::connect(address).expect("the controller accepts connections");
        socket
            .set_read_timeout(Some(TIMEOUT))
            .expect("a time-out can be set");
        socket.set_nodelay(true).expect("an option can be set");
        let (websocket, _) =
            tungstenite::client(format!("ws://{address}{path}"), socket).expect("the upgrade succeeds");
        Self { websocket }
    }

    /// Connects and subscribes to the controller's topic.
    pub(crate) fn subscribed(address: SocketAddr) -> Self {
        Self::subscribed_to(address, &format!("[\"{CONTROLLER}\"]"))
    }

    /// Connects and subscribes to nothing: no message of others comes.
    pub(crate) fn deaf(address: SocketAddr) -> Self {
        Self::subscribed_to(address, "[]")
    }

    /// Connects and subscribes to the messages to and from agents, and to news of them.
    pub(crate) fn observing(address: SocketAddr) -> Self {
        Self::subscribed_to(address, &format!("[\"{AGENT_PREFIX}\", \"{NEWS}\"]"))
    }

    /// The next text message that contains this. Others before it are passed over.
    pub(crate) fn text_about(&mut self, what: &str) -> String {
        self.text_about_by(what, &Limit::new(format_args!("a message about {what}")))
    }

    /// As [`Self::text_about`], within what is left.
    pub(crate) fn text_about_by(&mut self, what: &str, limit: &Limit) -> String {
        loop {
            let text = self.text_by(limit);
            if text.contains(what) {
                return text;
            }
        }
    }

    fn subscribed_to(address: SocketAddr, subscription: &str) -> Self {
        let mut client = Self::connect(address);
        client.send_text(subscription);
        let ack = client.text();
        assert!(ack.starts_with("{\"type\":\"ack\",\"endpoint\":\""), "{ack}");
        client
    }

    /// The connection below, for bytes that are not WebSocket frames.
    pub(crate) fn socket(&mut self) -> &mut TcpStream {
        self.websocket.get_mut()
    }

    /// Sends a message. The server may already have closed; its last messages are read afterwards.
    pub(crate) fn send(&mut self, message: Message) -> Result<(), tungstenite::Error> {
        self.websocket.send(message)
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.send(Message::text(text)).expect("the connection is open");
    }

    /// The next message of any kind; pings of the server are answered while waiting.
    pub(crate) fn message(&mut self) -> Result<Message, tungstenite::Error> {
        self.message_by(&Limit::new("a message of the server"))
    }

    fn message_by(&mut self, limit: &Limit) -> Result<Message, tungstenite::Error> {
        self.websocket
            .get_ref()
            .set_read_timeout(Some(limit.left()))
            .expect("a time-out can be set");
        match self.websocket.read() {
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => limit.fail(),
            message => message,
        }
    }

    pub(crate) fn text(&mut self) -> String {
        self.text_by(&Limit::new("a text message of the server"))
    }

    /// As [`Self::text`], within what is left.
    pub(crate) fn text_by(&mut self, limit: &Limit) -> String {
        loop {
            match self.message_by(limit) {
                Ok(Message::Text(text)) => return text.as_str().to_owned(),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("expected a text message, received {other:?}"),
            }
        }
    }

    /// The next text message, or none when the connection has ended.
    pub(crate) fn try_text_by(&mut self, limit: &Limit) -> Option<String> {
        loop {
            match self.message_by(limit) {
                Ok(Message::Text(text)) => return Some(text.as_str().to_owned()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// Reads until the server closes; returns its code and reason, if it gave any.
    pub(crate) fn close(&mut self) -> Option<(u16, String)> {
        let limit = Limit::new("the server to close the connection");
        loop {
            match self.message_by(&limit) {
                Ok(Message::Close(frame)) => {
                    return frame
                        .map(|CloseFrame { code, reason }| (code.into(), reason.as_str().to_owned()));
                }
                Ok(_) => {}
                Err(error) => panic!("expected a close frame, received {error:?}"),
            }
        }
    }
}

/// The text of a request of the controller's API, with further arguments as JSON.
pub(crate) fn request(event: &str, reqid: &str, arguments: &[&str]) -> String {
    let mut all = vec![format!("{{\"@data-type\":\"string\",\"data\":\"{reqid}\"}}")];
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    event_message(
        CONTROLLER,
        &format!("Management::Controller::API::{event}"),
        &all.join(","),
    )
}

/// The text of any event with these arguments as JSON, on any topic.
pub(crate) fn event_message(topic: &str, event: &str, arguments: &str) -> String {
    format!(
        "{{\"type\":\"data-message\",\"topic\":\"{topic}\",\"@data-type\":\"vector\",\"data\":[\
         {{\"@data-type\":\"count\",\"data\":1}},{{\"@data-type\":\"count\",\"data\":1}},\
         {{\"@data-type\":\"vector\",\"data\":[{{\"@data-type\":\"string\",\"data\":\"{event}\"}},\
         {{\"@data-type\":\"vector\",\"data\":[{arguments}]}}]}}]}}"
    )
}
