//! The upstream S3 store: what gateway, jobs and `check` call. It sees ciphertext only.
//!
//! [`Upstream::send`] signs one request, sends it and sorts what comes back: an [`Answer`], or a [`StoreError`] that says who
//! is to blame. No text of the store's but the name of its error code goes on.

mod error;
pub mod identity;
pub mod settings;
#[cfg(test)]
mod tests;
mod trailed;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

pub use error::{DELETE_MARKER, Refused, StoreError, cors_headers};
use identity::Issuer;
use settings::{Addressing, Credentials, Profile, UpstreamSettings};

use crate::clock::Clock;
use crate::digest::{checksum, sha256};
use crate::net::body::{self, Body, collect};
use crate::net::client::{Client, ClientError, ClientSettings};
use crate::net::tls::TlsError;
use crate::s3::error::ErrorCode;
use crate::s3::xml::ErrorAnswer;
use crate::sigv4::uri::{Query, Slash, encode, encode_into};
use crate::sigv4::{self, AmzDate, ContentSha256, CredentialScope, Headers, RequestView, SigningKey};

/// The longest error document that is read.
const MAX_ERROR_LEN: usize = 64 << 10;
/// How often a request that can be sent again is sent in all.
const MAX_TRIES: u32 = 3;
/// A connection that lay idle for longer is not trusted with what cannot be sent again.
const STREAM_IDLE_LIMIT: Duration = Duration::from_secs(4);
/// How many signing keys are kept: per identity and day.
const KEPT_KEYS: usize = 64;

/// The body of a request.
pub enum Payload {
    /// None.
    Empty,
    /// A small one, hashed, which may be sent again.
    Bytes(Bytes),
    /// One of exactly `len` bytes that is made while it is sent: not hashed, never sent again.
    Stream {
        /// The bytes.
        body: Body,
        /// How many.
        len: u64,
    },
}

/// As whom a request is sent.
#[derive(Clone, Copy, Default)]
pub enum Identity<'a> {
    /// The upstream's own identity.
    #[default]
    Own,
    /// Another one.
    Of(&'a Arc<Issuer>),
    /// Unsigned: the store decides by its ACLs and policies alone.
    Nobody,
}

/// One request to the store.
pub struct StoreRequest<'a> {
    /// The method.
    pub method: Method,
    /// The bucket, by the store's name of it.
    pub bucket: Option<&'a str>,
    /// The object's key.
    pub key: Option<&'a [u8]>,
    /// The query.
    pub query: Query,
    /// Headers, as they are to stand.
    pub headers: HeaderMap,
    /// The body.
    pub body: Payload,
    /// As whom it is sent.
    pub identity: Identity<'a>,
    /// The `traceparent` to pass.
    pub trace: Option<String>,
}

/// An answer that is none of an error.
pub struct Answer {
    /// Its status: 2xx.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
}

impl Answer {
    /// The body, which must not be longer than `limit`.
    pub async fn bytes(self, limit: usize) -> Result<Bytes, StoreError> {
        collect(self.body, limit).await.map_err(|_| StoreError::BrokenOff)
    }
}

/// A place among the requests that an upstream is asked at once, and for whoever does not sign one among theirs.
pub struct UnderWay(#[expect(dead_code, reason = "given back on drop")] [Option<OwnedSemaphorePermit>; 2]);

/// Places among an upstream's requests.
#[derive(Clone)]
struct Places {
    all: Arc<Semaphore>,
    /// Of those, what requests of nobody may take: half.
    unsigned: Arc<Semaphore>,
}

impl Places {
    fn new(count: u32) -> Self {
        let of = |count: u32| {
            Arc::new(Semaphore::new(usize::try_from(count.max(1)).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)))
        };
        // the only place is everybody's
        Self { all: of(count), unsigned: of(count / 2) }
    }
}

/// How an upstream does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Requests that were sent.
    pub requests: u64,
    /// Of those, the ones without a usable answer.
    pub failures: u64,
}

/// One store.
pub struct Upstream {
    settings: UpstreamSettings,
    client: Client,
    host: String,
    clock: Arc<dyn Clock>,
    places: Places,
    keys: Mutex<VecDeque<(Arc<Credentials>, SigningKey)>>,
    requests: AtomicU64,
    failures: AtomicU64,
}

impl Upstream {
    /// A client of the store that `settings` describe. Nothing is sent yet.
    pub fn new(settings: UpstreamSettings, clock: Arc<dyn Clock>) -> Result<Self, TlsError> {
        let timeouts = settings.timeouts;
        let client = Client::new(ClientSettings {
            endpoint: settings.endpoint.clone(),
            ca: settings.ca.clone(),
            proxy: settings.proxy.clone(),
            connect_timeout: timeouts.connect,
            first_byte_timeout: timeouts.first_byte,
            idle_timeout: timeouts.idle,
            max_idle: 64,
            max_buf: 512 << 10,
        })?;
        let host = settings.endpoint.authority().map(|authority| authority.as_str().to_owned()).unwrap_or_default();
        let places = Places::new(settings.max_requests);
        Ok(Self {
            settings,
            client,
            host,
            clock,
            places,
            keys: Mutex::default(),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// Goes on counting where `former`, an earlier client of the same store, has its requests, unless the limit is another.
    #[must_use]
    pub fn after(mut self, former: &Self) -> Self {
        let (new, old) = (&self.settings, &former.settings);
        if new.max_requests == old.max_requests && new.endpoint == old.endpoint {
            self.places = former.places.clone();
        }
        self.settings.credentials = self.settings.credentials.after(&former.settings.credentials);
        self
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Which store it is.
    #[must_use]
    pub const fn profile(&self) -> Profile {
        self.settings.profile
    }

    /// The region that requests are signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.settings.region
    }

    /// How it does.
    #[must_use]
    pub fn health(&self) -> Health {
        Health { requests: self.requests.load(Ordering::Relaxed), failures: self.failures.load(Ordering::Relaxed) }
    }

    /// Who issues the credentials of a request.
    const fn issuer<'a>(&'a self, identity: Identity<'a>) -> Option<&'a Arc<Issuer>> {
        match identity {
            Identity::Own => Some(&self.settings.credentials),
            Identity::Of(issuer) => Some(issuer),
            Identity::Nobody => None,
        }
    }

    /// Where it is.
    #[must_use]
    pub const fn endpoint(&self) -> &http::Uri {
        &self.settings.endpoint
    }

    /// Waits until there are credentials to sign with.
    pub async fn ready(&self, identity: Identity<'_>) -> Result<(), StoreError> {
        match self.issuer(identity) {
            Some(issuer) => issuer.fresh(&self.clock).await.map(drop).map_err(StoreError::NoCredentials),
            None => Ok(()),
        }
    }

    /// A place among the requests under way, waited for a while; `is_signed`: it is for somebody who signs.
    pub async fn place(&self, identity: Identity<'_>, is_signed: bool) -> Result<UnderWay, StoreError> {
        // nobody waits for credentials in a place that others wait for
        self.ready(identity).await?;
        let acquire = async {
            let unsigned =
                if is_signed { None } else { Some(Arc::clone(&self.places.unsigned).acquire_owned().await?) };
            Ok::<_, AcquireError>([unsigned, Some(Arc::clone(&self.places.all).acquire_owned().await?)])
        };
        let permits = timeout(self.settings.timeouts.first_byte, acquire).await;
        permits.ok().and_then(Result::ok).map(UnderWay).ok_or(StoreError::Busy)
    }

    /// Sends a request in a place of its own, which it keeps until the end of its answer.
    pub async fn send(&self, request: StoreRequest<'_>) -> Result<Answer, StoreError> {
        let place = self.place(request.identity, !matches!(request.identity, Identity::Nobody)).await?;
        Ok(self.send_within(request).await?.holding(place))
    }

    /// Sends a request for whoever has a place already: if one that is under way had to wait for another, all could wait
    /// for each other. One that can be sent again is, if its connection was closed before an answer came.
    pub async fn send_within(&self, request: StoreRequest<'_>) -> Result<Answer, StoreError> {
        let StoreRequest { method, bucket, key, query, headers, body, identity, trace } = request;
        let target = self.target(bucket, key, &query);
        // with a condition it may be the object that is missing
        let is_of_upload = query.has("uploadId")
            && !headers.contains_key("x-amz-copy-source")
            && !headers.contains_key(header::IF_MATCH);
        let issuer = self.issuer(identity);
        let identity = match issuer {
            Some(issuer) => Some(issuer.current(&self.clock).await.map_err(StoreError::NoCredentials)?),
            None => None,
        };
        let is_put = method == Method::PUT && key.is_some() && target.query.is_empty();
        let mut head = Head { method, target, headers, identity, trace };
        let sent = match body {
            Payload::Stream { body, len } if is_put && self.wants_checksum(&head.headers) => {
                let (body, len) = trailed::trailed(body, len, &mut head.headers);
                self.once(&head, body, Some(len), ContentSha256::StreamingUnsignedTrailer, STREAM_IDLE_LIMIT).await
            }
            Payload::Stream { body, len } => {
                self.once(&head, body, Some(len), ContentSha256::Unsigned, STREAM_IDLE_LIMIT).await
            }
            Payload::Empty => self.again(&head, &Bytes::new()).await,
            Payload::Bytes(bytes) => {
                if is_put && self.wants_checksum(&head.headers) {
                    trailed::announced(&bytes, &mut head.headers);
                }
                self.again(&head, &bytes).await
            }
        };
        if let (Err(StoreError::Credentials), Some(issuer), Some(credentials)) = (&sent, issuer, &head.identity) {
            issuer.refused(credentials, self.clock.now());
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        if sent.as_ref().is_err_and(|error| !matches!(error, StoreError::Refused(refused) if refused.status < 500)) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        match sent {
            Ok(answer) => Ok(answer),
            // Ceph answers so about an upload that is gone
            Err(error) if is_of_upload && error.code() == Some(ErrorCode::NoSuchKey) => {
                Err(StoreError::of_code(StatusCode::NOT_FOUND, ErrorCode::NoSuchUpload.name()))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a PutObject with these headers must come with a checksum.
    fn wants_checksum(&self, headers: &HeaderMap) -> bool {
        let locks = || headers.keys().any(|name| name.as_str().starts_with("x-amz-object-lock-"));
        self.settings.checksums || self.profile().capabilities().locks_by_checksum && locks()
    }

    async fn again(&self, head: &Head, bytes: &Bytes) -> Result<Answer, StoreError> {
        let payload = ContentSha256::Hash(sha256(&[bytes]));
        let has_body = !bytes.is_empty() || matches!(head.method, Method::PUT | Method::POST);
        let len = has_body.then_some(bytes.len() as u64);
        let repeat = Repeat::of(head);
        let idle_limit = if repeat == Repeat::Unsent { STREAM_IDLE_LIMIT } else { Duration::MAX };
        let mut tries = 1;
        loop {
            let body = if bytes.is_empty() { body::empty() } else { body::full(bytes.clone()) };
            let result = self.once(head, body, len, payload, idle_limit).await;
            let again = matches!(&result, Err(StoreError::Unavailable(error)) if repeat.allows(error));
            if !again || tries >= MAX_TRIES {
                return result;
            }
            tries += 1;
        }
    }

    async fn once(
        &self,
        head: &Head,
        body: Body,
        len: Option<u64>,
        payload: ContentSha256,
        idle_limit: Duration,
    ) -> Result<Answer, StoreError> {
        let request = self.signed(head, body, len, payload)?;
        let response = self.client.send(request, idle_limit).await.map_err(StoreError::Unavailable)?;
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            return Ok(Answer { status: parts.status, headers: parts.headers, body });
        }
        let is_bodiless = head.method == Method::HEAD || parts.status == StatusCode::NOT_MODIFIED;
        let document = if is_bodiless { Bytes::new() } else { collect(body, MAX_ERROR_LEN).await.unwrap_or_default() };
        Err(StoreError::of_answer(parts.status, &parts.headers, &document))
    }

    /// Path and query in the way that is signed: encoded once, never normalised.
    fn target(&self, bucket: Option<&str>, key: Option<&[u8]>, query: &Query) -> Target {
        let (mut path, mut host) = ("/".to_owned(), self.host.clone());
        if let Some(bucket) = bucket {
            match self.settings.addressing {
                Addressing::Path => {
                    path.push_str(&encode(bucket.as_bytes(), Slash::Encode));
                    if key.is_some() {
                        path.push('/');
                    }
                }
                Addressing::Virtual => host = format!("{bucket}.{host}"),
            }
        }
        if let Some(key) = key {
            encode_into(&mut path, key, Slash::Keep);
        }
        Target { host, path, query: query.to_encoded() }
    }

    fn signed(
        &self,
        head: &Head,
        body: Body,
        len: Option<u64>,
        payload: ContentSha256,
    ) -> Result<Request<Body>, StoreError> {
        let Head { method, target, headers, identity, trace } = head;
        let uri =
            if target.query.is_empty() { target.path.clone() } else { format!("{}?{}", target.path, target.query) };
        let mut request =
            Request::builder().method(method.clone()).uri(uri).body(body).map_err(|_| StoreError::Request)?;
        let out = request.headers_mut();
        *out = headers.clone();
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| StoreError::Request);
        out.insert(header::HOST, value(&target.host)?);
        if let Some(len) = len {
            out.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
        }
        if let Some(identity) = identity {
            self.sign(head, identity, payload, out)?;
        } else if payload.is_streaming() {
            // how a body is framed is said, signed or not
            out.insert(HeaderName::from_static("x-amz-content-sha256"), value(&payload.to_text())?);
        }
        if let Some(trace) = trace {
            out.insert(HeaderName::from_static("traceparent"), value(trace)?);
        }
        Ok(request)
    }

    /// Adds the headers of a signature.
    fn sign(
        &self,
        head: &Head,
        identity: &Arc<Credentials>,
        payload: ContentSha256,
        out: &mut HeaderMap,
    ) -> Result<(), StoreError> {
        let Head { method, target, headers, .. } = head;
        let date = AmzDate::of(self.clock.now());
        let key = self.signing_key(identity, date);
        let mut fields: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        fields.push(("host", target.host.as_bytes()));
        let view = RequestView {
            method: method.as_str(),
            path: &target.path,
            query: &target.query,
            headers: Headers::new(&fields),
        };
        let credentials = sigv4::Credentials {
            access_key_id: &identity.access_key_id,
            key: &key,
            session_token: identity.session_token.as_deref(),
        };
        let signed = sigv4::sign(&view, &credentials, date, payload).map_err(|_| StoreError::Request)?;
        for (name, text) in signed.fields() {
            let mut value = HeaderValue::from_str(text).map_err(|_| StoreError::Request)?;
            value.set_sensitive(true);
            out.insert(HeaderName::from_static(name), value);
        }
        Ok(())
    }

    fn signing_key(&self, identity: &Arc<Credentials>, date: AmzDate) -> SigningKey {
        let scope = CredentialScope::new(date, &self.settings.region);
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        // the same id may have another secret now
        let is_same = |kept: &Arc<Credentials>| Arc::ptr_eq(kept, identity);
        let found = keys.iter().find(|(kept, key)| is_same(kept) && *key.scope() == scope);
        if let Some((_, key)) = found {
            return key.clone();
        }
        let key = SigningKey::derive(&identity.secret, &scope);
        // those that nobody else has any more have ended
        keys.retain(|(kept, _)| Arc::strong_count(kept) > 1);
        if keys.len() >= KEPT_KEYS {
            keys.pop_front();
        }
        keys.push_back((Arc::clone(identity), key.clone()));
        key
    }
}

struct Target {
    host: String,
    path: String,
    query: String,
}

struct Head {
    method: Method,
    target: Target,
    headers: HeaderMap,
    /// `None`: it is not signed.
    identity: Option<Arc<Credentials>>,
    trace: Option<String>,
}

/// When a request is sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    /// Whenever its connection was closed: it changes nothing.
    Read,
    /// When a connection that had lain idle was closed on it: done twice, it is as done once.
    Idempotent,
    /// Only when there was no connection. Done twice, its second answer would speak of what the first one did.
    Unsent,
}

impl Repeat {
    fn of(head: &Head) -> Self {
        let judges = ["if-match", "if-none-match", "x-amz-copy-source"];
        match head.method {
            Method::GET | Method::HEAD => Self::Read,
            Method::PUT | Method::DELETE if !judges.iter().any(|name| head.headers.contains_key(*name)) => {
                Self::Idempotent
            }
            _ => Self::Unsent,
        }
    }

    const fn allows(self, error: &ClientError) -> bool {
        match error {
            ClientError::Connect(_) => true,
            ClientError::Closed { reused } => match self {
                Self::Read => true,
                Self::Idempotent => *reused,
                Self::Unsent => false,
            },
            _ => false,
        }
    }
}

impl Answer {
    /// The answer's body counts as a request under way until its end.
    fn holding(self, place: UnderWay) -> Self {
        use http_body_util::BodyExt as _;
        let body = self
            .body
            .map_frame(move |frame| {
                // the place is kept as long as this closure
                let _ = &place;
                frame
            })
            .boxed_unsync();
        Self { body, ..self }
    }
}

/// The error in an answer of status 200, where S3 puts one: CopyObject, UploadPartCopy, CompleteMultipartUpload.
#[must_use]
pub fn error_in_200(error: &ErrorAnswer) -> StoreError {
    StoreError::of_code(StatusCode::INTERNAL_SERVER_ERROR, &error.code)
}

/// The `Content-MD5` of a body, which stores demand of DeleteObjects.
#[must_use]
pub fn content_md5(bytes: &[u8]) -> Option<HeaderValue> {
    use base64::Engine as _;
    let md5 = checksum(crate::digest::ChecksumAlgorithm::Md5, bytes);
    HeaderValue::from_str(&base64::engine::general_purpose::STANDARD.encode(md5.as_bytes())).ok()
}
