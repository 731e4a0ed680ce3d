//! Sub-resources that mean the same for ciphertext: ACL, policy, life cycle, CORS, versioning, object lock and the like. Their
//! documents pass as they are, in both directions; they hold nothing of an object's content.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::Call;
use super::error::Failure;
use super::headers::{forwarded, forwarded_to_reads, passed_back};
use super::policy::Right;
use crate::net::body::{self, Body};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::{SubResourceAction, SubResourceRequest};
use crate::s3::xml;
use crate::sigv4::uri::Query;
use crate::store::{Payload, StoreRequest, content_md5};

/// The longest document: a life cycle of 1000 rules with all their filters.
const MAX_DOCUMENT_LEN: usize = 1 << 20;
/// Sub-resources whose documents name what belongs perhaps to others, and what the gateway's own identity may reach.
const NAMES_DESTINATIONS: [&str; 2] = ["replication", "notification"];

impl Call<'_> {
    /// Passes a request about a sub-resource to the store, and its answer back.
    pub(super) async fn sub_resource(&mut self, request: &SubResourceRequest) -> Result<Response<Body>, Failure> {
        let right = match (request.action, &request.key) {
            (SubResourceAction::Get, None) => Right::List,
            (SubResourceAction::Get, Some(_)) => Right::Read,
            _ => Right::Change,
        };
        let place = match &request.key {
            Some(key) => self.core.policy.place_of(self.caller, &request.bucket, key, right)?,
            None => self.core.policy.place(self.caller, &request.bucket, right)?,
        };
        self.exchange.note_place(&place);
        if request.action == SubResourceAction::Put
            && NAMES_DESTINATIONS.contains(&request.resource)
            && !place.rule.destinations
        {
            let message = "The configuration of this bucket does not let applications name destinations.";
            return Err(S3Error::new(ErrorCode::AccessDenied, message).into());
        }
        let method = match request.action {
            SubResourceAction::Get => Method::GET,
            SubResourceAction::Put => Method::PUT,
            SubResourceAction::Delete => Method::DELETE,
            SubResourceAction::Post => Method::POST,
        };
        let (body, headers) = if matches!(request.action, SubResourceAction::Put | SubResourceAction::Post) {
            let document = self.document(MAX_DOCUMENT_LEN).await?;
            if !document.is_empty() && !is_readable(request.resource, &document) {
                let is_policy = request.resource == "policy";
                return Err(if is_policy { ErrorCode::MalformedPolicy } else { ErrorCode::MalformedXML }.into());
            }
            if request.resource == "restore" && xml::restores_elsewhere(&document)? {
                return Err(S3Error::not_implemented("A restore that selects from content").into());
            }
            let mut headers = forwarded(&self.accepted.headers);
            if !document.is_empty() {
                let md5 = content_md5(&document).ok_or_else(|| Failure::ours("a digest that is no header"))?;
                headers.insert(HeaderName::from_static("content-md5"), md5);
                headers.insert(header::CONTENT_TYPE, content_type(request.resource));
            }
            (Payload::Bytes(document), headers)
        } else {
            self.no_body().await?;
            let is_read = request.action == SubResourceAction::Get;
            let headers = &self.accepted.headers;
            (Payload::Empty, if is_read { forwarded_to_reads(headers) } else { forwarded(headers) })
        };
        let mut query = Query::default();
        query.push(request.resource, "");
        if let Some(version) = &request.version_id {
            query.push("versionId", version.as_str());
        }
        let asked = StoreRequest {
            method,
            bucket: Some(&place.upstream_name),
            key: request.key.as_ref().map(crate::object::ObjectKey::as_bytes),
            query,
            headers,
            body,
            ..self.exchange.request(&place.caller)
        };
        let answer = self.exchange.send(&place.upstream, asked).await?;
        let (status, headers) = (answer.status, answer.headers.clone());
        let document = self.core.read_document(self.exchange, answer, MAX_DOCUMENT_LEN).await?;
        self.exchange.hold(document.leases);
        let is_empty = document.bytes.trim_ascii().is_empty();
        if !is_readable(request.resource, &document.bytes) && !is_empty
            || is_empty && request.action == SubResourceAction::Get
        {
            return Err(Failure::upstream("the store's answer is not the document that S3 answers"));
        }
        let mut out = HeaderMap::new();
        if !is_empty {
            out.insert(header::CONTENT_TYPE, content_type(request.resource));
        }
        out.extend(passed_back(&headers));
        for name in [header::ETAG, header::LAST_MODIFIED] {
            out.remove(name);
        }
        let mut response = Response::new(body::empty());
        if status != StatusCode::NO_CONTENT && !is_empty {
            response = Response::new(body::full(document.bytes));
        }
        *response.status_mut() = status;
        *response.headers_mut() = out;
        Ok(response)
    }
}

/// What the documents of a sub-resource are.
fn content_type(resource: &str) -> HeaderValue {
    HeaderValue::from_static(if resource == "policy" { "application/json" } else { "application/xml" })
}

/// Whether it is a document as S3 has them: whoever reads it next reads the same.
fn is_readable(resource: &str, document: &[u8]) -> bool {
    match resource {
        "policy" => serde_json::from_slice::<serde::de::IgnoredAny>(document).is_ok(),
        _ => xml::is_plain_document(document),
    }
}
