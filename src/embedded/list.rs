//! Listing objects: a range scan that seeks over whole common prefixes.

use std::ops::Bound;

use super::error::StoreError;
use super::index::{bucket_range, successor};
use super::object::{BucketName, ETag};
use super::record::ObjectHead;
use super::store::Store;
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
        let id = view.bucket(bucket)?;
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
                let ObjectHead { size, etag, modified } = ObjectHead::decode(row.value())?;
                let name = ObjectKey::new(key).map_err(|_| StoreError::Corrupt("a key is too long"))?;
                page.objects.push(ListedObject { key: name, size, etag, modified });
                last = Some(key.to_vec());
            }
            break;
        }
        Ok(page)
    }
}
