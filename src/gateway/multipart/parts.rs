//! UploadPart, UploadPartCopy, ListParts.

use std::collections::HashSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header};

use super::super::Call;
use super::super::copy::SOURCE_VERSION_ID;
use super::super::error::Failure;
use super::super::headers::{forwarded_to_reads, passed_back, quoted, upstream_etag};
use super::super::policy::Place;
use super::super::pump::{self, Plaintext, VerifiedSlot};
use super::super::read::begun_again;
use super::super::upstream::discard_answer;
use super::super::write::answered_checksum;
use super::{MAX_PAGE, MAX_PAGE_LEN, State, UploadNames};
use crate::crypto::wrap::DataKey;
use crate::digest::{ChecksumAlgorithm, ChecksumHasher};
use crate::format::geometry::{MAX_UPLOAD_PART_LEN, segment_len};
use crate::format::parts::{HEAD_LEN, PartAttempt, PartChecksum, PartSealer};
use crate::format::suite::{CHUNK_LEN, FreshSalt, SEALED_CHUNK_LEN};
use crate::ingress::answer::document;
use crate::net::body::{self, Body};
use crate::object::{PartNumber, PlaintextRange};
use crate::s3::checksum::VerifiedBody;
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::{CopySource, UploadRef};
use crate::s3::range::RangeSpec;
use crate::s3::xml::{CopyKind, CopyResult, ListPartsResult, ListedPart};
use crate::store::{Payload, StoreRequest, content_md5};

/// The shortest upstream part that is a client's: shorter ones are the gateway's trailers.
const SHORTEST_PART: u64 = HEAD_LEN as u64 + 4_195_344;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// How many pages of parts are read at most: ten are enough for a store that fills them.
const MAX_PAGES: u32 = 100;

/// What an upstream part of plaintext length `p` has: its head and its segment.
pub(super) fn stored_part_len(p: u64) -> Option<u64> {
    segment_len(p)?.checked_add(HEAD_LEN as u64)
}

/// The plaintext length of a stored part, if it is one.
pub(super) fn part_plaintext_len(stored: u64) -> Option<u64> {
    let segment = stored.checked_sub(HEAD_LEN as u64)?;
    let (full, rest) = (segment / SEALED_CHUNK_LEN as u64, segment % SEALED_CHUNK_LEN as u64);
    let last = rest.checked_sub((SEALED_CHUNK_LEN - CHUNK_LEN) as u64)?;
    let p = full.checked_mul(CHUNK_LEN as u64)?.checked_add(last)?;
    (stored_part_len(p) == Some(stored)).then_some(p)
}

/// Whether a part waits under the reserved prefix wherever the store stands: too short for it unless it is the last, or the
/// very last number, which the trailer would have no room behind.
pub(super) fn is_staged(place: &Place, number: PartNumber, p: u64) -> bool {
    p < place.upstream.profile().capabilities().min_part_len || number.get() == PartNumber::MAX
}

/// What was verified of a part, of the algorithm that counts for its upload.
fn part_checksum(verified: &VerifiedBody, declared: Option<ChecksumAlgorithm>) -> Option<PartChecksum<'_>> {
    let candidates = [&verified.extra, &verified.checksum];
    let of = |wanted: Option<ChecksumAlgorithm>| {
        candidates.iter().filter_map(|value| value.as_ref()).find(|v| wanted.is_none_or(|w| v.algorithm() == w))
    };
    let value = of(declared)?;
    Some(PartChecksum { algorithm: value.algorithm(), value: value.as_bytes() })
}

/// A part that was taken.
struct Taken {
    /// The ETag for the client, without quotes.
    etag: String,
    verified: VerifiedBody,
    /// What the store answered of a part that is there.
    answered: HeaderMap,
}

impl Call<'_> {
    /// UploadPart.
    pub(in super::super) async fn upload_part(
        &mut self,
        upload: &UploadRef,
        number: PartNumber,
    ) -> Result<Response<Body>, Failure> {
        let (place, names) = self.upload_place(upload).await?;
        let state = self.state(&place, &names, upload).await?;
        let body = self.take_body();
        let wanted = state.declared().map(|(algorithm, _)| algorithm);
        let ingress = self.accepted.body(body, false, wanted, Some(self.core.memory(self.exchange).clone()))?;
        let len = ingress.len();
        let plaintext = Plaintext::Ingress(Box::new(ingress));
        let taken = self.take_part((&place, &names, upload), &state, number, plaintext, len).await?;
        let mut out = taken.answered;
        answered_checksum(&taken.verified, &mut out)?;
        out.remove("x-amz-checksum-type");
        out.remove(header::LAST_MODIFIED);
        let etag =
            HeaderValue::from_str(&quoted(&taken.etag)).map_err(|_| Failure::ours("an ETag that is no header"))?;
        out.insert(header::ETAG, etag);
        let mut response = Response::new(body::empty());
        *response.headers_mut() = out;
        Ok(response)
    }

    /// Seals a part and gives it to the store, where its length says.
    async fn take_part(
        &self,
        (place, names, upload): (&Place, &UploadNames, &UploadRef),
        state: &State,
        number: PartNumber,
        plaintext: Plaintext,
        len: u64,
    ) -> Result<Taken, Failure> {
        if number.get() == PartNumber::MAX && place.upstream.profile().capabilities().equal_parts {
            let message =
                "The store behind this bucket takes parts of one length, and the last number is the gateway's.";
            return Err(S3Error::new(ErrorCode::InvalidPart, message)
                .with("PartNumber", number.get().to_string())
                .into());
        }
        let staged = is_staged(place, number, len) || !self.has_equal_length(place, upload, number, len).await?;
        // the trailer of part 10 000 goes up in the same request
        let limit = if number.get() == PartNumber::MAX { (5 << 30) - (4 << 20) } else { MAX_UPLOAD_PART_LEN };
        let stored_len = stored_part_len(len).filter(|_| len <= limit);
        let stored_len = stored_len.ok_or_else(|| Failure::from(ErrorCode::EntityTooLarge))?;
        let _lease = self.core.reserve_transfer(self.exchange, len).await?;
        let dek = state.envelope.dek();
        // every attempt has a salt of its own: a part may be sent again with other bytes
        let salt: FreshSalt = self.core.random.draw_fresh(self.core.now(), b"part salt")?;
        let salt_bytes = *salt.as_bytes();
        let sealer = PartSealer::new(dek, number, len, salt)?;
        let is_clients = matches!(plaintext, Plaintext::Ingress(_));
        let verified = VerifiedSlot::default();
        let body = pump::seal_part(sealer, plaintext, stored_len, self.exchange, verified.clone());
        let staged_key = names.staged(number);
        // a shorter attempt of the same number that waits will be replaced by this one
        let mut replaced = None;
        let mut request = if staged {
            if Self::speaks_for_another(place) {
                self.may_write(place, upload).await?;
            }
            let mut request = self.about_records(place, Some(staged_key.as_bytes()));
            request.headers.insert(header::CONTENT_TYPE, super::CIPHERTEXT_TYPE);
            request
        } else {
            replaced = self.own_object(place, &staged_key).await?.and_then(|object| object.etag);
            let mut query = Self::upload_query(upload);
            query.push("partNumber", number.get().to_string());
            StoreRequest {
                bucket: Some(&place.upstream_name),
                key: Some(upload.object.key.as_bytes()),
                query,
                headers: forwarded_to_reads(&self.accepted.headers),
                ..self.exchange.request(&place.caller)
            }
        };
        request.method = Method::PUT;
        request.headers.extend(self.expected().filter(|_| is_clients));
        request.body = Payload::Stream { body, len: stored_len };
        let sent = self.exchange.send(&place.upstream, request).await;
        let answer = sent.map_err(|error| {
            let refused = || if staged { Self::refused_records(place, error) } else { error.into() };
            self.exchange.failure.take().unwrap_or_else(refused)
        })?;
        let etag = upstream_etag(&answer.headers).ok_or_else(|| Failure::upstream("a part without an ETag"))?;
        let answered = if staged { HeaderMap::new() } else { passed_back(&answer.headers) };
        discard_answer(answer).await;
        let verified = verified.take()?;
        if staged {
            // an upload that was aborted meanwhile has cleared its parts: this one must not stay behind
            if let Err(failure) = self.upload_exists(place, upload).await {
                if failure.code() == ErrorCode::NoSuchUpload {
                    self.remove_if(place, &staged_key, &etag).await?;
                }
                return Err(failure);
            }
        } else if let Some(replaced) = replaced {
            self.remove_if(place, &staged_key, &replaced).await?;
        }
        let etag = {
            let checksum = part_checksum(&verified, state.declared().map(|(algorithm, _)| algorithm));
            let attempt = PartAttempt { part_no: number, p: len, salt: salt_bytes, upstream_etag: &etag, checksum };
            part_etag(&attempt, dek)?
        };
        Ok(Taken { etag, verified, answered })
    }

    /// What the store says to the caller who sends a part: the gateway, which keeps it in its own bucket, would be let in. It is
    /// asked by a part whose digest is wrong, which it refuses to everybody else for that; should it take it, no Complete names it,
    /// for parts of that number always wait.
    async fn may_write(&self, place: &Place, upload: &UploadRef) -> Result<(), Failure> {
        let mut query = Self::upload_query(upload);
        query.push("partNumber", PartNumber::MAX.to_string());
        let mut headers = forwarded_to_reads(&self.accepted.headers);
        // of another body than that; some stores take no empty one
        headers.extend(content_md5(b"another").map(|digest| (CONTENT_MD5, digest)));
        let request = StoreRequest {
            method: Method::PUT,
            bucket: Some(&place.upstream_name),
            key: Some(upload.object.key.as_bytes()),
            query,
            headers,
            body: Payload::Bytes(Bytes::from_static(b"0")),
            ..self.exchange.request(&place.caller)
        };
        // what it says to a page is not said of the client's request
        let told = self.exchange.send_apart(&place.upstream, request).await.map_err(Failure::from);
        match told {
            Ok(answer) => {
                discard_answer(answer).await;
                Ok(())
            }
            Err(failure) if matches!(failure.code(), ErrorCode::BadDigest | ErrorCode::InvalidDigest) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Whether a store that wants all parts of one length can have this one: its length is that of part 1, which is there.
    /// Another one, perhaps the last, waits for Complete; so does one that comes before part 1.
    async fn has_equal_length(
        &self,
        place: &Place,
        upload: &UploadRef,
        number: PartNumber,
        len: u64,
    ) -> Result<bool, Failure> {
        if !place.upstream.profile().capabilities().equal_parts || number.get() == 1 {
            return Ok(true);
        }
        let first = self.parts_page(place, upload, &mut PartPages::first()).await?.parts.into_iter().next();
        Ok(first.is_some_and(|part| part.number.get() == 1 && part_plaintext_len(part.size) == Some(len)))
    }

    /// UploadPartCopy: opened and sealed anew on its way through the gateway.
    pub(in super::super) async fn upload_part_copy(
        &mut self,
        upload: &UploadRef,
        number: PartNumber,
        from: &CopySource,
        range: Option<RangeSpec>,
    ) -> Result<Response<Body>, Failure> {
        let (place, names) = self.upload_place(upload).await?;
        let state = self.state(&place, &names, upload).await?;
        // a source that changes while it is read is begun again
        let round = || self.copy_part((&place, &names, upload), &state, number, (from, range));
        let (result, from_version) = begun_again(round).await?;
        let mut response = document(result.to_xml(CopyKind::Part));
        response.headers_mut().extend(from_version.map(|version| (SOURCE_VERSION_ID, version)));
        Ok(response)
    }

    async fn copy_part(
        &self,
        (place, names, upload): (&Place, &UploadNames, &UploadRef),
        state: &State,
        number: PartNumber,
        (from, range): (&CopySource, Option<RangeSpec>),
    ) -> Result<(CopyResult, Option<HeaderValue>), Failure> {
        let (_, _, opening) = self.copy_source(&upload.object, from).await?;
        let from_version = opening.headers.get("x-amz-version-id").cloned();
        let (layout, _) = opening.layout(self.core).await?;
        let total = layout.plaintext_len();
        let plain = match range {
            Some(range) => range.resolve_copy_source(total)?,
            None => PlaintextRange::new(0, total).ok_or_else(|| Failure::ours("a negative length"))?,
        };
        let hasher = state.declared().map(|(algorithm, _)| Box::new(ChecksumHasher::new(algorithm)));
        let plaintext = Self::opened_source(opening, layout, plain, hasher)?;
        let taken = self.take_part((place, names, upload), state, number, plaintext, plain.len()).await?;
        let checksums = taken.verified.extra.into_iter().collect();
        let result = CopyResult { etag: quoted(&taken.etag), last_modified: self.core.now(), checksums };
        Ok((result, from_version))
    }

    /// ListParts: upstream parts and staged ones, with the sizes of their plaintext; the gateway's trailers left out.
    pub(in super::super) async fn list_parts(
        &mut self,
        upload: &UploadRef,
        marker: u32,
        max_parts: u32,
    ) -> Result<Response<Body>, Failure> {
        let (place, names) = self.upload_place(upload).await?;
        let staged = self.staged(&place, &names).await?;
        let mut parts: Vec<ListedPart> = staged
            .iter()
            .filter(|part| part.number.get() > marker)
            .filter_map(|part| {
                let size = part_plaintext_len(part.size)?;
                let etag = part.etag.clone();
                Some(ListedPart {
                    number: part.number,
                    last_modified: part.last_modified,
                    etag,
                    size,
                    checksums: Vec::new(),
                })
            })
            .collect();
        let max = usize::try_from(max_parts).unwrap_or(usize::MAX);
        let replaced: HashSet<PartNumber> = staged.iter().map(|part| part.number).collect();
        let mut pages = PartPages::behind(marker);
        let mut result = loop {
            let mut page = self.parts_page(&place, upload, &mut pages).await?;
            for part in std::mem::take(&mut page.parts) {
                if part.size < SHORTEST_PART || replaced.contains(&part.number) {
                    continue;
                }
                let size = part_plaintext_len(part.size).unwrap_or(part.size);
                parts.push(ListedPart { size, checksums: Vec::new(), ..part });
            }
            // staged parts behind the page do not count: between them there may be others
            let seen = pages.seen();
            let known = parts.iter().filter(|part| seen.is_none_or(|seen| part.number.get() <= seen)).count();
            if seen.is_none() || known > max {
                if let Some(seen) = seen {
                    parts.retain(|part| part.number.get() <= seen);
                }
                page.is_truncated = seen.is_some();
                break page;
            }
        };
        parts.sort_by_key(|part| part.number);
        let more = parts.len() > max || result.is_truncated;
        parts.truncate(max);
        result.bucket = upload.object.bucket.as_str().to_owned();
        result.key = String::from_utf8_lossy(upload.object.key.as_bytes()).into_owned();
        result.upload_id.clone_from(&upload.upload_id);
        result.part_number_marker = marker;
        result.max_parts = max_parts;
        result.is_truncated = more && max > 0;
        result.next_part_number_marker = parts.last().map(|part| part.number.get()).filter(|_| result.is_truncated);
        result.checksum = None;
        result.parts = parts;
        Ok(document(result.to_xml()))
    }

    /// The next page of the store's own list.
    pub(super) async fn parts_page(
        &self,
        place: &Place,
        upload: &UploadRef,
        pages: &mut PartPages,
    ) -> Result<ListPartsResult, Failure> {
        let mut query = Self::upload_query(upload);
        query.push("max-parts", pages.max.to_string());
        if pages.marker > 0 {
            query.push("part-number-marker", pages.marker.to_string());
        }
        let at = (place.upstream_name.as_str(), Some(upload.object.key.as_bytes()));
        let headers = forwarded_to_reads(&self.accepted.headers);
        let answer = self.about_upload(place, Method::GET, at, query, headers, Payload::Empty).await?;
        let document = self.core.read_document(self.exchange, answer, MAX_PAGE_LEN).await?;
        let page = ListPartsResult::parse(&document.bytes)?;
        pages.take(&page)?;
        Ok(page)
    }

    /// The number behind all of a client's upstream parts, from `last` on: where a trailer can go.
    pub(super) async fn number_behind(
        &self,
        place: &Place,
        upload: &UploadRef,
        last: PartNumber,
    ) -> Result<PartNumber, Failure> {
        let (mut highest, mut pages) = (last.get(), PartPages::behind(last.get()));
        while !pages.ended {
            let page = self.parts_page(place, upload, &mut pages).await?;
            let own = page.parts.iter().filter(|part| part.size >= SHORTEST_PART);
            highest = own.map(|part| part.number.get()).max().unwrap_or(highest).max(highest);
        }
        PartNumber::new(highest + 1).map_err(|_| Failure::from(ErrorCode::InvalidPart))
    }
}

/// How far the store's list of parts was read. Whatever the store answers, it ends.
pub(super) struct PartPages {
    marker: u32,
    count: u32,
    max: u32,
    pub(super) ended: bool,
}

impl PartPages {
    /// From behind part `marker` on.
    pub(super) const fn behind(marker: u32) -> Self {
        Self { marker, count: 0, max: MAX_PAGE, ended: false }
    }

    /// The first part only.
    const fn first() -> Self {
        Self { marker: 0, count: 0, max: 1, ended: false }
    }

    /// The number up to which all parts were seen; `None`: all were.
    const fn seen(&self) -> Option<u32> {
        if self.ended { None } else { Some(self.marker) }
    }

    /// Numbers ascend from page to page, and no page has more than was asked for.
    fn take(&mut self, page: &ListPartsResult) -> Result<(), Failure> {
        let wrong = || Failure::upstream("the store's list of parts does not go on as lists do");
        self.count += 1;
        if page.parts.len() > self.max as usize || self.count > MAX_PAGES {
            return Err(wrong());
        }
        let mut last = self.marker;
        for part in &page.parts {
            if part.number.get() <= last {
                return Err(wrong());
            }
            last = part.number.get();
        }
        if !page.is_truncated {
            self.ended = true;
            return Ok(());
        }
        let next = page.next_part_number_marker.ok_or_else(wrong)?;
        if next <= self.marker || next < last || next > PartNumber::MAX {
            return Err(wrong());
        }
        self.marker = next;
        Ok(())
    }
}

fn part_etag(attempt: &PartAttempt<'_>, dek: &DataKey) -> Result<String, Failure> {
    debug_assert!(segment_len(attempt.p).is_some());
    Ok(attempt.etag(dek)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_a_stored_part_says_that_of_its_plaintext() {
        for p in [0, 1, 65_535, 65_536, 65_537, 131_072, 5 << 20, (5 << 20) + 7, MAX_UPLOAD_PART_LEN] {
            assert_eq!(part_plaintext_len(stored_part_len(p).unwrap()), Some(p));
        }
        for stored in [0, 71, 72, 87] {
            assert_eq!(part_plaintext_len(stored), None);
        }
        assert_eq!(stored_part_len(4 << 20), Some(SHORTEST_PART));
    }
}
