"""C++ for the inner loops: the decode step, the decoder, poses and retargeting of a crowd.

`src` is compiled once per machine with the system's compiler, for its own processor (`library`). Everything in it
exists in numpy, ONNX Runtime or torch too: that runs where there is no compiler, and C++ is tested against it.
"""
