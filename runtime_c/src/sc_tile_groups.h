/* Dense row groups in tiles of 8 rows and 4 columns, up to four row groups at once, which share the inputs.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines LINKAGE, NAME and INLINE (what its functions are declared with), the types `sums`, of
 * 8 rows, and `columns`, four of x, and load_sums, store_sums, load_columns and add_tile.
 */

/* `count` row groups, 1 to 4, at once; it is a constant wherever this is inlined. */
INLINE __attribute__((always_inline)) void add_groups(const uint32_t *weights, size_t cols,
                                                      const int32_t *start, size_t stride, const int8_t *x,
                                                      int32_t *acc, unsigned count)
{
    const size_t group = 2 * cols;
    sums s0 = load_sums(start), s1 = s0, s2 = s0, s3 = s0;
    if (count > 1)
        s1 = load_sums(start + stride);
    if (count > 2)
        s2 = load_sums(start + 2 * stride);
    if (count > 3)
        s3 = load_sums(start + 3 * stride);
    for (size_t c = 0; c < cols; c += 4, weights += 8) {
        const columns v = load_columns(x + c);
        s0 = add_tile(s0, weights, v);
        if (count > 1)
            s1 = add_tile(s1, weights + group, v);
        if (count > 2)
            s2 = add_tile(s2, weights + 2 * group, v);
        if (count > 3)
            s3 = add_tile(s3, weights + 3 * group, v);
    }
    store_sums(acc, s0);
    if (count > 1)
        store_sums(acc + 8, s1);
    if (count > 2)
        store_sums(acc + 16, s2);
    if (count > 3)
        store_sums(acc + 24, s3);
}

LINKAGE void NAME(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    const size_t cols = at->cols, stride = at->stride;
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (unsigned groups = rows / 8, now; groups != 0; groups -= now) {
        now = groups < 4 ? groups : 4;
        if (now == 4)
            add_groups(weights, cols, start, stride, x, acc, 4);
        else if (now == 3)
            add_groups(weights, cols, start, stride, x, acc, 3);
        else if (now == 2)
            add_groups(weights, cols, start, stride, x, acc, 2);
        else
            add_groups(weights, cols, start, stride, x, acc, 1);
        weights += 2 * cols * now;
        start += stride * now;
        acc += 8 * (size_t)now;
    }
    at->weights = weights;
    at->start = start;
}
