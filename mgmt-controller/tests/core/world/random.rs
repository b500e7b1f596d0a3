//! What clients ask for, and what agents speak, by chance.

use broker_codec::data::{Address, Port, Set, ZeekString};
use mgmt_api::{ClientRequest, ClusterRole, Configuration, Dialect, Instance, Node};

use testkit::Dice;

use super::{AGENTS_MAX, World};

impl World {
    pub(super) fn random_request(&mut self) -> ClientRequest {
        // Some clients repeat themselves, some give no id.
        let reqid = match self.dice.below(100) {
            0..5 => format!("r{}", self.asked).into(),
            5..10 => ZeekString::default(),
            _ => self.fresh_reqid(),
        };
        let node = format!("node{}", self.dice.below(AGENTS_MAX)).into();
        let nodes = if self.dice.percent(50) {
            Set::new()
        } else {
            Set::from([node])
        };
        match self.dice.below(10) {
            0 => ClientRequest::GetInstances { reqid },
            1 | 2 => {
                let config = self.random_configuration();
                ClientRequest::StageConfiguration { reqid, config }
            }
            3 | 4 => ClientRequest::Deploy { reqid },
            5 => ClientRequest::GetNodes { reqid },
            6 => ClientRequest::GetIdValue {
                reqid,
                id: "id".into(),
                nodes,
            },
            7 => ClientRequest::Restart { reqid, nodes },
            8 => ClientRequest::GetConfiguration {
                reqid,
                deployed: self.dice.percent(50),
            },
            _ => ClientRequest::TestTimeout {
                reqid,
                with_state: self.dice.percent(80),
            },
        }
    }

    pub(super) fn random_configuration(&mut self) -> Configuration {
        let mut instances = Vec::new();
        let mut nodes = Vec::new();
        for index in 0..self.hosts.len() {
            if !self.dice.percent(60) {
                continue;
            }
            let given = self.dice.percent(50);
            let host = &self.hosts[index];
            instances.push(Instance {
                name: host.name.clone(),
                host: if given || host.listens {
                    host.address
                } else {
                    Address::UNSPECIFIED_V4
                },
                listen_port: host.listens.then_some(Port::tcp(2151)),
            });
            for _ in 0..self.dice.below(3) {
                nodes.push(Node::new(
                    format!("node{}", nodes.len()),
                    self.hosts[index].name.clone(),
                    ClusterRole::Worker,
                ));
            }
        }
        let id = format!("config-{}", self.dice.roll()).into();
        Configuration {
            id,
            instances: instances.into_iter().collect(),
            nodes: nodes.into_iter().collect(),
        }
    }
}

/// Half of the agents are of today.
pub(super) fn random_dialect(dice: &mut Dice) -> Dialect {
    if dice.percent(50) {
        return Dialect::V7_0;
    }
    let index = dice.below(Dialect::ALL.len() as u64);
    Dialect::ALL[usize::try_from(index).unwrap()]
}
