//! Releases what was recorded to the peer under test, and compares what that sends with what was recorded.

mod alone;
mod compare;
mod overdue;
mod patience;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use broker_codec::{
    Data, Envelope, EnvelopeKind, binary, control::ByeToken, data::ZeekString,
    handshake::Message as Handshake, json::DataMessage, zeek::Event,
};
use bytes::Bytes;

use super::{
    capture::{Capture, Content, Message},
    ids::Ids,
    json,
    recording::{Life, event_of, event_of_text},
    report::{Difference, Report, shown},
    standin::Supervisor,
    statement::{ACK, SPACES, Statement, Value, encoded, is_burst, kind_of_text, lossy},
    subject::{Output, Subject},
    waivers::{Deviation, Ledger},
};

use overdue::Questions;
use patience::{Debts, HELLOS, REPETITIONS, is_hello};

/// How often time may jump to the next deadline to bring about what is awaited.
const WAITS_MAX: usize = 16;

/// How much a running peer may say on other connections before what is awaited.
const DETOURS_MAX: usize = 4096;

/// The replay of one life.
pub(super) struct Engine<'a> {
    pub(super) capture: &'a Capture,
    pub(super) life: Arc<Life>,
    pub(super) subject: &'a mut dyn Subject,
    pub(super) ledger: &'a mut Ledger,
    pub(super) report: &'a mut Report,
    pub(super) ids: Ids,
    queues: BTreeMap<usize, VecDeque<Sent>>,
    /// What was sent before others that are recorded before it.
    early: BTreeMap<usize, Vec<Sent>>,
    /// Whether the recorded process has said that it ends. What comes then comes too late for it.
    over: bool,
    frame: u64,
    /// How many messages of the capture have been looked at.
    position: usize,
    supervisor: Supervisor,
    /// The ids of requests that have no counterpart in the recording.
    unrecorded: BTreeSet<ZeekString>,
    /// What a running peer can be waited for to say.
    debts: Debts,
    questions: Questions,
}

/// What the peer under test has sent and was not compared yet.
struct Sent {
    /// After which packet of the capture.
    after: u64,
    what: Said,
}

enum Said {
    Handshake(Bytes),
    Event(Statement),
    Text(Bytes),
}

impl<'a> Engine<'a> {
    pub(super) fn new(
        capture: &'a Capture,
        life: Arc<Life>,
        subject: &'a mut dyn Subject,
        ledger: &'a mut Ledger,
        report: &'a mut Report,
    ) -> Self {
        Self {
            capture,
            life,
            subject,
            ledger,
            report,
            ids: Ids::default(),
            queues: BTreeMap::new(),
            early: BTreeMap::new(),
            over: false,
            frame: 0,
            position: 0,
            supervisor: Supervisor::default(),
            unrecorded: BTreeSet::new(),
            debts: Debts::default(),
            questions: Questions::default(),
        }
    }

    /// Replays everything, and reports what differs.
    pub(super) fn run(&mut self) {
        let (capture, life) = (self.capture, Arc::clone(&self.life));
        let mut closed = BTreeSet::new();
        for (position, message) in capture.messages.iter().enumerate() {
            if self.subject.gives_up() {
                return;
            }
            self.position = position;
            let Some(link) = life.links.get(&message.connection) else {
                continue;
            };
            let number = message.connection;
            self.frame = message.frame;
            match message.content {
                // Whoever closes first: the end of a connection is the end for both.
                Content::Closed => {
                    let first = closed.insert(number);
                    if first && !self.over {
                        self.time_out(number, message.time);
                        self.subject.closed(number);
                        self.fetch();
                    }
                }
                Content::Opened if !self.over => self.release(message),
                _ if message.from == link.own => self.recorded(message),
                _ if !self.over => self.release(message),
                _ => {}
            }
        }
        self.leftovers();
    }

    /// Lets the peer under test hear what was recorded.
    fn release(&mut self, message: &Message) {
        let link = message.connection;
        match &message.content {
            Content::Opened => {
                if self
                    .life
                    .links
                    .get(&link)
                    .is_some_and(|known| known.peer.is_some())
                {
                    self.debts.peered(link);
                }
                self.subject.opened(link);
            }
            Content::Handshake(frame) => self.subject.handshake(link, frame),
            Content::Envelope(envelope) => {
                self.debts.asked(envelope);
                if let Some(event) = event_of(envelope) {
                    self.questions.heard(link, &event, message.time);
                }
                let own = (envelope.kind == EnvelopeKind::Data)
                    .then(|| binary::decode(&envelope.payload).ok())
                    .flatten()
                    .and_then(|data| self.ids.to_own(&data))
                    .and_then(|data| encoded(&data));
                let payload = own.unwrap_or_else(|| envelope.payload.clone());
                let unrecorded = self.unrecorded.len();
                self.subject.envelope(
                    link,
                    Envelope {
                        payload,
                        ..envelope.clone()
                    },
                );
                self.fetch();
                self.await_unrecorded(link, envelope, unrecorded);
            }
            Content::Text(text) => {
                let own = DataMessage::decode(text).ok().and_then(|message| {
                    let data = self.ids.to_own(&message.data)?;
                    DataMessage { data, ..message }.encode().ok()
                });
                if let Some((_, event)) = event_of_text(text) {
                    self.questions.heard(link, &event, message.time);
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
            let outputs = self.subject.outputs();
            if outputs.is_empty() {
                break;
            }
            for (link, output) in outputs {
                self.sent(link, output);
            }
        }
        for complaint in self.subject.complaints() {
            self.report.differences.push(Difference {
                frame: Some(self.frame),
                event: complaint,
                ..Difference::default()
            });
        }
    }

    fn sent(&mut self, link: usize, output: Output) {
        let what = match output {
            Output::Handshake(frame) => Said::Handshake(frame),
            Output::Text(text) => match Statement::of_text(&text) {
                Some(statement) => Said::Event(statement),
                None => Said::Text(text),
            },
            Output::Envelope(envelope) => match Statement::of_envelope(&envelope) {
                Some(statement) => {
                    self.stand_in(link, &statement.event);
                    Said::Event(statement)
                }
                // Pongs and the like are no more compared than the recorded ones.
                None => return,
            },
        };
        if let Said::Event(statement) = &what {
            self.questions.said(link, &statement.event);
        }
        let after = self.frame;
        self.queues
            .entry(link)
            .or_default()
            .push_back(Sent { after, what });
    }

    /// What the recorded peer sent.
    fn recorded(&mut self, message: &Message) {
        match &message.content {
            Content::Handshake(frame) => self.expect_handshake(message, frame),
            Content::Envelope(envelope) => match envelope.kind {
                EnvelopeKind::Data => {
                    self.subject.proceed();
                    self.fetch();
                    match Statement::of_envelope(envelope) {
                        Some(statement) => self.expect(message, statement),
                        None => self.exclude("log messages"),
                    }
                }
                EnvelopeKind::Command => self.exclude("commands between stores"),
                EnvelopeKind::RoutingUpdate => self.exclude("routing updates"),
                EnvelopeKind::Ping => {
                    if !self.over && ByeToken::decode(&envelope.payload).is_some() {
                        for link in self.life.links.keys().copied().collect::<Vec<_>>() {
                            self.time_out(link, message.time);
                        }
                        self.over = true;
                    }
                    self.exclude("pings");
                }
                EnvelopeKind::Pong => self.exclude("pongs"),
            },
            Content::Text(text) => match Statement::of_text(text) {
                Some(statement) => self.expect(message, statement),
                None => self.expect_text(message, text),
            },
            Content::Opened | Content::Head(_) | Content::Control | Content::Closed => {}
        }
    }

    fn exclude(&mut self, what: &'static str) {
        *self.report.excluded.entry(what).or_default() += 1;
    }

    /// The next thing that the peer under test has sent on a connection, once there is one.
    fn awaited(&mut self, link: usize) -> Option<&Sent> {
        let waits = if self.subject.is_running() {
            DETOURS_MAX
        } else {
            WAITS_MAX
        };
        for _ in 0..waits {
            if !self.is_empty(link) || !self.subject.wait(Some(link)) {
                break;
            }
            self.fetch();
        }
        self.queues.get(&link)?.front()
    }

    fn is_empty(&self, link: usize) -> bool {
        self.queues.get(&link).is_none_or(VecDeque::is_empty)
    }

    fn expect_handshake(&mut self, message: &Message, recorded: &Bytes) {
        if self.subject.is_running() {
            self.exclude("handshake messages: the peer has its own endpoint");
            return;
        }
        let in_words = |frame: &Bytes| match Handshake::decode(frame) {
            Ok(message) => format!("{message:?}"),
            Err(error) => error.to_string(),
        };
        let front = self
            .queues
            .get_mut(&message.connection)
            .and_then(|queue| next_if(queue, |what| matches!(what, Said::Handshake(_))));
        let got = match &front {
            Some(Sent {
                what: Said::Handshake(frame),
                ..
            }) if frame == recorded => {
                self.report.compared.handshakes += 1;
                return;
            }
            Some(Sent {
                what: Said::Handshake(frame),
                ..
            }) => in_words(frame),
            _ => "nothing".into(),
        };
        let difference = self.difference(message, "handshake".into());
        self.report
            .differences
            .push(difference.between(in_words(recorded), got));
    }

    /// An acknowledgement or an error message.
    fn expect_text(&mut self, message: &Message, recorded: &Bytes) {
        let link = message.connection;
        let name = kind_of_text(recorded);
        let spaced = json::has_spaces(recorded);
        let expected = if spaced {
            json::without_spaces(recorded)
        } else {
            recorded.clone()
        };
        if self.is_empty(link) {
            if self.waive(&Deviation::Missing(name.into())) {
                return;
            }
            self.awaited(link);
        }
        let front = self
            .queues
            .get_mut(&link)
            .and_then(|queue| next_if(queue, |what| matches!(what, Said::Text(_))));
        let got = match front {
            Some(Sent {
                what: Said::Text(text),
                ..
            }) => text,
            _ if self.waive(&Deviation::Missing(name.into())) => return,
            _ => {
                let difference = self.difference(message, name.into());
                self.report
                    .differences
                    .push(difference.between(lossy(&expected), "nothing"));
                return;
            }
        };
        let both_ack = || name == ACK && kind_of_text(&got) == ACK;
        if got == expected {
            self.report.compared.texts += 1;
            if spaced {
                self.exclude(SPACES);
            }
        } else if self.subject.is_running() && both_ack() {
            // It has its own id and version.
            self.exclude("acknowledgements: the peer has its own id and version");
        } else {
            let difference = self.difference(message, name.into());
            self.report
                .differences
                .push(difference.between(lossy(&expected), lossy(&got)));
        }
    }

    /// The recorded peer sent this event.
    fn expect(&mut self, message: &Message, recorded: Statement) {
        let link = message.connection;
        let name = recorded.event.name.to_string();
        if let Some(statement) = self.take_early(link, &recorded) {
            self.compare(message, recorded, statement);
            return;
        }
        let owed = self.debts.settle(link, &recorded.event);
        if !owed && self.subject.is_running() && is_hello(&recorded.event.name) {
            self.exclude(HELLOS);
            return;
        }
        loop {
            let may_come = owed && self.subject.is_running();
            if !may_come && self.is_empty(link) && self.waive(&Deviation::Missing(name.clone())) {
                return;
            }
            self.awaited(link);
            self.await_rest_of_burst(link, &recorded);
            let Some(position) = self.position(link, &recorded) else {
                if self.waive(&Deviation::Missing(name.clone())) {
                    return;
                }
                let difference = self.difference(message, name);
                self.report.differences.push(Difference {
                    note: "was not sent".into(),
                    ..difference
                });
                return;
            };
            let Some(sent) = self
                .queues
                .get_mut(&link)
                .and_then(|queue| queue.remove(position))
            else {
                return;
            };
            let Said::Event(statement) = sent.what else {
                self.extra(link, &sent);
                continue;
            };
            if statement.event.name == recorded.event.name && !self.is_unrecorded(&statement.event) {
                if self.is_repetition(&statement.event, &recorded.event)
                    && self.waive(&Deviation::Missing(name.clone()))
                {
                    self.exclude(REPETITIONS);
                    return;
                }
                self.compare(message, recorded, statement);
                return;
            }
            let other = statement.event.name.to_string();
            if self.waive(&Deviation::Extra(other.clone())) {
                continue;
            }
            if self.waive(&Deviation::Early(other)) {
                let what = Said::Event(statement);
                let after = sent.after;
                self.early.entry(link).or_default().push(Sent { after, what });
                continue;
            }
            let comes_later = self.queues.get(&link).is_some_and(|queue| {
                queue.iter().any(|later| {
                    matches!(&later.what, Said::Event(later)
                        if later.event.name == recorded.event.name && !self.is_unrecorded(&later.event))
                })
            });
            let sent = Sent {
                after: sent.after,
                what: Said::Event(statement),
            };
            if comes_later {
                self.extra(link, &sent);
                continue;
            }
            // What was sent may be what is recorded next.
            let waived = self.waive(&Deviation::Missing(name.clone()));
            if !waived {
                let instead = match &sent.what {
                    Said::Event(statement) => statement.event.name.to_string(),
                    _ => String::new(),
                };
                let difference = self.difference(message, name);
                self.report.differences.push(Difference {
                    note: format!("was not sent; what comes next is {instead}"),
                    ..difference
                });
            }
            self.queues.entry(link).or_default().push_front(sent);
            return;
        }
    }

    fn is_unrecorded(&self, event: &Event) -> bool {
        matches!(event.args.first(), Some(Data::String(reqid)) if self.unrecorded.contains(reqid))
    }

    /// What was sent too early and is due now.
    fn take_early(&mut self, link: usize, recorded: &Statement) -> Option<Statement> {
        let early = self.early.get_mut(&link)?;
        let due = early.iter().position(
            |sent| matches!(&sent.what, Said::Event(statement) if statement.event.name == recorded.event.name),
        )?;
        match early.remove(due).what {
            Said::Event(statement) => Some(statement),
            Said::Handshake(_) | Said::Text(_) => None,
        }
    }

    /// Which of the events that wait is the counterpart: the first, or in a burst of requests to the Supervisor, whose order
    /// is that of a hash table, the one about the same node.
    fn position(&self, link: usize, recorded: &Statement) -> Option<usize> {
        let queue = self.queues.get(&link).filter(|queue| !queue.is_empty())?;
        let name = &recorded.event.name;
        if !is_burst(name) {
            return Some(0);
        }
        let mut best: Option<(u8, usize)> = None;
        for (position, sent) in queue.iter().enumerate() {
            let Said::Event(statement) = &sent.what else {
                break;
            };
            if statement.event.name != *name || self.is_unrecorded(&statement.event) {
                // What comes before the burst is not part of it.
                if position == 0 {
                    break;
                }
                if self
                    .ledger
                    .can_take(&Deviation::Extra(statement.event.name.to_string()))
                {
                    continue;
                }
                break;
            }
            let likeness = self.likeness(statement, recorded);
            if best.is_none_or(|(other, _)| likeness > other) {
                best = Some((likeness, position));
            }
        }
        Some(best.map_or(0, |(_, position)| position))
    }

    fn likeness(&self, statement: &Statement, recorded: &Statement) -> u8 {
        let reqid = |statement: &Statement| match statement.event.args.first() {
            Some(Data::String(reqid)) => Some(reqid.clone()),
            _ => None,
        };
        let bound = reqid(statement).and_then(|reqid| self.ids.recorded(&reqid).cloned());
        if bound.is_some() {
            return if bound == reqid(recorded) { 4 } else { 0 };
        }
        match (statement.event.args.get(1), recorded.event.args.get(1)) {
            (Some(own), Some(other)) if own == other => 3,
            // The node has the same name.
            (Some(Data::Vector(own)), Some(Data::Vector(other))) if own.first() == other.first() => 2,
            _ => 1,
        }
    }

    /// What was sent and has no counterpart in the recording.
    fn extra(&mut self, link: usize, sent: &Sent) {
        let (event, content) = match &sent.what {
            Said::Handshake(_) => ("handshake".into(), None),
            Said::Text(text) => (kind_of_text(text).into(), Some(lossy(text))),
            Said::Event(statement) => {
                let args = statement.event.args.iter().map(|arg| Value(arg).to_string());
                (
                    statement.event.name.to_string(),
                    Some(super::report::listed(args)),
                )
            }
        };
        if !matches!(sent.what, Said::Handshake(_)) && self.waive(&Deviation::Extra(event.clone())) {
            return;
        }
        self.report.differences.push(Difference {
            frame: Some(sent.after),
            connection: self.connection(link),
            event,
            got: content.map(|content| shown(&content)),
            note: "was sent after this frame and is not recorded".into(),
            ..Difference::default()
        });
    }

    fn leftovers(&mut self) {
        self.remaining();
        // What is waived is known to come.
        while self.subject.is_running() && self.ledger.awaits_extra() && self.subject.wait(None) {
            self.fetch();
            self.remaining();
        }
        self.subject.finish();
        self.fetch();
        self.remaining();
    }

    /// What was sent and nobody has asked for.
    fn remaining(&mut self) {
        let queues = std::mem::take(&mut self.queues).into_iter();
        let queues = queues.map(|(link, queue)| (link, queue.into()));
        for (link, sent) in queues.chain(std::mem::take(&mut self.early)) {
            for sent in sent {
                self.extra(link, &sent);
            }
        }
    }

    fn waive(&mut self, deviation: &Deviation) -> bool {
        self.ledger.take(deviation)
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
        match self.life.links.get(&link) {
            Some(known) => {
                let own = known.addresses.of(known.own);
                let other = known.addresses.of(known.own.other());
                format!("connection {}, {own} to {} {other}", link + 1, known.with)
            }
            None => String::new(),
        }
    }
}

fn next_if(queue: &mut VecDeque<Sent>, is: impl Fn(&Said) -> bool) -> Option<Sent> {
    queue
        .front()
        .is_some_and(|sent| is(&sent.what))
        .then(|| queue.pop_front())?
}
