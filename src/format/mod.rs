//! The object format, version 1, as pure code: no I/O, no clock, no randomness drawn inside.
//!
//! Sealing takes its keys, salts and nonces as arguments, so known answers run in both directions. Bodies are never
//! held: [`seal`] and [`open`] work on one chunk at a time, in the caller's buffer.
//!
//! The way in: [`context`] names the object, [`envelope`] seals the header, [`seal`] the body.
//! The way out is one type per step, so that no field is used before it is authenticated:
//! [`envelope::Unverified`] → (a key provider unwraps the data key) → [`envelope::Envelope`] → [`open::BodyReader`].

pub mod context;
pub(crate) mod cursor;
pub mod envelope;
mod error;
pub mod geometry;
pub mod layout;
pub mod metadata;
pub mod open;
pub mod parts;
pub mod seal;
pub mod segment;
pub mod suite;
pub mod trailer;

pub use error::{OpenError, SealError};
