//! The event stream: what has happened, as server-sent events, which a reader can resume after the last one that it has.
//!
//! | limit | then |
//! |---|---|
//! | [`EVENTS_MAX`] events are remembered | a reader that is further behind gets [`RESET`], and then what is remembered |
//! | [`READERS_MAX`] readers at a time, [`READERS_OF_ONE_MAX`] of one token, certificate or user; as many besides of the daemon's user and root on the control socket | a further one is refused |
//!
//! Readers fetch at their own pace; no event waits for one. They hear of clusters that they may read.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use broker_codec::data::Excerpt;
use futures_util::{Stream, stream::unfold};
use mgmt_api::{
    Principal,
    access::Role,
    operator::{Clusters, Event, RESET},
};
use mgmt_daemon::http::{
    Door, Lasting, Operator, Problem, Routes, Share, Shares,
    axum::{
        Extension,
        extract::{Query, rejection::QueryRejection},
        http::{HeaderMap, HeaderValue, StatusCode},
        response::sse::{Event as Sent, Sse},
    },
    query, read, utoipa,
};
use serde::Deserialize;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{core::may_read, request::Request};

/// How many events are remembered.
const EVENTS_MAX: usize = 10_000;

/// How many readers there may be at a time.
const READERS_MAX: usize = 32;

/// How many of them may be of one token, certificate, or user of the control socket's group.
const READERS_OF_ONE_MAX: usize = 8;

/// How long a stream is silent at most. A reader that hears nothing for longer has lost it.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// What has happened lately.
#[derive(Clone, Debug)]
pub(crate) struct Feed(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Tells the ids of this run of the controller from those of another.
    run: u64,
    kept: Mutex<Kept>,
    /// How many events there have been: readers wait for the next.
    count: watch::Sender<u64>,
    /// For all readers but the daemon's own user and root, who so find theirs.
    of_others: Shares<String>,
    of_own_users: Shares<String>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The number of the first of these.
    first: u64,
    events: VecDeque<Arc<Event>>,
}

impl Kept {
    fn end(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    /// The first event from this number on that a reader is to hear, with its number.
    fn from(&self, number: u64, heard: impl Fn(&Event) -> bool) -> Option<(u64, Arc<Event>)> {
        let skipped = usize::try_from(number.saturating_sub(self.first)).ok()?;
        let numbered = (self.first..).zip(&self.events).skip(skipped);
        let mut heard = numbered.filter(|(_, event)| heard(event));
        heard.next().map(|(number, event)| (number, Arc::clone(event)))
    }
}

/// What a reader wants to hear.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// Only of this cluster.
    cluster: Option<String>,
    /// So many of the past, at most.
    #[serde(default)]
    last: usize,
}

impl Wanted {
    fn has(&self, event: &Event) -> bool {
        self.cluster
            .as_ref()
            .is_none_or(|cluster| *cluster == event.cluster)
    }
}

impl Feed {
    /// None have happened in this run of the controller, which no other has the number of.
    pub(crate) fn new(run: u64) -> Self {
        Self(Arc::new(Shared {
            run,
            kept: Mutex::default(),
            count: watch::channel(0).0,
            of_others: Shares::new(READERS_MAX, READERS_OF_ONE_MAX),
            of_own_users: Shares::new(READERS_MAX, READERS_MAX),
        }))
    }

    pub(crate) fn push(&self, event: Event) {
        let mut kept = self.kept();
        if kept.events.len() == EVENTS_MAX {
            kept.events.pop_front();
            kept.first += 1;
        }
        kept.events.push_back(Arc::new(event));
        self.0.count.send_replace(kept.end());
    }

    /// The latest events of these that a reader may hear of, the last one first.
    pub(crate) fn last(
        &self,
        reader: &Principal,
        count: usize,
        wanted: impl Fn(&Event) -> bool,
    ) -> Vec<Arc<Event>> {
        let kept = self.kept();
        let heard = kept.events.iter().rev();
        let heard = heard.filter(|event| wanted(event) && may_read(reader, &event.cluster));
        heard.take(count).cloned().collect()
    }

    fn reader(self, wanted: Wanted, principal: Principal, last_id: Option<&[u8]>) -> Result<Reader, Problem> {
        let places = if principal.is_own_user() {
            &self.0.of_own_users
        } else {
            &self.0.of_others
        };
        let place = places.take(principal.name(), 1).ok_or_else(|| {
            let reason = format!(
                "{READERS_MAX} readers follow events already, or {READERS_OF_ONE_MAX} by this token, certificate or user: end one, or try again later"
            );
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, reason)
        })?;
        let mut reader = Reader {
            woken: self.0.count.subscribe(),
            next: None,
            feed: self,
            wanted,
            principal,
            _place: place,
        };
        reader.next = match last_id {
            Some(id) => reader.feed.number_after(id),
            None => Some(reader.begin()),
        };
        Ok(reader)
    }

    /// The number after this id; none if it is not of this run.
    fn number_after(&self, id: &[u8]) -> Option<u64> {
        let (run, number) = std::str::from_utf8(id).ok()?.split_once('-')?;
        let number: u64 = number.parse().ok()?;
        let is_ours = run.parse() == Ok(self.0.run) && number < self.kept().end();
        is_ours.then(|| number + 1)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn routes(feed: Feed) -> Routes<Door<Request>> {
    mgmt_daemon::routes!(events).map(|router| router.layer(Extension(feed)))
}

/// What happens, as server-sent events
///
/// Each has an id, the kind of an `Event`, and that as its data. `reset` says that events are missing before what comes next. Clusters that one may not read are left out.
#[utoipa::path(
    get,
    path = "/v1/events",
    params(
        Wanted,
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the reader has: the stream goes on after it"),
    ),
    responses(
        (status = 200, description = "The stream, which does not end by itself", body = String, content_type = "text/event-stream"), (status = 404)),
)]
async fn events(
    operator: Operator<Request>,
    Extension(feed): Extension<Feed>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    Extension(lasting): Extension<Lasting>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Sent, Infallible>> + use<>>, Problem> {
    let wanted = query(wanted)?;
    let last_id = headers.get("last-event-id");
    if let Some(cluster) = &wanted.cluster {
        principal.check(Role::Read, Some(cluster))?;
        let answer = operator.for_several().asks(Request::Clusters).await?;
        let all: Clusters = read(&answer.0)?;
        if !all.clusters.iter().any(|known| known.cluster == *cluster) {
            let reason = format!("there is no cluster {}", Excerpt::new(cluster.as_bytes()));
            return Err(Problem::new(StatusCode::NOT_FOUND, reason));
        }
    }
    let reader = feed.reader(wanted, principal, last_id.map(HeaderValue::as_bytes))?;
    Ok(Sse::new(unfold(
        (reader, lasting),
        async |(mut reader, lasting)| {
            lasting.goes_on();
            let sent = reader.next().await.sent(reader.feed.0.run);
            Some((Ok(sent), (reader, lasting)))
        },
    )))
}

/// What a reader hears next.
#[derive(Debug)]
enum Next {
    Event(u64, Arc<Event>),
    /// Events are missing before what comes next.
    Reset,
    /// Nothing has happened for so long.
    Silence,
}

impl Next {
    fn sent(self, run: u64) -> Sent {
        match self {
            Self::Event(number, event) => {
                let sent = Sent::default().id(format!("{run}-{number}"));
                // Of names and words, all of it can be written.
                let sent = sent.event(event.kind.to_string()).json_data(&*event);
                sent.unwrap_or_default()
            }
            Self::Reset => Sent::default().event(RESET).data(""),
            Self::Silence => Sent::default().comment(""),
        }
    }
}

#[derive(Debug)]
struct Reader {
    feed: Feed,
    wanted: Wanted,
    principal: Principal,
    /// The number of the event that comes next; none if what the reader has is not known.
    next: Option<u64>,
    woken: watch::Receiver<u64>,
    _place: Share<String>,
}

impl Reader {
    /// Whether it wants to hear of an event, and may.
    fn hears(&self, event: &Event) -> bool {
        self.wanted.has(event) && may_read(&self.principal, &event.cluster)
    }

    /// Where it begins if it has none.
    fn begin(&self) -> u64 {
        let kept = self.feed.kept();
        let past = kept.events.iter().enumerate().rev();
        let past = past.filter(|(_, event)| self.hears(event));
        past.take(self.wanted.last)
            .last()
            .map_or(kept.end(), |(place, _)| kept.first + place as u64)
    }

    async fn next(&mut self) -> Next {
        let silent_until = Instant::now() + SILENCE_MAX;
        loop {
            self.woken.mark_unchanged();
            if let Some(next) = self.fetch() {
                return next;
            }
            tokio::select! {
                _ = self.woken.changed() => {}
                () = sleep_until(silent_until) => return Next::Silence,
            }
        }
    }

    fn fetch(&mut self) -> Option<Next> {
        let kept = self.feed.kept();
        let Some(next) = self.next.filter(|next| *next >= kept.first) else {
            self.next = Some(kept.first);
            return Some(Next::Reset);
        };
        let found = kept.from(next, |event| self.hears(event));
        self.next = Some(found.as_ref().map_or(kept.end(), |(number, _)| number + 1));
        found.map(|(number, event)| Next::Event(number, event))
    }
}

#[cfg(test)]
mod tests;
