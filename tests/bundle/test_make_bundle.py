"""Bundles: damaged ones are refused in plain words; a good one computes the same in ONNX and in torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from safetensors.torch import load_file, save_file

from animoe.bundle import read_manifest, verify_files
from animoe.bundle.export import example_inputs
from animoe.bundle.manifest import MANIFEST, REQUIRED_FILES
from animoe.bundle.stacks import lay_out, quantised, split_experts
from animoe.engine import Engine
from animoe.engine.runtime import Runtime
from animoe.errors import BundleError, InvalidRequest
from animoe.models.decode_step import DecodeStep, stack_experts
from animoe.models.samoe import silent_expert
from animoe.models.sequence import EXPERT_INPUTS
from animoe_trainer.base import load_motion_lm
from animoe_trainer.make_bundle import make_bundle, round_to_half, verify_bundle
from animoe_trainer.tokenizer import load_tokenizer

ATOL = 1e-5  # float32 sums in another order


@pytest.fixture
def copy(tiny: Any, tmp_path: Path) -> Path:
    """A bundle that a test may damage."""
    return Path(shutil.copytree(tiny.bundle, tmp_path / "bundle"))


def random_stacks(step: DecodeStep) -> dict[str, np.ndarray]:
    """Three experts, the same at every call."""
    random = np.random.default_rng(0)
    silent = stack_experts([silent_expert(step.lm.backbone, step.rank)] * 3, step.layers)
    return {
        name: random.normal(scale=0.3, size=stack.shape).astype(np.float32)
        for name, stack in zip(EXPERT_INPUTS, silent, strict=True)
    }


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    raw = json.loads((folder / MANIFEST).read_text())
    change(raw)
    (folder / MANIFEST).write_text(json.dumps(raw))


class TestRefusals:
    def test_a_folder_without_manifest_is_no_bundle(self, tmp_path: Path) -> None:
        with pytest.raises(BundleError, match="is not a bundle"):
            Engine.load(tmp_path)

    def test_a_manifest_of_another_version(self, copy: Path) -> None:
        edit_manifest(copy, lambda raw: raw.update(format_version=99))
        with pytest.raises(BundleError, match="format version 99"):
            read_manifest(copy)

    @pytest.mark.parametrize("text", ["", "[]", "{", '"text"', "null"])
    def test_a_manifest_that_is_not_one(self, copy: Path, text: str) -> None:
        (copy / MANIFEST).write_text(text)
        with pytest.raises(BundleError, match=MANIFEST):
            read_manifest(copy)

    @pytest.mark.parametrize("field", ["name", "groups", "cache", "decoder_state", "files"])
    def test_a_manifest_that_lacks_a_field(self, copy: Path, field: str) -> None:
        edit_manifest(copy, lambda raw: raw.pop(field))
        with pytest.raises(BundleError, match="damaged"):
            read_manifest(copy)

    @pytest.mark.parametrize("value", [None, 3, "four", [1, "x", 2], [[], 1, 2]])
    def test_a_manifest_with_a_wrong_value(self, copy: Path, value: object) -> None:
        edit_manifest(copy, lambda raw: raw.update(cache=value))
        with pytest.raises(BundleError, match="damaged"):
            read_manifest(copy)

    @pytest.mark.parametrize("name", REQUIRED_FILES)
    def test_a_missing_file_is_named(self, copy: Path, name: str) -> None:
        (copy / name).unlink()
        with pytest.raises(BundleError, match=name):
            Engine.load(copy)

    @pytest.mark.parametrize(
        "name", ["prompt_encoder.onnx", "prompt_tokenizer.json", "motion_lm_step.onnx", "decoder.onnx"]
    )
    def test_a_damaged_file_is_named(self, copy: Path, name: str) -> None:
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(BundleError, match=name):
            Engine.load(copy)

    def test_weights_cut_short(self, copy: Path) -> None:
        weights = copy / "motion_lm.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(BundleError, match="motion_lm.safetensors"):
            Engine.load(copy)

    def test_a_changed_byte_fails_verification(self, copy: Path) -> None:
        verify_files(copy, read_manifest(copy))
        data = bytearray((copy / "motion_lm.safetensors").read_bytes())
        data[-1] ^= 1
        (copy / "motion_lm.safetensors").write_bytes(data)
        with pytest.raises(BundleError, match="motion_lm.safetensors"):
            verify_files(copy, read_manifest(copy))

    def test_graphs_that_differ_from_the_weights_fail_verification(self, copy: Path) -> None:
        weights = load_file(copy / "tokenizer.safetensors")
        weights["decoder.mean"] = weights["decoder.mean"] + 1  # a statistic: the graph has its own
        save_file(weights, copy / "tokenizer.safetensors")
        with pytest.raises(BundleError, match="decoder.onnx differs"):
            verify_bundle(copy)


class TestMaking:
    def test_a_folder_of_something_else_is_never_replaced(self, tiny: Any, tmp_path: Path) -> None:
        (tmp_path / "letter.txt").write_text("dear reader")
        with pytest.raises(InvalidRequest, match="is not a bundle"):
            make_bundle(tiny.tokenizer, tiny.base, tmp_path, "x")
        assert (tmp_path / "letter.txt").is_file()

    def test_a_generator_of_another_tokenizer_is_refused(self, tiny: Any, tmp_path: Path) -> None:
        base = Path(shutil.copytree(tiny.base, tmp_path / "base"))
        config = json.loads((base / "motion_lm.json").read_text())
        torch.manual_seed(0)
        other = load_motion_lm(base)
        config["groups"] = 3
        from animoe.models.motion_lm import MotionLM, MotionLMConfig
        from animoe_trainer.base import save_motion_lm

        assert other.config.groups == 5
        save_motion_lm(MotionLM(MotionLMConfig(**config)), base)
        with pytest.raises(BundleError, match="3 x 256 codes"):
            make_bundle(tiny.tokenizer, base, tmp_path / "out", "x")
        assert not (tmp_path / "out").exists()

    def test_a_failed_export_leaves_the_old_bundle(self, tiny: Any, copy: Path, tmp_path: Path) -> None:
        base = Path(shutil.copytree(tiny.base, tmp_path / "base"))
        (base / "prompt_encoder.onnx").unlink()
        with pytest.raises(BundleError, match="prompt_encoder.onnx"):
            make_bundle(tiny.tokenizer, base, copy, "x")
        verify_files(copy, read_manifest(copy))
        assert sorted(p.name for p in tmp_path.iterdir()) == ["base", "bundle"]

    def test_weights_that_half_precision_cannot_hold_are_refused(self, tiny: Any) -> None:
        model = load_tokenizer(tiny.tokenizer)
        with torch.no_grad():
            model.lift.weight[0, 0] = 1e6
        with pytest.raises(BundleError, match="not finite"):
            round_to_half(model)

    def test_weights_are_stored_in_half_precision_and_statistics_are_exact(self, tiny: Any) -> None:
        before, stored = (load_file(f / "tokenizer.safetensors") for f in (tiny.tokenizer, tiny.bundle))
        assert stored["lift.weight"].dtype == torch.float16
        assert torch.equal(stored["input_mean"], before["input_mean"])
        lm = load_file(tiny.bundle / "motion_lm.safetensors")
        assert {tensor.dtype for tensor in lm.values() if tensor.is_floating_point()} == {torch.float16}

    def test_any_user_may_read_it(self, tiny: Any) -> None:
        assert all(path.stat().st_mode & 0o044 == 0o044 for path in tiny.bundle.iterdir())


class TestAgreement:
    @pytest.mark.parametrize("cuts", [[], [1], [1, 2, 3], [5, 11], list(range(1, 16))])
    def test_streamed_onnx_decoding_equals_offline_torch(self, tiny: Any, cuts: list[int]) -> None:
        tokenizer, runtime = load_tokenizer(tiny.bundle), Runtime(tiny.bundle)
        codes = np.random.default_rng(1).integers(256, size=(16, tokenizer.config.groups))
        with torch.no_grad():
            expected = tokenizer.decode(torch.from_numpy(codes)[None])[0][0].numpy()
        state, parts = runtime.new_decoder_state(), []
        for chunk in np.split(codes, cuts):
            features, state = runtime.decode(chunk[None], state)
            parts.append(features[0])
        np.testing.assert_allclose(np.concatenate(parts), expected, atol=ATOL)

    @pytest.mark.parametrize(
        ("batch", "new", "past", "draws"), [(1, 1, 1, 1), (1, 9, 1, 16), (3, 1, 7, 3), (2, 4, 2, 5), (5, 2, 40, 1)]
    )
    def test_the_step_in_float32_equals_torch_at_every_size(
        self, tiny: Any, float_bundle: Path, batch: int, new: int, past: int, draws: int
    ) -> None:
        step = DecodeStep(load_motion_lm(tiny.bundle))
        torch.manual_seed(batch)
        inputs = example_inputs(step, batch=batch, new=new, past=past, draws=draws)
        with torch.no_grad():
            codes, keys, values = step(*inputs.values())
        session = ort.InferenceSession(str(float_bundle / "motion_lm_step.onnx"))
        got_codes, got_keys, got_values = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        np.testing.assert_array_equal(got_codes, codes.numpy())
        np.testing.assert_allclose(got_keys, keys.numpy(), atol=ATOL)
        np.testing.assert_allclose(got_values, values.numpy(), atol=ATOL)

    def test_the_step_in_int8_comes_close_to_torch(self, tiny: Any) -> None:
        """Keys and values of all layers, within the rounding of 8 bits; experts as loud as the base."""
        step = DecodeStep(load_motion_lm(tiny.bundle))
        torch.manual_seed(0)
        inputs = example_inputs(step, batch=6, new=3, past=9, draws=6)
        experts = split_experts(random_stacks(step))
        plain = inputs | {name: torch.from_numpy(value) for name, value in lay_out(experts).items()}
        with torch.no_grad():
            _, *expected = step(*plain.values())
        feeds = {name: value.numpy() for name, value in inputs.items()} | lay_out([quantised(e) for e in experts])
        _, *found = ort.InferenceSession(str(tiny.bundle / "motion_lm_step.onnx")).run(None, feeds)
        for a, b in zip(found, expected, strict=True):
            assert 0 < np.abs(a - b.numpy()).mean() < 0.02 * np.abs(b.numpy()).mean()
