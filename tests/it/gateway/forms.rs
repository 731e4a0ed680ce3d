//! Uploads of HTML forms: signed by their policy, or by nobody where the bucket is open.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use sealgate::clock::{Clock, SystemClock, Timestamp};
use sealgate::digest::{HmacSha256, hex};
use sealgate::gateway::settings::Limits;
use sealgate::store::{Answer, Identity, StoreError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::lies::Lied;
use super::rig::{Client, Plan, REGION, Rig, elements};

const FILE: &str =
    "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\n";

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    HmacSha256::new(key).mac([text])
}

/// The fields of a form of AKALPHA's, with what signs them.
fn signed(fields: &[(&str, &str)], extra_conditions: &str) -> Vec<(String, String)> {
    let date = SystemClock.now().to_string().replace(['-', ':'], "");
    let day = &date[..8];
    let expiration = Timestamp::from_unix_millis(SystemClock.now().unix_millis() + 60_000);
    let mut all: Vec<(String, String)> = fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    all.push(("X-Amz-Algorithm".to_owned(), "AWS4-HMAC-SHA256".to_owned()));
    all.push(("X-Amz-Credential".to_owned(), format!("AKALPHA/{day}/{REGION}/s3/aws4_request")));
    all.push(("X-Amz-Date".to_owned(), date.clone()));
    let mut conditions = vec!["{\"bucket\":\"data\"}".to_owned()];
    conditions.extend(all.iter().filter(|(name, _)| !name.starts_with("x-ignore-")).map(|(name, value)| {
        if name == "key" { "[\"starts-with\",\"$key\",\"\"]".to_owned() } else { format!("{{\"{name}\":\"{value}\"}}") }
    }));
    let policy =
        format!("{{\"expiration\":\"{expiration}\",\"conditions\":[{}{extra_conditions}]}}", conditions.join(","));
    let policy = STANDARD.encode(policy);
    let key = [REGION.as_bytes(), b"s3", b"aws4_request"]
        .iter()
        .fold(mac(b"AWS4secret of AKALPHA", day.as_bytes()), |key, text| mac(&key, text));
    all.push(("X-Amz-Signature".to_owned(), hex(&mac(&key, policy.as_bytes()))));
    all.push(("Policy".to_owned(), policy));
    all
}

fn form(fields: &[(String, String)], file: &str, end: &str) -> String {
    let field = |(name, value): &(String, String)| {
        format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    format!("{}{FILE}{file}{end}", fields.iter().map(field).collect::<String>())
}

/// A button behind the file, as in the examples of S3's documentation.
const BEHIND: &str = "\r\n--B\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nUpload\r\n--B--\r\n";
const END: &str = "\r\n--B--\r\n";

async fn post(client: &Client, bucket: &str, body: String) -> Result<Answer, StoreError> {
    let headers = [("content-type", "multipart/form-data; boundary=B")];
    client.sent(Identity::Nobody, Method::POST, (bucket, ""), &[], &headers, Some(body.into())).await
}

/// Status and code of a refusal.
fn refusal(outcome: Result<Answer, StoreError>) -> (u16, String) {
    match outcome {
        Ok(answer) => (answer.status.as_u16(), "done".to_owned()),
        Err(StoreError::Credentials | StoreError::Signature) => (403, "credentials".to_owned()),
        Err(error) => (error.status().unwrap_or(0), error.code().map_or("", |code| code.name()).to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_form_becomes_a_sealed_object() {
    let rig = Rig::new().await;
    let app = rig.app();
    let fields = [
        ("key", "up/${filename}"),
        ("Content-Type", "text/x-form"),
        ("x-amz-meta-note", "of a form"),
        ("success_action_status", "201"),
        ("x-ignore-this", "y"),
        ("x-amz-checksum-crc32", "NhCmhg=="),
    ];
    let answer = post(&app, "data", form(&signed(&fields, ""), "hello", END)).await.unwrap();
    assert_eq!(answer.status, 201);
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("http://127.0.0.1:") && location.ends_with("/data/up/a%20b.txt"), "{location}");
    let text = String::from_utf8(answer.bytes(10_000).await.unwrap().to_vec()).unwrap();
    assert_eq!(
        (elements(&text, "Key"), elements(&text, "Bucket")),
        (vec!["up/a b.txt".to_owned()], vec!["data".to_owned()])
    );
    let got = app.get_with("data", "up/a b.txt", &[("x-amz-checksum-mode", "ENABLED")]).await.unwrap();
    assert_eq!((got.text().as_str(), got.header("content-type")), ("hello", "text/x-form"));
    assert_eq!((got.header("x-amz-meta-note"), got.header("x-amz-checksum-crc32")), ("of a form", "NhCmhg=="));
    assert_eq!(elements(&text, "ETag"), [got.etag().replace('"', "&quot;")]);
    // the provider has ciphertext of the length that this plaintext has
    let stored = rig.stored("up-data").await;
    app.put("data", "put", "hello").await.unwrap();
    assert_eq!(stored.get("up/a b.txt"), rig.stored("up-data").await.get("put"));

    // the file may hold whatever is no boundary, in any length
    let file = format!("{}\r\n--C\r\n--\r\n-", "\r\n--".repeat(50_000));
    let redirect = [("key", "big"), ("success_action_redirect", "https://app.example/done?a=b")];
    let answer = post(&app, "data", form(&signed(&redirect, ""), &file, END)).await;
    // the client's own upstream type follows no redirects
    assert!(matches!(answer, Err(StoreError::Redirected)));
    assert_eq!(app.get("data", "big").await.unwrap().text(), file);
    assert_eq!(refusal(post(&app, "data", form(&signed(&[("key", "empty")], ""), "", END)).await).0, 204);
    assert_eq!(app.get("data", "empty").await.unwrap().text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_its_policy_does_not_allow_stores_nothing() {
    let lied = Lied::new().await;
    let app = lied.app();
    let before = lied.liar.requests.lock().unwrap().len();
    let good = || signed(&[("key", "k")], "");
    let changed = |change: &dyn Fn(&mut Vec<(String, String)>)| {
        let mut fields = good();
        change(&mut fields);
        form(&fields, "x", END)
    };
    let set = |name: &'static str, value: &'static str| {
        changed(&move |fields| {
            fields.retain(|(other, _)| other != name);
            fields.push((name.to_owned(), value.to_owned()));
        })
    };
    let denied = (403, "AccessDenied".to_owned());
    let argument = (400, "InvalidArgument".to_owned());
    for (name, body, bucket, expected) in [
        (
            "another signature",
            set("X-Amz-Signature", "00"),
            "data",
            (400, "AuthorizationQueryParametersError".to_owned()),
        ),
        ("another policy", set("Policy", "e30="), "data", (403, "credentials".to_owned())),
        ("an extra field", set("acl", "public-read"), "data", denied.clone()),
        ("another bucket", changed(&|_| {}), "other", denied.clone()),
        ("a field twice", changed(&|fields| fields.push(("KEY".to_owned(), "z".to_owned()))), "data", argument.clone()),
        ("no signature", changed(&|fields| fields.truncate(1)), "data", denied.clone()),
        ("a reserved key", set("key", ".sealgate/u/x"), "data", denied.clone()),
        ("no key", changed(&|fields| drop(fields.remove(0))), "data", denied.clone()),
        (
            "too short",
            form(&signed(&[("key", "k")], ",[\"content-length-range\",2,9]"), "x", END),
            "data",
            (400, "EntityTooSmall".to_owned()),
        ),
        (
            "too long",
            form(&signed(&[("key", "k")], ",[\"content-length-range\",0,2]"), "xyz", END),
            "data",
            (400, "EntityTooLarge".to_owned()),
        ),
        (
            "a customer's key",
            form(&signed(&[("key", "k"), ("x-amz-server-side-encryption-customer-key", "x")], ""), "x", END),
            "data",
            (501, "NotImplemented".to_owned()),
        ),
        (
            "a copy",
            form(&signed(&[("key", "k"), ("x-amz-copy-source", "other/k")], ""), "x", END),
            "data",
            (501, "NotImplemented".to_owned()),
        ),
        ("no file", form(&good(), "x", END).replace("name=\"file\"", "name=\"fill\""), "data", argument.clone()),
    ] {
        assert_eq!(refusal(post(&app, bucket, body).await), expected, "{name}");
    }
    assert_eq!(before, lied.liar.requests.lock().unwrap().len());

    // what is found out while the file is read: no object appears
    let (behind, large) = (BEHIND, "x".repeat(9 << 20));
    let wrong_checksum = signed(&[("key", "k"), ("x-amz-checksum-crc32", "AAAAAA==")], "");
    for (name, body) in [
        ("a field behind a large file", form(&good(), &large, behind)),
        ("no line end behind a large file", form(&good(), &large, "\r\n--B--")),
        ("something behind a large form", form(&good(), &large, "\r\n--B--\r\nyz")),
        ("another end", form(&good(), "x", "\r\n--B-x\r\n")),
        ("another end of a field behind", form(&good(), "x", &behind.replace("--B--", "--C--"))),
        ("no end", form(&good(), "xxxxxxxxxxxxxxxx", "")),
        ("a wrong checksum", form(&wrong_checksum, "x", END)),
    ] {
        let expected = if name == "a wrong checksum" { "BadDigest" } else { "MalformedPOSTRequest" };
        assert_eq!(refusal(post(&app, "data", body).await), (400, expected.to_owned()), "{name}");
        assert_eq!(app.head("data", "k").await.unwrap_err().0, 404, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_form_ends_as_browsers_and_libraries_end_it() {
    let rig = Rig::new().await;
    let app = rig.app();
    let ranged = signed(&[("key", "k")], ",[\"content-length-range\",3145728,3145729]");
    let file = "y".repeat(3 << 20);
    for end in [END, BEHIND, "\r\n--B--", "\r\n--B--\r\nyz"] {
        let taken = refusal(post(&app, "data", form(&ranged, &file, end)).await);
        assert_eq!(taken.0, 204, "{}: {end}", taken.1);
        assert_eq!(app.get("data", "k").await.unwrap().text(), file, "{end}");
        app.delete("data", "k").await.unwrap();
    }
    for (file, end) in [("", "\r\n--B--"), ("z", "\r\n--B--"), ("", BEHIND)] {
        let taken = refusal(post(&app, "data", form(&signed(&[("key", "short")], ""), file, end)).await);
        assert_eq!(taken.0, 204, "{}: {file:?} {end}", taken.1);
        assert_eq!(app.get("data", "short").await.unwrap().text(), file, "{end}");
    }
    // the length that the policy allows is the file's own
    let longer = refusal(post(&app, "data", form(&ranged, &format!("{file}yy"), BEHIND)).await);
    assert_eq!(longer, (400, "EntityTooLarge".to_owned()));
    // where a bucket is the host, the address has no other
    let headers = [("content-type", "multipart/form-data; boundary=B"), ("host", "data.s3.test")];
    let body = form(&signed(&[("key", "a b"), ("success_action_status", "201")], ""), "x", END);
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        headers[1].1,
        headers[0].1,
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("<Location>http://data.s3.test/a%20b</Location>"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_a_signature_needs_an_open_bucket() {
    let lied = Lied::new().await;
    let app = lied.app();
    let fields = [("key".to_owned(), "k".to_owned())];
    for bucket in ["data", "other", "nothing"] {
        assert_eq!(refusal(post(&app, bucket, form(&fields, "x", END)).await), (403, "AccessDenied".to_owned()));
    }
    assert!(lied.liar.requests.lock().unwrap().is_empty());
    // and a form is not signed like other requests
    let headers = [("content-type", "multipart/form-data; boundary=B")];
    let refused = app.send(Method::POST, "data", "", &[], &headers, Some(form(&fields, "x", END).into())).await;
    assert_eq!(refused.unwrap_err(), (400, "InvalidArgument".to_owned()));
}

/// Begins a form, and reads what the gateway says before it has the file.
async fn told_before_the_file(rig: &Rig, bucket: &str, fields: &[(String, String)]) -> String {
    let body = form(fields, "", "");
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    let head = format!(
        "POST /{bucket} HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=B\r\ncontent-length: {}\r\n\r\n",
        body.len() + 100_000
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = vec![0; 500];
    let read = tokio::time::timeout(Duration::from_secs(8), stream.read(&mut answer)).await;
    let len = read.expect("the file is waited for").unwrap();
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_read_for_who_may_not_write() {
    let rig = Rig::new().await;
    let key = ("key".to_owned(), "k".to_owned());
    // "other" may be read without a signature, and no more
    let told = told_before_the_file(&rig, "other", std::slice::from_ref(&key)).await;
    assert!(told.starts_with("HTTP/1.1 403"), "{told}");
    let reserved = signed(&[("key", ".sealgate/x")], "");
    assert!(told_before_the_file(&rig, "data", &reserved).await.starts_with("HTTP/1.1 403"));
    let unknown = signed(&[("key", "k"), ("x-amz-copy-source", "other/k")], "");
    assert!(told_before_the_file(&rig, "data", &unknown).await.starts_with("HTTP/1.1 501"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_refused_form_is_drained() {
    let rig = Rig::new().await;
    let body = form(&[("key".to_owned(), "k".to_owned())], &"x".repeat(300_000), END);
    let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
    let head = format!(
        "POST /data HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=B\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    // the connection is whole: another request on it is answered
    stream.write_all(b"GET /data/k HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 403").count(), 2, "{answers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_whose_signature_is_not_read_leave_room_for_others() {
    let limits = Limits { requests: 4, ..Plan::default().limits };
    let rig = Rig::with(Plan { limits, ..Plan::default() }).await;
    let app = rig.app();
    app.put("data", "k", "x").await.unwrap();
    // three who begin a form and say no more
    let mut slow = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(rig.gateway.address).await.unwrap();
        let head = "POST /data HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=B\r\ncontent-length: 9000\r\n\r\n--B";
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let busy = refusal(post(&app, "data", form(&signed(&[("key", "f")], ""), "x", END)).await);
    assert_eq!(busy, (503, "SlowDown".to_owned()));
    for _ in 0..3 {
        assert_eq!(app.get("data", "k").await.unwrap().text(), "x");
    }
    drop(slow);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(refusal(post(&app, "data", form(&signed(&[("key", "f")], ""), "x", END)).await).0, 204);
}
