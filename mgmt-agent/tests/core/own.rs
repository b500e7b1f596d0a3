//! Our own supervision without processes: when nodes are started, ended and started again, as lists of times.

mod restarts;
mod run;
mod upgrade;

use std::{collections::BTreeMap, sync::Arc};

use broker_codec::data::ZeekString;
use mgmt_agent::{
    core::{Action, Command, LaunchSettings, Report, Turn},
    supervisors::{
        Input, Supervisor,
        own::{End, News, OwnSupervisor},
    },
};
use mgmt_api::Now;
use proptest::prelude::*;

use self::run::{Run, S, settings, spec};

const ALL: [&str; 5] = ["w1", "w2", "p", "m", "l1"];

#[test]
fn stages_start_one_after_the_other_when_all_are_up() {
    let mut run = Run::new();
    run.command("create", &ALL);
    run.take("0 start l1");
    run.pass(S);
    run.up("l1");
    run.take("1000 start m");
    run.up("m");
    run.take("1000 start p");
    run.pass(S);
    run.up("p");
    run.take("2000 start w1; 2000 start w2");
}

#[test]
fn a_stage_that_does_not_come_up_delays_the_next_only_so_long() {
    let mut run = Run::new();
    run.command("create", &ALL);
    run.pass(60 * S);
    run.take("0 start l1; 10000 start m; 20000 start p; 30000 start w1; 30000 start w2");
    let expected = [
        "10000 starts m after 10 s, all the same: l1 has not connected to the agent",
        "20000 starts p after 10 s, all the same: m has not connected to the agent",
        "30000 starts w1, w2 after 10 s, all the same: p has not connected to the agent",
    ];
    assert_eq!(run.warnings, expected);
}

#[test]
fn workers_end_first_and_loggers_last() {
    let mut run = Run::new();
    run.command("create", &ALL);
    run.pass(60 * S);
    run.log.clear();
    run.command("destroy", &ALL);
    run.take(
        "60000 end w1; 60000 end w2; 60000 forget w1; 60000 forget w2; 60000 end m; 60000 end p; 60000 forget m; 60000 forget p; \
         60000 end l1; 60000 forget l1",
    );
    assert!(run.own.has_no_process());
}

#[test]
fn one_that_does_not_end_is_killed_after_a_minute_and_keeps_the_others_of_later_stages_waiting() {
    let mut run = Run::new();
    run.command("create", &["l1", "w1"]);
    run.pass(60 * S);
    run.log.clear();
    run.is_obedient = false;
    run.command("destroy", &["l1", "w1"]);
    run.pass(59 * S);
    run.take("60000 end w1");
    run.is_obedient = true;
    run.pass(S);
    run.take("120000 kill w1; 120000 forget w1; 120000 end l1; 120000 forget l1");
}

#[test]
fn one_that_does_not_end_delays_the_start_of_others_for_ten_seconds() {
    let mut run = Run::new();
    run.command("create", &["w1", "w2"]);
    run.up("w1");
    run.up("w2");
    run.log.clear();
    run.is_obedient = false;
    run.command("restart", &["w1"]);
    run.is_obedient = true;
    run.command("restart", &["w2"]);
    run.pass(60 * S);
    run.take("0 end w1; 0 end w2; 10000 start w2; 60000 kill w1; 60000 start w1");
    assert_eq!(
        run.warnings[0],
        "10000 starts w2 after 10 s, all the same: w1 has not ended"
    );
}

#[test]
fn a_restart_of_all_ends_all_in_order_before_the_first_starts() {
    let mut run = Run::new();
    run.command("create", &["l1", "m", "w1"]);
    run.pass(60 * S);
    run.log.clear();
    run.command("restart", &["l1", "m", "w1"]);
    run.take("60000 end w1; 60000 end m; 60000 end l1; 60000 start l1");
    run.up("l1");
    run.up("m");
    run.take("60000 start m; 60000 start w1");
}

#[test]
fn one_that_lacks_something_waits_for_it_and_starts_within_a_second() {
    let mut run = Run::new();
    run.lacking.push("w1".into());
    run.command("create", &["w1"]);
    run.pass(1000 * S);
    run.take("0 w1 waits: interface eth9 is not there");
    run.lacking.clear();
    run.pass(S);
    run.take("1001000 start w1");
}

#[test]
fn one_that_is_replaced_or_given_up_while_it_waits_is_not_started_as_it_was() {
    let mut run = Run::new();
    run.lacking.push("w1".into());
    run.command("create", &["w1"]);
    run.command("destroy", &["w1"]);
    run.pass(10 * S);
    run.take("0 w1 waits: interface eth9 is not there; 0 forget w1");
    run.command("create", &["w1"]);
    run.lacking.clear();
    run.command("create", &["w1"]);
    run.take("10000 w1 waits: interface eth9 is not there; 10000 start w1");
}

#[test]
fn one_that_has_read_its_trace_is_done_and_others_that_end_with_success_are_not() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    let mut trace = spec("w2");
    trace
        .options
        .insert("mgmt.pcap_file".into(), "/trace.pcap".into());
    let node = Box::new(trace);
    run.step(Input::Command(Command::Create { id: "t".into(), node }));
    run.settle();
    run.end("w1", End::Exit(0));
    run.end("w2", End::Exit(0));
    run.take("0 start w1; 0 start w2; 0 w1 crashed: exit status 0; 0 w2 is done; 0 forget w2");
}

#[test]
fn a_process_that_is_to_end_does_not_speak_for_the_one_that_takes_its_place() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    assert!(run.own.token_of(&"w1".into()).is_some());
    run.is_obedient = false;
    for kind in ["restart", "create", "destroy"] {
        run.command(kind, &["w1"]);
        assert_eq!(run.own.token_of(&"w1".into()), None, "{kind}");
    }
}

#[test]
fn a_node_that_looks_for_its_agent_elsewhere_is_not_taken_for_one_that_may_run_on() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    let spec_of = |port: u16| {
        let mut other = Run::new();
        other.own = OwnSupervisor::new(LaunchSettings {
            agent_port: port,
            ..settings()
        });
        other.processes.insert("w1".into(), false);
        other.found.push((*run.launches[&ZeekString::from("w1")]).clone());
        other.news(News::Available);
        let mut turn = Turn::new(other.now);
        let status = Command::Status { id: "s".into() };
        match &other.own.step(&mut turn, Input::Command(status))[..] {
            [Report::Status { status, .. }] => status[&ZeekString::from("w1")].spec.is_some(),
            reports => panic!("{reports:?}"),
        }
    };
    assert!(spec_of(settings().agent_port));
    assert!(!spec_of(1));
}

#[test]
fn a_worker_that_joins_while_a_node_is_being_started_is_told_to_it_once_when_it_is_up() {
    let mut own = OwnSupervisor::new(settings());
    let mut step = |input| {
        let mut turn = Turn::new(Now::START);
        own.step(&mut turn, input);
        let asked = turn.into_actions().into_iter().filter_map(|action| match action {
            Action::AskLinked(request) => Some(format!("{request:?}")),
            _ => None,
        });
        asked.collect::<Vec<_>>()
    };
    let command = |id: &str, more: Option<&str>| {
        let mut node = Box::new(spec("m"));
        let worker = node.cluster[&ZeekString::from("w1")].clone();
        let cluster = Arc::make_mut(&mut node.cluster);
        cluster.extend(more.map(|name| (name.into(), worker)));
        let id = id.into();
        Input::Command(if more.is_none() {
            Command::Create { id, node }
        } else {
            Command::Relayout { id, node }
        })
    };
    step(Input::News(News::Looked));
    step(command("1", None));
    step(Input::Tick);
    step(command("2", Some("w9")));
    let node: ZeekString = "m".into();
    step(Input::News(News::Started { node, pid: 7 }));
    step(Input::Up("m".into()));
    let told = step(Input::Tick);
    assert!(told.len() == 1 && told[0].contains("w9"), "{told:?}");
    assert_eq!(step(Input::Tick), [""; 0]);
}

#[test]
fn which_workers_a_node_knows_is_written_down_when_it_has_been_told() {
    let mut run = Run::new();
    run.command("create", &["m"]);
    let with_another = |name: &str| {
        let mut node = Box::new(spec(name));
        let worker = node.cluster[&ZeekString::from("w1")].clone();
        Arc::make_mut(&mut node.cluster).insert("w9".into(), worker);
        node
    };
    let (id, node) = ("r".into(), with_another("m"));
    run.step(Input::Command(Command::Relayout { id, node }));
    run.settle();
    run.pass(5 * S);
    run.take("0 start m");
    run.up("m");
    run.pass(S);
    run.take("6000 rewrite m");
    run.pass(60 * S);
    run.take("");
    // It is started with what it was to know.
    let (id, node) = ("s".into(), Box::new(spec("m")));
    run.step(Input::Command(Command::Relayout { id, node }));
    run.settle();
    run.take("66000 rewrite m");
    run.end("m", End::Exit(1));
    run.pass(S);
    run.take("66000 m crashed: exit status 1; 66517 start m");
}

#[test]
fn a_node_that_is_to_end_is_there_until_its_process_has_ended() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    run.is_obedient = false;
    run.command("destroy", &["w1"]);
    let mut turn = Turn::new(run.now);
    let status = Command::Status { id: "s".into() };
    let reports = run.own.step(&mut turn, Input::Command(status));
    let [Report::Status { status, .. }] = &reports[..] else {
        panic!("{reports:?}");
    };
    let ending = &status[&ZeekString::from("w1")];
    assert_eq!((ending.pid, &ending.spec), (Some(101), &None));
    assert!(run.gone.is_empty());
    run.log.clear();
    run.pass(60 * S);
    run.take("60000 kill w1; 60000 forget w1");
    assert_eq!(run.gone, ["w1"]);
}

#[test]
fn a_node_of_another_agent_is_left_alone() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    let mut launch = (*run.launches[&ZeekString::from("w1")]).clone();
    launch.agent = "another".into();
    let mut other = Run::new();
    other.own = OwnSupervisor::new(LaunchSettings::default());
    other.found.push(launch);
    other.news(News::Available);
    other.command("destroy", &["w1"]);
    other.take("ready");
}

#[test]
fn a_node_that_was_found_is_kept_and_ends_as_any_other() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    let launch = run.launches[&ZeekString::from("w1")].clone();
    let mut other = Run::new();
    other.own = OwnSupervisor::new(settings());
    other.processes.insert("w1".into(), false);
    other.found.push(*launch);
    other.news(News::Available);
    let mut turn = Turn::new(other.now);
    let reports = other
        .own
        .step(&mut turn, Input::Command(Command::Status { id: "s".into() }));
    let [Report::Status { status, .. }] = &reports[..] else {
        panic!("{reports:?}");
    };
    let found = &status[&ZeekString::from("w1")];
    assert_eq!((found.pid, found.spec.as_deref()), (Some(7), Some(&spec("w1"))));
    other.take("ready");
    other.end("w1", End::Unknown);
    other.pass(S);
    other.command("destroy", &["w1"]);
    assert!(other.own.has_no_process());
}

proptest! {
    /// Whatever is commanded and happens, no node runs twice (which the run sees), and all comes to rest as it was last wanted.
    #[test]
    fn no_node_ever_runs_twice(steps in prop::collection::vec((0..6_u8, 0..7_usize, 0..20_u32), 1..120)) {
        const NODES: [&str; 7] = ["l1", "l2", "m", "p", "w1", "w2", "w3"];
        let mut run = Run::new();
        let mut wanted: BTreeMap<&str, bool> = BTreeMap::new();
        for (what, index, time) in steps {
            let node = NODES[index];
            match what {
                0 => {
                    run.command("create", &[node]);
                    wanted.insert(node, true);
                }
                1 => {
                    run.command("destroy", &[node]);
                    wanted.insert(node, false);
                }
                2 => run.command("restart", &[node]),
                3 if run.processes.contains_key(&ZeekString::from(node)) => run.end(node, End::Exit(1)),
                4 => run.up(node),
                5 => run.is_obedient = !run.is_obedient,
                _ => {}
            }
            run.pass(time * S);
        }
        run.is_obedient = true;
        run.pass(3600 * S);
        for (node, is_wanted) in wanted {
            prop_assert_eq!(run.processes.contains_key(&ZeekString::from(node)), is_wanted, "{}: {}", node, run.log.join("; "));
        }
    }
}
