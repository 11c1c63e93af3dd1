/* C = op(A) op(B) of one type: REAL, whose names are made by NAMED. Included once for each type.
 *
 * C is summed over k in slices. Of a slice, A's part is cut into strips of at most TALL rows, which
 * stay in the first cache, and B's into panels two vectors wide, which stay in the second. A strip
 * times a panel is a tile of C that lives in registers. Strips along whose rows k runs, and panels
 * whose rows are whole vectors, can be read where they lie; what is read often is packed, and what
 * lies otherwise. A task is some strips by some panels: it packs its strips for itself, and panels for
 * everybody who has not got them yet. Every entry of C is summed in the order of k, slice by slice,
 * wherever the edges of tiles and tasks fall: its bits depend on k alone, not on threads or on the
 * other sizes.
 */

typedef REAL NAMED(Vector) __attribute__((vector_size(VECTOR), aligned(sizeof(REAL)), may_alias));
#define WIDE ((ptrdiff_t)(VECTOR / sizeof(REAL)))
#define PANEL (2 * WIDE)

/* A tile of C: some rows of A times one or two vectors of B, of which as many rows and columns are
 * stored. A's entries are `down` and `along` apart, B's rows `step`. */
typedef struct {
    const REAL *a, *b;
    REAL *c;
    ptrdiff_t down, along, step, ldc, k, rows, columns;
    int add;
    Ahead ahead;
} NAMED(Tile);

static inline __attribute__((always_inline)) void
NAMED(tile)(int rows, int vectors, ptrdiff_t down, ptrdiff_t along, const NAMED(Tile) *t)
{
    const Ahead ahead = t->ahead;
    const ptrdiff_t step = t->step;
    const REAL *a[(TALL + 2) / 3], *b = t->b; /* of every third row: all rows have addresses then */
    for (int i = 0; i < (rows + 2) / 3; i++)
        a[i] = t->a + 3 * i * down;
    NAMED(Vector) sum[TALL][2];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            sum[i][v] = (NAMED(Vector)){0};
    for (ptrdiff_t p = 0; p < t->k; p++, b += step) {
        const char *line = ahead.at + (p & ahead.mask) * ahead.step + p / PANEL * ahead.turn;
        __builtin_prefetch(line);
        __builtin_prefetch(line + 64);
        NAMED(Vector) right[2];
        for (int v = 0; v < vectors; v++)
            right[v] = ((const NAMED(Vector) *)b)[v];
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++)
                sum[i][v] += a[i / 3][i % 3 * down] * right[v];
        for (int i = 0; i < (rows + 2) / 3; i++)
            a[i] += along;
    }
    REAL *c = t->c;
    if (t->rows == rows && t->columns == vectors * WIDE) {
        for (int i = 0; i < rows; i++, c += t->ldc)
            for (int v = 0; v < vectors; v++) {
                NAMED(Vector) *to = (NAMED(Vector) *)c + v;
                if (t->add)
                    *to += sum[i][v];
                else
                    *to = sum[i][v];
            }
        return;
    }
    REAL line[TALL][2 * VECTOR / sizeof(REAL)];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++)
            ((NAMED(Vector) *)line[i])[v] = sum[i][v];
    for (ptrdiff_t i = 0; i < t->rows; i++, c += t->ldc)
        for (ptrdiff_t j = 0; j < t->columns; j++)
            c[j] = t->add ? c[j] + line[i][j] : line[i][j];
}

/* There is code for even heights, and for strips that are packed or whose k runs along; of the last
 * row of an odd strip, nothing is stored. */
static __attribute__((noinline)) void NAMED(tile_of)(const NAMED(Tile) *t)
{
    int packed = t->down == 1, wide = t->columns > WIDE;
#define TILE(h)                                                                               \
    case h:                                                                                   \
        if (packed && wide)                                                                   \
            NAMED(tile)(2 * h, 2, 1, PITCH, t);                                               \
        else if (packed)                                                                      \
            NAMED(tile)(2 * h, 1, 1, PITCH, t);                                               \
        else if (wide)                                                                        \
            NAMED(tile)(2 * h, 2, t->down, 1, t);                                             \
        else                                                                                  \
            NAMED(tile)(2 * h, 1, t->down, 1, t);                                             \
        return
    switch ((t->rows + 1) / 2) {
#if TALL == 14
        TILE(7);
        TILE(6);
        TILE(5);
        TILE(4);
#endif
#if TALL >= 6
        TILE(3);
#endif
        TILE(2);
        TILE(1);
    }
#undef TILE
}

/* One strip or panel: `n` rows of A or columns of B, side by side at a pitch in the order of k. What
 * is between is not used. */
static void NAMED(pack)(const REAL *from, ptrdiff_t down, ptrdiff_t along, ptrdiff_t n,
                        ptrdiff_t pitch, ptrdiff_t k, REAL *to)
{
    enum { LINE = 64 / (BLOCK * sizeof(REAL)) }; /* blocks of a cache line */
    ptrdiff_t turned = down == 1 ? 0 : k - k % BLOCK; /* of k: where along is 1 */
    for (ptrdiff_t p = 0; p < turned; p += LINE * BLOCK)
        for (ptrdiff_t l = 0; l < n; l += BLOCK) {
            const REAL *row[BLOCK];
            for (ptrdiff_t i = 0; i < BLOCK; i++)
                row[i] = from + (l + i < n ? l + i : n - 1) * down + p;
            for (ptrdiff_t q = p; q < turned && q < p + LINE * BLOCK; q += BLOCK) {
                NAMED(turn_rows)(row, to + q * pitch + l, pitch);
                for (ptrdiff_t i = 0; i < BLOCK; i++)
                    row[i] += BLOCK;
            }
        }
    from += turned * along, to += turned * pitch;
    ptrdiff_t rest = k - turned;
    if (down == 1 && n == PANEL)
        for (; rest; rest--, from += along, to += pitch)
            memcpy(to, from, 2 * VECTOR);
    else if (down == 1 && n == TALL)
        for (; rest; rest--, from += along, to += pitch)
            memcpy(to, from, TALL * sizeof(REAL));
    else if (down == 1 && n == TALL - 2)
        for (; rest; rest--, from += along, to += pitch)
            memcpy(to, from, (TALL - 2) * sizeof(REAL));
    else
        for (; rest; rest--, from += along, to += pitch)
            for (ptrdiff_t i = 0; i < n; i++)
                to[i] = from[i * down];
}

/* A slice of some columns of C. */
typedef struct {
    const REAL *a, *b;
    REAL *c;
    ptrdiff_t down_a, along_a, down_b, along_b, ldc, m, n, k;
    ptrdiff_t parts, groups, runs;  /* C is cut into parts down, groups across, and runs down a part */
    ptrdiff_t part, run, group;     /* strips of a part and of a run, panels of a group */
    int add;
    Place *place;                   /* of every panel */
} NAMED(Slice);

/* Where strip s begins: heights are even and differ by 2 at most. */
static ptrdiff_t NAMED(top)(const NAMED(Slice) *q, ptrdiff_t s)
{
    ptrdiff_t strips = q->part * q->parts, i = (s * q->m + 2 * strips - 1) / (2 * strips) * 2;
    return i < q->m ? i : q->m;
}

/* The panel that a task needs next, if nobody has had it yet: what is to be fetched meanwhile. */
static Ahead NAMED(ahead_of)(const NAMED(Slice) *q, ptrdiff_t j, ptrdiff_t j0, ptrdiff_t j1)
{
    if (j < j0 || j >= j1 || __atomic_load_n(&q->place[j].state, __ATOMIC_RELAXED) != MISSING)
        return (Ahead){.at = (const char *)q->place};
    Ahead ahead = {.at = (const char *)(q->b + j * PANEL * q->down_b)};
    if (q->down_b == 1) /* a row in every step */
        ahead.mask = -1, ahead.step = q->along_b * (ptrdiff_t)sizeof(REAL);
    else /* two lines of every column in turn */
        ahead.mask = PANEL - 1, ahead.step = q->down_b * (ptrdiff_t)sizeof(REAL), ahead.turn = 128;
    return ahead;
}

/* Where a panel is packed: the first half at one end of the memory and the others at the other end,
 * as the first thread begins with those, another with these, and each finds its part in its cache. */
static REAL *NAMED(panel_at)(const NAMED(Slice) *q, ptrdiff_t j, ptrdiff_t panels, void *common)
{
    ptrdiff_t size = PANEL * q->k;
    return 2 * j < panels ? (REAL *)common + j * size
                          : (REAL *)((char *)common + COMMON) - (panels - j) * size;
}

/* Whether `n` lines, so many entries apart, are left where they lie: `uses` are so few that packing
 * does not pay, and they find places in a cache. (Addresses that differ by a multiple of a high power
 * of two compete for few.) */
static int NAMED(stays)(ptrdiff_t uses, ptrdiff_t n, ptrdiff_t apart, ptrdiff_t cache)
{
    enum { OFTEN = 16 };
    ptrdiff_t bytes = apart * (ptrdiff_t)sizeof(REAL);
    return uses <= OFTEN && n * (bytes & -bytes) <= cache;
}

/* A run of strips by a group of panels. */
static void NAMED(task)(const void *context, ptrdiff_t task, void *own, void *common)
{
    const NAMED(Slice) *q = context;
    ptrdiff_t run = task % q->runs * q->run, part = task / q->runs / q->groups;
    ptrdiff_t s1 = run + q->run < q->part ? run + q->run : q->part;
    ptrdiff_t panels = (q->n + PANEL - 1) / PANEL, j0 = task / q->runs % q->groups * q->group;
    ptrdiff_t j1 = j0 + q->group < panels ? j0 + q->group : panels;
    int strips_stay = q->along_a == 1 && NAMED(stays)(q->group, TALL, q->down_a, FIRST);
    int panels_stay = q->down_b == 1 &&
                      NAMED(stays)(q->part * q->parts, q->k, q->along_b, SECOND);
    for (ptrdiff_t s = run; s < s1; s++) {
        ptrdiff_t i = NAMED(top)(q, part * q->part + s);
        NAMED(Tile) t = {.a = q->a + i * q->down_a, .down = q->down_a, .ldc = q->ldc, .k = q->k,
                         .rows = NAMED(top)(q, part * q->part + s + 1) - i, .add = q->add};
        if (!strips_stay || t.rows % 2) {
            NAMED(pack)(t.a, q->down_a, q->along_a, t.rows, PITCH, q->k, own);
            t.a = own, t.down = 1;
        }
        for (ptrdiff_t l = j0; l < j1; l++) {
            ptrdiff_t j = part % 2 ? j0 + j1 - 1 - l : l; /* two threads begin with different ones */
            const REAL *from = q->b + j * PANEL * q->down_b;
            REAL *panel = NAMED(panel_at)(q, j, panels, common);
            t.columns = q->n - j * PANEL < PANEL ? q->n - j * PANEL : PANEL;
            int packed = !panels_stay || t.columns < PANEL;
            t.b = packed ? panel : from;
            t.step = !packed ? q->along_b : t.columns > WIDE ? PANEL : WIDE;
            if (first(&q->place[j])) {
                if (packed)
                    NAMED(pack)(from, q->down_b, q->along_b, t.columns, t.step, q->k, panel);
                ready(&q->place[j]);
            }
            t.c = q->c + i * q->ldc + j * PANEL;
            t.ahead = NAMED(ahead_of)(q, part % 2 ? j - 1 : j + 1, j0, j1);
            NAMED(tile_of)(&t);
        }
    }
}

/* How a slice is cut for these threads. By rows, each of them needs all panels; by columns, all
 * strips, and caches quarrel over the lines of C where two threads meet in a row. The sums count
 * entries packed, and everything else in times of that. */
static void NAMED(cut)(NAMED(Slice) *q, ptrdiff_t threads)
{
    ptrdiff_t panels = (q->n + PANEL - 1) / PANEL, most = SECOND / (2 * VECTOR * q->k);
    ptrdiff_t groups = (panels + most - 1) / most, across = (groups + threads - 1) / threads * threads;
    double m = (double)q->m, n = (double)q->n, k = (double)q->k, t = (double)threads;
    double by_rows = m * k * (double)groups + (n * k + 1000 * (double)panels) * t;
    double by_columns = m * k * (double)across + n * k + 0.3 * m * n * t;
    int rows = by_rows < by_columns && q->m >= TALL * threads; /* or there are not enough strips */
    q->parts = rows ? threads : 1;
    q->group = rows ? (panels + groups - 1) / groups : (panels + across - 1) / across;
    q->groups = (panels + q->group - 1) / q->group;
    q->part = (q->m + TALL * q->parts - 1) / (TALL * q->parts);
    ptrdiff_t all = q->part * q->parts * q->groups, run = LEAST / (TALL * q->group * PANEL * q->k);
    q->run = 1 + (run > all / (MOST_TASKS / 2) ? run : all / (MOST_TASKS / 2));
    q->runs = (q->part + q->run - 1) / q->run;
}

/* Returns 0 where memory is lacking. */
static int NAMED(multiply)(const Product *p, const void *a, const void *b, void *c)
{
    enum { COLUMNS = MOST_PANELS * 2 * VECTOR / sizeof(REAL) };
    Place place[MOST_PANELS];
    NAMED(Slice) q = {.down_a = p->ta ? 1 : p->lda, .along_a = p->ta ? p->lda : 1,
                      .down_b = p->tb ? p->ldb : 1, .along_b = p->tb ? 1 : p->ldb,
                      .ldc = p->ldc, .m = p->m, .place = place};
    ptrdiff_t slices = (p->k + DEEP - 1) / DEEP, deep = ((p->k + slices - 1) / slices + 7) / 8 * 8;
    ptrdiff_t strides = (p->n + COLUMNS - 1) / COLUMNS;
    ptrdiff_t wide = ((p->n + strides - 1) / strides + PANEL - 1) / PANEL * PANEL;
    for (ptrdiff_t j = 0; j < p->n; j += wide)
        for (ptrdiff_t l = 0; l < p->k; l += deep) {
            q.a = (const REAL *)a + l * q.along_a;
            q.b = (const REAL *)b + j * q.down_b + l * q.along_b;
            q.c = (REAL *)c + j;
            q.n = p->n - j < wide ? p->n - j : wide;
            q.k = p->k - l < deep ? p->k - l : deep;
            q.add = l > 0;
            NAMED(cut)(&q, thread_count());
            for (int i = 0; i < MOST_PANELS; i++)
                place[i].state = MISSING;
            if (!share(NAMED(task), &q, q.parts * q.groups * q.runs))
                return 0;
        }
    return 1;
}
#undef WIDE
#undef PANEL
