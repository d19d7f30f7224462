"""A tokenizer's chat template rendered in a process of its own, which has so many seconds and bytes.

A template is a program that comes with a model. Jinja's sandbox keeps it away from files and from Python; it does not
keep it from looping for years or from filling the memory, and no time limit inside of a process stops `10 ** 10 ** 10`.
So a child that is forked once a tokenizer renders for it. It is ended where it takes too long, or its parent ends.
"""

import os
import resource
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn
from weakref import WeakKeyDictionary, finalize

from nemo_hs2pref.parent import end_with

MOST_SECONDS = 20.0  # of one conversation, which takes a millisecond where the machine has nothing else to do
MOST_BYTES = 2**30  # beyond what the process has when it is forked
PARALLELISM = "TOKENIZERS_PARALLELISM"
Answer = tuple[bool, str]  # whether it is the text; else what happened, in words
Conversation = Sequence[Mapping[str, Any]]


class TemplateFault(Exception):
    """What the template did instead of writing a text, in words."""


def render(tokenizer: Any, messages: Conversation, **settings: Any) -> str:
    """`tokenizer.apply_chat_template` as text; raises TemplateFault for whatever it does instead."""
    child = children.get(tokenizer)
    if child is None or child.parent != os.getpid():  # this process was forked itself
        child = children[tokenizer] = Child(tokenizer)
        finalize(tokenizer, child.end)
    try:
        is_text, answer = child.ask(messages, {"chat_template": tokenizer.chat_template, **settings})
    except (TimeoutError, EOFError, OSError) as error:
        del children[tokenizer]
        child.end()
        late = f"takes more than {MOST_SECONDS:.0f} s for one conversation"
        raise TemplateFault(late if isinstance(error, TimeoutError) else "ends the process that renders it") from None
    if not is_text:
        raise TemplateFault(answer)
    return answer


class Child:
    """The process that renders with one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self.connection, theirs = Pipe()
        self.parent, self.lock = os.getpid(), Lock()
        with no_word_of_a_fork():
            self.pid = os.fork()
        if not self.pid:
            serve(theirs, tokenizer, self.parent)
        theirs.close()

    def ask(self, messages: Conversation, settings: Mapping[str, Any]) -> Answer:
        """Raises TimeoutError; EOFError or OSError where the child is gone."""
        with self.lock:
            self.connection.send((messages, settings))
            if not self.connection.poll(MOST_SECONDS):
                raise TimeoutError
            return self.connection.recv()

    def end(self) -> None:
        if os.getpid() != self.parent:  # what a fork has of it
            return
        self.connection.close()
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@contextmanager
def no_word_of_a_fork() -> Iterator[None]:
    """The package tokenizers warns of a fork on stderr, for what is tokenized there; nothing is."""
    before = os.environ.get(PARALLELISM)
    os.environ[PARALLELISM] = before or "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[PARALLELISM]


children: "WeakKeyDictionary[Any, Child]" = WeakKeyDictionary()


def serve(connection: Connection, tokenizer: Any, parent: int) -> NoReturn:
    """In the child: answer until the parent is gone."""
    try:
        end_with(parent)  # its end of our pipe may stay open, in other children
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; the parent ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + MOST_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
        while True:
            messages, settings = connection.recv()
            connection.send(answered(tokenizer, messages, settings))
    finally:
        os._exit(0)  # past whatever the parent has left to do at its end


def answered(tokenizer: Any, messages: Conversation, settings: Mapping[str, Any]) -> Answer:
    try:
        return True, tokenizer.apply_chat_template(messages, tokenize=False, **settings)
    except MemoryError:
        return False, f"takes more than {MOST_BYTES / 2**30:.0f} GiB for one conversation"
    except Exception as error:  # Jinja's own, and whatever its functions and operators raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return False, f"{reason:.200}"
