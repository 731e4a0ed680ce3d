//! The gateway's identity at a store, as a token service, an agent or a program issues it: fakes of all of them on loopback.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode};
use sealgate::clock::{Clock as _, SystemClock, Timestamp};
use sealgate::net::body::{self, Body};
use sealgate::net::server::{Handler, Peer, ServerSettings};
use sealgate::sigv4::uri::Query;
use sealgate::store::identity::{Issuer, Origin, Source};
use sealgate::store::settings::{Addressing, Profile, UpstreamSettings, UpstreamTimeouts};
use sealgate::store::{Identity, Payload, StoreError, StoreRequest, Upstream};

use super::rig::Server;

/// Issues credentials that hold for a while, and is the store that they are for.
#[derive(Default)]
struct Fake {
    /// How many were issued, and when each ends.
    issued: AtomicU32,
    ends: Mutex<HashMap<String, u64>>,
    life_millis: AtomicU32,
    is_down: AtomicBool,
    /// Refuses what it issued, whatever the time.
    revoked: AtomicBool,
    /// How long it takes to issue some.
    slow_millis: AtomicU32,
    questions: Mutex<Vec<(Method, String, String)>>,
}

impl Fake {
    async fn start(life: Duration) -> (Arc<Self>, Server) {
        let fake = Arc::new(Self::default());
        fake.life_millis.store(u32::try_from(life.as_millis()).unwrap(), Ordering::Relaxed);
        let server = Server::start(Arc::clone(&fake), ServerSettings::default()).await;
        (fake, server)
    }

    /// New credentials: number and end, with milliseconds as some services write it.
    fn issue(&self) -> (u32, String) {
        let number = self.issued.fetch_add(1, Ordering::Relaxed) + 1;
        let until = SystemClock.now().unix_millis() + u64::from(self.life_millis.load(Ordering::Relaxed));
        self.ends.lock().unwrap().insert(format!("token{number}"), until);
        let text = Timestamp::from_unix_millis(until).to_string();
        (number, text.replace('Z', &format!(".{:03}Z", until % 1000)))
    }

    fn json(&self, token: &str, more: &str) -> String {
        let (n, until) = self.issue();
        format!(
            "{{{more}\"AccessKeyId\":\"AK{n}\",\"SecretAccessKey\":\"secret{n}\",\"{token}\":\"token{n}\",\"Expiration\":\"{until}\"}}"
        )
    }

    fn answer(&self, method: &Method, path: &str, headers: &http::HeaderMap, form: &str) -> (StatusCode, String) {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let folder = "/latest/meta-data/iam/security-credentials/";
        if path == "/bucket" {
            let token = header("x-amz-security-token");
            let until = self.ends.lock().unwrap().get(token).copied().unwrap_or(0);
            let is_of = header("authorization").contains(&format!("Credential={}/", token.replace("token", "AK")));
            let is_good = SystemClock.now().unix_millis() < until && is_of && !self.revoked.load(Ordering::Relaxed);
            return if is_good {
                (StatusCode::OK, String::new())
            } else {
                (StatusCode::FORBIDDEN, "<Error><Code>ExpiredToken</Code></Error>".to_owned())
            };
        }
        if self.is_down.load(Ordering::Relaxed) {
            return (StatusCode::SERVICE_UNAVAILABLE, "secret text of the service".to_owned());
        }
        match (method.as_str(), path) {
            ("POST", "/sts") if form.contains("WebIdentityToken=a%20token%2Fof%3Dours") => {
                let (n, until) = self.issue();
                let credentials = format!(
                    "<AccessKeyId>AK{n}</AccessKeyId><SecretAccessKey>secret{n}</SecretAccessKey>\
                     <SessionToken>token{n}</SessionToken><Expiration>{until}</Expiration>"
                );
                let result = format!(
                    "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                     <AssumeRoleWithWebIdentityResult><Credentials>{credentials}</Credentials>\
                     </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
                );
                (StatusCode::OK, result)
            }
            ("GET", "/container") if header("authorization") == "a token/of=ours" => {
                (StatusCode::OK, self.json("Token", ""))
            }
            ("PUT", "/latest/api/token") if headers.contains_key("x-aws-ec2-metadata-token-ttl-seconds") => {
                (StatusCode::OK, "session".to_owned())
            }
            ("GET", _) if header("x-aws-ec2-metadata-token") != "session" => (StatusCode::UNAUTHORIZED, String::new()),
            ("GET", path) if path == folder => (StatusCode::OK, "the-role\n".to_owned()),
            ("GET", path) if path == format!("{folder}the-role") => {
                (StatusCode::OK, self.json("Token", "\"Code\":\"Success\","))
            }
            _ => (StatusCode::NOT_FOUND, String::new()),
        }
    }
}

impl Handler for Fake {
    async fn handle(&self, request: Request<Body>, _: Peer) -> Response<Body> {
        let (head, body) = request.into_parts();
        let form = body::collect(body, 1 << 16).await.unwrap_or_default();
        let form = String::from_utf8_lossy(&form).into_owned();
        let (status, text) = self.answer(&head.method, head.uri.path(), &head.headers, &form);
        if head.uri.path() != "/bucket" {
            tokio::time::sleep(Duration::from_millis(self.slow_millis.load(Ordering::Relaxed).into())).await;
            self.questions.lock().unwrap().push((head.method, head.uri.path().to_owned(), form));
        }
        let mut response = Response::new(body::full(bytes::Bytes::from(text)));
        *response.status_mut() = status;
        response
    }
}

fn upstream(address: std::net::SocketAddr, origin: Origin) -> Upstream {
    upstream_of(address, origin, 64)
}

fn upstream_of(address: std::net::SocketAddr, origin: Origin, max_requests: u32) -> Upstream {
    let settings = UpstreamSettings {
        name: "main".to_owned(),
        endpoint: format!("http://{address}").parse().unwrap(),
        region: "us-east-1".to_owned(),
        profile: Profile::Generic,
        addressing: Addressing::Path,
        credentials: Issuer::new(Source::Asked(origin)),
        ca: None,
        proxy: None,
        timeouts: UpstreamTimeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(20),
            idle: Duration::from_secs(5),
        },
        max_requests,
        checksums: false,
    };
    Upstream::new(settings, Arc::new(SystemClock)).unwrap()
}

async fn ask(upstream: &Upstream) -> Result<(), StoreError> {
    ask_as(upstream, Identity::Own).await
}

async fn ask_as(upstream: &Upstream, identity: Identity<'_>) -> Result<(), StoreError> {
    let request = StoreRequest {
        method: Method::GET,
        bucket: Some("bucket"),
        key: None,
        query: Query::default(),
        headers: http::HeaderMap::new(),
        body: Payload::Empty,
        identity,
        trace: None,
    };
    upstream.send(request).await.map(drop)
}

/// Every origin, all of the same fake.
fn origins(folder: &Path, address: std::net::SocketAddr) -> Vec<(&'static str, Origin)> {
    let token_file = folder.join("token");
    fs::write(&token_file, "a token/of=ours\n").unwrap();
    let at = |path: &str| format!("http://{address}{path}").parse().unwrap();
    vec![
        (
            "web identity",
            Origin::WebIdentity {
                endpoint: at("/sts"),
                role_arn: "arn:aws:iam::123456789012:role/sealgate".to_owned(),
                token_file: token_file.clone(),
                session_name: "sealgate".to_owned(),
            },
        ),
        ("container", Origin::Container { endpoint: at("/container"), token_file: Some(token_file) }),
        ("instance", Origin::Instance { endpoint: at(""), role: None }),
        ("instance with a role", Origin::Instance { endpoint: at(""), role: Some("the-role".to_owned()) }),
    ]
}

/// Asks the store for 5 s while credentials hold for 3.
async fn under_load(index: usize) {
    let folder = tempfile::tempdir().unwrap();
    let (fake, server) = Fake::start(Duration::from_secs(3)).await;
    let (name, origin) = origins(folder.path(), server.address).remove(index);
    let upstream = Arc::new(upstream(server.address, origin));
    let until = Instant::now() + Duration::from_secs(5);
    let ask_on = |upstream: Arc<Upstream>| async move {
        let mut count = 0;
        while Instant::now() < until {
            ask(&upstream).await?;
            count += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok::<u32, StoreError>(count)
    };
    let tasks: Vec<_> = (0..8).map(|_| tokio::spawn(ask_on(Arc::clone(&upstream)))).collect();
    for task in tasks {
        assert!(task.await.unwrap().unwrap_or_else(|error| panic!("{name}: {error}")) > 10);
    }
    // one asks for all
    let issued = fake.issued.load(Ordering::Relaxed);
    assert!((2..=5).contains(&issued), "{name}: {issued} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_exchanged_under_load_without_a_failed_request() {
    tokio::join!(under_load(0), under_load(1), under_load(2), under_load(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_away_is_borne_as_long_as_credentials_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (fake, server) = Fake::start(Duration::from_secs(4)).await;
    let upstream = upstream(server.address, origins(folder.path(), server.address).remove(1).1);
    ask(&upstream).await.unwrap();
    fake.is_down.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(2800)).await;
    // old, and none newer to be had
    ask(&upstream).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let error = ask(&upstream).await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(matches!(error, StoreError::NoCredentials(_)) && told.contains("answers 503"), "{told}");
    assert!(!told.contains("secret"));
    // many who fail ask once
    let asked = fake.questions.lock().unwrap().len();
    for _ in 0..20 {
        ask(&upstream).await.unwrap_err();
    }
    assert!(fake.questions.lock().unwrap().len() <= asked + 1);
    fake.is_down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    ask(&upstream).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_credentials_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    // such as end at once
    let (_, server) = Fake::start(Duration::from_millis(500)).await;
    for (name, origin) in origins(folder.path(), server.address) {
        let upstream = upstream(server.address, origin);
        assert!(matches!(ask(&upstream).await, Err(StoreError::NoCredentials(_))), "{name}");
    }
    // a token that is another's, or none
    let (fake, server) = Fake::start(Duration::from_mins(1)).await;
    let all = origins(folder.path(), server.address);
    fs::write(folder.path().join("token"), "another").unwrap();
    for (name, origin) in all.iter().take(2).cloned() {
        assert!(matches!(ask(&upstream(server.address, origin)).await, Err(StoreError::NoCredentials(_))), "{name}");
    }
    fs::remove_file(folder.path().join("token")).unwrap();
    for (name, origin) in all.into_iter().take(2) {
        assert!(matches!(ask(&upstream(server.address, origin)).await, Err(StoreError::NoCredentials(_))), "{name}");
    }
    assert_eq!(fake.issued.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_prints_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let (fake, server) = Fake::start(Duration::from_mins(1)).await;
    let script = |text: &str| {
        let path = folder.path().join("helper");
        fs::write(&path, format!("{text}\n")).unwrap();
        let path = path.to_str().unwrap().to_owned();
        Origin::Process(vec!["/bin/sh".to_owned(), path, "an argument; with `more`".to_owned()])
    };
    let good = fake.json("SessionToken", "\"Version\":1,");
    let origin = script(&format!("[ \"$1\" = 'an argument; with `more`' ] && cat <<'E'\n{good}\nE"));
    let by = |origin: Origin| upstream(server.address, origin);
    ask(&by(origin)).await.unwrap();
    let endless = "printf '{\"Version\":1,\"AccessKeyId\":\"%s\"}' $(head -c 100000 /dev/zero | tr '\\0' a)".to_owned();
    for text in [
        "exit 1".to_owned(),
        format!("cat <<'E'\n{good}\nE\nexit 3"),
        "echo secret; echo secret >&2".to_owned(),
        format!("cat <<'E'\n{}\nE", good.replace("\"Version\":1,", "")),
        format!("cat <<'E'\n{}\nE", good.replace("\"Expiration\":\"2", "\"Expiration\":\"soon 2")),
        format!("cat <<'E'\n{}\nE", good.replace("\"Expiration\":\"2", "\"Expiration\":\"1")),
        endless,
    ] {
        let error = ask(&by(script(&text))).await.unwrap_err();
        assert!(matches!(error, StoreError::NoCredentials(_)), "{text}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    let missing = Origin::Process(vec!["/nowhere/helper".to_owned()]);
    assert!(matches!(ask(&by(missing)).await, Err(StoreError::NoCredentials(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_is_replaced_but_not_at_every_request() {
    let folder = tempfile::tempdir().unwrap();
    let (fake, server) = Fake::start(Duration::from_mins(1)).await;
    let upstream = upstream(server.address, origins(folder.path(), server.address).remove(1).1);
    ask(&upstream).await.unwrap();
    fake.revoked.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        assert!(matches!(ask(&upstream).await, Err(StoreError::Credentials)));
    }
    assert_eq!(fake.issued.load(Ordering::Relaxed), 1, "what is new is not replaced");
    tokio::time::sleep(Duration::from_secs(10)).await;
    for _ in 0..20 {
        assert!(matches!(ask(&upstream).await, Err(StoreError::Credentials)));
    }
    assert_eq!(fake.issued.load(Ordering::Relaxed), 2);
    fake.revoked.store(false, Ordering::Relaxed);
    ask(&upstream).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_to_its_end_though_its_request_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (fake, server) = Fake::start(Duration::from_mins(1)).await;
    let upstream = upstream(server.address, origins(folder.path(), server.address).remove(1).1);
    fake.slow_millis.store(800, Ordering::Relaxed);
    // no client waits as long as the service takes
    for _ in 0..12 {
        if tokio::time::timeout(Duration::from_millis(200), ask(&upstream)).await.is_ok_and(|done| done.is_ok()) {
            assert_eq!(fake.issued.load(Ordering::Relaxed), 1);
            return;
        }
    }
    panic!("asked {} times, and never done", fake.issued.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_is_used_until_there_is_better() {
    let folder = tempfile::tempdir().unwrap();
    let (fake, server) = Fake::start(Duration::from_mins(1)).await;
    let upstream = upstream(server.address, origins(folder.path(), server.address).remove(1).1);
    ask(&upstream).await.unwrap();
    tokio::time::sleep(Duration::from_millis(10_100)).await;
    fake.is_down.store(true, Ordering::Relaxed);
    fake.revoked.store(true, Ordering::Relaxed);
    assert!(matches!(ask(&upstream).await, Err(StoreError::Credentials)));
    fake.revoked.store(false, Ordering::Relaxed);
    // the store was wrong, and nobody issues others
    ask(&upstream).await.unwrap();
    fake.is_down.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(2100)).await;
    ask(&upstream).await.unwrap();
    assert_eq!(fake.issued.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_credentials_takes_no_place_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let (fake, server) = Fake::start(Duration::from_mins(1)).await;
    let upstream = Arc::new(upstream_of(server.address, origins(folder.path(), server.address).remove(1).1, 1));
    ask(&upstream).await.unwrap();
    fake.slow_millis.store(20_000, Ordering::Relaxed);
    let hanging = Issuer::new(Source::Asked(origins(folder.path(), server.address).remove(2).1));
    let waits = tokio::spawn({
        let upstream = Arc::clone(&upstream);
        async move { ask_as(&upstream, Identity::Of(&hanging)).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    tokio::time::timeout(Duration::from_secs(3), ask(&upstream)).await.expect("the place is taken").unwrap();
    waits.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_leaves_others_behind_is_not_waited_for() {
    let (fake, server) = Fake::start(Duration::from_mins(1)).await;
    let good = fake.json("SessionToken", "\"Version\":1,");
    let script = format!("sleep 30 & printf '%s' '{good}'");
    let upstream = upstream(server.address, Origin::Process(vec!["/bin/sh".to_owned(), "-c".to_owned(), script]));
    tokio::time::timeout(Duration::from_secs(8), ask(&upstream)).await.expect("it is waited for").unwrap();
}
