"""python -m sg3tf.doctor"""

import sys

from sg3tf.doctor.command import command

if __name__ == "__main__":
    sys.exit(command())
