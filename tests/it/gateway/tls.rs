//! TLS and HTTP/2 towards applications.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use sealgate::clock::{Clock as _, SystemClock};
use sealgate::net::body::{self, Body};
use sealgate::net::server::ServerSettings;
use sealgate::net::tls::{ServerTls, client_config, server_config};
use sealgate::sigv4::{self, AmzDate, ContentSha256, CredentialScope, Headers, RequestView, SigningKey};
use sealgate::store::Upstream;
use sealgate::store::settings::{Addressing, Credentials, Profile, UpstreamSettings, UpstreamTimeouts};
use tokio::net::TcpStream;

use super::rig::{Client, Plan, REGION, Rig, Server, gateway, noise, secret};

pub struct Files {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Files {
    /// An authority, and a certificate of it for `localhost`.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let ca = authority.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let files = Self { folder, issuer };
        files.renew();
        files
    }

    /// Another certificate of the same authority.
    pub fn renew(&self) {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path("tls.pem"), leaf.pem()).unwrap();
        std::fs::write(self.path("tls.key"), key.serialize_pem()).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(self.path("tls.key"), mode).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self, client_ca: Option<&Path>) -> ServerSettings {
        let config = server_config(&self.path("tls.pem"), &self.path("tls.key"), client_ca).unwrap();
        ServerSettings { tls: Some(Arc::new(ServerTls::new(config))), ..ServerSettings::default() }
    }
}

fn https(port: u16, ca: &Path) -> Client {
    https_as(port, ca, "AKALPHA", "secret of AKALPHA")
}

pub fn https_as(port: u16, ca: &Path, id: &str, secret_text: &str) -> Client {
    let settings = UpstreamSettings {
        name: "client".to_owned(),
        endpoint: format!("https://localhost:{port}").parse().unwrap(),
        region: REGION.to_owned(),
        profile: Profile::Generic,
        addressing: Addressing::Path,
        credentials: Credentials {
            access_key_id: id.to_owned(),
            secret: Arc::new(secret(secret_text)),
            session_token: None,
        }
        .into(),
        ca: Some(ca.to_owned()),
        proxy: None,
        timeouts: UpstreamTimeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(10),
            idle: Duration::from_secs(10),
        },
        max_requests: 8,
        checksums: false,
    };
    Client(Arc::new(Upstream::new(settings, Arc::new(SystemClock)).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_to_those_who_trust_the_authority_and_have_a_certificate_where_one_is_wanted() {
    let (files, strangers) = (Files::new(), Files::new());
    let rig = Rig::with(Plan { server: files.settings(None), ..Plan::default() }).await;
    let port = rig.gateway.address.port();
    let app = https(port, &files.path("ca.pem"));
    app.put("data", "k", noise(3 << 20, 1)).await.unwrap();
    assert!(app.get("data", "k").await.unwrap().body == noise(3 << 20, 1));
    let (status, what) = https(port, &strangers.path("ca.pem")).get("data", "k").await.unwrap_err();
    assert!(status == 0 && what.contains("TLS"), "{what}");

    let rig = Rig::with(Plan { server: files.settings(Some(&files.path("ca.pem"))), ..Plan::default() }).await;
    let without = https(rig.gateway.address.port(), &files.path("ca.pem")).get("data", "k").await.unwrap_err();
    assert_eq!(without.0, 0);
}

/// The certificate that a new connection is shown.
pub async fn shown_certificate(port: u16, ca: &Path) -> Vec<u8> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(Some(ca)).unwrap()));
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// One GET over HTTP/1.1 by a client that trusts `trusted` and shows a certificate of `own`; `None`: it was not let in.
async fn get_with_certificate(port: u16, trusted: &Files, own: &Files) -> Option<(u16, bytes::Bytes)> {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted.path("ca.pem")).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(own.path("tls.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(own.path("tls.key")).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let authority = format!("localhost:{port}");
    let mut request = signed(&authority, "/data/k");
    *request.uri_mut() = "/data/k".parse().unwrap();
    request.headers_mut().insert("host", authority.parse().unwrap());
    let answer = sender.send_request(request).await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.into_body().collect().await.ok()?.to_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_of_the_authority_lets_in_and_one_of_another_does_not() {
    let (files, strangers) = (Files::new(), Files::new());
    let rig = Rig::with(Plan { server: files.settings(Some(&files.path("ca.pem"))), ..Plan::default() }).await;
    let port = rig.gateway.address.port();
    let bytes = noise(70_000, 3);
    // a replica without TLS puts the object
    let plain = gateway(&rig.plan, rig.provider.address, &rig.keyring, &rig.metrics);
    let plain = Server::start(Arc::new(plain), ServerSettings::default()).await;
    let app = Client::new(plain.address, "AKALPHA", "secret of AKALPHA");
    app.put("data", "k", bytes.clone()).await.unwrap();
    assert!(get_with_certificate(port, &files, &files).await == Some((200, bytes.into())));
    assert_eq!(get_with_certificate(port, &files, &strangers).await, None);
}

/// A signed request with the target in the form of HTTP/2.
pub(super) fn signed(authority: &str, path: &str) -> http::Request<Body> {
    let date = AmzDate::of(SystemClock.now());
    let key = SigningKey::derive(&secret("secret of AKALPHA"), &CredentialScope::new(date, REGION));
    let fields: [(&str, &[u8]); 1] = [("host", authority.as_bytes())];
    let view = RequestView { method: "GET", path, query: "", headers: Headers::new(&fields) };
    let credentials = sigv4::Credentials { access_key_id: "AKALPHA", key: &key, session_token: None };
    let made = sigv4::sign(&view, &credentials, date, ContentSha256::Unsigned).unwrap();
    let mut request = http::Request::builder().uri(format!("https://{authority}{path}"));
    for (name, value) in made.fields() {
        request = request.header(name, value);
    }
    request.body(body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_over_tls_and_in_the_clear() {
    let files = Files::new();
    for tls in [true, false] {
        let server = if tls { files.settings(None) } else { ServerSettings::default() };
        let rig = Rig::with(Plan { server, ..Plan::default() }).await;
        // through the store's own client, which knows the address
        let bytes = noise(5 << 20, 7);
        let put = if tls { https(rig.gateway.address.port(), &files.path("ca.pem")) } else { rig.app() };
        put.put("data", "k", bytes.clone()).await.unwrap();
        let stream = TcpStream::connect(rig.gateway.address).await.unwrap();
        let authority = format!("localhost:{}", rig.gateway.address.port());
        let executor = TokioExecutor::new();
        let mut sender = if tls {
            let mut config = client_config(Some(&files.path("ca.pem"))).unwrap();
            config.alpn_protocols = vec![b"h2".to_vec()];
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (sender, connection) =
                hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender
        } else {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await.unwrap();
            tokio::spawn(connection);
            sender
        };
        let mut under_way = Vec::new();
        for _ in 0..5 {
            let answer = sender.send_request(signed(&authority, "/data/k"));
            under_way.push(tokio::spawn(async move {
                let answer = answer.await.unwrap();
                assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
                answer.into_body().collect().await.unwrap().to_bytes()
            }));
        }
        for read in under_way {
            assert!(read.await.unwrap() == bytes);
        }
        let unsigned = http::Request::builder().uri(format!("https://{authority}/data/k")).body(body::empty()).unwrap();
        assert_eq!(sender.send_request(unsigned).await.unwrap().status().as_u16(), 403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_http_2_whose_receiver_takes_nothing_is_cut() {
    let server = ServerSettings { idle_timeout: Duration::from_millis(300), ..ServerSettings::default() };
    let rig = Rig::with(Plan { server, ..Plan::default() }).await;
    rig.app().put("data", "k", noise(16 << 20, 7)).await.unwrap();
    let stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    let authority = format!("localhost:{}", rig.gateway.address.port());
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(signed(&authority, "/data/k")).await.unwrap();
    // the answer's body is held and not read
    let ended = tokio::time::timeout(Duration::from_secs(5), connection).await;
    assert!(ended.is_ok(), "the connection is cut");
    assert!(answer.into_body().collect().await.is_err());
}
