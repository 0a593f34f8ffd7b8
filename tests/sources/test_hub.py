"""The hub's answers: refusals are one sentence each, redirects are followed with care, the token stays at home."""

from __future__ import annotations

import email.message
import io
import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from sources import downloads
from sources.downloads import BIG, SMALL, Notes, base, fails, process, run, wanted

from showwork.sources.hub import Hub, Repo

hub = downloads.hub


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (
            None,
            r"model org/base is gated \(401\) and no token is set; accept its terms at http.*/org/base, then set HF_TOKEN",
        ),
        ("hf_wrong", r"model org/base is gated \(403\) and the token in HF_TOKEN has no access yet; accept its terms"),
    ],
)
def test_a_gated_base_names_the_page_and_the_token(hub, monkeypatch, token, text):
    commit = hub.add(
        "model", "org/base", {"config.json": b"{}", "tokenizer.json": b"{}", "m.safetensors": BIG}, gated=True
    )
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    fails(base(commit), text)


def test_a_gated_base_arrives_with_the_token_which_goes_to_no_other_host_and_into_no_file(hub, monkeypatch, tmp_path):
    files = {
        "config.json": b"{}",
        "tokenizer.json": b"[]",
        "m.safetensors": BIG,
        "pytorch_model.bin": BIG,
        "README.md": b"",
    }
    commit = hub.add("model", "org/base", files, gated=True)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    said = Notes()
    blobs = run(base(commit), say=said)
    assert sorted(blobs.by_name) == ["config.json", "m.safetensors", "tokenizer.json"]
    assert {f.parent for f in blobs.files} == {Path(f"work/download/base/{commit}")}
    assert {r.authorization for r in hub.requests if r.host == "127.0.0.1"} == {f"Bearer {hub.token}"}
    assert {r.authorization for r in hub.requests if r.host == "127.0.0.2"} == {None}
    assert hub.token not in "".join(said) + repr(Hub.from_environment())
    job = process(base(commit, name="b2"), tmp_path)
    assert hub.token not in job.communicate()[1]
    assert job.returncode == 0
    assert (tmp_path / "d.log").stat().st_size > 0
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and hub.token.encode() in p.read_bytes()]


def test_the_token_file_is_used_and_a_broken_token_is_named(hub, monkeypatch, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home/token").write_text(hub.token + "\n")
    assert Hub.from_environment().token == hub.token
    monkeypatch.setenv("HF_TOKEN", "hf_a\nhf_b")
    with pytest.raises(ValueError, match="HF_TOKEN holds characters that no token has"):
        Hub.from_environment()


@pytest.mark.parametrize(
    ("fault", "token", "text"),
    [
        (
            "401",
            "hf_wrong",
            r"has no dataset org/data \(401\), or it is private and the token in HF_TOKEN is wrong or has no",
        ),
        ("401", None, r"has no dataset org/data \(401\), or it is private and needs HF_TOKEN; check the hub id"),
        (
            "403",
            None,
            r"dataset org/data is gated \(403\) and no token is set; accept its terms at http.*/datasets/org/data",
        ),
        ("404", None, r"dataset org/data: 127.0.0.1 has nothing at \w{12} \(404\); check hub and revision"),
        ("451", None, r"dataset org/data: 127.0.0.1 answers 451 for \w{12}; check access and HF_ENDPOINT"),
    ],
)
def test_a_refusal_without_an_error_code_is_one_sentence(hub, monkeypatch, fault, token, text):
    commit = hub.add("dataset", "org/data", {"a.jsonl": SMALL})
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    hub.fault(fault, "tree")
    fails(wanted(commit), text)


@pytest.mark.parametrize("answer", [{"error": "x"}, ["a"], [{"type": "file", "path": "a.jsonl"}], None])
def test_a_list_of_files_that_is_none_is_one_sentence(hub, answer):
    hub.fault("json", "tree", value=json.dumps(answer))
    fails(wanted("0" * 40), r"dataset org/data: 127.0.0.1:\d+ answers no list of files .*; is HF_ENDPOINT a hub\?")


def test_missing_repository_revision_and_file_are_three_sentences(hub):
    commit = hub.add("dataset", "org/data", {"train.jsonl": SMALL, "test.jsonl": SMALL})
    fails(
        wanted(commit, hub="org/gone"), r"http\S+ has no dataset org/gone \(401\), or it is private and needs HF_TOKEN"
    )
    fails(wanted("0" * 40), r"dataset org/data has no revision 000000000000 \(404\); run `snakemake --cores 1 lock`")
    fails(
        wanted(commit, ["trian.jsonl"]),
        rf"source 'openo1': no file in dataset org/data at {commit[:12]} matches 'trian.jsonl'; of its 2 files the nearest "
        r"are train.jsonl",
    )
    with pytest.raises(
        ValueError, match=r"dataset org/data has no file 'x.jsonl' at revision .{12} \(404\); correct files"
    ):
        Hub.from_environment().open(f"{hub.endpoint}/datasets/org/data/resolve/{commit}/x.jsonl", Repo("dataset", "org/data"),
                                    revision=commit, path="x.jsonl")  # fmt: skip


@pytest.mark.parametrize(
    "name", ["../evil.jsonl", "/etc/evil.jsonl", "a/../../evil.jsonl", "a//evil.jsonl", "a\\evil.jsonl"]
)
def test_names_that_could_leave_the_folder_are_refused(hub, name):
    commit = hub.add("dataset", "org/data", {name: SMALL})
    fails(wanted(commit, ["**/*.jsonl"]), r"holds a file named .* which could leave the download folder; refused")


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_redirects_to_other_schemes_are_refused(hub, scheme):
    commit = hub.add("dataset", "org/data", {"a.jsonl": BIG})
    hub.redirect_scheme = scheme
    fails(wanted(commit), rf"127.0.0.1 redirects to {scheme}://127.0.0.2; only https \(or http from http\) is followed")


class Redirects:
    """Answers requests by redirects to these addresses, one after another, and keeps what was asked."""

    def __init__(self, *locations: str) -> None:
        self.locations = list(locations)
        self.asked: list[tuple[str, str | None]] = []

    def open(self, request: urllib.request.Request, timeout: float) -> object:
        self.asked.append((request.full_url, request.get_header("Authorization")))
        if not self.locations:
            return "answer"
        headers = email.message.Message()
        headers["Location"] = self.locations.pop(0)
        raise urllib.error.HTTPError(request.full_url, 302, "Found", headers, io.BytesIO())


def redirected(*locations: str, start: str = "https://hub.example/x") -> list[tuple[str, str | None]]:
    hub = Hub("https://hub.example", "hf_secret")
    hub._opener = Redirects(*locations)
    assert hub.open(start, Repo("dataset", "org/data")) == "answer"
    return hub._opener.asked


def test_the_token_goes_to_the_endpoints_own_scheme_host_and_port_only():
    mine, other = ("https://hub.example/x", "Bearer hf_secret"), "https://hub.example:8443/x"
    assert redirected() == [mine]
    assert redirected("/y") == [mine, ("https://hub.example/y", "Bearer hf_secret")]
    assert redirected("https://hub.example:443/y")[1] == ("https://hub.example:443/y", "Bearer hf_secret")
    assert redirected(other)[1] == (other, None)
    for host in ("cdn.example", "evil.hub.example", "hub.example.evil", "hub.example@evil"):
        assert redirected(f"https://{host}/x")[1] == (f"https://{host}/x", None)
    assert redirected("https://cdn.example/a", "https://hub.example/b")[2][1] == "Bearer hf_secret"
    assert redirected("http://hub.example/y", start="http://hub.example/x") == [
        ("http://hub.example/x", None),
        ("http://hub.example/y", None),
    ]
    assert redirected("https://cdn.example/a b")[1] == ("https://cdn.example/a%20b", None)


@pytest.mark.parametrize(
    ("locations", "text"),
    [
        (["http://hub.example/x"], "hub.example redirects to http://hub.example; only https"),
        (["https://cdn.example/x", "http://cdn.example/x"], "cdn.example redirects to http://cdn.example; only https"),
        (["file:///etc/passwd"], "hub.example redirects to file://; only https"),
        (["https://cdn.example:port/x"], "hub.example redirects to no address .*check HF_ENDPOINT"),
        (["/x"] * 9, "more than 8 redirects from hub.example; check HF_ENDPOINT"),
    ],
)
def test_a_redirect_that_is_not_followed_is_one_sentence(locations, text):
    with pytest.raises(ValueError, match=rf"dataset org/data: {text}") as e:
        redirected(*locations)
    assert "secret" not in str(e.value)


def test_an_endpoint_that_is_no_hub_is_named(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc")
    fails(wanted("0" * 40), r"HF_ENDPOINT is 'file:///etc'; an http or https address is wanted")


def test_an_endpoint_with_a_password_is_refused_and_not_shown(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint.replace("//", "//me:secret@"))
    fails(wanted("0" * 40), "HF_ENDPOINT holds a name or a password before its host; leave them out")
    assert not hub.requests
