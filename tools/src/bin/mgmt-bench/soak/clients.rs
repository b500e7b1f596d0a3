//! Clients who ask for this and that, and are killed now and then.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use broker_endpoint::with_causes;
use mgmt_api::controller::ClientRequest;
use serde::Serialize;
use testkit::Dice;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{Failure, client::Client, measure::get_instances};

/// How many requests in a hundred are those of a client that is killed before the answer is there.
const KILLED: u64 = 5;

/// A pause before a client tries again that was not answered.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What was done to the controller.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) deployments: u64,
    /// Of these, those in which not all went well: an agent was killed meanwhile.
    pub(super) partly: u64,
    pub(super) killed_clients: u64,
    pub(super) killed_agents: u64,
    /// Requests without an answer, and connections that the controller closed.
    pub(super) unanswered: Vec<String>,
}

/// The same, for all who count.
#[derive(Clone, Debug, Default)]
pub(super) struct Counting(Arc<Mutex<Counts>>);

impl Counting {
    pub(super) fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn now(&self) -> Counts {
        let mut now = Counts::default();
        self.count(|counts| now = counts.clone());
        now
    }

    pub(super) fn unanswered(&self, error: &Failure) {
        let said = with_causes(error);
        self.count(|counts| counts.unanswered.push(said));
    }
}

/// Asks until then, with pauses of up to two seconds; one who is killed comes back.
pub(super) async fn ask(
    address: SocketAddr,
    name: String,
    mut dice: Dice,
    until: Instant,
    counting: Counting,
) {
    let mut client = None;
    for number in 0_u32.. {
        let connected = match client.take() {
            Some(connected) => Ok(connected),
            None => Client::connect(address).await,
        };
        let pause = dice.millis(1, 2_000);
        let asked = match connected {
            Ok(connected) => {
                let request = any_request(&mut dice, &format!("{name}-{number}."));
                let killed = dice.percent(KILLED).then(|| dice.micros(14));
                pause_and_ask(connected, pause, &request, killed, &counting).await
            }
            Err(error) => Err(error),
        };
        match asked {
            Ok(still) => client = still,
            Err(error) => {
                counting.unanswered(&error);
                sleep(AFTER_ERROR).await;
            }
        }
        if Instant::now() >= until {
            return;
        }
    }
}

/// Returns the client, unless it is killed so long after its request.
async fn pause_and_ask(
    mut client: Client,
    pause: Duration,
    request: &ClientRequest,
    killed: Option<Duration>,
    counting: &Counting,
) -> Result<Option<Client>, Failure> {
    client.pause(pause).await?;
    if let Some(after) = killed {
        // The answer may be there before.
        let _ = timeout(after, client.request(request)).await;
        counting.count(|counts| counts.killed_clients += 1);
        return Ok(None);
    }
    client.request(request).await?;
    counting.count(|counts| counts.requests += 1);
    Ok(Some(client))
}

/// Mostly what costs little, as all clients hear all answers.
fn any_request(dice: &mut Dice, reqid: &str) -> ClientRequest {
    let reqid = reqid.into();
    match dice.below(20) {
        0 => ClientRequest::GetNodes { reqid },
        1 => ClientRequest::GetIdValue {
            reqid,
            id: "Site::local_nets".into(),
            nodes: ["manager".into()].into(),
        },
        2 => ClientRequest::Restart {
            reqid,
            nodes: ["worker-0001".into()].into(),
        },
        3 => ClientRequest::GetConfiguration {
            reqid,
            deployed: dice.percent(50),
        },
        _ => get_instances(&reqid.to_string()),
    }
}

/// Stages and deploys again and again, with such a period. Results may be failures, as agents are killed meanwhile.
pub(super) async fn deploy(
    address: SocketAddr,
    period: Duration,
    until: Instant,
    mut requests: impl FnMut() -> [ClientRequest; 2],
    counting: Counting,
) {
    while Instant::now() < until {
        let next = Instant::now() + period;
        match stage_and_deploy(address, requests()).await {
            Ok(is_whole) => counting.count(|counts| {
                counts.requests += 2;
                counts.deployments += 1;
                counts.partly += u64::from(!is_whole);
            }),
            Err(error) => counting.unanswered(&error),
        }
        sleep_until(next.min(until)).await;
    }
}

/// Whether all results are successes.
pub(super) async fn stage_and_deploy(
    address: SocketAddr,
    requests: [ClientRequest; 2],
) -> Result<bool, Failure> {
    let mut client = Client::connect(address).await?;
    let mut is_whole = true;
    for request in requests {
        let answer = client.request(&request).await?;
        is_whole &= answer.response.results().iter().all(|result| result.success);
    }
    Ok(is_whole)
}
