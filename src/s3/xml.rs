//! S3's XML documents: what clients send, what we answer, and what a store answers us.
//!
//! Reading is bounded in bytes, depth and elements; DTDs, entities of their own and processing instructions are refused.
//! What clients send must hold known elements only; what a store answers may hold more, which is ignored. Text is kept
//! exactly. XML 1.0 has no way to write most control characters: like S3, `&#x1;` is written all the same and read back;
//! clients that cannot read it ask for `encoding-type=url`.

use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::events::{BytesDecl, Event};
use thiserror::Error;
use zeroize::Zeroizing;

use super::checksum::{checksum_element, format_checksum, parse_checksum};
use super::error::{ErrorCode, S3Error};
use super::target::object_key;
use crate::clock::{Civil, Timestamp};
use crate::digest::{ChecksumAlgorithm, ChecksumType, ChecksumValue};
use crate::object::{ObjectKey, PartNumber};
use crate::sigv4::uri::{self, Plus, Query, Slash};

mod documents;

pub use documents::{
    LegalHold, LockMode, LockPeriod, ObjectLockConfiguration, RetentionDocument, VersioningConfiguration,
    VersioningStatus,
};

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Greatest number of keys in one DeleteObjects.
pub const MAX_DELETE_KEYS: usize = 1000;
/// Greatest number of entries in one page of a list.
pub const MAX_PAGE: u32 = 1000;

/// A document that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("XML: {0}")]
pub struct XmlError(&'static str);

impl From<XmlError> for S3Error {
    fn from(_: XmlError) -> Self {
        ErrorCode::MalformedXML.into()
    }
}

/// How much a document may hold.
#[derive(Clone, Copy, Debug)]
pub struct XmlLimits {
    /// Bytes of the document.
    pub bytes: usize,
    /// Elements within elements.
    pub depth: usize,
    /// Elements in all.
    pub elements: usize,
}

impl XmlLimits {
    /// CreateBucketConfiguration.
    pub const SMALL: Self = Self { bytes: 64 << 10, depth: 5, elements: 500 };
    /// DeleteObjects: 1000 keys of 1024 bytes, with room for their markup. S3's own limit.
    pub const DELETE: Self = Self { bytes: 2 << 20, depth: 4, elements: 8000 };
    /// CompleteMultipartUpload: 10 000 parts.
    pub const COMPLETE: Self = Self { bytes: 4 << 20, depth: 4, elements: 60_000 };
    /// What a store answers.
    pub const ANSWER: Self = Self { bytes: 16 << 20, depth: 8, elements: 60_000 };
}

/// An element: its local name, its text, its children. It has no `Debug`: it holds object keys.
#[derive(Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn parse(bytes: &[u8], limits: XmlLimits) -> Result<Self, XmlError> {
        if bytes.len() > limits.bytes {
            return Err(XmlError("too long"));
        }
        let text = str::from_utf8(bytes).map_err(|_| XmlError("not UTF-8"))?;
        let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        let mut stack: Vec<Self> = Vec::new();
        let mut root: Option<Self> = None;
        let mut elements = 0;
        loop {
            let event = reader.read_event().map_err(|_| XmlError("not well-formed"))?;
            let mut ended = None;
            match &event {
                Event::Start(start) | Event::Empty(start) => {
                    elements += 1;
                    if elements > limits.elements || stack.len() >= limits.depth || root.is_some() {
                        return Err(XmlError("too many elements, too deep, or two roots"));
                    }
                    let name = start.local_name();
                    let name: &str = name.as_ref();
                    let element = Self { name: name.to_owned(), ..Self::default() };
                    if matches!(event, Event::Empty(_)) { ended = Some(element) } else { stack.push(element) }
                }
                Event::End(_) => ended = Some(stack.pop().ok_or(XmlError("not well-formed"))?),
                Event::Text(text) => append(&mut stack, &text.xml10_content())?,
                Event::CData(text) => append(&mut stack, &text.xml10_content())?,
                Event::GeneralRef(name) => append(&mut stack, &reference(name)?.to_string())?,
                Event::Decl(declaration) => plain_encoding(declaration)?,
                Event::Comment(_) => {}
                Event::PI(_) => return Err(XmlError("a processing instruction")),
                Event::DocType(_) => return Err(XmlError("a document type")),
                Event::Eof => break,
            }
            if let Some(element) = ended {
                match stack.last_mut() {
                    Some(parent) => parent.children.push(element),
                    None => root = Some(element),
                }
            }
        }
        if stack.is_empty() { root.ok_or(XmlError("no element")) } else { Err(XmlError("it ends within an element")) }
    }

    fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str())
    }

    fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    fn need(&self, name: &str) -> Result<String, XmlError> {
        self.owned(name).ok_or(XmlError("an element is missing"))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, XmlError> {
        let parse = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| digits).ok_or(XmlError("not a number"))
        };
        self.text(name).map(str::trim_ascii).map(parse).transpose()
    }

    fn flag(&self, name: &str) -> Result<bool, XmlError> {
        match self.text(name).map(str::trim_ascii) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(XmlError("neither true nor false")),
        }
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, XmlError> {
        self.text(name).map(|text| parse_time(text.trim_ascii()).ok_or(XmlError("not a time"))).transpose()
    }

    /// Only these children, and each of `once` at most once, with nothing but text in it.
    fn only(&self, once: &[&str], many: &[&str]) -> Result<(), XmlError> {
        for (index, child) in self.children.iter().enumerate() {
            let name = child.name.as_str();
            if many.contains(&name) {
                continue;
            }
            if !once.contains(&name) && !is_checksum(name) {
                return Err(XmlError("an unknown element"));
            }
            if !child.children.is_empty() {
                return Err(XmlError("an element where text should stand"));
            }
            if self.children.iter().take(index).any(|other| other.name == name) {
                return Err(XmlError("an element stands twice"));
            }
        }
        Ok(())
    }

    fn checksums(&self) -> Result<Vec<ChecksumValue>, XmlError> {
        let mut values = Vec::new();
        for algorithm in ChecksumAlgorithm::ALL {
            if let Some(text) = self.text(&checksum_element(*algorithm)) {
                values
                    .push(parse_checksum(*algorithm, text.trim_ascii().as_bytes()).ok_or(XmlError("not a checksum"))?);
            }
        }
        Ok(values)
    }
}

fn is_checksum(name: &str) -> bool {
    name.strip_prefix("Checksum").is_some_and(|rest| ChecksumAlgorithm::ALL.iter().any(|a| a.name() == rest))
}

fn append(stack: &mut [Element], text: &str) -> Result<(), XmlError> {
    match stack.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim_ascii().is_empty() => {}
        None => return Err(XmlError("text outside of the root")),
    }
    Ok(())
}

/// The five entities of XML and characters by number; nothing else exists here.
fn reference(name: &str) -> Result<char, XmlError> {
    let number = |digits: &str, radix| {
        let plain = !digits.is_empty() && digits.len() <= 8 && digits.chars().all(|c| c.is_digit(radix));
        plain.then(|| u32::from_str_radix(digits, radix).ok()).flatten().and_then(char::from_u32)
    };
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix('#') {
            Some(rest) => match rest.strip_prefix('x') {
                Some(digits) => number(digits, 16),
                None => number(rest, 10),
            },
            None => None,
        },
    }
    .ok_or(XmlError("an unknown entity"))
}

/// `2006-02-03T16:45:09[.123]Z`.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?
    };
    let bytes = text.as_bytes();
    let at = |index: usize, byte: u8| bytes.get(index) == Some(&byte);
    if !(at(4, b'-') && at(7, b'-') && at(10, b'T') && at(13, b':') && at(16, b':')) {
        return None;
    }
    let seconds = Timestamp::from_civil(Civil {
        year: number(0, 4)?,
        month: number(5, 7)?,
        day: number(8, 10)?,
        hour: number(11, 13)?,
        minute: number(14, 16)?,
        second: number(17, 19)?,
    })?;
    let fraction = text.get(19..)?.strip_suffix('Z').or_else(|| text.get(19..)?.strip_suffix("+00:00"))?;
    let millis = match fraction.strip_prefix('.') {
        None if fraction.is_empty() => 0,
        Some(digits) if (1..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.bytes().chain([b'0', b'0']).take(3).fold(0, |n, b| n * 10 + u64::from(b - b'0'))
        }
        _ => return None,
    };
    Some(Timestamp::from_unix_millis(seconds.unix_millis() + millis))
}

/// `2006-02-03T16:45:09.123Z`, as S3 writes times in XML.
#[must_use]
pub fn format_time(time: Timestamp) -> String {
    let text = time.to_string();
    format!("{}.{:03}Z", text.trim_end_matches('Z'), time.unix_millis() % 1000)
}

/// Writes a document.
pub struct XmlWriter(String);

impl Default for XmlWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl XmlWriter {
    /// A document with its declaration.
    #[must_use]
    pub fn new() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned())
    }

    /// Opens an element.
    pub fn open(&mut self, name: &str) {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
    }

    /// Opens the root in S3's namespace.
    pub fn root(&mut self, name: &str) {
        let _ = write!(self.0, "<{name} xmlns=\"{NAMESPACE}\">");
    }

    /// Closes an element.
    pub fn close(&mut self, name: &str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    /// An element with text.
    pub fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                // readers normalise what stands as it is: only by number does it survive
                '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{fffe}' | '\u{ffff}' => {
                    let _ = write!(self.0, "&#x{:x};", u32::from(c));
                }
                _ => self.0.push(c),
            }
        }
        self.close(name);
    }

    /// An element with text, if there is any.
    pub fn option(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    fn number(&mut self, name: &str, number: impl std::fmt::Display) {
        self.text(name, &number.to_string());
    }

    fn checksums(&mut self, values: &[ChecksumValue]) {
        for value in values {
            self.text(&checksum_element(value.algorithm()), &format_checksum(value));
        }
    }

    fn owner(&mut self, element: &str, owner: Option<&Owner>) {
        if let Some(owner) = owner {
            self.open(element);
            self.text("ID", &owner.id);
            self.option("DisplayName", owner.display_name.as_deref());
            self.close(element);
        }
    }

    /// The document.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}

// ---- what clients send ----

/// One part as CompleteMultipartUpload lists it.
#[derive(Clone, PartialEq, Eq)]
pub struct CompletedPart {
    /// Its number.
    pub number: PartNumber,
    /// Its ETag, without quotes.
    pub etag: String,
    /// Its checksum, if the client gives one.
    pub checksum: Option<ChecksumValue>,
}

/// An ETag without the quotes around it.
#[must_use]
pub fn unquoted(etag: &str) -> &str {
    etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(etag)
}

/// Reads the body of CompleteMultipartUpload: at least one part, numbers strictly ascending.
pub fn parse_complete_multipart_upload(body: &[u8]) -> Result<Vec<CompletedPart>, S3Error> {
    let root = Element::parse(body, XmlLimits::COMPLETE)?;
    if root.name != "CompleteMultipartUpload" {
        return Err(ErrorCode::MalformedXML.into());
    }
    root.only(&[], &["Part"])?;
    let mut parts: Vec<CompletedPart> = Vec::new();
    for part in root.all("Part") {
        part.only(&["PartNumber", "ETag"], &[])?;
        let number: u32 = part.number("PartNumber")?.ok_or(ErrorCode::MalformedXML)?;
        let number = PartNumber::new(number).map_err(|_| {
            S3Error::argument("partNumber", "Part number must be an integer between 1 and 10000, inclusive")
        })?;
        let mut checksums = part.checksums()?.into_iter();
        let checksum = checksums.next();
        if checksums.next().is_some() {
            return Err(ErrorCode::MalformedXML.into());
        }
        if parts.last().is_some_and(|last| last.number >= number) {
            return Err(ErrorCode::InvalidPartOrder.into());
        }
        let etag = unquoted(part.need("ETag")?.trim_ascii()).to_owned();
        parts.push(CompletedPart { number, etag, checksum });
    }
    if parts.is_empty() || parts.len() > PartNumber::MAX as usize {
        return Err(ErrorCode::MalformedXML.into());
    }
    Ok(parts)
}

/// One object as DeleteObjects lists it.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectIdentifier {
    /// Its key.
    pub key: ObjectKey,
    /// One version of it only.
    pub version_id: Option<String>,
}

/// The body of DeleteObjects.
#[derive(Clone, PartialEq, Eq)]
pub struct DeleteRequest {
    /// What to delete, 1 to 1000.
    pub objects: Vec<ObjectIdentifier>,
    /// Answer with errors only.
    pub quiet: bool,
}

impl DeleteRequest {
    /// Reads it. Conditions on single objects are 501: they must not be ignored.
    pub fn parse(body: &[u8]) -> Result<Self, S3Error> {
        let root = Element::parse(body, XmlLimits::DELETE)?;
        if root.name != "Delete" {
            return Err(ErrorCode::MalformedXML.into());
        }
        root.only(&["Quiet"], &["Object"])?;
        let mut objects = Vec::new();
        for object in root.all("Object") {
            if ["ETag", "LastModifiedTime", "Size"].into_iter().any(|name| object.child(name).is_some()) {
                return Err(S3Error::not_implemented("A conditional DeleteObjects"));
            }
            object.only(&["Key", "VersionId"], &[])?;
            let key = object.need("Key")?;
            if key.is_empty() {
                return Err(ErrorCode::MalformedXML.into());
            }
            objects.push(ObjectIdentifier {
                key: object_key(key.into_bytes())?,
                version_id: object.owned("VersionId").filter(|version| !version.is_empty()),
            });
        }
        if objects.is_empty() || objects.len() > MAX_DELETE_KEYS {
            return Err(ErrorCode::MalformedXML.into());
        }
        Ok(Self { objects, quiet: root.flag("Quiet")? })
    }

    /// The body for a store.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("Delete");
        for object in &self.objects {
            xml.open("Object");
            xml.text("Key", &String::from_utf8_lossy(object.key.as_bytes()));
            xml.option("VersionId", object.version_id.as_deref());
            xml.close("Object");
        }
        if self.quiet {
            xml.text("Quiet", "true");
        }
        xml.close("Delete");
        xml.finish()
    }
}

/// Reads the body of CreateBucket: the location constraint, if there is one. Anything but a location is 501.
pub fn parse_create_bucket(body: &[u8]) -> Result<Option<String>, S3Error> {
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let root = Element::parse(body, XmlLimits::SMALL)?;
    if root.name != "CreateBucketConfiguration" {
        return Err(ErrorCode::MalformedXML.into());
    }
    for name in ["Location", "Bucket", "Tags"] {
        if root.child(name).is_some() {
            return Err(S3Error::not_implemented(&format!("CreateBucketConfiguration with {name}")));
        }
    }
    root.only(&["LocationConstraint"], &[])?;
    Ok(root.owned("LocationConstraint").filter(|location| !location.is_empty()))
}

/// Writes the body of CreateBucket for a store.
#[must_use]
pub fn create_bucket_xml(location: &str) -> String {
    let mut xml = XmlWriter::new();
    xml.root("CreateBucketConfiguration");
    xml.text("LocationConstraint", location);
    xml.close("CreateBucketConfiguration");
    xml.finish()
}

/// Writes the body of CompleteMultipartUpload for a store.
#[must_use]
pub fn complete_multipart_upload_xml(parts: &[CompletedPart]) -> String {
    let mut xml = XmlWriter::new();
    xml.root("CompleteMultipartUpload");
    for part in parts {
        xml.open("Part");
        xml.number("PartNumber", part.number.get());
        xml.text("ETag", &format!("\"{}\"", part.etag));
        xml.checksums(part.checksum.as_slice());
        xml.close("Part");
    }
    xml.close("CompleteMultipartUpload");
    xml.finish()
}

// ---- what is answered, in both directions ----

/// Owner or initiator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Canonical user id.
    pub id: String,
    /// A name, on stores that still have one.
    pub display_name: Option<String>,
}

impl Owner {
    fn of(element: &Element, name: &str) -> Option<Self> {
        let owner = element.child(name)?;
        Some(Self { id: owner.owned("ID").unwrap_or_default(), display_name: owner.owned("DisplayName") })
    }
}

/// The answer of a store that is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// Its code, as the store wrote it.
    pub code: String,
    /// Its message. Not for the client: it may hold the store's names.
    pub message: String,
    /// The region that the store wants.
    pub region: Option<String>,
    /// The store's id of the request.
    pub request_id: Option<String>,
}

impl ErrorAnswer {
    /// Reads an `<Error>` document.
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        Self::of(&Element::parse(body, XmlLimits::SMALL)?).ok_or(XmlError("not an Error"))
    }

    fn of(root: &Element) -> Option<Self> {
        (root.name == "Error").then(|| Self {
            code: root.owned("Code").unwrap_or_default(),
            message: root.owned("Message").unwrap_or_default(),
            region: root.owned("Region"),
            request_id: root.owned("RequestId"),
        })
    }
}

/// What a token service answers to `AssumeRoleWithWebIdentity`.
pub struct AssumedRole {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: Zeroizing<String>,
    /// The session token.
    pub session_token: Zeroizing<String>,
    /// When they end.
    pub expiration: String,
}

impl AssumedRole {
    /// Reads the answer.
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let root = Element::parse(body, XmlLimits::SMALL)?;
        let missing = || XmlError("an element is missing");
        let result = root.child("AssumeRoleWithWebIdentityResult").ok_or_else(missing)?;
        let credentials = result.child("Credentials").ok_or_else(missing)?;
        Ok(Self {
            access_key_id: credentials.need("AccessKeyId")?,
            secret_access_key: Zeroizing::new(credentials.need("SecretAccessKey")?),
            session_token: Zeroizing::new(credentials.need("SessionToken")?),
            expiration: credentials.need("Expiration")?,
        })
    }
}

/// A body of status 200 that may all the same be an error: CompleteMultipartUpload, CopyObject, UploadPartCopy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// It was done.
    Done(T),
    /// It was not.
    Failed(ErrorAnswer),
}

fn answer<T>(body: &[u8], read: impl FnOnce(&Element) -> Result<T, XmlError>) -> Result<Answer<T>, XmlError> {
    let root = Element::parse(body, XmlLimits::ANSWER)?;
    match ErrorAnswer::of(&root) {
        Some(error) => Ok(Answer::Failed(error)),
        None => read(&root).map(Answer::Done),
    }
}

fn rooted(body: &[u8], name: &str) -> Result<Element, XmlError> {
    let root = Element::parse(body, XmlLimits::ANSWER)?;
    if root.name == name { Ok(root) } else { Err(XmlError("another document was expected")) }
}

/// Names as they stand in a list: as text, or percent-encoded where `encoding-type=url` was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyEncoding {
    /// As text.
    #[default]
    Text,
    /// Percent-encoded.
    Url,
}

impl KeyEncoding {
    fn of(root: &Element) -> Self {
        if root.text("EncodingType") == Some("url") { Self::Url } else { Self::Text }
    }

    fn write(self, xml: &mut XmlWriter, name: &str, text: &str) {
        match self {
            Self::Text => xml.text(name, text),
            Self::Url => xml.text(name, &uri::encode(text.as_bytes(), Slash::Keep)),
        }
    }

    fn option(self, xml: &mut XmlWriter, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.write(xml, name, text);
        }
    }

    fn declare(self, xml: &mut XmlWriter) {
        if self == Self::Url {
            xml.text("EncodingType", "url");
        }
    }

    fn read(self, element: &Element, name: &str) -> Result<Option<String>, XmlError> {
        let Some(text) = element.text(name) else { return Ok(None) };
        match self {
            Self::Text => Ok(Some(text.to_owned())),
            Self::Url => {
                let bytes = uri::decode(text, Plus::Space).map_err(|_| XmlError("not percent-encoded"))?;
                String::from_utf8(bytes).map(Some).map_err(|_| XmlError("not UTF-8"))
            }
        }
    }

    /// What a store repeats of a request. Some do not encode it; whoever asked knows it better.
    fn echoed(self, root: &Element, name: &str) -> Option<String> {
        self.read(root, name).unwrap_or_else(|_| root.owned(name)).filter(|text| !text.is_empty())
    }

    fn prefixes(self, root: &Element) -> Result<Vec<String>, XmlError> {
        let prefix = |p| self.read(p, "Prefix").and_then(|prefix| prefix.ok_or(XmlError("an element is missing")));
        root.all("CommonPrefixes").map(prefix).collect()
    }

    fn write_prefixes(self, xml: &mut XmlWriter, prefixes: &[String]) {
        for prefix in prefixes {
            xml.open("CommonPrefixes");
            self.write(xml, "Prefix", prefix);
            xml.close("CommonPrefixes");
        }
    }
}

/// One object in a list.
#[derive(Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Its key.
    pub key: String,
    /// When it was last changed.
    pub last_modified: Timestamp,
    /// Its ETag, with the quotes.
    pub etag: String,
    /// Its size.
    pub size: u64,
    /// Its storage class.
    pub storage_class: Option<String>,
    /// Its owner, where asked for.
    pub owner: Option<Owner>,
}

/// How a list goes on.
#[derive(Clone, PartialEq, Eq)]
pub enum Page {
    /// ListObjects.
    V1 {
        /// Where it begins.
        marker: String,
        /// Where the next one begins.
        next_marker: Option<String>,
    },
    /// ListObjectsV2.
    V2 {
        /// Keys and common prefixes in this page.
        key_count: u32,
        /// Where it begins, opaque.
        continuation_token: Option<String>,
        /// Where the next one begins, opaque.
        next_continuation_token: Option<String>,
        /// Behind which key it begins.
        start_after: Option<String>,
    },
}

/// The answer of ListObjects and ListObjectsV2.
#[derive(Clone, PartialEq, Eq)]
pub struct ListBucketResult {
    /// The bucket.
    pub name: String,
    /// Keys begin with it.
    pub prefix: String,
    /// The prefix as it stands in the document, where it is not written as names are: Ceph does not encode it.
    pub prefix_as_text: Option<String>,
    /// What ends a common prefix.
    pub delimiter: Option<String>,
    /// The greatest number of entries.
    pub max_keys: u32,
    /// Whether more follows.
    pub is_truncated: bool,
    /// How names are written.
    pub encoding: KeyEncoding,
    /// How it goes on.
    pub page: Page,
    /// The objects.
    pub contents: Vec<ListedObject>,
    /// The common prefixes.
    pub common_prefixes: Vec<String>,
}

impl ListBucketResult {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let (mut xml, encoding) = (XmlWriter::new(), self.encoding);
        xml.root("ListBucketResult");
        xml.text("Name", &self.name);
        match &self.prefix_as_text {
            Some(text) => xml.text("Prefix", text),
            None => encoding.write(&mut xml, "Prefix", &self.prefix),
        }
        match &self.page {
            Page::V1 { marker, next_marker } => {
                encoding.write(&mut xml, "Marker", marker);
                encoding.option(&mut xml, "NextMarker", next_marker.as_deref());
            }
            Page::V2 { key_count, continuation_token, next_continuation_token, start_after } => {
                xml.number("KeyCount", key_count);
                xml.option("ContinuationToken", continuation_token.as_deref());
                xml.option("NextContinuationToken", next_continuation_token.as_deref());
                encoding.option(&mut xml, "StartAfter", start_after.as_deref());
            }
        }
        xml.number("MaxKeys", self.max_keys);
        encoding.option(&mut xml, "Delimiter", self.delimiter.as_deref());
        encoding.declare(&mut xml);
        xml.number("IsTruncated", self.is_truncated);
        for object in &self.contents {
            xml.open("Contents");
            encoding.write(&mut xml, "Key", &object.key);
            xml.text("LastModified", &format_time(object.last_modified));
            xml.text("ETag", &object.etag);
            xml.number("Size", object.size);
            xml.owner("Owner", object.owner.as_ref());
            xml.option("StorageClass", object.storage_class.as_deref());
            xml.close("Contents");
        }
        encoding.write_prefixes(&mut xml, &self.common_prefixes);
        xml.close("ListBucketResult");
        xml.finish()
    }

    /// Reads a store's answer; `v2`: to ListObjectsV2.
    pub fn parse(body: &[u8], v2: bool) -> Result<Self, XmlError> {
        let root = rooted(body, "ListBucketResult")?;
        let encoding = KeyEncoding::of(&root);
        let mut contents = Vec::new();
        for object in root.all("Contents") {
            contents.push(ListedObject {
                key: encoding.read(object, "Key")?.ok_or(XmlError("a key is missing"))?,
                last_modified: object.time("LastModified")?.ok_or(XmlError("a time is missing"))?,
                etag: object.need("ETag")?,
                size: object.number("Size")?.ok_or(XmlError("a size is missing"))?,
                storage_class: object.owned("StorageClass"),
                owner: Owner::of(object, "Owner"),
            });
        }
        let common_prefixes = encoding.prefixes(&root)?;
        let counted = u32::try_from(contents.len() + common_prefixes.len()).unwrap_or(u32::MAX);
        let page = if v2 {
            Page::V2 {
                key_count: root.number("KeyCount")?.unwrap_or(counted),
                continuation_token: root.owned("ContinuationToken").filter(|token| !token.is_empty()),
                next_continuation_token: root.owned("NextContinuationToken").filter(|token| !token.is_empty()),
                start_after: encoding.echoed(&root, "StartAfter"),
            }
        } else {
            Page::V1 {
                marker: encoding.echoed(&root, "Marker").unwrap_or_default(),
                next_marker: encoding.read(&root, "NextMarker")?.filter(|key| !key.is_empty()),
            }
        };
        let prefix = encoding.echoed(&root, "Prefix").unwrap_or_default();
        let is_encoded = |text: &String| *text == uri::encode(prefix.as_bytes(), Slash::Keep);
        let prefix_as_text =
            root.owned("Prefix").filter(|text| encoding == KeyEncoding::Url && !text.is_empty() && !is_encoded(text));
        Ok(Self {
            name: root.owned("Name").unwrap_or_default(),
            prefix,
            prefix_as_text,
            delimiter: encoding.echoed(&root, "Delimiter"),
            max_keys: root.number("MaxKeys")?.unwrap_or(MAX_PAGE),
            is_truncated: root.flag("IsTruncated")?,
            encoding,
            page,
            contents,
            common_prefixes,
        })
    }
}

/// The answer to a form whose file is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct PostResponse {
    /// The object's address.
    pub location: String,
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its ETag, with the quotes.
    pub etag: String,
}

impl PostResponse {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.open("PostResponse");
        xml.text("Location", &self.location);
        xml.text("Bucket", &self.bucket);
        xml.text("Key", &self.key);
        xml.text("ETag", &self.etag);
        xml.close("PostResponse");
        xml.finish()
    }
}

/// What a version in a list is.
#[derive(Clone, PartialEq, Eq)]
pub enum ListedVersionKind {
    /// An object.
    Version {
        /// Its ETag, with the quotes.
        etag: String,
        /// Its size.
        size: u64,
        /// Its storage class.
        storage_class: Option<String>,
    },
    /// The mark that the object was deleted.
    DeleteMarker,
}

/// One version in a list.
#[derive(Clone, PartialEq, Eq)]
pub struct ListedVersion {
    /// Its key.
    pub key: String,
    /// Its id.
    pub version_id: String,
    /// Whether it is the one that is read without an id.
    pub is_latest: bool,
    /// When it was made.
    pub last_modified: Timestamp,
    /// Its owner.
    pub owner: Option<Owner>,
    /// What it is.
    pub kind: ListedVersionKind,
}

/// The answer of ListObjectVersions; versions and delete markers in the order in which they came.
#[derive(Clone, PartialEq, Eq)]
pub struct ListVersionsResult {
    /// The bucket.
    pub name: String,
    /// Keys begin with it.
    pub prefix: String,
    /// What ends a common prefix.
    pub delimiter: Option<String>,
    /// Where it begins.
    pub key_marker: String,
    /// Where it begins within that key.
    pub version_id_marker: String,
    /// Where the next one begins.
    pub next_key_marker: Option<String>,
    /// Where the next one begins within that key.
    pub next_version_id_marker: Option<String>,
    /// The greatest number of entries.
    pub max_keys: u32,
    /// Whether more follows.
    pub is_truncated: bool,
    /// How names are written.
    pub encoding: KeyEncoding,
    /// The versions.
    pub versions: Vec<ListedVersion>,
    /// The common prefixes.
    pub common_prefixes: Vec<String>,
}

impl ListVersionsResult {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let (mut xml, encoding) = (XmlWriter::new(), self.encoding);
        xml.root("ListVersionsResult");
        xml.text("Name", &self.name);
        encoding.write(&mut xml, "Prefix", &self.prefix);
        encoding.write(&mut xml, "KeyMarker", &self.key_marker);
        xml.text("VersionIdMarker", &self.version_id_marker);
        encoding.option(&mut xml, "NextKeyMarker", self.next_key_marker.as_deref());
        xml.option("NextVersionIdMarker", self.next_version_id_marker.as_deref());
        xml.number("MaxKeys", self.max_keys);
        encoding.option(&mut xml, "Delimiter", self.delimiter.as_deref());
        encoding.declare(&mut xml);
        xml.number("IsTruncated", self.is_truncated);
        for version in &self.versions {
            let element = match version.kind {
                ListedVersionKind::Version { .. } => "Version",
                ListedVersionKind::DeleteMarker => "DeleteMarker",
            };
            xml.open(element);
            encoding.write(&mut xml, "Key", &version.key);
            xml.text("VersionId", &version.version_id);
            xml.number("IsLatest", version.is_latest);
            xml.text("LastModified", &format_time(version.last_modified));
            if let ListedVersionKind::Version { etag, size, storage_class } = &version.kind {
                xml.text("ETag", etag);
                xml.number("Size", size);
                xml.option("StorageClass", storage_class.as_deref());
            }
            xml.owner("Owner", version.owner.as_ref());
            xml.close(element);
        }
        encoding.write_prefixes(&mut xml, &self.common_prefixes);
        xml.close("ListVersionsResult");
        xml.finish()
    }

    /// Reads a store's answer.
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let root = rooted(body, "ListVersionsResult")?;
        let encoding = KeyEncoding::of(&root);
        let mut versions = Vec::new();
        for version in root.children.iter().filter(|child| matches!(child.name.as_str(), "Version" | "DeleteMarker")) {
            let kind = if version.name == "Version" {
                ListedVersionKind::Version {
                    etag: version.need("ETag")?,
                    size: version.number("Size")?.ok_or(XmlError("a size is missing"))?,
                    storage_class: version.owned("StorageClass"),
                }
            } else {
                ListedVersionKind::DeleteMarker
            };
            versions.push(ListedVersion {
                key: encoding.read(version, "Key")?.ok_or(XmlError("a key is missing"))?,
                version_id: version.need("VersionId")?,
                is_latest: version.flag("IsLatest")?,
                last_modified: version.time("LastModified")?.ok_or(XmlError("a time is missing"))?,
                owner: Owner::of(version, "Owner"),
                kind,
            });
        }
        Ok(Self {
            name: root.owned("Name").unwrap_or_default(),
            prefix: encoding.echoed(&root, "Prefix").unwrap_or_default(),
            delimiter: encoding.echoed(&root, "Delimiter"),
            key_marker: encoding.echoed(&root, "KeyMarker").unwrap_or_default(),
            version_id_marker: root.owned("VersionIdMarker").unwrap_or_default(),
            next_key_marker: encoding.read(&root, "NextKeyMarker")?.filter(|text| !text.is_empty()),
            next_version_id_marker: root.owned("NextVersionIdMarker").filter(|text| !text.is_empty()),
            max_keys: root.number("MaxKeys")?.unwrap_or(MAX_PAGE),
            is_truncated: root.flag("IsTruncated")?,
            common_prefixes: encoding.prefixes(&root)?,
            encoding,
            versions,
        })
    }
}

/// A part in the answer of GetObjectAttributes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AttributePart {
    /// Its position.
    pub number: u32,
    /// Its size.
    pub size: u64,
}

/// A page of an object's parts.
#[derive(Clone, PartialEq, Eq)]
pub struct AttributeParts {
    /// How many there are.
    pub total: u32,
    /// Behind which one the page begins.
    pub marker: u32,
    /// Which one is its last.
    pub next: u32,
    /// The greatest number of entries.
    pub max: u32,
    /// Whether more follows.
    pub is_truncated: bool,
    /// The parts.
    pub parts: Vec<AttributePart>,
}

/// The answer of GetObjectAttributes: what was asked for, and is there.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct GetObjectAttributesResponse {
    /// The ETag, without quotes.
    pub etag: Option<String>,
    /// The checksum, with the number of parts behind a composite one.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType, String)>,
    /// The parts.
    pub parts: Option<AttributeParts>,
    /// The storage class.
    pub storage_class: Option<String>,
    /// The size.
    pub size: Option<u64>,
}

impl GetObjectAttributesResponse {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("GetObjectAttributesResponse");
        xml.option("ETag", self.etag.as_deref());
        if let Some((algorithm, over, value)) = &self.checksum {
            xml.open("Checksum");
            xml.text(&checksum_element(*algorithm), value);
            xml.text("ChecksumType", over.name());
            xml.close("Checksum");
        }
        if let Some(parts) = &self.parts {
            xml.open("ObjectParts");
            xml.number("PartsCount", parts.total);
            xml.number("PartNumberMarker", parts.marker);
            xml.number("NextPartNumberMarker", parts.next);
            xml.number("MaxParts", parts.max);
            xml.number("IsTruncated", parts.is_truncated);
            for part in &parts.parts {
                xml.open("Part");
                xml.number("PartNumber", part.number);
                xml.number("Size", part.size);
                xml.close("Part");
            }
            xml.close("ObjectParts");
        }
        xml.option("StorageClass", self.storage_class.as_deref());
        if let Some(size) = self.size {
            xml.number("ObjectSize", size);
        }
        xml.close("GetObjectAttributesResponse");
        xml.finish()
    }
}

/// Whether these bytes are one XML document without a document type, processing instructions and entities of its own, and
/// of a size that S3's documents have.
#[must_use]
pub fn is_plain_document(bytes: &[u8]) -> bool {
    Element::parse(bytes, XmlLimits { depth: 16, ..XmlLimits::ANSWER }).is_ok()
}

/// Refuses a declared encoding that is not the one that is read: another reader may believe it.
fn plain_encoding(declaration: &BytesDecl<'_>) -> Result<(), XmlError> {
    let is_plain = match declaration.encoding() {
        None => true,
        Some(Ok(name)) => ["utf-8", "us-ascii"].iter().any(|plain| name.eq_ignore_ascii_case(plain)),
        Some(Err(_)) => false,
    };
    if is_plain { Ok(()) } else { Err(XmlError("another encoding than UTF-8")) }
}

/// Whether a RestoreRequest asks for more than the object itself to be brought back.
pub fn restores_elsewhere(body: &[u8]) -> Result<bool, S3Error> {
    let root = Element::parse(body, XmlLimits { depth: 8, ..XmlLimits::SMALL })?;
    if root.name != "RestoreRequest" {
        return Err(ErrorCode::MalformedXML.into());
    }
    Ok(["Type", "SelectParameters", "OutputLocation"].iter().any(|name| root.child(name).is_some()))
}

/// One bucket of ListBuckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBucket {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
}

/// The answer of ListBuckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAllMyBucketsResult {
    /// Who owns them.
    pub owner: Option<Owner>,
    /// The buckets.
    pub buckets: Vec<ListedBucket>,
    /// Where the next page begins.
    pub continuation_token: Option<String>,
    /// Names begin with it.
    pub prefix: Option<String>,
}

impl ListAllMyBucketsResult {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("ListAllMyBucketsResult");
        xml.owner("Owner", self.owner.as_ref());
        xml.open("Buckets");
        for bucket in &self.buckets {
            xml.open("Bucket");
            xml.text("Name", &bucket.name);
            xml.text("CreationDate", &format_time(bucket.created));
            xml.close("Bucket");
        }
        xml.close("Buckets");
        xml.option("ContinuationToken", self.continuation_token.as_deref());
        xml.option("Prefix", self.prefix.as_deref());
        xml.close("ListAllMyBucketsResult");
        xml.finish()
    }

    /// Reads a store's answer.
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let root = rooted(body, "ListAllMyBucketsResult")?;
        let mut buckets = Vec::new();
        for bucket in root.child("Buckets").into_iter().flat_map(|list| list.all("Bucket")) {
            let created = bucket.time("CreationDate")?.ok_or(XmlError("a time is missing"))?;
            buckets.push(ListedBucket { name: bucket.need("Name")?, created });
        }
        Ok(Self {
            owner: Owner::of(&root, "Owner"),
            buckets,
            continuation_token: root.owned("ContinuationToken").filter(|token| !token.is_empty()),
            prefix: root.owned("Prefix").filter(|prefix| !prefix.is_empty()),
        })
    }
}

/// One part of ListParts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: PartNumber,
    /// When it came.
    pub last_modified: Timestamp,
    /// Its ETag, with the quotes.
    pub etag: String,
    /// Its size.
    pub size: u64,
    /// Its checksums.
    pub checksums: Vec<ChecksumValue>,
}

/// The answer of ListParts.
#[derive(Clone, PartialEq, Eq)]
pub struct ListPartsResult {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The upload.
    pub upload_id: String,
    /// Behind which number it begins; 0 for all.
    pub part_number_marker: u32,
    /// Behind which number the next page begins.
    pub next_part_number_marker: Option<u32>,
    /// The greatest number of entries.
    pub max_parts: u32,
    /// Whether more follows.
    pub is_truncated: bool,
    /// Who began the upload.
    pub initiator: Option<Owner>,
    /// Who owns it.
    pub owner: Option<Owner>,
    /// Its storage class.
    pub storage_class: Option<String>,
    /// Its checksum.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
    /// The parts.
    pub parts: Vec<ListedPart>,
}

fn write_checksum_kind(xml: &mut XmlWriter, checksum: Option<(ChecksumAlgorithm, ChecksumType)>) {
    if let Some((algorithm, over)) = checksum {
        xml.text("ChecksumAlgorithm", algorithm.name());
        xml.text("ChecksumType", over.name());
    }
}

fn read_checksum_kind(element: &Element) -> Option<(ChecksumAlgorithm, ChecksumType)> {
    let algorithm = ChecksumAlgorithm::from_name(element.text("ChecksumAlgorithm")?)?;
    Some((algorithm, ChecksumType::from_name(element.text("ChecksumType")?)?))
}

impl ListPartsResult {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("ListPartsResult");
        xml.text("Bucket", &self.bucket);
        xml.text("Key", &self.key);
        xml.text("UploadId", &self.upload_id);
        xml.owner("Initiator", self.initiator.as_ref());
        xml.owner("Owner", self.owner.as_ref());
        xml.option("StorageClass", self.storage_class.as_deref());
        xml.number("PartNumberMarker", self.part_number_marker);
        if let Some(next) = self.next_part_number_marker {
            xml.number("NextPartNumberMarker", next);
        }
        xml.number("MaxParts", self.max_parts);
        xml.number("IsTruncated", self.is_truncated);
        write_checksum_kind(&mut xml, self.checksum);
        for part in &self.parts {
            xml.open("Part");
            xml.number("PartNumber", part.number.get());
            xml.text("LastModified", &format_time(part.last_modified));
            xml.text("ETag", &part.etag);
            xml.number("Size", part.size);
            xml.checksums(&part.checksums);
            xml.close("Part");
        }
        xml.close("ListPartsResult");
        xml.finish()
    }

    /// Reads a store's answer.
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let root = rooted(body, "ListPartsResult")?;
        let mut parts = Vec::new();
        for part in root.all("Part") {
            let number: Option<u32> = part.number("PartNumber")?;
            parts.push(ListedPart {
                number: number.and_then(|n| PartNumber::new(n).ok()).ok_or(XmlError("not a part number"))?,
                last_modified: part.time("LastModified")?.ok_or(XmlError("a time is missing"))?,
                etag: part.need("ETag")?,
                size: part.number("Size")?.ok_or(XmlError("a size is missing"))?,
                checksums: part.checksums()?,
            });
        }
        Ok(Self {
            bucket: root.owned("Bucket").unwrap_or_default(),
            key: root.owned("Key").unwrap_or_default(),
            upload_id: root.owned("UploadId").unwrap_or_default(),
            part_number_marker: root.number("PartNumberMarker")?.unwrap_or(0),
            next_part_number_marker: root.number("NextPartNumberMarker")?,
            max_parts: root.number("MaxParts")?.unwrap_or(MAX_PAGE),
            is_truncated: root.flag("IsTruncated")?,
            initiator: Owner::of(&root, "Initiator"),
            owner: Owner::of(&root, "Owner"),
            storage_class: root.owned("StorageClass"),
            checksum: read_checksum_kind(&root),
            parts,
        })
    }
}

/// One upload of ListMultipartUploads.
#[derive(Clone, PartialEq, Eq)]
pub struct ListedUpload {
    /// Its key.
    pub key: String,
    /// Its id.
    pub upload_id: String,
    /// When it began.
    pub initiated: Timestamp,
    /// Who began it.
    pub initiator: Option<Owner>,
    /// Who owns it.
    pub owner: Option<Owner>,
    /// Its storage class.
    pub storage_class: Option<String>,
    /// Its checksum.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType)>,
}

/// The answer of ListMultipartUploads.
#[derive(Clone, PartialEq, Eq)]
pub struct ListMultipartUploadsResult {
    /// The bucket.
    pub bucket: String,
    /// Keys begin with it.
    pub prefix: String,
    /// What ends a common prefix.
    pub delimiter: Option<String>,
    /// Where it begins.
    pub key_marker: String,
    /// Where it begins within that key.
    pub upload_id_marker: String,
    /// Where the next page begins.
    pub next_key_marker: Option<String>,
    /// Where the next page begins within that key.
    pub next_upload_id_marker: Option<String>,
    /// The greatest number of entries.
    pub max_uploads: u32,
    /// Whether more follows.
    pub is_truncated: bool,
    /// How names are written.
    pub encoding: KeyEncoding,
    /// The uploads.
    pub uploads: Vec<ListedUpload>,
    /// The common prefixes.
    pub common_prefixes: Vec<String>,
}

impl ListMultipartUploadsResult {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let (mut xml, encoding) = (XmlWriter::new(), self.encoding);
        xml.root("ListMultipartUploadsResult");
        xml.text("Bucket", &self.bucket);
        encoding.write(&mut xml, "KeyMarker", &self.key_marker);
        xml.text("UploadIdMarker", &self.upload_id_marker);
        encoding.option(&mut xml, "NextKeyMarker", self.next_key_marker.as_deref());
        xml.option("NextUploadIdMarker", self.next_upload_id_marker.as_deref());
        encoding.write(&mut xml, "Prefix", &self.prefix);
        encoding.option(&mut xml, "Delimiter", self.delimiter.as_deref());
        encoding.declare(&mut xml);
        xml.number("MaxUploads", self.max_uploads);
        xml.number("IsTruncated", self.is_truncated);
        for upload in &self.uploads {
            xml.open("Upload");
            encoding.write(&mut xml, "Key", &upload.key);
            xml.text("UploadId", &upload.upload_id);
            xml.owner("Initiator", upload.initiator.as_ref());
            xml.owner("Owner", upload.owner.as_ref());
            xml.option("StorageClass", upload.storage_class.as_deref());
            xml.text("Initiated", &format_time(upload.initiated));
            write_checksum_kind(&mut xml, upload.checksum);
            xml.close("Upload");
        }
        encoding.write_prefixes(&mut xml, &self.common_prefixes);
        xml.close("ListMultipartUploadsResult");
        xml.finish()
    }

    /// Reads a store's answer.
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let root = rooted(body, "ListMultipartUploadsResult")?;
        let encoding = KeyEncoding::of(&root);
        let mut uploads = Vec::new();
        for upload in root.all("Upload") {
            uploads.push(ListedUpload {
                key: encoding.read(upload, "Key")?.ok_or(XmlError("a key is missing"))?,
                upload_id: upload.need("UploadId")?,
                initiated: upload.time("Initiated")?.ok_or(XmlError("a time is missing"))?,
                initiator: Owner::of(upload, "Initiator"),
                owner: Owner::of(upload, "Owner"),
                storage_class: upload.owned("StorageClass"),
                checksum: read_checksum_kind(upload),
            });
        }
        Ok(Self {
            bucket: root.owned("Bucket").unwrap_or_default(),
            prefix: encoding.echoed(&root, "Prefix").unwrap_or_default(),
            delimiter: encoding.echoed(&root, "Delimiter"),
            key_marker: encoding.echoed(&root, "KeyMarker").unwrap_or_default(),
            upload_id_marker: root.owned("UploadIdMarker").unwrap_or_default(),
            next_key_marker: encoding.read(&root, "NextKeyMarker")?.filter(|text| !text.is_empty()),
            next_upload_id_marker: root.owned("NextUploadIdMarker").filter(|text| !text.is_empty()),
            max_uploads: root.number("MaxUploads")?.unwrap_or(MAX_PAGE),
            is_truncated: root.flag("IsTruncated")?,
            encoding,
            uploads,
            common_prefixes: encoding.prefixes(&root)?,
        })
    }
}

/// The answer of CreateMultipartUpload.
#[derive(Clone, PartialEq, Eq)]
pub struct InitiateMultipartUploadResult {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The upload's id.
    pub upload_id: String,
}

impl InitiateMultipartUploadResult {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("InitiateMultipartUploadResult");
        xml.text("Bucket", &self.bucket);
        xml.text("Key", &self.key);
        xml.text("UploadId", &self.upload_id);
        xml.close("InitiateMultipartUploadResult");
        xml.finish()
    }

    /// Reads a store's answer.
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let root = rooted(body, "InitiateMultipartUploadResult")?;
        let upload_id = Some(root.need("UploadId")?).filter(|id| !id.is_empty()).ok_or(XmlError("no upload id"))?;
        let (bucket, key) = (root.owned("Bucket").unwrap_or_default(), root.owned("Key").unwrap_or_default());
        Ok(Self { bucket, key, upload_id })
    }
}

/// The answer of CompleteMultipartUpload.
#[derive(Clone, PartialEq, Eq)]
pub struct CompleteMultipartUploadResult {
    /// The object's URL.
    pub location: String,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The object's ETag, with the quotes.
    pub etag: String,
    /// The object's checksum: algorithm, type, and the value's text (composite ones end in `-N`).
    pub checksum: Option<(ChecksumAlgorithm, ChecksumType, String)>,
}

impl CompleteMultipartUploadResult {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("CompleteMultipartUploadResult");
        xml.text("Location", &self.location);
        xml.text("Bucket", &self.bucket);
        xml.text("Key", &self.key);
        xml.text("ETag", &self.etag);
        if let Some((algorithm, over, value)) = &self.checksum {
            xml.text(&checksum_element(*algorithm), value);
            xml.text("ChecksumType", over.name());
        }
        xml.close("CompleteMultipartUploadResult");
        xml.finish()
    }

    /// Reads a store's answer of status 200, which may be an error.
    pub fn parse(body: &[u8]) -> Result<Answer<Self>, XmlError> {
        answer(body, |root| {
            if root.name != "CompleteMultipartUploadResult" {
                return Err(XmlError("another document was expected"));
            }
            let over = root.text("ChecksumType").and_then(ChecksumType::from_name);
            let value = ChecksumAlgorithm::ALL.iter().find_map(|a| Some((*a, root.owned(&checksum_element(*a))?)));
            Ok(Self {
                location: root.owned("Location").unwrap_or_default(),
                bucket: root.owned("Bucket").unwrap_or_default(),
                key: root.owned("Key").unwrap_or_default(),
                etag: root.need("ETag")?,
                checksum: over.zip(value).map(|(over, (algorithm, value))| (algorithm, over, value)),
            })
        })
    }
}

/// The answer of CopyObject and UploadPartCopy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyResult {
    /// The copy's ETag, with the quotes.
    pub etag: String,
    /// When it was made.
    pub last_modified: Timestamp,
    /// Its checksums.
    pub checksums: Vec<ChecksumValue>,
}

/// Which of the two copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// CopyObject.
    Object,
    /// UploadPartCopy.
    Part,
}

impl CopyKind {
    const fn root(self) -> &'static str {
        match self {
            Self::Object => "CopyObjectResult",
            Self::Part => "CopyPartResult",
        }
    }
}

impl CopyResult {
    /// The document.
    #[must_use]
    pub fn to_xml(&self, kind: CopyKind) -> String {
        let mut xml = XmlWriter::new();
        xml.root(kind.root());
        xml.text("LastModified", &format_time(self.last_modified));
        xml.text("ETag", &self.etag);
        xml.checksums(&self.checksums);
        xml.close(kind.root());
        xml.finish()
    }

    /// Reads a store's answer of status 200, which may be an error.
    pub fn parse(body: &[u8], kind: CopyKind) -> Result<Answer<Self>, XmlError> {
        answer(body, |root| {
            if root.name != kind.root() {
                return Err(XmlError("another document was expected"));
            }
            Ok(Self {
                etag: root.need("ETag")?,
                last_modified: root.time("LastModified")?.ok_or(XmlError("a time is missing"))?,
                checksums: root.checksums()?,
            })
        })
    }
}

/// An object's tags, in their order.
#[derive(Clone, PartialEq, Eq)]
pub struct Tagging(pub Vec<(String, String)>);

impl Tagging {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("Tagging");
        xml.open("TagSet");
        for (key, value) in &self.0 {
            xml.open("Tag");
            xml.text("Key", key);
            xml.text("Value", value);
            xml.close("Tag");
        }
        xml.close("TagSet");
        xml.close("Tagging");
        xml.finish()
    }

    /// Reads what a client sends.
    pub fn of_client(body: &[u8]) -> Result<Self, S3Error> {
        if body.len() > XmlLimits::SMALL.bytes {
            return Err(ErrorCode::MalformedXML.into());
        }
        // what is not understood would be lost, and tags with it
        let root = rooted(body, "Tagging")?;
        root.only(&[], &["TagSet"])?;
        let mut sets = root.all("TagSet");
        let (Some(set), None) = (sets.next(), sets.next()) else { return Err(ErrorCode::MalformedXML.into()) };
        set.only(&[], &["Tag"])?;
        let tag = |tag: &Element| {
            tag.only(&["Key", "Value"], &[])?;
            Ok::<_, XmlError>((tag.need("Key")?, tag.need("Value")?))
        };
        Ok(Self(set.all("Tag").map(tag).collect::<Result<_, _>>()?))
    }

    /// Reads a store's answer.
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let root = rooted(body, "Tagging")?;
        let sets = root.all("TagSet");
        let tags = sets.flat_map(|set| set.all("Tag")).map(|tag| Ok((tag.need("Key")?, tag.need("Value")?)));
        Ok(Self(tags.collect::<Result<_, XmlError>>()?))
    }

    /// Reads the value of `x-amz-tagging`.
    pub fn of_header(value: &[u8]) -> Result<Self, S3Error> {
        let refusal = || S3Error::argument("x-amz-tagging", "The tags must be written as the parameters of a URL.");
        let query = str::from_utf8(value).ok().and_then(|text| Query::parse(text).ok()).ok_or_else(refusal)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| refusal());
        let pairs = query.parameters().iter().map(|tag| Ok((text(&tag.name)?, text(&tag.value)?)));
        Ok(Self(pairs.collect::<Result<_, S3Error>>()?))
    }

    /// As the value of `x-amz-tagging`.
    #[must_use]
    pub fn to_header(&self) -> String {
        let pair = |(key, value): &(String, String)| {
            let [key, value] = [key, value].map(|text| uri::encode(text.as_bytes(), Slash::Encode));
            format!("{key}={value}")
        };
        self.0.iter().map(pair).collect::<Vec<_>>().join("&")
    }
}

/// One deleted object of DeleteObjects.
#[derive(Clone, PartialEq, Eq)]
pub struct DeletedObject {
    /// Its key.
    pub key: String,
    /// The version that was asked for.
    pub version_id: Option<String>,
    /// Whether a delete marker was made, or deleted.
    pub delete_marker: bool,
    /// The delete marker's version.
    pub delete_marker_version_id: Option<String>,
}

/// One object of DeleteObjects that was not deleted.
#[derive(Clone, PartialEq, Eq)]
pub struct DeleteFailure {
    /// Its key.
    pub key: String,
    /// The version that was asked for.
    pub version_id: Option<String>,
    /// Why.
    pub code: String,
    /// Why, in words.
    pub message: String,
}

/// The answer of DeleteObjects.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct DeleteResult {
    /// What is gone; the caller leaves it empty where the client asked for quiet.
    pub deleted: Vec<DeletedObject>,
    /// What is not.
    pub errors: Vec<DeleteFailure>,
}

impl DeleteResult {
    /// The document.
    #[must_use]
    pub fn to_xml(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.root("DeleteResult");
        for object in &self.deleted {
            xml.open("Deleted");
            xml.text("Key", &object.key);
            xml.option("VersionId", object.version_id.as_deref());
            if object.delete_marker {
                xml.text("DeleteMarker", "true");
            }
            xml.option("DeleteMarkerVersionId", object.delete_marker_version_id.as_deref());
            xml.close("Deleted");
        }
        for error in &self.errors {
            xml.open("Error");
            xml.text("Key", &error.key);
            xml.option("VersionId", error.version_id.as_deref());
            xml.text("Code", &error.code);
            xml.text("Message", &error.message);
            xml.close("Error");
        }
        xml.close("DeleteResult");
        xml.finish()
    }

    /// Reads a store's answer.
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let root = rooted(body, "DeleteResult")?;
        let mut result = Self::default();
        for object in root.all("Deleted") {
            result.deleted.push(DeletedObject {
                key: object.need("Key")?,
                version_id: object.owned("VersionId"),
                delete_marker: object.flag("DeleteMarker")?,
                delete_marker_version_id: object.owned("DeleteMarkerVersionId"),
            });
        }
        for error in root.all("Error") {
            result.errors.push(DeleteFailure {
                key: error.need("Key")?,
                version_id: error.owned("VersionId"),
                code: error.need("Code")?,
                message: error.owned("Message").unwrap_or_default(),
            });
        }
        Ok(result)
    }
}

/// The answer of GetBucketLocation; S3 writes nothing for `us-east-1`.
#[must_use]
pub fn location_xml(region: &str) -> String {
    let mut xml = XmlWriter::new();
    if region == "us-east-1" {
        let _ = write!(xml.0, "<LocationConstraint xmlns=\"{NAMESPACE}\"/>");
        return xml.finish();
    }
    xml.root("LocationConstraint");
    // escaped by text(), whose element is the root here
    let mut inner = XmlWriter(String::new());
    inner.text("", region);
    xml.0.push_str(inner.0.trim_start_matches("<>").trim_end_matches("</>"));
    xml.close("LocationConstraint");
    xml.finish()
}

/// Reads a store's answer to GetBucketLocation.
pub fn parse_location(body: &[u8]) -> Result<String, XmlError> {
    let root = rooted(body, "LocationConstraint")?;
    Ok(match root.text.trim_ascii() {
        "" => "us-east-1".to_owned(),
        "EU" => "eu-west-1".to_owned(),
        region => region.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::checksum;

    const T: Timestamp = Timestamp::from_unix_millis(1_369_353_600_123);

    fn code<V>(result: Result<V, S3Error>) -> Option<ErrorCode> {
        result.err().map(|error| error.code())
    }

    #[test]
    fn complete_multipart_upload_is_read() {
        let body = "<?xml version=\"1.0\"?>\n<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\n\
                    <Part><PartNumber>1</PartNumber><ETag>\"a-S\"</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>\
                    <Part><ETag>&quot;b&quot;</ETag><PartNumber> 3 </PartNumber></Part></CompleteMultipartUpload>";
        let parts = parse_complete_multipart_upload(body.as_bytes()).ok().unwrap();
        assert_eq!(parts.iter().map(|p| (p.number.get(), p.etag.as_str())).collect::<Vec<_>>(), [(1, "a-S"), (3, "b")]);
        assert!(parts[0].checksum.is_some() && parts[1].checksum.is_none());
        let again = parse_complete_multipart_upload(complete_multipart_upload_xml(&parts).as_bytes());
        assert!(again.is_ok_and(|again| again == parts));
    }

    #[test]
    fn ten_thousand_parts_fit_and_no_more() {
        let body = |count: u32| {
            let part = |n| format!("<Part><PartNumber>{n}</PartNumber><ETag>\"{}\"</ETag></Part>", "e".repeat(101));
            let parts: String = (1..=count).map(part).collect();
            format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>")
        };
        assert!(parse_complete_multipart_upload(body(10_000).as_bytes()).is_ok_and(|parts| parts.len() == 10_000));
        assert_eq!(code(parse_complete_multipart_upload(body(10_001).as_bytes())), Some(ErrorCode::InvalidArgument));
    }

    #[test]
    fn malformed_documents_are_refused() {
        let wrap = |inner: &str| format!("<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>");
        let part = "<Part><PartNumber>1</PartNumber><ETag>a</ETag></Part>";
        for body in [
            String::new(),
            "x".into(),
            "<a".into(),
            "<CompleteMultipartUpload>".into(),
            "<Other/>".into(),
            wrap(""),
            wrap("<Part><PartNumber>1</PartNumber></Part>"),
            wrap("<Part><ETag>a</ETag></Part>"),
            wrap("<Part><PartNumber>1</PartNumber><PartNumber>2</PartNumber><ETag>a</ETag></Part>"),
            wrap("<Part><PartNumber>+1</PartNumber><ETag>a</ETag></Part>"),
            wrap("<Part><PartNumber>1</PartNumber><ETag>a</ETag><New/></Part>"),
            wrap("<Part><PartNumber>1</PartNumber><ETag>&unknown;</ETag></Part>"),
            wrap("<Part><PartNumber>1</PartNumber><ETag>&#xD800;</ETag></Part>"),
            wrap("<Part><PartNumber>1</PartNumber><ETag>a</ETag><ChecksumCRC32>x</ChecksumCRC32></Part>"),
            format!("<!DOCTYPE a [<!ENTITY b \"c\">]>{}", wrap(part)),
            format!("<?xml-stylesheet href=\"a\"?>{}", wrap(part)),
            format!("{}{}", wrap(part), wrap(part)),
            format!("{}x", wrap(part)),
            wrap(&"<Part>".repeat(1000)),
            wrap(&format!("<Part>{}</Part>", "<a>".repeat(10))),
            wrap(&"<Part/>".repeat(70_000)),
        ] {
            let shown = &body[..body.len().min(80)];
            assert_eq!(
                code(parse_complete_multipart_upload(body.as_bytes())),
                Some(ErrorCode::MalformedXML),
                "{shown}"
            );
        }
        assert_eq!(code(parse_complete_multipart_upload(&vec![b' '; 5 << 20])), Some(ErrorCode::MalformedXML));
        assert_eq!(code(parse_complete_multipart_upload(b"<a>\xff</a>")), Some(ErrorCode::MalformedXML));
        let twice = wrap(&format!("{part}{part}"));
        assert_eq!(code(parse_complete_multipart_upload(twice.as_bytes())), Some(ErrorCode::InvalidPartOrder));
    }

    #[test]
    fn delete_is_read_exactly() {
        let body = "<Delete><Object><Key> a&amp;b&#x1;\u{fc}</Key></Object><Object><Key>c</Key><VersionId>v</VersionId></Object>\
                    <Quiet>true</Quiet></Delete>";
        let delete = DeleteRequest::parse(body.as_bytes()).ok().unwrap();
        assert!(delete.quiet);
        assert_eq!(delete.objects[0].key.as_bytes(), " a&b\u{1}\u{fc}".as_bytes());
        assert_eq!(delete.objects[1].version_id.as_deref(), Some("v"));
        assert!(DeleteRequest::parse(delete.to_xml().as_bytes()).is_ok_and(|again| again == delete));
        let many = |n: usize| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(n));
        assert!(DeleteRequest::parse(many(1000).as_bytes()).is_ok());
        assert_eq!(code(DeleteRequest::parse(many(1001).as_bytes())), Some(ErrorCode::MalformedXML));
        assert_eq!(code(DeleteRequest::parse(many(0).as_bytes())), Some(ErrorCode::MalformedXML));
        let long = format!("<Delete><Object><Key>{}</Key></Object></Delete>", "k".repeat(1025));
        assert_eq!(code(DeleteRequest::parse(long.as_bytes())), Some(ErrorCode::KeyTooLongError));
        let condition = "<Delete><Object><Key>k</Key><ETag>e</ETag></Object></Delete>";
        assert_eq!(code(DeleteRequest::parse(condition.as_bytes())), Some(ErrorCode::NotImplemented));
        assert_eq!(
            code(DeleteRequest::parse(b"<Delete><Object><Key/></Object></Delete>")),
            Some(ErrorCode::MalformedXML)
        );
        for nested in ["<Key>a<Key>b</Key></Key>", "<Key>a<x/>b</Key>", "<Key>a</Key><VersionId>v<x/></VersionId>"] {
            let body = format!("<Delete><Object>{nested}</Object></Delete>");
            assert_eq!(code(DeleteRequest::parse(body.as_bytes())), Some(ErrorCode::MalformedXML), "{nested}");
        }
    }

    #[test]
    fn create_bucket_knows_the_location_only() {
        assert_eq!(parse_create_bucket(b"").ok(), Some(None));
        assert_eq!(parse_create_bucket(create_bucket_xml("eu-1").as_bytes()).ok(), Some(Some("eu-1".into())));
        let tags = b"<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>";
        assert_eq!(code(parse_create_bucket(tags)), Some(ErrorCode::NotImplemented));
        assert_eq!(code(parse_create_bucket(b"<Other/>")), Some(ErrorCode::MalformedXML));
    }

    #[test]
    fn a_200_may_hold_an_error() {
        let body = b"\n\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InternalError</Code><Message>m</Message></Error>";
        // a blank before the declaration is how S3 keeps the connection alive
        let answer = CompleteMultipartUploadResult::parse(body.trim_ascii_start()).ok().unwrap();
        assert!(matches!(answer, Answer::Failed(error) if error.code == "InternalError"));
        assert!(CopyResult::parse(b"<Error><Code>SlowDown</Code></Error>", CopyKind::Part).is_ok());
        assert!(CopyResult::parse(b"<CopyPartResult/>", CopyKind::Object).is_err());
        assert!(CompleteMultipartUploadResult::parse(b"<html/>").is_err());
    }

    #[test]
    fn times_run_both_ways() {
        assert_eq!(format_time(T), "2013-05-24T00:00:00.123Z");
        for good in ["2013-05-24T00:00:00.123Z", "2013-05-24T00:00:00.123456789Z", "2013-05-24T00:00:00.123+00:00"] {
            assert_eq!(parse_time(good), Some(T));
        }
        assert_eq!(parse_time("2013-05-24T00:00:00Z").map(Timestamp::unix_millis), Some(1_369_353_600_000));
        for bad in ["", "2013-05-24", "2013-05-24T00:00:00", "2013-05-24T00:00:00.Z", "2013-05-24T00:00:00é", "é"] {
            assert_eq!(parse_time(bad), None);
        }
    }

    #[test]
    fn locations_run_both_ways() {
        for region in ["us-east-1", "eu-central-1", "a<b"] {
            assert_eq!(parse_location(location_xml(region).as_bytes()), Ok(region.to_owned()));
        }
        assert_eq!(parse_location(b"<LocationConstraint>EU</LocationConstraint>"), Ok("eu-west-1".into()));
    }

    fn owner() -> Owner {
        Owner { id: "id".into(), display_name: Some("n".into()) }
    }

    #[test]
    fn answers_without_names_run_both_ways() {
        let buckets = ListAllMyBucketsResult {
            owner: Some(owner()),
            buckets: vec![ListedBucket { name: "bkt".into(), created: T }],
            continuation_token: Some("t".into()),
            prefix: None,
        };
        assert_eq!(ListAllMyBucketsResult::parse(buckets.to_xml().as_bytes()), Ok(buckets));
        for kind in [CopyKind::Object, CopyKind::Part] {
            let copy = CopyResult {
                etag: "\"e\"".into(),
                last_modified: T,
                checksums: vec![checksum(ChecksumAlgorithm::Crc32, b"x")],
            };
            assert_eq!(CopyResult::parse(copy.to_xml(kind).as_bytes(), kind), Ok(Answer::Done(copy)));
        }
        let error = S3Error::from(ErrorCode::NoSuchKey).to_xml("r", "h");
        let read = ErrorAnswer::parse(error.as_bytes()).unwrap();
        assert_eq!((read.code.as_str(), read.request_id.as_deref()), ("NoSuchKey", Some("r")));
    }

    proptest! {
        #[test]
        fn lists_run_both_ways(
            keys in proptest::collection::vec(any::<String>(), 0..5),
            prefix in any::<String>(),
            delimiter in proptest::option::of(".+"),
            next in proptest::option::of(".+"),
            url in any::<bool>(),
            v2 in any::<bool>(),
        ) {
            let encoding = if url { KeyEncoding::Url } else { KeyEncoding::Text };
            let page = if v2 {
                Page::V2 {
                    key_count: 2 * keys.len() as u32,
                    continuation_token: next.clone(),
                    next_continuation_token: next.clone(),
                    start_after: next.clone(),
                }
            } else {
                Page::V1 { marker: prefix.clone(), next_marker: next.clone() }
            };
            let object = |key: &String| ListedObject {
                key: key.clone(), last_modified: T, etag: "\"e-0\"".into(), size: u64::MAX,
                storage_class: Some("STANDARD".into()), owner: Some(owner()),
            };
            let list = ListBucketResult {
                name: "bkt".into(), prefix: prefix.clone(), prefix_as_text: None, delimiter: delimiter.clone(),
                max_keys: 1000, is_truncated: next.is_some(), encoding, page, contents: keys.iter().map(object).collect(),
                common_prefixes: keys.clone(),
            };
            let read = ListBucketResult::parse(list.to_xml().as_bytes(), v2);
            prop_assert!(read.is_ok_and(|read| read == list));
            let upload = |key: &String| ListedUpload {
                key: key.clone(), upload_id: key.clone(), initiated: T, initiator: Some(owner()), owner: None,
                storage_class: None, checksum: Some((ChecksumAlgorithm::Crc32, ChecksumType::Composite)),
            };
            let uploads = ListMultipartUploadsResult {
                bucket: "bkt".into(), prefix: prefix.clone(), delimiter: delimiter.clone(), key_marker: prefix.clone(),
                upload_id_marker: prefix.clone(), next_key_marker: next.clone(), next_upload_id_marker: next.clone(),
                max_uploads: 7, is_truncated: true, encoding, uploads: keys.iter().map(upload).collect(),
                common_prefixes: keys.clone(),
            };
            let read = ListMultipartUploadsResult::parse(uploads.to_xml().as_bytes());
            prop_assert!(read.is_ok_and(|read| read == uploads));
        }

        #[test]
        fn answers_with_names_run_both_ways(key in any::<String>(), id in ".+") {
            let parts = ListPartsResult {
                bucket: "bkt".into(), key: key.clone(), upload_id: id.clone(), part_number_marker: 0,
                next_part_number_marker: Some(2), max_parts: 1000, is_truncated: false, initiator: Some(owner()), owner: Some(owner()),
                storage_class: None, checksum: Some((ChecksumAlgorithm::Sha256, ChecksumType::Composite)),
                parts: vec![ListedPart {
                    number: PartNumber::new(2).unwrap(), last_modified: T, etag: "\"e\"".into(), size: 5,
                    checksums: vec![checksum(ChecksumAlgorithm::Sha256, b"x")],
                }],
            };
            prop_assert!(ListPartsResult::parse(parts.to_xml().as_bytes()).is_ok_and(|read| read == parts));
            let begun = InitiateMultipartUploadResult { bucket: "bkt".into(), key: key.clone(), upload_id: id.clone() };
            prop_assert!(InitiateMultipartUploadResult::parse(begun.to_xml().as_bytes()).is_ok_and(|read| read == begun));
            let done = CompleteMultipartUploadResult {
                location: id.clone(), bucket: "bkt".into(), key: key.clone(), etag: "\"e\"".into(),
                checksum: Some((ChecksumAlgorithm::Crc32, ChecksumType::Composite, "AAAAAA==-3".into())),
            };
            let read = CompleteMultipartUploadResult::parse(done.to_xml().as_bytes());
            prop_assert!(read.is_ok_and(|read| matches!(read, Answer::Done(read) if read == done)));
            let deleted = DeleteResult {
                deleted: vec![DeletedObject {
                    key: key.clone(), version_id: Some(id.clone()), delete_marker: true, delete_marker_version_id: Some(id.clone()),
                }],
                errors: vec![DeleteFailure { key, version_id: None, code: "AccessDenied".into(), message: id }],
            };
            prop_assert!(DeleteResult::parse(deleted.to_xml().as_bytes()).is_ok_and(|read| read == deleted));
        }

        #[test]
        fn hostile_documents_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200), markup in "[<>/&;#x?!\\[\\]a-c\" ]{0,80}") {
            let _ = parse_complete_multipart_upload(&body);
            let _ = DeleteRequest::parse(markup.as_bytes());
            let _ = ListBucketResult::parse(format!("<ListBucketResult>{markup}</ListBucketResult>").as_bytes(), true);
        }
    }
}
