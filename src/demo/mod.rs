//! The demo: a gateway, a keyring and an embedded store in one process, with both views of one object side by side.
//!
//! ```text
//! DIR/gateway.toml   the gateway's configuration, written at every start
//! DIR/keyring        the keys; DIR/passphrase opens it, and lying beside it protects nothing
//! DIR/credentials    AWS profiles: [sealgate] for the gateway, [provider] for the store behind it
//! DIR/store/         what a provider would hold
//! ```

mod leak;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::app::{self, AppError, Running};
use crate::clock::{Clock, SystemClock};
use crate::config::profile::{self, section};
use crate::config::{Config, ConfigErrors};
use crate::crypto::random::{RandomError, RandomSource};
use crate::crypto::wrap::WrapAlg;
use crate::digest::hex;
use crate::embedded::face::Face;
use crate::embedded::{Options, Store, StoreError as EmbeddedError};
use crate::keys::file::{FileError, create_private};
use crate::keys::keyring::{Argon2Params, Keyring, KeyringFile, Readiness};
use crate::keys::recovery::{KitForm, RecoverySecret};
use crate::net::server::{ServerSettings, ServerStats, serve};
use crate::secret::Secret;
use crate::sigv4::AccessKeyId;
use crate::sigv4::uri::Query;
use crate::store::settings::{Addressing, Credentials, Profile, UpstreamSettings};
use crate::store::{Answer, Identity, Payload, StoreError, StoreRequest, Upstream};

pub use leak::{Leak, find_leak};

const REGION: &str = "us-east-1";
/// The bucket of the sample.
pub const BUCKET: &str = "demo";
/// The sample's key.
pub const KEY: &str = "reports/2026 summary.txt";
const TEXT: &str = "Dear board, this is the annual letter. Revenue grew by eleven percent; the merger stays confidential.\n\
                    Nobody but us can read this sentence, least of all whoever keeps it.\n";
const CONTENT_TYPE: &str = "text/plain; charset=utf-8; purpose=annual-letter";
const USER_METADATA: (&str, &str) = ("x-amz-meta-classification", "strictly-confidential");

/// Why the demo does not run.
#[derive(Debug, Error)]
pub enum DemoError {
    /// A file of its folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// A folder or a socket.
    #[error("{what}: {cause}")]
    Io {
        /// Of what.
        what: String,
        /// What happened.
        cause: std::io::Error,
    },
    /// The system's randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The keyring.
    #[error("the keyring: {0}")]
    Keyring(String),
    /// The embedded store.
    #[error("the embedded store: {0}")]
    Store(#[from] EmbeddedError),
    /// The configuration that it wrote.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The gateway.
    #[error(transparent)]
    App(#[from] AppError),
    /// A request.
    #[error("a request failed: {0}")]
    Request(#[from] StoreError),
    /// The file of credentials.
    #[error("{0}")]
    Credentials(String),
    /// Something cannot be made of what is there.
    #[error("{0}")]
    Wrong(&'static str),
    /// What was read is not what was written.
    #[error("what came back is not what was written")]
    Different,
    /// The store's files hold something of the sample.
    #[error("the store's files hold {0}")]
    Leak(Leak),
}

fn io(what: &Path) -> impl FnOnce(std::io::Error) -> DemoError + '_ {
    move |cause| DemoError::Io { what: what.display().to_string(), cause }
}

/// A demo that runs.
pub struct Demo {
    /// Its folder.
    pub dir: PathBuf,
    /// Where the gateway serves.
    pub gateway: SocketAddr,
    /// Where the store behind it serves.
    pub store: SocketAddr,
    running: Running,
    stop_store: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
    application: Credentials,
    provider: Credentials,
}

/// What both sides see of the sample.
pub struct Views {
    /// The application's answer: headers and body.
    pub application: (HeaderMap, Bytes),
    /// The provider's.
    pub provider: (HeaderMap, Bytes),
}

/// Makes the folder's files, or finds them.
fn prepare(dir: &Path, random: &RandomSource) -> Result<(Credentials, Credentials), DemoError> {
    fs::create_dir_all(dir).map_err(io(dir))?;
    let (clock, passphrase_file) = (SystemClock, dir.join("passphrase"));
    if !dir.join("keyring").exists() {
        let now = clock.now();
        let drawn: [u8; 16] = random.draw_public(now, b"demo passphrase")?;
        let passphrase = Zeroizing::new(hex(&drawn));
        if passphrase_file.exists() {
            return Err(DemoError::Wrong(
                "the folder has a passphrase but no keyring: it is no demo's, or a broken one",
            ));
        }
        let kit = RecoverySecret::draw(now, random)?;
        let wrong = |error: &dyn std::fmt::Display| DemoError::Keyring(error.to_string());
        let secret = Secret::from_bytes_of(passphrase.as_bytes());
        // a random passphrase needs no slow hash
        let mut keyring = Keyring::create(&secret, Argon2Params::FLOOR, (&kit, KitForm::Phrase), now, random)
            .map_err(|error| wrong(&error))?;
        let name = "default".parse().map_err(|_| DemoError::Wrong("a name"))?;
        let tenant = "main".parse().map_err(|_| DemoError::Wrong("a name"))?;
        keyring
            .create_entry(&name, &tenant, WrapAlg::Local, Readiness::Active, now, random)
            .map_err(|error| wrong(&error))?;
        create_private(&passphrase_file, format!("{}\n", passphrase.as_str()).as_bytes())?;
        KeyringFile::new(dir.join("keyring")).create(&keyring, now, random).map_err(|error| wrong(&error))?;
    }
    let path = dir.join("credentials");
    if !path.exists() {
        let draw = |what: &[u8]| random.draw_public::<20>(clock.now(), what).map(|bytes| Zeroizing::new(hex(&bytes)));
        let application = section("sealgate", "AKSEALGATEDEMO", &draw(b"application")?, REGION);
        let provider = section("provider", "AKPROVIDERDEMO", &draw(b"provider")?, REGION);
        let text = Zeroizing::new(format!(
            "# the application's identity at the gateway\n{}\n# the gateway's identity at the store\n{}",
            application.as_str(),
            provider.as_str()
        ));
        create_private(&path, text.as_bytes())?;
    }
    let identity = |name: &str| profile::read(&path, name).map_err(DemoError::Credentials);
    Ok((identity("sealgate")?, identity("provider")?))
}

fn configuration(gateway: SocketAddr, store: SocketAddr) -> String {
    format!(
        r#"# Written by `sealgate demo` at every start. For real use begin with `sealgate init` and config/gateway.toml.
[listen]
address = "{gateway}"
region = "{REGION}"

[telemetry]
log = "warn"
format = "text"

[[upstream]]
name = "embedded"
endpoint = "http://{store}"
profile = "aws"            # the embedded store honours S3's conditions
credentials = {{ file = "credentials", profile = "provider" }}

[keys]
provider = "keyring"
file = "keyring"
passphrase_file = "passphrase"  # beside its keyring it protects nothing

[[tenant]]
id = "main"

# every bucket, under its own name
[[bucket]]
name = "*"
upstream = "embedded"
upstream_name = "*"
id = "*"
tenant = "main"
kek = "default"

[[credential]]
credentials = {{ file = "credentials", profile = "sealgate" }}
tenant = "main"
buckets = ["*"]
"#
    )
}

async fn bind(port: u16) -> Result<(TcpListener, SocketAddr), DemoError> {
    let what = || format!("127.0.0.1:{port}");
    let listener =
        TcpListener::bind(("127.0.0.1", port)).await.map_err(|cause| DemoError::Io { what: what(), cause })?;
    let address = listener.local_addr().map_err(|cause| DemoError::Io { what: what(), cause })?;
    Ok((listener, address))
}

impl Demo {
    /// Starts the store and the gateway before it. `port` is the gateway's, the next one the store's; 0: any two.
    pub async fn start(dir: &Path, port: u16, random: Arc<RandomSource>) -> Result<Self, DemoError> {
        let (application, provider) = prepare(dir, &random)?;
        let folder = dir.join("store");
        let (clock, opener) = (Arc::new(SystemClock), Arc::clone(&random));
        let opened = {
            let options = Options::new(Arc::clone(&clock) as Arc<dyn Clock>, opener);
            tokio::task::spawn_blocking(move || Store::open(&folder, options)).await
        };
        let store = opened.map_err(|_| DemoError::Wrong("the store was not opened"))??;
        let (listener, store_address) = bind(if port == 0 { 0 } else { port.saturating_add(1) }).await?;
        let id = AccessKeyId::parse(&provider.access_key_id).ok_or(DemoError::Wrong("an access key id"))?;
        let face = Face::new(store, REGION, [(id, Arc::clone(&provider.secret))], clock);
        let (stop_store, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            let (settings, stats) = (ServerSettings::default(), Arc::new(ServerStats::default()));
            serve(listener, settings, Arc::new(face), stats, async {
                let _ = stopped.await;
            })
            .await;
        });
        let wanted = SocketAddr::from(([127, 0, 0, 1], port));
        let path = dir.join("gateway.toml");
        fs::write(&path, configuration(wanted, store_address)).map_err(io(&path))?;
        let config = Config::load(&path)?;
        let running = app::start(config, Arc::new(SystemClock), random).await?;
        if port == 0 {
            fs::write(&path, configuration(running.address, store_address)).map_err(io(&path))?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            gateway: running.address,
            store: store_address,
            running,
            stop_store: Some(stop_store),
            served,
            application,
            provider,
        })
    }

    fn client(address: SocketAddr, identity: &Credentials) -> Result<Upstream, DemoError> {
        use std::time::Duration;
        let settings = UpstreamSettings {
            name: "demo".to_owned(),
            endpoint: format!("http://{address}").parse().map_err(|_| DemoError::Wrong("an address"))?,
            region: REGION.to_owned(),
            profile: Profile::Generic,
            addressing: Addressing::Path,
            credentials: identity.clone().into(),
            ca: None,
            proxy: None,
            timeouts: crate::store::settings::UpstreamTimeouts {
                connect: Duration::from_secs(10),
                first_byte: Duration::from_mins(1),
                idle: Duration::from_mins(1),
            },
            max_requests: 8,
            checksums: false,
        };
        Upstream::new(settings, Arc::new(SystemClock)).map_err(|_| DemoError::Wrong("a client"))
    }

    async fn send(
        client: &Upstream,
        method: Method,
        key: Option<&str>,
        headers: HeaderMap,
        body: Payload,
    ) -> Result<Answer, DemoError> {
        let request = StoreRequest {
            method,
            bucket: Some(BUCKET),
            key: key.map(str::as_bytes),
            query: Query::default(),
            headers,
            body,
            identity: Identity::Own,
            trace: None,
        };
        Ok(client.send(request).await?)
    }

    /// Puts the sample through the gateway and reads it from both sides.
    pub async fn round_trip(&self) -> Result<Views, DemoError> {
        let application = Self::client(self.gateway, &self.application)?;
        let provider = Self::client(self.store, &self.provider)?;
        match Self::send(&application, Method::PUT, None, HeaderMap::new(), Payload::Empty).await {
            Ok(_) => {}
            // a second start
            Err(DemoError::Request(error)) if error.status() == Some(409) => {}
            Err(error) => return Err(error),
        }
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(HeaderName::from_static(USER_METADATA.0), HeaderValue::from_static(USER_METADATA.1));
        let body = Payload::Bytes(Bytes::from_static(TEXT.as_bytes()));
        Self::send(&application, Method::PUT, Some(KEY), headers, body).await?;
        let mut views = Vec::new();
        for client in [&application, &provider] {
            let answer = Self::send(client, Method::GET, Some(KEY), HeaderMap::new(), Payload::Empty).await?;
            let headers = answer.headers.clone();
            views.push((headers, answer.bytes(1 << 20).await?));
        }
        let (Some(provider), Some(application)) = (views.pop(), views.pop()) else {
            return Err(DemoError::Wrong("a view"));
        };
        let came_back = application.1 == TEXT.as_bytes()
            && application.0.get(http::header::CONTENT_TYPE).is_some_and(|value| value == CONTENT_TYPE)
            && application.0.get(USER_METADATA.0).is_some_and(|value| value == USER_METADATA.1);
        if came_back { Ok(Views { application, provider }) } else { Err(DemoError::Different) }
    }

    /// Searches the store's files for the sample: its text, type and user metadata.
    pub fn hunt(&self) -> Result<u64, DemoError> {
        let words = [TEXT, CONTENT_TYPE, USER_METADATA.1].map(str::as_bytes);
        match find_leak(&self.dir.join("store"), &words) {
            Ok(Ok(searched)) => Ok(searched),
            Ok(Err(leak)) => Err(DemoError::Leak(leak)),
            Err(cause) => Err(DemoError::Io { what: "the store's files".to_owned(), cause }),
        }
    }

    /// The gateway, to be waited for.
    pub const fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Ends gateway and store.
    pub async fn end(mut self) {
        self.running.stop();
        self.running.ended().await;
        drop(self.stop_store.take());
        let _ = self.served.await;
    }
}

/// The sample's text, for those who compare.
#[must_use]
pub const fn sample() -> &'static str {
    TEXT
}
