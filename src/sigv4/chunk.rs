//! The chain of signatures over the aws-chunks of a body.
//!
//! ```text
//! sᵢ = HMAC(signing key, "AWS4-HMAC-SHA256-PAYLOAD" ⏎ time ⏎ scope ⏎ sᵢ₋₁ ⏎ SHA-256("") ⏎ SHA-256(chunk))
//! t  = HMAC(signing key, "AWS4-HMAC-SHA256-TRAILER" ⏎ time ⏎ scope ⏎ sₙ ⏎ SHA-256(trailing headers))
//! ```
//!
//! s₀ is the request's signature, so that no chunk can be left out, repeated, swapped, or taken from another request.
//! The last chunk is empty. Sources: "Transferring Payload in Multiple Chunks (Chunked Upload)", "Including Trailing
//! Headers".

use subtle::ConstantTimeEq;

use super::date::AmzDate;
use super::error::AuthError;
use super::key::SigningKey;
use crate::digest::{SHA256_LEN, hex, sha256};

const EMPTY_SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Where the chain stands. It has no `Debug`.
pub struct ChunkSignatures {
    key: SigningKey,
    /// time ⏎ scope ⏎
    head: String,
    previous: [u8; SHA256_LEN],
}

impl ChunkSignatures {
    /// A chain that begins at the request's signature.
    #[must_use]
    pub(super) fn new(key: SigningKey, date: AmzDate, seed: [u8; SHA256_LEN]) -> Self {
        let head = format!("{}\n{}\n", date.long(), key.scope().to_text());
        Self { key, head, previous: seed }
    }

    /// The next chunk's signature, of the chunk's SHA-256. The chain moves on.
    pub fn sign_chunk(&mut self, chunk_sha256: &[u8; SHA256_LEN]) -> [u8; SHA256_LEN] {
        let text = format!(
            "AWS4-HMAC-SHA256-PAYLOAD\n{}{}\n{EMPTY_SHA256}\n{}",
            self.head,
            hex(&self.previous),
            hex(chunk_sha256)
        );
        self.previous = self.key.sign(text.as_bytes());
        self.previous
    }

    /// The trailer's signature; `trailer` is canonical: `name:value⏎` of each trailing header, names in lower case,
    /// values trimmed, without `x-amz-trailer-signature`.
    pub fn sign_trailer(&mut self, trailer: &[u8]) -> [u8; SHA256_LEN] {
        let text =
            format!("AWS4-HMAC-SHA256-TRAILER\n{}{}\n{}", self.head, hex(&self.previous), hex(&sha256(&[trailer])));
        self.previous = self.key.sign(text.as_bytes());
        self.previous
    }

    /// Compares the next chunk's signature in constant time. After a mismatch the chain is broken for good: no later
    /// chunk can hold.
    pub fn verify_chunk(
        &mut self,
        chunk_sha256: &[u8; SHA256_LEN],
        signature: &[u8; SHA256_LEN],
    ) -> Result<(), AuthError> {
        let holds = bool::from(self.sign_chunk(chunk_sha256).ct_eq(signature));
        self.verdict(holds)
    }

    /// Compares the trailer's signature in constant time.
    pub fn verify_trailer(&mut self, trailer: &[u8], signature: &[u8; SHA256_LEN]) -> Result<(), AuthError> {
        let holds = bool::from(self.sign_trailer(trailer).ct_eq(signature));
        self.verdict(holds)
    }

    fn verdict(&mut self, holds: bool) -> Result<(), AuthError> {
        if holds {
            return Ok(());
        }
        // a client that goes on regardless must not find the chain intact
        self.previous = [0; SHA256_LEN];
        self.head.clear();
        Err(AuthError::ChunkSignatureMismatch)
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::scope::CredentialScope;
    use super::*;
    use crate::digest::unhex;
    use crate::secret::Secret;

    fn documented(seed: &[u8; 64]) -> ChunkSignatures {
        let date = AmzDate::parse(b"20130524T000000Z").unwrap();
        let secret = Secret::from_text(&Zeroizing::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()));
        let key = SigningKey::derive(&secret, &CredentialScope::new(date, "us-east-1"));
        ChunkSignatures::new(key, date, unhex(seed).unwrap())
    }

    #[test]
    fn the_documented_chunked_upload_holds() {
        let mut chain = documented(b"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9");
        for (len, signature) in [
            (65_536, b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1024, b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ] {
            let hash = sha256(&[&vec![b'a'; len]]);
            assert_eq!(chain.verify_chunk(&hash, &unhex(signature).unwrap()), Ok(()));
        }
    }

    #[test]
    fn the_documented_upload_with_trailer_holds() {
        let mut chain = documented(b"106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e");
        for (len, signature) in [
            (65_536, b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
            (1024, b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
            (0, b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
        ] {
            let hash = sha256(&[&vec![b'a'; len]]);
            assert_eq!(chain.verify_chunk(&hash, &unhex(signature).unwrap()), Ok(()));
        }
        let signature = unhex(b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435").unwrap();
        assert_eq!(chain.verify_trailer(b"x-amz-checksum-crc32c:sOO8/Q==\n", &signature), Ok(()));
    }

    #[test]
    fn a_broken_chain_stays_broken() {
        let seed = b"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let (mut right, mut chain) = (documented(seed), documented(seed));
        let hash = sha256(&[b"one"]);
        right.sign_chunk(&hash);
        assert_eq!(chain.verify_chunk(&hash, &[0; 32]), Err(AuthError::ChunkSignatureMismatch));
        let next = sha256(&[b"two"]);
        let signature = right.sign_chunk(&next);
        assert_eq!(chain.verify_chunk(&next, &signature), Err(AuthError::ChunkSignatureMismatch));
    }
}
