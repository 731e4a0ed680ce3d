//! The life of a process: settings → keys → stores → listeners → served → drained.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::admin::actions::{Actions, Asked};
use crate::admin::{Admin, State};
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, TlsFiles};
use crate::crypto::random::RandomSource;
use crate::crypto::wrap::{Binding, DataKey, KekId, RECORD_LEN, RECORD_NONCE_LEN, WrappedKey};
use crate::gateway::settings::{Settings, Timeouts};
use crate::gateway::{Components, Gateway};
use crate::keys::file::{FileError, read_secret_line};
use crate::keys::keyring::{Keyring, KeyringFile};
use crate::keys::{EntryName, KeyFuture, KeyProvider, KeyScope};
use crate::net::server::{Drained, ServerSettings, ServerStats, serve};
use crate::net::tls::{ServerTls, TlsError, server_config};
use crate::secret::Secret;
use crate::store::Upstream;
use crate::store::settings::UpstreamSettings;
use crate::telemetry::{self, LogFormat, Metrics};

/// Why a process does not serve.
#[derive(Debug, Error)]
pub enum AppError {
    /// The keyring cannot be read or opened.
    #[error("the keyring: {0}")]
    Keyring(String),
    /// TLS cannot be spoken.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        cause: std::io::Error,
    },
    /// The socket of the file system cannot be made.
    #[error("cannot listen on the socket {}: {cause}", path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// The configuration has mistakes.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// What is changed cannot be changed while it serves.
    #[error("{0} cannot be changed by a reload: that needs a restart")]
    Fixed(&'static str),
    /// A bucket's key is not in the keyring, or not of its tenant.
    #[error("the keyring has no entry `{entry}` of tenant `{tenant}`, which a bucket names")]
    NoEntry {
        /// The entry.
        entry: String,
        /// The tenant.
        tenant: String,
    },
}

/// A keyring that can be exchanged while it is used: what is under way goes on with the one it began with.
pub struct ReloadableKeyring {
    files: RwLock<(PathBuf, PathBuf)>,
    current: RwLock<Arc<Keyring>>,
}

const MAX_PASSPHRASE_LEN: u64 = 64 << 10;

fn open_keyring(file: &std::path::Path, passphrase_file: &std::path::Path) -> Result<Keyring, AppError> {
    let wrong = |error: &dyn std::fmt::Display| AppError::Keyring(error.to_string());
    let bytes = read_secret_line(passphrase_file, MAX_PASSPHRASE_LEN).map_err(|error: FileError| wrong(&error))?;
    let passphrase = Secret::from_bytes_of(&bytes);
    let sealed = KeyringFile::new(file).read().map_err(|error| wrong(&error))?;
    sealed.open(&passphrase).map_err(|error| wrong(&error))
}

impl ReloadableKeyring {
    /// Opens the keyring in `file`.
    pub fn open(file: PathBuf, passphrase_file: PathBuf) -> Result<Self, AppError> {
        let current = RwLock::new(Arc::new(open_keyring(&file, &passphrase_file)?));
        Ok(Self { files: RwLock::new((file, passphrase_file)), current })
    }

    /// The keyring in force.
    #[must_use]
    pub fn current(&self) -> Arc<Keyring> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file again. On an error the old keyring stays in force.
    pub fn reload(&self) -> Result<(), AppError> {
        let (file, passphrase_file) = self.files.read().unwrap_or_else(PoisonError::into_inner).clone();
        let keyring = open_keyring(&file, &passphrase_file)?;
        self.exchange(keyring, file, passphrase_file);
        Ok(())
    }

    fn exchange(&self, keyring: Keyring, file: PathBuf, passphrase_file: PathBuf) {
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = (file, passphrase_file);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
    }
}

impl KeyProvider for ReloadableKeyring {
    fn wrap<'a>(
        &'a self,
        scope: &'a KeyScope,
        binding: &'a Binding<'a>,
        dek: &'a DataKey,
    ) -> KeyFuture<'a, WrappedKey> {
        let keyring = self.current();
        Box::pin(async move { keyring.wrap(scope, binding, dek).await })
    }

    fn unwrap<'a>(
        &'a self,
        scope: &'a KeyScope,
        binding: &'a Binding<'a>,
        wrapped: &'a WrappedKey,
    ) -> KeyFuture<'a, DataKey> {
        let keyring = self.current();
        Box::pin(async move { keyring.unwrap(scope, binding, wrapped).await })
    }

    fn seal_record<'a>(
        &'a self,
        scope: &'a KeyScope,
        kek_id: KekId,
        suite: u8,
        rnonce: &'a [u8; RECORD_NONCE_LEN],
        dek: &'a DataKey,
    ) -> KeyFuture<'a, Option<[u8; RECORD_LEN]>> {
        let keyring = self.current();
        Box::pin(async move { keyring.seal_record(scope, kek_id, suite, rnonce, dek).await })
    }

    fn open_record<'a>(
        &'a self,
        scope: &'a KeyScope,
        suite: u8,
        record: &'a [u8; RECORD_LEN],
    ) -> KeyFuture<'a, DataKey> {
        let keyring = self.current();
        Box::pin(async move { keyring.open_record(scope, suite, record).await })
    }
}

/// What a configuration says, as far as the admin endpoints tell it.
struct View {
    entries: Vec<EntryName>,
    upstreams: Vec<Arc<Upstream>>,
    buckets: Vec<(String, String, String)>,
}

impl View {
    /// Of a policy whose keys are in the keyring.
    fn of(settings: &Settings, keyring: &Keyring, upstreams: Vec<Arc<Upstream>>) -> Result<Self, AppError> {
        let mut entries: Vec<EntryName> = Vec::new();
        for rule in &settings.buckets {
            if keyring.entry(&rule.kek).is_none_or(|entry| entry.tenant != rule.tenant) {
                let (entry, tenant) = (rule.kek.to_string(), rule.tenant.as_str().to_owned());
                return Err(AppError::NoEntry { entry, tenant });
            }
            if !entries.contains(&rule.kek) {
                entries.push(rule.kek.clone());
            }
        }
        let buckets = settings.buckets.iter();
        let buckets = buckets.map(|rule| (rule.name.to_string(), rule.id.to_string(), rule.upstream.clone())).collect();
        Ok(Self { entries, upstreams, buckets })
    }
}

/// What of a configuration holds as long as the process lives.
#[derive(Clone)]
struct Fixed {
    listen: SocketAddr,
    admin: Option<SocketAddr>,
    admin_socket: Option<PathBuf>,
    has_tls: bool,
    timeouts: Timeouts,
    connections: u32,
    format: LogFormat,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            listen: config.listen,
            admin: config.admin,
            admin_socket: config.admin_socket.clone(),
            has_tls: config.tls.is_some(),
            timeouts: config.settings.timeouts,
            connections: config.settings.limits.connections,
            format: config.log.1,
        }
    }

    /// What `other` has changed.
    fn changed(&self, other: &Self) -> Option<&'static str> {
        let all = [
            (self.listen == other.listen, "the listener's address"),
            (self.admin == other.admin, "the address of probes"),
            (self.admin_socket == other.admin_socket, "the admin socket"),
            (self.has_tls == other.has_tls, "whether the listener speaks TLS"),
            (self.timeouts == other.timeouts, "a time-out of the listener"),
            (self.connections == other.connections, "the limit of connections"),
            (self.format == other.format, "the log's format"),
        ];
        all.into_iter().find(|(is_same, _)| !is_same).map(|(_, what)| what)
    }
}

/// Clients of the stores; each counts on where the one of the same name in `former` has requests under way.
fn stores(
    upstreams: Vec<UpstreamSettings>,
    clock: &Arc<dyn Clock>,
    former: &[Arc<Upstream>],
) -> Result<Vec<Arc<Upstream>>, AppError> {
    let store = |settings| {
        let upstream = Upstream::new(settings, Arc::clone(clock))?;
        Ok(Arc::new(match former.iter().find(|former| former.name() == upstream.name()) {
            Some(former) => upstream.after(former),
            None => upstream,
        }))
    };
    upstreams.into_iter().map(store).collect()
}

fn tls_of(files: &TlsFiles) -> Result<rustls::ServerConfig, AppError> {
    Ok(server_config(&files.cert, &files.key, files.client_ca.as_deref())?)
}

/// What the admin endpoints look at.
struct Overview {
    gateway: Arc<Gateway>,
    keyring: Arc<ReloadableKeyring>,
    view: Arc<RwLock<View>>,
    metrics: Arc<Metrics>,
    stats: Arc<ServerStats>,
    draining: Arc<AtomicBool>,
    started: Instant,
}

impl Overview {
    fn view(&self) -> std::sync::RwLockReadGuard<'_, View> {
        self.view.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State for Overview {
    fn ready(&self) -> Result<(), String> {
        if self.draining.load(Ordering::Relaxed) {
            return Err("draining".to_owned());
        }
        let keyring = self.keyring.current();
        for name in &self.view().entries {
            if keyring.entry(name).and_then(crate::keys::keyring::Entry::sealing_version).is_none() {
                return Err(format!("the key `{name}` has no active version"));
            }
        }
        Ok(())
    }

    fn metrics(&self) -> String {
        self.gateway.sample();
        let connections = self.stats.connections.load(Ordering::Relaxed);
        self.metrics.connections.set(i64::try_from(connections).unwrap_or(i64::MAX));
        self.metrics.encode()
    }

    fn status(&self) -> serde_json::Value {
        let keyring = self.keyring.current();
        let keys: Vec<_> = keyring
            .entries()
            .map(|entry| {
                let versions: Vec<_> = entry
                    .versions
                    .iter()
                    .map(|v| serde_json::json!({ "number": v.number, "state": v.standing.state.to_string() }))
                    .collect();
                serde_json::json!({ "name": entry.name.as_str(), "tenant": entry.tenant.as_str(), "versions": versions })
            })
            .collect();
        let view = self.view();
        let upstreams: Vec<_> = view
            .upstreams
            .iter()
            .map(|upstream| {
                let health = upstream.health();
                serde_json::json!({ "name": upstream.name(), "requests": health.requests, "failures": health.failures })
            })
            .collect();
        let buckets: Vec<_> = view
            .buckets
            .iter()
            .map(|(name, id, upstream)| serde_json::json!({ "name": name, "id": id, "upstream": upstream }))
            .collect();
        serde_json::json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": self.started.elapsed().as_secs(),
            "draining": self.draining.load(Ordering::Relaxed),
            "connections": self.stats.connections.load(Ordering::Relaxed),
            "memory": { "used": self.gateway.memory_used(), "limit": self.gateway.memory_limit() },
            "keys": keys,
            "upstreams": upstreams,
            "buckets": buckets,
        })
    }
}

/// A gateway that serves.
pub struct Running {
    /// Where applications are served.
    pub address: SocketAddr,
    /// Where probes are served.
    pub admin: Option<SocketAddr>,
    keyring: Arc<ReloadableKeyring>,
    gateway: Arc<Gateway>,
    tls: Option<Arc<ServerTls>>,
    view: Arc<RwLock<View>>,
    fixed: Fixed,
    path: PathBuf,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    draining: Arc<AtomicBool>,
    stop: watch::Sender<bool>,
    /// Reloads that were asked for at the socket.
    asked: mpsc::Receiver<Asked>,
    served: Option<JoinHandle<Drained>>,
    drained: Drained,
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let listener = TcpListener::bind(address).await.map_err(|cause| AppError::Listen { address, cause })?;
    let bound = listener.local_addr().map_err(|cause| AppError::Listen { address, cause })?;
    Ok((listener, bound))
}

/// How long an operation of several steps, whose connection is gone, may take to its end when the process ends.
const LAST_STEPS: Duration = Duration::from_secs(5);

async fn stopped(mut stop: watch::Receiver<bool>) {
    // the sender's end is an end too
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Starts everything that `config` describes, within a runtime.
pub async fn start(config: Config, clock: Arc<dyn Clock>, random: Arc<RandomSource>) -> Result<Running, AppError> {
    let fixed = Fixed::of(&config);
    let Config {
        path, listen: address, tls, admin, admin_socket, keyring, passphrase_file, upstreams, settings, ..
    } = config;
    let keyring = Arc::new(ReloadableKeyring::open(keyring, passphrase_file)?);
    let stores = stores(upstreams, &clock, &[])?;
    let view = Arc::new(RwLock::new(View::of(&settings, &keyring.current(), stores.clone())?));
    let tls = tls.as_ref().map(tls_of).transpose()?.map(|config| Arc::new(ServerTls::new(config)));
    let server = ServerSettings {
        tls: tls.clone(),
        header_timeout: settings.timeouts.header,
        idle_timeout: settings.timeouts.idle,
        keep_alive: settings.timeouts.keep_alive,
        drain: settings.timeouts.drain,
        max_connections: usize::try_from(settings.limits.connections).unwrap_or(usize::MAX),
        ..ServerSettings::default()
    };
    let (metrics, stats) = (Arc::new(Metrics::default()), Arc::new(ServerStats::default()));
    let gateway = Arc::new(Gateway::new(Components {
        settings,
        upstreams: stores,
        keys: Arc::clone(&keyring) as Arc<dyn KeyProvider>,
        clock: Arc::clone(&clock),
        random,
        metrics: Arc::clone(&metrics),
    }));

    let (listener, address) = listen(address).await?;
    let (stop, stopping) = watch::channel(false);
    let draining = Arc::new(AtomicBool::new(false));
    let mut admin_address = None;
    let mut admin_task = None;
    if let Some(address) = admin {
        let (listener, bound) = listen(address).await?;
        let overview = Overview {
            gateway: Arc::clone(&gateway),
            keyring: Arc::clone(&keyring),
            view: Arc::clone(&view),
            metrics: Arc::clone(&metrics),
            stats: Arc::clone(&stats),
            draining: Arc::clone(&draining),
            started: Instant::now(),
        };
        let settings = ServerSettings { drain: Duration::from_millis(100), max_connections: 64, ..Default::default() };
        // it answers until the gateway is drained
        let (admin_stop, admin_stopping) = watch::channel(false);
        let admin_stats = Arc::new(ServerStats::default());
        let served =
            tokio::spawn(serve(listener, settings, Arc::new(Admin(overview)), admin_stats, stopped(admin_stopping)));
        admin_address = Some(bound);
        admin_task = Some((served, admin_stop));
    }
    let (reloads, asked) = mpsc::channel(1);
    if let Some(path) = admin_socket {
        let actions = Actions::listen(&path).map_err(|cause| AppError::Socket { path, cause })?;
        let stopping = stop.subscribe();
        tokio::spawn(async move { actions.serve(reloads, stopped(stopping)).await });
    }
    let serving = Arc::clone(&gateway);
    let served = tokio::spawn(async move {
        let gateway = serving;
        let drained = serve(listener, server, Arc::clone(&gateway), stats, stopped(stopping)).await;
        // what goes on without its client has its last steps to make
        let _ = tokio::time::timeout(LAST_STEPS, gateway.settled()).await;
        if let Some((_, admin_stop)) = &admin_task {
            let _ = admin_stop.send(true);
        }
        if let Some((task, _)) = admin_task {
            let _ = task.await;
        }
        drained
    });
    let (served, drained) = (Some(served), Drained::default());
    Ok(Running {
        address,
        admin: admin_address,
        keyring,
        gateway,
        tls,
        view,
        fixed,
        path,
        clock,
        metrics,
        draining,
        stop,
        asked,
        served,
        drained,
    })
}

impl Running {
    /// Reads configuration, certificates, credentials and keyring again. All of it is validated before any of it holds; on
    /// an error the old one stays in force. But a key that was suspended must not go on because of a mistake elsewhere: the
    /// keyring is then read again alone.
    pub fn reload(&self) -> Result<(), AppError> {
        let result = self.reconfigure();
        self.metrics.reconfigured(result.is_ok());
        let keyring = match &result {
            Ok(()) => {
                tracing::info!(target: "sealgate::app", "configuration and keyring were read again");
                Ok(())
            }
            Err(error) => {
                tracing::error!(target: "sealgate::app", cause = %error, "the configuration was not read; the old one stays");
                self.keyring.reload()
            }
        };
        self.metrics.reloaded(keyring.is_ok());
        if let Err(error) = &keyring {
            tracing::error!(target: "sealgate::keys", cause = %error, "the keyring was not read; the old one stays");
        }
        result
    }

    fn reconfigure(&self) -> Result<(), AppError> {
        let config = Config::load(&self.path)?;
        let mut fixed = Fixed::of(&config);
        if fixed.listen == self.address {
            // a free port was asked for, and this is it
            fixed.listen = self.fixed.listen;
        }
        if let Some(what) = self.fixed.changed(&fixed) {
            return Err(AppError::Fixed(what));
        }
        let Config { tls, log, keyring: file, passphrase_file, upstreams, settings, warnings, .. } = config;
        let keyring = open_keyring(&file, &passphrase_file)?;
        let former = self.view.read().unwrap_or_else(PoisonError::into_inner).upstreams.clone();
        let stores = stores(upstreams, &self.clock, &former)?;
        let view = View::of(&settings, &keyring, stores.clone())?;
        let tls = tls.as_ref().map(tls_of).transpose()?;
        // all of it holds
        self.keyring.exchange(keyring, file, passphrase_file);
        self.gateway.exchange(settings, stores);
        if let (Some(listener), Some(config)) = (&self.tls, tls) {
            listener.exchange(config);
        }
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = view;
        telemetry::set_level(log.0);
        for warning in &warnings {
            tracing::warn!(target: "sealgate::config", line = warning.line, "{}", warning.message);
        }
        Ok(())
    }

    /// Asks for the end: not ready from now on, no new connections, requests under way go on for a while.
    pub fn stop(&self) {
        self.draining.store(true, Ordering::Relaxed);
        let _ = self.stop.send(true);
    }

    /// Waits for the end; who asks again is told the same.
    pub async fn ended(&mut self) -> Drained {
        if let Some(served) = &mut self.served {
            self.drained = served.await.unwrap_or_default();
            self.served = None;
        }
        self.drained
    }
}

/// The signals that a process listens to; from here on none of them ends it at once.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Listens, within a runtime. Whoever announces that it serves does this before.
    pub fn listen() -> std::io::Result<Self> {
        let [terminate, interrupt, hang_up] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hang_up: hang_up? })
    }
}

/// Serves until the process is told to end: SIGTERM or SIGINT drains, a second one cuts; SIGHUP reads configuration and keyring again.
pub async fn until_signalled(running: &mut Running, signals: Signals) -> Drained {
    let Signals { mut terminate, mut interrupt, mut hang_up } = signals;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // Argon2 takes a moment: not on a thread that serves
            _ = hang_up.recv() => {
                let _ = tokio::task::block_in_place(|| running.reload());
            }
            Some(asked) = running.asked.recv() => {
                let outcome = tokio::task::block_in_place(|| running.reload());
                let _ = asked.send(outcome.map_err(|error| error.to_string()));
            }
        }
    }
    tracing::info!(target: "sealgate::app", "draining");
    running.stop();
    tokio::select! {
        drained = running.ended() => drained,
        _ = terminate.recv() => Drained { cut: 1 },
        _ = interrupt.recv() => Drained { cut: 1 },
    }
}

/// Raises the limit of open files to what the system allows: a connection takes one, a request another.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// A runtime for a whole process.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
