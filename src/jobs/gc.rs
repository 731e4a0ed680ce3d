//! What crashed uploads leave under the reserved prefix: state records and staged parts whose upload is no more, and canaries
//! of checks that were cut off.
//!
//! What belongs to an upload that the store still has is never touched, whatever its age: the state record holds the only key
//! to its parts. So nothing follows from an upload's absence in a list, which may be incomplete, of one node only, or a lie.
//! Each state record names its upload, and the store is asked about that one: only its `NoSuchUpload` makes a leftover. Of
//! what cannot be judged nothing goes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use thiserror::Error;

use crate::clock::{Clock, Timestamp};
use crate::gateway::records::{RESERVED_PREFIX, Record, UploadNames, UploadNote};
use crate::gateway::settings::BucketRule;
use crate::object::{Address, BucketId, ObjectKey};
use crate::s3::error::ErrorCode;
use crate::s3::target::BucketName;
use crate::s3::xml::{ListBucketResult, ListMultipartUploadsResult, Page, XmlError};
use crate::sigv4::uri::Query;
use crate::store::identity::Issuer;
use crate::store::{Answer, Identity, Payload, StoreError, StoreRequest, Upstream};

const MAX_ANSWER_LEN: usize = 16 << 20;
const MAX_PAGES: usize = 100_000;

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
    /// Objects that are younger than the age limit, whatever they are of.
    pub young: usize,
    /// Objects that belong to unfinished uploads.
    pub live: usize,
    /// Objects of which it cannot be said: the store was not asked, or gave no clear answer. They stay.
    pub unjudged: usize,
    /// Whether the store lists unfinished uploads to the bucket that was asked about to the gateway's own identity.
    pub lists_uploads: bool,
    /// Those, as it lists them.
    pub uploads: usize,
    /// When the oldest of them began.
    pub oldest_upload: Option<Timestamp>,
    /// How many of them have no state record: nobody can complete them here. They are the writer's to abort.
    pub without_state: usize,
}

/// The bucket that was asked about, the one that holds its records, and the rules whose buckets put theirs there.
pub struct Scope<'a> {
    /// The store.
    pub upstream: &'a Upstream,
    /// The bucket, by the store's name.
    pub bucket: &'a str,
    /// The bucket of the records, by the store's name.
    pub state_bucket: &'a str,
    /// The rules of that upstream.
    pub rules: Vec<&'a BucketRule>,
    /// Who asks that store by an identity of their own, as a note says it: to them it may have other buckets by these names.
    pub initiators: Vec<(String, &'a Arc<Issuer>)>,
}

/// What is known of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Live,
    Gone,
    Unjudged,
}

impl<'a> Scope<'a> {
    async fn ask(&self, method: Method, at: (&str, Option<&[u8]>), query: Query) -> Result<Answer, StoreError> {
        self.ask_as(Identity::Own, method, at, query).await
    }

    async fn ask_as(
        &self,
        identity: Identity<'_>,
        method: Method,
        (bucket, key): (&str, Option<&[u8]>),
        query: Query,
    ) -> Result<Answer, StoreError> {
        let (headers, body) = (HeaderMap::new(), Payload::Empty);
        let request = StoreRequest { method, bucket: Some(bucket), key, query, headers, body, identity, trace: None };
        self.upstream.send(request).await
    }

    /// Everything under the reserved prefix.
    async fn records(&self) -> Result<Vec<Leftover>, GcError> {
        let (mut records, mut token): (Vec<Leftover>, Option<String>) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let mut query = Query::default();
            query.push("list-type", "2");
            query.push("prefix", RESERVED_PREFIX);
            query.push("encoding-type", "url");
            if let Some(token) = &token {
                query.push("continuation-token", token.as_str());
            }
            let answer = self.ask(Method::GET, (self.state_bucket, None), query).await?;
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
        Err(GcError::Endless)
    }

    /// The rules whose records of uploads to `bucket` lie in this scope, with the bucket's id by each.
    fn rules_of<'s>(&'s self, bucket: &'s str) -> impl Iterator<Item = (&'a BucketRule, BucketId)> + 's {
        self.rules.iter().filter_map(move |rule| {
            let rest = rule.upstream_name.matched(bucket)?;
            let holds = rule.state_bucket.as_deref().unwrap_or(bucket) == self.state_bucket;
            let shown = BucketName::parse(&rule.name.expand(rest)).ok().filter(|_| holds)?;
            Some((*rule, rule.names(&shown).ok().flatten()?.id))
        })
    }

    fn names_of<'s>(
        &'s self,
        bucket: &'s str,
        key: &'s ObjectKey,
        upload_id: &'s str,
    ) -> impl Iterator<Item = UploadNames> + 's {
        self.rules_of(bucket).map(move |(rule, id)| {
            let address = Address { tenant: rule.tenant.clone(), bucket: id, key: key.clone() };
            UploadNames::of(&address, upload_id)
        })
    }

    /// Asks the store about the upload that a record is of.
    async fn judge(&self, names: &UploadNames) -> Result<Verdict, GcError> {
        let note =
            match self.ask(Method::HEAD, (self.state_bucket, Some(names.state().as_bytes())), Query::default()).await {
                Ok(answer) => UploadNote::of(&answer.headers),
                // the state goes last: what was staged without one is of no upload
                Err(error) if error.status() == Some(404) => return Ok(Verdict::Gone),
                Err(error) => return Err(error.into()),
            };
        let Some(note) = note else { return Ok(Verdict::Unjudged) };
        // a note of another upload would let that one's absence speak for this one
        if !self.names_of(&note.bucket, &note.key, &note.upload_id).any(|of_note| of_note == *names) {
            return Ok(Verdict::Unjudged);
        }
        let mut query = Query::default();
        query.push("uploadId", note.upload_id.as_str());
        query.push("max-parts", "1");
        let identity = match &note.by {
            None => Identity::Own,
            Some(by) => match self.initiators.iter().find(|(known, _)| known == by) {
                Some((_, issuer)) => Identity::Of(issuer),
                None => return Ok(Verdict::Unjudged),
            },
        };
        let at = (note.bucket.as_str(), Some(note.key.as_bytes()));
        match self.ask_as(identity, Method::GET, at, query).await {
            Ok(_) => Ok(Verdict::Live),
            Err(error) if error.code() == Some(ErrorCode::NoSuchUpload) => Ok(Verdict::Gone),
            // whoever began it had that bucket
            Err(error) if error.code() == Some(ErrorCode::NoSuchBucket) && note.by.is_some() => Ok(Verdict::Gone),
            // a bucket of another account, a store that is ill: nothing was said of the upload
            Err(StoreError::Refused(_)) => Ok(Verdict::Unjudged),
            Err(StoreError::Credentials | StoreError::Signature | StoreError::NoCredentials(_))
                if note.by.is_some() =>
            {
                Ok(Verdict::Unjudged)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The unfinished uploads to the bucket: when each began, and whether it has a state record.
    async fn uploads(&self) -> Result<Vec<(Timestamp, bool)>, GcError> {
        let (mut uploads, mut from) = (Vec::new(), None::<(String, String)>);
        for _ in 0..MAX_PAGES {
            let mut query = Query::default();
            query.push("uploads", "");
            query.push("encoding-type", "url");
            if let Some((key, upload)) = &from {
                query.push("key-marker", key.as_str());
                query.push("upload-id-marker", upload.as_str());
            }
            let answer = self.ask(Method::GET, (self.bucket, None), query).await?;
            let page = ListMultipartUploadsResult::parse(&answer.bytes(MAX_ANSWER_LEN).await?)?;
            for upload in page.uploads {
                let Ok(key) = ObjectKey::new(upload.key.into_bytes()) else { continue };
                let mut has_state = false;
                for names in self.names_of(self.bucket, &key, &upload.upload_id) {
                    let state = names.state();
                    match self.ask(Method::HEAD, (self.state_bucket, Some(state.as_bytes())), Query::default()).await {
                        Ok(_) => has_state = true,
                        Err(error) if error.status() == Some(404) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                uploads.push((upload.initiated, has_state));
            }
            let next = page.next_key_marker.zip(Some(page.next_upload_id_marker.unwrap_or_default()));
            match next {
                Some(next) if page.is_truncated && from.as_ref() != Some(&next) => from = Some(next),
                _ if page.is_truncated => return Err(GcError::Endless),
                _ => return Ok(uploads),
            }
        }
        Err(GcError::Endless)
    }

    /// What there is, changing nothing.
    pub async fn survey(&self, older_than: Duration, clock: &dyn Clock) -> Result<Survey, GcError> {
        let limit = u64::try_from(older_than.as_millis()).unwrap_or(u64::MAX);
        let before = clock.now().unix_millis().saturating_sub(limit);
        let uploads = match self.uploads().await {
            Ok(uploads) => Some(uploads),
            // a bucket that only its application reaches
            Err(GcError::Store(StoreError::Refused(refused))) if matches!(refused.status, 403 | 404) => None,
            Err(error) => return Err(error),
        };
        let lists_uploads = uploads.is_some();
        let uploads = uploads.unwrap_or_default();
        let mut survey = Survey {
            lists_uploads,
            uploads: uploads.len(),
            oldest_upload: uploads.iter().map(|(begun, _)| *begun).min(),
            without_state: uploads.iter().filter(|(_, has_state)| !has_state).count(),
            ..Survey::default()
        };
        let mut verdicts: HashMap<String, Verdict> = HashMap::new();
        for record in self.records().await? {
            if record.written.unix_millis() >= before {
                survey.young += 1;
                continue;
            }
            let verdict = match Record::of(&record.key) {
                Some(Record::State(names) | Record::Staged(names)) => {
                    let known = verdicts.get(&names.state()).copied();
                    let verdict = if let Some(verdict) = known { verdict } else { self.judge(&names).await? };
                    verdicts.insert(names.state(), verdict);
                    verdict
                }
                Some(Record::Check) => Verdict::Gone,
                None => Verdict::Unjudged,
            };
            match verdict {
                Verdict::Gone => survey.leftovers.push(record),
                Verdict::Live => survey.live += 1,
                Verdict::Unjudged => survey.unjudged += 1,
            }
        }
        Ok(survey)
    }

    /// Deletes leftovers, one by one; how many went.
    pub async fn delete(&self, leftovers: &[Leftover], mut progress: impl FnMut()) -> Result<usize, GcError> {
        let mut deleted = 0;
        for leftover in leftovers {
            let at = (self.state_bucket, Some(leftover.key.as_bytes()));
            let mut query = Query::default();
            match self.ask(Method::HEAD, at, Query::default()).await {
                Ok(answer) => {
                    let version = answer.headers.get("x-amz-version-id").and_then(|value| value.to_str().ok());
                    // by version, so that no marker is left
                    if let Some(version) = version.filter(|version| *version != "null") {
                        query.push("versionId", version);
                    }
                }
                Err(error) if error.status() == Some(404) => continue,
                Err(error) => return Err(error.into()),
            }
            self.ask(Method::DELETE, at, query).await?;
            deleted += 1;
            progress();
        }
        Ok(deleted)
    }
}
