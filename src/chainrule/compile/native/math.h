/* chainrule's mathematics in C99: what every generated kernel begins with.

   A function whose name ends in f takes and gives float, the others double. Up to erf and the float
   pow they do not branch, so that a loop over them becomes vector instructions, and all round in
   the same places at every vector width. Compile with -ffp-contract=off and never with -ffast-math:
   NaN, infinities, signed zeros and subnormal numbers keep their meaning.

   The polynomials are minimax fits of our own: Remez exchange in 80-digit arithmetic, each
   coefficient rounded to the working precision before the next ones were fitted. "Fit" below is the
   largest error of the polynomial, relative to the function's value. The bounds in ulp, units in
   the last place of the result, come from `chainrule check --exhaustive`: over all numbers for
   float, over samples for double. */

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(_WIN32)
#define CR_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define CR_EXPORT __attribute__((visibility("default")))
#else
#define CR_EXPORT
#endif

/* A loop of independent steps, for use inside a macro. */
#define CR_PRAGMA(text) _Pragma(#text)
#define CR_SIMD(clauses) CR_PRAGMA(omp simd clauses)

/* Large bodies are inlined too, because a call would keep the loop around it from vectorizing. */
#if defined(__GNUC__)
#define CR_INLINE static inline __attribute__((always_inline))
#else
#define CR_INLINE static inline
#endif

/* a b + c: in one rounding where the processor has the instruction, in two elsewhere. */
#if defined(__FMA__) || defined(__aarch64__) || defined(_M_ARM64)
#define CR_FMAF(a, b, c) fmaf(a, b, c)
#define CR_FMA(a, b, c) fma(a, b, c)
#else
#define CR_FMAF(a, b, c) ((a) * (b) + (c))
#define CR_FMA(a, b, c) ((a) * (b) + (c))
#endif

/* ---- bits --------------------------------------------------------------------------------- */

CR_INLINE uint32_t cr_bitsf(float x) { uint32_t i; memcpy(&i, &x, sizeof i); return i; }
CR_INLINE uint64_t cr_bits(double x) { uint64_t i; memcpy(&i, &x, sizeof i); return i; }
CR_INLINE float cr_of_bitsf(uint32_t i) { float x; memcpy(&x, &i, sizeof x); return x; }
CR_INLINE double cr_of_bits(uint64_t i) { double x; memcpy(&x, &i, sizeof x); return x; }

/* Adding 1.5 * 2^23 (2^52) rounds to a whole number, which then stands in the lowest bits. */
#define CR_ROUNDF 12582912.0f
#define CR_ROUND 6755399441055744.0

/* 2^n for a whole number n from -126 (-1022) to 127 (1023): n + bias, shifted into place. */
CR_INLINE float cr_exp2f(float n) { return cr_of_bitsf(cr_bitsf(n + (CR_ROUNDF + 127.0f)) << 23); }
CR_INLINE double cr_exp2(double n) { return cr_of_bits(cr_bits(n + (CR_ROUND + 1023.0)) << 52); }

/* ---- exponentials ------------------------------------------------------------------------- */

/* x = n ln 2 + r with |r| <= ln 2 / 2. ln 2 comes in two parts; n times the first is exact. */
typedef struct { float n, r; } cr_reducedf;
typedef struct { double n, r; } cr_reduced;

CR_INLINE cr_reducedf cr_reducef(float x) {
  float n = CR_FMAF(x, 1.442695f, CR_ROUNDF) - CR_ROUNDF;
  float r = CR_FMAF(n, -0.693115234375f, x);
  cr_reducedf y = {n, CR_FMAF(n, -3.1946183e-5f, r)};
  return y;
}

CR_INLINE cr_reduced cr_reduce(double x) {
  double n = CR_FMA(x, 1.4426950408889634, CR_ROUND) - CR_ROUND;
  double r = CR_FMA(n, -0.6931471803691238, x);
  cr_reduced y = {n, CR_FMA(n, -1.9082149292705877e-10, r)};
  return y;
}

/* e^r - 1 = r + r^2 P(r) for |r| <= ln 2 / 2. Fit: 1.4e-8; of 1 + that: 3e-9. */
CR_INLINE float cr_expm1_nearf(float r) {
  float p = 1.3870704e-3f;
  p = CR_FMAF(p, r, 8.366272e-3f); p = CR_FMAF(p, r, 4.1667435e-2f);
  p = CR_FMAF(p, r, 1.6666546e-1f); p = CR_FMAF(p, r, 4.9999997e-1f);
  return CR_FMAF(r * r, p, r);
}

/* The same in double. Fit: 1.9e-17. */
CR_INLINE double cr_expm1_near(double r) {
  double p = 2.506377021106229e-08;
  p = CR_FMA(p, r, 2.7626048330330367e-07); p = CR_FMA(p, r, 2.755737196508524e-06);
  p = CR_FMA(p, r, 2.480150522482764e-05); p = CR_FMA(p, r, 1.9841269765177603e-04);
  p = CR_FMA(p, r, 1.3888888931682937e-03); p = CR_FMA(p, r, 8.333333333363828e-03);
  p = CR_FMA(p, r, 4.1666666666575584e-02); p = CR_FMA(p, r, 0.1666666666666664);
  p = CR_FMA(p, r, 0.5000000000000006);
  return CR_FMA(r * r, p, r);
}

/* e^x = 2^n e^r, scaled in two steps: the largest results stay finite, subnormal ones are right.
   1.1 ulp. */
CR_INLINE float cr_expf(float x) {
  x = x > 89.0f ? 89.0f : x;
  x = x < -104.0f ? -104.0f : x;
  cr_reducedf a = cr_reducef(x);
  float half = CR_FMAF(a.n, 0.5f, CR_ROUNDF) - CR_ROUNDF;
  return (1.0f + cr_expm1_nearf(a.r)) * cr_exp2f(half) * cr_exp2f(a.n - half);
}

CR_INLINE double cr_exp(double x) {
  x = x > 710.0 ? 710.0 : x;
  x = x < -746.0 ? -746.0 : x;
  cr_reduced a = cr_reduce(x);
  double half = CR_FMA(a.n, 0.5, CR_ROUND) - CR_ROUND;
  return (1.0 + cr_expm1_near(a.r)) * cr_exp2(half) * cr_exp2(a.n - half);
}

/* e^x - 1 = 2 (2^(n-1) (e^r - 1) + 2^(n-1) - 1/2); x itself where it is tiny, which keeps -0.
   2 ulp, double 3. */
CR_INLINE float cr_expm1f(float x) {
  float t = x > 89.0f ? 89.0f : x;
  t = t < -20.0f ? -20.0f : t;
  cr_reducedf a = cr_reducef(t);
  float s = cr_exp2f(a.n - 1.0f);
  float y = 2.0f * CR_FMAF(cr_expm1_nearf(a.r), s, s - 0.5f);
  return fabsf(x) < 1e-9f ? x : y;
}

CR_INLINE double cr_expm1(double x) {
  double t = x > 710.0 ? 710.0 : x;
  t = t < -40.0 ? -40.0 : t;
  cr_reduced a = cr_reduce(t);
  double s = cr_exp2(a.n - 1.0);
  double y = 2.0 * CR_FMA(cr_expm1_near(a.r), s, s - 0.5);
  return fabs(x) < 1e-18 ? x : y;
}

/* 1 / (1 + e^-x) = e / (1 + e) below zero, 1 / (1 + e) above, with e = e^-|x| never above 1;
   the first as e - e e / (1 + e), which rounds less. 2 ulp. */
CR_INLINE float cr_sigmoidf(float x) {
  float e = cr_expf(-fabsf(x)), y = 1.0f / (1.0f + e);
  return x >= 0.0f ? y : CR_FMAF(-e, e * y, e);
}

CR_INLINE double cr_sigmoid(double x) {
  double e = cr_exp(-fabs(x)), y = 1.0 / (1.0 + e);
  return x >= 0.0 ? y : CR_FMA(-e, e * y, e);
}

/* Up to 0.625 x + x^3 P(x^2), fit 4.5e-9; above, 1 - 2 / (e^2|x| + 1). 1.2 ulp. */
CR_INLINE float cr_tanhf(float x) {
  float a = fabsf(x), z = x * x, p = -5.692296e-3f;
  p = CR_FMAF(p, z, 2.0628167e-2f); p = CR_FMAF(p, z, -5.3736515e-2f);
  p = CR_FMAF(p, z, 1.3331406e-1f); p = CR_FMAF(p, z, -3.333328e-1f);
  cr_reducedf e = cr_reducef(a > 10.0f ? 20.0f : 2.0f * a);
  float s = cr_exp2f(e.n);
  float large = 1.0f - 2.0f / CR_FMAF(cr_expm1_nearf(e.r), s, s + 1.0f);
  return copysignf(a < 0.625f ? CR_FMAF(a * z, p, a) : large, x);
}

/* t / (t + 2) with t = e^2|x| - 1; for small t as t/2 - t/2 t / (t + 2), which rounds less.
   3 ulp. */
CR_INLINE double cr_tanh(double x) {
  double t = 2.0 * fabs(x);
  t = t > 40.0 ? 40.0 : t;
  cr_reduced a = cr_reduce(t);
  double s = cr_exp2(a.n);
  t = CR_FMA(cr_expm1_near(a.r), s, s - 1.0);
  double y = t / (t + 2.0), h = 0.5 * t;
  return copysign(t < 1.0 ? CR_FMA(-h, y, h) : y, x);
}

/* ---- logarithms --------------------------------------------------------------------------- */

/* ln(2^k (1 + f)) = k ln 2 + f - f^2/2 + f^3 Q(f) for 1 + f in [sqrt 1/2, sqrt 2). Fit: 1.1e-9. */
CR_INLINE float cr_log_nearf(float k, float f) {
  float z = f * f, q = 6.556091e-2f;
  q = CR_FMAF(q, f, -1.15438655e-1f); q = CR_FMAF(q, f, 1.1899468e-1f);
  q = CR_FMAF(q, f, -1.24260746e-1f); q = CR_FMAF(q, f, 1.4220853e-1f);
  q = CR_FMAF(q, f, -1.6667144e-1f); q = CR_FMAF(q, f, 2.000203e-1f);
  q = CR_FMAF(q, f, -2.5000015e-1f); q = CR_FMAF(q, f, 3.3333313e-1f);
  q = CR_FMAF(k, 3.1946183e-5f, q * f * z);
  q = CR_FMAF(-0.5f, z, q);
  return CR_FMAF(k, 0.693115234375f, f + q);
}

/* The same by ln(1 + f) = f - h + s (h + R(s^2)), s = f / (2 + f), h = f^2/2. Fit: 1.3e-18. */
CR_INLINE double cr_log_near(double k, double f) {
  double s = f / (2.0 + f), h = 0.5 * f * f, z = s * s, r = 0.14795595413027976;
  r = CR_FMA(r, z, 0.1531408831844138); r = CR_FMA(r, z, 0.18183562729435573);
  r = CR_FMA(r, z, 0.22222198607087493); r = CR_FMA(r, z, 0.28571428742012006);
  r = CR_FMA(r, z, 0.3999999999941669); r = CR_FMA(r, z, 0.6666666666666734);
  r = CR_FMA(k, 1.9082149292705877e-10, s * CR_FMA(r, z, h));
  return CR_FMA(k, 0.6931471803691238, f - (h - r));
}

/* x = 2^k m with m in [sqrt 1/2, sqrt 2), for a normal number x. */
typedef struct { float k, m; } cr_scaledf;
typedef struct { double k, m; } cr_scaled;

CR_INLINE cr_scaledf cr_splitf(float x) {
  uint32_t i = cr_bitsf(x) + (0x3f800000u - 0x3f3504f3u);
  cr_scaledf y = {(float)((int32_t)(i >> 23) - 127), cr_of_bitsf((i & 0x007fffffu) + 0x3f3504f3u)};
  return y;
}

CR_INLINE cr_scaled cr_split(double x) {
  uint64_t i = cr_bits(x) + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
  /* an integer below 2^52 becomes a double by standing in the low bits of 2^52 */
  cr_scaled y = {cr_of_bits((i >> 52) | 0x4330000000000000u) - (4503599627370496.0 + 1023.0),
                 cr_of_bits((i & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu)};
  return y;
}

/* ln x; subnormal numbers are scaled up first. 1 ulp. */
CR_INLINE float cr_logf(float x) {
  float small = x < FLT_MIN ? 1.0f : 0.0f;
  cr_scaledf a = cr_splitf(x < FLT_MIN ? x * 8388608.0f : x);
  float y = cr_log_nearf(a.k - 23.0f * small, a.m - 1.0f);
  float edge = x == 0.0f ? -INFINITY : NAN;
  y = x < INFINITY ? y : x;
  return x > 0.0f ? y : edge;
}

CR_INLINE double cr_log(double x) {
  double small = x < DBL_MIN ? 1.0 : 0.0;
  cr_scaled a = cr_split(x < DBL_MIN ? x * 4503599627370496.0 : x);
  double y = cr_log_near(a.k - 52.0 * small, a.m - 1.0);
  double edge = x == 0.0 ? -INFINITY : NAN;
  y = x < INFINITY ? y : x;
  return x > 0.0 ? y : edge;
}

/* ln(1 + x): u = 1 + x is split as above, u = 2^k m, and what rounding took from u joins m - 1,
   scaled by m / u = 2^-k (a quotient of powers of two is a difference of bits). 1.5 ulp. */
CR_INLINE float cr_log1pf(float x) {
  float u = 1.0f + x;
  float lost = x < 1.0f ? x - (u - 1.0f) : 1.0f - (u - x);
  cr_scaledf a = cr_splitf(u);
  float scale = cr_of_bitsf(cr_bitsf(a.m) - cr_bitsf(u) + 0x3f800000u);
  float y = cr_log_nearf(a.k, (a.m - 1.0f) + (x < 1e9f ? lost * scale : 0.0f));
  float edge = x == -1.0f ? -INFINITY : NAN;
  y = fabsf(x) < 1e-9f ? x : y;
  y = x < INFINITY ? y : x;
  return x > -1.0f ? y : edge;
}

CR_INLINE double cr_log1p(double x) {
  double u = 1.0 + x;
  double lost = x < 1.0 ? x - (u - 1.0) : 1.0 - (u - x);
  cr_scaled a = cr_split(u);
  double scale = cr_of_bits(cr_bits(a.m) - cr_bits(u) + 0x3ff0000000000000u);
  double y = cr_log_near(a.k, (a.m - 1.0) + (x < 1e18 ? lost * scale : 0.0));
  double edge = x == -1.0 ? -INFINITY : NAN;
  y = fabs(x) < 1e-18 ? x : y;
  y = x < INFINITY ? y : x;
  return x > -1.0 ? y : edge;
}

/* ---- error function ----------------------------------------------------------------------- */

/* Up to 0.9 x + x S(x^2), fit 1e-9; above, 1 - e^q with q(|x|) = ln(1 - erf |x|), fit 1.7e-9.
   1.4 ulp. */
CR_INLINE float cr_erff(float x) {
  float a = fabsf(x), z = x * x;
  a = a > 4.0f ? 4.0f : a;
  float s = 7.9591155e-5f;
  s = CR_FMAF(s, z, -8.04237e-4f); s = CR_FMAF(s, z, 5.1918873e-3f);
  s = CR_FMAF(s, z, -2.685558e-2f); s = CR_FMAF(s, z, 1.1283624e-1f);
  s = CR_FMAF(s, z, -3.761263e-1f); s = CR_FMAF(s, z, 1.2837917e-1f);
  float q = 1.9821021e-4f;
  q = CR_FMAF(q, a, -3.0654005e-3f); q = CR_FMAF(q, a, 2.231486e-2f);
  q = CR_FMAF(q, a, -1.0411295e-1f); q = CR_FMAF(q, a, -6.369769e-1f);
  q = CR_FMAF(q, a, -1.1277968f); q = CR_FMAF(q, a, -1.6655914e-4f);
  cr_reducedf e = cr_reducef(q);
  float large = 1.0f - CR_FMAF(cr_expm1_nearf(e.r), cr_exp2f(e.n), cr_exp2f(e.n));
  return a < 0.9f ? CR_FMAF(x, s, x) : copysignf(large, x);
}

/* Up to 1 x + x S(x^2), fit 1.5e-17; above, 1 - e^(-x^2) C(1 / (|x| + 2)), fit 2.5e-17.
   1.6 ulp. */
CR_INLINE double cr_erf(double x) {
  double a = fabs(x);
  a = a > 6.0 ? 6.0 : a;
  double z = a * a, u = 1.0 / (a + 2.0);
  double s = -7.567103159468948e-10;
  s = CR_FMA(s, z, 1.3595815694919992e-08); s = CR_FMA(s, z, -1.617940760721608e-07);
  s = CR_FMA(s, z, 1.6443588586485387e-06); s = CR_FMA(s, z, -1.4924423483352352e-05);
  s = CR_FMA(s, z, 0.00012055278504755266); s = CR_FMA(s, z, -0.0008548325426193577);
  s = CR_FMA(s, z, 0.00522397759569654); s = CR_FMA(s, z, -0.026866170641858773);
  s = CR_FMA(s, z, 0.1128379167093651); s = CR_FMA(s, z, -0.3761263890318334);
  s = CR_FMA(s, z, 0.12837916709551256);
  double c = 49.40170112830332;
  c = CR_FMA(c, u, -101.34856209713891); c = CR_FMA(c, u, 37.90572940170483);
  c = CR_FMA(c, u, 75.2118297333903); c = CR_FMA(c, u, -93.2748059885489);
  c = CR_FMA(c, u, 39.23790501945749); c = CR_FMA(c, u, -8.697072464896113);
  c = CR_FMA(c, u, 5.022232286289926); c = CR_FMA(c, u, 1.6860465897042203);
  c = CR_FMA(c, u, 1.1531361877941737); c = CR_FMA(c, u, 0.5629301355264154);
  c = CR_FMA(c, u, 2.890330095945334e-05);
  cr_reduced e = cr_reduce(-z);
  double scale = cr_exp2(e.n);
  double large = 1.0 - c * CR_FMA(cr_expm1_near(e.r), scale, scale);
  return a < 1.0 ? CR_FMA(x, s, x) : copysign(large, x);
}

/* ---- powers ------------------------------------------------------------------------------- */

/* a^b = +-e^(b ln |a|), computed in double. A negative a takes whole b only, an odd one keeps its
   sign; a or b may be infinite, and 1^b = a^0 = 1 even for NaN, as in C. 0.51 ulp. */
CR_INLINE float cr_powf(float a, float b) {
  double x = a, size = fabs(x), y = b, c = fabs(y);
  c = c > 1e9 ? 1e9 : c; /* from 2^24 on every float is even */
  double half = 0.5 * c, sign = copysign(1.0, x);
  double broken = size < INFINITY ? NAN : 1.0;
  broken = x < 0.0 ? broken : 1.0;
  sign = (half + CR_ROUND) - CR_ROUND == half ? 1.0 : sign;
  sign = (c + CR_ROUND) - CR_ROUND == c ? sign : broken;
  double t = y * cr_log(size);
  t = size == 1.0 ? 0.0 : t;
  t = y == 0.0 ? 0.0 : t;
  return (float)(sign * cr_exp(t));
}

/* ---- one element at a time: the C library's, which are within 1 ulp, lgamma 4 -------------- */

CR_INLINE float cr_sinf(float x) { return sinf(x); }
CR_INLINE double cr_sin(double x) { return sin(x); }
CR_INLINE float cr_cosf(float x) { return cosf(x); }
CR_INLINE double cr_cos(double x) { return cos(x); }
CR_INLINE double cr_pow(double a, double b) { return pow(a, b); }
CR_INLINE float cr_lgammaf(float x) { return (float)lgamma((double)x); }
CR_INLINE double cr_lgamma(double x) { return lgamma(x); }

/* ---- signs and choices -------------------------------------------------------------------- */

/* -1, 0 or 1; NaN of NaN. */
CR_INLINE float cr_signf(float x) {
  float y = (x > 0.0f ? 1.0f : 0.0f) - (x < 0.0f ? 1.0f : 0.0f);
  return x != x ? x : y;
}
CR_INLINE double cr_sign(double x) {
  double y = (x > 0.0 ? 1.0 : 0.0) - (x < 0.0 ? 1.0 : 0.0);
  return x != x ? x : y;
}

/* The larger and the smaller; NaN if either is. */
CR_INLINE float cr_maximumf(float a, float b) { return a != a ? a : (a >= b ? a : b); }
CR_INLINE double cr_maximum(double a, double b) { return a != a ? a : (a >= b ? a : b); }
CR_INLINE float cr_minimumf(float a, float b) { return a != a ? a : (a <= b ? a : b); }
CR_INLINE double cr_minimum(double a, double b) { return a != a ? a : (a <= b ? a : b); }

/* ---- polygamma ---------------------------------------------------------------------------- */

/* B_2, B_4 ... B_20: the Bernoulli numbers of the series in 1/x. */
static const double cr_bernoulli[10] = {
    1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66,
    -691.0 / 2730, 7.0 / 6, -3617.0 / 510, 43867.0 / 798, -174611.0 / 330};

/* cot(pi x), with its zeros at the half-integers exact. */
static inline double cr_cot_pi(double x) {
  const double pi = 3.141592653589793;
  double r = x - rint(x);
  return fabs(r) < 0.25 ? 1.0 / tan(pi * r) : copysign(tan(pi * (0.5 - fabs(r))), r);
}

/* The derivative of ln Gamma(x): ln x - 1/2x - sum B_2k / (2k x^2k) from 10 on, which smaller x
   reach by psi(x) = psi(x + 1) - 1/x and negative x by psi(x) = psi(1 - x) - pi cot(pi x). */
static inline double cr_digamma(double x) {
  if (x == 0.0) return -1.0 / x;
  if (!(x > 0.0) && x == floor(x)) return NAN;
  double turned = 0.0, steps = 0.0, tail = 0.0;
  if (x < 0.0) {
    turned = 3.141592653589793 * cr_cot_pi(x);
    x = 1.0 - x;
  }
  if (x < 10.0) {
    for (int i = 9; i >= 0; i--) steps += 1.0 / (x + i); /* smallest terms first */
    x += 10.0;
  }
  double r = 1.0 / x;
  for (int k = 10; k >= 1; k--) tail = tail * r * r + cr_bernoulli[k - 1] / (2 * k);
  return (log(x) - r * (0.5 + r * tail)) - steps - turned;
}

/* x^n zeta(n + 1, x) ~ 1/n + 1/2x + sum B_2k / (2k)! (n + 1) ... (n + 2k - 1) / x^2k. */
static inline double cr_zeta_series(double x, int n) {
  double r = 1.0 / x, c[10], g = 0.5, y = 0.0;
  for (int k = 1; k <= 10; k++) { /* g = (n + 1) ... (n + 2k - 1) / (2k)! */
    g *= k == 1 ? n + 1 : (double)(n + 2 * k - 2) * (n + 2 * k - 1) / ((2 * k - 1) * 2.0 * k);
    c[k - 1] = cr_bernoulli[k - 1] * g;
  }
  for (int k = 9; k >= 0; k--) y = (y + c[k]) * (r * r);
  return y + 1.0 / n + 0.5 * r;
}

/* n! zeta(n + 1, x), the size of the n-th derivative of digamma, for x > 0. The powers are taken in
   two halves, so that n! meets them midway. */
static inline double cr_polygamma_above(double x, int n) {
  int shift = 10 + n, small = x < shift; /* the series wants x to grow with the order */
  double factorial = 1.0, sum;
  for (int i = 2; i <= n; i++) factorial *= i;
  if (small) {
    double far = x + shift;
    sum = pow(x / far, n + 1) * far * cr_zeta_series(far, n);
    for (int i = shift - 1; i > 0; i--) sum += pow(x / (x + i), n + 1);
    sum += 1.0;
  } else {
    sum = cr_zeta_series(x, n);
  }
  double half = pow(x, -0.5 * (n + small));
  return factorial * half * sum * half;
}

/* The n-th derivative of digamma, n from 0 to 170. Below zero the reflection is differentiated n
   times: (-1)^n Q_n(c) is the n-th derivative of c = cot u; Q_0 = c, Q_m+1 = (1 + c^2) Q_m'. */
static inline double cr_polygamma(double x, int n) {
  if (n == 0) return cr_digamma(x);
  double sign = n % 2 ? 1.0 : -1.0;
  if (x > 0.0) return sign * cr_polygamma_above(x, n);
  if (x == 0.0) return n % 2 ? fabs(1.0 / x) : -1.0 / x;
  if (!(x < 0.0) || isinf(x)) return NAN;
  if (x == floor(x)) return n % 2 ? INFINITY : NAN;
  const double pi = 3.141592653589793;
  double q[173] = {0.0, 1.0}, c = cr_cot_pi(x), y, power = pi, factorial = 1.0;
  for (int m = 0; m < n; m++) { /* Q_m / m!, lowest power first */
    double before = 0.0, last = 0.0;
    for (int i = 0; i <= m + 2; i++) {
      double slope = i <= m ? (i + 1) * q[i + 1] : 0.0; /* of Q_m, at power i */
      q[i] = (slope + before) / (m + 1);
      before = last;
      last = slope;
    }
    power *= pi;
    factorial *= m + 1;
  }
  y = q[n + 1]; /* not 0 times c, which is infinite beside a pole */
  for (int i = n; i >= 0; i--) y = y * c + q[i];
  return sign * (power * y * factorial) - cr_polygamma_above(1.0 - x, n);
}
static inline float cr_polygammaf(float x, int n) { return (float)cr_polygamma((double)x, n); }

/* ---- reductions along a row --------------------------------------------------------------- */

/* The sum, in a fixed order: 16 double lanes while there are 16 terms, folded to 4 lanes while
   there are 4, folded to one for the rest. */
#define CR_SUM(NAME, TYPE)                                                          \
  static inline double NAME(const TYPE *x, ptrdiff_t n) {                           \
    double s[16] = {0.0};                                                           \
    ptrdiff_t i = 0;                                                                \
    for (; i + 16 <= n; i += 16)                                                    \
      for (int l = 0; l < 16; l++) s[l] += (double)x[i + l];                        \
    for (int l = 0; l < 8; l++) s[l] += s[l + 8];                                   \
    for (int l = 0; l < 4; l++) s[l] += s[l + 4];                                   \
    for (; i + 4 <= n; i += 4)                                                      \
      for (int l = 0; l < 4; l++) s[l] += (double)x[i + l];                         \
    double total = (s[0] + s[2]) + (s[1] + s[3]);                                   \
    for (; i < n; i++) total += (double)x[i];                                       \
    return total;                                                                   \
  }
CR_SUM(cr_sumf, float)
CR_SUM(cr_sum, double)

/* The largest; NaN if any is, -inf of nothing. A NaN wins no comparison, so it is counted. Which
   zero wins would depend on the order, so a zero is looked at again: +0 if there is one. Short rows
   and the ends of long ones are faster in two plain chains. */
#define CR_MAX(NAME, TYPE)                                                          \
  static inline TYPE NAME(const TYPE *x, ptrdiff_t n) {                             \
    TYPE m = -INFINITY, o = -INFINITY, bad = 0;                                     \
    ptrdiff_t whole = n / 16 * 16, i = whole;                                       \
    if (whole > 0) {                                                                \
      CR_SIMD(reduction(max : m) reduction(+ : bad))                                \
      for (ptrdiff_t j = 0; j < whole; j++) {                                       \
        m = x[j] > m ? x[j] : m;                                                    \
        bad += x[j] != x[j] ? (TYPE)1 : (TYPE)0;                                    \
      }                                                                             \
    }                                                                               \
    int nan = bad > 0, plus = 0;                                                    \
    for (; i + 2 <= n; i += 2) {                                                    \
      m = x[i] > m ? x[i] : m;                                                      \
      o = x[i + 1] > o ? x[i + 1] : o;                                              \
      nan |= (x[i] != x[i]) | (x[i + 1] != x[i + 1]);                               \
    }                                                                               \
    if (i < n) {                                                                    \
      m = x[i] > m ? x[i] : m;                                                      \
      nan |= x[i] != x[i];                                                          \
    }                                                                               \
    m = o > m ? o : m;                                                              \
    if (nan) return NAN;                                                            \
    if (m != 0) return m;                                                           \
    for (i = 0; i < n; i++) plus |= 1 / x[i] > 0;                                    \
    return plus ? (TYPE)0 : -(TYPE)0;                                               \
  }
CR_MAX(cr_maxf, float)
CR_MAX(cr_max, double)

/* ---- sixteen rows side by side ------------------------------------------------------------ */

/* Short rows are taken sixteen at a time and stand side by side in a tile, so that one vector holds
   one column of them all: x[16 j + r] is entry j of row r. These functions go through memory anyway
   and are called, not inlined. They are written with the vectors of gcc and clang. */
#define CR_CALLED static __attribute__((noinline, unused))

#if defined(__clang__) || __GNUC__ >= 12
#define CR_MIX(INDEX, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t cr_4i __attribute__((vector_size(16)));
typedef int64_t cr_2i __attribute__((vector_size(16)));
#define CR_MIX(INDEX, a, b, ...) __builtin_shuffle(a, b, (INDEX){__VA_ARGS__})
#endif
typedef float cr_4f __attribute__((vector_size(16), aligned(4), may_alias));
typedef double cr_2 __attribute__((vector_size(16), aligned(8), may_alias));

/* A block of 4 by 4 entries, turned. */
CR_INLINE void cr_turnf(const float *x, ptrdiff_t from, float *y, ptrdiff_t to) {
  cr_4f a = *(const cr_4f *)x, b = *(const cr_4f *)(x + from);
  cr_4f c = *(const cr_4f *)(x + 2 * from), d = *(const cr_4f *)(x + 3 * from);
  cr_4f p = CR_MIX(cr_4i, a, b, 0, 4, 1, 5), q = CR_MIX(cr_4i, a, b, 2, 6, 3, 7);
  cr_4f r = CR_MIX(cr_4i, c, d, 0, 4, 1, 5), s = CR_MIX(cr_4i, c, d, 2, 6, 3, 7);
  *(cr_4f *)y = CR_MIX(cr_4i, p, r, 0, 1, 4, 5);
  *(cr_4f *)(y + to) = CR_MIX(cr_4i, p, r, 2, 3, 6, 7);
  *(cr_4f *)(y + 2 * to) = CR_MIX(cr_4i, q, s, 0, 1, 4, 5);
  *(cr_4f *)(y + 3 * to) = CR_MIX(cr_4i, q, s, 2, 3, 6, 7);
}
CR_INLINE void cr_turn(const double *x, ptrdiff_t from, double *y, ptrdiff_t to) {
  for (int i = 0; i < 4; i += 2)
    for (int k = 0; k < 4; k += 2) {
      cr_2 a = *(const cr_2 *)(x + i * from + k), b = *(const cr_2 *)(x + (i + 1) * from + k);
      *(cr_2 *)(y + k * to + i) = CR_MIX(cr_2i, a, b, 0, 2);
      *(cr_2 *)(y + (k + 1) * to + i) = CR_MIX(cr_2i, a, b, 1, 3);
    }
}

/* Rows of memory into a tile, and a tile into rows of memory. */
#define CR_SIDE16(BESIDE, APART, TYPE, TURN)                                        \
  CR_CALLED void BESIDE(const TYPE *x, ptrdiff_t step, ptrdiff_t n, TYPE *y) {      \
    ptrdiff_t j = 0;                                                                \
    for (; j + 4 <= n; j += 4)                                                      \
      for (int r = 0; r < 16; r += 4)                                               \
        TURN(x + r * step + j, step, y + 16 * j + r, 16);                           \
    for (; j < n; j++)                                                              \
      for (int r = 0; r < 16; r++) y[16 * j + r] = x[r * step + j];                 \
  }                                                                                 \
  CR_CALLED void APART(const TYPE *x, ptrdiff_t n, TYPE *y, ptrdiff_t step) {       \
    ptrdiff_t j = 0;                                                                \
    for (; j + 4 <= n; j += 4)                                                      \
      for (int r = 0; r < 16; r += 4)                                               \
        TURN(x + 16 * j + r, 16, y + r * step + j, step);                           \
    for (; j < n; j++)                                                              \
      for (int r = 0; r < 16; r++) y[r * step + j] = x[16 * j + r];                 \
  }
CR_SIDE16(cr_beside16f, cr_apart16f, float, cr_turnf)
CR_SIDE16(cr_beside16, cr_apart16, double, cr_turn)

/* The sums of the rows, each in the order of cr_sum, for as many rows as a vector has doubles. */
#if defined(__AVX512F__)
enum { CR_WIDE = 8 };
#elif defined(__AVX__)
enum { CR_WIDE = 4 };
#else
enum { CR_WIDE = 2 };
#endif
typedef float cr_somef __attribute__((vector_size(4 * CR_WIDE), aligned(4), may_alias));
typedef double cr_some __attribute__((vector_size(8 * CR_WIDE), aligned(8), may_alias));
#define CR_SOME(VECTOR, x) __builtin_convertvector(*(const VECTOR *)(x), cr_some)

#define CR_SUM16(NAME, LANE, TYPE, VECTOR)                                          \
  CR_INLINE cr_some LANE(const TYPE *x, ptrdiff_t n) { /* of cr_sum's 16, folded */ \
    cr_some a = {0.0}, b = a, c = a, d = a;                                         \
    for (ptrdiff_t j = 0; j < n; j += 16) {                                         \
      a += CR_SOME(VECTOR, x + 16 * j), b += CR_SOME(VECTOR, x + 16 * j + 64);      \
      c += CR_SOME(VECTOR, x + 16 * j + 128), d += CR_SOME(VECTOR, x + 16 * j + 192); \
    }                                                                               \
    return (a + c) + (b + d);                                                       \
  }                                                                                 \
  CR_CALLED void NAME(const TYPE *x, ptrdiff_t n, double *y) {                      \
    for (int r = 0; r < 16; r += CR_WIDE, x += CR_WIDE) {                           \
      ptrdiff_t j = n / 16 * 16;                                                    \
      cr_some a = LANE(x, j), b = LANE(x + 16, j);                                  \
      cr_some c = LANE(x + 32, j), d = LANE(x + 48, j);                             \
      for (; j + 4 <= n; j += 4) {                                                  \
        a += CR_SOME(VECTOR, x + 16 * j), b += CR_SOME(VECTOR, x + 16 * j + 16);    \
        c += CR_SOME(VECTOR, x + 16 * j + 32), d += CR_SOME(VECTOR, x + 16 * j + 48); \
      }                                                                             \
      a = (a + c) + (b + d);                                                        \
      for (; j < n; j++) a += CR_SOME(VECTOR, x + 16 * j);                          \
      *(cr_some *)(y + r) = a;                                                      \
    }                                                                               \
  }
CR_SUM16(cr_sum16f, cr_lanef, float, cr_somef)
CR_SUM16(cr_sum16, cr_lane, double, cr_some)

/* The order of numbers as one of integers, with -0 below +0 and NaN above all, and back. */
CR_INLINE int32_t cr_rankf(float x) {
  int32_t i = (int32_t)cr_bitsf(x);
  i = i < 0 ? i ^ INT32_MAX : i;
  return x != x ? 0x7fc00000 : i;
}
CR_INLINE int64_t cr_rank(double x) {
  int64_t i = (int64_t)cr_bits(x);
  i = i < 0 ? i ^ INT64_MAX : i;
  return x != x ? 0x7ff8000000000000 : i;
}
CR_INLINE float cr_of_rankf(int32_t i) { return cr_of_bitsf((uint32_t)(i < 0 ? i ^ INT32_MAX : i)); }
CR_INLINE double cr_of_rank(int64_t i) { return cr_of_bits((uint64_t)(i < 0 ? i ^ INT64_MAX : i)); }

/* The largest of each row, as cr_max has it. */
#define CR_MAX16(NAME, TYPE, INT, RANK, OF_RANK)                                    \
  CR_CALLED void NAME(const TYPE *x, ptrdiff_t n, TYPE *y) {                        \
    INT m[16];                                                                      \
    for (int r = 0; r < 16; r++) m[r] = RANK((TYPE)-INFINITY);                      \
    for (ptrdiff_t j = 0; j < n; j++)                                               \
      for (int r = 0; r < 16; r++) {                                                \
        INT i = RANK(x[16 * j + r]);                                                \
        m[r] = i > m[r] ? i : m[r];                                                 \
      }                                                                             \
    for (int r = 0; r < 16; r++) y[r] = OF_RANK(m[r]);                              \
  }
CR_MAX16(cr_max16f, float, int32_t, cr_rankf, cr_of_rankf)
CR_MAX16(cr_max16, double, int64_t, cr_rank, cr_of_rank)
