"""The operators of TensorFlow Lite: their names by code, and the options of those that are imported."""

from stepcell.importers.tflite.flatbuffer import Number

_IN_ORDER = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP
FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC
LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX
SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD
UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE
UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX
DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER
GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL
LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT
LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE
RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N
GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF
WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS
HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE
READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL
GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM
ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT
"""
NAMES = dict(enumerate(_IN_ORDER.split()))

Field = tuple[int, str, Number]
"""(number in the table, type as in struct or `v` for a list of integers, default)"""

_ACTIVATION: Field = (0, "b", 0)

OPTIONS: dict[str, tuple[int, dict[str, Field]]] = {
    "FULLY_CONNECTED": (8, {"activation": _ACTIVATION, "format": (1, "b", 0), "keep_axes": (2, "b", 0)}),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        71,
        {
            "activation": _ACTIVATION,
            "cell_clip": (1, "f", 0.0),
            "projection_clip": (2, "f", 0.0),
            "time_major": (3, "b", 0),
            "diagonal": (5, "b", 0),
        },
    ),
    "BIDIRECTIONAL_SEQUENCE_LSTM": (
        69,
        {
            "activation": _ACTIVATION,
            "cell_clip": (1, "f", 0.0),
            "projection_clip": (2, "f", 0.0),
            "merge": (3, "b", 0),
            "time_major": (4, "b", 1),
        },
    ),
    "UNIDIRECTIONAL_SEQUENCE_RNN": (31, {"time_major": (0, "b", 0), "activation": (1, "b", 0)}),
    "STRIDED_SLICE": (
        32,
        {
            "begin_mask": (0, "i", 0),
            "end_mask": (1, "i", 0),
            "ellipsis_mask": (2, "i", 0),
            "new_axis_mask": (3, "i", 0),
            "shrink_axis_mask": (4, "i", 0),
            "offset": (5, "b", 0),
        },
    ),
    "CONCATENATION": (10, {"axis": (0, "i", 0), "activation": (1, "b", 0)}),
    "PACK": (59, {"count": (0, "i", 0), "axis": (1, "i", 0)}),
    "UNPACK": (64, {"count": (0, "i", 0), "axis": (1, "i", 0)}),
    "SPLIT": (35, {"count": (0, "i", 0)}),
    "SPLIT_V": (79, {"count": (0, "i", 0)}),
    "ADD": (11, {"activation": _ACTIVATION}),
    "SUB": (28, {"activation": _ACTIVATION}),
    "MUL": (21, {"activation": _ACTIVATION}),
    "DIV": (29, {"activation": _ACTIVATION}),
    "SOFTMAX": (9, {"beta": (0, "f", 0.0)}),
    "MEAN": (27, {"keep_axes": (0, "b", 0)}),
    "SUM": (27, {"keep_axes": (0, "b", 0)}),
    "REDUCE_MAX": (27, {"keep_axes": (0, "b", 0)}),
    "SQUEEZE": (30, {"axes": (0, "v", 0)}),
    "GATHER": (23, {"axis": (0, "i", 0), "batch_axes": (1, "i", 0)}),
    "LEAKY_RELU": (75, {"alpha": (0, "f", 0.0)}),
    "GELU": (116, {"approximate": (0, "b", 0)}),
    "CONV_2D": (
        1,
        {
            "padding": (0, "b", 0),
            "stride_w": (1, "i", 0),
            "stride_h": (2, "i", 0),
            "activation": (3, "b", 0),
            "dilation_w": (4, "i", 1),
            "dilation_h": (5, "i", 1),
        },
    ),
    "DEPTHWISE_CONV_2D": (
        2,
        {
            "padding": (0, "b", 0),
            "stride_w": (1, "i", 0),
            "stride_h": (2, "i", 0),
            "multiplier": (3, "i", 0),
            "activation": (4, "b", 0),
            "dilation_w": (5, "i", 1),
            "dilation_h": (6, "i", 1),
        },
    ),
    **dict.fromkeys(
        ("AVERAGE_POOL_2D", "MAX_POOL_2D"),
        (
            5,
            {
                "padding": (0, "b", 0),
                "stride_w": (1, "i", 0),
                "stride_h": (2, "i", 0),
                "width": (3, "i", 0),
                "height": (4, "i", 0),
                "activation": (5, "b", 0),
            },
        ),
    ),
    "WHILE": (93, {"condition": (0, "i", 0), "body": (1, "i", 0)}),
}
"""(kind of the options' table, its fields by name) of every operator that has options and is imported."""
