//! What differs between an event and its counterpart.

use broker_codec::{Data, zeek::Event};
use mgmt_api::schema::Layout;

use super::Engine;
use crate::replay::{
    capture::Message,
    json,
    names::{Mismatch, mismatches, without_indices},
    report::Difference,
    statement::{Form, SPACES, Statement, Value, lossy_or_hex},
    waivers::Deviation,
};

impl Engine<'_> {
    /// Compares what was sent with what was recorded, bytes first.
    pub(super) fn compare(&mut self, message: &Message, recorded: Statement, sent: Statement) {
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
            for Mismatch { path, expected, got } in mismatches(&recorded.event, &sent.event.args) {
                let in_words = |data: Option<Data>| {
                    data.map_or_else(|| "nothing".into(), |data| Value(&data).to_string())
                };
                differences.push((path, in_words(expected), in_words(got)));
            }
        }
        if !alike && differences.is_empty() && !Layout::of(&recorded.event).is_unordered() {
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

    /// The id of a request is the recorded one, or stands for it from now on; so is the endpoint ID of an agent in its hello.
    fn learn_id(&mut self, recorded: &Event, sent: &Event) -> Result<(), String> {
        let place = if recorded.name.ends_with(b"_request") {
            0
        } else if recorded.name.ends_with(b"notify_agent_hello") {
            1
        } else {
            return Ok(());
        };
        match (sent.args.get(place), recorded.args.get(place)) {
            (Some(Data::String(own)), Some(Data::String(recorded)))
                if own != recorded && !own.is_empty() && !recorded.is_empty() =>
            {
                self.ids.bind(own, recorded).map_err(|taken| taken.to_string())
            }
            _ => Ok(()),
        }
    }
}
