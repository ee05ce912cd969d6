"""Files that other tools open: networks are written to them and read from them.

Nothing here knows of audits, of serving or of the command line, which all use it. What opens files
for an audit (`keras.archive`, `onnx.file` and what that needs) imports NumPy and the format's own
libraries only, since it runs in the process of one side.
"""
