//! Whether a host has what a node needs, just before it is started.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{SocketAddr, TcpListener},
    path::Path,
};

use rustix::{
    fs::statvfs,
    io::Errno,
    net::{AddressFamily, SocketType, netdevice::name_to_index, socket},
};

use super::listeners;
use crate::supervisors::own::Needs;

/// The file system of a node's directory needs so much space, in bytes: Zeek ends when a log cannot be written.
const SPACE_MIN: u64 = 16 << 20;

/// What is lacking, in words, if anything is: `interface eth9 is not there`.
pub(super) fn lacking(needs: &Needs, directory: &Path) -> Option<String> {
    let interface = needs.interface.as_ref().map(ToString::to_string);
    let absent = interface.filter(|name| is_no_device(name));
    absent
        .map(|name| format!("interface {name} is not there"))
        .or_else(|| needs.listeners.iter().find_map(|address| listener(*address)))
        .or_else(|| space(directory))
}

fn listener(address: SocketAddr) -> Option<String> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let port = address.port();
            let listeners = listeners::on(&BTreeSet::from([port]));
            let holder = listeners.first().map(|listener| format!(" by {listener}"));
            Some(format!(
                "port {port}/tcp of {} is in use{}",
                address.ip(),
                holder.unwrap_or_default()
            ))
        }
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Some(format!("address {} is not there", address.ip()))
        }
        // Zeek may be allowed what the agent is not.
        _ => None,
    }
}

/// That there is too little space where this directory is, or would be.
pub(super) fn space(directory: &Path) -> Option<String> {
    let there = directory.ancestors().find(|above| fs::metadata(above).is_ok())?;
    let free = free_space(there).filter(|free| *free < SPACE_MIN)?;
    let (free, min) = (free >> 20, SPACE_MIN >> 20);
    Some(format!(
        "space in {} is short: {free} MiB are free, and it takes {min}",
        there.display()
    ))
}

/// How much may be written to the file system that this is on, in bytes. Some do not tell.
fn free_space(path: &Path) -> Option<u64> {
    let system = statvfs(path).ok().filter(|system| system.f_blocks > 0)?;
    Some(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Whether the system has no network device of this name.
pub(super) fn is_no_device(name: &str) -> bool {
    let asked = socket(AddressFamily::INET, SocketType::DGRAM, None);
    asked.is_ok_and(|asked| matches!(name_to_index(&asked, name), Err(Errno::NODEV)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_named_with_who_has_it() {
        let home = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let said = |interface: Option<&str>, listeners: &[SocketAddr]| {
            let needs = Needs {
                interface: interface.map(Into::into),
                listeners: listeners.to_vec(),
            };
            lacking(&needs, &home.path().join("not/there/yet"))
        };
        assert_eq!(said(Some("lo"), &[]), None);
        assert_eq!(
            said(Some("nosuch0"), &[address]).unwrap(),
            "interface nosuch0 is not there"
        );
        let busy = said(None, &[address]).unwrap();
        let expected = format!(
            "port {}/tcp of 127.0.0.1 is in use by process {} (",
            address.port(),
            std::process::id()
        );
        assert!(busy.starts_with(&expected), "{busy}");
        let elsewhere = "192.0.2.1:0".parse().unwrap();
        assert_eq!(
            said(None, &[elsewhere]).unwrap(),
            "address 192.0.2.1 is not there"
        );
        drop(taken);
        assert_eq!(said(None, &[address]), None);
    }
}
