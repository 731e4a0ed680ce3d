//! Tests of the library through its public interface.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stderr)]

mod keys;
#[path = "../support/provider_conformance.rs"]
mod provider_conformance;
