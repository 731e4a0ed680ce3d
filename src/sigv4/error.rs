//! Why a request is not authenticated.

use thiserror::Error;

/// Why a request is not authenticated. The texts go to the client: none holds a name, a secret, or what would help to
/// forge a signature (S3's own answer echoes the canonical request; ours does not).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The `Authorization` header is not of the form that the signature's version has.
    #[error("The authorization header is malformed; {0}.")]
    Malformed(&'static str),
    /// The credential scope names another region.
    #[error("The authorization header is malformed; the region is wrong; expecting '{expected}'.")]
    Region {
        /// The only region of this gateway.
        expected: String,
    },
    /// A parameter of a presigned URL is missing or malformed.
    #[error("Error parsing the X-Amz query parameters; {0}.")]
    Query(&'static str),
    /// The credential scope of a presigned URL names another region.
    #[error("Error parsing the X-Amz-Credential parameter; the region is wrong; expecting '{expected}'.")]
    QueryRegion {
        /// The only region of this gateway.
        expected: String,
    },
    /// The signature is not that of this request under this secret.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your key and signing method."
    )]
    SignatureMismatch,
    /// An aws-chunk's or the trailer's signature does not hold.
    #[error("A chunk signature we calculated does not match the signature you provided.")]
    ChunkSignatureMismatch,
    /// The request's time is too far from ours.
    #[error("The difference between the request time and the server's time is too large.")]
    TimeTooSkewed,
    /// A presigned URL or form is past its time.
    #[error("Request has expired.")]
    Expired,
    /// A presigned URL of the future.
    #[error("Request is not valid yet.")]
    NotYetValid,
    /// There is neither `x-amz-date` nor `Date`, or it cannot be read.
    #[error("AWS authentication requires a valid Date or x-amz-date header.")]
    MissingDate,
    /// `host` or an `x-amz-*` header is present and not signed.
    #[error("There were headers present in the request which were not signed.")]
    UnsignedHeader,
    /// A parameter that the signature's version does not sign, and that is more than a page of a list.
    #[error("There were parameters present in the request which were not signed.")]
    UnsignedParameter,
    /// A header that the signature needs stands twice.
    #[error("A header field that must be unique is repeated.")]
    RepeatedHeader,
    /// The client came with a session token, and there are no sessions here.
    #[error(
        "The provided token is not supported: this endpoint takes long-term credentials only, without X-Amz-Security-Token."
    )]
    SecurityToken,
    /// Signature version 2, where the credential is not for it.
    #[error("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")]
    SignatureV2,
    /// Signature version 4A (asymmetric, multi-region).
    #[error("AWS4-ECDSA-P256-SHA256 (SigV4A) is not supported. Please use AWS4-HMAC-SHA256.")]
    SignatureV4a,
    /// Header and query both claim to sign the request.
    #[error(
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter or the Authorization header should be specified."
    )]
    TwoMechanisms,
    /// The `Authorization` header is of no known scheme.
    #[error("Unsupported Authorization Type.")]
    UnsupportedScheme,
    /// `x-amz-content-sha256` is missing.
    #[error("Missing required header for this request: x-amz-content-sha256.")]
    MissingContentSha256,
    /// `x-amz-content-sha256` is neither a hash nor one of the known words.
    #[error(
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value."
    )]
    InvalidContentSha256,
    /// Path or query is not well-formed.
    #[error("Couldn't parse the specified URI.")]
    Uri,
    /// The key handed to `verify` is that of another scope.
    #[error("misuse: the signing key is of another scope")]
    Misuse,
}
