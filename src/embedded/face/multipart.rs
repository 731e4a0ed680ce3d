//! Uploads in parts.

use http::{Response, StatusCode};

use super::headers::{
    SOURCE_VERSION_ID, VERSION_ID, extras, meta, read_condition, version_header, version_of, write_condition,
};
use super::{Face, MAX_DOCUMENT_LEN, copied, key_text, name_of, owner};
use crate::embedded::{
    self, ETag, ListUploadsRequest, PartCopy, PartWriter, ReadRange, Store, StoreError, Upload, UploadId, VersionId,
};
use crate::ingress::answer::{document, empty};
use crate::ingress::{Accepted, fields};
use crate::net::body::Body;
use crate::object::ObjectKey;
use crate::s3::conditional::Conditions;
use crate::s3::error::S3Error;
use crate::s3::operation::{Listing, Operation, UploadRef};
use crate::s3::target::BucketName;
use crate::s3::xml::{
    CompleteMultipartUploadResult, CopyKind, InitiateMultipartUploadResult, ListMultipartUploadsResult,
    ListPartsResult, ListedPart, ListedUpload, parse_complete_multipart_upload,
};
use crate::sigv4::Headers;

fn upload_of(upload: &UploadRef) -> Result<Upload, S3Error> {
    Ok(Upload {
        bucket: name_of(&upload.object.bucket)?,
        key: upload.object.key.clone(),
        id: UploadId::new(&upload.upload_id),
    })
}

/// The size of the object that a part is copied from.
fn source_size(
    store: &Store,
    bucket: &embedded::BucketName,
    key: &ObjectKey,
    version: Option<VersionId>,
) -> Result<u64, StoreError> {
    match store.head_version(bucket, key, version) {
        Ok(info) => Ok(info.size),
        Err(StoreError::DeleteMarker { by_id: false, .. }) => Err(StoreError::NoSuchKey),
        Err(StoreError::DeleteMarker { .. }) => {
            Err(StoreError::InvalidRequest("the source of a copy is a delete marker"))
        }
        Err(error) => Err(error),
    }
}

impl Face {
    /// Every operation on uploads.
    pub(super) async fn multipart(
        &self,
        operation: &Operation,
        accepted: &mut Accepted,
        body: Body,
    ) -> Result<Response<Body>, S3Error> {
        match operation {
            Operation::CreateMultipartUpload(object) => {
                let (bucket, key) = (name_of(&object.bucket)?, object.key.clone());
                let (meta, extras) = (meta(&accepted.headers)?, extras(&accepted.headers)?);
                let upload = self.blocking(move |store| store.create_upload_with(&bucket, &key, meta, extras)).await?;
                let result = InitiateMultipartUploadResult {
                    bucket: object.bucket.as_str().to_owned(),
                    key: key_text(object.key.as_bytes()),
                    upload_id: upload.id.as_str().to_owned(),
                };
                Ok(document(result.to_xml()))
            }
            Operation::UploadPart { upload, part } => {
                let body = accepted.body(body, false, None, None)?;
                let (upload, part) = (upload_of(upload)?, *part);
                let begin = move |store: &Store| store.upload_part(&upload, part);
                let (written, out) = self.receive(body, begin, PartWriter::write, PartWriter::commit).await?;
                Self::written(&written, out)
            }
            Operation::UploadPartCopy { upload, part, source, range } => {
                let from_version = version_of(source.version_id.as_deref())?;
                let received = fields(&accepted.headers);
                let from_condition = read_condition(Conditions::of_copy_source(Headers::new(&received))?);
                let (from_bucket, from_key) = (name_of(&source.object.bucket)?, source.object.key.clone());
                let (upload, part, range) = (upload_of(upload)?, *part, *range);
                let written = self
                    .blocking(move |store| {
                        let size = source_size(store, &from_bucket, &from_key, from_version)?;
                        let range = match range {
                            None => ReadRange::Whole,
                            Some(range) => match range.resolve_copy_source(size) {
                                Ok(range) => ReadRange::Span { first: range.start(), last: range.end() - 1 },
                                Err(_) => return Err(StoreError::InvalidRange { size }),
                            },
                        };
                        let (from_bucket, from_key) = (&from_bucket, &from_key);
                        let copy = PartCopy { from_bucket, from_key, from_version, from_condition, range };
                        store.upload_part_copy(&upload, part, &copy)
                    })
                    .await?;
                let mut response = document(copied(&written).to_xml(CopyKind::Part));
                version_header(response.headers_mut(), SOURCE_VERSION_ID, written.from_version)?;
                Ok(response)
            }
            Operation::CompleteMultipartUpload(upload) => {
                let condition = write_condition(&accepted.headers)?;
                let xml = accepted.collect(body, MAX_DOCUMENT_LEN).await?;
                let parts = parse_complete_multipart_upload(&xml)?;
                let parts: Vec<_> = parts.into_iter().map(|part| (part.number, ETag::new(&part.etag))).collect();
                let of = upload_of(upload)?;
                let written = self.blocking(move |store| store.complete_upload(&of, &parts, condition)).await?;
                let result = CompleteMultipartUploadResult {
                    location: format!("/{}", upload.object.bucket.as_str()),
                    bucket: upload.object.bucket.as_str().to_owned(),
                    key: key_text(upload.object.key.as_bytes()),
                    etag: written.etag.to_string(),
                    checksum: None,
                };
                let mut response = document(result.to_xml());
                version_header(response.headers_mut(), VERSION_ID, written.version)?;
                Ok(response)
            }
            Operation::AbortMultipartUpload(upload) => {
                let upload = upload_of(upload)?;
                self.blocking(move |store| store.abort_upload(&upload)).await?;
                Ok(empty(StatusCode::NO_CONTENT))
            }
            Operation::ListParts { upload, part_number_marker, max_parts } => {
                self.list_parts(upload, *part_number_marker, *max_parts).await
            }
            Operation::ListMultipartUploads { bucket, listing, key_marker, upload_id_marker } => {
                self.list_uploads(bucket, listing, key_marker, upload_id_marker).await
            }
            other => Err(S3Error::not_implemented(other.name())),
        }
    }

    async fn list_parts(&self, upload: &UploadRef, marker: u32, max_parts: u32) -> Result<Response<Body>, S3Error> {
        let of = upload_of(upload)?;
        let page = self.blocking(move |store| store.list_parts(&of, marker, max_parts)).await?;
        let result = ListPartsResult {
            bucket: upload.object.bucket.as_str().to_owned(),
            key: key_text(upload.object.key.as_bytes()),
            upload_id: upload.upload_id.clone(),
            part_number_marker: marker,
            next_part_number_marker: page.next.map(crate::object::PartNumber::get),
            max_parts,
            is_truncated: page.next.is_some(),
            initiator: Some(owner()),
            owner: Some(owner()),
            storage_class: Some("STANDARD".to_owned()),
            checksum: None,
            parts: page
                .parts
                .into_iter()
                .map(|part| ListedPart {
                    number: part.number,
                    last_modified: part.modified,
                    etag: part.etag.to_string(),
                    size: part.size,
                    checksums: Vec::new(),
                })
                .collect(),
        };
        Ok(document(result.to_xml()))
    }

    async fn list_uploads(
        &self,
        bucket: &BucketName,
        listing: &Listing,
        key_marker: &str,
        upload_id_marker: &str,
    ) -> Result<Response<Body>, S3Error> {
        let name = name_of(bucket)?;
        let request = ListUploadsRequest {
            prefix: listing.prefix.clone().into_bytes(),
            delimiter: listing.delimiter.clone().unwrap_or_default().into_bytes(),
            key_marker: key_marker.as_bytes().to_vec(),
            id_marker: Some(upload_id_marker).filter(|id| !id.is_empty() && !key_marker.is_empty()).map(UploadId::new),
            max_uploads: listing.max,
        };
        let page = self.blocking(move |store| store.list_uploads(&name, &request)).await?;
        let (next_key, next_id) = page.next.map_or((None, None), |(key, id)| (Some(key), id));
        let result = ListMultipartUploadsResult {
            bucket: bucket.as_str().to_owned(),
            prefix: listing.prefix.clone(),
            delimiter: listing.delimiter.clone(),
            key_marker: key_marker.to_owned(),
            upload_id_marker: upload_id_marker.to_owned(),
            is_truncated: next_key.is_some(),
            next_key_marker: next_key.as_deref().map(key_text),
            next_upload_id_marker: next_id.map(|id| id.as_str().to_owned()),
            max_uploads: listing.max,
            encoding: listing.encoding,
            uploads: page
                .uploads
                .into_iter()
                .map(|upload| ListedUpload {
                    key: key_text(upload.key.as_bytes()),
                    upload_id: upload.id.as_str().to_owned(),
                    initiated: upload.initiated,
                    initiator: Some(owner()),
                    owner: Some(owner()),
                    storage_class: Some("STANDARD".to_owned()),
                    checksum: None,
                })
                .collect(),
            common_prefixes: page.common_prefixes.iter().map(|prefix| key_text(prefix)).collect(),
        };
        Ok(document(result.to_xml()))
    }
}
