import json
from pathlib import Path

import pytest

from fiona_dagster.domain.errors import ConfigurationError
from fiona_dagster.settings import load_settings, settings_from


def read(content: dict[str, object], **environment: str):
    return settings_from({"DATADIR": "/d", **content}, place="config.json", environment=environment)


def test_without_a_file_the_defaults_are_fionas() -> None:
    site = load_settings(environment={"FIONA_DATADIR": "/nowhere"}).default_site
    assert (site.port, site.ae_title, site.quiet_seconds, site.name) == (11112, "FIONA", 16.0, "ABCD")


@pytest.mark.parametrize(
    ("host", "called"),
    [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("", "127.0.0.1"), ("10.0.0.7", "10.0.0.7")],  # noqa: S104 — read
)
def test_a_receiver_of_every_address_is_called_on_loopback(host: str, called: str) -> None:
    peer = read({"DICOMIP": host, "DICOMPORT": 104, "DICOMAETITLE": "OURS"}).default_site.peer
    assert str(peer) == f"OURS@{called}:104"


@pytest.mark.parametrize("key", ["ACESS", "access", "LIMIT", "Tls", "STOWRS"])
@pytest.mark.parametrize("of_site", [False, True])
def test_a_misspelt_section_that_restricts_is_refused(key: str, of_site: bool) -> None:
    values: dict[str, object] = {key: {}}
    with pytest.raises(ConfigurationError, match=f"the key '{key}' is not known — write"):
        read({"SITES": {"X": values}} if of_site else values)


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"ACCESS": {"called": ["A"]}, "ACCESS": {}}')
    with pytest.raises(ConfigurationError, match="'ACCESS' stands there twice"):
        load_settings(file, {})


def test_both_doors_of_a_site_on_one_port_are_refused() -> None:
    stow = {"port": 104, "ip": "127.0.0.1", "senders": [{"aetitle": "W", "token": "env:T"}]}
    with pytest.raises(ConfigurationError, match="two doors of site ABCD have port 104"):
        read({"DICOMIP": "127.0.0.1", "DICOMPORT": 104, "STOW": stow})


def test_a_further_site_has_its_own_datadir_port_and_ae_title() -> None:
    settings = read({"SITES": {"PCGC": {"DICOMPORT": "11113", "DICOMAETITLE": "PCGC", "QUIETSECONDS": 30}}})
    site = settings.site("PCGC")
    assert (str(site.layout.datadir), site.port, site.ae_title, site.quiet_seconds) == (
        "/dPCGC",
        11113,
        "PCGC",
        30.0,
    )


def test_scanners_are_sources_to_be_asked() -> None:
    other = {"SCANNERIP": "10.0.0.2", "SCANNERPORT": 105, "SCANNERAETITLE": "PACS"}
    first = {"SCANNERIP": "10.0.0.1", "SCANNERPORT": "104", "SCANNERAETITLE": "MR1"}
    settings = read({**first, "OTHERSCANNER": [other]})
    assert [str(peer) for peer in settings.default_site.sources] == ["MR1@10.0.0.1:104", "PACS@10.0.0.2:105"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"DICOMPORT": "eleven"}, "DICOMPORT"),
        ({"DICOMPORT": 70000}, "DICOMPORT"),
        ({"DICOMAETITLE": "A" * 17}, "AE title"),
        ({"SITES": {"P": {"DICOMPORT": 11112}}}, "share port"),
        ({"SITES": {"P": {"DICOMPORT": 1, "DATADIR": "/d"}}}, "share a DATADIR"),
        ({"REDCAP": {"url": "https://redcap.example"}}, "/api/"),
        ({"RESEARCHPACS": {"AETITLE": "X"}}, "IP is missing"),
        ({"RESEARCHPACS": "PACS@host:104"}, "RESEARCHPACS: is not a JSON object"),
        ({"REDCAP": "https://redcap.example/api/"}, "REDCAP: is not a JSON object"),
        ({"REDCAP": {"url": "https://r/api/", "tokens": ["env:X"]}}, "REDCAP: tokens: is not a JSON object"),
        ({"SITES": ["PCGC"]}, "SITES: is not a JSON object"),
        ({"SITES": {"PCGC": 11113}}, r"SITES: PCGC: is not a JSON object"),
        ({"OTHERSCANNER": {"SCANNERIP": "10.0.0.2"}}, "OTHERSCANNER: is not a JSON list"),
        ({"OTHERSCANNER": ["10.0.0.2"]}, "OTHERSCANNER: is not a JSON list"),
        ({"QUIETSECONDS": -1}, r"QUIETSECONDS: -1 .* use 0 or more"),
        ({"QUIETSECONDS": "sixteen"}, "QUIETSECONDS: 'sixteen'"),
        ({"QUIETSECONDS": True}, "QUIETSECONDS: True"),
        ({"SITES": {"P": {"DICOMPORT": 1, "QUIETSECONDS": "x"}}}, r"SITES\.P: QUIETSECONDS"),
        ({"DISKLIMITPERCENT": "80 %"}, "DISKLIMITPERCENT: '80 %'"),
        ({"DISKLIMITPERCENT": 101}, "use 0 to 100"),
        ({"KEEPPARTITIONSDAYS": [30]}, "KEEPPARTITIONSDAYS"),
        ({"KEEPPARTITIONSDAYS": "nan"}, "KEEPPARTITIONSDAYS"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(content: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(content)


def test_zero_is_a_number_and_blank_is_none() -> None:
    assert read({"QUIETSECONDS": 0}).default_site.quiet_seconds == 0.0
    assert read({"QUIETSECONDS": "0"}).default_site.quiet_seconds == 0.0
    assert read({"KEEPPARTITIONSDAYS": 0}).keep_partitions_days == 0.0
    assert read({"QUIETSECONDS": "", "SITES": None, "REDCAP": None}).default_site.quiet_seconds == 16.0


def test_a_key_that_nothing_reads_is_a_warning_that_names_its_neighbour() -> None:
    fionas = {"SCANNERTYPE": "GE", "Authentication": {}, "fiona_version": "1", "DICOMPORT": 1}
    assert read({**fionas, "SITES": {"P": {"MPPSPORT": 1, "DICOMPORT": 2}}}).warnings == ()
    wrong = {"QUIETSECOND": 3, "zzz": 1, "SITES": {"P": {"DICOMAETITEL": "X", "DICOMPORT": 2}},
             "RESEARCHPACS": {"IP": "h", "port": 1}}  # fmt: skip
    assert read(wrong).warnings == (
        "config.json: the key 'QUIETSECOND' is not known and has no effect, did you mean QUIETSECONDS?",
        "config.json: the key 'zzz' is not known and has no effect",
        "config.json: SITES.P: the key 'DICOMAETITEL' is not known and has no effect, did you mean DICOMAETITLE?",
        "config.json: RESEARCHPACS: the key 'port' is not known and has no effect, did you mean PORT?",
    )


def test_a_file_that_is_not_json_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{\n "DATADIR": \n}')
    with pytest.raises(ConfigurationError, match=r"config\.json:3"):
        load_settings(path, {})


def test_a_secret_is_followed_to_the_environment_or_a_file_and_never_printed(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush\n")
    settings = read({}, TOKEN="hush")
    assert settings.secret("env:TOKEN") == settings.secret(f"file:{tmp_path}/token") == "hush"
    assert "hush" not in repr(settings)
    for reference in ("env:NONE", f"file:{tmp_path}/none", "hush", ""):
        with pytest.raises(ConfigurationError) as caught:
            settings.secret(reference)
        assert "hush" not in str(caught.value)


def test_the_configuration_is_found_through_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"DATADIR": str(tmp_path), "DICOMPORT": 0}))
    assert load_settings(environment={"FIONA_CONFIG": str(path)}).layout.datadir == tmp_path


def test_a_site_says_how_long_incomplete_studies_wait_and_where_commitments_are_reported() -> None:
    requester = {"AETITLE": "CT1", "IP": "10.0.0.21", "PORT": 104}
    site = read({"INCOMPLETESECONDS": 60, "STORAGECOMMITMENT": {"REQUESTERS": [requester]}}).default_site
    assert site.patience_seconds == 60.0
    assert [str(one) for one in site.requesters] == ["CT1@10.0.0.21:104"]
    assert read({}).default_site.patience_seconds == 86_400.0
    with pytest.raises(ConfigurationError, match=r"STORAGECOMMITMENT\.REQUESTERS: IP is missing"):
        read({"STORAGECOMMITMENT": {"REQUESTERS": [{"AETITLE": "CT1"}]}})
