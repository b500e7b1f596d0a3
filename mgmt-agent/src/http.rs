//! What operators can ask, as HTTP, besides what [every daemon](mgmt_daemon::http) answers. [`mgmt_api::operator`] has what they hear, and `core/access.rs` which role a
//! request takes.

use mgmt_api::{
    OperatorRequest, State,
    operator::{Adopted, AgentStatus, Changed, NodeHistory, NodeName, Outputs, Selection},
};
use mgmt_daemon::http::{
    Answer, Door, Problem, Routes,
    axum::{body::Bytes, extract::Path, http::StatusCode, response::Response},
    read, read_body, utoipa,
};

use crate::relay::metrics_at;

type Operator = mgmt_daemon::http::Operator<OperatorRequest>;
type Answered = Result<Answer, Problem>;

/// The agent's routes.
pub(crate) fn routes() -> Routes<Door<OperatorRequest>> {
    mgmt_daemon::routes!(status, adopt, outputs, history, node_metrics, stop, start)
}

/// How the agent and its nodes are
#[utoipa::path(
    get,
    path = "/v1/status",
    security(("bearer" = ["read"])),
    responses((status = 200, body = AgentStatus, description = "How they are")),
)]
async fn status(operator: Operator) -> Answered {
    operator.asks(OperatorRequest::Status).await
}

/// Obey the controller that the agent refuses
#[utoipa::path(
    post,
    path = "/v1/adopt",
    security(("bearer" = ["admin"])),
    responses((status = 200, body = Adopted, description = "It is obeyed"), (status = 409)),
)]
async fn adopt(operator: Operator) -> Answered {
    operator.asks(OperatorRequest::Adopt).await
}

/// What a node wrote last
#[utoipa::path(
    get,
    path = "/v1/nodes/{node}/outputs",
    security(("bearer" = ["read"])),
    responses((status = 200, body = Outputs, description = "The last lines of its outputs")),
)]
async fn outputs(operator: Operator, Path(node): Path<String>) -> Answered {
    operator.asks(OperatorRequest::Outputs(NodeName { node })).await
}

/// What has become of a node
#[utoipa::path(
    get,
    path = "/v1/nodes/{node}/history",
    security(("bearer" = ["read"])),
    responses((status = 200, body = NodeHistory, description = "What the agent remembers")),
)]
async fn history(operator: Operator, Path(node): Path<String>) -> Answered {
    operator.asks(OperatorRequest::History(NodeName { node })).await
}

/// The metrics of a node
///
/// So that one port of the host is enough, and Zeek's need not be reached from elsewhere.
#[utoipa::path(
    get,
    path = "/v1/nodes/{node}/metrics",
    security(("bearer" = ["read"])),
    responses(
        (status = 200, description = "What the node tells Prometheus", content(
            (String = "text/plain"),
            (String = "application/openmetrics-text"),
        )), (status = 502), (status = 504)),
)]
async fn node_metrics(operator: Operator, Path(node): Path<String>) -> Result<Response, Problem> {
    let status: AgentStatus = read(&operator.asks(OperatorRequest::Status).await?.0)?;
    let mut nodes = status.nodes.into_iter();
    let Some(report) = nodes.find(|report| report.node == node) else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "this agent has no such node"));
    };
    // Something else may have its port meanwhile.
    if report.state != State::Running {
        let detail = format!("the node is {} and tells no metrics", report.state);
        return Err(Problem::new(StatusCode::BAD_GATEWAY, detail));
    }
    match report.metrics {
        Some(address) => metrics_at(address).await,
        None => Err(Problem::new(
            StatusCode::NOT_FOUND,
            "the node has no port for metrics: Zeek has one from 7.0 on, and the configuration says which",
        )),
    }
}

/// End nodes, which stay away until they are started
///
/// The answer comes when the agent has begun.
#[utoipa::path(
    post,
    path = "/v1/nodes/stop",
    security(("bearer" = ["deploy"])),
    request_body = Selection,
    responses((status = 200, body = Changed, description = "The nodes that end"), (status = 404), (status = 409)),
)]
async fn stop(operator: Operator, body: Bytes) -> Answered {
    operator.asks(OperatorRequest::Stop(read_body(body).await?)).await
}

/// Start nodes that were stopped
///
/// Also, and at once, those that have ended and are to be started again later.
#[utoipa::path(
    post,
    path = "/v1/nodes/start",
    security(("bearer" = ["deploy"])),
    request_body = Selection,
    responses((status = 200, body = Changed, description = "The nodes that are started"), (status = 404), (status = 409)),
)]
async fn start(operator: Operator, body: Bytes) -> Answered {
    operator
        .asks(OperatorRequest::Start(read_body(body).await?))
        .await
}
