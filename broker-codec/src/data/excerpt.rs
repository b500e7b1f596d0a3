//! How text from outside is shown.

use std::fmt::{self, Write};

/// Text from outside as a log, an error, an answer or a terminal may show it: in one line, without a character that drives a
/// terminal or reorders what stands beside it, and of bounded length.
///
/// Such characters (see [`is_hostile`]) and bytes that are not UTF-8 are escaped as in Rust's literals: `\n`, `\x1b`,
/// `\u{202e}`. Backslashes stay as they are, so that what is escaped already does not change when it is escaped again. What
/// is longer than the limit is cut between characters, and its length is stated: `aaaa… (16777016 bytes)`.
///
/// ```
/// use broker_codec::data::Excerpt;
///
/// assert_eq!(Excerpt::new(b"a\nb\xff").to_string(), r"a\nb\xff");
/// assert_eq!(Excerpt::new("Z\u{fc}rich".as_bytes()).at_most(3).to_string(), "Z\u{fc}\u{2026} (7 bytes)");
/// ```
#[derive(Clone, Copy)]
pub struct Excerpt<'a> {
    text: &'a [u8],
    len_max: usize,
}

impl<'a> Excerpt<'a> {
    /// How many bytes of a text are shown unless [`Self::at_most`] says otherwise: enough for every name.
    pub const LEN_MAX: usize = 256;

    /// Of this text, at most [`Self::LEN_MAX`] bytes.
    pub const fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            len_max: Self::LEN_MAX,
        }
    }

    /// At most so many bytes of the text. What is shown can be four times as long, if all of it has to be escaped.
    #[must_use]
    pub const fn at_most(self, bytes: usize) -> Self {
        Self {
            len_max: bytes,
            ..self
        }
    }

    /// What is shown before escaping.
    fn start(&self) -> &'a [u8] {
        let Some(start) = self.text.get(..self.len_max) else {
            return self.text;
        };
        // Not within a character: its first byte is one of the last four.
        let boundary = (start.len().saturating_sub(3)..=start.len())
            .rev()
            .find(|at| self.text.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80));
        boundary.and_then(|at| start.get(..at)).unwrap_or(start)
    }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = self.start();
        let mut shown = String::with_capacity(start.len());
        for chunk in start.utf8_chunks() {
            escape(chunk.valid(), &mut shown)?;
            for byte in chunk.invalid() {
                write!(shown, "\\x{byte:02x}")?;
            }
        }
        if start.len() < self.text.len() {
            write!(shown, "\u{2026} ({} bytes)", self.text.len())?;
        }
        f.pad(&shown)
    }
}

impl fmt::Debug for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Writes a text with each [hostile](is_hostile) character escaped, see [`Excerpt`].
pub fn escape(text: &str, out: &mut (impl Write + ?Sized)) -> fmt::Result {
    let mut rest = text;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_hostile(*c)) {
        let (before, hostile) = rest.split_at(at);
        out.write_str(before)?;
        match c {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c.is_ascii() => write!(out, "\\x{:02x}", u32::from(c))?,
            c => write!(out, "\\u{{{:x}}}", u32::from(c))?,
        }
        rest = hostile.get(c.len_utf8()..).unwrap_or_default();
    }
    out.write_str(rest)
}

/// A text of several lines, each [escaped](escape) and ended.
pub fn escaped_lines(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for line in text.lines() {
        let _ = escape(line, &mut escaped);
        escaped.push('\n');
    }
    escaped
}

/// Whether a character must not reach a log or a terminal: it ends a line, begins a control sequence, cannot be seen, or
/// changes the direction of the text around it.
///
/// These are Unicode's control characters, line and paragraph separators, and of its format characters all but those that
/// are visible: zero-width ones, bidirectional marks, embeddings and isolates, annotations, tags.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// What is displayed, [escaped](escape), and no more than so many bytes of it before escaping: a text about a value must not
/// become as large as the value.
pub fn excerpt_of(text: &dyn fmt::Display, bytes_max: usize) -> String {
    struct Bounded {
        shown: String,
        room: usize,
    }

    impl Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let end = (0..=self.room.min(text.len()))
                .rev()
                .find(|end| text.is_char_boundary(*end));
            let start = end.and_then(|end| text.get(..end)).unwrap_or_default();
            escape(start, &mut self.shown)?;
            self.room -= start.len();
            if start.len() < text.len() {
                self.shown.push('\u{2026}');
                // Nothing more is asked for.
                return Err(fmt::Error);
            }
            Ok(())
        }
    }

    let mut start = Bounded {
        shown: String::new(),
        room: bytes_max,
    };
    let _ = write!(start, "{text}");
    start.shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_text_stays_as_it_is() {
        for text in [
            "",
            "worker-1",
            "Z\u{fc}rich \u{4e2d}\u{6587} \u{1f980}",
            r"C:\x",
            "a 'b' \"c\"",
        ] {
            assert_eq!(Excerpt::new(text.as_bytes()).to_string(), text);
        }
    }

    #[test]
    fn what_breaks_lines_drives_terminals_or_reorders_text_is_escaped() {
        let cases: [(&[u8], &str); 9] = [
            (b"a\r\nb\tc", r"a\r\nb\tc"),
            (b"\0\x1b[2J\x7f", r"\x00\x1b[2J\x7f"),
            ("\u{9b}2J\u{85}".as_bytes(), r"\u{9b}2J\u{85}"),
            (b"\x9b2J", r"\x9b2J"),
            (
                "\u{202e}gnp\u{2066}\u{200f}".as_bytes(),
                r"\u{202e}gnp\u{2066}\u{200f}",
            ),
            (
                "a\u{200b}b\u{feff}c\u{ad}".as_bytes(),
                r"a\u{200b}b\u{feff}c\u{ad}",
            ),
            ("\u{2028}\u{2029}".as_bytes(), r"\u{2028}\u{2029}"),
            ("\u{e0041}".as_bytes(), r"\u{e0041}"),
            (b"\xed\xa0\x80\xc3", r"\xed\xa0\x80\xc3"),
        ];
        for (text, shown) in cases {
            assert_eq!(Excerpt::new(text).to_string(), shown);
        }
    }

    #[test]
    fn long_text_is_cut_between_characters_and_says_how_long_it_is() {
        let long = vec![b'a'; 16_777_016];
        let start = "a".repeat(256);
        assert_eq!(
            Excerpt::new(&long).to_string(),
            format!("{start}\u{2026} (16777016 bytes)")
        );
        assert_eq!(Excerpt::new(&long[..256]).to_string(), start);
        let crabs = "\u{1f980}".repeat(2);
        for (len_max, shown) in [
            (4, "\u{1f980}"),
            (5, "\u{1f980}"),
            (7, "\u{1f980}"),
            (3, ""),
            (0, ""),
        ] {
            assert_eq!(
                Excerpt::new(crabs.as_bytes()).at_most(len_max).to_string(),
                format!("{shown}\u{2026} (8 bytes)"),
                "{len_max}"
            );
        }
        assert_eq!(Excerpt::new(crabs.as_bytes()).at_most(8).to_string(), crabs);
        // Bytes of which none begins a character are cut where the limit is.
        let continued = [0x80; 9];
        assert_eq!(
            Excerpt::new(&continued).at_most(2).to_string(),
            r"\x80\x80… (9 bytes)"
        );
    }

    #[test]
    fn errors_about_large_values_are_small() {
        let text = "a\n".repeat(1 << 20);
        let shown = excerpt_of(&text, 1024);
        assert!(shown.len() < 4096, "{}", shown.len());
        assert!(
            shown.starts_with(r"a\na\n") && shown.ends_with('\u{2026}'),
            "{shown}"
        );
        assert_eq!(excerpt_of(&"as \u{1b} it is", 1024), r"as \x1b it is");
    }

    proptest! {
        #[test]
        fn whatever_is_shown_is_harmless_bounded_and_stays_the_same(
            text in proptest::collection::vec(any::<u8>(), 0..600),
            len_max in 0usize..300,
        ) {
            let shown = Excerpt::new(&text).at_most(len_max).to_string();
            prop_assert!(!shown.contains(is_hostile), "{}", shown);
            prop_assert!(shown.len() <= 4 * len_max + 24, "{}", shown);
            let mut again = String::new();
            escape(&shown, &mut again)?;
            prop_assert_eq!(again, shown);
        }

        #[test]
        fn text_is_cut_between_characters(text in any::<String>(), len_max in 0usize..40) {
            let excerpt = Excerpt::new(text.as_bytes()).at_most(len_max);
            let start = std::str::from_utf8(excerpt.start());
            prop_assert!(start.is_ok_and(|start| text.starts_with(start)));
        }
    }
}
