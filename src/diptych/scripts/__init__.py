"""Plain scripts: a network and its training as one file of a framework, without Diptych.

`script.write` gives the text. One module per workflow writes the lines that differ from network to
network; the template of the same name in ``templates/`` holds the rest of the file.
"""
