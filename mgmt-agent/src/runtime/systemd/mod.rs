//! Nodes as instances of systemd's template unit `zeek-node@.service`, over D-Bus: orders are carried out, and what becomes of nodes is told.
//!
//! | queue | when it is full |
//! |---|---|
//! | orders ([`Systemd::order`]): a few for each node, as the next one waits for what becomes of the one before | it has no end |
//! | news ([`NEWS_MAX`]) | systemd's signals wait |
//! | systemd's signals ([`bus`]) | they wait in the bus, which ends the connection of one that never reads: then all is looked at anew |
//! | calls to systemd ([`bus`]) | they wait in turn |
//! | journals that are read ([`JOURNALS_MAX`]) | the others wait in turn |

pub mod available;
mod bus;
mod files;
mod jobs;
mod journal;
mod keeper;
mod name;
mod tell;
mod unit;

use std::{path::PathBuf, time::Duration};

use tokio::{
    sync::mpsc::{self, Receiver, UnboundedReceiver, UnboundedSender},
    time::sleep,
};

use self::{bus::Bus, keeper::Keeper};
use crate::supervisors::own::{News, Order};

/// How many news wait to be fetched.
const NEWS_MAX: usize = 64;

/// How many journals are read at a time.
const JOURNALS_MAX: usize = 4;

/// Between attempts to reach D-Bus: the first, and the longest.
const RETRY: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// systemd, as what keeps nodes.
#[derive(Debug)]
pub struct Systemd {
    orders: UnboundedSender<Order>,
    news: Receiver<News>,
}

impl Systemd {
    /// Starts to listen, and returns at once. Directories of nodes are below this one.
    pub fn start(nodes: PathBuf) -> Self {
        let (orders, to_do) = mpsc::unbounded_channel();
        let (tell, news) = mpsc::channel(NEWS_MAX);
        tokio::spawn(keep(Keeper::new(nodes, tell), to_do));
        Self { orders, news }
    }

    /// Has an order carried out. Returns at once.
    pub fn order(&self, order: Order) {
        // It ends only with this handle.
        let _ = self.orders.send(order);
    }

    /// What becomes of nodes. May be cancelled.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }
}

/// Connects, again and again, until the agent's handle is gone.
async fn keep(mut keeper: Keeper, mut orders: UnboundedReceiver<Order>) {
    let mut delay = RETRY;
    let mut is_told = false;
    loop {
        let reason = match Bus::connect().await {
            Ok((bus, signals)) => {
                (delay, is_told) = (RETRY, false);
                let Some(reason) = keeper.serve(bus, signals, &mut orders).await else {
                    return;
                };
                reason
            }
            Err(error) => error.to_string(),
        };
        if !is_told {
            keeper.tell(News::Unavailable { reason }).await;
            is_told = true;
        }
        tokio::select! {
            () = keeper.is_abandoned() => return,
            () = sleep(delay) => delay = RETRY_MAX.min(delay * 2),
        }
    }
}
