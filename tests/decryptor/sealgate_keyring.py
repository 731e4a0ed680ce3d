#!/usr/bin/env python3
"""Opens a sealgate keyring (format version 1) with nothing but the manual's page of key custody: `pip install cryptography`, no code of sealgate.

    sealgate_keyring.py KEYRING (--passphrase-file FILE | --shares FILE [--shares FILE]... | --secret-file FILE) OUTPUT

OUTPUT is made anew with mode 0600: {"<kek_id hex>": "<KEK hex>"}, the form that sealgate_open.py takes. --secret-file holds the 32 bytes that gfcombine
gives. Exit codes: 0 written, 1 failed, 2 refused (nothing is written), 64 usage.
"""
import argparse, hashlib, hmac, json, os, struct, sys
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

HEAD = struct.Struct(">8sHI16sQIII16s48s16sBBBBQ24s48s24s")

class Refused(Exception):
    """The file is not what its owner sealed, or the passphrase or kit is not its own."""

def need(condition, reason):
    if not condition:
        raise Refused(reason)

def lp(x):
    return struct.pack(">I", len(x)) + x

def X(prk, info, length):                                # HKDF-Expand-SHA-512
    output = block = b""
    while len(output) < length:
        block = hmac.digest(prk, block + info + bytes([len(output) // 64 + 1]), "sha512")
        output += block
    return output[:length]

def gcm_open(key_and_nonce, sealed, aad, what):
    try:
        return AESGCM(key_and_nonce[:32]).decrypt(key_and_nonce[32:44], sealed, aad)
    except InvalidTag:
        raise Refused(f"{what} does not verify") from None

# ---- shares: Lagrange's interpolation at 0 over GF(2^8), polynomial 0x11d, byte by byte
def times(a, b):
    product = 0
    while b:
        product ^= a if b & 1 else 0
        a, b = a << 1 ^ (0x11d if a & 0x80 else 0), b >> 1
    return product

def inverse(a):                                          # a^254
    result = 1
    for _ in range(254):
        result = times(result, a)
    return result

def share_of(line):
    digits = line[len("sealgate-share-1-"):].upper().replace("-", "").translate(str.maketrans("OIL", "011"))
    alphabet, value = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", 0
    need(len(digits) == 88 and all(digit in alphabet for digit in digits), "a share has 88 characters of Crockford's base32")
    for digit in digits:
        value = value << 5 | alphabet.index(digit)
    raw = value.to_bytes(55, "big")
    need(hashlib.sha256(b"sealgate/v1/share\0" + raw[:51]).digest()[:4] == raw[51:], "a share's checksum does not hold")
    return raw[:16], raw[16], raw[17], raw[19:51]        # kit id, index, threshold, y

def secret_of(paths):
    lines = [line.strip() for path in paths for line in open(path, encoding="ascii")]
    shares = [share_of(line) for line in lines if line.lower().startswith("sealgate-share-1-")]
    need(shares and len({share[0] for share in shares}) == 1, "the shares are of different kits, or there is none")
    threshold, points = shares[0][2], {index: y for _, index, _, y in shares}
    need(len(points) >= threshold, f"{threshold} shares are needed")
    points = dict(list(points.items())[:threshold])
    secret = bytearray(32)
    for i, y in points.items():
        factor = 1
        for j in points:
            if j != i:
                factor = times(factor, times(j, inverse(i ^ j)))
        for at in range(32):
            secret[at] ^= times(y[at], factor)
    return bytes(secret)

# ---- the file
def open_keyring(data, passphrase, secret):
    need(len(data) >= HEAD.size + 50 and data[:8] == b"SGKEYR01", "not a keyring")
    (magic, version, length, keyring_id, _, memory, passes, lanes, p_salt, p_root, kit_id, _, _, _, _, _, r_salt, r_root, c_salt) = HEAD.unpack_from(data)
    need(length == len(data), "the keyring is cut short")
    need(hashlib.sha256(data[:-32]).digest() == data[-32:], "the keyring is damaged")
    need(version == 1, "the keyring has another version")
    named = magic + struct.pack(">H", version) + keyring_id
    if passphrase is not None:
        need(19456 <= memory <= 1 << 20 and 2 <= passes <= 64 and 1 <= lanes <= 16, "parameters outside floor and ceiling")
        pk = Argon2id(salt=p_salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory).derive(passphrase)
        costs = data[38:50]
        root = gcm_open(X(pk, b"sealgate/v1/keyring-passphrase\0" + keyring_id + costs + p_salt, 44), p_root, named + costs + p_salt, "the passphrase")
    else:
        need(X(secret, b"sealgate/v1/kit-id\0", 16) == kit_id, "this is not the keyring's kit")
        root = gcm_open(X(secret, b"sealgate/v1/keyring-recovery\0" + keyring_id + r_salt, 44), r_root, named + kit_id + r_salt, "the kit")
    content = gcm_open(X(root, b"sealgate/v1/keyring-content\0" + c_salt, 44), data[HEAD.size:-32], data[:HEAD.size], "the content")
    return keys_of(content, root)

def keys_of(content, root):
    at, keys = 0, {}
    def take(n):
        nonlocal at
        need(at + n <= len(content), "the content is cut short")
        at += n
        return content[at - n:at]
    number = lambda n: int.from_bytes(take(n), "big")
    for _ in range(number(2)):
        name, tenant = take(number(1)), take(number(1))
        alg, _ = take(1), take(8)
        for _ in range(number(2)):
            _, kek_id, _, check, present = take(4), take(16), take(1 + 1 + 8 + 8), take(8), number(1)
            if present:
                salt, wrapped = take(24), take(48)
                info = b"sealgate/v1/keyring-kek\0" + lp(tenant) + lp(name) + alg + kek_id + salt
                kek = gcm_open(X(root, info, 44), wrapped, b"", "a key")
                need(X(kek, b"sealgate/v1/kcv\0" + kek_id, 8) == check, "a key's check value does not agree")
                keys[kek_id.hex()] = kek.hex()
    need(at == len(content), "something follows the content")
    return keys

class Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(64, f"{self.prog}: {message}\n")

def main():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("keyring")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--passphrase-file")
    way.add_argument("--shares", action="append", metavar="FILE", help="once for each file")
    way.add_argument("--secret-file")
    parser.add_argument("output")
    args = parser.parse_args()
    read = lambda path: open(path, "rb").read()
    try:
        passphrase = read(args.passphrase_file).removesuffix(b"\n").removesuffix(b"\r") if args.passphrase_file else None
        secret = secret_of(args.shares) if args.shares else read(args.secret_file) if args.secret_file else None
        keys = open_keyring(read(args.keyring), passphrase, secret)
        with os.fdopen(os.open(args.output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
            json.dump(keys, output, indent=2)
            output.write("\n")
    except Refused as reason:
        print(f"refused: {reason}", file=sys.stderr)
        return 2
    except OSError as reason:
        print(f"failed: {reason}", file=sys.stderr)
        return 1
    return 0

if __name__ == "__main__":
    sys.exit(main())
