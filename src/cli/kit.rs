//! The recovery kit in a person's hands: handing out a new one, and taking one back.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use zeroize::Zeroizing;

use super::keyring_args::must_be_new;
use super::terminal::WIPE;
use super::{Environment, Failure};
use crate::keys::file::{FileError, create_private, exposure, read_bounded, read_private, sync_folder};
use crate::keys::recovery::phrase::WORDS;
use crate::keys::recovery::shares::{CombineError, Combined, Share, Submitted, combine};
use crate::keys::recovery::{KitDescription, KitForm, KitId, RecoverySecret};

/// How often a phrase may be typed back wrongly.
const ATTEMPTS: usize = 3;
/// The largest file of a phrase or of shares, in bytes.
const MAX_KIT_FILE: u64 = 64 * 1024;

/// `M/N`: any M of N shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    threshold: u8,
    count: u8,
}

impl FromStr for Split {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "M/N is expected, with 2 <= M <= N <= 16, such as 3/5";
        let (threshold, count) = text.split_once('/').ok_or(EXPECTED)?;
        let threshold = threshold.parse().map_err(|_| EXPECTED)?;
        let count = count.parse().map_err(|_| EXPECTED)?;
        if (KitForm::Shares { threshold, count }).is_valid() { Ok(Self { threshold, count }) } else { Err(EXPECTED) }
    }
}

/// How a new kit is written down.
#[derive(Args, Clone, Debug)]
pub(super) struct NewKitArgs {
    /// Split the recovery kit into N shares of which any M restore, instead of showing a phrase
    #[arg(long, value_name = "M/N", requires = "shares_dir")]
    shares: Option<Split>,
    /// The new folder that the shares are written to, one file each
    #[arg(long, value_name = "DIR", requires = "shares")]
    shares_dir: Option<PathBuf>,
}

impl NewKitArgs {
    pub(super) fn form(&self) -> KitForm {
        self.shares.map_or(KitForm::Phrase, |Split { threshold, count }| KitForm::Shares { threshold, count })
    }

    /// Refuses early what [`NewKitArgs::hand_out`] would refuse.
    pub(super) fn check(&self, env: &Environment<'_>) -> Result<(), Failure> {
        if self.form() == KitForm::Phrase && env.terminals.stdout && !env.terminals.stdin {
            return Err(Failure::usage(
                "a phrase that a terminal shows is typed back by the person before it: standard input is no terminal",
            ));
        }
        self.shares_dir.as_deref().map_or(Ok(()), must_be_new)
    }

    /// What holders should do, once the keyring that the kit opens is there.
    pub(super) fn handed_out(&self, env: &mut Environment<'_>, kit: KitId) {
        if let (Some(Split { threshold, count }), Some(folder)) = (self.shares, &self.shares_dir) {
            env.note(format_args!(
                "{count} shares of recovery kit {kit} are in {}. Give each to another holder and remove them here. Any \
                 {threshold} of them open every copy of this keyring without the passphrase; fewer reveal nothing.",
                folder.display()
            ));
        }
    }

    /// A failure after the kit was handed out: what was written down opens nothing.
    pub(super) fn void(&self, failure: Failure, stays: Option<KitId>) -> Failure {
        let stays = stays.map(|kit| format!("; kit {kit} stays the keyring's")).unwrap_or_default();
        match self.form() {
            KitForm::Phrase => {
                failure.and(format_args!("the phrase just written down opens nothing: destroy it{stays}"))
            }
            KitForm::Shares { .. } => {
                failure.and(format_args!("the shares just made open nothing and were removed again{stays}"))
            }
        }
    }

    /// Gives the kit to its holders: shows the phrase until it was typed back, or writes the shares. Files and folders
    /// that it makes are `undo`'s.
    pub(super) fn hand_out(
        &self,
        env: &mut Environment<'_>,
        secret: &RecoverySecret,
        undo: &mut Undo,
    ) -> Result<(), Failure> {
        match (self.shares, &self.shares_dir) {
            (Some(split), Some(folder)) => write_shares(env, secret, split, folder, undo),
            _ => show_phrase(env, secret),
        }
    }
}

fn show_phrase(env: &mut Environment<'_>, secret: &RecoverySecret) -> Result<(), Failure> {
    let phrase = secret.danger_phrase();
    env.note(format_args!(
        "The recovery phrase of kit {}. It opens every copy of this keyring without the passphrase. Write it down on \
         paper, keep it apart from the keyring. It is shown this once.",
        secret.kit_id()
    ));
    if env.terminals.stdout {
        let words: Vec<&str> = phrase.split(' ').collect();
        env.say(format_args!(""))?;
        for (row, words) in words.chunks(4).enumerate() {
            let mut line = Zeroizing::new(String::with_capacity(80));
            for (column, word) in words.iter().enumerate() {
                let number = row.saturating_mul(4).saturating_add(column).saturating_add(1);
                // Writing to a text of sufficient room cannot fail.
                let _ = write!(line, "{number:>4}. {word:<10}");
            }
            env.say(format_args!("{}", line.trim_end()))?;
        }
        env.say(format_args!(""))?;
        env.ask_line("Press Enter when it is written down; the screen is then cleared. ")?;
        clear_screen(env)?;
    } else {
        env.say(format_args!("{}", phrase.as_str()))?;
    }
    env.stdout.flush().map_err(Failure::output)?;
    for attempt in 1..=ATTEMPTS {
        let typed = read_phrase(env, "Type the phrase back: ")?;
        let problem = match RecoverySecret::from_phrase(&typed) {
            // What was typed stands on the screen too.
            Ok(given) if given.kit_id() == secret.kit_id() => {
                env.clear_typed();
                return clear_screen(env);
            }
            Ok(_) => "this is the phrase of another kit".to_owned(),
            Err(error) => error.to_string(),
        };
        env.note(format_args!("{problem} (attempt {attempt} of {ATTEMPTS})"));
    }
    env.clear_typed();
    Err(Failure::refused("the phrase was not typed back: nothing was written, and it opens nothing"))
}

/// Wipes a terminal's screen and scrollback; writes nothing to a pipe or file.
fn clear_screen(env: &mut Environment<'_>) -> Result<(), Failure> {
    let wipe: &[u8] = if env.terminals.stdout { WIPE } else { b"" };
    env.stdout.write_all(wipe).and_then(|()| env.stdout.flush()).map_err(Failure::output)
}

/// Reads lines until they hold a phrase's number of words, an empty line, or the end of input.
fn read_phrase(env: &mut Environment<'_>, question: &str) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let mut line = env.ask_line(question)?;
    if line.is_none() {
        return Err(Failure::failed("standard input ended before the recovery phrase"));
    }
    let words = |text: &str| text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).count();
    while let Some(more) = line.filter(|line| !line.trim().is_empty()) {
        text.push_str(&more);
        text.push('\n');
        if words(&text) >= WORDS || text.len() > 2048 {
            break;
        }
        line = env.read_line()?;
    }
    Ok(text)
}

fn write_shares(
    env: &mut Environment<'_>,
    secret: &RecoverySecret,
    Split { threshold, count }: Split,
    folder: &Path,
    undo: &mut Undo,
) -> Result<(), Failure> {
    let shares = secret.split(threshold, count, env.now(), env.random).map_err(Failure::failed)?;
    make_folder(folder, undo)?;
    for share in &shares {
        let path = folder.join(format!("share-{}.txt", share.index()));
        create_private(&path, share_file(share, threshold, count).as_bytes())?;
        undo.file(&path);
    }
    Ok(())
}

fn share_file(share: &Share, threshold: u8, count: u8) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(1024));
    let header = format!(
        "# sealgate recovery kit {}\n\
         # Share {} of {count}. Any {threshold} shares open every copy of the keyring without its passphrase.\n\
         # Keep this apart from the other shares and from the keyring: without a copy of the keyring file the shares\n\
         # restore nothing. To restore, bring {threshold} shares and a copy of the keyring together and run\n\
         #   sealgate recovery restore --keyring COPY --out NEWFILE --shares FILE FILE ...\n",
        share.kit(),
        share.index(),
    );
    text.push_str(&header);
    text.push_str(&share.danger_line());
    text.push('\n');
    text
}

/// Makes a folder that only its owner can enter, and that must not exist yet.
pub(super) fn make_folder(folder: &Path, undo: &mut Undo) -> Result<(), Failure> {
    must_be_new(folder)?;
    let made = fs::DirBuilder::new().mode(0o700).create(folder);
    let error = |cause| FileError::Io { path: folder.to_owned(), cause };
    made.map_err(error)?;
    undo.folder(folder);
    // Its name is in the folder above.
    sync_folder(folder).map_err(|cause| error(cause).into())
}

/// What a command has made so far, removed again unless it says [`Undo::keep`].
#[derive(Default)]
pub(super) struct Undo {
    made: Vec<(PathBuf, Kind)>,
}

enum Kind {
    File,
    Folder,
}

impl Undo {
    pub(super) fn file(&mut self, path: &Path) {
        self.made.push((path.to_owned(), Kind::File));
    }

    pub(super) fn folder(&mut self, path: &Path) {
        self.made.push((path.to_owned(), Kind::Folder));
    }

    pub(super) fn keep(mut self) {
        self.made.clear();
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        for (path, kind) in self.made.iter().rev() {
            // A folder that holds something else by now is not ours to empty.
            let _ = match kind {
                Kind::File => fs::remove_file(path),
                Kind::Folder => fs::remove_dir(path),
            };
        }
    }
}

/// Where a kit that exists comes from.
#[derive(Args, Clone, Debug)]
pub(super) struct KitArgs {
    /// Files with shares, one or more lines each
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "phrase_file")]
    shares: Vec<PathBuf>,
    /// A file with the recovery phrase (mode 0600)
    #[arg(long, value_name = "FILE")]
    phrase_file: Option<PathBuf>,
}

/// A kit that was taken back.
pub(super) struct TakenKit {
    pub(super) secret: RecoverySecret,
    /// Shares that were set aside, each with the reason.
    pub(super) rejected: Vec<String>,
    notes: Vec<String>,
}

impl KitArgs {
    /// Reads the kit from the files named, or has it typed in the form that the keyring names.
    pub(super) fn take(&self, env: &mut Environment<'_>, kit: &KitDescription) -> Result<TakenKit, Failure> {
        let phrase = |text: &str| -> Result<TakenKit, Failure> {
            let secret = RecoverySecret::from_phrase(text).map_err(Failure::refused)?;
            Ok(TakenKit { secret, rejected: Vec::new(), notes: Vec::new() })
        };
        let taken = if let Some(path) = &self.phrase_file {
            let bytes = read_private(path, MAX_KIT_FILE)?;
            let text = str::from_utf8(&bytes).map_err(|_| Failure::refused("the phrase file is not text"))?;
            phrase(text)?
        } else if self.shares.is_empty() {
            let typed = match kit.form {
                KitForm::Phrase => {
                    read_phrase(env, &format!("Recovery phrase of kit {}: ", kit.id)).and_then(|text| phrase(&text))
                }
                KitForm::Shares { threshold, .. } => type_shares(env, kit, threshold),
            };
            env.clear_typed();
            typed?
        } else {
            let mut lines = Vec::new();
            let mut unread = Vec::new();
            for path in &self.shares {
                match share_file_lines(path) {
                    Ok(more) => lines.extend(more),
                    Err(reason) => unread.push(reason),
                }
                if let Some(exposed) = exposure(path) {
                    env.note(format_args!("warning: {exposed}"));
                }
            }
            let listed = unread.iter().fold(String::new(), |text, reason| text + "; " + reason);
            let mut taken =
                combine_lines(kit, &lines).map_err(|error| Failure::refused(format_args!("{error}{listed}")))?;
            taken.rejected.extend(unread);
            taken
        };
        for note in &taken.notes {
            env.note(format_args!("{note}"));
        }
        for reason in &taken.rejected {
            env.note(format_args!("warning: set aside: {reason}"));
        }
        Ok(taken)
    }
}

/// The lines of one file of shares, each with its place; else why there are none.
fn share_file_lines(path: &Path) -> Result<Vec<NamedLine>, String> {
    let bytes = read_bounded(path, MAX_KIT_FILE).map_err(|error| error.to_string())?;
    let not_text = || format!("{} is not plain text (UTF-8): save it as that, or type the share", path.display());
    // Two bytes a character, as some editors save, leave zeros.
    let text = str::from_utf8(&bytes).ok().filter(|text| !text.contains('\0')).ok_or_else(not_text)?;
    // Some editors put a mark in front that nobody sees.
    let text = text.trim_start_matches('\u{feff}');
    let named =
        |(number, line): (usize, &str)| (format!("{}, line {number}", path.display()), Zeroizing::new(line.to_owned()));
    Ok(share_lines(text).map(named).collect())
}

/// Lines that are neither empty nor comments, with their numbers.
fn share_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index.saturating_add(1), line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

type NamedLine = (String, Zeroizing<String>);

/// Asks for shares until there are enough that agree, or an empty line.
fn type_shares(env: &mut Environment<'_>, kit: &KitDescription, threshold: u8) -> Result<TakenKit, Failure> {
    env.note(format_args!("Kit {} takes {threshold} shares, one a line; an empty line ends.", kit.id));
    let mut lines: Vec<NamedLine> = Vec::new();
    let mut indexes: Vec<u8> = Vec::new();
    while lines.len() < 64 {
        let number = lines.len().saturating_add(1);
        let Some(line) = env.ask_line(&format!("Share {number}: "))?.filter(|line| !line.trim().is_empty()) else {
            break;
        };
        let parsed = Share::parse(&line).map_err(|error| error.to_string());
        let parsed = parsed.and_then(|share| share.belongs_to(kit).map(|()| share.index()));
        lines.push((format!("line {number}"), line));
        match parsed {
            Ok(index) if !indexes.contains(&index) => indexes.push(index),
            Ok(index) => env.note(format_args!("share {index} was given before")),
            Err(reason) => env.note(format_args!("{reason}")),
        }
        if indexes.len() >= usize::from(threshold) {
            match combine_lines(kit, &lines) {
                Ok(taken) => return Ok(taken),
                Err(error) => env.note(format_args!("{error}")),
            }
        }
    }
    combine_lines(kit, &lines).map_err(Failure::refused)
}

fn combine_lines(kit: &KitDescription, lines: &[NamedLine]) -> Result<TakenKit, CombineError> {
    let submitted: Vec<Submitted<'_>> =
        lines.iter().map(|(source, line)| Submitted { source: source.clone(), line }).collect();
    let Combined { secret, rejected, notes } = combine(kit, &submitted)?;
    Ok(TakenKit { secret, rejected, notes })
}
