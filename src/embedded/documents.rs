//! What is said of buckets and objects beside their content: versioning, tags, locks.

use std::sync::Arc;

use super::error::StoreError;
use super::object::BucketName;
use super::record::BucketRow;
use super::store::{NO_BUCKET_LOCK, Store};
use super::version::{BucketLock, Extras, Retention, Tags, VersionId, Versioning};
use crate::clock::Timestamp;
use crate::object::ObjectKey;

impl Store {
    fn bucket_row(&self, bucket: &BucketName) -> Result<BucketRow, StoreError> {
        self.inner.index.read()?.bucket(bucket)
    }

    fn change_bucket(
        &self,
        bucket: &BucketName,
        mut change: impl FnMut(&mut BucketRow) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let name = bucket.clone();
        Ok(self.inner.index.write(None, move |tables| {
            let mut row = tables.bucket(&name)?;
            change(&mut row)?;
            tables.set_bucket(&name, &row)
        })?)
    }

    /// Whether a bucket keeps versions.
    pub fn versioning(&self, bucket: &BucketName) -> Result<Versioning, StoreError> {
        Ok(self.bucket_row(bucket)?.versioning)
    }

    /// Lets a bucket keep versions, or suspends it. A bucket with an object lock keeps them for good; none goes back to
    /// [`Versioning::Never`].
    pub fn set_versioning(&self, bucket: &BucketName, versioning: Versioning) -> Result<(), StoreError> {
        if versioning == Versioning::Never {
            return Err(StoreError::InvalidRequest("versioning can only be suspended"));
        }
        self.change_bucket(bucket, move |row| {
            if row.lock.is_some() && versioning != Versioning::Enabled {
                return Err(StoreError::InvalidBucketState);
            }
            row.versioning = versioning;
            Ok(())
        })
    }

    /// A bucket's object lock.
    pub fn bucket_lock(&self, bucket: &BucketName) -> Result<BucketLock, StoreError> {
        self.bucket_row(bucket)?.lock.ok_or(StoreError::NoBucketLock)
    }

    /// Gives a bucket that keeps versions an object lock, or the one it has another default retention.
    pub fn set_bucket_lock(&self, bucket: &BucketName, lock: BucketLock) -> Result<(), StoreError> {
        if lock.default.is_some_and(|default| !default.is_valid()) {
            return Err(StoreError::InvalidRetentionPeriod);
        }
        self.change_bucket(bucket, move |row| {
            if row.versioning != Versioning::Enabled {
                return Err(StoreError::InvalidBucketState);
            }
            row.lock = Some(lock);
            Ok(())
        })
    }

    /// A bucket's tags.
    pub fn bucket_tags(&self, bucket: &BucketName) -> Result<Tags, StoreError> {
        let tags = self.bucket_row(bucket)?.tags;
        if tags.pairs().is_empty() { Err(StoreError::NoSuchTagSet) } else { Ok(tags) }
    }

    /// Replaces a bucket's tags; none removes them.
    pub fn set_bucket_tags(&self, bucket: &BucketName, tags: Tags) -> Result<(), StoreError> {
        self.change_bucket(bucket, move |row| {
            row.tags = tags.clone();
            Ok(())
        })
    }

    /// The tags of an object, or of a version of it, and which version that is.
    pub fn tags(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<(Tags, Option<VersionId>), StoreError> {
        let info = self.head_version(bucket, key, version)?;
        let mut tags = info.extras.tags;
        if let Some(hooks) = self.inner.hooks.current() {
            hooks.tags(bucket, key, &mut tags);
        }
        Ok((tags, info.version))
    }

    /// Replaces the tags of an object, or of a version of it; answers which version that is.
    pub fn set_tags(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        tags: Tags,
    ) -> Result<Option<VersionId>, StoreError> {
        self.change_extras(bucket, key, version, move |_, extras, _| {
            extras.tags = tags.clone();
            Ok(())
        })
    }

    /// Until when an object, or a version of it, cannot be deleted.
    pub fn retention(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Retention, StoreError> {
        self.locked_extras(bucket, key, version)?.lock.retention.ok_or(StoreError::NoObjectLock)
    }

    /// Changes until when an object, or a version of it, cannot be deleted. What holds is only lengthened, unless it can
    /// be bypassed and `bypass` says so.
    pub fn set_retention(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        retention: Option<Retention>,
        bypass: bool,
    ) -> Result<Option<VersionId>, StoreError> {
        self.change_extras(bucket, key, version, move |row, extras, now| {
            if row.lock.is_none() {
                return Err(NO_BUCKET_LOCK);
            }
            if retention.is_some_and(|retention| retention.until <= now) {
                return Err(StoreError::RetentionInThePast);
            }
            if !extras.lock.permits_retention(retention, now, bypass) {
                return Err(StoreError::ObjectLocked);
            }
            extras.lock.retention = retention;
            Ok(())
        })
    }

    /// Whether an object, or a version of it, is held.
    pub fn legal_hold(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<bool, StoreError> {
        self.locked_extras(bucket, key, version)?.lock.legal_hold.ok_or(StoreError::NoObjectLock)
    }

    /// Holds an object, or a version of it, or lets it go.
    pub fn set_legal_hold(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        is_held: bool,
    ) -> Result<Option<VersionId>, StoreError> {
        self.change_extras(bucket, key, version, move |row, extras, _| {
            if row.lock.is_none() {
                return Err(NO_BUCKET_LOCK);
            }
            extras.lock.legal_hold = Some(is_held);
            Ok(())
        })
    }

    fn locked_extras(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<Extras, StoreError> {
        if self.bucket_row(bucket)?.lock.is_none() {
            return Err(NO_BUCKET_LOCK);
        }
        Ok(self.head_version(bucket, key, version)?.extras)
    }

    fn change_extras(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        mut change: impl FnMut(&BucketRow, &mut Extras, Timestamp) -> Result<(), StoreError> + Send + 'static,
    ) -> Result<Option<VersionId>, StoreError> {
        let (name, key) = (bucket.clone(), key.clone());
        let clock = Arc::clone(&self.inner.clock);
        Ok(self.inner.index.write(None, move |tables| {
            let bucket = tables.bucket(&name)?;
            let (mut row, is_current) = tables.object(bucket.id, key.as_bytes(), version)?;
            change(&bucket, &mut row.extras, clock.now())?;
            let version = (bucket.versioning != Versioning::Never).then_some(row.version());
            tables.change_object(bucket.id, key.as_bytes(), row, is_current)?;
            Ok(version)
        })?)
    }
}
