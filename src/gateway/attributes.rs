//! GetObjectAttributes: answered from what is sealed with the object, not from what the store says of its ciphertext.

use http::{HeaderName, Response, header};

use super::Call;
use super::error::Failure;
use super::etag;
use super::headers::{passed_back, upstream_etag};
use super::policy::Right;
use super::read::begun_again;
use super::upstream::Source;
use crate::digest::ChecksumValue;
use crate::ingress::answer::document;
use crate::net::body::Body;
use crate::s3::checksum::format_checksum;
use crate::s3::operation::{ObjectAttribute, ObjectRef};
use crate::s3::xml::{AttributePart, AttributeParts, GetObjectAttributesResponse};

/// What is asked of an object.
pub(super) struct Asked<'a> {
    pub(super) attributes: &'a [ObjectAttribute],
    pub(super) max_parts: u32,
    pub(super) part_number_marker: u32,
}

impl Call<'_> {
    /// GetObjectAttributes.
    pub(super) async fn attributes(
        &mut self,
        object: &ObjectRef,
        version: Option<&str>,
        asked: Asked<'_>,
    ) -> Result<Response<Body>, Failure> {
        let place = self.core.policy.place_of(self.caller, &object.bucket, &object.key, Right::Read)?;
        self.exchange.note_place(&place);
        let (key, version) = (object.key.clone(), version.map(str::to_owned));
        let source = Source::new(place, key, version, &self.accepted.headers, self.exchange);
        begun_again(|| self.attributes_once(source.clone(), &asked)).await
    }

    async fn attributes_once(&self, source: Source, asked: &Asked<'_>) -> Result<Response<Body>, Failure> {
        let wants = |attribute| asked.attributes.contains(&attribute);
        let opening = self.core.head_object(source, None).await?;
        let (layout, mut tail) = opening.layout(self.core).await?;
        let is_multipart = tail.is_some();
        // a checksum that came behind the body of a simple object stands in its tail
        if tail.is_none() && wants(ObjectAttribute::Checksum) && opening.envelope.metadata().checksum().is_none() {
            tail = Some(self.core.tails.of(&opening.source, &opening.envelope, opening.shape.total).await?);
        }
        let mut answer = GetObjectAttributesResponse::default();
        if wants(ObjectAttribute::Etag) {
            let mode = opening.source.place.rule.etag;
            let named = opening.plaintext_etag(self.core, mode, tail.as_deref()).await?;
            answer.etag = named.or_else(|| upstream_etag(&opening.headers).map(|upstream| etag::downstream(&upstream)));
        }
        if wants(ObjectAttribute::Checksum) {
            let in_tail = tail.as_ref().and_then(|tail| tail.opened.trailer().digests().checksum.clone());
            let found = in_tail.or_else(|| opening.envelope.metadata().checksum().map(|checksum| (checksum, 0)));
            // without the number of parts, which the headers of reads have: so Amazon S3
            answer.checksum = found.and_then(|(checksum, _)| {
                let value = ChecksumValue::new(checksum.algorithm(), checksum.value())?;
                Some((checksum.algorithm(), checksum.over(), format_checksum(&value)))
            });
        }
        if wants(ObjectAttribute::ObjectParts) && is_multipart {
            answer.parts = Some(parts(asked, layout.segments().iter().map(|segment| segment.id.p)));
        }
        if wants(ObjectAttribute::StorageClass) {
            let class = opening.headers.get("x-amz-storage-class").and_then(|value| value.to_str().ok());
            answer.storage_class = Some(class.unwrap_or("STANDARD").to_owned());
        }
        if wants(ObjectAttribute::ObjectSize) {
            answer.size = Some(layout.plaintext_len());
        }
        let mut out = passed_back(&opening.headers);
        out.remove(header::ETAG);
        out.remove(HeaderName::from_static("x-amz-storage-class"));
        let mut response = document(answer.to_xml());
        response.headers_mut().extend(out);
        Ok(response)
    }
}

/// A page of the parts, by their position. No checksum of a part is kept, so the answer is the one that S3 gives of an object
/// without: their number, and no list. Lengths are exact, so they are listed all the same.
fn parts(asked: &Asked<'_>, sizes: impl ExactSizeIterator<Item = u64>) -> AttributeParts {
    let total = u32::try_from(sizes.len()).unwrap_or(u32::MAX);
    let (skipped, max) = (asked.part_number_marker, asked.max_parts);
    let page: Vec<AttributePart> = (1..)
        .zip(sizes)
        .skip(usize::try_from(skipped).unwrap_or(usize::MAX))
        .take(usize::try_from(max).unwrap_or(usize::MAX))
        .map(|(number, size)| AttributePart { number, size })
        .collect();
    let next = page.last().map_or(skipped.min(total), |last| last.number);
    AttributeParts { total, marker: skipped, next, max, is_truncated: next < total, parts: page }
}
