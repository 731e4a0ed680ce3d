//! The network: bodies, listener, TLS, the client's connection pool. It knows nothing of S3 and nothing of keys.

pub mod body;
pub mod budget;
pub mod client;
pub mod server;
mod timed;
pub mod tls;
