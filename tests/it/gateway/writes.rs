//! Writes that go wrong in the middle: what the client is told is what happened.

use http::Method;
use sealgate::store::settings::Profile;

use super::rig::{Plan, Rig, elements};

#[tokio::test(flavor = "multi_thread")]
async fn no_key_that_a_store_would_change_is_deleted() {
    let rig = Rig::with(Plan { profile: Profile::Minio, ..Plan::default() }).await;
    let app = rig.app();
    app.put("data", "a", "kept").await.unwrap();
    app.put("data", "b", "gone").await.unwrap();
    // to MinIO `/a` is `a`
    rig.provider_client().put("up-data", "/a", "in its way").await.unwrap();
    assert_eq!(app.delete("data", "/a").await.unwrap_err(), (400, "InvalidArgument".to_owned()));
    let keys = ["/a", "//a", "b", ".sealgate/u/x", "/.sealgate/u/x"];
    let objects = keys.map(|key| format!("<Object><Key>{key}</Key></Object>")).concat();
    let done = app.post("data", "", &[("delete", "")], format!("<Delete>{objects}</Delete>")).await.unwrap().text();
    assert_eq!(elements(&done, "Deleted").len(), 1);
    assert_eq!(elements(&done, "Code"), ["InvalidArgument", "InvalidArgument", "AccessDenied", "AccessDenied"]);
    let stored = rig.stored("up-data").await;
    assert!(stored.contains_key("/a") && stored.contains_key("a") && !stored.contains_key("b"));
    assert_eq!(app.send(Method::GET, "data", "a", &[], &[], None).await.unwrap().body, "kept");
}
