//! Stores that do less than Amazon's, each with the profile that says so.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};
use sealgate::store::settings::Profile;

use super::liar::Liar;
use super::lies::Lied;
use super::multipart::{complete, create, list, part};
use super::rig::{Plan, REGION, elements, noise};

const MIB: usize = 1 << 20;

/// A store that wants all parts but the last of one length, and the last no longer.
pub fn wants_equal_parts(liar: &Liar) {
    let lengths: Arc<Mutex<HashMap<(String, u32), usize>>> = Arc::default();
    liar.edits(move |asked, body| {
        let mut query = asked.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let number = query.clone().find(|(name, _)| *name == "partNumber").and_then(|(_, value)| value.parse().ok());
        let is_of_upload = query.any(|(name, value)| name == "uploadId" && !value.is_empty());
        if let Some(number) = number {
            lengths.lock().unwrap().insert((asked.path.clone(), number), body.len());
        } else if asked.method == Method::POST && is_of_upload {
            let text = String::from_utf8_lossy(body).into_owned();
            let numbers = elements(&text, "PartNumber").into_iter().map(|text| text.parse().unwrap());
            let lengths = lengths.lock().unwrap();
            let all: Vec<usize> = numbers.map(|number: u32| lengths[&(asked.path.clone(), number)]).collect();
            let (last, others) = all.split_last().unwrap();
            if others.iter().any(|len| *len != others[0]) || others.first().is_some_and(|len| last > len) {
                // no store has that part: refused, and nothing is completed
                *body = list(&[(9999, "\"none\"".to_owned())]).into_bytes();
            }
        }
    });
}

/// A store that refuses conditions of writes.
fn refuses_conditions(liar: &Liar) {
    liar.lies(|asked, told| {
        let has = |name| asked.headers.contains_key(name);
        if asked.method == Method::PUT && (has("if-none-match") || has("if-match") || has("x-amz-copy-source-if-match"))
        {
            told.status = StatusCode::NOT_IMPLEMENTED;
            told.body = "<Error><Code>NotImplemented</Code></Error>".into();
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_one_length_go_to_a_store_that_wants_them_so() {
    let lied = Lied::with(Plan { profile: Profile::R2, ..Plan::default() }).await;
    wants_equal_parts(&lied.liar);
    let app = lied.app();
    // lengths of parts 1, 2, …, and the order in which they are sent
    let cases: [(&[usize], &[usize]); 8] = [
        (&[5 * MIB, 5 * MIB, 5 * MIB, 77], &[0, 1, 2, 3]),
        (&[5 * MIB, 5 * MIB, 5 * MIB, 77], &[3, 2, 1, 0]),
        (&[5 * MIB, 5 * MIB, 5 * MIB], &[1, 0, 2]),
        // with its tail the last one is longer than the others
        (&[5 * MIB, 5 * MIB, 5 * MIB - 1], &[0, 1, 2]),
        (&[5 * MIB, 5 * MIB - 300], &[1, 0]),
        // above the least length, and shorter than the others
        (&[7 * MIB, 7 * MIB, 6 * MIB], &[0, 2, 1]),
        (&[6 * MIB], &[0]),
        (&[9], &[0]),
    ];
    for (number, (lengths, order)) in cases.into_iter().enumerate() {
        let key = format!("k{number}");
        let bodies: Vec<Vec<u8>> = (0..).zip(lengths).map(|(seed, len)| noise(*len, seed + 1)).collect();
        let id = create(&app, "data", &key, &[]).await;
        let mut parts = Vec::new();
        for at in order {
            let number = u32::try_from(*at).unwrap() + 1;
            parts.push((number, part(&app, ("data", &key, &id), number, bodies[*at].clone()).await.unwrap().etag()));
        }
        parts.sort_unstable();
        let shown = app.list_of_parts("data", &key, &id).await;
        assert_eq!(elements(&shown, "PartNumber").len(), lengths.len(), "{lengths:?}");
        complete(&app, ("data", &key, &id), &parts).await.unwrap_or_else(|error| panic!("{lengths:?}: {error:?}"));
        let got = app.get("data", &key).await.unwrap();
        assert!(got.body == bodies.concat(), "{lengths:?}");
        // again, as after an answer that was lost
        complete(&app, ("data", &key, &id), &parts).await.unwrap_or_else(|error| panic!("{lengths:?}: {error:?}"));
        assert!(lied.rig.stored("up-data").await.keys().all(|key| !key.starts_with(".sealgate")), "{lengths:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_that_breaks_off_at_any_step_can_be_repeated() {
    let lied = Lied::with(Plan { profile: Profile::R2, ..Plan::default() }).await;
    wants_equal_parts(&lied.liar);
    let app = lied.app();
    let bodies = [noise(5 * MIB, 1), noise(5 * MIB, 2), noise(77, 3)];
    let mut broken = 0;
    for step in 0.. {
        let key = format!("k{step}");
        let id = create(&app, "data", &key, &[]).await;
        let mut parts = Vec::new();
        for at in [2, 0, 1] {
            let number = u32::try_from(at).unwrap() + 1;
            parts.push((number, part(&app, ("data", &key, &id), number, bodies[at].clone()).await.unwrap().etag()));
        }
        parts.sort_unstable();
        // one answer is lost: what it answers to has happened
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        lied.liar.lies(move |_, told| {
            if counted.fetch_add(1, Ordering::SeqCst) == step {
                told.set("content-length", &(told.body.len() + 1).to_string());
                told.keep_length = true;
            }
        });
        let first = complete(&app, ("data", &key, &id), &parts).await;
        let was_reached = count.load(Ordering::SeqCst) > step;
        lied.liar.lies(|_, _| {});
        if first.is_err() {
            broken += 1;
            complete(&app, ("data", &key, &id), &parts).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        }
        assert!(app.get("data", &key).await.unwrap().body == bodies.concat(), "{step}");
        assert!(lied.rig.stored("up-data").await.keys().all(|key| !key.starts_with(".sealgate")), "{step}");
        if !was_reached {
            break;
        }
    }
    assert!(broken >= 3, "{broken} steps that broke off");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_other_lengths_are_refused_by_name_and_can_be_sent_again() {
    let lied = Lied::with(Plan { profile: Profile::R2, ..Plan::default() }).await;
    wants_equal_parts(&lied.liar);
    let app = lied.app();
    let id = create(&app, "data", "k", &[]).await;
    let mut parts = Vec::new();
    for (number, len) in [(1, 5 * MIB), (2, 6 * MIB), (3, 5 * MIB)] {
        let sent = part(&app, ("data", "k", &id), number, noise(len, u64::from(number))).await.unwrap();
        parts.push((number, sent.etag()));
    }
    let before = lied.liar.requests.lock().unwrap().len();
    let refused = complete(&app, ("data", "k", &id), &parts).await.unwrap_err();
    assert_eq!(refused, (400, "InvalidPart".to_owned()));
    let last = part(&app, ("data", "k", &id), 10_000, "x").await.unwrap_err();
    assert_eq!(last, (400, "InvalidPart".to_owned()));
    // nothing of it reached the store
    let asked = lied.liar.requests.lock().unwrap()[before..].to_vec();
    assert!(asked.iter().all(|asked| asked.method != Method::POST && asked.method != Method::PUT));
    // a last one that is longer is refused too
    let refused = complete(&app, ("data", "k", &id), &parts[..2]).await.unwrap_err();
    assert_eq!(refused, (400, "InvalidPart".to_owned()));
    parts[1].1 = part(&app, ("data", "k", &id), 2, noise(5 * MIB, 9)).await.unwrap().etag();
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    let whole = [noise(5 * MIB, 1), noise(5 * MIB, 9), noise(5 * MIB, 3)].concat();
    assert!(app.get("data", "k").await.unwrap().body == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_conditions_of_writes_takes_uploads_and_copies() {
    for (profile, middle) in [(Profile::B2, 5_000_000), (Profile::Gcs, 5 * MIB)] {
        let lied = Lied::with(Plan { profile, min_part: 5_000_000, ..Plan::default() }).await;
        refuses_conditions(&lied.liar);
        let app = lied.app();
        let id = create(&app, "data", "k", &[]).await;
        let bodies = [noise(middle, 1), noise(middle, 2), noise(5, 3)];
        let mut parts = Vec::new();
        for (number, body) in (1..).zip(&bodies) {
            parts.push((number, part(&app, ("data", "k", &id), number, body.clone()).await.unwrap().etag()));
        }
        // none of those of the store's least length waits
        let staged = lied.rig.stored("up-data").await.into_keys().filter(|key| key.starts_with(".sealgate/s/")).count();
        assert_eq!(staged, 1, "{profile:?}");
        complete(&app, ("data", "k", &id), &parts).await.unwrap();
        app.put_with("data", "copy", &[("x-amz-copy-source", "/data/k")], "").await.unwrap();
        assert!(app.get("data", "copy").await.unwrap().body == bodies.concat(), "{profile:?}");
        // what the client asks, the store answers
        let refused = app.put_with("data", "k", &[("if-none-match", "*")], "x").await.unwrap_err();
        assert_eq!(refused.0, 501, "{profile:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_stores_that_honour_the_condition_copy_themselves() {
    for (name, profile) in Profile::ALL {
        let lied = Lied::with(Plan { profile, ..Plan::default() }).await;
        let app = lied.app();
        app.put("data", "k", "content").await.unwrap();
        app.put_with("data", "copy", &[("x-amz-copy-source", "/data/k")], "").await.unwrap();
        assert_eq!(app.get("data", "copy").await.unwrap().text(), "content", "{name}");
        let asked = lied.liar.requests.lock().unwrap().clone();
        let copied: Vec<_> = asked.iter().filter_map(|asked| asked.headers.get("x-amz-copy-source")).collect();
        let expected: &[&str] = if matches!(name, "aws" | "ceph" | "minio") { &["up-data/k"] } else { &[] };
        assert_eq!(copied, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_within_the_store_is_taken_where_the_rule_lists_it_but_not_as_amazons_region() {
    for (profile, expected) in [(Profile::Ceph, None), (Profile::Gcs, None), (Profile::Aws, Some(400))] {
        let lied = Lied::with(Plan { profile, ..Plan::default() }).await;
        let bodies: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&bodies);
        lied.liar.edits(move |asked, body| {
            if asked.is("PUT", "/up-team-placed") || asked.is("PUT", "/up-team-ours") {
                seen.lock().unwrap().push(String::from_utf8_lossy(body).into_owned());
            }
        });
        // the store behind knows no such place
        lied.liar.lies(|asked, told| {
            if asked.is("PUT", "/up-team-placed") {
                told.status = StatusCode::OK;
                told.body.clear();
            }
        });
        let app = lied.app();
        let constraint = |place: &str| {
            format!(
                "<CreateBucketConfiguration><LocationConstraint>{place}</LocationConstraint></CreateBucketConfiguration>"
            )
        };
        let created = app.send(Method::PUT, "team-placed", "", &[], &[], Some(constraint(":fast&amp;").into())).await;
        assert_eq!(created.err().map(|(status, _)| status), expected, "{profile:?}");
        let other = app.send(Method::PUT, "team-placed", "", &[], &[], Some(constraint(":slow").into())).await;
        assert_eq!(other.unwrap_err(), (400, "IllegalLocationConstraintException".to_owned()));
        app.send(Method::PUT, "team-ours", "", &[], &[], Some(constraint(REGION).into())).await.unwrap();
        let bodies = bodies.lock().unwrap().clone();
        let placed = "<LocationConstraint>:fast&amp;</LocationConstraint>";
        assert_eq!(bodies.iter().filter(|body| body.contains(placed)).count(), usize::from(expected.is_none()));
        assert_eq!(bodies.last().map(String::as_str), Some(""), "{profile:?}: the gateway's own region is no place");
    }
}
