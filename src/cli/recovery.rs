//! `sealgate recovery`: proves, uses and renews the recovery kit.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::custody::Custody;
use super::keyring_args::{KeyringArgs, NewPassphraseArgs, must_be_new, named};
use super::kit::{KitArgs, NewKitArgs, Undo};
use super::open::{ObjectArgs, open_one};
use super::{Environment, Failure, keys};
use crate::keys::file::{Durability, exposure};
use crate::keys::keyring::{Keyring, KeyringFile, SealedKeyring};
use crate::keys::recovery::RecoverySecret;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Prove that a kit opens a keyring; changes nothing
    Verify(VerifyArgs),
    /// Set a new passphrase by the kit, on a copy of the keyring
    Restore(RestoreArgs),
    /// Rehearse the loss of everything: kit, copy and one sealed object, and the object must open
    Drill(DrillArgs),
    /// Make a new kit and a new root; the present kit opens nothing that is written from then on
    Renew(RenewArgs),
}

#[derive(Args)]
pub(super) struct VerifyArgs {
    /// The keyring file or a copy of it
    #[arg(long, value_name = "FILE", default_value = "keyring")]
    keyring: PathBuf,
    #[command(flatten)]
    kit: KitArgs,
}

#[derive(Args)]
pub(super) struct RestoreArgs {
    /// The copy of the keyring
    #[arg(long, value_name = "COPY")]
    keyring: PathBuf,
    /// A new file for the result; without it the copy itself is replaced
    #[arg(long, value_name = "NEWFILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    kit: KitArgs,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

#[derive(Args)]
pub(super) struct DrillArgs {
    /// The copy of the keyring
    #[arg(long, value_name = "COPY")]
    keyring: PathBuf,
    #[command(flatten)]
    kit: KitArgs,
    #[command(flatten)]
    what: ObjectArgs,
    /// The body of one sealed object, which must open
    #[arg(long, value_name = "BODY")]
    object: PathBuf,
}

#[derive(Args)]
pub(super) struct RenewArgs {
    #[command(flatten)]
    keyring: KeyringArgs,
    #[command(flatten)]
    kit: NewKitArgs,
}

pub(super) fn run(command: &Command, env: &mut Environment<'_>) -> Result<(), Failure> {
    match command {
        Command::Verify(args) => verify(args, env),
        Command::Restore(args) => restore(args, env),
        Command::Drill(args) => drill(args, env),
        Command::Renew(args) => renew(args, env),
    }
}

/// A keyring that a kit opened, and what was wrong with the kit although it did.
struct Recovered {
    keyring: Keyring,
    rejected: Vec<String>,
}

/// Opens a copy, whoever's it is and whoever may read it: a backup medium often says nothing of that. It is warned of.
fn open_copy(path: &Path, kit: &KitArgs, env: &mut Environment<'_>) -> Result<Recovered, Failure> {
    let file = KeyringFile::new(path);
    let sealed = file.read_copy().map_err(|error| named(error.into(), path))?;
    if let Some(exposed) = exposure(path) {
        env.note(format_args!("warning: {exposed}"));
    }
    open_with_kit(&sealed, &file, kit, env)
}

fn open_with_kit(
    sealed: &SealedKeyring,
    file: &KeyringFile,
    kit: &KitArgs,
    env: &mut Environment<'_>,
) -> Result<Recovered, Failure> {
    let taken = kit.take(env, sealed.kit())?;
    let keyring = sealed.open_with_kit(&taken.secret).map_err(|error| named(error.into(), file.path()))?;
    Ok(Recovered { keyring, rejected: taken.rejected })
}

/// All shares must be good, not only enough of them: the next ones to ask may not be.
fn require_whole(rejected: &[String]) -> Result<(), Failure> {
    if rejected.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format_args!(
        "the kit opens the keyring, but {} of its shares had to be set aside: renew the kit",
        rejected.len()
    )))
}

fn verify(args: &VerifyArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let Recovered { keyring, rejected } = open_copy(&args.keyring, &args.kit, env)?;
    let proved = keyring.prove()?;
    env.say(format_args!(
        "kit {} opens {}: generation {}, {}, {} proved",
        keyring.kit().id,
        args.keyring.display(),
        keyring.generation(),
        keys::counted(keyring.entries().len(), "key"),
        keys::counted(proved, "version")
    ))?;
    require_whole(&rejected)
}

fn restore(args: &RestoreArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    if let Some(out) = &args.out {
        must_be_new(out)?;
    }
    let file = KeyringFile::new(&args.keyring);
    let Recovered { mut keyring, .. } = if args.out.is_some() {
        open_copy(&args.keyring, &args.kit, env)?
    } else {
        let sealed = file.read().map_err(|error| named(error.into(), &args.keyring))?;
        open_with_kit(&sealed, &file, &args.kit, env)?
    };
    keyring.prove()?;
    let passphrase = args.new.read(env)?;
    let now = env.now();
    let new = keyring.prepare_passphrase(&passphrase, keyring.argon2(), now, env.random)?;
    let (restored, durability) = if let Some(out) = &args.out {
        keyring.assign_passphrase(new)?;
        KeyringFile::new(out).create(&keyring, now, env.random)?;
        (out, Durability::Synced)
    } else {
        let updated = file.update_by_kit(keyring, now, env.random, |keyring| keyring.assign_passphrase(new))?;
        (&args.keyring, updated.durability)
    };
    env.note(format_args!(
        "{} opens with the new passphrase and, as before, with the kit: renew its backup copy. Shares or a phrase that \
         were brought together for this are best renewed: `sealgate recovery renew --keyring {}`.",
        restored.display(),
        restored.display()
    ));
    Failure::unless_durable(restored, durability)
}

/// Kit and copy alone, as after the loss of everything else, must give every key, and open a real object with one.
fn drill(args: &DrillArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let Recovered { keyring, rejected } = open_copy(&args.keyring, &args.kit, env)?;
    let proved = keyring.prove()?;
    env.say(format_args!("the kit opens {}", args.keyring.display()))?;
    env.say(format_args!("key versions that unwrap and match their check values: {proved}"))?;
    open_one(&args.what, &Custody::of(keyring), &args.object, None, false, env)?;
    env.say(format_args!("drill passed: with this kit, this copy and the objects, nothing is lost"))?;
    require_whole(&rejected)
}

fn renew(args: &RenewArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    args.kit.check(env)?;
    let file = args.keyring.file();
    let (opened, passphrase) = args.keyring.open_with_passphrase(env)?;
    let former = opened.kit().id;
    let now = env.now();
    let secret = RecoverySecret::draw(now, env.random)?;
    let new = opened.prepare_kit(&passphrase, (&secret, args.kit.form()), now, env.random)?;
    // Nobody should write down a kit that then cannot be used.
    file.probe(now, env.random)?;
    let mut undo = Undo::default();
    args.kit.hand_out(env, &secret, &mut undo)?;
    let updated = file
        .update(opened, now, env.random, |keyring| keyring.assign_kit(new, now, env.random))
        .map_err(|error| args.kit.void(error.into(), Some(former)))?;
    // From here on the new kit is the only one.
    undo.keep();
    args.kit.handed_out(env, secret.kit_id());
    env.note(format_args!(
        "The former kit {former} opens copies made before this, and nothing made from now on: destroy it and them."
    ));
    keys::remind(&args.keyring, &updated.keyring, env);
    Failure::unless_durable(file.path(), updated.durability)
}
