//! The controller with many agents, by mgmt-bench, which fails if an agent is not asked once for each request, or an answer lacks a result. What
//! is checked here is counted, not timed.

use std::process::Command;

use serde_json::Value;

use crate::support::{controller, program};

const AGENTS: u64 = 50;
const NODES: u64 = 4;

/// How much memory a deployment may take for a while, in KiB, beyond what the controller has with its agents connected.
const DEPLOYMENT_MAX: u64 = 6 * 1024;

#[test]
fn each_agent_is_asked_once_and_a_deployment_takes_little_memory() {
    let bench = program::build("tools", "mgmt-bench");
    let [agents, nodes] = [AGENTS, NODES].map(|number| number.to_string());
    for speaks in ["scripts", "extension"] {
        let mut command = Command::new(&bench);
        command.arg("--controller").arg(controller::binary());
        command.args([
            "--json", "--agents", &agents, "--nodes", &nodes, "--speaks", speaks,
        ]);
        let report = program::run_command(&mut command).json(0);
        let kib = |value: &Value| value.as_u64().expect("a number of KiB");
        let connected = kib(&of(&report["memory"], "connected")["rss_kib"]);
        let peak = kib(of(&report["resident"], "peak resident, deploying"));
        let taken = peak.saturating_sub(connected);
        assert!(taken < DEPLOYMENT_MAX, "{taken} KiB: {report}");
    }
}

/// The figure of this name.
fn of<'a>(figures: &'a Value, name: &str) -> &'a Value {
    let figures = figures.as_array().expect("a list of names and figures");
    let found = figures.iter().find(|figure| figure[0] == name);
    &found.unwrap_or_else(|| panic!("there is no {name}: {figures:?}"))[1]
}
