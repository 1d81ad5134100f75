/* The int8 view of an int16 vector, sixteen elements at a time, with SSE2. SPDX-License-Identifier:
 * Apache-2.0 */
#include "sc_arithmetic.h"
#include "sc_isa.h"
#ifdef SC_HAS_VIEW_S8
#include <emmintrin.h>

/* (v + 128) >> 8: 127 where the sum saturates, as it shall be. */
static inline __m128i view8(const int16_t *v)
{
    return _mm_srai_epi16(_mm_adds_epi16(_mm_loadu_si128((const __m128i *)v), _mm_set1_epi16(128)), 8);
}

void sc_view_s8(void *view, const int16_t *v, unsigned n, unsigned padded)
{
    int8_t *out = view;
    unsigned i = 0;
    for (; n - i >= 16; i += 16)
        _mm_storeu_si128((__m128i *)(out + i), _mm_packs_epi16(view8(v + i), view8(v + i + 8)));
    for (; i < n; ++i)
        out[i] = (int8_t)sc_view1(v[i]);
    for (; i < padded; ++i)
        out[i] = 0;
}
#endif
