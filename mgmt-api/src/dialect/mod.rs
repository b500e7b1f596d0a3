//! The dialects of the Management framework's API: which releases send what, and how that is brought into the one model that
//! everything above this crate knows, and back.
//!
//! ```text
//!   peer, client                       Translator                           core
//!    any dialect  -- event --> detect, look up, convert -- model's event -->
//!                 <-- event --      convert, look up    <-- model's event --
//!                                        ^
//!                              tables: what each release changed (`schema` says how they are read)
//! ```
//!
//! DIFFERENCE(older-releases): a controller and an agent of Zeek understand their own API and records only; a request in another form
//! is dropped without an answer. Zeek 9.0 loses the node states of an agent before 7.0, and an agent of 9.0 the configurations of a
//! controller before 7.0.
//!
//! There is no negotiation: an API version has been 1 from the start. What a peer says gives its dialect away (`detect`).
//!
//! | dialect | modules | nodes | what else is different from the model |
//! |---|---|---|---|
//! | [`Dialect::V4_1`] | `ClusterController`, `ClusterAgent` | 10 fields, a port in third place | as 4.2, without welcome, standing by and time-outs; instances come without a result |
//! | [`Dialect::V4_2`] | the same | the same | one event to stage and deploy, other names of states, other order in results, an address in the hello, no `get_nodes` and all that came later |
//! | [`Dialect::PreSeed`] | the same | 10 fields | as 4.2, with names of states in capitals and with `get_nodes` |
//! | [`Dialect::Seed`] | `Management` | the same | as PreSeed, with today's names |
//! | [`Dialect::V5_0Rc1`] | the same | the same | as Seed, with today's hello, `get_id_value` and `get_configuration` |
//! | [`Dialect::V5_0`] | the same | the same | nodes and their states lack the metrics port |
//! | [`Dialect::V7_0`] | the same | 11 fields | the model |

pub(crate) mod api;
mod detect;
mod layout;
mod tables;
#[cfg(test)]
mod tests;
mod translator;

pub use api::{Dialect, DialectError, DialectParseError};
pub use translator::{
    Answers, Peer, Published, REQUESTS_MAX, Side, TextTooLong, Topics, Translation, Translator, check_texts,
    sets_configuration,
};
