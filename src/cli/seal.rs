//! `sealgate seal`: a file into a body and a header.

use std::path::{Path, PathBuf};

use clap::Args;

use super::keyring_args::KeyringArgs;
use super::progress::Meter;
use super::{Environment, Failure, block_on};
use crate::format::metadata::{ContentField, Metadata};
use crate::keys::keyring::Keyring;
use crate::keys::{EntryName, KeyScope, Purpose};
use crate::object::{Address, BucketId, ObjectKey, TenantId};
use crate::offline::{SealRequest, header_beside, seal_file};

#[derive(Args)]
pub(super) struct SealArgs {
    #[command(flatten)]
    keyring: KeyringArgs,
    #[command(flatten)]
    address: AddressArgs,
    /// The keyring entry to seal under [default: the tenant's only one]
    #[arg(long, value_name = "NAME")]
    kek: Option<EntryName>,
    /// Where the header's text goes: a new file, or `-` for standard output [default: OUTPUT.sealgate]
    #[arg(long, value_name = "FILE")]
    header: Option<PathBuf>,
    /// Write no recovery record into the body: it then opens only with its header
    #[arg(long)]
    no_record: bool,
    /// Content-Type of the object
    #[arg(long, value_name = "VALUE")]
    content_type: Option<String>,
    /// Content-Encoding of the object
    #[arg(long, value_name = "VALUE")]
    content_encoding: Option<String>,
    /// Content-Disposition of the object
    #[arg(long, value_name = "VALUE")]
    content_disposition: Option<String>,
    /// Content-Language of the object
    #[arg(long, value_name = "VALUE")]
    content_language: Option<String>,
    /// Cache-Control of the object
    #[arg(long, value_name = "VALUE")]
    cache_control: Option<String>,
    /// Expires of the object
    #[arg(long, value_name = "VALUE")]
    expires: Option<String>,
    /// User metadata, without `x-amz-meta-`; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    meta: Vec<String>,
    /// Print the account as JSON
    #[arg(long)]
    json: bool,
    /// The regular file to seal
    input: PathBuf,
    /// The new file for the sealed body
    output: PathBuf,
}

/// The name that an object is bound to.
#[derive(Args, Clone, Debug)]
pub(super) struct AddressArgs {
    /// The tenant's id
    #[arg(long, value_name = "ID")]
    pub(super) tenant: TenantId,
    /// The bucket's id
    #[arg(long, value_name = "ID")]
    bucket: BucketId,
    /// The object key, exactly as the application names it
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: String,
}

impl AddressArgs {
    fn address(&self) -> Result<Address, Failure> {
        let key = ObjectKey::new(self.key.as_str()).map_err(Failure::usage)?;
        Ok(Address { tenant: self.tenant.clone(), bucket: self.bucket.clone(), key })
    }
}

pub(super) fn run(args: &SealArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let address = args.address.address()?;
    let metadata = metadata(args)?;
    let to_stdout = args.header.as_deref() == Some(Path::new("-"));
    let header = args.header.clone().unwrap_or_else(|| header_beside(&args.output));
    let keyring = args.keyring.open(env)?;
    let entry = entry(&keyring, &address.tenant, args.kek.as_ref())?;
    let scope = KeyScope::new(address.tenant.clone(), entry, Purpose::Maintenance);
    let request = SealRequest {
        input: &args.input,
        body: &args.output,
        header: (!to_stdout).then_some(header.as_path()),
        address: &address,
        scope: &scope,
        metadata,
        recovery: !args.no_record,
    };
    let (random, clock) = (env.random, env.clock);
    let total = args.input.metadata().ok().map(|facts| facts.len());
    let mut meter = Meter::new(env, "sealing", total);
    let sealed = block_on(seal_file(&keyring, random, clock, request, &mut meter))?;
    drop(meter);
    let sealed = sealed?;
    if args.json {
        let account = serde_json::json!({
            "header": sealed.header,
            "plaintext_length": sealed.plaintext_len,
            "body_length": sealed.body_len,
            "kek_id": sealed.kek_id.to_string(),
            "recovery_record": sealed.has_record,
        });
        return env.say(format_args!("{account}"));
    }
    if to_stdout {
        env.say(format_args!("{}", sealed.header))?;
    }
    let record = if sealed.has_record { "with" } else { "without" };
    env.note(format_args!(
        "sealed {} bytes into {} under KEK {}, {record} a recovery record",
        sealed.plaintext_len, sealed.body_len, sealed.kek_id
    ));
    Ok(())
}

/// The entry that was named, or the tenant's only one.
fn entry(keyring: &Keyring, tenant: &TenantId, named: Option<&EntryName>) -> Result<EntryName, Failure> {
    if let Some(name) = named {
        return Ok(name.clone());
    }
    let mut own = keyring.entries().filter(|entry| entry.tenant == *tenant).map(|entry| &entry.name);
    match (own.next(), own.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(Failure::refused(format_args!("the keyring has no key of tenant {tenant}"))),
        (Some(_), Some(_)) => Err(Failure::usage(format_args!("tenant {tenant} has several keys: give --kek"))),
    }
}

fn metadata(args: &SealArgs) -> Result<Metadata, Failure> {
    let mut metadata = Metadata::default();
    let content = [
        (ContentField::Type, &args.content_type),
        (ContentField::Encoding, &args.content_encoding),
        (ContentField::Disposition, &args.content_disposition),
        (ContentField::Language, &args.content_language),
        (ContentField::CacheControl, &args.cache_control),
        (ContentField::Expires, &args.expires),
    ];
    for (field, value) in content {
        if let Some(value) = value {
            metadata.set_content(field, value.as_bytes()).map_err(Failure::usage)?;
        }
    }
    for pair in &args.meta {
        let (name, value) = pair.split_once('=').ok_or_else(|| Failure::usage("--meta takes NAME=VALUE"))?;
        metadata.add_user(name.as_bytes(), value.as_bytes()).map_err(Failure::usage)?;
    }
    Ok(metadata)
}
