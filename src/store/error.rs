//! Why the store did not do what it was asked.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use thiserror::Error;

use super::identity::IssueError;
use crate::net::client::ClientError;
use crate::s3::error::ErrorCode;
use crate::s3::xml::ErrorAnswer;

/// Codes by which a store refuses *our* credentials, not the client.
const OUR_CREDENTIALS: [&str; 5] =
    ["InvalidAccessKeyId", "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidSecurity"];
/// And those by which it refuses what we made of them for one request.
const OUR_SIGNATURE: [&str; 2] = ["SignatureDoesNotMatch", "AuthorizationHeaderMalformed"];

/// By which a store says that what was asked for is a delete marker.
pub const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// An answer of the store that is an error of S3's.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its status.
    pub status: u16,
    /// Its code, if it is one that we know.
    pub code: Option<ErrorCode>,
    /// Seconds after which it says to come again.
    pub retry_after: Option<u32>,
    /// `ETag` and `Last-Modified` that came with a condition's verdict; or what it says of a delete marker that was met.
    pub validators: Vec<(HeaderName, HeaderValue)>,
    /// What it says to pages of other origins.
    pub cors: HeaderMap,
}

/// Why there is no answer to use.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The store says no.
    #[error("the store answers {} {}", .0.status, .0.code.map_or("without a code that is known", ErrorCode::name))]
    Refused(Box<Refused>),
    /// The store refuses our credentials.
    #[error("the store refuses the gateway's credentials")]
    Credentials,
    /// The store refuses our signature of this request. Others may be to its liking.
    #[error("the store refuses the gateway's signature")]
    Signature,
    /// The store refuses our clock.
    #[error("the store's clock and the gateway's differ")]
    Clock,
    /// There are no credentials to sign with.
    #[error("there are no credentials for the store: {0}")]
    NoCredentials(#[source] IssueError),
    /// The store sends us elsewhere; where data goes is said by the configuration alone.
    #[error("the store redirects, which is not followed")]
    Redirected,
    /// The store cannot be reached, or does not answer.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] ClientError),
    /// Its answer broke off, or is longer than any.
    #[error("the store's answer broke off or is too long")]
    BrokenOff,
    /// Too many requests wait for it.
    #[error("too many requests wait for the store")]
    Busy,
    /// The request cannot be made.
    #[error("the request cannot be made")]
    Request,
}

/// What of an answer's headers is for pages of other origins.
#[must_use]
pub fn cors_headers(headers: &HeaderMap) -> HeaderMap {
    let is_cors = |name: &HeaderName| name.as_str().starts_with("access-control-") || *name == header::VARY;
    headers.iter().filter(|(name, _)| is_cors(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

impl StoreError {
    pub(super) fn of_answer(status: StatusCode, headers: &HeaderMap, document: &[u8]) -> Self {
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            return Self::Redirected;
        }
        let code = ErrorAnswer::parse(document).map(|error| error.code).unwrap_or_default();
        let mut error = Self::of_code(status, &code);
        if let Self::Refused(refused) = &mut error {
            refused.retry_after = headers
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse::<u32>().ok())
                .map(|seconds| seconds.min(3600));
            refused.cors = cors_headers(headers);
            // of no other refusal it is a word of S3's
            let meets_marker = matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)
                && headers.get(DELETE_MARKER).is_some_and(|value| value == "true");
            let names = if meets_marker {
                vec![header::LAST_MODIFIED, header::ALLOW, VERSION_ID, DELETE_MARKER]
            } else {
                vec![header::ETAG, header::LAST_MODIFIED]
            };
            for name in names {
                if let Some(value) = headers.get(&name) {
                    refused.validators.push((name, value.clone()));
                }
            }
        }
        error
    }

    pub(super) fn of_code(status: StatusCode, code: &str) -> Self {
        if OUR_CREDENTIALS.contains(&code) {
            return Self::Credentials;
        }
        if OUR_SIGNATURE.contains(&code) {
            return Self::Signature;
        }
        if code == "RequestTimeTooSkewed" {
            return Self::Clock;
        }
        let code = ErrorCode::from_name(code);
        Self::Refused(Box::new(Refused {
            status: status.as_u16(),
            code,
            retry_after: None,
            validators: Vec::new(),
            cors: HeaderMap::new(),
        }))
    }

    /// The code, if the store gave one that is known.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(refused) => refused.code,
            _ => None,
        }
    }

    /// The status, if the store answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refused) => Some(refused.status),
            _ => None,
        }
    }
}
