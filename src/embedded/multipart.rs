//! Multipart uploads.
//!
//! Each part is a body of its own. Completing an upload writes the list of their segments and drops the rest: no byte
//! is copied. The row of an upload is gone once it is completed or aborted, so doing either again is `NoSuchUpload`.

use std::fmt;
use std::io::Read as _;
use std::ops::Bound;

use redb::ReadableTable as _;

use super::body::NewBody;
use super::error::StoreError;
use super::index::{Tables, UploadKeyRef};
use super::list::{MAX_RESULTS, Seek, common_prefix};
use super::object::{BucketName, ETag, ObjectMeta, ReadCondition, ReadRange, WriteCondition, md5_of_md5s};
use super::record::{BodyRef, BucketRow, LayoutPart, ObjectRow, PartRow, UploadRow};
use super::store::{Store, Written, locked_as, new_version, part_number};
use super::version::{Extras, VersionId};
use crate::clock::Timestamp;
use crate::object::{ObjectKey, PartNumber};

/// Names an unfinished upload: hex(begun when, 8 bytes ‖ 16 random bytes), so that ids sort by age and are not guessed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(String);

impl UploadId {
    /// An upload id from a client. One that was never given out names nothing.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The id's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An unfinished upload as requests name it.
#[derive(Clone, PartialEq, Eq)]
pub struct Upload {
    /// The bucket.
    pub bucket: BucketName,
    /// The key the object will have.
    pub key: ObjectKey,
    /// Which upload.
    pub id: UploadId,
}

/// A part copied from an object of the store.
#[derive(Clone)]
pub struct PartCopy<'a> {
    /// The source's bucket.
    pub from_bucket: &'a BucketName,
    /// The source.
    pub from_key: &'a ObjectKey,
    /// Which version of it, if not the current one.
    pub from_version: Option<VersionId>,
    /// What must hold of the source.
    pub from_condition: ReadCondition,
    /// Which bytes of it.
    pub range: ReadRange,
}

/// One part of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: PartNumber,
    /// Its size.
    pub size: u64,
    /// Its `ETag`.
    pub etag: ETag,
    /// When it was uploaded.
    pub modified: Timestamp,
}

/// A page of a listing of parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartsPage {
    /// The parts, by number.
    pub parts: Vec<ListedPart>,
    /// If there is more: the last number of this page, to be passed as `after`.
    pub next: Option<PartNumber>,
    /// What the upload was begun with.
    pub meta: ObjectMeta,
}

/// Which uploads to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListUploadsRequest {
    /// Only keys that begin so.
    pub prefix: Vec<u8>,
    /// As in [`super::ListRequest`].
    pub delimiter: Vec<u8>,
    /// Only keys behind this; together with `id_marker` also this key's uploads behind that one. Empty for all.
    pub key_marker: Vec<u8>,
    /// Counts only with a `key_marker`, and if it is not empty.
    pub id_marker: Option<UploadId>,
    /// At most so many uploads and common prefixes together; 1000 if more.
    pub max_uploads: u32,
}

/// One upload of a listing.
#[derive(Clone, PartialEq, Eq)]
pub struct ListedUpload {
    /// The key the object will have.
    pub key: ObjectKey,
    /// Which upload.
    pub id: UploadId,
    /// When it was begun.
    pub initiated: Timestamp,
}

/// A page of a listing of uploads: by key, then by age.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UploadsPage {
    /// The uploads.
    pub uploads: Vec<ListedUpload>,
    /// The common prefixes.
    pub common_prefixes: Vec<Vec<u8>>,
    /// If there is more: the markers for the next page. There is no id behind a common prefix.
    pub next: Option<(Vec<u8>, Option<UploadId>)>,
}

/// A part on its way in. Dropped without a commit, it leaves nothing.
pub struct PartWriter {
    store: Store,
    upload: Upload,
    number: PartNumber,
    body: NewBody,
}

impl PartWriter {
    /// Appends to the part. After an error the part is lost.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let index = &self.store.inner.index;
        self.body.write(bytes, || index.number())
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.body.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.len() == 0
    }

    /// MD5 of what was written.
    #[must_use]
    pub fn md5(&self) -> [u8; 16] {
        self.body.md5()
    }

    /// Makes it the upload's part of its number, in place of one sent before.
    pub fn commit(mut self) -> Result<Written, StoreError> {
        let segment = self.body.finish()?;
        let (size, md5) = (self.body.len(), self.body.md5());
        let modified = self.store.inner.clock.now();
        let (upload, number) = (self.upload.clone(), self.number.get());
        let job = move |tables: &mut Tables<'_>| {
            let (_, row) = find_upload(tables, &upload)?;
            let old = tables.parts.get((row.serial, number))?.map(|old| PartRow::decode(old.value())).transpose()?;
            if let Some(segment) = segment {
                tables.name_new(segment)?;
            }
            if let Some(old) = old {
                tables.drop_names(&old.segments)?;
            }
            let part = PartRow { size, md5, modified, segments: segment.into_iter().collect() };
            tables.parts.insert((row.serial, number), &part.encode()[..])?;
            Ok(Written { etag: ETag::of(md5, 0), modified, size, version: None, from_version: None })
        };
        let written = self.body.named_by(|renamed| self.store.inner.index.write(renamed, job))?;
        Ok(self.store.altered(&self.upload.bucket, &self.upload.key, written))
    }
}

fn find_upload(tables: &Tables<'_>, upload: &Upload) -> Result<(BucketRow, UploadRow), StoreError> {
    let bucket = tables.bucket(&upload.bucket)?;
    let row = tables.upload(bucket.id, upload.key.as_bytes(), upload.id.as_str())?;
    Ok((bucket, row))
}

/// Removes an upload's rows; its parts' files must be taken care of before.
fn remove_upload(
    tables: &mut Tables<'_>,
    bucket: u64,
    upload: &Upload,
    row: &UploadRow,
    parts: &[(u32, PartRow)],
) -> Result<(), StoreError> {
    for (number, _) in parts {
        tables.parts.remove((row.serial, *number))?;
    }
    tables.uploads.remove((bucket, upload.key.as_bytes(), upload.id.as_str()))?;
    Ok(())
}

impl Store {
    /// Begins an upload; the object will have `meta`.
    pub fn create_upload(&self, bucket: &BucketName, key: &ObjectKey, meta: ObjectMeta) -> Result<Upload, StoreError> {
        self.create_upload_with(bucket, key, meta, Extras::default())
    }

    /// [`Store::create_upload`] with tags and a lock.
    pub fn create_upload_with(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        meta: ObjectMeta,
        extras: Extras,
    ) -> Result<Upload, StoreError> {
        meta.check()?;
        let initiated = self.inner.clock.now();
        let random: [u8; 16] =
            self.inner.random.draw_public(initiated, key.as_bytes()).map_err(|_| StoreError::Random)?;
        let id = format!("{:016x}{:032x}", initiated.unix_millis(), u128::from_be_bytes(random));
        let upload = Upload { bucket: bucket.clone(), key: key.clone(), id: UploadId(id) };
        let named = upload.clone();
        self.inner.index.write(None, move |tables| {
            let bucket = tables.bucket(&named.bucket)?;
            locked_as(&bucket, &extras, initiated)?;
            let (meta, extras) = (meta.clone(), extras.clone());
            let row = UploadRow { serial: tables.next_sequence(), initiated, meta, extras };
            tables.uploads.insert((bucket.id, named.key.as_bytes(), named.id.as_str()), &row.encode()[..])?;
            Ok(())
        })?;
        Ok(upload)
    }

    /// Begins a part; it counts from [`PartWriter::commit`] on.
    pub fn upload_part(&self, upload: &Upload, number: PartNumber) -> Result<PartWriter, StoreError> {
        let view = self.inner.index.read()?;
        view.upload(view.bucket(&upload.bucket)?.id, upload.key.as_bytes(), upload.id.as_str())?;
        let body = NewBody::new(&self.inner.bodies, self.inner.limits.max_body);
        Ok(PartWriter { store: self.clone(), upload: upload.clone(), number, body })
    }

    /// Copies bytes of an object into a part.
    ///
    /// This one does copy, a buffer at a time: a part's `ETag` is the MD5 of its bytes, so they must be read anyway.
    pub fn upload_part_copy(
        &self,
        upload: &Upload,
        number: PartNumber,
        copy: &PartCopy<'_>,
    ) -> Result<Written, StoreError> {
        let mut part = self.upload_part(upload, number)?;
        let PartCopy { from_bucket, from_key, from_version, from_condition, range } = copy;
        let opened = self.open_object(from_bucket, from_key, *from_version, from_condition, *range);
        let (info, span, mut reader) = opened.map_err(|error| match error {
            StoreError::NotModified { .. } => StoreError::PreconditionFailed,
            StoreError::DeleteMarker { by_id: true, .. } => {
                StoreError::InvalidRequest("the source of a copy is a delete marker")
            }
            StoreError::DeleteMarker { .. } => StoreError::NoSuchKey,
            other => other,
        })?;
        // another version may have come since the range was chosen
        if let ReadRange::Span { first, last } = range
            && (span.start != *first || last.checked_add(1) != Some(span.end))
        {
            return Err(StoreError::InvalidRange { size: info.size });
        }
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let n = reader.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..n).filter(|b| !b.is_empty()) else { break };
            part.write(bytes)?;
        }
        Ok(Written { from_version: info.version, ..part.commit()? })
    }

    /// Makes an object of an upload's parts: those named, in ascending order, gaps allowed; the others are dropped.
    ///
    /// If it is refused the upload stays as it was.
    pub fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[(PartNumber, ETag)],
        condition: WriteCondition,
    ) -> Result<Written, StoreError> {
        if parts.is_empty() {
            return Err(StoreError::InvalidRequest("an object has at least one part"));
        }
        let limits = self.inner.limits;
        let clock = std::sync::Arc::clone(&self.inner.clock);
        let condition = self.asked(&upload.bucket, &upload.key, condition);
        let (named, parts) = (upload.clone(), parts.to_vec());
        let written = self.inner.index.write(None, move |tables| {
            let (bucket, row) = find_upload(tables, &named)?;
            let key = named.key.as_bytes();
            let uploaded = tables.upload_parts(row.serial)?;
            let chosen = choose(&uploaded, &parts, limits.min_part)?;
            let size = chosen.iter().try_fold(0_u64, |sum, (_, part)| sum.checked_add(part.size));
            let size = size
                .filter(|size| *size <= limits.max_object)
                .ok_or(StoreError::EntityTooLarge { maximum: limits.max_object })?;
            let old = tables.current(bucket.id, key)?;
            condition.check(old.as_ref().map(ObjectRow::etag).as_ref())?;
            let modified = clock.now();
            // a retention that ended meanwhile is no reason to lose the upload
            let mut extras = row.extras.clone();
            if extras.lock.retention.is_none() {
                extras = locked_as(&bucket, &extras, modified)?;
            }

            let sequence = tables.next_sequence();
            let (is_null, version) = new_version(&bucket, sequence);
            let layout: Vec<_> = chosen
                .iter()
                .map(|(number, part)| LayoutPart { number: *number, size: part.size, segments: part.segments.clone() })
                .collect();
            let object = ObjectRow {
                size,
                md5: md5_of_md5s(chosen.iter().map(|(_, part)| &part.md5)),
                parts: u32::try_from(chosen.len()).unwrap_or(u32::MAX),
                modified,
                sequence,
                body: BodyRef::Layout(sequence),
                meta: row.meta.clone(),
                is_null,
                extras,
            };
            // the chosen parts' files pass to the object with their count as it is
            for (number, part) in &uploaded {
                if layout.binary_search_by_key(number, |p| p.number).is_err() {
                    tables.drop_names(&part.segments)?;
                }
            }
            tables.add_object(&bucket, key, &object, Some(&layout))?;
            remove_upload(tables, bucket.id, &named, &row, &uploaded)?;
            Ok(Written { etag: object.etag(), modified, size, version, from_version: None })
        })?;
        Ok(self.altered(&upload.bucket, &upload.key, written))
    }

    /// Ends an upload and drops its parts.
    pub fn abort_upload(&self, upload: &Upload) -> Result<(), StoreError> {
        let named = upload.clone();
        Ok(self.inner.index.write(None, move |tables| {
            let (bucket, row) = find_upload(tables, &named)?;
            let parts = tables.upload_parts(row.serial)?;
            tables.drop_names(parts.iter().flat_map(|(_, part)| &part.segments))?;
            remove_upload(tables, bucket.id, &named, &row, &parts)
        })?)
    }

    /// Lists an upload's parts with numbers greater than `after`, at most `max_parts` (1000 if more).
    pub fn list_parts(&self, upload: &Upload, after: u32, max_parts: u32) -> Result<PartsPage, StoreError> {
        let view = self.inner.index.read()?;
        let bucket = view.bucket(&upload.bucket)?.id;
        let row = view.upload(bucket, upload.key.as_bytes(), upload.id.as_str())?;
        let mut page = PartsPage { meta: row.meta, ..PartsPage::default() };
        let mut left = max_parts.min(MAX_RESULTS);
        let rows = view.parts()?;
        if left > 0 {
            for part in rows.range((row.serial, after.saturating_add(1))..=(row.serial, u32::MAX))? {
                let (key, part) = part?;
                if left == 0 {
                    page.next = page.parts.last().map(|p| p.number);
                    break;
                }
                left -= 1;
                let PartRow { size, md5, modified, .. } = PartRow::decode(part.value())?;
                let number = part_number(key.value().1)?;
                page.parts.push(ListedPart { number, size, etag: ETag::of(md5, 0), modified });
            }
        }
        if let Some(hooks) = self.inner.hooks.current() {
            hooks.list_parts(&upload.bucket, &upload.key, &mut page);
        }
        Ok(page)
    }

    /// Lists a bucket's unfinished uploads.
    pub fn list_uploads(&self, bucket: &BucketName, request: &ListUploadsRequest) -> Result<UploadsPage, StoreError> {
        let mut page = self.list_uploads_honestly(bucket, request)?;
        if let Some(hooks) = self.inner.hooks.current() {
            hooks.list_uploads(bucket, &mut page);
        }
        Ok(page)
    }

    fn list_uploads_honestly(
        &self,
        bucket: &BucketName,
        request: &ListUploadsRequest,
    ) -> Result<UploadsPage, StoreError> {
        let ListUploadsRequest { prefix, delimiter, key_marker, id_marker, max_uploads } = request;
        let view = self.inner.index.read()?;
        let id = view.bucket(bucket)?.id;
        let uploads = view.uploads()?;
        let mut page = UploadsPage::default();
        let mut left = (*max_uploads).min(MAX_RESULTS);
        if left == 0 {
            return Ok(page);
        }
        let empty: &[u8] = &[];
        let end: Bound<UploadKeyRef<'_>> = Bound::Excluded((id.saturating_add(1), empty, ""));
        let mut seek = Seek::first(prefix, delimiter, key_marker);
        let mut last = None;
        // the uploads of the marker's own key count only if an id says from where on; no id sorts behind '~'
        let resume = id_marker.as_ref().map(UploadId::as_str).filter(|id| !id.is_empty()).unwrap_or("~");
        'seek: loop {
            let from = match &seek {
                Seek::At(key) => Bound::Included((id, &key[..], "")),
                Seek::Behind(key) => Bound::Excluded((id, &key[..], resume)),
                Seek::End => break,
            };
            for row in uploads.range((from, end))? {
                let (key, row) = row?;
                let (_, key, upload) = key.value();
                if !key.starts_with(prefix) {
                    return Ok(page);
                }
                if left == 0 {
                    page.next = last;
                    return Ok(page);
                }
                left -= 1;
                if let Some(common) = common_prefix(key, prefix, delimiter) {
                    page.common_prefixes.push(common.to_vec());
                    last = Some((common.to_vec(), None));
                    seek = Seek::behind_all(common);
                    continue 'seek;
                }
                let name = ObjectKey::new(key).map_err(|_| StoreError::Corrupt("a key is too long"))?;
                let initiated = UploadRow::decode(row.value())?.initiated;
                page.uploads.push(ListedUpload { key: name, id: UploadId::new(upload), initiated });
                last = Some((key.to_vec(), Some(UploadId::new(upload))));
            }
            break;
        }
        Ok(page)
    }
}

/// The parts that a completion names, checked as S3 does: order, presence and tag, then sizes.
fn choose<'p>(
    uploaded: &'p [(u32, PartRow)],
    named: &[(PartNumber, ETag)],
    minimum: u64,
) -> Result<Vec<(u32, &'p PartRow)>, StoreError> {
    if !named.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Err(StoreError::InvalidPartOrder);
    }
    let mut chosen = Vec::with_capacity(named.len());
    for (number, etag) in named {
        let number = number.get();
        let found = uploaded.binary_search_by_key(&number, |(n, _)| *n).ok().and_then(|at| uploaded.get(at));
        let (_, part) =
            found.filter(|(_, part)| ETag::of(part.md5, 0) == *etag).ok_or(StoreError::InvalidPart(number))?;
        chosen.push((number, part));
    }
    if let Some((_, others)) = chosen.split_last()
        && let Some((number, part)) = others.iter().find(|(_, part)| part.size < minimum)
    {
        return Err(StoreError::EntityTooSmall { number: *number, size: part.size, minimum });
    }
    Ok(chosen)
}
