//! What happens outside becomes the core's inputs, and its actions are carried out.

use broker_endpoint::{
    Credit, Recipients,
    websocket::{WebSocketEvent, WebSocketServer},
};
use mgmt_api::ClientRequest;
use mgmt_daemon::{
    daemon::{About, Cause, Outside, report},
    log::object,
    runtime::{HostError, at},
};
use tokio::time::Instant;
use tracing::field::display;

use super::{
    Daemon, Runtime,
    log::{log_loss, log_request},
    news::Line,
    publish::credit_of,
};
use crate::{
    core::{Action, Controller, Input, Level},
    error::RunError,
    store::Written,
    wire::{FromClient, FromPeer, Inbound},
};

pub(super) enum Event {
    Written(Written),
    NewsDue,
    Peer(FromPeer, Credit),
    Client(WebSocketEvent<FromClient>),
}

impl Outside for Runtime {
    type Machine = Controller;
    type Event = Event;
    type Error = RunError;

    /// Peers and clients are read in random order, so that none can shut the others out.
    async fn next(&mut self) -> Result<Event, RunError> {
        let said = async {
            tokio::select! {
                read = self.native.next(&mut self.wire) => {
                    let (read, credit) = read.ok_or(HostError::Stopped("the Broker endpoint"))?;
                    Ok(Event::Peer(read, credit))
                }
                event = next_event(self.server.as_mut()) => {
                    event.map(Event::Client).ok_or(HostError::Stopped("the WebSocket server"))
                }
            }
        };
        tokio::select! {
            biased;
            written = self.store.ended() => {
                Ok(Event::Written(written.ok_or(HostError::Stopped("the configuration store"))?))
            }
            () = at(self.node_news.due().map(Instant::from_std)) => Ok(Event::NewsDue),
            said = said => Ok(said?),
        }
    }

    async fn take(&mut self, daemon: &mut Daemon, event: Event) {
        let (inputs, credit) = match event {
            Event::Written(written) => (vec![persisted(written)], Credit::none()),
            Event::NewsDue => {
                return report_lines(self.node_news.overdue(Some(Instant::now().into_std())));
            }
            Event::Peer(read, credit) => (self.peer_message(daemon, read, &credit).await, credit),
            Event::Client(event) => self.client_event(event).await,
        };
        daemon.handle(self, inputs, &credit).await;
    }

    fn about(&mut self, input: &Input) -> About {
        match input {
            Input::Request { client, request } => About {
                reqid: Some(request.reqid().clone()),
                sender: Some((client.clone(), request.event_name().into())),
            },
            Input::Agent { peer, message, .. } => About {
                reqid: message.reqid().cloned(),
                sender: Some((self.native.peers.describe(*peer), message.event_name().into())),
            },
            Input::Persisted { write, .. } => About {
                reqid: self.writes.remove(write).flatten(),
                sender: None,
            },
            Input::Started { .. }
            | Input::PeerAdded { .. }
            | Input::PeerLost { .. }
            | Input::Tick
            | Input::Stopping => About::default(),
        }
    }

    async fn carry_out(&mut self, daemon: &mut Daemon, action: Action, cause: &Cause) -> Vec<Input> {
        match action {
            Action::Log { level, message } => {
                let shown = if level == Level::Info { Level::Debug } else { level };
                daemon.log(cause, cause.reqid.as_ref(), (level, shown), &message);
            }
            Action::Report { level, .. } if level == Level::Info && daemon.is_quiet() => {}
            Action::Report { level, message } => report(level, None, &message),
            Action::Persist {
                write,
                entries,
                dismissed,
            } => {
                self.writes.insert(write, cause.reqid.clone());
                if let Err(written) = self.store.write(write, entries, dismissed) {
                    return vec![persisted(written)];
                }
            }
            Action::Publish { topic, event, to } => {
                let credit = credit_of(daemon, &event, cause);
                return self.publish(daemon, topic, &event, to, &credit).await;
            }
            Action::Connect { host, port } => {
                let instance = daemon.machine().instance_at(host, port);
                self.native.connect(host, port, instance);
            }
            Action::Disconnect { host, port } => self.native.disconnect(host, port),
            Action::Close { peer, .. } => self.native.close(peer),
        }
        Vec::new()
    }

    /// What was asked to be stored is stored and answered, other requests fail, clients are told, logs are closed.
    async fn end(mut self, mut daemon: Daemon) -> Result<(), RunError> {
        while !self.writes.is_empty() {
            let written = daemon.unless_interrupted(self.store.ended()).await?;
            let written = written.ok_or(HostError::Stopped("the configuration store"))?;
            self.take(&mut daemon, Event::Written(written)).await;
        }
        daemon.handle(&mut self, [Input::Stopping], &Credit::none()).await;
        report_lines(self.node_news.overdue(None));
        let mut counters = self.counters;
        counters.peer_messages_refused = self.native.peers.refused();
        let (native, server) = (self.native, self.server);
        let clients_leave = async {
            if let Some(server) = server {
                tracing::debug!(json.websocket = object(&server.counters()), "WebSocket server");
                server.shutdown().await;
            }
        };
        daemon
            .unless_interrupted(async { tokio::join!(clients_leave, native.peers.leave()) })
            .await?;
        let log = daemon.close_log().await?;
        let (controller, journal) = daemon.finish().await?;
        tracing::info!(
            json.counters = object(&counters),
            json.agents = object(&controller.counters()),
            json.store = object(&self.store.counters()),
            json.log = object(&log),
            json.journal = journal.map(|journal| object(&journal)),
            "counted"
        );
        Ok(())
    }
}

impl Runtime {
    /// What a peer's message is for the core. Copies of it go to clients, answers of its translator to the peer.
    async fn peer_message(&mut self, daemon: &Daemon, read: FromPeer, credit: &Credit) -> Vec<Input> {
        let FromPeer { inbound, answers } = read;
        for answer in answers {
            self.send(&answer, credit).await;
        }
        let mut inputs = Vec::with_capacity(inbound.len());
        for Inbound { input, copy } in inbound {
            match &input {
                Input::Request { client, request } => self.count_request(client, request),
                Input::PeerLost { peer, reason } => log_loss(daemon.machine(), *peer, reason),
                Input::Agent { peer, message, .. } => {
                    self.counters.agent_messages += 1;
                    let reqid = message.reqid().map(display);
                    tracing::debug!(reqid, event = message.event_name(), %peer, "agent");
                }
                _ => {}
            }
            if let Some(copy) = copy {
                self.publish_to_clients(Recipients::all(), copy, credit).await;
            }
            inputs.push(input);
        }
        inputs
    }

    async fn client_event(&mut self, event: WebSocketEvent<FromClient>) -> (Vec<Input>, Credit) {
        let mut inputs = Vec::new();
        let mut credit = Credit::none();
        match event {
            WebSocketEvent::Connected(info) => {
                let application = info
                    .application_name
                    .map(|name| format!(", {name}"))
                    .unwrap_or_default();
                let description = format!("WebSocket client {} at {}{application}", info.client, info.peer);
                self.wire.client_connected(info.client.number(), description);
            }
            WebSocketEvent::Message {
                client,
                message,
                credit: of_client,
            } => {
                credit = of_client;
                let FromClient { requests, answers } = message;
                for answer in answers {
                    self.publish_to_clients(Recipients::one(client.number()), answer, &credit)
                        .await;
                }
                let client = self.wire.client(client.number());
                for request in requests {
                    self.count_request(&client, &request);
                    let client = client.clone();
                    inputs.push(Input::Request { client, request });
                }
            }
            WebSocketEvent::Disconnected { client, .. } => {
                self.wire.client_gone(client.number());
            }
            _ => {}
        }
        (inputs, credit)
    }

    fn count_request(&mut self, client: &str, request: &ClientRequest) {
        self.counters.requests += 1;
        log_request(client, request);
    }
}

pub(super) fn report_lines(lines: Vec<Line>) {
    for Line { level, text } in lines {
        report(level, None, &text);
    }
}

fn persisted(Written { write, outcome }: Written) -> Input {
    Input::Persisted { write, outcome }
}

async fn next_event<T: Send + 'static>(server: Option<&mut WebSocketServer<T>>) -> Option<WebSocketEvent<T>> {
    match server {
        Some(server) => server.recv().await,
        None => std::future::pending().await,
    }
}
