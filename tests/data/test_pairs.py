"""Image-caption pairs: where they are found, how they are recognised, what is refused."""

import io
import os
import shutil
import tarfile
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clipn.data.captions import CaptionRecipe
from clipn.data.pairs import BadPair, Pair, Shard, open_pairs
from clipn.errors import DataError


def jpeg(shade: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 100, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


def pairs_of(shards: list[Shard]) -> list[Pair]:
    return [pair for shard in shards for pair in shard.read() if isinstance(pair, Pair)]


def captions_of(shards: list[Shard]) -> list[str]:
    return [pair.captions[0] for pair in pairs_of(shards)]


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return path


def numbered_tar(path: Path, num_pairs: int, first: int = 0) -> Path:
    members = {}
    for i in range(first, first + num_pairs):
        members |= {f"{i:06d}.jpg": jpeg(i), f"{i:06d}.txt": f"caption {i}".encode()}
    return write_tar(path, members)


def numbered_table(num_rows: int) -> pa.Table:
    return pa.table(
        {
            "image": [{"bytes": jpeg(i), "path": None} for i in range(num_rows)],
            "caption": [f"caption {i}" for i in range(num_rows)],
        }
    )


def image_folder(folder: Path, num_images: int) -> Path:
    (folder / "images").mkdir()
    for i in range(num_images):
        (folder / "images" / f"{i}.jpg").write_bytes(jpeg(i))
    return folder


def hugging_face(num_rows: int) -> datasets.Dataset:
    rows = {
        "image": [{"bytes": jpeg(i), "path": None} for i in range(num_rows)],
        "caption": [f"caption {i}" for i in range(num_rows)],
        "label": [i % 2 for i in range(num_rows)],
    }
    features = datasets.Features(
        image=datasets.Image(),
        caption=datasets.Value("string"),
        label=datasets.ClassLabel(names=["cat", "dog"]),
    )
    return datasets.Dataset.from_dict(rows, features=features)


def test_folder_glob_braces_and_list_name_the_same_tars(tmp_path):
    for i in range(3):
        numbered_tar(tmp_path / f"{i:05d}.tar", 1, first=i)
    # What img2dataset leaves beside its tars.
    pq.write_table(pa.table({"url": ["x"]}), tmp_path / "00000.parquet")
    (tmp_path / "00000_stats.json").write_text("{}")
    expected = ["00000.tar", "00001.tar", "00002.tar"]
    sources = [
        tmp_path,
        str(tmp_path / "*.tar"),
        f"{tmp_path}/{{00000..00002}}.tar",
        [tmp_path / name for name in expected],
        [tmp_path / "00000.tar", f"{tmp_path}/{{00001..00002}}.tar"],
    ]
    for source in sources:
        shards = open_pairs(source)
        assert [shard.name for shard in shards] == expected
        assert captions_of(shards) == ["caption 0", "caption 1", "caption 2"]


def test_tars_of_two_folders_keep_distinct_names(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        numbered_tar(tmp_path / folder / "0.tar", 1)
    shards = open_pairs([tmp_path / "a", tmp_path / "b"])
    assert [shard.name for shard in shards] == ["a/0.tar", "b/0.tar"]


def test_a_long_brace_pattern_is_not_mistaken_for_a_path(tmp_path):
    names = [f"shard-number-{i:05d}" for i in range(30)]
    for name in names:
        numbered_tar(tmp_path / f"{name}.tar", 1)
    assert len(open_pairs(f"{tmp_path}/{{{','.join(names)}}}.tar")) == 30


def test_a_recipe_makes_captions_of_names_and_synonyms(tmp_path):
    table = pa.table(
        {
            "image": [b"x"] * 3,
            "name": ["goldfish", None, "dog"],
            "label": [1, 2, 3],
            "other": [["carp", "goldfish"], ["cat"], None],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    recipe = CaptionRecipe(
        templates=("a {}",), negated_templates=("no {}",), synonyms_column="other"
    )
    fish, nameless, dog = open_pairs(tmp_path, captions=recipe)[0].read()
    assert fish == Pair(
        key="0",
        image=b"x",
        captions=("a goldfish", "a carp"),
        no_captions=("no goldfish", "no carp"),
        class_id=1,
    )
    assert nameless == BadPair(key="1", reason="no class name")
    assert isinstance(dog, Pair)
    assert (dog.captions, dog.class_id) == (("a dog",), 3)


def test_a_recipe_reads_names_from_the_json_of_a_tar(tmp_path):
    members = {"1.jpg": jpeg(), "1.json": b'{"name": "dog"}', "1.cls": b"3"}
    path = write_tar(tmp_path / "a.tar", members)
    [pair] = pairs_of(open_pairs(path, captions=CaptionRecipe(templates=("a {}",))))
    assert (pair.captions, pair.class_id) == (("a dog",), 3)


def test_without_a_label_column_pairs_belong_to_no_class(tmp_path):
    pq.write_table(pa.table({"image": [b"x"], "name": ["dog"]}), tmp_path / "a.parquet")
    recipe = CaptionRecipe(templates=("a {}",), label_column=None)
    assert pairs_of(open_pairs(tmp_path, captions=recipe))[0].class_id == -1


def test_a_real_class_labelled_parquet_becomes_pairs(shared_dir):
    recipe = CaptionRecipe(templates=("a photo of a {}.",), synonyms_column="synonyms")
    shards = open_pairs(
        shared_dir / "data" / "tiny_imagenet_val.parquet", captions=recipe, rows_per_shard=500
    )
    assert len(shards) == 20
    pairs = pairs_of(shards[7:8])
    assert [pair.key for pair in pairs] == [str(i) for i in range(3500, 4000)]
    assert all(isinstance(p.image, bytes) and p.image[:2] == b"\xff\xd8" for p in pairs)
    captions = {pair.class_id: pair.captions for pair in pairs}
    assert len(captions) == len(set(captions.values())) > 50
    assert any(len(texts) > 1 for texts in captions.values())


def write_every_layout(folder: Path) -> list[Path]:
    folder.mkdir()
    numbered_tar(folder / "a.tar", 5)
    pq.write_table(numbered_table(5), folder / "a.parquet")
    image_folder(folder, 1)
    (folder / "a.csv").write_text("image,caption\n" + "images/0.jpg,a dog\n" * 5)
    hugging_face(5).save_to_disk(folder / "saved")
    return [folder / "a.tar", folder / "a.parquet", folder / "a.csv", folder / "saved"]


def test_a_shard_is_read_in_the_same_order_every_time(tmp_path):
    for path in write_every_layout(tmp_path / "data"):
        for shard in open_pairs(path, rows_per_shard=3):
            first = list(shard.read())
            assert list(shard.read()) == first
            assert len(first) >= 2


def test_fingerprints_stay_after_a_copy_and_are_distinct(tmp_path):
    paths = write_every_layout(tmp_path / "data")
    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    seen = set()
    for path in paths:
        shards = open_pairs(path, rows_per_shard=3)
        copied = open_pairs(tmp_path / "copy" / path.name, rows_per_shard=3)
        assert [(s.name, s.fingerprint) for s in shards] == [
            (s.name, s.fingerprint) for s in copied
        ]
        assert all(int(shard.fingerprint, 16) for shard in shards)
        seen |= {shard.fingerprint for shard in shards}
    assert len(seen) == 1 + 2 + 2 + 2


def test_a_touched_file_keeps_its_fingerprint_and_a_changed_one_does_not(tmp_path):
    path = numbered_tar(tmp_path / "a.tar", 2)
    [before] = open_pairs(path)
    os.utime(path, (0, 0))
    [touched] = open_pairs(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"caption 1", b"caption 2"))
    [changed] = open_pairs(path)
    assert touched.fingerprint == before.fingerprint != changed.fingerprint


def test_a_data_set_in_memory_changes_its_fingerprint_with_its_content():
    before, after = hugging_face(3), hugging_face(4).select([0, 1, 3])
    assert open_pairs(before)[0].fingerprint != open_pairs(after)[0].fingerprint


def test_other_captions_of_the_same_file_have_another_fingerprint(tmp_path):
    table = pa.table({"image": [b"x"], "name": ["dog"], "caption": ["a dog"], "label": [1]})
    pq.write_table(table, tmp_path / "a.parquet")
    options = [
        {},
        {"caption_column": "name"},
        {"class_column": "label"},
        {"captions": CaptionRecipe(templates=("a {}",))},
        {"captions": CaptionRecipe(templates=("one {}",))},
    ]
    prints = [open_pairs(tmp_path, **option)[0].fingerprint for option in options]
    assert len(set(prints)) == len(options)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "saved"])
def test_an_unknown_column_is_named_beside_those_there_are(tmp_path, name):
    write_every_layout(tmp_path / "data")
    with pytest.raises(DataError, match="no column 'titel'; it has image, caption"):
        open_pairs(tmp_path / "data" / name, caption_column="titel")
    with pytest.raises(DataError, match="no column 'name'"):
        open_pairs(tmp_path / "data" / name, captions=CaptionRecipe(templates=("a {}",)))


def test_what_is_not_there_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "words.txt").write_text("dog")
    (tmp_path / "empty.csv").write_text("image,caption\n")
    numbered_tar(tmp_path / "00000.tar", 1)
    with pytest.raises(DataError, match=r"none\.tar' does not exist"):
        open_pairs(tmp_path / "none.tar")
    with pytest.raises(DataError, match=r"x\*\.tar' does not exist"):
        open_pairs(f"{tmp_path}/x*.tar")
    with pytest.raises(DataError, match=r"2 of the 3 paths .* first is .*00001\.tar"):
        open_pairs(f"{tmp_path}/{{00000..00002}}.tar")
    with pytest.raises(DataError, match=r"folder holds no files ending in \.tar"):
        open_pairs(tmp_path / "folder")
    with pytest.raises(DataError, match=r"ending in \.parquet$"):
        open_pairs(tmp_path, format="parquet")
    with pytest.raises(DataError, match="is no data set"):
        open_pairs(tmp_path / "folder", format="huggingface")
    with pytest.raises(DataError, match=r"words\.txt ends in none of \.tar"):
        open_pairs(tmp_path / "words.txt")
    with pytest.raises(DataError, match="holds no rows"):
        open_pairs(tmp_path / "empty.csv")
    with pytest.raises(DataError, match="names no files"):
        open_pairs([])


def test_a_file_may_not_come_twice(tmp_path):
    numbered_tar(tmp_path / "a.tar", 1)
    with pytest.raises(DataError, match=r"a\.tar is named twice"):
        open_pairs([tmp_path, tmp_path / "a.tar"])


def test_the_format_overrules_the_suffix(tmp_path):
    numbered_tar(tmp_path / "a.bin", 1)
    assert captions_of(open_pairs(tmp_path / "a.bin", format="webdataset")) == ["caption 0"]


def test_wrong_arguments_are_refused(tmp_path):
    path = numbered_tar(tmp_path / "a.tar", 1)
    with pytest.raises(ValueError, match=r"'rows_per_shard' must be 1 or more\. Got 0"):
        open_pairs(path, rows_per_shard=0)
    with pytest.raises(ValueError, match="'class_column' must be None with 'captions'"):
        open_pairs(path, captions=CaptionRecipe(templates=("a {}",)), class_column="label")
    with pytest.raises(ValueError, match=r"'format' must be auto for a datasets\.Dataset"):
        open_pairs(hugging_face(1), format="csv")


def test_a_pair_needs_captions_and_parallel_no_captions():
    with pytest.raises(ValueError, match="'captions' must be one or more"):
        Pair(key="0", image=b"x", captions=())
    with pytest.raises(ValueError, match="Got 2 and 1"):
        Pair(key="0", image=b"x", captions=("a", "b"), no_captions=("c",))
