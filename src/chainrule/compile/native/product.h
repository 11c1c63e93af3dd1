/* Matrix products, copies and random bits: the loops of the runtime that know nothing of Python. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef void (*Gemm32)(int, int, int, int, int, int, float, const float *, int, const float *,
                       int, float, float *, int);
typedef void (*Gemm64)(int, int, int, int64_t, int64_t, int64_t, float, const float *, int64_t,
                       const float *, int64_t, float, float *, int64_t);
typedef void (*DGemm32)(int, int, int, int, int, int, double, const double *, int,
                        const double *, int, double, double *, int);
typedef void (*DGemm64)(int, int, int, int64_t, int64_t, int64_t, double, const double *, int64_t,
                        const double *, int64_t, double, double *, int64_t);

static struct {
    void *sgemm, *dgemm;
    int bits;
} blas;

/* -- vectors ---------------------------------------------------------------------------------- */

/* Vectors as wide as the target has them: lanes of float, half as many of double. */
#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float F4 __attribute__((vector_size(16), aligned(4), may_alias));
typedef float F8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef double D2 __attribute__((vector_size(16), aligned(8), may_alias));
typedef double D4 __attribute__((vector_size(32), aligned(8), may_alias));

#if defined(__clang__) || __GNUC__ >= 12
#define MIX(index, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t I4 __attribute__((vector_size(16)));
typedef int32_t I8 __attribute__((vector_size(32)));
typedef int64_t L2 __attribute__((vector_size(16)));
typedef int64_t L4 __attribute__((vector_size(32)));
#define MIX(index, a, b, ...) __builtin_shuffle(a, b, (index){__VA_ARGS__})
#endif

#if defined(__AVX__)
enum { SBLOCK = 8, DBLOCK = 4 };
static inline void turn_block_f(const float *from, ptrdiff_t lf, float *to, ptrdiff_t lt)
{
    F8 r[8], s[8];
    for (int i = 0; i < 8; i++)
        r[i] = *(const F8 *)(from + i * lf);
    for (int i = 0; i < 4; i++) {
        s[2 * i] = MIX(I8, r[2 * i], r[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        s[2 * i + 1] = MIX(I8, r[2 * i], r[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < 2; i++) {
        r[4 * i] = MIX(I8, s[4 * i], s[4 * i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        r[4 * i + 1] = MIX(I8, s[4 * i], s[4 * i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        r[4 * i + 2] = MIX(I8, s[4 * i + 1], s[4 * i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        r[4 * i + 3] = MIX(I8, s[4 * i + 1], s[4 * i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
    }
    for (int i = 0; i < 4; i++) {
        *(F8 *)(to + i * lt) = MIX(I8, r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        *(F8 *)(to + (i + 4) * lt) = MIX(I8, r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}
static inline void turn_block_d(const double *from, ptrdiff_t lf, double *to, ptrdiff_t lt)
{
    D4 r[4], s[4];
    for (int i = 0; i < 4; i++)
        r[i] = *(const D4 *)(from + i * lf);
    for (int i = 0; i < 2; i++) {
        s[2 * i] = MIX(L4, r[2 * i], r[2 * i + 1], 0, 4, 2, 6);
        s[2 * i + 1] = MIX(L4, r[2 * i], r[2 * i + 1], 1, 5, 3, 7);
    }
    for (int i = 0; i < 2; i++) {
        *(D4 *)(to + i * lt) = MIX(L4, s[i], s[i + 2], 0, 1, 4, 5);
        *(D4 *)(to + (i + 2) * lt) = MIX(L4, s[i], s[i + 2], 2, 3, 6, 7);
    }
}
#else
enum { SBLOCK = 4, DBLOCK = 2 };
static inline void turn_block_f(const float *from, ptrdiff_t lf, float *to, ptrdiff_t lt)
{
    F4 r[4], s[4];
    for (int i = 0; i < 4; i++)
        r[i] = *(const F4 *)(from + i * lf);
    for (int i = 0; i < 2; i++) {
        s[2 * i] = MIX(I4, r[2 * i], r[2 * i + 1], 0, 4, 1, 5);
        s[2 * i + 1] = MIX(I4, r[2 * i], r[2 * i + 1], 2, 6, 3, 7);
    }
    for (int i = 0; i < 2; i++) {
        *(F4 *)(to + 2 * i * lt) = MIX(I4, s[i], s[i + 2], 0, 1, 4, 5);
        *(F4 *)(to + (2 * i + 1) * lt) = MIX(I4, s[i], s[i + 2], 2, 3, 6, 7);
    }
}
static inline void turn_block_d(const double *from, ptrdiff_t lf, double *to, ptrdiff_t lt)
{
    D2 a = *(const D2 *)from, b = *(const D2 *)(from + lf);
    *(D2 *)to = MIX(L2, a, b, 0, 2);
    *(D2 *)(to + lt) = MIX(L2, a, b, 1, 3);
}
#endif

/* to (columns, rows) = the transpose of from (rows, columns). */
#define TURN(name, type, BLOCK, block)                                                        \
    static void name(const type *from, ptrdiff_t lf, ptrdiff_t rows, ptrdiff_t columns,        \
                     type *to, ptrdiff_t lt)                                                  \
    {                                                                                         \
        ptrdiff_t r = rows - rows % BLOCK, c = columns - columns % BLOCK;                     \
        for (ptrdiff_t j = 0; j < c; j += 2 * BLOCK)                                          \
            for (ptrdiff_t i = 0; i < r; i += BLOCK)                                          \
                for (ptrdiff_t l = j; l < c && l < j + 2 * BLOCK; l += BLOCK) /* a cache line */ \
                    block(from + i * lf + l, lf, to + l * lt + i, lt);                        \
        for (ptrdiff_t i = 0; i < rows; i++)                                                  \
            for (ptrdiff_t j = i < r ? c : 0; j < columns; j++)                               \
                to[j * lt + i] = from[i * lf + j];                                            \
    }
TURN(turn_f, float, SBLOCK, turn_block_f)
TURN(turn_d, double, DBLOCK, turn_block_d)

/* -- products --------------------------------------------------------------------------------- */

typedef struct {
    int single, ta, tb;
    ptrdiff_t m, n, k, lda, ldb, ldc;
} Product;

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };

static int turns(const Product *p)
{
#if defined(TURN_NEVER)
    return 0;
#elif defined(TURN_ALWAYS)
    return p->tb && !p->ta;
#else
    return p->tb && !p->ta && p->m > 1 && p->n >= 16;
#endif
}

/* The step from row to row of a matrix in scratch: whole cache lines. */
static ptrdiff_t padded(ptrdiff_t n) { return (n + 15) / 16 * 16; }

static ptrdiff_t product_scratch(const Product *p)
{
    ptrdiff_t bytes;
    if (!turns(p) || __builtin_mul_overflow(p->k * 8, padded(p->n), &bytes))
        return 0;
    return bytes;
}

static int gemm(const Product *p, const void *a, const void *b, void *c)
{
    int ta = p->ta ? TRANSPOSED : PLAIN, tb = p->tb ? TRANSPOSED : PLAIN;
    if (!blas.sgemm)
        return 0;
    if (blas.bits == 64) {
        if (p->single)
            ((Gemm64)blas.sgemm)(ROW_MAJOR, ta, tb, p->m, p->n, p->k, 1.0f, a, p->lda, b, p->ldb,
                                 0.0f, c, p->ldc);
        else
            ((DGemm64)blas.dgemm)(ROW_MAJOR, ta, tb, p->m, p->n, p->k, 1.0, a, p->lda, b, p->ldb,
                                  0.0, c, p->ldc);
        return 1;
    }
    if (p->m > INT32_MAX || p->n > INT32_MAX || p->k > INT32_MAX || p->lda > INT32_MAX ||
        p->ldb > INT32_MAX || p->ldc > INT32_MAX)
        return 0;
    if (p->single)
        ((Gemm32)blas.sgemm)(ROW_MAJOR, ta, tb, (int)p->m, (int)p->n, (int)p->k, 1.0f, a,
                             (int)p->lda, b, (int)p->ldb, 0.0f, c, (int)p->ldc);
    else
        ((DGemm32)blas.dgemm)(ROW_MAJOR, ta, tb, (int)p->m, (int)p->n, (int)p->k, 1.0, a,
                              (int)p->lda, b, (int)p->ldb, 0.0, c, (int)p->ldc);
    return 1;
}

/* C = op(A) op(B). Returns 0 where there is nothing here to compute it with. */
static int product_run(const Product *p, const void *a, const void *b, void *c, void *scratch)
{
    size_t item = p->single ? sizeof(float) : sizeof(double);
    if (p->m == 0 || p->n == 0)
        return 1;
    if (p->k == 0) {
        for (ptrdiff_t i = 0; i < p->m; i++)
            memset((char *)c + (size_t)(i * p->ldc) * item, 0, (size_t)p->n * item);
        return 1;
    }
    if (!turns(p) || !blas.sgemm)
        return gemm(p, a, b, c);
    Product q = *p;
    q.tb = 0;
    q.ldb = padded(p->n);
    if (p->single)
        turn_f(b, p->ldb, p->n, p->k, scratch, q.ldb);
    else
        turn_d(b, p->ldb, p->n, p->k, scratch, q.ldb);
    return gemm(&q, a, scratch, c);
}

/* -- copies ---------------------------------------------------------------------------------- */

enum { MOST_AXES = 64 };

typedef struct {
    int axes;             /* after merging; the last axis is the innermost */
    ptrdiff_t item;
    ptrdiff_t shape[MOST_AXES], to[MOST_AXES], from[MOST_AXES];
} Copy;

#define LINE(type)                                                                            \
    for (ptrdiff_t i = 0; i < n; i++)                                                         \
        *(type *)(dst + i * to) = *(const type *)(src + i * from);                            \
    break

static void copy_line(char *dst, ptrdiff_t to, const char *src, ptrdiff_t from, ptrdiff_t n,
                      ptrdiff_t item)
{
    if (to == item && from == item) {
        memcpy(dst, src, (size_t)(n * item));
        return;
    }
    switch (item) {
    case 1: LINE(uint8_t);
    case 2: LINE(uint16_t);
    case 4: LINE(uint32_t);
    case 8: LINE(uint64_t);
    default:
        for (ptrdiff_t i = 0; i < n; i++)
            memcpy(dst + i * to, src + i * from, (size_t)item);
    }
}

/* The two inner axes in blocks, so that a transposition reads and writes whole cache lines. */
static void copy_plane(const Copy *c, char *dst, const char *src)
{
    int x = c->axes - 2, y = c->axes - 1;
    ptrdiff_t rows = c->shape[x], columns = c->shape[y], block = 16;
    if (c->from[y] == c->item || c->from[y] == 0) {
        for (ptrdiff_t i = 0; i < rows; i++)
            copy_line(dst + i * c->to[x], c->to[y], src + i * c->from[x], c->from[y], columns,
                      c->item);
        return;
    }
    for (ptrdiff_t i = 0; i < rows; i += block)
        for (ptrdiff_t j = 0; j < columns; j += block) {
            ptrdiff_t h = rows - i < block ? rows - i : block;
            ptrdiff_t w = columns - j < block ? columns - j : block;
            for (ptrdiff_t r = i; r < i + h; r++)
                copy_line(dst + r * c->to[x] + j * c->to[y], c->to[y],
                          src + r * c->from[x] + j * c->from[y], c->from[y], w, c->item);
        }
}

static void copy_axes(const Copy *c, int axis, char *dst, const char *src)
{
    if (c->axes == 0)
        memcpy(dst, src, (size_t)c->item);
    else if (c->axes == 1)
        copy_line(dst, c->to[0], src, c->from[0], c->shape[0], c->item);
    else if (axis == c->axes - 2)
        copy_plane(c, dst, src);
    else
        for (ptrdiff_t i = 0; i < c->shape[axis]; i++)
            copy_axes(c, axis + 1, dst + i * c->to[axis], src + i * c->from[axis]);
}

/* -- random bits: Philox 4x64-10 ------------------------------------------------------------- */

static inline uint64_t high_product(uint64_t a, uint64_t b)
{
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

static inline void philox(uint64_t count, uint64_t step, uint64_t k0, uint64_t k1, uint64_t *out)
{
    const uint64_t m0 = 0xD2E7470EE14C6C93u, m1 = 0xCA5A826395121157u;
    uint64_t c0 = count, c1 = 0, c2 = 0, c3 = step;
    for (int round = 0; round < 10; round++) {
        uint64_t h0 = high_product(m0, c0), h1 = high_product(m1, c2);
        uint64_t l0 = m0 * c0, l1 = m1 * c2;
        c0 = h1 ^ c1 ^ k0;
        c1 = l1;
        c2 = h0 ^ c3 ^ k1;
        c3 = l0;
        k0 += 0x9E3779B97F4A7C15u;
        k1 += 0xBB67AE8584CAA73Bu;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* dst[i]: whether the i-th 32-bit half of the words, low half first, is below the threshold. */
static void random_bits(unsigned char *dst, ptrdiff_t n, uint64_t threshold, const uint64_t *key)
{
    enum { BLOCKS = 16 };
    if (threshold > UINT32_MAX) {
        memset(dst, 1, (size_t)n);
        return;
    }
    uint32_t below = (uint32_t)threshold;
    uint64_t count = 0, words[4 * BLOCKS];
    for (ptrdiff_t i = 0; i < n; i += 8 * BLOCKS) {
        ptrdiff_t most = n - i < 8 * BLOCKS ? n - i : 8 * BLOCKS;
        ptrdiff_t blocks = (most + 7) / 8;
        for (ptrdiff_t b = 0; b < blocks; b++)
            philox(++count, key[2], key[0], key[1], words + 4 * b);
        for (ptrdiff_t j = 0; j < most / 2; j++) {
            dst[i + 2 * j] = (uint32_t)words[j] < below;
            dst[i + 2 * j + 1] = (uint32_t)(words[j] >> 32) < below;
        }
        if (most & 1)
            dst[i + most - 1] = (uint32_t)words[most / 2] < below;
    }
}

/* -- labels ---------------------------------------------------------------------------------- */

#define LABELS(type)                                                                          \
    {                                                                                         \
        const type *v = p;                                                                    \
        int bad = 0;                                                                          \
        for (ptrdiff_t i = 0; i < n; i++)                                                     \
            bad |= (uint64_t)(int64_t)v[i] >= (uint64_t)classes;                              \
        return !bad;                                                                          \
    }

/* Whether all n integers are in [0, classes). A negative one is huge when read as unsigned. */
static int labels_hold(const void *p, ptrdiff_t n, int64_t classes, int item, int is_signed)
{
    switch (item * 2 + is_signed) {
    case 2: LABELS(uint8_t)
    case 3: LABELS(int8_t)
    case 4: LABELS(uint16_t)
    case 5: LABELS(int16_t)
    case 8: LABELS(uint32_t)
    case 9: LABELS(int32_t)
    case 16: LABELS(uint64_t)
    default: LABELS(int64_t)
    }
}
