/* The module chainrule.compile._native: plans, which are lists of instructions over memory.
 *
 * A plan is checked when it is made; running one resolves pointers and calls. Whatever changes
 * while a plan runs lives in a frame (workspace, scratch, table of pointers). Frames wait in a
 * list of the plan: a run takes one or makes one, and gives it back, so that several threads may
 * run one plan at once. The list is guarded by the GIL. Frames live as long as their plan,
 * because an array that a Python instruction kept may still look into one.
 */

#ifndef CR_WHOLE_API
#define Py_LIMITED_API 0x030b0000
#endif
#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <Python.h>
#include <stdarg.h>
#include <stdlib.h>
#include <structmember.h>
#include <numpy/arrayobject.h>

#include "loops.h"
#include "lookup.h"

/* In the stable ABI since 3.12 by name; the flag's meaning is older. */
#ifndef Py_TPFLAGS_HAVE_VECTORCALL
#define Py_TPFLAGS_HAVE_VECTORCALL (1UL << 11)
#endif
#define KEEP(o) Py_INCREF((PyObject *)(o))
#define DROP(o) Py_XDECREF((PyObject *)(o))
#define COUNT_OF(nargsf) ((Py_ssize_t)((nargsf) & ~((size_t)1 << (8 * sizeof(size_t) - 1))))

typedef PyObject *(*Vectorcall)(PyObject *, PyObject *const *, size_t, PyObject *);
typedef void (*Kernel)(ptrdiff_t, ptrdiff_t, void *const *, const ptrdiff_t *, void *);

#define MOST_BYTES (PY_SSIZE_T_MAX / 4) /* so that sums of sizes and offsets do not overflow */

enum { ARGUMENT, FIXED, WORKSPACE, RESULT, SPACES };
enum { KERNEL, PRODUCT, COPY, RANDOM, LABELS_GUARD, CODES_GUARD, GATHER, SCATTER, CALL };

static const char *const SPACE_NAMES[] = {"argument", "fixed", "workspace", "result"};

/* An array as declared. */
typedef struct {
    PyArray_Descr *descr;
    int nd, flags;        /* the flags that an array needs */
    int written;
    npy_intp *shape;
    npy_intp bytes;
} Declared;

/* What a Python instruction shows of memory. */
typedef struct {
    PyArray_Descr *descr;
    int nd, writable;
    npy_intp *shape, *strides;
} View;

typedef struct {
    int kind, count;      /* count: operands, which stand in the table from `first` on */
    ptrdiff_t first;
    union {
        struct {
            Kernel function;
            ptrdiff_t rows, columns, *steps;
            char along;       /* 'r', 'c': it may be shared out by rows, by columns; 'n': not */
            unsigned char *item; /* bytes from column to column of an operand, or 0 */
            ptrdiff_t *down;  /* bytes from row to row */
        } kernel;
        Product product;
        Copy *copy;
        Lookup lookup;
        struct {
            ptrdiff_t n;
            uint64_t threshold;
        } random;
        struct {
            ptrdiff_t n;
            int64_t classes;
            int item, is_signed;
        } labels;
        struct {
            PyObject *callable;
            View *views;
        } call;
    } u;
} Instruction;

/* Where an entry of the table points: base[region] + offset. Bases: arguments, fixed arrays, the
 * workspace, results, in this order. */
typedef struct {
    ptrdiff_t region, offset;
} Entry;

typedef struct Frame {
    struct Frame *next;
    void *allocation;
    char **base;          /* one per region */
    void **table;         /* one per entry */
    PyObject **held;      /* copies of arguments, then results: owned while a run lasts */
    int64_t *numbers;     /* Python numbers given for scalars, 8 bytes an argument */
    char *scratch;
} Frame;

typedef struct {
    PyObject_HEAD
    Vectorcall vectorcall;
    PyObject *name;
    int release, cleared;
    Py_ssize_t arguments, fixed, results, instructions, guards, entries;
    Py_ssize_t entries_made, instructions_made; /* how far construction came */
    Declared *argument, *result;
    PyArrayObject **array; /* the fixed ones */
    Instruction *instruction;
    Entry *entry;
    Py_ssize_t workspace, scratch;
    Frame *free;
    Py_ssize_t frames;
} Plan;

static PyTypeObject *plan_type;
static PyObject *matmul;

/* -- frames ----------------------------------------------------------------------------------- */

static size_t rounded(size_t n) { return (n + 63) & ~(size_t)63; }

static Py_ssize_t regions(const Plan *p) { return p->arguments + p->fixed + 1 + p->results; }

static void frame_point(const Plan *p, Frame *f, ptrdiff_t from, ptrdiff_t to)
{
    for (Py_ssize_t i = 0; i < p->entries; i++)
        if (p->entry[i].region >= from && p->entry[i].region < to)
            f->table[i] = f->base[p->entry[i].region] + p->entry[i].offset;
}

static Frame *frame_new(Plan *p)
{
    size_t sizes[] = {
        sizeof(Frame),
        (size_t)regions(p) * sizeof(char *),
        (size_t)p->entries * sizeof(void *),
        (size_t)(p->arguments + p->results) * sizeof(PyObject *),
        (size_t)p->arguments * 8,
        (size_t)p->workspace,
        (size_t)p->scratch,
    };
    enum { PARTS = sizeof sizes / sizeof *sizes, WORK = 5, PAGE = 4096 };
    size_t total = 64 + PAGE;
    char *part[PARTS];
    for (int i = 0; i < PARTS; i++)
        total += rounded(sizes[i]);
    void *allocation = large_memory(total);
    if (!allocation) {
        PyErr_NoMemory();
        return NULL;
    }
    char *at = (char *)rounded((size_t)allocation);
    for (int i = 0; i < PARTS; i++) {
        if (i == WORK) /* its long arrays begin with a page, as an optimizer's vectors do */
            at = (char *)(((size_t)at + PAGE - 1) / PAGE * PAGE);
        part[i] = at;
        at += rounded(sizes[i]);
    }
    memset(part[0], 0, (size_t)(part[WORK] - part[0]));
    Frame *f = (Frame *)part[0];
    f->allocation = allocation;
    f->base = (char **)part[1];
    f->table = (void **)part[2];
    f->held = (PyObject **)part[3];
    f->numbers = (int64_t *)part[4];
    f->base[p->arguments + p->fixed] = part[WORK];
    f->scratch = part[WORK + 1];
    frame_point(p, f, p->arguments + p->fixed, p->arguments + p->fixed + 1);
    p->frames++;
    return f;
}

/* -- arguments -------------------------------------------------------------------------------- */

/* Of two plain types, the second in native order: int64 has two numbers on some systems. */
static int same_type(PyArray_Descr *a, PyArray_Descr *b)
{
    return a == b || (a->kind == b->kind && PyDataType_ELSIZE(a) == PyDataType_ELSIZE(b) &&
                      PyArray_ISNBO(a->byteorder) && a->type_num >= 0 &&
                      a->type_num < NPY_USERDEF);
}

static int same_shape(PyArrayObject *a, const Declared *d)
{
    if (PyArray_NDIM(a) != d->nd)
        return 0;
    const npy_intp *shape = PyArray_DIMS(a);
    for (int i = 0; i < d->nd; i++)
        if (shape[i] != d->shape[i])
            return 0;
    return 1;
}

/* Write a Python number as the declared type; 0 where it is none, or would lose its meaning. */
static int number(PyObject *o, const Declared *d, void *to)
{
    int type = d->descr->type_num;
    if (PyBool_Check(o)) {
        int value = o == Py_True;
        switch (type) {
        case NPY_BOOL: *(npy_bool *)to = (npy_bool)value; return 1;
        case NPY_FLOAT: *(float *)to = (float)value; return 1;
        case NPY_DOUBLE: *(double *)to = value; return 1;
        default: break;
        }
    }
    if (type == NPY_FLOAT || type == NPY_DOUBLE) {
        if (!PyFloat_Check(o) && !PyLong_Check(o))
            return 0;
        double value = PyFloat_Check(o) ? PyFloat_AsDouble(o) : PyLong_AsDouble(o);
        if (value == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return 0;
        }
        if (type == NPY_FLOAT)
            *(float *)to = (float)value;
        else
            *(double *)to = value;
        return 1;
    }
    if (!PyTypeNum_ISINTEGER(type) || !PyLong_Check(o))
        return 0;
    long long value = PyLong_AsLongLong(o);
    if (value == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    int bits = 8 * (int)d->bytes;
    int is_signed = !PyTypeNum_ISUNSIGNED(type);
    if (!is_signed && value < 0)
        return 0;
    if (bits < 64) {
        long long top = 1LL << (bits - is_signed);
        if (value >= top || value < -top)
            return 0;
    }
    switch (bits) {
    case 8: *(int8_t *)to = (int8_t)value; return 1;
    case 16: *(int16_t *)to = (int16_t)value; return 1;
    case 32: *(int32_t *)to = (int32_t)value; return 1;
    default: *(int64_t *)to = value; return 1;
    }
}

/* The memory of an argument: 1, 0 where it is not as declared, -1 with an exception. */
static int take(Plan *p, Frame *f, Py_ssize_t i, PyObject *o)
{
    const Declared *d = &p->argument[i];
    if (!PyArray_Check(o)) {
        if (d->nd || d->written)
            return 0;
        f->base[i] = (char *)&f->numbers[i];
        if (number(o, d, f->base[i]))
            return 1;
        if (!PyArray_IsScalar(o, Generic))
            return 0;
        PyArray_Descr *own = PyArray_DescrFromScalar(o);
        if (!own)
            return -1;
        int same = same_type(own, d->descr);
        Py_DECREF(own);
        if (same)
            PyArray_ScalarAsCtype(o, f->base[i]);
        return same;
    }
    PyArrayObject *a = (PyArrayObject *)o;
    if (!same_type(PyArray_DESCR(a), d->descr) || !same_shape(a, d))
        return 0;
    if ((PyArray_FLAGS(a) & d->flags) != d->flags) {
        if (d->written)
            return 0;
        PyObject *copy = PyArray_NewCopy(a, NPY_CORDER);
        if (!copy)
            return -1;
        f->held[i] = copy;
        a = (PyArrayObject *)copy;
    }
    f->base[i] = PyArray_BYTES(a);
    return 1;
}

/* -- running ---------------------------------------------------------------------------------- */

/* Who owns the memory of a region, for an array around it. Borrowed. */
static PyObject *owner(Plan *p, Frame *f, PyObject *const *args, ptrdiff_t region)
{
    if (region < p->arguments) {
        if (f->base[region] == (char *)&f->numbers[region])
            return (PyObject *)p;
        return f->held[region] ? f->held[region] : args[region];
    }
    if (region < p->arguments + p->fixed)
        return (PyObject *)p->array[region - p->arguments];
    if (region == p->arguments + p->fixed)
        return (PyObject *)p;
    return f->held[region - p->fixed - 1];
}

static PyObject *view(PyArray_Descr *descr, int nd, npy_intp *shape, npy_intp *strides,
                      void *memory, int writable, PyObject *base)
{
    KEEP(descr);
    PyObject *a = PyArray_NewFromDescr(&PyArray_Type, descr, nd, shape, strides, memory,
                                       writable ? NPY_ARRAY_WRITEABLE : 0, NULL);
    if (!a)
        return NULL;
    if (base) {
        KEEP(base);
        if (PyArray_SetBaseObject((PyArrayObject *)a, base) < 0) {
            Py_DECREF(a);
            return NULL;
        }
    }
    return a;
}

static int call_python(Plan *p, Frame *f, PyObject *const *args, Instruction *x)
{
    PyObject *given = PyTuple_New(x->count);
    if (!given)
        return -1;
    for (int i = 0; i < x->count; i++) {
        View *v = &x->u.call.views[i];
        PyObject *a = view(v->descr, v->nd, v->shape, v->strides, f->table[x->first + i],
                           v->writable, owner(p, f, args, p->entry[x->first + i].region));
        if (!a) {
            Py_DECREF(given);
            return -1;
        }
        PyTuple_SetItem(given, i, a);
    }
    PyObject *answer = PyObject_Call(x->u.call.callable, given, NULL);
    Py_DECREF(given);
    DROP(answer);
    return answer ? 0 : -1;
}

/* The product by numpy.matmul, where there is no BLAS to call. */
static int call_matmul(const Product *q, void *const *operand)
{
    if (!matmul) {
        PyObject *numpy = PyImport_ImportModule("numpy");
        matmul = numpy ? PyObject_GetAttrString(numpy, "matmul") : NULL;
        DROP(numpy);
        if (!matmul)
            return -1;
    }
    npy_intp item = q->single ? 4 : 8;
    npy_intp shapes[3][2] = {{q->m, q->k}, {q->k, q->n}, {q->m, q->n}};
    npy_intp lead[3] = {q->lda * item, q->ldb * item, q->ldc * item};
    int turned[3] = {q->ta, q->tb, 0};
    PyArray_Descr *descr = PyArray_DescrFromType(q->single ? NPY_FLOAT : NPY_DOUBLE);
    PyObject *given = PyTuple_New(3), *answer = NULL;
    if (!descr || !given)
        goto done;
    for (int i = 0; i < 3; i++) {
        npy_intp strides[2] = {turned[i] ? item : lead[i], turned[i] ? lead[i] : item};
        PyObject *a = view(descr, 2, shapes[i], strides, operand[i], i == 2, NULL);
        if (!a)
            goto done;
        PyTuple_SetItem(given, i, a);
    }
    answer = PyObject_Call(matmul, given, NULL);
done:
    DROP(descr);
    DROP(given);
    DROP(answer);
    return answer ? 0 : -1;
}

enum { MOST_SHARED = 64 }; /* operands of a kernel that is shared out */

typedef struct {
    const Instruction *kernel;
    void *const *operand;
    ptrdiff_t part;       /* rows or columns of a task */
} Shared;

static void part_of_kernel(const void *context, ptrdiff_t task, void *own, void *common)
{
    const Shared *s = context;
    const Instruction *x = s->kernel;
    int by_rows = x->u.kernel.along == 'r';
    ptrdiff_t rows = x->u.kernel.rows, columns = x->u.kernel.columns, from = task * s->part;
    ptrdiff_t *sides = by_rows ? &rows : &columns;
    void *operand[MOST_SHARED];
    for (int i = 0; i < x->count; i++)
        operand[i] = (char *)s->operand[i] +
                     from * (by_rows ? x->u.kernel.down[i] : x->u.kernel.item[i]);
    *sides = *sides - from < s->part ? *sides - from : s->part;
    (void)common;
    x->u.kernel.function(rows, columns, operand, x->u.kernel.steps, own);
}

/* Run a kernel in parts, sixteen rows or columns or a multiple of it each; 0 where it was not. */
static int share_kernel(const Instruction *x, void *const *operand)
{
    enum { LEAST = 1 << 13 }; /* elements of a task */
    ptrdiff_t n = x->u.kernel.along == 'r' ? x->u.kernel.rows : x->u.kernel.columns;
    ptrdiff_t work = x->u.kernel.rows * x->u.kernel.columns, threads = thread_count();
    ptrdiff_t tasks = 8 * threads; /* whoever is kept from running holds up one of them */
    if (threads < 2)
        return 0;
    if (tasks > work / LEAST)
        tasks = work / LEAST;
    Shared s = {.kernel = x, .operand = operand, .part = ((n + tasks - 1) / tasks + 15) / 16 * 16};
    return share(part_of_kernel, &s, (n + s.part - 1) / s.part);
}

enum { STOPPED = 1 };

/* 0, -1 with an exception, or STOPPED at a code that has no row. */
static int run(Plan *p, Frame *f, PyObject *const *args)
{
    PyThreadState *saved = NULL;
    int failed = 0;
    void **table = f->table;
    if (p->release)
        saved = PyEval_SaveThread();
    for (Instruction *x = p->instruction + p->guards, *end = p->instruction + p->instructions;
         x < end && !failed; x++) {
        void **operand = table + x->first;
        switch (x->kind) {
        case KERNEL:
            if (x->u.kernel.along == 'n' || !share_kernel(x, operand))
                x->u.kernel.function(x->u.kernel.rows, x->u.kernel.columns, operand,
                                     x->u.kernel.steps, f->scratch);
            break;
        case PRODUCT:
            if (product_run(&x->u.product, operand[0], operand[1], operand[2], f->scratch))
                break;
            if (saved)
                PyEval_RestoreThread(saved);
            failed = call_matmul(&x->u.product, operand);
            if (saved)
                saved = PyEval_SaveThread();
            break;
        case COPY:
            copy_axes(x->u.copy, 0, operand[0], operand[1]);
            break;
        case RANDOM:
            random_bits(operand[0], x->u.random.n, x->u.random.threshold, operand[1]);
            break;
        case GATHER:
            failed = gather_rows(&x->u.lookup, operand[0], operand[1], operand[2]) ? 0 : STOPPED;
            break;
        case SCATTER:
            failed = scatter_rows(&x->u.lookup, operand[0], operand[1], operand[2], f->scratch)
                         ? 0 : STOPPED;
            break;
        case CALL:
            if (saved)
                PyEval_RestoreThread(saved);
            failed = call_python(p, f, args, x);
            if (saved)
                saved = PyEval_SaveThread();
            break;
        default:
            break;
        }
    }
    if (saved)
        PyEval_RestoreThread(saved);
    return failed;
}

static PyObject *plan_call(PyObject *self, PyObject *const *args, size_t nargsf,
                           PyObject *keywords)
{
    Plan *p = (Plan *)self;
    Py_ssize_t n = COUNT_OF(nargsf);
    PyObject *answer = NULL;
    if (n != p->arguments || (keywords && PyTuple_Size(keywords))) {
        PyErr_Format(PyExc_TypeError, "%U takes %zd arguments by position, got %zd%s", p->name,
                     p->arguments, n, keywords ? " and keywords" : "");
        return NULL;
    }
    if (p->cleared) {
        PyErr_Format(PyExc_RuntimeError, "%U was taken apart by the garbage collector", p->name);
        return NULL;
    }
    Frame *f = p->free;
    if (f)
        p->free = f->next;
    else if (!(f = frame_new(p)))
        return NULL;

    int good = 1;
    for (Py_ssize_t i = 0; i < n; i++) {
        good = take(p, f, i, args[i]);
        if (good <= 0)
            goto refused;
    }
    char **base = f->base + p->arguments;
    for (Py_ssize_t i = 0; i < p->fixed; i++) {
        char *data = PyArray_BYTES(p->array[i]);
        if (base[i] != data) { /* a new frame, or an array that was given other memory */
            base[i] = data;
            frame_point(p, f, p->arguments + i, p->arguments + i + 1);
        }
    }
    base += p->fixed + 1;
    for (Py_ssize_t i = 0; i < p->results; i++) {
        Declared *d = &p->result[i];
        KEEP(d->descr);
        PyObject *a = PyArray_NewFromDescr(&PyArray_Type, d->descr, d->nd, d->shape, NULL, NULL,
                                           0, NULL);
        if (!a) {
            good = -1;
            goto refused;
        }
        f->held[p->arguments + i] = a;
        base[i] = PyArray_BYTES((PyArrayObject *)a);
    }
    for (Py_ssize_t i = 0; i < p->entries; i++) {
        ptrdiff_t region = p->entry[i].region;
        if (region < p->arguments || region > p->arguments + p->fixed)
            f->table[i] = f->base[region] + p->entry[i].offset;
    }
    for (Py_ssize_t i = 0; i < p->guards; i++) {
        Instruction *x = &p->instruction[i];
        const Lookup *q = &x->u.lookup;
        if (x->kind == CODES_GUARD
                ? !codes_hold(f->table[x->first], q->count, q->step, q->kind, q->rows)
                : !labels_hold(f->table[x->first], x->u.labels.n, x->u.labels.classes,
                               x->u.labels.item, x->u.labels.is_signed)) {
            good = 0;
            goto refused;
        }
    }
    int done = run(p, f, args);
    if (done == STOPPED)
        good = 0;
    else if (done == 0 && (answer = PyTuple_New(p->results)))
        for (Py_ssize_t i = 0; i < p->results; i++) {
            PyTuple_SetItem(answer, i, f->held[p->arguments + i]);
            f->held[p->arguments + i] = NULL;
        }
refused:
    for (Py_ssize_t i = 0; i < p->arguments + p->results; i++)
        if (f->held[i]) {
            Py_DECREF(f->held[i]);
            f->held[i] = NULL;
        }
    f->next = p->free;
    p->free = f;
    if (good == 0) {
        KEEP(Py_NotImplemented);
        return Py_NotImplemented;
    }
    return answer;
}

/* The slow way in, for callers that have a tuple. */
static PyObject *plan_tuple_call(PyObject *self, PyObject *args, PyObject *keywords)
{
    Py_ssize_t n = PyTuple_Size(args);
    if (keywords && PyDict_Size(keywords)) {
        PyErr_Format(PyExc_TypeError, "%U takes no keywords", ((Plan *)self)->name);
        return NULL;
    }
    PyObject **items = PyMem_Malloc((size_t)(n ? n : 1) * sizeof *items);
    if (!items)
        return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < n; i++)
        items[i] = PyTuple_GetItem(args, i);
    PyObject *answer = plan_call(self, items, (size_t)n, NULL);
    PyMem_Free(items);
    return answer;
}

/* -- making a plan ---------------------------------------------------------------------------- */

/* ValueError, saying where. Returns -1. */
static int wrong(const Plan *p, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    PyObject *text = PyUnicode_FromFormatV(format, list);
    va_end(list);
    if (text && p->instructions_made < p->instructions)
        PyErr_Format(PyExc_ValueError, "%U, instruction %zd: %U", p->name, p->instructions_made,
                     text);
    else if (text)
        PyErr_Format(PyExc_ValueError, "%U: %U", p->name, text);
    DROP(text);
    return -1;
}

static int fits(ptrdiff_t a, ptrdiff_t b, ptrdiff_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

/* A tuple of sizes or strides as a fresh array; the number of them, or -1. */
static int numbers(const Plan *p, PyObject *o, int sizes, npy_intp **out)
{
    PyObject *t = PySequence_Tuple(o);
    if (!t)
        return -1;
    Py_ssize_t n = PyTuple_Size(t);
    npy_intp *v = NULL;
    if (n > NPY_MAXDIMS) {
        wrong(p, "more than %d axes", NPY_MAXDIMS);
        goto fail;
    }
    if (!(v = PyMem_Malloc((size_t)(n ? n : 1) * sizeof *v))) {
        PyErr_NoMemory();
        goto fail;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        v[i] = PyLong_AsSsize_t(PyTuple_GetItem(t, i));
        if (v[i] == -1 && PyErr_Occurred())
            goto fail;
        if (sizes && v[i] < 0) {
            wrong(p, "a size is negative: %zd", v[i]);
            goto fail;
        }
    }
    Py_DECREF(t);
    *out = v;
    return (int)n;
fail:
    Py_DECREF(t);
    PyMem_Free(v);
    return -1;
}

static PyArray_Descr *plain_type(const Plan *p, int type)
{
    if (!(PyTypeNum_ISBOOL(type) || PyTypeNum_ISINTEGER(type) || type == NPY_HALF ||
          type == NPY_FLOAT || type == NPY_DOUBLE)) {
        wrong(p, "type number %d is none of bool, integer, float16, float32, float64", type);
        return NULL;
    }
    return PyArray_DescrFromType(type);
}

static int declare(Plan *p, PyObject *o, Declared *d, int is_argument)
{
    int type, written = 0;
    PyObject *shape;
    PyObject *t = PySequence_Tuple(o);
    if (!t)
        return -1;
    int read = is_argument ? PyArg_ParseTuple(t, "iOp", &type, &shape, &written)
                           : PyArg_ParseTuple(t, "iO", &type, &shape);
    int done = -1;
    if (!read || (d->nd = numbers(p, shape, 1, &d->shape)) < 0)
        goto end;
    if (!(d->descr = plain_type(p, type)))
        goto end;
    d->written = written;
    d->flags = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | (written ? NPY_ARRAY_WRITEABLE : 0);
    d->bytes = PyDataType_ELSIZE(d->descr);
    for (int i = 0; i < d->nd; i++)
        if (!fits(d->bytes, d->shape[i], &d->bytes) || d->bytes > MOST_BYTES) {
            wrong(p, "an array is too large");
            goto end;
        }
    done = 0;
end:
    if (done < 0) {
        DROP(d->descr);
        PyMem_Free(d->shape);
        *d = (Declared){0};
    }
    Py_DECREF(t);
    return done;
}

/* The bytes of a region relative to its base, and whether they may be written. */
static void extent(const Plan *p, ptrdiff_t region, ptrdiff_t *low, ptrdiff_t *high, int *item,
                   int *writable)
{
    *low = 0, *item = 1, *writable = 1;
    if (region < p->arguments) {
        *high = p->argument[region].bytes;
        *item = (int)PyDataType_ELSIZE(p->argument[region].descr);
        *writable = p->argument[region].written;
    } else if (region < p->arguments + p->fixed) {
        PyArrayObject *a = p->array[region - p->arguments];
        *item = (int)PyArray_ITEMSIZE(a);
        *high = *item;
        *writable = PyArray_ISWRITEABLE(a);
        for (int i = 0; i < PyArray_NDIM(a); i++) {
            npy_intp size = PyArray_DIM(a, i), stride = PyArray_STRIDE(a, i);
            if (size == 0) {
                *low = *high = 0;
                return;
            }
            *(stride < 0 ? low : high) += (size - 1) * stride;
        }
    } else if (region == p->arguments + p->fixed) {
        *high = p->workspace;
    } else {
        *high = p->result[region - p->arguments - p->fixed - 1].bytes;
        *item = (int)PyDataType_ELSIZE(p->result[region - p->arguments - p->fixed - 1].descr);
    }
}

/* Add a ref (space, index, offset) to the table. Of what it points to, the bytes from `low` up to
 * `high` are used, in items of `item` bytes (0: those of the region). */
static int add_ref(Plan *p, PyObject *o, const char *what, ptrdiff_t low, ptrdiff_t high,
                   ptrdiff_t item, int write)
{
    int space;
    Py_ssize_t index, offset;
    if (!PyTuple_Check(o) || !PyArg_ParseTuple(o, "inn", &space, &index, &offset)) {
        PyErr_Clear();
        return wrong(p, "%s: expected a ref (space, index, offset), got %R", what, o);
    }
    Py_ssize_t most[] = {p->arguments, p->fixed, 1, p->results};
    if (space < 0 || space >= SPACES)
        return wrong(p, "%s: no space %d", what, space);
    if (index < 0 || index >= most[space])
        return wrong(p, "%s: no %s %zd, there are %zd", what, SPACE_NAMES[space], index,
                     most[space]);
    ptrdiff_t region = index;
    for (int s = 0; s < space; s++)
        region += most[s];
    ptrdiff_t from, to;
    int own, writable;
    extent(p, region, &from, &to, &own, &writable);
    if (high > low && (offset < from || offset > to || low < from - offset || high > to - offset))
        return wrong(p, "%s: from byte %zd on, bytes %zd to %zd are used; %s %zd has %zd to %zd",
                     what, offset, low, high, SPACE_NAMES[space], index, from, to);
    if (item && offset % item)
        return wrong(p, "%s: byte %zd is not aligned to %zd bytes", what, offset, item);
    if (write && !writable)
        return wrong(p, "%s: %s %zd may not be written", what, SPACE_NAMES[space], index);
    p->entry[p->entries_made++] = (Entry){region, offset};
    return 0;
}

/* The item size of the region that a ref names (1 where the ref is no good: add_ref will tell). */
static int item_of(const Plan *p, PyObject *o)
{
    int space, item, writable;
    Py_ssize_t index, offset;
    ptrdiff_t low, high;
    if (!PyTuple_Check(o) || !PyArg_ParseTuple(o, "inn", &space, &index, &offset)) {
        PyErr_Clear();
        return 1;
    }
    Py_ssize_t most[] = {p->arguments, p->fixed, 1, p->results};
    if (space < 0 || space >= SPACES || index < 0 || index >= most[space])
        return 1;
    for (int s = 0; s < space; s++)
        index += most[s];
    extent(p, index, &low, &high, &item, &writable);
    return item;
}

static int make_kernel(Plan *p, Instruction *x, PyObject *t)
{
    PyObject *kind, *address, *refs, *steps;
    Py_ssize_t rows, columns, tiles, layouts = 0, items = 0;
    const char *along = "n", *layout = NULL, *size = NULL;
    if (!PyArg_ParseTuple(t, "OOnnO!O!n|ss#y#", &kind, &address, &rows, &columns, &PyList_Type,
                          &refs, &PyList_Type, &steps, &tiles, &along, &layout, &layouts, &size,
                          &items))
        return -1;
    x->u.kernel.function = (Kernel)PyLong_AsVoidPtr(address);
    if (!x->u.kernel.function)
        return PyErr_Occurred() ? -1 : wrong(p, "kernel: its address is 0");
    if (rows < 0 || columns < 0 || tiles < 0)
        return wrong(p, "kernel: a size is negative");
    if (PyList_Size(steps) != x->count)
        return wrong(p, "kernel: %d refs, but %zd steps", x->count, PyList_Size(steps));
    x->u.kernel.rows = rows;
    x->u.kernel.columns = columns;
    if (layout && (layouts != x->count || items != x->count))
        return wrong(p, "kernel: %d refs, but %zd layouts of %zd sizes", x->count, layouts, items);
    if ((*along != 'n' && *along != 'r' && *along != 'c') || (*along != 'n' && !size))
        return wrong(p, "kernel: cannot be shared out along %s", along);
    /* steps, then bytes from row to row, then bytes from column to column */
    if (!(x->u.kernel.steps = PyMem_Malloc((size_t)(x->count + 1) * (2 * sizeof(ptrdiff_t) + 1)))) {
        PyErr_NoMemory();
        return -1;
    }
    x->u.kernel.down = x->u.kernel.steps + x->count + 1;
    x->u.kernel.item = (unsigned char *)(x->u.kernel.down + x->count + 1);
    for (int i = 0; i < x->count; i++) {
        ptrdiff_t step = PyLong_AsSsize_t(PyList_GetItem(steps, i)), reach;
        if (step == -1 && PyErr_Occurred())
            return -1;
        if (step < 0)
            return wrong(p, "kernel: a step is negative: %zd", step);
        /* The columns that an operand takes are known to the kernel alone: one at least. */
        PyObject *ref = PyList_GetItem(refs, i);
        int item = item_of(p, ref);
        if (!fits(rows ? rows - 1 : 0, step, &reach) || !fits(reach, item, &reach))
            return wrong(p, "kernel: an operand is too large");
        char what[32];
        PyOS_snprintf(what, sizeof what, "operand %d", i);
        if (add_ref(p, ref, what, 0, rows && columns ? reach + item : 0, 0, 0) < 0)
            return -1;
        x->u.kernel.steps[i] = step;
        char where = size ? layout[i] : 's'; /* full, row, column, scalar */
        x->u.kernel.down[i] = where == 'f' || where == 'r' ? step * (unsigned char)size[i] : 0;
        x->u.kernel.item[i] = (unsigned char)(where == 'f' || where == 'c' ? size[i] : 0);
    }
    ptrdiff_t scratch;
    if (columns > PY_SSIZE_T_MAX - 16 || !fits(tiles * 8, (columns + 15) / 16 * 16, &scratch))
        return wrong(p, "kernel: its scratch is too large");
    if (scratch > p->scratch)
        p->scratch = scratch;
    int shared = rows * columns >= 1 << 15 && x->count <= MOST_SHARED && scratch <= MEMORY;
    x->u.kernel.along = shared ? *along : 'n';
    return 0;
}

/* How many bytes a matrix reaches over, -1 if too many or if a row does not fit its step. */
static ptrdiff_t reach_of(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t lead, ptrdiff_t item)
{
    ptrdiff_t reach;
    if (lead < columns || lead < 1)
        return -1;
    if (rows == 0 || columns == 0)
        return 0;
    if (!fits(rows - 1, lead, &reach) || __builtin_add_overflow(reach, columns, &reach) ||
        !fits(reach, item, &reach))
        return -1;
    return reach;
}

static int make_product(Plan *p, Instruction *x, PyObject *t)
{
    PyObject *kind, *a, *b, *c;
    int type;
    Product *q = &x->u.product;
    if (!PyArg_ParseTuple(t, "OippnnnOnOnOn", &kind, &type, &q->ta, &q->tb, &q->m, &q->n, &q->k,
                          &a, &q->lda, &b, &q->ldb, &c, &q->ldc))
        return -1;
    if (type != NPY_FLOAT && type != NPY_DOUBLE)
        return wrong(p, "product: type number %d is neither float32 nor float64", type);
    q->single = type == NPY_FLOAT;
    if (q->m < 0 || q->n < 0 || q->k < 0)
        return wrong(p, "product: a size is negative");
    ptrdiff_t item = q->single ? 4 : 8;
    ptrdiff_t ra = q->ta ? reach_of(q->k, q->m, q->lda, item) : reach_of(q->m, q->k, q->lda, item);
    ptrdiff_t rb = q->tb ? reach_of(q->n, q->k, q->ldb, item) : reach_of(q->k, q->n, q->ldb, item);
    ptrdiff_t rc = reach_of(q->m, q->n, q->ldc, item);
    if (ra < 0 || rb < 0 || rc < 0)
        return wrong(p, "product: a row is longer than the step from row to row");
    if (add_ref(p, a, "a", 0, ra, item, 0) < 0 || add_ref(p, b, "b", 0, rb, item, 0) < 0 ||
        add_ref(p, c, "c", 0, rc, item, 1) < 0)
        return -1;
    ptrdiff_t scratch = product_scratch(q);
    if (scratch > p->scratch)
        p->scratch = scratch;
    return 0;
}

/* The bytes that strides reach over, relative to the first element. */
static int span(const Plan *p, int nd, const npy_intp *shape, const npy_intp *strides,
                ptrdiff_t item, ptrdiff_t *low, ptrdiff_t *high)
{
    *low = 0, *high = item;
    for (int i = 0; i < nd; i++)
        if (shape[i] == 0) {
            *high = 0;
            return 0;
        }
    for (int i = 0; i < nd; i++) {
        ptrdiff_t reach, *end = strides[i] < 0 ? low : high;
        if (!fits(shape[i] - 1, strides[i], &reach) || __builtin_add_overflow(*end, reach, end))
            return wrong(p, "strides reach too far");
    }
    return 0;
}

/* Sort the axes by the target's strides and merge those that run on. Axes of size 1 go. */
static void simplify(Copy *c, int nd, const npy_intp *shape, const npy_intp *to,
                     const npy_intp *from)
{
    int n = 0;
    for (int i = 0; i < nd; i++) {
        if (shape[i] == 1)
            continue;
        int at = n++;
        for (; at > 0 && Py_ABS(c->to[at - 1]) < Py_ABS(to[i]); at--) {
            c->shape[at] = c->shape[at - 1];
            c->to[at] = c->to[at - 1];
            c->from[at] = c->from[at - 1];
        }
        c->shape[at] = shape[i], c->to[at] = to[i], c->from[at] = from[i];
    }
    c->axes = 0;
    for (int i = 0; i < n; i++) {
        int last = c->axes - 1;
        if (last >= 0 && c->to[last] == c->to[i] * c->shape[i] &&
            c->from[last] == c->from[i] * c->shape[i]) {
            c->shape[last] *= c->shape[i];
            c->to[last] = c->to[i];
            c->from[last] = c->from[i];
        } else {
            last = c->axes++;
            c->shape[last] = c->shape[i], c->to[last] = c->to[i], c->from[last] = c->from[i];
        }
    }
}

static int make_copy(Plan *p, Instruction *x, PyObject *t)
{
    PyObject *kind, *shape_, *dst, *to_, *src, *from_;
    Py_ssize_t item;
    npy_intp *shape = NULL, *to = NULL, *from = NULL;
    int nd, done = -1;
    if (!PyArg_ParseTuple(t, "OnOOOOO", &kind, &item, &shape_, &dst, &to_, &src, &from_))
        return -1;
    if (item < 1)
        return wrong(p, "copy: an item of %zd bytes", item);
    if ((nd = numbers(p, shape_, 1, &shape)) < 0)
        goto end;
    if (numbers(p, to_, 0, &to) != nd || numbers(p, from_, 0, &from) != nd) {
        if (!PyErr_Occurred())
            wrong(p, "copy: expected %d strides on each side", nd);
        goto end;
    }
    ptrdiff_t aligned = item == 2 || item == 4 || item == 8 ? item : 0, low, high;
    if (span(p, nd, shape, to, item, &low, &high) < 0)
        goto end;
    for (int i = 0; i < nd && high > low; i++) {
        if (aligned && shape[i] > 1 && (to[i] % item || from[i] % item)) {
            wrong(p, "copy: a stride is not a multiple of %zd bytes", item);
            goto end;
        }
        if (shape[i] > 1 && to[i] == 0) {
            wrong(p, "copy: the target has a stride of 0");
            goto end;
        }
    }
    if (add_ref(p, dst, "the target", low, high, aligned, 1) < 0 ||
        span(p, nd, shape, from, item, &low, &high) < 0 ||
        add_ref(p, src, "the source", low, high, aligned, 0) < 0)
        goto end;
    if (!(x->u.copy = PyMem_Malloc(sizeof(Copy)))) {
        PyErr_NoMemory();
        goto end;
    }
    x->u.copy->item = item;
    simplify(x->u.copy, nd, shape, to, from);
    done = 0;
end:
    PyMem_Free(shape);
    PyMem_Free(to);
    PyMem_Free(from);
    return done;
}

static int make_random(Plan *p, Instruction *x, PyObject *t)
{
    PyObject *kind, *dst, *key;
    Py_ssize_t n;
    unsigned long long threshold;
    if (!PyArg_ParseTuple(t, "OOnKO", &kind, &dst, &n, &threshold, &key))
        return -1;
    if (n < 0 || threshold > (unsigned long long)UINT32_MAX + 1)
        return wrong(p, "random: expected n >= 0 and a threshold of at most 2**32");
    x->u.random.n = n;
    x->u.random.threshold = threshold;
    if (add_ref(p, dst, "the target", 0, n, 0, 1) < 0)
        return -1;
    return add_ref(p, key, "the key", 0, 24, 8, 0);
}

static int make_labels(Plan *p, Instruction *x, PyObject *t)
{
    PyObject *kind, *ref;
    int type;
    Py_ssize_t n;
    long long classes;
    if (!PyArg_ParseTuple(t, "OiOnL", &kind, &type, &ref, &n, &classes))
        return -1;
    if (!PyTypeNum_ISINTEGER(type))
        return wrong(p, "labels: type number %d is no integer type", type);
    if (n < 0 || classes < 0)
        return wrong(p, "labels: a size is negative");
    if (p->guards != p->instructions_made)
        return wrong(p, "labels: guards come before all other instructions");
    PyArray_Descr *descr = PyArray_DescrFromType(type);
    ptrdiff_t item = PyDataType_ELSIZE(descr), bytes;
    Py_DECREF(descr);
    if (!fits(n, item, &bytes))
        return wrong(p, "labels: too many");
    x->u.labels.n = n;
    x->u.labels.classes = classes;
    x->u.labels.item = (int)item;
    x->u.labels.is_signed = PyTypeNum_ISSIGNED(type);
    p->guards++;
    return add_ref(p, ref, "labels", 0, bytes, item, 0);
}

/* The codes of a lookup: (type, ref, count, step in bytes). */
static int add_codes(Plan *p, Lookup *q, int type, PyObject *ref)
{
    ptrdiff_t reach = 0;
    if (!PyTypeNum_ISINTEGER(type) && type != NPY_FLOAT && type != NPY_DOUBLE)
        return wrong(p, "codes: type number %d is no integer type, float32 or float64", type);
    PyArray_Descr *descr = PyArray_DescrFromType(type);
    ptrdiff_t item = PyDataType_ELSIZE(descr);
    Py_DECREF(descr);
    q->kind = type == NPY_FLOAT    ? CODE_FLOAT
              : type == NPY_DOUBLE ? CODE_DOUBLE
                                   : (int)item * 2 + PyTypeNum_ISSIGNED(type);
    if (q->count < 0 || q->count > INT32_MAX || q->step < 0 || q->step % item)
        return wrong(p, "codes: %zd of them at a step of %zd bytes", q->count, q->step);
    if (!fits(q->count ? q->count - 1 : 0, q->step, &reach) || reach > MOST_BYTES)
        return wrong(p, "codes: too many");
    return add_ref(p, ref, "codes", 0, q->count ? reach + item : 0, item, 0);
}

static int make_codes(Plan *p, Instruction *x, PyObject *t)
{
    PyObject *kind, *ref;
    int type;
    Lookup *q = &x->u.lookup;
    if (!PyArg_ParseTuple(t, "OiOnnn", &kind, &type, &ref, &q->count, &q->step, &q->rows))
        return -1;
    if (q->rows < 0)
        return wrong(p, "codes: a size is negative");
    if (p->guards != p->instructions_made)
        return wrong(p, "codes: guards come before all other instructions");
    p->guards++;
    return add_codes(p, q, type, ref);
}

/* Both ways: out of the table, or with `back` into it. */
static int make_lookup(Plan *p, Instruction *x, PyObject *t, int back)
{
    PyObject *kind, *out, *from, *codes;
    int type, codes_type;
    Lookup *q = &x->u.lookup;
    if (!PyArg_ParseTuple(t, "OinnnOOiOnnn", &kind, &type, &q->rows, &q->columns, &q->lead, &out,
                          &from, &codes_type, &codes, &q->count, &q->step, &q->padding))
        return -1;
    if (type != NPY_FLOAT && type != NPY_DOUBLE)
        return wrong(p, "rows: type number %d is neither float32 nor float64", type);
    q->single = type == NPY_FLOAT;
    if (q->rows < 0 || q->rows > INT32_MAX || q->columns < 0 || q->count < 0)
        return wrong(p, "rows: a size is negative or too large");
    ptrdiff_t item = q->single ? 4 : 8;
    ptrdiff_t table = reach_of(q->rows, q->columns, q->columns ? q->columns : 1, item);
    ptrdiff_t rows = reach_of(q->count, q->columns, q->lead, item);
    if (table < 0 || rows < 0 || table > MOST_BYTES || rows > MOST_BYTES)
        return wrong(p, "rows: a row is longer than the step from row to row");
    if (add_ref(p, out, "the target", 0, back ? table : rows, item, 1) < 0 ||
        add_ref(p, from, "the source", 0, back ? rows : table, item, 0) < 0 ||
        add_codes(p, q, codes_type, codes) < 0)
        return -1;
    if (back && scatter_scratch(q) > p->scratch)
        p->scratch = scatter_scratch(q);
    return 0;
}

static int make_gather(Plan *p, Instruction *x, PyObject *t) { return make_lookup(p, x, t, 0); }

static int make_scatter(Plan *p, Instruction *x, PyObject *t) { return make_lookup(p, x, t, 1); }

static int make_view(Plan *p, PyObject *o, View *v)
{
    PyObject *ref, *shape, *strides;
    int type;
    ptrdiff_t low, high;
    if (!PyTuple_Check(o) ||
        !PyArg_ParseTuple(o, "OiOOp", &ref, &type, &shape, &strides, &v->writable)) {
        PyErr_Clear();
        return wrong(p, "python: expected (ref, typenum, shape, strides, writable), got %R", o);
    }
    if (!(v->descr = plain_type(p, type)) || (v->nd = numbers(p, shape, 1, &v->shape)) < 0)
        return -1;
    if (numbers(p, strides, 0, &v->strides) != v->nd)
        return PyErr_Occurred() ? -1 : wrong(p, "python: expected %d strides", v->nd);
    ptrdiff_t item = PyDataType_ELSIZE(v->descr);
    if (span(p, v->nd, v->shape, v->strides, item, &low, &high) < 0)
        return -1;
    return add_ref(p, ref, "an array", low, high, 0, v->writable);
}

static int make_call(Plan *p, Instruction *x, PyObject *t)
{
    PyObject *kind, *callable, *list;
    if (!PyArg_ParseTuple(t, "OOO!", &kind, &callable, &PyList_Type, &list))
        return -1;
    if (!PyCallable_Check(callable))
        return wrong(p, "python: %R cannot be called", callable);
    KEEP(callable);
    x->u.call.callable = callable;
    x->u.call.views = PyMem_Calloc((size_t)x->count + 1, sizeof(View));
    if (!x->u.call.views) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = 0; i < x->count; i++)
        if (make_view(p, PyList_GetItem(list, i), &x->u.call.views[i]) < 0)
            return -1;
    return 0;
}

static const struct {
    const char *name;
    int kind, operands;   /* -operands: the length of the list that stands there */
    int (*make)(Plan *, Instruction *, PyObject *);
} KINDS[] = {
    {"kernel", KERNEL, -4, make_kernel},  {"product", PRODUCT, 3, make_product},
    {"copy", COPY, 2, make_copy},         {"random", RANDOM, 2, make_random},
    {"labels", LABELS_GUARD, 1, make_labels}, {"codes", CODES_GUARD, 1, make_codes},
    {"gather", GATHER, 3, make_gather},   {"scatter", SCATTER, 3, make_scatter},
    {"python", CALL, -2, make_call},
};
enum { KIND_COUNT = sizeof KINDS / sizeof *KINDS };

/* The row of KINDS for an instruction, and how many operands it has; -1 if it is none. */
static int kind_of(const Plan *p, PyObject *t, int *operands)
{
    PyObject *name = PyTuple_Check(t) && PyTuple_Size(t) > 0 ? PyTuple_GetItem(t, 0) : NULL;
    for (int i = 0; name && PyUnicode_Check(name) && i < KIND_COUNT; i++) {
        if (PyUnicode_CompareWithASCIIString(name, KINDS[i].name))
            continue;
        *operands = KINDS[i].operands;
        if (*operands < 0) {
            PyObject *list = PyTuple_Size(t) > -*operands ? PyTuple_GetItem(t, -*operands) : NULL;
            if (!list || !PyList_Check(list))
                return wrong(p, "%s: item %d is no list", KINDS[i].name, -*operands);
            if (PyList_Size(list) > INT32_MAX)
                return wrong(p, "%s: too many operands", KINDS[i].name);
            *operands = (int)PyList_Size(list);
        }
        return i;
    }
    return wrong(p, "no such instruction: %R", t);
}

static void *zeros(Py_ssize_t n, size_t size)
{
    void *v = PyMem_Calloc((size_t)(n ? n : 1), size);
    if (!v)
        PyErr_NoMemory();
    return v;
}

static int plan_fill(Plan *p, PyObject *arguments, PyObject *fixed, PyObject *results,
                     PyObject *instructions)
{
    Py_ssize_t n;
    if (!(p->argument = zeros(PyList_Size(arguments), sizeof(Declared))) ||
        !(p->result = zeros(PyList_Size(results), sizeof(Declared))) ||
        !(p->array = zeros(PyList_Size(fixed), sizeof(PyArrayObject *))))
        return -1;
    for (n = PyList_Size(arguments); p->arguments < n; p->arguments++)
        if (declare(p, PyList_GetItem(arguments, p->arguments), &p->argument[p->arguments], 1) < 0)
            return -1;
    for (n = PyList_Size(fixed); p->fixed < n; p->fixed++) {
        PyObject *a = PyList_GetItem(fixed, p->fixed);
        if (!PyArray_Check(a))
            return wrong(p, "fixed: expected arrays, got %R", a);
        KEEP(a);
        p->array[p->fixed] = (PyArrayObject *)a;
    }
    for (n = PyList_Size(results); p->results < n; p->results++)
        if (declare(p, PyList_GetItem(results, p->results), &p->result[p->results], 0) < 0)
            return -1;

    n = PyList_Size(instructions);
    p->instructions = n;
    for (; p->instructions_made < n; p->instructions_made++) {
        int operands;
        if (kind_of(p, PyList_GetItem(instructions, p->instructions_made), &operands) < 0)
            return -1;
        p->entries += operands;
    }
    p->instructions_made = 0;
    if (!(p->entry = zeros(p->entries, sizeof(Entry))) ||
        !(p->instruction = zeros(n, sizeof(Instruction))))
        return -1;
    for (; p->instructions_made < n; p->instructions_made++) {
        PyObject *t = PyList_GetItem(instructions, p->instructions_made);
        Instruction *x = &p->instruction[p->instructions_made];
        int kind = kind_of(p, t, &x->count);
        if (kind < 0)
            return -1;
        x->kind = KINDS[kind].kind;
        x->first = p->entries_made;
        if (KINDS[kind].make(p, x, t) < 0) {
            if (PyErr_ExceptionMatches(PyExc_TypeError) ||
                PyErr_ExceptionMatches(PyExc_OverflowError)) {
                PyErr_Clear();
                wrong(p, "its items are not as they should be: %R", t);
            }
            return -1;
        }
    }
    return 0;
}

static PyObject *plan_new(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    static char *names[] = {"name",    "arguments",    "fixed",   "workspace",
                            "results", "instructions", "release", NULL};
    PyObject *name, *arguments, *fixed, *results, *instructions;
    Py_ssize_t workspace;
    int release = 0;
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "UO!O!nO!O!|p", names, &name, &PyList_Type,
                                     &arguments, &PyList_Type, &fixed, &workspace, &PyList_Type,
                                     &results, &PyList_Type, &instructions, &release))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Plan *p = (Plan *)alloc(type, 0);
    if (!p)
        return NULL;
    KEEP(name);
    p->name = name;
    p->vectorcall = plan_call;
    p->release = release;
    p->workspace = workspace;
    if (workspace < 0 || workspace > MOST_BYTES)
        wrong(p, "workspace: %zd bytes", workspace);
    else if (plan_fill(p, arguments, fixed, results, instructions) == 0)
        return (PyObject *)p;
    Py_DECREF(p);
    return NULL;
}

static int plan_traverse(PyObject *self, visitproc visit, void *arg)
{
    Plan *p = (Plan *)self;
    Py_VISIT(Py_TYPE(self));
    if (p->array)
        for (Py_ssize_t i = 0; i < p->fixed; i++)
            Py_VISIT(p->array[i]);
    if (p->instruction)
        for (Py_ssize_t i = 0; i < p->instructions; i++)
            if (p->instruction[i].kind == CALL)
                Py_VISIT(p->instruction[i].u.call.callable);
    return 0;
}

/* Fixed arrays are never part of a cycle that only they can break: callables are let go. */
static int plan_clear(PyObject *self)
{
    Plan *p = (Plan *)self;
    p->cleared = 1;
    if (p->instruction)
        for (Py_ssize_t i = 0; i < p->instructions; i++)
            if (p->instruction[i].kind == CALL)
                Py_CLEAR(p->instruction[i].u.call.callable);
    return 0;
}

static void declared_free(Declared *d, Py_ssize_t n)
{
    for (Py_ssize_t i = 0; d && i < n; i++) {
        DROP(d[i].descr);
        PyMem_Free(d[i].shape);
    }
    PyMem_Free(d);
}

static void plan_dealloc(PyObject *self)
{
    Plan *p = (Plan *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    plan_clear(self);
    if (p->instruction)
        for (Py_ssize_t i = 0; i < p->instructions; i++) {
            Instruction *x = &p->instruction[i];
            if (x->kind == KERNEL)
                PyMem_Free(x->u.kernel.steps);
            if (x->kind == COPY)
                PyMem_Free(x->u.copy);
            if (x->kind == CALL && x->u.call.views) {
                for (int j = 0; j < x->count; j++) {
                    DROP(x->u.call.views[j].descr);
                    PyMem_Free(x->u.call.views[j].shape);
                    PyMem_Free(x->u.call.views[j].strides);
                }
                PyMem_Free(x->u.call.views);
            }
        }
    PyMem_Free(p->instruction);
    PyMem_Free(p->entry);
    declared_free(p->argument, p->arguments);
    declared_free(p->result, p->results);
    if (p->array)
        for (Py_ssize_t i = 0; i < p->fixed; i++)
            DROP(p->array[i]);
    PyMem_Free(p->array);
    while (p->free) {
        Frame *f = p->free;
        p->free = f->next;
        free(f->allocation);
    }
    DROP(p->name);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *plan_repr(PyObject *self)
{
    Plan *p = (Plan *)self;
    return PyUnicode_FromFormat("<plan %U: %zd instructions, %zd arguments, %zd results>", p->name,
                                p->instructions, p->arguments, p->results);
}

static PyMemberDef plan_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Plan, vectorcall), READONLY, NULL},
    {"name", T_OBJECT, offsetof(Plan, name), READONLY, "What errors call it."},
    {"frames", T_PYSSIZET, offsetof(Plan, frames), READONLY,
     "How many workspaces were made: the most runs that there were at once."},
    {"workspace", T_PYSSIZET, offsetof(Plan, workspace), READONLY, "Bytes of a workspace."},
    {"scratch", T_PYSSIZET, offsetof(Plan, scratch), READONLY, "Bytes for a kernel's own use."},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot plan_slots[] = {
    {Py_tp_doc,
     "Plan(name, arguments, fixed, workspace, results, instructions, release=False)\n--\n\n"
     "Instructions over memory, checked once and run by a call with the arguments."},
    {Py_tp_new, plan_new},
    {Py_tp_call, plan_tuple_call},
    {Py_tp_dealloc, plan_dealloc},
    {Py_tp_traverse, plan_traverse},
    {Py_tp_clear, plan_clear},
    {Py_tp_repr, plan_repr},
    {Py_tp_members, plan_members},
    {0, NULL},
};

static PyType_Spec plan_spec = {
    "chainrule.compile._native.Plan", sizeof(Plan), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL, plan_slots};

/* -- product() and set_blas() ----------------------------------------------------------------- */

/* A matrix as the product reads it: rows, or columns (turned), at a step. 0 if neither. */
static int layout(PyArrayObject *a, int *turned, ptrdiff_t *lead)
{
    npy_intp item = PyArray_ITEMSIZE(a), rows = PyArray_DIM(a, 0), columns = PyArray_DIM(a, 1);
    npy_intp down = PyArray_STRIDE(a, 0), along = PyArray_STRIDE(a, 1);
    if (!PyArray_ISALIGNED(a))
        return 0;
    for (*turned = 0; *turned < 2; ++*turned) {
        if (rows <= 1)
            down = (columns ? columns : 1) * item;
        if ((columns <= 1 || along == item) && down >= columns * item && down > 0 &&
            down % item == 0) {
            *lead = down / item;
            return 1;
        }
        npy_intp swap = rows;
        rows = columns, columns = swap;
        swap = PyArray_STRIDE(a, *turned);
        down = PyArray_STRIDE(a, 1 - *turned), along = swap;
    }
    return 0;
}

static int apart(PyArrayObject *c, PyArrayObject *a)
{
    char *low[2], *high[2];
    PyArrayObject *both[2] = {c, a};
    for (int i = 0; i < 2; i++) {
        low[i] = PyArray_BYTES(both[i]);
        high[i] = low[i] + PyArray_ITEMSIZE(both[i]);
        for (int d = 0; d < 2; d++) {
            npy_intp size = PyArray_DIM(both[i], d), stride = PyArray_STRIDE(both[i], d);
            if (size == 0)
                return 1;
            *(stride < 0 ? &low[i] : &high[i]) += (size - 1) * stride;
        }
    }
    return high[0] <= low[1] || high[1] <= low[0];
}

static PyObject *product(PyObject *module, PyObject *args, PyObject *keywords)
{
    (void)module;
    static char *names[] = {"a", "b", "out", NULL};
    PyObject *given[3] = {NULL, NULL, Py_None};
    if (!PyArg_ParseTupleAndKeywords(args, keywords, "O!O!|O", names, &PyArray_Type, &given[0],
                                     &PyArray_Type, &given[1], &given[2]))
        return NULL;
    PyArrayObject *a = (PyArrayObject *)given[0], *b = (PyArrayObject *)given[1];
    PyArray_Descr *type = PyArray_DESCR(a);
    if ((type->type_num != NPY_FLOAT && type->type_num != NPY_DOUBLE) ||
        !PyArray_ISNBO(type->byteorder) || !same_type(PyArray_DESCR(b), type)) {
        PyErr_Format(PyExc_TypeError,
                     "product: expected float32 or float64 on both sides, got %R and %R",
                     (PyObject *)type, (PyObject *)PyArray_DESCR(b));
        return NULL;
    }
    if (PyArray_NDIM(a) != 2 || PyArray_NDIM(b) != 2 || PyArray_DIM(a, 1) != PyArray_DIM(b, 0)) {
        PyErr_SetString(PyExc_ValueError, "product: expected shapes (m, k) and (k, n)");
        return NULL;
    }
    Product q = {.single = type->type_num == NPY_FLOAT, .m = PyArray_DIM(a, 0),
                 .n = PyArray_DIM(b, 1), .k = PyArray_DIM(a, 1)};
    npy_intp shape[2] = {q.m, q.n};
    PyArrayObject *out = NULL, *c = NULL;
    void *scratch = NULL;
    int c_turned = 0;
    if (given[2] != Py_None) {
        out = (PyArrayObject *)given[2];
        if (!PyArray_Check(given[2]) || !same_type(PyArray_DESCR(out), type) ||
            PyArray_NDIM(out) != 2 || PyArray_DIM(out, 0) != q.m || PyArray_DIM(out, 1) != q.n ||
            !PyArray_ISWRITEABLE(out)) {
            PyErr_Format(PyExc_ValueError, "product: expected out of shape (%zd, %zd) and type %R",
                         q.m, q.n, (PyObject *)type);
            return NULL;
        }
    }
    KEEP(a);
    KEEP(b);
    PyObject *answer = NULL, *copy;
    if (!layout(a, &q.ta, &q.lda)) {
        if (!(copy = PyArray_NewCopy(a, NPY_CORDER)))
            goto done;
        Py_DECREF(a);
        a = (PyArrayObject *)copy;
        layout(a, &q.ta, &q.lda);
    }
    if (!layout(b, &q.tb, &q.ldb)) {
        if (!(copy = PyArray_NewCopy(b, NPY_CORDER)))
            goto done;
        Py_DECREF(b);
        b = (PyArrayObject *)copy;
        layout(b, &q.tb, &q.ldb);
    }
    if (out && apart(out, a) && apart(out, b) && layout(out, &c_turned, &q.ldc) && !c_turned) {
        c = out;
        KEEP(c);
    } else {
        KEEP(type);
        c = (PyArrayObject *)PyArray_NewFromDescr(&PyArray_Type, type, 2, shape, NULL, NULL, 0,
                                                  NULL);
        if (!c)
            goto done;
        q.ldc = q.n ? q.n : 1;
    }
    void *operand[3] = {PyArray_DATA(a), PyArray_DATA(b), PyArray_DATA(c)};
    ptrdiff_t bytes = product_scratch(&q);
    if (bytes && !(scratch = malloc((size_t)bytes + 64))) {
        PyErr_NoMemory();
        goto done;
    }
    int ran, long_one = (double)q.m * (double)q.n * (double)q.k > 1e6;
    PyThreadState *saved = long_one ? PyEval_SaveThread() : NULL;
    ran = product_run(&q, operand[0], operand[1], operand[2], (void *)rounded((size_t)scratch));
    if (saved)
        PyEval_RestoreThread(saved);
    if (!ran && call_matmul(&q, operand) < 0)
        goto done;
    if (out && c != out && PyArray_CopyInto(out, c) < 0)
        goto done;
    answer = out ? (PyObject *)out : (PyObject *)c;
    KEEP(answer);
done:
    free(scratch);
    DROP(a);
    DROP(b);
    DROP(c);
    return answer;
}

static PyObject *set_blas(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *s, *d, *t;
    int bits;
    if (!PyArg_ParseTuple(args, "OOiO", &s, &d, &bits, &t))
        return NULL;
    void *sgemm = PyLong_AsVoidPtr(s), *dgemm = PyLong_AsVoidPtr(d);
    void *threads = PyLong_AsVoidPtr(t);
    if (PyErr_Occurred())
        return NULL;
    if ((bits != 32 && bits != 64) || !sgemm != !dgemm) {
        PyErr_SetString(PyExc_ValueError,
                        "set_blas: expected two addresses (or 0, 0) and 32 or 64 bits");
        return NULL;
    }
    blas.sgemm = sgemm, blas.dgemm = dgemm, blas.bits = bits;
    threads_wanted = (int (*)(void))threads;
    Py_RETURN_NONE;
}

static PyObject *sort_array(PyObject *module, PyObject *args)
{
    (void)module;
    PyArrayObject *a;
    int low;
    if (!PyArg_ParseTuple(args, "O!i", &PyArray_Type, &a, &low))
        return NULL;
    if (PyArray_DESCR(a)->type_num != NPY_UINT64 || !PyArray_ISNBO(PyArray_DESCR(a)->byteorder) ||
        PyArray_NDIM(a) != 1 || !PyArray_ISCARRAY(a) || low < 0 || low > 63) {
        PyErr_SetString(PyExc_ValueError,
                        "sort_words: expected a row of uint64 without gaps, and a bit from 0 to 63");
        return NULL;
    }
    size_t bytes = (size_t)PyArray_NBYTES(a);
    void *spare = malloc(bytes ? bytes : 1);
    if (!spare)
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS;
    sort_words(PyArray_DATA(a), spare, PyArray_DIM(a, 0), low);
    Py_END_ALLOW_THREADS;
    free(spare);
    Py_RETURN_NONE;
}

static PyObject *largest(PyObject *module, PyObject *object)
{
    (void)module;
    PyArrayObject *a = (PyArrayObject *)object;
    if (!PyArray_Check(object) || !PyArray_ISSIGNED(a) || PyArray_ITEMSIZE(a) != 8 ||
        !PyArray_ISNBO(PyArray_DESCR(a)->byteorder) || PyArray_SIZE(a) == 0) {
        PyErr_SetString(PyExc_ValueError, "largest: expected entries of int64");
        return NULL;
    }
    a = PyArray_GETCONTIGUOUS(a);
    if (!a)
        return NULL;
    const uint64_t *words = PyArray_DATA(a);
    uint64_t found = 0;
    for (npy_intp i = 0, n = PyArray_SIZE(a); i < n; i++)
        found = words[i] > found ? words[i] : found;
    DROP(a);
    return PyLong_FromUnsignedLongLong(found);
}

static PyMethodDef methods[] = {
    {"largest", largest, METH_O,
     "largest(words)\n--\n\nThe largest entry of int64 numbers read as unsigned."},
    {"sort_words", sort_array, METH_VARARGS,
     "sort_words(words, low)\n--\n\nSort a row of uint64 in place, by the bits from `low` on; those "
     "below must increase already."},
    {"product", (PyCFunction)(void (*)(void))product, METH_VARARGS | METH_KEYWORDS,
     "product(a, b, out=None)\n--\n\nThe matrix product, by the code that a plan's product runs."},
    {"set_blas", set_blas, METH_VARARGS,
     "set_blas(sgemm, dgemm, bits, threads)\n--\n\nAddresses of cblas_sgemm and cblas_dgemm, the "
     "width of their integers, and the address of a function that tells how many threads may run; "
     "(0, 0, 32, 0) takes them back."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "Plans run by one call.", -1, methods, NULL, NULL, NULL,
    NULL};

PyMODINIT_FUNC PyInit__native(void)
{
    import_array();
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
    plan_type = (PyTypeObject *)PyType_FromSpec(&plan_spec);
    if (!plan_type || PyModule_AddObject(module, "Plan", (PyObject *)plan_type) < 0) {
        DROP(plan_type);
        Py_DECREF(module);
        return NULL;
    }
    KEEP(plan_type);
    return module;
}
