//! What operators can ask, as HTTP, besides what [every daemon](mgmt_daemon::http) answers. [`mgmt_api::operator`] has what they hear, and `core/access.rs` which role a
//! request takes.
//!
//! | request | answer |
//! |---|---|
//! | `GET /`, perhaps with `?cluster=` | the status page ([`page`](crate::page)) |
//! | `GET /sd` | what Prometheus is to scrape ([`sd`](crate::sd)) |
//! | `GET /v1/events`, perhaps with `?cluster=` and `?last=` | a stream of [`Event`](mgmt_api::operator::Event) ([`events`](crate::events)) |
//! | `GET /v1/clusters` | [`Clusters`](mgmt_api::operator::Clusters) |
//! | `DELETE /v1/clusters/{cluster}` | nothing [`Changed`](mgmt_api::operator::Changed) |
//! | `GET /v1/clusters/{cluster}/status` | [`ClusterStatus`](mgmt_api::operator::ClusterStatus) |
//! | `GET /v1/clusters/{cluster}/nodes/{node}/outputs` | [`Outputs`](mgmt_api::operator::Outputs) |
//! | `GET /v1/clusters/{cluster}/nodes/{node}/history` | [`NodeHistory`](mgmt_api::operator::NodeHistory) |
//! | `GET /v1/clusters/{cluster}/configurations/staged`, `.../deployed` | [`ConfigurationFile`](mgmt_api::operator::ConfigurationFile), with its id as `ETag` |
//! | `PUT /v1/clusters/{cluster}/configurations/staged`, with such a one | [`Staged`](mgmt_api::operator::Staged) |
//! | `POST /v1/clusters/{cluster}/deployments` | [`Deployment`](mgmt_api::operator::Deployment) that has begun, with its place as `Location` |
//! | `GET /v1/clusters/{cluster}/deployments` | the latest [`Deployments`](mgmt_api::operator::Deployments) |
//! | `GET /v1/clusters/{cluster}/deployments/{deployment}` | [`Deployment`](mgmt_api::operator::Deployment) |
//! | `GET /v1/clusters/{cluster}/nodes/{node}/variables/{id}`, and of all nodes `GET /v1/clusters/{cluster}/variables/{id}` | [`Values`](mgmt_api::operator::Values) |
//! | `POST /v1/clusters/{cluster}/nodes/stop`, `.../start`, `.../restart`, with a [`Selection`](mgmt_api::operator::Selection) | [`Changed`](mgmt_api::operator::Changed) |
//!
//! What changes a configuration says what it takes to be deployed: by `If-Match` with the `ETag` of the deployed configuration, or by
//! `If-None-Match: *` if nothing is. A cluster comes into being when the first configuration is staged in it. What is wrong with a configuration is in the list `errors` of the problem.

use std::future::ready;

use broker_codec::data::ZeekString;
use mgmt_api::operator::{ClusterRequest, Expected, NodeName, Station, entity_tag};
use mgmt_daemon::http::{
    Answer, Door, Problem,
    axum::{
        Router,
        body::Bytes,
        extract::Path,
        http::{
            HeaderMap, StatusCode,
            header::{ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION},
        },
        response::IntoResponse,
        routing::{delete, get, post},
    },
    read,
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{events::Feed, page::Page, sd};

/// What is asked.
#[derive(Debug)]
pub(crate) enum Request {
    /// Which clusters there are.
    Clusters,
    /// Something of a cluster.
    Of(String, ClusterRequest),
}

impl Request {
    /// In a few words.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Clusters => "clusters",
            Self::Of(_, request) => request.into(),
        }
    }
}

/// How many clusters are asked at a time for one answer about all.
pub(crate) const CLUSTERS_AT_A_TIME: usize = 8;

type Operator = mgmt_daemon::http::Operator<Request>;
type Answered = Result<Answer, Problem>;

/// The controller's routes, with those of its [CA](crate::authority).
pub(crate) fn routes(feed: Feed, page: Page, certificates: Router<Door<Request>>) -> Router<Door<Request>> {
    page.routes()
        .merge(sd::routes())
        .merge(certificates)
        .route(
            "/v1/events",
            get(move |wanted, lasting, principal, headers: HeaderMap| {
                ready(feed.read(wanted, lasting, principal, &headers))
            }),
        )
        .route("/v1/clusters", get(clusters))
        .route("/v1/clusters/{cluster}", delete(remove))
        .route("/v1/clusters/{cluster}/status", get(status))
        .route(
            "/v1/clusters/{cluster}/configurations/staged",
            get(staged).put(stage),
        )
        .route("/v1/clusters/{cluster}/configurations/deployed", get(deployed))
        .route(
            "/v1/clusters/{cluster}/deployments",
            get(deployments).post(deploy),
        )
        .route("/v1/clusters/{cluster}/deployments/{deployment}", get(deployment))
        .route("/v1/clusters/{cluster}/variables/{id}", get(variables))
        .route(
            "/v1/clusters/{cluster}/nodes/{node}/variables/{id}",
            get(variable),
        )
        .route("/v1/clusters/{cluster}/nodes/{node}/outputs", get(outputs))
        .route("/v1/clusters/{cluster}/nodes/{node}/history", get(history))
        .route("/v1/clusters/{cluster}/nodes/stop", post(stop))
        .route("/v1/clusters/{cluster}/nodes/start", post(start))
        .route("/v1/clusters/{cluster}/nodes/restart", post(restart))
}

async fn clusters(operator: Operator) -> Answered {
    operator.asks(Request::Clusters).await
}

async fn remove(operator: Operator, Path(cluster): Path<String>) -> Answered {
    operator.asks(Request::Of(cluster, ClusterRequest::Remove)).await
}

async fn status(operator: Operator, Path(cluster): Path<String>) -> Answered {
    operator.asks(Request::Of(cluster, ClusterRequest::Status)).await
}

async fn staged(operator: Operator, Path(cluster): Path<String>) -> Result<impl IntoResponse, Problem> {
    configuration(operator, cluster, Station::Staged).await
}

async fn deployed(operator: Operator, Path(cluster): Path<String>) -> Result<impl IntoResponse, Problem> {
    configuration(operator, cluster, Station::Deployed).await
}

async fn configuration(
    operator: Operator,
    cluster: String,
    station: Station,
) -> Result<impl IntoResponse, Problem> {
    let request = ClusterRequest::Configuration(station);
    let answer = operator.asks(Request::Of(cluster, request)).await?;
    let tag = entity_tag(&id_of(&answer)?);
    Ok(([(ETAG, tag)], answer))
}

async fn stage(operator: Operator, Path(cluster): Path<String>, headers: HeaderMap, body: Bytes) -> Answered {
    let request = ClusterRequest::Stage {
        configuration: read(&body)?,
        expected: expected(&headers)?,
    };
    operator.asks(Request::Of(cluster, request)).await
}

async fn deploy(
    operator: Operator,
    Path(cluster): Path<String>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let expected = expected(&headers)?;
    let request = ClusterRequest::Deploy { expected };
    let answer = operator.asks(Request::Of(cluster.clone(), request)).await?;
    // The cluster is one that there is, and the id the controller's own.
    let id = id_of(&answer)?;
    let place = format!("/v1/clusters/{cluster}/deployments/{}", id.to_str_lossy());
    Ok((StatusCode::ACCEPTED, [(LOCATION, place)], answer))
}

async fn deployments(operator: Operator, Path(cluster): Path<String>) -> Answered {
    operator
        .asks(Request::Of(cluster, ClusterRequest::Deployments))
        .await
}

async fn deployment(operator: Operator, Path((cluster, id)): Path<(String, String)>) -> Answered {
    operator
        .asks(Request::Of(cluster, ClusterRequest::Deployment(id)))
        .await
}

/// What a change takes to be deployed, if it says so.
fn expected(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    match (headers.get(IF_MATCH), headers.get(IF_NONE_MATCH)) {
        (None, None) => Ok(None),
        (Some(tag), None) => {
            let tag = String::from_utf8_lossy(tag.as_bytes()).into_owned();
            Ok(Some(Expected::Tag(tag)))
        }
        (None, Some(tag)) if tag == "*" => Ok(Some(Expected::Nothing)),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "give If-Match with one entity tag, or If-None-Match: *",
        )),
    }
}

async fn variable(operator: Operator, Path((cluster, node, id)): Path<(String, String, String)>) -> Answered {
    let node = Some(node);
    operator
        .asks(Request::Of(cluster, ClusterRequest::Variable { id, node }))
        .await
}

async fn variables(operator: Operator, Path((cluster, id)): Path<(String, String)>) -> Answered {
    operator
        .asks(Request::Of(cluster, ClusterRequest::Variable { id, node: None }))
        .await
}

async fn outputs(operator: Operator, Path((cluster, node)): Path<(String, String)>) -> Answered {
    let request = ClusterRequest::Outputs(NodeName { node });
    operator.asks(Request::Of(cluster, request)).await
}

async fn history(operator: Operator, Path((cluster, node)): Path<(String, String)>) -> Answered {
    let request = ClusterRequest::History(NodeName { node });
    operator.asks(Request::Of(cluster, request)).await
}

async fn stop(operator: Operator, Path(cluster): Path<String>, body: Bytes) -> Answered {
    let request = ClusterRequest::Stop(read(&body)?);
    operator.asks(Request::Of(cluster, request)).await
}

async fn start(operator: Operator, Path(cluster): Path<String>, body: Bytes) -> Answered {
    let request = ClusterRequest::Start(read(&body)?);
    operator.asks(Request::Of(cluster, request)).await
}

async fn restart(operator: Operator, Path(cluster): Path<String>, body: Bytes) -> Answered {
    let request = ClusterRequest::Restart(read(&body)?);
    operator.asks(Request::Of(cluster, request)).await
}

/// What is answered to a request of a cluster.
pub(crate) async fn asked<T: DeserializeOwned>(
    operator: &Operator,
    cluster: &str,
    request: ClusterRequest,
) -> Result<T, Problem> {
    read(&operator.asks(Request::Of(cluster.to_owned(), request)).await?.0)
}

/// The id of what is answered.
fn id_of(answer: &Answer) -> Result<ZeekString, Problem> {
    #[derive(Deserialize)]
    struct Identified {
        id: ZeekString,
    }
    let Identified { id } = read(&answer.0)?;
    Ok(id)
}
