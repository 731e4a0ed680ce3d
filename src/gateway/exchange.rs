//! One request and its answer: what is counted and noted of it, and the line and numbers that remain.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::Permit;
use super::cors::{Admitted, Page};
use super::error::{Failure, FailureSlot};
use super::policy::{Caller, Place, UnderWay};
use super::upstream::discard_answer;
use crate::net::body::{Body, BodyError};
use crate::net::budget::Lease;
use crate::net::server::Connection;
use crate::s3::error::{ErrorCode, S3Error};
use crate::sigv4::uri::Query;
use crate::store::{Answer, Payload, StoreError, StoreRequest, Upstream};
use crate::telemetry::{self, Blame, Metrics, RequestRecord};

/// How long a store may take to say what a page may see; the answer waits for it.
const CORS_TIME: Duration = Duration::from_secs(3);

/// What is known of the request so far.
#[derive(Default)]
struct Noted {
    credential: Option<String>,
    bucket_id: Option<String>,
    operation: Option<&'static str>,
    failure: Option<Failure>,
    /// What the store says to the page that asks.
    cors: Option<HeaderMap>,
    /// Where the client's request is at home, if its page is admitted there: whose CORS rules count.
    home: Option<Home>,
}

/// A bucket of a store, and as whom it is asked.
#[derive(Clone)]
struct Home {
    upstream: Arc<Upstream>,
    bucket: String,
    caller: Arc<Caller>,
    admitted: Admitted,
}

/// What is taken as long as anybody works for the request, its client gone or not.
#[derive(Default)]
struct Held {
    under_way: Option<UnderWay>,
    leases: Vec<Lease>,
}

/// One request. Shared by its handler and the bodies that outlive it.
pub(super) struct Exchange {
    pub(super) request_id: String,
    pub(super) trace: telemetry::trace::TraceContext,
    method: &'static str,
    protocol: &'static str,
    tls: bool,
    /// What a browser says of the page that asks; the store judges it.
    page: Option<Page>,
    /// A digest of host and path, by which alerts are told apart.
    about: u64,
    begun: Instant,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    upstream_nanos: AtomicU64,
    upstream_requests: AtomicU32,
    noted: Mutex<Noted>,
    held: Mutex<Held>,
    /// Why a body that was under way was given up.
    pub(super) failure: FailureSlot,
    metrics: Arc<Metrics>,
    recorded: AtomicBool,
    is_signed: AtomicBool,
    connection: Option<Connection>,
    /// Its place among the requests to a store, as long as anybody works for it.
    place: OnceCell<crate::store::UnderWay>,
}

impl Exchange {
    pub(super) fn new(
        request_id: String,
        trace: telemetry::trace::TraceContext,
        head: (&Parts, bool),
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let (head, tls) = head;
        let (method, version) = (&head.method, head.version);
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let about = metrics.digest((host, head.uri.path()));
        Arc::new(Self {
            request_id,
            trace,
            method: method_name(method),
            protocol: if version == http::Version::HTTP_2 { "h2" } else { "http/1.1" },
            tls,
            page: Page::of(&head.headers),
            about,
            begun: Instant::now(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            upstream_nanos: AtomicU64::new(0),
            upstream_requests: AtomicU32::new(0),
            noted: Mutex::default(),
            held: Mutex::default(),
            failure: FailureSlot::default(),
            metrics,
            recorded: AtomicBool::new(false),
            is_signed: AtomicBool::new(false),
            connection: head.extensions.get().cloned(),
            place: OnceCell::new(),
        })
    }

    fn note(&self, change: impl FnOnce(&mut Noted)) {
        change(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) fn note_caller(&self, caller: &Caller, operation: &'static str) {
        if !caller.is_anonymous() {
            self.is_signed.store(true, Ordering::Relaxed);
            if let Some(connection) = &self.connection {
                connection.know();
            }
        }
        self.note(|noted| {
            noted.credential = Some(caller.rule.access_key_id.as_str().to_owned());
            noted.operation = Some(operation);
        });
    }

    /// Whether somebody has signed the request; as long as that is not read, nobody has.
    pub(super) fn is_signed(&self) -> bool {
        self.is_signed.load(Ordering::Relaxed)
    }

    pub(super) fn note_under_way(&self, under_way: UnderWay) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).under_way = Some(under_way);
    }

    /// Keeps memory taken until the answer went.
    pub(super) fn hold(&self, leases: impl IntoIterator<Item = Lease>) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).leases.extend(leases);
    }

    pub(super) fn note_place(&self, place: &Place) {
        self.note(|noted| {
            noted.bucket_id = Some(place.id.as_str().to_owned());
            if let Some(admitted) = self.page.as_ref().and_then(|page| page.admitted(&place.rule.cors_origins)) {
                let (upstream, caller) = (Arc::clone(&place.upstream), Arc::clone(&place.caller));
                noted.home = Some(Home { upstream, bucket: place.upstream_name.clone(), caller, admitted });
            }
        });
    }

    /// Raises the alert that a failure is worth; what is wrong with an object is told once a minute, for applications ask again.
    fn alert(&self, failure: &Failure) {
        match failure.alert {
            Some(kind @ ("integrity" | "not_sealed")) => self.metrics.alert_about(kind, self.about),
            Some(kind) => self.metrics.alert(kind),
            None => {}
        }
    }

    pub(super) fn note_failure(&self, failure: &Failure) {
        self.alert(failure);
        self.note(|noted| noted.failure = Some(failure.clone()));
    }

    /// A failure of an operation that went on without its client: its line is written, but whom it wakes must wake.
    pub(super) fn note_late(&self, failure: &Failure) {
        if self.recorded.load(Ordering::Relaxed) {
            self.alert(failure);
            let (request_id, error, cause) = (&self.request_id, failure.code().name(), &failure.cause);
            tracing::warn!(target: "sealgate::gateway", %request_id, error, %cause, "failed after its client had gone");
        }
    }

    /// By which scheme the client came.
    pub(super) const fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    pub(super) fn received(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// What every request to the store on behalf of this one has: the identity of `caller`'s rule, and the trace.
    pub(super) fn request<'a>(&self, caller: &'a Caller) -> StoreRequest<'a> {
        StoreRequest {
            method: Method::GET,
            bucket: None,
            key: None,
            query: Query::default(),
            headers: HeaderMap::new(),
            body: Payload::Empty,
            identity: caller.identity(),
            trace: self.trace.traceparent(),
        }
    }

    /// Sends one request to the store, and accounts for it.
    pub(super) async fn send(&self, upstream: &Upstream, mut request: StoreRequest<'_>) -> Result<Answer, StoreError> {
        // rules are of a bucket and a method: the verdict on one of several requests is the client's only if both are
        let judged = self.page.as_ref().zip(self.admitted(upstream, &request));
        let Some((page, admitted)) = judged else { return self.send_apart(upstream, request).await };
        request.headers.extend(page.headers.clone());
        let answer = self.send_apart(upstream, request).await;
        let cors = match &answer {
            Ok(answer) => page.verdict(admitted, &answer.headers),
            Err(StoreError::Refused(refused)) => page.verdict(admitted, &refused.cors),
            // a store that fails is not asked again
            Err(_) => HeaderMap::new(),
        };
        self.note(|noted| noted.cors = Some(cors));
        answer
    }

    /// Sends one request of the gateway's own, whatever page the client's comes from.
    pub(super) async fn send_apart(
        &self,
        upstream: &Upstream,
        request: StoreRequest<'_>,
    ) -> Result<Answer, StoreError> {
        let begun = Instant::now();
        // one place for each request of a client's, until it is answered: further ones for it wait for nobody
        self.place.get_or_try_init(|| upstream.place(request.identity, self.is_signed())).await?;
        let answer = upstream.send_within(request).await;
        let nanos = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.upstream_nanos.fetch_add(nanos, Ordering::Relaxed);
        self.upstream_requests.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Why the page is admitted, if `request` is one like the client's.
    fn admitted(&self, upstream: &Upstream, request: &StoreRequest<'_>) -> Option<Admitted> {
        let mut admitted = None;
        self.note(|noted| {
            let home = noted.home.as_ref().filter(|home| {
                request.method.as_str() == self.method
                    && std::ptr::eq(Arc::as_ptr(&home.upstream), upstream)
                    && request.bucket == Some(home.bucket.as_str())
            });
            admitted = home.map(|home| home.admitted);
        });
        admitted
    }

    /// Refuses a preflight request that does not say of what page and for what it is, whatever bucket it names.
    pub(super) fn check_preflight(&self) -> Result<(), S3Error> {
        let page = self.page.as_ref();
        let says_all = page.is_some_and(|page| page.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD));
        let message = "A preflight request needs Origin and Access-Control-Request-Method.";
        if says_all { Ok(()) } else { Err(S3Error::new(ErrorCode::InvalidRequest, message)) }
    }

    /// Whether the request comes from a page that its bucket's rule admits.
    pub(super) fn has_admitted_page(&self) -> bool {
        let mut has_home = false;
        self.note(|noted| has_home = noted.home.is_some());
        has_home
    }

    /// What the store says to pages of other origins. Where none of its answers was to a request like the client's, it is
    /// asked whether it would let that one pass.
    pub(super) async fn cors(&self) -> HeaderMap {
        let (mut cors, mut home) = (None, None);
        self.note(|noted| (cors, home) = (noted.cors.take(), noted.home.take()));
        match (cors, home) {
            (Some(cors), _) => cors,
            (None, Some(home)) if self.method != "OPTIONS" && self.place.initialized() => {
                timeout(CORS_TIME, self.ask_home(&home)).await.unwrap_or_default()
            }
            (None, _) => HeaderMap::new(),
        }
    }

    async fn ask_home(&self, home: &Home) -> HeaderMap {
        let Some(page) = &self.page else { return HeaderMap::new() };
        let mut headers = page.headers.clone();
        headers.remove(header::ACCESS_CONTROL_REQUEST_HEADERS);
        headers.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static(self.method));
        let method = Method::OPTIONS;
        let request = StoreRequest { method, bucket: Some(&home.bucket), headers, ..self.request(&home.caller) };
        let Ok(answer) = self.send(&home.upstream, request).await else { return HeaderMap::new() };
        let mut cors = page.verdict(home.admitted, &answer.headers);
        discard_answer(answer).await;
        // what only the answer to a preflight request says
        for name in
            [header::ACCESS_CONTROL_ALLOW_METHODS, header::ACCESS_CONTROL_ALLOW_HEADERS, header::ACCESS_CONTROL_MAX_AGE]
        {
            cors.remove(name);
        }
        cors
    }

    fn record(&self, status: u16, first_byte: Option<Duration>, completed: bool) {
        if self.recorded.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(failure) = self.failure.take() {
            self.note_failure(&failure);
        }
        let noted = std::mem::take(&mut *self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        let blame = match &noted.failure {
            Some(failure) => failure.blame,
            None if completed => Blame::None,
            None => Blame::Downstream,
        };
        let record = RequestRecord {
            request_id: self.request_id.clone(),
            trace_id: self.trace.trace_id(),
            credential: noted.credential,
            bucket_id: noted.bucket_id,
            operation: noted.operation.unwrap_or("Unknown"),
            method: self.method,
            status,
            error: noted.failure.as_ref().map(|failure| failure.code().name()),
            cause: noted.failure.map(|failure| failure.cause.clone()),
            blame,
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            duration: self.begun.elapsed(),
            first_byte,
            upstream_time: Duration::from_nanos(self.upstream_nanos.load(Ordering::Relaxed)),
            upstream_requests: self.upstream_requests.load(Ordering::Relaxed),
            protocol: self.protocol,
            tls: self.tls,
            completed,
        };
        self.metrics.observe(&record);
        telemetry::access_line(&record);
    }
}

/// A method's name, from a list: what a client sends does not reach the log.
fn method_name(method: &Method) -> &'static str {
    ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS"].into_iter().find(|name| method == name).unwrap_or("other")
}

/// Records a request whose handler was dropped: the client went before there was an answer.
pub(super) struct Unrecorded(Option<Arc<Exchange>>);

impl Unrecorded {
    pub(super) fn new(exchange: &Arc<Exchange>) -> Self {
        Self(Some(Arc::clone(exchange)))
    }

    /// There is an answer, which records it.
    pub(super) fn defuse(mut self) {
        self.0 = None;
    }
}

impl Drop for Unrecorded {
    fn drop(&mut self) {
        if let Some(exchange) = self.0.take() {
            // nginx's word for it
            exchange.record(499, None, false);
        }
    }
}

/// The body of an answer; at its end, however it comes, the request is recorded.
struct Recorded {
    body: Body,
    exchange: Arc<Exchange>,
    status: u16,
    first_byte: Option<Duration>,
    ended: bool,
    /// The request's place among those under way.
    _permit: Option<Permit>,
}

/// Wraps an answer's body, so that the request is recorded when it has ended.
pub(super) fn recorded(body: Body, exchange: Arc<Exchange>, status: u16, permit: Option<Permit>) -> Body {
    let ended = body.is_end_stream();
    Recorded { body, exchange, status, first_byte: None, ended, _permit: permit }.boxed_unsync()
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, Bytes::len);
                self.exchange.bytes_out.fetch_add(len as u64, Ordering::Relaxed);
                if self.first_byte.is_none() {
                    self.first_byte = Some(self.exchange.begun.elapsed());
                }
                self.ended = self.body.is_end_stream() || self.body.size_hint().exact() == Some(0);
            }
            Some(Err(_)) => {}
            None => self.ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        self.exchange.record(self.status, self.first_byte, self.ended);
    }
}
