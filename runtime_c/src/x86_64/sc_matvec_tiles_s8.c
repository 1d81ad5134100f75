/* Tiles of 8 rows and 4 columns: VPSIGNB, VPMADDUBSW, VPMADDWD. SPDX-License-Identifier: Apache-2.0
 *
 * VPMADDUBSW multiplies unsigned by signed bytes and saturates the sum of two products. With |x| <= 128,
 * which an unsigned byte holds, times w with the sign of x, |w| <= 127, that sum is at most 2 * 128 * 127 =
 * 32512: it never saturates. 5 instructions a tile, and 2 for its four x, which up to four row groups share.
 */
#include "sc_isa.h"
#include "stepcell.h"
#ifdef SC_HAS_MATVEC_TILES_S8
#include "sc_avx2.h"

#define LINKAGE static
#define NAME portable
#define INPUT int8_t
#include "sc_matvec_tiles.h"

/* Adds a tile: a 32-bit lane holds a row's four columns, and its accumulator. */
SC_AVX2 static inline __m256i add_tile(__m256i sum, const uint32_t *tile, __m256i x, __m256i size)
{
    const __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(sc_load256(tile), x));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* `count` row groups, 1 to 4, at once; it is a constant wherever this is inlined. */
SC_AVX2 static inline __attribute__((always_inline)) void add_groups(const uint32_t *weights, size_t cols,
                                                                     const int32_t *start, size_t stride,
                                                                     const int8_t *x, int32_t *acc,
                                                                     unsigned count)
{
    const size_t group = 2 * cols;
    __m256i s0 = sc_load256(start), s1 = s0, s2 = s0, s3 = s0;
    if (count > 1)
        s1 = sc_load256(start + stride);
    if (count > 2)
        s2 = sc_load256(start + 2 * stride);
    if (count > 3)
        s3 = sc_load256(start + 3 * stride);
    for (size_t c = 0; c < cols; c += 4, weights += 8) {
        const __m256i v = sc_repeat4(x + c), size = _mm256_abs_epi8(v);
        s0 = add_tile(s0, weights, v, size);
        if (count > 1)
            s1 = add_tile(s1, weights + group, v, size);
        if (count > 2)
            s2 = add_tile(s2, weights + 2 * group, v, size);
        if (count > 3)
            s3 = add_tile(s3, weights + 3 * group, v, size);
    }
    sc_store256(acc, s0);
    if (count > 1)
        sc_store256(acc + 8, s1);
    if (count > 2)
        sc_store256(acc + 16, s2);
    if (count > 3)
        sc_store256(acc + 24, s3);
}

SC_AVX2 static void avx2(sc_cursor *at, const int8_t *x, int32_t *acc, unsigned rows)
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

void sc_matvec_tiles_s8(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    if (sc_has_avx2())
        avx2(at, x, acc, rows);
    else
        portable(at, x, acc, rows);
}
#endif
