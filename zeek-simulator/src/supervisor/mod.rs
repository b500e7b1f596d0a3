//! A Supervisor: `zeek -j` as an agent sees it.
//!
//! As in Zeek (`src/supervisor/Supervisor.cc`) there are two halves. This one keeps the table of nodes, answers requests at
//! once, and orders the `stem` to do what they ask for; so an answer says that a request is taken on, not that it is
//! done. The stem owns the processes and works through its orders one after the other; it tells which process a node is
//! now. What the Management framework loads into a Supervisor (`policy/frameworks/management/supervisor`) is here, too: the
//! output of nodes, in files and as news to the agent.
//!
//! Different from Zeek: the stem is no process of its own; nodes are started by `exec`; a node's output is not lost when it
//! comes in bursts, the node waits instead; while one node is being ended, the death of another does not bring the next
//! SIGTERM forward (there SIGCHLD ends the `sleep` in `Stem::Destroy`); and nodes end at once, not after a second, when their
//! Supervisor is killed, unless they are told to live on.

mod outputs;
mod policy;
mod stem;
mod table;

use std::{
    ffi::OsString,
    process::{self, ExitCode},
};

use broker_codec::{
    Data, Topic,
    data::{DataError, ZeekString},
    zeek::Event,
};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, EndpointHandle};
use mgmt_api::{SupervisorMessage, SupervisorRequest, SupervisorResponse, topics};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    Failure, Release, SUPERVISOR_VARIABLE, SupervisorBehaviour,
    behaviour::of_environment,
    command_line::{CommandLine, NODE_END, variable},
    complain, print,
};
use outputs::Outputs;
use stem::{Notice, Order, Stem};
use table::Table;

/// How many lines of output and notices of the stem may wait. When it is full, nodes wait to write.
const NOTICES_MAX: usize = 1024;

/// Is a Supervisor until SIGTERM, SIGINT or a `SupervisorControl::stop_request`.
pub(crate) fn run(program: Vec<OsString>, command_line: &CommandLine) -> Result<ExitCode, Failure> {
    serve(program, command_line).map_err(Failure::fatal)?;
    Ok(ExitCode::SUCCESS)
}

fn serve(program: Vec<OsString>, command_line: &CommandLine) -> Result<(), Failure> {
    let behaviour: SupervisorBehaviour = of_environment(SUPERVISOR_VARIABLE)?;
    let release = Release::of_version(&behaviour.zeek_version)?;
    // One thread: processes are told to end with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(Failure::system("cannot start the runtime"))?
        .block_on(async {
            let mut supervisor = Supervisor::start(program, command_line, behaviour, release).await?;
            let outcome = supervisor.serve().await;
            supervisor.stop().await;
            outcome
        })
}

struct Supervisor {
    behaviour: SupervisorBehaviour,
    release: Release,
    endpoint: Endpoint,
    handle: EndpointHandle,
    topic: String,
    shim_topic: String,
    tells_ends: bool,
    /// Whether it is one that answers.
    answers: bool,
    requests: u64,
    table: Table,
    outputs: Outputs,
    orders: mpsc::UnboundedSender<Order>,
    notices: mpsc::Receiver<Notice>,
}

/// What a Supervisor has to do next.
enum Next {
    Event(EndpointEvent),
    Notice(Notice),
    Stop,
}

impl Supervisor {
    async fn start(
        program: Vec<OsString>,
        command_line: &CommandLine,
        behaviour: SupervisorBehaviour,
        release: Release,
    ) -> Result<Self, Failure> {
        let agent = command_line.loads("policy/frameworks/management/agent");
        let topic = command_line.text_or("SupervisorControl::topic_prefix", topics::SUPERVISOR);
        let mut config = EndpointConfig::default();
        config.tls = command_line.tls()?;
        config.subscriptions = vec![Topic::new(&topic)?, Topic::from_static("zeek/table/")];
        let endpoint = Endpoint::start(config)?;
        let handle = endpoint.handle();
        let listens = agent || command_line.flag("SupervisorControl::enable_listen")?;
        let addresses = if listens {
            let default = if agent {
                "127.0.0.1".into()
            } else {
                variable("ZEEK_DEFAULT_LISTEN_ADDRESS").unwrap_or_default()
            };
            let host = command_line.text_or("Broker::default_listen_address", &default);
            handle
                .listen(&host, command_line.port("Broker::default_port", 9999)?)
                .await?
        } else {
            Vec::new()
        };
        // Zeek 8.1 and later answer through the cluster's backend, by default through none.
        let broker = agent || command_line.loads("policy/frameworks/cluster/backend/broker");
        let answers = !behaviour.deaf && (broker || !release.answers_through_cluster());

        let (orders, to_do) = mpsc::unbounded_channel();
        let (notify, notices) = mpsc::channel(NOTICES_MAX);
        if command_line.simulation {
            complain(
                "SIMULATION: this is a stand-in for Zeek's Supervisor; its nodes analyse no traffic and write no logs",
            );
        }
        let stem = Stem::new(program, command_line, &behaviour.zeek_version, notify);
        tokio::spawn(stem.run(to_do));
        let mut supervisor = Self {
            release,
            handle,
            endpoint,
            topic,
            shim_topic: command_line.text_or("Management::Supervisor::topic_prefix", topics::SUPERVISOR_SHIM),
            tells_ends: command_line.tells_ends,
            answers,
            requests: 0,
            table: Table::default(),
            outputs: Outputs::new(command_line),
            orders,
            notices,
            behaviour,
        };
        if agent {
            let node = table::agent(command_line);
            let answer = supervisor.create(node);
            if !answer.is_empty() {
                complain(&format!(
                    "error: supervisor could not create agent node: {answer}"
                ));
            }
        }
        if supervisor.behaviour.tells_ready {
            print(&serde_json::json!({ "pid": process::id(), "broker": addresses }).to_string());
        }
        Ok(supervisor)
    }

    async fn serve(&mut self) -> Result<(), Failure> {
        let mut terminate =
            signal(SignalKind::terminate()).map_err(Failure::system("cannot watch for signals"))?;
        let mut interrupt =
            signal(SignalKind::interrupt()).map_err(Failure::system("cannot watch for signals"))?;
        loop {
            let hangs = self
                .behaviour
                .hang_after
                .is_some_and(|requests| self.requests >= requests);
            let next = tokio::select! {
                biased;
                _ = terminate.recv(), if !self.behaviour.ignores_sigterm => Next::Stop,
                _ = interrupt.recv() => Next::Stop,
                Some(notice) = self.notices.recv(), if !hangs => Next::Notice(notice),
                event = self.endpoint.recv(), if !hangs => {
                    Next::Event(event.ok_or(Failure::EndpointEnded)?)
                }
            };
            match next {
                Next::Stop => return Ok(()),
                Next::Notice(notice) => self.notice(notice).await?,
                Next::Event(EndpointEvent::Message(message)) => {
                    let Ok(event) = Event::from_data(message.data) else {
                        continue;
                    };
                    if event.name == "SupervisorControl::stop_request" && self.answers {
                        return Ok(());
                    }
                    self.request(event).await?;
                }
                Next::Event(_) => {}
            }
        }
    }

    /// Takes on a request, and says so. One that cannot be read is dropped, as by Zeek.
    async fn request(&mut self, event: Event) -> Result<(), Failure> {
        let is_request = event.name.starts_with(b"SupervisorControl::") && event.name.ends_with(b"_request");
        if !is_request || !self.answers {
            return Ok(());
        }
        let name = event.name.clone();
        let request = self
            .release
            .layout
            .read(event)
            .map_err(|error| error.to_string())
            .and_then(|event| event.parse().map_err(|error: DataError| error.to_string()));
        let request: SupervisorRequest = match request {
            Ok(request) => request,
            Err(error) => {
                complain(&format!(
                    "warning: failed to convert remote event '{name}': {error}"
                ));
                return Ok(());
            }
        };
        let reqid = request.reqid().clone();
        let response = match request {
            SupervisorRequest::Create { node, .. } => {
                let refusal = node
                    .name
                    .as_str()
                    .and_then(|name| self.behaviour.refuse.get(name));
                let result = match refusal {
                    Some(text) => text.as_str().into(),
                    None => self.create(*node),
                };
                SupervisorResponse::Create { reqid, result }
            }
            SupervisorRequest::Status { node, .. } => SupervisorResponse::Status {
                reqid,
                result: self.table.status(&node),
            },
            SupervisorRequest::Restart { node, .. } => {
                let nodes = self.table.names(&node);
                // Zeek restarts all of none.
                let result = node.is_empty() || !nodes.is_empty();
                self.order(nodes, Order::Restart);
                SupervisorResponse::Restart { reqid, result }
            }
            SupervisorRequest::Destroy { node, .. } => {
                let nodes = self.table.names(&node);
                let result = node.is_empty() || !nodes.is_empty();
                for node in &nodes {
                    self.table.remove(node);
                }
                self.order(nodes, Order::Destroy);
                SupervisorResponse::Destroy { reqid, result }
            }
        };
        let event = match response {
            SupervisorResponse::Status { reqid, result } => self.release.layout.write_status(reqid, result),
            response => Ok(Event::of(&response)?),
        };
        match event {
            Ok(event) => self.respond(event).await?,
            // It was read in this layout, so it can be written in it.
            Err(error) => complain(&format!("error: {error}")),
        }
        self.requests += 1;
        Ok(())
    }

    /// Adds a node and has it started; or says why not.
    fn create(&mut self, node: mgmt_api::NodeConfig) -> ZeekString {
        match self.table.add(node) {
            Ok(node) => {
                self.order(vec![Box::new(node)], Order::Create);
                ZeekString::default()
            }
            Err(text) => text.as_str().into(),
        }
    }

    fn order<T>(&self, nodes: Vec<T>, order: impl Fn(T) -> Order) {
        for node in nodes {
            // The stem ends when it is told to, at the very end.
            let _ = self.orders.send(order(node));
        }
    }

    /// Publishes an answer on the topic that only the sender of the request listens to: with the name of the answer and the request's id.
    async fn respond(&self, event: Event) -> Result<(), Failure> {
        let verb = event.name.as_bytes().strip_prefix(b"SupervisorControl::");
        let reqid = match event.args.first() {
            Some(Data::String(reqid)) => reqid.as_bytes(),
            _ => b"",
        };
        let topic = [self.topic.as_bytes(), verb.unwrap_or_default(), reqid].join(&b'/');
        self.publish(topic, event).await
    }

    async fn publish(&self, topic: impl AsRef<[u8]>, event: Event) -> Result<(), Failure> {
        let data = self.release.dress(event).into_data();
        Ok(self.handle.publish(Topic::new(topic)?, &data).await?)
    }

    async fn notice(&mut self, notice: Notice) -> Result<(), Failure> {
        match notice {
            Notice::Trouble(text) => {
                complain(&format!("error: {text}"));
                if self.tells_ends && text.starts_with("Supervised node '") {
                    let event = Event {
                        name: NODE_END.into(),
                        args: vec![Data::String(text.as_str().into())],
                        metadata: None,
                    };
                    self.publish(&self.shim_topic, event).await?;
                }
            }
            Notice::Line { node, stream, line } => self.outputs.line(&node, stream, line),
            Notice::Started { node, directory, pid } => {
                self.table.started(&node, pid);
                if self.answers {
                    let status = SupervisorResponse::NodeStatus {
                        node: node.clone(),
                        pid: pid.into(),
                    };
                    let topic = format!("{}/node_status", self.topic);
                    self.publish(topic, Event::of(&status)?).await?;
                }
                if let Some(outputs) = self.outputs.begin(&node, directory.as_deref()) {
                    let exit = SupervisorMessage::NodeExit { node, outputs };
                    self.publish(&self.shim_topic, Event::of(&exit)?).await?;
                }
            }
        }
        Ok(())
    }

    /// Leaves, then ends all nodes.
    async fn stop(mut self) {
        self.endpoint.shutdown().await;
        drop(self.orders);
        // Nodes that write while they end must not wait for us. The stem closes the channel when all have ended.
        while let Some(notice) = self.notices.recv().await {
            match notice {
                Notice::Trouble(text) => complain(&format!("error: {text}")),
                Notice::Line { node, stream, line } => self.outputs.line(&node, stream, line),
                Notice::Started { .. } => {}
            }
        }
    }
}
