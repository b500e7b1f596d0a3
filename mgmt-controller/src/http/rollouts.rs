//! Roll-outs, as HTTP.

use mgmt_api::operator::{ClusterRequest, Rollout, RolloutOptions, RolloutOrder};
use mgmt_daemon::http::{
    Door, Problem, Routes,
    axum::{
        Router,
        body::Bytes,
        extract::Path,
        http::{HeaderMap, StatusCode, header::LOCATION},
        response::IntoResponse,
    },
    read_body,
    utoipa::{self, OpenApi},
};

use super::{Answered, Operator, expected};
use crate::request::Request;

#[derive(OpenApi)]
struct Besides;

pub(super) fn routes() -> Routes<Door<Request>> {
    Routes::new(Router::new(), Besides::openapi).merge(mgmt_daemon::routes!(
        rollout,
        roll_out,
        pause_rollout,
        resume_rollout,
        abort_rollout,
    ))
}

/// How far the roll-out is, or what has come of the last one
#[utoipa::path(
    get,
    path = "/v1/clusters/{cluster}/rollout",
    security(("bearer" = ["read"])),
    responses((status = 200, body = Rollout, description = "With its stages and nodes")),
)]
async fn rollout(operator: Operator, Path(cluster): Path<String>) -> Answered {
    operator.asks(Request::Of(cluster, ClusterRequest::Rollout)).await
}

/// Roll out what is staged
///
/// The answer comes when the roll-out has begun; what becomes of it is at the place in `Location`.
#[utoipa::path(
    post,
    path = "/v1/clusters/{cluster}/rollout",
    security(("bearer" = ["deploy"])),
    params(
        ("If-Match" = Option<String>, Header, description = "The `ETag` of the configuration that the change takes to be deployed"),
    ),
    request_body = RolloutOptions,
    responses(
        (
            status = 202,
            body = Rollout,
            description = "It has begun",
            headers(("Location" = String, description = "The path of the roll-out")),
        ), (status = 409), (status = 412), (status = 422), (status = 428)),
)]
async fn roll_out(
    operator: Operator,
    Path(cluster): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<impl IntoResponse, Problem> {
    let request = ClusterRequest::RollOut {
        options: read_body(body).await?,
        expected: expected(&headers)?,
    };
    let place = format!("/v1/clusters/{cluster}/rollout");
    let answer = operator.asks(Request::Of(cluster, request)).await?;
    Ok((StatusCode::ACCEPTED, [(LOCATION, place)], answer))
}

/// Pause the roll-out
///
/// What is being changed is finished, and nothing else begun.
#[utoipa::path(
    post,
    path = "/v1/clusters/{cluster}/rollout/pause",
    security(("bearer" = ["deploy"])),
    responses((status = 200, body = Rollout, description = "It pauses"), (status = 409)),
)]
async fn pause_rollout(operator: Operator, Path(cluster): Path<String>) -> Answered {
    order(operator, cluster, RolloutOrder::Pause).await
}

/// Have a roll-out go on that is paused, or was stopped
#[utoipa::path(
    post,
    path = "/v1/clusters/{cluster}/rollout/resume",
    security(("bearer" = ["deploy"])),
    responses((status = 200, body = Rollout, description = "It goes on"), (status = 409)),
)]
async fn resume_rollout(operator: Operator, Path(cluster): Path<String>) -> Answered {
    order(operator, cluster, RolloutOrder::Resume).await
}

/// Abort the roll-out
///
/// All nodes that were changed go back to what is deployed.
#[utoipa::path(
    post,
    path = "/v1/clusters/{cluster}/rollout/abort",
    security(("bearer" = ["deploy"])),
    responses((status = 200, body = Rollout, description = "It goes back"), (status = 409)),
)]
async fn abort_rollout(operator: Operator, Path(cluster): Path<String>) -> Answered {
    order(operator, cluster, RolloutOrder::Abort).await
}

async fn order(operator: Operator, cluster: String, order: RolloutOrder) -> Answered {
    operator
        .asks(Request::Of(cluster, ClusterRequest::OrderRollout(order)))
        .await
}
