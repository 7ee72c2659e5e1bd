"""Which nodes of a glTF file are joints, their hierarchy and rest pose, and what becomes of scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from animoe.formats.gltf_document import Document, Json
from animoe.formats.names import clean_name, unique_names
from animoe.rig.rotations import IDENTITY, Array, from_matrix, normalize

MAX_JOINTS = 4096


@dataclass(frozen=True, eq=False)
class Joints:
    """J joints, parents before children.

    Attributes:
        names: J unique names.
        of_node: node index -> joint index.
        parents: (J,) joint indices, root -1.
        translations: (J, 3) relative to the parent as in the file, scale not yet folded in.
        rotations: (J, 4) unit quaternions xyzw.
        scales: (J, 3) positive.
    """

    names: tuple[str, ...]
    of_node: dict[int, int]
    parents: Array
    translations: Array
    rotations: Array
    scales: Array


def read_joints(document: Document, nodes: list[Json], animated: set[int]) -> Joints:
    """Picks skin joints, `animated` nodes and their ancestors, in the tree with most animated nodes.

    Raises:
        FileError: no joint, a node with two parents, a cycle, a mirrored or unusable transform.
    """
    parents = _parents(document, nodes)
    wanted = set(animated)
    for number, skin in enumerate(document.items("skins")):
        wanted.update(document.indices(skin, "joints", len(nodes), f"skin {number}"))
    if not wanted:
        raise document.error("it holds neither a skin nor animated nodes", remedy="Export it with its armature.")
    roots = _climb(document, wanted, parents)
    counts: dict[int, int] = {}
    for node in sorted(animated or wanted):
        counts[roots[node]] = counts.get(roots[node], 0) + 1
    best = max(counts, key=lambda root: counts[root])
    order = _parents_first([node for node in sorted(roots) if roots[node] == best], parents)
    if len(order) > MAX_JOINTS:
        raise document.error(f"{len(order)} joints, at most {MAX_JOINTS} are read", "nodes")
    of_node = {node: joint for joint, node in enumerate(order)}
    rest = [_rest_transform(document, nodes[node], f"node {node}") for node in order]
    return Joints(
        unique_names(clean_name(nodes[node].get("name")) or f"node_{node}" for node in order),
        of_node,
        np.array([of_node.get(parents.get(node, -1), -1) for node in order]),
        *(np.stack(part) for part in zip(*rest, strict=True)),
    )


def _parents(document: Document, nodes: list[Json]) -> dict[int, int]:
    """Child node -> parent node."""
    parents: dict[int, int] = {}
    for index, node in enumerate(nodes):
        for child in document.indices(node, "children", len(nodes), f"node {index}"):
            if child in parents:
                raise document.error(f"node {child} has two parents", f"node {index}")
            parents[child] = index
    return parents


def _climb(document: Document, wanted: set[int], parents: dict[int, int]) -> dict[int, int]:
    """Every wanted node and ancestor of one -> the root above it."""
    roots: dict[int, int] = {}
    for start in sorted(wanted):
        trail: dict[int, None] = {}
        node = start
        while node not in roots and node in parents:
            if node in trail:
                raise document.error("its ancestors form a circle", f"node {node}")
            trail[node] = None
            node = parents[node]
        root = roots.setdefault(node, node)
        roots.update(dict.fromkeys(trail, root))
    return roots


def _parents_first(members: list[int], parents: dict[int, int]) -> list[int]:
    """One tree's nodes (ascending), parents before children: file order if that does it, else depth first."""
    if all(parents.get(node, -1) < node for node in members):
        return members
    inside = set(members)
    children: dict[int, list[int]] = {}
    for node in members:
        if node in parents:
            children.setdefault(parents[node], []).append(node)
    order: list[int] = []
    waiting = [node for node in members if parents.get(node) not in inside]
    while waiting:
        node = waiting.pop()
        order.append(node)
        waiting.extend(reversed(children.get(node, [])))
    return order


def _rest_transform(document: Document, node: Json, place: str) -> tuple[Array, Array, Array]:
    """Translation (3,), rotation (4,) and scale (3,) of a node."""
    if "matrix" in node:
        return _decompose(document, document.numbers(node, "matrix", tuple(np.eye(4).ravel()), place), place)
    translation = document.numbers(node, "translation", (0.0, 0.0, 0.0), place)
    rotation = normalize(document.numbers(node, "rotation", tuple(IDENTITY), place))
    scale = document.numbers(node, "scale", (1.0, 1.0, 1.0), place)
    return translation, rotation, _usable_scale(document, scale, place)


def _decompose(document: Document, matrix: Array, place: str) -> tuple[Array, Array, Array]:
    """(16,) column-major affine matrix -> translation, rotation, scale; shear is left out."""
    m = matrix.reshape(4, 4).T
    axes = m[:3, :3]
    scale = np.linalg.norm(axes, axis=0)
    if np.linalg.det(axes) < 0:
        scale = -scale
    checked = _usable_scale(document, scale, place)
    if (scale == 0).any():
        return m[:3, 3], IDENTITY.copy(), checked
    return m[:3, 3], from_matrix(_orthonormal(axes / scale)), checked


def _orthonormal(axes: Array) -> Array:
    """The rotation nearest to a (3, 3) matrix of unit columns."""
    u, _, vt = np.linalg.svd(axes)
    nearest: Array = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
    return nearest


def _usable_scale(document: Document, scale: Array, place: str) -> Array:
    """Scale (3,) with zeros (a hidden part) taken as 1. Mirrored joints cannot be expressed by rotations."""
    if (scale < 0).any():
        remedy = "Apply the object's scale before exporting."
        raise document.error("it is mirrored (negative scale)", place, remedy)
    return np.where(scale < 1e-6, 1.0, scale)


def constant_scale(sampled: Array, rest: Array) -> Array:
    """Scale tracks (T, J, 3) -> scale (J, 3); where it changes or is not positive, that of `rest` (J, 3)."""
    steady = (np.ptp(sampled, axis=0) < 1e-3).all(axis=-1) & (sampled[0] > 1e-6).all(axis=-1)
    return np.where(steady[:, None], sampled[0], rest)


def fold_scale(translations: Array, scales: Array, parents: Array) -> Array:
    """Translations (T, J, 3) multiplied by all scale (J, 3) above each joint.

    Exact for uniform scale. A non-uniform one counts fully for a joint's own children, further down by its
    geometric mean.
    """
    if (np.abs(scales - 1) < 1e-5).all():
        return translations
    factors = np.ones_like(scales)
    above = np.ones(len(scales))  # product of the mean scales from the root down to and with this joint
    with np.errstate(all="ignore"):  # absurd values end as infinity or NaN; the reader refuses them
        means = np.cbrt(np.prod(scales, axis=-1))
        for joint, parent in enumerate(parents):
            grand = 1.0 if parent < 0 or parents[parent] < 0 else above[parents[parent]]
            above[joint] = means[joint] * (1.0 if parent < 0 else above[parent])
            if parent >= 0:
                factors[joint] = scales[parent] * grand
        folded: Array = translations * factors
    return folded
