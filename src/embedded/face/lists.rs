//! Lists of buckets, objects and versions.

use http::Response;

use super::headers::version_of;
use super::{Face, key_text, name_of, owner};
use crate::digest::hex;
use crate::embedded::{self, ListRequest, ListVersionsRequest, Store};
use crate::ingress::answer::document;
use crate::net::body::Body;
use crate::s3::error::S3Error;
use crate::s3::operation::Listing;
use crate::s3::target::BucketName;
use crate::s3::xml::{
    ListAllMyBucketsResult, ListBucketResult, ListVersionsResult, ListedBucket, ListedObject, ListedVersion,
    ListedVersionKind, Page,
};

impl Face {
    /// ListBuckets.
    pub(super) async fn list_buckets(&self, prefix: Option<String>) -> Result<Response<Body>, S3Error> {
        let buckets = self.blocking(Store::list_buckets).await?;
        let buckets = buckets
            .into_iter()
            .filter(|bucket| prefix.as_ref().is_none_or(|prefix| bucket.name.as_str().starts_with(prefix)))
            .map(|bucket| ListedBucket { name: bucket.name.as_str().to_owned(), created: bucket.created })
            .collect();
        let owner = Some(owner());
        Ok(document(ListAllMyBucketsResult { owner, buckets, continuation_token: None, prefix }.to_xml()))
    }

    /// ListObjects in both versions.
    pub(super) async fn list(
        &self,
        bucket: &BucketName,
        listing: &Listing,
        after: Vec<u8>,
        mut page: Page,
    ) -> Result<Response<Body>, S3Error> {
        let name = name_of(bucket)?;
        let request = ListRequest {
            prefix: listing.prefix.clone().into_bytes(),
            delimiter: listing.delimiter.clone().unwrap_or_default().into_bytes(),
            after,
            max_keys: listing.max,
        };
        let found = self.blocking(move |store| store.list(&name, &request)).await?;
        let is_truncated = found.is_truncated();
        match &mut page {
            // S3 gives it only with a delimiter; else the last key says it
            Page::V1 { next_marker, .. } => {
                *next_marker = found.next.as_deref().map(key_text).filter(|_| listing.delimiter.is_some());
            }
            Page::V2 { key_count, next_continuation_token, .. } => {
                *key_count = u32::try_from(found.objects.len() + found.common_prefixes.len()).unwrap_or(u32::MAX);
                *next_continuation_token = found.next.as_deref().map(hex);
            }
        }
        let result = ListBucketResult {
            name: bucket.as_str().to_owned(),
            prefix: listing.prefix.clone(),
            prefix_as_text: None,
            delimiter: listing.delimiter.clone(),
            max_keys: listing.max,
            is_truncated,
            encoding: listing.encoding,
            page,
            contents: found
                .objects
                .into_iter()
                .map(|object| ListedObject {
                    key: key_text(object.key.as_bytes()),
                    last_modified: object.modified,
                    etag: object.etag.to_string(),
                    size: object.size,
                    storage_class: Some("STANDARD".to_owned()),
                    owner: None,
                })
                .collect(),
            common_prefixes: found.common_prefixes.iter().map(|prefix| key_text(prefix)).collect(),
        };
        Ok(document(result.to_xml()))
    }

    /// ListObjectVersions.
    pub(super) async fn list_versions(
        &self,
        bucket: &BucketName,
        listing: &Listing,
        (key_marker, version_id_marker): (&str, &str),
    ) -> Result<Response<Body>, S3Error> {
        let name = name_of(bucket)?;
        let request = ListVersionsRequest {
            prefix: listing.prefix.clone().into_bytes(),
            delimiter: listing.delimiter.clone().unwrap_or_default().into_bytes(),
            key_marker: key_marker.as_bytes().to_vec(),
            version_marker: version_of(Some(version_id_marker).filter(|id| !id.is_empty()))?,
            max_keys: listing.max,
        };
        let page = self.blocking(move |store| store.list_versions(&name, &request)).await?;
        let (next_key, next_version) = page.next.map_or((None, None), |(key, version)| (Some(key), version));
        let result = ListVersionsResult {
            name: bucket.as_str().to_owned(),
            prefix: listing.prefix.clone(),
            delimiter: listing.delimiter.clone(),
            key_marker: key_marker.to_owned(),
            version_id_marker: version_id_marker.to_owned(),
            is_truncated: next_key.is_some(),
            next_key_marker: next_key.as_deref().map(key_text),
            next_version_id_marker: next_version.map(|version| version.to_string()),
            max_keys: listing.max,
            encoding: listing.encoding,
            versions: page.versions.into_iter().map(listed_version).collect(),
            common_prefixes: page.common_prefixes.iter().map(|prefix| key_text(prefix)).collect(),
        };
        Ok(document(result.to_xml()))
    }
}

fn listed_version(version: embedded::ListedVersion) -> ListedVersion {
    let kind = match version.object {
        None => ListedVersionKind::DeleteMarker,
        Some((size, etag)) => {
            let (etag, storage_class) = (etag.to_string(), Some("STANDARD".to_owned()));
            ListedVersionKind::Version { etag, size, storage_class }
        }
    };
    ListedVersion {
        key: key_text(version.key.as_bytes()),
        version_id: version.version.to_string(),
        is_latest: version.is_latest,
        last_modified: version.modified,
        owner: Some(owner()),
        kind,
    }
}
