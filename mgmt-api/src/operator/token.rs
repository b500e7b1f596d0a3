//! Tokens, by which programs say over HTTP who they are; and who a daemon takes one for.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::{Grant, Role};

/// A token, without what is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    pub name: String,
    pub role: Role,
    /// The clusters in which the role counts; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Vec<String>>,
    /// When it was made, as RFC 3339 has it.
    pub created: String,
    /// When it ends, likewise; none for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// The tokens that a daemon has, also those that have expired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Tokens {
    pub tokens: Vec<Token>,
}

/// A token that is to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    pub name: String,
    pub role: Role,
    /// The clusters in which the role is to count; none for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Vec<String>>,
    /// In how many seconds it is to end; none for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// A token that was made. What is secret is told this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MadeToken {
    /// What a request has behind `Authorization: Bearer`.
    pub secret: String,
    pub token: Token,
}

/// Who a daemon takes one for that asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Whoami {
    /// In words: by what it is known, and from where it asks.
    pub who: String,
    /// What it may.
    #[serde(flatten)]
    pub may: Grant,
}
