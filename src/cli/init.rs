//! `sealgate init`: a keyring, its recovery kit, and a starting configuration; or nothing at all.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::keyring_args::{PassphraseArgs, must_be_new};
use super::kit::{NewKitArgs, Undo, make_folder};
use super::{Environment, Failure};
use crate::crypto::wrap::WrapAlg;
use crate::keys::EntryName;
use crate::keys::file::{FileError, probe_folder, sync_folder};
use crate::keys::keyring::{Argon2Params, Keyring, KeyringFile, Readiness};
use crate::keys::recovery::{KitForm, RecoverySecret};
use crate::object::TenantId;

const CONFIGURATION: &str = "gateway.toml";

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
    #[command(flatten)]
    kit: NewKitArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

pub(super) fn run(args: &Args, env: &mut Environment<'_>) -> Result<(), Failure> {
    let keyring_path = args.keyring.clone().unwrap_or_else(|| args.dir.join("keyring"));
    let configuration_path = args.dir.join(CONFIGURATION);
    must_be_new(&keyring_path)?;
    must_be_new(&configuration_path)?;
    args.kit.check(env)?;
    try_places(args, [&keyring_path, &configuration_path], env)?;

    let mut undo = Undo::default();
    let configuration = starting_configuration(args, &keyring_path)?;
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
    let written = write_all(&keyring, (&keyring_path, &configuration_path), &configuration, &mut undo, env);
    written.map_err(|failure| args.kit.void(failure, None))?;
    undo.keep();

    env.note(format_args!("Made {} and {}.", keyring_path.display(), configuration_path.display()));
    args.kit.handed_out(env, secret.kit_id());
    env.note(format_args!(
        "The recovery kit opens a copy of the keyring file; it does not replace the file. Back up both, apart from each \
         other, and prove them:\n  sealgate recovery verify --keyring {}{}",
        keyring_path.display(),
        if args.kit.form() == KitForm::Phrase { "" } else { " --shares FILE..." }
    ));
    Ok(())
}

/// Before a person writes anything down: whether there will be places for the files. Leaves nothing.
fn try_places(args: &Args, places: [&Path; 2], env: &Environment<'_>) -> Result<(), Failure> {
    let mut trial = Undo::default();
    ensure_folder(&args.dir, &mut trial)?;
    for place in places {
        probe_folder(place, env.random.draw_public(env.now(), b"temporary name")?)?;
    }
    Ok(())
}

fn write_all(
    keyring: &Keyring,
    (keyring_path, configuration_path): (&Path, &Path),
    configuration: &str,
    undo: &mut Undo,
    env: &Environment<'_>,
) -> Result<(), Failure> {
    KeyringFile::new(keyring_path).create(keyring, env.now(), env.random)?;
    undo.file(keyring_path);
    write_configuration(configuration_path, configuration)?;
    undo.file(configuration_path);
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

fn starting_configuration(args: &Args, keyring: &Path) -> Result<String, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(Failure::failed);
    let (folder, keyring) = (absolute(&args.dir)?, absolute(keyring)?);
    let shown = keyring.strip_prefix(&folder).unwrap_or(&keyring);
    let file = toml_string(shown.to_str().ok_or_else(|| Failure::usage("the keyring's path is not UTF-8"))?);
    let (tenant, kek) = (&args.tenant, &args.kek);
    Ok(format!(
        r#"# sealgate's configuration. Paths are relative to this file; files with secrets must have mode 0600.

[keys]
provider = "keyring"
file = {file}
# Without it the passphrase is asked for. A passphrase that lies beside its keyring protects nothing.
# passphrase_file = "passphrase"

[[tenant]]
id = "{tenant}"

# What is sealed is bound to the ids of tenant and bucket for ever; names may change.
[[bucket]]
name = "example"
id = "example"
tenant = "{tenant}"
kek = "{kek}"
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
