//! A cluster as an operator has it: by zeek-client.

use std::{collections::BTreeMap, io::Write, process::Child};

use rustix::process::Pid;
use serde_json::{Value, json};

use super::{
    cluster_file::ClusterFile, controller::Controller, limit::Limit, program::Outcome,
    zeek_client::ZeekClient,
};

/// State and process of each node, as `get-nodes` shows them.
pub(crate) type States = BTreeMap<String, (String, Option<Pid>)>;

/// A controller, and the latest zeek-client.
#[derive(Debug)]
pub(crate) struct Operated {
    pub(crate) controller: Controller,
    client: ZeekClient,
}

impl Operated {
    pub(crate) fn new(controller: Controller, client: ZeekClient) -> Self {
        Self { controller, client }
    }

    pub(crate) fn run(&mut self, arguments: &[&str], stdin: Option<&str>) -> Outcome {
        self.client.run(self.controller.websocket(), arguments, stdin)
    }

    /// Starts zeek-client; the caller has to wait for its end.
    pub(crate) fn begin(&mut self, arguments: &[&str], stdin: &str) -> Child {
        let mut child = self.client.start(self.controller.websocket(), arguments, true);
        let mut input = child.stdin.take().expect("stdin is piped");
        input.write_all(stdin.as_bytes()).expect("it reads");
        child
    }

    /// Runs zeek-client, which must succeed, and returns its results.
    #[track_caller]
    pub(crate) fn succeed(&mut self, arguments: &[&str], stdin: Option<&str>) -> Value {
        let printed = self.run(arguments, stdin).json(0);
        assert_eq!(printed["errors"], json!([]), "{arguments:?}: {printed}");
        printed["results"].clone()
    }

    /// Deploys a cluster, all nodes of which must come up, and run as these processes: those that are known and those that are there are
    /// the same.
    #[track_caller]
    pub(crate) fn deploy(
        &mut self,
        cluster: &ClusterFile,
        pids: impl FnOnce() -> BTreeMap<String, Pid>,
    ) -> BTreeMap<String, Pid> {
        let deployed = self.succeed(&["deploy-config", "-"], Some(&cluster.text()));
        let nodes = deployed["nodes"].as_object().into_iter().flatten();
        for (name, node) in nodes {
            assert_eq!(node["success"], true, "{name}: {deployed}");
        }
        let pids = pids();
        assert!(pids.keys().eq(cluster.names()), "{pids:?}");
        let running = |(name, pid): (&String, &Pid)| (name.clone(), ("RUNNING".to_owned(), Some(*pid)));
        assert_eq!(self.states(), pids.iter().map(running).collect());
        pids
    }

    /// Deploys a cluster, which must fail, and returns what zeek-client prints.
    #[track_caller]
    pub(crate) fn fail(&mut self, cluster: &ClusterFile) -> Value {
        self.run(&["deploy-config", "-"], Some(&cluster.text())).json(1)
    }

    #[track_caller]
    pub(crate) fn states(&mut self) -> States {
        self.states_if_connected().expect("the agents are connected")
    }

    fn states_if_connected(&mut self) -> Option<States> {
        let outcome = self.run(&["get-nodes"], None);
        let results = (outcome.exit == 0).then(|| outcome.json(0)["results"].clone())?;
        let mut states = BTreeMap::new();
        for (instance, nodes) in results.as_object().expect("instances") {
            for (name, node) in nodes.as_object().into_iter().flatten() {
                let pid = node["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
                let state = node["state"].as_str().expect("a state").to_owned();
                if name != instance {
                    states.insert(name.clone(), (state, pid.and_then(Pid::from_raw)));
                }
            }
        }
        Some(states)
    }

    /// Asks for the states until they are good, again as soon as this returns.
    pub(crate) fn states_until(&mut self, good: impl Fn(&States) -> bool, mut pause: impl FnMut()) -> States {
        let mut limit = Limit::new("");
        loop {
            // An agent that was started again may not be back yet.
            let states = self.states_if_connected();
            if let Some(states) = states.clone().filter(&good) {
                return states;
            }
            limit.say(format_args!("other states than {states:?}"));
            limit.left();
            pause();
        }
    }
}
