"""Special functions that `autograd` can derive.

`autograd.scipy` has them too, but its import takes half a second, since it imports all of SciPy.
"""

# The functions are compiled ones, whose types pyright does not know.
# pyright: reportAttributeAccessIssue=false

import autograd.numpy as np
from autograd.extend import defvjp, primitive
from scipy import special

erf = primitive(special.erf)
defvjp(erf, lambda _, x: lambda g: g * 2 / np.sqrt(np.pi) * np.exp(-(x**2)))

expit = primitive(special.expit)
defvjp(expit, lambda y, _: lambda g: g * y * (1 - y))
