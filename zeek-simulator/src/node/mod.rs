//! A cluster node: what an agent sees of it (`policy/frameworks/management/node`).
//!
//! It connects to its agent, says hello, and answers `get_id_value` for a few identifiers. It listens nowhere and talks to
//! no other node. Its Supervisor tells it on standard input what to be; when that is killed, so is the node, unless it is told to live on.

pub(crate) mod values;

use std::{
    env,
    ffi::{CString, OsString},
    io::{self, Read, Write},
    iter,
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use broker_codec::{
    Topic, binary,
    data::{ZeekString, from_data, to_data},
    zeek::Event,
};
use broker_endpoint::{Endpoint, EndpointConfig, EndpointEvent, EndpointHandle, PeerAddress};
use bytes::BytesMut;
use mgmt_api::{NodeConfig, NodeMessage, NodeRequest, ResultRecord, topics};
use rustix::{
    process::{Resource, Rlimit, Signal, getpid, kill_process, set_parent_process_death_signal, setrlimit},
    thread::{CpuSet, sched_setaffinity, set_name},
};
use serde::{Deserialize, Serialize};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};

use crate::{
    Exit, Failure, NODE_VARIABLE, NodeBehaviour, Release,
    behaviour::of_environment,
    command_line::{CommandLine, LINGER_OPTION},
    complain, path, print,
};
use values::Values;

/// Where Linux shows the network interfaces, if sysfs is mounted.
const INTERFACES: &str = "/sys/class/net";

/// Between attempts to connect to the agent, as in Zeek.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// What a Supervisor tells a node that it starts. Zeek forks instead.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instructions {
    pub(crate) config: NodeConfig,
    /// Whether to say that it is a simulation.
    pub(crate) simulation: bool,
    pub(crate) zeek_version: String,
}

impl Instructions {
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        let mut bytes = BytesMut::new();
        let data = to_data(self).map_err(Failure::instructions)?;
        binary::encode(&data, &mut bytes).map_err(Failure::instructions)?;
        Ok(bytes.into())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Failure> {
        let data = binary::decode(bytes).map_err(Failure::instructions)?;
        from_data(data).map_err(Failure::instructions)
    }
}

/// Is a node, until SIGTERM or what its behaviour says.
pub(crate) fn run(program: &[OsString], command_line: &CommandLine) -> Result<ExitCode, Failure> {
    let behaviour: NodeBehaviour = of_environment(NODE_VARIABLE)?;
    if !behaviour.outlives_supervisor {
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    let mut bytes = Vec::new();
    io::stdin()
        .read_to_end(&mut bytes)
        .map_err(Failure::system("standard input"))?;
    let instructions = Instructions::from_bytes(&bytes)?;
    let release = Release::of_version(&instructions.zeek_version)?;
    let config = instructions.config;
    apply(&config)?;

    let runtime = runtime(&behaviour, instructions.simulation)?;
    if let Some(code) = begin(program, &behaviour, config.interface.as_ref())? {
        return Ok(code);
    }
    runtime.block_on(async {
        Node::start(config, behaviour, release, command_line)?
            .serve()
            .await
    })
}

/// What a node runs on. From here on the handler for SIGTERM, if it is to ignore that, keeps the signal from ending the process.
pub(crate) fn runtime(behaviour: &NodeBehaviour, says_simulation: bool) -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let within = runtime.enter();
    if behaviour.ignores_sigterm {
        let _handler = signal(SignalKind::terminate())?;
    }
    drop(within);
    if says_simulation {
        print("SIMULATION: this is a stand-in for a Zeek node; it analyses no traffic and writes no logs");
    }
    Ok(runtime)
}

/// What its behaviour has a node do before it connects to its agent. Returns how it ends, if it does.
pub(crate) fn begin(
    program: &[OsString],
    behaviour: &NodeBehaviour,
    interface: Option<&ZeekString>,
) -> Result<Option<ExitCode>, Failure> {
    behaviour.stdout.iter().for_each(|text| print(text));
    behaviour.stderr.iter().for_each(|text| complain(text));
    if let Some(size) = behaviour.prints {
        print_much(size)?;
    }
    if let Some(interface) = interface
        && behaviour.checks_interface
        && !Path::new(INTERFACES).join(path(interface)).exists()
    {
        return Err(if Path::new(INTERFACES).exists() {
            Failure::Interface(interface.clone())
        } else {
            Failure::NoSysfs(interface.clone())
        });
    }
    if let Some(seconds) = behaviour.forks {
        let _lives_on = Command::new("/proc/self/exe")
            .args(program)
            .args([LINGER_OPTION, &seconds.to_string()])
            .stdin(Stdio::null())
            .spawn()?;
    }
    if let Some(exit) = &behaviour.exit {
        return end(exit).map(Some);
    }
    if let Some(interface) = interface {
        complain(&format!("<params>, line 1: listening on {interface}"));
    }
    if behaviour.hangs {
        loop {
            std::thread::park();
        }
    }
    Ok(None)
}

/// Writes so many MiB, and then a hundred lines that can be told apart.
fn print_much(size: u32) -> Result<(), Failure> {
    let block = format!("{}\n", "x".repeat(63)).repeat(16 << 10);
    let last: Vec<String> = (1..=100).map(|number| format!("last line {number}\n")).collect();
    let last = last.concat();
    let mut output = io::stdout().lock();
    for text in iter::repeat_n(&block, size as usize).chain([&last]) {
        output
            .write_all(text.as_bytes())
            .map_err(Failure::system("standard output"))?;
    }
    Ok(())
}

/// What a supervised node does first (`SupervisedNode::Init`).
fn apply(config: &NodeConfig) -> Result<(), Failure> {
    let name = &config.name;
    if let Some(directory) = &config.directory {
        env::set_current_dir(path(directory)).map_err(|source| Failure::Directory {
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

fn end(exit: &Exit) -> Result<ExitCode, Failure> {
    if exit.aborts {
        // It is not worth a core file.
        let none = Rlimit {
            current: Some(0),
            maximum: Some(0),
        };
        setrlimit(Resource::Core, none)?;
        kill_process(getpid(), Signal::ABORT)?;
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
    ) -> Result<Self, Failure> {
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

    async fn serve(mut self) -> Result<ExitCode, Failure> {
        let mut terminate = signal(SignalKind::terminate())?;
        loop {
            let event = tokio::select! {
                _ = terminate.recv(), if !self.behaviour.ignores_sigterm => {
                    complain("<params>, line 1: received termination signal");
                    self.endpoint.shutdown().await;
                    return Ok(ExitCode::SUCCESS);
                }
                event = self.endpoint.recv() => event.ok_or(Failure::EndpointEnded)?,
            };
            match event {
                EndpointEvent::PeerAdded(peer) if peer.dialled.as_ref() == Some(&self.agent) => {
                    self.hello().await?;
                    self.misbehave();
                }
                EndpointEvent::Message(message) if message.topic == self.topic => {
                    let request = Event::from_data(message.data);
                    if let Ok(request) = request.and_then(Event::parse) {
                        self.dispatch(request).await?;
                    }
                }
                _ => {}
            }
        }
    }

    async fn hello(&self) -> Result<(), Failure> {
        let node = self.values.name().clone();
        self.publish(&NodeMessage::Hello { node }).await
    }

    async fn publish(&self, message: &NodeMessage) -> Result<(), Failure> {
        let data = self.release.dress(Event::of(message)?).into_data();
        Ok(self.handle.publish(self.topic.clone(), &data).await?)
    }

    async fn dispatch(&self, request: NodeRequest) -> Result<(), Failure> {
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
            flood_output();
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

/// Writes to standard output for ever.
pub(crate) fn flood_output() {
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
