//! The upstream S3 store: what gateway, jobs and `check` call. It sees ciphertext only.

pub mod settings;
