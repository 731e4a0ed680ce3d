//! Versions, delete markers, tags and locks.

use redb::ReadableDatabase as _;

use super::*;
use crate::embedded::record::BodyRef;

/// A clock that a test moves.
#[derive(Default)]
struct Moved(std::sync::atomic::AtomicU64);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }
}

fn versioned() -> (TempDir, Store, BucketName) {
    let (folder, store, b) = with_bucket();
    store.set_versioning(&b, Versioning::Enabled).unwrap();
    (folder, store, b)
}

fn locked(at: u64) -> (TempDir, Store, BucketName, Arc<Moved>) {
    let (folder, clock, b) = (TempDir::new().unwrap(), Arc::new(Moved::default()), bucket("bucket"));
    clock.0.store(at, Ordering::SeqCst);
    let options = Options { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..options(Durability::None) };
    let store = Store::open(folder.path(), options).unwrap();
    store.create_bucket_with_lock(&b).unwrap();
    (folder, store, b, clock)
}

fn read(store: &Store, b: &BucketName, k: &str, version: Option<VersionId>) -> Result<Vec<u8>, StoreError> {
    let mut body = Vec::new();
    let object = store.get_version(b, &key(k), version, &ReadCondition::default(), ReadRange::Whole);
    object?.body.read_to_end(&mut body)?;
    Ok(body)
}

fn write(store: &Store, b: &BucketName, k: &str, body: &str) -> VersionId {
    put(store, b, k.as_bytes(), body.as_bytes()).version.unwrap()
}

fn delete(store: &Store, b: &BucketName, k: &str, version: Option<VersionId>) -> Result<Deleted, StoreError> {
    store.delete_version(b, Deletion::of(key(k), version))
}

/// All versions, in pages of `max`: `KEY=VERSION`, a delete marker with `!` before it, the newest with `*` behind it.
fn listed(store: &Store, b: &BucketName, (prefix, delimiter): (&str, &str), max_keys: u32) -> Vec<String> {
    let mut request = ListVersionsRequest {
        prefix: prefix.into(),
        delimiter: delimiter.into(),
        max_keys,
        ..ListVersionsRequest::default()
    };
    let mut all = Vec::new();
    loop {
        let page = store.list_versions(b, &request).unwrap();
        assert!(page.versions.len() + page.common_prefixes.len() <= max_keys as usize);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        for version in &page.versions {
            let (marker, latest) =
                (if version.object.is_none() { "!" } else { "" }, if version.is_latest { "*" } else { "" });
            all.push(format!("{marker}{}={}{latest}", text(version.key.as_bytes()), version.version));
        }
        all.extend(page.common_prefixes.iter().map(|prefix| text(prefix)));
        let Some((key, version)) = page.next else { return all };
        assert_eq!(page.versions.len() + page.common_prefixes.len(), max_keys as usize);
        (request.key_marker, request.version_marker) = (key, version);
    }
}

fn all(store: &Store, b: &BucketName) -> Vec<String> {
    listed(store, b, ("", ""), 1000)
}

fn no_marker(error: &StoreError) -> bool {
    !matches!(error, StoreError::DeleteMarker { .. })
}

#[test]
fn every_write_is_a_version_and_every_deletion_a_marker() {
    let (folder, store, b) = versioned();
    let (one, two) = (write(&store, &b, "k", "1"), write(&store, &b, "k", "22"));
    assert_eq!(read(&store, &b, "k", None).unwrap(), b"22");
    assert_eq!(read(&store, &b, "k", Some(one)).unwrap(), b"1");
    assert_eq!(store.head(&b, &key("k")).unwrap().version, Some(two));
    let marker = delete(&store, &b, "k", None).unwrap();
    assert!(marker.was_there && marker.is_marker);
    let at = marker.version.unwrap();
    assert_eq!(all(&store, &b), [format!("!k={at}*"), format!("k={two}"), format!("k={one}")]);
    // a marker is met as no object, and by its own id as none that could be read
    assert!(
        matches!(read(&store, &b, "k", None), Err(StoreError::DeleteMarker { by_id: false, version, .. }) if version == at)
    );
    assert!(matches!(read(&store, &b, "k", Some(at)), Err(StoreError::DeleteMarker { by_id: true, .. })));
    assert!(store.list(&b, &ListRequest { max_keys: 9, ..Default::default() }).unwrap().objects.is_empty());
    assert!(matches!(store.delete_bucket(&b), Err(StoreError::BucketNotEmpty)));
    // a second deletion is a second marker; one of what was never there too
    let second = delete(&store, &b, "k", None).unwrap();
    assert!(!second.was_there && second.is_marker && second.version != marker.version);
    assert!(delete(&store, &b, "never", None).unwrap().is_marker);
    // without its markers the object is back
    for version in [second.version, marker.version] {
        assert!(delete(&store, &b, "k", version).unwrap().is_marker);
    }
    assert_eq!(read(&store, &b, "k", None).unwrap(), b"22");
    // so is the older one without the newer
    let gone = delete(&store, &b, "k", Some(two)).unwrap();
    assert_eq!((gone.was_there, gone.is_marker, gone.version), (true, false, Some(two)));
    assert_eq!((read(&store, &b, "k", None).unwrap(), files(folder.path())), (b"1".to_vec(), 1));
    assert!(matches!(read(&store, &b, "k", Some(two)), Err(StoreError::NoSuchVersion)));
    assert!(!delete(&store, &b, "k", Some(two)).unwrap().was_there);
    assert!(delete(&store, &b, "k", Some(one)).unwrap().was_there);
    assert!(no_marker(&read(&store, &b, "k", None).unwrap_err()));
    let never = all(&store, &b)[0].trim_end_matches('*').split_once('=').unwrap().1.parse().unwrap();
    delete(&store, &b, "never", Some(never)).unwrap();
    assert_eq!(files(folder.path()), 0);
    store.delete_bucket(&b).unwrap();
}

#[test]
fn the_version_null_is_one_and_is_replaced_while_versions_are_suspended() {
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"old");
    assert_eq!(store.head(&b, &key("k")).unwrap().version, None);
    assert_eq!(read(&store, &b, "k", Some(VersionId::NULL)).unwrap(), b"old");
    assert!(matches!(store.set_versioning(&b, Versioning::Never), Err(StoreError::InvalidRequest(_))));
    store.set_versioning(&b, Versioning::Enabled).unwrap();
    assert_eq!(store.head(&b, &key("k")).unwrap().version, Some(VersionId::NULL));
    let one = write(&store, &b, "k", "1");
    assert_eq!(all(&store, &b), [format!("k={one}*"), "k=null".into()]);
    assert_eq!(read(&store, &b, "k", Some(VersionId::NULL)).unwrap(), b"old");
    // the null version goes by no other name
    let view = store.inner.index.read().unwrap();
    let sequence = view.sequence(view.bucket(&b).unwrap().id, b"k", VersionId::NULL).unwrap().unwrap();
    assert!(matches!(read(&store, &b, "k", Some(VersionId::of(sequence, false))), Err(StoreError::NoSuchVersion)));
    drop(view);

    store.set_versioning(&b, Versioning::Suspended).unwrap();
    assert_eq!(write(&store, &b, "k", "new"), VersionId::NULL);
    assert_eq!(all(&store, &b), ["k=null*".into(), format!("k={one}")]);
    assert_eq!(files(folder.path()), 2);
    assert_eq!(write(&store, &b, "k", "newer"), VersionId::NULL);
    assert_eq!((read(&store, &b, "k", Some(VersionId::NULL)).unwrap(), files(folder.path())), (b"newer".to_vec(), 2));
    let marker = delete(&store, &b, "k", None).unwrap();
    assert_eq!((marker.version, marker.is_marker), (Some(VersionId::NULL), true));
    assert_eq!((all(&store, &b), files(folder.path())), (vec!["!k=null*".to_owned(), format!("k={one}")], 1));
    assert!(matches!(
        read(&store, &b, "k", Some(VersionId::NULL)),
        Err(StoreError::DeleteMarker { by_id: true, version: VersionId::NULL, .. })
    ));
    // with versions again, the null marker is one among them, and can be deleted by its name
    store.set_versioning(&b, Versioning::Enabled).unwrap();
    let two = write(&store, &b, "k", "2");
    assert_eq!(all(&store, &b), [format!("k={two}*"), "!k=null".into(), format!("k={one}")]);
    assert!(delete(&store, &b, "k", Some(VersionId::NULL)).unwrap().is_marker);
    assert_eq!(all(&store, &b), [format!("k={two}*"), format!("k={one}")]);
}

#[test]
fn versions_are_listed_in_pages_of_any_size() {
    let (_folder, store, b) = with_bucket();
    put(&store, &b, b"b", b"");
    store.set_versioning(&b, Versioning::Enabled).unwrap();
    for k in ["a", "b", "c/1", "c/2", "d", "a", "b", "c/1", "a"] {
        write(&store, &b, k, k);
    }
    delete(&store, &b, "b", None).unwrap();
    delete(&store, &b, "e", None).unwrap();
    write(&store, &b, "b", "last");
    for (prefix, delimiter, lines) in
        [("", "", 13), ("", "/", 11), ("c", "", 3), ("c/", "/", 3), ("b", "/", 5), ("x", "", 0)]
    {
        let whole = listed(&store, &b, (prefix, delimiter), 1000);
        assert_eq!(whole.len(), lines, "{prefix} {delimiter}: {whole:?}");
        for max in 1..=4 {
            // a page that is cut within common prefixes and keys has both, each in its order
            let (mut paged, mut whole) = (listed(&store, &b, (prefix, delimiter), max), whole.clone());
            if !delimiter.is_empty() {
                paged.sort();
                whole.sort();
            }
            assert_eq!(paged, whole, "{prefix} {delimiter} {max}");
        }
    }
    let names = all(&store, &b);
    assert!(names.iter().map(|n| n.trim_start_matches('!').split('=').next().unwrap()).is_sorted());
    assert_eq!(names.iter().filter(|n| n.ends_with('*')).count(), 6);
    let of_b: Vec<_> = names.iter().filter(|n| n.trim_start_matches('!').starts_with("b=")).collect();
    assert!(of_b[0].ends_with('*') && of_b[1].starts_with('!') && of_b[4] == "b=null", "{of_b:?}");

    let page = |key_marker: &str, version_marker| {
        let request =
            ListVersionsRequest { key_marker: key_marker.into(), version_marker, max_keys: 1000, ..Default::default() };
        store.list_versions(&b, &request).unwrap().versions
    };
    // a key without a version: what is behind it; the null version is found by its name
    assert!(page("b", None)[0].key == key("c/1"));
    assert!(page("b", Some(VersionId::NULL))[0].key == key("c/1"));
    // where the marker's version is gone, the page goes on behind its place
    let second = page("a", None)[0].clone();
    let rest = page("b", Some(second.version)).len();
    delete(&store, &b, "b", Some(second.version)).unwrap();
    assert_eq!(page("b", Some(second.version)).len(), rest);
    delete(&store, &b, "b", Some(VersionId::NULL)).unwrap();
    assert!(page("b", Some(VersionId::NULL))[0].key == key("b"), "rather again than never");
    assert!(store.list_versions(&b, &ListVersionsRequest::default()).unwrap().versions.is_empty());
}

#[test]
fn conditions_are_judged_by_the_current_version() {
    let (_folder, store, b) = versioned();
    let old = put(&store, &b, b"k", b"old").etag;
    let new = put(&store, &b, b"k", b"new").etag;
    let try_put = |condition| put_if(&store, &b, b"k", b"x", condition).map(|_| ());
    let remove = |condition| store.delete_version(&b, Deletion { condition, ..Deletion::of(key("k"), None) });
    assert!(matches!(try_put(WriteCondition::IfNoneMatchAny), Err(StoreError::PreconditionFailed)));
    assert!(matches!(try_put(WriteCondition::IfMatch(old.clone())), Err(StoreError::PreconditionFailed)));
    assert!(matches!(remove(WriteCondition::IfMatch(old)), Err(StoreError::PreconditionFailed)));
    assert_eq!(all(&store, &b).len(), 2);
    assert!(remove(WriteCondition::IfMatch(new.clone())).unwrap().is_marker);
    // a marker is nothing that is there
    assert!(matches!(try_put(WriteCondition::IfMatch(new.clone())), Err(StoreError::NoSuchKey)));
    assert!(matches!(remove(WriteCondition::IfMatch(new)), Err(StoreError::NoSuchKey)));
    try_put(WriteCondition::IfNoneMatchAny).unwrap();
    assert_eq!(all(&store, &b).len(), 4);
}

#[test]
fn copies_and_uploads_are_versions_and_are_made_of_versions() {
    let (folder, store, b) = versioned();
    let (one, two) = (write(&store, &b, "k", "first"), write(&store, &b, "k", "second"));
    let copy = |from_version, to: &str| {
        store.copy(CopyRequest {
            from_bucket: &b,
            from_key: &key("k"),
            from_version,
            from_condition: ReadCondition::default(),
            bucket: &b,
            key: &key(to),
            meta: None,
            tags: None,
            lock: ObjectLock::default(),
            condition: WriteCondition::None,
        })
    };
    assert_eq!(copy(None, "copy").unwrap().from_version, Some(two));
    // an old version becomes the current one
    let restored = copy(Some(one), "k").unwrap();
    assert_eq!(restored.from_version, Some(one));
    assert_eq!(read(&store, &b, "k", None).unwrap(), b"first");
    assert_eq!((all(&store, &b).len(), files(folder.path())), (4, 2));

    let upload = store.create_upload(&b, &key("k"), ObjectMeta::default()).unwrap();
    let etag = send_part(&store, &upload, 1, b"part");
    let from_condition = ReadCondition::default();
    let (from_key, range) = (key("k"), ReadRange::Span { first: 1, last: 3 });
    let from = PartCopy { from_bucket: &b, from_key: &from_key, from_version: Some(two), from_condition, range };
    let copied = store.upload_part_copy(&upload, part(2), &from).unwrap();
    assert_eq!(copied.from_version, Some(two));
    let whole =
        store.complete_upload(&upload, &[(part(1), etag), (part(2), copied.etag)], WriteCondition::None).unwrap();
    assert_eq!(read(&store, &b, "k", whole.version).unwrap(), b"parteco");
    assert_eq!(read(&store, &b, "k", restored.version).unwrap(), b"first");

    let marker = delete(&store, &b, "k", None).unwrap().version;
    assert!(matches!(copy(None, "x"), Err(StoreError::NoSuchKey)));
    assert!(matches!(copy(marker, "x"), Err(StoreError::InvalidRequest(_))));
    // what two versions share stays until neither names it
    let names: Vec<VersionId> = all(&store, &b)
        .iter()
        .filter_map(|n| n.trim_end_matches('*').strip_prefix("k=").map(|id| id.parse().unwrap()))
        .collect();
    for version in names {
        assert!(read(&store, &b, "k", Some(version)).is_ok());
        assert!(delete(&store, &b, "k", Some(version)).unwrap().was_there);
    }
    assert_eq!((read(&store, &b, "copy", None).unwrap(), files(folder.path())), (b"second".to_vec(), 1));
}

#[test]
fn many_are_deleted_in_one_step_and_each_is_judged_by_itself() {
    let (_folder, store, b, clock) = locked(1000);
    let (one, two) = (write(&store, &b, "k", "1"), write(&store, &b, "k", "2"));
    store.set_legal_hold(&b, &key("k"), Some(one), true).unwrap();
    let deletions = [("k", Some(one)), ("k", Some(two)), ("k", None), ("l", None), ("k", Some(two))];
    let deletions = deletions.map(|(k, version)| Deletion::of(key(k), version)).to_vec();
    let answers = store.delete_versions(&b, deletions).unwrap();
    assert!(matches!(answers[0], Err(StoreError::ObjectLocked)));
    let answer = |n: usize| *answers[n].as_ref().unwrap();
    assert_eq!(answer(1), Deleted { was_there: true, version: Some(two), is_marker: false });
    assert!(answer(2).was_there && answer(2).is_marker, "the held one was current again");
    assert!(!answer(3).was_there && answer(3).is_marker);
    assert!(!answer(4).was_there);
    assert_eq!(read(&store, &b, "k", Some(one)).unwrap(), b"1");
    assert!(store.delete_versions(&b, vec![Deletion::of(key("k"), None); 1001]).is_err());
    drop(clock);
}

#[test]
fn tags_belong_to_a_version_and_go_with_a_copy() {
    let (_folder, store, b) = versioned();
    let tags = |pairs: &[(&str, &str)]| {
        Tags::of_object(pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()).unwrap()
    };
    let mut writer = store.put(&b, &key("k")).unwrap();
    writer.write(b"1").unwrap();
    let extras = Extras { tags: tags(&[("a", "1")]), lock: ObjectLock::default() };
    let one = writer.commit_with(ObjectMeta::default(), extras.clone(), WriteCondition::None).unwrap().version.unwrap();
    let two = write(&store, &b, "k", "2");
    assert_eq!(store.tags(&b, &key("k"), None).unwrap(), (Tags::default(), Some(two)));
    assert_eq!(store.tags(&b, &key("k"), Some(one)).unwrap().0, extras.tags);
    // an older version's are changed where it lies
    let others = tags(&[("b", "2"), ("c", "")]);
    assert_eq!(store.set_tags(&b, &key("k"), Some(one), others.clone()).unwrap(), Some(one));
    assert_eq!(store.tags(&b, &key("k"), Some(one)).unwrap().0, others);
    assert_eq!(read(&store, &b, "k", Some(one)).unwrap(), b"1");
    let copy = |tags, to: &str| {
        store.copy(CopyRequest {
            from_bucket: &b,
            from_key: &key("k"),
            from_version: Some(one),
            from_condition: ReadCondition::default(),
            bucket: &b,
            key: &key(to),
            meta: None,
            tags,
            lock: ObjectLock::default(),
            condition: WriteCondition::None,
        })
    };
    copy(None, "kept").unwrap();
    copy(Some(Tags::default()), "replaced").unwrap();
    assert_eq!(store.tags(&b, &key("kept"), None).unwrap().0, others);
    assert_eq!(store.tags(&b, &key("replaced"), None).unwrap().0, Tags::default());
    let upload = store.create_upload_with(&b, &key("u"), ObjectMeta::default(), extras.clone()).unwrap();
    let etag = send_part(&store, &upload, 1, b"x");
    store.complete_upload(&upload, &[(part(1), etag)], WriteCondition::None).unwrap();
    assert_eq!(store.tags(&b, &key("u"), None).unwrap().0, extras.tags);
    let marker = delete(&store, &b, "k", None).unwrap().version;
    assert!(matches!(store.tags(&b, &key("k"), None), Err(StoreError::DeleteMarker { by_id: false, .. })));
    assert!(matches!(
        store.set_tags(&b, &key("k"), marker, tags(&[])),
        Err(StoreError::DeleteMarker { by_id: true, .. })
    ));

    assert!(matches!(store.bucket_tags(&b), Err(StoreError::NoSuchTagSet)));
    store.set_bucket_tags(&b, extras.tags.clone()).unwrap();
    assert_eq!(store.bucket_tags(&b).unwrap(), extras.tags);
}

#[test]
fn what_is_locked_is_not_deleted_before_its_time() {
    let (_folder, store, b, clock) = locked(1_000_000);
    let at = Timestamp::from_unix_millis;
    let now = |millis| clock.0.store(millis, Ordering::SeqCst);
    let retain = |mode, until| Some(Retention { mode, until: at(until) });
    let put_locked = |k: &str, retention, legal_hold| {
        let mut writer = store.put(&b, &key(k)).unwrap();
        writer.write(k.as_bytes()).unwrap();
        let extras = Extras { tags: Tags::default(), lock: ObjectLock { retention, legal_hold } };
        writer.commit_with(ObjectMeta::default(), extras, WriteCondition::None).map(|written| written.version.unwrap())
    };
    let remove = |k: &str, version, bypass_governance| {
        store.delete_version(&b, Deletion { bypass_governance, ..Deletion::of(key(k), Some(version)) })
    };
    let is_locked = |answer: Result<Deleted, StoreError>| matches!(answer, Err(StoreError::ObjectLocked));
    let governed = put_locked("g", retain(RetentionMode::Governance, 2_000_000), None).unwrap();
    let bound = put_locked("c", retain(RetentionMode::Compliance, 2_000_000), None).unwrap();
    let held = put_locked("h", None, Some(true)).unwrap();
    assert!(matches!(
        put_locked("p", retain(RetentionMode::Governance, 1_000_000), None),
        Err(StoreError::RetentionInThePast)
    ));
    for (k, version) in [("g", governed), ("c", bound), ("h", held)] {
        assert!(is_locked(remove(k, version, false)), "{k}");
        // a deletion that makes a marker harms no version; an overwrite neither
        assert!(delete(&store, &b, k, None).unwrap().is_marker);
        write(&store, &b, k, "newer");
        assert_eq!(read(&store, &b, k, Some(version)).unwrap(), k.as_bytes());
    }
    assert!(is_locked(remove("c", bound, true)) && is_locked(remove("h", held, true)));
    assert!(remove("g", governed, true).unwrap().was_there);
    // compliance is only ever lengthened
    let set = |until, bypass| {
        store.set_retention(&b, &key("c"), Some(bound), retain(RetentionMode::Compliance, until), bypass)
    };
    assert!(matches!(set(1_999_999, true), Err(StoreError::ObjectLocked)));
    set(3_000_000, false).unwrap();
    assert_eq!(store.retention(&b, &key("c"), Some(bound)).unwrap().until, at(3_000_000));
    now(2_999_999);
    assert!(is_locked(remove("c", bound, true)));
    now(3_000_000);
    assert!(remove("c", bound, false).unwrap().was_there);
    store.set_legal_hold(&b, &key("h"), Some(held), false).unwrap();
    assert!(!store.legal_hold(&b, &key("h"), Some(held)).unwrap());
    assert!(remove("h", held, false).unwrap().was_there);
}

#[test]
fn a_default_retention_holds_of_all_that_comes_without_one() {
    const DAY: u64 = 86_400_000;
    let (_folder, store, b, clock) = locked(5 * DAY);
    let default = |mode, period| BucketLock { default: Some(DefaultRetention { mode, period }) };
    for period in [Period::Days(0), Period::Days(36_501), Period::Years(0), Period::Years(101)] {
        let refused = store.set_bucket_lock(&b, default(RetentionMode::Governance, period));
        assert!(matches!(refused, Err(StoreError::InvalidRetentionPeriod)));
    }
    let lock = default(RetentionMode::Governance, Period::Days(2));
    store.set_bucket_lock(&b, lock).unwrap();
    assert_eq!(store.bucket_lock(&b).unwrap(), lock);
    let one = write(&store, &b, "k", "1");
    let until = |version| store.retention(&b, &key("k"), Some(version)).unwrap().until.unix_millis();
    assert_eq!(until(one), 7 * DAY);
    // of an upload it counts from its completion
    let upload = store.create_upload(&b, &key("k"), ObjectMeta::default()).unwrap();
    let etag = send_part(&store, &upload, 1, b"x");
    clock.0.store(6 * DAY, Ordering::SeqCst);
    let two = store.complete_upload(&upload, &[(part(1), etag)], WriteCondition::None).unwrap().version.unwrap();
    assert_eq!(until(two), 8 * DAY);
    store.set_bucket_lock(&b, default(RetentionMode::Compliance, Period::Years(1))).unwrap();
    assert_eq!((until(write(&store, &b, "k", "3")), until(one)), (371 * DAY, 7 * DAY));
    // the lock is there for good, and versions with it
    assert!(matches!(store.set_versioning(&b, Versioning::Suspended), Err(StoreError::InvalidBucketState)));
    store.set_bucket_lock(&b, BucketLock::default()).unwrap();
    let plain = write(&store, &b, "k", "4");
    assert!(matches!(store.retention(&b, &key("k"), Some(plain)), Err(StoreError::NoObjectLock)));
    assert!(matches!(store.legal_hold(&b, &key("k"), Some(plain)), Err(StoreError::NoObjectLock)));

    let without = bucket("without");
    store.create_bucket(&without).unwrap();
    put(&store, &without, b"k", b"x");
    assert!(matches!(store.bucket_lock(&without), Err(StoreError::NoBucketLock)));
    assert!(matches!(store.set_bucket_lock(&without, lock), Err(StoreError::InvalidBucketState)));
    assert!(matches!(store.retention(&without, &key("k"), None), Err(StoreError::InvalidRequest(_))));
    assert!(matches!(store.set_legal_hold(&without, &key("k"), None, true), Err(StoreError::InvalidRequest(_))));
    let lock = ObjectLock { retention: None, legal_hold: Some(true) };
    let extras = Extras { tags: Tags::default(), lock };
    let refused = store.put(&without, &key("k")).unwrap().commit_with(
        ObjectMeta::default(),
        extras.clone(),
        WriteCondition::None,
    );
    assert!(matches!(refused, Err(StoreError::InvalidRequest(_))));
    assert!(store.create_upload_with(&without, &key("k"), ObjectMeta::default(), extras).is_err());
    store.set_versioning(&without, Versioning::Enabled).unwrap();
    store.set_bucket_lock(&without, BucketLock::default()).unwrap();
    store.set_legal_hold(&without, &key("k"), Some(VersionId::NULL), true).unwrap();
    assert!(matches!(delete(&store, &without, "k", Some(VersionId::NULL)), Err(StoreError::ObjectLocked)));
}

#[test]
fn a_disk_that_fails_at_any_step_loses_no_version_and_brings_none_back() {
    use Step::{Begin, Commit, Create, IndexSync, IndexWrite, Rename, SyncBody, SyncFolder, Unlink, Write};
    type Act = fn(&Store, &BucketName, VersionId) -> Result<(), StoreError>;
    let acts: [(&str, Act); 3] = [
        ("write", |store, b, _| put_if(store, b, b"k", b"three", WriteCondition::None).map(|_| ())),
        ("marker", |store, b, _| delete(store, b, "k", None).map(|_| ())),
        ("delete", |store, b, newest| delete(store, b, "k", Some(newest)).map(|_| ())),
    ];
    for (what, act) in acts {
        for step in [Create, Write, SyncBody, Rename, SyncFolder, Begin, Commit, IndexWrite, IndexSync, Unlink] {
            let folder = TempDir::new().unwrap();
            let store = Store::open(folder.path(), options(Durability::Full)).unwrap();
            let b = bucket("bucket");
            store.create_bucket(&b).unwrap();
            store.set_versioning(&b, Versioning::Enabled).unwrap();
            let (one, two) = (write(&store, &b, "k", "one"), write(&store, &b, "k", "two"));
            let before = all(&store, &b);
            store.set_hooks(Some(Arc::new(FailAt { step, once: false, armed: AtomicBool::new(true) })));
            let result = act(&store, &b, two);
            store.set_hooks(None);
            // the next write opens an index that failed, and settles what is open
            put(&store, &b, b"other", b"");
            let found = |store: &Store| {
                let found: Vec<_> = all(store, &b).into_iter().filter(|name| !name.contains("other")).collect();
                let bodies: Vec<_> = [Some(one), Some(two), None].map(|id| read(store, &b, "k", id).ok()).into();
                (found, bodies)
            };
            let (names, bodies) = found(&store);
            let in_commit = matches!(step, IndexWrite | IndexSync);
            let changed = names != before;
            assert!(changed || result.is_err(), "{what} {step:?}: answered and not there");
            assert!(!changed || result.is_ok() || in_commit, "{what} {step:?}: refused and there");
            let [first, second, current] = &bodies[..] else { unreachable!() };
            assert_eq!(first.as_deref(), Some(&b"one"[..]), "{what} {step:?}");
            assert_eq!(second.as_deref(), (!changed || what != "delete").then_some(&b"two"[..]), "{what} {step:?}");
            let expected = match (changed, what) {
                (false, _) => Some(&b"two"[..]),
                (true, "write") => Some(&b"three"[..]),
                (true, "marker") => None,
                _ => Some(&b"one"[..]),
            };
            assert_eq!(current.as_deref(), expected, "{what} {step:?}");
            drop(store);
            let store = Store::open(folder.path(), options(Durability::Full)).unwrap();
            assert_eq!(found(&store), (names, bodies), "{what} {step:?}: another one after the next start");
            let objects = all(&store, &b).iter().filter(|name| name.starts_with("k=")).count();
            assert_eq!(files(folder.path()), objects, "{what} {step:?}");
        }
    }
}

#[test]
fn a_refused_job_leaves_nothing_in_the_transaction_that_others_share() {
    let b = bucket("bucket");
    let lock = ObjectLock { legal_hold: Some(true), ..ObjectLock::default() };
    // the bucket has no lock
    let refused =
        |result: Result<(), StoreError>| assert!(matches!(result, Err(StoreError::InvalidRequest(_))), "{result:?}");
    let put_locked = |store: &Store| {
        let mut writer = store.put(&b, &key("locked")).unwrap();
        writer.write(b"x").unwrap();
        let extras = Extras { lock, ..Extras::default() };
        refused(writer.commit_with(ObjectMeta::default(), extras, WriteCondition::None).map(drop));
    };
    let hold = |store: &Store| refused(store.set_legal_hold(&b, &key("first"), None, true).map(drop));
    let copy_locked = |store: &Store| {
        refused(
            store
                .copy(CopyRequest {
                    from_bucket: &b,
                    from_key: &key("first"),
                    from_version: None,
                    from_condition: ReadCondition::default(),
                    bucket: &b,
                    key: &key("copy"),
                    meta: None,
                    tags: None,
                    lock,
                    condition: WriteCondition::None,
                })
                .map(drop),
        );
    };
    let write = |store: &Store| _ = put(store, &b, b"written", b"x");
    behind_a_held_commit(Step::Begin, |_, _| false, &[&put_locked, &hold, &write, &copy_locked, &put_locked]);
}

#[test]
fn versions_are_kept_exactly_whatever_happens_at_once() {
    let (folder, store, b) = versioned();
    std::thread::scope(|scope| {
        for i in 0..6_usize {
            let (store, b) = (&store, &b);
            scope.spawn(move || {
                for n in 0..40_usize {
                    match (i + n) % 4 {
                        0 | 1 => _ = put(store, b, b"k", &[i as u8; 5]),
                        2 => _ = delete(store, b, "k", None).unwrap(),
                        _ => {
                            let names = all(store, b);
                            let Some(name) = names.get((i * 7 + n) % names.len().max(1)) else { continue };
                            let id = name.trim_end_matches('*').split_once('=').unwrap().1.parse().unwrap();
                            _ = delete(store, b, "k", Some(id)).unwrap();
                        }
                    }
                    if n % 13 == 5 {
                        let next = if i % 2 == 0 { Versioning::Suspended } else { Versioning::Enabled };
                        store.set_versioning(b, next).unwrap();
                    }
                }
            });
        }
    });
    let names = all(&store, &b);
    assert!(names.iter().filter(|name| name.contains("=null")).count() <= 1, "{names:?}");
    assert!(names.is_empty() || names[0].ends_with('*') && names.iter().filter(|n| n.ends_with('*')).count() == 1);
    let ids = names.iter().map(|name| name.trim_end_matches('*').split_once('=').unwrap().1);
    assert_eq!(files(folder.path()), names.iter().filter(|name| !name.starts_with('!')).count());
    for id in ids {
        assert!(delete(&store, &b, "k", Some(id.parse().unwrap())).unwrap().was_there);
    }
    assert_eq!((all(&store, &b).len(), files(folder.path())), (0, 0));
    store.delete_bucket(&b).unwrap();
}

#[test]
fn a_folder_of_the_first_layout_is_read_and_keeps_versions_from_then_on() {
    use redb::TableDefinition;
    const ROWS: TableDefinition<'_, &str, u64> = TableDefinition::new("store");
    const BUCKETS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("buckets");
    const OBJECTS: TableDefinition<'_, (u64, &[u8]), &[u8]> = TableDefinition::new("objects");
    let (folder, store, b) = with_bucket();
    put(&store, &b, b"k", b"precious");
    let view = store.inner.index.read().unwrap();
    let (row, id) = (view.object(view.bucket(&b).unwrap().id, b"k", None).unwrap(), view.bucket(&b).unwrap().id);
    drop(view);
    drop(store);
    // the folder as it was written before there were versions
    let BodyRef::One(segment) = row.body else { panic!("a body of its own") };
    let (mut old, numbers) = (vec![1], |n: u64| n.to_be_bytes());
    old.extend(numbers(row.size));
    old.extend(row.md5);
    old.extend(0_u32.to_be_bytes());
    old.extend([numbers(row.modified.unix_millis()), numbers(row.sequence)].concat());
    old.push(1);
    old.extend([numbers(segment.number), numbers(segment.offset), numbers(segment.len)].concat());
    old.extend([0; 12]);
    let old_bucket = [&[1][..], &numbers(id), &numbers(7)].concat();
    let database = redb::Database::open(folder.path().join("index.redb")).unwrap();
    let txn = database.begin_write().unwrap();
    txn.delete_table(index::VERSIONS).unwrap();
    txn.delete_table(index::NULL_VERSIONS).unwrap();
    txn.open_table(ROWS).unwrap().insert("layout", 1).unwrap();
    txn.open_table(BUCKETS).unwrap().insert("bucket", &old_bucket[..]).unwrap();
    txn.open_table(OBJECTS).unwrap().insert((id, &b"k"[..]), &old[..]).unwrap();
    txn.commit().unwrap();
    drop(database);

    let store = open(folder.path());
    assert_eq!(store.swept(), 0);
    let info = store.head(&b, &key("k")).unwrap();
    assert_eq!((info.size, info.modified, info.version), (8, row.modified, None));
    assert_eq!(store.versioning(&b).unwrap(), Versioning::Never);
    assert_eq!(read(&store, &b, "k", Some(VersionId::NULL)).unwrap(), b"precious");
    store.set_versioning(&b, Versioning::Enabled).unwrap();
    let one = write(&store, &b, "k", "new");
    drop(store);
    // what did not know of versions refuses the folder from now on
    let database = redb::Database::open(folder.path().join("index.redb")).unwrap();
    let layout = database.begin_read().unwrap().open_table(ROWS).unwrap().get("layout").unwrap().map(|v| v.value());
    assert_eq!(layout, Some(2));
    drop(database);
    let store = open(folder.path());
    assert_eq!(all(&store, &b), [format!("k={one}*"), "k=null".into()]);
    assert_eq!(read(&store, &b, "k", Some(VersionId::NULL)).unwrap(), b"precious");
}

#[test]
fn the_store_lies_about_versions_only_when_told_to() {
    struct Liar(VersionId);
    impl Hooks for Liar {
        fn version(&self, _: &BucketName, _: &ObjectKey, version: &mut Option<VersionId>) {
            *version = Some(self.0);
        }
        fn list_versions(&self, _: &BucketName, page: &mut VersionsPage) {
            page.versions.reverse();
        }
        fn tags(&self, _: &BucketName, _: &ObjectKey, tags: &mut Tags) {
            *tags = Tags::default();
        }
        fn write_condition(&self, _: &BucketName, _: &ObjectKey, condition: &mut WriteCondition) {
            *condition = WriteCondition::None;
        }
        fn deleted(&self, _: &BucketName, _: &ObjectKey, deleted: &mut Deleted) {
            deleted.is_marker = !deleted.is_marker;
        }
    }
    let (_folder, store, b) = versioned();
    let (one, _) = (write(&store, &b, "k", "1"), write(&store, &b, "k", "2"));
    store.set_tags(&b, &key("k"), None, Tags::of_object(vec![("a".into(), "b".into())]).unwrap()).unwrap();
    let honest = all(&store, &b);
    store.set_hooks(Some(Arc::new(Liar(one))));
    assert_eq!(read(&store, &b, "k", None).unwrap(), b"1");
    assert_eq!(all(&store, &b), honest.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(store.tags(&b, &key("k"), None).unwrap().0, Tags::default());
    put_if(&store, &b, b"k", b"3", WriteCondition::IfNoneMatchAny).unwrap();
    assert!(!delete(&store, &b, "k", None).unwrap().is_marker);
    store.set_hooks(None);
    assert_eq!(all(&store, &b).len(), 4);
}
