#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Known answers for the wire protocol, version 1 (docs/protocol.md).

A second implementation, written from the specifications alone (RFC 7748 for X25519, FIPS 197 and
SP 800-38D for AES-GCM, the Noise framework's revision 34, BLAKE2b as in RFC 7693 for libsodium's
crypto_kdf) on nothing but Python's own hashlib and hmac. It shares no code with vand. Its output
stands in test/unit/test_vand_handshake.c and test_vand_cookie.c; run it again to compare.

It is slow and not constant-time: for test keys only.
"""
import hashlib
import hmac
import struct

# -- X25519 (RFC 7748) --

P = 2**255 - 19


def x25519(scalar, u_bytes):
    k = int.from_bytes(scalar, "little")
    k &= ~7 & (1 << 255) - 1
    k |= 1 << 254
    u = int.from_bytes(u_bytes, "little") & (1 << 255) - 1
    x1, x2, z2, x3, z3, swap = u, 1, 0, u, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P, x1 * (da - cb) ** 2 % P
        x2, z2 = aa * bb % P, e * (aa + 121665 * e) % P
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P - 2, P) % P).to_bytes(32, "little")


def public(secret):
    return x25519(secret, (9).to_bytes(32, "little"))


# -- AES-256 (FIPS 197), encryption only --


def gf_mul(a, b):
    r = 0
    while b:
        if b & 1:
            r ^= a
        a = a << 1 ^ (0x11B if a & 0x80 else 0)
        b >>= 1
    return r


def make_sbox():
    box = []
    for x in range(256):
        inverse = next((y for y in range(256) if gf_mul(x, y) == 1), 0)
        v = 0x63
        for shift in range(5):
            v ^= (inverse << shift | inverse >> 8 - shift) & 0xFF
        box.append(v)
    return box


SBOX = make_sbox()


def expand_key(key):
    words = [list(key[i : i + 4]) for i in range(0, 32, 4)]
    rcon = 1
    for i in range(8, 60):
        w = list(words[-1])
        if i % 8 == 0:
            w = [SBOX[b] for b in w[1:] + w[:1]]
            w[0] ^= rcon
            rcon = gf_mul(rcon, 2)
        elif i % 8 == 4:
            w = [SBOX[b] for b in w]
        words.append([a ^ b for a, b in zip(words[-8], w)])
    return [sum(words[i : i + 4], []) for i in range(0, 60, 4)]


def aes_block(rounds, block):
    s = [a ^ b for a, b in zip(block, rounds[0])]
    for r in range(1, 15):
        s = [SBOX[s[(i + 4 * (i % 4)) % 16]] for i in range(16)]
        if r < 14:
            mixed = []
            for c in range(0, 16, 4):
                col = s[c : c + 4]
                for i in range(4):
                    mixed.append(
                        gf_mul(col[i], 2)
                        ^ gf_mul(col[(i + 1) % 4], 3)
                        ^ col[(i + 2) % 4]
                        ^ col[(i + 3) % 4]
                    )
            s = mixed
        s = [a ^ b for a, b in zip(s, rounds[r])]
    return bytes(s)


# -- GCM (SP 800-38D) --


def ghash(h, data):
    h = int.from_bytes(h, "big")
    y = 0
    for i in range(0, len(data), 16):
        x, v, z = y ^ int.from_bytes(data[i : i + 16], "big"), h, 0
        for bit in range(127, -1, -1):
            if x >> bit & 1:
                z ^= v
            v = v >> 1 ^ (0xE1 << 120 if v & 1 else 0)
        y = z
    return y.to_bytes(16, "big")


def gcm_seal(key, nonce, ad, plain):
    rounds = expand_key(key)

    def stream(n):
        return aes_block(rounds, nonce + struct.pack(">I", n))

    sealed = b"".join(
        bytes(a ^ b for a, b in zip(plain[i : i + 16], stream(2 + i // 16)))
        for i in range(0, len(plain), 16)
    )

    def padded(data):
        return data + bytes(-len(data) % 16)

    lengths = struct.pack(">QQ", 8 * len(ad), 8 * len(sealed))
    s = ghash(aes_block(rounds, bytes(16)), padded(ad) + padded(sealed) + lengths)
    return sealed + bytes(a ^ b for a, b in zip(s, stream(1)))


# -- Noise_IKpsk2_25519_AESGCM_SHA256 --


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def hmac256(key, *parts):
    return hmac.new(key, b"".join(parts), hashlib.sha256).digest()


class Noise:
    def __init__(self, prologue, responder_public):
        self.h = b"Noise_IKpsk2_25519_AESGCM_SHA256"
        self.ck, self.k, self.n = self.h, None, 0
        self.mix_hash(prologue)
        self.mix_hash(responder_public)

    def mix_hash(self, data):
        self.h = sha256(self.h, data)

    def hkdf(self, data, count):
        temp, out = hmac256(self.ck, data), [b""]
        for i in range(count):
            out.append(hmac256(temp, out[-1], bytes([i + 1])))
        return out[1:]

    def mix_key(self, data):
        self.ck, self.k = self.hkdf(data, 2)
        self.n = 0

    def mix_psk(self, psk):
        self.ck, temp, self.k = self.hkdf(psk, 3)
        self.mix_hash(temp)
        self.n = 0

    def mix_ephemeral(self, pub):
        self.mix_hash(pub)
        self.mix_key(pub)

    def seal(self, plain):
        out = gcm_seal(self.k, bytes(4) + struct.pack(">Q", self.n), self.h, plain)
        self.n += 1
        self.mix_hash(out)
        return out


def main():
    mesh = bytes(range(0xA0, 0xB0))
    psk = bytes(range(0x40, 0x60))
    si, sr = bytes(range(1, 33)), bytes(range(33, 65))
    ei, er = bytes(range(65, 97)), bytes(range(97, 129))
    noise = Noise(b"VANv1" + mesh, public(sr))

    # INIT
    stamp = struct.pack(">QI", 1700000000, 123456789)
    pub = public(ei)
    noise.mix_ephemeral(pub)
    noise.mix_key(x25519(ei, public(sr)))
    body = pub + noise.seal(public(si))
    noise.mix_key(x25519(si, public(sr)))
    body += noise.seal(stamp + struct.pack(">QBBH", 77, 2, 0, 1500))
    init = bytes([1, 1, 0, 0]) + struct.pack("<I", 0x11223344) + body
    mac1_key = sha256(b"VANmac1", mesh, public(sr))
    init += hmac256(mac1_key, init)[:16]
    cookie = bytes(range(0xC0, 0xD0))
    print("init (mac2 zero)       ", (init + bytes(16)).hex())
    print("its mac2, by cookie    ", hmac256(cookie, init)[:16].hex())

    # RESP
    pub = public(er)
    noise.mix_ephemeral(pub)
    noise.mix_key(x25519(er, public(ei)))
    noise.mix_key(x25519(er, public(si)))
    noise.mix_psk(psk)
    body = pub + noise.seal(struct.pack(">QBBH", 78, 2, 0, 1400))
    resp = bytes([2, 1, 0, 0]) + struct.pack("<II", 0x55667788, 0x11223344) + body
    resp += hmac256(sha256(b"VANmac1", mesh, public(si)), resp)[:16]
    print("resp                   ", (resp + bytes(16)).hex())

    # Data keys
    forth, back = noise.hkdf(b"", 2)
    for name, split in (("forth", forth), ("back", back)):

        def kdf(number, size):
            return hashlib.blake2b(
                b"",
                digest_size=size,
                key=split,
                salt=struct.pack("<Q", number) + bytes(8),
                person=b"vanDATA1" + bytes(8),
            ).digest()

        key, salt = kdf(1, 32), kdf(2, 16)[:12]
        print(f"{name}: split           ", split.hex())
        print(f"{name}: key             ", key.hex())
        print(f"{name}: salt            ", salt.hex())
        # DATA: the VAN id 0x010203, an Ethernet frame's worth of bytes, lane 1, a counter.
        inner = bytes([1, 2, 3, 0x80, 34, 16]) + bytes(range(100))
        counter = 0x0102030405060708
        for mode in (0, 1):
            header = bytes([4, 1, mode, 0]) + struct.pack("<IQ", 0x55667788, 0)[:4]
            header += struct.pack(">Q", counter)
            nonce = bytes(
                a ^ b for a, b in zip(salt, bytes([0, 0, 0, 1]) + struct.pack(">Q", counter))
            )
            if mode == 0:
                msg = header + gcm_seal(key, nonce, header, inner)
            else:
                msg = header + inner + gcm_seal(key, nonce, header + inner, b"")
            print(f"{name}: data, mode {mode}    ", msg.hex())


if __name__ == "__main__":
    main()
