//! `sealgate open`: a stored object, a folder or a manifest of them into plaintext.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::custody::{Custody, CustodyArgs};
use super::progress::Meter;
use super::{Environment, Failure, block_on};
use crate::crypto::wrap::KekId;
use crate::digest::hex;
use crate::format::envelope::Unverified;
use crate::format::metadata::{ContentField, Metadata};
use crate::format::suite::Kind;
use crate::keys::Purpose;
use crate::object::{Address, BucketId, ObjectKey, TenantId};
use crate::offline::{
    Account, Bulk, NewFile, OfflineError, OpenedObject, Opening, Outcome, Sink, Source, folder_items, header_beside,
    is_same, manifest_items, open_object, read_header,
};

/// How many troubles are told one by one; all of them are in the account.
const MAX_TOLD: u64 = 100;

#[derive(Args)]
pub(super) struct OpenArgs {
    #[command(flatten)]
    custody: CustodyArgs,
    #[command(flatten)]
    what: ObjectArgs,
    /// BODY and the new file for its plaintext (`-`: standard output), or with --verify BODY alone; a folder of bodies,
    /// each with its header beside it as NAME.sealgate, and a folder for the plaintext; with --manifest the latter
    /// alone
    #[arg(value_names = ["BODY", "OUTPUT"], num_args = 1..=2, required = true)]
    paths: Vec<PathBuf>,
    /// Open the objects that FILE names: a JSON object a line with `body`, `key`, and `header` or `header_file`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key", "header", "header_text", "verify"])]
    manifest: Option<PathBuf>,
    /// Write nothing: verify the object and tell its length and SHA-256
    #[arg(long)]
    verify: bool,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
}

/// Which object, and how it opens.
#[derive(Args, Clone, Debug)]
pub(super) struct ObjectArgs {
    /// The tenant's id
    #[arg(long, value_name = "ID")]
    tenant: Option<TenantId>,
    /// The bucket's id
    #[arg(long, value_name = "ID")]
    bucket: Option<BucketId>,
    /// The object key
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: Option<String>,
    /// The file of the header: its text or its raw bytes [default: BODY.sealgate]
    #[arg(long, value_name = "FILE", conflicts_with = "header_text")]
    header: Option<PathBuf>,
    /// The header's text itself
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    header_text: Option<String>,
    /// Open by the recovery record in the body, without the header: the name is then not bound to the content
    #[arg(long, conflicts_with_all = ["key", "header", "header_text"])]
    recover: bool,
}

pub(super) fn run(args: &OpenArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let (body, output) = match (args.paths.as_slice(), &args.manifest, args.verify) {
        ([output], Some(_), _) => return open_many(args, None, output, env),
        (_, Some(_), _) => return Err(Failure::usage("with --manifest give one folder for the plaintext")),
        ([body], None, true) => (body, None),
        ([body, output], None, false) => (body, Some(output)),
        (_, None, true) => return Err(Failure::usage("--verify writes nothing: give the body alone")),
        (_, None, false) => {
            return Err(Failure::usage("give the body and the new file for its plaintext, or --verify"));
        }
    };
    if body.is_dir() {
        let output = output.ok_or_else(|| Failure::usage("--verify is for a single object"))?;
        return open_many(args, Some(body), output, env);
    }
    args.what.check()?;
    let custody = args.custody.open(env)?;
    open_one(&args.what, &custody, body, output.map(PathBuf::as_path), args.json, env).map(drop)
}

impl ObjectArgs {
    /// What is missing is said before a passphrase is asked for.
    fn check(&self) -> Result<(), Failure> {
        if self.tenant.is_none() {
            return Err(Failure::usage("give --tenant"));
        }
        if !self.recover && (self.bucket.is_none() || self.key.is_none()) {
            return Err(Failure::usage("give --bucket and --key, or --recover if the header is lost"));
        }
        Ok(())
    }

    fn tenant(&self) -> Result<TenantId, Failure> {
        self.tenant.clone().ok_or_else(|| Failure::usage("give --tenant"))
    }

    fn address(&self) -> Result<Address, Failure> {
        let bucket = self.bucket.clone().ok_or_else(|| Failure::usage("give --bucket"))?;
        let key = self.key.as_deref().ok_or_else(|| Failure::usage("give --key"))?;
        Ok(Address { tenant: self.tenant()?, bucket, key: ObjectKey::new(key).map_err(Failure::usage)? })
    }

    fn header(&self, body: &Path) -> Result<Unverified, Failure> {
        if let Some(text) = &self.header_text {
            return Unverified::parse_text(text).map_err(Failure::refused);
        }
        let path = self.header.clone().unwrap_or_else(|| header_beside(body));
        Ok(read_header(&path)?)
    }
}

/// Opens one object with keys that are open, and says what it was.
pub(super) fn open_one(
    what: &ObjectArgs,
    custody: &Custody,
    body: &Path,
    output: Option<&Path>,
    as_json: bool,
    env: &mut Environment<'_>,
) -> Result<OpenedObject, Failure> {
    what.check()?;
    let (tenant, address);
    let source = if what.recover {
        tenant = what.tenant()?;
        env.note(format_args!("opening by the recovery record: bucket and key are not bound to what comes out"));
        Source::Record { tenant: &tenant }
    } else {
        address = what.address()?;
        Source::Header { header: Box::new(what.header(body)?), address: &address }
    };
    let unique = u64::from_be_bytes(env.random.draw_public(env.now(), b"temporary name")?);
    let scope_of = |tenant: &TenantId, id: KekId, purpose: Purpose| custody.scope_of(tenant, id, purpose);
    let opening = Opening { provider: custody.provider(), scope_of: &scope_of, body, source };
    let total = body.metadata().ok().and_then(|facts| crate::format::geometry::plaintext_len(facts.len()));
    let opened = if output == Some(Path::new("-")) {
        block_on(open_object(opening, Sink::Stream(env.stdout), &mut ()))?
    } else {
        let sink = match output {
            Some(path) => Sink::File(NewFile { path, unique, before_name: None }),
            None => Sink::Verify,
        };
        let mut meter = Meter::new(env, "opening", total);
        block_on(open_object(opening, sink, &mut meter))?
    };
    let opened = match opened {
        Err(OfflineError::Io { cause, .. }) if cause.kind() == std::io::ErrorKind::BrokenPipe => {
            return Err(Failure::output(cause));
        }
        other => other?,
    };
    if custody.is_compromised(opened.kek_id) {
        warn_compromised(env);
    }
    let digest: String = hex(&opened.sha256);
    if output == Some(Path::new("-")) {
        env.note(format_args!("opened {} bytes, SHA-256 {digest}", opened.plaintext_len));
    } else if as_json {
        env.say(format_args!("{}", account(&opened, &digest)))?;
    } else {
        env.say(format_args!("opened {} bytes, SHA-256 {digest}", opened.plaintext_len))?;
    }
    Ok(opened)
}

fn warn_compromised(env: &mut Environment<'_>) {
    env.note(format_args!(
        "warning: this was sealed under a key that is marked as compromised: whoever has the key can have read it, and \
         can have written it"
    ));
}

fn account(opened: &OpenedObject, digest: &str) -> Value {
    json!({
        "kind": match opened.kind { Kind::Multipart => "multipart", Kind::Simple | Kind::UploadState => "simple" },
        "length": opened.plaintext_len,
        "parts": opened.parts,
        "sha256": digest,
        "kek_id": opened.kek_id.to_string(),
        "metadata": opened.metadata.as_ref().map(metadata_json),
    })
}

/// Values as text where they are UTF-8; what is not is shown with the replacement character.
fn metadata_json(metadata: &Metadata) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut out = serde_json::Map::new();
    for field in ContentField::ALL {
        if let Some(value) = metadata.content(field) {
            out.insert(field.name().to_owned(), json!(text(value)));
        }
    }
    for (name, value) in metadata.user() {
        out.insert(format!("x-amz-meta-{}", text(name)), json!(text(value)));
    }
    if let Some(checksum) = metadata.checksum() {
        out.insert(format!("checksum-{}", checksum.algorithm().name().to_lowercase()), json!(hex(checksum.value())));
    }
    if let Some(md5) = metadata.content_md5() {
        out.insert("content-md5".to_owned(), json!(hex(&md5)));
    }
    if let Some(written) = metadata.written_at() {
        out.insert("written-at".to_owned(), json!(written.to_string()));
    }
    Value::Object(out)
}

fn open_many(args: &OpenArgs, folder: Option<&Path>, out: &Path, env: &mut Environment<'_>) -> Result<(), Failure> {
    let what = &args.what;
    if what.key.is_some() || what.header.is_some() || what.header_text.is_some() {
        return Err(Failure::usage("--key, --header and --header-text are for a single object"));
    }
    let reader = match &args.manifest {
        Some(path) => {
            let file = File::open(path).map_err(|error| Failure::failed(error).about(path.display()))?;
            Some((BufReader::new(file), path.parent().unwrap_or(Path::new("")).to_owned()))
        }
        None => None,
    };
    let (tenant, bucket) = (what.tenant.as_ref(), what.bucket.as_ref());
    let both = if reader.is_none() {
        // The keys of objects without a header are of no use, but their names are needed all the same.
        let missing = || Failure::usage("give --tenant and --bucket");
        Some((tenant.ok_or_else(missing)?, bucket.ok_or_else(missing)?))
    } else {
        None
    };
    if folder.is_some_and(|folder| is_same(folder, out)) {
        return Err(Failure::usage("the plaintext needs a folder of its own"));
    }
    let custody = args.custody.open(env)?;
    let compromised = std::cell::Cell::new(false);
    let scope_of = |tenant: &TenantId, id: KekId, purpose: Purpose| {
        compromised.set(compromised.get() || custody.is_compromised(id));
        custody.scope_of(tenant, id, purpose)
    };
    let bulk = Bulk {
        provider: custody.provider(),
        scope_of: &scope_of,
        out,
        by_bucket: args.manifest.is_some(),
        recover: what.recover,
        random: env.random,
        clock: env.clock,
    };
    let meter = std::cell::RefCell::new(Meter::new(env, "opening", None));
    let mut told = 0u64;
    let mut tell = |name: &str, outcome: &Outcome| {
        let reason = match outcome {
            Outcome::Opened { .. } | Outcome::Present => return,
            Outcome::Problem(error) => error.to_string(),
            Outcome::Unnamed(error) => error.reason.clone(),
        };
        told = told.saturating_add(1);
        if told <= MAX_TOLD {
            let line = if reason.contains(name) { reason } else { format!("{name}: {reason}") };
            meter.borrow_mut().line(&line);
        }
    };
    let mut progress = Shared(&meter);
    let account = match (reader, both, folder) {
        (Some((reader, base)), ..) => {
            let items = manifest_items(reader, &base, tenant, bucket);
            block_on(bulk.run(items, &mut progress, &mut tell))?
        }
        (None, Some((tenant, bucket)), Some(folder)) => {
            let items = folder_items(folder, out, tenant, bucket);
            block_on(bulk.run(items, &mut progress, &mut tell))?
        }
        _ => return Err(Failure::usage("neither a folder nor a manifest")),
    };
    drop(meter);
    if compromised.get() {
        warn_compromised(env);
    }
    report(&account?, told, args.json, env)
}

/// A meter that both the work and the telling of troubles use.
struct Shared<'m, 'a>(&'m std::cell::RefCell<Meter<'a>>);

impl crate::offline::Progress for Shared<'_, '_> {
    fn advance(&mut self, bytes: u64) {
        self.0.borrow_mut().advance(bytes);
    }
}

fn report(account: &Account, told: u64, as_json: bool, env: &mut Environment<'_>) -> Result<(), Failure> {
    if as_json {
        env.say(format_args!(
            "{}",
            json!({
                "objects": account.total(),
                "opened": account.opened,
                "recovered": account.recovered,
                "already_there": account.present,
                "refused": account.refused,
                "failed": account.failed,
                "bytes": account.bytes,
                "ended_early": account.ended_early,
            })
        ))?;
    } else {
        if told > MAX_TOLD {
            env.note(format_args!("… and {} more", told.saturating_sub(MAX_TOLD)));
        }
        env.say(format_args!(
            "{} objects: {} opened ({}; {} of them by their recovery record), {} already there, {} refused, {} failed",
            account.total(),
            account.opened,
            HumanBytes(account.bytes),
            account.recovered,
            account.present,
            account.refused,
            account.failed
        ))?;
    }
    if account.ended_early {
        return Err(Failure::failed("ended early: the output cannot be written; start again when it can"));
    }
    if account.refused > 0 {
        return Err(Failure::refused(format_args!("{} objects were refused", account.refused)));
    }
    if account.failed > 0 {
        return Err(Failure::failed(format_args!("{} objects could not be opened", account.failed)));
    }
    Ok(())
}
