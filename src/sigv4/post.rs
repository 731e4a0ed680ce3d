//! The signature of a POST form: string to sign = the base64 policy as it stands in the form.
//!
//! Source: "Authenticating Requests in Browser-Based Uploads Using POST". A verified signature says that the policy is
//! the signer's; whether the form obeys it is another question, and the S3 layer's.

use super::authorization::MAX_SKEW_MILLIS;
use super::canonical::ALGORITHM;
use super::date::AmzDate;
use super::error::AuthError;
use super::headers::Headers;
use super::key::SigningKey;
use super::scope::{AccessKeyId, CredentialScope};
use crate::clock::Timestamp;
use crate::digest::{SHA256_LEN, unhex};

/// The signature of a form, parsed and not believed yet.
pub struct PostClaim {
    access_key_id: AccessKeyId,
    scope: CredentialScope,
    policy: Vec<u8>,
    signature: [u8; SHA256_LEN],
}

impl PostClaim {
    /// Reads the form's fields (those before `file`); `None` if none of them belongs to a signature: an anonymous form.
    ///
    /// The expiry stands in the policy, which the caller evaluates after [`PostClaim::verify`].
    pub fn parse(fields: Headers<'_>, region: &str, now: Timestamp) -> Result<Option<Self>, AuthError> {
        if fields.has("awsaccesskeyid") || fields.has("signature") {
            return Err(AuthError::SignatureV2);
        }
        if fields.has("x-amz-security-token") {
            return Err(AuthError::SecurityToken);
        }
        let names = ["policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];
        if !names.into_iter().any(|name| fields.has(name)) {
            return Ok(None);
        }
        let one = |name, missing| {
            let value = fields.one(name).map_err(|_| AuthError::RepeatedHeader)?;
            let value = value.ok_or(AuthError::Query(missing))?;
            str::from_utf8(value).map_err(|_| AuthError::Query("a field is not a text"))
        };
        match one("x-amz-algorithm", "the field x-amz-algorithm is missing")? {
            ALGORITHM => {}
            "AWS4-ECDSA-P256-SHA256" => return Err(AuthError::SignatureV4a),
            _ => return Err(AuthError::Query("x-amz-algorithm only supports AWS4-HMAC-SHA256")),
        }
        let credential = one("x-amz-credential", "the field x-amz-credential is missing")?;
        let (access_key_id, scope) = CredentialScope::parse_credential(credential).map_err(AuthError::Query)?;
        if scope.region() != region {
            return Err(AuthError::QueryRegion { expected: region.to_owned() });
        }
        let date = AmzDate::parse(one("x-amz-date", "the field x-amz-date is missing")?.as_bytes())
            .ok_or(AuthError::Query("x-amz-date is not of the form yyyyMMdd'T'HHmmss'Z'"))?;
        if date.short() != scope.date() {
            return Err(AuthError::Query("the credential's date is not that of x-amz-date"));
        }
        if now.unix_millis().saturating_add(MAX_SKEW_MILLIS) < date.timestamp().unix_millis() {
            return Err(AuthError::NotYetValid);
        }
        let policy = one("policy", "the field policy is missing")?.as_bytes().to_vec();
        let signature = unhex(one("x-amz-signature", "the field x-amz-signature is missing")?.as_bytes())
            .ok_or(AuthError::Query("x-amz-signature is not 64 hexadecimal digits"))?;
        Ok(Some(Self { access_key_id, scope, policy, signature }))
    }

    /// Who claims to have signed.
    #[must_use]
    pub const fn access_key_id(&self) -> &AccessKeyId {
        &self.access_key_id
    }

    /// For which scope the signing key must be derived.
    #[must_use]
    pub const fn scope(&self) -> &CredentialScope {
        &self.scope
    }

    /// Compares the signature in constant time; the answer is the signed policy, in base64 as it stood in the form.
    pub fn verify(self, key: &SigningKey) -> Result<(AccessKeyId, Vec<u8>), AuthError> {
        if *key.scope() != self.scope {
            return Err(AuthError::Misuse);
        }
        if key.is_signature_of(&self.policy, &self.signature) {
            Ok((self.access_key_id, self.policy))
        } else {
            Err(AuthError::SignatureMismatch)
        }
    }
}
