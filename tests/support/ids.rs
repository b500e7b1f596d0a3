//! Comparing texts that differ in identifiers only.

use std::collections::BTreeMap;

/// A one-to-one mapping between the identifiers of a recording and those of a run, found while comparing.
///
/// An identifier is a UUID, a process id, or the word after `triggering via`: the controller's own request ids are not UUIDs.
#[derive(Debug, Default)]
pub(crate) struct IdMap {
    to_actual: BTreeMap<String, String>,
    to_recorded: BTreeMap<String, String>,
}

impl IdMap {
    /// Compares the texts with identifiers mapped; the error says where they part.
    pub(crate) fn compare(&mut self, recorded: &str, actual: &str) -> Result<(), String> {
        let (recorded_text, recorded_ids) = split_ids(recorded);
        let (actual_text, actual_ids) = split_ids(actual);
        if recorded_text != actual_text {
            return Err(format!("recorded {recorded:?}\n  actual {actual:?}"));
        }
        for (recorded_id, actual_id) in recorded_ids.into_iter().zip(actual_ids) {
            let forward = self
                .to_actual
                .entry(recorded_id.clone())
                .or_insert_with(|| actual_id.clone());
            let backward = self
                .to_recorded
                .entry(actual_id.clone())
                .or_insert_with(|| recorded_id.clone());
            if *forward != actual_id || *backward != recorded_id {
                return Err(format!(
                    "recorded id {recorded_id} stood for {forward}, now {actual_id} (which stood for {backward}) in {actual:?}"
                ));
            }
        }
        Ok(())
    }
}

const PLACEHOLDER: &str = "<id>";
const OWN_REQUEST: &str = "triggering via ";
const PROCESS: &str = "\"pid\": ";

/// The text with identifiers replaced, and the identifiers in order.
fn split_ids(text: &str) -> (String, Vec<String>) {
    let mut kept = String::new();
    let mut ids = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let own_request = [OWN_REQUEST, PROCESS]
            .iter()
            .any(|before| kept.ends_with(before))
            .then(|| word_length(rest))
            .filter(|length| *length > 0);
        if let Some(length) = own_request.or_else(|| uuid_length(rest)) {
            ids.push(rest[..length].to_owned());
            kept.push_str(PLACEHOLDER);
            rest = &rest[length..];
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    (kept, ids)
}

fn word_length(text: &str) -> usize {
    text.find(|character: char| !character.is_ascii_alphanumeric())
        .unwrap_or(text.len())
}

fn uuid_length(text: &str) -> Option<usize> {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let mut position = 0;
    for (index, length) in GROUPS.into_iter().enumerate() {
        if index > 0 {
            if text.as_bytes().get(position) != Some(&b'-') {
                return None;
            }
            position += 1;
        }
        let group = text.as_bytes().get(position..position + length)?;
        if !group.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        position += length;
    }
    Some(position)
}
