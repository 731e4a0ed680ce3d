//! The signing key: what an access key's secret becomes for one day and region.

use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::scope::CredentialScope;
use crate::digest::{HmacSha256, SHA256_LEN};
use crate::secret::Secret;

/// `HMAC(HMAC(HMAC(HMAC("AWS4" ‖ secret, date), region), "s3"), "aws4_request")`.
///
/// Good for one scope, so it can be kept for a day instead of the secret's being used for each request. Cloning it
/// makes another handle on the same memory, which is erased when the last one goes. It has no `Debug`.
#[derive(Clone)]
pub struct SigningKey {
    scope: CredentialScope,
    mac: Arc<HmacSha256>,
}

impl SigningKey {
    /// Derives the key of a scope ("Deriving the signing key").
    #[must_use]
    pub fn derive(secret: &Secret<str>, scope: &CredentialScope) -> Self {
        let start = Zeroizing::new([b"AWS4", secret.expose_secret().as_bytes()].concat());
        let mut key: Secret<[u8; SHA256_LEN]> = step(&start, scope.date());
        for text in [scope.region(), scope.service(), scope.terminator()] {
            key = step(key.expose_secret(), text);
        }
        Self { scope: scope.clone(), mac: Arc::new(HmacSha256::new(key.expose_secret())) }
    }

    /// Which day and region it is good for.
    #[must_use]
    pub const fn scope(&self) -> &CredentialScope {
        &self.scope
    }

    /// The signature of a string to sign, before hex.
    #[must_use]
    pub(super) fn sign(&self, string_to_sign: &[u8]) -> [u8; SHA256_LEN] {
        self.mac.mac([string_to_sign])
    }

    /// Whether `signature` is that of `string_to_sign`, in time independent of where they differ.
    pub(super) fn is_signature_of(&self, string_to_sign: &[u8], signature: &[u8; SHA256_LEN]) -> bool {
        self.sign(string_to_sign).ct_eq(signature).into()
    }
}

fn step(key: &[u8], text: &str) -> Secret<[u8; SHA256_LEN]> {
    Secret::from_bytes(HmacSha256::new(key).mac([text.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::digest::hex;

    #[test]
    fn a_signing_key_signs_as_aws_documents() {
        // "Signature Calculations: Browser-Based Uploads", whose string to sign is a policy of the same secret
        let secret = Secret::from_text(&Zeroizing::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()));
        let (_, scope) = CredentialScope::parse_credential("A/20130524/us-east-1/s3/aws4_request").unwrap();
        let key = SigningKey::derive(&secret, &scope);
        let text = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n\
                    7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        let signature = key.sign(text.as_bytes());
        assert_eq!(hex(&signature), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
        assert!(key.is_signature_of(text.as_bytes(), &signature));
        assert!(!key.is_signature_of(b"", &signature));
    }
}
