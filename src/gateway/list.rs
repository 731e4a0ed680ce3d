//! ListObjects, both versions: one request to the store, sizes and ETags rewritten, the gateway's own keys left out.

use http::Response;

use super::Call;
use super::error::Failure;
use super::etag;
use super::headers::{forwarded_to_reads, quoted};
use super::policy::{Place, Right};
use super::records::{BEHIND_RESERVED, RESERVED_PREFIX, is_reserved};
use crate::format::geometry::plaintext_len;
use crate::ingress::answer::document;
use crate::net::body::Body;
use crate::s3::operation::Listing;
use crate::s3::target::BucketName;
use crate::s3::xml::{ListBucketResult, Page, unquoted};
use crate::sigv4::uri::Query;
use crate::store::StoreRequest;

/// The longest page: 1000 keys of 1024 bytes, percent-encoded, with all that stands around them.
pub(super) const MAX_PAGE_LEN: usize = 4 << 20;
/// The longest key.
pub(super) const MAX_KEY_LEN: usize = 1024;
/// A page is asked for again at most this often because all of its end was the gateway's own.
pub(super) const MAX_ROUNDS: usize = 8;

/// An ETag in a list, with its quotes, as it is shown.
pub(super) fn listed_etag(etag: &str) -> String {
    quoted(&etag::downstream(unquoted(etag)))
}

/// Where a page begins.
#[derive(Clone, Default)]
pub(super) struct From {
    token: Option<String>,
    after: Option<String>,
}

impl Call<'_> {
    /// ListObjects.
    pub(super) async fn list_v1(
        &mut self,
        bucket: &BucketName,
        listing: &Listing,
        marker: &str,
    ) -> Result<Response<Body>, Failure> {
        let place = self.listed(bucket)?;
        let after = Some(marker.to_owned()).filter(|marker| !marker.is_empty());
        let mut result = self.pages(&place, listing, From { token: None, after }, None).await?;
        if let Page::V1 { marker: echoed, .. } = &mut result.page {
            marker.clone_into(echoed);
        }
        Ok(document(result.to_xml()))
    }

    /// ListObjectsV2.
    pub(super) async fn list_v2(
        &mut self,
        bucket: &BucketName,
        listing: &Listing,
        (token, start_after): (Option<&str>, Option<&str>),
        fetch_owner: bool,
    ) -> Result<Response<Body>, Failure> {
        let place = self.listed(bucket)?;
        let from = From { token: token.map(str::to_owned), after: start_after.map(str::to_owned) };
        let mut result = self.pages(&place, listing, from, Some(fetch_owner)).await?;
        if let Page::V2 { key_count, continuation_token, start_after: echoed, .. } = &mut result.page {
            *key_count = u32::try_from(result.contents.len() + result.common_prefixes.len()).unwrap_or(u32::MAX);
            *continuation_token = token.map(str::to_owned);
            *echoed = start_after.map(str::to_owned);
        }
        Ok(document(result.to_xml()))
    }

    fn listed(&self, bucket: &BucketName) -> Result<Place, Failure> {
        let place = self.core.policy.place(self.caller, bucket, Right::List)?;
        self.exchange.note_bucket(place.id.as_str());
        Ok(place)
    }

    /// A page without the gateway's own keys. Where they were its end, the next page is asked for behind them: a client that
    /// goes on from the last key must find one.
    async fn pages(
        &self,
        place: &Place,
        listing: &Listing,
        mut from: From,
        v2: Option<bool>,
    ) -> Result<ListBucketResult, Failure> {
        let mut whole: Option<ListBucketResult> = None;
        for _ in 0..MAX_ROUNDS {
            let left = whole.as_ref().map_or(0, |w| w.contents.len() + w.common_prefixes.len());
            let max = listing.max.saturating_sub(u32::try_from(left).unwrap_or(u32::MAX));
            let mut page = self.page(place, listing, &from, max, v2).await?;
            let behind = strip(&mut page);
            self.strip_ambiguous(place, &mut page).await?;
            page.encoding = listing.encoding;
            page.prefix.clone_from(&listing.prefix);
            page.delimiter.clone_from(&listing.delimiter);
            page.max_keys = listing.max;
            page.name = place.bucket.as_str().to_owned();
            let mut merged = match whole.take() {
                None => page,
                Some(mut before) => {
                    before.contents.append(&mut page.contents);
                    before.common_prefixes.append(&mut page.common_prefixes);
                    ListBucketResult { contents: before.contents, common_prefixes: before.common_prefixes, ..page }
                }
            };
            let Some(behind) = behind.filter(|_| merged.is_truncated) else { return Ok(merged) };
            // the page ended within the reserved keys: go on behind them
            from = From { token: None, after: Some(behind) };
            if let Page::V1 { next_marker, .. } = &mut merged.page {
                *next_marker = None;
            }
            whole = Some(merged);
        }
        Err(Failure::upstream("the store's pages do not go on"))
    }

    /// A delimiter within the reserved prefix makes it look like a common prefix of other keys. Whether it is one too is
    /// asked of the store: only then it is shown.
    async fn strip_ambiguous(&self, place: &Place, page: &mut ListBucketResult) -> Result<(), Failure> {
        let Some(at) = page.common_prefixes.iter().position(|prefix| RESERVED_PREFIX.starts_with(prefix.as_str()))
        else {
            return Ok(());
        };
        let Some(prefix) = page.common_prefixes.get(at).cloned() else { return Ok(()) };
        let listing = Listing { prefix, delimiter: None, max: 1, encoding: page.encoding };
        for after in [None, Some(BEHIND_RESERVED.to_owned())] {
            let found = self.page(place, &listing, &From { token: None, after }, 1, Some(false)).await?;
            if found.contents.iter().any(|object| !is_reserved(object.key.as_bytes())) {
                return Ok(());
            }
        }
        page.common_prefixes.remove(at);
        Ok(())
    }

    pub(super) async fn page(
        &self,
        place: &Place,
        listing: &Listing,
        from: &From,
        max: u32,
        v2: Option<bool>,
    ) -> Result<ListBucketResult, Failure> {
        let mut query = Query::default();
        if let Some(fetch_owner) = v2 {
            query.push("list-type", "2");
            if fetch_owner {
                query.push("fetch-owner", "true");
            }
        }
        if !listing.prefix.is_empty() {
            query.push("prefix", listing.prefix.as_str());
        }
        if let Some(delimiter) = &listing.delimiter {
            query.push("delimiter", delimiter.as_str());
        }
        query.push("max-keys", max.to_string());
        // names that XML cannot hold come through so, whatever the client asks for
        query.push("encoding-type", "url");
        if let Some(token) = &from.token {
            query.push("continuation-token", token.as_str());
        }
        if let Some(after) = &from.after {
            query.push(if v2.is_some() { "start-after" } else { "marker" }, after.as_str());
        }
        let request = StoreRequest {
            bucket: Some(&place.upstream_name),
            query,
            headers: forwarded_to_reads(&self.accepted.headers),
            ..self.exchange.request(&place.caller)
        };
        let answer = self.exchange.send(&place.upstream, request).await?;
        let document = self.core.read_document(answer, MAX_PAGE_LEN).await?;
        let mut result = ListBucketResult::parse(&document.bytes, v2.is_some())?;
        self.exchange.hold(document.leases);
        let names = result.contents.iter().map(|object| &object.key).chain(&result.common_prefixes);
        let (count, longest) = names.fold((0, 0), |(count, longest), name| (count + 1, name.len().max(longest)));
        if count > max || longest > MAX_KEY_LEN {
            return Err(Failure::upstream("a page of the store's with more names, or longer ones, than there are"));
        }
        for object in &mut result.contents {
            // a size that no sealed object has is shown as it is
            object.size = plaintext_len(object.size).unwrap_or(object.size);
            object.etag = listed_etag(&object.etag);
        }
        Ok(result)
    }
}

/// What is behind all reserved keys that begin with as many slashes as this one.
pub(super) fn behind_reserved(name: &str) -> String {
    let slashes = name.len() - name.trim_start_matches('/').len();
    format!("{}{BEHIND_RESERVED}", "/".repeat(slashes))
}

/// Takes the gateway's own keys out of a page. If the last name of the page was one: what is behind all that begin like it.
fn strip(page: &mut ListBucketResult) -> Option<String> {
    let last_key = page.contents.last().map(|object| &object.key);
    let last = last_key.into_iter().chain(page.common_prefixes.last()).max();
    let behind = last.filter(|last| is_reserved(last.as_bytes())).map(|last| behind_reserved(last));
    page.contents.retain(|object| !is_reserved(object.key.as_bytes()));
    page.common_prefixes.retain(|prefix| !is_reserved(prefix.as_bytes()));
    behind
}
