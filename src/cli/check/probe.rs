//! What a store can do, tried under the reserved prefix, and compared with what its profile promises.

use std::fmt::Display;

use bytes::Bytes;
use http::Method;

use super::super::Environment;
use super::{MAX_ANSWER_LEN, Tried, send, send_asking};
use crate::gateway::records::CHECK_PREFIX;
use crate::object::PartNumber;
use crate::s3::xml::{
    Answer as XmlAnswer, CompleteMultipartUploadResult, CompletedPart, InitiateMultipartUploadResult,
    complete_multipart_upload_xml, unquoted,
};
use crate::store::settings::Profile;
use crate::store::{Answer, StoreError, Upstream, error_in_200};

/// An ETag that no object has.
const NO_ETAG: &str = "\"00000000000000000000000000000000\"";
/// The smallest part that every store takes in the middle, and a byte more.
static PART: [u8; (5 << 20) + 1] = [0; (5 << 20) + 1];

/// What became of a condition that does not hold.
enum Condition {
    Honoured,
    Ignored,
    Refused(String),
}

impl Condition {
    fn of(result: Result<Answer, StoreError>) -> Self {
        match result {
            Ok(_) => Self::Ignored,
            // where nothing is, If-Match of a write is 404 in S3
            Err(error) if matches!(error.status(), Some(404 | 409 | 412)) => Self::Honoured,
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Honoured => f.write_str("honoured"),
            Self::Ignored => f.write_str("ignored"),
            Self::Refused(error) => write!(f, "refused ({error})"),
        }
    }
}

/// Tries a store. An error is what makes the configuration wrong.
pub(super) async fn run(client: &Upstream, tried: &Tried, tag: &str, env: &mut Environment<'_>) -> Result<(), String> {
    let bucket = tried.names.upstream_name.as_str();
    let mut say =
        |what: &str, how: &dyn Display| env.say(format_args!("{what}: {how}")).map_err(|f| f.message().to_owned());
    send(client, Method::HEAD, (bucket, None), &[], None)
        .await
        .map_err(|error| format!("the bucket cannot be reached: {error}"))?;
    say("reached, and the signature is accepted", &"yes")?;
    let key = format!("{CHECK_PREFIX}{tag}");
    let at = (bucket, Some(key.as_str()));
    send(client, Method::PUT, at, &[], Some(b"probe")).await.map_err(|error| error.to_string())?;
    let found = async {
        let put = async |name, value| send(client, Method::PUT, at, &[(name, value)], Some(b"other")).await;
        let absent = Condition::of(put("if-none-match", "*").await);
        let writes = Condition::of(put("if-match", NO_ETAG).await);
        let reads = Condition::of(send(client, Method::GET, at, &[("if-match", NO_ETAG)], None).await);
        let source = format!("{bucket}/{key}");
        let copy = [
            ("x-amz-copy-source", source.as_str()),
            ("x-amz-copy-source-if-match", NO_ETAG),
            ("x-amz-metadata-directive", "REPLACE"),
        ];
        let copies = Condition::of(send(client, Method::PUT, at, &copy, Some(b"")).await);
        let deletes = Condition::of(send(client, Method::DELETE, at, &[("if-match", NO_ETAG)], None).await);
        (absent, writes, reads, copies, deletes)
    };
    let (absent, writes, reads, copies, deletes) = found.await;
    let removed = send(client, Method::DELETE, at, &[], None).await;
    let takes_any_length = takes_parts_of_any_length(client, (bucket, &format!("{key}-parts"))).await;
    say("If-None-Match on writes", &absent)?;
    say("If-Match on writes", &writes)?;
    say("If-Match on deletes", &deletes)?;
    say("If-Match on reads", &reads)?;
    say("x-amz-copy-source-if-match", &copies)?;
    let parts = match &takes_any_length {
        Ok(true) => "taken".to_owned(),
        Ok(false) => "refused, those of one length taken".to_owned(),
        Err(error) => format!("not tried to the end ({error})"),
    };
    say("parts of several lengths in one upload", &parts)?;
    removed.map_err(|error| error.to_string())?;
    let promised = tried.profile.capabilities();
    let name = Profile::ALL.iter().find(|(_, profile)| *profile == tried.profile).map_or("", |(name, _)| name);
    let yes = |promised| if promised { "yes" } else { "no" };
    let least = format!("{} B", promised.min_part_len);
    say(&format!("what the profile `{name}` promises, and what was found"), &"")?;
    for (what, promised, found) in [
        ("copies honour x-amz-copy-source-if-match", yes(promised.copy_source_if_match), copies.to_string()),
        ("writes take If-None-Match", yes(promised.if_none_match), absent.to_string()),
        ("parts of several lengths", yes(!promised.equal_parts), parts),
        ("smallest part that is not the last", &least, "not tried below 5 MiB".to_owned()),
        ("locks want a checksum of what is stored", yes(promised.locks_by_checksum), "not tried".to_owned()),
        ("metadata that is not ASCII byte for byte", yes(promised.raw_metadata), "not tried".to_owned()),
    ] {
        say(&format!("  {what:<42} {promised:<10}"), &found)?;
    }
    if !matches!(reads, Condition::Honoured) {
        return Err(
            "the store does not honour If-Match on reads: an object that changes within a read would be refused"
                .to_owned(),
        );
    }
    if promised.copy_source_if_match && !matches!(copies, Condition::Honoured) {
        return Err(
            "the profile says that x-amz-copy-source-if-match is honoured, and it is not: a copy could destroy an \
                    object; use profile = \"generic\""
                .to_owned(),
        );
    }
    if promised.if_none_match && matches!(absent, Condition::Refused(_)) {
        return Err(
            "the store refuses If-None-Match on writes, which the gateway sends with its records: no multipart upload \
                    could begin; use profile = \"b2\" or \"gcs\""
                .to_owned(),
        );
    }
    if takes_any_length? || promised.equal_parts {
        Ok(())
    } else {
        Err("the store wants all parts of an upload of one length; use profile = \"r2\"".to_owned())
    }
}

/// Whether an upload may have parts of several lengths; if not, one with parts of one length and a shorter last one must work.
async fn takes_parts_of_any_length(client: &Upstream, (bucket, key): (&str, &str)) -> Result<bool, String> {
    let at = (bucket, Some(key));
    let made = send_asking(client, Method::POST, at, &[("uploads", "")], (&[], Some(Bytes::new()))).await;
    let made =
        made.map_err(|error| error.to_string())?.bytes(MAX_ANSWER_LEN).await.map_err(|error| error.to_string())?;
    let id = InitiateMultipartUploadResult::parse(&made).map_err(|error| error.to_string())?.upload_id;
    let found = async {
        let mut parts = Vec::new();
        for (number, len) in [(1, PART.len() - 1), (2, PART.len()), (3, 1)] {
            let text = number.to_string();
            let asked = [("partNumber", text.as_str()), ("uploadId", id.as_str())];
            let body = Bytes::from_static(&PART).slice(..len);
            let sent = send_asking(client, Method::PUT, at, &asked, (&[], Some(body)))
                .await
                .map_err(|error| error.to_string())?;
            let etag = sent.headers.get(http::header::ETAG).and_then(|value| value.to_str().ok());
            let etag = unquoted(etag.ok_or("a part without an ETag")?).to_owned();
            let number = PartNumber::new(number).map_err(|error| error.to_string())?;
            parts.push(CompletedPart { number, etag, checksum: None });
        }
        if let Ok(()) = complete(client, at, &id, &parts).await {
            return Ok(true);
        }
        parts.remove(1);
        complete(client, at, &id, &parts).await.map(|()| false).map_err(|error| error.to_string())
    };
    let found = found.await;
    if found.is_err() {
        // what is left of it shows in the store's list of uploads
        let _ = send_asking(client, Method::DELETE, at, &[("uploadId", &id)], (&[], None)).await;
    }
    let removed = send(client, Method::DELETE, at, &[], None).await;
    found.and_then(|found| removed.map(|_| found).map_err(|error| error.to_string()))
}

async fn complete(
    client: &Upstream,
    at: (&str, Option<&str>),
    id: &str,
    parts: &[CompletedPart],
) -> Result<(), StoreError> {
    let body = Bytes::from(complete_multipart_upload_xml(parts));
    let headers = [("content-type", "application/xml")];
    let answer = send_asking(client, Method::POST, at, &[("uploadId", id)], (&headers, Some(body))).await?;
    match CompleteMultipartUploadResult::parse(&answer.bytes(MAX_ANSWER_LEN).await?) {
        Ok(XmlAnswer::Done(_)) => Ok(()),
        Ok(XmlAnswer::Failed(error)) => Err(error_in_200(&error)),
        Err(_) => Err(StoreError::BrokenOff),
    }
}
