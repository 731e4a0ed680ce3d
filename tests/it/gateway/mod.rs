//! The gateway in process: real HTTP on loopback, the embedded store as its provider.

mod liar;
mod lies;
mod multipart;
mod operations;
pub mod rig;
