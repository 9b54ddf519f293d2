"""python -m sg3tf.cli.data: the same as `sg3tf data`."""

import sys

from sg3tf.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["data", *sys.argv[1:]]))
