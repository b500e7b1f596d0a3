//! What is around a controller that takes the place of Zeek's: its ports, its files, its end.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
};

use tempfile::TempDir;

use crate::support::{
    controller::{Controller, STORE, UNROTATED, binary},
    home,
    limit::Limit,
    not_tested,
    session::Session,
    works,
};

/// The program with the one setting that it cannot do without where there is no Zeek.
fn controller_command(home: &TempDir) -> Vec<String> {
    let prefix = home.path().to_str().expect("a plain path");
    [binary().to_str().expect("a plain path"), "--zeek-prefix", prefix]
        .map(str::to_owned)
        .into()
}

fn command(words: &[String], further: &[&str]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(further);
    command
}

/// A socket of a process: protocol, and where it is bound.
pub(crate) type Bound = (&'static str, SocketAddr);

/// The TCP sockets of a process that listen, and all its UDP sockets, as the kernel shows them.
pub(crate) fn sockets(pid: i32) -> BTreeSet<Bound> {
    let process = Path::new("/proc").join(pid.to_string());
    let own: BTreeSet<String> = fs::read_dir(process.join("fd"))
        .expect("the process is there")
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    let mut sockets = BTreeSet::new();
    for (protocol, listening) in [
        ("tcp", Some("0A")),
        ("tcp6", Some("0A")),
        ("udp", None),
        ("udp6", None),
    ] {
        let table = fs::read_to_string(process.join("net").join(protocol)).expect("the kernel shows sockets");
        for line in table.lines().skip(1) {
            let columns: Vec<_> = line.split_whitespace().collect();
            let (local, state, inode) = (columns[1], columns[3], columns[9]);
            if listening.is_none_or(|listening| state == listening) && own.contains(inode) {
                sockets.insert((protocol, address(local)));
            }
        }
    }
    sockets
}

/// Such as `0100007F:0865`. Of IPv6 addresses only the port counts here.
fn address(shown: &str) -> SocketAddr {
    let (host, port) = shown.split_once(':').expect("address and port");
    let port = u16::from_str_radix(port, 16).expect("hexadecimal");
    let host = match u32::from_str_radix(host, 16) {
        Ok(host) => IpAddr::V4(Ipv4Addr::from(host.to_ne_bytes())),
        Err(_) => IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(host, port)
}

fn tcp(address: &str) -> Bound {
    ("tcp", address.parse().expect("an address"))
}

/// All files below a directory, but the ready file of these tests.
fn files(home: &Path) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    let mut folders = vec![home.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a directory can be read") {
            let path = entry.expect("a directory can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let path = path.strip_prefix(home).expect("below it");
                files.insert(path.to_str().expect("a plain name").to_owned());
            }
        }
    }
    files.remove("ready.json");
    files
}

/// The default ports are only free for certain in a network of one's own.
#[test]
fn by_default_it_listens_where_zeek_does_and_nowhere_else() {
    // An address of the loopback interface needs that interface.
    let script = "ip link set lo up && exec \"$0\" \"$@\"";
    let network = ["unshare", "--map-root-user", "--net", "sh", "-c", script].map(str::to_owned);
    if !works(&mut command(&network, &["true"])) {
        not_tested("the default ports, where no network of one's own is allowed");
        return;
    }
    let home = home();
    let words = [network.into(), controller_command(&home)].concat();
    for (arguments, listening) in [
        (
            &["--name", "controller", "--process-name", "zeek.controller"][..],
            vec![tcp("0.0.0.0:2149"), tcp("0.0.0.0:2150")],
        ),
        // And as it is told.
        (&["--listen", "off", "--name", "a"], vec![tcp("0.0.0.0:2149")]),
        (
            &["--websocket-listen", "off", "--name", "b"],
            vec![tcp("0.0.0.0:2150")],
        ),
        (
            &["--listen", "127.0.0.1:9", "--name", "c"],
            vec![tcp("127.0.0.1:9"), tcp("0.0.0.0:2149")],
        ),
        (
            &["Management::Controller::default_port=0/unknown", "--name", "d"],
            vec![tcp("0.0.0.0:2149")],
        ),
    ] {
        let controller = Controller::launch(&home, command(&words, arguments));
        assert_eq!(
            sockets(controller.pid()),
            listening.into_iter().collect(),
            "{arguments:?}"
        );
        controller.stop();
    }
}

#[test]
fn without_listeners_it_goes_on_and_says_so() {
    let home = home();
    let words = controller_command(&home);
    let controller = Controller::launch(
        &home,
        command(&words, &["--listen", "off", "--websocket-listen", "off"]),
    );
    assert_eq!(sockets(controller.pid()), BTreeSet::new());
    let remains = controller.stop();
    assert!(
        remains.stderr.contains("neither agents nor clients can connect"),
        "{}",
        remains.stderr
    );
    let log = remains.management_log();
    assert!(log.contains("no Broker port, no Websocket port"), "{log}");
}

/// `<prefix>/var/lib/nodes/<name>` and `<prefix>/spool/log-queue`, as Zeek has it.
#[test]
fn files_are_where_zeek_puts_them_and_a_signal_leaves_only_those_that_are_to_stay() {
    let home = home();
    let words = controller_command(&home);
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--websocket-listen",
        "127.0.0.1:0",
        UNROTATED,
    ];
    let mut controller = Controller::launch(&home, command(&words, &arguments));
    let config = mgmt_api::Configuration::new("c1", [], []);
    Session::open(controller.websocket()).stage(&config);
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").expect("the system has a name");
    let name = format!("controller-{}", hostname.trim_end());
    let dir = format!("var/lib/nodes/{name}");
    let store = format!("{dir}/{STORE}");
    // Ours alone: which process has the store.
    let lock = format!("{store}.lock");
    let audit = format!("{dir}/audit.log");
    let running = [
        store.clone(),
        lock.clone(),
        format!("{dir}/management-{name}.log"),
        format!("{dir}/.shadow.management-{name}.log"),
        // Ours alone: where operators ask.
        format!("{dir}/control.sock"),
        // Ours alone: who has asked for what.
        audit.clone(),
    ];
    // The logs are written on threads of their own.
    let limit = Limit::new(format_args!("these files alone: {running:?}"));
    limit.poll(|| (files(home.path()) == BTreeSet::from(running.clone())).then_some(()));

    let remains = controller.stop();
    let rotated = remains.management_logs.iter();
    let rotated = rotated.map(|(name, _)| format!("spool/log-queue/{name}"));
    assert_eq!(files(home.path()), rotated.chain([store, lock, audit]).collect());
}
