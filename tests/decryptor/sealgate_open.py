#!/usr/bin/env python3
"""Opens what sealgate stored (object format v1) with nothing but keys, objects and the format page: `pip install cryptography`, no code of sealgate.

    sealgate_open.py --keys KEYS.json --tenant T --bucket B --key K (--header TEXT | --header-file FILE) BODY OUTPUT
    sealgate_open.py --recover --keys KEYS.json --tenant T BODY OUTPUT       the header is lost: open by the body's recovery record

KEYS.json is {"<kek_id hex>": "<KEK hex>"}. A key or header text that begins with "-" is given as --key=K, --header=TEXT.
Exit codes: 0 opened, 1 failed (a file is missing, cannot write), 2 refused (nothing is written), 64 usage.
Notation: numbers are big-endian; a ‖ b is a followed by b; [a..b) is half-open; sizes are bytes. "§" is the section of the format page.
"""
import argparse, base64, hashlib, hmac, json, os, re, stat, struct, sys, tempfile
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

VERSION, SUITE = 1, b"\x01"
CHUNK, FLOOR = 65536, 4 << 20                            # C, and M: the floor of a part that is not the last
UNPINNED = bytes(24)                                     # the salt of an entry whose salt stands in the part's own head
CHECKSUM_LENGTHS = {1: 4, 2: 4, 3: 20, 4: 32, 5: 8, 6: 64, 7: 16, 8: 8, 9: 8, 10: 16}
HEADER_TYPES = {1, 2, 3, 4, 5, 6, 0x10, 0x20, 0x21, 0x22}   # 23, 30 and 31 are never in a v1 object

class Refused(Exception):
    """The input is not what its owner sealed, or not in this format."""

def need(condition, reason):
    if not condition:
        raise Refused(reason)

same = hmac.compare_digest                               # equality in constant time

# ---- §2: lp(x) = u32 length ‖ x;  X(prk, info, L) = HKDF-Expand-SHA-512: T(i) = HMAC(prk, T(i-1) ‖ info ‖ u8 i), T(1) ‖ T(2) ‖ … cut to L
def lp(x):
    return struct.pack(">I", len(x)) + x

def X(prk, info, length):
    output = block = b""
    while len(output) < length:
        block = hmac.digest(prk, block + info + bytes([len(output) // 64 + 1]), "sha512")
        output += block
    return output[:length]

def gcm_open(key_and_nonce, sealed, aad, what):          # AES-256-GCM: key(32) ‖ nonce(12), the tag is the last 16 bytes
    try:
        return AESGCM(key_and_nonce[:32]).decrypt(key_and_nonce[32:44], sealed, aad)
    except InvalidTag:
        raise Refused(f"{what} does not verify") from None

def kek_of(keys, kek_id):                                # the named key or none: never "try all keys"
    need(kek_id in keys, f"no key with the id {kek_id.hex()}")
    return keys[kek_id]

# ---- §3: header, and TLV = { u8 type ‖ u16 length ‖ value }, ascending by (type, value), only type 10 more than once
def read_tlv(data, known_types):
    items, at = [], 0
    while at < len(data):
        need(len(data) - at >= 3, "TLV is cut short")
        kind, length = struct.unpack_from(">BH", data, at)
        value = data[at + 3:at + 3 + length]
        need(len(value) == length, "TLV is cut short")
        need(kind >= 0x80 or kind in known_types, f"TLV type {kind:02x} is not allowed here")
        need(not items or (kind, value) > items[-1], "TLV is out of order")
        need(not items or kind == 0x10 or kind != items[-1][0], f"TLV type {kind:02x} is repeated")
        items.append((kind, value))
        at += 3 + length
    return items

def check_metadata(items):
    names = set()
    for kind, value in items:
        text = b""                                       # what must be free of CR, LF and NUL
        if kind <= 6:
            text = value
        elif kind == 0x10:                               # u16 name length ‖ name ‖ value
            text = value[2:]
            need(len(value) >= 2, "metadata name is cut short")
            name = text[:int.from_bytes(value[:2], "big")]
            need(len(name) == int.from_bytes(value[:2], "big"), "metadata name is cut short")
            need(name and name == name.lower() and name not in names, "metadata name is empty, upper-case or repeated")
            names.add(name)
        elif kind == 0x20:                               # checksum: algorithm ‖ type (1 FULL_OBJECT, 2 COMPOSITE) ‖ value
            need(len(value) >= 2 and value[1] in (1, 2) and CHECKSUM_LENGTHS.get(value[0]) == len(value) - 2, "checksum in the header is malformed")
        elif kind < 0x80:
            need(len(value) == {0x21: 16, 0x22: 8}[kind], f"TLV type {kind:02x} has a wrong length")
        need(not set(text) & set(b"\r\n\0"), "metadata holds CR, LF or NUL")

def header_bytes(text):                                  # base64url without padding, in its one canonical form
    need(len(text) <= 2028, "header is longer than 2028 characters")
    need(re.fullmatch("[A-Za-z0-9_-]*", text) and len(text) % 4 != 1, "header is not base64url without padding")
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    need(base64.urlsafe_b64encode(raw).rstrip(b"=") == text.encode(), "header is not canonical base64url")
    return raw

def open_header(header, keys, ctx):
    """Returns DEK, kind, segment salt, plaintext length, metadata; nothing is used before hdr_tag holds."""
    need(23 <= len(header) <= 1521, "header has a wrong length")
    version, suite, kind, flags, kek_id, wrap_alg, W = struct.unpack_from(">BcBB16sBH", header)
    need(version == VERSION and suite == SUITE, "header has another version or suite")
    need(kind in (1, 2), f"kind {kind} is not an object")
    need(flags == 0, "header has a reserved flag")
    need(wrap_alg in (1, 2) and W == {1: 48, 2: 40}[wrap_alg], "wrapping method or length is not one that opens with exported keys")
    need(len(header) >= 81 + W + 32, "header has a wrong length")
    wrapped, hdr_nonce, seg_salt, P, m = struct.unpack_from(f">{W}s24s24sQH", header, 23)
    need((m == 0 or m >= 17) and len(header) == 81 + W + m + 32, "header has a wrong length")
    kek = kek_of(keys, kek_id)
    if wrap_alg == 1:   # wk(32) ‖ wn(12) = X(KEK, label ‖ suite ‖ wrap_alg ‖ kek_id ‖ hdr_nonce ‖ ctx, 44);  wrapped = GCM(wk, wn, DEK, header[0..23))
        wk_wn = X(kek, b"sealgate/v1/wrap\0" + SUITE + b"\x01" + kek_id + hdr_nonce + ctx, 44)
        dek = gcm_open(wk_wn, wrapped, header[:23], "wrapped key in the header")
    else:               # RFC 3394; hdr_tag alone binds it to the name
        dek = aes_key_unwrap(kek, wrapped)               # raises InvalidUnwrap
    # mk(32) ‖ ek(32) ‖ en(12) = X(DEK, label ‖ suite ‖ hdr_nonce, 76);  hdr_tag = HMAC(mk, label ‖ lp(ctx) ‖ header[0..end-32))[0..32)
    mk_ek_en = X(dek, b"sealgate/v1/header\0" + SUITE + hdr_nonce, 76)
    hdr_tag = hmac.digest(mk_ek_en[:32], b"sealgate/v1/header-tag\0" + lp(ctx) + header[:-32], "sha512")[:32]
    need(same(hdr_tag, header[-32:]), "header tag does not verify")
    tlv = gcm_open(mk_ek_en[32:], header[81 + W:-32], header[:79 + W], "metadata in the header") if m else b""
    metadata = read_tlv(tlv, HEADER_TYPES)
    check_metadata(metadata)
    if kind == 1:
        need(P <= 1 << 56, "plaintext length is over 2^56")
    else:
        need(P == (1 << 64) - 1 and seg_salt == bytes(24), "header of kind 2 has a length or a salt")
    return dek, kind, seg_salt, P, metadata

# ---- §6: F(P) = P + 16(⌊P/65536⌋+1) + 256·min(⌊P/4 MiB⌋, 9999) + 496, and its inverse
def canonical_size(P):
    return P + 16 * (P // CHUNK + 1) + 256 * min(P // FLOOR, 9999) + 496

def plaintext_length(total):
    rest = total - 512
    q = min(rest // 4195584, 9999)
    k, s = divmod(rest - 4195584 * q, 65552)
    P = FLOOR * q + CHUNK * k + s
    need(rest >= 0 and s < CHUNK and canonical_size(P) == total, f"no object has {total} bytes")
    return P

# ---- §5: body = chunks (kind 1) or { head ‖ chunks } per part (kind 2) ‖ zeros ‖ record (0 or 88) ‖ sealed trailer ‖ footer (32)
def read_exactly(body, length):
    data = body.read(length)
    need(len(data) == length, "body ends too soon")
    return data

def read_tail(body, total):
    """footer = "SGTRLR01" ‖ tsalt(16) ‖ u32 length of the sealed trailer ‖ u16 length of record ‖ u16 0"""
    P = plaintext_length(total)
    body.seek(total - 32)
    footer = read_exactly(body, 32)
    magic, tsalt, sealed_length, record_length, reserved = struct.unpack(">8s16sIHH", footer)
    need(magic == b"SGTRLR01" and reserved == 0 and record_length in (0, 88), "footer is malformed")
    need(164 <= sealed_length <= 256 * min(P // FLOOR, 9999) + 464 - record_length, "trailer length is out of bounds")
    tail_start = total - 32 - sealed_length - record_length
    body.seek(tail_start)
    record = read_exactly(body, record_length)
    return P, tail_start, record, read_exactly(body, sealed_length), footer

def open_record(record, keys, tenant):
    """record = kek_id ‖ rnonce ‖ GCM(rk, rn, DEK, kek_id ‖ rnonce);  rk(32) ‖ rn(12) = X(KEK, label ‖ suite ‖ 1 ‖ kek_id ‖ rnonce ‖ lp(tenant), 44)"""
    need(record, "body has no recovery record")
    rk_rn = X(kek_of(keys, record[:16]), b"sealgate/v1/recover\0" + SUITE + b"\x01" + record[:40] + lp(tenant), 44)
    return gcm_open(rk_rn, record[40:], record[:40], "recovery record")

def open_trailer(dek, total, P0, tail_start, record, sealed, footer):
    """Returns kind, entries (part number, length, salt), checksum as in TLV 20 or None, MD5 or None."""
    # tk(32) ‖ tn(12) = X(DEK, label ‖ suite ‖ tsalt, 44);  sealed trailer = GCM(tk, tn, trailer, footer ‖ u64 total ‖ record)
    tsalt, total_u64 = footer[8:24], struct.pack(">Q", total)
    trailer = gcm_open(X(dek, b"sealgate/v1/trailer\0" + SUITE + tsalt, 44), sealed, footer + total_u64 + record, "trailer")
    # ts(32) ‖ rnonce(24) = X(DEK, label ‖ suite, 56);  tsalt = HMAC(ts, lp(trailer) ‖ u64 total ‖ record)[0..16)
    ts_rnonce = X(dek, b"sealgate/v1/tail\0" + SUITE, 56)
    need(same(hmac.digest(ts_rnonce[:32], lp(trailer) + total_u64 + record, "sha512")[:16], tsalt), "trailer salt is not the derived one")
    need(not record or same(record[16:40], ts_rnonce[32:]), "nonce of the recovery record is not the derived one")
    version, kind, flags, N, P, md5, algorithm, checksum_type, count, E, ext, value, true_length = struct.unpack_from(">BBHIQ16sBBHHH64sQ", trailer)
    need(version == VERSION and kind in (1, 2) and flags <= 3, "trailer has another version, kind or flags")
    need(E >= 36 and 1 <= N <= (1 if kind == 1 else 10000) and len(trailer) == 112 + E * N + ext, "trailer has a wrong layout")
    need(true_length == 0, "trailer has a true length without its flag")
    need(flags & 1 or md5 == bytes(16), "trailer has an MD5 without its flag")
    if flags & 2:
        size = CHECKSUM_LENGTHS.get(algorithm, 0)
        need(size and checksum_type in (1, 2) and (count == 0) == (checksum_type == 1) and value[size:] == bytes(64 - size), "checksum in the trailer is malformed")
        checksum = bytes([algorithm, checksum_type]) + value[:size]
    else:
        need(not (algorithm or checksum_type or count or any(value)), "trailer has a checksum without its flag")
    read_tlv(trailer[112 + E * N:], set())
    entries = [struct.unpack_from(">IQ24s", trailer, 112 + E * i) for i in range(N)]
    if kind == 2:
        numbers = [number for number, p, salt in entries]
        need(1 <= numbers[0] and numbers[-1] <= 10000 and all(a < b for a, b in zip(numbers, numbers[1:])), "part numbers are not ascending in 1..10000")
        need(all(p <= 1 << 46 for number, p, salt in entries), "a part is too long")
        need(all(p >= FLOOR for number, p, salt in entries[:-1]), "a part that is not the last is too short")
    else:
        need(entries[0][0] == 0, "the entry of a simple object has a part number")
    need(P == P0 == sum(p for number, p, salt in entries), "lengths in the trailer do not fit the body")
    need(sum((72 if kind == 2 else 0) + p + 16 * (p // CHUNK + 1) for number, p, salt in entries) <= tail_start, "parts reach into the trailer")
    return kind, entries, checksum if flags & 2 else None, md5 if flags & 1 else None

# ---- §4: k(32) ‖ n(12) ‖ c(32) = X(DEK, label ‖ 0 ‖ salt ‖ suite ‖ kind ‖ u32 part_no ‖ u64 p, 76)
def segment_keys(dek, salt, kind, part_no, p):
    keys = X(dek, b"sealgate/v1/segment+AEAD_AES_256_GCM\0" + salt + SUITE + struct.pack(">BIQ", kind, part_no, p), 76)
    return keys[:32], keys[32:44], keys[44:]

def write_plaintext(body, output, dek, kind, entries, tail_start):
    """part = "SGP1" ‖ u32 part_no ‖ u64 p ‖ salt ‖ c ‖ chunks;  chunk j = GCM(k, n XOR be96(j), plaintext[jC .. min((j+1)C, p))), j = 0..⌊p/C⌋"""
    digest = hashlib.sha256()
    body.seek(0)
    for part_no, p, salt in entries:
        head = read_exactly(body, 72) if kind == 2 else b""
        if kind == 2 and salt == UNPINNED:
            salt = head[16:40]
        k, n, c = segment_keys(dek, salt, kind, part_no, p)
        need(kind == 1 or same(head, b"SGP1" + struct.pack(">IQ", part_no, p) + salt + c), f"head of part {part_no} is not the listed one")
        for j in range(p // CHUNK + 1):
            nonce = (int.from_bytes(n, "big") ^ j).to_bytes(12, "big")
            sealed = read_exactly(body, min(CHUNK, p - j * CHUNK) + 16)
            plaintext = gcm_open(k + nonce, sealed, None, f"chunk {j} of part {part_no}")
            digest.update(plaintext)
            output.write(plaintext)
    while body.tell() < tail_start:
        zeros = read_exactly(body, min(CHUNK, tail_start - body.tell()))
        need(zeros == bytes(len(zeros)), "padding is not zero")
    return digest.hexdigest()

# ---- the command line
def load_keys(path):
    with open(path, "rb") as file:
        exported = json.load(file)
    need(isinstance(exported, dict), "keys file is not {kek_id: KEK}")
    keys = {bytes.fromhex(kek_id): bytes.fromhex(kek) for kek_id, kek in exported.items()}
    need(all(len(kek_id) == 16 and len(kek) == 32 for kek_id, kek in keys.items()), "keys file has an id that is not 16 bytes or a key that is not 32")
    return keys

def load_header(args):
    if args.header is not None:
        return header_bytes(args.header)
    with open(args.header_file, "rb") as file:
        data = file.read(2030)                           # the longest text, a newline, and one byte more to notice the excess
    return data if data[:1] == b"\x01" else header_bytes(data.removesuffix(b"\n").decode("latin-1"))

def run(args):
    keys, tenant = load_keys(args.keys), args.tenant.encode()
    need(all(re.fullmatch("[a-z0-9-]{1,63}", name) for name in (args.tenant, args.bucket) if name is not None), "tenant or bucket is not [a-z0-9-]{1,63}")
    if os.path.lexists(args.output) and (not stat.S_ISREG(os.lstat(args.output).st_mode) or os.path.samefile(args.body, args.output)):
        raise OSError("OUTPUT is no regular file, or is BODY")
    metadata = []
    if not args.recover:                                 # ctx = lp(tenant id) ‖ lp(bucket id) ‖ lp(object key)
        ctx = lp(tenant) + lp(args.bucket.encode()) + lp(args.key)
        dek, header_kind, seg_salt, header_P, metadata = open_header(load_header(args), keys, ctx)
    with open(args.body, "rb") as body:
        total = body.seek(0, os.SEEK_END)
        P, tail_start, record, sealed, footer = read_tail(body, total)
        if args.recover:
            dek = open_record(record, keys, tenant)
        kind, entries, checksum, md5 = open_trailer(dek, total, P, tail_start, record, sealed, footer)
        if not args.recover:
            need(kind == header_kind, "trailer and header are of different kinds")
            need(kind == 2 or header_P == P and same(entries[0][2], seg_salt), "header and trailer differ in length or salt")
            for header_type, in_trailer in ((0x20, checksum), (0x21, md5)):
                in_header = dict(metadata).get(header_type)
                need(in_header is None or in_trailer is None or in_header == in_trailer, "checksums in header and trailer differ")
        # Everything but the content is proved. It goes to a file of mode 0600 that gets its name only when all of it is proved too.
        descriptor, temporary = tempfile.mkstemp(prefix=".sealgate-", dir=os.path.dirname(os.path.abspath(args.output)))
        try:
            with open(descriptor, "wb") as output:
                sha256 = write_plaintext(body, output, dek, kind, entries, tail_start)
                output.flush()
                os.fsync(output.fileno())
            os.replace(temporary, args.output)
        except BaseException:
            os.unlink(temporary)
            raise
    if args.recover:
        print("recovered: the name (bucket and key) is not bound", file=sys.stderr)
    if args.json:
        print(json.dumps({"kind": kind, "length": P, "parts": len(entries), "metadata": [[t, v.hex()] for t, v in metadata], "sha256": sha256}))

class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(64, f"usage: {message}\n")

def main():
    parser = Parser(description="Opens an object that sealgate stored.", allow_abbrev=False)
    parser.add_argument("--keys", required=True, metavar="KEYS.json")
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--bucket")
    parser.add_argument("--key", type=os.fsencode, help="object key, its bytes exactly")
    parser.add_argument("--key-hex", type=bytes.fromhex, dest="key", metavar="HEX", help="object key in hex")
    parser.add_argument("--header", metavar="TEXT", help="value of the metadata key `sealgate`")
    parser.add_argument("--header-file", metavar="FILE", help="the same in a file, or the raw header")
    parser.add_argument("--recover", action="store_true", help="open by the body's recovery record")
    parser.add_argument("--json", action="store_true", help="print one line about what was opened")
    parser.add_argument("body", metavar="BODY")
    parser.add_argument("output", metavar="OUTPUT")
    args = parser.parse_args()
    missing = [args.bucket, args.key, args.header, args.header_file].count(None)
    one_header = (args.header is None) != (args.header_file is None)
    if (args.recover and missing != 4) or (not args.recover and (missing != 1 or not one_header)):
        parser.error("give --bucket, --key and one of --header and --header-file, or --recover without any of them")
    try:
        run(args)
        return 0
    except Refused as reason:
        print(f"refused: {reason}", file=sys.stderr)
    except OSError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except Exception as error:                           # hostile input never ends in a traceback
        print(f"refused: an input is malformed or does not verify ({type(error).__name__})", file=sys.stderr)
    return 2

if __name__ == "__main__":
    sys.exit(main())
