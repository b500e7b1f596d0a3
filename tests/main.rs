//! The one integration-test binary of the workspace.

mod support;
mod tidy;
mod wire;
