//! When a node that has ended by itself is started again, and when it has failed.

use std::time::Duration;

use mgmt_agent::{
    core::{Command, NodePolicy, NodeSpec},
    supervisors::{Input, own::End},
};

use super::run::{Run, S, spec};

#[test]
fn one_that_ends_early_has_failed_after_five_times_and_is_tried_again_every_five_minutes() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    let mut died = Vec::new();
    for _ in 0..7 {
        run.pass(S);
        died.push(run.now);
        run.end("w1", End::Exit(1));
        run.pass(Duration::from_millis(1));
        while run.processes.is_empty() {
            run.pass(Duration::from_millis(100));
        }
    }
    let log = run.log.join("; ");
    assert_eq!(log.matches("w1 crashed: exit status 1").count(), 4, "{log}");
    assert_eq!(log.matches("w1 failed: exit status 1").count(), 3, "{log}");
    let starts = run.starts("w1");
    let died = died.iter().map(|at| at.since_start().as_secs_f64());
    let pauses: Vec<f64> = died.zip(&starts[1..]).map(|(died, start)| start - died).collect();
    for (pause, least) in pauses.iter().zip([0.5, 1.0, 2.0, 4.0, 300.0, 300.0, 300.0]) {
        assert!((least..=least * 1.25 + 0.01).contains(pause), "{pauses:?}");
    }
    assert!((pauses[4] - pauses[5]).abs() > 0.1, "{pauses:?} are not spread");
}

#[test]
fn workers_of_a_fan_out_group_that_end_together_start_together_and_others_do_not() {
    let starts = |interface: &str| {
        let mut run = Run::new();
        for name in ["w1", "w2"] {
            let node = Box::new(NodeSpec {
                interface: Some(interface.into()),
                ..spec(name)
            });
            run.step(Input::Command(Command::Create {
                id: name.into(),
                node,
            }));
        }
        run.settle();
        for _ in 0..4 {
            run.end("w1", End::Exit(1));
            run.end("w2", End::Exit(1));
            run.pass(10 * S);
        }
        let of = |node: &str| {
            let starts = run
                .log
                .iter()
                .filter_map(|line| line.strip_suffix(&format!(" start {node}")));
            starts.map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        (of("w1"), of("w2"))
    };
    let (one, other) = starts("af_packet::eth0");
    assert_eq!((one.len(), &one), (5, &other));
    let (one, other) = starts("eth0");
    assert!(one.len() == 5 && one[1..] != other[1..], "{one:?} {other:?}");
}

#[test]
fn when_a_node_is_killed_and_started_again_is_as_an_operator_chooses() {
    let chosen = NodePolicy {
        stop_timeout: 5 * S,
        restart_max: S,
        fails_after: 0,
        failed_retry: 7 * S,
        stage_timeout: 3 * S,
    };
    let mut run = Run::with(chosen);
    run.command("create", &["l1", "w1"]);
    run.pass(10 * S);
    run.take("0 start l1; 3000 start w1");
    run.is_obedient = false;
    run.command("destroy", &["l1"]);
    run.pass(5 * S);
    run.take("10000 end l1; 15000 kill l1; 15000 forget l1");
    let pauses = |run: &mut Run| {
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let died = run.now.since_start().as_secs_f64();
            run.end("w1", End::Exit(1));
            while run.processes.is_empty() {
                run.pass(Duration::from_millis(10));
            }
            pauses.push(run.starts("w1")[0] - died);
        }
        pauses
    };
    let never = pauses(&mut run);
    assert!(
        never[3..].iter().all(|pause| (1.0..=1.26).contains(pause)),
        "{never:?}"
    );
    let mut run = Run::with(NodePolicy {
        fails_after: 2,
        ..chosen
    });
    run.command("create", &["w1"]);
    let soon = pauses(&mut run);
    assert!(
        soon[1..].iter().all(|pause| (7.0..=8.76).contains(pause)),
        "{soon:?}"
    );
}

#[test]
fn one_that_lives_for_long_between_its_ends_waits_longer_but_never_fails() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    for _ in 0..20 {
        run.up("w1");
        run.pass(31 * S);
        run.end("w1", End::Exit(1));
        while run.processes.is_empty() {
            run.pass(S);
        }
    }
    let log = run.log.join("; ");
    assert!(!log.contains("failed"), "{log}");
    let starts = run.starts("w1");
    let last = starts[starts.len() - 1] - starts[starts.len() - 2] - 31.0;
    assert!((60.0..=76.0).contains(&last), "{starts:?}");
}

/// As one that hangs in `before_start` until that is ended.
#[test]
fn one_that_never_comes_up_fails_however_long_that_takes() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    for _ in 0..5 {
        run.pass(61 * S);
        run.end("w1", End::Exit(1));
        while run.processes.is_empty() {
            run.pass(S);
        }
    }
    let log = run.log.join("; ");
    assert!(log.contains("w1 failed"), "{log}");
}

#[test]
fn what_it_has_lived_makes_up_for_early_ends() {
    let mut run = Run::new();
    run.command("create", &["w1"]);
    for _ in 0..4 {
        run.pass(S);
        run.end("w1", End::Exit(1));
        run.pass(10 * S);
    }
    run.up("w1");
    run.pass(600 * S);
    run.log.clear();
    let died = run.now;
    run.end("w1", End::Exit(1));
    run.pass(S);
    let pause = run.starts("w1")[0] - died.since_start().as_secs_f64();
    assert!((0.5..=0.63).contains(&pause), "{pause}");
}
