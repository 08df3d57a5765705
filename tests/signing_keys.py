"""Keys as PEM files, as openssl writes them."""

from cryptography.hazmat.primitives import serialization


def write_keys(folder, key, name="key"):
    """A private key and its public one, as PEM files."""
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        encoding, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (folder / f"{name}.pem").write_bytes(private)
    (folder / f"{name}.pub").write_bytes(public)
