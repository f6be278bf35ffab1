"""`clipn COMMAND ...`: finds the command, reads its options, turns known errors into one line.

Exit codes: 0 done, 1 a known error in one line on stderr, 2 wrong usage, 130 or 143 stopped by
SIGINT or SIGTERM.
"""

import difflib
import importlib
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version

from clipn.cli.printable import OneLineFormatter, StderrHandler, printable

COMMANDS = {
    "demo": "the compact model on real photographs, as a table and a page of pictures",
    "detect": "name what images show, or say that it is none of the classes",
    "batch": "answer for collections of any size, here or on a cluster, into Parquet files",
    "calibrate": "set a detector's threshold from images of its classes, and save it",
    "train": 'teach a CLIP to say "no" from image-caption pairs',
    "eval": "measure scores on a benchmark suite: tables and a report",
    "serve": "answer over HTTP, with a web page",
    "export": "write a detector as one ONNX file, which runs without torch",
    "push": "publish a model on the Hugging Face hub, with its card",
    "compare": "set two folders of results side by side",
    "import-checkpoint": "turn a checkpoint of the paper's implementation into a model folder",
    "list": "show the models, the scores and the benchmark suites that there are",
}
EXAMPLES = (
    "clipn demo",
    'clipn detect photos/ --classes "tabby cat, espresso, school bus"',
    "clipn detect photos/ --classes names.txt --csv answers.csv",
    'clipn calibrate my-photos/ --classes "tabby cat, espresso" --out-dir my-detector',
    "clipn detect more-photos/ --detector my-detector",
    "clipn eval cifar10 --data-root data/ --out-dir results",
)
EXTRAS = {"serve": "serve", "batch": "batch", "export": "export"}
"""The extra of the package that a command needs."""

DONE, KNOWN_ERROR, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def main() -> None:
    """The entry point of the `clipn` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command.

    Args:
        arguments: What follows `clipn` on the command line.

    Returns:
        The exit code.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return DONE if arguments else WRONG_USAGE
    if arguments[0] == "--version":
        print(f"clipn {version('clipn')}")
        return DONE
    name, *rest = arguments
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(COMMANDS)}."
        _complain(f"clipn: there is no command {name!r}; {hint}")
        return WRONG_USAGE
    log = StderrHandler()
    log.setFormatter(OneLineFormatter("clipn: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[log])
    return _run_command(name, rest)


def _run_command(name: str, arguments: Sequence[str]) -> int:
    """Read the options of a command and run it."""
    # Imported here so that `clipn --help` does not wait for any of it.
    import tyro

    from clipn.errors import ClipnError, StopRequested
    from clipn.extras import not_installed

    try:
        module = importlib.import_module(f"clipn.cli.{name.replace('-', '_')}")
        options = tyro.cli(
            module.Options, args=arguments, prog=f"clipn {name}", description=module.__doc__
        )
        return module.run(options)
    except SystemExit as stop:  # how tyro ends --help and wrong usage
        return int(stop.code or DONE)
    except ValueError as error:
        _complain(f"clipn {name}: {error}")
        return WRONG_USAGE
    except ClipnError as error:
        _complain(f"clipn {name}: {error}")
        return KNOWN_ERROR
    except ModuleNotFoundError as error:
        if name not in EXTRAS:
            raise
        _complain(f"clipn {name}: {not_installed(error, extra=EXTRAS[name])}")
        return KNOWN_ERROR
    except BrokenPipeError:
        # The reader of our output has gone; nothing is left to be said to it.
        sys.stderr.close()
        return KNOWN_ERROR
    except OSError as error:
        _complain(f"clipn {name}: {error}")
        return KNOWN_ERROR
    except StopRequested as stop:
        _complain(f"clipn {name}: {stop}")
        return stop.exit_code
    except KeyboardInterrupt:
        _complain(f"clipn {name}: interrupted")
        return INTERRUPTED


def _help() -> str:
    """The text of `clipn --help`."""
    width = max(map(len, COMMANDS))
    lines = [
        'clipn teaches CLIP to say "no": an image gets one of your class names or "none of these".'
    ]
    lines += ["", "usage: clipn COMMAND [OPTIONS]    (clipn COMMAND --help tells them all)", ""]
    lines += [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    lines += ["", "examples:", *(f"  {example}" for example in EXAMPLES)]
    return "\n".join(lines)


def _complain(line: str) -> None:
    """One line on stderr."""
    print(printable(line), file=sys.stderr)


if __name__ == "__main__":
    main()
