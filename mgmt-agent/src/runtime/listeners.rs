//! Which processes listen on ports, as far as this user may see.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fmt, fs,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use broker_codec::data::Port;

/// A process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) port: u16,
    /// Else on one.
    pub(super) on_all_addresses: bool,
    id: u32,
    name: String,
    pub(super) works_in: Option<PathBuf>,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.id, self.name)
    }
}

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Socket {
    port: u16,
    on_all_addresses: bool,
    inode: u64,
}

/// The processes that listen on every address and are no nodes, by port. One that cannot be seen may be a node.
pub(super) struct Listeners(BTreeMap<u16, Listener>);

impl Listeners {
    /// Of these ports. Nodes work below these directories.
    pub(super) fn on(ports: impl Iterator<Item = u16>, nodes: &[PathBuf]) -> Self {
        let is_foreign = |listener: &Listener| {
            let works_in = listener.works_in.as_ref();
            works_in.is_some_and(|place| !nodes.iter().any(|nodes| place.starts_with(nodes)))
        };
        let found = on(&ports.collect()).into_iter();
        let foreign = found.filter(|listener| listener.on_all_addresses && is_foreign(listener));
        let mut first: BTreeMap<u16, Listener> = BTreeMap::new();
        for listener in foreign {
            let known = first.entry(listener.port).or_insert_with(|| listener.clone());
            // The other has inherited the socket, as each process does that another starts, until it is another program.
            if listener.id < known.id {
                *known = listener;
            }
        }
        Self(first)
    }

    /// A process that keeps a node from listening on a port.
    pub(super) fn in_the_way(&self, port: Port) -> Option<String> {
        let listener = self.0.get(&port.number)?;
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.number));
        let is_taken = taken.is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
        is_taken.then(|| format!("{listener} listens on its port {port}"))
    }
}

/// What listens on these ports.
pub(super) fn on(ports: &BTreeSet<u16>) -> Vec<Listener> {
    let mut sockets = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = fs::read_to_string(table).unwrap_or_default();
        let found = table.lines().filter_map(socket);
        let asked_for = found.filter(|socket| ports.contains(&socket.port));
        sockets.extend(asked_for.map(|socket| (PathBuf::from(format!("socket:[{}]", socket.inode)), socket)));
    }
    // A host has many processes, and each many descriptors.
    if sockets.is_empty() {
        return Vec::new();
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .flat_map(|process| of(&process.path(), &sockets))
        .collect()
}

/// Where a process listens, of these sockets.
fn of(process: &Path, sockets: &BTreeMap<PathBuf, Socket>) -> Vec<Listener> {
    let name = process.file_name().and_then(OsStr::to_str);
    let Some(id) = name.and_then(|name| name.parse::<u32>().ok()) else {
        return Vec::new();
    };
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let open = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    let sockets: Vec<Socket> = open.filter_map(|target| sockets.get(&target).copied()).collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    let works_in = fs::read_link(process.join("cwd")).ok();
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let listener = |socket: Socket| Listener {
        port: socket.port,
        on_all_addresses: socket.on_all_addresses,
        id,
        name: name.trim_end().to_owned(),
        works_in: works_in.clone(),
    };
    sockets.into_iter().map(listener).collect()
}

/// A line of `/proc/net/tcp`, if it is about a socket that listens.
fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_whitespace().skip(1);
    let (address, port) = fields.next()?.rsplit_once(':')?;
    let listens = fields.nth(1)? == "0A";
    let inode = fields.nth(5)?.parse().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let on_all_addresses = address.bytes().all(|digit| digit == b'0');
    listens.then_some(Socket {
        port,
        on_all_addresses,
        inode,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_said_of_lines_that_are_no_listeners() {
        let line = "   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        let known = |on_all_addresses| {
            Some(Socket {
                port: 22,
                on_all_addresses,
                inode: 4711,
            })
        };
        assert_eq!(socket(line), known(true));
        for (from, to, expected) in [
            (" 0A ", " 01 ", None),
            ("00000000:0016", "0100007F:0016", known(false)),
            ("4711", "x", None),
            ("0016", "", None),
        ] {
            assert_eq!(socket(&line.replace(from, to)), expected, "{from}");
        }
        assert_eq!(socket("  sl  local_address rem_address   st tx_queue"), None);
    }

    #[test]
    fn who_listens_on_a_port_on_all_addresses_is_named_unless_it_is_a_node() {
        let elsewhere = [PathBuf::from("/nonexistent")];
        let listens = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let number = listens.local_addr().unwrap().port();
        let port = Port::tcp(number);
        let said = |nodes: &[PathBuf]| Listeners::on([number].into_iter(), nodes).in_the_way(port);
        let this = format!("process {} (", std::process::id());
        let found = said(&elsewhere).expect("it listens");
        assert!(found.starts_with(&this), "{found}");
        assert!(
            found.ends_with(&format!(") listens on its port {number}/tcp")),
            "{found}"
        );
        assert_eq!(
            said(&[std::env::current_dir().unwrap()]),
            None,
            "it works where nodes do"
        );
        drop(listens);
        // What another test starts may have inherited it, and has it until it is another program.
        let _on_one_address = loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, number)) {
                Ok(listens) => break listens,
                Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
            }
            std::thread::yield_now();
        };
        assert_eq!(said(&elsewhere), None, "a node may listen on another one");
    }
}
