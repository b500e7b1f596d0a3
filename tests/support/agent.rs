//! A stand-in for an agent: speaks the agents' API, in any of its dialects, over a real Broker endpoint, and claims that all goes
//! well, unless it is told to behave otherwise.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use broker_codec::{Topic, data::ZeekString, zeek::Event};
use broker_endpoint::{Endpoint, EndpointEvent, EndpointHandle, tls::TlsConfig};
use mgmt_api::{
    AgentMessage, AgentRequest, Dialect, Translator,
    dialect::{self, Published, Side, Topics, Translation},
    topics,
};
use testkit::FakeAgent;
use tokio::task::JoinHandle;

use super::{controller::Controller, limit::Limit, peer::Peer, runtime, session::Session};

/// Between attempts to reach the controller; short, because tests wait for it.
const RETRY: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// The agent, to a controller at this address.
    Connect(SocketAddr),
    /// The controller.
    Listen,
}

/// What an agent says when it is asked something, given what an honest one would answer.
pub(crate) type Manners = Box<dyn FnMut(&AgentRequest, AgentMessage) -> Vec<AgentMessage> + Send>;

pub(crate) fn honest() -> Manners {
    Box::new(|_, answer| vec![answer])
}

#[derive(Debug)]
pub(crate) struct StandIn {
    address: Option<SocketAddr>,
    asked: mpsc::Receiver<AgentRequest>,
    voice: Voice,
    task: JoinHandle<()>,
}

impl StandIn {
    /// Starts an honest agent of this name.
    pub(crate) fn start(name: &str, tls: &TlsConfig, way: Way) -> Self {
        Self::start_as(name, tls, way, (honest(), Dialect::V7_0))
    }

    /// Starts an honest agent that connects to a controller, and waits until that one knows it.
    pub(crate) fn known_to(controller: &mut Controller, name: &str, tls: &TlsConfig) -> (Self, Session) {
        let agent = Self::start(name, tls, Way::Connect(controller.broker()));
        let mut session = Session::open(controller.websocket());
        while session.instances().is_empty() {}
        (agent, session)
    }

    /// Starts an agent of this name that answers as it likes, in this dialect.
    pub(crate) fn start_as(
        name: &str,
        tls: &TlsConfig,
        way: Way,
        (manners, dialect): (Manners, Dialect),
    ) -> Self {
        let prefix = if dialect.is_cluster_controller() {
            topics::CLUSTER_AGENT_PREFIX
        } else {
            topics::AGENT_PREFIX
        };
        let topic = topics::agent(prefix.as_bytes(), name.as_bytes());
        let topic = Topic::new(&topic).expect("short enough");
        let (tell, asked) = mpsc::channel();
        let peer = Peer::start(tls.clone(), topic.as_str().expect("text"));
        let handle = peer.endpoint.handle();
        let address = match way {
            Way::Connect(controller) => {
                peer.dial(controller, Some(RETRY));
                None
            }
            Way::Listen => {
                let listening = runtime().block_on(handle.listen("127.0.0.1", 0));
                Some(listening.expect("a port is free")[0])
            }
        };
        let voice = Voice {
            topic,
            model_topic: topics::agent(topics::AGENT_PREFIX.as_bytes(), name.as_bytes()),
            handle,
            dialect,
            translator: Arc::new(Mutex::new(translator(dialect))),
        };
        let agent = Agent {
            name: name.into(),
            connecting: address.is_none(),
            voice: voice.clone(),
            manners,
            // What Zeek's nodes send: a string that holds JSON.
            fake: FakeAgent::new(name.into(), "96".into()),
            tell,
        };
        Self {
            address,
            asked,
            voice,
            task: runtime().spawn(agent.run(peer.endpoint)),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("an agent that listens")
    }

    /// Waits until the controller asks for something like this. Other requests before it are passed over.
    pub(crate) fn asked<T>(&self, pick: impl Fn(AgentRequest) -> Option<T>) -> T {
        let limit = Limit::new("a request of the controller");
        loop {
            let request = self
                .asked
                .recv_timeout(limit.left())
                .expect("the controller asks for it in time");
            if let Some(picked) = pick(request) {
                return picked;
            }
        }
    }

    /// Says something unasked, to a controller that is connected.
    pub(crate) fn say(&self, message: &AgentMessage) {
        runtime().block_on(self.voice.say(message));
    }
}

impl Drop for StandIn {
    /// Ends it without a goodbye.
    fn drop(&mut self) {
        self.task.abort();
        // Its end is not waited for in vain: aborted, or panicked before, which `asked` has noticed.
        let _ = runtime().block_on(&mut self.task);
    }
}

/// Speaks on an agent's topic, in the agent's dialect.
#[derive(Clone, Debug)]
struct Voice {
    topic: Topic,
    model_topic: ZeekString,
    handle: EndpointHandle,
    dialect: Dialect,
    translator: Arc<Mutex<Translator>>,
}

/// What serves controllers of a dialect is, to its controller, an agent of that dialect.
fn translator(spoken: Dialect) -> Translator {
    let peer = dialect::Peer {
        id: ZeekString::default(),
        dialled: false,
        host: "127.0.0.1".parse().expect("an address"),
    };
    Translator::new(Side::Agent, peer, Topics::default(), spoken)
}

impl Voice {
    async fn say(&self, message: &AgentMessage) {
        let event = Event::of(message).expect("it can be encoded");
        let translation = self
            .translator
            .lock()
            .expect("no panic")
            .outgoing(&self.model_topic, &event);
        self.publish(translation.expect("it can be translated").to_peer)
            .await;
    }

    /// The requests that an event stands for.
    fn hear(&self, event: Event) -> Vec<AgentRequest> {
        // It knows no other.
        if self.dialect == Dialect::V4_1 && !event.name.ends_with(b"::set_configuration_request") {
            return Vec::new();
        }
        let mut translator = self.translator.lock().expect("no panic");
        let translation = translator.incoming(self.topic.as_ref(), event);
        let Translation { to_model, to_peer } = translation.expect("a request in its dialect");
        assert_eq!(to_peer, []);
        let heard = translator.dialect();
        if self.dialect == Dialect::V5_0 {
            // It takes newer records for its own, and goes on sending those.
            *translator = self::translator(self.dialect);
        } else {
            assert_eq!(heard, self.dialect, "spoken to in its dialect");
        }
        let requests = to_model.into_iter();
        requests
            .map(|Published { event, .. }| event.parse().expect("a request to an agent"))
            .collect()
    }

    async fn settle(&self) {
        let owed = self.translator.lock().expect("no panic").settle();
        self.publish(owed.expect("it can be translated")).await;
    }

    /// Unlike ours, an agent of Zeek has one topic only.
    async fn publish(&self, said: Vec<Published>) {
        for Published { topic, event } in said {
            if topic.as_bytes() == self.topic.as_bytes() {
                let data = event.into_data();
                let published = self.handle.publish(self.topic.clone(), &data).await;
                published.expect("the endpoint lives");
            }
        }
    }
}

struct Agent {
    name: ZeekString,
    connecting: bool,
    voice: Voice,
    manners: Manners,
    fake: FakeAgent,
    tell: mpsc::Sender<AgentRequest>,
}

impl Agent {
    async fn run(mut self, mut endpoint: Endpoint) {
        while let Some(event) = endpoint.recv().await {
            match event {
                EndpointEvent::PeerAdded(_) => {
                    let hello = FakeAgent::hello(&self.name, endpoint.id(), self.connecting);
                    self.voice.say(&hello).await;
                }
                EndpointEvent::Message(message) => {
                    assert_eq!(message.topic, self.voice.topic, "sent to this agent");
                    let event = Event::from_data(message.data).expect("an event");
                    assert_eq!(event.metadata, Some(Vec::new()), "as Zeek 9.0 sends it");
                    for request in self.voice.hear(event) {
                        let honest = self.fake.answer(&request);
                        let answers = (self.manners)(&request, honest);
                        // The test may have heard enough.
                        let _ = self.tell.send(request);
                        for answer in &answers {
                            self.voice.say(answer).await;
                        }
                    }
                    self.voice.settle().await;
                }
                _ => {}
            }
        }
    }
}
