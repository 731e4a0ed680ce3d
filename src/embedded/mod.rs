//! The embedded store: an S3-shaped object store on a local folder, in process: a core without a protocol, and its S3 face.
//!
//! For the demo, tests and small installations. Everything here is synchronous; asynchronous callers use their
//! runtime's blocking pool. Memory is flat: bodies stream both ways.
//!
//! # The folder
//!
//! ```text
//! LOCK                            held while the store is open
//! index.redb                      locked as well: all names, sizes, tags, metadata, uploads: one ordered index
//! bodies/00000000000000000042     one immutable body: of an object put whole, or of one part
//! bodies/00000000000000000043.tmp a body on its way in
//! ```
//!
//! Keys are never file names: any 1 to 1024 bytes are a key. An object is a list of segments, runs of bytes in body
//! files, so completing an upload and copying an object copy no bytes; the index counts how many segments name a file.
//!
//! # Versions
//!
//! A bucket never kept versions, keeps them, or has suspended them. The current object of a key is in one table, its older
//! versions and all delete markers in another, newest first; so a listing of objects costs the same with versions and
//! without. A version moves from one to the other in the transaction that replaces, deletes or uncovers it. Ids come from
//! the counter of the index and are never given out twice; `null` is what was written without versions or while they are
//! suspended, and there is one of a key at most. Conditions of writes and deletions are judged by the current object, and
//! a delete marker is none.
//!
//! Tags and lock lie in a version's row and are changed there. A deletion is judged by the version's lock and the clock in
//! the transaction that would delete it; only a version that is named by its id can be deleted at all where there are
//! locks, for such a bucket keeps versions for good.
//!
//! # Durability
//!
//! ```text
//! write temporary file → fsync → rename to its number → fsync folder → one transaction: check, swap, fsync → answer
//!                                                                    → unlink what nothing names any more
//! ```
//!
//! - The transaction checks the condition of the request and makes the object visible. So a condition holds at the very
//!   moment of the write, and an object is there whole or not at all.
//! - Writers that arrive while another commits wait and then share one folder fsync and one transaction.
//! - A kill or power loss at any point leaves the old object or the new one, whole. What else it leaves are files that
//!   the index does not name: the sweep at open removes them.
//! - Numbers are leased from the index in blocks and never used twice, so a name that was read from an older state
//!   cannot mean another body.
//! - A body that is being read stays until the last reader is done, whatever happens to its object.
//! - If a step fails (disk full, I/O error), nothing has changed. If the commit itself fails, the answer is an error and
//!   the object is the old one or the new one, whole, as after a crash: the index is opened again by the next request
//!   that finds the disk working, and files whose fate is open are kept until the next sweep.
//! - A sync that failed is not tried again and then believed, for the system forgets what it lost: bodies renamed before
//!   a failed sync of the folder are refused, and after one of the index its file is written again as it reads.
//! - Writers that share a transaction share its failure, also those it would have refused: they saw the others' writes.
//!
//! The caller's duty: the folder belongs to the store alone and lies on a local file system whose `fsync`
//! keeps its word. The store does not encrypt; it checks no digests on read (the gateway's format does both).
//!
//! # What differs from S3
//!
//! - A copy keeps the source's `ETag` and parts, also that of an object completed from parts.
//! - Completing an upload a second time is `NoSuchUpload`.
//! - No ACLs, policies, replication or life cycle, and no deletion by a second factor (MFA delete).
//! - A year of a default retention has 365 days.
//! - An upload's default retention counts from its completion, not from its beginning.
//!
//! The layout has a version, checked at open. A folder of the first layout, which had no versions, is read as it is, and
//! from then on refused by what knows that layout only.

mod body;
mod delete;
mod documents;
mod error;
pub mod face;
mod fault;
mod index;
mod list;
mod multipart;
mod object;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod version;

pub use body::BodyReader;
pub use delete::{Deleted, Deletion};
pub use error::StoreError;
pub use fault::{Hooks, Step};
pub use list::{ListPage, ListRequest, ListVersionsRequest, ListedObject, ListedVersion, VersionsPage};
pub use multipart::{
    ListUploadsRequest, ListedPart, ListedUpload, PartCopy, PartWriter, PartsPage, Upload, UploadId, UploadsPage,
};
pub use object::{
    BucketName, ETag, ETagMatch, ObjectInfo, ObjectMeta, ReadCondition, ReadRange, Verdict, WriteCondition,
};
pub use store::{Body, Bucket, CopyRequest, Durability, Limits, Object, Options, PutWriter, Store, Written};
pub use version::{
    BucketLock, DefaultRetention, Extras, ObjectLock, Period, Retention, RetentionMode, Tags, VersionId, Versioning,
};
