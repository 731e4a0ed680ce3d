//! DeleteObject and DeleteObjects.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};

use super::Call;
use super::error::Failure;
use super::headers::{forwarded, passed_back};
use super::policy::Right;
use super::records::is_reserved;
use super::upstream::discard_answer;
use crate::ingress::answer;
use crate::net::body::{self, Body};
use crate::s3::error::{ErrorCode, S3Error};
use crate::s3::operation::ObjectRef;
use crate::s3::target::BucketName;
use crate::s3::xml::{DeleteFailure, DeleteRequest, DeleteResult};
use crate::sigv4::uri::Query;
use crate::store::{Payload, StoreRequest, content_md5};

/// The longest DeleteObjects: no longer document is parsed.
const MAX_DELETE_LEN: usize = 2 << 20;
/// The longest answer: 1000 keys of 1024 bytes, each of which XML may have to escape.
const MAX_ANSWER_LEN: usize = 8 << 20;

impl Call<'_> {
    /// DeleteObject.
    pub(super) async fn delete(
        &mut self,
        object: &ObjectRef,
        version: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let place = self.core.policy.place_of(self.caller, &object.bucket, &object.key, Right::Change)?;
        self.exchange.note_place(&place);
        let mut headers = forwarded(&self.accepted.headers);
        headers.extend(self.write_condition(&place, &object.key).await?);
        let mut query = Query::default();
        if let Some(version) = version {
            query.push("versionId", version);
        }
        let request = StoreRequest {
            method: Method::DELETE,
            bucket: Some(&place.upstream_name),
            key: Some(object.key.as_bytes()),
            query,
            headers,
            ..self.exchange.request(&place.caller)
        };
        let answer = self.exchange.send(&place.upstream, request).await?;
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        *response.headers_mut() = passed_back(&answer.headers);
        response.headers_mut().remove(header::LAST_MODIFIED);
        response.headers_mut().remove(header::ETAG);
        discard_answer(answer).await;
        Ok(response)
    }

    /// DeleteObjects. Keys that no object may have are refused one by one; the others are deleted all the same.
    pub(super) async fn delete_many(&mut self, bucket: &BucketName) -> Result<Response<Body>, Failure> {
        let place = self.core.policy.place(self.caller, bucket, Right::Change)?;
        self.exchange.note_place(&place);
        if !self.accepted.declared()?.has_integrity() && !self.accepted.signs_body() {
            return Err(S3Error::new(
                ErrorCode::InvalidRequest,
                "DeleteObjects needs Content-MD5 or a checksum of its body.",
            )
            .into());
        }
        let document = self.document(MAX_DELETE_LEN).await?;
        let mut request = DeleteRequest::parse(&document)?;
        let mut refused = Vec::new();
        request.objects.retain(|object| match place.admits(&object.key) {
            Ok(()) => true,
            Err(error) => {
                refused.push(DeleteFailure {
                    key: String::from_utf8_lossy(object.key.as_bytes()).into_owned(),
                    version_id: object.version_id.clone(),
                    code: error.code().name().to_owned(),
                    message: error.message().to_owned(),
                });
                false
            }
        });
        let mut result = if request.objects.is_empty() {
            DeleteResult { deleted: Vec::new(), errors: Vec::new() }
        } else {
            let document = Bytes::from(request.to_xml());
            let mut headers = forwarded(&self.accepted.headers);
            let md5 = content_md5(&document).ok_or_else(|| Failure::ours("a digest that is no header"))?;
            headers.insert(HeaderName::from_static("content-md5"), md5);
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            let mut query = Query::default();
            query.push("delete", "");
            let request = StoreRequest {
                method: Method::POST,
                bucket: Some(&place.upstream_name),
                query,
                headers,
                body: Payload::Bytes(document),
                ..self.exchange.request(&place.caller)
            };
            let answer = self.exchange.send(&place.upstream, request).await?;
            let document = self.core.read_document(self.exchange, answer, MAX_ANSWER_LEN).await?;
            self.exchange.hold(document.leases);
            DeleteResult::parse(&document.bytes)?
        };
        // nobody asked for the gateway's own keys
        result.deleted.retain(|object| !is_reserved(object.key.as_bytes()));
        result.errors.retain(|error| !is_reserved(error.key.as_bytes()));
        // the store's words stay here
        for error in &mut result.errors {
            let code = ErrorCode::from_name(&error.code).filter(|code| !code.is_ours());
            let code = code.unwrap_or(ErrorCode::InternalError);
            code.name().clone_into(&mut error.code);
            code.message().clone_into(&mut error.message);
        }
        result.errors.extend(refused);
        Ok(answer::document(result.to_xml()))
    }
}
