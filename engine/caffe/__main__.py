"""`python -m caffe train -solver solver.prototxt`: the `caffe` tool."""

from .command import main

if __name__ == "__main__":
    main()
