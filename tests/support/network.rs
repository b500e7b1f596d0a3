//! A network of its own, in which programs of this host and containers run: loopback, what a test makes, and a pair of virtual interfaces
//! by which two are joined.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    os::fd::AsFd,
    panic::resume_unwind,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::works;

/// The interface by which two are joined.
pub(crate) const LINK: &str = "link0";

/// Needs root.
#[derive(Debug)]
pub(crate) struct Network {
    /// It is there as long as a process is in it.
    holder: Child,
}

impl Network {
    /// Why there can be none, if that is so.
    pub(crate) fn missing() -> Option<&'static str> {
        let can = works(Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]));
        (!can).then_some("no network namespaces can be made: it takes root and iproute2")
    }

    pub(crate) fn new() -> Self {
        // Its standard input ends with this process, whatever becomes of that.
        let script = "ip link set lo up && echo ready && exec cat";
        let holder = Command::new("unshare")
            .args(["--net", "sh", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut holder = holder.expect("unshare can be run");
        let mut line = String::new();
        let stdout = holder.stdout.as_mut().expect("a pipe");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("a pipe can be read");
        assert_eq!(line, "ready\n", "a network can be made");
        Self { holder }
    }

    /// The file by which it is entered.
    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.holder.id()).into()
    }

    /// A command that starts a program of this host in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path().display()))
            .args(["--", program]);
        command
    }

    /// Makes an interface of this name.
    pub(crate) fn add_interface(&self, name: &str) {
        // Not every kernel has the type `dummy`.
        let made = works(
            self.command("ip")
                .args(["link", "add", name, "type", "veth", "peer", "name", "peer0"]),
        );
        assert!(made, "an interface can be made");
    }

    /// Does something as a process of this host would; what it starts is on this host.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.path()).expect("it is there");
        let enters = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).expect("root may enter it");
            act()
        };
        let done = thread::scope(|scope| scope.spawn(enters).join());
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Joins two hosts. The interfaces are called alike, and have these addresses.
    pub(crate) fn join(&self, other: &Self, addresses: [&str; 2]) {
        let pid = other.holder.id();
        let ip = |network: &Self, words: &str| {
            let done = works(network.command("ip").args(words.split(' ')));
            assert!(done, "ip {words}");
        };
        ip(
            self,
            &format!("link add {LINK} type veth peer name {LINK} netns {pid}"),
        );
        for (network, address) in [self, other].into_iter().zip(addresses) {
            ip(network, &format!("addr add {address}/24 dev {LINK}"));
            ip(network, &format!("link set {LINK} up"));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
