//! A cluster node: what an agent sees of it (`policy/frameworks/management/node`).
//!
//! It connects to its agent, says hello, and answers `get_id_value` for a few identifiers. It listens nowhere and talks to
//! no other node. Its Supervisor tells it on standard input what to be; when that is killed, so is the node, unless it is told to live on.

mod values;

use std::{
    env,
    ffi::CString,
    io::{self, Read, Write},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use broker_codec::{
    Topic, TopicTooLong, binary,
    data::{DataError, EncodeError, ZeekString, from_data, to_data},
    zeek::Event,
};
use broker_endpoint::{
    Endpoint, EndpointConfig, EndpointError, EndpointEvent, EndpointHandle, PeerAddress, PublishError,
};
use bytes::BytesMut;
use mgmt_api::{NodeConfig, NodeMessage, NodeRequest, ResultRecord, topics};
use rustix::{
    process::{Resource, Rlimit, Signal, getpid, kill_process, set_parent_process_death_signal, setrlimit},
    thread::{CpuSet, sched_setaffinity, set_name},
};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    BehaviourError, Exit, NodeBehaviour, Program, Release,
    command_line::{CommandLine, CommandLineError, LINGER_OPTION},
    complain, path, print,
};
use values::Values;

/// Where Linux shows the network interfaces, if sysfs is mounted.
const INTERFACES: &str = "/sys/class/net";

/// Between attempts to connect to the agent, as in Zeek.
const RETRY: Duration = Duration::from_secs(1);

/// What a Supervisor tells a node that it starts. Zeek forks instead.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) config: NodeConfig,
    /// Whether to say that it is a simulation.
    pub(crate) announced: bool,
    pub(crate) zeek_version: String,
}

impl Instructions {
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, InstructionsError> {
        let mut bytes = BytesMut::new();
        binary::encode(&to_data(self)?, &mut bytes)?;
        Ok(bytes.into())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, InstructionsError> {
        Ok(from_data(&binary::decode(bytes)?)?)
    }
}

/// Instructions cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstructionsError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Decode(#[from] binary::DecodeError),
}

/// A node cannot start or go on.
#[derive(Debug, thiserror::Error)]
enum NodeError {
    #[error("standard input: {0}")]
    Read(io::Error),
    #[error("the Supervisor's instructions: {0}")]
    Instructions(#[from] InstructionsError),
    #[error(transparent)]
    Behaviour(#[from] BehaviourError),
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    #[error("no Zeek {0} is known")]
    UnknownRelease(String),
    #[error("node '{node}' failed to set working directory to {directory}: {source}")]
    Directory {
        node: ZeekString,
        directory: ZeekString,
        source: io::Error,
    },
    #[error(
        "fatal error in <params>, line 1: problem with interface {0} (pcap_error: No such device exists (pcap_activate))"
    )]
    Interface(ZeekString),
    #[error("cannot look for interface {0}: /sys/class/net is not there; mount sysfs at /sys")]
    NoSysfs(ZeekString),
    #[error("{0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error("Broker endpoint has ended")]
    EndpointEnded,
    #[error(transparent)]
    Topic(#[from] TopicTooLong),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Is a node, until SIGTERM or what its behaviour says.
pub(crate) fn run(program: &Program, command_line: &CommandLine) -> ExitCode {
    match start(program, command_line) {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn start(program: &Program, command_line: &CommandLine) -> Result<ExitCode, NodeError> {
    let behaviour = NodeBehaviour::of_environment()?;
    if !behaviour.outlives_supervisor {
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).map_err(NodeError::Read)?;
    let instructions = Instructions::from_bytes(&bytes)?;
    let release = Release::of_version(&instructions.zeek_version)
        .ok_or_else(|| NodeError::UnknownRelease(instructions.zeek_version.clone()))?;
    let config = instructions.config;
    apply(&config)?;

    // From here on the handler that it installs keeps SIGTERM from ending the process.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let within = runtime.enter();
    if behaviour.ignores_sigterm {
        let _handler = signal(SignalKind::terminate())?;
    }
    drop(within);

    if instructions.announced {
        print("SIMULATION: this is a stand-in for a Zeek node; it analyses no traffic and writes no logs");
    }
    behaviour.stdout.iter().for_each(|text| print(text));
    behaviour.stderr.iter().for_each(|text| complain(text));
    if let Some(interface) = &config.interface
        && behaviour.checks_interface
        && !Path::new(INTERFACES).join(path(interface)).exists()
    {
        return Err(if Path::new(INTERFACES).exists() {
            NodeError::Interface(interface.clone())
        } else {
            NodeError::NoSysfs(interface.clone())
        });
    }
    if let Some(seconds) = behaviour.forks {
        let _lives_on = Command::new("/proc/self/exe")
            .args(&program.arguments)
            .args([LINGER_OPTION, &seconds.to_string()])
            .stdin(Stdio::null())
            .spawn()?;
    }
    if let Some(exit) = behaviour.exit.as_ref().filter(|exit| !exit.after_hello) {
        return end(exit);
    }
    if let Some(interface) = &config.interface {
        complain(&format!("<params>, line 1: listening on {interface}"));
    }
    if behaviour.hangs {
        loop {
            std::thread::park();
        }
    }
    runtime.block_on(async {
        Node::start(config, behaviour, release, command_line)?
            .serve()
            .await
    })
}

/// What a supervised node does first (`SupervisedNode::Init`).
fn apply(config: &NodeConfig) -> Result<(), NodeError> {
    let name = &config.name;
    if let Some(directory) = &config.directory {
        env::set_current_dir(path(directory)).map_err(|source| NodeError::Directory {
            node: name.clone(),
            directory: directory.clone(),
            source,
        })?;
    }
    if let Some(cpu) = config.cpu_affinity {
        let mut cpus = CpuSet::new();
        let outcome = match usize::try_from(cpu) {
            Ok(cpu) if cpu < CpuSet::MAX_CPU => {
                cpus.set(cpu);
                sched_setaffinity(None, &cpus).map_err(io::Error::from)
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        if let Err(error) = outcome {
            complain(&format!("node '{name}' failed to set CPU affinity: {error}"));
        }
    }
    if let Ok(title) = CString::new([b"zeek.", name.as_bytes()].concat()) {
        // Only process listings need it.
        let _ = set_name(&title);
    }
    Ok(())
}

fn end(exit: &Exit) -> Result<ExitCode, NodeError> {
    if exit.aborts {
        // It is not worth a core file.
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Core, none).map_err(io::Error::from)?;
        kill_process(getpid(), Signal::ABORT).map_err(io::Error::from)?;
    }
    Ok(ExitCode::from(exit.status))
}

struct Node {
    behaviour: NodeBehaviour,
    release: Release,
    values: Values,
    agent: PeerAddress,
    topic: Topic,
    endpoint: Endpoint,
    handle: EndpointHandle,
}

impl Node {
    fn start(
        config: NodeConfig,
        behaviour: NodeBehaviour,
        release: Release,
        command_line: &CommandLine,
    ) -> Result<Self, NodeError> {
        let topic = Topic::new(command_line.text_or("Management::Node::node_topic", topics::NODE))?;
        let agent = command_line.agent()?;
        let mut endpoint = EndpointConfig::default();
        endpoint.tls = command_line.tls()?;
        // Every Zeek process hears requests to Supervisors, and all but Supervisors ignore them.
        endpoint.subscriptions = vec![
            topic.clone(),
            Topic::new(topics::SUPERVISOR)?,
            Topic::from_static("zeek/table/"),
        ];
        let endpoint = Endpoint::start(endpoint)?;
        let handle = endpoint.handle();
        let values = Values::new(config, release);
        values.publish_id(&endpoint.id().to_string());
        // The agent of Zeek's Supervisor is one of its nodes. Its stand-in has no peer to talk to.
        if !values.is_agent() {
            handle.peer(agent.clone(), Some(RETRY));
        }
        Ok(Self {
            behaviour,
            release,
            values,
            agent,
            topic,
            endpoint,
            handle,
        })
    }

    async fn serve(mut self) -> Result<ExitCode, NodeError> {
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            let event = tokio::select! {
                _ = terminate.recv(), if !self.behaviour.ignores_sigterm => {
                    complain("<params>, line 1: received termination signal");
                    self.endpoint.shutdown().await;
                    return Ok(ExitCode::SUCCESS);
                }
                event = self.endpoint.recv() => event.ok_or(NodeError::EndpointEnded)?,
            };
            match event {
                EndpointEvent::PeerAdded(peer) if peer.dialled.as_ref() == Some(&self.agent) => {
                    self.hello().await?;
                    if let Some(exit) = self.behaviour.exit.clone() {
                        self.endpoint.shutdown().await;
                        return end(&exit);
                    }
                    self.misbehave();
                }
                EndpointEvent::Message(message) if message.topic == self.topic => {
                    let request = Event::from_data(message.data);
                    if let Ok(request) = request.and_then(|event| event.parse())
                        && !self.behaviour.mute
                    {
                        self.dispatch(request).await?;
                    }
                }
                _ => {}
            }
        }
    }

    async fn hello(&self) -> Result<(), NodeError> {
        let node = self.values.name().clone();
        self.publish(&NodeMessage::Hello { node }).await
    }

    async fn publish(&self, message: &NodeMessage) -> Result<(), NodeError> {
        let data = self.release.dress(Event::of(message)?).into_data();
        Ok(self.handle.publish(self.topic.clone(), &data).await?)
    }

    async fn dispatch(&self, request: NodeRequest) -> Result<(), NodeError> {
        let NodeRequest::NodeDispatch { reqid, action, nodes } = request;
        let name = self.values.name();
        if !nodes.is_empty() && !nodes.contains(name) {
            return Ok(());
        }
        let outcome = match action.as_slice() {
            [] => Err("no dispatch arguments provided".to_owned()),
            [verb, arguments @ ..] if *verb == "get_id_value" => match arguments {
                [] => Err("get_id_value expects name of global identifier".to_owned()),
                [id, ..] => self.values.get(id).map_err(str::to_owned),
            },
            [verb, ..] => Err(format!("dispatch {verb} unknown")),
        };
        let result = match outcome {
            Ok(value) => ResultRecord {
                data: Some(broker_codec::Data::String(value.into())),
                ..ResultRecord::success(reqid.clone())
            },
            Err(error) => ResultRecord::failure(reqid.clone(), error),
        };
        let result = ResultRecord {
            node: Some(name.clone()),
            ..result
        };
        self.publish(&NodeMessage::NodeDispatch { reqid, result }).await
    }

    fn misbehave(&self) {
        if self.behaviour.floods_output {
            std::thread::spawn(|| {
                let mut output = io::stdout().lock();
                for number in 0_u64.. {
                    if writeln!(
                        output,
                        "line {number} of a flood of lines, each of them as useless as the others"
                    )
                    .is_err()
                    {
                        return;
                    }
                }
            });
        }
        if self.behaviour.floods_agent {
            let hello = NodeMessage::Hello {
                node: self.values.name().clone(),
            };
            let (handle, topic, release) = (self.handle.clone(), self.topic.clone(), self.release);
            tokio::spawn(async move {
                let Ok(event) = Event::of(&hello) else {
                    return;
                };
                let data = release.dress(event).into_data();
                while handle.publish(topic.clone(), &data).await.is_ok() {
                    // Published is not sent: without a pause nothing would ever be.
                    tokio::task::yield_now().await;
                }
            });
        }
    }
}
