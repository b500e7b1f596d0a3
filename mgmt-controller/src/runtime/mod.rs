//! One task owns the core: what happens comes in, what is to be done goes out, in order.
//!
//! ```text
//!  signals ----------+
//!  store thread -----+--> Input --> core::Controller --> Action --+--> management log thread
//!  deadline ---------+                                            +--> store thread
//!  native peers -----+                                            +--> native peers
//!  WebSocket clients +                                            +--> WebSocket clients
//! ```
//!
//! The task never waits for a disk or for a client: the store, the management log and standard error have threads of
//! their own behind bounded queues, and publishing waits for nobody (see `broker_endpoint::websocket::Publisher` and
//! `broker_endpoint::EndpointHandle`). What comes first in the picture is also looked at first, so that no flood of requests
//! delays a time-out; native peers and WebSocket clients take turns.
//!
//! A sender has credit ([`Credit`]): a request keeps some until it is answered and the answer is with those who listen, everything else until
//! the core has taken it. So nobody is read faster than it is answered, and no queue fills because of one sender.
//!
//! WebSocket clients see what is published on the topics that they have subscribed to: by the controller, by other clients,
//! and by native peers as far as it belongs there. What they subscribe to and what they publish stays in this process.

mod log;
mod native;
mod news;
mod ready;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use broker_codec::{
    EndpointId,
    data::{Port, ZeekString},
    json::DataMessage,
};
use broker_endpoint::{
    Among, Credit, EndpointError,
    websocket::{ClientInfo, Publisher, WebSocketConfig, WebSocketEvent, WebSocketServer},
};
use jiff::Timestamp;
use mgmt_api::{ClientRequest, Level, Now, RequestKind, WallClock};
use mgmt_daemon::{
    files,
    journal::{Journal, Seed},
    log::{Limiter, object},
    management_log::ManagementLog,
    process::{self, with_causes},
    runtime::{Asked, HostError, Signals, at, block_on, enter, instant, random_bytes, system, warn_of_dates},
};
use serde::Serialize;
use tokio::time::Instant;
use tracing::field::display;

use crate::{
    config::{Config, Listener},
    core::{self, Action, Audience, Controller, Input, Outgoing, WriteId},
    journal::Header,
    store::{Store, StoreError, StoreThread, Written},
    wire::{Deliveries, FromClient, FromPeer, Heard, Publication, ToNative, Wire, readable},
};

pub use self::ready::READY_VERSION;
use self::{
    log::{report, report_to_operator, tell_answer, tell_request},
    native::Native,
    news::{Line, NodeNews},
    ready::Ready,
};

/// The controller cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The configuration store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host stands in the way.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Agents and native clients cannot be served where the configuration says.
    #[error(
        "cannot serve agents over Broker; --listen needs an address, an interface or a host name of this machine"
    )]
    BrokerListener(#[source] EndpointError),
    /// Agents and native clients cannot be served.
    #[error(
        "cannot serve agents over Broker; end the process that has the port, or choose another by --listen"
    )]
    Broker(#[source] EndpointError),
    /// TLS of agents and native clients is not configured as it should be.
    #[error("cannot serve agents over Broker with the Broker::ssl_ settings")]
    BrokerTls(#[source] EndpointError),
    /// Clients cannot be served.
    #[error(
        "cannot serve WebSocket clients; end the process that has the port, or choose another by --websocket-listen"
    )]
    WebSocket(#[source] EndpointError),
    /// TLS of clients is not configured as it should be.
    #[error("cannot serve WebSocket clients with Management::Controller::tls_options_websocket")]
    WebSocketTls(#[source] EndpointError),
}

/// Runs the controller until a signal ends it.
pub fn run(config: Config) -> Result<(), RunError> {
    block_on(async { Runtime::start(config).await?.run().await })
}

/// The task's state.
struct Runtime {
    config: Config,
    controller: Controller,
    started: Instant,
    journal: Option<Journal<Input>>,
    wire: Wire,
    native: Native,
    server: Option<WebSocketServer<FromClient>>,
    publisher: Option<Publisher>,
    store: StoreThread,
    /// The writes under way, each with the request that it belongs to.
    writes: BTreeMap<WriteId, Option<ZeekString>>,
    /// The requests that are not answered yet, with the credit that their senders get back when they are.
    unanswered: BTreeMap<(RequestKind, ZeekString), Credit>,
    log: ManagementLog,
    limiter: Limiter,
    node_news: NodeNews,
    /// What an input causes is not logged: its sender causes too much.
    quiet: bool,
    signals: Signals,
    counters: Counters,
}

/// What the runtime has seen since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Counters {
    requests: u64,
    responses: u64,
    agent_requests: u64,
    agent_messages: u64,
    /// Messages of native peers that are none of the API's on the topic they came on.
    peer_messages_refused: u64,
    /// Events that could not be encoded or sent.
    encode_failures: u64,
}

impl Runtime {
    async fn start(config: Config) -> Result<Self, RunError> {
        let started = Instant::now();
        let signals = Signals::new()?;
        process::raise_file_limit();
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        if let Some(path) = &config.ready_file {
            mgmt_daemon::ready::remove(path)?;
        }
        let (store, restored) = Store::open(&config.store_dir)?;
        report(&store, &restored);
        enter(&config.working_dir)?;
        let store_file = store.path();
        files::warn_of_open(
            [&*config.working_dir, &*config.store_dir, store_file]
                .into_iter()
                .chain(config.keys()),
        );

        let endpoint_id = random_bytes().map(EndpointId::from_random)?;
        let wire = Wire::new(config.settings.clone(), config.assumed);
        let native = Native::start(&config, endpoint_id, &wire)
            .await
            .map_err(|error| {
                if error.is_about_tls() {
                    RunError::BrokerTls(error)
                } else if error.is_about_the_host() {
                    RunError::BrokerListener(error)
                } else {
                    RunError::Broker(error)
                }
            })?;
        let server = serve_clients(&config, endpoint_id, &wire).await?;
        config.all_tls().for_each(warn_of_dates);
        let store = StoreThread::start(store).map_err(|source| system("start the store's thread", source))?;
        let log = ManagementLog::start(
            &config.working_dir,
            &config.name,
            "CONTROLLER",
            &config.management_log,
        )
        .map_err(|source| system("start the management log's thread", source))?;
        let seed = random_bytes().map(Seed::new)?;
        let ids = Box::new(seed.ids());
        let mut settings = config.settings.clone();
        // Also if the system chose it.
        settings.broker_port = native
            .local_addrs()
            .first()
            .map(|address| Port::tcp(address.port()));
        let journal = match &config.journal {
            None => None,
            Some(path) => {
                let header = Header::new(settings.clone(), restored.configurations.clone(), seed);
                let journal = Journal::create(path, &header).map_err(|source| HostError::Journal {
                    path: path.clone(),
                    source,
                })?;
                tracing::info!(path = %path.display(), "recording a journal");
                Some(journal)
            }
        };
        let controller = Controller::new(settings, restored.configurations, ids);
        let mut runtime = Self {
            controller,
            started,
            journal,
            wire,
            native,
            publisher: server.as_ref().map(WebSocketServer::publisher),
            server,
            store,
            writes: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            log,
            limiter: Limiter::default(),
            node_news: NodeNews::default(),
            quiet: false,
            signals,
            counters: Counters::default(),
            config,
        };
        runtime.announce(endpoint_id).await?;
        Ok(runtime)
    }

    /// Tells the core, the log and whoever waits for it that clients can come.
    async fn announce(&mut self, endpoint_id: EndpointId) -> Result<(), RunError> {
        let websocket: Vec<SocketAddr> = self
            .server
            .as_ref()
            .map(|server| server.local_addrs().to_vec())
            .unwrap_or_default();
        let broker = self.native.local_addrs().to_vec();
        let (name, dir) = (&self.config.name, self.config.working_dir.display());
        let (for_clients, for_peers) = (websocket.first().map(display), broker.first().map(display));
        let (broker_tls, websocket_tls) = (&self.config.broker_tls, &self.config.websocket_tls);
        tracing::info!(
            name,
            websocket = for_clients,
            websocket_tls = websocket_tls.name(),
            websocket_asks_for_certificates = websocket_tls.asks_for_certificates(),
            broker = for_peers,
            broker_tls = broker_tls.name(),
            broker_asks_for_certificates = broker_tls.asks_for_certificates(),
            broker_id = %endpoint_id,
            %dir,
            "ready"
        );
        if websocket.is_empty() && broker.is_empty() {
            tracing::warn!(
                "neither agents nor clients can connect, as --listen and --websocket-listen are off"
            );
        }
        let listener = |address: String, bound: &SocketAddr| core::Listener {
            address,
            port: Port::tcp(bound.port()),
        };
        let broker_listener = match &self.config.broker {
            Listener::Off => None,
            Listener::At(configured) => broker
                .first()
                .map(|bound| listener(configured.host.clone(), bound)),
        };
        let started = Input::Started {
            broker_id: endpoint_id.to_string(),
            broker: broker_listener,
            websocket: websocket
                .first()
                .map(|bound| listener(bound.ip().to_string(), bound)),
            wall_clock: WallClock::from_unix(u64::try_from(Timestamp::now().as_second()).unwrap_or_default()),
        };
        self.handle(started).await;
        if let Some(path) = &self.config.ready_file {
            let ready = Ready {
                version: READY_VERSION,
                pid: std::process::id(),
                name: &self.config.name,
                websocket: &websocket,
                broker: &broker,
                dir: &self.config.working_dir,
            };
            mgmt_daemon::ready::write(path, &ready)?;
        }
        Ok(())
    }

    async fn run(mut self) -> Result<(), RunError> {
        loop {
            let deadline = self
                .controller
                .deadline()
                .and_then(|deadline| instant(self.started, deadline));
            let input = tokio::select! {
                biased;
                asked = self.signals.recv() => match asked {
                    Asked::End(name) => {
                        tracing::info!(signal = name, "ending");
                        return self.end().await;
                    }
                    Asked::Reopen => {
                        self.log.reopen();
                        continue;
                    }
                },
                written = self.store.ended() => {
                    persisted(written.ok_or(HostError::Stopped("the configuration store"))?)
                }
                () = at(deadline) => Input::Tick,
                () = at(self.limiter.due().map(Instant::from_std)) => {
                    let sums = self.limiter.sum_up(Instant::now().into_std());
                    self.log_sums(sums);
                    continue;
                }
                () = at(self.node_news.due().map(Instant::from_std)) => {
                    tell(self.node_news.overdue(Some(Instant::now().into_std())));
                    continue;
                }
                said = said(&mut self.native, &mut self.wire, self.server.as_mut()) => {
                    let (inputs, credit) = self.hear(said?).await;
                    self.handle_all(inputs, &credit).await;
                    continue;
                }
            };
            self.handle(input).await;
        }
    }

    /// The graceful end: what was asked to be stored is stored and answered, clients are told, logs are closed.
    async fn end(mut self) -> Result<(), RunError> {
        self.finish_writes().await?;
        tell(self.node_news.overdue(None));
        let sums = self.limiter.finish();
        self.log_sums(sums);
        let Self {
            config,
            native,
            server,
            log,
            mut signals,
            mut counters,
            store,
            controller,
            journal,
            ..
        } = self;
        counters.peer_messages_refused = native.refused();
        let clients_leave = async {
            if let Some(server) = server {
                tracing::debug!(json.websocket = object(&server.counters()), "WebSocket server");
                server.shutdown().await;
            }
        };
        tokio::select! {
            _ = async { tokio::join!(clients_leave, native.leave()) } => {}
            _ = signals.end() => return Err(HostError::Impatient.into()),
        }
        let store = store.counters();
        let finished = tokio::task::spawn_blocking(move || (log.finish(), journal.map(Journal::finish)));
        let (log, journal) = tokio::select! {
            finished = finished => finished.map_err(|_| HostError::Stopped("the management log"))?,
            _ = signals.end() => return Err(HostError::Impatient.into()),
        };
        if let Some(path) = &config.ready_file {
            mgmt_daemon::ready::remove(path)?;
        }
        tracing::info!(
            json.counters = object(&counters),
            json.agents = object(&controller.counters()),
            json.store = object(&store),
            json.log = object(&log),
            json.journal = journal.map(|journal| object(&journal)),
            "ended"
        );
        Ok(())
    }

    async fn finish_writes(&mut self) -> Result<(), RunError> {
        while !self.writes.is_empty() {
            let written = tokio::select! {
                written = self.store.ended() => written,
                _ = self.signals.end() => return Err(HostError::Impatient.into()),
            };
            let written = written.ok_or(HostError::Stopped("the configuration store"))?;
            self.handle(persisted(written)).await;
        }
        Ok(())
    }

    /// What that is for the core, and the credit of its sender's that it keeps until it is dealt with.
    async fn hear(&mut self, said: Said) -> (Vec<Input>, Credit) {
        let (FromPeer { heard, answers }, credit) = match said {
            Said::Client(event) => return self.client_event(event).await,
            Said::Peer(read, credit) => (read, credit),
        };
        for answer in answers {
            self.send(&answer, &credit).await;
        }
        let mut inputs = Vec::with_capacity(heard.len());
        for Heard { input, shown } in heard {
            match &input {
                Input::Request { client, request } => self.count_request(client, request),
                Input::PeerLost { peer, reason } => self.tell_of_loss(*peer, reason),
                Input::Agent { peer, message, .. } => {
                    self.counters.agent_messages += 1;
                    let reqid = message.reqid().map(display);
                    tracing::debug!(reqid, event = message.event_name(), %peer, "agent");
                }
                _ => {}
            }
            if let Some(shown) = shown {
                self.show(Among::everyone(), shown, &credit).await;
            }
            inputs.push(input);
        }
        (inputs, credit)
    }

    fn count_request(&mut self, client: &str, request: &ClientRequest) {
        self.counters.requests += 1;
        tell_request(client, request);
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
                let words = format!("WebSocket client {} at {}{application}", info.client, info.peer);
                self.wire.client_connected(info.client.number(), words);
            }
            WebSocketEvent::Message {
                client,
                message,
                credit: of_client,
            } => {
                credit = of_client;
                let FromClient { requests, answers } = message;
                for answer in answers {
                    self.show(Among::one(client.number()), answer, &credit).await;
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

    /// Hands an input to the core and carries out what it wants done.
    async fn handle(&mut self, input: Input) {
        self.handle_all(vec![input], &Credit::none()).await;
    }

    /// As [`Self::handle`], one after the other. What follows from the first comes after the last.
    async fn handle_all(&mut self, inputs: Vec<Input>, credit: &Credit) {
        let inputs = inputs.into_iter().map(|input| (input, credit.clone()));
        let mut inputs: VecDeque<_> = inputs.collect();
        while let Some((input, credit)) = inputs.pop_front() {
            let asked = match &input {
                Input::Request { request, .. } => Some((request.kind(), request.reqid().clone())),
                _ => None,
            };
            let is_tick = matches!(input, Input::Tick);
            let reqid = match &input {
                Input::Request { request, .. } => Some(request.reqid().clone()),
                Input::Persisted { write, .. } => self.writes.remove(write).flatten(),
                Input::Agent { message, .. } => message.reqid().cloned(),
                Input::Started { .. } | Input::PeerAdded { .. } | Input::PeerLost { .. } | Input::Tick => {
                    None
                }
            };
            self.quiet = !self.may_be_logged(&input);
            let time = Timestamp::now();
            let now = Now::from_start(self.started.elapsed());
            if let Some(journal) = &mut self.journal {
                journal.record(now, &input);
            }
            for action in self.controller.step(now, input) {
                match action {
                    Action::Log { level, message } => self.log(time, level, reqid.as_ref(), &message),
                    Action::Report {
                        level: Level::Info, ..
                    } if self.quiet => {}
                    Action::Report { level, message } => report_to_operator(level, &message),
                    Action::Persist {
                        write,
                        entries,
                        dismissed,
                    } => {
                        self.writes.insert(write, reqid.clone());
                        if let Err(written) = self.store.write(write, entries, dismissed) {
                            inputs.push_back((persisted(written), Credit::none()));
                        }
                    }
                    Action::Publish { topic, event, to } => {
                        let credit = self.credit_of(&event, &credit);
                        let follow = self.publish(topic, &event, to, &credit).await;
                        inputs.extend(follow.into_iter().map(|input| (input, credit.clone())));
                    }
                    Action::Connect { host, port } => {
                        let instance = self.controller.instance_at(host, port);
                        self.native.connect(host, port, instance).await;
                    }
                    Action::Disconnect { host, port } => self.native.disconnect(host, port).await,
                    Action::Close { peer, .. } => self.native.close(peer).await,
                }
            }
            self.keep(asked, credit);
            if is_tick {
                let controller = &self.controller;
                self.unanswered
                    .retain(|(kind, reqid), _| controller.owes_answer(*kind, reqid));
            }
        }
    }

    /// Whose credit what is published keeps: that of the request that it answers, else that of what it follows from.
    fn credit_of(&mut self, outgoing: &Outgoing, current: &Credit) -> Credit {
        let request = match outgoing {
            Outgoing::Client(response) => Some((response.kind(), response.reqid().clone())),
            Outgoing::Agent(_) | Outgoing::News(_) => None,
        };
        let kept = request.and_then(|request| self.unanswered.remove(&request));
        kept.unwrap_or_else(|| current.clone())
    }

    /// Keeps the credit of a request that is not answered yet. That of a repeated one is given back: it has no answer of its own.
    fn keep(&mut self, asked: Option<(RequestKind, ZeekString)>, credit: Credit) {
        if let Some((kind, reqid)) = asked
            && self.controller.owes_answer(kind, &reqid)
        {
            self.unanswered.entry((kind, reqid)).or_insert(credit);
        }
    }

    /// Returns what those that it goes to would say in return if they spoke the model's dialect.
    async fn publish(
        &mut self,
        topic: ZeekString,
        outgoing: &Outgoing,
        to: Audience,
        credit: &Credit,
    ) -> Vec<Input> {
        let (reqid, name) = (outgoing.reqid().map(display), outgoing.event_name());
        match outgoing {
            Outgoing::Client(response) => {
                self.counters.responses += 1;
                if !self.quiet {
                    tell_answer(response, self.controller.deployed_configuration());
                }
            }
            Outgoing::News(_) if self.quiet => {}
            Outgoing::News(news) => tell(self.node_news.take(news, Instant::now().into_std())),
            Outgoing::Agent(_) => {
                self.counters.agent_requests += 1;
                tracing::debug!(reqid, event = name, %topic, "request to an agent");
            }
        }
        let publication = match Publication::new(topic, outgoing, to) {
            Ok(publication) => publication,
            Err(error) => {
                self.counters.encode_failures += 1;
                tracing::error!(reqid, event = name, %error, "cannot encode an event, no client and no agent gets it");
                return Vec::new();
            }
        };
        let Deliveries {
            native,
            websocket,
            inputs,
            failures,
        } = self.wire.deliver(&publication);
        for (party, error) in failures {
            self.counters.encode_failures += 1;
            tracing::error!(reqid, event = name, party, %error, "cannot translate an event");
        }
        for event in native {
            self.send(&event, credit).await;
        }
        for (among, message) in websocket {
            self.show(among, message, credit).await;
        }
        inputs
    }

    /// Sends to native peers.
    async fn send(&mut self, event: &ToNative, credit: &Credit) {
        if let Err(error) = self.native.publish(event, credit).await {
            self.counters.encode_failures += 1;
            tracing::error!(
                topic = %event.topic,
                error = with_causes(&error),
                "cannot send an event to native peers"
            );
        }
    }

    /// Publishes to WebSocket clients.
    async fn show(&self, among: Among<u64>, message: DataMessage, credit: &Credit) {
        if let Some(publisher) = &self.publisher {
            publisher.with_credit(credit).publish_among(among, message).await;
        }
    }
}

/// The server of WebSocket clients, if there is to be one.
async fn serve_clients(
    config: &Config,
    endpoint_id: EndpointId,
    wire: &Wire,
) -> Result<Option<WebSocketServer<FromClient>>, RunError> {
    let Some(address) = config.websocket else {
        return Ok(None);
    };
    // DIFFERENCE(ack-version): Zeek names its own version.
    let mut websocket =
        WebSocketConfig::new(vec![address], endpoint_id.to_string(), env!("CARGO_PKG_VERSION"));
    websocket.tls = config.websocket_tls.clone();
    websocket.hosts.clone_from(&config.websocket_hosts);
    websocket.shown = readable;
    websocket.fit_descriptors(process::descriptors_for_connections() / 2);
    let reader = wire.client_reader();
    let admit = move |client: &ClientInfo, message| reader.read(client.client.number(), message);
    match WebSocketServer::bind(websocket, admit).await {
        Ok(server) => Ok(Some(server)),
        Err(error) if error.is_about_tls() => Err(RunError::WebSocketTls(error)),
        Err(error) => Err(RunError::WebSocket(error)),
    }
}

/// What someone outside of the process said or did.
enum Said {
    Peer(FromPeer, Credit),
    Client(WebSocketEvent<FromClient>),
}

/// What is said next. Peers and clients are heard in random order, so that none can shut the others out. May be cancelled
/// without losing anything.
async fn said(
    native: &mut Native,
    wire: &mut Wire,
    server: Option<&mut WebSocketServer<FromClient>>,
) -> Result<Said, HostError> {
    tokio::select! {
        read = native.next(wire) => read.map(|(read, credit)| Said::Peer(read, credit)).ok_or(HostError::Stopped("the Broker endpoint")),
        event = next_event(server) => event.map(Said::Client).ok_or(HostError::Stopped("the WebSocket server")),
    }
}

fn tell(lines: Vec<Line>) {
    for Line { level, text } in lines {
        report_to_operator(level, &text);
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
