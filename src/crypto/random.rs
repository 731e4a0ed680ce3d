//! The one source of randomness, hedged.
//!
//! draw(n) = X(32 bytes of the operating system, "sealgate/v1/random\0" ‖ SHA-256(process ‖ time ‖ counter ‖ request), n)
//!
//! A cloned or restored machine whose operating system repeats its output still draws other bytes, because process,
//! time, counter and request differ.

use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use super::kdf::Prk;
use crate::clock::Timestamp;
use crate::digest::sha256;
use crate::secret::Secret;

const LABEL: &[u8] = b"sealgate/v1/random\0";

/// The operating system gave no randomness. Nothing may be sealed without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the operating system's random number generator failed")]
pub struct RandomError;

/// `N` public random bytes that may be used once: a salt or a nonce. It can be neither copied nor cloned, and what
/// uses it up takes it.
pub struct Fresh<const N: usize>([u8; N]);

impl<const N: usize> Fresh<N> {
    /// Bytes that were not drawn. Only for known answers: bytes used twice under one key reveal both plaintexts.
    #[must_use]
    pub const fn danger_from_bytes(bytes: [u8; N]) -> Self {
        Self(bytes)
    }

    /// The bytes, to be written down where a reader will look for them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; N] {
        &self.0
    }
}

/// The hedged source. One per process; shared by reference.
pub struct RandomSource {
    process: [u8; 32],
    counter: AtomicU64,
    system: fn(&mut [u8]) -> Result<(), RandomError>,
}

impl RandomSource {
    /// A source over the operating system's generator. `process` is whatever tells this process from its clones:
    /// process id, start time, host name.
    #[must_use]
    pub fn new(process: &[&[u8]]) -> Self {
        Self { process: sha256(process), counter: AtomicU64::new(0), system: operating_system }
    }

    /// Fills a secret of `N` bytes. `now` and `request` (what it is drawn for) only hedge; they need not be unique.
    pub fn draw<const N: usize>(&self, now: Timestamp, request: &[u8]) -> Result<Secret<[u8; N]>, RandomError> {
        let mut secret = Secret::zeroed();
        self.fill(now, request, secret.expose_secret_mut())?;
        Ok(secret)
    }

    /// Like [`RandomSource::draw`], for bytes that are not secret: salts, nonces, labels.
    pub fn draw_public<const N: usize>(&self, now: Timestamp, request: &[u8]) -> Result<[u8; N], RandomError> {
        let mut bytes = [0; N];
        self.fill(now, request, &mut bytes)?;
        Ok(bytes)
    }

    /// Like [`RandomSource::draw_public`], for bytes that may be used once.
    pub fn draw_fresh<const N: usize>(&self, now: Timestamp, request: &[u8]) -> Result<Fresh<N>, RandomError> {
        self.draw_public(now, request).map(Fresh)
    }

    fn fill(&self, now: Timestamp, request: &[u8], out: &mut [u8]) -> Result<(), RandomError> {
        let mut entropy = Secret::<[u8; 32]>::zeroed();
        (self.system)(entropy.expose_secret_mut())?;
        let counter = self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let hedge = sha256(&[&self.process, &now.unix_millis().to_be_bytes(), &counter, request]);
        Prk::new(entropy.expose_secret()).expand_into(&[LABEL, &hedge], &mut [out]);
        Ok(())
    }
}

fn operating_system(out: &mut [u8]) -> Result<(), RandomError> {
    getrandom::fill(out).map_err(|_| RandomError)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(1);

    /// An operating system that repeats itself, as a cloned machine's does.
    #[expect(clippy::unnecessary_wraps, reason = "it stands in for a function that can fail")]
    fn stuck(out: &mut [u8]) -> Result<(), RandomError> {
        out.fill(7);
        Ok(())
    }

    fn failing(_: &mut [u8]) -> Result<(), RandomError> {
        Err(RandomError)
    }

    fn source(process: &[u8], system: fn(&mut [u8]) -> Result<(), RandomError>) -> RandomSource {
        RandomSource { system, ..RandomSource::new(&[process]) }
    }

    #[test]
    fn a_stuck_system_repeats_no_draw_while_process_time_counter_or_request_differ() {
        let draw = |s: &RandomSource, now, request: &[u8]| s.draw_public::<24>(now, request).unwrap();
        let a = source(b"a", stuck);
        let first = draw(&a, NOW, b"r");
        assert_ne!(first, draw(&a, NOW, b"r"), "counter");
        assert_ne!(first, draw(&source(b"b", stuck), NOW, b"r"), "process");
        assert_ne!(first, draw(&source(b"a", stuck), Timestamp::from_unix_millis(2), b"r"), "time");
        assert_ne!(first, draw(&source(b"a", stuck), NOW, b"s"), "request");
        assert_eq!(first, draw(&source(b"a", stuck), NOW, b"r"), "and nothing else enters");
    }

    #[test]
    fn the_operating_systems_bytes_enter() {
        let one = RandomSource::new(&[b"a"]).draw_public::<32>(NOW, b"").unwrap();
        let two = RandomSource::new(&[b"a"]).draw_public::<32>(NOW, b"").unwrap();
        assert_ne!(one, two);
        assert_ne!(one, [0; 32]);
    }

    #[test]
    fn a_failing_system_fails_the_draw() {
        assert_eq!(source(b"a", failing).draw_public::<8>(NOW, b""), Err(RandomError));
        assert!(source(b"a", failing).draw::<32>(NOW, b"").is_err());
    }

    #[test]
    fn secret_and_public_draws_are_the_same_function() {
        let secret = source(b"a", stuck).draw::<32>(NOW, b"r").ok().unwrap();
        let fresh = source(b"a", stuck).draw_fresh::<32>(NOW, b"r").ok().unwrap();
        assert_eq!(secret.expose_secret(), fresh.as_bytes());
        assert_eq!(secret.expose_secret(), &source(b"a", stuck).draw_public::<32>(NOW, b"r").unwrap());
    }
}
