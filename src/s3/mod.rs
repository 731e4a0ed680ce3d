//! S3's protocol as pure code: what a request asks, what its body must be, and how answers and errors are written.
//!
//! Nothing here knows of the network or of encryption. A request goes through [`target`] (bucket and object key, decoded
//! once), [`operation`] (what is asked; anything unknown is refused), [`checksum`] (what the body must satisfy) and
//! [`aws_chunked`] (the body without its framing). [`error`] is the one table from a refusal to S3's code and status.

pub mod aws_chunked;
pub mod checksum;
pub mod conditional;
pub mod error;
pub mod form;
pub mod metadata;
pub mod operation;
pub mod post_policy;
pub mod range;
pub mod target;
pub mod xml;

pub use error::{ErrorCode, S3Error};
