//! Stand-ins for agents, all in this process: each a Broker peer of the controller, over anonymous TLS.

mod stand_in;
mod tally;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Range,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use futures_util::future::join_all;
use tokio::task::JoinSet;

use self::stand_in::StandIn;
pub(crate) use self::tally::{Seen, Tally};
use crate::{Failure, measure::instance_name};

/// Between two attempts of an agent to connect.
pub(crate) const RETRY: Duration = Duration::from_millis(500);

/// Whose agents they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Speaks {
    /// Zeek's: scripts, which speak its API alone
    Scripts,
    /// This project's: they speak the extension, too
    Extension,
}

/// How many agents there are, and of what kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) agents: u16,
    pub(crate) speaks: Speaks,
    pub(crate) one_address: bool,
}

#[derive(Debug)]
pub(crate) struct Fleet {
    kind: Kind,
    controller: SocketAddr,
    tally: Tally,
    /// One task each, which ends with its set.
    running: Vec<JoinSet<()>>,
}

impl Fleet {
    pub(crate) fn new(kind: Kind, controller: SocketAddr) -> Self {
        let agents = usize::from(kind.agents);
        Self {
            kind,
            controller,
            tally: Tally::new(agents),
            running: (0..agents).map(|_| JoinSet::new()).collect(),
        }
    }

    pub(crate) const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Starts all agents; returns when that began.
    pub(crate) async fn start(&mut self) -> Result<Instant, Failure> {
        self.restart(0..usize::from(self.kind.agents)).await
    }

    /// Ends these agents without a goodbye and starts them again; returns when that began.
    pub(crate) async fn restart(&mut self, which: Range<usize>) -> Result<Instant, Failure> {
        // What an endpoint needs to begin with, such as keys, is no matter of the controller.
        let stand_ins: Vec<StandIn> = which
            .clone()
            .map(|place| self.stand_in(place))
            .collect::<Result<_, _>>()?;
        let began = Instant::now();
        join_all(self.running[which.clone()].iter_mut().map(JoinSet::shutdown)).await;
        for (place, stand_in) in which.zip(stand_ins) {
            self.tally.see(place, |seen| seen.connected = false);
            stand_in.handle().peer(self.controller.into(), Some(RETRY));
            self.running[place].spawn(stand_in.run());
        }
        Ok(began)
    }

    fn stand_in(&self, place: usize) -> Result<StandIn, Failure> {
        // From 127.1.0.1 on.
        let own = u32::try_from(place).map(|place| Ipv4Addr::from_bits(0x7f01_0001 + place));
        let source = own.ok().filter(|_| !self.kind.one_address).map(IpAddr::from);
        let manner = (self.kind.speaks, source);
        StandIn::new(place, &instance_name(place), manner, self.tally.clone())
    }
}
