#!/usr/bin/env python3
"""Runs sealgate_open.py over a file of format vectors: check_vectors.py VECTORS.json

Every vector with a stored body must open to what it says, or be refused with exit code 2, one line and no file. A valid vector without a body has
only its header checked and counts as skipped. The known answers of the format page (§9) are checked as far as no sealing is needed.
Prints what failed and a last line `N passed, N failed, N skipped`; exit code 1 if anything failed.
"""
import base64, hashlib, hmac, json, os, re, struct, subprocess, sys, tempfile
sys.dont_write_bytecode = True                           # leave no __pycache__ in the source tree
import sealgate_open as opener

OPENER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sealgate_open.py")
passed, failed, skipped = 0, 0, 0

def check(name, condition, detail=""):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {name}: {detail}")

def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

def raises_nothing(function, *arguments):
    try:
        return function(*arguments)
    except Exception as error:
        return error

# ---- the opener as a program
def run(folder, keys, arguments, body):
    """Returns exit code, standard output, standard error, and the plaintext (None: no output file)."""
    paths = {name: os.path.join(folder, name) for name in ("keys", "body", "out")}
    with open(paths["keys"], "w") as file:
        json.dump(keys, file)
    with open(paths["body"], "wb") as file:
        file.write(body)
    command = [sys.executable, "-B", OPENER, "--json", "--keys", paths["keys"], *arguments, paths["body"], os.path.join(folder, "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    plaintext = None
    if os.path.exists(paths["out"]):
        with open(paths["out"], "rb") as file:
            plaintext = file.read()
        os.unlink(paths["out"])
    left = set(os.listdir(folder)) - {"keys", "body", "header"}
    return done.returncode, done.stdout, done.stderr, plaintext, left

def is_refusal(result):
    code, output, errors, plaintext, left = result
    return code == 2 and output == "" and plaintext is None and not left and re.fullmatch(r"refused: [^\n]+\n", errors) is not None

# ---- what a valid vector says about itself
def expected_plaintext(vector):
    def stretch(description, length, part_no=0):         # "byte i = 31 i mod 256", "byte i = (29 + 2 part_no) i mod 256"
        match = re.fullmatch(r"byte i = (?:(\d+)|\((\d+) \+ (\d+) part_no\)) i mod (\d+)", description)
        factor = int(match[1]) if match[1] else int(match[2]) + int(match[3]) * part_no
        period = bytes(factor * i % int(match[4]) for i in range(int(match[4])))
        return (period * (length // len(period) + 1))[:length]
    def one(item):
        if "plaintext_hex" in item:
            return bytes.fromhex(item["plaintext_hex"])
        return stretch(item["plaintext"], item["length"], item.get("part_no", 0))
    return b"".join(one(item) for item in vector.get("parts", [vector]))

def check_valid(name, vector, folder, keys, tenant, bucket):
    global skipped
    ctx = opener.lp(tenant.encode()) + opener.lp(bucket.encode()) + opener.lp(bytes.fromhex(vector["key"]))
    raw_keys = {bytes.fromhex(kek_id): bytes.fromhex(kek) for kek_id, kek in keys.items()}
    header = opener.header_bytes(vector["header"])
    opened = raises_nothing(opener.open_header, header, raw_keys, ctx)
    check(name + " (header)", not isinstance(opened, Exception) and opened[1] == vector["kind"] and ("dek" not in vector or opened[0].hex() == vector["dek"]), opened)
    if vector.get("body") is None:
        skipped += 1
        return
    body, plaintext = bytes.fromhex(vector["body"]), expected_plaintext(vector)
    metadata = [[kind, value.hex()] for kind, value in opener.read_tlv(bytes.fromhex(vector.get("tlv", "")), opener.HEADER_TYPES)]
    account = {"kind": vector["kind"], "length": len(plaintext), "parts": len(vector.get("parts", [1])), "metadata": metadata, "sha256": hashlib.sha256(plaintext).hexdigest()}
    check(name + " (body)", len(body) == vector["body_length"] and hashlib.sha256(body).hexdigest() == vector["body_sha256"], "the stored body is not the described one")
    named = ["--tenant", tenant, "--bucket", bucket, "--key-hex=" + vector["key"]]
    header_file = os.path.join(folder, "header")
    forms = {"--header": ["--header=" + vector["header"]], "text file": ["--header-file", header_file], "raw file": ["--header-file", header_file]}
    for form, arguments in forms.items():
        with open(header_file, "wb") as file:
            file.write(header if form == "raw file" else vector["header"].encode() + b"\n")
        code, output, errors, result, left = run(folder, keys, named + arguments, body)
        good = code == 0 and result == plaintext and errors == "" and not left and json.loads(output) == account
        check(f"{name} ({form})", good, f"exit code {code}, {errors}{output}")
    recovered = run(folder, keys, ["--recover", "--tenant", tenant], body)
    if vector.get("recovery"):
        code, output, errors, result, left = recovered
        good = code == 0 and result == plaintext and "not bound" in errors and json.loads(output) == account | {"metadata": []}
        check(name + " (recover)", good, f"exit code {code}, {errors}{output}")
        check(name + " (recover, another tenant)", is_refusal(run(folder, keys, ["--recover", "--tenant", tenant + "x"], body)))
    else:
        check(name + " (recover without a record)", is_refusal(recovered), recovered)

def check_refused(name, vector, folder, keys, tenant, bucket):
    arguments = ["--tenant", tenant, "--bucket", bucket, "--key-hex=" + vector["key"], "--header=" + vector["header"]]
    result = run(folder, keys, arguments, bytes.fromhex(vector["body"]))
    check(name, is_refusal(result), result[:3])

# ---- §9
def check_known_answers(known, kek, kek_id):
    tenant, DEK, salt, X, lp = b"tenant-a", bytes(range(0x80, 0xA0)), bytes(range(0xA0, 0xB8)), opener.X, opener.lp
    ctx = lp(tenant) + lp(b"bucket-1") + lp(b"docs/hello.txt")
    keys = {kek_id: kek}
    metadata = bytes.fromhex(known["tlv of header with metadata"])
    for name, kind, length, tlv in (("header", 1, 13, b""), ("header with metadata", 1, 13, metadata), ("header kind 2", 2, 2**64 - 1, b"")):
        expected = DEK, kind, salt if kind == 1 else bytes(24), length, opener.read_tlv(tlv, opener.HEADER_TYPES)
        opened = raises_nothing(opener.open_header, opener.header_bytes(known[name]), keys, ctx)
        check("known answer: " + name, opened == expected, opened)
    k, n, c = opener.segment_keys(DEK, salt, 1, 0, 13)
    check("known answer: k, n, c", [k.hex(), n.hex(), c.hex()] == [known[name] for name in "knc"], (k.hex(), n.hex(), c.hex()))
    opened = raises_nothing(opener.gcm_open, k + n, bytes.fromhex(known["chunk 0"]), None, "chunk 0")
    check("known answer: chunk 0", opened == b"hello, world\n", opened)

    record = bytes.fromhex(known["recovery record"])
    opened = raises_nothing(opener.open_record, record, keys, tenant)
    check("known answer: recovery record", opened == DEK and record[16:40] == X(DEK, b"sealgate/v1/tail\0\1", 56)[32:], opened)

    # upload state: a header of kind 3 with ctx ‖ lp(upload id) in place of ctx; TLV 30 is the hdr_tag sent at Create
    upload = ctx + lp(known["upload id"].encode())
    name = unpadded(hashlib.sha256(b"sealgate/v1/upload\0" + upload).digest())
    check("known answer: state name", name == known["state name"], name)
    state = opener.header_bytes(known["state"])
    nonce = state[71:95]
    dek = raises_nothing(opener.gcm_open, X(kek, b"sealgate/v1/wrap\0\1\1" + kek_id + nonce + upload, 44), state[23:71], state[:23], "state")
    check("known answer: state, wrapped key", dek == DEK and state[2] == 3, dek)
    mk_ek_en = X(DEK, b"sealgate/v1/header\0\1" + nonce, 76)
    tag = hmac.digest(mk_ek_en[:32], b"sealgate/v1/header-tag\0" + lp(upload) + state[:-32], "sha512")[:32]
    check("known answer: state, tag", tag == state[-32:], tag.hex())
    tlv = raises_nothing(opener.gcm_open, mk_ek_en[32:], state[129:-32], state[:127], "state metadata")
    items = raises_nothing(opener.read_tlv, tlv, {0x30, 0x31})
    created = opener.header_bytes(known["header kind 2"])[-32:]
    check("known answer: state, metadata", isinstance(items, list) and (0x30, created) in items, items)
    refusal = raises_nothing(opener.open_header, state, keys, upload)
    check("known answer: state is no object", isinstance(refusal, opener.Refused), refusal)

    # ETag of a part: S = base64url(salt ‖ p u48 ‖ a ‖ v(8) ‖ mac(12)), mac over part_no ‖ p ‖ salt ‖ lp(upstream ETag) ‖ a ‖ lp(value)
    mac_key = X(DEK, b"sealgate/v1/part\0\1", 32)
    parts = (("part 3 ETag, no checksum", 3, 2, 5242880, 0, b""), ("part 4 ETag, SHA-256", 4, 3, 4, 4, hashlib.sha256(b"tail").digest()),
             ("part 4 ETag, CRC64NVME", 4, 3, 4, 5, bytes(range(0x11, 0x19))))
    for name, part_no, first, p, algorithm, value in parts:
        upstream, part_salt = known[name].split("-")[0], bytes(range(first, first + 24))
        bound = struct.pack(">IQ", part_no, p) + part_salt + lp(upstream.encode()) + bytes([algorithm]) + lp(value)
        mac = hmac.digest(mac_key, bound, "sha512")[:12]
        shown = value.ljust(8, b"\0") if len(value) <= 8 else bytes(8)
        etag = upstream + "-" + unpadded(part_salt + p.to_bytes(6, "big") + bytes([algorithm]) + shown + mac)
        check("known answer: " + name, etag == known[name], etag)

    for length, total in ((0, 512), (13, 525), (65535, 66047), (65536, 66064), (131072, 131616), (4194304, 4196096), (10485771, 10489355)):
        check(f"known answer: F({length})", opener.canonical_size(length) == total and opener.plaintext_length(total) == length)

def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 64
    with open(sys.argv[1]) as file:
        vectors = json.load(file)
    keys = {vectors["kek_id"]: vectors["kek"]}
    with tempfile.TemporaryDirectory() as folder:
        if "known_answers" in vectors:
            check_known_answers(vectors["known_answers"], bytes.fromhex(vectors["kek"]), bytes.fromhex(vectors["kek_id"]))
        for number, vector in enumerate(vectors["vectors"]):
            name = f"vector {number} ({vector.get('what', 'kind %d' % vector['kind'])})"
            checker = {"ok": check_valid, "refused": check_refused}[vector["result"]]
            try:
                checker(name, vector, folder, keys, vector.get("tenant", vectors["tenant"]), vector.get("bucket", vectors["bucket"]))
            except Exception as error:
                check(name, False, repr(error))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0

if __name__ == "__main__":
    sys.exit(main())
