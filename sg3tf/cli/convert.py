"""python -m sg3tf.cli.convert: the same as `sg3tf convert`."""

import sys

from sg3tf.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
