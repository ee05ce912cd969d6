"""TensorFlow's names for the operations that networks are made of, by what they have in common."""

PASSES = {"Identity", "IdentityN", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot"}
CONVOLUTIONS = {"Conv2D", "Conv3D", "DepthwiseConv2dNative"}
TRANSPOSED = {"Conv2DBackpropInput", "Conv3DBackpropInputV2"}
PRODUCTS = {"MatMul", "BatchMatMulV2"}
POOLS = {
    "MaxPool": "max_pool",
    "MaxPool3D": "max_pool",
    "AvgPool": "average_pool",
    "AvgPool3D": "average_pool",
}
RESIZES = {"ResizeBilinear": "linear", "ResizeNearestNeighbor": "nearest", "ResizeBicubic": "keys"}
BLOCKS = {"DepthToSpace": "depth_to_space", "SpaceToDepth": "space_to_depth"}
REDUCTIONS = {"Mean": "mean", "Sum": "sum", "Max": "max", "Min": "min"}
GLOBAL_POOLS = {"mean": "global_average_pool", "max": "global_max_pool"}
FUSED_NORMS = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
ADDITIONS = {"AddV2", "Add", "BiasAdd"}
RESHAPES = {"Reshape", "Squeeze", "ExpandDims"}
PADS = {"Pad", "PadV2", "MirrorPad"}
GATHERS = {"GatherV2", "ResourceGather"}
BARRIERS = {
    *(*CONVOLUTIONS, *TRANSPOSED, *PRODUCTS, *POOLS, *FUSED_NORMS, *PADS, *GATHERS, "ConcatV2"),
    *(*RESIZES, *BLOCKS, "ReverseV2", "Roll", "Tile", "Pack"),
}
"""Operations that are always separate nodes, and never part of a sequence of arithmetic."""
NOT_ELEMENTWISE = {*BARRIERS, *RESHAPES, *REDUCTIONS, "Transpose", "StridedSlice"}
LAYERS = {*CONVOLUTIONS, *TRANSPOSED, *PRODUCTS, *POOLS, *FUSED_NORMS}
"""Operations that determine the kind of a block, whatever else is in it."""
SUMS = ("AddV2", "Add", "AddN")
JOINS = {
    **dict.fromkeys(SUMS, "add"),
    "Sub": "subtract",
    "Mul": "multiply",
    "RealDiv": "divide",
    "Maximum": "maximum",
    "Minimum": "minimum",
}
"""Elementwise combinations of tensors, and their names in the graph."""
CROSS_ENTROPIES = {"SparseSoftmaxCrossEntropyWithLogits", "SoftmaxCrossEntropyWithLogits"}
LOSS_ARITHMETIC = {
    *("Log", "Log1p", "LogSoftmax", "Neg", "Cast", "Identity"),
    *("Maximum", "Minimum", "AddV2", "Sub"),  # Clipping, and a small number before a logarithm.
    *(*RESHAPES, "StridedSlice"),
}
"""Operations between a network's output and its targets, which belong to the loss."""
ACTIVATION_OPERATIONS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Elu": "elu",
    "Selu": "selu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "LogSoftmax": "log_softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Exp": "exponential",
    "LeakyRelu": "leaky_relu",
}
