use std::{
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::PermissionsExt,
};

use mgmt_api::ClusterRole;

use super::*;

#[test]
fn a_device_that_is_not_there_is_named_and_what_need_not_be_one_is_not_looked_for() {
    let said = |name: &str| interface(&name.into());
    let absent = Some("there is no network interface nosuch0".to_owned());
    for name in ["nosuch0", "pcap::nosuch0", "af_packet::nosuch0"] {
        assert_eq!(said(name), absent, "{name}");
    }
    let others = [
        "lo",
        "af_packet::lo",
        "any",
        "dag0",
        "zc:nosuch0",
        "nosuch0 -i lo",
        "myricom::nosuch0",
        "",
        "::",
        "a-name-that-no-device-has",
        "größer",
        "pcap::usbmon9",
    ];
    for name in others {
        assert_eq!(said(name), None, "{name}");
    }
}

#[test]
fn a_script_by_its_full_path_has_to_be_there_in_one_of_its_forms() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("a.zeek"), "").unwrap();
    fs::create_dir(home.path().join("package")).unwrap();
    let said = |name: &str| script(&home.path().join(name).to_str().unwrap().into());
    for name in ["a", "a.zeek", "package"] {
        assert_eq!(said(name), None, "{name}");
    }
    let absent = said("b.zeek").expect("it is absent");
    assert!(
        absent.starts_with("there is no script /") && absent.ends_with("/b.zeek"),
        "{absent}"
    );
    assert_eq!(script(&"policy/b".into()), None, "for Zeek to find");
}

#[test]
fn a_directory_must_be_one_that_can_be_made_where_there_is_space() {
    let home = tempfile::tempdir().unwrap();
    assert_eq!(directory(&home.path().join("nodes/worker")), None);
    assert_eq!(directory(home.path()), None);
    // A file system that is read-only, where it is.
    let read_only = directory(Path::new("/sys"));
    assert!(read_only.is_none_or(|told| told.ends_with("/sys is read-only")));
    let full = directory(Path::new("/proc/self/no/such"));
    assert_eq!(full.is_some(), !rustix::process::geteuid().is_root(), "{full:?}");
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let denied = directory(&home.path().join("worker"));
    // Root may write anywhere.
    assert_eq!(
        denied.is_some(),
        !rustix::process::geteuid().is_root(),
        "{denied:?}"
    );
}

#[tokio::test]
async fn what_the_launcher_would_refuse_is_told_before() {
    let home = tempfile::tempdir().unwrap();
    let place = |role| ClusterNode {
        role,
        host: IpAddr::from(Ipv4Addr::LOCALHOST).into(),
        p: Some(Port::tcp(2200)),
        interface: None,
        metrics_port: None,
    };
    let cluster: BTreeMap<ZeekString, ClusterNode> = [
        ("manager".into(), place(ClusterRole::Manager)),
        ("worker-1".into(), place(ClusterRole::Worker)),
    ]
    .into();
    let nodes = [
        ("manager", "mgmt.open_files", u64::MAX.to_string()),
        ("worker-1", "mgmt.numa", "bind:0".to_owned()),
    ];
    let nodes = nodes.map(|(name, option, value)| Candidate {
        spec: NodeSpec {
            name: name.into(),
            directory: "/nonexistent/nodes".into(),
            options: [(option.into(), value.into())].into(),
            ..NodeSpec::default()
        },
        ports: Vec::new(),
        runs: true,
    });
    let said = async |supervise| {
        let host = Host {
            nodes: "/nonexistent".into(),
            is_simulation: true,
            supervise,
            is_elsewhere: true,
            launch: Some(LaunchSettings {
                program: "/bin/true".into(),
                version: Some("zeek version 8.0.0".into()),
                path: "/nonexistent".into(),
                link_script: "/link.zeek".into(),
                limits_memory: supervise == Supervise::Systemd,
                ..LaunchSettings::default()
            }),
            scratch: home.path().join("rehearsal"),
        };
        let found = host.look(nodes.to_vec(), Some(cluster.clone()), Vec::new()).await;
        let problems = found.problems.into_iter();
        problems
            .map(|problem| format!("{}: {}", problem.node, problem.reason))
            .collect::<Vec<_>>()
    };
    let native = said(Supervise::Native).await;
    let files = format!("manager: it cannot have {} open files: ", u64::MAX);
    assert!(native.len() == 2 && native[0].starts_with(&files), "{native:?}");
    let numa = "worker-1: it cannot have the NUMA policy bind:0: it takes numactl, which is not in /nonexistent: install it";
    assert_eq!(native[1], numa);
    // systemd's unit may give it.
    assert!(said(Supervise::Systemd).await.is_empty());
}

#[test]
fn a_simulation_needs_no_devices_and_another_host_is_not_looked_at() {
    let node = Candidate {
        spec: NodeSpec {
            name: "w".into(),
            interface: Some("nosuch0".into()),
            directory: "/tmp/w".into(),
            scripts: vec!["/no/such.zeek".into()],
            ..NodeSpec::default()
        },
        ports: Vec::new(),
        runs: false,
    };
    let count = |is_simulation, is_elsewhere| {
        let host = Host {
            nodes: "/nonexistent".into(),
            is_simulation,
            supervise: Supervise::Zeek,
            is_elsewhere,
            launch: None,
            scratch: "/nonexistent".into(),
        };
        let problems = host.look_around(std::slice::from_ref(&node), &[]);
        assert!(problems.iter().all(|problem| problem.node == *"w"));
        problems.len()
    };
    assert_eq!(
        (count(true, false), count(false, false), count(false, true)),
        (1, 2, 0)
    );
}
