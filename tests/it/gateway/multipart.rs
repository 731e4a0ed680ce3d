//! Multipart uploads: any order, any replica, re-sent parts, small last parts, and nothing left behind.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, StatusCode};
use sealgate::digest::{ChecksumAlgorithm, checksum};

use super::liar::{Asked, Told};
use super::lies::Lied;
use super::rig::{Client, Got, Outcome, Plan, Rig, elements, noise};

const MIB: usize = 1 << 20;
const DENIED: &str = "<Error><Code>AccessDenied</Code></Error>";

pub async fn create(app: &Client, bucket: &str, key: &str, headers: &[(&str, &str)]) -> String {
    let made = app.send(Method::POST, bucket, key, &[("uploads", "")], headers, Some(Bytes::new())).await.unwrap();
    elements(&made.text(), "UploadId").remove(0)
}

pub async fn part(app: &Client, (bucket, key, id): (&str, &str, &str), number: u32, body: impl Into<Bytes>) -> Outcome {
    let number = number.to_string();
    app.send(Method::PUT, bucket, key, &[("partNumber", &number), ("uploadId", id)], &[], Some(body.into())).await
}

pub fn list(parts: &[(u32, String)]) -> String {
    let parts = parts.iter().map(|(number, etag)| {
        format!("<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>", etag.replace('"', "&quot;"))
    });
    format!("<CompleteMultipartUpload>{}</CompleteMultipartUpload>", parts.collect::<String>())
}

pub async fn complete(app: &Client, (bucket, key, id): (&str, &str, &str), parts: &[(u32, String)]) -> Outcome {
    app.post(bucket, key, &[("uploadId", id)], list(parts)).await
}

fn whole(got: &Got, parts: &[Vec<u8>]) {
    assert_eq!(got.body.len(), parts.iter().map(Vec::len).sum::<usize>());
    assert!(got.body == parts.concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_parts_in_any_order_over_two_replicas_are_one_object_and_nothing_else() {
    const PARTS: usize = 64;
    let rig = Rig::new().await;
    let second = rig.replica().await;
    let clients = [rig.app(), Client::new(second.address, "AKALPHA", "secret of AKALPHA")];
    let (bucket, key) = ("data", "big");
    let id = create(&clients[0], bucket, key, &[]).await;
    let bodies: Arc<Vec<Vec<u8>>> = Arc::new((0..PARTS).map(|i| noise(5 * MIB + 7, i as u64 + 1)).collect());
    // one part was there with other bytes before
    part(&clients[1], (bucket, key, &id), 7, noise(5 * MIB + 9, 999)).await.unwrap();
    let mut order: Vec<usize> = (0..PARTS).collect();
    order.sort_by_key(|i| (i * 37) % 64);
    let (next, mut tasks) = (Arc::new(std::sync::Mutex::new(order)), Vec::new());
    for worker in 0..8 {
        let client = Client(Arc::clone(&clients[worker % 2].0));
        let (next, bodies, id) = (Arc::clone(&next), Arc::clone(&bodies), id.clone());
        tasks.push(tokio::spawn(async move {
            let mut done = Vec::new();
            loop {
                let Some(i) = next.lock().unwrap().pop() else { return done };
                let number = i as u32 + 1;
                let sent = part(&client, ("data", "big", &id), number, bodies[i].clone()).await.unwrap();
                done.push((number, sent.etag()));
            }
        }));
    }
    let mut parts = Vec::new();
    for task in tasks {
        parts.extend(task.await.unwrap());
    }
    parts.sort_unstable();
    let done = complete(&clients[1], (bucket, key, &id), &parts).await.unwrap();
    assert!(elements(&done.text(), "ETag")[0].contains("-65&quot;"), "{}", done.text());

    let all = bodies.concat();
    let app = &clients[0];
    let names = app.list(bucket, &[("list-type", "2")]).await.unwrap().text();
    assert_eq!(elements(&names, "Size"), [all.len().to_string()]);
    assert_eq!(app.head(bucket, key).await.unwrap().header("content-length"), all.len().to_string());
    let mut seed = 77u64;
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for i in 0..1000 {
        let from = draw(all.len());
        let to = (from + draw(if i % 10 == 0 { 6 * MIB } else { 100_000 })).min(all.len() - 1);
        let got = app.get_with(bucket, key, &[("range", &format!("bytes={from}-{to}"))]).await.unwrap();
        assert!(got.body == all[from..=to], "{from}-{to}");
    }
    let got = app.get(bucket, key).await.unwrap();
    assert!(got.body == all);
    let third = app.send(Method::GET, bucket, key, &[("partNumber", "3")], &[], None).await.unwrap();
    assert!(third.body == bodies[2] && third.header("x-amz-mp-parts-count") == "64");
    let stored = rig.stored("up-data").await;
    assert_eq!(stored.keys().collect::<Vec<_>>(), ["big"]);
    let uploads = rig.provider_client().list("up-data", &[("uploads", "")]).await.unwrap().text();
    assert!(elements(&uploads, "UploadId").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_when_its_replica_is_killed() {
    let rig = Rig::new().await;
    let second = rig.replica().await;
    let lost = Client::new(second.address, "AKALPHA", "secret of AKALPHA");
    let app = rig.app();
    let id = create(&lost, "data", "k", &[("x-amz-meta-a", "b")]).await;
    let bodies = [noise(6 * MIB, 1), noise(6 * MIB, 2), noise(100, 3)];
    let mut parts = vec![(1, part(&lost, ("data", "k", &id), 1, bodies[0].clone()).await.unwrap().etag())];
    let cut = {
        let (id, body) = (id.clone(), bodies[1].clone());
        tokio::spawn(async move { part(&lost, ("data", "k", &id), 2, body).await })
    };
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    second.kill();
    drop(second);
    let _ = cut.await;
    for (i, body) in bodies.iter().enumerate().skip(1) {
        let number = i as u32 + 1;
        parts.push((number, part(&app, ("data", "k", &id), number, body.clone()).await.unwrap().etag()));
    }
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    let got = app.get("data", "k").await.unwrap();
    whole(&got, &bodies);
    assert_eq!(got.header("x-amz-meta-a"), "b");
    assert_eq!(rig.stored("up-data").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_last_parts_are_staged_and_complete_is_idempotent() {
    for state_bucket in [None, Some("up-state".to_owned())] {
        let rig = Rig::with(Plan { state_bucket: state_bucket.clone(), ..Plan::default() }).await;
        let app = rig.app();
        for lens in
            [vec![0], vec![1], vec![4 * MIB], vec![5 * MIB, 0], vec![5 * MIB, 1], vec![5 * MIB + 1, 5 * MIB, 100]]
        {
            let bodies: Vec<_> = lens.iter().enumerate().map(|(i, len)| noise(*len, i as u64)).collect();
            let id = create(&app, "data", "k", &[]).await;
            let mut parts = Vec::new();
            for (i, body) in bodies.iter().enumerate() {
                // gaps in the numbers
                let number = 3 * i as u32 + 2;
                parts.push((number, part(&app, ("data", "k", &id), number, body.clone()).await.unwrap().etag()));
            }
            let shown = app.send(Method::GET, "data", "k", &[("uploadId", &id)], &[], None).await.unwrap().text();
            let sizes: Vec<_> = lens.iter().map(usize::to_string).collect();
            assert_eq!(elements(&shown, "Size"), sizes);
            let first = complete(&app, ("data", "k", &id), &parts).await.unwrap();
            let again = complete(&app, ("data", "k", &id), &parts).await.unwrap();
            assert_eq!(elements(&first.text(), "ETag"), elements(&again.text(), "ETag"));
            whole(&app.get("data", "k").await.unwrap(), &bodies);
            assert_eq!(rig.stored("up-data").await.len(), 1, "{lens:?}");
            assert!(rig.stored("up-state").await.is_empty());
            // a Complete of other parts finds no upload
            let other = complete(&app, ("data", "k", &id), &[(1, "\"x\"".to_owned())]).await.unwrap_err();
            assert_eq!(other, (404, "NoSuchUpload".to_owned()));
        }
    }
}

/// As whom the provider was asked.
fn asked_by(asked: &Asked) -> &'static str {
    let said = asked.headers.get("authorization").map_or("", |value| value.to_str().unwrap());
    ["PROVIDER", "APPLICATION"].into_iter().find(|id| said.contains(&format!("Credential={id}/"))).unwrap_or("nobody")
}

#[tokio::test(flavor = "multi_thread")]
async fn records_in_a_state_bucket_are_the_gateways_own() {
    let plan = Plan { state_bucket: Some("up-state".to_owned()), has_app_identity: true, ..Plan::default() };
    let lied = Lied::with(plan).await;
    let app = lied.app();
    // a store whose policy lets the application write one key
    lied.liar.lies(|asked, told| {
        if asked_by(asked) == "APPLICATION" && asked.path != "/up-data/k" {
            (told.status, told.body) = (StatusCode::FORBIDDEN, DENIED.into());
        }
    });
    let id = create(&app, "data", "k", &[]).await;
    let at = ("data", "k", id.as_str());
    let bodies = [noise(5 * MIB, 1), noise(100, 2)];
    let mut parts = Vec::new();
    for (number, body) in (1..).zip(&bodies) {
        parts.push((number, part(&app, at, number, body.clone()).await.unwrap().etag()));
    }
    assert_eq!(lied.rig.stored("up-state").await.len(), 2, "the state, and a part that waits");
    assert_eq!(elements(&app.list_of_parts("data", "k", &id).await, "Size").len(), 2);
    complete(&app, at, &parts).await.unwrap();
    whole(&app.get("data", "k").await.unwrap(), &bodies);
    assert!(lied.rig.stored("up-state").await.is_empty());
    let asked = lied.liar.requests.lock().unwrap().clone();
    for (bucket, identity) in [("/up-state", "PROVIDER"), ("/up-data", "APPLICATION")] {
        let by: Vec<_> = asked.iter().filter(|asked| asked.path.starts_with(bucket)).map(asked_by).collect();
        assert!(by.len() > 4 && by.iter().all(|by| *by == identity), "{bucket}: {by:?}");
    }
    // another key is refused by the store, and leaves nothing
    let refused = app.post("data", "other", &[("uploads", "")], "").await.unwrap_err();
    assert_eq!(refused, (403, "AccessDenied".to_owned()));
    assert!(lied.rig.stored("up-state").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateways_own_rights_are_nobody_elses() {
    let plan = Plan { state_bucket: Some("up-state".to_owned()), has_app_identity: true, ..Plan::default() };
    let lied = Lied::with(plan).await;
    let app = lied.app();
    let id = create(&app, "data", "k", &[]).await;
    let at = ("data", "k", id.as_str());
    let small = part(&app, at, 1, noise(100, 1)).await.unwrap().etag();
    let before = lied.rig.stored("up-state").await;
    let denied = (403, "AccessDenied".to_owned());
    let abort = async |id: &str| app.send(Method::DELETE, "data", "k", &[("uploadId", id)], &[], None).await;
    // a store that lets the application see the upload, and does nothing else for it
    lied.liar.edits(|asked, _| {
        if asked_by(asked) == "APPLICATION" && asked.method != Method::GET && asked.method != Method::HEAD {
            asked.method = Method::GET;
            asked.headers.insert("x-denied", "true".parse().unwrap());
        }
    });
    lied.liar.lies(|asked, told| {
        if asked.headers.contains_key("x-denied") {
            (told.status, told.body) = (StatusCode::FORBIDDEN, DENIED.into());
        }
    });
    assert_eq!(part(&app, at, 1, noise(200, 2)).await.unwrap_err(), denied);
    assert_eq!(abort(&id).await.unwrap_err(), denied);
    assert_eq!(complete(&app, at, &[(1, small.clone())]).await.unwrap_err(), denied);
    assert_eq!(lied.rig.stored("up-state").await, before);
    lied.liar.tells_the_truth();
    complete(&app, at, &[(1, small.clone())]).await.unwrap();
    assert!(app.get("data", "k").await.unwrap().body == noise(100, 1));
    // one to which the application has other buckets by the same names: this upload is not in them, and is live
    let live = create(&app, "data", "k", &[]).await;
    let waiting = part(&app, ("data", "k", &live), 1, noise(300, 3)).await.unwrap().etag();
    let before = lied.rig.stored("up-state").await;
    lied.liar.lies(|asked, told| {
        if asked_by(asked) == "APPLICATION" && asked.query.contains("uploadId=") {
            (told.status, told.body) = (StatusCode::NOT_FOUND, b"<Error><Code>NoSuchUpload</Code></Error>".to_vec());
        }
    });
    lied.liar.edits(|asked, _| {
        if asked_by(asked) == "APPLICATION" && asked.method == Method::DELETE {
            asked.method = Method::GET;
        }
    });
    let gone = (404, "NoSuchUpload".to_owned());
    assert_eq!(part(&app, ("data", "k", &live), 1, noise(200, 2)).await.unwrap_err(), gone);
    assert_eq!(abort(&live).await.unwrap_err(), gone);
    assert_eq!(complete(&app, ("data", "k", &live), &[(1, waiting.clone())]).await.unwrap_err(), gone);
    // by the parts of the object that is there, which is then what it asks for
    complete(&app, ("data", "k", &live), &[(1, small)]).await.unwrap();
    assert_eq!(lied.rig.stored("up-state").await, before);
    lied.liar.tells_the_truth();
    complete(&app, ("data", "k", &live), &[(1, waiting)]).await.unwrap();
    assert!(app.get("data", "k").await.unwrap().body == noise(300, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_whether_a_part_may_be_written_writes_none() {
    let plan = Plan { state_bucket: Some("up-state".to_owned()), has_app_identity: true, ..Plan::default() };
    let lied = Lied::with(plan).await;
    let app = lied.app();
    let page = [("origin", "https://app.example")];
    // what stores say to a part whose digest is wrong; one that takes it has a part that nobody asks for
    for (status, code) in [(400, "BadDigest"), (400, "InvalidDigest"), (200, "")] {
        let id = create(&app, "data", "k", &[]).await;
        let at = ("data", "k", id.as_str());
        let big = part(&app, at, 2, noise(5 * MIB, 2)).await.unwrap().etag();
        lied.liar.lies(move |asked, told| {
            if asked.query.contains("partNumber=10000") {
                told.status = StatusCode::from_u16(status).unwrap();
                told.body =
                    if code.is_empty() { Vec::new() } else { format!("<Error><Code>{code}</Code></Error>").into() };
            } else if asked.headers.contains_key("origin") || asked.method == Method::OPTIONS {
                told.set("access-control-allow-origin", "https://app.example");
                told.status = StatusCode::OK;
            }
        });
        let query = [("partNumber", "3"), ("uploadId", id.as_str())];
        let small = app.send(Method::PUT, "data", "k", &query, &page, Some("small".into())).await.unwrap();
        assert_eq!(small.header("access-control-allow-origin"), "https://app.example", "what is said to the page");
        let asked = lied.liar.requests.lock().unwrap().clone();
        let asked = asked.iter().rfind(|asked| asked.query.contains("partNumber=10000")).unwrap();
        assert!(asked.is("PUT", "/up-data/k") && asked_by(asked) == "APPLICATION");
        assert!(asked.headers.contains_key("content-md5") && !asked.headers.contains_key("origin"));
        // the honest store behind has taken none
        let there = lied.rig.provider_client().list_of_parts("up-data", "k", &id).await;
        assert_eq!(elements(&there, "PartNumber"), ["2"]);
        complete(&app, at, &[(2, big), (3, small.etag())]).await.unwrap();
        assert_eq!(app.get("data", "k").await.unwrap().body.len(), 5 * MIB + 5);
        lied.liar.tells_the_truth();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_bucket_that_is_closed_to_the_gateway_is_nothing_of_the_clients() {
    let credentials = "UpstreamCredentials";
    for (told_status, code, expected) in [
        (403, "AccessDenied", credentials),
        (404, "NoSuchBucket", credentials),
        (400, "RequestTimeout", "ServiceUnavailable"),
        (400, "InvalidRequest", "ServiceUnavailable"),
    ] {
        let plan = Plan { state_bucket: Some("up-state".to_owned()), has_app_identity: true, ..Plan::default() };
        let lied = Lied::with(plan).await;
        lied.liar.lies(move |asked, told| {
            if asked.path.starts_with("/up-state") {
                told.status = StatusCode::from_u16(told_status).unwrap();
                told.body = format!("<Error><Code>{code}</Code></Error>").into();
            }
        });
        let app = lied.app();
        let refused = app.post("data", "k", &[("uploads", "")], "").await.unwrap_err();
        assert_eq!(refused, (503, expected.to_owned()), "{code}");
        assert_eq!(lied.rig.metrics.encode().contains("kind=\"upstream_credentials\""), expected == credentials);
        // and where it closes later
        let lie = move |asked: &Asked, told: &mut Told| {
            if asked.is("PUT", &asked.path) && asked.path.starts_with("/up-state/.sealgate/s/") {
                told.status = StatusCode::from_u16(told_status).unwrap();
                told.body = format!("<Error><Code>{code}</Code></Error>").into();
            }
        };
        lied.liar.tells_the_truth();
        let id = create(&app, "data", "k", &[]).await;
        lied.liar.lies(lie);
        let refused = part(&app, ("data", "k", &id), 1, "x").await.unwrap_err();
        assert_eq!(refused, (503, expected.to_owned()), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_application_reaches_a_state_bucket_by_way_of_a_pattern() {
    let rig = Rig::with(Plan { state_bucket: Some("up-team-red".to_owned()), ..Plan::default() }).await;
    let app = rig.app();
    let id = create(&app, "data", "k", &[]).await;
    let small = part(&app, ("data", "k", &id), 1, "x").await.unwrap().etag();
    assert_eq!(rig.stored("up-team-red").await.len(), 2);
    for outcome in [
        app.list("team-red", &[]).await,
        app.put("team-red", "k", "x").await,
        app.send(Method::DELETE, "team-red", "", &[], &[], None).await,
        app.send(Method::PUT, "team-red", "", &[("lifecycle", "")], &[], Some("<LifecycleConfiguration/>".into()))
            .await,
    ] {
        assert_eq!(outcome.unwrap_err(), (403, "AccessDenied".to_owned()));
    }
    let shown = app.list("", &[]).await.unwrap().text();
    assert_eq!(elements(&shown, "Name"), ["data", "other", "second"]);
    complete(&app, ("data", "k", &id), &[(1, small)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_completes_at_once_make_one_object_and_are_both_answered() {
    let rig = Rig::new().await;
    let second = rig.replica().await;
    let other = Client::new(second.address, "AKALPHA", "secret of AKALPHA");
    let app = rig.app();
    for round in 0..5 {
        let bodies = [noise(5 * MIB, round), noise(1000, round + 50)];
        let id = create(&app, "data", "k", &[]).await;
        let mut parts = Vec::new();
        for (i, body) in bodies.iter().enumerate() {
            let number = i as u32 + 1;
            parts.push((number, part(&app, ("data", "k", &id), number, body.clone()).await.unwrap().etag()));
        }
        let at = ("data", "k", id.as_str());
        let (a, b) = tokio::join!(complete(&app, at, &parts), complete(&other, at, &parts));
        a.unwrap();
        b.unwrap();
        whole(&app.get("data", "k").await.unwrap(), &bodies);
        assert_eq!(rig.stored("up-data").await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_before_anything_is_committed() {
    let rig = Rig::new().await;
    let app = rig.app();
    let id = create(&app, "data", "k", &[]).await;
    let at = ("data", "k", id.as_str());
    let first = part(&app, at, 1, noise(5 * MIB, 1)).await.unwrap().etag();
    let small = part(&app, at, 2, noise(100, 2)).await.unwrap().etag();
    let third = part(&app, at, 3, noise(5 * MIB, 3)).await.unwrap().etag();
    let code = |outcome: Outcome| outcome.unwrap_err().1;
    assert_eq!(code(complete(&app, at, &[(1, third.clone())]).await), "InvalidPart");
    let mut forged = first.clone();
    forged.replace_range(40..41, if &first[40..41] == "A" { "B" } else { "A" });
    assert_eq!(code(complete(&app, at, &[(1, forged)]).await), "InvalidPart");
    assert_eq!(code(complete(&app, at, &[(3, third.clone()), (1, first.clone())]).await), "InvalidPartOrder");
    let with_small = [(1, first.clone()), (2, small.clone()), (3, third.clone())];
    assert_eq!(code(complete(&app, at, &with_small).await), "EntityTooSmall");
    assert_eq!(code(complete(&app, at, &[(1, first.clone()), (9, third.clone())]).await), "InvalidPart");
    let size = [("x-amz-mp-object-size", "5")];
    let wrong = app
        .send(Method::POST, "data", "k", &[("uploadId", &id)], &size, Some(list(&[(1, first.clone())]).into()))
        .await;
    assert_eq!(code(wrong), "InvalidRequest");
    // a re-sent small part: the ETag of the first attempt no longer fits
    part(&app, at, 2, noise(100, 22)).await.unwrap();
    assert_eq!(code(complete(&app, at, &[(1, first.clone()), (2, small)]).await), "InvalidPart");
    assert!(app.head("data", "k").await.is_err());
    let other =
        app.send(Method::PUT, "data", "other", &[("partNumber", "1"), ("uploadId", &id)], &[], Some("x".into())).await;
    assert_eq!(code(other), "NoSuchUpload");
    complete(&app, at, &[(1, first), (3, third)]).await.unwrap();
    assert_eq!(rig.stored("up-data").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_upload_leaves_nothing() {
    let rig = Rig::new().await;
    let app = rig.app();
    let id = create(&app, "data", "k", &[]).await;
    part(&app, ("data", "k", &id), 1, noise(5 * MIB, 1)).await.unwrap();
    part(&app, ("data", "k", &id), 2, "small").await.unwrap();
    assert_eq!(rig.stored("up-data").await.len(), 2);
    let uploads = app.list("data", &[("uploads", "")]).await.unwrap().text();
    assert_eq!((elements(&uploads, "Key"), elements(&uploads, "UploadId")), (vec!["k".to_owned()], vec![id.clone()]));
    let query = [("uploadId", id.as_str())];
    assert_eq!(app.send(Method::DELETE, "data", "k", &query, &[], None).await.unwrap().status, 204);
    assert!(rig.stored("up-data").await.is_empty());
    assert_eq!(app.send(Method::DELETE, "data", "k", &query, &[], None).await.unwrap_err().1, "NoSuchUpload");
    let late = part(&app, ("data", "k", &id), 3, "late").await.unwrap_err();
    assert_eq!(late, (404, "NoSuchUpload".to_owned()));
    assert!(rig.stored("up-data").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_attempt_replaces_an_earlier_one_wherever_it_lies() {
    let rig = Rig::new().await;
    let app = rig.app();
    for (before, after) in [(100, 5 * MIB + 1), (5 * MIB + 1, 100)] {
        let id = create(&app, "data", "k", &[]).await;
        let at = ("data", "k", id.as_str());
        part(&app, at, 1, noise(before, 1)).await.unwrap();
        let body = noise(after, 2);
        let etag = part(&app, at, 1, body.clone()).await.unwrap().etag();
        let shown = app.send(Method::GET, "data", "k", &[("uploadId", &id)], &[], None).await.unwrap().text();
        assert_eq!(elements(&shown, "Size"), [after.to_string()]);
        complete(&app, at, &[(1, etag)]).await.unwrap();
        assert!(app.get("data", "k").await.unwrap().body == body);
        assert_eq!(rig.stored("up-data").await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etags_from_list_parts_complete_an_upload_too() {
    let rig = Rig::new().await;
    let app = rig.app();
    let bodies = [noise(5 * MIB + 3, 1), noise(7 * MIB, 2), noise(50_000, 3)];
    let id = create(&app, "data", "k", &[]).await;
    for (i, body) in bodies.iter().enumerate() {
        part(&app, ("data", "k", &id), i as u32 + 1, body.clone()).await.unwrap();
    }
    let shown = app.send(Method::GET, "data", "k", &[("uploadId", &id)], &[], None).await.unwrap().text();
    let etags = elements(&shown, "ETag").into_iter().map(|etag| etag.replace("&quot;", "\""));
    let parts: Vec<_> = (1..).zip(etags).collect();
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    whole(&app.get("data", "k").await.unwrap(), &bodies);
    let all = bodies.concat();
    for (from, to) in [(0, 10), (5 * MIB, 5 * MIB + 100), (9 * MIB + 5, 9 * MIB + 200_000), (12 * MIB, all.len() - 1)] {
        let got = app.get_with("data", "k", &[("range", &format!("bytes={from}-{to}"))]).await.unwrap();
        assert!(got.body == all[from..=to]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_number_can_be_used() {
    let rig = Rig::new().await;
    let app = rig.app();
    let bodies = [noise(5 * MIB, 1), noise(6 * MIB, 2)];
    let id = create(&app, "data", "k", &[]).await;
    let at = ("data", "k", id.as_str());
    let parts = [
        (9999, part(&app, at, 9999, bodies[0].clone()).await.unwrap().etag()),
        (10_000, part(&app, at, 10_000, bodies[1].clone()).await.unwrap().etag()),
    ];
    complete(&app, at, &parts).await.unwrap();
    whole(&app.get("data", "k").await.unwrap(), &bodies);
    let id = create(&app, "data", "k", &[]).await;
    let at = ("data", "k", id.as_str());
    let parts = [(9999, part(&app, at, 9999, bodies[1].clone()).await.unwrap().etag())];
    complete(&app, at, &parts).await.unwrap();
    whole(&app.get("data", "k").await.unwrap(), &bodies[1..]);
    assert_eq!(rig.stored("up-data").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_copied_with_ranges_within_and_across_buckets() {
    let rig = Rig::new().await;
    let app = rig.app();
    let source = noise(12 * MIB, 4);
    app.put("second", "src/ü +", source.clone()).await.unwrap();
    let id = create(&app, "data", "k", &[]).await;
    let mut parts = Vec::new();
    for (number, (from, to)) in [(0, 6 * MIB - 1), (6 * MIB, 12 * MIB - 1)].into_iter().enumerate() {
        let number = number as u32 + 1;
        let range = format!("bytes={from}-{to}");
        let headers = [("x-amz-copy-source", "/second/src/%C3%BC%20%2B"), ("x-amz-copy-source-range", range.as_str())];
        let text = number.to_string();
        let query = [("partNumber", text.as_str()), ("uploadId", &id)];
        let made = app.send(Method::PUT, "data", "k", &query, &headers, Some(Bytes::new())).await.unwrap();
        parts.push((number, elements(&made.text(), "ETag").remove(0).replace("&quot;", "\"")));
    }
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    assert!(app.get("data", "k").await.unwrap().body == source);
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_of_the_whole_are_made_of_verified_parts_only() {
    let b64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let rig = Rig::new().await;
    let app = rig.app();
    let bodies = [noise(5 * MIB + 1, 1), noise(5 * MIB, 2), noise(9, 3)];
    for (algorithm, name, over) in [
        (ChecksumAlgorithm::Crc64Nvme, "CRC64NVME", "FULL_OBJECT"),
        (ChecksumAlgorithm::Crc32, "CRC32", "COMPOSITE"),
        (ChecksumAlgorithm::Sha256, "SHA256", "COMPOSITE"),
    ] {
        let header = format!("x-amz-checksum-{}", name.to_ascii_lowercase());
        let declared = [("x-amz-checksum-algorithm", name), ("x-amz-checksum-type", over)];
        let id = create(&app, "data", "k", &declared).await;
        let (mut xml, mut values) = (String::new(), Vec::new());
        for (i, body) in bodies.iter().enumerate() {
            let value = checksum(algorithm, body);
            let text = b64(value.as_bytes());
            let number = (i + 1).to_string();
            let query = [("partNumber", number.as_str()), ("uploadId", &id)];
            let bad = [(header.as_str(), b64(checksum(algorithm, b"other").as_bytes()))];
            let bad: Vec<_> = bad.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let refused =
                app.send(Method::PUT, "data", "k", &query, &bad, Some(body.clone().into())).await.unwrap_err();
            assert_eq!(refused.1, "BadDigest");
            let good = [(header.as_str(), text.as_str())];
            let sent = app.send(Method::PUT, "data", "k", &query, &good, Some(body.clone().into())).await.unwrap();
            assert_eq!(sent.header(&header), text);
            let etag = sent.etag().replace('"', "&quot;");
            xml.push_str(&format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag><Checksum{name}>{text}</Checksum{name}></Part>"
            ));
            values.push(value);
        }
        let expected = if over == "FULL_OBJECT" {
            b64(checksum(algorithm, &bodies.concat()).as_bytes())
        } else {
            let joined: Vec<u8> = values.iter().flat_map(|value| value.as_bytes().to_vec()).collect();
            format!("{}-3", b64(checksum(algorithm, &joined).as_bytes()))
        };
        let xml = format!("<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>");
        let query = [("uploadId", id.as_str())];
        let bad = b64(checksum(algorithm, b"other").as_bytes());
        let refused = app.send(Method::POST, "data", "k", &query, &[(&header, &bad)], Some(xml.clone().into())).await;
        assert_eq!(refused.unwrap_err().1, "BadDigest");
        let done = app
            .send(Method::POST, "data", "k", &query, &[(&header, &expected)], Some(xml.clone().into()))
            .await
            .unwrap();
        assert_eq!(elements(&done.text(), &format!("Checksum{name}")), [expected.clone()]);
        // clients that name the type leave out the number of parts; one that is named must be right
        let value = expected.trim_end_matches("-3");
        let again = [(header.as_str(), value), ("x-amz-checksum-type", over)];
        app.send(Method::POST, "data", "k", &query, &again, Some(xml.clone().into())).await.unwrap();
        if over == "COMPOSITE" {
            let wrong = format!("{value}-2");
            let again = [(header.as_str(), wrong.as_str()), ("x-amz-checksum-type", over)];
            let refused = app.send(Method::POST, "data", "k", &query, &again, Some(xml.into())).await;
            assert_eq!(refused.unwrap_err().1, "BadDigest");
        }
        let got = app.send(Method::HEAD, "data", "k", &[], &[("x-amz-checksum-mode", "ENABLED")], None).await.unwrap();
        assert_eq!((got.header(&header), got.header("x-amz-checksum-type")), (expected.as_str(), over));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_uploads_do_not_keep_a_bucket() {
    let rig = Rig::new().await;
    let app = rig.app();
    let upload = create(&app, "team-red", "k", &[]).await;
    let at = ("team-red", "k", upload.as_str());
    part(&app, at, 1, "small").await.unwrap();
    app.put("team-red", "kept", "x").await.unwrap();
    let delete = || app.send(Method::DELETE, "team-red", "", &[], &[], None);
    assert_eq!(delete().await.unwrap_err(), (409, "BucketNotEmpty".to_owned()));
    // what is unfinished goes on
    let etag = part(&app, at, 1, "small").await.unwrap().etag();
    app.delete("team-red", "kept").await.unwrap();
    // a record that is not an upload's to this bucket keeps it, and what is beside it
    rig.provider_client().put("up-team-red", ".sealgate/u/x", "y").await.unwrap();
    assert_eq!(delete().await.unwrap_err().0, 409);
    rig.provider_client().delete("up-team-red", ".sealgate/u/x").await.unwrap();
    let foreign = format!(".sealgate/s/{}/00001", "A".repeat(43));
    rig.provider_client().put("up-team-red", &foreign, "y").await.unwrap();
    assert_eq!(delete().await.unwrap_err().0, 409);
    rig.provider_client().delete("up-team-red", &foreign).await.unwrap();
    assert_eq!(delete().await.unwrap().status, 204);
    assert_eq!(complete(&app, at, &[(1, etag)]).await.unwrap_err().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_the_store_locks_hinder_no_upload() {
    let lied = Lied::new().await;
    let app = lied.app();
    lied.liar.edits(|asked, _| {
        if asked.method == Method::DELETE && asked.path.contains("/.sealgate/") {
            // what is locked is not removed
            asked.path = "/up-locked/nothing".to_owned();
        }
    });
    lied.liar.lies(|asked, told| {
        if asked.method == Method::DELETE && asked.path.starts_with("/up-locked") {
            told.status = StatusCode::FORBIDDEN;
            told.headers.clear();
            told.body = b"<Error><Code>AccessDenied</Code><Message>locked</Message></Error>".to_vec();
        }
    });
    let id = create(&app, "data", "k", &[]).await;
    let etag = part(&app, ("data", "k", &id), 1, "content").await.unwrap().etag();
    for _ in 0..2 {
        complete(&app, ("data", "k", &id), &[(1, etag.clone())]).await.unwrap();
    }
    assert_eq!(app.get("data", "k").await.unwrap().text(), "content");
    let id = create(&app, "data", "k", &[]).await;
    app.send(Method::DELETE, "data", "k", &[("uploadId", &id)], &[], None).await.unwrap();
    let stays = lied.rig.stored("up-data").await;
    assert!(stays.keys().any(|key| key.starts_with(".sealgate/")), "nothing was locked");
}
