"""Parquet files and Hugging Face data sets: ranges, texts, damage."""

import io
import os

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


def numbered_table(num_rows: int) -> pa.Table:
    return pa.table(
        {
            "image": [{"bytes": jpeg(i), "path": None} for i in range(num_rows)],
            "caption": [f"caption {i}" for i in range(num_rows)],
        }
    )


def reasons_of(shards: list[Shard]) -> dict[str, str]:
    return {
        row.key: row.reason for shard in shards for row in shard.read() if isinstance(row, BadPair)
    }


def rows_before_the_break(shard: Shard, message: str) -> list[Pair | BadPair]:
    rows = []

    def read() -> None:
        for row in shard.read():
            rows.append(row)

    with pytest.raises(DataError, match=message):
        read()
    return rows


def test_parquet_images_are_structs_bytes_or_paths(tmp_path):
    (tmp_path / "0.jpg").write_bytes(jpeg())
    columns = {
        "structs": [{"bytes": jpeg(), "path": "elsewhere.jpg"}, {"bytes": None, "path": "0.jpg"}],
        "bytes": [jpeg(), None],
        "paths": ["0.jpg", "none.jpg"],
    }
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({**columns, "text": [["a dog", "a hound", None], ["a cat"]]}), path)

    def read(image_column):
        shards = open_pairs(path, image_column=image_column, caption_column="text")
        return list(shards[0].read())

    dog = Pair(key="0", image=jpeg(), captions=("a dog", "a hound"))
    cat = Pair(key="1", image=tmp_path / "0.jpg", captions=("a cat",))
    assert read("structs") == [dog, cat]
    assert read("bytes") == [dog, BadPair(key="1", reason="no image")]
    assert [type(row) for row in read("paths")] == [Pair, BadPair]


@pytest.mark.parametrize("rows_per_group", [1, 3, 4, 100])
def test_shards_of_a_parquet_are_row_ranges_across_its_row_groups(tmp_path, rows_per_group):
    path = tmp_path / "train.parquet"
    pq.write_table(numbered_table(10), path, row_group_size=rows_per_group)
    shards = open_pairs(path, rows_per_shard=4)
    assert [shard.name.removeprefix("train.parquet") for shard in shards] == [
        "[0:4]",
        "[4:8]",
        "[8:10]",
    ]
    assert [captions_of([shard]) for shard in shards] == [
        [f"caption {i}" for i in range(0, 4)],
        [f"caption {i}" for i in range(4, 8)],
        [f"caption {i}" for i in range(8, 10)],
    ]
    assert [pair.image for pair in pairs_of(shards)] == [jpeg(i) for i in range(10)]


def test_a_range_of_a_parquet_is_read_without_loading_the_file(tmp_path):
    path = tmp_path / "train.parquet"
    images = pa.array([os.urandom(20_000) for _ in range(2000)])
    captions = pa.array(["a dog"] * 2000)
    table = pa.table({"image": images, "caption": captions})
    pq.write_table(table, path, use_dictionary=False, write_batch_size=16)
    del table, images
    before = pa.total_allocated_bytes()
    [_, _, third, _] = open_pairs(path, rows_per_shard=500)
    highest = max(pa.total_allocated_bytes() - before for _ in third.read())
    assert path.stat().st_size > 39e6
    assert highest < 10e6


def test_undecodable_text_of_a_parquet_spoils_only_its_row(tmp_path):
    captions = pa.array([b"a dog", b"caf\xe9", b"a cat"]).view(pa.string())
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"image": [b"x"] * 3, "caption": captions}), path)
    shards = open_pairs(path)
    assert captions_of(shards) == ["a dog", "a cat"]
    assert "not UTF-8" in reasons_of(shards)["1"]


def test_a_corrupt_parquet_among_others_fails_when_it_is_read(tmp_path):
    for name in ("a", "c"):
        pq.write_table(numbered_table(2), tmp_path / f"{name}.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-100])
    first, broken, last = open_pairs(tmp_path)
    assert len(pairs_of([first, last])) == 4
    with pytest.raises(DataError, match=r"b\.parquet is broken"):
        broken.read()


def test_a_parquet_with_corrupt_pages_fails_when_it_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(numbered_table(2000), path, row_group_size=1000, use_dictionary=False)
    content = bytearray(path.read_bytes())
    half = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    content[half : half + 5000] = b"\xff" * 5000
    path.write_bytes(content)
    rows = rows_before_the_break(open_pairs(path)[0], r"a\.parquet\[0:2000\] is broken")
    assert 800 < len(rows) <= 1000


def test_a_range_is_not_disturbed_by_what_comes_after_it_in_its_row_group(tmp_path):
    path = tmp_path / "a.parquet"
    table = numbered_table(2000)
    pq.write_table(table, path, use_dictionary=False, write_batch_size=16, data_page_size=4096)
    content = bytearray(path.read_bytes())
    column = pq.read_metadata(path).row_group(0).column(0)
    end = column.data_page_offset + column.total_compressed_size
    content[end - 20_000 : end] = b"\xff" * 20_000
    path.write_bytes(content)
    first, *_, last = open_pairs(path, rows_per_shard=200)
    assert captions_of([first]) == [f"caption {i}" for i in range(200)]
    rows_before_the_break(last, r"a\.parquet\[1800:2000\] is broken")


def test_a_source_of_only_corrupt_files_is_refused_at_once(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no parquet")
    with pytest.raises(DataError, match=r"nothing can be opened; a\.parquet"):
        open_pairs(tmp_path)


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


def test_a_data_set_in_memory_and_its_saved_folder_give_the_same_undecoded_pairs(tmp_path):
    dataset = hugging_face(5)
    dataset.save_to_disk(tmp_path / "saved")
    in_memory = open_pairs(dataset, rows_per_shard=2, class_column="label")
    on_disk = open_pairs(tmp_path / "saved", rows_per_shard=2, class_column="label")
    assert [s.name for s in in_memory] == ["dataset[0:2]", "dataset[2:4]", "dataset[4:5]"]
    assert pairs_of(in_memory) == pairs_of(on_disk)
    assert [pair.image for pair in pairs_of(on_disk)] == [jpeg(i) for i in range(5)]
    assert [pair.class_id for pair in pairs_of(on_disk)] == [0, 1, 0, 1, 0]
    assert [s.fingerprint for s in in_memory] == [s.fingerprint for s in on_disk]


def test_a_selection_of_a_data_set_keeps_its_order():
    selected = hugging_face(5).select([4, 0, 2])
    assert captions_of(open_pairs(selected)) == ["caption 4", "caption 0", "caption 2"]


def test_class_numbers_of_hugging_face_stand_for_their_names(tmp_path):
    recipe = CaptionRecipe(templates=("a {}",), name_column="label")
    dataset = hugging_face(2)
    assert captions_of(open_pairs(dataset, captions=recipe)) == ["a cat", "a dog"]
    table = dataset.with_format("arrow")[:]
    pq.write_table(table.cast(dataset.features.arrow_schema), tmp_path / "a.parquet")
    assert captions_of(open_pairs(tmp_path, captions=recipe)) == ["a cat", "a dog"]


def test_several_splits_are_refused_by_name(tmp_path):
    datasets.DatasetDict(train=hugging_face(1), test=hugging_face(1)).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match="several splits; name one of"):
        open_pairs(tmp_path / "d")
    assert len(pairs_of(open_pairs(tmp_path / "d" / "train"))) == 1


def test_a_damaged_folder_of_save_to_disk_is_refused(tmp_path):
    hugging_face(1).save_to_disk(tmp_path / "d")
    (tmp_path / "d" / "state.json").write_text("{}")
    with pytest.raises(DataError, match="no data set of save_to_disk"):
        open_pairs(tmp_path / "d")
