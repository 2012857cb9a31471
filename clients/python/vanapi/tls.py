# SPDX-License-Identifier: Apache-2.0
"""Who the console is: the pin of its public key, a CA, or both.

A pin is "sha256//" and the base64 of the SHA-256 of the key's SubjectPublicKeyInfo (RFC 7469 §2.4), as in
<state_dir>/tls.pin of the console; several are joined by ";". With a pin and no CA file the certificate
is not looked at any further: the handshake proves that the other side has the pinned key.
"""
from __future__ import annotations

import base64
import binascii
import hashlib
import ssl
import warnings
from typing import FrozenSet, Optional, Tuple

from .errors import TlsError


def parse_pins(text: str) -> FrozenSet[bytes]:
    """The hashes in "sha256//BASE64[;…]"."""
    pins = set()
    for part in filter(None, (p.strip() for p in text.split(";"))):
        try:
            raw = base64.b64decode(part[len("sha256//"):], validate=True)
        except binascii.Error:
            raw = b""
        if not part.startswith("sha256//") or len(raw) != 32:
            raise ValueError(f"{part!r} is no pin: it must be sha256// and the base64 of 32 bytes")
        pins.add(raw)
    if not pins:
        raise ValueError("the pin is empty")
    return frozenset(pins)


def make_context(pinned: bool, ca_file: Optional[str], verify_nothing: bool) -> ssl.SSLContext:
    """Chain and host name are verified with a CA file, and where there is no pin."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if verify_nothing and (pinned or ca_file):
        raise ValueError("danger_verify_nothing contradicts a pin and a CA file")
    if verify_nothing:
        warnings.warn("vanapi: nobody checks that this is the console; whoever is in between reads "
                      "the API key", stacklevel=4)
    if verify_nothing or (pinned and not ca_file):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_file:
        context.load_verify_locations(ca_file)
    else:
        context.load_default_certs()
    return context


def check_pin(sock: ssl.SSLSocket, pins: FrozenSet[bytes], url: str) -> None:
    """TlsError unless the other side's key has one of the pins. Before anything is sent."""
    der = sock.getpeercert(binary_form=True)
    if not der or hashlib.sha256(public_key_of(der)).digest() not in pins:
        raise TlsError(f"{url} answers with another key than its pin says: somebody else answers there, "
                       "or the console has a new key; see tls.pin in its state directory")


def _item(data: bytes, at: int, end: int) -> Tuple[int, int]:
    """(begin, end) of the content of the DER item at this offset, which must end by `end`."""
    if end - at < 2:
        raise TlsError("the certificate is cut off")
    begin, length = at + 2, data[at + 1]
    if length & 0x80:
        size = length & 0x7F
        begin += size
        if not 1 <= size <= 4 or begin > end:
            raise TlsError("the certificate has a length that is none")
        length = int.from_bytes(data[at + 2:begin], "big")
    if length > end - begin:
        raise TlsError("the certificate is cut off")
    return begin, begin + length


def public_key_of(der: bytes) -> bytes:
    """The SubjectPublicKeyInfo of a certificate (RFC 5280 §4.1)."""
    at, end = _item(der, 0, len(der))
    at, end = _item(der, at, end)  # tbsCertificate
    if at < end and der[at] == 0xA0:  # version
        at = _item(der, at, end)[1]
    for _ in range(5):  # serialNumber, signature, issuer, validity, subject
        at = _item(der, at, end)[1]
    return der[at:_item(der, at, end)[1]]
