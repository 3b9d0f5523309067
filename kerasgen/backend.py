"""Import Keras and its backend without their start-up chatter."""

from __future__ import annotations

import os
import sys
import tempfile


def load() -> None:
    """Import Keras and the backend that ``KERAS_BACKEND`` names, holding back what they write to standard error.

    It is shown if the import fails, or with ``TF_CPP_MIN_LOG_LEVEL=0``.
    """
    if "keras" in sys.modules or os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        import keras

        return
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:
        import keras

        return
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            import keras

            # The backend's library starts its own logging at its first use.
            keras.ops.zeros(1)
        except BaseException:
            os.dup2(kept, 2)
            written.seek(0)
            sys.stderr.write(written.read().decode(errors="replace"))
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
