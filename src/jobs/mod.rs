//! Long work over a bucket.

pub mod gc;
