//! The form of a POST upload: `multipart/form-data`, of which the fields before `file` are read here, and the file's length
//! follows from that of the request.
//!
//! ```text
//! --B\r\n                                              the boundary that Content-Type names
//! Content-Disposition: form-data; name="key"\r\n\r\n   a field's head
//! photos/${filename}\r\n                               and its value, up to the next boundary
//! --B\r\n
//! Content-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n
//! …\r\n--B--\r\n                                       the file, which is the last field
//! ```
//!
//! What a field behind the file says could not be judged before the file is stored: such a form is refused. Sources: "POST
//! Object" of the Amazon S3 API Reference; RFC 7578.

use super::error::{ErrorCode, S3Error};
use crate::sigv4::Headers;

/// The longest form without its file: S3 takes 20 KB, a policy among it; heads and boundaries come on top.
pub const MAX_FORM_LEN: usize = 40 << 10;
const MAX_FIELDS: usize = 100;
/// RFC 2046: 1 to 70 characters.
const MAX_BOUNDARY_LEN: usize = 70;

fn malformed() -> S3Error {
    ErrorCode::MalformedPOSTRequest.into()
}

fn no_file() -> S3Error {
    S3Error::argument("file", "POST requires exactly one file upload per request.")
}

/// Whether a request's body is a form.
#[must_use]
pub fn is_form(headers: Headers<'_>) -> bool {
    let content_type = headers.one("content-type").ok().flatten().unwrap_or_default();
    content_type.get(..19).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/form-data"))
}

/// The boundary in a `Content-Type: multipart/form-data; boundary=…`.
pub fn boundary(content_type: &[u8]) -> Result<String, S3Error> {
    let text = str::from_utf8(content_type).map_err(|_| malformed())?;
    let mut parameters = text.split(';').skip(1).map(str::trim_ascii);
    let is_boundary = |parameter: &&str| parameter.get(..9).is_some_and(|name| name.eq_ignore_ascii_case("boundary="));
    let value = parameters.find(is_boundary).and_then(|parameter| parameter.get(9..)).ok_or_else(malformed)?;
    let value = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&b);
    if value.is_empty() || value.len() > MAX_BOUNDARY_LEN || !value.bytes().all(is_plain) || value.ends_with(' ') {
        return Err(malformed());
    }
    Ok(value.to_owned())
}

/// The fields of a form before its file. It has no `Debug`: it holds names.
#[derive(Default)]
pub struct Form {
    /// Names in lower case and values, `${filename}` put in.
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// The only value of a field, by its name in lower case.
    pub fn one(&self, name: &'static str) -> Result<Option<&str>, S3Error> {
        let mut values = self.fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str());
        let first = values.next();
        match values.next() {
            None => Ok(first),
            Some(_) => Err(S3Error::argument(name, "A field of the form stands twice.")),
        }
    }
}

/// Reads a form up to the first byte of its file.
pub struct FormParser {
    /// `\r\n--B`.
    delimiter: Vec<u8>,
    /// What is read; a line end stands before it, as before every other boundary.
    buffer: Vec<u8>,
    /// Up to where it is understood: a boundary, or the head behind it.
    at: usize,
    /// Up to where nothing was found of what is looked for.
    searched: usize,
    /// The name of the field whose value is read.
    name: Option<String>,
    form: Form,
}

/// Where `needle` begins in `haystack`, from `from` on.
pub(crate) fn find(haystack: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find(haystack.get(from..)?, needle).map(|at| from + at)
}

impl FormParser {
    /// A parser for a form with that boundary.
    #[must_use]
    pub fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        let (buffer, form) = (b"\r\n".to_vec(), Form::default());
        Self { delimiter, buffer, at: 0, searched: 0, name: None, form }
    }

    /// What stands between the file's last byte and the end of the request.
    #[must_use]
    pub fn closing(&self) -> Vec<u8> {
        [&self.delimiter, &b"--\r\n"[..]].concat()
    }

    /// Why a body that ended before its file is no form.
    #[must_use]
    pub fn ended(&self) -> S3Error {
        let rest = self.buffer.get(self.at..).and_then(|rest| rest.strip_prefix(self.delimiter.as_slice()));
        if rest.is_some_and(|rest| rest.starts_with(b"--")) { no_file() } else { ErrorCode::IncompleteBody.into() }
    }

    /// Takes more of the body. When the file begins: the form, and how many bytes of all that were taken are before the file.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<(Form, usize)>, S3Error> {
        self.buffer.extend_from_slice(bytes);
        loop {
            let (needle, overlap) = match self.name {
                Some(_) => (self.delimiter.as_slice(), self.delimiter.len()),
                None => (&b"\r\n\r\n"[..], 4),
            };
            let Some(end) = find(&self.buffer, needle, self.searched.max(self.at)) else {
                self.searched = self.buffer.len().saturating_sub(overlap);
                if self.buffer.len() > MAX_FORM_LEN {
                    return Err(ErrorCode::MaxMessageLengthExceeded.into());
                }
                return Ok(None);
            };
            if end > MAX_FORM_LEN {
                return Err(ErrorCode::MaxMessageLengthExceeded.into());
            }
            self.searched = 0;
            if let Some(name) = self.name.take() {
                let value = self.buffer.get(self.at..end).unwrap_or_default();
                let value = str::from_utf8(value).map_err(|_| malformed())?.to_owned();
                self.form.fields.push((name, value));
                if self.form.fields.len() > MAX_FIELDS {
                    return Err(malformed());
                }
                self.at = end;
                continue;
            }
            // a boundary, its line end, and the lines of a head
            let head = self.buffer.get(self.at..end).unwrap_or_default();
            let head = head.strip_prefix(self.delimiter.as_slice()).ok_or_else(malformed)?;
            let head = match head.strip_prefix(b"\r\n") {
                Some(head) => head,
                None if head.starts_with(b"--") => return Err(no_file()),
                None => return Err(malformed()),
            };
            let (name, filename) = disposition(head)?;
            self.at = end + 4;
            if name == "file" {
                let mut form = std::mem::take(&mut self.form);
                let filename = filename.unwrap_or_default();
                let mut expanded = 0usize;
                for (name, value) in &mut form.fields {
                    if matches!(name.as_str(), "policy" | "x-amz-signature" | "signature" | "awsaccesskeyid") {
                        continue;
                    }
                    // a short form must not become a long one
                    let marks = value.matches("${filename}").count();
                    expanded = expanded.saturating_add(marks.saturating_mul(filename.len()));
                    if expanded > MAX_FORM_LEN {
                        return Err(ErrorCode::MaxMessageLengthExceeded.into());
                    }
                    if marks > 0 {
                        *value = value.replace("${filename}", &filename);
                    }
                }
                return Ok(Some((form, self.at.saturating_sub(2))));
            }
            self.name = Some(name);
        }
    }
}

/// The field's name, in lower case, and the file's, of a part's head.
fn disposition(head: &[u8]) -> Result<(String, Option<String>), S3Error> {
    let head = str::from_utf8(head).map_err(|_| malformed())?;
    let mut found = None;
    for line in head.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or_else(malformed)?;
        if name.eq_ignore_ascii_case("content-disposition") && found.replace(value).is_some() {
            return Err(malformed());
        }
    }
    let mut rest = found.ok_or_else(malformed)?.trim_ascii();
    let (kind, parameters) = rest.split_once(';').ok_or_else(malformed)?;
    if !kind.trim_ascii().eq_ignore_ascii_case("form-data") {
        return Err(malformed());
    }
    rest = parameters;
    let (mut name, mut filename) = (None, None);
    while !rest.trim_ascii().is_empty() {
        let (parameter, value) = rest.split_once('=').ok_or_else(malformed)?;
        let (value, behind) = parameter_value(value)?;
        let parameter = parameter.trim_ascii();
        let slot = if parameter.eq_ignore_ascii_case("name") {
            Some(&mut name)
        } else if parameter.eq_ignore_ascii_case("filename") {
            Some(&mut filename)
        } else {
            // `filename*`, which RFC 7578 forbids, and whatever else
            None
        };
        if let Some(slot) = slot
            && slot.replace(value).is_some()
        {
            return Err(malformed());
        }
        rest = behind;
    }
    let name = name.filter(|name| !name.is_empty()).ok_or_else(malformed)?;
    // of a path, which some browsers send, only the name
    let filename = filename.map(|name| name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned());
    Ok((name.to_ascii_lowercase(), filename))
}

/// A quoted string or a token, and what is behind its semicolon.
fn parameter_value(text: &str) -> Result<(String, &str), S3Error> {
    let text = text.trim_ascii_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return Ok((value.trim_ascii().to_owned(), rest));
    };
    let (mut value, mut chars) = (String::new(), quoted.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                let rest = quoted.get(at + 1..).unwrap_or_default().trim_ascii_start();
                let rest = if rest.is_empty() { rest } else { rest.strip_prefix(';').ok_or_else(malformed)? };
                return Ok((value, rest));
            }
            // only a quote is escaped: some browsers send paths with single backslashes
            '\\' if quoted.get(at + 1..).is_some_and(|rest| rest.starts_with('"')) => {
                chars.next();
                value.push('"');
            }
            _ => value.push(c),
        }
    }
    Err(malformed())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Read = (Vec<(String, String)>, Vec<u8>);

    /// The fields, and what stands from the file's first byte on.
    fn read(body: &[u8], step: usize) -> Result<Read, ErrorCode> {
        let mut parser = FormParser::new("B");
        let mut fed = 0;
        for piece in body.chunks(step) {
            fed += piece.len();
            if let Some((form, at)) = parser.feed(piece).map_err(|e| e.code())? {
                assert!(at <= fed);
                return Ok((form.fields, body[at..].to_vec()));
            }
        }
        Err(parser.ended().code())
    }

    fn field(name: &str, value: &str) -> String {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    const FILE: &str =
        "--B\r\nContent-Type: a/b\r\ncontent-disposition: form-data; name=\"File\"; filename=\"C:\\x\\a\\\"b\"\r\n\r\n";

    #[test]
    fn the_fields_before_the_file_are_read_however_they_come() {
        let body = format!("{}{}{FILE}content\r\n--B--\r\n", field("Key", "a/${filename}"), field("empty", ""));
        for step in [1, 2, 3, 7, body.len()] {
            let (fields, rest) = read(body.as_bytes(), step).unwrap();
            assert_eq!(fields[0], ("key".to_owned(), "a/a\"b".to_owned()));
            assert_eq!(fields[1], ("empty".to_owned(), String::new()));
            assert_eq!(rest, b"content\r\n--B--\r\n");
        }
        assert_eq!(FormParser::new("B").closing(), b"\r\n--B--\r\n");
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let malformed = Err(ErrorCode::MalformedPOSTRequest);
        for body in [
            "x--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
            "--C\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
            "--B\r\nContent-Disposition: form-data\r\n\r\n",
            "--B\r\nContent-Disposition: form-data; name=\"\"\r\n\r\n",
            "--B\r\nContent-Disposition: form-data; name=\"a\r\n\r\n",
            "--B\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\n",
            "--B\r\nContent-Disposition: form-data; name=\"a\"; name=\"file\"\r\n\r\n",
            "--B\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"\r\n\r\n",
            "--B\r\nContent-Type: a/b\r\n\r\n",
            "--B\r\n\r\n",
        ] {
            assert_eq!(read(body.as_bytes(), 1000).map(|_| ()), malformed, "{body}");
        }
        for end in ["--B--", "--B--\r\n", "--B--\r\n\r\n"] {
            let without_file = format!("{}{end}", field("key", "a"));
            assert_eq!(read(without_file.as_bytes(), 9).err(), Some(ErrorCode::InvalidArgument));
        }
        assert_eq!(read(field("key", "a").as_bytes(), 9).err(), Some(ErrorCode::IncompleteBody));
        let too_many = field("x-ignore-a", "b").repeat(101) + FILE;
        assert_eq!(read(too_many.as_bytes(), 1000).map(|_| ()), malformed);
        let expands = field("x-ignore-a", &"${filename}".repeat(1800))
            + &FILE.replace("C:", &"n".repeat(20_000)).replace("\\x\\", "");
        assert_eq!(read(expands.as_bytes(), 1000).err(), Some(ErrorCode::MaxMessageLengthExceeded));
        let too_long = field("key", &"a".repeat(MAX_FORM_LEN)) + FILE;
        for step in [1000, too_long.len()] {
            assert_eq!(read(too_long.as_bytes(), step).err(), Some(ErrorCode::MaxMessageLengthExceeded));
        }
    }

    #[test]
    fn boundaries_are_read() {
        let read = |text: &str| boundary(text.as_bytes()).ok();
        assert_eq!(read("multipart/form-data; boundary=a-b").as_deref(), Some("a-b"));
        assert_eq!(read("multipart/form-data; charset=x; Boundary=\"a b\"").as_deref(), Some("a b"));
        for bad in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"a\r\nb\""]
        {
            assert_eq!(read(bad), None);
        }
        assert_eq!(read(&format!("a; boundary={}", "x".repeat(71))), None);
    }

    proptest! {
        #[test]
        fn hostile_forms_never_panic(body in "(--B|\r\n|Content-Disposition: form-data; name=|\"|;|[a-z]|\\$\\{filename\\}){0,40}", step in 1usize..50) {
            let _ = read(body.as_bytes(), step);
        }
    }
}
