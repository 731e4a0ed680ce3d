//! A person at a terminal, played by Python's `pty`.

use std::fs;
use std::process::Command;

use super::python;
use super::support::{PASSPHRASE, PROGRAM, Sandbox};

/// Starts the program on a terminal of its own, waits for the prompt, types, and tells how the program ended, whether
/// the echo was off while it asked, whether the terminal is as it was, and what stood on it.
const PLAY: &str = r"
import os, pty, select, signal, sys, termios, time
prompt, typed, sent = sys.argv[1].encode(), eval(sys.argv[2]), int(sys.argv[3])
pid, tty = pty.fork()
if pid == 0:
    os.execv(sys.argv[4], sys.argv[4:])
before = termios.tcgetattr(tty)
seen = b''
def until(text, seconds=20):
    global seen
    end = time.time() + seconds
    while text not in seen and time.time() < end:
        if select.select([tty], [], [], 0.05)[0]:
            try:
                more = os.read(tty, 4096)
            except OSError:
                return
            if not more: return
            seen += more
until(prompt)
asked = termios.tcgetattr(tty)[3]
if sent: os.kill(pid, sent)
for line in typed:
    os.write(tty, line)
    time.sleep(0.2)
end = time.time() + 20
status = 0
while time.time() < end:
    done, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
    if done and os.WIFSTOPPED(status):
        print('stopped', termios.tcgetattr(tty)[3] & termios.ECHO != 0)
        seen = b''
        os.kill(pid, signal.SIGCONT)
        until(prompt)
        os.write(tty, b'seven purple elephants\n')
    elif done:
        break
    until(b'\0never', 0.1)
until(b'\0never', 0.2)
after = termios.tcgetattr(tty)
print('signal', os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, 'code', os.waitstatus_to_exitcode(status))
print('quiet', asked & termios.ECHO == 0, 'signals', asked & termios.ISIG != 0, 'same', before == after)
print(repr(seen.decode(errors='replace')))
";

fn play(sandbox: &Sandbox, prompt: &str, typed: &str, signal: u32, arguments: &[&str]) -> Option<String> {
    let python = std::env::var_os("SEALGATE_PYTHON").unwrap_or_else(|| "python3".into());
    let mut command = Command::new(&python);
    command.args(["-c", PLAY, prompt, typed, &signal.to_string(), PROGRAM]).args(arguments);
    let Ok(output) = command.current_dir(sandbox.path("")).output() else {
        assert!(std::env::var_os("CI").is_none(), "CI must have Python");
        python::skipped("a person at a terminal", "python3");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains(PASSPHRASE), "the passphrase was shown: {text}");
    Some(text)
}

const LIST: [&str; 2] = ["keys", "list"];

#[test]
fn a_passphrase_is_typed_unseen_and_the_terminal_is_as_it_was() {
    let sandbox = Sandbox::new();
    let Some(text) = play(&sandbox, "keyring: ", "[b'seven purple elephants\\n']", 0, &LIST) else { return };
    assert!(text.contains("code 0") && text.contains("quiet True signals True same True"), "{text}");
    assert!(text.contains("default"), "{text}");
}

#[test]
fn an_interrupt_or_a_signal_leaves_the_terminal_as_it_was() {
    let sandbox = Sandbox::new();
    for (typed, sent, signal) in
        [("[b'sec', b'\\x03']", 0, 2), ("[b'sec']", 15, 15), ("[]", 1, 1), ("[b'\\x1c']", 0, 3)]
    {
        let Some(text) = play(&sandbox, "keyring: ", typed, sent, &LIST) else { return };
        assert!(text.contains(&format!("signal {signal} ")), "{text}");
        assert!(text.contains("quiet True signals True same True"), "{text}");
    }
    // Ended, not interrupted.
    let Some(text) = play(&sandbox, "keyring: ", "[b'\\x04']", 0, &LIST) else { return };
    assert!(text.contains("code 1") && text.contains("input ended") && text.contains("same True"), "{text}");
}

#[test]
fn a_stopped_question_gives_the_terminal_back_and_asks_again() {
    let sandbox = Sandbox::new();
    let Some(text) = play(&sandbox, "keyring: ", "[b'sec', b'\\x1a']", 0, &LIST) else { return };
    assert!(text.contains("stopped True") && text.contains("code 0") && text.contains("same True"), "{text}");
}

#[test]
fn a_phrase_that_was_typed_does_not_stay_on_the_screen() {
    let sandbox = Sandbox::new();
    let phrase = fs::read_to_string(sandbox.path("phrase")).unwrap();
    let typed = format!("[b'{phrase}\\n']");
    let verify = ["recovery", "verify"];
    let Some(text) = play(&sandbox, "Recovery phrase", &typed, 0, &verify) else { return };
    let first = phrase.split(' ').next().unwrap();
    let wiped = text.rfind("[3J").unwrap_or_else(|| panic!("not wiped: {text}"));
    assert!(text.rfind(first).unwrap_or(0) < wiped && text.contains("code 0"), "{text}");
}
