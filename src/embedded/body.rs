//! Immutable body files, named by numbers that are never used twice.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use md5::{Digest as _, Md5};

use super::Durability;
use super::error::StoreError;
use super::fault::{HookCell, Step};
use super::index::Failed;
use super::record::Segment;

const BUFFER: usize = 64 * 1024;
const TEMPORARY: &str = ".tmp";

/// The folder of body files, and which of them are being read.
#[derive(Debug)]
pub(super) struct Bodies {
    folder: PathBuf,
    /// Held open, so that a sync needs no free descriptor and sees every failure since the start; none where nothing is
    /// synced.
    synced: Option<File>,
    durability: Durability,
    hooks: HookCell,
    pins: Mutex<HashMap<u64, Pin>>,
    /// How often the folder could not be synced.
    failed_syncs: AtomicU64,
    /// Readers and writers hold it too.
    _lock: FolderLock,
}

/// The held lock of a folder.
#[derive(Debug)]
pub(super) struct FolderLock(pub(super) File);

impl Drop for FolderLock {
    /// Closing the file would not do: a process that this one is just starting may share it for a moment.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

#[derive(Debug, Default)]
struct Pin {
    readers: u32,
    /// No object names the file any more: the last reader removes it.
    doomed: bool,
}

impl Bodies {
    pub(super) fn open(folder: PathBuf, lock: FolderLock, durability: Durability, hooks: HookCell) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let synced = (durability == Durability::Full && cfg!(unix)).then(|| File::open(&folder)).transpose()?;
        Ok(Self {
            folder,
            synced,
            durability,
            hooks,
            pins: Mutex::default(),
            failed_syncs: AtomicU64::new(0),
            _lock: lock,
        })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}"))
    }

    fn temporary(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}{TEMPORARY}"))
    }

    pub(super) fn sync_folder(&self) -> io::Result<()> {
        let synced =
            self.hooks.step(Step::SyncFolder).and_then(|()| self.synced.as_ref().map_or(Ok(()), File::sync_all));
        if synced.is_err() {
            self.failed_syncs.fetch_add(1, Ordering::SeqCst);
        }
        synced
    }

    /// Whether a sync from now on covers the name. One that failed may have lost it for good, and the next one would
    /// not tell.
    pub(super) fn can_sync(&self, renamed: Renamed) -> bool {
        renamed.failed_syncs == self.failed_syncs.load(Ordering::SeqCst)
    }

    /// Finds segments with `find` and pins their files, as one step before any removal.
    ///
    /// A removal is decided under the same lock, after the commit that took the last name away: either `find`, which
    /// begins its read transaction under the lock, sees the object no more, or the removal sees the pin.
    pub(super) fn pin<T>(
        self: &Arc<Self>,
        find: impl FnOnce() -> Result<(T, Vec<Segment>), StoreError>,
    ) -> Result<(T, Pinned), StoreError> {
        let mut pins = self.pins();
        let (found, segments) = find()?;
        for segment in &segments {
            pins.entry(segment.number).or_default().readers += 1;
        }
        drop(pins);
        Ok((found, Pinned { bodies: Arc::clone(self), segments }))
    }

    fn pins(&self) -> MutexGuard<'_, HashMap<u64, Pin>> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes files that nothing names any more, each once nobody reads it.
    ///
    /// A file that cannot be removed is left to the sweep of the next start.
    pub(super) fn release(&self, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            let read = self.pins().get_mut(&number).is_some_and(|pin| {
                pin.doomed = true;
                true
            });
            if !read {
                self.remove(number);
            }
        }
    }

    fn remove(&self, number: u64) {
        if self.hooks.step(Step::Unlink).is_ok() {
            let _ = fs::remove_file(self.path(number));
        }
    }

    /// Our files: number, whether temporary, path. Files with other names are not ours.
    fn files(&self) -> io::Result<impl Iterator<Item = io::Result<(u64, bool, PathBuf)>>> {
        Ok(fs::read_dir(&self.folder)?.filter_map(|entry| {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            let name = entry.file_name();
            let name = name.to_str()?;
            let (digits, temporary) = name.strip_suffix(TEMPORARY).map_or((name, false), |d| (d, true));
            let ours = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
            let number = digits.parse().ok().filter(|_| ours)?;
            Some(Ok((number, temporary, entry.path())))
        }))
    }

    /// Whether there is any finished body.
    pub(super) fn any(&self) -> io::Result<bool> {
        for file in self.files()? {
            if !file?.1 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes temporary files and those for whose number `is_named` says no. Returns how many were removed.
    pub(super) fn sweep(&self, mut is_named: impl FnMut(u64) -> Result<bool, StoreError>) -> Result<u64, StoreError> {
        let mut removed = 0;
        for file in self.files()? {
            let (number, temporary, path) = file?;
            if temporary || !is_named(number)? {
                fs::remove_file(path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Makes the folder's entries durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // only Unix can open and sync a folder; elsewhere the file system's own journal has to do
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Segments whose files stay while this lives.
#[derive(Debug)]
pub(super) struct Pinned {
    bodies: Arc<Bodies>,
    segments: Vec<Segment>,
}

impl Pinned {
    /// The bytes `range` of all segments in a row.
    pub(super) fn read(self, range: &Range<u64>) -> BodyReader {
        let mut start = 0_u64;
        let mut plan = Vec::new();
        for s in &self.segments {
            let end = start.saturating_add(s.len);
            let (from, to) = (range.start.max(start), range.end.min(end));
            if from < to {
                // an offset that makes no sense is one that no file has
                plan.push(Segment { offset: s.offset.saturating_add(from - start), len: to - from, ..*s });
            }
            start = end;
        }
        BodyReader {
            plan: plan.into_iter(),
            current: None,
            remaining: range.end.saturating_sub(range.start),
            pinned: self,
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let mut gone = Vec::new();
        let mut pins = self.bodies.pins();
        for segment in &self.segments {
            if let Some(pin) = pins.get_mut(&segment.number) {
                pin.readers -= 1;
                if pin.readers == 0 {
                    if pin.doomed {
                        gone.push(segment.number);
                    }
                    pins.remove(&segment.number);
                }
            }
        }
        drop(pins);
        for number in gone {
            self.bodies.remove(number);
        }
    }
}

/// Reads the bytes of one version of an object, whatever happens to the object meanwhile.
#[derive(Debug)]
pub struct BodyReader {
    plan: std::vec::IntoIter<Segment>,
    current: Option<io::Take<File>>,
    remaining: u64,
    pinned: Pinned,
}

impl BodyReader {
    /// How many bytes are still to come.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    fn open(&self, segment: Segment) -> io::Result<io::Take<File>> {
        let mut file = File::open(self.pinned.bodies.path(segment.number))?;
        if segment.offset > 0 {
            file.seek(SeekFrom::Start(segment.offset))?;
        }
        Ok(file.take(segment.len))
    }
}

impl Read for BodyReader {
    /// A body file that is missing or too short is an error, never a short body.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.current {
                Some(file) if file.limit() > 0 => {
                    let n = file.read(out)?;
                    if n == 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a body file is too short"));
                    }
                    self.remaining -= n as u64;
                    return Ok(n);
                }
                // taken from the plan only once it is open: a read that failed may be tried again
                _ => match self.plan.as_slice().first() {
                    Some(segment) => {
                        self.current = Some(self.open(*segment)?);
                        self.plan.next();
                    }
                    None if self.remaining == 0 => return Ok(0),
                    None => {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "an object's segments are too few"));
                    }
                },
            }
        }
    }
}

/// A finished body whose name is not synced yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renamed {
    pub(super) number: u64,
    /// As of before the renaming.
    failed_syncs: u64,
}

/// A body on its way in. Dropped before [`NewBody::named_by`], it leaves nothing.
#[derive(Debug)]
pub(super) struct NewBody {
    bodies: Arc<Bodies>,
    maximum: u64,
    file: Option<Draft>,
    len: u64,
    md5: Md5,
    failed: bool,
}

#[derive(Debug)]
struct Draft {
    number: u64,
    out: Option<BufWriter<File>>,
    /// Where the file is now.
    path: PathBuf,
    renamed: Option<Renamed>,
    /// It belongs to the index.
    kept: bool,
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.kept {
            if let Some(out) = self.out.take() {
                // what is still buffered is not worth writing
                drop(out.into_parts());
            }
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl NewBody {
    pub(super) fn new(bodies: &Arc<Bodies>, maximum: u64) -> Self {
        Self { bodies: Arc::clone(bodies), maximum, file: None, len: 0, md5: Md5::new(), failed: false }
    }

    /// Appends; `number` names the file with the first byte. An empty body has no file.
    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        number: impl FnOnce() -> Result<u64, StoreError>,
    ) -> Result<(), StoreError> {
        let result = self.append(bytes, number);
        self.failed |= result.is_err();
        result
    }

    fn append(&mut self, bytes: &[u8], number: impl FnOnce() -> Result<u64, StoreError>) -> Result<(), StoreError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let len = u64::try_from(bytes.len()).ok().and_then(|n| self.len.checked_add(n)).filter(|n| *n <= self.maximum);
        let len = len.ok_or(StoreError::EntityTooLarge { maximum: self.maximum })?;
        let draft = match &mut self.file {
            Some(draft) => draft,
            None => self.file.insert(Draft::create(&self.bodies, number()?)?),
        };
        self.bodies.hooks.step(Step::Write)?;
        let out = draft.out.as_mut().ok_or(StoreError::InvalidRequest("the body is finished"))?;
        out.write_all(bytes)?;
        self.md5.update(bytes);
        self.len = len;
        Ok(())
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn md5(&self) -> [u8; 16] {
        self.md5.clone().finalize().into()
    }

    /// write → fsync → rename to its number; the caller has the folder synced before the index names it.
    pub(super) fn finish(&mut self) -> Result<Option<Segment>, StoreError> {
        if self.failed {
            return Err(StoreError::InvalidRequest("a write of this body failed"));
        }
        let Some(draft) = &mut self.file else { return Ok(None) };
        let hooks = &self.bodies.hooks;
        if let Some(out) = draft.out.take() {
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            hooks.step(Step::SyncBody)?;
            if self.bodies.durability == Durability::Full {
                file.sync_all()?;
            }
            hooks.step(Step::Rename)?;
            let renamed =
                Renamed { number: draft.number, failed_syncs: self.bodies.failed_syncs.load(Ordering::SeqCst) };
            let path = self.bodies.path(draft.number);
            fs::rename(&draft.path, &path)?;
            draft.path = path;
            draft.renamed = Some(renamed);
        }
        Ok(Some(Segment { number: draft.number, offset: 0, len: self.len }))
    }

    /// Has the index name the finished file by `write`. It stays once the index names it, or may name it: also if
    /// `write` panics, which it may do behind the commit.
    pub(super) fn named_by<T>(
        &mut self,
        write: impl FnOnce(Option<Renamed>) -> Result<T, Failed>,
    ) -> Result<T, StoreError> {
        self.keep(true);
        let result = write(self.file.as_ref().and_then(|draft| draft.renamed));
        self.keep(!matches!(result, Err(Failed::Refused(_))));
        Ok(result?)
    }

    fn keep(&mut self, kept: bool) {
        if let Some(draft) = &mut self.file {
            draft.kept = kept;
        }
    }
}

impl Draft {
    fn create(bodies: &Bodies, number: u64) -> io::Result<Self> {
        bodies.hooks.step(Step::Create)?;
        let path = bodies.temporary(number);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok(Self { number, out: Some(BufWriter::with_capacity(BUFFER, file)), path, renamed: None, kept: false })
    }
}
