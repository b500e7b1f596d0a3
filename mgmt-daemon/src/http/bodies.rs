//! The bodies of requests: whose are read, and how much memory they may take.

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{
        HeaderMap, Method, StatusCode,
        header::{CONTENT_LENGTH, RETRY_AFTER, TRANSFER_ENCODING},
    },
};
use broker_endpoint::with_causes;
use mgmt_api::Principal;

use super::{
    answer::Problem,
    connection::BODY_BYTES_MAX,
    shares::{Share, Shares},
};

/// How many bytes the bodies of requests may have that are read, or not answered yet. The daemon's user and root have as many besides.
const BODIES_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How many of them may be of one token, certificate, or user of the control socket's group.
const BODIES_OF_ONE_BYTES_MAX: usize = 2 * BODY_BYTES_MAX;

/// The longest body that is not counted, in bytes: connections bound how many of these there are. So short requests are carried out whatever others send.
pub(super) const SHORT_BYTES_MAX: usize = 64 * 1024;

/// Memory for bodies. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    shared: Shares<String>,
    of_own_users: Shares<String>,
}

/// Whether a request of this method may change something.
pub(super) fn changes(method: &Method) -> bool {
    method != Method::GET && method != Method::HEAD
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            shared: Shares::new(BODIES_BYTES_MAX, BODIES_OF_ONE_BYTES_MAX),
            of_own_users: Shares::new(BODIES_BYTES_MAX, BODIES_BYTES_MAX),
        }
    }
}

impl Bodies {
    /// The request with its whole body, and what that takes of the memory until it is answered. Only of one who may change something it is read.
    pub(super) async fn read(
        &self,
        principal: &Principal,
        request: Request,
    ) -> Result<(Request, Option<Share<String>>), Problem> {
        if !changes(request.method()) {
            return Ok((request, None));
        }
        principal.check_changes()?;
        let share = self.memory_for(principal, request.headers())?;
        let (parts, body) = request.into_parts();
        let body = Body::from(whole(body, BODY_BYTES_MAX).await?);
        Ok((Request::from_parts(parts, body), Some(share)))
    }

    /// Memory for a body that is as long as the head says, or that may be as long as any.
    fn memory_for(&self, principal: &Principal, headers: &HeaderMap) -> Result<Share<String>, Problem> {
        let length = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse().ok());
        let length = match length {
            Some(length) if length <= SHORT_BYTES_MAX => 0,
            Some(length) if length <= BODY_BYTES_MAX => length,
            // The rest is refused when it comes.
            _ if headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING) => {
                BODY_BYTES_MAX
            }
            _ => 0,
        };
        let (memory, of_one) = if principal.is_own_user() {
            (&self.of_own_users, BODIES_BYTES_MAX)
        } else {
            (&self.shared, BODIES_OF_ONE_BYTES_MAX)
        };
        memory.take(principal.name(), length).ok_or_else(|| {
            let detail = format!(
                "too many long requests are under way, of which one token, certificate or user may have {} MiB and all together {} MiB: try again later",
                of_one >> 20,
                BODIES_BYTES_MAX >> 20
            );
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(RETRY_AFTER, "1")
        })
    }
}

pub(super) async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    to_bytes(body, bytes_max).await.map_err(|error| {
        let detail = format!("the body cannot be read: {}", with_causes(&error));
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    })
}
