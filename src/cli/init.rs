//! `sealgate init`: a keyring, its recovery kit, and a configuration that serves as soon as it has the store's credentials;
//! or nothing at all.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::keyring_args::{PassphraseArgs, must_be_new};
use super::kit::{NewKitArgs, Undo, make_folder};
use super::{Environment, Failure};
use crate::config::profile::section;
use crate::crypto::wrap::WrapAlg;
use crate::digest::hex;
use crate::keys::EntryName;
use crate::keys::file::{FileError, create_private, probe_folder, sync_folder};
use crate::keys::keyring::{Argon2Params, Keyring, KeyringFile, Readiness};
use crate::keys::recovery::{KitForm, RecoverySecret};
use crate::object::TenantId;
use crate::s3::target::BucketName;

const CONFIGURATION: &str = "gateway.toml";
const CREDENTIALS: &str = "credentials";

#[derive(clap::Args)]
pub(super) struct Args {
    /// The folder of the configuration and of the keyring; made if there is none
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// The keyring file [default: keyring in DIR]
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// The first tenant
    #[arg(long, value_name = "ID", default_value = "main")]
    tenant: TenantId,
    /// The name of the first key
    #[arg(long, value_name = "NAME", default_value = "default")]
    kek: EntryName,
    /// The first bucket, by its name at the store and for applications
    #[arg(long, value_name = "NAME", default_value = "example", value_parser = bucket)]
    bucket: BucketName,
    /// The store, such as <https://s3.example.net> [default: AWS in the region]
    #[arg(long, value_name = "URL", value_parser = endpoint)]
    endpoint: Option<String>,
    /// The region
    #[arg(long, value_name = "NAME", default_value = "us-east-1", value_parser = region)]
    region: String,
    #[command(flatten)]
    kit: NewKitArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

fn bucket(text: &str) -> Result<BucketName, &'static str> {
    BucketName::parse(text).map_err(|_| "3 to 63 lower-case letters, digits, dots and dashes are expected")
}

fn endpoint(text: &str) -> Result<String, &'static str> {
    let is_endpoint = crate::config::endpoint(text).is_some();
    if is_endpoint { Ok(text.to_owned()) } else { Err("http:// or https://, a host and perhaps a port are expected") }
}

fn region(text: &str) -> Result<String, &'static str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !text.is_empty() && text.bytes().all(fits) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits and dashes are expected")
    }
}

/// The files that are made.
struct Places {
    keyring: PathBuf,
    configuration: PathBuf,
    credentials: PathBuf,
}

impl Places {
    fn all(&self) -> [&Path; 3] {
        [&self.keyring, &self.configuration, &self.credentials]
    }
}

pub(super) fn run(args: &Args, env: &mut Environment<'_>) -> Result<(), Failure> {
    let places = Places {
        keyring: args.keyring.clone().unwrap_or_else(|| args.dir.join("keyring")),
        configuration: args.dir.join(CONFIGURATION),
        credentials: args.dir.join(CREDENTIALS),
    };
    places.all().into_iter().try_for_each(must_be_new)?;
    args.kit.check(env)?;
    try_places(args, &places, env)?;

    let mut undo = Undo::default();
    let configuration = starting_configuration(args, &places.keyring)?;
    let credentials = starting_credentials(args, env)?;
    let passphrase = args.passphrase.read_new(env)?;
    let now = env.now();
    let secret = RecoverySecret::draw(now, env.random)?;
    let kit = (&secret, args.kit.form());
    let mut keyring = Keyring::create(&passphrase, Argon2Params::DEFAULT, kit, now, env.random)?;
    keyring.create_entry(&args.kek, &args.tenant, WrapAlg::Local, Readiness::Active, now, env.random)?;

    // Shares may go below DIR. A phrase is typed back before anything is made, so that an interrupt leaves nothing.
    if args.kit.form() == KitForm::Phrase {
        args.kit.hand_out(env, &secret, &mut undo)?;
        ensure_folder(&args.dir, &mut undo)?;
    } else {
        ensure_folder(&args.dir, &mut undo)?;
        args.kit.hand_out(env, &secret, &mut undo)?;
    }
    let written = write_all(&keyring, &places, (&configuration, &credentials), &mut undo, env);
    written.map_err(|failure| args.kit.void(failure, None))?;
    undo.keep();

    let (keyring_path, configuration_path) = (&places.keyring, &places.configuration);
    env.note(format_args!(
        "Made {}, {} and {}.",
        keyring_path.display(),
        configuration_path.display(),
        places.credentials.display()
    ));
    args.kit.handed_out(env, secret.kit_id());
    env.note(format_args!(
        "The recovery kit opens a copy of the keyring file; it does not replace the file. Back up both, apart from each \
         other, and prove them:\n  sealgate recovery verify --keyring {}{}",
        keyring_path.display(),
        if args.kit.form() == KitForm::Phrase { "" } else { " --shares FILE..." }
    ));
    env.note(format_args!(
        "Then write the store's access key into [provider] of {}, and see what is left to do:\n  sealgate check --config {}",
        places.credentials.display(),
        configuration_path.display()
    ));
    Ok(())
}

/// Before a person writes anything down: whether there will be places for the files. Leaves nothing.
fn try_places(args: &Args, places: &Places, env: &Environment<'_>) -> Result<(), Failure> {
    let mut trial = Undo::default();
    ensure_folder(&args.dir, &mut trial)?;
    for place in places.all() {
        probe_folder(place, env.random.draw_public(env.now(), b"temporary name")?)?;
    }
    Ok(())
}

fn write_all(
    keyring: &Keyring,
    places: &Places,
    (configuration, credentials): (&str, &str),
    undo: &mut Undo,
    env: &Environment<'_>,
) -> Result<(), Failure> {
    KeyringFile::new(&places.keyring).create(keyring, env.now(), env.random)?;
    undo.file(&places.keyring);
    create_private(&places.credentials, credentials.as_bytes())?;
    undo.file(&places.credentials);
    write_configuration(&places.configuration, configuration)?;
    undo.file(&places.configuration);
    Ok(())
}

fn ensure_folder(folder: &Path, undo: &mut Undo) -> Result<(), Failure> {
    if folder.is_dir() { Ok(()) } else { make_folder(folder, undo) }
}

/// The configuration is no secret: mode 0644 less the umask.
fn write_configuration(path: &Path, text: &str) -> Result<(), Failure> {
    let error = |cause| FileError::Io { path: path.to_owned(), cause };
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(error)?;
    let written = std::io::Write::write_all(&mut file, text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| sync_folder(path)).map_err(|cause| {
        let _ = fs::remove_file(path);
        error(cause).into()
    })
}

/// The application's identity, drawn, and a place for the store's.
fn starting_credentials(args: &Args, env: &Environment<'_>) -> Result<Zeroizing<String>, Failure> {
    let id: [u8; 8] = env.random.draw_public(env.now(), b"access key id")?;
    let secret = env.random.draw::<20>(env.now(), b"secret access key")?;
    let secret = Zeroizing::new(hex(secret.expose_secret()));
    let id = format!("AKSG{}", hex(&id).to_uppercase());
    let (application, provider) =
        (section("sealgate", &id, &secret, &args.region), section("provider", "", "", &args.region));
    Ok(Zeroizing::new(format!(
        "# The application's identity at the gateway: give it to the application.\n{}\n\
         # The gateway's identity at the store: write it here, and take the application's own one away.\n{}",
        application.as_str(),
        provider.as_str()
    )))
}

fn starting_configuration(args: &Args, keyring: &Path) -> Result<String, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(Failure::failed);
    let folder = absolute(&args.dir)?;
    let shown = |path: &Path| {
        let path = absolute(path)?;
        let path = path.strip_prefix(&folder).unwrap_or(&path);
        Ok::<_, Failure>(toml_string(path.to_str().ok_or_else(|| Failure::usage("a path is not UTF-8"))?))
    };
    let file = shown(keyring)?;
    let passphrase = args.passphrase.file().map_or_else(|| Ok("\"passphrase\"".to_owned()), shown)?;
    let Args { tenant, kek, bucket, region, .. } = args;
    let bucket = bucket.as_str();
    // an id has no dots
    let bucket_id = bucket.replace('.', "-");
    let (endpoint, profile) = match &args.endpoint {
        Some(endpoint) => (toml_string(endpoint), "generic"),
        None => (format!("\"https://s3.{region}.amazonaws.com\""), "aws"),
    };
    Ok(format!(
        r#"# sealgate's configuration. Paths are relative to this file; files with secrets must have mode 0600.
# Every key is explained in the manual's page on configuration.

[listen]
address = "127.0.0.1:8080"
region = "{region}"                 # what applications sign for

[[upstream]]
name = "main"
endpoint = {endpoint}
region = "{region}"
profile = "{profile}"
credentials = {{ file = "{CREDENTIALS}", profile = "provider" }}

[keys]
provider = "keyring"
file = {file}
# Lying beside its keyring it protects nothing: name a place that the keyring's backups do not reach.
passphrase_file = {passphrase}

[[tenant]]
id = "{tenant}"

# What is sealed is bound to the ids of tenant and bucket for ever; names may change.
[[bucket]]
name = "{bucket}"
upstream = "main"
upstream_name = "{bucket}"
id = "{bucket_id}"
tenant = "{tenant}"
kek = "{kek}"

[[credential]]
credentials = {{ file = "{CREDENTIALS}", profile = "sealgate" }}
tenant = "{tenant}"
buckets = ["{bucket}"]
"#
    ))
}

/// A TOML basic string.
fn toml_string(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            c if c.is_control() => out.extend(format!("\\u{:04X}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_is_a_toml_string() {
        for path in ["keyring", "/a b/k\"e\\y", "tab\there", "line\nend", "ünï"] {
            let text = format!("file = {}", toml_string(path));
            let table: toml::Table = text.parse().unwrap();
            assert_eq!(table["file"].as_str(), Some(path));
        }
    }
}
