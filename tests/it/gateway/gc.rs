//! What crashed uploads leave, and what must never be taken for it.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use sealgate::clock::SystemClock;
use sealgate::gateway::records::initiator;
use sealgate::jobs::gc::{Scope, Survey};
use sealgate::net::server::ServerSettings;
use sealgate::sigv4::AccessKeyId;
use sealgate::store::identity::Issuer;

use super::liar::{Asked, Liar, Told};
use super::multipart::{complete, create, part};
use super::rig::{Client, Plan, Rig, Server, identity, noise, rules};

const MIB: usize = 1 << 20;

/// A rig, and a way to its provider that lies.
struct Swept {
    rig: Rig,
    liar: Arc<Liar>,
    _listening: Server,
    store: Client,
    /// Who has an identity of their own at the store.
    initiators: Vec<(String, Arc<Issuer>)>,
}

impl Swept {
    async fn new(state_bucket: Option<&str>) -> Self {
        Self::with(Plan { state_bucket: state_bucket.map(str::to_owned), ..Plan::default() }).await
    }

    async fn with(plan: Plan) -> Self {
        let rig = Rig::with(plan).await;
        let liar = Liar::before(rig.provider.address);
        let listening = Server::start(Arc::clone(&liar), ServerSettings::default()).await;
        let store = Client::new(listening.address, "PROVIDER", "secret of PROVIDER");
        Self { rig, liar, _listening: listening, store, initiators: Vec::new() }
    }

    /// What gc finds in `data`; `delete` takes it away.
    async fn sweep(&self, delete: bool) -> Survey {
        let rules = rules(&self.rig.plan);
        let state_bucket = self.rig.plan.state_bucket.as_deref().unwrap_or("up-data");
        let scope = Scope {
            upstream: &self.store.0,
            bucket: "up-data",
            state_bucket,
            rules: rules.iter().collect(),
            initiators: self.initiators.iter().map(|(id, issuer)| (id.clone(), issuer)).collect(),
        };
        tokio::time::sleep(Duration::from_millis(2)).await;
        let survey = scope.survey(Duration::ZERO, &SystemClock).await.unwrap();
        if delete {
            let mut seen = 0;
            assert_eq!(scope.delete(&survey.leftovers, || seen += 1).await.unwrap(), survey.leftovers.len());
            assert_eq!(seen, survey.leftovers.len());
        }
        survey
    }

    /// An upload to `bucket` with a part in its place and a staged one.
    async fn upload(&self, bucket: &str, key: &str) -> (String, Vec<(u32, String)>) {
        let app = self.rig.app();
        let id = create(&app, bucket, key, &[]).await;
        let first = part(&app, (bucket, key, &id), 1, noise(5 * MIB, 1)).await.unwrap().etag();
        let second = part(&app, (bucket, key, &id), 2, "staged").await.unwrap().etag();
        (id, vec![(1, first), (2, second)])
    }

    /// Ends an upload behind the gateway's back.
    async fn abort(&self, bucket: &str, key: &str, id: &str) {
        let provider = self.rig.provider_client();
        provider.send(Method::DELETE, bucket, key, &[("uploadId", id)], &[], None).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_go_and_live_uploads_of_every_bucket_that_shares_the_records_stay() {
    for state_bucket in [None, Some("up-state")] {
        let swept = Swept::new(state_bucket).await;
        let (live, parts) = swept.upload("data", "live").await;
        let (other, other_parts) = swept.upload("team-red", "live").await;
        let (dead, _) = swept.upload("data", "dead/\u{fc}+ %").await;
        swept.abort("up-data", "dead/\u{fc}+ %", &dead).await;
        let shared = state_bucket.is_some();
        let survey = swept.sweep(true).await;
        assert_eq!(survey.leftovers.len(), 2, "{survey:?}");
        assert_eq!((survey.live, survey.unjudged), (if shared { 4 } else { 2 }, 0));
        assert_eq!((survey.uploads, survey.without_state), (1, 0));
        assert!(swept.sweep(true).await.leftovers.is_empty());
        let app = swept.rig.app();
        complete(&app, ("data", "live", &live), &parts).await.unwrap();
        complete(&app, ("team-red", "live", &other), &other_parts).await.unwrap();
        assert!(swept.sweep(false).await == Survey { lists_uploads: true, ..Survey::default() });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn about_an_upload_in_a_state_bucket_the_store_is_asked_as_who_began_it() {
    let plan = Plan { state_bucket: Some("up-state".to_owned()), has_app_identity: true, ..Plan::default() };
    let mut swept = Swept::with(plan).await;
    let known = vec![
        (initiator(&AccessKeyId::parse("AKOTHER").unwrap()), identity("PROVIDER").into()),
        (initiator(&AccessKeyId::parse("AKALPHA").unwrap()), identity("APPLICATION").into()),
    ];
    let (id, parts) = swept.upload("data", "live").await;
    let state = swept.rig.stored("up-state").await.into_keys().find(|key| key.starts_with(".sealgate/u/")).unwrap();
    let note = swept.rig.provider_client().head("up-state", &state).await.unwrap();
    assert!(!note.header("x-amz-meta-sealgate-upload").contains("AKALPHA"));
    let tell = |who: &'static str, status: u16, code: &'static str| {
        swept.liar.lies(move |asked, told| {
            let said = asked.headers.get("authorization").map_or("", |value| value.to_str().unwrap());
            if asked.path.starts_with("/up-data") && said.contains(who) {
                told.status = StatusCode::from_u16(status).unwrap();
                told.body = format!("<Error><Code>{code}</Code></Error>").into();
            }
        });
    };
    // to the gateway the bucket is another one, or closed; nobody knows who began it, or they hear nothing clear
    let (both, application, provider) = ("Credential=", "Credential=APPLICATION/", "Credential=PROVIDER/");
    for (knows, who, status, code, expected) in [
        (true, provider, 404, "NoSuchUpload", (0, 2, 0)),
        (true, provider, 403, "AccessDenied", (0, 2, 0)),
        (false, provider, 404, "NoSuchUpload", (0, 0, 2)),
        (true, application, 403, "AccessDenied", (0, 0, 2)),
        (true, application, 403, "InvalidAccessKeyId", (0, 0, 2)),
        (true, both, 404, "NoSuchBucket", (2, 0, 0)),
        (true, application, 404, "NoSuchUpload", (2, 0, 0)),
    ] {
        swept.initiators = if knows { known.clone() } else { Vec::new() };
        tell(who, status, code);
        let survey = swept.sweep(false).await;
        assert_eq!((survey.leftovers.len(), survey.live, survey.unjudged), expected, "{who} {code}");
        assert_eq!(survey.lists_uploads, who == application, "{who} {code}");
    }
    swept.liar.tells_the_truth();
    assert_eq!(swept.sweep(true).await.leftovers.len(), 0);
    complete(&swept.rig.app(), ("data", "live", &id), &parts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_no_list_shows_is_alive_all_the_same() {
    let swept = Swept::new(None).await;
    let (id, parts) = swept.upload("data", "live").await;
    // lists of uploads and of buckets that are empty: another node of the store, another account, a lie
    swept.liar.lies(|asked, told| {
        if asked.query.contains("uploads=") {
            told.body = b"<ListMultipartUploadsResult><Bucket>up-data</Bucket><IsTruncated>false</IsTruncated>\
                </ListMultipartUploadsResult>"
                .to_vec();
        }
        if asked.is("GET", "/") {
            told.body = b"<ListAllMyBucketsResult><Buckets></Buckets></ListAllMyBucketsResult>".to_vec();
        }
    });
    let survey = swept.sweep(true).await;
    assert_eq!((survey.leftovers.len(), survey.live, survey.uploads), (0, 2, 0));
    complete(&swept.rig.app(), ("data", "live", &id), &parts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_judged_stays() {
    let swept = Swept::new(None).await;
    let (live, parts) = swept.upload("data", "live").await;
    let (dead, _) = swept.upload("data", "dead").await;
    let provider = swept.rig.provider_client();
    let state = provider.list("up-data", &[("prefix", ".sealgate/u/")]).await.unwrap().text();
    let state = super::rig::elements(&state, "Key");
    let mut notes = Vec::new();
    for key in &state {
        notes.push(provider.head("up-data", key).await.unwrap().header("x-amz-meta-sealgate-upload").to_owned());
    }
    swept.abort("up-data", "dead", &dead).await;
    type Lie = Box<dyn Fn(&Asked, &mut Told) + Send + Sync>;
    let is_state = |asked: &Asked| asked.method == Method::HEAD && asked.path.contains("/.sealgate/u/");
    let refused = |status: u16| -> Lie {
        Box::new(move |asked, told| {
            if asked.query.contains("uploadId=") {
                told.status = StatusCode::from_u16(status).unwrap();
                told.body.clear();
            }
        })
    };
    let lies: Vec<Lie> = vec![
        // no note; one that cannot be read; each upload's in the other's place
        Box::new(move |asked, told| {
            if is_state(asked) {
                told.headers.remove("x-amz-meta-sealgate-upload");
            }
        }),
        Box::new(move |asked, told| {
            if is_state(asked) {
                told.set("x-amz-meta-sealgate-upload", "YQ.YQ");
            }
        }),
        Box::new(move |asked, told| {
            if is_state(asked) {
                let other = notes.iter().find(|note| **note != told.headers["x-amz-meta-sealgate-upload"]).unwrap();
                told.set("x-amz-meta-sealgate-upload", &other.clone());
            }
        }),
        refused(403),
        refused(404),
        refused(503),
    ];
    for (i, lie) in lies.into_iter().enumerate() {
        swept.liar.lies(lie);
        let survey = swept.sweep(true).await;
        assert_eq!((survey.leftovers.len(), survey.unjudged), (0, 4), "lie {i}");
    }
    swept.liar.tells_the_truth();
    // keys that this version does not write
    provider.put("up-data", ".sealgate/later/version", "x").await.unwrap();
    provider.put("up-data", ".sealgate/check/of-a-check-that-was-cut-off", "x").await.unwrap();
    let survey = swept.sweep(true).await;
    assert_eq!((survey.leftovers.len(), survey.live, survey.unjudged), (3, 2, 1));
    assert!(swept.rig.stored("up-data").await.contains_key(".sealgate/later/version"));
    complete(&swept.rig.app(), ("data", "live", &live), &parts).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_without_a_state_are_told_and_left_to_their_writer() {
    let swept = Swept::new(None).await;
    let provider = swept.rig.provider_client();
    let foreign = create(&provider, "up-data", "not/ours", &[]).await;
    let survey = swept.sweep(true).await;
    assert_eq!((survey.uploads, survey.without_state, survey.leftovers.len()), (1, 1, 0));
    // staged parts of an upload whose state is gone are of nobody
    let (id, _) = swept.upload("data", "k").await;
    let state = provider.list("up-data", &[("prefix", ".sealgate/u/")]).await.unwrap().text();
    provider.delete("up-data", &super::rig::elements(&state, "Key")[0]).await.unwrap();
    let survey = swept.sweep(true).await;
    assert_eq!((survey.uploads, survey.without_state, survey.leftovers.len()), (2, 2, 1));
    // a gateway that does not remember it cannot complete the upload, but aborts it
    let other = swept.rig.replica().await;
    let app = Client::new(other.address, "AKALPHA", "secret of AKALPHA");
    assert_eq!(part(&app, ("data", "k", &id), 3, "x").await.unwrap_err().0, 503);
    app.send(Method::DELETE, "data", "k", &[("uploadId", &id)], &[], None).await.unwrap();
    assert_eq!(swept.sweep(false).await.uploads, 1);
    swept.abort("up-data", "not/ours", &foreign).await;
}
