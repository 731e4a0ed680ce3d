//! sealgate: a client-side encryption gateway for object storage, with keys that only the customer holds.
//!
//! The library is the program; `main.rs` only hands it the arguments.

pub mod clock;
pub mod crypto;
pub mod digest;
pub mod object;
pub mod secret;
