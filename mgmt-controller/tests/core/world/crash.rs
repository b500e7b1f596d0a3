//! Crashes of the controller: between any two of its actions, in the middle of a write, or between a write and its end.

use mgmt_api::{ClientRequest, Dialect, WallClock};
use mgmt_controller::core::{Changes, Configurations, Input, WriteId};

use super::{Counted, Duration, HEALING, Happening, Host, Now, World, controller, number};

impl World {
    pub(super) fn write(&mut self, id: WriteId, write: Changes) {
        self.writes.insert(id, write);
        let longest = if self.troubled { self.slowest_write } else { 6 };
        let delay = self.dice.millis(5, longest);
        let success = !(self.troubled && self.dice.percent(5));
        self.after(delay, Happening::Persisted(success));
    }

    /// Whether the controller ends before it has carried out its next action, and those after it.
    pub(super) fn crashes_before_an_action(&mut self) -> bool {
        if let Some(left) = &mut self.actions_left {
            let now = *left == 0;
            if now {
                self.actions_left = None;
            } else {
                *left -= 1;
            }
            return now;
        }
        self.troubled && self.dice.below(1000) == 0
    }

    pub(super) fn crash_controller(&mut self) {
        self.saw("a crash of the controller", 1);
        let refused = self.controller.counters().get(Counted::HellosRefused);
        self.saw("a refused hello", refused);
        // A write that was under way is durable or not; those after it are not if it is not.
        while let Some((_, write)) = self.writes.pop_first() {
            if self.dice.percent(50) {
                self.writes.clear();
            } else {
                self.durable.apply(write);
            }
        }
        self.controller = controller(&self.settings, self.durable.clone());
        self.given.clear();
        self.owed.clear();
        self.operating.clear();
        self.begun = None;
        self.deployments.clear();
        self.targets.clear();
        self.network.end_all();
        self.queue
            .retain(|_, happening| !matches!(happening, Happening::Notice(_)));
        for host in 0..self.hosts.len() {
            let delay = self.dice.millis(1, 2000);
            self.after(delay, Happening::Connect(host));
        }
        self.step(Input::Started {
            broker_id: "id".into(),
            broker: None,
            websocket: None,
            wall_clock: WallClock::default(),
        });
    }

    fn crashes(&self) -> u64 {
        self.seen
            .get("a crash of the controller")
            .copied()
            .unwrap_or_default()
    }

    /// Waits until the agents that connect by themselves have said hello.
    fn calm(seed: u64) -> Self {
        let mut world = Self::new(seed);
        world.troubled = false;
        world
            .queue
            .retain(|_, happening| matches!(happening, Happening::Connect(_)));
        world.until(Now::START + Duration::from_secs(5));
        world
    }

    /// Stages and deploys, as far as the controller lives. The durable states before that, in between, and at the end.
    fn deploy_unless_it_crashes(&mut self) -> [Configurations; 3] {
        let config = self.random_configuration();
        let (reqid, of_deployment) = (self.fresh_reqid(), self.fresh_reqid());
        let before = self.durable.clone();
        self.answers.clear();
        self.ask(ClientRequest::StageConfiguration { reqid, config });
        self.until(self.now + Duration::from_secs(1));
        let staged = self.durable.clone();
        if self.crashes() == 0 {
            self.ask(ClientRequest::Deploy { reqid: of_deployment });
        }
        self.until(self.now + HEALING);
        [before, staged, self.durable.clone()]
    }
}

/// Stage, deploy, and crash before the n-th action, for every n.
#[test]
fn a_crash_before_any_action_of_a_deployment_leaves_a_state_of_the_deployment_and_a_cluster_that_has_it() {
    let mut found = [0; 3];
    for seed in 0..number("WORLD_CRASHES", 10) {
        let calm = || {
            let mut world = World::calm(seed);
            world.deploy_at_last();
            world
        };
        let mut world = calm();
        world.actions_left = Some(u64::MAX);
        let stations = world.deploy_unless_it_crashes();
        let actions = u64::MAX - world.actions_left.expect("no crash");
        assert_eq!(world.answers.len(), 2);
        assert!(actions > 5, "a deployment takes more than {actions} actions");

        for left in 0..actions {
            let mut world = calm();
            world.actions_left = Some(left);
            world.deploy_unless_it_crashes();
            let at = format!("seed {seed}, before action {left} of {actions}");
            assert_eq!(world.crashes(), 1, "{at}");
            let station = stations.iter().rposition(|station| *station == world.durable);
            let station =
                station.unwrap_or_else(|| panic!("{at}: {:#?} is none of {stations:#?}", world.durable));
            assert!(station >= world.answers.len(), "{at}: answered, and lost");
            let deployed = world.durable.deployed.clone().expect("there was one before");
            world.assert_runs(&deployed);
            let wanted = |host: &Host| {
                deployed
                    .instances
                    .iter()
                    .any(|instance| instance.name == host.name)
            };
            // Where the controller ended after it had stored and before it told them, it tells those that come back. It does not connect to
            // instances that are not in the cluster, and agents of 4.1 are not known to be such before they are welcomed.
            let told = |host: &&Host| !wanted(host) && !host.listens && host.dialect != Dialect::V4_1;
            for host in world.hosts.iter().filter(told) {
                assert_eq!(host.agent.running(), None, "{at}: {}", host.name);
            }
            world.deploy_at_last();
            found[station] += 1;
        }
    }
    assert!(found.into_iter().all(|count| count > 0), "{found:?}");
}
