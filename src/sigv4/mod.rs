//! AWS Signature Version 4 for S3: verify what clients sent, sign what we send.
//!
//! ```text
//! signature   = hex(HMAC-SHA-256(signing key, string to sign))
//! signing key = HMAC(HMAC(HMAC(HMAC("AWS4" ‖ secret, date), region), "s3"), "aws4_request")
//! string to sign = "AWS4-HMAC-SHA256" ⏎ time ⏎ scope ⏎ hex(SHA-256(canonical request))
//! ```
//!
//! Pure code: time, secrets and the request's bytes are arguments. Verification is one type per step, so that nothing
//! is used before it is believed:
//!
//! [`Authentication::of`] → [`Claim`] (gives an access key id to look up) → [`Claim::verify`] → [`Verified`]
//! → [`ChunkSignatures`] for a body that is signed chunk by chunk.
//!
//! Both directions share one canonicalisation ([`canonical`]), so `verify(sign(x))` holds by construction and is a
//! property test. Sources: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API Reference and its
//! subpages, named where they apply.

mod authorization;
pub mod canonical;
mod chunk;
mod date;
mod error;
mod headers;
mod key;
mod post;
mod scope;
mod sign;
pub mod uri;

pub use authorization::{
    Authentication, Claim, MAX_EXPIRES_SECONDS, MAX_SKEW_MILLIS, PRESIGNED, Presentation, RequestView, Verified,
};
pub use chunk::ChunkSignatures;
pub use date::{AmzDate, format_http_date, parse_http_date};
pub use error::AuthError;
pub use headers::{HeaderField, Headers, RepeatedHeader};
pub use key::SigningKey;
pub use post::PostClaim;
pub use scope::{AccessKeyId, CredentialScope};
pub use sign::{Credentials, SignedFields, presign, sign};

pub use canonical::ContentSha256;

#[cfg(test)]
mod tests;
