//! What a file in TOML does not say of itself, from the resolver and the controller.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use broker_codec::data::{Address, Excerpt};
use futures_util::future::join_all;
use mgmt_api::operator::{ClusterStatus, ConfigurationFile, InstanceReport};
use tokio::{net::lookup_host, time::timeout};

use crate::{
    client::{Client, ClientError},
    templates::{Cpus, TomlFile},
};

/// How long the resolver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the host names of a file stand for.
pub(crate) async fn addresses(file: &TomlFile) -> BTreeMap<String, Result<Address, String>> {
    let names: BTreeSet<&str> = file.host_names().map(|(_, name)| name).collect();
    let lookups = names
        .into_iter()
        .map(async |name| (name.to_owned(), address_of(name).await));
    join_all(lookups).await.into_iter().collect()
}

/// Of several addresses the first in order, IPv4 before IPv6, so that it is the same one each time.
async fn address_of(name: &str) -> Result<Address, String> {
    let found = timeout(PATIENCE, lookup_host((name, 0))).await;
    let found =
        found.map_err(|_| format!("the resolver has not answered within {} s", PATIENCE.as_secs()))?;
    let addresses = found
        .map_err(|error| error.to_string())?
        .map(|address| address.ip());
    preferred(addresses)
        .map(Address::from)
        .ok_or_else(|| "it has no address".to_owned())
}

fn preferred(addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses.min_by_key(|address| (address.is_ipv6(), *address))
}

/// The CPUs of these instances, as the controller hears of them from their agents. The status of their cluster has this path.
pub(crate) async fn cpus(
    client: &Client,
    own: &str,
    instances: BTreeSet<&str>,
) -> Result<BTreeMap<String, Result<Cpus, String>>, ClientError> {
    if instances.is_empty() {
        return Ok(BTreeMap::new());
    }
    // A cluster is there when something is staged in it, and until then its agents are with the first one.
    let first = "/v1/clusters/default/status";
    let mut reports = reports(client, own).await?;
    if own != first && instances.iter().any(|name| !reports.contains_key(*name)) {
        // Who may not ask for that one does without.
        for (name, report) in self::reports(client, first).await.unwrap_or_default() {
            reports.entry(name).or_insert(report);
        }
    }
    let told = instances
        .into_iter()
        .map(|name| (name.to_owned(), told_by(reports.get(name))));
    Ok(told.collect())
}

async fn reports(client: &Client, path: &str) -> Result<BTreeMap<String, InstanceReport>, ClientError> {
    let status: Option<ClusterStatus> = client.get_if_there(path).await?;
    let reports = status.into_iter().flat_map(|status| status.instances);
    Ok(reports.map(|report| (report.instance.clone(), report)).collect())
}

fn told_by(report: Option<&InstanceReport>) -> Result<Cpus, String> {
    let report = report
        .filter(|report| report.is_connected)
        .ok_or("its agent is not connected")?;
    match (&report.cpus, &report.trouble) {
        (Some(cpus), _) => {
            Cpus::read(cpus).ok_or_else(|| format!("its agent says {}", Excerpt::new(cpus.as_bytes())))
        }
        (None, Some(trouble)) => Err(trouble.clone()),
        (None, None) => Err("its agent does not tell: it is Zeek's, or an older one".to_owned()),
    }
}

/// The instances whose host names stand for other addresses than in the deployed configuration, a line each.
pub(crate) fn changed_addresses(
    file: &TomlFile,
    config: &ConfigurationFile,
    deployed: &ConfigurationFile,
) -> Vec<String> {
    let address_in = |config: &ConfigurationFile, name: &str| {
        let mut instances = config.instances.iter();
        instances
            .find(|entry| entry.name == name)
            .and_then(|entry| entry.host)
    };
    let changed = file.host_names().filter_map(|(instance, host)| {
        let (new, old) = (address_in(config, instance)?, address_in(deployed, instance)?);
        let [instance, host] = [instance, host].map(|text| Excerpt::new(text.as_bytes()));
        let line = format!("WARNING: instance {instance}: its host {host} has the address {new} now, and {old} in the deployed configuration");
        (new != old).then_some(line)
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_addresses_one_is_chosen_whatever_their_order() {
        let mut addresses = ["::1", "10.0.0.12", "2001:db8::1", "10.0.0.2"].map(|text| text.parse().unwrap());
        for _ in 0..addresses.len() {
            addresses.rotate_left(1);
            assert_eq!(
                preferred(addresses.into_iter()),
                Some("10.0.0.2".parse().unwrap())
            );
        }
        assert_eq!(
            preferred(addresses.into_iter().filter(IpAddr::is_ipv6)),
            Some("::1".parse().unwrap())
        );
        assert_eq!(preferred([].into_iter()), None);
    }

    #[test]
    fn why_cpus_are_not_known_is_said() {
        let mut report = InstanceReport::default();
        assert_eq!(told_by(None), Err("its agent is not connected".to_owned()));
        assert_eq!(
            told_by(Some(&report)),
            Err("its agent is not connected".to_owned())
        );
        report.is_connected = true;
        assert!(
            told_by(Some(&report))
                .unwrap_err()
                .starts_with("its agent does not tell")
        );
        report.trouble = Some("instance a: it does not answer".to_owned());
        assert_eq!(
            told_by(Some(&report)).as_ref(),
            Err(report.trouble.as_ref().unwrap())
        );
        report.cpus = Some("0-3".to_owned());
        assert_eq!(told_by(Some(&report)), Ok(Cpus::of_number(4).unwrap()));
    }

    #[test]
    fn a_name_that_stands_for_another_address_is_told_and_an_address_is_not() {
        let file = crate::templates::read(
            "[instance.a]\nhost = \"a.example\"\n[instance.b]\nhost = \"10.0.0.9\"\n[instance.c]\nhost = \"a.example\"\n",
        );
        let file = file.unwrap();
        let config = |first: &str| -> ConfigurationFile {
            let instances =
                serde_json::json!([{ "name": "a", "host": first }, { "name": "b", "host": first }]);
            serde_json::from_value(serde_json::json!({ "instances": instances })).unwrap()
        };
        assert_eq!(
            changed_addresses(&file, &config("10.0.0.2"), &config("10.0.0.2")),
            [""; 0]
        );
        assert_eq!(
            changed_addresses(&file, &config("10.0.0.3"), &config("10.0.0.2")),
            [
                "WARNING: instance a: its host a.example has the address 10.0.0.3 now, and 10.0.0.2 in the deployed configuration"
            ]
        );
    }
}
