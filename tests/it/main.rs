//! Tests of the library from outside, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(unreachable_pub, clippy::cast_possible_truncation, clippy::too_many_lines, clippy::print_stderr)]

#[path = "../support/provider_conformance.rs"]
mod provider_conformance;
#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "embedded")]
mod embedded;
#[cfg(feature = "embedded")]
mod gateway;
mod keys;
mod known_answers;
mod manipulations;
mod properties;
mod readme;
mod vectors;
mod wycheproof_suites;
