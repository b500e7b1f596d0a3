//! With an installed Zeek and the framework's scripts of earlier ages: their agents under our controller, and their controllers over our
//! agent, with real cluster nodes.
//!
//! `MGMT_ERA_SCRIPTS` names a directory with a directory for each age, `4.1`, `4.2` (the releases), `A` and `B` (Zeek's commits 9efc214d42 and
//! 54aaf3a623). `MGMT_ERA` is one of them where the others are not wanted. Each holds
//! `policy/frameworks/cluster` or `policy/frameworks/management` of that age, with three changes so that Zeek 9.0 can run them: in
//! `boot.zeek`, `$scripts` is `$addl_base_scripts`, and in `agent/main.zeek`, `nc$scripts` is `nc$addl_user_scripts`; `boot.zeek` and `main.zeek` load
//! `policy/frameworks/cluster/backend/broker`; each `Broker::auto_publish(T, E)` is a handler of E that publishes on T unless
//! `is_remote_event()`.

mod client;
mod nodes;
mod zeek;

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use testkit::ReservedPort;

use self::{
    client::Client,
    nodes::Nodes,
    zeek::{ERAS, Era, Zeek, connecting},
};
use crate::{
    live::{pending, with_zeek},
    live_controller::{AGENT, NO_METRICS, client as zeek_client, run, wait_for_the_agent},
    support::{
        cluster::{self, Instance, Plan, Protection},
        controller::Controller,
    },
};

/// How often an agent is restarted that must have its nodes again each time: it says hello before it has reached its Supervisor.
const RESTARTS: usize = 20;

/// Runs a test for each age whose scripts are there, one after the other.
fn with_eras(test: impl Fn(&Path, &Path, Era)) {
    with_zeek(|prefix| {
        let Some(scripts) = env::var_os("MGMT_ERA_SCRIPTS").map(PathBuf::from) else {
            return pending("MGMT_ERA_SCRIPTS does not say where the scripts of earlier ages are");
        };
        let wanted = env::var("MGMT_ERA").ok();
        for era in ERAS {
            if wanted.as_ref().is_some_and(|wanted| *wanted != era.name) {
                continue;
            }
            let scripts = scripts.join(era.name);
            assert!(scripts.is_dir(), "{} is no directory", scripts.display());
            test(prefix, &scripts, era);
        }
    });
}

#[test]
fn agents_of_earlier_ages_deploy_report_and_recover_under_our_controller() {
    with_eras(|prefix, scripts, era| {
        let clients = ["--client-api", era.api.unwrap_or(era.name), NO_METRICS];
        let mut controller = Controller::start(&[&clients[..], &era.agent_api()].concat());
        let address = controller.websocket();
        let further = connecting(era, controller.broker());
        let reserved = ReservedPort::new("127.0.0.1");
        let zeek = Zeek::start(prefix, scripts, era, "agent", reserved.port(), &further);
        wait_for_the_agent(address);
        let nodes = Nodes::new();
        let answer = zeek_client(address, &["deploy-config", "-"], Some(&nodes.configuration()));
        assert_eq!(answer["errors"], json!([]), "{}", era.name);
        let before = nodes.wait(&[]);
        report(address, era, &nodes);

        // A client of the age asks before it has said anything that tells its age.
        let mut old = Client::connect(controller.broker(), era);
        let get_instances =
            |reqid: &str| format!("{}::API::get_instances_request(\"{reqid}\")", era.controller);
        let instances = old.ask_until(get_instances, |_| true);
        let expected = match era.name {
            "4.1" => format!("(\"asked-1\", [[\"{AGENT}\", 127.0.0.1, -]])"),
            _ => format!("(\"asked-1\", [\"asked-1\", \"\", T, [[\"{AGENT}\", 127.0.0.1, -]], \"\", -])"),
        };
        assert!(instances.ends_with(&expected), "{instances}");

        nodes.survive(before);
        zeek.stop();
        controller.stop();
    });
}

/// What zeek-client says about the nodes, as far as the agent can.
fn report(address: SocketAddr, era: Era, nodes: &Nodes) {
    let lacking = |what| {
        format!(
            "instance {AGENT} runs the agent of {}, which cannot {what}",
            era.release
        )
    };
    let ask = |arguments: &[&str]| -> (i32, Value) {
        let outcome = run(address, arguments, None);
        let printed = serde_json::from_str(&outcome.stdout).expect("zeek-client prints JSON");
        (outcome.exit, printed)
    };
    let (exit, listed) = ask(&["get-nodes"]);
    if era.lists_nodes {
        assert_eq!((exit, &listed["errors"]), (0, &json!([])));
        for name in nodes.names() {
            assert_eq!(listed["results"][AGENT][name]["state"], "RUNNING", "{listed}");
        }
    } else {
        let error = json!([{ "source": AGENT, "error": lacking("list its nodes") }]);
        assert_eq!((exit, &listed["errors"]), (1, &error));
    }
    for (arguments, what) in [
        (&["get-id-value", "bits_per_uid"][..], "read variables"),
        (&["restart"], "restart nodes"),
    ] {
        let (exit, answer) = ask(arguments);
        assert_eq!((exit, &answer["errors"][0]["error"]), (1, &json!(lacking(what))));
    }
}

#[test]
fn a_restarted_agent_of_an_earlier_age_has_its_nodes_again_each_time() {
    with_eras(|prefix, scripts, era| {
        let mut controller = Controller::start(&[&[NO_METRICS][..], &era.agent_api()].concat());
        let address = controller.websocket();
        let further = connecting(era, controller.broker());
        let nodes = Nodes::new();
        let reserved = ReservedPort::new("127.0.0.1");
        let start = || Zeek::start(prefix, scripts, era, "agent", reserved.port(), &further);
        let mut zeek = start();
        wait_for_the_agent(address);
        let answer = zeek_client(address, &["deploy-config", "-"], Some(&nodes.configuration()));
        assert_eq!(answer["errors"], json!([]), "{}", era.name);
        let mut before = nodes.wait(&[]);
        for _ in 0..RESTARTS {
            zeek.stop();
            zeek = start();
            before = nodes.wait(&before);
        }
        zeek.stop();
        controller.stop();
    });
}

#[test]
fn controllers_of_earlier_ages_deploy_report_and_recover_with_our_agent() {
    with_eras(|prefix, scripts, era| {
        let reserved = ReservedPort::new("127.0.0.1");
        let at = reserved.address();
        let zeek = Zeek::start(prefix, scripts, era, "controller", at.port(), &[]);
        let anonymous = Protection::Anonymous;
        let mut plan = Plan::new(AGENT, Some(at), &anonymous);
        plan.zeek = cluster::Zeek::Started(prefix.into());
        plan.further.push("Management::Agent::archive_logs=F".to_owned());
        if let Some(api) = era.api {
            plan.further
                .extend(["--controller-api".to_owned(), api.to_owned()]);
        }
        let mut instance = Instance::start(plan);
        let mut old = Client::connect(at, era);

        let nodes = Nodes::new();
        let succeeded = |answer: &str| answer.contains(", T, -, \"\", -]");
        old.ask_until(|reqid| nodes.request(era, reqid), succeeded);
        let before = nodes.wait(&[]);
        let mut report = |running: usize| {
            let get_nodes = |reqid: &str| format!("{}::API::get_nodes_request(\"{reqid}\")", era.controller);
            if era.lists_nodes {
                // The agent, too.
                old.ask_until(get_nodes, |answer| {
                    answer.matches("::RUNNING").count() == 1 + running
                });
            }
        };
        report(2);

        nodes.survive(before);
        report(2);

        // What the agent refuses is told, not waited for.
        let refused = |reqid: &str| {
            let [manager, _] = nodes.names();
            let [known, unknown] =
                [AGENT, "elsewhere"].map(|instance| format!("\"{manager}\", \"{instance}\""));
            // Under another id, for an agent does not run the same twice.
            let request = nodes.request(era, reqid).replace("\"config\"", "\"refused\"");
            request.replace(&known, &unknown)
        };
        old.ask_until(refused, |answer| answer.contains(", F, -, \""));
        instance.stop();
        zeek.stop();
    });
}
