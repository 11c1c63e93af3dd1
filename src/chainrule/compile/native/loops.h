/* Matrix products, copies and random bits: the loops of the runtime that know nothing of Python. */

#include <math.h>

#include "threads.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

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

/* to[i lt + h] = row[h][i]: a block of rows becomes a block of columns. */
#if defined(__AVX__)
enum { SBLOCK = 8, DBLOCK = 4 };
static inline void turn_rows_f(const float *const *row, float *to, ptrdiff_t lt)
{
    F8 r[8], s[8];
    for (int i = 0; i < 8; i++)
        r[i] = *(const F8 *)row[i];
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
static inline void turn_rows_d(const double *const *row, double *to, ptrdiff_t lt)
{
    D4 r[4], s[4];
    for (int i = 0; i < 4; i++)
        r[i] = *(const D4 *)row[i];
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
static inline void turn_rows_f(const float *const *row, float *to, ptrdiff_t lt)
{
    F4 r[4], s[4];
    for (int i = 0; i < 4; i++)
        r[i] = *(const F4 *)row[i];
    for (int i = 0; i < 2; i++) {
        s[2 * i] = MIX(I4, r[2 * i], r[2 * i + 1], 0, 4, 1, 5);
        s[2 * i + 1] = MIX(I4, r[2 * i], r[2 * i + 1], 2, 6, 3, 7);
    }
    for (int i = 0; i < 2; i++) {
        *(F4 *)(to + 2 * i * lt) = MIX(I4, s[i], s[i + 2], 0, 1, 4, 5);
        *(F4 *)(to + (2 * i + 1) * lt) = MIX(I4, s[i], s[i + 2], 2, 3, 6, 7);
    }
}
static inline void turn_rows_d(const double *const *row, double *to, ptrdiff_t lt)
{
    D2 a = *(const D2 *)row[0], b = *(const D2 *)row[1];
    *(D2 *)to = MIX(L2, a, b, 0, 2);
    *(D2 *)(to + lt) = MIX(L2, a, b, 1, 3);
}
#endif

/* to (columns, rows) = the transpose of from (rows, columns). */
#define TURN(name, type, BLOCK, turn_rows)                                                      \
    static void name(const type *from, ptrdiff_t lf, ptrdiff_t rows, ptrdiff_t columns,        \
                     type *to, ptrdiff_t lt)                                                  \
    {                                                                                         \
        ptrdiff_t r = rows - rows % BLOCK, c = columns - columns % BLOCK;                     \
        for (ptrdiff_t j = 0; j < c; j += 2 * BLOCK)                                          \
            for (ptrdiff_t i = 0; i < r; i += BLOCK)                                          \
                for (ptrdiff_t l = j; l < c && l < j + 2 * BLOCK; l += BLOCK) { /* a line */   \
                    const type *row[BLOCK];                                                   \
                    for (int h = 0; h < BLOCK; h++)                                           \
                        row[h] = from + (i + h) * lf + l;                                     \
                    turn_rows(row, to + l * lt + i, lt);                                      \
                }                                                                             \
        for (ptrdiff_t i = 0; i < rows; i++)                                                  \
            for (ptrdiff_t j = i < r ? c : 0; j < columns; j++)                               \
                to[j * lt + i] = from[i * lf + j];                                            \
    }
TURN(turn_f, float, SBLOCK, turn_rows_f)
TURN(turn_d, double, DBLOCK, turn_rows_d)

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
 * or where k is small. Turning B round first, at 0.1 ns an element while it is in the cache, and
 * multiplying plainly is faster then. Measured with OpenBLAS 0.3.31's SkylakeX kernels on Zen 4, µs
 * on one thread with Bᵀ and with B turned round, float32:
 *   m, n, k   8,64,20   32,100,64  64,128,64  128,10,256  32,128,128  200,100,30  256,64,64
 *            0.67 0.38   7.3 4.6   14.5 10.0  16.7 10.2   17.8 10.5    16.8 12.9  32.2 19.0
 * In float64 larger B lose. */
static int turns(const Product *p)
{
    if (!p->tb || p->ta || p->m < 2 || p->n * p->k >= (p->single ? 1 << 17 : 1 << 16))
        return 0;
    return p->k <= 24 ? p->n >= 16 : p->m * p->n > 1024 && p->m <= 512;
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
    return turns(p) ? p->k * padded(p->n) * 8 : 0;
}

/* Products of our own: as fast as OpenBLAS's on one thread where they are large, and faster on two,
 * where it keeps less than the whole of both busy. And OpenBLAS's idle threads turn round for 20 ms
 * beside whatever else is to run; ours do not. Smaller products are faster on one thread, by
 * OpenBLAS. */
#if defined(__AVX512F__)
enum { VECTOR = 64 };
#define TALL 14
#elif defined(__AVX__)
enum { VECTOR = 32 };
#define TALL 6
#else
enum { VECTOR = 16 };
#define TALL 4
#endif
enum {
    DEEP = 400, PITCH = (TALL + 7) / 8 * 8, /* entries of a slice, and from row to row of a strip */
    MOST_PANELS = 32,
    FIRST = 1 << 15,  /* bytes of the first cache */
    SECOND = 1 << 19, /* bytes of a group of panels: about half of the second cache */
    LEAST = 1 << 17, /* multiplications of a task */
};

/* Something that the first who needs it makes, for everybody. */
enum { MISSING, COMING, THERE };
typedef struct {
    int state, rest[15]; /* a cache line */
} Place;

/* Whether the caller is the first, and has to make it; if not, it is there on return. */
static int first(Place *place)
{
    int missing = MISSING;
    if (__atomic_load_n(&place->state, __ATOMIC_ACQUIRE) == THERE)
        return 0;
    if (__atomic_compare_exchange_n(&place->state, &missing, COMING, 0, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return 1;
    for (int i = 0; __atomic_load_n(&place->state, __ATOMIC_ACQUIRE) != THERE; i++)
        wait_a_moment(i);
    return 0;
}

static void ready(Place *place) { __atomic_store_n(&place->state, THERE, __ATOMIC_RELEASE); }

/* What is fetched while a tile is computed: in step p of k, two lines of memory that begin at
 * (p & mask) * step + p / PANEL * turn bytes. */
typedef struct {
    const char *at;
    ptrdiff_t mask, step, turn;
} Ahead;

#define REAL float
#define NAMED(x) x##_f
#define BLOCK SBLOCK
#include "gemm.h"
#undef REAL
#undef NAMED
#undef BLOCK
#define REAL double
#define NAMED(x) x##_d
#define BLOCK DBLOCK
#include "gemm.h"
#undef REAL
#undef NAMED
#undef BLOCK

enum { FEW = 1 << 18, MANY = 1 << 20 }; /* multiplications: OpenBLAS takes one thread up to FEW */

static double work_of(const Product *p)
{
    return (double)p->m * (double)p->n * (double)p->k;
}

static int large(const Product *p)
{
    if (p->m >= 8 && p->n >= 8 && p->k >= 48) /* of few k, there is more to store than to multiply */
        return work_of(p) > FEW;
    return work_of(p) > MANY && p->n > 1 && p->m > (p->tb ? 7 : 1);
}

/* Whether the BLAS is there and its numbers can hold the sizes. */
static int blas_takes(const Product *p)
{
    ptrdiff_t sizes[] = {p->m, p->n, p->k, p->lda, p->ldb, p->ldc};
    for (int i = 0; i < 6; i++)
        if (blas.bits != 64 && sizes[i] > INT32_MAX)
            return 0;
    return blas.sgemm != NULL;
}

static void gemm(const Product *p, const void *a, const void *b, void *c)
{
    int ta = p->ta ? TRANSPOSED : PLAIN, tb = p->tb ? TRANSPOSED : PLAIN;
    if (blas.bits == 64 && p->single)
        ((Gemm64)blas.sgemm)(ROW_MAJOR, ta, tb, p->m, p->n, p->k, 1.0f, a, p->lda, b, p->ldb, 0.0f,
                             c, p->ldc);
    else if (blas.bits == 64)
        ((DGemm64)blas.dgemm)(ROW_MAJOR, ta, tb, p->m, p->n, p->k, 1.0, a, p->lda, b, p->ldb, 0.0,
                              c, p->ldc);
    else if (p->single)
        ((Gemm32)blas.sgemm)(ROW_MAJOR, ta, tb, (int)p->m, (int)p->n, (int)p->k, 1.0f, a,
                             (int)p->lda, b, (int)p->ldb, 0.0f, c, (int)p->ldc);
    else
        ((DGemm32)blas.dgemm)(ROW_MAJOR, ta, tb, (int)p->m, (int)p->n, (int)p->k, 1.0, a,
                              (int)p->lda, b, (int)p->ldb, 0.0, c, (int)p->ldc);
}

typedef struct {
    const Product *p;
    const char *a, *b;
    char *c;
    ptrdiff_t step; /* rows or columns of a part */
} Parts;

static void part_of_product(const void *context, ptrdiff_t part, void *own, void *common)
{
    const Parts *s = context;
    Product q = *s->p;
    ptrdiff_t item = q.single ? sizeof(float) : sizeof(double), from = part * s->step;
    const char *x = s->a, *y = s->b;
    char *z = s->c;
    if (q.m >= q.n) {
        x += from * (q.ta ? 1 : q.lda) * item, z += from * q.ldc * item;
        q.m = q.m - from < s->step ? q.m - from : s->step;
    } else {
        y += from * (q.tb ? q.ldb : 1) * item, z += from * item;
        q.n = q.n - from < s->step ? q.n - from : s->step;
    }
    (void)own, (void)common;
    gemm(&q, x, y, z);
}

/* The same in parts so small that OpenBLAS does not wake its threads, on whose number the bits would
 * depend. A matrix times few rows or one column is too little for `multiply`, however large it is; our
 * threads share out the parts. */
static int gemm_in_parts(const Product *p, const char *a, const char *b, char *c)
{
    double work = work_of(p);
    int few = p->m == 1 || p->n == 1 || (p->tb && p->m < 8);
    if (!blas_takes(p))
        return 0;
    if (work <= FEW || (work > MANY && !few)) {
        gemm(p, a, b, c);
        return 1;
    }
    ptrdiff_t side = p->m >= p->n ? p->m : p->n, most = (ptrdiff_t)(work / FEW) + 1;
    Parts s = {p, a, b, c, (side + most - 1) / most};
    ptrdiff_t parts = (side + s.step - 1) / s.step;
    if (work <= MANY || !share(part_of_product, &s, parts))
        for (ptrdiff_t i = 0; i < parts; i++)
            part_of_product(&s, i, NULL, NULL);
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
    if (large(p) && (p->single ? multiply_f(p, a, b, c) : multiply_d(p, a, b, c)))
        return 1;
    if (!turns(p) || !blas.sgemm)
        return gemm_in_parts(p, a, b, c);
    Product q = *p;
    q.tb = 0;
    q.ldb = padded(p->n);
    if (p->single)
        turn_f(b, p->ldb, p->n, p->k, scratch, q.ldb);
    else
        turn_d(b, p->ldb, p->n, p->k, scratch, q.ldb);
    return gemm_in_parts(&q, a, scratch, c);
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
    if (c->to[y] == c->item && c->from[x] == c->item) { /* a matrix, transposed */
        if (c->item == 4) {
            turn_f((const float *)src, c->from[y] / 4, columns, rows, (float *)dst, c->to[x] / 4);
            return;
        }
        if (c->item == 8) {
            turn_d((const double *)src, c->from[y] / 8, columns, rows, (double *)dst,
                   c->to[x] / 8);
            return;
        }
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

/* Bits are bytes: whether the i-th 32-bit half of the words, low half first, is below a threshold.
 * A block is four words. */

static const uint64_t MULTIPLIER[] = {0xD2E7470EE14C6C93u, 0xCA5A826395121157u};
static const uint64_t WEYL[] = {0x9E3779B97F4A7C15u, 0xBB67AE8584CAA73Bu};

#if defined(__AVX512F__) && defined(__AVX512DQ__)
enum { GROUP = 16 };       /* blocks made at a time, in two chains of operations side by side */
typedef __m512i Eight;     /* numbers of 64 bits */

/* Both halves of the products of 64-bit numbers, put together from products of 32-bit halves. */
static inline void products(Eight a, uint64_t m, Eight *low, Eight *high)
{
    const Eight half = _mm512_set1_epi64(UINT32_MAX), upper = _mm512_srli_epi64(a, 32);
    const Eight ml = _mm512_set1_epi64((int64_t)(m & UINT32_MAX));
    const Eight mh = _mm512_set1_epi64((int64_t)(m >> 32));
    Eight first = _mm512_mul_epu32(a, ml), last = _mm512_mul_epu32(upper, mh);
    Eight x = _mm512_add_epi64(_mm512_mul_epu32(upper, ml), _mm512_srli_epi64(first, 32));
    Eight y = _mm512_add_epi64(_mm512_mul_epu32(a, mh), _mm512_and_si512(x, half));
    *low = _mm512_mullo_epi64(a, _mm512_set1_epi64((int64_t)m));
    *high = _mm512_add_epi64(_mm512_add_epi64(last, _mm512_srli_epi64(x, 32)),
                             _mm512_srli_epi64(y, 32));
}

/* The bits of the blocks count + 1 to count + GROUP, in half the time of one by one. */
static inline void bits_of_group(uint64_t count, const uint64_t *key, uint32_t below,
                                 unsigned char *to)
{
    uint64_t k0 = key[0], k1 = key[1];
    Eight c[2][4];
    for (int s = 0; s < 2; s++) {
        c[s][0] = _mm512_add_epi64(_mm512_set1_epi64((int64_t)count + 8 * s),
                                   _mm512_set_epi64(8, 7, 6, 5, 4, 3, 2, 1));
        c[s][1] = c[s][2] = _mm512_setzero_si512();
        c[s][3] = _mm512_set1_epi64((int64_t)key[2]);
    }
    for (int round = 0; round < 10; round++) {
        const Eight x0 = _mm512_set1_epi64((int64_t)k0), x1 = _mm512_set1_epi64((int64_t)k1);
        for (int s = 0; s < 2; s++) {
            Eight l0, h0, l1, h1;
            products(c[s][0], MULTIPLIER[0], &l0, &h0);
            products(c[s][2], MULTIPLIER[1], &l1, &h1);
            c[s][0] = _mm512_ternarylogic_epi64(h1, c[s][1], x0, 0x96); /* exclusive or of three */
            c[s][2] = _mm512_ternarylogic_epi64(h0, c[s][3], x1, 0x96);
            c[s][1] = l1, c[s][3] = l0;
        }
        k0 += WEYL[0], k1 += WEYL[1];
    }
    const Eight threshold = _mm512_set1_epi32((int)below);
    for (int s = 0; s < 2; s++) {
        Eight all = _mm512_setzero_si512();
        for (int i = 0; i < 4; i++) { /* the two bytes of a word, from the ends of its halves */
            Eight bit = _mm512_maskz_set1_epi32(_mm512_cmplt_epu32_mask(c[s][i], threshold), 1);
            bit = _mm512_or_si512(bit, _mm512_srli_epi64(bit, 24));
            bit = _mm512_and_si512(bit, _mm512_set1_epi64(0x0101));
            all = _mm512_or_si512(all, _mm512_slli_epi64(bit, (unsigned)(16 * i)));
        }
        _mm512_storeu_si512(to + 64 * s, all);
    }
}
#else
enum { GROUP = 8 };

static inline uint64_t high_product(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
#else
    uint64_t al = (uint32_t)a, ah = a >> 32, bl = (uint32_t)b, bh = b >> 32;
    uint64_t middle = ah * bl + (al * bl >> 32), other = al * bh + (uint32_t)middle;
    return ah * bh + (middle >> 32) + (other >> 32);
#endif
}

static inline void bits_of_group(uint64_t count, const uint64_t *key, uint32_t below,
                                 unsigned char *to)
{
    uint32_t half[8 * GROUP];
    for (int b = 0; b < GROUP; b++) {
        uint64_t k0 = key[0], k1 = key[1];
        uint64_t c[] = {++count, 0, 0, key[2]};
        for (int round = 0; round < 10; round++) {
            uint64_t h0 = high_product(MULTIPLIER[0], c[0]), h1 = high_product(MULTIPLIER[1], c[2]);
            uint64_t l0 = MULTIPLIER[0] * c[0], l1 = MULTIPLIER[1] * c[2];
            c[0] = h1 ^ c[1] ^ k0, c[2] = h0 ^ c[3] ^ k1;
            c[1] = l1, c[3] = l0;
            k0 += WEYL[0], k1 += WEYL[1];
        }
        for (int i = 0; i < 4; i++) {
            half[8 * b + 2 * i] = (uint32_t)c[i];
            half[8 * b + 2 * i + 1] = (uint32_t)(c[i] >> 32);
        }
    }
    for (int i = 0; i < 8 * GROUP; i++)
        to[i] = half[i] < below;
}
#endif

/* The bits from `from`, a multiple of a group's, to `to`. */
static void some_bits(unsigned char *dst, ptrdiff_t from, ptrdiff_t to, uint32_t below,
                      const uint64_t *key)
{
    unsigned char rest[8 * GROUP];
    for (; to - from >= 8 * GROUP; from += 8 * GROUP)
        bits_of_group((uint64_t)from / 8, key, below, dst + from);
    if (from == to)
        return;
    bits_of_group((uint64_t)from / 8, key, below, rest);
    memcpy(dst + from, rest, (size_t)(to - from));
}

typedef struct {
    unsigned char *dst;
    ptrdiff_t n;
    uint32_t below;
    const uint64_t *key;
} Bits;

enum { BITS = 1 << 14 }; /* of a task */

static void task_of_bits(const void *context, ptrdiff_t task, void *own, void *common)
{
    const Bits *b = context;
    ptrdiff_t from = task * BITS, to = from + BITS < b->n ? from + BITS : b->n;
    (void)own, (void)common;
    some_bits(b->dst, from, to, b->below, b->key);
}

static void random_bits(unsigned char *dst, ptrdiff_t n, uint64_t threshold, const uint64_t *key)
{
    Bits b = {.dst = dst, .n = n, .below = (uint32_t)threshold, .key = key};
    if (threshold > UINT32_MAX)
        memset(dst, 1, (size_t)n);
    else if (n <= BITS || !share(task_of_bits, &b, (n + BITS - 1) / BITS))
        some_bits(dst, 0, n, b.below, key);
}

/* -- sorting --------------------------------------------------------------------------------- */

/* Words into increasing order, by digits from bit `low` on, the lowest digit first; the bits below
 * must increase already. `spare` has room for as many words. */
static void sort_words(uint64_t *words, uint64_t *spare, ptrdiff_t n, int low)
{
    enum { DIGIT = 11, VALUES = 1 << DIGIT, MOST_DIGITS = (64 + DIGIT - 1) / DIGIT };
    static const uint64_t last = VALUES - 1;
    ptrdiff_t place[MOST_DIGITS][VALUES];
    int digits = (64 - low + DIGIT - 1) / DIGIT;
    memset(place, 0, sizeof place);
    for (ptrdiff_t i = 0; i < n; i++)
        for (int d = 0; d < digits; d++)
            place[d][words[i] >> (low + d * DIGIT) & last]++;
    for (int d = 0; d < digits; d++) {
        ptrdiff_t from = 0;
        for (int v = 0; v < VALUES; v++) { /* counts become places */
            ptrdiff_t count = place[d][v];
            place[d][v] = from;
            from += count;
        }
        for (ptrdiff_t i = 0; i < n; i++)
            spare[place[d][words[i] >> (low + d * DIGIT) & last]++] = words[i];
        uint64_t *swap = words;
        words = spare, spare = swap;
    }
    if (digits % 2)
        memcpy(spare, words, (size_t)n * sizeof *words);
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
