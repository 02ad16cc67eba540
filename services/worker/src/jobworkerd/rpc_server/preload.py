"""Loads modules that the libraries load only on first use.

After the API process has dropped its privileges (see `privileges`), its user may be unable to read the files
of this installation. Codecs are modules, too: Python imports one for the first string that needs it.
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
    # The compiled part of cryptography imports these to verify a signature.
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
    """Import all codecs and modules."""
    for codec in _CODECS:
        importlib.import_module(f"encodings.{codec}")
        # The cache of codecs has an entry per spelling of a name.
        "".encode(codec)
    for module in _MODULES:
        importlib.import_module(module)
