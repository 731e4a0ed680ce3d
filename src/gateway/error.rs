//! One table: what went wrong → what the client is told, who is to blame, whether somebody must be woken.
//!
//! The client gets the kind, the log the cause, nobody the secret. All integrity failures look alike outside.

use std::borrow::Cow;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderName, HeaderValue, header};

use super::etag;
use super::headers::quoted;
use crate::crypto::random::RandomError;
use crate::format::{OpenError, SealError};
use crate::keys::{KeyError, KeyErrorKind};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::xml::{XmlError, unquoted};
use crate::sigv4::uri::UriError;
use crate::store::StoreError;
use crate::telemetry::Blame;

/// A refusal with its cause. It is large and rare, so it rests on the heap.
#[derive(Clone, Debug)]
pub(super) struct Failure(Box<Details>);

impl Deref for Failure {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

/// What there is to say of a refusal.
#[derive(Clone, Debug)]
pub(super) struct Details {
    /// What the client is told.
    pub(super) error: S3Error,
    /// Whose fault it is.
    pub(super) blame: Blame,
    /// What the log says beyond that: never a name, a plaintext or a secret.
    pub(super) cause: Cow<'static, str>,
    /// Which alert it raises.
    pub(super) alert: Option<&'static str>,
    /// Seconds after which trying again is worth it.
    pub(super) retry_after: Option<u32>,
    /// `ETag` and `Last-Modified` of what a condition's verdict is about, as clients see them; or what the store says of a
    /// delete marker.
    pub(super) validators: Vec<(HeaderName, HeaderValue)>,
}

impl Failure {
    fn new(error: S3Error, blame: Blame, cause: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = matches!(error.status(), 503).then_some(1);
        let (cause, alert, validators) = (cause.into(), None, Vec::new());
        Self(Box::new(Details { error, blame, cause, alert, retry_after, validators }))
    }

    fn alerting(mut self, kind: &'static str) -> Self {
        self.alert = Some(kind);
        self
    }

    /// Our own mistake.
    pub(super) fn ours(cause: &'static str) -> Self {
        Self::new(ErrorCode::InternalError.into(), Blame::Ourselves, cause)
    }

    /// The stored bytes are not what was sealed.
    pub(super) fn integrity(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::IntegrityError.into(), Blame::Integrity, cause).alerting("integrity")
    }

    /// The store's answer is not one that S3 gives.
    pub(super) fn upstream(cause: &'static str) -> Self {
        Self::new(ErrorCode::ServiceUnavailable.into(), Blame::Upstream, cause)
    }

    /// The store refuses what the gateway asks for itself.
    pub(super) fn credentials(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::UpstreamCredentials.into(), Blame::Upstream, cause).alerting("upstream_credentials")
    }

    /// Over a limit: the client shall come again.
    pub(super) fn slow_down(cause: &'static str) -> Self {
        Self::new(ErrorCode::SlowDown.into(), Blame::Downstream, cause)
    }

    /// The code the client sees.
    pub(super) fn code(&self) -> ErrorCode {
        self.error.code()
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        let blame = if error.status() >= 500 && error.status() != 501 { Blame::Ourselves } else { Blame::Downstream };
        let cause = error.code().name();
        Self::new(error, blame, cause)
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        S3Error::from(code).into()
    }
}

impl From<UriError> for Failure {
    fn from(error: UriError) -> Self {
        S3Error::from(error).into()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let cause = error.to_string();
        match error {
            StoreError::Refused(refused) => {
                let code = match refused.code.filter(|code| !code.is_ours()) {
                    Some(code) if code.status() == refused.status => code,
                    Some(code) if refused.status < 500 => code,
                    _ => of_status(refused.status),
                };
                let blame = if refused.status >= 500 { Blame::Upstream } else { Blame::Downstream };
                let mut failure = Self::new(code.into(), blame, cause);
                if let Some(seconds) = refused.retry_after {
                    failure.retry_after = Some(seconds);
                }
                failure.validators = refused.validators.into_iter().filter_map(shown).collect();
                failure
            }
            StoreError::Credentials | StoreError::Signature | StoreError::Clock | StoreError::NoCredentials(_) => {
                Self::credentials(cause)
            }
            StoreError::Redirected => {
                Self::new(ErrorCode::ServiceUnavailable.into(), Blame::Upstream, cause).alerting("upstream_redirect")
            }
            StoreError::Busy => Self::new(ErrorCode::SlowDown.into(), Blame::Upstream, cause),
            _ => Self::new(ErrorCode::ServiceUnavailable.into(), Blame::Upstream, cause),
        }
    }
}

/// A validator of the store's as clients see it.
fn shown((name, value): (HeaderName, HeaderValue)) -> Option<(HeaderName, HeaderValue)> {
    if name != header::ETAG {
        return Some((name, value));
    }
    let etag = etag::downstream(unquoted(value.to_str().ok()?));
    Some((name, HeaderValue::from_str(&quoted(&etag)).ok()?))
}

/// The code of an answer whose body has none: HEAD's.
fn of_status(status: u16) -> ErrorCode {
    match status {
        304 => ErrorCode::NotModified,
        400 => ErrorCode::InvalidRequest,
        401 | 403 => ErrorCode::AccessDenied,
        404 => ErrorCode::NoSuchKey,
        405 => ErrorCode::MethodNotAllowed,
        409 => ErrorCode::ConditionalRequestConflict,
        411 => ErrorCode::MissingContentLength,
        412 => ErrorCode::PreconditionFailed,
        416 => ErrorCode::InvalidRange,
        429 => ErrorCode::SlowDown,
        501 => ErrorCode::NotImplemented,
        _ => ErrorCode::ServiceUnavailable,
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        let cause = error.to_string();
        match (&error, error.kind()) {
            (KeyError::NotAllowed, _) => {
                Self::new(ErrorCode::KeyNotAllowed.into(), Blame::KeyProvider, cause).alerting("key_denied")
            }
            (_, KeyErrorKind::Denied) => Self::new(ErrorCode::KeyRevoked.into(), Blame::KeyProvider, cause),
            (_, KeyErrorKind::Integrity) => Self::integrity(cause),
            (_, KeyErrorKind::Unavailable) => {
                Self::new(ErrorCode::ServiceUnavailable.into(), Blame::KeyProvider, cause)
            }
        }
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Misuse(cause) => Self::ours(cause),
            error => Self::integrity(error.to_string()),
        }
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        let code = match &error {
            SealError::MetadataTooLarge => ErrorCode::MetadataTooLarge,
            SealError::Metadata(_) => ErrorCode::InvalidArgument,
            SealError::TooLong => ErrorCode::EntityTooLarge,
            _ => return Self::new(ErrorCode::InternalError.into(), Blame::Ourselves, error.to_string()),
        };
        code.into()
    }
}

impl From<RandomError> for Failure {
    fn from(error: RandomError) -> Self {
        Self::new(ErrorCode::ServiceUnavailable.into(), Blame::Ourselves, error.to_string())
    }
}

impl From<XmlError> for Failure {
    fn from(_: XmlError) -> Self {
        Self::upstream("the store's answer is not the XML that S3 answers")
    }
}

/// Where a body that is under way leaves the reason for which it was given up: the error of a body has no room for it.
#[derive(Clone, Debug, Default)]
pub(super) struct FailureSlot(Arc<Mutex<Option<Failure>>>);

impl FailureSlot {
    /// Keeps the first reason.
    pub(super) fn set(&self, failure: Failure) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }

    /// The reason, if there is one.
    pub(super) fn take(&self) -> Option<Failure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
