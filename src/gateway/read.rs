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
use super::headers::{envelope_text, insert_checksum, object_headers, passed_back, quoted, upstream_etag};
use super::policy::Right;
use super::pump::{self, DigestsSlot};
use super::settings::EtagMode;
use super::tails::Tail;
use super::upstream::{Shape, Source, Stored, changed, discard, pin};
use super::{Call, Core, TRANSFER_BASE};
use crate::clock::Timestamp;
use crate::format::envelope::Envelope;
use crate::format::geometry;
use crate::format::layout::Layout;
use crate::format::open::{BodyReader, needs_trailer};
use crate::format::suite::{CHUNK_LEN, SEALED_CHUNK_LEN};
use crate::ingress::fields;
use crate::net::body::{self, Body, collect};
use crate::object::{PartNumber, PlaintextRange};
use crate::s3::conditional::{Conditions, EtagCondition, Verdict};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::ReadObject;
use crate::s3::range::{RangeSpec, content_range};
use crate::s3::xml::unquoted;
use crate::sigv4::{Headers, format_http_date, parse_http_date};
use crate::store::{Answer, DELETE_MARKER};

/// The conditions of a read.
pub(super) struct Asked {
    /// As the store must judge them.
    pub(super) to_store: HeaderMap,
    /// As they are judged here, for the store knows no ETag of the plaintext; then `to_store` is empty.
    pub(super) ours: Option<Conditions>,
}

/// The conditions of a read. One that cannot be read is refused: a guard must not be dropped.
pub(super) fn conditions(headers: &HeaderMap, copy_source: bool, mode: EtagMode) -> Result<Asked, Failure> {
    let received = fields(headers);
    let view = Headers::new(&received);
    let asked = if copy_source { Conditions::of_copy_source(view) } else { Conditions::of(view) }?;
    let mut out = HeaderMap::new();
    let is_plain = |condition: &EtagCondition| match condition {
        EtagCondition::Any => false,
        EtagCondition::OneOf(tags) => tags.iter().any(|tag| !etag::is_marked(tag)),
    };
    if mode == EtagMode::Md5 && [&asked.if_match, &asked.if_none_match].into_iter().flatten().any(is_plain) {
        return Ok(Asked { to_store: out, ours: Some(asked) });
    }
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
    Ok(Asked { to_store: out, ours: None })
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

    /// The ETag that a bucket of this mode shows in place of the store's, if the plaintext's is known. Where the header does
    /// not say it, the tail is read.
    pub(super) async fn plaintext_etag(
        &self,
        core: &Core,
        mode: EtagMode,
        tail: Option<&Tail>,
    ) -> Result<Option<String>, Failure> {
        if mode == EtagMode::Opaque {
            return Ok(None);
        }
        let metadata = self.envelope.metadata();
        let found = etag::of_plaintext(metadata, tail.map(|tail| tail.opened.trailer().digests()));
        if found.is_some() || tail.is_some() {
            return Ok(found);
        }
        match core.tails.of(&self.source, &self.envelope, self.shape.total).await {
            Ok(tail) => Ok(etag::of_plaintext(metadata, Some(tail.opened.trailer().digests()))),
            // it is archived
            Err(failure) if failure.code() == ErrorCode::InvalidObjectState => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Judges conditions by all that the object goes by. `named`: the ETag of its plaintext.
    pub(super) fn judge(
        &self,
        asked: &Conditions,
        named: Option<&str>,
        copy_source: bool,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let opaque = etag::downstream(self.source.etag.as_deref().unwrap_or_default());
        let date = self.headers.get(header::LAST_MODIFIED);
        let last_modified = date.and_then(|value| parse_http_date(value.to_str().ok()?));
        let last_modified = last_modified.ok_or_else(|| Failure::upstream("the store does not date an object"))?;
        let etags: Vec<&str> = std::iter::once(opaque.as_str()).chain(named).collect();
        let verdict = if copy_source {
            asked.judge_copy_source(&etags, last_modified, now)
        } else {
            asked.judge(&etags, last_modified, now)
        };
        match verdict {
            Verdict::Proceed => Ok(()),
            Verdict::PreconditionFailed => Err(ErrorCode::PreconditionFailed.into()),
            Verdict::NotModified => {
                let mut failure = Failure::from(ErrorCode::NotModified);
                let etag = HeaderValue::from_str(&quoted(named.unwrap_or(&opaque))).ok();
                let validators = [(header::ETAG, etag), (header::LAST_MODIFIED, date.cloned())];
                failure.validators = validators.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
                Err(failure)
            }
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
        // one that says nothing has no versions, or none that it tells of
        if let (Some(asked), Some(told)) = (&source.version_id, answer.headers.get("x-amz-version-id"))
            && told.as_bytes() != asked.as_bytes()
        {
            return Err(Failure::integrity("the store answers another version than was asked for"));
        }
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
        let got = begun_again(|| self.get_once(source.clone(), selection, read, headers)).await;
        self.named_alike(source, got).await
    }

    /// An answer that nothing changed names the object as the whole answer does: where the store judged, it says its own ETag.
    async fn named_alike(
        &self,
        source: Source,
        mut answered: Result<Response<Body>, Failure>,
    ) -> Result<Response<Body>, Failure> {
        let mode = source.place.rule.etag;
        if let Err(failure) = &mut answered
            && failure.code() == ErrorCode::NotModified
            && let Some((_, shown)) = failure.validators.iter_mut().find(|(name, _)| *name == header::ETAG)
            && mode == EtagMode::Md5
            && conditions(&self.accepted.headers, false, mode).is_ok_and(|asked| asked.ours.is_none())
        {
            let opening = self.core.head_object(source, None).await?;
            if let Some(named) = opening.plaintext_etag(self.core, mode, None).await? {
                *shown =
                    HeaderValue::from_str(&quoted(&named)).map_err(|_| Failure::ours("an ETag that is no header"))?;
            }
        }
        answered
    }

    /// HeadObject.
    pub(super) async fn head(&mut self, read: &ReadObject) -> Result<Response<Body>, Failure> {
        let (source, selection) = self.reading(read)?;
        let headers = &self.accepted.headers;
        let got = begun_again(|| self.head_once(source.clone(), selection, read, headers)).await;
        self.named_alike(source, got).await
    }

    async fn head_once(
        &self,
        source: Source,
        selection: Selection,
        read: &ReadObject,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Failure> {
        let mode = source.place.rule.etag;
        let asked = conditions(headers, false, mode)?;
        let opening = self.core.head_object(source, Some(&asked.to_store)).await?;
        let (layout, tail) = match opening.layout(self.core).await {
            // its tail cannot be read, but its length says that of the plaintext, as in lists
            Err(failure)
                if failure.code() == ErrorCode::InvalidObjectState && matches!(selection, Selection::Whole) =>
            {
                if let Some(ours) = &asked.ours {
                    opening.judge(ours, None, false, self.core.now())?;
                }
                let len = geometry::plaintext_len(opening.shape.total).ok_or(failure)?;
                let facts = Facts { opening: &opening, len, parts: 0, tail: None, named: None, selected: None };
                return facts.response(read, headers);
            }
            found => found?,
        };
        let named = opening.plaintext_etag(self.core, mode, tail.as_deref()).await?;
        if let Some(ours) = &asked.ours {
            opening.judge(ours, named.as_deref(), false, self.core.now())?;
        }
        let selected = select(selection, &layout)?;
        let tail = match self.tail_for_checksum(&opening, selected, tail).await {
            Err(failure) if failure.code() == ErrorCode::InvalidObjectState => None,
            tail => tail?,
        };
        Facts::new(&opening, &layout, tail.as_deref(), named, selected).response(read, headers)
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
        let mode = source.place.rule.etag;
        let Asked { to_store: conditions, ours } = conditions(headers, false, mode)?;
        let if_range = headers.get(header::IF_RANGE).filter(|_| matches!(selection, Selection::Range(_)));
        // a suffix and a part are somewhere that only the object's length tells
        let names_object = if_range.is_some() || ours.is_some();
        let by_head = names_object || matches!(selection, Selection::Range(RangeSpec::Suffix(_)) | Selection::Part(_));
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
        let (layout, tail) = opening.layout(self.core).await?;
        let mut named = None;
        if names_object {
            named = opening.plaintext_etag(self.core, mode, tail.as_deref()).await?;
        }
        if let Some(ours) = &ours {
            opening.judge(ours, named.as_deref(), false, self.core.now())?;
        }
        if let Some(validator) = if_range
            && !is_current(validator, &opening.headers, named.as_deref())
        {
            selection = Selection::Whole;
        }
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
        let comes_along = is_held && selected.is_none();
        let tail = if comes_along { tail } else { self.tail_for_checksum(&opening, selected, tail).await? };
        if !names_object && !comes_along {
            named = opening.plaintext_etag(self.core, mode, tail.as_deref()).await?;
        }
        let facts = Facts::new(&opening, &layout, tail.as_deref(), named, selected);
        let mut response = facts.response(read, headers)?;
        let (digests, envelope) = (DigestsSlot::default(), Arc::clone(&opening.envelope));
        let body = self.opened_body(opening, body, (layout, is_multipart, selected), Arc::clone(&digests)).await;
        let body = body?;
        if comes_along {
            let out = response.headers_mut();
            if let Some((checksum, parts)) = digests.get().and_then(|digests| digests.checksum.as_ref())
                && wants_checksum(headers)
            {
                insert_checksum(checksum, Some(*parts), out);
            }
            if mode == EtagMode::Md5
                && let Some(named) = etag::of_plaintext(envelope.metadata(), digests.get())
            {
                insert(out, header::ETAG, &quoted(&named))?;
            }
        }
        Ok(response.map(|_| body))
    }

    /// The plaintext of what was selected. A short one is verified before it is answered: then `digests` has what its trailer
    /// says.
    async fn opened_body(
        &self,
        opening: Opening,
        body: Option<Body>,
        (layout, is_multipart, selected): (Layout, bool, Option<Selected>),
        digests: DigestsSlot,
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
            let opened = pump::open(reader, stored, len, failure.clone(), (None, digests));
            let bytes = collect(opened, held).await.map_err(|_| reason())?;
            return Ok(body::held(bytes, lease));
        }
        let lease = self.core.reserve_transfer(self.exchange, len).await?;
        begun(pump::open(reader, stored, len, failure.clone(), (Some(lease), digests))).await.map_err(|_| reason())
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
fn is_current(validator: &HeaderValue, answer: &HeaderMap, named: Option<&str>) -> bool {
    let Ok(text) = validator.to_str() else { return false };
    if named.is_some_and(|named| text == quoted(named)) {
        return true;
    }
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
    /// The ETag in place of the store's.
    named: Option<String>,
    selected: Option<Selected>,
}

impl<'a> Facts<'a> {
    fn new(
        opening: &'a Opening,
        layout: &Layout,
        tail: Option<&'a Tail>,
        named: Option<String>,
        selected: Option<Selected>,
    ) -> Self {
        Self { opening, len: layout.plaintext_len(), parts: layout.segments().len(), tail, named, selected }
    }

    fn response(&self, read: &ReadObject, headers: &HeaderMap) -> Result<Response<Body>, Failure> {
        let mut out = passed_back(&self.opening.headers);
        // what has content is none
        out.remove(DELETE_MARKER);
        let raw = self.opening.source.place.upstream.profile().capabilities().raw_metadata;
        object_headers(self.opening.envelope.metadata(), &read.overrides, raw, &mut out)?;
        if let Some(named) = &self.named {
            insert(&mut out, header::ETAG, &quoted(named))?;
        }
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
