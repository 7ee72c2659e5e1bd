"""The wire protocol's rules, checked on its descriptors."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[2]
PROTOS = sorted(path.relative_to(ROOT / "protos").as_posix() for path in (ROOT / "protos").rglob("*.proto"))
ENUM_VALUE = re.compile(r"[A-Z][A-Z0-9_]*")


def protoc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'protos'}", *arguments, *PROTOS], check=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[descriptor_pb2.FileDescriptorProto]:
    path = tmp_path_factory.mktemp("protos") / "set.bin"
    protoc("--include_source_info", f"--descriptor_set_out={path}")
    return list(descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file)


def commented_paths(file: descriptor_pb2.FileDescriptorProto) -> set[tuple[int, ...]]:
    return {tuple(location.path) for location in file.source_code_info.location if location.leading_comments.strip()}


def declarations(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Source paths and names; numbers are the fields of FileDescriptorProto and its parts."""
    for i, message in enumerate(file.message_type):
        assert not message.nested_type and not message.enum_type, "nested types are not walked by this test"
        yield (4, i), message.name
        for j, field in enumerate(message.field):
            yield (4, i, 2, j), f"{message.name}.{field.name}"
        for j, oneof in enumerate(message.oneof_decl):
            yield (4, i, 8, j), f"{message.name}.{oneof.name}"
    for i, enum in enumerate(file.enum_type):
        yield (5, i), enum.name
        for j, value in enumerate(enum.value):
            yield (5, i, 2, j), value.name
    for i, service in enumerate(file.service):
        yield (6, i), service.name
        for j, method in enumerate(service.method):
            yield (6, i, 2, j), f"{service.name}.{method.name}"


def test_every_declaration_is_commented(files: list[Any]) -> None:
    bare = [
        f"{file.name}: {n}" for file in files for path, n in declarations(file) if path not in commented_paths(file)
    ]
    assert len([d for file in files for d in declarations(file)]) > 80
    assert bare == []


def test_enums_are_prefixed_and_begin_with_unspecified(files: list[Any]) -> None:
    for enum in (enum for file in files for enum in file.enum_type):
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"
        assert (enum.value[0].number, enum.value[0].name) == (0, f"{prefix}UNSPECIFIED")
        assert all(value.name.startswith(prefix) and ENUM_VALUE.fullmatch(value.name) for value in enum.value)


def test_nothing_is_used_that_unreal_generators_lack(files: list[Any]) -> None:
    for file in files:
        assert not [d for d in file.dependency if not d.startswith("animoe/v1/")]
        assert not [field.name for message in file.message_type for field in message.field if field.proto3_optional]


def test_methods_have_their_own_requests_and_responses(files: list[Any]) -> None:
    methods = [method for file in files for service in file.service for method in service.method]
    assert methods
    for method in methods:
        assert method.input_type == f".animoe.v1.{method.name}Request"
        assert method.output_type == f".animoe.v1.{method.name}Response"


def test_files_lie_where_their_package_says(files: list[Any]) -> None:
    for file in files:
        assert file.package == "animoe.v1" and file.name.startswith("animoe/v1/")
        assert file.options.csharp_namespace == "AniMoE.V1"


def test_regenerating_changes_nothing(tmp_path: Path) -> None:
    protoc(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", f"--grpc_python_out={tmp_path}")
    made = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.py*")}
    committed_folder = ROOT / "server"
    committed = {
        path.relative_to(committed_folder): path.read_text()
        for path in (committed_folder / "animoe" / "v1").glob("*_pb2*.py*")
    }
    assert len(made) == 3 * len(PROTOS)
    assert made == committed, "run `make protos` and commit the result"


def test_declared_requirements_run_the_generated_code() -> None:
    """Generated modules refuse to import under older libraries than the ones they were made with."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    grpc_version = re.search(
        r"GRPC_GENERATED_VERSION = '(.+)'",
        (ROOT / "server/animoe/v1/animation_service_pb2_grpc.py").read_text(),
    )
    protobuf_version = re.search(r"Protobuf Python Version: (.+)", (ROOT / "server/animoe/v1/clip_pb2.py").read_text())
    assert grpc_version and f"grpcio>={grpc_version[1]}" in needed
    assert protobuf_version and f"protobuf>={protobuf_version[1]}" in needed
