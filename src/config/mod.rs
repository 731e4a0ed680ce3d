//! The configuration: one TOML file → validated settings.
//!
//! All mistakes of a file are found in one pass, each with its line; unknown keys are mistakes. Secrets come from files that
//! only their owner can touch, and no mistake's text holds one. The manual's page on configuration describes every key.

pub mod profile;
mod reader;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;

use reader::{At, Errors, Table};
pub use reader::{ConfigError, ConfigErrors, parse_time};

use crate::gateway::settings::{
    Access, BucketRule, CredentialRule, EtagMode, Limits, NamePattern, OriginPattern, Settings, Template, Timeouts,
};
use crate::keys::EntryName;
use crate::object::{BucketId, TenantId};
use crate::s3::target::BucketName;
use crate::sigv4::AccessKeyId;
use crate::store::identity::{Issuer, Origin, Source};
use crate::store::settings::{Addressing, Credentials, Profile, UpstreamSettings, UpstreamTimeouts};
use crate::telemetry::{LogFormat, LogLevel};

/// Every table with every key that is known. The manual and `config/gateway.toml` have them all: a test says so.
pub const KEYS: &[(&str, &[&str])] = &[
    (
        "the file",
        &["listen", "limits", "timeouts", "admin", "telemetry", "upstream", "keys", "tenant", "bucket", "credential"],
    ),
    ("[listen]", &["address", "region", "domains", "tls"]),
    ("[listen] tls", &["cert", "key", "client_ca"]),
    ("[limits]", &["header", "metadata", "requests", "connections", "memory"]),
    (
        "[timeouts]",
        &["header", "idle", "keep_alive", "drain", "upstream_connect", "upstream_first_byte", "upstream_idle"],
    ),
    ("[admin]", &["address", "socket"]),
    ("[telemetry]", &["log", "format"]),
    (
        "[[upstream]]",
        &["name", "endpoint", "region", "profile", "addressing", "credentials", "ca", "proxy", "requests", "checksums"],
    ),
    ("credentials", &["file", "profile"]),
    (
        "credentials for a store",
        &[
            "file",
            "profile",
            "process",
            "web_identity",
            "role_arn",
            "session_name",
            "container",
            "token_file",
            "instance",
            "role",
        ],
    ),
    ("[keys]", &["provider", "file", "passphrase_file"]),
    ("[[tenant]]", &["id"]),
    (
        "[[bucket]]",
        &[
            "name",
            "upstream",
            "upstream_name",
            "id",
            "tenant",
            "kek",
            "mode",
            "ranges",
            "etag",
            "recovery",
            "verify_whole",
            "anonymous",
            "cors_origins",
            "destinations",
            "locations",
            "state_bucket",
        ],
    ),
    (
        "[[credential]]",
        &[
            "access_key_id",
            "secret_file",
            "credentials",
            "tenant",
            "buckets",
            "access",
            "upstream_credentials",
            "requests",
            "requests_per_second",
            "signature_v2",
        ],
    ),
];

fn known(name: &str) -> (&'static str, &'static [&'static str]) {
    KEYS.iter().find(|(table, _)| *table == name).map_or(("", &[]), |(table, keys)| (*table, *keys))
}

/// The longest configuration file.
const MAX_FILE_LEN: u64 = 4 << 20;

/// Files of a listener's TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of client certificates, if clients must have one.
    pub client_ca: Option<PathBuf>,
}

/// A configuration without mistakes.
pub struct Config {
    /// The file.
    pub path: PathBuf,
    /// Where applications are served.
    pub listen: SocketAddr,
    /// TLS of the listener.
    pub tls: Option<TlsFiles>,
    /// Where probes and metrics are served.
    pub admin: Option<SocketAddr>,
    /// The socket where a reload is asked for.
    pub admin_socket: Option<PathBuf>,
    /// What is logged.
    pub log: (LogLevel, LogFormat),
    /// The keyring file.
    pub keyring: PathBuf,
    /// The file with its passphrase.
    pub passphrase_file: PathBuf,
    /// The stores.
    pub upstreams: Vec<UpstreamSettings>,
    /// The gateway's policy.
    pub settings: Settings,
    /// What is allowed and worth a word all the same.
    pub warnings: Vec<ConfigError>,
}

struct Loader<'a> {
    folder: PathBuf,
    tenants: HashMap<String, TenantId>,
    upstream_names: HashSet<String>,
    warnings: Vec<ConfigError>,
    root: &'a DeTable<'a>,
}

impl Config {
    /// Reads and validates a file.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        let fail = |errors| ConfigErrors { path: path.to_owned(), errors };
        let whole = |message: String| fail(vec![ConfigError { line: 0, message }]);
        let length = fs::metadata(path).map_err(|error| whole(error.to_string()))?.len();
        if length > MAX_FILE_LEN {
            return Err(whole("the file is longer than any configuration".to_owned()));
        }
        let text = fs::read_to_string(path).map_err(|error| whole(error.to_string()))?;
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&text, path, folder).map_err(fail)
    }

    fn parse(text: &str, path: &Path, folder: &Path) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Errors::new(text);
        let (table, broken) = DeTable::parse_recoverable(text);
        for error in &broken {
            let line = error.span().map_or(0, |span| errors.line(span.start));
            errors.add(line, format!("not TOML: {}", error.message()));
        }
        if !broken.is_empty() {
            return Err(errors.into_found());
        }
        let mut loader = Loader {
            folder: folder.to_owned(),
            tenants: HashMap::new(),
            upstream_names: HashSet::new(),
            warnings: Vec::new(),
            root: table.get_ref(),
        };
        let config = loader.load(path, &mut errors);
        let found = errors.into_found();
        match config {
            Some(config) if found.is_empty() => Ok(config),
            _ => Err(found),
        }
    }
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

impl Loader<'_> {
    fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }

    /// A file that must be there.
    fn existing(&self, table: &mut Table<'_, '_>, key: &'static str) -> Option<PathBuf> {
        let text = table.text(key)?;
        let path = self.path(&text.value);
        if path.is_file() {
            return Some(path);
        }
        table.wrong(key, format!("{} is no file", path.display()));
        None
    }

    #[expect(clippy::too_many_lines, reason = "one table after the other, as the file has them")]
    fn load(&mut self, path: &Path, errors: &mut Errors) -> Option<Config> {
        let root = self.root;
        let mut file = Table::new(root, 0, known("the file"), errors);

        let empty = DeTable::new();
        let section = |file: &mut Table<'_, '_>, key: &'static str, is_required: bool| {
            if is_required && !file.has(key) {
                file.errors.add(0, format!("the table [{key}] is missing"));
            }
        };
        for key in ["listen", "keys"] {
            section(&mut file, key, true);
        }
        for key in ["upstream", "tenant", "bucket", "credential"] {
            if !file.has(key) {
                file.errors.add(0, format!("there is no [[{key}]]"));
            }
        }

        let (mut listen, mut region, mut domains, mut tls) = (None, "us-east-1".to_owned(), Vec::new(), None);
        let mut open = None;
        if let Some(mut table) = file.table("listen", known("[listen]")) {
            let expected = "an address and a port are expected, such as \"127.0.0.1:8080\"";
            listen = table.required_parsed("address", expected, |text| text.parse::<SocketAddr>().ok());
            open = listen.as_ref().filter(|at| !table.has("tls") && !at.value.ip().is_loopback()).map(|at| at.line);
            let is_region = |text: &str| {
                let good =
                    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
                good.then(|| text.to_owned())
            };
            if let Some(at) = table.parsed("region", "letters, digits and dashes are expected", is_region) {
                region = at.value;
            }
            for domain in table.texts("domains") {
                let text = domain.value.to_ascii_lowercase();
                let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
                if text.is_empty() || !good || text.starts_with('.') || text.ends_with('.') {
                    table.errors.add(domain.line, "`domains` in [listen]: a host name without a port is expected");
                }
                domains.push(text);
            }
            let loader = &*self;
            if let Some(mut table) = table.table("tls", known("[listen] tls")) {
                for key in ["cert", "key"] {
                    table.required(key);
                }
                let cert = loader.existing(&mut table, "cert");
                let key = loader.existing(&mut table, "key");
                let has_client_ca = table.has("client_ca");
                let client_ca = loader.existing(&mut table, "client_ca");
                if let (Some(cert), Some(key)) = (cert, key)
                    && has_client_ca == client_ca.is_some()
                {
                    match crate::net::tls::server_config(&cert, &key, client_ca.as_deref()) {
                        Ok(_) => tls = Some(TlsFiles { cert, key, client_ca }),
                        Err(error) => table.wrong("cert", error),
                    }
                }
            }
        }
        let limits = Self::limits(&mut file, &empty);
        let (timeouts, upstream_timeouts) = Self::timeouts(&mut file, &empty);
        let (mut admin, mut admin_socket) = (None, None);
        if let Some(mut table) = file.table("admin", known("[admin]")) {
            let expected = "an address and a port are expected, such as \"127.0.0.1:9090\"";
            let at = table.parsed("address", expected, |text| text.parse::<SocketAddr>().ok());
            if !table.has("address") && !table.has("socket") {
                table.required("address");
            }
            admin_socket = table.text("socket").map(|at| self.path(&at.value));
            if let Some(At { line, value }) = &at
                && !value.ip().is_loopback()
            {
                let message = "the admin address is not loopback: whoever reaches it reads the names of tenants, keys and \
                               buckets, and all numbers";
                self.warnings.push(ConfigError { line: *line, message: message.to_owned() });
            }
            admin = at.map(|at| at.value);
        }
        if let Some(line) = open {
            let message = "applications are served without TLS on an address that is not loopback: plaintext passes the \
                           network before it is sealed";
            self.warnings.push(ConfigError { line, message: message.to_owned() });
        }
        let mut log = (LogLevel::default(), LogFormat::default());
        if let Some(mut table) = file.table("telemetry", known("[telemetry]")) {
            let levels = [
                ("error", LogLevel::Error),
                ("warn", LogLevel::Warn),
                ("info", LogLevel::Info),
                ("debug", LogLevel::Debug),
            ];
            log.0 = table.choice("log", &levels).unwrap_or_default();
            log.1 = table.choice("format", &[("json", LogFormat::Json), ("text", LogFormat::Text)]).unwrap_or_default();
        }
        let (mut keyring, mut passphrase_file) = (None, None);
        if let Some(mut table) = file.table("keys", known("[keys]")) {
            table.only("provider", "keyring");
            for key in ["file", "passphrase_file"] {
                table.required(key);
            }
            keyring = self.existing(&mut table, "file");
            passphrase_file = self.existing(&mut table, "passphrase_file");
            if let Some(path) = &passphrase_file
                && let Err(error) = profile::read_secret(path)
            {
                table.wrong("passphrase_file", error);
            }
        }
        for (line, table) in file.tables("tenant") {
            let mut table = Table::new(table, line, known("[[tenant]]"), file.errors);
            let expected = "an id of 1 to 63 lower-case letters, digits and dashes is expected";
            if let Some(id) = table.required_parsed("id", expected, |text| text.parse::<TenantId>().ok())
                && self.tenants.insert(id.value.as_str().to_owned(), id.value).is_some()
            {
                table.wrong("id", "another tenant has it");
            }
        }
        let upstreams = self.upstreams(&mut file, upstream_timeouts);
        let buckets = self.buckets(&mut file, limits);
        let credentials = self.credentials(&mut file, &buckets, limits);
        overlaps(&buckets, &upstreams, file.errors);

        let settings = Settings {
            region,
            domains,
            limits,
            timeouts,
            buckets: buckets.into_iter().map(|at| at.value).collect(),
            credentials,
        };
        Some(Config {
            path: path.to_owned(),
            listen: listen?.value,
            tls,
            admin,
            admin_socket,
            log,
            keyring: keyring?,
            passphrase_file: passphrase_file?,
            upstreams,
            settings,
            warnings: std::mem::take(&mut self.warnings),
        })
    }

    fn limits(file: &mut Table<'_, '_>, empty: &DeTable<'_>) -> Limits {
        let mut table = match file.table("limits", known("[limits]")) {
            Some(table) => table,
            None => Table::new(empty, 0, known("[limits]"), file.errors),
        };
        let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        Limits {
            header: bytes(table.size("header", 64 << 10, (4 << 10, 256 << 10))),
            metadata: bytes(table.size("metadata", 1344, (0, 1344))),
            requests: table.number("requests", (1, 1_000_000)).unwrap_or(1024),
            connections: table.number("connections", (1, 1_000_000)).unwrap_or(4096),
            memory: bytes(table.size("memory", 256 << 20, (32 << 20, 1 << 40))),
        }
    }

    fn timeouts(file: &mut Table<'_, '_>, empty: &DeTable<'_>) -> (Timeouts, UpstreamTimeouts) {
        let mut table = match file.table("timeouts", known("[timeouts]")) {
            Some(table) => table,
            None => Table::new(empty, 0, known("[timeouts]"), file.errors),
        };
        let downstream = Timeouts {
            header: table.time("header", seconds(10)),
            idle: table.time("idle", seconds(60)),
            keep_alive: table.time("keep_alive", seconds(75)),
            drain: table.time("drain", seconds(30)),
        };
        let upstream = UpstreamTimeouts {
            connect: table.time("upstream_connect", seconds(10)),
            first_byte: table.time("upstream_first_byte", seconds(120)),
            idle: table.time("upstream_idle", seconds(60)),
        };
        (downstream, upstream)
    }

    fn identity(&self, table: &mut Table<'_, '_>, key: &'static str) -> Option<Credentials> {
        let mut within = table.table(key, known("credentials"))?;
        self.profile(&mut within)
    }

    /// The profile that `file` and `profile` of a table name.
    fn profile(&self, within: &mut Table<'_, '_>) -> Option<Credentials> {
        let file = within.required("file")?;
        let name = within.text("profile").map_or_else(|| "default".to_owned(), |at| at.value);
        match profile::read(&self.path(&file.value), &name) {
            Ok(profile) => Some(profile),
            Err(error) => {
                within.wrong("file", error);
                None
            }
        }
    }

    /// Credentials for a store: written down in a file of profiles, or asked for.
    fn issuer(&self, table: &mut Table<'_, '_>, key: &'static str) -> Option<Arc<Issuer>> {
        const KINDS: [&str; 5] = ["file", "process", "web_identity", "container", "instance"];
        let mut within = table.table(key, known("credentials for a store"))?;
        let mut named = KINDS.into_iter().filter(|kind| within.has(kind));
        let (Some(kind), None) = (named.next(), named.next()) else {
            let line = within.line;
            within
                .errors
                .add(line, format!("`{key}` needs one of {}", KINDS.map(|kind| format!("`{kind}`")).join(", ")));
            return None;
        };
        let belongs: &[&str] = match kind {
            "file" => &["profile"],
            "process" => &[],
            "web_identity" => &["role_arn", "session_name", "token_file"],
            "container" => &["token_file"],
            _ => &["role"],
        };
        for key in ["profile", "role_arn", "session_name", "token_file", "role"] {
            if within.has(key) && !belongs.contains(&key) {
                within.wrong(key, format!("it does not belong to `{kind}`"));
            }
        }
        let expected = "https://, or http:// at this machine or one of its metadata services, is expected";
        let origin = match kind {
            "file" => return self.profile(&mut within).map(Into::into),
            "process" => {
                let command: Vec<String> = within.texts("process").into_iter().map(|at| at.value).collect();
                if !command.first().is_some_and(|program| Path::new(program).is_absolute()) {
                    within.wrong("process", "a list is expected: a program with its whole path, and its arguments");
                    return None;
                }
                Origin::Process(command)
            }
            "web_identity" => {
                let expected = "https://, or http:// at this machine, is expected";
                let endpoint = within.required_parsed("web_identity", expected, token_service);
                let role_arn = within.required("role_arn");
                let token_file = within.required("token_file").map(|at| self.path(&at.value));
                let expected = "2 to 64 letters, digits and =,.@_- are expected";
                let session_name = within.parsed("session_name", expected, |text| {
                    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"=,.@_-".contains(&b);
                    ((2..=64).contains(&text.len()) && text.bytes().all(is_plain)).then(|| text.to_owned())
                });
                Origin::WebIdentity {
                    endpoint: endpoint?.value,
                    role_arn: role_arn?.value,
                    token_file: token_file?,
                    session_name: session_name.map_or_else(|| "sealgate".to_owned(), |at| at.value),
                }
            }
            "container" => {
                let endpoint = within.required_parsed("container", expected, metadata_service)?.value;
                Origin::Container { endpoint, token_file: within.text("token_file").map(|at| self.path(&at.value)) }
            }
            _ => {
                let expected = "http:// at a machine's metadata service, and no path, is expected";
                let endpoint = within.required_parsed("instance", expected, machine_service)?.value;
                Origin::Instance { endpoint, role: within.text("role").map(|at| at.value) }
            }
        };
        Some(Issuer::new(Source::Asked(origin)))
    }

    fn upstreams(&mut self, file: &mut Table<'_, '_>, timeouts: UpstreamTimeouts) -> Vec<UpstreamSettings> {
        let mut upstreams = Vec::new();
        for (line, table) in file.tables("upstream") {
            let mut table = Table::new(table, line, known("[[upstream]]"), file.errors);
            let name = table.required("name");
            if let Some(name) = &name
                && !self.upstream_names.insert(name.value.clone())
            {
                table.wrong("name", "another upstream has it");
            }
            let expected = "http:// or https://, a host and perhaps a port are expected, and no path";
            let address = table.required_parsed("endpoint", expected, endpoint);
            if let Some(At { line, value }) = &address
                && value.scheme_str() == Some("http")
                && !is_loopback(value)
            {
                let message = "the upstream is reached without TLS: what is stored is sealed, but who reads and writes \
                               what can be seen and requests can be replayed";
                self.warnings.push(ConfigError { line: *line, message: message.to_owned() });
            }
            let region = table.text("region").map_or_else(|| "us-east-1".to_owned(), |at| at.value);
            let profile = table.choice("profile", &Profile::ALL).unwrap_or_default();
            let choices = [("path", Addressing::Path), ("virtual", Addressing::Virtual)];
            let addressing = table.choice("addressing", &choices).unwrap_or_default();
            if !table.has("credentials") {
                table.required("credentials");
            }
            let credentials = self.issuer(&mut table, "credentials");
            let has_ca = table.has("ca");
            let ca = self.existing(&mut table, "ca");
            if has_ca
                && let Some(path) = &ca
                && let Err(error) = crate::net::tls::client_config(Some(path))
            {
                table.wrong("ca", error);
            }
            let expected = "http://HOST:PORT is expected";
            let proxy =
                table.parsed("proxy", expected, |text| endpoint(text).filter(|uri| uri.scheme_str() == Some("http")));
            let max_requests = table.number("requests", (1, 100_000)).unwrap_or(512);
            let checksums = table.boolean("checksums", false);
            if let (Some(name), Some(endpoint), Some(credentials)) = (name, address, credentials) {
                upstreams.push(UpstreamSettings {
                    name: name.value,
                    endpoint: endpoint.value,
                    region,
                    profile,
                    addressing,
                    credentials,
                    ca,
                    proxy: proxy.map(|at| at.value),
                    timeouts,
                    max_requests,
                    checksums,
                });
            }
        }
        upstreams
    }

    fn tenant(&self, table: &mut Table<'_, '_>) -> Option<TenantId> {
        let text = table.required("tenant")?;
        let found = self.tenants.get(&text.value).cloned();
        if found.is_none() {
            table.wrong("tenant", "there is no [[tenant]] with that id");
        }
        found
    }

    fn buckets(&self, file: &mut Table<'_, '_>, limits: Limits) -> Vec<At<BucketRule>> {
        let (mut buckets, mut names): (Vec<At<BucketRule>>, HashSet<String>) = (Vec::new(), HashSet::new());
        for (line, table) in file.tables("bucket") {
            let mut table = Table::new(table, line, known("[[bucket]]"), file.errors);
            let expected = "a bucket's name is expected; a star may stand at its end";
            let name = table.required_parsed("name", expected, NamePattern::parse);
            if let Some(At { value: NamePattern::Exact(exact), .. }) = &name
                && BucketName::parse(exact).is_err()
            {
                table.wrong("name", "it is no valid bucket name");
            }
            if let Some(text) = table.text("name")
                && !names.insert(text.value)
            {
                table.wrong("name", "another bucket has it");
            }
            let upstream = table.required("upstream");
            if let Some(upstream) = &upstream
                && !self.upstream_names.contains(&upstream.value)
            {
                table.wrong("upstream", "there is no [[upstream]] with that name");
            }
            let has_star = matches!(&name, Some(At { value: NamePattern::Prefix(_), .. }));
            let template = |table: &mut Table<'_, '_>, key: &'static str, is_valid: fn(&str) -> bool| {
                let template =
                    table.required_parsed(key, "a text with at most one star is expected", Template::parse)?.value;
                if template.has_star() != has_star {
                    table.wrong(key, "it must have a star if, and only if, `name` has one");
                    return None;
                }
                if !has_star && !is_valid(&template.expand("")) {
                    table.wrong(key, "it is not valid");
                    return None;
                }
                Some(template)
            };
            let upstream_name = template(&mut table, "upstream_name", |text| BucketName::parse(text).is_ok());
            let id = template(&mut table, "id", |text| text.parse::<BucketId>().is_ok());
            let tenant = self.tenant(&mut table);
            let expected = "the name of a keyring entry is expected";
            let kek = table.required_parsed("kek", expected, |text| text.parse::<EntryName>().ok());
            for (key, only) in [("mode", "strict"), ("ranges", "streamed")] {
                table.only(key, only);
            }
            let etag =
                table.choice("etag", &[("opaque", EtagMode::Opaque), ("md5", EtagMode::Md5)]).unwrap_or_default();
            let anonymous = [("none", None), ("read", Some(Access::ReadOnly)), ("read-write", Some(Access::ReadWrite))];
            let anonymous = table.choice("anonymous", &anonymous).flatten();
            let mut cors_origins = Vec::new();
            for text in table.texts("cors_origins") {
                match OriginPattern::parse(&text.value) {
                    Some(pattern) => cors_origins.push(pattern),
                    None => table.wrong("cors_origins", "origins like https://app.example, or \"*\", are expected"),
                }
            }
            let destinations = table.boolean("destinations", false);
            let locations = table.texts("locations").into_iter().map(|text| text.value).collect();
            let recovery = table.boolean("recovery", true);
            let verify_whole = table.size("verify_whole", 1 << 20, (0, 64 << 20));
            // whoever does not sign has half of the memory, and what is verified whole is held whole
            let memory = limits.memory as u64 / if anonymous.is_some() { 2 } else { 1 };
            if verify_whole > memory / 2 {
                table.wrong("verify_whole", "such an object takes more than half of the memory that its readers share");
            }
            let expected = "the name of a bucket of the same upstream is expected";
            let state_bucket =
                table.parsed("state_bucket", expected, |text| BucketName::parse(text).ok().map(|_| text.to_owned()));
            if let (Some(name), Some(upstream), Some(upstream_name), Some(id), Some(tenant), Some(kek)) =
                (name, upstream, upstream_name, id, tenant, kek)
            {
                let value = BucketRule {
                    name: name.value,
                    upstream: upstream.value,
                    upstream_name,
                    id,
                    tenant,
                    kek: kek.value,
                    recovery,
                    verify_whole,
                    anonymous,
                    etag,
                    cors_origins,
                    locations,
                    destinations,
                    state_bucket: state_bucket.map(|at| at.value),
                };
                buckets.push(At { line, value });
            }
        }
        buckets
    }

    fn credentials(&self, file: &mut Table<'_, '_>, buckets: &[At<BucketRule>], limits: Limits) -> Vec<CredentialRule> {
        let (mut credentials, mut ids) = (Vec::new(), HashSet::new());
        for (line, table) in file.tables("credential") {
            let mut table = Table::new(table, line, known("[[credential]]"), file.errors);
            let expected = "1 to 128 letters, digits and the like are expected";
            let mut id = table.parsed("access_key_id", expected, AccessKeyId::parse).map(|at| at.value);
            let mut secret = None;
            match (table.text("secret_file"), table.has("credentials")) {
                (Some(file), false) => {
                    if !table.has("access_key_id") {
                        table.required("access_key_id");
                    }
                    match profile::read_secret(&self.path(&file.value)) {
                        Ok(text) => secret = Some(Arc::new(text)),
                        Err(error) => table.wrong("secret_file", error),
                    }
                }
                (None, true) => {
                    if let Some(identity) = self.identity(&mut table, "credentials") {
                        id = id.or_else(|| AccessKeyId::parse(&identity.access_key_id));
                        secret = Some(identity.secret);
                    }
                }
                _ => {
                    let message = "[[credential]] needs either `secret_file` or `credentials`";
                    table.errors.add(line, message);
                }
            }
            if let Some(id) = &id
                && !ids.insert(id.as_str().to_owned())
            {
                table.wrong("access_key_id", "another credential has it");
            }
            let tenant = self.tenant(&mut table);
            let mut patterns = Vec::new();
            if !table.has("buckets") {
                table.required("buckets");
            }
            for text in table.texts("buckets") {
                let pattern = NamePattern::parse(&text.value);
                let fits = |rule: &At<BucketRule>| match (&pattern, &rule.value.name) {
                    (Some(NamePattern::Exact(name)), rule) => rule.matched(name).is_some(),
                    (Some(NamePattern::Prefix(start)), NamePattern::Exact(name)) => name.starts_with(start.as_str()),
                    (Some(NamePattern::Prefix(start)), NamePattern::Prefix(other)) => {
                        start.starts_with(other.as_str()) || other.starts_with(start.as_str())
                    }
                    (None, _) => false,
                };
                let of_tenant =
                    |rule: &&At<BucketRule>| tenant.as_ref().is_none_or(|tenant| rule.value.tenant == *tenant);
                if !buckets.iter().filter(of_tenant).any(fits) {
                    table.errors.add(text.line, "`buckets` in [[credential]]: no [[bucket]] of its tenant fits");
                }
                patterns.extend(pattern);
            }
            let choices =
                [("read-write", Access::ReadWrite), ("read-only", Access::ReadOnly), ("write-only", Access::WriteOnly)];
            let access = table.choice("access", &choices).unwrap_or(Access::ReadWrite);
            let upstream_credentials = self.issuer(&mut table, "upstream_credentials");
            let max_requests = table.number("requests", (1, 1_000_000)).unwrap_or(limits.requests);
            let requests_per_second = table.number("requests_per_second", (1, 1_000_000));
            let signature_v2 = table.boolean("signature_v2", false);
            if let (Some(access_key_id), Some(secret), Some(tenant)) = (id, secret, tenant) {
                credentials.push(CredentialRule {
                    access_key_id,
                    secret,
                    tenant,
                    buckets: patterns,
                    access,
                    upstream_credentials,
                    max_requests,
                    requests_per_second,
                    signature_v2,
                });
            }
        }
        credentials
    }
}

/// A store's address: scheme, host and perhaps a port.
pub(crate) fn endpoint(text: &str) -> Option<http::Uri> {
    let uri: http::Uri = text.parse().ok()?;
    let authority = uri.authority()?;
    let is_bare = uri.path_and_query().is_none_or(|path| path.as_str() == "/") && !authority.as_str().contains('@');
    (matches!(uri.scheme_str(), Some("http" | "https")) && is_bare && !authority.host().is_empty()).then_some(uri)
}

/// Where the metadata services of machines and containers are: their machine's own, which need no TLS.
const METADATA_SERVICES: [&str; 5] =
    ["169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23"];

/// Where a token service is asked for credentials. Without TLS nobody but this machine may hear the question.
fn token_service(text: &str) -> Option<http::Uri> {
    let uri: http::Uri = text.parse().ok()?;
    let is_private = uri.scheme_str() == Some("https") || uri.scheme_str() == Some("http") && is_loopback(&uri);
    (is_private && !uri.authority()?.as_str().contains('@') && uri.query().is_none()).then_some(uri)
}

/// Where a container's agent is asked for credentials.
fn metadata_service(text: &str) -> Option<http::Uri> {
    if let Some(uri) = token_service(text) {
        return Some(uri);
    }
    let uri: http::Uri = text.parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    let is_known = uri.scheme_str() == Some("http") && METADATA_SERVICES.contains(&host);
    (is_known && !uri.authority()?.as_str().contains('@') && uri.query().is_none()).then_some(uri)
}

/// Where a machine is asked for credentials: its paths are given.
fn machine_service(text: &str) -> Option<http::Uri> {
    metadata_service(text).filter(|uri| uri.path() == "/")
}

fn is_loopback(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Two rules that could mean one upstream bucket, or give one id to two: objects of one would be taken for the other's, or a
/// tenant reach another's. Rules of one tenant may name a bucket twice only if they say the same of it: store, name and id.
fn overlaps(buckets: &[At<BucketRule>], upstreams: &[UpstreamSettings], errors: &mut Errors) {
    let endpoint = |name: &str| upstreams.iter().find(|upstream| upstream.name == name).map(|found| &found.endpoint);
    let can_meet = |a: &Template, b: &Template| {
        let split = |template: &Template| {
            let text = template.expand("\u{0}");
            match text.split_once('\u{0}') {
                Some((start, end)) => (start.to_owned(), Some(end.to_owned())),
                None => (text, None),
            }
        };
        match (split(a), split(b)) {
            ((x, None), (y, None)) => x == y,
            ((x, None), (start, Some(end))) | ((start, Some(end)), (x, None)) => {
                x.len() > start.len() + end.len() && x.starts_with(&start) && x.ends_with(&end)
            }
            ((s, Some(e)), (t, Some(f))) => {
                (s.starts_with(&t) || t.starts_with(&s)) && (e.ends_with(&f) || f.ends_with(&e))
            }
        }
    };
    // one store may stand under two names
    let is_one_store =
        |a: &BucketRule, b: &BucketRule| a.upstream == b.upstream || endpoint(&a.upstream) == endpoint(&b.upstream);
    for At { line, value: rule } in buckets {
        let is_its = |other: &At<BucketRule>| {
            other.value.state_bucket.as_deref() == Some(rule.upstream_name.expand("").as_str())
                && is_one_store(rule, &other.value)
        };
        if !rule.upstream_name.has_star()
            && let Some(other) = buckets.iter().find(|other| is_its(other))
        {
            let place = other.line;
            errors.add(*line, format!("`upstream_name`: it is the `state_bucket` of the [[bucket]] of line {place}"));
        }
    }
    for (index, later) in buckets.iter().enumerate() {
        for earlier in buckets.iter().take(index) {
            let (a, b) = (&earlier.value, &later.value);
            let is_one_store = is_one_store(a, b);
            let shares_bucket = is_one_store && can_meet(&a.upstream_name, &b.upstream_name);
            let is_other_tenant = a.tenant != b.tenant;
            let is_the_same = is_one_store && a.upstream_name == b.upstream_name && a.id == b.id;
            let line = earlier.line;
            let what = if shares_bucket && is_other_tenant {
                "one upstream bucket under two tenants"
            } else if shares_bucket && !is_the_same {
                "one upstream bucket under two ids"
            } else if !is_other_tenant && !is_the_same && can_meet(&a.id, &b.id) {
                "two upstream buckets under one id: the store could show objects of one as the other's"
            } else {
                continue;
            };
            errors.add(later.line, format!("this [[bucket]] and that of line {line} could mean {what}"));
        }
    }
}

#[cfg(test)]
mod tests;
