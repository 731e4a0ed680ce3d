//! What crashed uploads leave under the reserved prefix: state records and staged parts whose upload is no more.
//!
//! What belongs to an upload that the store still has is never touched, whatever its age. The leftovers are listed before the
//! uploads: an upload that begins in between has nothing on the list, and one that was there is seen.

use std::collections::HashSet;
use std::time::Duration;

use http::{HeaderMap, Method};
use thiserror::Error;

use crate::clock::{Clock, Timestamp};
use crate::format::context::upload_state_name;
use crate::gateway::settings::BucketRule;
use crate::object::{Address, BucketId, ObjectKey};
use crate::s3::target::BucketName;
use crate::s3::xml::{ListAllMyBucketsResult, ListBucketResult, ListMultipartUploadsResult, Page, XmlError};
use crate::sigv4::uri::Query;
use crate::store::{Answer, Payload, StoreError, StoreRequest, Upstream};

const PREFIX: &str = ".sealgate/";
const MAX_ANSWER_LEN: usize = 16 << 20;

/// Why nothing was collected.
#[derive(Debug, Error)]
pub enum GcError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store answered.
    #[error("the store's answer is not the XML that S3 answers")]
    Xml(#[from] XmlError),
    /// A list that does not end.
    #[error("the store's list does not go on")]
    Endless,
}

/// One object that no upload needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Its key: one of the gateway's own, which says nothing of the application's.
    pub key: String,
    /// Its size.
    pub size: u64,
    /// When it was written.
    pub written: Timestamp,
}

/// What was found in a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Leftovers old enough to go.
    pub leftovers: Vec<Leftover>,
    /// Leftovers that are younger than the age limit.
    pub young: usize,
    /// Objects that belong to unfinished uploads.
    pub live: usize,
    /// Unfinished uploads.
    pub uploads: usize,
    /// When the oldest of them began.
    pub oldest_upload: Option<Timestamp>,
}

/// The bucket that holds the records, and the rules whose buckets put them there.
pub struct Scope<'a> {
    /// The store.
    pub upstream: &'a Upstream,
    /// The bucket of the records, by the store's name.
    pub state_bucket: &'a str,
    /// The rules of that upstream.
    pub rules: Vec<&'a BucketRule>,
}

impl Scope<'_> {
    async fn get(&self, bucket: Option<&str>, query: Query) -> Result<Answer, GcError> {
        let request = StoreRequest {
            method: Method::GET,
            bucket,
            key: None,
            query,
            headers: HeaderMap::new(),
            body: Payload::Empty,
            identity: None,
            trace: None,
        };
        Ok(self.upstream.send(request).await?)
    }

    /// Everything under the reserved prefix.
    async fn records(&self) -> Result<Vec<Leftover>, GcError> {
        let (mut records, mut token): (Vec<Leftover>, Option<String>) = (Vec::new(), None);
        loop {
            let mut query = Query::default();
            query.push("list-type", "2");
            query.push("prefix", PREFIX);
            query.push("encoding-type", "url");
            if let Some(token) = &token {
                query.push("continuation-token", token.as_str());
            }
            let answer = self.get(Some(self.state_bucket), query).await?;
            let page = ListBucketResult::parse(&answer.bytes(MAX_ANSWER_LEN).await?, true)?;
            records.extend(page.contents.into_iter().map(|object| Leftover {
                key: object.key,
                size: object.size,
                written: object.last_modified,
            }));
            token = match page.page {
                Page::V2 { next_continuation_token: Some(next), .. }
                    if page.is_truncated && token.as_ref() != Some(&next) =>
                {
                    Some(next)
                }
                _ if page.is_truncated => return Err(GcError::Endless),
                _ => return Ok(records),
            };
        }
    }

    /// The store's buckets whose records lie in this scope, with their rules and ids.
    async fn buckets(&self) -> Result<Vec<(String, &BucketRule, BucketId)>, GcError> {
        let answer = self.get(None, Query::default()).await?;
        let listed = ListAllMyBucketsResult::parse(&answer.bytes(MAX_ANSWER_LEN).await?)?;
        let mut buckets = Vec::new();
        for bucket in listed.buckets {
            for rule in &self.rules {
                let Some(rest) = rule.upstream_name.matched(&bucket.name) else { continue };
                let holds = rule.state_bucket.as_deref().unwrap_or(&bucket.name) == self.state_bucket;
                let shown = BucketName::parse(&rule.name.expand(rest));
                let names = shown.ok().and_then(|shown| rule.names(&shown).ok().flatten());
                if let (true, Some(names)) = (holds, names) {
                    buckets.push((bucket.name.clone(), *rule, names.id));
                }
            }
        }
        Ok(buckets)
    }

    /// The names of what belongs to unfinished uploads, and when each began.
    async fn live(&self) -> Result<(HashSet<String>, Vec<Timestamp>), GcError> {
        let (mut names, mut begun) = (HashSet::new(), Vec::new());
        for (bucket, rule, id) in self.buckets().await? {
            let mut from: Option<(String, String)> = None;
            loop {
                let mut query = Query::default();
                query.push("uploads", "");
                query.push("encoding-type", "url");
                if let Some((key, upload)) = &from {
                    query.push("key-marker", key.as_str());
                    query.push("upload-id-marker", upload.as_str());
                }
                let answer = self.get(Some(&bucket), query).await?;
                let page = ListMultipartUploadsResult::parse(&answer.bytes(MAX_ANSWER_LEN).await?)?;
                for upload in page.uploads {
                    let Ok(key) = ObjectKey::new(upload.key.into_bytes()) else { continue };
                    let address = Address { tenant: rule.tenant.clone(), bucket: id.clone(), key };
                    names.insert(upload_state_name(&address, &upload.upload_id));
                    begun.push(upload.initiated);
                }
                let next = page.next_key_marker.zip(Some(page.next_upload_id_marker.unwrap_or_default()));
                match next {
                    Some(next) if page.is_truncated && from.as_ref() != Some(&next) => from = Some(next),
                    _ if page.is_truncated => return Err(GcError::Endless),
                    _ => break,
                }
            }
        }
        Ok((names, begun))
    }

    /// What there is, changing nothing.
    pub async fn survey(&self, older_than: Duration, clock: &dyn Clock) -> Result<Survey, GcError> {
        let records = self.records().await?;
        let (live, begun) = self.live().await?;
        let limit = u64::try_from(older_than.as_millis()).unwrap_or(u64::MAX);
        let before = clock.now().unix_millis().saturating_sub(limit);
        let mut survey = Survey { uploads: begun.len(), oldest_upload: begun.into_iter().min(), ..Survey::default() };
        for record in records {
            if owner(&record.key).is_some_and(|h| live.contains(h)) {
                survey.live += 1;
            } else if record.written.unix_millis() >= before {
                survey.young += 1;
            } else {
                survey.leftovers.push(record);
            }
        }
        Ok(survey)
    }

    /// Deletes leftovers, one by one; how many went.
    pub async fn delete(&self, leftovers: &[Leftover], mut progress: impl FnMut()) -> Result<usize, GcError> {
        for leftover in leftovers {
            let mut query = Query::default();
            let head = self.about(Method::HEAD, &leftover.key, Query::default()).await;
            match head {
                Ok(answer) => {
                    let version = answer.headers.get("x-amz-version-id").and_then(|value| value.to_str().ok());
                    // by version, so that no marker is left
                    if let Some(version) = version.filter(|version| *version != "null") {
                        query.push("versionId", version);
                    }
                }
                Err(GcError::Store(error)) if error.status() == Some(404) => continue,
                Err(error) => return Err(error),
            }
            self.about(Method::DELETE, &leftover.key, query).await?;
            progress();
        }
        Ok(leftovers.len())
    }

    async fn about(&self, method: Method, key: &str, query: Query) -> Result<Answer, GcError> {
        let request = StoreRequest {
            method,
            bucket: Some(self.state_bucket),
            key: Some(key.as_bytes()),
            query,
            headers: HeaderMap::new(),
            body: Payload::Empty,
            identity: None,
            trace: None,
        };
        Ok(self.upstream.send(request).await?)
    }
}

/// The upload that a key of ours belongs to: `.sealgate/u/H`, `.sealgate/s/H/NNNNN`.
fn owner(key: &str) -> Option<&str> {
    let rest = key.strip_prefix(PREFIX)?;
    match rest.split_once('/')? {
        ("u", h) => Some(h),
        ("s", rest) => rest.split_once('/').map(|(h, _)| h),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_upload() {
        assert_eq!(owner(".sealgate/u/abc"), Some("abc"));
        assert_eq!(owner(".sealgate/s/abc/00001"), Some("abc"));
        for other in [".sealgate/x/abc", ".sealgate/u", "u/abc", ".sealgate/s/abc"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }
}
