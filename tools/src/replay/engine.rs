//! Gives the peer under test what was recorded, and collects what it sends.

mod compare;
mod copies;
mod matching;
mod unrecorded;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use broker_codec::{
    Envelope, EnvelopeKind, Topic, binary, control::ByeToken, data::ZeekString, json::DataMessage,
    zeek::Event,
};
use bytes::Bytes;
use mgmt_api::AgentMessage;

use self::copies::Copies;

use super::{
    capture::{Capture, Content, Message},
    history::{Incident, says},
    ids::Ids,
    judge::Judge,
    message::{EventMessage, encoded, event_of, event_of_text, is_of_extension},
    recording::Process,
    report::{Difference, Report},
    standin::Supervisor,
    subject::{Output, Subject},
};

/// How often time may jump to the next deadline to bring about what is awaited.
const JUMPS_MAX: usize = 16;

/// How many messages of a running peer may come on other connections before what is awaited.
const DETOURS_MAX: usize = 4096;

/// How long a running peer has at least to answer a request before the connection ends, if the recorded one did not answer it.
const ANSWER_TIME: Duration = Duration::from_secs(1);

pub(super) struct Engine<'a> {
    capture: &'a Capture,
    process: Arc<Process>,
    subject: &'a mut dyn Subject,
    report: &'a mut Report,
    ids: Ids,
    judge: Judge,
    /// Per connection, what was sent and has found no counterpart yet.
    queues: BTreeMap<usize, VecDeque<Sent>>,
    /// Whether the recorded agent has taken leave.
    is_stopped: bool,
    /// The connection on which the peer under test was given something last.
    cause: Option<usize>,
    /// Whether the recorded process has announced its end, and sends nothing more. What comes then comes too late for it.
    over: bool,
    frame: u64,
    /// How many messages of the capture have been looked at.
    position: usize,
    supervisor: Supervisor,
    copies: Copies,
    /// The ids of requests that have no counterpart in the recording.
    unrecorded: BTreeSet<ZeekString>,
}

/// Something that the peer under test has sent.
struct Sent {
    /// After which packet of the capture.
    after: u64,
    /// Because of something on which connection; none if because of the time.
    cause: Option<usize>,
    /// Whether something was taken for a counterpart that was sent later.
    overtaken: bool,
    what: Payload,
}

enum Payload {
    Handshake(Bytes),
    Event(EventMessage),
    Text(Bytes),
}

impl<'a> Engine<'a> {
    pub(super) fn new(
        capture: &'a Capture,
        process: Arc<Process>,
        subject: &'a mut dyn Subject,
        ids: Ids,
        strict: bool,
        report: &'a mut Report,
    ) -> Self {
        Self {
            copies: Copies::of(capture, &process),
            capture,
            judge: Judge::new(Arc::clone(&process), strict),
            process,
            subject,
            report,
            ids,
            queues: BTreeMap::new(),
            is_stopped: false,
            cause: None,
            over: false,
            frame: 0,
            position: 0,
            supervisor: Supervisor::default(),
            unrecorded: BTreeSet::new(),
        }
    }

    /// Replays everything, and reports what differs.
    pub(super) fn run(mut self) -> (Ids, Judge) {
        let (capture, process) = (self.capture, Arc::clone(&self.process));
        let mut closed = BTreeSet::new();
        for (position, message) in capture.messages.iter().enumerate() {
            if self.subject.gives_up() {
                break;
            }
            self.position = position;
            let number = message.connection;
            let Some(link) = process.links.get(&number) else {
                continue;
            };
            self.frame = message.frame;
            self.subject.at(message.time);
            match &message.content {
                Content::Envelope(envelope) if is_of_extension(envelope) && !link.plays_extension => {
                    self.exclude("messages of the extension");
                }
                // The end of a connection is the end for both sides.
                Content::Closed => {
                    let is_first = closed.insert(number);
                    if is_first && !self.over {
                        self.close(number, message.time);
                    }
                }
                Content::Opened if !self.over => self.release(message),
                _ if message.from == link.own => self.recorded(message),
                _ if !self.over => self.release(message),
                _ => {}
            }
        }
        self.remaining();
        if self.subject.is_running() {
            // Its peers leave it now, one after the other.
            self.judge.history.note(Incident::LostSupervisor);
        }
        self.subject.finish();
        self.fetch();
        self.remaining();
        (self.ids, self.judge)
    }

    fn close(&mut self, link: usize, now: Duration) {
        self.time_out(link, now);
        match self.process.links.get(&link) {
            Some(known) if known.is_supervisor => self.judge.history.note(Incident::LostSupervisor),
            Some(known) if known.peer.is_some() => self.judge.history.note(Incident::LostPeer),
            _ => {}
        }
        self.cause = Some(link);
        self.subject.closed(link);
        self.fetch();
    }

    /// Gives the peer under test what was recorded.
    fn release(&mut self, message: &Message) {
        let link = message.connection;
        self.cause = Some(link);
        match &message.content {
            Content::Opened => self.subject.opened(link),
            Content::Handshake(frame) => self.subject.handshake(link, frame),
            Content::Envelope(envelope) => {
                if let Some(event) = event_of(envelope) {
                    self.judge.history.received(link, &event, message.time);
                }
                let mut own = envelope.clone();
                if let Ok(recorded) = binary::decode(&own.payload)
                    && envelope.kind == EnvelopeKind::Data
                {
                    let data = self.ids.to_own(&recorded);
                    // What does not change stays as it was written.
                    own.payload = (data != recorded)
                        .then(|| encoded(&data))
                        .flatten()
                        .unwrap_or(own.payload);
                }
                let unrecorded = self.unrecorded.len();
                self.subject.envelope(link, own);
                self.fetch();
                self.await_unrecorded(link, envelope, unrecorded);
            }
            Content::Text(text) => {
                let own = DataMessage::decode(text).ok().and_then(|message| {
                    let data = self.ids.to_own(&message.data);
                    let is_changed = data != message.data;
                    is_changed.then(|| DataMessage { data, ..message }.encode().ok())?
                });
                if let Some((_, event)) = event_of_text(text) {
                    self.judge.history.received(link, &event, message.time);
                }
                let text = own.map_or_else(|| text.clone(), Bytes::from);
                self.subject.text(link, &text);
            }
            Content::Head(_) | Content::Control | Content::Closed => {}
        }
        self.fetch();
    }

    /// Puts what the peer under test has sent where it waits for its counterpart.
    fn fetch(&mut self) {
        loop {
            let outputs = std::mem::take(&mut self.subject.sent().outputs);
            if outputs.is_empty() {
                break;
            }
            for (link, output) in outputs {
                self.sent(link, output);
            }
        }
        for complaint in std::mem::take(&mut self.subject.sent().complaints) {
            self.report.differences.push(Difference {
                frame: Some(self.frame),
                event: complaint,
                ..Difference::default()
            });
        }
    }

    fn sent(&mut self, link: usize, output: Output) {
        let what = match output {
            Output::Handshake(frame) => Payload::Handshake(frame),
            Output::Text(text) => match EventMessage::of_text(&text) {
                Some(message) => Payload::Event(message),
                None => Payload::Text(text),
            },
            // No more compared than the recorded ones.
            Output::Envelope(envelope) if is_of_extension(&envelope) && !self.plays_extension(link) => return,
            Output::Envelope(envelope) => match EventMessage::of_envelope(&envelope) {
                Some(message) => {
                    self.stand_in(link, &message.event);
                    Payload::Event(message)
                }
                // Pongs and the like are no more compared than the recorded ones.
                None => return,
            },
        };
        if let Payload::Event(message) = &what {
            self.judge.history.answered(link, &message.event);
        }
        let (after, cause, overtaken) = (self.frame, self.cause, false);
        self.queues.entry(link).or_default().push_back(Sent {
            after,
            cause,
            overtaken,
            what,
        });
    }

    fn recorded(&mut self, message: &Message) {
        match &message.content {
            Content::Handshake(frame) => self.expect_handshake(message, frame),
            Content::Envelope(envelope) => self.recorded_envelope(message, envelope),
            Content::Text(text) => match EventMessage::of_text(text) {
                Some(event) => self.expect(message, event),
                None => self.expect_text(message, text),
            },
            Content::Opened | Content::Head(_) | Content::Control | Content::Closed => {}
        }
    }

    fn recorded_envelope(&mut self, message: &Message, envelope: &Envelope) {
        if envelope.kind == EnvelopeKind::Data {
            self.subject.proceed();
            self.fetch();
        }
        let is_control = envelope.topic == Topic::CONTROL;
        match envelope.kind {
            EnvelopeKind::Command => self.exclude("commands between stores"),
            EnvelopeKind::RoutingUpdate if is_control => self.exclude("routing updates"),
            EnvelopeKind::Ping if is_control => {
                if !self.over && ByeToken::decode(&envelope.payload).is_some() && !self.goes_on() {
                    for link in self.process.links.keys().copied().collect::<Vec<_>>() {
                        self.time_out(link, message.time);
                    }
                    self.over = true;
                }
                self.exclude("pings");
            }
            EnvelopeKind::Pong if is_control => self.exclude("pongs"),
            _ if envelope.topic.as_bytes().starts_with(b"zeek/logs/") => self.exclude("log messages"),
            _ => match EventMessage::of_envelope(envelope) {
                Some(event) if !self.is_ignored(&event.event) => self.expect(message, event),
                Some(_) => self.exclude("farewells: a running agent goes on"),
                None => {
                    let difference = self.difference(message, format!("message on {}", envelope.topic));
                    let note = "cannot be read as an event".into();
                    self.report.differences.push(Difference { note, ..difference });
                }
            },
        }
    }

    /// Stops an agent where the recorded one took leave, which nothing in the recording brings about. Whether the event said so and a
    /// running one goes on.
    fn is_ignored(&mut self, event: &Event) -> bool {
        let is_farewell = |message: AgentMessage| message.is_farewell();
        if !event.clone().parse().is_ok_and(is_farewell) {
            return false;
        }
        if !std::mem::replace(&mut self.is_stopped, true) {
            let without_nodes = event.args.iter().any(|arg| says(arg, "nodes have ended"));
            self.cause = None;
            self.subject.stopping(without_nodes);
            self.fetch();
        }
        self.subject.is_running()
    }

    fn plays_extension(&self, link: usize) -> bool {
        let known = self.process.links.get(&link);
        known.is_some_and(|known| known.plays_extension)
    }

    /// Whether the recorded process still says something after what is looked at, besides that it ends peerings.
    fn goes_on(&self) -> bool {
        let mut rest = self.capture.messages.iter().skip(self.position);
        rest.any(|message| {
            let known = self.process.links.get(&message.connection);
            let speaks = match &message.content {
                Content::Envelope(envelope) => envelope.kind == EnvelopeKind::Data,
                content => matches!(content, Content::Handshake(_) | Content::Text(_)),
            };
            speaks && known.is_some_and(|known| known.own == message.from)
        })
    }

    fn exclude(&mut self, what: &'static str) {
        *self.report.excluded.entry(what).or_default() += 1;
    }

    /// Lets time pass until the peer under test does something. `false` if it does nothing.
    fn wait(&mut self, link: usize) -> bool {
        self.cause = None;
        let goes_on = self.subject.wait(Some(link));
        self.fetch();
        goes_on
    }

    fn waits_max(&self) -> usize {
        if self.subject.is_running() {
            DETOURS_MAX
        } else {
            JUMPS_MAX
        }
    }

    /// Before a connection ends: lets requests on it time out that were made so long ago, for time stands still otherwise. A running
    /// peer has a clock of its own, and as much time for its answers as the recorded one had.
    fn time_out(&mut self, link: usize, now: Duration) {
        if self.subject.is_running() {
            while let Some(passed) = self.judge.history.oldest(link, now)
                && self.subject.linger(link, passed.max(ANSWER_TIME))
            {
                self.fetch();
            }
            return;
        }
        for _ in 0..JUMPS_MAX {
            if !self.judge.history.is_overdue(link, now) || !self.wait(link) {
                break;
            }
        }
    }

    fn difference(&self, message: &Message, event: String) -> Difference {
        Difference {
            frame: Some(message.frame),
            time: Some(message.time.as_secs_f64()),
            connection: self.connection(message.connection),
            event,
            ..Difference::default()
        }
    }

    /// A connection in words, from the point of view of the peer under test.
    fn connection(&self, link: usize) -> String {
        match self.process.links.get(&link) {
            Some(known) => {
                let own = known.addresses.of(known.own);
                let other = known.addresses.of(known.own.other());
                format!("connection {}, {own} to {} {other}", link + 1, known.with)
            }
            None => String::new(),
        }
    }
}
