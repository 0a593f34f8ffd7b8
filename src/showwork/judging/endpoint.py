"""One endpoint of the OpenAI-compatible kind, and a memory of what it has said.

Takes:  a URL, a model's name, messages.
Leaves: the reply's text and what it cost in tokens; replies that could be used lie in a folder and are never paid for twice.
        The key comes from an environment variable and goes into one header; it is written nowhere.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from showwork.foundation.files import canonical, read_json, write_json
from showwork.foundation.nesting import loads
from showwork.sources.patience import Patience, Retryable, retry_after_s

AGAIN = {408, 409, 425, 429, 500, 502, 503, 504}
MOST_BYTES = 4 << 20  # of an answer; a completion of some hundred tokens has a few thousand
TRIES = 3  # asked again so often when a reply is nonsense; servers draw anew even at temperature 0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass
class Judge:
    """An endpoint. `url` ends before /chat/completions, `key_variable` names the variable of the environment with the key."""

    url: str
    model: str
    max_tokens: int
    key_variable: str
    folder: Path
    say: Callable[[str], None]
    timeout_s: float = 120.0
    patience: Patience = field(default_factory=Patience)

    def ask(self, messages: list[dict[str, str]], read: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """{"reply", "scores" or None, "problem", "input_tokens", "output_tokens", "cached"} of one request.

        `read` turns a reply into scores or raises ValueError; after TRIES such replies the last one is given back without.

        Raises:
            ValueError: the endpoint refuses, or is down for longer than there is patience.
        """
        body = {"model": self.model, "messages": messages, "temperature": 0, "max_tokens": self.max_tokens}
        path = self.folder / f"{hashlib.sha256(canonical([self.url, body]).encode()).hexdigest()[:32]}.json"
        if path.is_file():
            try:
                kept = read_json(path)
                return {**kept, "scores": read(kept["reply"]), "problem": "", "cached": True}
            except (ValueError, KeyError, TypeError):
                path.unlink()  # cut off or of an older rubric: ask again
        used = {"input_tokens": 0, "output_tokens": 0}
        reply, problem = "", ""
        for _ in range(TRIES):
            reply, usage = self.patience.insist(f"judge {self.url}", lambda: self._post(body), self.say)
            used = {key: used[key] + usage[key] for key in used}
            try:
                found = read(reply)
            except ValueError as error:
                problem = str(error)
                continue
            write_json(path, {"reply": reply, **used})
            return {"reply": reply, **used, "scores": found, "problem": "", "cached": False}
        return {"reply": reply, **used, "scores": None, "problem": problem, "cached": False}

    def _post(self, body: dict[str, Any]) -> tuple[str, dict[str, int]]:
        key = os.environ.get(self.key_variable)
        request = urllib.request.Request(
            f"{self.url.rstrip('/')}/chat/completions",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
        )
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout_s) as answer:
                said = answer.read(MOST_BYTES + 1)
        except urllib.error.HTTPError as error:
            if error.code in AGAIN:
                raise Retryable(
                    f"answers {error.code} {error.reason}", retry_after_s(error.headers["Retry-After"])
                ) from None
            mend = {
                401: f"put the endpoint's key into the environment as {self.key_variable}",
                403: f"put a key that may use this model into the environment as {self.key_variable}",
                404: f"correct judge.url or judge.model, now {self.model!r}",
            }.get(error.code, "correct judge.url and judge.model")
            raise ValueError(f"judge {self.url}: answers {error.code} {error.reason}; {mend}") from None
        except (OSError, http.client.HTTPException) as error:
            raise Retryable(f"cannot be reached ({getattr(error, 'reason', None) or error})") from None
        if len(said) > MOST_BYTES:
            raise ValueError(
                f"judge {self.url}: answers more than {MOST_BYTES:,} bytes where a chat completion was asked for; correct judge.url"
            )
        try:
            found = loads(said)
            text, usage = found["choices"][0]["message"]["content"], found.get("usage") or {}
        except (ValueError, KeyError, IndexError, TypeError):
            raise Retryable(f"answers with something else than a chat completion ({said[:80]!r})") from None
        tokens = {"input_tokens": usage.get("prompt_tokens", 0), "output_tokens": usage.get("completion_tokens", 0)}
        return text if isinstance(text, str) else "", tokens
