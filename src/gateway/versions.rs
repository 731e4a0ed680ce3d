//! ListObjectVersions.

use http::Response;

use super::Call;
use super::error::Failure;
use super::list::{From, Kind, Listed, show};
use crate::ingress::answer::document;
use crate::net::body::Body;
use crate::s3::operation::Listing;
use crate::s3::target::BucketName;
use crate::s3::xml::{ListVersionsResult, ListedVersion, ListedVersionKind, XmlError};

impl Listed for ListVersionsResult {
    type Entry = ListedVersion;

    const PROBE: Kind = Kind::Versions;

    fn parse(document: &[u8], _: Kind) -> Result<Self, XmlError> {
        Self::parse(document)
    }

    fn entries(&mut self) -> (&mut Vec<ListedVersion>, &mut Vec<String>) {
        (&mut self.versions, &mut self.common_prefixes)
    }

    fn key(version: &ListedVersion) -> &str {
        &version.key
    }

    fn show(version: &mut ListedVersion) {
        if let ListedVersionKind::Version { etag, size, .. } = &mut version.kind {
            show(size, etag);
        }
    }

    fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    fn next(&self) -> Option<&str> {
        self.next_key_marker.as_deref()
    }

    fn set_next(&mut self, next: Option<String>) {
        (self.next_key_marker, self.next_version_id_marker) = (next, None);
    }

    fn echo(&mut self, name: &str, listing: &Listing) {
        name.clone_into(&mut self.name);
        self.encoding = listing.encoding;
        self.prefix.clone_from(&listing.prefix);
        self.delimiter.clone_from(&listing.delimiter);
        self.max_keys = listing.max;
    }
}

impl Call<'_> {
    /// ListObjectVersions.
    pub(super) async fn list_versions(
        &mut self,
        bucket: &BucketName,
        listing: &Listing,
        (key_marker, version_id_marker): (&str, &str),
    ) -> Result<Response<Body>, Failure> {
        let place = self.listed(bucket)?;
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let from = From { token: None, after: filled(key_marker), version_id: filled(version_id_marker) };
        let mut result: ListVersionsResult = self.pages(&place, listing, from, Kind::Versions).await?;
        key_marker.clone_into(&mut result.key_marker);
        version_id_marker.clone_into(&mut result.version_id_marker);
        Ok(document(result.to_xml()))
    }
}
