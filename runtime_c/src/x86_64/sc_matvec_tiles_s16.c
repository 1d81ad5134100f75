/* Tiles of 8 rows and 4 columns, inputs of 16 bits: VPMOVSXBW, VPMADDWD. SPDX-License-Identifier: Apache-2.0
 *
 * VPMADDWD's sum of two products is exact: 2 * 32768 * 127 < 2^23. 6 instructions a tile, and 1 for its four
 * x, which two row groups share. A row has two accumulators, of the even and the odd pairs of columns, which
 * are added at the end of a row group.
 */
#include "sc_isa.h"
#include "stepcell.h"
#ifdef SC_HAS_MATVEC_TILES_S16
#include "sc_avx2.h"

#define LINKAGE static
#define NAME portable
#define INPUT int16_t
#include "sc_matvec_tiles.h"

/* Adds four rows of a tile: 64 bits hold a row's four columns. */
SC_AVX2 static inline __m256i add_half(__m256i sum, const uint32_t *half, __m256i x)
{
    const __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)half));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(w, x));
}

/* acc[8] = start + the sum of each row's accumulators. */
SC_AVX2 static inline void finish(int32_t *acc, const int32_t *start, __m256i low, __m256i high)
{
    const __m256i rows = _mm256_permute4x64_epi64(_mm256_hadd_epi32(low, high), _MM_SHUFFLE(3, 1, 2, 0));
    sc_store256(acc, _mm256_add_epi32(rows, sc_load256(start)));
}

SC_AVX2 static void avx2(sc_cursor *at, const int16_t *x, int32_t *acc, unsigned rows)
{
    const size_t cols = at->cols, group = 2 * cols, stride = at->stride;
    const uint32_t *weights = at->weights;
    const int32_t *start = at->start;
    for (; rows >= 16; rows -= 16, acc += 16, start += 2 * stride, weights += group) {
        __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
        for (size_t c = 0; c < cols; c += 4, weights += 8) {
            const __m256i v = sc_repeat8(x + c);
            s0 = add_half(s0, weights, v);
            s1 = add_half(s1, weights + 4, v);
            s2 = add_half(s2, weights + group, v);
            s3 = add_half(s3, weights + group + 4, v);
        }
        finish(acc, start, s0, s1);
        finish(acc + 8, start + stride, s2, s3);
    }
    for (; rows != 0; rows -= 8, acc += 8, start += stride) {
        __m256i s0 = _mm256_setzero_si256(), s1 = s0;
        for (size_t c = 0; c < cols; c += 4, weights += 8) {
            const __m256i v = sc_repeat8(x + c);
            s0 = add_half(s0, weights, v);
            s1 = add_half(s1, weights + 4, v);
        }
        finish(acc, start, s0, s1);
    }
    at->weights = weights;
    at->start = start;
}

void sc_matvec_tiles_s16(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    if (sc_has_avx2())
        avx2(at, x, acc, rows);
    else
        portable(at, x, acc, rows);
}
#endif
