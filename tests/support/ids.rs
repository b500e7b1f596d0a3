//! Comparing texts that differ in identifiers only.

use std::{collections::BTreeMap, sync::LazyLock};

use regex_lite::{Captures, Regex};

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

/// The text with identifiers replaced, and the identifiers in order.
fn split_ids(text: &str) -> (String, Vec<String>) {
    static ID: LazyLock<Regex> = LazyLock::new(|| {
        let id = r#"(triggering via |"pid": )[[:alnum:]]+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"#;
        Regex::new(id).expect("a regular expression")
    });
    let mut ids = Vec::new();
    let kept = ID.replace_all(text, |found: &Captures<'_>| {
        let before = found.get(1).map_or("", |before| before.as_str());
        ids.push(found[0][before.len()..].to_owned());
        format!("{before}<id>")
    });
    (kept.into_owned(), ids)
}
