//! The store: buckets and objects.

use std::fmt;
use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, Read, Write as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use redb::{ReadableTable as _, ReadableTableMetadata as _};

use super::body::{Bodies, BodyReader, FolderLock, NewBody, sync_folder};
use super::error::StoreError;
use super::fault::{HookCell, Hooks};
use super::index::{Index, LAYOUT_VERSION, Tables, View, bucket_range};
use super::object::{BucketName, ETag, ObjectInfo, ObjectMeta, ReadCondition, ReadRange, Verdict, WriteCondition};
use super::record::{BodyRef, BucketRow, LayoutPart, ObjectRow, Segment};
use crate::clock::{Clock, Timestamp};
use crate::crypto::random::RandomSource;
use crate::object::{ObjectKey, PartNumber};

/// Whether an answer waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Every answer is on the disk.
    #[default]
    Full,
    /// Nothing is forced to the disk: a kill of the process harms nothing, but a crash of the machine may destroy the
    /// store, also later: what was written so is not forced to the disk afterwards. For tests that do not care.
    None,
}

/// The sizes the store allows. The default is S3's.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The smallest part but for the last: 5 MiB.
    pub min_part: u64,
    /// The largest body of one PUT, part or copy: 5 GiB.
    pub max_body: u64,
    /// The largest object completed from parts: 5 TiB.
    pub max_object: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { min_part: 5 << 20, max_body: 5 << 30, max_object: 5 << 40 }
    }
}

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// Whether answers wait for the disk.
    pub durability: Durability,
    /// The sizes allowed.
    pub limits: Limits,
    /// Memory for the index's pages, in bytes.
    pub cache: usize,
    /// Tells when things were written.
    pub clock: Arc<dyn Clock>,
    /// Upload ids are drawn from it.
    pub random: Arc<RandomSource>,
}

impl Options {
    /// Full durability, S3's limits, 64 MiB of cache.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, random: Arc<RandomSource>) -> Self {
        Self { durability: Durability::Full, limits: Limits::default(), cache: 64 << 20, clock, random }
    }
}

/// An open store. Clones are the same store; the folder is free again when the last clone, writer and reader is gone.
#[derive(Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    /// Before the bodies, which hold the folder's lock: the index is closed before the folder is free.
    pub(super) index: Index,
    pub(super) bodies: Arc<Bodies>,
    pub(super) hooks: HookCell,
    pub(super) limits: Limits,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<RandomSource>,
    swept: u64,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("index", &self.inner.index).finish_non_exhaustive()
    }
}

/// A bucket of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: BucketName,
    /// When it was made.
    pub created: Timestamp,
}

/// What a write answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The `ETag` of what was written.
    pub etag: ETag,
    /// When.
    pub modified: Timestamp,
    /// How many bytes.
    pub size: u64,
}

/// An object to be read: one version, whatever happens to the key meanwhile.
#[derive(Debug)]
pub struct Object {
    /// What is known of it.
    pub info: ObjectInfo,
    /// The bytes that `body` gives, half-open.
    pub range: Range<u64>,
    /// The bytes.
    pub body: Body,
}

/// The bytes of an object.
pub struct Body(Source);

enum Source {
    Honest(BodyReader),
    Altered(Box<dyn Read + Send>),
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Honest(body) => body.read(out),
            Source::Altered(body) => body.read(out),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::Honest(_) => "Body",
            Source::Altered(_) => "Body(altered)",
        })
    }
}

/// A copy within the store.
#[derive(Clone)]
pub struct CopyRequest<'a> {
    /// The source's bucket.
    pub from_bucket: &'a BucketName,
    /// The source.
    pub from_key: &'a ObjectKey,
    /// What must hold of the source.
    pub from_condition: ReadCondition,
    /// The target's bucket.
    pub bucket: &'a BucketName,
    /// The target.
    pub key: &'a ObjectKey,
    /// New metadata, or none to keep the source's.
    pub meta: Option<ObjectMeta>,
    /// What must hold of the target.
    pub condition: WriteCondition,
}

impl Store {
    /// Opens the store in `folder`, making both if need be, and sweeps away what a crash left.
    ///
    /// One `Store` at a time: a second one, also of another process, is [`StoreError::Locked`].
    pub fn open(folder: &Path, options: Options) -> Result<Self, StoreError> {
        create_folder(folder, options.durability)?;
        let lock = lock_folder(folder)?;
        let hooks = HookCell::default();
        let bodies = Arc::new(Bodies::open(folder.join("bodies"), lock, options.durability, hooks.clone())?);
        let index = Index::open(
            folder.join("index.redb"),
            options.cache,
            options.durability,
            hooks.clone(),
            Arc::clone(&bodies),
        )?;
        if options.durability == Durability::Full {
            sync_folder(folder)?;
        }
        let swept = index.sweep()?;
        let Options { limits, clock, random, .. } = options;
        Ok(Self { inner: Arc::new(Inner { index, bodies, hooks, limits, clock, random, swept }) })
    }

    /// How many files the sweep removed when the store was opened.
    #[must_use]
    pub fn swept(&self) -> u64 {
        self.inner.swept
    }

    /// Makes the store lie or fail, for tests; `None` makes it honest again. See [`Hooks`].
    pub fn set_hooks(&self, hooks: Option<Arc<dyn Hooks>>) {
        self.inner.hooks.set(hooks);
    }

    /// Makes a bucket.
    pub fn create_bucket(&self, bucket: &BucketName) -> Result<(), StoreError> {
        let (name, created) = (bucket.clone(), self.inner.clock.now());
        Ok(self.inner.index.write(None, move |tables| {
            if tables.buckets.get(name.as_str())?.is_some() {
                return Err(StoreError::BucketAlreadyOwnedByYou);
            }
            let row = BucketRow { id: tables.next_sequence(), created };
            tables.buckets.insert(name.as_str(), &row.encode()[..])?;
            Ok(())
        })?)
    }

    /// Removes a bucket that holds neither objects nor unfinished uploads.
    pub fn delete_bucket(&self, bucket: &BucketName) -> Result<(), StoreError> {
        let name = bucket.clone();
        Ok(self.inner.index.write(None, move |tables| {
            let id = tables.bucket(&name)?;
            let all = bucket_range(id, std::ops::Bound::Unbounded);
            let object = tables.objects.range(all)?.next().transpose()?.is_some();
            let empty: &[u8] = &[];
            let upload =
                tables.uploads.range((id, empty, "")..(id.saturating_add(1), empty, ""))?.next().transpose()?.is_some();
            if object || upload {
                return Err(StoreError::BucketNotEmpty);
            }
            tables.buckets.remove(name.as_str())?;
            Ok(())
        })?)
    }

    /// Whether there is such a bucket, and since when.
    pub fn head_bucket(&self, bucket: &BucketName) -> Result<Bucket, StoreError> {
        let buckets = self.inner.index.read()?.buckets()?;
        let row = buckets.get(bucket.as_str())?.ok_or(StoreError::NoSuchBucket)?;
        Ok(Bucket { name: bucket.clone(), created: BucketRow::decode(row.value())?.created })
    }

    /// All buckets, by name.
    pub fn list_buckets(&self) -> Result<Vec<Bucket>, StoreError> {
        let table = self.inner.index.read()?.buckets()?;
        let mut buckets = Vec::with_capacity(usize::try_from(table.len()?).unwrap_or(0));
        for row in table.range::<&str>(..)? {
            let (name, row) = row?;
            let created = BucketRow::decode(row.value())?.created;
            buckets.push(Bucket { name: name.value().parse()?, created });
        }
        Ok(buckets)
    }

    /// Begins an object; nothing is visible before [`PutWriter::commit`].
    pub fn put(&self, bucket: &BucketName, key: &ObjectKey) -> Result<PutWriter, StoreError> {
        self.inner.index.read()?.bucket(bucket)?;
        let body = NewBody::new(&self.inner.bodies, self.inner.limits.max_body);
        Ok(PutWriter { store: self.clone(), bucket: bucket.clone(), key: key.clone(), body })
    }

    /// What is known of an object.
    pub fn head(&self, bucket: &BucketName, key: &ObjectKey) -> Result<ObjectInfo, StoreError> {
        let view = self.inner.index.read()?;
        let mut info = view.object(view.bucket(bucket)?, key.as_bytes())?.info();
        if let Some(hooks) = self.inner.hooks.current() {
            hooks.info(bucket, key, &mut info);
        }
        Ok(info)
    }

    /// What is known of an object's parts: number and size of each, in order; none if it came in one piece.
    pub fn object_parts(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Option<Vec<(PartNumber, u64)>>, StoreError> {
        let view = self.inner.index.read()?;
        let row = view.object(view.bucket(bucket)?, key.as_bytes())?;
        let Some(layout) = view.layout(&row)? else { return Ok(None) };
        layout.iter().map(|p| Ok((part_number(p.number)?, p.size))).collect::<Result<_, _>>().map(Some)
    }

    /// Opens an object for reading, if the conditions hold.
    pub fn get(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        condition: &ReadCondition,
        range: ReadRange,
    ) -> Result<Object, StoreError> {
        let hooks = self.inner.hooks.current();
        let mut range = range;
        if let Some(hooks) = &hooks {
            hooks.range(bucket, key, &mut range);
        }
        let (mut info, range, reader) = self.open_object(bucket, key, condition, range)?;
        let body = match hooks {
            None => Source::Honest(reader),
            Some(hooks) => {
                hooks.info(bucket, key, &mut info);
                Source::Altered(hooks.body(bucket, key, range.start, Box::new(reader)))
            }
        };
        Ok(Object { info, range, body: Body(body) })
    }

    /// [`Store::get`] as it is, whatever the hooks.
    pub(super) fn open_object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        condition: &ReadCondition,
        range: ReadRange,
    ) -> Result<(ObjectInfo, Range<u64>, BodyReader), StoreError> {
        let ((info, range), pinned) = self.inner.bodies.pin(|| {
            let view = self.inner.index.read()?;
            let row = view.object(view.bucket(bucket)?, key.as_bytes())?;
            let etag = row.etag();
            match condition.evaluate(&etag, row.modified) {
                Verdict::Proceed => {}
                Verdict::NotModified => return Err(StoreError::NotModified { etag, modified: row.modified }),
                Verdict::PreconditionFailed => return Err(StoreError::PreconditionFailed),
            }
            let (segments, range) = locate(&view, &row, range)?;
            Ok(((row.info(), range), segments))
        })?;
        let reader = pinned.read(&range);
        Ok((info, range, reader))
    }

    /// Removes an object; one that is not there is removed already. Answers whether it was there.
    pub fn delete(&self, bucket: &BucketName, key: &ObjectKey) -> Result<bool, StoreError> {
        Ok(self.delete_many(bucket, std::slice::from_ref(key))?.first() == Some(&true))
    }

    /// Removes an object if `condition` holds of what is there; answers whether something was.
    pub fn delete_if(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        condition: WriteCondition,
    ) -> Result<bool, StoreError> {
        let (bucket, key) = (bucket.clone(), key.clone());
        Ok(self.inner.index.write(None, move |tables| {
            let id = tables.bucket(&bucket)?;
            let old = tables.object(id, key.as_bytes())?;
            condition.check(old.as_ref().map(ObjectRow::etag).as_ref())?;
            tables.remove_object(id, key.as_bytes())
        })?)
    }

    /// Removes objects in one step; answers of each whether it was there. At most 1000.
    pub fn delete_many(&self, bucket: &BucketName, keys: &[ObjectKey]) -> Result<Vec<bool>, StoreError> {
        if keys.len() > 1000 {
            return Err(StoreError::InvalidRequest("at most 1000 keys at once"));
        }
        let (bucket, keys) = (bucket.clone(), keys.to_vec());
        Ok(self.inner.index.write(None, move |tables| {
            let id = tables.bucket(&bucket)?;
            keys.iter().map(|key| tables.remove_object(id, key.as_bytes())).collect::<Result<Vec<_>, _>>()
        })?)
    }

    /// Copies an object within the store: its segments get a second name, no bytes are copied.
    ///
    /// The source is read, both conditions are checked and the copy is made in one transaction. The copy keeps the
    /// source's `ETag` and parts. A source of more than [`Limits::max_body`] is refused, as in S3.
    pub fn copy(&self, request: CopyRequest<'_>) -> Result<Written, StoreError> {
        let CopyRequest { from_bucket, from_key, from_condition, bucket, key, meta, condition } = request;
        if meta.is_none() && (from_bucket, from_key) == (bucket, key) {
            return Err(StoreError::InvalidRequest("a copy of an object to itself must change its metadata"));
        }
        if let Some(meta) = &meta {
            meta.check()?;
        }
        let (from, from_key) = (from_bucket.clone(), from_key.clone());
        let (to, to_key) = (bucket.clone(), key.clone());
        let (max, modified) = (self.inner.limits.max_body, self.inner.clock.now());
        let written = self.inner.index.write(None, move |tables| {
            let (from, to) = (tables.bucket(&from)?, tables.bucket(&to)?);
            let source = tables.object(from, from_key.as_bytes())?.ok_or(StoreError::NoSuchKey)?;
            if from_condition.evaluate(&source.etag(), source.modified) != Verdict::Proceed {
                return Err(StoreError::PreconditionFailed);
            }
            if source.size > max {
                return Err(StoreError::InvalidRequest("the source is too large to be copied at once"));
            }
            let old = tables.object(to, to_key.as_bytes())?;
            condition.check(old.as_ref().map(ObjectRow::etag).as_ref())?;
            copy_row(tables, to, &to_key, &source, old.as_ref(), meta.as_ref(), modified)
        })?;
        Ok(self.altered(bucket, key, written))
    }

    /// What a write answers, through the hooks.
    pub(super) fn altered(&self, bucket: &BucketName, key: &ObjectKey, mut written: Written) -> Written {
        if let Some(hooks) = self.inner.hooks.current() {
            hooks.written(bucket, key, &mut written);
        }
        written
    }
}

/// The name of the copy is counted before the old object's are dropped: a copy to itself keeps its files.
fn copy_row(
    tables: &mut Tables<'_>,
    bucket: u64,
    key: &ObjectKey,
    source: &ObjectRow,
    old: Option<&ObjectRow>,
    meta: Option<&ObjectMeta>,
    modified: Timestamp,
) -> Result<Written, StoreError> {
    let sequence = tables.next_sequence();
    let parts = tables.layout(source)?;
    let body = match source.body {
        BodyRef::Layout(_) => BodyRef::Layout(sequence),
        other => other,
    };
    let named = match source.body {
        BodyRef::One(segment) => vec![segment],
        _ => parts.iter().flatten().flat_map(|part| part.segments.iter().copied()).collect(),
    };
    for segment in named {
        tables.name_again(segment)?;
    }
    let row = ObjectRow { sequence, modified, body, meta: meta.unwrap_or(&source.meta).clone(), ..source.clone() };
    tables.replace_object(bucket, key.as_bytes(), old, &row, parts.as_deref())?;
    Ok(Written { etag: row.etag(), modified, size: row.size })
}

/// All segments of an object, and the bytes of it that `range` means.
fn locate(view: &View, row: &ObjectRow, range: ReadRange) -> Result<(Vec<Segment>, Range<u64>), StoreError> {
    let parts = view.layout(row)?;
    let range = range.resolve(row.size, |number| part_range(parts.as_deref(), row.size, number))?;
    let segments = match row.body {
        BodyRef::Empty => Vec::new(),
        BodyRef::One(segment) => vec![segment],
        BodyRef::Layout(_) => parts.into_iter().flatten().flat_map(|part| part.segments).collect(),
    };
    Ok((segments, range))
}

/// S3 counts parts of a finished object by their position, whatever number they were uploaded under.
fn part_range(parts: Option<&[LayoutPart]>, size: u64, number: PartNumber) -> Option<Range<u64>> {
    let Some(parts) = parts else { return (number.get() == 1).then_some(0..size) };
    let index = usize::try_from(number.get()).ok()?.checked_sub(1)?;
    let (before, rest) = parts.split_at_checked(index)?;
    let start = before.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.size))?;
    Some(start..start.checked_add(rest.first()?.size)?)
}

pub(super) fn part_number(number: u32) -> Result<PartNumber, StoreError> {
    PartNumber::new(number).map_err(|_| StoreError::Corrupt("a part has no valid number"))
}

/// An object on its way in. Dropped without a commit, it leaves nothing.
pub struct PutWriter {
    store: Store,
    bucket: BucketName,
    key: ObjectKey,
    body: NewBody,
}

impl PutWriter {
    /// Appends to the body. After an error the body is lost.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let index = &self.store.inner.index;
        self.body.write(bytes, || index.number())
    }

    /// How many bytes were written.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.body.len()
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.len() == 0
    }

    /// MD5 of what was written.
    #[must_use]
    pub fn md5(&self) -> [u8; 16] {
        self.body.md5()
    }

    /// Makes the object visible if `condition` holds at that moment, in place of any older one.
    pub fn commit(mut self, meta: ObjectMeta, condition: WriteCondition) -> Result<Written, StoreError> {
        meta.check()?;
        let segment = self.body.finish()?;
        let (size, md5) = (self.body.len(), self.body.md5());
        let modified = self.store.inner.clock.now();
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        let job = move |tables: &mut Tables<'_>| {
            let id = tables.bucket(&bucket)?;
            let old = tables.object(id, key.as_bytes())?;
            condition.check(old.as_ref().map(ObjectRow::etag).as_ref())?;
            let body = match segment {
                Some(segment) => {
                    tables.name_new(segment)?;
                    BodyRef::One(segment)
                }
                None => BodyRef::Empty,
            };
            let sequence = tables.next_sequence();
            let row = ObjectRow { size, md5, parts: 0, modified, sequence, body, meta: meta.clone() };
            tables.replace_object(id, key.as_bytes(), old.as_ref(), &row, None)?;
            Ok(Written { etag: row.etag(), modified, size })
        };
        let written = self.body.named_by(|renamed| self.store.inner.index.write(renamed, job))?;
        Ok(self.store.altered(&self.bucket, &self.key, written))
    }
}

/// Makes the folder and those above it, from the top, each durable in the one above before the next is made.
fn create_folder(folder: &Path, durability: Durability) -> io::Result<()> {
    let in_its_parent = |made: &Path| match durability {
        Durability::Full => sync_folder(made.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))),
        Durability::None => Ok(()),
    };
    let missing: Vec<_> = folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).collect();
    // the lowest that is there may be what a kill left between its making and its sync; but most often it was not made
    // by us, and its parent may be one that cannot be synced
    let there = missing.last().map_or(Some(folder), |made| made.parent());
    let _ = there.filter(|f| !f.as_os_str().is_empty()).map(in_its_parent);
    for folder in missing.into_iter().rev() {
        fs::create_dir_all(folder)?;
        in_its_parent(folder)?;
    }
    Ok(())
}

fn lock_folder(folder: &Path) -> Result<FolderLock, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut lock = options.open(folder.join("LOCK"))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    if lock.metadata()?.len() == 0 {
        writeln!(lock, "sealgate embedded store, layout {LAYOUT_VERSION}")?;
    }
    Ok(FolderLock(lock))
}
