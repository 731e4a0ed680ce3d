//! Hooks to lie and to fail, for in-process tests.
//!
//! A gateway must hold before a store that lies: about sizes, tags, metadata, bytes, order. A test gives the store an
//! implementation of [`Hooks`] with [`super::Store::set_hooks`]; each method may alter the one answer it is handed.
//! [`Hooks::step`] fails, delays or kills at a chosen step of the durability protocol. No configuration, environment
//! or request reaches this: without that call the store is honest.

use std::io::{self, Read};
use std::sync::{Arc, PoisonError, RwLock};

use super::delete::Deleted;
use super::list::{ListPage, VersionsPage};
use super::multipart::{PartsPage, UploadsPage};
use super::object::{BucketName, ObjectInfo, ReadRange, WriteCondition};
use super::store::Written;
use super::version::{Tags, VersionId};
use crate::object::ObjectKey;

/// A step of the durability protocol, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before the temporary file is made.
    Create,
    /// Before bytes are written to the temporary file.
    Write,
    /// Before the temporary file is synced.
    SyncBody,
    /// Before it is renamed to its number.
    Rename,
    /// Before the folder is synced.
    SyncFolder,
    /// Before the index's transaction begins.
    Begin,
    /// Before the index's transaction commits.
    Commit,
    /// Before the index writes to its file.
    IndexWrite,
    /// Before the index syncs its file.
    IndexSync,
    /// After the commit, before a body that is no longer named is removed.
    Unlink,
}

/// What a lying or failing store does. Every method's default is the honest answer.
pub trait Hooks: Send + Sync {
    /// Alters what HEAD and GET say of an object.
    fn info(&self, _bucket: &BucketName, _key: &ObjectKey, _info: &mut ObjectInfo) {}
    /// Reads another version than was asked for.
    fn version(&self, _bucket: &BucketName, _key: &ObjectKey, _version: &mut Option<VersionId>) {}
    /// Reads another range than was asked for.
    fn range(&self, _bucket: &BucketName, _key: &ObjectKey, _range: &mut ReadRange) {}
    /// Alters, shortens or lengthens a body on its way out; `start` is the offset of its first byte.
    fn body(
        &self,
        _bucket: &BucketName,
        _key: &ObjectKey,
        _start: u64,
        body: Box<dyn Read + Send>,
    ) -> Box<dyn Read + Send> {
        body
    }
    /// Alters a listing.
    fn list(&self, _bucket: &BucketName, _page: &mut ListPage) {}
    /// Alters a listing of versions.
    fn list_versions(&self, _bucket: &BucketName, _page: &mut VersionsPage) {}
    /// Alters what is said of an object's tags.
    fn tags(&self, _bucket: &BucketName, _key: &ObjectKey, _tags: &mut Tags) {}
    /// Alters a listing of parts.
    fn list_parts(&self, _bucket: &BucketName, _key: &ObjectKey, _page: &mut PartsPage) {}
    /// Alters a listing of uploads.
    fn list_uploads(&self, _bucket: &BucketName, _page: &mut UploadsPage) {}
    /// Judges a write or a deletion by another condition than was asked for.
    fn write_condition(&self, _bucket: &BucketName, _key: &ObjectKey, _condition: &mut WriteCondition) {}
    /// Alters what a deletion answers once it has happened.
    fn deleted(&self, _bucket: &BucketName, _key: &ObjectKey, _deleted: &mut Deleted) {}
    /// Alters what PUT, `UploadPart`, Copy and Complete answer once they have happened.
    fn written(&self, _bucket: &BucketName, _key: &ObjectKey, _written: &mut Written) {}
    /// Fails a step of the durability protocol; may also wait, or end the process.
    fn step(&self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}

/// Where the hooks hang; shared by all that act.
#[derive(Clone, Default)]
pub(super) struct HookCell(Arc<RwLock<Option<Arc<dyn Hooks>>>>);

impl HookCell {
    pub(super) fn set(&self, hooks: Option<Arc<dyn Hooks>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hooks;
    }

    pub(super) fn current(&self) -> Option<Arc<dyn Hooks>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn step(&self, step: Step) -> io::Result<()> {
        self.current().map_or(Ok(()), |hooks| hooks.step(step))
    }
}

impl std::fmt::Debug for HookCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.current().is_some() { "HookCell(set)" } else { "HookCell(none)" })
    }
}
