//! `sealgate recovery`: proves, uses and renews the recovery kit.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::custody::Custody;
use super::keyring_args::{KeyringArgs, NewPassphraseArgs, must_be_new, named};
use super::kit::{KitArgs, NewKitArgs, Undo};
use super::open::{ObjectArgs, open_one};
use super::{Environment, Failure, keys};
use crate::keys::keyring::{Keyring, KeyringFile};
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

fn open_with_kit(file: &KeyringFile, kit: &KitArgs, env: &mut Environment<'_>) -> Result<Recovered, Failure> {
    let sealed = file.read().map_err(|error| named(error.into(), file.path()))?;
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
    let Recovered { keyring, rejected } = open_with_kit(&KeyringFile::new(&args.keyring), &args.kit, env)?;
    let proved = keyring.prove()?;
    env.say(format_args!(
        "kit {} opens {}: generation {}, {} keys, {proved} versions proved",
        keyring.kit().id,
        args.keyring.display(),
        keyring.generation(),
        keyring.entries().len()
    ))?;
    require_whole(&rejected)
}

fn restore(args: &RestoreArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    if let Some(out) = &args.out {
        must_be_new(out)?;
    }
    let file = KeyringFile::new(&args.keyring);
    let Recovered { mut keyring, .. } = open_with_kit(&file, &args.kit, env)?;
    keyring.prove()?;
    let new = args.new.read(env)?;
    let (params, now) = (keyring.argon2(), env.now());
    let restored = if let Some(out) = &args.out {
        keyring.set_passphrase(&new, params, now, env.random)?;
        KeyringFile::new(out).create(&keyring, now, env.random)?;
        out
    } else {
        let set = |keyring: &mut Keyring| keyring.set_passphrase(&new, params, now, env.random);
        file.update(keyring, now, env.random, set)?;
        &args.keyring
    };
    env.note(format_args!(
        "{} opens with the new passphrase and, as before, with the kit: renew its backup copy. Shares or a phrase that \
         were brought together for this are best renewed: `sealgate recovery renew`.",
        restored.display()
    ));
    Ok(())
}

/// Kit and copy alone, as after the loss of everything else, must give every key, and open a real object with one.
fn drill(args: &DrillArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let Recovered { keyring, rejected } = open_with_kit(&KeyringFile::new(&args.keyring), &args.kit, env)?;
    let proved = keyring.prove()?;
    env.say(format_args!("the kit opens {}", args.keyring.display()))?;
    env.say(format_args!("{proved} key versions unwrap and match their check values"))?;
    open_one(&args.what, &Custody::of(keyring), &args.object, None, false, env)?;
    env.say(format_args!("drill passed: with this kit, this copy and the objects, nothing is lost"))?;
    require_whole(&rejected)
}

fn renew(args: &RenewArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    args.kit.check()?;
    let (opened, passphrase) = args.keyring.open_with_passphrase(env)?;
    let former = opened.kit().id;
    let now = env.now();
    let secret = RecoverySecret::draw(now, env.random)?;
    let mut undo = Undo::default();
    args.kit.hand_out(env, &secret, &mut undo)?;
    let (keyring, ()) = args.keyring.file().update(opened, now, env.random, |keyring| {
        keyring.renew_kit(&passphrase, (&secret, args.kit.form()), now, env.random)
    })?;
    undo.keep();
    env.note(format_args!(
        "The former kit {former} opens copies made before this, and nothing made from now on: destroy it and them."
    ));
    keys::remind(&args.keyring, &keyring, env);
    Ok(())
}
