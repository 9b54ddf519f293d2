"""python -m sg3tf.cli.generate: the same as `sg3tf generate`."""

import sys

from sg3tf.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["generate", *sys.argv[1:]]))
