/* C = op(A) op(B) of one type: REAL, whose names are made by NAMED. Included once for each type.
 *
 * C is shared out in blocks, and a block is summed over k in slices. Of a slice, B's part is packed
 * into panels two vectors wide, which stay in the second cache, and A's, one after the other, into
 * strips of TALL rows, which stay in the first. A strip times a panel is a tile of C that lives in
 * registers. Every entry of C is summed in the order of k, slice by slice, wherever the edges of
 * blocks and tiles fall: its bits depend on k alone, not on threads or on the other sizes.
 */

typedef REAL NAMED(Vector) __attribute__((vector_size(VECTOR), aligned(sizeof(REAL)), may_alias));
#define WIDE ((ptrdiff_t)(VECTOR / sizeof(REAL)))
#define WIDEST ((ptrdiff_t)(1024 / sizeof(REAL))) /* columns of a block */

/* A tile: rows ≤ TALL of a strip, one or two vectors of a panel. `columns` of it are stored. */
static inline __attribute__((always_inline)) void
NAMED(tile)(int rows, int vectors, ptrdiff_t k, const REAL *a, const REAL *b, REAL *c,
            ptrdiff_t ldc, ptrdiff_t columns, int add)
{
    NAMED(Vector) sum[TALL][2];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            sum[i][v] = (NAMED(Vector)){0};
    for (ptrdiff_t p = 0; p < k; p++, a += PITCH, b += vectors * WIDE) {
        NAMED(Vector) right[2];
        for (int v = 0; v < vectors; v++)
            right[v] = ((const NAMED(Vector) *)b)[v];
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++)
                sum[i][v] += a[i] * right[v];
    }
    for (int i = 0; i < rows; i++, c += ldc) {
        if (columns == vectors * WIDE) {
            for (int v = 0; v < vectors; v++) {
                NAMED(Vector) *to = (NAMED(Vector) *)c + v;
                if (add)
                    *to += sum[i][v];
                else
                    *to = sum[i][v];
            }
        } else {
            REAL line[2 * VECTOR / sizeof(REAL)];
            memcpy(line, sum[i], (size_t)vectors * VECTOR);
            for (ptrdiff_t j = 0; j < columns; j++)
                c[j] = add ? c[j] + line[j] : line[j];
        }
    }
}

/* The heights there are code for; a strip of another height is made of several. */
static int NAMED(height)(ptrdiff_t rows)
{
    return rows >= TALL ? TALL : TALL > 8 && rows >= 8 ? 8 : rows >= 4 ? 4 : rows >= 2 ? 2 : 1;
}

static __attribute__((noinline)) void
NAMED(tile_of)(int rows, int vectors, ptrdiff_t k, const REAL *a, const REAL *b, REAL *c,
               ptrdiff_t ldc, ptrdiff_t columns, int add)
{
#define TILE(h)                                                                               \
    case h:                                                                                   \
        if (vectors == 2)                                                                     \
            NAMED(tile)(h, 2, k, a, b, c, ldc, columns, add);                                 \
        else                                                                                  \
            NAMED(tile)(h, 1, k, a, b, c, ldc, columns, add);                                 \
        return
    switch (rows) {
        TILE(TALL);
#if TALL > 8
        TILE(8);
#endif
#if TALL != 4
        TILE(4);
#endif
        TILE(2);
        TILE(1);
    }
#undef TILE
}

/* A strip of A, or panels of B: `n` rows of A or columns of B, cut into pieces. Piece after piece, in
 * the order of k, a piece's entries stand side by side at a pitch; what is between is not used. */
static void NAMED(pack)(const REAL *from, ptrdiff_t down, ptrdiff_t along, ptrdiff_t n,
                        ptrdiff_t piece, ptrdiff_t pitch, ptrdiff_t k, REAL *to)
{
    ptrdiff_t turned = down == 1 ? 0 : k - k % BLOCK; /* of k: where along is 1 */
    for (ptrdiff_t j = 0; j < n && turned; j += piece) {
        ptrdiff_t many = n - j < piece ? n - j : piece;
        ptrdiff_t wide = many <= WIDE && piece == 2 * WIDE ? WIDE : pitch;
        for (ptrdiff_t p = 0; p < turned; p += BLOCK)
            for (ptrdiff_t l = 0; l < many; l += BLOCK) {
                const REAL *row[BLOCK];
                for (ptrdiff_t i = 0; i < BLOCK; i++)
                    row[i] = from + (j + (l + i < many ? l + i : many - 1)) * down + p;
                NAMED(turn_rows)(row, to + j / piece * pitch * k + p * wide + l, wide);
            }
    }
    for (ptrdiff_t p = turned; p < k; p++) { /* all pieces of a row: its memory is one page */
        const REAL *in = from + p * along;
        for (ptrdiff_t j = 0; j < n; j += piece) {
            ptrdiff_t many = n - j < piece ? n - j : piece;
            ptrdiff_t wide = many <= WIDE && piece == 2 * WIDE ? WIDE : pitch;
            REAL *out = to + j / piece * pitch * k + p * wide;
            if (down == 1 && many == TALL)
                memcpy(out, in + j, TALL * sizeof(REAL));
            else if (down == 1 && many == 2 * WIDE)
                memcpy(out, in + j, 2 * VECTOR);
            else
                for (ptrdiff_t i = 0; i < many; i++)
                    out[i] = in[(j + i) * down];
        }
    }
}

typedef struct {
    const Product *p;
    const REAL *a, *b;
    REAL *c;
    ptrdiff_t tall, wide, across; /* rows and columns of a block of C, blocks in a row of blocks */
} NAMED(Job);

/* One block of C. */
static void NAMED(block)(const void *context, ptrdiff_t task, void *memory)
{
    const NAMED(Job) *job = context;
    const Product *q = job->p;
    ptrdiff_t i0 = task / job->across * job->tall, j0 = task % job->across * job->wide;
    ptrdiff_t i1 = i0 + job->tall < q->m ? i0 + job->tall : q->m;
    ptrdiff_t j1 = j0 + job->wide < q->n ? j0 + job->wide : q->n;
    ptrdiff_t down_a = q->ta ? 1 : q->lda, along_a = q->ta ? q->lda : 1;
    ptrdiff_t down_b = q->tb ? q->ldb : 1, along_b = q->tb ? 1 : q->ldb;
    REAL *panels = memory, *strip = panels + DEEP * WIDEST;
    ptrdiff_t slices = (q->k + DEEP - 1) / DEEP, deep = ((q->k + slices - 1) / slices + 7) / 8 * 8;
    for (ptrdiff_t p = 0; p < q->k; p += deep) {
        ptrdiff_t k = q->k - p < deep ? q->k - p : deep;
        NAMED(pack)(job->b + j0 * down_b + p * along_b, down_b, along_b, j1 - j0, 2 * WIDE,
                    2 * WIDE, k, panels);
        for (ptrdiff_t i = i0, rows; i < i1; i += rows) {
            rows = NAMED(height)(i1 - i);
            NAMED(pack)(job->a + i * down_a + p * along_a, down_a, along_a, rows, rows, PITCH, k,
                        strip);
            for (ptrdiff_t j = j0; j < j1; j += 2 * WIDE) {
                ptrdiff_t n = j1 - j < 2 * WIDE ? j1 - j : 2 * WIDE;
                NAMED(tile_of)((int)rows, n > WIDE ? 2 : 1, k, strip, panels + (j - j0) * k,
                               job->c + i * q->ldc + j, q->ldc, n, p > 0);
            }
        }
    }
}

/* Blocks in the numbers, across and down, that seem to take the least time: for a thread's share of
 * blocks their tiles and what they pack, and something for those who wait at the end. Returns 0 where
 * memory is lacking. */
static int NAMED(multiply)(const Product *p, const void *a, const void *b, void *c)
{
    NAMED(Job) job = {.p = p, .a = a, .b = b, .c = c};
    ptrdiff_t panels = (p->n + 2 * WIDE - 1) / (2 * WIDE), strips = (p->m + TALL - 1) / TALL;
    ptrdiff_t threads = thread_count(), most = 4 * threads;
    double least = INFINITY;
    for (ptrdiff_t across = (p->n + WIDEST - 1) / WIDEST; across <= panels;
         across += across / 4 + 1) {
        ptrdiff_t wide = (panels + across - 1) / across * 2 * WIDE;
        ptrdiff_t columns = (p->n + wide - 1) / wide;
        for (ptrdiff_t down = 1; down <= strips && down <= most; down += down / 4 + 1) {
            ptrdiff_t tall = (strips + down - 1) / down * TALL, rows = (p->m + tall - 1) / tall;
            double h = (double)(tall < p->m ? tall : p->m), w = (double)wide;
            double block = h * w / (double)(2 * WIDE) + 0.3 * (h + w);
            double time = ((double)((rows * columns + threads - 1) / threads) + 0.5) * block;
            if (time < least) {
                least = time;
                job.wide = wide, job.tall = tall, job.across = columns;
            }
        }
        if (across > most)
            break;
    }
    return share(NAMED(block), &job, job.across * ((p->m + job.tall - 1) / job.tall));
}
#undef WIDE
#undef WIDEST
