//! ListObjectVersions: as the store lists them, sizes and ETags rewritten, the gateway's own keys left out.

use http::Response;

use super::Call;
use super::error::Failure;
use super::headers::forwarded_to_reads;
use super::list::{MAX_KEY_LEN, MAX_PAGE_LEN, MAX_ROUNDS, behind_reserved, listed_etag};
use super::policy::{Place, Right};
use super::records::{RESERVED_PREFIX, is_reserved};
use crate::format::geometry::plaintext_len;
use crate::ingress::answer::document;
use crate::net::body::Body;
use crate::s3::operation::Listing;
use crate::s3::target::BucketName;
use crate::s3::xml::{ListVersionsResult, ListedVersionKind};
use crate::sigv4::uri::Query;
use crate::store::StoreRequest;

impl Call<'_> {
    /// ListObjectVersions.
    pub(super) async fn list_versions(
        &mut self,
        bucket: &BucketName,
        listing: &Listing,
        (key_marker, version_id_marker): (&str, &str),
    ) -> Result<Response<Body>, Failure> {
        let place = self.core.policy.place(self.caller, bucket, Right::List)?;
        self.exchange.note_bucket(place.id.as_str());
        let mut from = (key_marker.to_owned(), version_id_marker.to_owned());
        let mut whole: Option<ListVersionsResult> = None;
        for _ in 0..MAX_ROUNDS {
            let taken = whole.as_ref().map_or(0, |w| w.versions.len() + w.common_prefixes.len());
            let max = listing.max.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
            let mut page = self.page_of_versions(&place, listing, (&from.0, &from.1), max).await?;
            let behind = strip(&mut page);
            self.strip_ambiguous_version(&place, &mut page).await?;
            let mut merged = match whole.take() {
                None => page,
                Some(mut before) => {
                    before.versions.append(&mut page.versions);
                    before.common_prefixes.append(&mut page.common_prefixes);
                    ListVersionsResult { versions: before.versions, common_prefixes: before.common_prefixes, ..page }
                }
            };
            let Some(behind) = behind.filter(|_| merged.is_truncated) else {
                place.bucket.as_str().clone_into(&mut merged.name);
                key_marker.clone_into(&mut merged.key_marker);
                version_id_marker.clone_into(&mut merged.version_id_marker);
                merged.max_keys = listing.max;
                merged.encoding = listing.encoding;
                merged.prefix.clone_from(&listing.prefix);
                merged.delimiter.clone_from(&listing.delimiter);
                return Ok(document(merged.to_xml()));
            };
            // the page ended within the reserved keys: go on behind them
            from = (behind, String::new());
            whole = Some(merged);
        }
        Err(Failure::upstream("the store's pages do not go on"))
    }

    /// A delimiter within the reserved prefix makes it look like a common prefix of other keys; it is shown if it is one too.
    async fn strip_ambiguous_version(&self, place: &Place, page: &mut ListVersionsResult) -> Result<(), Failure> {
        let Some(at) = page.common_prefixes.iter().position(|prefix| RESERVED_PREFIX.starts_with(prefix.as_str()))
        else {
            return Ok(());
        };
        let Some(prefix) = page.common_prefixes.get(at).cloned() else { return Ok(()) };
        let listing = Listing { prefix, delimiter: None, max: 1, encoding: page.encoding };
        for after in [String::new(), behind_reserved("")] {
            let found = self.page_of_versions(place, &listing, (&after, ""), 1).await?;
            if found.versions.iter().any(|version| !is_reserved(version.key.as_bytes())) {
                return Ok(());
            }
        }
        page.common_prefixes.remove(at);
        Ok(())
    }

    pub(super) async fn page_of_versions(
        &self,
        place: &Place,
        listing: &Listing,
        (key_marker, version_id_marker): (&str, &str),
        max: u32,
    ) -> Result<ListVersionsResult, Failure> {
        let mut query = Query::default();
        query.push("versions", "");
        let asked = [
            ("prefix", listing.prefix.as_str()),
            ("delimiter", listing.delimiter.as_deref().unwrap_or_default()),
            ("key-marker", key_marker),
            ("version-id-marker", version_id_marker),
        ];
        for (name, value) in asked.into_iter().filter(|(_, value)| !value.is_empty()) {
            query.push(name, value);
        }
        query.push("max-keys", max.to_string());
        query.push("encoding-type", "url");
        let request = StoreRequest {
            bucket: Some(&place.upstream_name),
            query,
            headers: forwarded_to_reads(&self.accepted.headers),
            ..self.exchange.request(&place.caller)
        };
        let answer = self.exchange.send(&place.upstream, request).await?;
        let document = self.core.read_document(answer, MAX_PAGE_LEN).await?;
        let mut result = ListVersionsResult::parse(&document.bytes)?;
        self.exchange.hold(document.leases);
        let names = result.versions.iter().map(|version| &version.key).chain(&result.common_prefixes);
        let (count, longest) = names.fold((0, 0), |(count, longest), name| (count + 1, name.len().max(longest)));
        if count > max || longest > MAX_KEY_LEN {
            return Err(Failure::upstream("a page of the store's with more names, or longer ones, than there are"));
        }
        for version in &mut result.versions {
            if let ListedVersionKind::Version { etag, size, .. } = &mut version.kind {
                *size = plaintext_len(*size).unwrap_or(*size);
                *etag = listed_etag(etag);
            }
        }
        Ok(result)
    }
}

/// Takes the gateway's own keys out of a page. If its last name was one: what is behind all that begin like it.
fn strip(page: &mut ListVersionsResult) -> Option<String> {
    let last_key = page.versions.last().map(|version| &version.key);
    let last = last_key.into_iter().chain(page.common_prefixes.last()).max();
    let behind = last.filter(|last| is_reserved(last.as_bytes())).map(|last| behind_reserved(last));
    page.versions.retain(|version| !is_reserved(version.key.as_bytes()));
    page.common_prefixes.retain(|prefix| !is_reserved(prefix.as_bytes()));
    behind
}
