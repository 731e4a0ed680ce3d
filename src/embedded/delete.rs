//! Deletions: of objects, which leave a delete marker where versions are kept, and of versions.

use std::sync::Arc;

use super::error::StoreError;
use super::index::Tables;
use super::object::{BucketName, WriteCondition};
use super::record::{BucketRow, MarkerRow, ObjectRow, VersionRow};
use super::store::{Store, new_version};
use super::version::{VersionId, Versioning};
use crate::clock::Timestamp;
use crate::object::ObjectKey;

/// What to delete.
#[derive(Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Of which key.
    pub key: ObjectKey,
    /// This version of it, for good; without one the object, of which versions may be kept.
    pub version: Option<VersionId>,
    /// What must hold of the current object.
    pub condition: WriteCondition,
    /// Whether a retention that can be bypassed is no obstacle.
    pub bypass_governance: bool,
}

impl Deletion {
    /// Of an object, or of one version of it, in any case.
    #[must_use]
    pub const fn of(key: ObjectKey, version: Option<VersionId>) -> Self {
        Self { key, version, condition: WriteCondition::None, bypass_governance: false }
    }
}

/// What a deletion answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Whether what was to be deleted was there.
    pub was_there: bool,
    /// The version that was deleted, or the delete marker that was made; none in a bucket that never kept versions.
    pub version: Option<VersionId>,
    /// Whether that is a delete marker.
    pub is_marker: bool,
}

impl Store {
    /// Removes an object; one that is not there is removed already. Answers whether it was there.
    pub fn delete(&self, bucket: &BucketName, key: &ObjectKey) -> Result<bool, StoreError> {
        self.delete_if(bucket, key, WriteCondition::None)
    }

    /// Removes an object if `condition` holds of what is there; answers whether something was.
    pub fn delete_if(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        condition: WriteCondition,
    ) -> Result<bool, StoreError> {
        let deletion = Deletion { condition, ..Deletion::of(key.clone(), None) };
        Ok(self.delete_version(bucket, deletion)?.was_there)
    }

    /// Deletes an object or a version of one. A version that is not there is deleted already.
    pub fn delete_version(&self, bucket: &BucketName, deletion: Deletion) -> Result<Deleted, StoreError> {
        let mut answers = self.delete_versions(bucket, vec![deletion])?;
        answers.pop().unwrap_or(Err(StoreError::InvalidRequest("nothing to delete")))
    }

    /// Removes objects in one step; answers of each whether it was there. At most 1000.
    pub fn delete_many(&self, bucket: &BucketName, keys: &[ObjectKey]) -> Result<Vec<bool>, StoreError> {
        let deletions = keys.iter().map(|key| Deletion::of(key.clone(), None)).collect();
        let answers = self.delete_versions(bucket, deletions)?;
        answers.into_iter().map(|answer| Ok(answer?.was_there)).collect()
    }

    /// Deletes objects and versions in one transaction, each judged by itself. At most 1000.
    pub fn delete_versions(
        &self,
        bucket: &BucketName,
        deletions: Vec<Deletion>,
    ) -> Result<Vec<Result<Deleted, StoreError>>, StoreError> {
        if deletions.len() > 1000 {
            return Err(StoreError::InvalidRequest("at most 1000 keys at once"));
        }
        let hooks = self.inner.hooks.current();
        let mut deletions = deletions;
        for deletion in &mut deletions {
            if let Some(hooks) = &hooks {
                hooks.write_condition(bucket, &deletion.key, &mut deletion.condition);
            }
        }
        let keys: Vec<_> = deletions.iter().map(|deletion| deletion.key.clone()).collect();
        let (name, clock) = (bucket.clone(), Arc::clone(&self.inner.clock));
        let mut answers = self.inner.index.write(None, move |tables| {
            let (row, now) = (tables.bucket(&name)?, clock.now());
            let mut answers = Vec::with_capacity(deletions.len());
            for deletion in &deletions {
                match deletion.run(tables, &row, now) {
                    Err(error) if error.is_fatal() => return Err(error),
                    answer => answers.push(answer),
                }
            }
            Ok(answers)
        })?;
        if let Some(hooks) = hooks {
            for (key, answer) in keys.iter().zip(&mut answers) {
                if let Ok(deleted) = answer {
                    hooks.deleted(bucket, key, deleted);
                }
            }
        }
        Ok(answers)
    }
}

impl Deletion {
    /// Within a transaction; refuses before it changes anything.
    fn run(&self, tables: &mut Tables<'_>, bucket: &BucketRow, now: Timestamp) -> Result<Deleted, StoreError> {
        let key = self.key.as_bytes();
        let current = tables.current(bucket.id, key)?;
        self.condition.check(current.as_ref().map(ObjectRow::etag).as_ref())?;
        if let Some(version) = self.version {
            let Some(found) = tables.find(bucket.id, key, version)? else {
                return Ok(Deleted { was_there: false, version: Some(version), is_marker: false });
            };
            if let VersionRow::Object(object) = &found.row
                && !object.extras.lock.permits_deletion(now, self.bypass_governance)
            {
                return Err(StoreError::ObjectLocked);
            }
            tables.remove_version(bucket.id, key, &found)?;
            let is_marker = matches!(found.row, VersionRow::Marker(_));
            return Ok(Deleted { was_there: true, version: Some(version), is_marker });
        }
        let was_there = current.is_some();
        if bucket.versioning == Versioning::Never {
            // there is no other version than null here
            if let Some(found) = tables.find(bucket.id, key, VersionId::NULL)? {
                tables.remove_version(bucket.id, key, &found)?;
            }
            return Ok(Deleted { was_there, version: None, is_marker: false });
        }
        let sequence = tables.next_sequence();
        let (is_null, version) = new_version(bucket, sequence);
        tables.add_marker(bucket, key, MarkerRow { modified: now, sequence, is_null })?;
        Ok(Deleted { was_there, version, is_marker: true })
    }
}
