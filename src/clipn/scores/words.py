"""Words to mine negative labels from: WordNet's nouns and adjectives, or a list of one's own."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clipn.errors import DataError

PartOfSpeech = Literal["noun", "adjective"]

WORDNET = "wordnet"
WORDNET_FOLDER = Path("/usr/share/wordnet")  # where Debian's wordnet-base puts it
WORDNET_FILES: dict[PartOfSpeech, str] = {"noun": "data.noun", "adjective": "data.adj"}

# Lexicographer files of nouns and adjectives by their number; see lexnames(5).
NOUN_FILES = (
    *("Tops", "act", "animal", "artifact", "attribute", "body", "cognition", "communication"),
    *("event", "feeling", "food", "group", "location", "motive", "object", "person"),
    *("phenomenon", "plant", "possession", "process", "quantity", "relation", "shape", "state"),
    *("substance", "time"),
)
LEXICOGRAPHER_FILES = {
    **{0: "adj.all", 1: "adj.pert", 44: "adj.ppl"},
    **{number: f"noun.{name}" for number, name in enumerate(NOUN_FILES, start=3)},
}


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word or phrase.

    Attributes:
        text: As it is written.
        part: Its part of speech.
        files: Which kinds of things it stands for: WordNet's lexicographer files ("noun.animal"),
            ascending; the name of the list for a word of one's own.
    """

    text: str
    part: PartOfSpeech
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """Words to mine from; none twice within a part of speech, whatever its capitals.

    Attributes:
        name: What results call it.
        words: Nouns and adjectives.
    """

    name: str
    words: tuple[Word, ...]

    @property
    def fingerprint(self) -> str:
        """A short hash of all words, 16 hexadecimal digits."""
        lines = (f"{word.part}\t{word.text}\t{','.join(word.files)}\n" for word in self.words)
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def read_lexicon(source: str | Path = WORDNET) -> Lexicon:
    """Read the words to mine negative labels from.

    Args:
        source: "wordnet" for the installed WordNet, the folder of another one (the files data.noun
            and data.adj), or a word list: a UTF-8 text file with one word or phrase a line, where
            adjectives follow "adjective" and a tab, and empty lines and those that begin with "#"
            do not count.

    Raises:
        DataError: If it is not there, cannot be read, or holds no word.
    """
    if source == WORDNET:
        return _read_wordnet(WORDNET_FOLDER)
    path = Path(source)
    return _read_wordnet(path) if path.is_dir() else _read_list(path)


def _read_wordnet(folder: Path) -> Lexicon:
    paths: dict[PartOfSpeech, Path] = {p: folder / file for p, file in WORDNET_FILES.items()}
    if missing := [path.name for path in paths.values() if not path.is_file()]:
        raise DataError(
            f"There is no WordNet in {folder}: {' and '.join(missing)} missing. Install it (on "
            "Debian: apt-get install wordnet-base), name the folder of its dictionary files, or "
            "give a file with one word a line."
        )
    words = [word for part, path in paths.items() for word in _read_data_file(path, part)]
    return Lexicon(name=WORDNET, words=_unite(words))


def _read_data_file(path: Path, part: PartOfSpeech) -> Iterator[Word]:
    """The words of a WordNet data file, once for each of their meanings; see wndb(5).

    A line is: offset, number of the lexicographer file, type, number of words (hexadecimal), and
    each word with an id. Lines of the licence begin with spaces. "_" stands for a space, and
    adjectives may carry "(a)", "(p)" or "(ip)" for where they may stand.
    """
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if not line or line.startswith(" "):
            continue
        fields = line.split(" ")
        try:
            file = LEXICOGRAPHER_FILES[int(fields[1])]
            texts = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        except (IndexError, KeyError, ValueError) as error:
            raise DataError(f"{path}, line {number} is no line of a WordNet data file.") from error
        for text in texts:
            plain = text.partition("(")[0].replace("_", " ")
            yield Word(text=plain, part=part, files=(file,))


def _read_list(path: Path) -> Lexicon:
    words = []
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        part, _, text = ("noun", "", line) if "\t" not in line else line.partition("\t")
        text, part = text.strip(), part.strip()
        if part not in ("noun", "adjective") or not text:
            raise DataError(
                f"{path}, line {number}: a word may follow 'noun' or 'adjective' and a tab; got "
                f"{line!r}."
            )
        words.append(Word(text=text, part=part, files=(path.stem,)))
    if not words:
        raise DataError(f"The word list {path} holds no word.")
    return Lexicon(name=path.stem, words=_unite(words))


def _unite(words: Iterable[Word]) -> tuple[Word, ...]:
    """The words in their order, all meanings of one together."""
    united: dict[tuple[PartOfSpeech, str], tuple[str, set[str]]] = {}
    for word in words:
        _, files = united.setdefault((word.part, word.text.casefold()), (word.text, set()))
        files.update(word.files)
    return tuple(
        Word(text=text, part=part, files=tuple(sorted(files)))
        for (part, _), (text, files) in united.items()
    )


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a text file: {error}") from error
