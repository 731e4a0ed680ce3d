//! The whole gateway, as a process of its own, between signed clients and an in-memory store on loopback; beside it, in
//! the same interleaved run, nginx as a plain reverse proxy with large and with default buffers, where it is installed.
//!
//!     cargo bench --bench gateway               five rounds of three seconds per cell
//!     cargo bench --bench gateway -- 4 KiB      the same, of the cells whose name has one of these words
//!     cargo bench --bench gateway -- --test     a smoke run
//!     cargo bench --bench gateway -- --memory   64 transfers of 1 GiB at once, in each direction: what memory they take
//!     SEALGATE_OTHER=PATH cargo bench …         another build of the program beside this one, in the same run
//!
//! Beside them stands a relay, the gateway's own server and client with nothing between: what sealing costs is the difference.
//!
//! What counts is CPU time **of the proxy's processes**, from /proc: seconds per GB, microseconds per request. On a shared
//! machine only ratios within one run mean something. Clients and store run in this process and are not counted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, missing_docs)]
#![allow(clippy::too_many_lines, clippy::type_complexity)]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use sealgate::clock::{Clock, SystemClock, Timestamp};
use sealgate::crypto::random::RandomSource;
use sealgate::crypto::wrap::WrapAlg;
use sealgate::embedded::face::Face;
use sealgate::embedded::{Durability, Options, Store};
use sealgate::keys::keyring::{Argon2Params, Keyring, KeyringFile, Readiness};
use sealgate::keys::recovery::{KitForm, RecoverySecret};
use sealgate::net::body::{self, Body};
use sealgate::net::client::{Client, ClientSettings};
use sealgate::net::server::{Handler, Peer, ServerSettings, ServerStats, serve};
use sealgate::net::tls::{ServerTls, server_config};
use sealgate::s3::xml::{InitiateMultipartUploadResult, KeyEncoding, ListBucketResult, ListedObject, Page};
use sealgate::secret::Secret;
use sealgate::sigv4::AccessKeyId;
use sealgate::sigv4::uri::Query;
use sealgate::store::settings::{Addressing, Credentials, Profile, UpstreamSettings, UpstreamTimeouts};
use sealgate::store::{Identity, Payload, StoreRequest, Upstream};
use zeroize::Zeroizing;

const MIB: usize = 1 << 20;

/// The store: objects in memory; what is put under `sink` is read and thrown away.
#[derive(Default)]
struct Origin {
    objects: Mutex<HashMap<String, (HeaderMap, Bytes)>>,
    requests: AtomicU64,
}

impl Origin {
    fn answer(status: u16, text: String) -> Response<Body> {
        Response::builder().status(status).body(body::full(text)).unwrap()
    }
}

impl Handler for Origin {
    async fn handle(&self, request: Request<Body>, _: Peer) -> Response<Body> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (head, mut body) = request.into_parts();
        let (path, query) = (head.uri.path().to_owned(), head.uri.query().unwrap_or_default());
        if query.contains("list-type") {
            let contents = (0..1000).map(|i| ListedObject {
                key: format!("some/folder/object-{i:06}.parquet"),
                last_modified: Timestamp::from_unix_millis(1_764_000_000_000),
                etag: "\"0123456789abcdef0123456789abcdef\"".to_owned(),
                size: 4_735_512,
                storage_class: Some("STANDARD".to_owned()),
                owner: None,
            });
            let result = ListBucketResult {
                name: "b".to_owned(),
                prefix: String::new(),
                prefix_as_text: None,
                delimiter: None,
                max_keys: 1000,
                is_truncated: false,
                encoding: KeyEncoding::Url,
                page: Page::V2 {
                    key_count: 1000,
                    continuation_token: None,
                    next_continuation_token: None,
                    start_after: None,
                },
                contents: contents.collect(),
                common_prefixes: Vec::new(),
            };
            return Self::answer(200, result.to_xml());
        }
        if head.method == Method::PUT {
            let is_sink = path.contains("sink");
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.unwrap().into_data() else { continue };
                if !is_sink {
                    bytes.extend_from_slice(&data);
                }
            }
            let mut kept = HeaderMap::new();
            if let Some(envelope) = head.headers.get("x-amz-meta-sealgate") {
                kept.insert("x-amz-meta-sealgate", envelope.clone());
            }
            if !is_sink {
                self.objects.lock().unwrap().insert(path, (kept, bytes.into()));
            }
            return Response::builder().header("etag", "\"e-1\"").body(body::empty()).unwrap();
        }
        let found = self.objects.lock().unwrap().get(&path).cloned();
        let Some((kept, bytes)) = found else { return Self::answer(404, String::new()) };
        let range = head.headers.get("range").and_then(|r| r.to_str().ok()?.strip_prefix("bytes=").map(str::to_owned));
        let total = bytes.len();
        let (slice, status, shown) = match range.as_deref().and_then(|r| r.split_once('-')) {
            None => (bytes, StatusCode::OK, None),
            Some(("", n)) => {
                let start = total - n.parse::<usize>().unwrap().min(total);
                (bytes.slice(start..), StatusCode::PARTIAL_CONTENT, Some((start, total)))
            }
            Some((a, b)) => {
                let start: usize = a.parse().unwrap();
                let end = b.parse::<usize>().map_or(total, |b| (b + 1).min(total));
                (bytes.slice(start..end), StatusCode::PARTIAL_CONTENT, Some((start, end)))
            }
        };
        let mut response =
            Response::builder().status(status).header("etag", "\"e-1\"").header("content-length", slice.len());
        if let Some((start, end)) = shown {
            response = response.header("content-range", format!("bytes {start}-{}/{total}", end - 1));
        }
        let is_head = head.method == Method::HEAD;
        let mut response = response.body(if is_head { body::empty() } else { body::full(slice) }).unwrap();
        response.headers_mut().extend(kept);
        response
    }
}

/// A proxy that is measured.
struct Proxy {
    name: &'static str,
    bucket: &'static str,
    /// Before the store in memory, in the clear.
    address: SocketAddr,
    /// Before the same over TLS: the address and the bucket.
    over_tls: Option<(SocketAddr, &'static str)>,
    /// Before the embedded store.
    embedded: Option<(SocketAddr, &'static str)>,
    child: Child,
}

impl Proxy {
    fn way(&self, to: To) -> Option<(SocketAddr, &'static str)> {
        match to {
            To::Memory => Some((self.address, self.bucket)),
            To::Tls => self.over_tls,
            To::Embedded => self.embedded,
        }
    }
}

/// The stores that a proxy stands before.
#[derive(Clone, Copy)]
struct Stores<'a> {
    memory: SocketAddr,
    tls: SocketAddr,
    ca: &'a Path,
    embedded: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx's workers outlive a master that is killed outright
        let _ =
            rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The process and its children.
fn family(root: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{root}/task/{root}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    std::iter::once(root).chain(children).collect()
}

fn cpu_seconds(root: u32) -> f64 {
    let ticks = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let rest: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let field = |i: usize| rest.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default();
        field(11) + field(12)
    };
    family(root).into_iter().map(ticks).sum::<f64>() / 100.0
}

/// Resident memory: `VmRSS` now, `VmHWM` at its peak, which may have been the keyring's key derivation.
fn resident_mib(root: u32, which: &str) -> f64 {
    let peak = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap_or_default().to_owned();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or_default() / 1024.0
    };
    family(root).into_iter().map(peak).sum()
}

fn client(address: SocketAddr) -> Arc<Upstream> {
    let settings = UpstreamSettings {
        name: "client".to_owned(),
        endpoint: format!("http://{address}").parse().unwrap(),
        region: "us-east-1".to_owned(),
        profile: Profile::Generic,
        addressing: Addressing::Path,
        credentials: Credentials {
            access_key_id: "AKBENCH".to_owned(),
            secret: Arc::new(Secret::from_text(&Zeroizing::new("secret of the bench".to_owned()))),
            session_token: None,
        }
        .into(),
        ca: None,
        proxy: None,
        timeouts: UpstreamTimeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_mins(1),
            idle: Duration::from_mins(1),
        },
        max_requests: 256,
        checksums: false,
    };
    Arc::new(Upstream::new(settings, Arc::new(SystemClock)).unwrap())
}

/// Which store a request is meant for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Memory,
    Tls,
    Embedded,
}

/// One kind of request.
#[derive(Clone, Copy)]
struct Workload {
    name: &'static str,
    method: &'static str,
    key: &'static str,
    size: usize,
    connections: usize,
    per_request: bool,
    to: To,
}

/// How many parts an upload has.
const PARTS: usize = 4;
const UPLOAD: &str = "multipart 4 × 50 MiB";

const WORKLOADS: [Workload; 10] = [
    Workload {
        name: "GET 64 MiB",
        method: "GET",
        key: "64m",
        size: 64 * MIB,
        connections: 4,
        per_request: false,
        to: To::Memory,
    },
    Workload {
        name: "PUT 64 MiB",
        method: "PUT",
        key: "sink",
        size: 64 * MIB,
        connections: 4,
        per_request: false,
        to: To::Memory,
    },
    Workload {
        name: "PUT 1 MiB",
        method: "PUT",
        key: "sink",
        size: MIB,
        connections: 8,
        per_request: false,
        to: To::Memory,
    },
    Workload {
        name: "GET 4 KiB",
        method: "GET",
        key: "4k",
        size: 4096,
        connections: 16,
        per_request: true,
        to: To::Memory,
    },
    Workload {
        name: "PUT 4 KiB",
        method: "PUT",
        key: "sink",
        size: 4096,
        connections: 16,
        per_request: true,
        to: To::Memory,
    },
    Workload {
        name: "range 64 KiB",
        method: "RANGE",
        key: "64m",
        size: 65_536,
        connections: 8,
        per_request: true,
        to: To::Memory,
    },
    Workload { name: "LIST 1000", method: "LIST", key: "", size: 0, connections: 4, per_request: true, to: To::Memory },
    Workload {
        name: "GET 64 MiB, TLS",
        method: "GET",
        key: "64m",
        size: 64 * MIB,
        connections: 4,
        per_request: false,
        to: To::Tls,
    },
    Workload {
        name: "PUT 64 MiB, TLS",
        method: "PUT",
        key: "sink",
        size: 64 * MIB,
        connections: 4,
        per_request: false,
        to: To::Tls,
    },
    Workload {
        name: UPLOAD,
        method: "UPLOAD",
        key: "upload",
        size: 50 * MIB,
        connections: 1,
        per_request: false,
        to: To::Embedded,
    },
];

fn of_upload(
    method: Method,
    at: (&'static str, &'static str),
    query: &[(&str, &str)],
    body: Payload,
) -> StoreRequest<'static> {
    let mut encoded = Query::default();
    for (name, value) in query {
        encoded.push(*name, *value);
    }
    let (bucket, key) = (Some(at.0), Some(at.1.as_bytes()));
    StoreRequest {
        method,
        bucket,
        key,
        query: encoded,
        headers: HeaderMap::new(),
        body,
        identity: Identity::Own,
        trace: None,
    }
}

/// One multipart upload, its parts side by side.
async fn upload(client: &Arc<Upstream>, at: (&'static str, &'static str), body: &Bytes) -> u64 {
    let created = client.send(of_upload(Method::POST, at, &[("uploads", "")], Payload::Empty)).await.unwrap();
    let id = InitiateMultipartUploadResult::parse(&created.bytes(MIB).await.unwrap()).unwrap().upload_id;
    let id = id.as_str().to_owned();
    let mut parts = tokio::task::JoinSet::new();
    for number in 1..=PARTS {
        let (client, body, id) = (Arc::clone(client), body.clone(), id.clone());
        parts.spawn(async move {
            let payload = Payload::Stream { len: body.len() as u64, body: body::full(body) };
            let query = [("partNumber", &*number.to_string()), ("uploadId", &*id)];
            let answer = client.send(of_upload(Method::PUT, at, &query, payload)).await.unwrap();
            let etag = answer.headers["etag"].to_str().unwrap().to_owned();
            answer.bytes(MIB).await.unwrap();
            (number, format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"))
        });
    }
    let mut parts = parts.join_all().await;
    parts.sort();
    let parts: String = parts.into_iter().map(|(_, part)| part).collect();
    let document = Payload::Bytes(format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>").into());
    let completed = client.send(of_upload(Method::POST, at, &[("uploadId", &*id)], document)).await.unwrap();
    let answer = completed.bytes(MIB).await.unwrap();
    assert!(answer.windows(6).any(|bytes| bytes == b"<ETag>"), "the upload was not completed");
    (PARTS * body.len()) as u64
}

async fn once(client: &Arc<Upstream>, bucket: &'static str, work: Workload, body: &Bytes, round: u64) -> u64 {
    if work.method == "UPLOAD" {
        return upload(client, (bucket, work.key), body).await;
    }
    let mut query = Query::default();
    let mut headers = HeaderMap::new();
    let (method, key) = match work.method {
        "LIST" => {
            query.push("list-type", "2");
            (Method::GET, None)
        }
        "RANGE" => {
            let from = round.wrapping_mul(7_919_777) % (63 * MIB as u64);
            headers.insert("range", format!("bytes={from}-{}", from + 65_535).parse().unwrap());
            (Method::GET, Some(work.key))
        }
        "PUT" => (Method::PUT, Some(work.key)),
        _ => (Method::GET, Some(work.key)),
    };
    let payload = match work.method {
        "PUT" => Payload::Stream { body: body::full(body.clone()), len: body.len() as u64 },
        _ => Payload::Empty,
    };
    let request = StoreRequest {
        method,
        bucket: Some(bucket),
        key: key.map(str::as_bytes),
        query,
        headers,
        body: payload,
        identity: Identity::Own,
        trace: None,
    };
    let answer = client.send(request).await.unwrap_or_else(|error| panic!("{}: {error}", work.name));
    let mut len = if work.method == "PUT" { body.len() as u64 } else { 0 };
    let mut body = answer.body;
    while let Some(frame) = body.frame().await {
        len += frame.unwrap().into_data().map_or(0, |data| data.len() as u64);
    }
    len
}

struct Cell {
    cpu: f64,
    requests: u64,
    bytes: u64,
    p50: Duration,
    p99: Duration,
    seconds: f64,
}

async fn measure(proxy: &Proxy, work: Workload, time: Duration) -> Option<Cell> {
    let (address, bucket) = proxy.way(work.to)?;
    let client = client(address);
    let body = Bytes::from(vec![7u8; if matches!(work.method, "PUT" | "UPLOAD") { work.size } else { 0 }]);
    // connections, caches
    once(&client, bucket, work, &body, 1).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (before, begun) = (cpu_seconds(proxy.child.id()), Instant::now());
    let mut tasks = Vec::new();
    for worker in 0..work.connections {
        let (client, stop, body) = (Arc::clone(&client), Arc::clone(&stop), body.clone());
        tasks.push(tokio::spawn(async move {
            let (mut bytes, mut times) = (0, Vec::new());
            while !stop.load(Ordering::Relaxed) {
                let from = Instant::now();
                bytes += once(&client, bucket, work, &body, worker as u64 * 1_000_003 + times.len() as u64).await;
                times.push(from.elapsed());
            }
            (bytes, times)
        }));
    }
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let (mut bytes, mut times) = (0, Vec::new());
    for task in tasks {
        let (more, mut some) = task.await.unwrap();
        bytes += more;
        times.append(&mut some);
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds(proxy.child.id()) - before);
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Some(Cell { cpu, requests: times.len() as u64, bytes, p50: at(0.5), p99: at(0.99), seconds })
}

fn verdict(name: &str, value: f64, bound: f64) {
    println!("{name:<34} {value:>5.2} ≤ {bound}  {}", if value <= bound { "met" } else { "MISSED" });
}

async fn start_store<H: Handler>(handler: Arc<H>, settings: ServerSettings) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, settings, handler, Arc::new(ServerStats::default()), std::future::pending()));
    address
}

/// The embedded store, which forces nothing to the disk.
async fn start_embedded(folder: &Path) -> SocketAddr {
    let clock = Arc::new(SystemClock);
    let mut options = Options::new(Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(RandomSource::new(&[b"store"])));
    options.durability = Durability::None;
    let store = Store::open(folder, options).unwrap();
    for name in ["sealgate", "other"] {
        store.create_bucket(&format!("{name}-sealed-embedded").parse().unwrap()).unwrap();
    }
    let secret = Arc::new(Secret::from_text(&Zeroizing::new("secret of the bench".to_owned())));
    let credential = (AccessKeyId::parse("AKBENCH").unwrap(), secret);
    start_store(Arc::new(Face::new(store, "us-east-1", [credential], clock)), ServerSettings::default()).await
}

/// A body of so many bytes, all the same.
struct Same(u64);

impl http_body::Body for Same {
    type Data = Bytes;
    type Error = body::BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, body::BodyError>>> {
        static PIECE: [u8; 256 << 10] = [5; 256 << 10];
        let len = self.0.min(PIECE.len() as u64);
        self.0 -= len;
        let piece = Bytes::from_static(&PIECE).slice(..len as usize);
        Poll::Ready((len > 0).then(|| Ok(http_body::Frame::data(piece))))
    }
}

/// Line 8 of the bar: what 64 transfers of 1 GiB at once add to the resident memory of an idle gateway.
async fn at_once(proxy: &Proxy) {
    const TRANSFERS: usize = 64;
    const LEN: u64 = 1 << 30;
    let (client, bucket) = (client(proxy.address), proxy.bucket);
    let request = |method: Method, key: &'static str, body: Payload| StoreRequest {
        method,
        bucket: Some(bucket),
        key: Some(key.as_bytes()),
        query: Query::default(),
        headers: HeaderMap::new(),
        body,
        identity: Identity::Own,
        trace: None,
    };
    let pid = proxy.child.id();
    let idle = resident_mib(pid, "VmRSS:");
    let peak = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&peak);
    tokio::spawn(async move {
        loop {
            seen.fetch_max((resident_mib(pid, "VmRSS:") * 1024.0) as u64, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let put = |key| request(Method::PUT, key, Payload::Stream { body: Same(LEN).boxed_unsync(), len: LEN });
    client.send(put("1g")).await.unwrap();
    for method in [Method::PUT, Method::GET] {
        let begun = (Instant::now(), cpu_seconds(proxy.child.id()));
        let mut transfers = tokio::task::JoinSet::new();
        for _ in 0..TRANSFERS {
            let (client, request) = (
                Arc::clone(&client),
                match method {
                    Method::PUT => put("sink"),
                    _ => request(Method::GET, "1g", Payload::Empty),
                },
            );
            transfers.spawn(async move {
                let mut body = client.send(request).await.unwrap().body;
                let mut len = 0;
                while let Some(frame) = body.frame().await {
                    len += frame.unwrap().data_ref().map_or(0, Bytes::len) as u64;
                }
                len
            });
        }
        let lens = transfers.join_all().await;
        assert!(lens.iter().all(|len| *len == if method == Method::GET { LEN } else { 0 }));
        let (seconds, cpu) = (begun.0.elapsed().as_secs_f64(), cpu_seconds(proxy.child.id()) - begun.1);
        let grown = peak.swap(0, Ordering::Relaxed) as f64 / 1024.0 - idle;
        println!(
            "{TRANSFERS} × 1 GiB at once, {method}: {seconds:.0} s, {cpu:.0} CPU-s of the gateway; idle {idle:.0} MiB"
        );
        verdict("MiB above idle at the peak", grown, 128.0);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start_sealgate(dir: &Path, name: &'static str, program: &Path, stores: Stores<'_>) -> Proxy {
    let dir = &dir.join(name);
    fs::create_dir_all(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    let random = RandomSource::new(&[b"bench"]);
    let now = SystemClock.now();
    let kit = RecoverySecret::draw(now, &random).unwrap();
    let passphrase = Secret::from_bytes_of(b"passphrase of the bench");
    let mut keyring = Keyring::create(&passphrase, Argon2Params::FLOOR, (&kit, KitForm::Phrase), now, &random).unwrap();
    let (entry, tenant) = ("default".parse().unwrap(), "main".parse().unwrap());
    keyring.create_entry(&entry, &tenant, WrapAlg::Local, Readiness::Active, now, &random).unwrap();
    KeyringFile::new(dir.join("keyring")).create(&keyring, now, &random).unwrap();
    private(&dir.join("passphrase"), "passphrase of the bench\n");
    private(
        &dir.join("credentials"),
        "[app]\naws_access_key_id = AKBENCH\naws_secret_access_key = secret of the bench\n",
    );
    let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let mut config = format!(
        "[listen]\naddress = \"{address}\"\n[keys]\nfile = \"keyring\"\npassphrase_file = \"passphrase\"\n[[tenant]]\n\
         id = \"main\"\n[[credential]]\ncredentials = {{ file = \"credentials\", profile = \"app\" }}\ntenant = \
         \"main\"\nbuckets = [\"sealed\", \"sealed-tls\", \"sealed-embedded\"]\n"
    );
    let upstreams = [
        ("sealed", format!("http://{}", stores.memory), String::new()),
        (
            "sealed-tls",
            format!("https://localhost:{}", stores.tls.port()),
            format!("ca = \"{}\"\n", stores.ca.display()),
        ),
        ("sealed-embedded", format!("http://{}", stores.embedded), String::new()),
    ];
    for (bucket, endpoint, ca) in upstreams {
        let _ = write!(
            config,
            "[[upstream]]\nname = \"{bucket}\"\nendpoint = \"{endpoint}\"\n{ca}profile = \"aws\"\ncredentials = {{ file \
             = \"credentials\", profile = \"app\" }}\n[[bucket]]\nname = \"{bucket}\"\nupstream = \
             \"{bucket}\"\nupstream_name = \"{name}-{bucket}\"\nid = \"{bucket}\"\ntenant = \"main\"\nkek = \"default\"\n"
        );
    }
    fs::write(dir.join("gateway.toml"), config).unwrap();
    let log = fs::File::create(dir.join("log")).unwrap();
    let child =
        Command::new(program).args(["serve", "--config"]).arg(dir.join("gateway.toml")).stderr(log).spawn().unwrap();
    Proxy {
        name,
        bucket: "sealed",
        address,
        over_tls: Some((address, "sealed-tls")),
        embedded: Some((address, "sealed-embedded")),
        child,
    }
}

/// The same server and client with nothing between: this program, started as [`relay`].
fn start_relay(stores: Stores<'_>) -> Proxy {
    let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let program = std::env::current_exe().unwrap();
    let child = Command::new(program).env(RELAY, format!("{address} {}", stores.memory)).spawn().unwrap();
    Proxy { name: "relay", bucket: "plain", address, over_tls: None, embedded: None, child }
}

const RELAY: &str = "SEALGATE_BENCH_RELAY";

struct Relay(Client);

impl Handler for Relay {
    async fn handle(&self, request: Request<Body>, _: Peer) -> Response<Body> {
        self.0.send(request, Duration::from_secs(4)).await.unwrap()
    }
}

async fn relay(addresses: &str) {
    let (own, origin) = addresses.split_once(' ').unwrap();
    let client = Client::new(ClientSettings {
        endpoint: format!("http://{origin}").parse().unwrap(),
        ca: None,
        proxy: None,
        connect_timeout: Duration::from_secs(5),
        first_byte_timeout: Duration::from_mins(1),
        idle_timeout: Duration::from_mins(1),
        max_idle: 64,
        max_buf: 512 << 10,
    });
    let listener = tokio::net::TcpListener::bind(own).await.unwrap();
    let stats = Arc::new(ServerStats::default());
    let handler = Arc::new(Relay(client.unwrap()));
    serve(listener, ServerSettings::default(), handler, stats, std::future::pending()).await;
}

fn start_nginx(dir: &Path, name: &'static str, buffers: &str, stores: Stores<'_>) -> Option<Proxy> {
    let address: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let over_tls: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let dir = dir.join(name.replace(' ', "-"));
    fs::create_dir_all(&dir).unwrap();
    let config = format!(
        "daemon off; worker_processes 2; pid {0}/pid; error_log {0}/error.log;\nevents {{ worker_connections 512; }}\nhttp {{ \
         access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/f; \
         uwsgi_temp_path {0}/u; scgi_temp_path {0}/s; client_max_body_size 0; {buffers} proxy_http_version 1.1; \
         proxy_set_header Connection \"\";\nupstream o {{ server {1}; keepalive 64; }}\nupstream t {{ server {2}; keepalive \
         64; }}\nserver {{ listen {address}; location / {{ proxy_pass http://o; }} }}\nserver {{ listen {over_tls}; \
         location / {{ proxy_pass https://t; }} }} }}",
        dir.display(),
        stores.memory,
        stores.tls,
    );
    fs::write(dir.join("nginx.conf"), config).unwrap();
    let child = Command::new("nginx")
        .arg("-c")
        .arg(dir.join("nginx.conf"))
        .arg("-p")
        .arg(&dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    Some(Proxy { name, bucket: "plain", address, over_tls: Some((over_tls, "plain")), embedded: None, child })
}

async fn wait_for(address: SocketAddr) {
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing listens on {address}");
}

#[tokio::main]
async fn main() {
    if let Ok(addresses) = std::env::var(RELAY) {
        return relay(&addresses).await;
    }
    let is_smoke = std::env::args().any(|argument| argument == "--test");
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |work: &Workload| wanted.is_empty() || wanted.iter().any(|word| work.name.contains(word));
    let (rounds, time) = if is_smoke { (1, Duration::from_millis(300)) } else { (5, Duration::from_secs(3)) };
    let folder = tempfile::tempdir().unwrap();
    let origin = Arc::new(Origin::default());
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (ca, key) = (folder.path().join("ca.pem"), folder.path().join("tls.key"));
    fs::write(&ca, issued.cert.pem()).unwrap();
    private(&key, &issued.signing_key.serialize_pem());
    let tls = Some(Arc::new(ServerTls::new(server_config(&ca, &key, None).unwrap())));
    let settings = ServerSettings { max_buf: 2 * MIB, ..ServerSettings::default() };
    let memory = start_store(Arc::clone(&origin), settings.clone()).await;
    let tls = start_store(Arc::clone(&origin), ServerSettings { tls, ..settings }).await;
    let embedded = start_embedded(&folder.path().join("store")).await;
    let stores = Stores { memory, tls, ca: &ca, embedded };
    let large = "proxy_buffer_size 64k; proxy_buffers 8 128k; proxy_busy_buffers_size 256k; client_body_buffer_size 256k; \
                 proxy_request_buffering off; proxy_max_temp_file_size 0;";
    let mut proxies =
        vec![start_sealgate(folder.path(), "sealgate", Path::new(env!("CARGO_BIN_EXE_sealgate")), stores)];
    if let Some(other) = std::env::var_os("SEALGATE_OTHER") {
        proxies.push(start_sealgate(folder.path(), "other", Path::new(&other), stores));
    }
    proxies.push(start_relay(stores));
    if let Some(nginx) = start_nginx(folder.path(), "nginx large", large, stores) {
        proxies.push(nginx);
        proxies.extend(start_nginx(folder.path(), "nginx default", "", stores));
    } else {
        println!("nginx is not installed: no ratios");
    }
    for proxy in &proxies {
        wait_for(proxy.address).await;
        for to in [To::Memory, To::Tls] {
            let Some((address, bucket)) = proxy.way(to) else { continue };
            let client = client(address);
            for (key, size) in [("64m", 64 * MIB), ("4k", 4096)] {
                let work = Workload { name: "fill", method: "PUT", key, size, connections: 1, per_request: true, to };
                once(&client, bucket, work, &vec![3u8; size].into(), 0).await;
            }
        }
    }
    if std::env::args().any(|argument| argument == "--memory") {
        return at_once(&proxies[0]).await;
    }
    let mut cells: BTreeMap<(usize, usize), Vec<Cell>> = BTreeMap::new();
    let mut upstream_per_list = 0.0;
    for round in 0..rounds {
        for (w, work) in WORKLOADS.iter().enumerate().filter(|(_, work)| is_wanted(work)) {
            for turn in 0..proxies.len() {
                // another order in every round
                let p = (turn + round) % proxies.len();
                let before = origin.requests.load(Ordering::Relaxed);
                let Some(cell) = measure(&proxies[p], *work, time).await else { continue };
                if work.method == "LIST" && proxies[p].name == "sealgate" {
                    let asked = origin.requests.load(Ordering::Relaxed) - before;
                    upstream_per_list = asked as f64 / (cell.requests + 1) as f64;
                }
                cells.entry((w, p)).or_default().push(cell);
            }
        }
    }
    let cost = |w: usize, cell: &Cell| {
        if WORKLOADS[w].per_request {
            cell.cpu * 1e6 / cell.requests as f64
        } else {
            cell.cpu * 1e9 / cell.bytes as f64
        }
    };
    println!(
        "{:<21} {:<14} {:>14} {:>8} {:>10} {:>9} {:>9}",
        "workload", "proxy", "CPU", "ratio", "req/s", "p50 ms", "p99 ms"
    );
    let mut ratios: HashMap<&str, f64> = HashMap::new();
    let mut costs: HashMap<(&str, &str), f64> = HashMap::new();
    let nginx = proxies.iter().position(|proxy| proxy.name == "nginx large");
    for (w, work) in WORKLOADS.iter().enumerate().filter(|(_, work)| is_wanted(work)) {
        for (p, proxy) in proxies.iter().enumerate() {
            let Some(all) = cells.get(&(w, p)) else { continue };
            let unit = if work.per_request { "µs/req" } else { "s/GB" };
            let value = median(all.iter().map(|cell| cost(w, cell)).collect());
            let ratio = nginx.and_then(|n| cells.get(&(w, n))).map(|theirs| {
                median(all.iter().zip(theirs).map(|(ours, theirs)| cost(w, ours) / cost(w, theirs)).collect())
            });
            costs.insert((work.name, proxy.name), value);
            if let (Some(ratio), "sealgate") = (ratio, proxy.name) {
                ratios.insert(work.name, ratio);
            }
            let rate = median(all.iter().map(|cell| cell.requests as f64 / cell.seconds).collect());
            let (p50, p99) = (all[0].p50.as_secs_f64() * 1e3, all[0].p99.as_secs_f64() * 1e3);
            let mut line = String::new();
            let _ = write!(line, "{:<21} {:<14} {value:>8.3} {unit:<6}", work.name, proxy.name);
            let _ = write!(line, " {:>7}", ratio.map_or(String::new(), |r| format!("{r:.2}")));
            println!("{line} {rate:>10.0} {p50:>9.2} {p99:>9.2}");
        }
    }
    println!("peak resident memory of sealgate: {:.0} MiB", resident_mib(proxies[0].child.id(), "VmHWM:"));
    println!("requests to the store per LIST: {upstream_per_list:.2}");
    if is_smoke {
        return;
    }
    println!("\nthe bar, in CPU of the proxy relative to nginx with large buffers:");
    for (name, bound) in [
        ("GET 64 MiB", 1.45),
        ("PUT 64 MiB", 1.6),
        ("PUT 1 MiB", 1.8),
        ("GET 4 KiB", 1.8),
        ("PUT 4 KiB", 1.8),
        ("range 64 KiB", 2.2),
        ("GET 64 MiB, TLS", 1.0),
        ("PUT 64 MiB, TLS", 1.0),
    ] {
        if let Some(ratio) = ratios.get(name) {
            verdict(name, *ratio, bound);
        }
    }
    println!("\nthe bar, in CPU of the gateway itself:");
    let ours = |work| costs.get(&(work, "sealgate")).copied();
    for (name, bound) in [("GET 64 MiB", 0.35), ("PUT 64 MiB", 0.25)] {
        if let (Some(ours), Some(relayed)) = (ours(name), costs.get(&(name, "relay"))) {
            verdict(&format!("{name}, less the relay's, s/GB"), ours - relayed, bound);
        }
    }
    if let (Some(parts), Some(single)) = (ours(UPLOAD), ours("PUT 64 MiB")) {
        verdict("multipart by PUT, per GB", parts / single, 1.1);
    }
}
