//! A client who asks again and again while the controller has other work.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    runtime::Builder,
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval},
};

use crate::{Failure, client::Client, measure::get_instances};

#[derive(Debug)]
pub(crate) struct Bystander {
    stop: oneshot::Sender<()>,
    task: JoinHandle<(Vec<Duration>, Option<Failure>)>,
}

impl Bystander {
    /// One who asks with such a period, or when the last answer is there if that is later. On a thread of its own: what agents and clients
    /// of this process do meanwhile is not the controller's.
    pub(crate) fn start(address: SocketAddr, period: Duration) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = spawn_blocking(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime
                .expect("a runtime can be made")
                .block_on(ask(address, period, stopped))
        });
        Self { stop, task }
    }

    /// How long each answer took, and why the connection was lost, if it was.
    pub(crate) async fn stop(self) -> (Vec<Duration>, Option<Failure>) {
        // It may have ended before.
        let _ = self.stop.send(());
        self.task.await.expect("it does not panic")
    }
}

/// Asks until told to stop, or until its connection is lost.
async fn ask(
    address: SocketAddr,
    period: Duration,
    mut stopped: oneshot::Receiver<()>,
) -> (Vec<Duration>, Option<Failure>) {
    let mut times = vec![];
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut client = match Client::connect(address).await {
        Ok(client) => client,
        Err(error) => return (vec![Duration::MAX], Some(error)),
    };
    for number in 0.. {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        let request = get_instances(&format!("bystander-{number}."));
        match client.request(&request).await {
            Ok(answer) => times.push(answer.elapsed),
            Err(error) => {
                times.push(Duration::MAX);
                return (times, Some(error));
            }
        }
    }
    (times, None)
}
