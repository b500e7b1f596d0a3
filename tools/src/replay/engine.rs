//! Releases what was recorded to the peer under test, and compares what that sends with what was recorded.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use broker_codec::{
    Data, Envelope, EnvelopeKind, binary, control::ByeToken, handshake::Message as Handshake,
    json::DataMessage, zeek::Event,
};
use bytes::Bytes;

use super::{
    capture::{Capture, Content, Message},
    ids::Ids,
    json,
    names::{Mismatch, mismatches, without_indices},
    recording::Life,
    report::{Difference, Report, shown},
    statement::{
        ACK, Form, SPACES, Statement, Value, encoded, is_burst, is_unordered, kind_of_text, lossy,
        lossy_or_hex,
    },
    subject::{Output, Subject},
    waivers::{Deviation, Ledger},
};

/// How often time may jump to the next deadline to bring about what is awaited.
const WAITS_MAX: usize = 16;

/// The replay of one life.
pub(super) struct Engine<'a> {
    pub(super) capture: &'a Capture,
    pub(super) life: Arc<Life>,
    pub(super) subject: &'a mut dyn Subject,
    pub(super) ledger: &'a mut Ledger,
    pub(super) report: &'a mut Report,
    pub(super) ids: Ids,
    queues: BTreeMap<usize, VecDeque<Sent>>,
    /// Whether the recorded process has said that it ends. What comes then comes too late for it.
    over: bool,
    frame: u64,
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
            over: false,
            frame: 0,
        }
    }

    /// Replays everything, and reports what differs.
    pub(super) fn run(&mut self) {
        let (capture, life) = (self.capture, Arc::clone(&self.life));
        let mut closed = BTreeSet::new();
        for message in &capture.messages {
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
            Content::Opened => self.subject.opened(link),
            Content::Handshake(frame) => self.subject.handshake(link, frame),
            Content::Envelope(envelope) => {
                let own = (envelope.kind == EnvelopeKind::Data)
                    .then(|| binary::decode(&envelope.payload).ok())
                    .flatten()
                    .and_then(|data| self.ids.to_own(&data))
                    .and_then(|data| encoded(&data));
                let payload = own.unwrap_or_else(|| envelope.payload.clone());
                self.subject.envelope(
                    link,
                    Envelope {
                        payload,
                        ..envelope.clone()
                    },
                );
            }
            Content::Text(text) => {
                let own = DataMessage::decode(text).ok().and_then(|message| {
                    let data = self.ids.to_own(&message.data)?;
                    DataMessage { data, ..message }.encode().ok()
                });
                let text = own.map_or_else(|| text.clone(), Bytes::from);
                self.subject.text(link, &text);
            }
            Content::Head(_) | Content::Control | Content::Closed => {}
        }
        self.fetch();
    }

    /// Puts what the peer under test has sent where it waits for its counterpart.
    fn fetch(&mut self) {
        for (link, output) in self.subject.outputs() {
            let what = match output {
                Output::Handshake(frame) => Said::Handshake(frame),
                Output::Text(text) => match Statement::of_text(&text) {
                    Some(statement) => Said::Event(statement),
                    None => Said::Text(text),
                },
                Output::Envelope(envelope) => match Statement::of_envelope(&envelope) {
                    Some(statement) => Said::Event(statement),
                    // Pongs and the like are no more compared than the recorded ones.
                    None => continue,
                },
            };
            let after = self.frame;
            self.queues
                .entry(link)
                .or_default()
                .push_back(Sent { after, what });
        }
        for complaint in self.subject.complaints() {
            self.report.differences.push(Difference {
                frame: Some(self.frame),
                event: complaint,
                ..Difference::default()
            });
        }
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
                    self.over |= ByeToken::decode(&envelope.payload).is_some();
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
        for _ in 0..WAITS_MAX {
            if !self.is_empty(link) || !self.subject.wait(link) {
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
        if !self.subject.shows_handshakes() {
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
        } else if !self.subject.shows_handshakes() && both_ack() {
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
        loop {
            if self.is_empty(link) && self.waive(&Deviation::Missing(name.clone())) {
                return;
            }
            self.awaited(link);
            let Some(position) = self.position(link, &recorded) else {
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
            if statement.event.name == recorded.event.name {
                self.compare(message, recorded, statement);
                return;
            }
            let extra = Deviation::Extra(statement.event.name.to_string());
            if self.waive(&extra) {
                continue;
            }
            let comes_later = self.queues.get(&link).is_some_and(|queue| {
                queue.iter().any(|later| {
                    matches!(&later.what, Said::Event(later) if later.event.name == recorded.event.name)
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
            if statement.event.name != *name {
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

    fn compare(&mut self, message: &Message, recorded: Statement, sent: Statement) {
        let name = recorded.event.name.to_string();
        let mut recorded = recorded;
        if matches!(&recorded.event.metadata, Some(metadata) if !metadata.is_empty())
            && sent.event.metadata.as_ref().is_none_or(Vec::is_empty)
        {
            // Zeek 6.0 to 7.2 say what time it is.
            self.exclude("network timestamps in events");
            let event = Event {
                metadata: sent.event.metadata.clone(),
                ..recorded.event.clone()
            };
            recorded = recorded.with(event);
        }
        if recorded.form == Form::Json && json::has_spaces(&recorded.bytes) {
            self.exclude(SPACES);
            recorded.bytes = json::without_spaces(&recorded.bytes);
        }
        let mut differences = Vec::new();
        if let Err(taken) = self.learn_id(&recorded.event, &sent.event) {
            let difference = self.difference(message, name.clone());
            self.report.differences.push(Difference {
                path: "reqid".into(),
                note: taken,
                ..difference
            });
            return;
        }
        let sent = match self.ids.to_recorded(&Data::Vector(sent.event.args.clone())) {
            Some(Data::Vector(args)) => sent.with(Event {
                args,
                ..sent.event.clone()
            }),
            _ => sent,
        };
        if sent.topic != recorded.topic {
            differences.push((
                "topic".to_owned(),
                recorded.topic.to_string(),
                sent.topic.to_string(),
            ));
        }
        if sent.ttl != recorded.ttl {
            differences.push(("ttl".into(), recorded.ttl.to_string(), sent.ttl.to_string()));
        }
        if sent.event.metadata != recorded.event.metadata {
            differences.push((
                "metadata".into(),
                format!("{:?}", recorded.event.metadata),
                format!("{:?}", sent.event.metadata),
            ));
        }
        let alike = sent.bytes == recorded.bytes;
        if !alike {
            for Mismatch { path, expected, got } in
                mismatches(&recorded.event.name, &recorded.event.args, &sent.event.args)
            {
                let in_words =
                    |data: Option<Data>| data.map_or_else(|| "nothing".into(), |data| shown(&Value(&data)));
                differences.push((path, in_words(expected), in_words(got)));
            }
        }
        if !alike && differences.is_empty() && !is_unordered(&recorded.event.name) {
            differences.push((
                "the order of values".into(),
                lossy_or_hex(&recorded),
                lossy_or_hex(&sent),
            ));
        }
        let compared = &mut self.report.compared;
        let count = match (differences.is_empty(), alike, recorded.form) {
            (true, true, Form::Native) => &mut compared.events,
            (true, false, Form::Native) => &mut compared.events_unordered,
            (true, true, Form::Json) => &mut compared.texts,
            (true, false, Form::Json) => &mut compared.texts_unordered,
            (false, ..) => &mut compared.with_waived_fields,
        };
        *count += 1;
        let mut unwaived = Vec::new();
        for (path, expected, got) in differences {
            if !self.waive(&Deviation::Differs(name.clone(), without_indices(&path))) {
                let difference = self.difference(message, name.clone());
                unwaived.push(Difference { path, ..difference }.between(expected, got));
            }
        }
        if !unwaived.is_empty() {
            self.report.compared.with_waived_fields -= 1;
        }
        self.report.differences.extend(unwaived);
    }

    /// The id of a request is the recorded one, or stands for it from now on.
    fn learn_id(&mut self, recorded: &Event, sent: &Event) -> Result<(), String> {
        let (Some(Data::String(own)), Some(Data::String(recorded_id))) =
            (sent.args.first(), recorded.args.first())
        else {
            return Ok(());
        };
        if !recorded.name.ends_with(b"_request")
            || own == recorded_id
            || own.is_empty()
            || recorded_id.is_empty()
        {
            return Ok(());
        }
        self.ids.bind(own, recorded_id).map_err(|taken| taken.to_string())
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
        self.fetch();
        for (link, queue) in std::mem::take(&mut self.queues) {
            for sent in queue {
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
