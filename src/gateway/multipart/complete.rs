//! CompleteMultipartUpload.
//!
//! Everything is checked before anything is committed: order, sizes, that each ETag was issued for its part, checksums. Then
//! the trailer goes up as, or behind, the last part, the store completes, and what it then holds must end with the tail that
//! was written. Only then the upload's state goes. A second Complete finds the object and answers the same.

use bytes::Bytes;
use http::{HeaderMap, Method, Response, header};
use http_body_util::BodyExt as _;

use super::super::Call;
use super::super::error::Failure;
use super::super::etag;
use super::super::generate::generate;
use super::super::headers::{forwarded, forwarded_to_reads, passed_back, quoted, upstream_etag};
use super::super::policy::Place;
use super::super::pump::zeros;
use super::super::read::begun_again;
use super::super::settings::EtagMode;
use super::super::tails;
use super::super::upstream::{Source, content_length, discard_answer};
use super::parts::{PartPages, is_staged, part_plaintext_len, stored_part_len};
use super::{MAX_ANSWER_LEN, StagedPart, State, UploadNames, is_missing};
use crate::crypto::wrap::DataKey;
use crate::digest::{ChecksumAlgorithm, ChecksumType, ChecksumValue, combine_crc, composite, hex};
use crate::format::metadata::Checksum;
use crate::format::parts::{HEAD_LEN, PartHead, PartTag};
use crate::format::suite::MIN_PART_LEN;
use crate::format::trailer::{Digests, Entry, Tail, Trailer, seal_tail};
use crate::ingress::answer::document;
use crate::ingress::fields;
use crate::net::body::{Body, BodyError};
use crate::object::PartNumber;
use crate::s3::checksum::{ObjectChecksum, format_checksum, multipart_object_size};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::UploadRef;
use crate::s3::xml::{
    Answer as XmlAnswer, CompleteMultipartUploadResult, CompletedPart, complete_multipart_upload_xml,
    parse_complete_multipart_upload, unquoted,
};
use crate::sigv4::Headers;
use crate::sigv4::uri::Query;
use crate::store::{Payload, StoreRequest, error_in_200};

/// The longest list of parts: 10 000 of them, each with an ETag of ours and a checksum.
const MAX_DOCUMENT_LEN: usize = 4 << 20;

/// A listed part, proved.
struct Proved {
    number: PartNumber,
    p: u64,
    /// All zero: which attempt it is, is not known.
    salt: [u8; 24],
    upstream_etag: String,
    checksum: Option<ChecksumValue>,
}

/// What the client declares of the whole.
struct Whole {
    size: Option<u64>,
    checksum: Option<ObjectChecksum>,
    over: Option<ChecksumType>,
}

/// What a Complete asks for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    listed: &'a [CompletedPart],
    whole: &'a Whole,
}

type WholeChecksum = Option<(ChecksumAlgorithm, ChecksumType, ChecksumValue, u16)>;

fn invalid_part(number: PartNumber) -> Failure {
    S3Error::from(ErrorCode::InvalidPart).with("PartNumber", number.get().to_string()).into()
}

/// Parts for a store that wants them of one length.
fn check_equal(parts: &[Proved]) -> Result<(), Failure> {
    let size = parts.first().map_or(0, |part| part.p);
    let (last, others) = parts.split_last().ok_or_else(|| Failure::from(ErrorCode::MalformedXML))?;
    let odd = others.iter().find(|part| part.p != size).or_else(|| Some(last).filter(|last| last.p > size));
    match odd {
        None => Ok(()),
        Some(odd) => {
            let message = "The store behind this bucket takes parts of one length: all but the last must be as long as \
                           the first, and the last no longer.";
            Err(S3Error::new(ErrorCode::InvalidPart, message).with("PartNumber", odd.number.get().to_string()).into())
        }
    }
}

const fn listed_part(number: PartNumber, etag: String) -> CompletedPart {
    CompletedPart { number, etag, checksum: None }
}

/// The first `len` bytes of a tail, and the rest.
fn cut(tail: Tail, len: u64) -> (Tail, Tail) {
    let padding = tail.padding.min(len);
    let bytes = usize::try_from(len - padding).unwrap_or(usize::MAX).min(tail.bytes.len());
    let mut first = tail.bytes;
    let rest = first.split_off(bytes);
    (Tail { padding, bytes: first }, Tail { padding: tail.padding - padding, bytes: rest })
}

fn wrong_type() -> Failure {
    S3Error::new(ErrorCode::InvalidRequest, "The checksum type is not that of the upload's creation.").into()
}

/// Proves the ETags under the upload's key. An ETag that is none of ours comes from ListParts: `None` in its place.
fn prove(dek: &DataKey, parts: &[CompletedPart]) -> Result<Vec<Option<Proved>>, Failure> {
    let prove_one = |part: &CompletedPart| {
        let given = part.checksum.as_ref();
        let Some(tag) = PartTag::split(&part.etag) else {
            // nothing attests what the request says of it
            return if given.is_some() { Err(invalid_part(part.number)) } else { Ok(None) };
        };
        let attempt =
            tag.verify(dek, part.number, given.map(ChecksumValue::as_bytes)).map_err(|_| invalid_part(part.number))?;
        let checksum = attempt.checksum.and_then(|c| ChecksumValue::new(c.algorithm, c.value));
        // a checksum of the request's that differs from what was verified is of other bytes; one of another algorithm, or of
        // a part without one, was never verified
        if given.is_some_and(|given| {
            checksum.as_ref().is_none_or(|found| found.algorithm() != given.algorithm() || !found.matches(given))
        }) {
            return Err(invalid_part(part.number));
        }
        let upstream_etag = attempt.upstream_etag.to_owned();
        Ok(Some(Proved { number: part.number, p: attempt.p, salt: attempt.salt, upstream_etag, checksum }))
    };
    parts.iter().map(prove_one).collect()
}

/// The checksum of the whole, of the kind that was declared at Create, if every part's was verified.
fn whole_checksum(declared: Option<(ChecksumAlgorithm, ChecksumType)>, parts: &[Proved]) -> WholeChecksum {
    let (algorithm, over) = declared?;
    let values: Vec<&ChecksumValue> = parts.iter().map(|part| part.checksum.as_ref()).collect::<Option<_>>()?;
    if values.iter().any(|value| value.algorithm() != algorithm) {
        return None;
    }
    let count = u16::try_from(parts.len()).ok()?;
    match over {
        ChecksumType::Composite => Some((algorithm, over, composite(algorithm, values)?, count)),
        ChecksumType::FullObject => {
            let mut lens = parts.iter().map(|part| part.p);
            let mut values = values.into_iter();
            let (mut whole, _) = (*values.next()?, lens.next()?);
            for (value, len) in values.zip(lens) {
                whole = combine_crc(&whole, value, len)?;
            }
            Some((algorithm, over, whole, 0))
        }
    }
}

impl Whole {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let received = fields(headers);
        let headers = Headers::new(&received);
        let over = headers.one("x-amz-checksum-type").map_err(|_| wrong_type())?.map(|text| {
            let types = [ChecksumType::Composite, ChecksumType::FullObject];
            types.into_iter().find(|over| text == over.name().as_bytes())
        });
        let over = over.map(|over| over.ok_or_else(wrong_type)).transpose()?;
        Ok(Self { size: multipart_object_size(headers)?, checksum: ObjectChecksum::of(headers)?, over })
    }

    /// Compares what is declared now with what was at Create. Where nothing was, a checksum would be of the whole.
    fn check_type(&self, declared: Option<ChecksumType>) -> Result<(), Failure> {
        match self.over {
            Some(over) if over != declared.unwrap_or(ChecksumType::FullObject) => Err(wrong_type()),
            _ => Ok(()),
        }
    }

    fn check(&self, parts: &[Proved], computed: &WholeChecksum) -> Result<(), Failure> {
        let sum = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(part.p));
        let sum = sum.ok_or_else(|| Failure::from(ErrorCode::EntityTooLarge))?;
        if self.size.is_some_and(|size| size != sum) {
            let message = "The provided 'x-amz-mp-object-size' header value does not match what was computed.";
            return Err(S3Error::new(ErrorCode::InvalidRequest, message).into());
        }
        let Some(declared) = &self.checksum else { return Ok(()) };
        let matches = if let Some((algorithm, over, value, _)) = computed {
            // the number of parts may be left out, as clients do that say the type
            let count = declared
                .parts
                .is_none_or(|count| *over == ChecksumType::Composite && usize::try_from(count) == Ok(parts.len()));
            count && declared.value.algorithm() == *algorithm && declared.value.matches(value)
        } else {
            let message = "The checksum of the whole cannot be verified: not every part has one of its algorithm.";
            return Err(S3Error::new(ErrorCode::InvalidRequest, message).into());
        };
        if matches { Ok(()) } else { Err(ErrorCode::BadDigest.into()) }
    }
}

impl Call<'_> {
    /// CompleteMultipartUpload.
    pub(in super::super) async fn complete_upload(&mut self, upload: &UploadRef) -> Result<Response<Body>, Failure> {
        let (place, names) = self.upload_place(upload).await?;
        let document = self.document(MAX_DOCUMENT_LEN).await?;
        let listed = parse_complete_multipart_upload(&document)?;
        let whole = Whole::of(&self.accepted.headers)?;
        let condition = self.write_condition(&place, &upload.object.key).await;
        let asked = Asked { listed: &listed, whole: &whole };
        let gone = match self.state(&place, &names, upload).await {
            Ok(state) => match self.complete_if(&place, &names, upload, &state, asked, condition).await {
                // another Complete was faster, or an earlier one did not come to its last step
                Err(failure) if failure.code() == ErrorCode::NoSuchUpload => failure,
                Err(failure) if matches!(failure.code(), ErrorCode::InvalidPart | ErrorCode::NoSuchKey) => {
                    match self.upload_exists(&place, upload).await {
                        Ok(()) => return Err(failure),
                        Err(gone) if gone.code() == ErrorCode::NoSuchUpload => gone,
                        Err(unknown) => return Err(unknown),
                    }
                }
                result => return result,
            },
            Err(failure) if failure.code() == ErrorCode::NoSuchUpload => failure,
            Err(failure) => return Err(failure),
        };
        begun_again(|| self.completed_before(&place, &names, upload, asked)).await?.ok_or(gone)
    }

    /// Completes, unless a condition does not hold: of an upload that is gone that says nothing.
    async fn complete_if(
        &self,
        place: &Place,
        names: &UploadNames,
        upload: &UploadRef,
        state: &State,
        asked: Asked<'_>,
        condition: Result<HeaderMap, Failure>,
    ) -> Result<Response<Body>, Failure> {
        match condition {
            Ok(condition) => self.complete(place, names, upload, state, asked, condition).await,
            Err(refused) => {
                self.upload_exists(place, upload).await?;
                Err(refused)
            }
        }
    }

    async fn complete(
        &self,
        place: &Place,
        names: &UploadNames,
        upload: &UploadRef,
        state: &State,
        Asked { listed, whole }: Asked<'_>,
        condition: HeaderMap,
    ) -> Result<Response<Body>, Failure> {
        let dek = state.envelope.dek();
        whole.check_type(state.declared().map(|(_, over)| over))?;
        let proved = prove(dek, listed)?;
        let staged = self.staged(place, names).await?;
        let parts = self.with_lengths(place, upload, listed, proved, &staged).await?;
        let last = parts.last().ok_or_else(|| Failure::from(ErrorCode::MalformedXML))?;
        let capabilities = place.upstream.profile().capabilities();
        let minimum = capabilities.min_part_len.max(MIN_PART_LEN);
        if let Some(small) = parts.iter().rev().skip(1).find(|part| part.p < minimum) {
            let error = S3Error::from(ErrorCode::EntityTooSmall)
                .with("ProposedSize", small.p.to_string())
                .with("MinSizeAllowed", minimum.to_string())
                .with("PartNumber", small.number.get().to_string());
            return Err(error.into());
        }
        if capabilities.equal_parts {
            check_equal(&parts)?;
        }
        let checksum = whole_checksum(state.declared(), &parts);
        whole.check(&parts, &checksum)?;

        let entries =
            parts.iter().map(|part| Entry { part_no: part.number.get(), p: part.p, salt: part.salt }).collect();
        let stored_checksum = checksum
            .as_ref()
            .map(|(algorithm, over, value, count)| {
                Ok::<_, Failure>((Checksum::new(*algorithm, *over, value.as_bytes())?, *count))
            })
            .transpose()?;
        let trailer = Trailer::multipart(entries, Digests { md5: None, checksum: stored_checksum })?;
        let segments = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(stored_part_len(part.p)?));
        let segments = segments.ok_or_else(|| Failure::from(ErrorCode::EntityTooLarge))?;
        let record = self.core.recovery_record(place, state.envelope.kek_id(), dek).await?;
        let tail = seal_tail(dek, &trailer, record.as_ref(), segments)?;
        let total = segments.checked_add(tail.padding).and_then(|len| len.checked_add(tail.bytes.len() as u64));
        let total = total.ok_or_else(|| Failure::from(ErrorCode::EntityTooLarge))?;

        let to_complete = if capabilities.equal_parts {
            self.send_equal(place, upload, &parts, &staged, tail).await?
        } else {
            let is_staged_last = is_staged(place, last.number, last.p);
            let (number, front) = if is_staged_last {
                let part =
                    staged.iter().find(|part| part.number == last.number).ok_or_else(|| invalid_part(last.number))?;
                (last.number, Some(self.open_staged(place, part, last).await?))
            } else {
                (self.number_behind(place, upload, last.number).await?, None)
            };
            let etag = self.send_tail(place, upload, number, front, tail).await?;
            let upstream_parts = parts.iter().take(if is_staged_last { parts.len() - 1 } else { parts.len() });
            let mut to_complete: Vec<CompletedPart> =
                upstream_parts.map(|part| listed_part(part.number, part.upstream_etag.clone())).collect();
            to_complete.push(listed_part(number, etag));
            to_complete
        };
        let (answered_etag, out) = self.complete_on_store(place, upload, &to_complete, condition).await?;

        let etag = self.check_completed(place, upload, state, (&trailer, total), answered_etag).await?;
        self.clear(place, names, state.version_id.clone()).await;
        Ok(self.completed(place, upload, &etag, checksum.as_ref(), out))
    }

    /// Adds to parts that are not pinned what the store, or their own heads, say of their lengths.
    async fn with_lengths(
        &self,
        place: &Place,
        upload: &UploadRef,
        listed: &[CompletedPart],
        proved: Vec<Option<Proved>>,
        staged: &[StagedPart],
    ) -> Result<Vec<Proved>, Failure> {
        let mut parts = Vec::with_capacity(listed.len());
        let mut upstream: Option<std::collections::HashMap<u32, (String, u64)>> = None;
        for (part, proved) in listed.iter().zip(proved) {
            if let Some(proved) = proved {
                parts.push(proved);
                continue;
            }
            let waiting = staged.iter().find(|other| other.number == part.number);
            let (etag, size) = if let Some(waiting) = waiting {
                (unquoted(&waiting.etag).to_owned(), waiting.size)
            } else {
                if upstream.is_none() {
                    upstream = Some(self.upstream_parts(place, upload).await?);
                }
                let found = upstream.as_ref().and_then(|parts| parts.get(&part.number.get())).cloned();
                found.ok_or_else(|| invalid_part(part.number))?
            };
            if etag != part.etag {
                return Err(invalid_part(part.number));
            }
            let p = part_plaintext_len(size).ok_or_else(|| Failure::integrity("a part of a length that none has"))?;
            parts.push(Proved { number: part.number, p, salt: [0; 24], upstream_etag: etag, checksum: None });
        }
        Ok(parts)
    }

    /// ETags and sizes of all upstream parts.
    async fn upstream_parts(
        &self,
        place: &Place,
        upload: &UploadRef,
    ) -> Result<std::collections::HashMap<u32, (String, u64)>, Failure> {
        let (mut found, mut pages) = (std::collections::HashMap::new(), PartPages::behind(0));
        while !pages.ended {
            let page = self.parts_page(place, upload, &mut pages).await?;
            for part in &page.parts {
                found.insert(part.number.get(), (unquoted(&part.etag).to_owned(), part.size));
            }
        }
        Ok(found)
    }

    /// Opens a staged part for its way up; its head must be that of the attempt that is listed.
    async fn open_staged(&self, place: &Place, part: &StagedPart, proved: &Proved) -> Result<Front, Failure> {
        let key = part.object_key()?;
        let answer =
            self.ask_records(place, self.about_records(place, Some(key.as_bytes()))).await.map_err(|failure| {
                // another Complete has cleared it
                if is_missing(&failure) { ErrorCode::NoSuchUpload.into() } else { failure }
            })?;
        let len = stored_part_len(proved.p).ok_or_else(|| Failure::from(ErrorCode::EntityTooLarge))?;
        // another attempt is there now
        if upstream_etag(&answer.headers).as_deref() != Some(proved.upstream_etag.as_str()) {
            return Err(invalid_part(proved.number));
        }
        if content_length(&answer.headers) != Some(len) {
            return Err(Failure::integrity("a staged part of another length"));
        }
        let mut body = answer.body;
        let mut start = Vec::new();
        while start.len() < HEAD_LEN {
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        start.extend_from_slice(&data);
                    }
                }
                _ => return Err(Failure::upstream("the store's body broke off")),
            }
        }
        let head = start.first_chunk::<HEAD_LEN>().ok_or_else(|| Failure::ours("a head that is short"))?;
        let head = PartHead::parse(head)?;
        let is_pinned = proved.salt != [0; 24];
        if head.part_no != proved.number.get() || head.p != proved.p || (is_pinned && head.salt != proved.salt) {
            return Err(invalid_part(proved.number));
        }
        Ok(Front { start: start.into(), body, len })
    }

    /// Sends what a store has not yet that wants all parts of one length: parts that waited, and the tail, behind a last part
    /// that is shorter. Where that becomes longer than the others, it is cut. Answers all that is to be completed.
    async fn send_equal(
        &self,
        place: &Place,
        upload: &UploadRef,
        parts: &[Proved],
        staged: &[StagedPart],
        tail: Tail,
    ) -> Result<Vec<CompletedPart>, Failure> {
        let mut to_complete = Vec::with_capacity(parts.len() + 1);
        let size = parts.first().map_or(0, |part| part.p);
        let stored_size = stored_part_len(size).ok_or_else(|| Failure::from(ErrorCode::EntityTooLarge))?;
        let mut tail = tail;
        for (at, part) in (1..).zip(parts) {
            let waits =
                staged.iter().find(|other| other.number == part.number && unquoted(&other.etag) == part.upstream_etag);
            let Some(waits) = waits else {
                to_complete.push(listed_part(part.number, part.upstream_etag.clone()));
                continue;
            };
            let front = self.open_staged(place, waits, part).await?;
            let is_last = at == parts.len();
            // what goes up with it: nothing, or so much of the tail as there is room for
            let with = if !is_last {
                Tail { padding: 0, bytes: Vec::new() }
            } else if parts.len() == 1 {
                std::mem::replace(&mut tail, Tail { padding: 0, bytes: Vec::new() })
            } else {
                let (with, rest) = cut(tail, stored_size.saturating_sub(front.len));
                tail = rest;
                with
            };
            let etag = self.send_tail(place, upload, part.number, Some(front), with).await?;
            to_complete.push(listed_part(part.number, etag));
        }
        if tail.padding > 0 || !tail.bytes.is_empty() {
            let last = parts.last().ok_or_else(|| Failure::from(ErrorCode::MalformedXML))?;
            let number = self.number_behind(place, upload, last.number).await?;
            let etag = self.send_tail(place, upload, number, None, tail).await?;
            to_complete.push(listed_part(number, etag));
        }
        Ok(to_complete)
    }

    /// Sends the last upstream part: the staged one, if there is one, zeros, and the tail.
    async fn send_tail(
        &self,
        place: &Place,
        upload: &UploadRef,
        number: PartNumber,
        front: Option<Front>,
        tail: Tail,
    ) -> Result<String, Failure> {
        let front_len = front.as_ref().map_or(0, |front| front.len);
        let len = front_len.checked_add(tail.padding).and_then(|len| len.checked_add(tail.bytes.len() as u64));
        let len = len.ok_or_else(|| Failure::from(ErrorCode::EntityTooLarge))?;
        let _lease = self.core.reserve_transfer(self.exchange, len).await?;
        let body = generate(len, self.exchange.failure.clone(), move |out| async move {
            if let Some(Front { start, mut body, .. }) = front {
                out.send(start).await;
                while let Some(frame) = body.frame().await {
                    let frame = frame.map_err(|_: BodyError| Failure::upstream("the store's body broke off"))?;
                    if let Ok(data) = frame.into_data() {
                        out.send(data).await;
                    }
                }
            }
            zeros(&out, tail.padding).await;
            out.send(tail.bytes.into()).await;
            Ok(())
        });
        let mut query = Query::default();
        query.push("partNumber", number.get().to_string());
        query.push("uploadId", upload.upload_id.as_str());
        let request = StoreRequest {
            method: Method::PUT,
            bucket: Some(&place.upstream_name),
            key: Some(upload.object.key.as_bytes()),
            query,
            headers: forwarded_to_reads(&self.accepted.headers),
            body: Payload::Stream { body, len },
            ..self.exchange.request(&place.caller)
        };
        let answer = self.send_body(place, request).await?;
        let etag = upstream_etag(&answer.headers).ok_or_else(|| Failure::upstream("a part without an ETag"))?;
        discard_answer(answer).await;
        Ok(etag)
    }

    async fn complete_on_store(
        &self,
        place: &Place,
        upload: &UploadRef,
        parts: &[CompletedPart],
        condition: HeaderMap,
    ) -> Result<(Option<String>, HeaderMap), Failure> {
        let xml = Bytes::from(complete_multipart_upload_xml(parts));
        let mut headers = forwarded(&self.accepted.headers);
        headers.extend(condition);
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/xml"));
        let at = (place.upstream_name.as_str(), Some(upload.object.key.as_bytes()));
        let query = Self::upload_query(upload);
        let answer = self.about_upload(place, Method::POST, at, query, headers, Payload::Bytes(xml)).await?;
        let out = passed_back(&answer.headers);
        match CompleteMultipartUploadResult::parse(&answer.bytes(MAX_ANSWER_LEN).await?)? {
            XmlAnswer::Done(result) => {
                let etag = unquoted(&result.etag).to_owned();
                Ok((Some(etag).filter(|etag| !etag.is_empty()), out))
            }
            XmlAnswer::Failed(error) => Err(error_in_200(&error).into()),
        }
    }

    /// What the store holds now must be what was completed: the header that was sent at Create, and the tail just written.
    /// Another object with a header of ours is a later write, which is nobody's fault, and so is none at all. What the store
    /// has put where it cannot be read at once is believed by its header and its length.
    async fn check_completed(
        &self,
        place: &Place,
        upload: &UploadRef,
        state: &State,
        (trailer, total): (&Trailer, u64),
        answered: Option<String>,
    ) -> Result<String, Failure> {
        let key = upload.object.key.clone();
        let source = Source::new(place.clone(), key, None, &self.accepted.headers, self.exchange);
        let opening = match self.core.head_object(source, None).await {
            Ok(opening) => opening,
            // deleted in the meantime
            Err(failure) if is_missing(&failure) && answered.is_some() => return Ok(answered.unwrap_or_default()),
            Err(failure) => return Err(failure),
        };
        let etag = opening.source.etag.clone().unwrap_or_default();
        if state.envelope.metadata().create_tag() != Some(*opening.envelope.tag()) {
            return Ok(answered.unwrap_or(etag));
        }
        let wrong = || Failure::integrity("the completed object is not what was completed");
        if opening.shape.total != total {
            return Err(wrong());
        }
        match tails::read(&opening.source, &opening.envelope, total).await {
            Ok(tail) if tail.opened.trailer() == trailer => Ok(etag),
            Ok(_) => Err(wrong()),
            Err(failure) => match failure.code() {
                // written over since the HEAD, or archived
                ErrorCode::OperationAborted | ErrorCode::InvalidObjectState => Ok(etag),
                _ => Err(failure),
            },
        }
    }

    /// The upload is gone. If the object is what this Complete asks for, it was done before; `None`: it was not. What hinders
    /// the comparison is no answer to that, and is told as it is.
    async fn completed_before(
        &self,
        place: &Place,
        names: &UploadNames,
        upload: &UploadRef,
        Asked { listed, whole }: Asked<'_>,
    ) -> Result<Option<Response<Body>>, Failure> {
        let key = upload.object.key.clone();
        let source = Source::new(place.clone(), key, None, &self.accepted.headers, self.exchange);
        let opening = match self.core.head_object(source, None).await {
            Ok(opening) => opening,
            Err(failure) if matches!(failure.code(), ErrorCode::NoSuchKey | ErrorCode::ObjectNotSealed) => {
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let (_, Some(tail)) = opening.layout(self.core).await? else { return Ok(None) };
        let Ok(proved) = prove(opening.envelope.dek(), listed) else { return Ok(None) };
        let Some(proved) = proved.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        let entries = tail.opened.trailer().entries();
        let is_same = entries.len() == proved.len()
            && entries.iter().zip(&proved).all(|(entry, part)| {
                entry.part_no == part.number.get() && entry.p == part.p && entry.salt == part.salt
            });
        if !is_same {
            return Ok(None);
        }
        let checksum = tail.opened.trailer().digests().checksum.as_ref().and_then(|(checksum, count)| {
            let value = ChecksumValue::new(checksum.algorithm(), checksum.value())?;
            Some((checksum.algorithm(), checksum.over(), value, *count))
        });
        whole.check_type(checksum.as_ref().map(|(_, over, ..)| *over).or(whole.over))?;
        whole.check(&proved, &checksum)?;
        // the Complete that did it may have been cut off before its last step
        if !Self::speaks_for_another(place) {
            self.clear(place, names, None).await;
        }
        let etag = opening.source.etag.clone().unwrap_or_default();
        let out = passed_back(&opening.headers);
        Ok(Some(self.completed(place, upload, &etag, checksum.as_ref(), out)))
    }

    fn completed(
        &self,
        place: &Place,
        upload: &UploadRef,
        etag: &str,
        checksum: Option<&(ChecksumAlgorithm, ChecksumType, ChecksumValue, u16)>,
        mut out: HeaderMap,
    ) -> Response<Body> {
        let key = String::from_utf8_lossy(upload.object.key.as_bytes()).into_owned();
        let bucket = upload.object.bucket.as_str().to_owned();
        let etag = match checksum {
            Some((ChecksumAlgorithm::Md5, ChecksumType::Composite, value, count))
                if place.rule.etag == EtagMode::Md5 =>
            {
                format!("{}-{count}", hex(value.as_bytes()))
            }
            _ => etag::downstream(etag),
        };
        let result = CompleteMultipartUploadResult {
            location: format!("{}://{}", self.exchange.scheme(), self.accepted.at),
            bucket,
            key,
            etag: quoted(&etag),
            checksum: checksum.map(|(algorithm, over, value, count)| {
                let mut text = format_checksum(value);
                if *over == ChecksumType::Composite {
                    text = format!("{text}-{count}");
                }
                (*algorithm, *over, text)
            }),
        };
        let mut response = document(result.to_xml());
        for name in [header::ETAG, header::LAST_MODIFIED] {
            out.remove(name);
        }
        response.headers_mut().extend(out);
        response
    }
}

/// A staged part on its way up.
struct Front {
    start: Bytes,
    body: Body,
    len: u64,
}
