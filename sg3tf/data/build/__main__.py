"""python -m sg3tf.data.build"""

import sys

from sg3tf.data.build.command import command

if __name__ == "__main__":
    sys.exit(command())
