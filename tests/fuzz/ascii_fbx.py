"""FBX written as text (7.4), as much of it as the tests need: nodes, animation stacks, a bind pose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

KTIME_PER_S = 46186158000
_CURVE_NODES = {"T": "Lcl Translation", "R": "Lcl Rotation", "S": "Lcl Scaling"}
_AXES = {"Y": (1, 1, 2, 1), "Z": (2, 1, 1, -1)}  # up axis, its sign, front axis, its sign
_LINEAR, _CUBIC = 4, 24836

Keys = tuple[Sequence[float], Sequence[Sequence[float]]]
"""Seconds (K,) and values (K, 3): centimetres, degrees or factors."""


class AsciiFbx:
    """A file that grows; `text` gives it.

    Args:
        unit_cm: what one unit of length is.
        up: "Y" or "Z".
    """

    def __init__(self, unit_cm: float = 1.0, up: str = "Y") -> None:
        self._unit_cm, self._up = unit_cm, up
        self._objects: list[str] = []
        self._connections: list[str] = []
        self._last = 1000

    def node(self, name: str, parent: int = 0, kind: str = "LimbNode", **properties: Any) -> int:
        """Adds a node and returns its id. Properties: T, R, S and FBX names without spaces, such as PreRotation."""
        number = self._number()
        rows = []
        for key, value in properties.items():
            words = ",".join(str(v) for v in (value if isinstance(value, Sequence) else (value,)))
            if key in _CURVE_NODES:
                rows.append(f'P: "{_CURVE_NODES[key]}", "{_CURVE_NODES[key]}", "", "A",{words}')
            elif isinstance(value, Sequence):
                rows.append(f'P: "{key}", "Vector3D", "Vector", "",{words}')
            else:
                rows.append(f'P: "{key}", "enum", "", "",{words}')
        if kind != "Null":
            attribute = self._number()
            self._add("NodeAttribute" if kind != "Mesh" else "Geometry", attribute, name, kind, [])
            self._connect(attribute, number)
        self._add("Model", number, name, kind, ["Version: 232", *_properties(rows)])
        self._connect(number, parent)
        return number

    def stack(
        self,
        name: str,
        tracks: Mapping[tuple[int, str], Keys],
        span_s: tuple[float, float] | None = None,
        *,
        cubic: bool = False,
    ) -> None:
        """Adds an animation of (node, "T", "R" or "S") -> keys; `span_s` is its declared time range."""
        stack, layer = self._number(), self._number()
        begin, end = span_s or (0.0, max((keys[0][-1] for keys in tracks.values()), default=0.0))
        times = [
            f'P: "{key}", "KTime", "Time", "",{round(value * KTIME_PER_S)}'
            for key, value in (("LocalStart", begin), ("LocalStop", end))
        ]
        self._add("AnimationStack", stack, name, "", _properties(times), "AnimStack")
        self._add("AnimationLayer", layer, "Base", "", [], "AnimLayer")
        self._connect(layer, stack)
        for (node, path), (seconds, values) in tracks.items():
            curve_node = self._number()
            self._add("AnimationCurveNode", curve_node, path, "", [], "AnimCurveNode")
            self._connect(curve_node, layer)
            self._connect(curve_node, node, _CURVE_NODES[path])
            for axis in range(3):
                self._curve(curve_node, "XYZ"[axis], seconds, [row[axis] for row in values], cubic)

    def bind(self, matrices: Mapping[int, Sequence[float]]) -> None:
        """Adds a bind pose: node -> 16 numbers, column after column, in the unit of the file."""
        rows = ['Type: "BindPose"', "Version: 100", f"NbPoseNodes: {len(matrices)}"]
        for node, matrix in matrices.items():
            rows += ["PoseNode:  {", f"Node: {node}", _numbers("Matrix", matrix), "}"]
        self._add("Pose", self._number(), "Bind", "BindPose", rows)

    @property
    def text(self) -> str:
        up, up_sign, front, front_sign = _AXES[self._up]
        settings = [
            f'P: "{name}", "int", "Integer", "",{value}'
            for name, value in (
                ("UpAxis", up),
                ("UpAxisSign", up_sign),
                ("FrontAxis", front),
                ("FrontAxisSign", front_sign),
                ("CoordAxis", 0),
                ("CoordAxisSign", 1),
            )
        ]
        settings.append(f'P: "UnitScaleFactor", "double", "Number", "",{self._unit_cm}')
        parts = [
            "; FBX 7.4.0 project file",
            "FBXHeaderExtension:  {\nFBXHeaderVersion: 1003\nFBXVersion: 7400\n}",
            "GlobalSettings:  {\nVersion: 1000\n" + "\n".join(_properties(settings)) + "\n}",
            "Objects:  {\n" + "\n".join(self._objects) + "\n}",
            "Connections:  {\n" + "\n".join(self._connections) + "\n}",
        ]
        return "\n".join(parts) + "\n"

    def save(self, path: Path) -> Path:
        path.write_text(self.text)
        return path

    def _number(self) -> int:
        self._last += 1
        return self._last

    def _add(self, what: str, number: int, name: str, kind: str, rows: Sequence[str], prefix: str = "") -> None:
        body = "\n".join(rows)
        self._objects.append(f'{what}: {number}, "{prefix or what}::{name}", "{kind}" {{\n{body}\n}}')

    def _connect(self, child: int, parent: int, name: str = "") -> None:
        kind, end = ("OP", f', "{name}"') if name else ("OO", "")
        self._connections.append(f'C: "{kind}",{child},{parent}{end}')

    def _curve(
        self, curve_node: int, axis: str, seconds: Sequence[float], values: Sequence[float], cubic: bool
    ) -> None:
        number = self._number()
        rows = [
            "Default: 0",
            "KeyVer: 4008",
            _numbers("KeyTime", [round(s * KTIME_PER_S) for s in seconds]),
            _numbers("KeyValueFloat", values),
            _numbers("KeyAttrFlags", [_CUBIC if cubic else _LINEAR]),
            _numbers("KeyAttrDataFloat", [0, 0, 0, 0]),
            _numbers("KeyAttrRefCount", [len(seconds)]),
        ]
        self._add("AnimationCurve", number, "", "", rows, "AnimCurve")
        self._connect(number, curve_node, f"d|{axis}")


def _properties(rows: Sequence[str]) -> list[str]:
    return ["Properties70:  {", *rows, "}"] if rows else []


def _numbers(name: str, values: Sequence[float]) -> str:
    return f"{name}: *{len(values)} {{\na: {','.join(str(v) for v in values)}\n}}"
