//! The gateway's own keys in a bucket, and what a state record says of its upload.
//!
//! ```text
//! .sealgate/u/H          the state of an unfinished upload
//! .sealgate/s/H/NNNNN    a small part of it that waits for Complete
//! .sealgate/check/ID     the canary of a running `sealgate check --online`
//! ```
//!
//! H is a digest of the upload's address and id. Beside its sealed body a state record therefore names in the clear what its
//! H is of: bucket, key and upload id, all of which the store knows. So `sealgate gc` can ask about an upload without any key
//! and without relying on lists; and a note that names another upload does not fit the record's H. In a bucket of the gateway's own
//! it also says as whom to ask: to another identity the store may have other buckets by these names.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::digest::sha256;
use crate::format::context::upload_state_name;
use crate::object::{Address, ObjectKey, PartNumber};
use crate::sigv4::AccessKeyId;

/// Keys that begin so are the gateway's own.
pub const RESERVED_PREFIX: &str = ".sealgate/";
/// Behind all of them.
pub const BEHIND_RESERVED: &str = ".sealgate/\u{10FFFF}";
/// Below which canaries lie.
pub const CHECK_PREFIX: &str = ".sealgate/check/";
/// Where a state record notes whose it is.
const UPLOAD_NOTE: HeaderName = HeaderName::from_static("x-amz-meta-sealgate-upload");
/// Stores take 2 KB of names and values; an upload id longer than all that are known gets no note.
const MAX_NOTE_LEN: usize = 1900;

/// Whether a decoded key is one of the gateway's own, or would be to a store that drops slashes at a key's beginning.
#[must_use]
pub fn is_reserved(key: &[u8]) -> bool {
    let start = key.iter().position(|byte| *byte != b'/').unwrap_or(key.len());
    let key = key.get(start..).unwrap_or_default();
    key.starts_with(RESERVED_PREFIX.as_bytes()) || key == b".sealgate"
}

/// Behind which key a list goes on that ended at one of the gateway's own; `None` if it did not.
#[must_use]
pub fn behind(last: &str) -> Option<String> {
    if !is_reserved(last.as_bytes()) {
        return None;
    }
    let key = last.trim_start_matches('/');
    let slashes = "/".repeat(last.len() - key.len());
    Some(slashes + if key.starts_with(RESERVED_PREFIX) { BEHIND_RESERVED } else { key })
}

/// Where what belongs to an upload lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadNames {
    h: String,
}

impl UploadNames {
    /// Of the upload `upload_id` to `address`.
    #[must_use]
    pub fn of(address: &Address, upload_id: &str) -> Self {
        Self { h: upload_state_name(address, upload_id) }
    }

    /// The key of its state record.
    #[must_use]
    pub fn state(&self) -> String {
        format!("{RESERVED_PREFIX}u/{}", self.h)
    }

    /// What the keys of its staged parts begin with.
    #[must_use]
    pub fn staged_prefix(&self) -> String {
        format!("{RESERVED_PREFIX}s/{}/", self.h)
    }

    /// The key of a staged part.
    #[must_use]
    pub fn staged(&self, number: PartNumber) -> String {
        format!("{}{:05}", self.staged_prefix(), number.get())
    }
}

/// What one of the gateway's own keys is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An upload's state.
    State(UploadNames),
    /// A staged part of an upload.
    Staged(UploadNames),
    /// A canary.
    Check,
}

impl Record {
    /// Reads a key; `None` for one that this version does not write.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        if key.strip_prefix(CHECK_PREFIX).is_some_and(|id| !id.is_empty()) {
            return Some(Self::Check);
        }
        let names = |h: &str| (h.len() == 43 && !h.contains('/')).then(|| UploadNames { h: h.to_owned() });
        match key.strip_prefix(RESERVED_PREFIX)?.split_once('/')? {
            ("u", h) => names(h).map(Self::State),
            ("s", rest) => {
                let (h, number) = rest.split_once('/')?;
                let number = Some(number).filter(|text| text.len() == 5)?.parse().ok()?;
                PartNumber::new(number).ok().and_then(|_| names(h)).map(Self::Staged)
            }
            _ => None,
        }
    }
}

/// The upload that a state record is of.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadNote {
    /// The bucket, by the store's name.
    pub bucket: String,
    /// The object.
    pub key: ObjectKey,
    /// The store's id of the upload.
    pub upload_id: String,
    /// Who began it, as [`initiator`] says it, if that is another to the store than the gateway itself.
    pub by: Option<String>,
}

/// What a note says of a credential: enough to find it in a configuration, and not its id.
#[must_use]
pub fn initiator(id: &AccessKeyId) -> String {
    let digest = sha256(&[b"sealgate initiator", id.as_str().as_bytes()]);
    URL_SAFE_NO_PAD.encode(digest.first_chunk::<12>().unwrap_or(&[0; 12]))
}

impl UploadNote {
    /// Puts it into the headers of a state record, unless it is longer than stores take.
    pub fn put(&self, headers: &mut HeaderMap) {
        let fields = [self.bucket.as_bytes(), self.key.as_bytes(), self.upload_id.as_bytes()];
        let mut text = fields.map(|field| URL_SAFE_NO_PAD.encode(field)).join(".");
        if let Some(by) = &self.by {
            text = format!("{text}.{by}");
        }
        if let Some(value) = HeaderValue::from_str(&text).ok().filter(|_| text.len() <= MAX_NOTE_LEN) {
            headers.insert(UPLOAD_NOTE, value);
        }
    }

    /// Reads it from the headers of a state record. Nothing of it is proved: its H must be the record's.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get(UPLOAD_NOTE)?.to_str().ok()?.split('.');
        let mut decoded = || URL_SAFE_NO_PAD.decode(fields.next()?).ok();
        let bucket = String::from_utf8(decoded()?).ok()?;
        let key = ObjectKey::new(decoded()?).ok()?;
        let upload_id = String::from_utf8(decoded()?).ok()?;
        let by = fields.next().map(str::to_owned);
        (fields.next().is_none() && by.as_deref() != Some("")).then_some(Self { bucket, key, upload_id, by })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_it_is_of() {
        let h = "A".repeat(43);
        let names = UploadNames { h: h.clone() };
        assert_eq!(Record::of(&names.state()), Some(Record::State(names.clone())));
        let staged = names.staged(PartNumber::new(7).unwrap());
        assert_eq!(
            (staged.as_str(), Record::of(&staged)),
            (&*format!(".sealgate/s/{h}/00007"), Some(Record::Staged(names)))
        );
        assert_eq!(Record::of(".sealgate/check/x"), Some(Record::Check));
        for other in [
            ".sealgate/x/abc".to_owned(),
            ".sealgate/check/".to_owned(),
            ".sealgate/u".to_owned(),
            ".sealgate/u/short".to_owned(),
            format!("u/{h}"),
            format!(".sealgate/s/{h}"),
            format!(".sealgate/s/{h}/1"),
            format!(".sealgate/s/{h}/00000"),
            format!(".sealgate/s/{h}/10001"),
            format!(".sealgate/u/{}/{}", &h[..20], &h[..22]),
        ] {
            assert_eq!(Record::of(&other), None, "{other}");
        }
    }

    #[test]
    fn a_note_comes_back_and_one_that_is_too_long_is_left_out() {
        let note = |key: &[u8], upload_id: &str| UploadNote {
            bucket: "up-data".to_owned(),
            key: ObjectKey::new(key).unwrap(),
            upload_id: upload_id.to_owned(),
            by: upload_id.starts_with('i').then(|| initiator(&AccessKeyId::parse("AKALPHA").unwrap())),
        };
        for (key, id) in [(&b"a/\xc3\xbc.b"[..], "2~x.y/z=="), (&[b'k'; 1024][..], &"i".repeat(128))] {
            let mut headers = HeaderMap::new();
            note(key, id).put(&mut headers);
            assert!(UploadNote::of(&headers) == Some(note(key, id)));
            assert!(headers[UPLOAD_NOTE].len() + UPLOAD_NOTE.as_str().len() <= 2048);
        }
        let mut headers = HeaderMap::new();
        note(&[b'k'; 1024], &"i".repeat(600)).put(&mut headers);
        assert!(headers.is_empty());
        for wrong in ["", "YQ.YQ", "YQ.YQ.YQ.", "YQ.YQ.YQ.YQ.YQ", "YQ.YQ.%", "YQ..YQ"] {
            headers.insert(UPLOAD_NOTE, HeaderValue::from_static(wrong));
            assert!(UploadNote::of(&headers).is_none(), "{wrong}");
        }
    }
}
