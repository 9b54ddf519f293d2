"""python -m sg3tf.data.build: builds a data set."""

from sg3tf.data.build.command import main

if __name__ == "__main__":
    main()
