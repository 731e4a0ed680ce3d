//! `sealgate check`: every mistake of a configuration at once; with `--online` the doctor, who tries everything out.

mod probe;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::serve::random;
use super::{Environment, Failure};
use crate::app::{self, ReloadableKeyring};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::crypto::wrap::DataKey;
use crate::digest::hex;
use crate::format::context::Context;
use crate::format::envelope::Unverified;
use crate::gateway::settings::{Access, BucketNames, BucketRule, CredentialRule, NamePattern};
use crate::object::{Address, ObjectKey};
use crate::s3::target::BucketName;
use crate::s3::xml::InitiateMultipartUploadResult;
use crate::secret::Secret;
use crate::sigv4::AccessKeyId;
use crate::sigv4::uri::Query;
use crate::store::identity::Issuer;
use crate::store::settings::{Addressing, Credentials, Profile, UpstreamSettings, UpstreamTimeouts};
use crate::store::{Answer, Identity, Payload, StoreError, StoreRequest, Upstream};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Reach every store, probe what it can do, and prove the encryption with a canary
    #[arg(long)]
    online: bool,
    /// A bucket to try that only a pattern of the configuration names
    #[arg(long, value_name = "NAME", requires = "online")]
    bucket: Vec<String>,
}

pub(super) fn run(args: &Args, env: &mut Environment<'_>) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(Failure::usage)?;
    for warning in &config.warnings {
        let path = config.path.display();
        env.note(format_args!("{path}:{}: warning: {}", warning.line, warning.message));
    }
    let keyring = ReloadableKeyring::open(config.keyring.clone(), config.passphrase_file.clone());
    let keyring = keyring.map_err(Failure::usage)?.current();
    for rule in &config.settings.buckets {
        let entry = keyring.entry(&rule.kek).filter(|entry| entry.tenant == rule.tenant);
        let entry = entry.ok_or_else(|| {
            Failure::usage(format_args!("the keyring has no entry `{}` of tenant `{}`", rule.kek, rule.tenant.as_str()))
        })?;
        if entry.sealing_version().is_none() {
            return Err(Failure::usage(format_args!("the key `{}` has no active version", rule.kek)));
        }
    }
    let settings = &config.settings;
    env.say(format_args!(
        "{}: {} upstreams, {} buckets, {} credentials, {} keys; would listen on {}{}",
        config.path.display(),
        config.upstreams.len(),
        settings.buckets.len(),
        settings.credentials.len(),
        keyring.entries().len(),
        config.listen,
        if config.tls.is_some() { " with TLS" } else { "" }
    ))?;
    if !args.online {
        return Ok(());
    }
    let runtime = app::runtime().map_err(Failure::failed)?;
    let result = runtime.block_on(online(config, args, env));
    runtime.shutdown_background();
    result
}

/// Where a bucket that is tried lies.
struct Tried {
    shown: BucketName,
    names: BucketNames,
    upstream: String,
    profile: Profile,
    tenant: crate::object::TenantId,
    state_bucket: Option<String>,
}

fn tried(config: &Config, extra: &[String]) -> Result<Vec<Tried>, Failure> {
    let exact = config.settings.buckets.iter().filter_map(|rule| match &rule.name {
        NamePattern::Exact(name) => Some(name.clone()),
        NamePattern::Prefix(_) => None,
    });
    let mut all = Vec::new();
    for name in exact.chain(extra.iter().cloned()) {
        let shown =
            BucketName::parse(&name).map_err(|error| Failure::usage(format_args!("{name}: {}", error.message())))?;
        let rule = BucketRule::chosen(&config.settings.buckets, &name);
        let rule = rule.ok_or_else(|| Failure::usage(format_args!("no [[bucket]] fits {name}")))?;
        let names = rule.names(&shown).ok().flatten();
        let names = names.ok_or_else(|| Failure::usage(format_args!("{name} gives no valid upstream name or id")))?;
        let profile = config.upstreams.iter().find(|upstream| upstream.name == rule.upstream);
        let profile = profile.map_or(Profile::Generic, |upstream| upstream.profile);
        let (upstream, tenant) = (rule.upstream.clone(), rule.tenant.clone());
        all.push(Tried { shown, names, upstream, profile, tenant, state_bucket: rule.state_bucket.clone() });
    }
    Ok(all)
}

async fn send(
    client: &Upstream,
    method: Method,
    at: (&str, Option<&str>),
    headers: &[(&'static str, &str)],
    body: Option<&'static [u8]>,
) -> Result<Answer, StoreError> {
    send_asking(client, method, at, &[], (headers, body.map(Bytes::from_static))).await
}

async fn send_asking(
    client: &Upstream,
    method: Method,
    (bucket, key): (&str, Option<&str>),
    asked: &[(&str, &str)],
    (headers, body): (&[(&'static str, &str)], Option<Bytes>),
) -> Result<Answer, StoreError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::from_static(name), HeaderValue::from_str(value).map_err(|_| StoreError::Request)?);
    }
    let mut query = Query::default();
    for (name, value) in asked {
        query.push(*name, *value);
    }
    let request = StoreRequest {
        method,
        bucket: Some(bucket),
        key: key.map(str::as_bytes),
        query,
        headers: map,
        body: body.map_or(Payload::Empty, Payload::Bytes),
        identity: Identity::Own,
        trace: None,
    };
    client.send(request).await
}

async fn online(mut config: Config, args: &Args, env: &mut Environment<'_>) -> Result<(), Failure> {
    let buckets = tried(&config, &args.bucket)?;
    if buckets.is_empty() {
        return Err(Failure::usage("the configuration has only patterns: name a bucket to try with --bucket"));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let random = random(env)?;
    let mut clients = std::collections::HashMap::new();
    for settings in config.upstreams.iter().cloned() {
        let name = settings.name.clone();
        clients.insert(name, Upstream::new(settings, Arc::clone(&clock)).map_err(Failure::failed)?);
    }
    // the real pipeline, in this process, for callers that exist only here: one of each tenant, by the upstream's own identity,
    // and one for each identity that an application has
    let own = identities(&config, &buckets);
    let drawn: [u8; 32] = random.draw_public(clock.now(), b"check").map_err(Failure::failed)?;
    let secret = zeroize::Zeroizing::new(hex(&drawn));
    let tenants = buckets.iter().map(|tried| &tried.tenant).collect::<std::collections::BTreeSet<_>>();
    let callers = tenants.into_iter().map(|tenant| (caller(tenant.as_str()), tenant.clone(), None));
    let callers =
        callers.chain(own.iter().map(|own| (own.caller(), own.tenant.clone(), Some(Arc::clone(&own.issuer)))));
    for (access_key_id, tenant, upstream_credentials) in callers {
        config.settings.credentials.push(CredentialRule {
            access_key_id: access_key_id?,
            secret: Arc::new(Secret::from_text(&secret)),
            tenant,
            buckets: vec![NamePattern::Prefix(String::new())],
            access: Access::ReadWrite,
            upstream_credentials,
            max_requests: 8,
            requests_per_second: None,
            signature_v2: false,
        });
    }
    config.listen = ([127, 0, 0, 1], 0).into();
    (config.tls, config.admin) = (None, None);
    let region = config.settings.region.clone();
    let mut running = app::start(config, Arc::clone(&clock), Arc::clone(&random)).await.map_err(Failure::failed)?;
    let mut bad = 0;
    for tried in &buckets {
        let client = clients.get(&tried.upstream).ok_or_else(|| Failure::usage("an upstream is not configured"))?;
        let shown = tried.shown.as_str();
        env.say(format_args!("\n── {shown} at upstream {} as {}", tried.upstream, tried.names.upstream_name))?;
        let as_caller = |id: &AccessKeyId| application(running.address, &region, id, &secret, &clock);
        let application = as_caller(&caller(tried.tenant.as_str())?)?;
        let tag: [u8; 8] = random.draw_public(clock.now(), b"check").map_err(Failure::failed)?;
        let mut results = vec![
            probe::run(client, tried, &hex(&tag), env).await,
            canary(&application, client, tried, &hex(&tag), &random, env).await,
            upload(&application, tried, &hex(&tag), None, env).await,
        ];
        for own in own.iter().filter(|own| own.bucket == shown) {
            let application = as_caller(&own.caller()?)?;
            results.push(upload(&application, tried, &hex(&tag), Some(own.credential.as_str()), env).await);
        }
        for result in results {
            if let Err(what) = result {
                bad += 1;
                env.say(format_args!("FAILED: {what}"))?;
            }
        }
    }
    running.stop();
    running.ended().await;
    if bad > 0 {
        Err(Failure::failed(format_args!("{bad} checks failed")))
    } else {
        env.say(format_args!("\nall is well"))
    }
}

fn caller(tenant: &str) -> Result<AccessKeyId, Failure> {
    AccessKeyId::parse(&format!("SEALGATECHECK-{tenant}"))
        .ok_or_else(|| Failure::failed("no id for the check's caller"))
}

/// An identity that an application has at the store for a bucket that is tried.
struct Own {
    index: usize,
    credential: AccessKeyId,
    tenant: crate::object::TenantId,
    bucket: String,
    issuer: Arc<Issuer>,
}

impl Own {
    fn caller(&self) -> Result<AccessKeyId, Failure> {
        caller(&format!("{}-{}", self.tenant, self.index))
    }
}

fn identities(config: &Config, buckets: &[Tried]) -> Vec<Own> {
    let mut all = Vec::new();
    for tried in buckets {
        let bucket = tried.shown.as_str();
        for rule in &config.settings.credentials {
            let writes = rule.tenant == tried.tenant
                && rule.access != Access::ReadOnly
                && rule.buckets.iter().any(|pattern| pattern.matched(bucket).is_some());
            let Some(issuer) = rule.upstream_credentials.as_ref().filter(|_| writes) else { continue };
            all.push(Own {
                index: all.len(),
                credential: rule.access_key_id.clone(),
                tenant: rule.tenant.clone(),
                bucket: bucket.to_owned(),
                issuer: Arc::clone(issuer),
            });
        }
    }
    all
}

fn application(
    address: std::net::SocketAddr,
    region: &str,
    id: &AccessKeyId,
    secret: &zeroize::Zeroizing<String>,
    clock: &Arc<dyn Clock>,
) -> Result<Upstream, Failure> {
    use std::time::Duration;
    let settings = UpstreamSettings {
        name: "check".to_owned(),
        endpoint: format!("http://{address}").parse().map_err(Failure::failed)?,
        region: region.to_owned(),
        profile: Profile::Generic,
        addressing: Addressing::Path,
        credentials: Credentials {
            access_key_id: id.as_str().to_owned(),
            secret: Arc::new(Secret::from_text(secret)),
            session_token: None,
        }
        .into(),
        ca: None,
        proxy: None,
        timeouts: UpstreamTimeouts {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_mins(5),
            idle: Duration::from_mins(2),
        },
        max_requests: 8,
        checksums: false,
    };
    Upstream::new(settings, Arc::clone(clock)).map_err(Failure::failed)
}

/// The longest answer about an upload.
const MAX_ANSWER_LEN: usize = 64 << 10;

/// Begins an upload through the gateway, sends a part that waits, and aborts it: the bucket of its records must take them.
async fn upload(
    application: &Upstream,
    tried: &Tried,
    tag: &str,
    by: Option<&str>,
    env: &mut Environment<'_>,
) -> Result<(), String> {
    let whose = by.map_or_else(String::new, |id| format!(" by the identity of {id}"));
    let told = |error: StoreError| format!("an upload{whose}: {error}");
    let name = format!("sealgate-check-{tag}");
    let at = (tried.shown.as_str(), Some(name.as_str()));
    let said = |failure: Failure| failure.message().to_owned();
    let begun = match send_asking(application, Method::POST, at, &[("uploads", "")], (&[], None)).await {
        // a policy may let it write other keys only
        Err(error) if by.is_some() && error.status() == Some(403) => {
            return env
                .say(format_args!("an upload{whose} was not tried: the store refuses it that key"))
                .map_err(said);
        }
        begun => begun.map_err(told)?,
    };
    let begun = InitiateMultipartUploadResult::parse(&begun.bytes(MAX_ANSWER_LEN).await.map_err(told)?);
    let id = begun.map_err(|error| error.to_string())?.upload_id;
    let part = [("partNumber", "1"), ("uploadId", id.as_str())];
    let sent = send_asking(application, Method::PUT, at, &part, (&[], Some(Bytes::from_static(CANARY)))).await;
    let aborted = send_asking(application, Method::DELETE, at, &part[1..], (&[], None)).await;
    sent.and(aborted).map_err(told)?;
    let place = tried.state_bucket.as_deref().unwrap_or("the bucket itself");
    env.say(format_args!("an upload{whose} was begun, took a part and was aborted; its records lay in {place}"))
        .map_err(said)
}

const CANARY: &[u8] = b"A canary sings in the customer's own cage; whoever keeps the cage hears nothing of it.";

/// Writes an object through the gateway, shows what the provider holds, and that only the right key opens it.
async fn canary(
    application: &Upstream,
    store: &Upstream,
    tried: &Tried,
    tag: &str,
    random: &crate::crypto::random::RandomSource,
    env: &mut Environment<'_>,
) -> Result<(), String> {
    let told = |error: StoreError| error.to_string();
    let name = format!("sealgate-check-{tag}");
    let at = (tried.shown.as_str(), Some(name.as_str()));
    let headers = [("content-type", "text/x-canary"), ("x-amz-meta-canary", "yellow-feathers")];
    send(application, Method::PUT, at, &headers, Some(CANARY)).await.map_err(told)?;
    let seen = async {
        let read = send(application, Method::GET, at, &[], None).await.map_err(told)?;
        let same = read.headers.get("x-amz-meta-canary").is_some_and(|value| value == "yellow-feathers");
        let text = read.bytes(1 << 20).await.map_err(told)?;
        if text != CANARY || !same {
            return Err("the canary that came back is not the one that was written".to_owned());
        }
        let raw = send(store, Method::GET, (&tried.names.upstream_name, Some(&name)), &[], None).await.map_err(told)?;
        let headers = raw.headers.clone();
        Ok((headers, raw.bytes(1 << 20).await.map_err(told)?))
    };
    let seen = seen.await;
    let removed = send(application, Method::DELETE, at, &[], None).await;
    let (headers, body) = seen?;
    let said = |failure: Failure| failure.message().to_owned();
    env.say(format_args!("the provider's copy of the canary ({} bytes of plaintext):", CANARY.len())).map_err(said)?;
    for (header, value) in &headers {
        if header.as_str().starts_with("x-amz-meta-") || header == http::header::CONTENT_TYPE {
            env.say(format_args!("  {header}: {}", String::from_utf8_lossy(value.as_bytes()))).map_err(said)?;
        }
    }
    for line in super::hexdump(&body, 96).lines() {
        env.say(format_args!("  {line}")).map_err(said)?;
    }
    let shown = [body.as_ref(), format!("{headers:?}").as_bytes()].concat();
    if CANARY.windows(8).chain(b"yellow-feathers".windows(8)).any(|run| shown.windows(8).any(|window| window == run)) {
        return Err("the provider's copy holds a run of the plaintext".to_owned());
    }
    let envelope = headers.get("x-amz-meta-sealgate").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let key = ObjectKey::new(name.as_bytes()).map_err(|error| error.to_string())?;
    let address = Address { tenant: tried.tenant.clone(), bucket: tried.names.id.clone(), key };
    let unverified = Unverified::parse_text(envelope).map_err(|error| error.to_string())?;
    let wrong = random.draw(SystemClock.now(), b"wrong key").map_err(|error| error.to_string())?;
    match unverified.verify_object(DataKey::new(wrong), &Context::object(&address)) {
        Ok(_) => return Err("another key opens the canary".to_owned()),
        Err(error) => env.say(format_args!("with another key: {error}")).map_err(said)?,
    }
    env.say(format_args!("with the customer's key: opened, byte for byte")).map_err(said)?;
    removed.map_err(told)?;
    env.say(format_args!("the canary is deleted")).map_err(said)
}
