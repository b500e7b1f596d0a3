//! Zeek's ASCII log format (`logging/writers/ascii/Ascii.cc`, `threading/formatters/Ascii.cc`, `Desc.cc`), for the one
//! record that the management log has.

use broker_codec::data::is_hostile;
use jiff::{Timestamp, tz::TimeZone};

use mgmt_api::Level;

/// `Log::default_rotation_date_format`, which is also the format of `#open` and `#close`.
const DATE: &str = "%Y-%m-%d-%H-%M-%S";
/// `LogAscii::empty_field`
const EMPTY_FIELD: &[u8] = b"(empty)";
/// `LogAscii::unset_field`
const UNSET_FIELD: &[u8] = b"-";

/// A time in local time, as it stands in headers and file names.
pub(super) fn date(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime(DATE).to_string()
}

/// The lines that a log begins with (`Ascii::WriteHeader`).
pub(super) fn header(path: &str, open: &str) -> Vec<u8> {
    let mut header =
        b"#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t".to_vec();
    for &byte in path.as_bytes() {
        if byte.is_ascii_graphic() {
            header.push(byte);
        } else {
            escape_byte(&mut header, byte);
        }
    }
    header.extend_from_slice(b"\n#open\t");
    header.extend_from_slice(open.as_bytes());
    header.extend_from_slice(
        b"\n#fields\tts\tnode\tlevel\trole\tmessage\n#types\ttime\tstring\tstring\tstring\tstring\n",
    );
    header
}

/// The line that a log ends with (`Ascii::CloseFile`).
pub(super) fn trailer(close: &str) -> Vec<u8> {
    format!("#close\t{close}\n").into_bytes()
}

/// A record of the management log (`Management::Log::Info`).
pub(super) fn record(time: Timestamp, node: &[u8], level: Level, role: &str, message: &[u8]) -> Vec<u8> {
    let mut record = Vec::with_capacity(64 + message.len());
    let microseconds = time.as_microsecond();
    let (seconds, fraction) = (
        microseconds.div_euclid(1_000_000),
        microseconds.rem_euclid(1_000_000),
    );
    record.extend_from_slice(format!("{seconds}.{fraction:06}").as_bytes());
    for text in [node, level.to_string().as_bytes(), role.as_bytes(), message] {
        record.push(b'\t');
        field(&mut record, text);
    }
    record.push(b'\n');
    record
}

/// A string field (`Ascii::Describe`): what would read as empty or unset has its first byte escaped.
fn field(out: &mut Vec<u8>, text: &[u8]) {
    match text.split_first() {
        None => out.extend_from_slice(EMPTY_FIELD),
        Some((&first, rest)) if text == EMPTY_FIELD || text == UNSET_FIELD => {
            escape_byte(out, first);
            escape(out, rest);
        }
        Some(_) => escape(out, text),
    }
}

/// Escapes backslashes and separators, and the pieces between them on their own (`ODesc::AddBytes`).
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\t')) {
        let (piece, tail) = rest.split_at(at);
        escape_piece(out, piece);
        match tail.split_first() {
            Some((b'\\', after)) => {
                out.extend_from_slice(b"\\\\");
                rest = after;
            }
            Some((&separator, after)) => {
                escape_byte(out, separator);
                rest = after;
            }
            None => return,
        }
    }
    escape_piece(out, rest);
}

/// UTF-8 text without control characters stays as it is; else every byte beyond printable ASCII is escaped
/// (`util.cc, escape_utf8` and `check_ok_utf8`).
fn escape_piece(out: &mut Vec<u8>, piece: &[u8]) {
    if std::str::from_utf8(piece).is_ok_and(|text| text.chars().all(is_shown)) {
        out.extend_from_slice(piece);
        return;
    }
    for &byte in piece {
        if matches!(byte, b' '..=b'~') {
            out.push(byte);
        } else {
            escape_byte(out, byte);
        }
    }
}

/// DIFFERENCE(log-format-characters): Zeek writes characters that reorder or hide text as they are.
fn is_shown(c: char) -> bool {
    !is_hostile(c) && !matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: impl AsRef<[u8]>) -> String {
        let line = record(
            Timestamp::UNIX_EPOCH,
            b"n",
            Level::Info,
            "CONTROLLER",
            text.as_ref(),
        );
        let line = String::from_utf8(line).unwrap();
        let fields: Vec<_> = line.trim_end_matches('\n').split('\t').collect();
        assert_eq!(fields.len(), 5, "{line}");
        fields[4].to_owned()
    }

    #[test]
    fn a_record_is_one_line_of_five_fields() {
        let time = Timestamp::from_microsecond(1_795_310_566_246_379).unwrap();
        assert_eq!(
            record(time, b"controller", Level::Warning, "CONTROLLER", b"a message"),
            b"1795310566.246379\tcontroller\tWARNING\tCONTROLLER\ta message\n"
        );
        assert_eq!(
            record(
                Timestamp::from_microsecond(7).unwrap(),
                b"",
                Level::Debug,
                "",
                b"-"
            ),
            b"0.000007\t(empty)\tDEBUG\t(empty)\t\\x2d\n"
        );
    }

    #[test]
    fn separators_backslashes_and_controls_are_escaped() {
        assert_eq!(message("a\tb\nc"), "a\\x09b\\x0ac");
        assert_eq!(message("a\\x"), "a\\\\x");
        assert_eq!(message("\u{7f}"), "\\x7f");
        assert_eq!(message("(empty)"), "\\x28empty)");
        assert_eq!(message("-"), "\\x2d");
        assert_eq!(message("--"), "--");
    }

    /// The cases of `escape_utf8` in `util.cc` with both control flags on, as the ASCII writer calls it.
    #[test]
    fn utf8_stays_unless_its_piece_holds_something_else() {
        assert_eq!(message("Zürich"), "Zürich");
        assert_eq!(message(b"string\x82"), "string\\x82");
        assert_eq!(message("\u{7}\u{537}o"), "\\x07\\xd4\\xb7o");
        assert_eq!(message("ü\n"), "\\xc3\\xbc\\x0a");
        assert_eq!(message("ü\t\n"), "ü\\x09\\x0a");
        assert_eq!(message("\u{e000}"), "\\xee\\x80\\x80");
        assert_eq!(message("a\u{202e}b"), "a\\xe2\\x80\\xaeb");
        assert_eq!(message("\u{85}"), "\\xc2\\x85");
        assert_eq!(message("\u{fffd}"), "\\xef\\xbf\\xbd");
    }

    #[test]
    fn paths_in_headers_are_escaped() {
        let header = header("management-a b", "2026-01-01-00-00-00");
        assert!(
            String::from_utf8(header)
                .unwrap()
                .contains("#path\tmanagement-a\\x20b\n")
        );
    }
}
