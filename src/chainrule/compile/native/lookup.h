/* Rows of tables at codes, and the sums of rows back into tables. A code is the number of a row: an
 * integer, or a float that is a whole number. Whatever codes hold, nothing else is touched. */

enum { CODE_FLOAT = 100, CODE_DOUBLE }; /* else as labels: twice the bytes, and one if signed */

typedef struct {
    int single;           /* float, else double */
    int kind;             /* of codes */
    ptrdiff_t count;      /* codes */
    ptrdiff_t step;       /* from code to code, in bytes */
    ptrdiff_t rows, columns; /* of the table */
    ptrdiff_t lead;       /* from row to row of what is gathered or summed, in entries */
    ptrdiff_t padding;    /* the row that gets no sum, negative for none */
} Lookup;

#define WHOLE(type)                                                                           \
    {                                                                                         \
        type v = *(const type *)p;                                                            \
        if (!(v >= 0 && v < 4294967296.0)) /* NaN, too */                                     \
            return -1;                                                                        \
        return (type)(int64_t)v == v ? (int64_t)v : -1;                                       \
    }

/* The number of a row, or a negative number where there is none. */
static inline int64_t code_at(const char *p, int kind)
{
    switch (kind) {
    case 2: return *(const uint8_t *)p;
    case 3: return *(const int8_t *)p;
    case 4: return *(const uint16_t *)p;
    case 5: return *(const int16_t *)p;
    case 8: return *(const uint32_t *)p;
    case 9: return *(const int32_t *)p;
    case CODE_FLOAT: WHOLE(float)
    case CODE_DOUBLE: WHOLE(double)
    default: return *(const int64_t *)p; /* an unsigned one too large becomes negative */
    }
}

static int codes_hold(const char *codes, ptrdiff_t count, ptrdiff_t step, int kind, int64_t rows)
{
    int bad = 0;
    for (ptrdiff_t i = 0; i < count; i++)
        bad |= (uint64_t)code_at(codes + i * step, kind) >= (uint64_t)rows;
    return !bad;
}

/* Returns 0 at a code without a row. */
static int gather_rows(const Lookup *q, char *out, const char *table, const char *codes)
{
    size_t item = q->single ? sizeof(float) : sizeof(double), row = (size_t)q->columns * item;
    for (ptrdiff_t i = 0; i < q->count; i++) {
        int64_t code = code_at(codes + i * q->step, q->kind);
        if ((uint64_t)code >= (uint64_t)q->rows)
            return 0;
        memcpy(out + (size_t)(i * q->lead) * item, table + (size_t)code * row, row);
    }
    return 1;
}

static ptrdiff_t scatter_scratch(const Lookup *q)
{
    return q->columns * 8 + (q->rows + q->count) * (ptrdiff_t)sizeof(int32_t);
}

/* For each row of the table the sum, in double and one after the other, of the rows of g at its
 * code. `first` is where a code comes first, `next` where that of a row comes again. */
#define SCATTER(name, type)                                                                   \
    static int name(const Lookup *q, type *out, const type *g, const char *codes,              \
                    void *scratch)                                                            \
    {                                                                                         \
        const ptrdiff_t columns = q->columns, lead = q->lead;                                 \
        double *sum = scratch;                                                                \
        int32_t *first = (int32_t *)(sum + columns), *next = first + q->rows;                 \
        memset(first, 0xff, (size_t)q->rows * sizeof *first);                                 \
        for (ptrdiff_t i = q->count; i-- > 0;) {                                              \
            int64_t code = code_at(codes + i * q->step, q->kind);                             \
            if ((uint64_t)code >= (uint64_t)q->rows)                                          \
                return 0;                                                                     \
            next[i] = first[code];                                                            \
            first[code] = (int32_t)i;                                                         \
        }                                                                                     \
        memset(out, 0, (size_t)(q->rows * columns) * sizeof *out);                            \
        for (ptrdiff_t i = 0; i < q->count; i++) {                                            \
            int64_t code = code_at(codes + i * q->step, q->kind);                             \
            if ((uint64_t)code >= (uint64_t)q->rows)                                          \
                return 0;                                                                     \
            if (first[code] != i || code == q->padding)                                       \
                continue;                                                                     \
            type *row = out + code * columns;                                                 \
            const type *term = g + i * lead;                                                  \
            if (next[i] < 0) {                                                                \
                for (ptrdiff_t j = 0; j < columns; j++)                                       \
                    row[j] = term[j] + (type)0; /* as a sum: -0 becomes 0 */                  \
                continue;                                                                     \
            }                                                                                 \
            for (ptrdiff_t j = 0; j < columns; j++)                                           \
                sum[j] = (double)term[j] + 0.0;                                               \
            for (int32_t k = next[i]; k >= 0; k = next[k]) {                                  \
                term = g + k * lead;                                                          \
                for (ptrdiff_t j = 0; j < columns; j++)                                       \
                    sum[j] += (double)term[j];                                                \
            }                                                                                 \
            for (ptrdiff_t j = 0; j < columns; j++)                                           \
                row[j] = (type)sum[j];                                                        \
        }                                                                                     \
        return 1;                                                                             \
    }
SCATTER(scatter_f, float)
SCATTER(scatter_d, double)

static int scatter_rows(const Lookup *q, void *out, const void *g, const char *codes,
                        void *scratch)
{
    return q->single ? scatter_f(q, out, g, codes, scratch) : scatter_d(q, out, g, codes, scratch);
}
