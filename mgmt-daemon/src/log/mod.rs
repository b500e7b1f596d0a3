//! The log on standard error.
//!
//! Every line passes here: what could break a line or drive a terminal is escaped, each field is
//! cut, and what one sender causes is limited. The formats are those of `tracing_subscriber`, text and JSON, but that a field
//! called `json.NAME` is an object `NAME` in JSON.

mod limit;

use std::{
    fmt::{self, Write as _},
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

use broker_codec::data::{escape, excerpt_of, is_hostile};
use serde::{Serialize, Serializer as _, ser::SerializeMap};
use serde_json::value::RawValue;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, SubscriberExt as _},
    reload,
    util::SubscriberInitExt as _,
};

pub use self::limit::{Limiter, Sum};
use crate::lines;

/// How standard error is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// How many lines may wait for standard error.
pub const LINES_MAX: usize = 2048;
/// How many bytes of a message or a field are written, before escaping.
pub const FIELD_BYTES_MAX: usize = 4096;

/// So many bytes are written together, if a line is not longer: what the system puts into a pipe as a whole, also if others write into it.
const CHUNK_MAX: usize = 4096;

/// How long the end waits for a reader of standard error.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A field that holds an object: what follows is its name. Its value is the text of [`object`].
const OBJECT: &str = "json.";

/// What tells who caused a line, in this order.
const SENDERS: [&str; 3] = ["client", "peer", "address"];

/// Writes what was still suppressed, and waits for the writer, for a while.
#[derive(Debug)]
pub struct Flush {
    log: Arc<Log>,
}

impl Drop for Flush {
    fn drop(&mut self) {
        let sums = self.log.limiter().finish();
        self.log.write_sums(&sums);
        self.log.out.end();
        self.log.out.wait_for_end(END_TIMEOUT);
    }
}

/// Sends what is traced to standard error, by a thread of its own: a pipe that is not read must not stop the daemon. When its
/// queue of [`LINES_MAX`] is full, lines are lost. Keep the guard until the process ends.
pub fn to_stderr(filter: Targets, format: LogFormat) -> Flush {
    let (out, lines) = lines::queue(LINES_MAX);
    // Without the thread there is no log.
    let _ = thread::Builder::new()
        .name("stderr-log".into())
        .spawn(move || write_all(&lines, &mut io::stderr()));
    let log = Arc::new(Log {
        format,
        limiter: Mutex::default(),
        out,
    });
    let summing = sum_up_in_time(Arc::clone(&log));
    let layer = Lines {
        log: Arc::clone(&log),
        summing,
    };
    let (filter, handle) = reload::Layer::new(filter);
    let _ = FILTER.set(handle);
    tracing_subscriber::registry().with(filter).with(layer).init();
    Flush { log }
}

/// Writes lines until no more come.
fn write_all(lines: &lines::Receiver<String>, out: &mut impl io::Write) {
    let mut chunk = String::new();
    while let Some(lines) = lines.take(None) {
        for line in lines {
            if chunk.len() + line.len() > CHUNK_MAX {
                // What cannot be written here cannot be told anywhere.
                let _ = out.write_all(chunk.as_bytes());
                chunk.clear();
            }
            chunk.push_str(&line);
        }
        let _ = out.write_all(chunk.as_bytes());
        chunk = String::new();
    }
}

/// What the log of the process is filtered by.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// What to log on standard error from now on.
pub(crate) fn set_filter(filter: Targets) {
    if let Some(handle) = FILTER.get() {
        // Fails only if there is no subscriber any more.
        let _ = handle.reload(filter);
    }
}

/// Sums up when intervals end; sleeps while there is nothing to sum up. Without the thread it is done at the end.
fn sum_up_in_time(log: Arc<Log>) -> Option<thread::Thread> {
    let run = move || {
        loop {
            let due = log.limiter().due();
            match due.map(|due| due.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(wait) if wait.is_zero() => {
                    let sums = log.limiter().sum_up(Instant::now());
                    log.write_sums(&sums);
                }
                Some(wait) => thread::park_timeout(wait),
            }
        }
    };
    let thread = thread::Builder::new().name("log-sums".into()).spawn(run).ok()?;
    Some(thread.thread().clone())
}

/// Whether a line of the management log tells of an event that came or went, as Zeek's scripts write it. On standard error that is for
/// developers: what it means for instances and nodes is told there in plain words.
pub fn is_traffic(message: &str) -> bool {
    message.starts_with("rx ") || message.starts_with("tx ")
}

/// Something with a structure, such as counters, as the value of a field `json.NAME`.
pub fn object(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[derive(Debug)]
struct Log {
    format: LogFormat,
    limiter: Mutex<Limiter>,
    out: lines::Sender<String>,
}

impl Log {
    fn limiter(&self) -> std::sync::MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: &Line) {
        let text = match self.format {
            LogFormat::Text => line.text(),
            LogFormat::Json => line.json(),
        };
        // What finds no room is lost.
        let _ = self.out.push(text, line.level <= Level::WARN);
    }

    fn write_sums(&self, sums: &[Sum]) {
        for sum in sums {
            self.write(&Line {
                time: now(),
                level: Level::INFO,
                target: module_path!(),
                message: sum.to_string(),
                fields: Vec::new(),
            });
        }
    }
}

struct Lines {
    log: Arc<Log>,
    summing: Option<thread::Thread>,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let line = Line::of(event.metadata(), |line| event.record(line));
        if let Some(sender) = line.sender() {
            let admitted =
                self.log
                    .limiter()
                    .admit(Instant::now(), &sender, event.metadata().name(), &line.message);
            if !admitted {
                if let Some(thread) = &self.summing {
                    thread.unpark();
                }
                return;
            }
        }
        self.log.write(&line);
    }
}

/// A line: texts in it are escaped and cut already.
struct Line {
    time: String,
    level: Level,
    target: &'static str,
    message: String,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    /// A number or a truth value.
    Plain(String),
    /// Text, in quotes where the format has no other.
    Text(String),
    /// Text that the text format has without quotes.
    Shown(String),
    Object(String),
}

impl Line {
    fn of(metadata: &'static Metadata<'static>, record: impl FnOnce(&mut Self)) -> Self {
        let mut line = Self {
            time: now(),
            level: *metadata.level(),
            target: metadata.target(),
            message: String::new(),
            fields: Vec::new(),
        };
        record(&mut line);
        line
    }

    /// Who has caused it, if a peer or a client has.
    fn sender(&self) -> Option<String> {
        let values: Vec<&str> = SENDERS
            .iter()
            .filter_map(|name| self.fields.iter().find(|(field, _)| field == name))
            .map(|(_, value)| value.as_str())
            .collect();
        (!values.is_empty()).then(|| values.join(" at "))
    }

    fn push(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::Plain(text) | Value::Text(text) | Value::Shown(text)) => self.message = text,
            (name, Value::Text(text) | Value::Shown(text)) if name.starts_with(OBJECT) => {
                self.fields
                    .push((name.trim_start_matches(OBJECT), Value::Object(text)));
            }
            (name, value) => self.fields.push((name, value)),
        }
    }

    /// `TIME LEVEL message field=value field="text"`. Which part of the program a line is from concerns its developers; JSON has it.
    fn text(&self) -> String {
        let mut text = format!("{} {:>5} {}", self.time, self.level, self.message);
        for (name, value) in &self.fields {
            let separator = if text.ends_with(' ') { "" } else { " " };
            let _ = match value {
                Value::Text(value) => write!(text, "{separator}{name}=\"{}\"", value.replace('"', "\\\"")),
                Value::Plain(value) | Value::Shown(value) | Value::Object(value) => {
                    write!(text, "{separator}{name}={value}")
                }
            };
        }
        text.push('\n');
        text
    }

    fn json(&self) -> String {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut bytes);
        let written = serializer.serialize_map(None).and_then(|mut map| {
            map.serialize_entry("timestamp", &self.time)?;
            map.serialize_entry("level", self.level.as_str())?;
            map.serialize_entry("message", &self.message)?;
            for (name, value) in &self.fields {
                let raw = match value {
                    Value::Plain(value) | Value::Object(value) => {
                        serde_json::from_str::<&RawValue>(value).ok()
                    }
                    Value::Text(_) | Value::Shown(_) => None,
                };
                match raw {
                    Some(raw) => map.serialize_entry(name, raw)?,
                    None => map.serialize_entry(name, value.as_str())?,
                }
            }
            map.serialize_entry("target", self.target)?;
            map.end()
        });
        debug_assert!(written.is_ok(), "strings and numbers can be written");
        bytes.push(b'\n');
        String::from_utf8(bytes).unwrap_or_default()
    }
}

impl Value {
    fn as_str(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Text(text) | Self::Shown(text) | Self::Object(text) => text,
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = excerpt_of(&format_args!("{value:?}"), FIELD_BYTES_MAX);
        self.push(field, Value::Shown(text));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let text = excerpt_of(&value, FIELD_BYTES_MAX);
        self.push(field, Value::Text(text));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::Plain(value.to_string()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::Plain(value.to_string()));
    }

    /// JSON knows neither infinity nor NaN; these become texts.
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::Plain(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::Plain(value.to_string()));
    }
}

fn now() -> String {
    format!("{:.6}", jiff::Timestamp::now())
}

/// A text for a terminal: its lines and tabulators stay, what else could drive the terminal is escaped. In JSON the escapes are
/// JSON's, so that it stays the same value.
pub fn for_terminals(text: &str, format: LogFormat) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') || !is_hostile(c) {
            shown.push(c);
            continue;
        }
        // Into a string: never fails.
        let _ = match format {
            LogFormat::Text => escape(c.encode_utf8(&mut [0; 4]), &mut shown),
            LogFormat::Json => c
                .encode_utf16(&mut [0; 2])
                .iter()
                .try_for_each(|unit| write!(shown, "\\u{unit:04x}")),
        };
    }
    shown
}

#[cfg(test)]
mod tests;
