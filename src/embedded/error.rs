//! One error type: S3's refusals by name, and the store's own failures.

use std::io;

use thiserror::Error;

use super::object::ETag;
use super::version::VersionId;
use crate::clock::Timestamp;

/// Why the store did not do what it was asked. Whatever was refused or failed has changed nothing; only after
/// [`StoreError::Index`] a write may turn out to have happened, whole.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There is no such bucket.
    #[error("there is no such bucket")]
    NoSuchBucket,
    /// There is no such object.
    #[error("there is no such object")]
    NoSuchKey,
    /// There is no such version.
    #[error("there is no such version")]
    NoSuchVersion,
    /// What is asked for is a delete marker.
    #[error("it is a delete marker")]
    DeleteMarker {
        /// Which one.
        version: VersionId,
        /// When it was made.
        modified: Timestamp,
        /// Whether it was asked for by its id, and not met as the current version.
        by_id: bool,
    },
    /// No version has an id like this one.
    #[error("no version has an id like this one")]
    InvalidVersionId,
    /// There is no such unfinished upload: never begun, completed, or aborted.
    #[error("there is no such unfinished upload")]
    NoSuchUpload,
    /// The bucket exists already.
    #[error("the bucket exists already")]
    BucketAlreadyOwnedByYou,
    /// The bucket still holds objects or unfinished uploads.
    #[error("the bucket still holds objects or unfinished uploads")]
    BucketNotEmpty,
    /// The bucket's versioning and its object lock exclude each other.
    #[error("the bucket is in a state that does not allow it")]
    InvalidBucketState,
    /// The version is locked.
    #[error("the version is locked")]
    ObjectLocked,
    /// The bucket has no object lock.
    #[error("the bucket has no object lock")]
    NoBucketLock,
    /// The version has no retention, or nobody ever said whether it is held.
    #[error("the version has no such lock")]
    NoObjectLock,
    /// A time of retention that cannot be.
    #[error("no valid time of retention")]
    InvalidRetentionPeriod,
    /// A retention that ends in the past.
    #[error("the retention ends in the past")]
    RetentionInThePast,
    /// A tag breaks S3's rules.
    #[error("no valid tags: {0}")]
    InvalidTag(&'static str),
    /// The bucket has no tags.
    #[error("the bucket has no tags")]
    NoSuchTagSet,
    /// The name breaks S3's rules for buckets.
    #[error("no valid bucket name: {0}")]
    InvalidBucketName(&'static str),
    /// A condition of the request does not hold.
    #[error("a condition of the request does not hold")]
    PreconditionFailed,
    /// The reader's copy is current (304).
    #[error("not modified")]
    NotModified {
        /// The object's present ETag.
        etag: ETag,
        /// When it was written.
        modified: Timestamp,
    },
    /// No byte of the object lies in the range.
    #[error("no byte of the object lies in the range")]
    InvalidRange {
        /// The object's size.
        size: u64,
    },
    /// The object has no part of this number.
    #[error("the object has no part of this number")]
    InvalidPartNumber,
    /// A part that was named was never uploaded, or has another ETag.
    #[error("part {0} was not uploaded, or has another ETag")]
    InvalidPart(u32),
    /// The parts are not named in ascending order.
    #[error("the parts are not named in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is smaller than allowed.
    #[error("part {number} has {size} bytes; all but the last must have {minimum}")]
    EntityTooSmall {
        /// Which part.
        number: u32,
        /// Its size.
        size: u64,
        /// The smallest size allowed.
        minimum: u64,
    },
    /// A body is larger than allowed.
    #[error("the body is larger than the {maximum} bytes allowed")]
    EntityTooLarge {
        /// The largest size allowed.
        maximum: u64,
    },
    /// The metadata is larger than allowed.
    #[error("the metadata is larger than the {maximum} bytes allowed")]
    MetadataTooLarge {
        /// The largest size allowed.
        maximum: usize,
    },
    /// The request makes no sense.
    #[error("invalid request: {0}")]
    InvalidRequest(&'static str),
    /// Another process, or another [`super::Store`] of this one, has the folder open.
    #[error("the folder is in use by another process (its LOCK file is held)")]
    Locked,
    /// The folder was written by another version of this program.
    #[error("the folder has layout version {found}, this program knows {known}")]
    Layout {
        /// The version found.
        found: u64,
        /// The version this program writes.
        known: u64,
    },
    /// What is on disk is not what was written there.
    #[error("the store is damaged: {0}")]
    Corrupt(&'static str),
    /// The file system failed.
    #[error("the file system failed: {0}")]
    Io(#[from] io::Error),
    /// The index failed.
    #[error("the index failed: {0}")]
    Index(String),
    /// The operating system gave no randomness for an upload id.
    #[error("the operating system gave no randomness")]
    Random,
}

impl StoreError {
    /// S3's code for the error, or none where S3 answers without one (304).
    #[must_use]
    pub fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotModified { .. } => return None,
            Self::NoSuchBucket => "NoSuchBucket",
            Self::NoSuchKey | Self::DeleteMarker { by_id: false, .. } => "NoSuchKey",
            Self::DeleteMarker { by_id: true, .. } => "MethodNotAllowed",
            Self::NoSuchVersion => "NoSuchVersion",
            Self::InvalidVersionId | Self::RetentionInThePast => "InvalidArgument",
            Self::InvalidBucketState => "InvalidBucketState",
            Self::ObjectLocked => "AccessDenied",
            Self::NoBucketLock => "ObjectLockConfigurationNotFoundError",
            Self::NoObjectLock => "NoSuchObjectLockConfiguration",
            Self::InvalidRetentionPeriod => "InvalidRetentionPeriod",
            Self::InvalidTag(_) => "InvalidTag",
            Self::NoSuchTagSet => "NoSuchTagSet",
            Self::NoSuchUpload => "NoSuchUpload",
            Self::BucketAlreadyOwnedByYou => "BucketAlreadyOwnedByYou",
            Self::BucketNotEmpty => "BucketNotEmpty",
            Self::InvalidBucketName(_) => "InvalidBucketName",
            Self::PreconditionFailed => "PreconditionFailed",
            Self::InvalidRange { .. } => "InvalidRange",
            Self::InvalidPartNumber => "InvalidPartNumber",
            Self::InvalidPart(_) => "InvalidPart",
            Self::InvalidPartOrder => "InvalidPartOrder",
            Self::EntityTooSmall { .. } => "EntityTooSmall",
            Self::EntityTooLarge { .. } => "EntityTooLarge",
            Self::MetadataTooLarge { .. } => "MetadataTooLarge",
            Self::InvalidRequest(_) => "InvalidRequest",
            Self::Locked | Self::Layout { .. } | Self::Corrupt(_) | Self::Io(_) | Self::Index(_) | Self::Random => {
                "InternalError"
            }
        })
    }

    /// Whether the failure is the store's own rather than an answer to the request.
    pub(super) fn is_fatal(&self) -> bool {
        self.code() == Some("InternalError")
    }
}

macro_rules! from_redb {
    ($($name:ident),*) => {$(
        impl From<redb::$name> for StoreError {
            fn from(error: redb::$name) -> Self {
                Self::Index(error.to_string())
            }
        }
    )*};
}

from_redb!(CommitError, DatabaseError, SetDurabilityError, StorageError, TableError, TransactionError);
