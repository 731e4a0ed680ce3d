//! The real program: serve, its signals and its log; check; the demo, whose provider's copy the second opener opens.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::rig::{Client, noise};
use super::tls::{Files, https_as, shown_certificate};
use crate::support::python;

const BINARY: &str = env!("CARGO_BIN_EXE_sealgate");

fn secret_of(dir: &Path, profile: &str) -> String {
    let text = std::fs::read_to_string(dir.join("credentials")).unwrap();
    let section = text.split(&format!("[{profile}]")).nth(1).unwrap();
    let line = section.lines().find(|line| line.starts_with("aws_secret_access_key")).unwrap();
    line.split('=').nth(1).unwrap().trim().to_owned()
}

/// A process that is killed when the test ends.
struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn ended(&mut self, within: Duration) -> Option<i32> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A demo that serves: gateway and store.
fn demo(dir: &Path) -> (Process, String, String) {
    let mut child = Command::new(BINARY)
        .args(["demo", "--port", "0", "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut url = || lines.find(|line| line.contains("http://")).unwrap().rsplit("http://").next().unwrap().to_owned();
    let (gateway, store) = (url(), url());
    assert!(lines.any(|line| line.starts_with("Serving")));
    (Process(child), gateway, store)
}

#[test]
fn demo_once_shows_both_views_and_finds_no_plaintext() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        // the second start uses what is there
        let output = Command::new(BINARY).args(["demo", "--once", "--dir"]).arg(folder.path()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
        for part in [
            "What the application reads",
            "Dear board",
            "What the provider holds",
            "x-amz-meta-sealgate",
            "no run of 8",
        ] {
            assert!(text.contains(part), "{part}");
        }
        let urls: Vec<_> = text.lines().filter(|line| line.contains("http://")).collect();
        assert!(urls[0].contains("gateway") && urls[1].contains("store"));
    }
    for file in ["gateway.toml", "keyring", "passphrase", "credentials", "store"] {
        assert!(folder.path().join(file).exists(), "{file}");
    }
}

#[test]
fn a_demo_ends_well_when_it_is_told_to_end() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let (mut process, ..) = demo(folder.path());
        process.signal(signal);
        let code = process.ended(Duration::from_secs(10));
        let mut said = String::new();
        process.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(code == Some(0) && said.is_empty(), "{code:?}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_opener_opens_what_the_providers_side_of_a_demo_holds() {
    let Some(interpreter) = python::interpreter() else {
        python::skipped("an object of the demo, opened by the second opener", python::NEEDS);
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let (_process, gateway, store) = demo(&dir);
    let app = Client::new(gateway.parse().unwrap(), "AKSEALGATEDEMO", &secret_of(&dir, "sealgate"));
    let provider = Client::new(store.parse().unwrap(), "AKPROVIDERDEMO", &secret_of(&dir, "provider"));
    let body = noise(300_000, 9);
    app.put("demo", "some/key", body.clone()).await.unwrap();
    let held = provider.get("demo", "some/key").await.unwrap();
    let (header, stored) = (folder.path().join("header"), folder.path().join("body"));
    std::fs::write(&header, held.header("x-amz-meta-sealgate")).unwrap();
    std::fs::write(&stored, &held.body).unwrap();
    let exported = folder.path().join("plain-keys");
    let export = Command::new(BINARY)
        .args(["keys", "export", "--danger-plaintext", "--keyring"])
        .arg(dir.join("keyring"))
        .arg("--passphrase-file")
        .arg(dir.join("passphrase"))
        .args(["--out"])
        .arg(&exported)
        .output()
        .unwrap();
    assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
    let out = folder.path().join("opened");
    let opened = Command::new(interpreter)
        .arg(python::opener())
        .arg("--keys")
        .arg(&exported)
        .args(["--tenant", "main", "--bucket", "demo", "--key", "some/key", "--header-file"])
        .arg(&header)
        .arg(&stored)
        .arg(&out)
        .output()
        .unwrap();
    assert!(opened.status.success(), "{}", String::from_utf8_lossy(&opened.stderr));
    assert!(std::fs::read(&out).unwrap() == body);
}

/// A gateway of its own process before the store of a demo.
struct Served {
    _demo: Process,
    gateway: Process,
    app: Client,
    address: std::net::SocketAddr,
    admin: String,
    dir: PathBuf,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

/// The configuration of a gateway of its own process.
fn of_its_own(dir: &Path, tls: Option<&Files>) -> PathBuf {
    let text = std::fs::read_to_string(dir.join("gateway.toml")).unwrap();
    let listen = text.lines().find(|line| line.starts_with("address")).unwrap();
    let secured = tls.map_or_else(String::new, |files| {
        let [cert, key] = ["tls.pem", "tls.key"].map(|name| files.path(name).display().to_string());
        format!("\n[listen.tls]\ncert = \"{cert}\"\nkey = \"{key}\"\n")
    });
    let text = text
        .replace(listen, "address = \"127.0.0.1:0\"")
        .replace("log = \"warn\"\nformat = \"text\"", "log = \"debug\"")
        .replace(
            "[telemetry]",
            "[admin]\naddress = \"127.0.0.1:0\"\nsocket = \"admin.sock\"\n[timeouts]\ndrain = \"10s\"\n[telemetry]",
        );
    let text = text.replace("[admin]", &format!("{secured}[admin]"));
    std::fs::write(dir.join("serve.toml"), text).unwrap();
    dir.join("serve.toml")
}

fn serve() -> Served {
    serve_with(None)
}

fn serve_with(tls: Option<&Files>) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let (demo, _, _) = demo(&dir);
    let config = of_its_own(&dir, tls);
    let log = folder.path().join("log");
    let child = Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(config)
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let gateway = Process(child);
    let (mut address, mut admin) = (String::new(), String::new());
    for _ in 0..200 {
        let text = std::fs::read_to_string(&log).unwrap();
        if let Some(line) = text.lines().find(|line| line.contains("\"serving\"")) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["address"].as_str().unwrap().clone_into(&mut address);
            line["admin"].as_str().unwrap().clone_into(&mut admin);
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let address = address.parse().unwrap();
    let app = Client::new(address, "AKSEALGATEDEMO", &secret_of(&dir, "sealgate"));
    Served { _demo: demo, gateway, app, address, admin, dir, log, _folder: folder }
}

fn probe(admin: &str, path: &str) -> (u16, String) {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(admin).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    (text[9..12].parse().unwrap(), text)
}

fn keys(dir: &Path, arguments: &[&str]) {
    let output = Command::new(BINARY)
        .arg("keys")
        .args(arguments)
        .arg("--keyring")
        .arg(dir.join("keyring"))
        .arg("--passphrase-file")
        .arg(dir.join("passphrase"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_suspends_and_rotates_keys_within_a_second() {
    let served = serve();
    served.app.send(http::Method::PUT, "demo", "", &[], &[], None).await.ok();
    served.app.put("demo", "k", "before").await.unwrap();
    let first = served.app.get("demo", "k").await.unwrap();
    assert_eq!(first.body, "before");
    let within_a_second = |expected: Option<(u16, &'static str)>| {
        let (app, gateway) = (&served.app, &served.gateway);
        async move {
            gateway.signal(Signal::HUP);
            let begun = Instant::now();
            loop {
                let got = app.get("demo", "k").await;
                let as_expected = match (&got, expected) {
                    (Ok(_), None) => true,
                    (Err((status, code)), Some((s, c))) => *status == s && code == c,
                    _ => false,
                };
                if as_expected {
                    return;
                }
                assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", got.map(|got| got.status));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    keys(&served.dir, &["suspend", "default"]);
    within_a_second(Some((403, "KeyRevoked"))).await;
    assert_eq!(served.app.put("demo", "k2", "x").await.unwrap_err(), (403, "KeyRevoked".to_owned()));
    assert_eq!(probe(&served.admin, "/ready").0, 503);
    keys(&served.dir, &["resume", "default"]);
    within_a_second(None).await;
    keys(&served.dir, &["rotate", "default"]);
    served.gateway.signal(Signal::HUP);
    let begun = Instant::now();
    loop {
        served.app.put("demo", "after", "x").await.unwrap();
        let (_, status) = probe(&served.admin, "/status");
        if status.contains("\"number\":2") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(1));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(served.app.get("demo", "k").await.unwrap().body, "before");
    // a keyring that cannot be read leaves the old one in force
    std::fs::write(served.dir.join("keyring"), "broken").unwrap();
    served.gateway.signal(Signal::HUP);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(served.app.get("demo", "k").await.unwrap().body, "before");
    assert!(probe(&served.admin, "/metrics").1.contains("keyring_reloads_total{result=\"failed\"} 1"));
}

/// Waits for `holds`, at most some seconds.
async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes and reads until it is told to end, by connections that stand and by new ones; how often.
fn load(
    client: impl Fn() -> Client + Send + 'static,
    key: String,
    end: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<usize> {
    tokio::spawn(async move {
        let (standing, body, mut count) = (client(), noise(200_000, 1), 0);
        while !end.load(Ordering::Relaxed) {
            standing.put("demo", &key, body.clone()).await.unwrap();
            assert!(standing.get("demo", &key).await.unwrap().body == body);
            assert!(client().get("demo", &key).await.unwrap().body == body);
            count += 1;
        }
        count
    })
}

/// A configuration's text before its credential, and another credential, whose secret lies beside it.
fn new_credential(dir: &Path, text: &str) -> (String, String) {
    let secret_file = dir.join("new.secret");
    std::fs::write(&secret_file, "the secret of the new credential\n").unwrap();
    std::fs::set_permissions(&secret_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (head, block) = text.split_once("[[credential]]").unwrap();
    let tenant = block.lines().find(|line| line.starts_with("tenant")).unwrap();
    let credential = format!(
        "[[credential]]\naccess_key_id = \"AKNEW\"\nsecret_file = \"new.secret\"\n{tenant}\nbuckets = [\"*\"]\n"
    );
    assert!(block.contains("credentials"));
    (head.to_owned(), credential)
}

/// A body that somebody feeds.
struct Fed(tokio::sync::mpsc::Receiver<bytes::Bytes>);

impl http_body::Body for Fed {
    type Data = bytes::Bytes;
    type Error = sealgate::net::body::BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(http_body::Frame::data(piece))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_under_way_end_under_the_rules_they_began_with() {
    use http_body_util::BodyExt as _;
    use sealgate::store::{Identity, Payload, StoreRequest};

    let served = serve();
    let (socket, config) = (served.dir.join("admin.sock"), served.dir.join("serve.toml"));
    let (large, new) = (noise(64 << 20, 1), noise(3 << 20, 2));
    served.app.put("demo", "large", large.clone()).await.unwrap();
    // a read whose answer has begun, and a write whose body has
    let held = served.app.begin("demo", "large").await;
    let (feed, fed) = tokio::sync::mpsc::channel(1);
    let (upstream, len) = (Arc::clone(&served.app.0), new.len() as u64);
    let writing = tokio::spawn(async move {
        let request = StoreRequest {
            method: http::Method::PUT,
            bucket: Some("demo"),
            key: Some(b"new"),
            query: sealgate::sigv4::uri::Query::default(),
            headers: http::HeaderMap::new(),
            body: Payload::Stream { body: Fed(fed).boxed_unsync(), len },
            identity: Identity::Own,
            trace: None,
        };
        upstream.send(request).await.map(|answer| answer.status.as_u16())
    });
    feed.send(new[..1 << 20].to_vec().into()).await.unwrap();
    let before = std::fs::read_to_string(&config).unwrap();
    let (head, credential) = new_credential(&served.dir, &before);
    std::fs::write(&config, format!("{head}{credential}")).unwrap();
    assert_eq!(reload(&socket).0, Some(0));
    assert_eq!(served.app.head("demo", "large").await.unwrap_err().0, 403, "it is nobody's credential any more");
    for piece in new[1 << 20..].chunks(1 << 20) {
        feed.send(piece.to_vec().into()).await.unwrap();
    }
    drop(feed);
    assert_eq!(writing.await.unwrap().unwrap(), 200);
    assert!(held.bytes(65 << 20).await.unwrap() == large);
    let other = Client::new(served.address, "AKNEW", "the secret of the new credential");
    assert!(other.get("demo", "new").await.unwrap().body == new);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_and_credential_are_exchanged_under_load_without_a_failed_request() {
    let files = Files::new();
    let served = serve_with(Some(&files));
    let port = served.address.port();
    let old_secret = secret_of(&served.dir, "sealgate");
    let ca = files.path("ca.pem");
    let (old_ca, new_ca) = (ca.clone(), ca.clone());
    let old = move || https_as(port, &old_ca, "AKSEALGATEDEMO", &old_secret);
    let new = move || https_as(port, &new_ca, "AKNEW", "the secret of the new credential");
    old().send(http::Method::PUT, "demo", "", &[], &[], None).await.ok();
    let [end_old, end_new] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let old_load: Vec<_> = (0..2).map(|n| load(old.clone(), format!("old-{n}"), Arc::clone(&end_old))).collect();

    let config = served.dir.join("serve.toml");
    let before = std::fs::read_to_string(&config).unwrap();
    let (head, credential) = new_credential(&served.dir, &before);

    // both credentials, and another certificate
    assert_eq!(new().head("demo", "old-0").await.unwrap_err().0, 403);
    let first = shown_certificate(port, &ca).await;
    files.renew();
    std::fs::write(&config, format!("{before}\n{credential}")).unwrap();
    served.gateway.signal(Signal::HUP);
    until("the new credential is let in", || async { new().list("demo", &[]).await.is_ok() }).await;
    assert_ne!(first, shown_certificate(port, &ca).await);
    let new_load: Vec<_> = (0..2).map(|n| load(new.clone(), format!("new-{n}"), Arc::clone(&end_new))).collect();

    // mistakes: a text that is none, a certificate without its key, what needs a restart; nothing changes
    let both = std::fs::read_to_string(&config).unwrap();
    let key = std::fs::read(files.path("tls.key")).unwrap();
    for (n, what) in ["text", "key", "address"].into_iter().enumerate() {
        match what {
            "text" => std::fs::write(&config, "[listen").unwrap(),
            "key" => std::fs::write(files.path("tls.key"), "none").unwrap(),
            _ => std::fs::write(&config, both.replace("127.0.0.1:0", "127.0.0.1:1")).unwrap(),
        }
        served.gateway.signal(Signal::HUP);
        let metric = format!("sealgate_config_reloads_total{{result=\"failed\"}} {}", n + 1);
        until(what, || async { probe(&served.admin, "/metrics").1.contains(&metric) }).await;
        std::fs::write(&config, &both).unwrap();
        std::fs::write(files.path("tls.key"), &key).unwrap();
    }

    // the old credential ends, after those who use it
    end_old.store(true, Ordering::Relaxed);
    let mut count = 0;
    for task in old_load {
        count += task.await.unwrap();
    }
    std::fs::write(&config, format!("{head}{credential}").replace("log = \"debug\"", "log = \"warn\"")).unwrap();
    served.gateway.signal(Signal::HUP);
    until("the old credential is refused", || async { old().head("demo", "old-0").await.is_err() }).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    end_new.store(true, Ordering::Relaxed);
    for task in new_load {
        count += task.await.unwrap();
    }
    assert!(count > 10, "{count}");
    // lines of requests are not written any more
    let len = std::fs::metadata(&served.log).unwrap().len();
    new().get("demo", "new-0").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(len, std::fs::metadata(&served.log).unwrap().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_termination_drains_and_the_log_holds_no_name_and_no_secret() {
    let mut served = serve();
    served.app.send(http::Method::PUT, "demo", "", &[], &[], None).await.ok();
    let headers = [("x-amz-meta-hidden", "metadata-of-the-marker"), ("content-type", "text/x-marker-type")];
    served.app.put_with("demo", "secret-object-name", &headers, "MARKER-PLAINTEXT").await.unwrap();
    served.app.get("demo", "secret-object-name").await.unwrap();
    let _ = served.app.get("demo", "another-secret-name").await;
    assert_eq!(probe(&served.admin, "/ready").0, 200);
    assert_eq!(probe(&served.admin, "/live").0, 200);
    assert!(
        probe(&served.admin, "/metrics")
            .1
            .contains("sealgate_requests_total{operation=\"PutObject\",status=\"2xx\"} 1")
    );

    // a transfer under way goes on
    served.app.put("demo", "large-secret-name", noise(48 << 20, 1)).await.unwrap();
    let app = Client(Arc::clone(&served.app.0));
    let under_way = tokio::spawn(async move { app.get("demo", "large-secret-name").await });
    tokio::time::sleep(Duration::from_millis(30)).await;
    served.gateway.signal(Signal::TERM);
    let got = under_way.await.unwrap().unwrap();
    assert_eq!(got.body.len(), 48 << 20);
    assert_eq!(served.gateway.ended(Duration::from_secs(12)), Some(0));
    let log = std::fs::read_to_string(&served.log).unwrap();
    assert!(log.contains("\"operation\":\"GetObject\"") && log.contains("\"bucket_id\":\"demo\""));
    let secrets = [secret_of(&served.dir, "sealgate"), secret_of(&served.dir, "provider")];
    let passphrase = std::fs::read_to_string(served.dir.join("passphrase")).unwrap();
    for word in [
        "secret-object-name",
        "another-secret",
        "large-secret",
        "MARKER",
        "marker-type",
        "metadata-of",
        "Signature=",
        passphrase.trim(),
        &secrets[0],
        &secrets[1],
    ] {
        assert!(!log.contains(word), "{word}");
    }
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_stops_no_request_and_its_losses_are_counted() {
    use std::io::Write as _;
    const REQUESTS: usize = 6000;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let (_demo, ..) = demo(&dir);
    let child = Command::new(BINARY)
        .args(["serve", "--config"])
        .arg(of_its_own(&dir, None))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut process = Process(child);
    let mut log = BufReader::new(process.0.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"serving\"") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0);
    }
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let (address, admin) = (line["address"].as_str().unwrap(), line["admin"].as_str().unwrap());
    // nobody reads on
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        let mut count = 0;
        while count < REQUESTS {
            line.clear();
            assert!(answers.read_line(&mut line).unwrap() > 0);
            count += line.matches("HTTP/1.1 403 ").count();
        }
    });
    for _ in 0..REQUESTS {
        stream.write_all(b"GET /demo/k HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    }
    reader.join().unwrap();
    let address = address.parse().unwrap();
    let app = Client::new(address, "AKSEALGATEDEMO", &secret_of(&dir, "sealgate"));
    app.put("demo", "k", "content").await.unwrap();
    assert_eq!(app.get("demo", "k").await.unwrap().body, "content");
    let (_, metrics) = probe(admin, "/metrics");
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("sealgate_log_lines_dropped_total ")).unwrap();
    assert!(dropped.trim().parse::<u64>().unwrap() > 0);
    process.signal(Signal::TERM);
    assert_eq!(process.ended(Duration::from_secs(12)), Some(0));
}

#[test]
fn check_names_every_mistake_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let once = Command::new(BINARY).args(["demo", "--once", "--dir"]).arg(&dir).output().unwrap();
    assert!(once.status.success());
    let good = Command::new(BINARY).args(["check", "--config"]).arg(dir.join("gateway.toml")).output().unwrap();
    assert_eq!(good.status.code(), Some(0), "{}", String::from_utf8_lossy(&good.stderr));
    let text = std::fs::read_to_string(dir.join("gateway.toml")).unwrap();
    let text = text
        .replace("region = ", "regoin = ")
        .replace("upstream = \"embedded\"", "upstream = \"elsewhere\"")
        .replace("provider = \"keyring\"", "provider = \"vault\"");
    std::fs::write(dir.join("bad.toml"), &text).unwrap();
    let bad = Command::new(BINARY).args(["check", "--config"]).arg(dir.join("bad.toml")).output().unwrap();
    let said = String::from_utf8(bad.stderr).unwrap();
    assert_eq!(bad.status.code(), Some(64), "{said}");
    for word in ["regoin", "upstream = \"elsewhere\"", "provider = \"vault\""] {
        let line = 1 + text.lines().position(|line| line.contains(word)).unwrap();
        assert!(said.contains(&format!("bad.toml:{line}: ")), "{word} at {line}: {said}");
    }
}

#[test]
fn the_doctor_proves_the_encryption_on_the_running_system() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let (_process, _, _) = demo(&dir);
    let run = || {
        Command::new(BINARY)
            .args(["check", "--online", "--bucket", "demo", "--config"])
            .arg(dir.join("gateway.toml"))
            .output()
            .unwrap()
    };
    let output = run();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "x-amz-copy-source-if-match: honoured",
        "If-None-Match on writes: honoured",
        "If-Match on writes: honoured",
        "If-Match on deletes: honoured",
        "parts of several lengths in one upload: taken",
        "what the profile `aws` promises, and what was found",
        "copies honour x-amz-copy-source-if-match   yes       : honoured",
        "smallest part that is not the last         5242880 B : not tried below 5 MiB",
        "the provider's copy of the canary",
        "with another key: the header does not authenticate",
        "opened, byte for byte",
        "the canary is deleted",
        "an upload was begun, took a part and was aborted; its records lay in the bucket itself",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_names_the_profile_of_a_store_that_does_less() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let (_process, _, store) = demo(&dir);
    let liar = super::liar::Liar::before(store.parse().unwrap());
    super::profiles::wants_equal_parts(&liar);
    let listening = super::rig::Server::start(liar, sealgate::net::server::ServerSettings::default()).await;
    let config = std::fs::read_to_string(dir.join("gateway.toml")).unwrap();
    let line = config.lines().find(|line| line.starts_with("endpoint = ")).unwrap();
    let config = config.replace(line, &format!("endpoint = \"http://{}\"", listening.address));
    let profile = config.lines().find(|line| line.starts_with("profile = \"")).unwrap().to_owned();
    for (name, code, said) in [("generic", 1, "use profile = \"r2\""), ("r2", 0, "all is well")] {
        std::fs::write(dir.join("other.toml"), config.replace(&profile, &format!("profile = \"{name}\""))).unwrap();
        let file = dir.join("other.toml");
        let output = tokio::task::spawn_blocking(move || {
            Command::new(BINARY).args(["check", "--online", "--bucket", "demo", "--config"]).arg(file).output().unwrap()
        });
        let output = output.await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gc_removes_what_a_crashed_upload_left_and_nothing_of_a_live_one() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("demo");
    let (_process, gateway, store) = demo(&dir);
    let app = Client::new(gateway.parse().unwrap(), "AKSEALGATEDEMO", &secret_of(&dir, "sealgate"));
    let provider = Client::new(store.parse().unwrap(), "AKPROVIDERDEMO", &secret_of(&dir, "provider"));
    let live = super::multipart::create(&app, "demo", "live", &[]).await;
    super::multipart::part(&app, ("demo", "live", &live), 1, "staged").await.unwrap();
    let dead = super::multipart::create(&app, "demo", "dead", &[]).await;
    super::multipart::part(&app, ("demo", "dead", &dead), 1, "staged").await.unwrap();
    // the upload ends behind the gateway's back
    let query = [("uploadId", dead.as_str())];
    provider.send(http::Method::DELETE, "demo", "dead", &query, &[], None).await.unwrap();
    let gc = |arguments: &[&str]| {
        let output = Command::new(BINARY)
            .args(["gc", "--json", "--config"])
            .arg(dir.join("gateway.toml"))
            .arg("demo")
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let young = gc(&[]);
    assert_eq!((young["leftovers"].as_array().unwrap().len(), young["younger"].as_u64()), (0, Some(4)));
    std::thread::sleep(Duration::from_millis(1100));
    let dry = gc(&["--older-than", "1s"]);
    assert_eq!((dry["leftovers"].as_array().unwrap().len(), dry["deleted"].as_u64()), (2, Some(0)));
    assert_eq!((dry["of_live_uploads"].as_u64(), dry["unfinished_uploads"].as_u64()), (Some(2), Some(1)));
    let done = gc(&["--older-than", "1s", "--delete"]);
    assert_eq!(done["deleted"].as_u64(), Some(2));
    assert_eq!(gc(&["--older-than", "1s"])["leftovers"].as_array().unwrap().len(), 0);
    let etag = super::multipart::part(&app, ("demo", "live", &live), 1, "staged").await.unwrap().etag();
    super::multipart::complete(&app, ("demo", "live", &live), &[(1, etag)]).await.unwrap();
    assert_eq!(app.get("demo", "live").await.unwrap().body, "staged");
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_stores_and_limits_are_exchanged_by_a_reload() {
    let served = serve();
    let (socket, config) = (served.dir.join("admin.sock"), served.dir.join("serve.toml"));
    let long = "m".repeat(1000);
    let put = async |bucket| served.app.put_with(bucket, "k", &[("x-amz-meta-m", long.as_str())], "content").await;
    put("demo").await.unwrap();
    let good = std::fs::read_to_string(&config).unwrap();
    // the bucket goes by another name, its store too, and less metadata is taken
    let other = good
        .replace("name = \"embedded\"", "name = \"renamed\"")
        .replace("upstream = \"embedded\"", "upstream = \"renamed\"")
        .replace("name = \"*\"\nupstream =", "name = \"app-*\"\nupstream =")
        .replace("[telemetry]", "[limits]\nmetadata = \"512 B\"\n[telemetry]");
    std::fs::write(&config, &other).unwrap();
    assert_eq!(reload(&socket), (Some(0), "the configuration was read again\n".to_owned()));
    assert_eq!(served.app.get("app-demo", "k").await.unwrap().body, "content");
    assert_eq!(served.app.get("demo", "k").await.unwrap_err(), (404, "NoSuchBucket".to_owned()));
    assert_eq!(put("app-demo").await.unwrap_err(), (400, "MetadataTooLarge".to_owned()));
    std::fs::write(&config, &good).unwrap();
    assert_eq!(reload(&socket).0, Some(0));
    put("demo").await.unwrap();
    assert_eq!(served.app.get("app-demo", "k").await.unwrap_err().0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_of_a_credential_is_kept_over_a_reload() {
    let served = serve();
    let (socket, config) = (served.dir.join("admin.sock"), served.dir.join("serve.toml"));
    served.app.put("demo", "large", noise(64 << 20, 1)).await.unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("[[credential]]", "[[credential]]\nrequests = 1")).unwrap();
    assert_eq!(reload(&socket).0, Some(0));
    // a body that nobody reads keeps its place
    let held = served.app.begin("demo", "large").await;
    let refused = (503, "SlowDown".to_owned());
    assert_eq!(served.app.head("demo", "large").await.unwrap_err().0, 503);
    assert_eq!(served.app.get("demo", "large").await.unwrap_err(), refused);
    assert_eq!(reload(&socket).0, Some(0));
    assert_eq!(served.app.get("demo", "large").await.unwrap_err(), refused, "the reload forgot who is served");
    drop(held);
    until("the place is free", || async { served.app.head("demo", "large").await.is_ok() }).await;
    assert_eq!(reload(&socket).0, Some(0));
    assert!(served.app.head("demo", "large").await.is_ok(), "the reload counts what has ended");
}

/// What `sealgate reload` answers: its exit code and what it says.
fn reload(socket: &Path) -> (Option<i32>, String) {
    let output = Command::new(BINARY).args(["reload", "--socket"]).arg(socket).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_asked_for_at_a_socket_and_answered() {
    use std::io::Write as _;
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
    use std::os::unix::net::UnixStream;

    let mut served = serve();
    let (socket, config) = (served.dir.join("admin.sock"), served.dir.join("serve.toml"));
    let found = std::fs::metadata(&socket).unwrap();
    assert!(found.file_type().is_socket() && found.permissions().mode() & 0o777 == 0o600);
    assert_eq!(reload(&socket), (Some(0), "the configuration was read again\n".to_owned()));

    // what is wrong is told with its line, and the old configuration stays
    let good = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, good.replace("region = ", "regoin = ")).unwrap();
    let line = 1 + good.lines().position(|line| line.contains("region = ")).unwrap();
    let (code, said) = reload(&socket);
    assert!(code == Some(1) && said.contains(&format!("serve.toml:{line}: ")), "{code:?} {said}");
    std::fs::write(&config, good.replace("admin.sock", "other.sock")).unwrap();
    let (code, said) = reload(&socket);
    assert!(code == Some(1) && said.contains("admin socket cannot be changed"), "{said}");
    served.app.put("demo", "k", "x").await.unwrap();
    std::fs::write(&config, &good).unwrap();

    // it holds at once
    keys(&served.dir, &["suspend", "default"]);
    assert_eq!(reload(&socket).0, Some(0));
    assert_eq!(served.app.get("demo", "k").await.unwrap_err(), (403, "KeyRevoked".to_owned()));

    let ask = |text: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.get(9..12).unwrap_or_default().to_owned()
    };
    assert_eq!(ask("GET /reload HTTP/1.1\r\nhost: x\r\n\r\n"), "405");
    assert_eq!(ask("POST /stop HTTP/1.1\r\nhost: x\r\n\r\n"), "404");
    assert_eq!(ask("nonsense\r\n\r\n"), "400");
    // those who ask and say nothing leave room again
    let silent: Vec<_> = (0..4).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    assert_eq!(reload(&socket).0, Some(0));
    drop(silent);

    // another user of the machine is not heard, whatever the file's permissions were made
    if rustix::process::geteuid().is_root() {
        use std::os::unix::process::CommandExt as _;
        let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let shared = tempfile::tempdir().unwrap();
        let binary = shared.path().join("sealgate");
        std::fs::copy(BINARY, &binary).unwrap();
        open(shared.path(), 0o755);
        served
            .dir
            .ancestors()
            .take_while(|folder| *folder != std::env::temp_dir())
            .for_each(|folder| open(folder, 0o711));
        open(&socket, 0o777);
        let ask_as = |uid| {
            let output = Command::new(&binary).args(["reload", "--socket"]).arg(&socket).uid(uid).output().unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        assert_eq!(ask_as(0).0, Some(0));
        let (code, said) = ask_as(65_534);
        assert!(code == Some(1) && !said.contains("Permission denied"), "{code:?} {said}");
        open(&socket, 0o600);
    } else {
        eprintln!("SKIPPED: another user at the admin socket: only root can be another user");
    }

    // a second gateway takes nothing away, nor does one that finds a file
    let second = |config: &Path| Command::new(BINARY).args(["serve", "--config"]).arg(config).output().unwrap();
    let refused = second(&config);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another process listens there"));
    assert_eq!(reload(&socket).0, Some(0));
    std::fs::write(served.dir.join("other.sock"), "mine").unwrap();
    std::fs::write(served.dir.join("second.toml"), good.replace("admin.sock", "other.sock")).unwrap();
    assert_eq!(second(&served.dir.join("second.toml")).status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(served.dir.join("other.sock")).unwrap(), "mine");

    served.gateway.signal(Signal::TERM);
    assert_eq!(served.gateway.ended(Duration::from_secs(15)), Some(0));
    assert!(!socket.exists());
    assert_eq!(reload(&socket).0, Some(1));
    // one that was killed leaves its socket behind, which the next one replaces
    std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(socket.exists());
    let mut next = Process(Command::new(BINARY).args(["serve", "--config"]).arg(&config).spawn().unwrap());
    until("the next one listens", || async { reload(&socket).0 == Some(0) }).await;
    next.signal(Signal::TERM);
    assert_eq!(next.ended(Duration::from_secs(15)), Some(0));
}
