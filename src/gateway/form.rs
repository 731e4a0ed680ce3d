//! The upload of an HTML form: its fields are the head of a PutObject, its file is the body.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::error::Failure;
use super::exchange::Exchange;
use super::policy::Right;
use super::upstream::content_length;
use super::{Call, Core, Taken, taken};
use crate::ingress::Accepted;
use crate::ingress::answer::document;
use crate::net::body::{self, Body, BodyError};
use crate::s3::checksum::algorithm_of_header;
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::form::{Form, FormParser, MAX_FORM_LEN, boundary, find};
use crate::s3::metadata::is_field_name;
use crate::s3::operation::{HeaderUse, ObjectRef, amz_header_use};
use crate::s3::post_policy::PostPolicy;
use crate::s3::target::{BucketName, object_key};
use crate::s3::xml::{PostResponse, Tagging};
use crate::sigv4::uri::{Slash, encode};

/// Fields that are a PutObject's headers, besides `x-amz-*`.
const CONTENT_FIELDS: [&str; 7] = [
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "expires",
];
/// Files up to this length are read whole, and the end of their form may be any that S3 takes.
const MAX_WHOLE: usize = 8 << 20;
const MAX_WHOLE_UNSIGNED: usize = 1 << 20;
/// How long such a file may take: 8 MiB by a line of 1.2 Mbit/s.
const WHOLE_TIME: Duration = Duration::from_mins(1);
/// How long a form may take up to its file.
const FORM_TIME: Duration = Duration::from_secs(20);
/// Fields of the signature.
const SIGNATURE_FIELDS: [&str; 4] = ["x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"];

/// What the client wants to hear of a file that is stored.
enum Wanted {
    Status(StatusCode),
    Redirect(String),
}

impl Core {
    /// POST of a form.
    pub(super) async fn post_form(
        self: &Arc<Self>,
        exchange: &Arc<Exchange>,
        mut accepted: Accepted,
        body: &Taken,
        bucket: &BucketName,
    ) -> Result<Response<Body>, Failure> {
        // whoever has not signed yet leaves most places to those who have, and does not keep his for long
        let unsigned = self.forms.try_acquire().map_err(|_| Failure::slow_down("the limit of forms at once"))?;
        exchange.hold([self.reserve(exchange, 3 * MAX_FORM_LEN).await?]);
        let content_type = accepted.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let parser = FormParser::new(&boundary(content_type)?);
        let total = content_length(&accepted.headers).ok_or(S3Error::from(ErrorCode::MissingContentLength))?;
        let mut unread = taken(body).unwrap_or_else(body::empty);
        let read = timeout(FORM_TIME, read_form(parser, &mut unread, total)).await;
        let (form, mut file) = read.map_err(|_| S3Error::from(ErrorCode::RequestTimeout))??;

        let fields: Vec<(&str, &[u8])> =
            form.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let now = self.clock.now();
        let mut lengths = None;
        let caller = match self.verifier.verify_form(&fields, now)? {
            Some((id, policy)) => {
                let policy = PostPolicy::parse(&policy)?;
                let fields: Vec<(&str, &str)> = form.fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                policy.check(&fields, bucket.as_str(), now)?;
                lengths = Some(policy);
                self.policy.caller(&id)?
            }
            None => self.policy.nobody(&accepted.operation)?,
        };
        exchange.note_caller(caller, accepted.operation.name());
        exchange.note_under_way(caller.begin(Instant::now())?);
        drop(unsigned);
        let key = form.one("key")?.filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| S3Error::argument("key", "User key must have a length greater than 0."))?;
        let object = ObjectRef { bucket: bucket.clone(), key: object_key(key.as_bytes().to_vec())? };
        let wanted = wanted(&form)?;
        let mut headers = put_headers(&form)?;
        super::headers::check_forwarded(&headers)?;
        // nothing is held for who may not write
        self.policy.place_of(caller, bucket, &object.key, Right::Write)?;
        // nobody who does not sign holds much memory, and nobody for long
        let max_whole = if lengths.is_some() { MAX_WHOLE } else { MAX_WHOLE_UNSIGNED };
        let whole = match usize::try_from(file.left) {
            Ok(len) if len <= max_whole => {
                exchange.hold([self.reserve(exchange, len + 2 * file.closing.len()).await?]);
                let read = timeout(WHOLE_TIME, file.whole(&mut unread)).await;
                let whole = read.map_err(|_| S3Error::from(ErrorCode::RequestTimeout))??;
                file.left = whole.len() as u64;
                Some(whole)
            }
            _ => None,
        };
        if let Some(policy) = lengths {
            policy.check_length(file.left)?;
        }

        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.left));
        accepted.headers = headers;
        let content = match whole {
            Some(whole) => body::full(whole),
            None => FormBody { file, body: unread }.boxed_unsync(),
        };
        *body.lock().unwrap_or_else(PoisonError::into_inner) = Some(content);
        let at = accepted.at.trim_end_matches('/').to_owned();
        let mut call = Call { core: self, exchange, caller, accepted: &mut accepted, body };
        let done = call.put(&object).await?;

        let etag = done.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
        let location = format!("{}://{at}/{}", exchange.scheme(), encode(key.as_bytes(), Slash::Keep));
        let (status, location, mut response) = match wanted {
            Wanted::Redirect(url) => {
                let separator = if url.contains('?') { '&' } else { '?' };
                let [bucket, key, etag] =
                    [bucket.as_str(), key, &etag].map(|text| encode(text.as_bytes(), Slash::Encode));
                let url = format!("{url}{separator}bucket={bucket}&key={key}&etag={etag}");
                (StatusCode::SEE_OTHER, url, done)
            }
            Wanted::Status(StatusCode::CREATED) => {
                let (bucket, key) = (bucket.as_str().to_owned(), key.to_owned());
                let mut response = document(PostResponse { location: location.clone(), bucket, key, etag }.to_xml());
                response.headers_mut().extend(done.headers().clone());
                (StatusCode::CREATED, location, response)
            }
            Wanted::Status(status) => (status, location, done),
        };
        *response.status_mut() = status;
        let location = HeaderValue::from_str(&location).map_err(|_| Failure::from(ErrorCode::InvalidArgument))?;
        response.headers_mut().insert(header::LOCATION, location);
        Ok(response)
    }
}

/// Reads the form up to its file.
async fn read_form(mut parser: FormParser, body: &mut Body, total: u64) -> Result<(Form, FormFile), Failure> {
    let closing = parser.closing();
    let mut taken = 0u64;
    loop {
        let frame = body.frame().await.ok_or_else(|| parser.ended())?;
        let Ok(data) = frame.map_err(S3Error::from)?.into_data() else { continue };
        let Some((form, before)) = parser.feed(&data)? else {
            taken = taken.saturating_add(data.len() as u64);
            continue;
        };
        // the last line end may be missing
        let shortest = (before + closing.len() - 2) as u64;
        let left = total.checked_sub(shortest).ok_or(S3Error::from(ErrorCode::MalformedPOSTRequest))?.saturating_sub(2);
        // of the last piece, what is behind the form
        let begin = (before as u64).saturating_sub(taken);
        let rest = data.slice(usize::try_from(begin).unwrap_or(usize::MAX).min(data.len())..);
        return Ok((form, FormFile { next: Some(rest), left, closing, held: BytesMut::new(), is_over: false }));
    }
}

/// What is to be answered once the file is stored.
fn wanted(form: &Form) -> Result<Wanted, Failure> {
    let redirect = match form.one("success_action_redirect")? {
        None => form.one("redirect")?,
        found => found,
    };
    // as S3: what is no address is as if it were not there
    if let Some(url) = redirect.filter(|url| url.starts_with("http://") || url.starts_with("https://"))
        && url.bytes().all(|b| b.is_ascii_graphic())
    {
        return Ok(Wanted::Redirect(url.to_owned()));
    }
    Ok(Wanted::Status(match form.one("success_action_status")? {
        Some("200") => StatusCode::OK,
        Some("201") => StatusCode::CREATED,
        _ => StatusCode::NO_CONTENT,
    }))
}

/// The headers of a PutObject that say what the form's fields say.
fn put_headers(form: &Form) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &form.fields {
        let (name, value) = match name.as_str() {
            "acl" => ("x-amz-acl", value.clone()),
            "tagging" => ("x-amz-tagging", Tagging::of_client(value.as_bytes())?.to_header()),
            name if CONTENT_FIELDS.contains(&name) => (name, value.clone()),
            name if SIGNATURE_FIELDS.contains(&name) => continue,
            name if name.starts_with("x-amz-") => {
                let is_known = is_field_name(name)
                    && (amz_header_use(name) == Some(HeaderUse::Forwarded)
                        || name.starts_with("x-amz-meta-") && amz_header_use(name).is_some()
                        || name == "x-amz-checksum-algorithm"
                        || name == "x-amz-sdk-checksum-algorithm"
                        || algorithm_of_header(name).is_some());
                if !is_known {
                    let shown: String = name.chars().take(64).filter(char::is_ascii_graphic).collect();
                    return Err(S3Error::not_implemented(&format!("The field {shown}")).into());
                }
                (name, value.clone())
            }
            _ => continue,
        };
        let refusal = || S3Error::new(ErrorCode::InvalidArgument, "A field of the form is no header.");
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refusal())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refusal())?;
        if headers.insert(name, value).is_some() {
            return Err(S3Error::new(ErrorCode::InvalidArgument, "A field of the form stands twice.").into());
        }
    }
    Ok(headers)
}

/// The file of a form: `left` bytes and then the end of the form, or it fails. A boundary within it is a field behind the
/// file, which would become part of the object.
struct FormFile {
    next: Option<Bytes>,
    left: u64,
    /// What must be left at the end: `\r\n--B--\r\n`.
    closing: Vec<u8>,
    /// The end of what was read, as long as it may be the beginning of a boundary.
    held: BytesMut,
    is_over: bool,
}

impl FormFile {
    /// All of a small file. How its form ends is seen when it is there: other fields may follow, which S3 ignores, and the
    /// last boundary needs no line end.
    async fn whole(&mut self, body: &mut Body) -> Result<Bytes, Failure> {
        let len = usize::try_from(self.left).unwrap_or(MAX_WHOLE) + self.closing.len();
        let mut rest = BytesMut::with_capacity(len);
        rest.extend_from_slice(&self.next.take().unwrap_or_default());
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(S3Error::from)?.into_data() {
                rest.extend_from_slice(&data);
            }
        }
        let boundary = self.closing.get(..self.closing.len() - 4).unwrap_or_default();
        let found = find(&rest, boundary, 0).ok_or(S3Error::from(ErrorCode::MalformedPOSTRequest))?;
        let behind = rest.get(found..).unwrap_or_default();
        let end = self.closing.get(..self.closing.len() - 2).unwrap_or_default();
        if find(behind, end, 0).is_none() {
            return Err(ErrorCode::MalformedPOSTRequest.into());
        }
        rest.truncate(found);
        Ok(rest.freeze())
    }

    /// The bytes of the file that are certain, of `held` and `piece`.
    fn certain(&mut self, piece: &Bytes) -> Result<Bytes, BodyError> {
        let boundary_len = self.closing.len() - 4;
        self.held.extend_from_slice(piece);
        let boundary = self.closing.get(..boundary_len).unwrap_or_default();
        let found = find(&self.held, boundary, 0);
        // what is behind the last byte that no boundary can reach back to
        let certain = found.unwrap_or_else(|| self.held.len().saturating_sub(self.closing.len()));
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(certain);
        let bytes = self.held.split_to(len).freeze();
        self.left -= len as u64;
        if found.is_some() && self.left > 0 || self.left == 0 && !self.closing.starts_with(&self.held) {
            return Err(BodyError::FormGoesOn);
        }
        Ok(bytes)
    }
}

/// The file of a large form, as it comes.
struct FormBody {
    file: FormFile,
    body: Body,
}

impl HttpBody for FormBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while !self.file.is_over {
            let piece = match self.file.next.take() {
                Some(piece) => piece,
                None => match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => {
                        self.file.is_over = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => {
                        let file = &mut self.file;
                        file.is_over = true;
                        let is_whole = file.left == 0 && *file.held == *file.closing;
                        return Poll::Ready((!is_whole).then_some(Err(BodyError::FormGoesOn)));
                    }
                },
            };
            match self.file.certain(&piece) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Err(error) => {
                    self.file.is_over = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.file.is_over
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
