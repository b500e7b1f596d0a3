use super::*;

/// When this agent starts the unit, and when it changes.
const STARTED: u64 = 100;

/// A unit of this agent's, as systemd tells of it: state, run (none: 0), main process, job.
fn now(state: &str, run: u8, pid: u32, job: u32) -> Snapshot {
    Snapshot {
        state: state.into(),
        invocation: if run == 0 { Vec::new() } else { vec![run] },
        pid,
        last_pid: if run == 0 { 0 } else { u32::from(run) * 10 },
        result: "success".into(),
        job,
        changed: STARTED,
        ..Snapshot::default()
    }
}

/// One that is over.
fn over(run: u8, (code, status): (i32, i32), result: &str, job: u32) -> Snapshot {
    let state = if result == "success" { "inactive" } else { "failed" };
    Snapshot {
        code,
        status,
        result: result.into(),
        ..now(state, run, 0, job)
    }
}

const fn started(pid: i64) -> Told {
    Told::Started { pid }
}

const fn found(pid: i64) -> Told {
    Told::Found { pid, started: 0 }
}

fn ended(run: u8, end: End) -> Told {
    Told::Ended {
        pid: i64::from(run) * 10,
        end,
        invocation: vec![run],
        started: 0,
    }
}

const fn administered(runs: bool) -> Told {
    Told::Administered { runs }
}

const fn killed(number: i32) -> End {
    End::Signal {
        number,
        dumped_core: false,
    }
}

/// What happens to a unit, and what is told of it.
enum Step {
    Start,
    Seen(Snapshot),
    /// With this result, while the host is being shut down or not.
    Job(&'static str, bool),
}
use Step::{Job, Seen, Start};

#[track_caller]
fn plays(steps: impl IntoIterator<Item = (Step, Vec<Told>)>) -> Unit {
    let mut unit = Unit::default();
    for (at, (step, expected)) in steps.into_iter().enumerate() {
        let told = match step {
            Start => {
                unit.start(STARTED);
                Vec::new()
            }
            Seen(now) => unit.seen(now),
            Job(result, is_stopping) => unit.job_ended(result, is_stopping),
        };
        assert_eq!(told, expected, "step {at}");
    }
    unit
}

/// Started by this agent, as systemd 252 tells it.
fn running() -> Vec<(Step, Vec<Told>)> {
    vec![
        (Start, vec![]),
        // It has a process before it is said to be active.
        (Seen(now("inactive", 1, 10, 7)), vec![]),
        (Seen(now("activating", 1, 10, 7)), vec![]),
        (Seen(now("active", 1, 10, 7)), vec![started(10)]),
        (Job("done", false), vec![]),
        (Seen(now("active", 1, 10, 0)), vec![]),
    ]
}

#[track_caller]
fn plays_on(steps: impl IntoIterator<Item = (Step, Vec<Told>)>) {
    plays(running().into_iter().chain(steps));
}

#[test]
fn the_end_of_a_run_of_an_earlier_agent_is_not_that_of_the_one_that_is_being_started() {
    let earlier = |job| Snapshot {
        changed: STARTED - 1,
        ..over(1, (KILLED, 9), "signal", job)
    };
    plays([
        (Start, vec![]),
        (Seen(earlier(7)), vec![]),
        (Seen(now("activating", 2, 20, 7)), vec![]),
        (Seen(now("active", 2, 20, 7)), vec![started(20)]),
        (Job("done", false), vec![]),
    ]);
    let reason = "systemd has not started it: failed".to_owned();
    plays([
        (Start, vec![]),
        (Seen(earlier(7)), vec![]),
        (Job("failed", false), vec![Told::NotStarted { reason }]),
    ]);
}

#[test]
fn a_node_that_ends_is_told_once_with_how_it_ended() {
    for (how, result, end) in [
        ((EXITED, 0), "success", End::Exit(0)),
        ((EXITED, 3), "exit-code", End::Exit(3)),
        ((KILLED, 15), "success", killed(15)),
        ((KILLED, 9), "signal", killed(9)),
        (
            (DUMPED, 6),
            "core-dump",
            End::Signal {
                number: 6,
                dumped_core: true,
            },
        ),
    ] {
        let over = over(1, how, result, 0);
        plays_on([
            (Seen(over.clone()), vec![ended(1, end)]),
            (Seen(over), vec![]),
            // It is forgotten.
            (Seen(now("inactive", 0, 0, 0)), vec![]),
            (Start, vec![]),
            (Seen(now("active", 2, 20, 8)), vec![started(20)]),
        ]);
    }
}

#[test]
fn a_node_has_not_ended_before_all_that_it_has_started_has() {
    let mut remains = now("deactivating", 1, 0, 0);
    (remains.code, remains.status) = (EXITED, 2);
    plays_on([
        (Seen(remains), vec![]),
        (
            Seen(over(1, (EXITED, 2), "exit-code", 0)),
            vec![ended(1, End::Exit(2))],
        ),
    ]);
}

#[test]
fn an_end_that_systemd_has_forgotten_is_told_as_of_unknown_cause() {
    plays_on([(Seen(now("inactive", 0, 0, 0)), vec![ended(1, End::Unknown)])]);
}

#[test]
fn a_node_that_is_over_before_it_was_seen_was_started_and_has_ended() {
    plays([
        (Start, vec![]),
        (
            Seen(over(1, (EXITED, 1), "exit-code", 7)),
            vec![started(10), ended(1, End::Exit(1))],
        ),
        (Job("done", false), vec![]),
    ]);
}

#[test]
fn what_systemd_cannot_start_is_told_once_as_not_started() {
    let reason = |reason: &str| {
        vec![Told::NotStarted {
            reason: reason.into(),
        }]
    };
    // No program, no user.
    for status in [203, 217] {
        plays([
            (Start, vec![]),
            (
                Seen(over(1, (EXITED, status), "exit-code", 7)),
                reason(&format!("systemd cannot start its program: exit status {status}")),
            ),
            (Job("failed", false), vec![]),
        ]);
    }
    // No process.
    let mut none = over(1, (0, 0), "resources", 7);
    none.last_pid = 0;
    plays([
        (Start, vec![]),
        (Seen(none), reason("systemd cannot start it: resources")),
        (Job("failed", false), vec![]),
    ]);
    // No attempt.
    plays([
        (Start, vec![]),
        (
            Job("dependency", false),
            reason("systemd has not started it: dependency"),
        ),
    ]);
    plays([
        (Start, vec![]),
        (
            Job("done", false),
            reason("systemd has not started it, as `systemctl status` tells"),
        ),
    ]);
}

#[test]
fn a_stop_by_systemctl_is_told_before_the_end_that_it_has_caused() {
    plays_on([
        (Seen(now("deactivating", 1, 10, 9)), vec![]),
        (Seen(over(1, (KILLED, 15), "success", 9)), vec![]),
        (
            Job("done", false),
            vec![administered(false), ended(1, killed(15))],
        ),
        // A start by systemctl.
        (Seen(now("activating", 2, 20, 10)), vec![]),
        (Seen(now("active", 2, 20, 10)), vec![]),
        (Job("done", false), vec![found(20), administered(true)]),
        // A restart.
        (Seen(now("deactivating", 2, 20, 11)), vec![]),
        (Seen(over(2, (EXITED, 0), "success", 11)), vec![]),
        (Seen(now("active", 3, 30, 11)), vec![]),
        (
            Job("done", false),
            vec![
                administered(false),
                ended(2, End::Exit(0)),
                found(30),
                administered(true),
            ],
        ),
    ]);
}

#[test]
fn a_stop_because_the_host_is_shut_down_is_none_by_an_administrator() {
    plays_on([
        (Seen(over(1, (KILLED, 15), "success", 9)), vec![]),
        (Job("done", true), vec![ended(1, killed(15))]),
    ]);
}

#[test]
fn a_job_that_another_one_replaces_says_nothing() {
    plays_on([
        (Seen(now("deactivating", 1, 10, 9)), vec![]),
        (Job("canceled", false), vec![]),
        (Seen(now("active", 1, 10, 10)), vec![]),
        (Job("done", false), vec![administered(true)]),
    ]);
}

#[test]
fn a_start_by_systemctl_that_fails_is_still_wanted() {
    plays([
        (Seen(over(1, (EXITED, 203), "exit-code", 9)), vec![]),
        (
            Job("failed", false),
            vec![found(10), ended(1, End::Exit(203)), administered(true)],
        ),
    ]);
}

#[test]
fn while_it_is_found_out_why_a_job_has_ended_nothing_is_told() {
    let mut unit = plays(running());
    unit.hold();
    assert_eq!(unit.seen(over(1, (KILLED, 15), "success", 0)), []);
    assert_eq!(
        unit.job_ended("done", false),
        [administered(false), ended(1, killed(15))]
    );
}

#[test]
fn an_older_answer_changes_nothing() {
    let at = |after, now| Snapshot {
        changed: STARTED + after,
        ..now
    };
    plays([
        (Start, vec![]),
        (Seen(at(5, now("active", 1, 10, 7))), vec![started(10)]),
        (Job("done", false), vec![]),
        (
            Seen(at(6, over(1, (EXITED, 1), "exit-code", 0))),
            vec![ended(1, End::Exit(1))],
        ),
        (Seen(at(5, now("active", 1, 10, 0))), vec![]),
    ]);
}

#[test]
fn one_that_was_found_is_told_when_it_ends() {
    let mut unit = Unit::default();
    unit.adopt(now("active", 4, 40, 0));
    assert_eq!(unit.seen(now("active", 4, 40, 0)), []);
    assert_eq!(
        unit.seen(over(4, (KILLED, 9), "signal", 0)),
        [ended(4, killed(9))]
    );
    let mut unknown = Unit::default();
    assert_eq!(
        unknown.first_seen(now("active", 5, 50, 0)),
        [found(50), administered(true)]
    );
    assert_eq!(Unit::default().first_seen(now("inactive", 0, 0, 0)), []);
}
