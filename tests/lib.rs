//! Conformance tests of the workspace; everything is in the one test binary, `main.rs`.
