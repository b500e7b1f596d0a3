//! A server with an owner that answers.

use std::{net::SocketAddr, time::Duration};

use broker_codec::{Recipients, json::DataMessage, websocket::RejectionCode, zeek::Event};
use broker_endpoint::websocket::{
    CloseCause, Counted, Publisher, Rejection, WebSocketConfig, WebSocketEvent, WebSocketServer,
};
use counters::Counters;
use tokio::{sync::oneshot, task::JoinHandle};

pub(crate) const TOPIC: &str = "zeek/management/controller";

/// The defaults, except that clients have all the time they need, however busy the machine: they need not answer pings.
pub(crate) fn config() -> WebSocketConfig {
    let mut config = WebSocketConfig::new(
        ([127, 0, 0, 1], 0).into(),
        "3cfb104e-6fbd-5065-a31c-be18be4b79e0",
        "9.0.0-rc1",
    );
    config.ping_interval = Some(Duration::from_secs(3600));
    config.handshake_timeout = Duration::from_secs(60);
    config.close_timeout = Duration::from_secs(60);
    config
}

/// Publishes an event to all clients that subscribed to [`TOPIC`].
pub(crate) async fn publish(publisher: &Publisher, event: &Event) {
    let (topic, data) = (TOPIC.into(), event.to_data());
    publisher
        .publish(Recipients::all(), DataMessage { topic, data })
        .await;
}

/// A server that admits every event, but panics at one called `panic` and refuses one called `refused`.
pub(crate) async fn bind(config: WebSocketConfig) -> WebSocketServer<Event> {
    WebSocketServer::bind(config, |_client| admit).await.unwrap()
}

fn admit(message: DataMessage) -> Result<Event, Rejection> {
    let event = Event::from_data(message.data).map_err(|error| Rejection::no_event(&error))?;
    assert!(event.name != "panic", "an admit function that panics");
    if event.name == "refused" {
        return Err(Rejection::no_event(&format_args!(
            "unknown event \"{}\"",
            event.name
        )));
    }
    Ok(event)
}

/// A server whose owner answers each event `ask` by an event `answer` with the same arguments.
pub(crate) struct Answering {
    pub(crate) addr: SocketAddr,
    pub(crate) counters: Counters<Counted>,
    pub(crate) closes: Counters<CloseCause>,
    pub(crate) errors: Counters<RejectionCode>,
    end: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<()>,
}

impl Answering {
    pub(crate) async fn start(config: WebSocketConfig) -> Self {
        let mut server = bind(config).await;
        let (end, mut ended) = oneshot::channel();
        let (counters, closes, errors) = (server.counters(), server.closes(), server.errors());
        let addr = server.local_addr();
        let answers = server.publisher();
        let task = tokio::spawn(async move {
            loop {
                tokio::select! {
                    event = server.recv() => {
                        if let Some(WebSocketEvent::Message { message, .. }) = event
                            && message.name == "ask"
                        {
                            let answer = Event { name: "answer".into(), ..message };
                            publish(&answers, &answer).await;
                        }
                    }
                    _ = &mut ended => break,
                }
            }
            server.shutdown().await;
        });
        Self {
            addr,
            counters,
            closes,
            errors,
            end,
            task,
        }
    }

    pub(crate) async fn shutdown(self) {
        self.end.send(()).unwrap();
        self.task.await.unwrap();
    }
}

/// The text of an event with one argument, as zeek-client writes it.
pub(crate) fn event(name: &str, argument: &str) -> String {
    format!(
        r#"{{"@data-type": "vector", "data": [{{"@data-type": "count", "data": 1}}, {{"@data-type": "count", "data": 1}}, {{"@data-type": "vector", "data": [{{"@data-type": "string", "data": "{name}"}}, {{"@data-type": "vector", "data": [{{"@data-type": "string", "data": "{argument}"}}]}}]}}], "topic": "{TOPIC}", "type": "data-message"}}"#
    )
}

/// The same as a server of Zeek writes it.
pub(crate) fn delivered(name: &str, argument: &str) -> String {
    format!(
        r#"{{"type":"data-message","topic":"{TOPIC}","@data-type":"vector","data":[{{"@data-type":"count","data":1}},{{"@data-type":"count","data":1}},{{"@data-type":"vector","data":[{{"@data-type":"string","data":"{name}"}},{{"@data-type":"vector","data":[{{"@data-type":"string","data":"{argument}"}}]}}]}}]}}"#
    )
}
