//! Sealed metadata: a strictly ordered TLV list.
//!
//! ```text
//! TLV = { u8 type ‖ u16 length ‖ value }*, ascending by (type, value), consumed exactly
//! ```
//!
//! Only type 0x10 repeats, with distinct names. Types 0x80–0xFF that this version does not know are kept and ignored;
//! any other unknown type is refused, because it could change what the known ones mean.

use super::cursor::Cursor;
use super::error::{OpenError, SealError};
use crate::clock::Timestamp;
pub use crate::digest::{ChecksumAlgorithm, ChecksumType};

const USER: u8 = 0x10;
const CHECKSUM: u8 = 0x20;
const CONTENT_MD5: u8 = 0x21;
const WRITTEN_AT: u8 = 0x22;
const CREATE_TAG: u8 = 0x30;
const DECLARED_CHECKSUM: u8 = 0x31;
// 0x23 is reserved for the true length of a padded object: unknown here, and so refused.
/// From here on, what is not known is ignored.
const FIRST_IGNORABLE: u8 = 0x80;

/// A content header that is sealed with the object; its value is the TLV type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ContentField {
    /// `Content-Type`.
    Type = 1,
    /// `Content-Encoding`, without `aws-chunked`.
    Encoding = 2,
    /// `Content-Disposition`.
    Disposition = 3,
    /// `Content-Language`.
    Language = 4,
    /// `Cache-Control`.
    CacheControl = 5,
    /// `Expires`.
    Expires = 6,
}

impl ContentField {
    /// All of them, in the order of their types.
    pub const ALL: [Self; 6] =
        [Self::Type, Self::Encoding, Self::Disposition, Self::Language, Self::CacheControl, Self::Expires];

    /// The HTTP header's name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Type => "content-type",
            Self::Encoding => "content-encoding",
            Self::Disposition => "content-disposition",
            Self::Language => "content-language",
            Self::CacheControl => "cache-control",
            Self::Expires => "expires",
        }
    }
}

/// A checksum of the plaintext that was verified against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    algorithm: ChecksumAlgorithm,
    over: ChecksumType,
    value: Vec<u8>,
}

impl Checksum {
    /// A checksum; `value` must have the algorithm's length.
    pub fn new(algorithm: ChecksumAlgorithm, over: ChecksumType, value: &[u8]) -> Result<Self, SealError> {
        if value.len() != algorithm.value_len() {
            return Err(SealError::Checksum("its value has the wrong length"));
        }
        Ok(Self { algorithm, over, value: value.to_vec() })
    }

    /// Its algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// Over what it runs.
    #[must_use]
    pub const fn over(&self) -> ChecksumType {
        self.over
    }

    /// Its value, of the algorithm's length.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        let algorithm = ChecksumAlgorithm::from_byte(cursor.u8()?)?;
        let over = ChecksumType::from_byte(cursor.u8()?)?;
        Self::new(algorithm, over, cursor.rest()).ok()
    }
}

/// Where a TLV list stands: some types are allowed, or obliged, in one place only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the header of an object.
    Object,
    /// In the state record of an unfinished upload.
    UploadState,
}

/// One field as it stands in the list.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Field {
    tag: u8,
    value: Vec<u8>,
}

/// The metadata of an object or of an unfinished upload. Confidential: it has no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Strictly ascending.
    fields: Vec<Field>,
}

/// Reads a TLV list whose rules are those of the module's page; `check` judges each (type, value).
pub(super) fn parse_tlv(
    bytes: &[u8],
    mut check: impl FnMut(u8, &[u8]) -> Result<(), &'static str>,
) -> Result<Vec<(u8, Vec<u8>)>, &'static str> {
    let mut fields: Vec<(u8, Vec<u8>)> = Vec::new();
    let mut cursor = Cursor::new(bytes);
    while !cursor.is_empty() {
        let (Some(tag), Some(len)) = (cursor.u8(), cursor.u16()) else { return Err("a field is cut short") };
        let value = cursor.take(usize::from(len)).ok_or("a field is cut short")?;
        check(tag, value)?;
        if let Some((last_tag, last_value)) = fields.last() {
            if (*last_tag, last_value.as_slice()) >= (tag, value) {
                return Err("the fields are not strictly ascending");
            }
            if *last_tag == tag {
                if tag != USER {
                    return Err("a field stands twice");
                }
                if user_pair(last_value).map(|(name, _)| name) == user_pair(value).map(|(name, _)| name) {
                    return Err("a metadata name stands twice");
                }
            }
        }
        fields.push((tag, value.to_vec()));
    }
    Ok(fields)
}

fn user_pair(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut cursor = Cursor::new(value);
    let len = cursor.u16()?;
    let name = cursor.take(usize::from(len))?;
    Some((name, cursor.rest()))
}

fn is_header_text(bytes: &[u8]) -> bool {
    !bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
}

fn check_field(tag: u8, value: &[u8], place: Place) -> Result<(), &'static str> {
    let length = |len: usize| if value.len() == len { Ok(()) } else { Err("a field has the wrong length") };
    match tag {
        1..=6 => is_header_text(value).then_some(()).ok_or("a content header contains CR, LF or NUL"),
        USER => {
            let (name, text) = user_pair(value).ok_or("a metadata name is longer than its field")?;
            if name.is_empty() {
                return Err("a metadata name is empty");
            }
            if name.iter().any(u8::is_ascii_uppercase) {
                return Err("a metadata name is not in lower case");
            }
            if !is_header_text(name) || !is_header_text(text) {
                return Err("user metadata contains CR, LF or NUL");
            }
            Ok(())
        }
        CHECKSUM => Checksum::parse(value).map(drop).ok_or("the checksum is malformed"),
        CONTENT_MD5 => length(16),
        WRITTEN_AT => length(8),
        CREATE_TAG | DECLARED_CHECKSUM if place == Place::Object => Err("a field of upload states stands in an object"),
        CREATE_TAG => length(32),
        DECLARED_CHECKSUM => match *value {
            [algorithm, over]
                if ChecksumAlgorithm::from_byte(algorithm).is_some() && ChecksumType::from_byte(over).is_some() =>
            {
                Ok(())
            }
            _ => Err("the declared checksum is malformed"),
        },
        FIRST_IGNORABLE.. => Ok(()),
        _ => Err("an unknown field that must be understood"),
    }
}

impl Metadata {
    /// Reads a decrypted TLV list.
    pub fn parse(bytes: &[u8], place: Place) -> Result<Self, OpenError> {
        let fields = parse_tlv(bytes, |tag, value| check_field(tag, value, place)).map_err(OpenError::Metadata)?;
        let metadata = Self { fields: fields.into_iter().map(|(tag, value)| Field { tag, value }).collect() };
        if place == Place::UploadState && metadata.create_tag().is_none() {
            return Err(OpenError::Metadata("an upload state without the tag of its header"));
        }
        Ok(metadata)
    }

    /// The TLV list, empty if there is no field.
    pub fn encode(&self) -> Result<Vec<u8>, SealError> {
        let mut out = Vec::with_capacity(self.fields.iter().map(|f| 3 + f.value.len()).sum());
        for field in &self.fields {
            let len = u16::try_from(field.value.len()).map_err(|_| SealError::MetadataTooLarge)?;
            out.push(field.tag);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(&field.value);
        }
        Ok(out)
    }

    /// Whether there is no field.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All fields as they stand: type and value.
    pub fn fields(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.fields.iter().map(|field| (field.tag, field.value.as_slice()))
    }

    fn value(&self, tag: u8) -> Option<&[u8]> {
        self.fields.iter().find(|field| field.tag == tag).map(|field| field.value.as_slice())
    }

    fn set(&mut self, tag: u8, value: Vec<u8>, place: Place) -> Result<(), SealError> {
        check_field(tag, &value, place).map_err(SealError::Metadata)?;
        self.fields.retain(|field| field.tag != tag);
        self.insert(Field { tag, value });
        Ok(())
    }

    fn insert(&mut self, field: Field) {
        let at = self.fields.partition_point(|other| *other < field);
        self.fields.insert(at, field);
    }

    /// A content header's bytes as they were received.
    #[must_use]
    pub fn content(&self, field: ContentField) -> Option<&[u8]> {
        self.value(field as u8)
    }

    /// Sets a content header; CR, LF and NUL are refused.
    pub fn set_content(&mut self, field: ContentField, value: &[u8]) -> Result<(), SealError> {
        self.set(field as u8, value.to_vec(), Place::Object)
    }

    /// User metadata: names in lower case without `x-amz-meta-`, values as received.
    pub fn user(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().filter(|field| field.tag == USER).filter_map(|field| user_pair(&field.value))
    }

    /// Adds a pair of user metadata; an empty, upper-case or repeated name is refused, as are CR, LF and NUL.
    pub fn add_user(&mut self, name: &[u8], value: &[u8]) -> Result<(), SealError> {
        let len = u16::try_from(name.len()).map_err(|_| SealError::MetadataTooLarge)?;
        let encoded = [&len.to_be_bytes()[..], name, value].concat();
        check_field(USER, &encoded, Place::Object).map_err(SealError::Metadata)?;
        if self.user().any(|(other, _)| other == name) {
            return Err(SealError::Metadata("a metadata name stands twice"));
        }
        self.insert(Field { tag: USER, value: encoded });
        Ok(())
    }

    /// The checksum that was verified against the plaintext.
    #[must_use]
    pub fn checksum(&self) -> Option<Checksum> {
        self.value(CHECKSUM).and_then(Checksum::parse)
    }

    /// Sets the checksum: only one that was verified against the plaintext.
    pub fn set_checksum(&mut self, checksum: &Checksum) -> Result<(), SealError> {
        let head = [checksum.algorithm as u8, checksum.over as u8];
        self.set(CHECKSUM, [&head[..], checksum.value()].concat(), Place::Object)
    }

    /// The MD5 of the plaintext.
    #[must_use]
    pub fn content_md5(&self) -> Option<[u8; 16]> {
        self.value(CONTENT_MD5).and_then(|value| value.try_into().ok())
    }

    /// Sets the MD5 of the plaintext.
    pub fn set_content_md5(&mut self, md5: [u8; 16]) -> Result<(), SealError> {
        self.set(CONTENT_MD5, md5.to_vec(), Place::Object)
    }

    /// When this header was written, by the writer's clock.
    #[must_use]
    pub fn written_at(&self) -> Option<Timestamp> {
        let millis = self.value(WRITTEN_AT)?.try_into().ok().map(u64::from_be_bytes)?;
        Some(Timestamp::from_unix_millis(millis))
    }

    /// Sets when this header is written.
    pub fn set_written_at(&mut self, now: Timestamp) -> Result<(), SealError> {
        self.set(WRITTEN_AT, now.unix_millis().to_be_bytes().to_vec(), Place::Object)
    }

    /// In an upload state: the tag of the header that was sent at Create.
    #[must_use]
    pub fn create_tag(&self) -> Option<[u8; 32]> {
        self.value(CREATE_TAG).and_then(|value| value.try_into().ok())
    }

    /// In an upload state: sets the tag of the header that was sent at Create.
    pub fn set_create_tag(&mut self, tag: [u8; 32]) -> Result<(), SealError> {
        self.set(CREATE_TAG, tag.to_vec(), Place::UploadState)
    }

    /// In an upload state: the checksum that was declared at Create.
    #[must_use]
    pub fn declared_checksum(&self) -> Option<(ChecksumAlgorithm, ChecksumType)> {
        match *self.value(DECLARED_CHECKSUM)? {
            [algorithm, over] => Some((ChecksumAlgorithm::from_byte(algorithm)?, ChecksumType::from_byte(over)?)),
            _ => None,
        }
    }

    /// In an upload state: sets the checksum that was declared at Create.
    pub fn set_declared_checksum(&mut self, algorithm: ChecksumAlgorithm, over: ChecksumType) -> Result<(), SealError> {
        self.set(DECLARED_CHECKSUM, vec![algorithm as u8, over as u8], Place::UploadState)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(fields: &[(u8, &[u8])]) -> Vec<u8> {
        fields
            .iter()
            .flat_map(|(tag, value)| [&[*tag][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat())
            .collect()
    }

    fn parse(fields: &[(u8, &[u8])]) -> Result<Metadata, OpenError> {
        Metadata::parse(&tlv(fields), Place::Object)
    }

    #[test]
    fn what_is_set_is_read_back() {
        let mut m = Metadata::default();
        assert!(m.is_empty());
        m.set_content(ContentField::Type, b"text/plain").unwrap();
        m.set_content(ContentField::Type, b"text/html").unwrap();
        m.add_user(b"zz", b"1").unwrap();
        m.add_user(b"aaa", b"").unwrap();
        let sum = Checksum::new(ChecksumAlgorithm::Crc32c, ChecksumType::FullObject, &[1, 2, 3, 4]).unwrap();
        m.set_checksum(&sum).unwrap();
        m.set_content_md5([9; 16]).unwrap();
        m.set_written_at(Timestamp::from_unix_millis(77)).unwrap();
        let again = Metadata::parse(&m.encode().unwrap(), Place::Object).unwrap_or_default();
        assert!(!again.is_empty() && again == m);
        assert_eq!(again.content(ContentField::Type), Some(&b"text/html"[..]));
        assert_eq!(again.content(ContentField::Expires), None);
        let user: Vec<_> = again.user().collect();
        assert_eq!(user, [(&b"zz"[..], &b"1"[..]), (b"aaa", b"")], "shorter names first");
        assert_eq!(again.checksum(), Some(sum));
        assert_eq!(again.content_md5(), Some([9; 16]));
        assert_eq!(again.written_at(), Some(Timestamp::from_unix_millis(77)));
        assert_eq!(again.create_tag(), None);
        assert_eq!(again.declared_checksum(), None);
        assert_eq!(again.fields().map(|(tag, _)| tag).collect::<Vec<_>>(), [1, 0x10, 0x10, 0x20, 0x21, 0x22]);
    }

    #[test]
    fn upload_states_carry_their_own_fields() {
        let mut m = Metadata::default();
        m.set_declared_checksum(ChecksumAlgorithm::Sha256, ChecksumType::Composite).unwrap();
        assert!(Metadata::parse(&m.encode().unwrap(), Place::UploadState).is_err(), "the tag is obligatory");
        m.set_create_tag([8; 32]).unwrap();
        let bytes = m.encode().unwrap();
        let again = Metadata::parse(&bytes, Place::UploadState).ok().unwrap();
        assert_eq!(again.create_tag(), Some([8; 32]));
        assert_eq!(again.declared_checksum(), Some((ChecksumAlgorithm::Sha256, ChecksumType::Composite)));
        assert!(Metadata::parse(&bytes, Place::Object).is_err());
        for bad in [&[4u8][..], &[0, 1], &[11, 1], &[4, 0], &[4, 3], &[4, 1, 0]] {
            let fields = tlv(&[(0x30, &[8; 32]), (0x31, bad)]);
            assert!(Metadata::parse(&fields, Place::UploadState).is_err());
        }
        assert!(Metadata::parse(&tlv(&[(0x30, &[8; 31])]), Place::UploadState).is_err());
    }

    #[test]
    fn malformed_lists_are_refused() {
        let cases: &[&[(u8, &[u8])]] = &[
            &[(0, b"")],
            &[(7, b"")],
            &[(0x0f, b"")],
            &[(0x11, b"")],
            &[(0x7f, b"")],
            &[(0x23, &[0; 8])],
            &[(0x30, &[0; 32])],
            &[(0x31, &[1, 1])],
            &[(1, b"a\r")],
            &[(6, b"a\n")],
            &[(3, b"a\0")],
            &[(2, b"x"), (1, b"x")],
            &[(1, b"x"), (1, b"x")],
            &[(1, b"x"), (1, b"y")],
            &[(0x10, b"")],
            &[(0x10, b"\0")],
            &[(0x10, b"\0\0v")],
            &[(0x10, b"\0\x02n")],
            &[(0x10, b"\0\x01N")],
            &[(0x10, b"\0\x01n\r")],
            &[(0x10, b"\0\x01\nv")],
            &[(0x10, b"\0\x01na"), (0x10, b"\0\x01nb")],
            &[(0x10, b"\0\x02ab"), (0x10, b"\0\x01a")],
            &[(0x20, b"")],
            &[(0x20, &[1, 1, 0, 0, 0])],
            &[(0x20, &[1, 1, 0, 0, 0, 0, 0])],
            &[(0x20, &[0, 1, 0, 0, 0, 0])],
            &[(0x20, &[11, 1, 0, 0, 0, 0])],
            &[(0x20, &[1, 0, 0, 0, 0, 0])],
            &[(0x20, &[1, 3, 0, 0, 0, 0])],
            &[(0x21, &[0; 15])],
            &[(0x22, &[0; 7])],
            &[(0x80, b"x"), (0x80, b"y")],
        ];
        for case in cases {
            assert!(matches!(parse(case), Err(OpenError::Metadata(_))), "{case:?}");
        }
        for cut in [&[1u8][..], &[1, 0], &[1, 0, 1], &[1, 0, 2, b'x']] {
            assert!(Metadata::parse(cut, Place::Object).is_err());
        }
    }

    #[test]
    fn unknown_ignorable_fields_are_kept() {
        let fields: &[(u8, &[u8])] = &[(1, b""), (0x80, b"x\r\n"), (0xff, b"")];
        assert_eq!(parse(fields).ok().unwrap().encode().unwrap(), tlv(fields));
    }

    #[test]
    fn setters_refuse_what_a_reader_would() {
        let mut m = Metadata::default();
        assert!(m.set_content(ContentField::Type, b"a\nb").is_err());
        assert!(m.add_user(b"", b"v").is_err());
        assert!(m.add_user(b"Name", b"v").is_err());
        assert!(m.add_user(b"name", b"\0").is_err());
        assert!(m.add_user(b"name", b"a").is_ok());
        assert!(m.add_user(b"name", b"b").is_err());
        assert!(Checksum::new(ChecksumAlgorithm::Sha1, ChecksumType::FullObject, &[0; 19]).is_err());
        m.set_content(ContentField::Expires, &vec![b'x'; 70_000]).unwrap();
        assert_eq!(m.encode(), Err(SealError::MetadataTooLarge));
        assert_eq!(m.add_user(&vec![b'x'; 70_000], b""), Err(SealError::MetadataTooLarge));
    }

    #[test]
    fn tables_agree_with_their_bytes() {
        let lens = [4, 4, 20, 32, 8, 64, 16, 8, 8, 16];
        for byte in 0..=255u8 {
            let known = (1..=10).contains(&byte);
            let algorithm = ChecksumAlgorithm::from_byte(byte);
            assert_eq!(algorithm.map(|a| a as u8), known.then_some(byte));
            if let Some(a) = algorithm {
                assert_eq!(a.value_len(), lens[usize::from(byte) - 1]);
                assert_eq!(ChecksumAlgorithm::ALL[usize::from(byte) - 1], a);
                assert!(!a.name().is_empty());
            }
            assert_eq!(ChecksumType::from_byte(byte).map(|t| t as u8), (1..=2).contains(&byte).then_some(byte));
        }
        let names = ContentField::ALL.map(ContentField::name);
        assert_eq!(ContentField::ALL.map(|f| f as u8), [1, 2, 3, 4, 5, 6]);
        assert_eq!(names[0], "content-type");
        assert_eq!(names[5], "expires");
        let sum = Checksum::new(ChecksumAlgorithm::Crc32, ChecksumType::Composite, &[1, 2, 3, 4]).unwrap();
        assert_eq!(
            (sum.algorithm(), sum.over(), sum.value()),
            (ChecksumAlgorithm::Crc32, ChecksumType::Composite, &[1, 2, 3, 4][..])
        );
    }
}
