//! Requests to the store on behalf of one exchange, and a stored body that is read from the front.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::error::Failure;
use super::exchange::Exchange;
use super::headers::{forwarded_to_reads, quoted, upstream_etag};
use super::policy::Place;
use crate::format::open::Want;
use crate::net::body::{self, Body, BodyError};
use crate::object::{CiphertextRange, ObjectKey};
use crate::s3::error::ErrorCode;
use crate::sigv4::uri::Query;
use crate::store::{Answer, StoreError, StoreRequest};

/// As much of an answer is read and thrown away to keep its connection.
const WORTH_DRAINING: u64 = 128 << 10;
/// And no longer than this.
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// A gap up to this length is read over; a longer one costs less as a new request.
const WORTH_SKIPPING: u64 = 1 << 20;

/// One object of the store as it is read in one request or several.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) place: Place,
    pub(super) key: ObjectKey,
    pub(super) version_id: Option<String>,
    pub(super) exchange: Arc<Exchange>,
    /// Headers that every read carries.
    pub(super) headers: HeaderMap,
    /// Once the first answer is there: its ETag, which all later ones must have.
    pub(super) etag: Option<String>,
}

impl Source {
    pub(super) fn new(
        place: Place,
        key: ObjectKey,
        version_id: Option<String>,
        headers: &HeaderMap,
        exchange: &Arc<Exchange>,
    ) -> Self {
        let headers = forwarded_to_reads(headers);
        Self { place, key, version_id, exchange: Arc::clone(exchange), headers, etag: None }
    }

    /// GET or HEAD. `conditions` are the client's, mapped; once an answer was taken, its ETag stands in their place.
    pub(super) async fn request(
        &self,
        method: Method,
        range: Option<&str>,
        conditions: Option<&HeaderMap>,
    ) -> Result<Answer, StoreError> {
        let mut headers = self.headers.clone();
        if let Some(range) = range.and_then(|range| HeaderValue::from_str(range).ok()) {
            headers.insert(header::RANGE, range);
        }
        match &self.etag {
            Some(etag) => {
                if let Ok(value) = HeaderValue::from_str(&quoted(etag)) {
                    headers.insert(header::IF_MATCH, value);
                }
            }
            None => headers.extend(conditions.cloned().unwrap_or_default()),
        }
        let mut query = Query::default();
        if let Some(version) = &self.version_id {
            query.push("versionId", version.as_str());
        }
        let request = StoreRequest {
            method,
            bucket: Some(&self.place.upstream_name),
            key: Some(self.key.as_bytes()),
            query,
            headers,
            ..self.exchange.request(&self.place.caller)
        };
        self.exchange.send(&self.place.upstream, request).await
    }

    /// A range of what is stored, which must come as asked and be of an object of `total` bytes.
    pub(super) async fn range(&self, range: CiphertextRange, total: u64) -> Result<Body, Failure> {
        let last = range.end().saturating_sub(1);
        let text = format!("bytes={}-{last}", range.start());
        let answer = self.request(Method::GET, Some(&text), None).await.map_err(changed)?;
        let shape = Shape::of(&answer)?;
        if shape.total != total || shape.start != range.start() || shape.end != range.end() {
            return Err(Failure::integrity("the store answers another range than was asked for"));
        }
        Ok(answer.body)
    }
}

/// A refusal of a read that asks for the version it began with: that another one is there, or none, is no verdict on the
/// client's conditions.
pub(super) fn changed(error: StoreError) -> Failure {
    let failure = Failure::from(error);
    match failure.code() {
        ErrorCode::PreconditionFailed | ErrorCode::NoSuchKey => ErrorCode::OperationAborted.into(),
        _ => failure,
    }
}

/// Which bytes an answer brings, and of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) total: u64,
}

impl Shape {
    /// Reads it from status, Content-Length and Content-Range.
    pub(super) fn of(answer: &Answer) -> Result<Self, Failure> {
        let wrong = || Failure::integrity("the store's answer does not say which bytes it brings");
        // with both, the length is not what counts
        if answer.headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(wrong());
        }
        let len = content_length(&answer.headers).ok_or_else(wrong)?;
        if answer.status != http::StatusCode::PARTIAL_CONTENT {
            return Ok(Self { start: 0, end: len, total: len });
        }
        let text = answer.headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok()).ok_or_else(wrong)?;
        let (range, total) = text.strip_prefix("bytes ").and_then(|text| text.split_once('/')).ok_or_else(wrong)?;
        let (first, last) = range.split_once('-').ok_or_else(wrong)?;
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| digits).ok_or_else(wrong)
        };
        let (start, last, total) = (number(first)?, number(last)?, number(total)?);
        let end = last.checked_add(1).ok_or_else(wrong)?;
        if start >= end || end > total || end - start != len {
            return Err(wrong());
        }
        Ok(Self { start, end, total })
    }
}

/// The only `Content-Length` of an answer.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let value = values.next()?.to_str().ok()?;
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    value.parse().ok().filter(|_| digits && values.next().is_none())
}

/// A stored body, read from the front; where the reader jumps, it is asked for anew.
pub(super) struct Stored {
    source: Source,
    /// The answer that is read.
    body: Body,
    /// Offset of what comes next.
    at: u64,
    /// Where the answer ends.
    end: u64,
    /// Up to where the reader may want something.
    until: u64,
    total: u64,
    piece: Bytes,
}

impl Stored {
    /// What an answer of shape `shape` brings; the reader wants nothing behind `until`.
    pub(super) fn new(source: Source, body: Body, shape: Shape, until: u64) -> Self {
        Self { source, body, at: shape.start, end: shape.end, until, total: shape.total, piece: Bytes::new() }
    }

    /// Nothing is read yet: the first piece asks for what is wanted.
    pub(super) fn unread(source: Source, total: u64, until: u64) -> Self {
        Self::new(source, body::empty(), Shape { start: 0, end: 0, total }, until)
    }

    async fn more(&mut self) -> Result<(), Failure> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if data.is_empty() {
                        continue;
                    }
                    self.piece = data;
                    return Ok(());
                }
                Some(Err(error)) => return Err(broken_off(&error)),
                None => return Err(Failure::integrity("the store's body is shorter than it said")),
            }
        }
    }

    /// Exactly the piece that is wanted.
    pub(super) async fn piece(&mut self, want: Want) -> Result<BytesMut, Failure> {
        let end =
            want.offset.checked_add(want.len as u64).ok_or_else(|| Failure::ours("a piece beyond all objects"))?;
        let gap = want.offset.checked_sub(self.at);
        if gap.is_none_or(|gap| gap > WORTH_SKIPPING) || self.end < end {
            let range = CiphertextRange::new(want.offset, self.until.max(end));
            let range = range.ok_or_else(|| Failure::ours("a piece beyond all objects"))?;
            // the connection of what is not wanted any more goes first
            self.body = body::empty();
            self.body = self.source.range(range, self.total).await?;
            (self.at, self.end, self.piece) = (range.start(), range.end(), Bytes::new());
        }
        self.skip(want.offset.saturating_sub(self.at)).await?;
        let mut buffer = BytesMut::with_capacity(want.len);
        while buffer.len() < want.len {
            if self.piece.is_empty() {
                self.more().await?;
            }
            let take = (want.len - buffer.len()).min(self.piece.len());
            buffer.extend_from_slice(self.piece.get(..take).unwrap_or_default());
            self.piece.advance(take);
            self.at = self.at.saturating_add(take as u64);
        }
        Ok(buffer)
    }

    async fn skip(&mut self, mut len: u64) -> Result<(), Failure> {
        while len > 0 {
            if self.piece.is_empty() {
                self.more().await?;
            }
            let take = usize::try_from(len).unwrap_or(usize::MAX).min(self.piece.len());
            self.piece.advance(take);
            self.at = self.at.saturating_add(take as u64);
            len -= take as u64;
        }
        Ok(())
    }

    /// Reads what is left of the answer, if that is little, so that its connection can be used again. What it holds is of no
    /// matter any more.
    pub(super) async fn finish(self) {
        if self.end.saturating_sub(self.at) <= WORTH_DRAINING {
            drain(self.body).await;
        }
    }
}

/// Reads a body to its end to keep its connection, if the end comes soon, whatever length was declared.
async fn drain(mut body: Body) {
    let mut left = WORTH_DRAINING;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len) as u64;
            let Some(rest) = left.checked_sub(len) else { return };
            left = rest;
        }
    };
    let _ = timeout(DRAIN_TIME, reading).await;
}

/// Throws a body of `len` bytes away; a short one is read, to keep its connection.
pub(super) async fn discard(len: u64, body: Body) {
    if len <= WORTH_DRAINING {
        drain(body).await;
    }
}

/// Throws an answer's body away.
pub(super) async fn discard_answer(answer: Answer) {
    discard(content_length(&answer.headers).unwrap_or(0), answer.body).await;
}

/// A body that the store did not bring to its end.
fn broken_off(error: &BodyError) -> Failure {
    let stalled = matches!(error, BodyError::TimedOut);
    Failure::upstream(if stalled { "the store's body stalled" } else { "the store's body broke off" })
}

/// Takes an answer's ETag for all later reads.
pub(super) fn pin(source: &mut Source, answer: &Answer) -> Result<(), Failure> {
    let etag = upstream_etag(&answer.headers).ok_or_else(|| Failure::integrity("the store's answer has no ETag"))?;
    match &source.etag {
        Some(pinned) if *pinned != etag => {
            Err(Failure::integrity("the store answers another version than was asked for"))
        }
        Some(_) => Ok(()),
        None => {
            source.etag = Some(etag);
            Ok(())
        }
    }
}
