//! The same of versions: against a model, and killed at any point.

use sealgate::embedded::{Deletion, ListVersionsRequest, VersionId, Versioning, VersionsPage};

use super::*;

/// What a key has, newest first: ids and bodies, none for a delete marker.
type Model = BTreeMap<Vec<u8>, Vec<(VersionId, Option<Vec<u8>>)>>;

#[derive(Clone, Debug)]
enum Act {
    Put(u8, u8),
    Delete(u8),
    /// The version of a key at that place, counted round.
    DeleteVersion(u8, u8),
    Copy(u8, u8, u8),
    Suspend,
    Enable,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..3_u8, 0..5_u8).prop_map(|(k, n)| Act::Put(k, n)),
        2 => (0..3_u8).prop_map(Act::Delete),
        4 => (0..3_u8, 0..9_u8).prop_map(|(k, n)| Act::DeleteVersion(k, n)),
        2 => (0..3_u8, 0..9_u8, 0..3_u8).prop_map(|(from, n, to)| Act::Copy(from, n, to)),
        1 => Just(Act::Suspend),
        2 => Just(Act::Enable),
    ]
}

/// A new version comes to the model as it comes to a bucket.
fn add(model: &mut Model, k: &[u8], id: VersionId, body: Option<Vec<u8>>) {
    let versions = model.entry(k.to_vec()).or_default();
    if id == VersionId::NULL {
        versions.retain(|(other, _)| *other != id);
    }
    versions.insert(0, (id, body));
}

fn read(store: &Store, k: &[u8], version: Option<VersionId>) -> Result<Vec<u8>, StoreError> {
    let mut body = Vec::new();
    let object = store.get_version(&bucket(), &key(k), version, &ReadCondition::default(), ReadRange::Whole);
    object?.body.read_to_end(&mut body)?;
    Ok(body)
}

fn pages(store: &Store, max_keys: u32) -> Vec<sealgate::embedded::ListedVersion> {
    let mut request = ListVersionsRequest { max_keys, ..Default::default() };
    let mut all = Vec::new();
    loop {
        let VersionsPage { versions, next, .. } = store.list_versions(&bucket(), &request).unwrap();
        all.extend(versions);
        let Some((key, version)) = next else { return all };
        (request.key_marker, request.version_marker) = (key, version);
    }
}

fn check(store: &Store, folder: &Path, model: &Model, suspended_or_enabled: bool) {
    for max in [1, 2, 3, 1000] {
        let mut listed = pages(store, max).into_iter();
        for (k, versions) in model {
            for (at, (id, body)) in versions.iter().enumerate() {
                let found = listed.next().unwrap();
                assert!(found.key == key(k) && found.version == *id && found.is_latest == (at == 0), "{max}");
                assert_eq!(found.object.map(|(size, _)| size), body.as_ref().map(|body| body.len() as u64));
            }
        }
        assert!(listed.next().is_none());
    }
    let mut bodies = 0;
    for (k, versions) in model {
        for (id, body) in versions {
            match (read(store, k, Some(*id)), body) {
                (Ok(found), Some(body)) => assert_eq!(found, *body),
                (Err(StoreError::DeleteMarker { by_id: true, version, .. }), None) => assert_eq!(version, *id),
                (other, _) => panic!("{other:?}"),
            }
            bodies += usize::from(body.as_ref().is_some_and(|body| !body.is_empty()));
        }
        match (read(store, k, None), versions.first()) {
            (Ok(found), Some((id, Some(body)))) => {
                assert_eq!(found, *body);
                let version = store.head(&bucket(), &key(k)).unwrap().version;
                assert_eq!(version, suspended_or_enabled.then_some(*id));
            }
            (Err(StoreError::DeleteMarker { by_id: false, .. }), Some((_, None)))
            | (Err(StoreError::NoSuchKey), None) => {}
            (other, _) => panic!("{other:?}"),
        }
    }
    // a copy shares its source's file
    assert!(files(folder) <= bodies);
    let current = model.values().filter(|versions| versions.first().is_some_and(|(_, body)| body.is_some())).count();
    let page = store.list(&bucket(), &ListRequest { max_keys: 1000, ..Default::default() }).unwrap();
    assert_eq!(page.objects.len(), current);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_store_keeps_versions_as_a_list_of_them_does(acts in prop::collection::vec(any_act(), 1..40)) {
        let (folder, store) = with_bucket();
        let (mut model, mut versioning) = (Model::new(), Versioning::Never);
        for act in acts {
            match act {
                Act::Put(k, n) => {
                    let (k, body) = (vec![b'a' + k], vec![n; usize::from(n)]);
                    let id = put(&store, &k, &body, WriteCondition::None).unwrap().version;
                    assert_eq!(id.is_some(), versioning != Versioning::Never);
                    add(&mut model, &k, id.unwrap_or(VersionId::NULL), Some(body));
                }
                Act::Delete(k) => {
                    let k = vec![b'a' + k];
                    let was_there = model.get(&k).and_then(|versions| versions.first()).is_some_and(|(_, body)| body.is_some());
                    let deleted = store.delete_version(&bucket(), Deletion::of(key(&k), None)).unwrap();
                    assert_eq!((deleted.was_there, deleted.is_marker), (was_there, versioning != Versioning::Never));
                    match deleted.version {
                        Some(id) => add(&mut model, &k, id, None),
                        None => _ = model.remove(&k),
                    }
                }
                Act::DeleteVersion(k, n) => {
                    let k = vec![b'a' + k];
                    let Some(versions) = model.get_mut(&k).filter(|versions| !versions.is_empty()) else { continue };
                    let (id, body) = versions.remove(usize::from(n) % versions.len());
                    let deleted = store.delete_version(&bucket(), Deletion::of(key(&k), Some(id))).unwrap();
                    assert_eq!((deleted.was_there, deleted.is_marker, deleted.version), (true, body.is_none(), Some(id)));
                }
                Act::Copy(from, n, to) => {
                    let (from, to) = (vec![b'a' + from], vec![b'a' + to]);
                    let Some(versions) = model.get(&from).filter(|versions| !versions.is_empty()) else { continue };
                    let (id, body) = versions[usize::from(n) % versions.len()].clone();
                    let copied = store.copy(CopyRequest {
                        from_bucket: &bucket(),
                        from_key: &key(&from),
                        from_version: Some(id),
                        from_condition: ReadCondition::default(),
                        bucket: &bucket(),
                        key: &key(&to),
                        meta: None,
                        tags: None,
                        lock: ObjectLock::default(),
                        condition: WriteCondition::None,
                    });
                    match (copied, body) {
                        (Ok(written), Some(body)) => {
                            add(&mut model, &to, written.version.unwrap_or(VersionId::NULL), Some(body));
                        }
                        (Err(StoreError::InvalidRequest(_)), None) => {}
                        (other, _) => panic!("{other:?}"),
                    }
                }
                Act::Suspend | Act::Enable => {
                    versioning = if matches!(act, Act::Enable) { Versioning::Enabled } else { Versioning::Suspended };
                    store.set_versioning(&bucket(), versioning).unwrap();
                }
            }
            check(&store, folder.path(), &model, versioning != Versioning::Never);
        }
        drop(store);
        let store = open(folder.path(), Durability::None);
        assert_eq!(store.swept(), 0);
        check(&store, folder.path(), &model, versioning != Versioning::Never);
        // every body is named as often as it is used: with the last version the last file goes
        for (k, versions) in &model {
            for (id, _) in versions {
                store.delete_version(&bucket(), Deletion::of(key(k), Some(*id))).unwrap();
            }
        }
        assert_eq!(files(folder.path()), 0);
    }
}

const WORKER_WITH_VERSIONS: &str = "SEALGATE_TEST_EMBEDDED_WORKER_WITH_VERSIONS";

/// Not a test: the process that is killed. Writes, marks and deletes versions until it dies, telling of each once it was
/// answered.
#[test]
fn worker_with_versions_to_be_killed() {
    let Some(store) = of_a_worker(WORKER_WITH_VERSIONS) else { return };
    store.set_versioning(&bucket(), Versioning::Enabled).unwrap();
    let source = RandomSource::new(&[b"worker"]);
    let now = sealgate::clock::Clock::now(&SystemClock);
    threads(3, |i| {
        let k = format!("t{i}");
        let mut state = u64::from_be_bytes(source.draw_public(now, k.as_bytes()).unwrap());
        for n in 0_u64.. {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match n % 5 {
                0..=1 => {
                    let body: Vec<u8> = (0..=(state >> 40) % 50_000).map(|b| (b ^ state) as u8).collect();
                    let digest = hex(&sha256(&[&body]));
                    said(&format!("@{k} trying write {digest}"));
                    let id = put(&store, k.as_bytes(), &body, WriteCondition::None).unwrap().version.unwrap();
                    said(&format!("@{k} done {id} {digest}"));
                }
                2 => {
                    said(&format!("@{k} trying write -"));
                    let deleted = store.delete_version(&bucket(), Deletion::of(key(&k), None)).unwrap();
                    said(&format!("@{k} done {} -", deleted.version.unwrap()));
                }
                _ => {
                    let versions = pages(&store, 1000);
                    let mine: Vec<_> = versions.iter().filter(|version| version.key == key(&k)).collect();
                    // the newest as well as any other one
                    let Some(version) = mine.get((state >> 33) as usize % mine.len().max(1)) else { continue };
                    said(&format!("@{k} trying delete {}", version.version));
                    store.delete_version(&bucket(), Deletion::of(key(&k), Some(version.version))).unwrap();
                    said(&format!("@{k} done {} gone", version.version));
                }
            }
        }
    });
}

#[test]
fn killed_at_any_point_no_version_is_lost_and_no_deleted_one_comes_back() {
    let folder = TempDir::new().unwrap();
    // of each key its versions: what was answered of them, and what was just tried
    let mut expected: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let (mut answered, mut swept, mut left) = (0, 0, 0);
    for kill in 0..16 + STEPS.len() as u64 {
        let step = kill.checked_sub(16).map(|n| format!("{:?}", STEPS[n as usize]));
        let after = Duration::from_micros(60_000 + kill * 7_919 % 160_000);
        let worker = ("embedded::versions::worker_with_versions_to_be_killed", WORKER_WITH_VERSIONS);
        let lines = said_by_a_killed_one(worker, folder.path(), step.as_deref(), after);
        let mut trying: BTreeMap<String, (String, String)> = BTreeMap::new();
        for line in lines {
            let Some(at) = line.find("@t") else { continue };
            let words: Vec<_> = line[at + 1..].split(' ').collect();
            let [name, what, one, two] = words[..] else { continue };
            match what {
                "trying" => _ = trying.insert(name.to_owned(), (one.to_owned(), two.to_owned())),
                "done" => {
                    trying.remove(name);
                    answered += 1;
                    let versions = expected.entry(name.to_owned()).or_default();
                    match two {
                        "gone" => _ = versions.remove(one),
                        digest => _ = versions.insert(one.to_owned(), digest.to_owned()),
                    }
                }
                _ => {}
            }
        }

        let store = open(folder.path(), Durability::Full);
        swept += store.swept();
        if store.head_bucket(&bucket()).is_err() {
            continue;
        }
        let mut found: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let (mut bodies, mut before) = (0, None);
        for version in pages(&store, 7) {
            let name = String::from_utf8(version.key.as_bytes().to_vec()).unwrap();
            assert_eq!(version.is_latest, before.as_ref() != Some(&name), "{name}");
            let digest = if version.object.is_some() {
                bodies += 1;
                hex(&sha256(&[&read(&store, name.as_bytes(), Some(version.version)).unwrap()]))
            } else {
                "-".to_owned()
            };
            if version.is_latest {
                let current = read(&store, name.as_bytes(), None).map(|body| hex(&sha256(&[&body])));
                assert_eq!(current.unwrap_or_else(|_| "-".to_owned()), digest, "{name}: another one is current");
            }
            found.entry(name.clone()).or_default().insert(version.version.to_string(), digest);
            before = Some(name);
        }
        let none = BTreeMap::new();
        for name in ["t0", "t1", "t2"] {
            let (found, expected) = (found.get(name).unwrap_or(&none), expected.get(name).unwrap_or(&none));
            let tried = trying.get(name);
            let missing: Vec<_> = expected.iter().filter(|(id, digest)| found.get(*id) != Some(*digest)).collect();
            let new: Vec<_> = found.iter().filter(|(id, _)| !expected.contains_key(*id)).collect();
            for (id, _) in &missing {
                assert_eq!(tried, Some(&("delete".to_owned(), (*id).clone())), "{name}: an answered version is lost");
            }
            for (_, digest) in &new {
                assert_eq!(tried, Some(&("write".to_owned(), (*digest).clone())), "{name}: a version of nothing");
            }
            assert!(missing.len() + new.len() <= 1);
        }
        expected = found;
        left = bodies;
        assert_eq!(files(folder.path()), bodies, "files that no version names");
    }
    eprintln!("{answered} answered, {swept} files swept, {left} versions with a body at the end");
    assert!(answered > 100 && left > 0);
}
