"""Notices about client certificates that expire."""

import datetime as dt

import pytest
import trustme
from certificates import DAY, issue, pair
from cryptography import x509
from cryptography.x509.oid import NameOID

from jobworker_cluster import client_certificates
from jobworker_cluster.client_certificates import ClientCertificate, ExpiryNotices

NOW = dt.datetime.now(dt.UTC)
CA = pair(trustme.CA())


def _pem(common_name: str, end: dt.timedelta = DAY) -> bytes:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    return issue(CA, subject=x509.Name(attributes), end=end).certificate


@pytest.mark.parametrize(
    ("days", "notice"),
    [(31, ""), (29, "a.pem expires at "), (0, "a.pem expired at "), (-1, "a.pem expired at ")],
)
def test_a_certificate_has_a_notice_thirty_days_before_its_end(days: int, notice: str) -> None:
    found = ClientCertificate("gateway", "a.pem", NOW + days * DAY, "renew it")
    text = found.notice(NOW)
    assert text.startswith(notice)
    assert text.endswith("Z; renew it") if notice else not text


def test_the_notice_of_a_certificate_for_nodes_has_the_command_that_renews_it() -> None:
    found = client_certificates.for_nodes("/certs/gateway.pem", _pem("gateway-host1", 2 * DAY))
    assert abs(found.expiry - NOW - 2 * DAY) < dt.timedelta(minutes=10)
    assert found.name == "gateway"
    assert found.notice(NOW).endswith(
        "; renew it where ca-key.pem is, with: jobworkerd certs renew gateway-host1; "
        "then replace /certs/gateway.pem and its key"
    )


@pytest.mark.parametrize(("name", "word"), [("a b; c", "'a b; c'"), ("", "gateway")])
def test_the_command_is_one_for_a_shell(name: str, word: str) -> None:
    assert f"renew {word};" in client_certificates.for_nodes("a.pem", _pem(name)).renewal


def test_the_notice_of_a_kubeconfig_has_the_command_that_sets_a_new_certificate() -> None:
    found = client_certificates.of_kubeconfig("/etc/a b", "agent", _pem("system:node:host1"))
    assert (found.name, found.source) == ("kubeconfig", "/etc/a b")
    assert found.renewal == (
        "let Kubernetes sign another one for system:node:host1, and set it with: "
        "kubectl config --kubeconfig '/etc/a b' set-credentials agent "
        "--client-certificate FILE --client-key FILE --embed-certs"
    )


def test_the_notices_of_an_agent_of_the_package_name_no_copies_of_systemd() -> None:
    directory = "/run/credentials/jobworker-agent.service"
    found = client_certificates.for_nodes(f"{directory}/gateway.pem", _pem("gateway"))
    assert found.renewal.endswith(
        "; then replace the files that LoadCredential= of the unit names, and restart the service"
    )
    found = client_certificates.of_kubeconfig(f"{directory}/kubeconfig", "agent", _pem("system:node:host1"))
    assert found.renewal.endswith(
        "kubectl config --kubeconfig KUBECONFIG set-credentials agent --client-certificate FILE "
        "--client-key FILE --embed-certs; KUBECONFIG is the file that LoadCredential= of the unit names; "
        "then restart the service"
    )


@pytest.mark.parametrize(
    "pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_a_damaged_certificate_is_an_error(pem: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be parsed"):
        client_certificates.for_nodes("a.pem", pem)


def test_each_certificate_has_its_own_notice() -> None:
    changes: list[tuple[str, str]] = []
    notices = ExpiryNotices(lambda *change: changes.append(change))
    a, b = (ClientCertificate(name, name, NOW + DAY, "renew it") for name in ("a", "b"))
    new = ClientCertificate("a", "a", NOW + 90 * DAY, "renew it")
    notices.update([a, b])
    notices.update([a, b])
    assert sorted(changes) == [("a", a.notice(NOW)), ("b", b.notice(NOW))]
    changes.clear()
    notices.update([new, b])
    notices.update([new, b])
    assert changes == [("a", "")]
    notices.update([new])
    assert changes == [("a", ""), ("b", "")]
