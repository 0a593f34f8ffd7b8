"""Whether lingua judges each of a list of texts not to be English, and how long that took.

Takes:  JSON on stdin: a list of texts.
Leaves: JSON on stdout: {"flags": one bool a text, "seconds": CPU seconds}. A text of which lingua says nothing is not flagged.
"""

import json
import sys
import time

from lingua import Language, LanguageDetectorBuilder

detector = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()
texts = json.load(sys.stdin)
start = time.process_time()
flags = [detector.detect_language_of(text) not in (Language.ENGLISH, None) for text in texts]
json.dump({"flags": flags, "seconds": time.process_time() - start}, sys.stdout)
