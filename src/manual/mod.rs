//! The manual.

/// Key custody: the keyring file, the life of a key, the recovery kit.
#[doc = include_str!("keys.md")]
pub mod keys {}
