//! What operators can ask on the control socket, as HTTP. [`mgmt_api::operator`] has what they hear.
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | `ok`, if the controller's loop works |
//! | `GET /v1` | [`About`] |
//! | `GET /v1/clusters/{cluster}/status` | [`ClusterStatus`](mgmt_api::operator::ClusterStatus) |
//! | `GET /v1/clusters/{cluster}/nodes/{node}/outputs` | [`Outputs`](mgmt_api::operator::Outputs) |
//! | `POST /v1/clusters/{cluster}/nodes/stop`, `.../start`, with a [`ClusterSelection`](mgmt_api::operator::ClusterSelection) | [`ClusterChanged`](mgmt_api::operator::ClusterChanged) |
//! | `POST /v1/clusters/{cluster}/nodes/restart`, with [`NodeNames`](mgmt_api::operator::NodeNames) | likewise |

use mgmt_api::{
    Principal,
    operator::{About, ClusterRequest, NodeName, Program},
};
use mgmt_daemon::http::{
    Answer, Door, Outcome, Problem,
    axum::{
        Extension, Json, Router,
        body::Bytes,
        extract::{Path, State},
        routing::{get, post},
    },
    read, routes,
};

/// What is asked: of which cluster, and what.
pub(crate) type Question = (String, ClusterRequest);

type Asks = State<Door<Question, Outcome>>;
type Answered = Result<Answer, Problem>;

/// The controller's routes.
pub(crate) fn of_controller(name: &str, door: Door<Question, Outcome>) -> Router {
    let about = About {
        program: Program::Controller,
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    routes(
        Router::new()
            .route("/livez", get(live))
            .route("/v1", get(async || Json(about)))
            .route("/v1/clusters/{cluster}/status", get(status))
            .route("/v1/clusters/{cluster}/nodes/{node}/outputs", get(outputs))
            .route("/v1/clusters/{cluster}/nodes/stop", post(stop))
            .route("/v1/clusters/{cluster}/nodes/start", post(start))
            .route("/v1/clusters/{cluster}/nodes/restart", post(restart))
            .with_state(door),
    )
}

/// Agents are not asked: the controller works also where none answers.
async fn live(
    State(door): Asks,
    Extension(principal): Extension<Principal>,
) -> Result<&'static str, Problem> {
    let nowhere = (String::new(), ClusterRequest::Status);
    door.ask(principal, nowhere).await.map(|_| "ok\n")
}

async fn status(asks: Asks, who: Extension<Principal>, Path(cluster): Path<String>) -> Answered {
    ask(asks, who, cluster, ClusterRequest::Status).await
}

async fn outputs(
    asks: Asks,
    who: Extension<Principal>,
    Path((cluster, node)): Path<(String, String)>,
) -> Answered {
    let node = NodeName { node: node.into() };
    ask(asks, who, cluster, ClusterRequest::Outputs(node)).await
}

async fn stop(asks: Asks, who: Extension<Principal>, Path(cluster): Path<String>, body: Bytes) -> Answered {
    ask(asks, who, cluster, ClusterRequest::Stop(read(&body)?)).await
}

async fn start(asks: Asks, who: Extension<Principal>, Path(cluster): Path<String>, body: Bytes) -> Answered {
    ask(asks, who, cluster, ClusterRequest::Start(read(&body)?)).await
}

async fn restart(
    asks: Asks,
    who: Extension<Principal>,
    Path(cluster): Path<String>,
    body: Bytes,
) -> Answered {
    ask(asks, who, cluster, ClusterRequest::Restart(read(&body)?)).await
}

async fn ask(
    State(door): Asks,
    Extension(principal): Extension<Principal>,
    cluster: String,
    request: ClusterRequest,
) -> Answered {
    Ok(Answer(door.ask(principal, (cluster, request)).await??))
}
