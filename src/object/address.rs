//! Where an object lives in the customer's own terms.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A tenant's or bucket's id, or an object key, that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// The id does not match `[a-z0-9-]{1,63}`.
    #[error("a {what} id is 1 to 63 characters of a-z, 0-9 and '-'")]
    Id {
        /// `tenant` or `bucket`.
        what: &'static str,
    },
    /// The object key is empty or longer than 1024 bytes.
    #[error("an object key has 1 to 1024 bytes, not {0}")]
    KeyLength(usize),
}

fn is_id(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The id as it is written in the configuration.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = AddressError;

            fn from_str(text: &str) -> Result<Self, AddressError> {
                if is_id(text) { Ok(Self(text.to_owned())) } else { Err(AddressError::Id { what: $what }) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// The customer's logical id of a tenant, `[a-z0-9-]{1,63}`. Bound into every object's header.
    TenantId, "tenant"
}
id! {
    /// The customer's logical id of a bucket, `[a-z0-9-]{1,63}`: an alias, so that a replica can be mounted under
    /// the same id. Bound into every object's header.
    BucketId, "bucket"
}

/// The exact plaintext object key: 1 to 1024 bytes after one percent-decode, without Unicode normalisation.
///
/// It has no `Debug` or `Display`: object names do not belong in logs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Vec<u8>);

impl ObjectKey {
    /// The longest key S3 allows, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Checks the length; any bytes are a key.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, AddressError> {
        let bytes = bytes.into();
        if (1..=Self::MAX_LEN).contains(&bytes.len()) {
            Ok(Self(bytes))
        } else {
            Err(AddressError::KeyLength(bytes.len()))
        }
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The full address of an object: what its header is bound to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Whose object it is.
    pub tenant: TenantId,
    /// Which of the tenant's buckets.
    pub bucket: BucketId,
    /// Which object of the bucket.
    pub key: ObjectKey,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_lower_case_alphanumerics_and_dashes() {
        for good in ["a", "tenant-a", "0", "-", &"x".repeat(63)] {
            assert!(good.parse::<TenantId>().is_ok_and(|id| id.as_str() == good && id.to_string() == good));
            assert!(good.parse::<BucketId>().is_ok());
        }
        for bad in ["", "A", "a_b", "a.b", "a/b", "ü", " ", &"x".repeat(64)] {
            assert_eq!(bad.parse::<TenantId>(), Err(AddressError::Id { what: "tenant" }));
            assert_eq!(bad.parse::<BucketId>(), Err(AddressError::Id { what: "bucket" }));
        }
    }

    #[test]
    fn keys_have_1_to_1024_bytes() {
        assert!(ObjectKey::new(*b"").is_err());
        assert!(ObjectKey::new(vec![0xff; 1024]).is_ok_and(|k| k.as_bytes().len() == 1024));
        assert_eq!(ObjectKey::new(vec![b'a'; 1025]).err(), Some(AddressError::KeyLength(1025)));
    }
}
