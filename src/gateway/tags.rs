//! An object's tags: forwarded in the clear, because the store's policies and lifecycle rules read them.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::Call;
use super::error::Failure;
use super::headers::{forwarded_to_reads, passed_back};
use super::policy::Right;
use super::upstream::{Source, discard_answer};
use crate::ingress::answer::document;
use crate::net::body::{self, Body};
use crate::s3::operation::{ObjectRef, TagAction};
use crate::s3::xml::Tagging;
use crate::sigv4::uri::Query;
use crate::store::{Payload, StoreRequest, content_md5};

/// Ten tags of 128 and 256 characters, with what XML makes of them.
const MAX_DOCUMENT_LEN: usize = 64 << 10;

impl Call<'_> {
    /// The tags of a copy's source, for a store that is not asked to copy them. A store that knows no tags has none.
    pub(super) async fn tags_of(&self, source: &Source) -> Result<Tagging, Failure> {
        let mut query = Query::default();
        query.push("tagging", "");
        if let Some(version) = &source.version_id {
            query.push("versionId", version.as_str());
        }
        let request = StoreRequest {
            method: Method::GET,
            bucket: Some(&source.place.upstream_name),
            key: Some(source.key.as_bytes()),
            query,
            headers: source.headers.clone(),
            ..self.exchange.request(&source.place.caller)
        };
        match self.exchange.send(&source.place.upstream, request).await {
            Ok(answer) => Ok(Tagging::parse(&answer.bytes(MAX_DOCUMENT_LEN).await?)?),
            // 404: some say so of an object without tags; that the object is gone is told by whoever reads it
            Err(error) if matches!(error.status(), Some(404 | 405 | 501)) => Ok(Tagging(Vec::new())),
            Err(error) => Err(error.into()),
        }
    }

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
        self.exchange.note_place(&place);
        let mut headers = forwarded_to_reads(&self.accepted.headers);
        let body = if action == TagAction::Put {
            // written anew: whoever reads it next reads the same
            let document = Bytes::from(Tagging::of_client(&self.document(MAX_DOCUMENT_LEN).await?)?.to_xml());
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
            document(Tagging::parse(&answer.bytes(MAX_DOCUMENT_LEN).await?)?.to_xml())
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
