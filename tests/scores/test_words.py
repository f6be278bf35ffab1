"""Word lists, and WordNet where it is installed."""

from collections import Counter
from pathlib import Path

import pytest

from clipn.errors import DataError
from clipn.scores import Lexicon, Word, read_lexicon
from clipn.scores.words import WORDNET_FOLDER

NOUNS = """\
  1 This is a licence.
00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | what there is
00007846 18 n 02 tabby 0 tabby_cat 0 000 | a cat
00007847 05 n 01 Tabby 1 000 | another cat
00007900 04 n 0b a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 j 0 k 0 000 | eleven, in hexadecimal
"""
ADJECTIVES = """\
  1 This is a licence.
00001740 00 a 01 able(p) 0 000 | can
00002098 44 s 02 big-boned 0 wide_open(ip) 0 000 | said of doors
00002100 01 a 01 tabby(a) 0 000 | like a tabby
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small WordNet."""
    (tmp_path / "data.noun").write_text(NOUNS)
    (tmp_path / "data.adj").write_text(ADJECTIVES)
    return tmp_path


def test_a_wordnet_gives_every_word_with_the_files_that_it_is_in(folder: Path):
    lexicon = read_lexicon(folder)
    assert lexicon.name == "wordnet"
    texts = [word.text for word in lexicon.words]
    assert texts == [
        *("entity", "tabby", "tabby cat", *"abcdefghijk"),
        *("able", "big-boned", "wide open", "tabby"),
    ]
    assert lexicon.words[0] == Word(text="entity", part="noun", files=("noun.Tops",))
    assert lexicon.words[1].files == ("noun.animal", "noun.person")
    assert lexicon.words[-1] == Word(text="tabby", part="adjective", files=("adj.pert",))
    assert lexicon.words[-2].files == ("adj.ppl",)


@pytest.mark.parametrize("line", ["00001740", "00001740 99 n 01 a 0", "00001740 05 n xy a 0"])
def test_a_damaged_wordnet_is_refused_with_the_line(folder: Path, line: str):
    (folder / "data.adj").write_text(ADJECTIVES + line)
    with pytest.raises(DataError, match=r"data\.adj, line 5 is no line of a WordNet data file"):
        read_lexicon(folder)


def test_a_folder_without_wordnet_says_how_to_get_one(folder: Path):
    (folder / "data.adj").unlink()
    with pytest.raises(DataError, match=r"data\.adj missing\. Install it .*wordnet-base"):
        read_lexicon(folder)


def test_a_list_is_one_word_a_line(tmp_path: Path):
    path = tmp_path / "mine.txt"
    path.write_text(
        "\ufeffsea cucumber\n# no word\n\nadjective\tred\nnoun\tred\nRED\n", encoding="utf-8"
    )
    assert read_lexicon(path) == Lexicon(
        name="mine",
        words=(
            Word(text="sea cucumber", part="noun", files=("mine",)),
            Word(text="red", part="adjective", files=("mine",)),
            Word(text="red", part="noun", files=("mine",)),
        ),
    )


@pytest.mark.parametrize("line", ["verb\trun", "adjective\t", "\tred"])
def test_a_line_that_names_no_part_of_speech_is_refused(tmp_path: Path, line: str):
    (tmp_path / "mine.txt").write_text(f"spoon\n{line}\n")
    with pytest.raises(DataError, match=r"mine\.txt, line 2: a word may follow 'noun'"):
        read_lexicon(tmp_path / "mine.txt")


def test_files_without_words_are_refused(tmp_path: Path):
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match="holds no word"):
        read_lexicon(tmp_path / "empty.txt")
    (tmp_path / "latin.txt").write_bytes("Käse".encode("latin-1"))
    for name in ("latin.txt", "missing.txt"):
        with pytest.raises(DataError, match=f"{name} cannot be read as a text file"):
            read_lexicon(tmp_path / name)


def test_a_fingerprint_tells_lexicons_apart(folder: Path):
    first = read_lexicon(folder).fingerprint
    assert len(first) == 16
    assert read_lexicon(folder).fingerprint == first
    (folder / "data.noun").write_text(NOUNS.replace("entity", "thing"))
    assert read_lexicon(folder).fingerprint != first


@pytest.mark.skipif(
    not (WORDNET_FOLDER / "data.noun").is_file(),
    reason="Debian's wordnet-base is not installed: it holds WordNet's dictionary files",
)
def test_the_installed_wordnet_holds_what_its_statistics_say():
    """117,798 nouns and 21,479 adjectives in WordNet 3.0, wnstats(7); later ones have more."""
    lexicon = read_lexicon("wordnet")
    counts = Counter(word.part for word in lexicon.words)
    assert counts["noun"] >= 117_000
    assert counts["adjective"] >= 21_000
    by_text = {(word.part, word.text): word.files for word in lexicon.words}
    assert "noun.animal" in by_text["noun", "tabby"]
    assert by_text["noun", "espresso"] == ("noun.food",)
    assert "adj.all" in by_text["adjective", "red"]
    assert not any("_" in text or "(" in text for _, text in by_text)
