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
use super::index::{Index, Tables, View, bucket_range};
use super::object::{BucketName, ETag, ObjectInfo, ObjectMeta, ReadCondition, ReadRange, Verdict, WriteCondition};
use super::record::{BodyRef, BucketRow, LayoutPart, ObjectRow, Segment};
use super::version::{BucketLock, Extras, ObjectLock, Tags, VersionId, Versioning};
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
    /// The version that was written; none in a bucket that never kept any, and of parts.
    pub version: Option<VersionId>,
    /// The version that it was copied from; none if its bucket never kept any, and of what is no copy.
    pub from_version: Option<VersionId>,
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
    /// Which version of it, if not the current one.
    pub from_version: Option<VersionId>,
    /// What must hold of the source.
    pub from_condition: ReadCondition,
    /// The target's bucket.
    pub bucket: &'a BucketName,
    /// The target.
    pub key: &'a ObjectKey,
    /// New metadata, or none to keep the source's.
    pub meta: Option<ObjectMeta>,
    /// New tags, or none to keep the source's.
    pub tags: Option<Tags>,
    /// What keeps the copy from being deleted; the source's lock is never copied.
    pub lock: ObjectLock,
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
        self.create_bucket_as(bucket, Versioning::Never, None)
    }

    /// Makes a bucket with an object lock: it keeps versions, for good.
    pub fn create_bucket_with_lock(&self, bucket: &BucketName) -> Result<(), StoreError> {
        self.create_bucket_as(bucket, Versioning::Enabled, Some(BucketLock::default()))
    }

    fn create_bucket_as(
        &self,
        bucket: &BucketName,
        versioning: Versioning,
        lock: Option<BucketLock>,
    ) -> Result<(), StoreError> {
        let (name, created) = (bucket.clone(), self.inner.clock.now());
        Ok(self.inner.index.write(None, move |tables| {
            if tables.buckets.get(name.as_str())?.is_some() {
                return Err(StoreError::BucketAlreadyOwnedByYou);
            }
            let row = BucketRow { id: tables.next_sequence(), created, versioning, lock, tags: Tags::default() };
            tables.set_bucket(&name, &row)
        })?)
    }

    /// Removes a bucket that holds neither versions, delete markers among them, nor unfinished uploads.
    pub fn delete_bucket(&self, bucket: &BucketName) -> Result<(), StoreError> {
        let name = bucket.clone();
        Ok(self.inner.index.write(None, move |tables| {
            let id = tables.bucket(&name)?.id;
            let all = bucket_range(id, std::ops::Bound::Unbounded);
            let object = tables.objects.range(all)?.next().transpose()?.is_some();
            let empty: &[u8] = &[];
            let older =
                tables.versions.range((id, empty, 0)..(id.saturating_add(1), empty, 0))?.next().transpose()?.is_some();
            let upload =
                tables.uploads.range((id, empty, "")..(id.saturating_add(1), empty, ""))?.next().transpose()?.is_some();
            if object || older || upload {
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
        self.head_version(bucket, key, None)
    }

    /// What is known of a version of an object, or of the current one.
    pub fn head_version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
    ) -> Result<ObjectInfo, StoreError> {
        let hooks = self.inner.hooks.current();
        let mut version = version;
        if let Some(hooks) = &hooks {
            hooks.version(bucket, key, &mut version);
        }
        let view = self.inner.index.read()?;
        let row = view.bucket(bucket)?;
        let mut info = view.object(row.id, key.as_bytes(), version)?.info(row.versioning);
        if let Some(hooks) = hooks {
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
        let row = view.object(view.bucket(bucket)?.id, key.as_bytes(), None)?;
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
        self.get_version(bucket, key, None, condition, range)
    }

    /// Opens a version of an object for reading, or the current one, if the conditions hold.
    pub fn get_version(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        condition: &ReadCondition,
        range: ReadRange,
    ) -> Result<Object, StoreError> {
        let hooks = self.inner.hooks.current();
        let (mut version, mut range) = (version, range);
        if let Some(hooks) = &hooks {
            hooks.version(bucket, key, &mut version);
            hooks.range(bucket, key, &mut range);
        }
        let (mut info, range, reader) = self.open_object(bucket, key, version, condition, range)?;
        let body = match hooks {
            None => Source::Honest(reader),
            Some(hooks) => {
                hooks.info(bucket, key, &mut info);
                Source::Altered(hooks.body(bucket, key, range.start, Box::new(reader)))
            }
        };
        Ok(Object { info, range, body: Body(body) })
    }

    /// [`Store::get_version`] as it is, whatever the hooks.
    pub(super) fn open_object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<VersionId>,
        condition: &ReadCondition,
        range: ReadRange,
    ) -> Result<(ObjectInfo, Range<u64>, BodyReader), StoreError> {
        let ((info, range), pinned) = self.inner.bodies.pin(|| {
            let view = self.inner.index.read()?;
            let BucketRow { id, versioning, .. } = view.bucket(bucket)?;
            let row = view.object(id, key.as_bytes(), version)?;
            let etag = row.etag();
            match condition.evaluate(&etag, row.modified) {
                Verdict::Proceed => {}
                Verdict::NotModified => return Err(StoreError::NotModified { etag, modified: row.modified }),
                Verdict::PreconditionFailed => return Err(StoreError::PreconditionFailed),
            }
            let (segments, range) = locate(&view, &row, range)?;
            Ok(((row.info(versioning), range), segments))
        })?;
        let reader = pinned.read(&range);
        Ok((info, range, reader))
    }

    /// Copies an object within the store: its segments get a second name, no bytes are copied.
    ///
    /// The source is read, both conditions are checked and the copy is made in one transaction. The copy keeps the
    /// source's `ETag` and parts. A source of more than [`Limits::max_body`] is refused, as in S3.
    pub fn copy(&self, request: CopyRequest<'_>) -> Result<Written, StoreError> {
        let CopyRequest {
            from_bucket,
            from_key,
            from_version,
            from_condition,
            bucket,
            key,
            meta,
            tags,
            lock,
            condition,
        } = request;
        if meta.is_none() && from_version.is_none() && (from_bucket, from_key) == (bucket, key) {
            return Err(StoreError::InvalidRequest("a copy of an object to itself must change its metadata"));
        }
        if let Some(meta) = &meta {
            meta.check()?;
        }
        let (from, from_key) = (from_bucket.clone(), from_key.clone());
        let (to, to_key) = (bucket.clone(), key.clone());
        let (max, clock) = (self.inner.limits.max_body, Arc::clone(&self.inner.clock));
        let condition = self.asked(bucket, key, condition);
        let written = self.inner.index.write(None, move |tables| {
            let (from, to) = (tables.bucket(&from)?, tables.bucket(&to)?);
            let (source, _) =
                tables.object(from.id, from_key.as_bytes(), from_version).map_err(|error| match error {
                    StoreError::DeleteMarker { by_id: true, .. } => {
                        StoreError::InvalidRequest("the source of a copy is a delete marker")
                    }
                    StoreError::DeleteMarker { .. } => StoreError::NoSuchKey,
                    other => other,
                })?;
            if from_condition.evaluate(&source.etag(), source.modified) != Verdict::Proceed {
                return Err(StoreError::PreconditionFailed);
            }
            if source.size > max {
                return Err(StoreError::InvalidRequest("the source is too large to be copied at once"));
            }
            let old = tables.current(to.id, to_key.as_bytes())?;
            condition.check(old.as_ref().map(ObjectRow::etag).as_ref())?;
            let modified = clock.now();
            let tags = tags.clone().unwrap_or_else(|| source.extras.tags.clone());
            let extras = locked_as(&to, &Extras { tags, lock }, modified)?;
            let from_version = (from.versioning != Versioning::Never).then_some(source.version());
            let written = copy_row(tables, &to, &to_key, &source, meta.as_ref(), extras, modified)?;
            Ok(Written { from_version, ..written })
        })?;
        Ok(self.altered(bucket, key, written))
    }

    /// The condition of a write, through the hooks.
    pub(super) fn asked(&self, bucket: &BucketName, key: &ObjectKey, mut condition: WriteCondition) -> WriteCondition {
        if let Some(hooks) = self.inner.hooks.current() {
            hooks.write_condition(bucket, key, &mut condition);
        }
        condition
    }

    /// What a write answers, through the hooks.
    pub(super) fn altered(&self, bucket: &BucketName, key: &ObjectKey, mut written: Written) -> Written {
        if let Some(hooks) = self.inner.hooks.current() {
            hooks.written(bucket, key, &mut written);
        }
        written
    }
}

/// What a new version in `bucket` comes with: the lock that was asked for, or else the bucket's default.
pub(super) fn locked_as(bucket: &BucketRow, asked: &Extras, now: Timestamp) -> Result<Extras, StoreError> {
    let mut extras = asked.clone();
    let Some(lock) = bucket.lock else {
        return if extras.lock == ObjectLock::default() { Ok(extras) } else { Err(NO_BUCKET_LOCK) };
    };
    if extras.lock.retention.is_some_and(|retention| retention.until <= now) {
        return Err(StoreError::RetentionInThePast);
    }
    extras.lock.retention = extras.lock.retention.or(lock.default.map(|default| default.from(now)));
    Ok(extras)
}

pub(super) const NO_BUCKET_LOCK: StoreError = StoreError::InvalidRequest("the bucket has no object lock");

/// The version that a write in a bucket makes: whether it is `null`, and what the answer says of it.
pub(super) fn new_version(bucket: &BucketRow, sequence: u64) -> (bool, Option<VersionId>) {
    let is_null = bucket.versioning != Versioning::Enabled;
    (is_null, (bucket.versioning != Versioning::Never).then_some(VersionId::of(sequence, is_null)))
}

/// The name of the copy is counted before an older object's are dropped: a copy to itself keeps its files.
fn copy_row(
    tables: &mut Tables<'_>,
    bucket: &BucketRow,
    key: &ObjectKey,
    source: &ObjectRow,
    meta: Option<&ObjectMeta>,
    extras: Extras,
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
    let (is_null, version) = new_version(bucket, sequence);
    let meta = meta.unwrap_or(&source.meta).clone();
    let row = ObjectRow { modified, sequence, body, meta, is_null, extras, ..source.clone() };
    tables.add_object(bucket, key.as_bytes(), &row, parts.as_deref())?;
    Ok(Written { etag: row.etag(), modified, size: row.size, version, from_version: None })
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
    pub fn commit(self, meta: ObjectMeta, condition: WriteCondition) -> Result<Written, StoreError> {
        self.commit_with(meta, Extras::default(), condition)
    }

    /// [`PutWriter::commit`] with tags and a lock.
    pub fn commit_with(
        mut self,
        meta: ObjectMeta,
        extras: Extras,
        condition: WriteCondition,
    ) -> Result<Written, StoreError> {
        meta.check()?;
        let segment = self.body.finish()?;
        let (size, md5) = (self.body.len(), self.body.md5());
        let clock = Arc::clone(&self.store.inner.clock);
        let condition = self.store.asked(&self.bucket, &self.key, condition);
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        let job = move |tables: &mut Tables<'_>| {
            let bucket = tables.bucket(&bucket)?;
            let old = tables.current(bucket.id, key.as_bytes())?;
            condition.check(old.as_ref().map(ObjectRow::etag).as_ref())?;
            let modified = clock.now();
            let extras = locked_as(&bucket, &extras, modified)?;
            let body = match segment {
                Some(segment) => {
                    tables.name_new(segment)?;
                    BodyRef::One(segment)
                }
                None => BodyRef::Empty,
            };
            let sequence = tables.next_sequence();
            let (is_null, version) = new_version(&bucket, sequence);
            let meta = meta.clone();
            let row = ObjectRow { size, md5, parts: 0, modified, sequence, body, meta, is_null, extras };
            tables.add_object(&bucket, key.as_bytes(), &row, None)?;
            Ok(Written { etag: row.etag(), modified, size, version, from_version: None })
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
        writeln!(lock, "sealgate embedded store")?;
    }
    Ok(FolderLock(lock))
}
