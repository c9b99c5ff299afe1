"""Damaged files, links, modes and owners of a prepared model: a typed error or the right vectors."""

import itertools
import json
import os
import shutil
from pathlib import Path

import pytest

from loader import ArtifactError, ModelError
from loader.artifacts.manifest import FILE, read_manifest
from tests.support.prepared import (
    ENGINE,
    IS_ROOT,
    assert_clean,
    assert_same_vectors,
    assert_works,
    copied,
    edit,
    flip_a_bit,
    link_the_folder,
    load,
    usable,
)
from tests.support.tiers import representative
from tests.support.tiny_bert import TEXTS

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.name != "posix", reason="POSIX files and signals"),
]


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def empty(path):
    os.truncate(path, 0)


def link(path):
    """Put a link in its place, to a file that is right."""
    target = path.parent.parent / f"elsewhere-{path.name}"
    path.replace(target)
    path.symlink_to(target)


def make_a_folder(path):
    path.unlink()
    path.mkdir()


def make_a_pipe(path):
    path.unlink()
    os.mkfifo(path)


def for_everybody(path):
    path.chmod(0o606)


def for_the_group(path):
    path.chmod(0o660)


DAMAGES = [
    truncate,
    empty,
    flip_a_bit,
    link,
    make_a_folder,
    make_a_pipe,
    for_everybody,
    for_the_group,
    Path.unlink,
]
# Each damage once, in the precision where it has more to break; a flipped bit, which only a hash shows, in both.
ONCE = {
    *((precision, flip_a_bit) for precision in ENGINE),
    *(("float32", damage) for damage in (truncate, link, for_everybody, Path.unlink)),
    *(("int8", damage) for damage in (empty, make_a_folder, make_a_pipe, for_the_group)),
}
by_precision_and_name = pytest.mark.parametrize(
    ("precision", "damage"),
    representative(ONCE, itertools.product(ENGINE, DAMAGES)),
    ids=lambda value: getattr(value, "__name__", value),
)
both = pytest.mark.parametrize("precision", ["float32", "int8"])


def names_in(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def damaged(folder, name, damage):
    """Damage one file and return whether anything could notice; a flipped bit of a manifest may do no harm."""
    damage(folder / name)
    return not (damage is flip_a_bit and name.name == FILE)


class TestDamaged:
    @by_precision_and_name
    def test_a_damaged_folder_is_a_typed_error(self, own_cache, pristine, tmp_path, expected, precision, damage):
        source, names = pristine
        strategy = "quantized" if precision == "int8" else "lazy"
        for number, name in enumerate(names_in(source / names[precision])):
            folder = copied(source / names[precision], tmp_path / "copies" / str(number))
            noticed = damaged(folder, name, damage)
            if name.name == FILE and damage is Path.unlink:
                # What is left is not an artifact any more: a plain model folder, or none.
                if precision == "float32":
                    assert_same_vectors(load(folder).embed_batch(TEXTS), expected)
                else:
                    with pytest.raises(ModelError):
                        load(folder, strategy)
                continue
            for engine in ("auto", "numpy", "onnx"):
                try:
                    vectors = load(folder, strategy, engine=engine).embed_batch(TEXTS)
                except ArtifactError as error:
                    assert str(folder) in str(error)
                else:
                    assert not noticed, f"{name} was used"
                    assert_same_vectors(vectors, expected, precision)

    @by_precision_and_name
    def test_a_damaged_one_of_the_store_is_passed_over_and_made_anew(
        self, own_cache, stored, tiny, expected, precision, damage
    ):
        for name in names_in(stored(precision)):
            folder = stored(precision)
            noticed = damaged(folder, name, damage)
            assert usable(tiny, precision) is None or not noticed, f"{name} was used"
            if precision == "float32":
                provider = load(tiny, "cached")
                assert_same_vectors(provider.embed_batch(TEXTS), expected)
                if noticed:
                    with pytest.raises(ArtifactError, match="has not been prepared"):
                        load(tiny, "cached", engine="onnx")
        # The last of them is the weights', of both precisions the largest file; the next run is clean.
        weights = stored(precision) / ("model.int8.safetensors" if precision == "int8" else "model.safetensors")
        damage(weights)
        strategy = "quantized" if precision == "int8" else "cached"
        for what in ("now", None):
            provider = load(tiny, strategy, engine=ENGINE[precision], compile=what)
            assert_same_vectors(provider.embed_batch(TEXTS), expected, precision)
        assert_clean(own_cache)

    @pytest.mark.parametrize(
        "damage",
        representative({truncate, make_a_pipe, Path.unlink}, DAMAGES),
        ids=lambda damage: damage.__name__,
    )
    def test_a_damaged_manifest_of_the_store_is_made_anew(self, own_cache, stored, tiny, expected, damage):
        damage(stored("int8") / FILE)
        for _ in range(2):
            assert_same_vectors(load(tiny, "quantized").embed_batch(TEXTS), expected, "int8")
        assert_clean(own_cache)

    @both
    def test_links_and_modes_of_folders(self, own_cache, stored, tiny, precision):
        for damage in (
            lambda folder: link_the_folder(folder / "1_Pooling" / "config.json"),
            lambda folder: link_the_folder(folder / FILE),
            lambda folder: (folder / "1_Pooling").chmod(0o707),
            lambda folder: (folder / "1_Pooling").chmod(0o770),
            lambda folder: folder.chmod(0o707),
            lambda folder: folder.chmod(0o770),
        ):
            for path in (own_cache / "artifacts").glob("*"):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            folder = stored(precision)
            damage(folder)
            assert usable(tiny, precision) is None
            with pytest.raises(ArtifactError):
                load(folder, "quantized" if precision == "int8" else "lazy")

    def test_a_link_at_any_depth(self, own_cache, pristine, tmp_path):
        """Each folder between the artifact and a file counts, not only the last."""
        source, names = pristine
        folder = copied(source / names["float32"], tmp_path / "copy")
        (folder / "a" / "b").mkdir(parents=True, mode=0o700)
        (folder / "a").chmod(0o700)
        (folder / "a" / "b" / "c").write_bytes(b"")
        (folder / "a" / "b" / "c").chmod(0o600)
        nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        files = json.loads((folder / FILE).read_text())["files"]
        edit(folder, files=[*files, {"name": "a/b/c", "bytes": 0, "sha256": nothing}])
        load(folder)
        link_the_folder(folder / "a" / "b")
        with pytest.raises(ArtifactError, match="is a link"):
            load(folder)

    @both
    def test_files_that_the_manifest_does_not_list(self, own_cache, stored, tiny, expected, precision):
        """Each file that an engine opens: changed, with an entry for it left out; or there, where none was."""
        strategy = "quantized" if precision == "int8" else "lazy"
        names = [entry.name for entry in read_manifest(stored(precision)).files]
        assert {"config.json", "1_Pooling/config.json", "tokenizer.json", "model.onnx"} <= set(names)
        for name in names:
            folder = stored(precision)
            flip_a_bit(folder / name)
            edit(folder, files=[f for f in json.loads((folder / FILE).read_text())["files"] if f["name"] != name])
            assert usable(tiny, precision) is None, name
            with pytest.raises(ArtifactError, match=f"{name} is not listed in the manifest"):
                load(folder, strategy)
        for name in ("adapter_config.json", "special_tokens_map.json", "1_Pooling/model.safetensors", "9/vocab.txt"):
            folder = stored(precision)
            (folder / name).parent.mkdir(mode=0o700, exist_ok=True)
            (folder / name).write_bytes(b"{}")
            assert usable(tiny, precision) is None, name
            with pytest.raises(ArtifactError, match=f"{name} is not listed in the manifest"):
                load(folder, strategy)
        folder = stored(precision)
        (folder / "README.md").write_text("Mine.")
        (folder / ".DS_Store").write_bytes(b"\0")
        assert_same_vectors(load(folder, strategy).embed_batch(TEXTS), expected, precision)

    @pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
    @both
    def test_files_of_another_user(self, own_cache, stored, tiny, expected, precision):
        for name in (".", FILE, "model.onnx", "1_Pooling"):
            folder = stored(precision)
            os.chown(folder / name, 12345, 12345)
            assert usable(tiny, precision) is None
            with pytest.raises(ArtifactError, match="belongs to another user"):
                load(folder, "quantized" if precision == "int8" else "lazy")
        assert_works(tiny, expected, precision)
        assert_clean(own_cache)
