//! With an installed Zeek: our controller, our agent, a `zeek -j`, real cluster nodes, and the real zeek-client. Where there is no
//! Zeek these tests cannot run, and say so.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

use mgmt_api::SupervisorLayout;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    agent_failures::{AGENT, CLUSTER, Nodes, World},
    agent_recorded::repeat_with,
    support::{
        self,
        cluster::{Protection, Zeek},
    },
};

/// Nodes of Zeek listen on the ports that the sessions name: one cluster at a time.
static ONE_CLUSTER: Mutex<()> = Mutex::new(());

/// Runs a test with the prefix of an installed Zeek, if there is one.
pub(crate) fn with_zeek(test: impl FnOnce(&Path)) {
    let Some(prefix) = installed_zeek() else { return };
    let _turn = ONE_CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    test(&prefix);
}

/// Says what was not tested for want of a Zeek.
pub(crate) fn pending(why: &str) {
    support::pending("zeek", "live", why);
}

/// A cluster of an agent that starts the installed Zeek.
fn world(prefix: &Path, further: &[&str]) -> World {
    World::start(|plan| {
        plan.zeek = Zeek::Started(prefix.into());
        let settings = [
            // An installation's logs are not ours to add to.
            "Management::Agent::archive_logs=F",
            // Real nodes on a busy machine need what the controller leaves.
            "Management::Request::timeout_interval=9sec",
        ];
        let settings = further.iter().chain(&settings);
        plan.further = settings.map(|setting| (*setting).to_owned()).collect();
    })
}

fn supervisor(world: &World) -> Pid {
    let record = world
        .instance
        .read(&format!("state/nodes/{AGENT}/supervisor/supervisor.json"));
    let record: Value = serde_json::from_str(&record).expect("the record is JSON");
    let pid = record["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    pid.and_then(Pid::from_raw).expect("a process id")
}

/// The cluster runs again, by other processes, and by no others.
fn assert_succeeded(world: &mut World, before: &Nodes) {
    world.wait_for_running(3);
    let after = world.nodes();
    for node in ["manager", "worker-01"] {
        assert_ne!(after[node].1, before[node].1, "{node}");
        assert!(
            !Path::new("/proc").join(before[node].1.to_string()).exists(),
            "{node}"
        );
    }
    // The agent; the Supervisor, its stem, and two nodes.
    let processes = world.instance.processes();
    assert_eq!(processes.len(), 5, "{processes:#?}");
    world.all_nodes_answer();
}

#[test]
fn the_recorded_session_with_the_zeek_that_is_installed() {
    with_zeek(|prefix| repeat_with("a2c", &Protection::Anonymous, &Zeek::Started(prefix.into())));
}

#[test]
fn the_recorded_session_with_a_supervisor_that_the_agent_finds() {
    with_zeek(|prefix| repeat_with("a2c", &Protection::Anonymous, &Zeek::Found(prefix.into())));
}

#[test]
fn the_recorded_session_with_certificates_and_the_zeek_that_is_installed() {
    with_zeek(|prefix| repeat_with("a2c", &Protection::mutual(), &Zeek::Started(prefix.into())));
}

/// As if the installed Zeek had none of the framework's scripts: it gets ours, for the Supervisor, its shim and its nodes.
#[test]
fn our_scripts_are_read_and_run_by_the_zeek_that_is_installed() {
    with_zeek(|prefix| {
        let bare = TempDir::with_prefix("bare-").expect("a directory can be made");
        let scripts = bare.path().join("share/zeek/base");
        fs::create_dir_all(&scripts).expect("a directory can be made");
        fs::write(scripts.join("init-default.zeek"), "").expect("a file can be written");
        fs::create_dir(bare.path().join("bin")).expect("a directory can be made");
        symlink(prefix.join("bin/zeek"), bare.path().join("bin/zeek")).expect("a link can be made");
        repeat_with("a2c", &Protection::Anonymous, &Zeek::Started(bare.path().into()));

        // What the shim keeps of a node's output, and tells.
        let mut world = world(bare.path(), &[]);
        a_node_that_cannot_start_is_quoted(&mut world);
        for script in ["node", "shim", "supervisor"] {
            world
                .instance
                .read(&format!("state/nodes/{AGENT}/scripts/{script}.zeek"));
        }
        world.instance.stop();
    });
}

fn a_node_that_cannot_start_is_quoted(world: &mut World) {
    let failing = CLUSTER.replace("interface = lo", "interface = no-such-interface");
    let printed = world.fail(&["deploy-config", "-"], Some(&failing));
    assert_eq!(printed["errors"], json!(["request timed out"]));
    let nodes = &printed["results"]["nodes"];
    assert_eq!(nodes["manager"]["success"], true);
    assert_eq!(nodes["worker-01"]["success"], false);
    let stderr = nodes["worker-01"]["stderr"].as_str().expect("text");
    let problem = "problem with interface no-such-interface";
    assert!(stderr.contains(problem), "{stderr}");
    assert_eq!(world.nodes()["worker-01"].0, "CRASHED");
    let kept = world.instance.read("state/nodes/worker-01/stderr");
    assert!(kept.is_empty() || kept.contains(problem), "{kept}");
}

#[test]
fn a_node_of_the_installed_zeek_that_cannot_start_is_quoted_and_can_be_replaced() {
    with_zeek(|prefix| {
        let mut world = world(prefix, &[]);
        a_node_that_cannot_start_is_quoted(&mut world);
        world.deploy();
        world.restart_worker();
        world.instance.stop();
    });
}

#[test]
fn a_killed_supervisor_of_the_installed_zeek_leaves_no_second_set_of_nodes() {
    with_zeek(|prefix| {
        let mut world = world(prefix, &[]);
        world.deploy();
        let before = world.nodes();
        kill_process(supervisor(&world), Signal::KILL).expect("it runs");
        world.news_about("lost the Supervisor");
        assert_succeeded(&mut world, &before);
        world.instance.stop();
    });
}

#[test]
fn a_stopped_supervisor_of_the_installed_zeek_is_ended_and_its_successor_gets_the_nodes() {
    with_zeek(|prefix| {
        let mut world = world(prefix, &["--supervisor-timeout", "20sec"]);
        world.deploy();
        let before = world.nodes();
        kill_process(supervisor(&world), Signal::STOP).expect("it runs");
        world.news_about("it has not answered for 20 s");
        world.news_with(&["Management::UNKNOWN", "Management::PENDING"]);
        assert_succeeded(&mut world, &before);
        world.instance.stop();
    });
}

/// The prefix of a Zeek of 5.0 or later on PATH, if there is one.
pub(crate) fn installed_zeek() -> Option<PathBuf> {
    find_zeek().inspect_err(|why| pending(why)).ok()
}

fn find_zeek() -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let zeek = env::split_paths(&path)
        .map(|directory| directory.join("zeek"))
        .find(|candidate| candidate.is_file())
        .ok_or("there is no zeek on PATH")?;
    let output = Command::new(&zeek)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{}: {error}", zeek.display()))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // What came before 5.0 has a layout as well.
    let usable = SupervisorLayout::of_version(&version).is_some() && !version.contains("version 4.");
    if !usable {
        return Err(format!("{} is {version:?}, not 5.0 to 9.0", zeek.display()));
    }
    let real = zeek.canonicalize().map_err(|error| error.to_string())?;
    real.parent()
        .and_then(Path::parent)
        .map(Path::to_path_buf)
        .ok_or_else(|| format!("{} is not in the bin of an installation", real.display()))
}
