use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
};

use mgmt_agent::supervisors::own::{End, News, Order};
use mgmt_api::NodeOutputs;

use crate::world::{World, runs};

fn terminate(name: &str) -> Order {
    Order::Terminate { node: name.into() }
}

fn kill(name: &str) -> Order {
    Order::Kill { node: name.into() }
}

const KILLED: End = End::Signal {
    number: 9,
    dumped_core: false,
};

#[tokio::test]
async fn a_node_that_ends_tells_how_and_what_it_wrote() {
    let mut world = World::new().await;
    let script = "echo out; echo one >&2; echo two >&2; exit 3";
    let (end, outputs) = world.run(world.launch("w", script)).await;
    let expected = NodeOutputs {
        stdout: "out".into(),
        stderr: "one\ntwo".into(),
    };
    assert_eq!((end, outputs), (End::Exit(3), expected));
    let (end, outputs) = world.run(world.launch("w", "kill -9 $$")).await;
    assert_eq!(
        (end, outputs),
        (KILLED, NodeOutputs::default()),
        "what it wrote before is not of this run"
    );
    let stderr = fs::read_to_string(world.directory("w").join("stderr")).unwrap();
    assert_eq!(stderr, "one\ntwo\n", "and stays");
}

#[tokio::test]
async fn a_node_is_started_in_its_directory_with_its_files() {
    let mut world = World::new().await;
    let (end, _) = world
        .run(world.launch("w", "cat cluster-layout.zeek > seen; pwd -P > place"))
        .await;
    assert_eq!(end, End::Exit(0));
    let directory = world.directory("w");
    let mode = |path: &str| fs::metadata(directory.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(""), mode("node.json")), (0o700, 0o600));
    assert_eq!(
        fs::read_to_string(directory.join("seen")).unwrap(),
        "# the layout\n"
    );
    let place = fs::read_to_string(directory.join("place")).unwrap();
    assert_eq!(
        place.trim_end(),
        directory.canonicalize().unwrap().to_str().unwrap()
    );
    world.native.order(Order::Forget { node: "w".into() });
    let (world, found) = world.again().await;
    assert_eq!(found, []);
    assert!(
        world.directory("w").join("stderr").exists(),
        "what it wrote stays"
    );
}

/// The node itself sees whether that is done while it runs: it writes no more until its file is short again, so it never has 13 MiB.
#[tokio::test]
async fn what_a_node_writes_is_shortened_while_it_runs_and_its_last_lines_are_there() {
    let mut world = World::new().await;
    let script = "for part in $(seq 1 15); do yes 'a line of a node that has much to say' | head -c 4000000; \
                  while [ $(stat -c %b stdout) -gt 18432 ]; do sleep 0.01; done; done; echo; seq 1 200";
    let (end, outputs) = world.run(world.launch("w", script)).await;
    assert_eq!(end, End::Exit(0));
    let expected: Vec<String> = (101..=200).map(|line| line.to_string()).collect();
    assert_eq!(outputs.stdout, expected.join("\n").as_str());
}

#[tokio::test]
async fn a_node_is_asked_to_end_and_killed_with_all_that_it_started() {
    let mut world = World::new().await;
    let obedient = "trap 'exit 4' TERM; echo ready > ready; while :; do sleep 0.01; done";
    world.start(world.launch("w", obedient)).await;
    world.written("w", "ready").await;
    world.native.order(terminate("w"));
    assert_eq!(world.ended().await.0, End::Exit(4));

    let stubborn = "trap '' TERM; sh -c 'sleep 600' & echo $! > child; while :; do wait; done";
    world.start(world.launch("v", stubborn)).await;
    let child = world.written("v", "child").await.parse().unwrap();
    world.native.order(terminate("v"));
    world.native.order(kill("v"));
    assert_eq!(world.ended().await.0, KILLED);
    assert!(!runs(child));
}

#[tokio::test]
async fn what_a_node_leaves_is_ended_before_its_end_is_told() {
    let mut world = World::new().await;
    let script = "sleep 600 & echo $! > child; setsid sleep 600 & echo $! > escaped; exit 1";
    let (end, _) = world.run(world.launch("w", script)).await;
    assert_eq!(end, End::Exit(1));
    for file in ["child", "escaped"] {
        let left = world.written("w", file).await.parse().unwrap();
        assert!(!runs(left), "{file}");
    }
    assert_eq!(
        world.run(world.launch("w", "exit 2")).await.0,
        End::Exit(2),
        "it can start again"
    );
}

#[tokio::test]
async fn an_agent_finds_the_nodes_of_the_one_before() {
    let mut world = World::new().await;
    let mut launch = world.launch("w", "echo early; echo ready > ready; exec sleep 600");
    world.run(world.launch("w", "echo before")).await;
    let pid = world.start(launch.clone()).await;
    world.written("w", "ready").await;
    launch.layout = "# another\n".into();
    world.native.order(Order::Rewrite {
        launch: launch.clone(),
    });
    while fs::read(world.directory("w").join("node.json")).unwrap() != serde_json::to_vec(&launch).unwrap() {
        tokio::task::yield_now().await;
    }
    let (mut world, found) = world.again().await;
    let [
        News::Found {
            launch: known,
            pid: same,
            age,
        },
    ] = &found[..]
    else {
        panic!("{found:?}");
    };
    assert_eq!((known, *same), (&launch, pid));
    assert!(age.as_secs() < 600, "{age:?}");
    assert_eq!(
        fs::read(world.directory("w").join("cluster-layout.zeek")).unwrap(),
        b"# another\n"
    );
    world.native.order(Order::Start {
        launch: launch.clone(),
    });
    assert!(
        matches!(world.next().await, News::NotStarted { .. }),
        "there are never two"
    );
    assert!(runs(pid));
    world.native.order(terminate("w"));
    let (end, outputs) = world.ended().await;
    assert_eq!((end, outputs.stdout), (End::Unknown, "early".into()));
}

#[tokio::test]
async fn a_node_whose_directory_was_removed_ends_before_it_is_started_again() {
    let mut world = World::new().await;
    let mut launch = world.launch("w", "echo ready > ready; exec sleep 600");
    let path = format!("{}:/usr/share/zeek", world.directory("w").display());
    launch.environment.insert("CLUSTER_NODE".into(), "w".into());
    launch.environment.insert("ZEEKPATH".into(), path.as_str().into());
    let before = world.start(launch.clone()).await;
    world.written("w", "ready").await;
    fs::remove_dir_all(world.home.path().join("nodes")).unwrap();
    let (mut world, found) = world.again().await;
    assert_eq!(found, []);
    assert!(runs(before), "it is not ended for another's sake");
    let other = world.start(world.launch("v", "exec sleep 600")).await;
    assert!(runs(before), "nor for the start of another");
    assert!(runs(other));
    let now = world.start(launch).await;
    assert!(!runs(before) && runs(now));
    for name in ["v", "w"] {
        world.native.order(kill(name));
        assert_eq!(world.ended().await.0, KILLED);
    }
}

#[tokio::test]
async fn a_node_whose_file_is_damaged_ends_before_it_is_started_again() {
    let mut world = World::new().await;
    let launch = world.launch("w", "echo ready > ready; exec sleep 600");
    let before = world.start(launch.clone()).await;
    world.written("w", "ready").await;
    fs::write(world.directory("w").join("node.json"), "{").unwrap();
    let (mut world, found) = world.again().await;
    assert_eq!(found, []);
    assert!(runs(before), "it may be another agent's");
    let now = world.start(launch).await;
    assert!(!runs(before) && runs(now));
    world.native.order(kill("w"));
    assert_eq!(world.ended().await.0, KILLED);
}

#[tokio::test]
async fn a_node_of_another_agent_runs_on_and_stays_known() {
    let mut world = World::new().await;
    let mut launch = world.launch("w", "echo ready > ready; exec sleep 600");
    launch.agent = "b".into();
    let theirs = world.start(launch).await;
    world.written("w", "ready").await;
    let (mut world, found) = world.again().await;
    assert_eq!(found, []);
    world.native.order(Order::Start {
        launch: world.launch("w", "exit 0"),
    });
    let News::NotStarted { reason, .. } = world.next().await else {
        panic!("it is not started");
    };
    assert!(reason.contains(", as a node of agent b: "), "{reason}");
    world.native.order(Order::Forget { node: "w".into() });
    // Orders for a node are carried out one after the other.
    world.native.order(Order::Start {
        launch: world.launch("w", "exit 0"),
    });
    assert!(matches!(world.next().await, News::NotStarted { .. }));
    assert!(runs(theirs) && world.directory("w").join("node.json").exists());
    let pid = i32::try_from(theirs)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL).unwrap();
}

/// The processes that are found, by node.
fn processes(found: &[News]) -> Vec<(String, i64)> {
    let process = |news: &News| match news {
        News::Found { launch, pid, .. } => (launch.node().to_string(), *pid),
        other => panic!("{other:?}"),
    };
    found.iter().map(process).collect()
}

#[tokio::test]
async fn a_node_is_found_by_the_lock_that_it_has_whatever_is_written_down_of_it() {
    let mut world = World::new().await;
    let script = "echo ready > ready; exec sleep 600";
    let pid = world.start(world.launch("w", script)).await;
    world.written("w", "ready").await;
    let other = world.start(world.launch("v", script)).await;
    world.written("v", "ready").await;
    let record = world.directory("w").join("run.json");
    let copied = fs::read(world.directory("v").join("run.json")).unwrap();
    let fifo = |path: &std::path::Path| {
        fs::remove_file(path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(path).status().unwrap();
        assert!(made.success());
    };
    for damage in ["damaged", "copied", "none", "fifo", "huge"] {
        match damage {
            "damaged" => fs::write(&record, "{").unwrap(),
            "copied" => fs::write(&record, &copied).unwrap(),
            "none" => fs::remove_file(&record).unwrap(),
            "fifo" => {
                fs::write(&record, "").unwrap();
                fifo(&record);
            }
            _ => {
                fs::remove_file(&record).unwrap();
                File::create(&record).unwrap().set_len(1 << 40).unwrap();
            }
        }
        let (again, found) = world.again().await;
        world = again;
        let mut found = processes(&found);
        found.sort();
        assert_eq!(
            found,
            [("v".to_owned(), other), ("w".to_owned(), pid)],
            "{damage}"
        );
    }
    // Its lock was removed, and it still has it.
    fs::write(&record, "{}").unwrap();
    let (world, _) = world.again().await;
    fs::remove_file(world.directory("v").join("lock")).unwrap();
    let (mut world, found) = world.again().await;
    assert_eq!(processes(&found).len(), 2);
    for name in ["v", "w"] {
        world.native.order(kill(name));
        assert_eq!(world.ended().await.0, End::Unknown);
    }
    // What is no file keeps neither the agent nor other nodes waiting.
    fifo(&world.directory("w").join("stdout"));
    world.native.order(Order::Start {
        launch: world.launch("w", "exit 0"),
    });
    let News::Lacks { what, .. } = world.next().await else {
        panic!("it cannot write");
    };
    assert!(what.contains(" cannot be written to: "), "{what}");
    assert_eq!(world.run(world.launch("v", "exit 0")).await.0, End::Exit(0));
    fs::remove_file(world.directory("w").join("stdout")).unwrap();
    fifo(&world.directory("w").join("lock"));
    assert_eq!(world.run(world.launch("w", "exit 0")).await.0, End::Exit(0));
}

#[tokio::test]
async fn what_is_run_before_a_node_does_not_have_its_lock() {
    let mut world = World::new().await;
    let mut launch = world.launch("w", "exit 3");
    // What has left the node's session before the node ends, of which nothing else is left.
    let leaves =
        "rm -f left; setsid sh -c 'echo $$ > left; exec sleep 600' & until [ -s left ]; do sleep 0.01; done";
    launch.before_start = Some(leaves.into());
    assert_eq!(world.run(launch.clone()).await.0, End::Exit(3));
    let left = world.written("w", "left").await.parse().unwrap();
    assert!(runs(left), "it is no part of the node");
    let (mut world, found) = world.again().await;
    assert_eq!(found, [], "nor to the next agent");
    assert_eq!(
        world.run(launch).await.0,
        End::Exit(3),
        "it is in the way of nothing"
    );
    assert!(runs(left));
    for pid in [left, world.written("w", "left").await.parse().unwrap()] {
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

#[tokio::test]
async fn a_node_does_not_start_beside_another_process_that_has_its_lock() {
    let world = World::new().await;
    let directory = world.directory("w");
    fs::create_dir_all(&directory).unwrap();
    let lock = File::create(directory.join("lock")).unwrap();
    lock.lock().unwrap();
    let mut other = std::process::Command::new("sleep")
        .arg("600")
        .stdin(lock)
        .spawn()
        .unwrap();
    let (mut world, found) = world.again().await;
    assert_eq!(found, []);
    let launch = world.launch("w", "exit 0");
    world.native.order(Order::Start {
        launch: launch.clone(),
    });
    let News::NotStarted { reason, .. } = world.next().await else {
        panic!("it is not started");
    };
    let holder = format!("process {} (sleep 600) has the lock of ", other.id());
    assert!(reason.starts_with(&holder), "{reason}");
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(world.run(launch).await.0, End::Exit(0));
}

#[tokio::test]
async fn a_node_waits_for_what_its_host_lacks() {
    let mut world = World::new().await;
    let mut launch = world.launch("w", "exit 0");
    launch.needs.interface = Some("nosuch0".into());
    world.native.order(Order::Start {
        launch: launch.clone(),
    });
    let lacks = |what: &str| News::Lacks {
        node: "w".into(),
        what: what.into(),
    };
    assert_eq!(world.next().await, lacks("interface nosuch0 is not there"));
    assert!(!world.directory("w").exists(), "nothing was touched");
    launch.needs.interface = Some("lo".into());
    assert_eq!(world.run(launch.clone()).await.0, End::Exit(0));
    launch.spec.directory = "/proc/no/such".into();
    world.native.order(Order::Start { launch });
    let News::Lacks { what, .. } = world.next().await else {
        panic!("its directory cannot be made");
    };
    assert!(
        what.starts_with("its directory /proc/no/such cannot be made: "),
        "{what}"
    );
}
