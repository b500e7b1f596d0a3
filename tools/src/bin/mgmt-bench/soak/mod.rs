//! Whether a controller stays as it is while agents and clients are killed at random, and configurations deployed.

mod clients;

use std::{fmt, time::Duration};

use mgmt_api::controller::ClientRequest;
use serde::Serialize;
use testkit::Dice;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use self::clients::{Counting, Counts};
use crate::{
    Failure,
    agents::Fleet,
    failed,
    measure::example_configuration,
    process::{Controller, Launch},
    report::mebibytes,
    scale::Plan,
    usage,
};

/// How many clients there are.
const CLIENTS: u64 = 20;

/// Between the beginnings of two deployments.
const DEPLOYMENTS: Duration = Duration::from_secs(60);

/// How long the controller has something to do before it is looked at for the first time: it then has what it needs anyhow.
const BEFORE: Duration = Duration::from_secs(60);

/// How long it is left alone before it is looked at.
const REST: Duration = Duration::from_secs(30);

/// Memory has to be within this share of what it was, or within this many KiB.
const GROWTH_MAX: (u64, u64) = (5, 10 * 1024);

/// The controller's process, at rest with all agents and no clients.
#[derive(Clone, Copy, Debug, Serialize)]
struct Resting {
    rss_kib: u64,
    descriptors: usize,
}

/// What became of it.
#[derive(Debug, Serialize)]
pub(crate) struct Soaked {
    seed: u64,
    before: Resting,
    after: Resting,
    counts: Counts,
    /// Whether the last deployment, with all agents there, went well.
    is_deployed: bool,
}

impl Soaked {
    /// Whether memory is flat, no descriptor is lost, and no request was left unanswered.
    pub(crate) fn is_as_before(&self) -> bool {
        let (share, kib) = GROWTH_MAX;
        let growth = self.after.rss_kib.saturating_sub(self.before.rss_kib);
        growth <= (self.before.rss_kib / share).max(kib)
            && self.after.descriptors <= self.before.descriptors
            && self.counts.unanswered.is_empty()
            && self.is_deployed
    }
}

impl fmt::Display for Soaked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            before,
            after,
            counts,
            ..
        } = self;
        writeln!(out, "seed {}", self.seed)?;
        writeln!(
            out,
            "{} requests answered, {} not; {} deployments, of which {} lacked an agent",
            counts.requests,
            counts.unanswered.len(),
            counts.deployments,
            counts.partly
        )?;
        writeln!(
            out,
            "killed: {} agents, {} clients",
            counts.killed_agents, counts.killed_clients
        )?;
        for (when, resting) in [("before", before), ("after", after)] {
            let rss = mebibytes(resting.rss_kib);
            writeln!(
                out,
                "{when}: {rss} MiB resident, {} descriptors",
                resting.descriptors
            )?;
        }
        for unanswered in &counts.unanswered {
            writeln!(out, "UNANSWERED {unanswered}")?;
        }
        if !self.is_deployed {
            writeln!(out, "NOT DEPLOYED at the end, with all agents there")?;
        }
        let verdict = if self.is_as_before() {
            "as before"
        } else {
            "NOT AS BEFORE"
        };
        let [before, after] = [before.rss_kib, after.rss_kib].map(mebibytes);
        writeln!(
            out,
            "{verdict}: {before} MiB, then {after}; {} of {} requests answered",
            counts.requests,
            counts.requests + u64::try_from(counts.unanswered.len()).unwrap_or(u64::MAX)
        )
    }
}

struct Scene {
    plan: Plan,
    controller: Controller,
    fleet: Fleet,
    dice: Dice,
    counting: Counting,
    stirred: u32,
}

/// Gives a controller something to do for so long, by chance of this seed.
pub(crate) async fn soak(
    launch: &Launch,
    plan: Plan,
    lasting: Duration,
    seed: u64,
) -> Result<Soaked, Failure> {
    let controller = launch.start().await?;
    let mut scene = Scene {
        plan,
        fleet: Fleet::new(plan.kind, controller.broker),
        controller,
        dice: Dice(seed),
        counting: Counting::default(),
        stirred: 0,
    };
    scene.fleet.start().await?;
    scene.stir(BEFORE).await?;
    let before = scene.rest().await?;
    scene.stir(lasting).await?;
    let after = scene.rest().await?;
    let requests = configuration(plan, "last");
    let is_deployed = clients::stage_and_deploy(scene.controller.address, requests).await?;
    scene.controller.stop().await?;
    Ok(Soaked {
        seed,
        before,
        after,
        counts: scene.counting.now(),
        is_deployed,
    })
}

impl Scene {
    /// All at once, for so long.
    async fn stir(&mut self, lasting: Duration) -> Result<(), Failure> {
        let (address, until) = (self.controller.address, Instant::now() + lasting);
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (dice, counting) = (Dice(self.dice.roll()), self.counting.clone());
            clients.spawn(clients::ask(
                address,
                format!("client-{number}"),
                dice,
                until,
                counting,
            ));
        }
        let (plan, mut number, round) = (self.plan, 0, self.stirred);
        self.stirred += 1;
        let requests = move || {
            number += 1;
            configuration(plan, &format!("{round}-{number}"))
        };
        clients.spawn(clients::deploy(
            address,
            DEPLOYMENTS,
            until,
            requests,
            self.counting.clone(),
        ));
        while Instant::now() < until {
            sleep(self.dice.millis(0, 5_000)).await;
            self.controller.still_runs()?;
            let place = self.dice.below(self.plan.kind.agents.into());
            let place = usize::try_from(place).expect("a number of an agent");
            self.fleet.restart(place..place + 1).await?;
            self.counting.count(|counts| counts.killed_agents += 1);
        }
        while let Some(ended) = clients.join_next().await {
            ended.map_err(failed("a client"))?;
        }
        Ok(())
    }

    async fn rest(&self) -> Result<Resting, Failure> {
        let tally = self.fleet.tally();
        tally
            .all("agents to be connected", |_, seen| seen.connected)
            .await?;
        sleep(REST).await;
        Ok(Resting {
            rss_kib: self.controller.memory()?.rss_kib,
            descriptors: usage::descriptors(self.controller.process()?)?,
        })
    }
}

fn configuration(plan: Plan, id: &str) -> [ClientRequest; 2] {
    let each = usize::from(plan.nodes);
    let all = usize::from(plan.kind.agents) * each;
    [
        ClientRequest::StageConfiguration {
            reqid: format!("stage-{id}.").into(),
            config: example_configuration(format!("soak-{id}"), all, each),
        },
        ClientRequest::Deploy {
            reqid: format!("deploy-{id}.").into(),
        },
    ]
}
