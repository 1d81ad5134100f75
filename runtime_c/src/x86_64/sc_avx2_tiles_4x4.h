/* Tiles of 4 rows and 4 columns, those with weights: VPMOVSXBW, VPMADDWD; included once for each input type.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The includer defines FUNCTION, INPUT and REPEAT4, which makes four inputs 16 bits wide and repeats them for
 * four rows. A row has two accumulators, of the even and the odd pairs of columns, which are added at the end
 * of a row group.
 */
#include "sc_avx2.h"

#define LINKAGE static
#define NAME portable
#include "sc_matvec_tiles_4x4.h"

SC_AVX2 static void avx2(sc_cursor *at, const INPUT *x, int32_t *acc, unsigned rows)
{
    const uint32_t *weights = at->weights;
    const uint8_t *columns = at->columns;
    const int32_t *start = at->start;
    for (; rows != 0; rows -= 4, acc += 4, start += at->stride) {
        __m256i sum = _mm256_setzero_si256();
        for (size_t first = 0; first < at->cols; first += 4 * SC_SEGMENT)
            for (unsigned tiles = *columns++; tiles != 0; --tiles, weights += 4) {
                const __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)weights));
                const __m256i v = REPEAT4(x + first + 4 * (size_t)*columns++);
                sum = _mm256_add_epi32(sum, _mm256_madd_epi16(w, v));
            }
        const __m128i both = _mm_hadd_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        const __m128i from = _mm_loadu_si128((const __m128i *)start);
        _mm_storeu_si128((__m128i *)acc, _mm_add_epi32(both, from));
    }
    at->weights = weights;
    at->columns = columns;
    at->start = start;
}

void FUNCTION(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    if (sc_has_avx2())
        avx2(at, x, acc, rows);
    else
        portable(at, x, acc, rows);
}
