//! Fan-out groups of `AF_PACKET`: workers of one interface share one, by its id, and get each packet once; those of others must not.

use std::collections::BTreeMap;

use super::problems::shown;

/// The option of Zeek's plugin.
pub(super) const OPTION: &str = "AF_Packet::fanout_id";

/// What the plugin takes without that.
const OF_ZEEK: &str = "23";

/// Ids that are assigned begin here: lower ones are what people choose.
const FIRST: u32 = 1024;

/// Whether an interface is captured by `AF_PACKET`.
pub(super) fn is_af_packet(interface: &str) -> bool {
    interface.starts_with("af_packet::")
}

/// The id for an interface of several. It follows from the interface alone, so that it stays whatever else is captured: FNV-1a, in the range of ids.
pub(super) fn id_for(interface: &str) -> String {
    let hash = interface.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (FIRST + hash % (0x1_0000 - FIRST)).to_string()
}

/// How the groups of an instance are wrong, of whose workers by `AF_PACKET` these are the interfaces and ids, if they have any.
pub(super) fn contradiction(workers: &[(String, Option<String>)]) -> Option<String> {
    let (mut interfaces, mut ids) = (BTreeMap::new(), BTreeMap::new());
    for (interface, id) in workers {
        let id = id.as_deref().unwrap_or(OF_ZEEK);
        let other = *interfaces.entry(id).or_insert(interface);
        if other != interface {
            return Some(format!(
                "workers of {} and of {} have the same fan-out id, {id}: give each interface a fanout_id of its own",
                shown(other),
                shown(interface)
            ));
        }
        let other = *ids.entry(interface).or_insert(id);
        if other != id {
            return Some(format!(
                "workers of {} have the fan-out ids {other} and {id}, so that each packet is analysed twice: give them one fanout_id",
                shown(interface)
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_follows_from_the_interface_and_is_none_of_the_low_ones() {
        assert_eq!(
            [id_for("af_packet::eth1"), id_for("af_packet::eth2")].join(" "),
            "54649 41152"
        );
        for number in 0..10_000 {
            let id: u32 = id_for(&format!("af_packet::ens{number}f0")).parse().unwrap();
            assert!((FIRST..0x1_0000).contains(&id));
        }
    }

    #[test]
    fn interfaces_have_one_group_each() {
        let told = |workers: &[(&str, Option<&str>)]| {
            let owned =
                |(interface, id): &(&str, Option<&str>)| ((*interface).to_owned(), id.map(str::to_owned));
            let workers: Vec<_> = workers.iter().map(owned).collect();
            contradiction(&workers).unwrap_or_default()
        };
        assert_eq!(told(&[]), "");
        assert_eq!(told(&[("a", None), ("a", Some("23")), ("b", Some("24"))]), "");
        assert!(
            told(&[("a", None), ("b", None)])
                .starts_with("workers of a and of b have the same fan-out id, 23: ")
        );
        assert!(
            told(&[("a", Some("1")), ("a", Some("2"))])
                .starts_with("workers of a have the fan-out ids 1 and 2, ")
        );
    }
}
