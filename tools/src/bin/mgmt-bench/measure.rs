//! The measurements.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use mgmt_api::{
    controller::{ClientRequest, ClientResponse},
    enums::ClusterRole,
    records::{Configuration, Instance, Node},
};
use tokio::task::JoinSet;

use crate::{
    Failure,
    client::{Answer, Client},
    failed,
    process::Controller,
    report::Report,
};

/// Requests before the clock matters: connections, caches and allocators settle.
const WARM_UP: u32 = 100;

/// How many `get_instances` requests are measured: one after the other on one connection, and by several clients together.
const REQUESTS: u32 = 5_000;

/// How many nodes an instance has that no agent stands for.
const NODES_PER_INSTANCE: usize = 50;

/// How often each configuration is staged and fetched.
const ROUNDS: u32 = 9;

pub(crate) fn get_instances(id: &str) -> ClientRequest {
    ClientRequest::GetInstances { reqid: id.into() }
}

/// The time from the start of the process to its first answer.
pub(crate) async fn first_answer(controller: &Controller) -> Result<Duration, Failure> {
    let mut client = Client::connect(controller.address).await?;
    client.request(&get_instances("first")).await?;
    Ok(controller.started.elapsed())
}

/// `get_instances`, one request after the other on one connection.
pub(crate) async fn sequential(address: SocketAddr, report: &mut Report) -> Result<(), Failure> {
    let times = one_client(address, "sequential", REQUESTS).await?;
    report.times("get_instances, one client", &times);
    Ok(())
}

async fn one_client(address: SocketAddr, name: &str, requests: u32) -> Result<Vec<Duration>, Failure> {
    let mut client = Client::connect(address).await?;
    let mut times = Vec::new();
    for number in 0..WARM_UP + requests {
        let request = get_instances(&format!("{name}-{number}."));
        times.push(client.request(&request).await?.elapsed);
    }
    drop(times.drain(..usize::try_from(WARM_UP).unwrap_or_default()));
    Ok(times)
}

/// `get_instances` from several clients at once, which share the number of requests.
pub(crate) async fn concurrent(
    address: SocketAddr,
    clients: u32,
    report: &mut Report,
) -> Result<(), Failure> {
    let each = REQUESTS / clients;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        tasks.spawn(async move { one_client(address, &format!("client-{number}"), each).await });
    }
    let mut times = Vec::new();
    while let Some(finished) = tasks.join_next().await {
        times.extend(finished.expect("a measuring task does not panic")?);
    }
    let served = clients * (each + WARM_UP);
    let one_in = started.elapsed() / served;
    let per_second = 1_000_000_000 / one_in.as_nanos().max(1);
    report.times(format!("get_instances, {clients} clients"), &times);
    report.times(format!("one answer of {clients} clients in"), &[one_in]);
    report.note(format!(
        "{clients} clients together: {per_second} get_instances a second"
    ));
    Ok(())
}

/// Stages a configuration of so many nodes and fetches it, several times.
pub(crate) async fn configuration(
    address: SocketAddr,
    nodes: usize,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut client = Client::connect(address).await?;
    let config = example_configuration(format!("bench-{nodes}"), nodes, NODES_PER_INSTANCE);
    let (mut stage, mut fetch) = (Vec::new(), Vec::new());
    let mut bytes = (0, 0);
    for round in 0..ROUNDS {
        let request = ClientRequest::StageConfiguration {
            reqid: format!("stage-{nodes}-{round}.").into(),
            config: config.clone(),
        };
        let staged = succeeded(address, client.request(&request).await?)?;
        let request = ClientRequest::GetConfiguration {
            reqid: format!("fetch-{nodes}-{round}.").into(),
            deployed: false,
        };
        let fetched = succeeded(address, client.request(&request).await?)?;
        stage.push(staged.elapsed);
        fetch.push(fetched.elapsed);
        bytes = (staged.request_bytes, fetched.response_bytes);
    }
    report.times(format!("stage {nodes} nodes"), &stage);
    report.times(format!("fetch {nodes} nodes"), &fetch);
    let (request, response) = bytes;
    report.note(format!(
        "{nodes} nodes: request {request} bytes, response {response} bytes"
    ));
    Ok(())
}

fn succeeded(address: SocketAddr, answer: Answer) -> Result<Answer, Failure> {
    let results = answer.response.results();
    let has_data = results
        .iter()
        .all(|result| result.success && result.data.is_some());
    let expected_kind = matches!(
        answer.response,
        ClientResponse::StageConfiguration { .. } | ClientResponse::GetConfiguration { .. }
    );
    if results.is_empty() || !has_data || !expected_kind {
        return Err(failed(format!("answer of {address}"))(format!("{results:?}")));
    }
    Ok(answer)
}

/// The name of the instance of this number, and of its agent.
pub(crate) fn instance_name(number: usize) -> String {
    format!("instance-{number:04}")
}

/// One manager, one logger, one proxy, and workers, with so many on each instance. Ports are left to the controller.
pub(crate) fn example_configuration(id: String, nodes: usize, each: usize) -> Configuration {
    let instances = (0..nodes.div_ceil(each)).map(|number| Instance::new(instance_name(number)));
    let nodes = (0..nodes).map(|index| {
        let (name, role) = match index {
            0 => ("manager".to_owned(), ClusterRole::Manager),
            1 => ("logger-01".to_owned(), ClusterRole::Logger),
            2 => ("proxy-01".to_owned(), ClusterRole::Proxy),
            _ => (format!("worker-{:04}", index - 2), ClusterRole::Worker),
        };
        let worker = role == ClusterRole::Worker;
        let cpu = i64::try_from(index % 64).ok();
        Node {
            interface: worker.then(|| "eth0".into()),
            cpu_affinity: cpu.filter(|_| worker),
            env: [("SITE".into(), "example".into())].into(),
            ..Node::new(name, instance_name(index / each), role)
        }
    });
    Configuration::new(id, instances, nodes)
}
