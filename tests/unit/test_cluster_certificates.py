import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tenantry_cluster import certificates
from tenantry_cluster.certificates import Authority, signing_pair


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.in_folder(tmp_path / "pki")


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_client_is_named_with_its_groups(authority: Authority) -> None:
    subject = read(authority.issue("admin", "ada", groups=["system:masters", "crew"]).certificate).subject
    assert [each.value for each in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["ada"]
    assert [each.value for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == [
        "system:masters",
        "crew",
    ]


def test_keys_are_for_the_owner_alone(authority: Authority) -> None:
    keys = [authority.pair.key, authority.issue("a", "a").key, signing_pair(authority.folder, "tokens").key]
    assert [key.stat().st_mode & 0o777 for key in keys] == [0o600, 0o600, 0o600]


def test_what_is_valid_is_kept(authority: Authority) -> None:
    before = authority.issue("server", "s", hosts=["10.0.0.1", "name"]).certificate.read_bytes()
    again = Authority.in_folder(authority.folder).issue("server", "s", hosts=["10.0.0.1"])
    assert again.certificate.read_bytes() == before


def test_a_new_host_brings_a_new_certificate(authority: Authority) -> None:
    authority.issue("server", "s", hosts=["10.0.0.1"])
    names = read(authority.issue("server", "s", hosts=["10.0.0.2"]).certificate).extensions
    san = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(each) for each in san.get_values_for_type(x509.IPAddress)] == ["10.0.0.2"]


def test_a_certificate_about_to_end_is_renewed(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "LIFETIME", dt.timedelta(hours=12))
    short = authority.issue("client", "c").certificate.read_bytes()
    monkeypatch.undo()
    assert authority.issue("client", "c").certificate.read_bytes() != short


def test_a_key_that_lost_its_certificate_midway_is_replaced(authority: Authority) -> None:
    pair = authority.issue("client", "c")
    pair.certificate.unlink()
    again = authority.issue("client", "c")
    ssl.create_default_context(cafile=str(authority.pair.certificate)).load_cert_chain(again.certificate, again.key)
