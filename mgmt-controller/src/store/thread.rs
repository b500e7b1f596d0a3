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

use super::Persist;
use crate::core::{Changes, WRITES_MAX, WriteId};

/// A store on a thread of its own: a commit waits for the disk.
#[derive(Debug)]
pub struct StoreThread {
    writes: SyncSender<(WriteId, Changes)>,
    outcomes: mpsc::Receiver<Written>,
    /// Size of the store, as it was after the last write.
    bytes: Arc<AtomicU64>,
}

/// The end of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    pub write: WriteId,
    /// Whether all of it is durable, or nothing; and then why.
    pub outcome: Result<(), String>,
}

impl StoreThread {
    /// Moves a store to a thread of its own, where so many writes can wait.
    pub fn start(mut store: impl Persist, room: usize) -> io::Result<Self> {
        let (writes, queue) = sync_channel::<(WriteId, Changes)>(room);
        let (done, outcomes) = mpsc::channel(WRITES_MAX);
        let bytes = Arc::new(AtomicU64::new(store.bytes()));
        let then = Arc::clone(&bytes);
        thread::Builder::new()
            .name(String::from("store"))
            .spawn(move || {
                for (write, changes) in queue {
                    let outcome = store.persist(&changes);
                    then.store(store.bytes(), Ordering::Relaxed);
                    if done.blocking_send(Written { write, outcome }).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            writes,
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
        self.writes.try_send((write, changes)).map_err(|_| Written {
            write,
            outcome: Err(String::from("the configuration store does not take writes")),
        })
    }

    /// The next write that ended, in the order in which they were asked for. May be cancelled. `None` if the thread
    /// is gone, which only a fault of ours can bring about.
    pub async fn ended(&mut self) -> Option<Written> {
        self.outcomes.recv().await
    }
}
