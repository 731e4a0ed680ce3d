//! Nonces of the chunks of one segment: n XOR be96(j) for j = 0, 1, 2, …

use super::aead::NONCE_LEN;

/// The base nonce of a segment.
pub struct BaseNonce([u8; NONCE_LEN]);

impl BaseNonce {
    /// Takes the derived bytes.
    #[must_use]
    pub const fn new(bytes: [u8; NONCE_LEN]) -> Self {
        Self(bytes)
    }

    /// n XOR be96(`index`): distinct for distinct indices.
    #[must_use]
    pub fn at(&self, index: u64) -> [u8; NONCE_LEN] {
        let mut nonce = self.0;
        for (byte, counter) in nonce.iter_mut().skip(NONCE_LEN - 8).zip(index.to_be_bytes()) {
            *byte ^= counter;
        }
        nonce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_a_big_endian_xor_of_the_low_bytes() {
        let base = BaseNonce::new([0xff; NONCE_LEN]);
        assert_eq!(base.at(0), [0xff; NONCE_LEN]);
        assert_eq!(base.at(1)[8..], [0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(base.at(0x0102_0304_0506_0708), [255, 255, 255, 255, 254, 253, 252, 251, 250, 249, 248, 247]);
    }
}
