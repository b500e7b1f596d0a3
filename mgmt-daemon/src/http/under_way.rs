//! What requests take of the daemon while they are under way: each token, certificate and user of the control socket's group has so much, and so leaves
//! others theirs. The daemon's user and root have as much as they want, but for [bodies](super::bodies).
//!
//! | limit | then |
//! |---|---|
//! | [`REQUESTS_OF_ONE_MAX`] requests of one under way; an event stream is not, once it has begun | a further one is refused |
//! | [`ANSWERS_BYTES_MAX`] bytes of answers that are not written yet, [`ANSWERS_OF_ONE_BYTES_MAX`] of one; short ones are not counted | a further one is refused |

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    Error, Extension,
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    http::{StatusCode, header::RETRY_AFTER},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::body::{Frame, SizeHint};
use mgmt_api::Principal;

use super::{
    answer::Problem,
    bodies::{Bodies, SHORT_BYTES_MAX, changes},
    shares::{Share, Shares},
};

const REQUESTS_OF_ONE_MAX: usize = 8;

const ANSWERS_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A longer answer takes all of these.
const ANSWERS_OF_ONE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How much of an answer is handed to the connection at a time, in bytes. That is not counted.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// What requests take. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct UnderWay {
    requests: Shares<String>,
    bodies: Bodies,
    answers: Shares<String>,
}

/// What one request takes until it is answered.
#[derive(Debug)]
pub(super) struct Taken {
    _place: Option<Share<String>>,
    _body: Option<Share<String>>,
    /// Who takes memory for the answer, if that is counted, and of what.
    answers: Option<(String, Shares<String>)>,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self {
            // Connections bound how many there are in all.
            requests: Shares::new(usize::MAX, REQUESTS_OF_ONE_MAX),
            bodies: Bodies::default(),
            answers: Shares::new(ANSWERS_BYTES_MAX, ANSWERS_OF_ONE_BYTES_MAX),
        }
    }
}

impl UnderWay {
    /// The request with its whole body, and what it takes until it is answered.
    pub(super) async fn begin(
        &self,
        principal: &Principal,
        request: Request,
    ) -> Result<(Request, Taken), Problem> {
        let counted = (!principal.is_own_user()).then(|| principal.name());
        let place = counted.clone().map(|who| self.place(who)).transpose()?;
        // Whether a change was made does not depend on whether it can be answered.
        let answers = counted.filter(|_| !changes(request.method()));
        let (request, body) = self.bodies.read(principal, request).await?;
        let taken = Taken {
            _place: place,
            _body: body,
            answers: answers.map(|who| (who, self.answers.clone())),
        };
        Ok((request, taken))
    }

    fn place(&self, who: String) -> Result<Share<String>, Problem> {
        self.requests.take(who, 1).ok_or_else(|| {
            busy(format!(
                "{REQUESTS_OF_ONE_MAX} requests of this token, certificate or user are under way, and it may have no more: try again when one of them is answered"
            ))
        })
    }
}

impl Taken {
    /// The request is answered. Memory for a long answer is taken until that is written.
    pub(super) fn end(self, answer: Response) -> Response {
        let length = answer.body().size_hint().exact();
        let length = length.map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
        let Some((who, answers)) = self.answers.filter(|_| length > SHORT_BYTES_MAX) else {
            return answer;
        };
        let Some(share) = answers.take(who, length.min(ANSWERS_OF_ONE_BYTES_MAX)) else {
            return busy(format!(
                "too many long answers are not read yet, of which one token, certificate or user may have {} MiB and all together {} MiB: try again later",
                ANSWERS_OF_ONE_BYTES_MAX >> 20,
                ANSWERS_BYTES_MAX >> 20
            ))
            .into_response();
        };
        answer.map(|body| {
            Body::new(Answered {
                body,
                rest: Bytes::new(),
                _share: share,
            })
        })
    }
}

fn busy(detail: String) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(RETRY_AFTER, "1")
}

/// Has a request on the control socket answered when its body is read.
pub(super) async fn answer(
    State(under_way): State<UnderWay>,
    Extension(principal): Extension<Principal>,
    request: Request,
    next: Next,
) -> Response {
    match under_way.begin(&principal, request).await {
        Ok((request, taken)) => taken.end(next.run(request).await),
        Err(problem) => problem.into_response(),
    }
}

/// The body of an answer, in pieces: the connection asks for the next one when the one before is written.
struct Answered {
    body: Body,
    /// What has come of the body, and was not asked for yet.
    rest: Bytes,
    _share: Share<String>,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES_MAX);
        // A copy: a part of it would keep all of it in memory.
        let piece = Bytes::copy_from_slice(&self.rest.split_to(length));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let of_body = self.body.size_hint().exact().unwrap_or_default();
        SizeHint::with_exact(self.rest.len() as u64 + of_body)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use axum::http::Method;
    use mgmt_api::{
        Proof, Transport,
        access::{Grant, Role},
    };
    use testkit::operator;

    use super::*;

    fn token(name: &str) -> Principal {
        Principal {
            transport: Transport::Http {
                by: Proof::Token { name: name.into() },
            },
            grant: Some(Grant::of(Role::Deploy, None)),
            ..operator()
        }
    }

    async fn begin(under_way: &UnderWay, principal: &Principal, method: Method) -> Result<Taken, Problem> {
        let request = Request::builder().method(method).body(Body::empty()).unwrap();
        Ok(under_way.begin(principal, request).await?.1)
    }

    async fn ask(under_way: &UnderWay, principal: &Principal) -> Result<Taken, Problem> {
        begin(under_way, principal, Method::GET).await
    }

    fn long() -> Response {
        vec![7; ANSWERS_OF_ONE_BYTES_MAX / 2].into_response()
    }

    #[tokio::test]
    async fn one_has_so_many_requests_under_way_and_leaves_others_theirs() {
        let under_way = UnderWay::default();
        let [greedy, other] = ["greedy", "other"].map(token);
        let mut taken = Vec::new();
        for _ in 0..REQUESTS_OF_ONE_MAX {
            taken.push(ask(&under_way, &greedy).await.unwrap());
        }
        let refused = ask(&under_way, &greedy).await.unwrap_err();
        assert!(
            refused.detail().starts_with("8 requests of this token"),
            "{refused:?}"
        );
        ask(&under_way, &other).await.unwrap();
        for _ in 0..=REQUESTS_OF_ONE_MAX {
            taken.push(ask(&under_way, &operator()).await.unwrap());
        }
        // What is answered is not under way, whether or not it is read.
        let _answer = taken.remove(0).end(long());
        ask(&under_way, &greedy).await.unwrap();
    }

    #[tokio::test]
    async fn answers_that_are_not_read_take_so_much_memory() {
        let under_way = UnderWay::default();
        let [greedy, other] = ["greedy", "other"].map(token);
        let answer =
            async |principal: &Principal, answer| ask(&under_way, principal).await.unwrap().end(answer);
        let mut unread = Vec::new();
        for _ in 0..2 {
            let answer = answer(&greedy, long()).await;
            assert_eq!(answer.status(), StatusCode::OK);
            unread.push(answer);
        }
        assert_eq!(
            answer(&greedy, long()).await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        let others = [
            answer(&other, long()).await,
            answer(&operator(), long()).await,
            answer(&greedy, vec![7; SHORT_BYTES_MAX].into_response()).await,
            // It is done.
            begin(&under_way, &greedy, Method::POST)
                .await
                .unwrap()
                .end(long()),
        ];
        assert!(others.iter().all(|answer| answer.status() == StatusCode::OK));
        // It is read in pieces, to its end.
        let mut body = unread.remove(0).into_body();
        let mut left = ANSWERS_OF_ONE_BYTES_MAX / 2;
        assert_eq!(body.size_hint().exact(), Some(left as u64));
        while !body.is_end_stream() {
            let frame = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
            let piece = frame.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE_BYTES_MAX);
            left -= piece.len();
        }
        assert_eq!(left, 0);
        drop(body);
        // The longest takes all that one has.
        drop(unread);
        let longest = answer(&greedy, vec![7; 2 * ANSWERS_OF_ONE_BYTES_MAX].into_response()).await;
        assert_eq!(longest.status(), StatusCode::OK);
        assert_eq!(
            answer(&greedy, long()).await.status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
    }
}
