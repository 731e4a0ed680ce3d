//! Lists: one request to the store, sizes and ETags rewritten, the gateway's own keys left out. What holds for every list, and
//! ListObjects in both versions.

use http::Response;

use super::Call;
use super::error::Failure;
use super::etag;
use super::headers::{forwarded_to_reads, quoted};
use super::policy::{Place, Right};
use super::records::{BEHIND_RESERVED, RESERVED_PREFIX, behind, is_reserved};
use crate::format::geometry::plaintext_len;
use crate::ingress::answer::document;
use crate::net::body::Body;
use crate::s3::error::S3Error;
use crate::s3::operation::{Listing, UNORDERED};
use crate::s3::target::BucketName;
use crate::s3::xml::{KeyEncoding, ListBucketResult, ListedObject, MAX_PAGE, Page, XmlError, unquoted};
use crate::sigv4::uri::Query;
use crate::store::StoreRequest;
use crate::store::settings::Profile;

/// The longest page: 1000 keys of 1024 bytes, percent-encoded, with all that stands around them.
const MAX_PAGE_LEN: usize = 4 << 20;
/// The longest key.
const MAX_KEY_LEN: usize = 1024;
/// A page is asked for again at most this often because all of its end was the gateway's own.
const MAX_ROUNDS: usize = 8;
/// And one in no order, where nobody can go on behind all of those: ten uploads whose parts all wait have so many.
const MAX_UNORDERED_ROUNDS: usize = 100;

/// An ETag in a list, with its quotes, as it is shown.
pub(super) fn listed_etag(etag: &str) -> String {
    quoted(&etag::downstream(unquoted(etag)))
}

/// Which list is asked for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// ListObjects.
    V1,
    /// ListObjectsV2.
    V2 {
        /// Whether owners are wanted.
        fetch_owner: bool,
    },
    /// ListObjectVersions.
    Versions,
}

/// Where a page begins.
#[derive(Clone, Default)]
pub(super) struct From {
    pub(super) token: Option<String>,
    /// Behind which key.
    pub(super) after: Option<String>,
    /// Behind which version of it.
    pub(super) version_id: Option<String>,
}

/// A page of a list as the store answers it.
pub(super) trait Listed: Sized {
    /// An object, or a version of one.
    type Entry;
    /// The list by which it is found out whether there are other keys than the gateway's own.
    const PROBE: Kind;

    fn parse(document: &[u8], kind: Kind) -> Result<Self, XmlError>;
    /// What it lists, and its common prefixes.
    fn entries(&mut self) -> (&mut Vec<Self::Entry>, &mut Vec<String>);
    fn key(entry: &Self::Entry) -> &str;
    /// Makes size and ETag those of the plaintext.
    fn show(entry: &mut Self::Entry);
    fn is_truncated(&self) -> bool;
    /// The key behind which it says that the next page begins.
    fn next(&self) -> Option<&str>;
    /// Says otherwise, where a key is what it says.
    fn set_next(&mut self, next: Option<String>);
    /// Answers to `listing` of a bucket of that name.
    fn echo(&mut self, name: &str, listing: &Listing);
}

impl Listed for ListBucketResult {
    type Entry = ListedObject;

    const PROBE: Kind = Kind::V2 { fetch_owner: false };

    fn parse(document: &[u8], kind: Kind) -> Result<Self, XmlError> {
        Self::parse(document, matches!(kind, Kind::V2 { .. }))
    }

    fn entries(&mut self) -> (&mut Vec<ListedObject>, &mut Vec<String>) {
        (&mut self.contents, &mut self.common_prefixes)
    }

    fn key(object: &ListedObject) -> &str {
        &object.key
    }

    fn show(object: &mut ListedObject) {
        show(&mut object.size, &mut object.etag);
    }

    fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    fn next(&self) -> Option<&str> {
        match &self.page {
            Page::V1 { next_marker, .. } => next_marker.as_deref(),
            Page::V2 { .. } => None,
        }
    }

    fn set_next(&mut self, next: Option<String>) {
        if let Page::V1 { next_marker, .. } = &mut self.page {
            *next_marker = next;
        }
    }

    fn echo(&mut self, name: &str, listing: &Listing) {
        name.clone_into(&mut self.name);
        self.encoding = listing.encoding;
        self.prefix.clone_from(&listing.prefix);
        // as the client hears it from the store, which may say no other
        self.prefix_as_text.take_if(|text| *text != listing.prefix);
        self.delimiter.clone_from(&listing.delimiter);
        self.max_keys = listing.max;
    }
}

/// Makes a stored size and ETag those of the plaintext. A size that no sealed object has is shown as it is.
pub(super) fn show(size: &mut u64, etag: &mut String) {
    *size = plaintext_len(*size).unwrap_or(*size);
    *etag = listed_etag(etag);
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
        let from = From { after, ..From::default() };
        let mut result = self.page_of(&place, listing, from, Kind::V1).await?;
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
        let (token_owned, after) = (token.map(str::to_owned), start_after.map(str::to_owned));
        let from = From { token: token_owned, after, version_id: None };
        let mut result = self.page_of(&place, listing, from, Kind::V2 { fetch_owner }).await?;
        if let Page::V2 { key_count, continuation_token, start_after: echoed, .. } = &mut result.page {
            *key_count = u32::try_from(result.contents.len() + result.common_prefixes.len()).unwrap_or(u32::MAX);
            *continuation_token = token.map(str::to_owned);
            *echoed = start_after.map(str::to_owned);
        }
        Ok(document(result.to_xml()))
    }

    pub(super) fn listed(&self, bucket: &BucketName) -> Result<Place, Failure> {
        let place = self.core.policy.place(self.caller, bucket, Right::List)?;
        self.exchange.note_place(&place);
        Ok(place)
    }

    async fn page_of(
        &self,
        place: &Place,
        listing: &Listing,
        from: From,
        kind: Kind,
    ) -> Result<ListBucketResult, Failure> {
        match (listing.unordered, place.upstream.profile()) {
            (false, _) => self.pages(place, listing, from, kind).await,
            (true, Profile::Ceph) => self.unordered_page(place, listing, from, kind).await,
            (true, _) => Err(S3Error::not_implemented("The query parameter allow-unordered").into()),
        }
    }

    /// A page in no order, without the gateway's own keys. To the store its place is the last key that it showed; the token of a
    /// next page is that key.
    async fn unordered_page(
        &self,
        place: &Place,
        listing: &Listing,
        mut from: From,
        kind: Kind,
    ) -> Result<ListBucketResult, Failure> {
        from = From { after: from.token.or(from.after), ..From::default() };
        let max = usize::try_from(listing.max).unwrap_or(usize::MAX);
        // among many keys of the gateway's own it goes on by long pages
        for asked in std::iter::once(listing.max).chain(std::iter::repeat_n(MAX_PAGE, MAX_UNORDERED_ROUNDS)) {
            let mut page: ListBucketResult = self.page(place, listing, &from, asked, kind).await?;
            let last = page.contents.last().map(|object| object.key.clone());
            page.contents.retain(|object| !is_reserved(object.key.as_bytes()));
            page.common_prefixes.clear();
            page.is_truncated |= page.contents.len() > max;
            page.contents.truncate(max);
            if page.is_truncated && page.contents.is_empty() && listing.max > 0 {
                let is_further = last.is_some() && last != from.after;
                from.after = last.filter(|_| is_further);
                if from.after.is_some() {
                    continue;
                }
                break;
            }
            let shown = page.contents.last().map(|object| object.key.clone()).filter(|_| page.is_truncated);
            match &mut page.page {
                Page::V1 { next_marker, .. } => *next_marker = shown,
                Page::V2 { next_continuation_token, .. } => *next_continuation_token = shown,
            }
            page.echo(place.bucket.as_str(), listing);
            return Ok(page);
        }
        Err(pages_do_not_go_on())
    }

    /// A page without the gateway's own keys. Where they were its end, the next page is asked for behind them: a client that
    /// goes on from the last key must find one.
    pub(super) async fn pages<P: Listed>(
        &self,
        place: &Place,
        listing: &Listing,
        mut from: From,
        kind: Kind,
    ) -> Result<P, Failure> {
        let mut whole: Option<P> = None;
        for _ in 0..MAX_ROUNDS {
            let taken = whole.as_mut().map_or(0, |whole| {
                let (entries, prefixes) = whole.entries();
                entries.len() + prefixes.len()
            });
            let max = listing.max.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
            let mut page: P = self.page(place, listing, &from, max, kind).await?;
            if !page.is_truncated() {
                page.set_next(None);
            }
            let behind = strip(&mut page);
            self.strip_ambiguous(place, &mut page).await?;
            page.echo(place.bucket.as_str(), listing);
            if let Some(mut before) = whole.take() {
                let ((entries, prefixes), (more, more_prefixes)) = (before.entries(), page.entries());
                entries.append(more);
                prefixes.append(more_prefixes);
                std::mem::swap(entries, more);
                std::mem::swap(prefixes, more_prefixes);
            }
            let Some(behind) = behind.filter(|_| page.is_truncated()) else { return Ok(page) };
            let (entries, prefixes) = page.entries();
            if u32::try_from(entries.len() + prefixes.len()).unwrap_or(u32::MAX) >= listing.max {
                page.set_next(Some(behind));
                return Ok(page);
            }
            // the page ended within the reserved keys: go on behind them
            from = From { after: Some(behind), ..From::default() };
            whole = Some(page);
        }
        Err(pages_do_not_go_on())
    }

    /// A delimiter within the reserved prefix makes it look like a common prefix of other keys. Whether it is one too is
    /// asked of the store: only then it is shown.
    async fn strip_ambiguous<P: Listed>(&self, place: &Place, page: &mut P) -> Result<(), Failure> {
        let (_, prefixes) = page.entries();
        let Some(at) = prefixes.iter().position(|prefix| RESERVED_PREFIX.starts_with(prefix.as_str())) else {
            return Ok(());
        };
        let Some(prefix) = prefixes.get(at).cloned() else { return Ok(()) };
        let listing = Listing { prefix, delimiter: None, max: 1, encoding: KeyEncoding::Url, unordered: false };
        for after in [None, Some(BEHIND_RESERVED.to_owned())] {
            let from = From { after, ..From::default() };
            let mut found: P = self.page(place, &listing, &from, 1, P::PROBE).await?;
            if found.entries().0.iter().any(|entry| !is_reserved(P::key(entry).as_bytes())) {
                return Ok(());
            }
        }
        page.entries().1.remove(at);
        Ok(())
    }

    /// One page as the store has it, sizes and ETags rewritten.
    pub(super) async fn page<P: Listed>(
        &self,
        place: &Place,
        listing: &Listing,
        from: &From,
        max: u32,
        kind: Kind,
    ) -> Result<P, Failure> {
        let mut query = Query::default();
        let after = match kind {
            Kind::V1 => "marker",
            Kind::V2 { fetch_owner } => {
                query.push("list-type", "2");
                if fetch_owner {
                    query.push("fetch-owner", "true");
                }
                "start-after"
            }
            Kind::Versions => {
                query.push("versions", "");
                "key-marker"
            }
        };
        if !listing.prefix.is_empty() {
            query.push("prefix", listing.prefix.as_str());
        }
        query.push("max-keys", max.to_string());
        if listing.unordered {
            query.push(UNORDERED, "true");
        }
        // names that XML cannot hold come through so, whatever the client asks for
        query.push("encoding-type", "url");
        let optional = [
            ("delimiter", &listing.delimiter),
            ("continuation-token", &from.token),
            (after, &from.after),
            ("version-id-marker", &from.version_id),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                query.push(name, value.as_str());
            }
        }
        let request = StoreRequest {
            bucket: Some(&place.upstream_name),
            query,
            headers: forwarded_to_reads(&self.accepted.headers),
            ..self.exchange.request(&place.caller)
        };
        let answer = self.exchange.send(&place.upstream, request).await?;
        let document = self.core.read_document(self.exchange, answer, MAX_PAGE_LEN).await?;
        let mut page = <P as Listed>::parse(&document.bytes, kind)?;
        self.exchange.hold(document.leases);
        let (entries, prefixes) = page.entries();
        let names = entries.iter().map(P::key).chain(prefixes.iter().map(String::as_str));
        let (count, longest) = names.fold((0, 0), |(count, longest), name| (count + 1, name.len().max(longest)));
        if count > max || longest > MAX_KEY_LEN {
            return Err(Failure::upstream("a page of the store's with more names, or longer ones, than there are"));
        }
        entries.iter_mut().for_each(P::show);
        Ok(page)
    }
}

fn pages_do_not_go_on() -> Failure {
    Failure::upstream("the store's pages do not go on")
}

/// Takes the gateway's own keys out of a page. If the last name of the page was one: what is behind all that begin like it.
fn strip<P: Listed>(page: &mut P) -> Option<String> {
    let next = page.next().map(str::to_owned);
    let (entries, prefixes) = page.entries();
    // where the store does not say where the page ends, it ends with the last name, in whatever order they stand
    let last =
        next.or_else(|| entries.iter().map(P::key).chain(prefixes.iter().map(String::as_str)).max().map(str::to_owned));
    let behind = last.and_then(|last| behind(&last));
    entries.retain(|entry| !is_reserved(P::key(entry).as_bytes()));
    prefixes.retain(|prefix| !is_reserved(prefix.as_bytes()));
    behind
}
