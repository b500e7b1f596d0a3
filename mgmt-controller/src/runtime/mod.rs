//! What is around the core ([`mgmt_daemon::daemon`]): native peers, WebSocket clients, the store.
//!
//! The task never waits for a disk or for a client: the store, the management log and standard error have threads of
//! their own behind bounded queues, and publishing does not wait (see `broker_endpoint::websocket::Publisher` and
//! `broker_endpoint::EndpointHandle`). Native peers and WebSocket clients take turns.
//!
//! WebSocket clients see what is published on the topics that they have subscribed to: by the controller, by other clients,
//! and by native peers as far as it belongs there. What they subscribe to and what they publish stays in this process.

mod audited;
mod log;
mod monitored;
mod news;
mod outside;
mod peers;
mod publish;

use std::{collections::BTreeMap, net::SocketAddr};

use broker_codec::{
    EndpointId,
    data::{Port, ZeekString},
};
use broker_endpoint::{
    Credit, PeerInfo,
    websocket::{ClientInfo, MayHear, Publisher, WebSocketConfig, WebSocketServer},
};
use counters::Counters;
use mgmt_api::{
    Principal, Transport, WallClock,
    access::Grant,
    operator::{About, Program},
};
use mgmt_daemon::{
    certificates::Certificates,
    config::{warn_of_dates, warn_of_open_ports},
    daemon::{self, Beginning, Outside as _},
    error::system,
    files,
    grants::{Grants, principals},
    http::Operators,
    process::{self, block_on, enter, random_bytes, unix_time},
    ready,
    reload::Reread,
    renewing::Renewing,
};
use tracing::field::display;

use self::{audited::Audited, log::report_restored, news::NodeNews, peers::BrokerPeers};
use crate::{
    Counted,
    authority::{Authority, CaError, Ports, routes::Issuing},
    config::{Config, Listener},
    core::{self, CLUSTERS_MAX, Controller, Input, RECALLS_MAX, WRITES_MAX, WriteId},
    error::RunError,
    events::Feed,
    http::routes,
    machine::Start,
    page::Page,
    request::Request,
    store::{Store, StoreThread},
    wire::{FromClient, Wire, readable},
};

type Daemon = daemon::Daemon<Controller>;

/// Runs the controller until a signal ends it.
pub fn run(config: Config, reread: Reread) -> Result<(), RunError> {
    block_on(async {
        let (daemon, runtime) = start(config, reread).await?;
        Box::pin(daemon::run(daemon, runtime)).await
    })
}

/// What is around the core.
struct Runtime {
    config: Config,
    wire: Wire,
    broker: BrokerPeers,
    server: Option<WebSocketServer<FromClient>>,
    publisher: Option<Publisher>,
    store: StoreThread,
    /// Why the last write failed, if it did.
    store_trouble: Option<String>,
    certificates: Certificates,
    /// The CA of the controller's own, if it has one.
    authority: Option<Authority>,
    /// Renews the controller's own certificate, if it is of its own CA.
    renewing: Option<Renewing>,
    grants: Grants,
    /// What those hear who follow events.
    feed: Feed,
    /// What operators ask.
    operators: Operators<Request>,
    /// The writes under way, each with the request that it belongs to.
    writes: BTreeMap<WriteId, Option<ZeekString>>,
    node_news: NodeNews,
    audited: Audited,
    counters: Counters<Counted>,
}

fn about(config: &Config) -> About {
    About {
        program: Program::Controller,
        name: config.daemon.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The controller's own CA, if it is to have one.
fn authority(config: &Config) -> Result<Option<Authority>, CaError> {
    let own = config.own_ca.clone();
    own.map(|ca| Authority::open(ca, config.daemon.revoked.clone()))
        .transpose()
}

async fn start(config: Config, reread: Reread) -> Result<(Daemon, Runtime), RunError> {
    let mut beginning = Beginning::new(&config.daemon, reread)?;
    let (shared, counted) = (beginning.shared(), beginning.counters.clone());
    process::raise_file_limit();
    let (store, restored) = Store::open(&config.store_dir)?;
    report_restored(&store, &restored);
    enter(&config.daemon.working_dir)?;
    let authority = authority(&config)?;
    let store_file = store.path();
    files::warn_of_open(
        [&*config.daemon.working_dir, &*config.store_dir, store_file]
            .into_iter()
            .chain(config.keys()),
    );

    let endpoint_id = random_bytes().map(EndpointId::from_random)?;
    let wire = Wire::new(config.settings.clone(), config.assumed);
    let grants = beginning.grants();
    let broker = BrokerPeers::start(&mut beginning, &config, endpoint_id, &wire).await?;
    let server = serve_clients(&config, endpoint_id, &wire, &grants).await?;
    config.all_tls().for_each(warn_of_dates);
    // What all clusters together may have under way.
    let room = WRITES_MAX * (CLUSTERS_MAX + 1) + RECALLS_MAX;
    let store =
        StoreThread::start(store, room).map_err(|source| system("start the store's thread", source))?;
    let mut settings = config.settings.clone();
    // Also if the system chose it.
    settings.broker_port = broker
        .peers
        .local_addrs()
        .first()
        .map(|address| Port::tcp(address.port()));
    let start = Start {
        settings,
        restored: restored.configurations,
        clusters: restored.clusters,
        id: restored.identity,
    };
    let audited = Audited::new(beginning.audit());
    let mut daemon: Daemon = beginning.start(&config.daemon, "CONTROLLER", start)?;
    let counters = daemon.machine().counters();
    daemon.registry.add("", &counters);
    if let Some(server) = &server {
        daemon.registry.add("websocket_", &server.counters());
        daemon.registry.add("websocket_closed_", &server.closes());
        daemon.registry.add("websocket_error_", &server.errors());
    }
    let about = about(&config);
    let (socket, http) = (&config.daemon.control_socket, &config.daemon.http);
    let feed = Feed::new(unix_time().as_secs());
    let open_ports = open_ports(&config, &broker, server.as_ref());
    let page = Page::new(&about.name, open_ports, feed.clone());
    let issuing = Issuing::new(authority.clone(), counters.clone());
    let routes = routes(feed.clone(), page, issuing);
    let operators = Operators::serve(socket, http, about, shared, routes, Request::kind).await?;
    let mut runtime = Runtime {
        feed,
        operators,
        wire,
        broker,
        publisher: server.as_ref().map(WebSocketServer::publisher),
        server,
        store,
        store_trouble: restored.not_writable,
        certificates: Certificates::read(config.all_tls()),
        authority: authority.clone(),
        renewing: None,
        grants,
        writes: BTreeMap::new(),
        node_news: NodeNews::default(),
        audited,
        counters,
        config,
    };
    if let Some(authority) = authority {
        runtime.issue(&authority, counted);
    }
    runtime.announce(&mut daemon, endpoint_id).await?;
    Ok((daemon, runtime))
}

impl Runtime {
    /// Has the CA of the controller's own work: agents are told these ports, and the controller's certificate is renewed.
    fn issue(&mut self, authority: &Authority, counted: Counters<mgmt_daemon::Counted>) {
        if let Some(http) = self.operators.address() {
            let broker = self.broker.peers.local_addrs().first();
            authority.listens(Ports {
                http: http.port(),
                broker: broker.map(SocketAddr::port),
            });
        }
        self.renewing = Some(authority.renewing(self.renewals(), counted));
    }

    /// Tells the core, the log and other processes that clients can come.
    async fn announce(&mut self, daemon: &mut Daemon, endpoint_id: EndpointId) -> Result<(), RunError> {
        let websocket = self.server.as_ref().map(WebSocketServer::local_addr);
        let broker = self.broker.peers.local_addrs().to_vec();
        let (name, dir) = (&self.config.daemon.name, self.config.daemon.working_dir.display());
        let (for_clients, for_peers) = (websocket.map(display), broker.first().map(display));
        let (broker_tls, websocket_tls) = (&self.config.daemon.broker_tls, &self.config.websocket_tls);
        tracing::info!(
            name,
            websocket = for_clients,
            websocket_tls = websocket_tls.name(),
            websocket_asks_for_certificates = websocket_tls.asks_for_certificates(),
            broker = for_peers,
            broker_tls = broker_tls.name(),
            broker_asks_for_certificates = broker_tls.asks_for_certificates(),
            broker_id = %endpoint_id,
            http = self.operators.address().map(display),
            http_tls = self.operators.address().map(|_| self.config.daemon.http.tls.name()),
            %dir,
            "ready"
        );
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
            websocket: websocket.map(|bound| listener(bound.ip().to_string(), &bound)),
            wall_clock: WallClock::from_unix(unix_time()),
        };
        daemon.handle(self, [started], &Credit::none()).await;
        Ok(ready::write(
            &self.config.daemon,
            endpoint_id,
            &broker,
            Some(websocket.as_slice()),
            self.operators.address(),
        )?)
    }
}

/// Warns of ports that ask for nothing.
fn open_ports(
    config: &Config,
    broker: &BrokerPeers,
    server: Option<&WebSocketServer<FromClient>>,
) -> Vec<String> {
    let (broker_asks, websocket_asks) = (
        config.daemon.broker_tls.asks_for_certificates(),
        config.websocket_tls.asks_for_certificates(),
    );
    let broker = broker.peers.local_addrs().iter();
    let broker = broker.map(|address| ("Broker", *address, broker_asks));
    let websocket = server.map(|server| ("WebSocket", server.local_addr(), websocket_asks));
    warn_of_open_ports(broker.chain(websocket), &config.daemon.roles)
}

fn of_client(client: &ClientInfo, grants: &Grants) -> Principal {
    Principal {
        transport: Transport::WebSocket {
            client: client.client.number(),
            application: client.application_name.clone(),
        },
        address: Some(client.peer),
        certificate: principals(client.certificate.as_ref()),
        grant: grants.of(client.certificate.as_ref()),
    }
}

fn of_peer(peer: &PeerInfo, grant: Option<Grant>) -> Principal {
    Principal {
        transport: Transport::Broker { peer: peer.id },
        address: Some(peer.address),
        certificate: principals(peer.certificate.as_ref()),
        grant,
    }
}

/// The server of WebSocket clients, if there is to be one.
async fn serve_clients(
    config: &Config,
    endpoint_id: EndpointId,
    wire: &Wire,
    grants: &Grants,
) -> Result<Option<WebSocketServer<FromClient>>, RunError> {
    let Some(address) = config.websocket else {
        return Ok(None);
    };
    // DIFFERENCE(ack-version): Zeek names its own version.
    let mut websocket = WebSocketConfig::new(address, endpoint_id.to_string(), env!("CARGO_PKG_VERSION"));
    websocket.tls = config.websocket_tls.clone();
    websocket.hosts.clone_from(&config.websocket_hosts);
    websocket.shown = readable;
    websocket.fit_descriptors(process::descriptors_for_connections() / 2);
    let known = grants.clone();
    websocket.may_hear = MayHear::new(move |client: &ClientInfo| {
        let grant = known.of(client.certificate.as_ref());
        core::may_hear(grant.as_ref())
    });
    let (sessions, grants) = (wire.client_sessions(), grants.clone());
    let accept = move |client: &ClientInfo| {
        let mut session = sessions(of_client(client, &grants));
        let (grants, certificate) = (grants.clone(), client.certificate.clone());
        move |message| {
            // Roles may have changed since it came.
            session.set_grant(grants.of(certificate.as_ref()));
            session.read(message)
        }
    };
    match WebSocketServer::bind(websocket, accept).await {
        Ok(server) => Ok(Some(server)),
        Err(error) if error.is_about_tls() => Err(RunError::WebSocketTls(error)),
        Err(error) => Err(RunError::WebSocket(error)),
    }
}
