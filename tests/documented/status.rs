//! What `mgmtctl status` shows of each thing that can be wrong: whole in `tests/golden/status.txt`, and the lines that count in docs/mgmtctl.md.

use std::{fmt::Write as _, fs};

use expect_test::expect_file;
use rustix::process::Signal;
use serde_json::json;
use zeek_simulator::NodeBehaviour;

use super::{
    clock,
    shown::{assert_as_shown, timeless},
    site::Site,
};
use crate::{
    own::{once_each, processes_of_nodes},
    support::{
        certificates::Validity, cluster_file::always_dies, controller::STORE, http::failing,
        program::Outcome, signal, workspace_root,
    },
};

/// Brings something about, has it shown, and mends it.
type Case = fn(&mut Site) -> Outcome;

/// The rows of the page's table.
const CASES: [(&str, Case); 9] = [
    ("all is well", all_is_well),
    ("an operator has stopped a node", stopped),
    ("an agent is away", away),
    ("a node ends again and again", crash_looping),
    ("a process is stopped, or hangs", wedged),
    ("the store cannot be written", store_not_writable),
    ("a certificate ends within 30 days", certificate_ends),
    ("a sensor's clock is 2 s or more off", |_| {
        clock::status_of_one_that_is_ahead()
    }),
    ("the controller is away", controller_away),
];

fn all_is_well(site: &mut Site) -> Outcome {
    site.deploy("").printed();
    site.all_well()
}

fn stopped(site: &mut Site) -> Outcome {
    site.mgmtctl(&["stop", "worker-1"]).printed();
    let status = site.status_when(0, "1 STOPPED");
    site.mgmtctl(&["start", "worker-1"]).printed();
    site.all_well();
    status
}

fn away(site: &mut Site) -> Outcome {
    site.sensors[1].agent.take().expect("it runs").kill();
    let status = site.status_when(1, "1 of 2 instances connected");
    site.sensors[1].start_agent();
    site.all_well();
    status
}

/// What a cluster file says of a node that behaves like this.
fn behaving(behaviour: &NodeBehaviour) -> String {
    format!("env = 'STAND_IN_NODE={}'\n", json!(behaviour))
}

fn crash_looping(site: &mut Site) -> Outcome {
    let dies = always_dies("fatal error: problem with interface eth1");
    assert_eq!(site.deploy(&behaving(&dies)).exit, 1);
    let status = site.status_when(1, "1 FAILED");
    site.deploy("").printed();
    site.all_well();
    status
}

fn wedged(site: &mut Site) -> Outcome {
    let beating = NodeBehaviour {
        heartbeat: Some(1000),
        ..NodeBehaviour::default()
    };
    site.deploy(&behaving(&beating)).printed();
    let pids = once_each(processes_of_nodes(site.sensors[0].home()));
    signal(pids["worker-1"], Signal::STOP);
    let status = site.status_when(1, "1 UNKNOWN");
    signal(pids["worker-1"], Signal::CONT);
    site.all_well();
    status
}

/// Root may write everywhere, so the file is away instead.
fn store_not_writable(site: &mut Site) -> Outcome {
    let (store, moved) = (site.hub().join(STORE), site.hub().join("moved"));
    fs::rename(&store, &moved).expect("it is there");
    let file = site.write("cluster.ini", &site.cluster(""));
    site.mgmtctl(&["config", "stage", &file])
        .failed(1, "cannot store the configuration");
    let status = site.status_when(1, "with WARNINGS");
    fs::rename(&moved, &store).expect("it is there");
    site.mgmtctl(&["config", "stage", &file]).printed();
    site.all_well();
    status
}

fn certificate_ends(site: &mut Site) -> Outcome {
    site.certify(&Validity::Ending);
    site.mgmtctl(&["reload"]).printed();
    let status = site.status_when(1, "with WARNINGS");
    assert_eq!(failing(&site.hub()), [""; 0], "it does its work");
    site.certify(&Validity::Now);
    site.mgmtctl(&["reload"]).printed();
    site.all_well();
    status
}

fn controller_away(site: &mut Site) -> Outcome {
    site.controller.take().expect("it runs").stop();
    site.mgmtctl(&["status"])
}

/// The cells of the page's row of this name.
fn documented(page: &str, title: &str) -> [String; 3] {
    let row = page
        .lines()
        .find_map(|line| line.strip_prefix(&format!("| {title} |")));
    let row = row.unwrap_or_else(|| panic!("docs/mgmtctl.md has no row: {title}"));
    let cells: Vec<String> = row
        .trim_end_matches('|')
        .split('|')
        .map(|cell| cell.trim().trim_matches('`').to_owned())
        .collect();
    cells
        .try_into()
        .unwrap_or_else(|cells| panic!("{title}: {cells:?}"))
}

#[test]
fn status_says_what_is_wrong_as_the_page_says() {
    let page = fs::read_to_string(workspace_root().join("docs/mgmtctl.md")).expect("it can be read");
    let mut site = Site::start();
    let mut golden = String::new();
    for (title, case) in CASES {
        let status = case(&mut site);
        let text = timeless(&[status.stdout.as_str(), status.stderr.as_str()].concat());
        let _ = write!(
            golden,
            "# {title}\n$ mgmtctl status\n{text}# exit code {}\n\n",
            status.exit
        );
        let [problem, summary, exit] = documented(&page, title);
        let mut lines = text.lines().rev().filter(|line| !line.is_empty());
        if !summary.is_empty() {
            assert_as_shown(&summary, lines.next().expect("a last line"));
        }
        if !problem.is_empty() {
            assert_as_shown(&problem, lines.next().expect("a line before it"));
        }
        assert_eq!(exit, status.exit.to_string(), "{title}");
    }
    expect_file!["../golden/status.txt"].assert_eq(&golden);
}
