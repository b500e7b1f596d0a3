//! The loop: what systemd tells, what is ordered, and what has been done beside it.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::Arc,
};

use futures_util::StreamExt;
use tokio::{
    sync::{
        Semaphore,
        mpsc::{Sender, UnboundedReceiver},
    },
    task::JoinSet,
};
use zbus::MessageStream;

use super::{
    JOURNALS_MAX,
    bus::{Bus, BusError, Properties, Service, Signal, signal},
    files,
    jobs::{self, Found, Outcome, carry_out},
    unit::{Snapshot, Told, Unit},
};
use crate::supervisors::own::{News, Order, check_name};

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) unit: Unit,
    /// What the unit is, as far as systemd has told: the last part is missing perhaps.
    pub(super) now: Snapshot,
    orders: VecDeque<Order>,
    /// The first of the orders is being carried out.
    is_busy: bool,
    /// What is to be told, in this order.
    pub(super) told: VecDeque<Told>,
    /// Something is read that has to be told before these.
    pub(super) is_reading: bool,
}

/// What was done beside the loop.
#[derive(Debug)]
pub(super) enum Done {
    Order {
        node: String,
        /// The node is forgotten by it.
        is_last: bool,
        outcome: Outcome,
    },
    Looked(Result<Vec<Found>, BusError>),
    Read {
        node: String,
        why: Why,
        service: Result<Service, BusError>,
    },
    /// What is told next of a node; nothing if it cannot be known.
    News {
        node: String,
        news: Option<News>,
    },
    /// An administrator's job of the unit has ended; and whether the host is shut down.
    Job {
        node: String,
        result: String,
        is_stopping: bool,
    },
    Renewed(Result<(), BusError>),
}

/// Why a unit is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Something may have been missed.
    Again,
    /// Likewise, and how the job ended that starts it.
    Starting,
    /// A job has ended of a node that is not known.
    Unknown,
}

pub(super) struct Keeper {
    /// Directories of nodes are below it.
    pub(super) directory: PathBuf,
    pub(super) nodes: BTreeMap<String, Node>,
    pub(super) jobs: JoinSet<Done>,
    pub(super) journals: Arc<Semaphore>,
    pub(super) news: Sender<News>,
    /// What was ordered without having looked was meant for another time.
    has_looked: bool,
    /// Why all has to begin anew.
    fault: Option<String>,
}

impl Keeper {
    pub(super) fn new(directory: PathBuf, news: Sender<News>) -> Self {
        Self {
            directory,
            nodes: BTreeMap::new(),
            jobs: JoinSet::new(),
            journals: Arc::new(Semaphore::new(JOURNALS_MAX)),
            news,
            has_looked: false,
            fault: None,
        }
    }

    /// The agent's handle is gone.
    pub(super) async fn is_abandoned(&self) {
        self.news.closed().await;
    }

    /// Serves until D-Bus is gone, and says why; or until there will be no more orders.
    pub(super) async fn serve(
        &mut self,
        bus: Bus,
        mut signals: MessageStream,
        orders: &mut UnboundedReceiver<Order>,
    ) -> Option<String> {
        // What was known before may not be so any more.
        self.nodes.clear();
        self.jobs = JoinSet::new();
        self.has_looked = false;
        self.tell(News::Available).await;
        while self.fault.is_none() {
            tokio::select! {
                message = signals.next() => match message {
                    Some(Ok(message)) => {
                        if let Some(signal) = signal(&message) {
                            self.signalled(&bus, signal).await;
                        }
                    }
                    Some(Err(error)) => return Some(format!("D-Bus: {error}")),
                    None => return Some("D-Bus has ended the connection".into()),
                },
                order = orders.recv() => self.ordered(&bus, order?).await,
                Some(done) = self.jobs.join_next() => match done {
                    Ok(done) => self.done(&bus, done).await,
                    Err(error) => tracing::error!(%error, "a task about a node's unit has panicked"),
                },
            }
        }
        self.fault.take()
    }

    fn read_all(&mut self, bus: &Bus) {
        let nodes = self.nodes.iter().map(|(name, node)| {
            let is_started = node.unit.is_starting() && !node.is_busy;
            let why = if is_started { Why::Starting } else { Why::Again };
            (name.clone(), why)
        });
        for (node, why) in nodes.collect::<Vec<_>>() {
            self.read(bus, node, why);
        }
    }

    fn read(&mut self, bus: &Bus, node: String, why: Why) {
        let bus = bus.clone();
        self.jobs.spawn(async move {
            let service = bus.service(&node).await;
            Done::Read { node, why, service }
        });
    }

    async fn signalled(&mut self, bus: &Bus, signal: Signal) {
        match signal {
            Signal::Changed {
                node,
                is_unit,
                properties,
            } => self.changed(node, is_unit, &properties).await,
            Signal::JobEnded { node, result } => self.job_ended(bus, node, result).await,
            Signal::Renewed => {
                let bus = bus.clone();
                self.jobs
                    .spawn(async move { Done::Renewed(bus.subscribe().await) });
            }
        }
    }

    async fn changed(&mut self, name: String, is_unit: bool, properties: &Properties) {
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        properties.apply(&mut node.now);
        if is_unit {
            let told = node.unit.seen(node.now.clone());
            self.told(name, told).await;
        }
    }

    async fn job_ended(&mut self, bus: &Bus, name: String, result: String) {
        let Some(node) = self.nodes.get_mut(&name) else {
            self.read(bus, name, Why::Unknown);
            return;
        };
        if node.unit.is_starting() {
            let told = node.unit.job_ended(&result, false);
            self.told(name, told).await;
            return;
        }
        node.unit.hold();
        let bus = bus.clone();
        self.jobs.spawn(async move {
            // If systemd does not answer, the host may well be shut down.
            let is_stopping = bus.is_stopping().await.unwrap_or(true);
            Done::Job {
                node: name,
                result,
                is_stopping,
            }
        });
    }

    async fn ordered(&mut self, bus: &Bus, order: Order) {
        let (node, is_start) = match &order {
            Order::Look => {
                self.look(bus);
                return;
            }
            _ if !self.has_looked => return,
            Order::Start { launch } => (launch.node(), true),
            Order::Rewrite { launch } => (launch.node(), false),
            Order::Terminate { node } | Order::Kill { node } | Order::Forget { node } => (node, false),
        };
        if let Err(reason) = check_name(node) {
            // There is nothing else to be done about one that cannot be.
            if is_start {
                let node = node.clone();
                self.tell(News::NotStarted { node, reason }).await;
            }
            return;
        }
        let name = node.to_string();
        self.nodes
            .entry(name.clone())
            .or_default()
            .orders
            .push_back(order);
        self.advance(bus, &name);
    }

    fn look(&mut self, bus: &Bus) {
        self.has_looked = true;
        let (bus, directory) = (bus.clone(), self.directory.clone());
        self.jobs
            .spawn(async { Done::Looked(jobs::look(bus, directory).await) });
    }

    /// Begins the next order of a node, if none is being carried out.
    fn advance(&mut self, bus: &Bus, name: &str) {
        let Some(node) = self.nodes.get_mut(name).filter(|node| !node.is_busy) else {
            return;
        };
        let Some(order) = node.orders.pop_front() else {
            return;
        };
        node.is_busy = true;
        if matches!(order, Order::Start { .. }) {
            node.unit.start(jobs::now());
        }
        let (bus, directory, name) = (bus.clone(), self.directory.clone(), name.to_owned());
        self.jobs.spawn(async move {
            let is_last = matches!(order, Order::Forget { .. });
            let outcome = carry_out(bus, directory, name.clone(), order).await;
            Done::Order {
                node: name,
                is_last,
                outcome,
            }
        });
    }

    async fn done(&mut self, bus: &Bus, done: Done) {
        match done {
            Done::Order {
                node,
                is_last,
                outcome,
            } => {
                self.order_done(node.clone(), outcome).await;
                self.advance(bus, &node);
                let idle = |node: &Node| !node.is_busy && !node.is_reading;
                if is_last && self.nodes.get(&node).is_some_and(idle) {
                    self.nodes.remove(&node);
                }
            }
            Done::Looked(found) => self.looked(bus, found).await,
            Done::Read { node, why, service } => self.was_read(node, why, service).await,
            Done::News { node, news } => self.next_of(node, news).await,
            Done::Job {
                node: name,
                result,
                is_stopping,
            } => {
                if let Some(node) = self.nodes.get_mut(&name) {
                    let told = node.unit.job_ended(&result, is_stopping);
                    self.told(name, told).await;
                }
            }
            Done::Renewed(Ok(())) => self.read_all(bus),
            // The connection ends as well.
            Done::Renewed(Err(error)) => tracing::warn!(%error, "systemd was executed anew"),
        }
    }

    async fn order_done(&mut self, name: String, outcome: Outcome) {
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        node.is_busy = false;
        let told = match outcome {
            Outcome::Done => return,
            Outcome::Runs(found) => {
                node.unit.not_started();
                self.found(found).await;
                return;
            }
            Outcome::NotStarted { reason } => {
                node.unit.not_started();
                vec![Told::NotStarted { reason }]
            }
            Outcome::Lacks { what } => {
                node.unit.not_started();
                vec![Told::Lacks { what }]
            }
        };
        self.told(name, told).await;
    }

    async fn looked(&mut self, bus: &Bus, found: Result<Vec<Found>, BusError>) {
        match found {
            Ok(found) => {
                for found in found {
                    // What has happened since then was told of a node that was not known.
                    let name = self.found(found).await;
                    self.read(bus, name, Why::Again);
                }
                self.tell(News::Looked).await;
            }
            // Otherwise the agent would not learn that the states are unknown.
            Err(error) => self.fault = Some(error.to_string()),
        }
    }

    async fn was_read(&mut self, name: String, why: Why, service: Result<Service, BusError>) {
        // If systemd does not answer, all is read again.
        let Ok(service) = service else { return };
        if why == Why::Unknown {
            let directory = files::directory(&self.directory, &name);
            if service.foreign(&directory).is_some() || self.nodes.contains_key(&name) {
                return;
            }
            self.nodes.insert(name.clone(), Node::default());
        }
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        node.now = service.now.clone();
        let mut told = match why {
            Why::Unknown => node.unit.first_seen(service.now),
            _ => node.unit.seen(service.now),
        };
        if why == Why::Starting && !node.unit.has_job() {
            told.append(&mut node.unit.job_ended("its answer was lost", false));
        }
        self.told(name, told).await;
    }
}
