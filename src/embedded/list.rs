//! Listing objects: a range scan that seeks over whole common prefixes.

use std::ops::Bound;

use redb::ReadOnlyTable;

use super::error::StoreError;
use super::index::{ObjectKeyRef, VersionKeyRef, View, bucket_range, newest_first, successor};
use super::object::{BucketName, ETag};
use super::record::{ObjectHead, VersionHead};
use super::store::Store;
use super::version::VersionId;
use crate::clock::Timestamp;
use crate::object::ObjectKey;

/// The most results of one page.
pub(super) const MAX_RESULTS: u32 = 1000;

/// What to list. Both of S3's versions are this: `after` is the marker, start-after, or what the continuation token
/// stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListRequest {
    /// Only keys that begin so.
    pub prefix: Vec<u8>,
    /// Keys that share what lies between the prefix and the end of this are one common prefix; empty for none.
    pub delimiter: Vec<u8>,
    /// Only results, keys and common prefixes alike, behind this; empty for all.
    pub after: Vec<u8>,
    /// At most so many results, keys and common prefixes together; 1000 if more.
    pub max_keys: u32,
}

/// One object of a listing.
#[derive(Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: ObjectKey,
    /// Its size.
    pub size: u64,
    /// Its `ETag`.
    pub etag: ETag,
    /// When it was written.
    pub modified: Timestamp,
}

/// A page of a listing, in byte order; all of it from one moment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects.
    pub objects: Vec<ListedObject>,
    /// The common prefixes, from the prefix to the end of the first delimiter behind it.
    pub common_prefixes: Vec<Vec<u8>>,
    /// If there is more: the last result of this page, to be passed as `after`.
    pub next: Option<Vec<u8>>,
}

impl ListPage {
    /// Whether there is more behind this page.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.next.is_some()
    }
}

/// Which versions to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListVersionsRequest {
    /// Only keys that begin so.
    pub prefix: Vec<u8>,
    /// As in [`ListRequest`].
    pub delimiter: Vec<u8>,
    /// Only results behind this; together with `version_marker` also this key's versions behind that one. Empty for all.
    pub key_marker: Vec<u8>,
    /// Counts only with a `key_marker`. A version `null` that is not there any more means all of the key's.
    pub version_marker: Option<VersionId>,
    /// At most so many versions and common prefixes together; 1000 if more.
    pub max_keys: u32,
}

/// One version of a listing.
#[derive(Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its key.
    pub key: ObjectKey,
    /// Its id.
    pub version: VersionId,
    /// Whether it is its key's newest.
    pub is_latest: bool,
    /// When it was made.
    pub modified: Timestamp,
    /// Size and `ETag` of an object; none of a delete marker.
    pub object: Option<(u64, ETag)>,
}

/// A page of a listing of versions: keys in byte order, of each the newest version first; all of it from one moment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct VersionsPage {
    /// The versions, delete markers among them.
    pub versions: Vec<ListedVersion>,
    /// The common prefixes.
    pub common_prefixes: Vec<Vec<u8>>,
    /// If there is more: the markers for the next page. There is no version behind a common prefix.
    pub next: Option<(Vec<u8>, Option<VersionId>)>,
}

/// The common prefix that `key` is part of, if it is part of one.
pub(super) fn common_prefix<'k>(key: &'k [u8], prefix: &[u8], delimiter: &[u8]) -> Option<&'k [u8]> {
    if delimiter.is_empty() {
        return None;
    }
    let rest = key.strip_prefix(prefix)?;
    let at = rest.windows(delimiter.len()).position(|window| window == delimiter)?;
    key.get(..prefix.len() + at + delimiter.len())
}

/// Where a scan begins: at a key or behind it, or nowhere.
pub(super) enum Seek {
    At(Vec<u8>),
    Behind(Vec<u8>),
    End,
}

impl Seek {
    /// The first key whose result lies behind `after`. If `after` is in a common prefix, or is one, all of that one's
    /// keys would give a result that is not behind `after`.
    pub(super) fn first(prefix: &[u8], delimiter: &[u8], after: &[u8]) -> Self {
        if let Some(skipped) = common_prefix(after, prefix, delimiter) {
            Self::behind_all(skipped)
        } else if after < prefix || after.is_empty() {
            Self::At(prefix.to_vec())
        } else {
            Self::Behind(after.to_vec())
        }
    }

    pub(super) fn behind_all(prefix: &[u8]) -> Self {
        successor(prefix).map_or(Self::End, Self::At)
    }

    pub(super) fn bound(&self) -> Option<Bound<&[u8]>> {
        match self {
            Self::At(key) => Some(Bound::Included(key)),
            Self::Behind(key) => Some(Bound::Excluded(key)),
            Self::End => None,
        }
    }
}

impl Store {
    /// Lists objects. Costs O(results · log n): a common prefix is skipped by seeking, however many keys it has.
    pub fn list(&self, bucket: &BucketName, request: &ListRequest) -> Result<ListPage, StoreError> {
        let mut page = self.list_honestly(bucket, request)?;
        if let Some(hooks) = self.inner.hooks.current() {
            hooks.list(bucket, &mut page);
        }
        Ok(page)
    }

    fn list_honestly(&self, bucket: &BucketName, request: &ListRequest) -> Result<ListPage, StoreError> {
        let ListRequest { prefix, delimiter, after, max_keys } = request;
        let view = self.inner.index.read()?;
        let id = view.bucket(bucket)?.id;
        let objects = view.objects()?;
        let mut page = ListPage::default();
        let mut left = (*max_keys).min(MAX_RESULTS);
        if left == 0 {
            return Ok(page);
        }
        let mut last: Option<Vec<u8>> = None;
        let mut seek = Seek::first(prefix, delimiter, after);
        'seek: while let Some(from) = seek.bound() {
            for row in objects.range(bucket_range(id, from))? {
                let (key, row) = row?;
                let key = key.value().1;
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
                    last = Some(common.to_vec());
                    seek = Seek::behind_all(common);
                    continue 'seek;
                }
                let ObjectHead { size, etag, modified, .. } = ObjectHead::decode(row.value())?;
                let name = ObjectKey::new(key).map_err(|_| StoreError::Corrupt("a key is too long"))?;
                page.objects.push(ListedObject { key: name, size, etag, modified });
                last = Some(key.to_vec());
            }
            break;
        }
        Ok(page)
    }

    /// Lists versions. Costs O(results · log n), as [`Store::list`] does.
    pub fn list_versions(
        &self,
        bucket: &BucketName,
        request: &ListVersionsRequest,
    ) -> Result<VersionsPage, StoreError> {
        let mut page = self.list_versions_honestly(bucket, request)?;
        if let Some(hooks) = self.inner.hooks.current() {
            hooks.list_versions(bucket, &mut page);
        }
        Ok(page)
    }

    fn list_versions_honestly(
        &self,
        bucket: &BucketName,
        request: &ListVersionsRequest,
    ) -> Result<VersionsPage, StoreError> {
        let ListVersionsRequest { prefix, delimiter, key_marker, version_marker, max_keys } = request;
        let view = self.inner.index.read()?;
        let id = view.bucket(bucket)?.id;
        let mut page = VersionsPage::default();
        let mut left = (*max_keys).min(MAX_RESULTS);
        if left == 0 {
            return Ok(page);
        }
        let keys = VersionedKeys::of(&view, id)?;
        let mut seek = Seek::first(prefix, delimiter, key_marker);
        // the versions of the marker's own key that lie behind it
        let mut behind = None;
        if let (Some(version), Seek::Behind(key)) = (version_marker, &seek) {
            behind = Some(view.sequence(id, key, *version)?);
            seek = Seek::At(key_marker.clone());
        }
        let mut last = None;
        while let Some(from) = seek.bound() {
            let Some(key) = keys.next(from)?.filter(|key| key.starts_with(prefix)) else { break };
            if let Some(common) = common_prefix(&key, prefix, delimiter) {
                if left == 0 {
                    page.next = last;
                    break;
                }
                left -= 1;
                page.common_prefixes.push(common.to_vec());
                last = Some((common.to_vec(), None));
                seek = Seek::behind_all(common);
                continue;
            }
            // the marker's key may be gone, and this another one
            let behind = behind.take().flatten().filter(|_| key == *key_marker);
            for version in keys.versions(&key, behind, left)? {
                if left == 0 {
                    page.next = last;
                    return Ok(page);
                }
                left -= 1;
                last = Some((key.clone(), Some(version.version)));
                page.versions.push(version);
            }
            seek = Seek::Behind(key);
        }
        Ok(page)
    }
}

/// The keys of a bucket that have any version, and their versions.
struct VersionedKeys {
    bucket: u64,
    objects: ReadOnlyTable<ObjectKeyRef<'static>, &'static [u8]>,
    versions: ReadOnlyTable<VersionKeyRef<'static>, &'static [u8]>,
}

impl VersionedKeys {
    fn of(view: &View, bucket: u64) -> Result<Self, StoreError> {
        Ok(Self { bucket, objects: view.objects()?, versions: view.versions()? })
    }

    /// The first key from there on.
    fn next(&self, from: Bound<&[u8]>) -> Result<Option<Vec<u8>>, StoreError> {
        let current = self.objects.range(bucket_range(self.bucket, from))?.next().transpose()?;
        let current = current.map(|(key, _)| key.value().1.to_vec());
        let empty: &[u8] = &[];
        let from = match from {
            Bound::Included(key) => Bound::Included((self.bucket, key, 0)),
            Bound::Excluded(key) => Bound::Excluded((self.bucket, key, u64::MAX)),
            Bound::Unbounded => Bound::Included((self.bucket, empty, 0)),
        };
        let end: Bound<VersionKeyRef<'_>> = Bound::Excluded((self.bucket.saturating_add(1), empty, 0));
        let older = self.versions.range((from, end))?.next().transpose()?;
        let older = older.map(|(key, _)| key.value().1.to_vec());
        Ok(current.into_iter().chain(older).min())
    }

    /// At most `most` versions of a key and one more, newest first; only those behind the one of that sequence.
    fn versions(&self, key: &[u8], behind: Option<u64>, most: u32) -> Result<Vec<ListedVersion>, StoreError> {
        let name = ObjectKey::new(key).map_err(|_| StoreError::Corrupt("a key is too long"))?;
        let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(1);
        let mut found = Vec::new();
        let mut is_latest = true;
        if let Some(row) = self.objects.get((self.bucket, key))? {
            let ObjectHead { size, etag, modified, version, sequence } = ObjectHead::decode(row.value())?;
            if behind.is_none_or(|behind| sequence < behind) {
                let (key, object) = (name.clone(), Some((size, etag)));
                found.push(ListedVersion { key, version, is_latest, modified, object });
            }
            is_latest = false;
        }
        let mut rows = self.versions.range((self.bucket, key, 0)..=(self.bucket, key, u64::MAX))?;
        let newest = rows.next().transpose()?.map(|(place, _)| place.value().2).filter(|_| is_latest);
        let from = match behind {
            Some(behind) => Bound::Excluded((self.bucket, key, newest_first(behind))),
            None => Bound::Included((self.bucket, key, 0)),
        };
        for row in self.versions.range((from, Bound::Included((self.bucket, key, u64::MAX))))? {
            if found.len() == most {
                break;
            }
            let (place, row) = row?;
            let is_latest = newest == Some(place.value().2);
            let key = name.clone();
            found.push(match VersionHead::decode(row.value())? {
                VersionHead::Object(ObjectHead { size, etag, modified, version, .. }) => {
                    ListedVersion { key, version, is_latest, modified, object: Some((size, etag)) }
                }
                VersionHead::Marker(marker) => {
                    let version = VersionId::of(marker.sequence, marker.is_null);
                    ListedVersion { key, version, is_latest, modified: marker.modified, object: None }
                }
            });
        }
        Ok(found)
    }
}
