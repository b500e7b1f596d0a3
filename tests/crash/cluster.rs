//! Agents that outlive the controller, and what they were told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, mpsc::Sender},
};

use broker_endpoint::tls::TlsConfig;
use mgmt_api::{AgentRequest, Configuration, Dialect};

use crate::support::{
    agent::{StandIn, Way},
    limit::Limit,
};

/// Two whose names begin alike, which connect to the controller, and one that the controller connects to.
pub(crate) const DIALLING: [&str; 2] = ["host1", "host10"];
pub(crate) const LISTENING: &str = "host2";

/// The agents of one controller.
pub(crate) struct Cluster {
    shared: Arc<Shared>,
    listening: StandIn,
    _dialling: Vec<StandIn>,
}

#[derive(Default)]
struct Shared {
    told: Mutex<Told>,
    changed: Condvar,
}

#[derive(Default)]
struct Told {
    running: BTreeMap<String, Running>,
    life: u64,
    /// Where each request of the controller is announced before it is answered.
    moments: Option<Sender<String>>,
}

/// What an agent runs, and in which life of the controller it was told so.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Running {
    pub(crate) config: Configuration,
    pub(crate) life: u64,
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no thread panics with it")
    }

    fn request(&self, name: &'static str, request: &AgentRequest) {
        let mut told = self.told();
        let life = told.life;
        match request {
            AgentRequest::Deploy { config, .. } => {
                let config = Configuration::clone(config);
                told.running.insert(name.to_owned(), Running { config, life });
            }
            AgentRequest::AgentStandby { .. } => {
                told.running.remove(name);
            }
            _ => {}
        }
        if let Some(moments) = &told.moments {
            // The listener may have heard enough.
            let _ = moments.send(format!("{name} hears {}", request.event_name()));
        }
        drop(told);
        self.changed.notify_all();
    }
}

impl Cluster {
    /// Starts the agents; those that connect find the controller there.
    pub(crate) fn start(controller: std::net::SocketAddr) -> Self {
        let shared = Arc::<Shared>::default();
        let start = |name: &'static str, way| {
            let shared = Arc::clone(&shared);
            let manners = Box::new(move |request: &AgentRequest, answer| {
                shared.request(name, request);
                vec![answer]
            });
            StandIn::start_as(name, &TlsConfig::Off, way, (manners, Dialect::V7_0))
        };
        let listening = start(LISTENING, Way::Listen);
        let dialling = DIALLING.map(|name| start(name, Way::Connect(controller)));
        Self {
            _dialling: dialling.into(),
            listening,
            shared,
        }
    }

    /// The port of the agent that listens.
    pub(crate) fn port(&self) -> u16 {
        self.listening.address().port()
    }

    /// Announces what agents hear, until the answer to the next call.
    pub(crate) fn announce(&self, moments: Option<Sender<String>>) {
        self.shared.told().moments = moments;
    }

    /// A new life of the controller begins. What agents hear from now on belongs to it.
    pub(crate) fn begin_life(&self) -> u64 {
        let mut told = self.shared.told();
        told.life += 1;
        told.life
    }

    /// Waits until the agents run this and nothing else.
    pub(crate) fn wait_until(&self, wanted: &BTreeMap<String, Running>) {
        let mut limit = Limit::new("");
        let mut told = self.shared.told();
        loop {
            if told.running == *wanted {
                return;
            }
            limit.say(format_args!("{:#?} to be {wanted:#?}", told.running));
            let outcome = self.shared.changed.wait_timeout(told, limit.left());
            told = outcome.expect("no thread panics with it").0;
        }
    }
}
