//! A recovery secret in shares (Shamir over GF(2⁸)): any M of N give it back, fewer say nothing about it.
//!
//! ```text
//! line    = "sealgate-share-1-" ‖ Crockford base32 of the 55 bytes below, in groups of eight with '-' between
//! bytes   = kit id(16) ‖ index(1) ‖ threshold(1) ‖ count(1) ‖ y(32) ‖ check(4)
//! check   = the first 4 bytes of SHA-256("sealgate/v1/share\0" ‖ the 51 bytes before)
//! ```
//!
//! The check names a share that was copied wrongly. The kit id proves the combination, which plain Shamir does not:
//! there a wrong share gives a wrong secret without a word. `y` at x = index is an ordinary share over the polynomial
//! 0x11d; `gfcombine` of libgfshare joins such files too.

use std::convert::Infallible;

use blahaj::{Share as Point, Sharks};
use rand_core::{TryCryptoRng, TryRng};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{KIT_ID_LEN, KitDescription, KitForm, KitId, RECOVERY_SECRET_LEN, RecoverySecret};
use crate::clock::Timestamp;
use crate::crypto::random::{RandomError, RandomSource};
use crate::digest::sha256;
use crate::secret::Secret;

/// What every share's line begins with.
pub const SHARE_PREFIX: &str = "sealgate-share-1-";
const CHECK_LABEL: &[u8] = b"sealgate/v1/share\0";
const CHECKED_LEN: usize = KIT_ID_LEN + 3 + RECOVERY_SECRET_LEN;
const SHARE_LEN: usize = CHECKED_LEN + 4;
const DIGITS: usize = SHARE_LEN * 8 / 5;
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// One share, whole by its checksum. Alone it says nothing about the secret.
pub struct Share {
    kit: KitId,
    index: u8,
    threshold: u8,
    count: u8,
    y: Secret<[u8; RECOVERY_SECRET_LEN]>,
}

/// Why a line is no share. It never repeats the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ShareError {
    /// The line begins differently.
    #[error("not a share: it does not begin with {SHARE_PREFIX}")]
    Prefix,
    /// There are more or fewer characters.
    #[error("{found} characters follow {SHARE_PREFIX}, not {DIGITS}: something is missing or added")]
    Length {
        /// How many there are, without separators.
        found: usize,
    },
    /// A character that no share has.
    #[error("character {0} after {SHARE_PREFIX} is none that a share has")]
    Character(usize),
    /// A character is wrong, but which one cannot be told.
    #[error("its checksum does not hold: it was copied wrongly")]
    Checksum,
    /// Threshold, count or index cannot be.
    #[error("its numbers cannot be: no sealgate made it")]
    Numbers,
}

impl Share {
    /// The kit that it belongs to.
    #[must_use]
    pub const fn kit(&self) -> KitId {
        self.kit
    }

    /// Its number, from 1.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.index
    }

    /// How its kit is split.
    #[must_use]
    pub const fn form(&self) -> KitForm {
        KitForm::Shares { threshold: self.threshold, count: self.count }
    }

    /// The 32 bytes of the polynomial at x = index, for programs that join raw shares.
    #[must_use]
    pub const fn danger_y(&self) -> &Secret<[u8; RECOVERY_SECRET_LEN]> {
        &self.y
    }

    /// The share's line, without an end of line. The caller gives it to its one holder.
    #[must_use]
    pub fn danger_line(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; SHARE_LEN]);
        let head = self.kit.0.iter().chain([&self.index, &self.threshold, &self.count]);
        bytes.iter_mut().zip(head.chain(self.y.expose_secret())).for_each(|(to, from)| *to = *from);
        if let Some((checked, check)) = bytes.split_last_chunk_mut::<4>() {
            *check = check_of(checked);
        }
        let mut line = Zeroizing::new(String::with_capacity(SHARE_PREFIX.len() + DIGITS + DIGITS / 8));
        line.push_str(SHARE_PREFIX);
        // 5 bytes are 8 digits, and 55 is a multiple of 5.
        let (groups, _) = bytes.as_chunks::<5>();
        for (number, group) in groups.iter().enumerate() {
            if number > 0 {
                line.push('-');
            }
            let value = group.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            for digit in (0..8).rev() {
                let five = usize::try_from(value >> (5 * digit) & 31).unwrap_or_default();
                line.push(ALPHABET.get(five).copied().map_or('0', char::from));
            }
        }
        line
    }

    /// Reads a share's line as people copy it: any case, O for 0, I and L for 1, with or without separators.
    pub fn parse(line: &str) -> Result<Self, ShareError> {
        let line = line.trim();
        let prefix = line.get(..SHARE_PREFIX.len()).ok_or(ShareError::Prefix)?;
        if !prefix.eq_ignore_ascii_case(SHARE_PREFIX) {
            return Err(ShareError::Prefix);
        }
        let digits = line.get(SHARE_PREFIX.len()..).unwrap_or_default();
        let digits = digits.chars().filter(|c| *c != '-' && !c.is_whitespace());
        let found = digits.clone().count();
        let mut bytes = Zeroizing::new([0u8; SHARE_LEN]);
        let (groups, _) = bytes.as_chunks_mut::<5>();
        let mut values = Zeroizing::new([0u64; DIGITS / 8]);
        for (position, character) in digits.enumerate() {
            let digit = digit_value(character).ok_or(ShareError::Character(position.saturating_add(1)))?;
            if let Some(value) = values.get_mut(position / 8) {
                *value = *value << 5 | digit;
            }
        }
        if found != DIGITS {
            return Err(ShareError::Length { found });
        }
        for (group, value) in groups.iter_mut().zip(values.iter()) {
            let [_, _, _, bytes @ ..] = value.to_be_bytes();
            *group = bytes;
        }
        Self::from_bytes(&bytes)
    }

    fn from_bytes(bytes: &[u8; SHARE_LEN]) -> Result<Self, ShareError> {
        let (checked, check) = bytes.split_last_chunk::<4>().ok_or(ShareError::Checksum)?;
        if check_of(checked) != *check {
            return Err(ShareError::Checksum);
        }
        let (kit, rest) = checked.split_first_chunk::<KIT_ID_LEN>().ok_or(ShareError::Numbers)?;
        let ([index, threshold, count], y) = rest.split_first_chunk::<3>().ok_or(ShareError::Numbers)?;
        let form = KitForm::Shares { threshold: *threshold, count: *count };
        if !form.is_valid() || !(1..=*count).contains(index) {
            return Err(ShareError::Numbers);
        }
        let y = Secret::from_slice(y).ok_or(ShareError::Numbers)?;
        Ok(Self { kit: KitId(*kit), index: *index, threshold: *threshold, count: *count, y })
    }

    /// Whether it is of the kit, and split as the keyring says; else the reason why not.
    pub fn belongs_to(&self, kit: &KitDescription) -> Result<(), String> {
        if self.kit == kit.id && self.form() == kit.form {
            return Ok(());
        }
        Err(format!(
            "this is share {} of kit {} ({}), and the keyring has kit {} ({})",
            self.index,
            self.kit,
            self.form(),
            kit.id,
            kit.form
        ))
    }

    fn point(&self) -> Option<Point> {
        let mut bytes = Zeroizing::new([0u8; RECOVERY_SECRET_LEN + 1]);
        let source = [self.index].into_iter().chain(self.y.expose_secret().iter().copied());
        bytes.iter_mut().zip(source).for_each(|(to, from)| *to = from);
        Point::try_from(bytes.as_slice()).ok()
    }
}

fn check_of(checked: &[u8]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&[CHECK_LABEL, checked]);
    [a, b, c, d]
}

fn digit_value(character: char) -> Option<u64> {
    let byte = match character.to_ascii_uppercase() {
        'O' => b'0',
        'I' | 'L' => b'1',
        other => u8::try_from(other).ok()?,
    };
    ALPHABET.iter().position(|digit| *digit == byte).and_then(|value| u64::try_from(value).ok())
}

/// Our randomness as the share dealer takes it. It cannot fail there, so a failure is kept and told afterwards.
struct Dealing<'a> {
    random: &'a RandomSource,
    now: Timestamp,
    failed: Option<RandomError>,
}

impl TryRng for Dealing<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = Zeroizing::new([0; 4]);
        self.try_fill_bytes(bytes.as_mut_slice())?;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = Zeroizing::new([0; 8]);
        self.try_fill_bytes(bytes.as_mut_slice())?;
        Ok(u64::from_be_bytes(*bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            match self.random.draw::<32>(self.now, b"recovery share") {
                Ok(drawn) => chunk.iter_mut().zip(drawn.expose_secret()).for_each(|(to, from)| *to = *from),
                Err(error) => self.failed = Some(error),
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Dealing<'_> {}

/// Why a secret was not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SplitError {
    /// Threshold and count cannot be.
    #[error("shares are 2 of 2 to 16 of 16, the threshold at most the number")]
    Form,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl RecoverySecret {
    /// Splits the secret: `threshold` of `count` shares give it back. Splitting again makes other shares, which do not
    /// mix with these.
    pub fn split(
        &self,
        threshold: u8,
        count: u8,
        now: Timestamp,
        random: &RandomSource,
    ) -> Result<Vec<Share>, SplitError> {
        if !(KitForm::Shares { threshold, count }).is_valid() {
            return Err(SplitError::Form);
        }
        let mut dealing = Dealing { random, now, failed: None };
        let points: Vec<Point> =
            Sharks(threshold).dealer_rng(self.expose_secret(), &mut dealing).take(count.into()).collect();
        if let Some(error) = dealing.failed {
            return Err(error.into());
        }
        let kit = self.kit_id();
        let share = |point: &Point| {
            let bytes = Zeroizing::new(Vec::from(point));
            let (index, y) = bytes.split_first()?;
            Some(Share { kit, index: *index, threshold, count, y: Secret::from_slice(y)? })
        };
        points.iter().map(share).collect::<Option<Vec<_>>>().ok_or(SplitError::Form)
    }
}

/// A line that should be a share, with the words that name it to its bringer: a file and line.
pub struct Submitted<'a> {
    /// Where it came from.
    pub source: String,
    /// The line.
    pub line: &'a str,
}

/// What a combination gave.
pub struct Combined {
    /// The kit's secret, proved by the kit id.
    pub secret: RecoverySecret,
    /// Shares that were set aside, each with the reason: replace them.
    pub rejected: Vec<String>,
    /// What is no fault of a share, such as one that was given twice.
    pub notes: Vec<String>,
}

/// Why shares gave no secret. Each message names shares by where they came from.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CombineError {
    /// The kit was never split.
    #[error("the kit {0} of this keyring is a phrase, not shares")]
    Phrase(KitId),
    /// No share at all.
    #[error("no share was given{}", listed(.rejected))]
    None {
        /// What was given instead.
        rejected: Vec<String>,
    },
    /// Fewer good shares than the threshold.
    #[error("{needed} shares are needed, {good} good ones were given{}", listed(.rejected))]
    TooFew {
        /// The threshold.
        needed: u8,
        /// How many there are.
        good: usize,
        /// What was set aside.
        rejected: Vec<String>,
    },
    /// As many as the threshold, and one is wrong.
    #[error(
        "one of these shares is wrong though its checksum holds, and with {needed} alone none can be named: bring \
             another{}", listed(.rejected)
    )]
    OneIsWrong {
        /// The threshold.
        needed: u8,
        /// What was set aside.
        rejected: Vec<String>,
    },
    /// More than the threshold, and too many are wrong.
    #[error("so many of these shares are wrong that no {needed} of them belong together{}", listed(.rejected))]
    TooManyWrong {
        /// The threshold.
        needed: u8,
        /// What was set aside.
        rejected: Vec<String>,
    },
}

fn listed(rejected: &[String]) -> String {
    rejected.iter().fold(String::new(), |text, reason| text + "; " + reason)
}

/// A share that may be good: it is whole, and of the kit and form that the keyring names.
struct Candidate<'a> {
    source: &'a str,
    share: Share,
    point: Point,
}

/// Joins the shares of the kit that a keyring names. What is no share, or another kit's, is set aside and named; a
/// share that is given twice counts once; with more than the threshold, shares that are wrong although their checksum
/// holds are found and named, also where two claim the same index.
pub fn combine(kit: &KitDescription, submitted: &[Submitted<'_>]) -> Result<Combined, CombineError> {
    let KitForm::Shares { threshold, .. } = kit.form else {
        return Err(CombineError::Phrase(kit.id));
    };
    let mut rejected = Vec::new();
    let mut notes = Vec::new();
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for Submitted { source, line } in submitted {
        let share = match Share::parse(line) {
            Ok(share) => share,
            Err(error) => {
                rejected.push(format!("{source}: {error}"));
                continue;
            }
        };
        if let Err(reason) = share.belongs_to(kit) {
            rejected.push(format!("{source}: {reason}"));
            continue;
        }
        let same = |other: &&Candidate<'_>| {
            other.share.index == share.index && other.share.y.expose_secret() == share.y.expose_secret()
        };
        if let Some(first) = candidates.iter().find(same) {
            notes.push(format!("{source}: share {} is the same as {}", share.index, first.source));
        } else if let Some(point) = share.point() {
            candidates.push(Candidate { source, share, point });
        }
    }
    candidates.sort_by_key(|candidate| candidate.share.index);
    let distinct = candidates.chunk_by(|a, b| a.share.index == b.share.index).count();
    let needed = usize::from(threshold);
    if candidates.is_empty() {
        return Err(CombineError::None { rejected });
    }
    if distinct < needed {
        rejected.extend(notes);
        return Err(CombineError::TooFew { needed: threshold, good: distinct, rejected });
    }
    let mut search = Search { candidates: &candidates, needed, kit: kit.id, chosen: Vec::new(), steps: MAX_STEPS };
    let Some(secret) = search.from(0) else {
        return Err(if candidates.len() == needed {
            CombineError::OneIsWrong { needed: threshold, rejected }
        } else {
            CombineError::TooManyWrong { needed: threshold, rejected }
        });
    };
    let chosen = search.chosen;
    let is_chosen = |index: u8| chosen.iter().any(|i| candidates.get(*i).is_some_and(|c| c.share.index == index));
    // A point lies on the polynomial if and only if it gives the secret together with M - 1 points that do.
    let base: Vec<&Point> = chosen.iter().skip(1).filter_map(|i| candidates.get(*i).map(|c| &c.point)).collect();
    for (position, Candidate { source, share, point }) in candidates.iter().enumerate() {
        if chosen.contains(&position) {
            continue;
        }
        let with_it: Vec<&Point> = base.iter().copied().chain([point]).collect();
        // Of two that claim an index one is the right one, and chosen.
        let agrees = !is_chosen(share.index) && join(&with_it, needed).is_some_and(|s| s.kit_id() == kit.id);
        if !agrees {
            rejected.push(format!("{source}: share {} is wrong though its checksum holds", share.index));
        }
    }
    Ok(Combined { secret, rejected, notes })
}

fn join(points: &[&Point], needed: usize) -> Option<RecoverySecret> {
    let sharks = Sharks(u8::try_from(needed).ok()?);
    let bytes = Zeroizing::new(sharks.recover(points.iter().copied()).ok()?);
    Secret::from_slice(&bytes).map(RecoverySecret::new)
}

/// The most steps of a search. All subsets of 16 shares take less than 2¹⁶; only several claimants of many indexes take
/// more.
const MAX_STEPS: u32 = 1 << 20;

/// The search for the first subset of `needed` points, in lexical order, whose secret has the kit's id.
struct Search<'a> {
    /// In the order of their indexes.
    candidates: &'a [Candidate<'a>],
    needed: usize,
    kit: KitId,
    /// Positions in `candidates`, ascending; no index twice.
    chosen: Vec<usize>,
    steps: u32,
}

impl Search<'_> {
    fn from(&mut self, first: usize) -> Option<RecoverySecret> {
        self.steps = self.steps.checked_sub(1)?;
        let last = self.chosen.last().and_then(|i| self.candidates.get(*i)).map(|candidate| candidate.share.index);
        let missing = self.needed.saturating_sub(self.chosen.len());
        if missing == 0 {
            let subset: Vec<&Point> =
                self.chosen.iter().filter_map(|i| self.candidates.get(*i).map(|c| &c.point)).collect();
            return join(&subset, self.needed).filter(|secret| secret.kit_id() == self.kit);
        }
        for (position, candidate) in self.candidates.iter().enumerate().skip(first) {
            if self.candidates.len().saturating_sub(position) < missing {
                break;
            }
            if last == Some(candidate.share.index) {
                continue;
            }
            self.chosen.push(position);
            if let Some(secret) = self.from(position.saturating_add(1)) {
                return Some(secret);
            }
            self.chosen.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_millis(1);

    fn secret(byte: u8) -> RecoverySecret {
        RecoverySecret::new(Secret::from_bytes([byte; 32]))
    }

    fn lines(secret: &RecoverySecret, threshold: u8, count: u8) -> Vec<String> {
        let shares = secret.split(threshold, count, NOW, &RandomSource::new(&[])).unwrap();
        shares.iter().map(|share| share.danger_line().to_string()).collect()
    }

    /// As a keyring would whose kit is that of the first line that is a share.
    fn combine_lines<S: AsRef<str>>(lines: &[S]) -> Result<Combined, CombineError> {
        let first = lines.iter().find_map(|line| Share::parse(line.as_ref()).ok());
        let (id, form) = first.map_or((secret(7).kit_id(), KitForm::Shares { threshold: 2, count: 3 }), |share| {
            (share.kit(), share.form())
        });
        combine_for(&KitDescription { id, form, made: NOW }, lines)
    }

    fn combine_for<S: AsRef<str>>(kit: &KitDescription, lines: &[S]) -> Result<Combined, CombineError> {
        let submitted: Vec<_> = lines
            .iter()
            .enumerate()
            .map(|(i, line)| Submitted { source: format!("line {}", i + 1), line: line.as_ref() })
            .collect();
        combine(kit, &submitted)
    }

    /// The same share with another y and a checksum that holds.
    fn forge(line: &str) -> String {
        let mut share = Share::parse(line).ok().unwrap();
        share.y.expose_secret_mut()[5] ^= 0x40;
        share.danger_line().to_string()
    }

    #[test]
    fn any_threshold_of_shares_gives_the_secret_back() {
        for (threshold, count) in [(2, 2), (2, 3), (3, 5), (16, 16)] {
            let all = lines(&secret(7), threshold, count);
            assert_eq!(all.len(), usize::from(count));
            for start in 0..=(count - threshold) {
                let some = &all[start.into()..(start + threshold).into()];
                let combined = combine_lines(some).ok().unwrap();
                assert_eq!(combined.secret.expose_secret(), &[7; 32]);
                assert!(combined.rejected.is_empty());
                let fewer = combine_lines(&some[1..]).err().unwrap();
                assert!(matches!(fewer, CombineError::TooFew { .. }), "{fewer}");
            }
        }
        for (threshold, count) in [(0, 0), (1, 1), (1, 3), (3, 2), (2, 17)] {
            assert_eq!(secret(7).split(threshold, count, NOW, &RandomSource::new(&[])).err(), Some(SplitError::Form));
        }
    }

    #[test]
    fn a_line_survives_handwriting_and_every_wrong_character_is_noticed() {
        let line = lines(&secret(7), 2, 3).remove(0);
        assert_eq!(line.len(), SHARE_PREFIX.len() + 88 + 10);
        let tail = line.strip_prefix(SHARE_PREFIX).unwrap();
        let spoken = tail.replace('0', "o").replace('1', "l").replace('-', " ").to_lowercase();
        for copy in [format!("  {line}\r\n"), format!("SealGate-Share-1-{spoken}")] {
            assert_eq!(Share::parse(&copy).ok().unwrap().danger_line().as_str(), line);
        }
        for (position, character) in line.char_indices().skip(SHARE_PREFIX.len()).filter(|(_, c)| *c != '-') {
            let other = if character == 'Z' { 'Y' } else { 'Z' };
            let mut wrong = line.clone();
            wrong.replace_range(position..=position, &other.to_string());
            assert_eq!(Share::parse(&wrong).err(), Some(ShareError::Checksum));
            wrong.replace_range(position..=position, "u");
            assert!(matches!(Share::parse(&wrong), Err(ShareError::Character(_))));
            wrong.replace_range(position..=position, "");
            assert_eq!(Share::parse(&wrong).err(), Some(ShareError::Length { found: 87 }));
        }
        assert_eq!(Share::parse("hello").err(), Some(ShareError::Prefix));
        assert_eq!(Share::parse("").err(), Some(ShareError::Prefix));
        assert_eq!(Share::parse(&format!("{line}0")).err(), Some(ShareError::Length { found: 89 }));
    }

    #[test]
    fn a_miscopied_share_is_named_and_the_others_suffice() {
        let mut all = lines(&secret(7), 3, 5);
        let last = if all[2].ends_with('0') { "1" } else { "0" };
        let cut = all[2].len() - 1;
        all[2].replace_range(cut.., last);
        let combined = combine_lines(&all).ok().unwrap();
        assert_eq!(combined.secret.expose_secret(), &[7; 32]);
        assert_eq!(combined.rejected, ["line 3: its checksum does not hold: it was copied wrongly"]);
        let error = combine_lines(&all[1..4]).err().unwrap().to_string();
        assert!(error.contains("3 shares are needed, 2 good ones") && error.contains("line 2:"), "{error}");
    }

    #[test]
    fn a_forged_share_is_named_when_there_are_more_than_the_threshold() {
        for forged in 0..5 {
            let mut all = lines(&secret(7), 3, 5);
            all[forged] = forge(&all[forged]);
            let combined = combine_lines(&all).ok().unwrap();
            assert_eq!(combined.secret.expose_secret(), &[7; 32]);
            let number = forged + 1;
            assert_eq!(
                combined.rejected,
                [format!("line {number}: share {number} is wrong though its checksum holds")]
            );
        }
        let mut all = lines(&secret(7), 2, 4);
        all[0] = forge(&all[0]);
        assert_eq!(combine_lines(&all[..2]).err(), Some(CombineError::OneIsWrong { needed: 2, rejected: vec![] }));
        all[1] = forge(&all[1]);
        assert_eq!(combine_lines(&all).ok().unwrap().rejected.len(), 2);
        all[2] = forge(&all[2]);
        assert_eq!(combine_lines(&all).err(), Some(CombineError::TooManyWrong { needed: 2, rejected: vec![] }));
    }

    #[test]
    fn the_search_through_all_subsets_ends_and_finds() {
        let mut all = lines(&secret(7), 8, 16);
        for line in all.iter_mut().take(8) {
            *line = forge(line);
        }
        let combined = combine_lines(&all).ok().unwrap();
        assert_eq!((combined.secret.expose_secret(), combined.rejected.len()), (&[7; 32], 8));
    }

    #[test]
    fn shares_that_do_not_belong_together_are_told_apart() {
        let (a, b) = (lines(&secret(7), 2, 3), lines(&secret(8), 2, 3));
        let mixed = combine_lines(&[&a[0], &b[1]]).err().unwrap().to_string();
        assert!(mixed.contains("1 good ones") && mixed.contains("line 2: this is share 2 of kit"), "{mixed}");
        let again = lines(&secret(7), 2, 3);
        assert_eq!(
            combine_lines(&[&a[0], &again[1]]).err(),
            Some(CombineError::OneIsWrong { needed: 2, rejected: vec![] })
        );
        let twice = combine_lines(&[&a[0], &a[0]]).err().unwrap().to_string();
        assert!(twice.contains("line 2: share 1 is the same as line 1"), "{twice}");
        assert!(matches!(combine_lines::<&str>(&[]), Err(CombineError::None { .. })));
        assert!(matches!(combine_lines(&["x"]), Err(CombineError::None { rejected }) if rejected.len() == 1));
        let phrase = KitDescription { id: secret(7).kit_id(), form: KitForm::Phrase, made: NOW };
        assert!(matches!(combine_for(&phrase, &a), Err(CombineError::Phrase(_))));
    }

    #[test]
    fn one_bad_share_does_not_keep_enough_good_ones_from_restoring() {
        let all = lines(&secret(7), 2, 3);
        let kit =
            KitDescription { id: secret(7).kit_id(), form: KitForm::Shares { threshold: 2, count: 3 }, made: NOW };
        let mut forged_form = Share::parse(&all[2]).ok().unwrap();
        forged_form.threshold = 3;
        let foreign = lines(&secret(8), 2, 3);
        for bad in [
            // The same index with another value, before and after the true one.
            forge(&all[0]),
            forge(&all[1]),
            foreign[0].clone(),
            forged_form.danger_line().to_string(),
            "sealgate-share-1-".to_owned(),
        ] {
            for place in 0..=2 {
                let mut given = all[..2].to_vec();
                given.insert(place, bad.clone());
                let combined = combine_for(&kit, &given).ok().unwrap();
                assert_eq!(combined.secret.expose_secret(), &[7; 32]);
                assert_eq!(combined.rejected.len(), 1, "{:?}", combined.rejected);
                assert!(combined.rejected[0].starts_with(&format!("line {}: ", place + 1)), "{:?}", combined.rejected);
            }
        }
        let twice = combine_for(&kit, &[&all[0], &all[1], &all[0]]).ok().unwrap();
        assert_eq!((twice.rejected.len(), twice.notes.len()), (0, 1));
    }

    #[test]
    fn a_flood_of_claimants_ends() {
        let all = lines(&secret(7), 8, 16);
        let mut given = Vec::new();
        for line in &all {
            for other in 1..5 {
                let mut share = Share::parse(line).ok().unwrap();
                *share.y.expose_secret_mut() = sha256(&[&[share.index, other]]);
                given.push(share.danger_line().to_string());
            }
        }
        assert!(matches!(combine_lines(&given), Err(CombineError::TooManyWrong { needed: 8, .. })));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_share_or_an_error(text in ".{0,200}", tail in "[0-9A-Za-z-]{80,110}") {
            let _ = Share::parse(&text);
            let _ = Share::parse(&format!("{SHARE_PREFIX}{text}"));
            assert!(Share::parse(&format!("{SHARE_PREFIX}{tail}")).is_err());
        }

        #[test]
        fn any_secret_comes_back_from_phrase_and_shares(bytes: [u8; 32], threshold in 2u8..=6, more in 0u8..=4) {
            let secret = RecoverySecret::new(Secret::from_bytes(bytes));
            let phrase = secret.danger_phrase();
            assert_eq!(RecoverySecret::from_phrase(&phrase).ok().unwrap().expose_secret(), &bytes);
            let all = lines(&secret, threshold, threshold + more);
            let last = &all[usize::from(more)..];
            assert_eq!(combine_lines(last).ok().unwrap().secret.expose_secret(), &bytes);
        }
    }
}
