"""Settings of the shared dashboard."""

from pathlib import Path

import pytest
import trustme
from typer.testing import CliRunner

from jobworker_dashboard import shared_dashboard
from jobworker_dashboard.main import app
from jobworker_dashboard.settings import InvalidSettings, Settings, read_file

PEM = Path("/cert.pem")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://jobs.example.org", "https://jobs.example.org"),
        ("https://JOBS.example.org:443/", "https://jobs.example.org"),
        ("https://jobs.example.org:8443", "https://jobs.example.org:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:80", "http://localhost"),
        ("https://[::1]:8443", "https://[::1]:8443"),
    ],
)
def test_the_url_becomes_the_origin_that_browsers_send(url: str, origin: str) -> None:
    assert Settings.parse("127.0.0.1:0", url, None, None).url == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "jobs",
        "http://jobs.example.org",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://u@a",
        "https://a:x",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidSettings, match="url: "):
        Settings.parse("127.0.0.1:0", url, None, None)


@pytest.mark.parametrize("listen", ["", "8080", ":8080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"])
def test_other_addresses_are_refused(listen: str) -> None:
    with pytest.raises(InvalidSettings, match="listen: "):
        Settings.parse(listen, "https://a", None, None)


@pytest.mark.parametrize("listen", ["unknown.invalid:0", "a..b:0", "192.0.2.1:0"])
def test_an_address_that_cannot_be_used_is_explained(listen: str) -> None:
    settings = Settings.parse(listen, "https://a", PEM, PEM)
    with pytest.raises(InvalidSettings, match=f"listen: {listen} .*use an address of this host") as failed:
        shared_dashboard.listen(settings)
    assert "Unknown error" not in str(failed.value)


@pytest.mark.parametrize("listen", ["0.0.0.0:1", "[::]:1", "jobs.example.org:1", "192.0.2.1:1"])
def test_other_hosts_are_not_served_without_tls(listen: str) -> None:
    with pytest.raises(InvalidSettings, match="reachable from other hosts"):
        Settings.parse(listen, "https://a", None, None)
    Settings.parse(listen, "https://a", PEM, PEM)


@pytest.mark.parametrize(("certificate", "key"), [(PEM, None), (None, PEM)])
def test_a_certificate_needs_a_key(certificate: Path | None, key: Path | None) -> None:
    with pytest.raises(InvalidSettings, match="only one of them"):
        Settings.parse("127.0.0.1:0", "https://a", certificate, key)


def test_an_unusable_certificate_is_named(tmp_path: Path) -> None:
    leaf = trustme.CA().issue_cert("jobs.example.org")
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls-key.pem"
    settings = Settings.parse("0.0.0.0:1", "https://a", certificate, key)
    with pytest.raises(InvalidSettings, match=r"^tls_certificate: .*tls\.pem"):
        settings.tls_context()
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    assert settings.tls_context() is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [("x = 1", "unknown setting x"), ("listen = 1", "listen is 1"), ("=", "cannot be read")],
)
def test_a_file_with_other_contents_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "dashboard.toml"
    file.write_text(text)
    with pytest.raises(InvalidSettings, match=problem):
        read_file(file)


def test_flags_override_variables_and_the_file(tmp_path: Path) -> None:
    file = tmp_path / "dashboard.toml"
    file.write_text('url = "https://a"\nlisten = "file"\n')
    for options, variable, used in (
        ([], "", "'file'"),
        ([], "variable", "'variable'"),
        (["--listen", "flag"], "variable", "'flag'"),
    ):
        env = {"JOBWORKERD_DASHBOARD_LISTEN": variable} if variable else {}
        done = CliRunner().invoke(app, ["--config", str(file), *options], env=env)
        assert done.exit_code == 2
        assert f"listen: {used} is not HOST:PORT" in done.output


def test_the_template_has_all_settings() -> None:
    template = Path(__file__).parents[3] / "packaging/dashboard.toml"
    from jobworker_dashboard.settings import KEYS

    lines = template.read_text().splitlines()
    assert [line[1:].partition(" = ")[0] for line in lines if line[:1] == "#" and " = " in line] == list(KEYS)
