//! Leaving: seal, open, inspect, in bulk, and by a second implementation.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::python;
use super::support::{PROGRAM, Run, Sandbox, mode};

const NAME: [&str; 6] = ["--tenant", "main", "--bucket", "b", "--key", "a/b"];
const PASS: [&str; 2] = ["--passphrase-file", "passphrase"];

fn seal(sandbox: &Sandbox, more: &[&str]) -> Run {
    sandbox.run(&[&["seal"], &PASS[..], &NAME, more].concat())
}

fn open(sandbox: &Sandbox, more: &[&str]) -> Run {
    sandbox.run(&[&["open"], &PASS[..], &NAME, more].concat())
}

fn sealed(sandbox: &Sandbox, content: &[u8]) {
    fs::write(sandbox.path("in"), content).unwrap();
    seal(sandbox, &["in", "body"]).ends(0, "with a recovery record");
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[2]
    })
    .take(len)
    .collect()
}

#[test]
fn a_file_comes_back_whole_at_every_boundary() {
    let sandbox = Sandbox::new();
    for len in [0, 1, 65_535, 65_536, 65_537, 131_072, 4_194_304, 4_194_305] {
        let content = noise(len);
        sealed(&sandbox, &content);
        let total = fs::metadata(sandbox.path("body")).unwrap().len();
        assert_eq!(Some(total), sealgate::format::geometry::object_len(len as u64));
        open(&sandbox, &["body", "out"]).ends(0, &format!("opened {len} bytes"));
        assert!(fs::read(sandbox.path("out")).unwrap() == content);
        assert_eq!(mode(&sandbox.path("out")), 0o600, "plaintext is its owner's");
        sandbox.run(&["open", "--recover", "--tenant", "main", "body", "again", PASS[0], PASS[1]]).ends(0, "not bound");
        assert!(fs::read(sandbox.path("again")).unwrap() == content);
        for name in ["in", "body", "body.sealgate", "out", "again"] {
            fs::remove_file(sandbox.path(name)).unwrap();
        }
    }
}

#[test]
fn sealing_twice_gives_different_bytes_and_no_plaintext() {
    let sandbox = Sandbox::new();
    let marker = b"MARKER-of-the-plaintext-MARKER";
    sealed(&sandbox, &marker.repeat(100));
    seal(&sandbox, &["--header", "h2", "--meta", "colour=MARKER-of-metadata", "in", "body2"]).ends(0, "");
    let (one, two) = (fs::read(sandbox.path("body")).unwrap(), fs::read(sandbox.path("body2")).unwrap());
    assert_ne!(one[..64], two[..64]);
    for bytes in [one, two, fs::read(sandbox.path("h2")).unwrap()] {
        assert!(!bytes.windows(6).any(|w| w == b"MARKER"));
    }
}

#[test]
fn metadata_travels_and_the_header_may_be_text_raw_or_on_stdout() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("in"), b"x").unwrap();
    let content = ["--content-type", "text/plain", "--cache-control", "no-store", "--meta", "colour=grün"];
    let run = seal(&sandbox, &[&content[..], &["--header", "-", "in", "body"]].concat()).ends(0, "");
    let header = run.out.trim().to_owned();
    assert!(!sandbox.path("body.sealgate").exists());
    let text = format!("--header-text={header}");
    let run = open(&sandbox, &[&text, "--json", "body", "out"]).ends(0, "");
    let account: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(account["metadata"]["content-type"], "text/plain");
    assert_eq!(account["metadata"]["cache-control"], "no-store");
    assert_eq!(account["metadata"]["x-amz-meta-colour"], "grün");
    assert_eq!((&account["length"], &account["parts"], &account["kind"]), (&json!(1), &json!(1), &json!("simple")));
    let raw = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &header).unwrap();
    fs::write(sandbox.path("raw"), raw).unwrap();
    fs::write(sandbox.path("text"), format!("{header}\n")).unwrap();
    open(&sandbox, &["--header", "raw", "--verify", "body"]).ends(0, "opened 1 bytes");
    open(&sandbox, &["--header", "text", "--verify", "body"]).ends(0, "SHA-256 2d711642");
    fs::write(sandbox.path("text"), format!("{header}\n\n")).unwrap();
    open(&sandbox, &["--header", "text", "--verify", "body"]).ends(2, "base64url");
    seal(&sandbox, &["--meta", "no-equals-sign", "in", "b2"]).ends(64, "NAME=VALUE");
    seal(&sandbox, &["--meta", "a=1", "--meta", "a=2", "in", "b2"]).ends(64, "twice");
    seal(&sandbox, &["--meta", &format!("a={}", "x".repeat(1400)), "in", "b2"]).ends(2, "too large");
    assert!(!sandbox.path("b2").exists());
}

#[test]
fn another_name_another_key_or_a_changed_byte_is_refused_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    sealed(&sandbox, &noise(200_000));
    let names = sandbox.names();
    let other = |tenant, bucket, key| {
        let name = ["--tenant", tenant, "--bucket", bucket, "--key", key];
        sandbox.run(&[&["open"], &PASS[..], &name, &["body", "out"]].concat())
    };
    other("main", "b", "a/c").ends(2, "another tenant, bucket or key");
    other("main", "c", "a/b").ends(2, "another tenant, bucket or key");
    other("elsewhere", "b", "a/b").ends(2, "no key of this tenant");
    let whole = fs::read(sandbox.path("body")).unwrap();
    // the second and the last chunk, padding, record, trailer, footer
    for at in [70_000, 200_010, whole.len() - 350, whole.len() - 250, whole.len() - 100, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(sandbox.path("body"), &changed).unwrap();
        open(&sandbox, &["body", "out"]).ends(2, "body");
        let run = open(&sandbox, &["body", "-"]).ends(2, "body");
        assert_eq!(run.out, "", "not a byte leaves before all is verified");
    }
    fs::write(sandbox.path("body"), &whole[..whole.len() - 1]).unwrap();
    open(&sandbox, &["body", "out"]).ends(2, "size");
    fs::write(sandbox.path("body"), &whole).unwrap();
    sandbox.keys("suspend default").ends(0, "");
    open(&sandbox, &["body", "out"]).ends(2, "suspended");
    sandbox.keys("resume default").ends(0, "");
    sandbox.keys("rotate default").ends(0, "");
    let run = open(&sandbox, &["--verify", "body"]).ends(0, "opened");
    assert!(!run.err.contains("compromised"));
    sandbox.keys("compromise default --version 1").ends(0, "");
    open(&sandbox, &["--verify", "body"]).ends(0, "marked as compromised");
    fs::write(sandbox.path("out"), "precious").unwrap();
    open(&sandbox, &["body", "out"]).ends(2, "not overwritten");
    assert_eq!(fs::read(sandbox.path("out")).unwrap(), b"precious");
    fs::remove_file(sandbox.path("out")).unwrap();
    open(&sandbox, &["missing", "out"]).ends(1, "missing");
    open(&sandbox, &["body", "no/such/folder/out"]).ends(1, "no/such/folder");
    let after: Vec<String> = sandbox.names().into_iter().filter(|name| name != "keyring.lock").collect();
    assert_eq!(after, names, "nothing is left behind");
}

#[test]
fn usage_errors_are_64_and_come_before_the_passphrase() {
    let sandbox = Sandbox::new();
    sealed(&sandbox, b"x");
    for arguments in [
        "open body",
        "open --verify body out --tenant main --bucket b --key k",
        "open --verify . --tenant main --bucket b",
        "open --tenant main body out",
        "open --tenant Main --bucket b --key k body out",
        "open --tenant main --bucket b --key k --recover body out",
        "open --manifest m",
        "seal in out",
        "seal --tenant main --bucket b_c --key k in out",
        "inspect",
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        sandbox.run(&words).ends(64, "");
    }
    seal(&sandbox, &["--key", "again", "in", "out"]).ends(64, "cannot be used multiple times");
}

#[test]
fn only_a_regular_file_is_sealed() {
    let sandbox = Sandbox::new();
    Command::new("mkfifo").arg(sandbox.path("fifo")).status().unwrap();
    fs::create_dir(sandbox.path("folder")).unwrap();
    for input in ["fifo", "folder", "/dev/zero"] {
        seal(&sandbox, &[input, "body"]).ends(2, "is not a regular file");
    }
    fs::write(sandbox.path("real"), b"x").unwrap();
    symlink("real", sandbox.path("link")).unwrap();
    seal(&sandbox, &["link", "body"]).ends(0, "");
    open(&sandbox, &["--header", "fifo", "body", "out"]).ends(2, "is not a regular file");
    open(&sandbox, &["fifo", "out"]).ends(1, "");
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|facts| std::os::unix::fs::MetadataExt::uid(&facts) == 0)
}

/// Starts sealing a large sparse file and waits until it is at it.
fn sealing_large(sandbox: &Sandbox) -> std::process::Child {
    let file = fs::File::create(sandbox.path("large")).unwrap();
    file.set_len(1 << 30).unwrap();
    let child = sandbox.command(&[&["seal"], &PASS[..], &NAME, &["large", "body"]].concat()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let read = || {
        let io = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap_or_default();
        let count = io.lines().find_map(|line| line.strip_prefix("rchar: ").map(str::to_owned));
        count.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
    };
    // what the process may not show (it is not dumpable) is waited for by the clock
    let shows = is_root();
    let start = Instant::now();
    while if shows { read() < 20 << 20 } else { start.elapsed() < Duration::from_millis(600) } {
        assert!(Instant::now() < deadline, "sealing began");
        std::thread::sleep(Duration::from_millis(1));
    }
    child
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let sandbox = Sandbox::new();
    for change in ["grow", "shrink", "write"] {
        let child = sealing_large(&sandbox);
        let mut file = fs::OpenOptions::new().write(true).open(sandbox.path("large")).unwrap();
        match change {
            "grow" => file.set_len((1 << 30) + 1).unwrap(),
            "shrink" => file.set_len(1 << 20).unwrap(),
            _ => file.write_all(b"other bytes, the same length").unwrap(),
        }
        drop(file);
        Run::of(child.wait_with_output().unwrap()).ends(2, "changed while it was read");
        assert_eq!(sandbox.names(), ["keyring", "large", "passphrase", "phrase"], "{change}");
    }
}

#[test]
fn kill_leaves_no_file_under_the_name() {
    let sandbox = Sandbox::new();
    let mut child = sealing_large(&sandbox);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(sandbox.names(), ["keyring", "large", "passphrase", "phrase"], "not even a temporary file");
}

#[test]
fn a_full_disk_fails_and_leaves_nothing() {
    let sandbox = Sandbox::new();
    sealed(&sandbox, &noise(300_000));
    let names = sandbox.names();
    let limited = |line: &str| {
        let script = format!("trap '' XFSZ; ulimit -f 200; exec \"$0\" {line}");
        let output = Command::new("sh").args(["-c", &script, PROGRAM]).current_dir(sandbox.path("")).output();
        Run::of(output.unwrap())
    };
    let args = format!("{} {}", PASS.join(" "), NAME.join(" "));
    limited(&format!("open {args} body out")).ends(1, "out: ");
    limited(&format!("seal {args} in body2")).ends(1, "body2: ");
    assert_eq!(sandbox.names(), names);
}

#[test]
fn a_reader_that_goes_away_ends_the_work_quietly() {
    let sandbox = Sandbox::new();
    sealed(&sandbox, &noise(3_000_000));
    let mut child = sandbox.command(&[&["open"], &PASS[..], &NAME, &["body", "-"]].concat()).spawn().unwrap();
    drop(child.stdout.take());
    let run = Run::of(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.err.as_str()), (Some(1), ""));
    let run = sandbox.command(&[&["open"], &PASS[..], &NAME, &["body", "-"]].concat()).output().unwrap();
    assert!(run.stdout == noise(3_000_000) && run.status.success());
}

#[test]
fn inspect_shows_claims_without_a_key() {
    let sandbox = Sandbox::new();
    sealed(&sandbox, &noise(70_000));
    fs::remove_file(sandbox.path("keyring")).unwrap();
    let run = sandbox.run(&["inspect", "--json", "body"]).ends(0, "");
    let facts: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(facts["header"]["plaintext_length"], 70_000);
    assert_eq!(facts["body"]["plaintext_length"], 70_000);
    assert_eq!(facts["body"]["chunks"], 2);
    assert_eq!(facts["header"]["kek_id"], facts["body"]["tail"]["recovery_record_kek_id"]);
    sandbox.run(&["inspect", "body"]).ends(0, "Claims that nothing has verified");
    fs::write(sandbox.path("cut"), noise(513)).unwrap();
    sandbox.run(&["inspect", "cut"]).ends(0, "no footer stands at the end");
    fs::write(sandbox.path("cut"), noise(100)).unwrap();
    sandbox.run(&["inspect", "cut"]).ends(0, "no object has this size");
    sandbox.run(&["inspect", "--header-text", "AQ", "cut"]).ends(2, "cut short");
    fs::write(sandbox.path("empty"), b"").unwrap();
    sandbox.run(&["inspect", "empty"]).ends(0, "no object has this size");
}

/// A folder of objects under odd keys, sealed one by one, and the manifest that names them.
fn odd_objects(sandbox: &Sandbox) -> Vec<(String, Vec<u8>)> {
    let long = "x".repeat(1000);
    let keys = ["plain.txt", "a", "a/b", "a//b", "dir/", "../up", "/abs", "ü nï 100%", "new\nline", &long];
    let mut manifest = String::new();
    let mut objects = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let content = noise(1000 * index);
        fs::write(sandbox.path("in"), &content).unwrap();
        let body = format!("objects/{index}");
        let name = ["--tenant", "main", "--bucket", "b", "--key", key];
        sandbox.run(&[&["seal"], &PASS[..], &name, &["in", &body]].concat()).ends(0, "");
        let header = fs::read_to_string(sandbox.path(&format!("{body}.sealgate"))).unwrap();
        manifest.push_str(&json!({"body": body, "key": key, "header": header.trim()}).to_string());
        manifest.push('\n');
        objects.push(((*key).to_owned(), content));
    }
    fs::write(sandbox.path("manifest"), manifest).unwrap();
    objects
}

fn open_manifest(sandbox: &Sandbox, more: &[&str]) -> Run {
    let fixed = ["open", "--manifest", "manifest", "--tenant", "main", "--bucket", "b", "out"];
    sandbox.run(&[&fixed[..], &PASS, more].concat())
}

#[test]
fn a_manifest_opens_in_bulk_resumes_and_ends_with_an_account() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("objects")).unwrap();
    let objects = odd_objects(&sandbox);
    let run = open_manifest(&sandbox, &["--json"]).ends(0, "");
    let account: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&account["opened"], &account["objects"]), (&json!(10), &json!(10)));
    let out = sandbox.path("out/main/b");
    let names = ["plain.txt", "a", "a%d/b", "a%d/%/b", "dir/%", "%2E%2E/up", "%/abs", "ü nï 100%25", "new%0Aline"];
    for (name, (key, content)) in names.iter().zip(&objects) {
        assert!(fs::read(out.join(name)).unwrap() == *content, "{key}");
    }
    assert_eq!(walk(&out), 10);
    assert!(!sandbox.path("up").exists());
    open_manifest(&sandbox, &[]).ends(0, "0 opened (0 B; 0 of them by their recovery record), 10 already there");
    // one output gone, one changed, one body damaged, one line nonsense
    fs::remove_file(out.join("a")).unwrap();
    fs::write(out.join("plain.txt"), b"mine").unwrap();
    fs::remove_file(out.join("%/abs")).unwrap();
    let mut body = fs::read(sandbox.path("objects/6")).unwrap();
    body[5] ^= 1;
    fs::write(sandbox.path("objects/6"), body).unwrap();
    let mut manifest = fs::OpenOptions::new().append(true).open(sandbox.path("manifest")).unwrap();
    manifest.write_all(b"{\"nonsense\":1}\n").unwrap();
    let run = open_manifest(&sandbox, &["--json"]).ends(2, "3 objects were refused");
    let account: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&account["opened"], &account["already_there"], &account["refused"]), (&json!(1), &json!(7), &json!(3)));
    assert!(run.err.contains("manifest line 11") && run.err.contains("does not authenticate"), "{}", run.err);
    assert_eq!(fs::read(out.join("plain.txt")).unwrap(), b"mine", "nothing is overwritten");
    assert!(!out.join("%/abs").exists());
}

fn walk(folder: &Path) -> usize {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path) } else { 1 }
        })
        .sum()
}

/// Seals `content` under a name, with a body of a fixed time of modification.
fn object(sandbox: &Sandbox, bucket: &str, key: &str, body: &str, content: &str) -> String {
    fs::write(sandbox.path("in"), content).unwrap();
    let name = ["--tenant", "main", "--bucket", bucket, "--key", key];
    sandbox.run(&[&["seal"], &PASS[..], &name, &["in", body]].concat()).ends(0, "");
    age(sandbox, body);
    let header = fs::read_to_string(sandbox.path(&format!("{body}.sealgate"))).unwrap();
    json!({"body": body, "key": key, "bucket": bucket, "header": header.trim()}).to_string()
}

fn age(sandbox: &Sandbox, name: &str) {
    let time = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    fs::File::options().write(true).open(sandbox.path(name)).unwrap().set_modified(time).unwrap();
}

#[test]
fn objects_of_one_key_in_two_buckets_or_under_one_name_never_stand_for_each_other() {
    let sandbox = Sandbox::new();
    let long = |end: &str, c: &str| format!("{}{end}", c.repeat(200));
    let keys =
        [long(".", "x"), long(".", "y"), long("..", "x"), long("..", "y"), long("../foo", "x"), "foo".to_owned()];
    let mut lines: Vec<String> = keys
        .iter()
        .enumerate()
        .map(|(i, key)| object(&sandbox, "b1", key, &format!("o{i}"), &format!("content {i}")))
        .collect();
    lines.push(object(&sandbox, "b1", "report.txt", "p1", "AAAA"));
    lines.push(object(&sandbox, "b2", "report.txt", "p2", "BBBB"));
    fs::write(sandbox.path("manifest"), lines.join("\n")).unwrap();
    open_manifest(&sandbox, &[]).ends(0, "8 objects: 8 opened");
    assert_eq!(walk(&sandbox.path("out")), 9, "eight outputs and the journal");
    let read = |name: &str| fs::read_to_string(sandbox.path("out/main").join(name)).unwrap();
    assert_eq!((read("b1/report.txt"), read("b2/report.txt")), ("AAAA".to_owned(), "BBBB".to_owned()));
    open_manifest(&sandbox, &[]).ends(0, "8 already there");
    // a second object of the same full name: said, not passed over
    let again = object(&sandbox, "b1", "report.txt", "p3", "CCCC");
    fs::write(sandbox.path("manifest"), again).unwrap();
    open_manifest(&sandbox, &[]).ends(2, "not overwritten");
    assert_eq!(read("b1/report.txt"), "AAAA");
}

#[test]
fn what_only_looks_like_an_earlier_output_is_not_taken_for_one() {
    let sandbox = Sandbox::new();
    let line = object(&sandbox, "b", "k", "o", "AAAA");
    fs::write(sandbox.path("manifest"), &line).unwrap();
    open_manifest(&sandbox, &[]).ends(0, "1 opened");
    // the body was sealed anew: same length, same time
    let other = object(&sandbox, "b", "k", "o2", "BBBB");
    fs::rename(sandbox.path("o2"), sandbox.path("o")).unwrap();
    open_manifest(&sandbox, &[]).ends(2, "not overwritten");
    let header = serde_json::from_str::<Value>(&other).unwrap()["header"].clone();
    let mut changed: Value = serde_json::from_str(&line).unwrap();
    changed["header"] = header;
    fs::write(sandbox.path("manifest"), changed.to_string()).unwrap();
    open_manifest(&sandbox, &[]).ends(2, "not overwritten");
    // a file that was there before, of the right length and time
    fs::remove_dir_all(sandbox.path("out")).unwrap();
    fs::create_dir_all(sandbox.path("out/main/b")).unwrap();
    fs::write(sandbox.path("out/main/b/k"), "mine").unwrap();
    age(&sandbox, "out/main/b/k");
    open_manifest(&sandbox, &[]).ends(2, "not overwritten");
    // an output that was changed, its length and time kept
    fs::remove_dir_all(sandbox.path("out")).unwrap();
    open_manifest(&sandbox, &[]).ends(0, "1 opened");
    fs::write(sandbox.path("out/main/b/k"), "XXXX").unwrap();
    open_manifest(&sandbox, &[]).ends(2, "not overwritten");
    // a journal whose last line was cut
    fs::remove_dir_all(sandbox.path("out")).unwrap();
    open_manifest(&sandbox, &[]).ends(0, "1 opened");
    let mut journal = fs::OpenOptions::new().append(true).open(sandbox.path("out/.%journal")).unwrap();
    journal.write_all(b"0123").unwrap();
    open_manifest(&sandbox, &[]).ends(0, "1 already there");
}

#[test]
fn a_folder_within_itself_odd_companions_and_unreadable_places_are_told_apart() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("objects")).unwrap();
    for key in ["x", "x.sealgate"] {
        fs::write(sandbox.path("in"), key.repeat(2000)).unwrap();
        let name = ["--tenant", "main", "--bucket", "b", "--key", key];
        let to = format!("objects/{key}");
        sandbox.run(&[&["seal", "--header", "-"], &PASS[..], &name, &["in", &to]].concat()).ends(0, "");
    }
    let folder = ["open", "--tenant", "main", "--bucket", "b", "--recover", PASS[0], PASS[1]];
    sandbox.run(&[&folder[..], &["objects", "objects"]].concat()).ends(64, "a folder of its own");
    sandbox.run(&[&folder[..], &["objects", "objects/out"]].concat()).ends(0, "2 objects: 2 opened");
    sandbox.run(&[&folder[..], &["objects", "objects/out"]].concat()).ends(0, "2 objects: 0 opened");
    assert_eq!(fs::read_to_string(sandbox.path("objects/out/x.sealgate")).unwrap(), "x.sealgate".repeat(2000));
    let manifest = ["open", "--manifest", "objects", "--tenant", "main", "--bucket", "b", "o3", PASS[0], PASS[1]];
    sandbox.run(&manifest).ends(1, "");
    fs::write(sandbox.path("m"), "{\"\\u001b[31m\":1}").unwrap();
    let manifest = ["open", "--manifest", "m", "--tenant", "main", "--bucket", "b", "o3", PASS[0], PASS[1]];
    let run = sandbox.run(&manifest).ends(2, "manifest line 1");
    assert!(!run.err.contains('\u{1b}'), "{:?}", run.err);
}

#[test]
fn a_header_that_cannot_be_written_takes_its_body_with_it() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("in"), b"x").unwrap();
    seal(&sandbox, &["--header", "body", "in", "body"]).ends(2, "not overwritten");
    seal(&sandbox, &["--header", "no/such/folder", "in", "body"]).ends(1, "no/such/folder");
    assert!(!sandbox.path("body").exists());
}

#[test]
fn a_folder_opens_in_bulk_with_headers_beside_or_by_records() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("objects/deep/er")).unwrap();
    for key in ["one", "deep/er/two", "deep/three"] {
        fs::write(sandbox.path("in"), key).unwrap();
        let name = ["--tenant", "main", "--bucket", "b", "--key", key];
        sandbox.run(&[&["seal"], &PASS[..], &name, &["in", &format!("objects/{key}")]].concat()).ends(0, "");
    }
    fs::create_dir_all(sandbox.path("objects/.sealgate/u")).unwrap();
    fs::write(sandbox.path("objects/.sealgate/u/state"), b"state of an upload").unwrap();
    fs::remove_file(sandbox.path("objects/one.sealgate")).unwrap();
    let folder = ["open", "--tenant", "main", "--bucket", "b"];
    let run = sandbox.run(&[&folder[..], &PASS, &["objects", "out"]].concat()).ends(2, "1 objects were refused");
    assert!(run.out.contains("3 objects: 2 opened"), "{}", run.out);
    assert_eq!(fs::read(sandbox.path("out/deep/er/two")).unwrap(), b"deep/er/two");
    sandbox
        .run(&[&folder[..], &PASS, &["--recover", "objects", "out"]].concat())
        .ends(0, "1 of them by their recovery");
    assert_eq!(fs::read(sandbox.path("out/one")).unwrap(), b"one");
    sandbox.run(&[&folder[..4], &PASS, &["b", "--verify", "objects"]].concat()).ends(64, "");
}

/// The keys in the form that `keys export` gives, of the vectors' one KEK.
fn vector_keys(sandbox: &Sandbox, file: &Value) {
    let text = json!({ file["kek_id"].as_str().unwrap(): file["kek"] }).to_string();
    sandbox.secret_file("keys.json", &text);
}

#[test]
fn open_refuses_every_vector_that_must_be_refused_and_opens_the_others() {
    for name in ["reference-v1.json", "object-v1.json"] {
        let sandbox = Sandbox::empty();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
        let file: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        vector_keys(&sandbox, &file);
        let (mut refused, mut opened) = (0, 0);
        for vector in file["vectors"].as_array().unwrap() {
            let Some(body) = vector["body"].as_str() else { continue };
            let bytes = |hexadecimal: &str| {
                let mut out = vec![0; hexadecimal.len() / 2];
                sealgate::crypto::wrap::decode_hex(hexadecimal, &mut out).unwrap();
                out
            };
            fs::write(sandbox.path("body"), bytes(body)).unwrap();
            fs::write(sandbox.path("header"), vector["header"].as_str().unwrap()).unwrap();
            let or = |field: &str| vector[field].as_str().or(file[field].as_str()).unwrap().to_owned();
            let (tenant, bucket) = (or("tenant"), or("bucket"));
            let key = String::from_utf8(bytes(vector["key"].as_str().unwrap())).unwrap();
            let arguments = [
                "open",
                "--keys",
                "keys.json",
                "--tenant",
                &tenant,
                "--bucket",
                &bucket,
                "--key",
                &key,
                "--header",
                "header",
                "body",
                "out",
            ];
            let run = sandbox.run(&arguments);
            if vector["result"] == "ok" {
                run.ends(0, "opened");
                fs::remove_file(sandbox.path("out")).unwrap();
                opened += 1;
            } else {
                run.ends(2, "sealgate: ");
                refused += 1;
            }
            assert_eq!(sandbox.names(), ["body", "header", "keys.json"], "{}", vector["what"]);
        }
        assert!(opened >= 3 && refused >= 70, "{name}: {opened} opened, {refused} refused");
        python::tell(&format!("vectors: `open` on {name}: {opened} opened, {refused} refused"));
    }
}

#[test]
fn the_python_opener_opens_what_seal_wrote() {
    let Some(python) = python::interpreter() else {
        return python::skipped("second opener on sealed files", python::NEEDS);
    };
    let sandbox = Sandbox::new();
    sandbox.keys("create kw --tenant main --wrap aes-kw").ends(0, "");
    sandbox.keys("export --danger-plaintext --out keys.json").ends(0, "");
    for (kek, len) in [("default", 200_000), ("kw", 13), ("default", 0)] {
        let content = noise(len);
        fs::write(sandbox.path("in"), &content).unwrap();
        seal(&sandbox, &["--kek", kek, "--meta", "n=v", "in", "body"]).ends(0, "");
        let script = python::opener();
        let opener = |arguments: &[&str]| {
            let output = Command::new(&python)
                .arg(&script)
                .args(["--keys", "keys.json", "--tenant", "main"])
                .args(arguments)
                .current_dir(sandbox.path(""))
                .stdin(Stdio::null())
                .output()
                .unwrap();
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let named = ["--bucket", "b", "--key", "a/b", "--header-file", "body.sealgate", "body", "out"];
        assert_eq!(opener(&named), (Some(0), String::new()));
        assert!(fs::read(sandbox.path("out")).unwrap() == content);
        open(&sandbox, &["--verify", "body"]).ends(0, "");
        if kek == "default" {
            assert_eq!(opener(&["--recover", "body", "recovered"]).0, Some(0));
            assert!(fs::read(sandbox.path("recovered")).unwrap() == content);
        } else {
            assert_eq!(opener(&["--recover", "body", "recovered"]).0, Some(2));
            let run = sandbox.run(&["open", "--recover", "--tenant", "main", "body", "r", PASS[0], PASS[1]]);
            run.ends(2, "no recovery record");
        }
        let mut damaged = fs::read(sandbox.path("body")).unwrap();
        damaged[0] ^= 1;
        fs::write(sandbox.path("body"), damaged).unwrap();
        let refused = ["--bucket", "b", "--key", "a/b", "--header-file", "body.sealgate", "body", "never"];
        assert_eq!(opener(&refused).0, Some(2));
        assert!(!sandbox.path("never").exists());
        for name in ["body", "body.sealgate", "out", "recovered"] {
            let _ = fs::remove_file(sandbox.path(name));
        }
    }
}

#[test]
fn exported_keys_open_without_a_keyring_and_seal_nothing() {
    let sandbox = Sandbox::new();
    sealed(&sandbox, b"content");
    sandbox.keys("export --danger-plaintext --out keys.json").ends(0, "");
    fs::remove_file(sandbox.path("keyring")).unwrap();
    sandbox.run(&[&["open", "--keys", "keys.json"], &NAME[..], &["body", "out"]].concat()).ends(0, "opened 7 bytes");
    let recover = ["open", "--keys", "keys.json", "--recover", "--tenant", "main", "body", "-"];
    assert_eq!(sandbox.run(&recover).ends(0, "not bound").out, "content");
    sandbox
        .run(&["open", "--keys", "keys.json", "--recover", "--tenant", "other", "body", "-"])
        .ends(2, "authenticate");
    super::support::set_mode(&sandbox.path("keys.json"), 0o644);
    sandbox.run(&[&["open", "--keys", "keys.json"], &NAME[..], &["body", "o2"]].concat()).ends(2, "chmod 600");
    sandbox.secret_file("other.json", "{\"00000000000000000000000000000000\": \"oops\"}");
    sandbox.run(&[&["open", "--keys", "other.json"], &NAME[..], &["body", "o2"]].concat()).ends(2, "other.json");
}

#[test]
fn the_drill_opens_an_object_from_kit_and_copy_alone() {
    let sandbox = Sandbox::new();
    sealed(&sandbox, b"content");
    let drill = Sandbox::empty();
    for name in ["keyring", "body", "body.sealgate", "phrase"] {
        fs::copy(sandbox.path(name), drill.path(name)).unwrap();
    }
    let fixed = ["recovery", "drill", "--keyring", "keyring", "--phrase-file", "phrase"];
    drill.run(&[&fixed[..], &NAME, &["--object", "body"]].concat()).ends(0, "drill passed");
    assert_eq!(drill.names(), ["body", "body.sealgate", "keyring", "phrase"], "a drill leaves nothing");
    let mut damaged = fs::read(drill.path("body")).unwrap();
    damaged[3] ^= 1;
    fs::write(drill.path("body"), damaged).unwrap();
    drill.run(&[&fixed[..], &NAME, &["--object", "body"]].concat()).ends(2, "does not authenticate");
}
