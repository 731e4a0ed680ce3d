//! `sealgate keys`: what the custodian does with a keyring.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use subtle::ConstantTimeEq;

use super::keyring_args::{KeyringArgs, NewPassphraseArgs};
use super::{Environment, Failure};
use crate::crypto::wrap::{KekId, WrapAlg};
use crate::digest::hex;
use crate::keys::file::{create_private, read_private};
use crate::keys::keyring::{
    Argon2Params, ChangeError, Entry, ImportTarget, Keyring, KeyringError, PlainKeys, Readiness, Updated, Version,
};
use crate::keys::recovery::KitForm;
use crate::keys::{Action, EntryName, KeyState};
use crate::object::TenantId;

/// The largest file of exported keys, in bytes: 10 000 keys.
const MAX_EXCHANGE: u64 = 2 * 1024 * 1024;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show all keys and versions; no key material
    List(ListArgs),
    /// Make a new key
    Create(CreateArgs),
    /// Make a new version seal; the former one only opens from then on
    Rotate(RotateArgs),
    /// Let a prepared version seal
    Activate(VersionArgs),
    /// Stop every use of a key for now
    Suspend(VersionArgs),
    /// Undo a suspension
    Resume(ResumeArgs),
    /// Let a key open only
    Deactivate(VersionArgs),
    /// Record that someone else may have a key: it opens only, with warnings
    Compromise(VersionArgs),
    /// Erase a key; whatever it sealed is lost
    Destroy(VersionArgs),
    /// Set a new passphrase
    Passphrase(PassphraseCommandArgs),
    /// Show who can unwrap the keys
    Recipients(ListArgs),
    /// Write keys in the clear to a new file
    Export(ExportArgs),
    /// Take keys in from such a file
    Import(ImportArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    keyring: KeyringArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Wrap {
    /// AES-256-GCM under a key derived from the KEK
    Local,
    /// AES key wrap (RFC 3394), as hardware modules offer it
    AesKw,
}

impl From<Wrap> for WrapAlg {
    fn from(wrap: Wrap) -> Self {
        match wrap {
            Wrap::Local => Self::Local,
            Wrap::AesKw => Self::AesKw,
        }
    }
}

#[derive(Args)]
pub(super) struct CreateArgs {
    /// The key's name
    name: EntryName,
    /// The one tenant whose buckets may use it
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// How it wraps data keys
    #[arg(long, value_enum, default_value = "local")]
    wrap: Wrap,
    /// Make it pre-active: renew the backup, then activate it
    #[arg(long)]
    prepare: bool,
    #[command(flatten)]
    keyring: KeyringArgs,
}

#[derive(Args)]
pub(super) struct RotateArgs {
    /// The key's name
    name: EntryName,
    /// Only make the new version, pre-active: renew the backup, then rotate
    #[arg(long)]
    prepare: bool,
    #[command(flatten)]
    keyring: KeyringArgs,
}

#[derive(Args)]
pub(super) struct VersionArgs {
    /// The key's name
    name: EntryName,
    /// The version [default: every one that it makes sense for]
    #[arg(long, value_name = "N")]
    version: Option<u32>,
    #[command(flatten)]
    keyring: KeyringArgs,
}

#[derive(Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    which: VersionArgs,
    /// Resume every suspended version, where there are several
    #[arg(long, conflicts_with = "version")]
    all: bool,
}

#[derive(Args)]
pub(super) struct PassphraseCommandArgs {
    #[command(flatten)]
    keyring: KeyringArgs,
    #[command(flatten)]
    new: NewPassphraseArgs,
    /// Memory that each guess costs, in MiB: 19 to 1024 [default: unchanged]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(19..=1024))]
    argon2_memory: Option<u32>,
    /// Passes over that memory: 2 to 64 [default: unchanged]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=64))]
    argon2_passes: Option<u32>,
}

#[derive(Args)]
pub(super) struct ExportArgs {
    /// The keys' names [default: all]
    names: Vec<EntryName>,
    /// I know that the file holds the keys in the clear
    #[arg(long, required = true)]
    danger_plaintext: bool,
    /// The new file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    keyring: KeyringArgs,
}

#[derive(Args)]
pub(super) struct ImportArgs {
    /// The file (mode 0600)
    file: PathBuf,
    /// The tenant that the key is, or will be, of
    #[arg(long, value_name = "ID")]
    tenant: TenantId,
    /// The key that the versions are added to, new or existing
    #[arg(long, value_name = "NAME")]
    name: EntryName,
    /// How they wrap data keys
    #[arg(long, value_enum, default_value = "local")]
    wrap: Wrap,
    /// Let the one key in the file seal from now on; without this they only open
    #[arg(long)]
    active: bool,
    #[command(flatten)]
    keyring: KeyringArgs,
}

pub(super) fn run(command: Command, env: &mut Environment<'_>) -> Result<(), Failure> {
    match command {
        Command::List(args) => list(&args, env),
        Command::Create(args) => create(&args, env),
        Command::Rotate(args) => rotate(&args, env),
        Command::Activate(args) => act(&args, Action::Activate, false, env),
        Command::Suspend(args) => act(&args, Action::Suspend, false, env),
        Command::Resume(args) => act(&args.which, Action::Resume, args.all, env),
        Command::Deactivate(args) => act(&args, Action::Deactivate, false, env),
        Command::Compromise(args) => act(&args, Action::Compromise, false, env),
        Command::Destroy(args) => destroy(&args, env),
        Command::Passphrase(args) => passphrase(&args, env),
        Command::Recipients(args) => recipients(&args, env),
        Command::Export(args) => export(&args, env),
        Command::Import(args) => import(&args, env),
    }
}

/// Opens the keyring and changes it in its file; [`Changed::finish`] ends the command.
fn change<T>(
    args: &KeyringArgs,
    env: &mut Environment<'_>,
    change: impl FnOnce(&mut Keyring, &Environment<'_>) -> Result<T, ChangeError>,
) -> Result<Changed<T>, Failure> {
    let opened = args.open(env)?;
    change_opened(args, opened, env, change)
}

fn change_opened<T>(
    args: &KeyringArgs,
    opened: Keyring,
    env: &Environment<'_>,
    change: impl FnOnce(&mut Keyring, &Environment<'_>) -> Result<T, ChangeError>,
) -> Result<Changed<T>, Failure> {
    Ok(Changed(args.file().update(opened, env.now(), env.random, |keyring| change(keyring, env))?))
}

/// A change that is in force, and what is still to be said of it.
struct Changed<T>(Updated<T>);

impl<T> Changed<T> {
    fn finish(self, args: &KeyringArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
        remind(args, &self.0.keyring, env);
        Failure::unless_durable(&args.keyring, self.0.durability)
    }
}

/// What every change of a keyring ends with.
pub(super) fn remind(args: &KeyringArgs, keyring: &Keyring, env: &mut Environment<'_>) {
    env.note(format_args!(
        "{} is now generation {}: renew its backup copy. The recovery kit opens a copy; it does not replace one.",
        args.keyring.display(),
        keyring.generation()
    ));
}

/// `1 key`, `2 keys`.
pub(super) fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn readiness(prepare: bool) -> Readiness {
    if prepare { Readiness::Prepared } else { Readiness::Active }
}

#[derive(Serialize)]
struct ListJson<'a> {
    keyring_id: String,
    generation: u64,
    keys: Vec<KeyJson<'a>>,
}

#[derive(Serialize)]
struct KeyJson<'a> {
    name: &'a str,
    tenant: &'a str,
    wrap: String,
    created: String,
    versions: Vec<VersionJson>,
}

#[derive(Serialize)]
struct VersionJson {
    version: u32,
    kek_id: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    resumes_as: Option<String>,
    seals: bool,
    created: String,
    changed: String,
    check_value: String,
}

fn version_json(entry: &Entry, version: &Version) -> VersionJson {
    VersionJson {
        version: version.number,
        kek_id: version.kek_id.to_string(),
        state: version.standing.state.to_string(),
        resumes_as: version.standing.resumes_as.map(|state| state.to_string()),
        seals: entry.sealing_version().is_some_and(|sealing| sealing.number == version.number),
        created: version.created.to_string(),
        changed: version.changed.to_string(),
        check_value: hex(&version.check_value),
    }
}

fn key_json(entry: &Entry) -> KeyJson<'_> {
    KeyJson {
        name: entry.name.as_str(),
        tenant: entry.tenant.as_str(),
        wrap: entry.alg.to_string(),
        created: entry.created.to_string(),
        versions: entry.versions.iter().map(|version| version_json(entry, version)).collect(),
    }
}

fn print_json(env: &mut Environment<'_>, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(Failure::failed)?;
    env.say(format_args!("{text}"))
}

fn list(args: &ListArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let keyring = args.keyring.open(env)?;
    if args.json {
        let (keyring_id, generation) = (hex(keyring.id()), keyring.generation());
        let keys = keyring.entries().map(key_json).collect();
        return print_json(env, &ListJson { keyring_id, generation, keys });
    }
    let mut rows = vec![["NAME", "TENANT", "WRAP", "VERSION", "STATE", "KEK ID", "CREATED"].map(str::to_owned)];
    for entry in keyring.entries() {
        for version in &entry.versions {
            let json = version_json(entry, version);
            let was = json.resumes_as.map(|was| format!(" (was {was})")).unwrap_or_default();
            let seals = if json.seals { " *" } else { "" };
            rows.push([
                entry.name.to_string(),
                entry.tenant.to_string(),
                entry.alg.to_string(),
                json.version.to_string(),
                format!("{}{was}{seals}", json.state),
                json.kek_id,
                json.created,
            ]);
        }
    }
    print_table(env, &rows)?;
    if keyring.entries().any(|entry| entry.versions.iter().any(|v| v.standing.state == KeyState::Compromised)) {
        env.note(format_args!(
            "warning: a compromised key still opens. Rotate it, seal its objects anew, then destroy it."
        ));
    }
    env.note(format_args!("* seals new objects"));
    Ok(())
}

fn print_table<const N: usize>(env: &mut Environment<'_>, rows: &[[String; N]]) -> Result<(), Failure> {
    let mut widths = [0; N];
    for row in rows {
        widths.iter_mut().zip(row).for_each(|(width, cell)| *width = cell.len().max(*width));
    }
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        env.say(format_args!("{}", cells.collect::<Vec<_>>().join("  ").trim_end()))?;
    }
    Ok(())
}

fn create(args: &CreateArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let changed = change(&args.keyring, env, |keyring, env| {
        let alg = args.wrap.into();
        keyring.create_entry(&args.name, &args.tenant, alg, readiness(args.prepare), env.now(), env.random)
    })?;
    let made = changed.0.keyring.entry(&args.name).and_then(|entry| entry.versions.last());
    if let Some(Version { number, kek_id, standing, .. }) = made {
        let (name, tenant) = (&args.name, &args.tenant);
        env.say(format_args!("{name} of tenant {tenant}: version {number}, KEK id {kek_id}, {}", standing.state))?;
    }
    if args.prepare {
        env.note(format_args!("Then let it seal: sealgate keys activate {}{}", args.name, args.keyring.shown()));
    }
    changed.finish(&args.keyring, env)
}

fn rotate(args: &RotateArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let changed = change(&args.keyring, env, |keyring, env| {
        keyring.rotate(&args.name, readiness(args.prepare), env.now(), env.random)
    })?;
    let number = changed.0.result;
    if args.prepare {
        env.say(format_args!("{} version {number} is prepared", args.name))?;
        env.note(format_args!("Then let it seal: sealgate keys rotate {}{}", args.name, args.keyring.shown()));
    } else {
        env.say(format_args!("{} version {number} seals from now on", args.name))?;
    }
    changed.finish(&args.keyring, env)
}

fn sealing(keyring: &Keyring, name: &EntryName) -> Option<u32> {
    keyring.entry(name)?.sealing_version().map(|version| version.number)
}

fn act(args: &VersionArgs, action: Action, all: bool, env: &mut Environment<'_>) -> Result<(), Failure> {
    let name = &args.name;
    let changed = change(&args.keyring, env, |keyring, env| {
        if action == Action::Resume && args.version.is_none() && !all {
            let numbers: Vec<u32> = keyring.plan(name, None, action)?.into_iter().map(|(number, _)| number).collect();
            if numbers.len() > 1 {
                return Err(ChangeError::SeveralSuspended { name: name.clone(), numbers });
            }
        }
        let before = sealing(keyring, name);
        let numbers = keyring.apply(name, args.version, action, env.now())?;
        Ok((numbers, before))
    })?;
    let (numbers, before) = &changed.0.result;
    say_done(env, name, numbers, action)?;
    match sealing(&changed.0.keyring, name) {
        Some(number) if *before != Some(number) => {
            env.say(format_args!("{name} version {number} seals from now on"))?;
        }
        Some(_) => {}
        None if action == Action::Suspend => env.note(format_args!(
            "warning: {name} seals and opens nothing now. To undo it: sealgate keys resume {name}{}{}",
            if numbers.len() > 1 { " --all" } else { "" },
            args.keyring.shown()
        )),
        None => env.note(format_args!(
            "warning: {name} seals nothing now; `sealgate keys rotate {name}{}` makes a new version",
            args.keyring.shown()
        )),
    }
    if action == Action::Compromise {
        env.note(format_args!(
            "warning: a compromised key still opens. Rotate it, seal its objects anew, then destroy it."
        ));
    }
    changed.finish(&args.keyring, env)
}

fn say_done(env: &mut Environment<'_>, name: &EntryName, numbers: &[u32], action: Action) -> Result<(), Failure> {
    let numbers = numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    env.say(format_args!("{name} version {numbers}: {action}"))
}

/// What a destruction would destroy, as the person is told and as it must still be when it is done.
fn doomed(keyring: &Keyring, args: &VersionArgs) -> Result<Vec<(u32, KekId, KeyState)>, ChangeError> {
    let plan = keyring.plan(&args.name, args.version, Action::Destroy)?;
    let versions = keyring.entry(&args.name).map(|entry| entry.versions.as_slice()).unwrap_or_default();
    let is_doomed = |version: &&Version| plan.iter().any(|(number, _)| *number == version.number);
    Ok(versions.iter().filter(is_doomed).map(|v| (v.number, v.kek_id, v.standing.state)).collect())
}

fn destroy(args: &VersionArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let opened = args.keyring.open(env)?;
    let name = &args.name;
    let agreed = doomed(&opened, args)?;
    env.note(format_args!("This destroys, of {name}:"));
    for (number, kek_id, state) in &agreed {
        env.note(format_args!("  version {number}, {state}, KEK id {kek_id}"));
    }
    env.note(format_args!(
        "Whatever was sealed with it and not moved to another key is lost for ever.\n\
         Older copies of this keyring still hold the key: only when they are gone too is it shredded, and a keyring \
         with a passphrase cannot prove that."
    ));
    let typed = env.ask_line(&format!("Type the key's name to go on ({name}): "))?;
    if typed.is_none_or(|typed| typed.trim() != name.as_str()) {
        return Err(Failure::refused("the name was not typed back: nothing was destroyed"));
    }
    let changed = change_opened(&args.keyring, opened, env, |keyring, env| {
        if doomed(keyring, args)? != agreed {
            return Err(KeyringError::Replaced.into());
        }
        keyring.apply(name, args.version, Action::Destroy, env.now())
    })?;
    say_done(env, name, &changed.0.result, Action::Destroy)?;
    changed.finish(&args.keyring, env)
}

fn passphrase(args: &PassphraseCommandArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let (opened, former) = args.keyring.open_with_passphrase(env)?;
    let now = opened.argon2();
    let params = Argon2Params {
        memory_kib: args.argon2_memory.map_or(now.memory_kib, |mib| mib.saturating_mul(1024)),
        passes: args.argon2_passes.unwrap_or(now.passes),
        ..now
    };
    let new = args.new.read(env)?;
    if params == now && bool::from(new.expose_secret().ct_eq(former.expose_secret())) {
        return Err(Failure::refused("the new passphrase is the present one: nothing was changed"));
    }
    let new = opened.prepare_passphrase(&new, params, env.now(), env.random)?;
    let changed = change_opened(&args.keyring, opened, env, |keyring, _| Ok(keyring.assign_passphrase(new)?))?;
    env.note(format_args!(
        "Copies made before still open with the former passphrase. If it is known to others, renew the kit as well \
         (`sealgate recovery renew{}`), which gives the keyring a new root, and rotate the keys.",
        args.keyring.shown()
    ));
    changed.finish(&args.keyring, env)
}

#[derive(Serialize)]
struct RecipientsJson {
    keyring_id: String,
    passphrase: PassphraseJson,
    recovery_kit: KitJson,
}

#[derive(Serialize)]
struct PassphraseJson {
    kdf: &'static str,
    memory_mib: u32,
    passes: u32,
    lanes: u32,
}

#[derive(Serialize)]
struct KitJson {
    id: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shares: Option<u8>,
    made: String,
}

fn recipients(args: &ListArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let keyring = args.keyring.open(env)?;
    let (params, kit) = (keyring.argon2(), *keyring.kit());
    let (kind, threshold, shares) = match kit.form {
        KitForm::Phrase => ("phrase", None, None),
        KitForm::Shares { threshold, count } => ("shares", Some(threshold), Some(count)),
    };
    let memory_mib = params.memory_kib / 1024;
    if args.json {
        let passphrase = PassphraseJson { kdf: "argon2id", memory_mib, passes: params.passes, lanes: params.lanes };
        let recovery_kit = KitJson { id: kit.id.to_string(), kind, threshold, shares, made: kit.made.to_string() };
        return print_json(env, &RecipientsJson { keyring_id: hex(keyring.id()), passphrase, recovery_kit });
    }
    env.say(format_args!(
        "passphrase     Argon2id, {memory_mib} MiB, {} passes, {} lane(s)",
        params.passes, params.lanes
    ))?;
    env.say(format_args!("recovery kit   {}, {}, made {}", kit.id, kit.form, kit.made))?;
    env.note(format_args!(
        "Nobody else can unwrap the keys of this keyring. Copies of it may have had other recipients."
    ));
    Ok(())
}

fn export(args: &ExportArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    super::keyring_args::must_be_new(&args.out)?;
    let keyring = args.keyring.open(env)?;
    let keys = keyring.danger_export(&args.names)?;
    create_private(&args.out, &keys.danger_plaintext())?;
    let verb = if keys.len() == 1 { "is" } else { "are" };
    env.note(format_args!(
        "{} {verb} in {} in the clear. Whoever reads it can open what they sealed. The file does not say how a key \
         wraps (local or aes-kw): `sealgate keys list` does.",
        counted(keys.len(), "key"),
        args.out.display()
    ));
    for entry in keyring.entries().filter(|entry| args.names.is_empty() || args.names.contains(&entry.name)) {
        for version in &entry.versions {
            let state = version.standing.state;
            if matches!(state, KeyState::Suspended | KeyState::Compromised) {
                env.note(format_args!(
                    "warning: {} version {} is {state}, and the file does not say so: whoever has it opens with it",
                    entry.name, version.number
                ));
            }
        }
    }
    Ok(())
}

fn import(args: &ImportArgs, env: &mut Environment<'_>) -> Result<(), Failure> {
    let text = read_private(&args.file, MAX_EXCHANGE)?;
    let keys = PlainKeys::parse(&text).map_err(|error| Failure::refused(error).about(args.file.display()))?;
    let changed = change(&args.keyring, env, |keyring, env| {
        let ImportArgs { name, tenant, active, .. } = args;
        let target = ImportTarget { name, tenant, alg: args.wrap.into(), active: *active };
        keyring.import(&keys, target, env.now(), env.random)
    })?;
    let numbers = changed.0.result.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let state = if args.active { KeyState::Active } else { KeyState::Deactivated };
    env.say(format_args!("{} version {numbers}: imported, {state}", args.name))?;
    if args.active {
        env.say(format_args!("{} version {numbers} seals from now on", args.name))?;
    }
    env.note(format_args!("{} still holds the keys in the clear: remove it.", args.file.display()));
    changed.finish(&args.keyring, env)
}
