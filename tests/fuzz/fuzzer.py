"""One fuzzing run in a process of its own: `python fuzzer.py TARGET FOLDER SECONDS`. Exit status 0: nothing was found.

What made it fail lies in the folder afterwards, as `crash-…`, `timeout-…` or `oom-…`.
"""

import sys
import warnings
from pathlib import Path

import atheris

INSTRUMENTED = ["mailfleet.mail", "mailfleet.health.dns", "mailfleet.providers", "mailparser_reply", "fuzz.targets"]
LONGEST_WAIT = 60  # chosen: seconds of the clock for one input on a machine that is busy; CPU is bounded by the target
MEMORY = 1_000  # chosen: MB of the whole process; the instrumented modules and the corpus take 200


def main(name: str, folder: Path, seconds: str) -> None:
    with atheris.instrument_imports(include=INSTRUMENTED):
        from fuzz.targets import TARGETS, target_of
    target = TARGETS[name]
    words = folder / "words"
    words.write_text("".join(f'"{_written(word)}"\n' for word in target.words))
    warnings.simplefilter("error")
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={target.longest}",
        f"-timeout={LONGEST_WAIT}",
        f"-rss_limit_mb={MEMORY}",
        f"-artifact_prefix={folder}/",
        f"-dict={words}",
        "-len_control=0",
        "-use_value_profile=1",
    ]
    atheris.Setup([sys.argv[0], str(folder / "corpus"), *options], target_of(name))
    atheris.Fuzz()


def _written(word: bytes) -> str:
    """As libFuzzer reads it: every byte by its number."""
    return "".join(f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
