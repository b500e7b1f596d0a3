//! What a controller takes for many agents: each row of the table in `docs/performance.md`.

use std::time::{Duration, Instant};

use broker_codec::Data;
use mgmt_api::controller::ClientRequest;
use tokio::time::sleep;

use crate::{
    Failure,
    agents::{Fleet, Kind, Seen},
    bystander::Bystander,
    client::Client,
    measure::{example_configuration, get_instances},
    process::{Controller, Launch},
    report::Report,
    usage,
};

/// How often everything is asked for.
const ROUNDS: u32 = 3;

/// How long the controller is left alone after its answer, before its processor time is read: it still drops and logs something.
const AFTERWARDS: Duration = Duration::from_millis(100);

/// A controller that has asked no agent for as long, although it is free, has done what it had to do.
const QUIET: Duration = Duration::from_millis(300);

/// How often the other client asks during a deployment.
const PERIOD: Duration = Duration::from_millis(2);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) kind: Kind,
    /// Of each agent.
    pub(crate) nodes: u16,
}

/// Times of one thing that was done several times.
#[derive(Default)]
struct Samples {
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

struct Scene<'a> {
    launch: &'a Launch,
    plan: Plan,
    controller: Controller,
    fleet: Fleet,
    report: Report,
    /// How many requests there were.
    requests: u32,
}

pub(crate) async fn measure(launch: &Launch, plan: Plan) -> Result<Report, Failure> {
    let controller = launch.start().await?;
    let mut scene = Scene {
        launch,
        plan,
        fleet: Fleet::new(plan.kind, controller.broker),
        controller,
        report: Report::default(),
        requests: 0,
    };
    scene.connect().await?;
    scene.deploy().await?;
    scene.ask().await?;
    scene.deploy_beside_another().await?;
    scene.restart_agents("one agent restarts", 1).await?;
    let all = usize::from(plan.kind.agents);
    scene.restart_agents("all agents restart", all).await?;
    let mut scene = scene.restart_controller().await?;
    scene.report.memory("at the end", scene.controller.memory()?);
    scene.controller.stop().await?;
    Ok(scene.report)
}

impl Scene<'_> {
    async fn connect(&mut self) -> Result<(), Failure> {
        let cpu = self.cpu()?;
        let began = self.fleet.start().await?;
        self.connected().await?;
        self.report.times("all connected, wall", &[began.elapsed()]);
        self.used("all connected, CPU", cpu).await?;
        self.report.memory("connected", self.controller.memory()?);
        Ok(())
    }

    async fn deploy(&mut self) -> Result<(), Failure> {
        let (mut staging, mut deploying) = (Samples::default(), Samples::default());
        let mut peak = 0;
        for _ in 0..ROUNDS {
            self.stage(&mut staging).await?;
            let process = self.controller.process()?;
            usage::reset_peak(process)?;
            self.deploy_once(&mut deploying).await?;
            peak = peak.max(usage::peak_kib(process)?);
        }
        self.report.memory("deployed", self.controller.memory()?);
        self.samples("stage", &staging);
        self.samples("deploy", &deploying);
        self.report.resident("peak resident, deploying", peak);
        Ok(())
    }

    async fn stage(&mut self, samples: &mut Samples) -> Result<(), Failure> {
        let each = usize::from(self.plan.nodes);
        let all = usize::from(self.plan.kind.agents) * each;
        let config = example_configuration(format!("bench-{}", self.requests), all, each);
        let request = |reqid: String| ClientRequest::StageConfiguration {
            reqid: reqid.into(),
            config,
        };
        self.asked("stage", 1, request, samples).await
    }

    async fn deploy_once(&mut self, samples: &mut Samples) -> Result<(), Failure> {
        let before = self.fleet.tally().now();
        // The last one has the id of the configuration.
        let results = self.all_nodes() + 1;
        let request = |reqid: String| ClientRequest::Deploy { reqid: reqid.into() };
        self.asked("deploy", results, request, samples).await?;
        self.once("deploy", &before, |seen| seen.deploys);
        Ok(())
    }

    /// The requests that every agent answers.
    async fn ask(&mut self) -> Result<(), Failure> {
        let (mut states, mut values, mut restarts) =
            (Samples::default(), Samples::default(), Samples::default());
        let (agents, nodes) = (usize::from(self.plan.kind.agents), self.all_nodes());
        for _ in 0..ROUNDS {
            let before = self.fleet.tally().now();
            let request = |reqid: String| ClientRequest::GetNodes { reqid: reqid.into() };
            self.asked("get-nodes", agents, request, &mut states).await?;
            let request = |reqid: String| ClientRequest::GetIdValue {
                reqid: reqid.into(),
                id: "Site::local_nets".into(),
                nodes: [].into(),
            };
            self.asked("get-id-value", nodes, request, &mut values).await?;
            let request = |reqid: String| ClientRequest::Restart {
                reqid: reqid.into(),
                nodes: [].into(),
            };
            self.asked("restart of all nodes", nodes, request, &mut restarts)
                .await?;
            self.once("get-nodes", &before, |seen| seen.states);
            self.once("get-id-value", &before, |seen| seen.dispatches);
            self.once("restart", &before, |seen| seen.restarts);
        }
        self.samples("get-nodes", &states);
        self.samples("get-id-value", &values);
        self.samples("restart of all nodes", &restarts);
        Ok(())
    }

    async fn deploy_beside_another(&mut self) -> Result<(), Failure> {
        let mut slowest = Vec::new();
        for _ in 0..ROUNDS {
            self.stage(&mut Samples::default()).await?;
            let other = Bystander::start(self.controller.address, PERIOD);
            sleep(AFTERWARDS).await;
            self.deploy_once(&mut Samples::default()).await?;
            let (times, closed) = other.stop().await;
            if let Some(error) = closed {
                self.report
                    .fault(format!("another client during a deployment: {error}"));
            }
            slowest.extend(times.into_iter().max());
        }
        self.report.times("deploy: slowest get_instances", &slowest);
        Ok(())
    }

    /// So many agents restart at the same time.
    async fn restart_agents(&mut self, name: &str, agents: usize) -> Result<(), Failure> {
        let (before, cpu) = (self.fleet.tally().now(), self.cpu()?);
        let began = self.fleet.restart(0..agents).await?;
        self.deployed_again(name, &before, began, |place| place < agents)
            .await?;
        self.used(format!("{name}, CPU"), cpu).await
    }

    /// Kills the controller, and goes on with the next one.
    async fn restart_controller(self) -> Result<Self, Failure> {
        let (launch, before) = (self.launch, self.fleet.tally().now());
        let began = Instant::now();
        let home = self.controller.kill().await?;
        let controller = launch.start_in(home).await?;
        let mut scene = Self { controller, ..self };
        scene.connected().await?;
        scene
            .report
            .times("controller killed, connected", &[began.elapsed()]);
        scene
            .deployed_again("controller killed", &before, began, |_| true)
            .await?;
        scene.used("controller killed, CPU", Duration::ZERO).await?;
        Ok(scene)
    }

    /// Waits until the controller knows all agents.
    async fn connected(&mut self) -> Result<(), Failure> {
        self.fleet
            .tally()
            .all("agents to be connected", |_, seen| seen.connected)
            .await?;
        let mut client = self.client().await?;
        loop {
            let request = get_instances(&self.reqid());
            let answer = client.request(&request).await?.response;
            let known = match &answer.results()[0].data {
                Some(Data::Vector(known)) => known.len(),
                _ => 0,
            };
            if known >= usize::from(self.plan.kind.agents) {
                return Ok(());
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until these agents have been deployed to, or welcomed if the controller knows that they need no more, and it does nothing
    /// further.
    async fn deployed_again(
        &mut self,
        name: &str,
        before: &[Seen],
        began: Instant,
        which: impl Fn(usize) -> bool,
    ) -> Result<(), Failure> {
        let asked = |place: usize, seen: &Seen| {
            let before: &Seen = &before[place];
            let deployed = seen.deploys > before.deploys;
            let is_left_out = seen.linked > before.linked && seen.welcomes > before.welcomes;
            !which(place) || (seen.connected && (deployed || is_left_out))
        };
        self.fleet
            .tally()
            .all(&format!("{name}: agents to be deployed to"), asked)
            .await?;
        loop {
            // While it has work it answers no client.
            let request = get_instances(&self.reqid());
            self.client().await?.request(&request).await?;
            let last = self.fleet.tally().last();
            sleep(QUIET).await;
            if self.fleet.tally().last() == last {
                let again = last.saturating_duration_since(began);
                self.report.times(format!("{name}, deployed again"), &[again]);
                return Ok(());
            }
        }
    }

    /// A client for now: one that is not read, as while agents are waited for, is disconnected.
    async fn client(&self) -> Result<Client, Failure> {
        Client::connect(self.controller.address).await
    }

    /// Asks, and takes the times until the answer, which has to be a success with so many results.
    async fn asked(
        &mut self,
        name: &str,
        expected: usize,
        request: impl FnOnce(String) -> ClientRequest,
        samples: &mut Samples,
    ) -> Result<(), Failure> {
        let request = request(self.reqid());
        let mut client = self.client().await?;
        let cpu = self.cpu()?;
        let answer = client.request(&request).await?;
        sleep(AFTERWARDS).await;
        samples.wall.push(answer.elapsed);
        samples.cpu.push(self.cpu()?.saturating_sub(cpu));
        let results = answer.response.results();
        let bad: Vec<_> = results.iter().filter(|result| !result.success).collect();
        if results.len() != expected || !bad.is_empty() {
            let (all, failed) = (results.len(), bad.len());
            let first = bad.first().map(ToString::to_string).unwrap_or_default();
            self.report.fault(format!(
                "{name}: {all} results for {expected}, {failed} failed: {first}"
            ));
        }
        Ok(())
    }

    /// Every agent has to have been asked once.
    fn once(&mut self, name: &str, before: &[Seen], count: impl Fn(&Seen) -> u64) {
        let now = self.fleet.tally().now();
        let others = now
            .iter()
            .zip(before)
            .filter(|(now, before)| count(now) != count(before) + 1);
        let others = others.count();
        if others > 0 {
            self.report.fault(format!(
                "{name}: {others} of {} agents were not asked once",
                now.len()
            ));
        }
    }

    fn all_nodes(&self) -> usize {
        usize::from(self.plan.kind.agents) * usize::from(self.plan.nodes)
    }

    fn reqid(&mut self) -> String {
        self.requests += 1;
        format!("scale-{}.", self.requests)
    }

    fn cpu(&self) -> Result<Duration, Failure> {
        usage::cpu(self.controller.process()?)
    }

    /// What the controller has used since it had used that much.
    async fn used(&mut self, name: impl Into<String>, before: Duration) -> Result<(), Failure> {
        sleep(AFTERWARDS).await;
        let used = self.cpu()?.saturating_sub(before);
        self.report.times(name, &[used]);
        Ok(())
    }

    fn samples(&mut self, name: &str, samples: &Samples) {
        self.report.times(format!("{name}, wall"), &samples.wall);
        self.report.times(format!("{name}, CPU"), &samples.cpu);
    }
}
