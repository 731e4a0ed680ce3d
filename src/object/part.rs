//! Part numbers of multipart uploads.

use thiserror::Error;

/// A part number outside 1..=10000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a part number is 1 to 10000, not {0}")]
pub struct PartNumberError(pub u32);

/// The number of a part of a multipart upload, 1..=10000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartNumber(u32);

impl PartNumber {
    /// The greatest part number of S3.
    pub const MAX: u32 = 10_000;

    /// Checks the bounds.
    pub fn new(number: u32) -> Result<Self, PartNumberError> {
        if (1..=Self::MAX).contains(&number) { Ok(Self(number)) } else { Err(PartNumberError(number)) }
    }

    /// The number, 1..=10000.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_numbers_run_from_1_to_10000() {
        assert_eq!(PartNumber::new(0), Err(PartNumberError(0)));
        assert_eq!(PartNumber::new(1).map(PartNumber::get), Ok(1));
        assert_eq!(PartNumber::new(10_000).map(PartNumber::get), Ok(10_000));
        assert_eq!(PartNumber::new(10_001), Err(PartNumberError(10_001)));
    }
}
