//! sealgate: a client-side encryption gateway for object storage, with keys that only the customer holds.
//!
//! The library is the program; `main.rs` only hands it the arguments. The manual is [`manual`].

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::print_stderr,
        clippy::too_many_lines,
        clippy::type_complexity
    )
)]

pub mod admin;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
#[cfg(feature = "embedded")]
pub mod demo;
pub mod digest;
#[cfg(feature = "embedded")]
pub mod embedded;
pub mod format;
pub mod gateway;
pub mod ingress;
pub mod jobs;
pub mod keys;
pub mod manual;
pub mod net;
pub mod object;
pub mod offline;
pub mod s3;
pub mod secret;
pub mod sigv2;
pub mod sigv4;
pub mod store;
pub mod telemetry;
