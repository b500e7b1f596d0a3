//! What happens outside becomes the core's inputs, and its actions are carried out.

use broker_codec::{EndpointId, Recipients};
use broker_endpoint::{
    Credit, at,
    tls::RenewTls,
    websocket::{WebSocketEvent, WebSocketServer},
};
use mgmt_api::{ClientRequest, RequestKind, log::some_of};
use mgmt_daemon::{
    certificates::Certificates,
    daemon::{About, Cause, Outside, report},
    error::HostError,
    http::Asked,
    renewing::Renewing,
};
use tokio::time::Instant;
use tracing::field::display;

use super::{
    Daemon, Runtime,
    log::{line, log_loss, log_request},
    news::Line,
    of_client,
};
use crate::{
    Counted,
    core::{Action, Audience, Controller, Input, Level},
    error::RunError,
    request::Request,
    store::{Done, Written},
    wire::{FromClient, FromPeer, Inbound},
};

pub(super) enum Event {
    Stored(Done),
    NewsDue,
    Peer(FromPeer, Credit),
    Client(WebSocketEvent<FromClient>),
    Operator(Asked<Request>),
    /// The controller's own certificate is renewed, or cannot be.
    Renewed,
}

impl Outside for Runtime {
    type Machine = Controller;
    type Event = Event;
    type Error = RunError;

    fn renewals(&self) -> Vec<RenewTls> {
        let server = self.server.as_ref().and_then(WebSocketServer::renewal);
        self.broker
            .peers
            .handle
            .renewal()
            .into_iter()
            .chain(server)
            .chain(self.operators.renewal())
            .collect()
    }

    fn warnings(&self) -> Vec<String> {
        let ending = self.certificates.ending(self.renewing.as_ref());
        self.troubles().chain(ending).collect()
    }

    fn reloaded(&mut self, certificates: Certificates) {
        self.certificates = certificates;
        if let Some(server) = &self.server {
            server.reassess();
        }
        for peer in self.broker.peers.reassess() {
            self.wire.peer_lost(peer);
        }
    }

    /// Peers and clients are read in random order, so that none can shut the others out.
    async fn next(&mut self) -> Result<Event, RunError> {
        let said = async {
            tokio::select! {
                read = self.broker.next(&mut self.wire) => {
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
            done = self.store.ended() => {
                Ok(Event::Stored(done.ok_or(HostError::Stopped("the configuration store"))?))
            }
            () = at(self.node_news.due().map(Instant::from_std)) => Ok(Event::NewsDue),
            () = Renewing::changed(self.renewing.as_mut()) => Ok(Event::Renewed),
            asked = self.operators.next() => Ok(Event::Operator(asked)),
            said = said => Ok(said?),
        }
    }

    async fn take(&mut self, daemon: &mut Daemon, event: Event) {
        let (input, credit) = match event {
            Event::Stored(done) => (Some(self.stored(done)), Credit::none()),
            Event::NewsDue => {
                return report_lines(self.node_news.overdue(Some(Instant::now().into_std())));
            }
            Event::Peer(read, credit) => {
                let input = self.peer_message(daemon, read, &credit).await;
                (input, credit)
            }
            Event::Client(event) => self.client_event(event).await,
            Event::Operator(asked) => (Some(self.asked(daemon, asked)), Credit::none()),
            Event::Renewed => {
                self.certificates.renewed(self.renewing.as_ref());
                (None, Credit::none())
            }
        };
        if let Some(Input::PeerLost { peer, .. }) = input {
            daemon.forget_waiting(|action| is_for(action, peer));
        }
        let asked = input.as_ref();
        let asked = asked.and_then(|input| self.audited.comes(daemon.machine(), input));
        daemon.handle(self, input, &credit).await;
        self.audited.is_taken(daemon.machine(), asked);
    }

    fn about(&mut self, input: &Input) -> About {
        match input {
            Input::Request { principal, request } => About {
                reqid: Some(request.reqid().clone()),
                sender: Some((principal.to_string(), request.event_name().into())),
            },
            Input::SetConfiguration { principal, reqid, .. } => About {
                reqid: Some(reqid.clone()),
                sender: Some((principal.to_string(), "set_configuration".into())),
            },
            Input::Agent { peer, message, .. } => About {
                reqid: message.reqid().cloned(),
                sender: Some((self.broker.peers.describe(*peer), message.event_name().into())),
            },
            Input::Link { peer, message } => About {
                reqid: message.reqid().cloned(),
                sender: Some((self.broker.peers.describe(*peer), message.event_name().into())),
            },
            Input::Persisted { write, .. } => About {
                reqid: self.writes.remove(write).flatten(),
                sender: None,
            },
            Input::Operator { principal, .. } => About {
                reqid: None,
                sender: Some((principal.to_string(), "request of an operator".into())),
            },
            Input::Started { .. }
            | Input::Recalled { .. }
            | Input::PeerAdded { .. }
            | Input::PeerLost { .. }
            | Input::Clusters { .. }
            | Input::Vitals { .. }
            | Input::Host(_)
            | Input::Tick
            | Input::Stopping => About::default(),
        }
    }

    /// What goes to peers: each agent of a cluster may be sent something.
    fn takes_turns(&self, action: &Action) -> bool {
        matches!(
            action,
            Action::Publish {
                to: Audience::Peer(_),
                ..
            } | Action::Connect { .. }
                | Action::Disconnect { .. }
                | Action::Close { .. }
        )
    }

    async fn carry_out(&mut self, daemon: &mut Daemon, action: Action, cause: &Cause) -> Vec<Input> {
        if let Action::Report(event) | Action::Event(event) = &action {
            self.audited.happens(daemon.machine(), event);
        }
        match action {
            Action::Log { level, message } => {
                let shown = if level == Level::Info { Level::Debug } else { level };
                daemon.log(cause, cause.reqid.as_ref(), (level, shown), &message);
            }
            Action::Report(event) | Action::Event(event)
                if event.level == Level::Info && daemon.is_quiet() => {}
            Action::Report(event) => {
                report(event.level, None, &line(&event));
                self.feed.push(*event);
            }
            Action::Event(event) => self.feed.push(*event),
            Action::Persist { write, changes } => {
                self.writes.insert(write, cause.reqid.clone());
                if let Err(written) = self.store.write(write, changes) {
                    return vec![self.persisted(written)];
                }
            }
            Action::Recall {
                recall,
                cluster,
                number,
            } => {
                if let Err(error) = self.store.recall(recall, cluster, number) {
                    return vec![self.stored(Done::Recalled(recall, Err(error)))];
                }
            }
            Action::Answer { id, outcome } => {
                let told = outcome.as_ref().ok();
                self.operators
                    .note(id, |what| self.audited.complete(id, told, what));
                self.operators.answer(id, outcome);
            }
            Action::Vitals { id, vitals } => self.examined(daemon, id, *vitals),
            Action::Publish { topic, event, to } => {
                self.publish(daemon, topic, &event, to, cause).await;
            }
            Action::Connect { host, port } => {
                let instance = daemon.machine().instance_at(host, port);
                self.broker.connect(host, port, instance);
            }
            Action::Disconnect { host, port } => self.broker.disconnect(host, port),
            Action::Close { peer, .. } => self.broker.close(peer),
        }
        Vec::new()
    }

    /// What was asked to be stored is stored and answered, other requests fail, clients are told, logs are closed.
    async fn end(mut self, daemon: &mut Daemon) -> Result<(), RunError> {
        while !self.writes.is_empty() {
            let done = daemon.unless_interrupted(self.store.ended()).await?;
            let done = done.ok_or(HostError::Stopped("the configuration store"))?;
            self.take(daemon, Event::Stored(done)).await;
        }
        daemon.handle(&mut self, [Input::Stopping], &Credit::none()).await;
        daemon.carry_out_all(&mut self).await;
        report_lines(self.node_news.overdue(None));
        let (broker, server) = (self.broker, self.server);
        let clients_leave = async {
            if let Some(server) = server {
                server.shutdown().await;
            }
        };
        daemon
            .unless_interrupted(async { tokio::join!(clients_leave, broker.peers.leave()) })
            .await?;
        Ok(daemon.close_log().await?)
    }
}

/// Whether an action is for this peer alone.
fn is_for(action: &Action, peer: EndpointId) -> bool {
    match action {
        Action::Publish {
            to: Audience::Peer(to),
            ..
        }
        | Action::Close { peer: to, .. } => *to == peer,
        _ => false,
    }
}

impl Runtime {
    /// What a peer's message is for the core. Copies of it go to clients, answers of its translator to the peer.
    async fn peer_message(&mut self, daemon: &Daemon, read: FromPeer, credit: &Credit) -> Option<Input> {
        let FromPeer { inbound, answers } = read;
        for answer in answers {
            self.send(answer, credit).await;
        }
        let Inbound { input, copy } = inbound?;
        match &input {
            Input::PeerLost { peer, reason } => log_loss(daemon.machine(), *peer, reason),
            Input::Agent { peer, message, .. } => {
                self.counters.increment(Counted::AgentMessages);
                let reqid = message.reqid().map(display);
                tracing::debug!(reqid, event = message.event_name(), %peer, "agent");
            }
            _ => self.count_request(&input),
        }
        if let Some(copy) = copy {
            self.publish_to_clients(Recipients::all(), copy, credit).await;
        }
        Some(input)
    }

    async fn client_event(&mut self, event: WebSocketEvent<FromClient>) -> (Option<Input>, Credit) {
        match event {
            WebSocketEvent::Connected(info) => {
                let principal = of_client(&info, &self.grants);
                self.wire.client_connected(info.client.number(), principal);
            }
            WebSocketEvent::Message {
                client,
                message,
                credit,
            } => {
                let number = client.number();
                self.wire.client_heard(number, &message);
                let FromClient { input, answers, .. } = message;
                for answer in answers {
                    self.answer_client(number, answer, &credit).await;
                }
                if let Some(input) = &input {
                    self.count_request(input);
                }
                return (input, credit);
            }
            WebSocketEvent::Disconnected { client, .. } => self.wire.client_gone(client.number()),
            _ => {}
        }
        (None, Credit::none())
    }

    fn stored(&mut self, done: Done) -> Input {
        match done {
            Done::Written(written) => self.persisted(written),
            Done::Recalled(recall, outcome) => Input::Recalled { recall, outcome },
        }
    }

    fn persisted(&mut self, Written { write, outcome }: Written) -> Input {
        self.store_trouble = outcome.as_ref().err().cloned();
        self.counters.increment(match outcome {
            Ok(()) => Counted::StoreWritten,
            Err(_) => Counted::StoreFailed,
        });
        Input::Persisted { write, outcome }
    }

    fn count_request(&mut self, input: &Input) {
        let (principal, kind, reqid) = match input {
            Input::Request { principal, request } => (principal, request.kind(), request.reqid()),
            Input::SetConfiguration { principal, reqid, .. } => {
                (principal, RequestKind::StageConfiguration, reqid)
            }
            _ => return,
        };
        self.counters.increment(Counted::Requests);
        let nodes = match input {
            Input::Request {
                request: ClientRequest::Restart { nodes, .. },
                ..
            } if !nodes.is_empty() => some_of(nodes.iter()),
            _ => String::new(),
        };
        log_request(principal, kind, &nodes, reqid);
    }
}

pub(super) fn report_lines(lines: Vec<Line>) {
    for Line { level, text } in lines {
        report(level, None, &text);
    }
}

async fn next_event<T: Send + 'static>(server: Option<&mut WebSocketServer<T>>) -> Option<WebSocketEvent<T>> {
    match server {
        Some(server) => server.recv().await,
        None => std::future::pending().await,
    }
}
