//! What operators can ask, as HTTP, besides what [every daemon](mgmt_daemon::http) answers. [`mgmt_api::operator`] has what they hear, and `core/access.rs` which role a
//! request takes.
//! docs/http.md says how a change says what it rests on.

mod revisions;
mod rollouts;

use broker_codec::data::ZeekString;
use mgmt_api::operator::{
    Changed, ClusterRequest, ClusterStatus, Clusters, ConfigurationFile, Deployment, Deployments, Event,
    Expected, NewDeployment, NodeHistory, NodeName, Outputs, Selection, Staged, Station, Values,
    diff::Difference, entity_tag, plan::Plan,
};
use mgmt_daemon::http::{
    Answer, Door, Problem, Routes,
    axum::{
        Router,
        body::Bytes,
        extract::Path,
        http::{
            HeaderMap, StatusCode,
            header::{ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION},
        },
        response::IntoResponse,
    },
    read_body,
    utoipa::{self, OpenApi},
};
use serde::de::DeserializeOwned;
use serde_json::Deserializer;

use crate::{
    authority::{self, routes::Issuing},
    events,
    events::Feed,
    page::Page,
    request::Request,
    sd,
};

/// How many clusters are asked at a time for one answer about all.
pub(crate) const CLUSTERS_AT_A_TIME: usize = 8;

type Operator = mgmt_daemon::http::Operator<Request>;
type Answered = Result<Answer, Problem>;

/// What no answer is as a whole: an event of the stream, and what `mgmtctl config diff --json` prints.
#[derive(OpenApi)]
#[openapi(components(schemas(Event, Difference)))]
struct Besides;

/// The controller's routes, with those of its [CA](crate::authority).
pub(crate) fn routes(feed: Feed, page: Page, issuing: Issuing) -> Routes<Door<Request>> {
    Routes::new(Router::new(), Besides::openapi)
        .merge(page.routes())
        .merge(rollouts::routes())
        .merge(sd::routes())
        .merge(events::routes(feed))
        .merge(authority::routes::routes(issuing))
        .merge(revisions::routes())
        .merge(mgmt_daemon::routes!(
            clusters,
            delete_cluster,
            status,
            staged,
            stage,
            deployed,
            plan,
            deployments,
            deploy,
            deployment,
            variables,
            variable,
            outputs,
            history,
            stop,
            start,
            restart,
        ))
}

/// The clusters, in numbers
///
/// Those that one may read.
#[utoipa::path(
    get,
    path = "/v1/clusters",
    responses((status = 200, body = Clusters, description = "`default` first")),
)]
async fn clusters(operator: Operator) -> Answered {
    operator.asks(Request::Clusters).await
}

/// Delete a cluster
///
/// Refused while something is deployed in it.
#[utoipa::path(
    delete,
    path = "/v1/clusters/{cluster}",
    security(("bearer" = ["admin"])),
    responses((status = 200, body = Changed, description = "It is gone"), (status = 409)),
)]
async fn delete_cluster(operator: Operator, Path(cluster): Path<String>) -> Answered {
    operator.asks(Request::Of(cluster, ClusterRequest::Remove)).await
}

/// How a cluster is, against how it is to be
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/status",
    security(("bearer" = ["read"])),
    responses((status = 200, body = ClusterStatus, description = "How it is")),
)]
async fn status(operator: Operator, Path(cluster): Path<String>) -> Answered {
    operator.asks(Request::Of(cluster, ClusterRequest::Status)).await
}

/// The configuration that the next deployment takes
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/configurations/staged",
    security(("bearer" = ["read"])),
    responses(
        (
            status = 200,
            body = ConfigurationFile,
            description = "The configuration",
            headers(("ETag" = String, description = "What `If-Match` takes of the deployed one")),
        )),
)]
async fn staged(operator: Operator, Path(cluster): Path<String>) -> Result<impl IntoResponse, Problem> {
    configuration(operator, cluster, Station::Staged).await
}

/// The configuration that is deployed
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/configurations/deployed",
    security(("bearer" = ["read"])),
    responses(
        (
            status = 200,
            body = ConfigurationFile,
            description = "The configuration",
            headers(("ETag" = String, description = "What `If-Match` takes of the deployed one")),
        )),
)]
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

/// Stage a configuration
///
/// The cluster comes into being by it, if it is not there.
#[utoipa::path(
    put,
    path = "/v1/clusters/{cluster}/configurations/staged",
    security(("bearer" = ["deploy"])),
    params(
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the configuration that the change takes to be deployed"),
        ("If-None-Match" = Option<String>, Header, description = "`*` if the change takes nothing to be deployed"),
    ),
    request_body = ConfigurationFile,
    responses((status = 200, body = Staged, description = "It is staged under a new id"), (status = 409), (status = 412), (status = 422), (status = 428)),
)]
async fn stage(operator: Operator, Path(cluster): Path<String>, headers: HeaderMap, body: Bytes) -> Answered {
    let request = ClusterRequest::Stage {
        configuration: read_body(body).await?,
        expected: expected(&headers)?,
    };
    operator.asks(Request::Of(cluster, request)).await
}

/// Plan a deployment
///
/// What it would do to each node, as agents say that look at their hosts. Nothing changes. The plan is deployed by its id.
#[utoipa::path(
    post,
    path = "/v1/clusters/{cluster}/plans",
    security(("bearer" = ["deploy"])),
    request_body = ConfigurationFile,
    responses((status = 200, body = Plan, description = "The plan"), (status = 409), (status = 422)),
)]
async fn plan(operator: Operator, Path(cluster): Path<String>, body: Bytes) -> Answered {
    let request = ClusterRequest::Plan(read_body(body).await?);
    operator.asks(Request::Of(cluster, request)).await
}

/// Deploy what is staged, or what was planned
///
/// The answer comes when the deployment has begun; what becomes of it is at the place in `Location`. A plan says itself what it rests on, and is refused
/// if a deployment would do something else now.
#[utoipa::path(
    post,
    path = "/v1/clusters/{cluster}/deployments",
    security(("bearer" = ["deploy"])),
    params(
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the configuration that the change takes to be deployed"),
        ("If-None-Match" = Option<String>, Header, description = "`*` if the change takes nothing to be deployed"),
    ),
    request_body(content = Option<NewDeployment>, description = "Without, what is staged is deployed"),
    responses(
        (
            status = 202,
            body = Deployment,
            description = "It has begun",
            headers(("Location" = String, description = "The path of the deployment")),
        ), (status = 409), (status = 412), (status = 422), (status = 428)),
)]
async fn deploy(
    operator: Operator,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, Problem> {
    let expected = expected(&headers)?;
    let new = match &body[..] {
        [] => NewDeployment::default(),
        _ => read_body(body).await?,
    };
    let request = ClusterRequest::Deploy { expected, new };
    let answer = operator.asks(Request::Of(cluster.clone(), request)).await?;
    // The cluster is one that there is, and the id the controller's own.
    let id = id_of(&answer)?;
    let place = format!("/v1/clusters/{cluster}/deployments/{}", id.to_str_lossy());
    Ok((StatusCode::ACCEPTED, [(LOCATION, place)], answer))
}

/// The latest deployments
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/deployments",
    security(("bearer" = ["read"])),
    responses((status = 200, body = Deployments, description = "The one that is under way, then the others, the last one first")),
)]
async fn deployments(operator: Operator, Path(cluster): Path<String>) -> Answered {
    operator
        .asks(Request::Of(cluster, ClusterRequest::Deployments))
        .await
}

/// How far a deployment is, or what has come of it
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/deployments/{deployment}",
    security(("bearer" = ["read"])),
    responses((status = 200, body = Deployment, description = "With its nodes")),
)]
async fn deployment(operator: Operator, Path((cluster, id)): Path<(String, String)>) -> Answered {
    operator
        .asks(Request::Of(cluster, ClusterRequest::Deployment(id)))
        .await
}

/// What a change takes to be deployed, if it says so.
fn expected(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let all = |name| headers.get_all(name).iter().collect::<Vec<_>>();
    match (&all(IF_MATCH)[..], &all(IF_NONE_MATCH)[..]) {
        ([], []) => Ok(None),
        ([tag], []) => {
            let tag = String::from_utf8_lossy(tag.as_bytes()).into_owned();
            Ok(Some(Expected::Tag(tag)))
        }
        ([], [tag]) if *tag == "*" => Ok(Some(Expected::Nothing)),
        _ => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "give If-Match with one entity tag, or If-None-Match: *",
        )),
    }
}

/// The value of an identifier of Zeek's in a node
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/nodes/{node}/variables/{id}",
    security(("bearer" = ["read"])),
    responses((status = 200, body = Values, description = "The value, or why it cannot be told"), (status = 409)),
)]
async fn variable(operator: Operator, Path((cluster, node, id)): Path<(String, String, String)>) -> Answered {
    let node = Some(node);
    operator
        .asks(Request::Of(cluster, ClusterRequest::Variable { id, node }))
        .await
}

/// The values of an identifier of Zeek's in all nodes
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/variables/{id}",
    security(("bearer" = ["read"])),
    responses((status = 200, body = Values, description = "Each value, or why it cannot be told"), (status = 409)),
)]
async fn variables(operator: Operator, Path((cluster, id)): Path<(String, String)>) -> Answered {
    operator
        .asks(Request::Of(cluster, ClusterRequest::Variable { id, node: None }))
        .await
}

/// What a node wrote last
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/nodes/{node}/outputs",
    security(("bearer" = ["read"])),
    responses((status = 200, body = Outputs, description = "The last lines of its outputs"), (status = 409)),
)]
async fn outputs(operator: Operator, Path((cluster, node)): Path<(String, String)>) -> Answered {
    let request = ClusterRequest::Outputs(NodeName { node });
    operator.asks(Request::Of(cluster, request)).await
}

/// What has become of a node
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/nodes/{node}/history",
    security(("bearer" = ["read"])),
    responses((status = 200, body = NodeHistory, description = "What its agent remembers, or why that is not known")),
)]
async fn history(operator: Operator, Path((cluster, node)): Path<(String, String)>) -> Answered {
    let request = ClusterRequest::History(NodeName { node });
    operator.asks(Request::Of(cluster, request)).await
}

/// End nodes, which stay away until they are started
///
/// The answer comes when their agents have begun.
#[utoipa::path(
    post,
    path = "/v1/clusters/{cluster}/nodes/stop",
    security(("bearer" = ["deploy"])),
    request_body = Selection,
    responses((status = 200, body = Changed, description = "The nodes that end, and what cannot be done"), (status = 409)),
)]
async fn stop(operator: Operator, Path(cluster): Path<String>, body: Bytes) -> Answered {
    let request = ClusterRequest::Stop(read_body(body).await?);
    operator.asks(Request::Of(cluster, request)).await
}

/// Start nodes that were stopped
///
/// Also, and at once, those that have ended and are to be started again later.
#[utoipa::path(
    post,
    path = "/v1/clusters/{cluster}/nodes/start",
    security(("bearer" = ["deploy"])),
    request_body = Selection,
    responses((status = 200, body = Changed, description = "The nodes that are started, and what cannot be done"), (status = 409)),
)]
async fn start(operator: Operator, Path(cluster): Path<String>, body: Bytes) -> Answered {
    let request = ClusterRequest::Start(read_body(body).await?);
    operator.asks(Request::Of(cluster, request)).await
}

/// Restart nodes
#[utoipa::path(
    post,
    path = "/v1/clusters/{cluster}/nodes/restart",
    security(("bearer" = ["deploy"])),
    request_body = Selection,
    responses((status = 200, body = Changed, description = "The nodes that are restarted, and what cannot be done"), (status = 409)),
)]
async fn restart(operator: Operator, Path(cluster): Path<String>, body: Bytes) -> Answered {
    let request = ClusterRequest::Restart(read_body(body).await?);
    operator.asks(Request::Of(cluster, request)).await
}

/// What is answered to a request of a cluster.
pub(crate) async fn asked<T: DeserializeOwned + Send + 'static>(
    operator: &Operator,
    cluster: &str,
    request: ClusterRequest,
) -> Result<T, Problem> {
    read_body(operator.asks(Request::Of(cluster.to_owned(), request)).await?.0).await
}

/// The id of what is answered. It comes first: a long answer is not read for it.
fn id_of(answer: &Answer) -> Result<ZeekString, Problem> {
    let id = answer.0.strip_prefix(br#"{"id":"#);
    let id = id.and_then(|id| Deserializer::from_slice(id).into_iter().next()?.ok());
    id.ok_or_else(|| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer has no id"))
}

#[cfg(test)]
mod tests;
