//! The ordered index: redb tables, and one transaction for all writes that wait at the same time.
//!
//! | table | key | value |
//! |---|---|---|
//! | `store` | name | number: layout version, end of the leased numbers, sequence |
//! | `buckets` | name | id, creation, versioning, lock, tags |
//! | `objects` | bucket id, key | the current object: size, MD5, time, body, metadata, tags, lock |
//! | `versions` | bucket id, key, the greatest number less the sequence | all other versions, newest first: older objects, delete markers |
//! | `null_versions` | bucket id, key | the sequence of the version `null`, if it is one of `versions` |
//! | `layouts` | sequence of the object | parts and segments of an object completed from parts |
//! | `files` | number | how many segments name the body file, its length |
//! | `uploads` | bucket id, key, upload id | begun when, metadata |
//! | `parts` | upload's serial, part number | size, MD5, time, segments |
//!
//! A key whose newest version is a delete marker has no row in `objects`: a listing of objects never meets a marker.
//!
//! Bucket ids, serials and sequences come from one counter and never return, so a bucket made again under an old name
//! shares nothing with the old one.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use redb::backends::FileBackend;
use redb::{
    Builder, Database, ReadOnlyTable, ReadTransaction, ReadableDatabase as _, ReadableTable, StorageBackend, Table,
    TableDefinition, WriteTransaction,
};

use super::Durability;
use super::body::{Bodies, Renamed, sync_folder};
use super::error::StoreError;
use super::fault::{HookCell, Step};
use super::object::BucketName;
use super::record::{
    BodyRef, BucketRow, FileRow, LayoutPart, MarkerRow, ObjectRow, PartRow, Segment, UploadRow, VersionRow,
    decode_layout, encode_layout,
};
use super::version::{VersionId, Versioning};

/// The version of tables, rows and files that this program writes and reads.
pub(super) const LAYOUT_VERSION: u64 = 2;
/// The layout before there were versions: the same without their tables, and rows that are read as they are.
const WITHOUT_VERSIONS: u64 = 1;
/// Numbers are leased from the index this many at a time.
const LEASE: u64 = 1 << 20;
/// Where bodies are, an index was: it must not be made anew, or the sweep would take the bodies for leftovers.
const LOST_INDEX: StoreError = StoreError::Corrupt("there are bodies but no index.redb that names them");

pub(super) type ObjectKeyRef<'a> = (u64, &'a [u8]);
/// The last part is [`newest_first`].
pub(super) type VersionKeyRef<'a> = (u64, &'a [u8], u64);
pub(super) type UploadKeyRef<'a> = (u64, &'a [u8], &'a str);

pub(super) const STORE: TableDefinition<&str, u64> = TableDefinition::new("store");
pub(super) const BUCKETS: TableDefinition<&str, &[u8]> = TableDefinition::new("buckets");
pub(super) const OBJECTS: TableDefinition<ObjectKeyRef, &[u8]> = TableDefinition::new("objects");
pub(super) const VERSIONS: TableDefinition<VersionKeyRef, &[u8]> = TableDefinition::new("versions");
pub(super) const NULL_VERSIONS: TableDefinition<ObjectKeyRef, u64> = TableDefinition::new("null_versions");
pub(super) const LAYOUTS: TableDefinition<u64, &[u8]> = TableDefinition::new("layouts");
pub(super) const FILES: TableDefinition<u64, &[u8]> = TableDefinition::new("files");
pub(super) const UPLOADS: TableDefinition<UploadKeyRef, &[u8]> = TableDefinition::new("uploads");
pub(super) const PARTS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("parts");

const VERSION_ROW: &str = "layout";
const NUMBERS_ROW: &str = "numbers";
const SEQUENCE_ROW: &str = "sequence";

/// Why a write is not in the index.
#[derive(Debug)]
pub(super) enum Failed {
    /// It is not, and will not be.
    Refused(StoreError),
    /// The commit failed, and it may be there or not: its files must stay. The next start settles it.
    Unknown(StoreError),
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Refused(error) | Failed::Unknown(error) => error,
        }
    }
}

/// The index of one folder.
pub(super) struct Index {
    path: PathBuf,
    cache: usize,
    durability: Durability,
    hooks: HookCell,
    bodies: Arc<Bodies>,
    db: RwLock<Option<Database>>,
    queue: Mutex<Vec<Box<dyn Queued>>>,
    lead: Mutex<Lead>,
    /// The index failed and must be opened again before anything else. Changed only by who holds `lead`.
    broken: AtomicBool,
    unsynced: Arc<AtomicBool>,
    numbers: Mutex<Range<u64>>,
}

/// What only the thread that commits looks at.
#[derive(Default)]
struct Lead {
    /// Files that a write of unknown outcome may have named.
    unsettled: Vec<u64>,
    /// Those of them that turned out to be named by nothing.
    garbage: Vec<u64>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("path", &self.path).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    /// Opens or makes the index and leases the first numbers.
    pub(super) fn open(
        path: PathBuf,
        cache: usize,
        durability: Durability,
        hooks: HookCell,
        bodies: Arc<Bodies>,
    ) -> Result<Self, StoreError> {
        let there = match fs::metadata(&path) {
            Ok(file) => file.len() > 0,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error.into()),
        };
        let (new, unsynced) = (!bodies.any()?, Arc::default());
        if !there {
            if !new {
                return Err(LOST_INDEX);
            }
            make_database(&path, cache, durability, &hooks)?;
        }
        let db = open_database(&path, cache, durability, &hooks, &unsynced)?;
        let index = Self {
            path,
            cache,
            durability,
            hooks,
            bodies,
            db: RwLock::new(Some(db)),
            queue: Mutex::default(),
            lead: Mutex::default(),
            broken: AtomicBool::new(false),
            unsynced,
            numbers: Mutex::new(0..0),
        };
        index.write(None, move |tables| {
            let found = value(&tables.store, VERSION_ROW)?;
            match found {
                None if new => _ = tables.store.insert(VERSION_ROW, LAYOUT_VERSION)?,
                None => return Err(LOST_INDEX),
                Some(LAYOUT_VERSION) => {}
                // its tables are there since this transaction began
                Some(WITHOUT_VERSIONS) => _ = tables.store.insert(VERSION_ROW, LAYOUT_VERSION)?,
                Some(found) => return Err(StoreError::Layout { found, known: LAYOUT_VERSION }),
            }
            Ok(())
        })?;
        let first = index.lease()?;
        *lock(&index.numbers) = first;
        Ok(index)
    }

    /// A number for a body file that no other file ever had, also after a crash.
    pub(super) fn number(&self) -> Result<u64, StoreError> {
        let mut numbers = lock(&self.numbers);
        if numbers.is_empty() {
            *numbers = self.lease()?;
        }
        numbers.next().ok_or(StoreError::Corrupt("no numbers are left"))
    }

    fn lease(&self) -> Result<Range<u64>, StoreError> {
        let leased = self.write(None, |tables| {
            let start = value(&tables.store, NUMBERS_ROW)?.unwrap_or(1);
            let end = start.checked_add(LEASE).ok_or(StoreError::Corrupt("no numbers are left"))?;
            tables.store.insert(NUMBERS_ROW, end)?;
            Ok(start..end)
        })?;
        Ok(leased)
    }

    /// A snapshot of the index.
    pub(super) fn read(&self) -> Result<View, StoreError> {
        if self.broken.load(Ordering::SeqCst) {
            let mut lead = lock(&self.lead);
            if self.broken.load(Ordering::SeqCst) {
                self.recover(&mut lead)?;
            }
        }
        self.view()
    }

    fn view(&self) -> Result<View, StoreError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        Ok(View(db.as_ref().ok_or_else(closed)?.begin_read()?))
    }

    /// Runs `job` in a transaction, with whatever other writes wait at the same time, and commits.
    ///
    /// An error of `job` must come before its first change: the transaction is the others' too. (Failures of the store
    /// itself may come later: they abort the transaction, and each of its jobs is run again alone.)
    pub(super) fn write<T, F>(&self, renamed: Option<Renamed>, job: F) -> Result<T, Failed>
    where
        T: Send + 'static,
        F: FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let slot = Slot::default();
        lock(&self.queue).push(Box::new(Task { job, renamed, done: None, slot: Arc::clone(&slot) }));
        let mut released = Vec::new();
        {
            // whoever gets the lock commits for all that queue by then; the rest find their answers when they get it
            let mut lead = lock(&self.lead);
            if lock(&slot).is_none() {
                let mut batch = std::mem::take(&mut *lock(&self.queue));
                self.commit_batch(&mut lead, &mut batch, &mut released);
            }
        }
        self.bodies.release(released);
        let answer = lock(&slot).take();
        answer.unwrap_or_else(|| Err(Failed::Unknown(StoreError::Index("the committing thread died".into()))))
    }

    /// How many writes wait for the next transaction.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.queue).len()
    }

    fn commit_batch(&self, lead: &mut Lead, batch: &mut [Box<dyn Queued>], released: &mut Vec<u64>) {
        if self.broken.load(Ordering::SeqCst)
            && let Err(error) = self.recover(lead)
        {
            return fail_all(batch, Failed::Refused, &error);
        }
        released.append(&mut lead.garbage);
        match self.attempt(batch) {
            Ok(gone) => {
                released.extend(gone);
                succeed_all(batch);
            }
            Err(Attempt::Aborted(error)) => {
                if matches!(error, StoreError::Index(_)) {
                    self.broken.store(true, Ordering::SeqCst);
                }
                if batch.len() == 1 {
                    return fail_all(batch, Failed::Refused, &error);
                }
                for task in batch.chunks_mut(1) {
                    self.commit_batch(lead, task, released);
                }
            }
            Err(Attempt::Unknown { error, sequence }) => {
                self.broken.store(true, Ordering::SeqCst);
                // a failed sync may show pages that are not on the disk: even a commit that can be read back is not
                // answered as one, and what it released stays until the next start has settled it
                match self.recover(lead).and_then(|()| self.sequence()) {
                    Ok(found) if found < sequence => fail_all(batch, Failed::Refused, &error),
                    Ok(_) => fail_all(batch, Failed::Unknown, &error),
                    Err(_) => {
                        lead.unsettled
                            .extend(batch.iter().filter_map(|task| task.renamed()).map(|renamed| renamed.number));
                        fail_all(batch, Failed::Unknown, &error);
                    }
                }
            }
        }
    }

    fn attempt(&self, batch: &mut [Box<dyn Queued>]) -> Result<Vec<u64>, Attempt> {
        let aborted = |error: StoreError| Attempt::Aborted(error);
        let mut renamed = batch.iter().filter_map(|task| task.renamed()).peekable();
        if renamed.peek().is_some() {
            if !renamed.all(|renamed| self.bodies.can_sync(renamed)) {
                return Err(aborted(io::Error::other("the folder of bodies could not be synced").into()));
            }
            self.bodies.sync_folder().map_err(|e| aborted(e.into()))?;
        }
        self.hooks.step(Step::Begin).map_err(|e| aborted(e.into()))?;
        let txn = self.begin().map_err(aborted)?;
        let mut tables = Tables::open(&txn).map_err(aborted)?;
        for task in &mut *batch {
            task.run(&mut tables).map_err(aborted)?;
        }
        if batch.iter().all(|task| task.refused()) {
            drop(tables);
            txn.abort().map_err(|e| aborted(e.into()))?;
            return Ok(Vec::new());
        }
        tables.next_sequence();
        let sequence = tables.sequence;
        tables.store.insert(SEQUENCE_ROW, sequence).map_err(|e| aborted(e.into()))?;
        let released = std::mem::take(&mut tables.released);
        drop(tables);
        self.hooks.step(Step::Commit).map_err(|e| aborted(e.into()))?;
        match txn.commit() {
            Ok(()) => Ok(released),
            Err(error) => Err(Attempt::Unknown { error: error.into(), sequence }),
        }
    }

    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let db = self.db.read().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or_else(closed)?;
        Ok(db.begin_write()?)
    }

    /// Opens the index again after it failed, and finds what writes of unknown outcome left.
    fn recover(&self, lead: &mut Lead) -> Result<(), StoreError> {
        {
            let mut db = self.db.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(failed) = db.take() {
                // it failed: what it says on closing changes nothing
                let _ = failed.close();
            }
            if self.unsynced.load(Ordering::SeqCst) {
                rewrite(&self.path, self.durability, &self.hooks)?;
                self.unsynced.store(false, Ordering::SeqCst);
            }
            *db = Some(open_database(&self.path, self.cache, self.durability, &self.hooks, &self.unsynced)?);
        }
        let files = self.view()?.files()?;
        for number in std::mem::take(&mut lead.unsettled) {
            if files.get(number)?.is_none() {
                lead.garbage.push(number);
            }
        }
        self.broken.store(false, Ordering::SeqCst);
        Ok(())
    }

    fn sequence(&self) -> Result<u64, StoreError> {
        Ok(value(&self.view()?.0.open_table(STORE)?, SEQUENCE_ROW)?.unwrap_or(0))
    }

    /// Removes body files that no row names. Only at open, before anything else writes.
    pub(super) fn sweep(&self) -> Result<u64, StoreError> {
        let files = self.read()?.files()?;
        self.bodies.sweep(|number| Ok(files.get(number)?.is_some()))
    }
}

fn closed() -> StoreError {
    StoreError::Index("it failed and could not be opened again".into())
}

enum Attempt {
    Aborted(StoreError),
    Unknown { error: StoreError, sequence: u64 },
}

fn succeed_all(batch: &mut [Box<dyn Queued>]) {
    for task in batch {
        task.succeed();
    }
}

fn fail_all(batch: &mut [Box<dyn Queued>], how: fn(StoreError) -> Failed, error: &StoreError) {
    for task in batch {
        task.fail(how(clone_error(error)));
    }
}

/// The same failure, told to each of several writers.
fn clone_error(error: &StoreError) -> StoreError {
    match error {
        StoreError::Io(e) => StoreError::Io(
            e.raw_os_error().map_or_else(|| io::Error::new(e.kind(), e.to_string()), io::Error::from_raw_os_error),
        ),
        StoreError::Corrupt(what) => StoreError::Corrupt(what),
        StoreError::Layout { found, known } => StoreError::Layout { found: *found, known: *known },
        StoreError::Index(text) => StoreError::Index(text.clone()),
        other => StoreError::Index(other.to_string()),
    }
}

type Slot<T> = Arc<Mutex<Option<Result<T, Failed>>>>;

/// A write that waits to be committed.
trait Queued: Send {
    /// The body file that this write names, if it brings one.
    fn renamed(&self) -> Option<Renamed>;
    /// Fails only if the whole transaction must not happen.
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError>;
    /// Whether it was run and changed nothing.
    fn refused(&self) -> bool;
    fn succeed(&mut self);
    fn fail(&mut self, why: Failed);
}

struct Task<T, F> {
    job: F,
    renamed: Option<Renamed>,
    done: Option<Result<T, StoreError>>,
    slot: Slot<T>,
}

impl<T, F> Queued for Task<T, F>
where
    T: Send,
    F: FnMut(&mut Tables<'_>) -> Result<T, StoreError> + Send,
{
    fn renamed(&self) -> Option<Renamed> {
        self.renamed
    }

    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), StoreError> {
        match (self.job)(tables) {
            Err(error) if error.is_fatal() => Err(error),
            done => {
                self.done = Some(done);
                Ok(())
            }
        }
    }

    fn refused(&self) -> bool {
        matches!(self.done, Some(Err(_)))
    }

    fn succeed(&mut self) {
        let done = self.done.take().unwrap_or_else(|| Err(StoreError::Index("a job was not run".into())));
        *lock(&self.slot) = Some(done.map_err(Failed::Refused));
    }

    fn fail(&mut self, why: Failed) {
        // a refusal may rest on another write of the same transaction, so it is no answer; but it changed nothing
        let why = if self.refused() { Failed::Refused(why.into()) } else { why };
        *lock(&self.slot) = Some(Err(why));
    }
}

/// Makes an empty index whole under another name first, so that a crash leaves none or a good one.
fn make_database(path: &Path, cache: usize, durability: Durability, hooks: &HookCell) -> Result<(), StoreError> {
    let draft = path.with_extension("new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    open_database(&draft, cache, durability, hooks, &Arc::default())?.close()?;
    fs::rename(&draft, path)?;
    if durability == Durability::Full
        && let Some(folder) = path.parent()
    {
        sync_folder(folder)?;
    }
    Ok(())
}

fn open_database(
    path: &Path,
    cache: usize,
    durability: Durability,
    hooks: &HookCell,
    unsynced: &Arc<AtomicBool>,
) -> Result<Database, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let lock = file.try_clone()?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
        Err(TryLockError::Error(error)) => return Err(error.into()),
    }
    let backend = FileBackend::new(file)?;
    let mut builder = Builder::new();
    builder.set_cache_size(cache);
    let (hooks, unsynced) = (hooks.clone(), Arc::clone(unsynced));
    Ok(builder.create_with_backend(Hooked { backend, lock, durability, hooks, unsynced })?)
}

/// Writes the index's file as it reads: after a failed sync the system may take pages for written that the disk never
/// got, and a later sync would say nothing of them.
fn rewrite(path: &Path, durability: Durability, hooks: &HookCell) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let (mut buffer, mut at) = (vec![0; 1 << 20], 0_u64);
    loop {
        file.seek(SeekFrom::Start(at))?;
        let n = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..n).filter(|b| !b.is_empty()) else { break };
        hooks.step(Step::IndexWrite)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(bytes)?;
        at += n as u64;
    }
    hooks.step(Step::IndexSync)?;
    if durability == Durability::Full { file.sync_all() } else { Ok(()) }
}

/// The index's file, with a place to fail. It is locked beside the folder's `LOCK`, which somebody might remove.
#[derive(Debug)]
struct Hooked {
    backend: FileBackend,
    lock: File,
    durability: Durability,
    hooks: HookCell,
    /// A sync failed: see [`rewrite`].
    unsynced: Arc<AtomicBool>,
}

impl StorageBackend for Hooked {
    fn len(&self) -> io::Result<u64> {
        self.backend.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.backend.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.hooks.step(Step::IndexWrite)?;
        self.backend.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let synced = self.hooks.step(Step::IndexSync).and_then(|()| match self.durability {
            Durability::Full => self.backend.sync_data(),
            Durability::None => Ok(()),
        });
        if synced.is_err() {
            self.unsynced.store(true, Ordering::SeqCst);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.hooks.step(Step::IndexWrite)?;
        self.backend.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        let closed = self.backend.close();
        self.lock.unlock().and(closed)
    }
}

fn value(table: &impl ReadableTable<&'static str, u64>, row: &str) -> Result<Option<u64>, StoreError> {
    Ok(table.get(row)?.map(|v| v.value()))
}

fn bucket_row(
    table: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &BucketName,
) -> Result<BucketRow, StoreError> {
    let row = table.get(name.as_str())?.ok_or(StoreError::NoSuchBucket)?;
    BucketRow::decode(row.value())
}

/// What a version's sequence is in its key: the greater, the earlier it comes.
pub(super) const fn newest_first(sequence: u64) -> u64 {
    u64::MAX - sequence
}

/// A version as it is found: the row, and whether it is the current object.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) row: VersionRow,
    pub(super) is_current_object: bool,
}

/// Where versions are found, in a snapshot or in a transaction.
pub(super) struct Versions<'t, O, V, N> {
    current: &'t O,
    older: &'t V,
    nulls: &'t N,
}

impl<O, V, N> Versions<'_, O, V, N>
where
    O: ReadableTable<ObjectKeyRef<'static>, &'static [u8]>,
    V: ReadableTable<VersionKeyRef<'static>, &'static [u8]>,
    N: ReadableTable<ObjectKeyRef<'static>, u64>,
{
    fn current(&self, bucket: u64, key: &[u8]) -> Result<Option<ObjectRow>, StoreError> {
        self.current.get((bucket, key))?.map(|row| ObjectRow::decode(row.value())).transpose()
    }

    /// The newest that is not the current object.
    fn newest(&self, bucket: u64, key: &[u8]) -> Result<Option<VersionRow>, StoreError> {
        let row = self.older.range((bucket, key, 0)..=(bucket, key, u64::MAX))?.next().transpose()?;
        row.map(|(_, row)| VersionRow::decode(row.value())).transpose()
    }

    /// The sequence that a version has, or had.
    pub(super) fn sequence(&self, bucket: u64, key: &[u8], id: VersionId) -> Result<Option<u64>, StoreError> {
        if let Some(sequence) = id.sequence() {
            return Ok(Some(sequence));
        }
        if let Some(current) = self.current(bucket, key)?.filter(|current| current.is_null) {
            return Ok(Some(current.sequence));
        }
        Ok(self.nulls.get((bucket, key))?.map(|sequence| sequence.value()))
    }

    /// The version of that id.
    fn find(&self, bucket: u64, key: &[u8], id: VersionId) -> Result<Option<Found>, StoreError> {
        if let Some(current) = self.current(bucket, key)?.filter(|current| current.version() == id) {
            return Ok(Some(Found { row: VersionRow::Object(current), is_current_object: true }));
        }
        let Some(sequence) = self.sequence(bucket, key, id)? else { return Ok(None) };
        let Some(row) = self.older.get((bucket, key, newest_first(sequence)))? else { return Ok(None) };
        let row = VersionRow::decode(row.value())?;
        // what is null goes by that name only
        Ok((row.version() == id).then_some(Found { row, is_current_object: false }))
    }

    /// The object of that version, or the current one; and whether it is that.
    fn object(&self, bucket: u64, key: &[u8], id: Option<VersionId>) -> Result<(ObjectRow, bool), StoreError> {
        let Some(id) = id else {
            if let Some(current) = self.current(bucket, key)? {
                return Ok((current, true));
            }
            return Err(match self.newest(bucket, key)? {
                Some(VersionRow::Marker(marker)) => marker.refusal(false),
                _ => StoreError::NoSuchKey,
            });
        };
        match self.find(bucket, key, id)?.ok_or(StoreError::NoSuchVersion)? {
            Found { row: VersionRow::Object(object), is_current_object } => Ok((object, is_current_object)),
            Found { row: VersionRow::Marker(marker), .. } => Err(marker.refusal(true)),
        }
    }
}

/// A snapshot of the index.
pub(super) struct View(ReadTransaction);

/// The table of body files, in a snapshot.
pub(super) struct Files(ReadOnlyTable<u64, &'static [u8]>);

impl Files {
    pub(super) fn get(&self, number: u64) -> Result<Option<FileRow>, StoreError> {
        self.0.get(number)?.map(|row| FileRow::decode(row.value())).transpose()
    }
}

impl View {
    pub(super) fn buckets(&self) -> Result<ReadOnlyTable<&'static str, &'static [u8]>, StoreError> {
        Ok(self.0.open_table(BUCKETS)?)
    }

    pub(super) fn bucket(&self, name: &BucketName) -> Result<BucketRow, StoreError> {
        bucket_row(&self.buckets()?, name)
    }

    pub(super) fn versions(&self) -> Result<ReadOnlyTable<VersionKeyRef<'static>, &'static [u8]>, StoreError> {
        Ok(self.0.open_table(VERSIONS)?)
    }

    pub(super) fn objects(&self) -> Result<ReadOnlyTable<ObjectKeyRef<'static>, &'static [u8]>, StoreError> {
        Ok(self.0.open_table(OBJECTS)?)
    }

    pub(super) fn uploads(&self) -> Result<ReadOnlyTable<UploadKeyRef<'static>, &'static [u8]>, StoreError> {
        Ok(self.0.open_table(UPLOADS)?)
    }

    pub(super) fn parts(&self) -> Result<ReadOnlyTable<(u64, u32), &'static [u8]>, StoreError> {
        Ok(self.0.open_table(PARTS)?)
    }

    pub(super) fn files(&self) -> Result<Files, StoreError> {
        Ok(Files(self.0.open_table(FILES)?))
    }

    /// The object of that version, or the current one.
    pub(super) fn object(&self, bucket: u64, key: &[u8], version: Option<VersionId>) -> Result<ObjectRow, StoreError> {
        let (current, older, nulls) = (&self.objects()?, &self.versions()?, &self.0.open_table(NULL_VERSIONS)?);
        Ok(Versions { current, older, nulls }.object(bucket, key, version)?.0)
    }

    /// The sequence that a version has, or had.
    pub(super) fn sequence(&self, bucket: u64, key: &[u8], version: VersionId) -> Result<Option<u64>, StoreError> {
        let (current, older, nulls) = (&self.objects()?, &self.versions()?, &self.0.open_table(NULL_VERSIONS)?);
        Versions { current, older, nulls }.sequence(bucket, key, version)
    }

    pub(super) fn upload(&self, bucket: u64, key: &[u8], id: &str) -> Result<UploadRow, StoreError> {
        let row = self.uploads()?.get((bucket, key, id))?.ok_or(StoreError::NoSuchUpload)?;
        UploadRow::decode(row.value())
    }

    /// The parts an object was completed from; none for one that came in one piece.
    pub(super) fn layout(&self, object: &ObjectRow) -> Result<Option<Vec<LayoutPart>>, StoreError> {
        let BodyRef::Layout(id) = object.body else { return Ok(None) };
        layout(&self.0.open_table(LAYOUTS)?, id).map(Some)
    }
}

fn layout(table: &impl ReadableTable<u64, &'static [u8]>, id: u64) -> Result<Vec<LayoutPart>, StoreError> {
    let row = table.get(id)?.ok_or(StoreError::Corrupt("an object's layout is missing"))?;
    decode_layout(row.value())
}

type ObjectsTable<'t> = Table<'t, ObjectKeyRef<'static>, &'static [u8]>;
type VersionsTable<'t> = Table<'t, VersionKeyRef<'static>, &'static [u8]>;
type NullVersionsTable<'t> = Table<'t, ObjectKeyRef<'static>, u64>;

/// The tables of one write transaction.
pub(super) struct Tables<'t> {
    pub(super) store: Table<'t, &'static str, u64>,
    pub(super) buckets: Table<'t, &'static str, &'static [u8]>,
    pub(super) objects: ObjectsTable<'t>,
    pub(super) versions: VersionsTable<'t>,
    nulls: NullVersionsTable<'t>,
    layouts: Table<'t, u64, &'static [u8]>,
    files: Table<'t, u64, &'static [u8]>,
    pub(super) uploads: Table<'t, UploadKeyRef<'static>, &'static [u8]>,
    pub(super) parts: Table<'t, (u64, u32), &'static [u8]>,
    sequence: u64,
    released: Vec<u64>,
}

impl<'t> Tables<'t> {
    fn open(txn: &'t WriteTransaction) -> Result<Self, StoreError> {
        let store = txn.open_table(STORE)?;
        let sequence = value(&store, SEQUENCE_ROW)?.unwrap_or(0);
        Ok(Self {
            store,
            buckets: txn.open_table(BUCKETS)?,
            objects: txn.open_table(OBJECTS)?,
            versions: txn.open_table(VERSIONS)?,
            nulls: txn.open_table(NULL_VERSIONS)?,
            layouts: txn.open_table(LAYOUTS)?,
            files: txn.open_table(FILES)?,
            uploads: txn.open_table(UPLOADS)?,
            parts: txn.open_table(PARTS)?,
            sequence,
            released: Vec::new(),
        })
    }

    /// A number that nothing else in the index has.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(super) fn bucket(&self, name: &BucketName) -> Result<BucketRow, StoreError> {
        bucket_row(&self.buckets, name)
    }

    pub(super) fn set_bucket(&mut self, name: &BucketName, row: &BucketRow) -> Result<(), StoreError> {
        self.buckets.insert(name.as_str(), &row.encode()[..])?;
        Ok(())
    }

    fn all_versions(&self) -> Versions<'_, ObjectsTable<'t>, VersionsTable<'t>, NullVersionsTable<'t>> {
        Versions { current: &self.objects, older: &self.versions, nulls: &self.nulls }
    }

    /// The current object.
    pub(super) fn current(&self, bucket: u64, key: &[u8]) -> Result<Option<ObjectRow>, StoreError> {
        self.all_versions().current(bucket, key)
    }

    /// The object of that version, or the current one; and whether it is that.
    pub(super) fn object(
        &self,
        bucket: u64,
        key: &[u8],
        version: Option<VersionId>,
    ) -> Result<(ObjectRow, bool), StoreError> {
        self.all_versions().object(bucket, key, version)
    }

    /// The version of that id.
    pub(super) fn find(&self, bucket: u64, key: &[u8], version: VersionId) -> Result<Option<Found>, StoreError> {
        self.all_versions().find(bucket, key, version)
    }

    pub(super) fn layout(&self, object: &ObjectRow) -> Result<Option<Vec<LayoutPart>>, StoreError> {
        let BodyRef::Layout(id) = object.body else { return Ok(None) };
        layout(&self.layouts, id).map(Some)
    }

    pub(super) fn upload(&self, bucket: u64, key: &[u8], id: &str) -> Result<UploadRow, StoreError> {
        let row = self.uploads.get((bucket, key, id))?.ok_or(StoreError::NoSuchUpload)?;
        UploadRow::decode(row.value())
    }

    pub(super) fn upload_parts(&self, serial: u64) -> Result<Vec<(u32, PartRow)>, StoreError> {
        let mut parts = Vec::new();
        for row in self.parts.range((serial, 0)..=(serial, u32::MAX))? {
            let (key, value) = row?;
            parts.push((key.value().1, PartRow::decode(value.value())?));
        }
        Ok(parts)
    }

    /// Makes `row` the current object. The names of its segments must be counted already.
    pub(super) fn add_object(
        &mut self,
        bucket: &BucketRow,
        key: &[u8],
        row: &ObjectRow,
        parts: Option<&[LayoutPart]>,
    ) -> Result<(), StoreError> {
        self.make_way(bucket, key)?;
        if let (BodyRef::Layout(id), Some(parts)) = (row.body, parts) {
            self.layouts.insert(id, &encode_layout(parts)[..])?;
        }
        self.objects.insert((bucket.id, key), &row.encode()[..])?;
        Ok(())
    }

    /// Makes a delete marker the newest version.
    pub(super) fn add_marker(&mut self, bucket: &BucketRow, key: &[u8], marker: MarkerRow) -> Result<(), StoreError> {
        self.make_way(bucket, key)?;
        self.add_older(bucket.id, key, &VersionRow::Marker(marker))
    }

    /// What was current becomes an older version; but the version `null` is gone if another one is about to come.
    fn make_way(&mut self, bucket: &BucketRow, key: &[u8]) -> Result<(), StoreError> {
        let keeps_null = bucket.versioning == Versioning::Enabled;
        if let Some(current) = self.current(bucket.id, key)? {
            self.objects.remove((bucket.id, key))?;
            if current.is_null && !keeps_null {
                return self.drop_body(&current);
            }
            self.add_older(bucket.id, key, &VersionRow::Object(current))?;
        }
        if !keeps_null && let Some(Found { row, .. }) = self.find(bucket.id, key, VersionId::NULL)? {
            self.remove_older(bucket.id, key, &row)?;
        }
        Ok(())
    }

    fn add_older(&mut self, bucket: u64, key: &[u8], row: &VersionRow) -> Result<(), StoreError> {
        let sequence = row.sequence();
        self.versions.insert((bucket, key, newest_first(sequence)), &row.encode()[..])?;
        if row.version() == VersionId::NULL {
            self.nulls.insert((bucket, key), sequence)?;
        }
        Ok(())
    }

    fn forget_older(&mut self, bucket: u64, key: &[u8], row: &VersionRow) -> Result<(), StoreError> {
        self.versions.remove((bucket, key, newest_first(row.sequence())))?;
        if row.version() == VersionId::NULL {
            self.nulls.remove((bucket, key))?;
        }
        Ok(())
    }

    fn remove_older(&mut self, bucket: u64, key: &[u8], row: &VersionRow) -> Result<(), StoreError> {
        self.forget_older(bucket, key, row)?;
        if let VersionRow::Object(object) = row {
            self.drop_body(object)?;
        }
        Ok(())
    }

    /// Removes a version. If an object is then the newest, it is the current one again.
    pub(super) fn remove_version(&mut self, bucket: u64, key: &[u8], found: &Found) -> Result<(), StoreError> {
        match &found.row {
            VersionRow::Object(object) if found.is_current_object => {
                self.objects.remove((bucket, key))?;
                self.drop_body(object)?;
            }
            row => self.remove_older(bucket, key, row)?,
        }
        if self.objects.get((bucket, key))?.is_some() {
            return Ok(());
        }
        let newest = self.all_versions().newest(bucket, key)?;
        if let Some(row @ VersionRow::Object(_)) = &newest
            && let VersionRow::Object(object) = row
        {
            self.forget_older(bucket, key, row)?;
            self.objects.insert((bucket, key), &object.encode()[..])?;
        }
        Ok(())
    }

    /// Writes an object's row anew, wherever it is: its tags or its lock are others.
    pub(super) fn change_object(
        &mut self,
        bucket: u64,
        key: &[u8],
        row: ObjectRow,
        is_current: bool,
    ) -> Result<(), StoreError> {
        if is_current {
            self.objects.insert((bucket, key), &row.encode()[..])?;
            return Ok(());
        }
        self.add_older(bucket, key, &VersionRow::Object(row))
    }

    fn drop_body(&mut self, object: &ObjectRow) -> Result<(), StoreError> {
        match object.body {
            BodyRef::Empty => Ok(()),
            BodyRef::One(segment) => self.drop_name(segment),
            BodyRef::Layout(id) => {
                let parts = layout(&self.layouts, id)?;
                self.layouts.remove(id)?;
                self.drop_names(parts.iter().flat_map(|part| &part.segments))
            }
        }
    }

    pub(super) fn drop_names<'s>(&mut self, segments: impl IntoIterator<Item = &'s Segment>) -> Result<(), StoreError> {
        segments.into_iter().try_for_each(|segment| self.drop_name(*segment))
    }

    /// One segment fewer names the file; the last one takes it along, after the commit.
    fn drop_name(&mut self, segment: Segment) -> Result<(), StoreError> {
        let file = self.file(segment.number)?.ok_or(StoreError::Corrupt("a segment names no file"))?;
        if file.refs > 1 {
            let row = FileRow { refs: file.refs - 1, ..file };
            self.files.insert(segment.number, &row.encode()[..])?;
        } else {
            self.files.remove(segment.number)?;
            self.released.push(segment.number);
        }
        Ok(())
    }

    fn file(&self, number: u64) -> Result<Option<FileRow>, StoreError> {
        self.files.get(number)?.map(|row| FileRow::decode(row.value())).transpose()
    }

    /// One segment more names a new file.
    pub(super) fn name_new(&mut self, segment: Segment) -> Result<(), StoreError> {
        self.files.insert(segment.number, &FileRow { refs: 1, len: segment.len }.encode()[..])?;
        Ok(())
    }

    /// One segment more names a file that others name already.
    pub(super) fn name_again(&mut self, segment: Segment) -> Result<(), StoreError> {
        let file = self.file(segment.number)?.ok_or(StoreError::Corrupt("a segment names no file"))?;
        let refs = file.refs.checked_add(1).ok_or(StoreError::Corrupt("too many names for one file"))?;
        self.files.insert(segment.number, &FileRow { refs, ..file }.encode()[..])?;
        Ok(())
    }
}

/// The least key behind all that begin with `prefix`; none if there is no such key.
pub(super) fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|b| *b < 0xff)?;
    let mut next = prefix.get(..=kept)?.to_vec();
    if let Some(last) = next.last_mut() {
        *last += 1;
    }
    Some(next)
}

/// The rows of a bucket from `from` on.
pub(super) fn bucket_range(bucket: u64, from: Bound<&[u8]>) -> (Bound<ObjectKeyRef<'_>>, Bound<ObjectKeyRef<'_>>) {
    let empty: &[u8] = &[];
    let from = match from {
        Bound::Included(key) => Bound::Included((bucket, key)),
        Bound::Excluded(key) => Bound::Excluded((bucket, key)),
        Bound::Unbounded => Bound::Included((bucket, empty)),
    };
    (from, Bound::Excluded((bucket.saturating_add(1), empty)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_is_behind_all_that_begin_with_the_prefix() {
        assert_eq!(successor(b"a/"), Some(b"a0".to_vec()));
        assert_eq!(successor(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(successor(b"\xff"), None);
        assert_eq!(successor(b""), None);
    }
}
