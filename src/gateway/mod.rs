//! The pipeline: authenticate → parse → policy → seal or open → forward → render. The only place where protocol meets
//! crypto.
//!
//! A PUT: [`Gateway::handle`](crate::net::server::Handler::handle) → ingress → policy → `write` → `pump` (seals) → store. A GET:
//! policy → `read` → store → header believed → `pump` (opens). One file per family of operations; one table of errors.

mod attributes;
mod buckets;
mod copy;
mod cors;
mod delete;
mod documents;
mod envelope;
mod error;
pub mod etag;
mod exchange;
mod form;
mod generate;
mod headers;
mod list;
mod multipart;
mod policy;
mod pump;
mod read;
pub mod records;
pub mod settings;
mod sub_resource;
mod tags;
mod tails;
mod upstream;
mod versions;
mod write;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use self::error::Failure;
use self::exchange::{Exchange, Unrecorded};
use self::multipart::States;
use self::policy::{Caller, Policy};
use self::settings::Settings;
use self::tails::Tails;
use crate::clock::Clock;
use crate::crypto::random::RandomSource;
use crate::ingress::{Accepted, Verifier, answer};
use crate::keys::KeyProvider;
use crate::net::body::{self, Body, CollectError};
use crate::net::budget::{Budget, Lease};
use crate::net::server::{Handler, Peer};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::Operation;
use crate::store::{DELETE_MARKER, Upstream};
use crate::telemetry::{Metrics, trace};

/// How long a request waits for memory before it is told to come again.
const MEMORY_WAIT: Duration = Duration::from_secs(5);
/// How many header fields a request may have.
const MAX_FIELDS: usize = 128;
/// What a transfer takes of the budget at most: a chunk on its way and both connections' buffers.
const TRANSFER_BYTES: u64 = 1 << 20;
const TRANSFER_BASE: usize = 64 << 10;

/// What the operations share.
struct Core {
    region: String,
    limits: settings::Limits,
    policy: Policy,
    verifier: Verifier,
    keys: Arc<dyn KeyProvider>,
    clock: Arc<dyn Clock>,
    random: Arc<RandomSource>,
    budget: Budget,
    /// Of that, what requests of nobody may take: half.
    unsigned_budget: Budget,
    metrics: Arc<Metrics>,
    ids: Arc<trace::Ids>,
    requests: Arc<Semaphore>,
    /// Places of forms whose signature is not read yet.
    forms: Arc<Semaphore>,
    tails: Tails,
    states: States,
}

/// What a gateway is made of.
pub struct Components {
    /// The policy.
    pub settings: Settings,
    /// The stores that it names.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The custodian of the KEKs.
    pub keys: Arc<dyn KeyProvider>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<RandomSource>,
    /// Where requests are counted.
    pub metrics: Arc<Metrics>,
}

/// The gateway: answers S3 requests by way of a store that sees only ciphertext.
///
/// Its policy can be exchanged while it serves: a request goes on with the one that it began with.
pub struct Gateway {
    core: RwLock<Arc<Core>>,
    /// Places of requests that began before their limit was changed, and how many these were.
    former: Mutex<Vec<(Arc<Semaphore>, u32)>>,
}

impl Gateway {
    /// A gateway; it serves as soon as a listener hands it requests.
    #[must_use]
    pub fn new(parts: Components) -> Self {
        Self { core: RwLock::new(Arc::new(Core::new(parts, None))), former: Mutex::default() }
    }

    fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Judges requests that begin from now on by another policy, with other stores behind it.
    pub fn exchange(&self, settings: Settings, upstreams: Vec<Arc<Upstream>>) {
        let mut current = self.core.write().unwrap_or_else(PoisonError::into_inner);
        let old = Arc::clone(&current);
        let (keys, clock) = (Arc::clone(&old.keys), Arc::clone(&old.clock));
        let (random, metrics) = (Arc::clone(&old.random), Arc::clone(&old.metrics));
        let parts = Components { settings, upstreams, keys, clock, random, metrics };
        *current = Arc::new(Core::new(parts, Some(&old)));
        if !Arc::ptr_eq(&current.requests, &old.requests) {
            let former = (Arc::clone(&old.requests), old.limits.requests);
            self.former.lock().unwrap_or_else(PoisonError::into_inner).push(former);
        }
    }

    /// How many bytes of the memory budget are taken.
    #[must_use]
    pub fn memory_used(&self) -> usize {
        self.core().budget.used()
    }

    /// The memory budget.
    #[must_use]
    pub fn memory_limit(&self) -> usize {
        self.core().budget.total()
    }

    /// Waits until no request is under way: some go on when their connection is gone.
    pub async fn settled(&self) {
        let mut all = std::mem::take(&mut *self.former.lock().unwrap_or_else(PoisonError::into_inner));
        let core = self.core();
        all.push((Arc::clone(&core.requests), core.limits.requests));
        for (places, count) in all {
            let count = u32::try_from(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS));
            let _ = places.acquire_many(count.unwrap_or(u32::MAX)).await;
        }
    }

    /// Writes the gauges: how much memory is taken, how many requests are under way.
    pub fn sample(&self) {
        let core = self.core();
        core.metrics.memory_used.set(i64::try_from(core.budget.used()).unwrap_or(i64::MAX));
        let free = core.requests.available_permits();
        let under_way = usize::try_from(core.limits.requests).unwrap_or(usize::MAX).saturating_sub(free);
        core.metrics.in_flight.set(i64::try_from(under_way).unwrap_or(i64::MAX));
    }
}

impl Core {
    /// What `parts` describe. What is counted goes on where `former` has it, unless its limit is another.
    fn new(parts: Components, former: Option<&Self>) -> Self {
        let Components { settings, upstreams, keys, clock, random, metrics } = parts;
        let Settings { region, domains, limits, timeouts: _, buckets, credentials } = settings;
        let secrets: Vec<_> =
            credentials.iter().map(|rule| (rule.access_key_id.clone(), Arc::clone(&rule.secret))).collect();
        let by_version_2 = credentials.iter().filter(|rule| rule.signature_v2).map(|rule| rule.access_key_id.clone());
        let verifier = Verifier::new(&region, &domains, secrets).with_anonymous().with_version_2(by_version_2);
        let same = former.filter(|former| former.limits.memory == limits.memory);
        let budget = same.map_or_else(|| Budget::new(limits.memory), |former| former.budget.clone());
        let unsigned_budget =
            same.map_or_else(|| budget.part(limits.memory / 2), |former| former.unsigned_budget.clone());
        metrics.memory_limit.set(i64::try_from(budget.total()).unwrap_or(i64::MAX));
        let same = former.filter(|former| former.limits.requests == limits.requests);
        let places = |count: u32| Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS)));
        Self {
            verifier,
            policy: Policy::new(buckets, credentials, upstreams, limits.requests, former.map(|former| &former.policy)),
            region,
            limits,
            keys,
            clock,
            random,
            budget,
            unsigned_budget,
            metrics,
            ids: former.map_or_else(Arc::default, |former| Arc::clone(&former.ids)),
            forms: same.map_or_else(|| places((limits.requests / 4).max(1)), |former| Arc::clone(&former.forms)),
            requests: same.map_or_else(|| places(limits.requests), |former| Arc::clone(&former.requests)),
            tails: Tails::default(),
            states: States::default(),
        }
    }
}

/// A request's body, until somebody takes it.
type Taken = Arc<Mutex<Option<Body>>>;

/// What nobody has taken yet.
fn taken(body: &Taken) -> Option<Body> {
    body.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// A place among the requests under way, given back when the last one who shares it lets go.
type Permit = Arc<OwnedSemaphorePermit>;

/// One request on its way through an operation.
struct Call<'a> {
    core: &'a Arc<Core>,
    exchange: &'a Arc<Exchange>,
    caller: &'a Arc<Caller>,
    accepted: &'a mut Accepted,
    /// The body, until an operation reads it.
    body: &'a Taken,
}

impl Call<'_> {
    /// The body, once.
    fn take_body(&mut self) -> Body {
        taken(self.body).unwrap_or_else(body::empty)
    }

    /// The operations that [`has_steps`] names.
    async fn in_steps(&mut self, operation: &Operation) -> Result<Response<Body>, Failure> {
        if let Operation::CompleteMultipartUpload(upload) = operation {
            return self.complete_upload(upload).await;
        }
        self.no_body().await?;
        match operation {
            Operation::CreateMultipartUpload(object) => self.create_upload(object).await,
            Operation::AbortMultipartUpload(upload) => self.abort_upload(upload).await,
            other => Err(S3Error::not_implemented(other.name()).into()),
        }
    }

    /// The whole body of a document, verified.
    async fn document(&mut self, limit: usize) -> Result<bytes::Bytes, Failure> {
        let body = self.take_body();
        let mut ingress = self.accepted.document(body, limit)?;
        // it is held whole, and again as what it says
        let len = usize::try_from(ingress.len()).unwrap_or(usize::MAX);
        self.exchange.hold([self.core.reserve(self.exchange, len.saturating_mul(2)).await?]);
        let bytes = ingress.collect().await?;
        self.exchange.received(bytes.len());
        Ok(bytes)
    }

    /// The body of a request that should have none: a small one is read and verified, a large or slow one refused.
    async fn no_body(&mut self) -> Result<(), Failure> {
        const LIMIT: usize = 64 << 10;
        const TIME: Duration = Duration::from_secs(10);
        // an empty body may end with a frame of its own
        let read = timeout(TIME, body::collect(self.take_body(), LIMIT)).await;
        let read = read.map_err(|_| S3Error::from(ErrorCode::RequestTimeout))?;
        let bytes = read.map_err(|error| match error {
            CollectError::TooLong(_) => Failure::from(ErrorCode::MaxMessageLengthExceeded),
            CollectError::Body(error) => S3Error::from(error).into(),
        })?;
        if !bytes.is_empty() {
            self.accepted.collect(body::full(bytes), LIMIT).await?;
        }
        Ok(())
    }
}

/// Whether an operation changes the store in several steps. It is brought to its end though its client goes away: an upload
/// without its state, or the state of an upload that is complete, would stay behind.
const fn has_steps(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::CreateMultipartUpload(_)
            | Operation::CompleteMultipartUpload(_)
            | Operation::AbortMultipartUpload(_)
    )
}

impl Core {
    /// Takes memory for a body of `len` bytes.
    async fn reserve_transfer(&self, exchange: &Exchange, len: u64) -> Result<Lease, Failure> {
        let bytes = usize::try_from(len.min(TRANSFER_BYTES)).unwrap_or(TRANSFER_BASE);
        self.reserve(exchange, bytes + TRANSFER_BASE).await
    }

    /// The budget of a request.
    fn memory(&self, exchange: &Exchange) -> &Budget {
        if exchange.is_signed() { &self.budget } else { &self.unsigned_budget }
    }

    /// Takes `bytes` from the request's budget, waiting a while.
    async fn reserve(&self, exchange: &Exchange, bytes: usize) -> Result<Lease, Failure> {
        let lease = self.memory(exchange).reserve_within(bytes, MEMORY_WAIT).await;
        lease.ok_or_else(|| Failure::slow_down("the memory of all transfers is taken"))
    }

    async fn serve(
        self: &Arc<Self>,
        exchange: &Arc<Exchange>,
        head: Parts,
        body: &Taken,
        permit: &Permit,
    ) -> Result<Response<Body>, Failure> {
        self.check_size(&head)?;
        let mut accepted = self.verifier.accept(head, self.clock.now())?;
        if let Operation::PostObject(bucket) = &accepted.operation {
            // who asks stands in the form
            if accepted.caller.is_some() {
                return Err(S3Error::argument("Authorization", "A form is signed by its policy alone.").into());
            }
            let bucket = bucket.clone();
            return self.post_form(exchange, accepted, body, &bucket).await;
        }
        if matches!(accepted.operation, Operation::Preflight { .. }) {
            exchange.check_preflight()?;
        }
        let caller = Arc::clone(match &accepted.caller {
            Some(id) => self.policy.caller(id)?,
            None => self.policy.nobody(&accepted.operation)?,
        });
        headers::check_forwarded(&accepted.headers)?;
        exchange.note_caller(&caller, accepted.operation.name());
        exchange.note_under_way(caller.begin(Instant::now())?);
        let operation = accepted.operation.clone();
        if has_steps(&operation) {
            let (core, exchange, body, permit) = (Arc::clone(self), Arc::clone(exchange), body.clone(), permit.clone());
            let task = tokio::spawn(async move {
                let mut call =
                    Call { core: &core, exchange: &exchange, caller: &caller, accepted: &mut accepted, body: &body };
                let done = call.in_steps(&operation).await;
                if let Err(failure) = &done {
                    exchange.note_late(failure);
                }
                drop(permit);
                done
            });
            return task.await.unwrap_or_else(|_| Err(Failure::ours("an operation that was cut off")));
        }
        let mut call = Call { core: self, exchange, caller: &caller, accepted: &mut accepted, body };
        match &operation {
            Operation::PutObject(object) => call.put(object).await,
            Operation::DeleteObjects(bucket) => call.delete_many(bucket).await,
            Operation::CreateBucket(bucket) => call.create_bucket(bucket).await,
            Operation::ObjectTagging { object, version_id, action } => {
                call.tagging(object, version_id.as_deref(), *action).await
            }
            Operation::UploadPart { upload, part } => call.upload_part(upload, *part).await,
            Operation::SubResource(request) => call.sub_resource(request).await,
            other => {
                call.no_body().await?;
                match other {
                    Operation::GetObject(read) => call.get(read).await,
                    Operation::HeadObject(read) => call.head(read).await,
                    Operation::DeleteObject { object, version_id } => call.delete(object, version_id.as_deref()).await,
                    Operation::CopyObject { object, source, directive } => call.copy(object, source, *directive).await,
                    Operation::ListObjects { bucket, listing, marker } => call.list_v1(bucket, listing, marker).await,
                    Operation::ListObjectsV2 { bucket, listing, continuation_token, start_after, fetch_owner } => {
                        let from = (continuation_token.as_deref(), start_after.as_deref());
                        call.list_v2(bucket, listing, from, *fetch_owner).await
                    }
                    Operation::ListObjectVersions { bucket, listing, key_marker, version_id_marker } => {
                        call.list_versions(bucket, listing, (key_marker, version_id_marker)).await
                    }
                    Operation::GetObjectAttributes {
                        object,
                        version_id,
                        attributes,
                        max_parts,
                        part_number_marker,
                    } => {
                        let (max_parts, part_number_marker) = (*max_parts, *part_number_marker);
                        let asked = attributes::Asked { attributes, max_parts, part_number_marker };
                        call.attributes(object, version_id.as_deref(), asked).await
                    }
                    Operation::ListBuckets { prefix, continuation_token, max_buckets } => {
                        call.list_buckets(prefix.as_deref(), continuation_token.as_deref(), *max_buckets).await
                    }
                    Operation::Preflight { bucket, key } => call.preflight(bucket, key.as_ref()).await,
                    Operation::HeadBucket(bucket) => call.head_bucket(bucket).await,
                    Operation::DeleteBucket(bucket) => call.delete_bucket(bucket).await,
                    Operation::GetBucketLocation(bucket) => call.bucket_location(bucket).await,
                    Operation::UploadPartCopy { upload, part, source, range } => {
                        call.upload_part_copy(upload, *part, source, *range).await
                    }
                    Operation::ListParts { upload, part_number_marker, max_parts } => {
                        call.list_parts(upload, *part_number_marker, *max_parts).await
                    }
                    Operation::ListMultipartUploads { bucket, listing, key_marker, upload_id_marker } => {
                        call.list_uploads(bucket, listing, key_marker, upload_id_marker).await
                    }
                    other => Err(S3Error::not_implemented(other.name()).into()),
                }
            }
        }
    }

    /// Refuses a head that is larger than the limit.
    fn check_size(&self, head: &Parts) -> Result<(), Failure> {
        // what is done for each field before the signature holds grows with their number
        if head.headers.len() > MAX_FIELDS {
            return Err(ErrorCode::RequestHeaderSectionTooLarge.into());
        }
        let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
        if fields.sum::<usize>().saturating_add(target) > self.limits.header {
            return Err(ErrorCode::RequestHeaderSectionTooLarge.into());
        }
        Ok(())
    }
}

/// The answer to a refusal, with when to come again and what a condition was judged by, or the delete marker that was met.
fn refusal(failure: &Failure, method: &Method, request_id: &str) -> Response<Body> {
    let mut response = answer::refusal(&failure.error, method, request_id, "sealgate");
    let is_unmodified = response.status() == StatusCode::NOT_MODIFIED;
    let meets_marker = failure.validators.iter().any(|(name, _)| *name == DELETE_MARKER);
    let out = response.headers_mut();
    if let Some(seconds) = failure.retry_after {
        out.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if is_unmodified || meets_marker {
        out.extend(failure.validators.iter().cloned());
    }
    response
}

impl Handler for Gateway {
    async fn handle(&self, request: Request<Body>, peer: Peer) -> Response<Body> {
        let core = self.core();
        let (mut head, body) = request.into_parts();
        head.extensions.insert(peer);
        let (request_id, span) = core.ids.next();
        let traceparent = head.headers.get("traceparent").map(HeaderValue::as_bytes);
        let context = trace::TraceContext::parse(traceparent, span);
        let method = head.method.clone();
        let exchange = Exchange::new(request_id, context, (&head, peer.tls), Arc::clone(&core.metrics));
        let unrecorded = Unrecorded::new(&exchange);
        let body: Taken = Arc::new(Mutex::new(Some(body)));
        let mut permit = Arc::clone(&core.requests).try_acquire_owned().ok().map(Arc::new);
        let result = match &permit {
            Some(permit) => core.serve(&exchange, head, &body, permit).await,
            None => Err(Failure::slow_down("the limit of requests at once")),
        };
        let mut response = match result {
            Ok(response) => response,
            Err(failure) => {
                exchange.note_failure(&failure);
                // who has no business here, and whoever is slow to hear it, takes nobody's place
                drop(permit.take());
                refusal(&failure, &method, &exchange.request_id)
            }
        };
        response.headers_mut().extend(exchange.cors().await);
        if let Ok(value) = HeaderValue::from_str(&exchange.request_id) {
            response.headers_mut().insert(HeaderName::from_static("x-amz-request-id"), value);
        }
        let status = response.status().as_u16();
        unrecorded.defuse();
        response.map(|body| exchange::recorded(body, exchange, status, permit))
    }
}
