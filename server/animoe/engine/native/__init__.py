"""The decode step in C++: several times the speed of the ONNX graph, where there is a compiler and a fitting processor.

`src` is compiled once per machine with the system's compiler, for its own processor (`library`). `runner.NativeStep` is
one of the engine's step runners; the ONNX graph is what runs everywhere.
"""
