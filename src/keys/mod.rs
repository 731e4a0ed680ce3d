//! Key custody: who holds key-encryption keys, how they are asked, and how they are kept and recovered.
//!
//! Callers know [`KeyProvider`] only. The provider that needs nothing but a file is [`keyring::Keyring`]. The manual's
//! page is [`crate::manual::keys`].

pub mod exported;
pub mod file;
pub mod keyring;
pub mod provider;
pub mod recovery;
pub mod state;

pub use provider::{EntryName, EntryNameError, KeyError, KeyErrorKind, KeyFuture, KeyProvider, KeyScope, Purpose};
pub use state::{Action, KeyState, TransitionError};
