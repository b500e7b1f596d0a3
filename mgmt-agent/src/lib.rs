//! The agent (in preparation).
