//! What becomes of each block of commands.

use super::{blocks::Block, scenes, site::Site};

/// What becomes of a block of commands.
pub(super) enum How {
    /// It is run at a site where this has been done.
    Here(fn(&mut Site)),
    /// This test of this file, which reads the page, runs it.
    By(&'static str, &'static str),
    /// It is not run, for this reason.
    Not(&'static str),
}

use How::{By, Here, Not};

const BACKUP: How = By(
    "tests/own/two_controllers.rs",
    "the_commands_of_the_page_about_backups_do_what_it_says",
);
const PACKAGES: How = By(
    "tests/packages.rs",
    "packages_are_installed_upgraded_with_nodes_running_rebooted_and_removed",
);
const MEASURES: How = Not("it measures this machine, for minutes");
const REPLAYS: How = Not("tests/replay runs the same engine on every recording");
const TESTS: How = Not("it runs tests, which scripts/check.sh does");

/// Every block of the pages, by its page and first line.
pub(super) const BLOCKS: &[(&str, &str, How)] = &[
    (
        "README.md",
        "sudo apt install gcc libc6-dev libssl-dev pkg-config",
        By(
            "tests/documented/readme.rs",
            "the_readme_leads_to_a_cluster_and_its_page",
        ),
    ),
    (
        "docs/clusters.md",
        "$ mgmtctl --cluster lab deploy lab.ini",
        Here(scenes::lab),
    ),
    (
        "docs/rollouts.md",
        "$ mgmtctl rollout start cluster.ini --canary sensor2 --max-unavailable worker=1 --watch 1s --yes",
        Here(scenes::recoloured),
    ),
    (
        "docs/configurations.md",
        "$ mgmtctl config expand --cpus zeek1=16 one-host.toml",
        Here(scenes::an_example),
    ),
    ("docs/mgmtctl.md", "$ mgmtctl status", Here(scenes::troubled)),
    (
        "docs/mgmtctl.md",
        "$ mgmtctl diag worker-1",
        Here(scenes::troubled),
    ),
    ("docs/mgmtctl.md", "$ mgmtctl events", Here(scenes::troubled)),
    (
        "docs/mgmtctl.md",
        "$ mgmtctl config diff cluster.ini",
        Here(scenes::changed),
    ),
    (
        "docs/mgmtctl.md",
        "$ mgmtctl plan cluster.ini",
        Here(scenes::planned),
    ),
    (
        "docs/mgmtctl.md",
        "$ mgmtctl deploy cluster.ini",
        Here(scenes::lacking),
    ),
    (
        "docs/monitoring.md",
        "$ curl --silent --unix-socket control.sock http://localhost/readyz",
        Here(scenes::at_the_socket),
    ),
    (
        "docs/monitoring.md",
        "$ mgmtctl token create prometheus --role read > /etc/prometheus/zeek.token",
        Here(scenes::for_prometheus),
    ),
    (
        "docs/operate/backup.md",
        "hub$ mgmt-controller store backup /var/backups/controller.tar",
        BACKUP,
    ),
    (
        "docs/operate/backup.md",
        "hub$ mgmt-controller store inspect",
        BACKUP,
    ),
    (
        "docs/operate/backup.md",
        "hub$ systemctl stop mgmt-controller",
        BACKUP,
    ),
    (
        "docs/operate/backup.md",
        "hub$ systemctl stop mgmt-controller",
        BACKUP,
    ),
    ("docs/operate/backup.md", "sensor$ mgmtctl adopt", BACKUP),
    (
        "docs/operate/day2.md",
        "hub$ mgmtctl status",
        Here(scenes::troubled),
    ),
    (
        "docs/operate/day2.md",
        "hub$ mgmtctl events",
        Here(scenes::troubled),
    ),
    (
        "docs/operate/day2.md",
        "hub$ mgmtctl stop --instance sensor2",
        Here(scenes::deployed),
    ),
    (
        "docs/operate/day2.md",
        "hub$ mgmtctl stop --instance sensor2",
        Here(scenes::deployed),
    ),
    (
        "docs/operate/day2.md",
        "sensor2$ mgmtctl stop --all",
        Here(scenes::with_a_new_host),
    ),
    (
        "docs/operate/day2.md",
        "hub$ mgmtctl restart --instance sensor1",
        Here(scenes::deployed),
    ),
    (
        "docs/operate/day2.md",
        "hub$ systemctl restart mgmt-controller",
        Here(scenes::deployed),
    ),
    (
        "docs/operate/day2.md",
        "sensor1$ find /opt/zeek/logs -type f -mtime +90 -print -delete",
        Here(scenes::old_logs),
    ),
    (
        "docs/operate/install.md",
        "apt install ./zeek-mgmt-controller_*.deb ./zeek-mgmt-client_*.deb",
        PACKAGES,
    ),
    (
        "docs/operate/install.md",
        "apt install ./zeek-mgmt-agent_*.deb ./zeek-mgmt-client_*.deb",
        PACKAGES,
    ),
    (
        "docs/operate/migrate.md",
        "hub$ systemctl disable --now zeek-controller",
        Here(scenes::state_of_zeeks_controller),
    ),
    (
        "docs/operate/migrate.md",
        "sensor1$ systemctl disable --now zeek-agent",
        Here(scenes::without_agent),
    ),
    (
        "docs/operate/migrate.md",
        "sensor1$ mgmtctl stop --all",
        Here(scenes::deployed),
    ),
    (
        "docs/operate/migrate.md",
        "hub$ systemctl disable --now mgmt-controller",
        Here(scenes::back_to_zeek),
    ),
    (
        "docs/performance.md",
        "cargo build --release -p mgmt-controller -p tools   # minutes; --no-default-features for the system's OpenSSL and allocator",
        MEASURES,
    ),
    (
        "docs/performance.md",
        "target/release/mgmt-bench --controller target/release/mgmt-controller --agents 400     # with 20 nodes each; --nodes 2 for two",
        MEASURES,
    ),
    ("docs/performance.md", "scripts/build.sh", MEASURES),
    (
        "docs/performance.md",
        "scripts/clusters-bench.py target/release    # of twelve clusters one agent hangs in a deployment, one node always dies, one cluster is deployed again and again",
        MEASURES,
    ),
    (
        "docs/performance.md",
        "cargo build --release -p mgmt-controller -p tools",
        MEASURES,
    ),
    (
        "docs/performance.md",
        "cargo bench -p broker-endpoint --no-default-features --features jemalloc --bench under_attack -- 10000 9 off    # or anonymous",
        MEASURES,
    ),
    (
        "docs/performance.md",
        "cargo bench -p broker-codec                     # add `-- json_read` or another name for one of them",
        MEASURES,
    ),
    (
        "docs/performance.md",
        "cargo bench -p mgmt-controller    # minutes; --no-default-features for the system's OpenSSL",
        MEASURES,
    ),
    (
        "docs/replay.md",
        "$ cargo run -p tools --bin replay -- fixtures/zeek-9.0.0-rc1/a2c",
        REPLAYS,
    ),
    (
        "docs/replay.md",
        "tcpdump -i lo -w capture.pcap 'tcp portrange 2149-2160 or tcp portrange 9999-10010'",
        Not("it records Zeek's own processes"),
    ),
    (
        "docs/replay.md",
        "target/debug/mgmt-controller --name controller --state-dir NEW --spool-dir NEW",
        REPLAYS,
    ),
    (
        "docs/replay.md",
        "target/debug/mgmt-agent --name instance-1 --listen 127.0.0.1:2151 --controller 127.0.0.1:2150 --supervisor 127.0.0.1:9999 \\",
        REPLAYS,
    ),
    (
        "docs/replay.md",
        "zeek -j policy/frameworks/management/agent Management::Agent::name=instance-1 SupervisorControl::enable_listen=F &",
        Not("it runs Zeek's own agent"),
    ),
    (
        "docs/revisions.md",
        "$ mgmtctl deploy cluster.ini --note \"tuning, ticket 4711\"",
        Here(scenes::tuned),
    ),
    (
        "docs/running.md",
        "cargo build --release --no-default-features -p mgmt-controller -p mgmt-agent -p mgmt-client",
        Not("scripts/check.sh and scripts/fresh-machine.sh build"),
    ),
    (
        "docs/secure.md",
        "$ mgmtctl token create prometheus --role read",
        Here(scenes::deployed),
    ),
    (
        "docs/secure.md",
        "hub$ systemctl restart mgmt-controller",
        By(
            "tests/enrolment/page.rs",
            "the_commands_of_the_page_about_enrolment_do_what_it_says",
        ),
    ),
    (
        "docs/secure.md",
        "$ export MGMT_SERVER=https://hub.example.org:2148",
        Here(scenes::served),
    ),
    (
        "docs/verification.md",
        "cargo test -p conformance --no-default-features -- live:: live_",
        TESTS,
    ),
    (
        "docs/verification.md",
        "cargo test --release -p broker-endpoint --features vendored-openssl --lib -- tls::    # ours; without the feature the system's",
        TESTS,
    ),
];

/// Which of the blocks a row is for.
pub(super) fn row(block: &Block) -> Option<&'static How> {
    let mut rows = BLOCKS.iter();
    let row = rows.find(|(page, first, _)| *page == block.page && *first == block.first());
    row.map(|(_, _, how)| how)
}
