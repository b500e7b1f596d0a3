//! Hosts with networks of their own, on this one: namespaces, of which two are joined by a pair of virtual interfaces.

use std::{fs::File, os::fd::AsFd, panic::resume_unwind, process::Command, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::{daemon::Daemon, program::Outcome, program::run_command, works};

/// A network with a loopback interface. Gone when the last process is that was started within, and this.
pub(super) struct Network {
    namespace: File,
    holder: Daemon,
}

impl Network {
    /// Why there can be none, if that is so.
    pub(super) fn missing() -> Option<&'static str> {
        let can = works(Command::new("unshare").args(["--net", "ip", "link", "set", "lo", "up"]));
        (!can).then_some("no network namespaces can be made: it takes root and iproute2")
    }

    pub(super) fn new() -> Self {
        let script = "ip link set lo up && echo 1 && exec sleep infinity";
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", script]);
        let holder = Daemon::with_ready_line("a network", &mut command);
        let namespace = File::open(format!("/proc/{}/ns/net", holder.pid())).expect("it is there");
        Self { namespace, holder }
    }

    /// Does something as a process of this host would; what it starts is on this host.
    pub(super) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let enters = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(self.namespace.as_fd(), network).expect("root may enter it");
            act()
        };
        let done = thread::scope(|scope| scope.spawn(enters).join());
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Joins two hosts. The interfaces are called alike, and have these addresses.
    pub(super) fn join(&self, other: &Self, addresses: [&str; 2]) {
        let pid = other.holder.pid().to_string();
        let ip = |network: &Self, words: &str| {
            let mut command = Command::new("/usr/bin/env");
            command
                .args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "ip"])
                .args(words.split(' '));
            let done: Outcome = network.within(|| run_command(&mut command));
            done.printed();
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

/// The interface by which two hosts are joined.
pub(super) const LINK: &str = "link0";
