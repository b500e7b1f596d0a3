//! From what a node is to be to what it is started with.

use broker_codec::data::ZeekString;

use super::order::Launch;
use crate::core::{LaunchSettings, NodeSpec};

/// What the node is started with, or why it cannot be.
pub(super) fn launch(
    spec: NodeSpec,
    token: ZeekString,
    _settings: &LaunchSettings,
) -> Result<Launch, String> {
    Ok(Launch {
        program: ZeekString::default(),
        arguments: Vec::new(),
        environment: spec.env.clone(),
        layout: ZeekString::default(),
        before_start: None,
        limits: super::Limits::default(),
        needs: super::Needs::default(),
        spec,
        token,
    })
}
