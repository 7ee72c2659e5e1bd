"""The decode step and the decoder in C++: several times the speed of the ONNX graphs, where the processor fits.

`runner.NativeStep` is one of the engine's step runners; ONNX Runtime is what runs everywhere.
"""
