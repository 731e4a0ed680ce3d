//! The gateway in process: real HTTP on loopback, the embedded store as its provider.

mod multipart;
mod operations;
pub mod rig;
