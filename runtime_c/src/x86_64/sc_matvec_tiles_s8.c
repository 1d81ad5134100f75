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

typedef __m256i sums; /* a 32-bit lane holds a row's four columns, and its accumulator */
typedef struct columns {
    __m256i x, size;
} columns;

SC_AVX2 static inline sums load_sums(const int32_t *start)
{
    return sc_load256(start);
}

SC_AVX2 static inline void store_sums(int32_t *acc, sums s)
{
    sc_store256(acc, s);
}

SC_AVX2 static inline columns load_columns(const int8_t *x)
{
    const __m256i v = sc_repeat4(x);
    return (columns){v, _mm256_abs_epi8(v)};
}

SC_AVX2 static inline sums add_tile(sums s, const uint32_t *tile, columns c)
{
    const __m256i pairs = _mm256_maddubs_epi16(c.size, _mm256_sign_epi8(sc_load256(tile), c.x));
    return _mm256_add_epi32(s, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#undef LINKAGE
#undef NAME
#define LINKAGE SC_AVX2 static
#define NAME avx2
#define INLINE SC_AVX2 static inline
#include "sc_tile_groups.h"

void sc_matvec_tiles_s8(sc_cursor *at, const void *x, int32_t *acc, unsigned rows)
{
    if (sc_has_avx2())
        avx2(at, x, acc, rows);
    else
        portable(at, x, acc, rows);
}
#endif
