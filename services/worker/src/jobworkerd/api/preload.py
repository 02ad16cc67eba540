"""Loads what the libraries would load only when they first need it.

The API process gives up its privileges (see `privileges`), and its user may be unable to read the files
of this installation. A codec is a module, too: Python imports it for the first string that needs it.
"""

import importlib

_CODECS = (
    "idna",  # socket.getaddrinfo, for each host name
    "punycode",  # idna, for names with characters beyond ASCII
    "utf_16_be",  # cryptography, for BMPString in a certificate's subject
    "utf_32_be",  # cryptography, for UniversalString
    "latin_1",
    "ascii",
)

_MODULES = (
    # What cryptography's compiled part imports to verify a signature.
    "cryptography.hazmat.backends.openssl.backend",
    "cryptography.hazmat.primitives.asymmetric.dsa",
    "cryptography.hazmat.primitives.asymmetric.ec",
    "cryptography.hazmat.primitives.asymmetric.padding",
    "cryptography.hazmat.primitives.asymmetric.utils",
    "cryptography.hazmat.primitives.hashes",
    "stringprep",
    "unicodedata",
)


def load() -> None:
    """Imports all of it."""
    for codec in _CODECS:
        importlib.import_module(f"encodings.{codec}")
        # Codecs are looked up by other spellings of their name, too.
        "".encode(codec)
    for module in _MODULES:
        importlib.import_module(module)
