"""Mining of negative labels."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from clipn.errors import DataError
from clipn.scores import Lexicon, MinedWords, Word, mine_words
from clipn.scores.mining import SUPERCLASSES, _row_quantiles


def encode_text(texts: Sequence[str]) -> Tensor:
    """Embeddings that depend on the text alone."""
    rows = [np.random.default_rng(list(text.encode())).normal(size=6) for text in texts]
    return F.normalize(torch.from_numpy(np.stack(rows)), dim=1)


@pytest.fixture
def class_bank() -> Tensor:
    return encode_text([f"class {number}" for number in range(30)])


def make_lexicon() -> Lexicon:
    files = ["noun.animal", "noun.person", "noun.food"]
    nouns = [
        Word(text=f"noun {number}", part="noun", files=(files[number % 3],)) for number in range(60)
    ]
    adjectives = [
        Word(text=f"adjective {number}", part="adjective", files=(["adj.all", "adj.pert"][n],))
        for number, n in zip(range(40), [0, 1] * 20, strict=True)
    ]
    return Lexicon(name="test", words=(*nouns, *adjectives))


def test_the_words_least_like_any_class_are_kept(class_bank: Tensor):
    lexicon = make_lexicon()
    mined = mine_words("neg_label", lexicon, class_bank=class_bank, encode_text=encode_text)
    expected = []
    for part, template in (("noun", "the nice {}"), ("adjective", "This is a {} photo")):
        texts = [template.format(word.text) for word in lexicon.words if word.part == part]
        cosines = (encode_text(texts) @ class_bank.T).numpy()
        order = np.argsort(np.quantile(cosines, 0.95, axis=1), kind="stable")
        expected += [texts[row] for row in order[: int(0.15 * len(texts))]]
    assert mined.texts == tuple(expected)
    assert len(mined.texts) == 9 + 6
    assert mined.words[0] == mined.texts[0].removeprefix("the nice ")
    assert mined.sources[-1] in ("adj.all", "adj.pert")
    assert mined.recipe == "neg_label"
    assert mined.settings["fingerprint"] == lexicon.fingerprint
    assert mined.summary() == {"recipe": "neg_label", "num_texts": 15, **mined.settings}


def test_words_that_name_a_class_are_not_kept(class_bank: Tensor):
    bank = torch.cat([class_bank, encode_text(["the nice noun 3", "This is a adjective 5 photo"])])
    mined = mine_words(
        "neg_label",
        make_lexicon(),
        class_bank=bank,
        encode_text=encode_text,
        quantile=1.0,
        share=0.9,
    )
    assert "noun 4" in mined.words
    assert "noun 3" not in mined.words
    assert "adjective 5" not in mined.words


def test_csp_leaves_out_files_and_gives_adjectives_a_superclass(class_bank: Tensor):
    mined = mine_words(
        "csp", make_lexicon(), class_bank=class_bank, encode_text=encode_text, share=1.0
    )
    assert set(mined.sources) == {"noun.animal", "noun.food", "adj.all"}
    assert len(mined.texts) == 40 + 20
    nouns, adjectives = mined.texts[:40], mined.texts[40:]
    assert all(text.startswith("the nice noun ") for text in nouns)
    pattern = re.compile(rf"adjective \d+ ({'|'.join(SUPERCLASSES)})")
    assert all(pattern.fullmatch(text) for text in adjectives)
    assert len({text.split()[-1] for text in adjectives}) > 5
    assert mined.settings["max_cosine"] == 0.95


def test_csp_keeps_a_word_that_also_stands_for_something_else(class_bank: Tensor):
    words = (
        Word(text="cook", part="noun", files=("noun.food", "noun.person")),
        Word(text="king", part="noun", files=("noun.person",)),
    )
    lexicon = Lexicon(name="test", words=words)
    mined = mine_words("csp", lexicon, class_bank=class_bank, encode_text=encode_text, share=1.0)
    assert mined.words == ("cook",)


def test_csp_drops_texts_that_are_almost_a_class(class_bank: Tensor):
    bank = torch.cat([class_bank, encode_text(["the nice noun 3"])])
    options = {"class_bank": bank, "encode_text": encode_text, "share": 1.0, "quantile": 0.5}
    assert "noun 3" not in mine_words("csp", make_lexicon(), **options).words
    assert "noun 3" in mine_words("csp", make_lexicon(), **options, max_cosine=1.1).words
    assert "noun 3" in mine_words("neg_label", make_lexicon(), **options).words


def test_the_seed_draws_the_superclasses_and_nothing_else(class_bank: Tensor):
    options = {"class_bank": class_bank, "encode_text": encode_text, "share": 1.0}
    first = mine_words("csp", make_lexicon(), **options)
    assert mine_words("csp", make_lexicon(), **options) == first
    other = mine_words("csp", make_lexicon(), **options, seed=1)
    assert set(other.texts[40:]) != set(first.texts[40:])
    assert other.texts[:40] == first.texts[:40]


def test_many_texts_are_embedded_some_at_a_time(
    class_bank: Tensor, monkeypatch: pytest.MonkeyPatch
):
    options = {"class_bank": class_bank, "encode_text": encode_text}
    whole = mine_words("neg_label", make_lexicon(), **options)
    monkeypatch.setattr("clipn.scores.mining.CHUNK", 7)
    sizes: list[int] = []

    def count_and_encode(texts: Sequence[str]) -> Tensor:
        sizes.append(len(texts))
        return encode_text(texts)

    options["encode_text"] = count_and_encode
    assert mine_words("neg_label", make_lexicon(), **options) == whole
    assert max(sizes) == 7
    assert sum(sizes) == 100


@pytest.mark.parametrize("columns", [1, 2, 21, 50])
@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.95, 0.99, 1.0])
def test_quantiles_are_those_of_torch(columns: int, quantile: float):
    values = torch.randn(30, columns, dtype=torch.float64)
    expected = torch.quantile(values, quantile, dim=1)
    torch.testing.assert_close(_row_quantiles(values, quantile), expected)


def test_mined_words_are_the_same_after_saving_and_loading(class_bank: Tensor, tmp_path: Path):
    mined = mine_words("csp", make_lexicon(), class_bank=class_bank, encode_text=encode_text)
    mined.save(tmp_path / "words" / "csp.json")
    assert MinedWords.load(tmp_path / "words" / "csp.json") == mined
    assert json.loads((tmp_path / "words" / "csp.json").read_text())["format_version"] == 1


def test_files_that_hold_no_mined_words_are_refused(class_bank: Tensor, tmp_path: Path):
    path = tmp_path / "csp.json"
    mined = mine_words("csp", make_lexicon(), class_bank=class_bank, encode_text=encode_text)
    mined.save(path)
    content = json.loads(path.read_text())
    damaged = [
        "no JSON",
        "[]",
        json.dumps({**content, "format_version": 9}),
        json.dumps({key: value for key, value in content.items() if key != "sources"}),
    ]
    for text in damaged:
        path.write_text(text)
        with pytest.raises(DataError, match=r"csp\.json holds no mined words"):
            MinedWords.load(path)
    path.write_text(json.dumps({**content, "texts": content["texts"][1:]}))
    with pytest.raises(DataError, match="texts, words and sources differ in number"):
        MinedWords.load(path)
    with pytest.raises(DataError, match="missing"):
        MinedWords.load(tmp_path / "missing.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quantile": 1.5}, "quantile must lie between 0 and 1; got 1.5"),
        ({"share": 0.0}, "share must be above 0 and at most 1; got 0.0"),
    ],
)
def test_wrong_options_are_refused(class_bank: Tensor, options: dict, message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        mine_words("csp", make_lexicon(), class_bank=class_bank, encode_text=encode_text, **options)


def test_a_share_that_leaves_nothing_is_refused(class_bank: Tensor):
    lexicon = Lexicon(name="one", words=make_lexicon().words[:1])
    with pytest.raises(DataError, match=r"A share of 0\.15 of the 1 words of one leaves no"):
        mine_words("neg_label", lexicon, class_bank=class_bank, encode_text=encode_text)
