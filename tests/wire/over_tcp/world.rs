//! Runs a transcript with the real endpoint. Its lines are those of `wire::conversations`, and beyond them:
//!
//! | input | meaning |
//! |---|---|
//! | `listen HOST` | the endpoint listens there, and what is opened is opened there |
//! | `dial HOST` | the endpoint connects to the script at this name, and again a millisecond after each failure |
//! | `accept N` | the script accepts that as connection N |
//! | `N frame HEX...` | as `N HEX...`, with the length before it |
//! | `publish TOPIC HEX...`, `leave ID` | as in the endpoint's interface |
//! | `time passes` | from here on, until another endpoint begins, time passes as soon as there is nothing to do |
//!
//! Among hexadecimal digits, text in quotes stands for its bytes. What the endpoint does, of its own or not, is read from
//! where the expected line says:
//!
//! | output | meaning |
//! |---|---|
//! | `N HEX...` | the next frame on connection N |
//! | `N closed: WHY` | the end of connection N, and why, if the endpoint opened it |
//! | `N end` | the end of connection N |
//! | `N peer added: ID`, `N peer lost: ID`, `peer removed: ID (WHY)`, `unavailable: WHY`, `message ID TOPIC VALUE` | the next event |
//! | `refused: WHY` | what was published was not |
//! | `counted: rejected N, ignored N` | the endpoint's counters |

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use broker_codec::{Envelope, Topic, binary, handshake::Message};
use broker_endpoint::{Counted, Endpoint, EndpointEvent, PeerAddress, PublishError};
use bytes::Bytes;
use testkit::transcript::{Machine, letter, peer_id};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};

use super::script::{Script, config};
use crate::{
    support::limit::Limit,
    wire::conversations::{describe, hex, spelled},
};

const RETRY: Duration = Duration::from_millis(1);

/// A transcript with the real endpoint.
#[derive(Default)]
pub(super) struct Run(Option<(World, Runtime)>);

impl Machine for Run {
    fn input(&mut self, text: &str, _out: &mut String) {
        let words: Vec<&str> = text.split_whitespace().collect();
        if let ["endpoint", name, topics @ ..] = words.as_slice() {
            self.end();
            // Of one thread, so that its time can stand still.
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime can be made");
            let world = runtime.block_on(World::new(name, topics));
            self.0 = Some((world, runtime));
        } else {
            let (world, runtime) = self.0.as_mut().expect("an endpoint comes first");
            runtime.block_on(world.apply(&words));
        }
    }

    fn observe(&mut self, expected: &str) -> Option<String> {
        let (world, runtime) = self.0.as_mut().expect("an endpoint comes first");
        Some(runtime.block_on(world.observe(expected)))
    }

    fn end(&mut self) {
        if let Some((world, runtime)) = self.0.take() {
            runtime.block_on(world.end());
        }
    }
}

struct World {
    endpoint: Endpoint,
    address: SocketAddr,
    /// What the endpoint connects to.
    listener: Option<TcpListener>,
    connections: BTreeMap<u32, Connection>,
    /// Where something was said to which there was no answer yet.
    unanswered: Option<u32>,
    /// Whether time passes as soon as there is nothing to do.
    time_passes: bool,
    refused: Option<PublishError>,
}

struct Connection {
    /// None when it has ended.
    script: Option<Script>,
    dialled: bool,
    established: bool,
}

impl World {
    async fn new(name: &str, topics: &[&str]) -> Self {
        let mut config = config(peer_id(name));
        config.subscriptions = topics.iter().map(|topic| Topic::new(topic).unwrap()).collect();
        let endpoint = Endpoint::start(config).expect("the configuration is valid");
        let addresses = endpoint.handle().listen("127.0.0.1", 0).await.expect("listening");
        Self {
            endpoint,
            address: addresses[0],
            listener: None,
            connections: BTreeMap::new(),
            unanswered: None,
            time_passes: false,
            refused: None,
        }
    }

    /// Waits until the endpoint has read what the script has sent: what is done then comes after it for the endpoint, too.
    async fn settle(&mut self) {
        let unanswered = self.unanswered.take();
        let connection = unanswered.and_then(|number| self.connections.get(&number));
        if let Some(Connection {
            script: Some(script), ..
        }) = connection
        {
            script.settle().await;
        }
    }

    /// Nothing was said that is not in the transcript.
    async fn end(mut self) {
        self.settle().await;
        for (conn, connection) in &self.connections {
            if let Some(script) = &connection.script {
                let unread = script.unread();
                assert!(unread.is_empty(), "{conn} {}", hex::encode(unread));
            }
        }
    }

    async fn apply(&mut self, words: &[&str]) {
        self.settle().await;
        match words {
            ["listen", host] => {
                self.address = self.endpoint.handle().listen(host, 0).await.expect("listening")[0];
            }
            ["open", number, "acceptor"] => {
                let script = Script::connect(self.address).await;
                self.connect(number, script, false);
            }
            ["open", number, "connector"] => {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
                let address = listener.local_addr().expect("bound");
                self.endpoint.handle().peer(address.into(), None);
                let script = Script::accept(&listener).await;
                self.connect(number, script, true);
            }
            ["dial", host] => {
                // Other names lead here, too.
                let bound = if host.contains(':') { host } else { "127.0.0.1" };
                let listener = TcpListener::bind((bound, 0)).await.expect("bound");
                let port = listener.local_addr().expect("bound").port();
                let address = PeerAddress::new(*host, port);
                self.endpoint.handle().peer(address, Some(RETRY));
                self.listener = Some(listener);
            }
            ["accept", number] => {
                let listener = self.listener.as_ref().expect("`dial` comes first");
                let script = Script::accept(listener).await;
                self.connect(number, script, true);
            }
            ["lost", number] => self.connection(number).script = None,
            ["subscribe", topic] => {
                let topic = Topic::new(topic.trim_matches('"')).unwrap();
                self.endpoint.handle().subscribe(topic).expect("subscribed");
            }
            ["publish", topic, value @ ..] => {
                let topic = Topic::new(topic.trim_matches('"')).unwrap();
                let value = binary::decode(&spelled(value)).expect("a value");
                self.refused = self.endpoint.handle().publish(topic, &value).await.err();
            }
            ["leave", peer] => self.endpoint.handle().disconnect(peer_id(peer)),
            ["time", "passes"] => {
                tokio::time::pause();
                self.time_passes = true;
            }
            [number, words @ ..] => {
                if let Some(script) = &mut self.connection(number).script {
                    match words {
                        ["frame", words @ ..] => script.say_frame(&spelled(words)).await,
                        words => script.say(&spelled(words)).await,
                    }
                    self.unanswered = number.parse().ok();
                }
            }
            [] => panic!("an empty input"),
        }
    }

    fn connect(&mut self, number: &str, script: Script, dialled: bool) {
        let connection = Connection {
            script: Some(script),
            dialled,
            established: false,
        };
        self.connections.insert(number.parse().unwrap(), connection);
    }

    fn connection(&mut self, number: &str) -> &mut Connection {
        let number = number
            .parse()
            .unwrap_or_else(|_| panic!("{number} is no connection"));
        self.connections.get_mut(&number).expect("it was opened")
    }

    async fn event(&mut self) -> EndpointEvent {
        self.unanswered = None;
        let event = Limit::new("an event").of(self.endpoint.recv()).await;
        if std::mem::take(&mut self.time_passes) {
            // Else it would also pass while bytes are on their way, up to the limit for what they bring.
            tokio::time::resume();
        }
        event.expect("the endpoint runs")
    }

    async fn observe(&mut self, expected: &str) -> String {
        let words: Vec<&str> = expected.split_whitespace().collect();
        match words.as_slice() {
            // Not an event of its own: `peer added` follows.
            [_, "established", ..] => expected.to_owned(),
            [number, "closed:", why @ ..] => {
                let end = self.end_of(number).await;
                // A connection that is redundant is no failure if the other one lasts.
                let is_told = self.connection(number).dialled && why.first() != Some(&"refused:");
                if !is_told {
                    return format!("{expected}{end}");
                }
                match self.event().await {
                    EndpointEvent::PeerUnavailable { error, .. } => format!("{number} closed: {error}{end}"),
                    other => format!("{other:?}"),
                }
            }
            [number, "end"] => format!("{number} end{}", self.end_of(number).await),
            [number @ ("peer" | "unavailable:" | "message"), ..] | [number, "peer", ..] => {
                match self.event().await {
                    EndpointEvent::PeerAdded(peer) => {
                        self.connection(number).established = true;
                        format!("{number} peer added: {}", letter(peer.id))
                    }
                    EndpointEvent::PeerLost { peer, .. } => {
                        format!("{number} peer lost: {}", letter(peer.id))
                    }
                    EndpointEvent::PeerRemoved { peer, reason } => {
                        format!("peer removed: {} ({reason})", letter(peer.id))
                    }
                    EndpointEvent::PeerUnavailable { error, .. } => format!("unavailable: {error}"),
                    EndpointEvent::Message(message) => {
                        let (topic, data) = (message.topic, message.data);
                        format!("message {} {topic} {data}", letter(message.peer))
                    }
                    other => format!("{other:?}"),
                }
            }
            ["refused:", ..] => match self.refused.take() {
                Some(error) => format!("refused: {error}"),
                None => "published".to_owned(),
            },
            ["counted:", ..] => {
                let counters = self.endpoint.handle().counters();
                format!(
                    "counted: rejected {}, ignored {}",
                    counters.get(Counted::Rejected),
                    counters.get(Counted::Ignored)
                )
            }
            [number, ..] => {
                self.unanswered = None;
                let connection = self.connection(number);
                let content = match connection.script.as_mut().expect("it is open").frame().await {
                    Ok(content) => content,
                    Err(error) => return format!("{number} {error}"),
                };
                let is_handshake = !connection.established && content.len() < 37
                    || content.first().is_some_and(|tag| (6..=12).contains(tag));
                let what = if is_handshake {
                    describe(&Message::decode(&content).expect("a message of the handshake"))
                } else {
                    let envelope = Envelope::decode(Bytes::from(content.clone())).expect("an envelope");
                    envelope.kind.name().to_owned()
                };
                let length = u32::try_from(content.len()).unwrap();
                let frame = [&length.to_be_bytes(), &*content].concat();
                format!("{number} {} ({what})", hex(&frame))
            }
            [] => panic!("an empty output"),
        }
    }

    /// Waits for the end of a connection; the bytes before it.
    async fn end_of(&mut self, number: &str) -> String {
        self.unanswered = None;
        let mut script = self.connection(number).script.take().expect("it is open");
        let rest = script.rest().await;
        if rest.is_empty() {
            String::new()
        } else {
            format!(", after {}", hex::encode(rest))
        }
    }
}
