use std::fs;
use std::io::{BufRead, BufReader, Read, Write};

use super::support::{PASSPHRASE, Run, Sandbox, mode};

/// Runs `init` and answers the phrase with what `answer` makes of it.
fn init_with(sandbox: &Sandbox, arguments: &[&str], answer: impl Fn(&str) -> String) -> (Run, String) {
    sandbox.secret_file("passphrase", PASSPHRASE);
    let arguments = [&["init", "--passphrase-file", "passphrase"], arguments].concat();
    let mut child = sandbox.command(&arguments).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut phrase = String::new();
    stdout.read_line(&mut phrase).unwrap();
    let _ = child.stdin.take().unwrap().write_all(answer(&phrase).as_bytes());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let mut run = Run::of(child.wait_with_output().unwrap());
    run.out = rest;
    (run, phrase)
}

#[test]
fn init_makes_a_keyring_a_kit_and_a_configuration_that_belong_together() {
    let sandbox = Sandbox::empty();
    let (run, phrase) = init_with(&sandbox, &[], str::to_uppercase);
    let run = run.ends(0, "does not replace the file");
    assert!(run.out.is_empty() && !run.err.contains(phrase.split(' ').next().unwrap_or("?").trim()));
    assert_eq!(phrase.split_whitespace().count(), 24);
    assert_eq!(sandbox.names(), ["credentials", "gateway.toml", "keyring", "passphrase"]);
    assert_eq!((mode(&sandbox.path("keyring")), mode(&sandbox.path("credentials"))), (0o600, 0o600));

    let configuration: toml::Table = fs::read_to_string(sandbox.path("gateway.toml")).unwrap().parse().unwrap();
    assert_eq!(configuration["keys"]["provider"].as_str(), Some("keyring"));
    assert_eq!(configuration["keys"]["file"].as_str(), Some("keyring"));
    assert_eq!(configuration["tenant"][0]["id"].as_str(), Some("main"));
    assert_eq!(configuration["bucket"][0]["kek"].as_str(), Some("default"));

    let list = sandbox.keys("list").ends(0, "default").out;
    assert!(list.contains("active *") && list.contains("main") && list.contains("local"), "{list}");
    sandbox.keys("recipients").ends(0, "64 MiB, 3 passes").ends(0, "phrase");
    sandbox.secret_file("phrase", &phrase);
    sandbox.run(&["recovery", "verify", "--phrase-file", "phrase"]).ends(0, "1 version proved");
    sandbox.run_with(&["recovery", "verify"], &phrase).ends(0, "opens keyring");
}

#[test]
fn init_takes_names_and_places() {
    let sandbox = Sandbox::empty();
    let arguments = ["--dir", "gate", "--keyring", "my keys", "--tenant", "acme", "--kek", "backup"];
    init_with(&sandbox, &arguments, str::to_owned).0.ends(0, "Made my keys");
    let text = fs::read_to_string(sandbox.path("gate/gateway.toml")).unwrap();
    let configuration: toml::Table = text.parse().unwrap();
    assert_eq!(configuration["keys"]["file"].as_str(), sandbox.path("my keys").canonicalize().unwrap().to_str());
    assert_eq!(mode(&sandbox.path("gate")), 0o700);
    sandbox.run(&["keys", "list", "--keyring", "my keys", "--passphrase-file", "passphrase"]).ends(0, "acme");
}

/// What `init` made serves as soon as it has what only the user knows, and until then `check` names exactly that.
#[test]
fn what_init_made_lacks_the_stores_access_key_and_nothing_else() {
    let sandbox = Sandbox::empty();
    let names = ["--dir", "gate", "--bucket", "my.photos-2", "--region", "eu-west-3"];
    init_with(&sandbox, &names, str::to_owned).0.ends(0, "[provider] of gate/credentials");
    let check = ["check", "--config", "gate/gateway.toml"];
    let run = sandbox.run(&check).ends(64, "credentials has no aws_access_key_id in [provider]");
    assert_eq!(run.err.matches("gateway.toml:").count(), 1, "{}", run.err);

    let path = sandbox.path("gate/credentials");
    let text = fs::read_to_string(&path).unwrap();
    let drawn = text.lines().find_map(|line| line.strip_prefix("aws_secret_access_key = ")).unwrap();
    assert!(drawn.len() == 40 && !run.err.contains(drawn));
    let (application, provider) = text.split_once("[provider]").unwrap();
    let provider = provider.replace("_id = \n", "_id = AKSTORE\n").replace("_key = \n", "_key = of the store\n");
    fs::write(&path, format!("{application}[provider]{provider}")).unwrap();
    sandbox.run(&check).ends(0, "");

    let configuration = fs::read_to_string(sandbox.path("gate/gateway.toml")).unwrap();
    assert!(configuration.contains("\"https://s3.eu-west-3.amazonaws.com\""), "{configuration}");
    let elsewhere = ["--dir", "other", "--endpoint", "https://store.example:9000"];
    init_with(&sandbox, &elsewhere, str::to_owned).0.ends(0, "Made");
    let other = fs::read_to_string(sandbox.path("other/gateway.toml")).unwrap();
    assert!(other.contains("endpoint = \"https://store.example:9000\"") && other.contains("profile = \"generic\""));
    assert_ne!(fs::read_to_string(sandbox.path("other/credentials")).unwrap().lines().nth(2), text.lines().nth(2));
    for wrong in [["--bucket", "A"], ["--endpoint", "store"], ["--endpoint", "https://s/path"], ["--region", "a\"b"]] {
        let arguments = [&["init", "--dir", "third", "--passphrase-file", "passphrase"][..], &wrong].concat();
        sandbox.run(&arguments).ends(64, "expected");
    }
    assert!(!sandbox.path("third").exists());
}

#[test]
fn a_phrase_that_is_not_typed_back_leaves_nothing_behind() {
    let sandbox = Sandbox::empty();
    let other = "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth useful \
                 legal winner thank year wave sausage worth title\n";
    for answer in [String::new(), "wrong\n\nwrong\n\nwrong\n\n".to_owned(), other.repeat(3)] {
        let (run, _) = init_with(&sandbox, &["--dir", "gate"], |_| answer.clone());
        assert!(matches!(run.code, Some(1 | 2)), "{}", run.err);
        assert_eq!(sandbox.names(), ["passphrase"]);
    }
    let answer = |phrase: &str| format!("wrong\n\n{other}{phrase}");
    init_with(&sandbox, &["--dir", "gate"], answer).0.ends(0, "attempt 2 of 3");
}

#[test]
fn init_overwrites_nothing() {
    let sandbox = Sandbox::new();
    let before = fs::read(sandbox.path("keyring")).unwrap();
    sandbox.run(&["init", "--passphrase-file", "passphrase"]).ends(2, "not overwritten");
    assert_eq!(fs::read(sandbox.path("keyring")).unwrap(), before);
    fs::write(sandbox.path("gateway.toml"), "mine").unwrap();
    sandbox.run(&["init", "--keyring", "other", "--passphrase-file", "passphrase"]).ends(2, "gateway.toml");
    fs::create_dir(sandbox.path("e")).unwrap();
    fs::write(sandbox.path("e/credentials"), "mine").unwrap();
    sandbox.run(&["init", "--dir", "e", "--passphrase-file", "passphrase"]).ends(2, "credentials");
    fs::create_dir(sandbox.path("shares")).unwrap();
    let shares = ["init", "--dir", "d", "--shares", "2/3", "--shares-dir", "shares", "--passphrase-file", "passphrase"];
    sandbox.run(&shares).ends(2, "shares");
    assert_eq!(fs::read_to_string(sandbox.path("gateway.toml")).unwrap(), "mine");
    assert!(!sandbox.path("d").exists() && !sandbox.path("other").exists());
}

#[test]
fn a_failure_half_way_leaves_nothing_behind() {
    let sandbox = Sandbox::empty();
    sandbox.secret_file("passphrase", PASSPHRASE);
    let arguments =
        ["init", "--dir", "d", "--shares", "2/3", "--shares-dir", "d/shares", "--passphrase-file", "passphrase"];
    // The keyring cannot be written where there is no folder, after the shares were.
    let run = sandbox.run(&[&arguments[..], &["--keyring", "no/such/keyring"]].concat());
    run.ends(1, "no/such");
    assert_eq!(sandbox.names(), ["passphrase"]);
    sandbox.run(&arguments).ends(0, "3 shares");
    for index in 1..=3 {
        let path = sandbox.path(&format!("d/shares/share-{index}.txt"));
        assert_eq!(mode(&path), 0o600);
        let text = fs::read_to_string(path).unwrap();
        assert!(text.contains(&format!("# Share {index} of 3. Any 2 shares")) && text.contains("recovery restore"));
    }
    assert_eq!(mode(&sandbox.path("d/shares")), 0o700);
}

#[test]
fn weak_passphrases_are_refused_or_warned_about() {
    let sandbox = Sandbox::empty();
    for (passphrase, code, said) in [("", 2, "empty"), ("seven77", 2, "at least 8"), ("eight888", 0, "short")] {
        sandbox.secret_file("weak", passphrase);
        let run = sandbox.run(&["init", "--passphrase-file", "weak", "--shares", "2/2", "--shares-dir", "shares"]);
        run.ends(code, said);
    }
}
