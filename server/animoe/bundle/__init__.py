"""Bundles on disk: manifest, digests, export to ONNX, and the default bundle that ships with the package."""

from animoe.bundle.manifest import Manifest, default_bundle, read_manifest, verify_files, write_manifest

__all__ = ["Manifest", "default_bundle", "read_manifest", "verify_files", "write_manifest"]
