//! The measurements.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use broker_codec::data::{Address, Set, ZeekString};
use mgmt_api::{
    controller::{ClientRequest, ClientResponse},
    enums::ClusterRole,
    records::{Configuration, Instance, Node},
};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{
    client::{Answer, Client, ClientError, Encoded},
    process::Controller,
    stats::Summary,
};

/// Requests before the clock matters: connections, caches and allocators settle.
const WARM_UP: u32 = 100;

/// What several clients at once were served.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Concurrent {
    pub(crate) clients: u16,
    pub(crate) requests_per_second: u64,
    pub(crate) latency: Summary,
}

/// Staging and fetching a configuration of one size.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ConfigurationTimes {
    pub(crate) nodes: u16,
    pub(crate) request_bytes: usize,
    pub(crate) response_bytes: usize,
    pub(crate) stage: Summary,
    pub(crate) fetch: Summary,
}

fn get_instances(id: &str) -> Encoded {
    Encoded::new(&ClientRequest::GetInstances { reqid: id.into() })
}

/// The time from the start of the process to its first answer.
pub(crate) async fn first_answer(controller: &Controller) -> Result<Duration, ClientError> {
    let mut client = Client::connect(controller.address).await?;
    client.request(get_instances("first")).await?;
    Ok(controller.started.elapsed())
}

/// `get_instances`, one request after the other on one connection.
pub(crate) async fn sequential(address: SocketAddr, requests: u32) -> Result<Summary, ClientError> {
    Ok(Summary::of(&one_client(address, "sequential", requests).await?))
}

async fn one_client(address: SocketAddr, name: &str, requests: u32) -> Result<Vec<Duration>, ClientError> {
    let mut client = Client::connect(address).await?;
    for number in 0..WARM_UP {
        client
            .request(get_instances(&format!("{name}-warm-up-{number}.")))
            .await?;
    }
    let mut samples = Vec::new();
    for number in 0..requests {
        samples.push(
            client
                .request(get_instances(&format!("{name}-{number}.")))
                .await?
                .elapsed,
        );
    }
    Ok(samples)
}

/// `get_instances` from several clients at once, which share the number of requests.
pub(crate) async fn concurrent(
    address: SocketAddr,
    clients: u16,
    requests: u32,
) -> Result<Concurrent, ClientError> {
    let each = (requests / u32::from(clients)).max(1);
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        tasks.spawn(async move { one_client(address, &format!("client-{number}"), each).await });
    }
    let mut samples = Vec::new();
    while let Some(finished) = tasks.join_next().await {
        samples.extend(finished.expect("a measuring task does not panic")?);
    }
    let served = u64::from(clients) * u64::from(each + WARM_UP);
    let micros = started.elapsed().as_micros().max(1);
    let requests_per_second = u64::try_from(u128::from(served) * 1_000_000 / micros).unwrap_or(u64::MAX);
    Ok(Concurrent {
        clients,
        requests_per_second,
        latency: Summary::of(&samples),
    })
}

/// Stages a configuration of `nodes` nodes and fetches it, `repeat` times.
pub(crate) async fn configuration(
    address: SocketAddr,
    nodes: u16,
    repeat: u16,
) -> Result<ConfigurationTimes, ClientError> {
    let mut client = Client::connect(address).await?;
    let config = example_configuration(nodes);
    let mut stage = Vec::new();
    let mut fetch = Vec::new();
    let mut request_bytes = 0;
    let mut response_bytes = 0;
    for round in 0..repeat {
        let request = Encoded::new(&ClientRequest::StageConfiguration {
            reqid: format!("stage-{nodes}-{round}.").into(),
            config: config.clone(),
        });
        request_bytes = request.text.len();
        stage.push(succeeded(address, client.request(request).await?)?.elapsed);

        let request = Encoded::new(&ClientRequest::GetConfiguration {
            reqid: format!("fetch-{nodes}-{round}.").into(),
            deployed: false,
        });
        let answer = succeeded(address, client.request(request).await?)?;
        response_bytes = answer.bytes;
        fetch.push(answer.elapsed);
    }
    Ok(ConfigurationTimes {
        nodes,
        request_bytes,
        response_bytes,
        stage: Summary::of(&stage),
        fetch: Summary::of(&fetch),
    })
}

fn succeeded(address: SocketAddr, answer: Answer) -> Result<Answer, ClientError> {
    let results = answer.response.results();
    let has_data = results
        .iter()
        .all(|result| result.success && result.data.is_some());
    let expected_kind = matches!(
        answer.response,
        ClientResponse::StageConfiguration { .. } | ClientResponse::GetConfiguration { .. }
    );
    if results.is_empty() || !has_data || !expected_kind {
        return Err(ClientError::Unexpected {
            address,
            text: format!("{results:?}"),
        });
    }
    Ok(answer)
}

/// One manager, one logger, one proxy, and workers, over one instance for every fifty nodes. Ports are left to the controller.
fn example_configuration(nodes: u16) -> Configuration {
    const NODES_PER_INSTANCE: u16 = 50;
    let instance_of = |index: u16| ZeekString::from(format!("instance-{:03}", index / NODES_PER_INSTANCE));
    let instances: Vec<Instance> = (0..nodes)
        .step_by(usize::from(NODES_PER_INSTANCE))
        .map(|index| Instance {
            name: instance_of(index),
            host: Address::UNSPECIFIED_V4,
            listen_port: None,
        })
        .collect();
    let nodes: Vec<Node> = (0..nodes)
        .map(|index| {
            let (name, role) = match index {
                0 => ("manager".to_owned(), ClusterRole::Manager),
                1 => ("logger-01".to_owned(), ClusterRole::Logger),
                2 => ("proxy-01".to_owned(), ClusterRole::Proxy),
                _ => (format!("worker-{:04}", index - 2), ClusterRole::Worker),
            };
            let worker = role == ClusterRole::Worker;
            Node {
                interface: worker.then(|| "eth0".into()),
                cpu_affinity: worker.then(|| i64::from(index % 64)),
                env: [("SITE".into(), "example".into())].into(),
                ..Node::new(name, instance_of(index), role)
            }
        })
        .collect();
    Configuration {
        id: format!("bench-{}", nodes.len()).into(),
        instances: Set::from_iter(instances),
        nodes: Set::from_iter(nodes),
    }
}
