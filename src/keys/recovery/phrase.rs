//! A recovery secret as 24 English words (BIP-39: 256 bits and an 8-bit checksum).

use bip39::{Language, Mnemonic};
use thiserror::Error;
use zeroize::Zeroizing;

use super::RecoverySecret;
use crate::secret::Secret;

/// How many words a phrase has.
pub const WORDS: usize = 24;
/// The longest word, number and separator included, that is read.
const ROOM: usize = WORDS * 16;

/// Why a text is not a phrase. It names positions, never words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PhraseError {
    /// There are more or fewer words.
    #[error("a recovery phrase has 24 words, not {0}")]
    Count(usize),
    /// A word that is in no phrase.
    #[error("word {0} is not in the word list: look for a slip of the pen")]
    Word(usize),
    /// All words are in the list, but together they are no phrase.
    #[error("the phrase's checksum does not hold: a word is wrong, or two are swapped")]
    Checksum,
}

impl RecoverySecret {
    /// The phrase in one line, lower case. The caller shows it to the customer, once, and to nobody else.
    #[must_use]
    pub fn danger_phrase(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(ROOM));
        // 32 bytes are always 24 words; an empty phrase would not be accepted back.
        if let Ok(mnemonic) = Mnemonic::from_entropy_in(Language::English, self.expose_secret()) {
            for word in mnemonic.words() {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(word);
            }
        }
        text
    }

    /// Reads a phrase as people write it: any case, any spacing and lines, words numbered or not, commas or not.
    pub fn from_phrase(text: &str) -> Result<Self, PhraseError> {
        let mut normal = Zeroizing::new(String::with_capacity(ROOM));
        let mut count = 0usize;
        let mut unknown = None;
        let words = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
        for word in words {
            count = count.saturating_add(1);
            let lower = Zeroizing::new(word.to_lowercase());
            if Language::English.find_word(&lower).is_none() {
                unknown = unknown.or(Some(count));
            }
            if count <= WORDS && lower.len() <= 8 {
                if count > 1 {
                    normal.push(' ');
                }
                normal.push_str(&lower);
            }
        }
        if count != WORDS {
            return Err(PhraseError::Count(count));
        }
        if let Some(position) = unknown {
            return Err(PhraseError::Word(position));
        }
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &normal).map_err(|_| PhraseError::Checksum)?;
        let entropy = Zeroizing::new(mnemonic.to_entropy());
        Secret::from_slice(&entropy).map(Self::new).ok_or(PhraseError::Checksum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The BIP-39 vector of 32 bytes 0x7f.
    const KNOWN: &str = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth \
                         useful legal winner thank year wave sausage worth title";

    #[test]
    fn the_published_vector_holds_both_ways() {
        let secret = RecoverySecret::new(Secret::from_bytes([0x7f; 32]));
        assert_eq!(secret.danger_phrase().as_str(), KNOWN);
        assert_eq!(RecoverySecret::from_phrase(KNOWN).ok().unwrap().expose_secret(), &[0x7f; 32]);
    }

    #[test]
    fn what_people_type_is_understood() {
        let words = KNOWN.split(' ').zip(1..);
        let numbered = words.fold(String::new(), |text, (word, i)| text + &format!("{i}. {word}\n"));
        for text in [
            KNOWN.to_uppercase(),
            KNOWN.replace(' ', "\r\n"),
            KNOWN.replace(' ', ",  "),
            format!("\n  {KNOWN} \n\n"),
            numbered.clone(),
            numbered.replace(". ", ") "),
        ] {
            assert_eq!(RecoverySecret::from_phrase(&text).ok().unwrap().expose_secret(), &[0x7f; 32], "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_by_position_and_never_repeated() {
        let error = |text: &str| RecoverySecret::from_phrase(text).err().unwrap();
        assert_eq!(error(""), PhraseError::Count(0));
        assert_eq!(error("legal winner"), PhraseError::Count(2));
        assert_eq!(error(&format!("{KNOWN} legal")), PhraseError::Count(25));
        assert_eq!(error(&KNOWN.replacen("thank", "thonk", 1)), PhraseError::Word(3));
        assert!(!error(&KNOWN.replacen("thank", "thonk", 1)).to_string().contains("thonk"));
        assert_eq!(error(&KNOWN.replacen("title", "legal", 1)), PhraseError::Checksum);
        assert_eq!(error(&KNOWN.replacen("legal winner", "winner legal", 1)), PhraseError::Checksum);
    }
}
