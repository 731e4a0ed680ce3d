//! Key derivation: X(prk, info, L) = HKDF-Expand-SHA-512 (RFC 5869, section 2.3), no Extract.
//!
//! T(0) = "", T(i) = HMAC-SHA-512(prk, T(i-1) ‖ info ‖ i), output = the first L bytes of T(1) ‖ T(2) ‖ …
//!
//! The pseudorandom key is 32 uniformly random bytes as they are. Every use of a key has a label of its own, and a
//! prefix of X may be computed alone.

use std::iter;

use zeroize::Zeroize;

use crate::digest::{HmacSha512, SHA512_LEN};
use crate::secret::Secret;

/// The longest output of one expansion in bytes: 255 blocks (RFC 5869).
pub const MAX_EXPAND_LEN: usize = 255 * SHA512_LEN;

/// A pseudorandom key to expand from, with its HMAC schedule computed once.
pub struct Prk(HmacSha512);

impl Prk {
    /// Keys the expansion. The key must be uniformly random (drawn, or itself the output of a KDF).
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(HmacSha512::new(key))
    }

    /// X(prk, concatenation of `info`, L) for each L of `outputs`' total length, written into `outputs` in order.
    ///
    /// `outputs` together must not exceed [`MAX_EXPAND_LEN`]; what lies behind that stays untouched.
    pub fn expand_into(&self, info: &[&[u8]], outputs: &mut [&mut [u8]]) {
        let mut block = [0u8; SHA512_LEN];
        let mut used = SHA512_LEN;
        let mut counter = 0u8;
        'outputs: for output in outputs {
            let mut rest = &mut **output;
            while !rest.is_empty() {
                if used == SHA512_LEN {
                    let Some(next) = counter.checked_add(1) else { break 'outputs };
                    let number = [next];
                    let previous = if counter == 0 { &[][..] } else { &block };
                    let input = iter::once(previous).chain(info.iter().copied()).chain([&number[..]]);
                    block = self.0.mac(input);
                    counter = next;
                    used = 0;
                }
                let take = rest.len().min(SHA512_LEN - used);
                let (now, later) = rest.split_at_mut(take);
                now.copy_from_slice(block.get(used..used + take).unwrap_or_default());
                used += take;
                rest = later;
            }
        }
        block.zeroize();
    }

    /// X(prk, concatenation of `info`, N) as a secret.
    #[must_use]
    pub fn expand<const N: usize>(&self, info: &[&[u8]]) -> Secret<[u8; N]> {
        Secret::filled_by(|out| self.expand_into(info, &mut [out]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_may_be_computed_alone_and_split_outputs_are_the_whole() {
        let prk = Prk::new(&[5; 32]);
        let whole = prk.expand::<200>(&[b"label", b"x"]);
        let short = prk.expand::<44>(&[b"labelx"]);
        assert_eq!(whole.expose_secret()[..44], short.expose_secret()[..]);
        let (mut a, mut b) = ([0; 64], [0; 136]);
        prk.expand_into(&[b"labelx"], &mut [&mut a, &mut b]);
        assert_eq!(whole.expose_secret()[..64], a);
        assert_eq!(whole.expose_secret()[64..], b);
    }

    #[test]
    fn agrees_with_ring_at_every_length_up_to_its_maximum() {
        struct Len(usize);
        impl ring::hkdf::KeyType for Len {
            fn len(&self) -> usize {
                self.0
            }
        }
        for len in [1, 32, 44, 63, 64, 65, 128, 129, 1000, MAX_EXPAND_LEN] {
            let mut ours = vec![0; len];
            Prk::new(&[9; 32]).expand_into(&[b"info"], &mut [&mut ours]);
            let prk = ring::hkdf::Prk::new_less_safe(ring::hkdf::HKDF_SHA512, &[9; 32]);
            let mut theirs = vec![0; len];
            prk.expand(&[b"info"], Len(len)).unwrap().fill(&mut theirs).unwrap();
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn nothing_is_written_behind_the_longest_output() {
        let mut out = vec![0; MAX_EXPAND_LEN + 8];
        Prk::new(&[9; 32]).expand_into(&[b"info"], &mut [&mut out]);
        assert_eq!(out[MAX_EXPAND_LEN..], [0; 8]);
        assert_ne!(out[MAX_EXPAND_LEN - 8..MAX_EXPAND_LEN], [0; 8]);
    }
}
