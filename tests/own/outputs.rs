//! What nodes write.

use std::{fs, os::unix::fs::MetadataExt};

use broker_codec::data::from_data;
use mgmt_api::NodeOutputs;
use zeek_simulator::{Exit, NodeBehaviour};

use super::{Host, assert_all_run, behaving, configuration, node};

/// How much a node writes each time that it is started, in MiB, which is five times until it has failed; and what may be left of it.
const PRINTED: u32 = 205;
const LEFT_MAX: u64 = 16 << 20;

#[test]
fn a_gigabyte_of_output_leaves_little_on_the_disk_and_the_last_hundred_lines_in_the_answer() {
    let host = Host::new();
    let (agent, mut controlling) = host.start_connected(&[]);
    let printing = NodeBehaviour {
        prints: Some(PRINTED),
        exit: Some(Exit {
            status: 1,
            aborts: false,
        }),
        ..NodeBehaviour::default()
    };
    let wanted = [node("manager"), behaving(node("worker-1"), &printing)];
    let results = controlling.deploy_configuration(&configuration("c1", &wanted));
    let outputs = results.iter().find_map(|result| {
        let data = result
            .data
            .as_ref()
            .filter(|_| result.node.as_deref() == Some(b"worker-1"))?;
        from_data::<NodeOutputs>(data).ok()
    });
    let outputs = outputs.unwrap_or_else(|| panic!("no output: {results:?}"));
    let last: Vec<String> = (1..=100).map(|number| format!("last line {number}")).collect();
    assert_eq!(outputs.stdout, last.join("\n").as_str());
    // A file may have a hole where its beginning was.
    let file = fs::metadata(host.directory("worker-1").join("stdout")).expect("it is there");
    let left = file.blocks() * 512;
    assert!(left < LEFT_MAX, "{left} bytes are left");

    let mended = [node("manager"), node("worker-1")];
    controlling.deploy_configuration(&configuration("c2", &mended));
    assert_all_run(&host, &mut controlling, &mended);
    agent.stop();
}
