//! A whole gateway and a provider in one process, each on its own loopback port, and S3 clients for both.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sealgate::clock::{Clock, SystemClock};
use sealgate::crypto::random::RandomSource;
use sealgate::crypto::wrap::WrapAlg;
use sealgate::embedded::face::Face;
use sealgate::embedded::{Durability, Options, Store};
use sealgate::gateway::settings::{
    Access, BucketRule, CredentialRule, EtagMode, Limits, NamePattern, OriginPattern, Settings, Template, Timeouts,
};
use sealgate::gateway::{Components, Gateway};
use sealgate::keys::keyring::{Argon2Params, Keyring, Readiness};
use sealgate::keys::recovery::{KitForm, RecoverySecret};
use sealgate::net::server::{Handler, ServerSettings, ServerStats, serve};
use sealgate::secret::Secret;
use sealgate::sigv4::AccessKeyId;
use sealgate::sigv4::uri::Query;
use sealgate::store::settings::{Addressing, Credentials, Profile, UpstreamSettings, UpstreamTimeouts};
use sealgate::store::{Answer, Identity, Payload, StoreError, StoreRequest, Upstream};
use sealgate::telemetry::Metrics;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

pub const REGION: &str = "us-east-1";

pub fn secret(text: &str) -> Secret<str> {
    Secret::from_text(&Zeroizing::new(text.to_owned()))
}

/// A server that is stopped when it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub stats: Arc<ServerStats>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start<H: Handler>(handler: Arc<H>, settings: ServerSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let stats = Arc::new(ServerStats::default());
        let counted = Arc::clone(&stats);
        let task = tokio::spawn(async move {
            serve(listener, settings, handler, counted, async {
                let _ = stopped.await;
            })
            .await;
        });
        Self { address, stats, stop: Some(stop), task }
    }

    /// Stops it, and waits until it has ended.
    pub async fn stopped(&mut self) {
        drop(self.stop.take());
        let _ = (&mut self.task).await;
    }

    /// Cuts everything at once, as a killed process would.
    pub fn kill(&self) {
        self.task.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.task.abort();
    }
}

/// An answer to a client, read whole.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn etag(&self) -> String {
        self.header("etag").to_owned()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What a client may be told: an answer, or (status, code).
pub type Outcome = Result<Got, (u16, String)>;

/// An S3 client.
pub struct Client(pub Arc<Upstream>);

impl Client {
    pub fn new(address: SocketAddr, id: &str, secret_text: &str) -> Self {
        let settings = UpstreamSettings {
            name: "client".to_owned(),
            endpoint: format!("http://{address}").parse().unwrap(),
            region: REGION.to_owned(),
            profile: Profile::Generic,
            addressing: Addressing::Path,
            credentials: Credentials {
                access_key_id: id.to_owned(),
                secret: Arc::new(secret(secret_text)),
                session_token: None,
            }
            .into(),
            ca: None,
            proxy: None,
            timeouts: UpstreamTimeouts {
                connect: Duration::from_secs(10),
                first_byte: Duration::from_mins(1),
                idle: Duration::from_secs(30),
            },
            max_requests: 64,
            checksums: false,
        };
        Self(Arc::new(Upstream::new(settings, Arc::new(SystemClock)).unwrap()))
    }

    /// What the client itself is told, the body not read yet.
    pub async fn sent(
        &self,
        identity: Identity<'_>,
        method: Method,
        (bucket, key): (&str, &str),
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Answer, StoreError> {
        let mut asked = Query::default();
        for (name, value) in query {
            asked.push(*name, *value);
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let request = StoreRequest {
            method,
            bucket: (!bucket.is_empty()).then_some(bucket),
            key: (!key.is_empty()).then_some(key.as_bytes()),
            query: asked,
            headers: map,
            body: body.map_or(Payload::Empty, Payload::Bytes),
            identity,
            trace: None,
        };
        self.0.send(request).await
    }

    pub async fn send(
        &self,
        method: Method,
        bucket: &str,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Outcome {
        match self.sent(Identity::Own, method, (bucket, key), query, headers, body).await {
            Ok(answer) => {
                let (status, headers) = (answer.status.as_u16(), answer.headers.clone());
                match answer.bytes(1 << 30).await {
                    Ok(body) => Ok(Got { status, headers, body }),
                    Err(_) => Err((status, "cut".to_owned())),
                }
            }
            Err(StoreError::Refused(refused)) => {
                let code = refused.code.map_or("", sealgate::s3::error::ErrorCode::name);
                Err((refused.status, code.to_owned()))
            }
            Err(StoreError::Credentials | StoreError::Signature) => Err((403, "credentials".to_owned())),
            Err(error) => Err((0, error.to_string())),
        }
    }

    /// An answer of GET whose body is not read yet.
    pub async fn begin(&self, bucket: &str, key: &str) -> Answer {
        self.sent(Identity::Own, Method::GET, (bucket, key), &[], &[], None).await.unwrap()
    }

    pub async fn put(&self, bucket: &str, key: &str, body: impl Into<Bytes>) -> Outcome {
        self.send(Method::PUT, bucket, key, &[], &[], Some(body.into())).await
    }

    pub async fn put_with(&self, bucket: &str, key: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Outcome {
        self.send(Method::PUT, bucket, key, &[], headers, Some(body.into())).await
    }

    pub async fn get(&self, bucket: &str, key: &str) -> Outcome {
        self.send(Method::GET, bucket, key, &[], &[], None).await
    }

    pub async fn get_with(&self, bucket: &str, key: &str, headers: &[(&str, &str)]) -> Outcome {
        self.send(Method::GET, bucket, key, &[], headers, None).await
    }

    pub async fn head(&self, bucket: &str, key: &str) -> Outcome {
        self.send(Method::HEAD, bucket, key, &[], &[], None).await
    }

    pub async fn delete(&self, bucket: &str, key: &str) -> Outcome {
        self.send(Method::DELETE, bucket, key, &[], &[], None).await
    }

    pub async fn list(&self, bucket: &str, query: &[(&str, &str)]) -> Outcome {
        self.send(Method::GET, bucket, "", query, &[], None).await
    }

    pub async fn list_of_parts(&self, bucket: &str, key: &str, id: &str) -> String {
        self.send(Method::GET, bucket, key, &[("uploadId", id)], &[], None).await.unwrap().text()
    }

    pub async fn post(&self, bucket: &str, key: &str, query: &[(&str, &str)], body: impl Into<Bytes>) -> Outcome {
        self.send(Method::POST, bucket, key, query, &[], Some(body.into())).await
    }
}

/// What stands in the elements of that name, in order.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open).skip(1).filter_map(|rest| rest.split_once(&close)).map(|(text, _)| text.to_owned()).collect()
}

/// How a rig is made.
pub struct Plan {
    pub profile: Profile,
    pub limits: Limits,
    pub server: ServerSettings,
    pub upstream_timeouts: UpstreamTimeouts,
    pub verify_whole: u64,
    pub etag: EtagMode,
    /// What `other` is open for without a signature.
    pub open: Access,
    /// The provider's smallest part.
    pub min_part: u64,
    /// The provider as the gateway reaches it, if not directly.
    pub through: Option<SocketAddr>,
    /// Another provider, where `second` is then.
    pub elsewhere: Option<SocketAddr>,
    pub state_bucket: Option<String>,
    /// Whether applications have an identity of their own at the provider, APPLICATION.
    pub has_app_identity: bool,
    /// Requests to the provider at once.
    pub upstream_requests: u32,
    /// Whether every PutObject comes with a checksum of the ciphertext.
    pub checksums: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            profile: Profile::Aws,
            limits: Limits { header: 64 << 10, metadata: 2048, requests: 1024, connections: 1024, memory: 256 << 20 },
            server: ServerSettings::default(),
            upstream_timeouts: UpstreamTimeouts {
                connect: Duration::from_secs(5),
                first_byte: Duration::from_secs(30),
                idle: Duration::from_secs(10),
            },
            verify_whole: 1 << 20,
            etag: EtagMode::Opaque,
            open: Access::ReadOnly,
            min_part: 5 << 20,
            through: None,
            elsewhere: None,
            state_bucket: None,
            has_app_identity: false,
            upstream_requests: 512,
            checksums: false,
        }
    }
}

/// Buckets `data`, `other` (one tenant and KEK), `second` (another KEK), `team-*`; `beta` of another tenant.
pub struct Rig {
    pub store: Store,
    pub provider: Server,
    pub gateway: Server,
    pub keyring: Arc<Keyring>,
    pub metrics: Arc<Metrics>,
    pub plan: Plan,
    _folder: TempDir,
}

fn rule(name: &str, upstream_name: &str, id: &str, tenant: &str, kek: &str, plan: &Plan) -> BucketRule {
    BucketRule {
        name: NamePattern::parse(name).unwrap(),
        upstream: if name == "second" && plan.elsewhere.is_some() { "elsewhere" } else { "main" }.to_owned(),
        upstream_name: Template::parse(upstream_name).unwrap(),
        id: Template::parse(id).unwrap(),
        tenant: tenant.parse().unwrap(),
        kek: kek.parse().unwrap(),
        recovery: true,
        verify_whole: plan.verify_whole,
        etag: plan.etag,
        locations: vec![":fast&".to_owned()],
        cors_origins: ["https://app.example", "https://evil.example"]
            .iter()
            .filter_map(|o| OriginPattern::parse(o))
            .collect(),
        destinations: name == "second",
        anonymous: (name == "other").then_some(plan.open),
        state_bucket: plan.state_bucket.clone(),
    }
}

/// Credentials for the provider.
pub fn identity(id: &str) -> Credentials {
    Credentials {
        access_key_id: id.to_owned(),
        secret: Arc::new(secret(&format!("secret of {id}"))),
        session_token: None,
    }
}

fn credential(id: &str, tenant: &str, buckets: &[&str], access: Access, plan: &Plan) -> CredentialRule {
    CredentialRule {
        access_key_id: AccessKeyId::parse(id).unwrap(),
        secret: Arc::new(secret(&format!("secret of {id}"))),
        tenant: tenant.parse().unwrap(),
        buckets: buckets.iter().map(|b| NamePattern::parse(b).unwrap()).collect(),
        access,
        upstream_credentials: plan.has_app_identity.then(|| identity("APPLICATION").into()),
        max_requests: 512,
        requests_per_second: None,
        signature_v2: id == "AKOLD",
    }
}

pub fn random() -> Arc<RandomSource> {
    Arc::new(RandomSource::new(&[b"tests", &std::process::id().to_le_bytes()]))
}

pub fn keyring() -> Keyring {
    let (now, random) = (SystemClock.now(), random());
    let kit = (&RecoverySecret::new(Secret::from_bytes([9; 32])), KitForm::Phrase);
    let passphrase = Secret::from_bytes_of(b"a passphrase of tests");
    let mut keyring = Keyring::create(&passphrase, Argon2Params::FLOOR, kit, now, &random).unwrap();
    for (name, tenant) in [("kek-a", "alpha"), ("kek-b", "alpha"), ("kek-beta", "beta")] {
        let (name, tenant) = (name.parse().unwrap(), tenant.parse().unwrap());
        keyring.create_entry(&name, &tenant, WrapAlg::Local, Readiness::Active, now, &random).unwrap();
    }
    keyring
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(Plan::default()).await
    }

    pub async fn with(plan: Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = Options::new(Arc::new(SystemClock), random());
        options.durability = Durability::None;
        options.limits.min_part = plan.min_part;
        let store = Store::open(folder.path(), options).unwrap();
        for bucket in ["up-data", "up-other", "up-second", "up-beta", "up-team-red", "up-state"] {
            store.create_bucket(&bucket.parse().unwrap()).unwrap();
        }
        let identities = ["PROVIDER", "APPLICATION"]
            .map(|id| (AccessKeyId::parse(id).unwrap(), Arc::new(secret(&format!("secret of {id}")))));
        let face = Face::new(store.clone(), REGION, identities, Arc::new(SystemClock));
        let provider = Server::start(Arc::new(face), ServerSettings::default()).await;
        let keyring = Arc::new(keyring());
        let metrics = Arc::new(Metrics::default());
        let gateway = Self::replica_of(&plan, provider.address, &keyring, &metrics).await;
        Self { store, provider, gateway, keyring, metrics, plan, _folder: folder }
    }

    /// Another gateway before the same store.
    pub async fn replica(&self) -> Server {
        Self::replica_of(&self.plan, self.provider.address, &self.keyring, &self.metrics).await
    }

    async fn replica_of(plan: &Plan, provider: SocketAddr, keyring: &Arc<Keyring>, metrics: &Arc<Metrics>) -> Server {
        Server::start(Arc::new(gateway(plan, provider, keyring, metrics)), plan.server.clone()).await
    }

    pub fn client(&self, id: &str) -> Client {
        Client::new(self.gateway.address, id, &format!("secret of {id}"))
    }

    /// The application's usual client.
    pub fn app(&self) -> Client {
        self.client("AKALPHA")
    }

    /// A client of the provider's own side.
    pub fn provider_client(&self) -> Client {
        Client::new(self.provider.address, "PROVIDER", "secret of PROVIDER")
    }

    /// All keys that lie in a bucket of the provider, with their sizes.
    pub async fn stored(&self, bucket: &str) -> HashMap<String, u64> {
        let text = self.provider_client().list(bucket, &[("list-type", "2")]).await.unwrap().text();
        let sizes = elements(&text, "Size").into_iter().map(|size| size.parse().unwrap());
        elements(&text, "Key").into_iter().zip(sizes).collect()
    }
}

pub fn rules(plan: &Plan) -> Vec<BucketRule> {
    vec![
        rule("data", "up-data", "id-data", "alpha", "kek-a", plan),
        rule("other", "up-other", "id-other", "alpha", "kek-a", plan),
        rule("second", "up-second", "id-second", "alpha", "kek-b", plan),
        rule("team-*", "up-team-*", "team-*", "alpha", "kek-a", plan),
        rule("beta", "up-beta", "id-beta", "beta", "kek-beta", plan),
    ]
}

pub fn gateway(plan: &Plan, provider: SocketAddr, keyring: &Arc<Keyring>, metrics: &Arc<Metrics>) -> Gateway {
    let upstream = UpstreamSettings {
        name: "main".to_owned(),
        endpoint: format!("http://{}", plan.through.unwrap_or(provider)).parse().unwrap(),
        region: REGION.to_owned(),
        profile: plan.profile,
        addressing: Addressing::Path,
        credentials: identity("PROVIDER").into(),
        ca: None,
        proxy: None,
        timeouts: plan.upstream_timeouts,
        max_requests: plan.upstream_requests,
        checksums: plan.checksums,
    };
    let mut upstreams = vec![upstream.clone()];
    upstreams.extend(plan.elsewhere.map(|address| UpstreamSettings {
        name: "elsewhere".to_owned(),
        endpoint: format!("http://{address}").parse().unwrap(),
        ..upstream
    }));
    let upstreams =
        upstreams.into_iter().map(|settings| Arc::new(Upstream::new(settings, Arc::new(SystemClock)).unwrap()));
    let settings = Settings {
        region: REGION.to_owned(),
        domains: vec!["s3.test".to_owned()],
        limits: plan.limits,
        timeouts: Timeouts {
            header: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            keep_alive: Duration::from_mins(1),
            drain: Duration::from_secs(10),
        },
        buckets: rules(plan),
        credentials: vec![
            credential("AKALPHA", "alpha", &["data", "other", "second", "team-*"], Access::ReadWrite, plan),
            credential("AKREADER", "alpha", &["data"], Access::ReadOnly, plan),
            credential("AKWRITER", "alpha", &["data"], Access::WriteOnly, plan),
            credential("AKBETA", "beta", &["beta", "data"], Access::ReadWrite, plan),
            credential("AKOLD", "alpha", &["data"], Access::ReadWrite, plan),
        ],
    };
    Gateway::new(Components {
        settings,
        upstreams: upstreams.collect(),
        keys: Arc::clone(keyring) as Arc<dyn sealgate::keys::KeyProvider>,
        clock: Arc::new(SystemClock),
        random: random(),
        metrics: Arc::clone(metrics),
    })
}

/// Bytes that look like nothing, the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}
