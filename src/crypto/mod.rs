//! Cryptographic primitives as the format uses them: AEAD, key derivation, key wrapping, nonces, randomness.
//!
//! Nothing here knows of objects, files or networks. Only [`random`] draws randomness.

pub mod aead;
pub mod kdf;
pub mod nonce;
pub mod random;
pub mod wrap;
