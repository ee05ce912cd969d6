"""A network as a scikit-learn classifier: in pipelines, cross-validation and searches.

>>> from diptych.sklearn import ConvNetClassifier
>>> ConvNetClassifier("dense", workflow="numpy", epochs=3).fit(X, y).predict(X)  # doctest: +SKIP
"""

from diptych.sklearn.classifier import ConvNetClassifier

__all__ = ["ConvNetClassifier"]
