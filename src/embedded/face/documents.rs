//! Documents of buckets and objects: versioning, tags, object lock.

use http::{HeaderMap, Response, StatusCode};

use super::headers::{VERSION_ID, bypasses_governance, version_header, version_of};
use super::{Face, MAX_DOCUMENT_LEN, name_of};
use crate::embedded::{
    self, BucketLock, DefaultRetention, Period, Retention, RetentionMode, Store, StoreError, Tags, VersionId,
    Versioning,
};
use crate::ingress::Accepted;
use crate::ingress::answer::{document, empty};
use crate::net::body::Body;
use crate::object::ObjectKey;
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::{ObjectRef, SubResourceAction, SubResourceRequest, TagAction};
use crate::s3::xml::{
    LegalHold, LockMode, LockPeriod, ObjectLockConfiguration, RetentionDocument, Tagging, VersioningConfiguration,
    VersioningStatus,
};

fn mode_of(mode: LockMode) -> RetentionMode {
    match mode {
        LockMode::Governance => RetentionMode::Governance,
        LockMode::Compliance => RetentionMode::Compliance,
    }
}

fn lock_mode(mode: RetentionMode) -> LockMode {
    match mode {
        RetentionMode::Governance => LockMode::Governance,
        RetentionMode::Compliance => LockMode::Compliance,
    }
}

/// Nothing but a status and the version that it is about.
fn about(status: StatusCode, version: Option<VersionId>) -> Result<Response<Body>, S3Error> {
    let mut response = empty(status);
    version_header(response.headers_mut(), VERSION_ID, version)?;
    Ok(response)
}

impl Face {
    /// GetObjectTagging, PutObjectTagging, DeleteObjectTagging.
    pub(super) async fn tagging(
        &self,
        (object, version_id): (&ObjectRef, Option<&str>),
        action: TagAction,
        accepted: &mut Accepted,
        body: Body,
    ) -> Result<Response<Body>, S3Error> {
        let (bucket, key, version) = (name_of(&object.bucket)?, object.key.clone(), version_of(version_id)?);
        match action {
            TagAction::Get => {
                let (tags, version) = self.blocking(move |store| store.tags(&bucket, &key, version)).await?;
                let mut response = document(Tagging(tags.pairs().to_vec()).to_xml());
                version_header(response.headers_mut(), VERSION_ID, version)?;
                Ok(response)
            }
            TagAction::Put => {
                let tags = Tagging::of_client(&accepted.collect(body, MAX_DOCUMENT_LEN).await?)?;
                let tags = Tags::of_object(tags.0)?;
                about(StatusCode::OK, self.blocking(move |store| store.set_tags(&bucket, &key, version, tags)).await?)
            }
            TagAction::Delete => {
                let none = Tags::default();
                let version = self.blocking(move |store| store.set_tags(&bucket, &key, version, none)).await?;
                about(StatusCode::NO_CONTENT, version)
            }
        }
    }

    /// Sub-resources of buckets and objects.
    pub(super) async fn sub_resource(
        &self,
        request: &SubResourceRequest,
        accepted: &mut Accepted,
        body: Body,
    ) -> Result<Response<Body>, S3Error> {
        let bucket = name_of(&request.bucket)?;
        let xml = match request.action {
            SubResourceAction::Put => accepted.collect(body, MAX_DOCUMENT_LEN).await?.to_vec(),
            _ => Vec::new(),
        };
        match (&request.key, request.resource, request.action) {
            (None, "versioning", SubResourceAction::Get) => {
                let status = match self.blocking(move |store| store.versioning(&bucket)).await? {
                    Versioning::Never => None,
                    Versioning::Enabled => Some(VersioningStatus::Enabled),
                    Versioning::Suspended => Some(VersioningStatus::Suspended),
                };
                Ok(document(VersioningConfiguration { status }.to_xml()))
            }
            (None, "versioning", SubResourceAction::Put) => {
                let versioning = match VersioningConfiguration::of_client(&xml)?.status {
                    Some(VersioningStatus::Enabled) => Versioning::Enabled,
                    _ => Versioning::Suspended,
                };
                self.blocking(move |store| store.set_versioning(&bucket, versioning)).await?;
                Ok(empty(StatusCode::OK))
            }
            (None, "object-lock", SubResourceAction::Get) => {
                let lock = self.blocking(move |store| store.bucket_lock(&bucket)).await?;
                let default = lock.default.map(|default| {
                    let period = match default.period {
                        Period::Days(days) => LockPeriod::Days(days),
                        Period::Years(years) => LockPeriod::Years(years),
                    };
                    (lock_mode(default.mode), period)
                });
                Ok(document(ObjectLockConfiguration { default }.to_xml()))
            }
            (None, "object-lock", SubResourceAction::Put) => {
                let default = ObjectLockConfiguration::of_client(&xml)?.default.map(|(mode, period)| {
                    let period = match period {
                        LockPeriod::Days(days) => Period::Days(days),
                        LockPeriod::Years(years) => Period::Years(years),
                    };
                    DefaultRetention { mode: mode_of(mode), period }
                });
                self.blocking(move |store| store.set_bucket_lock(&bucket, BucketLock { default })).await?;
                Ok(empty(StatusCode::OK))
            }
            (None, "tagging", SubResourceAction::Get) => {
                let tags = self.blocking(move |store| store.bucket_tags(&bucket)).await?;
                Ok(document(Tagging(tags.pairs().to_vec()).to_xml()))
            }
            (None, "tagging", SubResourceAction::Put | SubResourceAction::Delete) => {
                let tags = match request.action {
                    SubResourceAction::Put => Tags::of_bucket(Tagging::of_client(&xml)?.0)?,
                    _ => Tags::default(),
                };
                self.blocking(move |store| store.set_bucket_tags(&bucket, tags)).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            (Some(key), "retention" | "legal-hold", action) => {
                let version = version_of(request.version_id.as_deref())?;
                let of = (bucket, key.clone(), version);
                self.object_lock((request.resource, action), of, &accepted.headers, &xml).await
            }
            _ => Err(S3Error::not_implemented(request.name)),
        }
    }

    async fn object_lock(
        &self,
        (resource, action): (&str, SubResourceAction),
        (bucket, key, version): (embedded::BucketName, ObjectKey, Option<VersionId>),
        headers: &HeaderMap,
        xml: &[u8],
    ) -> Result<Response<Body>, S3Error> {
        let is_retention = resource == "retention";
        if action == SubResourceAction::Get {
            let read = move |store: &Store| {
                Ok::<_, StoreError>(if is_retention {
                    let Retention { mode, until } = store.retention(&bucket, &key, version)?;
                    RetentionDocument { retention: Some((lock_mode(mode), until)) }.to_xml()
                } else {
                    LegalHold(store.legal_hold(&bucket, &key, version)?).to_xml()
                })
            };
            return Ok(document(self.blocking(read).await?));
        }
        if action != SubResourceAction::Put {
            return Err(ErrorCode::MethodNotAllowed.into());
        }
        let version = if is_retention {
            let retention = RetentionDocument::of_client(xml)?.retention;
            let retention = retention.map(|(mode, until)| Retention { mode: mode_of(mode), until });
            let bypass = bypasses_governance(headers);
            self.blocking(move |store| store.set_retention(&bucket, &key, version, retention, bypass)).await?
        } else {
            let LegalHold(is_held) = LegalHold::of_client(xml)?;
            self.blocking(move |store| store.set_legal_hold(&bucket, &key, version, is_held)).await?
        };
        about(StatusCode::OK, version)
    }
}
