//! Tests of the library from outside, in one binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::items_after_statements, clippy::format_collect, clippy::large_stack_arrays, clippy::type_complexity)]
#![allow(clippy::format_push_string, clippy::cloned_ref_to_slice_refs, clippy::used_underscore_binding)]
#![allow(unreachable_pub, clippy::cast_possible_truncation, clippy::too_many_lines, clippy::print_stderr)]

#[path = "../support/provider_conformance.rs"]
mod provider_conformance;
#[path = "../support/mod.rs"]
mod support;

mod deploy;
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
