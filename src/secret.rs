//! Secrets: one type that cannot be printed, cloned or compared by accident, and is erased.
//!
//! [`Secret<T>`] has no `Debug`, `Display`, `Clone`, `PartialEq`, `Deref`, `AsRef` or `Serialize`. Its value is
//! reached only by [`Secret::expose_secret`] and [`Secret::expose_secret_mut`], which a reader can search for.
//! The value rests on the heap, so moving the owner leaves no copy behind, and is overwritten when it is dropped.

use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

/// A secret value of a fixed-size or unsized type, erased on drop.
///
/// ```compile_fail,E0277
/// let secret = sealgate::secret::Secret::from_bytes([0u8; 32]);
/// println!("{secret:?}");
/// ```
///
/// ```compile_fail,E0599
/// let secret = sealgate::secret::Secret::from_bytes([0u8; 32]);
/// let copy = secret.clone();
/// ```
///
/// ```compile_fail,E0369
/// let secret = sealgate::secret::Secret::from_bytes([0u8; 32]);
/// let same = secret == secret;
/// ```
pub struct Secret<T: Zeroize + ?Sized>(Box<T>);

impl<const N: usize> Secret<[u8; N]> {
    /// A secret of `N` zero bytes, to be filled in place.
    #[must_use]
    pub fn zeroed() -> Self {
        Self(Box::new([0; N]))
    }

    /// Takes over `bytes`. The caller's array is a copy that the caller must erase; prefer [`Secret::filled_by`].
    #[must_use]
    pub fn from_bytes(mut bytes: [u8; N]) -> Self {
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(&bytes);
        bytes.zeroize();
        secret
    }

    /// Copies `bytes` if there are exactly `N` of them.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; N] = bytes.try_into().ok()?;
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(bytes);
        Some(secret)
    }

    /// A secret whose bytes are written in place by `fill`, without a copy elsewhere.
    #[must_use]
    pub fn filled_by(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self::zeroed();
        fill(&mut secret.0);
        secret
    }
}

impl Secret<str> {
    /// Copies a text. Growing a `String` leaves copies of its earlier, smaller buffers: read into one of
    /// sufficient capacity.
    #[must_use]
    pub fn from_text(text: &Zeroizing<String>) -> Self {
        Self(text.as_str().into())
    }
}

impl Secret<[u8]> {
    /// Copies `bytes` into an owned secret.
    #[must_use]
    pub fn from_bytes_of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl<T: Zeroize + ?Sized> Secret<T> {
    /// The value itself. The caller must not store, print or compare it; see the module's page.
    #[must_use]
    pub fn expose_secret(&self) -> &T {
        &self.0
    }

    /// The value itself, to be written in place.
    pub fn expose_secret_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<const N: usize> ConstantTimeEq for Secret<[u8; N]> {
    /// Equality in time independent of the bytes.
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.as_slice().ct_eq(other.0.as_slice())
    }
}

impl<T: Zeroize + ?Sized> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equality_is_by_value() {
        let a = Secret::from_bytes([1u8; 32]);
        assert!(bool::from(a.ct_eq(&Secret::from_bytes([1u8; 32]))));
        assert!(!bool::from(a.ct_eq(&Secret::from_bytes([2u8; 32]))));
    }

    #[test]
    fn a_slice_of_another_length_is_no_secret() {
        assert!(Secret::<[u8; 32]>::from_slice(&[0; 31]).is_none());
        assert!(Secret::<[u8; 32]>::from_slice(&[7; 32]).is_some_and(|s| s.expose_secret() == &[7; 32]));
    }

    #[test]
    fn bytes_are_filled_in_place() {
        let mut s = Secret::<[u8; 4]>::filled_by(|b| *b = [1, 2, 3, 4]);
        s.expose_secret_mut()[0] = 9;
        assert_eq!(s.expose_secret(), &[9, 2, 3, 4]);
        let text = Secret::from_text(&Zeroizing::new("pass".to_owned()));
        assert_eq!(text.expose_secret(), "pass");
        assert_eq!(Secret::from_bytes_of(b"ab").expose_secret(), b"ab");
    }
}
