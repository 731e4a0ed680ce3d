//! The body of an accepted request: decoded, hashed, and believed piece by piece.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body as _;

use super::{Accepted, fields};
use crate::digest::ChecksumAlgorithm;
use crate::net::body::{Body, BodyError};
use crate::net::budget::{Budget, Lease};
use crate::s3::aws_chunked::{Decoder, Event, MAX_SIGNED_CHUNK_LEN};
use crate::s3::checksum::{BodyVerifier, Declared, VerifiedBody, algorithm_of_header, checksum_header, decoded_length};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::Operation;
use crate::sigv4::{ContentSha256, HeaderField, Headers};

/// A signed chunk up to this length is held back within what every request may use; a longer one takes room from the
/// common budget, as much again at a time. SDKs send 64 KiB to 1 MiB.
pub const MAX_CHUNK_UNRESERVED: usize = 1 << 20;
/// How long a long chunk waits for room before the client is told to slow down.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(10);

enum Framing {
    /// The body is the payload.
    Plain,
    /// aws-chunked; `signed`: payload is held back until its chunk's signature holds.
    Chunked { decoder: Box<Decoder>, signed: bool },
}

enum State {
    Reading,
    /// All is verified.
    Verified(VerifiedBody),
    /// It failed, or its digests were taken.
    Done,
}

type Reserving = Pin<Box<dyn Future<Output = Option<Lease>> + Send>>;

/// A request's body, decoded. It yields pieces until its end, and its end means that everything that was declared of it
/// holds. What it yields before that is authentic only as far as chunk signatures go: whoever takes it must be able to
/// undo what was done with it.
pub struct IngressBody {
    body: Body,
    framing: Framing,
    state: State,
    verifier: Option<BodyVerifier>,
    len: u64,
    seen: u64,
    /// Input that is not decoded yet.
    input: Bytes,
    /// Payload of a signed chunk that is not believed yet.
    held: VecDeque<Bytes>,
    /// How many of `held` are believed.
    believed: usize,
    budget: Option<Budget>,
    reserving: Option<Reserving>,
    reserved: Vec<Lease>,
}

impl Accepted {
    /// The body of the request, to be verified while it is read. `want_md5`: its MD5 is wanted though nobody declared it;
    /// `extra`: so is this checksum.
    ///
    /// Its length stands in the head, or the request is refused with 411. Declared checksums are those of the body, except
    /// of CompleteMultipartUpload, where they are the object's.
    pub fn body(
        &mut self,
        body: Body,
        want_md5: bool,
        extra: Option<ChecksumAlgorithm>,
        budget: Option<Budget>,
    ) -> Result<IngressBody, S3Error> {
        let mut all = fields(&self.headers);
        if matches!(self.operation, Operation::CompleteMultipartUpload(_)) {
            all.retain(|(name, _)| !is_checksum(name));
        }
        let headers = Headers::new(&all);
        let declared = Declared::of(headers, self.payload)?;
        let len = decoded_length(headers, self.payload)?;
        let trailers: Vec<String> = declared.trailer().map(checksum_header).into_iter().collect();
        let names: Vec<&str> = trailers.iter().map(String::as_str).collect();
        let missing = || S3Error::from(ErrorCode::InternalError);
        let framing = match self.payload {
            ContentSha256::Hash(_) | ContentSha256::Unsigned => Framing::Plain,
            ContentSha256::Streaming => {
                let chain = self.chunk_signatures.take().ok_or_else(missing)?;
                let decoder = Decoder::signed(chain, len, MAX_SIGNED_CHUNK_LEN);
                Framing::Chunked { decoder: Box::new(decoder), signed: true }
            }
            ContentSha256::StreamingTrailer => {
                let chain = self.chunk_signatures.take().ok_or_else(missing)?;
                let decoder = Decoder::signed_trailer(chain, len, &names, MAX_SIGNED_CHUNK_LEN);
                Framing::Chunked { decoder: Box::new(decoder), signed: true }
            }
            ContentSha256::StreamingUnsignedTrailer => {
                Framing::Chunked { decoder: Box::new(Decoder::unsigned_trailer(len, &names)), signed: false }
            }
        };
        Ok(IngressBody {
            body,
            framing,
            state: State::Reading,
            verifier: Some(BodyVerifier::new(declared, want_md5, extra)),
            len,
            seen: 0,
            input: Bytes::new(),
            held: VecDeque::new(),
            believed: 0,
            budget,
            reserving: None,
            reserved: Vec::new(),
        })
    }

    /// What the caller's headers declare about the body, before it is read.
    pub fn declared(&self) -> Result<Declared, S3Error> {
        let all: Vec<HeaderField<'_>> = fields(&self.headers);
        Declared::of(Headers::new(&all), self.payload)
    }

    /// Whether the signature covers a digest of the body.
    #[must_use]
    pub fn signs_body(&self) -> bool {
        !matches!(self.payload, ContentSha256::Unsigned | ContentSha256::StreamingUnsignedTrailer)
    }

    /// A body that is read whole; one longer than `limit` is refused before it is read. A request without a length has no
    /// body if its framing says so.
    pub fn document(&mut self, body: Body, limit: usize) -> Result<IngressBody, S3Error> {
        if body.is_end_stream() && !self.headers.contains_key(http::header::CONTENT_LENGTH) {
            self.headers.insert(http::header::CONTENT_LENGTH, http::HeaderValue::from_static("0"));
        }
        let body = self.body(body, false, None, None)?;
        if body.len() > limit as u64 {
            return Err(ErrorCode::MaxMessageLengthExceeded.into());
        }
        Ok(body)
    }

    /// Reads the body of such a request to its end, verified.
    pub async fn collect(&mut self, body: Body, limit: usize) -> Result<Bytes, S3Error> {
        self.document(body, limit)?.collect().await
    }
}

fn is_checksum(name: &str) -> bool {
    algorithm_of_header(name).is_some() || name.eq_ignore_ascii_case("x-amz-sdk-checksum-algorithm")
}

impl From<BodyError> for S3Error {
    /// A request's body that did not come whole.
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TimedOut => ErrorCode::RequestTimeout.into(),
            BodyError::Disconnected(_) | BodyError::Aborted => ErrorCode::IncompleteBody.into(),
            BodyError::FormGoesOn => {
                let message =
                    "Behind a large file, a form must end at once: no field, and a line end after its last boundary.";
                Self::new(ErrorCode::MalformedPOSTRequest, message)
            }
        }
    }
}

impl IngressBody {
    /// The length of the decoded body.
    #[must_use]
    #[allow(clippy::len_without_is_empty)] // a length on the wire, not a collection
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// All of it, verified, in a buffer of its length.
    pub async fn collect(&mut self) -> Result<Bytes, S3Error> {
        let mut all = BytesMut::with_capacity(usize::try_from(self.len).unwrap_or(usize::MAX));
        while let Some(piece) = self.piece().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// The next piece, or the end: then [`IngressBody::take_verified`] has the digests. After an error every call fails.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, S3Error> {
        std::future::poll_fn(|cx| self.poll_piece(cx)).await
    }

    /// The digests of the verified body, once, after its end.
    pub fn take_verified(&mut self) -> Option<VerifiedBody> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Verified(verified) => Some(verified),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// As [`IngressBody::piece`], for a body that is polled.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, S3Error>> {
        let polled = self.poll_inner(cx);
        if let Poll::Ready(Err(_)) = &polled {
            self.state = State::Done;
            self.verifier = None;
            self.held.clear();
            self.believed = 0;
            self.reserved.clear();
        }
        polled
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, S3Error>> {
        loop {
            match self.state {
                State::Reading => {}
                State::Verified(_) => return Poll::Ready(Ok(None)),
                State::Done => return Poll::Ready(Err(ErrorCode::InternalError.into())),
            }
            if let Some(reserving) = &mut self.reserving {
                let lease = ready!(reserving.as_mut().poll(cx));
                self.reserving = None;
                self.reserved.push(lease.ok_or(S3Error::from(ErrorCode::SlowDown))?);
            }
            if self.believed > 0 {
                self.believed -= 1;
                if let Some(piece) = self.held.pop_front() {
                    if self.held.is_empty() {
                        self.reserved.clear();
                    }
                    return Poll::Ready(Ok(Some(self.account(piece)?)));
                }
            }
            if !self.input.is_empty() {
                if let Some(piece) = self.decode()? {
                    return Poll::Ready(Ok(Some(self.account(piece)?)));
                }
                continue;
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => {
                    let Ok(data) = frame?.into_data() else { continue };
                    self.input = data;
                }
                None => self.end()?,
            }
        }
    }

    /// Decodes some of the input; a piece that may be handed on, if there is one.
    fn decode(&mut self) -> Result<Option<Bytes>, S3Error> {
        let (decoder, signed) = match &mut self.framing {
            Framing::Plain => return Ok(Some(std::mem::take(&mut self.input))),
            Framing::Chunked { decoder, signed } => (decoder, *signed),
        };
        let step = decoder.decode(&self.input)?;
        let mut payload = None;
        match step.event {
            Event::Payload(range) => payload = Some(self.input.slice(range)),
            Event::ChunkVerified => self.believed = self.held.len(),
            Event::ChunkBegins(_) | Event::NeedInput | Event::End => {}
        }
        self.input.advance(step.consumed.min(self.input.len()));
        match payload {
            Some(payload) if signed => {
                self.hold(payload);
                self.account_for_held();
                Ok(None)
            }
            payload => Ok(payload),
        }
    }

    /// Takes room for what is held, a step at a time: what a chunk says of its length takes nobody's room before it comes.
    fn account_for_held(&mut self) {
        let held: usize = self.held.iter().map(Bytes::len).sum();
        let reserved: usize = self.reserved.iter().map(Lease::bytes).sum();
        if let Some(budget) = self.budget.clone()
            && held > MAX_CHUNK_UNRESERVED.saturating_add(reserved)
        {
            self.reserving =
                Some(Box::pin(async move { budget.reserve_within(MAX_CHUNK_UNRESERVED, RESERVE_TIMEOUT).await }));
        }
    }

    /// Keeps payload of a signed chunk. Small pieces are joined: a client that sends one byte at a time must not make us
    /// keep a network buffer for each.
    fn hold(&mut self, payload: Bytes) {
        const SMALL: usize = 16 << 10;
        match self.held.back_mut() {
            Some(last) if payload.len() < SMALL && last.len() < SMALL => {
                let mut joined = match std::mem::take(last).try_into_mut() {
                    Ok(joined) => joined,
                    Err(shared) => {
                        let mut joined = BytesMut::with_capacity(2 * SMALL);
                        joined.extend_from_slice(&shared);
                        joined
                    }
                };
                joined.extend_from_slice(&payload);
                *last = joined.freeze();
            }
            _ => self.held.push_back(payload),
        }
    }

    fn account(&mut self, piece: Bytes) -> Result<Bytes, S3Error> {
        self.seen = self.seen.saturating_add(piece.len() as u64);
        if self.seen > self.len {
            return Err(S3Error::new(ErrorCode::InvalidRequest, "The body is longer than declared."));
        }
        if let Some(verifier) = &mut self.verifier {
            verifier.update(&piece);
        }
        Ok(piece)
    }

    fn end(&mut self) -> Result<(), S3Error> {
        let trailer = match std::mem::replace(&mut self.framing, Framing::Plain) {
            Framing::Plain => None,
            Framing::Chunked { decoder, .. } => Some(decoder.finish()?),
        };
        if self.seen != self.len || !self.held.is_empty() {
            return Err(ErrorCode::IncompleteBody.into());
        }
        let verifier = self.verifier.take().ok_or(S3Error::from(ErrorCode::InternalError))?;
        self.state = State::Verified(verifier.finish(trailer.as_ref())?);
        Ok(())
    }
}
