//! Protocol-neutral words: which object, which bytes of it, which part.

mod address;
mod part;
mod range;

pub use address::{Address, AddressError, BucketId, ObjectKey, TenantId};
pub use part::{PartNumber, PartNumberError};
pub use range::{CiphertextRange, PlaintextRange};
