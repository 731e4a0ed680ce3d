//! Reads and lists before a store that misbehaves in other ways than by altering bytes; and what reads answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use http::{Method, StatusCode};
use sealgate::clock::{Clock as _, SystemClock};
use sealgate::digest::{ChecksumAlgorithm, checksum};
use sealgate::gateway::settings::Limits;
use sealgate::sigv4::{self, AmzDate, ContentSha256, CredentialScope, Headers, RequestView, SigningKey};
use sealgate::store::settings::Profile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::lies::Lied;
use super::multipart::{complete, create, part};
use super::rig::{Client, Plan, REGION, Rig, Server, elements, gateway, noise, secret};

const MIB: usize = 1 << 20;

/// Reads a whole HTTP/1.1 message with a Content-Length, or without a body.
async fn message(stream: &mut TcpStream, has_body: bool) -> Option<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase();
            let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let len = if has_body { len.unwrap_or(0) } else { 0 };
            if bytes.len() >= at + 4 + len {
                return Some(bytes);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => bytes.extend_from_slice(&buffer[..read]),
            _ => return None,
        }
    }
}

/// A store that never ends its answers: it says how long each is, and sends it in chunks, and more chunks. Counts what it
/// was able to send.
async fn endless(provider: SocketAddr) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, sent) = (listener.local_addr().unwrap(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&sent);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let Some(request) = message(&mut client, true).await else { return };
                let mut store = TcpStream::connect(provider).await.unwrap();
                store.write_all(&request).await.unwrap();
                let is_head = request.starts_with(b"HEAD");
                let Some(answer) = message(&mut store, !is_head).await else { return };
                let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
                let (head, body) = answer.split_at(at);
                let body = &body[4..];
                let mut out = [head, b"\r\ntransfer-encoding: chunked\r\n\r\n"].concat();
                if is_head {
                    let _ = client.write_all(&[head, b"\r\n\r\n"].concat()).await;
                    return;
                }
                if !body.is_empty() {
                    out.extend_from_slice(format!("{:x}\r\n", body.len()).as_bytes());
                    out.extend_from_slice(body);
                    out.extend_from_slice(b"\r\n");
                }
                let _ = client.write_all(&out).await;
                let chunk = [format!("{:x}\r\n", 32 << 10).as_bytes(), &[7; 32 << 10], b"\r\n"].concat();
                while client.write_all(&chunk).await.is_ok() {
                    count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    (address, sent)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_ends_is_not_read_on() {
    let rig = Rig::new().await;
    let honest = rig.app();
    honest.put("data", "small", noise(171, 1)).await.unwrap();
    honest.put("data", "large", noise(4 * MIB, 2)).await.unwrap();
    let id = create(&honest, "data", "multi", &[]).await;
    let at = ("data", "multi", id.as_str());
    let parts = [(1, part(&honest, at, 1, noise(5 * MIB, 1)).await.unwrap().etag())];
    complete(&honest, at, &parts).await.unwrap();
    let (through, sent) = endless(rig.provider.address).await;
    let plan = Plan { through: Some(through), ..Plan::default() };
    let lied = gateway(&plan, rig.provider.address, &rig.keyring, &rig.metrics);
    let server = Server::start(Arc::new(lied), plan.server.clone()).await;
    let app = Client::new(server.address, "AKALPHA", "secret of AKALPHA");
    let begun = Instant::now();
    let integrity = (502, "IntegrityError".to_owned());
    for key in ["small", "large", "multi"] {
        assert_eq!(app.get("data", key).await.unwrap_err(), integrity, "{key}");
        let range = [("range", "bytes=10-100")];
        assert_eq!(app.get_with("data", key, &range).await.unwrap_err(), integrity, "{key}");
    }
    // what an answer holds beside its head is of no matter: it is not waited for
    app.put("data", "new", "content").await.unwrap();
    app.delete("data", "new").await.unwrap();
    // a document is
    assert_eq!(app.list("data", &[]).await.unwrap_err().0, 503);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    // what the buffers of sockets hold is not the gateway's
    assert!(sent.load(Ordering::Relaxed) < 200 << 20, "{}", sent.load(Ordering::Relaxed));
}

fn page(entries: &str, truncated: bool) -> Vec<u8> {
    format!(
        "<ListBucketResult><Name>up-data</Name><Prefix></Prefix><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys>\
         <IsTruncated>{truncated}</IsTruncated>{entries}</ListBucketResult>"
    )
    .into_bytes()
}

fn entry(key: &str) -> String {
    format!(
        "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>\
         <Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_take_no_more_memory_than_there_is() {
    let limits = Limits { memory: 2 << 20, ..Plan::default().limits };
    let lied = Lied::with(Plan { limits, ..Plan::default() }).await;
    let app = lied.app();
    let lists: [Vec<u8>; 5] = [
        // more names than were asked for, a name that no object has, an endless document, one of nothing but elements
        page(&(0..1001).map(|i| entry(&format!("{i:04}"))).collect::<String>(), false),
        page(&entry(&"k".repeat(1025)), false),
        page(&entry(&"k".repeat(5 << 20)), false),
        page(&"<a/>".repeat(59_000), false),
        // of allowed size, but there is no memory for it
        page(&(0..1000).map(|_| entry(&"k".repeat(1000))).collect::<String>(), false),
    ];
    for (i, list) in lists.into_iter().enumerate() {
        lied.liar.lies(move |asked, told| {
            if asked.method == Method::GET {
                told.body.clone_from(&list);
            }
        });
        for query in [&[("list-type", "2")][..], &[]] {
            assert_eq!(app.list("data", query).await.unwrap_err().0, 503, "{i}");
        }
    }
    lied.liar.tells_the_truth();
    app.put("data", "k", "content").await.unwrap();
    assert_eq!(elements(&app.list("data", &[]).await.unwrap().text(), "Key"), ["k"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_buckets_are_read_to_their_end_and_no_further() {
    let lied = Lied::new().await;
    let app = lied.app();
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let bucket = |name: &str| {
        format!("<Bucket><Name>{name}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>")
    };
    let told = |buckets: String, token: &str| {
        format!(
            "<ListAllMyBucketsResult><Buckets>{buckets}</Buckets><ContinuationToken>{token}</ContinuationToken>\
             </ListAllMyBucketsResult>"
        )
    };
    // 60 pages of team-*, in no order, the last without a token
    lied.liar.lies(move |_, answer| {
        let n = seen.fetch_add(1, Ordering::SeqCst) % 60;
        let names = (0..20).map(|i| bucket(&format!("up-team-{:03}-{i:02}", (n * 7) % 60))).collect();
        let text = told(names, &n.to_string());
        answer.body = if n == 59 { text.replace("<ContinuationToken>59</ContinuationToken>", "") } else { text }.into();
    });
    let all = app.send(Method::GET, "", "", &[], &[], None).await.unwrap().text();
    assert_eq!((elements(&all, "Name").len(), count.load(Ordering::SeqCst)), (1200, 60));
    let (mut found, mut token) = (Vec::new(), None::<String>);
    loop {
        let mut query = vec![("max-buckets", "500"), ("prefix", "team-0")];
        query.extend(token.as_deref().map(|token| ("continuation-token", token)));
        let text = app.send(Method::GET, "", "", &query, &[], None).await.unwrap().text();
        found.extend(elements(&text, "Name"));
        token = elements(&text, "ContinuationToken").into_iter().next();
        if token.is_none() {
            break;
        }
    }
    assert!(found.is_sorted() && found == elements(&all, "Name"));
    // for ever
    count.store(0, Ordering::SeqCst);
    let seen = Arc::clone(&count);
    lied.liar.lies(move |_, answer| {
        answer.body = told(String::new(), &seen.fetch_add(1, Ordering::SeqCst).to_string()).into_bytes();
    });
    assert_eq!(app.send(Method::GET, "", "", &[], &[], None).await.unwrap_err().0, 503);
    assert_eq!(count.load(Ordering::SeqCst), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_behind_reserved_keys_wherever_they_lie() {
    let rig = Rig::new().await;
    let (app, provider) = (rig.app(), rig.provider_client());
    let keys = ["!first", "-between", "0last", "zz"];
    for key in keys {
        app.put("data", key, "x").await.unwrap();
    }
    // what the gateway never writes, but a provider can
    for reserved in ["//.sealgate/a", "/.sealgate/a", "/.sealgate/b", ".sealgate/u/a", ".sealgate/u/b"] {
        provider.put("up-data", reserved, "x").await.unwrap();
    }
    for max in ["1", "2", "3", "1000"] {
        for v2 in [true, false] {
            let (mut found, mut next) = (Vec::new(), None::<String>);
            for _ in 0..20 {
                let mut query = vec![("max-keys", max)];
                if v2 {
                    query.push(("list-type", "2"));
                }
                let name = if v2 { "continuation-token" } else { "marker" };
                query.extend(next.as_deref().map(|next| (name, next)));
                let text = app.list("data", &query).await.unwrap().text();
                let names = elements(&text, "Key");
                if elements(&text, "IsTruncated") == ["false"] {
                    found.extend(names);
                    break;
                }
                next = if v2 {
                    Some(elements(&text, "NextContinuationToken").remove(0))
                } else {
                    elements(&text, "NextMarker").into_iter().next().or_else(|| names.last().cloned())
                };
                found.extend(names);
            }
            assert_eq!(found, keys, "max-keys={max} v2={v2}");
        }
    }
}

/// What stands in a query under that name, where it stands as it is.
fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|parameter| parameter.strip_prefix(name)?.strip_prefix('='))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_no_order_is_whole_and_hides_reserved_keys_wherever_they_lie() {
    const OWN: &str = ".sealgate/u/";
    let lied = Lied::with(Plan { profile: Profile::Ceph, ..Plan::default() }).await;
    let app = lied.app();
    // as Ceph keeps them: a shard behind the other, each in order for itself
    let mut order: Vec<String> = (0..3).map(|i| format!("{OWN}{i}")).collect();
    order.extend(["b", "x"].map(str::to_owned));
    order.extend((10..40).map(|i| format!("{OWN}{i}")));
    order.extend(["a", "c", "w"].map(str::to_owned));
    order.push(format!("{OWN}50"));
    let all = order.clone();
    lied.liar.lies(move |asked, told| {
        if !asked.is("GET", "/up-data") {
            return;
        }
        assert_eq!(parameter(&asked.query, "allow-unordered"), Some("true"));
        let from = parameter(&asked.query, "marker").or_else(|| parameter(&asked.query, "start-after"));
        let from = from.map_or(0, |from| {
            let from = from.replace("%2F", "/");
            all.iter().position(|key| *key == from).unwrap() + 1
        });
        let max: usize = parameter(&asked.query, "max-keys").unwrap().parse().unwrap();
        let page = all.iter().skip(from).take(max).map(|key| {
            format!("<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><ETag>e</ETag><Size>1</Size></Contents>")
        });
        let (page, more) = (page.collect::<String>(), from + max < all.len());
        told.body = format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{page}</ListBucketResult>").into_bytes();
    });
    for max in ["1", "2", "4", "1000"] {
        for v2 in [true, false] {
            let (mut found, mut next) = (Vec::new(), None::<String>);
            for _ in 0..10 {
                let mut query = vec![("max-keys", max), ("allow-unordered", "true")];
                if v2 {
                    query.push(("list-type", "2"));
                }
                let (ask, tell) =
                    if v2 { ("continuation-token", "NextContinuationToken") } else { ("marker", "NextMarker") };
                query.extend(next.as_deref().map(|next| (ask, next)));
                let text = app.list("data", &query).await.unwrap().text();
                found.extend(elements(&text, "Key"));
                assert!(!text.contains(OWN), "{text}");
                if elements(&text, "IsTruncated") == ["false"] {
                    break;
                }
                next = Some(elements(&text, tell).remove(0));
            }
            assert_eq!(found, ["b", "x", "a", "c", "w"], "max-keys={max} v2={v2}");
        }
    }
    // a store that shows the same over and over is no list
    let same = format!(
        "<ListBucketResult><IsTruncated>true</IsTruncated><Contents><Key>{OWN}1</Key><LastModified>2026-01-01T00:00:00Z\
         </LastModified><ETag>e</ETag><Size>1</Size></Contents></ListBucketResult>"
    );
    lied.liar.lies(move |_, told| told.body = same.clone().into());
    assert_eq!(app.list("data", &[("allow-unordered", "true")]).await.unwrap_err().0, 503);
    // elsewhere nobody knows what it means
    let other = Rig::new().await;
    let refused = other.app().list("data", &[("allow-unordered", "true")]).await.unwrap_err();
    assert_eq!(refused, (501, "NotImplemented".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_is_repeated_in_the_way_of_the_store() {
    let lied = Lied::new().await;
    let app = lied.app();
    let list = async |prefix: &str| {
        let text = app.list("data", &[("encoding-type", "url"), ("prefix", prefix)]).await.unwrap().text();
        elements(&text, "Prefix").remove(0)
    };
    assert_eq!(list("a b").await, "a%20b");
    for (shown, expected) in [("a b", "a b"), ("a+b", "a%20b"), ("<i/>", "a%20b"), ("another", "a%20b")] {
        lied.liar.lies(move |_, told| {
            let text = String::from_utf8(told.body.clone()).unwrap();
            told.body = text.replace("<Prefix>a%20b</Prefix>", &format!("<Prefix>{shown}</Prefix>")).into_bytes();
        });
        assert_eq!(list("a b").await, expected, "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_while_its_range_is_refused_raises_no_alarm() {
    let lied = Lied::new().await;
    let app = lied.app();
    app.put("data", "k", noise(100, 1)).await.unwrap();
    let (handle, new) = (tokio::runtime::Handle::current(), noise(900_000, 2));
    let (count, writer, body) = (AtomicUsize::new(0), lied.rig.app(), new.clone());
    // between the refusal and the HEAD
    lied.liar.lies(move |asked, told| {
        if told.status == StatusCode::RANGE_NOT_SATISFIABLE && count.fetch_add(1, Ordering::SeqCst) == 0 {
            assert_eq!(asked.method, Method::GET);
            let (client, body) = (Client(Arc::clone(&writer.0)), body.clone());
            tokio::task::block_in_place(|| handle.block_on(async { client.put("data", "k", body).await.unwrap() }));
        }
    });
    let range = [("range", "bytes=800000-800099")];
    let got = app.get_with("data", "k", &range).await.unwrap();
    assert!(got.body == new[800_000..800_100]);
    assert!(!lied.rig.metrics.encode().contains("kind=\"integrity\""));
    // a store that goes on refusing what there is
    lied.liar.lies(|asked, told| {
        if asked.method == Method::GET {
            told.status = StatusCode::RANGE_NOT_SATISFIABLE;
            told.body = b"<Error><Code>InvalidRange</Code></Error>".to_vec();
        }
    });
    assert_eq!(app.get_with("data", "k", &range).await.unwrap_err(), (502, "IntegrityError".to_owned()));
    assert!(lied.rig.metrics.encode().contains("kind=\"integrity\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checksum_that_came_behind_the_body_is_shown_where_it_is_asked_for() {
    let lied = Lied::new().await;
    let app = lied.app();
    let body = noise(100_000, 1);
    let crc = checksum(ChecksumAlgorithm::Crc32, &body);
    let crc = base64::engine::general_purpose::STANDARD.encode(crc.as_bytes());
    // the rig's client sends no trailers: by hand
    let date = AmzDate::of(SystemClock.now());
    let key = SigningKey::derive(&secret("secret of AKALPHA"), &CredentialScope::new(date, REGION));
    let trailer = format!("x-amz-checksum-crc32:{crc}\r\n\r\n");
    let chunks = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n", trailer.as_bytes()].concat();
    let host = lied.rig.gateway.address.to_string();
    let (decoded, len) = (body.len().to_string(), chunks.len().to_string());
    let fields: [(&str, &[u8]); 5] = [
        ("host", host.as_bytes()),
        ("content-encoding", b"aws-chunked"),
        ("content-length", len.as_bytes()),
        ("x-amz-decoded-content-length", decoded.as_bytes()),
        ("x-amz-trailer", b"x-amz-checksum-crc32"),
    ];
    let view = RequestView { method: "PUT", path: "/data/k", query: "", headers: Headers::new(&fields) };
    let credentials = sigv4::Credentials { access_key_id: "AKALPHA", key: &key, session_token: None };
    let made = sigv4::sign(&view, &credentials, date, ContentSha256::StreamingUnsignedTrailer).unwrap();
    let mut request = "PUT /data/k HTTP/1.1\r\n".to_owned();
    let fields = fields.iter().map(|(name, value)| (*name, std::str::from_utf8(value).unwrap()));
    for (name, value) in fields.chain(made.fields()) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(lied.rig.gateway.address).await.unwrap();
    stream.write_all(&[request.as_bytes(), &chunks].concat()).await.unwrap();
    let answer = message(&mut stream, true).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));

    let mode = [("x-amz-checksum-mode", "ENABLED")];
    for (method, requests) in [(Method::GET, 1), (Method::HEAD, 2)] {
        lied.liar.requests.lock().unwrap().clear();
        let got = app.send(method.clone(), "data", "k", &[], &mode, None).await.unwrap();
        assert_eq!(
            (got.header("x-amz-checksum-crc32"), got.header("x-amz-checksum-type")),
            (crc.as_str(), "FULL_OBJECT")
        );
        // of an object that is verified before it is answered the tail was read anyway
        assert_eq!(lied.liar.requests.lock().unwrap().len(), requests);
        lied.liar.requests.lock().unwrap().clear();
        let got = app.send(method, "data", "k", &[], &[], None).await.unwrap();
        assert_eq!(got.header("x-amz-checksum-crc32"), "");
        // who does not ask for it pays no second request
        assert_eq!(lied.liar.requests.lock().unwrap().len(), 1);
    }
    let part = app.get_with("data", "k", &[mode[0], ("range", "bytes=0-9")]).await.unwrap();
    assert_eq!((part.body.len(), part.header("x-amz-checksum-crc32")), (10, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_read_by_their_position_at_both_sides() {
    let rig = Rig::new().await;
    for (client, bucket) in [(rig.app(), "data"), (rig.provider_client(), "up-other")] {
        let id = create(&client, bucket, "k", &[]).await;
        let bodies = [noise(5 * MIB, 1), noise(5 * MIB, 2), noise(4, 3)];
        let mut parts = Vec::new();
        for (number, body) in [3, 7, 9].into_iter().zip(&bodies) {
            parts.push((number, part(&client, (bucket, "k", &id), number, body.clone()).await.unwrap().etag()));
        }
        complete(&client, (bucket, "k", &id), &parts).await.unwrap();
        for (position, body) in ["1", "2", "3"].into_iter().zip(&bodies) {
            let got = client.send(Method::GET, bucket, "k", &[("partNumber", position)], &[], None).await.unwrap();
            assert!(got.body == body && got.header("x-amz-mp-parts-count") == "3", "{bucket} {position}");
        }
        for beyond in ["4", "7", "9"] {
            let got = client.send(Method::GET, bucket, "k", &[("partNumber", beyond)], &[], None).await.unwrap_err();
            assert_eq!(got.0, 416, "{bucket} {beyond}");
        }
    }
}
