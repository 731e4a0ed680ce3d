//! What a lying store does, and what the application gets: each test's name is the claim.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use http::{HeaderValue, Method, StatusCode};
use sealgate::demo::find_leak;
use sealgate::net::server::ServerSettings;

use super::liar::{Asked, Liar};
use super::multipart::{complete, create, part};
use super::rig::{Client, Outcome, Plan, Rig, Server, elements, gateway, noise};

const MIB: usize = 1 << 20;
/// What a part of 5 MiB takes in the store: its head, and 80 chunks and an empty one with their tags.
const STORED_PART: usize = 72 + 5 * MIB + 16 * 81;

/// A rig whose gateway reaches the provider through a liar.
pub struct Lied {
    pub rig: Rig,
    pub liar: Arc<Liar>,
    _listening: Server,
    gateway: Server,
}

impl Lied {
    pub async fn new() -> Self {
        Self::with(Plan::default()).await
    }

    pub async fn with(plan: Plan) -> Self {
        let rig = Rig::with(Plan { min_part: plan.min_part, ..Plan::default() }).await;
        let liar = Liar::before(rig.provider.address);
        let listening = Server::start(Arc::clone(&liar), ServerSettings::default()).await;
        let plan = Plan { through: Some(listening.address), ..plan };
        let lied = gateway(&plan, rig.provider.address, &rig.keyring, &rig.metrics);
        let gateway = Server::start(Arc::new(lied), plan.server.clone()).await;
        Self { rig, liar, _listening: listening, gateway }
    }

    pub fn gateway_address(&self) -> std::net::SocketAddr {
        self.gateway.address
    }

    pub fn app(&self) -> Client {
        Client::new(self.gateway.address, "AKALPHA", "secret of AKALPHA")
    }
}

fn integrity(outcome: Outcome) -> bool {
    outcome.is_err_and(|(status, code)| status == 502 && code == "IntegrityError")
}

fn cut(outcome: Outcome) -> bool {
    outcome.is_err_and(|(status, code)| status < 300 && code == "cut")
}

/// Refused, or cut before the end.
fn caught(outcome: Outcome) -> bool {
    outcome.is_err_and(|(status, code)| code == "cut" && status < 300 || status == 502 && code == "IntegrityError")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_of_a_small_object_releases_no_byte() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", noise(1000, 1)).await.unwrap();
    let stored = usize::try_from(lied.rig.stored("up-data").await["k"]).unwrap();
    for at in (0..stored).step_by(41).chain([stored - 1]) {
        lied.liar.lies(move |asked, told| {
            if asked.is("GET", "/up-data/k") {
                told.body[at] ^= 1;
            }
        });
        assert!(integrity(app.get("data", "k").await), "byte {at}");
    }
    lied.liar.tells_the_truth();
    assert_eq!(app.get("data", "k").await.unwrap().body, noise(1000, 1));
    // of several chunks too: nothing is answered before the last is verified
    app.put("data", "k", noise(300_000, 1)).await.unwrap();
    let stored = usize::try_from(lied.rig.stored("up-data").await["k"]).unwrap();
    for at in [0, 70_000, 299_000, stored - 1] {
        lied.liar.lies(move |asked, told| {
            if asked.is("GET", "/up-data/k") {
                told.body[at] ^= 1;
            }
        });
        assert!(integrity(app.get("data", "k").await), "byte {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_of_a_large_object_cuts_it_before_the_chunk() {
    let lied = Lied::new().await;
    let app = lied.app();
    let len = 3 * MIB;
    app.put("data", "k", noise(len, 1)).await.unwrap();
    let stored = usize::try_from(lied.rig.stored("up-data").await["k"]).unwrap();
    // a chunk in the middle, the last, the padding, the trailer, the footer
    for at in [0, stored / 2, len + 16 * 48, stored - 450, stored - 100, stored - 1] {
        lied.liar.lies(move |asked, told| {
            if asked.is("GET", "/up-data/k") {
                told.body[at] ^= 0x80;
            }
        });
        let outcome = app.get("data", "k").await;
        assert!(if at == 0 { integrity(outcome) } else { cut(outcome) }, "byte {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_another_length_releases_no_byte() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", noise(3 * MIB, 1)).await.unwrap();
    type Change = fn(&mut Vec<u8>);
    let changes: [Change; 6] = [
        |body| body.truncate(2 * 65_552),
        |body| body.truncate(body.len() - 1),
        |body| body.push(0),
        |body| body.extend_from_slice(&[7; 65_552]),
        Vec::clear,
        |body| body.truncate(100),
    ];
    for change in changes {
        lied.liar.lies(move |asked, told| {
            if asked.is("GET", "/up-data/k") {
                change(&mut told.body);
            }
        });
        assert!(integrity(app.get("data", "k").await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_breaks_off_is_never_taken_for_whole() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", noise(3 * MIB, 1)).await.unwrap();
    lied.liar.lies(|asked, told| {
        if asked.is("GET", "/up-data/k") {
            told.keep_length = true;
            told.body.truncate(told.body.len() / 2);
        }
    });
    assert!(cut(app.get("data", "k").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_swapped_or_doubled_are_caught() {
    const S: usize = 65_552;
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", noise(3 * MIB, 1)).await.unwrap();
    for (a, b) in [(0, 1), (3, 7), (5, 4)] {
        lied.liar.lies(move |asked, told| {
            if asked.is("GET", "/up-data/k") {
                let other = told.body[a * S..(a + 1) * S].to_vec();
                if a < b {
                    let moved = told.body[b * S..(b + 1) * S].to_vec();
                    told.body[a * S..(a + 1) * S].copy_from_slice(&moved);
                }
                told.body[b * S..(b + 1) * S].copy_from_slice(&other);
            }
        });
        assert!(caught(app.get("data", "k").await), "{a} {b}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_under_another_name_bucket_or_tenant_is_caught() {
    let lied = Lied::new().await;
    let (app, provider) = (lied.app(), lied.rig.provider_client());
    app.put("data", "a", "content of a").await.unwrap();
    app.put("data", "b", "content of b").await.unwrap();
    let a = provider.get("up-data", "a").await.unwrap();
    let b = provider.get("up-data", "b").await.unwrap();
    let envelope = |got: &super::rig::Got| got.header("x-amz-meta-sealgate").to_owned();
    let plant = |bucket: &'static str, envelope: String, body: bytes::Bytes| {
        let provider = lied.rig.provider_client();
        async move {
            let headers = [("x-amz-meta-sealgate", envelope.as_str())];
            provider.put_with(bucket, "planted", &headers, body).await.unwrap();
        }
    };
    // header and body under another key; header of one on the body of the other
    plant("up-data", envelope(&a), a.body.clone()).await;
    assert!(integrity(app.get("data", "planted").await));
    assert_eq!(app.head("data", "planted").await.unwrap_err().0, 502);
    plant("up-data", envelope(&a), b.body.clone()).await;
    assert!(integrity(app.get("data", "planted").await));
    // another bucket of the same tenant and KEK
    app.put("data", "planted", "in data").await.unwrap();
    let here = provider.get("up-data", "planted").await.unwrap();
    plant("up-other", envelope(&here), here.body.clone()).await;
    assert!(integrity(app.get("other", "planted").await));
    // another KEK, of the same tenant and of another: not tried at all
    let beta = Client::new(lied.gateway.address, "AKBETA", "secret of AKBETA");
    beta.put("beta", "planted", "of beta").await.unwrap();
    let theirs = provider.get("up-beta", "planted").await.unwrap();
    for bucket in ["up-second", "up-data"] {
        plant(bucket, envelope(&theirs), theirs.body.clone()).await;
    }
    let denied = (403, "KeyNotAllowed".to_owned());
    assert_eq!(app.get("second", "planted").await.unwrap_err(), denied);
    assert_eq!(app.get("data", "planted").await.unwrap_err(), denied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_body_under_a_new_header_is_caught() {
    let lied = Lied::new().await;
    let (app, provider) = (lied.app(), lied.rig.provider_client());
    app.put("data", "k", noise(5000, 1)).await.unwrap();
    let old = provider.get("up-data", "k").await.unwrap();
    app.put("data", "k", noise(5000, 2)).await.unwrap();
    lied.liar.lies(move |asked, told| {
        if asked.is("GET", "/up-data/k") {
            told.body = old.body.to_vec();
        }
    });
    assert!(integrity(app.get("data", "k").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_removed_is_refused_and_one_that_is_broken_is_caught() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", "text").await.unwrap();
    lied.liar.lies(|_, told| {
        told.headers.remove("x-amz-meta-sealgate");
    });
    assert_eq!(app.get("data", "k").await.unwrap_err(), (403, "ObjectNotSealed".to_owned()));
    assert_eq!(app.head("data", "k").await.unwrap_err().0, 403);
    type Change = fn(&mut http::HeaderMap, HeaderValue);
    let changes: [Change; 7] = [
        |headers, value| {
            headers.append("x-amz-meta-sealgate", value);
        },
        |headers, value| {
            let merged = format!("{0},{0}", value.to_str().unwrap());
            headers.insert("x-amz-meta-sealgate", merged.parse().unwrap());
        },
        |headers, value| {
            let padded = format!("{}=", value.to_str().unwrap());
            headers.insert("x-amz-meta-sealgate", padded.parse().unwrap());
        },
        |headers, _| {
            headers.insert("x-amz-meta-sealgate", "A".repeat(10_240).parse().unwrap());
        },
        |headers, _| {
            headers.insert("x-amz-meta-sealgate", HeaderValue::from_static(""));
        },
        |headers, _| {
            headers.insert("x-amz-meta-sealgate", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        },
        |headers, value| {
            let short = &value.to_str().unwrap()[..200];
            headers.insert("x-amz-meta-sealgate", short.parse().unwrap());
        },
    ];
    for (index, change) in changes.into_iter().enumerate() {
        lied.liar.lies(move |_, told| {
            if let Some(value) = told.headers.get("x-amz-meta-sealgate").cloned() {
                change(&mut told.headers, value);
            }
        });
        assert!(integrity(app.get("data", "k").await), "{index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_the_header_counts() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", "text").await.unwrap();
    let coder = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let raw = lied.rig.provider_client().get("up-data", "k").await.unwrap();
    let header = coder.decode(raw.header("x-amz-meta-sealgate")).unwrap();
    for at in 0..header.len() {
        let mut changed = header.clone();
        changed[at] ^= 1;
        let text = coder.encode(changed);
        lied.liar.lies(move |_, told| {
            if told.headers.contains_key("x-amz-meta-sealgate") {
                told.headers.insert("x-amz-meta-sealgate", text.parse().unwrap());
            }
        });
        let (status, code) = app.get("data", "k").await.unwrap_err();
        // a KEK id that is another is none of the bucket's: refused by policy, not tried
        let expected = if (4..20).contains(&at) { (403, "KeyNotAllowed") } else { (502, "IntegrityError") };
        assert_eq!((status, code.as_str()), expected, "byte {at}");
    }
    // nor is there another way to write the same bytes
    lied.liar.tells_the_truth();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut tried = 0;
    for len in 1..=3 {
        let name = "k".repeat(len);
        app.put_with("data", &name, &[("x-amz-meta-a", &"x".repeat(len))], "text").await.unwrap();
        let raw = lied.rig.provider_client().get("up-data", &name).await.unwrap();
        let text = raw.header("x-amz-meta-sealgate").to_owned();
        if text.len().is_multiple_of(4) {
            continue;
        }
        let (rest, last) = text.split_at(text.len() - 1);
        let other = alphabet.as_bytes()[alphabet.find(last).unwrap() ^ 1];
        let other = format!("{rest}{}", char::from(other));
        lied.liar.lies(move |_, told| {
            if told.headers.contains_key("x-amz-meta-sealgate") {
                told.headers.insert("x-amz-meta-sealgate", other.parse().unwrap());
            }
        });
        assert!(integrity(app.get("data", &name).await));
        lied.liar.tells_the_truth();
        tried += 1;
    }
    assert!(tried > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_range_than_was_asked_for_is_caught_and_the_whole_is_sliced_right() {
    let lied = Lied::new().await;
    let app = lied.app();
    let body = noise(400_000, 1);
    app.put("data", "k", body.clone()).await.unwrap();
    let range = [("range", "bytes=70000-140000")];
    let total = usize::try_from(lied.rig.stored("up-data").await["k"]).unwrap();
    for (name, value) in [
        ("content-range", format!("bytes 0-196655/{total}")),
        ("content-range", format!("bytes 65552-196655/{}", total + 1)),
        ("content-range", format!("bytes 65552-196655/{}", total - 1)),
        ("content-range", format!("bytes 131104-262207/{total}")),
        ("content-range", "nonsense".to_owned()),
        ("content-range", format!("bytes 65552-196655/{total}x")),
    ] {
        let told_value = value.clone();
        lied.liar.lies(move |asked, told| {
            if asked.method == Method::GET {
                told.set(name, &told_value);
            }
        });
        assert!(integrity(app.get_with("data", "k", &range).await), "{value}");
    }
    // a suffix is asked for by its place, once HEAD has told the length
    for value in [
        format!("bytes 393312-400111/{}", total + 1),
        format!("bytes 0-6799/{total}"),
        format!("bytes 393313-400112/{total}"),
    ] {
        lied.liar.lies(move |asked, told| {
            if asked.method == Method::GET {
                told.set("content-range", &value);
            }
        });
        assert!(integrity(app.get_with("data", "k", &[("range", "bytes=-100")]).await));
    }
    lied.liar.tells_the_truth();
    assert!(app.get_with("data", "k", &[("range", "bytes=-100")]).await.unwrap().body == body[399_900..]);
    // other bytes under the right Content-Range
    lied.liar.lies(|asked, told| {
        if asked.method == Method::GET {
            told.body.rotate_left(65_552);
        }
    });
    assert!(integrity(app.get_with("data", "k", &range).await));
    // 200 with the whole
    lied.liar.edits(|asked, _| {
        asked.headers.remove("range");
    });
    // the signature covers the range: the honest provider refuses what was edited, so the liar answers itself
    let whole = lied.rig.provider_client().get("up-data", "k").await.unwrap();
    lied.liar.tells_the_truth();
    lied.liar.lies(move |asked, told| {
        if asked.method == Method::GET {
            told.status = StatusCode::OK;
            told.headers.remove("content-range");
            told.body = whole.body.to_vec();
        }
    });
    let got = app.get_with("data", "k", &range).await.unwrap();
    assert!(got.status == 206 && got.body == body[70_000..=140_000]);
}

/// Whatever it holds: who answers another question than was asked is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn another_range_than_was_asked_for_is_refused_though_it_is_what_it_says() {
    const S: usize = 65_552;
    let lied = Lied::new().await;
    let app = lied.app();
    let body = noise(400_000, 1);
    app.put("data", "k", body.clone()).await.unwrap();
    let raw = lied.rig.provider_client().get("up-data", "k").await.unwrap().body;
    // chunks 1 and 2
    let range = [("range", "bytes=70000-140000")];
    for (from, to) in [(0, 2), (0, 3), (1, 2), (1, 4), (2, 3), (2, 4), (4, 5)] {
        let (raw, told_once) = (raw.clone(), AtomicBool::new(false));
        lied.liar.lies(move |asked, told| {
            // what is asked for afterwards is answered truly
            if asked.is("GET", "/up-data/k") && !told_once.swap(true, Ordering::SeqCst) {
                told.set("content-range", &format!("bytes {}-{}/{}", from * S, to * S - 1, raw.len()));
                told.body = raw[from * S..to * S].to_vec();
            }
        });
        assert!(integrity(app.get_with("data", "k", &range).await), "chunks {from} to {to}");
    }
    lied.liar.tells_the_truth();
    assert!(app.get_with("data", "k", &range).await.unwrap().body == body[70_000..=140_000]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_is_shorter_than_its_content_range_says_releases_no_byte() {
    let lied = Lied::new().await;
    let app = lied.app();
    let body = noise(3 * MIB, 1);
    app.put("data", "k", body.clone()).await.unwrap();
    // longer than what is verified before it is answered
    let range = [("range", "bytes=0-2000000")];
    assert!(app.get_with("data", "k", &range).await.unwrap().body == body[..=2_000_000]);
    lied.liar.lies(|asked, told| {
        if asked.is("GET", "/up-data/k") {
            assert!(told.body.len() > 2_000_000);
            told.body.truncate(2 * 65_552);
        }
    });
    assert!(integrity(app.get_with("data", "k", &range).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_that_the_store_denies_though_it_is_there_is_caught() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", noise(1000, 1)).await.unwrap();
    lied.liar.lies(|asked, told| {
        if asked.method == Method::GET {
            told.status = StatusCode::RANGE_NOT_SATISFIABLE;
            told.body = b"<Error><Code>InvalidRange</Code></Error>".to_vec();
        }
    });
    assert!(integrity(app.get_with("data", "k", &[("range", "bytes=0-10")]).await));
    let beyond = app.get_with("data", "k", &[("range", "bytes=5000-")]).await.unwrap_err();
    assert_eq!(beyond, (416, "InvalidRange".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn content_headers_of_the_store_are_not_believed() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put_with("data", "k", &[("content-type", "text/plain")], "text").await.unwrap();
    lied.liar.lies(|_, told| {
        told.set("content-type", "text/html");
        told.set("content-encoding", "gzip");
        told.set("cache-control", "public");
        told.set("x-amz-meta-evil", "1");
        told.set("set-cookie", "a=b");
    });
    let got = app.get("data", "k").await.unwrap();
    assert_eq!(got.header("content-type"), "text/plain");
    for name in ["content-encoding", "cache-control", "x-amz-meta-evil", "set-cookie"] {
        assert!(!got.headers.contains_key(name), "{name}");
    }
    // nor where the object has none
    app.put("data", "k", "text").await.unwrap();
    assert_eq!(app.get("data", "k").await.unwrap().header("content-type"), "binary/octet-stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", "text").await.unwrap();
    let elsewhere = Liar::before(lied.rig.provider.address);
    let other = Server::start(Arc::clone(&elsewhere), ServerSettings::default()).await;
    let location = format!("http://{}/up-data/k", other.address);
    for status in [301, 302, 307, 308] {
        let location = location.clone();
        lied.liar.lies(move |_, told| {
            told.status = StatusCode::from_u16(status).unwrap();
            told.set("location", &location);
        });
        assert_eq!(app.get("data", "k").await.unwrap_err().0, 503);
        assert_eq!(app.put("data", "k", "new").await.unwrap_err().0, 503);
    }
    assert!(elsewhere.requests.lock().unwrap().is_empty());
}

/// How many alerts of a kind were raised.
fn alerts(lied: &Lied, kind: &str) -> u64 {
    let text = lied.rig.metrics.encode();
    let start = format!("sealgate_alerts_total{{kind=\"{kind}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_not_what_was_written_raises_one_alert_a_minute() {
    let lied = Lied::new().await;
    let app = lied.app();
    for key in ["a", "b"] {
        app.put("data", key, "content").await.unwrap();
    }
    lied.liar.lies(|asked, told| {
        if asked.method == Method::GET {
            told.body[0] ^= 1;
        }
    });
    for _ in 0..3 {
        assert!(integrity(app.get("data", "a").await));
    }
    assert_eq!(alerts(&lied, "integrity"), 1, "applications ask again");
    assert!(integrity(app.get("data", "b").await));
    assert_eq!(alerts(&lied, "integrity"), 2, "of another object it says nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_raises_an_alert() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", "text").await.unwrap();
    let told = |kind: &str| alerts(&lied, kind);
    assert_eq!(told("upstream_redirect"), 0);
    lied.liar.lies(|_, told| {
        told.status = StatusCode::TEMPORARY_REDIRECT;
        told.set("location", "http://127.0.0.1:9/up-data/k");
    });
    assert_eq!(app.get("data", "k").await.unwrap_err().0, 503);
    assert_eq!(told("upstream_redirect"), 1);
    assert_eq!(app.put("data", "k", "new").await.unwrap_err().0, 503);
    assert_eq!(told("upstream_redirect"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_the_gateway_is_not_the_clients_fault() {
    let lied = Lied::new().await;
    let app = lied.app();
    for code in ["SignatureDoesNotMatch", "InvalidAccessKeyId", "RequestTimeTooSkewed", "ExpiredToken"] {
        lied.liar.lies(move |_, told| {
            told.status = StatusCode::FORBIDDEN;
            told.body = format!("<Error><Code>{code}</Code></Error>").into_bytes();
        });
        let refused = app.get("data", "k").await.unwrap_err();
        assert_eq!(refused, (503, "UpstreamCredentials".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_cannot_speak_our_verdicts() {
    let lied = Lied::new().await;
    let app = lied.app();
    for (status, code, heard) in [
        (StatusCode::FORBIDDEN, "KeyRevoked", (403, "AccessDenied")),
        (StatusCode::FORBIDDEN, "ObjectNotSealed", (403, "AccessDenied")),
        (StatusCode::NOT_FOUND, "IntegrityError", (404, "NoSuchKey")),
    ] {
        lied.liar.lies(move |_, told| {
            told.status = status;
            told.body = format!("<Error><Code>{code}</Code></Error>").into_bytes();
        });
        let refused = app.get("data", "k").await.unwrap_err();
        assert_eq!(refused, (heard.0, heard.1.to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_are_not_the_objects_are_caught() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", noise(5000, 1)).await.unwrap();
    lied.liar.lies(|asked, told| {
        if asked.method == Method::HEAD {
            told.set("content-length", "10000");
        }
    });
    assert_eq!(app.head("data", "k").await.unwrap_err().0, 502);
    lied.liar.lies(|asked, told| {
        if asked.query.contains("list-type") {
            let text = String::from_utf8(told.body.clone()).unwrap();
            assert!(text.contains("<Size>5512</Size>"), "{text}");
            told.body = text.replace("<Size>5512</Size>", "<Size>3</Size>").into_bytes();
        }
    });
    let text = app.list("data", &[("list-type", "2")]).await.unwrap().text();
    // a size that no sealed object has is shown as it is
    assert_eq!((elements(&text, "Key"), elements(&text, "Size")), (vec!["k".to_owned()], vec!["3".to_owned()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_answers_a_range_is_refused() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", noise(5000, 1)).await.unwrap();
    lied.liar.lies(|asked, told| {
        if asked.method == Method::HEAD {
            told.status = StatusCode::PARTIAL_CONTENT;
            told.set("content-range", "bytes 0-99/5512");
            told.set("content-length", "100");
        }
    });
    assert_eq!(app.head("data", "k").await.unwrap_err().0, 502);
    assert!(integrity(app.get_with("data", "k", &[("range", "bytes=-100")]).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_changes_within_a_read_is_read_again() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (old, new) = (noise(300_000, 1), noise(200_000, 2));
    app.put("data", "k", old).await.unwrap();
    let replaced = Arc::new(AtomicBool::new(false));
    let (flag, rig_app) = (Arc::clone(&replaced), lied.rig.app());
    let (handle, body) = (tokio::runtime::Handle::current(), new.clone());
    lied.liar.lies(move |asked, _| {
        // between the HEAD and the GET of a suffix
        if asked.method == Method::HEAD && !flag.swap(true, Ordering::SeqCst) {
            let (client, body) = (Client(Arc::clone(&rig_app.0)), body.clone());
            tokio::task::block_in_place(|| handle.block_on(async { client.put("data", "k", body).await.unwrap() }));
        }
    });
    let got = app.get_with("data", "k", &[("range", "bytes=-100")]).await.unwrap();
    assert!(got.body == new[new.len() - 100..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_source_is_replaced_never_has_the_header_of_another_body() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (old, new, before) = (noise(300_000, 1), noise(200_000, 2), noise(1000, 3));
    // of the same length too
    for (new, there) in [(&new, None), (&noise(300_000, 4), None), (&new, Some(&before))] {
        app.put("data", "src", old.clone()).await.unwrap();
        match there {
            Some(body) => app.put("data", "dst", body.clone()).await.unwrap(),
            None => app.delete("data", "dst").await.unwrap(),
        };
        let replaced = Arc::new(AtomicBool::new(false));
        let (flag, rig_app) = (Arc::clone(&replaced), lied.rig.app());
        let (handle, body) = (tokio::runtime::Handle::current(), new.clone());
        lied.liar.lies(move |asked, _| {
            // between the HEAD of the source and the copy
            if asked.is("HEAD", "/up-data/src") && !flag.swap(true, Ordering::SeqCst) {
                let (client, body) = (Client(Arc::clone(&rig_app.0)), body.clone());
                tokio::task::block_in_place(|| {
                    handle.block_on(async { client.put("data", "src", body).await.unwrap() })
                });
            }
        });
        let copy = [("x-amz-copy-source", "data/src")];
        let copied = app.send(Method::PUT, "data", "dst", &[], &copy, Some("".into())).await;
        lied.liar.tells_the_truth();
        assert!(replaced.load(Ordering::SeqCst));
        let got = app.get("data", "dst").await;
        match (copied, there) {
            // begun anew, or done before the source was another
            (Ok(_), _) => assert!(got.is_ok_and(|got| got.body == old || got.body == *new)),
            // refused: what was there is there
            (Err(_), Some(body)) => assert!(got.is_ok_and(|got| got.body == *body)),
            (Err(_), None) => assert_eq!(got.unwrap_err(), (404, "NoSuchKey".to_owned())),
        }
    }
}

/// An upload of two parts of 5 MiB, not yet completed.
async fn two_parts(app: &Client) -> (String, Vec<(u32, String)>) {
    let id = create(app, "data", "k", &[]).await;
    let mut parts = Vec::new();
    for number in 1..=2 {
        let sent = part(app, ("data", "k", &id), number, noise(5 * MIB, u64::from(number))).await.unwrap();
        parts.push((number, sent.etag()));
    }
    (id, parts)
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_swapped_doubled_or_dropped_are_caught() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (id, parts) = two_parts(&app).await;
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    let stored = STORED_PART;
    type Change = fn(&mut Vec<u8>, usize);
    let changes: [Change; 4] = [
        |body, len| body[..2 * len].rotate_left(len),
        |body, len| body.copy_within(0..len, len),
        |body, len| {
            body.drain(..len);
        },
        |body, len| body[len] ^= 1,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        lied.liar.lies(move |asked, told| {
            // the tail's own request is answered truly
            if asked.is("GET", "/up-data/k") && told.body.len() > MIB {
                // a range ends before the last part's empty chunk
                let len = told.body.len();
                told.body.resize(len.max(2 * stored), 0);
                change(&mut told.body, stored);
                told.body.resize(len, 0);
            }
        });
        assert!(caught(app.get("data", "k").await), "{index}");
        assert!(caught(app.get_with("data", "k", &[("range", "bytes=0-")]).await), "{index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_completes_other_parts_is_caught_by_complete() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (id, parts) = two_parts(&app).await;
    let before = lied.rig.stored("up-data").await;
    assert_eq!(before.len(), 1, "the state");
    // after Complete the tail is another one
    lied.liar.lies(|asked, told| {
        let is_tail = asked.headers.get("range").is_some_and(|range| range.as_bytes().starts_with(b"bytes=-"));
        if is_tail && asked.is("GET", "/up-data/k") {
            let at = told.body.len() - 60;
            told.body[at] ^= 1;
        }
    });
    assert!(integrity(complete(&app, ("data", "k", &id), &parts).await));
    // the state is kept: nothing was confirmed
    assert!(lied.rig.stored("up-data").await.keys().any(|key| key.starts_with(".sealgate/u/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_of_a_parts_head_counts() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (id, parts) = two_parts(&app).await;
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    let range = [("range", "bytes=5242880-5242979")];
    let at_the_head = format!("bytes={STORED_PART}-");
    let flips = Arc::new(AtomicUsize::new(0));
    for at in 0..72 {
        let (at_the_head, count) = (at_the_head.clone(), Arc::clone(&flips));
        lied.liar.lies(move |asked, told| {
            let asked_for = asked.headers.get("range").map_or(&b""[..], HeaderValue::as_bytes);
            if asked.is("GET", "/up-data/k") && asked_for.starts_with(at_the_head.as_bytes()) {
                assert_eq!(&told.body[..4], b"SGP1");
                told.body[at] ^= 1;
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        assert!(integrity(app.get_with("data", "k", &range).await), "byte {at}");
    }
    assert_eq!(flips.load(Ordering::SeqCst), 72);
    lied.liar.tells_the_truth();
    assert!(app.get_with("data", "k", &range).await.unwrap().body == noise(5 * MIB, 2)[..100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_between_the_last_part_and_the_tail_is_zeros() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (id, parts) = two_parts(&app).await;
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    let raw = lied.rig.provider_client().get("up-data", "k").await.unwrap().body;
    // its record, a trailer of two entries, its footer
    let tail = raw.len() - (88 + 112 + 2 * 36 + 16 + 32);
    assert!(raw[2 * STORED_PART..tail].iter().all(|byte| *byte == 0) && tail - 2 * STORED_PART == 528);
    for at in [2 * STORED_PART, 2 * STORED_PART + 10, tail - 1] {
        lied.liar.lies(move |asked, told| {
            // the tail's own request is answered truly
            if asked.is("GET", "/up-data/k") && !asked.headers.contains_key("range") {
                told.body[at] ^= 1;
            }
        });
        assert!(cut(app.get("data", "k").await), "byte {at}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_of_an_earlier_complete_is_caught_by_complete() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (id, mut parts) = two_parts(&app).await;
    let captured = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&captured);
    let is_complete = |asked: &Asked| asked.method == Method::POST && asked.query.starts_with("uploadId");
    lied.liar.edits(move |asked, bytes| {
        if asked.query.starts_with("partNumber=3&") {
            keep.lock().unwrap().clone_from(bytes);
        }
        if is_complete(asked) {
            // the honest provider refuses what its signature does not fit
            asked.query.push_str("&x=1");
        }
    });
    lied.liar.lies(move |asked, told| {
        if is_complete(asked) {
            told.status = StatusCode::INTERNAL_SERVER_ERROR;
            told.body = b"<Error><Code>InternalError</Code></Error>".to_vec();
        }
    });
    assert!(complete(&app, ("data", "k", &id), &parts).await.unwrap_err().0 >= 500);
    lied.liar.tells_the_truth();
    let old_tail = captured.lock().unwrap().clone();
    assert!(!old_tail.is_empty());
    // the same lengths, another attempt: what was sealed for the first list opens, and says another one
    let again = part(&app, ("data", "k", &id), 1, noise(5 * MIB, 3)).await.unwrap();
    parts[0].1 = again.etag();
    let told_tails = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told_tails);
    lied.liar.lies(move |asked, told| {
        let is_tail = asked.headers.get("range").is_some_and(|range| range.as_bytes().starts_with(b"bytes=-"));
        if is_tail && asked.is("GET", "/up-data/k") {
            let at = told.body.len() - old_tail.len();
            assert_ne!(told.body[at..], old_tail);
            told.body[at..].copy_from_slice(&old_tail);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert!(integrity(complete(&app, ("data", "k", &id), &parts).await));
    assert_eq!(told_tails.load(Ordering::SeqCst), 1);
    // the state is kept: nothing was confirmed
    assert!(lied.rig.stored("up-data").await.keys().any(|key| key.starts_with(".sealgate/u/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_staged_part_of_another_attempt_or_with_another_head_completes_nothing() {
    let lied = Lied::new().await;
    let app = lied.app();
    let id = create(&app, "data", "k", &[]).await;
    let upload = ("data", "k", id.as_str());
    let first = part(&app, upload, 1, noise(5 * MIB, 1)).await.unwrap().etag();
    part(&app, upload, 2, noise(1000, 2)).await.unwrap();
    let staged = lied.rig.stored("up-data").await;
    let staged = staged.keys().find(|key| key.starts_with(".sealgate/s/")).unwrap().clone();
    let earlier = lied.rig.provider_client().get("up-data", &staged).await.unwrap().body.to_vec();
    let second = part(&app, upload, 2, noise(1000, 3)).await.unwrap().etag();
    let parts = [(1, first), (2, second)];
    let path = format!("/up-data/{staged}");
    type Change = Box<dyn Fn(&mut Vec<u8>) + Send + Sync>;
    let mut changes: Vec<(String, Change)> = vec![("the attempt before".to_owned(), {
        Box::new(move |body| {
            assert!(*body != earlier && body.len() == earlier.len());
            body.clone_from(&earlier);
        })
    })];
    // number, length, salt
    for at in 4..40 {
        changes.push((format!("byte {at}"), Box::new(move |body| body[at] ^= 1)));
    }
    for (name, change) in changes {
        let path = path.clone();
        lied.liar.lies(move |asked, told| {
            if asked.is("GET", &path) {
                change(&mut told.body);
            }
        });
        let refused = complete(&app, upload, &parts).await.unwrap_err();
        assert_eq!(refused, (400, "InvalidPart".to_owned()), "{name}");
        assert_eq!(app.head("data", "k").await.unwrap_err().0, 404, "{name}");
    }
    // no part begins there
    let no_part = path.clone();
    lied.liar.lies(move |asked, told| {
        if asked.is("GET", &no_part) {
            told.body[0] ^= 1;
        }
    });
    assert!(integrity(complete(&app, upload, &parts).await));
    assert_eq!(app.head("data", "k").await.unwrap_err().0, 404);
    lied.liar.tells_the_truth();
    complete(&app, upload, &parts).await.unwrap();
    assert!(app.get("data", "k").await.unwrap().body == [noise(5 * MIB, 1), noise(1000, 3)].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn etags_that_are_not_of_their_parts_complete_nothing() {
    let lied = Lied::new().await;
    let app = lied.app();
    let (id, parts) = two_parts(&app).await;
    let upload = ("data", "k", id.as_str());
    let invalid = (400, "InvalidPart".to_owned());
    // ours, of another part: refused before the store is asked
    let swapped = [(1, parts[1].1.clone()), (2, parts[0].1.clone())];
    lied.liar.requests.lock().unwrap().clear();
    assert_eq!(complete(&app, upload, &swapped).await.unwrap_err(), invalid);
    assert!(lied.liar.requests.lock().unwrap().iter().all(|asked| asked.method == Method::GET));
    // the store's, of an attempt before: in the upload, and staged
    for (number, len) in [(2, 5 * MIB), (3, 1000)] {
        part(&app, upload, number, noise(len, 7)).await.unwrap();
        let shown = app.send(Method::GET, "data", "k", &[("uploadId", &id)], &[], None).await.unwrap().text();
        let etags = elements(&shown, "ETag").into_iter().map(|etag| etag.replace("&quot;", "\""));
        let listed: Vec<_> = (1..).zip(etags).collect();
        assert_eq!(listed.len(), number as usize);
        part(&app, upload, number, noise(len, 8)).await.unwrap();
        assert_eq!(complete(&app, upload, &listed).await.unwrap_err(), invalid, "{number}");
    }
    assert_eq!(app.head("data", "k").await.unwrap_err().0, 404);
}

/// Who takes ETags from ListParts has no tag that tells one attempt from another: the store's ETag must.
#[tokio::test(flavor = "multi_thread")]
async fn a_staged_part_without_its_tag_that_is_replaced_within_complete_completes_nothing() {
    let lied = Lied::new().await;
    let app = lied.app();
    let id = create(&app, "data", "k", &[]).await;
    part(&app, ("data", "k", &id), 1, noise(1000, 1)).await.unwrap();
    let shown = app.send(Method::GET, "data", "k", &[("uploadId", &id)], &[], None).await.unwrap().text();
    let parts = [(1, elements(&shown, "ETag").remove(0).replace("&quot;", "\""))];
    let replaced = Arc::new(AtomicBool::new(false));
    let (flag, rig_app, upload) = (Arc::clone(&replaced), lied.rig.app(), id.clone());
    let handle = tokio::runtime::Handle::current();
    lied.liar.lies(move |asked, _| {
        // between the list of what waits and the GET of it
        if asked.query.contains("list-type") && !flag.swap(true, Ordering::SeqCst) {
            let (client, id) = (Client(Arc::clone(&rig_app.0)), upload.clone());
            let again = async move { part(&client, ("data", "k", &id), 1, noise(1000, 2)).await.unwrap() };
            tokio::task::block_in_place(|| handle.block_on(again));
        }
    });
    let refused = complete(&app, ("data", "k", &id), &parts).await.unwrap_err();
    assert_eq!(refused, (400, "InvalidPart".to_owned()));
    assert!(replaced.load(Ordering::SeqCst));
    assert_eq!(app.head("data", "k").await.unwrap_err().0, 404);
}

/// S3 answers 200 before it knows how a Complete ends: an error may stand in the document.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_within_a_200_of_complete_confirms_nothing_and_loses_nothing() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", "an older object").await.unwrap();
    let (id, parts) = two_parts(&app).await;
    let is_complete = |asked: &Asked| asked.method == Method::POST && asked.query.contains("uploadId");
    lied.liar.edits(move |asked, _| {
        if is_complete(asked) {
            // the honest provider refuses what its signature does not fit
            asked.query.push_str("&x=1");
        }
    });
    lied.liar.lies(move |asked, told| {
        if is_complete(asked) {
            told.status = StatusCode::OK;
            told.body = b"<Error><Code>InternalError</Code><Message>x</Message></Error>".to_vec();
        }
    });
    let (status, _) = complete(&app, ("data", "k", &id), &parts).await.unwrap_err();
    assert!(status >= 500, "{status}");
    assert!(lied.rig.stored("up-data").await.keys().any(|key| key.starts_with(".sealgate/u/")), "the state is kept");
    assert_eq!(app.get("data", "k").await.unwrap().body, "an older object");
    lied.liar.tells_the_truth();
    complete(&app, ("data", "k", &id), &parts).await.unwrap();
    assert_eq!(app.get("data", "k").await.unwrap().body.len(), 10 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_of_another_upload_or_key_is_refused() {
    let lied = Lied::new().await;
    let (app, provider) = (lied.app(), lied.rig.provider_client());
    let first = create(&app, "data", "one", &[]).await;
    let state = lied.rig.stored("up-data").await.keys().next().unwrap().clone();
    let bytes = provider.get("up-data", &state).await.unwrap().body;
    provider.delete("up-data", &state).await.unwrap();
    let second = create(&app, "data", "two", &[]).await;
    let other = lied.rig.stored("up-data").await.keys().next().unwrap().clone();
    provider.put("up-data", &other, bytes).await.unwrap();
    assert!(integrity(part(&app, ("data", "two", &second), 1, "x").await));
    // nor is that of an earlier upload to the same key
    let third = create(&app, "data", "two", &[]).await;
    let stored = lied.rig.stored("up-data").await;
    let newest = stored.keys().find(|key| **key != other).unwrap().clone();
    provider.delete("up-data", &other).await.unwrap();
    let fourth = create(&app, "data", "two", &[]).await;
    let stored = lied.rig.stored("up-data").await;
    let last = stored.keys().find(|key| **key != newest).unwrap().clone();
    let bytes = provider.get("up-data", &newest).await.unwrap().body;
    provider.put("up-data", &last, bytes).await.unwrap();
    assert!(integrity(part(&app, ("data", "two", &fourth), 1, "x").await));
    part(&app, ("data", "two", &third), 1, "x").await.unwrap();
    // and one that is missing is not "no such upload"
    assert_eq!(part(&app, ("data", "one", &first), 1, "x").await.unwrap_err().0, 503);
    assert_eq!(complete(&app, ("data", "one", &first), &[(1, "\"x\"".to_owned())]).await.unwrap_err().0, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_id_that_is_given_twice_makes_no_second_upload() {
    let lied = Lied::new().await;
    let app = lied.app();
    let first = create(&app, "data", "k", &[]).await;
    let id = first.clone();
    lied.liar.lies(move |asked, told| {
        if asked.query.starts_with("uploads") && asked.method == Method::POST {
            let text = String::from_utf8(told.body.clone()).unwrap();
            let new = elements(&text, "UploadId").remove(0);
            told.body = text.replace(&new, &id).into_bytes();
        }
    });
    let again = app.send(Method::POST, "data", "k", &[("uploads", "")], &[], Some("".into())).await;
    assert_eq!(again.unwrap_err().0, 503);
    // the keys under the first are still those that it began with, or it is gone: never others
    lied.liar.tells_the_truth();
    let late = part(&app, ("data", "k", &first), 1, noise(100, 1)).await;
    assert!(late.is_ok() || late.unwrap_err().1 == "NoSuchUpload");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_sent_again_never_repeats_a_ciphertext() {
    let lied = Lied::new().await;
    let app = lied.app();
    let id = create(&app, "data", "k", &[]).await;
    let mut seen = std::collections::HashSet::new();
    for round in 0..100u64 {
        let body = noise(64, round % 2);
        part(&app, ("data", "k", &id), 1, body).await.unwrap();
        let staged = lied.rig.stored("up-data").await;
        let key = staged.keys().find(|key| key.starts_with(".sealgate/s/")).unwrap().clone();
        let stored = lied.rig.provider_client().get("up-data", &key).await.unwrap().body;
        // the salt, and with it key and nonce, is in the head
        assert!(seen.insert(stored[16..40].to_vec()), "{round}");
        assert!(seen.insert(stored[72..].to_vec()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_parts_that_lies_about_sizes_completes_nothing_that_is_wrong() {
    let lied = Lied::new().await;
    let app = lied.app();
    let id = create(&app, "data", "k", &[]).await;
    for number in 1..=2 {
        part(&app, ("data", "k", &id), number, noise(5 * MIB, u64::from(number))).await.unwrap();
    }
    let shown = app.send(Method::GET, "data", "k", &[("uploadId", &id)], &[], None).await.unwrap().text();
    let etags = elements(&shown, "ETag").into_iter().map(|etag| etag.replace("&quot;", "\""));
    let parts: Vec<_> = (1..).zip(etags).collect();
    lied.liar.lies(|asked, told| {
        if asked.query.contains("uploadId") && asked.method == Method::GET {
            let text = String::from_utf8(told.body.clone()).unwrap();
            let size = elements(&text, "Size").remove(0);
            told.body = text.replacen(&size, &(size.parse::<u64>().unwrap() + 1).to_string(), 1).into_bytes();
        }
    });
    let done = complete(&app, ("data", "k", &id), &parts).await;
    assert!(done.is_err());
    lied.liar.tells_the_truth();
    let read = app.get("data", "k").await;
    assert!(read.is_err(), "what was completed with a lie is not served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_the_copy_condition_is_caught() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "src", noise(5000, 1)).await.unwrap();
    app.put("data", "evil", noise(5000, 2)).await.unwrap();
    let evil = lied.rig.provider_client().get("up-data", "evil").await.unwrap().body;
    // the copy holds another body of the same length
    lied.liar.lies(move |asked, told| {
        if asked.is("GET", "/up-data/dst") {
            let start = evil.len() - told.body.len();
            told.body = evil[start..].to_vec();
        }
    });
    let copied = app.send(Method::PUT, "data", "dst", &[], &[("x-amz-copy-source", "data/src")], Some("".into())).await;
    assert!(integrity(copied));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_upstream_times_out_and_others_are_served() {
    let plan = Plan {
        upstream_timeouts: sealgate::store::settings::UpstreamTimeouts {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_millis(300),
            idle: Duration::from_millis(300),
        },
        ..Plan::default()
    };
    let lied = Lied::with(plan).await;
    let app = lied.app();
    app.put("data", "slow", "x").await.unwrap();
    app.put("data", "fast", "y").await.unwrap();
    lied.liar.lies(|asked, told| {
        if asked.path.ends_with("slow") {
            told.delay = Duration::from_secs(20);
        }
    });
    let (slow, fast) = tokio::join!(app.get("data", "slow"), app.get("data", "fast"));
    assert_eq!(slow.unwrap_err().0, 503);
    assert_eq!(fast.unwrap().body, "y");
}

/// All forms in which a word could stand somewhere.
fn forms(word: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = word.iter().map(|b| format!("{b:02x}")).collect();
    let percent: String = word.iter().map(|b| format!("%{b:02X}")).collect();
    vec![word.to_vec(), hex.clone().into_bytes(), hex.to_ascii_uppercase().into_bytes(), percent.into_bytes()]
}

/// Digests of a plaintext, raw, hexadecimal and base64.
fn digest_forms(plaintext: &[u8]) -> Vec<Vec<u8>> {
    use sealgate::digest::{ChecksumAlgorithm, checksum};
    let coder = base64::engine::general_purpose::STANDARD;
    let strong =
        [ChecksumAlgorithm::Md5, ChecksumAlgorithm::Sha1, ChecksumAlgorithm::Sha256, ChecksumAlgorithm::Crc64Nvme];
    strong
        .into_iter()
        .flat_map(|algorithm| {
            let value = checksum(algorithm, plaintext);
            let mut all = forms(value.as_bytes());
            all.push(coder.encode(value.as_bytes()).into_bytes());
            all
        })
        .chain(
            [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c]
                .into_iter()
                .map(|algorithm| coder.encode(checksum(algorithm, plaintext).as_bytes()).into_bytes()),
        )
        .collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_the_store_sees_holds_no_plaintext_metadata_type_or_digest() {
    let lied = Lied::new().await;
    let app = lied.app();
    let marker = b"MARKER-of-plaintext-0123456789".repeat(9);
    let large: Vec<u8> = marker.iter().copied().cycle().take(5 * MIB + 100).collect();
    let b64 = |algorithm, bytes: &[u8]| {
        base64::engine::general_purpose::STANDARD.encode(sealgate::digest::checksum(algorithm, bytes).as_bytes())
    };
    use sealgate::digest::ChecksumAlgorithm::{Crc32, Md5, Sha256};
    let headers = [
        ("content-type", "x-secret/x-confidential"),
        ("content-disposition", "attachment; filename=\"payroll-list.txt\""),
        ("x-amz-meta-department", "mergers-and-acquisitions"),
        ("cache-control", "private, max-age=8642"),
        ("content-language", "tlh-klingon"),
    ];
    for algorithm in [("content-md5", Md5), ("x-amz-checksum-sha256", Sha256), ("x-amz-checksum-crc32", Crc32)] {
        let value = b64(algorithm.1, &marker);
        let mut all = headers.to_vec();
        all.push((algorithm.0, &value));
        app.put_with("data", "k", &all, marker.clone()).await.unwrap();
    }
    app.get("data", "k").await.unwrap();
    app.get_with("data", "k", &[("range", "bytes=5-20")]).await.unwrap();
    app.head("data", "k").await.unwrap();
    app.list("data", &[("list-type", "2")]).await.unwrap();
    for bucket in ["other", "second"] {
        let copy = [("x-amz-copy-source", "data/k")];
        app.send(Method::PUT, bucket, "copied", &[], &copy, Some("".into())).await.unwrap();
    }
    let mut declared = headers.to_vec();
    declared.push(("x-amz-checksum-algorithm", "CRC32"));
    let id = create(&app, "data", "multi", &declared).await;
    let mut parts = Vec::new();
    for (number, body) in [(1, &large), (2, &marker)] {
        let value = b64(Crc32, body);
        let text = number.to_string();
        let query = [("partNumber", text.as_str()), ("uploadId", &id)];
        let sums = [("x-amz-checksum-crc32", value.as_str())];
        let sent = app.send(Method::PUT, "data", "multi", &query, &sums, Some(body.clone().into())).await.unwrap();
        parts.push((number, sent.etag()));
    }
    complete(&app, ("data", "multi", &id), &parts).await.unwrap();
    app.get("data", "multi").await.unwrap();
    app.delete("data", "k").await.unwrap();

    let seen = lied.liar.seen.lock().unwrap().clone();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("seen"), &seen).unwrap();
    let mut words: Vec<&[u8]> = vec![&marker];
    for (_, value) in &headers {
        words.push(value.as_bytes());
    }
    assert_eq!(find_leak(folder.path(), &words).unwrap(), Ok(seen.len() as u64));
    for word in [&b"department"[..], b"x-amz-checksum-crc32: ", b"x-amz-checksum-sha256: ", b"tlh-kli", b"max-age"] {
        assert!(!contains(&seen, word), "{}", String::from_utf8_lossy(word));
    }
    for plaintext in [&marker, &large] {
        for form in digest_forms(plaintext) {
            assert!(!contains(&seen, &form));
        }
    }
    // the hunt finds what is there
    let raw = lied.rig.provider_client().put("up-data", "plain", marker.clone()).await;
    raw.unwrap();
    lied.liar.lies(|_, _| {});
    let through = Client::new(lied._listening.address, "PROVIDER", "secret of PROVIDER");
    through.get("up-data", "plain").await.unwrap();
    let seen = lied.liar.seen.lock().unwrap().clone();
    std::fs::write(folder.path().join("seen"), &seen).unwrap();
    assert!(find_leak(folder.path(), &words).unwrap().is_err(), "the negative control");
}
