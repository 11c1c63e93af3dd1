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

#if defined(__AVX__)
enum { LANES = 8 }; /* of floats; 16 were slower with AVX-512, having more to add up at the end */
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

/* -- one row times a transposed matrix --------------------------------------------------------- */

/* y[j] = sum of x[k] b[j][k]: LANES sums at once, one vector each, added up together at the end.
 * The order of additions depends on k alone. */
typedef float FV __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t IV __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Lane j of the result: the sum of the lanes of v[j]. In each round, neighbours' halves meet. */
static inline FV add_up(FV *v)
{
#if defined(__AVX__)
    for (int i = 0; i < 4; i++)
        v[i] = MIX(IV, v[i], v[i + 4], 0, 1, 2, 3, 8, 9, 10, 11) +
               MIX(IV, v[i], v[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    for (int i = 0; i < 2; i++)
        v[i] = MIX(IV, v[i], v[i + 2], 0, 1, 8, 9, 4, 5, 12, 13) +
               MIX(IV, v[i], v[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    return MIX(IV, v[0], v[1], 0, 8, 2, 10, 4, 12, 6, 14) +
           MIX(IV, v[0], v[1], 1, 9, 3, 11, 5, 13, 7, 15);
#else
    for (int i = 0; i < 2; i++)
        v[i] = MIX(IV, v[i], v[i + 2], 0, 1, 4, 5) + MIX(IV, v[i], v[i + 2], 2, 3, 6, 7);
    return MIX(IV, v[0], v[1], 0, 4, 2, 6) + MIX(IV, v[0], v[1], 1, 5, 3, 7);
#endif
}

/* n < LANES items, then zeros; what lies beyond the items is not read. */
static inline FV some(const float *from, ptrdiff_t n)
{
    float t[LANES];
    FV v;
    for (int i = 0; i < LANES; i++)
        t[i] = i < n ? from[i] : 0.0f;
    memcpy(&v, t, sizeof v);
    return v;
}

static inline __attribute__((always_inline)) FV
dots(const float *x, const float *b, ptrdiff_t ldb, ptrdiff_t rows, ptrdiff_t k, FV end, IV mask,
     int until)
{
    ptrdiff_t whole = k - k % LANES, rest = k - whole;
    const float *row[LANES];
    FV sum[LANES];
    for (int i = 0; i < LANES; i++) {
        row[i] = b + (i < rows ? i : rows - 1) * ldb;
        sum[i] = (FV){0};
    }
    for (ptrdiff_t l = 0; l < whole; l += LANES) {
        FV v = *(const FV *)(x + l);
        for (int i = 0; i < LANES; i++)
            sum[i] += *(const FV *)(row[i] + l) * v;
    }
    if (rest)
        for (int i = 0; i < LANES; i++) {
            FV v = i < until ? (FV)(*(const IV *)(row[i] + whole) & mask)
                             : some(row[i] + whole, rest);
            sum[i] += v * end;
        }
    return add_up(sum);
}

static void row_times_turned(const float *x, const float *b, ptrdiff_t ldb, float *y, ptrdiff_t n,
                             ptrdiff_t k)
{
    ptrdiff_t whole = k - k % LANES, rest = k - whole, j = 0;
    FV end = some(x + whole, rest);
    IV mask;
    for (int i = 0; i < LANES; i++)
        mask[i] = -(i < rest);
    /* a vector that begins in a row may run on into the next one, which the last row lacks */
    for (; j + LANES < n && ldb >= LANES; j += LANES)
        *(FV *)(y + j) = dots(x, b + j * ldb, ldb, LANES, k, end, mask, LANES);
    for (; j < n; j += LANES) {
        ptrdiff_t rows = n - j < LANES ? n - j : LANES;
        int until = ldb >= LANES ? (int)rows - 1 : 0;
        FV all = dots(x, b + j * ldb, ldb, rows, k, end, mask, until);
        memcpy(y + j, &all, (size_t)rows * sizeof(float));
    }
}

/* -- products --------------------------------------------------------------------------------- */

typedef struct {
    int single, ta, tb;
    ptrdiff_t m, n, k, lda, ldb, ldc;
} Product;

enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };

/* OpenBLAS is slow at A Bᵀ where it packs Bᵀ into blocks, that is, where m n is above about 1000,
 * or where k is small; turning B round first and multiplying plainly takes 0.1 ns an element of B.
 * Measured with OpenBLAS 0.3.31's SkylakeX kernels, µs with Bᵀ and with B turned round, one thread:
 *   m, n, k   32,100,64  64,128,64  128,10,256  8,64,20  32,512,784  128,512,784  256,512,784
 *              7.3, 4.6  14.5, 10.0 16.7, 10.2  .67, .38  430, 370    1203, 1190    2160, 2320 */
static int turns(const Product *p)
{
    if (!p->tb || p->ta || p->m < 2)
        return 0;
    if (p->k <= 24)
        return p->n >= 16;
    return p->m * p->n > 1024 && p->m <= 128;
}

/* One row: the call costs more than the sums. Larger ones go to the BLAS, which has threads. */
static int one_row(const Product *p)
{
    return p->single && p->m == 1 && p->tb && (!p->ta || p->lda == 1) && p->k >= LANES &&
           p->n * p->k <= 1 << 17;
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
    if (one_row(p)) {
        row_times_turned(a, b, p->ldb, c, p->n, p->k);
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
