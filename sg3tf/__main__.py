"""python -m sg3tf: the same as `sg3tf`."""

import sys

from sg3tf.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
