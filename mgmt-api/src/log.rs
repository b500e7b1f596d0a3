//! What controller and agent have in common when they write the management log.

use std::fmt;

use broker_codec::data::ZeekString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How important a line of the management log is (`Management::Log::Level`), by its name there.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// For developers.
    Debug,
    /// The normal course of things.
    #[default]
    Info,
    /// Something is not as it should be.
    Warning,
    /// Something failed.
    Error,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// How many bytes are shown of what a peer says in whole sentences, such as an error or the last output of a node. Of a name there are
/// [`Excerpt::LEN_MAX`](broker_codec::data::Excerpt::LEN_MAX).
pub const MESSAGE_BYTES_MAX: usize = 2048;

/// As Zeek joins values in its log: `a, b, c`.
pub fn listed(items: impl IntoIterator<Item = impl ToString>) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

/// How many names [`some_of`] shows.
const NAMED_MAX: usize = 8;

/// Names in a sentence for operators: `a, b, c`; of many the first ones, and how many more there are.
pub fn some_of<'a>(names: impl IntoIterator<Item = &'a ZeekString>) -> String {
    let names: Vec<_> = names.into_iter().collect();
    let shown = listed(names.iter().take(NAMED_MAX));
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        others => format!("{shown} and {others} more"),
    }
}

/// What a sentence for operators is about: `node a`, or `nodes a, b, c`, as [`some_of`] names them.
pub fn nodes_named(names: &[&ZeekString]) -> String {
    let what = if names.len() == 1 { "node" } else { "nodes" };
    format!("{what} {}", some_of(names.iter().copied()))
}

/// As Zeek prints a vector of strings: `[a, b, c]`.
pub fn bracketed<'a>(items: impl IntoIterator<Item = &'a ZeekString>) -> String {
    format!("[{}]", listed(items))
}
