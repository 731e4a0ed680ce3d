//! aws-chunked: the body's framing, as an incremental decoder that holds no payload.
//!
//! ```text
//! body    = (size [";chunk-signature=" hex64] CRLF payload CRLF)*  "0" [";chunk-signature=" hex64] CRLF trailer CRLF
//! trailer = (name ":" value CRLF)* ["x-amz-trailer-signature:" hex64 CRLF]
//! ```
//!
//! The caller pushes bytes, split anywhere, and gets ranges of its own buffer back. **Contract**: payload of a signed
//! chunk is not believed before [`Event::ChunkVerified`]; the caller holds it back until then, and the chunk's size limit
//! bounds what it must hold. Payload of unsigned chunks is believed only when the trailer's checksum holds. Nothing is
//! an object before [`Decoder::finish`].
//!
//! Strict where a lax reader could be made to see another body: sizes are 1 to 16 hexadecimal digits, lines are limited,
//! the final empty chunk is obligatory, the payload's length is exactly `x-amz-decoded-content-length`, the trailer holds
//! what `x-amz-trailer` declares and nothing else, and nothing follows it.
//! Sources: "Transferring Payload in Multiple Chunks (Chunked Upload)", "Including Trailing Headers".

use std::ops::Range;

use thiserror::Error;

use super::error::{ErrorCode, S3Error};
use crate::digest::{SHA256_LEN, Sha256Stream, unhex};
use crate::sigv4::{AuthError, ChunkSignatures};

/// The longest chunk header in bytes, without CRLF.
const MAX_CHUNK_HEADER_LEN: usize = 128;
/// The longest trailer in bytes.
const MAX_TRAILER_LEN: usize = 4096;
/// The usual limit for a signed chunk, whose payload must be held back: 16 MiB. SDKs send 64 KiB to 1 MiB.
pub const MAX_SIGNED_CHUNK_LEN: u64 = 16 << 20;
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

/// Why an aws-chunked body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChunkedError {
    /// A chunk's header or end cannot be read.
    #[error("a chunk is malformed: {0}")]
    Chunk(&'static str),
    /// A signed chunk is longer than can be held back.
    #[error("a signed chunk is longer than the limit")]
    ChunkTooLong,
    /// A chunk's or the trailer's signature does not hold.
    #[error("a chunk signature does not hold")]
    Signature,
    /// The trailer cannot be read, or is not what was declared.
    #[error("the trailer is malformed: {0}")]
    Trailer(&'static str),
    /// There is more payload than declared.
    #[error("the body is longer than x-amz-decoded-content-length")]
    Longer,
    /// There is less payload than declared, or the body ended before its end.
    #[error("the body is shorter than x-amz-decoded-content-length")]
    Shorter,
    /// Something follows the body's end.
    #[error("bytes follow the end of the body")]
    Junk,
}

impl From<ChunkedError> for S3Error {
    fn from(error: ChunkedError) -> Self {
        let code = match error {
            ChunkedError::Signature => return AuthError::ChunkSignatureMismatch.into(),
            ChunkedError::Trailer(_) => ErrorCode::MalformedTrailerError,
            ChunkedError::Shorter => ErrorCode::IncompleteBody,
            _ => ErrorCode::InvalidRequest,
        };
        Self::new(code, error.to_string())
    }
}

/// The trailer's fields: declared ones only. It has no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Trailer {
    fields: Vec<(String, Vec<u8>)>,
}

impl Trailer {
    /// The value of a name in lower case.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_slice())
    }
}

/// What the next bytes of the input are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All input is consumed; more is needed.
    NeedInput,
    /// A chunk of this length begins: the caller may reserve room to hold it back. Not for the last, empty one.
    ChunkBegins(u64),
    /// These bytes of the input are payload.
    Payload(Range<usize>),
    /// The payload since the last such event is complete, and its signature, if chunks are signed, holds.
    ChunkVerified,
    /// The body is complete: length, last chunk's signature and trailer hold, and nothing follows in this input. What the
    /// connection still brings must be handed over too, for it is refused; then [`Decoder::finish`].
    End,
}

/// How much of the input an event has consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// These many bytes are done with.
    pub consumed: usize,
    /// What they were.
    pub event: Event,
}

enum Signed {
    /// Neither chunks nor trailer.
    No,
    /// The chunks; there is no trailer.
    Chunks(ChunkSignatures),
    /// Chunks and trailer.
    ChunksAndTrailer(ChunkSignatures),
}

enum State {
    Header,
    Payload {
        left: u64,
        signature: Option<[u8; SHA256_LEN]>,
    },
    /// CR, LF behind a chunk's payload; what was seen of it stands in `line`.
    PayloadEnd {
        signature: Option<[u8; SHA256_LEN]>,
    },
    Trailer,
    End,
    Failed(ChunkedError),
}

/// The decoder. It holds at most one line, never payload.
pub struct Decoder {
    state: State,
    signed: Signed,
    /// Payload still to come, by declaration.
    remaining: u64,
    max_chunk_len: u64,
    declared: Vec<String>,
    line: Vec<u8>,
    hash: Sha256Stream,
    trailer_len: usize,
    trailer: Trailer,
    trailer_signature: Option<[u8; SHA256_LEN]>,
}

impl Decoder {
    fn with(signed: Signed, decoded_len: u64, declared: &[&str], max_chunk_len: u64) -> Self {
        Self {
            state: State::Header,
            signed,
            remaining: decoded_len,
            max_chunk_len,
            declared: declared.iter().map(|name| name.to_ascii_lowercase()).collect(),
            line: Vec::new(),
            hash: Sha256Stream::default(),
            trailer_len: 0,
            trailer: Trailer::default(),
            trailer_signature: None,
        }
    }

    /// STREAMING-AWS4-HMAC-SHA256-PAYLOAD: each chunk signed, no trailer. `decoded_len` is
    /// `x-amz-decoded-content-length`; a chunk has at most `max_chunk_len` bytes.
    #[must_use]
    pub fn signed(signatures: ChunkSignatures, decoded_len: u64, max_chunk_len: u64) -> Self {
        Self::with(Signed::Chunks(signatures), decoded_len, &[], max_chunk_len)
    }

    /// STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER: chunks and trailer signed; `declared` are the names of
    /// `x-amz-trailer`.
    #[must_use]
    pub fn signed_trailer(
        signatures: ChunkSignatures,
        decoded_len: u64,
        declared: &[&str],
        max_chunk_len: u64,
    ) -> Self {
        Self::with(Signed::ChunksAndTrailer(signatures), decoded_len, declared, max_chunk_len)
    }

    /// STREAMING-UNSIGNED-PAYLOAD-TRAILER: nothing is signed here; the payload's checksum is in the trailer.
    #[must_use]
    pub fn unsigned_trailer(decoded_len: u64, declared: &[&str]) -> Self {
        Self::with(Signed::No, decoded_len, declared, u64::MAX)
    }

    /// Payload that is still to come, by declaration.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Reads on. The caller drops the first `consumed` bytes of `input` and calls again, until [`Event::NeedInput`].
    /// After an error, every call answers the same error.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, ChunkedError> {
        let result = self.step(input);
        if let Err(error) = result {
            self.state = State::Failed(error);
        }
        result
    }

    /// The trailer of a complete body; the input's end before that is a short body.
    pub fn finish(self) -> Result<Trailer, ChunkedError> {
        match self.state {
            State::End => Ok(self.trailer),
            State::Failed(error) => Err(error),
            _ => Err(ChunkedError::Shorter),
        }
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, ChunkedError> {
        let mut consumed = 0;
        loop {
            let rest = input.get(consumed..).unwrap_or_default();
            match &mut self.state {
                State::Failed(error) => return Err(*error),
                State::End if rest.is_empty() => return Ok(Step { consumed, event: Event::NeedInput }),
                State::End => return Err(ChunkedError::Junk),
                _ if rest.is_empty() => return Ok(Step { consumed, event: Event::NeedInput }),
                State::Payload { left, signature } => {
                    let take = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    let payload = rest.get(..take).unwrap_or_default();
                    *left = left.saturating_sub(take as u64);
                    self.remaining = self.remaining.saturating_sub(take as u64);
                    if signature.is_some() {
                        self.hash.update(payload);
                    }
                    if *left == 0 {
                        self.state = State::PayloadEnd { signature: signature.take() };
                    }
                    let event = Event::Payload(consumed..consumed + take);
                    return Ok(Step { consumed: consumed + take, event });
                }
                State::PayloadEnd { signature } => {
                    let signature = *signature;
                    let (Some(byte), expected) = (rest.first(), if self.line.is_empty() { b'\r' } else { b'\n' })
                    else {
                        continue;
                    };
                    if *byte != expected {
                        return Err(ChunkedError::Chunk("the payload does not end in CRLF"));
                    }
                    consumed += 1;
                    if expected == b'\r' {
                        self.line.push(b'\r');
                        continue;
                    }
                    self.line.clear();
                    self.verify_chunk(signature)?;
                    self.state = State::Header;
                    return Ok(Step { consumed, event: Event::ChunkVerified });
                }
                State::Header => {
                    let (taken, complete) = take_line(&mut self.line, rest, MAX_CHUNK_HEADER_LEN)
                        .ok_or(ChunkedError::Chunk("its header is too long"))?;
                    consumed += taken;
                    if !complete {
                        continue;
                    }
                    let line = std::mem::take(&mut self.line);
                    if let Some(len) = self.begin_chunk(&line)? {
                        return Ok(Step { consumed, event: Event::ChunkBegins(len) });
                    }
                }
                State::Trailer => {
                    let (taken, complete) = take_line(&mut self.line, rest, MAX_TRAILER_LEN)
                        .ok_or(ChunkedError::Trailer("it is too long"))?;
                    consumed += taken;
                    self.trailer_len += taken;
                    if self.trailer_len > MAX_TRAILER_LEN {
                        return Err(ChunkedError::Trailer("it is too long"));
                    }
                    if !complete {
                        continue;
                    }
                    let mut line = std::mem::take(&mut self.line);
                    // AWS's documentation shows fields that end in LF CRLF, and clients exist that follow it; any other
                    // control character is refused
                    if line.len() > 1 && line.last() == Some(&b'\n') {
                        line.pop();
                    }
                    if line.is_empty() {
                        self.end_trailer()?;
                        if consumed < input.len() {
                            return Err(ChunkedError::Junk);
                        }
                        self.state = State::End;
                        return Ok(Step { consumed, event: Event::End });
                    }
                    self.trailer_line(&line)?;
                }
            }
        }
    }

    /// Reads `size[;chunk-signature=hex64]`; the length of a chunk with payload.
    fn begin_chunk(&mut self, line: &[u8]) -> Result<Option<u64>, ChunkedError> {
        let (size, extension) = match line.iter().position(|b| *b == b';') {
            None => (line, None),
            Some(at) => {
                let (size, extension) = line.split_at(at);
                (size, extension.get(1..))
            }
        };
        let signature = match (&self.signed, extension) {
            (Signed::No, None) => None,
            (Signed::No, Some(_)) => return Err(ChunkedError::Chunk("an extension in an unsigned chunk")),
            (_, extension) => {
                let text = extension.and_then(|text| text.strip_prefix(b"chunk-signature="));
                Some(text.and_then(unhex).ok_or(ChunkedError::Chunk("no chunk-signature of 64 hexadecimal digits"))?)
            }
        };
        if !(1..=16).contains(&size.len()) {
            return Err(ChunkedError::Chunk("its size has not 1 to 16 digits"));
        }
        let mut len = 0u64;
        for byte in size {
            let digit = char::from(*byte).to_digit(16).ok_or(ChunkedError::Chunk("its size is no number"))?;
            len = len << 4 | u64::from(digit);
        }
        if len > self.remaining {
            return Err(ChunkedError::Longer);
        }
        if len > self.max_chunk_len {
            return Err(ChunkedError::ChunkTooLong);
        }
        if len > 0 {
            self.state = State::Payload { left: len, signature };
            return Ok(Some(len));
        }
        if self.remaining > 0 {
            return Err(ChunkedError::Shorter);
        }
        self.verify_chunk(signature)?;
        self.state = State::Trailer;
        Ok(None)
    }

    fn verify_chunk(&mut self, signature: Option<[u8; SHA256_LEN]>) -> Result<(), ChunkedError> {
        let hash = std::mem::take(&mut self.hash).finish();
        match (&mut self.signed, signature) {
            (Signed::No, None) => Ok(()),
            (Signed::Chunks(chain) | Signed::ChunksAndTrailer(chain), Some(signature)) => {
                chain.verify_chunk(&hash, &signature).map_err(|_| ChunkedError::Signature)
            }
            _ => Err(ChunkedError::Signature),
        }
    }

    fn trailer_line(&mut self, line: &[u8]) -> Result<(), ChunkedError> {
        let at = line.iter().position(|b| *b == b':').ok_or(ChunkedError::Trailer("a line without a colon"))?;
        let (name, value) = line.split_at(at);
        let name = str::from_utf8(name).map_err(|_| ChunkedError::Trailer("a name is no text"))?.to_ascii_lowercase();
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if value.iter().any(|b| !matches!(b, 0x20..=0x7e)) {
            return Err(ChunkedError::Trailer("a value holds a control character"));
        }
        if self.trailer_signature.is_some() {
            return Err(ChunkedError::Trailer("a field behind the signature"));
        }
        if name == TRAILER_SIGNATURE && matches!(self.signed, Signed::ChunksAndTrailer(_)) {
            let signature = unhex(value).ok_or(ChunkedError::Trailer("its signature has not 64 hexadecimal digits"))?;
            self.trailer_signature = Some(signature);
            return Ok(());
        }
        if !self.declared.contains(&name) {
            return Err(ChunkedError::Trailer("a field that x-amz-trailer does not declare"));
        }
        if self.trailer.value(&name).is_some() {
            return Err(ChunkedError::Trailer("a field stands twice"));
        }
        self.trailer.fields.push((name, value.to_vec()));
        Ok(())
    }

    fn end_trailer(&mut self) -> Result<(), ChunkedError> {
        if self.trailer.fields.len() != self.declared.len() {
            return Err(ChunkedError::Trailer("a field that x-amz-trailer declares is missing"));
        }
        if let Signed::ChunksAndTrailer(chain) = &mut self.signed {
            let signature = self.trailer_signature.ok_or(ChunkedError::Trailer("its signature is missing"))?;
            let mut canonical = Vec::new();
            for (name, value) in &self.trailer.fields {
                canonical.extend_from_slice(name.as_bytes());
                canonical.push(b':');
                canonical.extend_from_slice(value);
                canonical.push(b'\n');
            }
            chain.verify_trailer(&canonical, &signature).map_err(|_| ChunkedError::Signature)?;
        }
        Ok(())
    }
}

/// Moves bytes up to CRLF into `line`: how many were taken, and whether the line is complete (then without its CRLF).
/// `None` if it is longer than `max`.
fn take_line(line: &mut Vec<u8>, input: &[u8], max: usize) -> Option<(usize, bool)> {
    for (index, byte) in input.iter().enumerate() {
        if *byte == b'\n' && line.last() == Some(&b'\r') {
            line.pop();
            return Some((index + 1, true));
        }
        if line.len() > max {
            return None;
        }
        line.push(*byte);
    }
    Some((input.len(), false))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use zeroize::Zeroizing;

    use super::*;
    use crate::clock::Timestamp;
    use crate::digest::{hex, sha256};
    use crate::secret::Secret;
    use crate::sigv4::uri::Query;
    use crate::sigv4::{
        AmzDate, Authentication, ContentSha256, CredentialScope, Credentials, HeaderField, Headers, RequestView,
        SigningKey, sign,
    };

    fn chain() -> ChunkSignatures {
        let date = AmzDate::of(Timestamp::from_unix_millis(1_369_353_600_000));
        let secret = Secret::from_text(&Zeroizing::new("secret".to_owned()));
        let key = SigningKey::derive(&secret, &CredentialScope::new(date, "r"));
        let fields: [HeaderField<'_>; 1] = [("host", b"h")];
        let request = RequestView { method: "PUT", path: "/b/k", query: "", headers: Headers::new(&fields) };
        let credentials = Credentials { access_key_id: "a", key: &key, session_token: None };
        sign(&request, &credentials, date, ContentSha256::StreamingTrailer).unwrap().chunk_signatures()
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Mode {
        Signed,
        SignedTrailer,
        Unsigned,
    }

    fn encode(mode: Mode, chunks: &[&[u8]], trailer: &[(&str, &str)]) -> Vec<u8> {
        let mut chain = chain();
        let mut out = Vec::new();
        for chunk in chunks.iter().copied().chain([&b""[..]]) {
            out.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
            if mode != Mode::Unsigned {
                out.extend_from_slice(
                    format!(";chunk-signature={}", hex(&chain.sign_chunk(&sha256(&[chunk])))).as_bytes(),
                );
            }
            out.extend_from_slice(b"\r\n");
            if !chunk.is_empty() {
                out.extend_from_slice(chunk);
                out.extend_from_slice(b"\r\n");
            }
        }
        let mut canonical = String::new();
        for (name, value) in trailer {
            out.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
            canonical.extend([name, ":", value, "\n"]);
        }
        if mode == Mode::SignedTrailer {
            let signature = hex(&chain.sign_trailer(canonical.as_bytes()));
            out.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    fn decoder(mode: Mode, len: u64, declared: &[&str]) -> Decoder {
        match mode {
            Mode::Signed => Decoder::signed(chain(), len, MAX_SIGNED_CHUNK_LEN),
            Mode::SignedTrailer => Decoder::signed_trailer(chain(), len, declared, MAX_SIGNED_CHUNK_LEN),
            Mode::Unsigned => Decoder::unsigned_trailer(len, declared),
        }
    }

    /// Feeds `body` in pieces; payload counts only once its chunk is verified.
    fn run(mut decoder: Decoder, body: &[u8], piece: usize) -> Result<(Vec<u8>, Trailer), ChunkedError> {
        let (mut held, mut released) = (Vec::new(), Vec::new());
        for piece in body.chunks(piece.max(1)) {
            let mut input = piece;
            loop {
                let step = decoder.decode(input)?;
                match &step.event {
                    Event::Payload(range) => held.extend_from_slice(&input[range.clone()]),
                    Event::ChunkVerified => released.append(&mut held),
                    Event::ChunkBegins(len) => assert!(*len > 0),
                    Event::End => assert!(held.is_empty()),
                    Event::NeedInput => {
                        assert_eq!(step.consumed, input.len());
                        break;
                    }
                }
                input = &input[step.consumed..];
            }
        }
        decoder.finish().map(|trailer| (released, trailer))
    }

    const CRC: (&str, &str) = ("x-amz-checksum-crc32", "AAAAAA==");

    fn unsigned(body: &str, len: u64) -> Result<Vec<u8>, ChunkedError> {
        run(Decoder::unsigned_trailer(len, &[]), body.as_bytes(), 7).map(|(payload, _)| payload)
    }

    #[test]
    fn well_formed_bodies_are_decoded_in_every_split() {
        let chunks: [&[u8]; 3] = [b"hello, ", &[b'x'; 300], b"\r\n0\r\n\r\n"];
        for mode in [Mode::Signed, Mode::SignedTrailer, Mode::Unsigned] {
            let trailer: &[_] = if mode == Mode::Signed { &[] } else { &[CRC] };
            let names: Vec<&str> = trailer.iter().map(|(name, _)| *name).collect();
            let body = encode(mode, &chunks, trailer);
            let whole = chunks.concat();
            for piece in 1..=body.len() {
                let (payload, read) = run(decoder(mode, whole.len() as u64, &names), &body, piece).ok().unwrap();
                assert_eq!(payload, whole);
                assert_eq!(read.value(CRC.0), trailer.first().map(|(_, value)| value.as_bytes()));
            }
            for end in 0..body.len() {
                let verdict = run(decoder(mode, whole.len() as u64, &names), &body[..end], 64);
                assert_eq!(verdict.err(), Some(ChunkedError::Shorter), "cut at {end}");
            }
            for junk in [&b"x"[..], b"\r\n", b"0\r\n\r\n"] {
                let verdict = run(decoder(mode, whole.len() as u64, &names), &[&body[..], junk].concat(), 64);
                assert_eq!(verdict.err(), Some(ChunkedError::Junk));
            }
        }
    }

    #[test]
    fn junk_in_the_last_input_is_seen_before_the_end_is_told() {
        let mut decoder = Decoder::unsigned_trailer(0, &[]);
        assert_eq!(decoder.decode(b"0\r\n\r\nx"), Err(ChunkedError::Junk));
        assert_eq!(decoder.finish().err(), Some(ChunkedError::Junk));
    }

    #[test]
    fn the_documented_upload_goes_from_its_header_to_its_last_chunk() {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                             SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
                             x-amz-decoded-content-length;x-amz-storage-class,\
                             Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let fields: [HeaderField<'_>; 8] = [
            ("host", b"s3.amazonaws.com"),
            ("x-amz-date", b"20130524T000000Z"),
            ("x-amz-storage-class", b"REDUCED_REDUNDANCY"),
            ("authorization", authorization.as_bytes()),
            ("x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            ("content-encoding", b"aws-chunked"),
            ("x-amz-decoded-content-length", b"66560"),
            ("content-length", b"66824"),
        ];
        let headers = Headers::new(&fields);
        let request = RequestView { method: "PUT", path: "/examplebucket/chunkObject.txt", query: "", headers };
        let now = Timestamp::from_unix_millis(1_369_353_600_000);
        let Ok(Authentication::Signed(claim)) = Authentication::of(&request, &Query::default(), "us-east-1", now)
        else {
            panic!("not signed")
        };
        let secret = Secret::from_text(&Zeroizing::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()));
        let key = SigningKey::derive(&secret, claim.scope());
        let verified = claim.verify(&key).ok().unwrap();
        let mut body = Vec::new();
        for (len, signature) in [
            (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ] {
            body.extend_from_slice(format!("{len:x};chunk-signature={signature}\r\n").as_bytes());
            body.extend_from_slice(&vec![b'a'; len]);
            body.extend_from_slice(b"\r\n");
        }
        // as its Content-Length says
        assert_eq!(body.len(), 66_824);
        let decoder = Decoder::signed(verified.chunk_signatures().unwrap(), 66_560, MAX_SIGNED_CHUNK_LEN);
        assert!(run(decoder, &body, 1000).is_ok_and(|(payload, _)| payload == vec![b'a'; 66_560]));
    }

    #[test]
    fn an_empty_body_is_its_last_chunk() {
        for mode in [Mode::Signed, Mode::SignedTrailer, Mode::Unsigned] {
            assert!(run(decoder(mode, 0, &[]), &encode(mode, &[], &[]), 3).is_ok());
        }
    }

    #[test]
    fn the_documented_line_end_of_trailers_is_accepted() {
        let body = "1\r\na\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\n\r\n\r\n";
        let (payload, trailer) = run(Decoder::unsigned_trailer(1, &[CRC.0]), body.as_bytes(), 5).ok().unwrap();
        assert_eq!((payload.as_slice(), trailer.value(CRC.0)), (&b"a"[..], Some(&b"AAAAAA=="[..])));
    }

    #[test]
    fn any_changed_byte_of_a_signed_body_is_found() {
        for mode in [Mode::Signed, Mode::SignedTrailer] {
            let trailer: &[_] = if mode == Mode::Signed { &[] } else { &[CRC] };
            let names: Vec<&str> = trailer.iter().map(|(name, _)| *name).collect();
            let body = encode(mode, &[b"hello", b"world"], trailer);
            for at in 0..body.len() {
                for change in [1, 0x20, 0x80] {
                    let mut changed = body.clone();
                    changed[at] ^= change;
                    let verdict = run(decoder(mode, 10, &names), &changed, 64);
                    // the names of trailing fields have no case; nothing else may change unnoticed
                    let line = body[..at].iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
                    let is_name =
                        body[line..=at].starts_with(b"x") && !body[line..=at].contains(&b':') && change == 0x20;
                    assert!(verdict.is_err() || is_name, "byte {at} ^ {change}");
                }
            }
        }
    }

    #[test]
    fn chunks_cannot_be_swapped_dropped_or_repeated() {
        let body = encode(Mode::Signed, &[b"aaaa", b"bbbb"], &[]);
        let one = b"4;chunk-signature=".len() + 64 + 2 + 4 + 2;
        let (a, b, end) = (&body[..one], &body[one..2 * one], &body[2 * one..]);
        for (chunks, len) in
            [(vec![b, a, end], 8), (vec![a, end], 4), (vec![b, end], 4), (vec![a, a, b, end], 12), (vec![end], 0)]
        {
            let verdict = run(decoder(Mode::Signed, len, &[]), &chunks.concat(), 64);
            assert_eq!(verdict.err(), Some(ChunkedError::Signature));
        }
    }

    #[test]
    fn malformed_chunk_headers_are_refused() {
        for body in [
            "\r\n",
            " 1\r\na\r\n",
            "1 \r\na\r\n",
            "+1\r\na\r\n",
            "0x1\r\na\r\n",
            "-1\r\n",
            "g\r\n",
            "1;a=b\r\na\r\n",
            "1;\r\na\r\n",
            "00000000000000001\r\na\r\n",
            "1\na\r\n",
            "1\n\r\na\r\n",
            "1\r\nab\r\n",
            "1\r\na\n\r\n",
            "1\r\na0\r\n\r\n",
            "\0\r\n",
            "1\r\r\na\r\n",
        ] {
            assert!(matches!(unsigned(body, 1), Err(ChunkedError::Chunk(_))), "{body:?}: {:?}", unsigned(body, 1));
        }
        assert!(matches!(unsigned(&"1".repeat(1_000_000), 1), Err(ChunkedError::Chunk(_))));
        assert_eq!(unsigned("ffffffffffffffff\r\n", 1), Err(ChunkedError::Longer));
        assert_eq!(unsigned("2\r\nab\r\n", 1), Err(ChunkedError::Longer));
        assert_eq!(unsigned("1\r\na\r\n0\r\n\r\n", 2), Err(ChunkedError::Shorter));
        assert_eq!(unsigned("1\r\na\r\n0\r\n\r\n", 1), Ok(b"a".to_vec()));
        assert_eq!(unsigned("0001\r\na\r\n000\r\n\r\n", 1), Ok(b"a".to_vec()));
        for body in ["1\r\na\r\n", "1;chunk-signature=00\r\na\r\n", "1;x=y\r\na\r\n"] {
            let verdict = run(decoder(Mode::Signed, 1, &[]), body.as_bytes(), 64);
            assert!(matches!(verdict, Err(ChunkedError::Chunk(_))), "{body}");
        }
    }

    #[test]
    fn a_signed_chunk_beyond_the_limit_is_refused_at_its_header() {
        let mut decoder = Decoder::signed(chain(), 1 << 30, 1024);
        let header = format!("401;chunk-signature={}\r\n", "0".repeat(64));
        assert_eq!(decoder.decode(header.as_bytes()), Err(ChunkedError::ChunkTooLong));
        assert_eq!(decoder.decode(b""), Err(ChunkedError::ChunkTooLong));
        assert_eq!(decoder.finish().err(), Some(ChunkedError::ChunkTooLong));
    }

    #[test]
    fn the_trailer_is_what_was_declared() {
        let with = |declared: &[&str], trailer: &str| {
            let body = format!("1\r\na\r\n0\r\n{trailer}\r\n");
            run(Decoder::unsigned_trailer(1, declared), body.as_bytes(), 64).map(|_| ())
        };
        assert_eq!(with(&[CRC.0], "X-Amz-Checksum-CRC32: AAAAAA==\r\n"), Ok(()));
        for (declared, trailer) in [
            (&[CRC.0][..], ""),
            (&[], "x-amz-checksum-crc32:AAAAAA==\r\n"),
            (&[CRC.0], "x-amz-checksum-crc32c:AAAAAA==\r\n"),
            (&[CRC.0], "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-checksum-crc32:AAAAAA==\r\n"),
            (&[CRC.0], "x-amz-checksum-crc32:AAAAAA==\r\nx-amz-acl:public-read\r\n"),
            (&[CRC.0], "x-amz-checksum-crc32 AAAAAA==\r\n"),
            (&[CRC.0], "x-amz-checksum-crc32:AA\nAA==\r\n"),
            (&[CRC.0], "x-amz-checksum-crc32:AA\0A==\r\n"),
            (&[CRC.0], "x-amz-trailer-signature:00\r\n"),
        ] {
            assert!(matches!(with(declared, trailer), Err(ChunkedError::Trailer(_))), "{trailer:?}");
        }
        let long = format!("x-amz-checksum-crc32:{}\r\n", "A".repeat(5000));
        assert!(matches!(with(&[CRC.0], &long), Err(ChunkedError::Trailer(_))));
        let many = "x-amz-checksum-crc32:A\r\n".repeat(1000);
        assert!(matches!(with(&[CRC.0], &many), Err(ChunkedError::Trailer(_))));
    }

    #[test]
    fn a_trailer_must_be_signed_where_it_is_said_to_be() {
        let body = String::from_utf8(encode(Mode::SignedTrailer, &[b"a"], &[CRC])).unwrap();
        let other = body.replace("AAAAAA==", "AAAAAB==");
        let verdict = |body: &str| run(decoder(Mode::SignedTrailer, 1, &[CRC.0]), body.as_bytes(), 64).err();
        assert_eq!(verdict(&body), None);
        assert_eq!(verdict(&other), Some(ChunkedError::Signature));
        let at = body.find("x-amz-trailer-signature").unwrap();
        assert!(matches!(verdict(&format!("{}\r\n", &body[..at])), Some(ChunkedError::Trailer(_))));
        let swapped = format!("{}{}", &body[at..].trim_end(), "\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        assert!(matches!(verdict(&format!("{}{swapped}", &body[..at])), Some(ChunkedError::Trailer(_))));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_payload(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..6),
            piece in 1usize..300,
        ) {
            let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let whole = chunks.concat();
            for mode in [Mode::Signed, Mode::SignedTrailer, Mode::Unsigned] {
                let body = encode(mode, &slices, &[]);
                let read = run(decoder(mode, whole.len() as u64, &[]), &body, piece);
                prop_assert!(read.is_ok_and(|(payload, _)| payload == whole));
            }
        }

        #[test]
        fn hostile_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300), len in any::<u64>()) {
            for mode in [Mode::Signed, Mode::SignedTrailer, Mode::Unsigned] {
                let _ = run(decoder(mode, len, &[CRC.0]), &body, 13);
            }
        }

        #[test]
        fn hostile_frames_never_panic(body in "[0-9a-f;:\r\nx]{0,200}") {
            let _ = unsigned(&body, 5);
        }
    }
}
