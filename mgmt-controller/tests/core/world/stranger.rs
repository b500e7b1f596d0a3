//! Peers that claim the names of agents.

use broker_codec::{
    EndpointId,
    data::{Port, ZeekString},
};
use mgmt_api::{AgentMessage, Dialect, ResultRecord};
use mgmt_controller::core::Input;

use testkit::FakeAgent;

use super::{Happening, World};

impl World {
    /// A peer connects under the name of a host's agent, and answers every kind of request.
    pub(super) fn send_stranger(&mut self, host: usize) {
        let peer =
            EndpointId::from_bytes([0xff - u8::try_from(self.dice.below(8)).unwrap(); EndpointId::LEN]);
        if self.network.is_there(peer) {
            return;
        }
        let connection = self.network.open(peer, None);
        self.translators.open(peer, false, Dialect::V7_0);
        let name = self.hosts[host].name.clone();
        self.step(Input::PeerAdded {
            peer,
            address: self.hosts[host].address,
            port: Port::tcp(1),
            dialled: false,
            is_ours: false,
            grant: None,
        });
        self.deliver(connection, peer, &name, &FakeAgent::hello(&name, peer, true));
        for id in 0..10 {
            let reqid = ZeekString::from(format!("#{id}"));
            let result = ResultRecord {
                instance: Some(name.clone()),
                ..ResultRecord::success(reqid.clone())
            };
            self.deliver(
                connection,
                peer,
                &name,
                &AgentMessage::Deploy {
                    reqid,
                    results: vec![result],
                },
            );
        }
        let stay = self.dice.millis(10, 5000);
        self.network.leave(peer);
        self.after(stay, Happening::Notice(peer));
    }
}
