use std::sync::{Arc, Mutex};

use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// Collects lines in a format instead of writing them.
struct Collect(LogFormat, Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Collect {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let line = Line::of(event.metadata(), |line| event.record(line));
        let text = match self.0 {
            LogFormat::Text => line.text(),
            LogFormat::Json => line.json(),
        };
        self.1.lock().unwrap().push(text);
    }
}

fn lines(format: LogFormat, log: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::registry().with(Collect(format, Arc::clone(&lines)));
    tracing::subscriber::with_default(subscriber, log);
    let lines = lines.lock().unwrap();
    lines.clone()
}

const HOSTILE: &str = "x\n2026-11-28T00:00:00Z ERROR forged \x1b[2J\0\r\t\u{202e}\u{9b}\u{2028}";

#[test]
fn no_field_and_no_message_breaks_a_line_or_drives_a_terminal() {
    let long = HOSTILE.repeat(2_000);
    for format in [LogFormat::Text, LogFormat::Json] {
        let lines = lines(format, || {
            for text in [HOSTILE, long.as_str()] {
                tracing::info!(text, shown = %text, debug = ?text, number = 1, "{text}");
                tracing::warn!(error = %io::Error::other(text), "failed");
                tracing::error!("{}", text);
            }
        });
        assert_eq!(lines.len(), 6);
        for line in lines {
            let line = line.strip_suffix('\n').unwrap();
            assert!(!line.contains(is_hostile), "{line}");
            assert!(line.len() < 16 * FIELD_BYTES_MAX, "{}", line.len());
            if format == LogFormat::Json {
                serde_json::from_str::<serde_json::Value>(line).unwrap();
            }
        }
    }
}

#[test]
fn the_formats_are_those_of_tracing_subscriber() {
    #[derive(Serialize)]
    struct Counters {
        requests: u64,
        failed: u64,
    }
    let counters = Counters {
        requests: 5,
        failed: 0,
    };
    let log = || {
        let peer = Some(tracing::field::display("10.0.0.1:80"));
        tracing::info!(
            name = "a \"b\"",
            peer,
            missing = None::<u64>,
            up = true,
            share = 0.5,
            none_of = f64::NAN,
            json.all = object(&counters),
            "ready"
        );
    };
    let text = &lines(LogFormat::Text, log)[0];
    let (time, text) = text.split_once(' ').unwrap();
    assert_eq!(time.len(), "2026-11-28T00:00:00.000000Z".len(), "{time}");
    assert_eq!(
        text,
        " INFO ready name=\"a \\\"b\\\"\" peer=10.0.0.1:80 up=true share=0.5 none_of=NaN all={\"requests\":5,\"failed\":0}\n"
    );
    let json = &lines(LogFormat::Json, log)[0];
    let (_, json) = json.split_once("\",").unwrap();
    assert_eq!(
        json,
        "\"level\":\"INFO\",\"message\":\"ready\",\"name\":\"a \\\"b\\\"\",\"peer\":\"10.0.0.1:80\",\"up\":true,\
         \"share\":0.5,\"none_of\":\"NaN\",\"all\":{\"requests\":5,\"failed\":0},\"target\":\"mgmt_daemon::log::tests\"}\n"
    );
}

#[test]
fn what_is_printed_keeps_its_lines_and_its_values() {
    assert_eq!(
        for_terminals("a\tb\n\u{1b}[2J\u{202e}", LogFormat::Text),
        "a\tb\n\\x1b[2J\\u{202e}"
    );
    let json = serde_json::to_string("\u{1b}\u{202e}\u{e0041}\u{7f}\n").unwrap();
    let shown = for_terminals(&json, LogFormat::Json);
    assert!(!shown.contains(is_hostile), "{shown}");
    let (before, after): (String, String) = (
        serde_json::from_str(&json).unwrap(),
        serde_json::from_str(&shown).unwrap(),
    );
    assert_eq!(before, after);
}

#[test]
fn lines_are_written_together_and_none_is_divided() {
    struct Writes(Vec<Vec<u8>>);

    impl io::Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let (sender, receiver) = lines::queue(LINES_MAX);
    let lens = [1000, 2000, 1096, 1, 2 * CHUNK_MAX, 1];
    for len in lens {
        assert!(sender.push("x".repeat(len), false));
    }
    drop(sender);
    let mut writes = Writes(Vec::new());
    write_all(&receiver, &mut writes);
    let lens: Vec<_> = writes.0.iter().map(Vec::len).collect();
    assert_eq!(lens, [CHUNK_MAX, 1, 2 * CHUNK_MAX, 1]);
}
