use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"
[listen]
address = "127.0.0.1:0"

[[upstream]]
name = "main"
endpoint = "https://store.example"
credentials = { file = "credentials", profile = "provider" }

[keys]
provider = "keyring"
file = "keyring"
passphrase_file = "passphrase"

[[tenant]]
id = "main"

[[bucket]]
name = "data"
upstream = "main"
upstream_name = "data-sealed"
id = "data"
tenant = "main"
kek = "default"

[[credential]]
access_key_id = "AKAPP"
secret_file = "secret"
tenant = "main"
buckets = ["data"]
"#;

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A folder with the files that the examples name.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    private(&folder.path().join("keyring"), "not read here");
    private(&folder.path().join("passphrase"), "a passphrase\n");
    private(&folder.path().join("secret"), "very secret\n");
    private(&folder.path().join("application.secret"), "very secret\n");
    let profiles = "[sealgate]\naws_access_key_id = AKAPP2\naws_secret_access_key = x\n\
                    [provider]\naws_access_key_id=AKUP\naws_secret_access_key = upstream secret\naws_session_token=t\n";
    private(&folder.path().join("credentials"), profiles);
    folder
}

fn load(text: &str) -> Result<Config, Vec<ConfigError>> {
    let folder = folder();
    let path = folder.path().join("gateway.toml");
    fs::write(&path, text).unwrap();
    Config::load(&path).map_err(|errors| errors.errors)
}

fn errors(text: &str) -> Vec<(usize, String)> {
    load(text).err().expect("mistakes").into_iter().map(|error| (error.line, error.message)).collect()
}

#[test]
fn a_good_file_is_settings() {
    let config = load(GOOD).unwrap_or_else(|errors| panic!("{errors:?}"));
    assert_eq!(config.settings.region, "us-east-1");
    let Source::Fixed(identity) = config.upstreams[0].credentials.source() else { panic!() };
    assert_eq!(identity.access_key_id, "AKUP");
    assert!(identity.session_token.is_some());
    assert_eq!(config.settings.credentials[0].secret.expose_secret(), "very secret");
    assert!(config.warnings.is_empty());
}

#[test]
fn all_mistakes_are_named_at_once_with_their_lines() {
    let text = GOOD
        .replace("address = \"127.0.0.1:0\"", "adress = \"127.0.0.1:0\"")
        .replace("upstream = \"main\"\nupstream_name", "upstream = \"mian\"\nupstream_name")
        .replace("secret_file = \"secret\"", "secret_file = \"nowhere\"");
    let found = errors(&text);
    let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
    assert!(found.iter().any(|(line, m)| *line == 3 && m.contains("unknown key `adress`") && m.contains("`address`")));
    assert!(found.iter().any(|(line, m)| *line == 20 && m.contains("no [[upstream]]")), "{found:?}");
    assert!(found.iter().any(|(line, m)| *line == 28 && m.contains("secret_file")), "{found:?}");
    assert!(lines.is_sorted());
}

#[test]
fn what_is_not_built_is_an_unknown_key_or_value() {
    for (from, to) in [
        ("kek = \"default\"", "kek = \"default\"\nmode = \"migrate\""),
        ("kek = \"default\"", "kek = \"default\"\netag = \"sha256\""),
        ("kek = \"default\"", "kek = \"default\"\ncors_origins = [\"app.example\"]"),
        ("kek = \"default\"", "kek = \"default\"\ncors_origins = [\"https://app.example/\"]"),
        ("kek = \"default\"", "kek = \"default\"\ncors_origins = [\"https://*.*.example\"]"),
        ("kek = \"default\"", "kek = \"default\"\ncors_origins = [\"null\"]"),
        ("kek = \"default\"", "kek = \"default\"\nreplica_of = \"x\""),
        ("[[tenant]]", "[audit]\nx = 1\n[[tenant]]"),
        ("[[tenant]]", "[residency]\n[[tenant]]"),
        ("provider = \"keyring\"", "provider = \"pkcs11\""),
        ("provider = \"keyring\"", "provider = \"keyring\"\nlease = \"5m\""),
    ] {
        assert_eq!(errors(&GOOD.replacen(from, to, 1)).len(), 1, "{to}");
    }
}

#[test]
fn what_is_verified_whole_fits_in_the_memory_of_its_readers() {
    let with = |memory: &str, bucket: &str| {
        let text = GOOD.replacen("kek = \"default\"", &format!("kek = \"default\"\n{bucket}"), 1);
        format!("{text}\n[limits]\nmemory = \"{memory}\"\n")
    };
    for (memory, bucket, fits) in [
        ("64 MiB", "verify_whole = \"32 MiB\"", true),
        ("64 MiB", "verify_whole = \"33 MiB\"", false),
        ("64 MiB", "verify_whole = \"16 MiB\"\nanonymous = \"read\"", true),
        ("64 MiB", "verify_whole = \"17 MiB\"\nanonymous = \"read\"", false),
    ] {
        assert_eq!(load(&with(memory, bucket)).is_ok(), fits, "{memory} {bucket}");
    }
}

#[test]
fn references_and_names_are_checked() {
    for (from, to, word) in [
        ("buckets = [\"data\"]", "buckets = [\"other\"]", "no [[bucket]]"),
        ("tenant = \"main\"\nbuckets", "tenant = \"other\"\nbuckets", "no [[tenant]]"),
        ("name = \"data\"", "name = \"da*ta\"", "star"),
        ("name = \"data\"", "name = \"data-*\"", "star"),
        ("upstream_name = \"data-sealed\"", "upstream_name = \"UPPER\"", "not valid"),
        ("https://store.example", "https://user@store.example/path", "no path"),
        ("https://store.example", "ftp://store.example", "http"),
        ("\"127.0.0.1:0\"", "\"nowhere\"", "address"),
        ("\"127.0.0.1:0\"", "17", "quotes"),
        ("[[tenant]]", "[limits]\nmemory = \"1 MiB\"\n[[tenant]]", "size"),
        ("[[tenant]]", "[timeouts]\nidle = 5\n[[tenant]]", "time"),
        ("profile = \"provider\"", "profile = \"nobody\"", "aws_access_key_id"),
    ] {
        let found = errors(&GOOD.replacen(from, to, 1));
        assert!(found.iter().any(|(_, message)| message.contains(word)), "{to}: {found:?}");
    }
    assert!(load(&GOOD.replace("https://store.example", "http://store.example")).unwrap().warnings.len() == 1);
    assert!(load(&GOOD.replace("https://store.example", "http://127.0.0.1:9")).unwrap().warnings.is_empty());
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    let folder = folder();
    let path = folder.path().join("gateway.toml");
    fs::write(&path, GOOD).unwrap();
    fs::set_permissions(folder.path().join("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    let found = Config::load(&path).err().unwrap();
    assert!(found.to_string().contains("secret_file") && !found.to_string().contains("very secret"), "{found}");
}

#[test]
fn two_tenants_never_share_an_upstream_bucket() {
    let second = "\n[[tenant]]\nid = \"b\"\n[[bucket]]\nname = \"x-*\"\nupstream = \"main\"\nupstream_name = \"data-*\"\nid = \"x-*\"\ntenant = \"b\"\nkek = \"k\"\n";
    let found = errors(&format!("{GOOD}{second}"));
    assert!(found.iter().any(|(line, m)| *line == 34 && m.contains("two tenants")), "{found:?}");
    // one store under two names is one store
    let alias = "\n[[upstream]]\nname = \"alias\"\nendpoint = \"https://store.example\"\ncredentials = { file = \"credentials\", profile = \"provider\" }\n";
    let other = second.replace("upstream = \"main\"", "upstream = \"alias\"");
    let found = errors(&format!("{GOOD}{alias}{other}"));
    assert!(found.iter().any(|(_, m)| m.contains("two tenants")), "{found:?}");
    let apart = second.replace("data-*", "apart-*");
    assert!(load(&format!("{GOOD}{apart}")).is_ok());
}

#[test]
fn a_state_bucket_is_no_applications() {
    let state = |name: &str| format!("tenant = \"main\"\nstate_bucket = \"{name}\"\nkek");
    let with = |name: &str| GOOD.replacen("tenant = \"main\"\nkek", &state(name), 1);
    assert!(with("records").contains("records") && load(&with("records")).is_ok());
    let alias = "\n[[upstream]]\nname = \"alias\"\nendpoint = \"https://store.example\"\ncredentials = { file = \"credentials\", profile = \"provider\" }\n";
    let other = |upstream: &str| {
        format!(
            "{alias}\n[[bucket]]\nname = \"other\"\nupstream = \"{upstream}\"\nupstream_name = \"records\"\nid = \"other\"\n\
             tenant = \"main\"\nkek = \"default\"\n"
        )
    };
    // its own bucket, another rule's, and that of one store under another name
    for text in [
        with("data-sealed"),
        format!("{}{}", with("records"), other("main")),
        format!("{}{}", with("records"), other("alias")),
    ] {
        let found = errors(&text);
        assert!(found.iter().any(|(_, message)| message.contains("state_bucket")), "{found:?}");
    }
}

#[test]
fn one_id_is_one_upstream_bucket_and_the_other_way_round() {
    let bucket = |name: &str, upstream_name: &str, id: &str| {
        format!(
            "\n[[bucket]]\nname = \"{name}\"\nupstream = \"main\"\nupstream_name = \"{upstream_name}\"\nid = \"{id}\"\n\
             tenant = \"main\"\nkek = \"default\"\n"
        )
    };
    for (first, second, what) in [
        (bucket("aaa", "store-a", "same"), bucket("bbb", "store-b", "same"), Some("under one id")),
        (bucket("u-*", "b-*", "i-*"), bucket("u-a-*", "b-*", "i-a-*"), Some("two ids")),
        (bucket("u-*", "b-*", "i-*"), bucket("v-*", "c-*", "i-*"), Some("under one id")),
        (bucket("u-*", "b-*", "i-*"), bucket("exact", "ccc", "i-x"), Some("under one id")),
        // the id of `u-www.example`
        (bucket("u-*", "b-*", "*"), bucket("exact", "ccc", "www-0example-"), Some("under one id")),
        // another name for the same
        (bucket("aaa", "store-a", "same"), bucket("bbb", "store-a", "same"), None),
        (bucket("u-*", "b-*", "i-*"), bucket("v-*", "b-*", "i-*"), None),
        (bucket("u-*", "b-*", "i-*"), bucket("v-*", "c-*", "j-*"), None),
    ] {
        let text = format!("{GOOD}{first}{second}");
        match (load(&text), what) {
            (Ok(_), None) => {}
            (Err(found), Some(what)) => assert!(found.iter().any(|e| e.message.contains(what)), "{what}: {found:?}"),
            (loaded, what) => panic!("{what:?}: {:?}", loaded.err()),
        }
    }
}

#[test]
fn a_listener_that_others_reach_in_the_clear_is_warned_about() {
    let warned = |text: &str| load(text).unwrap().warnings.iter().map(|w| w.line).collect::<Vec<_>>();
    let open = GOOD.replace("127.0.0.1:0", "0.0.0.0:0");
    assert_eq!(warned(&open), [3]);
    let admin = format!("{GOOD}\n[admin]\naddress = \"[::]:0\"\n");
    assert_eq!(warned(&admin).len(), 1);
    assert!(warned(&admin.replace("[::]", "[::1]")).is_empty());
}

#[test]
fn the_shipped_files_load() {
    for name in ["gateway.toml", "minimal.toml", "sidecar.toml"] {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
        let text = fs::read_to_string(shipped).unwrap();
        load(&text).unwrap_or_else(|errors| panic!("{name}: {errors:?}"));
    }
}

#[test]
fn every_key_is_in_the_shipped_file_and_in_the_manual() {
    let shipped = include_str!("../../config/gateway.toml");
    let manual = include_str!("../manual/configuration.md");
    for (table, keys) in KEYS {
        for key in *keys {
            assert!(manual.contains(&format!("`{key}`")), "{key} of {table} is not in the manual");
            let is_there = shipped.contains(&format!("{key} ="))
                || shipped.contains(&format!("[{key}]"))
                || shipped.contains(&format!("[[{key}]]"))
                || shipped.contains(&format!(".{key}]"));
            assert!(is_there, "{key} of {table} is not in config/gateway.toml");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever stands in the file, loading it ends with settings or with mistakes that have lines, and shows no secret.
    #[test]
    fn a_damaged_file_is_mistakes(at in 0usize..700, cut in 0usize..40, with in "[\\[\\]=\"a-z0-9* \n]{0,12}") {
        let mut text = GOOD.to_owned();
        let (at, end) = (at.min(text.len()), (at + cut).min(text.len()));
        text.replace_range(at..end, &with);
        if let Err(found) = load(&text) {
            prop_assert!(!found.is_empty());
            for error in found {
                prop_assert!(!error.message.contains("secret\n") && !error.message.contains("upstream secret"));
                prop_assert!(error.line <= text.lines().count() + 1);
            }
        }
    }
}

#[test]
fn an_identity_is_written_down_or_asked_for() {
    use crate::store::identity::Origin;

    let with = |text: &str| {
        let line = GOOD.lines().find(|line| line.starts_with("credentials = { file") && line.contains("provider"));
        GOOD.replacen(line.expect("an upstream's credentials"), &format!("credentials = {text}"), 1)
    };
    let source = |text: &str| {
        let config = load(&with(text)).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
        config.upstreams[0].credentials.source().clone()
    };
    let found = source("{ process = [\"/bin/helper\", \"a b\"] }");
    assert!(matches!(found, Source::Asked(Origin::Process(command)) if command == ["/bin/helper", "a b"]));
    let found = source("{ web_identity = \"https://sts.example\", role_arn = \"arn:r\", token_file = \"token\" }");
    let Source::Asked(Origin::WebIdentity { role_arn, token_file, session_name, .. }) = found else { panic!() };
    assert_eq!((role_arn.as_str(), session_name.as_str()), ("arn:r", "sealgate"));
    assert!(token_file.is_absolute());
    for address in ["169.254.170.2/v2/x", "[fd00:ec2::23]/v1/credentials", "127.0.0.1:99/x"] {
        assert!(matches!(
            source(&format!("{{ container = \"http://{address}\" }}")),
            Source::Asked(Origin::Container { token_file: None, .. })
        ));
    }
    let found = source("{ instance = \"http://169.254.169.254\", role = \"r\" }");
    assert!(matches!(found, Source::Asked(Origin::Instance { role: Some(_), .. })));
    for (text, expected) in [
        ("{ profile = \"provider\" }", "needs one of"),
        ("{ file = \"credentials\", process = [\"/bin/x\"] }", "needs one of"),
        ("{ process = [\"helper\"] }", "whole path"),
        ("{ process = [] }", "whole path"),
        ("{ process = [\"/bin/x\"], role = \"r\" }", "does not belong"),
        ("{ web_identity = \"https://sts.example\" }", "role_arn"),
        ("{ web_identity = \"http://169.254.169.254\", role_arn = \"r\", token_file = \"t\" }", "https://"),
        ("{ container = \"http://169.254.1.1/x\" }", "https://"),
        ("{ instance = \"http://169.254.169.254/latest\" }", "no path"),
        ("{ web_identity = \"http://sts.example\", role_arn = \"r\", token_file = \"t\" }", "https://"),
        ("{ container = \"http://10.0.0.1/x\" }", "https://"),
        ("{ container = \"http://user@127.0.0.1/x\" }", "https://"),
        ("{ instance = \"ftp://127.0.0.1\" }", "no path"),
    ] {
        let all = errors(&with(text));
        assert!(all.iter().any(|(_, message)| message.contains(expected)), "{text}: {all:?}");
    }
}
