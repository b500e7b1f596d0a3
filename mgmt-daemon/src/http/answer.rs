//! What is answered: JSON; and what is told of a request that was not carried out, as RFC 9457 has it.

use std::error::Error as _;

use axum::{
    body::{Bytes, to_bytes},
    extract::{Query, rejection::QueryRejection},
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use broker_codec::data::ZeekString;
use mgmt_api::operator::{NotDone, NotDoneKind};
use serde::{Serialize, de::DeserializeOwned};
use tokio::task::spawn_blocking;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// The kind of a problem's document.
pub(super) const PROBLEM: &str = "application/problem+json";

/// How much is read of an answer of axum's own, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// A longer body is not read in a task: others wait for that.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Why a request was not carried out, for the audit log.
#[derive(Clone, Debug)]
pub(super) struct Reason(pub(super) String);

/// A request was not carried out.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    /// What happened, why, and what to do.
    detail: String,
    /// Each thing that is wrong, of several.
    errors: Vec<String>,
    /// What a field of the answer's head says besides.
    field: Option<(HeaderName, &'static str)>,
}

/// `application/problem+json`: its type is `about:blank`, so its title is the status's.
#[derive(Serialize, ToSchema)]
struct Document<'a> {
    /// The status in words.
    title: &'a str,
    status: u16,
    /// What happened, why, and what to do.
    detail: &'a str,
    /// Each thing that is wrong, of several.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    #[schema(value_type = Vec<String>)]
    errors: &'a [String],
}

/// What a problem's document looks like.
pub(super) fn schema() -> RefOr<Schema> {
    Document::schema()
}

impl Problem {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            field: None,
        }
    }

    /// What happened, why, and what to do.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// With this field in its head.
    pub(super) fn with(self, name: HeaderName, value: &'static str) -> Self {
        Self {
            field: Some((name, value)),
            ..self
        }
    }

    /// 503 for several reasons.
    pub(super) fn listing(what: &str, errors: &[String]) -> Self {
        Self {
            errors: errors.to_vec(),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{what}: {}", errors.join("; ")),
            )
        }
    }

    /// An answer of axum's own, such as that a body is too long, as a problem; any other as it is.
    pub(super) async fn of(answer: Response) -> Response {
        let status = answer.status();
        let kind = answer.headers().get(header::CONTENT_TYPE);
        if !(status.is_client_error() || status.is_server_error()) || kind.is_some_and(|kind| kind == PROBLEM)
        {
            return answer;
        }
        let text = to_bytes(answer.into_body(), TEXT_BYTES_MAX)
            .await
            .unwrap_or_default();
        Self::new(status, String::from_utf8_lossy(&text)).into_response()
    }

    fn document(&self) -> Document<'_> {
        Document {
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
        }
    }

    /// The whole answer to a connection on which nothing is read.
    pub(super) fn to_http(&self) -> Vec<u8> {
        // Texts and a number can be written.
        let document = serde_json::to_string(&self.document()).unwrap_or_default();
        let (status, length) = (self.status, document.len());
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {PROBLEM}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{document}"
        )
        .into_bytes()
    }

    pub(super) fn ending() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending")
    }
}

impl From<NotDone> for Problem {
    fn from(NotDone { kind, reason, errors }: NotDone) -> Self {
        let status = match kind {
            NotDoneKind::Malformed => StatusCode::BAD_REQUEST,
            NotDoneKind::Forbidden => StatusCode::FORBIDDEN,
            NotDoneKind::Unknown => StatusCode::NOT_FOUND,
            NotDoneKind::Conflict => StatusCode::CONFLICT,
            NotDoneKind::NotAsExpected => StatusCode::PRECONDITION_FAILED,
            NotDoneKind::NothingExpected => StatusCode::PRECONDITION_REQUIRED,
            NotDoneKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            NotDoneKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self {
            errors,
            ..Self::new(status, reason.to_string())
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.document())).into_response();
        let kind = HeaderValue::from_static(PROBLEM);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response.extensions_mut().insert(Reason(self.detail));
        if let Some((name, value)) = self.field {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

/// What a core answers: JSON, or why there is no answer.
pub type Outcome = Result<ZeekString, NotDone>;

/// JSON, as the core has written it.
#[derive(Debug)]
pub struct Answer(pub Bytes);

impl From<ZeekString> for Answer {
    fn from(json: ZeekString) -> Self {
        Self(Bytes::from_owner(json))
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

/// What the body of a request says, or an answer, as JSON; on a thread for blocking work if it is long.
///
/// # Errors
///
/// 400, with the place in the body.
pub async fn read_body<T: DeserializeOwned + Send + 'static>(body: Bytes) -> Result<T, Problem> {
    if body.len() <= INLINE_BYTES_MAX {
        return read(&body);
    }
    let reads = spawn_blocking(move || read(&body));
    reads.await.unwrap_or_else(|_ending| Err(Problem::ending()))
}

/// What the query of a request says.
///
/// # Errors
///
/// 400, with what is wrong.
pub fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    let Query(wanted) = query.map_err(|error| {
        let reason = error
            .source()
            .map_or_else(|| error.body_text(), ToString::to_string);
        Problem::new(
            StatusCode::BAD_REQUEST,
            format!("the query cannot be read: {reason}"),
        )
    })?;
    Ok(wanted)
}

/// What a body says, as a JSON object.
///
/// # Errors
///
/// 400, with the place in the body.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let wrong = |reason: &str| {
        let detail = format!("the body cannot be read: {reason}");
        Problem::new(StatusCode::BAD_REQUEST, detail)
    };
    // serde takes an array for an object, by the order of its fields.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(wrong("it is a JSON array, and no object"));
    }
    serde_json::from_slice(body).map_err(|error| wrong(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use serde::{Deserialize, Deserializer};

    use super::*;

    /// The thread that has read it.
    #[derive(Debug)]
    struct ReadBy(thread::ThreadId);

    impl<'de> Deserialize<'de> for ReadBy {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer)?;
            Ok(Self(thread::current().id()))
        }
    }

    #[test]
    fn what_is_wrong_in_a_query_is_said_in_plain_words() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wanted {
            #[serde(rename = "last")]
            _last: usize,
        }
        for (asked, words) in [("lsat=5", "unknown field `lsat`"), ("last=x", "invalid digit")] {
            let uri = format!("/v1/events?{asked}").parse().unwrap();
            let problem = query(Query::<Wanted>::try_from_uri(&uri)).unwrap_err();
            assert_eq!(problem.status, StatusCode::BAD_REQUEST);
            let detail = problem.detail();
            assert!(
                detail.starts_with("the query cannot be read: ") && detail.contains(words),
                "{detail}"
            );
        }
    }

    #[tokio::test]
    async fn a_long_body_is_read_on_another_thread() {
        for (length, is_here) in [(INLINE_BYTES_MAX - 2, true), (INLINE_BYTES_MAX - 1, false)] {
            let body = format!("\"{}\"", "x".repeat(length));
            let ReadBy(thread) = read_body(body.into()).await.unwrap();
            assert_eq!(thread == thread::current().id(), is_here, "{length}");
        }
        let wrong = read_body::<String>("x".repeat(INLINE_BYTES_MAX + 1).into()).await;
        assert_eq!(wrong.unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
