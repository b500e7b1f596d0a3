//! Telling what becomes of nodes: for each node in the order in which it happened, though some of it has to be read first.

use std::{path::PathBuf, sync::Arc};

use broker_codec::data::ZeekString;
use tokio::sync::Semaphore;

use super::{
    files,
    jobs::{self, Found},
    journal,
    keeper::{Done, Keeper},
    unit::{Snapshot, Told},
};
use crate::supervisors::own::News;

impl Keeper {
    pub(super) async fn tell(&self, news: News) {
        // The agent's handle may be gone; then it ends.
        let _ = self.news.send(news).await;
    }

    /// A node that runs. Its name.
    pub(super) async fn found(&mut self, found: Found) -> String {
        let Found { launch, now, age } = found;
        let name = launch.node().to_string();
        let node = self.nodes.entry(name.clone()).or_default();
        let pid = now.pid.into();
        node.now = now.clone();
        node.unit.adopt(now);
        self.tell(News::Found { launch, pid, age }).await;
        name
    }

    /// Tells what has become of a node, after all that was to be told of it before.
    pub(super) async fn told(&mut self, name: String, told: Vec<Told>) {
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        node.told.extend(told);
        self.pass_on(name).await;
    }

    /// Tells what is to be told of a node, as far as it is known.
    async fn pass_on(&mut self, name: String) {
        loop {
            let Some(node) = self.nodes.get_mut(&name).filter(|node| !node.is_reading) else {
                return;
            };
            let Some(told) = node.told.pop_front() else { return };
            let id = || ZeekString::from(name.as_bytes());
            let news = match told {
                Told::Started { pid } => News::Started { node: id(), pid },
                Told::Lacks { what } => News::Lacks { node: id(), what },
                Told::NotStarted { reason } => News::NotStarted { node: id(), reason },
                Told::Administered { runs } => News::Administered { node: id(), runs },
                Told::Found { .. } | Told::Ended { .. } => {
                    node.is_reading = true;
                    let reading = read(self.journals.clone(), self.directory.clone(), name.clone(), told);
                    self.jobs.spawn(async {
                        Done::News {
                            node: name,
                            news: reading.await,
                        }
                    });
                    return;
                }
            };
            self.tell(news).await;
        }
    }

    /// What had to be read for it was read.
    pub(super) async fn next_of(&mut self, name: String, news: Option<News>) {
        let Some(node) = self.nodes.get_mut(&name) else {
            return;
        };
        node.is_reading = false;
        if let Some(news) = news {
            self.tell(news).await;
        }
        self.pass_on(name).await;
    }
}

/// What has to be read before it can be told.
async fn read(journals: Arc<Semaphore>, nodes: PathBuf, name: String, told: Told) -> Option<News> {
    match told {
        Told::Ended {
            pid,
            end,
            invocation,
            started,
        } => {
            // It is never closed.
            let _turn = journals.acquire().await;
            let outputs = journal::tail(&name, &invocation, started).await;
            let node = name.as_bytes().into();
            Some(News::Ended {
                node,
                pid,
                end,
                outputs,
            })
        }
        Told::Found { pid, started } => {
            let now = Snapshot {
                started,
                ..Snapshot::default()
            };
            let Found { launch, age, .. } = jobs::found(&files::directory(&nodes, &name), now).await?;
            Some(News::Found { launch, pid, age })
        }
        _ => None,
    }
}
