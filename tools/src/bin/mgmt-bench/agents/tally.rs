//! What agents have been asked, and by that whether the controller has done its part.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mgmt_api::AgentRequest;
use tokio::{sync::watch, time::timeout};

use crate::{Failure, failed};

/// How long is waited for what agents are to be asked.
const WAIT: Duration = Duration::from_secs(180);

/// What one agent has seen of its controller, over all its restarts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) connected: bool,
    pub(crate) welcomes: u64,
    pub(crate) deploys: u64,
    pub(crate) states: u64,
    pub(crate) dispatches: u64,
    pub(crate) restarts: u64,
    /// Messages of the extension that it has answered.
    pub(crate) linked: u64,
}

impl Seen {
    pub(crate) fn count(&mut self, request: &AgentRequest) {
        match request {
            AgentRequest::AgentWelcome { .. } => self.welcomes += 1,
            AgentRequest::Deploy { .. } => self.deploys += 1,
            AgentRequest::GetNodes { .. } => self.states += 1,
            AgentRequest::NodeDispatch { .. } => self.dispatches += 1,
            AgentRequest::Restart { .. } => self.restarts += 1,
            AgentRequest::AgentStandby { .. } => {}
        }
    }
}

#[derive(Debug)]
struct State {
    agents: Vec<Seen>,
    /// When an agent last heard something.
    last: Instant,
}

/// What all agents have seen.
#[derive(Clone, Debug)]
pub(crate) struct Tally(Arc<watch::Sender<State>>);

impl Tally {
    pub(crate) fn new(agents: usize) -> Self {
        let state = State {
            agents: vec![Seen::default(); agents],
            last: Instant::now(),
        };
        Self(Arc::new(watch::Sender::new(state)))
    }

    /// Takes in what the agent of this place sees.
    pub(crate) fn see(&self, place: usize, change: impl FnOnce(&mut Seen)) {
        self.0.send_modify(|state| {
            change(&mut state.agents[place]);
            state.last = Instant::now();
        });
    }

    pub(crate) fn now(&self) -> Vec<Seen> {
        self.0.borrow().agents.clone()
    }

    pub(crate) fn last(&self) -> Instant {
        self.0.borrow().last
    }

    /// Waits until all agents have seen as much.
    pub(crate) async fn all(&self, what: &str, enough: impl Fn(usize, &Seen) -> bool) -> Result<(), Failure> {
        let mut changes = self.0.subscribe();
        let are = |state: &State| {
            let mut agents = state.agents.iter().enumerate();
            agents.all(|(place, seen)| enough(place, seen))
        };
        let Ok(seen) = timeout(WAIT, changes.wait_for(are)).await else {
            let agents = self.now();
            let are = agents
                .iter()
                .enumerate()
                .filter(|(place, seen)| enough(*place, seen));
            let late = format!(
                "after {} s, {} of {} are",
                WAIT.as_secs(),
                are.count(),
                agents.len()
            );
            return Err(failed(format!("waiting for {what}"))(late));
        };
        seen.expect("this value has its sender");
        Ok(())
    }
}
