//! What the tests of several packages share. Production code does not depend on it.
#![expect(clippy::missing_panics_doc, reason = "a test fails by a panic")]

mod agent;
mod executable;
mod reserved;
pub mod transcript;

pub use agent::{FakeAgent, with_results};
pub use broker_codec::testing::Dice;
pub use executable::{copy_executable, write_executable};
use mgmt_api::{Principal, Transport};
pub use reserved::ReservedPort;

/// A WebSocket client.
pub fn client(number: u64) -> Principal {
    Principal {
        transport: Transport::WebSocket {
            client: number,
            application: None,
        },
        address: Some(([192, 0, 2, 9], 50_000).into()),
        certificate: None,
        grant: None,
    }
}

/// An operator, on the control socket.
pub fn operator() -> Principal {
    Principal {
        transport: Transport::ControlSocket { uid: 0, pid: 7 },
        address: None,
        certificate: None,
        grant: None,
    }
}
