//! What operators can ask on the control socket, as HTTP. [`mgmt_api::operator`] has what they hear.
//!
//! | request | answer |
//! |---|---|
//! | `GET /livez` | `ok`, if the agent's loop works |
//! | `GET /v1` | [`About`] |
//! | `GET /v1/status` | [`AgentStatus`](mgmt_api::operator::AgentStatus) |
//! | `GET /v1/nodes/{node}/outputs` | [`Outputs`](mgmt_api::operator::Outputs) |
//! | `POST /v1/nodes/stop`, `POST /v1/nodes/start`, with a [`Selection`](mgmt_api::operator::Selection) | [`Changed`](mgmt_api::operator::Changed) |

use mgmt_api::{
    OperatorRequest, Principal,
    operator::{About, NodeName, Program},
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

type Asks = State<Door<OperatorRequest, Outcome>>;
type Answered = Result<Answer, Problem>;

/// The agent's routes.
pub(crate) fn of_agent(name: &str, door: Door<OperatorRequest, Outcome>) -> Router {
    let about = About {
        program: Program::Agent,
        name: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    routes(
        Router::new()
            .route("/livez", get(live))
            .route("/v1", get(async || Json(about)))
            .route("/v1/status", get(status))
            .route("/v1/nodes/{node}/outputs", get(outputs))
            .route("/v1/nodes/stop", post(stop))
            .route("/v1/nodes/start", post(start))
            .with_state(door),
    )
}

async fn live(asks: Asks, who: Extension<Principal>) -> Result<&'static str, Problem> {
    status(asks, who).await.map(|_| "ok\n")
}

async fn status(asks: Asks, who: Extension<Principal>) -> Answered {
    ask(asks, who, OperatorRequest::Status).await
}

async fn outputs(asks: Asks, who: Extension<Principal>, Path(node): Path<String>) -> Answered {
    let node = NodeName { node: node.into() };
    ask(asks, who, OperatorRequest::Outputs(node)).await
}

async fn stop(asks: Asks, who: Extension<Principal>, body: Bytes) -> Answered {
    ask(asks, who, OperatorRequest::Stop(read(&body)?)).await
}

async fn start(asks: Asks, who: Extension<Principal>, body: Bytes) -> Answered {
    ask(asks, who, OperatorRequest::Start(read(&body)?)).await
}

async fn ask(
    State(door): Asks,
    Extension(principal): Extension<Principal>,
    request: OperatorRequest,
) -> Answered {
    Ok(Answer(door.ask(principal, request).await??))
}
