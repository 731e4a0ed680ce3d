//! The embedded store from outside: against a model, under many threads, killed, and on a full disk.

mod versions;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use proptest::prelude::*;
use sealgate::clock::SystemClock;
use sealgate::crypto::random::RandomSource;
use sealgate::digest::sha256;
use sealgate::embedded::{
    BucketName, CopyRequest, Durability, ETag, Hooks, Limits, ListRequest, ListUploadsRequest, ObjectLock, ObjectMeta,
    Options, ReadCondition, ReadRange, Step, Store, StoreError, Upload, WriteCondition, Written,
};
use sealgate::object::{ObjectKey, PartNumber};
use tempfile::TempDir;

fn open(folder: &Path, durability: Durability) -> Store {
    let options = Options::new(Arc::new(SystemClock), Arc::new(RandomSource::new(&[b"test"])));
    let limits = Limits { min_part: 4, ..Limits::default() };
    Store::open(folder, Options { durability, limits, cache: 8 << 20, ..options }).unwrap()
}

fn bucket() -> BucketName {
    "bucket".parse().unwrap()
}

fn key(bytes: impl AsRef<[u8]>) -> ObjectKey {
    ObjectKey::new(bytes.as_ref()).unwrap()
}

fn part(n: u32) -> PartNumber {
    PartNumber::new(n).unwrap()
}

fn put(store: &Store, k: &[u8], body: &[u8], condition: WriteCondition) -> Result<Written, StoreError> {
    let mut writer = store.put(&bucket(), &key(k))?;
    for chunk in body.chunks(64 * 1024) {
        writer.write(chunk)?;
    }
    let meta = ObjectMeta { opaque: sha256(&[body]).to_vec(), ..ObjectMeta::default() };
    writer.commit(meta, condition)
}

fn get(store: &Store, k: &[u8], range: ReadRange) -> Result<Vec<u8>, StoreError> {
    let mut object = store.get(&bucket(), &key(k), &ReadCondition::default(), range)?;
    let mut body = Vec::new();
    object.body.read_to_end(&mut body)?;
    Ok(body)
}

fn send_part(store: &Store, upload: &Upload, n: u32, body: &[u8]) -> Result<ETag, StoreError> {
    let mut writer = store.upload_part(upload, part(n))?;
    writer.write(body)?;
    Ok(writer.commit()?.etag)
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder.join("bodies")).unwrap().count()
}

/// All keys by pages of `max_keys`: (key, size, etag), common prefixes; each page checked for its bound and order.
type Listing = (Vec<(Vec<u8>, u64, ETag)>, Vec<Vec<u8>>);
fn list_all(store: &Store, prefix: &[u8], delimiter: &[u8], max_keys: u32) -> Listing {
    let mut request =
        ListRequest { prefix: prefix.to_vec(), delimiter: delimiter.to_vec(), after: Vec::new(), max_keys };
    let (mut objects, mut prefixes) = (Vec::new(), Vec::new());
    loop {
        let page = store.list(&bucket(), &request).unwrap();
        let count = page.objects.len() + page.common_prefixes.len();
        assert!(count <= max_keys as usize && (page.next.is_none() || count == max_keys as usize));
        objects.extend(page.objects.into_iter().map(|o| (o.key.as_bytes().to_vec(), o.size, o.etag)));
        prefixes.extend(page.common_prefixes);
        let Some(next) = page.next else { break };
        assert!(next > request.after);
        request.after = next;
    }
    assert!(objects.is_sorted() && prefixes.is_sorted());
    (objects, prefixes)
}

#[derive(Clone, Debug)]
enum Op {
    Put(Vec<u8>, Vec<u8>, u8),
    Delete(Vec<u8>),
    DeleteMany(Vec<Vec<u8>>),
    Copy(Vec<u8>, Vec<u8>),
    Get(Vec<u8>, u64, u64),
    List(Vec<u8>, Vec<u8>, Vec<u8>, u32),
    Multipart(Vec<u8>, Vec<(u32, Vec<u8>)>, bool),
    Reopen,
}

/// Few enough letters that keys meet, prefixes nest and delimiters occur.
fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![b'a', b'b', b'/', 0, 0xff]), 1..6)
}

fn any_op() -> impl Strategy<Value = Op> {
    let body = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        8 => (any_key(), body(), 0..4_u8).prop_map(|(k, b, c)| Op::Put(k, b, c)),
        3 => any_key().prop_map(Op::Delete),
        1 => prop::collection::vec(any_key(), 0..4).prop_map(Op::DeleteMany),
        3 => (any_key(), any_key()).prop_map(|(a, b)| Op::Copy(a, b)),
        3 => (any_key(), 0..50_u64, 0..50_u64).prop_map(|(k, a, b)| Op::Get(k, a, b)),
        3 => (
            prop::collection::vec(prop::sample::select(vec![b'a', b'/', 0xff]), 0..3),
            prop::sample::select(vec![&b""[..], b"/", b"a/", b"\xff"]),
            any_key(),
            1..5_u32,
        )
            .prop_map(|(p, d, after, n)| Op::List(p, d.to_vec(), after, n)),
        2 => (any_key(), prop::collection::vec((1..20_u32, body()), 1..6), any::<bool>())
            .prop_map(|(k, p, c)| Op::Multipart(k, p, c)),
        1 => Just(Op::Reopen),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Model(BTreeMap<Vec<u8>, (Vec<u8>, ETag)>);

impl Model {
    fn list(&self, prefix: &[u8], delimiter: &[u8]) -> Listing {
        let (mut objects, mut prefixes) = (Vec::new(), BTreeSet::new());
        for (k, (body, etag)) in self.0.iter().filter(|(k, _)| k.starts_with(prefix)) {
            let rest = &k[prefix.len()..];
            let at = rest.windows(delimiter.len().max(1)).position(|w| !delimiter.is_empty() && w == delimiter);
            match at {
                Some(at) => _ = prefixes.insert(k[..prefix.len() + at + delimiter.len()].to_vec()),
                None => objects.push((k.clone(), body.len() as u64, etag.clone())),
            }
        }
        (objects, prefixes.into_iter().collect())
    }

    fn check(&self, store: &Store) {
        assert_eq!(list_all(store, b"", b"", 1000), self.list(b"", b""));
        for (k, (body, etag)) in &self.0 {
            assert_eq!(&get(store, k, ReadRange::Whole).unwrap(), body);
            assert_eq!(&store.head(&bucket(), &key(k)).unwrap().etag, etag);
        }
    }

    fn run(&mut self, store: &Store, op: Op) {
        match op {
            Op::Put(k, body, choice) => {
                let old = self.0.get(&k).map(|(_, etag)| etag.clone());
                let (condition, holds) = match (choice, &old) {
                    (0, None) => (WriteCondition::IfNoneMatchAny, true),
                    (0, Some(_)) => (WriteCondition::IfNoneMatchAny, false),
                    (1, Some(etag)) => (WriteCondition::IfMatch(etag.clone()), true),
                    (1, None) | (2, Some(_)) => (WriteCondition::IfMatch(ETag::new("x")), false),
                    _ => (WriteCondition::None, true),
                };
                let result = put(store, &k, &body, condition);
                assert_eq!(result.is_ok(), holds);
                if let Ok(written) = result {
                    self.0.insert(k, (body, written.etag));
                }
            }
            Op::Delete(k) => {
                assert_eq!(store.delete(&bucket(), &key(&k)).unwrap(), self.0.remove(&k).is_some());
            }
            Op::DeleteMany(keys) => {
                let was: Vec<_> = keys.iter().map(|k| self.0.remove(k).is_some()).collect();
                let keys: Vec<_> = keys.iter().map(key).collect();
                assert_eq!(store.delete_many(&bucket(), &keys).unwrap(), was);
            }
            Op::Copy(from, to) => {
                let b = bucket();
                let result = store.copy(CopyRequest {
                    from_bucket: &b,
                    from_key: &key(&from),
                    from_version: None,
                    from_condition: ReadCondition::default(),
                    bucket: &b,
                    key: &key(&to),
                    meta: (from == to).then(ObjectMeta::default),
                    tags: None,
                    lock: ObjectLock::default(),
                    condition: WriteCondition::None,
                });
                match self.0.get(&from).cloned() {
                    Some((body, etag)) => {
                        assert_eq!(result.unwrap().etag, etag);
                        self.0.insert(to, (body, etag));
                    }
                    None => assert!(matches!(result, Err(StoreError::NoSuchKey))),
                }
            }
            Op::Get(k, first, last) => {
                let result = get(store, &k, ReadRange::Span { first, last });
                match self.0.get(&k) {
                    None => assert!(matches!(result, Err(StoreError::NoSuchKey))),
                    Some((body, _)) if first > last || first >= body.len() as u64 => {
                        assert!(matches!(result, Err(StoreError::InvalidRange { .. })));
                    }
                    Some((body, _)) => {
                        let end = body.len().min(last as usize + 1);
                        assert_eq!(result.unwrap(), body[first as usize..end]);
                    }
                }
            }
            Op::List(prefix, delimiter, after, max_keys) => {
                let (mut objects, mut prefixes) = self.list(&prefix, &delimiter);
                assert_eq!(list_all(store, &prefix, &delimiter, max_keys), (objects.clone(), prefixes.clone()));
                // from any marker on: the results behind it, keys and common prefixes alike
                objects.retain(|(k, ..)| *k > after);
                prefixes.retain(|p| *p > after);
                let page = store.list(&bucket(), &ListRequest { prefix, delimiter, after, max_keys: 1000 }).unwrap();
                assert!(page.objects.iter().map(|o| o.key.as_bytes()).eq(objects.iter().map(|(k, ..)| &k[..])));
                assert_eq!((page.common_prefixes, page.next), (prefixes, None));
            }
            Op::Multipart(k, sent, complete) => {
                let upload = store.create_upload(&bucket(), &key(&k), ObjectMeta::default()).unwrap();
                let mut parts = BTreeMap::new();
                for (n, body) in sent {
                    parts.insert(n, (send_part(store, &upload, n, &body).unwrap(), body));
                }
                let named: Vec<_> = parts.iter().map(|(n, (etag, _))| (part(*n), etag.clone())).collect();
                let small = parts.values().rev().skip(1).any(|(_, body)| body.len() < 4);
                if complete && !small {
                    let written = store.complete_upload(&upload, &named, WriteCondition::None).unwrap();
                    let body = parts.into_values().flat_map(|(_, body)| body).collect();
                    self.0.insert(k, (body, written.etag));
                } else {
                    if small {
                        let refused = store.complete_upload(&upload, &named, WriteCondition::None);
                        assert!(matches!(refused, Err(StoreError::EntityTooSmall { .. })));
                    }
                    store.abort_upload(&upload).unwrap();
                }
            }
            Op::Reopen => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn the_store_does_what_an_ordered_map_does(ops in prop::collection::vec(any_op(), 1..60)) {
        let folder = TempDir::new().unwrap();
        let mut store = open(folder.path(), Durability::None);
        store.create_bucket(&bucket()).unwrap();
        let mut model = Model(BTreeMap::new());
        for op in ops.into_iter().chain([Op::Reopen]) {
            if let Op::Reopen = op {
                model.check(&store);
                drop(store);
                store = open(folder.path(), Durability::None);
                prop_assert_eq!(store.swept(), 0);
            } else {
                model.run(&store, op);
            }
        }
        model.check(&store);
        let keys: Vec<_> = model.0.keys().map(key).collect();
        for keys in keys.chunks(1000) {
            store.delete_many(&bucket(), keys).unwrap();
        }
        store.delete_bucket(&bucket()).unwrap();
        prop_assert_eq!(files(folder.path()), 0);
    }
}

fn threads<T: Send>(n: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let running: Vec<_> = (0..n)
            .map(|i| {
                scope.spawn({
                    let work = &work;
                    move || work(i)
                })
            })
            .collect();
        running.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

fn with_bucket() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path(), Durability::None);
    store.create_bucket(&bucket()).unwrap();
    (folder, store)
}

#[test]
fn of_eight_that_create_one_key_exactly_one_wins() {
    let (folder, store) = with_bucket();
    for round in 0..30_u8 {
        let results = threads(8, |i| put(&store, &[round], &[i as u8; 3], WriteCondition::IfNoneMatchAny).is_ok());
        let winner = results.iter().position(|won| *won).unwrap();
        assert_eq!(results.iter().filter(|won| **won).count(), 1);
        assert_eq!(get(&store, &[round], ReadRange::Whole).unwrap(), [winner as u8; 3]);
    }
    assert_eq!(files(folder.path()), 30);
}

#[test]
fn a_counter_by_if_match_loses_no_count() {
    let (folder, store) = with_bucket();
    put(&store, b"n", b"0", WriteCondition::None).unwrap();
    threads(8, |_| {
        for _ in 0..20 {
            loop {
                let object = store.get(&bucket(), &key("n"), &ReadCondition::default(), ReadRange::Whole).unwrap();
                let (etag, mut text) = (object.info.etag.clone(), String::new());
                { object.body }.read_to_string(&mut text).unwrap();
                let next = (text.parse::<u32>().unwrap() + 1).to_string();
                match put(&store, b"n", next.as_bytes(), WriteCondition::IfMatch(etag)) {
                    Ok(_) => break,
                    Err(StoreError::PreconditionFailed) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    assert_eq!(get(&store, b"n", ReadRange::Whole).unwrap(), b"160");
    assert_eq!(files(folder.path()), 1);
}

#[test]
fn reads_during_overwrites_and_deletes_see_one_whole_version() {
    let (folder, store) = with_bucket();
    let (reads, writing) = (AtomicU64::new(0), AtomicU64::new(3));
    let body = |n: usize| vec![n as u8; 50_000 + n * 1000];
    put(&store, b"k", &body(0), WriteCondition::None).unwrap();
    threads(6, |i| {
        if i < 3 {
            for n in 0..60 {
                if i == 2 && n % 10 == 0 {
                    store.delete(&bucket(), &key("k")).unwrap();
                } else {
                    put(&store, b"k", &body(n), WriteCondition::None).unwrap();
                }
            }
            writing.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        while writing.load(Ordering::SeqCst) > 0 {
            match store.get(&bucket(), &key("k"), &ReadCondition::default(), ReadRange::Whole) {
                Err(StoreError::NoSuchKey) => {}
                Err(error) => panic!("{error}"),
                Ok(mut object) => {
                    let mut found = Vec::new();
                    object.body.read_to_end(&mut found).unwrap();
                    assert_eq!(sha256(&[&found])[..], object.info.meta.opaque[..]);
                    assert_eq!(found.len() as u64, object.info.size);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
    assert!(reads.into_inner() > 0);
    assert!(files(folder.path()) <= 1);
}

#[test]
fn parts_sent_in_parallel_make_one_object() {
    let (folder, store) = with_bucket();
    let upload = store.create_upload(&bucket(), &key("k"), ObjectMeta::default()).unwrap();
    let sent = threads(8, |i| {
        let body = vec![i as u8; 10_000];
        let etags = (0..5).map(|n| send_part(&store, &upload, (n * 8 + i + 1) as u32, &body).unwrap());
        // all send part 100 again and again
        let shared = etags.collect::<Vec<_>>();
        send_part(&store, &upload, 100, &body).unwrap();
        shared
    });
    assert_eq!(files(folder.path()), 41);
    let mut parts: Vec<_> = (0..40).map(|p| (part(p as u32 + 1), sent[p % 8][p / 8].clone())).collect();
    let last = store.list_parts(&upload, 99, 1).unwrap().parts.remove(0);
    parts.push((last.number, last.etag));
    // of two completions at once, one finds the upload
    let done = threads(2, |_| store.complete_upload(&upload, &parts, WriteCondition::None).is_ok());
    assert_eq!(done.iter().filter(|d| **d).count(), 1);
    let body = get(&store, b"k", ReadRange::Whole).unwrap();
    assert!(body.chunks(10_000).take(40).enumerate().all(|(p, c)| c.iter().all(|b| *b as usize == p % 8)));
    assert_eq!(body.len(), 410_000);
}

#[test]
fn a_page_of_a_listing_is_of_one_moment() {
    let (_folder, store) = with_bucket();
    // the pair moves together in one transaction: a listing sees both or none
    threads(4, |i| {
        for n in 0..100_u32 {
            if i == 0 {
                put(&store, b"a", &n.to_be_bytes(), WriteCondition::None).unwrap();
                put(&store, b"z", &n.to_be_bytes(), WriteCondition::None).unwrap();
                store.delete_many(&bucket(), &[key("a"), key("z")]).unwrap();
            } else {
                let page = store.list(&bucket(), &ListRequest { max_keys: 9, ..Default::default() }).unwrap();
                let names: Vec<_> = page.objects.iter().map(|o| o.key.as_bytes()).collect();
                assert!(names != [b"z"], "the delete of both is one step, and a comes first");
            }
        }
    });
}

const WORKER: &str = "SEALGATE_TEST_EMBEDDED_WORKER";
const STEP: &str = "SEALGATE_TEST_EMBEDDED_STEP";

/// Ends the process at the n-th time that a step is reached.
struct DieAt {
    step: String,
    left: AtomicU64,
}

impl Hooks for DieAt {
    fn step(&self, step: Step) -> io::Result<()> {
        if format!("{step:?}") == self.step && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            std::process::abort();
        }
        Ok(())
    }
}

const STEPS: [Step; 10] = [
    Step::Create,
    Step::Write,
    Step::SyncBody,
    Step::Rename,
    Step::SyncFolder,
    Step::Begin,
    Step::Commit,
    Step::IndexWrite,
    Step::IndexSync,
    Step::Unlink,
];

/// The store of a process that is killed, if this is one.
fn of_a_worker(variable: &str) -> Option<Store> {
    let store = open(Path::new(&env::var(variable).ok()?), Durability::Full);
    match store.create_bucket(&bucket()) {
        Ok(()) | Err(StoreError::BucketAlreadyOwnedByYou) => {}
        Err(error) => panic!("{error}"),
    }
    if let Ok(step) = env::var(STEP) {
        store.set_hooks(Some(Arc::new(DieAt { step, left: AtomicU64::new(20) })));
    }
    Some(store)
}

fn said(line: &str) {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Not a test: the process that is killed. Writes until it dies, telling of each object once it was answered.
#[test]
fn worker_to_be_killed() {
    let Some(store) = of_a_worker(WORKER) else { return };
    said("@ready");
    let source = RandomSource::new(&[b"worker"]);
    threads(3, |i| {
        let mut state =
            u64::from_be_bytes(source.draw_public(sealgate::clock::Clock::now(&SystemClock), b"seed").unwrap());
        for n in 0_u64.. {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let name = format!("t{i}/k{}", (state >> 33) % 5);
            let size = (state >> 40) % 200_000;
            let body: Vec<u8> = (0..size).map(|b| (b ^ state) as u8).collect();
            match n % 5 {
                0 => {
                    said(&format!("@{name} trying -"));
                    store.delete(&bucket(), &key(&name)).unwrap();
                    said(&format!("@{name} done -"));
                }
                1 => {
                    let digest = hex(&sha256(&[&body, &body]));
                    let meta = ObjectMeta { opaque: sha256(&[&body, &body]).to_vec(), ..ObjectMeta::default() };
                    let upload = store.create_upload(&bucket(), &key(&name), meta).unwrap();
                    let body = if body.len() < 4 { vec![0; 4] } else { body };
                    let digest = if size < 4 { continue } else { digest };
                    let one = send_part(&store, &upload, 1, &body).unwrap();
                    let two = send_part(&store, &upload, 7, &body).unwrap();
                    said(&format!("@{name} trying {digest}"));
                    store.complete_upload(&upload, &[(part(1), one), (part(7), two)], WriteCondition::None).unwrap();
                    said(&format!("@{name} done {digest}"));
                }
                _ => {
                    let digest = hex(&sha256(&[&body]));
                    said(&format!("@{name} trying {digest}"));
                    put(&store, name.as_bytes(), &body, WriteCondition::None).unwrap();
                    said(&format!("@{name} done {digest}"));
                }
            }
        }
    });
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, b| text + &format!("{b:02x}"))
}

/// What the worker may have left under a name: what was answered last, or what it was just trying.
#[derive(Default)]
struct Expected {
    done: Option<String>,
    trying: Option<String>,
}

/// What a worker in a process of its own said before it was killed: at a step of the protocol, or after a while.
fn said_by_a_killed_one(
    (test, variable): (&str, &str),
    folder: &Path,
    step: Option<&str>,
    after: Duration,
) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(variable, folder)
        .envs(step.map(|step| (STEP, step)))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    let reading = thread::spawn(move || lines.lines().map_while(Result::ok).collect());
    if step.is_none() {
        thread::sleep(after);
        child.kill().unwrap();
    }
    assert!(!child.wait().unwrap().success());
    reading.join().unwrap()
}

#[test]
fn killed_at_any_point_every_object_is_whole_and_nothing_is_left_behind() {
    let folder = TempDir::new().unwrap();
    let mut expected: BTreeMap<String, Expected> = BTreeMap::new();
    let (mut swept, mut objects, mut answered) = (0, 0, 0);
    // first at random moments, then at each step of the protocol
    for kill in 0..32 + STEPS.len() as u64 {
        let step = kill.checked_sub(32).map(|n| format!("{:?}", STEPS[n as usize]));
        let after = Duration::from_micros(40_000 + kill * 7_919 % 160_000);
        let lines =
            said_by_a_killed_one(("embedded::worker_to_be_killed", WORKER), folder.path(), step.as_deref(), after);
        for line in lines {
            // the harness writes its own words before the worker's first
            let Some(at) = line.find("@t") else { continue };
            let words: Vec<_> = line[at + 1..].split(' ').collect();
            let [name, what, digest] = words[..] else { continue };
            let e = expected.entry(name.to_owned()).or_default();
            let digest = (digest != "-").then(|| digest.to_owned());
            match what {
                "trying" => e.trying = Some(digest.unwrap_or_default()),
                "done" => {
                    (e.done, e.trying) = (digest, None);
                    answered += 1;
                }
                _ => {}
            }
        }

        let store = open(folder.path(), Durability::Full);
        swept += store.swept();
        if store.head_bucket(&bucket()).is_err() {
            continue;
        }
        let mut bodies = 0;
        let (listed, _) = list_all(&store, b"", b"", 1000);
        for (name, e) in &mut expected {
            let found = match get(&store, name.as_bytes(), ReadRange::Whole) {
                Ok(body) => {
                    let info = store.head(&bucket(), &key(name)).unwrap();
                    assert_eq!(info.meta.opaque, sha256(&[&body]), "{name} is torn");
                    bodies += info.parts.unwrap_or(u32::from(!body.is_empty()));
                    Some(hex(&sha256(&[&body])))
                }
                Err(StoreError::NoSuchKey) => None,
                Err(error) => panic!("{name}: {error}"),
            };
            let tried = e.trying.take().map(|digest| (!digest.is_empty()).then_some(digest));
            assert!(found == e.done || tried == Some(found.clone()), "{name}: an answered write is lost");
            e.done = found;
        }
        assert_eq!(listed.len(), expected.values().filter(|e| e.done.is_some()).count());
        objects = listed.len();
        let all = ListUploadsRequest { max_uploads: 1000, ..Default::default() };
        for upload in store.list_uploads(&bucket(), &all).unwrap().uploads {
            store.abort_upload(&Upload { bucket: bucket(), key: upload.key, id: upload.id }).unwrap();
        }
        assert_eq!(files(folder.path()), bodies as usize, "files that no object names");
    }
    eprintln!(
        "{} kills: {answered} answered writes, {swept} files swept, {objects} objects at the end",
        32 + STEPS.len()
    );
    assert!(answered > 100 && objects > 0);
}

#[test]
fn killed_while_it_is_made_the_store_opens() {
    for kill in 0..12_u64 {
        let folder = TempDir::new().unwrap();
        let folder = folder.path().join("new/store");
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["embedded::worker_to_be_killed", "--exact", "--nocapture", "--test-threads=1"])
            .env(WORKER, &folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while !folder.join("LOCK").exists() && started.elapsed() < Duration::from_secs(5) {
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(kill * 400));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(&folder, Durability::Full);
        store.list_buckets().unwrap();
    }
}

/// Needs the right to mount; without it there is nothing to claim.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_every_object_whole_and_the_store_usable() {
    struct Mounted(TempDir);
    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).status();
        }
    }
    let folder = TempDir::new().unwrap();
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=12m", "tmpfs"])
        .arg(folder.path())
        .stderr(Stdio::null())
        .status();
    if !mount.is_ok_and(|status| status.success()) {
        return;
    }
    let mounted = Mounted(folder);
    let folder = mounted.0.path();
    let mut store = open(folder, Durability::Full);
    store.create_bucket(&bucket()).unwrap();
    let body = |n: u32| vec![n as u8; if n.is_multiple_of(2) { 300_000 } else { 100 }];
    let mut whole = BTreeSet::new();
    let mut failures = 0;
    for n in 0..400_u32 {
        match put(&store, &n.to_be_bytes(), &body(n), WriteCondition::None) {
            Ok(_) => _ = whole.insert(n),
            Err(_) => failures += 1,
        }
    }
    assert!(failures > 100 && whole.len() > 20, "{failures} {}", whole.len());
    for again in 0..2 {
        for n in &whole {
            assert_eq!(get(&store, &n.to_be_bytes(), ReadRange::Whole).unwrap(), body(*n));
        }
        if again == 0 {
            drop(store);
            store = open(folder, Durability::Full);
        }
    }
    // not a byte of room: it still opens, reads and removes
    let filler = folder.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop((file, store));
    let mut store = open(folder, Durability::Full);
    for n in &whole {
        assert_eq!(get(&store, &n.to_be_bytes(), ReadRange::Whole).unwrap(), body(*n));
    }
    assert!(put(&store, b"more", &body(2), WriteCondition::None).is_err());
    let first = whole.pop_first().unwrap();
    assert!(store.delete(&bucket(), &key(first.to_be_bytes())).unwrap());
    drop(store);
    store = open(folder, Durability::Full);
    fs::remove_file(filler).unwrap();
    // room again: it takes writes again
    for n in whole.iter().take(10) {
        store.delete(&bucket(), &key(n.to_be_bytes())).unwrap();
    }
    put(&store, b"more", &body(2), WriteCondition::None).unwrap();
    drop(store);
    let store = open(folder, Durability::Full);
    assert_eq!(files(folder), list_all(&store, b"", b"", 1000).0.len());
}

/// Figures, not claims: `cargo test --release --test it embedded::figures -- --ignored --nocapture`.
#[test]
#[ignore = "takes a while and proves nothing"]
#[allow(clippy::cast_precision_loss)]
fn figures() {
    let folder = TempDir::new_in(env::var("SEALGATE_TEST_FOLDER").unwrap_or_else(|_| ".".into())).unwrap();
    let store = open(folder.path(), Durability::Full);
    store.create_bucket(&bucket()).unwrap();
    for writers in [1, 8, 32, 1] {
        let started = Instant::now();
        threads(writers, |i| {
            for n in 0..(640 / writers) {
                put(&store, format!("put/{writers}/{i}/{n}").as_bytes(), &[7; 4096], WriteCondition::None).unwrap();
            }
        });
        let rate = (640 / writers * writers) as f64 / started.elapsed().as_secs_f64();
        eprintln!("PUT 4 KiB, full durability, {writers} writers: {rate:.0}/s");
    }
    let started = Instant::now();
    for _ in 0..1000 {
        get(&store, b"put/1/0/5", ReadRange::Whole).unwrap();
    }
    eprintln!("GET 4 KiB, 1 reader: {:.0}/s", 1000.0 / started.elapsed().as_secs_f64());
    let started = Instant::now();
    put(&store, b"large", &vec![7; 256 << 20], WriteCondition::None).unwrap();
    eprintln!("PUT 256 MiB: {:.0} MiB/s", 256.0 / started.elapsed().as_secs_f64());
    drop(store);
    let folder = TempDir::new().unwrap();
    let store = open(folder.path(), Durability::None);
    store.create_bucket(&bucket()).unwrap();
    threads(8, |i| {
        for n in 0..12_500 {
            put(&store, format!("{:03}/{:04}/{i}", n / 125, n).as_bytes(), b"", WriteCondition::None).unwrap();
        }
    });
    let timed = |what: &str, after: &str, delimiter: &str, expect: usize| {
        let request =
            ListRequest { after: after.into(), delimiter: delimiter.into(), max_keys: 1000, ..Default::default() };
        let started = Instant::now();
        for _ in 0..20 {
            let page = store.list(&bucket(), &request).unwrap();
            assert_eq!(page.objects.len() + page.common_prefixes.len(), expect);
        }
        eprintln!("{what}: {:.2} ms", started.elapsed().as_secs_f64() * 50.0);
    };
    timed("LIST 1000 of 100k keys", "050/", "", 1000);
    timed("LIST 100 common prefixes of 100k keys", "", "/", 100);
    drop(store);
    let started = Instant::now();
    drop(open(folder.path(), Durability::None));
    eprintln!("open with 100k objects: {:.0} ms", started.elapsed().as_secs_f64() * 1000.0);
}
