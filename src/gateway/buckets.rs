//! Buckets: list, create, delete, head, location.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::Call;
use super::error::Failure;
use super::headers::{forwarded, forwarded_to_reads};
use super::list::{From, Kind};
use super::policy::{Place, Policy, Right};
use super::records::{Record, UploadNames, UploadNote};
use super::settings::BucketRule;
use super::upstream::discard_answer;
use crate::clock::Timestamp;
use crate::ingress::answer::document;
use crate::net::body::{self, Body};
use crate::object::ObjectKey;
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::Listing;
use crate::s3::target::BucketName;
use crate::s3::xml::{
    KeyEncoding, ListAllMyBucketsResult, ListBucketResult, ListVersionsResult, ListedBucket, ListedVersionKind,
    MAX_PAGE, Owner, create_bucket_xml, location_xml, parse_create_bucket,
};
use crate::sigv4::uri::Query;
use crate::store::settings::Profile;
use crate::store::{Payload, StoreError, StoreRequest, Upstream};

/// The longest page of buckets: 10 000 of them.
const MAX_ANSWER_LEN: usize = 4 << 20;
const MAX_TOKEN_LEN: usize = 4 << 10;
/// How many pages of a store's buckets are read.
const MAX_BUCKET_PAGES: usize = 100;

/// How far a store's list of buckets was read.
#[derive(Default)]
struct BucketPages {
    token: Option<String>,
    count: usize,
    ended: bool,
}

/// What lies in a bucket that is to be deleted.
struct Entry {
    key: String,
    version_id: Option<String>,
    /// A delete marker: it has no content, and a HEAD of it is refused.
    is_marker: bool,
}

impl Call<'_> {
    /// ListBuckets: those of the caller, by the names it says.
    pub(super) async fn list_buckets(
        &mut self,
        prefix: Option<&str>,
        token: Option<&str>,
        max: Option<u32>,
    ) -> Result<Response<Body>, Failure> {
        let max = max.unwrap_or(10_000);
        if !(1..=10_000).contains(&max) {
            return Err(S3Error::argument("max-buckets", "It is a number from 1 to 10000.").into());
        }
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let is_wanted =
            |name: &str| prefix.is_none_or(|prefix| name.starts_with(prefix)) && token.is_none_or(|token| name > token);
        let mut found: BTreeMap<String, Timestamp> = BTreeMap::new();
        let is_asked = |rule: &&Arc<BucketRule>| !self.caller.is_anonymous() || rule.anonymous.is_some();
        let rules = self.core.policy.rules_of(self.caller).filter(is_asked);
        let mut upstreams: Vec<&str> = rules.map(|rule| rule.upstream.as_str()).collect();
        upstreams.sort_unstable();
        upstreams.dedup();
        for name in upstreams {
            let mut pages = BucketPages::default();
            while let Some(buckets) = self.bucket_page(self.core.policy.upstream(name)?, &mut pages).await? {
                for bucket in buckets {
                    for rule in self.core.policy.rules_of(self.caller).filter(|rule| rule.upstream == name) {
                        let Some(rest) = rule.upstream_name.matched(&bucket.name) else { continue };
                        let shown = rule.name.expand(rest);
                        let Ok(shown) = BucketName::parse(&shown) else { continue };
                        // another rule may win for that name
                        let place = self.core.policy.place(self.caller, &shown, Right::Probe);
                        if is_wanted(shown.as_str())
                            && Policy::reaches(self.caller, shown.as_str())
                            && place
                                .is_ok_and(|place| place.upstream_name == bucket.name && place.rule.upstream == name)
                        {
                            found.insert(shown.as_str().to_owned(), bucket.created);
                        }
                    }
                    // one more than is answered says that there are more
                    if found.len() > max.saturating_add(1) {
                        found.pop_last();
                    }
                }
            }
        }
        let mut buckets: Vec<ListedBucket> =
            found.into_iter().map(|(name, created)| ListedBucket { name, created }).collect();
        let continuation_token =
            (buckets.len() > max).then(|| buckets.get(max - 1).map(|last| last.name.clone())).flatten();
        buckets.truncate(max);
        let owner = Owner { id: self.caller.rule.tenant.as_str().to_owned(), display_name: None };
        // nobody owns none
        let owner = Some(owner).filter(|_| !self.caller.is_anonymous());
        let prefix = prefix.map(str::to_owned);
        let result = ListAllMyBucketsResult { owner, buckets, continuation_token, prefix };
        Ok(document(result.to_xml()))
    }

    /// The next page of a store's buckets; `None` behind the last.
    async fn bucket_page(
        &self,
        upstream: &Upstream,
        pages: &mut BucketPages,
    ) -> Result<Option<Vec<ListedBucket>>, Failure> {
        if pages.ended {
            return Ok(None);
        }
        let wrong = || Failure::upstream("the store's pages of buckets do not end");
        pages.count += 1;
        if pages.count > MAX_BUCKET_PAGES {
            return Err(wrong());
        }
        let mut query = Query::default();
        if let Some(token) = &pages.token {
            query.push("continuation-token", token.as_str());
        }
        let request = StoreRequest { bucket: None, query, ..self.exchange.request(self.caller) };
        let answer = self.exchange.send(upstream, request).await.map_err(|error| match error {
            // Amazon S3 sends nobody to the page of its product
            StoreError::Redirected if self.caller.is_anonymous() => ErrorCode::AccessDenied.into(),
            error => Failure::from(error),
        })?;
        let document = self.core.read_document(self.exchange, answer, MAX_ANSWER_LEN).await?;
        let page = ListAllMyBucketsResult::parse(&document.bytes)?;
        match page.continuation_token {
            None => pages.ended = true,
            Some(next) if pages.token.as_ref() != Some(&next) && next.len() <= MAX_TOKEN_LEN => {
                pages.token = Some(next);
            }
            Some(_) => return Err(wrong()),
        }
        Ok(Some(page.buckets))
    }

    async fn about(
        &self,
        place: &Place,
        method: Method,
        headers: HeaderMap,
        body: Payload,
    ) -> Result<HeaderMap, Failure> {
        let request = StoreRequest {
            method: method.clone(),
            bucket: Some(&place.upstream_name),
            headers,
            body,
            ..self.exchange.request(&place.caller)
        };
        let answer = self.exchange.send(&place.upstream, request).await.map_err(|error| {
            // HEAD's answer has no code
            let is_missing = error.status() == Some(404) && error.code().is_none();
            if is_missing { ErrorCode::NoSuchBucket.into() } else { Failure::from(error) }
        })?;
        let headers = answer.headers.clone();
        if method != Method::HEAD {
            discard_answer(answer).await;
        }
        Ok(headers)
    }

    fn bucket(&self, bucket: &BucketName, right: Right) -> Result<Place, Failure> {
        let place = self.core.policy.place(self.caller, bucket, right)?;
        self.exchange.note_place(&place);
        Ok(place)
    }

    /// CreateBucket: where a rule says what it is called upstream.
    pub(super) async fn create_bucket(&mut self, bucket: &BucketName) -> Result<Response<Body>, Failure> {
        let place = self.bucket(bucket, Right::Change)?;
        let document = self.document(64 << 10).await?;
        let location = parse_create_bucket(&document)?.filter(|location| *location != self.core.region);
        let upstream = &place.upstream;
        let location = match (location, upstream.profile()) {
            // a bucket of another region is not reached by way of this endpoint
            (Some(_), Profile::Aws) => return Err(ErrorCode::IllegalLocationConstraintException.into()),
            (None, Profile::Aws) => Some(upstream.region()).filter(|region| *region != "us-east-1").map(str::to_owned),
            // elsewhere it names a place within the store, which the store judges
            (Some(location), _) if !place.rule.locations.iter().any(|place| *place == location || place == "*") => {
                return Err(ErrorCode::IllegalLocationConstraintException.into());
            }
            (location, _) => location,
        };
        let body = location.map_or(Payload::Empty, |place| Payload::Bytes(Bytes::from(create_bucket_xml(&place))));
        self.about(&place, Method::PUT, forwarded(&self.accepted.headers), body).await?;
        let mut response = Response::new(body::empty());
        let location = HeaderValue::from_str(&format!("/{}", bucket.as_str()));
        response
            .headers_mut()
            .insert(header::LOCATION, location.map_err(|_| Failure::ours("a name that is no header"))?);
        Ok(response)
    }

    /// DeleteBucket. Unfinished uploads do not keep a bucket: if nothing else is in it, they are aborted and their records
    /// removed.
    pub(super) async fn delete_bucket(&mut self, bucket: &BucketName) -> Result<Response<Body>, Failure> {
        let place = self.bucket(bucket, Right::Change)?;
        let headers = forwarded(&self.accepted.headers);
        let deleted = self.about(&place, Method::DELETE, headers.clone(), Payload::Empty).await;
        match deleted {
            Err(failure) if failure.code() == ErrorCode::BucketNotEmpty && self.clear_bucket(&place).await? => {
                self.about(&place, Method::DELETE, headers, Payload::Empty).await?;
            }
            deleted => {
                deleted?;
            }
        }
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// Aborts all unfinished uploads to a bucket in which nothing but their records is; whether it was so.
    async fn clear_bucket(&self, place: &Place) -> Result<bool, Failure> {
        let (prefix, encoding) = (String::new(), KeyEncoding::Url);
        let listing = Listing { prefix, delimiter: None, max: MAX_PAGE, encoding, unordered: false };
        let (start, kind) = (From::default(), Kind::Versions);
        let page = self.page::<ListVersionsResult>(place, &listing, &start, MAX_PAGE, kind).await;
        let (entries, is_truncated): (Vec<Entry>, bool) = match page {
            Ok(page) => {
                let entries = page.versions.into_iter().map(|version| Entry {
                    key: version.key,
                    version_id: Some(version.version_id),
                    is_marker: matches!(version.kind, ListedVersionKind::DeleteMarker),
                });
                (entries.collect(), page.is_truncated)
            }
            // a store without versions
            Err(failure) if matches!(failure.code().status(), 400 | 405 | 501) => {
                let kind = Kind::V2 { fetch_owner: false };
                let page: ListBucketResult = self.page(place, &listing, &start, MAX_PAGE, kind).await?;
                let entry = |key| Entry { key, version_id: None, is_marker: false };
                (page.contents.into_iter().map(|object| entry(object.key)).collect(), page.is_truncated)
            }
            Err(failure) => return Err(failure),
        };
        if is_truncated {
            return Ok(false);
        }
        // all is looked at before anything is touched: another bucket's records may lie here too
        let (mut uploads, mut states) = (Vec::new(), Vec::new());
        for Entry { key, version_id, is_marker } in &entries {
            match Record::of(key) {
                // what lies below it is listed too
                Some(Record::State(_) | Record::Staged(_)) if *is_marker => {}
                Some(Record::State(names)) => {
                    let headers = match self.own_record(place, Method::HEAD, key, version_id.as_deref()).await {
                        Err(failure) if failure.code().status() == 404 => continue,
                        headers => headers?,
                    };
                    let note = UploadNote::of(&headers).filter(|note| {
                        note.bucket == place.upstream_name
                            && UploadNames::of(&place.address(&note.key), &note.upload_id) == names
                    });
                    let Some(note) = note else { return Ok(false) };
                    uploads.push(note);
                    states.push(names);
                }
                Some(Record::Staged(_)) => {}
                Some(Record::Check) | None => return Ok(false),
            }
        }
        let is_known = |entry: &Entry| {
            entry.is_marker
                || !matches!(Record::of(&entry.key), Some(Record::Staged(names)) if !states.contains(&names))
        };
        if entries.is_empty() || !entries.iter().all(is_known) {
            return Ok(false);
        }
        for note in &uploads {
            let mut query = Query::default();
            query.push("uploadId", note.upload_id.as_str());
            let at = (place.upstream_name.as_str(), Some(note.key.as_bytes()));
            let headers = forwarded_to_reads(&self.accepted.headers);
            match self.about_upload(place, Method::DELETE, at, query, headers, Payload::Empty).await {
                Ok(answer) => discard_answer(answer).await,
                Err(failure) if failure.code() == ErrorCode::NoSuchUpload => {}
                Err(failure) => return Err(failure),
            }
        }
        for Entry { key, version_id, .. } in &entries {
            self.own_record(place, Method::DELETE, key, version_id.as_deref()).await?;
        }
        Ok(true)
    }

    /// Asks about one of the gateway's own records, or removes it.
    async fn own_record(
        &self,
        place: &Place,
        method: Method,
        key: &str,
        version_id: Option<&str>,
    ) -> Result<HeaderMap, Failure> {
        let mut query = Query::default();
        if let Some(version_id) = version_id {
            query.push("versionId", version_id);
        }
        let at = (place.upstream_name.as_str(), Some(key.as_bytes()));
        let headers = forwarded_to_reads(&self.accepted.headers);
        Ok(self.about_upload(place, method, at, query, headers, Payload::Empty).await?.headers)
    }

    /// HeadBucket.
    pub(super) async fn head_bucket(&mut self, bucket: &BucketName) -> Result<Response<Body>, Failure> {
        let place = self.bucket(bucket, Right::Probe)?;
        self.about(&place, Method::HEAD, forwarded_to_reads(&self.accepted.headers), Payload::Empty).await?;
        let mut response = Response::new(body::empty());
        let region =
            HeaderValue::from_str(&self.core.region).map_err(|_| Failure::ours("a region that is no header"))?;
        response.headers_mut().insert(HeaderName::from_static("x-amz-bucket-region"), region);
        Ok(response)
    }

    /// A preflight request: the store's CORS rules judge it, if the bucket's rule admits the page's origin. Their verdict is added to every answer whose request came from a
    /// page.
    pub(super) async fn preflight(
        &mut self,
        bucket: &BucketName,
        key: Option<&ObjectKey>,
    ) -> Result<Response<Body>, Failure> {
        let place = match key {
            Some(key) => self.core.policy.place_of(self.caller, bucket, key, Right::Preflight),
            None => self.core.policy.place(self.caller, bucket, Right::Preflight),
        };
        let place = place.map_err(|_| Failure::from(ErrorCode::AccessForbidden))?;
        self.exchange.note_place(&place);
        if !self.exchange.has_admitted_page() {
            return Err(ErrorCode::AccessForbidden.into());
        }
        let request = StoreRequest {
            method: Method::OPTIONS,
            bucket: Some(&place.upstream_name),
            key: key.map(ObjectKey::as_bytes),
            ..self.exchange.request(&place.caller)
        };
        discard_answer(self.exchange.send(&place.upstream, request).await?).await;
        Ok(Response::new(body::empty()))
    }

    /// GetBucketLocation: the gateway's region, if the bucket is there.
    pub(super) async fn bucket_location(&mut self, bucket: &BucketName) -> Result<Response<Body>, Failure> {
        let place = self.bucket(bucket, Right::Probe)?;
        self.about(&place, Method::HEAD, forwarded_to_reads(&self.accepted.headers), Payload::Empty).await?;
        Ok(document(location_xml(&self.core.region)))
    }
}
