"""Reports of imports over gRPC: the page of a version and of a job, and nothing else of the server's disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from animoe.bundle.publishing import rollback
from animoe.cli import main as cli
from animoe.client import Client, ClientError
from animoe.errors import NotFound, Overloaded
from animoe.serving import reports
from animoe.serving.jobs.job import Job
from animoe.serving.reports import CHUNK_BYTES, job_report, report_chunks, scenario_report
from animoe.v1 import scenario_service_pb2 as pb
from animoe.v1 import scenario_service_pb2_grpc

PAGE = ("<!doctype html><title>dance</title>" + "π" * CHUNK_BYTES).encode()
"""Larger than one piece, and a piece ends inside a letter."""


def add_page(bundle: Path, expert: str, page: bytes = PAGE) -> Path:
    path = bundle / "experts" / expert / "report.html"
    path.write_bytes(page)
    return path


def job(report: Any) -> Job:
    return Job(scenario="dance", bundle="", pack="", pack_name="", report=json.dumps(report) if report else "")


class TestOverTheWire:
    def test_the_page_arrives_whole_in_pieces(
        self, learner: Any, learner_client: Client, publish_expert: Callable[..., Any]
    ) -> None:
        publish_expert(learner.bundle, "dance")
        add_page(learner.bundle, "dance@1")
        assert learner_client.scenarios.report("dance") == PAGE
        with grpc.insecure_channel(learner.target) as channel:
            stub = scenario_service_pb2_grpc.ScenarioServiceStub(channel)
            pieces = [len(piece.chunk) for piece in stub.GetReport(pb.GetReportRequest(scenario="dance"), timeout=20)]
        assert len(pieces) > 2 and max(pieces) <= CHUNK_BYTES

    def test_versions_are_told_apart(
        self, learner: Any, learner_client: Client, publish_expert: Callable[..., Any]
    ) -> None:
        for version in (1, 2):
            publish_expert(learner.bundle, "dance")
            add_page(learner.bundle, f"dance@{version}", b"page %d" % version)
        assert learner_client.scenarios.report("dance") == b"page 2"
        assert learner_client.scenarios.report("dance", 1) == b"page 1"
        rollback(learner.bundle, "dance")
        assert learner_client.scenarios.report("dance") == b"page 1"

    def test_what_is_not_there_is_said(
        self, learner: Any, learner_client: Client, publish_expert: Callable[..., Any]
    ) -> None:
        publish_expert(learner.bundle, "dance")
        for call, words in (
            (lambda: learner_client.scenarios.report("walk"), "no scenario 'walk'"),
            (lambda: learner_client.scenarios.report("dance"), "no report of dance@1"),
            (lambda: learner_client.scenarios.report("dance", 7), "no version 7; it has 1"),
            (lambda: learner_client.scenarios.report("dance", -1), "version must be 1 or more"),
            (lambda: learner_client.scenarios.report(""), "no scenario ''"),
            (lambda: learner_client.scenarios.job_report("123456"), "123456"),
        ):
            with pytest.raises(ClientError, match=words):
                call()
        with (
            grpc.insecure_channel(learner.target) as channel,
            pytest.raises(grpc.RpcError, match="no report was named"),
        ):
            list(scenario_service_pb2_grpc.ScenarioServiceStub(channel).GetReport(pb.GetReportRequest(), timeout=20))

    def test_a_server_that_must_not_learn_says_so(self, client: Client) -> None:
        with pytest.raises(ClientError, match="never written"):
            client.scenarios.report("dance")

    def test_the_command_line_writes_it(
        self,
        learner: Any,
        publish_expert: Callable[..., Any],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        publish_expert(learner.bundle, "dance")
        add_page(learner.bundle, "dance@1")
        for where in (["--server", learner.target], ["--bundle", str(learner.bundle)]):
            out = tmp_path / where[0] / "page.html"
            assert cli(["scenario", "show", "dance", *where, "--report", str(out)]) == 0
            assert out.read_bytes() == PAGE and f"report written to {out}" in capsys.readouterr().out
        assert cli(["scenario", "show", "dance", "--bundle", str(learner.bundle), "--report", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert "cannot be written" in said and said.count("\n") == 1


class TestOnDisk:
    def test_a_refused_import_has_a_report_too(self, tmp_path: Path) -> None:
        page = tmp_path / "imports" / "dance-0001" / "report.html"
        page.parent.mkdir(parents=True)
        page.write_bytes(b"why")
        assert job_report(tmp_path, job({"result": "refused", "report": str(page)})).read_bytes() == b"why"

    def test_nothing_outside_the_bundle_is_sent(self, tmp_path: Path) -> None:
        bundle, secret = tmp_path / "bundle", tmp_path / "report.html"
        bundle.mkdir()
        secret.write_text("secret")
        (bundle / "manifest.json").write_text("{}")
        (bundle / "report.html").symlink_to(secret)
        paths = (secret, bundle / ".." / "report.html", bundle / "manifest.json", bundle / "report.html", "/etc/passwd")
        for said in (*({"report": str(path)} for path in paths), {"report": 7}, {}, None):
            with pytest.raises(NotFound, match="has no report"):
                job_report(bundle, job(said))

    def test_a_page_that_is_too_large_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reports, "MAX_REPORT_BYTES", 1 << 20)
        path = tmp_path / "report.html"
        path.write_bytes(b"x" * (1 << 20))
        assert sum(map(len, report_chunks(path))) == 1 << 20
        path.write_bytes(b"x" * ((1 << 20) + 1))
        with pytest.raises(Overloaded, match="at most 1 are sent"):
            list(report_chunks(path))

    def test_a_bundle_without_scenarios(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="no scenario 'dance'"):
            scenario_report(tmp_path, "dance")
