//! Hosts that are away, and what deployments may not do because of that.

use std::time::Duration;

use broker_codec::data::ZeekString;
use mgmt_api::{AgentRequest, ClientResponse};

use super::{Happening, World};

impl World {
    /// A host is away for as long as deployments wait for it, or longer.
    pub(super) fn take_away(&mut self, host: usize) {
        let away = self.dice.millis(5000, 25_000);
        self.hosts[host].absent_until = self.now + away;
        if let Some(peer) = self.network.end_of_host(host) {
            self.after(Duration::from_millis(1), Happening::Notice(peer));
        }
        self.after(away, Happening::Connect(host));
    }

    /// Agents that were dismissed earlier are stood down whenever they come.
    pub(super) fn note_change(&mut self, topic: &ZeekString, request: &AgentRequest) {
        let name = topic.to_string();
        let name = ZeekString::from(name.rsplit('/').next().unwrap());
        let counts = match request {
            AgentRequest::Deploy { reqid, config, .. } if !config.id.is_empty() => {
                // After its second hello an old agent gets again what it was given after the first.
                let is_new = self.given.insert(reqid.clone());
                self.saw("a configuration that is given again", (!is_new).into());
                is_new
            }
            // Those of 4.1 are stood down by a configuration of nothing.
            AgentRequest::AgentStandby { .. } | AgentRequest::Deploy { .. } => {
                !self.durable.dismissed.iter().any(|one| one.name == name)
            }
            _ => false,
        };
        self.changes += u64::from(counts);
    }

    pub(super) fn note_deployment(&mut self, response: &ClientResponse) {
        let before = self.deployments.remove(response.reqid());
        let says = |text: &str| {
            let errors = response
                .results()
                .iter()
                .filter_map(|result| result.error.as_ref());
            errors.filter(|error| error.to_string().contains(text)).count() as u64
        };
        self.saw(
            "an instance that was skipped",
            says("they follow when it returns"),
        );
        if says("nothing was changed") + says(" is unchanged") > 0 {
            self.saw("a deployment that was not accepted", 1);
            let now = (self.durable.deployed.clone(), self.changes);
            assert_eq!(before, Some(now), "{response:?}");
        }
    }
}
