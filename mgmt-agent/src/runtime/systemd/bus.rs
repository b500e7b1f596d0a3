//! systemd's manager, over the system's D-Bus (org.freedesktop.systemd1(5)).

use std::{collections::HashMap, num::NonZeroUsize, path::Path, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{sync::Semaphore, time::sleep};
use zbus::{
    Connection, DynamicType, Error, Message, MessageStream, OwnedObjectPath, OwnedVariant, Variant,
    connection::Builder, fdo, wire::DynamicDeserialize,
};

use super::{name, unit::Snapshot};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: (&str, &str) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
const DBUS: (&str, &str, &str) = (
    "org.freedesktop.DBus",
    "/org/freedesktop/DBus",
    "org.freedesktop.DBus",
);
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// For an answer. D-Bus's own limit.
const ANSWER_MAX: Duration = Duration::from_secs(25);

/// How often a call is repeated when systemd does not answer though the bus is there, as while it executes itself anew.
const TRIES: u32 = 10;

/// Between two of these.
const AGAIN: Duration = Duration::from_millis(500);

/// How many answers are waited for at a time. The bus allows 128 for a connection (`max_replies_per_connection` of dbus-daemon).
const CALLS_MAX: usize = 32;

/// Signals that wait here; more wait in the bus. All units of the host send some.
const SIGNALS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// What is listened to: changes of units, of which no rule can name ours alone; ends of jobs; and a systemd that has executed itself anew.
const RULES: [&str; 3] = [
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',\
     path_namespace='/org/freedesktop/systemd1/unit'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved',\
     path='/org/freedesktop/systemd1'",
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',\
     arg0='org.freedesktop.systemd1'",
];

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum BusError {
    /// systemd does not answer.
    #[error("systemd cannot be reached over D-Bus: {0}")]
    Gone(String),
    /// The answer is no.
    #[error("systemd refuses: {0}")]
    Refused(String),
}

/// A service, as far as nodes are concerned.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) now: Snapshot,
    /// `loaded`, `not-found`, `masked`, `bad-setting`.
    pub(super) load_state: String,
    /// The file that it comes from.
    pub(super) fragment: String,
    /// Its command; empty if it has none or several.
    pub(super) command: Vec<String>,
    /// The user that it runs as; empty: root.
    pub(super) user: String,
}

/// What systemd tells by itself.
#[derive(Debug)]
pub(super) enum Signal {
    /// Properties of a node's unit, which come in two parts: first the service's, then the unit's.
    Changed {
        node: String,
        is_unit: bool,
        properties: Properties,
    },
    JobEnded {
        node: String,
        result: String,
    },
    /// Another systemd has the name, or the same one anew.
    Renewed,
}

#[derive(Clone, Debug)]
pub(super) struct Bus {
    connection: Connection,
    /// One for each call that may begin.
    turns: Arc<Semaphore>,
}

/// Of a unit, by name.
#[derive(Debug, Default)]
pub(super) struct Properties(HashMap<String, OwnedVariant>);

impl Properties {
    fn get<T: TryFrom<OwnedVariant>>(&self, name: &str) -> Option<T> {
        T::try_from(self.0.get(name)?.clone()).ok()
    }

    fn update<T: TryFrom<OwnedVariant>>(&self, name: &str, field: &mut T) {
        if let Some(value) = self.get(name) {
            *field = value;
        }
    }

    /// Puts what is told into a snapshot.
    pub(super) fn apply(&self, to: &mut Snapshot) {
        self.update("ActiveState", &mut to.state);
        self.update("StateChangeTimestampMonotonic", &mut to.changed);
        self.update("InvocationID", &mut to.invocation);
        self.update("MainPID", &mut to.pid);
        self.update("ExecMainPID", &mut to.last_pid);
        self.update("ExecMainStartTimestampMonotonic", &mut to.started);
        self.update("ExecMainCode", &mut to.code);
        self.update("ExecMainStatus", &mut to.status);
        self.update("Result", &mut to.result);
        if let Some((job, _)) = self.get::<(u32, OwnedObjectPath)>("Job") {
            to.job = job;
        }
    }

    fn service(&self) -> Service {
        /// Path, arguments, whether failure is ignored, times of start and end, process, how it ended.
        type Exec = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);
        let mut now = Snapshot::default();
        self.apply(&mut now);
        let commands: Vec<Exec> = self.get("ExecStart").unwrap_or_default();
        let command = match commands.as_slice() {
            [(_, arguments, ..)] => arguments.clone(),
            _ => Vec::new(),
        };
        Service {
            now,
            load_state: self.get("LoadState").unwrap_or_default(),
            fragment: self.get("FragmentPath").unwrap_or_default(),
            command,
            user: self.get("User").unwrap_or_default(),
        }
    }
}

impl Service {
    /// Why a unit is none that this agent may start, for a node in this directory.
    pub(super) fn foreign(&self, directory: &Path) -> Option<String> {
        let template = name::TEMPLATE;
        match self.load_state.as_str() {
            "loaded" => {}
            "not-found" => return Some(format!("{template} is not installed")),
            state => return Some(format!("its unit is {state}: systemctl status tells more")),
        }
        if Path::new(&self.fragment)
            .file_name()
            .is_none_or(|name| name != template)
        {
            return Some(format!(
                "its unit is another one: {}, not {template}",
                self.fragment
            ));
        }
        let ours = self
            .command
            .ends_with(&["launch".to_owned(), directory.display().to_string()]);
        (!ours).then(|| {
            let command = self.command.join(" ");
            let directory = directory.display();
            format!("its unit starts `{command}`, not `mgmt-agent launch {directory}`: ExecStart= of {template} must name this agent's state directory")
        })
    }
}

impl Bus {
    /// Also what systemd and the bus say, which has to be read at all times: answers wait behind it.
    pub(super) async fn connect() -> Result<(Self, MessageStream), BusError> {
        let connection = Builder::system()
            .method_timeout(ANSWER_MAX)
            .max_queued(SIGNALS_MAX)
            .build()
            .await
            .map_err(error)?;
        let turns = Arc::new(Semaphore::new(CALLS_MAX));
        let bus = Self {
            connection: connection.clone(),
            turns,
        };
        for rule in RULES {
            let (name, path, interface) = DBUS;
            let added = bus
                .connection
                .call_method(Some(name), path, Some(interface), "AddMatch", &rule);
            added.await.map_err(error)?;
        }
        bus.subscribe().await?;
        Ok((bus, MessageStream::from(connection)))
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// systemd sends signals only to clients that have subscribed.
    pub(super) async fn subscribe(&self) -> Result<(), BusError> {
        match self.manager("Subscribe", &()).await {
            // It remembers who has.
            Err(BusError::Refused(_)) | Ok(_) => Ok(()),
            Err(gone) => Err(gone),
        }
    }

    /// Repeats a call until systemd answers, or it is clear that it will not.
    async fn call<B>(&self, path: &str, interface: &str, method: &str, body: &B) -> Result<Message, BusError>
    where
        B: Serialize + DynamicType + Sync,
    {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let mut tries = 0;
        loop {
            let answer = self
                .connection
                .call_method(Some(SYSTEMD), path, Some(interface), method, body);
            let answer = answer.await.map_err(error);
            tries += 1;
            if !matches!(answer, Err(BusError::Gone(_))) || self.is_closed() || tries == TRIES {
                return answer;
            }
            sleep(AGAIN).await;
        }
    }

    async fn manager<B>(&self, method: &str, body: &B) -> Result<Message, BusError>
    where
        B: Serialize + DynamicType + Sync,
    {
        let (path, interface) = MANAGER;
        self.call(path, interface, method, body).await
    }

    /// What systemd knows of a node's unit; it is loaded for that.
    pub(super) async fn service(&self, node: &str) -> Result<Service, BusError> {
        let path = name::path(node);
        // Of all interfaces.
        let answer = self.call(&path, PROPERTIES, "GetAll", &"").await?;
        let properties = decoded(&answer)?;
        Ok(Properties(properties).service())
    }

    /// The nodes whose units are loaded.
    pub(super) async fn nodes(&self) -> Result<Vec<String>, BusError> {
        /// Name, description, states (load, active, sub), what it follows, path, job with type and path.
        type Listed = (
            String,
            String,
            String,
            String,
            String,
            String,
            OwnedObjectPath,
            u32,
            String,
            OwnedObjectPath,
        );
        let body = (Vec::<&str>::new(), vec![name::unit("*")]);
        let answer = self.manager("ListUnitsByPatterns", &body).await?;
        let listed: Vec<Listed> = decoded(&answer)?;
        let nodes = listed.iter().filter_map(|unit| name::node_of_unit(&unit.0));
        Ok(nodes.map(str::to_owned).collect())
    }

    /// Starts a node's unit, unless there is a job that goes against it.
    pub(super) async fn start(&self, node: &str) -> Result<(), BusError> {
        self.manager("StartUnit", &(name::unit(node), "fail"))
            .await
            .map(drop)
    }

    /// Sends a signal to the main process, `main`, or to all processes, `all`.
    pub(super) async fn kill(&self, node: &str, whom: &str, signal: i32) -> Result<(), BusError> {
        let body = (name::unit(node), whom, signal);
        self.manager("KillUnit", &body).await.map(drop)
    }

    /// Takes a failed unit out of the list of failed ones.
    pub(super) async fn reset_failed(&self, node: &str) -> Result<(), BusError> {
        self.manager("ResetFailedUnit", &name::unit(node)).await.map(drop)
    }

    /// Sets how much memory a unit may have, in bytes, until the host is started again. Without a number it sets nothing, and tells only whether it could.
    pub(super) async fn set_memory(&self, node: &str, bytes: Option<u64>) -> Result<(), BusError> {
        let properties: Vec<(&str, Variant<'_>)> = bytes
            .map(|bytes| ("MemoryMax", bytes.into()))
            .into_iter()
            .collect();
        let body = (name::unit(node), true, properties);
        self.manager("SetUnitProperties", &body).await.map(drop)
    }

    /// Whether the host is being shut down, for which all units are stopped.
    pub(super) async fn is_stopping(&self) -> Result<bool, BusError> {
        let body = (MANAGER.1, "SystemState");
        let answer = self.call(MANAGER.0, PROPERTIES, "Get", &body).await?;
        let state: OwnedVariant = decoded(&answer)?;
        Ok(String::try_from(state).is_ok_and(|state| state == "stopping"))
    }
}

/// What a message of the bus says, if it is about nodes.
pub(super) fn signal(message: &Message) -> Option<Signal> {
    let header = message.header();
    match header.member()?.as_str() {
        "PropertiesChanged" => {
            let node = name::node_of_path(header.path()?.as_str())?;
            let (interface, properties, _): (String, HashMap<String, OwnedVariant>, Vec<String>) =
                decoded(message).ok()?;
            let is_unit = match interface.as_str() {
                UNIT => true,
                SERVICE => false,
                _ => return None,
            };
            let properties = Properties(properties);
            Some(Signal::Changed {
                node,
                is_unit,
                properties,
            })
        }
        "JobRemoved" => {
            let (_, _, unit, result): (u32, OwnedObjectPath, String, String) = decoded(message).ok()?;
            let node = name::node_of_unit(&unit)?.to_owned();
            Some(Signal::JobEnded { node, result })
        }
        "NameOwnerChanged" => {
            let (name, _, owner): (String, String, String) = decoded(message).ok()?;
            (name == SYSTEMD && !owner.is_empty()).then_some(Signal::Renewed)
        }
        _ => None,
    }
}

fn decoded<T: for<'d> DynamicDeserialize<'d>>(message: &Message) -> Result<T, BusError> {
    let decoded = message.body().deserialize();
    decoded.map_err(|error| BusError::Refused(format!("an answer cannot be read: {error}")))
}

/// Whether systemd has answered.
fn error(error: Error) -> BusError {
    match error {
        Error::MethodError(_, Some(text), _) => BusError::Refused(text),
        Error::FDO(error) => match *error {
            fdo::Error::NoReply(why)
            | fdo::Error::Disconnected(why)
            | fdo::Error::ServiceUnknown(why)
            | fdo::Error::NameHasNoOwner(why)
            | fdo::Error::Timeout(why) => BusError::Gone(why),
            fdo::Error::AccessDenied(why) | fdo::Error::InteractiveAuthorizationRequired(why) => {
                BusError::Refused(format!(
                    "{why}; the agent's user needs the polkit rule for zeek-node@ units"
                ))
            }
            error => BusError::Refused(error.to_string()),
        },
        Error::InputOutput(_) | Error::Connection(..) | Error::Handshake(_) | Error::Address(_) => {
            BusError::Gone(error.to_string())
        }
        error => BusError::Refused(error.to_string()),
    }
}
