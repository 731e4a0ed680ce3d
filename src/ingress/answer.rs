//! What every S3 server answers: nothing but a status, a document, a refusal.

use http::{HeaderValue, Method, Response, StatusCode, header};

use crate::net::body::{self, Body};
use crate::s3::error::S3Error;

/// A status and no body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}

/// An XML document.
#[must_use]
pub fn document(xml: String) -> Response<Body> {
    let mut response = Response::new(body::full(xml));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// A refusal: S3's document, or its status alone where the method or the status has no body. `host` is what it names itself.
#[must_use]
pub fn refusal(error: &S3Error, method: &Method, request_id: &str, host: &str) -> Response<Body> {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let is_bodiless = *method == Method::HEAD || status == StatusCode::NOT_MODIFIED;
    let mut response = if is_bodiless { empty(status) } else { document(error.to_xml(request_id, host)) };
    *response.status_mut() = status;
    if status == StatusCode::RANGE_NOT_SATISFIABLE
        && let Some((_, size)) = error.fields().iter().find(|(name, _)| *name == "ActualObjectSize")
        && let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}"))
    {
        response.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    response
}
