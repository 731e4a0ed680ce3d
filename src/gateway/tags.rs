//! An object's tags: forwarded in the clear, because the store's policies and lifecycle rules read them.

use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::Call;
use super::error::Failure;
use super::headers::{forwarded_to_reads, passed_back};
use super::policy::Right;
use super::upstream::discard_answer;
use crate::ingress::answer::document;
use crate::net::body::{self, Body};
use crate::s3::operation::{ObjectRef, TagAction};
use crate::sigv4::uri::Query;
use crate::store::{Payload, StoreRequest, content_md5};

/// Ten tags of 128 and 256 characters, with what XML makes of them.
const MAX_DOCUMENT_LEN: usize = 64 << 10;

impl Call<'_> {
    /// GetObjectTagging, PutObjectTagging, DeleteObjectTagging.
    pub(super) async fn tagging(
        &mut self,
        object: &ObjectRef,
        version: Option<&str>,
        action: TagAction,
    ) -> Result<Response<Body>, Failure> {
        let (right, method) = match action {
            TagAction::Get => (Right::Read, Method::GET),
            TagAction::Put => (Right::Change, Method::PUT),
            TagAction::Delete => (Right::Change, Method::DELETE),
        };
        let place = self.core.policy.place_of(self.caller, &object.bucket, &object.key, right)?;
        self.exchange.note_bucket(place.id.as_str());
        let mut headers = forwarded_to_reads(&self.accepted.headers);
        let body = if action == TagAction::Put {
            let document = self.document(MAX_DOCUMENT_LEN).await?;
            let md5 = content_md5(&document).ok_or_else(|| Failure::ours("a digest that is no header"))?;
            headers.insert(HeaderName::from_static("content-md5"), md5);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            Payload::Bytes(document)
        } else {
            self.no_body().await?;
            Payload::Empty
        };
        let mut query = Query::default();
        query.push("tagging", "");
        if let Some(version) = version {
            query.push("versionId", version);
        }
        let request = StoreRequest {
            method,
            bucket: Some(&place.upstream_name),
            key: Some(object.key.as_bytes()),
            query,
            headers,
            body,
            ..self.exchange.request(&place.caller)
        };
        let answer = self.exchange.send(&place.upstream, request).await?;
        let mut out = passed_back(&answer.headers);
        for name in [header::ETAG, header::LAST_MODIFIED] {
            out.remove(name);
        }
        let mut response = if action == TagAction::Get {
            let text = answer.bytes(MAX_DOCUMENT_LEN).await?;
            let text = String::from_utf8(text.to_vec());
            document(text.map_err(|_| Failure::upstream("the store's answer is not the XML that S3 answers"))?)
        } else {
            discard_answer(answer).await;
            let mut response = Response::new(body::empty());
            if action == TagAction::Delete {
                *response.status_mut() = StatusCode::NO_CONTENT;
            }
            response
        };
        response.headers_mut().extend(out);
        Ok(response)
    }
}
