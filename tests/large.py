#!/usr/bin/env python3
"""Seals and opens a sparse file of GIB gibibytes with the release build and holds the resident memory to a limit.

usage: large.py PROGRAM GIB [FOLDER]

Resident memory is sampled once work on the file has begun, that is, once the keyring is open: opening it takes the
64 MiB of its key derivation for a moment. Says what bounds the speed: the bytes per second of each step beside the
processor time it took, and the disk's own speed by writing as much with dd.
"""
import hashlib, os, shutil, subprocess, sys, tempfile, threading, time

LIMIT_KIB = 32 * 1024


def status(pid, field):
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith(field + ":"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def bytes_read(pid):
    """Bytes that the process has read so far: tells when its work on the file began."""
    try:
        for line in open(f"/proc/{pid}/io"):
            if line.startswith("rchar:"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def run(what, size, arguments, folder, stdout=subprocess.DEVNULL):
    before, start = os.times(), time.monotonic()
    child = subprocess.Popen(arguments, cwd=folder, stdout=stdout, stderr=subprocess.PIPE)
    peak, samples, digest = 0, 0, hashlib.sha256()
    reader = threading.Thread(target=lambda: [digest.update(b) for b in iter(lambda: child.stdout.read(1 << 20), b"")])
    if stdout == subprocess.PIPE:
        reader.start()
    while child.poll() is None:
        if bytes_read(child.pid) > 64 << 20:
            peak, samples = max(peak, status(child.pid, "VmRSS")), samples + 1
        time.sleep(0.02)
    if stdout == subprocess.PIPE:
        reader.join()
    error = child.stderr.read().decode()
    assert child.returncode == 0, f"{what}: exit {child.returncode}: {error}"
    wall, after = time.monotonic() - start, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{what}: {wall:.1f} s, {size / wall / 1e9:.2f} GB/s, {cpu:.1f} CPU-s ({cpu / (size / 1e9):.2f} per GB), "
          f"resident at most {peak / 1024:.1f} MiB in {samples} samples", flush=True)
    assert samples > 10, f"{what}: too few samples to say anything"
    assert peak < LIMIT_KIB, f"{what}: {peak} KiB resident"
    return digest.hexdigest()


def main():
    program, gib = os.path.abspath(sys.argv[1]), int(sys.argv[2])
    folder = tempfile.mkdtemp(prefix="sealgate-large-", dir=sys.argv[3] if len(sys.argv) > 3 else None)
    try:
        size = gib << 30
        with open(os.open(f"{folder}/pass", os.O_CREAT | os.O_WRONLY, 0o600), "w") as out:
            out.write("only for a test of memory\n")
        passphrase = ["--passphrase-file", "pass"]
        subprocess.run([program, "init", *passphrase, "--shares", "2/2", "--shares-dir", "shares"], cwd=folder,
                       check=True, stderr=subprocess.DEVNULL)
        with open(f"{folder}/large", "wb") as out:
            out.truncate(size)
            for at in range(0, size, max(size // 7, 1)):  # some bytes that are not zero
                out.seek(min(at, size - 64))
                out.write(os.urandom(64))
        os.sync()
        start = time.monotonic()
        subprocess.run(["dd", "if=/dev/zero", f"of={folder}/dd", "bs=1M", f"count={gib << 10}", "conv=fsync"], check=True,
                       stderr=subprocess.DEVNULL)
        wall = time.monotonic() - start
        print(f"the disk, by dd with fsync: {wall:.1f} s, {size / wall / 1e9:.2f} GB/s", flush=True)
        os.remove(f"{folder}/dd")
        name = ["--tenant", "main", "--bucket", "b", "--key", "large"]
        run("seal", size, [program, "seal", *passphrase, *name, "large", "body"], folder)
        run("open --verify (SHA-256)", size, [program, "open", *passphrase, *name, "--verify", "body"], folder)
        got = run("open to a pipe, verified first", size, [program, "open", *passphrase, *name, "body", "-"], folder,
                  subprocess.PIPE)
        want = hashlib.sha256()
        with open(f"{folder}/large", "rb") as source:
            while block := source.read(1 << 22):
                want.update(block)
        assert got == want.hexdigest(), "other bytes came back"
        print(f"{gib} GiB came back byte for byte, resident memory under 32 MiB")
    finally:
        shutil.rmtree(folder)


main()
