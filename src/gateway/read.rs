//! GetObject and HeadObject.
//!
//! Of a simple object one request is made: its header, which says how long the plaintext is, comes with the bytes, and the
//! bytes that hold a plaintext range can be named before. Total size and returned range are compared before the first byte
//! goes on. A multipart object costs its tail first, which is kept for a while.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::error::Failure;
use super::etag;
use super::generate::begun;
use super::headers::{envelope_text, insert_checksum, object_headers, passed_back, upstream_etag};
use super::policy::Right;
use super::pump::{self, ChecksumSlot};
use super::tails::Tail;
use super::upstream::{Shape, Source, Stored, changed, discard, pin};
use super::{Call, Core, TRANSFER_BASE};
use crate::format::envelope::Envelope;
use crate::format::geometry;
use crate::format::layout::Layout;
use crate::format::open::{BodyReader, needs_trailer};
use crate::format::suite::{CHUNK_LEN, SEALED_CHUNK_LEN};
use crate::ingress::fields;
use crate::net::body::{self, Body, collect};
use crate::object::{PartNumber, PlaintextRange};
use crate::s3::conditional::Conditions;
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::ReadObject;
use crate::s3::range::{RangeSpec, content_range};
use crate::s3::xml::unquoted;
use crate::sigv4::{Headers, format_http_date};
use crate::store::Answer;

/// The conditions of a read as the store must judge them. One that cannot be read is refused: a guard must not be dropped.
pub(super) fn conditions(headers: &HeaderMap, copy_source: bool) -> Result<HeaderMap, Failure> {
    let received = fields(headers);
    let view = Headers::new(&received);
    let asked = if copy_source { Conditions::of_copy_source(view) } else { Conditions::of(view) }?;
    let mut out = HeaderMap::new();
    for (name, condition) in [(header::IF_MATCH, asked.if_match), (header::IF_NONE_MATCH, asked.if_none_match)] {
        if let Some(condition) = condition {
            insert(&mut out, name, &etag::upstream_condition(&condition))?;
        }
    }
    let times = [
        (header::IF_MODIFIED_SINCE, asked.if_modified_since),
        (header::IF_UNMODIFIED_SINCE, asked.if_unmodified_since),
    ];
    for (name, time) in times {
        if let Some(time) = time {
            insert(&mut out, name, &format_http_date(time))?;
        }
    }
    Ok(out)
}

/// What of an object is read.
#[derive(Clone, Copy)]
enum Selection {
    Whole,
    Range(RangeSpec),
    Part(PartNumber),
}

/// An object whose header was believed, with the answer that brought it.
pub(super) struct Opening {
    pub(super) source: Source,
    pub(super) envelope: Arc<Envelope>,
    /// The headers of the answer.
    pub(super) headers: HeaderMap,
    pub(super) shape: Shape,
}

impl Opening {
    /// Where the object's segments lie; of a multipart object the tail is read for it.
    pub(super) async fn layout(&self, core: &Core) -> Result<(Layout, Option<Arc<Tail>>), Failure> {
        if needs_trailer(&self.envelope) {
            let tail = core.tails.of(&self.source, &self.envelope, self.shape.total).await?;
            Ok((tail.layout.clone(), Some(tail)))
        } else {
            Ok((Layout::simple(&self.envelope, self.shape.total)?, None))
        }
    }
}

/// The stored bytes that hold a plaintext range of a simple object, as a `Range` header. The last byte may lie behind the end.
fn stored_range(range: RangeSpec) -> Option<String> {
    let chunk = |offset: u64| geometry::chunk_offset(offset / CHUNK_LEN as u64);
    match range {
        RangeSpec::FromTo(first, last) => {
            let end = chunk(last)?.checked_add(SEALED_CHUNK_LEN as u64 - 1)?;
            Some(format!("bytes={}-{end}", chunk(first)?))
        }
        RangeSpec::From(first) => Some(format!("bytes={}-", chunk(first)?)),
        RangeSpec::Suffix(_) => None,
    }
}

/// The stored bytes that hold a plaintext range: from the first one a reader wants up to the end of its last chunk.
fn stored_until(layout: &Layout, range: PlaintextRange) -> Option<u64> {
    let last = range.end().checked_sub(1)?;
    let segment = layout.segments().iter().rev().find(|s| s.plain_start <= last && s.id.p > 0)?;
    let index = last.checked_sub(segment.plain_start)? / CHUNK_LEN as u64;
    let len = geometry::chunk_len(segment.id.p, index)? as u64;
    segment
        .chunks_start()
        .checked_add(geometry::chunk_offset(index)?)?
        .checked_add(len + (SEALED_CHUNK_LEN - CHUNK_LEN) as u64)
}

/// A reader of a plaintext range, and up to where it wants stored bytes.
pub(super) fn range_reader(
    envelope: &Envelope,
    layout: Layout,
    plain: PlaintextRange,
) -> Result<(BodyReader, u64), Failure> {
    let until = if plain.is_empty() { Some(0) } else { stored_until(&layout, plain) };
    let until = until.ok_or_else(|| Failure::ours("a range beyond the object"))?;
    Ok((BodyReader::range(Arc::clone(envelope.dek()), layout, plain)?, until))
}

impl Core {
    /// Asks for an object and believes its header.
    pub(super) async fn open_object(
        &self,
        mut source: Source,
        method: Method,
        range: Option<&str>,
        conditions: Option<&HeaderMap>,
    ) -> Result<(Opening, Body), Failure> {
        let answer = source.request(method, range, conditions).await.map_err(Failure::from)?;
        let envelope = self.open_header(&source.place, &source.key, envelope_text(&answer.headers)?).await?;
        pin(&mut source, &answer)?;
        let shape = Shape::of(&answer)?;
        let Answer { headers, body, .. } = answer;
        Ok((Opening { source, envelope, headers, shape }, body))
    }

    /// The same by HEAD.
    pub(super) async fn head_object(&self, source: Source, conditions: Option<&HeaderMap>) -> Result<Opening, Failure> {
        let (opening, _) = self.open_object(source, Method::HEAD, None, conditions).await?;
        if opening.shape.start != 0 || opening.shape.end != opening.shape.total {
            return Err(Failure::integrity("HEAD answers a range"));
        }
        Ok(opening)
    }
}

impl Call<'_> {
    /// GetObject.
    pub(super) async fn get(&mut self, read: &ReadObject) -> Result<Response<Body>, Failure> {
        let (source, selection) = self.reading(read)?;
        let headers = &self.accepted.headers;
        begun_again(|| self.get_once(source.clone(), selection, read, headers)).await
    }

    /// HeadObject.
    pub(super) async fn head(&mut self, read: &ReadObject) -> Result<Response<Body>, Failure> {
        let (source, selection) = self.reading(read)?;
        let headers = &self.accepted.headers;
        begun_again(|| self.head_once(source.clone(), selection, read, headers)).await
    }

    async fn head_once(
        &self,
        source: Source,
        selection: Selection,
        read: &ReadObject,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Failure> {
        let opening = self.core.head_object(source, Some(&conditions(headers, false)?)).await?;
        let (layout, tail) = match opening.layout(self.core).await {
            // its tail cannot be read, but its length says that of the plaintext, as in lists
            Err(failure)
                if failure.code() == ErrorCode::InvalidObjectState && matches!(selection, Selection::Whole) =>
            {
                let len = geometry::plaintext_len(opening.shape.total).ok_or(failure)?;
                let facts = Facts { opening: &opening, len, parts: 0, tail: None, selected: None };
                return facts.response(read, headers);
            }
            found => found?,
        };
        let selected = select(selection, &layout)?;
        let tail = match self.tail_for_checksum(&opening, selected, tail).await {
            Err(failure) if failure.code() == ErrorCode::InvalidObjectState => None,
            tail => tail?,
        };
        Facts::new(&opening, &layout, tail.as_deref(), selected).response(read, headers)
    }

    /// A simple object's tail, where the checksum that is asked for came behind its body, so that its header has none.
    async fn tail_for_checksum(
        &self,
        opening: &Opening,
        selected: Option<Selected>,
        tail: Option<Arc<Tail>>,
    ) -> Result<Option<Arc<Tail>>, Failure> {
        let is_wanted = selected.is_none() && wants_checksum(&self.accepted.headers);
        if tail.is_some() || !is_wanted || opening.envelope.metadata().checksum().is_some() {
            return Ok(tail);
        }
        self.core.tails.of(&opening.source, &opening.envelope, opening.shape.total).await.map(Some)
    }

    fn reading(&self, read: &ReadObject) -> Result<(Source, Selection), Failure> {
        let headers = &self.accepted.headers;
        let place = self.core.policy.place_of(self.caller, &read.object.bucket, &read.object.key, Right::Read)?;
        self.exchange.note_place(&place);
        let mut ranges = headers.get_all(header::RANGE).iter();
        let asked = ranges.next().and_then(|value| RangeSpec::parse(value.as_bytes()));
        if ranges.next().is_some() {
            return Err(S3Error::argument("Range", "A header stands twice.").into());
        }
        let selection = match (read.part_number, asked) {
            (Some(part), _) => Selection::Part(part),
            (None, Some(range)) => Selection::Range(range),
            (None, None) => Selection::Whole,
        };
        let source = Source::new(place, read.object.key.clone(), read.version_id.clone(), headers, self.exchange);
        Ok((source, selection))
    }

    async fn get_once(
        &self,
        source: Source,
        mut selection: Selection,
        read: &ReadObject,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Failure> {
        let conditions = conditions(headers, false)?;
        let if_range = headers.get(header::IF_RANGE).filter(|_| matches!(selection, Selection::Range(_)));
        // a suffix and a part are somewhere that only the object's length tells
        let by_head =
            if_range.is_some() || matches!(selection, Selection::Range(RangeSpec::Suffix(_)) | Selection::Part(_));
        let (opening, body) = if by_head {
            (self.core.head_object(source, Some(&conditions)).await?, None)
        } else {
            let range = match selection {
                Selection::Range(range) => stored_range(range),
                Selection::Whole | Selection::Part(_) => None,
            };
            match self.core.open_object(source.clone(), Method::GET, range.as_deref(), Some(&conditions)).await {
                // not believed: the header says how long the object is
                Err(failure) if failure.code() == ErrorCode::InvalidRange => {
                    let opening = self.core.head_object(source, Some(&conditions)).await?;
                    let (layout, _) = opening.layout(self.core).await?;
                    select(selection, &layout)?;
                    // it has the range: unless it was replaced in between, the store lies
                    return Err(
                        match opening.source.request(Method::GET, range.as_deref(), None).await.map_err(changed) {
                            Err(failure) if failure.code() == ErrorCode::InvalidRange => {
                                Failure::integrity("the store refuses a range that the object has")
                            }
                            Err(failure) => failure,
                            Ok(_) => ErrorCode::OperationAborted.into(),
                        },
                    );
                }
                opened => opened.map(|(opening, body)| (opening, Some(body)))?,
            }
        };
        if let Some(validator) = if_range
            && !is_current(validator, &opening.headers)
        {
            selection = Selection::Whole;
        }
        let (layout, tail) = opening.layout(self.core).await?;
        let selected = select(selection, &layout)?;
        // of a multipart object the bytes of a range were asked for as if it were simple
        let body = match body {
            Some(body) if tail.is_none() || matches!(selection, Selection::Whole) => {
                check_shape(selection, opening.shape)?;
                Some(body)
            }
            Some(body) => {
                discard(opening.shape.end - opening.shape.start, body).await;
                None
            }
            None => None,
        };
        let is_multipart = tail.is_some();
        // of what is read whole before it is answered, the tail comes with the rest
        let is_held = layout.plaintext_len() <= opening.source.place.rule.verify_whole;
        let tail = if is_held { tail } else { self.tail_for_checksum(&opening, selected, tail).await? };
        let facts = Facts::new(&opening, &layout, tail.as_deref(), selected);
        let mut response = facts.response(read, headers)?;
        let checksum = ChecksumSlot::default();
        let body = self.opened_body(opening, body, (layout, is_multipart, selected), Arc::clone(&checksum)).await;
        let body = body?;
        if let Some((checksum, parts)) = checksum.get()
            && is_held
            && selected.is_none()
            && wants_checksum(headers)
        {
            insert_checksum(checksum, Some(*parts), response.headers_mut());
        }
        Ok(response.map(|_| body))
    }

    /// The plaintext of what was selected. A short one is verified before it is answered: then `checksum` has what its
    /// trailer says.
    async fn opened_body(
        &self,
        opening: Opening,
        body: Option<Body>,
        (layout, is_multipart, selected): (Layout, bool, Option<Selected>),
        checksum: ChecksumSlot,
    ) -> Result<Body, Failure> {
        let Opening { source, envelope, shape, .. } = opening;
        let (total, failure) = (shape.total, source.exchange.failure.clone());
        let limit = source.place.rule.verify_whole;
        let len = selected.map_or(layout.plaintext_len(), |selected| selected.plain.len());
        let (reader, until) = match selected {
            None if is_multipart => (BodyReader::whole(Arc::clone(envelope.dek()), layout)?, total),
            None => (BodyReader::simple(envelope, total)?, total),
            Some(Selected { plain, .. }) => range_reader(&envelope, layout, plain)?,
        };
        let stored = match body {
            Some(body) => Stored::new(source, body, shape, until),
            // the first piece asks for what is wanted
            None => Stored::unread(source, total, until),
        };
        // what is verified whole is held whole
        let held = (len <= limit).then(|| usize::try_from(len).map_err(|_| Failure::ours("a limit beyond memory")));
        let held = held.transpose()?;
        let reason = || failure.take().unwrap_or_else(|| Failure::ours("a body broke off without a reason"));
        if let Some(held) = held {
            let lease = self.core.reserve(self.exchange, held.saturating_add(TRANSFER_BASE)).await?;
            let opened = pump::open(reader, stored, len, failure.clone(), (None, checksum));
            let bytes = collect(opened, held).await.map_err(|_| reason())?;
            return Ok(body::held(bytes, lease));
        }
        let lease = self.core.reserve_transfer(self.exchange, len).await?;
        begun(pump::open(reader, stored, len, failure.clone(), (Some(lease), checksum))).await.map_err(|_| reason())
    }
}

/// How often an operation on an object that changes is begun.
const MAX_STARTS: usize = 3;

/// Begins again what found its object changed between two of its requests, which [`changed`] tells by `OperationAborted`.
pub(super) async fn begun_again<T, F>(mut round: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    for _ in 1..MAX_STARTS {
        match round().await {
            Err(failure) if failure.code() == ErrorCode::OperationAborted => {}
            done => return done,
        }
    }
    round().await
}

/// The plaintext that an answer brings, where it is not the whole.
#[derive(Clone, Copy)]
struct Selected {
    plain: PlaintextRange,
    by_part: bool,
}

/// What the selection means for an object of this layout.
fn select(selection: Selection, layout: &Layout) -> Result<Option<Selected>, Failure> {
    let len = layout.plaintext_len();
    match selection {
        Selection::Whole => Ok(None),
        Selection::Range(range) => Ok(Some(Selected { plain: range.resolve(len)?, by_part: false })),
        Selection::Part(part) => {
            let plain = layout.part(part.get()).ok_or(S3Error::from(ErrorCode::InvalidPartNumber))?;
            Ok(Some(Selected { plain, by_part: true }))
        }
    }
}

/// The answer to a simple object's range must be what was asked for, cut to the total: anything else is another slice.
fn check_shape(selection: Selection, shape: Shape) -> Result<(), Failure> {
    let wrong = || Failure::integrity("the store answers another range than was asked for");
    let (start, end) = match selection {
        Selection::Whole | Selection::Part(_) => (0, shape.total),
        Selection::Range(range) => match range {
            RangeSpec::FromTo(first, last) => {
                let start = geometry::chunk_offset(first / CHUNK_LEN as u64).ok_or_else(wrong)?;
                let end = geometry::chunk_offset(last / CHUNK_LEN as u64);
                let end = end.and_then(|end| end.checked_add(SEALED_CHUNK_LEN as u64)).unwrap_or(shape.total);
                (start, end.min(shape.total))
            }
            RangeSpec::From(first) => {
                (geometry::chunk_offset(first / CHUNK_LEN as u64).ok_or_else(wrong)?, shape.total)
            }
            RangeSpec::Suffix(_) => return Err(wrong()),
        },
    };
    // the whole instead of a range holds the slice too
    if (shape.start, shape.end) == (start, end) || (shape.start, shape.end) == (0, shape.total) {
        Ok(())
    } else {
        Err(wrong())
    }
}

/// Whether `If-Range` names the object as it is.
fn is_current(validator: &HeaderValue, answer: &HeaderMap) -> bool {
    let Ok(text) = validator.to_str() else { return false };
    match upstream_etag(answer) {
        Some(etag) if text.starts_with('"') => etag::upstream(unquoted(text)) == etag,
        _ => answer.get(header::LAST_MODIFIED).is_some_and(|value| value.as_bytes() == text.as_bytes()),
    }
}

/// What an answer about an object says in its headers.
struct Facts<'a> {
    opening: &'a Opening,
    /// Of the whole plaintext.
    len: u64,
    parts: usize,
    tail: Option<&'a Tail>,
    selected: Option<Selected>,
}

impl<'a> Facts<'a> {
    fn new(opening: &'a Opening, layout: &Layout, tail: Option<&'a Tail>, selected: Option<Selected>) -> Self {
        Self { opening, len: layout.plaintext_len(), parts: layout.segments().len(), tail, selected }
    }

    fn response(&self, read: &ReadObject, headers: &HeaderMap) -> Result<Response<Body>, Failure> {
        let mut out = passed_back(&self.opening.headers);
        object_headers(self.opening.envelope.metadata(), &read.overrides, &mut out)?;
        out.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let (mut status, mut len) = (StatusCode::OK, self.len);
        match self.selected {
            Some(Selected { plain, by_part }) => {
                if !plain.is_empty() {
                    status = StatusCode::PARTIAL_CONTENT;
                    insert(&mut out, header::CONTENT_RANGE, &content_range(plain, len))?;
                }
                if by_part && self.tail.is_some() {
                    let count = self.parts.to_string();
                    insert(&mut out, HeaderName::from_static("x-amz-mp-parts-count"), &count)?;
                }
                len = plain.len();
            }
            None if wants_checksum(headers) => self.checksum(&mut out),
            None => {}
        }
        insert(&mut out, header::CONTENT_LENGTH, &len.to_string())?;
        let mut response = Response::new(body::empty());
        *response.status_mut() = status;
        *response.headers_mut() = out;
        Ok(response)
    }

    /// The checksum of the whole, where it stands in what was read already.
    fn checksum(&self, out: &mut HeaderMap) {
        let in_tail = self.tail.and_then(|tail| tail.opened.trailer().digests().checksum.as_ref());
        if let Some((checksum, parts)) = in_tail {
            insert_checksum(checksum, Some(*parts), out);
        } else if let Some(checksum) = self.opening.envelope.metadata().checksum() {
            insert_checksum(&checksum, None, out);
        }
    }
}

fn insert(out: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), Failure> {
    out.insert(name, HeaderValue::from_str(value).map_err(|_| Failure::ours("a header that cannot be made"))?);
    Ok(())
}

fn wants_checksum(headers: &HeaderMap) -> bool {
    headers.get("x-amz-checksum-mode").is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"enabled"))
}
