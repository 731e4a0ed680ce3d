//! Claims about the store as a whole that need its insides or its hooks.

mod versions;

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use md5::{Digest as _, Md5};
use tempfile::TempDir;

use super::*;
use crate::clock::{Clock, FixedClock, SystemClock, Timestamp};
use crate::crypto::random::RandomSource;
use crate::object::{ObjectKey, PartNumber};

fn options(durability: Durability) -> Options {
    let limits = Limits { min_part: 4, ..Limits::default() };
    Options {
        durability,
        limits,
        cache: 4 << 20,
        ..Options::new(Arc::new(SystemClock), Arc::new(RandomSource::new(&[b"test"])))
    }
}

fn open(folder: &Path) -> Store {
    Store::open(folder, options(Durability::None)).unwrap()
}

fn bucket(name: &str) -> BucketName {
    name.parse().unwrap()
}

fn key(bytes: impl AsRef<[u8]>) -> ObjectKey {
    ObjectKey::new(bytes.as_ref()).unwrap()
}

fn part(n: u32) -> PartNumber {
    PartNumber::new(n).unwrap()
}

fn with_bucket() -> (TempDir, Store, BucketName) {
    let folder = TempDir::new().unwrap();
    let store = open(folder.path());
    let b = bucket("bucket");
    store.create_bucket(&b).unwrap();
    (folder, store, b)
}

fn put_if(
    store: &Store,
    b: &BucketName,
    k: &[u8],
    body: &[u8],
    condition: WriteCondition,
) -> Result<Written, StoreError> {
    let mut writer = store.put(b, &key(k))?;
    for chunk in body.chunks(7) {
        writer.write(chunk)?;
    }
    writer.commit(ObjectMeta::default(), condition)
}

fn put(store: &Store, b: &BucketName, k: &[u8], body: &[u8]) -> Written {
    put_if(store, b, k, body, WriteCondition::None).unwrap()
}

fn get_range(store: &Store, b: &BucketName, k: &[u8], range: ReadRange) -> Result<Vec<u8>, StoreError> {
    let mut object = store.get(b, &key(k), &ReadCondition::default(), range)?;
    let mut body = Vec::new();
    object.body.read_to_end(&mut body)?;
    assert_eq!(body.len() as u64, object.range.end - object.range.start);
    Ok(body)
}

fn get(store: &Store, b: &BucketName, k: &[u8]) -> Result<Vec<u8>, StoreError> {
    get_range(store, b, k, ReadRange::Whole)
}

fn send_part(store: &Store, upload: &Upload, n: u32, body: &[u8]) -> ETag {
    let mut writer = store.upload_part(upload, part(n)).unwrap();
    writer.write(body).unwrap();
    writer.commit().unwrap().etag
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder.join("bodies")).unwrap().count()
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |text, b| text + &format!("{b:02x}"))
}

fn md5(bytes: &[u8]) -> [u8; 16] {
    Md5::digest(bytes).into()
}

#[test]
fn any_key_of_1_to_1024_bytes_is_itself_and_no_file_name() {
    let (folder, store, b) = with_bucket();
    let mut keys: Vec<Vec<u8>> = [
        "..",
        ".",
        "/",
        "//",
        "../../etc/passwd",
        "a//b",
        "a/",
        "/a",
        "a",
        "a/b/../c",
        "\0",
        "LOCK",
        "index.redb",
        "ü/😀",
        " ",
        "a\nb",
    ]
    .iter()
    .map(|k| k.as_bytes().to_vec())
    .collect();
    keys.extend([vec![0xff; 1024], vec![0xff], vec![b'/'; 1024], vec![b'x'; 1024]]);
    for k in &keys {
        put(&store, &b, k, k);
    }
    for k in &keys {
        assert_eq!(&get(&store, &b, k).unwrap(), k);
    }
    let page = store.list(&b, &ListRequest { max_keys: 1000, ..Default::default() }).unwrap();
    keys.sort();
    assert!(page.objects.iter().map(|o| o.key.as_bytes()).eq(keys.iter().map(Vec::as_slice)));
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["LOCK", "bodies", "index.redb"]);
    assert_eq!(files(folder.path()), keys.len());
}

#[test]
fn a_second_store_on_the_folder_is_refused_until_the_first_is_gone() {
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"x");
    let writer = store.put(&b, &key("k")).unwrap();
    let reader = store.get(&b, &key("k"), &ReadCondition::default(), ReadRange::Whole).unwrap();
    let locked = || matches!(Store::open(folder.path(), options(Durability::None)), Err(StoreError::Locked));
    assert!(locked());
    drop(store);
    assert!(locked());
    drop(writer);
    assert!(locked());
    drop(reader);
    open(folder.path());
}

#[test]
fn a_folder_of_another_layout_is_refused_by_name() {
    let (folder, store, _) = with_bucket();
    store.inner.index.write(None, |t| Ok(_ = t.store.insert("layout", 99)?)).unwrap();
    drop(store);
    let error = Store::open(folder.path(), options(Durability::None)).unwrap_err();
    assert!(matches!(error, StoreError::Layout { found: 99, known: 2 }), "{error}");
}

#[test]
fn bodies_without_an_index_are_refused_and_not_swept() {
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"precious");
    drop(store);
    let (index, aside) = (folder.path().join("index.redb"), folder.path().join("aside"));
    fs::rename(&index, &aside).unwrap();
    for _ in 0..2 {
        assert!(matches!(Store::open(folder.path(), options(Durability::None)), Err(StoreError::Corrupt(_))));
    }
    fs::rename(&aside, &index).unwrap();
    assert_eq!(get(&open(folder.path()), &b, b"k").unwrap(), b"precious");
}

#[test]
fn an_index_that_is_none_is_refused_and_nothing_is_swept() {
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"precious");
    drop(store);
    let index = folder.path().join("index.redb");
    let whole = fs::read(&index).unwrap();
    fs::write(&index, &whole[..whole.len() / 2 + 7]).unwrap();
    assert!(Store::open(folder.path(), options(Durability::None)).is_err());
    fs::write(&index, vec![b'x'; 10_000]).unwrap();
    assert!(Store::open(folder.path(), options(Durability::None)).is_err());
    assert_eq!(files(folder.path()), 1);
    fs::write(&index, &whole).unwrap();
    assert_eq!(get(&open(folder.path()), &b, b"k").unwrap(), b"precious");
}

#[test]
fn numbers_are_never_used_twice() {
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"1");
    let name = |folder: &Path| fs::read_dir(folder.join("bodies")).unwrap().next().unwrap().unwrap().file_name();
    let first = name(folder.path());
    store.delete(&b, &key("k")).unwrap();
    drop(store);
    let store = open(folder.path());
    put(&store, &b, b"k", b"2");
    assert!(name(folder.path()) > first);
}

#[test]
fn metadata_comes_back_in_order_and_etags_are_s3s() {
    let (_folder, store, b) = with_bucket();
    let meta = ObjectMeta {
        headers: vec![("x".into(), "1".into()), ("content-type".into(), "a/b".into()), ("x".into(), "2".into())],
        user: vec![("b".into(), "ü".into()), ("a".into(), String::new())],
        opaque: vec![1, 0, 255],
    };
    let mut writer = store.put(&b, &key("k")).unwrap();
    writer.write(b"hello").unwrap();
    writer.commit(meta.clone(), WriteCondition::None).unwrap();
    let info = store.head(&b, &key("k")).unwrap();
    assert_eq!((info.meta, info.size, info.parts), (meta, 5, None));
    assert_eq!(info.etag.as_str(), hex(md5(b"hello")));
    let too_much = ObjectMeta { opaque: vec![0; ObjectMeta::MAX_LEN + 1], ..ObjectMeta::default() };
    let refused = store.put(&b, &key("k")).unwrap().commit(too_much, WriteCondition::None);
    assert!(matches!(refused, Err(StoreError::MetadataTooLarge { .. })));
    assert_eq!(get(&store, &b, b"k").unwrap(), b"hello");
}

#[test]
fn an_empty_body_is_an_object_without_a_file() {
    let (folder, store, b) = with_bucket();
    let written = put(&store, &b, b"dir/", b"");
    assert_eq!(written.etag.as_str(), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(get(&store, &b, b"dir/").unwrap(), b"");
    assert!(matches!(get_range(&store, &b, b"dir/", ReadRange::From(0)), Err(StoreError::InvalidRange { size: 0 })));
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn a_removal_may_depend_on_what_is_there() {
    let (folder, store, b) = with_bucket();
    let matches = |etag: &ETag| WriteCondition::IfMatch(etag.clone());
    let etag = put(&store, &b, b"k", b"old").etag;
    let refused = store.delete_if(&b, &key("k"), matches(&ETag::new("other")));
    assert!(matches!(refused, Err(StoreError::PreconditionFailed)));
    assert_eq!((get(&store, &b, b"k").unwrap(), files(folder.path())), (b"old".to_vec(), 1));
    assert!(store.delete_if(&b, &key("k"), matches(&etag)).unwrap());
    assert!(matches!(store.delete_if(&b, &key("k"), matches(&etag)), Err(StoreError::NoSuchKey)));
}

#[test]
fn a_writer_that_is_dropped_or_refused_leaves_nothing() {
    let (folder, store, b) = with_bucket();
    let mut writer = store.put(&b, &key("k")).unwrap();
    writer.write(&vec![7; 200_000]).unwrap();
    assert_eq!(files(folder.path()), 1, "a temporary file");
    drop(writer);
    assert_eq!(files(folder.path()), 0);
    put(&store, &b, b"k", b"old");
    for condition in [WriteCondition::IfNoneMatchAny, WriteCondition::IfMatch(ETag::new("other"))] {
        let refused = put_if(&store, &b, b"k", b"new", condition);
        assert!(matches!(refused, Err(StoreError::PreconditionFailed)));
    }
    assert_eq!((get(&store, &b, b"k").unwrap(), files(folder.path())), (b"old".to_vec(), 1));
    let limits = Limits { max_body: 3, ..Limits::default() };
    drop(store);
    let store = Store::open(folder.path(), Options { limits, ..options(Durability::None) }).unwrap();
    assert!(matches!(put_if(&store, &b, b"k", b"four", WriteCondition::None), Err(StoreError::EntityTooLarge { .. })));
    let mut writer = store.put(&b, &key("k")).unwrap();
    assert!(writer.write(b"four").is_err());
    writer.write(b"3").unwrap();
    assert!(writer.commit(ObjectMeta::default(), WriteCondition::None).is_err(), "a body with a hole is no body");
    assert_eq!((get(&store, &b, b"k").unwrap(), files(folder.path())), (b"old".to_vec(), 1));
}

#[test]
fn a_running_read_survives_overwrite_and_delete_and_then_the_file_goes() {
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"version one");
    let mut one = store.get(&b, &key("k"), &ReadCondition::default(), ReadRange::Whole).unwrap();
    put(&store, &b, b"k", b"version two");
    let mut two = store.get(&b, &key("k"), &ReadCondition::default(), ReadRange::From(8)).unwrap();
    let mut again = store.get(&b, &key("k"), &ReadCondition::default(), ReadRange::From(9)).unwrap();
    assert!(store.delete(&b, &key("k")).unwrap());
    assert!(!store.delete(&b, &key("k")).unwrap(), "idempotent");
    assert_eq!(files(folder.path()), 2);
    let mut text = String::new();
    one.body.read_to_string(&mut text).unwrap();
    two.body.read_to_string(&mut text).unwrap();
    drop((one, two));
    assert_eq!(files(folder.path()), 1, "one reader is left");
    again.body.read_to_string(&mut text).unwrap();
    assert_eq!(text, "version onetwowo");
    drop(again);
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn a_body_file_that_was_cut_or_removed_is_an_error_not_a_short_body() {
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"0123456789");
    let file = fs::read_dir(folder.path().join("bodies")).unwrap().next().unwrap().unwrap().path();
    fs::write(&file, b"01234").unwrap();
    assert!(matches!(get(&store, &b, b"k"), Err(StoreError::Io(_))));
    fs::remove_file(&file).unwrap();
    assert!(matches!(get(&store, &b, b"k"), Err(StoreError::Io(_))));
}

#[test]
fn buckets_are_made_listed_and_removed_only_when_empty() {
    let (_folder, store, b) = with_bucket();
    assert!(matches!(store.create_bucket(&b), Err(StoreError::BucketAlreadyOwnedByYou)));
    store.create_bucket(&bucket("aaa")).unwrap();
    let names: Vec<_> = store.list_buckets().unwrap().into_iter().map(|b| b.name.to_string()).collect();
    assert_eq!(names, ["aaa", "bucket"]);
    put(&store, &b, b"k", b"x");
    assert!(matches!(store.delete_bucket(&b), Err(StoreError::BucketNotEmpty)));
    store.delete_bucket(&bucket("aaa")).unwrap();
    store.delete(&b, &key("k")).unwrap();
    let upload = store.create_upload(&b, &key("k"), ObjectMeta::default()).unwrap();
    assert!(matches!(store.delete_bucket(&b), Err(StoreError::BucketNotEmpty)));
    store.abort_upload(&upload).unwrap();
    store.delete_bucket(&b).unwrap();
    assert!(matches!(store.delete_bucket(&b), Err(StoreError::NoSuchBucket)));
    assert!(matches!(store.head_bucket(&b), Err(StoreError::NoSuchBucket)));
    assert!(matches!(store.put(&b, &key("k")), Err(StoreError::NoSuchBucket)));
    assert!(matches!(store.delete(&b, &key("k")), Err(StoreError::NoSuchBucket)));
    assert!(store.list_buckets().unwrap().is_empty());
}

#[test]
fn a_bucket_that_goes_while_a_body_is_written_takes_the_body_along() {
    let (folder, store, b) = with_bucket();
    let mut writer = store.put(&b, &key("k")).unwrap();
    writer.write(b"x").unwrap();
    store.delete_bucket(&b).unwrap();
    assert!(matches!(writer.commit(ObjectMeta::default(), WriteCondition::None), Err(StoreError::NoSuchBucket)));
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn a_copy_shares_the_body_which_goes_with_its_last_name() {
    let (folder, store, b) = with_bucket();
    let other = bucket("other");
    store.create_bucket(&other).unwrap();
    let source = put(&store, &b, b"k", b"body");
    let (k, c) = (key("k"), key("c"));
    let copy = |from_condition, condition, meta| CopyRequest {
        from_bucket: &b,
        from_key: &k,
        from_version: None,
        from_condition,
        bucket: &other,
        key: &c,
        meta,
        tags: None,
        lock: ObjectLock::default(),
        condition,
    };
    let meta = ObjectMeta { opaque: b"new".to_vec(), ..ObjectMeta::default() };
    let is_source = ReadCondition { if_match: Some(ETagMatch::parse(&source.etag.to_string())), ..Default::default() };
    let not_source = ReadCondition { if_none_match: is_source.if_match.clone(), ..Default::default() };
    assert!(matches!(store.copy(copy(not_source, WriteCondition::None, None)), Err(StoreError::PreconditionFailed)));
    let written = store.copy(copy(is_source.clone(), WriteCondition::IfNoneMatchAny, Some(meta.clone()))).unwrap();
    assert_eq!((written.etag, written.size), (source.etag, 4));
    assert!(matches!(
        store.copy(copy(is_source.clone(), WriteCondition::IfNoneMatchAny, None)),
        Err(StoreError::PreconditionFailed)
    ));
    assert_eq!(files(folder.path()), 1);
    assert_eq!(store.head(&other, &c).unwrap().meta, meta);
    // to itself: only with new metadata
    let to_self = |meta| CopyRequest { bucket: &b, key: &k, ..copy(is_source.clone(), WriteCondition::None, meta) };
    assert!(matches!(store.copy(to_self(None)), Err(StoreError::InvalidRequest(_))));
    store.copy(to_self(Some(meta.clone()))).unwrap();
    assert_eq!(store.head(&b, &k).unwrap().meta, meta);
    assert!(store.delete(&b, &k).unwrap());
    assert_eq!(get(&store, &other, b"c").unwrap(), b"body");
    assert!(store.delete(&other, &c).unwrap());
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn an_upload_with_gaps_and_re_sent_parts_completes_without_copying() {
    let (folder, store, b) = with_bucket();
    let k = key("k");
    let meta = ObjectMeta { opaque: b"m".to_vec(), ..ObjectMeta::default() };
    let upload = store.create_upload(&b, &k, meta.clone()).unwrap();
    let nine = send_part(&store, &upload, 9, b"99");
    let stale = send_part(&store, &upload, 3, b"wrong");
    let three = send_part(&store, &upload, 3, b"33333");
    let unused = send_part(&store, &upload, 5, b"55555");
    let huge = send_part(&store, &upload, 10_000, b"x");
    assert_eq!(files(folder.path()), 4, "the part sent before is gone");
    assert!(matches!(store.head(&b, &k), Err(StoreError::NoSuchKey)));

    let complete = |parts: &[(u32, &ETag)], condition| {
        let parts: Vec<_> = parts.iter().map(|(n, e)| (part(*n), (*e).clone())).collect();
        store.complete_upload(&upload, &parts, condition)
    };
    let always = || WriteCondition::None;
    assert!(matches!(complete(&[], always()), Err(StoreError::InvalidRequest(_))));
    assert!(matches!(complete(&[(9, &nine), (3, &three)], always()), Err(StoreError::InvalidPartOrder)));
    assert!(matches!(complete(&[(3, &three), (3, &three)], always()), Err(StoreError::InvalidPartOrder)));
    assert!(matches!(complete(&[(3, &stale), (9, &nine)], always()), Err(StoreError::InvalidPart(3))));
    assert!(matches!(complete(&[(3, &three), (4, &nine)], always()), Err(StoreError::InvalidPart(4))));
    let small = complete(&[(3, &three), (9, &nine), (10_000, &huge)], always());
    assert!(matches!(small, Err(StoreError::EntityTooSmall { number: 9, size: 2, minimum: 4 })));
    assert!(matches!(complete(&[(3, &three)], WriteCondition::IfMatch(nine.clone())), Err(StoreError::NoSuchKey)));
    let _ = unused;

    let written = complete(&[(3, &three), (9, &nine)], WriteCondition::IfNoneMatchAny).unwrap();
    let of_parts = md5(&[md5(b"33333"), md5(b"99")].concat());
    assert_eq!(written.etag.as_str(), format!("{}-2", hex(of_parts)));
    assert_eq!(get(&store, &b, b"k").unwrap(), b"3333399");
    assert_eq!(get_range(&store, &b, b"k", ReadRange::Span { first: 4, last: 5 }).unwrap(), b"39");
    assert_eq!(get_range(&store, &b, b"k", ReadRange::Part(part(2))).unwrap(), b"99");
    assert!(matches!(get_range(&store, &b, b"k", ReadRange::Part(part(3))), Err(StoreError::InvalidPartNumber)));
    let info = store.head(&b, &k).unwrap();
    assert_eq!((info.meta, info.size, info.parts, &info.etag), (meta, 7, Some(2), &written.etag));
    assert_eq!(store.object_parts(&b, &k).unwrap(), Some(vec![(part(3), 5), (part(9), 2)]));
    assert_eq!(files(folder.path()), 2, "parts that were not named are gone");
    assert!(matches!(complete(&[(3, &three)], always()), Err(StoreError::NoSuchUpload)));
    assert!(matches!(store.abort_upload(&upload), Err(StoreError::NoSuchUpload)));
    assert!(matches!(store.list_parts(&upload, 0, 10), Err(StoreError::NoSuchUpload)));
    assert!(store.upload_part(&upload, part(1)).is_err());

    let copy = key("copy");
    store
        .copy(CopyRequest {
            from_bucket: &b,
            from_key: &k,
            from_version: None,
            from_condition: ReadCondition::default(),
            bucket: &b,
            key: &copy,
            meta: None,
            tags: None,
            lock: ObjectLock::default(),
            condition: WriteCondition::None,
        })
        .unwrap();
    put(&store, &b, b"k", b"");
    assert_eq!(get_range(&store, &b, b"copy", ReadRange::Part(part(1))).unwrap(), b"33333");
    assert_eq!(get(&store, &b, b"copy").unwrap(), b"3333399");
    store.delete_many(&b, &[k, copy, key("absent")]).unwrap();
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn an_aborted_upload_leaves_nothing_and_a_late_part_finds_no_upload() {
    let (folder, store, b) = with_bucket();
    let upload = store.create_upload(&b, &key("k"), ObjectMeta::default()).unwrap();
    send_part(&store, &upload, 1, b"1111");
    let mut late = store.upload_part(&upload, part(2)).unwrap();
    late.write(b"2222").unwrap();
    store.abort_upload(&upload).unwrap();
    assert!(matches!(late.commit(), Err(StoreError::NoSuchUpload)));
    assert_eq!(files(folder.path()), 0);
    assert!(
        store
            .list_uploads(&b, &ListUploadsRequest { max_uploads: 9, ..Default::default() })
            .unwrap()
            .uploads
            .is_empty()
    );
    // an id counts only for its own bucket and key
    let upload = store.create_upload(&b, &key("k"), ObjectMeta::default()).unwrap();
    let elsewhere = Upload { key: key("l"), ..upload };
    assert!(matches!(store.abort_upload(&elsewhere), Err(StoreError::NoSuchUpload)));
}

#[test]
fn a_part_copied_from_a_range_is_that_range() {
    let (_folder, store, b) = with_bucket();
    put(&store, &b, b"source", b"0123456789");
    let upload = store.create_upload(&b, &key("k"), ObjectMeta::default()).unwrap();
    let source = key("source");
    let copy = |first, last, from_condition| PartCopy {
        from_bucket: &b,
        from_key: &source,
        from_version: None,
        from_condition,
        range: ReadRange::Span { first, last },
    };
    let any = ReadCondition { if_none_match: Some(ETagMatch::Any), ..Default::default() };
    let refused = store.upload_part_copy(&upload, part(1), &copy(0, 3, any));
    assert!(matches!(refused, Err(StoreError::PreconditionFailed)));
    let one = store.upload_part_copy(&upload, part(1), &copy(4, 8, ReadCondition::default())).unwrap();
    let two = store.upload_part_copy(&upload, part(2), &copy(0, 1, ReadCondition::default())).unwrap();
    assert_eq!(one.etag.as_str(), hex(md5(b"45678")));
    store.complete_upload(&upload, &[(part(1), one.etag), (part(2), two.etag)], WriteCondition::None).unwrap();
    assert_eq!(get(&store, &b, b"k").unwrap(), b"4567801");
}

#[test]
fn parts_and_uploads_are_listed_in_pages() {
    struct Ticking(AtomicU32);
    impl Clock for Ticking {
        fn now(&self) -> Timestamp {
            Timestamp::from_unix_millis(1_700_000_000_000 + u64::from(self.0.fetch_add(1, Ordering::Relaxed)))
        }
    }
    let folder = TempDir::new().unwrap();
    let options = Options { clock: Arc::new(Ticking(AtomicU32::new(0))), ..options(Durability::None) };
    let store = Store::open(folder.path(), options).unwrap();
    let b = bucket("bucket");
    store.create_bucket(&b).unwrap();
    let begin = |k: &str| store.create_upload(&b, &key(k), ObjectMeta::default()).unwrap();
    let uploads = ["b", "a/2", "b", "a/1", "b", "c", "a"].map(begin);
    for n in [1, 4, 9, 10_000] {
        send_part(&store, &uploads[0], n, &vec![b'x'; n as usize % 3 + 1]);
    }
    let numbers = |after, max| {
        let page = store.list_parts(&uploads[0], after, max).unwrap();
        (page.parts.iter().map(|p| p.number.get()).collect::<Vec<_>>(), page.next.map(PartNumber::get))
    };
    assert_eq!(numbers(0, 1000), (vec![1, 4, 9, 10_000], None));
    assert_eq!(numbers(0, 2), (vec![1, 4], Some(4)));
    assert_eq!(numbers(4, 2), (vec![9, 10_000], None));
    assert_eq!(numbers(10_000, 2), (vec![], None));
    assert_eq!(numbers(u32::MAX, 2), (vec![], None));
    assert_eq!(numbers(0, 0), (vec![], None));

    // all pages of any size give the same results, by key and then by age
    for delimiter in ["", "/"] {
        let all = if delimiter.is_empty() {
            vec!["a 6", "a/1 3", "a/2 1", "b 0", "b 2", "b 4", "c 5"]
        } else {
            vec!["a 6", "a/", "b 0", "b 2", "b 4", "c 5"]
        };
        for max_uploads in 1..8 {
            let mut request = ListUploadsRequest { delimiter: delimiter.into(), max_uploads, ..Default::default() };
            let mut found = Vec::new();
            loop {
                let page = store.list_uploads(&b, &request).unwrap();
                for u in &page.uploads {
                    let at = uploads.iter().position(|x| x.id == u.id).unwrap();
                    assert!(uploads[at].key == u.key);
                    found.push(format!("{} {at}", String::from_utf8_lossy(u.key.as_bytes())));
                }
                found.extend(page.common_prefixes.iter().map(|p| String::from_utf8_lossy(p).into_owned()));
                assert!(page.uploads.len() + page.common_prefixes.len() <= max_uploads as usize);
                let Some((key_marker, id_marker)) = page.next else { break };
                request = ListUploadsRequest { key_marker, id_marker, ..request };
            }
            found.sort();
            assert_eq!(found, all, "{max_uploads}");
        }
    }
    let after_b = ListUploadsRequest { key_marker: b"b".to_vec(), max_uploads: 9, ..Default::default() };
    let page = store.list_uploads(&b, &after_b).unwrap();
    assert_eq!(page.uploads.len(), 1, "a key marker alone is behind all of its key's uploads");
    let prefixed = ListUploadsRequest { prefix: b"a/".to_vec(), max_uploads: 9, ..Default::default() };
    assert_eq!(store.list_uploads(&b, &prefixed).unwrap().uploads.len(), 2);
}

#[test]
fn a_common_prefix_is_skipped_by_seeking() {
    let (_folder, store, b) = with_bucket();
    for k in ["a", "b/1", "b/2", "b/2/3", "b0", "c//x", "c//y", "d/"] {
        put(&store, &b, k.as_bytes(), b"");
    }
    let list = |prefix: &str, delimiter: &str, after: &str, max_keys| {
        let request = ListRequest { prefix: prefix.into(), delimiter: delimiter.into(), after: after.into(), max_keys };
        let page = store.list(&b, &request).unwrap();
        let mut found: Vec<_> = page.objects.iter().map(|o| o.key.as_bytes().to_vec()).collect();
        found.extend(page.common_prefixes);
        found.sort();
        let text = |b: Vec<u8>| String::from_utf8(b).unwrap();
        (found.into_iter().map(text).collect::<Vec<_>>().join(" "), page.next.map(text))
    };
    assert_eq!(list("", "/", "", 1000), ("a b/ b0 c/ d/".into(), None));
    assert_eq!(list("", "//", "", 1000), ("a b/1 b/2 b/2/3 b0 c// d/".into(), None));
    assert_eq!(list("b/", "/", "", 1000), ("b/1 b/2 b/2/".into(), None));
    assert_eq!(list("", "/", "", 2), ("a b/".into(), Some("b/".into())));
    assert_eq!(list("", "/", "b/", 2), ("b0 c/".into(), Some("c/".into())));
    assert_eq!(list("", "/", "c/", 1), ("d/".into(), None), "exactly full is not truncated");
    assert_eq!(list("", "/", "b/1", 1), ("b0".into(), Some("b0".into())), "results lie behind the marker");
    assert_eq!(list("b/", "", "a", 9), ("b/1 b/2 b/2/3".into(), None));
    assert_eq!(list("b/", "", "c", 9), (String::new(), None));
    assert_eq!(list("", "", "", 0), (String::new(), None));
}

/// Fails at one step, from then on or once.
struct FailAt {
    step: Step,
    once: bool,
    armed: AtomicBool,
}

impl Hooks for FailAt {
    fn step(&self, step: Step) -> io::Result<()> {
        if step != self.step || !self.armed.load(Ordering::SeqCst) {
            return Ok(());
        }
        self.armed.store(!self.once, Ordering::SeqCst);
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }
}

#[test]
fn a_disk_that_fails_at_any_step_leaves_the_old_object_and_no_files() {
    use Step::{Begin, Commit, Create, IndexSync, IndexWrite, Rename, SyncBody, SyncFolder, Write};
    for step in [Create, Write, SyncBody, Rename, SyncFolder, Begin, Commit, IndexWrite, IndexSync] {
        for once in [true, false] {
            let folder = TempDir::new().unwrap();
            let store = Store::open(folder.path(), options(Durability::Full)).unwrap();
            let b = bucket("bucket");
            store.create_bucket(&b).unwrap();
            put(&store, &b, b"k", b"old");
            store.set_hooks(Some(Arc::new(FailAt { step, once, armed: AtomicBool::new(true) })));
            let result = put_if(&store, &b, b"k", b"new", WriteCondition::None);
            if !once {
                assert!(result.is_err(), "{step:?}");
                assert!(put_if(&store, &b, b"l", b"new", WriteCondition::None).is_err(), "{step:?}");
            }
            store.set_hooks(None);
            // with the disk working again, so does the store; an answer was true
            put(&store, &b, b"m", b"more");
            let found = get(&store, &b, b"k").unwrap();
            let in_commit = matches!(step, IndexWrite | IndexSync);
            match result {
                Ok(_) => assert_eq!(found, b"new", "{step:?}"),
                // a commit that fails may have happened, whole
                Err(_) => assert!(found == b"old" || in_commit && found == b"new", "{step:?}"),
            }
            let named = store.list(&b, &ListRequest { max_keys: 9, ..Default::default() }).unwrap().objects.len();
            if !in_commit {
                assert_eq!(files(folder.path()), named, "{step:?} {once}: nothing left behind");
            }
            drop(store);
            let store = Store::open(folder.path(), options(Durability::Full)).unwrap();
            assert!(in_commit || store.swept() == 0);
            assert_eq!((files(folder.path()), get(&store, &b, b"k").unwrap()), (named, found), "{step:?}");
        }
    }
}

#[test]
fn a_file_that_could_not_be_removed_is_swept_at_the_next_start_and_foreign_files_stay() {
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"old");
    store.set_hooks(Some(Arc::new(FailAt { step: Step::Unlink, once: false, armed: AtomicBool::new(true) })));
    put(&store, &b, b"k", b"new");
    assert_eq!(files(folder.path()), 2);
    drop(store);
    let bodies = folder.path().join("bodies");
    fs::write(bodies.join("00000000000000000001.tmp"), b"x").unwrap();
    fs::write(bodies.join("notes.txt"), b"x").unwrap();
    let store = open(folder.path());
    assert_eq!((store.swept(), files(folder.path())), (2, 2));
    assert_eq!(get(&store, &b, b"k").unwrap(), b"new");
}

#[test]
fn one_damaged_row_fails_its_own_write_and_not_its_neighbours() {
    let (_folder, store, b) = with_bucket();
    put(&store, &b, b"bad", b"x");
    let id = store.inner.index.read().unwrap().bucket(&b).unwrap().id;
    store.inner.index.write(None, move |t| Ok(_ = t.objects.insert((id, &b"bad"[..]), &b"\x01junk"[..])?)).unwrap();
    std::thread::scope(|scope| {
        for i in 0..8_u8 {
            let (store, b) = (&store, &b);
            scope.spawn(move || {
                for n in 0..20_u8 {
                    let k = if i == 0 { b"bad".to_vec() } else { vec![b'k', i, n] };
                    let result = put_if(store, b, &k, &[n], WriteCondition::None);
                    assert_eq!(result.is_err(), i == 0);
                }
            });
        }
    });
    assert_eq!(get(&store, &b, &[b'k', 7, 19]).unwrap(), [19]);
}

#[test]
fn waiting_writers_share_a_commit() {
    struct Counting(Mutex<HashMap<String, u32>>);
    impl Counting {
        fn of(&self, step: Step) -> u32 {
            self.0.lock().unwrap().get(&format!("{step:?}")).copied().unwrap_or_default()
        }
    }
    impl Hooks for Counting {
        fn step(&self, step: Step) -> io::Result<()> {
            *self.0.lock().unwrap().entry(format!("{step:?}")).or_default() += 1;
            // the first transaction begins when every writer has a body that waits for one
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while step == Step::Begin && self.of(Step::Rename) < 8 && std::time::Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            Ok(())
        }
    }
    let (_folder, store, b) = with_bucket();
    let counting = Arc::new(Counting(Mutex::default()));
    store.set_hooks(Some(counting.clone()));
    std::thread::scope(|scope| {
        for i in 0..8_u8 {
            let (store, b) = (&store, &b);
            scope.spawn(move || (0..10).for_each(|n| _ = put(store, b, &[i, n], b"x")));
        }
    });
    assert_eq!(counting.of(Step::Rename), 80);
    assert!(counting.of(Step::Commit) < 80, "{} transactions", counting.of(Step::Commit));
    assert_eq!(counting.of(Step::SyncFolder), counting.of(Step::Commit));
}

#[test]
fn a_put_runs_the_protocol_in_its_order() {
    use Step::{Begin, Commit, Create, IndexSync, IndexWrite, Rename, SyncBody, SyncFolder, Unlink, Write};
    struct Recording(Mutex<Vec<Step>>);
    impl Hooks for Recording {
        fn step(&self, step: Step) -> io::Result<()> {
            let mut steps = self.0.lock().unwrap();
            if steps.last() != Some(&step) {
                steps.push(step);
            }
            Ok(())
        }
    }
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path(), options(Durability::Full)).unwrap();
    let b = bucket("bucket");
    store.create_bucket(&b).unwrap();
    put(&store, &b, b"k", b"old");
    let recording = Arc::new(Recording(Mutex::default()));
    store.set_hooks(Some(recording.clone()));
    put(&store, &b, b"k", b"new body");
    let steps = recording.0.lock().unwrap();
    assert_eq!(steps[..9], [Create, Write, SyncBody, Rename, SyncFolder, Begin, Commit, IndexWrite, IndexSync]);
    // behind the sync the index tidies up after itself
    assert!(steps.last() == Some(&Unlink) && !steps[9..].contains(&Commit), "{steps:?}");
}

#[test]
fn the_store_lies_only_when_told_to() {
    struct Liar;
    impl Hooks for Liar {
        fn info(&self, _: &BucketName, _: &ObjectKey, info: &mut ObjectInfo) {
            info.size += 1;
            info.etag = ETag::new("forged");
        }
        fn range(&self, _: &BucketName, _: &ObjectKey, range: &mut ReadRange) {
            if *range != ReadRange::Whole {
                *range = ReadRange::From(1);
            }
        }
        fn body(&self, _: &BucketName, _: &ObjectKey, _: u64, body: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
            Box::new(body.take(3).chain(&b"!!"[..]))
        }
        fn list(&self, _: &BucketName, page: &mut ListPage) {
            page.objects.reverse();
        }
        fn list_parts(&self, _: &BucketName, _: &ObjectKey, page: &mut PartsPage) {
            page.parts.clear();
        }
        fn list_uploads(&self, _: &BucketName, page: &mut UploadsPage) {
            page.uploads.clear();
        }
        fn written(&self, _: &BucketName, _: &ObjectKey, written: &mut Written) {
            written.etag = ETag::new("lost");
        }
    }
    let (_folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"honest");
    put(&store, &b, b"l", b"honest");
    let upload = store.create_upload(&b, &key("u"), ObjectMeta::default()).unwrap();
    send_part(&store, &upload, 1, b"1");
    store.set_hooks(Some(Arc::new(Liar)));
    let info = store.head(&b, &key("k")).unwrap();
    assert_eq!((info.size, info.etag.as_str()), (7, "forged"));
    let read = |range| {
        let mut body = Vec::new();
        store.get(&b, &key("k"), &ReadCondition::default(), range).unwrap().body.read_to_end(&mut body).unwrap();
        body
    };
    assert_eq!(read(ReadRange::Whole), b"hon!!");
    assert_eq!(read(ReadRange::From(3)), b"one!!");
    let all = ListRequest { max_keys: 9, ..Default::default() };
    assert!(store.list(&b, &all).unwrap().objects[0].key == key("l"));
    assert!(store.list_parts(&upload, 0, 9).unwrap().parts.is_empty());
    assert!(
        store
            .list_uploads(&b, &ListUploadsRequest { max_uploads: 9, ..Default::default() })
            .unwrap()
            .uploads
            .is_empty()
    );
    assert_eq!(put(&store, &b, b"m", b"x").etag.as_str(), "lost");
    store.set_hooks(None);
    assert_eq!(get(&store, &b, b"k").unwrap(), b"honest");
    assert_eq!(store.head(&b, &key("m")).unwrap().etag.as_str(), hex(md5(b"x")));
}

#[test]
fn times_are_the_clocks() {
    let folder = TempDir::new().unwrap();
    let at = Timestamp::from_unix_millis(1_700_000_000_999);
    let store =
        Store::open(folder.path(), Options { clock: Arc::new(FixedClock(at)), ..options(Durability::None) }).unwrap();
    let b = bucket("bucket");
    store.create_bucket(&b).unwrap();
    assert_eq!(store.head_bucket(&b).unwrap().created, at);
    assert_eq!(put(&store, &b, b"k", b"x").modified, at);
    assert_eq!(store.head(&b, &key("k")).unwrap().modified, at);
    let since = ReadCondition { if_modified_since: Some(at), ..Default::default() };
    let answer = store.get(&b, &key("k"), &since, ReadRange::Whole);
    assert!(matches!(answer, Err(StoreError::NotModified { modified, .. }) if modified == at));
}

#[test]
fn an_index_that_lost_its_rows_is_refused_and_nothing_is_swept() {
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"precious");
    drop(store);
    let index = folder.path().join("index.redb");
    let whole = fs::read(&index).unwrap();
    let blank = TempDir::new().unwrap();
    drop(redb::Database::create(blank.path().join("blank")).unwrap());
    for lost in [Vec::new(), fs::read(blank.path().join("blank")).unwrap()] {
        fs::write(&index, &lost).unwrap();
        for _ in 0..2 {
            assert!(matches!(Store::open(folder.path(), options(Durability::None)), Err(StoreError::Corrupt(_))));
        }
        assert_eq!(files(folder.path()), 1);
    }
    fs::write(&index, &whole).unwrap();
    assert_eq!(get(&open(folder.path()), &b, b"k").unwrap(), b"precious");
}

#[test]
fn a_lock_file_that_was_removed_lets_no_second_store_in() {
    let (folder, store, b) = with_bucket();
    fs::remove_file(folder.path().join("LOCK")).unwrap();
    assert!(matches!(Store::open(folder.path(), options(Durability::None)), Err(StoreError::Locked)));
    put(&store, &b, b"k", b"x");
    drop(store);
    assert_eq!(get(&open(folder.path()), &b, b"k").unwrap(), b"x");
}

#[test]
fn without_durability_a_kill_still_leaves_every_object_whole() {
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"old");
    drop(store);
    let store = open(folder.path());
    put(&store, &b, b"k", b"new");
    put(&store, &b, b"l", b"more");
    // what a process that is killed now leaves
    let left = TempDir::new().unwrap();
    fs::create_dir(left.path().join("bodies")).unwrap();
    fs::copy(folder.path().join("index.redb"), left.path().join("index.redb")).unwrap();
    for file in fs::read_dir(folder.path().join("bodies")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), left.path().join("bodies").join(file.file_name())).unwrap();
    }
    let left = open(left.path());
    assert_eq!(get(&left, &b, b"k").unwrap(), b"new");
    assert_eq!(get(&left, &b, b"l").unwrap(), b"more");
}

#[test]
fn a_read_that_failed_goes_on_where_it_was() {
    let (folder, store, b) = with_bucket();
    let upload = store.create_upload(&b, &key("k"), ObjectMeta::default()).unwrap();
    let parts = [1, 2].map(|n| (part(n), send_part(&store, &upload, n, &[b'0' + n as u8; 5])));
    store.complete_upload(&upload, &parts, WriteCondition::None).unwrap();
    let (bodies, aside) = (folder.path().join("bodies"), folder.path().join("aside"));
    let mut object = store.get(&b, &key("k"), &ReadCondition::default(), ReadRange::Whole).unwrap();
    fs::rename(&bodies, &aside).unwrap();
    let mut body = Vec::new();
    assert!(object.body.read_to_end(&mut body).is_err());
    fs::rename(&aside, &bodies).unwrap();
    object.body.read_to_end(&mut body).unwrap();
    assert_eq!(body, b"1111122222");
}

#[test]
fn rows_whose_numbers_make_no_sense_are_errors() {
    use super::record::{BodyRef, LayoutPart, ObjectRow, Segment};
    let (_folder, store, b) = with_bucket();
    let name = b.clone();
    store
        .inner
        .index
        .write(None, move |t| {
            let segment = Segment { number: 7, offset: u64::MAX, len: u64::MAX };
            let row = |body| ObjectRow {
                size: u64::MAX,
                md5: [0; 16],
                parts: 0,
                modified: Timestamp::from_unix_millis(u64::MAX),
                sequence: u64::MAX,
                body,
                meta: ObjectMeta::default(),
                is_null: true,
                extras: Extras::default(),
            };
            let parts = [1, 2, 3].map(|number| LayoutPart { number, size: u64::MAX, segments: vec![segment] });
            t.name_new(segment)?;
            let bucket = t.bucket(&name)?;
            t.add_object(&bucket, b"one", &row(BodyRef::One(segment)), None)?;
            t.add_object(&bucket, b"many", &row(BodyRef::Layout(9)), Some(&parts))
        })
        .unwrap();
    for k in ["one", "many"] {
        for range in [
            ReadRange::Whole,
            ReadRange::From(5),
            ReadRange::Suffix(3),
            ReadRange::Part(part(2)),
            ReadRange::Part(part(3)),
            ReadRange::Span { first: 3, last: u64::MAX },
        ] {
            assert!(get_range(&store, &b, k.as_bytes(), range).is_err(), "{k} {range:?}");
        }
    }
    store.object_parts(&b, &key("many")).unwrap();
}

#[test]
fn a_panic_behind_the_commit_does_not_take_the_body_along() {
    struct Panics;
    impl Hooks for Panics {
        fn step(&self, step: Step) -> io::Result<()> {
            assert!(step != Step::Unlink, "a panic on purpose");
            Ok(())
        }
    }
    let (_folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"old");
    store.set_hooks(Some(Arc::new(Panics)));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| put(&store, &b, b"k", b"new")));
    assert!(panicked.is_err());
    store.set_hooks(None);
    assert_eq!(get(&store, &b, b"k").unwrap(), b"new");
    put(&store, &b, b"k", b"newer");
    assert_eq!(get(&store, &b, b"k").unwrap(), b"newer");
}

/// Holds the first transaction at `at` until `batch` has queued the others, then fails them as `fails` says.
fn behind_a_held_commit(
    at: Step,
    fails: impl Fn(Step, u32) -> bool + Send + Sync + 'static,
    batch: &[&(dyn Fn(&Store) + Sync)],
) {
    struct Gate<F> {
        at: Step,
        open: AtomicBool,
        held: AtomicBool,
        steps: Mutex<HashMap<String, u32>>,
        fails: F,
    }
    impl<F: Fn(Step, u32) -> bool + Send + Sync> Hooks for Gate<F> {
        fn step(&self, step: Step) -> io::Result<()> {
            if step == self.at && !self.held.swap(true, Ordering::SeqCst) {
                while !self.open.load(Ordering::SeqCst) {
                    std::thread::yield_now();
                }
            }
            let n = {
                let mut steps = self.steps.lock().unwrap();
                let n = steps.entry(format!("{step:?}")).or_default();
                *n += 1;
                *n
            };
            if (self.fails)(step, n) { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
        }
    }
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path(), options(Durability::Full)).unwrap();
    let b = bucket("bucket");
    store.create_bucket(&b).unwrap();
    let (open, held) = (AtomicBool::new(false), AtomicBool::new(false));
    let gate = Arc::new(Gate { at, open, held, steps: Mutex::default(), fails });
    store.set_hooks(Some(gate.clone()));
    std::thread::scope(|scope| {
        scope.spawn(|| _ = put_if(&store, &b, b"first", b"x", WriteCondition::None));
        while !gate.held.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        for (waiting, work) in batch.iter().enumerate() {
            scope.spawn(|| work(&store));
            while store.inner.index.waiting() <= waiting {
                std::thread::yield_now();
            }
        }
        gate.open.store(true, Ordering::SeqCst);
    });
    store.set_hooks(None);
    put(&store, &b, b"last", b"x");
    let all = ListRequest { max_keys: 9, ..Default::default() };
    let objects = store.list(&b, &all).unwrap().objects;
    for object in &objects {
        get(&store, &b, object.key.as_bytes()).unwrap();
    }
    drop(store);
    drop(Store::open(folder.path(), options(Durability::Full)).unwrap());
    assert_eq!(files(folder.path()), objects.len(), "a body that nothing names, or one that is named and gone");
}

#[test]
fn no_refusal_rests_on_a_write_that_did_not_happen() {
    // the two that create "k" share a transaction; what fails: its commit and then each of them alone, or the index's
    // file from its commit on
    for file in [false, true] {
        let begun = AtomicBool::new(false);
        let fails = move |step, n| {
            begun.fetch_or(step == Step::Commit && n == 2, Ordering::SeqCst);
            match step {
                Step::Commit => !file && n == 2,
                Step::Begin => !file && n > 2,
                Step::IndexWrite => file && begun.load(Ordering::SeqCst),
                _ => false,
            }
        };
        let b = bucket("bucket");
        let answers = Mutex::new(Vec::new());
        let create = |store: &Store| {
            let answer = put_if(store, &b, b"k", b"x", WriteCondition::IfNoneMatchAny);
            answers.lock().unwrap().push(answer);
        };
        behind_a_held_commit(Step::Begin, fails, &[&create, &create]);
        let answers = answers.into_inner().unwrap();
        let refused = answers.iter().any(|a| matches!(a, Err(StoreError::PreconditionFailed)));
        assert!(!refused || answers.iter().any(Result::is_ok), "{answers:?}");
    }
}

#[test]
fn a_name_that_a_failed_sync_may_have_lost_is_not_answered_by_a_second_sync() {
    let answers = Mutex::new(Vec::new());
    let b = bucket("bucket");
    let work = |store: &Store| {
        let answer = put_if(store, &b, b"k", b"x", WriteCondition::None);
        answers.lock().unwrap().push(answer.is_ok());
    };
    let other = |store: &Store| store.create_bucket(&bucket("other")).unwrap();
    // both share the transaction whose sync fails
    let fails = |step, n| step == Step::SyncFolder && n == 2;
    behind_a_held_commit(Step::Begin, fails, &[&work, &work, &other]);
    assert_eq!(*answers.lock().unwrap(), [false, false]);
    // they are renamed already when the sync of another's fails
    answers.lock().unwrap().clear();
    behind_a_held_commit(Step::SyncFolder, |step, n| step == Step::SyncFolder && n == 1, &[&work, &work, &other]);
    assert_eq!(*answers.lock().unwrap(), [false, false]);
}

#[test]
fn names_of_files_are_counted_exactly_whatever_happens_at_once() {
    let (folder, store, b) = with_bucket();
    let keys = ["a", "b", "c"];
    std::thread::scope(|scope| {
        for i in 0..6_usize {
            let (store, b) = (&store, &b);
            scope.spawn(move || {
                for n in 0..60_usize {
                    let (from, to) = (key(keys[(i + n) % 3]), key(keys[(i * 2 + n / 3) % 3]));
                    match (i + n * 7) % 6 {
                        0 => _ = put(store, b, from.as_bytes(), &[i as u8; 9]),
                        1 | 2 => {
                            let meta = Some(ObjectMeta::default());
                            let from_condition = ReadCondition::default();
                            let condition = WriteCondition::None;
                            let (from_bucket, from_key) = (b, &from);
                            _ = store.copy(CopyRequest {
                                from_bucket,
                                from_key,
                                from_version: None,
                                from_condition,
                                bucket: b,
                                key: &to,
                                meta,
                                tags: None,
                                lock: ObjectLock::default(),
                                condition,
                            });
                        }
                        3 => _ = store.delete(b, &to).unwrap(),
                        4 => _ = get(store, b, from.as_bytes()),
                        _ => {
                            let upload = store.create_upload(b, &to, ObjectMeta::default()).unwrap();
                            let parts: Vec<_> = [2, 2, 5, 9]
                                .iter()
                                .map(|p| (part(*p), send_part(store, &upload, *p, b"12345")))
                                .collect();
                            std::thread::scope(|scope| {
                                scope.spawn(|| _ = store.abort_upload(&upload));
                                scope.spawn(|| {
                                    if let Ok(mut late) = store.upload_part(&upload, part(9)) {
                                        _ = late.write(b"54321").and_then(|()| late.commit().map(|_| ()));
                                    }
                                });
                                scope.spawn(|| _ = store.complete_upload(&upload, &parts[1..3], WriteCondition::None));
                                _ = store.complete_upload(&upload, &parts[1..2], WriteCondition::None);
                            });
                        }
                    }
                }
            });
        }
    });
    let uploads = store.list_uploads(&b, &ListUploadsRequest { max_uploads: 9, ..Default::default() }).unwrap();
    assert!(uploads.uploads.is_empty());
    for k in keys {
        if let Ok(info) = store.head(&b, &key(k)) {
            assert_eq!(get(&store, &b, k.as_bytes()).unwrap().len() as u64, info.size);
        }
        store.delete(&b, &key(k)).unwrap();
    }
    assert_eq!(files(folder.path()), 0);
    store.delete_bucket(&b).unwrap();
}

#[test]
fn what_a_failed_sync_of_the_index_may_have_lost_is_written_again() {
    struct Sync {
        failed: AtomicBool,
        behind: Mutex<Vec<Step>>,
    }
    impl Hooks for Sync {
        fn step(&self, step: Step) -> io::Result<()> {
            if step == Step::IndexSync && !self.failed.swap(true, Ordering::SeqCst) {
                return Err(io::Error::from(io::ErrorKind::Other));
            }
            if self.failed.load(Ordering::SeqCst) {
                self.behind.lock().unwrap().push(step);
            }
            Ok(())
        }
    }
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path(), options(Durability::Full)).unwrap();
    let b = bucket("bucket");
    store.create_bucket(&b).unwrap();
    for n in 0..40_u8 {
        let meta = ObjectMeta { opaque: vec![n; ObjectMeta::MAX_LEN], ..ObjectMeta::default() };
        store.put(&b, &key([n])).unwrap().commit(meta, WriteCondition::None).unwrap();
    }
    let hooks = Arc::new(Sync { failed: AtomicBool::new(false), behind: Mutex::default() });
    store.set_hooks(Some(hooks.clone()));
    let len = fs::metadata(folder.path().join("index.redb")).unwrap().len();
    assert!(len > 2 << 20);
    assert!(put_if(&store, &b, b"k", b"x", WriteCondition::None).is_err());
    let steps = hooks.behind.lock().unwrap();
    let written = steps.iter().take_while(|step| **step == Step::IndexWrite).count();
    assert!(written as u64 >= len >> 20 && steps[written] == Step::IndexSync, "{steps:?}");
    drop(steps);
    store.set_hooks(None);
    put(&store, &b, b"l", b"more");
    for n in 0..40_u8 {
        assert_eq!(store.head(&b, &key([n])).unwrap().meta.opaque, vec![n; ObjectMeta::MAX_LEN]);
    }
}
