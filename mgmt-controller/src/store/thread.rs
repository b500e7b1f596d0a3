use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use tokio::sync::mpsc;

use mgmt_api::Configuration;

use super::Persist;
use crate::core::{Changes, ClusterName, RecallId, WRITES_MAX, WriteId};

/// A store on a thread of its own: a commit waits for the disk.
#[derive(Debug)]
pub struct StoreThread {
    orders: SyncSender<Order>,
    outcomes: mpsc::Receiver<Done>,
    /// Size of the store, as it was after the last write.
    bytes: Arc<AtomicU64>,
}

/// What the store is asked for.
enum Order {
    Write(WriteId, Changes),
    Recall(RecallId, ClusterName, u32),
}

/// What the store has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    Written(Written),
    /// The configuration of a revision, or why it cannot be told.
    Recalled(RecallId, Result<Arc<Configuration>, String>),
}

/// The end of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub write: WriteId,
    /// Whether all of it is durable, or nothing; and then why.
    pub outcome: Result<(), String>,
}

impl StoreThread {
    /// Moves a store to a thread of its own, where so many orders can wait.
    pub fn start(mut store: impl Persist, room: usize) -> io::Result<Self> {
        let (orders, queue) = sync_channel::<Order>(room);
        let (done, outcomes) = mpsc::channel(WRITES_MAX);
        let bytes = Arc::new(AtomicU64::new(store.bytes()));
        let then = Arc::clone(&bytes);
        thread::Builder::new()
            .name(String::from("store"))
            .spawn(move || {
                for order in queue {
                    let ended = match order {
                        Order::Write(write, changes) => {
                            let outcome = store.persist(&changes);
                            then.store(store.bytes(), Ordering::Relaxed);
                            Done::Written(Written { write, outcome })
                        }
                        Order::Recall(recall, cluster, number) => {
                            Done::Recalled(recall, store.recall(&cluster, number).map(Arc::new))
                        }
                    };
                    if done.blocking_send(ended).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            orders,
            outcomes,
            bytes,
        })
    }

    /// Size of the store, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Asks for a write; its end comes out of [`Self::ended`]. Never waits: the core has at most [`WRITES_MAX`]
    /// writes of a cluster under way, so there is room; if not, the write is given back as failed.
    pub fn write(&self, write: WriteId, changes: Changes) -> Result<(), Written> {
        let order = Order::Write(write, changes);
        self.orders.try_send(order).map_err(|_| Written {
            write,
            outcome: Err(String::from("the configuration store does not take writes")),
        })
    }

    /// Asks for the configuration of a revision, which comes out of [`Self::ended`], too. Never waits: the core has at most
    /// [`RECALLS_MAX`](crate::core::RECALLS_MAX) of these under way.
    ///
    /// # Errors
    ///
    /// If there is no room all the same.
    pub fn recall(&self, recall: RecallId, cluster: ClusterName, number: u32) -> Result<(), String> {
        let order = Order::Recall(recall, cluster, number);
        let refused = |_| String::from("the configuration store does not answer");
        self.orders.try_send(order).map_err(refused)
    }

    /// What was done next, in the order in which they were asked for. May be cancelled. `None` if the thread
    /// is gone, which only a fault of ours can bring about.
    pub async fn ended(&mut self) -> Option<Done> {
        self.outcomes.recv().await
    }
}
