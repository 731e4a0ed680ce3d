//! Opening many objects: a folder of bodies and headers, or a manifest that names them.
//!
//! A run may be broken off and started again. A journal in the output folder has a line for each file that was written:
//!
//! ```text
//! SHA-256(lp(ctx) ‖ lp(header, or nothing) ‖ lp(body's path) ‖ body's length, mtime, inode, device
//!         ‖ lp(output's path below the folder) ‖ output's length, mtime, inode)
//! ```
//!
//! So a later run tells what it wrote itself from these very bytes from everything else, also from an output or a body
//! that has changed since. Nothing is overwritten.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::open::{NewFile, Opening, ScopeOf, Sink, Source, open_object, read_header};
use super::{OfflineError, Progress, io_at, refused_at, shown, shown_text};
use crate::clock::Clock;
use crate::crypto::random::RandomSource;
use crate::digest::{hex, sha256, unhex};
use crate::format::context::Context;
use crate::format::envelope::{MAX_TEXT_LEN, Unverified};
use crate::keys::KeyProvider;
use crate::object::{Address, BucketId, ObjectKey, TenantId};

/// What the name of a header's file ends with, beside the body's.
const HEADER_SUFFIX: &str = ".sealgate";
/// Where the header of the body at `body` lies unless somebody says otherwise.
#[must_use]
pub fn header_beside(body: &Path) -> PathBuf {
    let mut beside = body.as_os_str().to_owned();
    beside.push(HEADER_SUFFIX);
    PathBuf::from(beside)
}

/// Where the gateway keeps the state of unfinished uploads: no objects.
const RESERVED: &str = ".sealgate";
/// The longest line of a manifest.
const MAX_LINE: u64 = 64 << 10;
/// The journal's name in the output folder; no key has it, because `%` in a key becomes `%25`.
const JOURNAL: &str = ".%journal";
/// The longest name that an output file's path gets between two slashes.
const MAX_NAME: usize = 200;

/// Where an object's header is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemHeader {
    /// In a file.
    File(PathBuf),
    /// Here, as text.
    Text(String),
    /// Lost.
    Missing,
}

/// Whose object it is, and its name.
#[derive(Clone)]
pub struct ItemName {
    /// The tenant.
    pub tenant: TenantId,
    /// The bucket.
    pub bucket: BucketId,
    /// The object key.
    pub key: ObjectKey,
}

/// One object to be opened.
#[derive(Clone)]
pub struct Item {
    /// The body's file.
    pub body: PathBuf,
    /// The header.
    pub header: ItemHeader,
    /// The name.
    pub name: ItemName,
}

/// An entry that names no object. The work goes on with the next.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct ItemError {
    /// Which file, or which line of the manifest.
    pub place: String,
    /// What is wrong.
    pub reason: String,
    /// Whether it could not be read, rather than makes no sense.
    pub is_failure: bool,
}

/// How one object ended.
#[derive(Debug)]
pub enum Outcome {
    /// Opened and written.
    Opened {
        /// Plaintext bytes.
        bytes: u64,
        /// Without its header: the name is not bound to the content.
        recovered: bool,
    },
    /// An earlier run wrote it.
    Present,
    /// Not opened.
    Problem(OfflineError),
    /// It could not even be named.
    Unnamed(ItemError),
}

/// What all the work came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Opened and written in this run.
    pub opened: u64,
    /// Of these, without their header.
    pub recovered: u64,
    /// Written by an earlier run.
    pub present: u64,
    /// Refused: verification or policy.
    pub refused: u64,
    /// Could not be done.
    pub failed: u64,
    /// Plaintext bytes written in this run.
    pub bytes: u64,
    /// Whether the work was ended early, because nothing more could be written.
    pub ended_early: bool,
}

impl Account {
    /// Adds one object.
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Opened { bytes, recovered } => {
                self.opened += 1;
                self.recovered += u64::from(*recovered);
                self.bytes += bytes;
            }
            Outcome::Present => self.present += 1,
            Outcome::Problem(error) if error.is_refusal() => self.refused += 1,
            Outcome::Problem(_) => self.failed += 1,
            Outcome::Unnamed(error) if error.is_failure => self.failed += 1,
            Outcome::Unnamed(_) => self.refused += 1,
        }
    }

    /// All objects that were seen.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.opened + self.present + self.refused + self.failed
    }
}

/// The work.
pub struct Bulk<'a> {
    /// Who unwraps.
    pub provider: &'a dyn KeyProvider,
    /// Which scope a KEK id belongs to.
    pub scope_of: &'a ScopeOf<'a>,
    /// The folder that the plaintext goes to.
    pub out: &'a Path,
    /// Whether outputs go below folders named after tenant and bucket: where items of several can come.
    pub by_bucket: bool,
    /// Whether bodies without a header are opened by their recovery record.
    pub recover: bool,
    /// For temporary names.
    pub random: &'a RandomSource,
    /// For the hedge of the draws.
    pub clock: &'a dyn Clock,
}

impl Bulk<'_> {
    /// Opens all items. `told` hears of each, with the words that name it. Fails only where there can be no journal.
    pub async fn run(
        &self,
        items: impl Iterator<Item = Result<Item, ItemError>>,
        progress: &mut dyn Progress,
        told: &mut dyn FnMut(&str, &Outcome),
    ) -> Result<Account, OfflineError> {
        fs::create_dir_all(self.out).map_err(io_at(self.out))?;
        let journal = RefCell::new(Journal::open(self.out)?);
        let mut account = Account::default();
        for item in items {
            let (words, outcome) = match item {
                Ok(item) => {
                    let outcome = self.open(&item, &journal, progress).await;
                    (shown(&item.body), outcome.unwrap_or_else(Outcome::Problem))
                }
                Err(error) => (error.place.clone(), Outcome::Unnamed(error)),
            };
            account.add(&outcome);
            told(&words, &outcome);
            if let Outcome::Problem(OfflineError::Io { cause, .. }) = &outcome
                && matches!(
                    cause.kind(),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
                )
            {
                account.ended_early = true;
                break;
            }
        }
        Ok(account)
    }

    async fn open(
        &self,
        item: &Item,
        journal: &RefCell<Journal>,
        progress: &mut dyn Progress,
    ) -> Result<Outcome, OfflineError> {
        let facts = item.body.metadata().map_err(io_at(&item.body))?;
        let ItemName { tenant, bucket, key } = item.name.clone();
        let address = Address { tenant, bucket, key };
        let (header, header_bytes) = item.header()?;
        let (target, below) = self.target(&address)?;
        let source = sha256(&[
            &lp(Context::object(&address).as_bytes()),
            &lp(&header_bytes),
            &lp(item.body.as_os_str().as_bytes()),
            &stamp(&facts, true),
            &lp(below.as_os_str().as_bytes()),
        ]);
        if let Ok(there) = target.symlink_metadata() {
            let known = there.is_file() && journal.borrow().knows(&source, &there);
            return if known { Ok(Outcome::Present) } else { Err(OfflineError::Exists { path: target }) };
        }
        let recovered = header.is_none();
        let from = match header {
            Some(header) => Source::Header { header: Box::new(header), address: &address },
            None if self.recover => Source::Record { tenant: &address.tenant },
            None => return Err(OfflineError::NoHeader { path: item.body.clone() }),
        };
        let unique = u64::from_be_bytes(self.random.draw_public(self.clock.now(), b"temporary name")?);
        let opening = Opening { provider: self.provider, scope_of: self.scope_of, body: &item.body, source: from };
        let mut enter = |facts: &fs::Metadata| journal.borrow_mut().enter(&source, facts);
        let sink = Sink::File(NewFile { path: &target, unique, before_name: Some(&mut enter) });
        let opened = open_object(opening, sink, progress).await?;
        Ok(Outcome::Opened { bytes: opened.plaintext_len, recovered })
    }

    /// The output's path, whole and below the folder; the folders above it are made. A file where a folder is needed,
    /// and the reverse, get names that no key has.
    fn target(&self, address: &Address) -> Result<(PathBuf, PathBuf), OfflineError> {
        let mut names = Vec::new();
        if self.by_bucket {
            names.extend([address.tenant.to_string(), address.bucket.to_string()]);
        }
        names.extend(safe_names(&address.key));
        let last = names.pop().unwrap_or_default();
        let mut below = PathBuf::new();
        for name in names {
            below.push(&name);
            if self.out.join(&below).is_file() {
                below.set_file_name(format!("{name}%d"));
            }
        }
        let folder = self.out.join(&below);
        fs::create_dir_all(&folder).map_err(io_at(&folder))?;
        below.push(&last);
        if self.out.join(&below).is_dir() {
            below.set_file_name(format!("{last}%f"));
        }
        Ok((self.out.join(&below), below))
    }
}

impl Item {
    /// The header, if there is one, and the bytes that stand for it in the journal.
    fn header(&self) -> Result<(Option<Unverified>, Vec<u8>), OfflineError> {
        let header = match &self.header {
            ItemHeader::File(path) => read_header(path)?,
            ItemHeader::Text(text) => Unverified::parse_text(text).map_err(refused_at(&self.body))?,
            ItemHeader::Missing => return Ok((None, Vec::new())),
        };
        let bytes = header.as_bytes().to_vec();
        Ok((Some(header), bytes))
    }
}

fn lp(bytes: &[u8]) -> Vec<u8> {
    let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes();
    [&len[..], bytes].concat()
}

/// What tells a file from another one, or from itself before it was written to.
fn stamp(facts: &fs::Metadata, with_device: bool) -> Vec<u8> {
    let device = if with_device { facts.dev() } else { 0 };
    let times = [facts.mtime(), facts.mtime_nsec()].map(i64::to_be_bytes);
    let numbers = [facts.len(), facts.ino(), device].map(u64::to_be_bytes);
    times.into_iter().chain(numbers).flatten().collect()
}

/// What was written by this and earlier runs.
struct Journal {
    path: PathBuf,
    file: File,
    known: HashSet<[u8; 16]>,
}

impl Journal {
    /// Reads the journal of `folder`, or begins one. A last line that was cut by a crash is passed over.
    fn open(folder: &Path) -> Result<Self, OfflineError> {
        let path = folder.join(JOURNAL);
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&path).map_err(io_at(&path))?;
        let mut known = HashSet::new();
        let mut reader = BufReader::new(&file);
        let mut line = Vec::new();
        let mut is_whole = true;
        loop {
            line.clear();
            let len = io::Read::take(&mut reader, 64).read_until(b'\n', &mut line).map_err(io_at(&path))?;
            if len == 0 {
                break;
            }
            is_whole = line.ends_with(b"\n");
            known.extend(unhex::<16>(line.trim_ascii()));
        }
        let mut journal = Self { path, file, known };
        if !is_whole {
            journal.append(b"\n")?;
        }
        Ok(journal)
    }

    fn entry(source: &[u8; 32], output: &fs::Metadata) -> [u8; 16] {
        let digest = sha256(&[source, &stamp(output, false)]);
        digest.first_chunk().copied().unwrap_or_default()
    }

    fn knows(&self, source: &[u8; 32], output: &fs::Metadata) -> bool {
        self.known.contains(&Self::entry(source, output))
    }

    /// Enters a file that is whole and on the device, just before it gets its name.
    fn enter(&mut self, source: &[u8; 32], output: &fs::Metadata) -> Result<(), OfflineError> {
        let entry = Self::entry(source, output);
        self.append(format!("{}\n", hex(&entry)).as_bytes())?;
        self.known.insert(entry);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), OfflineError> {
        self.file.write_all(bytes).and_then(|()| self.file.sync_data()).map_err(io_at(&self.path))
    }
}

/// The names between the slashes of an output's path: those of the key, where a file system can bear them.
///
/// Injective: `%`, control characters and bytes that are not UTF-8 are percent-encoded, as are names that are `.` or
/// `..`; an empty name is `%`, and a long one goes on in a folder whose name ends with `%+`.
fn safe_names(key: &ObjectKey) -> Vec<String> {
    let mut names = Vec::new();
    for segment in key.as_bytes().split(|&byte| byte == b'/') {
        let mut name = if segment.is_empty() { "%".to_owned() } else { encode(segment) };
        while name.len() > MAX_NAME {
            let cut = (0..=MAX_NAME).rev().find(|&at| is_cut(&name, at)).unwrap_or(MAX_NAME);
            let rest = name.split_off(cut);
            names.push(format!("{name}%+"));
            name = rest;
        }
        // also what a long name leaves over
        names.push(match name.as_str() {
            "." => "%2E".to_owned(),
            ".." => "%2E%2E".to_owned(),
            _ => name,
        });
    }
    names
}

/// Whether `name` may be cut before byte `at`: not within a character or an escape.
fn is_cut(name: &str, at: usize) -> bool {
    let within_escape = |back: usize| name.get(at.saturating_sub(back)..at).is_some_and(|c| c.starts_with('%'));
    name.is_char_boundary(at) && !within_escape(1) && !within_escape(2)
}

fn encode(segment: &[u8]) -> String {
    let mut out = String::with_capacity(segment.len());
    for chunk in segment.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '%' || c.is_control() {
                let mut bytes = [0; 4];
                c.encode_utf8(&mut bytes).bytes().for_each(|byte| push_escape(&mut out, byte));
            } else {
                out.push(c);
            }
        }
        chunk.invalid().iter().for_each(|&byte| push_escape(&mut out, byte));
    }
    out
}

fn push_escape(out: &mut String, byte: u8) {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default().to_ascii_uppercase();
    out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestLine {
    body: PathBuf,
    header: Option<String>,
    header_file: Option<PathBuf>,
    tenant: Option<String>,
    bucket: Option<String>,
    key: String,
}

/// The objects of a manifest: one JSON object a line, with `body`, `key`, `header` (text) or `header_file`, and where
/// they differ from the defaults `tenant` and `bucket`. Relative paths start at the manifest's folder.
pub fn manifest_items<'a>(
    mut reader: impl BufRead + 'a,
    folder: &'a Path,
    tenant: Option<&'a TenantId>,
    bucket: Option<&'a BucketId>,
) -> impl Iterator<Item = Result<Item, ItemError>> + 'a {
    let mut number = 0u64;
    let mut done = false;
    std::iter::from_fn(move || {
        loop {
            if done {
                return None;
            }
            number += 1;
            let fault =
                |reason: String| ItemError { place: format!("manifest line {number}"), reason, is_failure: false };
            let mut line = Vec::new();
            match io::Read::take(&mut reader, MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(len) if len as u64 == MAX_LINE && !line.ends_with(b"\n") => {
                    done = true;
                    return Some(Err(fault("too long: the rest of the manifest was not read".to_owned())));
                }
                Ok(_) if line.trim_ascii().is_empty() => {}
                Ok(_) => return Some(manifest_item(&line, folder, tenant, bucket).map_err(fault)),
                Err(error) => {
                    done = true;
                    return Some(Err(ItemError { is_failure: true, ..fault(error.to_string()) }));
                }
            }
        }
    })
}

fn manifest_item(
    line: &[u8],
    folder: &Path,
    tenant: Option<&TenantId>,
    bucket: Option<&BucketId>,
) -> Result<Item, String> {
    let line: ManifestLine = serde_json::from_slice(line).map_err(|error| shown_text(&error.to_string()))?;
    let tenant = match (line.tenant, tenant) {
        (Some(text), _) => text.parse().map_err(|error: crate::object::AddressError| error.to_string())?,
        (None, Some(tenant)) => tenant.clone(),
        (None, None) => return Err("no tenant, here or by default".to_owned()),
    };
    let bucket = match (line.bucket, bucket) {
        (Some(text), _) => text.parse().map_err(|error: crate::object::AddressError| error.to_string())?,
        (None, Some(bucket)) => bucket.clone(),
        (None, None) => return Err("no bucket, here or by default".to_owned()),
    };
    let key = ObjectKey::new(line.key).map_err(|error| error.to_string())?;
    let header = match (line.header, line.header_file) {
        (Some(text), None) => ItemHeader::Text(text),
        (None, Some(path)) => ItemHeader::File(folder.join(path)),
        (None, None) => ItemHeader::Missing,
        (Some(_), Some(_)) => return Err("both `header` and `header_file`".to_owned()),
    };
    Ok(Item { body: folder.join(line.body), header, name: ItemName { tenant, bucket, key } })
}

/// The objects of a folder: each regular file is a body, its path below the folder the object key, and the file of
/// that name with `.sealgate` behind it its header. The reserved folder `.sealgate` and the output folder are passed over,
/// and links are not followed.
pub fn folder_items<'a>(
    folder: &'a Path,
    out: &'a Path,
    tenant: &'a TenantId,
    bucket: &'a BucketId,
) -> impl Iterator<Item = Result<Item, ItemError>> + 'a {
    let mut open: Vec<fs::ReadDir> = Vec::new();
    let mut started = false;
    std::iter::from_fn(move || {
        if !started {
            started = true;
            match fs::read_dir(folder) {
                Ok(entries) => open.push(entries),
                Err(error) => return Some(Err(item_error(folder, &error))),
            }
        }
        loop {
            let entry = match open.last_mut()?.next() {
                None => {
                    open.pop();
                    continue;
                }
                Some(Err(error)) => return Some(Err(item_error(folder, &error))),
                Some(Ok(entry)) => entry,
            };
            let path = entry.path();
            match entry.file_type() {
                Err(error) => return Some(Err(item_error(&path, &error))),
                Ok(kind) if kind.is_dir() => {
                    if path.strip_prefix(folder) == Ok(Path::new(RESERVED)) || is_same(&path, out) {
                        continue;
                    }
                    match fs::read_dir(&path) {
                        Ok(entries) => open.push(entries),
                        Err(error) => return Some(Err(item_error(&path, &error))),
                    }
                }
                Ok(kind) if kind.is_file() && !is_header(&path) => {
                    return Some(folder_item(&path, folder, tenant, bucket));
                }
                Ok(kind) if kind.is_file() => {}
                Ok(_) => {
                    let reason = "neither a file nor a folder".to_owned();
                    return Some(Err(ItemError { place: shown(&path), reason, is_failure: false }));
                }
            }
        }
    })
}

/// Whether two paths lead to one file.
#[must_use]
pub fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().map(|facts| (facts.dev(), facts.ino())).ok();
    id(one).is_some() && id(one) == id(other)
}

fn item_error(path: &Path, error: &io::Error) -> ItemError {
    ItemError { place: shown(path), reason: error.to_string(), is_failure: true }
}

/// A file is a header if its name without the suffix is a file beside it, and it reads as one.
fn is_header(path: &Path) -> bool {
    let Some(body) = path.as_os_str().as_bytes().strip_suffix(HEADER_SUFFIX.as_bytes()) else { return false };
    Path::new(OsStr::from_bytes(body)).is_file() && reads_as_header(path)
}

fn reads_as_header(path: &Path) -> bool {
    let short = path.metadata().is_ok_and(|facts| facts.is_file() && facts.len() <= MAX_TEXT_LEN as u64 + 1);
    short && read_header(path).is_ok()
}

fn folder_item(path: &Path, folder: &Path, tenant: &TenantId, bucket: &BucketId) -> Result<Item, ItemError> {
    let below = path.strip_prefix(folder).unwrap_or(path);
    let key = ObjectKey::new(below.as_os_str().as_bytes())
        .map_err(|error| ItemError { is_failure: false, ..item_error(path, &io::Error::other(error)) })?;
    let beside = header_beside(path);
    // What lies beside and does not read as a header is an object of its own, or damaged: then this one has none.
    let header = if reads_as_header(&beside) { ItemHeader::File(beside) } else { ItemHeader::Missing };
    let name = ItemName { tenant: tenant.clone(), bucket: bucket.clone(), key };
    Ok(Item { body: path.to_owned(), header, name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(key: &[u8]) -> Vec<String> {
        safe_names(&ObjectKey::new(key).unwrap())
    }

    #[test]
    fn no_key_leaves_the_folder_and_ordinary_ones_stay_as_they_are() {
        assert_eq!(names(b"a/b c/\xc3\xbc.txt"), ["a", "b c", "ü.txt"]);
        assert_eq!(names(b"../../etc/passwd"), ["%2E%2E", "%2E%2E", "etc", "passwd"]);
        assert_eq!(names(b"/a//b/"), ["%", "a", "%", "b", "%"]);
        assert_eq!(names(b"./100%/\n\xff"), ["%2E", "100%25", "%0A%FF"]);
        for name in names(&[b'x'; 1024]).iter().chain(&names("é%".repeat(340).as_bytes())) {
            assert!(name.len() <= MAX_NAME + 2 && !name.is_empty());
        }
    }

    #[test]
    fn different_keys_have_different_names() {
        use proptest::prelude::*;
        let key = || prop::collection::vec(prop::sample::select(b"ab/.%+2E\xc3\xbc\xff\n".to_vec()), 1..12);
        proptest!(ProptestConfig::with_cases(5000), |(a in key(), b in key())| {
            prop_assert_eq!(a == b, names(&a) == names(&b));
        });
        let segment = || (195..410usize, prop::sample::select(vec!["", ".", "..", "...", "%", "ü"]));
        let path = |key: &[u8]| names(key).iter().collect::<PathBuf>();
        proptest!(ProptestConfig::with_cases(3000), |(a in segment(), b in segment(), tail in prop::bool::ANY)| {
            let key = |(len, end): (usize, &str)| {
                let rest = if tail { "/foo" } else { "" };
                format!("{}{end}{rest}", "x".repeat(len)).into_bytes()
            };
            prop_assert_eq!(key(a) == key(b), path(&key(a)) == path(&key(b)));
            for component in path(&key(a)).components() {
                prop_assert!(matches!(component, std::path::Component::Normal(_)), "{component:?}");
            }
        });
        let (long, longer) = (vec![b'x'; 900], vec![b'x'; 901]);
        assert_ne!(names(&long), names(&longer));
        assert_eq!(names(&long).concat().replace("%+", ""), "x".repeat(900));
    }

    #[test]
    fn escapes_are_not_cut() {
        for pad in 190..205 {
            let mut key = vec![b'x'; pad];
            key.extend([0xff; 40]);
            for name in names(&key) {
                let plain = name.trim_end_matches("%+");
                let escapes = plain.matches("%FF").count();
                assert_eq!(plain.matches('%').count(), escapes);
                assert_eq!(plain.replace("%FF", "").trim_matches('x'), "");
            }
        }
    }

    #[test]
    fn faulty_manifest_lines_are_named_and_passed_over() {
        let text = concat!(
            "{\"body\":\"a\",\"key\":\"k\",\"header\":\"AQ\"}\n",
            "\n",
            "{\"body\":\"a\"}\n",
            "{\"body\":\"a\",\"key\":\"k\",\"tenant\":\"T\"}\n",
            "{\"body\":\"a\",\"key\":\"\"}\n",
            "{\"body\":\"a\",\"key\":\"k\",\"header\":\"x\",\"header_file\":\"y\"}\n",
            "{\"body\":\"a\",\"key\":\"k\",\"colour\":1}\n",
            "{\"body\":\"/abs\",\"key\":\"../k\",\"bucket\":\"other\",\"header_file\":\"h\"}"
        );
        let (tenant, bucket) = ("t".parse().unwrap(), "b".parse().unwrap());
        let items: Vec<_> = manifest_items(text.as_bytes(), Path::new("/m"), Some(&tenant), Some(&bucket)).collect();
        let lines: Vec<String> = items.iter().filter_map(|i| i.as_ref().err()).map(|e| e.place.clone()).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7].map(|n| format!("manifest line {n}")));
        let good: Vec<&Item> = items.iter().filter_map(|i| i.as_ref().ok()).collect();
        assert_eq!(good[0].body, Path::new("/m/a"));
        assert_eq!(good[1].body, Path::new("/abs"));
        assert_eq!(good[1].header, ItemHeader::File("/m/h".into()));
        assert_eq!((good[0].name.bucket.as_str(), good[1].name.bucket.as_str()), ("b", "other"));
        let none: Vec<_> = manifest_items(text.as_bytes(), Path::new("/m"), None, None).collect();
        assert!(none.iter().all(Result::is_err));
        let endless = vec![b'x'; 70_000];
        assert_eq!(manifest_items(&endless[..], Path::new("/m"), None, None).count(), 1);
    }
}
